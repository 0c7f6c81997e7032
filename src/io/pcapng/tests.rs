//! Blocks as they stand in a file, whatever is written.

use proptest::prelude::*;

use super::*;

/// A block: its type, and its body.
type Block = (u32, Vec<u8>);

/// The blocks of a file, whose lengths must agree.
fn blocks(mut file: &[u8]) -> Vec<Block> {
    let mut all = Vec::new();
    while !file.is_empty() {
        let word = |at: usize| u32::from_ne_bytes(*file[at..].first_chunk().unwrap());
        let len = word(4) as usize;
        assert!(len.is_multiple_of(4) && len >= 12 && len <= file.len(), "{len} of {}", file.len());
        assert_eq!(word(len - 4) as usize, len);
        all.push((word(0), file[8..len - 4].to_vec()));
        file = &file[len..];
    }
    all
}

fn options(mut rest: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let word = |at: usize| u16::from_ne_bytes(*rest[at..].first_chunk().unwrap());
        let (code, len) = (word(0), usize::from(word(2)));
        if code == END {
            assert_eq!((len, rest.len()), (0, 4));
            return all;
        }
        all.push((code, rest[4..4 + len].to_vec()));
        rest = &rest[4 + len.next_multiple_of(4)..];
    }
}

fn word(body: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(*body[at..].first_chunk().unwrap())
}

#[test]
fn interfaces_are_described_once_and_counted_at_the_end() {
    let mut w = Writer::new(Vec::new(), 96).unwrap();
    let packet = |time| Enhanced {
        time,
        kept: b"12345",
        original: 60,
        comment: "sent by wan\nrule 2",
        ..Enhanced::default()
    };
    w.packet("lan", LinkType::Ethernet, packet(1)).unwrap();
    w.packet("forward", LinkType::Raw, packet(2)).unwrap();
    w.packet("lan", LinkType::Ethernet, packet(1 << 32 | 7)).unwrap();
    w.missed(9);
    let bytes = w.bytes();
    let file = w.finish().unwrap();
    assert!(file.len() as u64 > bytes);
    let all = blocks(&file);
    assert_eq!(all.iter().map(|b| b.0).collect::<Vec<_>>(), [0x0a0d_0d0a, 1, 6, 1, 6, 6, 5, 5]);
    assert_eq!((all[1].1[..2].to_vec(), word(&all[1].1, 4)), (1u16.to_ne_bytes().to_vec(), 96));
    assert_eq!(options(&all[1].1[8..]), [(IF_NAME, b"lan".to_vec()), (IF_TSRESOL, vec![9])]);
    assert_eq!(all[3].1[..2], 101u16.to_ne_bytes());
    let last = &all[5].1;
    assert_eq!([0, 4, 8, 12, 16].map(|at| word(last, at)), [0, 1, 7, 5, 60]);
    assert_eq!(last[20..28], *b"12345\0\0\0");
    assert_eq!(options(&last[28..]), [(COMMENT, b"sent by wan\nrule 2".to_vec())]);
    let statistics: Vec<_> = all[6..].iter().map(|b| (word(&b.1, 0), options(&b.1[12..]))).collect();
    let n = |n: u64| n.to_ne_bytes().to_vec();
    assert_eq!(statistics[0], (0, vec![(ISB_IFRECV, n(11)), (ISB_IFDROP, n(9))]));
    assert_eq!(statistics[1], (1, vec![(ISB_IFRECV, n(1)), (ISB_IFDROP, n(0))]));
}

#[test]
fn a_file_without_packets_still_says_what_it_lacks() {
    assert_eq!(blocks(&Writer::new(Vec::new(), 96).unwrap().finish().unwrap()).len(), 1);
    let mut w = Writer::new(Vec::new(), 96).unwrap();
    w.missed(3);
    let all = blocks(&w.finish().unwrap());
    assert_eq!(all.iter().map(|b| b.0).collect::<Vec<_>>(), [0x0a0d_0d0a, 1, 5]);
}

proptest! {
    #[test]
    fn whatever_is_written_keeps_its_shape(
        names in proptest::collection::vec(("[a-z]{0,9}", any::<bool>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..90), "\\PC{0,40}"), 0..8),
    ) {
        let mut w = Writer::new(Vec::new(), 64).unwrap();
        for (name, ethernet, time, bytes, comment) in &names {
            let kind = if *ethernet { LinkType::Ethernet } else { LinkType::Raw };
            let packet = Enhanced { time: *time, kept: bytes, original: bytes.len() + 7, comment, ..Enhanced::default() };
            w.packet(name, kind, packet).unwrap();
        }
        let packets: Vec<_> = blocks(&w.finish().unwrap()).into_iter().filter(|b| b.0 == 6).collect();
        prop_assert_eq!(packets.len(), names.len());
        for ((_, body), (_, _, _, bytes, comment)) in packets.iter().zip(&names) {
            prop_assert_eq!(&body[20..20 + bytes.len()], &bytes[..]);
            let said = options(&body[20 + bytes.len().next_multiple_of(4)..]);
            let want: Vec<_> = Some((COMMENT, comment.clone().into_bytes())).filter(|(_, c)| !c.is_empty()).into_iter().collect();
            prop_assert_eq!(said, want);
        }
    }
}
