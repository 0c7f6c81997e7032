//! A TCP transfer between two hosts, every byte compared.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{Doing, ProbeError, TRANSFER, left, pattern};
use crate::lab::netns::{Netns, readable};

/// A transfer from a client to a server that listens just for it.
#[derive(Debug, Clone)]
pub struct Stream {
    to: IpAddr,
    port: u16,
    amount: Amount,
    deadline: Duration,
}

/// How much to transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// As much as goes through in this time.
    For(Duration),
}

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamReport {
    /// Bytes the client sent.
    pub sent: u64,
    /// Bytes the server received.
    pub received: u64,
    /// Where the first wrong byte stood, if one did.
    pub damaged_at: Option<u64>,
    /// The time from the first byte sent to the end of the stream.
    pub elapsed: Duration,
}

impl StreamReport {
    /// Whether all that was sent arrived as it was.
    pub fn intact(&self) -> bool {
        self.sent == self.received && self.damaged_at.is_none()
    }

    /// Bits per second.
    pub fn rate(&self) -> f64 {
        self.received as f64 * 8.0 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl Stream {
    /// A transfer to `to`, an address of the server's, to end within [`TRANSFER`].
    pub fn new(to: IpAddr, amount: Amount) -> Self {
        Stream { to, port: 0, amount, deadline: TRANSFER }
    }

    /// The server's port; otherwise the server's kernel chooses.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// When to give up.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Transfers.
    pub fn run(&self, client: &Netns, server: &Netns) -> Result<StreamReport, ProbeError> {
        let doing = || format!("TCP from {} to {} at {}", client.name(), server.name(), self.to);
        let deadline = Instant::now() + self.deadline;
        // A socket stays in the namespace it was made in, whatever thread uses it.
        let listener = server.run(|| TcpListener::bind((self.to, self.port))).doing(doing())?;
        let at = listener.local_addr().doing(doing())?;
        std::thread::scope(|s| {
            let receiver = s.spawn(move || receive(&listener, deadline));
            let sent = client.run(|| self.send(at, deadline)).doing(doing());
            let received = receiver.join().unwrap_or_else(|p| std::panic::resume_unwind(p));
            // The client knows better why it went wrong than the server it never reached.
            let (start, sent) = sent?;
            let (end, received, damaged_at) = received.doing(doing())?;
            Ok(StreamReport { sent, received, damaged_at, elapsed: end.saturating_duration_since(start) })
        })
    }

    fn send(&self, to: SocketAddr, deadline: Instant) -> io::Result<(Instant, u64)> {
        let mut stream = TcpStream::connect_timeout(&to, left(deadline).ok_or(io::ErrorKind::TimedOut)?)?;
        let start = Instant::now();
        let mut sent = 0;
        loop {
            let chunk = pattern_at(sent);
            let chunk = match self.amount {
                Amount::Bytes(n) if sent >= n => break,
                Amount::Bytes(n) => &chunk[..chunk.len().min((n - sent) as usize)],
                Amount::For(time) if start.elapsed() >= time => break,
                Amount::For(_) => chunk,
            };
            stream.set_write_timeout(Some(left(deadline).ok_or(io::ErrorKind::TimedOut)?))?;
            sent += stream.write(chunk)? as u64;
        }
        stream.shutdown(Shutdown::Write)?;
        stream.set_read_timeout(Some(left(deadline).ok_or(io::ErrorKind::TimedOut)?))?;
        // The server closes when it has read the last byte.
        stream.read_to_end(&mut Vec::new())?;
        Ok((start, sent))
    }
}

/// Reads to the end: when that was, how many bytes there were, where the first wrong one stood.
fn receive(listener: &TcpListener, deadline: Instant) -> io::Result<(Instant, u64, Option<u64>)> {
    let mut stream = loop {
        let wait = left(deadline).ok_or(io::ErrorKind::TimedOut)?;
        if readable(listener, wait)? {
            break listener.accept()?.0;
        }
    };
    let (mut received, mut damaged_at) = (0, None);
    let mut buffer = vec![0; CHUNK];
    loop {
        stream.set_read_timeout(Some(left(deadline).ok_or(io::ErrorKind::TimedOut)?))?;
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok((Instant::now(), received, damaged_at));
        }
        let mut rest = &buffer[..n];
        while !rest.is_empty() {
            let expected = pattern_at(received);
            let len = rest.len().min(expected.len());
            if damaged_at.is_none() && rest[..len] != expected[..len] {
                let at = rest.iter().zip(expected).take_while(|(a, b)| a == b).count();
                damaged_at = Some(received + at as u64);
            }
            received += len as u64;
            rest = &rest[len..];
        }
    }
}

/// What is written and read at once.
const CHUNK: usize = 128 * 1024;

/// The pattern from a position of the stream on, at most a chunk of it.
fn pattern_at(position: u64) -> &'static [u8] {
    let pattern = pattern();
    let at = (position % pattern.len() as u64) as usize;
    &pattern[at..pattern.len().min(at + CHUNK)]
}
