//! A whole text: tables, chains, and the lines between them.

use crate::filter::problem::Problem;
use crate::filter::rule::{Count, Family, Ruleset, Table, TableName};

use crate::filter::Legacy;

use super::draft::Draft;
use super::line::{self, Around};
use super::no::{No, Why};
use super::{check, known, words};

/// The longest text, in bytes.
const LONGEST_TEXT: usize = 256 << 20;
/// The longest line, in bytes (the tool's buffer of 10,240, less its end).
const LONGEST_LINE: usize = 10_238;
/// The most rules in a text.
pub(super) const MOST_RULES: usize = 1_000_000;
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
    let how = How { noflush: false, counters: true, only: None, most };
    let tables = load(text, family, Vec::new(), &how).map_err(Problems::told)?;
    Ok(Ruleset { family, tables: tables.into_iter().map(|t| t.table).collect() })
}

/// How a text is to be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// Tables keep what the text does not say.
    pub(super) noflush: bool,
    /// With the counters of the text.
    pub(super) counters: bool,
    /// This table only.
    pub(super) only: Option<TableName>,
    /// So many rules in all tables together, those that stay included.
    pub(super) most: usize,
}

/// A table, and where each of its counters goes on.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) table: Table,
    pub(super) from: Vec<Option<Legacy>>,
}

/// Reads a text into tables that are there already.
pub(super) fn load(text: &str, family: Family, tables: Vec<Done>, how: &How) -> Result<Vec<Done>, Problems> {
    let mut problems = Problems::default();
    if text.len() > LONGEST_TEXT {
        problems.add(0, format!("the text has {} bytes; {LONGEST_TEXT} at most", text.len()).into());
        return Err(problems);
    }
    let done = tables.iter().flat_map(|t| &t.table.chains).map(|c| c.rules.len()).sum();
    let mut reader = Reader { family, tables, how, place: Place::Outside, done, problems };
    let mut last = 0;
    for (i, line) in text.split('\n').enumerate() {
        if let Err(problem) = reader.line(i + 1, line) {
            reader.problems.add(i + 1, problem);
        }
        if reader.rules() > how.most {
            let text = format!("more than {} rules", how.most);
            reader.problems.add(i + 1, No::Refused(Why::TooMany, text));
            return Err(reader.problems);
        }
        last = i + 1;
    }
    if let Place::In(draft) = &reader.place {
        // Behind the last line, whether that has an end or not.
        last += usize::from(!text.ends_with('\n'));
        let text = format!("COMMIT expected at line {last}, the end of table {}", draft.name.name());
        reader.problems.add(last, No::Refused(Why::Invalid, text));
    }
    match reader.problems.none() {
        true => Ok(reader.tables),
        false => Err(reader.problems),
    }
}

/// What is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<(usize, No)>,
    more: usize,
}

impl Problems {
    fn add(&mut self, line: usize, no: No) {
        match self.found.len() < MOST_PROBLEMS {
            true => self.found.push((line, no)),
            false => self.more += 1,
        }
    }

    fn none(&self) -> bool {
        self.found.is_empty()
    }

    /// The first by line, and how many more there are.
    pub(super) fn first(mut self) -> Option<(usize, No, usize)> {
        self.found.sort_by_key(|(line, _)| *line);
        let more = self.found.len().saturating_sub(1) + self.more;
        self.found.into_iter().next().map(|(line, no)| (line, no, more))
    }

    fn told(self) -> Vec<Problem> {
        let told = self.found.into_iter().map(|(line, no)| Problem { line, text: no.to_string() });
        let mut told: Vec<Problem> = told.collect();
        told.sort_by_key(|p| p.line);
        if self.more > 0 {
            told.push(Problem { line: 0, text: format!("and {} more", self.more) });
        }
        told
    }
}

/// Where in the text we are.
enum Place {
    /// Between tables.
    Outside,
    /// In a table.
    In(Draft),
    /// In a table that there isn't or that is not asked for, till its COMMIT.
    Nowhere,
}

struct Reader<'a> {
    family: Family,
    tables: Vec<Done>,
    how: &'a How,
    place: Place,
    /// Rules of the tables that are read, or were there before.
    done: usize,
    problems: Problems,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, line: &str) -> Result<(), No> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if line.len() > LONGEST_LINE {
            return Err(format!("the line has {} bytes; {LONGEST_LINE} at most", line.len()).into());
        }
        if line.ends_with('\r') {
            return Err("the line ends in a carriage return: lines end in a line feed alone".into());
        }
        if line.contains('\0') {
            return Err("the line has a zero byte in it".into());
        }
        match (line, &mut self.place) {
            ("COMMIT", Place::Outside) => {
                Err(No::Refused(Why::Invalid, "COMMIT stands outside of a table".into()))
            }
            ("COMMIT", _) => {
                self.commit();
                Ok(())
            }
            (_, Place::Outside) => match line.strip_prefix('*') {
                Some(rest) => Ok(self.begin(rest)?),
                None => {
                    let beginning = short(line);
                    let text =
                        format!("'{beginning}' stands outside of a table: '*filter' or another begins one");
                    Err(No::Refused(Why::Invalid, text))
                }
            },
            (_, Place::In(draft)) => match line.strip_prefix('*') {
                Some(rest) => {
                    let before = draft.name.name();
                    let begun = self.begin(rest);
                    let also = begun.err().map_or_else(String::new, |e| format!("; and {e}"));
                    Err(format!("COMMIT is missing: table {before} is not at its end{also}").into())
                }
                None => in_table(draft, self.family, self.how, number, line),
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
        if self.how.only.is_some_and(|only| only != found) {
            self.place = Place::Nowhere;
            return Ok(());
        }
        let before = self.tables.iter().find(|t| t.table.name == found);
        let draft = match before {
            Some(Done { table, from }) if self.how.noflush => Draft::of(table, from.iter().copied()),
            _ => Draft::new(found, before.map(|t| &t.table)),
        };
        self.done -= before.map_or(0, |t| t.table.chains.iter().map(|c| c.rules.len()).sum());
        self.place = Place::In(draft);
        Ok(())
    }

    fn commit(&mut self) {
        let Place::In(draft) = std::mem::replace(&mut self.place, Place::Outside) else { return };
        self.done += draft.rules();
        let (table, from) = draft.finish();
        check::check(&table, self.family, &mut |line, no| self.problems.add(line, no));
        let done = Done { table, from };
        match self.tables.iter_mut().find(|t| t.table.name == done.table.name) {
            Some(before) => *before = done,
            None => self.tables.push(done),
        }
    }

    fn rules(&self) -> usize {
        match &self.place {
            Place::In(draft) => draft.rules() + self.done,
            _ => self.done,
        }
    }
}

fn in_table(draft: &mut Draft, family: Family, how: &How, number: usize, line: &str) -> Result<(), No> {
    if let Some(rest) = line.strip_prefix(':') {
        return chain(draft, how, rest);
    }
    let (counters, rest) = match line.strip_prefix('[') {
        Some(rest) => {
            let (inside, rest) = rest.split_once(']').ok_or("the ']' behind the counters is missing")?;
            let counted = match how.counters {
                true => Some(count(inside)?),
                // Two of something they must be all the same.
                false => {
                    let two = inside.split_once(':').filter(|(a, b)| !a.is_empty() && !b.is_empty());
                    two.ok_or_else(|| no_count(inside))?;
                    None
                }
            };
            (counted, rest)
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
fn chain(draft: &mut Draft, how: &How, rest: &str) -> Result<(), No> {
    let mut words = rest.split([' ', '\t']).filter(|w| !w.is_empty());
    let name = words.next().ok_or("the chain's name is missing behind the ':'")?;
    let policy =
        words.next().ok_or_else(|| format!("chain {name} needs a policy; '-' for a user's chain"))?;
    let counters = match words.next() {
        _ if policy == "-" || !how.counters => Count::default(),
        None => Count::default(),
        Some(word) => {
            let inside = word.strip_prefix('[').and_then(|w| w.strip_suffix(']'));
            count(inside.ok_or_else(|| format!("'{word}' is no pair of counters such as [0:0]"))?)?
        }
    };
    let policy = match (policy, line::policy(policy)) {
        ("-", _) => None,
        (_, Some(policy)) => Some(policy),
        (_, None) => {
            let text = format!("'{policy}' is no policy: ACCEPT or DROP");
            return Err(No::Refused(Why::NoPolicy, text));
        }
    };
    draft.declare(name, policy, counters, how.noflush)
}

/// `PACKETS:BYTES`.
fn count(text: &str) -> Result<Count, String> {
    let bad = || no_count(text);
    let (packets, bytes) = text.split_once(':').ok_or_else(bad)?;
    Ok(Count { packets: packets.parse().map_err(|_| bad())?, bytes: bytes.parse().map_err(|_| bad())? })
}

fn no_count(text: &str) -> String {
    format!("'[{}]' is no pair of counters such as [0:0]", short(text))
}

/// The beginning of what was written, for a message.
fn short(text: &str) -> &str {
    super::matches::cut(text, 40)
}
