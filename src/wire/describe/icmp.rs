//! ICMP messages in words.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr};

use super::Name;
use crate::wire::icmpv4::{self, Icmpv4};
use crate::wire::icmpv6::{self, Icmpv6};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::ipv6_ext::{self, Chain};
use crate::wire::ndp::{self, Message};
use crate::wire::transport;

/// An ICMP message of IPv4, with its length.
pub(super) fn v4(out: &mut String, b: &[u8]) -> fmt::Result {
    let Some(m) = Icmpv4::new(b) else { return write!(out, "truncated ICMP, length {}", b.len()) };
    out.write_str("ICMP ")?;
    match m.kind() {
        icmpv4::ECHO => write!(out, "echo request, id {}, seq {}", m.ident(), m.seq())?,
        icmpv4::ECHO_REPLY => write!(out, "echo reply, id {}, seq {}", m.ident(), m.seq())?,
        icmpv4::UNREACHABLE => {
            use icmpv4::unreachable as code;
            match m.code() {
                code::NET => out.write_str("net unreachable")?,
                code::HOST => out.write_str("host unreachable")?,
                code::PROTOCOL => out.write_str("protocol unreachable")?,
                code::PORT => out.write_str("port unreachable")?,
                code::FRAGMENTATION_NEEDED => write!(out, "fragmentation needed, mtu {}", m.seq())?,
                code::SOURCE_ROUTE_FAILED => out.write_str("source route failed")?,
                code::NET_UNKNOWN => out.write_str("net unknown")?,
                code::HOST_UNKNOWN => out.write_str("host unknown")?,
                code::NET_PROHIBITED => out.write_str("net prohibited")?,
                code::HOST_PROHIBITED => out.write_str("host prohibited")?,
                code::ADMIN_PROHIBITED => out.write_str("admin prohibited")?,
                other => write!(out, "unreachable, code {other}")?,
            }
        }
        icmpv4::SOURCE_QUENCH => out.write_str("source quench")?,
        icmpv4::REDIRECT => write!(out, "redirect, code {}, to {}", m.code(), Ipv4Addr::from(m.rest()))?,
        icmpv4::ROUTER_ADVERT => out.write_str("router advertisement")?,
        icmpv4::ROUTER_SOLICIT => out.write_str("router solicitation")?,
        icmpv4::TIME_EXCEEDED if m.code() == icmpv4::REASSEMBLY_EXCEEDED => {
            out.write_str("reassembly time exceeded")?;
        }
        icmpv4::TIME_EXCEEDED => out.write_str("time exceeded in transit")?,
        icmpv4::PARAMETER_PROBLEM => {
            write!(out, "parameter problem, code {}, octet {}", m.code(), m.rest() >> 24)?;
        }
        icmpv4::TIMESTAMP => write!(out, "timestamp request, id {}, seq {}", m.ident(), m.seq())?,
        icmpv4::TIMESTAMP_REPLY => write!(out, "timestamp reply, id {}, seq {}", m.ident(), m.seq())?,
        other => write!(out, "type {other}, code {}", m.code())?,
    }
    if icmpv4::is_error(m.kind()) {
        quoted(out, m.payload())?;
    }
    write!(out, ", length {}", b.len())
}

/// An ICMP message of IPv6, with its length.
pub(super) fn v6(out: &mut String, src: IpAddr, dst: IpAddr, b: &[u8]) -> fmt::Result {
    let Some(m) = Icmpv6::new(b) else { return write!(out, "truncated ICMP6, length {}", b.len()) };
    out.write_str("ICMP6, ")?;
    match m.kind() {
        icmpv6::ECHO => write!(out, "echo request, id {}, seq {}", m.ident(), m.seq())?,
        icmpv6::ECHO_REPLY => write!(out, "echo reply, id {}, seq {}", m.ident(), m.seq())?,
        icmpv6::UNREACHABLE => {
            use icmpv6::unreachable as code;
            match m.code() {
                code::NO_ROUTE => out.write_str("no route to destination")?,
                code::PROHIBITED => out.write_str("admin prohibited")?,
                code::BEYOND_SCOPE => out.write_str("beyond scope of source")?,
                code::ADDRESS => out.write_str("address unreachable")?,
                code::PORT => out.write_str("port unreachable")?,
                code::POLICY => out.write_str("source failed policy")?,
                code::REJECT => out.write_str("reject route")?,
                other => write!(out, "unreachable, code {other}")?,
            }
        }
        icmpv6::TOO_BIG => write!(out, "packet too big, mtu {}", m.rest())?,
        icmpv6::TIME_EXCEEDED if m.code() == icmpv6::REASSEMBLY_EXCEEDED => {
            out.write_str("reassembly time exceeded")?;
        }
        icmpv6::TIME_EXCEEDED => out.write_str("time exceeded in transit")?,
        icmpv6::PARAMETER_PROBLEM => {
            let what = match m.code() {
                icmpv6::problem::FIELD => "erroneous header",
                icmpv6::problem::NEXT_HEADER => "unknown next header",
                icmpv6::problem::OPTION => "unknown option",
                icmpv6::problem::INCOMPLETE_CHAIN => "incomplete header chain",
                _ => "code not known",
            };
            write!(out, "parameter problem, {what}, octet {}", m.rest())?;
        }
        icmpv6::MLD_QUERY => out.write_str("multicast listener query")?,
        icmpv6::MLD_REPORT | icmpv6::MLD2_REPORT => out.write_str("multicast listener report")?,
        icmpv6::MLD_DONE => out.write_str("multicast listener done")?,
        icmpv6::ROUTER_SOLICIT..=icmpv6::REDIRECT => neighbor(out, src, dst, b)?,
        other => write!(out, "type {other}, code {}", m.code())?,
    }
    if m.kind() < icmpv6::ECHO {
        quoted(out, m.payload())?;
    }
    write!(out, ", length {}", b.len())
}

fn neighbor(out: &mut String, src: IpAddr, dst: IpAddr, b: &[u8]) -> fmt::Result {
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (src, dst) else { return Ok(()) };
    match ndp::parse(src, dst, b) {
        Ok(Message::RouterSolicit { .. }) => out.write_str("router solicitation"),
        Ok(Message::RouterAdvert(ra)) => write!(out, "router advertisement, lifetime {}s", ra.lifetime),
        Ok(Message::NeighborSolicit(ns)) => write!(out, "neighbor solicitation, who has {}", ns.target),
        Ok(Message::NeighborAdvert(na)) => {
            write!(out, "neighbor advertisement, tgt is {}", na.target)?;
            if let Some(mac) = na.target_mac {
                write!(out, " at {mac}")?;
            }
            let flags = [(na.router, "router"), (na.solicited, "solicited"), (na.override_, "override")];
            for (_, name) in flags.iter().filter(|(set, _)| *set) {
                write!(out, ", {name}")?;
            }
            Ok(())
        }
        Ok(Message::Redirect(r)) => write!(out, "redirect, {} to {}", r.destination, r.target),
        Err(e) => {
            let what = match b.first().copied() {
                Some(icmpv6::ROUTER_SOLICIT) => "router solicitation",
                Some(icmpv6::ROUTER_ADVERT) => "router advertisement",
                Some(icmpv6::NEIGHBOR_SOLICIT) => "neighbor solicitation",
                Some(icmpv6::NEIGHBOR_ADVERT) => "neighbor advertisement",
                _ => "redirect",
            };
            write!(out, "invalid {what}: {e}")
        }
    }
}

/// The packet an error is about: from, to, protocol, as far as it is quoted.
fn quoted(out: &mut String, b: &[u8]) -> fmt::Result {
    let (src, dst, proto, l4): (IpAddr, IpAddr, u8, &[u8]) = match b.first().map(|first| first >> 4) {
        Some(4) => {
            let Some(ip) = Ipv4::new(b) else { return Ok(()) };
            let l4 = if ip.frag_offset() == 0 { b.get(ip.header_len()..) } else { None };
            (ip.src().into(), ip.dst().into(), ip.protocol(), l4.unwrap_or_default())
        }
        Some(6) => {
            let Some(ip) = Ipv6::new(b) else { return Ok(()) };
            let plain = Chain { proto: ip.next_header(), ..Chain::default() };
            let chain = ipv6_ext::walk(b).unwrap_or(plain);
            let l4 = if chain.l4 == 0 { None } else { b.get(chain.l4..) };
            (ip.src().into(), ip.dst().into(), chain.proto, l4.unwrap_or_default())
        }
        _ => return Ok(()),
    };
    match transport::ports(proto, l4) {
        Some((s, d)) => write!(out, " ({src}.{s} > {dst}.{d} {})", Name(proto)),
        None => write!(out, " ({src} > {dst} {})", Name(proto)),
    }
}
