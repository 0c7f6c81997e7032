//! Sekisho itself: `sekisho run` of the same executable, with each driver, with one and two workers, with and without
//! its flow cache.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Layout, Rival, Running, Testbed, Trouble, Work};
use crate::control::client::Client;
use crate::control::protocol::Verb;
use crate::control::view::Stats;
use crate::lab::Spawned;
use crate::lab::bench::metric::Traffic;
use crate::lab::bench::ruleset::{self, Routes};
use crate::lab::bench::testbed::{LAN, LAN_MAC, LENGTH, WAN, WAN_MAC, neighbors_of_lan, neighbors_of_wan};
use crate::link::Driver;

/// One way of running it.
#[derive(Debug)]
pub(super) struct Sekisho {
    program: PathBuf,
    variant: &'static Variant,
}

#[derive(Debug)]
struct Variant {
    name: &'static str,
    what: &'static str,
    /// Lines of `[router]`.
    router: &'static str,
    /// Lines of each link.
    link: &'static str,
    queues: u32,
    by_default: bool,
}

const VARIANTS: &[Variant] = &[
    Variant {
        name: "sekisho",
        what: "`sekisho run` as it comes: the driver it chooses, one worker per CPU",
        router: "",
        link: "",
        queues: 1,
        by_default: true,
    },
    Variant {
        name: "sekisho-xdp",
        what: "with `driver = \"xdp\"`: AF_XDP sockets in copy mode",
        router: "",
        link: "driver = \"xdp\"\n",
        queues: 1,
        by_default: true,
    },
    Variant {
        name: "sekisho-ring",
        what: "with `driver = \"ring\"`: memory-mapped packet rings",
        router: "",
        link: "driver = \"ring\"\n",
        queues: 1,
        by_default: false,
    },
    Variant {
        name: "sekisho-socket",
        what: "with `driver = \"socket\"`: recvmmsg and sendmmsg",
        router: "",
        link: "driver = \"socket\"\n",
        queues: 1,
        by_default: false,
    },
    Variant {
        name: "sekisho-1-worker",
        what: "with one worker",
        router: "workers = 1\n",
        link: "",
        queues: 1,
        by_default: true,
    },
    Variant {
        name: "sekisho-2-workers",
        what: "with two workers",
        router: "workers = 2\n",
        link: "",
        queues: 1,
        by_default: false,
    },
    Variant {
        name: "sekisho-no-cache",
        what: "with `flow_cache = \"off\"`: every packet walks",
        router: "flow_cache = \"off\"\n",
        link: "",
        queues: 1,
        by_default: false,
    },
    Variant {
        name: "sekisho-xdp-1-worker",
        what: "AF_XDP with one worker",
        router: "workers = 1\n",
        link: "driver = \"xdp\"\n",
        queues: 1,
        by_default: true,
    },
    Variant {
        name: "sekisho-xdp-2-queues",
        what: "AF_XDP with two workers and two queues on each device",
        router: "workers = 2\n",
        link: "driver = \"xdp\"\n",
        queues: 2,
        by_default: false,
    },
];

/// Every way of running `program`.
pub(super) fn variants(program: &Path) -> impl Iterator<Item = Sekisho> {
    VARIANTS.iter().map(|variant| Sekisho { program: program.to_owned(), variant })
}

/// Whether a rival is one that has to be named.
pub(super) fn only_by_name(name: &str) -> bool {
    VARIANTS.iter().any(|v| v.name == name && !v.by_default)
}

/// How long it may take to read a million routes in a debug build on a busy machine.
const START: Duration = Duration::from_secs(60);

impl Rival for Sekisho {
    fn name(&self) -> &'static str {
        self.variant.name
    }

    fn what(&self) -> &'static str {
        self.variant.what
    }

    fn available(&self) -> Result<String, Trouble> {
        Ok(concat!("sekisho ", env!("CARGO_PKG_VERSION")).into())
    }

    fn declines(&self, work: &Work) -> Option<&'static str> {
        let once = matches!(work.traffic, Traffic::Memory | Traffic::Start) && self.variant.name != "sekisho";
        once.then_some("does not depend on the driver or the workers")
    }

    fn layout(&self) -> Layout {
        Layout::Program
    }

    fn queues(&self) -> u32 {
        self.variant.queues
    }

    fn start(&self, bed: &Testbed) -> Result<Running, Trouble> {
        let file = self.configure(bed)?;
        let since = Instant::now();
        let file = file.to_string_lossy();
        let mut program =
            Spawned::start(bed.router(), &self.program, &["run", &file]).map_err(Trouble::of)?;
        program.wait_for_socket(&bed.place().path("control.sock"), START).map_err(|e| match e {
            crate::lab::spawn::SpawnError::Ended { said, .. } => {
                Trouble(format!("it ended: {}", super::last_words(&said)))
            }
            e => Trouble::of(e),
        })?;
        let chose = self.drivers(bed)?;
        Ok(Running::new(vec![program], since).that_chose(chose))
    }
}

impl Sekisho {
    /// By what it moves frames. One that was asked for by name and fell back to another is not what is to be measured.
    fn drivers(&self, bed: &Testbed) -> Result<String, Trouble> {
        let mut client = Client::connect(&bed.place().path("control.sock")).map_err(Trouble::of)?;
        let stats: Stats = client.ask(Verb::Stats).map_err(Trouble::of)?;
        let of_links = stats.links.iter().filter_map(|l| Some((&l.ifname, l.driver.as_ref()?)));
        let mut names = BTreeSet::new();
        for (link, driver) in of_links {
            if driver.asked != Driver::Auto.name() && driver.asked != driver.name {
                let why = driver.fallback.as_deref().unwrap_or("it does not say why");
                return Err(Trouble(format!("{link}: no {}, {} instead: {why}", driver.asked, driver.name)));
            }
            names.insert(driver.name.as_str());
        }
        Ok(format!("driver {}", names.into_iter().collect::<Vec<_>>().join(" and ")))
    }

    /// Writes its files and gives the path of the one that names the others.
    fn configure(&self, bed: &Testbed) -> Result<PathBuf, Trouble> {
        let place = bed.place();
        let Variant { router, link, .. } = self.variant;
        let mut text = format!(
            "[router]\nname = \"bench\"\ncontrol = \"{}\"\n{router}",
            place.path("control.sock").display()
        );
        if bed.setup().routes != Routes::One {
            place.write("routes.txt", &ruleset::routes_text(bed.setup().routes)).map_err(Trouble::of)?;
            text.push_str("route_files = [\"routes.txt\"]\n");
        }
        for (name, mac, address) in [("lan", LAN_MAC, LAN), ("wan", WAN_MAC, WAN)] {
            let _ = write!(
                text,
                "[link.{name}]\nkind = \"packet\"\ndevice = \"{name}\"\nmac = \"{mac}\"\n\
                 addresses = [\"{address}/{LENGTH}\"]\n{link}"
            );
        }
        let near = neighbors_of_lan().map(|n| (n, "lan"));
        for ((ip, mac), dev) in near.chain(neighbors_of_wan().map(|n| (n, "wan"))) {
            let _ = write!(text, "[[neighbor]]\nip = \"{ip}\"\nmac = \"{mac}\"\ndev = \"{dev}\"\n");
        }
        if let Some(rules) = ruleset::rules(bed.setup().rules) {
            place.write("rules.v4", &rules).map_err(Trouble::of)?;
            text.push_str("[firewall]\nrules4_file = \"rules.v4\"\n");
        }
        place.write("router.toml", &text).map_err(Trouble::of)
    }
}
