//! The words after `cargo xtask bench`.

use std::path::PathBuf;

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

/// The most rounds, seconds of one run and peers.
const ROUNDS_MAX: usize = 100;
const SECS_MAX: f64 = 600.0;
const PEERS_MAX: usize = 16;

impl Options {
    /// # Errors
    /// A word that nobody knows, or a value that does not fit.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
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
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--quick" => options.is_quick = true,
                "--growth" => options.is_growth = true,
                _ => {
                    let value = words.next().ok_or_else(|| unknown(word))?;
                    options.set(word, value)?;
                }
            }
        }
        if options.is_quick {
            options.rounds = options.rounds.min(1);
            options.secs = options.secs.min(0.5);
        }
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> Result<(), String> {
        match word {
            "--rounds" => match value.parse() {
                Ok(rounds @ 1..=ROUNDS_MAX) => self.rounds = rounds,
                _ => return Err(format!("--rounds {value}: allowed are 1 to {ROUNDS_MAX}")),
            },
            "--secs" => match value.parse() {
                Ok(secs) if secs > 0.0 && secs <= SECS_MAX => self.secs = secs,
                _ => {
                    return Err(format!(
                        "--secs {value}: allowed are more than 0 and up to {SECS_MAX}"
                    ));
                }
            },
            "--rows" => self.rows.extend(value.split(',').map(str::to_owned)),
            "--peer" => self.peers.push(peer(value)?),
            "--load" => self.load = Some(value.into()),
            "--moat" => self.moat = Some(value.into()),
            "--out" => self.out = Some(value.into()),
            "--plot" => self.plot = Some(value.into()),
            _ => return Err(unknown(word)),
        }
        if self.peers.len() > PEERS_MAX {
            return Err(format!("--peer: at most {PEERS_MAX} of them"));
        }
        Ok(())
    }
}

fn unknown(word: &str) -> String {
    format!(
        "bench {word}: not known, or its value is missing; there are --rounds N, --secs S, --rows A,B, \
         --peer NAME=COMMAND, --load PATH, --moat PATH, --out DIR, --quick, --growth and --plot FILE"
    )
}

fn peer(value: &str) -> Result<Peer, String> {
    match value.split_once('=') {
        Some((name, command)) if !name.is_empty() && command.contains("{port}") => Ok(Peer {
            name: name.to_owned(),
            command: command.to_owned(),
        }),
        _ => Err(format!(
            "--peer {value}: write NAME=COMMAND with {{port}} in it, as in other='other-broker --port {{port}}'"
        )),
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
            (["--rounds", "0"], "--rounds 0: allowed are 1 to 100"),
            (["--secs", "x"], "--secs x"),
            (["--peer", "x=y"], "{port}"),
            (["--round", "3"], "--round:"),
        ] {
            let error = Options::parse(&words).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let peers = ["--peer", "x={port}"].repeat(PEERS_MAX + 1);
        assert!(Options::parse(&peers).unwrap_err().contains("at most"));
    }
}
