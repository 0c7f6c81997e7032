//! TCP in bulk: how many bytes of data a second one stream or several carry between the hosts' kernels.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Doing as _, LoadError, Window};
use crate::lab::netns::{Netns, readable};

/// Which way the data goes; the client connects either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Streams that carry as much as they can.
#[derive(Debug, Clone)]
pub struct Bulk {
    to: IpAddr,
    streams: usize,
    direction: Direction,
    window: Window,
}

/// What they carried in the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkReport {
    /// Bytes that receivers read, stream by stream.
    pub received: Vec<u64>,
    /// The window's length.
    pub elapsed: Duration,
}

impl BulkReport {
    /// Bits of data a second, all streams together.
    pub fn rate(&self) -> f64 {
        self.received.iter().sum::<u64>() as f64 * 8.0 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl Bulk {
    /// One stream up, to an address that leads to the server.
    pub fn new(to: IpAddr, window: Window) -> Self {
        Bulk { to, streams: 1, direction: Direction::Up, window }
    }

    /// How many streams at a time.
    pub fn streams(mut self, streams: usize) -> Self {
        self.streams = streams.max(1);
        self
    }

    /// Which way.
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Connects, waits for the warm-up and counts.
    ///
    /// # Errors
    ///
    /// If a stream does not connect within five seconds. A stream that stalls is not an error but shows.
    pub fn run(&self, client: &Netns, server: &Netns) -> Result<BulkReport, LoadError> {
        let doing = || format!("TCP from {} to {} at {}", client.name(), server.name(), self.to);
        let bind = SocketAddr::new(self.to, 0);
        // A socket stays in the namespace it was made in, whatever thread uses it.
        let listener = server.run(|| TcpListener::bind(bind)).doing(doing)?;
        let port = listener.local_addr().doing(doing)?.port();
        let at = SocketAddr::new(self.to, port);
        let pairs: Vec<[TcpStream; 2]> =
            (0..self.streams).map(|_| pair(client, &listener, at)).collect::<io::Result<_>>().doing(doing)?;
        let ends: Vec<(&TcpStream, &TcpStream)> = pairs
            .iter()
            .map(|[c, s]| match self.direction {
                Direction::Up => (c, s),
                Direction::Down => (s, c),
            })
            .collect();
        let counters: Vec<AtomicU64> = ends.iter().map(|_| AtomicU64::new(0)).collect();
        let read = || counters.iter().map(|c| c.load(Relaxed)).collect::<Vec<_>>();
        std::thread::scope(|scope| {
            for ((sender, receiver), counter) in ends.iter().copied().zip(&counters) {
                scope.spawn(|| send(sender));
                scope.spawn(|| receive(receiver, counter));
            }
            sleep(self.window.warm_up);
            let (start, before) = (Instant::now(), read());
            sleep(self.window.length);
            let (elapsed, after) = (start.elapsed(), read());
            for stream in pairs.iter().flatten() {
                // Ends the threads' calls; a stream that has ended by itself is ended.
                let _ = stream.shutdown(Shutdown::Both);
            }
            let received = before.iter().zip(after).map(|(b, a)| a - b).collect();
            Ok(BulkReport { received, elapsed })
        })
    }
}

/// A connection: the client's end and the server's.
fn pair(client: &Netns, listener: &TcpListener, at: SocketAddr) -> io::Result<[TcpStream; 2]> {
    let near = client.run(|| TcpStream::connect_timeout(&at, PATIENCE))?;
    if !readable(listener, PATIENCE)? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let (far, _) = listener.accept()?;
    Ok([near, far])
}

fn send(mut stream: &TcpStream) {
    let chunk = vec![0x5a; CHUNK];
    while stream.write(&chunk).is_ok_and(|n| n > 0) {}
}

fn receive(mut stream: &TcpStream, counter: &AtomicU64) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        counter.fetch_add(n as u64, Relaxed);
    }
}

/// What is written and read at once: as iperf3 does.
const CHUNK: usize = 128 * 1024;
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);
