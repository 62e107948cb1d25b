//! Whether the lists and the tests agree.

use super::proof::Proofs;
use super::statement::{Specification, Verdict};

/// What does not agree, one line each.
pub(super) fn check(specifications: &[Specification], proofs: &Proofs) -> Vec<String> {
    let mut wrong = unknown(specifications, proofs);
    for specification in specifications {
        let version = specification.version;
        for statement in &specification.statements {
            let tests = proofs.tests(version, &statement.number);
            let (at, number) = (&statement.at, &statement.number);
            match (&statement.verdict, tests.first()) {
                (Verdict::Test, None) => wrong.push(format!(
                    "{at}: {} [{number}] has no test; write one whose doc comment says that it \
                     proves it, or say why there is none",
                    version.name()
                )),
                (Verdict::Untestable(_), Some(test)) => wrong.push(format!(
                    "{at}: {} [{number}] is untestable, but {test} proves it; one of them is wrong",
                    version.name()
                )),
                _ => {}
            }
        }
    }
    wrong
}

/// Numbers that no list has.
fn unknown(specifications: &[Specification], proofs: &Proofs) -> Vec<String> {
    let is_known = |version, number: &str| {
        let mut of_version = specifications.iter().filter(|s| s.version == version);
        of_version.any(|specification| specification.find(number).is_some())
    };
    proofs
        .0
        .iter()
        .filter(|proof| !is_known(proof.version, &proof.number))
        .map(|proof| {
            format!(
                "{}: {} has no statement [{}]; its numbers are in {}",
                proof.at,
                proof.version.name(),
                proof.number,
                proof.version.list()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::of_files;
    use crate::tidy::SourceFile;

    /// What is wrong when 3.1.1 has one statement and there is one test.
    fn wrong(statement: &str, proof: &str) -> Vec<String> {
        let files = [
            SourceFile::new("docs/conformance/mqtt-3.1.1.tsv", statement),
            SourceFile::new("docs/conformance/mqtt-5.0.tsv", ""),
            SourceFile::new(
                "crates/a/src/lib.rs",
                &format!("/// {proof}\n#[test]\nfn f() {{\n}}\n"),
            ),
        ];
        of_files(&files).wrong
    }

    #[test]
    fn a_statement_with_a_test_is_as_it_should_be() {
        for verdict in [
            "server\ttest\t",
            "both\ttest\t",
            "server\tdeviation\twhy",
            "client\t-\t",
        ] {
            let line = format!("MQTT-1-1\t{verdict}\tDo it");
            assert_eq!(
                wrong(&line, concat!("Pro", "ves 3.1.1 [MQTT-1-1].")),
                [""; 0]
            );
        }
    }

    #[test]
    fn a_statement_without_a_test_needs_a_reason() {
        let found = wrong("MQTT-1-1\tserver\ttest\t\tDo it", "Nothing.");
        assert!(
            found[0].contains("3.1.1 [MQTT-1-1] has no test"),
            "{found:?}"
        );
        for verdict in [
            "server\tuntestable\twhy",
            "server\tdeviation\twhy",
            "client\t-\t",
        ] {
            let line = format!("MQTT-1-1\t{verdict}\tDo it");
            assert_eq!(wrong(&line, "Nothing."), [""; 0]);
        }
    }

    #[test]
    fn an_untestable_statement_has_no_test() {
        let found = wrong(
            "MQTT-1-1\tserver\tuntestable\twhy\tDo it",
            concat!("Pro", "ves 3.1.1 [MQTT-1-1]."),
        );
        assert!(
            found[0].contains("is untestable, but a::f proves it"),
            "{found:?}"
        );
    }

    #[test]
    fn an_unknown_number_is_told_with_its_place() {
        let line = "MQTT-1-1\tclient\t-\t\tDo it";
        for proof in [
            concat!("Pro", "ves 5.0 [MQTT-1-1]."),
            concat!("Pro", "ves 3.1.1 [MQTT-1-2]."),
        ] {
            let found = wrong(line, proof);
            assert!(
                found[0].starts_with("crates/a/src/lib.rs:3: ")
                    && found[0].contains("no statement"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_missing_list_is_an_error() {
        assert_eq!(of_files(&[]).wrong.len(), 2);
    }
}
