//! A packet's way through a table: `ipt_do_table` and `ip6t_do_table`.

use crate::base::Hook;
use crate::filter::counters::Lane;
use crate::filter::rule::{Policy, TableName};
use crate::filter::verdict::{Env, RuleRef, Verdict};
use crate::packet::Packet;

use super::addr::Addr;
use super::check::{Flow, Hotdrop};
use super::compile::{Chain, Code, Op, Placed, Rule, Table, netmap_action, not};
use super::facts::{self, Facts};
use super::index::Cursor;
use super::{act, mss, note};

/// Where to go on when a chain comes to its end.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    chain: u32,
    rule: u32,
}

/// As many jumps are gone back without a list of their own on the heap; nobody writes as many.
const FRAMES: usize = 16;

impl<A: Addr> Code<A> {
    /// Whether a table has a chain at a hook.
    pub(super) fn has(&self, table: TableName, hook: Hook) -> bool {
        self.tables[table as usize].as_ref().is_some_and(|t| t.table.entry[hook as usize].is_some())
    }

    /// What the table says.
    #[inline]
    pub(super) fn run<E: Env>(&self, name: TableName, lane: &Lane, p: &mut Packet, env: &mut E) -> Verdict {
        let Some(Placed { table, counters }) = &self.tables[name as usize] else { return Verdict::Accept };
        let Some(entry) = table.entry[env.hook() as usize] else { return Verdict::Accept };
        let Some(facts) = Facts::read(p, env) else { return Verdict::Accept };
        let noting = p.meta.trace.is_some() || env.witness().is_some();
        let mut run = Run {
            name,
            table,
            counters: *counters,
            lane,
            facts,
            flow: Flow::default(),
            p,
            env,
            verdict: Verdict::Accept,
            noting,
        };
        if table.depth <= FRAMES {
            run.walk(entry, &mut [Frame::default(); FRAMES]);
        } else {
            run.walk(entry, &mut vec![Frame::default(); table.depth]);
        }
        run.verdict
    }
}

impl<A: Addr> Table<A> {
    #[inline]
    fn basic(&self, r: &Rule<A>, f: &Facts<A>) -> Result<bool, Hotdrop> {
        let end = |addr: A, (value, mask): (A, A), bit: u8| (addr & mask == value) == (r.flags & bit == 0);
        if !end(f.src, r.src, not::SRC)
            || !end(f.dst, r.dst, not::DST)
            || r.in_links != 0 && !self.in_set(r.in_links, f.in_link)
            || r.out_links != 0 && !self.in_set(r.out_links, f.out_link)
        {
            return Ok(false);
        }
        if let Some(proto) = r.proto
            && (f.proto.ok_or(Hotdrop)? == proto) != (r.flags & not::PROTO == 0)
        {
            return Ok(false);
        }
        // Only IPv4 knows rules about fragments.
        Ok(r.flags & (not::FRAG | not::NOT_FRAG) == 0 || (f.frag != 0) == (r.flags & not::FRAG != 0))
    }

    #[inline]
    fn in_set(&self, set: u32, place: usize) -> bool {
        self.link_sets.get(set as usize).is_some_and(|s| s.has(place))
    }
}

/// What a walk through one table holds.
struct Run<'a, A, E> {
    name: TableName,
    table: &'a Table<A>,
    /// The number of the table's first counter.
    counters: u32,
    lane: &'a Lane,
    facts: Facts<A>,
    flow: Flow,
    p: &'a mut Packet,
    env: &'a mut E,
    verdict: Verdict,
    /// Whether somebody wants to know what the verdict rests on, or which rules match.
    noting: bool,
}

/// What a rule's target leads to.
enum Step {
    Next,
    Into(u32),
    /// Into a chain, to come back.
    Call(u32),
    Back,
    /// The verdict stands in the run.
    End,
}

impl<A: Addr, E: Env> Run<'_, A, E> {
    /// From the first rule of a chain to the verdict. `frames` are as many as jumps can be deep.
    #[inline]
    fn walk(&mut self, entry: u32, frames: &mut [Frame]) {
        let table = self.table;
        let chain_at = |n: u32| &table.chains[n as usize];
        let (mut at, mut deep) = (entry, 0);
        let mut chain = chain_at(at);
        let mut cursor = Cursor::enter(chain, &self.facts);
        loop {
            let step = match cursor.next(chain, &self.facts) {
                Some(n) => match self.rule(chain, n) {
                    Ok(step) => step,
                    Err(Hotdrop) => self.end(chain, n + 1, Verdict::Drop, "hotdrop"),
                },
                None => Step::Back,
            };
            match step {
                Step::Next => continue,
                Step::End => return,
                Step::Call(to) => {
                    // Compiling has counted how many there can be.
                    let Some(frame) = frames.get_mut(deep) else {
                        self.verdict = Verdict::Drop;
                        return;
                    };
                    *frame = Frame { chain: at, rule: cursor.behind() };
                    deep += 1;
                    at = to;
                    chain = chain_at(at);
                    cursor = Cursor::enter(chain, &self.facts);
                }
                Step::Into(to) => {
                    at = to;
                    chain = chain_at(at);
                    cursor = Cursor::enter(chain, &self.facts);
                }
                Step::Back if deep == 0 => return self.policy(entry),
                Step::Back => {
                    deep -= 1;
                    at = frames[deep].chain;
                    chain = chain_at(at);
                    cursor = Cursor::resume(chain, frames[deep].rule, &self.facts);
                }
            }
        }
    }

    /// Asks one rule, and does what it says if it agrees.
    #[inline]
    fn rule(&mut self, chain: &Chain<A>, n: u32) -> Result<Step, Hotdrop> {
        let rule = &chain.rules[n as usize];
        if !self.table.basic(rule, &self.facts)? {
            return Ok(Step::Next);
        }
        for check in &rule.checks {
            if self.noting
                && let Some(witness) = self.env.witness()
            {
                note::check(check, &self.facts, self.p, witness);
            }
            if !check.agrees(&self.facts, self.p, &mut self.flow, self.env)? {
                return Ok(Step::Next);
            }
        }
        self.lane.count(self.counters + rule.counter, self.p.l3_len() as u64);
        if self.noting {
            self.told(chain, n, rule);
        }
        let end = |run: &mut Self, verdict| {
            run.verdict = verdict;
            Step::End
        };
        Ok(match &rule.op {
            Op::None => Step::Next,
            Op::Accept => end(self, Verdict::Accept),
            Op::Drop => end(self, Verdict::Drop),
            Op::Return => Step::Back,
            Op::Jump(to) => Step::Call(*to),
            Op::Goto(to) => Step::Into(*to),
            Op::Reject(with) => end(self, Verdict::Reject(*with)),
            Op::Nat(action) => end(self, Verdict::Nat(**action)),
            Op::Netmap(range) => {
                let action = netmap_action(**range, self.env.hook());
                end(self, Verdict::Nat(action))
            }
            Op::Mss(how) => match mss::set(*how, self.p, &self.facts, self.env) {
                Ok(()) => Step::Next,
                Err(Hotdrop) => self.end(chain, n + 1, Verdict::Drop, "DROP by TCPMSS"),
            },
            other => {
                self.change(other);
                Step::Next
            }
        })
    }

    /// A rule has agreed: it is noted for those who want to know.
    #[cold]
    fn told(&mut self, chain: &Chain<A>, n: u32, rule: &Rule<A>) {
        if let Some(witness) = self.env.witness() {
            note::counted(rule, self.counters, witness);
        }
        if self.p.meta.trace.is_some() {
            let number = n as usize + 1;
            self.env.matched(self.p, RuleRef { table: self.name, chain: &chain.name, number });
        }
    }

    /// The targets after which the packet goes on.
    fn change(&mut self, op: &Op) {
        match op {
            Op::Mark(m) => self.p.meta.mark = act::xmark(self.p.meta.mark, *m),
            Op::Connmark(how) => act::connmark(self.p, *how, &mut self.flow, self.env),
            Op::Tos(m) => act::change_tos::<A>(self.p, *m),
            Op::Hops(how) => act::set_hops::<A>(self.p, *how),
            Op::Notrack => {
                act::notrack(self.p);
                self.facts.state = facts::state(self.p);
            }
            Op::Log(log) => super::log::write(log, self.p, self.env),
            _ => {}
        }
    }

    /// The end of a built-in chain.
    fn policy(&mut self, entry: u32) {
        let chain = &self.table.chains[entry as usize];
        let Some((policy, counter)) = chain.policy else { return };
        let counter = self.counters + counter;
        self.lane.count(counter, self.p.l3_len() as u64);
        if let Some(witness) = self.env.witness().filter(|_| self.noting) {
            witness.counts(counter);
        }
        match policy {
            Policy::Accept => self.end(chain, 0, Verdict::Accept, "ACCEPT"),
            Policy::Drop => self.end(chain, 0, Verdict::Drop, "DROP"),
        };
    }

    #[inline]
    fn end(&mut self, chain: &Chain<A>, number: u32, verdict: Verdict, says: &str) -> Step {
        if self.p.meta.trace.is_some() {
            self.env.decided(
                self.p,
                RuleRef { table: self.name, chain: &chain.name, number: number as usize },
                says,
            );
        }
        self.verdict = verdict;
        Step::End
    }
}
