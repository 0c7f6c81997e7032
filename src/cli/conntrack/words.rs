//! The options of conntrack(8): short ones, which may stand together behind one dash, and long ones, which may be cut
//! short where only one is meant.
//!
//! All of conntrack's are known by name, so that one which this router can't do is an error that says so, never one
//! that is ignored. `-j` alone means something else here, as in every verb: JSON; conntrack's is `--any-nat`.

pub(super) mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::control::protocol::{EventName, Family, FlowFilter, FlowForm, FlowKind, Flows};
use crate::wire::proto;
use values::{
    bytes, events, family, icmp, key, mark, output, port, prefix, protocol, seconds, status, translated, zone,
};

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Ask the router.
    Ask(Box<Asked>),
    /// Help.
    Help,
    /// Say who this is.
    Version,
}

/// What is asked of which router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) flows: Flows,
    /// How what is answered is to be shown.
    pub(super) form: FlowForm,
    /// A `--control` among the words.
    pub(super) control: Option<PathBuf>,
}

/// Reads the words.
///
/// # Errors
/// One sentence: which word is not understood or can't be done, and what can.
pub(super) fn parse(words: &[OsString]) -> Result<Said, String> {
    let strings: Option<Vec<&str>> = words.iter().map(|w| w.to_str()).collect();
    let strings = strings.ok_or("the words of conntrack must be plain text")?;
    let mut reader = Reader { words: &strings, at: 0, asked: Asking::default() };
    reader.read()?;
    reader.asked.finish()
}

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    List,
    Count,
    Get,
    Delete,
    Update,
    Event,
    Flush,
    Stats,
    Help,
    Version,
    Json,
    Control,
    Family,
    Proto,
    Output,
    OrigSrc,
    OrigDst,
    ReplySrc,
    ReplyDst,
    OrigSport,
    OrigDport,
    ReplySport,
    ReplyDport,
    State,
    Mark,
    Status,
    SrcNat,
    DstNat,
    AnyNat,
    IcmpType,
    IcmpCode,
    IcmpId,
    SrcKey,
    DstKey,
    Zone,
    EventMask,
    Buffer,
    Timeout,
    /// conntrack's, and not ours.
    Other,
}

/// Whether a value follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    No,
    Yes,
    /// Perhaps: the next word, unless it begins with a dash.
    Maybe,
}

/// Every option of conntrack 1.4.7: its letter (or a space), its long name, whether a value follows.
const OPTIONS: [(char, &str, Value, Does); 66] = [
    ('L', "dump", Value::Maybe, Does::List),
    ('C', "counter", Value::Maybe, Does::Count),
    (' ', "count", Value::Maybe, Does::Count),
    ('G', "get", Value::Maybe, Does::Get),
    ('D', "delete", Value::Maybe, Does::Delete),
    ('I', "create", Value::Maybe, Does::Other),
    ('U', "update", Value::Maybe, Does::Update),
    ('A', "add", Value::Maybe, Does::Other),
    ('E', "event", Value::Maybe, Does::Event),
    ('F', "flush", Value::Maybe, Does::Flush),
    ('S', "stats", Value::Maybe, Does::Stats),
    ('R', "load-file", Value::Yes, Does::Other),
    ('h', "help", Value::No, Does::Help),
    ('V', "version", Value::No, Does::Version),
    ('j', "json", Value::No, Does::Json),
    (' ', "control", Value::Yes, Does::Control),
    ('f', "family", Value::Yes, Does::Family),
    ('p', "protonum", Value::Yes, Does::Proto),
    (' ', "proto", Value::Yes, Does::Proto),
    ('o', "output", Value::Yes, Does::Output),
    ('s', "orig-src", Value::Yes, Does::OrigSrc),
    (' ', "src", Value::Yes, Does::OrigSrc),
    ('d', "orig-dst", Value::Yes, Does::OrigDst),
    (' ', "dst", Value::Yes, Does::OrigDst),
    ('r', "reply-src", Value::Yes, Does::ReplySrc),
    ('q', "reply-dst", Value::Yes, Does::ReplyDst),
    (' ', "sport", Value::Yes, Does::OrigSport),
    (' ', "orig-port-src", Value::Yes, Does::OrigSport),
    (' ', "dport", Value::Yes, Does::OrigDport),
    (' ', "orig-port-dst", Value::Yes, Does::OrigDport),
    (' ', "reply-port-src", Value::Yes, Does::ReplySport),
    (' ', "reply-port-dst", Value::Yes, Does::ReplyDport),
    (' ', "state", Value::Yes, Does::State),
    ('m', "mark", Value::Yes, Does::Mark),
    ('u', "status", Value::Yes, Does::Status),
    ('n', "src-nat", Value::Maybe, Does::SrcNat),
    ('g', "dst-nat", Value::Maybe, Does::DstNat),
    (' ', "any-nat", Value::Maybe, Does::AnyNat),
    ('t', "timeout", Value::Yes, Does::Timeout),
    ('e', "event-mask", Value::Yes, Does::EventMask),
    ('z', "zero", Value::No, Does::Other),
    ('b', "buffer-size", Value::Yes, Does::Buffer),
    ('c', "secmark", Value::Yes, Does::Other),
    ('i', "id", Value::Maybe, Does::Other),
    ('l', "label", Value::Yes, Does::Other),
    (' ', "label-add", Value::Yes, Does::Other),
    (' ', "label-del", Value::Yes, Does::Other),
    ('w', "zone", Value::Yes, Does::Zone),
    (' ', "orig-zone", Value::Yes, Does::Zone),
    (' ', "reply-zone", Value::Yes, Does::Zone),
    (' ', "tuple-src", Value::Yes, Does::Other),
    (' ', "tuple-dst", Value::Yes, Does::Other),
    (' ', "mask-src", Value::Yes, Does::Other),
    (' ', "mask-dst", Value::Yes, Does::Other),
    (' ', "icmp-type", Value::Yes, Does::IcmpType),
    (' ', "icmp-code", Value::Yes, Does::IcmpCode),
    (' ', "icmp-id", Value::Yes, Does::IcmpId),
    (' ', "icmpv6-type", Value::Yes, Does::IcmpType),
    (' ', "icmpv6-code", Value::Yes, Does::IcmpCode),
    (' ', "icmpv6-id", Value::Yes, Does::IcmpId),
    (' ', "srckey", Value::Yes, Does::SrcKey),
    (' ', "orig-key-src", Value::Yes, Does::SrcKey),
    (' ', "dstkey", Value::Yes, Does::DstKey),
    (' ', "orig-key-dst", Value::Yes, Does::DstKey),
    (' ', "orig-vtag", Value::Yes, Does::Other),
    (' ', "reply-vtag", Value::Yes, Does::Other),
];

/// What can be done, for those who asked for something else.
const ABLE: &str = "`sekisho conntrack --help` says what there is";

/// Goes through the words.
struct Reader<'a> {
    words: &'a [&'a str],
    at: usize,
    asked: Asking,
}

impl<'a> Reader<'a> {
    fn read(&mut self) -> Result<(), String> {
        while let Some(&word) = self.words.get(self.at) {
            self.at += 1;
            if let Some(long) = word.strip_prefix("--") {
                let (name, value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v)));
                let (_, name, takes, does) = long_option(name)?;
                let value = match (takes, value) {
                    (Value::No, Some(_)) => return Err(format!("--{name} takes no value")),
                    (_, Some(value)) => Some(value),
                    (takes, None) => self.value(&format!("--{name}"), takes)?,
                };
                self.asked.take(does, &format!("--{name}"), value)?;
            } else if let Some(letters) = word.strip_prefix('-').filter(|l| !l.is_empty()) {
                self.letters(letters)?;
            } else {
                return Err(format!("unknown argument `{word}': {ABLE}"));
            }
        }
        Ok(())
    }

    /// `-L`, `-ptcp`, `-Lo extended`.
    fn letters(&mut self, mut letters: &'a str) -> Result<(), String> {
        while let Some(letter) = letters.chars().next() {
            letters = &letters[letter.len_utf8()..];
            let name = format!("-{letter}");
            let found = OPTIONS.iter().find(|o| o.0 == letter && letter != ' ');
            let Some((_, _, takes, does)) = found else {
                return Err(format!("unknown option `{name}': {ABLE}"));
            };
            let value = match takes {
                Value::No => None,
                // A command's table stands in a word of its own: other commands and options follow a letter.
                Value::Yes if !letters.is_empty() => Some(std::mem::take(&mut letters)),
                Value::Maybe if !letters.is_empty() => None,
                takes => self.value(&name, *takes)?,
            };
            self.asked.take(*does, &name, value)?;
        }
        Ok(())
    }

    /// The value in the next word.
    fn value(&mut self, name: &str, takes: Value) -> Result<Option<&'a str>, String> {
        let next = self.words.get(self.at).copied();
        let value = match takes {
            Value::No => None,
            Value::Yes => Some(next.ok_or_else(|| format!("option `{name}' requires an argument: {ABLE}"))?),
            Value::Maybe => next.filter(|w| !w.starts_with('-')),
        };
        self.at += usize::from(value.is_some());
        Ok(value)
    }
}

/// The option of this name, or the only one that begins with it.
fn long_option(name: &str) -> Result<(char, &'static str, Value, Does), String> {
    if let Some(exact) = OPTIONS.iter().find(|o| o.1 == name) {
        return Ok(*exact);
    }
    let begin: Vec<_> = OPTIONS.iter().filter(|o| !name.is_empty() && o.1.starts_with(name)).collect();
    match begin.as_slice() {
        [] => Err(format!("unknown option `--{name}': {ABLE}")),
        [first, rest @ ..] if rest.iter().all(|o| o.3 == first.3 && first.3 != Does::Other) => Ok(**first),
        several => {
            let names: Vec<_> = several.iter().map(|o| format!("--{}", o.1)).collect();
            Err(format!("unknown option `--{name}': it may be {}, so write more of it", names.join(" or ")))
        }
    }
}

/// What has been asked for so far.
#[derive(Default)]
struct Asking {
    command: Option<(Does, String)>,
    form: FlowForm,
    /// Words about the form, as they were said.
    formed: Option<String>,
    filter: FlowFilter,
    kinds: Option<Vec<EventName>>,
    buffer: Option<u32>,
    timeout: Option<u32>,
    control: Option<PathBuf>,
    state: Option<String>,
    help: bool,
    version: bool,
}

impl Asking {
    fn take(&mut self, does: Does, name: &str, value: Option<&str>) -> Result<(), String> {
        let f = &mut self.filter;
        let text = value.unwrap_or_default();
        match does {
            Does::List
            | Does::Count
            | Does::Get
            | Does::Delete
            | Does::Update
            | Does::Event
            | Does::Flush
            | Does::Stats => {
                if self.command.replace((does, name.to_owned())).is_some() {
                    return Err(format!(
                        "Invalid commands combination: {name} comes on top of another, and one is done at a time"
                    ));
                }
                if !matches!(value, None | Some("conntrack")) {
                    return Err(match text {
                        "expect" | "dying" | "unconfirmed" => {
                            format!(
                                "{name}: {text} is not supported by this version: there is the table conntrack"
                            )
                        }
                        _ => format!("unknown type `{text}': there is the table conntrack"),
                    });
                }
            }
            Does::Help => self.help = true,
            Does::Version => self.version = true,
            Does::Json => {
                self.form.kind = FlowKind::Json;
                self.formed = Some(name.to_owned());
            }
            Does::Control => self.control = Some(text.into()),
            Does::Family => f.family = Some(family(name, text)?),
            Does::Proto => f.proto = Some(protocol(name, text)?),
            Does::Output => {
                output(name, text, &mut self.form)?;
                self.formed = Some(format!("{name} {text}"));
            }
            Does::OrigSrc => f.orig_src = Some(prefix(name, text)?),
            Does::OrigDst => f.orig_dst = Some(prefix(name, text)?),
            Does::ReplySrc => f.reply_src = Some(prefix(name, text)?),
            Does::ReplyDst => f.reply_dst = Some(prefix(name, text)?),
            Does::OrigSport => f.orig_sport = Some(port(name, text)?),
            Does::OrigDport => f.orig_dport = Some(port(name, text)?),
            Does::ReplySport => f.reply_sport = Some(port(name, text)?),
            Does::ReplyDport => f.reply_dport = Some(port(name, text)?),
            Does::SrcKey => f.orig_sport = Some(key(name, text)?),
            Does::DstKey => f.orig_dport = Some(key(name, text)?),
            Does::IcmpType => f.icmp_type = Some(icmp(name, text)?),
            Does::IcmpCode => f.icmp_code = Some(icmp(name, text)?),
            Does::IcmpId => f.icmp_id = Some(port(name, text)?),
            Does::State => self.state = Some(text.to_owned()),
            Does::Mark => f.mark = Some(mark(name, text)?),
            Does::Status => {
                let (set, not) = status(name, text)?;
                (f.status, f.status_not) = (f.status | set, f.status_not | not);
            }
            Does::SrcNat => f.src_nat = Some(translated(name, value)?),
            Does::DstNat => f.dst_nat = Some(translated(name, value)?),
            Does::AnyNat => f.any_nat = Some(translated(name, value)?),
            Does::Zone => zone(name, text)?,
            Does::EventMask => {
                let kinds = events(name, text)?;
                self.kinds.get_or_insert_default().extend(kinds);
            }
            Does::Buffer => self.buffer = Some(bytes(name, text)?),
            Does::Timeout => self.timeout = Some(seconds(name, text)?),
            Does::Other => return Err(format!("conntrack {name} is not supported: {ABLE}")),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Said, String> {
        if self.help {
            return Ok(Said::Help);
        }
        if self.version {
            return Ok(Said::Version);
        }
        if let Some(state) = self.state.take() {
            self.filter.state = Some(values::state(self.filter.proto, &state)?);
        }
        let Some((command, name)) = self.command.take() else {
            return Err(format!("what is conntrack to do? {ABLE}"));
        };
        self.belongs(command, &name)?;
        let new_mark = if command == Does::Update { self.filter.mark.take() } else { None };
        agree(&mut self.filter)?;
        let Asking { form, filter, kinds, buffer, timeout, control, .. } = self;
        let flows = match command {
            Does::Count => Flows::Count,
            Does::Flush => Flows::Flush {},
            Does::Stats => Flows::Stats,
            Does::Get => {
                names_one(&filter)?;
                Flows::Get { form, filter }
            }
            Does::Delete => Flows::Delete { form, filter },
            Does::Update if new_mark.is_none() && timeout.is_none() => {
                return Err(format!("{name} needs to know what to change: -m VALUE[/MASK], -t SECONDS"));
            }
            Does::Update => Flows::Update { form, filter, mark: new_mark, timeout },
            Does::Event => Flows::Events { form, filter, kinds: kinds.unwrap_or_default(), buffer },
            _ => Flows::List { form, filter },
        };
        Ok(Said::Ask(Box::new(Asked { flows, form, control })))
    }

    /// Refuses what the command would have to ignore.
    fn belongs(&self, command: Does, name: &str) -> Result<(), String> {
        let counts = matches!(command, Does::Count | Does::Stats | Does::Flush);
        if counts && self.filter != FlowFilter::default() {
            return Err(illegal("a filter", name, "is about all flows"));
        }
        let plain = FlowForm { kind: FlowKind::Text, ..self.form } == FlowForm::default();
        let json = plain && matches!(self.form.kind, FlowKind::Text | FlowKind::Json);
        if let Some(formed) = self.formed.as_ref().filter(|_| counts && !(json && command == Does::Stats)) {
            return Err(illegal(formed, name, "shows no flows"));
        }
        if (self.kinds.is_some() || self.buffer.is_some()) && command != Does::Event {
            let option = if self.kinds.is_some() { "--event-mask" } else { "--buffer-size" };
            return Err(illegal(option, name, "follows no events, as -E does"));
        }
        if self.timeout.is_some() && command != Does::Update {
            return Err(illegal("--timeout", name, "sets none, as -U does"));
        }
        let FlowForm { kind, extended, id, timestamp } = self.form;
        match kind {
            FlowKind::Save if extended || id => {
                let text = "-o save has neither families nor numbers";
                Err(format!("cannot combine save output with any other output type: {text}"))
            }
            FlowKind::Save | FlowKind::Xml if timestamp => {
                Err("-o timestamp goes with lines and with JSON".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// That an option is nothing to a command.
fn illegal(option: &str, name: &str, what: &str) -> String {
    format!("Illegal option `{option}' with this command: {name} {what}")
}

/// Makes sure that a filter names one flow.
fn names_one(f: &FlowFilter) -> Result<(), String> {
    let Some(proto) = f.proto else {
        let text = "-G finds a flow by its protocol, so add -p tcp or -p udp";
        return Err(format!("You need to supply the `--protonum' option for this command: {text}"));
    };
    let host = |net: Option<ipnet::IpNet>| net.is_some_and(|n| n.prefix_len() == n.max_prefix_len());
    if !host(f.orig_src) || !host(f.orig_dst) {
        let text = "-G finds a flow by its two addresses";
        return Err(format!("you have to specify `--src' and `--dst': {text}"));
    }
    let missing = match proto {
        proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP => {
            f.orig_sport.is_none() || f.orig_dport.is_none()
        }
        proto::ICMP | proto::ICMPV6 => f.icmp_type.is_none() || f.icmp_id.is_none(),
        _ => false,
    };
    match missing {
        false => Ok(()),
        true if matches!(proto, proto::ICMP | proto::ICMPV6) => {
            let text = "-G finds a query by its type and its identifier, so add --icmp-type and --icmp-id";
            Err(format!("You need to supply the `--icmp-type' option for this command: {text}"))
        }
        true => {
            let text = "-G finds a flow by its two ports";
            Err(format!("you have to specify `--sport' and `--dport': {text}"))
        }
    }
}

/// Makes sure that what is asked for can be at all: one family, ports where there are ports.
fn agree(f: &mut FlowFilter) -> Result<(), String> {
    let nets = [f.orig_src, f.orig_dst, f.reply_src, f.reply_dst].into_iter().flatten().map(|n| n.addr());
    let ends = [f.src_nat, f.dst_nat, f.any_nat].into_iter().flatten().filter_map(|t| t.to);
    for addr in nets.chain(ends) {
        let family = if addr.is_ipv4() { Family::Inet } else { Family::Inet6 };
        if *f.family.get_or_insert(family) != family {
            return Err(format!("mismatched address family: {addr} is of another than the rest"));
        }
    }
    let ports = [f.orig_sport, f.orig_dport, f.reply_sport, f.reply_dport].iter().any(Option::is_some);
    let with_ports = [proto::TCP, proto::UDP, proto::UDP_LITE, proto::SCTP, proto::DCCP, proto::GRE];
    if ports && !f.proto.is_some_and(|p| with_ports.contains(&p)) {
        let text = "it needs a protocol that has ports, so add -p tcp or -p udp";
        return Err(format!("unknown option `{}': {text}", port_option(f)));
    }
    let icmp = f.icmp_type.is_some() || f.icmp_code.is_some() || f.icmp_id.is_some();
    if icmp && !matches!(f.proto, Some(proto::ICMP | proto::ICMPV6)) {
        let option = match (f.icmp_type, f.icmp_code) {
            (Some(_), _) => "--icmp-type",
            (None, Some(_)) => "--icmp-code",
            (None, None) => "--icmp-id",
        };
        return Err(format!("unknown option `{option}': it is of ICMP, so add -p icmp or -p icmpv6"));
    }
    Ok(())
}

/// The first of the options about ports that was given.
fn port_option(f: &FlowFilter) -> &'static str {
    match (f.orig_sport, f.orig_dport, f.reply_sport) {
        (Some(_), _, _) => "--sport",
        (None, Some(_), _) => "--dport",
        (None, None, Some(_)) => "--reply-port-src",
        (None, None, None) => "--reply-port-dst",
    }
}

#[cfg(test)]
mod tests;
