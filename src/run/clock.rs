//! The one place that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::Instant;

/// The router's clock: monotonic, zero when it was made. Setting the host's wall clock does not touch it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// Starts a clock.
    pub fn start() -> Self {
        Clock { start: std::time::Instant::now() }
    }

    /// The time since it was started.
    #[inline]
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    /// The date at its start, as the host's clock has it now: nanoseconds since 1970.
    pub(super) fn epoch(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = since.saturating_sub(self.start.elapsed()).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

/// The time of day, UTC, in milliseconds since midnight.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_millis() % 86_400_000) as u64
}
