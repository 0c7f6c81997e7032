//! Two ends of an SCTP association that mostly keep to the rules, and now and then to none.

use sekisho::wire::proto;

use crate::packet::Sent;
use crate::random::Random;

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const HEARTBEAT_ACK: u8 = 5;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

const ALL: [u8; 15] = [
    DATA,
    INIT,
    INIT_ACK,
    SACK,
    HEARTBEAT,
    HEARTBEAT_ACK,
    ABORT,
    SHUTDOWN,
    SHUTDOWN_ACK,
    ERROR,
    COOKIE_ECHO,
    COOKIE_ACK,
    SHUTDOWN_COMPLETE,
    12,
    192,
];

/// Both ends.
pub(crate) struct Ends {
    random: Random,
    /// What each end's packets carry.
    tags: [u32; 2],
    others: [u32; 4],
    last: u8,
    weird: u32,
    ports: [u16; 2],
    v6: bool,
}

impl Ends {
    pub(crate) fn new(mut random: Random, ports: [u16; 2], v6: bool) -> Ends {
        let tags = [1 + random.below(1000), 2000 + random.below(1000)];
        let others = [tags[0], tags[1], 0, 4000 + random.below(9)];
        let weird = random.pick(&[0, 10, 25, 60]);
        let last = random.pick(&[SHUTDOWN_COMPLETE, SHUTDOWN_COMPLETE, SHUTDOWN_COMPLETE, 255]);
        Ends { random, tags, others, last, weird, ports, v6 }
    }

    pub(crate) fn packets(mut self) -> Vec<Sent> {
        let count = 5 + self.random.below(20);
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Sent {
        let r = &mut self.random;
        let (mut from, mut chunks): (usize, Vec<u8>) = match self.last {
            SHUTDOWN_COMPLETE | ABORT => (0, vec![INIT]),
            INIT => (1, vec![INIT_ACK]),
            INIT_ACK if r.percent(50) => (0, vec![COOKIE_ECHO, DATA]),
            INIT_ACK => (0, vec![COOKIE_ECHO]),
            COOKIE_ECHO => (1, vec![COOKIE_ACK]),
            SHUTDOWN => (r.below(2) as usize, vec![SHUTDOWN_ACK]),
            SHUTDOWN_ACK => (r.below(2) as usize, vec![SHUTDOWN_COMPLETE]),
            HEARTBEAT => (r.below(2) as usize, vec![HEARTBEAT_ACK]),
            255 => (0, vec![HEARTBEAT]),
            _ => {
                let chunk = r.pick(&[DATA, DATA, SACK, HEARTBEAT, HEARTBEAT, SHUTDOWN, ABORT, ERROR, INIT]);
                (r.below(2) as usize, vec![chunk])
            }
        };
        let mut tag = if chunks == [INIT] { 0 } else { self.tags[from] };
        let mut asked = self.tags[1 - from];
        let mut flags = 0;
        if r.percent(self.weird) {
            match r.below(7) {
                0 => from = 1 - from,
                1 => tag = r.pick(&self.others),
                2 => asked = r.pick(&self.others),
                3 => flags = 1,
                4 => chunks = vec![r.pick(&ALL)],
                // One chunk that matters, no more: the kernel keeps what the first did if the second is wrong.
                5 if r.percent(50) => chunks = vec![r.pick(&[DATA, SACK, 12]), r.pick(&ALL)],
                5 => chunks = vec![r.pick(&ALL), r.pick(&[DATA, SACK, 192])],
                _ => (chunks, tag, flags) = (vec![r.pick(&ALL)], r.pick(&self.others), r.below(2) as u8),
            }
        } else if r.percent(20) {
            // A heartbeat of another path, or its answer.
            (chunks, tag) = (vec![r.pick(&[HEARTBEAT, HEARTBEAT_ACK])], r.pick(&self.others));
        }
        if chunks.len() == 1 {
            self.last = chunks[0];
        }
        let mut b = self.ports[from].to_be_bytes().to_vec();
        b.extend(self.ports[1 - from].to_be_bytes());
        b.extend(tag.to_be_bytes());
        b.extend([0; 4]);
        for chunk in chunks {
            b.extend([chunk, flags, 0, 20]);
            b.extend(asked.to_be_bytes());
            b.extend([0; 12]);
        }
        if r.percent(self.weird / 8) {
            match r.below(3) {
                0 => b.truncate(8 + r.below(40) as usize),
                1 => b[15] = r.below(40) as u8,
                _ => b[12] = r.word() as u8,
            }
        }
        Sent::new(from, self.v6, proto::SCTP, b).finished()
    }
}

/// A packet in words.
pub(crate) fn describe(sent: &Sent) -> String {
    let l4 = &sent.l4;
    let field = |at: usize| l4.get(at..at + 4).map_or(0, |b| u32::from_be_bytes(b.try_into().unwrap()));
    let chunks = l4.get(12..).unwrap_or_default().chunks(20);
    let chunks: Vec<String> =
        chunks.map(|c| format!("{}{}", c[0], if c.get(1) == Some(&1) { " T" } else { "" })).collect();
    format!("tag {} chunks {chunks:?} asks for {} ({} bytes)", field(4), field(16), l4.len())
}
