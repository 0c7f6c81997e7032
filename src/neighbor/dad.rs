//! Duplicate address detection for our own IPv6 addresses (RFC 4862 §5.4).
//!
//! ```text
//!             start          all probes sent, retrans later
//!   (unknown) ─────► TENTATIVE ──────────────────────────► VALID
//!                       │  NS from ::, or NA, for it
//!                       └──────────────────────────────► DUPLICATE
//! ```
//!
//! Until an address is valid it is neither answered for nor used; a duplicate one stays so until its
//! link comes up again. Addresses never started (IPv4, the loopback's) count as valid. Knows nothing
//! of messages: the path sends what it is told to and says what it heard.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::table::lock;
use crate::base::{Instant, LinkId};

/// Settings, after their sysctls under `net.ipv6`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `conf.*.dad_transmits`: probes for an address; 0: addresses are valid at once.
    pub transmits: u8,
    /// `neigh.*.retrans_time_ms`: between probes, and after the last.
    pub retrans: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config { transmits: 1, retrans: Duration::from_secs(1) }
    }
}

/// The state of one of our addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DadState {
    /// Being checked: not ours yet.
    Tentative,
    /// Ours.
    Valid,
    /// Another station has it.
    Duplicate,
}

/// What is to be done or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DadAction {
    /// Send an NS for `addr` from the unspecified address to its solicited-node group, with the
    /// nonce option (RFC 7527 §4.1) and without a link-layer address.
    Probe {
        /// The link.
        link: LinkId,
        /// The address.
        addr: Ipv6Addr,
        /// Tells our own probe, looped back to us, from another station's.
        nonce: [u8; 6],
    },
    /// The address is ours now.
    Valid {
        /// The link.
        link: LinkId,
        /// The address.
        addr: Ipv6Addr,
    },
    /// Another station has the address.
    Duplicate {
        /// The link.
        link: LinkId,
        /// The address.
        addr: Ipv6Addr,
    },
}

/// The addresses under examination.
#[derive(Debug)]
pub struct Dad {
    config: Config,
    inner: Mutex<Inner>,
    /// How many addresses are not valid: with none, which is the rule, nothing is looked up.
    doubtful: AtomicUsize,
    wake: AtomicU64,
}

#[derive(Debug, Clone)]
struct Inner {
    addresses: BTreeMap<(LinkId, Ipv6Addr), Address>,
    random: u64,
}

#[derive(Debug, Clone)]
struct Address {
    state: DadState,
    left: u8,
    nonce: [u8; 6],
    deadline: Option<Instant>,
}

impl Dad {
    /// No addresses yet. Nonces are drawn from `seed`.
    pub fn new(config: Config, seed: u64) -> Self {
        let inner = Inner { addresses: BTreeMap::new(), random: seed };
        let wake = AtomicU64::new(u64::MAX);
        Dad { config, inner: Mutex::new(inner), doubtful: AtomicUsize::new(0), wake }
    }

    /// Another, that has found out as much about the same addresses.
    pub fn shadow(&self) -> Self {
        Dad {
            config: self.config.clone(),
            inner: Mutex::new(lock(&self.inner).clone()),
            doubtful: AtomicUsize::new(self.doubtful.load(Relaxed)),
            wake: AtomicU64::new(self.wake.load(Relaxed)),
        }
    }

    /// Begins to check an address, from the start if it was under examination already.
    pub fn start(&self, link: LinkId, addr: Ipv6Addr, now: Instant, out: &mut Vec<DadAction>) {
        let mut inner = lock(&self.inner);
        self.begin(&mut inner, (link, addr), now, out);
        self.settle(&inner);
    }

    /// The address is ours no longer.
    pub fn stop(&self, link: LinkId, addr: Ipv6Addr) {
        let mut inner = lock(&self.inner);
        inner.addresses.remove(&(link, addr));
        self.settle(&inner);
    }

    /// The link came up: all its addresses are checked, duplicates again too.
    pub fn link_up(&self, link: LinkId, now: Instant, out: &mut Vec<DadAction>) {
        let mut inner = lock(&self.inner);
        let keys: Vec<_> = inner.addresses.keys().filter(|(l, _)| *l == link).copied().collect();
        for key in keys {
            self.begin(&mut inner, key, now, out);
        }
        self.settle(&inner);
    }

    /// The link went down: what was found out about its addresses holds no longer.
    pub fn link_down(&self, link: LinkId) {
        let mut inner = lock(&self.inner);
        for ((l, _), address) in &mut inner.addresses {
            if *l == link {
                address.state = DadState::Tentative;
                address.deadline = None;
            }
        }
        self.settle(&inner);
    }

    /// What is known about an address of ours.
    #[inline]
    pub fn state(&self, link: LinkId, addr: Ipv6Addr) -> DadState {
        if self.doubtful.load(Relaxed) == 0 {
            return DadState::Valid;
        }
        lock(&self.inner).addresses.get(&(link, addr)).map_or(DadState::Valid, |a| a.state)
    }

    /// An NS from the unspecified address asked for `addr`: if that is tentative here, two stations
    /// are after it. `nonce`: from its option, if it has one.
    pub fn solicited(&self, link: LinkId, addr: Ipv6Addr, nonce: Option<[u8; 6]>, out: &mut Vec<DadAction>) {
        self.claimed(link, addr, |a| nonce == Some(a.nonce), out);
    }

    /// An NA for `addr` came: if that is tentative here, another station has it.
    pub fn advertised(&self, link: LinkId, addr: Ipv6Addr, out: &mut Vec<DadAction>) {
        self.claimed(link, addr, |_| false, out);
    }

    /// Sends what is due, and finds addresses valid.
    pub fn timeout(&self, now: Instant, out: &mut Vec<DadAction>) {
        if now < self.poll_timeout() {
            return;
        }
        let mut inner = lock(&self.inner);
        for ((link, addr), address) in &mut inner.addresses {
            if address.deadline.is_some_and(|d| d <= now) {
                self.step(*link, *addr, address, now, out);
            }
        }
        self.settle(&inner);
    }

    /// When [`Dad::timeout`] is to be called.
    #[inline]
    pub fn poll_timeout(&self) -> Instant {
        Instant::from_nanos(self.wake.load(Relaxed))
    }

    /// Whether every address is valid, told without looking at them.
    pub fn all_valid(&self) -> bool {
        self.doubtful.load(Relaxed) == 0
    }

    /// Every address and its state, ordered by link and address.
    pub fn addresses(&self) -> Vec<(LinkId, Ipv6Addr, DadState)> {
        lock(&self.inner).addresses.iter().map(|((l, a), s)| (*l, *a, s.state)).collect()
    }

    fn begin(
        &self,
        inner: &mut Inner,
        (link, addr): (LinkId, Ipv6Addr),
        now: Instant,
        out: &mut Vec<DadAction>,
    ) {
        inner.random = super::gc::scramble(inner.random);
        let mut nonce = [0; 6];
        nonce.copy_from_slice(&inner.random.to_be_bytes()[..6]);
        let mut address =
            Address { state: DadState::Tentative, left: self.config.transmits, nonce, deadline: None };
        self.step(link, addr, &mut address, now, out);
        inner.addresses.insert((link, addr), address);
    }

    fn step(
        &self,
        link: LinkId,
        addr: Ipv6Addr,
        address: &mut Address,
        now: Instant,
        out: &mut Vec<DadAction>,
    ) {
        if address.left > 0 {
            address.left -= 1;
            address.deadline = Some(now + self.config.retrans);
            out.push(DadAction::Probe { link, addr, nonce: address.nonce });
        } else {
            address.deadline = None;
            address.state = DadState::Valid;
            out.push(DadAction::Valid { link, addr });
        }
    }

    fn claimed(
        &self,
        link: LinkId,
        addr: Ipv6Addr,
        ours: impl Fn(&Address) -> bool,
        out: &mut Vec<DadAction>,
    ) {
        if self.doubtful.load(Relaxed) == 0 {
            return;
        }
        let mut inner = lock(&self.inner);
        let Some(address) = inner.addresses.get_mut(&(link, addr)) else { return };
        if address.state == DadState::Tentative && !ours(address) {
            address.state = DadState::Duplicate;
            address.deadline = None;
            out.push(DadAction::Duplicate { link, addr });
        }
        self.settle(&inner);
    }

    /// Brings what is read without the lock up to date.
    fn settle(&self, inner: &Inner) {
        let doubtful = inner.addresses.values().filter(|a| a.state != DadState::Valid).count();
        let wake = inner.addresses.values().filter_map(|a| a.deadline).min();
        self.doubtful.store(doubtful, Relaxed);
        self.wake.store(wake.unwrap_or(Instant::FAR_FUTURE).as_nanos(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: LinkId = LinkId(1);
    const WAN: LinkId = LinkId(2);
    const ADDR: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    fn start(dad: &Dad, secs: u64) -> [u8; 6] {
        let mut out = Vec::new();
        dad.start(LAN, ADDR, Instant::from_secs(secs), &mut out);
        match out[..] {
            [DadAction::Probe { link: LAN, addr: ADDR, nonce }] => nonce,
            ref other => panic!("{other:?}"),
        }
    }

    fn timeout(dad: &Dad, millis: u64) -> Vec<DadAction> {
        let mut out = Vec::new();
        dad.timeout(Instant::from_millis(millis), &mut out);
        out
    }

    #[test]
    fn an_address_nobody_else_has_becomes_valid() {
        let dad = Dad::new(Config::default(), 1);
        assert_eq!(dad.poll_timeout(), Instant::FAR_FUTURE);
        start(&dad, 5);
        assert_eq!((dad.state(LAN, ADDR), dad.state(WAN, ADDR)), (DadState::Tentative, DadState::Valid));
        assert_eq!(dad.poll_timeout(), Instant::from_secs(6));
        assert!(timeout(&dad, 5999).is_empty());
        assert_eq!(timeout(&dad, 6000), [DadAction::Valid { link: LAN, addr: ADDR }]);
        assert_eq!(dad.state(LAN, ADDR), DadState::Valid);
        assert_eq!(dad.poll_timeout(), Instant::FAR_FUTURE);
        // Valid it is, and stays, whatever is claimed.
        let mut out = Vec::new();
        dad.solicited(LAN, ADDR, None, &mut out);
        dad.advertised(LAN, ADDR, &mut out);
        assert!(out.is_empty() && dad.state(LAN, ADDR) == DadState::Valid);
    }

    #[test]
    fn probes_are_counted() {
        let dad = Dad::new(Config { transmits: 3, ..Config::default() }, 1);
        let nonce = start(&dad, 0);
        let probe = [DadAction::Probe { link: LAN, addr: ADDR, nonce }];
        assert_eq!((timeout(&dad, 1000), timeout(&dad, 2000)), (probe.to_vec(), probe.to_vec()));
        assert_eq!(timeout(&dad, 3000), [DadAction::Valid { link: LAN, addr: ADDR }]);
        let dad = Dad::new(Config { transmits: 0, ..Config::default() }, 1);
        let mut out = Vec::new();
        dad.start(LAN, ADDR, Instant::ZERO, &mut out);
        assert_eq!(out, [DadAction::Valid { link: LAN, addr: ADDR }]);
    }

    #[test]
    fn others_claims_make_it_a_duplicate() {
        for by_advert in [false, true] {
            let dad = Dad::new(Config::default(), 1);
            let nonce = start(&dad, 0);
            let mut out = Vec::new();
            // Not about it, not on this link, or our own probe come back.
            dad.solicited(WAN, ADDR, None, &mut out);
            dad.advertised(LAN, Ipv6Addr::LOCALHOST, &mut out);
            dad.solicited(LAN, ADDR, Some(nonce), &mut out);
            assert!(out.is_empty() && dad.state(LAN, ADDR) == DadState::Tentative);
            if by_advert {
                dad.advertised(LAN, ADDR, &mut out);
            } else {
                dad.solicited(LAN, ADDR, Some([0; 6]), &mut out);
            }
            assert_eq!(out, [DadAction::Duplicate { link: LAN, addr: ADDR }]);
            assert_eq!(dad.state(LAN, ADDR), DadState::Duplicate);
            assert!(timeout(&dad, 100_000).is_empty(), "it stays one");
            dad.advertised(LAN, ADDR, &mut out);
            assert_eq!(out.len(), 1, "said once");
            assert_eq!(dad.addresses(), [(LAN, ADDR, DadState::Duplicate)]);
        }
    }

    #[test]
    fn a_link_that_comes_back_starts_over() {
        let dad = Dad::new(Config::default(), 1);
        let first = start(&dad, 0);
        timeout(&dad, 1000);
        dad.link_down(LAN);
        assert_eq!(dad.state(LAN, ADDR), DadState::Tentative);
        assert_eq!(dad.poll_timeout(), Instant::FAR_FUTURE, "nothing is sent on a link that is down");
        let mut out = Vec::new();
        dad.link_up(WAN, Instant::from_secs(9), &mut out);
        assert!(out.is_empty());
        dad.link_up(LAN, Instant::from_secs(9), &mut out);
        assert!(matches!(out[..], [DadAction::Probe { nonce, .. }] if nonce != first));
        dad.advertised(LAN, ADDR, &mut out);
        dad.link_up(LAN, Instant::from_secs(20), &mut out);
        assert_eq!(dad.state(LAN, ADDR), DadState::Tentative, "a duplicate has another chance");
        dad.stop(LAN, ADDR);
        assert_eq!((dad.state(LAN, ADDR), dad.poll_timeout()), (DadState::Valid, Instant::FAR_FUTURE));
    }
}
