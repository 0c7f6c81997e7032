//! Commands by chance, one after the other, beside the machine's own iptables: the same exit codes, and the same rules,
//! as `-S`, and as `-L -n -v --line-numbers` prints them.
//!
//! `SEKISHO_RULES_CASES=2000 cargo test --test rules commands` tries more of them.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;

use sekisho::filter::iptables::{self, Asked, No, What};
use sekisho::filter::rule::Count;
use sekisho::filter::{Family, Ruleset};
use sekisho::lab::{isolate, tools};

use crate::kernel::Kernel;

/// Our rules, and what `sekisho iptables` does with them.
struct Ours {
    rules: Ruleset,
}

impl Ours {
    fn new(family: Family) -> Self {
        Ours { rules: Ruleset { family, tables: Vec::new() } }
    }

    /// The exit code, what is printed, and what is said of a failure.
    fn run(&mut self, words: &[String]) -> (i32, String, String) {
        match self.done(words) {
            Ok(text) => (0, text, String::new()),
            Err(no) => (no.code().into(), String::new(), no.told()),
        }
    }

    fn done(&mut self, words: &[String]) -> Result<String, No> {
        let Asked { table, what, manner } = iptables::asked(words, self.rules.family)?;
        match what {
            What::List(which) => {
                let text = match which.as_commands {
                    true => iptables::commands(&self.rules, table, &which, &manner)?,
                    false => iptables::list(&self.rules, table, &which, &manner)?,
                };
                if let Some(number) = which.zero {
                    let mut words = vec!["-t".to_owned(), table.name().to_owned(), "-Z".to_owned()];
                    words.extend(which.chain);
                    words.extend(number.map(|n| n.to_string()));
                    self.rules = iptables::edit(&words, &self.rules)?.rules;
                }
                Ok(text)
            }
            What::Check(_) => iptables::edit(words, &self.rules).map(|_| String::new()),
            What::Edit { rules, .. } => {
                self.rules = iptables::edit(words, &self.rules)?.rules;
                Ok(if manner.verbose { iptables::told(&rules, self.rules.family) } else { String::new() })
            }
            What::Help | What::Version => Ok(String::new()),
        }
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Lists all of a table, as it is to be compared. What a policy has counted the tool forgets with every change, and we don't.
fn shown(kernel: &Kernel, ours: &mut Ours, table: &str) -> [(String, String); 2] {
    let policies = |text: String| {
        let line = |l: &str| match l.split_once(" packets, ") {
            Some((head, _)) if l.starts_with("Chain ") => head.trim_end_matches(char::is_numeric).to_owned(),
            _ => l.to_owned(),
        };
        text.lines().map(|l| line(l) + "\n").collect::<String>()
    };
    ["-S", "-L -n -v --line-numbers"].map(|how| {
        let words = words(&format!("-t {table} {how}"));
        let (code, theirs, said) = kernel.command(&words);
        assert_eq!(code, 0, "{said}");
        (policies(theirs), policies(ours.run(&words).1))
    })
}

/// What stands on a line: rules that fit many places, some that fit none, and chains of which some are there.
fn line(family: Family) -> BoxedStrategy<String> {
    let chain = || {
        let chains = ["INPUT", "INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"];
        let users = ["a", "a", "b", "b", "c", "long-name-of-twenty-eight-by", "LOG2", "none"];
        select([&chains[..], &users].concat())
    };
    let (addr, more, icmp) = match family {
        Family::V4 => ("10.1.0.0/16", "10.0.0.1,10.0.0.2", "-p icmp --icmp-type 8"),
        Family::V6 => ("fd00::/64", "fd00::1,fd00::2", "-p ipv6-icmp --icmpv6-type 128"),
    };
    let (src, dst) = (format!("-s {addr}"), format!("! -d {addr}"));
    let (two, icmp) = (format!("-s {more} -d {addr}"), icmp.to_owned());
    let part = prop_oneof![
        3 => Just(String::new()),
        1 => Just(src),
        1 => Just(dst),
        1 => Just(two),
        1 => Just(icmp),
        8 => select(vec![
            "-p tcp --dport 80", "-p udp --sport 53:60", "-p tcp -m tcp ! --syn", "! -p tcp", "-p gre", "-i eth0", "-o eth1",
            "! -i eth+", "-m conntrack --ctstate NEW,ESTABLISHED", "-m state --state RELATED", "-m mark --mark 0x1/0xff",
            "-m limit --limit 3/min --limit-burst 9", "-p tcp -m multiport --dports 1,2:3", "-m comment --comment hello",
            "-m length ! --length 1:9", "--dport 80", "-m nothing", "-m tcp", "-p tcp --dport 99999", "-s nowhere.invalid",
            "-m mac --mac-source 00:11:22:33:44:55", "-m pkttype --pkt-type unicast", "-c 7 77", "-c 123456 98765432", "foo",
            "-m statistic --mode nth --every 3", "--match mark --mark 2", "--proto udp",
        ]).prop_map(str::to_owned),
    ];
    let target = prop_oneof![
        6 => select(vec!["-j ACCEPT", "-j DROP", "-j RETURN", "", "--jump ACCEPT"]).prop_map(str::to_owned),
        4 => chain().prop_map(|c| format!("-j {c}")),
        1 => chain().prop_map(|c| format!("-g {c}")),
        4 => select(vec![
            "-j LOG --log-prefix x", "-j MARK --set-mark 5", "-j MASQUERADE", "-j REJECT", "-j CONNMARK --save-mark",
            "-j REJECT --reject-with tcp-reset", "-j NOTRACK", "-j TOS --set-tos 0x10", "-j DNAT", "-j NOWHERE",
        ]).prop_map(str::to_owned),
    ];
    let rule = (part.clone(), part, target).prop_map(|(a, b, t)| format!("{a} {b} {t}"));
    let n = || select(vec!["1", "1", "1", "2", "2", "3", "4", "9", "0", "x"]);
    let spec = select(vec!["-A", "-A", "-A", "-A", "-I", "-I", "-D", "-C", "--append", "--insert", "--del"]);
    let command = prop_oneof![
        14 => (spec, chain(), rule.clone()).prop_map(|(c, chain, rule)| format!("{c} {chain} {rule}")),
        3 => (chain(), n(), rule.clone()).prop_map(|(c, n, rule)| format!("-I {c} {n} {rule}")),
        3 => (chain(), n(), rule).prop_map(|(c, n, rule)| format!("-R {c} {n} {rule}")),
        3 => (chain(), n()).prop_map(|(c, n)| format!("-D {c} {n}")),
        5 => chain().prop_map(|c| format!("-N {c}")),
        2 => select(vec!["-N ACCEPT", "-N LOG", "-N --x", "-N", "-N a-name-of-one-byte-more-than-28"]).prop_map(str::to_owned),
        2 => chain().prop_map(|c| format!("-X {c}")),
        2 => (chain(), chain()).prop_map(|(a, b)| format!("-E {a} {b}")),
        2 => (chain(), select(vec!["ACCEPT", "DROP", "REJECT", ""])).prop_map(|(c, p)| format!("-P {c} {p}")),
        2 => chain().prop_map(|c| format!("-F {c}")),
        2 => chain().prop_map(|c| format!("-Z {c}")),
        1 => (chain(), n()).prop_map(|(c, n)| format!("-Z {c} {n}")),
        1 => select(vec![
            "-F", "-X", "-Z", "-L -Z", "-S", "-L -n -x -v", "-A", "-L -A a", "-F -X", "-L -s 10.0.0.1", "-S -n", "-D INPUT -c 1 2 -j DROP",
            "-w -L -n", "-w 5 -L -n", "-w x -L -n", "-n", "--nothing", "-A INPUT ! ! -i x", "-A INPUT -n", "-4 -L -n", "-6 -L -n",
        ]).prop_map(str::to_owned),
        2 => (chain(), n()).prop_map(|(c, n)| format!("-L {c} {n} -n")),
        2 => (chain(), n()).prop_map(|(c, n)| format!("-S {c} {n}")),
        2 => chain().prop_map(|c| format!("-v -x -n -L {c}")),
        1 => chain().prop_map(|c| format!("-vS {c}")),
    ];
    let table = select(vec!["", "", "", "-t filter", "-t nat", "-t mangle", "-t raw", "-t none"]);
    let verbose = select(vec!["", "", "", "-v"]);
    (table, verbose, command).prop_map(|(t, v, c)| format!("{t} {v} {c}")).boxed()
}

/// What we do otherwise on purpose.
fn differs(words: &[String]) -> bool {
    let has = |w: &str| words.iter().any(|x| x == w);
    // Lists and what `-v` says of `-F`, `-X` and `-Z` are made where the command line is.
    let lists_names = ["-F", "-X", "-Z"].iter().any(|c| has(c)) && has("-v");
    // `-v` twice shows the kernel's bytes.
    let v = |w: &&String| w.starts_with('-') && !w.starts_with("--") && w.contains('v');
    // Policies' counters are theirs to forget.
    lists_names || words.iter().filter(v).count() > 1 || (has("-L") && has("-v") && !has("-x"))
}

fn beside_the_kernel(family: Family) {
    if !tools::usable(&tools::IPTABLES) {
        return;
    }
    let kernel = Kernel::new(family);
    let cases = std::env::var("SEKISHO_RULES_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let config = ProptestConfig {
        cases,
        max_shrink_iters: 300,
        max_local_rejects: u32::MAX,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let all = proptest::collection::vec(line(family), 1..25);
    let told = TestRunner::new(config).run(&all, |lines| {
        for table in ["raw", "mangle", "nat", "filter"] {
            for clear in ["-F", "-X"] {
                let (code, _, said) = kernel.command(&words(&format!("-t {table} {clear}")));
                prop_assert_eq!(code, 0, "{}", said);
            }
        }
        for (table, chains) in [
            ("raw", &["PREROUTING", "OUTPUT"][..]),
            ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
            ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
        ] {
            for chain in chains {
                kernel.command(&words(&format!("-t {table} -P {chain} ACCEPT")));
            }
        }
        let mut ours = Ours::new(family);
        let mut history = String::new();
        for line in lines {
            let words = words(&line);
            let (their_code, their_text, their_words) = kernel.command(&words);
            let (code, text, said) = ours.run(&words);
            history.push_str(&format!("{line}    {their_code} {their_words}\n"));
            prop_assert_eq!(code, their_code, "{}\nthey: {}\nwe: {}", history, their_words, said);
            if code == 1 {
                // The tool's own words stand first in ours.
                let theirs =
                    their_words.trim().trim_start_matches("ip6tables: ").trim_start_matches("iptables: ");
                let theirs = theirs.trim_end_matches(" Run `dmesg' for more information.");
                // Of a rule with a target that has options, the tool forgets that it was looking for one.
                let forgets = theirs.starts_with("No chain") && said.starts_with("Bad rule");
                // What is wrong in two ways has two names; of loops the kernel's is the last.
                let same = said.starts_with(theirs) || forgets || said.contains("A loop of jumps");
                prop_assert!(same, "{}\nthey: {}\nwe: {}", history, theirs, said);
            }
            if code == 0 && !differs(&words) {
                prop_assert_eq!(text, their_text, "{}", history);
            }
        }
        for table in ["raw", "mangle", "nat", "filter"] {
            for (theirs, mine) in shown(&kernel, &mut ours, table) {
                prop_assert_eq!(mine, theirs, "{}\n{}", table, history);
            }
        }
        Ok(())
    });
    told.unwrap_or_else(|e| panic!("{e}"));
}

/// Texts for -restore with its options, one after the other.
const TEXTS: &[(&str, &str)] = &[
    (
        "-c",
        "*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n[1:2] -A INPUT -p tcp -j a\n[3:4] -A a -j RETURN\nCOMMIT\n",
    ),
    ("-n", "*filter\n-A INPUT -p udp -j ACCEPT\nCOMMIT\n"),
    ("-n", "*filter\n:a - [0:0]\n-A a -p tcp -j DROP\nCOMMIT\n"),
    ("-n -c", "*filter\n:b - [0:0]\n[5:6] -A b -j DROP\n[7:8] -I INPUT 1 -j b\nCOMMIT\n"),
    ("--noflush", "*filter\n-D INPUT -p udp -j ACCEPT\n-R INPUT 1 -p tcp -j b\n-N c\n-E c d\n-F a\nCOMMIT\n"),
    ("--noflush", "*filter\n:INPUT ACCEPT [0:0]\n-Z\nCOMMIT\n"),
    ("--noflush", "*filter\n-X a\nCOMMIT\n"),
    ("--noflush", "*filter\n-N b\nCOMMIT\n"),
    ("--noflush", "*filter\n-A none -j DROP\nCOMMIT\n"),
    ("--noflush", "*filter\n-A INPUT -j none\nCOMMIT\n"),
    ("--test", "*filter\n-A FORWARD -j DROP\nCOMMIT\n"),
    ("--test", "*filter\n-A FORWARD -j DROP --foo\nCOMMIT\n"),
    ("-T nat", "*filter\n-A FORWARD -j DROP\nCOMMIT\n*nat\n-A POSTROUTING -p tcp -j ACCEPT\nCOMMIT\n"),
    ("-t -n", "*nat\n-D POSTROUTING 9\nCOMMIT\n"),
    ("", "*filter\n:INPUT NOTHING [0:0]\nCOMMIT\n"),
    ("", "*filter\n:x DROP\nCOMMIT\n"),
    ("", "*filter\n:x -\n:x -\nCOMMIT\n"),
    ("", "*none\nCOMMIT\n"),
    ("", "*filter\n-A INPUT -j ACCEPT\n"),
    ("", "-A INPUT -j ACCEPT\n"),
    ("", "*filter\n:x - [0:0]\n:y - [0:0]\n-A INPUT -j x\n-A x -j y\n-A y -j x\nCOMMIT\n"),
    ("", "*filter\n-A INPUT -j MASQUERADE\nCOMMIT\n"),
    ("", "*filter\n[a:b] -A INPUT -j ACCEPT\nCOMMIT\n"),
    ("-c", "*filter\n[a:b] -A INPUT -j ACCEPT\nCOMMIT\n"),
    ("-c", "*filter\n[1:2 -A INPUT -j ACCEPT\nCOMMIT\n"),
    ("", "*filter\n[9:9] -A INPUT -j ACCEPT\n-A OUTPUT -c 5 6 -j ACCEPT\nCOMMIT\n"),
    ("", "*filter\nCOMMIT\n"),
];

fn texts_beside_the_kernel(family: Family) {
    if !tools::usable(&tools::IPTABLES) {
        return;
    }
    let kernel = Kernel::new(family);
    let mut ours = Ours::new(family);
    for (options, text) in TEXTS {
        let given: Vec<&str> = options.split_whitespace().collect();
        let (their_code, their_words) = kernel.restore(&given, text);
        let has = |a: &str, b: &str| given.contains(&a) || given.contains(&b);
        let how = iptables::Restore {
            noflush: has("-n", "--noflush"),
            counters: has("-c", "--counters"),
            table: has("-T", "--table").then(|| "nat".to_owned()),
        };
        let (code, said) = match iptables::restore(text, &how, &ours.rules) {
            Ok(edited) => {
                if !has("-t", "--test") {
                    // What goes on counting has counted nothing here but what texts said.
                    let counts = counts(&ours.rules);
                    ours.rules = edited.rules;
                    let mut from = edited.from.into_iter();
                    each(&mut ours.rules, |count| {
                        let Some(legacy) = from.next().flatten() else { return };
                        *count = if legacy.zeroed { Count::default() } else { counts[legacy.counter] };
                    });
                }
                (0, String::new())
            }
            Err(no) => (i32::from(no.no.code()), format!("line {}: {}", no.line, no.no)),
        };
        assert_eq!(code, their_code, "{options} {text}they: {their_words}\nwe: {said}");
        // Both name the same line, but for what the kernel says only of the whole.
        let line = |words: &str| {
            let behind = words.split("line").last().unwrap_or("").trim_start_matches([':', ' ']);
            behind.chars().take_while(char::is_ascii_digit).collect::<String>()
        };
        let (theirs, mine) = (line(&their_words), line(said.split(": ").next().unwrap_or("")));
        let of_the_whole = text.contains("MASQUERADE") || text.contains("-A y -j x");
        assert!(of_the_whole || theirs == mine, "{options} {text}they: {their_words}\nwe: {said}");
        for table in ["filter", "nat"] {
            for (theirs, mine) in shown(&kernel, &mut ours, table) {
                assert_eq!(mine, theirs, "{options} {text}");
            }
        }
    }
}

fn each(rules: &mut Ruleset, mut each: impl FnMut(&mut Count)) {
    for chain in rules.tables.iter_mut().flat_map(|t| &mut t.chains) {
        each(&mut chain.counters);
        chain.rules.iter_mut().for_each(|r| each(&mut r.counters));
    }
}

fn counts(rules: &Ruleset) -> Vec<Count> {
    let mut all = Vec::new();
    each(&mut rules.clone(), |count| all.push(*count));
    all
}

#[test]
fn v4_texts() {
    isolate::test(|| texts_beside_the_kernel(Family::V4));
}

#[test]
fn v6_texts() {
    isolate::test(|| texts_beside_the_kernel(Family::V6));
}

#[test]
fn v4_commands() {
    isolate::test(|| beside_the_kernel(Family::V4));
}

#[test]
fn v6_commands() {
    isolate::test(|| beside_the_kernel(Family::V6));
}
