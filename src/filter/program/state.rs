//! What matches remember from one packet to the next, the same for all workers: no token is spent twice, no
//! count lost.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::base::Instant;

/// Ticks of the limit's clock in a second. The kernel's depend on how it was built (`CONFIG_HZ`, 100 to 1000); what a
/// second is worth (`HZ * CREDITS_PER_JIFFY`) is the same for 250 and 1000.
const HZ: u32 = 1_000;
/// Credits a tick gives: the power of two with which a day's (the slowest rate) fit 32 bits.
const CREDITS_PER_TICK: u32 = 32;
/// Units of a rule's rate in a second (`XT_LIMIT_SCALE`).
const SCALE: u32 = 10_000;

/// Ticks by which one worker's clock may be behind another's; more is a long time in which nobody came.
const SKEW: u32 = 60 * HZ;

/// A token bucket (`xt_limit`).
#[derive(Debug)]
pub(super) struct Limit {
    /// Credits a packet costs.
    cost: u32,
    /// Credits there can be.
    cap: u32,
    /// The tick of the last look, above the credits that were left then.
    purse: AtomicU64,
}

impl Limit {
    /// A full bucket: one packet in `every` ten-thousandths of a second, `burst` at once.
    pub(super) fn new(every: u32, burst: u32) -> Self {
        let cap = credits(every.wrapping_mul(burst));
        Limit { cost: credits(every), cap, purse: AtomicU64::new(pack(0, cap)) }
    }

    /// Pays for a packet, if there is enough.
    pub(super) fn pays(&self, now: Instant) -> bool {
        let tick = (now.as_nanos() / (1_000_000_000 / u64::from(HZ))) as u32;
        let mut pays = false;
        let spend = |purse: u64| {
            let (last, left) = ((purse >> 32) as u32, purse as u32);
            // Workers read the clock one after the other, and may come here in another order.
            let passed = tick.wrapping_sub(last);
            let (passed, last) = if passed > u32::MAX - SKEW { (0, last) } else { (passed, tick) };
            let left = left.saturating_add(passed.saturating_mul(CREDITS_PER_TICK)).min(self.cap);
            pays = left >= self.cost;
            Some(pack(last, if pays { left - self.cost } else { left }))
        };
        // The closure always gives a value, so that this can't fail.
        let _ = self.purse.fetch_update(Relaxed, Relaxed, spend);
        pays
    }

    /// Goes on with what another one had left.
    pub(super) fn carry(&self, old: &Limit) {
        self.purse.store(old.purse.load(Relaxed), Relaxed);
    }
}

impl Clone for Limit {
    /// Another bucket, with as much in it.
    fn clone(&self) -> Self {
        Limit { cost: self.cost, cap: self.cap, purse: AtomicU64::new(self.purse.load(Relaxed)) }
    }
}

fn pack(tick: u32, credits: u32) -> u64 {
    u64::from(tick) << 32 | u64::from(credits)
}

/// Time in units of [`SCALE`] as credits, with the kernel's care for 32 bits (`user2credits`).
fn credits(time: u32) -> u32 {
    match time > u32::MAX / (HZ * CREDITS_PER_TICK) {
        true => (time / SCALE).wrapping_mul(HZ * CREDITS_PER_TICK),
        false => time * HZ * CREDITS_PER_TICK / SCALE,
    }
}

/// Every nth packet (`xt_statistic`).
#[derive(Debug)]
pub(super) struct Nth {
    last: u32,
    count: AtomicU32,
}

impl Nth {
    /// Of `every` packets the one with number `packet`, from 0.
    pub(super) fn new(every: u32, packet: u32) -> Self {
        let last = every.saturating_sub(1);
        Nth { last, count: AtomicU32::new(last.saturating_sub(packet)) }
    }

    /// Counts a packet; true for the one that is meant.
    pub(super) fn counts(&self) -> bool {
        let next = |count| if count == self.last { 0 } else { count + 1 };
        // The closure always gives a value, so that this can't fail.
        let step = |count| Some(next(count));
        match self.count.fetch_update(Relaxed, Relaxed, step) {
            Ok(before) | Err(before) => next(before) == 0,
        }
    }

    /// Goes on where another one was.
    pub(super) fn carry(&self, old: &Nth) {
        self.count.store(old.count.load(Relaxed), Relaxed);
    }
}

impl Clone for Nth {
    /// Another count, as far as this one.
    fn clone(&self) -> Self {
        Nth { last: self.last, count: AtomicU32::new(self.count.load(Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Instant {
        Instant::from_millis(n)
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        // 3/second, burst 5.
        let limit = Limit::new(3_333, 5);
        let now = ms(10_000);
        assert_eq!((0..9).filter(|_| limit.pays(now)).count(), 5);
        assert!(!limit.pays(ms(10_330)));
        assert!(limit.pays(ms(10_334)));
        assert!(!limit.pays(ms(10_335)));
        // However long nobody came, no more than the burst.
        assert_eq!((0..9).filter(|_| limit.pays(ms(100_000))).count(), 5);
        // In a minute at three a second, 180 or one less.
        let passed = (0..60_000).filter(|t| limit.pays(ms(100_001 + t))).count();
        assert!((179..=180).contains(&passed), "{passed}");
    }

    #[test]
    fn slow_rates_and_clocks_that_wrap() {
        // 1/day, burst 1.
        let limit = Limit::new(24 * 3600 * SCALE, 1);
        assert!(limit.pays(ms(5)));
        assert!(!limit.pays(ms(1000 * 3600 * 23)));
        assert!(limit.pays(ms(1000 * 3600 * 24 + 10)));
        // An earlier moment earns nothing, and the later one is not forgotten.
        let limit = Limit::new(SCALE, 1);
        assert!(limit.pays(ms(5_000)));
        assert!(!limit.pays(ms(4_000)));
        assert!(!limit.pays(ms(5_999)));
        assert!(limit.pays(ms(6_000)));
        // 49 days of milliseconds are 32 bits.
        let wraps = u64::from(u32::MAX);
        let limit = Limit::new(SCALE, 1);
        assert!(limit.pays(ms(wraps - 100_000)));
        assert!(limit.pays(ms(wraps - 10)));
        assert!(!limit.pays(ms(wraps + 100)));
        assert!(limit.pays(ms(wraps + 1000)));
    }

    #[test]
    fn workers_together_get_no_more_than_one_would() {
        let limit = Limit::new(SCALE, 100);
        let nth = Nth::new(7, 0);
        let counts = std::thread::scope(|s| {
            let work = || {
                (0..700).fold((0, 0), |(a, b), _| {
                    (a + usize::from(limit.pays(ms(77_000))), b + usize::from(nth.counts()))
                })
            };
            let threads: Vec<_> = (0..4).map(|_| s.spawn(work)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).fold((0, 0), |x, y| (x.0 + y.0, x.1 + y.1))
        });
        assert_eq!(counts, (100, 400));
    }

    #[test]
    fn nth_begins_where_it_is_told() {
        let seen = |every, packet| {
            let n = Nth::new(every, packet);
            (0..7).filter(|_| n.counts()).count();
            let n = Nth::new(every, packet);
            (0..7).filter(|_| n.counts()).collect::<Vec<_>>()
        };
        assert_eq!(seen(3, 0), [0, 3, 6]);
        assert_eq!(seen(3, 2), [2, 5]);
        assert_eq!(seen(1, 0), [0, 1, 2, 3, 4, 5, 6]);
    }
}
