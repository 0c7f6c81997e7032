//! Rules in columns, as `iptables -L` prints them, and as commands, as `iptables -S` does.
//!
//! Addresses are numbers, with `-n` and without: nobody is asked for their names.

mod words;

use std::collections::HashMap;
use std::fmt::Write;

use crate::filter::matches::{AddrMask, Not};
use crate::filter::rule::{Chain, Count, Family, Policy, Rule, Ruleset, Table, TableName};
use crate::filter::targets::Target;

use super::command::{List, Manner};
use super::draft::goes_to;
use super::no::{No, Why};
use super::{edit, names, write};

/// `-L`.
///
/// # Errors
/// There is no such chain.
pub fn list(rules: &Ruleset, table: TableName, which: &List, manner: &Manner) -> Result<String, No> {
    let mut text = String::new();
    let table = edit::table(rules, table);
    let references = references(&table);
    for (i, chain) in chosen(&table, which)?.into_iter().enumerate() {
        if which.number.is_none() {
            if i > 0 {
                text.push('\n');
            }
            head(&mut text, chain, &references, manner);
        }
        for (number, rule) in numbered(chain, which) {
            if manner.line_numbers {
                let _ = write!(text, "{number:<4} ");
            }
            if manner.verbose {
                count(&mut text, rule.counters, manner.exact);
            }
            let columns = Columns { numeric: manner.numeric, links: manner.verbose };
            columns.rule(&mut text, rule, rules.family);
        }
    }
    Ok(text)
}

/// `-S`.
///
/// # Errors
/// There is no such chain.
pub fn commands(rules: &Ruleset, table: TableName, which: &List, manner: &Manner) -> Result<String, No> {
    let mut text = String::new();
    let table = edit::table(rules, table);
    let chains = chosen(&table, which)?;
    for chain in chains.iter().filter(|_| which.number.is_none()) {
        let _ = match chain.policy {
            None => writeln!(text, "-N {}", chain.name),
            Some(policy) => {
                let _ = write!(text, "-P {} {}", chain.name, policy_name(policy));
                match manner.verbose {
                    true => writeln!(text, " -c {} {}", chain.counters.packets, chain.counters.bytes),
                    false => writeln!(text),
                }
            }
        };
    }
    for chain in chains {
        for (_, rule) in numbered(chain, which) {
            let _ = match manner.verbose {
                true => writeln!(text, "{}", write::counted(rule, &chain.name, rules.family)),
                false => writeln!(text, "{}", write::rule(rule, &chain.name, rules.family)),
            };
        }
    }
    Ok(text)
}

/// The same as [`commands`], without counters, from a table as it is saved: the lines are those of `-S` already.
///
/// # Errors
/// There is no such chain.
pub fn saved_commands(saved: &str, table: TableName, which: &List) -> Result<String, No> {
    if saved.is_empty() {
        // It was never given.
        let none = Ruleset { family: Family::V4, tables: Vec::new() };
        return commands(&none, table, which, &Manner::default());
    }
    let mut text = String::with_capacity(saved.len());
    let (mut found, mut number) = (which.chain.is_none(), 0);
    for line in saved.lines() {
        let mut words = line.split(' ');
        let of = |name: Option<&str>| which.chain.is_none() || which.chain.as_deref() == name;
        if let Some(rest) = line.strip_prefix(':') {
            let (name, policy) = rest.split_once(' ').unwrap_or((rest, "-"));
            if !of(Some(name)) {
                continue;
            }
            found = true;
            let policy = policy.split(' ').next().unwrap_or_default();
            let _ = match (which.number, policy) {
                (Some(_), _) => Ok(()),
                (None, "-") => writeln!(text, "-N {name}"),
                (None, policy) => writeln!(text, "-P {name} {policy}"),
            };
        } else if words.next() == Some("-A") && of(words.next()) {
            number += 1;
            if which.number.is_none_or(|only| only == number) {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    match (&which.chain, found) {
        (Some(name), false) => Err(no_chain(name, table)),
        _ => Ok(text),
    }
}

/// What `-v` says of the rules that a command is about, one a line.
pub fn told(rules: &[Rule], family: Family) -> String {
    let mut text = String::new();
    for r in rules {
        let basic = &r.basic;
        let proto = basic.proto.map_or(0, |p| p.value);
        let name = names::own_protocol_name(proto).map_or_else(|| proto.to_string(), str::to_owned);
        let not = |is: bool| if is { '!' } else { ' ' };
        let _ =
            write!(text, "{} {}{name} opt {} ", target(r, family), not(is_not(&basic.proto)), fragments(r));
        let [input, output] = [&basic.in_link, &basic.out_link].map(|l| link(l, "*"));
        let [src, dst] = [&basic.src, &basic.dst].map(|net| (not(is_not(net)), network(net, family, true)));
        let _ = write!(text, "in {input} out {output} {}{} {}-> {}  ", src.0, src.1, dst.0, dst.1);
        rest(&mut text, r, family, true);
    }
    text
}

/// The chains that are asked for.
fn chosen<'a>(table: &'a Table, which: &List) -> Result<Vec<&'a Chain>, No> {
    let Some(name) = &which.chain else { return Ok(table.chains.iter().collect()) };
    let chain = table.chains.iter().find(|c| c.name == *name);
    chain.map(|c| vec![c]).ok_or_else(|| no_chain(name, table.name))
}

fn no_chain(name: &str, table: TableName) -> No {
    No::Refused(Why::NoChain, format!("there is no chain '{name}' in table {}", table.name()))
}

/// The rules of a chain that are asked for, each with its number.
fn numbered<'a>(chain: &'a Chain, which: &List) -> impl Iterator<Item = (usize, &'a Rule)> {
    let only = which.number;
    (1..).zip(&chain.rules).filter(move |(number, _)| only.is_none_or(|only| only == *number))
}

/// How many rules of a table go to each chain, if any do.
pub fn references(table: &Table) -> HashMap<&str, usize> {
    let mut references = HashMap::new();
    for to in table.chains.iter().flat_map(|c| &c.rules).filter_map(goes_to) {
        *references.entry(to).or_default() += 1;
    }
    references
}

/// Leaves of all rules those that a list of one chain needs: its own, and of the others those that go to it.
pub fn narrow(rules: &mut Ruleset, chain: &str) {
    for other in rules.tables.iter_mut().flat_map(|t| &mut t.chains).filter(|c| c.name != chain) {
        other.rules = other.rules.iter().filter(|r| goes_to(r) == Some(chain)).cloned().collect();
    }
}

fn policy_name(policy: Policy) -> &'static str {
    match policy {
        Policy::Accept => "ACCEPT",
        Policy::Drop => "DROP",
    }
}

/// The lines above the rules of a chain.
fn head(text: &mut String, chain: &Chain, references: &HashMap<&str, usize>, manner: &Manner) {
    let _ = write!(text, "Chain {} (", chain.name);
    let _ = match (chain.policy, chain.counters) {
        (None, _) => {
            writeln!(text, "{} references)", references.get(chain.name.as_str()).copied().unwrap_or(0))
        }
        (Some(policy), n) if manner.verbose => {
            let [packets, bytes] = [n.packets, n.bytes].map(|n| number(n, manner.exact));
            let (packets, bytes) = (packets.trim_start(), bytes.trim_start());
            writeln!(text, "policy {} {packets} packets, {bytes} bytes)", policy_name(policy))
        }
        (Some(policy), _) => writeln!(text, "policy {})", policy_name(policy)),
    };
    if manner.line_numbers {
        text.push_str("num  ");
    }
    match (manner.verbose, manner.exact) {
        (false, _) => {}
        (true, false) => text.push_str(" pkts bytes "),
        (true, true) => text.push_str("    pkts      bytes "),
    }
    text.push_str("target     prot opt");
    if manner.verbose {
        text.push_str(" in     out    ");
    }
    let _ = writeln!(text, " {:<19}  {:<19} ", "source", "destination");
}

fn count(text: &mut String, n: Count, exact: bool) {
    let _ = write!(text, "{} {} ", number(n.packets, exact), number(n.bytes, exact));
}

/// A count; not exactly, it takes five places as far as it can, each thousand times rounded up from its half.
fn number(n: u64, exact: bool) -> String {
    if exact {
        return format!("{n:>8}");
    }
    if n <= 99_999 {
        return format!("{n:>5}");
    }
    let mut n = n;
    for unit in ["K", "M", "G", "T"] {
        // The tool's own sum runs over, and so prints nothing of the largest counts; ours does not.
        n = n.saturating_add(500) / 1000;
        if n <= 9_999 || unit == "T" {
            return format!("{n:>4}{unit}");
        }
    }
    String::new()
}

/// Which columns there are, and what stands in them.
struct Columns {
    /// Numbers for protocols and ports.
    numeric: bool,
    /// Those of the links.
    links: bool,
}

impl Columns {
    fn rule(&self, text: &mut String, r: &Rule, family: Family) {
        let basic = &r.basic;
        let not = |is: bool| if is { '!' } else { ' ' };
        let proto = basic.proto.map_or(0, |p| p.value);
        let name = match (self.numeric, proto) {
            (true, _) => None,
            (false, 0) => Some("all"),
            (false, _) => names::protocol_name(proto),
        };
        let name = name.map_or_else(|| proto.to_string(), str::to_owned);
        let _ =
            write!(text, "{:<9} {}{name:<4} {} ", target(r, family), not(is_not(&basic.proto)), fragments(r));
        if self.links {
            let any = if self.numeric { "*" } else { "any" };
            let [input, output] = [&basic.in_link, &basic.out_link].map(|l| link(l, any));
            let _ = write!(text, " {input:<6} {output:<6} ");
        }
        for net in [&basic.src, &basic.dst] {
            let _ = write!(text, "{}{:<19} ", not(is_not(net)), network(net, family, self.numeric));
        }
        rest(text, r, family, self.numeric);
    }
}

/// What has no column: the matches and the target's options.
fn rest(text: &mut String, r: &Rule, family: Family, numeric: bool) {
    if matches!(r.target, Target::Goto(_)) {
        text.push_str("[goto] ");
    }
    let words = words::Words { rule: r, family, numeric };
    let _ = writeln!(text, "{words}");
}

fn is_not<T>(n: &Option<Not<T>>) -> bool {
    n.as_ref().is_some_and(|n| n.not)
}

fn fragments(r: &Rule) -> &'static str {
    match r.basic.fragment {
        None => "--",
        Some(Not { not: false, .. }) => "-f",
        Some(Not { not: true, .. }) => "!f",
    }
}

fn link(link: &Option<Not<String>>, any: &str) -> String {
    match link {
        None => any.to_owned(),
        Some(n) => format!("{}{}", if n.not { "!" } else { "" }, n.value),
    }
}

fn network(net: &Option<Not<AddrMask>>, family: Family, numeric: bool) -> String {
    match (net, numeric, family) {
        (Some(n), true, _) => write::short_network(&n.value),
        (Some(n), ..) if !n.value.mask.is_unspecified() => write::short_network(&n.value),
        (None, true, Family::V4) => "0.0.0.0/0".to_owned(),
        (None, true, Family::V6) => "::/0".to_owned(),
        _ => "anywhere".to_owned(),
    }
}

/// What stands in the column of the target.
pub fn target(rule: &Rule, family: Family) -> &str {
    match &rule.target {
        Target::Hops(_) if family == Family::V6 => "HL",
        Target::Notrack => "CT",
        target => target.name(),
    }
}
