//! A histogram of times, from nanoseconds to hours, that never loses more than one part in 128.
//!
//! Like HdrHistogram: a range from one power of two to the next is cut into 128 equal slots.

use std::fmt;
use std::time::Duration;

/// How often each time occurred.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    slots: Vec<u64>,
    count: u64,
    sum: u128,
    least: u64,
    greatest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { slots: vec![0; SLOTS], count: 0, sum: 0, least: u64::MAX, greatest: 0 }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most] = [0.5, 0.99].map(|part| self.quantile(part));
        write!(f, "Histogram({} times, p50 {half:?}, p99 {most:?}, range {:?})", self.count, self.range())
    }
}

impl Histogram {
    /// An empty one.
    pub fn new() -> Self {
        Histogram::default()
    }

    /// Adds one time.
    pub fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.slots[slot(nanos)] += 1;
        self.count += 1;
        self.sum += u128::from(nanos);
        self.least = self.least.min(nanos);
        self.greatest = self.greatest.max(nanos);
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Histogram) {
        for (to, from) in self.slots.iter_mut().zip(&other.slots) {
            *to += from;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    /// How many times there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The time that this part of all, 0 to 1, does not exceed; zero if there is none.
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = ((part.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        if rank == 1 && self.count > 0 {
            return Duration::from_nanos(self.least);
        }
        let mut below = 0;
        for (i, n) in self.slots.iter().enumerate() {
            below += n;
            if below >= rank {
                return Duration::from_nanos(upper(i).clamp(self.least, self.greatest));
            }
        }
        Duration::ZERO
    }

    /// The mean; zero if there is none.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.sum.checked_div(u128::from(self.count)).unwrap_or(0) as u64)
    }

    /// The shortest and the longest, exactly.
    pub fn range(&self) -> Option<[Duration; 2]> {
        (self.count > 0).then(|| [self.least, self.greatest].map(Duration::from_nanos))
    }
}

/// The slot of a time in nanoseconds.
fn slot(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(BITS + 1);
    shift as usize * HALF + (nanos >> shift) as usize
}

/// The longest time in a slot.
fn upper(slot: usize) -> u64 {
    let shift = (slot / HALF).saturating_sub(1);
    let digits = (slot - shift * HALF) as u64;
    ((u128::from(digits + 1) << shift) - 1).min(u128::from(u64::MAX)) as u64
}

/// A time is known to this many bits besides its first.
const BITS: u32 = 7;
/// Slots between two powers of two.
const HALF: usize = 1 << BITS;
/// Twice as many for the times below 256 ns, then as many for each power of two.
const SLOTS: usize = (u64::BITS - BITS + 1) as usize * HALF;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_of_a_known_distribution() {
        let mut h = Histogram::new();
        (1..=10_000).for_each(|micros| h.record(Duration::from_micros(micros)));
        let near = |part: f64, micros: f64| {
            let got = h.quantile(part).as_nanos() as f64 / 1e3;
            assert!((got / micros - 1.0).abs() < 1.0 / 128.0, "{part}: {got} for {micros}");
        };
        near(0.5, 5_000.0);
        near(0.99, 9_900.0);
        near(0.999, 9_990.0);
        assert_eq!(h.quantile(1.0), Duration::from_millis(10));
        assert_eq!(h.quantile(0.0), Duration::from_micros(1));
        assert_eq!(h.range(), Some([Duration::from_micros(1), Duration::from_millis(10)]));
        assert_eq!(h.mean(), Duration::from_nanos(5_000_500));
        assert_eq!(Histogram::new().quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn two_halves_make_a_whole() {
        let (mut odd, mut even, mut all) = (Histogram::new(), Histogram::new(), Histogram::new());
        for n in 0..1000 {
            let time = Duration::from_nanos(n * n);
            if n % 2 == 0 {
                even.record(time)
            } else {
                odd.record(time)
            }
            all.record(time);
        }
        odd.merge(&even);
        assert_eq!(odd, all);
    }

    proptest! {
        #[test]
        fn a_slot_holds_its_times(nanos: u64) {
            let i = slot(nanos);
            prop_assert!(i < SLOTS && upper(i) >= nanos);
            prop_assert!(upper(i) - nanos <= nanos / 128);
            prop_assert!(i == 0 || upper(i - 1) < nanos);
        }
    }
}
