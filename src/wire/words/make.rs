//! What was said, as bytes.

use std::net::{IpAddr, Ipv4Addr};

use super::{Ip, Spoken, Upper, What, WordsError, icmp};
use crate::base::Mac;
use crate::wire::arp::{Arp, Op};
use crate::wire::bytes::{put, put_u8, put_u16, put_u32};
use crate::wire::{ethernet, icmpv4, icmpv6, ipv4, ipv6, proto, sctp, tcp, udp, vlan};

/// What an echo carries unless a length is said: as much as ping(8) sends.
const ECHO_DATA: usize = 56;
/// Bytes of IPv6's fragment header (RFC 8200 §4.5).
const FRAGMENT: usize = 8;
/// Types of SCTP's chunks (RFC 9260 §3.2).
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;

/// Bytes of a chunk with nothing in it that may be left out (RFC 9260 §3.3); one byte of data.
fn chunk_len(chunk: u8) -> usize {
    match chunk {
        DATA => 17,
        INIT | INIT_ACK => 20,
        SACK => 16,
        _ => 4,
    }
}
/// The MSS option (RFC 9293 §3.7.1).
const MSS: usize = 4;

impl Spoken {
    /// The IP packet, if it is one.
    pub fn packet(&self) -> Option<Vec<u8>> {
        match &self.what {
            What::Ip(ip) => Some(ip.bytes()),
            What::WhoHas { .. } | What::IsAt { .. } => None,
        }
    }

    /// The frame, from one station to another.
    pub fn frame(&self, from: Mac, to: Mac) -> Vec<u8> {
        let (kind, body) = match &self.what {
            What::Ip(ip) => (if ip.is_v6() { ethernet::IPV6 } else { ethernet::IPV4 }, ip.bytes()),
            What::WhoHas { target, sender } => {
                let (sender_ip, target_ip) = (*sender, *target);
                let arp =
                    Arp { op: Op::Request, sender_mac: from, sender_ip, target_mac: Mac::ZERO, target_ip };
                (ethernet::ARP, arp.emit().to_vec())
            }
            What::IsAt { sender, mac, target } => {
                let (sender_ip, target_ip) = (*sender, *target);
                let arp = Arp { op: Op::Reply, sender_mac: *mac, sender_ip, target_mac: to, target_ip };
                (ethernet::ARP, arp.emit().to_vec())
            }
        };
        let mut frame = vec![0; ethernet::HEADER_LEN];
        match self.vlan {
            None => ethernet::write(&mut frame, to, from, kind),
            Some(vid) => {
                ethernet::write(&mut frame, to, from, ethernet::VLAN);
                frame.extend([vid.to_be_bytes(), kind.to_be_bytes()].concat());
                debug_assert_eq!(frame.len(), ethernet::HEADER_LEN + vlan::TAG_LEN);
            }
        }
        frame.extend(body);
        frame
    }
}

/// Whether the lengths that were said can be.
pub(super) fn check(ip: &Ip) -> Result<(), WordsError> {
    let least = ip.headers() + ip.upper_least();
    if let Some(len) = ip.len.filter(|len| *len < least) {
        return Err(WordsError::Amiss(format!("such a packet has at least {least} bytes, not {len}")));
    }
    let most = if ip.is_v6() { ipv6::HEADER_LEN + 65_535 } else { 65_535 };
    let (len, at) = (ip.length(), ip.fragment.map_or(0, |(at, _)| usize::from(at)));
    if at + len > most {
        return Err(WordsError::Amiss(format!(
            "a fragment of {len} bytes at {at} reaches beyond the longest datagram"
        )));
    }
    if let Some((at, true)) = ip.fragment
        && !(len - ip.headers()).is_multiple_of(8)
    {
        let right = ip.headers() + (len - ip.headers()) / 8 * 8 + 8;
        let why = format!(
            "a fragment that others follow carries a multiple of 8 bytes: say `len {right}` with `frag {at}+`"
        );
        return Err(WordsError::Amiss(why));
    }
    Ok(())
}

impl Ip {
    /// The number of the protocol that it carries.
    pub fn proto(&self) -> u8 {
        match &self.upper {
            Upper::Tcp { .. } => proto::TCP,
            Upper::Udp { proto, .. } | Upper::Other(proto) => *proto,
            Upper::Sctp { .. } => proto::SCTP,
            Upper::Icmp { .. } if self.is_v6() => proto::ICMPV6,
            Upper::Icmp { .. } => proto::ICMP,
        }
    }

    /// Bytes in front of what it carries.
    fn headers(&self) -> usize {
        match self.is_v6() {
            false => ipv4::HEADER_LEN,
            true => ipv6::HEADER_LEN + if self.fragment.is_some() { FRAGMENT } else { 0 },
        }
    }

    /// Whether the upper header is in it.
    fn begins(&self) -> bool {
        self.fragment.is_none_or(|(at, _)| at == 0)
    }

    /// Bytes of the upper header.
    fn upper_least(&self) -> usize {
        if !self.begins() {
            return 1;
        }
        match &self.upper {
            Upper::Tcp { mss, .. } => tcp::HEADER_LEN + if mss.is_some() { MSS } else { 0 },
            Upper::Udp { .. } => udp::HEADER_LEN,
            Upper::Sctp { chunk, .. } => sctp::HEADER_LEN + chunk_len(*chunk).next_multiple_of(4),
            Upper::Icmp { .. } => icmpv4::HEADER_LEN,
            Upper::Other(proto) => {
                if *proto == proto::GRE {
                    4
                } else {
                    0
                }
            }
        }
    }

    /// Bytes that it carries unless a length is said.
    fn upper_usual(&self) -> usize {
        match &self.upper {
            _ if !self.begins() => 8,
            Upper::Icmp { about: Some(about), .. } => {
                let most = if self.is_v6() { icmpv6::MAX_QUOTE } else { icmpv4::MAX_QUOTE };
                icmpv4::HEADER_LEN + about.length().min(most)
            }
            Upper::Icmp { kind, .. } if icmp::has_ident(self.is_v6(), *kind) => {
                icmpv4::HEADER_LEN + ECHO_DATA
            }
            Upper::Other(_) => 8,
            _ => self.upper_least(),
        }
        .next_multiple_of(if self.fragment.is_some_and(|(_, more)| more) { 8 } else { 1 })
    }

    /// The length of the whole packet.
    fn length(&self) -> usize {
        self.len.unwrap_or_else(|| self.headers() + self.upper_usual())
    }

    /// Its bytes, checksums included.
    pub fn bytes(&self) -> Vec<u8> {
        let headers = self.headers();
        let mut packet = vec![0; self.length().max(headers)];
        let (head, body) = packet.split_at_mut(headers);
        let proto = self.proto();
        if self.begins() {
            self.carry(body);
        }
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.header4(head, src, dst, proto, body.len()),
            _ => self.header6(head, proto, body.len()),
        }
        packet
    }

    fn header4(&self, head: &mut [u8], src: Ipv4Addr, dst: Ipv4Addr, proto: u8, carried: usize) {
        let header = ipv4::Ipv4Header {
            src,
            dst,
            proto,
            ttl: self.ttl,
            tos: self.tos,
            ident: self.ident,
            dont_fragment: self.df,
            payload_len: carried,
        };
        header.emit(head);
        if let Some((at, more)) = self.fragment
            && let Some(mut ip) = ipv4::Ipv4::new(head)
        {
            let df = if self.df { ipv4::DONT_FRAGMENT } else { 0 };
            ip.set_flags_offset((at / 8) | df | if more { ipv4::MORE_FRAGMENTS } else { 0 });
            ip.fill_checksum();
        }
    }

    fn header6(&self, head: &mut [u8], proto: u8, carried: usize) {
        let Some((src, dst)) = self.ends6() else { return };
        let extra = head.len() - ipv6::HEADER_LEN;
        let header = ipv6::Ipv6Header {
            src,
            dst,
            next_header: if extra > 0 { proto::FRAGMENT } else { proto },
            hop_limit: self.ttl,
            traffic_class: self.tos,
            flow_label: 0,
            payload_len: extra + carried,
        };
        header.emit(head);
        if let Some((at, more)) = self.fragment {
            put(head, ipv6::HEADER_LEN, [proto, 0]);
            put_u16(head, ipv6::HEADER_LEN + 2, at | u16::from(more));
            put_u32(head, ipv6::HEADER_LEN + 4, self.ident.into());
        }
    }

    /// The upper header, over zeros.
    fn carry(&self, body: &mut [u8]) {
        match &self.upper {
            Upper::Tcp { ports, flags, seq, ack, window, mss } => {
                let header = tcp::HEADER_LEN + if mss.is_some() { MSS } else { 0 };
                put_u16(body, 14, *window);
                put_u8(body, 12, ((header / 4) << 4) as u8);
                if let Some(mss) = mss {
                    put(body, tcp::HEADER_LEN, [2, MSS as u8]);
                    put_u16(body, tcp::HEADER_LEN + 2, *mss);
                }
                let Some(mut tcp) = tcp::Tcp::new(body) else { return };
                tcp.set_src_port(ports.0);
                tcp.set_dst_port(ports.1);
                tcp.set_seq(*seq);
                tcp.set_ack(*ack);
                tcp.set_flags(*flags);
                tcp.fill_checksum(self.src, self.dst);
            }
            Upper::Udp { proto, ports } => {
                let len = body.len();
                let Some(mut udp) = udp::Udp::new(&mut *body) else { return };
                udp.set_src_port(ports.0);
                udp.set_dst_port(ports.1);
                udp.set_length(len as u16);
                match *proto {
                    proto::UDP => udp.fill_checksum(self.src, self.dst),
                    // The same sum, with UDP-Lite's number in the pseudo-header; all of it is covered.
                    other => {
                        use crate::wire::checksum::{fold, pseudo, sum};
                        let around = pseudo(self.src, self.dst, other, len as u32).unwrap_or(0);
                        let total = crate::wire::checksum::udp(!fold(around + sum(body)));
                        put_u16(body, udp::CHECKSUM_AT, total);
                    }
                }
            }
            Upper::Sctp { ports, tag, chunk } => {
                put_u16(body, 0, ports.0);
                put_u16(body, 2, ports.1);
                put_u32(body, 4, *tag);
                // Type, flags (of data: first and last fragment), length: all there is, but for what is padded.
                let flags = if *chunk == DATA { 3 } else { 0 };
                let rest = body.len().saturating_sub(sctp::HEADER_LEN);
                let least = chunk_len(*chunk);
                let len = if rest > least.next_multiple_of(4) { rest } else { least };
                put(body, sctp::HEADER_LEN, [*chunk, flags]);
                put_u16(body, sctp::HEADER_LEN + 2, len as u16);
                if matches!(*chunk, INIT | INIT_ACK) {
                    // Tag, window, streams out and in, first number.
                    put_u32(body, sctp::HEADER_LEN + 4, 1);
                    put_u32(body, sctp::HEADER_LEN + 8, 65_536);
                    put(body, sctp::HEADER_LEN + 12, [0, 1, 0, 1]);
                    put_u32(body, sctp::HEADER_LEN + 16, 1);
                }
                sctp::fill_checksum(body);
            }
            Upper::Icmp { kind, code, rest, about } => {
                let mut after = vec![0; body.len().saturating_sub(icmpv4::HEADER_LEN)];
                if let Some(about) = about {
                    let quote = about.bytes();
                    let n = quote.len().min(after.len());
                    after[..n].copy_from_slice(&quote[..n]);
                }
                // There is room: the body is as long as the header and what follows it.
                let _ = match self.ends6() {
                    None => icmpv4::emit(body, *kind, *code, *rest, &after),
                    Some(ends) => icmpv6::emit(body, ends, (*kind, *code), *rest, &after),
                };
            }
            Upper::Other(_) => {}
        }
    }
}
