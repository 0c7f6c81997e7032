//! Files that are reloaded, and what is said of them before.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::RouteOp;
use crate::control::protocol::Reload;

/// What `diff` shows of a file, and why it is refused, if it is.
fn diff(engine: &Engine, file: &Path) -> (Vec<serde_json::Value>, Result<(), Refusal>) {
    let (parts, end) = match engine.diff(Some(file.to_owned()), false) {
        Answer::Parts(parts) => (parts.collect(), Ok(())),
        Answer::PartsBut(parts, no) => (parts.collect(), Err(no)),
        Answer::Refused(no) => (Vec::new(), Err(no)),
        _ => panic!("another answer"),
    };
    let list = |part: serde_json::Value| part.as_array().cloned().unwrap_or_default();
    (parts.into_iter().flat_map(list).collect(), end)
}

fn reload(engine: &mut Engine, file: &Path) -> Result<Applied, Refusal> {
    engine.reload(&Reload { file: Some(file.to_owned()), confirm: None })
}

/// Has both say what they say of a file; gives whether it is in force then, and what else was shown.
fn both(engine: &mut Engine, file: &Path) -> (Result<(), Refusal>, Vec<serde_json::Value>) {
    let before = engine.setup.load_full();
    let (shown, said) = diff(engine, file);
    assert!(Arc::ptr_eq(&before, &engine.setup.load_full()), "a diff changes nothing");
    let done = reload(engine, file).map(drop);
    assert_eq!(said, done, "{}", file.display());
    if done.is_ok() {
        let (differs, end) = diff(engine, file);
        assert_eq!((differs, end), (Vec::new(), Ok(())), "what is in force differs in nothing");
    } else {
        assert!(Arc::ptr_eq(&before, &engine.setup.load_full()));
    }
    (done, shown)
}

#[test]
fn what_a_reload_refuses_a_diff_refuses_in_the_same_words() {
    let (_, mut engine) = engine(TWO_WAYS);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gw.toml");
    let links = |n: usize| -> String {
        (0..n).map(|n| format!("[link.t{n}]\nkind = \"packet\"\ndevice = \"no-such-{n}\"\n")).collect()
    };
    let user = "user = 12345\n";
    for (router, rest, why) in [
        ("", "", ""),
        ("", "[icmp]\nrate = 7\n", ""),
        ("", "[rute]\n", "rute"),
        ("", "[[route]]\nto = \"192.0.2.0/24\"\nvia = \"172.16.0.1\"\n", "no way out"),
        ("route_files = [\"nowhere.txt\"]\n", "", "nowhere.txt"),
        ("", "[firewall]\nrules4 = \"*filter\\n-A FORWARD -j NOWHERE\\nCOMMIT\\n\"\n", "NOWHERE"),
        ("", "[firewall]\nrules4_file = \"nowhere.v4\"\n", "nowhere.v4"),
        ("name = \"other\"\n", "", "[router] name"),
        ("workers = 2\n", "", "[router] workers"),
        ("flow_cache = \"off\"\n", "", ""),
        ("control = \"/tmp/other.sock\"\n", "", "[router] control"),
        ("metrics = \"127.0.0.1:0\"\n", "", "[router] metrics"),
        ("group = 12345\n", "", "[router] group"),
        (
            "workers = 2\ngroup = 12345\n",
            "[conntrack]\nmax = 2000000000\n",
            "workers, [router] group, [conntrack] max",
        ),
        (user, "", "user"),
        ("", "[conntrack]\nmax = 2000000000\n", "[conntrack] max beyond"),
        ("", "[conntrack]\nmax = 1000\n", ""),
        ("", "[link.more]\nkind = \"packet\"\ndevice = \"no-such-one\"\n", "no-such-one"),
        ("", &links(300), "room"),
        ("", "\u{0}", "gw.toml"),
    ] {
        std::fs::write(&file, format!("[router]\n{router}\n{TWO_WAYS}\n{rest}")).unwrap();
        let (said, shown) = both(&mut engine, &file);
        let text = said.as_ref().err().map_or_else(String::new, |no| no.text.clone());
        assert!(said.is_ok() == why.is_empty() && text.contains(why), "{router}{why}: {text}");
        // Whoever is refused for what takes a restart sees what that is.
        let marked = shown.iter().filter(|d| d["note"] == "takes a restart").count();
        assert_eq!(marked, text.matches("[router] ").count() + text.matches("max beyond").count(), "{text}");
    }
}

/// A link keeps its name and is to have a device that is none for it.
#[test]
fn another_device_is_looked_at_though_the_link_is_there() {
    let (_, engine) = engine(TWO_WAYS);
    let now = engine.setup.load_full();
    let look = |near: &str, far: &str| {
        let mut next = Setup::clone(&now);
        for link in &mut next.config.links {
            link.device = if link.name == "near" { near } else { far }.to_owned();
        }
        engine.devices.look(&now, &next)
    };
    // This one is everywhere. No file may name it, but it is like any other that is no tun.
    let no = look("lo", "far").unwrap_err();
    assert_eq!(no.errno, Some("EEXIST"), "{no}");
    // Those that links give up for each other are free, whatever they are.
    assert_eq!(look("far", "near"), Ok(()));
}

#[test]
fn files_that_are_none_are_refused_by_both_and_hold_up_nobody() {
    let (_, mut engine) = engine(TWO_WAYS);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("latin1"), b"[router]\nname = \"caf\xe9\"\n").unwrap();
    std::fs::write(at("empty"), "").unwrap();
    // As long as a file of 100 MB, and takes no room.
    std::fs::File::create(at("long")).unwrap().set_len(100 << 20).unwrap();
    std::os::unix::fs::symlink(at("loop"), at("loop")).unwrap();
    std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let odd = Path::new(std::ffi::OsStr::from_bytes(b"/nowhere/\xff\x1b[31m")).to_owned();
    for (file, why) in [
        (at("nowhere"), "can't be read"),
        (dir.path().to_owned(), "no ordinary file"),
        (at("socket"), "can't be read"),
        (at("loop"), "can't be read"),
        (at("latin1"), "UTF-8"),
        (at("long"), "longer than"),
        (PathBuf::from("/dev/zero"), "no ordinary file"),
        (at("latin1").join("below"), "can't be read"),
        (odd, "can't be read"),
        (PathBuf::from("gw.toml"), "from the root"),
        (PathBuf::new(), "from the root"),
    ] {
        let (said, _) = both(&mut engine, &file);
        let no = said.unwrap_err();
        assert!(no.text.contains(why), "{}: {no}", file.display());
    }
    assert_eq!(engine.transactions.load(Relaxed), 0);
    // One that says nothing is a router with nothing.
    let (said, _) = both(&mut engine, &at("empty"));
    assert!(said.is_ok(), "{said:?}");
}

/// A file like the one in force, with lines that are missing, twice there, or others.
fn mutated() -> impl Strategy<Value = String> {
    const OTHERS: [&str; 12] = [
        "workers = 2",
        "via = \"10.2.0.9\"",
        "via = \"172.16.0.1\"",
        "addresses = [\"10.1.0.1/24\"]",
        "addresses = [\"10.7.0.1/24\"]",
        "metric = 1",
        "[conntrack]\nmax = 2000000000",
        "[conntrack]\nmax = 200",
        "mtu = 1400",
        "kind = \"tap\"",
        "[[neighbor]]\nip = \"10.1.0.2\"\nmac = \"02:00:00:00:00:02\"\ndev = \"near\"",
        "[services]\necho = true",
    ];
    let base: Vec<String> = std::iter::once("[router]").chain(TWO_WAYS.lines()).map(str::to_owned).collect();
    let edit = (0..base.len(), 0..3usize, 0..OTHERS.len());
    proptest::collection::vec(edit, 0..4).prop_map(move |edits| {
        let mut lines = base.clone();
        for (at, what, other) in edits {
            match what {
                0 => lines[at].clear(),
                1 => lines[at] = format!("{}\n{}", lines[at], lines[at]),
                _ => lines[at] += &format!("\n{}", OTHERS[other]),
            }
        }
        // No link has another device to be opened: where that can be depends on the machine.
        lines.join("\n").replace("kind = \"tap\"\n    kind", "kind")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_diff_fails_where_a_reload_does(text in mutated()) {
        // A device of another kind would have to be made.
        prop_assume!(!text.contains("\"tap\""));
        let (_, mut engine) = engine(TWO_WAYS);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gw.toml");
        std::fs::write(&file, text).unwrap();
        let _ = both(&mut engine, &file);
    }
}

/// A change made by somebody else while a reload waits.
fn change(engine: &mut Engine, route: &str) -> Applied {
    let change = config::RouteChange::One { action: RouteOp::Add, route: route.into() };
    engine.change(&config::Change::Route(change)).unwrap()
}

#[test]
fn who_changes_something_while_a_reload_waits_is_told_what_may_become_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gw.toml");
    std::fs::write(&file, format!("{TWO_WAYS}\n[icmp]\nrate = 7\n")).unwrap();
    let waiting = || {
        let (router, mut engine) = engine(TWO_WAYS);
        engine.reload(&Reload { file: Some(file.clone()), confirm: Some(3_600) }).unwrap();
        (router, engine)
    };
    let rate = |engine: &Engine| engine.setup.load().config.icmp.rate;
    let routes = |engine: &Engine| engine.setup.load().config.own_routes().count();
    let with_note = |applied: &Applied, what: &str| applied.notes.iter().filter(|n| n.contains(what)).count();

    // Nobody confirms: all of it goes.
    let (_router, mut engine) = waiting();
    let before = routes(&engine);
    let applied = change(&mut engine, "10.8.0.0/16 via 10.1.0.2");
    assert_eq!(with_note(&applied, "unless it is, this is taken back with it"), 1, "{:?}", applied.notes);
    assert_eq!(routes(&engine), before + 1);
    let other = reload(&mut engine, &file).unwrap_err();
    assert_eq!(other.errno, Some("EBUSY"));
    let (_, end) = diff(&engine, &file);
    assert_eq!(end, Ok(()), "to look is never refused");
    engine.give_back();
    assert_eq!(rate(&engine), 7, "it is not yet time");
    engine.unconfirmed.as_mut().unwrap().until = Instant::ZERO;
    engine.give_back();
    assert_eq!((rate(&engine), routes(&engine)), (1_000, before));
    assert!(matches!(engine.confirm(), Answer::Refused(_)), "too late");
    assert_eq!(engine.transactions.load(Relaxed), 3);
    let applied = change(&mut engine, "10.8.0.0/16 via 10.1.0.2");
    assert_eq!(applied.notes, [""; 0], "nothing waits");

    // Somebody does: it stays.
    let (_router, mut engine) = waiting();
    change(&mut engine, "10.8.0.0/16 via 10.1.0.2");
    assert!(matches!(engine.confirm(), Answer::Done(_)));
    assert_eq!((rate(&engine), routes(&engine)), (7, before + 1));
    assert!(engine.unconfirmed.is_none());

    // It is taken back by hand: with what came after it, which is said.
    let (_router, mut engine) = waiting();
    change(&mut engine, "10.8.0.0/16 via 10.1.0.2");
    change(&mut engine, "10.7.0.0/16 via 10.1.0.2");
    let applied = engine.rollback(1).unwrap();
    assert_eq!(with_note(&applied, "and the 2 changes made since with it"), 1, "{:?}", applied.notes);
    assert_eq!((rate(&engine), routes(&engine)), (1_000, before));
    assert!(engine.unconfirmed.is_none());
    // And that can be taken back as well.
    engine.rollback(1).unwrap();
    assert_eq!((rate(&engine), routes(&engine)), (7, before + 2));
}

#[test]
fn a_neighbor_that_lives_is_not_taken_back_and_one_that_stays_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gw.toml");
    let text = "[link.port]\nkind = \"tap\"\naddresses = [\"10.3.0.1/24\"]\n";
    std::fs::write(&file, format!("{text}[icmp]\nrate = 7\n")).unwrap();
    let (_router, mut engine) = engine(text);
    engine.reload(&Reload { file: Some(file), confirm: Some(3_600) }).unwrap();
    for (state, notes, transactions) in [("reachable", 0, 1), ("permanent", 1, 2)] {
        let (dev, mac) = ("port".to_owned(), Some("02:00:00:00:00:09".to_owned()));
        let (ip, state) = ("10.3.0.9".parse().unwrap(), state.to_owned());
        let set = config::NeighChange::Set { ip, dev, mac, state, create: true, replace: true };
        let applied = engine.change(&config::Change::Neigh(set)).unwrap();
        assert!(applied.changed);
        assert_eq!((applied.notes.len(), applied.transaction), (notes, transactions), "{:?}", applied.notes);
    }
}

#[test]
fn a_rollback_goes_as_far_as_there_are_states() {
    let (_router, mut engine) = engine(TWO_WAYS);
    assert!(engine.rollback(1).unwrap_err().text.contains("nothing has changed"));
    for n in 1..=3 {
        change(&mut engine, &format!("10.{}.0.0/16 via 10.1.0.2", 10 + n));
    }
    for (steps, says) in [(5, "the last 3 can be taken back: give 1 to 3"), (0, "give 1 or more")] {
        let no = engine.rollback(steps).unwrap_err();
        assert!(no.text.contains(says), "{no}");
    }
    assert_eq!(engine.transactions.load(Relaxed), 3);
    engine.rollback(3).unwrap();
    assert_eq!(engine.setup.load().config.own_routes().count(), 3);
}

/// The table is read anew from its files, and is there once.
#[test]
fn a_full_table_that_is_read_again_shares_what_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (routes, file) = (dir.path().join("full.txt"), dir.path().join("gw.toml"));
    let lines = |n: u32| -> String {
        (0..n).map(|n| format!("20.{}.{}.0/24 via 10.2.0.2\n", n / 250, n % 250)).collect()
    };
    std::fs::write(&routes, lines(5_000)).unwrap();
    let text = format!("[router]\nroute_files = [\"{}\"]\n{TWO_WAYS}", routes.display());
    std::fs::write(&file, &text).unwrap();
    let (_router, mut engine) = engine(&text);
    let before = engine.setup.load_full();
    reload(&mut engine, &file).unwrap();
    assert!(Arc::ptr_eq(&before.rib, &engine.setup.load().rib), "it is the same table");
    std::fs::write(&routes, lines(5_001)).unwrap();
    reload(&mut engine, &file).unwrap();
    let after = engine.setup.load_full();
    assert_eq!(after.rib.len(), before.rib.len() + 1);
    assert!(after.rib.apart_from(&before.rib) <= 1_024, "{}", after.rib.apart_from(&before.rib));
}
