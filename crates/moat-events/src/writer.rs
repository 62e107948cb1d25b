//! The thread behind the queue: takes what has come, writes it at once.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::{Duration, SystemTime};

use crate::catalogue::Level;
use crate::log::{Destination, Format, Request};
use crate::sender::{Charge, Entry, Occurrence, Queue};
use crate::table::Event;
use crate::{json, text};

/// A batch is written once it has this many bytes, even if more events wait.
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// How long the writer waits for company after an event that is not urgent. While it waits nobody has to wake it, which in a storm
/// of connects costs more than all else about an event.
const GATHER_TIME: Duration = Duration::from_millis(20);

/// The log file's mode: its owner writes, its group (an operator's) reads, nobody else does either.
const LOG_FILE_MODE: u32 = 0o640;

/// Writes the entries of one queue to one output.
pub(crate) struct Writer {
    output: Output,
    format: Format,
    /// For the count of what the senders dropped. Weak: it must not keep the queue open.
    queue: Weak<Queue>,
    batch: String,
    events_in_batch: u64,
    /// Events lost to failed writes and not told yet.
    unwritten: u64,
}

/// Whether the writer goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// Every sender is gone, or the handle asked for the end.
    Ended,
}

impl Writer {
    pub(crate) fn new(output: Output, format: Format, queue: Weak<Queue>) -> Self {
        Self {
            output,
            format,
            queue,
            batch: String::new(),
            events_in_batch: 0,
            unwritten: 0,
        }
    }

    /// Runs until every sender is gone or the handle asks for the end.
    ///
    /// # Errors
    /// The last lines could not be written.
    pub(crate) fn run(
        mut self,
        queued: &Receiver<Entry>,
        asked: &Receiver<Request>,
    ) -> io::Result<()> {
        let mut state = State::Running;
        let mut written = Ok(());
        while state == State::Running {
            let mut request = None;
            match queued.recv() {
                Ok(entry) => {
                    if !entry.is_urgent() {
                        request = asked.recv_timeout(GATHER_TIME).ok();
                    }
                    self.add(entry);
                    state = self.add_waiting(queued);
                }
                Err(_) => state = State::Ended,
            }
            written = self.write_batch();
            while let Some(asks) = request.take().or_else(|| asked.try_recv().ok()) {
                match asks {
                    Request::Reopen(answer) => self.reopen(&answer),
                    Request::Stop(answer) => {
                        written = written.and(self.write_rest(queued));
                        // The asker may have given up waiting; one that waits has room for the answer.
                        let _ = answer.try_send(Ok(()));
                        return written;
                    }
                }
            }
        }
        written.and_then(|()| self.output.sync())
    }

    /// Adds what waits in the queue, up to one batch.
    fn add_waiting(&mut self, queued: &Receiver<Entry>) -> State {
        while self.batch.len() < BATCH_BYTES_MAX {
            match queued.try_recv() {
                Ok(entry) => self.add(entry),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return State::Ended,
            }
        }
        State::Running
    }

    fn add(&mut self, entry: Entry) {
        if let Entry::Event(entry) = entry {
            self.add_event(&entry);
        }
    }

    fn add_own(&mut self, event: Event) {
        self.add_event(&Occurrence {
            at: SystemTime::now(),
            event,
            suppressed: 0,
            _charge: Charge::none(),
        });
    }

    fn add_event(&mut self, occurrence: &Occurrence) {
        let Occurrence {
            at,
            event,
            suppressed,
            ..
        } = occurrence;
        self.events_in_batch += 1;
        match self.format {
            Format::Text => text::write_line(event, *at, *suppressed, &mut self.batch),
            Format::Json => json::write_line(event, *at, *suppressed, &mut self.batch),
        }
    }

    /// Writes the batch, with a line about lost events if there are any.
    fn write_batch(&mut self) -> io::Result<()> {
        let dropped = self
            .queue
            .upgrade()
            .map_or(0, |queue| queue.dropped.swap(0, Ordering::Relaxed));
        self.unwritten += dropped;
        let counted = self.events_in_batch;
        if self.unwritten > 0 {
            let count = self.unwritten;
            self.add_own(Event::EventsDropped { count });
        }
        let result = self.output.write(self.batch.as_bytes());
        // On a full disk the events are lost, but the log says so as soon as there is space again.
        self.unwritten = match result {
            Ok(()) => 0,
            Err(_) => self.unwritten + counted,
        };
        self.events_in_batch = 0;
        self.batch.clear();
        self.batch.shrink_to(BATCH_BYTES_MAX);
        result
    }

    fn reopen(&mut self, answer: &SyncSender<io::Result<()>>) {
        let result = self.output.reopen();
        if result.is_ok() {
            self.add_own(Event::LogReopened {});
            let _ = self.write_batch();
        }
        // The asker may have given up waiting; one that waits has room for the answer.
        let _ = answer.try_send(result);
    }

    fn write_rest(&mut self, queued: &Receiver<Entry>) -> io::Result<()> {
        loop {
            let state = self.add_waiting(queued);
            let done = state == State::Ended || self.batch.len() < BATCH_BYTES_MAX;
            self.write_batch()?;
            if done {
                return self.output.sync();
            }
        }
    }
}

impl Entry {
    /// Whether it is written at once: what went wrong may be the last that this process has to say.
    fn is_urgent(&self) -> bool {
        match self {
            Self::Event(occurrence) => occurrence.event.meta().level <= Level::Warning,
            Self::Wake => true,
        }
    }
}

/// Where the bytes go.
pub(crate) struct Output {
    sink: Sink,
    /// The last write ended within a line; the next begins with a line end.
    torn: bool,
}

enum Sink {
    Stderr,
    File { file: File, path: PathBuf },
}

impl Output {
    pub(crate) fn open(destination: Destination) -> io::Result<Self> {
        let sink = match destination {
            Destination::Stderr => Sink::Stderr,
            Destination::File(path) => Sink::File {
                file: open_file(&path)?,
                path,
            },
        };
        Ok(Self { sink, torn: false })
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Sink::File { file, path } = &mut self.sink {
            *file = open_file(path)?;
            self.torn = false;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let torn = std::mem::replace(&mut self.torn, true);
        match &mut self.sink {
            Sink::Stderr => write_all(&mut io::stderr().lock(), bytes, torn)?,
            Sink::File { file, .. } => write_all(file, bytes, torn)?,
        }
        self.torn = false;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        match &self.sink {
            Sink::Stderr => Ok(()),
            Sink::File { file, .. } => match file.sync_data() {
                // A terminal or pipe under a name has nothing to sync.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
                result => result,
            },
        }
    }
}

fn write_all(sink: &mut impl Write, bytes: &[u8], torn: bool) -> io::Result<()> {
    if torn {
        sink.write_all(b"\n")?;
    }
    sink.write_all(bytes)
}

fn open_file(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(LOG_FILE_MODE)
        .open(path)
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot open the log file {}: {error}", path.display()),
            )
        })
}
