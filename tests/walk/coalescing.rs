//! Segments that come in together go on together, and nobody can tell afterwards.

use std::net::IpAddr;

use sekisho::base::DropReason;
use sekisho::base::counters::Tally;
use sekisho::packet::{Caps, Csum, Gso, GsoKind, Meta, Offload, Packet, Pool, segment};
use sekisho::wire::{icmpv4, ipv4::Ipv4, ipv6::Ipv6, tcp as wire_tcp, tcp::Tcp};

use crate::make::*;
use crate::net::*;

const SIZE: usize = 1400;

/// Segments of the client's, each behind the other, the last with PSH.
fn segments(v6: bool, to: IpAddr, n: usize) -> Vec<Vec<u8>> {
    let src: IpAddr = if v6 { CLIENT6.into() } else { CLIENT.into() };
    let one = |i: usize| {
        let flags = if i + 1 == n { wire_tcp::ACK | wire_tcp::PSH } else { wire_tcp::ACK };
        let mut p = tcp(src, to, (1, 2), flags, &bytes(SIZE));
        let at = if v6 { 40 } else { 20 };
        let mut header = Tcp::new(&mut p[at..]).unwrap();
        header.set_seq(1000 + (i * SIZE) as u32);
        header.fill_checksum(src, to);
        match v6 {
            true => p,
            false => edit4(p, |p| p[4..6].copy_from_slice(&(0xfff0u16.wrapping_add(i as u16)).to_be_bytes())),
        }
    };
    (0..n).map(one).collect()
}

/// The frames come in by `lan` as one batch.
fn batch(b: &mut Bench, frames: &[Vec<u8>]) {
    let mut frames: Vec<_> =
        frames.iter().map(|l3| Packet::from_slice(&frame(LAN_MAC, CLIENT_MAC, l3))).collect();
    b.worker.handle_batch(LAN, &mut frames, b.now);
    assert!(frames.is_empty());
    b.collect();
}

fn server(v6: bool) -> IpAddr {
    if v6 { SERVER6.into() } else { SERVER.into() }
}

/// The segments of a frame that left.
fn cut(frame: Packet) -> Vec<Packet> {
    let mut out = Vec::new();
    segment(frame, &mut Pool::new(64), &mut out).unwrap();
    out
}

#[test]
fn a_batch_leaves_as_one_frame_that_holds_the_same_segments() {
    for v6 in [false, true] {
        let mut b = Bench::acquainted();
        let sent = segments(v6, server(v6), 40);
        batch(&mut b, &sent);
        let p = b.one(WAN);
        let kind = if v6 { GsoKind::Tcp6 } else { GsoKind::Tcp4 };
        assert_eq!(p.meta.offload.gso, Some(Gso { kind, size: SIZE as u16, ecn: false }));
        let out = cut(p);
        assert_eq!(out.len(), 40);
        for (p, was) in out.iter().zip(&sent) {
            assert!(p.l3() == ttl(was.clone(), 63));
        }
        assert_eq!(
            (b.tally(Tally::Coalesced), b.tally(Tally::Coalesce), b.tally(Tally::Forwarded)),
            (1, 40, 1)
        );
        let lan = b.totals().links[LAN.index()];
        let bytes: usize = sent.iter().map(|p| 14 + p.len()).sum();
        assert_eq!((lan.rx_packets, lan.rx_bytes), (40, bytes as u64), "frames as they came");
        b.balanced();
    }
}

#[test]
fn it_is_tracked_filtered_and_translated_as_one() {
    let rules = format!("{MASQUERADE}{STATEFUL}");
    for v6 in [false, true] {
        let mut b = Plan::default().rules(&rules, &rules).build().acquaint();
        batch(&mut b, &segments(v6, server(v6), 30));
        let out = cut(b.one(WAN));
        assert_eq!(out.len(), 30);
        for p in &out {
            assert!(right(p.l3()));
            match v6 {
                true => assert_eq!(Ipv6::new(p.l3()).unwrap().src(), WAN_ADDR6),
                false => assert_eq!(Ipv4::new(p.l3()).unwrap().src(), WAN_ADDR),
            }
        }
        assert_eq!(b.flows().len(), 1);
        // The table has seen where the last one ends: what goes on from there is in the window.
        let more = segments(v6, server(v6), 60).split_off(30);
        batch(&mut b, &more);
        assert_eq!((b.sent(WAN).len(), b.tally(Tally::CtInvalid)), (1, 0));
        b.balanced();
    }
}

#[test]
fn where_one_way_out_takes_no_super_frames_all_stays_as_it_came() {
    for (link, caps) in [(WAN, Caps::PLAIN), (TUN, Caps { ethernet: false, ..Caps::PLAIN })] {
        let mut b = Bench::acquainted();
        b.worker.set_caps(link, caps);
        let sent = segments(false, server(false), 40);
        batch(&mut b, &sent);
        let out = b.sent(WAN);
        assert_eq!(out.len(), 40);
        assert!(out.iter().zip(&sent).all(|(p, was)| p.l3() == ttl(was.clone(), 63)));
        assert_eq!(b.tally(Tally::Coalesced), 0);
        // It may learn to.
        b.worker.set_caps(link, Caps { ethernet: link == WAN, ..Caps::FULL });
        batch(&mut b, &sent);
        b.one(WAN);
        b.balanced();
    }
    // What the link it came by takes makes no difference.
    let mut b = Bench::acquainted();
    b.worker.set_caps(LAN, Caps::PLAIN);
    batch(&mut b, &segments(false, server(false), 40));
    b.one(WAN);
}

#[test]
fn errors_are_about_the_first_of_them() {
    let mut b = Bench::acquainted();
    let sent: Vec<_> = segments(false, server(false), 10).into_iter().map(|p| ttl(p, 1)).collect();
    batch(&mut b, &sent);
    let told = b.error(LAN);
    assert_eq!(told.kind, (icmpv4::TIME_EXCEEDED, icmpv4::TTL_EXCEEDED));
    b.dropped(DropReason::TtlExceeded);
    // A packet with a wrong sum stands alone, and is passed on as it is.
    let mut b = Bench::acquainted();
    let mut sent = segments(false, server(false), 9);
    sent[4][100] ^= 1;
    batch(&mut b, &sent);
    let out = b.sent(WAN);
    let sizes: Vec<_> = out.iter().map(|p| (p.l3().len() - 40) / SIZE).collect();
    assert_eq!(sizes, [4, 1, 4]);
    assert!(!right(out[1].l3()));
    b.balanced();
}

#[test]
fn for_the_router_itself() {
    let mut b = Bench::acquainted();
    batch(&mut b, &segments(false, LAN_ADDR.into(), 20));
    assert_eq!(b.host.len(), 1);
    assert_eq!(b.host[0].l3().len(), 40 + 20 * SIZE);
    b.balanced();
}

/// A priority tag is on every segment, and leaves with the header.
#[test]
fn tagged_ones() {
    let tagged = |l3: &[u8]| {
        let mut f = frame(LAN_MAC, CLIENT_MAC, l3);
        f.splice(12..12, [0x81, 0x00, 0xa0, 0x00]);
        Packet::from_slice(&f)
    };
    let sent = segments(true, server(true), 20);
    let mut b = Bench::acquainted();
    b.worker.handle_batch(LAN, &mut sent.iter().map(|l3| tagged(l3)).collect(), b.now);
    b.collect();
    let out = cut(b.one(WAN));
    assert!(out.iter().zip(&sent).all(|(p, was)| p.l3() == ttl(was.clone(), 63)));
    // A super-frame that came as one, likewise.
    let mut whole = tagged(&sent[0]);
    whole.meta = Meta {
        offload: Offload {
            csum: Csum::Partial { start: 40, field: 16 },
            gso: Some(Gso { kind: GsoKind::Tcp6, size: 700, ecn: false }),
        },
        ..Meta::default()
    };
    b.worker.handle_batch(LAN, &mut vec![whole], b.now);
    b.collect();
    let p = b.one(WAN);
    assert_eq!((p.meta.offload.gso.map(|g| g.size), p.meta.l3), (Some(700), 14));
    b.balanced();
}
