//! What the words mean, and which are refused.

use proptest::prelude::*;

use super::*;
use crate::control::protocol::Translated;

fn said(words: &str) -> Result<Said, String> {
    parse(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>())
}

fn asked(words: &str) -> Flows {
    match said(words) {
        Ok(Said::Ask(asked)) => asked.flows,
        other => panic!("{words}: {other:?}"),
    }
}

const TEXT: FlowForm = FlowForm { kind: FlowKind::Text, extended: false, id: false, timestamp: false };

fn list(filter: FlowFilter) -> Flows {
    Flows::List { form: TEXT, filter }
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
        ("-L -o extended", FlowForm { extended: true, ..TEXT }),
        ("-Loextended", FlowForm { extended: true, ..TEXT }),
        ("-L --output=json", FlowForm { kind: FlowKind::Json, ..TEXT }),
        ("-Lj", FlowForm { kind: FlowKind::Json, ..TEXT }),
        ("-j -L", FlowForm { kind: FlowKind::Json, ..TEXT }),
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
               --orig-port-dst 80 --reply-port-src 8080 --reply-port-dst 40000 --state ESTABLISHED -m 0x10/0xf0 \
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
        status_not: 0,
        icmp_type: None,
        icmp_code: None,
        icmp_id: None,
        src_nat: Some(Translated { to: Some("198.51.100.1".parse().unwrap()), port: None }),
        dst_nat: Some(Translated::default()),
        any_nat: Some(Translated::default()),
    };
    assert_eq!(asked(all), list(expected));
    let v6 =
        FlowFilter { family: Some(Family::Inet6), orig_src: net("2001:db8::/32"), ..FlowFilter::default() };
    assert_eq!(asked("-L -s 2001:db8::1/32"), list(v6), "the address says the family");
    assert_eq!(asked("-Lp47"), list(FlowFilter { proto: Some(47), ..FlowFilter::default() }));
}

#[test]
fn what_can_not_be_done_is_named() {
    for (words, part) in [
        ("", "what is conntrack to do?"),
        ("-I -p tcp", "conntrack -I is not supported: `sekisho conntrack --help` says"),
        ("-F -p tcp", "Illegal option `a filter' with this command: -F is about all flows"),
        ("-S -s 10.0.0.1", "Illegal option `a filter'"),
        ("-S -o extended", "Illegal option `-o extended' with this command"),
        ("-C -j", "Illegal option `-j' with this command"),
        ("-E expect", "-E: expect is not supported"),
        ("-E -e FOO", "Bad parameter `FOO': -e takes NEW"),
        ("-L -e NEW", "Illegal option `--event-mask' with this command"),
        ("-D -b 9", "Illegal option `--buffer-size' with this command"),
        ("-D -t 9", "Illegal option `--timeout' with this command: -D sets none"),
        ("-U -p tcp", "-U needs to know what to change"),
        ("-U -t x", "'x' is no number of seconds"),
        ("-G -s 10.0.0.1 -d 10.0.0.2", "You need to supply the `--protonum' option for this command"),
        ("-G -p udp -s 10.0.0.1", "you have to specify `--src' and `--dst'"),
        (
            "-G -p udp -s 10.0.0.0/8 -d 10.0.0.1 --sport 1 --dport 2",
            "you have to specify `--src' and `--dst'",
        ),
        ("-G -p udp -s 10.0.0.1 -d 10.0.0.2 --sport 5", "you have to specify `--sport' and `--dport'"),
        ("-G -p icmp -s 10.0.0.1 -d 10.0.0.2", "You need to supply the `--icmp-type' option"),
        ("-L --icmp-type 8", "unknown option `--icmp-type': it is of ICMP, so add -p icmp"),
        ("-L -p icmp --icmp-type 300", "'300' is neither type nor code"),
        ("-L -p gre --srckey x", "'x' is no key"),
        ("-E -b x", "'x' is no number of bytes"),
        ("-L -o ktimestamp", "-o ktimestamp is not supported"),
        ("-L -o labels", "-o labels is not supported"),
        ("-L -o save,id", "cannot combine save output with any other output type"),
        ("-E -o xml,timestamp", "-o timestamp goes with lines"),
        ("-L -z", "conntrack -z is not"),
        ("-L -w 3", "-w 3 is not supported: all flows here are in zone 0"),
        ("-L --label x", "conntrack --label is not"),
        ("-L -o foo", "Bad parameter `foo': -o takes extended"),
        ("-L expect", "-L: expect is not supported"),
        ("-L foo", "unknown type `foo'"),
        ("-L -X", "unknown option `-X'"),
        ("-L --nope", "unknown option `--nope'"),
        ("-L -p tcp extra", "unknown argument `extra'"),
        ("-L --reply-port", "unknown option `--reply-port': it may be --reply-port-src or --reply-port-dst"),
        ("-L -p", "option `-p' requires an argument"),
        ("-L -C", "Invalid commands combination"),
        ("-C -p tcp", "Illegal option `a filter'"),
        ("-L -p foo", "`foo' unsupported protocol"),
        ("-L -f ipv5", "`ipv5' unsupported protocol"),
        ("-L -s foo", "Invalid IP address `foo'"),
        ("-L -s 10.0.0.0/99", "Invalid netmask"),
        ("-L -o xml,save", "cannot combine save output"),
        ("-L -p tcp --state FOO", "unknown TCP state `FOO'"),
        ("-L -p sctp --state LAST_ACK", "unknown SCTP state `LAST_ACK'"),
        ("-L -f ipv4 -s ::1", "mismatched address family: ::1"),
        ("-L --sport 80", "unknown option `--sport': it needs a protocol that has ports"),
        ("-L -p udp --state NONE", "unknown option `--state': it needs a protocol"),
        ("-L -p tcp --sport 70000", "'70000' is no port"),
        ("-L -m x", "'x' is no mark"),
        ("-L -u FOO", "Bad parameter `FOO': -u takes ASSURED"),
        ("-L -n 10.0.0.0/8", "Invalid IP address `10.0.0.0/8'"),
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

/// Words as somebody might write them: options there are, with values that fit some of them.
fn likely() -> impl Strategy<Value = String> {
    let letters: Vec<String> = OPTIONS.iter().filter(|o| o.0 != ' ').map(|o| format!("-{}", o.0)).collect();
    let names: Vec<String> = OPTIONS.iter().map(|o| format!("--{}", o.1)).collect();
    const VALUES: &[&str] = &[
        "tcp",
        "udp",
        "icmp",
        "47",
        "10.0.0.1",
        "10.0.0.0/8",
        "fd00::1",
        "fd00::/64",
        "80",
        "0x10/0xf0",
        "ASSURED,UNREPLIED",
        "NEW,DESTROY",
        "ALL",
        "extended,id",
        "timestamp",
        "json",
        "save",
        "xml",
        "conntrack",
        "expect",
        "ESTABLISHED",
        "0",
        "1.2.3.4:77",
        "[fd00::1]:77",
        "4294967295",
        "-1",
        "",
    ];
    prop_oneof![
        prop::sample::select(letters),
        prop::sample::select(names),
        prop::sample::select(VALUES).prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn likely_words_are_a_request_or_one_sentence(words in proptest::collection::vec(likely(), 0..9)) {
        use crate::control::protocol::{Request, Verb};
        match parse(&words.iter().map(OsString::from).collect::<Vec<_>>()) {
            Ok(Said::Help | Said::Version) => {}
            Ok(Said::Ask(asked)) => {
                let request = Request::new(Verb::Conntrack(asked.flows));
                let text = serde_json::to_vec(&request).unwrap();
                prop_assert_eq!(Request::parse(&text), Ok(request));
            }
            Err(sentence) => prop_assert!(!sentence.is_empty() && !sentence.contains('\n'), "{sentence}"),
        }
    }

    #[test]
    fn any_words_are_survived(words in proptest::collection::vec("-{0,2}[A-Za-zé=/0-9.]{0,8}", 0..6)) {
        let _ = parse(&words.iter().map(OsString::from).collect::<Vec<_>>());
    }
}

#[test]
fn commands_and_what_each_takes() {
    let udp = FlowFilter { proto: Some(17), ..FlowFilter::default() };
    assert_eq!(asked("-D -p udp"), Flows::Delete { form: TEXT, filter: udp.clone() });
    assert_eq!(asked("--delete"), Flows::Delete { form: TEXT, filter: FlowFilter::default() });
    assert_eq!((asked("-F"), asked("--flush conntrack")), (Flows::Flush {}, Flows::Flush {}));
    assert_eq!((asked("-S"), asked("--stats"), asked("-S -j")), (Flows::Stats, Flows::Stats, Flows::Stats));
    assert_eq!(asked("--count"), Flows::Count);
    assert_eq!(
        asked("-U -p udp -m 0x10/0xf0 -t 33"),
        Flows::Update { form: TEXT, filter: udp.clone(), mark: Some((0x10, 0xf0)), timeout: Some(33) },
        "the mark is what they get, not what they have"
    );
    let ping = "-G -p icmp -s 10.0.0.1 -d 10.0.0.2 --icmp-type 8 --icmp-code 0 --icmp-id 9 -o id,extended";
    let net = |s: &str| Some(s.parse().unwrap());
    let filter = FlowFilter {
        family: Some(Family::Inet),
        proto: Some(1),
        orig_src: net("10.0.0.1/32"),
        orig_dst: net("10.0.0.2/32"),
        icmp_type: Some(8),
        icmp_code: Some(0),
        icmp_id: Some(9),
        ..FlowFilter::default()
    };
    assert_eq!(asked(ping), Flows::Get { form: FlowForm { extended: true, id: true, ..TEXT }, filter });
    let events = |words: &str| match asked(words) {
        Flows::Events { kinds, buffer, form, .. } => (kinds, buffer, form),
        other => panic!("{words}: {other:?}"),
    };
    let timestamp = FlowForm { timestamp: true, ..TEXT };
    assert_eq!(events("-E -o timestamp"), (vec![], None, timestamp));
    let all = vec![EventName::New, EventName::Update, EventName::Destroy];
    assert_eq!(events("-E -e ALL -b 2000"), (all, Some(10), TEXT));
    assert_eq!(events("-E -e new,DESTROY").0, [EventName::New, EventName::Destroy]);
    assert_eq!(events("-E -e U,des").0, [EventName::Update, EventName::Destroy]);
    assert_eq!(events("-E -b 100000000").1, Some(32_768), "no more wait");
    assert_eq!(events("-E -o time,user").2, timestamp, "words may be cut short");
    let states = |text: &str| match asked(&format!("-L -p tcp --state {text}")) {
        Flows::List { filter, .. } => filter.state,
        other => panic!("{other:?}"),
    };
    assert_eq!(states("LISTEN").as_deref(), Some("SYN_SENT2"));
    assert_eq!(said("-V"), Ok(Said::Version));
    assert_eq!(asked("-L -u UNREPLIED"), list(FlowFilter { status_not: 2, ..FlowFilter::default() }));
    let nat = |text: &str, port| {
        let to = Some(Translated { to: Some(text.parse().unwrap()), port });
        list(FlowFilter { family: Some(Family::Inet), src_nat: to, ..FlowFilter::default() })
    };
    assert_eq!(asked("-L -n 1.2.3.4:77"), nat("1.2.3.4", Some(77)));
    assert_eq!(asked("-L -n 1.2.3.4"), nat("1.2.3.4", None));
    let gre =
        FlowFilter { proto: Some(47), orig_sport: Some(3), orig_dport: Some(4), ..FlowFilter::default() };
    assert_eq!(asked("-L -p gre --srckey 0x3 --dstkey 4"), list(gre));
    assert_eq!(asked("-L -w 0"), list(FlowFilter::default()));
}
