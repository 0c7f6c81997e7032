//! Those who talk through a router, what they say, and rules: drawn by chance, for tests that let two routers meet the same.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;

use sekisho::base::{Column, LinkId};
use sekisho::packet::{Csum, Gso, GsoKind, Offload, Packet};
use sekisho::wire::tcp::{ACK, FIN, PSH, RST, SYN, Tcp, URG};
use sekisho::wire::{icmpv4, icmpv6, ipv4::Ipv4, ipv6::Ipv6, proto};

use crate::make::*;
use crate::net::*;

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
    /// Other rules come into force.
    Rules(usize),
    /// A link goes down and up again.
    Flap(LinkId),
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
    /// What its sender left to the hardware: nothing, the checksum, or cutting too.
    offload: u8,
    /// Whether another station of the client's has sent it.
    pub(crate) other_mac: bool,
}

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
    ]
}

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

impl Talk {
    /// Looks among what left the router for the flow's packets, to whose sender the server answers.
    pub(crate) fn hear(&mut self, out: &[(LinkId, Packet)]) {
        for (link, p) in out.iter().filter(|(l, _)| *l != LAN) {
            if p.meta.proto != self.proto || p.meta.column != Column::Received || *link == LAN {
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
        odd(0, vec![1, 2]),
        prop::bool::weighted(0.05),
    )
        .prop_map(|(tos, ttl, len, flags, skew, offload, other_mac)| How {
            tos,
            ttl,
            len,
            flags,
            skew,
            // What does not fit a link comes as a super-frame.
            offload: if len > 1400 { 2 } else { offload },
            other_mac,
        })
}

/// What happens in a row: the beginning of a flow, some packets each way, and now and then something else.
pub(crate) fn acts() -> impl Strategy<Value = Vec<Act>> {
    let say =
        (0usize..8, any::<bool>(), how()).prop_map(|(flow, server, how)| Act::Say { flow, server, how });
    let usual = How { tos: 0, ttl: 64, len: 18, flags: ACK, skew: 0, offload: 0, other_mac: false };
    let run = (0usize..8, 1usize..5, prop::bool::weighted(0.7)).prop_map(move |(flow, n, both)| {
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
    let one = |act: BoxedStrategy<Act>| act.prop_map(|a| vec![a]);
    let some = prop_oneof![
        10 => one(say.boxed()),
        10 => run,
        4 => hello,
        3 => one(Just(Act::Again).boxed()),
        2 => one(select(vec![1u64, 500, 1500, 3000, 31_000, 70_000]).prop_map(Act::Pass).boxed()),
        1 => one((0usize..4).prop_map(Act::Rules).boxed()),
        1 => one(select(vec![LAN, WAN]).prop_map(Act::Flap).boxed()),
        1 => one(Just(Act::Flush).boxed()),
        1 => one((0u8..2).prop_map(Act::Move).boxed()),
    ];
    prop::collection::vec(some, 5..40).prop_map(|acts| acts.concat())
}

/// Matches, for both families or one of them.
fn matches(v6: bool) -> BoxedStrategy<&'static str> {
    let mut all = vec![
        "",
        "",
        "",
        "-i lan",
        "-p udp",
        "-p tcp",
        "-m tos --tos 0x10/0x3f",
        "-m tos ! --tos 0x00/0x3f",
        "-m dscp --dscp 0x2e",
        "-m ecn --ecn-ip-ect 3",
        "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN",
        "-p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE",
        "-p tcp -m tcp ! --tcp-flags PSH,ACK PSH,ACK",
        "-p tcp -m tcp --dport 80 --tcp-flags URG URG",
        "-p tcp -m tcp --tcp-option 8",
        "-m length --length 40:80",
        "-m length ! --length 0:50",
        "-m length --length 1000:65535",
        "-m conntrack --ctstate NEW",
        "-m conntrack --ctstate ESTABLISHED",
        "-m state --state ESTABLISHED,RELATED",
        "-m conntrack --ctstate SNAT",
        "-m conntrack --ctstatus ASSURED",
        "-m conntrack ! --ctstatus ASSURED",
        "-m conntrack --ctstatus SEEN_REPLY",
        "-m conntrack --ctdir REPLY",
        "-m conntrack --ctexpire 20:100",
        "-m connmark --mark 0x1",
        "-m mark --mark 0x2",
        "-m mark ! --mark 0x0/0x1",
        "-m limit --limit 5/sec --limit-burst 4",
        "-m statistic --mode nth --every 3 --packet 0",
        "-m statistic --mode random --probability 0.5",
        "-m mac --mac-source 02:00:00:00:01:02",
        "-m pkttype --pkt-type unicast",
        "-m addrtype --dst-type UNICAST",
        "-p udp -m multiport --dports 53,80",
    ];
    all.extend(match v6 {
        true => ["-m hl --hl-gt 30", "-m hl --hl-eq 63", "-p ipv6-icmp -m icmp6 --icmpv6-type 128"],
        false => ["-m ttl --ttl-gt 30", "-m ttl --ttl-eq 63", "-p icmp -m icmp --icmp-type 8"],
    });
    select(all).boxed()
}

fn chain(table: &'static str, hook: &'static str, v6: bool) -> BoxedStrategy<String> {
    let mut targets = vec!["", "", "-j ACCEPT", "-j RETURN"];
    match table {
        "mangle" => {
            targets.extend([
                "-j MARK --set-xmark 0x2/0xffffffff",
                "-j MARK --set-xmark 0x1/0x1",
                "-j CONNMARK --set-xmark 0x1/0xffffffff",
                "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
                "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
                "-j TOS --set-tos 0x10/0xff",
                "-j TOS --set-tos 0x04/0x04",
                "-j DSCP --set-dscp 0x0a",
                "-j LOG --log-level 4",
            ]);
            targets.extend(match v6 {
                true => ["-j HL --hl-set 64", "-j HL --hl-inc 1"],
                false => ["-j TTL --ttl-set 64", "-j TTL --ttl-inc 1"],
            });
        }
        "raw" => targets.extend(["-j CT --notrack"]),
        _ => targets.extend(["-j DROP", "-j user", "-g user", "-j LOG --log-level 4"]),
    }
    // The MAC is known where a packet has come in.
    let fits = move |m: &&str| hook != "POSTROUTING" || !m.contains("mac-source") && !m.contains("-i ");
    let rule = (matches(v6).prop_filter("a mac", fits), select(targets))
        .prop_map(move |(m, t)| format!("-A {hook} {m} {t}\n"));
    prop::collection::vec(rule, 0..4).prop_map(|rules| rules.concat()).boxed()
}

fn ruleset(v6: bool) -> BoxedStrategy<String> {
    let nat = match v6 {
        false => vec![
            "-A POSTROUTING -o wan -j MASQUERADE\n",
            "-A POSTROUTING -o wan -j SNAT --to-source 10.2.0.50-10.2.0.60\n",
            "-A PREROUTING -d 10.2.0.77/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.2.0.2:80\n\
             -A POSTROUTING -o wan -j MASQUERADE --random\n",
            "",
        ],
        true => vec![
            "-A POSTROUTING -o wan -j MASQUERADE\n",
            "-A POSTROUTING -o wan -j SNAT --to-source fd02::50\n",
            "",
        ],
    };
    let mangle = (chain("mangle", "PREROUTING", v6), chain("mangle", "FORWARD", v6), chain("mangle", "POSTROUTING", v6))
        .prop_map(|(a, b, c)| {
            format!("*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n{a}{b}{c}COMMIT\n")
        });
    let filter = (chain("filter", "FORWARD", v6), chain("mangle", "FORWARD", v6), any::<bool>()).prop_map(
        |(rules, user, stateful)| {
            let user: String = user
                .lines()
                .filter(|l| !l.contains("-j ") || l.ends_with("ACCEPT") || l.ends_with("RETURN"))
                .map(|l| format!("{}\n", l.replace("-A FORWARD", "-A user")))
                .collect();
            let (policy, first) = match stateful {
                true => ("DROP", "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"),
                false => ("ACCEPT", ""),
            };
            let last = if stateful { "-A FORWARD -i lan -m conntrack --ctstate NEW -j ACCEPT\n" } else { "" };
            format!("*filter\n:INPUT ACCEPT\n:FORWARD {policy}\n:OUTPUT ACCEPT\n:user -\n{rules}{first}{last}{user}COMMIT\n")
        },
    );
    let nat = select(nat).prop_map(|rules| {
        format!(
            "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n{rules}COMMIT\n"
        )
    });
    let raw = chain("raw", "PREROUTING", v6)
        .prop_map(|rules| format!("*raw\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\n{rules}COMMIT\n"));
    let maybe = |s: BoxedStrategy<String>, often: f64| {
        prop::option::weighted(often, s).prop_map(Option::unwrap_or_default)
    };
    (maybe(raw.boxed(), 0.2), maybe(mangle.boxed(), 0.5), maybe(nat.boxed(), 0.7), maybe(filter.boxed(), 0.8))
        .prop_map(|(raw, mangle, nat, filter)| format!("{raw}{mangle}{nat}{filter}"))
        .boxed()
}

pub(crate) fn rulesets() -> impl Strategy<Value = Vec<[String; 2]>> {
    prop::collection::vec((ruleset(false), ruleset(true)).prop_map(|(a, b)| [a, b]), 1..3)
}
