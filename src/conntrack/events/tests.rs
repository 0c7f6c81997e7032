//! What is told of flows' lives, to whom, and what that costs those who do not listen: nothing.

use std::time::Duration;

use super::*;
use crate::base::Hook;
use crate::conntrack::testing::{fill, flow, insert, packet, packet_of, tuple4, udp_flow, upper};
use crate::conntrack::{Config, Settings, Standing, tuple};
use crate::packet::{CtState, Direction, Packet, Tuple};
use crate::wire::proto;

struct Rig {
    ct: Arc<Conntrack>,
    listener: Listener,
    now: Instant,
}

impl Rig {
    fn new(max: u32) -> Rig {
        let ct = Arc::new(Conntrack::new(Config { max, ..Config::default() }, 7));
        let listener = ct.listen(1000, Box::new(|_| true));
        Rig { ct, listener, now: Instant::from_secs(100) }
    }

    fn send(&self, p: &mut Packet) {
        let mut current = None;
        self.ct.track(p, Hook::Prerouting, self.now, &mut current).unwrap();
        if let Some(mut current) = current {
            self.ct.confirm(p, &mut current, self.now).unwrap();
        }
    }

    fn segment(&self, t: &Tuple, flags: u8, seq: u32, ack: u32) {
        let mut l4 = upper(t, b"");
        l4[4..8].copy_from_slice(&seq.to_be_bytes());
        l4[8..12].copy_from_slice(&ack.to_be_bytes());
        l4[13] = flags;
        fill(t, &mut l4, 16);
        self.send(&mut packet(t.src(), t.dst(), t.proto, &l4));
    }

    /// What was told since, in words; each at this moment, and of flows as they stand.
    fn told(&self) -> Vec<String> {
        let (events, lost) = self.listener.take(usize::MAX);
        assert_eq!(lost, 0);
        let word = |e: &FlowEvent| {
            let state = match &e.flow.state {
                State::Tcp(tcp) => tcp.name(),
                _ => "",
            };
            let has = |bit, word| if e.flow.status.has(bit) { word } else { "" };
            let (seen, assured) = (has(Status::SEEN_REPLY, " seen"), has(Status::ASSURED, " assured"));
            let hand = if e.by_hand { " by hand" } else { "" };
            format!("{:?} {state}{seen}{assured} {}{hand}", e.kind, e.flow.mark)
        };
        events.iter().map(word).collect()
    }
}

fn back(t: &Tuple) -> Tuple {
    tuple::invert(t).unwrap()
}

#[test]
fn a_connection_from_begin_to_end() {
    const FIN: u8 = 0x11;
    const SYN: u8 = 0x02;
    const SYN_ACK: u8 = 0x12;
    const ACK: u8 = 0x10;
    let mut rig = Rig::new(16);
    let t = Tuple { proto: proto::TCP, ..tuple4(1, 2) };
    rig.segment(&t, SYN, 10, 0);
    rig.segment(&t, SYN, 10, 0);
    rig.segment(&back(&t), SYN_ACK, 50, 11);
    rig.segment(&t, ACK, 11, 51);
    rig.segment(&t, ACK, 11, 51);
    rig.segment(&t, FIN, 11, 51);
    rig.segment(&back(&t), ACK, 51, 12);
    rig.segment(&back(&t), FIN, 51, 12);
    rig.segment(&t, ACK, 12, 52);
    assert_eq!(
        rig.told(),
        [
            "New SYN_SENT 0",
            "Update SYN_RECV seen 0",
            "Update ESTABLISHED seen assured 0",
            "Update FIN_WAIT seen assured 0",
            "Update CLOSE_WAIT seen assured 0",
            "Update LAST_ACK seen assured 0",
            "Update TIME_WAIT seen assured 0",
        ]
    );
    rig.now += Duration::from_secs(120);
    rig.ct.timeout(rig.now);
    assert_eq!(rig.told(), ["Destroy TIME_WAIT seen assured 0"]);
    // One that is refused is over at once, and told so once.
    rig.segment(&t, SYN, 10, 0);
    rig.segment(&back(&t), 0x14, 0, 11);
    assert_eq!(rig.told(), ["New SYN_SENT 0", "Destroy CLOSE 0"]);
}

#[test]
fn datagrams_marks_and_what_makes_way() {
    let mut rig = Rig::new(1);
    let t = tuple4(1, 2);
    rig.send(&mut packet_of(&t));
    rig.send(&mut packet_of(&t));
    rig.send(&mut packet_of(&back(&t)));
    rig.now += Duration::from_secs(3);
    rig.send(&mut packet_of(&back(&t)));
    rig.send(&mut packet_of(&t));
    let (id, _, _) = rig.ct.find(&t, rig.now).unwrap();
    rig.ct.set_mark(id, 7);
    rig.ct.set_mark(id, 7);
    rig.ct.update(id, |f| f.deadline += Duration::from_secs(1));
    let changed = rig.ct.set(id, rig.now, Some((0x30, 0xf0)), Some(Duration::from_secs(5)), |f| f.mark == 7);
    assert_eq!(changed.map(|f| (f.mark, f.deadline)), Some((0x37, rig.now + Duration::from_secs(5))));
    assert_eq!(
        rig.ct.set(id, rig.now, Some((1, 1)), None, |f| f.mark == 7),
        None,
        "not the one that is meant"
    );
    assert_eq!(
        rig.told(),
        [
            "New  0",
            "Update  seen 0",
            "Update  seen assured 0",
            "Update  seen assured 7",
            "Update  seen assured 55 by hand"
        ]
    );
    assert!(!rig.ct.delete(id, rig.now, |f| f.mark == 7), "nor here");
    assert!(rig.ct.delete(id, rig.now, |_| true) && !rig.ct.delete(id, rig.now, |_| true));
    rig.send(&mut packet_of(&tuple4(3, 2)));
    rig.send(&mut packet_of(&tuple4(4, 2)));
    rig.ct.remove_where(rig.now, &|_| true);
    assert_eq!(
        rig.told(),
        ["Destroy  seen assured 55 by hand", "New  0", "Destroy  0", "New  0", "Destroy  0"]
    );
    // A reset that was made in somebody's name.
    let syn = Tuple { proto: proto::TCP, ..t };
    rig.segment(&syn, 2, 1, 0);
    let (id, _, _) = rig.ct.find(&syn, rig.now).unwrap();
    rig.ct.update(id, |f| f.close(rig.now, &Settings::default()));
    assert_eq!(rig.told(), ["New SYN_SENT 0", "Update CLOSE 0"]);
}

#[test]
fn the_shortcut_tells_what_the_walk_would() {
    let mut rig = Rig::new(16);
    let t = tuple4(1, 2);
    rig.send(&mut packet_of(&t));
    rig.send(&mut packet_of(&back(&t)));
    rig.now += Duration::from_secs(3);
    rig.told();
    let (id, _, flow) = rig.ct.find(&t, rig.now).unwrap();
    let was = Standing {
        flow: id,
        dir: Direction::Original,
        state: CtState::Established,
        status: flow.status,
        asked: Status::default(),
        mark: None,
    };
    assert!(rig.ct.replay(&mut packet_of(&t), &was, rig.now));
    assert!(rig.ct.replay(&mut packet_of(&t), &was, rig.now));
    assert_eq!(rig.told(), ["Update  seen assured 0"]);
}

#[test]
fn each_listener_has_what_it_wants_and_no_more_than_it_has_room_for() {
    let rig = Rig::new(100);
    let ends = rig.ct.listen(2, Box::new(|e| e.kind == EventKind::Destroy));
    for n in 0..5 {
        insert(&rig.ct, &udp_flow(n, 1));
    }
    assert_eq!(rig.ct.remove_where(Instant::ZERO, &|_| true), 5);
    assert_eq!(rig.told().len(), 10);
    let (events, lost) = ends.take(10);
    assert_eq!((events.len(), lost), (2, 3));
    assert_eq!(ends.take(10), (vec![], 0), "what was lost is told once");
    insert(&rig.ct, &udp_flow(1, 1));
    rig.ct.remove_where(Instant::ZERO, &|_| true);
    assert_eq!(ends.take(0), (vec![], 0));
    assert_eq!((ends.take(1).0.len(), ends.take(1).0.len()), (1, 0));
    drop(ends);
    assert!(rig.ct.events.armed(), "the other one listens still");
    let Rig { ct, listener, .. } = rig;
    drop(listener);
    assert!(!ct.events.armed());
    insert(&ct, &flow(tuple4(1, 1), 30));
}

#[test]
fn a_flow_beside_another_is_not_told_of() {
    let rig = Rig::new(100);
    let mut hidden = udp_flow(1, 1);
    hidden.status.set(Status::NAT_CLASH);
    insert(&rig.ct, &hidden);
    rig.ct.timeout(Instant::from_secs(60));
    assert!(rig.ct.is_empty() && rig.told().is_empty());
}
