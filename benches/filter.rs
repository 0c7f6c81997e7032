//! What rules cost a packet: rulesets of 10, 1,000 and 10,000 rules, and packets that the first rule decides on, the
//! last, none, or the one about established flows.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

use sekisho::base::{Hook, Instant, LinkId};
use sekisho::filter::matches::AddrTypes;
use sekisho::filter::{Env, Family, Program, RuleRef, TableName, Verdict, iptables};
use sekisho::link::{Link, LinkKind, Links};
use sekisho::packet::{CtState, FlowView, Net, Packet};

/// A router that answers nothing of its own.
struct Quiet;

impl Env for Quiet {
    fn now(&self) -> Instant {
        Instant::from_secs(1)
    }
    fn lane(&self) -> usize {
        0
    }
    fn hook(&self) -> Hook {
        Hook::Forward
    }
    fn in_link(&self) -> Option<LinkId> {
        Some(LinkId(1))
    }
    fn out_link(&self) -> Option<LinkId> {
        Some(LinkId(2))
    }
    fn flow(&mut self, _: &Packet) -> Option<FlowView> {
        None
    }
    fn set_flow_mark(&mut self, _: &Packet, _: u32) {}
    fn addr_type(&mut self, _: IpAddr, _: Option<LinkId>) -> AddrTypes {
        AddrTypes::UNICAST
    }
    fn random(&mut self) -> u32 {
        4
    }
    fn path_mtu(&mut self, _: &Packet) -> Option<u32> {
        Some(1500)
    }
    fn log(&mut self, _: u8, _: &str) {}
    fn link_name(&self, _: LinkId) -> &str {
        "lan"
    }
    fn matched(&mut self, _: &Packet, _: RuleRef<'_>) {}

    fn decided(&mut self, _: &Packet, _: RuleRef<'_>, _: &str) {}
}

fn links() -> Links {
    Links::new(["lan", "wan"].map(|name| Link::new(name, LinkKind::Memory)))
}

/// What a gateway's rules look like.
const GATEWAY: [&str; 10] = [
    "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-m conntrack --ctstate INVALID -j DROP",
    "-i wan -s 10.0.0.0/8 -j DROP",
    "-i wan -s 192.168.0.0/16 -j DROP",
    "-i lan -p icmp -m icmp --icmp-type 8 -j ACCEPT",
    "-i lan -p udp -m udp --dport 53 -j ACCEPT",
    "-i lan -p tcp -m tcp --dport 22 -j ACCEPT",
    "-i lan -p tcp -m multiport --dports 80,443 -j ACCEPT",
    "-i lan -p udp -m udp --dport 123 -j ACCEPT",
    "-i lan -p tcp -m tcp --dport 7777 -j ACCEPT",
];

fn program(family: Family, rules: impl Iterator<Item = String>) -> Program {
    let rules: String = rules.map(|r| format!("-A FORWARD {r}\n")).collect();
    let text =
        format!("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}COMMIT\n");
    let rules = iptables::read(&text, family).expect("rules that are right");
    Program::compile(&rules, &links()).expect("rules that are right")
}

/// A SYN, as ingress leaves it.
fn tcp4(src: Ipv4Addr, dst: Ipv4Addr, port: u16) -> Packet {
    let mut b = vec![0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0];
    b.extend(src.octets());
    b.extend(dst.octets());
    b.extend(tcp(port));
    let mut p = Packet::from_slice(&b);
    p.meta.net = Net::Ipv4;
    (p.meta.proto, p.meta.l4, p.meta.ct.state) = (6, 20, CtState::New);
    p
}

fn tcp6(src: Ipv6Addr, dst: Ipv6Addr, port: u16) -> Packet {
    let mut b = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
    b.extend(src.octets());
    b.extend(dst.octets());
    b.extend(tcp(port));
    let mut p = Packet::from_slice(&b);
    p.meta.net = Net::Ipv6;
    (p.meta.proto, p.meta.l4, p.meta.ct.state) = (6, 40, CtState::New);
    p
}

fn tcp(port: u16) -> Vec<u8> {
    let [hi, lo] = port.to_be_bytes();
    vec![0x9c, 0x40, hi, lo, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]
}

fn established(mut p: Packet) -> Packet {
    p.meta.ct.state = CtState::Established;
    p
}

/// The nth address of a list of them.
fn host(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xc612_0000 + n * 3)
}

fn host6(n: u32) -> Ipv6Addr {
    Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(n) << 32 | 1)
}

fn filter(c: &mut Criterion) {
    let mut group = c.benchmark_group("filter");
    let mut bench = |name: &str, rules: usize, program: &Program, mut packets: Vec<Packet>, want: Verdict| {
        for p in &mut packets {
            assert_eq!(program.run(TableName::Filter, p, &mut Quiet), want, "{name}");
        }
        let mut next = 0;
        group.bench_function(BenchmarkId::new(name, rules), |b| {
            b.iter(|| {
                next = if next + 1 < packets.len() { next + 1 } else { 0 };
                program.run(TableName::Filter, black_box(&mut packets[next]), &mut Quiet)
            });
        });
    };
    let lan = Ipv4Addr::new(192, 0, 2, 7);
    let web = Ipv4Addr::new(203, 0, 113, 9);

    let gateway = program(Family::V4, GATEWAY.iter().map(|r| (*r).to_owned()));
    bench("gateway, established", 10, &gateway, vec![established(tcp4(lan, web, 443))], Verdict::Accept);
    bench("gateway, last", 10, &gateway, vec![tcp4(lan, web, 7777)], Verdict::Accept);
    bench("gateway, none", 10, &gateway, vec![tcp4(lan, web, 9)], Verdict::Drop);

    // As many as are asked one by one, without an index.
    let short =
        program(Family::V4, (0..31).map(|n| format!("-s {} -p tcp -m tcp --dport 22 -j DROP", host(n))));
    bench("asked one by one, none", 31, &short, vec![tcp4(lan, web, 22)], Verdict::Drop);

    for n in [1_000, 10_000] {
        let last = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT".to_owned();
        let block = (0..n).map(|n| format!("-s {}/32 -j DROP", host(n)));
        let blocked = program(Family::V4, block.chain([last.clone()]));
        let size = n as usize;
        bench("sources, first", size, &blocked, vec![tcp4(host(0), web, 80)], Verdict::Drop);
        bench("sources, last", size, &blocked, vec![tcp4(host(n - 1), web, 80)], Verdict::Drop);
        bench("sources, none", size, &blocked, vec![tcp4(lan, web, 80)], Verdict::Drop);
        bench(
            "sources, established behind",
            size,
            &blocked,
            vec![established(tcp4(lan, web, 80))],
            Verdict::Accept,
        );

        // As many packets as a cache has to hold, each another one's: half of them found.
        let any = |i: u32| match i.wrapping_mul(0x9e37_79b9) >> 8 {
            r if r & 1 == 0 => host(r % n),
            r => Ipv4Addr::from(0xc612_0000 + r % n * 3 + 1),
        };
        let any: Vec<Packet> = (0..4096).map(|i| tcp4(any(i), web, 80)).collect();
        bench("sources, one after another", size, &blocked, any, Verdict::Drop);

        // Services: addresses with ports, among rules of prefixes of several lengths and of links.
        let mixed = |n: u32| match n % 16 {
            0 => format!("-s {}/24 -i wan -j DROP", host(n * 100)),
            1 => format!("-d {}/28 -j REJECT", host(n * 20)),
            2 => format!("-p udp -m udp --dport {} -j DROP", n % 60_000 + 1),
            3 => format!("-d {}/32 -p tcp -m multiport --dports 80,443 -j ACCEPT", host(n)),
            _ => format!("-d {}/32 -p tcp -m tcp --dport {} -j ACCEPT", host(n), n % 1_000 + 1),
        };
        let services = program(Family::V4, (0..n).map(mixed).chain([last.clone()]));
        let port = |n: u32| (n % 1_000 + 1) as u16;
        bench("mixed, last", size, &services, vec![tcp4(lan, host(n - 1), port(n - 1))], Verdict::Accept);
        bench("mixed, none", size, &services, vec![tcp4(lan, web, 9)], Verdict::Drop);
        bench(
            "mixed, established behind",
            size,
            &services,
            vec![established(tcp4(lan, web, 9))],
            Verdict::Accept,
        );

        // Rules that ask for nothing that could be looked up.
        let odd = program(Family::V4, (0..n).map(|n| format!("-m ttl --ttl-eq {} -j DROP", n % 60)));
        bench("not to be looked up, none", size, &odd, vec![tcp4(lan, web, 9)], Verdict::Drop);

        let block = (0..n).map(|n| format!("-s {}/128 -j DROP", host6(n)));
        let blocked = program(Family::V6, block.chain([last]));
        bench("IPv6 sources, last", size, &blocked, vec![tcp6(host6(n - 1), host6(0), 80)], Verdict::Drop);
        bench("IPv6 sources, none", size, &blocked, vec![tcp6(host6(n + 1), host6(0), 80)], Verdict::Drop);
    }
    group.finish();

    c.bench_function("filter/compile 10,000 rules", |b| {
        let text: String = (0..10_000).map(|n| format!("-A FORWARD -s {}/32 -j DROP\n", host(n))).collect();
        let rules =
            iptables::read(&format!("*filter\n{text}COMMIT\n"), Family::V4).expect("rules that are right");
        b.iter(|| Program::compile(black_box(&rules), &links()));
    });
}

criterion_group!(benches, filter);
criterion_main!(benches);
