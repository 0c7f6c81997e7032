//! Tuples of packets, of their answers, and of what ICMP errors quote.

use proptest::prelude::*;

use super::*;
use crate::conntrack::testing::{host, host6, packet, packet_of, server, server6, tuple4, tuple6, upper};
use crate::packet::flow::pack;

fn icmp(t: Tuple, proto: u8, kind: u8, code: u8, id: u16) -> Tuple {
    Tuple { proto, src_port: id, dst_port: u16::from(kind) << 8 | u16::from(code), ..t }
}

#[test]
fn of_every_protocol() {
    for base in [tuple4(1, 2), tuple6(1, 2)] {
        for proto in [6, 17, 132, 136] {
            let t = Tuple { proto, ..base };
            let l4 = [&t.src_port.to_be_bytes()[..], &t.dst_port.to_be_bytes(), &[0; 16]].concat();
            assert_eq!(of(&packet(t.src(), t.dst(), proto, &l4)), Some(t));
            assert_eq!(of(&packet(t.src(), t.dst(), proto, &l4[..3])), None);
        }
        // No ports: unknown protocols, DCCP (unknown to 6.18), GRE.
        for proto in [2, 33, 47, 50, 89, 253] {
            let t = Tuple { proto, src_port: 0, dst_port: 0, ..base };
            assert_eq!(of(&packet(t.src(), t.dst(), proto, &[0, 0, 2, 3, 4, 5, 6, 7])), Some(t));
        }
    }
}

#[test]
fn nothing_of_fragments_and_of_what_is_hidden() {
    let mut p = packet_of(&tuple4(1, 2));
    for frag in [Frag::First, Frag::Later] {
        p.meta.frag = frag;
        assert_eq!(of(&p), None);
    }
    p.meta.frag = Frag::Whole;
    p.meta.net = Net::Arp;
    assert_eq!(of(&p), None);
    let none = packet(host6(1), server6(2), proto::NONE, &[]);
    assert_eq!(of(&none), None);
}

#[test]
fn icmp_queries_and_their_answers() {
    let (v4, v6) = (tuple4(1, 2), tuple6(1, 2));
    let pairs = [(1, 8, 0), (1, 13, 14), (1, 15, 16), (1, 17, 18), (58, 128, 129), (58, 139, 140)];
    for (proto, ask, answer) in pairs {
        let base = if proto == 1 { v4 } else { v6 };
        let asked = icmp(base, proto, ask, 3, 77);
        assert_eq!(of(&packet_of(&asked)), Some(asked));
        let answered = icmp(Tuple { src: base.dst, dst: base.src, ..base }, proto, answer, 3, 77);
        assert_eq!(invert(&asked), Some(answered));
        assert_eq!(invert(&answered), Some(asked));
        assert!(is_query(&asked) && !is_query(&answered));
    }
    for (proto, kind) in [(1, 3), (1, 9), (1, 10), (1, 11), (1, 40), (58, 1), (58, 135), (58, 137)] {
        let base = if proto == 1 { v4 } else { v6 };
        assert_eq!(of(&packet_of(&icmp(base, proto, kind, 0, 0))), None);
        assert_eq!(invert(&icmp(base, proto, kind, 0, 0)), None);
    }
    assert_eq!(of(&packet(host(1), server(1), 1, &[8, 0, 0, 0, 0, 1, 0])), None, "cut short");
}

#[test]
fn gre_versions() {
    let gre = |l4: &[u8]| of(&packet(host(1), server(1), proto::GRE, l4)).map(|t| (t.src_port, t.dst_port));
    assert_eq!(gre(&[0, 0, 8, 0]), Some((0, 0)));
    assert_eq!(gre(&[0x20, 0, 8, 0, 1, 2, 3, 4]), Some((0, 0)), "a key is not looked at");
    assert_eq!(gre(&[0x30, 1, 0x88, 0x0b, 0, 8, 0x12, 0x34]), Some((0, 0x1234)));
    assert_eq!(gre(&[0x30, 1, 0x08, 0x00, 0, 8, 0x12, 0x34]), None, "version 1 carries PPP");
    assert_eq!(gre(&[0x30, 1, 0x88]), Some((0, 0)));
    assert_eq!(gre(&[]), Some((0, 0)));
    let t = Tuple { proto: proto::GRE, src_port: 0, dst_port: 5, ..tuple4(1, 2) };
    assert_eq!(invert(&t).map(|t| (t.src_port, t.dst_port)), Some((5, 0)));
}

/// An error from `from` to the quoted packet's sender.
fn error(quoted: &Packet, kind: u8, cut: usize) -> Packet {
    let t = of(quoted).unwrap();
    let from = if t.v6 { host6(99) } else { host(99) };
    let body = &quoted.data()[..cut.min(quoted.len())];
    let icmp = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], body].concat();
    packet(from, t.src(), if t.v6 { proto::ICMPV6 } else { proto::ICMP }, &icmp)
}

#[test]
fn what_errors_quote() {
    for kind in [3, 4, 5, 11, 12] {
        let quoted = packet_of(&tuple4(1, 2));
        let found = inner(&error(&quoted, kind, 28)).unwrap();
        assert_eq!((found.tuple, found.l3, found.l4), (tuple4(1, 2), 28, 48));
        assert_eq!(inner(&error(&quoted, kind, 23)), None, "ports cut off");
        assert_eq!(inner(&error(&quoted, kind, 19)), None, "header cut off");
    }
    let quoted = packet_of(&tuple6(1, 2));
    for kind in [1, 2, 3, 4, 100, 127] {
        let found = inner(&error(&quoted, kind, 48)).unwrap();
        assert_eq!((found.tuple, found.l3, found.l4), (tuple6(1, 2), 48, 88));
        assert_eq!(inner(&error(&quoted, kind, 43)), None);
    }
    for kind in [128, 135, 137] {
        assert_eq!(inner(&error(&quoted, kind, 48)), None, "no error");
    }
    assert_eq!(inner(&error(&packet_of(&tuple4(1, 2)), 8, 28)), None, "no error");
}

#[test]
fn quoted_fragments_and_options() {
    let mut quoted = packet_of(&tuple4(1, 2));
    quoted.data_mut()[6] = 0x20;
    assert!(inner(&error(&quoted, 3, 28)).is_some(), "a first fragment has its ports");
    quoted.data_mut()[7] = 1;
    assert_eq!(inner(&error(&quoted, 3, 28)), None, "a later one hasn't");
    // Options push the ports back.
    let mut with = packet_of(&tuple4(1, 2)).data().to_vec();
    with[0] = 0x46;
    with.splice(20..20, [1, 1, 1, 0]);
    let mut p = Packet::from_slice(&with);
    p.meta = quoted.meta;
    p.meta.l4 = 24;
    let found = inner(&error(&p, 3, 100)).unwrap();
    assert_eq!((found.tuple, found.l4 - found.l3), (tuple4(1, 2), 24));
    with[0] = 0x44;
    let mut icmp = vec![3, 0, 0, 0, 0, 0, 0, 0];
    icmp.extend(&with);
    assert_eq!(inner(&packet(server(1), host(1), 1, &icmp)), None, "a header of 16 bytes");
}

#[test]
fn of_some_protocols_a_header_is_quoted_enough() {
    for (v6, len, kind) in [(false, 20, 3), (true, 40, 1)] {
        for proto in [proto::GRE, 50, 99] {
            let t = Tuple { proto, src_port: 0, dst_port: 0, ..if v6 { tuple6(1, 2) } else { tuple4(1, 2) } };
            let quoted = packet(t.src(), t.dst(), proto, b"something");
            assert_eq!(inner(&error(&quoted, kind, len)).map(|i| i.tuple), Some(t), "{t:?}");
            assert_eq!(inner(&error(&quoted, kind, len - 1)), None);
        }
    }
    // But not of none.
    let quoted = packet(host6(1), server6(2), proto::NONE, b"");
    let icmp = [&[1, 0, 0, 0, 0, 0, 0, 0][..], quoted.data()].concat();
    assert_eq!(inner(&packet(server6(2), host6(1), proto::ICMPV6, &icmp)), None);
}

#[test]
fn quoted_extension_headers() {
    let t = tuple6(1, 2);
    let l4 = upper(&t, b"");
    let whole = |chain: &[u8], first: u8| {
        let body = [chain, &l4].concat();
        let q = packet(t.src(), t.dst(), first, &body);
        let icmp = [&[1, 0, 0, 0, 0, 0, 0, 0][..], q.data()].concat();
        inner(&packet(server6(9), t.src(), proto::ICMPV6, &icmp))
    };
    let found = whole(&[17, 0, 1, 4, 0, 0, 0, 0], proto::DEST_OPTIONS).unwrap();
    assert_eq!((found.tuple, found.l4 - found.l3), (t, 48));
    assert!(whole(&[17, 0, 0, 1, 0, 0, 0, 5], proto::FRAGMENT).is_some());
    assert_eq!(whole(&[17, 0, 0, 9, 0, 0, 0, 5], proto::FRAGMENT), None);
    assert_eq!(whole(&[17, 200, 0, 0, 0, 0, 0, 0], proto::DEST_OPTIONS), None, "beyond the quote");
}

#[test]
fn what_is_quoted_may_be_icmp_too() {
    let asked = icmp(tuple4(1, 2), 1, 8, 0, 7);
    let found = inner(&error(&packet_of(&asked), 3, 28)).unwrap();
    assert_eq!(found.tuple, asked);
    assert_eq!(pack(found.tuple.src()), asked.src);
    // An error about an error: its tuple is read, and can't be turned round.
    let unreachable = packet(server(1), host(1), 1, &[3, 1, 0, 0, 0, 0, 0, 0]);
    let icmp = [&[3, 0, 0, 0, 0, 0, 0, 0][..], unreachable.data()].concat();
    let about = inner(&packet(host(9), server(1), 1, &icmp)).unwrap();
    assert_eq!(invert(&about.tuple), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        l4 in 0..130u16,
        proto in prop_oneof![Just(1u8), Just(58), Just(47), any::<u8>()],
        v6 in any::<bool>(),
    ) {
        let mut p = Packet::from_slice(&bytes);
        p.meta.net = if v6 { Net::Ipv6 } else { Net::Ipv4 };
        p.meta.proto = proto;
        p.meta.l4 = l4;
        if let Some(t) = of(&p) {
            prop_assert_eq!(invert(&invert(&t).unwrap()), Some(t));
        }
        if let Some(i) = inner(&p) {
            prop_assert!(i.l3 < i.l4 && i.l4 <= p.l3_len());
        }
    }
}
