//! A whole text: tables, chains, and the lines between them.

use crate::filter::problem::Problem;
use crate::filter::rule::{Count, Family, Ruleset, TableName};

use super::draft::Draft;
use super::line::{self, Around};
use super::{check, known, words};

/// The longest text, in bytes.
const LONGEST_TEXT: usize = 256 << 20;
/// The longest line, in bytes (the tool's buffer of 10,240, less its end).
const LONGEST_LINE: usize = 10_238;
/// The most rules in a text.
const MOST_RULES: usize = 1_000_000;
/// The most problems that are told; of the rest only how many.
const MOST_PROBLEMS: usize = 20;

/// Reads a ruleset as iptables-save writes them and iptables-restore takes them, counters included.
///
/// # Errors
/// All that is wrong, by line: at most 20 problems, and then how many more. Where anything is wrong there is no ruleset.
pub fn read(text: &str, family: Family) -> Result<Ruleset, Vec<Problem>> {
    read_at_most(text, family, MOST_RULES)
}

/// The same, with at most so many rules.
pub(super) fn read_at_most(text: &str, family: Family, most: usize) -> Result<Ruleset, Vec<Problem>> {
    let mut problems = Problems::default();
    if text.len() > LONGEST_TEXT {
        problems.add(0, format!("the text has {} bytes; {LONGEST_TEXT} at most", text.len()));
        return Err(problems.told());
    }
    let ruleset = Ruleset { family, tables: Vec::new() };
    let mut reader = Reader { family, ruleset, place: Place::Outside, done: 0, problems };
    let mut last = 0;
    for (i, line) in text.split('\n').enumerate() {
        if let Err(problem) = reader.line(i + 1, line) {
            reader.problems.add(i + 1, problem);
        }
        if reader.rules() > most {
            reader.problems.add(i + 1, format!("more than {most} rules"));
            return Err(reader.problems.told());
        }
        last = i + 1;
    }
    if let Place::In(draft) = &reader.place {
        reader.problems.add(last, format!("COMMIT is missing at the end of table {}", draft.name.name()));
    }
    match reader.problems.none() {
        true => Ok(reader.ruleset),
        false => Err(reader.problems.told()),
    }
}

/// What is wrong so far.
#[derive(Default)]
struct Problems {
    told: Vec<Problem>,
    more: usize,
}

impl Problems {
    fn add(&mut self, line: usize, text: String) {
        match self.told.len() < MOST_PROBLEMS {
            true => self.told.push(Problem { line, text }),
            false => self.more += 1,
        }
    }

    fn none(&self) -> bool {
        self.told.is_empty()
    }

    fn told(mut self) -> Vec<Problem> {
        self.told.sort_by_key(|p| p.line);
        if self.more > 0 {
            self.told.push(Problem { line: 0, text: format!("and {} more", self.more) });
        }
        self.told
    }
}

/// Where in the text we are.
enum Place {
    /// Between tables.
    Outside,
    /// In a table.
    In(Draft),
    /// In a table that there isn't, till its COMMIT.
    Nowhere,
}

struct Reader {
    family: Family,
    ruleset: Ruleset,
    place: Place,
    /// Rules of the tables that are read.
    done: usize,
    problems: Problems,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if line.len() > LONGEST_LINE {
            return Err(format!("the line has {} bytes; {LONGEST_LINE} at most", line.len()));
        }
        if line.ends_with('\r') {
            return Err("the line ends in a carriage return: lines end in a line feed alone".into());
        }
        if line.contains('\0') {
            return Err("the line has a zero byte in it".into());
        }
        match (line, &mut self.place) {
            ("COMMIT", Place::Outside) => Err("COMMIT stands outside of a table".into()),
            ("COMMIT", _) => {
                self.commit();
                Ok(())
            }
            (_, Place::Outside) => match line.strip_prefix('*') {
                Some(rest) => self.begin(rest),
                None => Err(format!(
                    "'{}' stands outside of a table: '*filter' or another begins one",
                    short(line)
                )),
            },
            (_, Place::In(draft)) => match line.strip_prefix('*') {
                Some(rest) => {
                    let before = draft.name.name();
                    let begun = self.begin(rest);
                    Err(match begun {
                        Ok(()) => format!("COMMIT is missing: table {before} is not at its end"),
                        Err(e) => format!("COMMIT is missing: table {before} is not at its end; and {e}"),
                    })
                }
                None => in_table(draft, self.family, number, line),
            },
            (_, Place::Nowhere) => Ok(()),
        }
    }

    fn begin(&mut self, rest: &str) -> Result<(), String> {
        let name = rest.split([' ', '\t']).find(|w| !w.is_empty());
        let found = TableName::ALL.into_iter().find(|t| Some(t.name()) == name);
        let Some(found) = found else {
            self.place = Place::Nowhere;
            return Err(match name {
                None => "the table's name is missing behind the '*'".into(),
                Some(name) if known::LATER_TABLES.contains(&name) => {
                    format!("table '{name}' is not supported here (yet)")
                }
                Some(name) => format!("table '{name}' is unknown: raw, mangle, nat or filter"),
            });
        };
        let before = self.ruleset.tables.iter().find(|t| t.name == found);
        self.place = Place::In(Draft::new(found, before));
        Ok(())
    }

    fn commit(&mut self) {
        let Place::In(draft) = std::mem::replace(&mut self.place, Place::Outside) else { return };
        self.done += draft.rules();
        let table = draft.finish();
        check::check(&table, self.family, &mut |line, text| self.problems.add(line, text));
        match self.ruleset.tables.iter_mut().find(|t| t.name == table.name) {
            Some(before) => *before = table,
            None => self.ruleset.tables.push(table),
        }
    }

    fn rules(&self) -> usize {
        match &self.place {
            Place::In(draft) => draft.rules() + self.done,
            _ => self.done,
        }
    }
}

fn in_table(draft: &mut Draft, family: Family, number: usize, line: &str) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix(':') {
        return chain(draft, rest);
    }
    let (counters, rest) = match line.strip_prefix('[') {
        Some(rest) => {
            let (inside, rest) = rest.split_once(']').ok_or("the ']' behind the counters is missing")?;
            (Some(count(inside)?), rest)
        }
        None => (None, line),
    };
    let words = words::split(rest)?;
    let chain = |name: &str| draft.kind(name);
    let around = Around { family, table: draft.name, chain: &chain, line: number };
    let command = line::read(&words, counters, &around)?;
    draft.apply(command)
}

/// `CHAIN POLICY [PACKETS:BYTES]`.
fn chain(draft: &mut Draft, rest: &str) -> Result<(), String> {
    let mut words = rest.split([' ', '\t']).filter(|w| !w.is_empty());
    let name = words.next().ok_or("the chain's name is missing behind the ':'")?;
    let policy =
        words.next().ok_or_else(|| format!("chain {name} needs a policy; '-' for a user's chain"))?;
    let counters = match words.next() {
        _ if policy == "-" => Count::default(),
        None => Count::default(),
        Some(word) => {
            let inside = word.strip_prefix('[').and_then(|w| w.strip_suffix(']'));
            count(inside.ok_or_else(|| format!("'{word}' is no pair of counters such as [0:0]"))?)?
        }
    };
    let policy = if policy == "-" { None } else { Some(line::policy(policy)?) };
    draft.declare(name, policy, counters)
}

/// `PACKETS:BYTES`.
fn count(text: &str) -> Result<Count, String> {
    let bad = || format!("'[{}]' is no pair of counters such as [0:0]", short(text));
    let (packets, bytes) = text.split_once(':').ok_or_else(bad)?;
    Ok(Count { packets: packets.parse().map_err(|_| bad())?, bytes: bytes.parse().map_err(|_| bad())? })
}

/// The beginning of what was written, for a message.
fn short(text: &str) -> &str {
    super::matches::cut(text, 40)
}
