//! Packet links: what the kernel is kept from, super-frames, tags, several queues.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use sekisho::base::Mac;
use sekisho::io::netlink::{Hook, Netlink};
use sekisho::io::{DeviceSpec, Port, Sent, Status, open};
use sekisho::link::LinkKind;
use sekisho::packet::{Csum, Packet, Pool, Steering};

use crate::contract::{frame, near_and_far, open_one, receive, spec, until};
use crate::netns::Netns;
use crate::tun_tap::parsed;

/// Makes a veth pair across two namespaces, with addresses, both ends up.
fn veth(here: &Netns, name: &str, address: &str, there: &Netns, peer: &str, peer_address: &str) {
    here.run(|| Netlink::open().unwrap().link_add_veth(name, peer, Some(there.fd())).unwrap());
    for (netns, name, address) in [(here, name, address), (there, peer, peer_address)] {
        netns.run(|| {
            let mut n = Netlink::open().unwrap();
            let index = n.link_index(name).unwrap();
            if !address.is_empty() {
                n.addr_add(index, address.parse().unwrap()).unwrap();
            }
            n.set_up(index).unwrap();
        });
    }
}

/// Sends all, waiting while the device is full.
fn send_all(port: &mut dyn Port, pool: &mut Pool, queue: &mut VecDeque<Packet>) {
    let mut sent = Sent::default();
    until("the device takes all", || {
        port.transmit(pool, queue, &mut sent);
        queue.is_empty()
    });
    assert_eq!(sent.refused, [0, 0]);
}

/// What a wire made of two ports saw.
#[derive(Default)]
struct Seen {
    super_frames: u64,
    partial: u64,
    longest: usize,
}

/// Carries frames between two ports until told to stop: a wire through user space.
fn wire(a: &mut Box<dyn Port>, b: &mut Box<dyn Port>, stop: &AtomicBool) -> Seen {
    let (mut pool, mut seen) = (Pool::new(512), Seen::default());
    let (mut out, mut queue, mut sent) = (Vec::new(), VecDeque::new(), Sent::default());
    while !stop.load(Relaxed) {
        let mut idle = true;
        for flip in [false, true] {
            let (from, to) = if flip { (&mut *b, &mut *a) } else { (&mut *a, &mut *b) };
            from.receive(&mut pool, &mut out, 64);
            for packet in out.drain(..) {
                idle = false;
                seen.super_frames += u64::from(packet.meta.offload.gso.is_some());
                seen.partial += u64::from(matches!(packet.meta.offload.csum, Csum::Partial { .. }));
                seen.longest = seen.longest.max(packet.len());
                queue.push_back(parsed(packet));
            }
            to.transmit(&mut pool, &mut queue, &mut sent);
            queue.drain(..).for_each(|p| pool.put(p));
        }
        if idle {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    assert_eq!(sent.refused, [0, 0]);
    seen
}

/// Moves bytes through TCP and checks each.
pub(crate) fn transfer(client: &Netns, server: &Netns, at: &str, bytes: usize) {
    let listener = server.run(|| TcpListener::bind(at).unwrap());
    let pattern = |at: usize| (at % 251) as u8 ^ (at >> 12) as u8;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = client.run(|| {
                let address = at.parse().unwrap();
                TcpStream::connect_timeout(&address, Duration::from_secs(60)).unwrap()
            });
            let chunk: Vec<u8> = (0..bytes).map(pattern).collect();
            stream.write_all(&chunk).unwrap();
        });
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let (mut got, mut buffer) = (0, vec![0; 1 << 16]);
        loop {
            let n = stream.read(&mut buffer).unwrap();
            if n == 0 {
                break;
            }
            let intact = buffer[..n].iter().enumerate().all(|(i, b)| *b == pattern(got + i));
            assert!(intact, "bytes {got}..{} are damaged", got + n);
            got += n;
        }
        assert_eq!(got, bytes);
    });
}

#[test]
fn tcp_crosses_as_super_frames() {
    let Some((client, router, server)) = three() else { return };
    for family in ["10.5.0.2:5001", "[fd05::2]:5001"] {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let seen = scope.spawn(|| {
                router.run(|| {
                    let (mut a, mut b) =
                        (open_one(&spec(LinkKind::Packet, "a")), open_one(&spec(LinkKind::Packet, "b")));
                    wire(&mut a, &mut b, &stop)
                })
            });
            transfer(&client, &server, family, 32 << 20);
            stop.store(true, Relaxed);
            let seen = seen.join().unwrap();
            assert!(seen.super_frames > 100 && seen.partial > 100, "{}", seen.super_frames);
            assert!(seen.longest > 30_000, "{}", seen.longest);
        });
    }
}

/// client -c--a- router -b--s- server, the outer two on one subnet.
fn three() -> Option<(Netns, Netns, Netns)> {
    let (client, router, server) = (Netns::new()?, Netns::new()?, Netns::new()?);
    veth(&router, "a", "", &client, "c", "10.5.0.1/24");
    veth(&router, "b", "", &server, "s", "10.5.0.2/24");
    for (netns, name, address) in [(&client, "c", "fd05::1/64"), (&server, "s", "fd05::2/64")] {
        netns.run(|| {
            let mut n = Netlink::open().unwrap();
            let index = n.link_index(name).unwrap();
            n.addr_add(index, address.parse().unwrap()).unwrap();
        });
    }
    Some((client, router, server))
}

#[test]
fn a_tag_that_the_kernel_took_off_comes_back() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        near_and_far(&mut n, 1);
        let (mut near, mut far) =
            (open_one(&spec(LinkKind::Packet, "near")), open_one(&spec(LinkKind::Packet, "far")));
        let mut pool = Pool::new(8);
        for protocol in [[0x81, 0x00], [0x88, 0xa8]] {
            let mut tagged = frame(7, 60).data().to_vec();
            tagged.splice(12..12, [protocol[0], protocol[1], 0x60, 0x64]);
            let packet = Packet::from_slice(&tagged);
            send_all(far.as_mut(), &mut pool, &mut VecDeque::from([packet]));
            let mut out = Vec::new();
            until("the tagged frame", || {
                near.receive(&mut pool, &mut out, 64);
                out.iter().any(|p| p.data() == tagged)
            });
        }
    });
}

/// How often the far kernel hears `near`'s kernel answer a ping or forward a datagram.
struct Silence {
    near: Netns,
    far: Netns,
}

impl Silence {
    fn new() -> Option<Self> {
        let (near, far) = (Netns::new()?, Netns::new()?);
        veth(&near, "near", "10.6.0.1/24", &far, "far", "10.6.0.2/24");
        near.run(|| {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            let mut n = Netlink::open().unwrap();
            let near = n.link_index("near").unwrap();
            n.neigh_add(near, "10.6.0.2".parse().unwrap(), Mac([2, 0, 0, 0, 0, 2])).unwrap();
            n.route_add("10.99.0.0/16".parse().unwrap(), Some("10.6.0.2".parse().unwrap()), None).unwrap();
        });
        let mac = near.run(|| Netlink::open().unwrap().link("near").unwrap().mac.unwrap());
        far.run(|| {
            let mut n = Netlink::open().unwrap();
            let index = n.link_index("far").unwrap();
            n.set_mac(index, Mac([2, 0, 0, 0, 0, 2])).unwrap();
            n.neigh_add(index, "10.6.0.1".parse().unwrap(), mac).unwrap();
        });
        Some(Silence { near, far })
    }

    /// Whether the kernel in `near` answers within this time: a closed UDP port is refused by ICMP.
    fn answers(&self, within: Duration) -> bool {
        self.far.run(|| {
            let socket = UdpSocket::bind("10.6.0.2:0").unwrap();
            socket.connect("10.6.0.1:9").unwrap();
            socket.set_read_timeout(Some(within)).unwrap();
            socket.send(b"hello").unwrap();
            let error = socket.recv(&mut [0; 16]).unwrap_err();
            error.kind() == std::io::ErrorKind::ConnectionRefused
        })
    }

    /// Whether the kernel in `near` forwards: a datagram to 10.99.0.1 comes back with a TTL one lower.
    fn forwards(&self, within: Duration) -> bool {
        self.far.run(|| {
            let mut tap = open_far();
            let mut pool = Pool::new(8);
            let near = self.near.run(|| Netlink::open().unwrap().link("near").unwrap().mac.unwrap());
            let mut bytes = vec![0; 14 + 28];
            bytes[..6].copy_from_slice(&near.0);
            bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
            bytes[12..14].copy_from_slice(&[8, 0]);
            bytes[14..34]
                .copy_from_slice(&[0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 6, 0, 2, 10, 99, 0, 1]);
            let sum: u32 = bytes[14..34].chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(c[1])).sum();
            let sum = !((sum >> 16) + (sum & 0xffff)) as u16;
            bytes[24..26].copy_from_slice(&sum.to_be_bytes());
            bytes[34..42].copy_from_slice(&[0, 7, 0, 7, 0, 8, 0, 0]);
            let packet = Packet::from_slice(&bytes);
            send_all(tap.as_mut(), &mut pool, &mut VecDeque::from([packet]));
            let (mut out, mut heard) = (Vec::new(), false);
            let deadline = std::time::Instant::now() + within;
            while !heard && std::time::Instant::now() < deadline {
                tap.receive(&mut pool, &mut out, 64);
                heard = out.iter().any(|p| p.data().len() >= 34 && p.data()[30..34] == [10, 99, 0, 1]);
            }
            heard
        })
    }
}

fn open_far() -> Box<dyn Port> {
    open_one(&spec(LinkKind::Packet, "far"))
}

#[test]
fn the_kernel_neither_answers_nor_forwards_while_the_link_is_open() {
    let Some(net) = Silence::new() else { return };
    // What must come is waited for, what must not come for a moment.
    let (patience, moment) = (Duration::from_secs(30), Duration::from_millis(200));
    let both = || net.answers(patience) && net.forwards(patience);
    assert!(both(), "without the link the kernel does both");
    let mut port = net.near.run(|| open_one(&spec(LinkKind::Packet, "near")));
    let mut pool = Pool::new(8);
    let mut out = Vec::new();
    while port.receive(&mut pool, &mut out, 64) > 0 {}
    out.clear();

    let either = net.answers(moment) || net.forwards(moment);
    assert!(!either, "with the device's own MAC and ip_forward=1");
    // The datagram that asked, and the one to be forwarded: each once.
    let to = |out: &[Packet], address: [u8; 4]| {
        out.iter().filter(|p| p.data().get(30..34) == Some(&address)).count()
    };
    let mut seen = (0, 0);
    until("both have come", || {
        port.receive(&mut pool, &mut out, 64);
        seen = (to(&out, [10, 6, 0, 1]), to(&out, [10, 99, 0, 1]));
        seen.0 > 0 && seen.1 > 0
    });
    assert_eq!(seen, (1, 1));

    drop(port);
    assert!(both(), "everything is given back");
}

#[test]
fn the_kernel_has_nothing_to_say_when_the_interface_comes_up() {
    let (Some(near), Some(far)) = (Netns::new(), Netns::new()) else { return };
    veth(&near, "near", "10.6.0.1/24", &far, "far", "");
    let mut ear = far.run(open_far);
    let mut pool = Pool::new(64);
    let flap = |ear: &mut dyn Port, pool: &mut Pool, wait: Duration| {
        near.run(|| {
            let mut n = Netlink::open().unwrap();
            let index = n.link_index("near").unwrap();
            n.set_down(index).unwrap();
            n.set_up(index).unwrap();
        });
        // Multicast listener reports, duplicate address detection and router solicitations go out
        // within the first second or so.
        let deadline = std::time::Instant::now() + wait;
        let mut out = Vec::new();
        while std::time::Instant::now() < deadline && out.is_empty() {
            ear.receive(pool, &mut out, 64);
            std::thread::sleep(Duration::from_millis(5));
        }
        out.len()
    };
    assert!(flap(ear.as_mut(), &mut pool, Duration::from_secs(60)) > 0, "the kernel chatters");
    let mut port = near.run(|| open_one(&spec(LinkKind::Packet, "near")));
    until("both are up", || port.check() == Status::Up && ear.check() == Status::Up);
    // Behind what the kernel had said before.
    send_all(port.as_mut(), &mut pool, &mut VecDeque::from([frame(1, 60)]));
    receive(ear.as_mut(), &mut pool, 1);
    while ear.receive(&mut pool, &mut Vec::new(), 64) > 0 {}
    assert_eq!(flap(ear.as_mut(), &mut pool, Duration::from_secs(2)), 0);
    drop(port);
}

/// Filters on an interface: kind, priority and handle of all but heads.
fn filters(n: &mut Netlink, index: u32) -> Vec<(Hook, String, u16, u32)> {
    let mut all = Vec::new();
    for hook in Hook::BOTH {
        let found = n.tc_filters(index, hook).unwrap().into_iter().filter(|f| f.handle != 0);
        all.extend(found.map(|f| (hook, f.kind, f.priority, f.handle)));
    }
    all
}

#[test]
fn what_was_on_the_interface_before_is_there_afterwards() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        n.link_add_veth("near", "far", None).unwrap();
        let index = n.link_index("near").unwrap();

        // Nothing before, nothing after.
        let port = open_one(&spec(LinkKind::Packet, "near"));
        let ours = filters(&mut n, index);
        assert_eq!(ours.len(), 2, "one on each way: {ours:?}");
        drop(port);
        assert!(!n.tc_has_clsact(index).unwrap());

        // A killed router's filters are taken over, and go with their qdisc.
        n.tc_clsact_add(index).unwrap();
        for (hook, _, priority, handle) in &ours {
            n.tc_drop_all_bpf(index, *hook, *priority, *handle).unwrap();
        }
        let port = open_one(&spec(LinkKind::Packet, "near"));
        assert_eq!(filters(&mut n, index), ours);
        drop(port);
        assert!(!n.tc_has_clsact(index).unwrap());

        // Somebody else's stay.
        n.tc_clsact_add(index).unwrap();
        n.tc_drop_all_bpf(index, Hook::Egress, 77, 5).unwrap();
        let port = open_one(&spec(LinkKind::Packet, "near"));
        assert_eq!(filters(&mut n, index).len(), 3);
        drop(port);
        assert_eq!(filters(&mut n, index), [(Hook::Egress, "bpf".into(), 77, 5)]);

        // An empty qdisc too.
        n.tc_filter_del(index, Hook::Egress, "bpf", 77, 5).unwrap();
        drop(open_one(&spec(LinkKind::Packet, "near")));
        assert!(n.tc_has_clsact(index).unwrap());
    });
}

#[test]
fn one_router_to_an_interface() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        Netlink::open().unwrap().link_add_veth("near", "far", None).unwrap();
        let port = open_one(&spec(LinkKind::Packet, "near"));
        let e = open(&spec(LinkKind::Packet, "near"), 1).map(|_| ()).unwrap_err();
        assert!(e.to_string().contains("another sekisho uses the interface 'near'"), "{e}");
        // One that is about to end is waited for.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                drop(port);
            });
            // For a second, and on a machine that does something else longer than that.
            let mut taken = None;
            until("the interface is given up", || {
                taken = open(&spec(LinkKind::Packet, "near"), 1).ok();
                taken.is_some()
            });
        });
    });
}

#[test]
fn a_router_mac_of_its_own_is_asked_for_and_forgotten() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        n.link_add_veth("near", "far", None).unwrap();
        let index = n.link_index("near").unwrap();
        n.set_up(index).unwrap();
        let asked = |n: &mut Netlink| {
            let link = n.link_at(index).unwrap();
            (link.promiscuous, link.all_multicast)
        };
        let before = asked(&mut n);
        let mac = Mac([2, 0, 0, 0, 9, 9]);
        let mut port = open_one(&DeviceSpec { mac: Some(mac), ..spec(LinkKind::Packet, "near") });
        assert!(asked(&mut n).1 > before.1);
        // A veth has no list of addresses, so that the kernel has it hear everything; others do not.
        let mut far = open_one(&spec(LinkKind::Packet, "far"));
        let far_index = n.link_index("far").unwrap();
        n.set_up(far_index).unwrap();
        until("both are up", || port.check() == Status::Up && far.check() == Status::Up);
        let mut pool = Pool::new(8);
        let mut to_router = frame(3, 60);
        to_router.data_mut()[..6].copy_from_slice(&mac.0);
        send_all(far.as_mut(), &mut pool, &mut VecDeque::from([to_router]));
        receive(port.as_mut(), &mut pool, 1);
        drop(port);
        assert_eq!(asked(&mut n), before);
    });
}

#[test]
fn a_cable_that_is_out_is_told_from_a_device_that_was_set_down() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        n.link_add_veth("near", "far", None).unwrap();
        let (near, far) = (n.link_index("near").unwrap(), n.link_index("far").unwrap());
        let mut port = open_one(&spec(LinkKind::Packet, "near"));
        let mut becomes = |status| until(&format!("{status:?}"), || port.check() == status);
        becomes(Status::Down);
        n.set_up(near).unwrap();
        becomes(Status::NoCarrier);
        n.set_up(far).unwrap();
        becomes(Status::Up);
        n.set_down(far).unwrap();
        becomes(Status::NoCarrier);
        n.set_down(near).unwrap();
        becomes(Status::Down);
        n.link_del(near).unwrap();
        becomes(Status::Gone);
    });
}

#[test]
fn queues_share_flows_and_agree_between_links() {
    const FLOWS: u16 = 64;
    const ROUNDS: u16 = 20;
    const STEERING: Steering = Steering { key: 5, workers: 3, addresses: [false; 2] };
    let two = |name| DeviceSpec { queues: 2, steering: STEERING, ..spec(LinkKind::Packet, name) };
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        for (a, b) in [("lan", "lan-far"), ("wan", "wan-far")] {
            n.link_add_veth(a, b, None).unwrap();
            for name in [a, b] {
                let index = n.link_index(name).unwrap();
                n.set_up(index).unwrap();
            }
        }
        let mut pool = Pool::new(256);
        let mut at: [HashMap<u16, usize>; 2] = Default::default();
        for (link, name) in ["lan", "wan"].into_iter().enumerate() {
            let mut ports = open(&two(name), 3).unwrap();
            assert_eq!(ports.len(), 3);
            assert!(ports[2].fd().is_none() && ports[0].fd().is_some() && ports[1].fd().is_some());
            let mut far = open_one(&spec(LinkKind::Packet, &format!("{name}-far")));
            let mut counts = [0; 3];
            let mut last: HashMap<u16, u16> = HashMap::new();
            for round in 0..ROUNDS {
                if round == ROUNDS / 2 {
                    let index = n.link_index(name).unwrap();
                    n.set_down(index).unwrap();
                    until("down", || ports.iter_mut().all(|p| p.check() == Status::Down));
                    n.set_up(index).unwrap();
                    until("up", || ports.iter_mut().all(|p| p.check() == Status::Up));
                    until("the far end too", || far.check() == Status::Up);
                }
                // Out on one link, back on the other.
                let mut queue: VecDeque<_> = (0..FLOWS).map(|f| datagram(f, round, link == 1)).collect();
                send_all(far.as_mut(), &mut pool, &mut queue);
                let mut got = 0;
                until("all datagrams", || {
                    for (worker, port) in ports.iter_mut().enumerate() {
                        let mut out = Vec::new();
                        port.receive(&mut pool, &mut out, 64);
                        for p in out.iter().filter(|p| p.data().get(12..14) == Some(&[8, 0])) {
                            let port_at = if link == 1 { 36 } else { 34 };
                            let word = |at: usize| u16::from_be_bytes([p.data()[at], p.data()[at + 1]]);
                            let (flow, number) = (word(port_at) - 1000, word(42));
                            assert_eq!(*at[link].entry(flow).or_insert(worker), worker, "flow {flow} moved");
                            let steered = STEERING.worker_of_frame(p.data(), true) % 2;
                            assert_eq!(steered, worker, "the kernel's program agrees with ours");
                            let before = last.insert(flow, number);
                            assert_eq!(before.map_or(0, |b| b + 1), number, "flow {flow} out of order");
                            counts[worker] += 1;
                            got += 1;
                        }
                    }
                    got == FLOWS
                });
            }
            assert!(counts[0] > 0 && counts[1] > 0 && counts[2] == 0, "{counts:?}");
            // The one that only sends does send.
            send_all(ports[2].as_mut(), &mut pool, &mut VecDeque::from([frame(5, 60)]));
            receive(far.as_mut(), &mut pool, 1);
        }
        assert_eq!(at[0], at[1], "both directions of a flow meet on one worker");
    });
}

/// A UDP datagram of a flow, or of its way back, with a number in it.
fn datagram(flow: u16, number: u16, back: bool) -> Packet {
    let mut bytes = vec![0; 14 + 20 + 8 + 18];
    bytes[..6].fill(0xff);
    bytes[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0]);
    bytes[14..26].copy_from_slice(&[0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17, 0, 0]);
    let (client, server) = ([10, 1, 0, 9], [10, 2, 0, 9]);
    let (from, to) = if back { (server, client) } else { (client, server) };
    bytes[26..30].copy_from_slice(&from);
    bytes[30..34].copy_from_slice(&to);
    let (from, to) = if back { (53, 1000 + flow) } else { (1000 + flow, 53) };
    for (at, word) in [(34, from), (36, to), (38, 26), (42, number)] {
        bytes[at..at + 2].copy_from_slice(&u16::to_be_bytes(word));
    }
    let sum: u32 = bytes[14..34].chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(c[1])).sum();
    let sum = !((sum >> 16) + (sum & 0xffff)) as u16;
    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    Packet::from_slice(&bytes)
}

#[test]
fn udp_super_frames_cross_where_the_kernel_has_them() {
    let Some((client, router, server)) = three() else { return };
    let stop = AtomicBool::new(false);
    let listener = server.run(|| UdpSocket::bind("10.5.0.2:7000").unwrap());
    listener.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    router.run(|| {
        let (mut a, mut b) = (open_one(&spec(LinkKind::Packet, "a")), open_one(&spec(LinkKind::Packet, "b")));
        if !a.caps().uso {
            return println!("skipped: this kernel can't tell UDP super-frames to packet sockets");
        }
        std::thread::scope(|scope| {
            let carried = scope.spawn(|| wire(&mut a, &mut b, &stop));
            client.run(|| {
                let socket = UdpSocket::bind("10.5.0.1:0").unwrap();
                socket.connect("10.5.0.2:7000").unwrap();
                sekisho::io::sys::set_udp_segment(&socket, 1000).unwrap();
                socket.send(&vec![7; 10_000]).unwrap();
            });
            for _ in 0..10 {
                assert_eq!(listener.recv(&mut [0; 2000]).unwrap(), 1000);
            }
            stop.store(true, Relaxed);
            let seen = carried.join().unwrap();
            assert!(seen.super_frames >= 1 && seen.longest > 10_000);
        });
    });
}

#[test]
fn a_renamed_interface_is_let_go() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        n.link_add_veth("near", "far", None).unwrap();
        let index = n.link_index("near").unwrap();
        let mut port = open_one(&spec(LinkKind::Packet, "near"));
        n.set_name(index, "other").unwrap();
        assert_eq!(port.check(), Status::Gone);
        assert!(!n.tc_has_clsact(index).unwrap(), "the guard is taken down");
        n.set_name(index, "near").unwrap();
        n.set_up(index).unwrap();
        until("it is taken up again", || port.check() == Status::NoCarrier);
        assert!(n.tc_has_clsact(index).unwrap());
    });
}

#[test]
fn errors_say_what_to_do() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let say = |spec: DeviceSpec| open(&spec, 1).map(|_| ()).unwrap_err().to_string();
        let packet = |device: &str| spec(LinkKind::Packet, device);
        assert_eq!(
            say(packet("eth9")),
            "there is no interface 'eth9' here: make it first, or correct device = …"
        );
        assert!(say(packet("a-name-of-sixteen")).contains("1 to 15 characters"));
        assert!(say(packet("lo")).contains("not an Ethernet interface"));
        Netlink::open().unwrap().link_add_veth("near", "far", None).unwrap();
        let text = say(DeviceSpec { mtu: 9000, ..packet("near") });
        assert!(text.contains("mtu = 1500") && text.contains("ip link set near mtu 9000"), "{text}");
        assert!(say(spec(LinkKind::Loopback, "lo")).contains("no device"));
        // Nothing is left behind by any of them.
        let mut n = Netlink::open().unwrap();
        let near = n.link_index("near").unwrap();
        assert!(!n.tc_has_clsact(near).unwrap());
    });
}
