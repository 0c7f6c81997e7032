//! What a route says of the packets it covers besides where they go: `mtu` and `advmss` of ip-route(8).
//!
//! The kernel calls these metrics, and so do `ip -j route` and this module; the number that routes are chosen by is
//! [`Route::metric`](super::Route::metric). Knows nothing of links: which of the two MTUs is the smaller is for who sends.

use std::fmt;

/// The metrics of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Metrics {
    /// The largest packet that goes this way whole, in bytes; 0: the link's MTU alone says.
    pub mtu: u16,
    /// The largest segment that this way's TCP peers are told of, in bytes; 0: none is said.
    pub advmss: u16,
    /// `mtu lock`: path MTU discovery is not to change it. It does not here; IPv6 of the kernel forwards by such a one only.
    pub mtu_lock: bool,
    /// `advmss lock`.
    pub advmss_lock: bool,
}

impl Metrics {
    /// The largest MTU of a route (`ip_metrics_convert`: 65,535 less 15).
    pub const MAX_MTU: u16 = 65_520;
    /// The largest segment (`ip_metrics_convert`: 65,535 less 40).
    pub const MAX_ADVMSS: u16 = 65_495;

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Metrics::default()
    }

    /// An MTU as the kernel keeps it.
    pub fn mtu_of(n: u32) -> u16 {
        u16::try_from(n).map_or(Metrics::MAX_MTU, |n| n.min(Metrics::MAX_MTU))
    }

    /// A segment size as the kernel keeps it.
    pub fn advmss_of(n: u32) -> u16 {
        u16::try_from(n).map_or(Metrics::MAX_ADVMSS, |n| n.min(Metrics::MAX_ADVMSS))
    }

    /// What is said, in the order of iproute2: the word, whether it is locked, the value.
    pub fn said(&self) -> impl Iterator<Item = (&'static str, bool, u16)> {
        [("mtu", self.mtu_lock, self.mtu), ("advmss", self.advmss_lock, self.advmss)]
            .into_iter()
            .filter(|(_, lock, n)| *lock || *n != 0)
    }
}

/// As `ip route show` has them, each word behind a blank.
impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.said()
            .try_for_each(|(word, lock, n)| write!(f, " {word}{} {n}", if lock { " lock" } else { "" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_as_the_kernel_cuts_them() {
        // Of `ip route add 10.4.0.0/24 via 10.1.0.2 mtu 70000 advmss 70000` Linux 6.18 shows these.
        assert_eq!((Metrics::mtu_of(70_000), Metrics::advmss_of(70_000)), (65_520, 65_495));
        assert_eq!((Metrics::mtu_of(65_521), Metrics::advmss_of(65_496)), (65_520, 65_495));
        assert_eq!((Metrics::mtu_of(1_400), Metrics::advmss_of(0)), (1_400, 0));
    }

    #[test]
    fn words_are_those_of_iproute2() {
        let all = Metrics { mtu: 1400, advmss: 1300, mtu_lock: true, advmss_lock: false };
        assert_eq!(all.to_string(), " mtu lock 1400 advmss 1300");
        assert_eq!(Metrics { mtu_lock: true, ..Metrics::default() }.to_string(), " mtu lock 0");
        assert_eq!(Metrics::default().to_string(), "");
    }
}
