//! The HTTP endpoint: one thread, an event loop, a few connections.
//!
//! ```text
//!  accept ─► reads its request ─► writes the response ─► waits for the end ─► closed
//!              5 s                  10 s                   1 s
//! ```
//!
//! Nobody can hold it up or make it grow: descriptors don't block, a request is bounded, each step has its deadline,
//! and when all places are taken whoever has been there longest makes way. The counters are summed at most every
//! tenth of a second, however many ask.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::families;
use super::http::{self, MAX_HEAD, Refused};
use crate::base::Instant;
use crate::control::view::Stats;

/// Connections at once.
const MAX_CONNECTIONS: usize = 16;
/// How long a request may take to come, a response to be taken, and the other end to hang up.
const TO_ASK: Duration = Duration::from_secs(5);
const TO_TAKE: Duration = Duration::from_secs(10);
const TO_LEAVE: Duration = Duration::from_secs(1);
/// How old the counters may be that are shown.
const FRESH: Duration = Duration::from_millis(100);
/// Connections accepted at a time.
const ACCEPTED: usize = 64;
/// How soon to try again to accept when the process has run out of descriptors.
const RETRY: Duration = Duration::from_millis(100);

const LISTENER: Token = Token(MAX_CONNECTIONS);
const WAKE: Token = Token(MAX_CONNECTIONS + 1);

/// The endpoint, listening.
pub struct Endpoint {
    listener: TcpListener,
    at: SocketAddr,
    poll: Poll,
    connections: Vec<Option<Connection>>,
    accept_again: Option<Instant>,
    /// Connections so far.
    accepted: u64,
    last: Option<(Instant, Stats)>,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Asks,
    Takes,
    Leaves,
}

struct Connection {
    stream: TcpStream,
    step: Step,
    /// The how manieth it is.
    number: u64,
    deadline: Instant,
    input: Vec<u8>,
    output: Vec<u8>,
    taken: usize,
}

impl Endpoint {
    /// Listens; port 0 is any that is free.
    ///
    /// # Errors
    /// The address is not this machine's, or the port is taken.
    pub fn bind(at: SocketAddr) -> io::Result<Self> {
        let mut listener = TcpListener::bind(at)?;
        let at = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let connections = (0..MAX_CONNECTIONS).map(|_| None).collect();
        Ok(Endpoint { listener, at, poll, connections, accept_again: None, accepted: 0, last: None })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.at
    }

    /// Wakes the thread it runs on.
    ///
    /// # Errors
    /// As of [`Waker::new`].
    pub fn waker(&self) -> io::Result<Arc<Waker>> {
        Ok(Arc::new(Waker::new(self.poll.registry(), WAKE)?))
    }

    /// Serves until `stop` is set and it has been woken.
    ///
    /// # Errors
    /// The poll failed.
    pub fn run(
        mut self,
        stop: &AtomicBool,
        now: impl Fn() -> Instant,
        mut stats: impl FnMut() -> Stats,
    ) -> io::Result<()> {
        let mut events = Events::with_capacity(MAX_CONNECTIONS + 2);
        while !stop.load(Relaxed) {
            let wait = self.next_deadline().map(|at| at.since(now()) + Duration::from_millis(1));
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            let at = now();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(at),
                    Token(slot) => self.serve(slot, at, &mut stats),
                }
            }
            self.expire(at, &mut stats);
        }
        Ok(())
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.connections.iter().flatten().map(|c| c.deadline).chain(self.accept_again).min()
    }

    /// Takes in whoever waits: events are edges, so until nobody does.
    fn accept(&mut self, now: Instant) {
        self.accept_again = None;
        for _ in 0..ACCEPTED {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream, now),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.accept_again = Some(now + RETRY);
                    return;
                }
            }
        }
        // The others have their turn first.
        self.accept_again = Some(now);
    }

    fn admit(&mut self, mut stream: TcpStream, now: Instant) {
        let free = self.connections.iter().position(Option::is_none);
        let longest = || {
            let taken = self.connections.iter().enumerate();
            taken.filter_map(|(n, c)| Some((c.as_ref()?.number, n))).min().map(|(_, n)| n)
        };
        let Some(slot) = free.or_else(longest) else { return };
        // Closing the descriptor of the one before takes it out of the poll.
        self.connections[slot] = None;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.accepted += 1;
        if self.poll.registry().register(&mut stream, Token(slot), interest).is_ok() {
            let _ = stream.set_nodelay(true);
            self.connections[slot] = Some(Connection {
                stream,
                step: Step::Asks,
                number: self.accepted,
                deadline: now + TO_ASK,
                input: Vec::new(),
                output: Vec::new(),
                taken: 0,
            });
        }
    }

    fn serve(&mut self, slot: usize, now: Instant, stats: &mut dyn FnMut() -> Stats) {
        let Some(place) = self.connections.get_mut(slot) else { return };
        let Some(connection) = place else { return };
        let last = &mut self.last;
        let mut text = |format| {
            let (_, fresh) = match last.take() {
                Some((at, old)) if now.since(at) < FRESH => last.insert((at, old)),
                _ => last.insert((now, stats())),
            };
            families::text(fresh, format)
        };
        if connection.go_on(now, &mut text).is_err() {
            *place = None;
        }
    }

    /// Ends whatever takes too long.
    fn expire(&mut self, now: Instant, stats: &mut dyn FnMut() -> Stats) {
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept(now);
        }
        for slot in 0..self.connections.len() {
            let Some(place) = self.connections.get_mut(slot) else { continue };
            match place {
                Some(c) if c.deadline <= now && c.step == Step::Asks => {
                    c.answer(http::refusal(Refused::Timeout), now);
                    self.serve(slot, now, stats);
                }
                Some(c) if c.deadline <= now => *place = None,
                _ => {}
            }
        }
    }
}

impl Connection {
    /// Does what can be done now; an error: there is nothing more to do.
    fn go_on(&mut self, now: Instant, text: &mut dyn FnMut(http::Format) -> String) -> io::Result<()> {
        loop {
            match self.step {
                Step::Asks => {
                    match http::parse(&self.input) {
                        Ok(None) => {}
                        Ok(Some(request)) => {
                            self.answer(http::metrics(request, &text(request.format)), now);
                            continue;
                        }
                        Err(why) => {
                            self.answer(http::refusal(why), now);
                            continue;
                        }
                    }
                    let mut chunk = [0; 1024];
                    match self.stream.read(&mut chunk) {
                        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                        Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                        Err(e) => return wait(e),
                    }
                    debug_assert!(self.input.len() <= MAX_HEAD + 1024);
                }
                Step::Takes if self.taken == self.output.len() => {
                    // What is unread when a socket is closed makes the kernel take back what was sent.
                    self.stream.shutdown(Shutdown::Write)?;
                    self.output = Vec::new();
                    (self.step, self.deadline) = (Step::Leaves, now + TO_LEAVE);
                }
                Step::Takes => match self.stream.write(&self.output[self.taken..]) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(n) => self.taken += n,
                    Err(e) => return wait(e),
                },
                Step::Leaves => {
                    let mut chunk = [0; 1024];
                    match self.stream.read(&mut chunk) {
                        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                        Ok(n) => self.discarded(n)?,
                        Err(e) => return wait(e),
                    }
                }
            }
        }
    }

    fn answer(&mut self, response: Vec<u8>, now: Instant) {
        self.input = Vec::new();
        (self.output, self.taken) = (response, 0);
        (self.step, self.deadline) = (Step::Takes, now + TO_TAKE);
    }

    /// Whoever goes on talking is not listened to for ever.
    fn discarded(&mut self, n: usize) -> io::Result<()> {
        self.taken += n;
        if self.taken > MAX_DISCARDED { Err(ErrorKind::InvalidData.into()) } else { Ok(()) }
    }
}

/// Bytes read and thrown away after the response, about.
const MAX_DISCARDED: usize = 1 << 20;

/// A descriptor that is not ready is waited for; everything else ends the connection.
fn wait(e: io::Error) -> io::Result<()> {
    if e.kind() == ErrorKind::WouldBlock { Ok(()) } else { Err(e) }
}

#[cfg(test)]
mod tests;
