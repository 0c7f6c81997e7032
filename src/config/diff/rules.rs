//! What is different between two sets of rules, as lines in the words of iptables.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::print;
use super::{added, removed};
use crate::control::view::Difference;
use crate::filter::Program;

/// The most pairs of lines that are compared to find the shortest list of differences.
const PAIRS: usize = 4 << 20;

/// Both families' differences.
pub(super) fn differ(
    old: &[Option<Arc<Program>>; 2],
    new: &[Option<Arc<Program>>; 2],
) -> impl Iterator<Item = Difference> {
    let mut all = Vec::new();
    for ((old, new), tool) in old.iter().zip(new).zip(["iptables", "ip6tables"]) {
        if let (Some(old), Some(new)) = (old, new)
            && Arc::ptr_eq(old, new)
        {
            continue;
        }
        let [old, new] = [old, new].map(|p| p.as_deref().map(print::rules).unwrap_or_default());
        let [old, new] = [&old, &new].map(|text| Said::read(text, tool));
        let unknown = |p: &&(String, String)| old.policies.iter().all(|(known, _)| *known != p.0);
        for (chain, _) in old.policies.iter().chain(new.policies.iter().filter(unknown)) {
            let (before, after) = (old.policy(chain), new.policy(chain));
            if before != after {
                let [before, after] = [before, after].map(|policy| Some(format!("{chain} {policy}")));
                all.push(Difference { object: "rule".into(), before, after, note: None });
            }
        }
        lines(&old.lines, &new.lines, &mut all);
    }
    all.into_iter()
}

/// The policy of a chain of which nothing is said.
const USUAL: &str = "ACCEPT";

/// A ruleset in the words of iptables.
struct Said {
    /// `iptables -t filter -P FORWARD`, and what comes behind.
    policies: Vec<(String, String)>,
    /// `iptables -t filter -A FORWARD …` and `-N …`.
    lines: Vec<String>,
}

impl Said {
    /// Reads what iptables-save prints.
    fn read(text: &str, tool: &str) -> Self {
        let mut said = Said { policies: Vec::new(), lines: Vec::new() };
        let mut table = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name;
            } else if let Some(chain) = line.strip_prefix(':') {
                let mut words = chain.split(' ');
                let (name, policy) = (words.next().unwrap_or(""), words.next().unwrap_or("-"));
                match policy {
                    "-" => said.lines.push(format!("{tool} -t {table} -N {name}")),
                    policy => said.policies.push((format!("{tool} -t {table} -P {name}"), policy.into())),
                }
            } else if line.starts_with("-A ") {
                said.lines.push(format!("{tool} -t {table} {line}"));
            }
        }
        said
    }

    fn policy(&self, chain: &str) -> &str {
        let found = self.policies.iter().find(|(known, _)| known == chain);
        found.map_or(USUAL, |(_, policy)| policy)
    }
}

/// What has to go and to come, in the order of the rules.
fn lines(old: &[String], new: &[String], all: &mut Vec<Difference>) {
    let same = |(a, b): &(&String, &String)| a == b;
    let before = old.iter().zip(new).take_while(same).count();
    let (old, new) = (&old[before..], &new[before..]);
    let after = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    let (old, new) = (&old[..old.len() - after], &new[..new.len() - after]);
    if old.len().saturating_mul(new.len()) > PAIRS {
        return roughly(old, new, all);
    }
    // The longest common subsequence from each pair of places on.
    let width = new.len() + 1;
    let mut longest = vec![0u32; (old.len() + 1) * width];
    for (i, o) in old.iter().enumerate().rev() {
        for (j, n) in new.iter().enumerate().rev() {
            longest[i * width + j] = match o == n {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    loop {
        match (old.get(i), new.get(j)) {
            (None, None) => return,
            (Some(o), Some(n)) if o == n => (i, j) = (i + 1, j + 1),
            (Some(o), n) if n.is_none() || longest[(i + 1) * width + j] >= longest[i * width + j + 1] => {
                all.push(removed("rule", o.clone()));
                i += 1;
            }
            (_, Some(n)) => {
                all.push(added("rule", n.clone()));
                j += 1;
            }
            (Some(_), None) => return,
        }
    }
}

/// Likewise for very many: lines that only moved are not told of, unless nothing else is different.
fn roughly(old: &[String], new: &[String], all: &mut Vec<Difference>) {
    let mut left: HashMap<&str, i64> = HashMap::new();
    new.iter().for_each(|n| *left.entry(n).or_default() += 1);
    old.iter().for_each(|o| *left.entry(o).or_default() -= 1);
    let told = all.len();
    for o in old {
        if let Some(n) = left.get_mut(o.as_str()).filter(|n| **n < 0) {
            *n += 1;
            all.push(removed("rule", o.clone()));
        }
    }
    for n in new {
        if let Some(more) = left.get_mut(n.as_str()).filter(|more| **more > 0) {
            *more -= 1;
            all.push(added("rule", n.clone()));
        }
    }
    if all.len() == told {
        let note = format!("{} rules are in another order", old.len());
        all.push(Difference { object: "rule".into(), note: Some(note), ..Difference::default() });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(old: &[String], new: &[String]) -> Vec<Difference> {
        let mut all = Vec::new();
        lines(old, new, &mut all);
        all
    }

    /// How many lines both have in one order; slow, and plain to see.
    fn common(old: &[String], new: &[String]) -> usize {
        match (old, new) {
            ([o, old @ ..], [n, new @ ..]) if o == n => 1 + common(old, new),
            ([_, old_rest @ ..], [_, new_rest @ ..]) => common(old_rest, new).max(common(old, new_rest)),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn as_little_as_can_be_is_told_and_it_makes_the_new_of_the_old(
            old in prop::collection::vec("[a-d]", 0..8), new in prop::collection::vec("[a-d]", 0..8),
        ) {
            let told = told(&old, &new);
            prop_assert_eq!(told.len(), old.len() + new.len() - 2 * common(&old, &new));
            let mut made = old.clone();
            for before in told.iter().filter_map(|d| d.before.as_ref()) {
                let at = made.iter().position(|line| line == before);
                made.remove(at.expect("what goes was there"));
            }
            made.extend(told.iter().filter_map(|d| d.after.clone()));
            made.sort();
            let mut wanted = new.clone();
            wanted.sort();
            prop_assert_eq!(made, wanted);
        }
    }

    #[test]
    fn very_many_rules_are_compared_all_the_same() {
        let many: Vec<String> = (0..3_000).map(|n| format!("rule {n}")).collect();
        let mut moved: Vec<String> = many.iter().rev().cloned().collect();
        let all = told(&many, &moved);
        assert_eq!(all[0].note.as_deref(), Some("3000 rules are in another order"));
        moved[1_500] = "another".into();
        let all = told(&many, &moved);
        assert_eq!((all.len(), all[1].after.as_deref()), (2, Some("another")));
    }
}
