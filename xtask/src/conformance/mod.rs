//! `docs/conformance.md`: every statement of the specifications that binds a server, and the tests that prove it.
//!
//! - [`statement`]: the lists in `docs/conformance/`, which are written by hand;
//! - [`proof`]: what the doc comments of the tests say they prove;
//! - [`verdict`]: whether lists and tests agree;
//! - [`page`]: the page made of both.
//!
//! Everything here takes texts as arguments; only [`document`] reads files.

mod page;
mod proof;
mod statement;
mod verdict;

use std::path::Path;

use crate::tidy::{SourceFile, text_files};
use proof::Proofs;
use statement::Specification;

/// The page and what is wrong about it.
pub(crate) struct Conformance {
    /// The text of `docs/conformance.md`.
    pub(crate) page: String,
    /// What has to be put right in the lists or the tests, one line each.
    pub(crate) wrong: Vec<String>,
}

/// Makes the page from the files below `root`.
///
/// # Errors
/// When git cannot list the files.
pub(crate) fn document(root: &Path) -> Result<Conformance, String> {
    Ok(of_files(&text_files(root)?))
}

fn of_files(files: &[SourceFile]) -> Conformance {
    let mut wrong = Vec::new();
    let mut specifications = Vec::new();
    for version in statement::Version::ALL {
        let path = version.list();
        match files.iter().find(|file| file.path == path) {
            Some(file) => specifications.push(Specification::read(version, file, &mut wrong)),
            None => wrong.push(format!("{path}: there is no such file")),
        }
    }
    let proofs = Proofs::of_files(files, &mut wrong);
    wrong.extend(proof::unreached(files, &proofs));
    wrong.extend(verdict::check(&specifications, &proofs));
    Conformance {
        page: page::markdown(&specifications, &proofs),
        wrong,
    }
}
