//! Rules for both: as text for the kernel, and as ranges for us.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sekisho::conntrack::nat::netmap;
use sekisho::packet::{NatRange, Tuple};

use crate::packets::Numbers;
use crate::table::{Ranges, is_echo};

#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) v6: bool,
    /// What becomes of destinations in PREROUTING.
    pub(crate) dst: Option<NatRange>,
    /// What becomes of sources in POSTROUTING.
    pub(crate) src: Option<NatRange>,
}

impl Rules {
    pub(crate) fn any(n: &mut Numbers) -> Rules {
        let v6 = n.coin();
        let dst = n.coin().then(|| range(n, v6, true));
        let src = (n.below(6) > 0).then(|| range(n, v6, false));
        Rules { v6, dst, src }
    }

    /// What they say of a protocol: those with ports name those that have some.
    pub(crate) fn of(&self, proto: u8) -> Ranges {
        let ports = matches!(proto, 6 | 17 | 132) || proto == 1 && !self.v6;
        [self.dst, self.src].map(|range| range.filter(|r| ports || r.port.is_none()))
    }

    /// The text that iptables-restore takes.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("*nat\n");
        for (chain, dev, target, to, range) in [
            ("PREROUTING", "-i lan", "DNAT", "--to-destination", self.dst),
            ("POSTROUTING", "-o wan", "SNAT", "--to-source", self.src),
        ] {
            let Some(range) = range else { continue };
            let protos = ["tcp", "udp", "sctp", "icmp"].map(|p| format!("-p {p}"));
            let protos = match range.port {
                None => &[String::new()][..],
                Some(_) if self.v6 => &protos[..3],
                Some(_) => &protos,
            };
            for proto in protos {
                let _ = match range.netmap {
                    true => writeln!(text, "-A {chain} {dev} -j NETMAP --to {}", network(&range)),
                    false => writeln!(text, "-A {chain} {dev} {proto} -j {target} {to} {}", self.to(&range)),
                };
            }
        }
        text + "COMMIT\n"
    }

    fn to(&self, range: &NatRange) -> String {
        let mut text = String::new();
        if let Some((a, b)) = range.addr {
            let brackets = self.v6 && range.port.is_some();
            text += if brackets { "[" } else { "" };
            text += &if a == b { a.to_string() } else { format!("{a}-{b}") };
            text += if brackets { "]" } else { "" };
        }
        if let Some((a, b)) = range.port {
            let _ =
                if a == b && range.base.is_none() { write!(text, ":{a}") } else { write!(text, ":{a}-{b}") };
        }
        if let Some(base) = range.base {
            let _ = write!(text, "/{base}");
        }
        for (is, word) in [
            (range.random, " --random"),
            (range.random_fully, " --random-fully"),
            (range.persistent, " --persistent"),
        ] {
            text += if is { word } else { "" };
        }
        text
    }

    /// Of which kind the ports of a reply tuple are: those of a rule, or the class that the flow's own belongs to.
    pub(crate) fn class(&self, own: &Tuple, t: &Tuple, [dst, src]: &Ranges) -> [u32; 2] {
        let class = |own: u16, port: u16, range: &Option<NatRange>| match range.and_then(|r| r.port) {
            Some((a, b)) if (a..=b).contains(&port) => 9,
            Some(_) => 8,
            None if is_echo(t) => 7,
            None => match (own, port) {
                (0..512, 1..512) => 1,
                (512..1024, 600..1024) => 2,
                (1024.., 1024..) => 3,
                _ => 4,
            },
        };
        if is_echo(t) {
            // One that the source could not keep may be any.
            return [class(0, t.src_port, src), 0];
        }
        let src_class = match dst.and_then(|r| r.port) {
            None => u32::from(t.src_port == own.src_port),
            Some(_) => class(0, t.src_port, dst),
        };
        [src_class, class(own.dst_port, t.dst_port, src)]
    }
}

fn network(range: &NatRange) -> String {
    let Some((first, last)) = range.addr else { unreachable!("netmap has a network") };
    match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => format!("{a}/{}", (u32::from(a) ^ u32::from(b)).leading_zeros()),
        (IpAddr::V6(a), IpAddr::V6(b)) => format!("{a}/{}", (u128::from(a) ^ u128::from(b)).leading_zeros()),
        _ => unreachable!("one family"),
    }
}

/// Addresses: beyond the router on the wan side, whichever end they are for.
fn range(n: &mut Numbers, v6: bool, dst: bool) -> NatRange {
    let net = if dst { 7 } else { 2 };
    let at = |low: u128| match v6 {
        false => IpAddr::V4(Ipv4Addr::from(0xcb00_0000 | net << 16 | low as u32 & 0xffff)),
        true => IpAddr::V6(Ipv6Addr::from(0xfd70_u128 << 112 | u128::from(net) << 96 | low)),
    };
    if n.below(6) == 0 {
        let len = if v6 { [64, 112, 120, 125][n.below(4)] } else { [16, 22, 24, 29][n.below(4)] };
        return netmap(at(0), len);
    }
    let (first, size) = match n.below(4) {
        0 | 1 => (n.below(5) as u128, 0),
        2 => (3, 1 + n.below(9) as u128),
        // Ends that differ in more than one word.
        _ if v6 => (0x1_0000_0007_0000_0003, 0x2_0000_0001_0000_0005),
        _ => (200, 0x3ff),
    };
    let mut range = NatRange { addr: Some((at(first), at(first + size))), ..NatRange::default() };
    range.persistent = n.below(3) == 0;
    if n.coin() {
        let first = [1, 500, 1000, 4000][n.below(4)];
        range.port = Some((first, first + [0, 1, 3, 20, 600][n.below(5)]));
        if dst && !v6 && n.below(3) == 0 {
            range.base = Some(3990);
        }
    }
    if range.base.is_none() {
        range.random = n.below(6) == 0;
        range.random_fully = n.below(8) == 0 && !dst;
    }
    if dst && n.below(5) == 0 && range.port.is_some() && !v6 {
        range.addr = None;
    }
    range
}
