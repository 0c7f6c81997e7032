//! TCP connections a second: opened, accepted and closed, one after the other.
//!
//! ```text
//!  client   SYN ──►          ACK ──►            RST ──►
//!  server        ◄── SYN+ACK        ◄── FIN
//! ```
//!
//! The server closes at once. The client waits for that, so that the server's queue never overflows, and then resets the
//! connection (`SO_LINGER` of zero), so that no port waits in TIME_WAIT and the rate can be kept up for as long as is wanted.

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Doing as _, Histogram, LoadError, Window};
use crate::lab::netns::{Netns, readable, set_option};

/// Connections, each by itself, from a few clients at a time.
#[derive(Debug, Clone)]
pub struct Connects {
    to: IpAddr,
    clients: usize,
    window: Window,
}

/// What became of them in the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectsReport {
    /// Connections that were made.
    pub made: u64,
    /// Connections that failed.
    pub failed: u64,
    /// The window's length.
    pub elapsed: Duration,
    /// How long each took from the first packet to the server's last, those outside the window too.
    pub times: Histogram,
}

impl ConnectsReport {
    /// Connections a second.
    pub fn rate(&self) -> f64 {
        self.made as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl Connects {
    /// One client at a time.
    pub fn new(to: IpAddr, window: Window) -> Self {
        Connects { to, clients: 1, window }
    }

    /// How many clients connect at a time.
    pub fn clients(mut self, clients: usize) -> Self {
        self.clients = clients.max(1);
        self
    }

    /// Connects.
    pub fn run(&self, client: &Netns, server: &Netns) -> Result<ConnectsReport, LoadError> {
        let doing = || format!("connecting from {} to {} at {}", client.name(), server.name(), self.to);
        let listener = server.run(|| TcpListener::bind((self.to, 0))).doing(doing)?;
        let at = listener.local_addr().doing(doing)?;
        let (made, failed, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let read = || [made.load(Relaxed), failed.load(Relaxed)];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    if readable(&listener, TICK).unwrap_or(true) {
                        // A client that has given up leaves an error, which is its affair.
                        let _ = listener.accept();
                    }
                }
            });
            let client_loop = || {
                client.run(|| {
                    let mut times = Histogram::new();
                    while !stop.load(Relaxed) {
                        let start = Instant::now();
                        match connect(at) {
                            Ok(()) => {
                                times.record(start.elapsed());
                                made.fetch_add(1, Relaxed)
                            }
                            Err(_) => failed.fetch_add(1, Relaxed),
                        };
                    }
                    times
                })
            };
            let clients: Vec<_> = (0..self.clients).map(|_| scope.spawn(client_loop)).collect();
            sleep(self.window.warm_up);
            let (start, before) = (Instant::now(), read());
            sleep(self.window.length);
            let (elapsed, after) = (start.elapsed(), read());
            stop.store(true, Relaxed);
            let mut times = Histogram::new();
            for thread in clients {
                times.merge(&thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
            }
            let [made, failed] = [0, 1].map(|i| after[i] - before[i]);
            Ok(ConnectsReport { made, failed, elapsed, times })
        })
    }
}

fn connect(at: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    if stream.read(&mut [0])? != 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // struct linger: on, zero seconds.
    let linger = [1i32.to_ne_bytes(), 0i32.to_ne_bytes()].concat();
    set_option(&stream, libc::SOL_SOCKET, libc::SO_LINGER, &linger)
}

/// How often the server looks whether it is over.
const TICK: Duration = Duration::from_millis(20);
/// How long a connection may take: a lost SYN is sent again after one second.
const PATIENCE: Duration = Duration::from_millis(1500);
