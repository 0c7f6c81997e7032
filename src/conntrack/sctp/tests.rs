//! Associations as they go, and as somebody would like them to go.

use super::*;
use crate::conntrack::Config;
use crate::packet::Direction::{Original, Reply};

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const HEARTBEAT: u8 = 4;
const HEARTBEAT_ACK: u8 = 5;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

/// The tags: of what the client sends, and of what the server sends.
const TO_SERVER: u32 = 0x5555;
const TO_CLIENT: u32 = 0xcccc;

/// A packet with chunks of these types; INIT and INIT ACK ask for `asked`.
fn packet(tag: u32, chunks: &[u8], asked: u32) -> Vec<u8> {
    let mut b = vec![0, 1, 0, 2];
    b.extend(tag.to_be_bytes());
    b.extend([0; 4]);
    for number in chunks {
        b.extend([*number & 0x7f, *number >> 7, 0, 20]);
        b.extend(asked.to_be_bytes());
        b.extend([0; 12]);
    }
    b
}

/// Bit T, in the types above.
const T: u8 = 0x80;

struct Flow {
    state: State,
    status: Status,
    cfg: Config,
}

impl Flow {
    fn begin(first: &[u8]) -> Option<(Flow, u64)> {
        let cfg = Config::default();
        let (state, timeout) = State::begin(&Packet::read(first).ok()?, &Settings::of(&cfg))?;
        Some((Flow { state, status: Status::CONFIRMED, cfg }, timeout.as_secs()))
    }

    fn open() -> Flow {
        let (mut f, _) = Flow::begin(&packet(0, &[INIT], TO_CLIENT)).unwrap();
        f.accept(Reply, &packet(TO_CLIENT, &[INIT_ACK], TO_SERVER));
        f.accept(Original, &packet(TO_SERVER, &[COOKIE_ECHO, DATA], 0));
        assert_eq!(f.accept(Reply, &packet(TO_CLIENT, &[COOKIE_ACK], 0)), ("ESTABLISHED", 210));
        f
    }

    fn step(&mut self, dir: Direction, bytes: &[u8]) -> Step {
        let step = self.state.step(dir, &Packet::read(bytes).unwrap(), self.status, &Settings::of(&self.cfg));
        if let Step::Accept { set, .. } = step {
            self.status.set(set);
        }
        step
    }

    #[track_caller]
    fn accept(&mut self, dir: Direction, bytes: &[u8]) -> (&'static str, u64) {
        match self.step(dir, bytes) {
            Step::Accept { timeout: Some(timeout), .. } => (self.state.name(), timeout.as_secs()),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refuse(&mut self, dir: Direction, bytes: &[u8]) {
        let before = self.state;
        assert_eq!(self.step(dir, bytes), Step::INVALID);
        assert_eq!(self.state, before);
    }
}

#[test]
fn from_init_to_shutdown_complete() {
    let (mut f, left) = Flow::begin(&packet(0, &[INIT], TO_CLIENT)).unwrap();
    assert_eq!((f.state.name(), left), ("CLOSED", 10));
    assert_eq!(f.accept(Reply, &packet(TO_CLIENT, &[INIT_ACK], TO_SERVER)), ("COOKIE_WAIT", 3));
    assert_eq!(f.accept(Original, &packet(TO_SERVER, &[COOKIE_ECHO], 0)), ("COOKIE_ECHOED", 3));
    assert!(!f.status.has(Status::ASSURED));
    assert_eq!(f.accept(Reply, &packet(TO_CLIENT, &[COOKIE_ACK], 0)), ("ESTABLISHED", 210));
    assert!(f.status.has(Status::ASSURED));
    assert_eq!(f.accept(Original, &packet(TO_SERVER, &[DATA], 0)), ("ESTABLISHED", 210));
    assert_eq!(f.accept(Reply, &packet(TO_CLIENT, &[SHUTDOWN], 0)), ("SHUTDOWN_RECD", 3));
    assert!(f.state.phase().is_closing());
    assert_eq!(f.accept(Original, &packet(TO_SERVER, &[SHUTDOWN_ACK], 0)), ("SHUTDOWN_ACK_SENT", 3));
    assert_eq!(f.accept(Reply, &packet(TO_CLIENT, &[SHUTDOWN_COMPLETE], 0)), ("CLOSED", 10));
}

#[test]
fn nothing_begins_in_the_middle() {
    for chunk in [DATA, ABORT, COOKIE_ACK, SHUTDOWN_COMPLETE, COOKIE_ECHO, SHUTDOWN] {
        assert!(Flow::begin(&packet(TO_SERVER, &[chunk], 0)).is_none(), "{chunk}");
    }
    // An INIT has no tag.
    assert!(Flow::begin(&packet(1, &[INIT], TO_CLIENT)).is_none());
    let cut = packet(0, &[INIT], TO_CLIENT);
    assert!(Flow::begin(&cut[..30]).is_none());
}

#[test]
fn who_does_not_know_the_tag_does_not_belong() {
    let mut f = Flow::open();
    for chunk in [DATA, SHUTDOWN, ABORT, COOKIE_ECHO, SHUTDOWN_COMPLETE] {
        f.refuse(Original, &packet(TO_SERVER + 1, &[chunk], 0));
        f.refuse(Reply, &packet(TO_CLIENT + 1, &[chunk], 0));
    }
    // With bit T the tag is the sender's own.
    f.refuse(Reply, &packet(TO_SERVER, &[ABORT], 0));
    f.refuse(Reply, &packet(TO_CLIENT, &[ABORT | T], 0));
    assert_eq!(f.accept(Reply, &packet(TO_SERVER, &[ABORT | T], 0)), ("CLOSED", 10));
}

#[test]
fn the_init_ack_must_answer_the_init() {
    let begun = || Flow::begin(&packet(0, &[INIT], TO_CLIENT)).unwrap().0;
    begun().refuse(Reply, &packet(TO_CLIENT + 1, &[INIT_ACK], TO_SERVER));
    begun().refuse(Reply, &packet(TO_CLIENT, &[INIT_ACK], TO_SERVER)[..30]);
    let mut f = begun();
    f.accept(Reply, &packet(TO_CLIENT, &[INIT_ACK], TO_SERVER));
    f.accept(Reply, &packet(TO_CLIENT, &[INIT_ACK], TO_SERVER + 1));
    f.refuse(Original, &packet(TO_SERVER, &[COOKIE_ECHO], 0));
}

#[test]
fn an_init_that_comes_again_renews_nothing() {
    let (mut f, _) = Flow::begin(&packet(0, &[INIT], TO_CLIENT)).unwrap();
    assert_eq!(f.step(Original, &packet(0, &[INIT], TO_CLIENT)), Step::PASS);
    f.refuse(Original, &packet(3, &[INIT], TO_CLIENT));
}

#[test]
fn an_init_that_asks_for_the_same_tag_is_no_new_one() {
    // The second path is known both ways when the client begins anew, with its old tag.
    let (mut f, _) = Flow::begin(&packet(TO_SERVER, &[HEARTBEAT], 0)).unwrap();
    f.accept(Reply, &packet(TO_CLIENT, &[HEARTBEAT], 0));
    f.accept(Original, &packet(0, &[INIT], TO_CLIENT));
    f.refuse(Reply, &packet(TO_CLIENT, &[INIT_ACK], TO_SERVER + 1));
    f.accept(Reply, &packet(TO_CLIENT, &[INIT_ACK], TO_SERVER));
    // With another tag the answer may ask for another one too.
    f.accept(Original, &packet(0, &[INIT], TO_CLIENT + 1));
    f.accept(Reply, &packet(TO_CLIENT + 1, &[INIT_ACK], TO_SERVER + 1));
}

#[test]
fn both_sides_begin() {
    let (mut f, _) = Flow::begin(&packet(0, &[INIT], TO_CLIENT)).unwrap();
    // The other's INIT is of the phase that is already there.
    assert_eq!(f.step(Reply, &packet(0, &[INIT], TO_SERVER)), Step::PASS);
    assert_eq!(f.step(Reply, &packet(0, &[INIT], TO_SERVER)), Step::PASS);
    f.refuse(Original, &packet(TO_SERVER, &[INIT_ACK], TO_CLIENT + 1));
    assert_eq!(f.accept(Original, &packet(TO_SERVER, &[INIT_ACK], TO_CLIENT)), ("CLOSED", 10));
    assert_eq!(f.accept(Reply, &packet(TO_CLIENT, &[INIT_ACK], TO_SERVER)), ("COOKIE_WAIT", 3));
}

#[test]
fn an_answer_to_nothing_names_no_tag_of_the_other_side() {
    let (mut f, _) = Flow::begin(&packet(7, &[HEARTBEAT_ACK], 0)).unwrap();
    f.refuse(Reply, &packet(7, &[SHUTDOWN], 0));
    // What comes out of the blue is answered with its own tag.
    let (mut f, _) = Flow::begin(&packet(7, &[SHUTDOWN_ACK], 0)).unwrap();
    assert_eq!(f.accept(Reply, &packet(7, &[SHUTDOWN_COMPLETE], 0)), ("CLOSED", 10));
}

#[test]
fn a_heartbeat_opens_a_second_path() {
    let (mut f, left) = Flow::begin(&packet(TO_SERVER, &[HEARTBEAT], 0)).unwrap();
    assert_eq!((f.state.name(), left), ("HEARTBEAT_SENT", 30));
    f.refuse(Reply, &packet(TO_CLIENT, &[SHUTDOWN_ACK], 0));
    assert_eq!(f.accept(Reply, &packet(TO_CLIENT, &[HEARTBEAT_ACK], 0)), ("ESTABLISHED", 210));
    assert!(f.status.has(Status::ASSURED));
    f.accept(Original, &packet(TO_SERVER, &[DATA], 0));
    f.accept(Reply, &packet(TO_CLIENT, &[DATA], 0));
    f.refuse(Reply, &packet(TO_SERVER, &[DATA], 0));
}

#[test]
fn a_heartbeat_with_another_tag_counts_once_it_is_answered() {
    let mut f = Flow::open();
    assert_eq!(f.step(Original, &packet(7, &[HEARTBEAT], 0)), Step::PASS);
    f.refuse(Original, &packet(7, &[DATA], 0));
    // Not by its own side, and not with data.
    f.refuse(Original, &packet(8, &[HEARTBEAT_ACK], 0));
    f.refuse(Reply, &packet(8, &[HEARTBEAT_ACK, DATA], 0));
    assert_eq!(f.accept(Reply, &packet(8, &[HEARTBEAT_ACK], 0)), ("ESTABLISHED", 210));
    f.accept(Reply, &packet(8, &[DATA], 0));
    // The client's shows in its next heartbeat.
    f.refuse(Original, &packet(7, &[DATA], 0));
    f.accept(Original, &packet(7, &[HEARTBEAT], 0));
    f.accept(Original, &packet(7, &[DATA], 0));
}

#[test]
fn an_invalid_packet_changes_nothing() {
    let mut f = Flow::begin(&packet(0, &[INIT], TO_CLIENT)).unwrap().0;
    f.accept(Reply, &packet(TO_CLIENT, &[INIT_ACK], TO_SERVER));
    f.accept(Original, &packet(TO_SERVER, &[COOKIE_ECHO], 0));
    // The first chunk alone would have opened it.
    f.refuse(Reply, &packet(9, &[COOKIE_ACK, ABORT], 0));
    assert_eq!(f.state.name(), "COOKIE_ECHOED");
}
