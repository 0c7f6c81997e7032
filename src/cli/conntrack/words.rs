//! The options of conntrack(8): short ones, which may stand together behind one dash, and long ones, which may be cut
//! short where only one is meant.
//!
//! All of conntrack's are known by name, so that one which this router can't do is an error that says so, never one
//! that is ignored. `-j` alone means something else here, as in every verb: JSON; conntrack's is `--any-nat`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::control::protocol::{Family, FlowFilter, FlowForm, Flows, Translated};
use crate::packet::Status;
use crate::wire::proto;

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Ask the router.
    Ask(Box<Asked>),
    /// Help.
    Help,
}

/// What is asked of which router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) flows: Flows,
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
    Help,
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
const OPTIONS: [(char, &str, Value, Does); 57] = [
    ('L', "dump", Value::Maybe, Does::List),
    ('C', "counter", Value::Maybe, Does::Count),
    ('G', "get", Value::Maybe, Does::Other),
    ('D', "delete", Value::Maybe, Does::Other),
    ('I', "create", Value::Maybe, Does::Other),
    ('U', "update", Value::Maybe, Does::Other),
    ('A', "add", Value::Maybe, Does::Other),
    ('E', "event", Value::Maybe, Does::Other),
    ('F', "flush", Value::Maybe, Does::Other),
    ('S', "stats", Value::No, Does::Other),
    ('R', "load-file", Value::Yes, Does::Other),
    ('h', "help", Value::No, Does::Help),
    ('V', "version", Value::No, Does::Other),
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
    ('t', "timeout", Value::Yes, Does::Other),
    ('e', "event-mask", Value::Yes, Does::Other),
    ('z', "zero", Value::No, Does::Other),
    ('b', "buffer-size", Value::Yes, Does::Other),
    ('c', "secmark", Value::Yes, Does::Other),
    ('i', "id", Value::Maybe, Does::Other),
    ('l', "label", Value::Yes, Does::Other),
    (' ', "label-add", Value::Yes, Does::Other),
    (' ', "label-del", Value::Yes, Does::Other),
    ('w', "zone", Value::Yes, Does::Other),
    (' ', "orig-zone", Value::Yes, Does::Other),
    (' ', "reply-zone", Value::Yes, Does::Other),
    (' ', "tuple-src", Value::Yes, Does::Other),
    (' ', "tuple-dst", Value::Yes, Does::Other),
    (' ', "mask-src", Value::Yes, Does::Other),
    (' ', "mask-dst", Value::Yes, Does::Other),
    (' ', "icmp-type", Value::Yes, Does::Other),
    (' ', "icmp-code", Value::Yes, Does::Other),
    (' ', "icmp-id", Value::Yes, Does::Other),
    (' ', "orig-vtag", Value::Yes, Does::Other),
];

/// What can be done, for those who asked for something else.
const ABLE: &str = "this version lists (-L) and counts (-C); see `sekisho conntrack --help`";

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
                return Err(format!("'{word}' is no option of conntrack: {ABLE}"));
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
                return Err(format!("{name} is no option of conntrack: {ABLE}"));
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
            Value::Yes => Some(next.ok_or_else(|| format!("{name} needs a value"))?),
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
        [] => Err(format!("--{name} is no option of conntrack: {ABLE}")),
        [first, rest @ ..] if rest.iter().all(|o| o.3 == first.3 && first.3 != Does::Other) => Ok(**first),
        several => {
            let names: Vec<_> = several.iter().map(|o| format!("--{}", o.1)).collect();
            Err(format!("--{name} may be {}: write more of it", names.join(" or ")))
        }
    }
}

/// What has been asked for so far.
#[derive(Default)]
struct Asking {
    command: Option<Does>,
    form: Option<FlowForm>,
    filter: FlowFilter,
    control: Option<PathBuf>,
    help: bool,
}

impl Asking {
    fn take(&mut self, does: Does, name: &str, value: Option<&str>) -> Result<(), String> {
        let f = &mut self.filter;
        let text = value.unwrap_or_default();
        match does {
            Does::List | Does::Count => {
                if self.command.replace(does).is_some() {
                    return Err(format!("{name}: one command at a time"));
                }
                if !matches!(value, None | Some("conntrack")) {
                    let is_known = matches!(text, "expect" | "dying" | "unconfirmed");
                    let what = if is_known { "is not supported by this version" } else { "is no table" };
                    return Err(format!("{name}: {text} {what}: there is the table conntrack"));
                }
            }
            Does::Help => self.help = true,
            Does::Json => self.form = Some(FlowForm::Json),
            Does::Control => self.control = Some(text.into()),
            Does::Family => f.family = Some(family(name, text)?),
            Does::Proto => f.proto = Some(protocol(name, text)?),
            Does::Output => self.form = output(name, text)?.or(self.form),
            Does::OrigSrc => f.orig_src = Some(prefix(name, text)?),
            Does::OrigDst => f.orig_dst = Some(prefix(name, text)?),
            Does::ReplySrc => f.reply_src = Some(prefix(name, text)?),
            Does::ReplyDst => f.reply_dst = Some(prefix(name, text)?),
            Does::OrigSport => f.orig_sport = Some(port(name, text)?),
            Does::OrigDport => f.orig_dport = Some(port(name, text)?),
            Does::ReplySport => f.reply_sport = Some(port(name, text)?),
            Does::ReplyDport => f.reply_dport = Some(port(name, text)?),
            Does::State => f.state = Some(text.to_ascii_uppercase()),
            Does::Mark => f.mark = Some(mark(name, text)?),
            Does::Status => f.status |= status(name, text)?,
            Does::SrcNat => f.src_nat = Some(translated(name, value)?),
            Does::DstNat => f.dst_nat = Some(translated(name, value)?),
            Does::AnyNat => f.any_nat = Some(translated(name, value)?),
            Does::Other => return Err(format!("conntrack {name} is not supported: {ABLE}")),
        }
        Ok(())
    }

    fn finish(self) -> Result<Said, String> {
        let Asking { command, form, mut filter, control, help } = self;
        if help {
            return Ok(Said::Help);
        }
        let flows = match command {
            None => return Err(format!("what is conntrack to do? {ABLE}")),
            Some(Does::Count) if form.is_some() || filter != FlowFilter::default() => {
                return Err("-C counts all flows and takes nothing beside it".to_owned());
            }
            Some(Does::Count) => Flows::Count,
            Some(_) => {
                agree(&mut filter)?;
                Flows::List { form: form.unwrap_or_default(), filter }
            }
        };
        Ok(Said::Ask(Box::new(Asked { flows, control })))
    }
}

/// Makes sure that what is asked for can be at all: one family, ports where there are ports.
fn agree(f: &mut FlowFilter) -> Result<(), String> {
    let nets = [f.orig_src, f.orig_dst, f.reply_src, f.reply_dst].into_iter().flatten().map(|n| n.addr());
    let ends = [f.src_nat, f.dst_nat, f.any_nat].into_iter().flatten().filter_map(|t| t.to);
    for addr in nets.chain(ends) {
        let family = if addr.is_ipv4() { Family::Inet } else { Family::Inet6 };
        if *f.family.get_or_insert(family) != family {
            return Err(format!("{addr} is of another family than the rest: ask for one at a time"));
        }
    }
    let ports = [f.orig_sport, f.orig_dport, f.reply_sport, f.reply_dport].iter().any(Option::is_some);
    let with_ports = [proto::TCP, proto::UDP, proto::UDP_LITE, proto::SCTP, proto::DCCP];
    if ports && !f.proto.is_some_and(|p| with_ports.contains(&p)) {
        return Err("ports need a protocol that has them: add -p tcp or -p udp".to_owned());
    }
    if f.state.is_some() && !matches!(f.proto, Some(proto::TCP | proto::SCTP)) {
        return Err("--state needs a protocol that has states: add -p tcp".to_owned());
    }
    Ok(())
}

fn family(name: &str, text: &str) -> Result<Family, String> {
    match text {
        "ipv4" => Ok(Family::Inet),
        "ipv6" => Ok(Family::Inet6),
        _ => Err(format!("{name}: '{text}' is no family: write ipv4 or ipv6")),
    }
}

fn protocol(name: &str, text: &str) -> Result<u8, String> {
    const NAMES: [(&str, u8); 9] = [
        ("icmp", proto::ICMP),
        ("tcp", proto::TCP),
        ("udp", proto::UDP),
        ("dccp", proto::DCCP),
        ("gre", proto::GRE),
        ("icmpv6", proto::ICMPV6),
        ("ipv6-icmp", proto::ICMPV6),
        ("sctp", proto::SCTP),
        ("udplite", proto::UDP_LITE),
    ];
    let named = NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(text)).map(|(_, number)| *number);
    let number = named.or_else(|| text.parse().ok());
    number.ok_or_else(|| {
        format!("{name}: '{text}' is no protocol: write tcp, udp, icmp, icmpv6, sctp, gre or a number")
    })
}

/// The form, if the words name one.
fn output(name: &str, text: &str) -> Result<Option<FlowForm>, String> {
    let mut form = None;
    for word in text.split(',') {
        form = Some(match word {
            "extended" => FlowForm::Extended,
            "json" => FlowForm::Json,
            "xml" | "timestamp" | "ktimestamp" | "id" | "labels" | "userspace" | "save" => {
                return Err(format!("{name} {word} is not supported: there are extended and json"));
            }
            _ => return Err(format!("{name}: '{word}' is no form: there are extended and json")),
        });
    }
    Ok(form)
}

fn prefix(name: &str, text: &str) -> Result<IpNet, String> {
    let net = text.parse().ok().or_else(|| Some(text.parse::<IpAddr>().ok()?.into()));
    let net: IpNet = net.ok_or_else(|| format!("{name}: '{text}' is no address and no prefix"))?;
    Ok(net.trunc())
}

fn port(name: &str, text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("{name}: '{text}' is no port: write a number from 0 to 65535"))
}

fn mark(name: &str, text: &str) -> Result<(u32, u32), String> {
    let number = |t: &str| match t.strip_prefix("0x").or_else(|| t.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => t.parse().ok(),
    };
    let both = match text.split_once('/') {
        Some((value, mask)) => number(value).zip(number(mask)),
        None => number(text).zip(Some(u32::MAX)),
    };
    both.ok_or_else(|| format!("{name}: '{text}' is no mark: write VALUE or VALUE/MASK"))
}

fn status(name: &str, text: &str) -> Result<u32, String> {
    const NAMES: [(&str, Status); 4] = [
        ("EXPECTED", Status::EXPECTED),
        ("SEEN_REPLY", Status::SEEN_REPLY),
        ("ASSURED", Status::ASSURED),
        ("FIXED_TIMEOUT", Status::FIXED_TIMEOUT),
    ];
    text.split(',').try_fold(0, |all, word| {
        let found = NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(word));
        let known = || NAMES.map(|(n, _)| n).join(", ");
        found.map(|(_, bit)| all | bit.0).ok_or_else(|| format!("{name}: '{word}' is none of {}", known()))
    })
}

fn translated(name: &str, value: Option<&str>) -> Result<Translated, String> {
    let to = value.map(|text| text.parse().map_err(|_| format!("{name}: '{text}' is no address")));
    Ok(Translated { to: to.transpose()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(words: &str) -> Result<Said, String> {
        parse(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn asked(words: &str) -> Flows {
        match said(words) {
            Ok(Said::Ask(asked)) => asked.flows,
            other => panic!("{words}: {other:?}"),
        }
    }

    fn list(filter: FlowFilter) -> Flows {
        Flows::List { form: FlowForm::Text, filter }
    }

    #[test]
    fn listing_and_counting() {
        for words in ["-L", "--dump", "--du", "-L conntrack", "--dump conntrack", "--dump=conntrack"] {
            assert_eq!(asked(words), list(FlowFilter::default()), "{words}");
        }
        for words in ["-C", "--counter", "-C conntrack"] {
            assert_eq!(asked(words), Flows::Count, "{words}");
        }
        for (words, form) in [
            ("-L -o extended", FlowForm::Extended),
            ("-Loextended", FlowForm::Extended),
            ("-L --output=json", FlowForm::Json),
            ("-Lj", FlowForm::Json),
            ("-j -L", FlowForm::Json),
        ] {
            assert_eq!(asked(words), Flows::List { form, filter: FlowFilter::default() }, "{words}");
        }
        assert_eq!(said("-h"), Ok(Said::Help));
        assert_eq!(said("-L --help"), Ok(Said::Help));
        let Ok(Said::Ask(with)) = said("-L --control /x") else { panic!() };
        assert_eq!(with.control, Some("/x".into()));
    }

    #[test]
    fn what_is_looked_for() {
        let all = "-L -f ipv4 -p tcp -s 10.0.0.0/8 --dst 192.0.2.1 -r 192.0.2.1 -q 198.51.100.1 --sport 40000 \
                   --orig-port-dst 80 --reply-port-src 8080 --reply-port-dst 40000 --state established -m 0x10/0xf0 \
                   -u ASSURED,SEEN_REPLY -n 198.51.100.1 -g --any-nat";
        let net = |s: &str| Some(s.parse().unwrap());
        let expected = FlowFilter {
            family: Some(Family::Inet),
            proto: Some(6),
            orig_src: net("10.0.0.0/8"),
            orig_dst: net("192.0.2.1/32"),
            reply_src: net("192.0.2.1/32"),
            reply_dst: net("198.51.100.1/32"),
            orig_sport: Some(40_000),
            orig_dport: Some(80),
            reply_sport: Some(8_080),
            reply_dport: Some(40_000),
            state: Some("ESTABLISHED".into()),
            mark: Some((0x10, 0xf0)),
            status: 6,
            src_nat: Some(Translated { to: Some("198.51.100.1".parse().unwrap()) }),
            dst_nat: Some(Translated::default()),
            any_nat: Some(Translated::default()),
        };
        assert_eq!(asked(all), list(expected));
        let v6 = FlowFilter {
            family: Some(Family::Inet6),
            orig_src: net("2001:db8::/32"),
            ..FlowFilter::default()
        };
        assert_eq!(asked("-L -s 2001:db8::1/32"), list(v6), "the address says the family");
        assert_eq!(asked("-Lp47"), list(FlowFilter { proto: Some(47), ..FlowFilter::default() }));
    }

    #[test]
    fn what_can_not_be_done_is_named() {
        for (words, part) in [
            ("", "what is conntrack to do?"),
            ("-D", "conntrack -D is not supported: this version lists (-L) and counts (-C)"),
            ("-F", "conntrack -F is not"),
            ("-E -p tcp", "conntrack -E is not"),
            ("-S", "conntrack -S is not"),
            ("-L -z", "conntrack -z is not"),
            ("-L -w 3", "conntrack -w is not"),
            ("-L --label x", "conntrack --label is not"),
            ("-L -o xml", "-o xml is not supported: there are extended and json"),
            ("-L -o foo", "-o: 'foo' is no form"),
            ("-L expect", "-L: expect is not supported"),
            ("-L foo", "-L: foo is no table"),
            ("-L -X", "-X is no option"),
            ("-L --nope", "--nope is no option"),
            ("-L -p tcp extra", "'extra' is no option"),
            ("-L --reply-port", "--reply-port may be --reply-port-src or --reply-port-dst"),
            ("-L -p", "-p needs a value"),
            ("-L -C", "-C: one command at a time"),
            ("-C -p tcp", "-C counts all flows"),
            ("-L -p foo", "'foo' is no protocol"),
            ("-L -f ipv5", "'ipv5' is no family"),
            ("-L -s foo", "'foo' is no address"),
            ("-L -f ipv4 -s ::1", "::1 is of another family"),
            ("-L --sport 80", "ports need a protocol"),
            ("-L -p udp --state NONE", "--state needs a protocol"),
            ("-L -p tcp --sport 70000", "'70000' is no port"),
            ("-L -m x", "'x' is no mark"),
            ("-L -u FOO", "'FOO' is none of EXPECTED"),
            ("-L -n 10.0.0.0/8", "'10.0.0.0/8' is no address"),
        ] {
            let error = said(words).expect_err(words);
            assert!(error.contains(part), "{words}: {error}");
        }
    }

    #[test]
    fn letters_and_names_are_there_once() {
        for (i, (letter, name, ..)) in OPTIONS.iter().enumerate() {
            let again = |o: &&(char, &str, Value, Does)| o.1 == *name || (o.0 == *letter && *letter != ' ');
            assert_eq!(OPTIONS[i + 1..].iter().find(again), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_words_are_survived(words in proptest::collection::vec("-{0,2}[A-Za-zé=/0-9.]{0,8}", 0..6)) {
            let _ = parse(&words.iter().map(OsString::from).collect::<Vec<_>>());
        }
    }
}
