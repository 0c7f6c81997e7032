//! What the file means: from words and numbers to a [`Config`] in which everything is checked.
//!
//! Parse, don't validate: what comes out can't be wrong in any way that this file knows of. What this
//! version can't do is an error, never ignored. Knows nothing of TOML.

mod address;
mod conntrack;
mod firewall;
mod link;
mod neighbor;
mod route;
mod user;

// What changes are judged by as well.
pub(super) use address::{group as not_a_host, unfit};
pub(super) use link::{MOST as LINKS, MTU, MTU_IPV6, mtus, no_device_name, no_interface_name, not_a_station};
pub(super) use neighbor::MOST as NEIGHBORS;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use crate::path::FlowCacheConfig;

use super::file::{At, File, Given, RouterTable, Scalar};
use super::near::did_you_mean;
use super::problem::{Sink, quoted};
use super::{Config, Doubt, IcmpConfig, LinkConfig, MAX_WORKERS, RouteFile, Services, host};

/// The configuration, as far as it can be understood; the sink gets the rest, and links stay in with
/// what is right about them, so that it isn't said of routes that their links are missing.
pub(super) fn config(file: File, path: &Path, sink: &mut Sink<'_>) -> (Config, Doubt) {
    let mut doubt = Doubt { anything: sink.incomplete(), ..Doubt::default() };
    let (name, workers, control, route_files) = router(&file.router, path, sink);
    let user::Meant { user, group } = user::user(&file.router, sink);
    let typed: Vec<String> = file.links.iter().map(|l| l.name.value.clone()).collect();
    let link::Meant { links, loopback } = link::links(file.links, &name, &mut doubt, sink);
    let names = Names { typed: &typed, links: &links, loopback: &loopback };
    let routes = file.routes.into_iter().filter_map(|r| route::route(r, &names, &mut doubt, sink));
    let routes = Arc::new(routes.collect());
    let neighbors = neighbor::neighbors(file.neighbors, &names, sink);
    let rules = firewall::firewall(&file.firewall, path, &names, sink);
    let conntrack = conntrack::conntrack(&file.conntrack, sink);
    let rate = within(&file.icmp_rate, "[icmp]: rate", ICMP_RATES, sink).unwrap_or(ICMP_RATE);
    let services = Services {
        echo: file.echo.get().is_some_and(|v| v.value),
        discard: file.discard.get().is_some_and(|v| v.value),
    };
    if typed.is_empty() && !sink.incomplete() {
        sink.odd(0, "no links: this router would talk to itself only; add a [link.NAME] section");
    }
    let config = Config {
        path: path.to_owned(),
        name,
        workers,
        flow_cache: flow_cache(&file.router.flow_cache, sink),
        control,
        user,
        group,
        metrics: metrics(&file.router.metrics, sink),
        loopback,
        links,
        routes,
        taken: None,
        route_files,
        neighbors,
        rules,
        conntrack,
        icmp: IcmpConfig { rate },
        services,
        warnings: Vec::new(),
    };
    (config, doubt)
}

/// The links that routes and neighbors may name.
struct Names<'a> {
    /// All names in the file.
    typed: &'a [String],
    links: &'a [LinkConfig],
    loopback: &'a [crate::link::Address],
}

impl<'a> Names<'a> {
    /// The link of that name. `None` is reported.
    fn link(&self, what: &str, name: &At<String>, sink: &mut Sink<'_>) -> Option<&'a LinkConfig> {
        let found = self.links.iter().find(|l| l.name == name.value);
        if found.is_none() && !self.typed.contains(&name.value) && !sink.incomplete() {
            let text = format!("{what}: no link named {}; {}", quoted(&name.value), self.list());
            sink.wrong(name.at, text);
        }
        found
    }

    fn list(&self) -> String {
        const SHOWN: usize = 12;
        let names: Vec<&str> =
            self.typed.iter().map(String::as_str).filter(|n| *n != LOOPBACK).take(SHOWN).collect();
        match (names.len(), self.typed.len()) {
            (0, _) => "there are no links here".into(),
            (SHOWN, all) if all > SHOWN => format!("links here are {}, …", names.join(", ")),
            _ => format!("links here are {}", names.join(", ")),
        }
    }

    /// The name of the link that owns an address.
    fn owner(&self, addr: std::net::IpAddr) -> Option<&'a str> {
        if addr.is_loopback() || self.loopback.iter().any(|a| a.addr == addr) {
            return Some(LOOPBACK);
        }
        self.links.iter().find(|l| l.addresses.iter().any(|a| a.addr == addr)).map(|l| l.name.as_str())
    }
}

/// Why packets of a running router's can't be handed to that address, if they can't.
pub(super) fn unfit_hop(via: std::net::IpAddr, dev: Option<&LinkConfig>, config: &Config) -> Option<String> {
    let names = Names { typed: &[], links: &config.links, loopback: &config.loopback };
    let group = not_a_host(via).map(str::to_owned);
    group.or_else(|| route::no_next_hop(via, dev, dev.is_none(), &names))
}

/// The loopback's name.
const LOOPBACK: &str = "lo";

/// `net.ipv4.icmp_msgs_per_sec` of Linux.
pub(super) const ICMP_RATE: u32 = 1_000;
const ICMP_RATES: RangeInclusive<u32> = 1..=1_000_000;

type Router = (String, Option<usize>, Option<std::path::PathBuf>, Vec<RouteFile>);

fn router(t: &RouterTable, path: &Path, sink: &mut Sink<'_>) -> Router {
    for key in &t.later {
        let text =
            format!("[router]: {}: this version can't keep flows over a restart; remove the line", key.value);
        sink.wrong(key.at, text);
    }
    let name = match &t.name {
        Given::Yes(name) => {
            if let Some(bad) = not_a_file_name(&name.value) {
                sink.wrong(name.at, format!("[router]: name: {} {bad}", quoted(&name.value)));
            }
            name.value.clone()
        }
        Given::Unreadable => String::new(),
        Given::No => {
            let name = host::name().unwrap_or_default();
            if let Some(bad) = not_a_file_name(&name) {
                sink.wrong(0, format!("[router]: the host's name {} {bad}; set `name`", quoted(&name)));
            }
            name
        }
    };
    let relative = |p: &str| path.parent().unwrap_or(Path::new("")).join(p);
    let control = t.control.get().and_then(|c| {
        if c.value.is_empty() || c.value.contains('\0') {
            sink.wrong(
                c.at,
                "[router]: control: the path of a socket is expected; leave it out for the usual one",
            );
            return None;
        }
        Some(relative(&c.value))
    });
    let workers = within(&t.workers, "[router]: workers", 1..=MAX_WORKERS as u32, sink).map(|n| n as usize);
    let files = t.route_files.iter();
    let files = files.map(|f| RouteFile { line: sink.line(f.at), path: relative(&f.value) }).collect();
    (name, workers, control, files)
}

fn flow_cache(given: &Given<Scalar>, sink: &mut Sink<'_>) -> u32 {
    let usual = FlowCacheConfig::default().entries;
    let Some(given) = given.get() else { return usual };
    match &given.value {
        Scalar::Word(word) if word == "on" => usual,
        Scalar::Word(word) if word == "off" => 0,
        Scalar::Word(word) => {
            let text =
                format!("[router]: flow_cache: {} is neither \"on\" nor \"off\" nor a number", quoted(word));
            sink.wrong(given.at, text);
            usual
        }
        Scalar::Number(n) => {
            let n = At { value: *n, at: given.at };
            in_range(&n, "[router]: flow_cache", 0..=FlowCacheConfig::MOST, sink).unwrap_or(usual)
        }
    }
}

/// Where the metrics are to be had: an address and a port. No name: what it stands for may change.
fn metrics(given: &Given<String>, sink: &mut Sink<'_>) -> Option<SocketAddr> {
    let given = given.get()?;
    let at = given.value.parse().ok();
    if at.is_none() {
        let text = format!(
            "[router]: metrics: {} is no address with a port, as 127.0.0.1:9470 or [::1]:9470",
            quoted(&given.value)
        );
        sink.wrong(given.at, text);
    }
    at
}

/// Why a router can't be called that: its name is the name of its socket too.
fn not_a_file_name(name: &str) -> Option<&'static str> {
    /// HOST_NAME_MAX of Linux.
    const LONGEST: usize = 64;
    if name.is_empty() {
        Some("is no name")
    } else if name.len() > LONGEST {
        Some("is too long: 64 bytes at most")
    } else if name.starts_with(['.', '-']) {
        Some("begins with a character that file names had better not begin with")
    } else if name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        Some("can't be a file name: no '/', no spaces")
    } else {
        None
    }
}

/// The number, if it is given and in range.
fn within(given: &Given<i64>, what: &str, range: RangeInclusive<u32>, sink: &mut Sink<'_>) -> Option<u32> {
    in_range(given.get()?, what, range, sink)
}

fn in_range(n: &At<i64>, what: &str, range: RangeInclusive<u32>, sink: &mut Sink<'_>) -> Option<u32> {
    let found = u32::try_from(n.value).ok().filter(|n| range.contains(n));
    if found.is_none() {
        let (low, high) = range.into_inner();
        sink.wrong(n.at, format!("{what}: {} is out of range: {low} to {high}", n.value));
    }
    found
}

/// What a word stands for, if it is given and known.
fn word<T: Copy>(given: &Given<String>, what: &str, words: &[(&str, T)], sink: &mut Sink<'_>) -> Option<T> {
    let given = given.get()?;
    let found = words.iter().find(|(w, _)| *w == given.value).map(|(_, t)| *t);
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
        let hint = did_you_mean(&given.value, known.iter().copied());
        let text = format!("{what}: {} is none of {}{hint}", quoted(&given.value), known.join(", "));
        sink.wrong(given.at, text);
    }
    found
}
