//! UDP transfers between two hosts: how many arrived, whether whole and in the order of their flow.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Doing, ProbeError, TRANSFER, left, pattern};
use crate::lab::netns::{Netns, readable, receive, set_option};

/// A number of datagrams from a client to a server, on one flow or several.
///
/// As many are under way as the receiver's buffer holds, so what is lost was lost on the way.
#[derive(Debug, Clone)]
pub struct Datagrams {
    to: IpAddr,
    count: u64,
    size: usize,
    flows: u16,
    at_once: usize,
    deadline: Duration,
}

/// What arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatagramReport {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams received whole.
    pub received: u64,
    /// Datagrams that came after a later one of the same flow, or twice.
    pub out_of_order: u64,
    /// Datagrams whose content was not what was sent.
    pub damaged: u64,
    /// The time from the first to the last.
    pub elapsed: Duration,
}

impl DatagramReport {
    /// Whether all arrived, whole and in order.
    pub fn perfect(&self) -> bool {
        self.sent == self.received && self.out_of_order == 0 && self.damaged == 0
    }

    /// Bits of UDP payload per second.
    pub fn rate(&self, size: usize) -> f64 {
        (self.received * 8) as f64 * size as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl Datagrams {
    /// `count` datagrams of 1,000 bytes on one flow, to end within [`TRANSFER`].
    pub fn new(to: IpAddr, count: u64) -> Self {
        Datagrams { to, count, size: 1000, flows: 1, at_once: 1, deadline: TRANSFER }
    }

    /// Bytes in each, at least 16.
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes.max(HEADER);
        self
    }

    /// How many flows to spread them over, from as many ports.
    pub fn flows(mut self, flows: u16) -> Self {
        self.flows = flows.max(1);
        self
    }

    /// Hands the kernel so many at once, as one super-packet (UDP_SEGMENT, udp(7)).
    pub fn at_once(mut self, datagrams: usize) -> Self {
        self.at_once = datagrams.clamp(1, 64);
        self
    }

    /// When to give up.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Transfers.
    pub fn run(&self, client: &Netns, server: &Netns) -> Result<DatagramReport, ProbeError> {
        let doing = || format!("UDP from {} to {} at {}", client.name(), server.name(), self.to);
        let deadline = Instant::now() + self.deadline;
        let receiver = server.run(|| UdpSocket::bind((self.to, 0))).doing(doing())?;
        enlarge(&receiver).doing(doing())?;
        let at = receiver.local_addr().doing(doing())?;
        let tally = Tally::default();
        let start = Instant::now();
        std::thread::scope(|s| {
            let reader = s.spawn(|| self.receive(&receiver, &tally, deadline));
            let sent = client.run(|| self.send(at, &tally, deadline)).doing(doing());
            tally.lock().sender_done = true;
            reader.join().unwrap_or_else(|p| std::panic::resume_unwind(p)).doing(doing())?;
            let sent = sent?;
            let state = tally.lock();
            let elapsed = state.last.map_or(Duration::ZERO, |l| l.saturating_duration_since(start));
            Ok(DatagramReport { sent, elapsed, ..state.report.clone() })
        })
    }

    fn send(&self, to: SocketAddr, tally: &Tally, deadline: Instant) -> io::Result<u64> {
        let sockets = (0..self.flows).map(|_| self.flow(to)).collect::<io::Result<Vec<_>>>()?;
        let window = ((WINDOW / self.size).clamp(2, 64) as u64).max(self.at_once as u64);
        let mut next = vec![0u64; sockets.len()];
        let (mut sent, mut given_up) = (0, 0);
        let mut buffer = Vec::new();
        while sent < self.count {
            let flow = (sent / self.at_once as u64) as usize % sockets.len();
            let batch = (self.at_once as u64).min(self.count - sent);
            given_up = tally.wait_for((sent + batch).saturating_sub(window), given_up);
            buffer.clear();
            for sequence in next[flow]..next[flow] + batch {
                self.write(&mut buffer, flow as u64, sequence);
            }
            next[flow] += batch;
            // Refused is what a lost datagram's ICMP error leaves behind; it says nothing of this one.
            match sockets[flow].send(&buffer) {
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => sockets[flow].send(&buffer)?,
                result => result?,
            };
            sent += batch;
            left(deadline).ok_or(io::ErrorKind::TimedOut)?;
        }
        tally.wait_for(sent, given_up);
        Ok(sent)
    }

    fn flow(&self, to: SocketAddr) -> io::Result<UdpSocket> {
        let any = SocketAddr::new(
            match to {
                SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            },
            0,
        );
        let socket = UdpSocket::bind(any)?;
        socket.connect(to)?;
        if self.at_once > 1 {
            let size = i32::try_from(self.size).map_err(|_| io::ErrorKind::InvalidInput)?;
            set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes())?;
        }
        Ok(socket)
    }

    /// Flow, sequence number, and the pattern from a place that the two give.
    fn write(&self, to: &mut Vec<u8>, flow: u64, sequence: u64) {
        to.extend(flow.to_be_bytes());
        to.extend(sequence.to_be_bytes());
        to.extend(body(flow, sequence).take(self.size - HEADER));
    }

    fn receive(&self, socket: &UdpSocket, tally: &Tally, deadline: Instant) -> io::Result<()> {
        let mut next = vec![0u64; usize::from(self.flows)];
        let mut buffer = vec![0; 65_536];
        while let Some(left) = left(deadline) {
            if !readable(socket, left.min(TICK))? {
                if tally.lock().sender_done {
                    break;
                }
                continue;
            }
            let n = match receive(socket, &mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                result => result?,
            };
            let word = |at: usize| buffer.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
            let mut state = tally.lock();
            state.last = Some(Instant::now());
            match (word(0), word(8)) {
                (Some(flow), Some(sequence))
                    if n == self.size
                        && flow < next.len() as u64
                        && buffer[HEADER..n].iter().eq(body(flow, sequence).take(n - HEADER)) =>
                {
                    state.report.received += 1;
                    let expected = &mut next[flow as usize];
                    if sequence < *expected {
                        state.report.out_of_order += 1;
                    }
                    *expected = (*expected).max(sequence + 1);
                }
                _ => state.report.damaged += 1,
            }
            drop(state);
            tally.more.notify_one();
        }
        Ok(())
    }
}

/// Flow and sequence number.
const HEADER: usize = 16;
/// Bytes under way: the receive buffer counts several times as much for them.
const WINDOW: usize = 48 * 1024;
/// The receive buffer, where it may be chosen (SO_RCVBUFFORCE, socket(7)).
const RECEIVE_BUFFER: i32 = 4 << 20;
/// How often the receiver looks whether the sender is done.
const TICK: Duration = Duration::from_millis(20);
/// How long the sender waits for datagrams before it takes them for lost: longer than a busy machine lets a program wait
/// for a CPU.
const LOST: Duration = Duration::from_secs(10);

/// Gives the receiver a buffer that holds all that can be under way, as far as the system allows.
fn enlarge(socket: &UdpSocket) -> io::Result<()> {
    let size = RECEIVE_BUFFER.to_ne_bytes();
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &size)
        .or_else(|_| set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &size))
}

fn body(flow: u64, sequence: u64) -> impl Iterator<Item = &'static u8> {
    let pattern = pattern();
    let at = (flow.wrapping_mul(7_919) + sequence.wrapping_mul(104_729)) % pattern.len() as u64;
    pattern[at as usize..].iter().chain(pattern)
}

/// What the two sides share.
#[derive(Default)]
struct Tally {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    report: DatagramReport,
    last: Option<Instant>,
    sender_done: bool,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `wanted` datagrams arrived or were given up; how many were given up so far.
    fn wait_for(&self, wanted: u64, given_up: u64) -> u64 {
        let arrived = |s: &State| s.report.received + s.report.damaged + given_up;
        let (state, timeout) = self
            .more
            .wait_timeout_while(self.lock(), LOST, |s| arrived(s) < wanted)
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() { given_up + wanted.saturating_sub(arrived(&state)) } else { given_up }
    }
}
