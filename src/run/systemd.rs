//! What the service manager is told, if one started us: sd_notify(3).
//!
//! ```text
//! READY=1 ─► WATCHDOG=1 … RELOADING=1 ─► READY=1 … ─► STOPPING=1
//! ```
//!
//! Without a manager (`NOTIFY_SOCKET`) nothing is said. Knows nothing of what the router does.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::base::Instant;

/// The router forwards, after its start or after a reload, and `status` says what in one line.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload has begun. Whether it comes to something or not, [`ready`] has to follow.
pub fn reloading() {
    // `Type=notify-reload` needs the time, and takes no message without it.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(e) => tracing::warn!("systemd could not be told of a reload: {e}"),
    }
}

/// The router ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(state) {
        tracing::warn!(
            "systemd could not be told '{}': {e}",
            state.first().map_or(String::new(), ToString::to_string)
        );
    }
}

/// Nobody needs to be told more often, whatever is asked for.
const SHORTEST: Duration = Duration::from_millis(10);

/// Tells the manager, often enough, that the router still works: it ends a service that doesn't say so (`WatchdogSec=`).
/// Whoever calls it has looked.
#[derive(Debug)]
pub struct Watchdog {
    pause: Option<Duration>,
    next: Instant,
}

impl Watchdog {
    /// As the environment asks for.
    pub fn from_environment(now: Instant) -> Self {
        Self::new(sd_notify::watchdog_enabled(), now)
    }

    /// Twice in the time allowed, as sd_watchdog_enabled(3) recommends.
    fn new(allowed: Option<Duration>, now: Instant) -> Self {
        let allowed = allowed.filter(|allowed| !allowed.is_zero());
        Watchdog { pause: allowed.map(|allowed| (allowed / 2).max(SHORTEST)), next: now }
    }

    /// Says so, if it is time to.
    pub fn turn(&mut self, now: Instant) {
        if self.is_due(now) {
            tell(&[NotifyState::Watchdog]);
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let Some(pause) = self.pause.filter(|_| self.next <= now) else { return false };
        self.next = now + pause;
        true
    }

    /// When it is time again.
    pub fn next(&self) -> Option<Instant> {
        self.pause.map(|_| self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_told_twice_in_its_time() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut dog = Watchdog::new(Some(Duration::from_secs(2)), at(0));
        assert!(dog.is_due(at(0)) && !dog.is_due(at(999)));
        assert_eq!(dog.next(), Some(at(1_000)));
        assert!(dog.is_due(at(1_300)) && !dog.is_due(at(2_200)) && dog.is_due(at(2_300)));
        let mut none = Watchdog::new(None, at(0));
        assert!(!none.is_due(at(9_000)) && none.next().is_none());
        assert!(Watchdog::new(Some(Duration::ZERO), at(0)).next().is_none());
        let mut hasty = Watchdog::new(Some(Duration::from_nanos(1)), at(0));
        assert!(hasty.is_due(at(0)) && hasty.next() > Some(at(5)));
    }
}
