//! The rules one by one, with fragments made by hand.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::base::{Instant, LinkId};
use crate::packet::{Frag, Net};
use crate::wire::ipv4::{Ipv4, Ipv4Header};
use crate::wire::ipv6::Ipv6;
use crate::wire::{ipv6_ext, proto};

pub(super) const SRC: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
pub(super) const DST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SRC6: &str = "fd00::9";
const DST6: &str = "fd00::1";

/// The byte at a place of every datagram's payload.
pub(super) fn byte(at: usize) -> u8 {
    (at ^ at >> 8).wrapping_mul(31) as u8
}

pub(super) fn payload(from: usize, to: usize) -> Vec<u8> {
    (from..to).map(byte).collect()
}

pub(super) fn v4(bytes: &[u8]) -> Packet {
    let mut packet = Packet::from_slice(bytes);
    packet.meta.net = Net::Ipv4;
    packet.meta.proto = bytes[9];
    packet.meta.l4 = 20;
    packet
}

pub(super) fn v6(bytes: &[u8]) -> Packet {
    let mut packet = Packet::from_slice(bytes);
    packet.meta.net = Net::Ipv6;
    if let Ok(chain) = ipv6_ext::walk(bytes) {
        packet.meta.proto = chain.proto;
        packet.meta.l4 = chain.l4 as u16;
    }
    packet
}

/// An IPv4 packet with options of the length given.
pub(super) fn datagram4(len: usize, ident: u16, options: &[u8]) -> Packet {
    let mut bytes = vec![0; 20];
    let header = Ipv4Header {
        src: SRC,
        dst: DST,
        proto: proto::UDP,
        ttl: 64,
        tos: 0,
        ident,
        dont_fragment: false,
        payload_len: options.len() + len,
    };
    header.emit(&mut bytes);
    bytes[0] += (options.len() / 4) as u8;
    bytes.extend_from_slice(options);
    bytes.extend(payload(0, len));
    Ipv4::new(&mut bytes[..]).unwrap().fill_checksum();
    let mut packet = v4(&bytes);
    packet.meta.l4 = 20 + options.len() as u16;
    packet
}

/// An IPv6 packet with the extension headers given, the first of them of type `next`.
pub(super) fn datagram6(next: u8, extensions: &[u8], len: usize) -> Packet {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend_from_slice(&((extensions.len() + len) as u16).to_be_bytes());
    bytes.extend_from_slice(&[next, 64]);
    bytes.extend_from_slice(&SRC6.parse::<Ipv6Addr>().unwrap().octets());
    bytes.extend_from_slice(&DST6.parse::<Ipv6Addr>().unwrap().octets());
    bytes.extend_from_slice(extensions);
    bytes.extend(payload(0, len));
    v6(&bytes)
}

/// A fragment of datagram `ident`.
pub(super) fn frag4(ident: u16, from: usize, to: usize, more: bool) -> Packet {
    let mut packet = datagram4(0, ident, &[]);
    let mut bytes = packet.data().to_vec();
    bytes.extend(payload(from, to));
    packet = v4(&bytes);
    edit4(&mut packet, |ip| {
        ip.set_total_len((20 + to - from) as u16);
        ip.set_flags_offset((from / 8) as u16 | if more { 0x2000 } else { 0 });
    });
    packet
}

pub(super) fn edit4(packet: &mut Packet, edit: impl FnOnce(&mut Ipv4<&mut [u8]>)) {
    let mut ip = Ipv4::new(packet.l3_mut()).unwrap();
    edit(&mut ip);
    ip.fill_checksum();
}

pub(super) fn frag6(ident: u32, from: usize, to: usize, more: bool) -> Packet {
    let mut header = vec![proto::UDP, 0];
    header.extend_from_slice(&(from as u16 | u16::from(more)).to_be_bytes());
    header.extend_from_slice(&ident.to_be_bytes());
    let mut bytes = datagram6(proto::FRAGMENT, &header, 0).data().to_vec();
    bytes.extend(payload(from, to));
    Ipv6::new(&mut bytes[..]).unwrap().set_payload_len((8 + to - from) as u16);
    v6(&bytes)
}

/// What came out, in short.
pub(super) fn short(out: &mut Vec<Done>) -> Vec<String> {
    out.drain(..)
        .map(|done| match done {
            Done::Whole { packet, absorbed, .. } => {
                let largest = largest(&packet);
                format!("whole {} largest {largest} absorbed {}", packet.l3_len(), absorbed.len())
            }
            Done::Dropped { reason, tell: None, .. } => reason.name().to_owned(),
            Done::Dropped { reason, tell: Some(Tell::ReassemblyTime), .. } => {
                format!("{} told", reason.name())
            }
            Done::Dropped { reason, tell: Some(Tell::ParameterProblem { pointer }), .. } => {
                format!("{} problem at {pointer}", reason.name())
            }
        })
        .collect()
}

/// The length of the longest fragment of what has been put together; 0 for what never was in fragments.
pub(super) fn largest(packet: &Packet) -> u16 {
    packet.cut.as_ref().map_or(0, |c| c.largest)
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

struct World {
    r: Reassembler,
    out: Vec<Done>,
}

impl World {
    fn new() -> Self {
        World { r: Reassembler::new(Config::default()), out: Vec::new() }
    }

    fn push(&mut self, packet: Packet, secs: u64) -> Vec<String> {
        self.r.push(packet, at(secs), &mut self.out);
        short(&mut self.out)
    }

    /// The packet that this fragment completes.
    fn complete(&mut self, packet: Packet) -> Packet {
        self.r.push(packet, at(0), &mut self.out);
        match self.out.pop() {
            Some(Done::Whole { packet, .. }) => packet,
            other => panic!("{other:?}"),
        }
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn an_ipv4_datagram() {
    let mut w = World::new();
    assert_eq!(w.push(frag4(7, 2960, 4000, false), 0), NOTHING);
    assert_eq!(w.push(frag4(7, 0, 1480, true), 0), NOTHING);
    assert_eq!((w.r.datagrams(), w.r.poll_timeout()), (1, at(30)));
    let mut last = frag4(7, 1480, 2960, true);
    last.meta.ingress = LinkId(3);
    let whole = w.complete(last);
    let ip = Ipv4::new(whole.l3()).unwrap();
    assert_eq!((ip.total_len(), ip.flags_offset(), ip.ident(), ip.ttl()), (4020, 0, 7, 64));
    assert!(ip.verify_checksum());
    assert_eq!(ip.payload(), payload(0, 4000));
    let meta = whole.meta;
    assert_eq!((meta.frag, meta.l4, meta.proto, meta.ingress), (Frag::Whole, 20, proto::UDP, LinkId(3)));
    assert_eq!((w.r.datagrams(), w.r.memory(), w.r.poll_timeout()), (0, 0, Instant::FAR_FUTURE));
}

#[test]
fn an_ipv6_datagram() {
    let mut w = World::new();
    let mut first = frag6(9, 0, 1448, true);
    first.meta.column = Column::Originated;
    assert_eq!(w.push(first, 0), NOTHING);
    assert_eq!(w.r.poll_timeout(), at(60));
    w.r.push(frag6(9, 1448, 2000, false), at(0), &mut w.out);
    let Some(Done::Whole { packet, absorbed, .. }) = w.out.pop() else { panic!() };
    let ip = Ipv6::new(packet.l3()).unwrap();
    assert_eq!((ip.payload_len(), ip.next_header()), (2000, proto::UDP));
    assert_eq!(ip.payload(), payload(0, 2000));
    assert_eq!((largest(&packet), absorbed), (1496, vec![Column::Received]));
    assert_eq!((packet.meta.frag, packet.meta.l4, packet.meta.proto), (Frag::Whole, 40, proto::UDP));
    assert_eq!(packet.meta.column, Column::Originated);
}

#[test]
fn headers_of_ipv6_stay_and_are_linked_up() {
    // Hop-by-hop options before the fragment header, destination options behind it.
    let hop = [proto::FRAGMENT, 0, 1, 4, 0, 0, 0, 0];
    let dest = [proto::UDP, 0, 1, 4, 0, 0, 0, 0];
    let fragment = |from: u16, more: u16, data: &[u8]| {
        let mut ext = hop.to_vec();
        ext.extend_from_slice(&[proto::DEST_OPTIONS, 0]);
        ext.extend_from_slice(&(from | more).to_be_bytes());
        ext.extend_from_slice(&[0, 0, 0, 5]);
        ext.extend_from_slice(data);
        datagram6(proto::HOP_BY_HOP, &ext, 0)
    };
    let mut w = World::new();
    let mut first = dest.to_vec();
    first.extend(payload(0, 16));
    assert_eq!(w.push(fragment(24, 0, &payload(16, 20)), 0), NOTHING);
    let whole = w.complete(fragment(0, 1, &first));
    assert_eq!(whole.l3().len(), 40 + 8 + 8 + 20);
    assert_eq!(whole.l3()[40], proto::DEST_OPTIONS);
    let chain = ipv6_ext::walk(whole.l3()).unwrap();
    assert_eq!((chain.l4, chain.proto, chain.frag, chain.hop_by_hop), (56, proto::UDP, None, true));
    assert_eq!((whole.meta.l4, whole.meta.proto), (56, proto::UDP));
    assert_eq!(whole.l4(), payload(0, 20));
}

#[test]
fn what_is_no_fragment_comes_out_whole() {
    let mut w = World::new();
    assert_eq!(w.push(datagram4(100, 1, &[]), 0), ["whole 120 largest 0 absorbed 0"]);
    assert_eq!(w.push(datagram6(proto::UDP, &[], 100), 0), ["whole 140 largest 0 absorbed 0"]);
    assert_eq!(w.push(frag6(1, 0, 100, false), 0), ["whole 148 largest 0 absorbed 0"], "RFC 6946");
    assert_eq!(w.r.datagrams(), 0);
}

#[test]
fn duplicates_do_no_harm() {
    for frag in [|f, t, m| frag4(1, f, t, m), |f, t, m| frag6(1, f, t, m)] {
        let mut w = World::new();
        assert_eq!(w.push(frag(0, 800, true), 0), NOTHING);
        assert_eq!(w.push(frag(0, 800, true), 0), ["fragment_duplicate"]);
        assert_eq!(w.push(frag(800, 1600, true), 0), NOTHING);
        assert_eq!(w.push(frag(400, 1200, true), 0), ["fragment_duplicate"], "inside the run");
        assert_eq!(w.push(frag(2400, 2500, false), 0), NOTHING);
        assert_eq!(w.push(frag(2400, 2500, false), 0), ["fragment_duplicate"]);
        assert!(w.push(frag(1600, 2400, true), 0)[0].ends_with("absorbed 3"));
    }
}

#[test]
fn overlaps_end_the_datagram() {
    for frag in [|f, t, m| frag4(1, f, t, m), |f, t, m| frag6(1, f, t, m)] {
        for (from, to, more) in [(792, 1600, true), (2392, 2408, true), (0, 2400, true), (400, 2500, false)] {
            let mut w = World::new();
            w.push(frag(0, 800, true), 0);
            w.push(frag(2400, 2500, false), 0);
            let drops = w.push(frag(from, to, more), 0);
            assert_eq!(drops, ["fragment_overlap"; 3], "{from}..{to}");
            assert_eq!((w.r.datagrams(), w.r.memory()), (0, 0));
        }
    }
}

#[test]
fn a_duplicate_across_runs_is_an_overlap_as_in_linux() {
    let mut w = World::new();
    w.push(frag4(1, 800, 1600, true), 0);
    w.push(frag4(1, 0, 800, true), 0);
    assert_eq!(w.push(frag4(1, 0, 1600, true), 0), ["fragment_overlap"; 3]);
}

#[test]
fn contradictions_about_the_end_end_the_datagram() {
    for frag in [|f, t, m| frag4(1, f, t, m), |f, t, m| frag6(1, f, t, m)] {
        let cases: [[(usize, usize, bool); 2]; 5] = [
            [(800, 900, false), (1600, 1700, false)], // another end
            [(800, 900, false), (896, 1600, true)],   // data behind the end
            [(800, 1600, true), (400, 500, false)],   // an end before data
            [(800, 900, false), (0, 0, true)],        // nothing
            [(0, 800, true), (800, 800, false)],      // an end, but nothing
        ];
        for [(f1, t1, m1), (f2, t2, m2)] in cases {
            let mut w = World::new();
            assert_eq!(w.push(frag(f1, t1, m1), 0), NOTHING);
            assert_eq!(w.push(frag(f2, t2, m2), 0), ["fragment_invalid"; 2], "{f2}..{t2}");
            assert_eq!((w.r.datagrams(), w.r.memory()), (0, 0));
        }
    }
}

#[test]
fn lengths_that_are_no_multiple_of_eight() {
    // IPv4: the rest of the fragment is ignored, as Linux does.
    let mut w = World::new();
    assert_eq!(w.push(frag4(1, 0, 101, true), 0), NOTHING);
    let whole = w.complete(frag4(1, 96, 200, false));
    assert_eq!(Ipv4::new(whole.l3()).unwrap().payload(), payload(0, 200));
    assert_eq!(w.push(frag4(1, 0, 7, true), 0), ["fragment_invalid"], "nothing is left of it");
    // IPv6: a parameter problem, and no harm to the datagram.
    assert_eq!(w.push(frag6(1, 0, 104, true), 0), NOTHING);
    assert_eq!(w.push(frag6(1, 104, 201, true), 0), ["fragment_invalid problem at 4"]);
    assert_eq!(w.r.datagrams(), 1);
}

#[test]
fn datagrams_too_long_to_be() {
    let mut w = World::new();
    assert_eq!(w.push(frag4(1, 65_528, 65_536, true), 0), ["fragment_invalid"]);
    assert_eq!(w.push(frag4(1, 65_520, 65_528, false), 0), ["fragment_invalid"], "the header counts too");
    assert_eq!(w.push(frag4(1, 65_504, 65_515, false), 0), NOTHING);
    assert_eq!(w.push(frag6(1, 65_528, 65_536, true), 0), ["fragment_invalid problem at 42"]);
    assert_eq!(w.push(frag6(1, 65_528, 65_535, false), 0), NOTHING);
    assert_eq!(w.r.datagrams(), 2);
}

#[test]
fn the_longest_datagrams_are_made_whole() {
    let mut w = World::new();
    for from in (0..64_000).step_by(8_000) {
        assert_eq!(w.push(frag4(1, from, from + 8_000, true), 0), NOTHING);
        assert_eq!(w.push(frag6(1, from, from + 8_000, true), 0), NOTHING);
    }
    assert_eq!(w.complete(frag4(1, 64_000, 65_515, false)).l3_len(), 65_535);
    assert_eq!(w.complete(frag6(1, 64_000, 65_535, false)).l3_len(), 65_575);
}

#[test]
fn headers_that_lie_are_invalid() {
    let mut w = World::new();
    let whole = frag4(1, 0, 800, true);
    for len in 0..whole.len() {
        let mut cut = whole.clone();
        cut.truncate(len);
        assert_eq!(w.push(cut, 0), ["fragment_invalid"], "{len}");
    }
    let mut long_header = frag4(1, 0, 800, true);
    long_header.data_mut()[0] = 0x4f;
    assert_eq!(w.push(long_header, 0), NOTHING, "60 bytes of header are there");
    let whole = frag6(1, 0, 800, true);
    for len in 0..whole.len() {
        let mut cut = whole.clone();
        cut.truncate(len);
        assert_eq!(w.push(cut, 0), ["fragment_invalid"], "{len}");
    }
    let mut none = frag6(1, 0, 800, true);
    none.meta.net = Net::None;
    assert_eq!(w.push(none, 0), ["fragment_invalid"]);
    // A fragment header within a fragment.
    let mut nested = frag6(2, 0, 16, true).data().to_vec();
    nested[40] = proto::FRAGMENT;
    nested[48..56].copy_from_slice(&[proto::UDP, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(w.push(v6(&nested), 0), NOTHING);
    assert_eq!(w.push(frag6(2, 16, 20, false), 0), ["fragment_invalid"; 2]);
}

#[test]
fn datagrams_are_told_apart() {
    let mut w = World::new();
    w.push(frag4(1, 0, 800, true), 0);
    let mut others = [frag4(2, 800, 900, false), frag4(1, 800, 900, false), frag4(1, 800, 900, false)];
    edit4(&mut others[1], |ip| ip.set_protocol(proto::TCP));
    edit4(&mut others[2], |ip| ip.set_src(DST));
    for other in others {
        assert_eq!(w.push(other, 0), NOTHING);
    }
    // The link does not matter, except to IPv6 destinations that mean another station on each.
    for (dst, datagrams) in [(DST6, 1), ("fe80::1", 2), ("ff02::1", 2)] {
        let mut w = World::new();
        for (link, mut packet) in [(1, frag6(1, 0, 800, true)), (2, frag6(1, 1600, 2400, true))] {
            packet.meta.ingress = LinkId(link);
            Ipv6::new(packet.l3_mut()).unwrap().set_dst(dst.parse().unwrap());
            w.push(packet, 0);
        }
        assert_eq!(w.r.datagrams(), datagrams, "{dst}");
    }
    let mut last = frag4(1, 800, 900, false);
    last.meta.ingress = LinkId(8);
    assert_eq!(w.push(last, 0), ["whole 920 largest 820 absorbed 1"]);
}

#[test]
fn time_runs_out() {
    let mut w = World::new();
    w.push(frag4(1, 0, 800, true), 0);
    w.push(frag4(1, 1600, 2400, true), 20);
    w.push(frag4(2, 800, 1600, true), 1);
    w.push(frag6(1, 0, 800, true), 0);
    w.r.timeout(at(29), &mut w.out);
    assert!(w.out.is_empty());
    w.r.timeout(at(30), &mut w.out);
    assert_eq!(short(&mut w.out), ["fragment_timeout told", "fragment_timeout"], "from the first to come on");
    assert_eq!(w.r.poll_timeout(), at(31));
    w.r.timeout(at(31), &mut w.out);
    assert_eq!(short(&mut w.out), ["fragment_timeout"], "without the first fragment nobody is told");
    w.r.timeout(at(60), &mut w.out);
    assert_eq!(short(&mut w.out), ["fragment_timeout told"]);
    assert_eq!((w.r.datagrams(), w.r.memory(), w.r.poll_timeout()), (0, 0, Instant::FAR_FUTURE));
}

#[test]
fn the_told_fragment_is_the_first_and_as_it_came() {
    let mut w = World::new();
    w.push(frag4(1, 800, 1600, true), 0);
    w.push(frag4(1, 0, 801, true), 0);
    w.r.timeout(at(30), &mut w.out);
    let told: Vec<_> = w
        .out
        .iter()
        .filter_map(|d| match d {
            Done::Dropped { packet, tell: Some(_), .. } => Some(packet.data()),
            _ => None,
        })
        .collect();
    assert_eq!(told, [frag4(1, 0, 801, true).data()]);
}

#[test]
fn an_identification_used_again_starts_the_datagram_anew() {
    let mut w = World::new();
    w.push(frag4(1, 0, 800, true), 0);
    for ident in 100..163 {
        assert_eq!(w.push(frag4(ident, 0, 800, true), 5), NOTHING);
    }
    assert_eq!(w.push(frag4(1, 1600, 2400, true), 5), NOTHING, "63 in between");
    for ident in 200..264 {
        w.push(frag4(ident, 0, 800, true), 10);
    }
    assert_eq!(w.push(frag4(1, 800, 900, false), 10), ["fragment_timeout"; 2], "64 in between");
    // Its time starts anew too, and other sources don't count.
    for ident in 300..400 {
        let mut other = frag4(ident, 0, 800, true);
        edit4(&mut other, |ip| ip.set_src(DST));
        w.push(other, 10);
    }
    assert_eq!(w.push(frag4(1, 0, 800, true), 39), ["whole 920 largest 820 absorbed 1"]);
    // 0 turns it off.
    let mut w = World { r: Reassembler::new(Config { max_dist: 0, ..Config::default() }), out: Vec::new() };
    w.push(frag4(1, 0, 800, true), 0);
    for ident in 100..200 {
        w.push(frag4(ident, 0, 800, true), 0);
    }
    assert_eq!(w.push(frag4(1, 800, 900, false), 0).len(), 1);
}

#[test]
fn memory_is_bounded_and_the_oldest_go() {
    let mut w = World::new();
    for ident in 0..u16::MAX {
        let mut packet = frag4(ident, 0, 800, true);
        // Each from a source of its own.
        edit4(&mut packet, |ip| ip.set_src(Ipv4Addr::from(u32::from(ident))));
        for drop in w.push(packet, 0) {
            assert_eq!(drop, "fragment_table_full");
        }
        assert!(w.r.memory() <= 4 << 20);
    }
    assert!(w.r.datagrams() > 2_000);
    let mut newest = frag4(u16::MAX - 1, 800, 900, false);
    edit4(&mut newest, |ip| ip.set_src(Ipv4Addr::from(u32::from(u16::MAX - 1))));
    assert_eq!(w.push(newest, 0), ["whole 920 largest 820 absorbed 1"]);
    // IPv6 has its own allowance.
    assert_eq!(w.push(frag6(1, 0, 800, true), 0), NOTHING);
    assert_eq!(w.push(frag6(1, 800, 900, false), 0).len(), 1);
    // None at all: nothing is kept.
    let mut w = World { r: Reassembler::new(Config { high4: 0, ..Config::default() }), out: Vec::new() };
    assert_eq!(w.push(frag4(1, 0, 800, true), 0), ["fragment_table_full"]);
    assert_eq!(w.r.memory(), 0);
}

#[test]
fn ecn_fields_come_together_by_rfc_3168() {
    // Fields: 0 not capable, 1 and 2 capable, 3 congestion experienced.
    let cases: [(&[u8], Option<u8>); 11] = [
        (&[0, 0], Some(0)),
        (&[1, 1], Some(1)),
        (&[2, 2], Some(2)),
        (&[2, 1], Some(2)),
        (&[3, 3], Some(3)),
        (&[2, 3], Some(3)),
        (&[3, 1], Some(3)),
        (&[1, 2, 3], Some(3)),
        (&[0, 3], None),
        (&[2, 0], None),
        (&[0, 1, 2], None),
    ];
    for (fields, expected) in cases {
        for family in [4, 6] {
            let mut w = World::new();
            for (i, field) in fields.iter().enumerate() {
                let (from, more) = (i * 8, i + 1 < fields.len());
                let packet = if family == 4 {
                    let mut packet = frag4(1, from, from + 8, more);
                    edit4(&mut packet, |ip| ip.set_tos(0x40 | field));
                    packet
                } else {
                    let mut packet = frag6(1, from, from + 8, more);
                    Ipv6::new(packet.l3_mut()).unwrap().set_traffic_class(0x40 | field);
                    packet
                };
                w.r.push(packet, at(0), &mut w.out);
            }
            match expected {
                Some(ecn) => {
                    let Some(Done::Whole { packet, .. }) = w.out.pop() else { panic!("{fields:?}") };
                    let tos = match family {
                        4 => Ipv4::new(packet.l3()).unwrap().tos(),
                        _ => Ipv6::new(packet.l3()).unwrap().traffic_class(),
                    };
                    assert_eq!(tos, 0x40 | ecn, "{fields:?}");
                }
                None => assert_eq!(short(&mut w.out), vec!["fragment_invalid"; fields.len()]),
            }
        }
    }
}

#[test]
fn df_on_the_longest_fragment_stays_with_the_datagram() {
    for (first, last, expected) in [(true, true, true), (true, false, true), (false, true, false)] {
        let mut w = World::new();
        for (packet, df) in [(frag4(1, 0, 800, true), first), (frag4(1, 800, 900, false), last)] {
            let mut packet = packet;
            edit4(&mut packet, |ip| ip.set_flags_offset(ip.flags_offset() | if df { 0x4000 } else { 0 }));
            w.r.push(packet, at(0), &mut w.out);
        }
        let Some(Done::Whole { packet, .. }) = w.out.pop() else { panic!() };
        assert_eq!(largest(&packet), 820);
        assert_eq!(Ipv4::new(packet.l3()).unwrap().dont_fragment(), expected);
    }
}

#[test]
fn the_link_layer_header_of_the_first_stays() {
    let mut w = World::new();
    let mut first = frag4(1, 0, 800, true);
    first.set_l2_len(14).unwrap().fill(0xee);
    w.push(frag4(1, 800, 900, false), 0);
    let whole = w.complete(first);
    assert_eq!((whole.meta.l3, &whole.data()[..14], whole.l3_len()), (14, &[0xee; 14][..], 920));
}
