//! A packet between the two hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sekisho::packet::{Net, Packet};
use sekisho::wire::{checksum, proto, sctp};

/// An IP packet, and who sends it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) from: usize,
    pub(crate) v6: bool,
    pub(crate) proto: u8,
    /// From the upper-layer header on.
    pub(crate) l4: Vec<u8>,
    /// Seconds of waiting before it.
    pub(crate) pause: u32,
}

/// A host's address.
pub(crate) fn host(n: usize, v6: bool) -> IpAddr {
    match v6 {
        false => Ipv4Addr::new(10, 1 + n as u8, 0, 2).into(),
        true => Ipv6Addr::new(0xfd01 + n as u16, 0, 0, 0, 0, 0, 0, 2).into(),
    }
}

impl Sent {
    pub(crate) fn new(from: usize, v6: bool, proto: u8, l4: Vec<u8>) -> Sent {
        Sent { from, v6, proto, l4, pause: 0 }
    }

    /// From one host to the other.
    pub(crate) fn addresses(&self) -> [IpAddr; 2] {
        [host(self.from, self.v6), host(1 - self.from, self.v6)]
    }

    /// Finishes the checksum of its upper layer, if there is one that it has room for.
    pub(crate) fn finished(mut self) -> Sent {
        let len = self.l4.len() as u32;
        let (at, pseudo) = match self.proto {
            proto::SCTP => {
                sctp::fill_checksum(&mut self.l4);
                return self;
            }
            proto::TCP => (16, true),
            proto::UDP | proto::UDP_LITE => (6, true),
            proto::ICMP => (2, false),
            proto::ICMPV6 => (2, true),
            _ => return self,
        };
        if let Some(field) = self.l4.get_mut(at..at + 2) {
            field.fill(0);
            let [src, dst] = self.addresses();
            let pseudo = pseudo.then(|| checksum::pseudo(src, dst, self.proto, len).unwrap());
            let sum = !checksum::fold(pseudo.unwrap_or(0) + checksum::sum(&self.l4));
            self.l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        self
    }

    /// The whole packet.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let len = self.l4.len() as u16;
        let mut b;
        match self.addresses() {
            [IpAddr::V4(src), IpAddr::V4(dst)] => {
                b = vec![0x45, 0];
                b.extend((20 + len).to_be_bytes());
                b.extend([0, 0, 0, 0, 64, self.proto, 0, 0]);
                b.extend(src.octets());
                b.extend(dst.octets());
                let sum = checksum::checksum(&b);
                b[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            [IpAddr::V6(src), IpAddr::V6(dst)] => {
                b = vec![0x60, 0, 0, 0];
                b.extend(len.to_be_bytes());
                b.extend([self.proto, 64]);
                b.extend(src.octets());
                b.extend(dst.octets());
            }
            _ => unreachable!("two families"),
        }
        b.extend(&self.l4);
        b
    }

    /// The same as ingress leaves it.
    pub(crate) fn parsed(&self) -> Packet {
        let mut p = Packet::from_slice(&self.bytes());
        p.meta.net = if self.v6 { Net::Ipv6 } else { Net::Ipv4 };
        p.meta.proto = self.proto;
        p.meta.l4 = if self.v6 { 40 } else { 20 };
        p
    }
}
