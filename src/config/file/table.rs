//! Reading one TOML table: values by key, each with its place, each mistake reported once.
//!
//! Knows nothing of what the keys mean.

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::keys::{SECTIONS, Section};
use super::lines::lines;
use crate::config::near::nearest;
use crate::config::problem::{Sink, quoted};

/// A value and the byte it stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct At<T> {
    pub(in crate::config) value: T,
    pub(in crate::config) at: usize,
}

impl<T> At<T> {
    /// Another value at the same place.
    pub(in crate::config) fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { value: f(self.value), at: self.at }
    }
}

/// What became of a key that was asked for.
#[derive(Debug, Default)]
pub(in crate::config) enum Given<T> {
    /// It isn't there.
    #[default]
    No,
    /// It is there, and what is wrong with it has been reported.
    Unreadable,
    /// It is there.
    Yes(At<T>),
}

impl<T> Given<T> {
    /// The value, if there is one.
    pub(in crate::config) fn get(&self) -> Option<&At<T>> {
        match self {
            Given::Yes(at) => Some(at),
            _ => None,
        }
    }

    /// Whether the key isn't there at all.
    pub(in crate::config) fn is_absent(&self) -> bool {
        matches!(self, Given::No)
    }
}

/// A value that may be a word or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum Scalar {
    Word(String),
    Number(i64),
}

/// One table of the file, and how to name it in a message.
#[derive(Debug)]
pub(in crate::config) struct Table<'t> {
    what: String,
    at: usize,
    table: &'t DeTable<'t>,
}

impl<'t> Table<'t> {
    /// The file itself.
    pub(super) fn root(table: &'t DeTable<'t>) -> Self {
        Table { what: String::new(), at: 0, table }
    }

    /// The table in `value`, whose place is `at`, or a complaint that shows how it is written.
    pub(super) fn of(
        value: &'t Spanned<DeValue<'t>>,
        at: usize,
        what: &str,
        written: &str,
        sink: &mut Sink<'_>,
    ) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Table { what: what.to_owned(), at, table }),
            other => {
                sink.wrong(at, format!("{what}: {written} is expected here, not {}", shown(other)));
                None
            }
        }
    }

    /// The same table under another name.
    pub(super) fn named(&self, what: String) -> Self {
        Table { what, ..*self }
    }

    pub(super) fn what(&self) -> &str {
        &self.what
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Its keys and values.
    pub(super) fn entries(&self) -> impl Iterator<Item = (At<&'t str>, &'t Spanned<DeValue<'t>>)> + use<'t> {
        self.table.iter().map(|(k, v)| (At { value: k.get_ref().as_ref(), at: k.span().start }, v))
    }

    /// Reports the keys that don't belong to the section.
    pub(super) fn only(&self, section: &Section, sink: &mut Sink<'_>) {
        for (key, _) in self.entries() {
            if !section.keys.contains(&key.value) {
                let hint = match elsewhere(section, key.value) {
                    Some(header) => format!("it belongs in {header}"),
                    None => match nearest(key.value, section.keys.iter().copied()) {
                        Some(known) => format!("did you mean {known}?"),
                        None => format!("known here: {}", section.keys.join(", ")),
                    },
                };
                sink.wrong(key.at, self.about(&format!("unknown key {}; {hint}", quoted(key.value))));
            }
        }
    }

    /// The keys of the section that are there, each at its place.
    pub(super) fn present(&self, section: &Section) -> impl Iterator<Item = At<&'static str>> {
        section.keys.iter().filter_map(|key| {
            let (k, _) = self.table.get_key_value(*key)?;
            Some(At { value: *key, at: k.span().start })
        })
    }

    /// The table under a key.
    pub(super) fn table(&self, key: &'static str, written: &str, sink: &mut Sink<'_>) -> Option<Table<'t>> {
        let (k, v) = self.table.get_key_value(key)?;
        if matches!(v.get_ref(), DeValue::Array(a) if a.iter().any(|v| v.get_ref().is_table())) {
            sink.wrong(k.span().start, format!("[[{key}]]: write {written}, in single brackets"));
            return None;
        }
        Table::of(v, k.span().start, written, written, sink)
    }

    /// The tables under a key that is written `[[key]]`, in order.
    pub(super) fn tables(&self, key: &'static str, sink: &mut Sink<'_>) -> Vec<Table<'t>> {
        let Some((k, v)) = self.table.get_key_value(key) else { return Vec::new() };
        let at = k.span().start;
        match v.get_ref() {
            DeValue::Array(list) => {
                let written = format!("[[{key}]]");
                let table = |v: &'t Spanned<DeValue<'t>>| Table::of(v, v.span().start, key, &written, sink);
                list.iter().filter_map(table).collect()
            }
            DeValue::Table(_) => {
                sink.wrong(at, format!("[{key}]: write [[{key}]], in double brackets: there may be several"));
                Vec::new()
            }
            other => {
                sink.wrong(at, format!("{key}: write [[{key}]] sections, not {}", shown(other)));
                Vec::new()
            }
        }
    }

    pub(super) fn string(&self, key: &str, sink: &mut Sink<'_>) -> Given<String> {
        self.read(key, "text in quotes", sink, |v| v.as_str().map(str::to_owned))
    }

    /// A text of several lines, with the line of the file that each stands on. `file` is what the table was read from.
    pub(super) fn text(&self, key: &str, file: &str, sink: &mut Sink<'_>) -> Given<(String, Vec<usize>)> {
        let span = self.table.get(key).map_or(0..0, Spanned::span);
        match self.string(key, sink) {
            Given::Yes(text) => {
                let lines = lines(file.get(span).unwrap_or(""), sink.line(text.at));
                Given::Yes(text.map(|text| (text, lines)))
            }
            Given::Unreadable => Given::Unreadable,
            Given::No => Given::No,
        }
    }

    pub(super) fn bool(&self, key: &str, sink: &mut Sink<'_>) -> Given<bool> {
        self.read(key, "true or false", sink, DeValue::as_bool)
    }

    pub(super) fn number(&self, key: &str, sink: &mut Sink<'_>) -> Given<i64> {
        self.read(key, "a whole number without quotes", sink, |v| v.as_integer().and_then(integer))
    }

    pub(super) fn scalar(&self, key: &str, sink: &mut Sink<'_>) -> Given<Scalar> {
        self.read(key, "a word in quotes or a whole number", sink, |v| match v {
            DeValue::String(s) => Some(Scalar::Word(s.to_string())),
            DeValue::Integer(n) => integer(n).map(Scalar::Number),
            _ => None,
        })
    }

    pub(super) fn array(&self, key: &str, sink: &mut Sink<'_>) -> Given<&'t DeArray<'t>> {
        self.read(key, "a list in brackets", sink, DeValue::as_array)
    }

    /// The texts in a list; those that are none are reported one by one.
    pub(super) fn strings(&self, key: &str, sink: &mut Sink<'_>) -> Vec<At<String>> {
        let Given::Yes(list) = self.array(key, sink) else { return Vec::new() };
        let mut texts = Vec::new();
        for v in list.value.iter() {
            let at = v.span().start;
            match v.get_ref() {
                DeValue::String(s) => texts.push(At { value: s.to_string(), at }),
                other => {
                    let text = format!("{key}: each is text in quotes, not {}", shown(other));
                    sink.wrong(at, self.about(&text));
                }
            }
        }
        texts
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        sink: &mut Sink<'_>,
        take: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Given<T> {
        let Some(v) = self.table.get(key) else { return Given::No };
        let at = v.span().start;
        match take(v.get_ref()) {
            Some(value) => Given::Yes(At { value, at }),
            None => {
                let text = format!("{key}: {expected} is expected, not {}", shown(v.get_ref()));
                sink.wrong(at, self.about(&text));
                Given::Unreadable
            }
        }
    }

    /// The message, with what it is about in front.
    fn about(&self, text: &str) -> String {
        if self.what.is_empty() { text.to_owned() } else { format!("{}: {text}", self.what) }
    }
}

/// The section other than `here` that a key belongs to, if it is only one.
fn elsewhere(here: &Section, key: &str) -> Option<&'static str> {
    let mut at = SECTIONS.iter().filter(|s| s.header != here.header && s.keys.contains(&key));
    match (at.next(), at.next()) {
        (Some(section), None) => Some(section.header),
        _ => None,
    }
}

fn integer(n: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(n.as_str(), n.radix()).ok()
}

/// A value as it may be shown in a message.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(s) => format!("the text {}", quoted(s)),
        DeValue::Integer(n) if integer(n).is_none() => "a number beyond all bounds".into(),
        DeValue::Integer(n) => format!("the number {}", n.as_str()),
        DeValue::Float(n) => format!("the number {}", n.as_str()),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
