//! Putting the socket file in its place, and telling a live one from one left behind.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::net::{UnixListener, UnixStream};

use super::Access;
use crate::io::sys::{bind_local, effective_user, listen, peer_of};

/// The longest path a Unix socket takes, in bytes, without its closing zero (`sun_path`, unix(7)).
pub const MAX_PATH: usize = 107;

/// How long another router may keep its turn while it starts.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why the control socket can't be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It answers.
    #[error(
        "router '{name}' is already running (pid {pid}): stop it, or give this one another name or `control` path"
    )]
    Running {
        /// The name this router has as well.
        name: String,
        /// The process that answers.
        pid: i32,
    },
    /// Something else is there.
    #[error("{0} is there and is not a socket: remove it, or choose another `control` path")]
    NotASocket(PathBuf),
    /// Too long, or no file name.
    #[error(
        "{0} can't be the path of a socket: it takes a file name and at most {MAX_PATH} bytes in all; choose another `control` path"
    )]
    Path(PathBuf),
    /// Somebody else has the turn.
    #[error("another router is starting, and keeps {0} locked: try again, or choose another `control` path")]
    Locked(PathBuf),
    /// The user and the group of the file can't have it.
    #[error(
        "the control socket can't be given to the `user` and `group` of the router: {0}; start it as root (in a user namespace, one in which they are there), or remove these keys"
    )]
    Owner(io::Error),
    /// The directory can't be made or used, or the socket not be bound.
    #[error("can't make the control socket {path}: {source}; choose a `control` path where you may write")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A socket in its place, at which nobody is listened to yet. Nobody else takes it for dead, for they wait for
/// their turn.
pub(super) struct Placed {
    socket: OwnedFd,
    path: PathBuf,
    identity: (u64, u64),
    _turn: Turn,
}

impl Placed {
    /// Listens from now on; gives the file's identity too.
    pub(super) fn listen(self) -> Result<(UnixListener, (u64, u64)), BindError> {
        let Placed { socket, path, identity, _turn } = self;
        listen(&socket).map_err(|source| BindError::Io { path, source })?;
        Ok((UnixListener::from_std(socket.into()), identity))
    }
}

/// Puts the socket in its place.
pub(super) fn bind(path: &Path, name: &str, access: Access) -> Result<Placed, BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    let (Some(parent), Some(file)) = (path.parent(), path.file_name()) else {
        return Err(BindError::Path(path.to_owned()));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let ours = parent.join(format!(".{}", std::process::id()));
    let bound = ours.join("s");
    let longest = path.as_os_str().len().max(bound.as_os_str().len());
    if longest > MAX_PATH || file.is_empty() {
        return Err(BindError::Path(path.to_owned()));
    }
    // What runs under /run is for all to see; who may talk is the socket's affair.
    DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
    let turn = Turn::take(parent, path)?;
    look(path, name)?;
    // Left behind by a process of the same number that was killed right here.
    let _ = fs::remove_dir_all(&ours);
    DirBuilder::new().mode(0o700).create(&ours).map_err(failed)?;
    let placed = bind_local(&bound).map_err(failed).and_then(|socket| {
        let mode = if access.group.is_some() { 0o660 } else { 0o600 };
        // The mode first: of another's file only who has CAP_FOWNER may change it.
        fs::set_permissions(&bound, Permissions::from_mode(mode)).map_err(failed)?;
        if access != Access::default() {
            chown(&bound, access.user, access.group).map_err(BindError::Owner)?;
        }
        let put = || {
            let identity = identity(&bound)?;
            fs::rename(&bound, path)?;
            Ok(identity)
        };
        let identity = put().map_err(failed)?;
        Ok(Placed { socket, path: path.to_owned(), identity, _turn: turn })
    });
    let _ = fs::remove_dir_all(&ours);
    placed
}

/// Looks whether the socket could be bound, and leaves everything as it is.
pub(super) fn try_out(path: &Path, name: &str) -> Result<(), BindError> {
    look(path, name)?;
    // The directory, or the nearest above it that is there: what is missing would be made in that one.
    let dirs = path.ancestors().skip(1).map(|d| if d.as_os_str().is_empty() { Path::new(".") } else { d });
    let dir = dirs.into_iter().find(|d| d.exists()).ok_or_else(|| BindError::Path(path.to_owned()))?;
    let trial = dir.join(format!(".{}", std::process::id()));
    let made = match DirBuilder::new().mode(0o700).create(&trial) {
        // Left behind by a process of the same number: `bind` clears it away.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| fs::remove_dir(&trial)),
    };
    made.map_err(|source| BindError::Io { path: path.to_owned(), source })
}

/// Looks at what is in the place already: nothing, or a socket that nobody answers at, is well.
pub(super) fn look(path: &Path, name: &str) -> Result<(), BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
        Ok(m) if !m.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    // mio connects without blocking: a live router with a full backlog would hold us up otherwise.
    match UnixStream::connect(path) {
        Ok(stream) => {
            let pid = peer_of(&stream).map_or(0, |p| p.pid);
            Err(BindError::Running { name: name.to_owned(), pid })
        }
        Err(e) if e.kind() == ErrorKind::WouldBlock => {
            Err(BindError::Running { name: name.to_owned(), pid: 0 })
        }
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        Err(e) => Err(failed(e)),
    }
}

/// A turn at the sockets of a directory: of two routers of a user that find the same dead one, one goes first. Taken by a
/// lock on a file that only this user can open: the directory itself anybody could lock, and keep routers from starting.
/// Each user has a file of its own: one that root has left behind nobody else could open. Who may write to the directory
/// can still be in the way: what is said then names the file.
struct Turn {
    path: PathBuf,
    _locked: File,
}

impl Turn {
    /// Takes it, after those who have it already.
    fn take(parent: &Path, path: &Path) -> Result<Self, BindError> {
        let file = parent.join(format!(".sekisho.{}.lock", effective_user()));
        let until = Instant::now() + PATIENCE;
        loop {
            match Self::try_take(&file) {
                Ok(Some(turn)) => return Ok(turn),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => return Err(BindError::Locked(file)),
                Err(e) => {
                    let source = io::Error::new(e.kind(), format!("{}: {e}", file.display()));
                    return Err(BindError::Io { path: path.to_owned(), source });
                }
            }
        }
    }

    /// Takes it if nobody has it.
    fn try_take(path: &Path) -> io::Result<Option<Self>> {
        // Where others may write too, it might be a link that leads elsewhere, or a pipe.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(e),
        }
        // Whoever had it before may have removed the file: then it is nobody's, and others take another.
        let (ours, there) = (file.metadata()?, identity(path));
        Ok(there
            .is_ok_and(|id| id == (ours.dev(), ours.ino()))
            .then(|| Turn { path: path.to_owned(), _locked: file }))
    }
}

impl Drop for Turn {
    /// While it is still locked. Who gave up the right to remove it may leave it: an empty file, which does no harm.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Device and inode.
pub(super) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let m = fs::symlink_metadata(path)?;
    Ok((m.dev(), m.ino()))
}
