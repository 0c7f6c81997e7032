//! Each target that changes a packet: its bytes, its checksums, what the router is told.

use super::rig::*;
use crate::base::Hook;
use crate::filter::iptables;
use crate::filter::program::Program;
use crate::filter::rule::{Family, TableName};
use crate::filter::verdict::Verdict;
use crate::packet::{Csum, CtState, MAX_L3, Net, Packet, Status};
use crate::wire::{proto, tcp as flag};

fn run_in(table: TableName, rule: &str, p: &mut Packet, world: &mut World) -> Verdict {
    let family = if p.meta.net == Net::Ipv6 { Family::V6 } else { Family::V4 };
    let text = format!("*{}\n-A {} {rule}\nCOMMIT\n", table.name(), world.hook.name());
    let rules = iptables::read(&text, family).unwrap_or_else(|e| panic!("{rule}: {e:?}"));
    Program::compile(&rules, &links()).expect("a good rule").run(table, p, world)
}

/// A rule of mangle at FORWARD.
fn run(rule: &str, p: &mut Packet, world: &mut World) -> Verdict {
    run_in(TableName::Mangle, rule, p, world)
}

fn forward() -> World {
    World::at(Hook::Forward)
}

fn syn4(options: &[u8]) -> Packet {
    tcp(ip("10.0.0.1"), ip("10.0.0.2"), (4000, 80), flag::SYN, options)
}

fn syn6(options: &[u8]) -> Packet {
    tcp(ip("fd00::1"), ip("fd00::2"), (4000, 80), flag::SYN, options)
}

#[test]
fn marks() {
    for (how, want) in [
        ("--set-mark 0x7", 0x7),
        ("--set-mark 0x1/0xf", 0x51),
        ("--set-xmark 0x3/0x0", 0x56),
        ("--or-mark 0x8", 0x5d),
        ("--and-mark 0xf0", 0x50),
        ("--xor-mark 0x5", 0x50),
    ] {
        let mut p = syn4(&[]);
        p.meta.mark = 0x55;
        assert_eq!(run(&format!("-j MARK {how}"), &mut p, &mut forward()), Verdict::Accept);
        assert_eq!(p.meta.mark, want, "{how}");
    }
}

#[test]
fn marks_of_flows() {
    let mut p = syn4(&[]);
    p.meta.mark = 0x55;
    // Without a flow nothing happens.
    run("-j CONNMARK --restore-mark", &mut p, &mut forward());
    run("-j CONNMARK --set-mark 1", &mut p, &mut forward());
    assert_eq!(p.meta.mark, 0x55);
    for (how, packet, flow) in [
        ("--set-mark 0x7", 0x55, 0x7),
        ("--set-xmark 0x1/0xf", 0x55, 0x21),
        ("--or-mark 0x5", 0x55, 0x27),
        ("--save-mark", 0x55, 0x55),
        ("--save-mark --mask 0x0f", 0x55, 0x25),
        ("--save-mark --nfmask 0xf0 --ctmask 0x0f", 0x55, 0x70),
        ("--restore-mark", 0x22, 0x22),
        ("--restore-mark --mask 0x0f", 0x52, 0x22),
        ("--restore-mark --nfmask 0xf0 --ctmask 0x02", 0x07, 0x22),
    ] {
        let (mut p, mut w) = (syn4(&[]), forward());
        p.meta.mark = 0x55;
        tracked(&mut p, &mut w, CtState::New, Status::default());
        run(&format!("-j CONNMARK {how}"), &mut p, &mut w);
        assert_eq!((p.meta.mark, w.flow.map(|f| f.mark)), (packet, Some(flow)), "{how}");
    }
}

#[test]
fn a_flow_s_new_mark_is_seen_by_the_next_rule() {
    let text = "*mangle\n-A FORWARD -m connmark --mark 0x22 -j CONNMARK --set-mark 5\n\
                -A FORWARD -m connmark --mark 5 -j DROP\nCOMMIT\n";
    let rules = iptables::read(text, Family::V4).expect("good rules");
    let (mut p, mut w) = (syn4(&[]), forward());
    tracked(&mut p, &mut w, CtState::New, Status::default());
    let program = Program::compile(&rules, &links()).expect("good rules");
    assert_eq!(program.run(TableName::Mangle, &mut p, &mut w), Verdict::Drop);
}

#[test]
fn service_classes() {
    for (how, want) in [
        ("-j TOS --set-tos 0x10", 0x10),
        ("-j TOS --set-tos Minimize-Delay", 0x90),
        ("-j TOS --set-tos 0x10/0xf0", 0x19),
        ("-j TOS --or-tos 0x06", 0xb9 | 0x06),
        ("-j TOS --and-tos 0xf0", 0xb0),
        ("-j TOS --xor-tos 0xff", 0x46),
        ("-j DSCP --set-dscp 10", 10 << 2 | 1),
        ("-j DSCP --set-dscp-class EF", 0xb9),
    ] {
        let mut p = syn4(&[]);
        p.l3_mut()[1] = 0xb9;
        let mut p = parse(&mut p.l3().to_vec());
        run(how, &mut p, &mut forward());
        assert_eq!(p.l3()[1], want, "{how}");
        assert!(sums_are_right(&p), "{how}");
        let mut p = syn6(&[]);
        p.l3_mut()[..4].copy_from_slice(&[0x6b, 0x9f, 0xab, 0xcd]);
        run(how, &mut p, &mut forward());
        let class = p.l3()[0] << 4 | p.l3()[1] >> 4;
        assert_eq!((class, p.l3()[0] >> 4, p.l3()[1] & 15, p.l3()[2]), (want, 6, 15, 0xab), "{how}");
        assert!(sums_are_right(&p), "{how}");
    }
}

#[test]
fn hops() {
    for (how, want) in [
        ("set 7", 7),
        ("inc 3", 67),
        ("inc 250", 255),
        ("dec 4", 60),
        ("dec 64", 0),
        ("dec 200", 0),
        ("set 64", 64),
    ] {
        let mut p = syn4(&[]);
        run(&format!("-j TTL --ttl-{how}"), &mut p, &mut forward());
        assert_eq!(p.l3()[8], want, "{how}");
        assert!(sums_are_right(&p), "{how}");
        let mut p = syn6(&[]);
        run(&format!("-j HL --hl-{how}"), &mut p, &mut forward());
        assert_eq!(p.l3()[7], want, "{how}");
    }
}

/// The value of the first option of this kind, if there is one.
fn mss(p: &Packet) -> Option<u16> {
    let l4 = p.l4();
    let at = (20..l4.len() - 3).find(|at| l4[*at..].starts_with(&[2, 4]))?;
    Some(u16::from_be_bytes([l4[at + 2], l4[at + 3]]))
}

/// The states a SYN's checksum can be in.
fn in_every_state(p: &Packet) -> [Packet; 3] {
    let (wire, mut verified, mut partial) = (p.clone(), p.clone(), p.clone());
    verified.meta.offload.csum = Csum::Verified;
    partial.meta.offload.csum = Csum::Partial { start: p.meta.l4, field: 16 };
    let (src, dst) = match p.meta.net {
        Net::Ipv6 => (ip("fd00::1"), ip("fd00::2")),
        _ => (ip("10.0.0.1"), ip("10.0.0.2")),
    };
    let sum = crate::wire::checksum::pseudo(src, dst, proto::TCP, p.l4().len() as u32).expect("one family");
    let field = crate::wire::checksum::fold(sum).to_be_bytes();
    partial.l4_mut()[16..18].copy_from_slice(&field);
    [wire, verified, partial]
}

const SET: &str = "-p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1000";
const CLAMP: &str = "-p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu";

#[test]
fn segments_announced_get_smaller_and_never_larger() {
    // As it comes, behind one byte, behind three with an option before.
    for options in [
        &[2, 4, 5, 180][..],
        &[1, 2, 4, 5, 180, 1, 1, 1],
        &[3, 3, 7, 2, 4, 5, 180, 0],
        &[4, 2, 2, 4, 5, 180, 1, 1],
    ] {
        for p in [syn4(options), syn6(options)] {
            for mut p in in_every_state(&p) {
                let len = p.len();
                assert_eq!(run(SET, &mut p, &mut forward()), Verdict::Accept);
                assert_eq!((mss(&p), p.len()), (Some(1000), len));
                assert!(sums_are_right(&p), "{options:?} {:?}", p.meta.offload);
                let mut q = p.clone();
                run(&SET.replace("1000", "1400"), &mut q, &mut forward());
                assert_eq!(q.data(), p.data());
            }
        }
    }
}

#[test]
fn clamped_to_the_path() {
    let mut w = forward();
    for (mut p, want) in [(syn4(&[2, 4, 5, 180]), 1360), (syn6(&[2, 4, 5, 180]), 1340)] {
        run(CLAMP, &mut p, &mut w);
        assert_eq!(mss(&p), Some(want));
        assert!(sums_are_right(&p));
    }
    // An MTU in which nothing fits.
    w.mtu = Some(40);
    assert_eq!(run(CLAMP, &mut syn4(&[2, 4, 5, 180]), &mut w), Verdict::Drop);
    w.mtu = Some(60);
    assert_eq!(run(CLAMP, &mut syn6(&[2, 4, 5, 180]), &mut w), Verdict::Drop);
    w.mtu = Some(41);
    let mut p = syn4(&[2, 4, 5, 180]);
    run(CLAMP, &mut p, &mut w);
    assert_eq!(mss(&p), Some(1));
    w.mtu = None;
    let mut p = syn4(&[2, 4, 5, 180]);
    assert_eq!(run(CLAMP, &mut p, &mut w), Verdict::Accept);
    assert_eq!(mss(&p), Some(1460));
}

#[test]
fn an_option_that_is_missing_is_added() {
    // Packets made from a slice have no room behind them: these move to other storage.
    for options in [&[][..], &[3, 3, 7, 1], &[4, 2, 1, 3, 3, 7, 1, 1]] {
        for (p, want) in [(syn4(options), 536), (syn6(options), 1000)] {
            for mut p in in_every_state(&p) {
                p.meta.mark = 7;
                let len = p.len();
                assert_eq!(run(SET, &mut p, &mut forward()), Verdict::Accept);
                assert_eq!((mss(&p), p.len(), p.meta.mark), (Some(want), len + 4, 7));
                assert_eq!(&p.l4()[24..], options);
                assert_eq!(p.l4()[12] >> 4, 6 + options.len() as u8 / 4);
                assert!(sums_are_right(&p), "{options:?} {:?}", p.meta.offload);
            }
        }
    }
}

#[test]
fn no_option_is_added_where_there_is_no_place() {
    // Data, even a byte; a header as long as it can be.
    let mut b = syn4(&[]).l3().to_vec();
    b.push(1);
    let mut p = parse(&mut b);
    let before = p.data().to_vec();
    assert_eq!(run(SET, &mut p, &mut forward()), Verdict::Accept);
    assert_eq!(p.data(), before);
    let mut p = syn4(&[1; 40]);
    run(SET, &mut p, &mut forward());
    assert_eq!(p.data(), syn4(&[1; 40]).data());
    // An IPv6 packet that is as long as its length field can say.
    let mut headers = vec![proto::TCP; 65_512];
    for at in (0..headers.len()).step_by(2048) {
        let len = (headers.len() - at).min(2048);
        headers[at..at + len].fill(0);
        headers[at] = if at + len == headers.len() { proto::TCP } else { proto::DEST_OPTIONS };
        headers[at + 1] = (len / 8 - 1) as u8;
    }
    let mut b = [&syn6(&[]).l3()[..40], &headers[..], &syn6(&[]).l3()[40..]].concat();
    b[6] = proto::DEST_OPTIONS;
    let mut p = parse(&mut b);
    assert!(p.l3_len() > MAX_L3);
    let before = p.data().to_vec();
    run(SET, &mut p, &mut forward());
    assert_eq!(p.data(), before);
}

#[test]
fn headers_that_lie_are_dropped() {
    for offset in [0x40, 0x60] {
        let mut p = syn4(&[]);
        p.l4_mut()[12] = offset;
        assert_eq!(run(SET, &mut p, &mut forward()), Verdict::Drop);
    }
}

#[test]
fn untracked() {
    for rule in ["-j NOTRACK", "-j CT --notrack"] {
        for (before, after) in [
            (CtState::Unseen, CtState::Untracked),
            (CtState::Invalid, CtState::Untracked),
            (CtState::Established, CtState::Established),
        ] {
            let mut p = syn4(&[]);
            p.meta.ct.state = before;
            let verdict = run_in(TableName::Raw, rule, &mut p, &mut World::at(Hook::Prerouting));
            assert_eq!((verdict, p.meta.ct.state), (Verdict::Accept, after));
        }
    }
}

#[test]
fn refusals() {
    use crate::filter::targets::RejectWith;
    for (how, with) in [
        ("", RejectWith::Port),
        ("--reject-with icmp-host-prohibited", RejectWith::HostProhibited),
        ("--reject-with tcp-reset", RejectWith::TcpReset),
    ] {
        let verdict =
            run_in(TableName::Filter, &format!("-p tcp -j REJECT {how}"), &mut syn4(&[]), &mut forward());
        assert_eq!(verdict, Verdict::Reject(with));
    }
    let verdict = run_in(
        TableName::Filter,
        "-j REJECT --reject-with icmp6-policy-fail",
        &mut syn6(&[]),
        &mut forward(),
    );
    assert_eq!(verdict, Verdict::Reject(RejectWith::Policy6));
}

#[test]
fn a_line_in_the_log_and_on_it_goes() {
    let mut w = forward();
    let verdict = run("-j LOG --log-prefix \"seen: \" --log-level info", &mut syn4(&[]), &mut w);
    assert_eq!(verdict, Verdict::Accept);
    let [line] = &w.said[..] else { panic!("{:?}", w.said) };
    assert!(line.starts_with("log 6 seen: IN=eth0 OUT=eth1 "), "{line}");
}
