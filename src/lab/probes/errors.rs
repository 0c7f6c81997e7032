//! ICMP errors as a socket is told of them: the error queue of IP_RECVERR and IPV6_RECVERR.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use crate::lab::netns::receive_message;

/// Who found the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The sending host itself, before anything was sent.
    Local,
    /// A router or host on the way, by ICMP or ICMPv6.
    Icmp,
}

/// An error about a packet that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// Who found it.
    pub origin: Origin,
    /// The sender of the ICMP message, where there was one.
    pub from: Option<IpAddr>,
    /// The ICMP type; 0 for local errors.
    pub kind: u8,
    /// The ICMP code; 0 for local errors.
    pub code: u8,
    /// The MTU, where the packet was too big; otherwise 0.
    pub mtu: u32,
    /// What a system call would have failed with.
    pub errno: i32,
}

impl IcmpError {
    /// Whether the packet was too big for a link, with the MTU given.
    pub fn is_too_big(&self) -> bool {
        self.errno == libc::EMSGSIZE
    }
}

/// The next error in the socket's queue with the packet that it is about, as far as it is quoted.
pub(super) fn next(socket: impl AsFd) -> io::Result<Option<(IcmpError, Vec<u8>)>> {
    let mut quoted = vec![0; 2048];
    let mut control = [0u64; 64];
    let (len, control_len) = match receive_message(socket, libc::MSG_ERRQUEUE, &mut quoted, &mut control) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        result => result?,
    };
    quoted.truncate(len);
    let control: Vec<u8> = control.iter().flat_map(|w| w.to_ne_bytes()).take(control_len).collect();
    Ok(messages(&control).find_map(|(level, kind, data)| parse(level, kind, data)).map(|e| (e, quoted)))
}

/// Drains the queue and forgets the error that the next call would give; for sockets that are used again.
pub(super) fn clear(socket: impl AsFd + Copy) -> io::Result<()> {
    while next(socket)?.is_some() {}
    Ok(())
}

/// The control messages in a buffer, see cmsg(3): length (word), level, type, data, padding to a word.
fn messages(mut control: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    std::iter::from_fn(move || {
        let int = |at: usize| Some(i32::from_ne_bytes(control.get(at..at + 4)?.try_into().ok()?));
        let len = usize::from_ne_bytes(control.get(..size_of::<usize>())?.try_into().ok()?);
        let (level, kind) = (int(HEADER - 8)?, int(HEADER - 4)?);
        let data = control.get(HEADER..len)?;
        control = control.get(len.next_multiple_of(size_of::<usize>())..).unwrap_or_default();
        Some((level, kind, data))
    })
}

/// `struct sock_extended_err` and the offender's address behind it:
///
/// ```text
///  0       4       5     6     7    8      12     16
/// +-------+-------+-----+-----+----+------+------+----------------+
/// | errno | origin| type| code| pad| info | data | sockaddr …     |
/// +-------+-------+-----+-----+----+------+------+----------------+
/// ```
fn parse(level: i32, kind: i32, data: &[u8]) -> Option<IcmpError> {
    let known = [(libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)];
    if !known.contains(&(level, kind)) {
        return None;
    }
    let word = |at: usize| Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?));
    let origin = match *data.get(4)? {
        libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => Origin::Icmp,
        _ => Origin::Local,
    };
    let errno = word(0)? as i32;
    Some(IcmpError {
        origin,
        from: data.get(16..).and_then(address).filter(|_| origin == Origin::Icmp),
        kind: *data.get(5)?,
        code: *data.get(6)?,
        mtu: if errno == libc::EMSGSIZE { word(8)? } else { 0 },
        errno,
    })
}

/// The address in a sockaddr_in or sockaddr_in6.
fn address(sockaddr: &[u8]) -> Option<IpAddr> {
    let family = i32::from(u16::from_ne_bytes(sockaddr.get(..2)?.try_into().ok()?));
    match family {
        libc::AF_INET => {
            let octets: [u8; 4] = sockaddr.get(4..8)?.try_into().ok()?;
            Some(Ipv4Addr::from(octets).into())
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = sockaddr.get(8..24)?.try_into().ok()?;
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let mut data = vec![];
        data.extend(libc::EMSGSIZE.to_ne_bytes());
        data.extend([libc::SO_EE_ORIGIN_ICMP, 3, 4, 0]);
        data.extend(1400u32.to_ne_bytes());
        data.extend(0u32.to_ne_bytes());
        data.extend((libc::AF_INET as u16).to_ne_bytes());
        data.extend([0, 0, 10, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut control = vec![];
        control.extend((data.len() + 16).to_ne_bytes());
        control.extend(libc::IPPROTO_IP.to_ne_bytes());
        control.extend(libc::IP_RECVERR.to_ne_bytes());
        control.extend(&data);
        let all: Vec<_> = messages(&control).filter_map(|(l, k, d)| parse(l, k, d)).collect();
        let expected = IcmpError {
            origin: Origin::Icmp,
            from: Some("10.1.0.1".parse().unwrap()),
            kind: 3,
            code: 4,
            mtu: 1400,
            errno: libc::EMSGSIZE,
        };
        assert_eq!(all, [expected]);
        for cut in 0..control.len() {
            // Whatever is missing, it is not read past the end.
            let _ = messages(&control[..cut]).filter_map(|(l, k, d)| parse(l, k, d)).count();
        }
    }
}
