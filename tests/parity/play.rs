//! The same script played to two routers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::compare::{explain, summary};
use crate::same::{Known, Names};
use crate::script::{self, History, IDENT};
use crate::side::{Rules, Side};

/// What the first router did: the second did the same.
pub(crate) struct Played {
    /// What came of each line.
    pub(crate) gave: Vec<Vec<String>>,
    pub(crate) flows: Vec<String>,
    pub(crate) counters: String,
    /// Frames sent.
    pub(crate) frames: usize,
}

/// Plays a script to both. `Err`: where they part.
pub(crate) fn play(
    sides: [&mut dyn Side; 2],
    rules: &Rules,
    lines: &[String],
    patience: Duration,
) -> Result<Played, String> {
    let [a, b] = sides;
    let names = [a.name(), b.name()];
    match (a.load(rules), b.load(rules)) {
        (Ok(()), Ok(())) => {}
        (Err(e), Err(_)) => return Ok(Played { gave: vec![], flows: vec![], counters: e, frames: 0 }),
        (first, second) => return Err(format!("rules: {}: {first:?}, {}: {second:?}", names[0], names[1])),
    }
    let salt = SALT.fetch_add(lines.len() as u16 + 1, Ordering::Relaxed);
    let known = known(rules, lines, salt);
    let mut histories = [History::new(salt), History::new(salt)];
    let mut words = [Names::default(), Names::default()];
    let mut played = Played { gave: vec![], flows: vec![], counters: String::new(), frames: 0 };
    for (n, line) in lines.iter().enumerate() {
        if let Some(ms) = script::pause(line) {
            thread::sleep(Duration::from_millis(ms));
        }
        let mut came = [vec![], vec![]];
        for (i, side) in [&mut *a, &mut *b].into_iter().enumerate() {
            let frames = histories[i].act(line);
            played.frames += frames.len();
            if !frames.is_empty() {
                came[i] = side.step(&frames, patience);
            }
        }
        // A kernel forwards before it says that a frame was sent, unless it is busy and leaves it to a thread of its own:
        // what one has given and the other has not is waited for.
        let deadline = Instant::now() + LATE;
        while came[0].len() != came[1].len() && Instant::now() < deadline {
            for (side, came) in [&mut *a, &mut *b].into_iter().zip(&mut came) {
                came.extend(side.step(&[], Duration::from_millis(1)));
                came.sort_by_key(|(port, _)| *port);
            }
        }
        let mut gave = [vec![], vec![]];
        for (i, came) in came.iter().enumerate() {
            histories[i].note(came);
            gave[i] = came.iter().map(|f| words[i].frame(f, &known)).collect();
        }
        if gave[0] != gave[1] {
            return Err(format!("line {n}: {line}\n{}", explain(names, &gave[0], &gave[1])));
        }
        played.gave.push(gave[0].iter().map(summary).collect());
    }
    let flows = [0, 1].map(|i| {
        let side: &mut dyn Side = if i == 0 { &mut *a } else { &mut *b };
        let mut flows: Vec<(String, u32)> = side.flows().iter().map(|l| words[i].flow(l, &known)).collect();
        flows.sort();
        flows
    });
    if let Some(text) = flows_differ(names, &flows) {
        return Err(text);
    }
    let counters = [counters(&a.counters(), rules), counters(&b.counters(), rules)];
    if let Some(text) = counters_differ(names, &counters) {
        return Err(text);
    }
    played.flows = flows[0].iter().map(|(text, left)| format!("{text} ({left})")).collect();
    played.counters = counters[0].join("\n");
    Ok(played)
}

/// How long what one gave may take to come from the other.
const LATE: Duration = Duration::from_millis(200);

/// Identifications are not used twice soon: pieces of datagrams that never became whole may still wait somewhere.
static SALT: AtomicU16 = AtomicU16::new(0x2000);

/// Numbers that stand in the script, or in a rule so that NAT has no choice.
fn known(rules: &Rules, lines: &[String], salt: u16) -> Known {
    let mut known = Known::default();
    known.ports.insert(0);
    known.idents.insert(IDENT);
    for (n, line) in lines.iter().enumerate() {
        if line.contains("cut=") || line.contains("frag=") || line.contains("atomic") {
            known.idents.insert(salt.wrapping_add(n as u16));
        }
        for word in line.split_whitespace() {
            let number = match word.split_once('=') {
                Some(("id" | "sport" | "call" | "seq" | "word", n)) => n,
                Some(("ipid", n)) => {
                    known.idents.extend(
                        n.parse::<u16>()
                            .map(|n2| salt.wrapping_add(n2))
                            .iter()
                            .flat_map(|base| (0..lines.len() as u16).map(move |i| base.wrapping_add(i))),
                    );
                    continue;
                }
                Some(_) => continue,
                None => word.rsplit_once(':').map_or("", |(_, port)| port),
            };
            known.ports.extend(number.parse::<u16>());
        }
    }
    let mut words = rules.v4.split_whitespace().chain(rules.v6.split_whitespace());
    while let Some(word) = words.next() {
        let spec = match word {
            "--to-ports" | "--to-port" => words.next().unwrap_or_default(),
            "--to-source" | "--to-destination" => {
                let spec = words.next().unwrap_or_default();
                let v6 = spec.rsplit_once("]:").map(|(_, p)| p);
                let v4 = || spec.rsplit_once(':').filter(|(a, _)| !a.contains(':')).map(|(_, p)| p);
                v6.or_else(v4).unwrap_or_default()
            }
            _ => continue,
        };
        let (range, base) = spec.split_once('/').map_or((spec, None), |(r, b)| (r, Some(b)));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if base.is_some() || first == last => known.ports.extend(first..=last),
            (Ok(first), Ok(last)) => drop(known.ranges.insert((first, last))),
            _ => {}
        }
    }
    known
}

fn flows_differ(names: [&str; 2], flows: &[Vec<(String, u32)>; 2]) -> Option<String> {
    let [a, b] = flows;
    // Seconds are cut off at other moments here and there.
    let alike = |x: &(String, u32), y: &(String, u32)| x.0 == y.0 && x.1.abs_diff(y.1) <= 1;
    if a.len() == b.len() && a.iter().zip(b).all(|(x, y)| alike(x, y)) {
        return None;
    }
    let mut text = "flows:\n".to_owned();
    for (name, mine, other) in [(names[0], a, b), (names[1], b, a)] {
        for flow in mine {
            let mark = if other.iter().any(|o| alike(flow, o)) { ' ' } else { '≠' };
            let _ = writeln!(text, "  {mark} {name:10} {} ({})", flow.0, flow.1);
        }
    }
    Some(text)
}

/// The lines of a save that say something, each behind its table.
fn counters(text: &str, rules: &Rules) -> Vec<String> {
    let mut table = (String::new(), if rules.v4.is_empty() { "v6" } else { "v4" });
    let mut lines = vec![];
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        match line.strip_prefix('*') {
            Some(name) => {
                // A table for the second time is the other family's.
                if lines.iter().any(|l: &String| l.starts_with(&format!("{} {name} ", table.1))) {
                    table.1 = "v6";
                }
                table.0 = name.to_owned();
            }
            None if line == "COMMIT" => {}
            None => lines.push(format!("{} {} {line}", table.1, table.0)),
        }
    }
    lines
}

fn counters_differ(names: [&str; 2], counters: &[Vec<String>; 2]) -> Option<String> {
    let [mut a, mut b] = counters.clone();
    a.sort();
    b.sort();
    if a == b {
        return None;
    }
    let mut times: BTreeMap<&str, i32> = BTreeMap::new();
    a.iter().for_each(|l| *times.entry(l).or_default() += 1);
    b.iter().for_each(|l| *times.entry(l).or_default() -= 1);
    let mut text = "counters:\n".to_owned();
    for (line, n) in times.iter().filter(|(_, n)| **n != 0) {
        let name = if *n > 0 { names[0] } else { names[1] };
        let _ = writeln!(text, "  {name:10} {line}");
    }
    Some(text)
}

/// A difference by chance does not come back: kernels hand work to other threads when they are busy, and what NAT
/// draws may be what somebody else has. `Err` only what is there each time.
pub(crate) fn play_surely(
    sides: [&mut dyn Side; 2],
    rules: &Rules,
    lines: &[String],
) -> Result<Played, String> {
    let [a, b] = sides;
    if let Ok(played) = play([&mut *a, &mut *b], rules, lines, Duration::ZERO) {
        return Ok(played);
    }
    let mut last = String::new();
    for patience in [1, 20] {
        match play([&mut *a, &mut *b], rules, lines, Duration::from_millis(patience)) {
            Ok(played) => return Ok(played),
            Err(text) => last = text,
        }
    }
    Err(last)
}
