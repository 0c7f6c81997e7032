//! Configurations that take each other's place while packets pass: all of one or all of the other, or nothing.

use std::fs;
use std::process::Command;
use std::time::Duration;

use sekisho::control::client::Client;
use sekisho::control::protocol::{Reload, Verb};
use sekisho::control::view::Applied;
use sekisho::lab::probes::Ping;
use sekisho::lab::{isolate, tools};

use crate::gateway::{Choice, Gateway, SEKISHO, SERVER, WAN_WIRE, drops, ip};
use crate::home::{SILENCE, wait_until};
use crate::steady::Steady;

/// A rule set whose one half is of no use without the other: what meets one's mark and the other's filter is dropped.
fn rules(mark: u32) -> String {
    format!(
        "*mangle\n-A PREROUTING -p udp -j MARK --set-mark {mark}\nCOMMIT\n*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n\
         *filter\n:FORWARD DROP\n-A FORWARD -m conntrack --ctstate ESTABLISHED -m mark --mark {mark} -j ACCEPT\n\
         -A FORWARD -i lan -m mark --mark {mark} -j ACCEPT\n-A FORWARD -p icmp -j ACCEPT\nCOMMIT\n"
    )
}

/// The file the router was started with, and the same with another set of rules, a route, a neighbor and, if so wanted, a
/// link more.
fn other(gw: &Gateway, link: bool) -> [String; 2] {
    let first = fs::read_to_string(gw.file()).unwrap();
    let second = first.replace("--set-mark 1", "--set-mark 2").replace("--mark 1", "--mark 2");
    assert_ne!(first, second);
    let more = "\n[[route]]\nto = \"203.0.113.0/24\"\nvia = \"10.2.0.2\"\n\
                \n[[neighbor]]\nip = \"10.2.0.77\"\nmac = \"02:00:00:00:77:77\"\ndev = \"wan\"\n";
    let extra = "\n[link.extra]\nkind = \"tun\"\naddresses = [\"10.77.0.1/24\"]\n";
    [first, second + more + if link { extra } else { "" }]
}

fn reload(gw: &Gateway) -> Applied {
    let mut client = Client::connect(&gw.control()).unwrap();
    client.ask(Verb::Reload(Reload::default())).unwrap()
}

/// How long all of it may take on a busy machine.
const LONGEST: Duration = Duration::from_secs(500);

/// Whether the server answers, on a machine that may have something else to do.
fn answers(gw: &Gateway) -> bool {
    gw.client().run(|| Ping::new(ip(SERVER[0])).run()).is_ok_and(|r| r.complete())
}

/// The same of one of many pings, some of which may be lost.
fn answers_one(gw: &Gateway) -> bool {
    let ping = Ping::new(ip(SERVER[0])).wait(Duration::from_secs(1));
    gw.client().run(|| ping.run()).is_ok_and(|r| r.complete())
}

/// Whether it does not, for as long as is waited for what must not come.
fn is_silent(gw: &Gateway) -> bool {
    !gw.client().run(|| Ping::new(ip(SERVER[0])).wait(SILENCE).run()).is_ok_and(|r| r.complete())
}

/// How much memory the router has, in KiB.
fn memory(gw: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gw.router.id())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn reloads(count: u64, link: bool, longest: Duration) {
    if link && !tools::has_tun() {
        return;
    }
    let rules4: &'static str = rules(1).leak();
    let gw = Gateway::new(&Choice { workers: 2, rules4, ..Choice::default() });
    gw.acquaint();
    let files = other(&gw, link);
    // Tables, pools and rings have their size by then.
    let warm = 100.min(count / 2);
    let mut after_warming = 0;
    let (sent, come) = Steady::during(&gw, longest, |_| {
        for n in 1..=count {
            fs::write(gw.file(), &files[n as usize % 2]).unwrap();
            let applied = reload(&gw);
            assert_eq!((applied.transaction, applied.changed), (n, true));
            if n == warm {
                after_warming = memory(&gw);
            }
        }
    });
    assert_eq!((come, sent > 50), (sent, true), "of {sent} datagrams {come} came");
    let grown = memory(&gw).saturating_sub(after_warming);
    println!("{count} reloads, {sent} datagrams, {grown} KiB more than after {warm} reloads");
    assert!(grown < 16 << 10, "{grown} KiB more than after {warm} reloads");
    let stats = gw.balanced();
    // What the host's kernel says on a link that goes may come when it is gone.
    let down = if link { 0 } else { drops(&stats, "link_down") };
    assert_eq!((drops(&stats, "filter_drop"), down), (0, 0), "{stats:#}");
    // One flow all the time: translated once, forgotten never.
    let flows = gw.tell(&["conntrack", "-L", "-p", "udp"]);
    assert_eq!(flows.lines().filter(|l| l.contains("dport=7000")).count(), 1, "{flows}");
    gw.stop();
}

#[test]
fn a_thousand_reloads_with_a_link_that_comes_and_goes_lose_no_packet() {
    isolate::test(|| reloads(1_000, true, LONGEST));
}

#[test]
fn ten_thousand_reloads_lose_no_packet() {
    isolate::test(|| reloads(10_000, false, LONGEST));
}

#[test]
fn what_is_refused_changes_nothing() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice { rules4: rules(1).leak(), ..Choice::default() });
        gw.acquaint();
        let text = fs::read_to_string(gw.file()).unwrap();
        let before = (gw.tell(&["config"]), gw.tell(&["ip", "-j", "link"]));
        let busy = "\n[link.taken]\nkind = \"packet\"\ndevice = \"nowhere\"\n";
        for (wrong, why) in [
            (text.replace("[[route]]", "[[rute]]"), ""),
            (format!("{text}\n[[route]]\nto = \"192.0.2.0/24\"\nvia = \"172.16.0.1\"\n"), "no way out"),
            (text.replace("-j MASQUERADE", "-j NOWHERE"), "NOWHERE"),
            (text.replace("workers = 1", "workers = 2"), "workers"),
            (format!("{text}{busy}"), "nowhere"),
            // What was opened already is closed again.
            (format!("{text}\n[link.first]\nkind = \"tun\"\n{busy}"), "nowhere"),
        ] {
            if wrong == text {
                continue;
            }
            fs::write(gw.file(), &wrong).unwrap();
            let (code, said) = gw.refused(&["reload"]);
            assert_eq!(code, 1, "{said}");
            assert!(said.starts_with("sekisho: ") && said.contains(why), "{why}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(!gw.lab["router"].run(|| fs::exists("/proc/sys/net/ipv4/conf/first")).unwrap());
        }
        // A file that never ends, or begins, holds up nobody.
        let fifo = gw.file().with_file_name("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for verb in ["reload", "diff"] {
            let (_, said) = gw.refused(&[verb, fifo.to_str().unwrap()]);
            assert!(said.contains("no ordinary file"), "{said}");
        }
        let after = (gw.tell(&["config"]), gw.tell(&["ip", "-j", "link"]));
        assert_eq!(before.0, after.0);
        assert!(answers(&gw));
        assert_eq!(gw.stats()["control"]["transactions"], 0);
        gw.stop();
    });
}

#[test]
fn who_cuts_their_own_line_gets_it_back() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice { rules4: rules(1).leak(), ..Choice::default() });
        gw.acquaint();
        assert!(answers(&gw));
        let text = fs::read_to_string(gw.file()).unwrap();
        fs::write(gw.file(), text.replace("-A FORWARD -p icmp -j ACCEPT\n", "")).unwrap();

        let said = gw.tell(&["reload", "--confirm", "15"]);
        assert!(said.starts_with("transaction 1 is in force for 15 s"), "{said}");
        assert!(is_silent(&gw));
        let (code, said) = gw.refused(&["reload"]);
        assert!(code == 1 && said.contains("waits to be confirmed"), "{said}");
        wait_until("the rules are what they were", || !is_silent(&gw));
        let (code, said) = gw.refused(&["confirm"]);
        assert!(code == 1 && said.contains("nothing waits to be confirmed"), "{said}");

        // The same, confirmed: it stays, until it is taken back.
        gw.tell(&["reload", "--confirm", "60"]);
        gw.tell(&["confirm"]);
        assert!(is_silent(&gw));
        gw.tell(&["rollback"]);
        assert!(answers(&gw));
        gw.tell(&["rollback"]);
        assert!(is_silent(&gw), "taking back is taken back");
        let (code, said) = gw.refused(&["rollback", "40"]);
        assert!(code == 1 && said.contains("can be taken back"), "{said}");
        assert_eq!(gw.stats()["control"]["transactions"], 5);
        gw.tell(&["rollback", "2"]);
        assert!(is_silent(&gw));
        // Its log warns of what nobody confirmed, so it is not asked for a clean one.
        wait_until("the log", || gw.router.said().contains("nobody confirmed the reload"));
    });
}

#[test]
fn links_that_come_and_go_take_no_count_away() {
    isolate::test(|| {
        if !tools::has_tun() {
            return;
        }
        let gw = Gateway::new(&Choice { rules4: rules(1).leak(), ..Choice::default() });
        gw.acquaint();
        assert!(answers(&gw));
        let counted = || {
            let rules = gw.tell(&["iptables-save", "-c"]);
            let line = rules.lines().find(|l| l.ends_with("-A FORWARD -p icmp -j ACCEPT")).unwrap();
            let packets = line.trim_start_matches('[').split(':').next().unwrap();
            packets.parse::<u64>().unwrap()
        };
        let before = counted();
        assert!(before > 0);
        gw.tell(&["ip", "link", "add", "more", "type", "tun"]);
        assert_eq!(counted(), before);
        gw.tell(&["ip", "link", "del", "more"]);
        assert_eq!(counted(), before);
        gw.tell(&["reload"]);
        assert_eq!(counted(), before);
        gw.stop();
    });
}

#[test]
fn a_device_that_another_link_takes_is_handed_over() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice::default());
        gw.acquaint();
        assert!(answers(&gw));
        // wan is called uplink from now on; its device is wan still.
        let text = fs::read_to_string(gw.file()).unwrap();
        let renamed = text.replace("[link.wan]\n", "[link.uplink]\ndevice = \"wan\"\n");
        assert_ne!(text, renamed);
        fs::write(gw.file(), renamed).unwrap();
        gw.tell(&["reload"]);
        wait_until("the renamed link carries packets", || answers_one(&gw));
        let names = gw.tell(&["ip", "-br", "link"]);
        assert!(names.contains("uplink") && !names.contains("wan"), "{names}");
        gw.tell(&["rollback"]);
        wait_until("the link of the old name carries packets", || answers_one(&gw));
        gw.stop();
    });
}

#[test]
fn another_mtu_loses_no_packet_of_a_link() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice { workers: 2, ..Choice::default() });
        gw.acquaint();
        let before = gw.ask(&["ip", "-j", "link", "show", "wan"]);
        let (sent, come) = Steady::during(&gw, LONGEST, |steady| {
            for n in 0..100 {
                steady.wait_for(n);
                let mtu = if n % 2 == 0 { "1400" } else { "1500" };
                let (out, said) = gw.says(&["ip", "link", "set", "wan", "mtu", mtu]);
                assert!(out.is_empty() && said.is_empty(), "nothing is to be said of it: {out}{said}");
            }
        });
        assert_eq!((come, sent > 50), (sent, true), "of {sent} datagrams {come} came");
        let after = gw.ask(&["ip", "-j", "link", "show", "wan"]);
        assert_eq!(before[0]["mtu"], after[0]["mtu"]);
        // More than the interface takes.
        let (code, said) = gw.refused(&["ip", "link", "set", "wan", "mtu", "9000"]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("below the link's 9000"), "{said}");
        assert_eq!(gw.ask(&["ip", "-j", "link", "show", "wan"])[0]["mtu"], 1500);
        gw.lab.set_mtu("router", "wan", 9000).unwrap();
        gw.tell(&["ip", "link", "set", "wan", "mtu", "9000"]);
        gw.stop();
    });
}

#[test]
fn a_link_that_has_lost_its_interface_is_taken_up_when_it_comes_back() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice::default());
        gw.acquaint();
        assert!(answers(&gw));
        gw.lab.unplug(WAN_WIRE).unwrap();
        // What is to be opened otherwise is closed for it, and then is not there to be opened at all.
        let text = fs::read_to_string(gw.file()).unwrap();
        let (lan, wan) = text.split_once("[link.wan]").unwrap();
        let wan = wan.replace("offload = \"auto\"", "offload = \"off\"");
        fs::write(gw.file(), format!("{lan}[link.wan]{wan}")).unwrap();
        let (code, said) = gw.refused(&["reload"]);
        assert!(code == 1 && said.contains("could not be opened again"), "{said}");
        // It is in nobody's way meanwhile.
        gw.tell(&["ip", "route", "add", "203.0.113.0/24", "via", "10.1.0.2"]);
        assert_eq!(gw.ask(&["ip", "-j", "link", "show", "wan"])[0]["operstate"], "DOWN");
        gw.lab.plug(WAN_WIRE).unwrap();
        wait_until("the link carries packets again", || answers_one(&gw));
        wait_until("the log", || gw.router.said().contains("link wan: its device could be opened again"));
        gw.tell(&["reload"]);
        wait_until("the link is as it was to be", || answers_one(&gw));
    });
}

#[test]
fn the_flow_cache_changes_with_a_reload_and_no_packet_is_lost() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice { workers: 2, ..Choice::default() });
        gw.acquaint();
        let text = fs::read_to_string(gw.file()).unwrap();
        let header = "[router]\n";
        assert!(text.contains(header) && !text.contains("flow_cache"), "{text}");
        let with =
            |router: &str| fs::write(gw.file(), text.replacen(header, &format!("{header}{router}"), 1));
        let hits = || {
            let stats = gw.stats();
            let all = stats["tallies"].as_array().unwrap().iter();
            all.filter(|t| t["name"] == "flow_cache_hits").map(|t| t["value"].as_u64().unwrap()).sum::<u64>()
        };
        let (sent, come) = Steady::during(&gw, LONGEST, |steady| {
            wait_until("packets go the way of those before them", || hits() > 10);
            with("flow_cache = \"off\"\n").unwrap();
            gw.tell(&["reload"]);
            let (before, sent) = (hits(), steady.sent());
            steady.wait_for_arrival(sent + 30);
            assert_eq!(hits(), before, "every packet walks");
            with("flow_cache = 64\n").unwrap();
            gw.tell(&["reload"]);
            wait_until("packets go the way of those before them again", || hits() > before);
        });
        assert_eq!((come, sent > 30), (sent, true), "of {sent} datagrams {come} came");
        assert!(gw.tell(&["config"]).contains("flow_cache = 64"));
        gw.balanced();
        gw.stop();
    });
}

#[test]
fn timeouts_change_with_a_reload_and_flows_go_by_them_from_their_next_packet() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice { rules4: rules(1).leak(), ..Choice::default() });
        gw.acquaint();
        let socket = gw.client().run(|| std::net::UdpSocket::bind("10.1.0.2:7001")).unwrap();
        let left = || {
            let flows = gw.tell(&["conntrack", "-L", "-p", "udp", "--orig-port-dst", "7000"]);
            flows.split_whitespace().nth(2).and_then(|s| s.parse::<u64>().ok()).unwrap_or(0)
        };
        let send = || socket.send_to(&[7; 8], (SERVER[0], 7000)).unwrap();
        send();
        wait_until("there is a flow", || left() > 0);
        assert!(left() <= 30);
        let text = fs::read_to_string(gw.file()).unwrap();
        let with = |more: &str| fs::write(gw.file(), format!("{text}\n[conntrack]\n{more}")).unwrap();
        with("max = 128\ntcp_be_liberal = true\n[conntrack.timeouts]\nudp = 600\n");
        let mut diff = Command::new(SEKISHO);
        let diff = diff.arg("diff").env("SEKISHO_CONTROL", gw.control()).output().unwrap();
        let diff = String::from_utf8(diff.stdout).unwrap();
        assert!(diff.contains("udp = 600") && !diff.contains("restart"), "{diff}");
        gw.tell(&["reload"]);
        assert!(left() <= 30, "it has the time that it was given");
        send();
        wait_until("the flow goes by the new time", || left() > 500);
        assert!(gw.tell(&["config"]).contains("udp = 600"));
        assert_eq!(gw.stats()["conntrack"]["max"], 128);
        gw.tell(&["rollback"]);
        send();
        wait_until("the flow goes by the old time", || (1..=30).contains(&left()));
        // What takes a restart is said at once, and nothing of it is done.
        let workers = text.replace("workers = 1", "workers = 2");
        fs::write(gw.file(), format!("{workers}\n[conntrack]\nmax = 2000000000\n[icmp]\nrate = 5\n"))
            .unwrap();
        let (code, said) = gw.refused(&["reload"]);
        assert!(code == 1 && said.contains("workers") && said.contains("[conntrack] max beyond"), "{said}");
        assert!(!gw.tell(&["config"]).contains("rate"), "{}", gw.tell(&["config"]));
        gw.stop();
    });
}
