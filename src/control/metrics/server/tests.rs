//! Clients of an endpoint on the loopback, good ones and others.

use std::net::TcpStream as Socket;
use std::thread::{self, JoinHandle};

use super::*;

/// An endpoint on a thread of its own, and how often its counters were summed.
struct Running {
    at: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<io::Result<u64>>>,
}

impl Running {
    fn start() -> Self {
        Self::slower(1)
    }

    /// One whose time passes more slowly, so that no patience ends while the machine has other things to do.
    fn slower(times: u32) -> Self {
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (at, waker) = (endpoint.local_addr(), endpoint.waker().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let start = std::time::Instant::now();
            let mut sums = 0;
            endpoint.run(
                &stopped,
                || Instant::ZERO + start.elapsed() / times,
                || {
                    sums += 1;
                    Stats { name: "gw".into(), ..Stats::default() }
                },
            )?;
            Ok(sums)
        });
        Running { at, stop, waker, thread: Some(thread) }
    }

    fn connect(&self) -> Socket {
        let socket = Socket::connect(self.at).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket
    }

    /// What is said until it hangs up.
    fn ask(&self, request: &str) -> String {
        let mut socket = self.connect();
        socket.write_all(request.as_bytes()).unwrap();
        hear(&mut socket)
    }

    fn stop(mut self) -> u64 {
        self.end().unwrap()
    }

    fn end(&mut self) -> Option<u64> {
        self.stop.store(true, Relaxed);
        self.waker.wake().unwrap();
        Some(self.thread.take()?.join().unwrap().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.end();
        }
    }
}

fn hear(socket: &mut Socket) -> String {
    let mut said = String::new();
    socket.read_to_string(&mut said).unwrap();
    said
}

const GOOD: &str = "GET /metrics HTTP/1.1\r\nHost: gw\r\n\r\n";

#[test]
fn a_scrape_is_answered() {
    let endpoint = Running::start();
    let said = endpoint.ask(GOOD);
    assert!(said.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{said}");
    assert!(said.contains("\nsekisho_info{name=\"gw\",version=\"\"} 1\n"), "{said}");
    let open = endpoint.ask(
        "GET /metrics HTTP/1.1\r\nHost: gw\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n",
    );
    assert!(open.contains("application/openmetrics-text") && open.ends_with("# EOF\n"), "{open}");
    let head = endpoint.ask(&GOOD.replace("GET", "HEAD"));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(endpoint.ask("GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(endpoint.ask("BREW /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert!(endpoint.ask("\x16\x03\x01\n\n").starts_with("HTTP/1.1 400 "));
    let long = format!("GET /metrics HTTP/1.0\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert!(endpoint.ask(&long).starts_with("HTTP/1.1 431 "));
    assert!(endpoint.stop() >= 1);
}

#[test]
fn those_who_say_nothing_make_way() {
    let endpoint = Running::slower(100);
    let silent: Vec<Socket> = (0..3 * MAX_CONNECTIONS)
        .map(|_| {
            let mut socket = endpoint.connect();
            socket.write_all(b"GET /met").unwrap();
            socket
        })
        .collect();
    assert!(endpoint.ask(GOOD).starts_with("HTTP/1.1 200 "));
    // The first were hung up on, of which they hear when the kernel gets to it; the last were not.
    let hung_up = |socket: &Socket| {
        socket.set_nonblocking(true).unwrap();
        let mut byte = [0];
        let gone = !matches!((&*socket).read(&mut byte), Err(e) if e.kind() == ErrorKind::WouldBlock);
        socket.set_nonblocking(false).unwrap();
        gone
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let mut left = silent.len();
    while left > MAX_CONNECTIONS {
        assert!(std::time::Instant::now() < deadline, "{left} are left");
        left = silent.iter().filter(|s| !hung_up(s)).count();
    }
    assert!(hung_up(&silent[0]));
    assert!(!hung_up(&silent[silent.len() - 1]));
}

#[test]
fn those_who_ask_slowly_are_told() {
    let endpoint = Running::start();
    let mut slow = endpoint.connect();
    slow.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    assert!(hear(&mut slow).starts_with("HTTP/1.1 408 "));
}

#[test]
fn many_who_ask_at_once_cost_little() {
    let endpoint = Running::start();
    let start = std::time::Instant::now();
    for _ in 0..50 {
        assert!(endpoint.ask(GOOD).starts_with("HTTP/1.1 200 "));
    }
    let most = start.elapsed().as_millis() / FRESH.as_millis() + 2;
    assert!(u128::from(endpoint.stop()) <= most);
}
