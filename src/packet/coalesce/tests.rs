//! What becomes one frame and what does not, and that it would be cut into the same bytes again.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::packet::{Net, offload, segment};

/// How a packet is made up.
#[derive(Debug, Clone)]
struct Shape {
    flow: u8,
    v6: bool,
    proto: u8,
    /// Bytes of L2 header: 0, 14 or 18.
    l2: usize,
    payload: usize,
    seq: u32,
    ident: u16,
    flags: u8,
    window: u16,
    ttl: u8,
    /// The timestamp option's value.
    stamp: u32,
    dont_fragment: bool,
    more_fragments: bool,
    ip_options: bool,
    /// Bytes behind the packet.
    padding: usize,
    csum: State,
    /// To a group of stations.
    group: bool,
}

/// The checksum's state.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Right,
    Verified,
    Partial,
    Wrong,
}

const PLAIN: Shape = Shape {
    flow: 1,
    v6: false,
    proto: proto::TCP,
    l2: 14,
    payload: 1448,
    seq: 0xffff_f000,
    ident: 0xfffe,
    flags: tcp::ACK,
    window: 500,
    ttl: 63,
    stamp: 7,
    dont_fragment: true,
    more_fragments: false,
    ip_options: false,
    padding: 0,
    csum: State::Right,
    group: false,
};

const TCP_LEN: usize = 32;
const FULL: Caps = Caps::FULL;

fn build(s: &Shape) -> Packet {
    let mut l4 = vec![0; TCP_LEN];
    l4[..4].copy_from_slice(&[0x10, s.flow, 0, 7]);
    l4[4..8].copy_from_slice(&s.seq.to_be_bytes());
    l4[8..12].copy_from_slice(&[1, 2, 3, 4]);
    l4[12] = (TCP_LEN / 4 * 16) as u8;
    l4[13] = s.flags;
    l4[14..16].copy_from_slice(&s.window.to_be_bytes());
    l4[20..24].copy_from_slice(&[1, 1, 8, 10]);
    l4[24..28].copy_from_slice(&s.stamp.to_be_bytes());
    l4.extend((0..s.payload).map(|i| (i as u32 ^ s.seq) as u8));
    let (src, dst) = (Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 2, 0, 2));
    let src6 = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 2);
    let dst6 = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 2);
    let pseudo = match s.v6 {
        true => checksum::pseudo_v6(src6, dst6, s.proto, l4.len() as u32),
        false => checksum::pseudo_v4(src, dst, s.proto, l4.len() as u32),
    };
    let csum = match s.csum {
        State::Partial => checksum::fold(pseudo),
        State::Wrong => 0x1234,
        State::Right | State::Verified => !checksum::fold(pseudo + checksum::sum(&l4)),
    };
    l4[16..18].copy_from_slice(&csum.to_be_bytes());
    let mut b = vec![if s.group { 1 } else { 2 }; s.l2];
    let kind = if s.v6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    match s.l2 {
        14 => b[12..].copy_from_slice(&kind),
        18 => b[12..].copy_from_slice(&[0x81, 0, 0, 0, kind[0], kind[1]]),
        _ => {}
    }
    let l4_at = if s.v6 {
        b.extend([0x60, 0, 0, 9]);
        b.extend((l4.len() as u16).to_be_bytes());
        b.extend([s.proto, s.ttl]);
        b.extend(src6.octets());
        b.extend(dst6.octets());
        40
    } else {
        let header = if s.ip_options { 24 } else { 20 };
        b.extend([0x40 | (header / 4) as u8, 0]);
        b.extend(((l4.len() + header) as u16).to_be_bytes());
        b.extend(s.ident.to_be_bytes());
        b.extend([if s.dont_fragment { 0x40 } else { 0 } | if s.more_fragments { 0x20 } else { 0 }, 0]);
        b.extend([s.ttl, s.proto, 0, 0]);
        b.extend(src.octets());
        b.extend(dst.octets());
        b.extend(vec![1; header - 20]);
        Ipv4::new(&mut b[s.l2..]).unwrap().fill_checksum();
        header
    };
    b.extend(l4);
    b.extend(vec![0; s.padding]);
    let mut p = Packet::from_slice(&b);
    p.meta.offload.csum = match s.csum {
        State::Right | State::Wrong => Csum::Wire,
        State::Verified => Csum::Verified,
        State::Partial => Csum::Partial { start: l4_at as u16, field: 16 },
    };
    p
}

/// Fills in what ingress would know.
fn parse(p: &mut Packet, l2: usize) {
    p.meta.l3 = l2 as u16;
    let v6 = p.l3()[0] >> 4 == 6;
    p.meta.net = if v6 { Net::Ipv6 } else { Net::Ipv4 };
    p.meta.l4 = if v6 { 40 } else { u16::from(p.l3()[0] & 15) * 4 };
    p.meta.proto = proto::TCP;
}

/// The bytes on a wire: super-frames cut, sums finished.
fn on_a_wire(frames: Vec<Packet>, l2: usize) -> Vec<Vec<u8>> {
    let (mut pool, mut out) = (Pool::new(64), Vec::new());
    for mut frame in frames {
        if frame.meta.offload == Offload::default() || frame.meta.offload.csum == Csum::Verified {
            out.push(frame);
            continue;
        }
        parse(&mut frame, l2);
        if frame.meta.offload.gso.is_some() {
            segment(frame, &mut pool, &mut out).unwrap();
        } else {
            assert!(offload::finish_checksum(&mut frame));
            out.push(frame);
        }
    }
    out.iter().map(|p| p.data().to_vec()).collect()
}

fn run(shapes: &[Shape]) -> (Vec<Packet>, Coalesced) {
    let mut frames: Vec<_> = shapes.iter().map(build).collect();
    let done = coalesce(&mut frames, shapes[0].l2 > 0, FULL, &mut Pool::new(64));
    (frames, done)
}

/// Segments of one flow, each behind the other.
fn stream(of: &Shape, payloads: &[usize]) -> Vec<Shape> {
    let mut next = of.clone();
    payloads
        .iter()
        .map(|n| {
            let s = Shape { payload: *n, ..next.clone() };
            next.seq = next.seq.wrapping_add(*n as u32);
            next.ident = next.ident.wrapping_add(1);
            s
        })
        .collect()
}

#[test]
fn segments_that_follow_each_other_become_one_frame() {
    for v6 in [false, true] {
        for l2 in [0, 14, 18] {
            for csum in [State::Right, State::Verified, State::Partial] {
                let mut shapes = stream(&Shape { v6, l2, csum, ..PLAIN }, &[1448, 1448, 1448, 700]);
                shapes[3].flags |= ENDS;
                let (frames, done) = run(&shapes);
                assert_eq!((frames.len(), done.made, done.absorbed), (1, 1, 3));
                let headers = l2 + if v6 { 40 } else { 20 } + TCP_LEN;
                assert_eq!((frames[0].len(), done.spared), (headers + 5044, 3 * headers as u64));
                let gso = frames[0].meta.offload.gso.unwrap();
                assert_eq!((gso.kind == GsoKind::Tcp6, gso.size, gso.ecn), (v6, 1448, false));
                let mut frame = frames[0].clone();
                parse(&mut frame, l2);
                assert!(offload::validate(&frame));
                let alone = on_a_wire(shapes.iter().map(build).collect(), l2);
                assert!(on_a_wire(frames, l2) == alone);
            }
        }
    }
}

#[test]
fn a_frame_holds_as_much_as_ip_can_say() {
    let shapes = stream(&PLAIN, &[1448; 100]);
    let (frames, done) = run(&shapes);
    let lengths: Vec<_> = frames.iter().map(Packet::len).collect();
    assert_eq!(lengths, [66 + 45 * 1448, 66 + 45 * 1448, 66 + 10 * 1448]);
    assert_eq!((done.made, done.absorbed), (3, 97));
    assert!(on_a_wire(frames, 14) == on_a_wire(shapes.iter().map(build).collect(), 14));
}

#[test]
fn a_segment_that_differs_goes_alone() {
    let change = |f: fn(&mut Shape)| {
        let mut shapes = stream(&PLAIN, &[1448; 3]);
        f(&mut shapes[1]);
        run(&shapes).0.len()
    };
    assert_eq!(change(|_| {}), 1);
    assert_eq!(change(|s| s.ttl = 62), 3);
    assert_eq!(change(|s| s.window = 501), 3);
    assert_eq!(change(|s| s.stamp = 8), 3);
    assert_eq!(change(|s| s.dont_fragment = false), 3);
    assert_eq!(change(|s| s.ident = 9), 3);
    assert_eq!(change(|s| s.seq = 9), 3);
    assert_eq!(change(|s| s.csum = State::Wrong), 3);
    assert_eq!(change(|s| s.more_fragments = true), 3);
    assert_eq!(change(|s| s.ip_options = true), 3);
    assert_eq!(change(|s| s.padding = 4), 3);
    assert_eq!(change(|s| s.payload = 1449), 3);
    for flags in [tcp::SYN, tcp::RST, tcp::URG, tcp::CWR] {
        let mut shapes = stream(&PLAIN, &[1448; 3]);
        shapes[1].flags |= flags;
        assert_eq!(run(&shapes).0.len(), 3, "{flags:#x}");
        shapes.iter_mut().for_each(|s| s.flags |= flags);
        assert_eq!(run(&shapes).0.len(), 3, "{flags:#x}");
    }
    // The last of a run.
    assert_eq!(change(|s| s.flags |= tcp::PSH), 2);
    assert_eq!(change(|s| s.payload = 100), 2);
    // Of another flow, between two of this.
    assert_eq!(change(|s| s.flow = 2), 3);
    let mut shapes = stream(&PLAIN, &[1448; 4]);
    shapes.insert(2, Shape { flow: 2, ..PLAIN });
    assert_eq!(run(&shapes).0.len(), 2);
}

#[test]
fn what_is_for_many_or_not_of_tcp_is_left_alone() {
    for of in [
        Shape { group: true, ..PLAIN },
        Shape { proto: proto::UDP, ..PLAIN },
        Shape { proto: proto::UDP, v6: true, ..PLAIN },
        Shape { payload: 0, ..PLAIN },
    ] {
        let shapes = stream(&of, &[of.payload; 3]);
        let (frames, done) = run(&shapes);
        assert_eq!((frames.len(), done), (3, Coalesced::default()));
    }
}

#[test]
fn only_what_every_egress_takes_is_made() {
    for (v6, caps, left) in [
        (false, FULL, 1),
        (true, FULL, 1),
        (false, Caps { tso4: false, ..FULL }, 3),
        (true, Caps { tso4: false, ..FULL }, 1),
        (true, Caps { tso6: false, ..FULL }, 3),
        (false, Caps { csum: false, ..FULL }, 3),
    ] {
        let mut frames: Vec<_> = stream(&Shape { v6, ..PLAIN }, &[1000; 3]).iter().map(build).collect();
        coalesce(&mut frames, true, caps, &mut Pool::new(4));
        assert_eq!(frames.len(), left);
    }
}

#[test]
fn zeros_of_checksums_that_would_not_be_made_again_keep_a_segment_apart() {
    // A payload word that makes the sum come out as 0xffff, whose complement is 0.
    let mut shapes = stream(&Shape { v6: true, ..PLAIN }, &[100; 3]);
    shapes[1].csum = State::Partial;
    let mut frames: Vec<_> = shapes.iter().map(build).collect();
    parse(&mut frames[1], 14);
    offload::finish_checksum(&mut frames[1]);
    let at = 14 + 40;
    let field = u16::from_be_bytes([frames[1].data()[at + 16], frames[1].data()[at + 17]]);
    let word = u16::from_be_bytes([frames[1].data()[at + 40], frames[1].data()[at + 41]]);
    let new = checksum::fold(checksum::word(word) + checksum::word(field));
    frames[1].data_mut()[at + 40..at + 42].copy_from_slice(&new.to_be_bytes());
    frames[1].data_mut()[at + 16..at + 18].copy_from_slice(&[0, 0]);
    frames[1].meta = Default::default();
    assert!(sound_but_for_zero(&frames[1]));
    let mut other = frames.clone();
    coalesce(&mut frames, true, FULL, &mut Pool::new(4));
    assert_eq!(frames.len(), 3);
    other[1].data_mut()[at + 16..at + 18].copy_from_slice(&[0xff, 0xff]);
    coalesce(&mut other, true, FULL, &mut Pool::new(4));
    assert_eq!(other.len(), 1);
}

fn sound_but_for_zero(p: &Packet) -> bool {
    let ip = Ipv6::new(&p.data()[14..]).unwrap();
    transport::verify(ip.src().into(), ip.dst().into(), proto::TCP, ip.payload())
}

#[test]
fn a_super_frame_that_came_as_one_stays_apart() {
    let mut frames: Vec<_> = stream(&PLAIN, &[1448; 3]).iter().map(build).collect();
    frames[1].meta.offload.gso = Some(Gso { kind: GsoKind::Tcp4, size: 724, ecn: false });
    coalesce(&mut frames, true, FULL, &mut Pool::new(4));
    assert_eq!(frames.len(), 3);
}

#[test]
fn many_flows_at_once() {
    let mut shapes = Vec::new();
    for round in 0..4u32 {
        for flow in 0..20u8 {
            let seq = PLAIN.seq.wrapping_add(round * 1448);
            shapes.push(Shape { flow, seq, ident: round as u16, ..PLAIN });
        }
    }
    // Never more runs than there is room for, and nothing lost.
    let (frames, _) = run(&shapes);
    assert_eq!(on_a_wire(frames, 14).len(), 80);
    let few: Vec<_> = shapes.into_iter().filter(|s| usize::from(s.flow) < OPEN).collect();
    assert_eq!(run(&few).0.len(), OPEN);
}

/// Streams of a few flows, mixed, with faults in them.
fn traffic() -> impl Strategy<Value = Vec<Shape>> {
    let fault = prop_oneof![20 => Just(0u8), 1 => 1..20u8];
    let payload =
        prop_oneof![6 => Just(1448usize), 1 => Just(0), 1 => Just(1), 1 => Just(536), 1 => 0..1460usize];
    let packet = (0..3u8, payload, fault, any::<u16>());
    let layout = (any::<bool>(), prop_oneof![Just(0usize), Just(14), Just(18)], any::<u32>(), any::<u16>());
    (prop::collection::vec(packet, 1..80), layout).prop_map(|(packets, (v6, l2, seq, ident))| {
        let mut next: Vec<_> = (0..3).map(|flow| Shape { flow, v6, l2, seq, ident, ..PLAIN }).collect();
        packets
            .into_iter()
            .map(|(flow, payload, fault, any)| {
                let state = &mut next[usize::from(flow)];
                let mut s = Shape { payload, ..state.clone() };
                let csums = [State::Right, State::Verified, State::Partial, State::Wrong];
                match fault {
                    1 => s.ident = any,
                    2 => s.seq ^= u32::from(any),
                    3 => s.flags = any as u8,
                    4 => s.flags |= tcp::PSH,
                    5 => s.flags |= tcp::FIN,
                    6 => s.ttl = any as u8,
                    7 => s.window = any,
                    8 => s.stamp = any.into(),
                    9 => s.dont_fragment = !s.dont_fragment,
                    10 => s.more_fragments = true,
                    11 => s.ip_options = true,
                    12 => s.padding = usize::from(any % 8),
                    13 => s.group = true,
                    14 => s.proto = any as u8,
                    15 => state.stamp = any.into(),
                    16 => state.window = any,
                    _ => s.csum = csums[usize::from(any) % 4],
                }
                if fault == 0 {
                    s.csum = csums[usize::from(any) % 3];
                }
                // An unfinished sum can't be of a piece.
                if s.csum == State::Partial && (s.more_fragments || s.proto != proto::TCP || s.padding > 0) {
                    s.csum = State::Right;
                }
                state.seq = s.seq.wrapping_add(payload as u32);
                state.ident = s.ident.wrapping_add(1);
                s
            })
            .collect()
    })
}

proptest! {
    /// Cut again, every flow's packets are what they were, byte for byte and in their order.
    #[test]
    fn nothing_is_lost_or_told(shapes in traffic()) {
        let l2 = shapes[0].l2;
        let (frames, done) = run(&shapes);
        prop_assert_eq!(frames.len() as u64 + done.absorbed, shapes.len() as u64);
        prop_assert_eq!(frames.iter().filter(|p| p.meta.offload.gso.is_some()).count() as u64, done.made);
        let before = on_a_wire(shapes.iter().map(build).collect(), l2);
        let after = on_a_wire(frames, l2);
        prop_assert_eq!(before.len(), after.len());
        // Of another protocol is of another flow, whatever stands where ports would.
        let flows = |all: Vec<Vec<u8>>| {
            let mut flows: BTreeMap<(u8, u8), Vec<Vec<u8>>> = BTreeMap::new();
            for b in all {
                let (proto, header) = if b[l2] >> 4 == 6 { (6, 40) } else { (9, usize::from(b[l2] & 15) * 4) };
                flows.entry((b[l2 + proto], b[l2 + header + 1])).or_default().push(b);
            }
            flows
        };
        let (before, after) = (flows(before), flows(after));
        prop_assert!(before == after);
    }

    #[test]
    fn any_bytes_do_no_harm(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..8),
        ethernet: bool,
    ) {
        let mut packets: Vec<_> = frames.iter().map(|b| Packet::from_slice(b)).collect();
        coalesce(&mut packets, ethernet, FULL, &mut Pool::new(4));
        prop_assert_eq!(packets.len(), frames.len());
    }

    /// Any bytes in place of a segment's, or in front of it, likewise.
    #[test]
    fn any_change_of_a_byte_is_kept(at in 0..80usize, value: u8, which in 0..3usize, v6: bool) {
        let mut frames: Vec<_> = stream(&Shape { v6, ..PLAIN }, &[40; 3]).iter().map(build).collect();
        frames[which].data_mut()[at] = value;
        let before = on_a_wire(frames.clone(), 14);
        coalesce(&mut frames, true, FULL, &mut Pool::new(4));
        prop_assert!(on_a_wire(frames, 14) == before);
    }
}
