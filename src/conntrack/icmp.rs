//! ICMP as conntrack sees it before it looks for flows: errors are told from queries, and what is never
//! tracked from both (`nf_conntrack_proto_icmp.c`, `nf_conntrack_proto_icmpv6.c`).

use super::protocol::sum_fails;
use super::{Settings, tuple};
use crate::base::Hook;
use crate::packet::{Net, Packet, Tuple};
use crate::wire::ipv6::Ipv6;
use crate::wire::{icmpv4, icmpv6, proto};

/// What an ICMP message is to conntrack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    /// It may have a flow of its own.
    Query,
    /// It is about another flow.
    Error,
    /// Neighbor and listener discovery stay on their link.
    Untracked,
    /// It is malformed.
    Invalid,
}

/// Looks at an ICMP message. One of the wrong family for its packet passes for a query, and belongs to no flow.
pub(super) fn look(p: &Packet, hook: Hook, config: &Settings) -> Looked {
    match (p.meta.net, p.meta.proto) {
        (Net::Ipv4, proto::ICMP) => {
            let l4 = p.l4();
            match l4.first() {
                Some(kind) if l4.len() >= icmpv4::HEADER_LEN => {
                    if sum_fails(p, hook, config, None, l4.len()) || *kind > HIGHEST_KNOWN {
                        Looked::Invalid
                    } else if tuple::is_error4(*kind) {
                        Looked::Error
                    } else {
                        Looked::Query
                    }
                }
                _ => Looked::Invalid,
            }
        }
        (Net::Ipv6, proto::ICMPV6) => {
            let l4 = p.l4();
            match l4.first() {
                Some(kind) if l4.len() >= icmpv6::HEADER_LEN => {
                    if sum_fails(p, hook, config, Some(proto::ICMPV6), l4.len()) {
                        Looked::Invalid
                    } else if is_discovery(*kind) {
                        Looked::Untracked
                    } else if *kind == icmpv6::REDIRECT {
                        redirect(p)
                    } else if *kind < icmpv6::ECHO {
                        Looked::Error
                    } else {
                        Looked::Query
                    }
                }
                _ => Looked::Invalid,
            }
        }
        _ => Looked::Query,
    }
}

/// The tuple that the flow an error is about has in the direction the error goes; `None` if the error quotes
/// nothing of use, or does not go to whom it concerns: the sender of what it quotes.
pub(super) fn about(p: &Packet) -> Option<Tuple> {
    let quoted = tuple::inner(p)?.tuple;
    let l3 = p.l3();
    let concerned = match p.meta.net {
        Net::Ipv4 => l3.get(16..20)? == &quoted.src[..4],
        _ => l3.get(24..40)? == &quoted.src[..],
    };
    concerned.then(|| tuple::invert(&quoted))?
}

/// A redirect counts as an error about what it quotes, if it comes from a neighbor as it must (RFC 4861 §8.1) and
/// its first option is the quote. What is no redirect known is of no flow.
fn redirect(p: &Packet) -> Looked {
    let neighbor =
        Ipv6::new(p.l3()).is_some_and(|ip| ip.hop_limit() == 255 && ip.src().is_unicast_link_local());
    match (p.l4().get(1), p.l4().get(tuple::REDIRECT_LEN..)) {
        (Some(0), Some([tuple::REDIRECTED_HEADER, len, ..])) if neighbor && *len != 0 => Looked::Error,
        _ => Looked::Invalid,
    }
}

/// Neighbor discovery (RFC 4861), listener discovery (RFC 2710, RFC 3810) and multicast router discovery (RFC 4286), but for
/// redirects, and for the routers' farewell (type 153).
fn is_discovery(kind: u8) -> bool {
    /// RFC 4286 §3, §4.
    const ROUTERS_ADVERT: u8 = 151;
    const ROUTERS_SOLICIT: u8 = 152;
    use icmpv6::{MLD_QUERY, MLD2_REPORT, NEIGHBOR_ADVERT};
    matches!(kind, MLD_QUERY..=NEIGHBOR_ADVERT | MLD2_REPORT | ROUTERS_ADVERT | ROUTERS_SOLICIT)
}

/// Types above are not known to Linux (`NR_ICMP_TYPES`), and INVALID.
const HIGHEST_KNOWN: u8 = 18;
