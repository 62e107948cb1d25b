//! The folder that `moat device add` makes: settings, certificate, key and authority.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use moat_pki::CA_FILE;
use serde_json::Value;

use super::target::Target;
use crate::exit::Failure;

/// The most bytes of a settings file.
const SETTINGS_BYTES_MAX: u64 = 64 << 10;
/// The most entries of a device's folder that are looked at.
const ENTRIES_MAX: usize = 1000;

/// What a device's folder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// Where the broker is.
    pub(super) target: Target,
    /// The device's client identifier.
    pub(super) client_id: String,
    /// `NAME.crt`
    pub(super) certificate: PathBuf,
    /// `NAME.key`
    pub(super) key: PathBuf,
    /// `ca.crt`
    pub(super) ca: PathBuf,
}

impl Device {
    /// Reads the settings in `place`, which is the folder of one device or the settings file itself.
    ///
    /// # Errors
    /// There is not exactly one settings file, or it is wrong.
    pub(super) fn read(place: &Path) -> Result<Self, Failure> {
        let settings = if place.is_dir() {
            find_settings(place)?
        } else {
            place.to_owned()
        };
        let wrong =
            |what: String| Failure::configuration([format!("{}: {what}", settings.display())]);
        let mut text = String::new();
        File::open(&settings)
            .and_then(|file| file.take(SETTINGS_BYTES_MAX).read_to_string(&mut text))
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let value: Value =
            serde_json::from_str(&text).map_err(|error| wrong(format!("no JSON: {error}")))?;
        let string = |key: &str| {
            value[key].as_str().ok_or_else(|| {
                wrong(format!(
                    "needs a text \"{key}\"; make it anew with `moat device add`"
                ))
            })
        };
        if value["enable"] == false {
            return Err(wrong(
                "\"enable\" is false: this device is switched off".to_owned(),
            ));
        }
        if value["skip_cn_check"] == true {
            return Err(wrong("\"skip_cn_check\" is true, but moat always checks the broker's name; set it to false".to_owned()));
        }
        let target = string("url")?
            .parse()
            .map_err(|error| wrong(format!("\"url\": {error}")))?;
        let client_id = string("client_id")?.to_owned();
        let folder = settings.parent().unwrap_or(Path::new(""));
        Ok(Self {
            target,
            client_id,
            certificate: settings.with_extension("crt"),
            key: settings.with_extension("key"),
            ca: folder.join(CA_FILE),
        })
    }
}

/// The only settings file of a folder.
fn find_settings(folder: &Path) -> Result<PathBuf, Failure> {
    let unreadable = |error| {
        Failure::failed(format!(
            "cannot read the folder {}: {error}",
            folder.display()
        ))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)?.take(ENTRIES_MAX) {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            found.push(path);
        }
    }
    match &*found {
        [] => Err(Failure::failed(format!(
            "{} holds no device's settings; make a device with `moat device add NAME --out DIR`",
            folder.display()
        ))),
        [_] => Ok(found.remove(0)),
        _ => Err(Failure::usage(format!(
            "{} holds the settings of {} devices; name one of the files, like --device {}",
            folder.display(),
            found.len(),
            found[0].display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = r#"{"enable": true, "url": "mqtts://broker:8884", "skip_cn_check": false, "client_id": "press-1"}"#;

    fn read(settings: &str) -> Result<Device, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("press-1.json"), settings).unwrap();
        Device::read(folder.path()).map_err(|failure| failure.text())
    }

    #[test]
    fn a_folder_names_everything() {
        let device = read(SETTINGS).unwrap();
        assert_eq!(device.target.to_string(), "mqtts://broker:8884");
        assert_eq!(device.client_id, "press-1");
        assert!(device.certificate.ends_with("press-1.crt") && device.key.ends_with("press-1.key"));
        assert!(device.ca.ends_with("ca.crt"));
    }

    #[test]
    fn settings_that_are_wrong_say_what() {
        for (from, to, says) in [
            ("true", "false", "switched off"),
            ("false", "true", "skip_cn_check"),
            ("mqtts", "https", "allowed: mqtts://"),
            ("\"client_id\"", "\"id\"", "client_id"),
            ("{", "", "no JSON"),
        ] {
            let error = read(&SETTINGS.replacen(from, to, 1)).unwrap_err();
            assert!(
                error.contains(says) && error.contains("press-1.json"),
                "{error}"
            );
        }
    }

    #[test]
    fn one_of_several_has_to_be_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            Device::read(folder.path())
                .unwrap_err()
                .text()
                .contains("moat device add")
        );
        for name in ["a.json", "b.json"] {
            fs::write(folder.path().join(name), SETTINGS).unwrap();
        }
        assert!(
            Device::read(folder.path())
                .unwrap_err()
                .text()
                .contains("2 devices")
        );
        assert!(
            Device::read(&folder.path().join("a.json"))
                .unwrap()
                .key
                .ends_with("a.key")
        );
    }
}
