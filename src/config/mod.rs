//! The configuration file: `router.toml` in, a [`Config`] that can be relied on out.
//!
//! ```text
//! text ─► file (as typed: keys, types, places) ─► meant (what it says) ─► Config ─► build: routes
//!                │                                     │                              │
//!                └────────── problems, all of them, by file and line ─────────────────┘
//! ```
//!
//! Nothing stops at the first mistake. A [`Config`] holds only what was checked, so that nobody has
//! to ask again; it says what a router is to be and knows nothing of devices, threads or packets.

mod apply;
mod build;
mod change;
mod diff;
mod file;
mod host;
mod meant;
mod near;
mod print;
mod problem;
mod rules;
mod settings;
mod setup;
mod taken;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use crate::base::Mac;
use crate::conntrack;
use crate::control::server::MAX_PATH;
use crate::fib::{Metrics, Protocol, Rib};
use crate::filter::Ruleset;
use crate::link::{Address, Driver, Link, LinkKind, Links, Places, RpFilter};

pub use change::{
    AddrChange, Change, Edit, LinkChange, LinkSettings, NeighChange, Refusal, RouteChange, RouteOp,
    RulesChange,
};
pub use diff::{diff, fixed};
pub use print::print;
pub use problem::{Problem, Problems};
pub use setup::{Changed, LiveAction, Setup};
use taken::Taken;

/// What one file says a router is to be. Every path in it is ready to be opened: those in the file
/// are relative to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// The router's name; also a file name.
    pub name: String,
    /// Forwarding threads asked for, 1 to [`MAX_WORKERS`]; [`Config::workers`] says how many there are.
    pub workers: Option<usize>,
    /// How many directions of flows each worker remembers the way of; 0: none.
    pub flow_cache: u32,
    /// The control socket asked for; [`Config::control_path`] says where it is.
    pub control: Option<PathBuf>,
    /// Whom the process becomes once everything is open; nobody else, if nothing is said.
    pub user: Option<RunAs>,
    /// The group that may talk to the control socket, as its user and root may.
    pub group: Option<Account>,
    /// Where metrics are to be had over HTTP; port 0 is any that is free.
    pub metrics: Option<SocketAddr>,
    /// Addresses of the loopback beyond 127.0.0.1/8 and ::1/128; host addresses all.
    pub loopback: Vec<Address>,
    /// The links in the order of the file, without the loopback.
    pub links: Vec<LinkConfig>,
    /// The routes in the order of the file, and those that came later behind them. The table of routes has all.
    pub routes: Arc<Vec<RouteConfig>>,
    /// Where they stand instead, once they are many and not as the files say any more.
    taken: Option<Taken>,
    /// Files with more routes.
    pub route_files: Vec<RouteFile>,
    /// The static neighbors.
    pub neighbors: Vec<NeighborConfig>,
    /// The rules of the firewall, IPv4's first.
    pub rules: [Option<Rules>; 2],
    /// Connection tracking.
    pub conntrack: ConntrackConfig,
    /// ICMP errors.
    pub icmp: IcmpConfig,
    /// What the router answers by itself.
    pub services: Services,
    /// What is odd, and may still be meant.
    pub warnings: Vec<Problem>,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// As it was written: a name, or a number in digits.
    pub name: String,
    /// Its number.
    pub id: u32,
}

/// Whom the process becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs {
    /// The user.
    pub account: Account,
    /// The user's own group.
    pub group: u32,
    /// All others that the user is in, by their numbers.
    pub groups: Vec<u32>,
}

/// `[link.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// The line of its header.
    pub line: usize,
    /// Its name in routes and on the screen.
    pub name: String,
    /// Packet, tap or tun.
    pub kind: LinkKind,
    /// The kernel's name of the interface that is taken or made.
    pub device: String,
    /// Its MAC: always there on packet and tap, never on tun.
    pub mac: Option<Mac>,
    /// The longest L3 packet, in bytes: 68 to 65,535, and 1,280 or more if it has IPv6 addresses.
    pub mtu: u32,
    /// Its addresses, the IPv6 link-local one made from the MAC last unless one is listed or the MTU
    /// is too small for IPv6.
    pub addresses: Vec<Address>,
    /// Whether and how sources are checked.
    pub rp_filter: RpFilter,
    /// Whether redirects are sent.
    pub redirects: bool,
    /// Whether it is set up.
    pub up: bool,
    /// Rings and workers, 1 to [`MAX_WORKERS`]; `None` is as many as there are workers.
    pub queues: Option<usize>,
    /// Whether GSO and checksum offload are used where the device has them.
    pub offload: bool,
    /// What moves a packet link's frames.
    pub driver: Driver,
    /// Whether a device made by us stays when we go.
    pub persist: bool,
    /// The user who may open a device made by us.
    pub owner: Option<u32>,
    /// The group that may.
    pub group: Option<u32>,
}

/// `[[route]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// The line of its header.
    pub line: usize,
    /// Where it leads to; without host bits.
    pub to: IpNet,
    /// What it does.
    pub kind: RouteType,
    /// The ways out: at least one for a unicast route, none for the others. IPv6 goes by way of IPv6 only; links exist.
    pub hops: Arc<[HopConfig]>,
    /// Its metric, if it has one of its own.
    pub metric: Option<u32>,
    /// The source that packets made here prefer on it: one of the router's addresses.
    pub src: Option<IpAddr>,
    /// Who made it.
    pub proto: Protocol,
    /// What it says of the packets besides.
    pub metrics: Metrics,
}

/// One way out of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HopConfig {
    /// The next hop; `None` is on-link.
    pub via: Option<IpAddr>,
    /// The link; `None` is the one that `via` is found on.
    pub dev: Option<String>,
    /// Its share among the others, 1 to 256.
    pub weight: u16,
    /// `via` is on `dev` though no prefix of it says so. Both are there then.
    pub onlink: bool,
}

/// What a route does with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RouteType {
    /// Sends them on.
    #[default]
    Unicast,
    /// Answers host unreachable.
    Unreachable,
    /// Answers administratively prohibited.
    Prohibit,
    /// Drops them.
    Blackhole,
}

/// A file named in `route_files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFile {
    /// The line it is named in.
    pub line: usize,
    /// Where it is.
    pub path: PathBuf,
}

/// `[[neighbor]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighborConfig {
    /// The line of its header.
    pub line: usize,
    /// Its address.
    pub ip: IpAddr,
    /// Its MAC: a station's.
    pub mac: Mac,
    /// The link it is on: packet or tap.
    pub dev: String,
}

/// The rules of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The file they stand in: the configuration itself, or one that it names.
    pub file: PathBuf,
    /// What they say.
    pub ruleset: Arc<Ruleset>,
    /// For each line of the rules, the line of the file; empty where they are the same.
    lines: Vec<usize>,
}

/// `[conntrack]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConntrackConfig {
    /// When connections are tracked.
    pub enable: Enable,
    /// The table's size, timers and habits.
    pub table: conntrack::Config,
}

/// When connections are tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Enable {
    /// When a rule needs it.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never; no rule needs it then. Also what `max = 0` means.
    Off,
}

/// `[icmp]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpConfig {
    /// Errors sent per second, 1 to 1,000,000.
    pub rate: u32,
}

/// `[services]`: on every address of the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Services {
    /// Port 7, UDP and TCP (RFC 862).
    pub echo: bool,
    /// Port 9, UDP and TCP (RFC 863).
    pub discard: bool,
}

/// The most workers and queues: what a kernel has for one tap (`MAX_TAP_QUEUES`).
pub const MAX_WORKERS: usize = 256;

/// The longest configuration file, in bytes. Long lists of routes belong in `route_files`.
pub const MAX_FILE: u64 = 16 << 20;

/// The longest file of rules, in bytes.
pub const MAX_RULES: u64 = 64 << 20;

/// Reads a configuration file and judges all of it but how its routes fit together, which
/// [`Config::rib`] does.
///
/// # Errors
/// All that is wrong with it, or that it can't be read.
pub fn load(path: &Path) -> Result<Config, Problems> {
    parse(&read(path)?, path)
}

/// The same while others wait for what else whoever reads it has to do: it has to be an ordinary file then.
///
/// # Errors
/// As of [`load`].
pub fn load_meanwhile(path: &Path) -> Result<Config, Problems> {
    parse(&text_of(open_file(path), path)?, path)
}

/// The same for a text that stands, or would stand, in the file `path`.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(text: &str, path: &Path) -> Result<Config, Problems> {
    let Understood { config, problems, .. } = understand(text, path);
    problems.or(config)
}

/// Everything that is wrong with a file and with the route files it names, and what can be understood
/// of it all the same; `None` if it can't be read at all.
pub fn check(path: &Path) -> (Option<Config>, Problems) {
    match read(path) {
        Ok(text) => {
            let Understood { config, mut problems, doubt } = understand(&text, path);
            let links = config.links_table();
            let routing = build::routing(&config, &links, &doubt).map(drop);
            for more in [routing, config.programs(&links).map(drop)].into_iter().filter_map(Result::err) {
                problems.append(more);
            }
            problems.sort(path);
            (Some(config), problems)
        }
        Err(problems) => (None, problems),
    }
}

/// As much of the configuration as can be understood, and all that is wrong with the rest.
fn understand(text: &str, path: &Path) -> Understood {
    let mut sink = problem::Sink::new(path, text);
    let file = file::read(text, &mut sink);
    let (mut config, doubt) = meant::config(file, path, &mut sink);
    let (problems, warnings) = sink.finish();
    config.warnings = warnings;
    Understood { config, problems, doubt }
}

/// What became of a text.
struct Understood {
    /// Right in all parts that no problem is told about.
    config: Config,
    problems: Problems,
    doubt: Doubt,
}

/// What the parts that can't be understood may have meant for the others.
#[derive(Debug, Default)]
struct Doubt {
    /// Prefixes that broken routes lead to.
    prefixes: Vec<IpNet>,
    /// A part is missing that could have been any address, link or route.
    anything: bool,
}

/// Opens an ordinary file. Others may give what they give when they like, or never, and whoever waits for a running
/// router's answer would wait with it.
fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file")),
    }
}

fn read(path: &Path) -> Result<String, Problems> {
    text_of(File::open(path), path)
}

fn text_of(file: io::Result<File>, path: &Path) -> Result<String, Problems> {
    let bad = |text: String| Problems::with_file(path, text);
    let mut bytes = Vec::new();
    file.and_then(|f| f.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|e| bad(format!("can't be read: {e}")))?;
    if bytes.len() as u64 > MAX_FILE {
        let text = format!("longer than {} MiB; put long lists of routes into route_files", MAX_FILE >> 20);
        return Err(bad(text));
    }
    String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        let mut problems = Problems::default();
        let text = "not UTF-8 text: save the file as UTF-8".into();
        problems.push(Problem { file: path.to_owned(), line, column: 0, text });
        problems
    })
}

impl Config {
    /// The links as the router sees them, the loopback included.
    pub fn links_table(&self) -> Links {
        self.links_at(&Places::default())
    }

    /// The same, with each at the place that is kept for it.
    pub fn links_at(&self, places: &Places) -> Links {
        let link = |l: &LinkConfig| Link {
            id: crate::base::LinkId::LO, // set by the table
            name: l.name.clone(),
            kind: l.kind,
            mac: l.mac,
            mtu: l.mtu,
            addresses: l.addresses.clone(),
            rp_filter: l.rp_filter,
            redirects: l.redirects,
            up: l.up,
        };
        Links::placed(&self.loopback, self.links.iter().map(link), places)
    }

    /// The routes: those that follow from addresses, the file's, and those of its route files.
    ///
    /// # Errors
    /// Routes that are there twice or have no way out, and lines of route files that are no routes;
    /// each with its file and line.
    pub fn rib(&self) -> Result<Rib, Problems> {
        self.routing(&self.links_table())
    }

    /// The same, `links` being what [`Config::links_table`] gave.
    ///
    /// # Errors
    /// As [`Config::rib`].
    pub fn routing(&self, links: &Links) -> Result<Rib, Problems> {
        build::routing(self, links, &Doubt::default())
    }

    /// How many forwarding threads there are on a machine with `cpus` processors: what was asked
    /// for or one per processor, and never more than there are queues.
    pub fn workers(&self, cpus: usize) -> usize {
        let wanted = self.workers.unwrap_or(cpus).clamp(1, MAX_WORKERS);
        let queues: Option<usize> = self.links.iter().map(|l| l.queues).sum();
        queues.map_or(wanted, |queues| wanted.min(queues.max(1)))
    }

    /// Where the control socket is.
    ///
    /// # Errors
    /// One sentence, if there is no place for it or the path is longer than a socket's may be.
    pub fn control_path(&self) -> Result<PathBuf, String> {
        let file = self.path.display();
        let path = match (&self.control, host::sockets()) {
            (Some(path), _) => path.clone(),
            (None, Some(dir)) => dir.join(format!("{}.sock", self.name)),
            (None, None) => {
                return Err(format!(
                    "no place for the control socket: XDG_RUNTIME_DIR is not set; set it, or `control` in {file}"
                ));
            }
        };
        match path.as_os_str().len() {
            0..=MAX_PATH => Ok(path),
            n => Err(format!(
                "the control socket's path is {n} bytes long and may have {MAX_PATH}; set a shorter `control` in {file}"
            )),
        }
    }
}

impl Rules {
    /// What is wrong at a line of the rules, at its place in the file. 0 is the file as a whole.
    fn problem(&self, line: usize, text: String) -> Problem {
        let at = match (line, self.lines.as_slice()) {
            (0, [first, ..]) => *first,
            (line, []) => line,
            (line, lines) => lines.get(line - 1).or(lines.last()).copied().unwrap_or(0),
        };
        Problem { file: self.file.clone(), line: at, column: 0, text }
    }
}

impl RouteType {
    /// All of them.
    pub const ALL: [RouteType; 4] =
        [RouteType::Unicast, RouteType::Unreachable, RouteType::Prohibit, RouteType::Blackhole];

    /// The word of iproute2.
    pub fn name(self) -> &'static str {
        match self {
            RouteType::Unicast => "unicast",
            RouteType::Unreachable => "unreachable",
            RouteType::Prohibit => "prohibit",
            RouteType::Blackhole => "blackhole",
        }
    }
}

#[cfg(test)]
mod tests;
