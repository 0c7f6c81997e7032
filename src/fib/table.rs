//! The forwarding side: what to do with a packet for an address.
//!
//! A [`Fib`] never changes; a new one is built beside it and swapped in. Knows nothing of how routes
//! were configured, nor of whether links are up: [`Hops::pick`] is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::build::Tries;
use super::rib::{LENGTHS, Rib};
use crate::base::LinkId;

/// The compiled routes of one router, both families.
#[derive(Debug)]
pub struct Fib {
    pub(super) tries: Tries,
    /// Routes that treat packets alike share one. In the order of [`Tries::numbers`](super::build::Tries).
    pub(super) entries: Arc<[Entry]>,
    /// What it was made of.
    pub(super) rib: Arc<Rib>,
    /// By the numbers of what its routes share: whether they can be used.
    pub(super) live: Vec<bool>,
    /// By the lengths of prefixes: whether any of a length has a route that can be used.
    pub(super) lens: [bool; LENGTHS],
}

impl Fib {
    /// The entry of the longest prefix that covers an IPv4 address.
    #[inline]
    pub fn lookup4(&self, dst: Ipv4Addr) -> Option<&Entry> {
        let entry = self.entries.get(self.tries.v4.lookup(dst.to_bits())? as usize)?;
        if entry.usable { Some(entry) } else { self.instead(dst.into()) }
    }

    /// The entry of the longest prefix that covers an IPv6 address. Link-local destinations are
    /// decided by link: what comes out for them here is of no use.
    #[inline]
    pub fn lookup6(&self, dst: Ipv6Addr) -> Option<&Entry> {
        let entry = self.entries.get(self.tries.v6.lookup(dst.to_bits())? as usize)?;
        if entry.usable { Some(entry) } else { self.instead(dst.into()) }
    }

    /// Either of the two.
    #[inline]
    pub fn lookup(&self, dst: IpAddr) -> Option<&Entry> {
        match dst {
            IpAddr::V4(v4) => self.lookup4(v4),
            IpAddr::V6(v6) => self.lookup6(v6),
        }
    }

    /// Where the first choice can't be used: the next one, out of all routes.
    #[cold]
    fn instead(&self, dst: IpAddr) -> Option<&Entry> {
        let live = |id: u32| self.live.get(id as usize).copied().unwrap_or(false);
        let lens = |len: u8| self.lens.get(usize::from(len)).copied().unwrap_or(false);
        let (id, len) = self.rib.covering(dst, lens, live)?;
        self.entries.get(self.tries.numbers.of(id, len)? as usize)
    }

    /// Bytes held, without the routes themselves.
    pub fn memory(&self) -> usize {
        let hops: usize = self.entries.iter().map(Entry::memory).sum();
        self.tries.v4.memory() + self.tries.v6.memory() + hops
    }
}

/// What a route says about the packets it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What to do with them.
    pub action: Action,
    /// The length of the prefix that was matched, in bits.
    pub prefix_len: u8,
    /// The source that packets made here prefer on this way; `None`: an address of the link.
    pub src: Option<IpAddr>,
    /// The largest packet that the route lets go whole, in bytes; [`Entry::UNLIMITED`]: it says nothing.
    pub(super) mtu: u16,
    /// The largest segment that TCP peers are to be told of, in bytes; 0: what the MTU leaves room for.
    pub advmss: u16,
    /// Whether the links it needs are up.
    pub(super) usable: bool,
}

impl Entry {
    /// The MTU of a route that has none.
    pub const UNLIMITED: u16 = u16::MAX;
    /// No route's MTU stops what every way has to carry (RFC 791 §3.2, RFC 8200 §5).
    const LEAST4: u16 = 68;
    const LEAST6: u16 = 1_280;

    /// The largest packet of IPv4 that the route lets go whole, in bytes. The link's MTU counts besides.
    #[inline]
    pub fn mtu4(&self) -> u16 {
        self.mtu.max(Entry::LEAST4)
    }

    /// The same of IPv6.
    #[inline]
    pub fn mtu6(&self) -> u16 {
        self.mtu.max(Entry::LEAST6)
    }

    /// Either of the two.
    #[inline]
    pub fn mtu(&self, to: IpAddr) -> u16 {
        if to.is_ipv4() { self.mtu4() } else { self.mtu6() }
    }

    fn memory(&self) -> usize {
        let behind = match &self.action {
            Action::Forward(Hops(HopsInner::Many(hops))) => size_of_val::<[Hop]>(hops),
            _ => 0,
        };
        size_of_val(self) + behind
    }
}

/// What to do with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It goes on to a neighbor.
    Forward(Hops),
    /// It is for this router: the address is one of the link's.
    Local(LinkId),
    /// It is for this router as one of the routers of the link's subnet (RFC 4291 §2.6.1).
    Anycast(LinkId),
    /// It is for everybody on the link.
    Broadcast(LinkId),
    /// It is refused: host unreachable, or no route.
    Unreachable,
    /// It is refused: administratively prohibited.
    Prohibit,
    /// It is dropped without a word.
    Blackhole,
}

/// Where a packet goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The link it leaves by.
    pub link: LinkId,
    /// The neighbor it is handed to, possibly of the other family (RFC 5549); `None`: the
    /// destination itself is the neighbor.
    pub via: Option<IpAddr>,
    /// Its share of the flows, relative to the other hops.
    pub weight: u32,
}

/// One or several next hops, never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hops(HopsInner);

#[derive(Debug, Clone, PartialEq, Eq)]
enum HopsInner {
    One(Hop),
    Many(Arc<[Hop]>),
}

impl Hops {
    /// The hops given; `None` if there are none.
    pub(super) fn new(hops: &[Hop]) -> Option<Self> {
        match hops {
            [] => None,
            [one] => Some(Hops(HopsInner::One(*one))),
            many => Some(Hops(HopsInner::Many(many.into()))),
        }
    }

    /// The hop for a flow, among those whose link is alive; `None` if none is.
    ///
    /// Hash-threshold (RFC 2992), as Linux has it: the hops divide the range of the hash among
    /// them, in order and by weight, so that a hop that dies or returns moves few of the others'
    /// flows. The hash should be good in its high bits.
    #[inline]
    pub fn pick(&self, hash: u32, alive: impl Fn(LinkId) -> bool) -> Option<&Hop> {
        match &self.0 {
            HopsInner::One(hop) => alive(hop.link).then_some(hop),
            HopsInner::Many(hops) => pick(hops, hash, alive),
        }
    }

    /// All hops, in the order they were given.
    pub fn iter(&self) -> std::slice::Iter<'_, Hop> {
        match &self.0 {
            HopsInner::One(hop) => std::slice::from_ref(hop).iter(),
            HopsInner::Many(hops) => hops.iter(),
        }
    }

    /// How many there are; at least one.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.iter().len()
    }
}

impl<'a> IntoIterator for &'a Hops {
    type Item = &'a Hop;
    type IntoIter = std::slice::Iter<'a, Hop>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn pick(hops: &[Hop], hash: u32, alive: impl Fn(LinkId) -> bool) -> Option<&Hop> {
    let total: u64 = hops.iter().filter(|h| alive(h.link)).map(|h| u64::from(h.weight)).sum();
    let point = ((u128::from(hash) * u128::from(total)) >> 32) as u64;
    let mut upto = 0;
    let mut last = None;
    for hop in hops.iter().filter(|h| alive(h.link)) {
        upto += u64::from(hop.weight);
        if point < upto {
            return Some(hop);
        }
        // A link may have died since the sum was made: then the last of the living takes the rest.
        last = Some(hop);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(link: u16, weight: u32) -> Hop {
        Hop { link: LinkId(link), via: None, weight }
    }

    fn shares(hops: &Hops, alive: impl Fn(LinkId) -> bool + Copy) -> [u32; 4] {
        let mut n = [0; 4];
        for i in 0..10_000u32 {
            if let Some(h) = hops.pick(i.wrapping_mul(u32::MAX / 10_000), alive) {
                n[h.link.index()] += 1;
            }
        }
        n
    }

    #[test]
    fn flows_divide_by_weight() {
        let hops = Hops::new(&[hop(0, 1), hop(1, 2), hop(2, 1)]).unwrap();
        let n = shares(&hops, |_| true);
        assert!(n[0].abs_diff(2_500) < 3 && n[1].abs_diff(5_000) < 3 && n[2].abs_diff(2_500) < 3, "{n:?}");
        assert_eq!(hops.pick(0, |_| true).unwrap().link, LinkId(0));
        assert_eq!(hops.pick(u32::MAX, |_| true).unwrap().link, LinkId(2));
    }

    #[test]
    fn the_share_of_the_dead_goes_to_the_living() {
        let hops = Hops::new(&[hop(0, 1), hop(1, 2), hop(2, 1)]).unwrap();
        let n = shares(&hops, |l| l != LinkId(1));
        assert!(n[0].abs_diff(5_000) < 3 && n[1] == 0 && n[2].abs_diff(5_000) < 3, "{n:?}");
        assert_eq!(hops.pick(7, |_| false), None);
        let one = Hops::new(&[hop(3, 256)]).unwrap();
        assert_eq!(one.pick(9, |_| true), Some(&hop(3, 256)));
        assert_eq!(one.pick(9, |_| false), None);
    }

    #[test]
    fn a_link_that_dies_while_picking_is_survived() {
        let asked = std::cell::Cell::new(0);
        let hops = Hops::new(&[hop(0, 1), hop(1, 1)]).unwrap();
        let picked = hops.pick(u32::MAX, |_| {
            asked.set(asked.get() + 1);
            asked.get() != 4 // both live while summing; the second is gone when chosen
        });
        assert_eq!(picked, Some(&hop(0, 1)));
    }

    #[test]
    fn an_entry_fits_a_cache_line() {
        assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
    }
}
