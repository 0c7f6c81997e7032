//! From a work to figures: which traffic is sent through a testbed, and what is read off it.
//!
//! The traffic itself is [`crate::lab::load`]'s. Here stands what of it a work is, and how a rival is made ready: flows are
//! there before they are measured, and have been answered, as those of real hosts have.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Trouble;
use super::answer::Answerer;
use super::metric::{Traffic, Work};
use super::rival::Running;
use super::ruleset::COVERED;
use super::testbed::{CLIENT, CLIENT_MAC, LAN_MAC, Layout, SERVER, Testbed};
use crate::io::bpf::Map;
use crate::lab::load::{
    self, Bulk, Direction, Generator, Method, Rate, RoundTrip, Sink, Window, cost, memory, rate,
};

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A trial.
    pub trial: Duration,
    /// Whether it need only work.
    pub quick: bool,
}

/// How traffic is made and counted here.
pub fn description() -> String {
    match Map::array(8, 1) {
        Ok(_) => "made by an XDP program on recycled frames (BPF_PROG_RUN), counted and dropped by eBPF at tc ingress",
        Err(_) => {
            "made by sendmmsg on a packet socket, counted by a packet socket: no right to bpf() here, so that the \
             generator is the limit of what is fast"
        }
    }
    .into()
}

/// Whether the work's packets are the generator's XDP frames, for which the device they arrive at needs NAPI.
pub(super) fn needs_napi(work: &Work) -> bool {
    match work.traffic {
        Traffic::Packets { .. } | Traffic::Destinations | Traffic::Lossless { .. } => true,
        Traffic::NewFlows | Traffic::Memory => true,
        Traffic::Bulk { .. } | Traffic::RoundTrip { .. } | Traffic::CpuTime | Traffic::Start => false,
    }
}

/// Sends a work's traffic and gives the values of its metrics, in their order.
pub fn measure(bed: &Testbed, running: &Running, work: &Work, pace: Pace) -> Result<Vec<f64>, Trouble> {
    let window = Window::of(pace.trial);
    let one = |value: f64| Ok(vec![value]);
    match work.traffic {
        Traffic::Packets { flows } => {
            let stream = Stream::open(bed, flows_of(flows), None)?;
            stream.establish(bed, flows)?;
            one(stream.saturate(window)?)
        }
        Traffic::Destinations => {
            let traffic = load::Traffic::new(CLIENT_MAC, LAN_MAC, IpAddr::V4(CLIENT), IpAddr::V4(COVERED.0));
            let stream = Stream::open(bed, traffic.endless().span(32 - COVERED.1), None)?;
            one(stream.saturate(window)?)
        }
        Traffic::Lossless { flows } => {
            let stream = Stream::open(bed, flows_of(flows), None)?;
            stream.establish(bed, flows)?;
            let short = Window::of(pace.trial / 4);
            let search = rate::Search {
                trial: pace.trial / 4,
                budget: pace.trial * 6,
                ..rate::Search::from(stream.saturate(short)?.max(1.0))
            };
            one(rate::highest(&stream.generator, &stream.sink, &search).map_err(Trouble::of)?.rate)
        }
        Traffic::Bulk { streams, down } => {
            let bulk = Bulk::new(IpAddr::V4(SERVER), window).streams(streams as usize).direction(if down {
                Direction::Down
            } else {
                Direction::Up
            });
            one(bulk.run(bed.client(), bed.server()).map_err(Trouble::of)?.rate())
        }
        Traffic::RoundTrip { loaded } => {
            let background = match loaded {
                true => {
                    // The other generator is busy at any rate, which is not the load that is meant.
                    let stream = Stream::open(bed, flows_of(BACKGROUND_FLOWS), Some(Method::PacketSocket))?;
                    stream.establish(bed, BACKGROUND_FLOWS)?;
                    stream.generator.set_rate(Rate::PerSecond(FIXED_RATE)).map_err(Trouble::of)?;
                    Some(stream)
                }
                false => None,
            };
            let trip = RoundTrip::new(IpAddr::V4(SERVER), window);
            let report = trip.run(bed.client(), bed.server()).map_err(Trouble::of)?;
            drop(background);
            if report.times.count() < FEWEST {
                return Err(Trouble(format!("only {} answers came back", report.times.count())));
            }
            Ok(report.percentiles().map(|t| t.as_secs_f64()).to_vec())
        }
        Traffic::NewFlows => {
            let stream = Stream::open(bed, to_server().endless(), None)?;
            // The kernel's table holds 262,144 flows by default, those of the warm-up too: no more are made.
            let length = pace.trial.min(NEW_FLOWS);
            let window = Window { warm_up: length / 5, length };
            one(stream.saturate(window)?)
        }
        Traffic::Memory => one(memory_per_flow(bed, running, pace)?),
        Traffic::CpuTime => one(cpu_per_packet(bed, running, window)?),
        Traffic::Start => Err(Trouble("is measured by who starts it".into())),
    }
}

/// Packets a second where the rate is given.
const FIXED_RATE: u64 = 100_000;
/// Flows of the traffic beside round trips and of that whose cost is measured.
const BACKGROUND_FLOWS: u32 = 1 << 10;
/// Fewer round trips than this say nothing of a 99.9th percentile.
const FEWEST: u64 = 20;
/// The longest stretch of new flows.
const NEW_FLOWS: Duration = Duration::from_millis(500);

fn to_server() -> load::Traffic {
    load::Traffic::new(CLIENT_MAC, LAN_MAC, IpAddr::V4(CLIENT), IpAddr::V4(SERVER))
}

fn flows_of(flows: u32) -> load::Traffic {
    to_server().flows(flows)
}

/// The generator at the client and the sink at the server.
struct Stream {
    generator: Generator,
    sink: Sink,
    traffic: load::Traffic,
}

impl Stream {
    fn open(bed: &Testbed, traffic: load::Traffic, method: Option<Method>) -> Result<Self, Trouble> {
        let sink = Sink::open(bed.server(), "eth0", &traffic).map_err(Trouble::of)?;
        // All of the generator's work is done on one CPU, and what its device hands on in its softirq.
        let setup = load::Setup { method, cpu: Some(0) };
        let generator = Generator::start(bed.client(), "eth0", &traffic, setup).map_err(Trouble::of)?;
        Ok(Stream { generator, sink, traffic })
    }

    /// What arrives a second of as much as can be sent.
    fn saturate(&self, window: Window) -> Result<f64, Trouble> {
        let result = rate::saturation(&self.generator, &self.sink, window).map_err(Trouble::of)?;
        match result.sent {
            // That nothing arrived would be a finding; of a machine that does something else it is none.
            0 => Err(Trouble("the generator sent nothing all the while: the machine has other work".into())),
            _ => Ok(result.rate()),
        }
    }

    /// Sends packets of all flows, and answers them, until each has been answered: then they are established.
    fn establish(&self, bed: &Testbed, flows: u32) -> Result<(), Trouble> {
        let answers = Sink::open(bed.client(), "eth0", &self.traffic).map_err(Trouble::of)?;
        let answerer = Answerer::start(bed.server(), "eth0", &self.traffic).map_err(Trouble::of)?;
        // A few answers too many for the few that are lost.
        let wanted = u64::from(flows) + u64::from(flows) / 50 + 1;
        let expected = Duration::from_secs_f64(wanted as f64 / FIRST_RATE as f64);
        let deadline = Instant::now() + expected * 3 + Duration::from_secs(1);
        self.generator.set_rate(Rate::PerSecond(FIRST_RATE)).map_err(Trouble::of)?;
        let mut came = 0;
        while came < wanted && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
            came = answers.packets().map_err(Trouble::of)?;
        }
        self.generator.set_rate(Rate::Hold).map_err(Trouble::of)?;
        drop(answerer);
        match came {
            0 => Err(Trouble("no answer came back to the client".into())),
            _ if came < u64::from(flows) / 2 => {
                Err(Trouble(format!("only {came} answers to {flows} flows came back to the client")))
            }
            _ => Ok(()),
        }
    }
}

/// How fast flows are made.
const FIRST_RATE: u64 = 50_000;

/// The machine's time a packet, less that of the same traffic where nobody forwards it.
fn cpu_per_packet(bed: &Testbed, running: &Running, window: Window) -> Result<f64, Trouble> {
    let processes: Vec<u32> = running.process().into_iter().collect();
    let stream = Stream::open(bed, flows_of(BACKGROUND_FLOWS), Some(Method::PacketSocket))?;
    stream.establish(bed, BACKGROUND_FLOWS)?;
    let with = cost::measure(&stream.generator, &stream.sink, FIXED_RATE, window, &processes)
        .map_err(Trouble::of)?;
    drop(stream);
    // The same devices, and no more behind them than a sink.
    let empty = Testbed::new(bed.setup(), Layout::Program, 1, false)?;
    let traffic = flows_of(BACKGROUND_FLOWS);
    let sink = Sink::open(empty.router(), "lan", &traffic).map_err(Trouble::of)?;
    let setup = load::Setup { method: Some(Method::PacketSocket), cpu: Some(0) };
    let generator = Generator::start(empty.client(), "eth0", &traffic, setup).map_err(Trouble::of)?;
    let without = cost::measure(&generator, &sink, FIXED_RATE, window, &[]).map_err(Trouble::of)?;
    let arrived = with.traffic.rate();
    if arrived < 0.9 * FIXED_RATE as f64 {
        return Err(Trouble(format!("of {FIXED_RATE} packets a second only {arrived:.0} arrived")));
    }
    match with.cost(&without) {
        cost if cost > 0.0 => Ok(cost * 1e-9),
        _ => Err(Trouble("the machine was busier without it: it has other work".into())),
    }
}

/// What memory grows by, by flow.
fn memory_per_flow(bed: &Testbed, running: &Running, pace: Pace) -> Result<f64, Trouble> {
    let flows: u64 = if pace.quick { 20_000 } else { 200_000 };
    // No flow comes twice, so that each packet that arrives is one more.
    let stream = Stream::open(bed, to_server().endless(), None)?;
    let held = || match running.process() {
        Some(process) => memory::resident(process).map_err(Trouble::of),
        None => memory::conntrack_slab().map(|s| s.objects * (s.object_size + EXTENSIONS)).ok_or_else(|| {
            Trouble("the kernel does not say: /proc/slabinfo is root's, or its slabs are merged".into())
        }),
    };
    let arrived = || stream.sink.packets().map_err(Trouble::of);
    let (before, start) = (held()?, arrived()?);
    let deadline = Instant::now() + Duration::from_secs(10);
    stream.generator.set_rate(Rate::PerSecond(MEMORY_RATE)).map_err(Trouble::of)?;
    while arrived()? - start < flows && Instant::now() < deadline {
        sleep(Duration::from_millis(1));
    }
    stream.generator.set_rate(Rate::Hold).map_err(Trouble::of)?;
    let made = arrived()? - start;
    if made < flows / 2 {
        return Err(Trouble(format!("of {flows} flows only {made} got through in ten seconds")));
    }
    Ok(held()?.saturating_sub(before) as f64 / made as f64)
}

/// Flows made a second to fill a table.
const MEMORY_RATE: u64 = 60_000;
/// What the kernel's extensions of an entry take beside it, with NAT: see [`memory`].
const EXTENSIONS: u64 = 128;
