//! Lines as conntrack-tools 1.4.7 prints them on Linux 6.18; each of these was copied from there.

use super::*;
use crate::conntrack::testing::flow;
use crate::conntrack::{Settings, tcp};
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
    f.state = State::Tcp(tcp::State::begin(&segment, &Settings::default()).unwrap().0);
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

#[test]
fn events_options_and_elements() {
    let t = tuple(17, "10.0.0.1", "10.0.0.2", 3, 2);
    let mut f = flow(t, 100);
    let id = FlowId { slot: 7, tenant: std::num::NonZeroU32::MIN };
    let n = number(id);
    let now = Instant::ZERO;
    let ends =
        "src=10.0.0.1 dst=10.0.0.2 sport=3 dport=2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=2 dport=3";
    let event = |f: &Flow, kind, now, hand| line(f, now, false).of_event(kind, hand).to_string();
    assert_eq!(event(&f, EventKind::New, now, false), format!("    [NEW] udp      17 100 {ends}"));
    assert_eq!(
        event(&f, EventKind::Destroy, Instant::from_secs(100), false),
        format!("[DESTROY] udp      17 {ends}"),
        "no time is left"
    );
    assert_eq!(
        event(&f, EventKind::Destroy, now, true),
        format!("[DESTROY] udp      17 100 {ends} [USERSPACE]")
    );
    assert_eq!(
        line(&f, now, false).with_id(id).to_string(),
        format!("udp      17 100 {ends} mark=0 use=1 id={n}")
    );
    assert_eq!(
        xml(&f, id, now, None, false).to_string(),
        format!(
            r#"<flow><meta direction="original"><layer3 protonum="2" protoname="ipv4"><src>10.0.0.1</src><dst>10.0.0.2</dst></layer3><layer4 protonum="17" protoname="udp"><sport>3</sport><dport>2</dport></layer4></meta><meta direction="reply"><layer3 protonum="2" protoname="ipv4"><src>10.0.0.2</src><dst>10.0.0.1</dst></layer3><layer4 protonum="17" protoname="udp"><sport>2</sport><dport>3</dport></layer4></meta><meta direction="independent"><timeout>100</timeout><mark>0</mark><use>1</use><id>{n}</id><unreplied/></meta></flow>"#
        )
    );
    assert!(
        xml(&f, id, now, Some(EventKind::Update), false).to_string().starts_with("<flow type=\"update\">")
    );
    assert!(!xml(&f, id, now, Some(EventKind::Update), false).to_string().contains("use>"));
    for bit in [Status::SEEN_REPLY, Status::ASSURED] {
        f.status.set(bit);
    }
    f.mark = 9;
    let seen = ends.replace(" [UNREPLIED]", "");
    assert_eq!(
        line(&f, now, true).of_event(EventKind::Update, true).with_id(id).to_string(),
        format!(" [UPDATE] ipv4     2 udp      17 100 {seen} [ASSURED] mark=9 id={n} [USERSPACE]")
    );
    assert!(
        xml(&f, id, now, None, false).to_string().ends_with(&format!("<id>{n}</id><assured/></meta></flow>"))
    );
    let saved = |f: &Flow| save(f, now, None, false).to_string();
    assert_eq!(
        saved(&f),
        "-A -t 100 -u SEEN_REPLY,ASSURED -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p udp --sport 3 --dport 2 \
         --reply-port-src 2 --reply-port-dst 3"
    );
    f.tuples[1] = tuple(17, "1.2.3.4", "5.6.7.8", 77, 4);
    f.status.set(Status::SRC_NAT);
    f.status.set(Status::DST_NAT);
    assert_eq!(
        save(&f, now, Some(EventKind::Destroy), false).to_string(),
        "-D -t 100 -u SEEN_REPLY,ASSURED -s 10.0.0.1 -d 10.0.0.2 -g 1.2.3.4 -n 5.6.7.8 -p udp --sport 3 --dport 2 \
         --reply-port-src 77 --reply-port-dst 4"
    );
    assert_eq!(
        saved(&flow(tuple(58, "fd00::1", "fd00::2", 9, 128 << 8), 99)),
        "-A -t 99 -u UNSET -s fd00::1 -d fd00::2 -r fd00::2 -q fd00::1 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 9"
    );
    assert_eq!(
        saved(&flow(tuple(47, "10.0.0.1", "10.0.0.2", 3, 4), 99)),
        "-A -t 99 -u UNSET -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p gre --srckey 3 --dstkey 4 --reply-key-src 4 --reply-key-dst 3"
    );
    assert_eq!(
        saved(&flow(tuple(89, "::1", "::1", 0, 0), 599)),
        "-A -t 599 -u UNSET -s ::1 -d ::1 -r ::1 -q ::1 -p 89"
    );
}
