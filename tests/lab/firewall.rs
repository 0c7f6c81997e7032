//! Rules, conntrack and NAT in the real binary: what the book says, how it ends, what the log says.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use sekisho::lab::probes::{Amount, Ping, Stream};
use sekisho::lab::{End, Netns, Plan, Topology, isolate, tools};

use crate::gateway::{Choice, Gateway, ROUTER, SEKISHO, SERVER, WAN_WIRE, ip, net};
use crate::home::wait_until;

/// The inside is hidden, and nothing begins outside.
const RULES4: &str = "\
*nat
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:INPUT DROP
:FORWARD DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lan -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan -o wan -j ACCEPT
-A FORWARD -p udp -j LOG --log-prefix \"stranger: \" --log-level info
COMMIT
";

/// The same without NAT. Neighbor discovery gets in, or nobody would find the router.
const RULES6: &str = "\
*filter
:INPUT DROP
:FORWARD DROP
-A INPUT -p icmpv6 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan -o wan -j ACCEPT
COMMIT
";

/// How long flows last that would be over after half a minute, and with them what is compared on a machine that is slower.
const LASTING: [(&str, &str); 4] =
    [("udp", "3600"), ("icmp", "3600"), ("icmpv6", "3600"), ("tcp_time_wait", "3600")];

pub(crate) fn firewall() -> Gateway {
    let timeouts: String = LASTING.iter().map(|(name, seconds)| format!("{name} = {seconds}\n")).collect();
    let more = format!("[conntrack.timeouts]\n{timeouts}").leak();
    Gateway::new(&Choice { rules4: RULES4, rules6: RULES6, more, ..Choice::default() })
}

/// Runs sekisho against the router: what it says on stdout and on stderr.
fn sekisho(gw: &Gateway, args: &[&str]) -> (String, String) {
    let out = Command::new(SEKISHO).args(args).env("SEKISHO_CONTROL", gw.control()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err, status) = (text(out.stdout), text(out.stderr), out.status);
    assert!(status.success(), "{args:?}: {err}");
    (out, err)
}

pub(crate) fn bound(space: &Netns, at: &str) -> UdpSocket {
    let socket = space.run(|| UdpSocket::bind(at)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

/// What the client does: a datagram that is not answered and one that is, in both families, and pings.
pub(crate) fn traffic(client: &Netns, server: &Netns) {
    for ([here, there], family) in [(["10.1.0.2", "10.2.0.2"], 0), (["[fd01::2]", "[fd02::2]"], 1)] {
        let deaf = bound(server, &format!("{there}:6000"));
        let silent = bound(client, &format!("{here}:5000"));
        silent.send_to(b"anyone there?", deaf.local_addr().unwrap()).unwrap();
        deaf.recv(&mut [0; 64]).unwrap();

        let answers = bound(server, &format!("{there}:6001"));
        let asks = bound(client, &format!("{here}:5001"));
        asks.send_to(b"hello", answers.local_addr().unwrap()).unwrap();
        let (_, from) = answers.recv_from(&mut [0; 64]).unwrap();
        answers.send_to(b"hello yourself", from).unwrap();
        asks.recv(&mut [0; 64]).unwrap();
        assert!(client.run(|| Ping::new(ip(SERVER[family])).run()).unwrap().complete());
    }
    let report = Stream::new(ip(SERVER[0]), Amount::Bytes(100_000)).port(6002).run(client, server).unwrap();
    assert!(report.intact());
}

/// Lines of `conntrack -L`, sorted, without what differs from one time to another: seconds, the identifiers of pings,
/// ports that a kernel chose, references, and the state in which the two ends leave a connection.
pub(crate) fn book(listed: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        words[2] = "SECONDS".into();
        for word in &mut words {
            let Some((key, value)) = word.split_once('=') else { continue };
            let chosen = value.parse().is_ok_and(|n: u32| n >= 32_768);
            if key == "id" || key == "use" || matches!(key, "sport" | "dport") && chosen {
                *word = format!("{key}=…");
            }
        }
        words.join(" ")
    };
    let mut lines: Vec<String> = listed.lines().map(line).collect();
    lines.sort();
    lines
}

/// A kernel in the router's place, with the same rules.
pub(crate) fn kernel_router() -> Topology {
    let lan = End::new("router", "lan").address(net("10.1.0.1/24")).address(net("fd01::1/64"));
    let wan = End::new("router", "wan").address(net("10.2.0.1/24")).address(net("fd02::1/64"));
    let client = End::new("client", "eth0").address(net("10.1.0.2/24")).address(net("fd01::2/64"));
    let server = End::new("server", "eth0").address(net("10.2.0.2/24")).address(net("fd02::2/64"));
    let lab = Plan::new()
        .space("client")
        .space("router")
        .space("server")
        .sysctl("router", "net/ipv4/ip_forward", "1")
        .sysctl("router", "net/ipv6/conf/all/forwarding", "1")
        .wire(client, lan)
        .wire(wan, server)
        .route("client", net("0.0.0.0/0"), ip(ROUTER[0]))
        .route("client", net("::/0"), ip(ROUTER[1]))
        .route("server", net("0.0.0.0/0"), ip("10.2.0.1"))
        .route("server", net("::/0"), ip("fd02::1"))
        .build()
        .unwrap();
    for (tool, rules) in [("iptables-legacy-restore", RULES4), ("ip6tables-legacy-restore", RULES6)] {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, rules.as_bytes()).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let mut command = Command::new(tool);
        let out = lab["router"].command(command.stdin(file)).output().unwrap();
        assert!(out.status.success(), "{tool}: {}", String::from_utf8_lossy(&out.stderr));
    }
    // There when something tracks connections.
    lab["router"].run(|| {
        for (name, seconds) in LASTING {
            let name = match name.split_once('_') {
                Some((protocol, state)) => format!("{protocol}_timeout_{state}"),
                None => format!("{name}_timeout"),
            };
            fs::write(format!("/proc/sys/net/netfilter/nf_conntrack_{name}"), seconds).unwrap();
        }
    });
    lab
}

#[test]
fn the_book_reads_as_the_kernels() {
    isolate::test(|| {
        if !tools::usable(tools::IPTABLES.iter().chain(&tools::CONNTRACK)) {
            return;
        }
        let (gw, lab) = (firewall(), kernel_router());
        traffic(gw.client(), gw.server());
        traffic(&lab["client"], &lab["server"]);
        let kernel = |args: &[&str]| {
            let mut command = Command::new("conntrack");
            let out = lab["router"].command(command.args(args)).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap()
        };
        // The last word of a connection may be on its way still.
        wait_until("the connection is over", || sekisho(&gw, &["conntrack", "-L"]).0.contains("TIME_WAIT"));
        wait_until("the kernel's is over", || kernel(&["-L"]).contains("TIME_WAIT"));
        let (ours, told) = sekisho(&gw, &["conntrack", "-L"]);
        assert_eq!(book(&ours), book(&kernel(&["-L"])), "\n{ours}\n{}", kernel(&["-L"]));
        let flows = ours.lines().count();
        assert_eq!(told, format!("sekisho: {flows} flow entries have been shown.\n"));
        assert_eq!(sekisho(&gw, &["conntrack", "-C"]).0, format!("{flows}\n"));

        for choice in [
            "-f ipv4",
            "-f ipv6",
            "-p udp",
            "-p tcp --state TIME_WAIT",
            "-s 10.0.0.0/8",
            "-d fd02::2",
            "-n",
            "-u ASSURED",
            "-q 10.2.0.1",
        ] {
            let args: Vec<&str> = ["-L"].into_iter().chain(choice.split(' ')).collect();
            let (ours, _) = sekisho(&gw, &[&["conntrack"], args.as_slice()].concat());
            assert!(!ours.is_empty(), "{choice}");
            assert_eq!(book(&ours), book(&kernel(&args)), "{choice}");
        }
        let ours = sekisho(&gw, &["conntrack", "-L", "-o", "extended"]).0;
        let ours: Vec<&str> = ours.lines().filter_map(|l| l.split_once(" src=")).map(|(l, _)| l).collect();
        assert!(
            ours.iter().all(|l| l.starts_with("ipv4     2 ") || l.starts_with("ipv6     10 ")),
            "{ours:?}"
        );
        assert!(kernel(&["-L", "-o", "extended"]).lines().all(|l| l.starts_with("ipv")));

        let json = gw.ask(&["conntrack", "-L", "-j", "-p", "udp", "-f", "ipv4", "--dport", "6001"]);
        let flow = &json.as_array().unwrap()[..];
        assert_eq!(flow.len(), 1, "{json:#}");
        assert_eq!(
            (&flow[0]["original"]["src"], &flow[0]["reply"]["dst"]),
            (&"10.1.0.2".into(), &"10.2.0.1".into())
        );
        assert!(flow[0]["status"].as_array().unwrap().contains(&"SRC_NAT".into()), "{json:#}");
        gw.stop();
    });
}

#[test]
fn a_stranger_is_kept_out_logged_and_counted() {
    isolate::test(|| {
        let gw = firewall();
        let inside = bound(gw.client(), "10.1.0.2:7000");
        let outside = bound(gw.server(), "10.2.0.2:7001");
        outside.send_to(b"let me in", "10.1.0.2:7000").unwrap();
        let line = "stranger: IN=wan OUT=lan MAC=";
        wait_until("the log", || gw.router.said().contains(line));
        assert!(gw.router.said().contains("SRC=10.2.0.2 DST=10.1.0.2 LEN=37 "), "{}", gw.router.said());
        assert!(gw.router.said().contains("PROTO=UDP SPT=7001 DPT=7000 LEN=17"), "{}", gw.router.said());
        let saved = sekisho(&gw, &["iptables-save", "-c", "-t", "filter"]).0;
        assert!(saved.contains(":FORWARD DROP [1:37]\n"), "{saved}");
        assert!(
            saved.contains("[1:37] -A FORWARD -p udp -j LOG --log-prefix \"stranger: \" --log-level 6\n"),
            "{saved}"
        );
        inside.set_nonblocking(true).unwrap();
        assert!(inside.recv(&mut [0; 64]).is_err());
        assert_eq!(
            sekisho(&gw, &["conntrack", "-C"]).0,
            "0\n",
            "a flow that was not let through is forgotten"
        );
        gw.stop();
    });
}

#[test]
fn what_masquerade_gave_ends_with_the_device_and_not_with_the_cable() {
    isolate::test(|| {
        let gw = firewall();
        let answers = bound(gw.server(), "10.2.0.2:6001");
        let asks = bound(gw.client(), "10.1.0.2:5001");
        answers.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        // Again and again: what comes to a link that is not quite up again is lost. Each knows which it is, for those before may
        // come late.
        let mut said = 0_u64;
        let mut talk = || {
            let from = said + 1;
            wait_until("a datagram", || {
                said += 1;
                asks.send_to(&said.to_be_bytes(), "10.2.0.2:6001").unwrap();
                let mut heard = [0; 8];
                answers.recv(&mut heard).is_ok() && u64::from_be_bytes(heard) >= from
            });
        };
        let flows = || sekisho(&gw, &["conntrack", "-C"]).0.trim().parse::<u32>().unwrap();
        let is_up = || {
            let links = gw.ask(&["ip", "-j", "link", "show", "dev", "wan"]);
            links[0]["operstate"] == "UP"
        };
        talk();
        assert_eq!(flows(), 1);

        // The far end's device: the cable is out.
        gw.lab.set_up("server", "eth0", false).unwrap();
        wait_until("no carrier", || !is_up());
        assert_eq!(flows(), 1);
        gw.lab.set_up("server", "eth0", true).unwrap();
        wait_until("carrier", is_up);
        assert_eq!(flows(), 1);

        gw.lab.set_up("router", "wan", false).unwrap();
        wait_until("the flow's end", || flows() == 0);
        gw.lab.set_up("router", "wan", true).unwrap();
        wait_until("up again", is_up);
        // A kernel whose device was down has lost its routes; the router's own are back.
        talk();
        assert_eq!(flows(), 1);

        gw.lab.unplug(WAN_WIRE).unwrap();
        wait_until("the flow's end", || flows() == 0);
    });
}
