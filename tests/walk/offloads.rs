//! What senders leave to hardware, and what becomes of it on the way.

use std::net::IpAddr;

use sekisho::base::DropReason;
use sekisho::base::counters::Tally;
use sekisho::packet::{Caps, Csum, Gso, GsoKind, Offload, Packet};
use sekisho::wire::{checksum, ipv4::Ipv4, proto, tcp as wire_tcp};

use crate::make::*;
use crate::net::*;

/// Makes the upper-layer checksum a partial one: the field holds the pseudo-header's sum.
fn unfinished(l3: &[u8]) -> (Vec<u8>, Csum) {
    let mut p = l3.to_vec();
    let v6 = p[0] >> 4 == 6;
    let (start, proto) = if v6 { (40, p[6]) } else { (usize::from(p[0] & 15) * 4, p[9]) };
    let field = if proto == proto::TCP { 16 } else { 6 };
    let addr = |a: &[u8]| -> IpAddr {
        match a.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(a).unwrap()),
            _ => IpAddr::from(<[u8; 16]>::try_from(a).unwrap()),
        }
    };
    let (src, dst) =
        if v6 { (addr(&p[8..24]), addr(&p[24..40])) } else { (addr(&p[12..16]), addr(&p[16..20])) };
    let sum = checksum::fold(checksum::pseudo(src, dst, proto, (p.len() - start) as u32).unwrap());
    p[start + field..start + field + 2].copy_from_slice(&sum.to_be_bytes());
    (p, Csum::Partial { start: start as u16, field: field as u16 })
}

fn partial(l3: &[u8]) -> (Vec<u8>, Offload) {
    let (p, csum) = unfinished(l3);
    (p, Offload { csum, gso: None })
}

/// A TCP super-frame of the client's with segments of `size`.
fn tcp_super(v6: bool, payload: usize, size: u16) -> (Vec<u8>, Offload) {
    let flags = wire_tcp::ACK | wire_tcp::PSH | wire_tcp::FIN | wire_tcp::CWR;
    let l3 = if v6 {
        tcp(CLIENT6, SERVER6, (1, 2), flags, &bytes(payload))
    } else {
        tcp(CLIENT, SERVER, (1, 2), flags, &bytes(payload))
    };
    let (p, csum) = unfinished(&l3);
    let kind = if v6 { GsoKind::Tcp6 } else { GsoKind::Tcp4 };
    (p, Offload { csum, gso: Some(Gso { kind, size, ecn: true }) })
}

fn udp_super(v6: bool, payload: usize, size: u16) -> (Vec<u8>, Offload) {
    let l3 = if v6 {
        udp(CLIENT6, SERVER6, (1, 2), &bytes(payload))
    } else {
        udp(CLIENT, SERVER, (1, 2), &bytes(payload))
    };
    let (p, csum) = unfinished(&l3);
    (p, Offload { csum, gso: Some(Gso { kind: GsoKind::Udp, size, ecn: false }) })
}

fn send(b: &mut Bench, (l3, offload): &(Vec<u8>, Offload)) {
    b.receive_offloaded(LAN, &frame(LAN_MAC, CLIENT_MAC, l3), *offload);
}

fn with_caps(caps: Caps) -> Bench {
    let mut b = Bench::acquainted();
    b.worker.set_caps(WAN, caps);
    b
}

/// Checks that segments carry the payload and are each whole.
fn segments(out: &[Packet], payload: usize, size: usize) {
    assert_eq!(out.len(), payload.div_ceil(size));
    let mut got = vec![];
    for (i, p) in out.iter().enumerate() {
        assert!(right(p.l3()), "segment {i}");
        assert_eq!(p.meta.offload, Offload::default());
        let v6 = p.l3()[0] >> 4 == 6;
        let at = if v6 { 40 } else { 20 };
        let is_tcp = p.l3()[if v6 { 6 } else { 9 }] == proto::TCP;
        if is_tcp {
            let seq = u32::from_be_bytes(p.l3()[at + 4..at + 8].try_into().unwrap());
            assert_eq!(seq, 1000 + (i * size) as u32);
            let flags = p.l3()[at + 13];
            let last = i + 1 == out.len();
            assert_eq!(flags & (wire_tcp::FIN | wire_tcp::PSH) != 0, last);
            assert_eq!(flags & wire_tcp::CWR != 0, i == 0);
        }
        got.extend_from_slice(&p.l3()[at + if is_tcp { 20 } else { 8 }..]);
    }
    assert!(got == bytes(payload));
}

#[test]
fn super_frames_pass_whole_where_the_device_takes_them() {
    for f in [
        tcp_super(false, 60_000, 1448),
        tcp_super(true, 60_000, 1428),
        udp_super(false, 60_000, 1400),
        udp_super(true, 9_000, 1200),
    ] {
        let mut b = Bench::acquainted();
        send(&mut b, &f);
        let p = b.one(WAN);
        assert_eq!((p.meta.offload, p.l3().len()), (f.1, f.0.len()));
        assert_eq!(p.l3()[12..], {
            let mut w = f.0.clone();
            if w[0] >> 4 == 6 {
                w[7] -= 1
            }
            w[12..].to_vec()
        });
        assert_eq!(b.tally(Tally::Segmented), 0);
        b.balanced();
    }
}

#[test]
fn super_frames_are_cut_where_it_does_not() {
    for (f, payload, size) in [
        (tcp_super(false, 20_000, 1448), 20_000, 1448),
        (tcp_super(true, 20_000, 1428), 20_000, 1428),
        (udp_super(false, 20_000, 1400), 20_000, 1400),
        (udp_super(true, 20_000, 1300), 20_000, 1300),
        (tcp_super(false, 1, 1448), 1, 1448),
        (tcp_super(true, 2_856, 1428), 2_856, 1428),
    ] {
        let mut b = with_caps(Caps::PLAIN);
        send(&mut b, &f);
        let out = b.sent(WAN);
        segments(&out, payload, size);
        if out[0].l3()[0] >> 4 == 4 {
            let ident = |p: &Packet| Ipv4::new(p.l3()).unwrap().ident();
            assert!(out.windows(2).all(|w| ident(&w[1]) == ident(&w[0]).wrapping_add(1)));
        }
        assert_eq!((b.tally(Tally::Segmented), b.tally(Tally::Segments)), (1, out.len() as u64));
        b.balanced();
    }
}

#[test]
fn a_device_may_take_one_kind_and_not_another() {
    let caps = Caps { tso6: false, ..Caps::FULL };
    let mut b = with_caps(caps);
    send(&mut b, &tcp_super(false, 20_000, 1448));
    assert_eq!(b.sent(WAN).len(), 1);
    send(&mut b, &tcp_super(true, 20_000, 1428));
    segments(&b.sent(WAN), 20_000, 1428);
    b.balanced();
}

#[test]
fn partial_checksums_are_finished_where_the_device_can_not() {
    for l3 in [
        udp(CLIENT, SERVER, (1, 2), b"hello"),
        udp(CLIENT6, SERVER6, (1, 2), b"hello"),
        tcp(CLIENT, SERVER, (1, 2), wire_tcp::SYN, b""),
        tcp(CLIENT6, SERVER6, (1, 2), wire_tcp::SYN, b"odd"),
    ] {
        let f = partial(&l3);
        assert!(!right(&f.0));
        let mut b = Bench::acquainted();
        send(&mut b, &f);
        let p = b.one(WAN);
        assert_eq!(p.meta.offload.csum, f.1.csum, "left to the device");
        b.balanced();
        let mut b = with_caps(Caps::PLAIN);
        send(&mut b, &f);
        let p = b.one(WAN);
        assert!(right(p.l3()));
        assert_eq!((p.meta.offload.csum, b.tally(Tally::Checksummed)), (Csum::Wire, 1));
        b.balanced();
    }
}

#[test]
fn a_partial_checksum_is_finished_before_the_packet_is_cut() {
    let mut b = Plan::default().link(WAN, |l| l.mtu = 576).build().acquaint();
    send(&mut b, &partial(&udp(CLIENT, SERVER, (1, 2), &bytes(1400))));
    let mut whole = vec![];
    for p in b.sent(WAN) {
        assert_eq!(p.meta.offload, Offload::default());
        whole.extend_from_slice(Ipv4::new(p.l3()).unwrap().payload());
    }
    assert!(right(&ip4(CLIENT, SERVER, proto::UDP, &whole)));
    b.balanced();
}

#[test]
fn the_checksum_of_sctp_is_finished_by_its_own_rule_before_the_packet_is_cut() {
    let mut sctp = [&[0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0][..], &bytes(1200)].concat();
    let l3 = ip4(CLIENT, SERVER, proto::SCTP, &sctp);
    sekisho::wire::sctp::fill_checksum(&mut sctp);
    let offload = Offload { csum: Csum::Partial { start: 20, field: 8 }, gso: None };
    let mut b = Plan::default().link(WAN, |l| l.mtu = 576).build().acquaint();
    send(&mut b, &(l3, offload));
    let whole: Vec<u8> =
        b.sent(WAN).iter().flat_map(|p| Ipv4::new(p.l3()).unwrap().payload().to_vec()).collect();
    assert!(whole == sctp, "{:?}", &whole[..12]);
    b.balanced();
}

#[test]
fn the_size_of_a_super_frame_is_that_of_its_segments() {
    let narrow = || Plan::default().link(WAN, |l| l.mtu = 1400).build().acquaint();
    // They fit.
    let mut b = narrow();
    send(&mut b, &tcp_super(false, 20_000, 1360));
    assert_eq!(b.one(WAN).l3().len(), 20_040);
    // They don't and may not be cut.
    for (mut f, kind) in [(tcp_super(false, 20_000, 1361), (3, 4)), (tcp_super(true, 20_000, 1341), (2, 0))] {
        if kind.0 == 3 {
            f.0 = dont_fragment(f.0);
        }
        let mut b = narrow();
        send(&mut b, &f);
        let told = b.error(LAN);
        assert_eq!((told.kind, told.rest), (kind, 1400));
        b.dropped(DropReason::TooBig);
    }
    // They don't and may be: segments first, then fragments of each.
    let mut b = narrow();
    send(&mut b, &tcp_super(false, 2_896, 1448));
    let out = b.sent(WAN);
    assert_eq!(out.len(), 4);
    for pair in out.chunks(2) {
        let ip = |i: usize| Ipv4::new(pair[i].l3()).unwrap();
        assert_eq!(ip(0).ident(), ip(1).ident());
        let whole = [ip(0).payload(), ip(1).payload()].concat();
        assert!(right(&ip4(CLIENT, SERVER, proto::TCP, &whole)));
    }
    b.balanced();
    // Longer than the link it came by allows.
    let mut b = Bench::acquainted();
    send(&mut b, &tcp_super(false, 20_000, 1461));
    b.silent();
    b.dropped(DropReason::FrameTooLong);
}

#[test]
fn lies_about_offloads_are_refused() {
    let gso = |kind, size| Some(Gso { kind, size, ecn: false });
    let (l3, good) = tcp_super(false, 5_000, 1000);
    let (u3, ugood) = udp_super(false, 5_000, 1000);
    let (s3, sgood) = partial(&udp(CLIENT, SERVER, (1, 2), b"hello"));
    let at = |start, field| Csum::Partial { start, field };
    for (l3, offload) in [
        (&l3, Offload { gso: gso(GsoKind::Tcp6, 1000), ..good }),
        (&l3, Offload { gso: gso(GsoKind::Udp, 1000), ..good }),
        (&l3, Offload { gso: gso(GsoKind::Tcp4, 7), ..good }),
        (&l3, Offload { gso: gso(GsoKind::Tcp4, 0), ..good }),
        (&l3, Offload { csum: at(24, 12), ..good }),
        (&u3, Offload { gso: gso(GsoKind::Udp, 1), ..ugood }),
        (&u3, Offload { csum: Csum::Wire, ..ugood }),
        (&s3, Offload { csum: at(0, 0), ..sgood }),
        (&s3, Offload { csum: at(20, 4), ..sgood }),
        (&s3, Offload { csum: at(20, 60), ..sgood }),
        (&s3, Offload { csum: at(u16::MAX, u16::MAX), ..sgood }),
        (&s3, Offload { csum: at(20, u16::MAX), ..sgood }),
    ] {
        let mut b = Bench::acquainted();
        send(&mut b, &(l3.clone(), offload));
        b.silent();
        b.dropped(DropReason::OffloadInvalid);
    }
}

#[test]
fn a_super_frame_that_waits_for_its_neighbor_keeps_its_shape() {
    let mut b = Bench::new();
    let f = tcp_super(false, 60_000, 1448);
    send(&mut b, &f);
    b.one(WAN);
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    assert_eq!(b.one(WAN).meta.offload, f.1);
    b.balanced();
}

#[test]
fn for_the_router_itself() {
    let to = |l3: Vec<u8>| partial(&l3);
    // A partial checksum is finished before anybody looks.
    let mut b = Bench::acquainted();
    send(&mut b, &to(tcp(CLIENT, LAN_ADDR, (1, 80), wire_tcp::SYN, b"")));
    let p = b.host.remove(0);
    assert!(right(p.l3()) && p.meta.offload.csum == Csum::Wire);
    // One that was verified by hardware isn't looked at.
    let mut l3 = udp(CLIENT, LAN_ADDR, (1, 7), b"hello");
    l3[26] ^= 1;
    send(&mut b, &(l3.clone(), Offload { csum: Csum::Verified, gso: None }));
    assert_eq!(b.host.len(), 1);
    send(&mut b, &(l3, Offload::default()));
    b.dropped(DropReason::L4BadChecksum);
    // UDP super-frames are datagrams each; TCP ones a stream anyway.
    b.host.clear();
    let (u, csum) = unfinished(&udp(CLIENT, LAN_ADDR, (1, 7), &bytes(3_000)));
    send(&mut b, &(u, Offload { csum, gso: Some(Gso { kind: GsoKind::Udp, size: 1000, ecn: false }) }));
    assert_eq!(b.host.len(), 3);
    assert!(b.host.iter().all(|p| right(p.l3())));
    b.balanced();
}
