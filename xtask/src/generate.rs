//! `cargo xtask gen`: the files made from definitions in the code, committed so that a reader finds them.

use std::fs;
use std::path::Path;

/// A generated file: its path and what makes it.
type Generated = (&'static str, fn() -> String);

/// Every generated file.
const FILES: &[Generated] = &[
    ("docs/config.md", moat_config::reference::markdown),
    ("moat.example.toml", moat_config::reference::example),
    ("docs/moat.schema.json", moat_config::reference::json_schema),
    ("docs/events.md", moat_events::reference::markdown),
    ("api/openapi.json", openapi),
];

fn openapi() -> String {
    // Every crate of the workspace has the same version.
    moat_api::openapi::document(env!("CARGO_PKG_VERSION"))
}

/// Writes every generated file that is not what it should be.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    for (path, make) in FILES {
        let text = make();
        let file = root.join(path);
        if fs::read_to_string(&file).is_ok_and(|old| old == text) {
            continue;
        }
        let folder = file.parent().unwrap_or(root);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&file, text))
            .map_err(|error| format!("cannot write {path}: {error}"))?;
        println!("wrote {path}");
    }
    Ok(())
}

/// Fails if a generated file is not what [`write()`] would write.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let stale: Vec<&str> = FILES
        .iter()
        .filter(|(path, make)| {
            fs::read_to_string(root.join(path)).map_or(true, |old| old != make())
        })
        .map(|(path, _)| *path)
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!(
        "not what the code says: {}; run `cargo xtask gen` and commit the result",
        stale.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_passes_the_check_and_a_changed_file_does_not() {
        let root = tempfile::tempdir().unwrap();
        assert!(check(root.path()).unwrap_err().contains("docs/config.md"));
        write(root.path()).unwrap();
        check(root.path()).unwrap();
        fs::write(root.path().join("docs/events.md"), "edited").unwrap();
        assert_eq!(
            check(root.path()).unwrap_err(),
            "not what the code says: docs/events.md; run `cargo xtask gen` and commit the result"
        );
    }

    #[test]
    fn the_same_text_is_made_twice() {
        for (path, make) in FILES {
            assert_eq!(make(), make(), "{path}");
            assert!(make().ends_with('\n'), "{path}");
        }
    }
}
