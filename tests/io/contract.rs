//! The contract of `Port`, held by every backend: the same test, run over each.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use sekisho::base::Column;
use sekisho::io::memory::{self, Config};
use sekisho::io::netlink::{Netlink, Veth};
use sekisho::io::pcap::Capture;
use sekisho::io::{DeviceSpec, Port, Sent, Status, open};
use sekisho::link::{Driver, LinkKind};
use sekisho::packet::{Caps, HEADROOM, Packet, Pool, Steering};

use crate::netns::Netns;
use crate::tun_tap::with_tun;

/// Two ports that hear each other, and the administrator of the interface of the first.
pub(crate) struct Rig<'a> {
    near: Box<dyn Port>,
    far: Box<dyn Port>,
    set: Box<dyn FnMut(Status) + 'a>,
}

pub(crate) fn spec(kind: LinkKind, device: &str) -> DeviceSpec {
    DeviceSpec {
        kind,
        name: device.into(),
        device: device.into(),
        mac: None,
        mtu: 1500,
        queues: 1,
        steering: Steering::default(),
        offload: true,
        driver: Driver::Auto,
        persist: false,
        owner: None,
        group: None,
    }
}

/// Makes a veth pair of these names with so many queues, both ends up; gives their indices.
pub(crate) fn near_and_far(n: &mut Netlink, queues: u32) -> [u32; 2] {
    n.link_add_veth_with(&Veth { name: "near", peer: "far", peer_netns: None, queues }).unwrap();
    ["near", "far"].map(|name| {
        let index = n.link_index(name).unwrap();
        n.set_up(index).unwrap();
        index
    })
}

pub(crate) fn open_one(spec: &DeviceSpec) -> Box<dyn Port> {
    let mut ports = open(spec, 1).unwrap();
    assert_eq!(ports.len(), 1);
    ports.remove(0)
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A frame of an experimental protocol (IEEE 802 local experimental ethertype 1) with a number in it.
pub(crate) fn frame(number: u32, len: usize) -> Packet {
    let mut bytes = vec![0x5a; len];
    bytes[..6].fill(0xff);
    bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
    bytes[14..18].copy_from_slice(&number.to_be_bytes());
    Packet::from_slice(&bytes)
}

fn is_ours(packet: &Packet) -> bool {
    packet.data().get(12..14) == Some(&[0x88, 0xb5])
}

fn number(packet: &Packet) -> u32 {
    u32::from_be_bytes(*packet.data()[14..].first_chunk().unwrap())
}

/// Receives until there are `count` frames of ours.
pub(crate) fn receive(port: &mut dyn Port, pool: &mut Pool, count: usize) -> Vec<Packet> {
    let (mut all, mut out) = (Vec::new(), Vec::new());
    until(&format!("{count} frames"), || {
        port.receive(pool, &mut out, 64);
        all.extend(out.drain(..).filter(is_ours));
        all.len() >= count
    });
    all
}

fn send(port: &mut dyn Port, pool: &mut Pool, frames: impl IntoIterator<Item = Packet>) -> Sent {
    let (mut queue, mut sent): (VecDeque<_>, _) = (frames.into_iter().collect(), Sent::default());
    until("the device takes all", || {
        port.transmit(pool, &mut queue, &mut sent);
        queue.is_empty()
    });
    sent
}

/// The test of the contract.
pub(crate) fn holds(mut rig: Rig<'_>) {
    let mut pool = Pool::new(256);
    let Rig { near, far, set } = &mut rig;
    until("both ends are up", || near.check() == Status::Up && far.check() == Status::Up);
    // What the kernel said before its stack was cut off.
    for port in [&mut *near, &mut *far] {
        while port.receive(&mut pool, &mut Vec::new(), 64) > 0 {}
    }
    batches(near.as_mut(), far.as_mut(), &mut pool);
    batches(far.as_mut(), near.as_mut(), &mut pool);
    refusals(near.as_mut(), far.as_mut(), &mut pool);
    wakes(near.as_mut(), far.as_mut(), &mut pool);
    comes_up_again(near.as_mut(), far.as_mut(), set, &mut pool);
    for _ in 0..3 {
        comes_back(near.as_mut(), far.as_mut(), set, &mut pool);
    }
    batches(far.as_mut(), near.as_mut(), &mut pool);
    batches(near.as_mut(), far.as_mut(), &mut pool);
}

fn batches(from: &mut dyn Port, to: &mut dyn Port, pool: &mut Pool) {
    let lengths = [60, 61, 700, 1514, 1514, 60, 1500];
    let made = |n: u32| frame(n, lengths[n as usize % lengths.len()]);
    let mut frames: Vec<_> = (0..200).map(made).collect();
    frames[7].meta.column = Column::Originated;
    let sent = send(from, pool, frames);
    let bytes: usize = (0..200).map(|n| lengths[n % lengths.len()]).sum();
    assert_eq!((sent.packets, sent.received, sent.refused), (200, 199, [0, 0]));
    assert_eq!(sent.bytes, bytes as u64);

    // No more than asked for at a time.
    let mut out = Vec::new();
    until("the first frames", || {
        let before = out.len();
        let count = to.receive(pool, &mut out, 5);
        assert!(count <= 5 && out.len() == before + count);
        out.retain(is_ours);
        out.len() >= 5
    });
    let missing = 200 - out.len();
    out.extend(receive(to, pool, missing));
    assert_eq!(out.len(), 200);
    for (n, packet) in out.iter().enumerate() {
        assert_eq!(packet.data(), made(n as u32).data(), "frame {n}");
        assert!(packet.headroom() >= HEADROOM);
        assert_eq!((packet.meta.l3, packet.meta.offload), (0, Default::default()));
    }
    let count = out.len();
    to.receive(pool, &mut out, 64);
    assert!(!out[count..].iter().any(is_ours), "each frame arrives once");
    out.into_iter().for_each(|p| pool.put(p));
}

fn refusals(from: &mut dyn Port, to: &mut dyn Port, pool: &mut Pool) {
    let mut too_long = frame(1, 1600);
    too_long.meta.column = Column::Originated;
    let sent = send(from, pool, [frame(0, 60), too_long, frame(2, 60), frame(3, 9000), frame(4, 60)]);
    assert_eq!((sent.packets, sent.refused), (3, [1, 1]));
    let got: Vec<_> = receive(to, pool, 3).iter().map(number).collect();
    assert_eq!(got, [0, 2, 4]);
}

fn wakes(near: &mut dyn Port, far: &mut dyn Port, pool: &mut Pool) {
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
    let fd = near.fd().expect("a port that is up has a descriptor");
    poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).unwrap();
    for n in 0..3 {
        let mut out = Vec::new();
        while near.receive(pool, &mut out, 64) > 0 {}
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        send(far, pool, [frame(n, 60)]);
        let mut got = Vec::new();
        until("an event and the frame", || {
            poll.poll(&mut events, Some(Duration::from_millis(100))).unwrap();
            if !events.is_empty() {
                near.receive(pool, &mut got, 64);
            }
            got.iter().any(is_ours)
        });
    }
    poll.registry().deregister(&mut SourceFd(&fd)).unwrap();
}

fn comes_up_again(near: &mut dyn Port, far: &mut dyn Port, set: &mut dyn FnMut(Status), pool: &mut Pool) {
    let epoch = near.epoch();
    for n in 0..3 {
        set(Status::Down);
        until("the port sees that it is down", || near.check() == Status::Down);
        let mut queue = VecDeque::from([frame(n, 60), frame(n, 60)]);
        let mut sent = Sent::default();
        near.transmit(pool, &mut queue, &mut sent);
        assert_eq!((queue.len(), sent.packets, sent.refused), (2, 0, [0; 2]), "down: all stays in the queue");
        assert_eq!(near.receive(pool, &mut Vec::new(), 64), 0);
        set(Status::Up);
        until("the port sees that it is up", || near.check() == Status::Up && far.check() == Status::Up);
        until("the queue goes on", || {
            near.transmit(pool, &mut queue, &mut sent);
            queue.is_empty()
        });
        assert_eq!(receive(far, pool, 2).len(), 2);
        send(far, pool, [frame(9, 60)]);
        assert_eq!(receive(near, pool, 1).len(), 1);
    }
    assert_eq!(near.epoch(), epoch, "the descriptor is the same");
}

fn comes_back(near: &mut dyn Port, far: &mut dyn Port, set: &mut dyn FnMut(Status), pool: &mut Pool) {
    let epoch = near.epoch();
    set(Status::Gone);
    until("the port sees that it is gone", || near.check() == Status::Gone);
    assert!(near.fd().is_none() && near.epoch() > epoch);
    let mut queue = VecDeque::from([frame(1, 60)]);
    let mut sent = Sent::default();
    near.transmit(pool, &mut queue, &mut sent);
    assert_eq!((queue.len(), sent.packets, sent.refused), (1, 0, [0; 2]), "gone: all stays in the queue");
    assert_eq!(near.receive(pool, &mut Vec::new(), 64), 0);
    let epoch = near.epoch();
    set(Status::Up);
    until("the port takes it up again", || near.check() == Status::Up);
    assert!(near.fd().is_some() && near.epoch() > epoch);
    until("the far end is back", || far.check() == Status::Up);
    until("the queue goes on", || {
        near.transmit(pool, &mut queue, &mut sent);
        queue.is_empty()
    });
    assert_eq!(receive(far, pool, 1).len(), 1);
    send(far, pool, [frame(2, 60)]);
    assert_eq!(receive(near, pool, 1).len(), 1);
}

#[test]
fn memory_holds_the_contract() {
    let (near, far, switch) = memory::pair(Config::default());
    holds(Rig { near: Box::new(near), far: Box::new(far), set: Box::new(move |s| switch.set(s)) });
}

#[test]
fn a_capture_around_it_holds_the_contract() {
    let capture = Capture::new(std::io::sink(), 65_535).unwrap();
    let (near, far, switch) = memory::pair(Config::default());
    let near = Box::new(capture.port(near, "near"));
    holds(Rig { near, far: Box::new(far), set: Box::new(move |s| switch.set(s)) });
}

#[test]
fn packet_holds_the_contract() {
    packet(Driver::Auto, true);
}

#[test]
fn packet_without_offloads_holds_the_contract() {
    packet(Driver::Auto, false);
}

#[test]
fn packet_without_rings_holds_the_contract() {
    packet(Driver::Socket, true);
}

#[test]
fn xdp_holds_the_contract() {
    packet(Driver::Xdp, true);
}

#[test]
fn xdp_without_offloads_holds_the_contract() {
    packet(Driver::Xdp, false);
}

/// The link's driver is the one asked for; or a line says that it can't be had here.
pub(crate) fn has(driver: Driver, port: &dyn Port) -> bool {
    let in_use = port.driver().expect("a packet link has a driver");
    let wanted = if driver == Driver::Auto { Driver::Ring } else { driver };
    if in_use.driver != wanted {
        println!("skipped: {}", in_use.fallback.expect("a reason"));
    }
    in_use.driver == wanted
}

fn packet(driver: Driver, offload: bool) {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let mut admin = Netlink::open().unwrap();
        let mut make = || {
            near_and_far(&mut admin, 1);
        };
        make();
        let near = open_one(&DeviceSpec { offload, driver, ..spec(LinkKind::Packet, "near") });
        if !has(driver, near.as_ref()) {
            return;
        }
        let far = match driver {
            // What one end gets wrong in a way of its own, the same at the other end might hide.
            Driver::Xdp => Driver::Auto,
            other => other,
        };
        let far = open_one(&DeviceSpec { driver: far, ..spec(LinkKind::Packet, "far") });
        let mut asked = Netlink::open().unwrap();
        let set = Box::new(move |status| {
            let near = asked.link("near").ok().map(|l| l.index);
            match (status, near) {
                (Status::Up, None) => make(),
                (Status::Up, Some(index)) => asked.set_up(index).unwrap(),
                (Status::Down, Some(index)) => asked.set_down(index).unwrap(),
                (Status::Gone, Some(index)) => asked.link_del(index).unwrap(),
                (Status::NoCarrier, _) => unreachable!("the test pulls no cable"),
                (_, None) => unreachable!("the test deletes what is there"),
            }
        });
        holds(Rig { near, far, set });
    });
}

/// The MTU lowered by somebody else, and put back.
#[test]
fn frames_beyond_an_interface_that_takes_less_now_are_refused() {
    for driver in [Driver::Ring, Driver::Socket, Driver::Xdp] {
        let Some(here) = Netns::new() else { return };
        here.run(|| {
            let mut n = Netlink::open().unwrap();
            let [index, far] = near_and_far(&mut n, 1);
            let mut port = open_one(&DeviceSpec { driver, ..spec(LinkKind::Packet, "near") });
            if driver == Driver::Xdp && !has(driver, port.as_ref()) {
                return;
            }
            let mut pool = Pool::new(256);
            for (mtu, refused) in [(1500, 0), (1000, 1), (1500, 0)] {
                // Both ends: what the far one would not take, its device drops.
                [index, far].into_iter().for_each(|i| n.set_mtu(i, mtu).unwrap());
                until("up", || port.check() == Status::Up);
                let sent = send(port.as_mut(), &mut pool, [frame(1, 1_014), frame(2, 1_200), frame(3, 60)]);
                assert_eq!((sent.packets, sent.refused), (3 - refused, [refused, 0]), "{driver:?}, {mtu}");
            }
        });
    }
}

#[test]
fn tap_holds_the_contract() {
    tap(true, 1);
}

#[test]
fn tap_without_offloads_holds_the_contract() {
    tap(false, 1);
}

#[test]
fn a_tap_of_several_queues_holds_the_contract() {
    tap(true, 3);
}

#[test]
fn a_tap_of_several_queues_without_offloads_holds_the_contract() {
    tap(false, 3);
}

fn tap(offload: bool, queues: usize) {
    let Some(here) = with_tun() else { return };
    here.run(|| {
        let wanted = DeviceSpec { offload, queues, ..spec(LinkKind::Tap, "tap0") };
        let near: Box<dyn Port> = match queues {
            1 => open_one(&wanted),
            _ => Box::new(Together::new(open(&wanted, queues).unwrap())),
        };
        let far = open_one(&spec(LinkKind::Packet, "tap0"));
        let mut admin = Netlink::open().unwrap();
        let set = Box::new(move |status| match (status, admin.link("tap0").map(|l| l.index)) {
            (Status::Up, Err(_)) => {} // the port makes it anew by itself
            (Status::Up, Ok(index)) => admin.set_up(index).unwrap(),
            (Status::Down, Ok(index)) => admin.set_down(index).unwrap(),
            (Status::Gone, Ok(index)) => admin.link_del(index).unwrap(),
            (Status::NoCarrier, _) => unreachable!("the test pulls no cable"),
            (_, Err(e)) => panic!("the test deletes what is there: {e}"),
        });
        holds(Rig { near, far, set });
    });
}

/// All ports of a link as one: what holds for each holds for them together. Sends by each in turn.
struct Together {
    ports: Vec<Box<dyn Port>>,
    poll: Poll,
    events: Events,
    registered: Vec<Option<(RawFd, u32)>>,
    epoch: u32,
    turn: usize,
}

impl Together {
    fn new(ports: Vec<Box<dyn Port>>) -> Self {
        let registered = ports.iter().map(|_| None).collect();
        let (poll, events) = (Poll::new().unwrap(), Events::with_capacity(16));
        let mut t = Together { ports, poll, events, registered, epoch: 0, turn: 0 };
        t.register();
        t.epoch = 0;
        t
    }

    fn register(&mut self) {
        for (port, registered) in self.ports.iter().zip(&mut self.registered) {
            let wanted = port.fd().map(|fd| (fd, port.epoch()));
            if *registered != wanted {
                self.epoch += 1;
                *registered = wanted;
                if let Some((fd, _)) = wanted {
                    self.poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).unwrap();
                }
            }
        }
    }
}

impl Port for Together {
    fn caps(&self) -> Caps {
        self.ports[0].caps()
    }

    fn receive(&mut self, pool: &mut Pool, out: &mut Vec<Packet>, max: usize) -> usize {
        self.poll.poll(&mut self.events, Some(Duration::ZERO)).unwrap();
        let mut count = 0;
        for port in &mut self.ports {
            count += port.receive(pool, out, max - count);
        }
        count
    }

    fn transmit(&mut self, pool: &mut Pool, queue: &mut VecDeque<Packet>, sent: &mut Sent) {
        self.turn += 1;
        let turn = self.turn % self.ports.len();
        self.ports[turn].transmit(pool, queue, sent);
    }

    fn check(&mut self) -> Status {
        let found: Vec<_> = self.ports.iter_mut().map(|p| p.check()).collect();
        self.register();
        let differs = found.iter().find(|s| **s != found[0]);
        *differs.filter(|s| **s != Status::Up).unwrap_or(&found[0])
    }

    fn fd(&self) -> Option<RawFd> {
        self.ports.iter().any(|p| p.fd().is_some()).then(|| self.poll.as_raw_fd())
    }

    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn overruns(&mut self) -> u64 {
        self.ports.iter_mut().map(|p| p.overruns()).sum()
    }
}
