//! Commands against a set of rules: what they change, and what is said of those that can't.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::filter::iptables::{self, Why, list};
use crate::filter::rule::{Count, Policy};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn v4(text: &str) -> Ruleset {
    iptables::read(text, Family::V4).unwrap()
}

const SOME: &str = "*filter\n:INPUT DROP [1:10]\n:a - [0:0]\n:b - [0:0]\n[2:20] -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n\
                    [3:30] -A INPUT -j a\n[4:40] -A a -m limit --limit 3/min -j RETURN\nCOMMIT\n\
                    *nat\n[5:50] -A POSTROUTING -j MASQUERADE\nCOMMIT\n";

/// What is left of [`SOME`] in a table, counters as they go on, those of the text taken.
fn after(line: &str) -> Result<String, No> {
    let rules = v4(SOME);
    let Edited { rules: mut new, from } = edit(&words(line), &rules)?;
    let mut old = Vec::new();
    let mut from = from.into_iter();
    counts(&mut rules.clone(), |count| old.push(*count));
    counts(&mut new, |count| match from.next().flatten() {
        Some(Legacy { zeroed: true, .. }) => *count = Count::default(),
        Some(Legacy { counter, .. }) => *count = old[counter],
        None => {}
    });
    Ok(iptables::write(&new, true))
}

fn counts(rules: &mut Ruleset, mut each: impl FnMut(&mut Count)) {
    for chain in rules.tables.iter_mut().flat_map(|t| &mut t.chains) {
        each(&mut chain.counters);
        chain.rules.iter_mut().for_each(|r| each(&mut r.counters));
    }
}

/// The lines that are new, and those that are gone.
fn changes(line: &str) -> String {
    let before = iptables::write(&v4(SOME), true);
    let after = after(line).unwrap_or_else(|e| panic!("{line}: {e:?}"));
    let new = after.lines().filter(|l| !before.lines().any(|b| b == *l)).map(|l| format!("+{l}"));
    let gone = before.lines().filter(|l| !after.lines().any(|a| a == *l)).map(|l| format!("-{l}"));
    new.chain(gone).collect::<Vec<_>>().join(" ")
}

#[test]
fn commands_change_what_they_say_and_nothing_else() {
    for (line, change) in [
        ("-A INPUT -j DROP", "+[0:0] -A INPUT -j DROP"),
        ("-A b -c 7 8 -s 1.1.1.1,2.2.2.2", "+[7:8] -A b -s 1.1.1.1/32 +[7:8] -A b -s 2.2.2.2/32"),
        ("-A INPUT -p tcp --dport 80", "+[0:0] -A INPUT -p tcp -m tcp --dport 80"),
        ("--append INPUT --protocol udp --jump b", "+[0:0] -A INPUT -p udp -j b"),
        ("-t nat -I PREROUTING -j ACCEPT", "+[0:0] -A PREROUTING -j ACCEPT"),
        ("-D INPUT 2", "-[3:30] -A INPUT -j a"),
        ("-D INPUT -j a", "-[3:30] -A INPUT -j a"),
        ("-D INPUT -p tcp --dport 22 -j ACCEPT", "-[2:20] -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"),
        ("-R INPUT 2 -j b", "+[0:0] -A INPUT -j b -[3:30] -A INPUT -j a"),
        ("-F a", "-[4:40] -A a -m limit --limit 3/min -j RETURN"),
        ("-N c", "+:c - [0:0]"),
        ("-X b", "-:b - [0:0]"),
        ("-P INPUT ACCEPT -c 4 5", "+:INPUT ACCEPT [4:5] -:INPUT DROP [1:10]"),
        ("-P FORWARD DROP -c 5 6", "+:FORWARD DROP [5:6] -:FORWARD ACCEPT [0:0]"),
        ("-Z INPUT 2", "+[0:0] -A INPUT -j a -[3:30] -A INPUT -j a"),
        ("-C INPUT -j a", ""),
        ("-t raw -A OUTPUT -j NOTRACK", "+*raw +[0:0] -A OUTPUT -j NOTRACK"),
    ] {
        assert_eq!(changes(line), change, "{line}");
    }
    let renamed = after("-E a z").unwrap();
    assert!(renamed.contains("[3:30] -A INPUT -j z\n[4:40] -A z -m limit"), "{renamed}");
    let zeroed = after("-Z").unwrap();
    assert!(
        zeroed.contains(":INPUT DROP [0:0]") && zeroed.contains("[0:0] -A a") && zeroed.contains("[5:50]")
    );
    // Of a list the last stands first.
    let inserted = after("-I INPUT 2 -s 1.1.1.1,2.2.2.2").unwrap();
    let order = ["--dport 22", "-s 2.2.2.2/32", "-s 1.1.1.1/32", "-j a"].map(|w| inserted.find(w).unwrap());
    assert!(order.is_sorted(), "{inserted}");
}

/// A command that can't be done with [`SOME`], the exit code, and what is said.
const REFUSED: &str = r#"
-N a                                  | 1 | Chain already exists. There is a chain 'a' already
-E a b                                | 1 | File exists. There is a chain 'b' already
-E INPUT z                            | 1 | No chain/target/match by that name. INPUT is a built-in chain: it keeps its name
-A z -j DROP                          | 1 | No chain/target/match by that name. There is no chain 'z' in table filter
-D INPUT -j DROP                      | 1 | Bad rule (does a matching rule exist in that chain?). There is no such rule in INPUT
-C z -j DROP                          | 1 | Bad rule (does a matching rule exist in that chain?). There is no chain 'z' in table filter
-D INPUT 3                            | 1 | Index of deletion too big. There is no rule 3 in INPUT, which has 2
-R INPUT 3                            | 1 | Index of replacement too big. There is no rule 3 in INPUT, which has 2
-I INPUT 4                            | 1 | Index of insertion too big. There are 2 rules in INPUT: none can become the 4th
-Z INPUT 3                            | 1 | Index of counter too big. There is no rule 3 in INPUT
-X a                                  | 1 | Too many links. Rules still go to chain 'a'
-X OUTPUT                             | 1 | Invalid argument. OUTPUT is a built-in chain: it stays
-P INPUT REJECT                       | 1 | Bad policy name. A policy is ACCEPT or DROP
-P a DROP                             | 1 | Bad built-in chain name. 'a' is a user's chain: it has no policy
-A a -j a                             | 1 | Too many levels of symbolic links. A loop of jumps: a and back
-A INPUT -j OUTPUT                    | 1 | Invalid argument. No rule can go to a built-in chain, and OUTPUT is one
-A INPUT -j MASQUERADE                | 1 | Invalid argument. Target MASQUERADE can stand in table nat only, not in filter
-A INPUT -j z                         | 2 | Couldn't load target `z':No such file or directory: target 'z' is unknown, and there is no chain 'z' (chains are declared before rules go to them)
-I INPUT 0                            | 2 | Invalid rule number `0'
-A INPUT --foo                        | 2 | unknown option "--foo"
-A INPUT -n                           | 2 | Illegal option `-n' with this command: -A
-A INPUT -A a                         | 2 | Cannot use -A with -A
-L -F                                 | 2 | Cannot use -F with -L
-P INPUT ACCEPT -j DROP               | 2 | Illegal option `-j' with this command: -P
-6 -A INPUT                           | 2 | -6 is for IPv6: use ip6tables
-N ACCEPT                             | 2 | chain name may not clash with target name: ACCEPT is one
-N a"b                                | 2 | Invalid chain name `a"b': it has no blanks and no quotes
-t nat -P OUTPUT DROP                 | 2 | The "nat" table is not intended for filtering, the use of DROP is therefore inhibited: it sees only the first packet of a flow
-t none -A INPUT                      | 3 | can't initialize iptables table `none': Table does not exist: there are raw, mangle, nat and filter
-t security -A INPUT                  | 3 | can't initialize iptables table `security': Table does not exist: it is not supported here (yet): there are raw, mangle, nat and filter
-A INPUT -m limit --limit-burst 10000 | 1 | Numerical result out of range. Limit: a burst of 10000 at this rate is more than can be counted, or nothing
-W 5 -A INPUT                         | 2 | --wait-interval only makes sense with --wait
                                      | 2 | no command specified: such as -A or -L
"#;

#[test]
fn what_can_not_be_done_is_told_as_the_tool_does() {
    for case in REFUSED.trim_start().lines() {
        let [line, code, said] = case.split(" | ").collect::<Vec<_>>()[..] else { panic!("{case}") };
        let no = edit(&words(line), &v4(SOME)).expect_err(line);
        assert_eq!((no.code().to_string(), no.told()), (code.to_owned(), said.to_owned()), "{line}");
    }
    let no = edit(
        &["-A".into(), "INPUT".into(), "-m".into(), "comment".into(), "--comment".into(), "a\nb".into()],
        &v4(SOME),
    );
    assert_eq!(no.unwrap_err().to_string(), "a word has a line's end or another such sign in it");
}

#[test]
fn loops_are_refused_where_packets_come_to_them() {
    let text = ":x - [0:0]\n:y - [0:0]\n-A x -j y\n-A y -j x\n";
    let rules = format!("*filter\n{text}-A INPUT -p udp -j ACCEPT\nCOMMIT\n");
    let loops = |line: &str| match edit(&words(line), &v4(&rules)) {
        Ok(edited) => {
            let program = crate::filter::Program::compile(&edited.rules, &crate::link::Links::new([]));
            assert!(program.is_ok(), "{line}");
            None
        }
        Err(no) => Some(no.told()),
    };
    assert_eq!(loops("-A y -j y"), None);
    assert!(loops("-A INPUT -g y").is_some_and(|no| no.ends_with("A loop of jumps: y, x and back")));
    // Nothing passes the first rule.
    let rules = format!("*filter\n{text}-A INPUT -j ACCEPT\nCOMMIT\n");
    assert!(edit(&words("-A INPUT -j x"), &v4(&rules)).is_ok());
    assert!(edit(&words("-I INPUT -j x"), &v4(&rules)).is_err());
}

#[test]
fn options_stand_where_getopt_lets_them() {
    let asked = |line: &str| iptables::asked(&words(line), Family::V4).unwrap();
    let list = asked("-tnat -nvxLPOSTROUTING 3 --line-numbers -w 5 --control /x --json");
    let What::List(which) = list.what else { panic!("{list:?}") };
    assert_eq!((which.chain.as_deref(), which.number, which.zero), (Some("POSTROUTING"), Some(3), None));
    assert_eq!(list.table, TableName::Nat);
    let manner = list.manner;
    assert!(manner.numeric && manner.verbose && manner.exact && manner.line_numbers && manner.json);
    assert_eq!(manner.control.as_deref(), Some("/x"));
    let What::List(which) = asked("-Z a -L").what else { panic!() };
    assert_eq!((which.chain.as_deref(), which.zero, which.as_commands), (Some("a"), Some(None), false));
    // The number is that of what it stands behind.
    for (line, zero) in [("-L a 2 -Z", None), ("-Z a 2 -L", Some(2)), ("-S -Z a 2", Some(2))] {
        let What::List(which) = asked(line).what else { panic!("{line}") };
        assert_eq!((which.number, which.zero), (Some(2), Some(zero)), "{line}");
    }
    // -j is what it is in iptables, and so is --j.
    assert!(
        matches!(asked("-A INPUT --j ACCEPT").what, What::Edit { rules, .. } if rules[0].target == crate::filter::Target::Accept)
    );
    assert_eq!(asked("-A INPUT -h --nonsense").what, What::Help);
    assert_eq!(asked("-V").what, What::Version);
}

fn restored(text: &str, how: &Restore) -> Result<String, Unread> {
    restore(text, how, &v4(SOME)).map(|e| iptables::write(&e.rules, false))
}

#[test]
fn a_text_replaces_the_tables_it_has() {
    let text = "*filter\n:INPUT ACCEPT [7:8]\n:c - [0:0]\n[1:2] -A INPUT -j c\nCOMMIT\n";
    let after = restore(text, &Restore::default(), &v4(SOME)).unwrap();
    let [filter, nat] = &after.rules.tables[..] else { panic!("{after:?}") };
    assert_eq!(filter.chains.len(), 4);
    assert_eq!(filter.chains[0].policy, Some(Policy::Accept));
    // Without --counters all begin at zero; what is not in the text goes on.
    assert_eq!((filter.chains[0].counters, filter.chains[0].rules[0].counters), Default::default());
    let kept: Vec<_> = after.from.iter().flatten().collect();
    assert_eq!((kept.len(), nat.chains[3].rules.len()), (5, 1));
    let counters = Restore { counters: true, ..Restore::default() };
    let after = restore(text, &counters, &v4(SOME)).unwrap();
    let input = &after.rules.tables[0].chains[0];
    assert_eq!(input.counters, Count { packets: 7, bytes: 8 });
    assert_eq!(input.rules[0].counters, Count { packets: 1, bytes: 2 });
}

#[test]
fn without_flushing_a_text_adds() {
    let noflush = Restore { noflush: true, ..Restore::default() };
    let text = "*filter\n:a - [0:0]\n-A a -j DROP\n-A INPUT -j DROP\n-D INPUT -j a\nCOMMIT\n";
    let after = restored(text, &noflush).unwrap();
    assert!(after.contains("--dport 22 -j ACCEPT\n-A INPUT -j DROP\n-A a -j DROP\nCOMMIT"), "{after}");
    let edited = restore(text, &noflush, &v4(SOME)).unwrap();
    // All but the two new ones go on.
    assert_eq!(edited.from.iter().filter(|f| f.is_none()).count(), 2, "{edited:?}");
    // The second time it finds what the first has made.
    let twice = restored("*filter\n:c -\nCOMMIT\n*filter\n-A c -j ACCEPT\nCOMMIT\n", &noflush).unwrap();
    assert!(twice.contains("-A c -j ACCEPT\n") && twice.contains("-A INPUT -j a\n"), "{twice}");
}

#[test]
fn one_table_of_a_text() {
    let only = Restore { table: Some("nat".into()), ..Restore::default() };
    let after = restored("*filter\n-A nonsense\nCOMMIT\n*nat\nCOMMIT\n", &only).unwrap();
    assert!(after.contains("--dport 22") && !after.contains("MASQUERADE"), "{after}");
}

#[test]
fn a_text_is_taken_whole_or_not_at_all() {
    for (text, line, code, said) in [
        (
            "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n*nat\n-A x\nCOMMIT\n",
            5,
            1,
            "there is no chain 'x' in table nat",
        ),
        ("*filter\n-A INPUT --foo\n-A x\nCOMMIT\n", 2, 2, "unknown option \"--foo\""),
        ("*filter\n:c -\n:c -\nCOMMIT\n", 3, 2, "there is a chain 'c' already"),
        ("*filter\n:INPUT NO\nCOMMIT\n", 2, 1, "'NO' is no policy: ACCEPT or DROP"),
        (
            "*filter\n-A INPUT -j MASQUERADE\nCOMMIT\n",
            2,
            1,
            "target MASQUERADE can stand in table nat only, not in filter",
        ),
        ("*filter\n-D INPUT 9\nCOMMIT\n", 2, 1, "there is no rule 9 in INPUT, which has 0"),
        ("*filter\n", 2, 1, "COMMIT expected at line 2, the end of table filter"),
        ("*none\nCOMMIT\n", 1, 2, "table 'none' is unknown: raw, mangle, nat or filter"),
        ("-A INPUT\n", 1, 1, "'-A INPUT' stands outside of a table: '*filter' or another begins one"),
    ] {
        let no = restored(text, &Restore::default()).expect_err(text);
        assert_eq!((no.line, no.no.code(), no.no.to_string().as_str()), (line, code, said), "{text}");
    }
    let two = restored("*filter\n-A x\n-A y\nCOMMIT\n", &Restore::default()).unwrap_err();
    assert_eq!((two.line, two.more), (2, 1));
}

#[test]
fn rules_are_bounded() {
    let rules = v4("*filter\n-A INPUT -j ACCEPT\nCOMMIT\n");
    let list = |n: usize| {
        let list: Vec<String> = (0..n).map(|i| format!("10.0.{}.{}", i / 256, i % 256)).collect();
        words(&format!("-A INPUT -s {}", list.join(",")))
    };
    // Longer than a word of a text may be, and than one of a command line.
    assert_eq!(edit(&list(300), &rules).map(|e| e.rules.tables[0].chains[0].rules.len()), Ok(301));
    assert_eq!(edit(&list(20_000), &rules).err().map(|no| no.code()), Some(2));
    let how = How { noflush: true, counters: false, only: None, most: 2 };
    let load = |text: &str| read::load(text, Family::V4, done(&rules), &how);
    assert!(load("*nat\n-A OUTPUT -j ACCEPT\nCOMMIT\n").is_ok());
    let (line, no, _) = load("*nat\n-A OUTPUT\n-A OUTPUT\nCOMMIT\n").unwrap_err().first().unwrap();
    assert!(matches!((line, no), (3, No::Refused(Why::TooMany, _))));
    // Those that are replaced don't count.
    let flush = How { noflush: false, ..how };
    assert!(read::load("*filter\n-A INPUT\n-A INPUT\nCOMMIT\n", Family::V4, done(&rules), &flush).is_ok());
}

/// Words of commands, right ones and wrong ones.
const WORDS: &[&str] = &[
    "-A",
    "-D",
    "-I",
    "-R",
    "-C",
    "-L",
    "-S",
    "-F",
    "-N",
    "-X",
    "-E",
    "-P",
    "-Z",
    "-t",
    "-w",
    "-v",
    "-n",
    "-x",
    "-c",
    "-4",
    "-6",
    "-h",
    "-V",
    "-M",
    "-W",
    "-vvL",
    "-nLINPUT",
    "--append",
    "--list-rules",
    "--line-numbers",
    "--json",
    "--control",
    "--cont",
    "--",
    "-",
    "!",
    "INPUT",
    "FORWARD",
    "POSTROUTING",
    "a",
    "b",
    "new",
    "filter",
    "nat",
    "raw",
    "none",
    "0",
    "1",
    "2",
    "99999999999",
    "ACCEPT",
    "DROP",
    "-j",
    "-g",
    "-s",
    "-d",
    "-p",
    "-i",
    "-o",
    "-f",
    "-m",
    "10.0.0.0/8",
    "1.1.1.1,2.2.2.2",
    "::1",
    "tcp",
    "udp",
    "--dport",
    "80",
    "80:90",
    "--syn",
    "conntrack",
    "--ctstate",
    "NEW",
    "LOG",
    "--log-prefix",
    "x y",
    "é",
    "\"",
    "\u{0}",
    "\n",
    "",
    "MASQUERADE",
    "limit",
    "--limit",
    "3/min",
    "--dport=1",
    "multiport",
    "--dports",
    "1,2:3",
    "DNAT",
    "--to-destination",
    "eth+",
];

fn mutated() -> impl Strategy<Value = Vec<String>> {
    let any_word = prop_oneof![9 => select(WORDS).prop_map(str::to_owned), 1 => ".{0,12}"];
    let good = select(vec![
        "-A INPUT -p tcp --dport 80 -j ACCEPT",
        "-t nat -I POSTROUTING 1 -s 10.0.0.0/8 -j MASQUERADE",
        "-R INPUT 1 -m conntrack --ctstate NEW -g b",
        "-D a 1",
        "-E b c",
        "-L -n -v --line-numbers",
        "-P FORWARD DROP -c 1 2",
    ]);
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any_word.clone()), 0..4);
    let from_good = (good, changes).prop_map(|(good, changes)| {
        let mut words = words(good);
        for (at, how, word) in changes {
            match how {
                0 => words.insert(at.index(words.len() + 1), word),
                1 if !words.is_empty() => drop(words.remove(at.index(words.len()))),
                _ if !words.is_empty() => {
                    let at = at.index(words.len());
                    words[at] = word;
                }
                _ => {}
            }
        }
        words
    });
    prop_oneof![3 => from_good, 1 => proptest::collection::vec(any_word, 0..12)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_words_are_done_or_refused(lines in proptest::collection::vec(mutated(), 1..6), six in any::<bool>()) {
        let family = if six { Family::V6 } else { Family::V4 };
        let mut rules = Ruleset { family, ..iptables::read(&SOME.replace("-j MASQUERADE", "-j ACCEPT"), family).unwrap() };
        for line in lines {
            if let Ok(Asked { table, what: What::List(which), manner }) = iptables::asked(&line, family) {
                let _ = list::list(&rules, table, &which, &manner);
                let _ = list::commands(&rules, table, &which, &manner);
            }
            let Ok(edited) = edit(&line, &rules) else { continue };
            // What is done can be written and read back, and every counter has its place.
            let mut counters = 0;
            counts(&mut edited.rules.clone(), |_| counters += 1);
            prop_assert_eq!(edited.from.len(), counters);
            let text = iptables::write(&edited.rules, true);
            let again = iptables::read(&text, family).map_err(|e| TestCaseError::fail(format!("{}\n{text}", e[0])))?;
            prop_assert_eq!(iptables::write(&again, true), text);
            rules = edited.rules;
        }
    }

    #[test]
    fn any_text_is_taken_or_refused(
        lines in proptest::collection::vec(mutated(), 0..6), noflush in any::<bool>(), counters in any::<bool>(),
        table in select(vec!["filter", "nat", "raw"]),
    ) {
        let mut text = format!("*{table}\n:a - [0:0]\n");
        for line in lines {
            text.push_str(&line.join(" "));
            text.push('\n');
        }
        text.push_str("COMMIT\n");
        let rules = v4(SOME);
        let how = Restore { noflush, counters, table: None };
        if let Ok(edited) = restore(&text, &how, &rules) {
            let mut counters = 0;
            counts(&mut edited.rules.clone(), |_| counters += 1);
            prop_assert_eq!(edited.from.len(), counters);
        }
    }
}
