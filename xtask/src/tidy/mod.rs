//! `cargo xtask tidy`: the rules of the house that no other tool knows.

mod dependencies;
mod hot_path;
mod promises;
mod sources;

use std::fs;
use std::path::Path;
use std::process::Command;

/// A text file of the repository.
pub(crate) struct SourceFile {
    /// The path from the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

#[cfg(test)]
impl SourceFile {
    /// A file that a test has made up.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }
}

/// Checks everything and fails with all that is wrong.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let files = text_files(root)?;
    let mut wrong = dependencies::check(&files);
    wrong.extend(dependencies::missing_in_architecture(&files));
    wrong.extend(sources::check(&files));
    wrong.extend(hot_path::check(&files));
    wrong.extend(promises::check(&files));
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.sort();
    Err(format!(
        "{}\ntidy: {} to put right",
        wrong.join("\n"),
        wrong.len()
    ))
}

/// Every text file git knows or would know.
pub(crate) fn text_files(root: &Path) -> Result<Vec<SourceFile>, String> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "-z",
        ])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run git to list the files: {error}"))?;
    if !listed.status.success() {
        return Err(format!(
            "git cannot list the files: {}",
            String::from_utf8_lossy(&listed.stderr)
        ));
    }
    let names = String::from_utf8_lossy(&listed.stdout);
    let read = |name: &str| {
        // Removed but not yet committed, a symbolic link to a folder, or not text: nothing to check.
        fs::read_to_string(root.join(name))
            .ok()
            .map(|text| SourceFile {
                path: name.to_owned(),
                text,
            })
    };
    Ok(names
        .split('\0')
        .filter(|name| !name.is_empty())
        .filter_map(read)
        .collect())
}
