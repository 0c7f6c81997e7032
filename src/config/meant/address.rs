//! Addresses and prefixes as people write them, and which of them can be a router's, a next hop's or
//! a destination.
//!
//! Knows nothing of links: each function judges one text.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::config::problem::quoted;
use crate::link::Address;

/// An address with the length of its prefix; without one it stands alone, as in iproute2.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let (addr, len) = split(text).ok_or_else(|| {
        format!("{} is not an address: write it like 10.1.0.1/24 or fd01::1/64", quoted(text))
    })?;
    let prefix_len = length(addr, len)?;
    let address = Address { addr, prefix_len };
    match unfit(&address) {
        Some(why) => Err(format!("{} {why}", quoted(text))),
        None => Ok(address),
    }
}

/// Where a route leads to; `None` is the default route of whatever family its next hop has.
pub(super) fn destination(text: &str) -> Result<Option<IpNet>, String> {
    if text == "default" {
        return Ok(None);
    }
    let (addr, len) = split(text).ok_or_else(|| {
        format!(
            "{} is not a prefix: write it like 198.51.100.0/24 or fd02::/64, or \"default\"",
            quoted(text)
        )
    })?;
    let len = length(addr, len)?;
    let net = IpNet::new(addr, len).map_err(|_| format!("{} is not a prefix", quoted(text)))?;
    if net.trunc() != net {
        return Err(format!("bits are set beyond the prefix length: write {}", net.trunc()));
    }
    Ok(Some(net))
}

/// The address of a single other host: a next hop or a neighbor.
pub(super) fn host(text: &str) -> Result<IpAddr, String> {
    let addr: IpAddr =
        text.parse().map_err(|_| format!("{} is not an address: write it like 10.2.0.2", quoted(text)))?;
    match group(addr) {
        Some(why) => Err(format!("{} {why}: the address of a host is expected", quoted(text))),
        None => Ok(addr),
    }
}

fn split(text: &str) -> Option<(IpAddr, Option<&str>)> {
    match text.split_once('/') {
        Some((addr, len)) => Some((addr.parse().ok()?, Some(len))),
        None => Some((text.parse().ok()?, None)),
    }
}

fn length(addr: IpAddr, text: Option<&str>) -> Result<u8, String> {
    let longest = if addr.is_ipv4() { 32 } else { 128 };
    let Some(text) = text else { return Ok(longest) };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let len = if digits { text.parse().ok() } else { None };
    len.filter(|n| *n <= longest)
        .ok_or_else(|| format!("{} is no prefix length of {addr}: 0 to {longest} is", quoted(text)))
}

/// Why an address stands for no single host, if it doesn't.
pub(in crate::config) fn group(addr: IpAddr) -> Option<&'static str> {
    match addr {
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("is the broadcast address"),
        _ if addr.is_multicast() => Some("is a multicast address"),
        _ if addr.is_unspecified() => Some("is the unspecified address"),
        // RFC 1122 3.2.1.3 (b): this network; Linux takes none of it either.
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("is not an address of a host"),
        _ if addr.is_loopback() => Some("is a loopback address"),
        // RFC 4291 2.5.5.2: for programs, not for the wire.
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("is an IPv4 address in IPv6 clothes"),
        _ => None,
    }
}

/// Why an address can't be given to a link, if it can't.
pub(in crate::config) fn unfit(address: &Address) -> Option<String> {
    if let Some(why) = group(address.addr) {
        return Some(format!("{why} and can't be given to a link"));
    }
    let net = address.network();
    match address.addr {
        _ if address.prefix_len == 0 => Some("has everything on the link; a prefix length is missing".into()),
        IpAddr::V4(v4) if address.broadcast() == Some(v4) => {
            Some(format!("is the broadcast address of {net}; take one in between"))
        }
        IpAddr::V4(_) if address.prefix_len < 31 && net.addr() == address.addr => {
            Some(format!("is the address of the network {net} itself; take one in it"))
        }
        // RFC 4291 2.6.1; RFC 6164 lifts it for /127.
        IpAddr::V6(_) if address.prefix_len < 127 && net.addr() == address.addr => {
            Some(format!("is the routers' anycast address of {net}; take one in it"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, addr, len) in [
            ("10.1.0.1/24", "10.1.0.1", 24),
            ("10.1.0.0/31", "10.1.0.0", 31),
            ("10.1.0.255/32", "10.1.0.255", 32),
            ("10.1.0.1", "10.1.0.1", 32),
            ("240.0.0.1/8", "240.0.0.1", 8),
            ("fd01::1/64", "fd01::1", 64),
            ("fd01::/127", "fd01::", 127),
            ("fe80::1/64", "fe80::1", 64),
            ("fd01::1", "fd01::1", 128),
        ] {
            let expected = Address { addr: addr.parse().unwrap(), prefix_len: len };
            assert_eq!(address(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn no_addresses() {
        for (text, why) in [
            ("", "not an address"),
            ("lan", "not an address"),
            ("10.1.0.300/24", "not an address"),
            ("010.1.0.1/24", "not an address"),
            ("10.1.0.1/", "0 to 32"),
            ("10.1.0.1/33", "0 to 32"),
            ("10.1.0.1/+4", "0 to 32"),
            ("10.1.0.1/255.255.255.0", "0 to 32"),
            ("fd01::1/129", "0 to 128"),
            ("10.1.0.1/24/8", "0 to 32"),
            ("10.1.0.1/0", "length is missing"),
            ("10.1.0.0/24", "network 10.1.0.0/24"),
            ("10.1.0.255/24", "broadcast address of 10.1.0.0/24"),
            ("0.0.0.0/8", "unspecified"),
            ("0.1.2.3/8", "not an address of a host"),
            ("255.255.255.255/32", "broadcast"),
            ("224.0.0.1/32", "multicast"),
            ("127.0.0.2/32", "loopback"),
            ("::1/128", "loopback"),
            ("::/64", "unspecified"),
            ("ff02::1/128", "multicast"),
            ("::ffff:10.0.0.1/128", "IPv4 address"),
            ("fd01::/64", "anycast"),
        ] {
            let said = address(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn destinations() {
        let net = |s: &str| Ok(Some(s.parse::<IpNet>().unwrap()));
        assert_eq!(destination("default"), Ok(None));
        assert_eq!(destination("198.51.100.0/24"), net("198.51.100.0/24"));
        assert_eq!(destination("198.51.100.7"), net("198.51.100.7/32"));
        assert_eq!(destination("0.0.0.0/0"), net("0.0.0.0/0"));
        assert_eq!(destination("::/0"), net("::/0"));
        assert!(destination("198.51.100.7/24").unwrap_err().contains("write 198.51.100.0/24"));
        assert!(destination("Default").is_err());
    }

    #[test]
    fn hosts() {
        assert_eq!(host("10.2.0.2"), Ok("10.2.0.2".parse().unwrap()));
        assert_eq!(host("fe80::2"), Ok("fe80::2".parse().unwrap()));
        for bad in ["10.2.0.2/24", "0.0.0.0", "::", "224.0.0.5", "127.0.0.1", "255.255.255.255", "gw"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
