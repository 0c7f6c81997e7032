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
//! `SEKISHO_NAT_SEED` makes another run, `SEKISHO_NAT_ROUNDS` a longer one.

#[path = "nat_parity/kernel.rs"]
mod kernel;
#[path = "nat_parity/packets.rs"]
mod packets;
#[path = "nat_parity/rules.rs"]
mod rules;
#[path = "nat_parity/table.rs"]
mod table;

use std::time::Duration;

use sekisho::conntrack::Flow;
use sekisho::lab::{isolate, tools};
use sekisho::packet::{CtState, Direction, NatRange, Packet, Tuple};
use sekisho::wire::{proto, tcp};

use kernel::{Kernel, Side};
use packets::Numbers;
use rules::Rules;
use table::{Table, adopt, turned};

/// New flows for each set of rules.
const FLOWS: usize = 60;
/// How long we wait for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long we wait for what the kernel should not send, when it is done with the packet.
const GRACE: Duration = Duration::from_millis(2);

#[test]
fn as_the_kernel() {
    isolate::test(|| {
        if !tools::usable(tools::IPTABLES.iter().chain(&tools::CONNTRACK)) {
            return;
        }
        let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
        let seed = number("SEKISHO_NAT_SEED").unwrap_or(1);
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

/// One port for all: who gets it after a connection is over depends on its sequence numbers.
#[test]
fn closed_connections_make_room() {
    isolate::test(|| {
        if !tools::usable(tools::IPTABLES.iter().chain(&tools::CONNTRACK)) {
            return;
        }
        let kernel = Kernel::new();
        let port = NatRange {
            port: Some((1000, 1000)),
            ..sekisho::conntrack::nat::netmap([203, 2, 0, 1].into(), 32)
        };
        let ranges = [None, Some(NatRange { netmap: false, ..port })];
        kernel.load(&Rules { v6: false, dst: None, src: ranges[1] });
        let table = Table::new();
        let both = |from: Side, p: Packet| {
            kernel.send(from, &p);
            let ours = alone(&table, p, &ranges);
            kernel.settle(from);
            let patience = if ours.is_some() { PATIENCE } else { GRACE };
            let theirs = kernel.next(if from == Side::Lan { Side::Wan } else { Side::Lan }, patience);
            assert_eq!(ours.as_ref().map(|p| packets::hex(p.l3())), theirs.as_deref().map(packets::hex));
            ours
        };
        let passes =
            |from, t: &Tuple, flags, seq, ack| both(from, packets::segment(t, flags, seq, ack)).is_some();

        let server = "198.51.100.7:80";
        let client = |from: &str| packets::tcp(from, server);
        let (first, inside) = (client("10.64.0.1:5000"), packets::tcp(server, "203.2.0.1:1000"));
        assert!(passes(Side::Lan, &first, tcp::SYN, 1000, 0));
        assert!(!passes(Side::Lan, &client("10.64.0.2:5000"), tcp::SYN, 2000, 0), "it is in use");
        assert!(passes(Side::Wan, &inside, tcp::SYN | tcp::ACK, 70_000, 1001));
        assert!(passes(Side::Lan, &first, tcp::ACK, 1001, 70_001));
        assert!(!passes(Side::Lan, &client("10.64.0.2:5000"), tcp::SYN, 2000, 0), "it is open");
        assert!(passes(Side::Lan, &first, tcp::RST | tcp::ACK, 1001, 70_001));
        assert!(!passes(Side::Lan, &client("10.64.0.2:5000"), tcp::SYN, 900, 0), "behind what was sent");
        assert!(
            !passes(Side::Lan, &client("10.64.0.3:1000"), tcp::SYN, 2000, 0),
            "its own port is not searched for"
        );
        assert!(passes(Side::Lan, &client("10.64.0.2:5000"), tcp::SYN, 2000, 0), "beyond it");
        assert!(passes(Side::Wan, &inside, tcp::SYN | tcp::ACK, 90_000, 2001), "answers are the new one's");
    });
}

/// What becomes of a packet with us.
fn alone(table: &Table, mut p: Packet, ranges: &table::Ranges) -> Option<Packet> {
    let mut current = table.track(&mut p);
    if p.meta.ct.state == CtState::New {
        table.decide(&mut current.flow, ranges, &mut || 0).ok()?;
    }
    Table::translate(&mut p, &current.flow);
    table.confirm(&mut p, &mut current).then_some(())?;
    packets::hop(&mut p);
    Some(p)
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
        let table = Table::new();
        for _ in 0..FLOWS {
            let original = packets::any_tuple(&mut self.numbers, rules.v6);
            if !table.has(&original) {
                self.flow(&rules, &table, original);
            }
        }
    }

    fn flow(&mut self, rules: &Rules, table: &Table, original: Tuple) {
        let sent = packets::first(&original, &mut self.numbers);
        let context = format!("{original:?} with {rules:?}");
        let ranges = rules.of(original.proto);
        let mut p = sent.clone();
        let mut current = table.track(&mut p);
        assert_eq!((p.meta.ct.state, current.flow.tuples[0]), (CtState::New, original));
        let mut asked = 0;
        let mut random = || {
            asked += 1;
            0
        };
        let ours = table.decide(&mut current.flow, &ranges, &mut random);

        // What is left for the source depends on it.
        let at_random = ranges[0].is_some_and(|r| r.random);
        self.kernel.send(Side::Lan, &sent);
        self.kernel.settle(Side::Lan);
        let certain = ours.is_ok() && !at_random;
        let came = self.kernel.next(Side::Wan, if certain { PATIENCE } else { GRACE });
        let Some(came) = came else {
            let reply = current.flow.tuples[1];
            assert!(ours.is_err() || at_random, "the kernel dropped, we gave {reply:?}: {context}");
            self.tally.refused += 1;
            return;
        };
        let seen = packets::seen(&came);
        if asked > 0 || ours.is_err() {
            // The kernel's choice, or its luck.
            let expected = current.flow.tuples[1];
            let theirs = turned(&seen);
            if ours.is_ok() {
                assert_eq!(theirs.src(), expected.src(), "{context}");
                assert!(at_random || theirs.dst() == expected.dst(), "{}: {context}", theirs.dst());
                let class = |t: &Tuple| rules.class(&turned(&original), t, &ranges);
                let alike = class(&theirs) == class(&expected);
                assert!(alike || at_random, "{theirs:?}, not like {expected:?}: {context}");
            }
            assert!(
                !table.has(&theirs) || ours.is_err(),
                "the kernel gave one away twice: {theirs:?}, {context}"
            );
            adopt(&mut current.flow, theirs);
            self.tally.chosen += 1;
        } else {
            self.tally.kept += 1;
        }
        assert_eq!(seen, turned(&current.flow.tuples[1]), "{context}");
        Table::translate(&mut p, &current.flow);
        // Where we give up, Linux may still find a port, or let a clashing UDP packet pass under its original tuple alone.
        let is_in = table.confirm(&mut p, &mut current);
        packets::hop(&mut p);
        assert_eq!(packets::hex(p.l3()), packets::hex(&came), "first packet: {context}");
        if ours.is_err() {
            return;
        }
        assert!(is_in, "{context}");
        self.error(table, Direction::Original, &came, &context);
        // Answers in a PPTP tunnel have a call id that only its control connection tells.
        if original.proto != proto::GRE || original.dst_port == 0 {
            self.answer(table, &current.flow, &context);
        }
    }

    /// An answer, as it comes from outside.
    fn answer(&mut self, table: &Table, flow: &Flow, context: &str) {
        let mut p = packets::answer(&flow.tuples[1], &mut self.numbers);
        self.kernel.send(Side::Wan, &p);
        let came = self.kernel.next(Side::Lan, PATIENCE);
        let came = came.unwrap_or_else(|| panic!("no answer to {:?}: {context}", flow.tuples[1]));
        let current = table.track(&mut p);
        assert_eq!((p.meta.ct.state, p.meta.ct.dir), (CtState::Established, Direction::Reply), "{context}");
        Table::translate(&mut p, &current.flow);
        packets::hop(&mut p);
        assert_eq!(packets::hex(p.l3()), packets::hex(&came), "answer: {context}");
        self.tally.answers += 1;
        self.error(table, Direction::Reply, &came, context);
    }

    /// An error about a packet of this direction, as it was when it left.
    fn error(&mut self, table: &Table, about: Direction, packet: &[u8], context: &str) {
        let mut p = packets::error(packet, &mut self.numbers);
        let (from, to) = match about {
            Direction::Original => (Side::Wan, Side::Lan),
            Direction::Reply => (Side::Lan, Side::Wan),
        };
        self.kernel.send(from, &p);
        let came = self.kernel.next(to, PATIENCE);
        let came = came.unwrap_or_else(|| panic!("no error about {about:?}: {context}"));
        let current = table.track(&mut p);
        assert_eq!((p.meta.ct.state, p.meta.ct.dir), (CtState::Related, about.turned()), "{context}");
        Table::translate(&mut p, &current.flow);
        packets::hop(&mut p);
        assert_eq!(packets::hex(p.l3()), packets::hex(&came), "error about {about:?}: {context}");
        self.tally.errors += 1;
    }
}
