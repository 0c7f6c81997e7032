//! Rules in a configuration: what is said of bad ones, and what a running router says of good ones.

use std::fs;

use crate::live::{Router, said};
use crate::sekisho;

const LINKS: &str = "[link.lan]\nkind = \"tap\"\naddresses = [\"10.1.0.1/24\"]\n";

/// Rules for IPv4, the line that is complained of, and a word of the complaint.
const BAD: [(&str, usize, &str); 9] = [
    ("*filter\n-A FORWARD -m nonsense -j ACCEPT\nCOMMIT\n", 2, "nonsense"),
    ("*filter\n# below\n-A FORWARD -m recent --name x -j ACCEPT\nCOMMIT\n", 3, "recent"),
    ("*filter\n-A FORWARD -j NOWHERE\nCOMMIT\n", 2, "NOWHERE"),
    ("*filter\n:A -\n:B -\n-A FORWARD -j A\n-A A -j B\n-A B -j A\nCOMMIT\n", 0, "loop"),
    ("*filter\n-A FORWARD -j MASQUERADE\nCOMMIT\n", 2, "MASQUERADE"),
    ("*filter\n-A FORWARD -j ACCEPT\n", 0, "COMMIT"),
    ("*filter\n-A FORWARD -p tcp --dport http-alt-alt -j ACCEPT\nCOMMIT\n", 2, "http-alt-alt"),
    ("*security\n-A FORWARD -j ACCEPT\nCOMMIT\n", 1, "security"),
    ("-A FORWARD -j ACCEPT\n", 1, "table"),
];

#[test]
fn bad_rules_are_named_by_file_and_line_and_start_nothing() {
    for (rules, line, word) in BAD {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let control = dir.path().join("gw.sock");
        let file = format!(
            "[router]\nname = \"gw\"\ncontrol = {control:?}\n{LINKS}[firewall]\nrules4_file = \"rules.v4\"\n"
        );
        fs::write(dir.path().join("gw.toml"), file).expect("it can be written to");
        fs::write(dir.path().join("rules.v4"), rules).expect("it can be written to");
        for verb in ["check", "run"] {
            let ran = sekisho(dir.path(), &[verb, "gw.toml"]);
            assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{verb} {rules}: {}", ran.err);
            assert_eq!(ran.err.lines().count(), 1, "{verb} {rules}: {}", ran.err);
            let place = if line == 0 { "rules.v4:".to_owned() } else { format!("rules.v4:{line}: ") };
            assert!(ran.err.contains(&place) && ran.err.contains(word), "{verb} {rules}: {}", ran.err);
        }
        assert!(!control.exists());
    }
}

#[test]
fn rules_in_the_file_itself_are_named_by_its_lines() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = format!(
        "[router]\nname = \"gw\"\n{LINKS}[firewall]\nrules4 = '''\n*filter\n-A FORWARD -j NOWHERE\nCOMMIT\n'''\n\
         rules6 = \"*filter\\n-A FORWARD -j ELSEWHERE\\nCOMMIT\"\nrules6_file = \"rules.v6\"\nrules6_fiel = 1\n"
    );
    fs::write(dir.path().join("gw.toml"), file).expect("it can be written to");
    let ran = sekisho(dir.path(), &["check", "gw.toml"]);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!((ran.code, lines.len()), (1, 4), "{}", ran.err);
    assert!(lines[0].starts_with("gw.toml:9: ") && lines[0].contains("NOWHERE"), "{}", ran.err);
    assert!(lines[1].starts_with("gw.toml:12: ") && lines[1].contains("ELSEWHERE"), "{}", ran.err);
    assert_eq!(lines[2], "gw.toml:13: [firewall]: rules6_file: rules6 is there too: remove one of the two");
    assert_eq!(lines[3], "gw.toml:14: [firewall]: unknown key 'rules6_fiel'; did you mean rules6_file?");
}

#[test]
fn files_that_can_not_be_read_links_that_are_not_there_and_conntrack_that_is_off() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let check = |rest: &str| {
        fs::write(dir.path().join("gw.toml"), format!("[router]\nname = \"gw\"\n{LINKS}{rest}"))
            .expect("written");
        sekisho(dir.path(), &["check", "gw.toml"])
    };
    let ran = check("[firewall]\nrules4_file = \"none.v4\"\n");
    assert!(
        ran.code == 1
            && ran.err.starts_with("gw.toml:7: [firewall]: rules4_file: none.v4: can't be read: No such"),
        "{}",
        ran.err
    );

    fs::write(dir.path().join("latin.v4"), b"*filter\n# \xe9\nCOMMIT\n").expect("written");
    let ran = check("[firewall]\nrules4_file = \"latin.v4\"\n");
    assert_eq!((ran.code, ran.err.as_str()), (1, "latin.v4:2: not UTF-8 text: save the file as UTF-8\n"));

    let rules = "*filter\n-A FORWARD -i lan -j ACCEPT\n-A FORWARD -i l+ -o eth9 -j ACCEPT\n-A FORWARD -i eth9 -j DROP\nCOMMIT\n";
    fs::write(dir.path().join("rules.v4"), rules).expect("written");
    let ran = check("[firewall]\nrules4_file = \"rules.v4\"\n");
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (0, "rules.v4:3: warning: no link is called 'eth9'; links here are lan\n")
    );
    assert_eq!(ran.out, "gw.toml: good: 1 link, 1 address, 0 routes, 3 rules\n");

    fs::write(
        dir.path().join("nat.v4"),
        "*filter\n-A FORWARD -j ACCEPT\nCOMMIT\n*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n",
    )
    .expect("written");
    for off in ["enable = \"off\"", "max = 0"] {
        let ran = check(&format!("[firewall]\nrules4_file = \"nat.v4\"\n[conntrack]\n{off}\n"));
        assert_eq!((ran.code, ran.err.lines().count()), (1, 1), "{}", ran.err);
        assert!(ran.err.starts_with("nat.v4:5: this rule needs connection tracking"), "{}", ran.err);
    }
}

/// A router without links, which needs no rights, and with rules.
fn with_rules() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let control = dir.path().join("gw.sock");
    let rules = "rules4 = '''\n*nat\n-A POSTROUTING -o lo -j MASQUERADE\nCOMMIT\n*filter\n:FORWARD DROP\n:mine -\n\
                 -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
                 [7:420] -A FORWARD -p tcp -m comment --comment \"a web server\" -m tcp --dport 80 -j mine\nCOMMIT\n'''\n";
    let text = format!("[router]\nname = \"gw\"\nworkers = 1\ncontrol = {control:?}\n[firewall]\n{rules}");
    fs::write(dir.path().join("gw.toml"), text).expect("it can be written to");
    dir
}

#[test]
fn a_running_router_gives_its_rules_and_flows() {
    let dir = with_rules();
    let dir = dir.path();
    let router = Router::start(dir);
    let filter = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:mine - [0:0]\n\
                  -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
                  -A FORWARD -p tcp -m comment --comment \"a web server\" -m tcp --dport 80 -j mine\nCOMMIT";
    assert_eq!(said(dir, "--control gw.sock iptables-save -t filter"), filter);
    let all = said(dir, "iptables-save -c --control gw.sock");
    assert!(all.contains("*nat\n") && all.contains("\n[7:420] -A FORWARD -p tcp "), "{all}");
    assert!(all.contains("\n[0:0] -A POSTROUTING -o lo -j MASQUERADE\n"), "{all}");
    assert_eq!(said(dir, "ip6tables-save --control gw.sock"), "");
    let ran = sekisho(dir, &["iptables-save", "-t", "security"]);
    assert_eq!(ran.code, 1, "{}", ran.err);

    for (words, out) in
        [("-L", ""), ("-L -o extended", ""), ("-L -j", "[]\n"), ("-L -p tcp --state ESTABLISHED", "")]
    {
        let words: Vec<&str> =
            ["conntrack", "--control", "gw.sock"].into_iter().chain(words.split(' ')).collect();
        let ran = sekisho(dir, &words);
        let tail = "sekisho: 0 flow entries have been shown.\n";
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, out, tail), "{words:?}");
    }
    assert_eq!(said(dir, "conntrack -C --control gw.sock"), "0");
    let ran = sekisho(dir, &["conntrack", "-I"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (2, "sekisho: conntrack -I is not supported: `sekisho conntrack --help` says what there is\n")
    );
    assert_eq!(router.terminate(), Some(0));
}
