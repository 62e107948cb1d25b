//! The files a device gets: certificate, key, the authority to trust, and its configuration.

use std::fs;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::placing::{self, CERTIFICATE_MODE, KEY_MODE};
use crate::{CA_FILE, Issued, PkiError, San, check_device_name};

/// Where the four files of a bundle are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundlePaths {
    /// `NAME.crt`: leaf and intermediate.
    pub certificate: PathBuf,
    /// `NAME.key`: private key, mode 0600.
    pub key: PathBuf,
    /// `ca.crt`: the root; shared by the bundles in one folder.
    pub ca: PathBuf,
    /// `NAME.json`: the device's MQTT settings.
    pub settings: PathBuf,
}

/// The device's MQTT settings, in the order the device's documentation shows them.
#[derive(Serialize)]
struct DeviceSettings<'a> {
    enable: bool,
    url: String,
    skip_cn_check: bool,
    client_id: &'a str,
}

/// Makes `folder` and says where the bundle of device `name` will be.
///
/// Call it before a certificate is issued: a bundle that can't be written would leave a device
/// with a certificate whose key is lost.
///
/// # Errors
/// [`PkiError::InvalidName`], [`PkiError::WouldOverwrite`] and failures to make the folder.
pub fn plan_device_bundle(folder: &Path, name: &str) -> Result<BundlePaths, PkiError> {
    check_device_name(name)?;
    placing::ensure_folder(folder)?;
    let paths = BundlePaths {
        certificate: folder.join(format!("{name}.crt")),
        key: folder.join(format!("{name}.key")),
        ca: folder.join(CA_FILE),
        settings: folder.join(format!("{name}.json")),
    };
    for path in [&paths.certificate, &paths.key, &paths.settings] {
        if fs::symlink_metadata(path).is_ok() {
            return Err(PkiError::WouldOverwrite { path: path.clone() });
        }
    }
    Ok(paths)
}

/// Writes the bundle of device `name` into `folder` (made if absent).
///
/// `host` and `port` are where the device connects to; `host` must be one of the server
/// certificate's names, since the settings keep the name check on. All files or none are written,
/// each in one step, and nothing is overwritten; a `ca.crt` that is there already must be the same.
///
/// # Errors
/// [`PkiError::WouldOverwrite`], [`PkiError::InvalidHostName`], [`PkiError::DiskFull`] and other
/// failures of the file system. What was written before the failure has been removed.
pub fn write_device_bundle(
    folder: &Path,
    issued: &Issued,
    host: &str,
    port: u16,
    name: &str,
) -> Result<BundlePaths, PkiError> {
    let settings = settings_json(host, port, name)?;
    let paths = plan_device_bundle(folder, name)?;
    let mut written = Written(Vec::new());
    if !is_same_ca(&paths.ca, issued)? {
        written.place(&paths.ca, issued.ca_pem.as_bytes(), CERTIFICATE_MODE)?;
    }
    written.place(&paths.key, issued.key_pem.as_bytes(), KEY_MODE)?;
    written.place(
        &paths.certificate,
        issued.cert_chain_pem.as_bytes(),
        CERTIFICATE_MODE,
    )?;
    written.place(&paths.settings, settings.as_bytes(), CERTIFICATE_MODE)?;
    written.0.clear();
    Ok(paths)
}

fn settings_json(host: &str, port: u16, name: &str) -> Result<String, PkiError> {
    // An IPv6 address stands in brackets in a URL (RFC 3986 section 3.2.2).
    let authority = match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{}:{port}", host.parse::<San>()?),
    };
    let settings = DeviceSettings {
        enable: true,
        url: format!("mqtts://{authority}"),
        skip_cn_check: false,
        client_id: name,
    };
    let json = serde_json::to_string_pretty(&settings);
    json.map(|text| text + "\n").map_err(|e| PkiError::Crypto {
        text: e.to_string(),
    })
}

/// Whether `path` already holds this authority's root; false if nothing is there.
fn is_same_ca(path: &Path, issued: &Issued) -> Result<bool, PkiError> {
    match placing::read(path) {
        Ok(bytes) if *bytes == issued.ca_pem.as_bytes() => Ok(true),
        Ok(_) | Err(PkiError::Malformed { .. }) => Err(PkiError::WouldOverwrite {
            path: path.to_path_buf(),
        }),
        Err(PkiError::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Files of an unfinished bundle; removed when it is dropped before it was emptied.
struct Written(Vec<PathBuf>);

impl Written {
    fn place(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
        placing::place_new(path, bytes, mode)?;
        self.0.push(path.to_path_buf());
        Ok(())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}
