//! Lines as the kernel writes them, of whatever packet.

use super::*;

use crate::packet::Meta;

/// What the kernel logged of packets that came in by an Ethernet device: for each the mark and the packet in hexadecimal,
/// then the line from the addresses on, without options and with all of them (`--log-uid` included, which adds nothing).
const KERNEL: &str = include_str!("kernel.txt");

fn log(all: bool) -> Log {
    Log {
        level: 4,
        prefix: "seen ".into(),
        sequence: all,
        tcp_options: all,
        ip_options: all,
        uid: all,
        mac_decode: false,
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// A packet behind an Ethernet header.
fn framed(l3: &[u8], mark: u32) -> Packet {
    let v6 = l3[0] >> 4 == 6;
    let kind = if v6 { [0x86, 0xdd] } else { [8, 0] };
    let frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &kind, l3].concat();
    let mut packet = Packet::from_slice(&frame);
    let net = if v6 { Net::Ipv6 } else { Net::Ipv4 };
    packet.meta = Meta { ingress: LinkId(3), net, l3: 14, mark, ..Meta::default() };
    packet
}

#[test]
fn as_the_kernel_writes_them() {
    let mut lines = KERNEL.lines();
    let mut seen = 0;
    while let Some(what) = lines.next() {
        let (mark, hex) = what.split_once(' ').unwrap();
        let packet = framed(&bytes(hex), mark.parse().unwrap());
        for all in [false, true] {
            let theirs = lines.next().unwrap();
            let ours = line(&log(all), &packet, "va", "");
            let (head, tail) = ours.split_at(ours.find("SRC=").unwrap());
            let kind = if packet.meta.net == Net::Ipv6 { "86:dd" } else { "08:00" };
            assert_eq!(head, format!("seen IN=va OUT= MAC=02:00:00:00:00:01:02:00:00:00:00:02:{kind} "));
            assert_eq!(tail, theirs, "{what}");
        }
        seen += 1;
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn link_layer_headers() {
    let syn = bytes("4500002800000000400626ce0a0000010a00000204d200500000000000000000500203e800000000");
    let packet = framed(&syn, 0);
    let decoded = line(&Log { mac_decode: true, ..log(false) }, &packet, "va", "vb");
    let head =
        "seen IN=va OUT=vb MACSRC=02:00:00:00:00:02 MACDST=02:00:00:00:00:01 MACPROTO=0800 SRC=10.0.0.1 ";
    assert!(decoded.starts_with(head), "{decoded}");
    assert!(line(&log(false), &packet, "", "vb").starts_with("seen IN= OUT=vb SRC=10.0.0.1 "));

    let mut bare = Packet::from_slice(&syn);
    bare.meta = Meta { ingress: LinkId(3), net: Net::Ipv4, ..Meta::default() };
    assert!(line(&log(false), &bare, "tun0", "").starts_with("seen IN=tun0 OUT= MAC= SRC="));
    bare.meta.ingress = LinkId::LO;
    let zeros = "seen IN=lo OUT= MAC=00:00:00:00:00:00:00:00:00:00:00:00:08:00 SRC=";
    assert!(line(&log(false), &bare, "lo", "").starts_with(zeros));
    assert!(
        line(&Log { mac_decode: true, ..log(false) }, &bare, "lo", "").starts_with("seen IN=lo OUT= MAC")
    );
}

#[test]
fn lines_are_bounded() {
    // A long chain of empty extension headers.
    let mut packet =
        bytes("60000000032000400000000000000000000000000000000100000000000000000000000000000002");
    packet[6] = 60;
    for _ in 0..120 {
        packet.extend([60, 0, 1, 4, 0, 0, 0, 0]);
    }
    let packet = framed(&packet, 1);
    let line = line(&log(true), &packet, "va", "");
    assert_eq!(line.len(), LONGEST_LINE);
}

proptest::proptest! {
    #[test]
    fn nothing_panics(
        l3 in proptest::collection::vec(proptest::num::u8::ANY, 0..120),
        l3_at in 0_u16..40,
        v6 in proptest::bool::ANY,
        decode in proptest::bool::ANY,
    ) {
        let mut packet = Packet::from_slice(&l3);
        let net = if v6 { Net::Ipv6 } else { Net::Ipv4 };
        packet.meta = Meta { net, l3: l3_at.min(l3.len() as u16), ..Meta::default() };
        let text = line(&Log { mac_decode: decode, ..log(true) }, &packet, "va", "vb");
        proptest::prop_assert!(text.len() <= LONGEST_LINE);
    }
}
