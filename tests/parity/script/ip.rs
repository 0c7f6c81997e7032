//! The IP header in front, the cutting into fragments, and the frame around it all.

use std::net::IpAddr;

use sekisho::base::Mac;

use super::{Made, Words};
use crate::compare::Seen;
use crate::frame::{self, DF, MF, V4, V6};

/// The IPv4 identification of all that is no fragment.
pub(crate) const IDENT: u16 = 0x1234;

impl Made {
    /// The frames that carry it.
    pub(super) fn frames(self, words: &Words<'_>, salt: u16) -> Vec<Seen> {
        let cut = words.number("cut").map(|n| n as usize);
        let fragment = words.value("frag").map(|v| {
            let more = v.ends_with('+');
            (words.parsed::<u16>(v.trim_end_matches('+')), more)
        });
        let ident = words.number("ipid").map(|n| salt.wrapping_add(n as u16));
        let (ethertype, mut packets) = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let pieces = cut.is_some() || fragment.is_some();
                let mut p = V4::new(src, dst, self.protocol, self.upper);
                p.ttl = words.number_or("ttl", 64) as u8;
                p.tos = words.number_or("tos", 0) as u8;
                p.id = ident.unwrap_or(if pieces { salt } else { IDENT });
                p.fragment = if words.has("df") { DF } else { 0 };
                if words.value("ipopt") == Some("rr") {
                    p.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
                }
                if let Some((offset, more)) = fragment {
                    p.fragment |= (offset / 8) | if more { MF } else { 0 };
                }
                let df = p.fragment & DF;
                let all = match cut {
                    Some(size) => {
                        p.fragments(size).into_iter().map(|f| V4 { fragment: f.fragment | df, ..f }).collect()
                    }
                    None => vec![p],
                };
                (frame::IPV4, all.iter().map(V4::bytes).collect::<Vec<_>>())
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let mut p = V6::new(src, dst, self.protocol, self.upper);
                let exts = words.value("ext").unwrap_or_default();
                // It stands before the fragment header, in each fragment.
                let hop_by_hop = exts.starts_with("hbh");
                for ext in exts.split(',').rev() {
                    p = match ext {
                        "" | "hbh" => p,
                        // One fragment header is enough.
                        "atomic" if cut.is_some() => p,
                        "dst" => p.extend(frame::DESTINATION, &[1, 4, 0, 0, 0, 0]),
                        // Type 4 with nothing left.
                        "rh" => p.extend(frame::ROUTING, &[4, 0, 0, 0, 0, 0]),
                        "atomic" => p.fragment(0, false, u32::from(salt)),
                        other => words.wrong(other),
                    };
                }
                p.hops = words.number_or("ttl", 64) as u8;
                p.class = words.number_or("tos", 0) as u8;
                let id = u32::from(ident.unwrap_or(salt));
                let all = match (cut, fragment) {
                    (Some(size), _) => p.fragments(size, id),
                    (None, Some((offset, more))) => vec![p.fragment(offset.into(), more, id)],
                    (None, None) => vec![p],
                };
                // A router alert would have it looked at; padding is only there.
                let alert =
                    |p: V6| if hop_by_hop { p.extend(frame::HOP_BY_HOP, &[1, 4, 0, 0, 0, 0]) } else { p };
                (frame::IPV6, all.into_iter().map(|p| alert(p).bytes()).collect())
            }
            (src, dst) => panic!("{src} to {dst}"),
        };
        if words.has("rev") {
            packets.reverse();
        }
        if let Some(missing) = words.number("skip") {
            packets = packets
                .into_iter()
                .enumerate()
                .filter(|(i, _)| *i != missing as usize)
                .map(|(_, p)| p)
                .collect();
        }
        if let Some(twice) = words.number("dup").and_then(|n| packets.get(n as usize).cloned()) {
            packets.push(twice);
        }
        let to = match words.value("to") {
            None => self.at.mac(),
            Some("all") => Mac::BROADCAST,
            Some("group") => group(self.dst),
            Some(other) => words.parsed(other),
        };
        let from = words.value("mac").map_or_else(|| self.at.station(self.src), |mac| words.parsed(mac));
        packets.iter().map(|p| (self.at, frame::ethernet(to, from, ethertype, p))).collect()
    }
}

/// The MAC of a group (RFC 1112 §6.4, RFC 2464 §7).
fn group(addr: IpAddr) -> Mac {
    match addr {
        IpAddr::V4(v4) => {
            let o = v4.octets();
            Mac([1, 0, 0x5e, o[1] & 0x7f, o[2], o[3]])
        }
        IpAddr::V6(v6) => {
            let o = v6.octets();
            Mac([0x33, 0x33, o[12], o[13], o[14], o[15]])
        }
    }
}
