//! The flow cache repeats what the walk does, and nothing else: two routers with the same rules and the same packets, one
//! of which has no cache, give the same frames, flows, marks, logs and counters, and tell the same of their flows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use sekisho::base::counters::Tally;
use sekisho::base::{Column, DropReason, Event, HOOKS, LinkId, Mac};
use sekisho::conntrack::Listener;
use sekisho::filter::{Family, iptables};
use sekisho::packet::{Csum, Gso, GsoKind, Meta, Offload, Packet};
use sekisho::path::FlowCacheConfig;
use sekisho::wire::tcp::{ACK, FIN, PSH, RST, SYN, Tcp, URG};
use sekisho::wire::{icmpv4, icmpv6, ipv4::Ipv4, ipv6::Ipv6, proto};

use crate::make::*;
use crate::net::*;

mod followed;
pub(crate) mod rulesets;

/// Flows are remembered as early as can be.
const EAGER: FlowCacheConfig = FlowCacheConfig { entries: 1 << 17, eager: true };

/// What happens.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// The client of a flow says something, or its server.
    Say {
        flow: usize,
        server: bool,
        how: How,
    },
    /// The frame before comes once more.
    Again,
    Pass(u64),
    /// The same, and no timer runs meanwhile: the worker was busy.
    Late(u64),
    /// Other rules come into force.
    Rules(usize),
    /// A link goes down.
    Down(LinkId),
    /// It comes back.
    Up(LinkId),
    /// All flows are forgotten.
    Flush,
    /// The server has another station's address from now on.
    Move(u8),
}

/// What is particular about a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    tos: u8,
    ttl: u8,
    len: usize,
    flags: u8,
    /// Added to the sequence number that would be right.
    skew: u32,
    /// What its sender left to the hardware: nothing, the checksum, or cutting too. [`NO_SUM`]: it has none.
    offload: u8,
    /// Bytes behind the packet that Ethernet asks for.
    padding: usize,
    /// Whether another station of the client's has sent it.
    pub(crate) other_mac: bool,
}

/// A datagram without a checksum (RFC 768).
const NO_SUM: u8 = 3;

/// A flow's two ends, and how far TCP has come.
#[derive(Debug, Clone)]
pub(crate) struct Talk {
    client: IpAddr,
    to: IpAddr,
    proto: u8,
    ports: (u16, u16),
    seq: [u32; 2],
    /// What came out of the router last: whom the server answers.
    heard: Option<(IpAddr, IpAddr, (u16, u16))>,
}

pub(crate) fn talks() -> Vec<Talk> {
    let talk = |client: IpAddr, to: IpAddr, proto, ports| Talk {
        client,
        to,
        proto,
        ports,
        seq: [1000, 9000],
        heard: None,
    };
    let (c4, s4, c6, s6) = (CLIENT.into(), SERVER.into(), CLIENT6.into(), SERVER6.into());
    vec![
        talk(c4, s4, proto::UDP, (4000, 53)),
        talk(c4, s4, proto::TCP, (4001, 80)),
        talk(c4, s4, proto::ICMP, (7, 0)),
        talk(c6, s6, proto::UDP, (4000, 53)),
        talk(c6, s6, proto::TCP, (4001, 80)),
        talk(c6, s6, proto::ICMPV6, (7, 0)),
        // By a link without addresses.
        talk(c4, IpAddr::from([10, 3, 0, 9]), proto::UDP, (4002, 53)),
        // What rules send to the server.
        talk(c4, IpAddr::from([10, 2, 0, 77]), proto::TCP, (4003, 8080)),
        // Back out of the link it came in by: now and then the client is told of the shorter way.
        talk(c4, BESIDE.into(), proto::UDP, (4004, 53)),
    ]
}

/// A station on the client's link.
const BESIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 77);

impl Talk {
    /// A packet of one side, from the IP header on, and its link.
    pub(crate) fn say(&mut self, server: bool, how: &How) -> Option<(LinkId, Vec<u8>, Offload)> {
        let (src, dst, ports) = match server {
            false => (self.client, self.to, self.ports),
            true => {
                let (src, dst, ports) = self.heard?;
                (dst, src, (ports.1, ports.0))
            }
        };
        let payload = bytes(how.len);
        let kinds =
            if server { (icmpv4::ECHO_REPLY, icmpv6::ECHO_REPLY) } else { (icmpv4::ECHO, icmpv6::ECHO) };
        let rest = u32::from(if server { ports.1 } else { ports.0 }) << 16 | 9;
        let mut l3 = match (self.proto, src, dst) {
            (proto::UDP, ..) => udp(src, dst, ports, &payload),
            (proto::TCP, ..) => self.segment(server, how, (src, dst, ports)),
            (_, IpAddr::V4(s), IpAddr::V4(d)) => icmp4(s, d, (kinds.0, 0), rest, &payload),
            (_, IpAddr::V6(s), IpAddr::V6(d)) => icmp6(s, d, (kinds.1, 0), rest, &payload),
            _ => return None,
        };
        if src.is_ipv6() {
            Ipv6::new(&mut l3[..])?.set_traffic_class(how.tos);
        } else {
            l3 = edit4(l3, |p| p[1] = how.tos);
        }
        let l3 = ttl(l3, how.ttl);
        let link = match (server, src) {
            (false, _) => LAN,
            (true, src) if src == IpAddr::from([10, 3, 0, 9]) => TUN,
            (true, src) if src == BESIDE => LAN,
            (true, _) => WAN,
        };
        let (l3, offload) = self.unfinished(l3, how);
        Some((link, l3, offload))
    }

    fn segment(
        &mut self,
        server: bool,
        how: &How,
        (src, dst, ports): (IpAddr, IpAddr, (u16, u16)),
    ) -> Vec<u8> {
        let me = usize::from(server);
        let len = if how.flags & (SYN | RST) != 0 { 0 } else { how.len };
        let mut l3 = tcp(src, dst, ports, how.flags, &bytes(len));
        let l4 = if src.is_ipv6() { 40 } else { 20 };
        // A window of 60,000.
        l3[l4 + 14..l4 + 16].copy_from_slice(&60_000_u16.to_be_bytes());
        let mut segment = Tcp::new(&mut l3[l4..]).unwrap();
        segment.set_seq(self.seq[me].wrapping_add(how.skew));
        segment.set_ack(if how.flags & ACK != 0 { self.seq[1 - me] } else { 0 });
        segment.fill_checksum(src, dst);
        if how.skew == 0 {
            let more = len as u32 + u32::from(how.flags & (SYN | FIN) != 0);
            self.seq[me] = self.seq[me].wrapping_add(more);
        }
        l3
    }

    /// Leaves the packet unfinished, as its sender's hardware would get it.
    fn unfinished(&self, mut l3: Vec<u8>, how: &How) -> (Vec<u8>, Offload) {
        let v6 = self.client.is_ipv6();
        let field = match self.proto {
            proto::TCP => 16,
            proto::UDP => 6,
            _ => return (l3, Offload::default()),
        };
        if how.offload == 0 {
            return (l3, Offload::default());
        }
        let l4 = if v6 { 40 } else { 20 };
        let len = (l3.len() - l4) as u32;
        if how.offload == NO_SUM {
            if self.proto == proto::UDP && !v6 {
                l3[l4 + field..l4 + field + 2].fill(0);
            }
            return (l3, Offload::default());
        }
        let (src, dst): (IpAddr, IpAddr) = match v6 {
            true => Ipv6::new(&l3[..]).map(|ip| (ip.src().into(), ip.dst().into())),
            false => Ipv4::new(&l3[..]).map(|ip| (ip.src().into(), ip.dst().into())),
        }
        .unwrap();
        use sekisho::wire::checksum::{fold, pseudo};
        let begun = fold(pseudo(src, dst, self.proto, len).unwrap());
        l3[l4 + field..l4 + field + 2].copy_from_slice(&begun.to_be_bytes());
        let csum = Csum::Partial { start: l4 as u16, field: field as u16 };
        let kind = match (self.proto, v6) {
            (proto::TCP, false) => GsoKind::Tcp4,
            (proto::TCP, true) => GsoKind::Tcp6,
            _ => GsoKind::Udp,
        };
        let gso = (how.offload == 2 && how.len > 0).then_some(Gso { kind, size: 400, ecn: false });
        (l3, Offload { csum, gso })
    }
}

/// The two routers.
struct Pair {
    benches: [Bench; 2],
    talks: Vec<Talk>,
    rules: Vec<[String; 2]>,
    last: Option<(LinkId, Vec<u8>, Offload)>,
    /// Who hears what is told of each one's flows.
    listeners: [Listener; 2],
}

impl Pair {
    fn new(rules: Vec<[String; 2]>, caches: [FlowCacheConfig; 2]) -> Pair {
        let benches = caches.map(|cache| {
            let mut plan = Plan::default().rules(&rules[0][0], &rules[0][1]);
            plan.config.flow_cache = cache;
            let mut b = plan.build();
            for (link, ip, mac) in
                [(LAN, IpAddr::from(CLIENT), CLIENT_MAC), (LAN, CLIENT6.into(), CLIENT_MAC)]
            {
                b.router.set_static_neighbor(link, ip, mac);
            }
            b.router.set_static_neighbor(LAN, BESIDE.into(), Mac([2, 0, 0, 0, 1, 77]));
            b.router.set_static_neighbor(WAN, SERVER6.into(), SERVER_MAC);
            // In what order several are asked for is not said.
            for last in (50..=60).chain([77]) {
                b.router.set_static_neighbor(WAN, IpAddr::from([10, 2, 0, last]), SERVER_MAC);
            }
            b.router.set_static_neighbor(WAN, "fd02::50".parse().unwrap(), SERVER_MAC);
            // The server's is learned.
            b.client_sends(&udp(CLIENT, SERVER, (1, 1), b"first"));
            b.answer_arp(WAN, SERVER, SERVER_MAC);
            b
        });
        let listen = |b: &Bench| b.router.live().conntrack.listen(100_000, Box::new(|_| true));
        let listeners = benches.each_ref().map(listen);
        Pair { benches, listeners, talks: talks(), rules, last: None }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Say { flow, server, how } => {
                if let Some((link, l3, offload)) = self.talks[*flow].say(*server, how) {
                    let mac = if how.other_mac { Mac([2, 0, 0, 0, 1, 9]) } else { CLIENT_MAC };
                    let mut bytes = match link {
                        LAN => frame(LAN_MAC, mac, &l3),
                        WAN => frame(WAN_MAC, SERVER_MAC, &l3),
                        _ => l3,
                    };
                    if link != TUN && offload == Offload::default() {
                        bytes.resize(bytes.len() + how.padding, 0xee);
                    }
                    self.last = Some((link, bytes, offload));
                    self.send();
                }
            }
            Act::Again => self.send(),
            Act::Pass(ms) => self.each(|b| b.pass(Duration::from_millis(*ms))),
            Act::Rules(n) => {
                let [v4, v6] = self.rules[n % self.rules.len()].clone();
                // Each its own, lest they count together.
                for b in &mut self.benches {
                    b.router.replace(Plan::default().rules(&v4, &v6).snapshot());
                }
            }
            Act::Late(ms) => self.each(|b| b.now += Duration::from_millis(*ms)),
            Act::Down(link) => self.each(|b| {
                b.worker.handle_link(*link, false, b.now);
                b.collect();
            }),
            Act::Up(link) => self.each(|b| {
                b.worker.handle_link(*link, true, b.now);
                b.pass(Duration::from_secs(3));
            }),
            Act::Flush => self.each(|b| {
                b.router.live().conntrack.remove_where(b.now, &|_| true);
            }),
            Act::Move(n) => self.each(|b| b.answer_arp(WAN, SERVER, Mac([2, 0, 0, 0, 2, 2 + n]))),
        }
        self.compare(act);
    }

    fn send(&mut self) {
        let Some((link, bytes, offload)) = self.last.clone() else { return };
        self.each(|b| b.receive_offloaded(link, &bytes, offload));
    }

    fn each(&mut self, mut f: impl FnMut(&mut Bench)) {
        self.benches.iter_mut().for_each(&mut f);
    }

    fn compare(&mut self, act: &Act) {
        let [walked, cached] = &mut self.benches;
        let logs = [walked.worker.drain_log().collect::<Vec<_>>(), cached.worker.drain_log().collect()];
        assert_eq!(logs[0], logs[1], "{act:?}");
        let frames = |out: &[(LinkId, Packet)]| -> Vec<_> {
            out.iter()
                .map(|(link, p)| (*link, Meta { trace: None, untold: 0, ..p.meta }, p.data().to_vec()))
                .collect()
        };
        let (a, b) = (frames(&walked.out), frames(&cached.out));
        if a != b {
            let first = a.iter().zip(&b).find(|(a, b)| a != b);
            panic!("{act:?}: {} and {} frames, first apart: {first:02x?}", a.len(), b.len());
        }
        assert_eq!(walked.flows(), cached.flows(), "{act:?}");
        let told = self.listeners.each_ref().map(|l| l.take(usize::MAX));
        assert_eq!(told[0], told[1], "{act:?}");
        for talk in &mut self.talks {
            talk.hear(&walked.out);
        }
        self.each(|b| b.out.clear());
        self.each(|b| b.host.clear());
    }

    /// What is compared once, at the end.
    fn end(&self) -> u64 {
        let [walked, cached] = &self.benches;
        let (a, b) = (walked.totals(), cached.totals());
        for what in Tally::ALL.iter().filter(|t| !t.name().starts_with("flow_cache")) {
            assert_eq!(a.tally(*what), b.tally(*what), "{}", what.name());
        }
        for column in Column::ALL {
            for event in Event::ALL {
                assert_eq!(a.event(column, event), b.event(column, event), "{event:?}");
            }
            for reason in DropReason::ALL {
                assert_eq!(a.dropped(column, *reason), b.dropped(column, *reason), "{}", reason.name());
            }
        }
        assert_eq!(a.links, b.links);
        for hook in HOOKS {
            assert_eq!(a.hook(hook), b.hook(hook), "{}", hook.name());
        }
        for family in [Family::V4, Family::V6] {
            let [a, b] = [walked, cached].map(|b| {
                let snapshot = b.router.snapshot();
                snapshot.hooks.rules(family).map(|p| iptables::write(&p.ruleset(), true))
            });
            assert_eq!(a, b);
        }
        cached.balanced();
        b.tally(Tally::FlowCacheHits)
    }
}

impl Talk {
    /// Looks among what left the router for the flow's packets, to whose sender the server answers.
    pub(crate) fn hear(&mut self, out: &[(LinkId, Packet)]) {
        for (_, p) in out {
            if p.meta.proto != self.proto || p.meta.column != Column::Received || p.meta.ingress != LAN {
                continue;
            }
            let l3 = p.l3();
            let (src, dst): (IpAddr, IpAddr) = match l3[0] >> 4 {
                4 => Ipv4::new(l3).map(|ip| (ip.src().into(), ip.dst().into())),
                _ => Ipv6::new(l3).map(|ip| (ip.src().into(), ip.dst().into())),
            }
            .unwrap();
            let word = |at: usize| u16::from_be_bytes([p.l4()[at], p.l4()[at + 1]]);
            let ports = match self.proto {
                proto::ICMP | proto::ICMPV6 => (word(4), word(4)),
                _ => (word(0), word(2)),
            };
            let mine = match self.proto {
                proto::ICMP | proto::ICMPV6 => true,
                _ => dst == self.to && ports.1 == self.ports.1 || self.ports.1 == 8080 && ports.1 == 80,
            };
            if mine && src.is_ipv6() == self.client.is_ipv6() {
                self.heard = Some((src, dst, ports));
            }
        }
    }
}

fn how() -> impl Strategy<Value = How> {
    let flags = prop_oneof![
        12 => Just(ACK),
        6 => Just(ACK | PSH),
        1 => select(vec![SYN, SYN | ACK, FIN | ACK, RST, RST | ACK, ACK | URG, 0]),
    ];
    let odd = |usual: u8, others: Vec<u8>| prop_oneof![8 => Just(usual), 1 => select(others)];
    (
        odd(0, vec![0x10, 0x08, 0x03, 0xb8]),
        odd(64, vec![1, 2, 20, 255]),
        prop_oneof![6 => Just(18usize), 2 => Just(0), 2 => 1usize..1400, 1 => Just(3000)],
        flags,
        prop_oneof![12 => Just(0u32), 1 => any::<u32>(), 1 => select(vec![1, 100, u32::MAX])],
        odd(0, vec![1, 2, NO_SUM]),
        prop_oneof![8 => Just(0usize), 1 => 1usize..18],
        prop::bool::weighted(0.05),
    )
        .prop_map(|(tos, ttl, len, flags, skew, offload, padding, other_mac)| How {
            tos,
            ttl,
            len,
            flags,
            skew,
            // What does not fit a link comes as a super-frame.
            offload: if len > 1400 { 2 } else { offload },
            padding,
            other_mac,
        })
}

impl How {
    const USUAL: How =
        How { tos: 0, ttl: 64, len: 18, flags: ACK, skew: 0, offload: 0, padding: 0, other_mac: false };
}

/// What happens in a row: the beginning of a flow, some packets each way, and now and then something else.
pub(crate) fn acts() -> impl Strategy<Value = Vec<Act>> {
    let say =
        (0usize..9, any::<bool>(), how()).prop_map(|(flow, server, how)| Act::Say { flow, server, how });
    let usual = How::USUAL;
    let run = (0usize..9, 1usize..5, prop::bool::weighted(0.7)).prop_map(move |(flow, n, both)| {
        let mut acts = vec![];
        for _ in 0..n {
            acts.push(Act::Say { flow, server: false, how: usual });
            if both {
                acts.push(Act::Say { flow, server: true, how: usual });
            }
        }
        acts
    });
    let hello = select(vec![1usize, 4, 7]).prop_map(move |flow| {
        let how = |flags| How { flags, len: 0, ..usual };
        vec![
            Act::Say { flow, server: false, how: how(SYN) },
            Act::Say { flow, server: true, how: how(SYN | ACK) },
            Act::Say { flow, server: false, how: how(ACK) },
            Act::Say { flow, server: true, how: usual },
        ]
    });
    let outage = (select(vec![LAN, WAN, TUN]), run.clone()).prop_map(|(link, meanwhile)| {
        let down = [Act::Down(link)].into_iter();
        down.chain(meanwhile).chain([Act::Up(link)]).collect::<Vec<_>>()
    });
    let one = |act: BoxedStrategy<Act>| act.prop_map(|a| vec![a]);
    let some = prop_oneof![
        10 => one(say.boxed()),
        16 => run,
        4 => hello,
        3 => one(Just(Act::Again).boxed()),
        2 => one(select(vec![1u64, 500, 1500, 3000, 31_000, 70_000]).prop_map(Act::Pass).boxed()),
        1 => one((0usize..4).prop_map(Act::Rules).boxed()),
        1 => one(select(vec![31_000u64, 70_000, 200_000]).prop_map(Act::Late).boxed()),
        1 => outage,
        1 => one(Just(Act::Flush).boxed()),
        1 => one((0u8..2).prop_map(Act::Move).boxed()),
    ];
    prop::collection::vec(some, 5..40).prop_map(|acts| acts.concat())
}

#[test]
fn random_packets_under_random_rules_meet_the_same_with_the_cache_and_without() {
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let cases = std::env::var("SEKISHO_CACHE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let seed = std::env::var("SEKISHO_CACHE_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1u8);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    let hits = std::cell::Cell::new(0);
    let played = runner.run(&(rulesets::some(), acts()), |(rules, acts)| {
        let mut pair = Pair::new(rules, [FlowCacheConfig::OFF, EAGER]);
        acts.iter().for_each(|a| pair.act(a));
        hits.set(hits.get() + pair.end());
        assert_eq!(pair.benches[0].tally(Tally::FlowCacheHits), 0);
        Ok(())
    });
    if let Err(e) = played {
        panic!("{e}");
    }
    // A cache that is never asked would be as good as none.
    assert!(hits.get() > 10 * u64::from(cases), "{} hits in {cases} sequences", hits.get());
}

/// A flow's packets that rest on its mark walk again when that changes.
#[test]
fn a_mark_that_changes_counts_from_the_next_packet_on() {
    let v4 = "*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n\
              -A PREROUTING -m dscp --dscp 0x0a -j CONNMARK --set-xmark 0x1/0xffffffff\n\
              -A PREROUTING -m dscp --dscp 0x0b -j CONNMARK --set-xmark 0x0/0xffffffff\nCOMMIT\n\
              *filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n\
              -A FORWARD -m connmark --mark 0x1 -j DROP\nCOMMIT\n";
    let mut pair = Pair::new(vec![[v4.to_owned(), String::new()]], [FlowCacheConfig::OFF, EAGER]);
    let say = |server, tos| Act::Say { flow: 0, server, how: How { tos, ..How::USUAL } };
    let usual = [say(false, 0), say(true, 0), say(false, 0), say(true, 0), say(false, 0)];
    let turns = [say(false, 0x0a << 2), say(false, 0), say(true, 0), say(false, 0x0b << 2), say(false, 0)];
    for _ in 0..3 {
        usual.iter().chain(&turns).for_each(|a| pair.act(a));
    }
    assert!(pair.end() > 10);
}

/// More next hops than a worker remembers: who takes another's place does not get its packets.
#[test]
fn next_hops_that_take_turns_get_what_is_theirs() {
    let mut pair = Pair::new(vec![Default::default()], [FlowCacheConfig::OFF, EAGER]);
    let hops = 0..1_000_u16;
    let address = |n: u16| Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 1, n);
    pair.each(|b| {
        for n in hops.clone() {
            let [high, low] = n.to_be_bytes();
            assert!(b.router.set_static_neighbor(WAN, address(n).into(), Mac([2, 0, 0, 9, high, low])));
        }
    });
    for n in (0..3).flat_map(|_| hops.clone()) {
        let l3 = udp(CLIENT6, address(n), (4000, 53), b"to whom?");
        pair.each(|b| b.client_sends(&l3));
        pair.compare(&Act::Again);
    }
    assert!(pair.end() > 500);
}
