//! An interface that goes down, is deleted and comes back, again and again: the ports take it up each time, and
//! nothing is left over. A process of its own, since it counts descriptors.

#[path = "io/netns.rs"]
mod netns;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sekisho::io::netlink::{Hook, Netlink};
use sekisho::io::{DeviceSpec, Port, Sent, Status, open};
use sekisho::link::{Driver, LinkKind};
use sekisho::packet::{Packet, Pool, Steering};

/// How often; the long run has 1,000.
fn rounds() -> usize {
    std::env::var("SEKISHO_FLAPS").ok().and_then(|n| n.parse().ok()).unwrap_or(50)
}

/// How long two interfaces may take to be taken up, as a rule. AF_XDP waits for the most grace periods of the kernel: a tenth of
/// a second where nobody else wants a CPU, six tenths where six programs want each.
const BACK: Duration = Duration::from_secs(2);

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_kilobytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn all_up(ports: &mut [Box<dyn Port>]) -> bool {
    // Every port is asked, whatever the one before says.
    let found: Vec<_> = ports.iter_mut().map(|port| port.check()).collect();
    found.iter().all(|status| *status == Status::Up)
}

/// A frame from one end reaches some queue of the other.
fn crosses(from: &mut [Box<dyn Port>], to: &mut [Box<dyn Port>], pool: &mut Pool, number: usize) {
    let mut bytes = [0xff; 64];
    bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
    bytes[14..22].copy_from_slice(&(number as u64).to_be_bytes());
    let mut queue = VecDeque::from([Packet::from_slice(&bytes)]);
    until("the frame is taken", || {
        from[number % 2].transmit(pool, &mut queue, &mut Sent::default());
        queue.is_empty()
    });
    let mut out = Vec::new();
    until("the frame arrives", || {
        for port in to.iter_mut() {
            port.receive(pool, &mut out, 64);
        }
        let found = out.iter().any(|p| p.data() == bytes);
        out.drain(..).for_each(|p| pool.put(p));
        found
    });
}

/// One test at a time: they count what the process has open.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn flaps_and_deletions_leave_nothing_behind() {
    leave_nothing_behind(Driver::Ring);
}

#[test]
fn flaps_and_deletions_leave_nothing_behind_without_rings() {
    leave_nothing_behind(Driver::Socket);
}

#[test]
fn flaps_and_deletions_leave_nothing_behind_over_xdp() {
    leave_nothing_behind(Driver::Xdp);
}

fn leave_nothing_behind(driver: Driver) {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let Some(here) = netns::Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        let make = |n: &mut Netlink| {
            n.link_add_veth("near", "far", None).unwrap();
            for name in ["near", "far"] {
                let index = n.link_index(name).unwrap();
                n.set_up(index).unwrap();
            }
        };
        make(&mut n);
        let two_queues = |device: &str| DeviceSpec {
            kind: LinkKind::Packet,
            name: device.into(),
            device: device.into(),
            mac: None,
            mtu: 1500,
            queues: 2,
            steering: Steering { workers: 2, ..Steering::default() },
            offload: true,
            driver,
            persist: false,
            owner: None,
            group: None,
        };
        let (mut near, mut far) =
            (open(&two_queues("near"), 2).unwrap(), open(&two_queues("far"), 2).unwrap());
        let mut pool = Pool::new(256);
        until("up at first", || all_up(&mut near) && all_up(&mut far));
        crosses(&mut near, &mut far, &mut pool, 0);
        let (fds, memory) = (descriptors(), resident_kilobytes());
        let mut times = Vec::new();

        for round in 0..rounds() {
            let index = n.link_index("near").unwrap();
            n.set_down(index).unwrap();
            until("down", || near.iter_mut().all(|p| p.check() == Status::Down));
            n.set_up(index).unwrap();
            until("up again", || all_up(&mut near) && all_up(&mut far));
            crosses(&mut near, &mut far, &mut pool, round);
            crosses(&mut far, &mut near, &mut pool, round);

            n.link_del(index).unwrap();
            // Sometimes nobody looks while it is gone.
            if round % 3 > 0 {
                until("gone", || near.iter_mut().all(|p| p.check() == Status::Gone));
            }
            make(&mut n);
            let since = Instant::now();
            until("back", || all_up(&mut near) && all_up(&mut far));
            times.push(since.elapsed());
            crosses(&mut near, &mut far, &mut pool, round);
            crosses(&mut far, &mut near, &mut pool, round);
            assert_eq!(descriptors(), fds, "round {round}");
        }
        let grown = resident_kilobytes().saturating_sub(memory);
        assert!(grown < 4_096, "{grown} KiB more than before");
        times.sort_unstable();
        let [middle, longest] = [times[times.len() / 2], times[times.len() - 1]];
        println!("{driver:?}: back after {middle:?}, {longest:?} at most");
        assert!(middle < BACK, "{driver:?}: {middle:?}");
        let index = n.link_index("near").unwrap();
        drop((near, far));
        for hook in Hook::BOTH {
            assert!(n.tc_filters(index, hook).unwrap().is_empty());
        }
        assert!(!n.tc_has_clsact(index).unwrap());
    });
}

/// A device that the router makes, with two queues, deleted under it: made anew each time, and no descriptor stays open.
#[test]
fn a_tap_of_two_queues_comes_back_as_often_as_it_goes() {
    // Before anything is opened: others count.
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    if std::fs::File::options().read(true).write(true).open("/dev/net/tun").is_err() {
        println!("skipped: /dev/net/tun can't be opened here");
        return;
    }
    let Some(here) = netns::Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        let spec = |kind, queues| DeviceSpec {
            kind,
            name: "tap0".into(),
            device: "tap0".into(),
            mac: None,
            mtu: 1500,
            queues,
            steering: Steering { workers: 2, ..Steering::default() },
            driver: Driver::Auto,
            offload: true,
            persist: false,
            owner: None,
            group: None,
        };
        let mut near = open(&spec(LinkKind::Tap, 2), 2).unwrap();
        let mut far = open(&spec(LinkKind::Packet, 2), 2).unwrap();
        let mut pool = Pool::new(256);
        until("up at first", || all_up(&mut near) && all_up(&mut far));
        crosses(&mut near, &mut far, &mut pool, 0);
        let fds = descriptors();
        for round in 0..rounds() {
            let index = n.link_index("tap0").unwrap();
            n.link_del(index).unwrap();
            until("gone", || near.iter_mut().all(|p| p.check() == Status::Gone));
            until("back", || all_up(&mut near) && all_up(&mut far));
            crosses(&mut near, &mut far, &mut pool, round);
            crosses(&mut far, &mut near, &mut pool, round);
            assert_eq!(descriptors(), fds, "round {round}");
        }
        drop((near, far));
        assert!(n.link("tap0").unwrap_err().is_missing());
    });
}
