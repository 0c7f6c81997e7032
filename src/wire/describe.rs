//! A frame in one line, in the words of tcpdump, for traces and captures.
//!
//! ```text
//! IP 10.1.0.2.40000 > 10.2.0.2.7: Flags [S], seq 17, win 64240, length 0, ttl 64
//! vlan 100, IP6 fd01::2 > fd02::2: ICMP6, echo request, id 9, seq 1, length 64, hlim 63
//! ARP, who-has 10.1.0.1 tell 10.1.0.2, length 46
//! ```
//!
//! Says what the bytes say, checks nothing, and names what is cut short. Not for the established path.

mod icmp;

use std::fmt::{self, Display, Write};
use std::net::IpAddr;

use super::arp::{Arp, Op};
use super::ethernet::{self, Ethernet};
use super::ipv4::Ipv4;
use super::ipv6::Ipv6;
use super::ipv6_ext;
use super::tcp::{self, Tcp};
use super::udp::Udp;
use super::vlan::{Vlan, is_tag};
use super::{proto, transport};

/// Describes a frame, or a packet that begins with its IP header if it is not `ethernet`.
pub fn describe(frame: &[u8], ethernet: bool) -> String {
    let mut line = String::with_capacity(96);
    // Writing to a string does not fail.
    let _ = if ethernet { link(&mut line, frame) } else { ip(&mut line, frame) };
    line
}

/// How deep a stack of tags is followed.
const MAX_TAGS: usize = 4;

fn link(out: &mut String, frame: &[u8]) -> fmt::Result {
    let Some(eth) = Ethernet::new(frame) else {
        return write!(out, "truncated Ethernet frame, length {}", frame.len());
    };
    let (mut ethertype, mut payload) = (eth.ethertype(), eth.payload());
    for _ in 0..MAX_TAGS {
        if !is_tag(ethertype) {
            break;
        }
        let Some(tag) = Vlan::new(payload) else {
            return write!(out, "truncated VLAN tag, length {}", frame.len());
        };
        write!(out, "vlan {}", tag.vid())?;
        if tag.pcp() != 0 {
            write!(out, ", p {}", tag.pcp())?;
        }
        if tag.dei() {
            out.write_str(", DEI")?;
        }
        out.write_str(", ")?;
        ethertype = tag.ethertype();
        payload = payload.get(super::vlan::TAG_LEN..).unwrap_or_default();
    }
    match ethertype {
        ethernet::IPV4 => ipv4(out, payload),
        ethernet::IPV6 => ipv6(out, payload),
        ethernet::ARP => arp(out, payload),
        length if length < 0x0600 => {
            write!(out, "{} > {}, 802.3, length {length}", eth.src(), eth.dst())
        }
        other => {
            write!(out, "{} > {}, ethertype 0x{other:04x}, length {}", eth.src(), eth.dst(), frame.len())
        }
    }
}

fn arp(out: &mut String, b: &[u8]) -> fmt::Result {
    let arp = match Arp::parse(b) {
        Ok(arp) => arp,
        Err(e) => return write!(out, "ARP, {e}, length {}", b.len()),
    };
    match arp.op {
        Op::Request if arp.sender_ip.is_unspecified() => write!(out, "ARP, probe {}", arp.target_ip)?,
        Op::Request if arp.sender_ip == arp.target_ip => {
            write!(out, "ARP, announcement {} is-at {}", arp.sender_ip, arp.sender_mac)?;
        }
        Op::Request => write!(out, "ARP, who-has {} tell {}", arp.target_ip, arp.sender_ip)?,
        Op::Reply => write!(out, "ARP, reply {} is-at {}", arp.sender_ip, arp.sender_mac)?,
        Op::Other(op) => write!(out, "ARP, operation {op}")?,
    }
    write!(out, ", length {}", b.len())
}

fn ip(out: &mut String, b: &[u8]) -> fmt::Result {
    match b.first().map(|first| first >> 4) {
        Some(4) => ipv4(out, b),
        Some(6) => ipv6(out, b),
        Some(version) => write!(out, "IP version {version}, length {}", b.len()),
        None => out.write_str("empty packet"),
    }
}

fn ipv4(out: &mut String, b: &[u8]) -> fmt::Result {
    let Some(ip) = Ipv4::new(b) else { return write!(out, "truncated IP, length {}", b.len()) };
    if ip.version() != 4 || ip.header_len() < super::ipv4::HEADER_LEN || ip.header_len() > b.len() {
        return write!(
            out,
            "bad IP header, version {}, header length {}, length {}",
            ip.version(),
            ip.header_len(),
            b.len()
        );
    }
    let upper = Upper {
        src: ip.src().into(),
        dst: ip.dst().into(),
        proto: ip.protocol(),
        bytes: ip.payload(),
        fragment: ip.is_fragment().then(|| Fragment {
            ident: ip.ident().into(),
            offset: ip.frag_offset(),
            more: ip.more_fragments(),
        }),
    };
    upper.write(out, "IP")?;
    if !ip.options().is_empty() {
        write!(out, ", options {}", ip.options().len())?;
    }
    write!(out, ", ttl {}", ip.ttl())?;
    if usize::from(ip.total_len()) > b.len() {
        write!(out, ", {} bytes missing", usize::from(ip.total_len()) - b.len())?;
    }
    Ok(())
}

fn ipv6(out: &mut String, b: &[u8]) -> fmt::Result {
    let Some(ip) = Ipv6::new(b) else { return write!(out, "truncated IP6, length {}", b.len()) };
    if ip.version() != 6 {
        return write!(out, "bad IP6 header, version {}, length {}", ip.version(), b.len());
    }
    let end = super::ipv6::HEADER_LEN + ip.payload().len();
    let whole = b.get(..end).unwrap_or(b);
    match ipv6_ext::walk(whole) {
        Ok(chain) => {
            let at = if chain.l4 == 0 { end } else { chain.l4 };
            let later = chain.frag.filter(|f| f.offset != 0);
            let upper = Upper {
                src: ip.src().into(),
                dst: ip.dst().into(),
                proto: chain.proto,
                bytes: whole.get(later.map_or(at, |f| f.at + 8)..).unwrap_or_default(),
                fragment: chain.frag.filter(|f| !f.is_atomic()).map(|f| Fragment {
                    ident: f.ident,
                    offset: f.offset,
                    more: f.more,
                }),
            };
            upper.write(out, "IP6")?;
            if chain.hop_by_hop {
                out.write_str(", HBH")?;
            }
            if let Some(r) = chain.routing {
                write!(out, ", routing type {}, {} left", r.kind, r.segments_left)?;
            }
        }
        Err(e) => write!(out, "IP6 {} > {}: {e}, length {}", ip.src(), ip.dst(), ip.payload_len())?,
    }
    write!(out, ", hlim {}", ip.hop_limit())?;
    let says = super::ipv6::HEADER_LEN + usize::from(ip.payload_len());
    if says > b.len() {
        write!(out, ", {} bytes missing", says - b.len())?;
    }
    Ok(())
}

/// An upper-layer packet and whom it is from and to.
struct Upper<'a> {
    src: IpAddr,
    dst: IpAddr,
    proto: u8,
    bytes: &'a [u8],
    fragment: Option<Fragment>,
}

struct Fragment {
    ident: u32,
    offset: usize,
    more: bool,
}

impl Upper<'_> {
    fn write(&self, out: &mut String, family: &str) -> fmt::Result {
        let later = self.fragment.as_ref().is_some_and(|f| f.offset != 0);
        let ports = transport::ports(self.proto, self.bytes).filter(|_| !later);
        match ports {
            Some((s, d)) => write!(out, "{family} {}.{s} > {}.{d}: ", self.src, self.dst)?,
            None => write!(out, "{family} {} > {}: ", self.src, self.dst)?,
        }
        let len = self.bytes.len();
        match self.proto {
            p if later => write!(out, "{}, length {len}", Name(p))?,
            proto::TCP => self.tcp(out)?,
            proto::UDP => match Udp::new(self.bytes) {
                Some(udp) => write!(out, "UDP, length {}", usize::from(udp.length()).saturating_sub(8))?,
                None => write!(out, "truncated UDP, length {len}")?,
            },
            proto::ICMP if self.src.is_ipv4() => icmp::v4(out, self.bytes)?,
            proto::ICMPV6 if self.src.is_ipv6() => icmp::v6(out, self.src, self.dst, self.bytes)?,
            p => write!(out, "{}, length {len}", Name(p))?,
        }
        match &self.fragment {
            Some(f) => {
                let more = if f.more { "+" } else { "" };
                write!(out, ", frag {}:{len}@{}{more}", f.ident, f.offset)
            }
            None => Ok(()),
        }
    }

    fn tcp(&self, out: &mut String) -> fmt::Result {
        let Some(tcp) = Tcp::new(self.bytes) else {
            return write!(out, "truncated TCP, length {}", self.bytes.len());
        };
        let (flags, len) = (tcp.flags(), self.bytes.len().saturating_sub(tcp.header_len()));
        write!(out, "Flags [{}], seq {}", Flags(flags), tcp.seq())?;
        if len > 0 {
            write!(out, ":{}", tcp.seq().wrapping_add(len as u32))?;
        }
        if flags & tcp::ACK != 0 {
            write!(out, ", ack {}", tcp.ack())?;
        }
        write!(out, ", win {}", tcp.window())?;
        if flags & tcp::URG != 0 {
            write!(out, ", urg {}", tcp.urgent())?;
        }
        if let Some(mss) = mss(tcp.options()) {
            write!(out, ", mss {mss}")?;
        }
        write!(out, ", length {len}")
    }
}

/// The maximum segment size among TCP options (RFC 9293 §3.2).
fn mss(mut options: &[u8]) -> Option<u16> {
    loop {
        options = match options {
            [1, rest @ ..] => rest,
            [2, 4, hi, lo, ..] => return Some(u16::from_be_bytes([*hi, *lo])),
            [0, ..] | [] | [_] => return None,
            [_, len, ..] => options.get(usize::from(*len).max(2)..)?,
        };
    }
}

/// A protocol's name, or its number.
struct Name(u8);

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match proto::name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "ip-proto-{}", self.0),
        }
    }
}

/// TCP flags as tcpdump writes them: a dot for ACK.
struct Flags(u8);

impl Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [
            (tcp::FIN, 'F'),
            (tcp::SYN, 'S'),
            (tcp::RST, 'R'),
            (tcp::PSH, 'P'),
            (tcp::ACK, '.'),
            (tcp::URG, 'U'),
            (tcp::ECE, 'E'),
            (tcp::CWR, 'W'),
        ];
        if self.0 == 0 {
            return f.write_str("none");
        }
        letters.iter().filter(|(flag, _)| self.0 & flag != 0).try_for_each(|(_, l)| f.write_char(*l))
    }
}

#[cfg(test)]
mod tests;
