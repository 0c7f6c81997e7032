//! The routes of a configuration, put together.

use std::fs;

use super::*;
use crate::fib::{Action, Family, Table};

/// Two links; further lines begin at line 8.
const HEAD: &str = "[router]\nname = \"gw\"\n\
    [link.lan]\nkind = \"packet\"\naddresses = [\"10.1.0.1/24\", \"fd01::1/64\"]\n\
    [link.wan]\naddresses = [\"10.2.0.1/24\"]\nkind = \"tap\"\n";

/// What is said of the routes in this text behind the head, by line from the end of the head.
fn said(text: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    said_in(&dir, text)
}

fn said_in(dir: &tempfile::TempDir, text: &str) -> Vec<String> {
    let path = dir.path().join("gw.toml");
    fs::write(&path, format!("{HEAD}{text}")).unwrap();
    let (_, problems) = check(&path);
    let head = HEAD.lines().count();
    let brief = |p: &Problem| {
        let name = p.file.file_name().unwrap().to_str().unwrap();
        let line = if p.file == path && p.line > 0 { p.line - head } else { p.line };
        format!("{name}:{line}: {}", p.text)
    };
    problems.iter().map(brief).collect()
}

#[test]
fn routes_are_those_of_addresses_and_file() {
    let c = good(&format!(
        "{HEAD}[link.lo]\naddresses = [\"192.0.2.9\"]\n[[route]]\nto = \"default\"\nvia = \"10.2.0.2\"\n\
         [[route]]\nto = \"198.51.100.0/24\"\nvia = \"10.9.0.1\"\nmetric = 5\nsrc = \"10.1.0.1\"\n\
         [[route]]\nto = \"10.9.0.0/16\"\nvia = \"10.1.0.7\"\n\
         [[route]]\nto = \"10.8.0.0/16\"\nvia = \"10.7.0.1\"\ndev = \"lan\"\nonlink = true\n"
    ));
    let links = c.links_table();
    let rib = c.routing(&links).unwrap();
    let fib = rib.build(&links).unwrap();
    let shown: Vec<_> = rib.show(Family::V4, Table::Main).map(|r| r.display(&links).to_string()).collect();
    assert_eq!(
        shown,
        [
            "default via 10.2.0.2 dev wan proto static",
            "10.1.0.0/24 dev lan proto kernel scope link src 10.1.0.1",
            "10.2.0.0/24 dev wan proto kernel scope link src 10.2.0.1",
            "10.8.0.0/16 via 10.7.0.1 dev lan proto static onlink",
            "10.9.0.0/16 via 10.1.0.7 dev lan proto static",
            "198.51.100.0/24 via 10.9.0.1 proto static src 10.1.0.1 metric 5",
        ]
    );
    let way = |dst: &str| match &fib.lookup(dst.parse().unwrap()).unwrap().action {
        Action::Forward(hops) => hops.iter().map(|h| (h.link, h.via)).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let lan = links.named("lan").unwrap().id;
    assert_eq!(way("198.51.100.1"), [(lan, Some("10.1.0.7".parse().unwrap()))]);
    let own = &fib.lookup("192.0.2.9".parse().unwrap()).unwrap().action;
    assert!(matches!(own, Action::Local(_)), "{own:?}");
}

#[test]
fn routes_without_a_way_out() {
    assert_eq!(
        said(
            "[[route]]\nto = \"198.51.100.0/24\"\nvia = \"10.9.0.1\"\n\
             [[route]]\nto = \"203.0.113.0/24\"\nvia = \"10.9.0.1\"\n\
             [[route]]\nto = \"default\"\nvia = \"10.2.0.2\"\n\
             [[route]]\nto = \"192.0.2.0/24\"\nvia = \"10.2.0.3\"\ndev = \"lan\"\n"
        ),
        [
            "gw.toml:1: route 198.51.100.0/24: no way out: only the default route leads to 10.9.0.1; give a next hop in 10.1.0.0/24 (lan), 10.2.0.0/24 (wan), or dev and onlink",
            "gw.toml:4: route 203.0.113.0/24: no way out: only the default route leads to 10.9.0.1; give a next hop in 10.1.0.0/24 (lan), 10.2.0.0/24 (wan), or dev and onlink",
            "gw.toml:10: route 192.0.2.0/24: no way out: 10.2.0.3 is not on lan, where 10.1.0.0/24 is; mend one of them, or add onlink",
        ]
    );
    assert_eq!(
        said("[[route]]\nto = \"fd09::/64\"\nvia = \"fd08::1\"\n"),
        [
            "gw.toml:1: route fd09::/64: no way out: no route leads to fd08::1; give a next hop in fd01::/64 (lan), or dev and onlink"
        ]
    );
    let around = said(
        "[[route]]\nto = \"10.8.0.0/24\"\nvia = \"10.9.0.1\"\n[[route]]\nto = \"10.9.0.0/24\"\nvia = \"10.8.0.1\"\n",
    );
    assert_eq!(around.len(), 2, "{around:?}");
    assert!(
        around[0].starts_with("gw.toml:1: route 10.8.0.0/24: ") && around[0].contains("10.9.0.1"),
        "{around:?}"
    );
    assert!(around[1].starts_with("gw.toml:4: route 10.9.0.0/24: "), "{around:?}");
}

#[test]
fn routes_that_are_there_twice() {
    assert_eq!(
        said(
            "[[route]]\nto = \"default\"\nvia = \"10.2.0.2\"\n[[route]]\nto = \"0.0.0.0/0\"\nvia = \"10.2.0.3\"\n\
             [[route]]\nto = \"10.1.0.0/24\"\nvia = \"10.2.0.3\"\n\
             [[route]]\nto = \"default\"\nvia = \"10.2.0.3\"\nmetric = 1\n"
        ),
        [
            "gw.toml:4: route default: is there already with metric 0 (line 9): give another metric",
            "gw.toml:7: route 10.1.0.0/24: is there already, on the link with that prefix: give a metric above 0",
        ]
    );
}

#[test]
fn other_mistakes_neither_hide_nor_make_these() {
    // The broken link's addresses count, and what may be behind the broken route is not complained about.
    assert_eq!(
        said(
            "[link.dmz]\nkind = \"packt\"\naddresses = [\"10.3.0.1/24\"]\n\
             [[route]]\nto = \"198.51.100.0/24\"\nvia = \"10.3.0.2\"\n\
             [[route]]\nto = \"10.8.0.0/16\"\nvia = \"10.1.0.2\"\nmetric = -1\n\
             [[route]]\nto = \"203.0.113.0/24\"\nvia = \"10.8.0.1\"\n\
             [[route]]\nto = \"192.0.2.0/24\"\nvia = \"10.99.0.1\"\n"
        ),
        [
            "gw.toml:2: link dmz: kind: 'packt' is none of packet, tap, tun (did you mean packet?)",
            "gw.toml:10: route 10.8.0.0/16: metric: -1 is out of range: 0 to 4294967295",
            "gw.toml:14: route 192.0.2.0/24: no way out: no route leads to 10.99.0.1; give a next hop in 10.1.0.0/24 (lan), 10.2.0.0/24 (wan), 10.3.0.0/24 (dmz), or dev and onlink",
        ]
    );
}

#[test]
fn route_files_are_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[[route]]\nto = \"203.0.113.0/24\"\nvia = \"10.9.0.1\"\n";
    let with = |routes: &str| {
        fs::write(dir.path().join("more.txt"), routes).unwrap();
        let path = dir.path().join("gw.toml");
        fs::write(
            &path,
            format!("{}{text}", HEAD.replace("\n[link.lan]", "\nroute_files = [\"more.txt\"]\n[link.lan]")),
        )
        .unwrap();
        let (config, problems) = check(&path);
        let brief =
            |p: &Problem| format!("{}:{}: {}", p.file.file_name().unwrap().to_str().unwrap(), p.line, p.text);
        (config.unwrap(), problems.iter().map(brief).collect::<Vec<_>>())
    };
    let (config, said) = with("# more\n10.9.0.0/16 via 10.1.0.2 dev lan\n\nblackhole 198.51.100.0/24\n");
    assert_eq!(said, [""; 0]);
    let main = config.rib().unwrap().show(Family::V4, Table::Main).count();
    assert_eq!(main, 5);

    let (_, said) = with("10.9.0.0/16 via 10.1.0.2 dev lna\n10.7.0.0/33\n198.51.100.0/24 via 10.1.0.2\n");
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("more.txt:1: ") && said[0].contains("'lna'"), "{said:?}");
    assert!(said[1].starts_with("more.txt:2: "), "{said:?}");

    let (_, said) = with("10.9.0.0/16 via 10.1.0.2\n198.51.100.0/24 via 10.66.0.1\n203.0.113.0/24 dev lan\n");
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].starts_with("more.txt:2: route 198.51.100.0/24: no way out: no route leads to 10.66.0.1;"),
        "{said:?}"
    );
    assert!(said[1].starts_with("more.txt:3: "), "{said:?}");

    // What a broken line leads to is not complained about, the rest is.
    let (_, said) = with("10.9.0.0/16 via 10.1.0.2 dev lna\n198.51.100.0/24 via 10.66.0.1\n");
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[1].starts_with("more.txt:2: route 198.51.100.0/24: no way out"), "{said:?}");

    let (_, said) = with(&"nonsense\n".repeat(50));
    assert_eq!(said.len(), 21, "{said:?}");
    assert_eq!(said[20], "more.txt:0: … and 30 more lines are no routes");
}

#[test]
fn route_files_that_can_not_be_read() {
    let said = said_in(&tempfile::tempdir().unwrap(), "");
    assert_eq!(said, [""; 0]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gw.toml");
    fs::write(&path, "[router]\nname = \"gw\"\nroute_files = [\"none.txt\"]\n").unwrap();
    let (_, problems) = check(&path);
    let said = problems.to_string();
    assert!(said.contains("gw.toml:3: ") && said.contains("none.txt: can't be read: No such file"), "{said}");
}
