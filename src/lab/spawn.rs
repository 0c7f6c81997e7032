//! Programs that run in a namespace: started there, waited for until they serve, ended and cleared away.
//!
//! Knows the router only as a program that is given a file and makes a control socket.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::netns::{Netns, signal};

/// A program did not start, did not serve, or did not end.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A file could not be written or a program not be started.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended before it served.
    #[error("{program} ended with {status} before it served; it said:\n{said}")]
    Ended {
        /// The command line.
        program: String,
        /// How.
        status: ExitStatus,
        /// Its stderr and stdout.
        said: String,
    },
    /// It took too long.
    #[error("{program} {not_done} within {} ms; it said:\n{said}", within.as_millis())]
    Late {
        /// The command line.
        program: String,
        /// What it did not do.
        not_done: &'static str,
        /// The time it had.
        within: Duration,
        /// Its stderr and stdout so far.
        said: String,
    },
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> SpawnError {
    let doing = what.into();
    move |source| SpawnError::Io { doing, source }
}

/// A directory of its own, for configuration files and sockets; deleted with all that is in it.
#[derive(Debug)]
pub struct Workplace(PathBuf);

impl Workplace {
    /// An empty one under the system's directory for such things, for this user only.
    pub fn new() -> Result<Self, SpawnError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("sekisho-lab-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
            let path = std::env::temp_dir().join(name);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Workplace(path)),
                // Left by a process of the same number that was killed.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(doing(format!("making {}", path.display()))(e)),
            }
        }
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, SpawnError> {
        let path = self.path(name);
        fs::write(&path, text).map_err(doing(format!("writing {}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What can't be deleted is in the system's directory for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program that runs in a namespace. Killed when this is dropped, and when the thread that started it ends.
#[derive(Debug)]
pub struct Spawned {
    child: Child,
    program: String,
    said: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Spawned {
    /// Starts a program inside. What it says is kept.
    pub fn start(netns: &Netns, program: &Path, args: &[&str]) -> Result<Self, SpawnError> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        Self::command(netns, command)
    }

    /// The same of a command that has more to it, such as an environment and a stdin.
    pub fn command(netns: &Netns, mut command: Command) -> Result<Self, SpawnError> {
        // What it says is read by people.
        command.env("SEKISHO_LOG_FORMAT", "human").stdout(Stdio::piped()).stderr(Stdio::piped());
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let text = words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let spawned = netns.command(&mut command).spawn();
        let mut child = spawned.map_err(doing(format!("starting {text}")))?;
        let said = Arc::new(Mutex::new(String::new()));
        let pipes: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|p| Box::new(p) as _), child.stderr.take().map(|p| Box::new(p) as _)];
        let read = |pipe| {
            let said = Arc::clone(&said);
            thread::spawn(move || keep(pipe, &said))
        };
        let readers = pipes.into_iter().flatten().map(read).collect();
        Ok(Spawned { child, program: text, said, readers })
    }

    /// Waits until something listens at the socket; an error if it ends first or takes longer than `within`.
    pub fn wait_for_socket(&mut self, path: &Path, within: Duration) -> Result<(), SpawnError> {
        let deadline = Instant::now() + within;
        while UnixStream::connect(path).is_err() {
            if let Some(status) = self.child.try_wait().map_err(doing("waiting"))? {
                self.hear_out();
                return Err(SpawnError::Ended { program: self.program.clone(), status, said: self.said() });
            }
            if Instant::now() >= deadline {
                return Err(self.late("did not serve", within));
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far, on stdout and stderr.
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, as an operator or a service manager does (SIGTERM), and waits. An error if it takes
    /// longer than `within`.
    pub fn terminate(&mut self, within: Duration) -> Result<ExitStatus, SpawnError> {
        self.signal(libc::SIGTERM, within)
    }

    /// Sends it a signal and waits for its end.
    pub fn signal(&mut self, number: i32, within: Duration) -> Result<ExitStatus, SpawnError> {
        signal(&self.child, number).map_err(doing(format!("signalling {}", self.program)))?;
        self.wait(within)
    }

    /// Waits for its end.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus, SpawnError> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().map_err(doing("waiting"))? {
                self.hear_out();
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(self.late("did not end", within));
            }
            thread::sleep(TICK);
        }
    }

    fn late(&self, not_done: &'static str, within: Duration) -> SpawnError {
        SpawnError::Late { program: self.program.clone(), not_done, within, said: self.said() }
    }

    /// Its pipes are closed now, or will be when a child of its own ends.
    fn hear_out(&mut self) {
        for reader in self.readers.drain(..) {
            // The reader ends with its pipe and does not panic.
            let _ = reader.join();
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often to look.
const TICK: Duration = Duration::from_millis(2);
/// Of what a program says, this much is kept; more is read and forgotten, so that it can go on.
const KEPT: usize = 1 << 20;

/// Line by line: what comes by the other pipe stands between lines, not in them.
fn keep(pipe: Box<dyn Read + Send>, said: &Mutex<String>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    // What has no end to its line is kept in pieces.
    while let Ok(1..) = pipe.by_ref().take(KEPT as u64).read_until(b'\n', &mut line) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < KEPT {
            said.push_str(&String::from_utf8_lossy(&line));
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::isolate;
    use std::os::unix::net::UnixListener;
    use std::os::unix::process::ExitStatusExt as _;

    const SHELL: &str = "/bin/sh";

    fn shell(script: &str) -> Spawned {
        let netns = Netns::current().unwrap();
        Spawned::start(&netns, Path::new(SHELL), &["-c", script]).unwrap()
    }

    #[test]
    fn a_program_is_heard_and_ended() {
        isolate::test(|| {
            let mut quick = shell("echo out; echo err >&2; exit 3");
            assert_eq!(quick.wait(Duration::from_secs(60)).unwrap().code(), Some(3));
            assert!(quick.said().contains("out") && quick.said().contains("err"));
            assert!(!quick.is_running());
            let mut slow = shell("exec sleep 60");
            assert!(matches!(slow.wait(Duration::ZERO), Err(SpawnError::Late { .. })));
            assert!(slow.is_running());
            assert_eq!(slow.terminate(Duration::from_secs(60)).unwrap().signal(), Some(libc::SIGTERM));
        });
    }

    #[test]
    fn whoever_ends_before_serving_is_quoted() {
        isolate::test(|| {
            let place = Workplace::new().unwrap();
            let socket = place.path("control.sock");
            let e =
                shell("echo no such device >&2; exit 1").wait_for_socket(&socket, Duration::from_secs(60));
            assert!(e.unwrap_err().to_string().contains("no such device"));
            let mut deaf = shell("exec sleep 60");
            let e = deaf.wait_for_socket(&socket, Duration::from_millis(10));
            assert!(e.unwrap_err().to_string().contains("did not serve within 10 ms"));
            let _listener = UnixListener::bind(&socket).unwrap();
            deaf.wait_for_socket(&socket, Duration::from_secs(60)).unwrap();
        });
    }

    #[test]
    fn nothing_is_left() {
        isolate::test(|| {
            let place = Workplace::new().unwrap();
            let file = place.write("gw.toml", "[router]\n").unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), "[router]\n");
            let id = shell("exec sleep 60").id();
            assert!(!Path::new(&format!("/proc/{id}")).exists());
            drop(place);
            assert!(!file.parent().unwrap().exists());
        });
    }
}
