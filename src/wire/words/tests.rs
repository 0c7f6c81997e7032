//! Words that are packets, by their bytes; words that are none.

use proptest::prelude::*;

use super::*;
use crate::wire::describe::describe;
use crate::wire::{ipv4::Ipv4, transport};

const FROM: Mac = Mac([2, 0, 0, 0, 0, 1]);
const TO: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// What tcpdump would say of the packet that words say.
#[track_caller]
fn says(words: &str) -> String {
    let spoken = parse([words]).unwrap_or_else(|e| panic!("{words}: {e}"));
    let frame = spoken.frame(FROM, TO);
    describe(&frame, true)
}

#[track_caller]
fn wrong(words: &str) -> String {
    parse([words]).expect_err(words).to_string()
}

#[test]
fn packets_are_what_was_said() {
    for (words, packet) in [
        (
            "-i lan tcp 10.1.0.2:40000 > 198.51.100.7:443 syn",
            "IP 10.1.0.2.40000 > 198.51.100.7.443: Flags [S], seq 1, win 64240, length 0, ttl 64",
        ),
        (
            "-i lan tcp 10.1.0.2:40000 to 198.51.100.7:443",
            "IP 10.1.0.2.40000 > 198.51.100.7.443: Flags [S], seq 1, win 64240, length 0, ttl 64",
        ),
        (
            "-i lan tcp 10.1.0.2:40000 > 198.51.100.7:443 psh ack 0x10 seq 7 win 9 len 50 df tos 0x10 ttl 3",
            "IP 10.1.0.2.40000 > 198.51.100.7.443: Flags [P.], seq 7:17, ack 16, win 9, length 10, ttl 3",
        ),
        (
            "-i lan udp [fd01::2]:5000 > [2001:db8::1]:53 len 120",
            "IP6 fd01::2.5000 > 2001:db8::1.53: UDP, length 72, hlim 64",
        ),
        (
            "-i wan icmp 10.0.0.1 > 10.0.0.2 echo-request id 7 seq 2",
            "IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 7, seq 2, length 64, ttl 64",
        ),
        (
            "-i wan icmp6 fd01::2 > fd01::1",
            "IP6 fd01::2 > fd01::1: ICMP6, echo request, id 1, seq 1, length 64, hlim 64",
        ),
        ("-i wan gre 10.0.0.1 > 10.0.0.2", "IP 10.0.0.1 > 10.0.0.2: GRE, length 8, ttl 64"),
        ("-i lan arp who-has 10.1.0.1 tell 10.1.0.2", "ARP, who-has 10.1.0.1 tell 10.1.0.2, length 28"),
        (
            "-i lan arp reply 10.1.0.2 is-at 02:00:00:00:00:09 to 10.1.0.1",
            "ARP, reply 10.1.0.2 is-at 02:00:00:00:00:09, length 28",
        ),
    ] {
        assert_eq!(says(words), packet, "{words}");
    }
}

#[test]
fn what_an_error_is_about_is_quoted() {
    let words = "-i wan icmp 203.0.113.9 > 203.0.113.1 port-unreachable about udp 203.0.113.1:4000 > 203.0.113.9:53 len 40";
    let said = says(words);
    assert!(said.contains("port unreachable (203.0.113.1.4000 > 203.0.113.9.53 UDP)"), "{said}");
    let frame = parse([words]).unwrap().packet().unwrap();
    assert_eq!((frame.len(), &frame[20..22]), (20 + 8 + 40, &[3, 3][..]));
    assert_eq!(Ipv4::new(&frame[28..]).unwrap().protocol(), 17);
}

#[test]
fn tos_and_df_are_in_the_header() {
    let packet = parse(["-i lan udp 10.0.0.1:1 > 10.0.0.2:2 df tos 0x10"]).unwrap().packet().unwrap();
    assert_eq!((packet[1], packet[6]), (0x10, 0x40));
    let packet = parse(["-i lan udp [fd00::1]:1 > [fd00::2]:2 tclass 0x10"]).unwrap().packet().unwrap();
    assert_eq!(packet[..2], [0x61, 0]);
}

#[test]
fn fragments_stand_where_they_belong() {
    let first =
        parse(["-i lan udp 10.0.0.1:1 > 10.0.0.2:2 frag 0+ len 36 ipid 9"]).unwrap().packet().unwrap();
    let ip = Ipv4::new(&first[..]).unwrap();
    assert_eq!((ip.flags_offset(), ip.ident(), ip.total_len(), ip.verify_checksum()), (0x2000, 9, 36, true));
    let six = parse(["-i lan udp [fd00::1]:1 > [fd00::2]:2 frag 1480"]).unwrap().packet().unwrap();
    assert_eq!((six[6], six[40], u16::from_be_bytes([six[42], six[43]])), (44, 17, 1480));
}

#[test]
fn what_is_wrong_is_named() {
    for (words, says) in [
        ("", "say a packet"),
        ("-i", "the name of a link"),
        ("-i lan", "a protocol"),
        ("-i lan tpc 10.0.0.1 > 10.0.0.2", "'tpc'"),
        ("-i lan tcp 10.0.0.1:1 10.0.0.2:2", "`to`"),
        ("-i lan tcp 10.0.0.1:1 syn", "'syn'"),
        ("-i lan tcp 10.0.0.1 > 10.0.0.2", "10.0.0.2:53"),
        ("-i lan tcp 10.0.0.1:1 > 10.0.0.2:99999", "'10.0.0.2:99999'"),
        ("-i lan tcp 10.0.0.1:1 > [fd00::1]:2", "different families"),
        ("-i lan icmp fd00::1 > fd00::2", "icmp6"),
        ("-i lan icmp 10.0.0.1:1 > 10.0.0.2", "no ports"),
        ("-i lan udp 10.0.0.1:1 > 10.0.0.2:2 syn", "'syn'"),
        ("-i lan udp 10.0.0.1:1 > 10.0.0.2:2 len 27", "at least 28"),
        ("-i lan udp 10.0.0.1:1 > 10.0.0.2:2 ttl 256", "0 to 255"),
        ("-i lan udp 10.0.0.1:1 > 10.0.0.2:2 ttl 1 ttl 2", "already"),
        ("-i lan udp 10.0.0.1:1 > 10.0.0.2:2 frag 7", "multiple of 8"),
        ("-i lan udp 10.0.0.1:1 > 10.0.0.2:2 frag 0+ len 37", "len 44"),
        ("-i lan udp 10.0.0.1:1 > 10.0.0.2:2 frag 65528 len 65535", "beyond"),
        ("-i lan udp [fd00::1]:1 > [fd00::2]:2 df", "no such flag"),
        ("-i lan icmp 10.0.0.1 > 10.0.0.2 about udp 10.0.0.1:1 > 10.0.0.2:2", "port-unreachable"),
        ("-i lan arp who-has 10.0.0.1", "tell"),
        ("arp who-has 10.0.0.1 tell 10.0.0.2", "`-i LINK`"),
        ("smac broadcast udp 10.0.0.1:1 > 10.0.0.2:2", "`-i LINK`"),
        ("-i lan -i wan udp 10.0.0.1:1 > 10.0.0.2:2", "already"),
    ] {
        let said = wrong(words);
        assert!(said.contains(says), "{words}: {said}");
    }
}

#[test]
fn a_frame_has_its_tag_and_the_link_may_stand_anywhere() {
    let spoken =
        parse(["udp 10.0.0.1:1 > 10.0.0.2:2 vlan 7 dmac broadcast -i lan smac 02:00:00:00:00:09"]).unwrap();
    assert_eq!(
        (spoken.link.as_deref(), spoken.vlan, spoken.to),
        (Some("lan"), Some(7), Some(Mac::BROADCAST))
    );
    let frame = spoken.frame(spoken.from.unwrap(), spoken.to.unwrap());
    assert!(describe(&frame, true).starts_with("vlan 7, IP 10.0.0.1.1"), "{}", describe(&frame, true));
}

fn word() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "-i",
        "lan",
        "tcp",
        "udp",
        "icmp",
        "icmp6",
        "sctp",
        "gre",
        "proto",
        "arp",
        "who-has",
        "tell",
        "reply",
        "is-at",
        "10.0.0.1",
        "10.0.0.2:80",
        "fd00::1",
        "[fd00::2]:53",
        ">",
        "to",
        "syn",
        "ack",
        "seq",
        "len",
        "ttl",
        "tos",
        "df",
        "frag",
        "0+",
        "1480",
        "8",
        "ipid",
        "about",
        "port-unreachable",
        "type",
        "code",
        "id",
        "mtu",
        "mss",
        "win",
        "tag",
        "init",
        "vlan",
        "smac",
        "dmac",
        "broadcast",
        "02:00:00:00:00:01",
        "65535",
        "0x7",
        "4294967295",
    ];
    prop_oneof![9 => proptest::sample::select(KNOWN).prop_map(str::to_owned), 1 => "\\PC{0,12}"]
}

proptest! {
    /// Whatever is said, it is a packet whose own fields agree, or an error of one line.
    #[test]
    fn any_words(words in proptest::collection::vec(word(), 0..24)) {
        match parse(words.iter().map(String::as_str)) {
            Ok(spoken) => drop(spoken.frame(FROM, TO)),
            Err(e) => prop_assert!(!e.to_string().is_empty() && !e.to_string().contains('\n')),
        }
    }

    /// Packets are as the router wants them: lengths and sums are right.
    #[test]
    fn sums_are_right(
        proto in proptest::sample::select(&["tcp", "udp", "udplite", "icmp", "sctp"][..]),
        v6 in any::<bool>(), more in 0usize..1200, ttl in any::<u8>(),
    ) {
        let ports = !proto.starts_with("icmp");
        let end = |n: u16| match (v6, ports) {
            (false, true) => format!("10.0.0.{n}:{n}"),
            (false, false) => format!("10.0.0.{n}"),
            (true, true) => format!("[fd00::{n}]:{n}"),
            (true, false) => format!("fd00::{n}"),
        };
        let name = if v6 && !ports { "icmp6" } else { proto };
        let len = 80 + more;
        let words = format!("-i lan {name} {} > {} len {len} ttl {ttl}", end(1), end(2));
        let spoken = parse([words.as_str()]).unwrap();
        let packet = spoken.packet().unwrap();
        prop_assert_eq!(packet.len(), len);
        let What::Ip(ip) = spoken.what else { unreachable!("it is one") };
        let l4 = &packet[if v6 { 40 } else { 20 }..];
        prop_assert!(transport::verify(ip.src, ip.dst, ip.proto(), l4));
        prop_assert!(ip.proto() != 132 || crate::wire::sctp::is_intact(l4));
    }
}
