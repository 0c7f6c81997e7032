//! Super-frames cut: each segment by its bytes, what is none, any shape, any bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::packet::{Frag, Meta};
use crate::wire::{ipv6_ext, proto, transport};

const SRC: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const DST: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
const SRC6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 2);
const DST6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 2);

/// How a super-frame is made up.
#[derive(Debug, Clone)]
struct Shape {
    v6: bool,
    udp: bool,
    /// IPv4 options, or a hop-by-hop header with as much padding; a multiple of 8, up to 40.
    extra: usize,
    /// TCP options; a multiple of 4, up to 40.
    options: usize,
    /// L2 bytes: 0, 14 or 18.
    l2: usize,
    payload: usize,
    size: u16,
    ecn: bool,
    /// Whether the checksum is begun (else it is finished).
    partial: bool,
    flags: u8,
    seq: u32,
    ident: u16,
}

const SHAPE: Shape = Shape {
    v6: false,
    udp: false,
    extra: 0,
    options: 12,
    l2: 14,
    payload: 3000,
    size: 1448,
    ecn: true,
    partial: true,
    flags: tcp::ACK | tcp::PSH | tcp::FIN | tcp::CWR,
    seq: 0xffff_fc00,
    ident: 0xffff,
};

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn build(s: &Shape) -> Packet {
    let proto = if s.udp { proto::UDP } else { proto::TCP };
    let mut l4 = if s.udp { vec![0; 8] } else { vec![0; 20 + s.options] };
    l4.extend(payload(s.payload));
    l4[..4].copy_from_slice(&[0x10, 0, 0, 7]);
    let l4_len = l4.len() as u16;
    if s.udp {
        l4[4..6].copy_from_slice(&l4_len.to_be_bytes());
    } else {
        l4[4..8].copy_from_slice(&s.seq.to_be_bytes());
        l4[12] = ((20 + s.options) / 4 * 16) as u8;
        l4[13] = s.flags;
        l4[20..20 + s.options].fill(1);
    }
    let (src, dst) = if s.v6 { (SRC6.into(), DST6.into()) } else { (SRC.into(), DST.into()) };
    let field = if s.udp { 6 } else { 16 };
    let pseudo = checksum::fold(checksum::pseudo(src, dst, proto, l4.len() as u32).unwrap());
    l4[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
    if !s.partial {
        let csum = checksum::checksum(&l4);
        l4[field..field + 2].copy_from_slice(&csum.to_be_bytes());
    }
    let mut b = vec![0xe7; s.l2];
    let l4_at = if s.v6 {
        b.extend([0x60, 0, 0, 9]);
        b.extend((l4_len + s.extra as u16).to_be_bytes());
        b.extend([if s.extra > 0 { 0 } else { proto }, 64]);
        b.extend(SRC6.octets());
        b.extend(DST6.octets());
        if s.extra > 0 {
            b.extend([proto, (s.extra / 8 - 1) as u8]);
            // One unknown option of no consequence over the rest.
            b.extend([0x1e, (s.extra - 4) as u8]);
            b.extend(vec![9; s.extra - 4]);
        }
        40 + s.extra
    } else {
        let header_len = 20 + s.extra;
        b.extend([0x40 | (header_len / 4) as u8, 0]);
        b.extend((l4_len + header_len as u16).to_be_bytes());
        b.extend(s.ident.to_be_bytes());
        b.extend([0x40, 0, 64, proto, 0, 0]);
        b.extend(SRC.octets());
        b.extend(DST.octets());
        b.extend(vec![1; s.extra]);
        Ipv4::new(&mut b[s.l2..]).unwrap().fill_checksum();
        header_len
    };
    b.extend(l4);
    let mut p = Packet::from_slice(&b);
    let kind = match (s.udp, s.v6) {
        (true, _) => GsoKind::Udp,
        (false, false) => GsoKind::Tcp4,
        (false, true) => GsoKind::Tcp6,
    };
    p.meta = Meta {
        net: if s.v6 { Net::Ipv6 } else { Net::Ipv4 },
        l3: s.l2 as u16,
        l4: l4_at as u16,
        proto,
        mark: 5,
        ..Meta::default()
    };
    p.meta.offload = Offload {
        csum: if s.partial {
            Csum::Partial { start: l4_at as u16, field: field as u16 }
        } else {
            Csum::Verified
        },
        gso: Some(Gso { kind, size: s.size, ecn: s.ecn }),
    };
    p
}

/// Cuts a super-frame of this shape and checks everything a receiver could.
fn check(s: &Shape) -> Vec<Packet> {
    let whole = build(s);
    let mut pool = Pool::new(64);
    let mut out = vec![];
    let count = segment(whole.clone(), &mut pool, &mut out).expect("it can be cut");
    assert_eq!(count, out.len());
    assert_eq!(count, s.payload.div_ceil(s.size.into()).max(1));

    let headers = headers_len(&whole).unwrap();
    let mut joined = Vec::<u8>::new();
    for (i, p) in out.iter().enumerate() {
        assert_eq!(p.data()[..s.l2], whole.data()[..s.l2]);
        assert_eq!(p.meta.offload, Offload::default());
        assert_eq!(p.meta.column, if i == 0 { Column::Received } else { Column::Originated });
        assert_eq!((p.meta.l3, p.meta.l4, p.meta.mark), (whole.meta.l3, whole.meta.l4, 5));
        assert!(p.l3_len() <= headers + usize::from(s.size));
        let (src, dst): (IpAddr, IpAddr) = if s.v6 {
            let ip = Ipv6::new(p.l3()).unwrap();
            assert_eq!(usize::from(ip.payload_len()), p.l3_len() - 40);
            assert_eq!(ipv6_ext::walk(p.l3()).unwrap().proto, p.meta.proto);
            (ip.src().into(), ip.dst().into())
        } else {
            let ip = Ipv4::new(p.l3()).unwrap();
            assert!(ip.verify_checksum());
            assert_eq!(usize::from(ip.total_len()), p.l3_len());
            assert_eq!(ip.ident(), s.ident.wrapping_add(i as u16));
            (ip.src().into(), ip.dst().into())
        };
        assert!(transport::verify(src, dst, p.meta.proto, p.l4()), "segment {i}");
        let (first, last) = (i == 0, i + 1 == count);
        if s.udp {
            let udp = Udp::new(p.l4()).unwrap();
            assert_eq!(usize::from(udp.length()), p.l4().len());
            assert_ne!(udp.checksum(), 0);
        } else {
            let tcp = Tcp::new(p.l4()).unwrap();
            assert_eq!(tcp.seq(), s.seq.wrapping_add(joined.len() as u32));
            assert_eq!(tcp.options(), vec![1; s.options]);
            let mut flags = s.flags;
            if !last {
                flags &= !(tcp::FIN | tcp::PSH);
            }
            if !first && s.ecn {
                flags &= !tcp::CWR;
            }
            assert_eq!(tcp.flags(), flags);
        }
        joined.extend(&p.l3()[headers..]);
    }
    assert_eq!(joined, payload(s.payload));
    out
}

#[test]
fn tcp_over_ipv4() {
    let out = check(&SHAPE);
    let lens: Vec<usize> = out.iter().map(|p| p.len()).collect();
    assert_eq!(lens, [14 + 20 + 32 + 1448, 14 + 20 + 32 + 1448, 14 + 20 + 32 + 104]);
}

#[test]
fn options_extensions_and_the_longest() {
    check(&Shape { extra: 40, options: 40, ..SHAPE });
    check(&Shape { v6: true, extra: 16, l2: 18, ..SHAPE });
    check(&Shape { udp: true, ..SHAPE });
    check(&Shape { udp: true, v6: true, extra: 8, l2: 0, ..SHAPE });
    check(&Shape { partial: false, ..SHAPE });
    check(&Shape { options: 0, payload: 65_495, ..SHAPE });
    check(&Shape { v6: true, options: 0, payload: 65_515, ..SHAPE });
    check(&Shape { payload: 100, ..SHAPE });
    check(&Shape { payload: 0, ..SHAPE });
    check(&Shape { ecn: false, ..SHAPE });
}

#[test]
fn the_sum_of_a_routing_header_is_the_senders() {
    // The pseudo-header names the last address on the route, not the one in the header.
    let mut p = build(&Shape { v6: true, ..SHAPE });
    let last: Ipv6Addr = "fd99::9".parse().unwrap();
    let sum = checksum::fold(checksum::pseudo_v6(SRC6, last, 6, p.l4().len() as u32));
    p.l4_mut()[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut out = vec![];
    segment(p, &mut Pool::new(4), &mut out).unwrap();
    assert!(out.iter().all(|p| transport::verify(SRC6.into(), last.into(), 6, p.l4())));
}

#[test]
fn what_is_no_super_frame_comes_back() {
    let (mut pool, mut out) = (Pool::new(4), vec![]);
    let good = build(&SHAPE);
    let lies: [fn(&mut Packet); 5] = [
        |p| p.meta.offload.gso = None,
        |p| p.meta.frag = Frag::First,
        |p| p.meta.net = Net::Arp,
        |p| p.l4_mut()[12] = 0xf0,
        |p| p.meta.offload.gso.as_mut().unwrap().kind = GsoKind::Udp,
    ];
    for (i, lie) in lies.iter().enumerate() {
        let mut p = good.clone();
        lie(&mut p);
        if i == 3 {
            p.truncate(14 + 20 + 32);
        }
        let bytes = p.data().to_vec();
        let back = segment(p, &mut pool, &mut out).expect_err("refused");
        assert_eq!(back.data(), bytes);
    }
    assert!(out.is_empty());
}

proptest! {
    #[test]
    fn any_shape(
        (v6, udp, ecn, partial) in any::<(bool, bool, bool, bool)>(),
        extra in 0usize..=5, options in 0usize..=10, l2 in prop_oneof![Just(0usize), Just(14), Just(18)],
        payload in 0usize..20_000, size in 200u16..9_000,
        (flags, seq, ident) in any::<(u8, u32, u16)>(),
    ) {
        let (extra, options) = (extra * 8, options * 4);
        let partial = partial || udp;
        check(&Shape { v6, udp, extra, options, l2, payload, size, ecn, partial, flags, seq, ident });
    }

    #[test]
    fn any_bytes(
        frame in proptest::collection::vec(any::<u8>(), 0..300),
        (l3, l4) in (0u16..40, 0u16..80),
        (net, proto, kind) in (0usize..3, prop_oneof![Just(6u8), Just(17)], 0usize..3),
        size in 1u16..100,
        start in prop_oneof![Just(None), Just(Some(6u16)), Just(Some(16))],
    ) {
        let mut p = Packet::from_slice(&frame);
        p.meta = Meta { net: [Net::None, Net::Ipv4, Net::Ipv6][net], l3, l4, proto, ..Meta::default() };
        p.meta.offload = Offload {
            csum: start.map_or(Csum::Wire, |field| Csum::Partial { start: l4, field }),
            gso: Some(Gso { kind: [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp][kind], size, ecn: false }),
        };
        let mut out = vec![];
        let given = segment(p, &mut Pool::new(8), &mut out);
        prop_assert_eq!(given.unwrap_or(0), out.len());
    }
}
