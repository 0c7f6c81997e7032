//! Ethernet hardware addresses.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A 48-bit MAC address in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All ones: every station.
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// All zeros: no station.
    pub const ZERO: Mac = Mac([0; 6]);

    /// Whether the group bit is set (broadcast included).
    pub fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this is the broadcast address.
    pub fn is_broadcast(self) -> bool {
        self == Mac::BROADCAST
    }

    /// Whether one station can own this address: neither group nor zero.
    pub fn is_station(self) -> bool {
        !self.is_group() && self != Mac::ZERO
    }

    /// The link-local IPv6 address with the modified EUI-64 of this MAC (RFC 4291 appendix A).
    pub fn link_local(self) -> Ipv6Addr {
        let m = self.0;
        let word = |hi: u8, lo: u8| u16::from_be_bytes([hi, lo]);
        Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            word(m[0] ^ 2, m[1]),
            word(m[2], 0xff),
            word(0xfe, m[3]),
            word(m[4], m[5]),
        )
    }

    /// The group MAC of an IPv6 multicast address: 33:33 and its last 32 bits (RFC 2464 §7).
    pub fn of_multicast_v6(addr: Ipv6Addr) -> Mac {
        let o = addr.octets();
        Mac([0x33, 0x33, o[12], o[13], o[14], o[15]])
    }

    /// The group MAC of an IPv4 multicast address: 01:00:5e and its last 23 bits (RFC 1112 §6.4).
    pub fn of_multicast_v4(addr: std::net::Ipv4Addr) -> Mac {
        let o = addr.octets();
        Mac([0x01, 0x00, 0x5e, o[1] & 0x7f, o[2], o[3]])
    }

    /// A locally administered address made of the words given, always the same for the same words.
    pub fn stable(words: &[&str]) -> Mac {
        // FNV-1a: an address must not change from one build or run to the next.
        let mut h: u64 = 0xcbf2_9ce4_8422_2325;
        for w in words {
            for b in w.bytes().chain([0]) {
                h = (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        let b = h.to_be_bytes();
        Mac([b[0] & 0xfc | 0x02, b[1], b[2], b[3], b[4], b[5]])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = self.0;
        write!(f, "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", m[0], m[1], m[2], m[3], m[4], m[5])
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six pairs of hex digits with colons between.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a MAC address: write it like 02:00:00:00:01:01")]
pub struct MacError(String);

impl FromStr for Mac {
    type Err = MacError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || MacError(s.to_owned());
        let mut mac = [0u8; 6];
        let mut parts = s.split(':');
        for byte in &mut mac {
            let p = parts.next().ok_or_else(bad)?;
            if p.is_empty() || p.len() > 2 || !p.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(p, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() {
            return Err(bad());
        }
        Ok(Mac(mac))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_both_ways() {
        let m: Mac = "02:00:5e:a:0B:ff".parse().unwrap();
        assert_eq!(m.to_string(), "02:00:5e:0a:0b:ff");
        for bad in
            ["", "02:00", "02:00:00:00:01:01:01", "02:00:00:00:01:zz", "+2:00:00:00:01:01", "020:0:0:0:0:0"]
        {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn link_local_is_the_modified_eui64() {
        let m: Mac = "02:00:00:00:01:01".parse().unwrap();
        assert_eq!(m.link_local(), "fe80::ff:fe00:101".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn group_addresses() {
        assert_eq!(
            Mac::of_multicast_v6("ff02::1:ff00:101".parse().unwrap()).to_string(),
            "33:33:ff:00:01:01"
        );
        assert_eq!(Mac::of_multicast_v4("239.129.2.3".parse().unwrap()).to_string(), "01:00:5e:01:02:03");
    }

    #[test]
    fn stable_is_a_station_and_differs_by_word_boundaries() {
        let a = Mac::stable(&["gw", "lan"]);
        assert!(a.is_station() && a.0[0] & 2 != 0);
        assert_eq!(a, Mac::stable(&["gw", "lan"]));
        assert_ne!(a, Mac::stable(&["gwl", "an"]));
    }
}
