//! Packets of every protocol between a few ports, with answers, errors about them, and wreckage.

use sekisho::wire::proto;

use crate::packet::Sent;
use crate::random::Random;

pub(crate) struct Mixed {
    random: Random,
    /// What went before.
    sent: Vec<Sent>,
    ports: [u16; 4],
    /// How often in a hundred something is broken.
    weird: u32,
    count: u32,
    /// Before which packet there is a pause.
    pause: Option<u32>,
    /// Whether checksums are verified.
    sums: bool,
}

impl Mixed {
    pub(crate) fn new(mut random: Random, slow: bool, sums: bool) -> Mixed {
        let first = 1024 + random.below(60_000) as u16;
        let count = if slow { 400 } else { 5 + random.below(45) };
        let weird = random.pick(&[0, 10, 30]);
        let ports = [first, first + 1, first + 2, 53];
        Mixed { random, sent: vec![], ports, weird, count, pause: slow.then_some(count / 2), sums }
    }

    pub(crate) fn packets(mut self) -> Vec<Sent> {
        for i in 0..self.count {
            let mut packet = self.next();
            // UDP that goes both ways is a stream from two seconds on.
            packet.pause = if self.pause == Some(i) { 3 } else { 0 };
            self.sent.push(packet);
        }
        self.sent
    }

    fn next(&mut self) -> Sent {
        let r = &mut self.random;
        let old = (!self.sent.is_empty()).then(|| r.pick(&(0..self.sent.len()).collect::<Vec<_>>()));
        let mut packet = match (old.map(|i| &self.sent[i]), r.below(100)) {
            (Some(old), 0..25) => answer(r, old).finished(),
            (Some(old), 25..40) => error(r, old),
            (Some(old), 40..55) => Sent { pause: 0, ..old.clone() },
            _ => fresh(r, &self.ports, self.sums).finished(),
        };
        if r.percent(self.weird) {
            match r.below(4) {
                0 => packet.l4.truncate(r.below(60) as usize),
                1 => {
                    let at = r.below(packet.l4.len().clamp(1, 40) as u32) as usize;
                    if let Some(b) = packet.l4.get_mut(at) {
                        *b = r.word() as u8;
                    }
                }
                _ => {
                    let at = r.below(packet.l4.len().clamp(1, 40) as u32) as usize;
                    if let Some(b) = packet.l4.get_mut(at) {
                        *b = r.word() as u8;
                    }
                    packet = packet.finished();
                }
            }
        }
        match (packet.proto, &mut packet.l4[..]) {
            // A quoted header of less than 20 bytes: Linux reads the ports from within it.
            (proto::ICMP, [3 | 4 | 5 | 11 | 12, _, _, _, _, _, _, _, first, ..]) if *first & 0xf < 5 => {
                *first = 0x45;
                packet.finished()
            }
            _ => packet,
        }
    }
}

/// A packet that may begin something.
fn fresh(r: &mut Random, ports: &[u16], sums: bool) -> Sent {
    let (from, v6) = (r.below(2) as usize, r.percent(40));
    let two = [r.pick(ports).to_be_bytes(), r.pick(ports).to_be_bytes()].concat();
    let payload = r.below(40) as usize;
    let (proto, mut l4) = match r.below(100) {
        0..25 => {
            let len = 8 + payload as u16;
            (proto::UDP, [&two[..], &len.to_be_bytes(), &[0; 2]].concat())
        }
        // Linux takes those of UDP-Lite for UDP's, so that none is right.
        25..32 if !sums => {
            let coverage = r.pick(&[0, 8, 8 + payload as u16, 7, 9]);
            (proto::UDP_LITE, [&two[..], &coverage.to_be_bytes(), &[0; 2]].concat())
        }
        32..58 => {
            let (proto, kinds) = match v6 != r.percent(2) {
                true => (
                    proto::ICMPV6,
                    &[128, 129, 128, 128, 133, 135, 136, 139, 140, 143, 127, 150, 200, 137][..],
                ),
                false => (proto::ICMP, &[8, 0, 8, 8, 13, 14, 15, 16, 17, 18, 9, 10, 19, 6, 42][..]),
            };
            let code = if r.percent(90) { 0 } else { r.below(4) as u8 };
            let kind = r.pick(kinds);
            (proto, [&[kind, code, 0, 0], &two[..2], &[0, 1]].concat())
        }
        58..66 => {
            // Version 0 and, as PPTP has it, version 1.
            let flags = r.pick(&[[0, 0], [0x20, 0], [0x30, 1], [0x20, 1], [0, 2]]);
            (proto::GRE, [&flags[..], &r.pick(&[[0x88, 0x0b], [8, 0]]), &[0, 4], &two[..2], &[0; 4]].concat())
        }
        66..74 => (r.pick(&[99, 33, 4, 50, 2, 255]), two),
        74..90 => {
            let flags = r.pick(&[2, 2, 2, 0x10, 0x12, 0x11, 0x04, 0x18]);
            (proto::TCP, [&two[..], &[0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0]].concat())
        }
        _ => {
            let chunk = r.pick(&[1, 1, 4, 0, 8]);
            let tag = if chunk == 1 { 0 } else { 7 };
            let head = [&two[..], &[0, 0, 0, tag], &[0; 4], &[chunk, 0, 0, 20, 0, 0, 0, 7]].concat();
            (proto::SCTP, [head, vec![0; 12]].concat())
        }
    };
    l4.resize(l4.len() + payload, 0x61);
    Sent::new(from, v6, proto, l4)
}

/// What the other host might answer.
fn answer(r: &mut Random, to: &Sent) -> Sent {
    let mut l4 = to.l4.clone();
    let turns = matches!(to.proto, proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP | proto::DCCP);
    if turns && l4.len() >= 4 {
        l4[..4].rotate_left(2);
    }
    match (to.proto, &mut l4[..]) {
        (proto::ICMP, [kind @ 8, ..]) => *kind = 0,
        (proto::ICMP, [kind @ (13 | 15 | 17), ..]) => *kind += 1,
        (proto::ICMPV6, [kind @ (128 | 139), ..]) => *kind += 1,
        (proto::TCP, all) if all.len() >= 20 => {
            all[13] = r.pick(&[0x12, 0x10, 0x14]);
            all[8..12].copy_from_slice(&[0, 0, 0, 2]);
        }
        (proto::SCTP, all) if all.len() > 12 => (all[7], all[12]) = (7, r.pick(&[2, 5, 11, 0])),
        _ => {}
    }
    Sent::new(1 - to.from, to.v6, to.proto, l4)
}

/// An ICMP error about a packet, as a rule to who sent it.
fn error(r: &mut Random, about: &Sent) -> Sent {
    let from = if r.percent(80) { 1 - about.from } else { about.from };
    let mut quoted = about.bytes();
    if r.percent(30) {
        // As NAT would have had it, or nobody.
        let at = r.below(quoted.len().min(60) as u32) as usize;
        quoted[at] = r.word() as u8;
    }
    if r.percent(30) {
        quoted.truncate(r.pick(&[20, 27, 28, 40, 47, 48, 60]));
    }
    let (proto, kinds) = match about.v6 {
        false => (proto::ICMP, &[3, 3, 11, 12, 4, 5][..]),
        true => (proto::ICMPV6, &[1, 2, 3, 4, 1, 100, 0][..]),
    };
    let mut l4 = vec![r.pick(kinds), r.below(4) as u8, 0, 0, 0, 0, 0, 0];
    l4.extend(quoted);
    Sent::new(from, about.v6, proto, l4).finished()
}

/// A packet in words.
pub(crate) fn describe(sent: &Sent) -> String {
    let family = if sent.v6 { "IPv6" } else { "IPv4" };
    let shown = &sent.l4[..sent.l4.len().min(72)];
    format!("{family} protocol {} {shown:02x?} ({} bytes, pause {})", sent.proto, sent.l4.len(), sent.pause)
}
