//! Real sockets, real clients, good and bad.

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use mio::{Events, Poll, Waker};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{MAX_REQUEST, RouteFilter, Show};

/// A server on a thread of its own, the clock running `speed` times as fast as the world's.
struct Running {
    dir: TempDir,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<thread::JoinHandle<Server>>,
}

const FIRST: usize = 10;
const WAKE: Token = Token(0);

impl Running {
    fn start(speed: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).unwrap());
        let mut server = Server::bind(&dir.path().join("sub/gw.sock"), "gw").unwrap();
        server.register(poll.registry(), Token(FIRST)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let start = std::time::Instant::now();
            let mut events = Events::with_capacity(8);
            let now = || Instant::ZERO + start.elapsed() * speed;
            let ended = |server: &mut Server| {
                stopped.load(Relaxed) && {
                    server.wind_up();
                    !server.winds_up()
                }
            };
            while !ended(&mut server) {
                let pause = server.poll_timeout(now()).map(|at| at.since(now()) / speed);
                poll.poll(&mut events, pause).unwrap();
                for event in &events {
                    server.event(event.token(), now(), &mut answer);
                }
                server.turn(now(), &mut answer);
            }
            server
        });
        Running { dir, stop, waker, thread: Some(thread) }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("sub/gw.sock")
    }

    fn stop(mut self) -> Server {
        self.halt().unwrap()
    }

    fn halt(&mut self) -> Option<Server> {
        self.stop.store(true, Relaxed);
        self.waker.wake().unwrap();
        self.thread.take().map(|t| t.join().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.halt();
        }
    }
}

/// `hello` is answered with the pid, `stats` refused, routes are many.
fn answer(verb: Verb, peer: Peer) -> Answer {
    match verb {
        Verb::Hello => Answer::Done(json!({ "pid": peer.pid })),
        Verb::Stats => Answer::no("nothing counted: try tomorrow"),
        Verb::Trace(_) => Answer::Feed(Box::new(Counts { n: 0, left: None })),
        _ => Answer::Parts(Box::new((0..2_000).map(|i| json!([i, "x".repeat(1_000)])))),
    }
}

/// Counts to two, and says three things more when it is closed.
struct Counts {
    n: u64,
    left: Option<u64>,
}

impl Feed for Counts {
    fn poll(&mut self, _: Instant) -> Fed {
        self.n += 1;
        match &mut self.left {
            None if self.n > 2 => Fed::Nothing,
            None => Fed::Part(json!([self.n])),
            Some(0) => Fed::End(json!(["last"])),
            Some(left) => {
                *left -= 1;
                Fed::Part(json!(["left"]))
            }
        }
    }

    fn close(&mut self) -> bool {
        self.left = Some(3);
        true
    }
}

#[test]
fn who_has_enough_hears_what_is_left() {
    let running = Running::start(1);
    let counts = Verb::Trace(crate::control::protocol::Trace::default());
    let mut client = Client::connect(&running.path()).unwrap();
    let (stop, mut all) = (AtomicBool::new(false), Vec::new());
    client
        .ask_until(counts.clone(), &stop, |part: Vec<Value>| {
            all.extend(part);
            stop.store(all.len() >= 2, Relaxed);
            Ok::<_, ClientError>(())
        })
        .unwrap();
    assert_eq!(
        (&all[..2], &all[all.len() - 4..]),
        (&[json!(1), json!(2)][..], &["left", "left", "left", "last"].map(Value::from)[..])
    );
    // So does whoever follows it when the router ends, and is then hung up on.
    let mut client = Client::connect(&running.path()).unwrap();
    let (mut all, mut running) = (Vec::new(), Some(running));
    let broke_off = client.ask_list(counts, |part: Vec<Value>| {
        all.extend(part);
        running.take().map(Running::stop);
        Ok::<_, ClientError>(())
    });
    assert!(matches!(broke_off, Err(ClientError::BrokeOff(_))), "{broke_off:?}");
    assert_eq!(all[all.len() - 4..], ["left", "left", "left", "last"]);
}

fn routes() -> Verb {
    Verb::Ip(Show::Route(RouteFilter::default()))
}

/// Waits for something that is bound to happen.
fn until(mut happens: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !happens() {
        assert!(std::time::Instant::now() < deadline, "it did not happen");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn requests_are_answered_in_order() {
    let running = Running::start(1);
    let mut client = Client::connect(&running.path()).unwrap();
    let hello: Value = client.ask(Verb::Hello).unwrap();
    assert_eq!(hello["pid"], std::process::id());
    let refused = client.ask::<Value>(Verb::Stats).unwrap_err();
    assert_eq!(refused.to_string(), "nothing counted: try tomorrow");
    let mut n = 0;
    client
        .ask_list(routes(), |part: Vec<Value>| {
            assert_eq!(part[0], n);
            n += 1;
            Ok::<_, ClientError>(())
        })
        .unwrap();
    assert_eq!(n, 2_000);
    client.ask::<Value>(Verb::Hello).unwrap();
}

#[test]
fn requests_may_come_in_pieces_and_in_heaps() {
    let running = Running::start(1);
    let mut stream = StdStream::connect(running.path()).unwrap();
    let one = encode(&super::super::Request::new(Verb::Hello)).unwrap();
    for byte in &one {
        stream.write_all(&[*byte]).unwrap();
    }
    let heap = 500;
    stream.write_all(&one.repeat(heap)).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let mut decoder = super::super::protocol::Decoder::new(1000);
    decoder.push(&all);
    let mut n = 0;
    while decoder.message().unwrap().is_some() {
        n += 1;
    }
    assert_eq!(n, heap + 1, "all are answered, even by one who has said all");
}

#[test]
fn nonsense_is_told_so() {
    let running = Running::start(1);
    let said = |bytes: &[u8]| {
        let mut stream = StdStream::connect(running.path()).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    };
    assert!(said(b"\0\0\0\x02{}").contains("can't make sense"));
    assert!(said(b"GET / HTTP/1.1\r\n\r\n").contains("longer than"));
    assert!(said(&(MAX_REQUEST as u32 + 1).to_be_bytes()).contains("longer than"));
    assert_eq!(said(b"\0\0"), "", "half a length is nothing yet");
    Client::connect(&running.path()).unwrap().ask::<Value>(Verb::Hello).unwrap();
}

#[test]
fn who_does_not_read_holds_up_nobody() {
    let running = Running::start(1);
    let mut lazy: Vec<_> = (0..4).map(|_| StdStream::connect(running.path()).unwrap()).collect();
    let ask = encode(&super::super::Request::new(routes())).unwrap();
    for stream in &mut lazy {
        // Two megabytes wait for each, far more than a socket holds.
        stream.write_all(&ask).unwrap();
    }
    for _ in 0..50 {
        Client::connect(&running.path()).unwrap().ask::<Value>(Verb::Hello).unwrap();
    }
    // Once they read, they get all.
    let mut n = 0;
    let mut chunk = [0; 65_536];
    while n < 2_000_000 {
        n += lazy[0].read(&mut chunk).unwrap();
    }
}

#[test]
fn there_is_room_for_so_many() {
    let running = Running::start(1);
    let mut all: Vec<_> = (0..MAX_CLIENTS).map(|_| Client::connect(&running.path()).unwrap()).collect();
    for client in &mut all {
        client.ask::<Value>(Verb::Hello).unwrap();
    }
    let refused = Client::connect(&running.path()).unwrap().ask::<Value>(Verb::Hello).unwrap_err();
    assert!(refused.to_string().contains("as many control connections as it takes"), "{refused}");
    all.pop();
    until(|| Client::connect(&running.path()).unwrap().ask::<Value>(Verb::Hello).is_ok());
}

#[test]
fn who_says_nothing_is_sent_away() {
    // A minute passes in 60 ms.
    let running = Running::start(1_000);
    let idle = StdStream::connect(running.path()).unwrap();
    let mut dribbling = StdStream::connect(running.path()).unwrap();
    let mut hung_up = None;
    until(|| {
        // Bytes that never become a request buy no time.
        if hung_up.is_none() && dribbling.write_all(b"\0").is_err() {
            hung_up = Some(());
        }
        hung_up.is_some()
    });
    let said = last_words(idle);
    assert!(said.contains("nothing was asked for 60 s"), "{said}");
}

#[test]
fn the_socket_is_ours_alone_and_goes_with_us() {
    let running = Running::start(1);
    let path = running.path();
    let meta = std::fs::symlink_metadata(&path).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing else is left of the making");
    drop(running.stop());
    assert!(!path.exists());
}

#[test]
fn a_root_with_no_more_than_cap_chown_can_give_it_away() {
    /// The kernel's own `nobody` (`/proc/sys/kernel/overflowuid`).
    const NOBODY: u32 = 65_534;
    let given = thread::spawn(|| {
        let few: caps::CapsHashSet = [caps::Capability::CAP_CHOWN].into_iter().collect();
        if effective_user() != 0 || caps::set(None, caps::CapSet::Effective, &few).is_err() {
            return false;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        match Server::reserve(&path, "gw", Access { user: Some(NOBODY), group: Some(NOBODY) }) {
            // Nobody of that number is in this user namespace.
            Err(BindError::Owner(e)) if e.raw_os_error() == Some(libc::EINVAL) => return false,
            reserved => drop(reserved.unwrap()),
        }
        let meta = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o777), (NOBODY, NOBODY, 0o660));
        true
    });
    if !given.join().unwrap() {
        println!("skipped: nobody can be given a file here");
    }
}

#[test]
fn a_live_router_is_not_disturbed() {
    let running = Running::start(1);
    let e = Server::bind(&running.path(), "gw").err().unwrap();
    let pid = std::process::id();
    assert!(e.to_string().starts_with(&format!("router 'gw' is already running (pid {pid})")), "{e}");
    Client::connect(&running.path()).unwrap().ask::<Value>(Verb::Hello).unwrap();
}

#[test]
fn what_a_killed_router_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gw.sock");
    // Dropping a listener leaves its file, as a kill does.
    drop(StdListener::bind(&path).unwrap());
    std::fs::create_dir(dir.path().join(format!(".{}", std::process::id()))).unwrap();
    let first = Server::bind(&path, "gw").unwrap();
    assert!(StdStream::connect(&path).is_ok());
    // Somebody took the file away and another router put its own there: the first leaves it alone.
    std::fs::remove_file(&path).unwrap();
    let second = Server::bind(&path, "gw").unwrap();
    drop(first);
    assert!(StdStream::connect(&path).is_ok());
    drop(second);
    assert!(!path.exists());
}

#[test]
fn what_is_no_socket_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gw.sock");
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Server::bind(&path, "gw"), Err(BindError::NotASocket(p)) if p == path));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let long = dir.path().join("x".repeat(120));
    assert!(matches!(Server::bind(&long, "gw"), Err(BindError::Path(_))));
    assert!(matches!(Server::bind(&path.join("below"), "gw"), Err(BindError::Io { .. })));
}

#[test]
fn of_many_that_start_at_once_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gw.sock");
    drop(StdListener::bind(&path).unwrap());
    let start = std::sync::Barrier::new(8);
    let won: Vec<_> = thread::scope(|s| {
        let all: Vec<_> = (0..8)
            .map(|_| {
                s.spawn(|| {
                    start.wait();
                    Server::bind(&path, "gw")
                })
            })
            .collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(won.iter().filter(|r| r.is_ok()).count(), 1);
    // On a busy machine the turn of the last may come too late for it.
    assert!(
        won.iter()
            .flat_map(|r| r.as_ref().err())
            .all(|e| matches!(e, BindError::Running { .. } | BindError::Locked(_)))
    );
}

/// What the connection says, to its end.
fn last_words(mut stream: StdStream) -> String {
    let mut all = Vec::new();
    // One that is hung up on while it sends is told so by an error.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn long_requests_that_never_end_take_no_more_than_is_there_for_all() {
    let running = Running::start(1);
    let piece = vec![b' '; 1 << 20];
    let mut begun = Vec::new();
    let mut refused = 0;
    // Each announces the longest request there is and keeps its last byte back.
    for _ in 0..6 {
        let mut stream = StdStream::connect(running.path()).unwrap();
        stream.write_all(&(MAX_REQUEST as u32).to_be_bytes()).unwrap();
        let sent = (0..MAX_REQUEST / piece.len()).try_for_each(|n| {
            let last = usize::from(n + 1 == MAX_REQUEST / piece.len());
            stream.write_all(&piece[last..])
        });
        match sent {
            Ok(()) => begun.push(stream),
            Err(_) => {
                let said = last_words(stream);
                assert!(said.contains("too much is being asked at once"), "{said}");
                refused += 1;
            }
        }
    }
    assert!(begun.len() * MAX_REQUEST <= MAX_HELD + MAX_REQUEST && refused >= 3, "{} {refused}", begun.len());
    // Nobody else notices, and room that is given up can be had again.
    Client::connect(&running.path()).unwrap().ask::<Value>(Verb::Hello).unwrap();
    begun.clear();
    until(|| {
        let mut stream = StdStream::connect(running.path()).unwrap();
        let mut text = serde_json::to_vec(&super::super::Request::new(Verb::Hello)).unwrap();
        text.resize(MAX_REQUEST, b' ');
        let sent =
            stream.write_all(&(MAX_REQUEST as u32).to_be_bytes()).and_then(|()| stream.write_all(&text));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        sent.is_ok() && last_words(stream).contains("pid")
    });
}

/// Sets it when it is dropped.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn many_who_connect_and_go_hold_up_nobody() {
    let running = Running::start(1);
    let stop = AtomicBool::new(false);
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Relaxed) {
                    // Refused when too many wait; that is the kernel's affair.
                    if let Ok(mut stream) = StdStream::connect(running.path()) {
                        let _ = stream.write_all(b"\0\0\0");
                    }
                }
            });
        }
        // However this ends, they do.
        let stops = Stops(&stop);
        // Whoever has a place keeps it, and has its turn.
        let mut placed = None;
        until(|| {
            let mut client = Client::connect(&running.path()).ok();
            let answered = client.as_mut().is_some_and(|c| c.ask::<Value>(Verb::Hello).is_ok());
            placed = client.filter(|_| answered);
            answered
        });
        let answers = placed.iter_mut().flat_map(|c| (0..100).map(|_| c.ask::<Value>(Verb::Hello).is_ok()));
        let answers: Vec<bool> = answers.collect();
        drop(stops);
        assert_eq!(answers, [true; 100]);
    });
    until(|| Client::connect(&running.path()).is_ok_and(|mut c| c.ask::<Value>(Verb::Hello).is_ok()));
}

#[test]
fn a_directory_that_anybody_may_read_is_not_kept_from_us() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gw.sock");
    // As any user can who may look into it.
    let theirs = std::fs::File::open(dir.path()).unwrap();
    theirs.lock().unwrap();
    // Left behind by one that was killed, or has given up the right to remove it.
    let lock = |user: u32| dir.path().join(format!(".sekisho.{user}.lock"));
    std::fs::write(lock(effective_user()), "").unwrap();
    drop(Server::bind(&path, "gw").unwrap());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    let victim = dir.path().join("victim");
    std::os::unix::fs::symlink(&victim, lock(effective_user())).unwrap();
    let no = Server::bind(&path, "gw").err().unwrap();
    assert!(matches!(no, BindError::Io { .. }), "{no}");
    assert!(no.to_string().contains(lock(effective_user()).to_str().unwrap()), "{no}");
    assert!(!victim.exists(), "a link is not followed");
    std::fs::remove_file(lock(effective_user())).unwrap();

    // Routers of another user have a file of their own.
    let others = std::fs::File::create(lock(effective_user() + 1)).unwrap();
    others.lock().unwrap();
    drop(Server::bind(&path, "gw").unwrap());
}

#[test]
fn nobody_connects_before_it_listens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gw.sock");
    let reserved = Server::reserve(&path, "gw", Access::default()).unwrap();
    assert!(matches!(Client::connect(&path), Err(ClientError::Gone(_))));
    // Another one does not take the place of a socket that is about to be listened at.
    assert!(matches!(Server::bind(&path, "gw"), Err(BindError::Locked(_))));
    let server = reserved.listen().unwrap();
    assert!(matches!(Server::bind(&path, "gw"), Err(BindError::Running { .. })));
    drop(server);
    assert!(!path.exists());
}
