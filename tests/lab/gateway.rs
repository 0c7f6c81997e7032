//! A client, a router and a server:
//!
//! ```text
//!   client eth0 ─────────── lan [sekisho run] wan ─────────── eth0 server
//!   10.1.0.2/24           .1                 .1           10.2.0.2/24
//!   fd01::2/64           ::1                 ::1           fd02::2/64
//! ```

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sekisho::base::Mac;
use sekisho::lab::probes::Ping;
use sekisho::lab::{End, Netns, Plan, Spawned, Topology, Workplace};
use serde_json::Value;

/// The program under test.
pub(crate) const SEKISHO: &str = env!("CARGO_BIN_EXE_sekisho");

/// The router's MACs, unless it is to use the devices' own.
pub(crate) const LAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
pub(crate) const WAN_MAC: Mac = Mac([2, 0, 0, 0, 2, 1]);

/// The server's addresses.
pub(crate) const SERVER: [&str; 2] = ["10.2.0.2", "fd02::2"];
/// The router's addresses on the client's side.
pub(crate) const ROUTER: [&str; 2] = ["10.1.0.1", "fd01::1"];
/// The router's addresses on the server's side.
pub(crate) const FAR_SIDE: [&str; 2] = ["10.2.0.1", "fd02::1"];

/// The wires' numbers.
pub(crate) const WAN_WIRE: usize = 1;

/// How long a router may take to start: a debug build on a busy machine.
pub(crate) const START: Duration = Duration::from_secs(60);
/// How long it may take to end. It takes no tenth of a second, but giving devices back takes a lock that all namespaces of
/// the machine share, and other tests are taking theirs apart.
pub(crate) const STOP: Duration = Duration::from_secs(30);
/// How long anything may take that comes to pass by itself.
const UNHURRIED: Duration = Duration::from_secs(30);

/// What can be chosen.
#[derive(Clone)]
pub(crate) struct Choice {
    pub(crate) workers: usize,
    /// Whether the hosts leave checksums and segmentation to their devices.
    pub(crate) host_offload: bool,
    /// `offload = …` of the links.
    pub(crate) offload: &'static str,
    /// `driver = …` of the links.
    pub(crate) driver: &'static str,
    pub(crate) far_mtu: u32,
    /// The kernel of the router's namespace would forward, has the router's MACs and its addresses.
    pub(crate) kernel_competes: bool,
    pub(crate) services: bool,
    /// Rules in the format of iptables-save; empty: none.
    pub(crate) rules4: &'static str,
    pub(crate) rules6: &'static str,
    /// Sections of the configuration besides these.
    pub(crate) more: &'static str,
}

impl Default for Choice {
    fn default() -> Self {
        Choice {
            workers: 1,
            host_offload: true,
            offload: "auto",
            driver: usual_driver(),
            far_mtu: 1500,
            kernel_competes: false,
            services: false,
            rules4: "",
            rules6: "",
            more: "",
        }
    }
}

/// The driver that tests have which ask for none: `SEKISHO_LAB_DRIVER`, so that all of them can be run over another.
fn usual_driver() -> &'static str {
    std::env::var("SEKISHO_LAB_DRIVER").map_or("auto", |name| name.leak())
}

/// A router that runs between two hosts.
pub(crate) struct Gateway {
    pub(crate) lab: Topology,
    pub(crate) program: Program,
}

impl Deref for Gateway {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Gateway {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

impl Gateway {
    /// Builds it all and waits until the router forwards.
    pub(crate) fn new(choice: &Choice) -> Self {
        let lab = hosts(choice);
        let program = Program::start(&lab["router"], |control| config(choice, control));
        Gateway { lab, program }
    }

    /// The usual.
    pub(crate) fn usual() -> Self {
        Gateway::new(&Choice::default())
    }

    /// Whether every link has the driver that was asked for; if not, a line says why.
    pub(crate) fn has_driver(&self, driver: &str) -> bool {
        let stats = self.stats();
        let used: Vec<_> = stats["links"].as_array().unwrap().iter().map(|link| &link["driver"]).collect();
        assert_eq!(used.iter().filter(|u| u["asked"] == driver).count(), 2, "{stats}");
        let missing = used.iter().find(|u| u["asked"] == driver && u["driver"] != driver);
        let missing = missing.map(|u| u["fallback"].to_string());
        if let Some(why) = &missing {
            println!("skipped: {why}");
        }
        missing.is_none()
    }

    pub(crate) fn client(&self) -> &Netns {
        &self.lab["client"]
    }

    pub(crate) fn server(&self) -> &Netns {
        &self.lab["server"]
    }

    /// Starts the router again, when it has ended.
    pub(crate) fn restart(&mut self) {
        self.program.again(&self.lab["router"]);
    }

    /// Lets the client learn the router's MAC. A kernel that resolves a neighbor while it sends may send what
    /// it parked behind what came later, so nothing can be said of the order before. The router still has
    /// the server's to learn.
    pub(crate) fn acquaint(&self) {
        for router in ROUTER {
            assert!(self.client().run(|| Ping::new(ip(router)).run()).unwrap().complete());
        }
    }

    /// Stops the router as a service manager does; it must take the signal well.
    pub(crate) fn stop(self) {
        self.program.stop();
    }
}

/// The program that runs, and what belongs to it.
pub(crate) struct Program {
    pub(crate) router: Spawned,
    place: Workplace,
}

impl Program {
    /// Starts it in a namespace, by a configuration that is told where the control socket is to be, and waits until
    /// it forwards.
    pub(crate) fn start(netns: &Netns, config: impl FnOnce(&Path) -> String) -> Self {
        let place = Workplace::new().unwrap();
        let file = place.write("gw.toml", &config(&control(&place))).unwrap();
        let router = run(netns, &file, &control(&place));
        let program = Program { router, place };
        program.wait_for_addresses();
        program
    }

    pub(crate) fn control(&self) -> PathBuf {
        control(&self.place)
    }

    /// The file it was started with.
    pub(crate) fn file(&self) -> PathBuf {
        self.place.path("gw.toml")
    }

    /// What a command that is to fail says, and its exit code.
    pub(crate) fn refused(&self, args: &[&str]) -> (i32, String) {
        let out = Command::new(SEKISHO).args(args).env("SEKISHO_CONTROL", self.control()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && out.stdout.is_empty(), "sekisho {}: {said}", args.join(" "));
        (out.status.code().unwrap(), said)
    }

    /// Starts it again, when it has ended.
    fn again(&mut self, netns: &Netns) {
        self.router = run(netns, &self.place.path("gw.toml"), &self.control());
        self.wait_for_addresses();
    }

    /// Waits until the router has made sure that nobody else has its IPv6 addresses (RFC 4862 §5.4): up to
    /// two seconds, as in Linux.
    pub(crate) fn wait_for_addresses(&self) {
        let deadline = Instant::now() + UNHURRIED;
        loop {
            let links = self.ask(&["ip", "-j", "addr"]);
            let all = links.as_array().unwrap().iter().flat_map(|l| l["addr_info"].as_array().unwrap());
            if !all.into_iter().any(|a| a["tentative"] == true) {
                return;
            }
            assert!(Instant::now() < deadline, "addresses stay tentative: {links:#}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the command gives against this router.
    pub(crate) fn tell(&self, args: &[&str]) -> String {
        self.says(args).0
    }

    /// What a command that goes well says on either of its outputs.
    pub(crate) fn says(&self, args: &[&str]) -> (String, String) {
        let out = Command::new(SEKISHO).args(args).env("SEKISHO_CONTROL", self.control()).output().unwrap();
        let [told, said] = [out.stdout, out.stderr].map(|o| String::from_utf8_lossy(&o).into_owned());
        assert!(out.status.success(), "sekisho {}: {}: {said}", args.join(" "), out.status);
        (told, said)
    }

    /// What the command gives, parsed.
    pub(crate) fn ask(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.tell(args)).unwrap()
    }

    /// `sekisho stats -j`.
    pub(crate) fn stats(&self) -> Value {
        self.ask(&["stats", "-j"])
    }

    /// Waits until the ledger balances, which it does whenever the workers are idle; gives the last stats.
    ///
    /// received = sent + delivered + parked + Σ drops by reason, and the same for what the router made.
    pub(crate) fn balanced(&self) -> Value {
        let deadline = Instant::now() + UNHURRIED;
        loop {
            let stats = self.stats();
            let off: Vec<_> =
                ["received", "originated"].into_iter().filter(|c| imbalance(&stats, c) != 0).collect();
            if off.is_empty() {
                return stats;
            }
            assert!(Instant::now() < deadline, "the columns {off:?} do not balance: {stats:#}");
        }
    }

    /// Stops the router as a service manager does; it must take the signal well.
    pub(crate) fn stop(mut self) {
        self.balanced();
        let status = self.router.terminate(STOP).unwrap();
        assert!(status.success(), "{status}: {}", self.router.said());
        let said = self.router.said();
        let fine = |line: &str| line.contains("gw forwards") || line.contains("INFO");
        assert!(said.lines().all(fine), "a clean run complains of nothing: {said}");
    }
}

/// How far a column of the ledger is from balance.
pub(crate) fn imbalance(stats: &Value, column: &str) -> i64 {
    let of = |what: &str| number(&stats["columns"][column][what]);
    let drops: i64 = stats["drops"].as_array().unwrap().iter().map(|d| number(&d[column])).sum();
    assert_eq!(drops, of("dropped"), "the reasons do not add up: {stats:#}");
    of("entered") - of("sent") - of("delivered") - of("parked") - drops
}

/// A counter.
pub(crate) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("not a number: {value}"))
}

/// How many packets a reason ended.
pub(crate) fn drops(stats: &Value, reason: &str) -> i64 {
    let all = stats["drops"].as_array().unwrap();
    let of = all.iter().find(|d| d["name"] == reason);
    of.map_or(0, |d| number(&d["received"]) + number(&d["originated"]))
}

pub(crate) fn run(netns: &Netns, file: &Path, control: &Path) -> Spawned {
    let mut router = Spawned::start(netns, Path::new(SEKISHO), &["run", file.to_str().unwrap()]).unwrap();
    router.wait_for_socket(control, START).unwrap();
    router
}

fn control(place: &Workplace) -> PathBuf {
    place.path("gw.sock")
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// The hosts and the wires.
fn hosts(choice: &Choice) -> Topology {
    let mut lan = End::new("router", "lan");
    let mut wan = End::new("router", "wan").mtu(choice.far_mtu);
    let mut plan = Plan::new().space("client").space("router").space("server");
    if choice.kernel_competes {
        lan = lan.mac(LAN_MAC).address(net("10.1.0.1/24")).address(net("fd01::1/64"));
        wan = wan.mac(WAN_MAC).address(net("10.2.0.1/24")).address(net("fd02::1/64"));
        plan = plan.sysctl("router", "net/ipv4/ip_forward", "1").sysctl(
            "router",
            "net/ipv6/conf/all/forwarding",
            "1",
        );
    }
    let client = End::new("client", "eth0").address(net("10.1.0.2/24")).address(net("fd01::2/64"));
    let server = End::new("server", "eth0").address(net("10.2.0.2/24")).address(net("fd02::2/64"));
    plan.wire(client.offload(choice.host_offload), lan)
        .wire(wan, server.mtu(choice.far_mtu).offload(choice.host_offload))
        .route("client", net("0.0.0.0/0"), ip(ROUTER[0]))
        .route("client", net("::/0"), ip(ROUTER[1]))
        .route("server", net("0.0.0.0/0"), ip(FAR_SIDE[0]))
        .route("server", net("::/0"), ip(FAR_SIDE[1]))
        .build()
        .unwrap()
}

fn config(choice: &Choice, control: &Path) -> String {
    let Choice { workers, offload, driver, far_mtu, services, rules4, rules6, more, .. } = choice;
    format!(
        r#"
[router]
name = "gw"
workers = {workers}
control = "{}"

[link.lan]
kind = "packet"
mac = "{LAN_MAC}"
addresses = ["10.1.0.1/24", "fd01::1/64"]
offload = "{offload}"
driver = "{driver}"

[link.wan]
kind = "packet"
mac = "{WAN_MAC}"
mtu = {far_mtu}
addresses = ["10.2.0.1/24", "fd02::1/64"]
offload = "{offload}"
driver = "{driver}"

[services]
echo = {services}
discard = {services}

[firewall]
rules4 = '''{rules4}'''
rules6 = '''{rules6}'''
{more}"#,
        control.display()
    )
}
