//! Conntrack beside the kernel's: random packets of every protocol, and ICMP errors about them, through a kernel
//! router; what it thought of each one, and after each sequence its flow table and what it told of the flows
//! meanwhile (`conntrack -E`), compared with ours.
//!
//! `SEKISHO_FLOWS_SEED=n` begins with another sequence, `SEKISHO_FLOWS_SECONDS=n` goes on for so long.

mod kernel;
mod packets;
#[path = "../conntrack_parity/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sekisho::base::Hook;
use sekisho::conntrack::{Config, Conntrack, text};
use sekisho::lab::{isolate, tools};
use sekisho::packet::{CtState, Net, Packet};
use sekisho::wire::{ipv6_ext, proto};

use kernel::Kernel;
use packets::Message;
use random::Random;

/// How many sequences are run if nobody says for how long, and packets in each.
const SEQUENCES: u64 = 150;
const PACKETS: u32 = 40;

#[test]
fn flows_are_the_kernels() {
    isolate::test(|| {
        if !tools::usable(tools::IPTABLES.iter().chain(&tools::CONNTRACK)) {
            return;
        }
        let mut kernel = Kernel::new();
        let first = number_from("SEKISHO_FLOWS_SEED").unwrap_or(1);
        let time = number_from("SEKISHO_FLOWS_SECONDS").map(Duration::from_secs);
        let begin = Instant::now();
        let (mut sequences, mut seen) = (0, BTreeMap::<String, u32>::new());
        while time.map_or(sequences < SEQUENCES, |time| begin.elapsed() < time) {
            let seed = first + sequences;
            let mut random = Random::new(seed);
            let sequence: Vec<Message> = (0..PACKETS).map(|_| packets::any(&mut random)).collect();
            if let Err(what) = run_surely(&mut kernel, &sequence, &mut seen) {
                let (smallest, what) = shrink(&mut kernel, sequence, what);
                panic!("seed {seed}: {what}\n{smallest:#?}");
            }
            sequences += 1;
        }
        println!("{sequences} sequences of {PACKETS} packets: {seen:?}");
        for kind in ["[NEW]", "[UPDATE]"] {
            let n = seen.get(kind).copied().unwrap_or(0);
            assert!(u64::from(n) > sequences / 5, "hardly any {kind}: the sequences are no good: {seen:?}");
        }
        for state in
            [CtState::Invalid, CtState::New, CtState::Established, CtState::Related, CtState::Untracked]
        {
            let n = seen.get(&format!("{state:?}")).copied().unwrap_or(0);
            assert!(
                u64::from(n) > sequences / 5,
                "hardly any {state:?}: the sequences are no good: {seen:?}"
            );
        }
    });
}

#[test]
fn lives_are_told_as_the_kernel_tells_them() {
    use packets::{datagram, segment};
    const SYN: u8 = 0x02;
    const SYN_ACK: u8 = 0x12;
    const ACK: u8 = 0x10;
    const FIN: u8 = 0x11;
    const RST: u8 = 0x04;
    isolate::test(|| {
        if !tools::usable(tools::IPTABLES.iter().chain(&tools::CONNTRACK)) {
            return;
        }
        let mut kernel = Kernel::new();
        let mut seen = BTreeMap::<String, u32>::new();
        for v6 in [false, true] {
            let tcp = |parts: &[(usize, u8, u32, u32)]| -> Vec<Message> {
                parts.iter().map(|(side, flags, seq, ack)| segment(*side, v6, *flags, *seq, *ack)).collect()
            };
            let open =
                [(0, SYN, 10, 0), (0, SYN, 10, 0), (1, SYN_ACK, 50, 11), (0, ACK, 11, 51), (1, ACK, 51, 11)];
            let close = [(0, FIN, 11, 51), (1, ACK, 51, 12), (1, FIN, 51, 12), (0, ACK, 12, 52)];
            // Closed, and opened anew from the same port.
            let again = [(0, SYN, 90_000, 0), (1, SYN_ACK, 70_000, 90_001), (0, ACK, 90_001, 70_001)];
            let refused = [(0, SYN, 10, 0), (1, RST | ACK, 0, 11), (0, SYN, 30, 0), (1, RST | ACK, 0, 31)];
            let broken_off = [(1, RST, 51, 0), (0, SYN, 500, 0)];
            let picked_up = [(0, ACK, 11, 51), (1, ACK, 51, 11), (0, RST, 11, 0)];
            let both = [(0, SYN, 10, 0), (1, SYN, 50, 0), (0, SYN_ACK, 10, 51), (1, SYN_ACK, 50, 11)];
            let mut stream = [0, 0, 1, 0, 1, 0].map(|side| datagram(side, v6));
            stream[3].wait = 2_100;
            for sequence in [
                tcp(&[&open[..], &close, &again].concat()),
                tcp(&refused),
                tcp(&[&open[..], &broken_off].concat()),
                tcp(&picked_up),
                tcp(&both),
                stream.to_vec(),
            ] {
                if let Err(what) = run_surely(&mut kernel, &sequence, &mut seen) {
                    panic!("{what}\n{sequence:#?}");
                }
            }
        }
        let told = |kind: &str| seen.get(kind).copied().unwrap_or(0);
        assert!(told("[NEW]") >= 16 && told("[UPDATE]") >= 30 && told("[DESTROY]") >= 6, "{seen:?}");
    });
}

fn number_from(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|v| v.parse().unwrap_or_else(|e| panic!("{variable}={v}: {e}")))
}

/// Sends a sequence through both; says what differs each time. A machine that stands still for seconds between the two
/// makes a difference too, but not twice.
fn run_surely(
    kernel: &mut Kernel,
    sequence: &[Message],
    seen: &mut BTreeMap<String, u32>,
) -> Result<(), String> {
    run(kernel, sequence, seen)
        .or_else(|_| run(kernel, sequence, seen))
        .or_else(|_| run(kernel, sequence, seen))
}

/// Sends a sequence through both; says what differs.
fn run(kernel: &mut Kernel, sequence: &[Message], seen: &mut BTreeMap<String, u32>) -> Result<(), String> {
    kernel.flush();
    kernel.events();
    let ours = Arc::new(Conntrack::new(Config::default(), 99));
    let listener = ours.listen(1000, Box::new(|_| true));
    let begin = Instant::now();
    let now = |at: Instant| sekisho::base::Instant::from_millis((at - begin).as_millis() as u64 + 1000);
    for (i, message) in sequence.iter().enumerate() {
        thread::sleep(Duration::from_millis(message.wait));
        let theirs = kernel.pass(message, i as u16 + 1);
        let mut p = parsed(message);
        let mut current = None;
        let at = now(Instant::now());
        ours.track(&mut p, Hook::Prerouting, at, &mut current).map_err(|e| format!("packet {i}: {e:?}"))?;
        if let Some(current) = &mut current {
            ours.confirm(&mut p, current, at).map_err(|e| format!("packet {i}: {e:?}"))?;
        }
        if p.meta.ct.state != theirs {
            return Err(format!("packet {i}: kernel {theirs:?}, ours {:?}", p.meta.ct.state));
        }
        *seen.entry(format!("{theirs:?}")).or_default() += 1;
    }
    let theirs = kernel.list();
    let at = now(Instant::now());
    let mut lines = Vec::new();
    ours.each(at, &mut |_, flow| lines.push(text::line(flow, at, true).to_string()));
    lines.sort();
    let told = kernel.events();
    let (events, _) = listener.take(usize::MAX);
    let events: Vec<String> = events
        .iter()
        .map(|e| text::line(&e.flow, e.at.unwrap_or(at), true).of_event(e.kind, e.by_hand).to_string())
        .collect();
    for line in &told {
        *seen.entry(line.trim_start().split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let same =
        told.len() == events.len() && told.iter().zip(&events).all(|(a, b)| equal_but_for_seconds(a, b));
    if !same {
        return Err(format!("kernel told:\n{}\nours:\n{}", told.join("\n"), events.join("\n")));
    }
    let differ = || format!("kernel:\n{}\nours:\n{}", theirs.join("\n"), lines.join("\n"));
    if theirs.len() != lines.len() {
        return Err(differ());
    }
    // Byte for byte, but for the seconds, which may have moved on between the two.
    let sorted = |lines: &[String]| {
        let mut split: Vec<_> = lines.iter().map(|l| without_seconds(without_use(l))).collect();
        split.sort();
        split
    };
    let equal = |(a, b): (&(String, i64), &(String, i64))| a.0 == b.0 && (a.1 - b.1).abs() <= 1;
    match sorted(&theirs).iter().zip(&sorted(&lines)).all(equal) {
        true => Ok(()),
        false => Err(differ()),
    }
}

/// Whether two lines of events say the same, but for a second that passed. The kernel names the state only where it is
/// another than before.
fn equal_but_for_seconds(theirs: &str, ours: &str) -> bool {
    let [(a, seconds), (b, others)] = [theirs, ours].map(|line| {
        let (kind, rest) = line.trim_start().split_once(' ').unwrap_or_default();
        let (rest, seconds) = without_seconds(rest);
        (format!("{kind} {rest}"), seconds)
    });
    let stateless = |line: &str| {
        let words = line.split(' ').enumerate();
        let named = |word: &str| word.len() > 3 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        words
            .filter(|(at, word)| *at == 0 || !named(word))
            .map(|(_, word)| word)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let same = a == b || a.starts_with("[UPDATE]") && a == stateless(&a) && a == stateless(&b);
    same && (seconds - others).abs() <= 1
}

/// How many hold an entry is the kernel's own affair.
fn without_use(line: &str) -> &str {
    line.rsplit_once(" use=").map_or(line, |(rest, _)| rest)
}

/// A line with a mark where its seconds were, and those: the fifth word.
fn without_seconds(line: &str) -> (String, i64) {
    let mut seconds = 0;
    let mut word = 0;
    let rest: Vec<&str> = line
        .split(' ')
        .map(|part| {
            word += usize::from(!part.is_empty());
            match part.parse() {
                Ok(n) if word == 5 => {
                    seconds = n;
                    "*"
                }
                _ => part,
            }
        })
        .collect();
    (rest.join(" "), seconds)
}

/// As ingress leaves a packet.
fn parsed(message: &Message) -> Packet {
    let mut p = Packet::from_slice(&message.bytes(0));
    p.meta.proto = message.proto;
    if message.v6() {
        p.meta.net = Net::Ipv6;
        let chain = ipv6_ext::walk(p.l3())
            .unwrap_or(ipv6_ext::Chain { proto: proto::NONE, ..ipv6_ext::Chain::default() });
        (p.meta.l4, p.meta.proto) = (chain.l4 as u16, chain.proto);
    } else {
        p.meta.net = Net::Ipv4;
        p.meta.l4 = 20;
    }
    p
}

/// Leaves out what is not needed for a difference.
fn shrink(kernel: &mut Kernel, mut sequence: Vec<Message>, mut what: String) -> (Vec<Message>, String) {
    let mut i = sequence.len();
    while i > 0 {
        i -= 1;
        let mut without = sequence.clone();
        without.remove(i);
        if let Err(still) = run(kernel, &without, &mut BTreeMap::new()) {
            (sequence, what) = (without, still);
        }
    }
    (sequence, what)
}
