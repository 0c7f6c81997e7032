//! NAT beside the kernel's: the same rules and the same new flows for both, and what each makes of their packets,
//! of the answers, and of ICMP errors about either, compared byte by byte.
//!
//! ```text
//!            lan 10.1.0.0/24 fd01::/64   ┌─────────┐   wan 10.2.0.0/24 fd02::/64
//!   us, .254 ────────────────────────────┤ .1   .1 ├──────────────────────────── us, .254
//!   and 10.64/16, fd64::/16 behind       │ kernel  │       and everybody else behind
//!                                        └─────────┘
//! ```
//!
//! Where the kernel chooses at random the choice is only held to its bounds, and taken over.
//! `SEKISHO_NAT_SEED` repeats a run, `SEKISHO_NAT_ROUNDS` makes it longer.

#[path = "nat_parity/book.rs"]
mod book;
#[path = "nat_parity/kernel.rs"]
mod kernel;
#[path = "nat_parity/packets.rs"]
mod packets;
#[path = "nat_parity/rules.rs"]
mod rules;

use std::time::Duration;

use sekisho::conntrack::Flow;
use sekisho::conntrack::nat::{bind, setup, translate, translate_error};
use sekisho::lab::isolate;
use sekisho::packet::{Direction, Manip, NatRange, Tuple};

use book::{Book, begin, turned};
use kernel::{Kernel, Side};
use packets::Numbers;
use rules::Rules;

/// New flows for each set of rules.
const FLOWS: usize = 60;

#[test]
fn as_the_kernel() {
    isolate::test(|| {
        let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
        let seed = number("SEKISHO_NAT_SEED").unwrap_or_else(packets::any_seed);
        let rounds = number("SEKISHO_NAT_ROUNDS").unwrap_or(40);
        println!("SEKISHO_NAT_SEED={seed}");
        let mut run = Run { kernel: Kernel::new(), numbers: Numbers(seed), tally: Tally::default() };
        for _ in 0..rounds {
            run.round();
        }
        println!("{:?}", run.tally);
        let t = &run.tally;
        assert!(t.kept > 0 && t.chosen > 0 && t.refused > 0 && t.answers > 0 && t.errors > 0, "{t:?}");
    });
}

/// What was compared.
#[derive(Debug, Default)]
struct Tally {
    /// Flows whose translation followed from the rules.
    kept: u32,
    /// Flows for which the kernel chose at random.
    chosen: u32,
    /// Flows that neither let through.
    refused: u32,
    answers: u32,
    errors: u32,
}

struct Run {
    kernel: Kernel,
    numbers: Numbers,
    tally: Tally,
}

impl Run {
    fn round(&mut self) {
        let rules = Rules::any(&mut self.numbers);
        self.kernel.load(&rules);
        let mut book = Book::default();
        for _ in 0..FLOWS {
            let original = packets::any_tuple(&mut self.numbers, rules.v6);
            if !book.has(&original) {
                self.flow(&rules, &mut book, original);
            }
        }
    }

    fn flow(&mut self, rules: &Rules, book: &mut Book, original: Tuple) {
        let sent = packets::first(&original, &mut self.numbers);
        let to = |dst: &Option<NatRange>| dst.filter(|r| r.port.is_none() || rules.has_ports(original.proto));
        let (dst, src) = (to(&rules.dst), to(&rules.src));
        let mut flow = begin(original);
        let mut asked = 0;
        let mut random = || {
            asked += 1;
            0
        };
        let ours = apply(&mut flow, dst, Manip::Dst, book, &mut random)
            .and_then(|_| apply(&mut flow, src, Manip::Src, book, &mut random));
        let context = format!("{original:?} with {rules:?}");

        // What is left for the source depends on it.
        let at_random = dst.is_some_and(|r| r.random);
        self.kernel.send(Side::Lan, &sent);
        let patience = if ours.is_ok() { Duration::from_secs(2) } else { GRACE };
        let came = self.kernel.next(Side::Wan, patience);
        let Some(came) = came else {
            assert!(
                ours.is_err() || at_random,
                "the kernel dropped, we gave {:?}: {context}",
                flow.tuples[1]
            );
            self.tally.refused += 1;
            return;
        };
        let seen = packets::seen(&came);
        if asked > 0 || ours.is_err() {
            // The kernel's choice, or its luck.
            let expected = flow.tuples[1];
            let mut theirs = turned(&seen);
            if original.proto == 47 {
                theirs.src_port = flow.tuples[1].src_port;
            }
            let own = turned(&original);
            if ours.is_ok() {
                assert_eq!(theirs.src(), expected.src(), "{context}");
                assert!(at_random || theirs.dst() == expected.dst(), "{}: {context}", theirs.dst());
                let class = |t: &Tuple| rules.class(&own, t, dst, src);
                let alike = class(&theirs) == class(&flow.tuples[1]);
                assert!(alike || at_random, "{theirs:?}, not like {:?}: {context}", flow.tuples[1]);
            }
            assert!(
                !book.has(&theirs) || ours.is_err(),
                "the kernel gave one away twice: {theirs:?}, {context}"
            );
            flow = book::as_chosen(&flow, theirs);
            self.tally.chosen += 1;
        } else {
            self.tally.kept += 1;
        }
        assert_eq!(seen, turned(&flow.tuples[1]), "{context}");
        let mut expected = sent.clone();
        for manip in [Manip::Dst, Manip::Src] {
            translate(&mut expected, &flow, Direction::Original, manip).unwrap();
        }
        packets::hop(&mut expected);
        assert_eq!(packets::hex(expected.l3()), packets::hex(&came), "first packet: {context}");
        if ours.is_err() {
            // It found what we missed; or lets a clashing UDP packet pass, under its original tuple alone.
            if !book.has(&flow.tuples[1]) {
                book.confirm(&flow);
            }
            return;
        }
        book.confirm(&flow);
        self.errors(&flow, Direction::Original, &came, &context);
        self.answer(&flow, &context);
    }

    /// An answer, as it comes from outside.
    fn answer(&mut self, flow: &Flow, context: &str) {
        let sent = packets::answer(&flow.tuples[1], &mut self.numbers);
        self.kernel.send(Side::Wan, &sent);
        let came = self.kernel.next(Side::Lan, Duration::from_secs(2));
        let came = came.unwrap_or_else(|| panic!("no answer to {:?}: {context}", flow.tuples[1]));
        let mut expected = sent.clone();
        for manip in [Manip::Dst, Manip::Src] {
            translate(&mut expected, flow, Direction::Reply, manip).unwrap();
        }
        packets::hop(&mut expected);
        assert_eq!(packets::hex(expected.l3()), packets::hex(&came), "answer: {context}");
        self.tally.answers += 1;
        self.errors(flow, Direction::Reply, &came, context);
    }

    /// Errors about a packet of this direction, as it was when it left.
    fn errors(&mut self, flow: &Flow, about: Direction, packet: &[u8], context: &str) {
        let sent = packets::error(packet, &mut self.numbers);
        let (from, to) = match about {
            Direction::Original => (Side::Wan, Side::Lan),
            Direction::Reply => (Side::Lan, Side::Wan),
        };
        self.kernel.send(from, &sent);
        let came = self.kernel.next(to, Duration::from_secs(2));
        let came = came.unwrap_or_else(|| panic!("no error about {about:?} of {:?}: {context}", flow.tuples));
        let mut expected = sent.clone();
        for manip in [Manip::Dst, Manip::Src] {
            translate_error(&mut expected, flow, about.turned(), manip).unwrap();
        }
        packets::hop(&mut expected);
        assert_eq!(packets::hex(expected.l3()), packets::hex(&came), "error about {about:?}: {context}");
        self.tally.errors += 1;
    }
}

fn apply(
    flow: &mut Flow,
    range: Option<NatRange>,
    manip: Manip,
    book: &Book,
    random: &mut impl FnMut() -> u64,
) -> Result<bool, sekisho::base::DropReason> {
    match range {
        Some(range) => setup(flow, &range, manip, book, random),
        None => bind(flow, manip, book, random),
    }
}

/// How long we wait for what the kernel should not send.
const GRACE: Duration = Duration::from_millis(15);
