//! Rules changed while a router runs, in the words of iptables. It has no links, so it needs no rights.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::live::{Router, said};
use crate::{Ran, sekisho};

/// A router with a few rules.
fn router() -> (tempfile::TempDir, Router) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let control = dir.path().join("gw.sock");
    let rules = "rules4 = '''\n*filter\n:FORWARD DROP [8:9]\n:mine -\n[7:420] -A FORWARD -p tcp -m tcp --dport 80 -j mine\n\
                 [1:60] -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n'''\n";
    let text = format!("[router]\nname = \"gw\"\nworkers = 2\ncontrol = {control:?}\n[firewall]\n{rules}");
    fs::write(dir.path().join("gw.toml"), text).expect("it can be written to");
    let router = Router::start(dir.path());
    (dir, router)
}

fn run(dir: &Path, line: &str) -> Ran {
    let words: Vec<&str> = ["--control", "gw.sock"].into_iter().chain(line.split(' ')).collect();
    sekisho(dir, &words)
}

/// Something that goes well and says nothing.
#[track_caller]
fn done(dir: &Path, line: &str) {
    let ran = run(dir, line);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{line}");
}

fn save(dir: &Path) -> String {
    said(dir, "iptables-save -c --control gw.sock")
}

fn restore(dir: &Path, options: &str, text: &str) -> Ran {
    fs::write(dir.join("new.rules"), text).expect("it can be written to");
    run(dir, &format!("iptables-restore {options} new.rules").replace("  ", " "))
}

#[test]
fn rules_are_changed_and_listed_while_the_router_runs() {
    let (dir, router) = router();
    let dir = dir.path();
    done(dir, "iptables -N more");
    done(dir, "iptables -A more -s 10.0.0.1,10.0.0.2 -j DROP");
    done(dir, "iptables -I FORWARD 2 -p udp --dport 53 -c 5 6 -j more");
    done(dir, "iptables -t nat -A POSTROUTING -o wan -j MASQUERADE");
    done(dir, "iptables -P INPUT DROP");
    let listed = "Chain FORWARD (policy DROP 8 packets, 9 bytes)\n\
        num   pkts bytes target     prot opt in     out     source               destination         \n\
        1        7   420 mine       6    --  *      *       0.0.0.0/0            0.0.0.0/0            tcp dpt:80\n\
        2        5     6 more       17   --  *      *       0.0.0.0/0            0.0.0.0/0            udp dpt:53\n\
        3        1    60 ACCEPT     0    --  *      *       0.0.0.0/0            0.0.0.0/0            ctstate ESTABLISHED";
    assert_eq!(said(dir, "iptables -L FORWARD -n -v --line-numbers --control gw.sock"), listed);
    let commands = "-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N mine\n-N more\n-A FORWARD -p tcp -m tcp --dport 80 -j mine\n\
        -A FORWARD -p udp -m udp --dport 53 -j more\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n\
        -A more -s 10.0.0.1/32 -j DROP\n-A more -s 10.0.0.2/32 -j DROP";
    assert_eq!(said(dir, "--control gw.sock iptables -S"), commands);
    assert_eq!(said(dir, "--control gw.sock iptables -S more 2"), "-A more -s 10.0.0.2/32 -j DROP");
    let nat = "Chain POSTROUTING (policy ACCEPT)\ntarget     prot opt source               destination         \n\
               MASQUERADE  all  --  anywhere             anywhere            ";
    assert_eq!(said(dir, "--control gw.sock iptables -t nat -L POSTROUTING"), nat);
    done(dir, "iptables -C more -s 10.0.0.2 -j DROP");
    assert_eq!(run(dir, "iptables -v -D more 1").out, "");
    let told = "ACCEPT  all opt -- in * out *  0.0.0.0/0  -> 0.0.0.0/0  \n";
    assert_eq!(run(dir, "iptables -v -R more 1 -j ACCEPT").out, told);
    assert_eq!(run(dir, "iptables -vF more").out, "Flushing chain `more'\n");
    done(dir, "iptables -D FORWARD 2");
    done(dir, "iptables -X more");
    // Of what is shown, all begins at zero.
    assert!(said(dir, "--control gw.sock iptables -S FORWARD -v -Z").contains("--dport 80 -c 7 420 -j mine"));
    assert!(
        save(dir).contains(":FORWARD DROP [0:0]") && save(dir).contains("[0:0] -A FORWARD -p tcp"),
        "{}",
        save(dir)
    );
    let json = said(dir, "--control gw.sock iptables -L FORWARD --json");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json[0]["chain"], &json[0]["policy"]), (&"FORWARD".into(), &"DROP".into()));
    let rule = &json[0]["rules"][1];
    assert_eq!((&rule["num"], &rule["target"], &rule["packets"]), (&2.into(), &"ACCEPT".into(), &0.into()));
    assert_eq!(rule["rule"], "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT");
    // IPv6 has rules of its own.
    done(dir, "ip6tables -A INPUT -s fd00::/8 -p ipv6-icmp --icmpv6-type 128 -j ACCEPT");
    let six = "-A INPUT -s fd00::/8 -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT";
    assert!(said(dir, "--control gw.sock ip6tables -S").contains(six));
    assert!(
        said(dir, "--control gw.sock ip6tables -t raw -L -n")
            .starts_with("Chain PREROUTING (policy ACCEPT)\n")
    );
    assert_eq!(router.terminate(), Some(0));
}

#[test]
fn what_is_refused_changes_nothing_and_is_told_as_iptables_does() {
    let (dir, router) = router();
    let dir = dir.path();
    let before = save(dir);
    for (line, code, said) in [
        ("iptables -N mine", 1, "iptables: Chain already exists.\nThere is a chain 'mine' already\n"),
        ("iptables -X mine", 1, "iptables: Too many links.\nRules still go to chain 'mine'\n"),
        (
            "iptables -A none -j DROP",
            1,
            "iptables: No chain/target/match by that name.\nThere is no chain 'none' in table filter\n",
        ),
        (
            "iptables -L none",
            1,
            "iptables: No chain/target/match by that name.\nThere is no chain 'none' in table filter\n",
        ),
        (
            "iptables -C FORWARD -j DROP",
            1,
            "iptables: Bad rule (does a matching rule exist in that chain?).\n",
        ),
        (
            "iptables -D FORWARD 9",
            1,
            "iptables: Index of deletion too big.\nThere is no rule 9 in FORWARD, which has 2\n",
        ),
        (
            "iptables -A mine -j mine",
            1,
            "iptables: Too many levels of symbolic links.\nA loop of jumps: mine and back\n",
        ),
        (
            "iptables -A FORWARD -j none",
            2,
            "iptables: Couldn't load target `none':No such file or directory: target 'none' is unknown, and there is no chain 'none' (chains are declared before rules go to them)\n",
        ),
        (
            "iptables -A FORWARD --foo",
            2,
            "iptables: unknown option \"--foo\"; see `sekisho iptables --help`\n",
        ),
        (
            "iptables -A FORWARD -m recent",
            2,
            "iptables: Couldn't load match `recent':No such file or directory: match 'recent' is not supported here (yet): `-m limit` is there, for all senders together; see `sekisho iptables --help`\n",
        ),
        ("ip6tables -4 -L", 2, "ip6tables: -4 is for IPv4: use iptables; see `sekisho ip6tables --help`\n"),
        (
            "iptables -t none -L",
            3,
            "iptables: can't initialize iptables table `none': Table does not exist: there are raw, mangle, nat and filter\n",
        ),
    ] {
        let ran = run(dir, line);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (code, "", said), "{line}");
    }
    for (text, code, said) in [
        (
            "*filter\n-A INPUT -j DROP\nCOMMIT\n*nat\n-A none\nCOMMIT\n",
            1,
            "iptables-restore: line 5 failed: there is no chain 'none' in table nat\n",
        ),
        (
            "*filter\n-A INPUT --foo\nCOMMIT\n",
            2,
            "iptables-restore: unknown option \"--foo\"\nError occurred at line: 2\n",
        ),
        (
            "*filter\n-A INPUT -j DROP\n",
            1,
            "iptables-restore: COMMIT expected at line 3, the end of table filter\n",
        ),
    ] {
        let ran = restore(dir, "-c", text);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (code, "", said), "{text}");
    }
    let ran = run(dir, "iptables-restore no-such-file");
    assert!(
        ran.code == 1 && ran.err.starts_with("iptables-restore: can't read no-such-file: "),
        "{}",
        ran.err
    );
    assert_eq!(save(dir), before);
    assert_eq!(router.terminate(), Some(0));
}

#[test]
fn texts_are_loaded_whole_and_what_is_saved_loads_again() {
    let (dir, router) = router();
    let dir = dir.path();
    let before = save(dir);
    // What was saved says what there is.
    done(dir, "iptables-save -c -f saved.rules");
    let saved = fs::read_to_string(dir.join("saved.rules")).expect("it was written");
    assert_eq!(saved.trim_end(), before);
    assert_eq!(restore(dir, "--test", "*filter\nCOMMIT\n").code, 0);
    assert_eq!(save(dir), before);
    let add = "*filter\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n*raw\n-A PREROUTING -j NOTRACK\nCOMMIT\n";
    assert_eq!(restore(dir, "--noflush", add).code, 0);
    let after = save(dir);
    assert!(after.contains("[7:420] -A FORWARD -p tcp") && after.contains("*raw\n"), "{after}");
    assert_eq!(restore(dir, "-T raw", "*filter\nCOMMIT\n*raw\nCOMMIT\n").code, 0);
    assert!(!save(dir).contains("NOTRACK") && save(dir).contains("[7:420]"), "{}", save(dir));
    // Without -c all begins at zero; with it where the text says.
    assert_eq!(run(dir, "iptables-restore saved.rules").code, 0);
    assert!(save(dir).contains("[0:0] -A FORWARD -p tcp"), "{}", save(dir));
    assert_eq!(run(dir, "iptables-restore -c saved.rules").code, 0);
    assert!(save(dir).ends_with(&before) || save(dir).starts_with(&before), "{}", save(dir));
    let mut child = assert_cmd::Command::new(env!("CARGO_BIN_EXE_sekisho"));
    let from_stdin = child.current_dir(dir).args(["iptables-restore", "--control", "gw.sock"]);
    from_stdin.write_stdin("*filter\n-A OUTPUT -j ACCEPT\nCOMMIT\n").assert().success();
    assert!(save(dir).contains("-A OUTPUT -j ACCEPT") && !save(dir).contains("FORWARD -p"), "{}", save(dir));
    assert_eq!(router.terminate(), Some(0));
}

#[test]
fn words_that_are_not_understood_need_no_router() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for line in ["iptables -A", "iptables", "ip6tables -A INPUT -p", "iptables -A INPUT -s ::1"] {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = sekisho(dir.path(), &words);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (2, "", 1), "{line}: {}", ran.err);
    }
    assert!(said(dir.path(), "iptables -p tcp -h").starts_with("Show and change the IPv4 rules"));
    assert!(said(dir.path(), "ip6tables -V").starts_with("ip6tables v1.8.9 (sekisho "));
}
