//! Interfaces that go down, are deleted, and come back.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use sekisho::lab::isolate;
use sekisho::lab::probes::Ping;

use crate::gateway::{Choice, Gateway, SERVER, STOP, WAN_WIRE, ip};

/// A link that is back is to be picked up within this time: a look four times a second, and some grace periods of the
/// kernel for its rings. It takes half a second where nobody else wants a CPU, and seven tenths where six programs
/// want each CPU. Of several times one has to be so short.
const SOON: Duration = Duration::from_secs(2);
/// Its IPv6 addresses are checked for duplicates again, which takes up to two seconds more (RFC 4862 §5.4.2).
const CHECKED: Duration = Duration::from_secs(4);
/// How long it may take at most, on a machine that has something else to do.
const AT_LAST: Duration = Duration::from_secs(60);

fn soon(to: &str) -> Duration {
    if ip(to).is_ipv6() { CHECKED } else { SOON }
}

fn answers(gw: &Gateway, to: &str) -> bool {
    let ping = Ping::new(ip(to)).wait(Duration::from_millis(50));
    // While the link is gone the client may be told so, or not be told.
    gw.client().run(|| ping.run()).is_ok_and(|report| report.complete())
}

/// Pings until an answer comes, and says how long that took. The hosts' own caches may need a try or two.
fn time_to_answer(gw: &Gateway, to: &str) -> Duration {
    let start = Instant::now();
    while !answers(gw, to) {
        assert!(start.elapsed() < AT_LAST, "no answer from {to} for {AT_LAST:?}: {}", gw.router.said());
    }
    start.elapsed()
}

#[test]
fn deleted_and_back_within_a_second() {
    isolate::test(|| {
        let gw = Gateway::usual();
        deleted_and_back(&gw);
        gw.stop();
    });
}

#[test]
fn deleted_and_back_where_no_program_can_be_loaded_any_more() {
    isolate::test(|| {
        let mut gw = Gateway::new(&Choice { driver: "xdp", ..Choice::default() });
        deleted_and_back(&gw);
        // What comes back is taken from a ring, and that is said.
        let stats = gw.balanced();
        let wan = stats["links"].as_array().unwrap().iter().find(|l| l["ifname"] == "wan").unwrap();
        let driver = &wan["driver"];
        assert_eq!((&driver["asked"], &driver["driver"]), (&"xdp".into(), &"ring".into()), "{wan}");
        assert!(driver["fallback"].as_str().unwrap().contains("CAP_BPF"), "{wan}");
        assert!(gw.program.router.terminate(STOP).unwrap().success(), "{}", gw.router.said());
    });
}

fn deleted_and_back(gw: &Gateway) {
    let mut shortest = [AT_LAST; 2];
    for _ in 0..3 {
        for to in SERVER {
            time_to_answer(gw, to);
        }
        gw.lab.unplug(WAN_WIRE).unwrap();
        assert!(!answers(gw, SERVER[0]));
        gw.balanced();
        gw.lab.plug(WAN_WIRE).unwrap();
        for (to, shortest) in SERVER.into_iter().zip(&mut shortest) {
            let took = time_to_answer(gw, to);
            println!("{to} answers {} ms after the link is back", took.as_millis());
            *shortest = took.min(*shortest);
        }
    }
    for (to, shortest) in SERVER.into_iter().zip(shortest) {
        assert!(shortest < soon(to), "{to} answers after {shortest:?} at the earliest");
    }
}

#[test]
fn down_and_up_within_a_second() {
    isolate::test(|| {
        let gw = Gateway::usual();
        time_to_answer(&gw, SERVER[0]);
        let took = [(); 3].map(|()| {
            gw.lab.set_up("router", "wan", false).unwrap();
            assert!(!answers(&gw, SERVER[0]));
            gw.lab.set_up("router", "wan", true).unwrap();
            time_to_answer(&gw, SERVER[0])
        });
        assert!(took.iter().any(|t| *t < SOON), "{took:?}");
        gw.stop();
    });
}

#[test]
fn gone_for_longer_with_two_workers() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice { workers: 2, ..Choice::default() });
        gw.lab.unplug(WAN_WIRE).unwrap();
        // Long enough for every worker to have looked, and found nothing.
        let until = Instant::now() + Duration::from_millis(600);
        while Instant::now() < until {
            assert!(!answers(&gw, SERVER[0]));
        }
        gw.lab.plug(WAN_WIRE).unwrap();
        for to in SERVER {
            time_to_answer(&gw, to);
        }
        gw.stop();
    });
}

#[test]
fn many_flaps_leave_nothing_behind() {
    isolate::test(|| {
        let gw = Gateway::usual();
        let open = || fs::read_dir(format!("/proc/{}/fd", gw.router.id())).unwrap().count();
        time_to_answer(&gw, SERVER[0]);
        // What the router looks through when it looks may be open this very moment, as may be who asked it something.
        let look = || {
            thread::sleep(Duration::from_millis(20));
            open()
        };
        let before = (0..100).map(|_| look()).min().unwrap();
        for i in 0..20 {
            if i % 4 == 0 {
                gw.lab.unplug(WAN_WIRE).unwrap();
                gw.lab.plug(WAN_WIRE).unwrap();
            } else {
                gw.lab.set_up("router", "wan", false).unwrap();
                gw.lab.set_up("router", "wan", true).unwrap();
            }
            if i % 5 == 0 {
                time_to_answer(&gw, SERVER[0]);
            }
        }
        time_to_answer(&gw, SERVER[0]);
        let deadline = Instant::now() + AT_LAST;
        while look() != before {
            assert!(Instant::now() < deadline, "{} descriptors, {before} before", open());
        }
        gw.stop();
    });
}
