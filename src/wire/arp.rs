//! ARP for IPv4 over Ethernet (RFC 826).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |  hardware type (1: Ethernet)  |    protocol type (0x0800)     |
//! +---------------+---------------+-------------------------------+
//! | hw length (6) |proto length(4)|           operation           |
//! +---------------+---------------+-------------------------------+
//! |                          sender MAC                           |
//! +                               +-------------------------------+
//! |                               |           sender IP           |
//! +-------------------------------+-------------------------------+
//! |           sender IP           |          target MAC           |
//! +-------------------------------+                               +
//! |                                                               |
//! +---------------------------------------------------------------+
//! |                           target IP                           |
//! +---------------------------------------------------------------+
//! ```

use std::net::Ipv4Addr;

use super::bytes::{mac_at, put, put_u16, u8_at, u16_at, v4_at};
use super::ethernet;
use crate::base::Mac;

/// Bytes of a message. Frames may carry padding after it.
pub const LEN: usize = 28;

/// What an ARP message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arp {
    /// What it wants.
    pub op: Op,
    /// The sender's hardware address.
    pub sender_mac: Mac,
    /// The sender's address; 0.0.0.0 in a probe (RFC 5227 §2.1.1).
    pub sender_ip: Ipv4Addr,
    /// The hardware address meant; without meaning in a request.
    pub target_mac: Mac,
    /// The address asked for, or the asker's.
    pub target_ip: Ipv4Addr,
}

/// The operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
    /// Something else (RARP, InARP, …).
    Other(u16),
}

/// Why bytes are no ARP message for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArpError {
    /// Fewer than 28 bytes.
    #[error("an ARP message has 28 bytes, not {0}")]
    Short(usize),
    /// Another hardware type than Ethernet.
    #[error("hardware type {0} is not Ethernet")]
    Hardware(u16),
    /// Another protocol than IPv4.
    #[error("protocol 0x{0:04x} is not IPv4")]
    Protocol(u16),
    /// Address lengths other than 6 and 4.
    #[error("address lengths {0} and {1} are not 6 and 4")]
    Lengths(u8, u8),
}

impl Arp {
    /// Reads a message; bytes after it are padding.
    pub fn parse(b: &[u8]) -> Result<Arp, ArpError> {
        if b.len() < LEN {
            return Err(ArpError::Short(b.len()));
        }
        let (hardware, protocol) = (u16_at(b, 0), u16_at(b, 2));
        if ![HARDWARE_ETHERNET, HARDWARE_IEEE802].contains(&hardware) {
            return Err(ArpError::Hardware(hardware));
        }
        if protocol != ethernet::IPV4 {
            return Err(ArpError::Protocol(protocol));
        }
        if (u8_at(b, 4), u8_at(b, 5)) != (6, 4) {
            return Err(ArpError::Lengths(u8_at(b, 4), u8_at(b, 5)));
        }
        Ok(Arp {
            op: Op::from(u16_at(b, 6)),
            sender_mac: mac_at(b, 8),
            sender_ip: v4_at(b, 14),
            target_mac: mac_at(b, 18),
            target_ip: v4_at(b, 24),
        })
    }

    /// The message's bytes.
    pub fn emit(&self) -> [u8; LEN] {
        let mut b = [0; LEN];
        put_u16(&mut b, 0, HARDWARE_ETHERNET);
        put_u16(&mut b, 2, ethernet::IPV4);
        put(&mut b, 4, [6, 4]);
        put_u16(&mut b, 6, self.op.into());
        put(&mut b, 8, self.sender_mac.0);
        put(&mut b, 14, self.sender_ip.octets());
        put(&mut b, 18, self.target_mac.0);
        put(&mut b, 24, self.target_ip.octets());
        b
    }
}

impl From<u16> for Op {
    fn from(op: u16) -> Op {
        match op {
            1 => Op::Request,
            2 => Op::Reply,
            other => Op::Other(other),
        }
    }
}

impl From<Op> for u16 {
    fn from(op: Op) -> u16 {
        match op {
            Op::Request => 1,
            Op::Reply => 2,
            Op::Other(other) => other,
        }
    }
}

/// Ethernet among the hardware types (IANA "ARP Parameters").
const HARDWARE_ETHERNET: u16 = 1;
/// IEEE 802 networks; some stations call Ethernet so, and Linux takes it (`arp_process`).
const HARDWARE_IEEE802: u16 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: [u8; LEN] =
        [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 1, 1, 10, 1, 0, 1, 2, 0, 0, 0, 9, 9, 10, 1, 0, 2];

    #[test]
    fn both_ways() {
        let arp = Arp::parse(&REPLY).unwrap();
        assert_eq!(
            arp,
            Arp {
                op: Op::Reply,
                sender_mac: Mac([2, 0, 0, 0, 1, 1]),
                sender_ip: Ipv4Addr::new(10, 1, 0, 1),
                target_mac: Mac([2, 0, 0, 0, 9, 9]),
                target_ip: Ipv4Addr::new(10, 1, 0, 2),
            }
        );
        assert_eq!(arp.emit(), REPLY);
        let padded = [&REPLY[..], &[0; 18]].concat();
        assert_eq!(Arp::parse(&padded), Ok(arp));
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        let with = |at: usize, byte: u8| {
            let mut b = REPLY;
            b[at] = byte;
            Arp::parse(&b)
        };
        assert_eq!(Arp::parse(&REPLY[..27]), Err(ArpError::Short(27)));
        assert_eq!(with(1, 7), Err(ArpError::Hardware(7)));
        assert!(with(1, 6).is_ok(), "IEEE 802, which Linux takes for Ethernet");
        assert_eq!(with(2, 0x86), Err(ArpError::Protocol(0x8600)));
        assert_eq!(with(4, 8), Err(ArpError::Lengths(8, 4)));
        assert_eq!(with(5, 16), Err(ArpError::Lengths(6, 16)));
        assert_eq!(with(7, 3).map(|a| a.op), Ok(Op::Other(3)));
    }
}
