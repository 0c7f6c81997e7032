//! What options ask for, which are refused and where the pointer then points, what replies and fragments carry.

use proptest::prelude::*;

use super::*;
use crate::wire::ipv4::Ipv4;

const OUT: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);

fn header(options: &[u8]) -> Vec<u8> {
    let mut h = vec![0x45, 0, 0, 99, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 2, 10, 2, 0, 2];
    h.extend(options);
    h.resize(h.len().next_multiple_of(4), 0);
    h[0] = 0x40 | (h.len() / 4) as u8;
    Ipv4::new(&mut h).unwrap().fill_checksum();
    h
}

fn stamped(options: &[u8]) -> Vec<u8> {
    let mut h = header(options);
    let opts = parse(&h).unwrap();
    stamp_on_forward(&mut h, &opts, OUT, 0x0102_0304);
    assert!(Ipv4::new(&h).unwrap().verify_checksum());
    h.split_off(20)
}

#[test]
fn what_options_ask_for() {
    let o = parse(&header(&[1, 7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0])).unwrap();
    assert_eq!((o.record_route, o.timestamp, o.router_alert), (Some(21), None, true));
    let o = parse(&header(&[131, 7, 4, 10, 9, 9, 9])).unwrap();
    assert_eq!((o.source_route, o.source_route_at), (SourceRoute::Loose, 20));
    assert_eq!(parse(&header(&[137, 3, 4])).unwrap().source_route, SourceRoute::Strict);
    assert!(!parse(&header(&[148, 4, 0, 1])).unwrap().router_alert);
    assert_eq!(parse(&header(&[])), Ok(Options::default()));
    assert_eq!(parse(&header(&[130, 4, 1, 2, 94, 3, 9])), Ok(Options::default()), "unknown ones pass");
}

#[test]
fn pointers_of_parameter_problems_are_those_of_linux() {
    for (options, pointer) in [
        (&[7][..], 20),                // no length: the padding's zero is below 2
        (&[7, 1, 0, 0], 20),           // length below 2
        (&[7, 9, 4, 0], 20),           // beyond the header
        (&[1, 1, 1, 68], 23),          // a lone kind as the last byte
        (&[131, 2, 1, 1], 21),         // no pointer
        (&[131, 3, 3, 1], 22),         // pointer into the header
        (&[131, 3, 4, 137, 3, 4], 23), // two source routes
        (&[7, 2, 1, 1], 21),
        (&[7, 7, 3, 0, 0, 0, 0], 22),
        (&[7, 7, 5, 0, 0, 0, 0], 22), // room for less than an address
        (&[7, 3, 4, 7, 3, 4], 23),    // two record routes
        (&[68, 3, 5, 0], 21),
        (&[68, 8, 4, 0, 0, 0, 0, 0], 22),
        (&[68, 8, 6, 0, 0, 0, 0, 0], 22),
        (&[68, 8, 5, 1, 0, 0, 0, 0], 22), // address and time need eight bytes
        (&[68, 4, 5, 0xf0], 23),          // the overflow overflows
        (&[68, 4, 5, 0, 68, 4, 5, 0], 24),
        (&[148, 3, 0, 0], 21),
    ] {
        assert_eq!(parse(&header(options)), Err(pointer), "{options:?}");
    }
    assert!(parse(&header(&[7, 3, 4])).is_ok(), "full from the beginning");
    assert!(parse(&header(&[68, 4, 5, 0xf3])).is_ok(), "prescribed addresses don't overflow");
}

#[test]
fn record_route() {
    assert_eq!(stamped(&[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0]), [7, 11, 8, 10, 2, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(stamped(&[7, 7, 8, 9, 9, 9, 9]), [7, 7, 8, 9, 9, 9, 9, 0], "full");
}

#[test]
fn timestamps() {
    assert_eq!(stamped(&[68, 8, 5, 0, 0, 0, 0, 0]), [68, 8, 9, 0, 1, 2, 3, 4]);
    assert_eq!(stamped(&[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]), [68, 12, 13, 1, 10, 2, 0, 1, 1, 2, 3, 4]);
    assert_eq!(stamped(&[68, 4, 5, 0x20]), [68, 4, 5, 0x30], "overflow is counted");
    assert_eq!(stamped(&[68, 4, 5, 0x23]), [68, 4, 5, 0x23], "but not of prescribed addresses");
    let prescribed = [68, 12, 5, 3, 10, 2, 0, 1, 0, 0, 0, 0];
    assert_eq!(stamped(&prescribed), prescribed, "another router's");
    let mut h = header(&prescribed);
    let mut opts = parse(&h).unwrap();
    assert_eq!(opts.prespecified(&h), Some(OUT));
    opts.set_prespecified_is_ours();
    stamp_on_forward(&mut h, &opts, Ipv4Addr::UNSPECIFIED, 0x0102_0304);
    assert_eq!(h[20..], [68, 12, 13, 3, 10, 2, 0, 1, 1, 2, 3, 4]);
}

#[test]
fn nothing_is_smuggled_behind_the_end() {
    assert_eq!(stamped(&[1, 0, 0xde, 0xad]), [1, 0, 0, 0]);
    assert!(!parse(&header(&[1, 0, 0, 0])).unwrap().wants_stamp());
}

#[test]
fn later_fragments_keep_what_is_to_be_copied() {
    let mut o = [7, 3, 4, 148, 4, 0, 0, 68, 4, 5, 0, 1, 130, 3, 9, 0, 7, 3];
    copied_options(&mut o);
    assert_eq!(o, [1, 1, 1, 148, 4, 0, 0, 1, 1, 1, 1, 1, 130, 3, 9, 0, 7, 3]);
    let mut lying = [7, 9, 4];
    copied_options(&mut lying);
    assert_eq!(lying, [7, 9, 4]);
}

#[test]
fn replies_carry_record_route_and_timestamp() {
    let echoed = |options: &[u8]| {
        let h = header(options);
        echo(&h, &parse(&h).unwrap(), OUT, 0x0102_0304, |a| a == OUT).map(|e| e.as_slice().to_vec())
    };
    assert_eq!(echoed(&[]), Some(vec![]));
    assert_eq!(echoed(&[148, 4, 0, 0]), Some(vec![]));
    let mut rr = [0; 19];
    rr[..3].copy_from_slice(&[7, 19, 8]);
    rr[3..7].copy_from_slice(&[9, 9, 9, 9]);
    let mut back = [&rr[..], &[0]].concat();
    back[2] = 16;
    back[7..15].copy_from_slice(&[10, 2, 0, 1, 10, 2, 0, 1]);
    assert_eq!(echoed(&rr), Some(back), "on arrival and on the way back");
    assert_eq!(echoed(&[1, 7, 7, 4, 0, 0, 0, 0]), Some(vec![7, 7, 8, 10, 2, 0, 1, 0]), "room for one");
    assert_eq!(echoed(&[7, 9, 4, 0, 0, 0, 0, 0, 0]), None, "room for one and a half");
    assert_eq!(
        echoed(&[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        Some(vec![68, 12, 13, 0, 1, 2, 3, 4, 1, 2, 3, 4])
    );
    assert_eq!(echoed(&[68, 8, 5, 0, 0, 0, 0, 0]), Some(vec![68, 8, 9, 0, 1, 2, 3, 4]), "full, not over");
    assert_eq!(echoed(&[68, 4, 5, 0x20]), Some(vec![68, 4, 5, 0x30]), "over by one packet");
    assert_eq!(echoed(&[68, 4, 5, 0xe0]), Some(vec![68, 4, 5, 0xf0]), "the last that can be counted");
    assert_eq!(
        echoed(&[68, 12, 5, 3, 10, 2, 0, 1, 0, 0, 0, 0]),
        Some(vec![68, 12, 13, 3, 10, 2, 0, 1, 1, 2, 3, 4])
    );
}

proptest! {
    #[test]
    fn any_options(
        options in proptest::collection::vec(
            prop_oneof![Just(7u8), Just(68), Just(131), Just(0), Just(1), 0u8..16, any::<u8>()], 0..=40),
        ours: bool,
    ) {
        let mut h = header(&options);
        if let Ok(mut opts) = parse(&h) {
            if ours && opts.prespecified(&h).is_some() {
                opts.set_prespecified_is_ours();
            }
            stamp_on_forward(&mut h, &opts, OUT, 7);
            let p = Ipv4::new(&h).unwrap();
            prop_assert!(p.verify_checksum());
            prop_assert_eq!((p.header_len(), p.src(), p.ttl()), (h.len(), Ipv4Addr::new(10, 1, 0, 2), 64));
        }
        if let Ok(opts) = parse(&h)
            && let Some(e) = echo(&h, &opts, OUT, 7, |_| ours)
        {
            prop_assert!(e.as_slice().len() % 4 == 0 && e.as_slice().len() + 20 <= h.len());
        }
        copied_options(&mut h[20..]);
    }
}
