//! A table while it is being changed: by the lines of a text, or by one command.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::filter::Legacy;
use crate::filter::rule::{Chain, Count, Policy, Rule, Rules, Table, TableName};
use crate::filter::targets::Target;

use super::known;
use super::line::{Command, Kind, LONGEST_CHAIN};
use super::no::{No, Why};

/// A table as far as it is done.
pub(super) struct Draft {
    /// Which.
    pub(super) name: TableName,
    chains: Vec<Option<Sketch>>,
    places: HashMap<String, usize>,
    rules: usize,
    /// Whether it is known how many rules go to each chain: counted when somebody asks.
    counted: bool,
}

/// A chain as far as it is done.
struct Sketch {
    name: String,
    policy: Option<Policy>,
    counters: Count,
    /// Where its policy goes on counting.
    from: Option<Legacy>,
    rules: Lines,
    /// How many rules go to it, once that is counted.
    references: usize,
}

/// The rules of a chain: those that were there, or others.
#[derive(Default)]
struct Lines {
    /// Shared with whoever has them, as long as nothing is changed; and where each goes on counting.
    before: Option<(Rules, Vec<Option<Legacy>>)>,
    /// From then on; rules are put in at both ends.
    own: VecDeque<Placed>,
}

impl Lines {
    fn len(&self) -> usize {
        self.before.as_ref().map_or(self.own.len(), |(rules, _)| rules.len())
    }

    fn iter(&self) -> impl Iterator<Item = &Rule> {
        let before = self.before.iter().flat_map(|(rules, _)| rules);
        before.chain(self.own.iter().map(|p| &p.rule))
    }

    /// To be changed.
    fn own(&mut self) -> &mut VecDeque<Placed> {
        if let Some((rules, from)) = self.before.take() {
            let placed = |(rule, from): (&Rule, _)| Placed { rule: rule.clone(), from };
            self.own = rules.iter().zip(from).map(placed).collect();
        }
        &mut self.own
    }
}

/// A rule, and where it goes on counting.
struct Placed {
    rule: Rule,
    from: Option<Legacy>,
}

impl From<Rule> for Placed {
    fn from(rule: Rule) -> Self {
        Placed { rule, from: None }
    }
}

impl Draft {
    /// A table with nothing but its built-in chains. Emptied, a table keeps the policies it had, as the kernel's does.
    pub(super) fn new(name: TableName, before: Option<&Table>) -> Self {
        let mut draft = Draft::empty(name);
        for hook in name.hooks() {
            let had = before.and_then(|t| t.chains.iter().find(|c| c.name == hook.name()));
            draft.insert(hook.name(), Some(had.and_then(|c| c.policy).unwrap_or(Policy::Accept)));
        }
        draft
    }

    fn empty(name: TableName) -> Self {
        Draft { name, chains: Vec::new(), places: HashMap::new(), rules: 0, counted: false }
    }

    /// A table as it stands; for each of its counters, where it goes on counting.
    pub(super) fn of(table: &Table, from: impl IntoIterator<Item = Option<Legacy>>) -> Self {
        let mut draft = Draft::empty(table.name);
        let mut from = from.into_iter().chain(std::iter::repeat(None));
        let mut next = || from.next().flatten();
        for chain in &table.chains {
            draft.insert(&chain.name, chain.policy);
            let Some(Some(sketch)) = draft.chains.last_mut() else { continue };
            (sketch.counters, sketch.from) = (chain.counters, next());
            let from = chain.rules.iter().map(|_| next()).collect();
            sketch.rules.before = Some((chain.rules.clone(), from));
            draft.rules += chain.rules.len();
        }
        draft
    }

    /// Counts how many rules go to each chain, from here on with every change.
    fn count_references(&mut self) {
        if std::mem::replace(&mut self.counted, true) {
            return;
        }
        let mut counts = vec![0; self.chains.len()];
        for to in self.chains.iter().flatten().flat_map(|c| c.rules.iter()).filter_map(goes_to) {
            if let Some(count) = self.places.get(to).and_then(|place| counts.get_mut(*place)) {
                *count += 1;
            }
        }
        for (chain, count) in self.chains.iter_mut().zip(counts) {
            chain.iter_mut().for_each(|c| c.references = count);
        }
    }

    /// A rule that goes to a chain has come, or gone.
    fn refer(&mut self, to: &str, come: bool) -> Result<(), No> {
        if self.counted {
            let chain = self.get_mut(to)?;
            chain.references = if come { chain.references + 1 } else { chain.references - 1 };
        }
        Ok(())
    }

    fn insert(&mut self, name: &str, policy: Option<Policy>) {
        self.places.insert(name.to_owned(), self.chains.len());
        self.chains.push(Some(Sketch {
            name: name.to_owned(),
            policy,
            counters: Count::default(),
            from: None,
            rules: Lines::default(),
            references: 0,
        }));
    }

    /// What kind of chain has a name.
    pub(super) fn kind(&self, name: &str) -> Kind {
        match self.get(name) {
            None => Kind::None,
            Some(c) if c.policy.is_some() => Kind::BuiltIn,
            Some(_) => Kind::User,
        }
    }

    /// How many rules there are.
    pub(super) fn rules(&self) -> usize {
        self.rules
    }

    fn get(&self, name: &str) -> Option<&Sketch> {
        self.chains.get(*self.places.get(name)?)?.as_ref()
    }

    fn get_mut(&mut self, name: &str) -> Result<&mut Sketch, No> {
        let place = self.places.get(name).and_then(|p| self.chains.get_mut(*p)).and_then(Option::as_mut);
        place.ok_or_else(|| {
            No::Refused(Why::NoChain, format!("there is no chain '{name}' in table {}", self.name.name()))
        })
    }

    /// `:CHAIN POLICY [PACKETS:BYTES]`. With `keep`, a user's chain that is there is emptied.
    pub(super) fn declare(
        &mut self,
        name: &str,
        policy: Option<Policy>,
        counters: Count,
        keep: bool,
    ) -> Result<(), No> {
        let place = match self.kind(name) {
            Kind::BuiltIn => self.get_mut(name)?,
            _ if policy.is_some() => {
                let text = format!("'{name}' is a user's chain: it has no policy, write '-'");
                return Err(No::Refused(Why::NoPolicyChain, text));
            }
            Kind::User if keep => return self.flush(name),
            // To iptables-restore this is a mistake in the text.
            _ => return self.create(name).map_err(|e| No::Misuse(e.to_string())),
        };
        if policy.is_some() {
            (place.policy, place.counters, place.from) = (policy, counters, None);
        }
        Ok(())
    }

    fn create(&mut self, name: &str) -> Result<(), No> {
        if name.len() > LONGEST_CHAIN {
            return Err(format!("'{name}' is no chain's name: {LONGEST_CHAIN} bytes at most").into());
        }
        if self.kind(name) != Kind::None {
            return Err(No::Refused(Why::ChainExists, format!("there is a chain '{name}' already")));
        }
        if is_verdict(name) {
            return Err(format!("'{name}' is the name of a target").into());
        }
        self.insert(name, None);
        Ok(())
    }

    /// Does what a line asks for.
    pub(super) fn apply(&mut self, command: Command) -> Result<(), No> {
        match command {
            Command::Append(chain, rules) => {
                rules.into_iter().try_for_each(|rule| self.put(&chain, None, rule))?
            }
            // One after the other at the same place, so that the last stands first.
            Command::Insert(chain, n, rules) => {
                rules.into_iter().try_for_each(|rule| self.put(&chain, Some(n), rule))?;
            }
            Command::Replace(chain, n, rule) => {
                self.take(&chain, n, Why::ReplacementTooBig)?;
                self.put(&chain, Some(n), *rule)?;
            }
            Command::Delete(chain, rules) => {
                for rule in rules {
                    let n = self.position(&chain, &rule)?;
                    self.take(&chain, n, Why::DeletionTooBig)?;
                }
            }
            Command::DeleteNumber(chain, n) => self.take(&chain, n, Why::DeletionTooBig)?,
            Command::Check(chain, rules) => {
                rules.iter().try_for_each(|rule| self.position(&chain, rule).map(drop))?;
            }
            Command::Flush(chain) => self.named(chain)?.iter().try_for_each(|name| self.flush(name))?,
            Command::Zero(chain, n) => self.zero(chain, n)?,
            Command::New(name) => self.create(&name)?,
            Command::Remove(chain) => self.remove(chain)?,
            Command::Rename(old, new) => self.rename(&old, new)?,
            Command::Policy(chain, policy, counters) => self.set_policy(&chain, policy, counters)?,
            Command::Nothing => {}
        }
        Ok(())
    }

    /// Puts a rule before the one of that number, or at the end.
    fn put(&mut self, chain: &str, n: Option<usize>, rule: Rule) -> Result<(), No> {
        let place = self.get_mut(chain)?;
        let most = place.rules.len();
        let at = n.map_or(most, |n| n.saturating_sub(1));
        if at > most {
            let text = format!("there are {most} rules in {chain}: none can become the {}th", at + 1);
            return Err(No::Refused(Why::InsertionTooBig, text));
        }
        self.goes_to_no_built_in(&rule)?;
        let goes_to = goes_to(&rule).map(str::to_owned);
        self.get_mut(chain)?.rules.own().insert(at, rule.into());
        self.rules += 1;
        goes_to.map_or(Ok(()), |to| self.refer(&to, true))
    }

    fn goes_to_no_built_in(&self, rule: &Rule) -> Result<(), No> {
        match goes_to(rule).filter(|to| self.kind(to) == Kind::BuiltIn) {
            Some(to) => {
                let text = format!("no rule can go to a built-in chain, and {to} is one");
                Err(No::Refused(Why::Invalid, text))
            }
            None => Ok(()),
        }
    }

    /// Takes a rule away, by its number.
    fn take(&mut self, chain: &str, n: usize, beyond: Why) -> Result<(), No> {
        let place = self.get_mut(chain)?;
        let most = place.rules.len();
        let at = n.saturating_sub(1);
        let taken = if at < most { place.rules.own().remove(at) } else { None };
        let Some(Placed { rule, .. }) = taken else {
            let text = format!("there is no rule {n} in {chain}, which has {most}");
            return Err(No::Refused(beyond, text));
        };
        self.rules -= 1;
        goes_to(&rule).map_or(Ok(()), |to| self.refer(to, false))
    }

    /// The number of the first rule that says the same.
    fn position(&mut self, chain: &str, rule: &Rule) -> Result<usize, No> {
        let refused = |text| No::Refused(Why::NoRule, text);
        let table = self.name.name();
        let place = self
            .get(chain)
            .ok_or_else(|| refused(format!("there is no chain '{chain}' in table {table}")))?;
        self.goes_to_no_built_in(rule)?;
        let found = place.rules.iter().position(|r| says_the_same(r, rule));
        // Of a rule that goes to a chain the tool says so, having looked for that chain last.
        let why = if goes_to(rule).is_some() { Why::NoChain } else { Why::NoRule };
        let none = || No::Refused(why, format!("there is no such rule in {chain}"));
        found.map(|i| i + 1).ok_or_else(none)
    }

    /// One chain, or all.
    fn named(&mut self, chain: Option<String>) -> Result<Vec<String>, No> {
        match chain {
            Some(name) => self.get_mut(&name).map(|c| vec![c.name.clone()]),
            None => Ok(self.chains.iter().flatten().map(|c| c.name.clone()).collect()),
        }
    }

    fn flush(&mut self, name: &str) -> Result<(), No> {
        let rules = std::mem::take(&mut self.get_mut(name)?.rules);
        self.rules -= rules.len();
        match self.counted {
            true => rules.iter().filter_map(goes_to).try_for_each(|to| self.refer(to, false)),
            false => Ok(()),
        }
    }

    fn zero(&mut self, chain: Option<String>, n: Option<usize>) -> Result<(), No> {
        let zero = |count: &mut Count, from: &mut Option<Legacy>| {
            *count = Count::default();
            *from = from.map(|from| Legacy { zeroed: true, ..from });
        };
        for name in self.named(chain)? {
            let place = self.get_mut(&name)?;
            match n {
                Some(n) => match place.rules.own().get_mut(n.saturating_sub(1)) {
                    Some(placed) => zero(&mut placed.rule.counters, &mut placed.from),
                    None => {
                        let text = format!("there is no rule {n} in {name}");
                        return Err(No::Refused(Why::CounterTooBig, text));
                    }
                },
                None => {
                    zero(&mut place.counters, &mut place.from);
                    place.rules.own().iter_mut().for_each(|p| zero(&mut p.rule.counters, &mut p.from));
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, chain: Option<String>) -> Result<(), No> {
        let all = chain.is_none();
        self.count_references();
        for name in self.named(chain)? {
            let place = self.get_mut(&name)?;
            let (why, text) = match place.policy {
                Some(_) if all => continue,
                Some(_) => (Why::BuiltIn, format!("{name} is a built-in chain: it stays")),
                None if place.references > 0 => {
                    (Why::HasReferences, format!("rules still go to chain '{name}'"))
                }
                None if place.rules.len() > 0 => (Why::HasRules, format!("chain '{name}' still has rules")),
                None => {
                    if let Some(slot) = self.places.remove(&name).and_then(|p| self.chains.get_mut(p)) {
                        *slot = None;
                    }
                    continue;
                }
            };
            return Err(No::Refused(why, text));
        }
        Ok(())
    }

    fn rename(&mut self, old: &str, new: String) -> Result<(), No> {
        if self.kind(&new) != Kind::None {
            return Err(No::Refused(Why::NameTaken, format!("there is a chain '{new}' already")));
        }
        if self.get_mut(old)?.policy.is_some() {
            let text = format!("{old} is a built-in chain: it keeps its name");
            return Err(No::Refused(Why::NoChain, text));
        }
        if is_verdict(&new) || known::is_target(&new) {
            return Err(No::Refused(Why::NameTaken, format!("'{new}' is the name of a target")));
        }
        self.get_mut(old)?.name.clone_from(&new);
        let go_there = |c: &&mut Sketch| c.rules.iter().any(|r| goes_to(r) == Some(old));
        for placed in self.chains.iter_mut().flatten().filter(go_there).flat_map(|c| c.rules.own()) {
            if goes_to(&placed.rule) != Some(old) {
                continue;
            }
            if let Target::Jump(to) | Target::Goto(to) = &mut Arc::make_mut(&mut placed.rule.says).target {
                to.clone_from(&new);
            }
        }
        if let Some(place) = self.places.remove(old) {
            self.places.insert(new, place);
        }
        Ok(())
    }

    fn set_policy(&mut self, chain: &str, policy: Option<Policy>, counters: Option<Count>) -> Result<(), No> {
        let refused = |why, text| Err(No::Refused(why, text));
        let Ok(place) = self.get_mut(chain) else {
            let text = format!("there is no chain '{chain}' in table {}", self.name.name());
            return refused(Why::NoPolicyChain, text);
        };
        if place.policy.is_none() {
            return refused(Why::NoPolicyChain, format!("'{chain}' is a user's chain: it has no policy"));
        }
        if policy.is_none() {
            return refused(Why::NoPolicy, "a policy is ACCEPT or DROP".into());
        }
        (place.policy, place.counters, place.from) = (policy, counters.unwrap_or_default(), None);
        Ok(())
    }

    /// The table: the users' chains by name, as the tool keeps them; and for each of its counters where it goes on.
    pub(super) fn finish(self) -> (Table, Vec<Option<Legacy>>) {
        let built_in = self.name.hooks().len();
        let mut sketches: Vec<Sketch> = self.chains.into_iter().flatten().collect();
        if let Some(users) = sketches.get_mut(built_in..) {
            users.sort_by(|a, b| a.name.cmp(&b.name));
        }
        let mut from = Vec::with_capacity(self.rules + sketches.len());
        let chains = sketches.into_iter().map(|c| {
            from.push(c.from);
            let rules = match c.rules.before {
                Some((rules, of)) => {
                    from.extend(of);
                    rules
                }
                None => {
                    from.extend(c.rules.own.iter().map(|p| p.from));
                    c.rules.own.into_iter().map(|p| p.rule).collect()
                }
            };
            Chain { name: c.name, policy: c.policy, counters: c.counters, rules }
        });
        let chains = chains.collect();
        (Table { name: self.name, chains }, from)
    }
}

/// Names that no chain may have: what iptables itself makes of them.
fn is_verdict(name: &str) -> bool {
    matches!(name, "ACCEPT" | "DROP" | "RETURN" | "QUEUE")
}

/// Whether two rules are the same, their counters and places aside.
pub(super) fn says_the_same(a: &Rule, b: &Rule) -> bool {
    a.says == b.says
}

/// The chain a rule goes to.
pub(super) fn goes_to(rule: &Rule) -> Option<&str> {
    match &rule.target {
        Target::Jump(to) | Target::Goto(to) => Some(to),
        _ => None,
    }
}
