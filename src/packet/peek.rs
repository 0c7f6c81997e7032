//! Which flow a packet is of, at a glance: from its bytes alone, before anybody has looked at it.
//!
//! For those who count and don't decide: nothing is verified, and what can't be read is left at zero. The [`Tuple`] is
//! the one conntrack would have, where the packet is of an ordinary kind. Knows nothing of flows.

use super::Tuple;
use super::flow::pack;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::{icmpv4, icmpv6, ipv6_ext, proto};

/// The tuple of a frame: with an Ethernet header, which may have one tag, or without. `None`: it is no IP packet.
pub fn tuple_of_frame(frame: &[u8], ethernet: bool) -> Option<Tuple> {
    let l3 = match (ethernet, frame.get(12..14)) {
        (false, _) => 0,
        (true, Some([0x81, 0x00] | [0x88, 0xa8])) => 18,
        (true, _) => 14,
    };
    tuple(frame.get(l3..)?)
}

/// The tuple of a packet from its IP header on.
pub fn tuple(l3: &[u8]) -> Option<Tuple> {
    let (src, dst, kind, l4, v6) = match l3.first()? >> 4 {
        4 => {
            let ip = Ipv4::new(l3)?;
            let whole = ip.frag_offset() == 0;
            let l4 = if whole { l3.get(ip.header_len()..) } else { None };
            (pack(ip.src().into()), pack(ip.dst().into()), ip.protocol(), l4, false)
        }
        6 => {
            let ip = Ipv6::new(l3)?;
            let chain = ipv6_ext::walk(l3).ok()?;
            let l4 = if chain.l4 == 0 { None } else { l3.get(chain.l4..) };
            (pack(ip.src().into()), pack(ip.dst().into()), chain.proto, l4, true)
        }
        _ => return None,
    };
    let (src_port, dst_port) = l4.map_or((0, 0), |l4| ports(kind, l4));
    Some(Tuple { src, dst, src_port, dst_port, proto: kind, v6 })
}

/// What a tuple has for ports.
fn ports(kind: u8, l4: &[u8]) -> (u16, u16) {
    let word = |at: usize| l4.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    match kind {
        proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP | proto::DCCP => (word(0), word(2)),
        proto::ICMP | proto::ICMPV6 => {
            let echo = match kind {
                proto::ICMP => [icmpv4::ECHO, icmpv4::ECHO_REPLY],
                _ => [icmpv6::ECHO, icmpv6::ECHO_REPLY],
            };
            let asks = l4.first().is_some_and(|t| echo.contains(t));
            (if asks { word(4) } else { 0 }, word(0))
        }
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UDP4: [u8; 28] = [
        0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 1, 0, 2, 198, 51, 100, 7, 0x0f, 0xa0, 0, 53, 0, 8, 0, 0,
    ];

    #[test]
    fn a_packet_is_known_by_its_ends() {
        let t = tuple(&UDP4).unwrap();
        assert_eq!(format!("{t:?}"), "17 10.1.0.2:4000 > 198.51.100.7:53");
        let mut frame = vec![2; 12];
        frame.extend([0x81, 0, 0, 5, 8, 0]);
        frame.extend(UDP4);
        assert_eq!(tuple_of_frame(&frame, true), Some(t));
        assert_eq!(tuple_of_frame(&UDP4, false), Some(t));
        let mut later = UDP4;
        later[7] = 9;
        assert_eq!(format!("{:?}", tuple(&later).unwrap()), "17 10.1.0.2:0 > 198.51.100.7:0");
        let mut ping = UDP4;
        ping[9] = proto::ICMP;
        ping[20..28].copy_from_slice(&[8, 0, 0, 0, 0, 77, 0, 1]);
        assert_eq!(format!("{:?}", tuple(&ping).unwrap()), "1 10.1.0.2:77 > 198.51.100.7:2048");
        assert_eq!(tuple_of_frame(&[2; 60], true), None);
    }

    proptest! {
        #[test]
        fn noise_is_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..90), version in 4u8..7) {
            if let Some(first) = bytes.first_mut() {
                *first = *first & 0xf | version << 4;
            }
            let _ = (tuple(&bytes), tuple_of_frame(&bytes, true), tuple_of_frame(&bytes, false));
        }
    }
}
