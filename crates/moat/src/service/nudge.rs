//! A word from the kernel that something in a folder was written, so that nobody waits for the next look.
//!
//! Only a hint: which file it was, and whether it matters, the look at the files says. Without it (no inotify left, a
//! link into another folder, a network file system) everything works, a second later.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify;
use tokio::net::unix::pipe::Receiver;

/// Nothing more is written for this long: then the writer is done. Certificate and key are two files.
const QUIET: Duration = Duration::from_millis(50);

/// Whoever writes all the time is not waited for any longer than this many times [`QUIET`].
const ROUNDS_MAX: usize = 10;

/// Reads in a row; the kernel keeps a few thousand events at most, so this empties it.
const READS_MAX: usize = 256;

/// Bytes of events read at once; what they say does not matter.
const EVENTS_BYTES: usize = 4096;

/// Watches folders.
#[derive(Debug)]
pub(crate) struct Nudge(Option<Receiver>);

impl Nudge {
    /// Watches these folders as far as the kernel lets it. To be called in a runtime.
    pub(crate) fn of<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Self {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let Ok(fd) = inotify::init(flags) else {
            return Self(None);
        };
        let written = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE;
        for folder in folders {
            // One that cannot be watched is still looked at.
            let _ = inotify::add_watch(&fd, folder, written);
        }
        // An inotify is read like a pipe, and tokio's own way for other descriptors is deprecated or unsafe.
        Self(Receiver::from_file_unchecked(File::from(fd)).ok())
    }

    /// Returns when something was written and the writer seems to be done.
    pub(crate) async fn next(&self) {
        self.one().await;
        for _ in 0..ROUNDS_MAX {
            if tokio::time::timeout(QUIET, self.one()).await.is_err() {
                return;
            }
        }
    }

    /// Waits for events and forgets them.
    async fn one(&self) {
        let Some(fd) = &self.0 else {
            return std::future::pending().await;
        };
        if fd.readable().await.is_err() {
            return std::future::pending().await;
        }
        let mut events = [0; EVENTS_BYTES];
        for _ in 0..READS_MAX {
            if fd.try_read(&mut events).is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Long enough for any machine; a nudge that comes is not waited for.
    const DEADLINE: Duration = Duration::from_secs(30);

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn a_file_that_is_written_or_moved_into_the_folder_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        block_on(async {
            let nudge = Nudge::of([folder.path()]);
            fs::write(&one, "text").unwrap();
            tokio::time::timeout(DEADLINE, nudge.next()).await.unwrap();
            fs::rename(&one, &other).unwrap();
            tokio::time::timeout(DEADLINE, nudge.next()).await.unwrap();
        });
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_error_and_nothing_is_told() {
        block_on(async {
            let nudge = Nudge::of([Path::new("/nonexistent/folder")]);
            assert!(tokio::time::timeout(QUIET, nudge.next()).await.is_err());
        });
    }
}
