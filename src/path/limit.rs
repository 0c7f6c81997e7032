//! How often the router may answer: the kernel's limits on ICMP.
//!
//! A bucket for all errors together (`icmp_msgs_per_sec`, burst `icmp_msgs_burst`), and one for each
//! peer (`icmp_ratelimit`), which redirects and unreachable routes share as they do in
//! `inet_peer`. Only errors are limited; echo replies and "fragmentation needed" never are.
//!
//! Touched when something is wrong, never on the established path.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::Instant;

/// `net.ipv4.icmp_ratelimit`, `net.ipv6.icmp.ratelimit`: one error per peer and second.
const PEER_INTERVAL_MS: u64 = 1_000;
/// `XRLIM_BURST_FACTOR`: a peer that was quiet gets six at once.
const PEER_BURST: u64 = 6;
/// `net.ipv4.icmp_msgs_burst`.
const BURST: i64 = 50;
/// `net.ipv4.route.error_cost` and `error_burst`: what an answer for lack of a route costs, and how much may be saved.
const ROUTE_COST_MS: u64 = 1_000;
const ROUTE_BURST_MS: u64 = 5_000;
/// `net.ipv4.route.redirect_number`: redirects before the router gives up on a host that won't listen.
const REDIRECTS: u32 = 9;
/// `net.ipv4.route.redirect_load`: the first pause between redirects; it doubles each time.
const REDIRECT_LOAD: Duration = Duration::from_millis(20);
/// `net.ipv4.route.redirect_silence`: after so long all is forgiven.
const REDIRECT_SILENCE: Duration = Duration::from_millis(20 << (REDIRECTS + 1));
/// Peers remembered at most. When full, those that are quiet longest go; a flood of peers meets the
/// bucket for all.
const MAX_PEERS: usize = 4_096;

/// All limits of one router.
#[derive(Debug)]
pub struct Limits {
    inner: Mutex<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    /// May fall to -1: see [`Inner::spend`].
    credit: i64,
    refilled: Instant,
    peers: HashMap<IpAddr, Peer>,
    /// Counts whenever a peer is heard of: the order in which they are forgotten.
    touches: u64,
    rng: u64,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    tokens_ms: u64,
    last: Instant,
    redirects: u32,
    touched: u64,
}

impl Limits {
    /// Full buckets. `seed` feeds the noise that hides the bucket's level (CVE-2020-25705).
    pub fn new(seed: u64) -> Self {
        let inner = Inner {
            credit: BURST,
            refilled: Instant::ZERO,
            peers: HashMap::new(),
            touches: 0,
            rng: seed | 1,
        };
        Limits { inner: Mutex::new(inner) }
    }

    /// Others, with as much left in each.
    pub(super) fn shadow(&self) -> Self {
        Limits { inner: Mutex::new(self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone()) }
    }

    /// Whether an error may go to `peer`. `rate` is the number per second for all together, `u32::MAX` as many as
    /// there are, to each peer too (`icmp_ratelimit` 0); `shift` shortens the peer's interval (IPv6 gives wide routes more, `icmpv6_xrlim_allow`).
    pub(super) fn error(&self, peer: IpAddr, rate: u32, shift: u32, now: Instant) -> bool {
        let Ok(mut inner) = self.inner.lock() else { return false };
        if !inner.refill(rate, now) {
            return false;
        }
        let interval = match rate {
            u32::MAX => 0,
            _ => (PEER_INTERVAL_MS >> shift.min(9)).max(1),
        };
        let pays = inner.peer(peer, now).pays(interval, PEER_BURST * interval, now);
        if pays {
            inner.spend();
        }
        pays
    }

    /// Whether an answer for lack of a route may go to `peer`; [`Limits::error`] is asked besides.
    pub(super) fn route_error(&self, peer: IpAddr, now: Instant) -> bool {
        let Ok(mut inner) = self.inner.lock() else { return false };
        inner.peer(peer, now).pays(ROUTE_COST_MS, ROUTE_BURST_MS, now)
    }

    /// Whether another IPv4 redirect may go to `peer` (`ip_rt_send_redirect`).
    pub(super) fn redirect4(&self, peer: IpAddr, now: Instant) -> bool {
        let Ok(mut inner) = self.inner.lock() else { return false };
        let p = inner.peer(peer, now);
        if now.since(p.last) > REDIRECT_SILENCE {
            p.tokens_ms = 0;
            p.redirects = 0;
        }
        if p.redirects >= REDIRECTS {
            p.last = now;
            return false;
        }
        if p.redirects > 0 && now.since(p.last) <= REDIRECT_LOAD * (1 << p.redirects) {
            return false;
        }
        p.last = now;
        p.redirects += 1;
        true
    }

    /// Whether another IPv6 redirect may go to `peer`, or be about it: one a second (`ip6_forward`).
    pub(super) fn redirect6(&self, peer: IpAddr, now: Instant) -> bool {
        let Ok(mut inner) = self.inner.lock() else { return false };
        inner.peer(peer, now).pays(PEER_INTERVAL_MS, PEER_BURST * PEER_INTERVAL_MS, now)
    }
}

impl Peer {
    /// Takes `cost` out of the purse, if that much is in it; `most` is what may have been saved until now. All in
    /// milliseconds.
    fn pays(&mut self, cost: u64, most: u64, now: Instant) -> bool {
        self.tokens_ms = (self.tokens_ms + now.since(self.last).as_millis() as u64).min(most);
        self.last = now;
        let pays = self.tokens_ms >= cost;
        if pays {
            self.tokens_ms -= cost;
        }
        pays
    }
}

impl Inner {
    /// Refills the common bucket; `false` if it is empty.
    fn refill(&mut self, rate: u32, now: Instant) -> bool {
        let gained = now.since(self.refilled).as_nanos() * u128::from(rate) / 1_000_000_000;
        if gained > 0 {
            self.credit = self.credit.saturating_add(i64::try_from(gained).unwrap_or(BURST)).min(BURST);
            self.refilled = now;
        }
        self.credit > 0
    }

    /// Pays for an error: nothing, once, or twice as much as it costs. So nobody outside can tell from the
    /// answers he gets how many others got (`icmp_global_consume`). What is refused costs nothing.
    fn spend(&mut self) {
        self.rng = self.rng.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.credit -= (self.rng >> 33) as i64 % 3;
    }

    fn peer(&mut self, addr: IpAddr, now: Instant) -> &mut Peer {
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&addr) {
            self.forget();
        }
        self.touches += 1;
        // A peer not seen before has a full purse, as one that was quiet for a minute.
        let fresh = Peer { tokens_ms: 60_000, last: now, redirects: 0, touched: 0 };
        let peer = self.peers.entry(addr).or_insert(fresh);
        peer.touched = self.touches;
        peer
    }

    /// Makes room: the half that was heard of longest ago goes. A flood of strangers pushes out strangers; who keeps
    /// asking keeps his purse as it is. Half a table at a time, so that a flood pays for the search once in a while.
    fn forget(&mut self) {
        let mut touched: Vec<u64> = self.peers.values().map(|p| p.touched).collect();
        let (_, middle, _) = touched.select_nth_unstable(MAX_PEERS / 2);
        let middle = *middle;
        self.peers.retain(|_, p| p.touched > middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    #[test]
    fn a_peer_gets_six_at_once_and_then_one_a_second() {
        let l = Limits::new(1);
        let allowed = |ms| l.error(peer(1), 1000, 0, Instant::from_millis(ms));
        assert_eq!((0..10).filter(|_| allowed(100_000)).count(), 6);
        assert!(!allowed(100_999));
        assert!(allowed(101_000));
        assert!(!allowed(101_001));
    }

    #[test]
    fn without_a_limit_everybody_gets_what_he_asks_for() {
        let l = Limits::new(1);
        let allowed = |us| l.error(peer(1), u32::MAX, 0, Instant::from_millis(5) + Duration::from_micros(us));
        assert_eq!((0..1000).filter(|us| allowed(*us)).count(), 1000);
    }

    #[test]
    fn all_peers_share_a_bucket_of_fifty() {
        let l = Limits::new(1);
        let now = Instant::from_secs(5);
        let got = (0..200).filter(|i| l.error([10, 0, 0, *i].into(), 1000, 0, now)).count();
        assert!((30..=75).contains(&got), "{got}");
        let later = now + Duration::from_millis(60);
        assert!(l.error([10, 0, 1, 1].into(), 1000, 0, later));
    }

    #[test]
    fn lack_of_a_route_costs_from_the_same_purse() {
        let l = Limits::new(1);
        let now = Instant::from_secs(1);
        let sent = (0..10).filter(|_| l.route_error(peer(2), now) && l.error(peer(2), 1000, 0, now)).count();
        assert_eq!(sent, 2, "five seconds' worth, two spent on each");
    }

    #[test]
    fn redirects_back_off_and_fall_silent() {
        let l = Limits::new(1);
        let mut t = Instant::from_secs(1);
        assert!(l.redirect4(peer(3), t));
        assert!(!l.redirect4(peer(3), t + Duration::from_millis(40)));
        for n in 1..REDIRECTS {
            t += REDIRECT_LOAD * (1 << n) + Duration::from_millis(1);
            assert!(l.redirect4(peer(3), t), "{n}");
        }
        t += Duration::from_secs(15);
        assert!(!l.redirect4(peer(3), t), "it did not listen nine times");
        assert!(l.redirect4(peer(3), t + REDIRECT_SILENCE + Duration::from_millis(1)));
    }

    #[test]
    fn a_flood_of_peers_gives_nobody_a_fresh_purse() {
        let l = Limits::new(1);
        let now = Instant::from_secs(1);
        let allowed = || l.redirect6(peer(4), now);
        assert_eq!((0..10).filter(|_| allowed()).count(), 6);
        for i in 0..(4 * MAX_PEERS as u32) {
            l.redirect6(IpAddr::V4(i.into()), now);
            assert!(i % 512 != 0 || !allowed(), "after {i} strangers");
        }
    }

    #[test]
    fn the_memory_of_peers_is_bounded() {
        let l = Limits::new(1);
        for i in 0..(3 * MAX_PEERS as u32) {
            l.redirect6(IpAddr::V4(i.into()), Instant::from_secs(1));
        }
        assert!(l.inner.lock().unwrap().peers.len() <= MAX_PEERS);
    }
}
