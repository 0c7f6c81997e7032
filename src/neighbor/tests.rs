//! Every state, every timer, every rule, at explicit times.

use super::*;
use crate::base::Column;
use crate::packet::Net;

pub(super) const LAN: LinkId = LinkId(1);
const WAN: LinkId = LinkId(2);
pub(super) const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
pub(super) const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);
const REPLY: Advert = Advert { solicited: true, override_: false, router: None, create: false };
const NA: Advert = Advert { router: Some(false), ..REPLY };

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn at(secs: f64) -> Instant {
    Instant::from_nanos((secs * 1e9) as u64)
}

/// A packet whose first byte after the header names it.
pub(super) fn packet(name: u8) -> Packet {
    let mut bytes = [0u8; 21];
    bytes[..20].copy_from_slice(&[0x45, 0, 0, 21, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 9, 9, 10, 0, 0, 1]);
    bytes[20] = name;
    let mut packet = Packet::from_slice(&bytes);
    packet.meta.net = Net::Ipv4;
    packet
}

fn name(packet: &Packet) -> u8 {
    packet.data()[20]
}

/// A table whose reachable time is exactly 30 s, and the actions it gave.
pub(super) struct World {
    pub(super) table: NeighborTable,
    pub(super) out: Vec<Action>,
}

impl World {
    pub(super) fn new() -> Self {
        World::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        let table = NeighborTable::new(config, 1);
        let reachable = table.shared.config.reachable.as_nanos() as u64;
        table.shared.reachable.store(reachable, std::sync::atomic::Ordering::Relaxed);
        World { table, out: Vec::new() }
    }

    pub(super) fn resolve(&mut self, to: &str, packet: Packet, secs: f64) -> Option<Ready> {
        self.table.resolve(LAN, ip(to), packet, at(secs), &mut self.out).map(|(_, ready)| ready)
    }

    pub(super) fn reply(&mut self, from: &str, mac: Mac, secs: f64) {
        self.table.advertised(LAN, ip(from), Some(mac), REPLY, at(secs), &mut self.out);
    }

    fn advert(&mut self, from: &str, mac: Option<Mac>, advert: Advert, secs: f64) {
        self.table.advertised(LAN, ip(from), mac, advert, at(secs), &mut self.out);
    }

    /// Makes `to` reachable at `mac`, with nothing waiting, since `secs`.
    pub(super) fn reachable(&mut self, to: &str, mac: Mac, secs: f64) {
        assert!(self.resolve(to, packet(0), secs).is_none());
        self.reply(to, mac, secs);
        assert!(!self.table.drained(LAN, ip(to), at(secs), &mut self.out));
        self.out.clear();
        assert_eq!(self.state(to), Nud::Reachable);
    }

    /// Makes `to` stale at `mac`.
    pub(super) fn stale(&mut self, to: &str, mac: Mac, secs: f64) {
        assert!(self.table.solicited(LAN, ip(to), mac, at(secs), &mut self.out));
        assert_eq!(self.state(to), Nud::Stale);
    }

    /// Runs timers as an event loop would, up to and including `secs`.
    pub(super) fn run(&mut self, secs: f64) -> Vec<(f64, String)> {
        let mut seen = Vec::new();
        loop {
            let next = self.table.poll_timeout();
            if next > at(secs) {
                return seen;
            }
            self.table.timeout(next, &mut self.out);
            let when = next.as_millis() as f64 / 1e3;
            seen.extend(self.take().into_iter().map(|a| (when, a)));
        }
    }

    /// The actions so far, in short.
    pub(super) fn take(&mut self) -> Vec<String> {
        self.out
            .drain(..)
            .map(|action| match action {
                Action::Solicit { target, dest: None, hint, .. } => {
                    format!("who has {target}{}", hint.map_or(String::new(), |h| format!(" for {h}")))
                }
                Action::Solicit { target, dest: Some(mac), .. } => format!("{target} still at {mac}?"),
                Action::Send { mac, packet, .. } => format!("send {} to {mac}", name(&packet)),
                Action::Unreachable { packet, .. } => format!("unreachable {}", name(&packet)),
                Action::Drop { packet, reason, .. } => format!("drop {} {}", name(&packet), reason.name()),
                Action::Failed { ip, .. } => format!("failed {ip}"),
                Action::Evicted { ip, .. } => format!("evicted {ip}"),
            })
            .collect()
    }

    pub(super) fn info(&self, of: &str) -> Option<Info> {
        self.table.entries(at(0.0)).into_iter().find(|i| i.ip == ip(of) && i.link == LAN)
    }

    fn state(&self, of: &str) -> Nud {
        self.info(of).expect("an entry").state
    }

    fn mac(&self, of: &str) -> Option<Mac> {
        self.info(of).and_then(|i| i.mac)
    }
}

const N: &str = "10.0.0.1";
pub(super) const N6: &str = "fd00::1";

#[test]
fn nobody_answers() {
    let mut w = World::new();
    assert!(w.resolve(N, packet(1), 0.0).is_none());
    assert_eq!(w.take(), ["who has 10.0.0.1 for 10.9.9.9"]);
    assert!(w.resolve(N, packet(2), 0.5).is_none());
    assert_eq!(w.take(), Vec::<String>::new(), "one solicit a second");
    assert_eq!(w.state(N), Nud::Incomplete);
    let asked = "who has 10.0.0.1 for 10.9.9.9".to_owned();
    let unreachable = |n| (3.0, format!("unreachable {n}"));
    assert_eq!(
        w.run(20.0),
        [(1.0, asked.clone()), (2.0, asked), (3.0, "failed 10.0.0.1".into()), unreachable(1), unreachable(2)]
    );
    assert_eq!(w.state(N), Nud::Failed);
    assert_eq!(w.table.parked_bytes(), 0);
    // The next use starts anew.
    assert!(w.resolve(N, packet(3), 20.0).is_none());
    assert_eq!((w.take().len(), w.state(N)), (1, Nud::Incomplete));
}

#[test]
fn an_answer_sends_what_waits_in_order() {
    let mut w = World::new();
    for n in 1..=3 {
        assert!(w.resolve(N, packet(n), 0.0).is_none());
    }
    w.take();
    w.reply(N, A, 0.1);
    let to = "to 02:00:00:00:00:0a";
    assert_eq!(w.take(), [format!("send 1 {to}"), format!("send 2 {to}"), format!("send 3 {to}")]);
    assert_eq!(w.state(N), Nud::Reachable);
    // Until those are sent, others stay behind them.
    assert!(w.resolve(N, packet(4), 0.2).is_none());
    assert!(w.take().is_empty());
    assert!(w.table.drained(LAN, ip(N), at(0.2), &mut w.out));
    assert!(w.resolve(N, packet(5), 0.3).is_none());
    assert!(w.table.drained(LAN, ip(N), at(0.3), &mut w.out));
    assert!(!w.table.drained(LAN, ip(N), at(0.3), &mut w.out));
    assert_eq!(w.take(), [format!("send 4 {to}"), format!("send 5 {to}")]);
    assert_eq!(w.resolve(N, packet(6), 0.4), Some(Ready { mac: A, until: at(1.4) }));
    assert!(!w.table.drained(LAN, ip(N), at(0.4), &mut w.out));
    assert_eq!(w.table.parked_bytes(), 0);
}

#[test]
fn a_heard_neighbor_gets_what_waits_too() {
    let mut w = World::new();
    w.resolve(N, packet(1), 0.0);
    w.take();
    w.stale(N, A, 0.1);
    assert_eq!(w.take(), ["send 1 to 02:00:00:00:00:0a"]);
}

#[test]
fn reachable_then_stale_then_probed_then_failed() {
    let mut w = World::new();
    w.reachable(N, A, 0.0);
    assert_eq!(w.resolve(N, packet(1), 29.5), Some(Ready { mac: A, until: at(30.0) }));
    // In use when its time ends: Delay at once.
    assert!(w.run(30.0).is_empty());
    assert_eq!(w.state(N), Nud::Delay);
    assert_eq!(w.resolve(N, packet(1), 34.5), Some(Ready { mac: A, until: at(35.0) }));
    let probe = "10.0.0.1 still at 02:00:00:00:00:0a?".to_owned();
    assert_eq!(
        w.run(37.5),
        [(35.0, probe.clone()), (36.0, probe.clone()), (37.0, probe)],
        "three unicast probes, a second apart"
    );
    assert_eq!(w.state(N), Nud::Probe);
    assert_eq!(w.resolve(N, packet(2), 37.5), Some(Ready { mac: A, until: at(38.0) }), "used meanwhile");
    assert_eq!(w.run(60.0), [(38.0, "failed 10.0.0.1".into())]);
    assert_eq!(w.state(N), Nud::Failed);
}

#[test]
fn unused_it_becomes_stale_and_stays_so() {
    let mut w = World::new();
    w.reachable(N, A, 0.0);
    assert!(w.run(200.0).is_empty());
    assert_eq!(w.state(N), Nud::Stale);
    // Use starts the delay; the packet goes.
    assert_eq!(w.resolve(N, packet(1), 200.0), Some(Ready { mac: A, until: at(201.0) }));
    assert_eq!(w.state(N), Nud::Delay);
    assert_eq!(w.run(205.0).len(), 1);
    assert_eq!(w.state(N), Nud::Probe);
    // An answer to the probe.
    w.reply(N, A, 205.5);
    assert_eq!(w.state(N), Nud::Reachable);
    assert!(w.run(235.0).is_empty());
    assert_eq!(w.state(N), Nud::Reachable);
}

#[test]
fn confirmation_from_above_saves_the_probe() {
    let mut w = World::new();
    w.stale(N, A, 100.0);
    w.resolve(N, packet(1), 100.0);
    w.table.confirm(LAN, ip(N), at(103.0));
    assert!(w.run(105.0).is_empty());
    assert_eq!(w.state(N), Nud::Reachable);
    // Reachable for 30 s from the confirmation, and longer with further ones.
    w.table.confirm(LAN, ip(N), at(120.0));
    w.run(149.0);
    assert_eq!(w.state(N), Nud::Reachable);
    w.run(150.0);
    assert_eq!(w.state(N), Nud::Stale);
    // Of an unknown neighbor it makes nothing.
    w.table.confirm(LAN, ip("10.0.0.77"), at(151.0));
    assert!(w.info("10.0.0.77").is_none());
}

#[test]
fn a_clock_that_just_started_is_no_confirmation() {
    let mut w = World::new();
    w.stale(N, A, 0.0);
    w.resolve(N, packet(1), 0.0);
    assert_eq!(w.run(5.0).len(), 1);
    assert_eq!(w.state(N), Nud::Probe);
}

#[test]
fn the_unknown_are_not_made_known_by_adverts() {
    let mut w = World::new();
    w.reply(N, A, 0.0);
    w.advert(N, Some(A), Advert { override_: true, ..REPLY }, 0.0);
    w.advert(N6, Some(A), NA, 0.0);
    assert!(w.table.entries(at(0.0)).is_empty());
    w.advert(N, Some(A), Advert { create: true, ..REPLY }, 0.0);
    w.advert(N6, Some(A), Advert { create: true, ..NA }, 0.0);
    assert_eq!((w.state(N), w.state(N6)), (Nud::Reachable, Nud::Stale));
    w.advert("fd00::2", None, Advert { create: true, ..NA }, 0.0);
    assert!(w.info("fd00::2").is_none());
}

#[test]
fn the_first_of_several_arp_replies_stands_for_a_second() {
    let mut w = World::new();
    w.reachable(N, A, 0.0);
    w.reply(N, B, 1.0);
    assert_eq!((w.mac(N), w.state(N)), (Some(A), Nud::Reachable));
    w.resolve(N, packet(1), 1.5);
    let generation = w.table.generation();
    w.reply(N, B, 1.6);
    assert_eq!((w.mac(N), w.state(N)), (Some(B), Nud::Reachable));
    assert_eq!(w.table.generation(), generation + 1);
    // Gratuitous ARP does not wait, and proves nothing.
    w.advert(N, Some(A), Advert { solicited: false, override_: true, ..REPLY }, 1.7);
    assert_eq!((w.mac(N), w.state(N)), (Some(A), Nud::Stale));
    assert_eq!(w.table.generation(), generation + 1, "nobody had been given the MAC");
}

#[test]
fn broadcast_arp_with_the_same_mac_changes_nothing() {
    let mut w = World::new();
    w.reachable(N, A, 0.0);
    w.advert(N, Some(A), Advert { solicited: false, ..REPLY }, 10.0);
    assert_eq!(w.state(N), Nud::Reachable);
    w.run(30.0);
    assert_eq!(w.state(N), Nud::Stale, "it did not count as a confirmation");
}

#[test]
fn neighbor_advertisements_follow_rfc_4861() {
    // Without override a differing MAC only casts doubt on a reachable one.
    let mut w = World::new();
    w.reachable(N6, A, 0.0);
    w.advert(N6, Some(B), Advert { router: Some(true), ..NA }, 5.0);
    assert_eq!((w.mac(N6), w.state(N6)), (Some(A), Nud::Stale));
    assert!(!w.info(N6).unwrap().router, "nothing of such a message counts");
    // In any other state it is ignored.
    w.resolve(N6, packet(1), 5.0);
    w.advert(N6, Some(B), NA, 6.0);
    assert_eq!((w.mac(N6), w.state(N6)), (Some(A), Nud::Delay));
    // With override it replaces, solicited or not.
    w.advert(N6, Some(B), Advert { override_: true, router: Some(true), ..NA }, 7.0);
    assert_eq!((w.mac(N6), w.state(N6)), (Some(B), Nud::Reachable));
    assert!(w.info(N6).unwrap().router);
    w.advert(N6, Some(A), Advert { override_: true, solicited: false, ..NA }, 8.0);
    assert_eq!((w.mac(N6), w.state(N6)), (Some(A), Nud::Stale));
    assert!(!w.info(N6).unwrap().router);
    // Without a MAC it confirms the one known.
    w.advert(N6, None, NA, 9.0);
    assert_eq!((w.mac(N6), w.state(N6)), (Some(A), Nud::Reachable));
    // Unsolicited, same MAC: no news, but the R flag counts.
    w.advert(N6, Some(A), Advert { solicited: false, router: Some(true), ..NA }, 10.0);
    assert_eq!((w.state(N6), w.info(N6).unwrap().router), (Nud::Reachable, true));
    // IPv6 has no locktime: that was above.
}

#[test]
fn incomplete_and_failed_take_adverts_as_linux_does() {
    let mut w = World::new();
    w.resolve(N6, packet(1), 0.0);
    w.advert(N6, None, NA, 0.1);
    assert_eq!(w.state(N6), Nud::Incomplete, "nothing to learn");
    w.advert(N6, Some(A), Advert { solicited: false, ..NA }, 0.2);
    assert_eq!((w.mac(N6), w.state(N6)), (Some(A), Nud::Stale), "unsolicited: known, not proven");

    let mut w = World::new();
    w.resolve(N6, packet(1), 0.0);
    w.resolve(N, packet(2), 0.0);
    w.run(3.0);
    w.advert(N6, Some(A), NA, 3.5);
    w.reply(N, A, 3.5);
    assert_eq!((w.state(N6), w.state(N)), (Nud::Failed, Nud::Reachable));
}

#[test]
fn a_solicitation_makes_an_entry_and_overrides() {
    let mut w = World::new();
    w.stale(N, A, 0.0);
    w.stale(N, B, 0.1);
    assert_eq!(w.mac(N), Some(B));
    w.reachable("10.0.0.2", A, 0.0);
    assert!(w.table.solicited(LAN, ip("10.0.0.2"), A, at(1.0), &mut w.out));
    assert_eq!(w.state("10.0.0.2"), Nud::Reachable, "the same MAC is no news");
}

#[test]
fn what_was_proven_of_one_mac_is_not_of_another() {
    let mut w = World::new();
    w.reachable(N, A, 1.0);
    w.stale(N, B, 1.0);
    w.resolve(N, packet(1), 1.0);
    assert_eq!(w.run(6.0).len(), 1, "B is probed, though A was confirmed just when the delay began");
    assert_eq!(w.state(N), Nud::Probe);
}

#[test]
fn macs_no_station_can_have_are_refused() {
    let mut w = World::new();
    for bad in [Mac::ZERO, Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1])] {
        assert!(!w.table.solicited(LAN, ip(N), bad, at(0.0), &mut w.out));
        assert!(!w.table.set_static(LAN, ip(N), bad, at(0.0), &mut w.out));
        w.advert(N, Some(bad), Advert { create: true, ..REPLY }, 0.0);
    }
    assert!(w.table.entries(at(0.0)).is_empty());
    w.reachable(N, A, 0.0);
    w.advert(N, Some(Mac::BROADCAST), Advert { override_: true, ..REPLY }, 5.0);
    assert_eq!(w.mac(N), Some(A));
}

#[test]
fn permanent_neighbors_are_left_alone() {
    let mut w = World::new();
    w.resolve(N, packet(1), 0.0);
    w.take();
    assert!(w.table.set_static(LAN, ip(N), A, at(0.5), &mut w.out));
    assert_eq!(w.take(), ["send 1 to 02:00:00:00:00:0a"]);
    assert!(!w.table.drained(LAN, ip(N), at(0.5), &mut w.out));
    assert_eq!(w.resolve(N, packet(2), 1.0), Some(Ready { mac: A, until: Instant::FAR_FUTURE }));
    w.reply(N, B, 10.0);
    w.advert(N, Some(B), Advert { override_: true, ..REPLY }, 10.0);
    assert!(w.table.solicited(LAN, ip(N), B, at(10.0), &mut w.out), "its entry is there");
    w.table.flush_link(LAN, at(10.0), &mut w.out);
    w.run(1000.0);
    assert_eq!((w.mac(N), w.state(N)), (Some(A), Nud::Permanent));
    // A new MAC, or none, reaches those who were given the old one for ever.
    let generation = w.table.generation();
    w.table.set_static(LAN, ip(N), A, at(1000.0), &mut w.out);
    assert_eq!(w.table.generation(), generation);
    w.table.set_static(LAN, ip(N), B, at(1000.0), &mut w.out);
    assert_eq!(w.table.generation(), generation + 1);
    w.resolve(N, packet(2), 1001.0);
    assert!(w.table.remove(LAN, ip(N), at(1002.0), &mut w.out));
    assert_eq!(w.table.generation(), generation + 2);
    assert!(!w.table.remove(LAN, ip(N), at(1002.0), &mut w.out));
}

#[test]
fn a_removed_neighbor_is_unreachable_for_what_waits() {
    let mut w = World::new();
    w.resolve(N, packet(7), 0.0);
    w.take();
    w.table.remove(LAN, ip(N), at(0.1), &mut w.out);
    assert_eq!(w.take(), ["unreachable 7"]);
    assert_eq!(w.run(100.0), [], "its timer is gone with it");
}

#[test]
fn a_link_that_goes_down_takes_its_neighbors() {
    let mut w = World::new();
    w.resolve(N, packet(1), 0.0);
    w.reachable("10.0.0.2", A, 0.0);
    w.resolve("10.0.0.2", packet(2), 0.5);
    assert!(w.table.solicited(WAN, ip(N), B, at(0.0), &mut w.out));
    w.take();
    let generation = w.table.generation();
    w.table.flush_link(LAN, at(1.0), &mut w.out);
    assert_eq!(w.take(), ["drop 1 link_down"]);
    let left: Vec<_> = w.table.entries(at(1.0)).into_iter().map(|i| (i.link, i.ip)).collect();
    assert_eq!(left, [(WAN, ip(N))]);
    assert_eq!((w.table.generation(), w.table.parked_bytes()), (generation + 1, 0));
    // A draining entry: what stayed behind is dropped too, and the drainer finds nothing.
    w.resolve(N, packet(3), 2.0);
    w.reply(N, A, 2.0);
    w.resolve(N, packet(4), 2.0);
    w.take();
    w.table.flush_link(LAN, at(2.0), &mut w.out);
    assert_eq!(w.take(), ["drop 4 link_down"]);
    assert!(!w.table.drained(LAN, ip(N), at(2.0), &mut w.out));
}

#[test]
fn the_oldest_go_when_a_queue_is_full() {
    let bytes = packet(0).footprint();
    let mut w = World::with(Config { queue_bytes: 2 * bytes, ..Config::default() });
    for n in 1..=4 {
        w.resolve(N, packet(n), 0.0);
    }
    w.out.remove(0);
    assert_eq!(w.take(), ["drop 1 neighbor_queue_full", "drop 2 neighbor_queue_full"]);
    assert_eq!(w.table.parked_bytes(), 2 * bytes);
    w.reply(N, A, 0.1);
    assert_eq!(w.take(), ["send 3 to 02:00:00:00:00:0a", "send 4 to 02:00:00:00:00:0a"]);
    // The latest waits however large it is.
    let mut w = World::with(Config { queue_bytes: 1, ..Config::default() });
    w.resolve(N, packet(1), 0.0);
    w.resolve(N, packet(2), 0.0);
    w.out.remove(0);
    assert_eq!(w.take(), ["drop 1 neighbor_queue_full"]);
    assert_eq!(w.info(N).unwrap().queued, 1);
}

#[test]
fn all_queues_together_are_bounded() {
    let bytes = packet(0).footprint();
    let mut w = World::with(Config { total_bytes: 3 * bytes, ..Config::default() });
    for n in 1..=3 {
        w.resolve(&format!("10.0.0.{n}"), packet(n), 0.0);
    }
    w.take();
    // One that has a packet waiting exchanges it; one that has none is asked for all the same.
    w.resolve("10.0.0.1", packet(11), 0.1);
    w.resolve("10.0.0.4", packet(4), 0.1);
    assert_eq!(w.take(), ["drop 1 neighbor_queue_full", "drop 4 neighbor_queue_full", "who has 10.0.0.4"],);
    assert_eq!(w.table.parked_bytes(), 3 * bytes);
}

#[test]
fn large_storage_does_not_wait() {
    let mut w = World::new();
    let mut pool = crate::packet::Pool::new(1);
    let mut large = pool.large();
    large.append(packet(1).data());
    w.resolve(N, large, 0.0);
    assert!(w.table.parked_bytes() < 1000);
}

#[test]
fn the_same_address_on_two_links_is_two_neighbors() {
    let mut w = World::new();
    assert!(w.table.solicited(LAN, ip("fe80::1"), A, at(0.0), &mut w.out));
    assert!(w.table.solicited(WAN, ip("fe80::1"), B, at(0.0), &mut w.out));
    let macs: Vec<_> = w.table.entries(at(0.0)).into_iter().map(|i| i.mac.unwrap()).collect();
    assert_eq!(macs, [A, B]);
}

#[test]
fn the_hint_is_the_latest_packets_source() {
    let mut w = World::new();
    w.resolve(N, packet(1), 0.0);
    let mut v6 = Packet::from_slice(&[0u8; 40]);
    v6.data_mut()[8..24].copy_from_slice(&"fd00::9".parse::<std::net::Ipv6Addr>().unwrap().octets());
    v6.meta.net = Net::Ipv6;
    w.resolve(N6, v6, 0.0);
    let mut short = Packet::from_slice(&[0u8; 5]);
    short.meta.net = Net::Ipv4;
    w.resolve("10.0.0.3", short, 0.0);
    assert_eq!(
        w.take(),
        ["who has 10.0.0.1 for 10.9.9.9", "who has fd00::1 for fd00::9", "who has 10.0.0.3"]
    );
}

#[test]
fn reachable_times_are_random_within_bounds_and_drawn_anew() {
    let read = |t: &NeighborTable| t.shared.reachable.load(std::sync::atomic::Ordering::Relaxed);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let table = NeighborTable::new(Config::default(), seed);
        let first = read(&table);
        table.timeout(at(301.0), &mut Vec::new());
        for nanos in [first, read(&table)] {
            assert!((15_000_000_000..45_000_000_000).contains(&nanos));
            seen.insert(nanos);
        }
    }
    assert!(seen.len() > 190);
}

#[test]
fn the_fastest_timer_sets_the_alarm() {
    let mut w = World::new();
    assert_eq!(w.table.poll_timeout(), at(30.0), "the first collection");
    w.reachable(N, A, 10.0);
    assert_eq!(w.table.poll_timeout(), at(11.0), "set while incomplete; put off when it goes off");
    w.run(11.0);
    assert_eq!(w.table.poll_timeout(), at(30.0));
    w.run(30.0);
    assert_eq!(w.table.poll_timeout(), at(40.0));
    // Early calls do nothing.
    w.table.timeout(at(39.9), &mut w.out);
    assert!(w.out.is_empty());
}

#[test]
fn alarms_do_not_pile_up() {
    let mut w = World::new();
    for i in 0..100_000 {
        // Doubt and proof by turns, as a hostile station on the link would have it.
        let secs = 1.0 + f64::from(i) / 100_000.0;
        w.stale(N, if i % 2 == 0 { A } else { B }, secs);
        w.resolve(N, packet(0), secs);
        w.reply(N, if i % 2 == 0 { A } else { B }, secs);
        w.out.clear();
    }
    let alarms: usize = w.table.shards.iter().map(|s| s.lock().unwrap().alarms()).sum();
    assert!(alarms < 100, "{alarms}");
    // Nor do those of neighbors that are forgotten.
    for i in 0..10_000 {
        w.resolve(N, packet(0), 3.0 + f64::from(i) / 1e5);
        w.table.remove(LAN, ip(N), at(3.0 + f64::from(i) / 1e5), &mut w.out);
        w.out.clear();
    }
    let alarms: usize = w.table.shards.iter().map(|s| s.lock().unwrap().alarms()).sum();
    assert!(alarms < 16 * 66, "{alarms}");
}

#[test]
fn the_column_of_a_packet_survives_waiting() {
    let mut w = World::new();
    let mut made = packet(1);
    made.meta.column = Column::Originated;
    w.resolve(N, made, 0.0);
    w.reply(N, A, 0.0);
    assert!(
        w.out
            .iter()
            .any(|a| matches!(a, Action::Send { packet, .. } if packet.meta.column == Column::Originated))
    );
}

#[test]
fn info_tells_ages_and_counts() {
    let mut w = World::new();
    w.resolve(N, packet(1), 1.0);
    w.resolve(N, packet(2), 1.5);
    let info = &w.table.entries(at(2.0))[0];
    assert_eq!((info.state, info.mac, info.queued), (Nud::Incomplete, None, 2));
    assert_eq!((info.used, info.updated), (Duration::from_millis(500), Duration::from_secs(1)));
    assert_eq!(info.confirmed, None);
    w.reply(N, A, 2.0);
    let info = &w.table.entries(at(3.0))[0];
    assert_eq!((info.mac, info.confirmed), (Some(A), Some(Duration::from_secs(1))));
    assert_eq!(info.state.to_string(), "REACHABLE");
}
