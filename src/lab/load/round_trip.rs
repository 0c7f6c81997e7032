//! How long a packet takes there and back: one at a time, the next when the answer has come.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{Doing as _, Histogram, LoadError, Window};
use crate::lab::netns::{Netns, socket};
use crate::lab::probes::checksum;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// A thread of ours at the server, over UDP.
    Udp,
    /// The server's kernel, over ICMP.
    Icmp,
}

/// A series of round trips.
#[derive(Debug, Clone)]
pub struct RoundTrip {
    to: IpAddr,
    echo: Echo,
    size: usize,
    window: Window,
}

/// How long they took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoundTripReport {
    /// The times, of those that were answered.
    pub times: Histogram,
    /// Requests that were not answered within 100 ms.
    pub lost: u64,
}

impl RoundTripReport {
    /// The times that half, 99 % and 99.9 % of all don't exceed.
    pub fn percentiles(&self) -> [Duration; 3] {
        [0.5, 0.99, 0.999].map(|part| self.times.quantile(part))
    }
}

impl RoundTrip {
    /// Round trips of 18 bytes of data over UDP: frames of 60 bytes.
    pub fn new(to: IpAddr, window: Window) -> Self {
        RoundTrip { to, echo: Echo::Udp, size: 18, window }
    }

    /// Who answers.
    pub fn echo(mut self, echo: Echo) -> Self {
        self.echo = echo;
        self
    }

    /// Bytes of data in each, at least 8.
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes.max(NUMBER);
        self
    }

    /// Goes back and forth for the window's length, after its warm-up.
    pub fn run(&self, client: &Netns, server: &Netns) -> Result<RoundTripReport, LoadError> {
        let doing = || format!("round trips from {} to {} at {}", client.name(), server.name(), self.to);
        match self.echo {
            Echo::Icmp => client.run(|| self.ping()).doing(doing),
            Echo::Udp => {
                let far = server.run(|| UdpSocket::bind((self.to, 0))).doing(doing)?;
                far.set_read_timeout(Some(TICK)).doing(doing)?;
                let at = far.local_addr().doing(doing)?;
                let stop = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    scope.spawn(|| answer(&far, &stop));
                    let report = client.run(|| self.ask(at));
                    stop.store(true, Relaxed);
                    report.doing(doing)
                })
            }
        }
    }

    fn ask(&self, at: SocketAddr) -> io::Result<RoundTripReport> {
        let any = match at {
            SocketAddr::V4(_) => IpAddr::from([0; 4]),
            SocketAddr::V6(_) => IpAddr::from([0u16; 8]),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(at)?;
        let mut packet = vec![0; self.size];
        self.go(
            &socket,
            |number| {
                packet[..NUMBER].copy_from_slice(&number.to_be_bytes());
                packet.clone()
            },
            |answer| answer.first_chunk().map(|n| u64::from_be_bytes(*n)),
        )
    }

    fn ping(&self) -> io::Result<RoundTripReport> {
        let (domain, protocol, request, reply) = match self.to {
            IpAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_ICMP, 8, 0),
            IpAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_ICMPV6, 128, 129),
        };
        let fd: OwnedFd = socket(domain, libc::SOCK_RAW, protocol)?;
        // The standard library's datagram calls are those of any socket with Internet addresses.
        let socket = UdpSocket::from(fd);
        socket.connect((self.to, 0))?;
        let ident = (std::process::id() as u16).to_be_bytes();
        let header = if self.to.is_ipv4() { 20 } else { 0 };
        self.go(
            &socket,
            |number| {
                let sequence = (number as u16).to_be_bytes();
                let start = [request, 0, 0, 0, ident[0], ident[1], sequence[0], sequence[1]];
                let mut packet = [&start[..], &number.to_be_bytes()].concat();
                packet.resize(8 + self.size, 0);
                if self.to.is_ipv4() {
                    let sum = checksum(&packet).to_be_bytes();
                    packet[2..4].copy_from_slice(&sum);
                }
                packet
            },
            |answer| {
                let message = answer.get(header..)?;
                let ours = message.first() == Some(&reply) && message.get(4..6) == Some(&ident);
                let number = message.get(8..)?.first_chunk().map(|n| u64::from_be_bytes(*n));
                number.filter(|_| ours)
            },
        )
    }

    /// Sends what `make` makes of a number until `read` finds that number in an answer.
    fn go(
        &self,
        socket: &UdpSocket,
        mut make: impl FnMut(u64) -> Vec<u8>,
        read: impl Fn(&[u8]) -> Option<u64>,
    ) -> io::Result<RoundTripReport> {
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut report = RoundTripReport::default();
        let mut buffer = vec![0; self.size + 128];
        let start = Instant::now();
        let from = start + self.window.warm_up;
        let to = from + self.window.length;
        for number in 0.. {
            let packet = make(number);
            let sent_at = Instant::now();
            if sent_at >= to {
                break;
            }
            let came = match socket.send(&packet) {
                // An ICMP error to an earlier packet: it says nothing of this one.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => false,
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => false,
                result => {
                    result?;
                    wait(socket, &mut buffer, sent_at, |answer| read(answer) == Some(number))?
                }
            };
            let took = sent_at.elapsed();
            if sent_at >= from {
                if came { report.times.record(took) } else { report.lost += 1 }
            }
        }
        Ok(report)
    }
}

/// Waits for the answer; late ones to earlier requests don't count.
fn wait(
    socket: &UdpSocket,
    buffer: &mut [u8],
    since: Instant,
    is_it: impl Fn(&[u8]) -> bool,
) -> io::Result<bool> {
    loop {
        match socket.recv(buffer) {
            Ok(n) if is_it(&buffer[..n]) => return Ok(true),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(false);
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            result => drop(result?),
        }
        if since.elapsed() > PATIENCE {
            return Ok(false);
        }
    }
}

/// Sends back what comes, until it is told to stop.
fn answer(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stop.load(Relaxed) {
        if let Ok((n, from)) = socket.recv_from(&mut buffer) {
            // An answer that can't be sent is one that does not arrive.
            let _ = socket.send_to(&buffer[..n], from);
        }
    }
}

/// Bytes of the number in a request.
const NUMBER: usize = 8;
/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often the far side looks whether it is over.
const TICK: Duration = Duration::from_millis(20);
