//! The way to a host, hop by hop: UDP to unlikely ports with growing TTLs (traceroute(8)).

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::{Doing, Family, PATIENCE, ProbeError, errors, left};
use crate::lab::netns::{readable, receive, socket};

/// Finds the routers on the way to a host.
#[derive(Debug, Clone)]
pub struct Trace {
    to: IpAddr,
    most_hops: u8,
    attempts: u8,
    wait: Duration,
}

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The TTL or hop limit that led here.
    pub ttl: u8,
    /// Who answered; `None` if nobody did.
    pub from: Option<IpAddr>,
    /// The time to the answer.
    pub rtt: Duration,
    /// What the answer was.
    pub kind: HopKind,
}

/// What came back from a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopKind {
    /// Time exceeded: a router on the way.
    OnTheWay,
    /// Port unreachable from the destination itself.
    Arrived,
    /// Another error: its type and code.
    Refused(u8, u8),
    /// Nothing.
    Silent,
}

impl Trace {
    /// At most 30 hops, two attempts of [`PATIENCE`] each.
    pub fn new(to: IpAddr) -> Self {
        Trace { to, most_hops: 30, attempts: 2, wait: PATIENCE }
    }

    /// Where to give up.
    pub fn most_hops(mut self, hops: u8) -> Self {
        self.most_hops = hops;
        self
    }

    /// How long to wait for each answer.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Goes the way; the last hop is the destination, if it was reached.
    pub fn run(&self) -> Result<Vec<Hop>, ProbeError> {
        let mut hops = Vec::new();
        for ttl in 1..=self.most_hops {
            let hop = self.hop(ttl).doing(format!("traceroute to {}", self.to))?;
            let last = matches!(hop.kind, HopKind::Arrived | HopKind::Refused(..));
            hops.push(hop);
            if last {
                break;
            }
        }
        Ok(hops)
    }

    fn hop(&self, ttl: u8) -> std::io::Result<Hop> {
        let family = Family::of(self.to);
        let fd: OwnedFd = socket(family.domain, libc::SOCK_DGRAM, libc::IPPROTO_UDP)?;
        family.set(&fd, family.receive_errors, 1)?;
        family.set(&fd, family.hops, ttl.into())?;
        let probe = UdpSocket::from(fd);
        probe.connect(SocketAddr::new(self.to, FIRST_PORT + u16::from(ttl)))?;
        let mut start = Instant::now();
        for _ in 0..self.attempts {
            start = Instant::now();
            probe.send(&[0; 32])?;
            while let Some(wait) = left(start + self.wait) {
                if !readable(&probe, wait)? {
                    continue;
                }
                if let Some((error, _)) = errors::next(&probe)? {
                    let kind = match (self.to, error.kind, error.code) {
                        (IpAddr::V4(_), 11, 0) | (IpAddr::V6(_), 3, 0) => HopKind::OnTheWay,
                        (IpAddr::V4(_), 3, 3) | (IpAddr::V6(_), 1, 4) if error.from == Some(self.to) => {
                            HopKind::Arrived
                        }
                        (_, kind, code) => HopKind::Refused(kind, code),
                    };
                    return Ok(Hop { ttl, from: error.from, rtt: start.elapsed(), kind });
                }
                // Data on a port where nobody listens; taken off, or the wait would not wait.
                let _ = receive(&probe, &mut [0; 64]);
            }
        }
        Ok(Hop { ttl, from: None, rtt: start.elapsed(), kind: HopKind::Silent })
    }
}

/// The first of the ports that traceroute asks (traceroute(8)).
const FIRST_PORT: u16 = 33434;
