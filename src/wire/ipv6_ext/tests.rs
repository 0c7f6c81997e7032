//! Chains of extension headers, as they should be and as somebody would like them to be.

use proptest::prelude::*;

use super::*;

/// An IPv6 header that names `first`, and what follows it.
fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut b = vec![0; 40];
    b[0] = 0x60;
    b[6] = first;
    b[24] = 0x20;
    b.extend(rest);
    let len = (b.len() - 40) as u16;
    b[4..6].copy_from_slice(&len.to_be_bytes());
    b
}

#[test]
fn no_extension_headers() {
    let chain = walk(&packet(17, &[0; 8])).unwrap();
    assert_eq!(chain, Chain { l4: 40, proto: 17, proto_field: 6, ..Chain::default() });
    assert_eq!(walk(&packet(17, &[])).unwrap().l4, 0);
    assert_eq!(
        walk(&packet(59, &[1, 2, 3])).unwrap(),
        Chain { proto: 59, proto_field: 6, ..Chain::default() }
    );
    assert_eq!(walk(&packet(50, &[0; 20])).unwrap().l4, 40, "an encrypted payload is an upper layer");
}

#[test]
fn every_kind_in_a_row() {
    let chain = walk(&packet(
        0,
        &[
            [60, 0, 1, 4, 0, 0, 0, 0].as_slice(),               // 40 hop-by-hop
            &[43, 1, 1, 4, 0, 0, 0, 0, 1, 6, 0, 0, 0, 0, 0, 0], // 48 destination options, 16 bytes
            &[44, 0, 4, 2, 0, 0, 0, 0],                         // 64 routing
            &[51, 9, 0, 0, 0, 0, 0, 7], // 72 fragment, atomic; its second byte is no length
            &[6, 4, 0, 0, 0, 0, 0, 1],  // 80 authentication, 24 bytes
            &[0; 16],
            &[0xaa; 20],
        ]
        .concat(),
    ))
    .unwrap();
    assert_eq!(chain.l4, 104);
    assert_eq!((chain.proto, chain.proto_field, chain.hop_by_hop), (6, 80, true));
    assert_eq!(chain.routing, Some(RoutingHeader { at: 64, kind: 4, segments_left: 2 }));
    let frag = chain.frag.unwrap();
    assert_eq!(frag, FragHeader { at: 72, named_at: 64, offset: 0, more: false, ident: 7 });
    assert!(frag.is_atomic());
}

#[test]
fn later_fragments_show_no_upper_layer() {
    let chain = walk(&packet(44, &[17, 0, 0x05, 0xa9, 0, 0, 0, 1, 9, 9])).unwrap();
    let frag = FragHeader { at: 40, named_at: 6, offset: 1448, more: true, ident: 1 };
    assert_eq!(chain, Chain { proto: 17, frag: Some(frag), proto_field: 40, ..Chain::default() });
    let first = walk(&packet(44, &[17, 0, 0, 1, 0, 0, 0, 1, 9, 9])).unwrap();
    assert_eq!((first.l4, first.frag.unwrap().more), (48, true));
}

#[test]
fn chains_that_are_refused() {
    assert_eq!(walk(&packet(60, &[17, 0, 0, 0, 0, 0, 0])), Err(ChainError::Truncated));
    assert_eq!(walk(&packet(43, &[17, 1, 0, 0, 0, 0, 0, 0])), Err(ChainError::Truncated));
    assert_eq!(walk(&packet(44, &[17, 0, 0])), Err(ChainError::Truncated));
    let hbh_second = [0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(walk(&packet(60, &hbh_second)), Err(ChainError::Misplaced { pointer: 40 }));
    let of = |n: usize| {
        let mut rest = [60, 0, 1, 4, 0, 0, 0, 0].repeat(n);
        rest[(n - 1) * 8] = 17;
        rest.extend([0; 8]);
        walk(&packet(60, &rest))
    };
    assert_eq!(of(8).unwrap().l4, 104);
    assert_eq!(of(9), Err(ChainError::TooLong));
}

fn hop_by_hop(options_: &[u8]) -> Result<Options, OptionError> {
    let mut rest = vec![17, 0];
    rest.extend(options_);
    while rest.len() % 8 != 0 {
        rest.push(0);
    }
    rest[1] = (rest.len() / 8 - 1) as u8;
    options(&packet(0, &rest), 40, OptionsOf::HopByHop)
}

#[test]
fn what_is_not_known_says_itself_what_to_do() {
    assert_eq!(hop_by_hop(&[0x1e, 1, 0]), Ok(Options::default()));
    assert_eq!(hop_by_hop(&[0x5e, 1, 0]), Err(OptionError::Discard));
    assert_eq!(hop_by_hop(&[0x9e, 1, 0]), Err(OptionError::Problem { code: 2, pointer: 42 }));
    assert_eq!(hop_by_hop(&[0x1e, 0, 0xde, 0]), Err(OptionError::Problem { code: 2, pointer: 44 }));
    let mut to_group = packet(0, &[17, 0, 0xde, 4, 0, 0, 0, 0]);
    assert!(matches!(options(&to_group, 40, OptionsOf::HopByHop), Err(OptionError::Problem { .. })));
    to_group[24] = 0xff;
    assert_eq!(options(&to_group, 40, OptionsOf::HopByHop), Err(OptionError::Discard));
    to_group[42] = 0x9e;
    assert!(matches!(options(&to_group, 40, OptionsOf::HopByHop), Err(OptionError::Problem { .. })));
}

#[test]
fn router_alert_and_jumbo() {
    assert_eq!(hop_by_hop(&[5, 2, 0, 1]), Ok(Options { router_alert: Some(1) }));
    assert_eq!(hop_by_hop(&[5, 3, 0, 1, 0]), Err(OptionError::Malformed));
    assert_eq!(hop_by_hop(&[0xc2, 4, 0, 0, 255, 255]), Err(OptionError::Problem { code: 0, pointer: 44 }));
    assert_eq!(hop_by_hop(&[0xc2, 4, 0, 1, 0, 0]), Err(OptionError::Problem { code: 0, pointer: 42 }));
    assert_eq!(hop_by_hop(&[0, 0xc2, 4, 0, 1, 0, 0]), Err(OptionError::Malformed), "not aligned to 4n + 2");
    let mut without_length = packet(0, &[17, 0, 0xc2, 4, 0, 1, 0, 0]);
    without_length[4..6].fill(0);
    assert_eq!(options(&without_length, 40, OptionsOf::HopByHop), Err(OptionError::Malformed));
    let in_destination = packet(60, &[17, 0, 5, 2, 0, 1, 1, 0]);
    assert_eq!(options(&in_destination, 40, OptionsOf::Destination), Ok(Options::default()));
    let jumbo_there = packet(60, &[17, 0, 0xc2, 4, 0, 1, 0, 0]);
    assert_eq!(
        options(&jumbo_there, 40, OptionsOf::Destination),
        Err(OptionError::Problem { code: 2, pointer: 42 })
    );
}

#[test]
fn padding() {
    assert_eq!(hop_by_hop(&[1, 4, 0, 0, 0, 0]), Ok(Options::default()));
    assert_eq!(hop_by_hop(&[1, 4, 0, 0, 1, 0]), Err(OptionError::Malformed), "padding is zero");
    assert_eq!(
        hop_by_hop(&[0x1e, 5, 9, 9, 9, 9, 9, 1, 5, 0, 0, 0, 0, 0]),
        Ok(Options::default()),
        "seven are fine"
    );
    assert_eq!(hop_by_hop(&[0x1e, 0, 1, 6, 0, 0, 0, 0, 0, 0]), Err(OptionError::Malformed), "eight are not");
    assert_eq!(hop_by_hop(&[0; 6]), Ok(Options::default()));
    assert_eq!(hop_by_hop(&[0; 14]), Err(OptionError::Malformed));
    assert_eq!(hop_by_hop(&[0x1e, 9, 0, 0, 0, 0]), Err(OptionError::Malformed), "beyond the header");
    assert_eq!(hop_by_hop(&[0x1e, 0].repeat(8)), Ok(Options::default()));
    assert_eq!(hop_by_hop(&[0x1e, 0].repeat(9)), Err(OptionError::Malformed));
}

proptest! {
    #[test]
    fn any_bytes(first in prop_oneof![Just(0u8), Just(43), Just(44), Just(51), Just(60), any::<u8>()],
                 rest in proptest::collection::vec(prop_oneof![Just(0u8), Just(44), Just(60), any::<u8>()], 0..200),
                 at in 0usize..300) {
        let b = packet(first, &rest);
        if let Ok(chain) = walk(&b) {
            prop_assert!(chain.l4 < b.len() && chain.proto_field < b.len());
            prop_assert_eq!(b[chain.proto_field], chain.proto);
            prop_assert!(chain.l4 == 0 || chain.frag.is_none_or(|f| f.offset == 0));
            if let Some(f) = chain.frag {
                prop_assert_eq!(b[f.named_at], 44);
            }
        }
        let _ = options(&b, at, OptionsOf::HopByHop);
        let _ = walk(&b[..at.min(b.len())]);
    }
}
