//! Tun and tap links: creation, take-over, removal, and traffic with the kernel at the other end.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use sekisho::base::Mac;
use sekisho::io::bpf::{Asm, Kind, Program};
use sekisho::io::netlink::Netlink;
use sekisho::io::{DeviceSpec, Port, Sent, Status, open};
use sekisho::link::LinkKind;
use sekisho::packet::{Csum, Packet, Pool, Steering};

use crate::contract::{open_one, spec, until};
use crate::netns::Netns;
use crate::packet::transfer;

/// A new namespace, if there may be one with tun devices in it.
pub(crate) fn with_tun() -> Option<Netns> {
    if let Err(e) = std::fs::File::options().read(true).write(true).open("/dev/net/tun") {
        println!("skipped: /dev/net/tun: {e}");
        return None;
    }
    Netns::new()
}

#[test]
fn devices_are_there_while_the_link_is_open_and_gone_afterwards() {
    let Some(here) = with_tun() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        for kind in [LinkKind::Tap, LinkKind::Tun] {
            for offload in [true, false] {
                let wanted = DeviceSpec { offload, mtu: 1400, ..spec(kind, "dev0") };
                let mut ports = open(&wanted, 3).unwrap();
                let link = n.link("dev0").unwrap();
                assert_eq!((link.mtu, link.up, link.ethernet), (1400, true, kind == LinkKind::Tap));
                assert_eq!(ports[0].caps().ethernet, kind == LinkKind::Tap);
                assert_eq!(ports[0].caps().tso4, offload);
                assert!(ports[0].fd().is_some() && ports[1].fd().is_none());
                until("it is up", || ports.iter_mut().all(|p| p.check() == Status::Up));
                drop(ports.remove(0));
                assert!(n.link("dev0").is_ok(), "other workers still have it");
                drop(ports);
                assert!(n.link("dev0").unwrap_err().is_missing());
            }
        }
    });
}

#[test]
fn a_smaller_mtu_refuses_nothing_until_nobody_has_longer_packets() {
    let Some(here) = with_tun() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        for kind in [LinkKind::Tap, LinkKind::Tun] {
            let mut port = open_one(&spec(kind, "dev0"));
            until("it is up", || port.check() == Status::Up);
            let header = if kind == LinkKind::Tap { 14 } else { 0 };
            // Packets of this length that it takes of one.
            let takes = |port: &mut dyn Port, len: usize| {
                let mut packet = vec![0; header + len];
                packet[header] = 0x45;
                let (mut queue, mut sent) = (VecDeque::from([Packet::from_slice(&packet)]), Sent::default());
                until("it takes or refuses it", || {
                    port.transmit(&mut Pool::new(1), &mut queue, &mut sent);
                    queue.is_empty()
                });
                sent.packets
            };
            assert_eq!([1500, 1501].map(|len| takes(&mut *port, len)), [1, 0]);
            port.set_mtu(1400).unwrap();
            port.check();
            assert_eq!(n.link("dev0").unwrap().mtu, 1400);
            assert_eq!([1500, 1501].map(|len| takes(&mut *port, len)), [1, 0], "they are on their way yet");
            port.shorten();
            assert_eq!([1400, 1401].map(|len| takes(&mut *port, len)), [1, 0]);
            port.set_mtu(1500).unwrap();
            assert_eq!([1500, 1501].map(|len| takes(&mut *port, len)), [1, 0]);
        }
    });
}

#[test]
fn a_persistent_device_stays_and_is_taken_over() {
    let Some(here) = with_tun() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        let stays =
            DeviceSpec { persist: true, owner: Some(0), group: Some(0), ..spec(LinkKind::Tap, "dev0") };
        drop(open_one(&stays));
        assert!(n.link("dev0").unwrap_err().is_missing(), "of a start that came to nothing, nothing stays");
        let mut port = open_one(&stays);
        port.check();
        drop(port);
        let index = n.link_index("dev0").unwrap();
        // With the mask of the first still on it, the plain device would be given super-frames.
        let plain = DeviceSpec { offload: false, ..spec(LinkKind::Tap, "dev0") };
        let port = open_one(&plain);
        assert_eq!(n.link_index("dev0").unwrap(), index, "the same device");
        let busy = open(&plain, 1).map(|_| ()).unwrap_err().to_string();
        assert!(busy.contains("in use by another process"), "{busy}");
        drop(port);
        let kind = open(&spec(LinkKind::Tun, "dev0"), 1).map(|_| ()).unwrap_err().to_string();
        assert!(kind.contains("no tun device"), "{kind}");
        drop(open_one(&stays));
        n.link_del(index).unwrap();

        n.link_add_veth("veth0", "veth1", None).unwrap();
        let kind = open(&spec(LinkKind::Tap, "veth0"), 1).map(|_| ()).unwrap_err().to_string();
        assert!(kind.contains("no tap device"), "{kind}");
    });
}

#[test]
fn a_device_has_a_queue_for_each_worker() {
    let Some(here) = with_tun() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        for kind in [LinkKind::Tap, LinkKind::Tun] {
            for offload in [true, false] {
                let wanted = DeviceSpec { offload, queues: 3, ..spec(kind, "dev0") };
                // Queues, workers, and how many of those receive.
                for (queues, workers, receivers) in [(3, 3, 3), (2, 3, 2), (3, 2, 2), (3, 1, 1)] {
                    let ports = open(&DeviceSpec { queues, ..wanted.clone() }, workers).unwrap();
                    assert_eq!(ports.len(), workers);
                    assert_eq!(ports.iter().filter(|p| p.fd().is_some()).count(), receivers);
                    let several = n.link("dev0").unwrap().tun_queues;
                    assert_eq!(several, (receivers > 1).then_some(receivers as u32));
                }
            }
        }
    });
}

#[test]
fn a_persistent_device_is_taken_with_the_queues_it_was_made_for() {
    let Some(here) = with_tun() else { return };
    here.run(|| {
        let stays = DeviceSpec { persist: true, ..spec(LinkKind::Tap, "dev0") };
        let mut n = Netlink::open().unwrap();
        for (made, offload) in [(1, true), (1, false), (2, true), (2, false)] {
            let mut ports = open(&DeviceSpec { queues: made, ..stays.clone() }, 2).unwrap();
            ports[1].check();
            drop(ports);
            for wanted in [1, 2, 3] {
                let spec = DeviceSpec { queues: wanted, offload, ..stays.clone() };
                let ports = open(&spec, 3).unwrap();
                let receive = ports.iter().filter(|p| p.fd().is_some()).count();
                assert_eq!(receive, if made == 1 { 1 } else { wanted }, "made for {made}");
                let busy = open(&spec, 1).map(|_| ()).unwrap_err().to_string();
                assert!(busy.contains("in use by another process"), "{busy}");
            }
            let index = n.link_index("dev0").unwrap();
            n.link_del(index).unwrap();
        }
    });
}

/// The kernel runs the steering function, and brings a frame to the worker that it names: of tap and tun, both families.
#[test]
fn frames_come_to_the_worker_that_the_steering_function_names() {
    let Some(here) = with_tun() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        for kind in [LinkKind::Tun, LinkKind::Tap] {
            for addresses in [[false; 2], [true; 2]] {
                let steering = Steering { key: 0xfeed, workers: 3, addresses };
                let wanted = DeviceSpec { queues: 3, steering, ..spec(kind, "dev0") };
                let mut ports = open(&wanted, 3).unwrap();
                if let Some(reason) = bpf_is_refused() {
                    println!("skipped: {reason}");
                    assert!(!ports[0].steered());
                    return;
                }
                assert!(ports.iter().all(|p| p.steered()));
                let index = n.link_index("dev0").unwrap();
                for address in ["10.7.0.1/24", "fd07::1/64"] {
                    n.addr_add(index, address.parse().unwrap()).unwrap();
                }
                if kind == LinkKind::Tap {
                    for far in ["10.7.0.9", "fd07::9"] {
                        n.neigh_add(index, far.parse().unwrap(), Mac([2, 0, 0, 0, 0, 9])).unwrap();
                    }
                }
                until("all are up", || ports.iter_mut().all(|p| p.check() == Status::Up));
                let (mut pool, mut seen) = (Pool::new(256), [0; 3]);
                for (from, to) in [("10.7.0.1:0", "10.7.0.9:53"), ("[fd07::1]:0", "[fd07::9]:53")] {
                    for _ in 0..100 {
                        UdpSocket::bind(from).unwrap().send_to(b"?", to).unwrap();
                    }
                }
                until("all have come", || {
                    for (worker, port) in ports.iter_mut().enumerate() {
                        let mut out = Vec::new();
                        while port.receive(&mut pool, &mut out, 64) > 0 {}
                        for packet in out {
                            let named = steering.worker_of_frame(packet.data(), kind == LinkKind::Tap);
                            assert_eq!(named, worker, "{kind:?} {:02x?}", packet.data());
                            seen[worker] += 1;
                            pool.put(packet);
                        }
                    }
                    seen.iter().sum::<u32>() >= 200
                });
                assert!(seen.iter().all(|n| *n > 20), "{seen:?}");
            }
        }
    });
}

/// Why this process may load no program, if it may not.
fn bpf_is_refused() -> Option<String> {
    let mut asm = Asm::new();
    asm.exit_with(0);
    let error = Program::load(Kind::SocketFilter, "nothing", &asm).err()?;
    error.is_permission().then(|| error.to_string())
}

/// What the kernel sends is spread over the queues, each flow on one of them and in its order; every worker can send.
#[test]
fn flows_keep_their_queue_and_their_order() {
    let Some(here) = with_tun() else { return };
    here.run(|| {
        for queues in [1, 2, 4] {
            let wanted = DeviceSpec { queues, ..spec(LinkKind::Tun, "tun0") };
            let mut ports = open(&wanted, 4).unwrap();
            let mut n = Netlink::open().unwrap();
            let index = n.link_index("tun0").unwrap();
            n.addr_add(index, "10.7.0.1/24".parse().unwrap()).unwrap();
            until("all are up", || ports.iter_mut().all(|p| p.check() == Status::Up));
            let sockets: Vec<_> = (0..64).map(|_| UdpSocket::bind("10.7.0.1:0").unwrap()).collect();
            let mut pool = Pool::new(256);
            // Of each flow: on which queue it came, and how many.
            let mut flows = std::collections::HashMap::<u16, (usize, u8)>::new();
            let mut came = 0;
            for round in 0..20u8 {
                for socket in &sockets {
                    socket.send_to(&[round], "10.7.0.9:9").unwrap();
                }
                until("all of the round", || {
                    for (queue, port) in ports.iter_mut().enumerate() {
                        let mut out = Vec::new();
                        while port.receive(&mut pool, &mut out, 64) > 0 {}
                        for packet in out {
                            let data = packet.data();
                            if data[0] >> 4 == 4 && data[9] == 17 {
                                let port = u16::from_be_bytes([data[20], data[21]]);
                                let flow = flows.entry(port).or_insert((queue, 0));
                                assert_eq!(*flow, (queue, data[28]), "a flow in its order on one queue");
                                flow.1 += 1;
                                came += 1;
                            }
                            pool.put(packet);
                        }
                    }
                    came >= sockets.len() * (usize::from(round) + 1)
                });
            }
            assert!(flows.len() == 64 && flows.values().all(|(_, n)| *n == 20));
            let used: std::collections::HashSet<_> = flows.values().map(|(q, _)| *q).collect();
            assert_eq!(used.len(), queues, "64 flows use every queue");

            let here = UdpSocket::bind("10.7.0.1:4000").unwrap();
            here.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            for (worker, port) in ports.iter_mut().enumerate() {
                let mut queue: VecDeque<_> = (0..50).map(|i| datagram(&[worker as u8, i])).collect();
                let mut sent = Sent::default();
                port.transmit(&mut pool, &mut queue, &mut sent);
                assert_eq!((sent.packets, queue.len()), (50, 0));
                for i in 0..50 {
                    let mut got = [0; 8];
                    let (len, _) = here.recv_from(&mut got).unwrap();
                    assert_eq!(got[..len], [worker as u8, i]);
                }
            }
        }
    });
}

/// A datagram from 10.7.0.9 to 10.7.0.1:4000, checksum not used.
fn datagram(payload: &[u8]) -> Packet {
    let total = 28 + payload.len() as u8;
    let mut bytes = vec![0x45, 0, 0, total, 0, 0, 0, 0, 64, 17, 0, 0, 10, 7, 0, 9, 10, 7, 0, 1];
    let sum = sekisho::wire::checksum::checksum(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend([0, 9, 0x0f, 0xa0, 0, total - 20, 0, 0]);
    bytes.extend(payload);
    Packet::from_slice(&bytes)
}

#[test]
fn a_tun_device_carries_bare_packets() {
    let Some(here) = with_tun() else { return };
    here.run(|| {
        for offload in [true, false] {
            let mut port = open_one(&DeviceSpec { offload, ..spec(LinkKind::Tun, "tun0") });
            let mut n = Netlink::open().unwrap();
            let index = n.link_index("tun0").unwrap();
            n.addr_add(index, "10.7.0.1/24".parse().unwrap()).unwrap();
            until("it is up", || port.check() == Status::Up);
            let socket = UdpSocket::bind("10.7.0.1:4000").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            socket.send_to(b"hello", "10.7.0.9:4001").unwrap();
            let (mut pool, mut out) = (Pool::new(8), Vec::new());
            let mut packet = loop {
                until("a packet", || port.receive(&mut pool, &mut out, 1) == 1);
                let packet = out.remove(0);
                if packet.data()[0] >> 4 == 4 && packet.data()[9] == 17 {
                    break packet;
                }
            };
            assert_eq!(packet.data().len(), 33);
            assert_eq!(matches!(packet.meta.offload.csum, Csum::Partial { start: 20, field: 6 }), offload);
            // Addresses and ports exchanged, the sums stay what they are.
            let data = packet.data_mut();
            let (from, to) = data[12..20].split_at_mut(4);
            from.swap_with_slice(to);
            let (from, to) = data[20..24].split_at_mut(2);
            from.swap_with_slice(to);
            let (mut queue, mut sent) = (VecDeque::from([packet]), Sent::default());
            port.transmit(&mut pool, &mut queue, &mut sent);
            assert_eq!((sent.packets, queue.len()), (1, 0));
            let mut buffer = [0; 16];
            assert_eq!(socket.recv_from(&mut buffer).unwrap(), (5, "10.7.0.9:4001".parse().unwrap()));
            drop(port);
            assert!(n.link_at(index).unwrap_err().is_missing());
        }
    });
}

/// Two namespaces, each with a tap, a wire between the taps: TCP crosses as super-frames, or without
/// offloads as ordinary frames with finished checksums.
#[test]
fn tcp_crosses_two_taps() {
    for offload in [true, false] {
        let (Some(left), Some(right)) = (with_tun(), with_tun()) else { return };
        let stop = AtomicBool::new(false);
        let make = |netns: &Netns, address: &str| {
            netns.run(|| {
                let port = open_one(&DeviceSpec { offload, ..spec(LinkKind::Tap, "tap0") });
                let mut n = Netlink::open().unwrap();
                let index = n.link_index("tap0").unwrap();
                n.addr_add(index, address.parse().unwrap()).unwrap();
                port
            })
        };
        let (mut a, mut b) = (make(&left, "10.8.0.1/24"), make(&right, "10.8.0.2/24"));
        std::thread::scope(|scope| {
            let carried = scope.spawn(|| carry(&mut a, &mut b, &stop));
            transfer(&left, &right, "10.8.0.2:5001", 8 << 20);
            stop.store(true, Relaxed);
            let (super_frames, longest) = carried.join().unwrap();
            assert_eq!((super_frames > 10, longest > 1514), (offload, offload), "{super_frames} {longest}");
        });
    }
}

/// Carries frames both ways until told to stop; how many super-frames, and how long the longest frame was.
fn carry(a: &mut Box<dyn Port>, b: &mut Box<dyn Port>, stop: &AtomicBool) -> (u64, usize) {
    let (mut pool, mut out) = (Pool::new(256), Vec::new());
    let (mut super_frames, mut longest) = (0, 0);
    while !stop.load(Relaxed) {
        for flip in [false, true] {
            let (from, to) = if flip { (&mut *b, &mut *a) } else { (&mut *a, &mut *b) };
            from.receive(&mut pool, &mut out, 64);
            let mut queue: VecDeque<Packet> = out.drain(..).map(parsed).collect();
            super_frames += queue.iter().filter(|p| p.meta.offload.gso.is_some()).count() as u64;
            longest = queue.iter().map(Packet::len).max().unwrap_or(0).max(longest);
            let mut sent = Sent::default();
            to.transmit(&mut pool, &mut queue, &mut sent);
            assert_eq!(sent.refused, [0, 0]);
        }
    }
    (super_frames, longest)
}

/// A frame with what the codec of the offload header needs of ingress.
pub(crate) fn parsed(mut packet: Packet) -> Packet {
    packet.meta.l3 = 14;
    (packet.meta.l4, packet.meta.proto) = match packet.data()[12..14] {
        [0x08, 0x00] => (u16::from(packet.data()[14] & 15) * 4, packet.data()[23]),
        [0x86, 0xdd] => (40, packet.data()[20]),
        _ => (0, 59),
    };
    packet
}

#[test]
fn frames_that_found_no_room_are_counted() {
    let Some(here) = with_tun() else { return };
    here.run(|| {
        let mut port = open_one(&spec(LinkKind::Tun, "tun0"));
        let mut n = Netlink::open().unwrap();
        let index = n.link_index("tun0").unwrap();
        n.addr_add(index, "10.7.0.1/24".parse().unwrap()).unwrap();
        until("it is up", || port.check() == Status::Up);
        assert_eq!(port.overruns(), 0);
        let socket = UdpSocket::bind("10.7.0.1:0").unwrap();
        // The driver's queue holds 500 frames.
        for _ in 0..1_000 {
            let _ = socket.send_to(b"flood", "10.7.0.9:9");
        }
        until("those that found no room are counted", || port.overruns() >= 400);
    });
}
