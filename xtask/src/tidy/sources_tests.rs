use super::*;

fn wrong(path: &str, text: &str) -> Vec<String> {
    check_file(&SourceFile::new(path, text))
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_file_longer_than_the_limit_is_found_and_tests_may_be_longer() {
    let text = "x\n".repeat(LINES_MAX + 1);
    assert_eq!(wrong("crates/moat/src/main.rs", &text).len(), 1);
    assert_eq!(
        wrong("crates/moat/src/main.rs", &"x\n".repeat(LINES_MAX)),
        NOTHING
    );
    for tests in [
        "crates/moat/tests/it/a.rs",
        "crates/moat/src/tests.rs",
        "crates/moat/src/a_tests.rs",
        TABLES[0].0,
    ] {
        assert_eq!(wrong(tests, &text), NOTHING);
        let longer = "x\n".repeat(LINES_OF_TESTS_MAX + 1);
        assert_eq!(wrong(tests, &longer).len(), 1);
    }
}

#[test]
fn a_crate_begins_with_its_doc() {
    assert_eq!(wrong("crates/moat-core/src/lib.rs", "mod a;\n").len(), 1);
    assert_eq!(
        wrong("crates/moat-core/src/lib.rs", "//! What.\nmod a;\n"),
        NOTHING
    );
}

#[test]
fn unfinished_code_is_found_but_not_in_comments() {
    for mark in UNFINISHED {
        let path = "crates/moat/src/a.rs";
        assert_eq!(wrong(path, &format!("fn a() {{ {mark}) }}\n")).len(), 1);
        assert_eq!(wrong(path, &format!("    // {mark})\n")), NOTHING);
    }
}

#[test]
fn a_module_name_that_says_nothing_is_found() {
    let path = "crates/moat/src/a.rs";
    for line in [
        "mod utils;",
        "pub mod common;",
        "pub(crate) mod types {",
        "    mod helpers;",
    ] {
        assert_eq!(wrong(path, line).len(), 1, "{line}");
    }
    for line in ["mod utility_bill;", "use common;", "pub mod typestate;"] {
        assert_eq!(wrong(path, line), NOTHING, "{line}");
    }
}

#[test]
fn an_ignored_test_needs_a_reason() {
    let path = "crates/moat/src/a.rs";
    assert_eq!(wrong(path, concat!("#[ign", "ore]")).len(), 1);
    assert_eq!(wrong(path, "#[ignore = \"needs a TPM\"]"), NOTHING);
}

#[test]
fn a_crate_without_input_and_output_reads_no_clock_outside_of_its_tests() {
    let path = "crates/moat-core/src/session/timers.rs";
    let clock = "fn now() -> Instant {\n    Instant::now()\n}\n";
    assert_eq!(
        wrong(path, clock),
        [
            "crates/moat-core/src/session/timers.rs:2: Instant::now in a crate without input, output and clock; \
          take it as an argument"
        ]
    );
    assert_eq!(
        wrong(
            path,
            &format!("fn a() {{}}\n\n#[cfg(test)]\nmod tests {{\n{clock}}}\n")
        ),
        NOTHING
    );
    assert_eq!(
        wrong("crates/moat-core/src/session/tests.rs", clock),
        NOTHING
    );
    assert_eq!(wrong("crates/moat-broker/src/shard.rs", clock), NOTHING);
}

#[test]
fn the_types_of_an_address_are_data() {
    let path = "crates/moat-core/src/effects.rs";
    for line in [
        "use std::net::SocketAddr;",
        "use std::net::{IpAddr, SocketAddr};",
        "    address: std::net::SocketAddr,",
    ] {
        assert_eq!(wrong(path, line), NOTHING, "{line}");
    }
    for line in [
        "use std::net;",
        "use std::net::*;",
        "use std::net::{SocketAddr, TcpStream};",
        "let l = std::net::TcpListener::bind(a);",
        "use std::net::Shutdown;",
    ] {
        assert_eq!(wrong(path, line).len(), 1, "{line}");
    }
}

#[test]
fn a_path_of_one_machine_is_found_in_any_file() {
    for folder in MACHINE_FOLDERS {
        for line in [
            format!("cd {folder}/x"),
            format!("\"{folder}/a\""),
            format!("{folder}/b"),
        ] {
            assert_eq!(wrong("docs/a.md", &line).len(), 1, "{line}");
        }
        for line in [
            format!("https://example.org{folder}/"),
            format!("..{folder}/x"),
            format!("a{folder}/x"),
            format!("{folder}er/x"),
            format!("{folder} is a word"),
        ] {
            assert_eq!(wrong("docs/a.md", &line), NOTHING, "{line}");
        }
    }
}
