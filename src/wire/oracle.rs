//! The views held against etherparse: what it builds is read alike and its checksums verify; of frames
//! that were damaged, whatever it still accepts is read alike, and nothing here panics on the rest.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse as ep;
use etherparse::{LinkExtSlice, LinkSlice, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::arp::{Arp, Op};
use super::ethernet::Ethernet;
use super::icmpv4::Icmpv4;
use super::icmpv6::Icmpv6;
use super::ipv4::Ipv4;
use super::ipv6::Ipv6;
use super::tcp::Tcp;
use super::udp::Udp;
use super::vlan::Vlan;
use super::{checksum, describe, ipv4_options, ipv6_ext, ndp, proto, tcp, transport};

/// What etherparse is told to build.
#[derive(Debug, Clone)]
struct Shape {
    vlans: Vec<u16>,
    v6: bool,
    src: u128,
    dst: u128,
    ttl: u8,
    tos: u8,
    ident: u16,
    fragment: Option<(u16, bool)>,
    /// IPv4 options, a multiple of 4.
    options: usize,
    extensions: bool,
    upper: Upper,
    payload: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Upper {
    Udp,
    Tcp { seq: u32, ack: u32, window: u16, flags: u8, options: usize },
    Echo,
}

fn shape() -> impl Strategy<Value = Shape> {
    let upper = prop_oneof![
        Just(Upper::Udp),
        any::<(u32, u32, u16, u8)>().prop_flat_map(|(seq, ack, window, flags)| (0usize..=10)
            .prop_map(move |options| Upper::Tcp { seq, ack, window, flags, options: options * 4 })),
        Just(Upper::Echo),
    ];
    (
        (proptest::collection::vec(0u16..4096, 0..=2), any::<bool>(), any::<u128>(), any::<u128>()),
        (any::<u8>(), any::<u8>(), any::<u16>(), 0usize..=10, any::<bool>()),
        proptest::option::weighted(0.2, (0u16..8191, any::<bool>())),
        upper,
        proptest::collection::vec(any::<u8>(), 0..120),
    )
        .prop_map(
            |((vlans, v6, src, dst), (ttl, tos, ident, options, extensions), fragment, upper, payload)| {
                Shape {
                    vlans,
                    v6,
                    src,
                    dst,
                    ttl,
                    tos,
                    ident,
                    fragment,
                    options: options * 4,
                    extensions,
                    upper,
                    payload,
                }
            },
        )
}

fn build(s: &Shape) -> Vec<u8> {
    let eth = PacketBuilder::ethernet2([2, 0, 0, 0, 9, 9], [2, 0, 0, 0, 1, 1]);
    let ip = headers(s);
    let vlan = |id: u16| ep::VlanId::try_new(id).unwrap();
    let ip = match s.vlans[..] {
        [] => eth.ip(ip),
        [a] => eth.single_vlan(vlan(a)).ip(ip),
        [a, b, ..] => eth.double_vlan(vlan(a), vlan(b)).ip(ip),
    };
    let mut out = vec![];
    match s.upper {
        Upper::Udp => ip.udp(4000, 7).write(&mut out, &s.payload).unwrap(),
        Upper::Tcp { seq, ack, window, flags, options } => {
            let mut h = ep::TcpHeader::new(40_000, 80, seq, window);
            h.acknowledgment_number = ack;
            h.fin = flags & tcp::FIN != 0;
            h.syn = flags & tcp::SYN != 0;
            h.rst = flags & tcp::RST != 0;
            h.psh = flags & tcp::PSH != 0;
            h.ack = flags & tcp::ACK != 0;
            h.urg = flags & tcp::URG != 0;
            h.ece = flags & tcp::ECE != 0;
            h.cwr = flags & tcp::CWR != 0;
            h.set_options_raw(&vec![1; options]).unwrap();
            ip.tcp_header(h).write(&mut out, &s.payload).unwrap();
        }
        Upper::Echo if s.v6 => ip.icmpv6_echo_request(9, 1).write(&mut out, &s.payload).unwrap(),
        Upper::Echo => ip.icmpv4_echo_request(9, 1).write(&mut out, &s.payload).unwrap(),
    }
    out
}

fn headers(s: &Shape) -> ep::IpHeaders {
    if !s.v6 {
        let (src, dst) = ((s.src as u32).to_be_bytes(), (s.dst as u32).to_be_bytes());
        let mut h = ep::Ipv4Header::new(0, s.ttl, ep::IpNumber::UDP, src, dst).unwrap();
        h.dscp = ep::IpDscp::try_new(s.tos >> 2).unwrap();
        h.ecn = ep::IpEcn::try_new(s.tos & 3).unwrap();
        h.identification = s.ident;
        h.dont_fragment = s.fragment.is_none();
        if let Some((offset, more)) = s.fragment {
            h.fragment_offset = ep::IpFragOffset::try_new(offset).unwrap();
            h.more_fragments = more;
        }
        h.options = vec![1; s.options].as_slice().try_into().unwrap();
        return ep::IpHeaders::Ipv4(h, ep::Ipv4Extensions::default());
    }
    let h = ep::Ipv6Header {
        traffic_class: s.tos,
        flow_label: ep::Ipv6FlowLabel::try_new(u32::from(s.ident) * 15).unwrap(),
        payload_length: 0,
        next_header: ep::IpNumber::UDP,
        hop_limit: s.ttl,
        source: s.src.to_be_bytes(),
        destination: s.dst.to_be_bytes(),
    };
    let raw = |payload: &[u8]| ep::Ipv6RawExtHeader::new_raw(ep::IpNumber::UDP, payload).unwrap();
    let mut exts = ep::Ipv6Extensions::default();
    if s.extensions {
        exts.hop_by_hop_options = Some(raw(&[5, 2, 0, 0, 1, 0]));
        exts.destination_options = Some(raw(&[1, 4, 0, 0, 0, 0]));
        exts.routing = Some(ep::Ipv6RoutingExtensions {
            routing: raw(&[4, 0, 0, 0, 0, 0]),
            final_destination_options: None,
        });
    }
    if let Some((offset, more)) = s.fragment {
        let offset = ep::IpFragOffset::try_new(offset).unwrap();
        exts.fragment = Some(ep::Ipv6FragmentHeader::new(ep::IpNumber::UDP, offset, more, s.ident.into()));
    }
    ep::IpHeaders::Ipv6(h, exts)
}

/// Compares every field of every header that etherparse found.
fn same(frame: &[u8], sliced: &SlicedPacket<'_>) -> Result<(), TestCaseError> {
    let eth = Ethernet::new(frame).unwrap();
    let Some(LinkSlice::Ethernet2(e)) = &sliced.link else { return Ok(()) };
    prop_assert_eq!(eth.dst().0, e.destination());
    prop_assert_eq!(eth.src().0, e.source());
    prop_assert_eq!(eth.ethertype(), e.ether_type().0);
    let mut l3 = eth.payload();
    for ext in &sliced.link_exts {
        let LinkExtSlice::Vlan(v) = ext else { return Ok(()) };
        let ours = Vlan::new(l3).unwrap();
        prop_assert_eq!(ours.vid(), v.vlan_identifier().value());
        prop_assert_eq!(ours.pcp(), v.priority_code_point().value());
        prop_assert_eq!(ours.dei(), v.drop_eligible_indicator());
        prop_assert_eq!(ours.ethertype(), v.ether_type().0);
        l3 = &l3[4..];
    }
    match &sliced.net {
        Some(NetSlice::Ipv4(theirs)) => v4(l3, theirs, sliced.transport.as_ref()),
        Some(NetSlice::Ipv6(theirs)) => v6(l3, theirs, sliced.transport.as_ref()),
        Some(NetSlice::Arp(theirs)) => arp(l3, theirs),
        None => Ok(()),
    }
}

fn arp(b: &[u8], theirs: &ep::ArpPacketSlice<'_>) -> Result<(), TestCaseError> {
    let theirs = ep::ArpEthIpv4Packet::try_from(theirs.to_packet()).ok();
    let ours = Arp::parse(b).ok();
    prop_assert_eq!(ours.is_some(), theirs.is_some());
    if let Some((o, t)) = ours.zip(theirs) {
        prop_assert_eq!(u16::from(o.op), t.operation.0);
        prop_assert_eq!((o.sender_mac.0, o.sender_ip.octets()), (t.sender_mac, t.sender_ipv4));
        prop_assert_eq!((o.target_mac.0, o.target_ip.octets()), (t.target_mac, t.target_ipv4));
    }
    Ok(())
}

fn v4(b: &[u8], theirs: &ep::Ipv4Slice<'_>, upper: Option<&TransportSlice<'_>>) -> Result<(), TestCaseError> {
    let (ours, h) = (Ipv4::new(b).unwrap(), theirs.header());
    prop_assert_eq!(ours.version(), 4);
    prop_assert_eq!(ours.header_len(), usize::from(h.ihl()) * 4);
    prop_assert_eq!(ours.tos(), h.dcp().value() << 2 | h.ecn().value());
    prop_assert_eq!((ours.total_len(), ours.ident()), (h.total_len(), h.identification()));
    prop_assert_eq!((ours.dont_fragment(), ours.more_fragments()), (h.dont_fragment(), h.more_fragments()));
    prop_assert_eq!(ours.frag_offset(), usize::from(h.fragments_offset().value()) * 8);
    prop_assert_eq!((ours.ttl(), ours.protocol()), (h.ttl(), h.protocol().0));
    prop_assert_eq!((ours.src(), ours.dst()), (h.source_addr(), h.destination_addr()));
    prop_assert_eq!(ours.options(), h.options());
    prop_assert_eq!(ours.checksum(), h.header_checksum());
    // etherparse leaves out the reserved bit, which is under the checksum.
    if ours.flags_offset() & 0x8000 == 0 {
        prop_assert_eq!(ours.verify_checksum(), h.to_header().calc_header_checksum() == ours.checksum());
    }
    if ours.protocol() == proto::AH {
        return Ok(());
    }
    prop_assert_eq!(ours.is_fragment(), theirs.is_payload_fragmented());
    prop_assert_eq!(ours.payload(), theirs.payload().payload);
    match upper {
        Some(u) => transport_same(ours.payload(), ours.src().into(), ours.dst().into(), u),
        None => Ok(()),
    }
}

fn v6(b: &[u8], theirs: &ep::Ipv6Slice<'_>, upper: Option<&TransportSlice<'_>>) -> Result<(), TestCaseError> {
    let (ours, h) = (Ipv6::new(b).unwrap(), theirs.header());
    prop_assert_eq!((ours.version(), ours.traffic_class()), (6, h.traffic_class()));
    prop_assert_eq!((ours.flow_label(), ours.payload_len()), (h.flow_label().value(), h.payload_length()));
    prop_assert_eq!((ours.next_header(), ours.hop_limit()), (h.next_header().0, h.hop_limit()));
    prop_assert_eq!((ours.src(), ours.dst()), (h.source_addr(), h.destination_addr()));
    let packet = &b[..40 + ours.payload().len()];
    // It takes a payload length of 0 for a jumbogram, and follows chains without end and into fragments.
    let chain = match ipv6_ext::walk(packet) {
        _ if ours.payload_len() == 0 => return Ok(()),
        Ok(chain) if chain.frag.is_some_and(|f| f.offset != 0) => {
            prop_assert!(theirs.is_payload_fragmented());
            return Ok(());
        }
        Ok(chain) => chain,
        Err(e) => {
            prop_assert_eq!(e, ipv6_ext::ChainError::TooLong);
            return Ok(());
        }
    };
    prop_assert_eq!(chain.proto, theirs.payload().ip_number.0);
    prop_assert_eq!(chain.frag.is_some_and(|f| !f.is_atomic()), theirs.is_payload_fragmented());
    let rest = theirs.payload().payload;
    if chain.proto != proto::NONE {
        prop_assert_eq!(if rest.is_empty() { 0 } else { packet.len() - rest.len() }, chain.l4);
    }
    match upper {
        Some(u) if chain.l4 != 0 => {
            transport_same(&packet[chain.l4..], ours.src().into(), ours.dst().into(), u)
        }
        _ => Ok(()),
    }
}

fn transport_same(
    l4: &[u8],
    src: IpAddr,
    dst: IpAddr,
    theirs: &TransportSlice<'_>,
) -> Result<(), TestCaseError> {
    match theirs {
        TransportSlice::Udp(t) => {
            let ours = Udp::new(l4).unwrap();
            prop_assert_eq!((ours.src_port(), ours.dst_port()), (t.source_port(), t.destination_port()));
            prop_assert_eq!((ours.length(), ours.checksum()), (t.length(), t.checksum()));
            // It takes a length of 0 for that of the packet.
            if ours.length() != 0 {
                prop_assert_eq!(ours.payload(), t.payload());
                let header = t.to_header();
                let right = match (src, dst) {
                    (IpAddr::V4(s), IpAddr::V4(d)) => {
                        header.calc_checksum_ipv4_raw(s.octets(), d.octets(), t.payload()).unwrap()
                    }
                    (IpAddr::V6(s), IpAddr::V6(d)) => {
                        header.calc_checksum_ipv6_raw(s.octets(), d.octets(), t.payload()).unwrap()
                    }
                    _ => unreachable!("one family"),
                };
                let none = ours.checksum() == 0;
                let expected = if none { src.is_ipv4() } else { equal_sums(right, ours.checksum()) };
                prop_assert_eq!(transport::verify(src, dst, proto::UDP, l4), expected);
            }
        }
        TransportSlice::Tcp(t) => {
            let ours = Tcp::new(l4).unwrap();
            prop_assert_eq!((ours.src_port(), ours.dst_port()), (t.source_port(), t.destination_port()));
            prop_assert_eq!((ours.seq(), ours.ack()), (t.sequence_number(), t.acknowledgment_number()));
            prop_assert_eq!(ours.header_len(), usize::from(t.data_offset()) * 4);
            prop_assert_eq!((ours.window(), ours.urgent()), (t.window_size(), t.urgent_pointer()));
            prop_assert_eq!((ours.options(), ours.payload()), (t.options(), t.payload()));
            let flags = [t.fin(), t.syn(), t.rst(), t.psh(), t.ack(), t.urg(), t.ece(), t.cwr()];
            let flags = flags.iter().rev().fold(0, |all, f| all << 1 | u8::from(*f));
            prop_assert_eq!(ours.flags(), flags);
            let right = match (src, dst) {
                (IpAddr::V4(s), IpAddr::V4(d)) => t.calc_checksum_ipv4(s.octets(), d.octets()).unwrap(),
                (IpAddr::V6(s), IpAddr::V6(d)) => t.calc_checksum_ipv6(s.octets(), d.octets()).unwrap(),
                _ => unreachable!("one family"),
            };
            prop_assert_eq!(transport::verify(src, dst, proto::TCP, l4), equal_sums(right, ours.checksum()));
        }
        TransportSlice::Icmpv4(t) => {
            let ours = Icmpv4::new(l4).unwrap();
            prop_assert_eq!(
                (ours.kind(), ours.code(), ours.checksum()),
                (t.type_u8(), t.code_u8(), t.checksum())
            );
            prop_assert_eq!(ours.rest().to_be_bytes(), t.bytes5to8());
        }
        TransportSlice::Icmpv6(t) => {
            let ours = Icmpv6::new(l4).unwrap();
            prop_assert_eq!(
                (ours.kind(), ours.code(), ours.checksum()),
                (t.type_u8(), t.code_u8(), t.checksum())
            );
            prop_assert_eq!(ours.rest().to_be_bytes(), t.bytes5to8());
            if let (IpAddr::V6(s), IpAddr::V6(d)) = (src, dst) {
                prop_assert_eq!(ours.verify_checksum(s, d), t.is_checksum_valid(s.octets(), d.octets()));
            }
        }
        TransportSlice::Igmp(_) => {}
    }
    Ok(())
}

/// Both zeros of one's complement are the same number.
fn equal_sums(a: u16, b: u16) -> bool {
    a % 0xffff == b % 0xffff
}

/// Goes through everything that reads bytes from outside.
fn read_all(b: &[u8]) {
    describe::describe(b, true);
    describe::describe(b, false);
    for at in 0..b.len().min(80) {
        let b = &b[at..];
        if let Some(ip) = Ipv4::new(b) {
            let header = &b[..ip.header_len().clamp(20, b.len())];
            let _ = (ip.options(), ip.payload(), ip.verify_checksum(), ipv4_options::parse(header));
        }
        if let Some(ip) = Ipv6::new(b) {
            let _ = (ip.payload(), ipv6_ext::walk(b), ndp::parse(ip.src(), ip.dst(), ip.payload()));
        }
        for p in [1, 6, 17, 58, 132, 136] {
            let (a, z) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
            let _ = (transport::verify(a, a, p, b), transport::verify(z, z, p, b), transport::ports(p, b));
        }
        if let Some(t) = Tcp::new(b) {
            let _ = (t.options(), t.payload());
        }
        let _ = (Udp::new(b).map(|u| u.payload().len()), Arp::parse(b), checksum::checksum(b));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_etherparse_builds(s in shape()) {
        let frame = build(&s);
        let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
        same(&frame, &sliced)?;
        let l3 = &frame[14 + 4 * s.vlans.len()..];
        // No segments are left in the routing header: the checksum is over the header's own address.
        if let Some(ip) = Ipv4::new(l3).filter(|_| !s.v6) {
            prop_assert!(ip.verify_checksum());
            prop_assert!(transport::verify(ip.src().into(), ip.dst().into(), ip.protocol(), ip.payload()));
        } else {
            let (ip, chain) = (Ipv6::new(l3).unwrap(), ipv6_ext::walk(l3).unwrap());
            prop_assert_eq!(chain.hop_by_hop, s.extensions);
            if chain.hop_by_hop {
                let seen = ipv6_ext::options(l3, 40, ipv6_ext::OptionsOf::HopByHop).unwrap();
                prop_assert_eq!(seen.router_alert, Some(0));
            }
            if chain.l4 != 0 {
                prop_assert!(transport::verify(ip.src().into(), ip.dst().into(), chain.proto, &l3[chain.l4..]));
            }
        }
    }

    #[test]
    fn damaged_frames(
        s in shape(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let mut frame = build(&s);
        for (at, byte) in &damage {
            // Mostly the headers.
            let at = at.index(frame.len().min(90));
            frame[at] = *byte;
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()));
        }
        if let Ok(sliced) = SlicedPacket::from_ethernet(&frame) {
            same(&frame, &sliced)?;
        }
        read_all(&frame);
    }

    #[test]
    fn arp_both_ways(op: u16, macs: [[u8; 6]; 2], ips: [[u8; 4]; 2]) {
        let theirs = ep::ArpPacket::from(ep::ArpEthIpv4Packet {
            operation: ep::ArpOperation(op),
            sender_mac: macs[0],
            sender_ipv4: ips[0],
            target_mac: macs[1],
            target_ipv4: ips[1],
        });
        let bytes = theirs.to_bytes();
        let ours = Arp::parse(&bytes).unwrap();
        prop_assert_eq!(ours.op, Op::from(op));
        prop_assert_eq!(&ours.emit()[..], bytes.as_slice());
    }

    #[test]
    fn any_bytes(b in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&b);
    }
}
