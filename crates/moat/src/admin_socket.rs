//! The admin socket as a file: where it is, how it is made and removed.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::umask;

use crate::exit::Failure;

const SOCKET_FILE: &str = "moat.sock";

/// The longest path of a Unix socket on Linux, without the zero at its end, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Everything but reading and writing by the owner is taken away from a new socket.
const UMASK_OF_SOCKET: u32 = 0o177;

/// The listening socket. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Listens in a folder whose lock the caller holds: a socket file that is there is a dead broker's.
    ///
    /// To be called while there is one thread, since the mode comes from the umask of the process: there is no moment
    /// at which others could connect.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn bind(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(SOCKET_FILE);
        let failed = |error: io::Error| {
            Failure::failed(format!(
                "cannot make the admin socket {}: {error}",
                path.display()
            ))
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let before = umask(Mode::from_raw_mode(UMASK_OF_SOCKET));
        let bound = with_short_path(folder, |path| UnixListener::bind(path));
        umask(before);
        let listener = bound.map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self { listener, path })
    }

    /// The listener for the service plane; the file stays until this is dropped.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Connects to the broker of a folder.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` if none runs there; otherwise as the system says.
pub(crate) fn connect(folder: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let stream = with_short_path(folder, |path| UnixStream::connect(path))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

/// Calls `act` with a path of the socket that fits into a socket address: one that is too long goes through the open
/// folder.
fn with_short_path<T>(folder: &Path, act: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = folder.join(SOCKET_FILE);
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return act(&path);
    }
    let open = File::open(folder)?;
    act(&PathBuf::from(format!(
        "/proc/self/fd/{}/{SOCKET_FILE}",
        open.as_raw_fd()
    )))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    #[test]
    fn the_socket_is_for_its_owner_and_goes_with_the_broker() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_FILE);
        fs::write(&path, "left behind").unwrap();
        let socket = AdminSocket::bind(folder.path()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        connect(folder.path(), TIMEOUT).unwrap();
        drop(socket);
        assert!(!path.exists());
        let gone = connect(folder.path(), TIMEOUT).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_folder_with_a_long_path_has_a_socket_too() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("x".repeat(SOCKET_PATH_BYTES_MAX + 1));
        fs::create_dir(&folder).unwrap();
        let socket = AdminSocket::bind(&folder).unwrap();
        connect(&folder, TIMEOUT).unwrap();
        drop(socket);
        assert!(!folder.join(SOCKET_FILE).exists());
    }
}
