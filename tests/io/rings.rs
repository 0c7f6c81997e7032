//! Rings of packet links: order between slots and the socket's queue, frames that find no room, a ring that stands still.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sekisho::io::netlink::Netlink;
use sekisho::io::sys::{TunFlags, put_together, puts_together, tun_attach};
use sekisho::io::{DeviceSpec, Port, Sent, Status};
use sekisho::link::{Driver, LinkKind};
use sekisho::packet::{Csum, Gso, GsoKind, Net, Offload, Packet, Pool};

use crate::contract::{frame, near_and_far, open_one, receive, spec, until};
use crate::netns::Netns;
use crate::tun_tap::with_tun;

fn pair() -> (Box<dyn Port>, Box<dyn Port>) {
    let mut n = Netlink::open().unwrap();
    near_and_far(&mut n, 1);
    let mut ports = ["near", "far"].map(|name| open_one(&spec(LinkKind::Packet, name)));
    until("both are up", || ports.iter_mut().all(|p| p.check() == Status::Up));
    let [near, far] = ports;
    (near, far)
}

/// A TCP super-frame over IPv4 with a number at the start of its payload.
fn super_frame(number: u32, len: usize) -> Packet {
    let mut bytes = vec![0x5a; len];
    bytes[..14].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 0]);
    bytes[14..26].copy_from_slice(&[0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0]);
    bytes[16..18].copy_from_slice(&((len - 14) as u16).to_be_bytes());
    bytes[26..34].copy_from_slice(&[10, 1, 0, 9, 10, 2, 0, 9]);
    bytes[34..54].copy_from_slice(&[4, 0, 5, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    bytes[54..58].copy_from_slice(&number.to_be_bytes());
    let mut packet = Packet::from_slice(&bytes);
    (packet.meta.l3, packet.meta.l4, packet.meta.net, packet.meta.proto) = (14, 20, Net::Ipv4, 6);
    packet.meta.offload = Offload {
        csum: Csum::Partial { start: 20, field: 16 },
        gso: Some(Gso { kind: GsoKind::Tcp4, size: 1448, ecn: false }),
    };
    packet
}

/// The number of a frame of either kind.
fn number(packet: &Packet) -> Option<u32> {
    let at = match packet.data().get(12..14)? {
        [0x88, 0xb5] => 14,
        [8, 0] => 54,
        _ => return None,
    };
    Some(u32::from_be_bytes(*packet.data().get(at..)?.first_chunk()?))
}

#[test]
fn super_frames_and_ordinary_ones_stay_in_order_and_whole() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let (mut near, mut far) = pair();
        let mut pool = Pool::new(64);
        // 1,973 bytes and more don't fit a slot on the way in, from 2,007 on not on the way out.
        let make = |n: u32| match n % 7 {
            1 => super_frame(n, 60_000),
            2 => super_frame(n, 4_000),
            4 => super_frame(n, 1_900 + (n as usize * 13) % 200),
            5 => super_frame(n, 65_535),
            _ => frame(n, 60 + (n as usize * 37) % 1_400),
        };
        let (mut queue, mut sent, mut got) = (VecDeque::new(), Sent::default(), Vec::new());
        let (mut made, mut out) = (0, Vec::new());
        until("all frames cross", || {
            while made < 700 && queue.len() < 20 {
                queue.push_back(make(made));
                made += 1;
            }
            near.transmit(&mut pool, &mut queue, &mut sent);
            far.receive(&mut pool, &mut out, 64);
            got.extend(out.drain(..).filter(|p| number(p).is_some()));
            got.len() >= 700
        });
        for (n, packet) in got.iter().enumerate() {
            assert_eq!(number(packet), Some(n as u32));
            let (wanted, expected) = (make(n as u32), packet.meta.offload);
            assert!(packet.data() == wanted.data(), "frame {n}");
            assert_eq!(expected, wanted.meta.offload, "frame {n}");
        }
        assert_eq!((sent.packets, far.overruns()), (700, 0));
    });
}

#[test]
fn super_frames_cross_while_both_ends_work() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let (mut near, mut far) = pair();
        // As many on the way as a socket's buffer surely holds.
        let (count, window) = (10_000, 30);
        let arrived = AtomicU32::new(0);
        let deadline = Instant::now() + Duration::from_secs(200);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut pool = Pool::new(64);
                let (mut queue, mut sent) = (VecDeque::new(), Sent::default());
                for n in 0..count {
                    while n >= arrived.load(Relaxed) + window {
                        std::thread::yield_now();
                        if Instant::now() >= deadline {
                            return;
                        }
                    }
                    let small = n % 5 == 2;
                    queue.push_back(if small { frame(n, 60) } else { super_frame(n, 65_000) });
                    until("it is sent", || {
                        near.transmit(&mut pool, &mut queue, &mut sent);
                        queue.is_empty()
                    });
                }
            });
            let (mut pool, mut out) = (Pool::new(64), Vec::new());
            // Without a pause: a slot is looked at while the kernel gives it away.
            while arrived.load(Relaxed) < count {
                assert!(Instant::now() < deadline, "{} of {count} crossed", arrived.load(Relaxed));
                far.receive(&mut pool, &mut out, 64);
                for packet in out.drain(..) {
                    if let Some(n) = number(&packet) {
                        assert_eq!(n, arrived.load(Relaxed));
                        arrived.fetch_add(1, Relaxed);
                    }
                    pool.put(packet);
                }
            }
        });
        assert_eq!(far.overruns(), 0);
    });
}

#[test]
fn what_comes_in_segments_is_put_together_while_the_link_is_open() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        n.link_add_veth("near", "far", None).unwrap();
        let index = n.link_index("near").unwrap();
        let any = UnixDatagram::unbound().unwrap();
        let is_on = |name: &str| puts_together(any.as_fd(), name).unwrap();
        assert!(!is_on("near"), "off for a veth");
        for offload in [false, true] {
            let port = open_one(&DeviceSpec { offload, ..spec(LinkKind::Packet, "near") });
            assert_eq!((is_on("near"), is_on("far")), (offload, false));
            drop(port);
            assert!(!is_on("near"));
        }
        put_together(any.as_fd(), "near", true).unwrap();
        drop(open_one(&spec(LinkKind::Packet, "near")));
        assert!(is_on("near"), "what was on stays on");

        put_together(any.as_fd(), "near", false).unwrap();
        let mut port = open_one(&spec(LinkKind::Packet, "near"));
        n.set_name(index, "other").unwrap();
        assert_eq!(port.check(), Status::Gone);
        assert!(!is_on("other"), "by another name, too");
    });
}

#[test]
fn frames_that_found_no_slot_are_counted() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let (mut near, mut far) = pair();
        let mut pool = Pool::new(64);
        while far.receive(&mut pool, &mut Vec::new(), 64) > 0 {}
        let before = far.overruns();
        let (mut queue, mut sent) = (VecDeque::new(), Sent::default());
        // Everybody's slots, and more.
        for n in 0..6_000 {
            queue.push_back(frame(n, 60));
            until("it is sent", || {
                near.transmit(&mut pool, &mut queue, &mut sent);
                queue.is_empty()
            });
        }
        let (mut got, mut out) = (Vec::new(), Vec::new());
        let mut lost = 0;
        until("each came or is counted", || {
            while far.receive(&mut pool, &mut out, 64) > 0 {
                got.extend(out.drain(..).filter_map(|p| number(&p)));
            }
            lost = (far.overruns() - before) as usize;
            got.len() + lost >= 6_000
        });
        assert!(lost > 0 && got.len() > 1_000, "{lost} lost, {} received", got.len());
        assert_eq!(got.len() + lost, 6_000);
        assert!(got.is_sorted());
        // A ring that was full is none that stands still.
        for _ in 0..3 {
            far.check();
        }
        assert_eq!(far.driver().unwrap().driver, Driver::Ring);
        near.transmit(&mut pool, &mut VecDeque::from([frame(6_000, 60)]), &mut sent);
        assert_eq!(number(&receive(far.as_mut(), &mut pool, 1)[0]), Some(6_000));
    });
}

#[test]
fn a_super_frame_without_a_word_does_not_stop_the_link() {
    let Some(here) = with_tun() else { return };
    here.run(|| {
        let tun = || File::options().read(true).write(true).open("/dev/net/tun").unwrap();
        let mut tap = tun();
        let flags = TunFlags { ethernet: true, vnet_header: true, queues: false };
        tun_attach(tap.as_fd(), "tap0", flags).unwrap();
        let mut n = Netlink::open().unwrap();
        let index = n.link_index("tap0").unwrap();
        n.set_up(index).unwrap();
        let mut port = open_one(&DeviceSpec { driver: Driver::Ring, ..spec(LinkKind::Packet, "tap0") });
        until("it is up", || port.check() == Status::Up);
        let mut pool = Pool::new(64);
        let write = |tap: &mut File, header: [u8; 10], frame: &Packet| {
            let mut bytes = header.to_vec();
            bytes.extend_from_slice(frame.data());
            assert_eq!(tap.write(&bytes).unwrap(), bytes.len());
        };
        write(&mut tap, [0; 10], &frame(1, 60));
        assert_eq!(number(&receive(port.as_mut(), &mut pool, 1)[0]), Some(1));

        // A UDP datagram to be cut into fragments (VIRTIO_NET_HDR_GSO_UDP): packet sockets can't tell it.
        let mut datagram = super_frame(2, 4_000);
        datagram.data_mut()[23] = 17;
        let header = [
            &[1, 3][..],
            &42u16.to_ne_bytes(),
            &1_000u16.to_ne_bytes(),
            &34u16.to_ne_bytes(),
            &6u16.to_ne_bytes(),
        ];
        write(&mut tap, header.concat().try_into().unwrap(), &datagram);
        // Nobody looks at frames while the link stands still, or they would be others' than ours.
        let (mut sent, mut got) = (2, None);
        until("frames come again", || {
            sent += 1;
            write(&mut tap, [0; 10], &frame(sent, 60));
            port.check();
            let mut out = Vec::new();
            port.receive(&mut pool, &mut out, 64);
            got = out.iter().find_map(number);
            got.is_some()
        });
        assert!(port.overruns() > 0, "what was lost meanwhile is counted");
        write(&mut tap, [0; 10], &frame(9_999, 1_500));
        until("the next one, too", || {
            let mut out = Vec::new();
            port.receive(&mut pool, &mut out, 64);
            out.iter().any(|p| number(p) == Some(9_999))
        });
        let used = port.driver().unwrap();
        if used.driver == Driver::Ring {
            return println!("this kernel's ring goes on by itself");
        }
        assert_eq!((used.asked, used.driver), (Driver::Ring, Driver::Socket));
        assert!(used.fallback.unwrap().contains("super-frame"));
    });
}
