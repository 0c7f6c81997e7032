//! Packets followed live: what `trace` and `capture` are answered with.

use std::time::Duration;

use serde::Serialize;

use crate::base::Instant;
use crate::control::base64;
use crate::control::protocol::{Capture, Captured, CapturedFrame, MAX_SNAPLEN, Told, Trace};
use crate::control::server::{Answer, FEED_PAUSE, Fed, Feed};
use crate::path::trace::{Expr, Missed, Point, Points, RATE, Record, Wanted, Watch};

use super::{Sources, no_link};

/// Packets that each worker captures a second at most, if nothing is said: a frame costs less to tell of than a way.
const CAPTURE_RATE: u32 = 10_000;
/// Records in one part at most.
const PART: usize = 256;
/// Bytes of frames in one part: in base64, and with what stands around them, they fit one response.
const PART_BYTES: usize = 4 << 20;
/// How often it is said that it goes on, though nothing happens.
const PULSE: Duration = Duration::from_millis(500);

/// `trace`.
pub(super) fn trace(asked: &Trace, s: &Sources<'_>) -> Answer {
    let wanted = match wanted(asked, s) {
        Ok(filter) => {
            Wanted { filter, count: asked.count, rate: asked.rate.unwrap_or(RATE), ..Wanted::default() }
        }
        Err(no) => return no,
    };
    feed(s, wanted, asked, |records| records.into_iter().map(Told::Packet).collect(), Told::Missed)
}

/// `capture`.
pub(super) fn capture(asked: &Capture, s: &Sources<'_>) -> Answer {
    let at: Points = match asked.at.is_empty() {
        true => [Point::Ingress, Point::Egress].into_iter().collect(),
        false => asked.at.iter().copied().collect(),
    };
    let wanted = match wanted(&asked.of, s) {
        Ok(filter) => Wanted {
            filter,
            count: asked.of.count,
            rate: asked.of.rate.unwrap_or(CAPTURE_RATE),
            points: at,
            snaplen: asked.snaplen.unwrap_or(MAX_SNAPLEN).min(MAX_SNAPLEN),
        },
        Err(no) => return no,
    };
    feed(s, wanted, &asked.of, frames, Captured::Missed)
}

fn wanted(asked: &Trace, s: &Sources<'_>) -> Result<Expr, Answer> {
    let filter: Expr =
        asked.filter.parse().map_err(|e: crate::path::trace::ExprError| Answer::no(e.to_string()))?;
    for link in filter.links() {
        if s.links.named(&link).is_none() {
            return Err(Answer::no(no_link(s.links, &link)));
        }
    }
    Ok(filter)
}

fn frames(records: Vec<Record>) -> Vec<Captured> {
    let mut all = Vec::new();
    for record in &records {
        let comment = record.comment();
        all.extend(record.frames.iter().map(|f| {
            Captured::Frame(CapturedFrame {
                id: record.id,
                time: f.time,
                point: f.point,
                link: f.link.clone(),
                ethernet: f.ethernet,
                len: f.len,
                data: base64::encode(&f.data),
                comment: comment.clone(),
            })
        }));
    }
    all
}

fn feed<T: Serialize + 'static>(
    s: &Sources<'_>,
    wanted: Wanted,
    asked: &Trace,
    told: fn(Vec<Record>) -> Vec<T>,
    missed: fn(Missed) -> T,
) -> Answer {
    match s.tracer.watch(wanted) {
        Ok(watch) => Answer::Feed(Box::new(Followed {
            watch,
            end: asked.seconds.map(|n| s.now + Duration::from_secs(n)),
            said: s.now,
            over: false,
            closed: None,
            told,
            missed,
        })),
        Err(e) => Answer::no(e.to_string()),
    }
}

/// A watch, as a client follows it.
struct Followed<T> {
    watch: Watch,
    end: Option<Instant>,
    /// When something was said last.
    said: Instant,
    /// Whether it was over when it was looked at last.
    over: bool,
    /// When the watch was closed.
    closed: Option<Instant>,
    told: fn(Vec<Record>) -> Vec<T>,
    missed: fn(Missed) -> T,
}

impl<T: Serialize> Feed for Followed<T> {
    fn poll(&mut self, now: Instant) -> Fed {
        // What was caused by the last packet comes right behind it.
        let over = std::mem::replace(&mut self.over, self.watch.is_over()) && self.over;
        if self.closed.is_none() && (over || self.end.is_some_and(|end| end <= now)) {
            self.closed = Some(now);
            self.watch.close();
        }
        if self.closed.is_none() {
            self.watch.hurry(now);
        }
        // What workers had in hand when it was closed comes behind what was told at once: they are given a while.
        let ends = self.closed.is_some_and(|at| at + FEED_PAUSE <= now);
        let mut all = (self.told)(self.watch.take(PART, PART_BYTES));
        let missed = self.watch.missed();
        if missed.all() > 0 {
            all.push((self.missed)(missed));
        }
        if all.is_empty() && !ends && now.since(self.said) < PULSE {
            return Fed::Nothing;
        }
        self.said = now;
        match serde_json::to_value(all) {
            Ok(value) if ends && self.watch.is_empty() => Fed::End(value),
            Ok(value) => Fed::Part(value),
            Err(_) => Fed::Nothing,
        }
    }

    fn close(&mut self) -> bool {
        self.end = Some(Instant::ZERO);
        true
    }
}

#[cfg(test)]
mod tests;
