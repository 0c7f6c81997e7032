//! What a router says it would do is what it does, and saying it changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sekisho::base::counters::Totals;
use sekisho::base::{Column, DropReason, Event, LinkId, Mac};
use sekisho::conntrack::Flow;
use sekisho::filter::{Family, iptables};
use sekisho::packet::{FlowId, Offload, Packet};
use sekisho::path::trace::Step;
use sekisho::router::{Comparison, Difference, Fate, Outcome, Walked};
use sekisho::wire::{proto, tcp};

use crate::cached::{Act, Talk, acts, rulesets, talks};
use crate::make::*;
use crate::net::*;

#[test]
fn a_packet_s_own_end_is_told_and_not_that_of_what_it_caused() {
    let rules = "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT DROP\nCOMMIT\n";
    let mut b = Plan::default().rules(rules, "").build().acquaint();
    let other = Ipv4Addr::new(10, 1, 0, 9);
    assert!(b.router.set_static_neighbor(LAN, other.into(), SERVER_MAC));
    // It goes back by where it came from: the router would send a redirect, and may not.
    let sent = udp(CLIENT, other, (1, 2), b"x");
    let asked = Packet::from_slice(&frame(LAN_MAC, CLIENT_MAC, &sent));
    let walked = b.router.shadow().walk(Some(LAN), asked, b.now);
    assert_eq!(walked.records.len(), 2, "{}", crate::traces::text(&walked.records));
    let outcome = Outcome::of(&walked.records);
    assert_eq!((outcome.verdict, outcome.dev.as_deref()), (Fate::Forwarded, Some("lan")), "{outcome}");
    // A trace tells them in this order, too.
    let w = crate::traces::watch(&b, "udp");
    b.client_sends(&sent);
    let told = crate::traces::all(&w);
    assert!(told.len() == 2 && told[1].cause == Some(told[0].id), "{}", crate::traces::text(&told));
}

/// All of a router's state that can be seen.
#[derive(Debug, PartialEq)]
struct State {
    flows: Vec<(FlowId, Flow)>,
    neighbors: Vec<sekisho::neighbor::Info>,
    dad: Vec<(LinkId, std::net::Ipv6Addr, sekisho::neighbor::DadState)>,
    totals: Totals,
    conntrack: sekisho::conntrack::Stats,
    rules: [Option<String>; 2],
    waiting: [usize; 4],
}

impl State {
    fn of(b: &Bench) -> State {
        let live = b.router.live();
        let mut flows = Vec::new();
        live.conntrack.each(b.now, &mut |id, flow| flows.push((id, *flow)));
        let snapshot = b.router.snapshot();
        let rules = |family| snapshot.hooks.rules(family).map(|p| iptables::write(&p.ruleset(), true));
        State {
            flows,
            neighbors: live.neighbors.entries(b.now),
            dad: live.dad.addresses(),
            totals: b.totals(),
            conntrack: live.conntrack.stats(),
            rules: [Family::V4, Family::V6].map(rules),
            waiting: [
                live.neighbors.parked_bytes(),
                live.reassembler.memory(),
                live.defrag.memory(),
                live.conntrack.len(),
            ],
        }
    }
}

/// What a router gave for one frame.
#[derive(Debug, PartialEq)]
struct Gave {
    sent: Vec<(LinkId, Column, Vec<u8>)>,
    host: Vec<Vec<u8>>,
    log: Vec<(u8, String)>,
    drops: Vec<(&'static str, u64)>,
    events: Vec<u64>,
}

impl Gave {
    fn new(
        sent: &[(LinkId, Packet)],
        host: &[Packet],
        log: Vec<(u8, String)>,
        before: &Totals,
        after: &Totals,
    ) -> Gave {
        let both = || Column::ALL.into_iter();
        let since = |of: &dyn Fn(&Totals) -> u64| of(after) - of(before);
        let drops = DropReason::ALL.iter().map(|r| (r.name(), since(&|t| t.drops(*r)))).filter(|d| d.1 > 0);
        let events = both().flat_map(|c| Event::ALL.map(|e| (c, e)));
        Gave {
            sent: sent.iter().map(|(link, p)| (*link, p.meta.column, masked(p))).collect(),
            host: host.iter().map(|p| p.l3().to_vec()).collect(),
            log: log.into_iter().map(|(level, line)| (level, unnumbered(line))).collect(),
            drops: drops.collect(),
            events: events.map(|(c, e)| since(&|t| t.event(c, e))).collect(),
        }
    }

    /// Without what chance may have had a hand in: ports and what follows from them.
    fn roughly(mut self) -> Gave {
        self.sent.iter_mut().for_each(|(.., bytes)| {
            let len = bytes.len();
            *bytes = vec![0; len];
        });
        self.host.iter_mut().for_each(Vec::clear);
        self.log.clear();
        self
    }
}

/// A frame but for the identifier that the router gives packets of its own.
fn masked(p: &Packet) -> Vec<u8> {
    let mut bytes = p.data().to_vec();
    let l3 = usize::from(p.meta.l3);
    if p.meta.column == Column::Originated && p.l3().first().is_some_and(|b| b >> 4 == 4) {
        bytes[l3 + 4..l3 + 6].fill(0);
        bytes[l3 + 10..l3 + 12].fill(0);
    }
    bytes
}

/// A line of the log but for that identifier.
fn unnumbered(line: String) -> String {
    match line.split_once(" ID=") {
        Some((head, tail)) if line.contains("IN= ") => {
            format!("{head} {}", tail.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        _ => line,
    }
}

/// What the router says it would do with a frame.
fn explained(b: &Bench, link: LinkId, bytes: &[u8], offload: Offload) -> (Walked, Gave) {
    let mut shadow = b.router.shadow();
    let mut p = Packet::from_slice(bytes);
    p.meta.offload = offload;
    let before = shadow.router().totals();
    let walked = shadow.walk(Some(link), p, b.now);
    let gave = Gave::new(&walked.sent, &walked.host, walked.log.clone(), &before, &shadow.router().totals());
    (walked, gave)
}

/// Explains a frame, then sends it; both must come to the same.
#[track_caller]
fn both(b: &mut Bench, link: LinkId, bytes: &[u8], offload: Offload) -> Walked {
    let before = State::of(b);
    let (walked, said) = explained(b, link, bytes, offload);
    assert_eq!(State::of(b), before, "explaining has changed something");
    let (again, twice) = explained(b, link, bytes, offload);
    let by_chance = walked.chance.rules || again.chance.rules;
    if by_chance {
        return walked;
    }
    let (said, twice) = if walked.chance.nat { (said.roughly(), twice.roughly()) } else { (said, twice) };
    assert_eq!(said, twice, "another answer the second time");
    b.worker.drain_log();
    let (sent, host) = (b.out.len(), b.host.len());
    b.receive_offloaded(link, bytes, offload);
    let log = b.worker.drain_log().collect();
    let did = Gave::new(&b.out[sent..], &b.host[host..], log, &before.totals, &b.totals());
    let did = if walked.chance.nat { did.roughly() } else { did };
    assert_eq!(said, did, "{}", told(&walked));
    agrees(&walked, &did);
    walked
}

/// The outcome is what the frames and the ledger show.
#[track_caller]
fn agrees(walked: &Walked, did: &Gave) {
    let outcome = Outcome::of(&walked.records);
    let own = |column| did.sent.iter().filter(|s| s.1 == column).count();
    let received = own(Column::Received);
    match outcome.verdict {
        Fate::Forwarded => assert!(received > 0, "{outcome}: {did:?}"),
        Fate::Dropped => {
            let reason = outcome.reason.as_deref().unwrap_or_default();
            assert!(did.drops.iter().any(|d| d.0 == reason), "{outcome}: {did:?}");
            assert_eq!(received, 0, "{outcome}: {did:?}");
        }
        Fate::Delivered | Fate::Waits | Fate::Gathered => assert_eq!(received, 0, "{outcome}: {did:?}"),
        other => panic!("{other:?}: {}", told(walked)),
    }
}

fn told(walked: &Walked) -> String {
    walked.records.iter().map(|r| format!("{r}\n")).collect()
}

/// A router, and those who talk through it.
struct Scene {
    b: Bench,
    talks: Vec<Talk>,
    last: Option<(LinkId, Vec<u8>, Offload)>,
}

impl Scene {
    fn new([v4, v6]: &[String; 2]) -> Scene {
        let mut b = Plan::default().rules(v4, v6).build();
        for (ip, mac) in [(IpAddr::from(CLIENT), CLIENT_MAC), (CLIENT6.into(), CLIENT_MAC)] {
            b.router.set_static_neighbor(LAN, ip, mac);
        }
        b.router.set_static_neighbor(WAN, SERVER6.into(), SERVER_MAC);
        b.client_sends(&udp(CLIENT, SERVER, (1, 1), b"first"));
        b.answer_arp(WAN, SERVER, SERVER_MAC);
        b.out.clear();
        Scene { b, talks: talks(), last: None }
    }

    fn act(&mut self, act: &Act, rules: &[[String; 2]]) {
        let b = &mut self.b;
        match act {
            Act::Say { flow, server, how } => {
                let Some((link, l3, offload)) = self.talks[*flow].say(*server, how) else { return };
                let mac = if how.other_mac { Mac([2, 0, 0, 0, 1, 9]) } else { CLIENT_MAC };
                let bytes = match link {
                    LAN => frame(LAN_MAC, mac, &l3),
                    WAN => frame(WAN_MAC, SERVER_MAC, &l3),
                    _ => l3,
                };
                both(b, link, &bytes, offload);
                self.last = Some((link, bytes, offload));
            }
            Act::Again => {
                if let Some((link, bytes, offload)) = self.last.clone() {
                    both(b, link, &bytes, offload);
                }
            }
            Act::Pass(ms) | Act::Late(ms) => b.pass(Duration::from_millis(*ms)),
            Act::Rules(n) => {
                let [v4, v6] = &rules[n % rules.len()];
                b.router.replace(Plan::default().rules(v4, v6).snapshot());
            }
            Act::Down(link) => {
                b.worker.handle_link(*link, false, b.now);
                b.collect();
            }
            Act::Up(link) => {
                b.worker.handle_link(*link, true, b.now);
                b.pass(Duration::from_secs(3));
            }
            Act::Flush => drop(b.router.live().conntrack.remove_where(b.now, &|_| true)),
            Act::Move(n) => b.answer_arp(WAN, SERVER, Mac([2, 0, 0, 0, 2, 2 + n])),
        }
        for talk in &mut self.talks {
            talk.hear(&self.b.out);
        }
        self.b.out.clear();
        self.b.host.clear();
    }
}

#[test]
fn random_packets_under_random_rules_meet_what_was_said() {
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u32>().ok());
    let cases = number("SEKISHO_EXPLAIN_CASES").unwrap_or(60);
    let seed = number("SEKISHO_EXPLAIN_SEED").unwrap_or(1) as u8;
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    let played = runner.run(&(rulesets::some(), acts()), |(rules, acts)| {
        let mut scene = Scene::new(&rules[0]);
        acts.iter().for_each(|a| scene.act(a, &rules));
        scene.b.balanced();
        Ok(())
    });
    if let Err(e) = played {
        panic!("{e}");
    }
}

/// A frame of the client's through both.
#[track_caller]
fn client(b: &mut Bench, l3: &[u8]) -> Outcome {
    let bytes = frame(LAN_MAC, CLIENT_MAC, l3);
    Outcome::of(&both(b, LAN, &bytes, Offload::default()).records)
}

const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

#[test]
fn each_kind_of_end_in_one_line() {
    let rules = format!("{MASQUERADE}{}", STATEFUL.replace("COMMIT", "-A FORWARD -p udp -j REJECT\nCOMMIT"));
    let mut b = Plan::default().rules(&rules, "").build().acquaint();
    let syn = |to: Ipv4Addr| tcp(CLIENT, to, (40_000, 443), tcp::SYN, b"");
    assert_eq!(
        client(&mut b, &syn(FAR)).to_string(),
        "forwarded to wan, next hop 10.2.0.2 (02:00:00:00:02:02), as 10.2.0.1:40000 > 198.51.100.7:443"
    );
    let near = client(&mut b, &syn(Ipv4Addr::new(10, 2, 0, 9)));
    assert_eq!(near.to_string(), "to wan, once 10.2.0.9 is found there, as 10.2.0.1:40000 > 10.2.0.9:443");
    assert_eq!(near.verdict, Fate::Waits);
    assert!(client(&mut b, &ttl(syn(FAR), 1)).to_string().starts_with("dropped: ttl_exceeded ("));
    assert_eq!(client(&mut b, &tcp(CLIENT, LAN_ADDR, (1, 7), tcp::SYN, b"")).verdict, Fate::Delivered);
    let stranger = frame(WAN_MAC, SERVER_MAC, &tcp(SERVER, CLIENT, (1, 22), tcp::SYN, b""));
    let walked = both(&mut b, WAN, &stranger, Offload::default());
    assert_eq!(Outcome::of(&walked.records).to_string(), "dropped: filter FORWARD policy");
    let stranger = frame(WAN_MAC, SERVER_MAC, &udp(SERVER, CLIENT, (1, 22), b""));
    let walked = both(&mut b, WAN, &stranger, Offload::default());
    let said = Outcome::of(&walked.records).to_string();
    assert!(said.starts_with("rejected: filter FORWARD rule 3: -A FORWARD -p udp"), "{said}");
    b.balanced();
}

#[test]
fn fragments_that_wait_are_known() {
    let mut b = Plan::default().rules(STATEFUL, "").build().acquaint();
    let pieces = fragments(&udp(CLIENT, SERVER, (1000, 53), &bytes(2000)), 1400, 9);
    assert_eq!(client(&mut b, &pieces[0]).verdict, Fate::Gathered);
    let whole = client(&mut b, &pieces[1]);
    assert_eq!((whole.verdict, whole.frames), (Fate::Forwarded, Some(2)), "{whole}");
}

#[test]
fn what_limits_remember_is_used_up_by_packets_alone() {
    let rules = "*filter\n:INPUT ACCEPT\n:FORWARD DROP\n:OUTPUT ACCEPT\n-A FORWARD -m limit --limit 1/hour --limit-burst 3 -j ACCEPT\nCOMMIT\n";
    let mut b = Plan::default().rules(rules, "").build().acquaint();
    let ask = udp(CLIENT, SERVER, (1, 2), b"x");
    // Each is explained twice before it is sent.
    let passed: Vec<_> = (0..5).map(|_| client(&mut b, &ask).verdict == Fate::Forwarded).collect();
    assert_eq!(passed, [true, true, true, false, false]);
}

#[test]
fn what_is_left_to_chance_is_said() {
    let rules = "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n-A FORWARD -m statistic --mode random --probability 0.5 -j DROP\nCOMMIT\n";
    let chance = |rules: &str| {
        let b = Plan::default().rules(rules, "").build().acquaint();
        let bytes = frame(LAN_MAC, CLIENT_MAC, &udp(CLIENT, FAR, (1000, 53), b"x"));
        let chance = explained(&b, LAN, &bytes, Offload::default()).0.chance;
        (chance.rules, chance.nat)
    };
    assert_eq!(chance(rules), (true, false));
    assert_eq!(chance(MASQUERADE), (false, false), "it keeps its port");
    assert_eq!(chance(&MASQUERADE.replace("MASQUERADE\n", "MASQUERADE --random\n")), (false, true));
}

#[test]
fn what_the_router_makes_itself_goes_out_and_functions_are_not_asked() {
    let b = Plan::default().rules(MASQUERADE, "").build().acquaint();
    let snap = b.router.snapshot();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = asked.clone();
    let call = move |_: &sekisho::path::At, _: &mut Packet| {
        seen.store(true, std::sync::atomic::Ordering::Relaxed);
        sekisho::path::Verdict::Drop
    };
    let function = sekisho::path::Function {
        name: "nosy".into(),
        hook: sekisho::base::Hook::Output,
        priority: 0,
        call: std::sync::Arc::new(call),
    };
    let hooks = snap.hooks.clone().with(function);
    b.router.replace(sekisho::path::Snapshot { hooks, ..(*snap).clone() });
    let mut shadow = b.router.shadow();
    let walked = shadow.walk(None, Packet::from_slice(&udp(WAN_ADDR, FAR, (1000, 53), b"x")), b.now);
    let outcome = Outcome::of(&walked.records);
    assert_eq!(outcome.verdict, Fate::Sent, "{}", told(&walked));
    assert!(!asked.load(std::sync::atomic::Ordering::Relaxed));
    let functions = walked.records[0].steps.iter().filter(|s| matches!(s, Step::Function { .. }));
    assert_eq!(functions.count(), 1, "{}", told(&walked));
}

/// What another configuration would do to the flows of a router.
fn differences(b: &Bench, plan: Plan) -> (Vec<Difference>, u64) {
    let mut comparison = Comparison::new(&b.router, &plan.snapshot(), b.now);
    let mut all = Vec::new();
    while let Some(page) = comparison.page() {
        all.extend(page);
    }
    all.sort_by(|a, b| a.flow.cmp(&b.flow));
    (all, comparison.looked_at)
}

/// Some flows through a gateway: TCP that is open, UDP, a ping, and a connection of the router's own.
fn busy() -> Bench {
    let mut b = Plan::default().rules(&format!("{MASQUERADE}{STATEFUL}"), STATEFUL).build().acquaint();
    b.client_sends(&tcp(CLIENT, FAR, (40_000, 443), tcp::SYN, b""));
    b.server_sends(&tcp(FAR, WAN_ADDR, (443, 40_000), tcp::SYN | tcp::ACK, b""));
    b.client_sends(&tcp(CLIENT, FAR, (40_000, 443), tcp::ACK, b""));
    b.client_sends(&udp(CLIENT, FAR, (5000, 53), b"x"));
    b.client_sends(&udp(CLIENT6, SERVER6, (5000, 53), b"x"));
    b.server_sends(&udp(SERVER6, CLIENT6, (53, 5000), b"x"));
    b.client_sends(&udp(CLIENT6, FAR6, (5000, 53), b"x"));
    b.client_sends(&ping(CLIENT, FAR, b"x"));
    b.worker.handle_local(Packet::from_slice(&udp(WAN_ADDR, FAR, (123, 123), b"x")), b.now);
    b.collect();
    b
}

#[test]
fn the_same_configuration_treats_all_flows_the_same() {
    let b = busy();
    let before = State::of(&b);
    let (differ, looked_at) =
        differences(&b, Plan::default().rules(&format!("{MASQUERADE}{STATEFUL}"), STATEFUL));
    assert_eq!((differ, looked_at), (vec![], 6));
    assert_eq!(State::of(&b), before);
}

#[test]
fn flows_that_other_rules_would_stop_are_told() {
    let b = busy();
    let strict = STATEFUL.replace(
        "-A FORWARD -m conntrack",
        "-A FORWARD -p tcp -m tcp --dport 443 -j DROP\n-A FORWARD -m conntrack",
    );
    let strict = strict.replacen(
        "-A FORWARD -p tcp -m tcp --dport 443 -j DROP\n-A FORWARD -m conntrack --ctstate NEW",
        "-A FORWARD -m conntrack --ctstate NEW",
        1,
    );
    let (differ, _) = differences(&b, Plan::default().rules(&format!("{MASQUERADE}{strict}"), STATEFUL));
    assert_eq!(differ.len(), 1, "{differ:?}");
    let said = differ[0].to_string();
    assert!(
        said.starts_with("tcp 10.1.0.2:40000 > 198.51.100.7:443: forwarded to wan, next hop 10.2.0.2 ")
            && said.contains(" → dropped: filter FORWARD rule 1: -A FORWARD -p tcp"),
        "{said}"
    );
    assert!(differ[0].reply.is_none(), "answers still pass");
}

#[test]
fn flows_that_would_go_another_way_or_lose_their_address_are_told() {
    let b = busy();
    let mut plan = Plan::default().rules(&format!("{MASQUERADE}{STATEFUL}"), STATEFUL);
    plan.routes[0] = via("0.0.0.0/0", Ipv4Addr::new(10, 3, 0, 2).into(), TUN);
    plan.routes[1] = via("::/0", "fd03::2".parse().unwrap(), TUN);
    let (differ, looked_at) = differences(&b, plan);
    assert_eq!((differ.len(), looked_at), (5, 6), "all but the one on link: {differ:?}");
    let after =
        |d: &Difference| d.original.as_ref().map(|t| (t.after.dev.clone(), t.after.reason.clone())).unwrap();
    for d in &differ {
        // MASQUERADE ends flows that leave by another link than theirs; what is not translated changes its way.
        match d.flow.contains("[fd01::2]") {
            true => assert_eq!(after(d), (Some("tun0".into()), None), "{d}"),
            false => assert_eq!(after(d), (None, Some("nat_failed".into())), "{d}"),
        }
    }

    let plan = Plan::default().rules(&format!("{MASQUERADE}{STATEFUL}"), STATEFUL).link(WAN, |l| {
        l.addresses[0].addr = Ipv4Addr::new(10, 2, 0, 4).into();
    });
    let (differ, _) = differences(&b, plan);
    let tcp = differ.iter().find(|d| d.flow.starts_with("tcp ")).expect("its address is gone");
    let reply = tcp.reply.as_ref().expect("answers too");
    assert_eq!(reply.after.verdict, Fate::Dropped, "{tcp}");
    assert!(tcp.original.as_ref().is_some_and(|t| t.after.translated != t.before.translated), "{tcp}");
}

#[test]
fn the_next_packet_of_a_flow_is_one_of_its_own() {
    let mut b = busy();
    b.client_sends(&ip4(CLIENT, FAR, proto::GRE, &[0, 0, 8, 0, 0, 0, 0, 0]));
    b.client_sends(&ip4(CLIENT, FAR, 99, b"whatever"));
    // Were they not, rules that let only the flows there are through would stop them.
    let only = "*filter\n:INPUT DROP\n:FORWARD DROP\n:OUTPUT DROP\n-A INPUT -m conntrack ! --ctstate INVALID -m conntrack --ctstatus CONFIRMED -j ACCEPT\n\
                -A FORWARD -m conntrack ! --ctstate INVALID -m conntrack --ctstatus CONFIRMED -j ACCEPT\n-A OUTPUT -m conntrack --ctstatus CONFIRMED -j ACCEPT\nCOMMIT\n";
    let (differ, looked_at) = differences(&b, Plan::default().rules(&format!("{MASQUERADE}{only}"), only));
    let differ: Vec<_> = differ.iter().map(ToString::to_string).collect();
    assert_eq!((differ, looked_at), (vec![], 8), "{:#?}", b.flows());
}
