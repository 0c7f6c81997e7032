//! Lines as conntrack-tools 1.4.7 prints them on Linux 6.18; each of these was copied from there.

use super::*;
use crate::conntrack::testing::flow;
use crate::conntrack::{Config, tcp};
use crate::packet::flow::pack;

fn tuple(proto: u8, src: &str, dst: &str, src_port: u16, dst_port: u16) -> Tuple {
    let (src, dst): (std::net::IpAddr, std::net::IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
    Tuple { src: pack(src), dst: pack(dst), src_port, dst_port, proto, v6: src.is_ipv6() }
}

fn text(flow: &Flow, extended: bool) -> String {
    line(flow, Instant::from_millis(300), extended).to_string()
}

#[test]
fn every_protocol_has_its_own_words() {
    let (a, b) = ("10.9.0.1", "10.9.0.2");
    let (a6, b6) = ("fd09::1", "fd09::2");
    let lines = [
        (
            tuple(17, a, b, 56491, 53),
            "udp      17 27 src=10.9.0.1 dst=10.9.0.2 sport=56491 dport=53 [UNREPLIED] src=10.9.0.2 dst=10.9.0.1 sport=53 dport=56491 mark=0 use=1",
        ),
        (
            tuple(136, a6, b6, 1000, 2000),
            "udplite  136 27 src=fd09::1 dst=fd09::2 sport=1000 dport=2000 [UNREPLIED] src=fd09::2 dst=fd09::1 sport=2000 dport=1000 mark=0 use=1",
        ),
        (
            tuple(47, a, b, 0, 0x1234),
            "gre      47 27 src=10.9.0.1 dst=10.9.0.2 srckey=0x0 dstkey=0x1234 [UNREPLIED] src=10.9.0.2 dst=10.9.0.1 srckey=0x1234 dstkey=0x0 mark=0 use=1",
        ),
        (
            tuple(33, a, b, 0, 0),
            "dccp     33 27 src=10.9.0.1 dst=10.9.0.2 sport=0 dport=0 [UNREPLIED] src=10.9.0.2 dst=10.9.0.1 sport=0 dport=0 mark=0 use=1",
        ),
        (
            tuple(1, a, b, 53, 17 << 8),
            "icmp     1 27 src=10.9.0.1 dst=10.9.0.2 type=17 code=0 id=53 [UNREPLIED] src=10.9.0.2 dst=10.9.0.1 type=18 code=0 id=53 mark=0 use=1",
        ),
        (
            tuple(58, a6, b6, 55, 139 << 8),
            "icmpv6   58 27 src=fd09::1 dst=fd09::2 type=139 code=0 id=55 [UNREPLIED] src=fd09::2 dst=fd09::1 type=140 code=0 id=55 mark=0 use=1",
        ),
        (
            tuple(89, a, b, 0, 0),
            "unknown  89 27 src=10.9.0.1 dst=10.9.0.2 [UNREPLIED] src=10.9.0.2 dst=10.9.0.1 mark=0 use=1",
        ),
    ];
    for (tuple, printed) in lines {
        let mut f = flow(tuple, 28);
        assert_eq!(text(&f, false), printed);
        f.status.set(Status::SEEN_REPLY);
        assert_eq!(text(&f, false), printed.replace("[UNREPLIED] ", ""));
    }
}

#[test]
fn states_marks_and_families() {
    let mut f = flow(tuple(6, "127.0.0.1", "127.0.0.1", 59406, 7777), 120);
    let syn = crate::conntrack::testing::upper(&f.tuples[0], b"");
    let segment = tcp::Segment::read(&syn, syn.len()).unwrap();
    f.state = State::Tcp(tcp::State::begin(&segment, &Config::default()).unwrap().0);
    assert_eq!(
        text(&f, true),
        "ipv4     2 tcp      6 119 SYN_SENT src=127.0.0.1 dst=127.0.0.1 sport=59406 dport=7777 [UNREPLIED] \
         src=127.0.0.1 dst=127.0.0.1 sport=7777 dport=59406 mark=0 use=1"
    );
    let mut f = flow(tuple(17, "fd09::1", "fd09::2", 1, 2), 120);
    f.status.set(Status::SEEN_REPLY);
    f.status.set(Status::ASSURED);
    f.mark = 4_000_000_000;
    assert_eq!(
        text(&f, true),
        "ipv6     10 udp      17 119 src=fd09::1 dst=fd09::2 sport=1 dport=2 \
         src=fd09::2 dst=fd09::1 sport=2 dport=1 [ASSURED] mark=4000000000 use=1"
    );
}

#[test]
fn past_its_deadline_it_has_no_time_left() {
    let f = flow(tuple(17, "1.2.3.4", "5.6.7.8", 1, 2), 0);
    assert!(text(&f, false).starts_with("udp      17 0 src="));
}
