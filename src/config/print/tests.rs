use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::base::Instant;
use crate::config::{Change, Config, RouteChange, RouteFile, RouteOp, parse};
use crate::neighbor::{self, NeighborTable};

const RULES: &str = "*filter\n:INPUT ACCEPT [5:600]\n:FORWARD DROP [1:2]\n:OUTPUT ACCEPT [0:0]\n:web - [0:0]\n\
    [3:4] -A FORWARD -i lan -p tcp -m tcp --dport 80 -j web\n\
    -A web -m comment --comment \"it's '''quoted''' \\\"here\\\"\" -j ACCEPT\nCOMMIT\n";

fn setup(text: &str, path: &Path) -> Setup {
    let config = parse(text, path).unwrap_or_else(|e| panic!("{e}\n{text}"));
    Setup::build(config, None).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// A configuration without the places that it came from, and with what has no order in one.
fn plain(config: &Config) -> Config {
    let mut c = config.clone();
    c.path = "gw.toml".into();
    c.warnings.clear();
    c.links.iter_mut().for_each(|l| {
        l.line = 0;
        // The one that is made stands last.
        l.addresses.sort_by_key(|a| matches!(a.addr, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local()));
    });
    std::sync::Arc::make_mut(&mut c.routes).iter_mut().for_each(|r| r.line = 0);
    c.neighbors.iter_mut().for_each(|n| n.line = 0);
    c.route_files = c.route_files.iter().map(|f| RouteFile { line: 0, path: f.path.clone() }).collect();
    c.rules = [None, None];
    c
}

/// What a setup is, as far as it can be compared.
fn told(s: &Setup) -> (Config, Vec<String>, [Option<String>; 2]) {
    let routes = s.rib.iter().map(|r| r.display(&s.links).to_string()).collect();
    (plain(&s.config), routes, s.programs.each_ref().map(|p| p.as_deref().map(rules)))
}

/// Prints, reads from elsewhere, and gives the text.
fn again(s: &Setup) -> String {
    let text = print(s);
    let other = setup(&text, Path::new("/elsewhere/other.toml"));
    assert_eq!(told(&other), told(s), "{text}");
    assert_eq!(print(&other), text, "printed twice it is the same");
    text
}

#[test]
fn a_setup_is_recreated_from_its_print() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("more.txt"), "192.0.2.0/24 via 10.2.0.2 metric 7\n").unwrap();
    std::fs::write(dir.path().join("rules.v4"), RULES).unwrap();
    let text = "[router]\nname = \"gw\"\nworkers = 2\nflow_cache = \"off\"\ncontrol = \"/run/x/gw.sock\"\n\
        metrics = \"[::1]:9470\"\nuser = \"root\"\ngroup = 12\nroute_files = [\"more.txt\"]\n\
        [link.lan]\nkind = \"packet\"\ndevice = \"eth\\\"1\"\nmac = \"02:00:00:00:01:01\"\nmtu = 1400\n\
        addresses = [\"10.1.0.1/24\", \"fd01::1/64\"]\nrp_filter = \"strict\"\nredirects = false\nqueues = 2\n\
        offload = \"off\"\ndriver = \"ring\"\n\
        [link.\"eth0.7\"]\nkind = \"tap\"\naddresses = [\"10.2.0.1/24\", \"fe80::1/64\"]\npersist = true\nowner = 1000\n\
        [link.x]\nkind = \"tap\"\nlink_local = false\n\
        [link.lo]\naddresses = [\"192.0.2.1\", \"fd00::7\"]\n\
        [link.tun0]\nkind = \"tun\"\naddresses = [\"10.3.0.0/31\"]\nmtu = 1000\n\
        [[route]]\nto = \"default\"\nvia = \"10.2.0.2\"\nmetric = 100\nsrc = \"192.0.2.1\"\n\
        [[route]]\nto = \"default\"\nvia = \"fe80::2\"\ndev = \"lan\"\n\
        [[route]]\nto = \"198.51.100.0/24\"\nnexthops = [{ via = \"10.2.0.2\", weight = 2 }, { via = \"10.9.0.2\", dev = \"lan\", onlink = true }]\n\
        [[route]]\nto = \"::/0\"\ntype = \"blackhole\"\nmetric = 2000\nmtu = 1400\nmtu_lock = true\nadvmss = 1300\nadvmss_lock = true\n\
        [[neighbor]]\nip = \"10.2.0.2\"\nmac = \"02:00:00:00:02:02\"\ndev = \"eth0.7\"\n\
        [firewall]\nrules4_file = \"rules.v4\"\nrules6 = \"\"\n\
        [conntrack]\nmax = 128\nprofile = \"rfc\"\nenable = \"on\"\ntcp_loose = false\ntcp_max_retrans = 9\n\
        [conntrack.timeouts]\nudp = 60\n[icmp]\nrate = 50\n[services]\necho = true\n";
    let s = setup(text, &dir.path().join("gw.toml"));
    let printed = again(&s);
    for line in [
        "[link.\"eth0.7\"]",
        "device = \"eth\\\"1\"",
        "link_local = false",
        "metrics = \"[::1]:9470\"",
        "user = \"root\"",
        "group = 12",
        "profile = \"rfc\"",
        "udp = 60",
        "addresses = [\"10.1.0.1/24\", \"fd01::1/64\"]",
        "addresses = [\"10.2.0.1/24\", \"fe80::1/64\"]",
        ":INPUT ACCEPT [0:0]",
    ] {
        assert!(printed.lines().any(|l| l == line), "{line}\n{printed}");
    }
    assert!(!printed.contains("icmpv6 =") && !printed.contains("[3:4]") && !printed.contains("discard"));
    assert!(printed.contains(&format!("route_files = [\"{}/more.txt\"]", dir.path().display())));
}

#[test]
fn the_least_there_is() {
    let s = setup("[router]\nname = \"gw\"\n[link.lan]\nkind = \"tap\"\n", Path::new("gw.toml"));
    let printed = again(&s);
    let said: Vec<&str> = printed.lines().skip(1).filter(|l| !l.is_empty()).collect();
    assert_eq!(said, ["[router]", "name = \"gw\"", "[link.lan]", "kind = \"tap\""]);
}

#[test]
fn routes_that_were_changed_are_written_as_they_are() {
    let text = "[router]\nname = \"gw\"\n[link.lan]\nkind = \"tap\"\naddresses = [\"10.1.0.1/24\"]\n\
        [[route]]\nto = \"192.0.2.0/24\"\nvia = \"10.1.0.2\"\n[[route]]\nto = \"198.51.100.0/24\"\nvia = \"10.1.0.2\"\n";
    let mut s = setup(text, Path::new("gw.toml"));
    let neighbors = NeighborTable::new(neighbor::Config::default(), 1);
    for (action, route) in [
        (RouteOp::Delete, "192.0.2.0/24"),
        (RouteOp::Add, "203.0.113.0/24 via 10.1.0.3 metric 5 mtu lock 1400 advmss 1300"),
        (RouteOp::Add, "blackhole 203.0.114.0/24 proto bgp"),
    ] {
        let change = Change::Route(RouteChange::One { action, route: route.into() });
        s = s.changed(&change, &neighbors, Instant::ZERO).unwrap().setup;
    }
    let printed = again(&s);
    assert!(!printed.contains("192.0.2.0") && printed.contains("198.51.100.0/24"), "{printed}");
    assert!(
        printed.contains("via = \"10.1.0.3\"\ndev = \"lan\"\nmetric = 5\nmtu = 1400\nmtu_lock = true\nadvmss = 1300\nproto = \"boot\"\n"),
        "{printed}"
    );
    assert!(printed.contains("proto = \"bgp\"\ntype = \"blackhole\"\n"), "{printed}");
}

proptest! {
    #[test]
    fn any_setup_is_recreated(
        links in prop::collection::vec(
            ((0..3usize, 1280..9000u32, any::<bool>(), prop::option::of(1..8usize)),
             (0..3usize, 0..4usize, any::<bool>(), any::<bool>(), 0..4usize)), 1..5),
        metrics in prop::collection::vec((prop::option::of(any::<u32>()), 0..4usize), 0..6),
        weights in prop::collection::vec(1..=256u16, 1..5),
        (rate, max, seconds) in (1..=1_000_000u32, prop_oneof![Just(0u32), 128..100_000u32], prop::collection::vec((0..25usize, 1..9999u32), 0..25)),
        (rfc, enable, echo, discard, rules) in (any::<bool>(), 0..4usize, any::<bool>(), any::<bool>(), any::<bool>()),
        (workers, cache) in (prop::option::of(1..=256usize), prop::option::of(0..=1000u32)),
    ) {
        let mut text = String::from("[router]\nname = \"gw\"\n");
        workers.into_iter().for_each(|n| text += &format!("workers = {n}\n"));
        cache.into_iter().for_each(|n| text += &format!("flow_cache = {n}\n"));
        for (i, ((kind, mtu, redirects, queues), (filter, local, offload, own_mac, driver))) in links.iter().enumerate() {
            let word = ["packet", "tap", "tun"][*kind];
            let queues = queues.map_or("\"auto\"".into(), |q| q.to_string());
            let filter = ["off", "loose", "strict"][*filter];
            let offload = if *offload { "auto" } else { "off" };
            let local_addresses = ["", "", ", \"fe80::1/64\"", ", \"fe80::1/64\", \"fe80::2/64\""][*local];
            text += &format!(
                "[link.l{i}]\nkind = \"{word}\"\nmtu = {mtu}\nredirects = {redirects}\nqueues = {queues}\n\
                 rp_filter = \"{filter}\"\noffload = \"{offload}\"\n\
                 addresses = [\"10.{i}.0.1/16\"{local_addresses}, \"fd00:{i}::1/64\"]\n"
            );
            if word != "tun" {
                text += &format!("link_local = {}\n", *local != 1);
                text += &if *own_mac { format!("mac = \"02:00:00:00:00:0{i}\"\n") } else { String::new() };
            }
            if word == "packet" {
                text += &format!("driver = \"{}\"\n", ["auto", "socket", "ring", "xdp"][*driver]);
            }
        }
        for (i, (metric, kind)) in metrics.iter().enumerate() {
            let kind = ["via = \"10.0.0.2\"", "type = \"blackhole\"", "dev = \"l0\"", "via = \"10.9.9.9\"\ndev = \"l0\"\nonlink = true"][*kind];
            text += &format!("[[route]]\nto = \"172.16.{i}.0/24\"\n{kind}\n");
            metric.iter().for_each(|m| text += &format!("metric = {m}\n"));
        }
        let hops = weights.iter().enumerate().map(|(i, w)| format!("{{ via = \"10.0.1.{i}\", weight = {w} }}"));
        text += &format!("[[route]]\nto = \"default\"\nnexthops = [{}]\n", hops.collect::<Vec<_>>().join(", "));
        let enable = ["auto", "auto", if max == 0 { "auto" } else { "on" }, "off"][enable];
        text += &format!("[icmp]\nrate = {rate}\n[conntrack]\nmax = {max}\nenable = \"{enable}\"\n");
        text += if rfc { "profile = \"rfc\"\n" } else { "" };
        text += "[conntrack.timeouts]\n";
        let mut said = std::collections::HashSet::new();
        for (which, seconds) in seconds.iter().filter(|(which, _)| said.insert(*which)) {
            text += &format!("{} = {seconds}\n", crate::conntrack::Timeout::ALL[*which].name());
        }
        text += &format!("[services]\necho = {echo}\ndiscard = {discard}\n");
        if rules {
            text += &format!("[firewall]\nrules4 = {}\n", crate::config::settings::string(RULES));
        }
        again(&setup(&text, Path::new("/nowhere/gw.toml")));
    }
}

/// A router, and changes of it as they come over the control socket.
const GW: &str = "[router]\nname = \"gw\"\n\
    [link.lan]\nkind = \"tap\"\nmac = \"02:00:00:00:01:01\"\naddresses = [\"10.1.0.1/24\", \"fd01::1/64\"]\n\
    [link.wan]\nkind = \"packet\"\naddresses = [\"10.2.0.1/24\", \"10.2.0.7/24\"]\n[link.t0]\nkind = \"tun\"\naddresses = [\"10.3.0.1/30\"]\n\
    [[route]]\nto = \"default\"\nvia = \"10.2.0.2\"\n\
    [[neighbor]]\nip = \"10.1.0.2\"\nmac = \"02:00:00:00:01:02\"\ndev = \"lan\"\n";
const CHANGES: &[&str] = &[
    r#"{"object":"link","op":"add","name":"t1","kind":"tap"}"#,
    r#"{"object":"link","op":"add","name":"t2.5","kind":"tun","settings":{"mtu":1200,"up":false}}"#,
    r#"{"object":"addr","op":"add","dev":"t1","addr":"10.4.0.1","prefix_len":24}"#,
    r#"{"object":"link","op":"delete","name":"t1"}"#,
    r#"{"object":"link","op":"delete","name":"wan"}"#,
    r#"{"object":"addr","op":"delete","dev":"lan","addr":"fe80::ff:fe00:101","prefix_len":64}"#,
    r#"{"object":"link","op":"set","name":"lan","settings":{"mtu":1300}}"#,
    r#"{"object":"link","op":"set","name":"lan","settings":{"mtu":9000}}"#,
    r#"{"object":"link","op":"set","name":"lan","settings":{"up":false}}"#,
    r#"{"object":"link","op":"set","name":"lan","settings":{"mac":"02:00:00:00:09:09"}}"#,
    r#"{"object":"addr","op":"add","dev":"lan","addr":"fe80::5","prefix_len":64}"#,
    r#"{"object":"addr","op":"add","dev":"lan","addr":"fd09::1","prefix_len":64}"#,
    r#"{"object":"addr","op":"add","dev":"lo","addr":"192.0.2.9","prefix_len":32}"#,
    r#"{"object":"addr","op":"delete","dev":"lan","addr":"fe80::5","prefix_len":64}"#,
    r#"{"object":"addr","op":"delete","dev":"wan","addr":"10.2.0.1","prefix_len":24}"#,
    r#"{"object":"addr","op":"flush","dev":"lan"}"#,
    r#"{"object":"route","op":"one","action":"add","route":"192.0.2.0/24 via 10.1.0.9 proto bgp metric 7"}"#,
    r#"{"object":"route","op":"one","action":"add","route":"192.0.2.0/24 dev t0 scope link"}"#,
    r#"{"object":"route","op":"one","action":"add","route":"blackhole 203.0.113.0/24"}"#,
    r#"{"object":"route","op":"one","action":"add","route":"default via fd01::9"}"#,
    r#"{"object":"route","op":"one","action":"add","route":"0.0.0.0/0 via inet6 fe80::9 dev lan metric 9"}"#,
    r#"{"object":"route","op":"one","action":"add","route":"198.51.100.0/24 nexthop via 10.1.0.3 weight 3 nexthop via 10.2.0.3"}"#,
    r#"{"object":"route","op":"one","action":"replace","route":"default via 10.1.0.8 src 10.1.0.1"}"#,
    r#"{"object":"route","op":"one","action":"replace","route":"default via 10.2.0.2 mtu 1400"}"#,
    r#"{"object":"route","op":"one","action":"delete","route":"default"}"#,
    r#"{"object":"route","op":"one","action":"change","route":"default via 10.1.0.8 mtu lock 0 advmss 1300"}"#,
    r#"{"object":"neigh","op":"set","ip":"fd01::7","dev":"lan","mac":"02:00:00:00:07:07","state":"permanent","create":true,"replace":true}"#,
    r#"{"object":"neigh","op":"delete","ip":"10.1.0.2","dev":"lan"}"#,
    r#"{"object":"rules","family":"inet","op":"command","words":["-A","FORWARD","-i","lan","-j","DROP"]}"#,
    r#"{"object":"rules","family":"inet","op":"command","words":["-t","nat","-A","POSTROUTING","-o","wan","-j","MASQUERADE"]}"#,
    r#"{"object":"rules","family":"inet6","op":"command","words":["-P","INPUT","DROP"]}"#,
    r#"{"object":"rules","family":"inet","op":"command","words":["-F"]}"#,
];

#[test]
fn each_change_can_be_made_of_some_router() {
    let neighbors = NeighborTable::new(neighbor::Config::default(), 1);
    let mut made = vec![false; CHANGES.len()];
    // In this order and in the other, so that what has to be there first is.
    for order in [Vec::from_iter(0..CHANGES.len()), Vec::from_iter((0..CHANGES.len()).rev())] {
        let mut s = setup(GW, Path::new("gw.toml"));
        for n in order {
            let change: Change =
                serde_json::from_str(CHANGES[n]).unwrap_or_else(|e| panic!("{e}: {}", CHANGES[n]));
            if let Ok(changed) = s.changed(&change, &neighbors, Instant::ZERO) {
                made[n] = true;
                s = changed.setup;
            }
        }
        again(&s);
    }
    let never: Vec<_> = CHANGES.iter().zip(made).filter(|(_, made)| !made).map(|(c, _)| c).collect();
    assert_eq!(never, Vec::<&&str>::new());
}

proptest! {
    /// Whatever was changed while the router ran, its print is the router.
    #[test]
    fn what_was_changed_is_printed(order in prop::collection::vec(0..CHANGES.len(), 0..14)) {
        let neighbors = NeighborTable::new(neighbor::Config::default(), 1);
        let mut s = setup(GW, Path::new("gw.toml"));
        for n in order {
            let change: Change = serde_json::from_str(CHANGES[n]).unwrap();
            if let Ok(changed) = s.changed(&change, &neighbors, Instant::ZERO) {
                let told = crate::config::diff(&s, &changed.setup, u32::MAX);
                s = changed.setup;
                prop_assert!(told.len() < 200, "{told:?}");
            }
            prop_assert_eq!(crate::config::diff(&s, &s, u32::MAX), Vec::new());
        }
        again(&s);
    }
}
