//! The kernel beside us: the same packets into two routers, one the kernel, one Sekisho, and what comes out
//! of each compared byte by byte.
//!
//! `SEKISHO_PARITY=part-of-a-name` runs only the cases whose names hold it.

mod cases;
mod compare;
mod family;
mod frame;
mod play;
mod random;
mod ruled;
mod same;
mod script;
mod side;
mod twin;
mod walk;

use std::thread;
use std::time::{Duration, Instant};

use sekisho::lab::isolate;
use sekisho::link::RpFilter;

use cases::Case;
use compare::{Seen, explain, normal, summary};
use twin::Twin;

/// What became of one case.
struct Verdict {
    name: &'static str,
    known: Option<&'static str>,
    /// What each router gave.
    gave: [Vec<Seen>; 2],
    /// What the kernel was expected to give.
    expected: Vec<&'static str>,
}

impl Verdict {
    fn differs(&self) -> bool {
        self.gave[0] != self.gave[1]
    }

    /// Whether the first of the two did what the case says the kernel does.
    fn as_recorded(&self) -> bool {
        summaries(&self.gave[0]) == self.expected
    }
}

fn summaries(seen: &[Seen]) -> Vec<String> {
    let mut all: Vec<String> = seen.iter().map(summary).collect();
    all.sort();
    all
}

/// Sends the frames of each case into both, one case after the other.
fn run(a: &mut Twin, b: &mut Twin, cases: Vec<Case>) -> Vec<Verdict> {
    warm_up(a, b);
    cases.into_iter().enumerate().map(|(i, case)| judge(a, b, case, i as u32 + 1)).collect()
}

/// The cases that were asked for.
fn chosen() -> Vec<Case> {
    let only = std::env::var("SEKISHO_PARITY").unwrap_or_default();
    cases::all().into_iter().filter(|c| c.name.contains(&only)).collect()
}

/// The first packet each way waits for the neighbors of the sentinels.
fn warm_up(a: &mut Twin, b: &mut Twin) {
    for twin in [&mut *a, &mut *b] {
        twin.forget();
        for port in twin::Port::ALL {
            twin.send_sentinel(port, 0);
        }
    }
    let all = twin::Port::ALL.len();
    until(WORKING, || {
        a.pump();
        b.pump();
        a.sentinels(0) == all && b.sentinels(0) == all
    });
    for twin in [a, b] {
        assert_eq!(twin.sentinels(0), all, "{} does not forward", twin.name);
        twin.forget();
    }
}

fn judge(a: &mut Twin, b: &mut Twin, case: Case, number: u32) -> Verdict {
    a.forget();
    b.forget();
    let mut ports: Vec<_> = case.sent.iter().map(|(port, _)| *port).collect();
    ports.sort();
    ports.dedup();
    for twin in [&mut *a, &mut *b] {
        for (port, frame) in &case.sent {
            twin.send(*port, frame);
        }
        for port in &ports {
            twin.send_sentinel(*port, number);
        }
    }
    let pump = |a: &mut Twin, b: &mut Twin| {
        a.pump();
        b.pump();
    };
    // Whatever was sent before the sentinels has been dealt with when they arrive.
    let arrived = until(WORKING, || {
        pump(a, b);
        a.sentinels(number) == ports.len() && b.sentinels(number) == ports.len()
    });
    assert!(arrived, "after '{}' one of the two forwards no more: {}", case.name, lame(a, b, number));
    // What takes longer: a neighbor to be found, an error that waits for it.
    until(case.patience, || {
        pump(a, b);
        a.seen().len() >= case.gives.len()
    });
    until(GRACE, || {
        pump(a, b);
        false
    });
    let patience = if case.known.is_some() { KNOWN_PATIENCE } else { PATIENCE };
    until(patience, || {
        pump(a, b);
        normal(a.seen()) == normal(b.seen())
    });
    let gave = [normal(a.seen()), normal(b.seen())];
    Verdict { name: case.name, known: case.known, gave, expected: case.gives }
}

fn lame(a: &Twin, b: &Twin, number: u32) -> String {
    [a, b].map(|t| format!("{} gave {} sentinels", t.name, t.sentinels(number))).join(", ")
}

/// How long a router that works may take to forward a packet.
const WORKING: Duration = Duration::from_secs(60);
/// How long to look for what should not come.
const GRACE: Duration = Duration::from_millis(3);
/// How long the second may be slower than the first.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where a difference is expected.
const KNOWN_PATIENCE: Duration = Duration::from_millis(150);

/// Whether it came true in time.
fn until(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_micros(200));
    }
}

/// Says all differences; `Err` with the same if one of them is not on purpose, or no longer there.
fn report(names: [&str; 2], verdicts: &[Verdict]) -> Result<String, String> {
    let mut text = String::new();
    let mut bad = 0;
    for v in verdicts {
        let what = match (v.differs(), v.known) {
            (false, None) => continue,
            (false, Some(_)) => "≡ no longer differs: take it off the list",
            (true, Some(reason)) => {
                text.push_str(&format!("· {}: {reason}\n", v.name));
                continue;
            }
            (true, None) => "≠",
        };
        bad += 1;
        text.push_str(&format!("{what} {}\n{}", v.name, explain(names, &v.gave[0], &v.gave[1])));
    }
    text.push_str(&format!("{} cases, {bad} unexplained differences\n", verdicts.len()));
    if bad == 0 { Ok(text) } else { Err(text) }
}

/// The cases that came out otherwise than recorded. Kernels change; the comparison is with this one.
fn surprises(verdicts: &[Verdict]) -> Vec<String> {
    let odd = verdicts.iter().filter(|v| !v.as_recorded());
    odd.map(|v| format!("{}: {:?}, recorded {:?}", v.name, summaries(&v.gave[0]), v.expected)).collect()
}

#[test]
fn two_kernels_do_not_differ() {
    isolate::test(|| {
        let (mut a, mut b) = (Twin::kernel("kernel", &[]), Twin::kernel("its twin", &[]));
        let mut all = cases::all();
        all.iter_mut().for_each(|c| c.known = None);
        let verdicts = run(&mut a, &mut b, all);
        let odd = surprises(&verdicts);
        println!("{}", odd.join("\n"));
        match report(["kernel", "its twin"], &verdicts) {
            Ok(text) => println!("{text}"),
            Err(text) => panic!("{text}"),
        }
        assert!(odd.len() * 10 <= verdicts.len(), "{} cases are not as recorded", odd.len());
    });
}

#[test]
fn a_kernel_with_other_settings_differs() {
    isolate::test(|| {
        let silent = [("net/ipv4/icmp_echo_ignore_all", "1"), ("net/ipv4/conf/all/send_redirects", "0")];
        let more = [("net/ipv4/conf/default/send_redirects", "0")];
        let (mut a, mut b) = (Twin::kernel("a", &[]), Twin::kernel("b", &[silent[0], silent[1], more[0]]));
        let wanted =
            |c: &Case| ["v4 echo to us", "v4 better way on the same segment", "v4 udp"].contains(&c.name);
        let verdicts = run(&mut a, &mut b, cases::all().into_iter().filter(wanted).collect());
        let differing: Vec<&str> = verdicts.iter().filter(|v| v.differs()).map(|v| v.name).collect();
        assert_eq!(differing, ["v4 better way on the same segment", "v4 echo to us"]);
        let text = report(["a", "b"], &verdicts).unwrap_err();
        assert!(text.contains("≠ lan icmp 5/1") && text.contains("≠ lan echo reply"), "{text}");
    });
}

/// The kernel beside the program, device to device.
#[test]
fn the_router_does_what_the_kernel_does() {
    isolate::test(|| {
        let (mut a, mut b) = (Twin::kernel("kernel", &[]), Twin::sekisho());
        let verdicts = run(&mut a, &mut b, chosen());
        match report(["kernel", "sekisho"], &verdicts) {
            Ok(text) => println!("{text}"),
            Err(text) => panic!("{text}"),
        }
    });
}

/// The kernel beside the walk: all cases but those for the local stack, which sits on top of it.
#[test]
fn the_walk_does_what_the_kernel_does() {
    isolate::test(|| {
        let (mut a, mut b) =
            (Twin::kernel("kernel", &[]), Twin::new("sekisho", walk::Walk::new(RpFilter::Off)));
        let of_the_walk = |c: &Case| !c.gives.iter().any(|g| g.starts_with("lan tcp"));
        let verdicts = run(&mut a, &mut b, chosen().into_iter().filter(of_the_walk).collect());
        match report(["kernel", "sekisho"], &verdicts) {
            Ok(text) => println!("{text}"),
            Err(text) => panic!("{text}"),
        }
    });
}

/// The same with sources validated, which Linux does for IPv4 only.
#[test]
fn reverse_path_filters_do_what_the_kernels_do() {
    isolate::test(|| {
        for (value, rp_filter) in [("1", RpFilter::Strict), ("2", RpFilter::Loose)] {
            let settings = ["all", "default"].map(|conf| format!("net/ipv4/conf/{conf}/rp_filter"));
            let settings = [(settings[0].as_str(), value), (settings[1].as_str(), value)];
            let mut a = Twin::kernel("kernel", &settings);
            let mut b = Twin::new("sekisho", walk::Walk::new(rp_filter));
            let wanted = |c: &Case| {
                let ipv4 = c.name.starts_with("v4 ") || c.name.starts_with("arp ");
                ipv4 && c.known.is_none() && c.patience < Duration::from_secs(1) && !c.name.contains("tcp")
            };
            let mut cases: Vec<Case> = cases::all().into_iter().filter(wanted).collect();
            // What they give was recorded without the filter.
            cases.iter_mut().for_each(|c| c.patience = Duration::from_millis(5));
            let verdicts = run(&mut a, &mut b, cases);
            let stopped = verdicts.iter().filter(|v| !v.as_recorded()).count();
            assert!(stopped > 0, "rp_filter {value} made no difference");
            if let Err(text) = report(["kernel", "sekisho"], &verdicts) {
                panic!("rp_filter {value}:\n{text}");
            }
        }
    });
}

/// Every difference that is kept is told to whoever reads the documentation.
#[test]
fn every_known_difference_is_documented() {
    let limits = include_str!("../../docs/limits.md");
    for case in cases::all() {
        let Some(reason) = case.known else { continue };
        assert!(
            limits.contains(&format!("| {reason} |")),
            "'{}': '{reason}' is not in docs/limits.md",
            case.name
        );
    }
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut names: Vec<&str> = cases::all().iter().map(|c| c.name).collect();
    let n = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), n);
}
