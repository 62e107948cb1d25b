//! The log: its settings, its start and the handle that controls it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::catalogue::Level;
use crate::sender::{EVENT_QUEUE_MAX, Entry, EventSender, Queue};
use crate::throttle::Throttle;
use crate::writer::{Output, Writer};

/// How long a handle waits for its writer before it gives up: a pipe nobody reads must not keep the
/// broker from stopping.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

/// The most requests that wait for the writer; it answers each after the batch it is writing.
const REQUESTS_MAX: usize = 8;

/// The thread that writes events.
#[derive(Debug)]
pub struct EventLog;

/// How and where a log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The form of a line.
    pub format: Format,
    /// Where the lines go.
    pub destination: Destination,
    /// Events above this level are left out.
    pub level: Level,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people, see [`crate::text`].
    Text,
    /// For machines, see [`crate::json`].
    Json,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard error.
    Stderr,
    /// A file, created with mode 0640 and appended to.
    File(PathBuf),
}

/// Controls a running log. Dropping it lets the log run on until the last sender is gone.
#[derive(Debug)]
pub struct EventLogHandle {
    queue: std::sync::Weak<Queue>,
    requests: SyncSender<Request>,
    thread: Mutex<Option<thread::JoinHandle<io::Result<()>>>>,
}

/// What a handle asks of the writer; the answer goes into the sender.
pub(crate) enum Request {
    /// Open the file again under its name.
    Reopen(SyncSender<io::Result<()>>),
    /// Write what is queued and end.
    Stop(SyncSender<io::Result<()>>),
}

impl EventLog {
    /// Opens the destination and starts the thread that writes to it.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or the thread cannot be started.
    pub fn start(options: Options) -> io::Result<(EventSender, EventLogHandle)> {
        let output = Output::open(options.destination)?;
        let (entries, queued) = sync_channel(EVENT_QUEUE_MAX);
        let (requests, asked) = sync_channel(REQUESTS_MAX);
        let queue = Arc::new(Queue {
            entries,
            dropped: AtomicU64::new(0),
            level: options.level,
            bytes: Arc::default(),
            throttle: Throttle::new(),
        });
        // The writer holds the queue weakly: once every sender is gone its receiver ends, and it with it.
        let weak = Arc::downgrade(&queue);
        let writer = Writer::new(output, options.format, weak.clone());
        let thread = thread::Builder::new()
            .name("moat-log".into())
            .spawn(move || writer.run(&queued, &asked))?;
        let handle = EventLogHandle {
            queue: weak,
            requests,
            thread: Mutex::new(Some(thread)),
        };
        Ok((EventSender::queue(queue), handle))
    }
}

impl EventLogHandle {
    /// Opens the file again under its name, after logrotate has moved it away. Does nothing for standard error.
    ///
    /// # Errors
    /// The new file cannot be opened (the old one stays in use), or the log does not answer.
    pub fn reopen(&self) -> io::Result<()> {
        self.ask(Request::Reopen)
    }

    /// Writes everything that is queued and ends the log. Events sent later are lost.
    ///
    /// # Errors
    /// Not everything could be written, or the log does not answer within five seconds.
    pub fn flush_and_stop(&self) -> io::Result<()> {
        let asked = self.ask(Request::Stop);
        // A writer that does not answer may hang in a write for ever: leave it to the end of the process.
        if let Err(error) = asked
            && error.kind() == io::ErrorKind::TimedOut
        {
            return Err(error);
        }
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match thread.map(thread::JoinHandle::join) {
            // Stopped before.
            None => Ok(()),
            Some(Ok(written)) => written,
            Some(Err(_)) => Err(io::Error::other("the log's thread has panicked")),
        }
    }

    fn ask(&self, request: fn(SyncSender<io::Result<()>>) -> Request) -> io::Result<()> {
        let (answer, answered) = sync_channel(1);
        match self.requests.try_send(request(answer)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(stuck()),
            Err(TrySendError::Disconnected(_)) => return Err(ended()),
        }
        if let Some(queue) = self.queue.upgrade() {
            // A full queue needs no wake: the writer is at work and looks for requests after each batch.
            let _ = queue.entries.try_send(Entry::Wake);
        }
        match answered.recv_timeout(CONTROL_TIMEOUT) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(stuck()),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        }
    }
}

fn stuck() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "the log does not answer: is its destination stuck?",
    )
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log has ended")
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
