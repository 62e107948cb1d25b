//! Tests of the proofs. The word a proof begins with is written as `@`, so that this file has none.

use super::*;

fn read(path: &str, text: &str) -> (Vec<(&'static str, String, String)>, Vec<String>) {
    let file = SourceFile::new(path, &text.replace('@', WORD));
    let mut wrong = Vec::new();
    let proofs = Proofs::of_files(&[file], &mut wrong);
    let proofs = proofs.0.into_iter();
    let proofs = proofs.map(|proof| (proof.version.name(), proof.number, proof.test));
    (proofs.collect(), wrong)
}

fn owned(version: &'static str, number: &str, test: &str) -> (&'static str, String, String) {
    (version, number.to_owned(), test.to_owned())
}

#[test]
fn a_test_proves_what_its_doc_comment_names() {
    let (proofs, wrong) = read(
        "crates/moat-core/tests/it/qos1.rs",
        "/// Something.\n/// @ 5.0 [MQTT-1-1] [MQTT-1-2];\n/// 3.1.1 [MQTT-1-3]. And more [MQTT-9-9].\n\
         #[test]\nfn name() {\n}\n",
    );
    assert_eq!(wrong, [""; 0]);
    let test = "moat-core::it::qos1::name";
    assert_eq!(
        proofs,
        [
            owned("5.0", "MQTT-1-1", test),
            owned("5.0", "MQTT-1-2", test),
            owned("3.1.1", "MQTT-1-3", test),
        ]
    );
}

#[test]
fn a_check_listed_in_everywhere_is_a_test() {
    let text = "everywhere!(\n    first, // why\n    second,\n);\n\n/// @ 5.0 [MQTT-1-1].\n\
                fn second(transport: Transport, shards: usize) {\n}\n";
    let (proofs, wrong) = read("crates/moat-testkit/tests/conformance/a.rs", text);
    assert_eq!(wrong, [""; 0]);
    let test = "moat-testkit::conformance::a::second";
    assert_eq!(proofs, [owned("5.0", "MQTT-1-1", test)]);
}

#[test]
fn modules_of_a_file_are_in_the_path() {
    let test = "    /// @ 5.0 [MQTT-1-1].\n    #[test]\n    fn f() {\n    }\n";
    let text =
        format!("mod a {{\n    fn g() {{\n    }}\n}}\n\n#[cfg(test)]\nmod tests {{\n{test}}}\n");
    for (path, expected) in [
        (
            "crates/moat-codec/src/packet/connect.rs",
            "moat-codec::packet::connect::tests::f",
        ),
        ("crates/moat-codec/src/lib.rs", "moat-codec::tests::f"),
        (
            "crates/moat-codec/src/packet/mod.rs",
            "moat-codec::packet::tests::f",
        ),
        (
            "crates/moat-codec/src/packet/tests.rs",
            "moat-codec::packet::tests::tests::f",
        ),
        (
            "crates/moat-codec/tests/packets.rs",
            "moat-codec::packets::tests::f",
        ),
        ("xtask/src/tidy/mod.rs", "xtask::tidy::tests::f"),
    ] {
        assert_eq!(read(path, &text).0, [owned("5.0", "MQTT-1-1", expected)]);
    }
}

#[test]
fn a_proof_above_what_is_not_run_is_an_error() {
    for below in [
        "fn f() {",
        "#[ignore = \"slow\"]\n#[test]\nfn f() {",
        "struct F;",
        "",
        "//\n#[test]\nfn f() {",
    ] {
        let (proofs, wrong) = read("a.rs", &format!("/// @ 5.0 [MQTT-1-1].\n{below}\n"));
        assert_eq!(proofs, [], "{below}");
        assert_eq!(wrong.len(), 1, "{below}");
    }
}

#[test]
fn a_sentence_that_cannot_be_read_is_an_error() {
    for sentence in [
        "@ [MQTT-1-1].",
        "@ 5.0 [MQTT-1-1]",
        "@ 5.0 MQTT-1-1.",
        "@ 5.0 [MQTT-1-1]: why.",
        "@ 5.0 [MQTT-1-1",
        "@ 3.1 [MQTT-1-1].",
    ] {
        let (proofs, wrong) = read("a.rs", &format!("/// {sentence}\n#[test]\nfn f() {{\n"));
        assert_eq!(proofs, [], "{sentence}");
        assert_eq!(wrong.len(), 1, "{sentence}");
    }
}

#[test]
fn prose_is_no_proof() {
    let (proofs, wrong) = read("a.rs", "/// @ who it is.\nfn f() {\n}\n");
    assert_eq!((proofs, wrong), (Vec::new(), Vec::new()));
}

#[test]
fn a_proof_in_a_file_that_no_module_declares_is_an_error() {
    let file = |path: &str, text: &str| SourceFile::new(path, &text.replace('@', WORD));
    let test = "/// @ 5.0 [MQTT-1-1].\n#[test]\nfn f() {\n}\n";
    for (path, parent, line, is_wrong) in [
        (
            "crates/a/tests/it/b.rs",
            "crates/a/tests/it/main.rs",
            "mod b;",
            false,
        ),
        (
            "crates/a/tests/it/b.rs",
            "crates/a/tests/it/main.rs",
            "mod c;",
            true,
        ),
        (
            "crates/a/tests/it/b.rs",
            "crates/a/tests/it/main.rs",
            "// mod b; was here",
            true,
        ),
        ("crates/a/tests/b.rs", "crates/a/src/lib.rs", "", false),
        (
            "crates/a/src/b/mod.rs",
            "crates/a/src/lib.rs",
            "pub mod b;",
            false,
        ),
        (
            "crates/a/src/b/tests.rs",
            "crates/a/src/b.rs",
            "mod tests;",
            false,
        ),
        (
            "crates/a/src/b_tests.rs",
            "crates/a/src/b.rs",
            "#[path = \"b_tests.rs\"]",
            false,
        ),
        ("crates/a/src/b_tests.rs", "crates/a/src/b.rs", "", true),
    ] {
        let files = [file(path, test), file(parent, &format!("{line}\n"))];
        let proofs = Proofs::of_files(&files, &mut Vec::new());
        assert_eq!(
            unreached(&files, &proofs).len(),
            usize::from(is_wrong),
            "{path} {line}"
        );
    }
}
