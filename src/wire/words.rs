//! A packet in words: what somebody types who wants to know what would become of it.
//!
//! ```text
//! -i lan tcp 10.1.0.2:40000 > 198.51.100.7:443 syn
//! -i lan udp [fd01::2]:5000 > [2001:db8::1]:53 len 120
//! -i wan icmp 203.0.113.9 > 203.0.113.1 echo-request id 7 seq 1 ttl 3 df
//! -i wan icmp 203.0.113.9 > 203.0.113.1 port-unreachable about udp 203.0.113.1:4000 > 203.0.113.9:53
//! -i lan arp who-has 10.1.0.1 tell 10.1.0.2
//! udp 203.0.113.1:123 > 192.0.2.1:123             made by the router itself: no link
//! ```
//!
//! [`parse`] takes the words, [`Spoken`] holds what they say, and gives the bytes once somebody has said which MACs are
//! meant. Knows nothing of the router that is asked about.

mod icmp;
mod make;
mod read;

use std::net::{IpAddr, Ipv4Addr};

use crate::base::{Mac, shown};

pub use read::parse;

/// The most words that a packet is told in.
pub const MAX_WORDS: usize = 256;
/// The longest word, in bytes.
pub const MAX_WORD: usize = 256;

/// Why words are no packet. Names the word, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// Nothing was said at all.
    #[error("say a packet, such as `-i lan tcp 10.1.0.2:40000 to 198.51.100.7:443 syn`")]
    Nothing,
    /// The words end too early.
    #[error("the packet ends where {0} should follow")]
    Ends(&'static str),
    /// A word that has no place there.
    #[error("'{word}' does not belong there: {right}")]
    Word {
        /// The word.
        word: String,
        /// What would be right.
        right: String,
    },
    /// What was said does not go together.
    #[error("{0}")]
    Amiss(String),
}

impl WordsError {
    fn word(word: &str, right: impl Into<String>) -> Self {
        WordsError::Word { word: shown(word), right: right.into() }
    }
}

/// What words say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// The link it comes in by; `None`: the router makes it.
    pub link: Option<String>,
    /// The sender's MAC, where it was said.
    pub from: Option<Mac>,
    /// The MAC it is sent to, where it was said.
    pub to: Option<Mac>,
    /// A VLAN tag in front.
    pub vlan: Option<u16>,
    /// What is in the frame.
    pub what: What,
}

/// What is in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An IP packet.
    Ip(Box<Ip>),
    /// `arp who-has TARGET tell SENDER`.
    WhoHas {
        /// Who is asked for.
        target: Ipv4Addr,
        /// Who asks.
        sender: Ipv4Addr,
    },
    /// `arp reply SENDER is-at MAC to TARGET`.
    IsAt {
        /// Who says so.
        sender: Ipv4Addr,
        /// Where it is.
        mac: Mac,
        /// To whom.
        target: Ipv4Addr,
    },
}

/// An IP packet in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip {
    /// Its source.
    pub src: IpAddr,
    /// Its destination, of the same family.
    pub dst: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// IPv4's don't-fragment flag.
    pub df: bool,
    /// IPv4's identification, or that of IPv6's fragment header.
    pub ident: u16,
    /// The length of the whole IP packet in bytes, where it was said.
    pub len: Option<usize>,
    /// Where in its datagram it belongs, in bytes, and whether more follows, if it is a fragment.
    pub fragment: Option<(u16, bool)>,
    /// What it carries.
    pub upper: Upper,
}

/// What an IP packet carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upper {
    /// TCP.
    Tcp {
        /// Source and destination port.
        ports: (u16, u16),
        /// The flags, as in [`crate::wire::tcp`].
        flags: u8,
        /// Sequence number.
        seq: u32,
        /// Acknowledgment number.
        ack: u32,
        /// Window.
        window: u16,
        /// The option, in bytes, where it was said.
        mss: Option<u16>,
    },
    /// UDP, or UDP-Lite.
    Udp {
        /// The protocol number.
        proto: u8,
        /// Source and destination port.
        ports: (u16, u16),
    },
    /// SCTP, with one chunk.
    Sctp {
        /// Source and destination port.
        ports: (u16, u16),
        /// The verification tag; 0 in an INIT.
        tag: u32,
        /// The chunk's type.
        chunk: u8,
    },
    /// ICMP or ICMPv6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The second word of the header: identifier and sequence number, MTU, pointer.
        rest: u32,
        /// The packet that an error is about.
        about: Option<Box<Ip>>,
    },
    /// Any other protocol, of which nothing is said.
    Other(u8),
}

#[cfg(test)]
mod tests;
