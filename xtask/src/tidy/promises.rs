//! `docs/durability.md` names the tests of what it promises, in comments that a reader does not see: each statement has some, and they exist.

use super::SourceFile;

const PAGE: &str = "docs/durability.md";
/// Begins the comment with the names.
const TESTS: &str = "<!-- tests: ";
/// Paragraphs that state nothing of their own begin with this.
const UNTESTED: [&str; 8] = [
    "#",
    "What moat has acknowledged is still there",
    "In the folder of the key",
    "Disks differ",
    "Stop moat, copy",
    "```",
    "| `store.durability` |",
    "| what is full |",
];

/// What the page says without a test, and the tests it names that do not exist.
pub(super) fn check(files: &[SourceFile]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![format!("{PAGE}: missing; it says what is never lost")];
    };
    let mut wrong = Vec::new();
    for (line, statement) in statements(&page.text) {
        let Some((_, named)) = statement.split_once(TESTS) else {
            let begin: String = statement.chars().take(60).collect();
            wrong.push(format!("{PAGE}:{line}: no test is named for “{begin} …”"));
            continue;
        };
        let named = named.split(" -->").next().unwrap_or_default();
        for test in named.split(", ") {
            let definition = format!("fn {test}(");
            let is_there = |file: &&SourceFile| {
                let path = std::path::Path::new(&file.path);
                path.extension().is_some_and(|end| end == "rs") && file.text.contains(&definition)
            };
            if files.iter().find(is_there).is_none() {
                wrong.push(format!("{PAGE}:{line}: there is no test `{test}`"));
            }
        }
    }
    wrong
}

/// Paragraphs, list items and table rows with the numbers of their lines, those of [`UNTESTED`] and what is within fences left out.
fn statements(page: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut is_fenced = false;
    let mut is_open = false;
    for (number, line) in (1..).zip(page.lines()) {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
            is_open = false;
            continue;
        }
        if is_fenced || line.trim().is_empty() || line.starts_with("|---") {
            is_open = false;
            continue;
        }
        let begins = !is_open || line.starts_with("- ") || line.starts_with("| ");
        if begins {
            found.push((number, line.to_owned()));
        } else if let Some((_, statement)) = found.last_mut() {
            statement.push('\n');
            statement.push_str(line);
        }
        is_open = true;
    }
    let is_untested = |text: &str| UNTESTED.iter().any(|begin| text.starts_with(begin));
    found.retain(|(_, statement)| !is_untested(statement));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_without_a_test_and_a_test_that_is_none_are_named() {
        let page = "# Durability\n\nKept:\nall.\n<!-- tests: it_is_kept -->\n\n- one\n- two\n  <!-- tests: none_such -->\n";
        let files = [
            SourceFile::new(PAGE, page),
            SourceFile::new("crates/a/tests/it.rs", "fn it_is_kept() {}"),
        ];
        assert_eq!(
            check(&files),
            [
                format!("{PAGE}:7: no test is named for “- one …”"),
                format!("{PAGE}:8: there is no test `none_such`"),
            ]
        );
    }

    #[test]
    fn a_row_of_a_table_is_a_statement_and_a_fence_is_none() {
        let page =
            "| what is full | key |\n|---|---|\n| a | b |\n\n```sh\nmoat store verify\n```\n";
        let found = statements(page);
        assert_eq!(found, [(3, "| a | b |".to_owned())]);
    }
}
