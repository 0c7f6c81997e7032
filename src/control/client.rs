//! The asking end of the control socket: finds the router, asks, waits no longer than it says.
//!
//! Which router: the one that is named, by its socket or by its own name, with `--control` or in [`ENVIRONMENT`]; else the
//! only one that answers in the [`places`] where routers put their sockets.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::protocol::{Decoder, MAX_REQUEST, MAX_RESPONSE, Request, Response, Verb, encode};
use super::view::Hello;

/// The environment variable that names the control socket.
pub const ENVIRONMENT: &str = "SEKISHO_CONTROL";

/// How long to wait for the router to say anything.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The same for a transaction: a million routes from a slow disk, behind others'.
pub const LONG: Duration = Duration::from_secs(600);

/// Why there is no answer. Each is the one sentence to show.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No socket of that name.
    #[error("no router is running at {0}: start one with `sekisho run FILE`, or name another socket")]
    NotThere(PathBuf),
    /// A socket that nobody listens at.
    #[error(
        "the router that made {0} is gone: start it again with `sekisho run FILE`, if it is not only just starting"
    )]
    Gone(PathBuf),
    /// No router of that name.
    #[error("no router named {0} is running: start it with `sekisho run FILE`, or name its socket")]
    NoneNamed(String),
    /// Not allowed to talk to it.
    #[error(
        "you may not talk to the router at {0}: be the user that runs it, a member of its `group`, or root"
    )]
    Forbidden(PathBuf),
    /// Nothing answers anywhere.
    #[error(
        "no router is running: start one with `sekisho run FILE`, or name its socket with --control or {ENVIRONMENT}"
    )]
    NoneRuns,
    /// Several answer.
    #[error("several routers are running: choose one with --control\n{}", list(.0))]
    Several(Vec<Found>),
    /// It takes too long.
    #[error(
        "the router at {0} does not answer: it may be overloaded or stopped; try again, or look at its log"
    )]
    Silent(PathBuf),
    /// It broke off.
    #[error("the router at {0} broke off before it had answered: it may have been stopped just now")]
    BrokeOff(PathBuf),
    /// What it said can't be understood.
    #[error("the answer of the router at {0} can't be understood ({1}): use the sekisho it was started with")]
    Strange(PathBuf, String),
    /// The request is too long.
    #[error("the request is longer than the {MAX_REQUEST} bytes a router takes: ask in several pieces")]
    TooLong,
    /// It said no, and why.
    #[error("{text}")]
    Refused {
        /// Its sentence.
        text: String,
        /// The kernel's error that it would have been, by its name in errno(3).
        errno: Option<String>,
    },
    /// Anything else.
    #[error("can't talk to the router at {0}: {1}")]
    Io(PathBuf, io::Error),
}

/// One of several routers.
#[derive(Debug)]
pub struct Found {
    path: PathBuf,
    /// What it says of itself, if it answers.
    hello: Option<Hello>,
}

/// How long one of several routers may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// A line for each: its name, its process, how long it has been up, and its socket.
fn list(all: &[Found]) -> String {
    all.iter().map(|f| format!("  {f}")).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Hello { name, pid, uptime, .. }) = &self.hello else {
            return write!(f, "{:16} does not answer  {}", "?", self.path.display());
        };
        let s = *uptime as u64;
        let up = format!("{}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60);
        write!(f, "{name:16} pid {pid:<7} up {up}  {}", self.path.display())
    }
}

/// A connection to a router.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    input: Decoder,
    path: PathBuf,
    /// How long it may say nothing, but for transactions.
    patience: Duration,
}

impl Found {
    /// Its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One that has said nothing.
    #[cfg(test)]
    pub fn at(path: PathBuf) -> Self {
        Found { path, hello: None }
    }
}

impl Client {
    /// Connects to the router that is meant: see the module's text. `named` is what `--control` said.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find(named: Option<&Path>) -> Result<Self, ClientError> {
        let env = std::env::var_os(ENVIRONMENT).filter(|v| !v.is_empty()).map(PathBuf::from);
        match named.map(Path::to_owned).or(env) {
            Some(named) => Self::named(&named, &places()),
            None => Self::only(&places()),
        }
    }

    /// Connects to the router at a path, or to the one of that name in one of these directories: what has no slash, is no
    /// file here and has not the ending of sockets is a name.
    fn named(named: &Path, places: &[PathBuf]) -> Result<Self, ClientError> {
        let is_word = named.components().count() == 1 && named.file_name().is_some();
        let is_name = is_word && named.extension().is_none_or(|e| e != "sock") && !named.exists();
        let (Some(name), true) = (named.to_str(), is_name) else { return Self::connect(named) };
        let mut why = ClientError::NoneNamed(name.to_owned());
        for path in sockets(places).into_iter().filter(|p| p.file_stem() == Some(named.as_os_str())) {
            match Self::connect(&path) {
                Ok(client) => return Ok(client),
                Err(e) => why = e,
            }
        }
        Err(why)
    }

    /// Connects to the only router whose socket is in one of these directories.
    fn only(places: &[PathBuf]) -> Result<Self, ClientError> {
        let mut found: Vec<Client> = Vec::new();
        let mut refused = None;
        for path in sockets(places) {
            match Self::connect(&path) {
                Ok(client) => found.push(client),
                Err(e @ ClientError::Forbidden(_)) => refused = Some(e),
                Err(_) => {}
            }
        }
        match found.pop() {
            None => Err(refused.unwrap_or(ClientError::NoneRuns)),
            Some(client) if found.is_empty() => Ok(client),
            Some(last) => {
                Err(ClientError::Several(found.into_iter().chain([last]).map(Client::introduced).collect()))
            }
        }
    }

    /// Asks who it is, and does not wait long.
    fn introduced(mut self) -> Found {
        self.patience = PATIENCE;
        let hello = self.ask(Verb::Hello).ok();
        Found { path: self.path, hello }
    }

    /// Connects to the router at `path`.
    ///
    /// # Errors
    /// Nobody answers there, or we may not talk to them.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let owned = || path.to_owned();
        // mio connects without blocking; a socket with a full backlog would keep us waiting for ever.
        let stream = mio::net::UnixStream::connect(path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => ClientError::NotThere(owned()),
            ErrorKind::ConnectionRefused => ClientError::Gone(owned()),
            ErrorKind::PermissionDenied => ClientError::Forbidden(owned()),
            ErrorKind::WouldBlock => ClientError::Silent(owned()),
            _ => ClientError::Io(owned(), e),
        })?;
        let stream = UnixStream::from(OwnedFd::from(stream));
        let set = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(TIMEOUT)))
            .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)));
        set.map_err(|e| ClientError::Io(owned(), e))?;
        Ok(Client { stream, input: Decoder::new(MAX_RESPONSE), path: owned(), patience: TIMEOUT })
    }

    /// Where the router is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// The router refused, or did not answer.
    pub fn ask<T: DeserializeOwned>(&mut self, verb: Verb) -> Result<T, ClientError> {
        self.send(verb)?;
        match self.response()? {
            Response::Done { value } => self.read_as(value),
            Response::Error { error, errno } => Err(ClientError::Refused { text: error, errno }),
            Response::Part { .. } => Err(ClientError::Strange(self.path.clone(), "a part of a list".into())),
        }
    }

    /// Asks for a list, and gives its parts to `each` as they come.
    ///
    /// # Errors
    /// The router refused or did not answer, or `each` had enough.
    pub fn ask_list<T: DeserializeOwned, E: From<ClientError>>(
        &mut self,
        verb: Verb,
        each: impl FnMut(Vec<T>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.ask_until(verb, &AtomicBool::new(false), each)
    }

    /// The same of what is followed live until somebody says to `stop`: then the router is told that it is enough, and has
    /// the last word. Looked at after each part; there is one twice a second at least.
    ///
    /// # Errors
    /// The router refused or did not answer, or `each` had enough.
    pub fn ask_until<T: DeserializeOwned, E: From<ClientError>>(
        &mut self,
        verb: Verb,
        stop: &AtomicBool,
        mut each: impl FnMut(Vec<T>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.send(verb)?;
        let mut told = false;
        loop {
            if stop.load(Relaxed) && !std::mem::replace(&mut told, true) {
                // A router that is gone has hung up already.
                self.stream.shutdown(Shutdown::Write).ok();
            }
            match self.response()? {
                Response::Part { value } => each(self.read_as(value)?)?,
                Response::Done { value: Value::Null } => return Ok(()),
                Response::Done { value } => return each(self.read_as(value)?),
                Response::Error { error, errno } => {
                    return Err(ClientError::Refused { text: error, errno }.into());
                }
            }
        }
    }

    fn read_as<T: DeserializeOwned>(&self, value: Value) -> Result<T, ClientError> {
        serde_json::from_value(value).map_err(|e| ClientError::Strange(self.path.clone(), e.to_string()))
    }

    fn send(&mut self, verb: Verb) -> Result<(), ClientError> {
        let patience = if verb.is_transaction() { LONG } else { self.patience };
        self.stream.set_read_timeout(Some(patience)).map_err(|e| ClientError::Io(self.path.clone(), e))?;
        let bytes = encode(&Request::new(verb)).filter(|b| b.len() <= MAX_REQUEST);
        // One that hangs up may have said why before.
        match self.stream.write_all(&bytes.ok_or(ClientError::TooLong)?) {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|e| self.failed(e)),
        }
    }

    fn response(&mut self) -> Result<Response, ClientError> {
        let strange = |path: &Path, why: String| ClientError::Strange(path.to_owned(), why);
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match self.input.message() {
                Ok(Some(text)) => {
                    return serde_json::from_slice(text).map_err(|e| strange(&self.path, e.to_string()));
                }
                Ok(None) => {}
                Err(e) => return Err(strange(&self.path, e.to_string())),
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ClientError::BrokeOff(self.path.clone())),
                Ok(n) => self.input.push(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failed(e)),
            }
        }
    }

    fn failed(&self, e: io::Error) -> ClientError {
        let path = self.path.clone();
        match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::Silent(path),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => ClientError::BrokeOff(path),
            _ => ClientError::Io(path, e),
        }
    }
}

/// Where routers put their sockets: `/run/sekisho` for root's, `$XDG_RUNTIME_DIR/sekisho` for others'.
pub fn places() -> Vec<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|v| !v.is_empty());
    let own = own.map(|dir| PathBuf::from(dir).join("sekisho"));
    [PathBuf::from("/run/sekisho")].into_iter().chain(own).collect()
}

/// The files in these directories whose names are those of control sockets, in order.
fn sockets(places: &[PathBuf]) -> Vec<PathBuf> {
    let entries = places.iter().filter_map(|p| std::fs::read_dir(p).ok()).flatten().flatten();
    let mut paths: Vec<_> = entries.map(|e| e.path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "sock"));
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_only_one_that_answers_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        let places = [dir.path().join("a"), dir.path().join("b"), dir.path().join("missing")];
        for p in &places[..2] {
            std::fs::create_dir(p).unwrap();
        }
        let only = || Client::only(&places);
        assert!(matches!(only(), Err(ClientError::NoneRuns)));

        let dead = places[0].join("dead.sock");
        drop(UnixListener::bind(&dead).unwrap());
        std::fs::write(places[0].join("file.sock"), "").unwrap();
        std::fs::write(places[0].join("gw.toml"), "").unwrap();
        assert!(matches!(only(), Err(ClientError::NoneRuns)), "what does not answer does not run");
        assert!(matches!(Client::connect(&dead), Err(ClientError::Gone(p)) if p == dead));

        let one = places[1].join("gw.sock");
        let _one = UnixListener::bind(&one).unwrap();
        assert_eq!(only().unwrap().path(), one);

        let two = places[0].join("zz.sock");
        let _two = UnixListener::bind(&two).unwrap();
        let (asked, said) = (std::time::Instant::now(), only().unwrap_err().to_string());
        assert!(asked.elapsed() < TIMEOUT, "each of them is given {PATIENCE:?}");
        assert!(said.contains(one.to_str().unwrap()) && said.contains(two.to_str().unwrap()), "{said}");
    }

    #[test]
    fn a_name_finds_the_router_of_that_name() {
        let dir = tempfile::tempdir().unwrap();
        let places = [dir.path().to_owned()];
        let (gw, gone) = (dir.path().join("gw.sock"), dir.path().join("gone.sock"));
        let _gw = UnixListener::bind(&gw).unwrap();
        drop(UnixListener::bind(&gone).unwrap());
        let named = |name: &str| Client::named(Path::new(name), &places);
        assert_eq!(named("gw").unwrap().path(), gw);
        assert_eq!(named(gw.to_str().unwrap()).unwrap().path(), gw);
        assert!(matches!(named("gone"), Err(ClientError::Gone(p)) if p == gone));
        assert!(matches!(named("other"), Err(ClientError::NoneNamed(n)) if n == "other"));
        assert!(matches!(named("gw.sock"), Err(ClientError::NotThere(_))), "a socket is a path");
        assert!(matches!(named("./gw"), Err(ClientError::NotThere(_))), "a path is a path");
        assert!(matches!(named(".."), Err(ClientError::Io(..) | ClientError::Gone(_))));
    }

    #[test]
    fn what_is_missing_is_told_from_what_is_gone() {
        let path = Path::new("/nowhere/gw.sock");
        assert!(matches!(Client::connect(path), Err(ClientError::NotThere(p)) if p == path));
    }
}
