//! What a command is when all of its words are read.

use crate::filter::matches::{AddrMask, Match, Not};
use crate::filter::rule::{Basic, Policy, Rule, Says, TableName};
use crate::filter::targets::Target;

use super::super::command::Manner;
use super::super::known;
use super::super::no::No;
use super::{Command, LONGEST_CHAIN, Reader, Said};

impl Reader<'_> {
    /// What the line says, when all of it is read.
    pub(super) fn command(mut self) -> Result<Command, No> {
        match self.other_family {
            true => Ok(Command::Nothing),
            false => self.edit(self.around.table),
        }
    }

    /// What the words behind `iptables` say, likewise.
    pub(super) fn said(mut self) -> Result<(Said, TableName, Manner), No> {
        let manner = self.manner.take().unwrap_or_default();
        if manner.help || manner.version {
            let said = if manner.help { Said::Help } else { Said::Version };
            return Ok((said, self.around.table, manner));
        }
        let command = self.command.ok_or("no command specified: such as -A or -L")?;
        let lists = matches!(command, 'L' | 'S');
        let of_lists =
            [("-n", manner.numeric), ("-x", manner.exact), ("--line-numbers", manner.line_numbers)];
        if let Some((name, _)) = of_lists.iter().find(|(_, given)| *given && command != 'L') {
            return Err(format!("Illegal option `{name}' with this command: -{command}").into());
        }
        if self.waits_between && !self.waits {
            return Err("--wait-interval only makes sense with --wait".into());
        }
        if manner.json && !lists {
            return Err(format!("--json has no sense beside -{command}").into());
        }
        if self.counters.is_some() && !matches!(command, 'A' | 'I' | 'R' | 'P') {
            return Err(format!("Illegal option `-c' with this command: -{command}").into());
        }
        let said = match lists {
            true => {
                self.chain_is_short()?;
                self.says_nothing_else(command)?;
                let (chain, number) = (self.chain.map(str::to_owned), self.number);
                let zero = self.zero.then_some(number.filter(|_| self.zeroes_one));
                Ok(Said::List { as_commands: command == 'S', chain, number, zero })
            }
            false => Err(command),
        };
        let table = match self.table {
            Some(name) => known::table(name, self.around.family),
            None => Ok(self.around.table),
        };
        // A table that is not there is found after all else is read, as iptables does.
        match said {
            Ok(said) => table.map(|table| (said, table, manner)),
            Err(_) => {
                let edit = self.edit(table.clone().unwrap_or(self.around.table))?;
                table.map(|table| (Said::Edit(edit), table, manner))
            }
        }
    }

    fn chain_is_short(&self) -> Result<(), No> {
        match self.chain.filter(|c| c.len() > LONGEST_CHAIN) {
            Some(name) => Err(too_long(name).into()),
            None => Ok(()),
        }
    }

    fn edit(&mut self, table: TableName) -> Result<Command, No> {
        let command = self.command.ok_or("no command specified: such as -A")?;
        self.chain_is_short()?;
        let chain = self.chain.map(str::to_owned);
        let number = self.number;
        if matches!(command, 'A' | 'I' | 'R' | 'C') || command == 'D' && number.is_none() {
            let chain = chain.ok_or("the chain is missing")?;
            let mut rules = self.rules(&chain, table)?;
            return Ok(match (command, number) {
                ('A', _) => Command::Append(chain, rules),
                ('I', n) => Command::Insert(chain, n.unwrap_or(1), rules),
                ('R', Some(n)) if rules.len() == 1 => Command::Replace(chain, n, Box::new(rules.remove(0))),
                ('R', _) => {
                    return Err(
                        "Replacement rule does not specify a unique address: one rule takes the place of one"
                            .into(),
                    );
                }
                ('C', _) => Command::Check(chain, rules),
                _ => Command::Delete(chain, rules),
            });
        }
        self.says_nothing_else(command)?;
        Ok(match (command, chain, number) {
            ('D', Some(chain), Some(n)) => Command::DeleteNumber(chain, n),
            ('F', chain, _) => Command::Flush(chain),
            ('Z', chain, n) => Command::Zero(chain, n),
            ('N', Some(chain), _) => {
                let name = new_name(chain)?;
                match known::is_target(&name) {
                    true => {
                        return Err(
                            format!("chain name may not clash with target name: {name} is one").into()
                        );
                    }
                    false => Command::New(name),
                }
            }
            ('X', chain, _) => Command::Remove(chain),
            ('E', Some(chain), _) => Command::Rename(chain, new_name(self.second.unwrap_or("").to_owned())?),
            ('P', Some(chain), _) => {
                let policy = policy(self.second.unwrap_or(""));
                if table == TableName::Nat && policy == Some(Policy::Drop) {
                    return Err(NAT_DROPS_NOTHING.into());
                }
                Command::Policy(chain, policy, self.counters)
            }
            _ => return Err("the chain is missing".into()),
        })
    }

    /// Refuses what belongs to a rule on a line that has none.
    fn says_nothing_else(&self, command: char) -> Result<(), No> {
        let given = [
            ('s', self.src.is_some()),
            ('d', self.dst.is_some()),
            ('p', self.given_proto),
            ('j', self.target.is_some() || self.target_options.is_some()),
            ('i', self.basic.in_link.is_some()),
            ('o', self.basic.out_link.is_some()),
            ('f', self.basic.fragment.is_some()),
            ('c', self.counters.is_some() && command != 'P'),
        ];
        if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
            return Err(format!("Illegal option `-{option}' with this command: -{command}").into());
        }
        // Matches say nothing here, and iptables lets them; but they must be right.
        self.matches().map(drop)
    }

    /// Its matches.
    fn matches(&self) -> Result<Vec<Match>, No> {
        let matches = self.matches.iter().map(|(spec, given)| {
            given.check()?;
            (spec.build)(given)
        });
        Ok(matches.collect::<Result<_, String>>()?)
    }

    /// The rules of the line: several where `-s` or `-d` list several addresses.
    fn rules(&mut self, chain: &str, table: TableName) -> Result<Vec<Rule>, No> {
        let target = match self.target_options.take() {
            Some((spec, given)) => {
                given.check()?;
                (spec.build)(&given)?
            }
            None => self.target.take().unwrap_or(Target::None),
        };
        if table == TableName::Nat && target == Target::Drop {
            return Err(NAT_DROPS_NOTHING.into());
        }
        let matches = self.matches()?;
        if matches!(chain, "PREROUTING" | "INPUT") && self.basic.out_link.is_some() {
            return Err(
                format!("Can't use -o with {chain}: it is not known where a packet will leave").into()
            );
        }
        if matches!(chain, "POSTROUTING" | "OUTPUT") && self.basic.in_link.is_some() {
            return Err(format!("Can't use -i with {chain}: it is not known where a packet came in").into());
        }
        let (src, dst) = (self.src.take(), self.dst.take());
        let several = [&src, &dst].iter().any(|n| n.as_ref().is_some_and(|n| n.value.len() > 1));
        if several && [&src, &dst].iter().any(|n| n.as_ref().is_some_and(|n| n.not)) {
            return Err(
                "! not allowed with multiple source or destination IP addresses: write a rule for each"
                    .into(),
            );
        }
        let mut basic = std::mem::take(&mut self.basic);
        let any_link = |l: &Not<String>| l.not || l.value != "+";
        basic.in_link = basic.in_link.filter(any_link);
        basic.out_link = basic.out_link.filter(any_link);
        let (src, dst) = (each(src), each(dst));
        if src.len().saturating_mul(dst.len()) > MOST_RULES_A_LINE {
            return Err(format!("the lists make more than {MOST_RULES_A_LINE} rules").into());
        }
        let mut rules = Vec::with_capacity(src.len() * dst.len());
        for src in &src {
            for dst in &dst {
                let basic = Basic { src: *src, dst: *dst, ..basic.clone() };
                let says = Says { basic, matches: matches.clone(), target: target.clone() };
                let counters = self.counters.unwrap_or_default();
                rules.push(Rule { line: self.around.line, counters, says: says.into() });
            }
        }
        Ok(rules)
    }
}

fn too_long(name: &str) -> String {
    format!("chain name `{name}' too long (must be under {} chars)", LONGEST_CHAIN + 1)
}

/// More rules than that a line of the longest length can't sensibly want.
const MOST_RULES_A_LINE: usize = 65_536;

const NAT_DROPS_NOTHING: &str = "The \"nat\" table is not intended for filtering, the use of DROP is therefore \
                                 inhibited: it sees only the first packet of a flow";

/// One for each address of a list; the whole network is no condition.
fn each(list: Option<Not<Vec<AddrMask>>>) -> Vec<Option<Not<AddrMask>>> {
    let Some(Not { not, value }) = list else { return vec![None] };
    value
        .into_iter()
        .map(|n| Some(Not { not, value: n }).filter(|n| n.not || !n.value.mask.is_unspecified()))
        .collect()
}

/// A policy by its name.
pub(in crate::filter::iptables) fn policy(text: &str) -> Option<Policy> {
    match text {
        "ACCEPT" => Some(Policy::Accept),
        "DROP" => Some(Policy::Drop),
        _ => None,
    }
}

/// A name that `-N` and `-E` may give.
fn new_name(name: String) -> Result<String, String> {
    match name.as_str() {
        _ if name.len() > LONGEST_CHAIN => Err(too_long(&name)),
        _ if name.starts_with('-') => Err(format!("chain name not allowed to start with `-': {name}")),
        _ if name.starts_with('!') => Err(format!("chain name not allowed to start with `!': {name}")),
        _ if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') => {
            Err(format!("Invalid chain name `{name}': it has no blanks and no quotes"))
        }
        _ => Ok(name),
    }
}
