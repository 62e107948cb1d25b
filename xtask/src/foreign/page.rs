//! The blocks of docs/clients.md, run as they stand there against the broker of the tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::foreign::broker::{Broker, HOST, PASSWORD};
use crate::foreign::matrix::Transport;
use crate::foreign::outcome::Outcome;
use crate::foreign::print;
use crate::foreign::programs::Programs;
use crate::tests_run::Count;

const PAGE: &str = "docs/clients.md";
/// The names on the page.
pub(crate) const DEVICE: &str = "press-1";
pub(crate) const USER: &str = "anna";
const PAGE_HOST: &str = "broker.example.com";
const PAGE_PORTS: [(&str, Transport); 2] = [("8883", Transport::Tls), ("8084", Transport::Wss)];

/// A block of code on the page.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Its first line, counted from 1.
    line: usize,
    language: String,
    text: String,
}

/// Runs every block of a language that can be run.
pub(crate) fn run(root: &Path, programs: &Programs, broker: &Broker) -> Result<Count, String> {
    let text = fs::read_to_string(root.join(PAGE)).map_err(|error| format!("{PAGE}: {error}"))?;
    // Where Node looks for packages.
    let packages = broker.bundle(DEVICE).join("node_modules");
    symlink(root.join("foreign/node/node_modules"), &packages)
        .map_err(|error| format!("{}: {error}", packages.display()))?;
    let mut count = Count::default();
    for block in blocks(&text) {
        let Some(mut command) = programs.interpreter(&block.language) else {
            continue;
        };
        command
            .arg(for_this_broker(&block.text, broker)?)
            .env("MQTT_PASSWORD", PASSWORD)
            .current_dir(broker.bundle(DEVICE));
        let outcome = Outcome::of(command)?;
        if outcome.of_scenario("block").is_ok() {
            count.passed += 1;
        } else {
            count.failed += 1;
            let head = format!("{PAGE}:{}: FAILED", block.line);
            print(&head, &outcome.other_lines());
        }
    }
    print(&format!("{PAGE}: {} blocks passed", count.passed), &[]);
    Ok(count)
}

fn for_this_broker(text: &str, broker: &Broker) -> Result<String, String> {
    let mut text = text.replace(PAGE_HOST, HOST);
    for (port, transport) in PAGE_PORTS {
        text = text.replace(port, &broker.port(transport)?);
    }
    Ok(text)
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block {
                    line: index + 2,
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_language_line_and_text() {
        let page = "# a\n```sh\none\ntwo\n```\ntext\n```rust\n```\n";
        let block = |line, language: &str, text: &str| Block {
            line,
            language: language.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(
            blocks(page),
            [block(3, "sh", "one\ntwo\n"), block(8, "rust", "")]
        );
    }

    #[test]
    fn every_client_outside_of_the_browser_has_blocks_that_can_be_run() {
        let page = fs::read_to_string(crate::root().join(PAGE)).unwrap();
        for (language, count) in [("sh", 2), ("python", 8), ("js", 3)] {
            let of_language = |block: &&Block| block.language == language;
            let blocks = blocks(&page);
            assert_eq!(
                blocks.iter().filter(of_language).count(),
                count,
                "{language}"
            );
        }
    }

    #[test]
    fn the_rust_on_the_page_is_the_program_that_is_built() {
        let page = fs::read_to_string(crate::root().join(PAGE)).unwrap();
        let program = crate::root().join("foreign/rumqttc/src/bin/page.rs");
        let built = fs::read_to_string(program).unwrap();
        let of_rust = |block: &Block| block.language == "rust";
        let found: Vec<Block> = blocks(&page).into_iter().filter(of_rust).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text, built);
    }
}
