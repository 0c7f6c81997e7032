//! The permanent neighbors of a configuration that is being changed: in their order, and found by their addresses.

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::NeighborConfig;

/// The list, with holes where some have gone.
#[derive(Debug, Clone, Default)]
pub(super) struct Fixed {
    list: Vec<Option<NeighborConfig>>,
    /// An address may be there on several links.
    places: HashMap<IpAddr, Vec<usize>>,
    len: usize,
}

impl Fixed {
    pub(super) fn of(all: Vec<NeighborConfig>) -> Self {
        let mut fixed = Fixed { list: Vec::with_capacity(all.len()), ..Fixed::default() };
        all.into_iter().for_each(|n| fixed.push(n));
        fixed
    }

    pub(super) fn into_list(self) -> Vec<NeighborConfig> {
        self.list.into_iter().flatten().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, n: NeighborConfig) {
        self.places.entry(n.ip).or_default().push(self.list.len());
        self.list.push(Some(n));
        self.len += 1;
    }

    /// Those with an address, on whichever link.
    pub(super) fn with(&self, ip: IpAddr) -> impl Iterator<Item = &NeighborConfig> {
        let places = self.places.get(&ip).into_iter().flatten();
        places.filter_map(|at| self.list.get(*at)?.as_ref())
    }

    pub(super) fn get_mut(&mut self, ip: IpAddr, dev: &str) -> Option<&mut NeighborConfig> {
        let at = self.place(ip, dev)?;
        self.list.get_mut(at)?.as_mut()
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, ip: IpAddr, dev: &str) -> bool {
        let Some(at) = self.place(ip, dev) else { return false };
        self.empty(at, ip);
        true
    }

    pub(super) fn retain(&mut self, stays: impl Fn(&NeighborConfig) -> bool) {
        let go =
            |(at, n): (usize, &Option<NeighborConfig>)| n.as_ref().filter(|n| !stays(n)).map(|n| (at, n.ip));
        let gone: Vec<_> = self.list.iter().enumerate().filter_map(go).collect();
        gone.into_iter().for_each(|(at, ip)| self.empty(at, ip));
    }

    fn place(&self, ip: IpAddr, dev: &str) -> Option<usize> {
        let is = |at: &usize| matches!(self.list.get(*at), Some(Some(n)) if n.dev == dev);
        self.places.get(&ip)?.iter().copied().find(is)
    }

    fn empty(&mut self, at: usize, ip: IpAddr) {
        if let Some(place) = self.list.get_mut(at)
            && place.take().is_some()
        {
            self.len -= 1;
        }
        if let Some(places) = self.places.get_mut(&ip) {
            places.retain(|p| *p != at);
            if places.is_empty() {
                self.places.remove(&ip);
            }
        }
    }
}
