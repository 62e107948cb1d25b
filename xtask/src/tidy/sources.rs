//! What may not stand in a file.

use super::SourceFile;

/// The most lines of a Rust file.
const LINES_MAX: usize = 600;

/// The most lines of tests and of files that are one table.
const LINES_OF_TESTS_MAX: usize = 1000;

/// Files that are one flat table, which is easier to read in one piece. Each needs its reason.
const TABLES: &[(&str, &str)] = &[(
    "crates/moat-events/src/table.rs",
    "the catalogue: one entry per event",
)];

/// Files that may be longer than [`LINES_MAX`]. Each needs its reason; the list only shrinks.
const LONG_FILES: &[(&str, &str)] = &[];

/// The crates that take bytes, time and answers as arguments.
const NO_IO_FOLDERS: &[&str] = &[
    "crates/moat-codec/src/",
    "crates/moat-core/src/",
    "crates/moat-policy/src/",
];

/// What such a crate does not use. The types of an address are data and allowed: an event has one.
const IO: &[&str] = &[
    "tokio::",
    "mio::",
    "rustls::",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "Instant::now",
    "SystemTime::now",
];
const ADDRESS_TYPES: &[&str] = &[
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
];

/// Left by somebody who has not finished. Written in two parts, so that this file has none.
const UNFINISHED: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("db", "g!("),
];

/// Folders that exist on the machine of whoever wrote the path.
const MACHINE_FOLDERS: &[&str] = &[
    concat!("/wo", "rk"),
    concat!("/ro", "ot"),
    concat!("/ho", "me"),
];

/// Modules whose name says nothing about what is in them.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "common", "types", "helpers", "helper", "misc",
];

/// What is wrong in the files.
pub(super) fn check(files: &[SourceFile]) -> Vec<String> {
    let mut wrong: Vec<String> = files.iter().flat_map(check_file).collect();
    wrong.extend(stale_exceptions(files));
    wrong
}

fn check_file(file: &SourceFile) -> Vec<String> {
    let mut wrong = machine_paths(file);
    if !file.path.ends_with(".rs") {
        return wrong;
    }
    wrong.extend(length(file));
    wrong.extend(crate_doc(file));
    wrong.extend(lines(file));
    if NO_IO_FOLDERS
        .iter()
        .any(|folder| file.path.starts_with(folder))
        && !is_test(&file.path)
    {
        wrong.extend(input_and_output(file));
    }
    wrong
}

/// Lines with their number, counted from 1, and without what is a comment.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| {
        let is_comment = line.trim_start().starts_with("//");
        (index + 1, if is_comment { "" } else { line })
    })
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

fn length(file: &SourceFile) -> Option<String> {
    let count = file.text.lines().count();
    let is_listed = |list: &[(&str, &str)]| list.iter().any(|(path, _)| *path == file.path);
    let allowed = if is_test(&file.path) || is_listed(TABLES) {
        LINES_OF_TESTS_MAX
    } else {
        LINES_MAX
    };
    (count > allowed && !is_listed(LONG_FILES)).then(|| {
        format!(
            "{}: {count} lines; allowed: {allowed}. Cut it, or give the reason in LONG_FILES of \
             xtask/src/tidy/sources.rs",
            file.path
        )
    })
}

fn stale_exceptions(files: &[SourceFile]) -> Vec<String> {
    let lines = |path: &str| {
        let file = files.iter().find(|file| file.path == path);
        file.map_or(0, |file| file.text.lines().count())
    };
    LONG_FILES
        .iter()
        .filter(|(path, _)| lines(path) <= LINES_MAX)
        .map(|(path, _)| format!("{path}: no longer too long; take it out of LONG_FILES"))
        .collect()
}

fn crate_doc(file: &SourceFile) -> Option<String> {
    let is_root = file.path.starts_with("crates/") && file.path.ends_with("/src/lib.rs");
    (is_root && !file.text.starts_with("//!")).then(|| {
        format!(
            "{}:1: begin with //! and what the crate is for, what it may not know, where to enter",
            file.path
        )
    })
}

fn lines(file: &SourceFile) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, line) in code(&file.text) {
        let at = format!("{}:{number}", file.path);
        for unfinished in UNFINISHED.iter().filter(|mark| line.contains(**mark)) {
            wrong.push(format!("{at}: {unfinished}) is left; finish it"));
        }
        if let Some(name) = module(line).filter(|name| EMPTY_NAMES.contains(name)) {
            wrong.push(format!(
                "{at}: a module named {name} says nothing; name it after what it holds"
            ));
        }
        if line.contains(concat!("#[ign", "ore]")) {
            wrong.push(format!(
                "{at}: an ignored test needs its reason: #[ignore = \"…\"]"
            ));
        }
    }
    wrong
}

/// The name of the module a line declares.
fn module(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) => rest.trim_start_matches(|c: char| c != ' ').trim_start(),
        None => line,
    };
    line.strip_prefix("mod ")?
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .next()
}

fn input_and_output(file: &SourceFile) -> Vec<String> {
    let mut wrong = Vec::new();
    let text = without_tests(&file.text);
    for (number, line) in code(text) {
        let used = IO.iter().copied().find(|name| line.contains(name));
        let used = used.or_else(|| uses_net(line).then_some("std::net"));
        if let Some(name) = used {
            wrong.push(format!(
                "{}:{number}: {name} in a crate without input, output and clock; take it as an argument",
                file.path
            ));
        }
    }
    wrong
}

/// The text before the test module, which by rule stands last: tests may read a clock.
fn without_tests(text: &str) -> &str {
    match text.find("\n#[cfg(test)]\nmod ") {
        Some(end) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

/// Whether a line uses more of `std::net` than the types of an address.
fn uses_net(line: &str) -> bool {
    line.split("std::net").skip(1).any(|rest| {
        let Some(names) = rest.strip_prefix("::") else {
            return true;
        };
        let names = match names.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or(list),
            None => names
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .next()
                .unwrap_or(names),
        };
        !names
            .split(',')
            .all(|name| ADDRESS_TYPES.contains(&name.trim()))
    })
}

fn machine_paths(file: &SourceFile) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for folder in MACHINE_FOLDERS {
            let found = line
                .match_indices(folder)
                .any(|(start, _)| is_absolute(line, start, start + folder.len()));
            if found {
                wrong.push(format!(
                    "{}:{}: {folder} is a folder of one machine; use a path from the root of the repository",
                    file.path,
                    index + 1
                ));
            }
        }
    }
    wrong
}

/// Whether the text from `start` to `end` begins a path and ends a folder's name.
fn is_absolute(line: &str, start: usize, end: usize) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let before = line.get(..start).and_then(|text| text.chars().next_back());
    let after = line.get(end..).and_then(|text| text.chars().next());
    let begins =
        before.is_none_or(|c| !goes_on(c) && !matches!(c, '.' | '/' | '}' | '~' | '#' | '+'));
    begins && after == Some('/')
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
