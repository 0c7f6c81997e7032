//! Packets a second: how many get through when as many as possible are offered, and how many may be offered
//! before more than a given part is lost.
//!
//! The highest rate is searched as RFC 2544 and MLRsearch do, in short trials: first at saturation, where nothing may
//! be lost if what forwards holds the generator up, as a kernel does that forwards in the sender's softirq; then down in
//! large steps until a rate is good, then in halves. A trial that fails is made once more, since a machine that does other
//! things for a moment loses packets too. A rate is what the generator really sent, which may be less than it was asked for.

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
    /// The lowest rate that lost more; `None` if nothing that the generator can do was too much. On a machine that holds
    /// the generator up, so that it sends in bursts, it may be below the other.
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
    // In the other order than before: what passes while this thread waits for a CPU between the two was sent, not received.
    let received = sink.packets()? - received;
    let sent = generator.sent()? - sent;
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
    let found = bisect::<LoadError>(search, |rate| {
        if Instant::now() >= deadline {
            return Ok(None);
        }
        let mut result = trial(generator, sink, rate, search.trial)?;
        trials.push(result);
        let again = rate != Rate::Saturate && Instant::now() < deadline;
        if result.loss() > search.loss && again {
            result = trial(generator, sink, rate, search.trial)?;
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
    mut try_at: impl FnMut(Rate) -> Result<Option<Throughput>, E>,
) -> Result<(f64, Option<f64>), E> {
    let Some(most) = try_at(Rate::Saturate)? else { return Ok((0.0, None)) };
    if most.loss() <= search.loss {
        return Ok((most.offered(), None));
    }
    // What was asked for and passed, and failed; what was sent meanwhile.
    let (mut low, mut high) = (0.0, most.offered());
    let (mut best, mut too_much) = (0.0f64, most.offered());
    let mut ask = search.first.clamp(LOWEST, high.max(LOWEST));
    while let Some(result) = try_at(Rate::PerSecond(ask as u64))? {
        if result.loss() <= search.loss {
            low = ask;
            best = best.max(result.offered());
        } else {
            high = ask;
            too_much = too_much.min(result.offered());
        }
        if high <= low * (1.0 + search.precision) || high <= LOWEST {
            break;
        }
        ask = if low == 0.0 { (high / STEP).max(LOWEST) } else { f64::midpoint(low, high) };
    }
    Ok((best, Some(too_much)))
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

/// How much lower to go while no rate was good.
const STEP: f64 = 1.4;
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
            let sent = match rate {
                Rate::PerSecond(n) => generator.min(n as f64),
                _ => generator,
            };
            let elapsed = Duration::from_secs(1);
            let (sent, received) = (sent as u64, sent.min(capacity) as u64);
            Ok((tries < 60).then_some(Throughput { sent, received, elapsed }))
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
    fn what_holds_the_generator_up_loses_nothing() {
        let (low, high, tries) = found(1e5, 1e9, 2e6);
        assert_eq!((low, high, tries), (2e6, None, 1));
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
