//! `docs/life-of-a-publish.md` names the functions of the hot path; they must be where it says.

use super::SourceFile;

const PAGE: &str = "docs/life-of-a-publish.md";
/// Named functions from socket to socket, at most.
const STEPS_MAX: usize = 7;

/// One row of the page's table: a function and the file that holds it.
struct Step<'a> {
    function: &'a str,
    file: &'a str,
}

/// What the page says that is not so.
pub(super) fn check(files: &[SourceFile]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![format!(
            "{PAGE}: missing; it names the functions of the hot path"
        )];
    };
    let steps: Vec<Step<'_>> = page.text.lines().filter_map(step).collect();
    let mut wrong = Vec::new();
    if steps.is_empty() || steps.len() > STEPS_MAX {
        wrong.push(format!(
            "{PAGE}: its table names {} functions; allowed: 1 to {STEPS_MAX}",
            steps.len()
        ));
    }
    for Step { function, file } in steps {
        let definition = format!("fn {function}(");
        let generic = format!("fn {function}<");
        let found = files
            .iter()
            .find(|source| source.path == file)
            .is_some_and(|source| {
                source.text.contains(&definition) || source.text.contains(&generic)
            });
        if !found {
            wrong.push(format!(
                "{PAGE}: there is no function `{function}` in {file}"
            ));
        }
    }
    wrong
}

/// A row like ``| 1 | `EventLoop::serve` | `crates/.../serve.rs` | ... |``.
fn step(line: &str) -> Option<Step<'_>> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    cells.next()?.parse::<usize>().ok()?;
    let function = cells.next()?.trim_matches('`');
    let file = cells.next()?.trim_matches('`');
    let function = function.rsplit("::").next()?.trim_end_matches("()");
    file.ends_with(".rs").then_some(Step { function, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_moved_is_noticed() {
        let page = SourceFile::new(
            PAGE,
            "| step | function | file |\n|---|---|---|\n| 1 | `Shard::receive` | `a.rs` |\n",
        );
        let here = SourceFile::new("a.rs", "pub fn receive(&mut self) {}");
        assert!(check(&[page, here]).is_empty());
        let page = SourceFile::new(PAGE, "| 1 | `Shard::receive` | `a.rs` |\n");
        let moved = SourceFile::new("b.rs", "pub fn receive(&mut self) {}");
        assert_eq!(check(&[page, moved]).len(), 1);
    }

    #[test]
    fn an_eighth_function_is_one_too_many() {
        let rows = (1..=8)
            .map(|n| format!("| {n} | `f` | `a.rs` |\n"))
            .collect::<String>();
        let wrong = check(&[
            SourceFile::new(PAGE, &rows),
            SourceFile::new("a.rs", "fn f() {}"),
        ]);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
    }
}
