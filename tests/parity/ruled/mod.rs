//! Rules, packets, and what comes of them: written by hand, one thing at a time.
//!
//! A case is a text: rules as iptables-restore takes them, then lines that begin with `>`, in the words of
//! [`crate::script`], with what the kernel gave for them when they were written behind `=>`.

mod chains;
mod errors;
mod fragments;
mod matches;
mod nat;
mod reject;
mod states;
mod targets;

use sekisho::conntrack;
use sekisho::lab::{isolate, tools};

use crate::family::Family;
use crate::play::{Played, play_surely};
use crate::side::kernel::Kernel;
use crate::side::ours::Ours;
use crate::side::{Rules, Side};

/// A ruleset and what is sent.
pub(crate) struct Case {
    pub(crate) name: String,
    rules: Rules,
    lines: Vec<String>,
    /// What each line gave, where that is said.
    gives: Vec<Option<Vec<String>>>,
    /// Whether each rule has to match something, and not everything.
    is_battery: bool,
    /// Why Sekisho does otherwise on purpose; stands in docs/limits.md word by word.
    pub(crate) known: Option<&'static str>,
}

/// Collects cases.
pub(crate) struct List(Vec<Case>);

impl List {
    fn add(&mut self, family: Family, name: &str, text: &str) -> &mut Case {
        let (mut rules, mut lines, mut gives) = (String::new(), vec![], vec![]);
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
            match line.strip_prefix('>') {
                None => rules += &format!("{}\n", family.rules(line)),
                Some(line) => {
                    let (line, given) = line.split_once("=>").map_or((line, None), |(l, g)| (l, Some(g)));
                    lines.push(family.line(line));
                    gives.push(given.map(|given| {
                        let mut given: Vec<String> =
                            given.split('·').map(|g| family.line(g)).filter(|g| !g.is_empty()).collect();
                        given.sort();
                        given
                    }));
                }
            }
        }
        let (v4, v6) = match family {
            Family::V4 => (rules, String::new()),
            Family::V6 => (String::new(), rules),
        };
        let name = format!("{} {name}", if family == Family::V4 { "v4" } else { "v6" });
        self.0.push(Case { name, rules: Rules { v4, v6 }, lines, gives, is_battery: false, known: None });
        self.0.last_mut().expect("one was pushed")
    }

    fn v4(&mut self, name: &str, text: &str) -> &mut Case {
        self.add(Family::V4, name, text)
    }

    fn v6(&mut self, name: &str, text: &str) -> &mut Case {
        self.add(Family::V6, name, text)
    }

    /// The same text in both families.
    fn both(&mut self, name: &str, text: &str) {
        self.add(Family::V4, name, text);
        self.add(Family::V6, name, text);
    }
}

fn all() -> Vec<Case> {
    let mut list = List(vec![]);
    matches::cases(&mut list);
    chains::cases(&mut list);
    targets::cases(&mut list);
    reject::cases(&mut list);
    states::cases(&mut list);
    nat::cases(&mut list);
    errors::cases(&mut list);
    fragments::cases(&mut list);
    list.0
}

impl Case {
    /// Whether it is worth something: rules that match nothing, or packets that never come out, prove nothing.
    fn complaints(&self, played: &Played) -> Vec<String> {
        let mut all = vec![];
        for ((line, gave), wanted) in self.lines.iter().zip(&played.gave).zip(&self.gives) {
            let mut gave = gave.clone();
            gave.sort();
            if wanted.as_ref().is_some_and(|w| *w != gave) {
                all.push(format!("{line}\n      gave {}", gave.join(" · ")));
            }
        }
        if played.gave.is_empty() {
            all.push(format!("its rules don't load: {}", played.counters));
        }
        let mut most = (String::new(), 0);
        for line in played.counters.lines().filter(|l| self.is_battery && l.contains(" -A ")) {
            // "v4 filter [5:204] -A FORWARD …"
            let words: Vec<&str> = line.split(' ').collect();
            let count =
                words[2].trim_start_matches('[').split(':').next().and_then(|n| n.parse::<u64>().ok());
            let (count, chain) = (count.unwrap_or(0), format!("{} {}", words[1], words[4]));
            if most.0 != chain {
                // The first of a chain matches everything, and says how much that is.
                most = (chain, count);
            } else if count == 0 || count >= most.1 {
                all.push(format!("matches {count} of {}: {line}", most.1));
            }
        }
        all
    }
}

fn chosen() -> Vec<Case> {
    let only = std::env::var("SEKISHO_PARITY").unwrap_or_default();
    all().into_iter().filter(|c| c.name.contains(&only)).collect()
}

fn run(sides: [&mut dyn Side; 2], cases: &[Case], heed_known: bool) -> Vec<String> {
    let [a, b] = sides;
    let mut bad = vec![];
    for case in cases {
        let known = case.known.filter(|_| heed_known);
        match (play_surely([&mut *a, &mut *b], &case.rules, &case.lines), known) {
            (Ok(played), None) => {
                bad.extend(case.complaints(&played).iter().map(|c| format!("{}: {c}", case.name)));
            }
            (Ok(_), Some(_)) => bad.push(format!("≡ {} no longer differs: take it off the list", case.name)),
            (Err(text), None) => bad.push(format!("≠ {}\n{text}", case.name)),
            (Err(_), Some(reason)) => println!("· {}: {reason}", case.name),
        }
    }
    println!("{} cases with rules", cases.len());
    bad
}

#[test]
fn ruled_two_kernels() {
    isolate::test(|| {
        if !tools::usable(&tools::IPTABLES) {
            return;
        }
        let (mut a, mut b) = (Kernel::new("kernel", &[]), Kernel::new("its twin", &[]));
        let bad = run([&mut a, &mut b], &chosen(), false);
        assert!(bad.is_empty(), "{}", bad.join("\n"));
    });
}

/// The kernel beside the walk, with rules.
#[test]
fn ruled_walk_does_what_the_kernel_does() {
    isolate::test(|| {
        if !tools::usable(&tools::IPTABLES) {
            return;
        }
        let (mut a, mut b) = (Kernel::new("kernel", &[]), Ours::new());
        let (unsummed, usual): (Vec<Case>, _) =
            chosen().into_iter().partition(|c| c.name.contains("unsummed"));
        let mut bad = run([&mut a, &mut b], &usual, true);
        // The kernel takes no UDP-Lite for valid as long as it looks at checksums.
        let mut a = Kernel::new("kernel", &[("net/netfilter/nf_conntrack_checksum", "0")]);
        let mut b = Ours::with(conntrack::Config { checksum: false, ..conntrack::Config::default() });
        bad.extend(run([&mut a, &mut b], &unsummed, true));
        assert!(bad.is_empty(), "{}", bad.join("\n"));
    });
}

#[test]
fn ruled_cases_have_names_of_their_own() {
    let mut names: Vec<String> = all().into_iter().map(|c| c.name).collect();
    let n = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), n);
}
