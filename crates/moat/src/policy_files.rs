//! From the policy files to the policy in force.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use moat_config::{ClientIdMode, Config};
use moat_policy::{
    DEFAULT_POLICY_TOML, POLICY_FILE_BYTES_MAX, PolicyFormat, PolicySourceText, PolicyWarning,
    PolicyWarningKind, Snapshot,
};

use crate::exit::Failure;

/// The policy file in the data folder.
pub(crate) const POLICY_FILE: &str = "policy.toml";

/// The name of the built-in policy where a file would be named.
const BUILT_IN: &str = "built-in policy";

/// A policy without mistakes.
#[derive(Debug)]
pub(crate) struct LoadedPolicy {
    /// The policy.
    pub(crate) snapshot: Snapshot,
    /// What works as written but is probably not meant.
    pub(crate) warnings: Vec<PolicyWarning>,
}

/// Reads and compiles the policy files of the configuration as the given version.
///
/// # Errors
/// Everything that is wrong in them. A rule that speaks of `${clientid}` is wrong if a listener lets its clients
/// choose any: they would choose the right they want.
pub(crate) fn load(config: &Config, data: &Path, version: u64) -> Result<LoadedPolicy, Failure> {
    let sources = config
        .policy
        .files
        .iter()
        .map(|path| read(path, is_default(config, data)))
        .collect::<Result<Vec<_>, _>>()?;
    let snapshot = Snapshot::compile(sources, version).map_err(Failure::configuration)?;
    let free_client_ids = config
        .listeners
        .iter()
        .any(|listener| listener.client_id == ClientIdMode::Any);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        snapshot.warnings().iter().cloned().partition(|warning| {
            free_client_ids && matches!(warning.kind, PolicyWarningKind::ClientIdPlaceholder { .. })
        });
    if errors.is_empty() {
        Ok(LoadedPolicy { snapshot, warnings })
    } else {
        Err(Failure::configuration(errors))
    }
}

/// Whether there is only the file that may be absent.
fn is_default(config: &Config, data: &Path) -> bool {
    matches!(config.policy.files.as_slice(), [file] if *file == data.join(POLICY_FILE))
}

fn read(path: &Path, may_be_absent: bool) -> Result<PolicySourceText, Failure> {
    let wrong = |why: String| Failure::configuration([format!("{}: {why}", path.display())]);
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) if may_be_absent && error.kind() == io::ErrorKind::NotFound => {
            return Ok(PolicySourceText {
                file: BUILT_IN.into(),
                format: PolicyFormat::Toml,
                text: DEFAULT_POLICY_TOML.into(),
            });
        }
        Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
    };
    if text.len() > POLICY_FILE_BYTES_MAX {
        return Err(wrong(format!(
            "is longer than {POLICY_FILE_BYTES_MAX} bytes; split the policy or use groups and placeholders"
        )));
    }
    Ok(PolicySourceText {
        file: path.display().to_string(),
        format: PolicyFormat::of_file(&path.to_string_lossy()),
        text,
    })
}

/// The text of a file, at most one byte more than a policy may have.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(POLICY_FILE_BYTES_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    File::open(path)?.take(most).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::exit::Exit;

    fn load_text(text: Option<&str>) -> Result<LoadedPolicy, Failure> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = text {
            fs::write(folder.path().join(POLICY_FILE), text).unwrap();
        }
        let config = Config::default().with_data_folder(folder.path());
        load(&config, folder.path(), 7)
    }

    #[test]
    fn without_the_default_file_the_built_in_policy_holds() {
        assert_eq!(load_text(None).unwrap().snapshot.version(), 7);
    }

    #[test]
    fn a_named_file_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default().with_data_folder(folder.path());
        config.policy.files = vec![folder.path().join("plant.toml")];
        let error = load(&config, folder.path(), 1).unwrap_err();
        assert_eq!(error.exit, Exit::BadConfiguration);
        assert!(error.text().contains("plant.toml"));
    }

    #[test]
    fn a_rule_for_client_ids_is_wrong_where_clients_choose_theirs() {
        let rule = "version = 1\n[[rule]]\nwho = [\"*\"]\nallow = [\"publish\"]\ntopics = [\"c/${clientid}\"]\n";
        assert!(
            load_text(Some(rule))
                .unwrap_err()
                .text()
                .contains("${clientid}")
        );
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(POLICY_FILE), rule).unwrap();
        let mut config = Config::default().with_data_folder(folder.path());
        for listener in &mut config.listeners {
            listener.client_id = ClientIdMode::IsIdentity;
        }
        assert_eq!(load(&config, folder.path(), 1).unwrap().warnings.len(), 1);
    }

    #[test]
    fn a_file_of_another_name_is_a_mosquitto_acl() {
        let folder = tempfile::tempdir().unwrap();
        let load_acl = |text: &str, client_id| {
            fs::write(folder.path().join("acl"), text).unwrap();
            let mut config = Config::default().with_data_folder(folder.path());
            config.policy.files = vec![folder.path().join("acl")];
            for listener in &mut config.listeners {
                listener.client_id = client_id;
            }
            load(&config, folder.path(), 1)
        };
        let good = load_acl("user anna\ntopic read a\n", ClientIdMode::Any).unwrap();
        assert!(good.warnings.is_empty());
        let error = load_acl("version = 1\n", ClientIdMode::Any).unwrap_err();
        assert!(error.text().contains("does not end in .toml"), "{error:?}");
        // A literal %u works, and is told.
        let warned = load_acl("topic read %u\n", ClientIdMode::Any).unwrap();
        assert_eq!(warned.warnings.len(), 1);
        let per_client = "pattern read to/%c\n";
        let error = load_acl(per_client, ClientIdMode::Any).unwrap_err();
        assert!(error.text().contains("uses %c"), "{error:?}");
        let warned = load_acl(per_client, ClientIdMode::IsIdentity).unwrap();
        assert_eq!(warned.warnings.len(), 1);
    }

    #[test]
    fn a_file_without_end_is_not_read_to_the_end() {
        let mut config = Config::default();
        config.policy.files = vec!["/dev/zero".into()];
        let error = load(&config, Path::new("data"), 1).unwrap_err().text();
        assert!(error.contains("longer than"), "{error}");
    }
}
