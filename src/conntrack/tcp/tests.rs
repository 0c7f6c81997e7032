//! Connections as they go, and as somebody would like them to go.

use std::time::Duration;

use super::*;
use crate::conntrack::Config;
use crate::packet::Direction::{Original, Reply};
use crate::wire::tcp::{ACK, FIN, PSH, RST};

const S: u8 = SYN;
const SA: u8 = SYN | ACK;
const A: u8 = ACK;
const FA: u8 = FIN | ACK;
const R: u8 = RST;
const RA: u8 = RST | ACK;

/// A flow as the table would keep it.
struct Flow {
    state: State,
    status: Status,
    left: u64,
    cfg: Config,
}

fn seg(flags: u8, seq: u32, ack: u32) -> Segment {
    Segment { seq, ack, window: 10_000, flags, len: 0, sack: ack, options: None }
}

fn data(seq: u32, ack: u32, len: u32) -> Segment {
    Segment { len, ..seg(A | PSH, seq, ack) }
}

fn syn(flags: u8, seq: u32, ack: u32, scale: Option<u8>) -> Segment {
    Segment { options: Some(Options { scale, sack: true }), ..seg(flags, seq, ack) }
}

impl Flow {
    fn begin(first: Segment) -> Option<Flow> {
        Flow::with(Config::default(), first)
    }

    fn with(cfg: Config, first: Segment) -> Option<Flow> {
        let (state, timeout) = State::begin(&first, &Settings::of(&cfg))?;
        Some(Flow { state, status: Status::CONFIRMED, left: timeout.as_secs(), cfg })
    }

    /// Client 1000, server 5000.
    fn open() -> Flow {
        let mut f = Flow::begin(syn(S, 1000, 0, Some(7))).unwrap();
        f.accept(Reply, syn(SA, 5000, 1001, Some(7)));
        f.accept(Original, seg(A, 1001, 5001));
        assert_eq!((f.state.name(), f.left), ("ESTABLISHED", 432_000));
        assert!(f.status.has(Status::ASSURED));
        f
    }

    fn step(&mut self, dir: Direction, seg: Segment) -> Step {
        let step =
            self.state.step(dir, &seg, self.status, &Settings::of(&self.cfg), Duration::from_secs(self.left));
        match step {
            Step::Accept { timeout, set } => {
                self.status.set(set);
                if dir == Reply {
                    self.status.set(Status::SEEN_REPLY);
                }
                self.left = timeout.map_or(self.left, |t| t.as_secs());
            }
            Step::Invalid { timeout } => self.left = timeout.map_or(self.left, |t| t.as_secs()),
            Step::Remove | Step::Reopen => {}
        }
        step
    }

    #[track_caller]
    fn accept(&mut self, dir: Direction, seg: Segment) -> (&'static str, u64) {
        let step = self.step(dir, seg);
        assert!(matches!(step, Step::Accept { .. }), "{step:?}");
        (self.state.name(), self.left)
    }

    /// Let through without a new timeout.
    #[track_caller]
    fn pass(&mut self, dir: Direction, seg: Segment) -> &'static str {
        assert_eq!(self.step(dir, seg), Step::PASS);
        self.state.name()
    }

    #[track_caller]
    fn refuse(&mut self, dir: Direction, seg: Segment) {
        assert_eq!(self.step(dir, seg), Step::INVALID);
    }
}

#[test]
fn from_the_first_syn_to_the_last_ack() {
    let mut f = Flow::begin(seg(S, 1000, 0)).unwrap();
    assert_eq!((f.state.name(), f.left), ("SYN_SENT", 120));
    assert_eq!(f.accept(Reply, seg(SA, 5000, 1001)), ("SYN_RECV", 60));
    assert_eq!(f.accept(Original, seg(A, 1001, 5001)), ("ESTABLISHED", 432_000));
    assert!(f.status.has(Status::ASSURED));
    // As long as data waits for its acknowledgment.
    assert_eq!(f.accept(Original, data(1001, 5001, 100)), ("ESTABLISHED", 300));
    assert_eq!(f.accept(Reply, seg(A, 5001, 1101)), ("ESTABLISHED", 432_000));
    assert_eq!(f.accept(Original, seg(FA, 1101, 5001)), ("FIN_WAIT", 120));
    assert_eq!(f.accept(Reply, seg(A, 5001, 1102)), ("CLOSE_WAIT", 60));
    assert_eq!(f.accept(Reply, seg(FA, 5001, 1102)), ("LAST_ACK", 30));
    assert_eq!(f.accept(Original, seg(A, 1102, 5002)), ("TIME_WAIT", 120));
    assert!(f.state.phase().is_closing());
    // A late one changes nothing; the next connection begins.
    assert_eq!(f.accept(Reply, seg(FA, 5001, 1102)), ("TIME_WAIT", 120));
    assert_eq!(f.step(Original, seg(S, 9000, 0)), Step::Reopen);
    assert_eq!(f.step(Reply, seg(S, 9000, 0)), Step::Reopen);
}

#[test]
fn nothing_begins_with_an_answer() {
    for flags in [SA, FA, R, RA] {
        assert!(Flow::begin(seg(flags, 1, 1)).is_none(), "{flags:#x}");
    }
    let strict = Config { tcp_loose: false, ..Config::default() };
    assert!(Flow::with(strict.clone(), seg(A, 1, 1)).is_none());
    assert!(Flow::with(strict, seg(S, 1, 0)).is_some());
}

#[test]
fn a_syn_that_comes_again_renews_nothing() {
    let mut f = Flow::begin(seg(S, 1000, 0)).unwrap();
    f.left = 100;
    assert_eq!(f.accept(Original, seg(S, 1000, 0)), ("SYN_SENT", 100));
    // With a later number: the windows count from there.
    assert_eq!(f.accept(Original, seg(S, 3000, 0)), ("SYN_SENT", 100));
    f.refuse(Reply, seg(SA, 5000, 9001));
    assert_eq!(f.accept(Reply, seg(SA, 5000, 3001)), ("SYN_RECV", 60));
}

#[test]
fn both_sides_begin() {
    let mut f = Flow::begin(seg(S, 1000, 0)).unwrap();
    assert_eq!(f.accept(Reply, seg(S, 5000, 0)), ("SYN_SENT2", 120));
    assert_eq!(f.accept(Original, seg(SA, 1000, 5001)), ("SYN_RECV", 60));
    assert_eq!(f.accept(Reply, seg(SA, 5000, 1001)).0, "SYN_RECV");
    assert_eq!(f.accept(Reply, seg(A, 5001, 1001)), ("ESTABLISHED", 432_000));
    assert!(f.status.has(Status::ASSURED));
}

#[test]
fn nobody_listens() {
    let mut f = Flow::begin(seg(S, 1000, 0)).unwrap();
    assert_eq!(f.step(Reply, seg(RA, 0, 1001)), Step::Remove);
    let mut f = Flow::begin(seg(S, 1000, 0)).unwrap();
    f.refuse(Reply, seg(RA, 0, 2001));
}

#[test]
fn picked_up_in_the_middle() {
    let mut f = Flow::begin(data(1001, 5001, 10)).unwrap();
    assert_eq!((f.state.name(), f.left), ("ESTABLISHED", 300));
    assert!(!f.status.has(Status::ASSURED));
    f.accept(Reply, seg(A, 5001, 1011));
    assert!(!f.status.has(Status::ASSURED));
    assert_eq!(f.accept(Original, seg(A, 1011, 5001)).0, "ESTABLISHED");
    assert!(f.status.has(Status::ASSURED));
    // The scale is not known: only RSTs are held to the window.
    f.accept(Original, data(900_000, 5001, 1000));
    f.refuse(Reply, seg(R, 1, 0));
}

#[test]
fn data_is_held_to_the_window() {
    let mut f = Flow::open();
    // The server's window is 10000 << 7, once it has sent one that counts.
    f.accept(Reply, seg(A, 5001, 1001));
    let right = 1001 + (10_000 << 7);
    f.accept(Original, data(right, 5001, 10));
    f.refuse(Original, data(right + 1, 5001 + 10, 10));
    f.refuse(Original, data(right + 5_000_000, 5001, 10));
    // An acknowledgment of what was never sent.
    f.refuse(Reply, seg(A, 5001, right + 11));
    f.accept(Reply, seg(A, 5001, right + 10));
    // Long ago: nothing new, but the other end has to answer it.
    f.pass(Original, data(right.wrapping_sub(3_000_000), 5001, 10));
}

#[test]
fn more_than_allowed_is_let_through_once_it_may_be_acknowledged() {
    let mut f = Flow::begin(seg(S, 1000, 0)).unwrap();
    f.accept(Reply, seg(SA, 5000, 1001));
    f.accept(Original, seg(A, 1001, 5001));
    f.pass(Original, data(11_002, 5001, 100));
    assert_eq!(f.accept(Reply, seg(A, 5001, 11_102)), ("ESTABLISHED", 432_000));
}

#[test]
fn windows_are_scaled_if_both_say_so() {
    let open = |client, server| {
        let mut f = Flow::begin(syn(S, 1000, 0, client)).unwrap();
        f.accept(Reply, syn(SA, 5000, 1001, server));
        f.accept(Original, seg(A, 1001, 5001));
        f.accept(Reply, seg(A, 5001, 1001));
        f
    };
    assert_eq!(open(Some(3), Some(5)).step(Original, data(1001 + (10_000 << 5), 5001, 1)), accepted(300));
    for mut f in [open(None, Some(5)), open(Some(3), None), open(None, None)] {
        f.refuse(Original, data(1001 + (10_000 << 5), 5001, 1));
    }
}

fn accepted(seconds: u64) -> Step {
    Step::Accept { timeout: Some(Duration::from_secs(seconds)), set: Status::default() }
}

#[test]
fn a_blind_reset_closes_nothing() {
    let mut f = Flow::open();
    f.accept(Reply, seg(A, 5001, 1001));
    // What the client will take is from 5001 on, by its own word.
    f.refuse(Reply, seg(R, 5000, 0));
    f.refuse(Reply, seg(R, 5001 + 70_000_000, 0));
    // In the window, but not at its edge: perhaps. The connection stays, for as long as a challenge takes.
    assert_eq!(f.accept(Reply, seg(R, 5010, 0)), ("ESTABLISHED", 10));
    // What it seemed to have behind it was never acknowledged.
    assert_eq!(f.accept(Original, seg(A, 1001, 5001)), ("ESTABLISHED", 300));
    assert_eq!(f.accept(Reply, seg(R, 5001, 0)), ("CLOSE", 10));
}

#[test]
fn blind_resets_leave_the_connection_usable() {
    for window in [10_000, 500] {
        let mut f = Flow::open();
        let say = |s: Segment| Segment { window, ..s };
        f.accept(Original, say(data(1001, 5001, 100)));
        f.accept(Reply, say(data(5001, 1101, 400)));
        f.accept(Original, say(seg(A, 1101, 5401)));
        // All over the sequence numbers, often enough to meet the window and what lies just behind it.
        for i in 0..200_000u32 {
            let seq = i.wrapping_mul(21_475).wrapping_add(i % 89);
            if seq != 5401 {
                f.step(Reply, say(seg(R, seq, 0)));
            }
        }
        assert_eq!(f.state.name(), "ESTABLISHED");
        f.accept(Original, say(data(1101, 5401, 100)));
        f.accept(Reply, say(data(5401, 1201, 400)));
        f.accept(Original, say(seg(A, 1201, 5801)));
        f.accept(Reply, say(seg(R, 5801, 0)));
        assert_eq!(f.state.name(), "CLOSE", "one that is exact is believed");
    }
}

#[test]
fn a_reset_behind_its_data_is_exact() {
    let mut f = Flow::open();
    f.accept(Reply, data(5001, 1001, 19));
    assert_eq!(f.accept(Reply, seg(R, 5020, 0)), ("CLOSE", 10));
}

#[test]
fn invalid_resets_may_be_the_ends_to_judge() {
    let mut f = Flow::open();
    f.cfg.tcp_ignore_invalid_rst = true;
    f.accept(Reply, data(5001, 1001, 100));
    f.accept(Original, seg(A, 1001, 5101));
    assert_eq!(f.accept(Reply, seg(R, 5050, 0)), ("ESTABLISHED", 10));
}

#[test]
fn after_a_reset_of_its_own_the_client_begins_anew() {
    let mut f = Flow::open();
    f.accept(Original, seg(R, 1001, 0));
    assert_eq!(f.state.name(), "CLOSE");
    assert_eq!(f.step(Original, seg(S, 9000, 0)), Step::Reopen);
    // Reset by the server, its SYN is let through, and believed when it is answered.
    let mut f = Flow::open();
    f.accept(Reply, seg(R, 5001, 0));
    assert_eq!(f.pass(Original, syn(S, 9000, 0, Some(2))), "CLOSE");
    assert_eq!(f.accept(Reply, syn(SA, 7000, 9001, Some(1))), ("SYN_RECV", 60));
    assert_eq!(f.accept(Original, seg(A, 9001, 7001)).0, "ESTABLISHED");
}

#[test]
fn a_syn_in_an_open_connection() {
    // The client has crashed and comes back with the same port; the server answers with what it thinks is next.
    let mut f = Flow::open();
    assert_eq!(f.pass(Original, syn(S, 90_000, 0, None)), "ESTABLISHED");
    f.accept(Reply, seg(A, 5001, 1001));
    // The client resets that: the sequence number is what the server acknowledged.
    assert_eq!(f.accept(Original, seg(R, 1001, 0)), ("CLOSE", 10));
    // Or the server knows nothing of the connection either: it resets what we let through.
    let mut f = Flow::open();
    f.pass(Original, syn(S, 90_000, 0, None));
    assert_eq!(f.accept(Reply, seg(RA, 0, 90_001)), ("CLOSE", 10));
    // Or begins with it.
    let mut f = Flow::open();
    f.pass(Original, syn(S, 90_000, 0, None));
    assert_eq!(f.accept(Reply, seg(SA, 77, 90_001)), ("SYN_RECV", 60));
}

#[test]
fn a_reset_is_no_answer_to_its_own_sides_syn() {
    // Linux 6.18 asks who sent the SYN; earlier ones did not.
    let mut f = Flow::open();
    f.pass(Original, syn(S, 90_000, 0, None));
    f.refuse(Original, seg(RA, 900_000_000, 90_001));
    let mut f = Flow::open();
    f.pass(Original, syn(S, 90_000, 0, None));
    assert_eq!(f.accept(Reply, seg(RA, 900_000_000, 90_001)), ("CLOSE", 10));
    // Who sent an ACK that was let through does not matter.
    let mut f = Flow::begin(seg(S, 1000, 0)).unwrap();
    f.pass(Reply, seg(A, 5001, 777));
    assert_eq!(f.accept(Reply, seg(R, 9000, 5001)), ("CLOSE", 10));
}

#[test]
fn a_half_open_connection_from_before() {
    let mut f = Flow::begin(seg(S, 1000, 0)).unwrap();
    // The server still has the old one.
    assert_eq!(f.pass(Reply, seg(A, 5001, 777)), "SYN_SENT");
    // The client does not.
    assert_eq!(f.accept(Original, seg(R, 777, 0)), ("CLOSE", 10));
    // Reset by its own side: what follows is the next connection.
    assert_eq!(f.step(Original, seg(S, 1000, 0)), Step::Reopen);
}

#[test]
fn a_challenge_is_not_the_last_ack() {
    let mut f = Flow::open();
    f.accept(Original, seg(FA, 1001, 5001));
    f.accept(Reply, seg(FA, 5001, 1002));
    assert_eq!(f.state.name(), "LAST_ACK");
    assert_eq!(f.pass(Original, seg(S, 90_000, 0)), "LAST_ACK");
    assert_eq!(f.pass(Reply, seg(A, 5002, 1002)), "LAST_ACK");
    assert_eq!(f.accept(Original, seg(A, 1002, 5002)), ("TIME_WAIT", 120));
}

#[test]
fn what_comes_again_and_again_lives_shorter() {
    let mut f = Flow::open();
    for _ in 1..3 {
        assert_eq!(f.accept(Original, seg(A, 1001, 5001)), ("ESTABLISHED", 432_000));
    }
    assert_eq!(f.accept(Original, seg(A, 1001, 5001)), ("ESTABLISHED", 300));
    assert_eq!(f.accept(Reply, seg(A, 5001, 1001)), ("ESTABLISHED", 432_000));
    // A closed window is a reason too.
    assert_eq!(f.accept(Reply, Segment { window: 0, ..seg(A, 5001, 1001) }), ("ESTABLISHED", 300));
}

#[test]
fn ends_that_fit_no_window_shorten_what_is_left() {
    let far = 900_000_000;
    let mut f = Flow::open();
    assert_eq!(f.step(Original, seg(FA, far, 5001)), Step::INVALID);
    assert_eq!(f.left, 432_000);
    f.step(Reply, seg(FA, far, 1001));
    assert_eq!(f.left, 300);
    // Only for those that are assured, and whose timeout is not fixed.
    for status in [Status::CONFIRMED, Status(Status::ASSURED.0 | Status::FIXED_TIMEOUT.0)] {
        let mut f = Flow::open();
        f.status = status;
        f.refuse(Original, seg(FA, far, 5001));
        f.refuse(Reply, seg(FA, far, 1001));
    }
}

#[test]
fn liberal_windows_hold_only_resets() {
    let mut f = Flow::open();
    f.cfg.tcp_be_liberal = true;
    f.accept(Original, data(900_000_000, 5001, 10));
    f.accept(Reply, seg(A, 5001, 900_000_000));
    f.refuse(Reply, seg(R, 1, 0));
}
