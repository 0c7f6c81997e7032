//! A table while its lines are read.

use std::collections::{HashMap, VecDeque};

use crate::filter::rule::{Chain, Count, Policy, Rule, Table, TableName};
use crate::filter::targets::Target;

use super::line::{Command, Kind, LONGEST_CHAIN};

/// A table as far as it was read.
pub(super) struct Draft {
    /// Which.
    pub(super) name: TableName,
    chains: Vec<Option<Sketch>>,
    places: HashMap<String, usize>,
    rules: usize,
}

/// A chain as far as it was read; rules are put in at both ends.
struct Sketch {
    name: String,
    policy: Option<Policy>,
    counters: Count,
    rules: VecDeque<Rule>,
    /// How many rules go to it.
    references: usize,
}

impl Draft {
    /// A table with nothing but its built-in chains. Given again, a table keeps the policies it had, as the kernel's does.
    pub(super) fn new(name: TableName, before: Option<&Table>) -> Self {
        let mut draft = Draft { name, chains: Vec::new(), places: HashMap::new(), rules: 0 };
        for hook in name.hooks() {
            let had = before.and_then(|t| t.chains.iter().find(|c| c.name == hook.name()));
            draft.insert(hook.name(), Some(had.and_then(|c| c.policy).unwrap_or(Policy::Accept)));
        }
        draft
    }

    fn insert(&mut self, name: &str, policy: Option<Policy>) {
        self.places.insert(name.to_owned(), self.chains.len());
        self.chains.push(Some(Sketch {
            name: name.to_owned(),
            policy,
            counters: Count::default(),
            rules: VecDeque::new(),
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

    fn get_mut(&mut self, name: &str) -> Result<&mut Sketch, String> {
        let place = self.places.get(name).and_then(|p| self.chains.get_mut(*p)).and_then(Option::as_mut);
        place.ok_or_else(|| format!("there is no chain '{name}' in table {}", self.name.name()))
    }

    /// `:CHAIN POLICY [PACKETS:BYTES]`.
    pub(super) fn declare(
        &mut self,
        name: &str,
        policy: Option<Policy>,
        counters: Count,
    ) -> Result<(), String> {
        let place = match self.kind(name) {
            Kind::BuiltIn => self.get_mut(name)?,
            _ if policy.is_some() => {
                return Err(format!("'{name}' is a user's chain: it has no policy, write '-'"));
            }
            _ => return self.create(name),
        };
        if policy.is_some() {
            place.policy = policy;
            place.counters = counters;
        }
        Ok(())
    }

    fn create(&mut self, name: &str) -> Result<(), String> {
        if name.len() > LONGEST_CHAIN {
            return Err(format!("'{name}' is no chain's name: {LONGEST_CHAIN} bytes at most"));
        }
        if self.kind(name) != Kind::None {
            return Err(format!("there is a chain '{name}' already"));
        }
        if matches!(name, "ACCEPT" | "DROP" | "RETURN" | "QUEUE") {
            return Err(format!("'{name}' is the name of a target"));
        }
        self.insert(name, None);
        Ok(())
    }

    /// Does what a line asks for.
    pub(super) fn apply(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Append(chain, rules) => {
                rules.into_iter().try_for_each(|rule| self.put(&chain, None, rule))?
            }
            // One after the other at the same place, so that the last stands first.
            Command::Insert(chain, n, rules) => {
                rules.into_iter().try_for_each(|rule| self.put(&chain, Some(n), rule))?;
            }
            Command::Replace(chain, n, rule) => {
                self.take(&chain, n)?;
                self.put(&chain, Some(n), *rule)?;
            }
            Command::Delete(chain, rules) => {
                for rule in rules {
                    let n = self.position(&chain, &rule)?;
                    self.take(&chain, n)?;
                }
            }
            Command::DeleteNumber(chain, n) => self.take(&chain, n)?,
            Command::Check(chain, rules) => {
                rules.iter().try_for_each(|rule| self.position(&chain, rule).map(drop))?;
            }
            Command::Flush(chain) => {
                for name in self.named(chain)? {
                    while !self.get_mut(&name)?.rules.is_empty() {
                        self.take(&name, 1)?;
                    }
                }
            }
            Command::Zero(chain, n) => self.zero(chain, n)?,
            Command::New(name) => self.create(&name)?,
            Command::Remove(chain) => self.remove(chain)?,
            Command::Rename(old, new) => self.rename(&old, new)?,
            Command::Policy(chain, policy, counters) => {
                let place = self.get_mut(&chain)?;
                if place.policy.is_none() {
                    return Err(format!("'{chain}' is a user's chain: it has no policy"));
                }
                place.policy = Some(policy);
                place.counters = counters.unwrap_or_default();
            }
            Command::Nothing => {}
        }
        Ok(())
    }

    /// Puts a rule before the one of that number, or at the end.
    fn put(&mut self, chain: &str, n: Option<usize>, rule: Rule) -> Result<(), String> {
        let place = self.get_mut(chain)?;
        let most = place.rules.len();
        let at = n.map_or(most, |n| n.saturating_sub(1));
        if at > most {
            return Err(format!("there are {most} rules in {chain}: none can become the {}th", at + 1));
        }
        let goes_to = goes_to(&rule).map(str::to_owned);
        place.rules.insert(at, rule);
        self.rules += 1;
        if let Some(to) = goes_to {
            self.get_mut(&to)?.references += 1;
        }
        Ok(())
    }

    /// Takes a rule away, by its number.
    fn take(&mut self, chain: &str, n: usize) -> Result<(), String> {
        let place = self.get_mut(chain)?;
        let most = place.rules.len();
        let Some(rule) = place.rules.remove(n.saturating_sub(1)) else {
            return Err(format!("there is no rule {n} in {chain}, which has {most}"));
        };
        self.rules -= 1;
        if let Some(to) = goes_to(&rule) {
            self.get_mut(to)?.references -= 1;
        }
        Ok(())
    }

    /// The number of the first rule that says the same.
    fn position(&mut self, chain: &str, rule: &Rule) -> Result<usize, String> {
        let same = |r: &Rule| r.basic == rule.basic && r.matches == rule.matches && r.target == rule.target;
        let found = self.get_mut(chain)?.rules.iter().position(same);
        found.map(|i| i + 1).ok_or_else(|| format!("there is no such rule in {chain}"))
    }

    /// One chain, or all.
    fn named(&mut self, chain: Option<String>) -> Result<Vec<String>, String> {
        match chain {
            Some(name) => self.get_mut(&name).map(|c| vec![c.name.clone()]),
            None => Ok(self.chains.iter().flatten().map(|c| c.name.clone()).collect()),
        }
    }

    fn zero(&mut self, chain: Option<String>, n: Option<usize>) -> Result<(), String> {
        for name in self.named(chain)? {
            let place = self.get_mut(&name)?;
            match n {
                Some(n) => match place.rules.get_mut(n.saturating_sub(1)) {
                    Some(rule) => rule.counters = Count::default(),
                    None => return Err(format!("there is no rule {n} in {name}")),
                },
                None => {
                    place.counters = Count::default();
                    place.rules.iter_mut().for_each(|r| r.counters = Count::default());
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, chain: Option<String>) -> Result<(), String> {
        let all = chain.is_none();
        for name in self.named(chain)? {
            let place = self.get_mut(&name)?;
            match place.policy {
                Some(_) if all => continue,
                Some(_) => return Err(format!("{name} is a built-in chain: it stays")),
                None if place.references > 0 => return Err(format!("rules still go to chain '{name}'")),
                None if !place.rules.is_empty() => return Err(format!("chain '{name}' still has rules")),
                None => {}
            }
            if let Some(slot) = self.places.remove(&name).and_then(|p| self.chains.get_mut(p)) {
                *slot = None;
            }
        }
        Ok(())
    }

    fn rename(&mut self, old: &str, new: String) -> Result<(), String> {
        if self.get_mut(old)?.policy.is_some() {
            return Err(format!("{old} is a built-in chain: it keeps its name"));
        }
        if self.kind(&new) != Kind::None {
            return Err(format!("there is a chain '{new}' already"));
        }
        self.get_mut(old)?.name.clone_from(&new);
        for rule in self.chains.iter_mut().flatten().flat_map(|c| &mut c.rules) {
            if let Target::Jump(to) | Target::Goto(to) = &mut rule.target
                && to == old
            {
                to.clone_from(&new);
            }
        }
        if let Some(place) = self.places.remove(old) {
            self.places.insert(new, place);
        }
        Ok(())
    }

    /// The table: the users' chains by name, as the tool keeps them.
    pub(super) fn finish(self) -> Table {
        let built_in = self.name.hooks().len();
        let chains = self.chains.into_iter().flatten().map(|c| Chain {
            name: c.name,
            policy: c.policy,
            counters: c.counters,
            rules: c.rules.into(),
        });
        let mut chains: Vec<Chain> = chains.collect();
        if let Some(users) = chains.get_mut(built_in..) {
            users.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Table { name: self.name, chains }
    }
}

/// The chain a rule goes to.
pub(super) fn goes_to(rule: &Rule) -> Option<&str> {
    match &rule.target {
        Target::Jump(to) | Target::Goto(to) => Some(to),
        _ => None,
    }
}
