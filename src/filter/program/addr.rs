//! Addresses as numbers, one type a family, so that a program of IPv4 rules carries no IPv6 weight.

use std::fmt::Debug;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{BitAnd, BitXor, Not, Shl};

use crate::packet::flow::Address;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;

/// An address of one family.
pub(super) trait Addr:
    Copy
    + Debug
    + Default
    + Eq
    + Ord
    + Hash
    + BitAnd<Output = Self>
    + BitXor<Output = Self>
    + Not<Output = Self>
    + Shl<u32, Output = Self>
    + Send
    + Sync
    + 'static
{
    /// Whether it is IPv6.
    const V6: bool;
    /// Bits of an address.
    const BITS: u32;
    /// Source and destination of a packet; `None` if the header is not all there.
    fn ends(l3: &[u8]) -> Option<(Self, Self)>;
    /// An address of this family as a number.
    fn of(addr: IpAddr) -> Option<Self>;
    /// The address in a tuple as a number.
    fn of_tuple(addr: &Address) -> Self;
    /// The number as an address.
    fn ip(self) -> IpAddr;
    /// How many ones it begins with.
    fn leading_ones(self) -> u32;

    /// The mask of a prefix.
    fn mask(len: u32) -> Self {
        match len {
            0 => Self::default(),
            len => (!Self::default()) << Self::BITS.saturating_sub(len),
        }
    }
}

impl Addr for u32 {
    const V6: bool = false;
    const BITS: u32 = 32;

    #[inline]
    fn ends(l3: &[u8]) -> Option<(u32, u32)> {
        let ip = Ipv4::new(l3)?;
        Some((ip.src().into(), ip.dst().into()))
    }

    fn of(addr: IpAddr) -> Option<u32> {
        match addr {
            IpAddr::V4(v4) => Some(v4.into()),
            IpAddr::V6(_) => None,
        }
    }

    fn of_tuple(addr: &Address) -> u32 {
        u32::from_be_bytes([addr[0], addr[1], addr[2], addr[3]])
    }

    fn ip(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(self))
    }

    fn leading_ones(self) -> u32 {
        u32::leading_ones(self)
    }
}

impl Addr for u128 {
    const V6: bool = true;
    const BITS: u32 = 128;

    #[inline]
    fn ends(l3: &[u8]) -> Option<(u128, u128)> {
        let ip = Ipv6::new(l3)?;
        Some((ip.src().into(), ip.dst().into()))
    }

    fn of(addr: IpAddr) -> Option<u128> {
        match addr {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(v6.into()),
        }
    }

    fn of_tuple(addr: &Address) -> u128 {
        u128::from_be_bytes(*addr)
    }

    fn ip(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from(self))
    }

    fn leading_ones(self) -> u32 {
        u128::leading_ones(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        assert_eq!(
            (<u32 as Addr>::mask(0), <u32 as Addr>::mask(8), <u32 as Addr>::mask(32)),
            (0, 0xff00_0000, !0)
        );
        assert_eq!(
            (<u128 as Addr>::mask(0), <u128 as Addr>::mask(1), <u128 as Addr>::mask(128)),
            (0, 1 << 127, !0)
        );
    }
}
