//! Texts for iptables-restore: what is wrong is told with its line, what is right stays as it is.

use proptest::prelude::*;

use super::*;
use crate::filter::Family;
use crate::filter::problem::Problem;
use crate::filter::rule::{Count, Policy, Ruleset, TableName};
use crate::filter::targets::Target;

fn problems(text: &str) -> Vec<String> {
    read(text, Family::V4).expect_err("it is refused").iter().map(Problem::to_string).collect()
}

/// What is wrong with a line of the filter table.
fn wrong(line: &str) -> String {
    let all = problems(&format!("*filter\n{line}\nCOMMIT\n"));
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let told = [
        (
            "-A INPUT -m recent --set",
            "line 2: match 'recent' is not supported here (yet): `-m limit` is there, for all senders together",
        ),
        ("-A INPUT -m nonsense", "line 2: match 'nonsense' is unknown"),
        ("-A INPUT -m hl --hl-eq 3", "line 2: match 'hl' is for IPv6"),
        ("-A INPUT -m rt", "line 2: match 'rt' is for IPv6, and not supported here (yet)"),
        (
            "-A INPUT -j TPROXY",
            "line 2: target 'TPROXY' is not supported here (yet): `-j DNAT` can lead to a proxy on another host",
        ),
        (
            "-A INPUT -j nowhere",
            "line 2: target 'nowhere' is unknown, and there is no chain 'nowhere' (chains are declared before rules go to \
             them)",
        ),
        ("-A INPUT -j OUTPUT", "line 2: no rule can go to a built-in chain, and OUTPUT is one"),
        ("-A NOCHAIN -j ACCEPT", "line 2: there is no chain 'NOCHAIN' in table filter"),
        ("-A INPUT -j MASQUERADE", "line 2: target MASQUERADE can stand in table nat only, not in filter"),
        (
            "-A INPUT --dport 80",
            "line 2: unknown option \"--dport\": it belongs to tcp, udp, which was not given before it",
        ),
        ("-A INPUT -p tcp --dport www2", "line 2: --dport: invalid port/service `www2' specified"),
        ("-A INPUT -s localhost", "line 2: host/network `localhost' not found: write its IPv4 address"),
        (
            "-A INPUT -s ::1",
            "line 2: host/network `::1' not found: it is of the other family, these are rules for IPv4",
        ),
        ("-A INPUT -o eth0", "line 2: Can't use -o with INPUT: it is not known where a packet will leave"),
        (
            "-A INPUT -m conntrack",
            "line 2: conntrack: give one of --ctstate, --ctproto, --ctorigsrc, --ctorigdst, \
          --ctreplsrc, --ctrepldst, --ctorigsrcport, --ctorigdstport, --ctreplsrcport, --ctrepldstport, --ctstatus, \
          --ctexpire, --ctdir",
        ),
        ("-A INPUT -m comment --comment \"open", "line 2: a quote is opened and not closed"),
        (":x DROP [0:0]", "line 2: 'x' is a user's chain: it has no policy, write '-'"),
        (":INPUT REJECT [0:0]", "line 2: 'REJECT' is no policy: ACCEPT or DROP"),
        ("-A INPUT -j REJECT --reject-with tcp-reset", "line 2: --reject-with tcp-reset needs -p tcp"),
        (
            "-A INPUT -j ACCEPT\r",
            "line 2: the line ends in a carriage return: lines end in a line feed alone",
        ),
        ("-L", "line 2: Illegal option `-L' in a ruleset"),
        (
            ":x - [0:0]\n:y - [0:0]\n-A INPUT -j x\n-A x -j y\n-A y -g x",
            "line 6: a loop of jumps: x, y and back",
        ),
    ];
    for (line, text) in told {
        assert_eq!(wrong(line), text);
    }
}

#[test]
fn tables_that_are_not_whole() {
    assert_eq!(
        problems("*filter\n-A INPUT -j ACCEPT\n"),
        ["line 3: COMMIT expected at line 3, the end of table filter"]
    );
    assert_eq!(
        problems("*filter\n*nat\nCOMMIT\n"),
        ["line 2: COMMIT is missing: table filter is not at its end"]
    );
    assert_eq!(problems("COMMIT\n"), ["line 1: COMMIT stands outside of a table"]);
    let outside = "line 1: '-A INPUT' stands outside of a table: '*filter' or another begins one";
    assert_eq!(problems("-A INPUT\n"), [outside]);
    // Of a table that there isn't, its lines are no more to be told about.
    assert_eq!(
        problems("*security\n-A INPUT\nCOMMIT\n*broute\n-A BROUTING\nCOMMIT\n*\nCOMMIT\n"),
        [
            "line 1: table 'security' is not supported here (yet)",
            "line 4: table 'broute' is unknown: raw, mangle, nat or filter",
            "line 7: the table's name is missing behind the '*'"
        ]
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once_but_not_without_end() {
    let two = "*nat\n-A OUTPUT -j SNAT --to-source 1.1.1.1\n-A FOO\n-A OUTPUT -j MASQUERADE\nCOMMIT\n";
    let lines: Vec<usize> = read(two, Family::V4).unwrap_err().iter().map(|p| p.line).collect();
    assert_eq!(lines, [2, 3, 4]);
    let many = format!("*filter\n{}COMMIT\n", "-A FOO\n".repeat(100));
    let all = problems(&many);
    assert_eq!(all.len(), 21);
    assert_eq!(all[20], "and 80 more");
}

#[test]
fn hooks_are_followed_through_chains() {
    let nat = |rules: &str| read(&format!("*nat\n:a - [0:0]\n:b - [0:0]\n{rules}\nCOMMIT\n"), Family::V4);
    let line = |rules: &str| nat(rules).unwrap_err()[0].line;
    assert_eq!(line("-A PREROUTING -j a\n-A a -g b\n-A b -j MASQUERADE"), 6);
    assert!(nat("-A POSTROUTING -j a\n-A a -g b\n-A b -j MASQUERADE").is_ok());
    // No packet comes to these.
    assert!(nat("-A b -j MASQUERADE\n-A a -j b").is_ok());
    assert!(nat("-A PREROUTING -j a\n-A a -j RETURN\n-A a -j MASQUERADE").is_ok());
    // To this one some do.
    assert_eq!(line("-A PREROUTING -j a\n-A a -s 1.1.1.1 -j RETURN\n-A a -j MASQUERADE"), 6);
}

#[test]
fn limits() {
    let long = format!(
        "*filter\n# {}\n-A INPUT -m comment --comment \"{}\"\nCOMMIT\n",
        "x".repeat(20_000),
        "x".repeat(20_000)
    );
    assert_eq!(problems(&long), ["line 3: the line has 20032 bytes; 10238 at most"]);
    // Lists of addresses multiply.
    let lists = "*filter\n-A INPUT -s 1.1.1.1,2.2.2.2 -d 1.1.1.1,2.2.2.2,3.3.3.3\n-A INPUT\nCOMMIT\n";
    assert!(read::read_at_most(lists, Family::V4, 7).is_ok());
    let told = read::read_at_most(lists, Family::V4, 6).unwrap_err();
    assert_eq!(told[0].to_string(), "line 3: more than 6 rules");
}

#[test]
fn a_table_given_twice_is_the_second_one() {
    let text = "*filter\n:INPUT DROP [3:4]\n:x - [0:0]\n-A INPUT -j x\nCOMMIT\n*filter\n-A FORWARD -j DROP\nCOMMIT\n";
    let rules = read(text, Family::V4).unwrap();
    assert_eq!(rules.tables.len(), 1);
    let [input, forward, output] = &rules.tables[0].chains[..] else { panic!("{rules:?}") };
    // The policy stays, as the kernel's does.
    assert_eq!((input.policy, input.counters, input.rules.len()), (Some(Policy::Drop), Count::default(), 0));
    assert_eq!((forward.rules.len(), output.rules.len()), (1, 0));
}

#[test]
fn counters_comments_and_lines_are_kept() {
    let text = "# a comment\n*nat\n:OUTPUT ACCEPT [7:8]\n:KUBE-SVC - [0:0]\n[5:6] -A OUTPUT -m comment --comment \"a \\\"b\\\"\" -j \
                KUBE-SVC\n\nCOMMIT\n# done\n";
    let rules = read(text, Family::V4).unwrap();
    let table = &rules.tables[0];
    assert_eq!(table.name, TableName::Nat);
    let names: Vec<&str> = table.chains.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING", "KUBE-SVC"]);
    let output = &table.chains[2];
    assert_eq!(output.counters, Count { packets: 7, bytes: 8 });
    assert_eq!((output.rules[0].line, output.rules[0].counters), (5, Count { packets: 5, bytes: 6 }));
    assert_eq!(output.rules[0].target, Target::Jump("KUBE-SVC".into()));
    let shown = rule(&output.rules[0], "OUTPUT", Family::V4).to_string();
    assert_eq!(shown, r#"-A OUTPUT -m comment --comment "a \"b\"" -j KUBE-SVC"#);
    assert!(write(&rules, false).contains("\n:OUTPUT ACCEPT [7:8]\n"));
    assert!(write(&rules, true).contains("\n[5:6] -A OUTPUT "));
}

/// Pieces of rulesets, so that chance comes further than the first word.
const PIECES: &[&str] = &[
    "*filter\n",
    "*nat\n",
    "*mangle\n",
    "*raw\n",
    "COMMIT\n",
    "\n",
    ":x - [0:0]\n",
    ":INPUT DROP [1:2]\n",
    "-A INPUT",
    "-A x",
    "-I x 1",
    "-D x",
    "-R x 1",
    "-N y\n",
    "-X\n",
    "-F x\n",
    "-E x y\n",
    "-Z\n",
    "-P INPUT DROP\n",
    "[1:2] ",
    " ! ",
    " -s",
    " 10.0.0.0/8,1.1",
    " ::1/64",
    " -p tcp",
    " -p 58",
    " -m",
    " tcp",
    " conntrack",
    " multiport",
    " --dport",
    " --dports",
    " 1:2,3",
    " --ctstate",
    " NEW,EST",
    " -j",
    " LOG",
    " x",
    " MARK",
    " --set-mark",
    " 0x1/2",
    " DNAT",
    " --to-destination",
    " [1::1-::2]:5-9/3",
    " :80-90",
    " --tcp-flags",
    " SYN",
    " \"",
    "\\",
    " --limit",
    " 3/min",
    " -c 1 2",
    " --",
    "=",
    "é",
    "\0",
    " -6",
    " --probability",
    " 1e-9",
    " NETMAP --to",
    " -g x",
    " --every 4294967295 --packet 0",
    " -m state --state INVALID",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), six in any::<bool>()) {
        let family = if six { Family::V6 } else { Family::V4 };
        let _ = read(&String::from_utf8_lossy(&bytes), family);
    }

    #[test]
    fn pieces_in_any_order(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40), six in any::<bool>()) {
        let family = if six { Family::V6 } else { Family::V4 };
        let text = format!("*filter\n:x - [0:0]\n{}", pieces.concat());
        if let Ok(rules) = read(&text, family) {
            // What is taken is written so that it is taken again, as the same.
            let again = read(&write(&rules, true), family);
            prop_assert_eq!(again.map(|r| write(&r, true)), Ok(write(&rules, true)));
        }
    }
}

/// What a router with these rules tells, read again, as a list of one chain needs it.
fn told_of(rules: &Ruleset, chain: &str) -> Ruleset {
    let mut narrow = rules.clone();
    super::narrow(&mut narrow, chain);
    read(&write(&narrow, true), Family::V4).unwrap()
}

#[test]
fn a_list_of_one_chain_needs_its_rules_and_who_goes_there() {
    let text = "*filter\n:INPUT DROP [1:2]\n:a - [0:0]\n:a2 - [0:0]\n:empty - [0:0]\n[3:4] -A INPUT -j a\n-A INPUT -j DROP\n\
                -A FORWARD -g a\n-A a -p tcp -j a2\n[5:6] -A a -m comment --comment \"-A a2 -j a\"\n-A a2 -j LOG\nCOMMIT\n";
    let rules = read(text, Family::V4).unwrap();
    let manner = Manner { verbose: true, numeric: true, line_numbers: true, ..Manner::default() };
    for chain in ["INPUT", "FORWARD", "OUTPUT", "a", "a2", "empty", "none"] {
        let narrow = told_of(&rules, chain);
        for number in [None, Some(1), Some(2), Some(9)] {
            let which = List { chain: Some(chain.into()), number, ..List::default() };
            let filter = TableName::Filter;
            assert_eq!(
                list(&narrow, filter, &which, &manner),
                list(&rules, filter, &which, &manner),
                "{chain}"
            );
            let commands = |rules| super::commands(rules, filter, &which, &Manner::default());
            assert_eq!(commands(&narrow), commands(&rules), "{chain}");
            assert_eq!(saved_commands(&write(&narrow, false), filter, &which), commands(&rules), "{chain}");
        }
    }
    assert!(told_of(&rules, "a2").tables[0].chains[0].rules.is_empty());
    let all = List::default();
    for table in [TableName::Filter, TableName::Nat] {
        let saved = if table == TableName::Filter { write(&rules, false) } else { String::new() };
        assert_eq!(
            saved_commands(&saved, table, &all),
            super::commands(&rules, table, &all, &Manner::default())
        );
    }
}
