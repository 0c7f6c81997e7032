//! Answers to what a router gave: from the station that got it, back to whoever it seems to come from.

use std::net::IpAddr;

use super::upper::{self, Ends, GRE, SCTP, UDP_LITE};
use super::{Made, Words, address, port};
use crate::compare::Seen;
use crate::frame;

/// A packet as it came out, as far as it is understood.
struct Got<'a> {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    upper: &'a [u8],
    /// From the IP header on.
    whole: &'a [u8],
}

impl<'a> Got<'a> {
    fn read(f: &'a [u8]) -> Option<Self> {
        let whole = f.get(14..)?;
        match u16::from_be_bytes([f[12], f[13]]) {
            frame::IPV4 if whole.len() >= 20 => {
                let header = usize::from(whole[0] & 15) * 4;
                let first = u16::from_be_bytes([whole[6], whole[7]]) & 0x1fff == 0;
                let addr = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&whole[at..at + 4]).unwrap());
                let upper = whole.get(header..).filter(|_| first)?;
                Some(Got { src: addr(12), dst: addr(16), protocol: whole[9], upper, whole })
            }
            frame::IPV6 if whole.len() >= 40 => {
                let addr = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&whole[at..at + 16]).unwrap());
                let (mut next, mut at) = (whole[6], 40);
                while [frame::HOP_BY_HOP, frame::ROUTING, frame::DESTINATION, frame::FRAGMENT].contains(&next)
                {
                    let header = whole.get(at..at + 8)?;
                    let is_fragment = next == frame::FRAGMENT;
                    if is_fragment && u16::from_be_bytes([header[2], header[3]]) & !7 != 0 {
                        return None;
                    }
                    next = header[0];
                    at += if is_fragment { 8 } else { (usize::from(header[1]) + 1) * 8 };
                }
                Some(Got { src: addr(8), dst: addr(24), protocol: next, upper: whole.get(at..)?, whole })
            }
            _ => None,
        }
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.upper.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.upper.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }
}

/// What whoever got this frame says to it.
pub(super) fn to((at, f): &Seen, words: &Words<'_>) -> Option<Made> {
    let got = Got::read(f)?;
    let src = words.value("by").map_or(got.dst, |a| address(a).unwrap_or_else(|| words.wrong(a)));
    if src.is_ipv4() != got.src.is_ipv4() {
        return None;
    }
    let mut ends = Ends { addrs: [src, got.src], ports: [0, 0] };
    if [frame::TCP, frame::UDP, UDP_LITE, SCTP].contains(&got.protocol) {
        ends.ports = [got.u16(2)?, got.u16(0)?];
        if let Some(other) = words.number("sport") {
            ends.ports[0] = other as u16;
        }
    }
    let upper = match got.protocol {
        frame::TCP => {
            let (seq, ack, flags) = (got.u32(4)?, got.u32(8)?, *got.upper.get(13)?);
            let header = usize::from(got.upper.get(12)? >> 4) * 4;
            let length = got.upper.len().saturating_sub(header) as u32;
            let ends_more = u32::from(flags & frame::SYN != 0) + u32::from(flags & frame::FIN != 0);
            let mine = if flags & frame::ACK != 0 { ack } else { FIRST };
            let mine = mine.wrapping_add(words.number_or("dseq", 0));
            let theirs =
                seq.wrapping_add(length).wrapping_add(ends_more).wrapping_add(words.number_or("dack", 0));
            let acks = words.flags().unwrap_or(0) & frame::ACK != 0;
            upper::tcp(words, &ends, words.number_or("seq", mine), if acks { theirs } else { 0 })
        }
        frame::UDP => upper::udp(words, &ends),
        UDP_LITE => upper::udp_lite(words, &ends),
        SCTP => upper::sctp(words, &ends),
        frame::ICMP | frame::ICMPV6 => {
            let kind = match got.upper.first()? {
                8 if got.protocol == frame::ICMP => 0,
                13 => 14,
                15 => 16,
                17 => 18,
                128 => 129,
                other => *other,
            };
            upper::message(words, &ends, [kind, 0], got.u32(4)?, got.upper.get(8..)?)
        }
        GRE => got.upper.to_vec(),
        _ => upper::data(words.number_or("len", 8)),
    };
    Some(Made {
        at: words.value("at").and_then(port).unwrap_or(*at),
        src,
        dst: got.src,
        protocol: got.protocol,
        upper,
    })
}

/// An ICMP error about this frame: `err 3/4 mtu=1000`, by whoever got it unless said otherwise.
pub(super) fn error((at, f): &Seen, words: &Words<'_>) -> Option<Made> {
    let got = Got::read(f)?;
    let src = words.value("by").map_or(got.dst, |a| address(a).unwrap_or_else(|| words.wrong(a)));
    if src.is_ipv4() != got.src.is_ipv4() {
        return None;
    }
    let (kind, code) = words.kind()?;
    // A redirect names a gateway, "too big" a size.
    let word = words.number_or("mtu", if (kind, src.is_ipv4()) == (5, true) { GATEWAY } else { 0 });
    // As much as RFC 1812 §4.3.2.3 and RFC 4443 §2.4 (c) have it.
    let most = words.number_or("quote", if src.is_ipv4() { 548 } else { 1232 }) as usize;
    let mut quoted = got.whole[..got.whole.len().min(most)].to_vec();
    if let Some(at) = words.number("flip").map(|n| n as usize).filter(|n| *n < quoted.len()) {
        quoted[at] ^= 0x40;
    }
    let ends = Ends { addrs: [src, got.src], ports: [0, 0] };
    let upper = upper::message(words, &ends, [kind, code], word, &quoted);
    let at = words.value("at").and_then(port).unwrap_or(*at);
    Some(Made { at, src, dst: got.src, protocol: upper::protocol(&ends), upper })
}

/// The sequence number with which whoever answers a SYN begins.
const FIRST: u32 = 500_000;
/// The gateway that redirects name: 10.2.0.254.
const GATEWAY: u32 = 0x0a02_00fe;
