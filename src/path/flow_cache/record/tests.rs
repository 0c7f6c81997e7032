//! A record rewrites a packet as NAT and the walk do, byte for byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::base::Instant;
use crate::conntrack::{Flow, State, nat};
use crate::filter::Witness;
use crate::packet::flow::pack;
use crate::packet::{Frag, Net, Offload, Tuple};
use crate::wire::ipv4::{Ipv4, Ipv4Header};
use crate::wire::ipv6::{Ipv6, Ipv6Header};
use crate::wire::{checksum, icmpv6};

/// A packet as ingress has looked at it.
fn packet(src: IpAddr, dst: IpAddr, kind: u8, ports: (u16, u16), ttl: u8, payload: &[u8]) -> Packet {
    let mut l4 = match kind {
        proto::TCP => vec![0; tcp::HEADER_LEN],
        _ => vec![0; udp::HEADER_LEN],
    };
    l4.extend_from_slice(payload);
    let len = l4.len() as u16;
    match kind {
        proto::TCP => l4[12..14].copy_from_slice(&[5 << 4, 16]),
        proto::UDP => l4[4..6].copy_from_slice(&len.to_be_bytes()),
        proto::ICMP => l4[0] = icmpv4::ECHO,
        _ => l4[0] = icmpv6::ECHO,
    }
    match kind {
        proto::TCP | proto::UDP => {
            l4[..2].copy_from_slice(&ports.0.to_be_bytes());
            l4[2..4].copy_from_slice(&ports.1.to_be_bytes());
        }
        _ => l4[4..6].copy_from_slice(&ports.0.to_be_bytes()),
    }
    let mut p = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let header = Ipv4Header {
                src,
                dst,
                proto: kind,
                ttl,
                tos: 3,
                ident: 77,
                dont_fragment: true,
                payload_len: l4.len(),
            };
            let mut b = vec![0; 20];
            header.emit(&mut b);
            Packet::from_slice(&[b, l4].concat())
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = Ipv6Header {
                src,
                dst,
                next_header: kind,
                hop_limit: ttl,
                traffic_class: 3,
                flow_label: 0xabcde,
                payload_len: l4.len(),
            };
            let mut b = vec![0; 40];
            header.emit(&mut b);
            Packet::from_slice(&[b, l4].concat())
        }
        _ => unreachable!("one family"),
    };
    p.meta.net = if src.is_ipv6() { Net::Ipv6 } else { Net::Ipv4 };
    p.meta.l4 = if src.is_ipv6() { 40 } else { 20 };
    p.meta.proto = kind;
    p.meta.frag = Frag::Whole;
    p
}

/// Writes a checksum, or begins one, or leaves what is there.
fn sum(p: &mut Packet, src: IpAddr, dst: IpAddr, how: u8) {
    let kind = p.meta.proto;
    let at = match kind {
        proto::TCP => tcp::CHECKSUM_AT,
        proto::UDP => udp::CHECKSUM_AT,
        _ => ICMP_CHECKSUM_AT,
    };
    let pseudo = checksum::pseudo(src, dst, kind, p.l4().len() as u32).filter(|_| kind != proto::ICMP);
    let field = match how {
        0 => !fold(pseudo.unwrap_or(0) + checksum::sum(p.l4())),
        1 => {
            p.meta.offload =
                Offload { csum: Csum::Partial { start: p.meta.l4, field: at as u16 }, gso: None };
            fold(pseudo.unwrap_or(0))
        }
        2 => 0,
        _ => 0xffff,
    };
    p.l4_mut()[at..at + 2].copy_from_slice(&field.to_be_bytes());
}

/// The walk's part: NAT's two ends, and the hop between them.
fn walked(p: &mut Packet, flow: &Flow, dir: Direction) -> Rewritten {
    let mut rewritten = Rewritten::default();
    for manip in [Manip::Dst, Manip::Src] {
        if nat::translate(p, flow, dir, manip).unwrap() {
            rewritten.add(manip);
        }
        if manip == Manip::Dst {
            match p.meta.net {
                Net::Ipv4 => Ipv4::new(p.l3_mut()).unwrap().decrement_ttl(),
                _ => Ipv6::new(p.l3_mut()).unwrap().decrement_hop_limit(),
            }
        }
    }
    rewritten
}

/// Addresses some of which make sums that have two forms.
fn address(v6: bool) -> BoxedStrategy<IpAddr> {
    match v6 {
        false => prop_oneof![
            any::<u32>().prop_map(|n| IpAddr::from(Ipv4Addr::from(n))),
            Just(IpAddr::from([255, 255, 0, 0])),
            Just(IpAddr::from([10, 0, 0, 1])),
        ]
        .boxed(),
        true => prop_oneof![
            any::<u128>().prop_map(|n| IpAddr::from(Ipv6Addr::from(n))),
            Just(IpAddr::from(Ipv6Addr::from(0xffff_u128 << 112))),
        ]
        .boxed(),
    }
}

type Case = (u8, [IpAddr; 4], [u16; 4], [bool; 2], bool);

fn case() -> impl Strategy<Value = Case> {
    let port = || prop_oneof![any::<u16>(), Just(0u16), Just(0xffffu16)];
    any::<(bool, u8)>().prop_flat_map(move |(v6, kind)| {
        let icmp = if v6 { proto::ICMPV6 } else { proto::ICMP };
        let kind = [proto::TCP, proto::UDP, icmp][usize::from(kind % 3)];
        let addresses = prop::array::uniform4(address(v6));
        (Just(kind), addresses, [port(), port(), port(), port()], any::<[bool; 2]>(), any::<bool>())
    })
}

/// The flow between two ends that NAT makes other ends of.
fn flow((kind, a, ports, nat, _): &Case) -> Flow {
    let icmp = matches!(*kind, proto::ICMP | proto::ICMPV6);
    let v6 = a[0].is_ipv6();
    let (ask, answer) = if v6 { (128, 129) } else { (8, 0) };
    let [snat, dnat] = *nat;
    let src = if snat { a[2] } else { a[0] };
    let dst = if dnat { a[3] } else { a[1] };
    let sport = if snat { ports[2] } else { ports[0] };
    let dport = if dnat { ports[3] } else { ports[1] };
    let tuple = |src: IpAddr, dst: IpAddr, sport, dport| Tuple {
        src: pack(src),
        dst: pack(dst),
        src_port: sport,
        dst_port: dport,
        proto: *kind,
        v6,
    };
    let tuples = match icmp {
        true => [tuple(a[0], a[1], ports[0], ask << 8), tuple(dst, src, sport, answer << 8)],
        false => [tuple(a[0], a[1], ports[0], ports[1]), tuple(dst, src, dport, sport)],
    };
    let mut status = Status::CONFIRMED;
    if snat {
        status.set(Status::SRC_NAT);
    }
    if dnat {
        status.set(Status::DST_NAT);
    }
    Flow { tuples, status, mark: 0, state: State::Other, deadline: Instant::ZERO, masquerade: None }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_record_of_one_packet_does_to_others_what_the_walk_does(
        case in case(),
        bodies in prop::array::uniform2(prop::collection::vec(any::<u8>(), 0..24)),
        (ttls, sums) in (prop::array::uniform2(2u8..), prop::array::uniform2(0u8..4)),
    ) {
        let flow = flow(&case);
        let (kind, reply) = (case.0, case.4);
        let icmp = matches!(kind, proto::ICMP | proto::ICMPV6);
        let dir = if reply { Direction::Reply } else { Direction::Original };
        let t = flow.tuple(dir);
        let (src, dst) = (t.src(), t.dst());
        let ports = if icmp { (t.src_port, 0) } else { (t.src_port, t.dst_port) };
        let make = |n: usize| {
            let mut p = packet(src, dst, kind, ports, ttls[n], &bodies[n]);
            if icmp && dir == Direction::Reply {
                p.l4_mut()[0] = if kind == proto::ICMP { icmpv4::ECHO_REPLY } else { icmpv6::ECHO_REPLY };
            }
            sum(&mut p, src, dst, sums[n]);
            p
        };
        let look = |p: &Packet| super::super::key::look(p.data(), None, LinkId(3));
        // The first is walked and recorded.
        let (mut first, mut other) = (make(0), make(1));
        let probe = look(&first).unwrap();
        let rewritten = walked(&mut first, &flow, dir);
        let witness = Witness::default();
        let made = Made {
            probe: &probe,
            witness: &witness,
            rewritten,
            flow: None,
            egress: LinkId(4),
            mtu: 1500,
            trail: 0,
        };
        let record = Record::of(&first, &made).unwrap();
        // The second is done both ways.
        let probe = look(&other).unwrap();
        prop_assert!(record.key == probe.key && record.is_true_of(&probe));
        let mut replayed = other.clone();
        walked(&mut other, &flow, dir);
        prop_assert_eq!(record.rewrite(&mut replayed, &probe), Some(()));
        prop_assert_eq!(replayed.data(), other.data());
        prop_assert_eq!(replayed.meta, other.meta);
    }
}
