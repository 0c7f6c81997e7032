//! Conntrack beside the kernel's: random packets through a kernel router, and after each one what it thought of
//! it, and of its flow, compared with what we think.
//!
//! `SEKISHO_CONNTRACK_SEED=n` begins with another sequence, `SEKISHO_CONNTRACK_SECONDS=n` goes on for so long.

mod chunks;
mod ctnetlink;
mod kernel;
mod mixed;
mod ours;
mod packet;
mod random;
mod segments;

use std::env;
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use sekisho::conntrack::tcp::Phase;
use sekisho::conntrack::{Config, Timeout};
use sekisho::lab::{isolate, tools};
use sekisho::wire::proto;

use kernel::Kernel;
use ours::{Entry, Label, Ours, Seen, tuple_of};
use packet::Sent;
use random::Random;

#[test]
fn tcp_states_are_the_kernels() {
    isolate::test(|| {
        let make = |seed: u64| {
            let mut random = Random::new(seed);
            let (cfg, v6) = (some_config(&mut random), random.percent(20));
            (cfg, segments::Ends::new(random, ports(seed), v6).packets())
        };
        compare(make, 6000, segments::describe);
    });
}

#[test]
fn sctp_states_are_the_kernels() {
    isolate::test(|| {
        let make = |seed: u64| {
            let mut random = Random::new(seed);
            let v6 = random.percent(20);
            (Config::default(), chunks::Ends::new(random, ports(seed), v6).packets())
        };
        compare(make, 6000, chunks::describe);
    });
}

#[test]
fn flows_of_all_protocols_are_the_kernels() {
    isolate::test(|| {
        let make = |seed: u64| {
            let mut random = Random::new(seed);
            let cfg = Config { checksum: random.percent(80), ..Config::default() };
            let packets = mixed::Mixed::new(random, seed % 20_000 == 7, cfg.checksum).packets();
            (cfg, packets)
        };
        compare(make, 4000, mixed::describe);
    });
}

#[test]
fn every_type_of_icmp_is_taken_as_the_kernel_takes_it() {
    isolate::test(|| {
        if !tools::usable(&tools::IPTABLES) {
            return;
        }
        let mut kernel = Kernel::new();
        let mut differ = vec![];
        for (v6, proto) in
            [(false, proto::ICMP), (true, proto::ICMPV6), (false, proto::ICMPV6), (true, proto::ICMP)]
        {
            for (kind, code) in (0..=255).flat_map(|kind| [(kind, 0), (kind, 1)]) {
                let l4 = vec![kind, code, 0, 0, 0, 7, 0, 1, 0x61];
                let sent = Sent::new(0, v6, proto, l4).finished();
                let mut seen = Vec::new();
                // As above: not each time.
                let differs = (0..3).all(|_| {
                    let (differs, saw) = run(&mut kernel, &Config::default(), std::slice::from_ref(&sent));
                    seen = saw;
                    differs
                });
                if differs {
                    differ.push((v6, proto, kind, code, seen));
                }
            }
        }
        assert!(differ.is_empty(), "{differ:#?}");
    });
}

/// The ports of the two hosts, others for each sequence.
fn ports(seed: u64) -> [u16; 2] {
    [1024 + (seed % 60_000) as u16, 80]
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
    kernel.set("nf_conntrack_checksum", number(cfg.checksum));
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

/// Runs so many sequences, or for as long as was asked for, and panics with the smallest that makes a difference.
fn compare(make: impl Fn(u64) -> (Config, Vec<Sent>), count: u64, describe: fn(&Sent) -> String) {
    if !tools::usable(&tools::IPTABLES) {
        return;
    }
    let mut kernel = Kernel::new();
    let first = number_from("SEKISHO_CONNTRACK_SEED").unwrap_or(1);
    let time = number_from("SEKISHO_CONNTRACK_SECONDS").map(Duration::from_secs);
    let begin = Instant::now();
    let (mut sequences, mut packets, mut labels) = (0, 0, [0; 5]);
    while time.map_or(sequences < count, |time| begin.elapsed() < time) {
        let seed = first + sequences;
        let (cfg, sequence) = make(seed);
        apply(&mut kernel, &cfg);
        let (differs, seen) = run(&mut kernel, &cfg, &sequence);
        // A machine that stands still for a second between the two makes a difference too, but not each time.
        if differs && (0..3).all(|_| run(&mut kernel, &cfg, &sequence).0) {
            let (smallest, seen) = shrink(&mut kernel, &cfg, sequence);
            panic!("seed {seed}:\n{}{cfg:?}", story(&smallest, &seen, describe));
        }
        for label in seen.iter().filter_map(|[theirs, _]| theirs.label) {
            labels[label as usize] += 1;
        }
        sequences += 1;
        packets += seen.len();
    }
    println!("{sequences} sequences, {packets} packets");
    println!("{labels:?} of them INVALID, NEW, ESTABLISHED, RELATED, UNTRACKED");
    assert!(labels[..3].iter().all(|n| *n > packets / 50), "the sequences are no good");
}

fn number_from(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|v| v.parse().unwrap_or_else(|e| panic!("{variable}={v}: {e}")))
}

/// Sends a sequence until the two differ: whether they did, and what each saw, kernel first.
fn run(kernel: &mut Kernel, cfg: &Config, sequence: &[Sent]) -> (bool, Vec<[Seen; 2]>) {
    let tuples: Vec<_> = sequence.iter().map(tuple_of).collect();
    let forget = |kernel: &mut Kernel| tuples.iter().flatten().for_each(|t| kernel.forget(t));
    let mut ours = Ours::new(cfg);
    let mut seen: Vec<[Seen; 2]> = vec![];
    for (sent, tuple) in sequence.iter().zip(&tuples) {
        thread::sleep(Duration::from_secs(sent.pause.into()));
        seen.push([kernel.pass(sent, tuple.as_ref()), ours.pass(sent, tuple.as_ref())]);
        if seen
            .last()
            .is_some_and(|[theirs, ours]| !theirs.agrees(ours) || may_have_moved_the_window(sent, ours))
        {
            break;
        }
    }
    forget(kernel);
    let differs = seen.last().is_some_and(|[theirs, ours]| !theirs.agrees(ours));
    (differs, seen)
}

/// Whether a reset was let through and did not close the connection: it may be one from beyond the window, which Linux
/// believes and we don't (docs/limits.md), so that from there on the two may differ.
fn may_have_moved_the_window(sent: &Sent, ours: &Seen) -> bool {
    const RST: u8 = 4;
    let reset = sent.proto == proto::TCP && sent.l4.get(13).is_some_and(|flags| flags & RST != 0);
    let open = |e: &Entry| e.phase != Some(Phase::Close as u8);
    reset && ours.label != Some(Label::Invalid) && ours.entry.as_ref().is_some_and(open)
}

/// Leaves out what is not needed for a difference.
fn shrink(kernel: &mut Kernel, cfg: &Config, mut sequence: Vec<Sent>) -> (Vec<Sent>, Vec<[Seen; 2]>) {
    let (_, mut seen) = run(kernel, cfg, &sequence);
    sequence.truncate(seen.len());
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(30) {
        let smaller = (0..sequence.len()).rev().find_map(|i| {
            let mut without = sequence.clone();
            without.remove(i);
            let (differs, saw) = run(kernel, cfg, &without);
            without.truncate(saw.len());
            differs.then_some((without, saw))
        });
        match smaller {
            Some(smaller) => (sequence, seen) = smaller,
            None => break,
        }
    }
    (sequence, seen)
}

fn story(sequence: &[Sent], seen: &[[Seen; 2]], describe: fn(&Sent) -> String) -> String {
    let mut text = String::new();
    for (sent, [theirs, ours]) in sequence.iter().zip(seen) {
        let arrow = ["→", "←"][sent.from];
        let _ = writeln!(text, "{arrow} {}\n    kernel {theirs:?}\n    ours   {ours:?}", describe(sent));
    }
    text
}
