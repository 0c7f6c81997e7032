//! The generators and the sinks of load, and what is measured with them, over a kernel that forwards.
//!
//! Nothing is said of how fast anything is: counts add up, and a limit that was set is found.

use std::time::{Duration, Instant};

use sekisho::base::Mac;
use sekisho::io::bpf::{Alu, Asm, Cond, Helper, Kind, Link, Map, Program, Reg, TcAction, Width};
use sekisho::io::netlink::Netlink;
use sekisho::lab::load::{
    Bulk, Connects, Direction, Echo, Generator, LoadError, Method, Rate, RoundTrip, Setup, Sink, Traffic,
    Window, cost, memory, rate, set_napi, set_offloads,
};
use sekisho::lab::{End, Plan, Topology, isolate};

use crate::gateway::ip;
use crate::home::wait_until;

const CLIENT: Mac = Mac([2, 0, 0, 0, 1, 2]);
const NEAR: Mac = Mac([2, 0, 0, 0, 1, 1]);
const FAR: Mac = Mac([2, 0, 0, 0, 2, 1]);
const SERVER: Mac = Mac([2, 0, 0, 0, 2, 2]);

/// Client, a kernel that forwards, server.
fn lab() -> Topology {
    let end = |space, device, mac, addresses: [&str; 2]| {
        let end = End::new(space, device).mac(mac);
        addresses.iter().fold(end, |end, a| end.address(a.parse().unwrap()))
    };
    let topology = ["client", "router", "server"]
        .into_iter()
        .fold(Plan::new(), Plan::space)
        .wire(
            end("client", "eth0", CLIENT, ["10.0.1.2/24", "fd00:1::2/64"]),
            end("router", "lan", NEAR, ["10.0.1.1/24", "fd00:1::1/64"]),
        )
        .wire(
            end("server", "eth0", SERVER, ["10.0.2.2/24", "fd00:2::2/64"]),
            end("router", "wan", FAR, ["10.0.2.1/24", "fd00:2::1/64"]),
        )
        .route("client", "0.0.0.0/0".parse().unwrap(), ip("10.0.1.1"))
        .route("client", "::/0".parse().unwrap(), ip("fd00:1::1"))
        .route("server", "0.0.0.0/0".parse().unwrap(), ip("10.0.2.1"))
        .route("server", "::/0".parse().unwrap(), ip("fd00:2::1"))
        .neighbor("client", "eth0", ip("10.0.1.1"), NEAR)
        .neighbor("router", "wan", ip("10.0.2.2"), SERVER)
        .neighbor("router", "wan", ip("fd00:2::2"), SERVER)
        .sysctl("router", "net/ipv4/ip_forward", "1")
        .sysctl("router", "net/ipv6/conf/all/forwarding", "1")
        .build()
        .unwrap();
    set_napi(&topology["router"], "lan", true).unwrap();
    topology
}

fn traffic(ipv6: bool) -> Traffic {
    let [from, to] = if ipv6 { ["fd00:1::2", "fd00:2::2"] } else { ["10.0.1.2", "10.0.2.2"] };
    Traffic::new(CLIENT, NEAR, ip(from), ip(to)).flows(256)
}

fn by(method: Method) -> Setup {
    Setup { method: Some(method), cpu: None }
}

/// What was made, or `None` with the reason printed where bpf() is refused.
fn allowed<T>(result: Result<T, LoadError>) -> Option<T> {
    match result {
        Err(LoadError::Bpf(e)) if e.is_permission() => {
            println!("skipped: {e}");
            None
        }
        result => Some(result.unwrap()),
    }
}

const QUICK: Duration = Duration::from_millis(150);
const WINDOW: Window = Window { warm_up: Duration::from_millis(50), length: QUICK };

#[test]
fn every_generator_and_every_sink_count_the_same() {
    isolate::test(|| {
        let lab = lab();
        for ipv6 in [false, true] {
            let traffic = traffic(ipv6);
            for method in [Method::LiveFrames, Method::PacketSocket] {
                let generator = Generator::start(&lab["client"], "eth0", &traffic, by(method));
                let Some(generator) = allowed(generator) else { continue };
                assert_eq!(generator.method(), method);
                for sink in [Sink::open, Sink::by_socket] {
                    let sink = sink(&lab["server"], "eth0", &traffic).unwrap();
                    // A generator that was held up sends a burst, of which the kernel between the two may lose some:
                    // until a trial goes undisturbed.
                    wait_until("a trial loses nothing", || {
                        let result = rate::trial(&generator, &sink, Rate::PerSecond(20_000), QUICK).unwrap();
                        println!("{method:?}, {}: {result:?}", sink.method());
                        // What is asked for is not exceeded, by more than what a late burst catches up with.
                        let offered = result.offered() < 20_000.0 * 1.5;
                        offered && result.sent > 0 && result.sent == result.received
                    });
                    let counts = sink.counts().unwrap();
                    assert_eq!(counts.bytes, counts.packets * traffic.frame_size() as u64);
                }
                // The sink is gone, and nobody counts for it; the next one starts from nothing.
                let sink = Sink::open(&lab["server"], "eth0", &traffic).unwrap();
                assert_eq!(sink.packets().unwrap(), 0);
            }
        }
    });
}

#[test]
fn other_traffic_passes_the_sink() {
    isolate::test(|| {
        let lab = lab();
        for sink in [Sink::open, Sink::by_socket] {
            let sink = sink(&lab["server"], "eth0", &traffic(false)).unwrap();
            for echo in [Echo::Udp, Echo::Icmp] {
                for to in ["10.0.2.2", "fd00:2::2"] {
                    let trip = RoundTrip::new(ip(to), WINDOW).echo(echo);
                    wait_until("an answer while it is measured", || {
                        let report = trip.run(&lab["client"], &lab["server"]).unwrap();
                        let [middle, most, _] = report.percentiles();
                        report.times.count() > 0 && Duration::ZERO < middle && middle <= most
                    });
                }
            }
            assert_eq!(sink.packets().unwrap(), 0);
        }
    });
}

#[test]
fn saturation_is_measured_and_ends() {
    isolate::test(|| {
        let lab = lab();
        let traffic = traffic(false).endless();
        let sink = Sink::open(&lab["server"], "eth0", &traffic).unwrap();
        for method in [Method::LiveFrames, Method::PacketSocket] {
            let generator = Generator::start(&lab["client"], "eth0", &traffic, by(method));
            let Some(generator) = allowed(generator) else { continue };
            wait_until("something arrives while it is measured", || {
                let result = match rate::saturation(&generator, &sink, WINDOW) {
                    Ok(result) => result,
                    Err(e) => {
                        println!("{method:?}: {e}");
                        return false;
                    }
                };
                println!("{method:?}: {:.0} of {:.0} packets/s", result.rate(), result.offered());
                assert!(result.received <= result.sent + 1000, "{result:?}");
                result.received > 0
            });
            wait_until("nothing is sent any more for a moment", || {
                let sent = generator.sent().unwrap();
                std::thread::sleep(Duration::from_millis(20));
                generator.sent().unwrap() == sent
            });
            // Dropped at full speed, it ends all the same.
            generator.set_rate(Rate::Saturate).unwrap();
            generator.wait_until_sending().unwrap();
            let start = Instant::now();
            drop(generator);
            assert!(start.elapsed() < Duration::from_secs(30));
        }
    });
}

#[test]
fn a_search_finds_the_limit_that_was_set() {
    const LIMIT: u64 = 30_000;
    isolate::test(|| {
        let lab = lab();
        let Some(_policer) = allowed(police(&lab, LIMIT)) else { return };
        let traffic = traffic(false);
        let generator = Generator::start(&lab["client"], "eth0", &traffic, Setup::default()).unwrap();
        let sink = Sink::open(&lab["server"], "eth0", &traffic).unwrap();
        let search = rate::Search { trial: QUICK, budget: Duration::from_secs(8), ..rate::Search::from(4e5) };
        // How close it comes is a matter of what else the machine does: a generator that was held up sends in bursts, which
        // a policer does not forgive, and who was held up while it began to send takes it for faster. Until it goes undisturbed.
        wait_until("a search finds the limit", || {
            let found = rate::highest(&generator, &sink, &search).unwrap();
            println!("{:.0} after {} trials, {:?} too much", found.rate, found.trials.len(), found.too_much);
            let close = found.rate < LIMIT as f64 * 1.1 && found.rate > LIMIT as f64 * 0.1;
            close && found.too_much.is_some() && found.trials.len() > 2
        });
    });
}

/// Lets no more than so many frames a second into the server.
fn police(lab: &Topology, limit: u64) -> Result<Link, LoadError> {
    let state = Map::array(8, 1)?;
    let (step, burst) = (1_000_000_000 / limit, 4_000_000);
    let mut asm = Asm::new();
    let (late, full) = (asm.label(), asm.label());
    asm.call(Helper::KtimeGetNs);
    asm.map_value(Reg::R1, &state, 0);
    asm.load(Width::B8, Reg::R2, Reg::R1, 0); // when the bucket will be empty
    asm.jump_if(Cond::Ge, Reg::R2, Reg::R0, late);
    asm.mov(Reg::R2, Reg::R0);
    asm.bind(late);
    asm.mov(Reg::R3, Reg::R0);
    asm.alu(Alu::Add, Reg::R3, burst);
    asm.jump_if(Cond::Gt, Reg::R2, Reg::R3, full);
    asm.alu(Alu::Add, Reg::R2, step as i32);
    asm.store(Width::B8, Reg::R1, 0, Reg::R2);
    asm.exit_with(TcAction::Next as i32);
    asm.bind(full);
    asm.exit_with(TcAction::Drop as i32);
    let program = Program::load(Kind::SchedCls, "policer", &asm)?;
    let link = lab["server"].run(|| {
        let index = Netlink::open().unwrap().link_index("eth0").unwrap();
        program.attach_ingress(index)
    });
    Ok(link?)
}

#[test]
fn frames_that_no_peer_takes_are_not_taken_for_lost_ones() {
    isolate::test(|| {
        let lab = lab();
        set_napi(&lab["router"], "lan", false).unwrap();
        let traffic = traffic(false);
        let sink = Sink::open(&lab["server"], "eth0", &traffic).unwrap();
        let generator = Generator::start(&lab["client"], "eth0", &traffic, by(Method::LiveFrames));
        let Some(generator) = allowed(generator) else { return };
        let e = rate::saturation(&generator, &sink, WINDOW).unwrap_err();
        assert!(matches!(e, LoadError::NothingLeaves(_)), "{e}");
    });
}

#[test]
fn bulk_goes_both_ways_with_and_without_offloads() {
    isolate::test(|| {
        let lab = lab();
        for offloads in [true, false] {
            for host in ["client", "server"] {
                set_offloads(&lab[host], "eth0", offloads).unwrap();
            }
            for (direction, streams, to) in
                [(Direction::Up, 1, "10.0.2.2"), (Direction::Down, 4, "fd00:2::2")]
            {
                let bulk = Bulk::new(ip(to), WINDOW).direction(direction).streams(streams);
                wait_until("every stream moves while it is measured", || {
                    let report = bulk.run(&lab["client"], &lab["server"]).unwrap();
                    println!("offloads {offloads}, {direction:?}: {:.2} Gbit/s", report.rate() / 1e9);
                    assert_eq!(report.received.len(), streams);
                    report.received.iter().all(|bytes| *bytes > 0)
                });
            }
        }
    });
}

#[test]
fn connections_are_made_one_after_the_other() {
    isolate::test(|| {
        let lab = lab();
        let connects = Connects::new(ip("10.0.2.2"), WINDOW).clients(2);
        wait_until("a connection while it is measured", || {
            let report = connects.run(&lab["client"], &lab["server"]).unwrap();
            println!("{:.0} connections/s: {report:?}", report.rate());
            assert!(report.times.count() >= report.made);
            report.made > 0 && report.failed == 0
        });
    });
}

#[test]
fn what_a_rate_costs_is_measured() {
    isolate::test(|| {
        let lab = lab();
        let traffic = traffic(false);
        let generator = Generator::start(&lab["client"], "eth0", &traffic, by(Method::PacketSocket)).unwrap();
        let own = [std::process::id()];
        // Time is told in hundredths of a second, and who waits for a CPU uses none.
        wait_until("all use some of it", || {
            let without = {
                let sink = Sink::open(&lab["router"], "lan", &traffic).unwrap();
                cost::measure(&generator, &sink, 20_000, WINDOW, &own).unwrap()
            };
            let sink = Sink::open(&lab["server"], "eth0", &traffic).unwrap();
            let with = cost::measure(&generator, &sink, 20_000, WINDOW, &own).unwrap();
            println!("{:.0} ns a packet: {with:?}, without a router {without:?}", with.cost(&without));
            [&with, &without].into_iter().all(|used| {
                let passed = used.traffic.received > 0 && used.traffic.sent >= used.traffic.received / 2;
                passed && used.threads > used.processes && used.processes > Duration::ZERO
            })
        });
        assert_eq!(memory::conntrack_count(&lab["client"]).unwrap_or(0), 0);
    });
}
