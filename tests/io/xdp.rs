//! AF_XDP: what a frame loses on its way to XDP, and what becomes of it here.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use sekisho::io::bpf::{Asm, Insn, Kind, Program, Reg, TcAction};
use sekisho::io::netlink::{Netlink, Veth};
use sekisho::io::{DeviceSpec, Port, Sent, Status, open};
use sekisho::link::{Driver, LinkKind};
use sekisho::packet::offload::finish_checksum;
use sekisho::packet::{Csum, Packet, Pool};

use crate::contract::{frame, has, near_and_far, open_one, receive, spec, until};
use crate::netns::Netns;
use crate::packet::transfer;
use crate::tun_tap::parsed;

fn xdp(device: &str) -> DeviceSpec {
    DeviceSpec { driver: Driver::Xdp, ..spec(LinkKind::Packet, device) }
}

/// A veth pair: "near" here for the port, "far" there with an address of the kernel's.
fn pair(here: &Netns, there: &Netns, queues: u32, mtu: u32, address: &str) {
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        let veth = Veth { name: "near", peer: "far", peer_netns: Some(there.fd()), queues };
        n.link_add_veth_with(&veth).unwrap();
        let near = n.link_index("near").unwrap();
        n.set_mtu(near, mtu).unwrap();
        n.set_up(near).unwrap();
    });
    there.run(|| {
        let mut n = Netlink::open().unwrap();
        let far = n.link_index("far").unwrap();
        n.set_mtu(far, mtu).unwrap();
        n.addr_add(far, address.parse().unwrap()).unwrap();
        n.set_up(far).unwrap();
    });
}

/// The port of "near", up; `None` where AF_XDP can't be had.
fn port(here: &Netns, spec: &DeviceSpec) -> Option<Box<dyn Port>> {
    here.run(|| {
        let mut port = open_one(spec);
        if !has(Driver::Xdp, port.as_ref()) {
            return None;
        }
        until("it is up", || port.check() == Status::Up);
        Some(port)
    })
}

fn neighbor(there: &Netns, address: &str) {
    there.run(|| {
        let mut n = Netlink::open().unwrap();
        let far = n.link_index("far").unwrap();
        n.neigh_add(far, address.parse().unwrap(), sekisho::base::Mac([2, 0, 0, 0, 0, 9])).unwrap();
    });
}

/// Receives until there is a frame as wanted.
fn find(port: &mut dyn Port, pool: &mut Pool, wanted: impl Fn(&[u8]) -> bool) -> Packet {
    let mut out = Vec::new();
    until("the frame", || {
        port.receive(pool, &mut out, 64);
        out.iter().any(|p| wanted(p.data()))
    });
    let at = out.iter().position(|p| wanted(p.data())).unwrap();
    out.swap_remove(at)
}

fn transmit(port: &mut dyn Port, pool: &mut Pool, packet: Packet) -> Sent {
    let (mut queue, mut sent) = (VecDeque::from([packet]), Sent::default());
    until("the device takes it", || {
        port.transmit(pool, &mut queue, &mut sent);
        queue.is_empty()
    });
    sent
}

/// What a frame that goes back needs: MACs, addresses and ports exchanged; the sums stay what they are.
fn turned(mut packet: Packet) -> Packet {
    let data = packet.data_mut();
    let mut exchange = |at: usize, len: usize| {
        let (a, b) = data[at..at + 2 * len].split_at_mut(len);
        a.swap_with_slice(b);
    };
    exchange(0, 6);
    exchange(26, 4);
    exchange(34, 2);
    packet
}

#[test]
fn checksums_left_undone_are_known_and_finished() {
    let (Some(here), Some(there)) = (Netns::new(), Netns::new()) else { return };
    pair(&here, &there, 1, 1500, "10.7.0.1/24");
    neighbor(&there, "10.7.0.9");
    let mut pool = Pool::new(8);
    for offload in [true, false] {
        let Some(mut port) = port(&here, &DeviceSpec { offload, ..xdp("near") }) else { return };
        assert_eq!((port.caps().csum, port.caps().tso4), (offload, false));
        there.run(|| {
            let socket = UdpSocket::bind("10.7.0.1:4000").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            socket.send_to(b"hello", "10.7.0.9:4001").unwrap();
            let is_it = |f: &[u8]| f[12..14] == [8, 0] && f[23] == 17 && f[36..38] == 4001u16.to_be_bytes();
            let mut packet = parsed(find(port.as_mut(), &mut pool, is_it));
            assert_eq!(packet.len(), 14 + 20 + 8 + 5);
            assert_eq!(packet.meta.offload.csum, Csum::Partial { start: 20, field: 6 });
            if !offload {
                assert!(finish_checksum(&mut packet));
            }
            let sent = transmit(port.as_mut(), &mut pool, turned(packet));
            assert_eq!((sent.packets, sent.refused), (1, [0, 0]));
            let mut buffer = [0; 16];
            assert_eq!(socket.recv_from(&mut buffer).unwrap(), (5, "10.7.0.9:4001".parse().unwrap()));
        });
    }
}

/// A UDP packet over IPv4, 10.7.0.1 to 10.7.0.9, with this checksum.
fn udp(checksum: [u8; 2]) -> Packet {
    let mut bytes = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 8, 0];
    bytes.extend([0x45, 0, 0, 33, 0, 0, 0x40, 0, 64, 17, 0x26, 0xb3, 10, 7, 0, 1, 10, 7, 0, 9]);
    bytes.extend([0x0f, 0xa0, 0x0f, 0xa1, 0, 13, checksum[0], checksum[1]]);
    bytes.extend(b"hello");
    Packet::from_slice(&bytes)
}

#[test]
fn wrong_checksums_stay_wrong() {
    let (Some(here), Some(there)) = (Netns::new(), Netns::new()) else { return };
    pair(&here, &there, 1, 1500, "10.7.0.1/24");
    let Some(mut port) = port(&here, &xdp("near")) else { return };
    let mut far = there.run(|| {
        let mut far = open_one(&spec(LinkKind::Packet, "far"));
        until("it is up", || far.check() == Status::Up);
        far
    });
    let mut pool = Pool::new(8);
    for checksum in [[0, 0], [0x12, 0x34]] {
        let packet = udp(checksum);
        transmit(far.as_mut(), &mut pool, packet.clone());
        let got = find(port.as_mut(), &mut pool, |f| f[12..14] == [8, 0]);
        assert_eq!((got.data(), got.meta.offload.csum), (packet.data(), Csum::Wire));
        transmit(port.as_mut(), &mut pool, got);
        let got = find(far.as_mut(), &mut pool, |f| f[12..14] == [8, 0]);
        assert_eq!(got.data(), packet.data());
    }
}

/// The tag of a frame is back in it, whether its sender wrote it there or left it beside.
#[test]
fn tags_come_in_the_frame() {
    let (Some(here), Some(there)) = (Netns::new(), Netns::new()) else { return };
    pair(&here, &there, 1, 1500, "10.7.0.1/24");
    neighbor(&there, "10.7.0.9");
    let Some(mut port) = port(&here, &xdp("near")) else { return };
    let mut pool = Pool::new(8);
    let tagged = |f: &[u8]| f[12..18] == [0x81, 0, 0x60, 5, 8, 0];
    let beside = there.run(|| {
        // bpf_skb_vlan_push(skb, 802.1Q, priority 3 and VLAN 5).
        let mut asm = Asm::new();
        asm.mov(Reg::R2, i32::from(0x8100u16.to_be()));
        asm.mov(Reg::R3, 0x6005);
        asm.raw(Insn { code: 0x85, imm: 18, ..Insn::default() });
        asm.exit_with(TcAction::Pass as i32);
        let program = Program::load(Kind::SchedCls, "push", &asm).unwrap();
        let far = Netlink::open().unwrap().link_index("far").unwrap();
        let link = program.attach_egress(far).unwrap();
        UdpSocket::bind("10.7.0.1:4000").unwrap().send_to(b"hello", "10.7.0.9:4001").unwrap();
        let got = find(port.as_mut(), &mut pool, tagged);
        drop(link);
        got
    });
    assert_eq!(beside.len(), 14 + 4 + 20 + 8 + 5);
    assert_eq!(beside.meta.offload.csum, Csum::Partial { start: 20, field: 6 });

    let mut far = there.run(|| {
        let mut far = open_one(&spec(LinkKind::Packet, "far"));
        until("it is up", || far.check() == Status::Up);
        far
    });
    let mut bytes = udp([0x12, 0x34]).data().to_vec();
    bytes.splice(12..12, [0x81, 0, 0x60, 5]);
    transmit(far.as_mut(), &mut pool, Packet::from_slice(&bytes));
    let got = find(port.as_mut(), &mut pool, tagged);
    assert_eq!(got.data(), bytes);
    transmit(port.as_mut(), &mut pool, got);
    assert_eq!(find(far.as_mut(), &mut pool, tagged).data(), bytes);
}

/// TCP across two ports, hosts with and without offloads: every byte arrives, and no super-frame.
#[test]
fn tcp_crosses_two_ports() {
    for (offload, mtu) in [(true, 1500), (false, 1500), (true, 9000)] {
        let (Some(left), Some(right)) = (Netns::new(), Netns::new()) else { return };
        let (Some(hosts_left), Some(hosts_right)) = (Netns::new(), Netns::new()) else { return };
        pair(&left, &hosts_left, 1, mtu, "10.8.0.1/24");
        pair(&right, &hosts_right, 1, mtu, "10.8.0.2/24");
        let spec = DeviceSpec { offload, mtu, ..xdp("near") };
        let (Some(mut a), Some(mut b)) = (port(&left, &spec), port(&right, &spec)) else { return };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let carried = scope.spawn(|| carry(&mut a, &mut b, &stop));
            transfer(&hosts_left, &hosts_right, "10.8.0.2:5001", 8 << 20);
            stop.store(true, Relaxed);
            let longest = carried.join().unwrap();
            assert_eq!(longest, mtu as usize + 14);
        });
    }
}

/// Carries frames both ways until told to stop; how long the longest was.
fn carry(a: &mut Box<dyn Port>, b: &mut Box<dyn Port>, stop: &AtomicBool) -> usize {
    let (mut pool, mut out, mut longest) = (Pool::new(256), Vec::new(), 0);
    while !stop.load(Relaxed) {
        for flip in [false, true] {
            let (from, to) = if flip { (&mut *b, &mut *a) } else { (&mut *a, &mut *b) };
            from.receive(&mut pool, &mut out, 64);
            let caps = to.caps();
            let mut queue: VecDeque<Packet> = out.drain(..).map(parsed).collect();
            for packet in &mut queue {
                assert!(packet.meta.offload.gso.is_none());
                assert!(caps.take(&packet.meta.offload) || finish_checksum(packet));
            }
            longest = queue.iter().map(Packet::len).max().unwrap_or(0).max(longest);
            let mut sent = Sent::default();
            to.transmit(&mut pool, &mut queue, &mut sent);
            assert_eq!(sent.refused, [0, 0]);
        }
    }
    longest
}

/// A device with more queues than there are workers: each worker has several, and nothing is lost; with fewer, the
/// workers beyond send.
#[test]
fn queues_are_shared_out() {
    for (queues, workers) in [(4, 2), (2, 2), (1, 2)] {
        let Some(here) = Netns::new() else { return };
        here.run(|| {
            let mut n = Netlink::open().unwrap();
            near_and_far(&mut n, queues);
            let mut near = open(&DeviceSpec { queues: 2, ..xdp("near") }, workers).unwrap();
            if !has(Driver::Xdp, near[0].as_ref()) {
                return;
            }
            let receivers = near.iter().filter(|p| p.fd().is_some()).count();
            assert_eq!(receivers, workers.min(queues as usize), "{queues} queues");
            let mut far = open_one(&spec(LinkKind::Packet, "far"));
            until("up", || near.iter_mut().all(|p| p.check() == Status::Up) && far.check() == Status::Up);
            let (mut pool, mut got) = (Pool::new(8), 0);
            // The kernel spreads what a packet socket sends over the queues by the sending CPU.
            for number in 0..64 {
                transmit(far.as_mut(), &mut pool, frame(number, 60));
            }
            until("all frames", || {
                let mut out = Vec::new();
                near.iter_mut().for_each(|p| {
                    p.receive(&mut pool, &mut out, 64);
                });
                got += out.iter().filter(|p| p.data()[12..14] == [0x88, 0xb5]).count();
                got == 64
            });
            for port in &mut near {
                transmit(port.as_mut(), &mut pool, frame(7, 700));
                assert_eq!(receive(far.as_mut(), &mut pool, 1)[0].len(), 700);
            }
        });
    }
}

#[test]
fn frames_that_found_no_room_are_counted() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        near_and_far(&mut n, 1);
        let mut near = open_one(&xdp("near"));
        if !has(Driver::Xdp, near.as_ref()) {
            return;
        }
        let mut far = open_one(&spec(LinkKind::Packet, "far"));
        until("up", || near.check() == Status::Up && far.check() == Status::Up);
        let mut pool = Pool::new(8);
        for number in 0..5_000 {
            transmit(far.as_mut(), &mut pool, frame(number, 60));
        }
        let mut out = Vec::new();
        until("each came or is counted", || {
            near.receive(&mut pool, &mut out, 64);
            out.retain(|p| p.data()[12..14] == [0x88, 0xb5]);
            out.len() as u64 + near.overruns() >= 5_000
        });
        assert!(near.overruns() > 0 && out.len() >= 1_000, "{} {}", near.overruns(), out.len());
    });
}

#[test]
fn what_stands_in_the_way_is_said_and_gone_round() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        n.link_add_veth_with(&Veth { name: "near", peer: "far", peer_netns: None, queues: 1 }).unwrap();
        let near = n.link_index("near").unwrap();
        let mut asm = Asm::new();
        asm.exit_with(2);
        let Ok(program) = Program::load(Kind::Xdp, "other", &asm) else {
            println!("skipped: no bpf() here");
            return;
        };
        let link = program.attach_xdp(near, sekisho::io::bpf::XdpMode::Native).unwrap();
        let port = open_one(&xdp("near"));
        let in_use = port.driver().unwrap();
        assert_ne!(in_use.driver, Driver::Xdp);
        assert!(in_use.fallback.unwrap().contains("ip link set near xdp off"));
        drop((port, link));
        let port = open_one(&xdp("near"));
        assert_eq!(port.driver().unwrap().driver, Driver::Xdp);
        // With the port goes all that it took.
        drop(port);
        program.attach_xdp(near, sekisho::io::bpf::XdpMode::Native).unwrap();
        assert!(!n.tc_has_clsact(near).unwrap());
    });
}
