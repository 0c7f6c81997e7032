//! A router on a bench: links that are queues, a clock that stands until it is turned.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::check;
use sekisho::base::counters::{Tally, Totals};
use sekisho::base::{Column, DropReason, HOOKS, Instant, LinkId, Mac};
use sekisho::fib::{NextHop, Rib, Route, RouteKind};
use sekisho::filter::{Family, Program, iptables};
use sekisho::link::{Address, Link, LinkKind, Links};
use sekisho::packet::{Caps, Offload, Packet};
use sekisho::path::{
    At, Call, FlowCacheConfig, Function, Hooks, Listeners, LiveConfig, Snapshot, Tracking, Verdict,
};
use sekisho::router::{Router, Worker};
use sekisho::wire::arp::{Arp, Op};
use sekisho::wire::{ethernet, ipv4::Ipv4Header, ipv6::Ipv6Header};

pub(crate) const LAN: LinkId = LinkId(1);
pub(crate) const WAN: LinkId = LinkId(2);
pub(crate) const TUN: LinkId = LinkId(3);

/// The router's MACs, and those of the stations beside it.
pub(crate) const LAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
pub(crate) const WAN_MAC: Mac = Mac([2, 0, 0, 0, 2, 1]);
pub(crate) const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 1, 2]);
pub(crate) const SERVER_MAC: Mac = Mac([2, 0, 0, 0, 2, 2]);

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
pub(crate) const LAN_ADDR: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
pub(crate) const WAN_ADDR: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
pub(crate) const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 2);
pub(crate) const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 2);
pub(crate) const LAN_ADDR6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const WAN_ADDR6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 1);

/// Inside may begin anything, outside nothing.
pub(crate) const STATEFUL: &str = "*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i lan -m conntrack --ctstate NEW -j ACCEPT
COMMIT
";
/// Whoever goes out does so by the name of `wan`.
pub(crate) const MASQUERADE: &str = "*nat
:PREROUTING ACCEPT
:INPUT ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
";

/// A router with `lan` (10.1.0.1/24, fd01::1/64), `wan` (10.2.0.1/24, fd02::1/64) and `tun0` (10.3.0.1/24,
/// fd03::1/64), all up, and a default route to 10.2.0.2 and fd02::2.
pub(crate) struct Bench {
    pub(crate) router: Router,
    pub(crate) worker: Worker,
    pub(crate) now: Instant,
    /// Frames that left, and by which link, until they are looked at.
    pub(crate) out: Vec<(LinkId, Packet)>,
    /// Packets that went to the local stack.
    pub(crate) host: Vec<Packet>,
}

/// What a test may change about the bench before it is built.
pub(crate) struct Plan {
    pub(crate) links: Vec<Link>,
    pub(crate) routes: Vec<Route>,
    pub(crate) listeners: Listeners,
    pub(crate) config: LiveConfig,
    /// iptables-save texts, IPv4 and IPv6; empty: none.
    pub(crate) rules: [String; 2],
    pub(crate) tracking: Tracking,
}

impl Default for Plan {
    fn default() -> Self {
        let link = |name: &str, mac: Option<Mac>, v4: &str, v6: &str| Link {
            mac,
            addresses: [(v4, 24), (v6, 64)]
                .iter()
                .map(|(a, len)| Address { addr: a.parse().unwrap(), prefix_len: *len })
                .chain(mac.map(|m| Address { addr: m.link_local().into(), prefix_len: 64 }))
                .collect(),
            ..Link::new(name, if mac.is_some() { LinkKind::Memory } else { LinkKind::Tun })
        };
        Plan {
            links: vec![
                link("lan", Some(LAN_MAC), "10.1.0.1", "fd01::1"),
                link("wan", Some(WAN_MAC), "10.2.0.1", "fd02::1"),
                link("tun0", None, "10.3.0.1", "fd03::1"),
            ],
            routes: vec![via("0.0.0.0/0", SERVER.into(), WAN), via("::/0", SERVER6.into(), WAN)],
            listeners: Listeners { udp: vec![7], tcp: vec![] },
            config: LiveConfig { seed: 7, flow_cache: flow_cache(), ..LiveConfig::default() },
            rules: [String::new(), String::new()],
            tracking: Tracking::Auto,
        }
    }
}

/// The flow cache of a bench. Flows get into it as early as can be, so that what the walks test is tested of it too;
/// `SEKISHO_FLOW_CACHE=off` takes it away, and with `usual` it is as users have it. Nothing may depend on which.
pub(crate) fn flow_cache() -> FlowCacheConfig {
    match std::env::var("SEKISHO_FLOW_CACHE").as_deref() {
        Ok("off") => FlowCacheConfig::OFF,
        Ok("usual") => FlowCacheConfig::default(),
        _ => FlowCacheConfig { eager: true, ..FlowCacheConfig::default() },
    }
}

/// Hooks at which one function sees every packet.
pub(crate) fn everywhere(call: impl Fn(&At, &mut Packet) -> Verdict + Send + Sync + 'static) -> Hooks {
    let call: Call = Arc::new(call);
    HOOKS.into_iter().fold(Hooks::new(), |hooks, hook| {
        hooks.with(Function { name: "watch".into(), hook, priority: 0, call: call.clone() })
    })
}

/// A route by one next hop.
pub(crate) fn via(prefix: &str, gateway: IpAddr, link: LinkId) -> Route {
    Route::new(prefix.parse().unwrap(), RouteKind::Unicast(vec![NextHop::new(Some(gateway), Some(link))]))
}

/// A route that leads nowhere.
pub(crate) fn reject(prefix: &str, kind: RouteKind) -> Route {
    Route::new(prefix.parse().unwrap(), kind)
}

impl Plan {
    /// Changes one link.
    pub(crate) fn link(mut self, id: LinkId, change: impl FnOnce(&mut Link)) -> Self {
        change(&mut self.links[id.index() - 1]);
        self
    }

    /// Adds a route.
    pub(crate) fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Rules for both families, in the text of iptables-save.
    pub(crate) fn rules(mut self, v4: &str, v6: &str) -> Self {
        self.rules = [v4.to_owned(), v6.to_owned()];
        self
    }

    /// When flows are tracked.
    pub(crate) fn tracking(mut self, tracking: Tracking) -> Self {
        self.tracking = tracking;
        self
    }

    /// The configuration a router gets.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let links = Links::new(self.links.clone());
        let mut rib = Rib::connected(&links);
        for r in &self.routes {
            rib.insert(r.clone()).unwrap();
        }
        let mut hooks = Hooks::new().with_tracking(self.tracking);
        for (family, text) in [Family::V4, Family::V6].into_iter().zip(&self.rules) {
            if !text.is_empty() {
                let rules = iptables::read(text, family).unwrap();
                hooks = hooks.with_rules(family, Some(Arc::new(Program::compile(&rules, &links).unwrap())));
            }
        }
        Snapshot {
            fib: Arc::new(rib.build(&links).unwrap()),
            links,
            listeners: self.listeners.clone(),
            icmp_rate: 1000,
            hooks,
        }
    }

    /// Builds it, brings the links up, and lets duplicate address detection end.
    pub(crate) fn build(self) -> Bench {
        let router = Router::new(self.snapshot(), self.config, 0);
        let mut worker = router.worker();
        let mut now = Instant::from_secs(100);
        for i in 1..=self.links.len() {
            let id = LinkId(i as u16);
            let ethernet = self.links[i - 1].mac.is_some();
            worker.set_caps(id, Caps { ethernet, ..Caps::FULL });
            worker.handle_link(id, true, now);
        }
        let mut bench = Bench { router, worker, now, out: Vec::new(), host: Vec::new() };
        bench.pass(Duration::from_secs(3));
        now = bench.now;
        bench.out.clear();
        Bench { now, ..bench }
    }
}

impl Bench {
    /// The usual bench.
    pub(crate) fn new() -> Self {
        Plan::default().build()
    }

    /// The usual bench, whose router knows the client's and the server's MACs.
    pub(crate) fn acquainted() -> Self {
        Bench::new().acquaint()
    }

    /// Makes the router know the client's and the server's MACs, as configured ones.
    pub(crate) fn acquaint(self) -> Self {
        for (link, ip, mac) in [
            (LAN, IpAddr::from(CLIENT), CLIENT_MAC),
            (LAN, CLIENT6.into(), CLIENT_MAC),
            (WAN, SERVER.into(), SERVER_MAC),
            (WAN, SERVER6.into(), SERVER_MAC),
        ] {
            assert!(self.router.set_static_neighbor(link, ip, mac));
        }
        self
    }

    /// A frame comes in.
    pub(crate) fn receive(&mut self, link: LinkId, frame: &[u8]) {
        self.receive_packet(link, Packet::from_slice(frame));
    }

    /// A frame with offload state comes in.
    pub(crate) fn receive_offloaded(&mut self, link: LinkId, frame: &[u8], offload: Offload) {
        let mut p = Packet::from_slice(frame);
        p.meta.offload = offload;
        self.receive_packet(link, p);
    }

    fn receive_packet(&mut self, link: LinkId, p: Packet) {
        self.worker.handle_frame(link, p, self.now);
        self.collect();
    }

    /// A packet to or through the router from a station whose MAC is known, with an Ethernet header put before.
    pub(crate) fn client_sends(&mut self, l3: &[u8]) {
        self.receive(LAN, &frame(LAN_MAC, CLIENT_MAC, l3));
    }

    /// The same from the other side.
    pub(crate) fn server_sends(&mut self, l3: &[u8]) {
        self.receive(WAN, &frame(WAN_MAC, SERVER_MAC, l3));
    }

    /// Time passes; what is due happens when it is due.
    pub(crate) fn pass(&mut self, by: Duration) {
        let end = self.now + by;
        for _ in 0..100_000 {
            let next = self.worker.poll_timeout();
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.worker.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
        self.worker.handle_timeout(self.now);
        self.collect();
    }

    /// Takes what the worker has for links and the local stack.
    pub(crate) fn collect(&mut self) {
        loop {
            while let Some((link, p)) = self.worker.poll_transmit() {
                check::sent(&self.router.snapshot(), link, &p);
                self.out.push((link, p));
            }
            let taken: Vec<Packet> = self.worker.drain_host().collect();
            for p in taken {
                self.worker.host_took(&p.meta);
                self.host.push(p);
            }
            if !self.worker.settle(self.now) {
                break;
            }
        }
    }

    /// The frames that left by `link` since the last look; those of other links stay.
    pub(crate) fn sent(&mut self, link: LinkId) -> Vec<Packet> {
        let (mine, others) = std::mem::take(&mut self.out).into_iter().partition(|(l, _)| *l == link);
        self.out = others;
        let mine: Vec<(LinkId, Packet)> = mine;
        mine.into_iter().map(|(_, p)| p).collect()
    }

    /// The one frame that left by `link`, which must be the only one there.
    #[track_caller]
    pub(crate) fn one(&mut self, link: LinkId) -> Packet {
        let mut sent = self.sent(link);
        assert_eq!(sent.len(), 1, "frames out of {link}: {}", list(&sent));
        sent.remove(0)
    }

    /// Nothing left by any link since the last look.
    #[track_caller]
    pub(crate) fn silent(&mut self) {
        let all: Vec<Packet> = std::mem::take(&mut self.out).into_iter().map(|(_, p)| p).collect();
        assert!(all.is_empty(), "frames nobody expected: {}", list(&all));
    }

    /// The flow table, as `conntrack -L` prints it.
    pub(crate) fn flows(&self) -> Vec<String> {
        let mut lines = vec![];
        self.router.live().conntrack.each(self.now, &mut |_, flow| {
            lines.push(sekisho::conntrack::text::line(flow, self.now, false).to_string());
        });
        lines
    }

    pub(crate) fn totals(&self) -> Totals {
        self.router.totals()
    }

    pub(crate) fn tally(&self, what: Tally) -> u64 {
        self.totals().tally(what)
    }

    /// Exactly one packet went for this reason.
    #[track_caller]
    pub(crate) fn dropped(&self, reason: DropReason) {
        let t = self.totals();
        let all: Vec<String> = DropReason::ALL
            .iter()
            .filter(|r| t.drops(**r) > 0)
            .map(|r| format!("{} {}", r.name(), t.drops(*r)))
            .collect();
        assert_eq!(t.drops(reason), 1, "{}: drops are {all:?}", reason.name());
        self.balanced();
    }

    /// The one frame that left by `link`, which must be an ICMP error or redirect.
    #[track_caller]
    pub(crate) fn error(&mut self, link: LinkId) -> check::Told {
        check::Told::of(&self.one(link))
    }

    /// A packet of the client's goes nowhere, and nobody is told anything.
    #[track_caller]
    pub(crate) fn swallows(l3: &[u8], reason: DropReason) {
        let mut b = Bench::acquainted();
        b.client_sends(l3);
        b.silent();
        b.dropped(reason);
    }

    /// Every packet is accounted for.
    #[track_caller]
    pub(crate) fn balanced(&self) {
        let t = self.totals();
        for column in Column::ALL {
            assert_eq!(t.imbalance(column), 0, "{column:?} does not balance");
        }
    }

    /// Answers an ARP request that the router has just sent on `link`.
    pub(crate) fn answer_arp(&mut self, link: LinkId, ip: Ipv4Addr, mac: Mac) {
        let own = if link == LAN { LAN_MAC } else { WAN_MAC };
        let own_ip = if link == LAN { LAN_ADDR } else { WAN_ADDR };
        let arp = Arp { op: Op::Reply, sender_mac: mac, sender_ip: ip, target_mac: own, target_ip: own_ip };
        self.receive(link, &arp_frame(own, mac, &arp));
    }
}

/// The server says to the router where it is.
pub(crate) fn server_answers() -> Packet {
    let arp = Arp {
        op: Op::Reply,
        sender_mac: SERVER_MAC,
        sender_ip: SERVER,
        target_mac: WAN_MAC,
        target_ip: WAN_ADDR,
    };
    Packet::from_slice(&arp_frame(WAN_MAC, SERVER_MAC, &arp))
}

/// What frames are, a line each.
pub(crate) fn list(frames: &[Packet]) -> String {
    frames
        .iter()
        .map(|p| format!("\n  {}", sekisho::wire::describe::describe(p.data(), p.meta.l3 > 0)))
        .collect()
}

/// An Ethernet frame around an IP packet.
pub(crate) fn frame(dst: Mac, src: Mac, l3: &[u8]) -> Vec<u8> {
    let kind = if l3.first().is_some_and(|b| b >> 4 == 6) { ethernet::IPV6 } else { ethernet::IPV4 };
    let mut f = vec![0; 14];
    ethernet::write(&mut f, dst, src, kind);
    f.extend_from_slice(l3);
    f
}

/// An Ethernet frame around an ARP packet.
pub(crate) fn arp_frame(dst: Mac, src: Mac, arp: &Arp) -> Vec<u8> {
    let mut f = vec![0; 14];
    ethernet::write(&mut f, dst, src, ethernet::ARP);
    f.extend_from_slice(&arp.emit());
    f
}

/// An IPv4 packet with TTL 64.
pub(crate) fn ip4(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv4Header {
        src,
        dst,
        proto,
        ttl: 64,
        tos: 0,
        ident: 0x1234,
        dont_fragment: false,
        payload_len: payload.len(),
    };
    let mut p = vec![0; 20];
    header.emit(&mut p);
    p.extend_from_slice(payload);
    p
}

/// An IPv6 packet with hop limit 64.
pub(crate) fn ip6(src: Ipv6Addr, dst: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        src,
        dst,
        next_header,
        hop_limit: 64,
        traffic_class: 0,
        flow_label: 0,
        payload_len: payload.len(),
    };
    let mut p = vec![0; 40];
    header.emit(&mut p);
    p.extend_from_slice(payload);
    p
}
