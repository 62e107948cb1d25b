//! Unix sockets that clients come in by: made without a moment at which the wrong ones could connect, and removed again.
//!
//! A socket is a file. One that a dead broker left is replaced; one that somebody listens on, or a file that is no
//! socket, is not touched.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mio::net::{UnixListener, UnixStream};
use moat_events::PeerCredentials;
use nix::sys::socket::{getsockopt, sockopt};

use crate::listener::LISTEN_BACKLOG;

/// The longest path of a Unix socket on Linux, without the zero at its end, in bytes.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The mode bits of a folder in which everybody may make and remove files, and of one where they remove only their own.
const WRITABLE_BY_ALL: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Why a socket was not made. The texts follow the path.
#[derive(Debug, thiserror::Error)]
pub enum UnixSocketError {
    /// No address holds such a path.
    #[error("the path has {0} bytes; a Unix socket's has at most {SOCKET_PATH_BYTES_MAX}")]
    PathTooLong(usize),
    /// The folder cannot be opened.
    #[error(
        "cannot open its folder: {0}; make one that the broker's user can write to, like /run/moat"
    )]
    Folder(io::Error),
    /// Anybody could put a socket of their own in the place of this one.
    #[error(
        "everybody may remove and make files in its folder; take that right away (`chmod o-w`), or choose another folder"
    )]
    FolderOpenToAll,
    /// Another broker looks for stale sockets in the folder.
    #[error("another broker makes a socket in the same folder at this moment; start again")]
    Busy,
    /// Something else has this name.
    #[error(
        "there is a file that is no socket, which moat never removes; remove it, or choose another `socket`"
    )]
    NotASocket,
    /// A socket on which connections are not taken one by one.
    #[error(
        "there is a socket of another kind; remove it if nobody uses it, or choose another `socket`"
    )]
    OtherKind,
    /// Somebody listens there.
    #[error("a program listens on it already{}; stop it, or choose another `socket`", named(*.0))]
    InUse(Option<u32>),
    /// It could not be found out whether somebody listens there.
    #[error(
        "a socket is there, and it cannot be told whether somebody listens on it: {0}; remove it if not"
    )]
    Unknown(io::Error),
    /// The kernel refused.
    #[error("{0}; the broker's user needs a folder that it can write to, like /run/moat")]
    Make(io::Error),
}

fn named(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// The file of a socket. Dropping it removes the file, if it is still the same.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // A user who may not remove it leaves it; the next start replaces it.
            let _left = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`. The file has the permissions `mode` before anybody can connect.
///
/// # Errors
/// As the variants say; nothing is left then.
pub fn listen(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), UnixSocketError> {
    let bytes = path.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        return Err(UnixSocketError::PathTooLong(bytes));
    }
    let _locked = lock_folder(path)?;
    remove_stale(path)?;
    let socket = stream_socket().map_err(UnixSocketError::Make)?;
    let address = socket2::SockAddr::unix(path).map_err(UnixSocketError::Make)?;
    socket.bind(&address).map_err(UnixSocketError::Make)?;
    let identity = identity(path).map_err(UnixSocketError::Make)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity,
    };
    // Before `listen` nobody can connect, whatever the process's umask has made of the mode.
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(UnixSocketError::Make)?;
    socket
        .listen(LISTEN_BACKLOG)
        .map_err(UnixSocketError::Make)?;
    Ok((UnixListener::from_std(socket.into()), file))
}

/// Who is at the other end.
///
/// # Errors
/// When the kernel does not say, which it always does for a connected socket.
pub fn credentials(stream: &UnixStream) -> io::Result<PeerCredentials> {
    credentials_of(stream)
}

/// By nix and not by rustix, whose process ids are never 0; a peer in another process namespace has that one.
fn credentials_of(stream: &impl AsFd) -> io::Result<PeerCredentials> {
    let peer = getsockopt(stream, sockopt::PeerCredentials)?;
    Ok(PeerCredentials {
        pid: u32::try_from(peer.pid()).unwrap_or(0),
        uid: peer.uid(),
        gid: peer.gid(),
    })
}

/// Two brokers that find the same stale socket must not remove each other's new one.
fn lock_folder(path: &Path) -> Result<File, UnixSocketError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let open = File::open(folder).map_err(UnixSocketError::Folder)?;
    let mode = open.metadata().map_err(UnixSocketError::Folder)?.mode();
    if mode & WRITABLE_BY_ALL != 0 && mode & STICKY == 0 {
        return Err(UnixSocketError::FolderOpenToAll);
    }
    match open.try_lock() {
        Ok(()) => Ok(open),
        Err(TryLockError::WouldBlock) => Err(UnixSocketError::Busy),
        Err(TryLockError::Error(error)) => Err(UnixSocketError::Folder(error)),
    }
}

/// Removes a socket on which nobody listens.
fn remove_stale(path: &Path) -> Result<(), UnixSocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(UnixSocketError::Unknown(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(UnixSocketError::NotASocket);
        }
        Ok(_) => {}
    }
    let probe = stream_socket().map_err(UnixSocketError::Unknown)?;
    let address = socket2::SockAddr::unix(path).map_err(UnixSocketError::Unknown)?;
    match probe.connect(&address) {
        Ok(()) => {
            let pid = credentials_of(&probe).ok().map(|peer| peer.pid);
            Err(UnixSocketError::InUse(pid.filter(|pid| *pid > 0)))
        }
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(UnixSocketError::Make)
            }
            io::ErrorKind::NotFound => Ok(()),
            // Its backlog is full.
            io::ErrorKind::WouldBlock => Err(UnixSocketError::InUse(None)),
            _ if is_other_kind(&error) => Err(UnixSocketError::OtherKind),
            _ => Err(UnixSocketError::Unknown(error)),
        },
    }
}

fn is_other_kind(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error())
}

fn stream_socket() -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener as StdListener, UnixStream as StdStream};

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mqtt.sock");
        (folder, path)
    }

    #[test]
    fn a_socket_has_its_mode_and_goes_with_its_broker() {
        let (_folder, path) = place();
        for mode in [0o600, 0o660, 0o666] {
            let (_listener, file) = listen(&path, mode).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
            assert_eq!(file.path(), path);
            StdStream::connect(&path).unwrap();
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_socket_of_a_dead_broker_is_replaced() {
        let (_folder, path) = place();
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_listener, _file) = listen(&path, 0o660).unwrap();
        StdStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_that_somebody_listens_on_stays_and_its_process_is_named() {
        let (_folder, path) = place();
        let live = StdListener::bind(&path).unwrap();
        let error = listen(&path, 0o660).unwrap_err();
        let own = std::process::id();
        assert!(matches!(error, UnixSocketError::InUse(Some(pid)) if pid == own));
        assert!(error.to_string().contains("stop it"), "{error}");
        // The first connection is the probe.
        live.accept().unwrap();
        StdStream::connect(&path).unwrap();
        live.accept().unwrap();
    }

    #[test]
    fn what_is_no_stream_socket_is_never_removed() {
        let (folder, path) = place();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            listen(&path, 0o660),
            Err(UnixSocketError::NotASocket)
        ));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(
            listen(&link, 0o660),
            Err(UnixSocketError::NotASocket)
        ));
        let datagram = folder.path().join("datagram");
        let _live = UnixDatagram::bind(&datagram).unwrap();
        assert!(matches!(
            listen(&datagram, 0o660),
            Err(UnixSocketError::OtherKind)
        ));
        assert!(datagram.exists());
    }

    #[test]
    fn a_file_that_took_the_place_of_the_socket_stays() {
        let (_folder, path) = place();
        let (_listener, file) = listen(&path, 0o660).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_folder_where_everybody_may_replace_the_socket_is_refused() {
        let (folder, path) = place();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            listen(&path, 0o660),
            Err(UnixSocketError::FolderOpenToAll)
        ));
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        listen(&path, 0o660).unwrap();
    }

    #[test]
    fn two_brokers_do_not_look_for_stale_sockets_in_a_folder_at_once() {
        let (folder, path) = place();
        let held = File::open(folder.path()).unwrap();
        held.try_lock().unwrap();
        assert!(matches!(listen(&path, 0o660), Err(UnixSocketError::Busy)));
        drop(held);
        listen(&path, 0o660).unwrap();
    }

    #[test]
    fn a_path_that_no_address_holds_is_refused() {
        let (folder, _) = place();
        let path = folder.path().join("x".repeat(SOCKET_PATH_BYTES_MAX));
        assert!(matches!(
            listen(&path, 0o660),
            Err(UnixSocketError::PathTooLong(_))
        ));
    }
}
