//! Where the addresses of a configuration are that is being changed: for questions that each of many new ones asks of all
//! the others.
//!
//! Knows what [`Config::links`](super::Config) has in its lists, by places there, and is to be told of each address that
//! comes or goes.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::super::Config;
use crate::link::Address;

/// Whose an address is: the loopback's, or that of the link at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// `lo`.
    Loopback,
    /// A link.
    Link(usize),
}

/// All addresses, by themselves and by their prefixes.
#[derive(Debug, Clone, Default)]
pub(super) struct Owned {
    /// Link-local ones may be there on several links.
    addresses: HashMap<IpAddr, Vec<(Owner, u8)>>,
    /// Prefixes on links, and how many addresses each link has in them; without those that only each link by itself knows.
    prefixes: BTreeMap<Prefix, Vec<(usize, usize)>>,
}

/// A prefix in an order in which those within it follow it: family, first address, length.
pub(super) type Prefix = (bool, u128, u8);

impl Owned {
    pub(super) fn of(config: &Config) -> Self {
        let mut owned = Owned::default();
        config.loopback.iter().for_each(|a| owned.add(Owner::Loopback, a));
        for (at, link) in config.links.iter().enumerate() {
            link.addresses.iter().for_each(|a| owned.add(Owner::Link(at), a));
        }
        owned
    }

    pub(super) fn add(&mut self, owner: Owner, a: &Address) {
        self.addresses.entry(a.addr).or_default().push((owner, a.prefix_len));
        if let Owner::Link(at) = owner
            && !is_link_local(a.addr)
        {
            let there = self.prefixes.entry(prefix(a.addr, a.prefix_len)).or_default();
            match there.iter_mut().find(|(o, _)| *o == at) {
                Some((_, count)) => *count += 1,
                None => there.push((at, 1)),
            }
        }
    }

    pub(super) fn remove(&mut self, owner: Owner, a: &Address) {
        if let Some(owners) = self.addresses.get_mut(&a.addr) {
            owners.retain(|(o, _)| *o != owner);
            if owners.is_empty() {
                self.addresses.remove(&a.addr);
            }
        }
        let prefix = prefix(a.addr, a.prefix_len);
        if let Owner::Link(at) = owner
            && let Some(there) = self.prefixes.get_mut(&prefix)
        {
            there.iter_mut().filter(|(o, _)| *o == at).for_each(|(_, count)| *count -= 1);
            there.retain(|(_, count)| *count > 0);
            if there.is_empty() {
                self.prefixes.remove(&prefix);
            }
        }
    }

    /// Whose it is, and the length of its prefix there; 127.0.0.1/8 and ::1/128 are nobody's here.
    pub(super) fn owners(&self, addr: IpAddr) -> &[(Owner, u8)] {
        self.addresses.get(&addr).map_or(&[], Vec::as_slice)
    }

    /// A prefix of another link that is within this address's, or around it.
    pub(super) fn meets(&self, at: usize, new: &Address) -> Option<(usize, Prefix)> {
        let of_another = |(prefix, there): (&Prefix, &Vec<(usize, usize)>)| {
            there.iter().find(|(o, _)| *o != at).map(|(o, _)| (*o, *prefix))
        };
        let mut around =
            (1..new.prefix_len).filter_map(|len| self.prefixes.get_key_value(&prefix(new.addr, len)));
        if let Some(found) = around.find_map(of_another) {
            return Some(found);
        }
        let first = prefix(new.addr, new.prefix_len);
        let last = (first.0, first.1 | host_bits(new.addr, new.prefix_len), u8::MAX);
        self.prefixes.range(first..=last).find_map(of_another)
    }
}

/// The first `len` bits of an address.
pub(super) fn prefix(addr: IpAddr, len: u8) -> Prefix {
    let bits = match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    (addr.is_ipv6(), bits & !host_bits(addr, len), len)
}

/// All bits behind the first `len`.
fn host_bits(addr: IpAddr, len: u8) -> u128 {
    let width: u8 = if addr.is_ipv4() { 32 } else { 128 };
    match u32::from(width.saturating_sub(len)) {
        128.. => u128::MAX,
        behind => (1 << behind) - 1,
    }
}

pub(super) fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        let (addr, len) = text.split_once('/').unwrap();
        Address { addr: addr.parse().unwrap(), prefix_len: len.parse().unwrap() }
    }

    #[test]
    fn prefixes_meet_those_within_and_around_them_on_other_links() {
        let mut owned = Owned::default();
        let all = ["10.1.0.1/24", "10.1.0.2/24", "10.2.0.1/16", "fd01::1/64", "fe80::1/64"];
        for (at, text) in all.iter().enumerate() {
            owned.add(Owner::Link(at / 2), &address(text));
        }
        let meets = |at, text: &str| {
            let found = owned.meets(at, &address(text))?;
            let is = |t: &&str| found.1 == prefix(address(t).addr, address(t).prefix_len);
            Some((found.0, all.into_iter().find(is)?))
        };
        assert_eq!(meets(9, "10.1.0.9/24"), Some((0, "10.1.0.1/24")));
        assert_eq!(meets(9, "10.1.0.9/32"), Some((0, "10.1.0.1/24")));
        assert_eq!(meets(0, "10.1.0.9/32"), None, "its own");
        assert_eq!(meets(0, "10.0.0.9/8"), Some((1, "10.2.0.1/16")), "past its own");
        assert_eq!(meets(9, "10.1.1.9/24"), None);
        assert_eq!(meets(9, "10.3.0.1/32"), None);
        assert_eq!(meets(9, "10.2.255.255/32"), Some((1, "10.2.0.1/16")));
        assert_eq!(meets(9, "fd01::9/128"), Some((1, "fd01::1/64")));
        assert_eq!(meets(9, "fd00::9/1"), Some((1, "fd01::1/64")));
        assert_eq!(meets(9, "fe80::2/64"), None, "each link's own affair");
        let [first, second] = ["10.1.0.1/24", "10.1.0.2/24"].map(address);
        owned.remove(Owner::Link(0), &first);
        assert!(owned.owners(first.addr).is_empty());
        assert_eq!(owned.meets(9, &first).map(|m| m.0), Some(0), "the other is there yet");
        owned.remove(Owner::Link(0), &second);
        assert_eq!(owned.meets(9, &first), None);
    }
}
