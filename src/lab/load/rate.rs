//! Packets a second: how many get through when as many as possible are offered, and how many may be offered
//! before more than a given part is lost.
//!
//! The highest rate is searched as RFC 2544 and MLRsearch do, in short trials: up or down in large steps until it is
//! between two rates, then in halves. A trial that fails is made once more, since a machine that does other things
//! for a moment loses packets too. What a trial offered is what the generator really sent.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Generator, LoadError, Rate, Sink, Window};

/// What was offered and what arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throughput {
    /// Frames sent.
    pub sent: u64,
    /// Frames that arrived.
    pub received: u64,
    /// In this time.
    pub elapsed: Duration,
}

impl Throughput {
    /// Frames sent a second.
    pub fn offered(&self) -> f64 {
        self.sent as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Frames that arrived a second.
    pub fn rate(&self) -> f64 {
        self.received as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The part that was lost, 0 to 1.
    pub fn loss(&self) -> f64 {
        1.0 - (self.received as f64 / self.sent.max(1) as f64).min(1.0)
    }
}

/// A search for the highest rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// The part of the frames that may be lost.
    pub loss: f64,
    /// Where to begin, in frames a second: what gets through at saturation is a good guess.
    pub first: f64,
    /// How long a trial sends.
    pub trial: Duration,
    /// Ends when the rate is known to this part of itself.
    pub precision: f64,
    /// Ends after this time, with what is known by then.
    pub budget: Duration,
}

impl Search {
    /// At most 0.5 % lost, to 3 %, in trials of a quarter of a second, within six seconds.
    pub fn from(first: f64) -> Self {
        Search {
            loss: 0.005,
            first,
            trial: Duration::from_millis(250),
            precision: 0.03,
            budget: Duration::from_secs(6),
        }
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The highest rate offered with no more lost than allowed, in frames a second; 0 if there was none.
    pub rate: f64,
    /// The lowest rate that lost more; `None` if the generator's own limit was reached first.
    pub too_much: Option<f64>,
    /// Every trial, in order.
    pub trials: Vec<Throughput>,
}

/// Offers as much as can be made: what arrives in the window. The generator is off afterwards.
pub fn saturation(generator: &Generator, sink: &Sink, window: Window) -> Result<Throughput, LoadError> {
    steady(generator, sink, Rate::Saturate, window)
}

/// Sends at a rate: what arrives in the window, from the first packet on if there is no warm-up. The generator
/// is off afterwards.
pub fn steady(
    generator: &Generator,
    sink: &Sink,
    rate: Rate,
    window: Window,
) -> Result<Throughput, LoadError> {
    let left = generator.left()?;
    generator.set_rate(rate)?;
    generator.wait_until_sending()?;
    sleep(window.warm_up);
    let start = Instant::now();
    let (sent, received) = (generator.sent()?, sink.packets()?);
    sleep(window.length);
    let (sent, received) = (generator.sent()? - sent, sink.packets()? - received);
    let elapsed = start.elapsed();
    generator.set_rate(Rate::Off)?;
    // Frames that the other end of the veth refuses were sent all the same.
    if received == 0 && generator.left()? < left + sent / 2 {
        return Err(LoadError::NothingLeaves(generator.place()));
    }
    Ok(Throughput { sent, received, elapsed })
}

/// Sends at a rate for a time and waits for what is still under way: exactly how many of how many arrived. The
/// generator is ready for the next trial afterwards, not off.
pub fn trial(
    generator: &Generator,
    sink: &Sink,
    rate: Rate,
    length: Duration,
) -> Result<Throughput, LoadError> {
    generator.set_rate(Rate::Hold)?;
    drain(sink)?;
    let (sent, received) = (generator.sent()?, sink.packets()?);
    generator.set_rate(rate)?;
    generator.wait_until_sending()?;
    let start = Instant::now();
    sleep(length);
    generator.set_rate(Rate::Hold)?;
    let elapsed = start.elapsed();
    drain(sink)?;
    Ok(Throughput { sent: generator.sent()? - sent, received: sink.packets()? - received, elapsed })
}

/// Searches the highest rate at which no more is lost than allowed. The generator is off afterwards.
pub fn highest(generator: &Generator, sink: &Sink, search: &Search) -> Result<Found, LoadError> {
    let deadline = Instant::now() + search.budget;
    let mut trials = Vec::new();
    // The first packets make flows, fill caches and wake things up.
    trial(generator, sink, per_second(search.first / 4.0), search.trial / 2)?;
    let found = bisect::<LoadError>(search, |rate| {
        if Instant::now() >= deadline {
            return Ok(None);
        }
        let mut result = trial(generator, sink, per_second(rate), search.trial)?;
        trials.push(result);
        if result.loss() > search.loss && Instant::now() < deadline {
            result = trial(generator, sink, per_second(rate), search.trial)?;
            trials.push(result);
        }
        Ok(Some(result))
    });
    generator.set_rate(Rate::Off)?;
    let (rate, too_much) = found?;
    Ok(Found { rate, too_much, trials })
}

/// The search itself: the highest rate that passed and the lowest that did not. `try_at` gives nothing when time is up.
fn bisect<E>(
    search: &Search,
    mut try_at: impl FnMut(f64) -> Result<Option<Throughput>, E>,
) -> Result<(f64, Option<f64>), E> {
    let (mut low, mut high) = (0.0f64, None::<f64>);
    let mut rate = search.first.max(1.0);
    while let Some(result) = try_at(rate)? {
        // The generator may have sent less than it was asked to; more it never sends.
        let offered = result.offered().min(rate);
        if result.loss() <= search.loss {
            low = low.max(offered);
            if offered < rate * GENERATOR_LIMIT {
                break; // it can't send any faster
            }
        } else {
            high = Some(high.map_or(offered, |h: f64| h.min(offered)));
        }
        rate = match high {
            None => low * STEP,
            Some(high) if low == 0.0 => high / STEP,
            Some(high) if high <= low * (1.0 + search.precision) => break,
            Some(high) => f64::midpoint(low, high),
        };
        if rate < LOWEST {
            break;
        }
    }
    Ok((low, high))
}

/// Waits until nothing arrives any more.
fn drain(sink: &Sink) -> Result<(), LoadError> {
    let start = Instant::now();
    let (mut last, mut since) = (sink.packets()?, start);
    while since.elapsed() < QUIET && start.elapsed() < DRAIN {
        sleep(Duration::from_millis(1));
        let now = sink.packets()?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(())
}

fn per_second(rate: f64) -> Rate {
    Rate::PerSecond((rate as u64).max(1))
}

/// How much further to go while one side of the rate is open.
const STEP: f64 = 1.4;
/// A generator that sends less than this part of what it is asked for is at its limit.
const GENERATOR_LIMIT: f64 = 0.9;
/// Below this many frames a second there is nothing to be found.
const LOWEST: f64 = 100.0;
/// When nothing arrived for so long, nothing is under way.
const QUIET: Duration = Duration::from_millis(10);
/// And it is not waited longer than this.
const DRAIN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Searches with something in between that takes no more than `capacity` a second.
    fn found(first: f64, capacity: f64, generator: f64) -> (f64, Option<f64>, usize) {
        let mut tries = 0;
        let result = bisect::<Infallible>(&Search::from(first), |rate| {
            tries += 1;
            let sent = rate.min(generator);
            let elapsed = Duration::from_secs(1);
            Ok((tries < 60).then_some(Throughput {
                sent: sent as u64,
                received: sent.min(capacity) as u64,
                elapsed,
            }))
        });
        let Ok((low, high)) = result;
        (low, high, tries)
    }

    #[test]
    fn the_search_ends_at_the_capacity() {
        for first in [1e4, 4e5, 1e6, 9e6] {
            let (low, high, tries) = found(first, 400_000.0, 1e7);
            assert!((0.96..1.006).contains(&(low / 4e5)), "{low} from {first}");
            assert!(high.unwrap() > 4e5 && tries < 25, "{high:?} after {tries}");
        }
    }

    #[test]
    fn the_search_ends_at_the_generators_limit() {
        let (low, high, _) = found(1e5, 1e9, 2e6);
        assert!((low - 2e6).abs() < 1.0 && high.is_none(), "{low} {high:?}");
    }

    #[test]
    fn where_nothing_gets_through_nothing_is_found() {
        let (low, high, tries) = found(1e6, 0.0, 1e7);
        assert!(low == 0.0 && high.is_some() && tries < 40);
    }

    #[test]
    fn loss_is_a_part_of_what_was_sent() {
        let t = |sent, received| Throughput { sent, received, elapsed: Duration::from_millis(500) };
        assert_eq!(t(1000, 995).offered(), 2000.0);
        assert!((t(1000, 995).loss() - 0.005).abs() < 1e-9);
        assert_eq!(t(1000, 1001).loss(), 0.0);
        assert_eq!(t(0, 0).loss(), 1.0);
    }
}
