//! Log lines, as the kernel's nf_log_syslog writes them.
//!
//! ```text
//! PREFIX IN=lan OUT=wan MAC=… SRC=… DST=… LEN=… TOS=0x00 PREC=0x00 TTL=64 ID=0 DF PROTO=TCP SPT=… DPT=… WINDOW=… RES=0x00 SYN URGP=0
//! PREFIX IN=lan OUT=    MAC=… SRC=… DST=… LEN=… TC=0 HOPLIMIT=64 FLOWLBL=0 PROTO=ICMPv6 TYPE=1 CODE=4 [SRC=… ] MARK=0x1
//! ```
//!
//! A line ends in a blank, as the kernel's do. What a header says is printed as it says it; where there is less of a
//! header than there should be, the line says so. Knows nothing of where lines go.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::base::{LinkId, Mac};
use crate::packet::{Net, Packet};
use crate::wire::{icmpv4, icmpv6, ipv4, ipv6, proto};

use super::targets::Log;

/// The longest line, in bytes (`S_SIZE` of the kernel's buffer, less its end).
const LONGEST_LINE: usize = 1018;

/// The line of a packet. `input` and `output` are the names of its links; empty where it has none.
pub fn line(log: &Log, packet: &Packet, input: &str, output: &str) -> String {
    let mut out = Line { text: String::with_capacity(256), full: false };
    // A line can only become too long, which is no error.
    let _ = write(&mut out, log, packet, input, output);
    out.text
}

fn write(out: &mut Line, log: &Log, packet: &Packet, input: &str, output: &str) -> fmt::Result {
    write!(out, "{}IN={input} OUT={output} ", log.prefix)?;
    if !input.is_empty() {
        mac(out, log, packet)?;
    }
    let l3 = packet.l3();
    let whole = match packet.meta.net {
        Net::Ipv6 => v6(out, log, l3, true)?,
        _ => v4(out, log, l3, true)?,
    };
    match packet.meta.mark {
        0 => Ok(()),
        mark if whole => write!(out, "MARK=0x{mark:x} "),
        _ => Ok(()),
    }
}

/// Text up to a length; what is beyond is cut off.
struct Line {
    text: String,
    full: bool,
}

impl fmt::Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = LONGEST_LINE.saturating_sub(self.text.len());
        if self.full || s.len() <= room {
            if !self.full {
                self.text.push_str(s);
            }
            return Ok(());
        }
        self.full = true;
        let end = (0..=room).rev().find(|i| s.is_char_boundary(*i)).unwrap_or(0);
        self.text.push_str(&s[..end]);
        Ok(())
    }
}

/// The link-layer header in hexadecimal, or read.
fn mac(out: &mut Line, log: &Log, packet: &Packet) -> fmt::Result {
    /// What the kernel's loopback device puts before a packet: no addresses, and the type.
    const LOOPBACK: [u8; 12] = [0; 12];
    const HEADER_LEN: usize = 14;
    let mut made = [0; HEADER_LEN];
    let mut header = &packet.data()[..usize::from(packet.meta.l3).min(packet.len())];
    if header.is_empty() && packet.meta.ingress == LinkId::LO {
        let kind: u16 = if packet.meta.net == Net::Ipv6 { 0x86dd } else { 0x0800 };
        made[..12].copy_from_slice(&LOOPBACK);
        made[12..].copy_from_slice(&kind.to_be_bytes());
        header = &made;
    }
    // Where a VLAN's tag stands, the link is the VLAN's, and its headers have none.
    match header.first_chunk::<HEADER_LEN>() {
        Some(&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1])
            if log.mac_decode && packet.meta.ingress != LinkId::LO =>
        {
            let (src, dst) = (Mac([s0, s1, s2, s3, s4, s5]), Mac([d0, d1, d2, d3, d4, d5]));
            write!(out, "MACSRC={src} MACDST={dst} MACPROTO={t0:02x}{t1:02x} ")
        }
        Some(header) => {
            out.write_str("MAC=")?;
            for (i, byte) in header.iter().enumerate() {
                write!(out, "{}{byte:02x}", if i == 0 { "" } else { ":" })?;
            }
            out.write_str(" ")
        }
        None => out.write_str("MAC= "),
    }
}

/// Bytes at a place, if they are all there.
fn at<const N: usize>(b: &[u8], from: usize) -> Option<&[u8; N]> {
    b.get(from..)?.first_chunk()
}

fn u16_of(b: &[u8], from: usize) -> u16 {
    at(b, from).map_or(0, |b| u16::from_be_bytes(*b))
}

fn u32_of(b: &[u8], from: usize) -> u32 {
    at(b, from).map_or(0, |b| u32::from_be_bytes(*b))
}

/// That a header is not all there. Where the one before it claims to go beyond the end, the number wraps, as the kernel's
/// does.
fn incomplete(out: &mut Line, b: &[u8], from: usize) -> fmt::Result {
    write!(out, "INCOMPLETE [{} bytes] ", missing(b, from))
}

fn missing(b: &[u8], from: usize) -> u32 {
    (b.len() as u32).wrapping_sub(from as u32)
}

/// An IPv4 packet; `outer` unless it is quoted in another. Gives whether it came to its end.
fn v4(out: &mut Line, log: &Log, b: &[u8], outer: bool) -> Result<bool, fmt::Error> {
    let Some(h) = at::<20>(b, 0) else {
        out.write_str("TRUNCATED")?;
        return Ok(false);
    };
    let (src, dst) = (Ipv4Addr::from(u32_of(h, 12)), Ipv4Addr::from(u32_of(h, 16)));
    write!(out, "SRC={src} DST={dst} LEN={} ", u16_of(h, 2))?;
    // RFC 1349's type of service, and RFC 791's precedence.
    write!(out, "TOS=0x{:02X} PREC=0x{:02X} TTL={} ID={} ", h[1] & 0x1e, h[1] & 0xe0, h[8], u16_of(h, 4))?;
    let word = u16_of(h, 6);
    for (bit, name) in [(0x8000, "CE "), (ipv4::DONT_FRAGMENT, "DF "), (ipv4::MORE_FRAGMENTS, "MF ")] {
        if word & bit != 0 {
            out.write_str(name)?;
        }
    }
    let fragment = word & ipv4::OFFSET_MASK;
    if fragment != 0 {
        write!(out, "FRAG:{fragment} ")?;
    }
    let header_len = usize::from(h[0] & 0x0f) * 4;
    if log.ip_options && header_len > 20 {
        let Some(options) = b.get(20..header_len) else {
            out.write_str("TRUNCATED")?;
            return Ok(false);
        };
        options_in_hex(out, options)?;
    }
    let (l4, later) = (header_len, fragment != 0);
    match h[9] {
        proto::TCP => return tcp(out, log, b, l4, later),
        proto::UDP | proto::UDP_LITE => return udp(out, b, l4, h[9], later),
        proto::ICMP => icmp(out, log, b, l4, later, outer)?,
        proto::AH if later => {}
        p @ (proto::AH | proto::ESP) => {
            let (name, from, need) = if p == proto::AH { ("AH", 4, 12) } else { ("ESP", 0, 8) };
            write!(out, "PROTO={name} ")?;
            if !later {
                match b.len() >= l4 + need {
                    true => write!(out, "SPI=0x{:x} ", u32_of(b, l4 + from))?,
                    false => incomplete(out, b, l4)?,
                }
            }
        }
        other => write!(out, "PROTO={other} ")?,
    }
    Ok(true)
}

fn options_in_hex(out: &mut Line, options: &[u8]) -> fmt::Result {
    out.write_str("OPT (")?;
    options.iter().try_for_each(|byte| write!(out, "{byte:02X}"))?;
    out.write_str(") ")
}

fn tcp(out: &mut Line, log: &Log, b: &[u8], l4: usize, later: bool) -> Result<bool, fmt::Error> {
    out.write_str("PROTO=TCP ")?;
    if later {
        return Ok(true);
    }
    let Some(h) = at::<20>(b, l4) else {
        incomplete(out, b, l4)?;
        return Ok(false);
    };
    write!(out, "SPT={} DPT={} ", u16_of(h, 0), u16_of(h, 2))?;
    if log.sequence {
        write!(out, "SEQ={} ACK={} ", u32_of(h, 4), u32_of(h, 8))?;
    }
    // The bits between the offset and the flags, two places up; the last of them is RFC 9768's AE.
    write!(out, "WINDOW={} RES=0x{:02x} ", u16_of(h, 14), (h[12] & 0x0e) << 2)?;
    let bits = u16::from(h[12] & 1) << 8 | u16::from(h[13]);
    let names = ["AE", "CWR", "ECE", "URG", "ACK", "PSH", "RST", "SYN", "FIN"];
    for (i, name) in names.iter().enumerate() {
        if bits & 0x100 >> i != 0 {
            write!(out, "{name} ")?;
        }
    }
    write!(out, "URGP={} ", u16_of(h, 18))?;
    let header_len = usize::from(h[12] >> 4) * 4;
    if log.tcp_options && header_len > 20 {
        let Some(options) = b.get(l4 + 20..l4 + header_len) else {
            out.write_str("OPT (TRUNCATED)")?;
            return Ok(false);
        };
        options_in_hex(out, options)?;
    }
    Ok(true)
}

fn udp(out: &mut Line, b: &[u8], l4: usize, p: u8, later: bool) -> Result<bool, fmt::Error> {
    write!(out, "PROTO={} ", if p == proto::UDP { "UDP" } else { "UDPLITE" })?;
    if later {
        return Ok(true);
    }
    let Some(h) = at::<8>(b, l4) else {
        incomplete(out, b, l4)?;
        return Ok(false);
    };
    write!(out, "SPT={} DPT={} LEN={} ", u16_of(h, 0), u16_of(h, 2), u16_of(h, 4))?;
    Ok(true)
}

fn icmp(out: &mut Line, log: &Log, b: &[u8], l4: usize, later: bool, outer: bool) -> fmt::Result {
    out.write_str("PROTO=ICMP ")?;
    if later {
        return Ok(());
    }
    let Some(h) = at::<8>(b, l4) else { return incomplete(out, b, l4) };
    let [kind, code, ..] = *h;
    write!(out, "TYPE={kind} CODE={code} ")?;
    // What each type must hold: an error its own header and that of the packet it is about.
    let need = match kind {
        icmpv4::ECHO | icmpv4::ECHO_REPLY => 4,
        3 | 4 | 5 | 11 | 12 => 8 + 20,
        icmpv4::TIMESTAMP | icmpv4::TIMESTAMP_REPLY => 20,
        ADDRESS_MASK | ADDRESS_MASK_REPLY => 12,
        _ => 0,
    };
    if b.len() - l4 < need {
        return incomplete(out, b, l4);
    }
    match kind {
        icmpv4::ECHO | icmpv4::ECHO_REPLY => write!(out, "ID={} SEQ={} ", u16_of(h, 4), u16_of(h, 6))?,
        icmpv4::PARAMETER_PROBLEM => write!(out, "PARAMETER={} ", h[4])?,
        icmpv4::REDIRECT | icmpv4::UNREACHABLE | icmpv4::SOURCE_QUENCH | icmpv4::TIME_EXCEEDED => {
            if kind == icmpv4::REDIRECT {
                write!(out, "GATEWAY={} ", Ipv4Addr::from(u32_of(h, 4)))?;
            }
            if outer {
                out.write_str("[")?;
                v4(out, log, b.get(l4 + 8..).unwrap_or(&[]), false)?;
                out.write_str("] ")?;
            }
            if kind == icmpv4::UNREACHABLE && code == icmpv4::unreachable::FRAGMENTATION_NEEDED {
                write!(out, "MTU={} ", u16_of(h, 6))?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Address mask request (RFC 950).
const ADDRESS_MASK: u8 = 17;
/// Address mask reply (RFC 950).
const ADDRESS_MASK_REPLY: u8 = 18;

/// Eight groups of four digits.
fn groups(addr: Ipv6Addr) -> String {
    addr.segments().map(|s| format!("{s:04x}")).join(":")
}

/// An IPv6 packet, likewise.
fn v6(out: &mut Line, log: &Log, b: &[u8], outer: bool) -> Result<bool, fmt::Error> {
    let Some(h) = at::<{ ipv6::HEADER_LEN }>(b, 0) else {
        out.write_str("TRUNCATED")?;
        return Ok(false);
    };
    let addr = |from| Ipv6Addr::from(at::<16>(h, from).copied().unwrap_or_default());
    write!(out, "SRC={} DST={} ", groups(addr(8)), groups(addr(24)))?;
    let first = u32_of(h, 0);
    write!(out, "LEN={} TC={} ", usize::from(u16_of(h, 4)) + ipv6::HEADER_LEN, first >> 20 & 0xff)?;
    write!(out, "HOPLIMIT={} FLOWLBL={} ", h[7], first & 0xf_ffff)?;

    let (mut next, mut from, mut later) = (h[6], ipv6::HEADER_LEN, false);
    while is_extension(next) {
        let Some([following, len]) = at::<2>(b, from).copied() else {
            out.write_str("TRUNCATED")?;
            return Ok(false);
        };
        match extension(out, log, b, from, next, &mut later)? {
            true => {}
            false => return Ok(false),
        }
        from += match next {
            proto::FRAGMENT => 8,
            proto::AH => (usize::from(len) + 2) * 4,
            _ => (usize::from(len) + 1) * 8,
        };
        next = following;
    }
    match next {
        proto::TCP => return tcp(out, log, b, from, later),
        proto::UDP | proto::UDP_LITE => return udp(out, b, from, next, later),
        proto::ICMPV6 => return icmp6(out, log, b, from, later, outer),
        other => write!(out, "PROTO={other} ")?,
    }
    Ok(true)
}

fn is_extension(p: u8) -> bool {
    matches!(
        p,
        proto::HOP_BY_HOP | proto::ROUTING | proto::FRAGMENT | proto::DEST_OPTIONS | proto::AH | proto::ESP
    )
}

/// An extension header; gives whether there is something behind it to read.
fn extension(
    out: &mut Line,
    log: &Log,
    b: &[u8],
    from: usize,
    kind: u8,
    later: &mut bool,
) -> Result<bool, fmt::Error> {
    if log.ip_options {
        out.write_str("OPT ( ")?;
    }
    match kind {
        proto::FRAGMENT => {
            out.write_str("FRAG:")?;
            let Some(h) = at::<8>(b, from) else {
                out.write_str("TRUNCATED ")?;
                return Ok(false);
            };
            let word = u16_of(h, 2);
            write!(out, "{} ", word & 0xfff8)?;
            if word & 1 != 0 {
                out.write_str("INCOMPLETE ")?;
            }
            write!(out, "ID:{:08x} ", u32_of(h, 4))?;
            *later = word & 0xfff8 != 0;
        }
        proto::AH | proto::ESP => {
            let (name, spi, need) = if kind == proto::AH { ("AH", 4, 12) } else { ("ESP", 0, 8) };
            if log.ip_options {
                write!(out, "{name} ")?;
                if *later {
                    out.write_str(")")?;
                    return Ok(false);
                }
                if b.len() < from + need {
                    write!(out, "INCOMPLETE [{} bytes] )", missing(b, from))?;
                    return Ok(false);
                }
                let end = if kind == proto::ESP { ")" } else { "" };
                write!(out, "SPI=0x{:x} {end}", u32_of(b, from + spi))?;
            }
            if kind == proto::ESP {
                return Ok(false);
            }
        }
        _ if *later => {
            if log.ip_options {
                out.write_str(")")?;
            }
            return Ok(false);
        }
        _ => {}
    }
    if log.ip_options {
        out.write_str(") ")?;
    }
    Ok(true)
}

fn icmp6(
    out: &mut Line,
    log: &Log,
    b: &[u8],
    l4: usize,
    later: bool,
    outer: bool,
) -> Result<bool, fmt::Error> {
    out.write_str("PROTO=ICMPv6 ")?;
    if later {
        return Ok(true);
    }
    let Some(h) = at::<8>(b, l4) else {
        incomplete(out, b, l4)?;
        return Ok(false);
    };
    let [kind, code, ..] = *h;
    write!(out, "TYPE={kind} CODE={code} ")?;
    match kind {
        icmpv6::ECHO | icmpv6::ECHO_REPLY => write!(out, "ID={} SEQ={} ", u16_of(h, 4), u16_of(h, 6))?,
        icmpv6::UNREACHABLE | icmpv6::TOO_BIG | icmpv6::TIME_EXCEEDED | icmpv6::PARAMETER_PROBLEM => {
            if kind == icmpv6::PARAMETER_PROBLEM {
                write!(out, "POINTER={:08x} ", u32_of(h, 4))?;
            }
            if outer {
                out.write_str("[")?;
                v6(out, log, b.get(l4 + 8..).unwrap_or(&[]), false)?;
                out.write_str("] ")?;
            }
            if kind == icmpv6::TOO_BIG {
                write!(out, "MTU={} ", u32_of(h, 4))?;
            }
        }
        _ => {}
    }
    Ok(true)
}

#[cfg(test)]
#[path = "log/tests.rs"]
mod tests;
