//! Rules compiled to run.
//!
//! ```text
//!                    ┌─ facts: addresses, protocol, ports, links, state: read once
//!  run ─► chain ─────┤
//!          │         └─ cursor: which rule next (index, for long chains)
//!          ▼
//!        rule: basic ─► checks ─► count ─► op ─┬─► next rule        (MARK, TOS, LOG, no target …)
//!                                              ├─► other chain      (jump, goto, RETURN, the end)
//!                                              └─► verdict          (ACCEPT, DROP, REJECT, NAT; a policy)
//! ```
//!
//! A program gives the same verdicts, the same bytes and the same counts as asking rule after rule would. It knows
//! nothing of where verdicts lead.

mod act;
mod addr;
mod carry;
mod check;
mod claims;
mod compile;
mod ct;
mod facts;
mod index;
mod links;
mod log;
mod memory;
mod mss;
mod note;
mod run;
mod shadow;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::Hook;
use crate::link::Links;
use crate::packet::{Net, Packet};

use super::counters::Counters;
use super::problem::Problem;
use super::rule::{Count, Family, Rule, Ruleset, TableName};
use super::verdict::{Env, Verdict};

pub use carry::Legacy;
pub use claims::Claims;
pub use mss::lower_mss;
pub use shadow::Remembered;

use compile::{Before, Code};

/// The rules of one family, ready to be asked. Workers share it; what changes in it are counters, and what limits and
/// statistics remember.
#[derive(Debug)]
pub struct Program {
    rules: Ruleset,
    code: ByFamily,
    counters: Counters,
    claims: Arc<Claims>,
    /// What was taken over from another program, until it is settled.
    estate: Mutex<Option<carry::Estate>>,
}

#[derive(Debug, Clone)]
enum ByFamily {
    V4(Code<u32>),
    V6(Code<u128>),
}

impl Program {
    /// Compiles rules. Links are those of the router the program is for: names of others agree with none.
    ///
    /// # Errors
    /// What reading the text would not have let through: jumps to nowhere and loops of jumps, addresses of the
    /// other family.
    pub fn compile(rules: &Ruleset, links: &Links) -> Result<Program, Vec<Problem>> {
        Self::after(rules, links, None)
    }

    /// The same; tables that say what they said `before`, in a program for the same links, are not compiled again but
    /// shared with it, and so is what their limits and statistics remember. A table of which one of these begins anew, or goes
    /// on elsewhere, is compiled: with that program comes where each counter goes on, as for [`inherit`](Program::inherit).
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn after(
        rules: &Ruleset,
        links: &Links,
        before: Option<(&Program, &[Option<Legacy>])>,
    ) -> Result<Program, Vec<Problem>> {
        let code = match (rules.family, before.map(|(b, from)| (&b.rules, &b.code, from))) {
            (Family::V4, Some((was, ByFamily::V4(code), from))) => {
                ByFamily::V4(compile::compile(rules, links, Some(Before { rules: was, code, from }))?)
            }
            (Family::V6, Some((was, ByFamily::V6(code), from))) => {
                ByFamily::V6(compile::compile(rules, links, Some(Before { rules: was, code, from }))?)
            }
            (Family::V4, _) => ByFamily::V4(compile::compile(rules, links, None)?),
            (Family::V6, _) => ByFamily::V6(compile::compile(rules, links, None)?),
        };
        let before = before.map(|(before, _)| before);
        let claims = before.filter(|before| code.shares(&before.code, TableName::Nat));
        let claims = claims.map_or_else(|| Arc::new(Claims::of(rules)), |before| before.claims.clone());
        let counters = Counters::new(counts(rules));
        Ok(Program { rules: rules.clone(), code, counters, claims, estate: Mutex::default() })
    }

    /// Whether a table was given and has a chain at a hook.
    pub fn has(&self, table: TableName, hook: Hook) -> bool {
        match &self.code {
            ByFamily::V4(code) => code.has(table, hook),
            ByFamily::V6(code) => code.has(table, hook),
        }
    }

    /// Whether a rule makes conntrack necessary: one that asks for a flow's state or mark, that marks flows, or that
    /// translates. A nat table without such a rule does not, nor does NOTRACK: as in the kernel (`nf_ct_netns_get`).
    pub fn needs_conntrack(&self) -> bool {
        match &self.code {
            ByFamily::V4(code) => code.needs_conntrack(),
            ByFamily::V6(code) => code.needs_conntrack(),
        }
    }

    /// The line of the first rule that does, in the text that these rules are of; 0 for one that stands in none. Goes
    /// through the rules.
    pub fn conntrack_line(&self) -> Option<usize> {
        let rules = self.rules.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules);
        rules.filter(|rule| compile::needs_conntrack(rule)).map(|rule| rule.line).min()
    }

    /// Asks a table's chain of the hook the packet is at. A table that was not given, or has no chain there, lets
    /// everything pass; so it is with packets of the other family.
    #[inline]
    pub fn run<E: Env>(&self, table: TableName, packet: &mut Packet, env: &mut E) -> Verdict {
        let lane = self.counters.lane(env.lane());
        match (&self.code, packet.meta.net) {
            (ByFamily::V4(code), Net::Ipv4) => code.run(table, lane, packet, env),
            (ByFamily::V6(code), Net::Ipv6) => code.run(table, lane, packet, env),
            _ => Verdict::Accept,
        }
    }

    /// Counts a packet of so many bytes once more for each of these counters, which the program has named to a
    /// [`Witness`](super::Witness).
    #[inline]
    pub fn count_again(&self, lane: usize, counters: &[u32], bytes: u64) {
        let lane = self.counters.lane(lane);
        for counter in counters {
            lane.count(*counter, bytes);
        }
    }

    /// The rules, with the counters as they stand.
    pub fn ruleset(&self) -> Ruleset {
        self.with(self.counters.read())
    }

    /// The same, and sets those counters to zero, by their numbers, for which it says so, at once: each packet is counted
    /// either in what is given or afterwards.
    pub fn take(&self, zero: impl Fn(usize) -> bool) -> Ruleset {
        self.with(self.counters.take(zero))
    }

    fn with(&self, counts: Vec<Count>) -> Ruleset {
        let mut rules = self.rules.clone();
        let mut counts = counts.into_iter();
        let mut next = || counts.next().unwrap_or_default();
        for chain in rules.tables.iter_mut().flat_map(|t| &mut t.chains) {
            chain.counters = next();
            chain.rules.iter_mut().for_each(|r| r.counters = next());
        }
        rules
    }

    /// The rule at a place, from 1 on, as it was given.
    pub fn rule(&self, table: TableName, chain: &str, number: usize) -> Option<&Rule> {
        let table = self.rules.tables.iter().find(|t| t.name == table)?;
        let chain = table.chains.iter().find(|c| c.name == chain)?;
        chain.rules.get(number.checked_sub(1)?)
    }

    /// Sets all counters to zero.
    pub fn zero(&self) {
        self.counters.zero();
    }

    /// Takes over what equal rules of another program have counted and remember: those of the same chain with the
    /// same words, whatever stands between them. Policies' counters too.
    pub fn carry(&self, old: &Program) {
        self.take_over(old, carry::pairs(&self.rules, &old.rules), |_| false);
    }

    /// Takes over what another program has counted and remembers, for each counter from where it says.
    pub fn inherit(&self, old: &Program, from: &[Option<Legacy>]) {
        let pairs = from.iter().map(|from| from.map(|l| l.counter)).collect();
        let zeroed = |new: usize| from.get(new).copied().flatten().is_some_and(|l| l.zeroed);
        self.take_over(old, pairs, zeroed);
    }

    fn take_over(&self, old: &Program, pairs: Vec<Option<usize>>, zeroed: impl Fn(usize) -> bool) {
        match (&self.code, &old.code) {
            (ByFamily::V4(new), ByFamily::V4(old)) => carry::memory(new, old, &pairs),
            (ByFamily::V6(new), ByFamily::V6(old)) => carry::memory(new, old, &pairs),
            _ => return,
        }
        let (mut counts, counted) = (self.counters.read(), old.counters.read());
        for ((new, count), from) in counts.iter_mut().enumerate().zip(&pairs) {
            if let Some(before) = from.and_then(|from| counted.get(from)) {
                *count = if zeroed(new) { Count::default() } else { *before };
            }
        }
        self.counters.set(counts);
        *self.estate() = Some(carry::Estate { pairs, counted });
    }

    /// Adds what `old`, from which this one has taken over, has counted since. To be called once nobody asks `old` any more:
    /// then no packet is missing, and none counts twice.
    pub fn settle(&self, old: &Program) {
        let Some(carry::Estate { pairs, counted }) = self.estate().take() else { return };
        let now = old.counters.read();
        let since = |from: usize| {
            let (now, then) = (now.get(from)?, counted.get(from)?);
            let packets = now.packets.wrapping_sub(then.packets);
            Some(Count { packets, bytes: now.bytes.wrapping_sub(then.bytes) })
        };
        self.counters.add(pairs.into_iter().map(|from| from.and_then(since).unwrap_or_default()));
    }

    fn estate(&self) -> MutexGuard<'_, Option<carry::Estate>> {
        self.estate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What DNAT and REDIRECT rules wait at in PREROUTING.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

impl ByFamily {
    /// Whether the other has the very same table.
    fn shares(&self, other: &ByFamily, table: TableName) -> bool {
        match (self, other) {
            (ByFamily::V4(a), ByFamily::V4(b)) => a.shares(b, table),
            (ByFamily::V6(a), ByFamily::V6(b)) => a.shares(b, table),
            _ => false,
        }
    }
}

/// Every counter of a ruleset in the order of their numbers.
fn counts(rules: &Ruleset) -> Vec<Count> {
    let chains = rules.tables.iter().flat_map(|t| &t.chains);
    chains.flat_map(|c| std::iter::once(c.counters).chain(c.rules.iter().map(|r| r.counters))).collect()
}

#[cfg(test)]
mod tests;
