//! What the local stack promises, on virtual time.

mod hostile;
mod rig;

use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;

use super::*;
use crate::packet::{Csum, Gso, GsoKind, Offload};
use rig::{ALL, Rig, arrived, ends, on_the_wire, udp};

const SECOND: Duration = Duration::from_secs(1);

/// Bytes that do not repeat soon.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect()
}

/// Sends `data` while reading, then closes; gives what came back when the other side has closed too.
fn exchange(rig: &mut Rig, s: SocketHandle, data: &[u8], limit: Duration) -> Vec<u8> {
    let (mut sent, mut got) = (0, Vec::new());
    rig.run(limit, |rig| {
        let socket = rig.socket(s);
        if socket.may_send() {
            sent += socket.send_slice(&data[sent..]).unwrap();
            if sent == data.len() {
                socket.close();
            }
        }
        while socket.can_recv() {
            socket.recv(|b| (b.len(), got.extend_from_slice(b))).unwrap();
        }
        sent == data.len() && matches!(socket.state(), State::TimeWait | State::Closed)
    });
    got
}

#[test]
fn a_megabyte_over_tcp_comes_back() {
    for to in ["10.0.0.1:7", "[fd00::1]:7", "[fe80::ff:fe00:101]:7"] {
        let mut rig = Rig::new(ALL);
        let s = rig.connect(to);
        let data = pattern(1 << 20);
        assert!(exchange(&mut rig, s, &data, 60 * SECOND) == data, "{to}");
        rig.pass(SECOND);
        assert_eq!(rig.host.connections(), 0, "{to}: nothing is left of it");
        assert!(rig.joined > 10, "{to}: segments leave as super-frames: {}", rig.joined);
    }
}

#[test]
fn a_megabyte_comes_back_through_losses() {
    for to in ["10.0.0.1:7", "[fd00::1]:7"] {
        let mut rig = Rig::new(ALL);
        rig.lossy = 100;
        let s = rig.connect(to);
        let data = pattern(1 << 20);
        assert!(exchange(&mut rig, s, &data, 1200 * SECOND) == data, "{to}");
    }
}

#[test]
fn a_small_mss_is_kept_to() {
    let mut rig = Rig::with_mtu(ALL, 296);
    let s = rig.connect("10.0.0.1:7");
    let data = pattern(20_000);
    assert!(exchange(&mut rig, s, &data, 60 * SECOND) == data);
    assert!(rig.joined > 0);
}

#[test]
fn discard_takes_all_and_says_nothing() {
    let mut rig = Rig::new(ALL);
    let s = rig.connect("10.0.0.1:9");
    assert!(exchange(&mut rig, s, &pattern(1 << 20), 60 * SECOND).is_empty());
    rig.pass(SECOND);
    assert_eq!(rig.host.connections(), 0);
}

#[test]
fn what_is_not_offered_is_closed() {
    let only_echo = Services { echo: true, discard: false };
    assert_eq!((only_echo.ports(), ALL.ports()), (vec![7], vec![7, 9]));
    assert!(Services::default().ports().is_empty());
    for to in ["10.0.0.1:9", "10.0.0.1:80", "[fd00::1]:9"] {
        let mut rig = Rig::new(only_echo);
        let s = rig.connect(to);
        rig.settle();
        assert_eq!(rig.state(s), State::Closed, "{to}: reset at once");
        assert_eq!(rig.host.connections(), 0);
    }
    let mut rig = Rig::new(only_echo);
    let p = arrived(&udp(("10.0.0.2", 5000), ("10.0.0.1", 9), b"x"));
    assert_eq!(rig.host.handle(p, rig.now), Err(DropReason::NoPort));
}

#[test]
fn every_address_of_many_answers() {
    let mut rig = Rig::new(ALL);
    let mut open = Vec::new();
    for i in 0..100 {
        open.push(rig.connect(&format!("10.{i}.0.1:7")));
        open.push(rig.connect(&format!("[fd00:{i:x}::1]:7")));
        // The table holds fewer at once, so some have to be done before.
        if open.len() == 20 {
            rig.settle();
            for s in open.drain(..) {
                assert_eq!(rig.state(s), State::Established);
                assert!(exchange(&mut rig, s, b"who is it", 10 * SECOND) == b"who is it");
            }
            // The last acknowledgments may take their time.
            rig.pass(SECOND);
            assert_eq!(rig.host.connections(), 0);
        }
    }
}

#[test]
fn udp_of_any_size_comes_back_from_the_address_asked() {
    for (client, router) in [("10.0.0.2", "10.0.0.1"), ("fd00::2", "fd00::77"), ("fe80::2", "fe80::1")] {
        let most = if client.contains(':') { 65_527 } else { 65_507 };
        for len in [0, 1, 1472, 8_000, 60_000, most] {
            let mut rig = Rig::new(ALL);
            let data = pattern(len);
            rig.host.handle(arrived(&udp((client, 5000), (router, 7), &data)), rig.now).unwrap();
            assert_eq!(rig.host.poll_timeout(rig.now), Some(rig.now));
            let out = rig.poll();
            assert_eq!(out.len(), 1);
            let answer = &on_the_wire(&out[0])[0];
            let l4 = usize::from(out[0].meta.l4);
            let mut expected = udp((router, 7), (client, 5000), &data);
            // What is the answer's own: TTL, TOS, DF, identification.
            let (ours, theirs) = (&answer[l4..], &expected.split_off(l4));
            assert!(ours == theirs, "{client} {len}");
            assert_eq!(ends(answer), (router.parse().unwrap(), client.parse().unwrap()));
            if answer[0] >> 4 == 4 {
                assert_eq!((answer[1], answer[6] & 0x60, answer[8]), (0, 0, 64));
                assert_eq!(crate::wire::checksum::checksum(&answer[..20]), 0);
            } else {
                assert_eq!(answer[7], 64);
            }
        }
    }
}

#[test]
fn options_and_extensions_are_not_echoed() {
    let mut rig = Rig::new(ALL);
    let plain = udp(("10.0.0.2", 5000), ("10.0.0.1", 7), b"hello");
    let mut with = plain.clone();
    with.splice(20..20, [7, 7, 4, 0, 0, 0, 0, 0]);
    with[0] = 0x47;
    with[3] += 8;
    rig.host.handle(arrived(&with), rig.now).unwrap();
    let mut six = udp(("fd00::2", 5000), ("fd00::1", 7), b"hello");
    six.splice(40..40, [17, 0, 1, 4, 0, 0, 0, 0]);
    (six[5], six[6]) = (six[5] + 8, 60);
    let mut p = arrived(&six);
    (p.meta.l4, p.meta.proto) = (48, 17);
    rig.host.handle(p, rig.now).unwrap();
    let out = rig.poll();
    assert_eq!(out[0].data().len(), plain.len());
    assert_eq!(&on_the_wire(&out[0])[0][28..], b"hello");
    assert_eq!(&on_the_wire(&out[1])[0][48..], b"hello");
}

#[test]
fn a_datagram_ends_where_its_header_says() {
    let mut rig = Rig::new(ALL);
    let mut b = udp(("10.0.0.2", 5000), ("10.0.0.1", 7), b"hello");
    b.extend([0; 18]);
    rig.host.handle(arrived(&b), rig.now).unwrap();
    let out = rig.poll();
    assert_eq!(out[0].data().len(), 33);
}

#[test]
fn a_super_frame_of_datagrams_goes_back_as_one() {
    let mut rig = Rig::new(ALL);
    let mut p = arrived(&udp(("10.0.0.2", 5000), ("10.0.0.1", 7), &pattern(10_000)));
    let gso = Some(Gso { kind: GsoKind::Udp, size: 1_000, ecn: false });
    p.meta.offload = Offload { csum: Csum::Partial { start: 20, field: 6 }, gso };
    rig.host.handle(p, rig.now).unwrap();
    let out = rig.poll();
    assert_eq!(out[0].meta.offload.gso, gso);
    let pieces = on_the_wire(&out[0]);
    assert_eq!(pieces.len(), 10);
    for (i, piece) in pieces.iter().enumerate() {
        assert_eq!(piece[28..], pattern(10_000)[i * 1_000..][..1_000]);
    }
}

#[test]
fn checksums_are_looked_at_unless_known_to_be_right() {
    let mut rig = Rig::new(ALL);
    let mut b = udp(("10.0.0.2", 5000), ("10.0.0.1", 7), b"hello");
    b[30] ^= 1;
    assert_eq!(rig.host.handle(arrived(&b), rig.now), Err(DropReason::L4BadChecksum));
    for csum in [Csum::Verified, Csum::Partial { start: 20, field: 6 }] {
        let mut p = arrived(&b);
        p.meta.offload.csum = csum;
        assert_eq!(rig.host.handle(p, rig.now), Ok(Took::Kept));
    }
    assert_eq!(rig.poll().len(), 2);

    let mut b = udp(("10.0.0.2", 5000), ("10.0.0.1", 7), b"hello");
    b[26..28].fill(0);
    assert_eq!(rig.host.handle(arrived(&b), rig.now), Ok(Took::Kept), "IPv4 may do without");
    let answer = rig.poll().remove(0);
    assert_eq!(on_the_wire(&answer)[0][20..], udp(("10.0.0.1", 7), ("10.0.0.2", 5000), b"hello")[20..]);

    let mut b = udp(("fd00::2", 5000), ("fd00::1", 7), b"hello");
    b[46..48].fill(0);
    assert_eq!(rig.host.handle(arrived(&b), rig.now), Err(DropReason::L4BadChecksum), "IPv6 may not");
    let mut b = rig::tcp(("10.0.0.2", 5000), ("10.0.0.1", 7), 1, 0, 2, b"");
    b[37] ^= 1;
    assert_eq!(rig.host.handle(arrived(&b), rig.now), Err(DropReason::L4BadChecksum));
}

#[test]
fn an_idle_peer_is_asked_and_a_gone_one_given_up() {
    let mut rig = Rig::new(ALL);
    let s = rig.connect("10.0.0.1:7");
    rig.settle();
    rig.pass(10 * limits::KEEP_ALIVE);
    assert_eq!((rig.state(s), rig.host.connections()), (State::Established, 1), "it answered the probes");
    // From here on every packet is lost.
    rig.lossy = 1;
    rig.pass(limits::SILENT + limits::KEEP_ALIVE);
    assert_eq!(rig.host.connections(), 0);
}

#[test]
fn a_connection_that_only_stands_there_is_reset() {
    let mut rig = Rig::new(ALL);
    let (idle, busy) = (rig.connect("10.0.0.1:7"), rig.connect("10.0.0.1:7"));
    rig.settle();
    for _ in 0..20 {
        rig.pass(limits::IDLE / 15);
        rig.socket(busy).send_slice(b"still here").unwrap();
        rig.settle();
        while rig.socket(busy).can_recv() {
            rig.socket(busy).recv(|b| (b.len(), ())).unwrap();
        }
    }
    assert_eq!((rig.state(idle), rig.state(busy)), (State::Closed, State::Established));
    assert_eq!(rig.host.connections(), 1);
}

#[test]
fn a_window_that_never_opens_does_not_hold_a_connection_for_ever() {
    let mut rig = Rig::new(ALL);
    let s = rig.connect("10.0.0.1:7");
    rig.settle();
    // The client sends without ever reading: its own window closes, then the echo's.
    let data = pattern(4096);
    rig.run(10 * SECOND, |rig| {
        while rig.socket(s).can_send() {
            rig.socket(s).send_slice(&data).unwrap();
        }
        rig.now >= Instant::from_secs(9)
    });
    assert_eq!(rig.host.connections(), 1);
    rig.pass(limits::IDLE + 10 * SECOND);
    assert_eq!((rig.host.connections(), rig.state(s)), (0, State::Closed));
}

#[test]
fn sequence_numbers_and_identifications_are_not_to_be_guessed() {
    let first_of = |seed: u64| {
        let mut host = Host::new(ALL, seed);
        let mut numbers = Vec::new();
        for port in 0..4u16 {
            let syn = rig::tcp(("10.0.0.2", 5000 + port), ("10.0.0.1", 7), 1, 0, 2, b"");
            host.handle(arrived(&syn), Instant::ZERO).unwrap();
            let mut out = Vec::new();
            host.poll(Instant::ZERO, &mut out);
            let b = out[0].data();
            numbers.push((b[24..28].to_vec(), b[4..6].to_vec()));
        }
        numbers
    };
    let (a, b) = (first_of(1), first_of(2));
    assert_eq!(a, first_of(1), "the same seed gives the same run");
    for i in 0..4 {
        assert_ne!(a[i].0, b[i].0);
        assert!((0..i).all(|j| a[i].0 != a[j].0 && a[i].1 != a[j].1));
    }
}

#[test]
fn super_frames_carry_a_run_of_identifications() {
    let mut rig = Rig::new(ALL);
    let s = rig.connect("10.0.0.1:7");
    rig.settle();
    let mut seen = std::collections::HashSet::new();
    rig.socket(s).send_slice(&pattern(100_000)).unwrap();
    for _ in 0..50 {
        let at = rig.now;
        rig.client_only();
        for p in rig.poll() {
            for b in on_the_wire(&p) {
                assert!(seen.insert([b[4], b[5]]), "an identification used twice");
                rig.deliver(b);
            }
        }
        rig.now = at + Duration::from_millis(5);
    }
    assert!(seen.len() > 60);
}
