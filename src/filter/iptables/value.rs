//! What stands behind an option: numbers, ports, addresses, masks, marks.
//!
//! Each reader gives what is wrong as a sentence that begins with what was written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::Mac;
use crate::filter::matches::{AddrMask, Masked, Ports};
use crate::filter::rule::Family;

use super::names;

type Read<T> = Result<T, String>;

/// A number at the beginning of a text, as C reads one (`0x` hexadecimal, a leading 0 octal), and what follows it.
pub(super) fn leading_number(text: &str) -> Option<(u64, &str)> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', d, ..] if d.is_ascii_hexdigit() => (&text[2..], 16),
        [b'0', ..] => (text, 8),
        _ => (text, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    Some((u64::from_str_radix(digits, radix).ok()?, rest))
}

/// A number and nothing else.
pub(super) fn number(text: &str, first: u64, last: u64) -> Read<u64> {
    match leading_number(text) {
        Some((n, "")) if (first..=last).contains(&n) => Ok(n),
        _ => Err(format!("'{text}' is no number from {first} to {last}")),
    }
}

/// A number that fits a byte.
pub(super) fn byte(text: &str) -> Read<u8> {
    number(text, 0, 255).map(|n| n as u8)
}

/// `A`, `A:B`, `:B`, `A:`: a range, whose ends may be left out.
pub(super) fn range(text: &str, last: u64) -> Read<(u64, u64)> {
    let bad = |e: String| format!("{e}, or two with a colon between");
    match text.split_once(':') {
        None => number(text, 0, last).map(|n| (n, n)).map_err(bad),
        Some((a, b)) => {
            let a = if a.is_empty() { 0 } else { number(a, 0, last).map_err(bad)? };
            let b = if b.is_empty() { last } else { number(b, 0, last).map_err(bad)? };
            Ok((a, b))
        }
    }
}

/// `VALUE` or `VALUE/MASK`.
pub(super) fn masked(text: &str, last: u64) -> Read<Masked> {
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (number(value, 0, last)?, number(mask, 0, last)?),
        None => (number(text, 0, last)?, last),
    };
    Ok(Masked { value: value as u32, mask: mask as u32 })
}

/// A TOS byte by name or number, with a mask; a name covers all but ECN's two bits as iptables has them (0x3f).
pub(super) fn tos(text: &str) -> Read<Masked> {
    if let Some((_, value)) = names::TOS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Ok(Masked { value: u32::from(*value), mask: 0x3f });
    }
    masked(text, 255).map_err(|e| format!("{e}, nor a name such as Minimize-Delay"))
}

/// One port, by number or by the name of a service of that protocol (of any, when none is given).
pub(super) fn port(text: &str, proto: Option<u8>) -> Read<u16> {
    if let Ok(n) = number(text, 0, 65535) {
        return Ok(n as u16);
    }
    names::service(text, proto).ok_or_else(|| no_port(text))
}

fn no_port(text: &str) -> String {
    format!("invalid port/service `{text}' specified")
}

/// The same, but a number is decimal whatever it begins with: so do all options read ports that are not TCP's,
/// multiport's or NAT's.
pub(super) fn decimal_port(text: &str) -> Read<u16> {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().map_err(|_| no_port(text)),
        false => names::service(text, None).ok_or_else(|| no_port(text)),
    }
}

/// `A`, `A:B`, `:B`, `A:`. Only TCP's match refuses ranges that end before they begin; the others never match then.
pub(super) fn ports(text: &str, port: impl Fn(&str) -> Read<u16>) -> Read<Ports> {
    let Some((a, b)) = text.split_once(':') else {
        return port(text).map(|p| Ports { first: p, last: p });
    };
    let first = if a.is_empty() { 0 } else { port(a)? };
    let last = if b.is_empty() { 65535 } else { port(b)? };
    Ok(Ports { first, last })
}

/// A protocol by name or number.
pub(super) fn protocol(text: &str) -> Read<u8> {
    if let Ok(n) = byte(text) {
        return Ok(n);
    }
    names::protocol(&text.to_ascii_lowercase())
        .ok_or_else(|| format!("unknown protocol \"{text}\" specified: write its number"))
}

/// An address of a rule's `-s` and `-d`: `10.1` is 10.1.0.0.
fn basic_address(text: &str, family: Family) -> Read<IpAddr> {
    let addr = match family {
        Family::V4 => dotted(text, true).map(IpAddr::V4),
        Family::V6 => text.parse().ok().map(IpAddr::V6),
    };
    addr.ok_or_else(|| not_an_address(text, family))
}

/// An address written in full.
pub(super) fn address(text: &str, family: Family) -> Read<IpAddr> {
    let addr = match family {
        Family::V4 => text.parse().ok().map(IpAddr::V4),
        Family::V6 => text.parse().ok().map(IpAddr::V6),
    };
    addr.ok_or_else(|| not_an_address(text, family))
}

/// An address as iprange has it: of IPv4 the end may be left out.
pub(super) fn range_address(text: &str, family: Family) -> Read<IpAddr> {
    basic_address(text, family)
}

fn not_an_address(text: &str, family: Family) -> String {
    let other = match family {
        Family::V4 => text.parse::<Ipv6Addr>().is_ok(),
        Family::V6 => text.parse::<Ipv4Addr>().is_ok(),
    };
    let name = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    match other {
        true => {
            format!("host/network `{text}' not found: it is of the other family, these are rules for {name}")
        }
        false => {
            format!("host/network `{text}' not found: write its {name} address")
        }
    }
}

/// Four numbers with dots between; with `short`, the last ones may be left out and are zero.
fn dotted(text: &str, short: bool) -> Option<Ipv4Addr> {
    let mut bytes = [0; 4];
    let mut parts = text.split('.');
    for (i, byte) in bytes.iter_mut().enumerate() {
        match parts.next() {
            Some(part) => *byte = self::byte(part).ok()?,
            None if short && i > 0 => break,
            None => return None,
        }
    }
    parts.next().is_none().then_some(Ipv4Addr::from(bytes))
}

/// The mask behind a `/`: how many bits, or the mask itself.
fn mask(text: &str, family: Family) -> Read<IpAddr> {
    let mask = match family {
        Family::V4 => dotted(text, false).map(IpAddr::V4),
        Family::V6 => text.parse().ok().map(IpAddr::V6),
    };
    if let Some(mask) = mask {
        return Ok(mask);
    }
    let most = bits(family);
    let n = number(text, 0, most)
        .map_err(|_| format!("invalid mask `{text}' specified: a number from 0 to {most}, or a mask"))?;
    Ok(prefix_mask(n as u32, family))
}

fn bits(family: Family) -> u64 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

/// The mask of a prefix.
fn prefix_mask(len: u32, family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::MAX.checked_shl(32 - len).unwrap_or(0))),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(u128::MAX.checked_shl(128 - len).unwrap_or(0))),
    }
}

/// How long a prefix a mask is of, if it is of one.
pub(super) fn prefix_len(mask: IpAddr) -> Option<u8> {
    let (ones, zeros, all) = match mask {
        IpAddr::V4(m) => (u32::from(m).leading_ones(), u32::from(m).trailing_zeros(), 32),
        IpAddr::V6(m) => (u128::from(m).leading_ones(), u128::from(m).trailing_zeros(), 128),
    };
    (ones + zeros == all).then_some(ones as u8)
}

/// The bits of an address that a mask has.
pub(super) fn and(addr: IpAddr, mask: IpAddr) -> IpAddr {
    match (addr, mask) {
        (IpAddr::V4(a), IpAddr::V4(m)) => IpAddr::V4(a & m),
        (IpAddr::V6(a), IpAddr::V6(m)) => IpAddr::V6(a & m),
        (addr, _) => addr,
    }
}

/// `ADDR[/MASK],…`, as `-s` and `-d` take it: bits outside the mask are cleared.
pub(super) fn networks(text: &str, family: Family) -> Read<Vec<AddrMask>> {
    text.split(',').map(|one| network(one.trim_start(), family)).collect()
}

fn network(text: &str, family: Family) -> Read<AddrMask> {
    let (addr, mask) = match text.rsplit_once('/') {
        Some((addr, mask)) => (addr, self::mask(mask, family)?),
        None => (text, prefix_mask(bits(family) as u32, family)),
    };
    // With a mask of nothing the address is not even read: `any/0`.
    let addr = if mask.is_unspecified() { mask } else { basic_address(addr, family)? };
    Ok(AddrMask { addr: and(addr, mask), mask })
}

/// `ADDR[/MASK]`, as conntrack and NETMAP take it: the address stays as it is written.
pub(super) fn host_mask(text: &str, family: Family) -> Read<AddrMask> {
    let (addr, mask) = match text.split_once('/') {
        Some((addr, mask)) => (addr, self::mask(mask, family)?),
        None => (text, prefix_mask(bits(family) as u32, family)),
    };
    Ok(AddrMask { addr: address(addr, family)?, mask })
}

/// Six bytes in hexadecimal, with colons between.
pub(super) fn mac(text: &str) -> Read<Mac> {
    let bad = || format!("'{text}' is no MAC address such as 02:00:00:00:00:01");
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().ok_or_else(bad)?;
        if !(1..=2).contains(&part.len()) || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
    }
    if parts.next().is_some() {
        return Err(bad());
    }
    Ok(Mac(bytes))
}

/// An IPv6 address as inet_ntop writes it: unlike Rust, `::1.2.3.4` for those of the oldest kind.
pub(super) fn show(addr: IpAddr) -> String {
    if let IpAddr::V6(v6) = addr {
        let [a, b, c, d, e, f, g, h] = v6.segments();
        if [a, b, c, d, e, f] == [0; 6] && g != 0 {
            return format!("::{}", Ipv4Addr::from(u32::from(g) << 16 | u32::from(h)));
        }
    }
    addr.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(leading_number("0x1fz"), Some((31, "z")));
        assert_eq!(leading_number("0x"), Some((0, "x")));
        assert_eq!(leading_number("010/3"), Some((8, "/3")));
        assert_eq!(leading_number("08"), Some((0, "8")));
        assert_eq!(leading_number(""), None);
        assert_eq!(leading_number("-1"), None);
        assert_eq!(leading_number("18446744073709551616"), None);
        assert_eq!(range(":9", 20), Ok((0, 9)));
        assert_eq!(range("9:", 20), Ok((9, 20)));
        assert!(range("", 20).is_err());
    }

    #[test]
    fn addresses() {
        let v4 = |t: &str| networks(t, Family::V4).map(|n| n.iter().map(|n| n.addr).collect::<Vec<_>>());
        assert_eq!(v4("10.1").unwrap(), ["10.1.0.0".parse::<IpAddr>().unwrap()]);
        assert_eq!(v4("010.0x1.1.1/24").unwrap(), ["8.1.1.0".parse::<IpAddr>().unwrap()]);
        assert_eq!(v4("any/0,1.2.3.4").unwrap().len(), 2);
        for bad in ["", "1.2.3.4.5", "1.2.3.256", "host", "1.2.3.4/33", "1.2.3.4/255.255", "1.1.1.1,", "::1"]
        {
            assert!(v4(bad).is_err(), "{bad}");
        }
        assert!(v4("::1").unwrap_err().contains("other family"));
        assert_eq!(prefix_len("255.255.0.0".parse().unwrap()), Some(16));
        assert_eq!(prefix_len("255.0.255.0".parse().unwrap()), None);
        assert_eq!(prefix_len("0.0.0.0".parse().unwrap()), Some(0));
        assert_eq!(prefix_len("::".parse().unwrap()), Some(0));
        assert_eq!(prefix_mask(0, Family::V6), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    }

    #[test]
    fn shown_as_inet_ntop_does() {
        for text in ["::1.2.3.4", "::1", "::", "::ffff:1.2.3.4", "1:0:0:2::3", "::2:1.2.3.4"] {
            let addr: IpAddr = text.parse().unwrap();
            let want = if text == "::2:1.2.3.4" { "::2:102:304" } else { text };
            assert_eq!(show(addr), want);
        }
    }
}
