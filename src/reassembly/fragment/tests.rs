//! Cutting, by known lengths and places.

use super::*;
use crate::packet::{Csum, Gso, GsoKind, Offload};
use crate::reassembly::tests::{DST, SRC, datagram4, datagram6, edit4, frag4, frag6};
use crate::wire::{checksum, ipv6_ext};

fn cut(packet: Packet, mtu: usize) -> Vec<Packet> {
    let mut out = Vec::new();
    let n = fragment4(packet, mtu, &mut Pool::new(8), &mut out).expect("it can be cut");
    assert_eq!(n, out.len());
    out
}

fn places(fragments: &[Packet]) -> Vec<(usize, usize, bool)> {
    let place = |p: &Packet| {
        let ip = Ipv4::new(p.l3()).unwrap();
        assert!(ip.verify_checksum() && usize::from(ip.total_len()) == p.l3_len());
        (ip.frag_offset(), ip.payload().len(), ip.more_fragments())
    };
    fragments.iter().map(place).collect()
}

#[test]
fn ipv4_is_cut_at_multiples_of_eight() {
    let mut packet = datagram4(4000, 5, &[]);
    packet.set_l2_len(14).unwrap().fill(0xee);
    let fragments = cut(packet, 1500);
    assert_eq!(places(&fragments), [(0, 1480, true), (1480, 1480, true), (2960, 1040, false)]);
    let metas: Vec<_> = fragments.iter().map(|f| (f.meta.frag, f.meta.l4, f.meta.column)).collect();
    let later = (Frag::Later, 0, Column::Originated);
    assert_eq!(metas, [(Frag::First, 20, Column::Received), later, later]);
    // The last may use what the others can't: 4 bytes more.
    assert_eq!(places(&cut(datagram4(1480 + 1484, 5, &[]), 1504))[1], (1480, 1484, false));
    assert_eq!(places(&cut(datagram4(1485, 5, &[]), 1504)), [(0, 1480, true), (1480, 5, false)]);
    // What fits is left alone.
    let whole = cut(datagram4(1480, 5, &[]), 1500);
    assert_eq!((whole.len(), whole[0].meta.frag), (1, Frag::Whole));
}

#[test]
fn a_fragment_is_cut_into_fragments() {
    let fragments = cut(frag4(5, 2960, 4440, true), 500);
    let expected = [(2960, 480, true), (3440, 480, true), (3920, 480, true), (4400, 40, true)];
    assert_eq!(places(&fragments), expected);
    assert!(fragments.iter().all(|f| f.meta.frag == Frag::Later));
    assert_eq!(places(&cut(frag4(5, 2960, 3500, false), 500))[1], (3440, 60, false));
}

#[test]
fn options_are_copied_by_their_bit() {
    // Router alert (copied), record route (not copied), end of list.
    let options = [148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0];
    let fragments = cut(datagram4(600, 5, &options), 320);
    assert_eq!(fragments.len(), 3);
    assert_eq!(Ipv4::new(fragments[0].l3()).unwrap().options(), options);
    for later in &fragments[1..] {
        let ip = Ipv4::new(later.l3()).unwrap();
        assert_eq!(ip.options(), [148, 4, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0]);
    }
    assert_eq!(places(&fragments), [(0, 288, true), (288, 288, true), (576, 24, false)]);
}

#[test]
fn options_of_a_later_fragment_are_passed_on() {
    // Not to be copied, so whoever cut the datagram should have left it out; that is not for us to mend.
    let mut later = datagram4(600, 5, &[7, 7, 4, 0, 0, 0, 0, 0]);
    edit4(&mut later, |ip| ip.set_flags_offset(100));
    for fragment in cut(later, 320) {
        assert_eq!(Ipv4::new(fragment.l3()).unwrap().options(), [7, 7, 4, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn flags_are_kept_and_checksums_finished() {
    let mut packet = datagram4(2000, 5, &[]);
    edit4(&mut packet, |ip| ip.set_flags_offset(0xc000));
    let (start, field) = (20, 6);
    let pseudo = checksum::fold(checksum::pseudo_v4(SRC, DST, proto::UDP, 2000));
    packet.l4_mut()[6..8].copy_from_slice(&pseudo.to_be_bytes());
    packet.meta.offload.csum = Csum::Partial { start, field };
    let fragments = cut(packet, 1500);
    for f in &fragments {
        let ip = Ipv4::new(f.l3()).unwrap();
        assert_eq!(ip.flags_offset() & 0xc000, 0x4000, "DF stays, the reserved bit goes");
        assert_eq!(f.meta.offload, Offload::default());
    }
    let all: Vec<u8> = fragments.iter().flat_map(|f| f.l3()[20..].to_vec()).collect();
    let sum = checksum::pseudo_v4(SRC, DST, proto::UDP, 2000) + checksum::sum(&all);
    assert_eq!(checksum::fold(sum), 0xffff, "the datagram's checksum is right");
}

#[test]
fn what_cannot_be_cut_comes_back() {
    let refuse4 = |packet: Packet, mtu| {
        let (bytes, mut out) = (packet.data().to_vec(), Vec::new());
        let back = fragment4(packet, mtu, &mut Pool::new(1), &mut out).unwrap_err();
        assert!(back.data() == bytes && out.is_empty());
    };
    refuse4(datagram4(100, 1, &[]), 27);
    refuse4(datagram4(100, 1, &[1; 40]), 67);
    refuse4(datagram4(100, 1, &[]), 0);
    let mut lying = datagram4(100, 1, &[]);
    edit4(&mut lying, |ip| ip.set_total_len(121));
    refuse4(lying, 60);
    let mut gso = datagram4(3000, 1, &[]);
    gso.meta.offload.gso = Some(Gso { kind: GsoKind::Udp, size: 1000, ecn: false });
    refuse4(gso, 1500);
    refuse4(frag4(1, 65_528, 66_528, true), 500);
    let mut partial = datagram4(3000, 1, &[]);
    partial.meta.offload.csum = Csum::Partial { start: 5000, field: 0 };
    refuse4(partial, 1500);
    refuse4(Packet::from_slice(b"short"), 1500);

    let refuse6 = |packet: Packet, mtu| {
        let (bytes, mut out) = (packet.data().to_vec(), Vec::new());
        let back = fragment6(packet, mtu, 1, &mut Pool::new(1), &mut out).unwrap_err();
        assert!(back.data() == bytes && out.is_empty());
    };
    refuse6(datagram6(proto::UDP, &[], 100), 55);
    refuse6(frag6(1, 0, 2000, true), 1280);
    let mut lying = datagram6(proto::UDP, &[], 100);
    lying.truncate(139);
    refuse6(lying, 100);
    refuse6(datagram6(proto::HOP_BY_HOP, &[proto::UDP, 200, 1, 4, 0, 0, 0, 0], 1300), 1280);
}

#[test]
fn ipv6_keeps_in_front_what_routers_look_at() {
    let (hop, dest) = ([proto::DEST_OPTIONS, 0, 1, 4, 0, 0, 0, 0], [proto::ROUTING, 0, 1, 4, 0, 0, 0, 0]);
    let routing = [proto::DEST_OPTIONS, 0, 4, 0, 0, 0, 0, 0];
    let last = [proto::UDP, 0, 1, 4, 0, 0, 0, 0];
    let packet = datagram6(proto::HOP_BY_HOP, &[hop, dest, routing, last].concat(), 3000);
    let mut out = Vec::new();
    assert_eq!(fragment6(packet, 1280, 0xabcd, &mut Pool::new(4), &mut out).unwrap(), 3);
    let mut at = 0;
    for (i, f) in out.iter().enumerate() {
        assert!(f.len() <= 1280);
        let chain = ipv6_ext::walk(f.l3()).unwrap();
        let frag = chain.frag.unwrap();
        assert_eq!((frag.at, frag.named_at, frag.ident), (40 + 24, 40 + 16, 0xabcd));
        assert_eq!((frag.offset, frag.more), (at, i < 2));
        assert_eq!(Ipv6::new(f.l3()).unwrap().payload_len() as usize, f.len() - 40);
        at += f.len() - 72;
        let meta = f.meta;
        match i {
            0 => {
                assert_eq!(usize::from(meta.l4), chain.l4);
                assert_eq!((meta.frag, meta.proto, meta.column), (Frag::First, proto::UDP, Column::Received));
            }
            _ => assert_eq!(
                (meta.frag, meta.l4, meta.proto, meta.column),
                (Frag::Later, 0, proto::DEST_OPTIONS, Column::Originated)
            ),
        }
    }
    assert_eq!(at, 3008, "the options behind the routing header are cut with the rest");
}
