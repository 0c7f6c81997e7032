//! Echo requests and what comes back (RFC 792, RFC 4443 §4).

use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use super::{
    Doing, Family, IcmpError, Origin, PATIENCE, ProbeError, address_bytes, checksum, errors, left, pattern,
};
use crate::lab::netns::{self, device_index, readable, receive};

/// A series of echo requests, each sent when the one before was answered or given up.
#[derive(Debug, Clone)]
pub struct Ping {
    to: IpAddr,
    from: Option<IpAddr>,
    device: Option<String>,
    size: usize,
    count: u16,
    hops: Option<u8>,
    tos: Option<u8>,
    whole: bool,
    ident: Option<u16>,
    wait: Duration,
}

/// What became of a series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PingReport {
    /// Requests sent.
    pub sent: u16,
    /// Answers, in the order they came.
    pub answers: Vec<Answer>,
    /// Errors that came instead.
    pub errors: Vec<IcmpError>,
}

/// One echo reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Who sent it.
    pub from: IpAddr,
    /// The number of the request, from 1.
    pub sequence: u16,
    /// The time from the request to the reply.
    pub rtt: Duration,
}

impl PingReport {
    /// Whether every request was answered once.
    pub fn complete(&self) -> bool {
        let mut seen: Vec<u16> = self.answers.iter().map(|a| a.sequence).collect();
        seen.sort_unstable();
        seen.iter().copied().eq(1..=self.sent)
    }

    /// The shortest, middle and longest round trip.
    pub fn rtt(&self) -> Option<[Duration; 3]> {
        let mut all: Vec<Duration> = self.answers.iter().map(|a| a.rtt).collect();
        all.sort_unstable();
        Some([*all.first()?, all[all.len() / 2], *all.last()?])
    }
}

impl Ping {
    /// One request with 56 bytes of data, and [`PATIENCE`] to answer it.
    pub fn new(to: IpAddr) -> Self {
        Ping {
            to,
            from: None,
            device: None,
            size: 56,
            count: 1,
            hops: None,
            tos: None,
            whole: false,
            ident: None,
            wait: PATIENCE,
        }
    }

    /// How many requests to send.
    pub fn count(mut self, count: u16) -> Self {
        self.count = count;
        self
    }

    /// Bytes of data in each; the ICMP header's 8 come on top.
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// The source address.
    pub fn from(mut self, from: IpAddr) -> Self {
        self.from = Some(from);
        self
    }

    /// The device that a link-local address is on.
    pub fn device(mut self, device: &str) -> Self {
        self.device = Some(device.into());
        self
    }

    /// The TTL or hop limit.
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = Some(hops);
        self
    }

    /// The TOS or traffic class byte.
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = Some(tos);
        self
    }

    /// Sends each request whole: with DF in IPv4, without a fragment header in IPv6, whatever was learnt of the path.
    pub fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// The identifier; otherwise one that no other ping of this process has.
    pub fn ident(mut self, ident: u16) -> Self {
        self.ident = Some(ident);
        self
    }

    /// How long to wait for each answer.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sends them.
    pub fn run(&self) -> Result<PingReport, ProbeError> {
        let doing = || format!("ping {}", self.to);
        let family = Family::of(self.to);
        let socket = self.open(&family).doing(doing())?;
        let ident = self.ident.unwrap_or_else(ident);
        let mut echo = Echo { to: self.to, socket, family, ident, wait: self.wait };
        let mut report = PingReport::default();
        for sequence in 1..=self.count {
            report.sent += 1;
            match echo.once(sequence, self.size).doing(doing())? {
                Outcome::Answered(answer) => report.answers.push(answer),
                Outcome::Failed(error) => report.errors.push(error),
                Outcome::Silence => {}
            }
        }
        Ok(report)
    }

    pub(super) fn open(&self, family: &Family) -> std::io::Result<UdpSocket> {
        let socket = family.icmp_socket()?;
        if let Some(hops) = self.hops {
            family.set(&socket, family.hops, hops.into())?;
        }
        if let Some(tos) = self.tos {
            family.set(&socket, family.tos, tos.into())?;
        }
        let discover = match (self.whole, self.to) {
            (true, IpAddr::V4(_)) => libc::IP_PMTUDISC_PROBE,
            (true, IpAddr::V6(_)) => libc::IPV6_PMTUDISC_PROBE,
            (false, IpAddr::V4(_)) => libc::IP_PMTUDISC_DONT,
            (false, IpAddr::V6(_)) => libc::IPV6_PMTUDISC_WANT,
        };
        family.set(&socket, family.mtu_discover, discover)?;
        if self.whole && self.to.is_ipv6() {
            family.set(&socket, libc::IPV6_DONTFRAG, 1)?;
        }
        let scope = self.device.as_deref().map(device_index).transpose()?.unwrap_or(0);
        // A raw socket has no bind of the standard library's; connect chooses the source by the route.
        if let Some(from) = self.from {
            netns::bind(&socket, &address_bytes(from, scope))?;
        }
        socket.connect(scoped(self.to, scope))?;
        Ok(socket)
    }
}

/// An echo socket that is connected to its destination.
pub(super) struct Echo {
    pub(super) to: IpAddr,
    pub(super) socket: UdpSocket,
    pub(super) family: Family,
    pub(super) ident: u16,
    pub(super) wait: Duration,
}

/// What became of one request.
pub(super) enum Outcome {
    Answered(Answer),
    Failed(IcmpError),
    Silence,
}

impl Echo {
    /// Sends one request with `size` bytes of data and waits for what becomes of it.
    pub(super) fn once(&mut self, sequence: u16, size: usize) -> std::io::Result<Outcome> {
        let request = self.request(sequence, size);
        errors::clear(&self.socket)?;
        let start = Instant::now();
        let deadline = start + self.wait;
        while let Err(e) = self.socket.send(&request) {
            // Queued where the host itself knows better; a full device queue and the like are real errors.
            match errors::next(&self.socket)? {
                Some((error, quoted)) if error.origin == Origin::Icmp && !self.asked(&quoted, sequence) => {
                    left(deadline).ok_or(e)?;
                }
                Some((error, _)) => return Ok(Outcome::Failed(error)),
                None => return Err(e),
            }
        }
        let mut buffer = vec![0; size + 128];
        while let Some(wait) = left(deadline) {
            if !readable(&self.socket, wait)? {
                continue;
            }
            while let Some((error, quoted)) = errors::next(&self.socket)? {
                if self.asked(&quoted, sequence) {
                    return Ok(Outcome::Failed(error));
                }
            }
            let n = match receive(&self.socket, &mut buffer) {
                Ok(n) => n,
                // Nothing but errors had come, about what others asked, or the pending error of one more.
                Err(_) => continue,
            };
            if self.is_reply(&buffer[..n], sequence, size) {
                return Ok(Outcome::Answered(Answer { from: self.to, sequence, rtt: start.elapsed() }));
            }
        }
        Ok(Outcome::Silence)
    }

    fn request(&self, sequence: u16, size: usize) -> Vec<u8> {
        let mut m = vec![self.family.echo_request, 0, 0, 0];
        m.extend(self.ident.to_be_bytes());
        m.extend(sequence.to_be_bytes());
        m.extend(pattern().iter().cycle().take(size));
        if self.family.domain == libc::AF_INET {
            let sum = checksum(&m);
            m[2..4].copy_from_slice(&sum.to_be_bytes());
        } // the kernel fills in that of ICMPv6
        m
    }

    /// Whether this is the whole and right answer to a request of ours.
    fn is_reply(&self, packet: &[u8], sequence: u16, size: usize) -> bool {
        // IPv4 raw sockets give the IP header too, and leave the checksum to us.
        let v4 = self.family.domain == libc::AF_INET;
        let header = packet.first().filter(|_| v4).map_or(0, |b| usize::from(b & 15) * 4);
        packet.get(header..).is_some_and(|m| {
            self.is_mine(m, self.family.echo_reply, sequence)
                && (!v4 || checksum(m) == 0)
                && m[8..].iter().eq(pattern().iter().cycle().take(size))
        })
    }

    /// Whether what an error quotes is a request of ours: a raw socket is told of those of others too.
    fn asked(&self, quoted: &[u8], sequence: u16) -> bool {
        self.is_mine(quoted, self.family.echo_request, sequence)
    }

    fn is_mine(&self, message: &[u8], kind: u8, sequence: u16) -> bool {
        message.first() == Some(&kind)
            && message.get(4..6) == Some(&self.ident.to_be_bytes())
            && message.get(6..8) == Some(&sequence.to_be_bytes())
    }
}

/// An identifier that no other ping of this process has.
pub(super) fn ident() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    (std::process::id() as u16).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x101))
}

fn scoped(addr: IpAddr, scope: u32) -> SocketAddr {
    match addr {
        IpAddr::V4(_) => SocketAddr::new(addr, 0),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, 0, 0, scope).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, RecvTimeoutError};

    use super::*;
    use crate::io::netlink::Refusal;
    use crate::lab::{End, Plan, isolate};

    /// A raw socket hears of the errors of others too: they wake whoever waits, and leave nothing to read.
    #[test]
    fn errors_about_the_requests_of_others_hold_nobody_up() {
        isolate::test(|| {
            let net = |text: &str| text.parse().unwrap();
            let lab = Plan::new()
                .space("host")
                .space("router")
                .sysctl("router", "net/ipv4/ip_forward", "1")
                .wire(
                    End::new("host", "eth0").address(net("10.1.0.2/24")),
                    End::new("router", "eth0").address(net("10.1.0.1/24")),
                )
                .route("host", net("0.0.0.0/0"), "10.1.0.1".parse().unwrap())
                .refuse("router", net("10.9.0.0/24"), Refusal::Blackhole)
                .build()
                .unwrap();
            let (done, wait) = mpsc::channel();
            let pinging = lab["host"].spawn(move || {
                let ping = Ping::new("10.9.0.1".parse().unwrap()).wait(Duration::from_millis(300));
                done.send(ping.run())
            });
            let router = Family::of(IpAddr::V4([10, 1, 0, 1].into()));
            let router = lab["router"].run(|| router.icmp_socket()).unwrap();
            let error = host_unreachable();
            let deadline = Instant::now() + Duration::from_secs(60);
            let mut errors = 0;
            let report = loop {
                match wait.recv_timeout(Duration::from_millis(5)) {
                    Ok(report) => break report.unwrap(),
                    Err(e) => assert!(e == RecvTimeoutError::Timeout && Instant::now() < deadline, "held up"),
                }
                // Some only: the next would wake whom the last left waiting.
                if errors < 20 {
                    router.send_to(&error, "10.1.0.2:0").unwrap();
                    errors += 1;
                }
            };
            assert_eq!(report, PingReport { sent: 1, ..PingReport::default() });
            pinging.join().unwrap().unwrap();
        });
    }

    /// Type 3, code 1 about an echo request to 10.9.0.1 with an identifier that this process gives to none.
    fn host_unreachable() -> Vec<u8> {
        let mut message = vec![3, 1, 0, 0, 0, 0, 0, 0];
        message.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 1, 0, 2, 10, 9, 0, 1]);
        message.extend([8, 0, 0, 0]);
        message.extend((ident() ^ 0x8000).to_be_bytes());
        message.extend([0, 1]);
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    }
}
