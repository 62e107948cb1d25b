//! What tests prove, by their doc comments: `/// Proves 5.0 [MQTT-3.1.2-4] [MQTT-3.1.2-5]; 3.1.1 [MQTT-3.1.2-6].`
//!
//! The sentence stands directly above a function, may go on over several lines, and ends with a full stop. The
//! function is a test if it has `#[test]`, or if its file lists it in `everywhere!(…)`. The files are read line by
//! line, which is enough for what rustfmt has formatted.

use super::statement::Version;
use crate::tidy::SourceFile;

/// The word a proof begins with.
const WORD: &str = "Proves";

/// The macro that makes tests of the functions it lists.
const EVERYWHERE: &str = "everywhere!";

/// A statement and a test that proves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Proof {
    pub(super) version: Version,
    pub(super) number: String,
    /// The test, as `moat-core::it::qos1::name`.
    pub(super) test: String,
    /// Where it is said, as `file:line`.
    pub(super) at: String,
}

impl Proof {
    fn file(&self) -> &str {
        self.at.split(':').next().unwrap_or_default()
    }
}

/// All proofs, in the order of the files.
#[derive(Default, Debug)]
pub(super) struct Proofs(pub(super) Vec<Proof>);

impl Proofs {
    /// Gathers the proofs of all Rust files. What is not as it should be goes to `wrong`.
    pub(super) fn of_files(files: &[SourceFile], wrong: &mut Vec<String>) -> Self {
        let mut proofs = Proofs::default();
        for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
            if file.text.contains(concat!("/// ", "Proves ")) {
                Reader::new(file).read(&mut proofs.0, wrong);
            }
        }
        proofs
    }

    /// The tests that prove a statement, each once.
    pub(super) fn tests(&self, version: Version, number: &str) -> Vec<&str> {
        let mut tests = Vec::new();
        for proof in &self.0 {
            let is_it = proof.version == version && proof.number == number;
            if is_it && !tests.contains(&proof.test.as_str()) {
                tests.push(proof.test.as_str());
            }
        }
        tests
    }
}

/// Proofs in files that no module declares: they are not compiled, so nothing in them is run.
pub(super) fn unreached(files: &[SourceFile], proofs: &Proofs) -> Vec<String> {
    let mut paths: Vec<&str> = proofs.0.iter().map(|proof| proof.file()).collect();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| !is_declared(path, files))
        .map(|path| format!("{path}: no module declares this file, so its tests are not run"))
        .collect()
}

fn is_declared(path: &str, files: &[SourceFile]) -> bool {
    let Some((mut folder, file)) = path.rsplit_once('/') else {
        return true;
    };
    let mut name = file.strip_suffix(".rs").unwrap_or(file);
    if name == "mod" {
        (folder, name) = folder.rsplit_once('/').unwrap_or(("", folder));
    }
    // Cargo finds these by itself.
    if matches!(name, "lib" | "main") || folder.ends_with("/tests") {
        return true;
    }
    let parents = ["/lib.rs", "/main.rs", "/mod.rs", ".rs"].map(|end| format!("{folder}{end}"));
    let (declaration, by_path) = (format!("mod {name};"), format!("#[path = \"{file}\"]"));
    files.iter().any(|parent| {
        let declares = |line: &str| line.ends_with(&declaration) || line.trim() == by_path;
        // The parent of a file named by its path has any name.
        let is_parent = parents.contains(&parent.path) || parent.text.contains(&by_path);
        is_parent && parent.path.starts_with(folder) && parent.text.lines().any(declares)
    })
}

/// One file, line by line.
struct Reader<'a> {
    file: &'a SourceFile,
    /// Functions that `everywhere!` makes tests of.
    listed: Vec<&'a str>,
    /// Modules that are open within the file, each with its indentation.
    modules: Vec<(usize, &'a str)>,
    /// The doc comment at hand, without its slashes.
    doc: Vec<&'a str>,
    attributes: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn new(file: &'a SourceFile) -> Self {
        Reader {
            file,
            listed: listed(&file.text),
            modules: Vec::new(),
            doc: Vec::new(),
            attributes: Vec::new(),
        }
    }

    fn read(mut self, proofs: &mut Vec<Proof>, wrong: &mut Vec<String>) {
        let mut in_attribute = false;
        for (index, line) in self.file.text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let code = line.trim();
            if in_attribute {
                in_attribute = !code.ends_with(']');
            } else if let Some(doc) = code.strip_prefix("///") {
                self.doc.push(doc.trim());
            } else if code.starts_with("#[") {
                self.attributes.push(code);
                in_attribute = !code.ends_with(']');
            } else {
                let at = format!("{}:{}", self.file.path, index + 1);
                self.item(code, &at, proofs, wrong);
                self.enter_or_leave(indent, code);
            }
        }
    }

    /// What stands below a doc comment and attributes.
    fn item(&mut self, code: &str, at: &str, proofs: &mut Vec<Proof>, wrong: &mut Vec<String>) {
        let doc = std::mem::take(&mut self.doc);
        let attributes = std::mem::take(&mut self.attributes);
        let Some(words) = sentence(&doc) else {
            return;
        };
        let Some(name) = function(code) else {
            wrong.push(format!(
                "{at}: a proof stands above something that is no function"
            ));
            return;
        };
        if attributes.iter().any(|line| line.starts_with("#[ignore")) {
            wrong.push(format!("{at}: {name} is ignored, so it proves nothing"));
            return;
        }
        if !attributes.contains(&"#[test]") && !self.listed.contains(&name) {
            wrong.push(format!(
                "{at}: {name} is not run as a test; give it #[test] or list it in {EVERYWHERE}"
            ));
            return;
        }
        let test = self.path_of(name);
        match numbers(&words) {
            Err(error) => wrong.push(format!("{at}: the proof of {name} {error}")),
            Ok(numbers) => proofs.extend(numbers.into_iter().map(|(version, number)| Proof {
                version,
                number,
                test: test.clone(),
                at: at.to_owned(),
            })),
        }
    }

    fn enter_or_leave(&mut self, indent: usize, code: &'a str) {
        let module = code.strip_suffix(" {").and_then(|code| {
            let code = code.strip_prefix("pub(crate) ").unwrap_or(code);
            code.strip_prefix("mod ")
        });
        if let Some(name) = module {
            self.modules.push((indent, name));
        } else if code == "}" && self.modules.last().is_some_and(|(at, _)| *at == indent) {
            self.modules.pop();
        }
    }

    /// The path of a function: crate, test binary if it is in one, modules, name.
    fn path_of(&self, name: &str) -> String {
        let mut path = module_path(&self.file.path);
        path.extend(self.modules.iter().map(|(_, module)| *module));
        path.push(name);
        path.join("::")
    }
}

/// The modules a file's path stands for: `crates/moat-core/tests/it/qos1.rs` is `moat-core::it::qos1`.
fn module_path(file: &str) -> Vec<&str> {
    let file = file.strip_prefix("crates/").unwrap_or(file);
    let file = file.strip_suffix(".rs").unwrap_or(file);
    let mut parts: Vec<&str> = file.split('/').collect();
    if matches!(parts.last(), Some(&("mod" | "main" | "lib"))) {
        parts.pop();
    }
    // The folder behind the crate's.
    if parts.len() > 1 && matches!(parts[1], "src" | "tests") {
        parts.remove(1);
    }
    parts
}

/// The functions listed in `everywhere!(…)`.
fn listed(text: &str) -> Vec<&str> {
    let begins = |line: &&str| line.starts_with(EVERYWHERE);
    let mut names = Vec::new();
    let mut lines = text.lines();
    while let Some(first) = lines.find(begins) {
        let rest = std::iter::once(&first[EVERYWHERE.len()..]).chain(lines.by_ref());
        for line in rest {
            let code = line.split("//").next().unwrap_or_default();
            names.extend(code.split(is_no_name).filter(|name| !name.is_empty()));
            if code.contains(')') {
                break;
            }
        }
    }
    names
}

fn is_no_name(c: char) -> bool {
    !(c.is_alphanumeric() || c == '_')
}

/// The words of the proof in a doc comment, without the first. Prose that only begins with the word is none.
fn sentence<'a>(doc: &[&'a str]) -> Option<Vec<&'a str>> {
    let start = doc.iter().position(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(WORD)
            && words.next().is_some_and(|second| {
                second.starts_with('[') || second.starts_with(|c: char| c.is_ascii_digit())
            })
    })?;
    let words = doc[start..].iter().flat_map(|line| line.split_whitespace());
    Some(words.skip(1).collect())
}

fn function(code: &str) -> Option<&str> {
    let code = code.strip_prefix("pub ").unwrap_or(code);
    let code = code.strip_prefix("pub(crate) ").unwrap_or(code);
    let code = code.strip_prefix("pub(super) ").unwrap_or(code);
    let name = code.strip_prefix("fn ")?;
    name.split(is_no_name).next()
}

/// The numbers up to the full stop.
fn numbers(words: &[&str]) -> Result<Vec<(Version, String)>, String> {
    let mut version = None;
    let mut numbers = Vec::new();
    for word in words {
        if let Some(new) = Version::of_name(word) {
            version = Some(new);
            continue;
        }
        let number = word.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let Some((number, behind)) = number else {
            return Err(format!(
                "has {word:?}; allowed are 3.1.1, 5.0, numbers in brackets, and a full stop at the end"
            ));
        };
        let version = version.ok_or("names no version; begin with 3.1.1 or 5.0")?;
        numbers.push((version, number.to_owned()));
        match behind {
            "" | "," | ";" => {}
            "." => return Ok(numbers),
            other => return Err(format!("has {other:?} behind {number}")),
        }
    }
    Err("does not end with a full stop".to_owned())
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
