//! Good files and what they mean; what is said about bad ones is in `bad`.

mod any;
mod bad;
mod docs;
mod routes;

use std::path::Path;

use super::*;
use crate::conntrack::{Timeout, Timeouts};

const GOOD: &str = r#"
[router]
name = "gw"
workers = 2
control = "/run/sekisho/gw.sock"
route_files = ["full-table.txt"]

[link.lan]
kind = "packet"
device = "eth1"
mac = "02:00:00:00:01:01"
mtu = 1400
addresses = ["10.1.0.1/24", "fd01::1/64"]
rp_filter = "strict"
redirects = false
queues = 2
offload = "off"
driver = "ring"
[link.wan]
kind = "tap"
addresses = ["10.2.0.1/24", "fe80::1/64"]
persist = true
owner = 1000
group = "root"

[link.lo]
addresses = ["192.0.2.1", "10.1.0.77/32"]

[link.tun0]
kind = "tun"
addresses = ["10.3.0.0/31"]
mtu = 1000

[[route]]
to = "default"
via = "10.2.0.2"
metric = 100

[[route]]
to = "default"
via = "fe80::2"
dev = "wan"

[[route]]
to = "198.51.100.0/24"
nexthops = [{ via = "10.2.0.2", weight = 2 }, { via = "10.1.0.2", dev = "lan" }]

[[route]]
to = "203.0.113.0/24"
type = "blackhole"

[[neighbor]]
ip = "10.2.0.2"
mac = "02:00:00:00:02:02"
dev = "wan"

[conntrack]
max = 128
profile = "rfc"
enable = "off"
[conntrack.timeouts]
udp = 60

[icmp]
rate = 50

[services]
echo = true
"#;

fn good(text: &str) -> Config {
    parse(text, Path::new("dir/gw.toml")).unwrap_or_else(|p| panic!("{p}"))
}

/// What is said about a text, without the file's name.
fn said(text: &str) -> Vec<String> {
    let problems = parse(text, Path::new("gw.toml")).expect_err("something is wrong with it");
    problems.iter().map(|p| p.to_string().strip_prefix("gw.toml:").unwrap().to_owned()).collect()
}

#[test]
fn a_good_file_says_what_it_means() {
    let c = good(GOOD);
    assert_eq!((c.name.as_str(), c.workers), ("gw", Some(2)));
    assert_eq!(c.control.as_deref(), Some(Path::new("/run/sekisho/gw.sock")));
    assert_eq!(c.route_files, [RouteFile { line: 6, path: "dir/full-table.txt".into() }]);
    assert_eq!(c.loopback.iter().map(|a| a.addr.to_string()).collect::<Vec<_>>(), ["192.0.2.1", "10.1.0.77"]);
    assert_eq!(c.links.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["lan", "wan", "tun0"]);

    let lan = &c.links[0];
    assert_eq!((lan.line, lan.kind, lan.device.as_str(), lan.mtu), (8, LinkKind::Packet, "eth1", 1400));
    assert_eq!(
        (lan.rp_filter, lan.redirects, lan.queues, lan.offload),
        (RpFilter::Strict, false, Some(2), false)
    );
    assert_eq!(lan.driver, Driver::Ring);
    let addresses: Vec<_> = lan.addresses.iter().map(|a| format!("{}/{}", a.addr, a.prefix_len)).collect();
    assert_eq!(addresses, ["10.1.0.1/24", "fd01::1/64", "fe80::ff:fe00:101/64"]);

    let wan = &c.links[1];
    assert_eq!((wan.device.as_str(), wan.mac, wan.mtu), ("wan", Some(Mac::stable(&["gw", "wan"])), 1500));
    assert_eq!((wan.redirects, wan.queues, wan.offload, wan.rp_filter), (true, None, true, RpFilter::Off));
    assert_eq!((wan.persist, wan.owner, wan.group), (true, Some(1000), Some(0)));
    assert_eq!(wan.addresses.len(), 2, "a link-local address is listed");

    assert_eq!((c.links[2].mac, c.links[2].addresses.len()), (None, 1));

    let routes: Vec<_> = c.routes.iter().map(|r| (r.line, r.to.to_string(), r.kind, r.metric)).collect();
    assert_eq!(routes[0], (34, "0.0.0.0/0".into(), RouteType::Unicast, Some(100)));
    assert_eq!(routes[1], (39, "::/0".into(), RouteType::Unicast, None));
    assert_eq!(routes[3], (48, "203.0.113.0/24".into(), RouteType::Blackhole, None));
    assert!(c.routes[3].hops.is_empty());
    let hop = |via: &str, dev: Option<&str>, weight| HopConfig {
        via: Some(via.parse().unwrap()),
        dev: dev.map(str::to_owned),
        weight,
        onlink: false,
    };
    assert_eq!(*c.routes[0].hops, [hop("10.2.0.2", None, 1)]);
    assert_eq!(*c.routes[2].hops, [hop("10.2.0.2", None, 2), hop("10.1.0.2", Some("lan"), 1)]);

    assert_eq!((c.neighbors[0].line, c.neighbors[0].dev.as_str()), (52, "wan"));
    let mut timeouts = Timeouts::rfc();
    timeouts.set(Timeout::Udp, 60);
    let table = conntrack::Config { max: 128, timeouts, ..conntrack::Config::default() };
    assert_eq!(c.conntrack, ConntrackConfig { enable: Enable::Off, table });
    assert_eq!(c.icmp.rate, 50);
    assert_eq!(c.services, Services { echo: true, discard: false });
    assert_eq!(c.warnings, []);
}

#[test]
fn an_empty_file_is_a_router_of_the_hosts_name() {
    let c = good("");
    assert_eq!(Some(c.name.clone()), host::name());
    assert_eq!((c.links.len(), c.icmp.rate, c.services), (0, 1000, Services::default()));
    assert_eq!(c.conntrack, ConntrackConfig { enable: Enable::Auto, table: conntrack::Config::default() });
    assert_eq!(c.conntrack.table.max, 262_144);
    assert!(c.warnings[0].text.starts_with("no links"), "{:?}", c.warnings);
}

#[test]
fn the_habits_of_conntrack_have_the_names_of_sysctls() {
    let section = "tcp_loose = false\ntcp_be_liberal = true\ntcp_max_retrans = 7\ntcp_ignore_invalid_rst = true\nchecksum = false";
    let c = good(&format!("[conntrack]\nenable = \"on\"\n{section}"));
    let table = conntrack::Config {
        tcp_loose: false,
        tcp_be_liberal: true,
        tcp_max_retrans: 7,
        tcp_ignore_invalid_rst: true,
        checksum: false,
        ..conntrack::Config::default()
    };
    assert_eq!(c.conntrack, ConntrackConfig { enable: Enable::On, table });
    assert_eq!(good("[conntrack]\nmax = 0").conntrack.enable, Enable::Off);
}

#[test]
fn every_timeout_of_conntrack_can_be_set() {
    for (i, which) in Timeout::ALL.iter().enumerate() {
        let seconds = 1_000 + i as u32;
        let c = good(&format!("[conntrack.timeouts]\n{} = {seconds}", which.name()));
        let mut expected = Timeouts::linux();
        expected.set(*which, seconds);
        assert_eq!(c.conntrack.table.timeouts, expected, "{}", which.name());
    }
}

#[test]
fn the_links_table_is_what_the_file_says() {
    let links = good(GOOD).links_table();
    assert_eq!(links.bound(), 4);
    assert_eq!(links.owner("192.0.2.1".parse().unwrap()), Some(crate::base::LinkId::LO));
    let lan = links.named("lan").unwrap();
    assert_eq!((lan.mtu, lan.rp_filter, lan.redirects), (1400, RpFilter::Strict, false));
    assert_eq!(links.named("tun0").unwrap().mac, None);
}

#[test]
fn the_flow_cache_has_a_size_or_is_off() {
    let entries = |value: &str| good(&format!("[router]\nflow_cache = {value}")).flow_cache;
    assert_eq!(["\"on\"", "\"off\"", "0", "4096"].map(entries), [131_072, 0, 0, 4096]);
    assert_eq!(good("").flow_cache, 131_072);
}

#[test]
fn workers_are_no_more_than_queues() {
    let links = |queues: &[&str]| {
        let mut text = String::from("[router]\nname = \"gw\"\n");
        for (i, q) in queues.iter().enumerate() {
            text += &format!("[link.l{i}]\nkind = \"packet\"\nqueues = {q}\n");
        }
        good(&text)
    };
    assert_eq!(links(&["\"auto\"", "1"]).workers(8), 8);
    assert_eq!(links(&["1", "2"]).workers(8), 3);
    assert_eq!(links(&["1", "2"]).workers(2), 2);
    assert_eq!(links(&[]).workers(4), 1);
    assert_eq!(good("[router]\nworkers = 3\n[link.a]\nkind=\"tap\"").workers(1), 3);
}

#[test]
fn prefixes_that_may_meet() {
    let c = good(
        r#"
[router]
name = "gw"
[link.lan]
kind = "tap"
addresses = ["10.1.0.1/24", "10.1.0.2/24", "10.1.0.129/25", "fe80::1/64"]
[link.wan]
kind = "tap"
addresses = ["10.2.0.1/24", "fe80::1/64"]
[link.lo]
addresses = ["10.1.0.9/32"]
"#,
    );
    assert_eq!(c.links.len(), 2);
}

#[test]
fn odd_things_are_warnings() {
    let c = good(
        r#"
[router]
name = "gw"
[link.lan]
kind = "tap"
addresses = ["10.1.0.1", "10.2.0.1/24"]
[[route]]
to = "10.1.0.1/32"
via = "10.2.0.2"
[[route]]
to = "232.0.0.0/8"
dev = "lan"
"#,
    );
    let odd: Vec<_> = c.warnings.iter().map(|w| (w.line, w.text.split(": ").next().unwrap())).collect();
    assert_eq!(odd, [(6, "link lan"), (7, "route 10.1.0.1/32"), (10, "route 232.0.0.0/8")]);
    assert_eq!(c.routes.len(), 2);
}

#[test]
fn names_that_can_not_name_a_socket() {
    for bad in ["", ".", "..", "a/b", "-x", ".x", "a b", "a\\tb", &"x".repeat(65)] {
        let said = said(&format!("[router]\nname = \"{bad}\"\n"));
        assert!(said[0].starts_with("2: [router]: name: "), "{bad}: {said:?}");
    }
    good("[router]\nname = \"gw-1.example\"");
}

#[test]
fn the_control_socket() {
    let at =
        |control: &str| good(&format!("[router]\nname = \"gw\"\ncontrol = \"{control}\"")).control_path();
    assert_eq!(at("/tmp/x.sock"), Ok("/tmp/x.sock".into()));
    assert_eq!(at("x.sock"), Ok("dir/x.sock".into()));
    assert!(at(&format!("/{}", "x".repeat(107))).unwrap_err().contains("108 bytes"));
    if let (Ok(path), Some(dir)) = (good("[router]\nname = \"gw\"").control_path(), host::sockets()) {
        assert_eq!(path, dir.join("gw.sock"));
    }
}

#[test]
fn files_that_can_not_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gw.toml");
    assert!(load(&path).unwrap_err().to_string().contains("gw.toml: can't be read: "));
    std::fs::write(&path, b"[router]\nname = \"\xff\"\n").unwrap();
    let said = load(&path).unwrap_err().to_string();
    assert!(said.ends_with("gw.toml:2: not UTF-8 text: save the file as UTF-8"), "{said}");
    assert!(load(dir.path()).unwrap_err().to_string().contains("can't be read"));
    let endless = load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert_eq!(endless, "/dev/zero: longer than 16 MiB; put long lists of routes into route_files");
}

#[test]
fn a_byte_order_mark_moves_nothing() {
    good("\u{feff}[router]\nname = \"gw\"");
    assert_eq!(said("\u{feff}[router]\r\nname = \"gw\"\r\nx = 1\r\n").len(), 1);
    assert!(said("\u{feff}[router]\r\nname = \"gw\"\r\nx = 1\r\n")[0].starts_with("3: "));
}
