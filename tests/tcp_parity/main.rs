//! The state machines of TCP and SCTP beside the kernel's: random segments through a kernel router, and after each one
//! what it thought of it, and of its flow, compared with what we think.
//!
//! `SEKISHO_STATES_SEED=n` begins with another sequence, `SEKISHO_STATES_SECONDS=n` goes on for so long.

mod chunks;
mod ctnetlink;
mod kernel;
mod model;
mod random;
mod segments;

use std::env;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use sekisho::conntrack::{Config, Timeout};
use sekisho::lab::isolate;

use ctnetlink::Ports;
use kernel::Kernel;
use model::{Model, Protocol, Sctp, Seen, Tcp};
use random::Random;

/// A packet: who sends it, and its bytes from the upper-layer header on.
type Packet = (usize, Vec<u8>);

#[test]
fn tcp_states_are_the_kernels() {
    isolate::test(|| {
        let make = |seed: u64, ports: Ports| {
            let mut random = Random::new(seed);
            let cfg = some_config(&mut random);
            let mut ends = segments::Ends::new(random);
            (cfg, (0..ends.count()).map(|_| ends.next(ports)).collect())
        };
        compare::<Tcp>(make, segments::describe);
    });
}

#[test]
fn sctp_states_are_the_kernels() {
    isolate::test(|| {
        let make = |seed: u64, ports: Ports| {
            let mut random = Random::new(seed);
            let count = 5 + random.below(20);
            let mut ends = chunks::Ends::new(random);
            (Config::default(), (0..count).map(|_| ends.next(ports)).collect())
        };
        compare::<Sctp>(make, chunks::describe);
    });
}

/// Settings of TCP, the defaults as a rule.
fn some_config(r: &mut Random) -> Config {
    let mut cfg = Config::default();
    if r.percent(15) {
        cfg.tcp_loose = false;
    }
    if r.percent(10) {
        cfg.tcp_be_liberal = true;
    }
    if r.percent(10) {
        cfg.tcp_ignore_invalid_rst = true;
    }
    if r.percent(10) {
        cfg.tcp_max_retrans = r.pick(&[0, 1]);
    }
    if r.percent(10) {
        cfg.timeouts.set(Timeout::TcpUnacknowledged, r.pick(&[50, 125]));
        // The kernel compares what is left with 120 s, which must not be a matter of milliseconds.
        cfg.timeouts.set(Timeout::TcpFinWait, 110);
        cfg.timeouts.set(Timeout::TcpTimeWait, 110);
        cfg.timeouts.set(Timeout::TcpMaxRetrans, r.pick(&[40, 90, 400]));
    }
    if r.percent(5) {
        cfg.timeouts.set(Timeout::TcpEstablished, r.pick(&[100, 200]));
    }
    cfg
}

/// Makes the kernel's settings those.
fn apply(kernel: &mut Kernel, cfg: &Config) {
    let number = |b: bool| if b { "1" } else { "0" };
    kernel.set("nf_conntrack_tcp_loose", number(cfg.tcp_loose));
    kernel.set("nf_conntrack_tcp_be_liberal", number(cfg.tcp_be_liberal));
    kernel.set("nf_conntrack_tcp_ignore_invalid_rst", number(cfg.tcp_ignore_invalid_rst));
    kernel.set("nf_conntrack_tcp_max_retrans", &cfg.tcp_max_retrans.to_string());
    for timeout in [
        Timeout::TcpUnacknowledged,
        Timeout::TcpMaxRetrans,
        Timeout::TcpEstablished,
        Timeout::TcpFinWait,
        Timeout::TcpTimeWait,
    ] {
        let (_, name) = timeout.name().split_once('_').unwrap();
        let seconds = cfg.timeouts.get(timeout).as_secs().to_string();
        kernel.set(&format!("nf_conntrack_tcp_timeout_{name}"), &seconds);
    }
}

/// How many sequences are run if nobody says for how long.
const SEQUENCES: u64 = 6000;

/// Runs sequences, and panics with the smallest that makes a difference.
fn compare<P: Protocol>(make: impl Fn(u64, Ports) -> (Config, Vec<Packet>), describe: fn(&[u8]) -> String) {
    let mut kernel = Kernel::new();
    let first = number_from("SEKISHO_STATES_SEED").unwrap_or(1);
    let time = number_from("SEKISHO_STATES_SECONDS").map(Duration::from_secs);
    let begin = Instant::now();
    let (mut sequences, mut packets, mut labels) = (0, 0, [0; 3]);
    while time.map_or(sequences < SEQUENCES, |time| begin.elapsed() < time) {
        let seed = first + sequences;
        let ports = [1024 + (seed % 60_000) as u16, 80];
        let (cfg, sequence) = make(seed, ports);
        apply(&mut kernel, &cfg);
        let (differs, seen) = run::<P>(&mut kernel, &cfg, ports, &sequence);
        if differs {
            let (smallest, seen) = shrink::<P>(&mut kernel, &cfg, ports, sequence);
            panic!("seed {seed}:\n{}{cfg:?}", story(&smallest, &seen, describe));
        }
        for [theirs, _] in &seen {
            labels[theirs.label.map_or(0, |l| l as usize)] += 1;
        }
        sequences += 1;
        packets += seen.len();
    }
    println!("{sequences} sequences, {packets} packets: {labels:?} INVALID, NEW, ESTABLISHED");
    assert!(labels.iter().all(|n| *n > packets / 50), "{labels:?} of {packets}: the sequences are no good");
}

fn number_from(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|v| v.parse().unwrap_or_else(|e| panic!("{variable}={v}: {e}")))
}

/// Sends a sequence until the two differ: whether they did, and what each saw, kernel first.
fn run<P: Protocol>(
    kernel: &mut Kernel,
    cfg: &Config,
    ports: Ports,
    sequence: &[Packet],
) -> (bool, Vec<[Seen; 2]>) {
    let mut model = Model::<P>::new(cfg);
    let mut seen = vec![];
    kernel.forget(P::NUMBER, ports);
    for (from, l4) in sequence {
        let theirs = kernel.pass(*from, ports, P::NUMBER, l4);
        let ours = model.pass(*from, l4, Instant::now());
        seen.push([theirs, ours]);
        if !theirs.agrees(&ours) {
            break;
        }
    }
    kernel.forget(P::NUMBER, ports);
    let differs = seen.last().is_some_and(|[theirs, ours]| !theirs.agrees(ours));
    (differs, seen)
}

/// Leaves out what is not needed for a difference.
fn shrink<P: Protocol>(
    kernel: &mut Kernel,
    cfg: &Config,
    ports: Ports,
    mut sequence: Vec<Packet>,
) -> (Vec<Packet>, Vec<[Seen; 2]>) {
    let (_, mut seen) = run::<P>(kernel, cfg, ports, &sequence);
    sequence.truncate(seen.len());
    loop {
        let mut smaller = false;
        for i in (0..sequence.len()).rev() {
            let mut without = sequence.clone();
            without.remove(i);
            let (differs, saw) = run::<P>(kernel, cfg, ports, &without);
            if differs {
                without.truncate(saw.len());
                (sequence, seen, smaller) = (without, saw, true);
                break;
            }
        }
        if !smaller {
            return (sequence, seen);
        }
    }
}

fn story(sequence: &[Packet], seen: &[[Seen; 2]], describe: fn(&[u8]) -> String) -> String {
    let mut text = String::new();
    for ((from, l4), [theirs, ours]) in sequence.iter().zip(seen) {
        let arrow = ["→", "←"][*from];
        let _ = writeln!(text, "{arrow} {}\n    kernel {theirs:?}\n    ours   {ours:?}", describe(l4));
    }
    text
}
