//! What hosts do to see whether a network works, on the kernel's own stack.
//!
//! Every probe opens its sockets in the calling thread's namespace (see [`super::Netns::run`]), waits for
//! what it expects and for nothing else, and gives up at a deadline. Knows nothing of routers.

mod datagrams;
mod errors;
mod frames;
mod path_mtu;
mod ping;
mod stream;

mod trace;

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::netns::{set_option, socket};

pub use datagrams::{DatagramReport, Datagrams};
pub use errors::{IcmpError, Origin};
pub use frames::{Frame, Wiretap};
pub use path_mtu::{PathMtu, PathMtuReport, Step};
pub use ping::{Answer, Ping, PingReport};
pub use stream::{Amount, Stream, StreamReport};
pub use trace::{Hop, HopKind, Trace};

/// A probe could not do its work. That nobody answered is not an error but a finding.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct ProbeError {
    /// What the probe was doing.
    pub doing: String,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Says what was being done when a call failed.
trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, ProbeError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, ProbeError> {
        self.map_err(|source| ProbeError { doing: what.into(), source })
    }
}

/// The Internet checksum (RFC 1071): zero over data that carries its right checksum.
pub fn checksum(data: &[u8]) -> u16 {
    let mut pairs = data.chunks_exact(2);
    let mut sum: u64 = pairs.by_ref().map(|p| u64::from(u16::from_be_bytes([p[0], p[1]]))).sum();
    if let [last] = pairs.remainder() {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Bytes that repeat only after a prime number of them, so that whatever is lost, doubled or swapped shows.
fn pattern() -> &'static [u8] {
    /// The largest prime below 2^20.
    const LENGTH: usize = 1_048_573;
    static PATTERN: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        let mut x = 0x9e37_79b9_7f4a_7c15_u64;
        let next = || {
            // xorshift64 (Marsaglia): any sequence without a short period would do.
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 32) as u8
        };
        std::iter::repeat_with(next).take(LENGTH).collect()
    });
    &PATTERN
}

/// The protocol numbers, socket options and ICMP types of an address family.
struct Family {
    domain: i32,
    level: i32,
    icmp: i32,
    hops: i32,
    tos: i32,
    receive_errors: i32,
    mtu_discover: i32,
    mtu: i32,
    echo_request: u8,
    echo_reply: u8,
    /// The length of the fixed IP header.
    header: usize,
}

impl Family {
    fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Family {
                domain: libc::AF_INET,
                level: libc::IPPROTO_IP,
                icmp: libc::IPPROTO_ICMP,
                hops: libc::IP_TTL,
                tos: libc::IP_TOS,
                receive_errors: libc::IP_RECVERR,
                mtu_discover: libc::IP_MTU_DISCOVER,
                mtu: libc::IP_MTU,
                echo_request: 8,
                echo_reply: 0,
                header: 20,
            },
            IpAddr::V6(_) => Family {
                domain: libc::AF_INET6,
                level: libc::IPPROTO_IPV6,
                icmp: libc::IPPROTO_ICMPV6,
                hops: libc::IPV6_UNICAST_HOPS,
                tos: libc::IPV6_TCLASS,
                receive_errors: libc::IPV6_RECVERR,
                mtu_discover: libc::IPV6_MTU_DISCOVER,
                mtu: libc::IPV6_MTU,
                echo_request: 128,
                echo_reply: 129,
                header: 40,
            },
        }
    }

    /// A raw ICMP socket that tells of errors.
    fn icmp_socket(&self) -> io::Result<UdpSocket> {
        let fd: OwnedFd = socket(self.domain, libc::SOCK_RAW, self.icmp)?;
        self.set(&fd, self.receive_errors, 1)?;
        // The standard library's datagram calls are those of any socket with Internet addresses.
        Ok(UdpSocket::from(fd))
    }

    fn set(&self, fd: impl std::os::fd::AsFd, option: i32, value: i32) -> io::Result<()> {
        set_option(fd, self.level, option, &value.to_ne_bytes())
    }
}

/// How long an answer may take unless it is said otherwise: who is answered does not wait for it, and a busy machine may let
/// whoever answers wait for a CPU.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a transfer may take unless it is said otherwise.
pub const TRANSFER: Duration = Duration::from_secs(100);

/// What is left until `deadline`; `None` when it is over.
fn left(deadline: Instant) -> Option<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|d| !d.is_zero())
}

/// A sockaddr_in or sockaddr_in6 without a port, see ip(7) and ipv6(7).
fn address_bytes(addr: IpAddr, scope: u32) -> Vec<u8> {
    let mut bytes = match addr {
        IpAddr::V4(_) => (libc::AF_INET as u16).to_ne_bytes().to_vec(),
        IpAddr::V6(_) => (libc::AF_INET6 as u16).to_ne_bytes().to_vec(),
    };
    bytes.extend([0; 2]);
    match addr {
        IpAddr::V4(v4) => {
            bytes.extend(v4.octets());
            bytes.extend([0; 8]);
        }
        IpAddr::V6(v6) => {
            bytes.extend([0; 4]);
            bytes.extend(v6.octets());
            bytes.extend(scope.to_ne_bytes());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_by_the_rfc() {
        // RFC 1071 section 3: the sum of these is ddf2.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0x12]), !0x1200);
        assert_eq!(checksum(&[]), 0xffff);
    }

    #[test]
    fn the_pattern_does_not_repeat_early() {
        let p = pattern();
        assert!((1..5_000).all(|shift| p[..64] != p[shift..shift + 64]));
    }
}
