//! What can be seen of a packet at first glance: enough to tell whether somebody wants to follow it, before any stage has
//! looked at it. Checks nothing that need not be checked to read on: what is wrong with the packet its walk will say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::Mac;
use crate::packet::flow::pack;
use crate::packet::{Net, Tuple};
use crate::wire::arp::Arp;
use crate::wire::describe::describe;
use crate::wire::{ethernet, icmpv4, icmpv6, ipv6_ext, proto, transport, vlan};

/// A packet as it came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Glance {
    /// The network protocol.
    pub net: Net,
    /// Source and destination; of ARP, the sender's and the target's.
    pub ends: Option<(IpAddr, IpAddr)>,
    /// The upper-layer protocol.
    pub proto: Option<u8>,
    /// Ports, of protocols that have them, where they can be seen.
    pub ports: Option<(u16, u16)>,
    /// Identifier, and type and code, of an ICMP message.
    pub icmp: Option<(u16, u16)>,
}

impl Glance {
    /// Looks at a frame, or at a packet that begins with its IP header if it is not `ethernet`.
    pub fn of(frame: &[u8], ethernet: bool) -> Glance {
        match ethernet {
            true => Self::link(frame).unwrap_or_default(),
            false => Self::network(frame).unwrap_or_default(),
        }
    }

    fn link(frame: &[u8]) -> Option<Glance> {
        let eth = ethernet::Ethernet::new(frame)?;
        let (mut kind, mut payload) = (eth.ethertype(), eth.payload());
        if vlan::is_tag(kind) {
            kind = vlan::Vlan::new(payload)?.ethertype();
            payload = payload.get(vlan::TAG_LEN..)?;
        }
        match kind {
            ethernet::ARP => Some(Self::arp(payload)),
            ethernet::IPV4 | ethernet::IPV6 => Self::network(payload),
            _ => None,
        }
    }

    /// Looks at an ARP message.
    pub(super) fn arp(message: &[u8]) -> Glance {
        let ends = Arp::parse(message).ok().map(|a| (a.sender_ip.into(), a.target_ip.into()));
        Glance { net: Net::Arp, ends, ..Glance::default() }
    }

    fn network(packet: &[u8]) -> Option<Glance> {
        match packet.first()? >> 4 {
            4 => Self::ipv4(packet),
            6 => Self::ipv6(packet),
            _ => None,
        }
    }

    fn ipv4(packet: &[u8]) -> Option<Glance> {
        let head = packet.first_chunk::<20>()?;
        let addr = |at: usize| Ipv4Addr::new(head[at], head[at + 1], head[at + 2], head[at + 3]);
        let later = (head[6] & 0x1f | head[7]) != 0;
        let upper = packet.get(usize::from(head[0] & 0xf) * 4..).filter(|_| !later);
        let ends = Some((addr(12).into(), addr(16).into()));
        Some(Glance { net: Net::Ipv4, ends, ..Glance::default() }.upper(head[9], upper))
    }

    fn ipv6(packet: &[u8]) -> Option<Glance> {
        let head = packet.first_chunk::<40>()?;
        let addr = |at: usize| -> Option<Ipv6Addr> { Some((*head.get(at..)?.first_chunk::<16>()?).into()) };
        let glance =
            Glance { net: Net::Ipv6, ends: Some((addr(8)?.into(), addr(24)?.into())), ..Glance::default() };
        let Ok(chain) = ipv6_ext::walk(packet) else { return Some(glance) };
        let upper = packet.get(chain.l4..).filter(|_| chain.l4 != 0);
        Some(glance.upper(chain.proto, upper))
    }

    fn upper(mut self, kind: u8, upper: Option<&[u8]>) -> Glance {
        self.proto = Some(kind);
        let Some(upper) = upper else { return self };
        match kind {
            proto::ICMP | proto::ICMPV6 => {
                self.icmp = upper
                    .first_chunk::<{ icmpv4::HEADER_LEN }>()
                    .map(|h| (u16::from_be_bytes([h[4], h[5]]), u16::from_be_bytes([h[0], h[1]])));
            }
            _ => self.ports = transport::ports(kind, upper),
        }
        self
    }

    /// The tuple that conntrack would know it by.
    pub fn tuple(&self) -> Option<Tuple> {
        let (src, dst) = self.ends?;
        let kind = self.proto?;
        // Conntrack knows DCCP as a protocol without ports.
        let ports = self.ports.filter(|_| kind != proto::DCCP);
        let (src_port, dst_port) = ports.or(self.icmp).unwrap_or_default();
        let v6 = self.net == Net::Ipv6;
        Some(Tuple { src: pack(src), dst: pack(dst), src_port, dst_port, proto: kind, v6 })
    }

    /// What can be seen of a packet that conntrack would know by this tuple.
    pub fn known_by(t: &Tuple) -> Glance {
        let ports = t.has_ports().then_some((t.src_port, t.dst_port));
        let icmp = matches!(t.proto, proto::ICMP | proto::ICMPV6).then_some((t.src_port, t.dst_port));
        let net = if t.v6 { Net::Ipv6 } else { Net::Ipv4 };
        Glance { net, ends: Some((t.src(), t.dst())), proto: Some(t.proto), ports, icmp }
    }

    /// Whether an ICMP message has an identifier: queries have.
    fn is_query(kind: u8, net: Net) -> bool {
        match net {
            Net::Ipv6 => matches!(kind, icmpv6::ECHO | icmpv6::ECHO_REPLY),
            // Echo, timestamp, information and address mask, and their replies (RFC 792, RFC 950).
            _ => matches!(kind, 0 | 8 | 13..=18),
        }
    }

    /// Source and destination with their ports: `10.1.0.2:40000 > 198.51.100.7:443`.
    pub fn way(&self) -> String {
        let Some((src, dst)) = self.ends else { return "?".to_owned() };
        let end = |addr: IpAddr, port: Option<u16>| match (addr, port) {
            (addr, None) => addr.to_string(),
            (IpAddr::V4(v4), Some(port)) => format!("{v4}:{port}"),
            (IpAddr::V6(v6), Some(port)) => format!("[{v6}]:{port}"),
        };
        let (from, to) = (self.ports.map(|p| p.0), self.ports.map(|p| p.1));
        match self.icmp {
            Some((id, kind)) if Self::is_query((kind >> 8) as u8, self.net) => {
                format!("{} > {} id {id}", end(src, None), end(dst, None))
            }
            _ => format!("{} > {}", end(src, from), end(dst, to)),
        }
    }
}

/// An ARP message without a frame around it, in the words of [`describe`].
pub(super) fn describe_arp(message: &[u8]) -> String {
    let mut frame = vec![0; ethernet::HEADER_LEN];
    ethernet::write(&mut frame, Mac::BROADCAST, Mac::ZERO, ethernet::ARP);
    frame.extend_from_slice(message);
    describe(&frame, true)
}
