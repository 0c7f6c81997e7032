//! What must hold of every frame that leaves, and what an ICMP error says.

use std::net::IpAddr;

use sekisho::base::{Column, LinkId};
use sekisho::packet::{Csum, Frag, Net, Packet, offload};
use sekisho::path::Snapshot;
use sekisho::wire::{
    arp::Arp, ethernet, ethernet::Ethernet, icmpv4, icmpv6, ipv4::Ipv4, ipv6::Ipv6, ipv6_ext, proto,
    transport,
};

/// Holds a frame against the formats: addresses, lengths, checksums. Made here, its upper layer is
/// right as well; what was merely passed on is the sender's word.
#[track_caller]
pub(crate) fn sent(snap: &Snapshot, link: LinkId, p: &Packet) {
    let on = snap.links.get(link).expect("a link that exists");
    let l3 = match on.mac {
        None => p.data(),
        Some(mac) => {
            let eth = Ethernet::new(p.data()).expect("a whole Ethernet header");
            assert_eq!(eth.src(), mac, "sent from another station's address");
            assert_ne!(eth.dst(), mac, "sent to itself");
            assert!(eth.dst().is_station() || eth.dst().is_group(), "sent to nobody");
            let kind = match p.data()[14] >> 4 {
                4 => ethernet::IPV4,
                6 => ethernet::IPV6,
                _ => ethernet::ARP,
            };
            assert_eq!(eth.ethertype(), kind);
            &p.data()[14..]
        }
    };
    assert_eq!(p.l3(), l3, "the metadata points elsewhere");
    let on_wire = offload::segment_len(p);
    assert!(on_wire <= on.mtu as usize, "{on_wire} bytes on a link of {}", on.mtu);
    assert!(offload::validate(p), "offload state that does not fit: {:?}", p.meta);
    let (src, dst, proto, l4): (IpAddr, IpAddr, u8, &[u8]) = match p.meta.net {
        Net::Arp => {
            Arp::parse(l3).expect("a valid ARP packet");
            return;
        }
        Net::Ipv4 => {
            let ip = Ipv4::new(l3).expect("a whole IPv4 header");
            assert_eq!((ip.version(), usize::from(ip.total_len())), (4, l3.len()));
            assert!(ip.header_len() >= 20 && ip.header_len() <= l3.len());
            assert!(ip.verify_checksum(), "wrong IPv4 header checksum");
            assert!(ip.ttl() > 0, "sent with TTL 0");
            (ip.src().into(), ip.dst().into(), ip.protocol(), &l3[ip.header_len()..])
        }
        Net::Ipv6 => {
            let ip = Ipv6::new(l3).expect("a whole IPv6 header");
            assert_eq!((ip.version(), 40 + usize::from(ip.payload_len())), (6, l3.len()));
            assert!(ip.hop_limit() > 0, "sent with hop limit 0");
            let chain = ipv6_ext::walk(l3).unwrap_or_default();
            let l4 = if chain.l4 == 0 { &[][..] } else { &l3[chain.l4..] };
            (ip.src().into(), ip.dst().into(), chain.proto, l4)
        }
        Net::None => panic!("sent without having been looked at"),
    };
    let partial = matches!(p.meta.offload.csum, Csum::Partial { .. });
    let icmp = matches!(proto, proto::ICMP | proto::ICMPV6);
    if p.meta.column == Column::Originated && p.meta.frag == Frag::Whole && icmp && !partial {
        assert!(transport::verify(src, dst, proto, l4), "wrong upper-layer checksum");
    }
}

/// An ICMP error or redirect, read from the frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    /// Type and code.
    pub(crate) kind: (u8, u8),
    /// The second word: an MTU, a pointer, a gateway.
    pub(crate) rest: u32,
    /// TOS or traffic class.
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    /// The packet it is about.
    pub(crate) quote: Vec<u8>,
}

impl Told {
    #[track_caller]
    pub(crate) fn of(p: &Packet) -> Told {
        match p.meta.net {
            Net::Ipv4 => {
                let ip = Ipv4::new(p.l3()).unwrap();
                assert_eq!(ip.protocol(), proto::ICMP, "not ICMP");
                let icmp = icmpv4::Icmpv4::new(ip.payload()).expect("a whole ICMP header");
                assert!(icmp.verify_checksum());
                assert!(icmpv4::is_error(icmp.kind()), "type {} is no error", icmp.kind());
                Told {
                    src: ip.src().into(),
                    dst: ip.dst().into(),
                    kind: (icmp.kind(), icmp.code()),
                    rest: icmp.rest(),
                    tos: ip.tos(),
                    ttl: ip.ttl(),
                    quote: icmp.payload().to_vec(),
                }
            }
            Net::Ipv6 => {
                let ip = Ipv6::new(p.l3()).unwrap();
                assert_eq!(ip.next_header(), proto::ICMPV6, "not ICMPv6");
                let icmp = icmpv6::Icmpv6::new(ip.payload()).expect("a whole ICMPv6 header");
                assert!(icmp.verify_checksum(ip.src(), ip.dst()));
                assert!(icmpv6::is_error(icmp.kind()), "type {} is no error", icmp.kind());
                Told {
                    src: ip.src().into(),
                    dst: ip.dst().into(),
                    kind: (icmp.kind(), icmp.code()),
                    rest: icmp.rest(),
                    tos: ip.traffic_class(),
                    ttl: ip.hop_limit(),
                    quote: icmp.payload().to_vec(),
                }
            }
            other => panic!("{other:?} is no IP packet"),
        }
    }
}
