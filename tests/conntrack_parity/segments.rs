//! Two ends of a TCP connection that mostly keep to the rules, and now and then to none.

use sekisho::wire::proto;
use sekisho::wire::tcp::{ACK, FIN, PSH, RST, SYN, Tcp, URG};

use crate::packet::Sent;
use crate::random::Random;

/// Both ends.
pub(crate) struct Ends {
    random: Random,
    ends: [End; 2],
    last: Option<(usize, Segment)>,
    /// How often in a hundred something is wrong.
    weird: u32,
    /// How often in a hundred the last segment comes again.
    stubborn: u32,
    ports: [u16; 2],
    v6: bool,
}

#[derive(Default)]
struct End {
    next: u32,
    syn: bool,
    fin: bool,
    scale: Option<u8>,
    /// The other's number that it would acknowledge.
    heard: u32,
    /// Numbers of this end that mean something: sequence numbers, window edges.
    numbers: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Segment {
    seq: u32,
    ack: u32,
    flags: u8,
    window: u16,
    options: Vec<u8>,
    len: usize,
}

impl Ends {
    pub(crate) fn new(mut random: Random, ports: [u16; 2], v6: bool) -> Ends {
        let mut ends = [End::default(), End::default()];
        for end in &mut ends {
            end.next = match random.below(4) {
                0 => random.below(100_000).wrapping_neg(),
                1 => random.below(1000),
                _ => random.word(),
            };
            end.scale = random.percent(60).then(|| random.below(9) as u8);
            end.numbers.push(end.next);
        }
        let weird = random.pick(&[0, 10, 25, 60]);
        let stubborn = if random.percent(1) { 99 } else { 8 };
        Ends { random, ends, last: None, weird, stubborn, ports, v6 }
    }

    pub(crate) fn packets(mut self) -> Vec<Sent> {
        // The kernel's counter of retransmissions turns over at 256.
        let count = 5 + self.random.below(if self.stubborn == 99 { 600 } else { 45 });
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Sent {
        let again = self.random.percent(self.stubborn);
        let (from, mut segment) = match &self.last {
            Some(last) if again => last.clone(),
            _ => self.by_the_rules(),
        };
        let weird = self.random.percent(self.weird);
        if weird {
            for _ in 0..=self.random.below(2) {
                self.spoil(from, &mut segment);
            }
        }
        let believed = !weird || self.random.percent(30);
        self.note(from, &segment, believed);
        self.last = Some((from, segment.clone()));
        let mut bytes = segment.bytes(from, self.ports);
        if self.random.percent(self.weird / 8) {
            self.break_header(&mut bytes);
        }
        Sent::new(from, self.v6, proto::TCP, bytes).finished()
    }

    fn by_the_rules(&mut self) -> (usize, Segment) {
        let r = &mut self.random;
        let from = match self.ends.each_ref().map(|e| e.syn) {
            [false, false] => usize::from(r.percent(5)),
            [true, false] => usize::from(r.percent(85)),
            _ => r.below(2) as usize,
        };
        let (me, other) = (&self.ends[from], &self.ends[1 - from]);
        let mut segment = Segment {
            seq: me.next,
            ack: me.heard,
            flags: ACK,
            window: r.pick(&[65_535, 8192, 1000, 512, 100, 65_535, 29_200]),
            options: vec![],
            len: 0,
        };
        if !me.syn {
            segment.flags = if other.syn && r.percent(90) { SYN | ACK } else { SYN };
            segment.options = syn_options(me.scale, r.percent(70));
            match r.below(100) {
                0..3 => segment.flags = ACK,
                // Nobody listens.
                3..8 if other.syn => (segment.flags, segment.seq) = (RST | ACK, 0),
                _ => {}
            }
        } else {
            match r.below(100) {
                0..45 => {}
                45..80 => {
                    (segment.flags, segment.len) =
                        (ACK | PSH, r.pick(&[1, 10, 100, 1000, 5000, 30_000]) as usize)
                }
                80..93 => segment.flags = FIN | ACK,
                93..96 => segment.flags = RST,
                96..98 => segment.flags = RST | ACK,
                _ => (segment.flags, segment.options) = (SYN, syn_options(me.scale, true)),
            }
            if me.fin && r.percent(80) {
                (segment.flags, segment.len) = (ACK, 0);
            }
            if segment.flags & SYN == 0 && r.percent(30) {
                segment.options = self.sack_option(from);
            }
        }
        (from, segment)
    }

    fn spoil(&mut self, from: usize, segment: &mut Segment) {
        let r = &mut self.random;
        match r.below(12) {
            0..3 => segment.seq = near(r, &self.ends[from].numbers),
            3..6 => segment.ack = near(r, &self.ends[1 - from].numbers),
            6..8 => {
                segment.flags =
                    r.pick(&[SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK, SYN | URG, ACK | URG])
            }
            8 => segment.window = r.pick(&[0, 0, 1, 2, 65_535]),
            9 => segment.len = r.pick(&[0, 1, 2, 65_000, 20_000]) as usize,
            10 => segment.options = self.sack_option(from),
            _ => {
                segment.options = syn_options(r.percent(70).then(|| r.below(20) as u8), r.percent(50));
                if r.percent(30) {
                    segment.options = [vec![5, 11, 3, 3], vec![r.word() as u8; 8], vec![0; 4]].concat();
                }
            }
        }
    }

    /// Blocks that the other end has sent, or may have.
    fn sack_option(&mut self, from: usize) -> Vec<u8> {
        let blocks = 1 + self.random.below(3) as u8;
        let mut option = vec![1, 1, 5, 2 + 8 * blocks];
        for _ in 0..2 * blocks {
            option.extend(near(&mut self.random, &self.ends[1 - from].numbers).to_be_bytes());
        }
        option
    }

    /// What nobody should send at all.
    fn break_header(&mut self, bytes: &mut Vec<u8>) {
        let r = &mut self.random;
        match r.below(4) {
            0 => bytes[13] = r.word() as u8,
            1 => bytes[12] = (r.below(16) as u8) << 4,
            2 => bytes.truncate(8 + r.below(32) as usize),
            _ => {
                let at = 20 + r.below(40) as usize;
                if let Some(b) = bytes.get_mut(at) {
                    *b = r.word() as u8;
                }
            }
        }
    }

    fn note(&mut self, from: usize, s: &Segment, believed: bool) {
        let marks = u32::from(s.flags & SYN != 0) + u32::from(s.flags & FIN != 0);
        let end = s.seq.wrapping_add(s.len as u32).wrapping_add(marks);
        let scale = self.ends[from].scale.unwrap_or(0);
        let window = u32::from(s.window);
        let edges = [s.ack, s.ack.wrapping_add(window), s.ack.wrapping_add(window << scale)];
        remember(&mut self.ends[from].numbers, &[s.seq, end, end.wrapping_sub(window << scale)]);
        if s.flags & ACK != 0 {
            remember(&mut self.ends[1 - from].numbers, &edges);
        }
        if believed {
            let me = &mut self.ends[from];
            me.next = end;
            me.syn |= s.flags & SYN != 0;
            me.fin |= s.flags & FIN != 0;
            if self.random.percent(90) {
                self.ends[1 - from].heard = end;
            }
            if s.flags & RST != 0 && self.random.percent(50) {
                // The next connection, with higher numbers as a rule.
                for end in &mut self.ends {
                    let ahead = self.random.pick(&[100_000, 1, 1 << 30, 0]);
                    *end = End {
                        next: end.next.wrapping_add(ahead),
                        scale: end.scale,
                        numbers: end.numbers.clone(),
                        ..End::default()
                    };
                }
            }
        }
    }
}

fn remember(numbers: &mut Vec<u32>, more: &[u32]) {
    numbers.extend(more);
    let old = numbers.len().saturating_sub(16);
    numbers.drain(..old);
}

/// A number that means something, or one beside it.
fn near(r: &mut Random, numbers: &[u32]) -> u32 {
    let number = r.pick(numbers);
    let distance = match r.below(12) {
        0..4 => 0,
        4..7 => 1,
        7 => 2,
        8 => r.pick(&[65_535, 66_000, 66_001, 1 << 31, 512, 8192]),
        9 => r.below(3000),
        10 => r.below(3_000_000),
        _ => return if r.percent(50) { r.word() } else { 0 },
    };
    if r.percent(50) { number.wrapping_add(distance) } else { number.wrapping_sub(distance) }
}

fn syn_options(scale: Option<u8>, sack: bool) -> Vec<u8> {
    let mut options = vec![2, 4, 5, 0xb4];
    if let Some(scale) = scale {
        options.extend([1, 3, 3, scale]);
    }
    if sack {
        options.extend([1, 1, 4, 2]);
    }
    options
}

impl Segment {
    fn bytes(&self, from: usize, ports: [u16; 2]) -> Vec<u8> {
        let mut b = ports[from].to_be_bytes().to_vec();
        b.extend(ports[1 - from].to_be_bytes());
        b.extend(self.seq.to_be_bytes());
        b.extend(self.ack.to_be_bytes());
        b.extend([(5 + self.options.len() as u8 / 4) << 4, self.flags]);
        b.extend(self.window.to_be_bytes());
        b.extend([0; 4]);
        b.extend(&self.options);
        b.resize(b.len() + self.len, 0);
        b
    }
}

/// A packet in words.
pub(crate) fn describe(sent: &Sent) -> String {
    let Some(tcp) = Tcp::new(&sent.l4) else { return format!("{:02x?}", sent.l4) };
    let letters = [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (PSH, 'P'), (ACK, '.'), (URG, 'U')];
    let flags: String = letters.iter().filter(|(f, _)| tcp.flags() & f != 0).map(|(_, c)| c).collect();
    format!(
        "[{flags}] seq {} ack {} win {} len {} header {} options {:02x?}",
        tcp.seq(),
        tcp.ack(),
        tcp.window(),
        tcp.payload().len(),
        tcp.header_len(),
        tcp.options()
    )
}
