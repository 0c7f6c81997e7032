//! The matches, compiled, and what each says of a packet.
//!
//! A match agrees, does not, or drops the packet at once ("hotdrop"): the kernel's do the last where they are to look
//! at a header that is not there.

use crate::base::{LinkId, Mac};
use crate::filter::matches::{AddrTypes, IcmpType, Masked, Not, PktType, Ports, Side, States, Which};
use crate::filter::verdict::Env;
use crate::packet::{FlowView, L2Kind, Packet};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::tcp;

use super::addr::Addr;
use super::ct::Ct;
use super::facts::Facts;
use super::state::{Limit, Nth};

/// A first address and a last.
pub(super) type AddrRange<A> = Not<(A, A)>;

/// One match.
#[derive(Debug, Clone)]
pub(super) enum Check<A> {
    Tcp(TcpCheck),
    Udp { sport: PortCheck, dport: PortCheck },
    Icmp { kind: IcmpType, any: bool, not: bool },
    State(Not<States>),
    Ct(Box<Ct<A>>),
    Mark(Not<Masked>),
    Connmark(Not<Masked>),
    Multiport { which: Which, ports: Box<[Ports]>, not: bool },
    IpRange(Box<[Option<AddrRange<A>>; 2]>),
    Mac(Not<Mac>),
    Limit(Box<Limit>),
    Length(Not<(u16, u16)>),
    Hops(Not<(u8, u8)>),
    Tos(Not<Masked>),
    Ecn { flags: u8, want: u8, ect: Option<Not<u8>> },
    PktType(Not<PktType>),
    AddrType { types: [Option<Not<AddrTypes>>; 2], limit: Option<Side> },
    Random(Not<u32>),
    Nth { nth: Box<Nth>, not: bool },
}

/// `-m tcp`. What wasn't given agrees with all.
#[derive(Debug, Clone)]
pub(super) struct TcpCheck {
    pub(super) sport: PortCheck,
    pub(super) dport: PortCheck,
    pub(super) flags: Not<(u8, u8)>,
    /// 0: none is asked for, as the kernel has it.
    pub(super) option: Not<u8>,
}

/// A range of ports, or all but it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PortCheck(pub(super) Not<Ports>);

impl PortCheck {
    pub(super) fn new(ports: Option<Not<Ports>>) -> Self {
        PortCheck(ports.unwrap_or(Not::is(Ports { first: 0, last: u16::MAX })))
    }

    #[inline]
    pub(super) fn agrees(&self, port: u16) -> bool {
        self.0.agrees(|p| in_range(*p, port))
    }
}

/// The packet is dropped at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hotdrop;

/// The packet's flow: asked for when the first rule wants it.
#[derive(Debug, Default)]
pub(super) struct Flow(Option<Option<FlowView>>);

impl Flow {
    /// The flow, if the packet has one.
    pub(super) fn get<E: Env>(&mut self, p: &Packet, env: &mut E) -> Option<&FlowView> {
        self.0.get_or_insert_with(|| env.flow(p)).as_ref()
    }

    /// Gives the flow a mark.
    pub(super) fn set_mark<E: Env>(&mut self, p: &Packet, env: &mut E, mark: u32) {
        env.set_flow_mark(p, mark);
        if let Some(Some(flow)) = &mut self.0 {
            flow.mark = mark;
        }
    }
}

impl<A: Addr> Check<A> {
    /// Whether asking it changes what it says next time.
    pub(super) fn remembers(&self) -> bool {
        matches!(self, Check::Limit(_) | Check::Nth { .. } | Check::Random(_))
    }

    /// What the match says of the packet.
    #[inline]
    pub(super) fn agrees<E: Env>(
        &self,
        f: &Facts<A>,
        p: &Packet,
        flow: &mut Flow,
        env: &mut E,
    ) -> Result<bool, Hotdrop> {
        Ok(match self {
            Check::Tcp(c) => return tcp(c, f, p),
            Check::Udp { sport, dport } => match visible(f)? {
                Some((s, d)) => sport.agrees(s) && dport.agrees(d),
                None => false,
            },
            Check::Icmp { kind, any, not } => return icmp(*kind, *any, *not, f, p),
            Check::State(states) => states.agrees(|s| s.intersects(f.state)),
            Check::Ct(c) => c.agrees(f, p, flow, env),
            Check::Mark(mark) => mark.agrees(|m| p.meta.mark & m.mask == m.value),
            Check::Connmark(mark) => {
                flow.get(p, env).is_some_and(|flow| mark.agrees(|m| flow.mark & m.mask == m.value))
            }
            Check::Multiport { which, ports, not } => return multiport(*which, ports, *not, f),
            Check::IpRange(ends) => {
                let within = |addr: A, range: &Option<AddrRange<A>>| {
                    range.is_none_or(|r| r.agrees(|(first, last)| (*first..=*last).contains(&addr)))
                };
                within(f.src, &ends[0]) && within(f.dst, &ends[1])
            }
            Check::Mac(mac) => {
                let ethernet = p.meta.ingress != LinkId::LO && p.meta.l3 >= 14;
                let src = p.data().get(6..).and_then(|b| b.first_chunk()).filter(|_| ethernet);
                src.is_some_and(|src| mac.agrees(|m| m.0 == *src))
            }
            Check::Limit(limit) => limit.pays(env.now()),
            Check::Length(len) => {
                len.agrees(|(first, last)| (usize::from(*first)..=usize::from(*last)).contains(&p.l3_len()))
            }
            Check::Hops(hops) => hops.agrees(|(first, last)| (*first..=*last).contains(&hop_limit::<A>(p))),
            Check::Tos(tos) => tos.agrees(|t| u32::from(super::act::tos::<A>(p)) & t.mask == t.value),
            Check::Ecn { flags, want, ect } => ecn(*flags, *want, *ect, f, p),
            Check::PktType(kind) => kind.agrees(|k| match k {
                PktType::Unicast => p.meta.l2 == L2Kind::Host,
                PktType::Broadcast => p.meta.l2 == L2Kind::Broadcast,
                PktType::Multicast => p.meta.l2 == L2Kind::Multicast,
                PktType::OtherHost => false,
            }),
            Check::AddrType { types, limit } => addr_type(types, *limit, f, env),
            Check::Random(below) => below.agrees(|n| env.random() & 0x7fff_ffff < *n),
            Check::Nth { nth, not } => nth.counts() != *not,
        })
    }
}

#[inline]
fn in_range(ports: Ports, port: u16) -> bool {
    (ports.first..=ports.last).contains(&port)
}

/// The ports, if this is where they are; none of a later fragment.
#[inline]
fn visible<A: Addr>(f: &Facts<A>) -> Result<Option<(u16, u16)>, Hotdrop> {
    if f.hot { Err(Hotdrop) } else { Ok(f.ports) }
}

#[inline]
fn tcp<A: Addr>(c: &TcpCheck, f: &Facts<A>, p: &Packet) -> Result<bool, Hotdrop> {
    let Some((s, d)) = visible(f)? else { return Ok(false) };
    if !c.sport.agrees(s) || !c.dport.agrees(d) {
        return Ok(false);
    }
    let l4 = p.l3().get(f.l4..).unwrap_or_default();
    let Some(header) = tcp::Tcp::new(l4) else { return Err(Hotdrop) };
    if !c.flags.agrees(|(mask, want)| header.flags() & mask == *want) {
        return Ok(false);
    }
    if c.option.value == 0 {
        return Ok(true);
    }
    let end = header.header_len();
    let options = l4.get(tcp::HEADER_LEN..end).ok_or(Hotdrop)?;
    Ok(c.option.agrees(|o| has_option(options, *o)))
}

/// Whether an option is among them: ends and no-operations are stepped over one by one, so that what follows the end
/// counts too, as in the kernel.
fn has_option(options: &[u8], wanted: u8) -> bool {
    let mut at = 0;
    while let Some(kind) = options.get(at) {
        if *kind == wanted {
            return true;
        }
        at += match kind {
            0 | 1 => 1,
            _ => usize::from(options.get(at + 1).copied().unwrap_or(0).max(1)),
        };
    }
    false
}

fn icmp<A: Addr>(kind: IcmpType, any: bool, not: bool, f: &Facts<A>, p: &Packet) -> Result<bool, Hotdrop> {
    if f.frag != 0 {
        return Ok(false);
    }
    let header = p.l3().get(f.l4..).and_then(|l4| l4.first_chunk::<8>()).ok_or(Hotdrop)?;
    let is = any || header[0] == kind.kind && (kind.codes.0..=kind.codes.1).contains(&header[1]);
    Ok(is != not)
}

fn multiport<A: Addr>(which: Which, ports: &[Ports], not: bool, f: &Facts<A>) -> Result<bool, Hotdrop> {
    if f.frag != 0 {
        return Ok(false);
    }
    // Four bytes will do here, where TCP and UDP want their whole headers.
    let (s, d) = f.ports.ok_or(Hotdrop)?;
    let any = |port: u16| ports.iter().any(|r| in_range(*r, port));
    let is = match which {
        Which::Source => any(s),
        Which::Destination => any(d),
        Which::Either => any(s) || any(d),
    };
    Ok(is != not)
}

/// The TTL or hop limit.
#[inline]
pub(super) fn hop_limit<A: Addr>(p: &Packet) -> u8 {
    match A::V6 {
        false => Ipv4::new(p.l3()).map_or(0, |ip| ip.ttl()),
        true => Ipv6::new(p.l3()).map_or(0, |ip| ip.hop_limit()),
    }
}

/// `flags` are the bits of TCP asked for, `want` how they must be. The kernel looks at them without asking
/// whether this is a fragment.
fn ecn<A: Addr>(flags: u8, want: u8, ect: Option<Not<u8>>, f: &Facts<A>, p: &Packet) -> bool {
    if !ect.is_none_or(|e| e.agrees(|e| super::act::tos::<A>(p) & 3 == *e)) {
        return false;
    }
    let header = p.l3().get(f.l4..).and_then(tcp::Tcp::new);
    flags == 0 || header.is_some_and(|h| h.flags() & flags == want)
}

fn addr_type<A: Addr, E: Env>(
    types: &[Option<Not<AddrTypes>>; 2],
    limit: Option<Side>,
    f: &Facts<A>,
    env: &mut E,
) -> bool {
    let on = match limit {
        None => None,
        Some(Side::In) => env.in_link(),
        Some(Side::Out) => env.out_link(),
    };
    let mut is = |addr: A, types: &Option<Not<AddrTypes>>| {
        types.is_none_or(|t| {
            t.agrees(|t| if A::V6 { has_type6(addr, *t, on, env) } else { has_type4(addr, *t, on, env) })
        })
    };
    is(f.src, &types[0]) && is(f.dst, &types[1])
}

fn has_type4<A: Addr, E: Env>(addr: A, types: AddrTypes, on: Option<LinkId>, env: &mut E) -> bool {
    env.addr_type(addr.ip(), on).0 & types.0 != 0
}

/// In IPv6 the kernel takes a type or two from the address itself, all of which must be so, and asks the table only
/// for the others (`match_type6`).
fn has_type6<A: Addr, E: Env>(addr: A, types: AddrTypes, on: Option<LinkId>, env: &mut E) -> bool {
    let std::net::IpAddr::V6(ip) = addr.ip() else { return false };
    let asked = |t: AddrTypes| types.0 & t.0 != 0;
    let unicast = !ip.is_multicast() && !ip.is_unspecified() && ip.to_ipv4_mapped().is_none();
    if asked(AddrTypes::MULTICAST) && !ip.is_multicast()
        || asked(AddrTypes::UNICAST) && !unicast
        || asked(AddrTypes::UNSPEC) && !ip.is_unspecified()
    {
        return false;
    }
    let table = AddrTypes::LOCAL.0 | AddrTypes::ANYCAST.0 | AddrTypes::UNREACHABLE.0;
    types.0 & table == 0 || env.addr_type(addr.ip(), on).0 & types.0 & table != 0
}
