//! `cargo xtask model`: the model tests with many more cases than CI runs.

use std::path::Path;

use crate::cargo::{cargo, end_of};
use crate::words::{self, Failure};

/// Cases of each model unless the command names another number.
const CASES: u32 = 1_000_000;

/// Where the models are: arguments of `cargo test`.
const MODELS: &[&str] = &[
    "-p moat-core --test it -- model schedule",
    "-p moat-policy --lib -- prop_decisions prop_answers",
];

/// Runs every model, those after a failed one too.
///
/// # Errors
/// A word that is no option, or a value that does not fit; a model that found something: its shortest case was printed.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), Failure> {
    let mut cases = CASES;
    for (name, value) in words::options("model", words, &[("--cases", "N")])? {
        cases = words::number(name, value, 1..=u32::MAX)?;
    }
    let mut failed = Vec::new();
    for model in MODELS {
        println!("==> {cases} cases: {model}");
        let mut test = cargo(root);
        test.args(["test", "--quiet", "--release"])
            .args(model.split(' '))
            .env("MOAT_MODEL_CASES", cases.to_string());
        if !end_of(&mut test)?.success() {
            failed.push(*model);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::Work(format!("failed: {}", failed.join("; "))))
}
