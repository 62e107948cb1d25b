//! At home with whom: which of moat's packet threads has a client's session. The broker does not tell, and nobody can choose it; but
//! the thread that answers pings while nobody else says anything is the one.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::connection::{Connection, Who};
use crate::options::Options;

/// What the names of packet threads begin with.
const THREAD: &str = "shard-";
/// Pings whose answers tell one thread from the others.
const PINGS: usize = 40;
/// Clients to try until one has the home that is wanted.
const TRIES_MAX: usize = 200;

/// Where publisher and subscriber of a pair are at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Homes {
    /// In one thread, each pair in the next.
    Same,
    /// In a thread and the one after it.
    Across,
}

impl FromStr for Homes {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "same" => Ok(Self::Same),
            "across" => Ok(Self::Across),
            _ => Err("same and across are allowed".to_owned()),
        }
    }
}

/// The packet threads of the broker, by number.
pub(crate) struct Threads {
    homes: Homes,
    /// Their figures of the scheduler.
    files: Vec<PathBuf>,
}

impl Threads {
    /// Those of the broker's process.
    ///
    /// # Errors
    /// It has less than two of them.
    pub(crate) fn find(options: &Options, homes: Homes) -> Result<Self, String> {
        let tasks = format!("/proc/{}/task", options.broker_pid);
        let entries = fs::read_dir(&tasks).map_err(|error| format!("{tasks}: {error}"))?;
        let mut files = BTreeMap::new();
        for task in entries.flatten() {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let number = name.trim().strip_prefix(THREAD).map(str::parse::<usize>);
            if let Some(Ok(number)) = number {
                files.insert(number, task.path().join("schedstat"));
            }
        }
        let files: Vec<PathBuf> = files.into_values().collect();
        if files.len() < 2 {
            return Err(format!(
                "--homes: {tasks} has {} threads named {THREAD}N, and two are needed",
                files.len()
            ));
        }
        Ok(Self { homes, files })
    }

    /// The home that the subscriber of pair `number` is to have.
    pub(crate) fn of_subscriber(&self, number: usize) -> usize {
        number % self.files.len()
    }

    /// The home that the publisher of pair `number` is to have.
    pub(crate) fn of_publisher(&self, number: usize) -> usize {
        let step = usize::from(self.homes == Homes::Across);
        (number + step) % self.files.len()
    }

    /// Connects under one name after the other until the home is `wanted`.
    ///
    /// # Errors
    /// A connection was refused, or none had that home.
    pub(crate) async fn open(
        &self,
        options: &Options,
        config: Option<&Arc<ClientConfig>>,
        who: &Who,
        wanted: usize,
    ) -> Result<Connection, String> {
        for number in 0..TRIES_MAX {
            let who = Who {
                id: format!("{}-{number}", who.id),
                ..*who
            };
            let mut connection = Connection::open(options, config, &who).await?;
            if self.home(&mut connection).await? == wanted {
                return Ok(connection);
            }
            connection.bye().await;
        }
        Err(format!("none of {TRIES_MAX} clients has home {wanted}"))
    }

    /// The thread that has worked most while the connection pinged.
    async fn home(&self, connection: &mut Connection) -> Result<usize, String> {
        let before: Vec<u64> = self.files.iter().map(worked_ns).collect();
        for _ in 0..PINGS {
            connection.ping().await?;
        }
        let worked = self.files.iter().map(worked_ns).zip(before);
        let worked = worked.map(|(after, before)| after.saturating_sub(before));
        let most = worked.enumerate().max_by_key(|(_, worked)| *worked);
        Ok(most.map_or(0, |(home, _)| home))
    }
}

/// Nanoseconds that a thread was on a processor.
fn worked_ns(schedstat: &PathBuf) -> u64 {
    let text = fs::read_to_string(schedstat).unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or(0)
}
