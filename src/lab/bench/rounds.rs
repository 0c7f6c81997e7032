//! The order of a run: rounds, in each every work, in each work every rival, and whose turn is first rotates.
//!
//! What fails is a row that says why; what was measured before an interruption is kept. Prints nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::machine::{self, Machine};
use super::metric::{Setup, Traffic, Work};
use super::report::{MetricReport, Report, RivalReport, SCHEMA, Stability};
use super::rival::{Rival, YARDSTICK};
use super::stats::Spread;
use super::testbed::Testbed;
use super::traffic::{self, Pace};
use super::{Trouble, bars, rival};

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Choice {
    /// How often.
    pub rounds: usize,
    /// How long a trial lasts.
    pub trial: Duration,
    /// The works, in the order of the reports.
    pub works: Vec<Work>,
    /// The rivals by name, in the order of the reports.
    pub rivals: Vec<&'static str>,
    /// Whether only what the bars need is measured, of those of whom they need it.
    pub bars: bool,
    /// Whether it is only to be seen that all of it works.
    pub quick: bool,
    /// The executable that is Sekisho.
    pub program: PathBuf,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Something that whoever waits should know.
    Note(&'a str),
    /// A step begins.
    Step {
        /// Its number, from 0.
        step: usize,
        /// How many there are.
        steps: usize,
        /// The round, from 0.
        round: usize,
        /// What is measured.
        work: &'a Work,
        /// Who is.
        rival: &'a str,
        /// How long the rest will take, as far as can be told by now.
        left: Option<Duration>,
    },
    /// A rival did not give a figure.
    Failed {
        /// Who.
        rival: &'a str,
        /// Of what.
        work: &'a Work,
        /// Why.
        why: &'a str,
    },
}

/// Runs it all, until it is done or `stop` is set. Has to be called on a thread that lives as long as the run, as root of
/// its network namespace: see [`crate::lab::isolate`].
pub fn run(choice: &Choice, stop: &AtomicBool, tell: &mut dyn FnMut(Event<'_>)) -> Report {
    let mut rivals = rival::all(&choice.program);
    rivals.retain(|r| choice.rivals.contains(&r.name()));
    let mut report = begin(choice, &rivals);
    let missing = |r: &dyn Rival| report.rivals.iter().any(|x| x.name == r.name() && x.missing.is_some());
    rivals.retain(|r| !missing(r.as_ref()));

    if !choice.quick {
        report.stability = stability(choice, &rivals, stop, tell);
    }
    let steps = plan(choice, &rivals);
    let mut clock = Clock::default();
    let mut failures: BTreeMap<&str, (u32, String)> = BTreeMap::new();
    let mut chose = BTreeMap::new();
    for (step, &(round, work, rival)) in steps.iter().enumerate() {
        if stop.load(Relaxed) {
            report.interrupted = true;
            break;
        }
        let (work, rival) = (&choice.works[work], rivals[rival].as_ref());
        let name = rival.name();
        let left = clock.left(&steps[step..]);
        tell(Event::Step { step, steps: steps.len(), round, work, rival: name, left });
        let began = Instant::now();
        let result = match failures.get(name) {
            Some((n, why)) if *n >= GIVE_UP => Err(why.clone()),
            _ => {
                let outcome = attempt(choice, rival, work, &mut chose);
                if let Err(Failure::Stands(Trouble(why)) | Failure::Measures(Trouble(why))) = &outcome {
                    tell(Event::Failed { rival: name, work, why });
                }
                if let Err(Failure::Stands(Trouble(why))) = &outcome {
                    let (n, last) = failures.entry(name).or_default();
                    (*n, *last) = (*n + 1, why.clone());
                } else {
                    failures.remove(name);
                }
                outcome.map_err(|e| e.why().0)
            }
        };
        clock.took(steps[step], began.elapsed());
        for (i, metric) in work.metrics.iter().enumerate() {
            let value = match &result {
                Ok(values) => values.get(i).copied().ok_or("it gave no value"),
                Err(why) => Err(why.as_str()),
            };
            report.add(metric.name, name, round, value);
        }
    }
    for rival in &mut report.rivals {
        rival.chose = chose.remove(rival.name.as_str());
    }
    report.conclude();
    report
}

/// So often one after the other a rival may not come up, whatever the work; then it is not asked again: each time may take
/// half a minute.
const GIVE_UP: u32 = 4;

/// Why an attempt gave nothing.
enum Failure {
    /// The rival doesn't start or passes no packets.
    Stands(Trouble),
    /// It does, and what was to be measured could not be.
    Measures(Trouble),
}

impl Failure {
    fn why(self) -> Trouble {
        match self {
            Failure::Stands(why) | Failure::Measures(why) => why,
        }
    }
}

/// A round, a work, a rival, by their places.
type Step = (usize, usize, usize);

fn plan(choice: &Choice, rivals: &[Box<dyn Rival>]) -> Vec<Step> {
    let mut steps = Vec::new();
    for round in 0..choice.rounds {
        for (w, work) in choice.works.iter().enumerate() {
            // What takes long and is not compared by rates is asked once.
            if round > 0 && matches!(work.traffic, Traffic::Memory) {
                continue;
            }
            let needed =
                |r: &dyn Rival| !choice.bars || work.metrics.iter().any(|m| bars::needs(m.name, r.name()));
            let takes_part = |r: &usize| {
                let rival = rivals[*r].as_ref();
                rival.declines(work).is_none() && needed(rival)
            };
            let asked: Vec<usize> = (0..rivals.len()).filter(takes_part).collect();
            let turn = (round + w) % asked.len().max(1);
            steps.extend(asked.iter().cycle().skip(turn).take(asked.len()).map(|r| (round, w, *r)));
        }
    }
    steps
}

/// One work of one rival, from an empty testbed to an empty testbed.
fn attempt(
    choice: &Choice,
    rival: &dyn Rival,
    work: &Work,
    chose: &mut BTreeMap<&'static str, String>,
) -> Result<Vec<f64>, Failure> {
    machine::settle(if choice.quick { QUICK_SETTLE } else { SETTLE });
    let setup = Setup { offload: work.setup.offload && rival.finishes_checksums(), ..work.setup };
    let bed = Testbed::new(setup, rival.layout(), rival.queues(), traffic::needs_napi(work))
        .map_err(Failure::Measures)?;
    let mut running = rival.start(&bed).map_err(Failure::Stands)?;
    if let Some(what) = running.chose() {
        chose.insert(rival.name(), what.to_owned());
    }
    let forwards = bed.wait_until_it_forwards(FORWARDS);
    let started = running.since().elapsed();
    forwards.map_err(|Trouble(why)| Failure::Stands(Trouble(running.died().unwrap_or(why))))?;
    if work.traffic == Traffic::Start {
        return Ok(vec![started.as_secs_f64()]);
    }
    let pace = Pace { trial: choice.trial, quick: choice.quick };
    let values = traffic::measure(&bed, &running, work, pace);
    match running.died() {
        Some(why) => Err(Failure::Measures(Trouble(why))),
        None => values.map_err(Failure::Measures),
    }
}

/// How long the first packet may take.
const FORWARDS: Duration = Duration::from_secs(10);
/// How long to wait for the machine to come to rest.
const SETTLE: Duration = Duration::from_secs(3);
/// The same in a quick run.
const QUICK_SETTLE: Duration = Duration::from_millis(200);

/// Repeats one trial of the kernel's.
fn stability(
    choice: &Choice,
    rivals: &[Box<dyn Rival>],
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Event<'_>),
) -> Option<Stability> {
    /// Repeats of the trial.
    const REPEATS: usize = 3;
    /// So far apart they may be.
    const TOO_FAR: f64 = 0.2;
    let kernel = rivals.iter().find(|r| r.name() == YARDSTICK)?;
    let asked = |w: &&Work| kernel.declines(w).is_none();
    let work = choice.works.iter().filter(asked).find(|w| w.quick).or(choice.works.iter().find(asked))?;
    let metric = work.metrics.first()?;
    tell(Event::Note(&format!("is the machine quiet? {} of the kernel, {REPEATS} times", metric.title)));
    let mut samples = Vec::new();
    for _ in 0..REPEATS {
        if stop.load(Relaxed) {
            return None;
        }
        match attempt(choice, kernel.as_ref(), work, &mut BTreeMap::new()) {
            Ok(values) => samples.extend(values.first()),
            Err(failure) => {
                tell(Event::Failed { rival: YARDSTICK, work, why: &failure.why().0 });
                return None;
            }
        }
    }
    let (least, most) = samples.iter().fold((f64::MAX, f64::MIN), |(l, m), s| (l.min(*s), m.max(*s)));
    let range = (most - least) / Spread::of(&samples)?.median;
    let noisy = range > TOO_FAR;
    if noisy {
        tell(Event::Note(&format!(
            "the machine is noisy: repeats of one trial lie {:.0} % apart; trust ratios, not figures",
            range * 100.0
        )));
    }
    Some(Stability { metric: metric.name.into(), samples, range, noisy })
}

fn begin(choice: &Choice, rivals: &[Box<dyn Rival>]) -> Report {
    let about = |r: &dyn Rival| {
        let (version, missing) = match r.available() {
            Ok(version) => (Some(version), None),
            Err(Trouble(why)) => (None, Some(why)),
        };
        RivalReport { name: r.name().into(), what: r.what().into(), version, chose: None, missing }
    };
    Report {
        schema: SCHEMA,
        date: machine::now(),
        version: env!("CARGO_PKG_VERSION").into(),
        commit: machine::commit().map(String::from),
        machine: Machine::here(),
        rounds: choice.rounds,
        seconds: choice.trial.as_secs_f64(),
        quick: choice.quick,
        interrupted: false,
        traffic: traffic::description(),
        stability: None,
        rivals: rivals.iter().map(|r| about(r.as_ref())).collect(),
        metrics: choice.works.iter().flat_map(|w| w.metrics).map(MetricReport::from).collect(),
        rows: Vec::new(),
        bars: Vec::new(),
    }
}

/// How long steps took.
#[derive(Debug, Default)]
struct Clock {
    /// By work and rival: the last time.
    known: BTreeMap<(usize, usize), Duration>,
    total: Duration,
    steps: u32,
}

impl Clock {
    fn took(&mut self, (_, work, rival): Step, time: Duration) {
        self.known.insert((work, rival), time);
        self.total += time;
        self.steps += 1;
    }

    /// What the rest will take: each step as long as last time, or as long as the mean.
    fn left(&self, rest: &[Step]) -> Option<Duration> {
        let mean = self.total.checked_div(self.steps)?;
        Some(rest.iter().map(|(_, work, rival)| *self.known.get(&(*work, *rival)).unwrap_or(&mean)).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::bench::metric::WORKS;

    #[test]
    fn everybody_is_first_as_often_as_the_next() {
        let works: Vec<Work> = WORKS.iter().filter(|w| w.quick).copied().collect();
        let rivals: Vec<_> = rival::all("x".as_ref())
            .into_iter()
            .filter(|r| ["kernel", "sekisho", "sekisho-xdp"].contains(&r.name()))
            .collect();
        let choice = Choice {
            rounds: 3,
            trial: Duration::ZERO,
            works: works[..1].to_vec(),
            rivals: Vec::new(),
            bars: false,
            quick: false,
            program: "x".into(),
        };
        let order: Vec<usize> = plan(&choice, &rivals).iter().map(|(_, _, rival)| *rival).collect();
        assert_eq!(order, [0, 1, 2, 1, 2, 0, 2, 0, 1]);
    }

    #[test]
    fn the_rest_takes_as_long_as_it_did() {
        let mut clock = Clock::default();
        assert_eq!(clock.left(&[(0, 0, 0)]), None);
        clock.took((0, 0, 0), Duration::from_secs(1));
        clock.took((0, 1, 0), Duration::from_secs(3));
        // One known, one not.
        assert_eq!(clock.left(&[(1, 1, 0), (1, 7, 0)]), Some(Duration::from_secs(5)));
    }
}
