//! The words after `cargo xtask bench`.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::words::{self, Failure, Known};

/// What to measure, how often, and with what.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) rounds: usize,
    pub(super) secs: f64,
    pub(super) rows: Vec<String>,
    pub(super) peers: Vec<Peer>,
    /// The load generator; without it, ours is built.
    pub(super) load: Option<PathBuf>,
    /// The broker; without it, it is built.
    pub(super) moat: Option<PathBuf>,
    pub(super) out: Option<PathBuf>,
    pub(super) is_quick: bool,
    pub(super) is_growth: bool,
    pub(super) plot: Option<PathBuf>,
}

/// Another broker: a name, and a command with `{port}` in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) command: String,
}

/// The options.
const KNOWN: &[Known] = &[
    ("--rounds", "N"),
    ("--secs", "S"),
    ("--rows", "A,B"),
    ("--peer", "NAME=COMMAND"),
    ("--load", "PATH"),
    ("--moat", "PATH"),
    ("--out", "DIR"),
    ("--quick", ""),
    ("--growth", ""),
    ("--plot", "FILE"),
];

/// The most rounds and peers, and how long one run may be.
const ROUNDS_MAX: usize = 100;
const SECS: RangeInclusive<f64> = 0.01..=600.0;
const PEERS_MAX: usize = 16;

impl Options {
    /// # Errors
    /// A word that nobody knows, or a value that does not fit.
    pub(super) fn parse(words: &[&str]) -> Result<Self, Failure> {
        let mut options = Self {
            rounds: 5,
            secs: 2.0,
            rows: Vec::new(),
            peers: Vec::new(),
            load: None,
            moat: None,
            out: None,
            is_quick: false,
            is_growth: false,
            plot: None,
        };
        for (name, value) in words::options("bench", words, KNOWN)? {
            options.set(name, value)?;
        }
        if options.is_quick {
            options.rounds = options.rounds.min(1);
            options.secs = options.secs.min(0.5);
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        match name {
            "--rounds" => self.rounds = words::number(name, value, 1..=ROUNDS_MAX)?,
            "--secs" => self.secs = words::number(name, value, SECS)?,
            "--rows" => self.rows.extend(value.split(',').map(str::to_owned)),
            "--peer" => self.peers.push(peer(value)?),
            "--load" => self.load = Some(value.into()),
            "--moat" => self.moat = Some(value.into()),
            "--out" => self.out = Some(value.into()),
            "--quick" => self.is_quick = true,
            "--growth" => self.is_growth = true,
            _ => self.plot = Some(value.into()),
        }
        if self.peers.len() > PEERS_MAX {
            return Err(Failure::Words(format!(
                "--peer {value}: at most {PEERS_MAX} of them"
            )));
        }
        Ok(())
    }
}

fn peer(value: &str) -> Result<Peer, Failure> {
    match value.split_once('=') {
        Some((name, command)) if !name.is_empty() && command.contains("{port}") => Ok(Peer {
            name: name.to_owned(),
            command: command.to_owned(),
        }),
        _ => Err(Failure::Words(format!(
            "--peer {value}: write NAME=COMMAND with {{port}} in it, as in other='other-broker --port {{port}}'"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let words = [
            "--rounds",
            "3",
            "--rows",
            "a,b",
            "--peer",
            "x=y --port {port}",
            "--secs",
            "1.5",
        ];
        let options = Options::parse(&words).unwrap();
        assert_eq!((options.rounds, options.secs), (3, 1.5));
        assert_eq!(options.rows, ["a", "b"]);
        assert_eq!(options.peers[0].name, "x");
    }

    #[test]
    fn quick_is_one_short_round() {
        let options = Options::parse(&["--quick"]).unwrap();
        assert_eq!((options.rounds, options.secs), (1, 0.5));
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_is_allowed() {
        for (words, says) in [
            (
                ["--rounds", "0"],
                "--rounds 0: not a number that is allowed; allowed are 1 to 100",
            ),
            (["--secs", "x"], "--secs x: "),
            (["--secs", "0"], "allowed are 0.01 to 600"),
            (["--peer", "x=y"], "{port}"),
            (["--round", "3"], "--round: "),
        ] {
            let error = Options::parse(&words).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let peers = ["--peer", "x={port}"].repeat(PEERS_MAX + 1);
        let error = Options::parse(&peers).unwrap_err().to_string();
        assert!(error.contains("at most 16"), "{error}");
    }
}
