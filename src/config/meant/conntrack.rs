//! `[conntrack]`: the table's size, timers and habits, in the kernel's words.

use std::ops::RangeInclusive;

use super::super::file::{At, ConntrackTable, Given};
use super::super::problem::{Sink, quoted};
use super::super::{ConntrackConfig, Enable};
use super::{in_range, within, word};
use crate::conntrack::{Config, Timeout, Timeouts};

/// What the section says; the sink gets what is wrong with it.
pub(super) fn conntrack(t: &ConntrackTable, sink: &mut Sink<'_>) -> ConntrackConfig {
    for helper in &t.helpers {
        let text = format!(
            "[conntrack]: helpers: this version has none; remove {} and leave the list empty",
            quoted(&helper.value)
        );
        sink.wrong(helper.at, text);
    }
    let usual = Config::default();
    let said = |given: &Given<bool>, usual: bool| given.get().map_or(usual, |v| v.value);
    let max = match t.max.get() {
        Some(At { value: 0, .. }) => 0,
        _ => within(&t.max, "[conntrack]: max", SIZES, sink).unwrap_or(usual.max),
    };
    let again = within(&t.tcp_max_retrans, "[conntrack]: tcp_max_retrans", RETRANSMISSIONS, sink);
    let table = Config {
        max,
        timeouts: timeouts(t, sink),
        tcp_loose: said(&t.tcp_loose, usual.tcp_loose),
        tcp_be_liberal: said(&t.tcp_be_liberal, usual.tcp_be_liberal),
        tcp_max_retrans: again.and_then(|n| u8::try_from(n).ok()).unwrap_or(usual.tcp_max_retrans),
        tcp_ignore_invalid_rst: said(&t.tcp_ignore_invalid_rst, usual.tcp_ignore_invalid_rst),
        checksum: said(&t.checksum, usual.checksum),
    };
    ConntrackConfig { enable: enable(t, max, sink), table }
}

fn enable(t: &ConntrackTable, max: u32, sink: &mut Sink<'_>) -> Enable {
    let words = [("auto", Enable::Auto), ("on", Enable::On), ("off", Enable::Off)];
    let enable = word(&t.enable, "[conntrack]: enable", &words, sink).unwrap_or_default();
    match (enable, max, t.enable.get()) {
        (Enable::On, 0, Some(on)) => {
            let text = "[conntrack]: enable: \"on\" tracks connections and max = 0 tracks none; remove one of the two";
            sink.wrong(on.at, text);
            Enable::On
        }
        (_, 0, _) => Enable::Off,
        (enable, ..) => enable,
    }
}

fn timeouts(t: &ConntrackTable, sink: &mut Sink<'_>) -> Timeouts {
    let rfc = word(&t.profile, "[conntrack]: profile", &[("linux", false), ("rfc", true)], sink);
    let mut timeouts = if rfc == Some(true) { Timeouts::rfc() } else { Timeouts::linux() };
    for (name, seconds) in &t.timeouts {
        let seconds = in_range(seconds, &format!("[conntrack.timeouts]: {name}"), SECONDS, sink);
        let which = Timeout::ALL.iter().find(|which| which.name() == *name);
        if let (Some(which), Some(seconds)) = (which, seconds) {
            timeouts.set(*which, seconds);
        }
    }
    timeouts
}

/// A table smaller than this is no table.
const SIZES: RangeInclusive<u32> = 128..=i32::MAX as u32;
/// `nf_conntrack_tcp_max_retrans` is a byte in the kernel.
const RETRANSMISSIONS: RangeInclusive<u32> = 0..=u8::MAX as u32;
/// Linux counts timeouts in jiffies of a thousandth of a second, in 32 bits.
const SECONDS: RangeInclusive<u32> = 1..=u32::MAX / 1_000;
