//! What rules ask of nearly every packet, read once before the first of them.

use crate::base::LinkId;
use crate::filter::matches::States;
use crate::filter::verdict::Env;
use crate::packet::{CtState, Frag, Packet};
use crate::wire::ipv4::Ipv4;
use crate::wire::{ipv6, proto};

use super::addr::Addr;

/// What doesn't change while a table is asked: no target of a rule that goes on touches it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<A> {
    pub(super) src: A,
    pub(super) dst: A,
    /// The upper-layer protocol; `None` if the chain of IPv6 headers can't be followed to it.
    pub(super) proto: Option<u8>,
    /// The fragment's offset: as the kernel has it, in units of 8 bytes in IPv4 and in bytes in IPv6.
    pub(super) frag: u16,
    /// Where matches look for the upper-layer header, from the L3 header. Of an IPv6 fragment but the first that
    /// is 0, as in the kernel: only what doesn't ask whether it is a fragment looks there.
    pub(super) l4: usize,
    /// Source and destination port; `None` where no rule can ask for them.
    pub(super) ports: Option<(u16, u16)>,
    /// Whether a match that looks at the upper layer may drop the packet, because what it has to look at is not
    /// there.
    pub(super) hot: bool,
    /// The links' places in a [`LinkSet`](super::links::LinkSet).
    pub(super) in_link: usize,
    pub(super) out_link: usize,
    /// How the packet stands to its flow: one bit. This one changes where a rule says NOTRACK.
    pub(super) state: States,
}

impl<A: Addr> Facts<A> {
    /// Reads them; `None` if the packet is not one of this family.
    #[inline]
    pub(super) fn read<E: Env>(p: &Packet, env: &E) -> Option<Self> {
        let l3 = p.l3();
        let (src, dst) = A::ends(l3)?;
        let mut f = Facts {
            src,
            dst,
            proto: Some(p.meta.proto),
            frag: 0,
            l4: usize::from(p.meta.l4),
            ports: None,
            hot: false,
            in_link: place(env.in_link()),
            out_link: place(env.out_link()),
            state: state(p),
        };
        if A::V6 {
            // A header that ingress found is the one the kernel would find.
            if p.meta.l4 == 0 || p.meta.frag == Frag::Later {
                (f.proto, f.l4, f.frag) = match find_header(l3) {
                    Some((proto, l4, frag)) => (Some(proto), l4, frag),
                    None => (None, 0, 0),
                };
            }
        } else {
            let ip = Ipv4::new(l3)?;
            f.proto = Some(ip.protocol());
            f.frag = ip.flags_offset() & crate::wire::ipv4::OFFSET_MASK;
            f.l4 = ip.header_len();
        }
        f.upper(l3);
        Some(f)
    }

    /// Ports, and whether there is too little of the upper layer to say.
    #[inline]
    fn upper(&mut self, l3: &[u8]) {
        let Some(proto) = self.proto else {
            self.hot = true;
            return;
        };
        if self.frag != 0 {
            // A fragment that would overwrite TCP's flags (RFC 3128): matches drop it.
            self.hot = !A::V6 && self.frag == 1 && proto == proto::TCP;
            return;
        }
        let l4 = l3.get(self.l4..).unwrap_or_default();
        let least = match proto {
            proto::TCP => 20,
            proto::UDP | proto::UDP_LITE | proto::ICMP | proto::ICMPV6 => 8,
            proto::SCTP | proto::DCCP => 4,
            _ => return,
        };
        self.hot = l4.len() < least;
        if let Some([a, b, c, d]) = l4.first_chunk()
            && !matches!(proto, proto::ICMP | proto::ICMPV6)
        {
            self.ports = Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])));
        }
    }
}

/// The place of a link in a set; 0 is "none".
#[inline]
pub(super) fn place(link: Option<LinkId>) -> usize {
    link.map_or(0, |l| l.index() + 1)
}

/// The bit of `ctstate` and `state` that is the packet's.
#[inline]
pub(super) fn state(p: &Packet) -> States {
    match p.meta.ct.state {
        CtState::Unseen | CtState::Invalid => States::INVALID,
        CtState::Untracked => States::UNTRACKED,
        CtState::New => States::NEW,
        CtState::Established => States::ESTABLISHED,
        CtState::Related => States::RELATED,
    }
}

/// Follows the chain of IPv6 headers as the kernel's `ipv6_find_hdr` does when rules ask for the protocol: the last
/// one, where it is, and the fragment's offset in bytes. `None` where the kernel drops. Unlike ingress it looks behind
/// misplaced headers, and says of a later fragment what its fragment header says.
fn find_header(l3: &[u8]) -> Option<(u8, usize, u16)> {
    let mut kind = *l3.get(6)?;
    let mut at = ipv6::HEADER_LEN;
    loop {
        let len = match kind {
            proto::HOP_BY_HOP | proto::ROUTING | proto::DEST_OPTIONS | proto::FRAGMENT | proto::AH => {
                let [_, len] = l3.get(at..)?.first_chunk()?;
                usize::from(*len)
            }
            _ => return Some((kind, at, 0)),
        };
        let next = l3[at];
        at += match kind {
            proto::FRAGMENT => {
                let [hi, lo] = l3.get(at + 2..)?.first_chunk()?;
                match u16::from_be_bytes([*hi, *lo]) & !7 {
                    0 => 8,
                    _ if is_extension(next) => return None,
                    offset => return Some((next, 0, offset)),
                }
            }
            proto::AH => (len + 2) * 4,
            proto::ROUTING => {
                l3.get(at..at + 4)?;
                (len + 1) * 8
            }
            _ => (len + 1) * 8,
        };
        kind = next;
    }
}

fn is_extension(kind: u8) -> bool {
    matches!(kind, proto::HOP_BY_HOP | proto::ROUTING | proto::FRAGMENT | proto::AH | proto::DEST_OPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut b = vec![0; 40];
        b[0] = 0x60;
        b[6] = next;
        b.extend_from_slice(rest);
        b
    }

    #[test]
    fn the_last_header_is_found_as_the_kernel_finds_it() {
        assert_eq!(find_header(&packet(6, &[])), Some((6, 40, 0)));
        assert_eq!(find_header(&packet(59, &[])), Some((59, 40, 0)));
        // Destination options, then UDP; the header may say more than there is.
        assert_eq!(find_header(&packet(60, &[17, 0, 0, 0, 0, 0, 0, 0])), Some((17, 48, 0)));
        assert_eq!(find_header(&packet(60, &[17, 9, 0, 0])), Some((17, 120, 0)));
        // Hop-by-hop options where they may not be.
        let misplaced = [0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(find_header(&packet(60, &misplaced)), Some((17, 56, 0)));
        // Cut short.
        assert_eq!(find_header(&packet(60, &[17])), None);
        assert_eq!(find_header(&packet(43, &[17, 0, 0])), None);
        assert_eq!(find_header(&packet(44, &[17, 0, 0])), None);
        // An authentication header counts in words of four bytes.
        assert_eq!(find_header(&packet(51, &[6, 4, 0, 0])), Some((6, 64, 0)));
    }

    #[test]
    fn later_fragments_name_what_they_are_of() {
        assert_eq!(find_header(&packet(44, &[17, 0, 0, 1, 0, 0, 0, 0])), Some((17, 48, 0)));
        assert_eq!(find_header(&packet(44, &[17, 0, 0, 9, 0, 0, 0, 0])), Some((17, 0, 8)));
        assert_eq!(find_header(&packet(44, &[59, 0, 0, 8, 0, 0, 0, 0])), Some((59, 0, 8)));
        assert_eq!(find_header(&packet(44, &[60, 0, 0, 8, 0, 0, 0, 0])), None);
    }
}
