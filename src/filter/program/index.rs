//! Finding the rules of a long chain that a packet can agree with, without asking all of them.
//!
//! Rules that ask for the same fields (the same masks of addresses, a protocol, a destination port, links) share a
//! table; the packet's own fields are looked up in each table, and what is found is merged in the order of the rules
//! with those that ask for nothing that could be looked up:
//!
//! ```text
//!  chain   0 … 7     asked one by one: what begins a chain is often hit
//!          8 …       always, by state      4011, 9000           ─┐
//!                    dst/32 + proto + port  ─ lookup ─► 17, 4012  ├─► 17, 4011, 4012, 9000, each then asked in full
//!                    src/24                 ─ lookup ─► (none)   ─┘
//! ```
//!
//! A lookup only leaves out rules that could neither agree nor do anything: the fields of a match count only if no
//! match before it in its rule remembers something or may drop the packet. Packets about which a match may not be able
//! to say anything (see [`Facts::hot`](super::facts::Facts)) are not looked up at all, but ask every rule.

use std::collections::HashMap;

use crate::base::hash::BuildQuick;
use crate::filter::matches::{Ports, States, Which};
use crate::wire::proto;

use super::addr::Addr;
use super::check::Check;
use super::compile::{Chain, Rule, not};
use super::facts::Facts;
use super::links::LinkSet;

/// Rules at the beginning of a chain that are asked one by one.
const LINEAR: usize = 8;
/// A chain of fewer rules than this has no index: asking them is as quick.
const LEAST: usize = 32;
/// Tables of one index at most: each costs a lookup for each packet.
const TUPLES: usize = 8;
/// Rules asked one by one after coming back from a jump, before the tables are looked at anew.
const RESUME: usize = 8;
/// A rule of more ports or links than this is not looked up by them.
const SPREAD: usize = 16;

/// The index of one chain.
#[derive(Debug, Clone)]
pub(super) struct Index<A> {
    /// Numbers of rules, in lists, each ascending.
    lists: Vec<u32>,
    /// The list, for each state, of rules in no table.
    always: [Span; 5],
    /// The tables, by their first rule.
    tuples: Vec<Tuple<A>>,
}

/// A part of `lists`.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    from: u32,
    to: u32,
}

/// Rules that ask for the same fields.
#[derive(Debug, Clone)]
struct Tuple<A> {
    fields: Fields<A>,
    /// The first of the rules.
    first: u32,
    places: HashMap<Key<A>, Span, BuildQuick>,
}

/// Which fields are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
struct Fields<A> {
    src: A,
    dst: A,
    proto: bool,
    port: bool,
    in_link: bool,
    out_link: bool,
}

/// Their values; zero where they are not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Key<A> {
    src: A,
    dst: A,
    proto: u8,
    port: u16,
    in_link: u16,
    out_link: u16,
}

/// What a rule asks for that can be looked up.
#[derive(Debug, Clone)]
struct Asks<A> {
    fields: Fields<A>,
    src: A,
    dst: A,
    proto: u8,
    ports: Vec<u16>,
    in_links: Vec<u16>,
    out_links: Vec<u16>,
    states: States,
}

/// All that a packet can be without its flow's NAT.
const STATES: [States; 5] =
    [States::INVALID, States::ESTABLISHED, States::RELATED, States::NEW, States::UNTRACKED];
const ALL_STATES: States = States(31);

impl<A: Addr> Index<A> {
    /// An index, if the chain is long enough for one to help. `by_state`: whether states stay what they are.
    pub(super) fn new(rules: &[Rule<A>], sets: &[LinkSet], by_state: bool) -> Option<Self> {
        if rules.len() < LEAST {
            return None;
        }
        let mut asks: Vec<(u32, Asks<A>)> =
            (LINEAR..rules.len()).map(|n| (n as u32, Asks::of(&rules[n], sets))).collect();
        if !by_state {
            asks.iter_mut().for_each(|(_, a)| a.states = ALL_STATES);
        }
        let kept = choose(&mut asks);
        let mut index = Index { lists: Vec::new(), always: [Span::default(); 5], tuples: Vec::new() };
        for (place, state) in index.always.iter_mut().zip(STATES) {
            let from = index.lists.len() as u32;
            let of_state =
                asks.iter().filter(|(_, a)| a.fields == Fields::default() && a.states.intersects(state));
            index.lists.extend(of_state.map(|(n, _)| *n));
            *place = Span { from, to: index.lists.len() as u32 };
        }
        for fields in kept {
            let of_tuple: Vec<_> = asks.iter().filter(|(_, a)| a.fields == fields).collect();
            let Some(first) = of_tuple.first().map(|(n, _)| *n) else { continue };
            let mut found: HashMap<Key<A>, Vec<u32>, BuildQuick> = HashMap::default();
            for (n, asks) in of_tuple {
                asks.keys().for_each(|key| found.entry(key).or_default().push(*n));
            }
            let places = found.into_iter().map(|(key, list)| {
                let from = index.lists.len() as u32;
                index.lists.extend(list);
                (key, Span { from, to: index.lists.len() as u32 })
            });
            let places = places.collect();
            index.tuples.push(Tuple { fields, first, places });
        }
        index.tuples.sort_by_key(|t| t.first);
        (index.always.iter().any(|a| a.len() + LINEAR < rules.len())).then_some(index)
    }
}

impl<A> Index<A> {
    /// The bytes it takes, about.
    pub(super) fn memory(&self) -> usize {
        // A table of hashes is full to seven eighths at most.
        let places = |t: &Tuple<A>| t.places.capacity() * 8 / 7 * (size_of::<(Key<A>, Span)>() + 1);
        let tuples = self.tuples.iter().map(places).sum::<usize>() + size_of_val(&self.tuples[..]);
        tuples + self.lists.capacity() * size_of::<u32>()
    }
}

impl Span {
    fn len(self) -> usize {
        (self.to - self.from) as usize
    }

    /// The part from the first rule that is not before `rule`.
    fn beyond(self, rule: u32, lists: &[u32]) -> Span {
        let list = lists.get(self.from as usize..self.to as usize).unwrap_or_default();
        if list.first().is_none_or(|n| *n >= rule) {
            return self;
        }
        Span { from: self.from + list.partition_point(|n| *n < rule) as u32, to: self.to }
    }
}

impl<A: Addr> Fields<A> {
    /// Whether every packet that these fields find is found by `other` too.
    fn within(&self, other: &Fields<A>) -> bool {
        self.src & other.src == other.src
            && self.dst & other.dst == other.dst
            && self.proto >= other.proto
            && self.port >= other.port
            && self.in_link >= other.in_link
            && self.out_link >= other.out_link
    }

    /// How much is asked for, to choose among fields.
    fn weight(&self) -> u32 {
        let bits = |mask: A| mask.leading_ones().min(A::BITS);
        bits(self.src)
            + bits(self.dst)
            + u32::from(self.proto) * 2
            + u32::from(self.port) * 12
            + (u32::from(self.in_link) + u32::from(self.out_link)) * 4
    }

    /// The key of a packet; `None` if no packet like it can agree with a rule that asks for a port.
    #[inline]
    fn key(&self, f: &Facts<A>) -> Option<Key<A>> {
        Some(Key {
            src: f.src & self.src,
            dst: f.dst & self.dst,
            proto: if self.proto { f.proto? } else { 0 },
            port: if self.port { f.ports?.1 } else { 0 },
            in_link: if self.in_link { u16::try_from(f.in_link).ok()? } else { 0 },
            out_link: if self.out_link { u16::try_from(f.out_link).ok()? } else { 0 },
        })
    }
}

impl<A: Addr> Asks<A> {
    fn of(rule: &Rule<A>, sets: &[LinkSet]) -> Self {
        let mut a = Asks {
            fields: Fields::default(),
            src: A::default(),
            dst: A::default(),
            proto: 0,
            ports: Vec::new(),
            in_links: Vec::new(),
            out_links: Vec::new(),
            states: ALL_STATES,
        };
        let plain = |bit: u8| rule.flags & bit == 0;
        if plain(not::SRC) {
            (a.src, a.fields.src) = rule.src;
        }
        if plain(not::DST) {
            (a.dst, a.fields.dst) = rule.dst;
        }
        if let Some(proto) = rule.proto.filter(|_| plain(not::PROTO)) {
            (a.proto, a.fields.proto) = (proto, true);
        }
        let links = |set: u32| match set {
            0 => None,
            set => sets.get(set as usize).and_then(|s| s.places(SPREAD)),
        };
        if let Some(places) = links(rule.in_links) {
            (a.in_links, a.fields.in_link) = (places, true);
        }
        if let Some(places) = links(rule.out_links) {
            (a.out_links, a.fields.out_link) = (places, true);
        }
        for check in &rule.checks {
            match check {
                Check::Udp { dport, .. } => a.port([dport.0.value].into_iter(), dport.0.not),
                Check::Tcp(t) => a.port([t.dport.0.value].into_iter(), t.dport.0.not),
                Check::Multiport { which: Which::Destination, ports, not } => {
                    a.port(ports.iter().copied(), *not)
                }
                Check::State(s) => a.states.0 &= if s.not { !s.value.0 } else { s.value.0 },
                Check::Ct(c) => a.states.0 &= c.states().0,
                _ => {}
            }
            // What stands behind is asked only if this agrees, and asking this is not nothing.
            if check.remembers() || matches!(check, Check::Tcp(t) if t.option.value != 0) {
                break;
            }
        }
        let spread = |a: &Asks<A>| {
            let count = |asked: bool, n: usize| if asked { n } else { 1 };
            count(a.fields.port, a.ports.len())
                * count(a.fields.in_link, a.in_links.len())
                * count(a.fields.out_link, a.out_links.len())
        };
        a.fields.out_link &= spread(&a) <= SPREAD;
        a.fields.in_link &= spread(&a) <= SPREAD;
        a
    }

    /// Asks for one of these ports, unless it asks for others already.
    fn port(&mut self, ranges: impl Iterator<Item = Ports> + Clone, not: bool) {
        let many = ranges.clone().map(|r| usize::from(r.last.saturating_sub(r.first)) + 1).sum::<usize>();
        let has_ports =
            matches!(self.proto, proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP | proto::DCCP);
        if not || !has_ports || self.fields.port || many > SPREAD {
            return;
        }
        self.fields.port = true;
        self.ports = ranges.flat_map(|r| r.first..=r.last).collect();
        self.ports.sort_unstable();
        self.ports.dedup();
    }

    /// The keys under which the rule is found, one for each port and link.
    fn keys(&self) -> impl Iterator<Item = Key<A>> {
        let list = |asked: bool, values: &[u16]| if asked { values.to_vec() } else { vec![0] };
        let ports = list(self.fields.port, &self.ports);
        let ins = list(self.fields.in_link, &self.in_links);
        let outs = list(self.fields.out_link, &self.out_links);
        let key = Key {
            src: self.src & self.fields.src,
            dst: self.dst & self.fields.dst,
            proto: if self.fields.proto { self.proto } else { 0 },
            ..Key::default()
        };
        let mut keys = Vec::with_capacity(ports.len() * ins.len() * outs.len());
        for port in &ports {
            for in_link in &ins {
                keys.extend(outs.iter().map(|out| Key {
                    port: *port,
                    in_link: *in_link,
                    out_link: *out,
                    ..key
                }));
            }
        }
        keys.into_iter()
    }
}

/// Chooses the fields of at most [`TUPLES`] tables, and gives up fields of the rules until each fits one of them, or
/// asks for nothing.
fn choose<A: Addr>(asks: &mut [(u32, Asks<A>)]) -> Vec<Fields<A>> {
    // First prefixes are cut to few lengths, then what one link has more than another is given up.
    let coarser: [fn(&mut Fields<A>); 3] = [
        |_| {},
        |f| (f.src, f.dst) = (round(f.src, A::BITS / 4), round(f.dst, A::BITS / 4)),
        |f| {
            (f.src, f.dst) = (round(f.src, A::BITS / 2), round(f.dst, A::BITS / 2));
            if f.src != A::default() || f.dst != A::default() || f.port {
                (f.in_link, f.out_link) = (false, false);
            }
        },
    ];
    let mut kept: Vec<(Fields<A>, usize)> = Vec::new();
    for coarser in coarser {
        let mut counts: HashMap<Fields<A>, usize> = HashMap::new();
        for (_, a) in asks.iter_mut() {
            let mut fields = a.fields;
            coarser(&mut fields);
            // Rounded to nothing it would be asked always: better a table of its own, if there is room.
            if fields != Fields::default() {
                a.fields = fields;
            }
            *counts.entry(a.fields).or_default() += 1;
        }
        counts.remove(&Fields::default());
        kept = counts.into_iter().collect();
        if kept.len() <= TUPLES {
            break;
        }
    }
    // The most populous; among equals the most precise, so that the choice is always the same.
    kept.sort_by_key(|(f, n)| (std::cmp::Reverse((*n, f.weight())), *f));
    kept.truncate(TUPLES);
    let mut kept: Vec<Fields<A>> = kept.into_iter().map(|(f, _)| f).collect();
    kept.sort_by_key(|f| (std::cmp::Reverse(f.weight()), *f));
    for (_, a) in asks {
        let fits = kept.iter().find(|k| a.fields.within(k));
        a.fields = fits.copied().unwrap_or_default();
    }
    kept
}

/// A prefix's mask cut to a multiple of `step` bits; another mask is given up.
fn round<A: Addr>(mask: A, step: u32) -> A {
    let len = mask.leading_ones();
    match mask == A::mask(len) {
        true => A::mask(len / step * step),
        false => A::default(),
    }
}

/// The rules of a chain that a packet is to ask, one after the other.
#[derive(Debug)]
pub(super) struct Cursor {
    /// The next rule to be asked, while they are asked one by one.
    next: u32,
    /// Where that ends.
    linear: u32,
    /// The first rule that may be found by lookup.
    bound: u32,
    found: Option<Found>,
}

/// What lookups have found so far.
#[derive(Debug)]
struct Found {
    /// Tables looked at.
    looked: usize,
    /// The lists found, and the first rule of each that was not asked yet.
    lists: [Span; TUPLES + 1],
    heads: [u32; TUPLES + 1],
    open: usize,
}

impl Cursor {
    /// At a chain's first rule.
    #[inline]
    pub(super) fn enter<A: Addr>(chain: &Chain<A>, f: &Facts<A>) -> Self {
        Self::at(chain, 0, LINEAR as u32, f)
    }

    /// At a rule in the midst of it.
    #[inline]
    pub(super) fn resume<A: Addr>(chain: &Chain<A>, rule: u32, f: &Facts<A>) -> Self {
        Self::at(chain, rule, (rule + RESUME as u32).max(LINEAR as u32), f)
    }

    #[inline]
    fn at<A: Addr>(chain: &Chain<A>, next: u32, linear: u32, f: &Facts<A>) -> Self {
        let all = chain.rules.len() as u32;
        let linear = if chain.index.is_none() || f.hot { all } else { linear.min(all) };
        Cursor { next, linear, bound: linear, found: None }
    }

    /// The next rule to be asked.
    #[inline]
    pub(super) fn next<A: Addr>(&mut self, chain: &Chain<A>, f: &Facts<A>) -> Option<u32> {
        if self.next < self.linear {
            self.next += 1;
            return Some(self.next - 1);
        }
        let index = chain.index.as_ref()?;
        if self.bound as usize >= chain.rules.len() {
            return None;
        }
        let bound = self.bound;
        let rule = self.found.get_or_insert_with(|| Found::new(index, f, bound)).next(index, f, bound)?;
        self.next = rule + 1;
        Some(rule)
    }

    /// The number behind the last rule that [`next`](Cursor::next) gave.
    pub(super) fn behind(&self) -> u32 {
        self.next
    }
}

impl Found {
    fn new<A: Addr>(index: &Index<A>, f: &Facts<A>, bound: u32) -> Self {
        let mut found =
            Found { looked: 0, lists: [Span::default(); TUPLES + 1], heads: [u32::MAX; TUPLES + 1], open: 0 };
        let state = f.state.0.trailing_zeros() as usize;
        found.push(index.always.get(state).copied().unwrap_or_default(), &index.lists, bound);
        found
    }

    fn next<A: Addr>(&mut self, index: &Index<A>, f: &Facts<A>, bound: u32) -> Option<u32> {
        loop {
            let (list, rule) = self.first();
            // A table is looked at only when its first rule's turn has come.
            if let Some(tuple) = index.tuples.get(self.looked).filter(|t| t.first <= rule) {
                self.looked += 1;
                if let Some(span) = tuple.fields.key(f).and_then(|key| tuple.places.get(&key)) {
                    self.push(*span, &index.lists, bound);
                }
                continue;
            }
            if rule == u32::MAX {
                return None;
            }
            let span = &mut self.lists[list];
            span.from += 1;
            self.heads[list] = head(*span, &index.lists);
            return Some(rule);
        }
    }

    /// The list whose first rule comes first, and that rule.
    #[inline]
    fn first(&self) -> (usize, u32) {
        let heads = self.heads[..self.open].iter().copied().enumerate();
        heads.min_by_key(|(_, rule)| *rule).unwrap_or((0, u32::MAX))
    }

    #[inline]
    fn push(&mut self, span: Span, lists: &[u32], bound: u32) {
        let span = span.beyond(bound, lists);
        let rule = head(span, lists);
        if rule != u32::MAX {
            self.heads[self.open] = rule;
            self.lists[self.open] = span;
            self.open += 1;
        }
    }
}

#[inline]
fn head(span: Span, lists: &[u32]) -> u32 {
    if span.from < span.to { lists[span.from as usize] } else { u32::MAX }
}
