//! Headers of the kernel's, as they come and as they go; lies; checksums finished as a receiver accepts them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::packet::Meta;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::Ipv6Header;
use crate::wire::transport;

const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 2);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 2);

/// A parsed packet in an Ethernet frame whose upper-layer bytes are given.
fn packet(net: Net, proto: u8, l4: &[u8]) -> Packet {
    let mut b = vec![0; 14];
    let l4_at = match net {
        Net::Ipv6 => {
            ethernet::write(&mut b, Default::default(), Default::default(), ethernet::IPV6);
            b.extend([0; 40]);
            Ipv6Header {
                src: A6,
                dst: B6,
                next_header: proto,
                hop_limit: 64,
                traffic_class: 0,
                flow_label: 0,
                payload_len: l4.len(),
            }
            .emit(&mut b[14..]);
            40
        }
        _ => {
            ethernet::write(&mut b, Default::default(), Default::default(), ethernet::IPV4);
            b.extend([0; 20]);
            let header = Ipv4Header {
                src: A,
                dst: B,
                proto,
                ttl: 64,
                tos: 0,
                ident: 1,
                dont_fragment: true,
                payload_len: l4.len(),
            };
            header.emit(&mut b[14..]);
            20
        }
    };
    b.extend(l4);
    let mut p = Packet::from_slice(&b);
    p.meta = Meta { net, l3: 14, l4: l4_at, proto, ..Meta::default() };
    p
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    [&[0x10, 0, 0, 7][..], &len.to_be_bytes(), &[0, 0], payload].concat()
}

fn tcp(payload: &[u8]) -> Vec<u8> {
    [&[0x10, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 1, 0, 0, 0, 0, 0][..], payload].concat()
}

/// Leaves the checksum to hardware, as the sender's stack does.
fn begin(mut p: Packet, field: u16) -> Packet {
    let (src, dst) = match p.meta.net {
        Net::Ipv6 => (IpAddr::V6(A6), IpAddr::V6(B6)),
        _ => (IpAddr::V4(A), IpAddr::V4(B)),
    };
    let sum = checksum::fold(checksum::pseudo(src, dst, p.meta.proto, p.l4().len() as u32).unwrap());
    let at = usize::from(field);
    p.l4_mut()[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    p.meta.offload.csum = Csum::Partial { start: p.meta.l4, field };
    p
}

fn header(flags: u8, kind: u8, words: [u16; 4]) -> Vec<u8> {
    let mut h = vec![flags, kind];
    h.extend(words.iter().flat_map(|w| w.to_ne_bytes()));
    h
}

#[test]
fn headers_of_ordinary_frames() {
    let frame = [0; 60];
    let none = VnetHdr::parse(&[0; 10], &frame, true).unwrap();
    assert_eq!(none, Offload::default());
    let valid = VnetHdr::parse(&header(2, 0, [0; 4]), &frame, true).unwrap();
    assert_eq!(valid.csum, Csum::Verified);
    assert_eq!(VnetHdr::parse(&[0; 9], &frame, true), Err(VnetError::Short));
    let twelve = [&header(1, 0, [0, 0, 34, 6])[..], &[1, 0]].concat();
    assert_eq!(
        VnetHdr::parse(&twelve, &frame, true).unwrap().csum,
        Csum::Partial { start: 20, field: 6 },
        "the number of buffers says nothing"
    );
}

#[test]
fn starts_count_from_the_l3_header() {
    let csum = |start, frame: &[u8], ethernet| {
        VnetHdr::parse(&header(1, 0, [0, 0, start, 16]), frame, ethernet).map(|o| o.csum)
    };
    let mut frame = [0; 80];
    assert_eq!(csum(34, &frame, true), Ok(Csum::Partial { start: 20, field: 16 }));
    assert_eq!(csum(34, &frame, false), Ok(Csum::Partial { start: 34, field: 16 }));
    frame[12..14].copy_from_slice(&[0x81, 0x00]);
    assert_eq!(csum(38, &frame, true), Ok(Csum::Partial { start: 20, field: 16 }));
    frame[12..18].copy_from_slice(&[0x88, 0xa8, 0, 5, 0x81, 0x00]);
    assert_eq!(csum(42, &frame, true), Ok(Csum::Partial { start: 20, field: 16 }));
    assert_eq!(csum(21, &frame, true), Err(VnetError::Checksum), "inside the link-layer header");
    assert_eq!(csum(62, &frame, true), Ok(Csum::Partial { start: 40, field: 16 }));
    assert_eq!(csum(63, &frame, true), Err(VnetError::Checksum), "beyond the end");
    assert_eq!(csum(u16::MAX, &frame, true), Err(VnetError::Checksum));
}

#[test]
fn kinds_of_super_frames() {
    let gso = |kind, size| VnetHdr::parse(&header(1, kind, [54, size, 34, 16]), &[0; 80], true);
    let of = |kind, ecn| Some(Gso { kind, size: 1448, ecn });
    assert_eq!(gso(1, 1448).unwrap().gso, of(GsoKind::Tcp4, false));
    assert_eq!(gso(0x81, 1448).unwrap().gso, of(GsoKind::Tcp4, true));
    assert_eq!(gso(4, 1448).unwrap().gso, of(GsoKind::Tcp6, false));
    assert_eq!(gso(5, 1448).unwrap().gso, of(GsoKind::Udp, false));
    assert_eq!(gso(3, 1448), Err(VnetError::Kind(3)));
    assert_eq!(gso(1, 0), Err(VnetError::Size));
    assert_eq!(gso(0x80, 9).unwrap().gso, None);
}

#[test]
fn written_and_read_back() {
    for (net, kind, proto, field) in [
        (Net::Ipv4, GsoKind::Tcp4, proto::TCP, 16),
        (Net::Ipv6, GsoKind::Tcp6, proto::TCP, 16),
        (Net::Ipv4, GsoKind::Udp, proto::UDP, 6),
        (Net::Ipv6, GsoKind::Udp, proto::UDP, 6),
    ] {
        let l4 = if proto == proto::TCP { tcp(&[1; 3000]) } else { udp(&[1; 3000]) };
        let mut p = begin(packet(net, proto, &l4), field);
        p.meta.offload.gso = Some(Gso { kind, size: 1000, ecn: kind == GsoKind::Tcp4 });
        let hdr = VnetHdr::of(&p);
        assert_eq!(VnetHdr::parse(&hdr, p.data(), true), Ok(p.meta.offload));
        let headers = p.len() - 3000;
        assert_eq!(u16::from_ne_bytes([hdr[2], hdr[3]]), headers as u16);
        assert!(validate(&p));
        assert_eq!(segment_len(&p), headers - 14 + 1000);
        p.meta.offload.gso = None;
        assert_eq!(VnetHdr::parse(&VnetHdr::of(&p), p.data(), true), Ok(p.meta.offload));
        assert_eq!(segment_len(&p), p.l3_len());
        p.meta.offload.csum = Csum::Verified;
        assert_eq!(VnetHdr::of(&p), [0; 10]);
    }
}

#[test]
fn finishing_gives_the_checksum_a_receiver_accepts() {
    for (net, src, dst) in [(Net::Ipv4, A.into(), B.into()), (Net::Ipv6, IpAddr::V6(A6), IpAddr::V6(B6))] {
        for (proto, field, l4) in [(6, 16, tcp(b"hello")), (17, 6, udp(b"hello!!"))] {
            let mut p = begin(packet(net, proto, &l4), field);
            assert!(validate(&p) && !transport::verify(src, dst, proto, p.l4()));
            assert!(finish_checksum(&mut p));
            assert!(transport::verify(src, dst, proto, p.l4()));
            assert_eq!(p.meta.offload.csum, Csum::Wire);
            let before = p.data().to_vec();
            assert!(finish_checksum(&mut p), "nothing left to do");
            assert_eq!(p.data(), before);
        }
    }
}

#[test]
fn a_udp_sum_of_zero_is_not_none() {
    let mut l4 = udp(&[0, 0]);
    let p = begin(packet(Net::Ipv4, proto::UDP, &l4), 6);
    let sum = !checksum::checksum(p.l4());
    l4[8..].copy_from_slice(&(!sum).to_be_bytes());
    let mut p = begin(packet(Net::Ipv4, proto::UDP, &l4), 6);
    assert!(finish_checksum(&mut p));
    assert_eq!(p.l4()[6..8], [0xff, 0xff]);
}

#[test]
fn sctp_is_finished_with_its_own_checksum() {
    let mut p = packet(Net::Ipv4, proto::SCTP, &[7; 24]);
    p.meta.offload.csum = Csum::Partial { start: 20, field: 8 };
    let mut whole = p.l4().to_vec();
    sctp::fill_checksum(&mut whole);
    assert!(validate(&p) && finish_checksum(&mut p));
    assert_eq!(p.l4(), whole);
}

#[test]
fn the_packet_in_a_udp_tunnel_may_be_the_unfinished_one() {
    let inner = begin(packet(Net::Ipv4, proto::TCP, &tcp(b"inner")), 16);
    let mut p = packet(Net::Ipv4, proto::UDP, &udp(&[&[0; 8], inner.data()].concat()));
    p.meta.offload.csum = Csum::Partial { start: 20 + 8 + 8 + 14 + 20, field: 16 };
    assert!(validate(&p) && finish_checksum(&mut p));
    assert!(transport::verify(A.into(), B.into(), 6, &p.l4()[8 + 8 + 14 + 20..]));
    p.meta.offload.csum = Csum::Partial { start: 22, field: 6 };
    assert!(!validate(&p), "but not the outer ports");
}

#[test]
fn lies_are_refused() {
    let good = begin(packet(Net::Ipv4, proto::TCP, &tcp(&[1; 3000])), 16);
    let gso = |kind, size| Some(Gso { kind, size, ecn: false });
    let lie = |change: &dyn Fn(&mut Packet)| {
        let mut p = good.clone();
        change(&mut p);
        !validate(&p)
    };
    assert!(!lie(&|_| {}));
    assert!(!lie(&|p| p.meta.offload.gso = gso(GsoKind::Tcp4, 1448)));
    assert!(lie(&|p| p.meta.offload.gso = gso(GsoKind::Tcp6, 1448)));
    assert!(lie(&|p| p.meta.offload.gso = gso(GsoKind::Udp, 1448)));
    assert!(lie(&|p| p.meta.offload.gso = gso(GsoKind::Tcp4, 7)), "segments too small to be meant");
    assert!(lie(&|p| p.meta.offload.csum = Csum::Partial { start: 20, field: 6 }));
    assert!(lie(&|p| p.meta.offload.csum = Csum::Partial { start: 24, field: 16 }));
    assert!(lie(&|p| p.meta.frag = Frag::First));
    assert!(lie(&|p| p.meta.l4 = 0));
    assert!(lie(&|p| p.truncate(14 + 20 + 17)), "cut before the field ends");
    assert!(lie(&|p| {
        p.meta.offload.gso = gso(GsoKind::Tcp4, 1448);
        p.l4_mut()[12] = 0xf0;
        p.truncate(14 + 20 + 59);
    }));
    assert!(lie(&|p| p.meta.offload = INVALID));
    assert!(lie(&|p| {
        p.meta.offload = Offload { csum: Csum::Wire, gso: gso(GsoKind::Tcp4, 1448) };
        p.meta.frag = Frag::Later;
    }));
    let mut p = begin(packet(Net::Ipv4, proto::UDP, &udp(&[1; 1290])), 6);
    p.meta.offload.gso = gso(GsoKind::Udp, 10);
    assert!(!validate(&p), "more datagrams than Linux makes");
    p.meta.offload.gso = gso(GsoKind::Udp, 11);
    assert!(validate(&p));
    p.meta.offload.csum = Csum::Wire;
    assert!(!validate(&p));
    let mut p = good.clone();
    p.meta.offload = INVALID;
    assert!(!finish_checksum(&mut p) && p.data() == good.data());
}

#[test]
fn a_stripped_tag_comes_back() {
    let mut p = begin(packet(Net::Ipv4, proto::UDP, &udp(b"x")), 6);
    let (offload, l3) = (p.meta.offload, p.l3().to_vec());
    assert!(restore_tag(&mut p, ethernet::VLAN, 0x0064));
    assert_eq!(p.data()[12..18], [0x81, 0x00, 0x00, 0x64, 0x08, 0x00]);
    assert_eq!((p.l3(), p.meta.offload), (&l3[..], offload));
    assert_eq!(l2_len(p.data(), true), 18);
    p.meta.l3 = 0;
    assert!(restore_tag(&mut p, 0x88a8, 7));
    assert_eq!(
        (p.meta.l3, l2_len(p.data(), true), p.data()[12..16].to_vec()),
        (0, 22, vec![0x88, 0xa8, 0, 7])
    );
    let mut tight = Packet::over(vec![0; 64].into(), 3);
    tight.append(&[0; 20]);
    assert!(!restore_tag(&mut tight, 0x8100, 1) && tight.len() == 20);
    assert!(!restore_tag(&mut Packet::from_slice(&[0; 13]), 0x8100, 1));
}

proptest! {
    #[test]
    fn any_header_and_frame(
        hdr in proptest::collection::vec(any::<u8>(), 0..14),
        kind in prop_oneof![Just(0u8), Just(1), Just(4), Just(5), Just(0x81), any::<u8>()],
        flags in 0u8..4,
        frame in proptest::collection::vec(any::<u8>(), 0..200),
        (l3, l4) in (0u16..60, 0u16..80),
        (net, proto) in (0usize..4, prop_oneof![Just(6u8), Just(17), Just(132), any::<u8>()]),
    ) {
        let mut hdr = hdr;
        for (at, byte) in [(0, flags), (1, kind)] {
            if let Some(b) = hdr.get_mut(at) {
                *b = byte;
            }
        }
        for ethernet in [false, true] {
            let offload = VnetHdr::parse(&hdr, &frame, ethernet).unwrap_or(INVALID);
            let mut p = Packet::from_slice(&frame);
            p.meta = Meta {
                net: [Net::None, Net::Ipv4, Net::Ipv6, Net::Arp][net],
                l3,
                l4,
                proto,
                offload,
                ..Meta::default()
            };
            let valid = validate(&p);
            let _ = VnetHdr::of(&p);
            prop_assert!(segment_len(&p) <= p.l3_len());
            let finished = finish_checksum(&mut p);
            prop_assert!(finished || !valid || offload.gso.is_some());
        }
    }
}
