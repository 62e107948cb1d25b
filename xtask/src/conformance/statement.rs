//! The lists of statements: one line each, five columns with tabs between.

use crate::tidy::SourceFile;

/// The columns of a line.
const COLUMNS: usize = 5;

/// A version of the specification that has numbered statements; 3.1 has none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Version {
    V311,
    V5,
}

impl Version {
    pub(super) const ALL: [Version; 2] = [Version::V311, Version::V5];

    /// As it is written in a list's name and in a test's doc comment.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Version::V311 => "3.1.1",
            Version::V5 => "5.0",
        }
    }

    pub(super) fn of_name(name: &str) -> Option<Version> {
        Version::ALL
            .into_iter()
            .find(|version| version.name() == name)
    }

    /// The file with its statements.
    pub(super) const fn list(self) -> &'static str {
        match self {
            Version::V311 => "docs/conformance/mqtt-3.1.1.tsv",
            Version::V5 => "docs/conformance/mqtt-5.0.tsv",
        }
    }
}

/// Who has to keep to a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Binds {
    Server,
    Client,
    Both,
}

/// How it stands with a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Kept, and a test shows it.
    Test,
    /// No test can show it, and why.
    Untestable(String),
    /// Deliberately not kept to the letter, and why. A test may show what moat does instead.
    Deviation(String),
    /// Binds only clients, which moat is not.
    Client,
}

/// One normative statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Statement {
    /// As `MQTT-3.1.2-4`.
    pub(super) number: String,
    pub(super) binds: Binds,
    pub(super) verdict: Verdict,
    pub(super) text: String,
    /// Where it stands, as `file:line`.
    pub(super) at: String,
}

impl Statement {
    /// Whether a server has to keep to it.
    pub(super) fn binds_server(&self) -> bool {
        self.binds != Binds::Client
    }
}

/// The statements of one version, in the order of its list.
#[derive(Debug)]
pub(super) struct Specification {
    pub(super) version: Version,
    pub(super) statements: Vec<Statement>,
}

impl Specification {
    /// Reads a list. What cannot be read goes to `wrong`.
    pub(super) fn read(version: Version, file: &SourceFile, wrong: &mut Vec<String>) -> Self {
        let mut statements: Vec<Statement> = Vec::new();
        for (index, line) in file.text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = format!("{}:{}", file.path, index + 1);
            match statement(line, &at) {
                Ok(new) if statements.iter().any(|old| old.number == new.number) => {
                    wrong.push(format!("{at}: {} is there twice", new.number));
                }
                Ok(new) => statements.push(new),
                Err(error) => wrong.push(format!("{at}: {error}")),
            }
        }
        Specification {
            version,
            statements,
        }
    }

    /// The statement with a number.
    pub(super) fn find(&self, number: &str) -> Option<&Statement> {
        self.statements
            .iter()
            .find(|statement| statement.number == number)
    }
}

fn statement(line: &str, at: &str) -> Result<Statement, String> {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[number, binds, verdict, note, text] = columns.as_slice() else {
        return Err(format!(
            "{} columns; needed are {COLUMNS} with tabs between: number, binds, verdict, note, text",
            columns.len()
        ));
    };
    if !number.starts_with("MQTT-") {
        return Err(format!("{number:?} is no number; write it as MQTT-3.1.2-4"));
    }
    if text.is_empty() {
        return Err(format!("{number} has no text"));
    }
    let binds = match binds {
        "server" => Binds::Server,
        "client" => Binds::Client,
        "both" => Binds::Both,
        other => {
            return Err(format!(
                "{number} binds {other:?}; allowed are server, client and both"
            ));
        }
    };
    Ok(Statement {
        number: number.to_owned(),
        binds,
        verdict: verdict_of(verdict, note, binds).map_err(|error| format!("{number} {error}"))?,
        text: text.to_owned(),
        at: at.to_owned(),
    })
}

fn verdict_of(verdict: &str, note: &str, binds: Binds) -> Result<Verdict, String> {
    let reasoned = |make: fn(String) -> Verdict| match note {
        "" => Err(format!(
            "is {verdict} without a reason; put it into the note"
        )),
        note => Ok(make(note.to_owned())),
    };
    match (binds, verdict) {
        (Binds::Client, "-") => Ok(Verdict::Client),
        (Binds::Client, _) => Err("binds only clients; its verdict is -".to_owned()),
        (_, "test") if note.is_empty() => Ok(Verdict::Test),
        (_, "test") => Err("has a note, but its verdict is test; take the note out".to_owned()),
        (_, "untestable") => reasoned(Verdict::Untestable),
        (_, "deviation") => reasoned(Verdict::Deviation),
        (_, other) => Err(format!(
            "has the verdict {other:?}; allowed are test, untestable and deviation"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Statement>, Vec<String>) {
        let file = SourceFile::new("list", text);
        let mut wrong = Vec::new();
        let specification = Specification::read(Version::V5, &file, &mut wrong);
        (specification.statements, wrong)
    }

    #[test]
    fn a_line_is_a_statement() {
        let (statements, wrong) = read("# list\n\nMQTT-1-1\tboth\tdeviation\twhy\tDo it\n");
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(
            statements,
            [Statement {
                number: "MQTT-1-1".to_owned(),
                binds: Binds::Both,
                verdict: Verdict::Deviation("why".to_owned()),
                text: "Do it".to_owned(),
                at: "list:3".to_owned(),
            }]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        for (line, error) in [
            ("MQTT-1-1\tboth\ttest\tDo it", "4 columns"),
            ("1-1\tboth\ttest\t\tDo it", "no number"),
            ("MQTT-1-1\tnobody\ttest\t\tDo it", "binds \"nobody\""),
            ("MQTT-1-1\tboth\tperhaps\t\tDo it", "\"perhaps\""),
            ("MQTT-1-1\tboth\ttest\t\t", "no text"),
            ("MQTT-1-1\tboth\ttest\twhy\tDo it", "has a note"),
            ("MQTT-1-1\tserver\tuntestable\t\tDo it", "without a reason"),
            ("MQTT-1-1\tserver\tdeviation\t\tDo it", "without a reason"),
            ("MQTT-1-1\tclient\ttest\t\tDo it", "only clients"),
        ] {
            let (statements, wrong) = read(line);
            assert_eq!(statements, []);
            assert_eq!(wrong.len(), 1);
            assert!(
                wrong[0].starts_with("list:1: ") && wrong[0].contains(error),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_number_stands_in_a_list_once() {
        let line = "MQTT-1-1\tclient\t-\t\tDo it";
        let (statements, wrong) = read(&format!("{line}\n{line}"));
        assert_eq!(statements.len(), 1);
        assert_eq!(wrong, ["list:2: MQTT-1-1 is there twice"]);
    }
}
