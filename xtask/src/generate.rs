//! `cargo xtask gen`: the files made from definitions in the code, committed so that a reader finds them.

use std::fs;
use std::path::Path;

use crate::conformance;
use crate::words::{self, Failure};

/// A generated file: its path and what makes it.
type Generated = (&'static str, fn() -> String);

/// Every file generated from code.
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

/// The page about the specifications is made from files and not from code.
const CONFORMANCE: &str = "docs/conformance.md";

/// Writes the generated files, or with `--check` compares them.
///
/// # Errors
/// Another word, a file that is not as it should be, or statements and tests that do not agree.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), Failure> {
    let given = words::options("gen", words, &[("--check", "")])?;
    let result = if given.is_empty() {
        write(root)
    } else {
        check(root)
    };
    Ok(result?)
}

/// Writes every generated file that is not what it should be, and fails if the statements and the tests do not agree.
fn write(root: &Path) -> Result<(), String> {
    let conformance = conformance::document(root)?;
    let mut files = from_code();
    files.push((CONFORMANCE, conformance.page));
    write_all(root, files)?;
    agreed(&conformance.wrong)
}

/// Fails if a generated file is not what [`write()`] would write, or if the statements and the tests do not agree.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let conformance = conformance::document(root)?;
    let mut files = from_code();
    files.push((CONFORMANCE, conformance.page));
    agreed(&conformance.wrong)?;
    check_all(root, &files)
}

fn from_code() -> Vec<(&'static str, String)> {
    FILES.iter().map(|(path, make)| (*path, make())).collect()
}

fn agreed(wrong: &[String]) -> Result<(), String> {
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\nconformance: {} to put right",
        wrong.join("\n"),
        wrong.len()
    ))
}

fn write_all(root: &Path, files: Vec<(&str, String)>) -> Result<(), String> {
    for (path, text) in files {
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

fn check_all(root: &Path, files: &[(&str, String)]) -> Result<(), String> {
    let stale: Vec<&str> = files
        .iter()
        .filter(|(path, text)| fs::read_to_string(root.join(path)).map_or(true, |old| old != *text))
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
        let (root, files) = (root.path(), from_code());
        assert!(
            check_all(root, &files)
                .unwrap_err()
                .contains("docs/config.md")
        );
        write_all(root, files.clone()).unwrap();
        check_all(root, &files).unwrap();
        fs::write(root.join("docs/events.md"), "edited").unwrap();
        assert_eq!(
            check_all(root, &files).unwrap_err(),
            "not what the code says: docs/events.md; run `cargo xtask gen` and commit the result"
        );
    }

    #[test]
    fn statements_and_tests_that_do_not_agree_are_an_error() {
        assert_eq!(agreed(&[]), Ok(()));
        let wrong = ["a: no test".to_owned()];
        assert_eq!(
            agreed(&wrong),
            Err("a: no test\nconformance: 1 to put right".to_owned())
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
