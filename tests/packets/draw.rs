//! Rules and packets drawn from numbers, so that they shrink as the numbers do. Few values each, so that they meet.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sekisho::base::{LinkId, Mac};
use sekisho::filter::Family;
use sekisho::packet::{Frag, L2Kind, Net, Packet};
use sekisho::wire::ipv4::Ipv4;
use sekisho::wire::{ipv6_ext, proto};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // Knuth's MMIX generator.
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % sides
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len() as u64) as usize]
    }
    /// `! `, now and then.
    fn not(&mut self) -> &'static str {
        self.of(&["", "", "", "! "])
    }
}

/// A text for iptables-restore: raw and mangle, each with PREROUTING and chains that it may jump to.
pub(crate) fn ruleset(tables: &[Vec<Vec<u64>>], family: Family, states: bool) -> String {
    let mut text = String::new();
    // Behind raw there is conntrack, which is another's matter.
    let names = if states { &["raw"][..] } else { &["raw", "mangle"] };
    for (name, chains) in names.iter().zip(tables) {
        let chain = |n: usize| if n == 0 { "PREROUTING".to_owned() } else { format!("CHAIN{n}") };
        let built_in = match *name {
            "raw" => &["OUTPUT"][..],
            _ => &["INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
        };
        let _ = writeln!(text, "*{name}\n:PREROUTING ACCEPT [0:0]");
        built_in.iter().for_each(|c| text += &format!(":{c} ACCEPT [0:0]\n"));
        (1..chains.len()).for_each(|n| text += &format!(":{} - [0:0]\n", chain(n)));
        for (n, rules) in chains.iter().enumerate() {
            let later: Vec<String> = (n + 1..chains.len()).map(chain).collect();
            for seed in rules {
                let _ = writeln!(text, "-A {} {}", chain(n), rule(*seed, family, name, states, &later));
            }
        }
        text += "COMMIT\n";
    }
    text
}

fn addr(d: &mut Dice, v6: bool) -> IpAddr {
    let n = d.of(&[0x0a00_0001_u32, 0x0a00_0002, 0x0a00_0103, 0x0a01_0001, 0xc0a8_0101]);
    match v6 {
        false => Ipv4Addr::from(n).into(),
        true => Ipv6Addr::from((0xfd << 120 | u128::from(n) << 64) + u128::from(n & 3)).into(),
    }
}

fn masked(d: &mut Dice, v6: bool) -> String {
    let addr = addr(d, v6);
    let len = d.of(if v6 { &[128, 128, 64, 80, 127, 7] } else { &[32, 32, 24, 16, 8, 31, 0, 5] });
    match d.one_in(10) {
        true if v6 => format!("{addr}/::3"),
        true => format!("{addr}/0.0.0.255"),
        false => format!("{addr}/{len}"),
    }
}

fn port(d: &mut Dice) -> u16 {
    d.of(&[22, 53, 80, 443, 8080, 4000])
}

fn ports(d: &mut Dice) -> String {
    let first = port(d);
    match d.roll(3) {
        0 => format!("{first}:{}", first + d.of(&[1, 30, 9000])),
        _ => first.to_string(),
    }
}

fn rule(seed: u64, family: Family, table: &str, states: bool, later: &[String]) -> String {
    let d = &mut Dice(seed);
    let v6 = family == Family::V6;
    let mut r = String::new();
    for option in ["-s", "-d"] {
        if d.one_in(4) {
            r += &format!("{}{option} {} ", d.not(), masked(d, v6));
        }
    }
    if d.one_in(6) {
        r += &format!("{}-i {} ", d.not(), d.of(&["eth0", "eth+", "lo", "+", "none", "eth0+"]));
    }
    if !v6 && d.one_in(12) {
        r += &format!("{}-f ", d.not());
    }
    let icmp = if v6 { "icmpv6" } else { "icmp" };
    let proto = d.of(&["tcp", "tcp", "tcp", "udp", icmp, "sctp", "gre", "59", "", "", ""]);
    let mut known = proto;
    if !proto.is_empty() {
        if d.one_in(8) {
            r += "! ";
            known = "";
        }
        r += &format!("-p {proto} ");
    }
    for _ in 0..d.of(&[0, 1, 1, 1, 2, 3]) {
        r += &one_match(d, known, v6, states);
    }
    r + &target(d, known, v6, table, later)
}

fn one_match(d: &mut Dice, proto: &str, v6: bool, states: bool) -> String {
    let not = d.not();
    match (d.roll(20), proto) {
        (0..7, "tcp") => {
            let mut m = "-m tcp ".to_owned();
            for option in ["--dport", "--sport"] {
                if d.one_in(2) {
                    m += &format!("{}{option} {} ", d.not(), ports(d));
                }
            }
            if d.one_in(4) {
                m += &format!(
                    "{}--tcp-flags {} ",
                    d.not(),
                    d.of(&["SYN,ACK SYN", "ALL NONE", "FIN,SYN,RST,ACK SYN", "ACK ACK"])
                );
            }
            if d.one_in(4) {
                m += &format!("{}--tcp-option {} ", d.not(), d.of(&[2, 3, 8]));
            }
            m
        }
        (0..7, "udp") => format!("-m udp {not}--dport {} ", ports(d)),
        (0..7, "icmp") => format!("-m icmp {not}--icmp-type {} ", d.of(&["8", "0", "3", "3/1", "any"])),
        (0..7, "icmpv6") => format!("-m icmp6 {not}--icmpv6-type {} ", d.of(&["128", "1", "1/1", "135"])),
        (0..9, "tcp" | "udp" | "sctp") => {
            let which = d.of(&["--dports", "--dports", "--sports", "--ports"]);
            let list: Vec<String> = (0..=d.roll(3)).map(|_| ports(d)).collect();
            format!("-m multiport {not}{which} {} ", list.join(","))
        }
        (9, "tcp") => format!("-m ecn {not}{} ", d.of(&["--ecn-tcp-ece", "--ecn-tcp-cwr"])),
        (0..12, _) if states => match d.roll(4) {
            0 => format!("-m state {not}--state {} ", d.of(&["INVALID", "UNTRACKED", "NEW,ESTABLISHED"])),
            1 => {
                format!("-m conntrack {not}--ctstate {} --ctproto 17 ", d.of(&["INVALID", "UNTRACKED,SNAT"]))
            }
            2 => format!("-m conntrack {not}--ctstatus SEEN_REPLY "),
            _ => format!("-m connmark {not}--mark 0 "),
        },
        (10, _) => format!("-m mark {not}--mark {}/0x3 ", d.roll(4)),
        (11, _) => {
            let (a, b) = (addr(d, v6), addr(d, v6));
            format!("-m iprange {not}--src-range {}-{} ", a.min(b), a.max(b))
        }
        (12, _) => format!("-m mac {not}--mac-source 02:00:00:00:00:01 "),
        (13, _) => format!("-m limit --limit 1/hour --limit-burst {} ", d.of(&[1, 5])),
        (14, _) => format!("-m length {not}--length {} ", d.of(&["0:40", "28", "48:64", "60:"])),
        (15, _) => format!("-m tos {not}--tos {} ", d.of(&["0x10/0x3f", "0x11/0xff", "0/0x3"])),
        (16, _) => format!("-m dscp {not}--dscp {} ", d.of(&[4, 0])),
        (17, _) => match v6 {
            true => {
                format!("-m hl {}", d.of(&["--hl-eq 64 ", "! --hl-eq 64 ", "--hl-lt 64 ", "--hl-gt 63 "]))
            }
            false => format!(
                "-m ttl {}",
                d.of(&["--ttl-eq 64 ", "! --ttl-eq 64 ", "--ttl-lt 64 ", "--ttl-gt 63 "])
            ),
        },
        (18, _) => format!("-m pkttype {not}--pkt-type {} ", d.of(&["unicast", "broadcast", "multicast"])),
        (19, _) => match d.roll(3) {
            0 => {
                format!("-m addrtype {not}--src-type {} ", d.of(&["UNICAST", "MULTICAST", "LOCAL", "UNSPEC"]))
            }
            1 => format!("-m ecn {not}--ecn-ip-ect {} ", d.roll(4)),
            _ => format!("-m statistic --mode nth {not}--every 3 --packet {} ", d.roll(3)),
        },
        _ => String::new(),
    }
}

fn target(d: &mut Dice, proto: &str, v6: bool, table: &str, later: &[String]) -> String {
    let mangle = table == "mangle";
    let hops = if v6 { ["HL", "hl"] } else { ["TTL", "ttl"] };
    match d.roll(16) {
        0 | 1 => "-j ACCEPT".into(),
        2 => "-j DROP".into(),
        3 => "-j RETURN".into(),
        4..8 if !later.is_empty() => {
            let to = &later[d.roll(later.len() as u64) as usize];
            format!("-{} {to}", d.of(&["j", "j", "g"]))
        }
        8 => format!("-j MARK --set-xmark {}/0x3", d.roll(4)),
        9 if !mangle => "-j CT --notrack".into(),
        9 => format!("-j TOS --set-tos {}", d.of(&["0x10/0x3f", "0x11/0xff", "0x01/0x00"])),
        10 if mangle => format!("-j DSCP --set-dscp {}", d.of(&[4, 0])),
        11 if mangle => format!("-j {} --{}-{}", hops[0], hops[1], d.of(&["set 64", "dec 3", "inc 200"])),
        12 if mangle && proto == "tcp" => {
            "-m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 500 -m comment --comment mss".into()
        }
        _ => String::new(),
    }
}

/// A frame, parsed as the router's ingress would.
pub(crate) fn packet(seed: u64, family: Family, whole: bool, mac: Mac) -> Packet {
    let d = &mut Dice(seed);
    let v6 = family == Family::V6;
    let (src, dst) = (addr(d, v6), addr(d, v6));
    let icmp = if v6 { proto::ICMPV6 } else { proto::ICMP };
    let kind = d.of(&[proto::TCP, proto::TCP, proto::TCP, proto::UDP, icmp, proto::SCTP, proto::GRE]);
    let (s, e) = (port(d).to_be_bytes(), port(d).to_be_bytes());
    let mut l4 = vec![s[0], s[1], e[0], e[1], 0, 0, 0, 0];
    if kind == icmp {
        l4[..4].copy_from_slice(&[d.of(&[8, 0, 3, 128, 1]), d.of(&[0, 1]), 0, 0]);
    }
    if kind == proto::TCP {
        let (offset, flags) = (d.of(&[0x50, 0x60, 0x60, 0x40, 0xf0]), d.of(&[2, 2, 0x12, 0x10, 0xc2]));
        l4.extend([0, 0, 0, 0, offset, flags, 0, 0, 0, 0, 0, 0]);
        if offset != 0x50 || d.one_in(3) {
            l4.extend(d.of(&[[1, 2, 4, 5], [2, 4, 5, 180], [3, 0, 2, 4], [1, 1, 1, 200], [3, 3, 7, 1]]));
        }
    }
    if d.one_in(12) {
        l4.truncate(d.roll(20) as usize);
    }
    let mut b = if v6 { header6(d, src, dst, kind, whole) } else { header4(d, src, dst, kind, whole) };
    b.extend(l4);
    if v6 && d.one_in(20) {
        b.truncate(40 + d.roll(9) as usize);
    }
    parse(b, d, mac)
}

fn header4(d: &mut Dice, src: IpAddr, dst: IpAddr, kind: u8, whole: bool) -> Vec<u8> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (src, dst) else { unreachable!("drawn for IPv4") };
    let fragment = if whole { 0 } else { d.of(&[0_u16, 0, 0, 0, 0, 0x4000, 0x2000, 1, 0x2001, 2]) };
    let [hi, lo] = fragment.to_be_bytes();
    let mut b = vec![0x45, d.of(&[0, 0x10, 0x11, 1]), 0, 0, 1, 2, hi, lo, d.of(&[64, 64, 63, 2]), kind, 0, 0];
    b.extend(src.octets());
    b.extend(dst.octets());
    if d.one_in(8) {
        b[0] = 0x46;
        b.extend([1, 1, 1, 0]);
    }
    b
}

fn header6(d: &mut Dice, src: IpAddr, dst: IpAddr, kind: u8, whole: bool) -> Vec<u8> {
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (src, dst) else { unreachable!("drawn for IPv6") };
    let (next, extension) = match d.roll(12) {
        0 => (proto::DEST_OPTIONS, vec![kind, 0, 1, 4, 0, 0, 0, 0]),
        1 | 2 if !whole => {
            let inner = if d.one_in(4) { proto::DEST_OPTIONS } else { kind };
            (proto::FRAGMENT, vec![inner, 0, 0, d.of(&[0, 1, 8, 9]), 0, 0, 0, 7])
        }
        3 => (proto::ROUTING, vec![kind, d.of(&[0, 9]), 4, 0, 0, 0, 0, 0]),
        4 => (proto::NONE, Vec::new()),
        5 => (proto::AH, vec![kind, 0, 0, 0, 0, 0, 0, 1]),
        _ => (kind, Vec::new()),
    };
    let class = d.of(&[0, 0x10, 0x11, 1]);
    let mut b = vec![0x60 | class >> 4, class << 4, 0, 0, 0, 0, next, d.of(&[64, 64, 63, 2])];
    b.extend(src.octets());
    b.extend(dst.octets());
    b.extend(extension);
    b
}

/// Fills in lengths and sums, puts an Ethernet header in front, and says what ingress would say of it.
fn parse(mut b: Vec<u8>, d: &mut Dice, mac: Mac) -> Packet {
    let len = b.len();
    let v6 = b[0] >> 4 == 6;
    let mut meta = sekisho::packet::Meta { ingress: LinkId(1), l3: 14, ..Default::default() };
    if v6 {
        b[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
        let hidden = ipv6_ext::Chain { proto: proto::NONE, ..ipv6_ext::Chain::default() };
        let chain = ipv6_ext::walk(&b).unwrap_or(hidden);
        (meta.net, meta.proto, meta.l4) = (Net::Ipv6, chain.proto, chain.l4 as u16);
        meta.frag = match chain.frag {
            Some(f) if f.offset != 0 => Frag::Later,
            Some(f) if f.more => Frag::First,
            _ => Frag::Whole,
        };
    } else {
        let mut ip = Ipv4::new(&mut b[..]).expect("a header");
        ip.set_total_len(len as u16);
        ip.fill_checksum();
        (meta.net, meta.proto, meta.l4) = (Net::Ipv4, ip.protocol(), ip.header_len() as u16);
        meta.frag = match (ip.frag_offset(), ip.more_fragments()) {
            (0, false) => Frag::Whole,
            (0, true) => Frag::First,
            _ => Frag::Later,
        };
        if meta.frag == Frag::Later {
            meta.l4 = 0;
        }
    }
    let multicast = Mac([0x01, 0x00, 0x5e, 0, 0, 1]);
    let (to, kind) = d.of(&[
        (mac, L2Kind::Host),
        (mac, L2Kind::Host),
        (mac, L2Kind::Host),
        (Mac::BROADCAST, L2Kind::Broadcast),
        (multicast, L2Kind::Multicast),
    ]);
    let mut frame = to.0.to_vec();
    frame.extend([2, 0, 0, 0, 0, d.of(&[1, 2])]);
    frame.extend(if v6 { [0x86, 0xdd] } else { [0x08, 0x00] });
    frame.extend(b);
    let mut p = Packet::from_slice(&frame);
    p.meta = sekisho::packet::Meta { l2: kind, ..meta };
    p
}
