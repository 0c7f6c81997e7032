//! What stands behind the IP header.

use std::net::IpAddr;

use super::{Made, Words, port};
use crate::frame;

/// A packet as `lan udp l10:4000 w10:5000 …` says it.
pub(super) fn packet(words: &Words<'_>) -> Made {
    let at = port(words.at(0)).unwrap_or_else(|| words.wrong(words.at(0)));
    let (src, dst) = (words.end(2), words.end(3));
    let ends = Ends { addrs: [src.0, dst.0], ports: [src.1, dst.1] };
    let (protocol, upper) = match words.at(1) {
        "udp" => (frame::UDP, udp(words, &ends)),
        "udplite" => (UDP_LITE, udp_lite(words, &ends)),
        "tcp" => (frame::TCP, tcp(words, &ends, words.number_or("seq", 1000), words.number_or("ack", 0))),
        "sctp" => (SCTP, sctp(words, &ends)),
        "gre" => (GRE, gre(words)),
        "echo" => echo(words, &ends, false),
        "reply" => echo(words, &ends, true),
        "icmp" => icmp(words, &ends),
        "proto" => (words.number_or("p", frame::UNKNOWN.into()) as u8, data(words.number_or("len", 8))),
        other => words.wrong(other),
    };
    Made { at, src: src.0, dst: dst.0, protocol, upper }
}

pub(super) const UDP_LITE: u8 = 136;
pub(super) const SCTP: u8 = 132;
pub(super) const GRE: u8 = 47;

/// Both ends of a packet.
pub(super) struct Ends {
    pub(super) addrs: [IpAddr; 2],
    pub(super) ports: [u16; 2],
}

/// Bytes that tell where they belong.
pub(super) fn data(len: u32) -> Vec<u8> {
    (0..len).map(|i| i as u8).collect()
}

fn ports(ends: &Ends) -> Vec<u8> {
    ends.ports.iter().flat_map(|p| p.to_be_bytes()).collect()
}

/// Puts the checksum where it belongs, or a wrong one if asked for.
fn seal(words: &Words<'_>, ends: &Ends, protocol: u8, at: usize, mut b: Vec<u8>) -> Vec<u8> {
    let sum = match words.value("sum") {
        Some("0") => 0,
        bad => {
            let sum = match (protocol, ends.addrs[0]) {
                (frame::ICMP, _) => sekisho::lab::probes::checksum(&b),
                _ => frame::upper_checksum(ends.addrs[0], ends.addrs[1], protocol, &b),
            };
            let sum = if sum == 0 && protocol != frame::TCP { 0xffff } else { sum };
            if bad.is_some() { off(sum) } else { sum }
        }
    };
    b[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    b
}

/// Wrong by a number: by the same one wherever ports differ.
fn off(sum: u16) -> u16 {
    let (sum, carry) = sum.overflowing_add(0x5555);
    sum + u16::from(carry)
}

pub(super) fn udp(words: &Words<'_>, ends: &Ends) -> Vec<u8> {
    let data = data(words.number_or("len", 4));
    let said = words.number_or("ulen", 8 + data.len() as u32) as u16;
    let b = [&ports(ends)[..], &said.to_be_bytes(), &[0, 0], &data].concat();
    seal(words, ends, frame::UDP, 6, b)
}

pub(super) fn udp_lite(words: &Words<'_>, ends: &Ends) -> Vec<u8> {
    // A coverage of zero: all of it (RFC 3828 §3.1).
    let b = [&ports(ends)[..], &[0; 4], &data(words.number_or("len", 4))].concat();
    seal(words, ends, UDP_LITE, 6, b)
}

pub(super) fn tcp(words: &Words<'_>, ends: &Ends, seq: u32, ack: u32) -> Vec<u8> {
    let flags = words.flags().unwrap_or(0);
    let options = tcp_options(words);
    let doff = words.number_or("doff", 5 + options.len() as u32 / 4) as u8;
    let mut b = ports(ends);
    b.extend(seq.to_be_bytes());
    b.extend(ack.to_be_bytes());
    b.extend([doff << 4, flags]);
    b.extend((words.number_or("win", 64_000) as u16).to_be_bytes());
    b.extend([0, 0]);
    b.extend((words.number_or("urg", 0) as u16).to_be_bytes());
    b.extend(options);
    b.extend(data(words.number_or("len", 0)));
    seal(words, ends, frame::TCP, 16, b)
}

fn tcp_options(words: &Words<'_>) -> Vec<u8> {
    let mut b = vec![];
    if let Some(mss) = words.number("mss") {
        b.extend([2, 4]);
        b.extend((mss as u16).to_be_bytes());
    }
    if let Some(shift) = words.number("ws") {
        b.extend([1, 3, 3, shift as u8]);
    }
    if words.has("sackok") {
        b.extend([1, 1, 4, 2]);
    }
    if let Some((from, to)) = words.value("sack").and_then(|v| v.split_once('-')) {
        b.extend([1, 1, 5, 10]);
        for edge in [from, to] {
            b.extend(words.parsed::<u32>(edge).to_be_bytes());
        }
    }
    if let Some(kind) = words.number("opt") {
        b.extend([kind as u8, 4, 0, 0]);
    }
    b.resize(b.len().next_multiple_of(4), 0);
    b
}

/// One chunk behind the common header (RFC 9260 §3.1).
pub(super) fn sctp(words: &Words<'_>, ends: &Ends) -> Vec<u8> {
    let chunk = words.value("chunk").unwrap_or("DATA");
    let kind = CHUNKS.iter().find(|(name, _)| *name == chunk).unwrap_or_else(|| words.wrong(chunk)).1;
    let mut body: Vec<u8> = match kind {
        // INIT, INIT ACK: the tag that the other side is to use, window, streams, first TSN.
        1 | 2 => {
            [&words.number_or("itag", 0xb0b0).to_be_bytes()[..], &[0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1]]
                .concat()
        }
        0 => [&[0; 12][..], &data(words.number_or("len", 4))].concat(),
        _ => data(words.number_or("len", 4)),
    };
    let length = body.len() as u16 + 4;
    body.resize(body.len().next_multiple_of(4), 0);
    let mut b = ports(ends);
    b.extend(words.number_or("tag", 0).to_be_bytes());
    b.extend([0; 4]);
    b.extend([kind, words.number_or("cflags", if kind == 0 { 3 } else { 0 }) as u8]);
    b.extend(length.to_be_bytes());
    b.extend(body);
    let mut sum = frame::crc32c(&b);
    if words.value("sum") == Some("bad") {
        sum ^= 0x5555;
    }
    b[8..12].copy_from_slice(&sum.to_le_bytes());
    b
}

const CHUNKS: [(&str, u8); 12] = [
    ("DATA", 0),
    ("INIT", 1),
    ("INIT_ACK", 2),
    ("SACK", 3),
    ("HEARTBEAT", 4),
    ("HEARTBEAT_ACK", 5),
    ("ABORT", 6),
    ("SHUTDOWN", 7),
    ("SHUTDOWN_ACK", 8),
    ("ERROR", 9),
    ("COOKIE_ECHO", 10),
    ("COOKIE_ACK", 11),
];

/// GRE: version 0 (RFC 2784), or version 1 with a call id (RFC 2637).
fn gre(words: &Words<'_>) -> Vec<u8> {
    let payload = data(words.number_or("len", 8));
    match words.number("call") {
        None => [&[0, 0, 8, 0][..], &payload].concat(),
        Some(call) => {
            let length = payload.len() as u16;
            [&[0x20, 1, 0x88, 0x0b][..], &length.to_be_bytes(), &(call as u16).to_be_bytes(), &payload]
                .concat()
        }
    }
}

/// An echo request or reply.
fn echo(words: &Words<'_>, ends: &Ends, reply: bool) -> (u8, Vec<u8>) {
    let kind = match (ends.addrs[0].is_ipv4(), reply) {
        (true, false) => 8,
        (true, true) => 0,
        (false, false) => 128,
        (false, true) => 129,
    };
    let word = words.number_or("id", 1) << 16 | words.number_or("seq", 1);
    (protocol(ends), message(words, ends, [kind, 0], word, &data(words.number_or("len", 8))))
}

/// Any ICMP message: `icmp l10 w10 13/0 id=3`.
fn icmp(words: &Words<'_>, ends: &Ends) -> (u8, Vec<u8>) {
    let (kind, code) = words.kind().unwrap_or((42, 0));
    let word = words.number_or("id", 1) << 16 | words.number_or("seq", 1);
    let word = words.number("word").unwrap_or(word);
    (protocol(ends), message(words, ends, [kind, code], word, &data(words.number_or("len", 12))))
}

pub(super) fn protocol(ends: &Ends) -> u8 {
    if ends.addrs[0].is_ipv4() { frame::ICMP } else { frame::ICMPV6 }
}

/// An ICMP message: type and code, the second word, and what follows.
pub(super) fn message(words: &Words<'_>, ends: &Ends, kind: [u8; 2], word: u32, rest: &[u8]) -> Vec<u8> {
    let b = [&kind[..], &[0, 0], &word.to_be_bytes(), rest].concat();
    seal(words, ends, protocol(ends), 2, b)
}
