//! A setup as a file that would recreate it: what `sekisho config` prints.
//!
//! Only what differs from the defaults is written. Rules stand in the file itself, without counters. Route files are named
//! as long as their routes are all there: whoever takes one of them away takes the file from
//! [`Config::route_files`](super::Config::route_files), and then each route is written out. Knows nothing of who asks.

use std::fmt::{Display, Write};

use ipnet::IpNet;

use super::settings::{self, Setting, lines, string};
use super::{HopConfig, LinkConfig, RouteConfig, RouteType, Setup};
use crate::fib::{Protocol, Rib, Route};
use crate::filter::{Program, iptables};
use crate::link::Address;

/// The file. Parsed again, wherever it then stands, and built, it gives an equal setup.
pub fn print(setup: &Setup) -> String {
    let c = &setup.config;
    let mut out = format!("# The router {}, as it was when this was printed.\n", string(&c.name));
    let mut router = settings::router(c);
    if !c.route_files.is_empty() {
        let files = c.route_files.iter().map(|f| settings::path(&f.path));
        router.push(Setting { key: "route_files", value: Some(list(files)), usual: false });
    }
    section(&mut out, "[router]", &router);
    for l in &c.links {
        link(&mut out, l, &c.name);
    }
    if !c.loopback.is_empty() {
        let addresses = c.loopback.iter().map(|a| string(&a.addr.to_string()));
        let _ = write!(out, "\n[link.lo]\naddresses = {}\n", list(addresses));
    }
    routes(&mut out, setup);
    for n in &c.neighbors {
        let _ = write!(out, "\n[[neighbor]]\nip = \"{}\"\nmac = \"{}\"\n", n.ip, n.mac);
        let _ = writeln!(out, "dev = {}", string(&n.dev));
    }
    firewall(&mut out, &setup.programs);
    section(&mut out, "[conntrack]", &settings::conntrack(&c.conntrack));
    section(&mut out, "[conntrack.timeouts]", &settings::timeouts(&c.conntrack));
    section(&mut out, "[icmp]", &settings::icmp(c));
    section(&mut out, "[services]", &settings::services(c));
    out
}

/// A section with what is unusual in it; nothing, if all is usual.
fn section(out: &mut String, header: &str, settings: &[Setting]) {
    let mut said = settings.iter().filter(|s| !s.usual).peekable();
    if said.peek().is_some() {
        let _ = write!(out, "\n{header}\n");
        keys(out, said);
    }
}

fn keys<'a>(out: &mut String, settings: impl Iterator<Item = &'a Setting>) {
    for s in settings {
        if let Some(value) = &s.value {
            let _ = writeln!(out, "{} = {value}", s.key);
        }
    }
}

fn link(out: &mut String, l: &LinkConfig, router: &str) {
    let bare = l.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let name = if bare { l.name.clone() } else { string(&l.name) };
    section(out, &format!("[link.{name}]"), &settings::link(l, router));
    let mut addresses = settings::addresses(l).map(|a| string(&address(a))).peekable();
    if addresses.peek().is_some() {
        let _ = writeln!(out, "addresses = {}", list(addresses));
    }
}

/// With its length, also where it is all of it: without one the file would be warned of.
pub(super) fn address(a: &Address) -> String {
    format!("{}/{}", a.addr, a.prefix_len)
}

/// The configuration's own: changes are kept there.
fn routes(out: &mut String, setup: &Setup) {
    setup.config.own_routes().for_each(|r| route(out, &r));
}

/// All routes but those that follow from addresses, in the table's order.
pub(super) fn made_by_somebody(rib: &Rib) -> impl Iterator<Item = Route> + '_ {
    rib.iter().filter(|r| r.protocol != Protocol::Kernel)
}

fn route(out: &mut String, r: &RouteConfig) {
    let _ = writeln!(out, "\n[[route]]\nto = {}", string(&destination(r)));
    match &r.hops[..] {
        [] => {}
        [h] if h.weight == 1 => hop(h).into_iter().for_each(|(key, value)| {
            let _ = writeln!(out, "{key} = {value}");
        }),
        several => {
            let table = |h: &HopConfig| {
                let mut pairs = hop(h);
                pairs.extend((h.weight != 1).then(|| ("weight", h.weight.to_string())));
                let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                format!("{{ {} }}", pairs.join(", "))
            };
            let _ = writeln!(out, "nexthops = {}", list(several.iter().map(table)));
        }
    }
    if let Some(metric) = r.metric {
        let _ = writeln!(out, "metric = {metric}");
    }
    if let Some(src) = r.src {
        let _ = writeln!(out, "src = \"{src}\"");
    }
    for (key, lock, bytes) in r.metrics.said() {
        if bytes != 0 {
            let _ = writeln!(out, "{key} = {bytes}");
        }
        if lock {
            let _ = writeln!(out, "{key}_lock = true");
        }
    }
    if r.proto != Protocol::Static {
        let _ = writeln!(out, "proto = {}", string(&r.proto.to_string()));
    }
    if r.kind != RouteType::Unicast {
        let _ = writeln!(out, "type = \"{}\"", r.kind.name());
    }
}

/// The default route by its name, where that says which of the two it is.
fn destination(r: &RouteConfig) -> String {
    let named = match r.to {
        IpNet::V4(net) => {
            net.prefix_len() == 0 && r.hops.iter().all(|h| h.via.is_none_or(|via| via.is_ipv4()))
        }
        IpNet::V6(net) => net.prefix_len() == 0 && r.hops.iter().any(|h| h.via.is_some()),
    };
    if named { "default".into() } else { r.to.to_string() }
}

fn hop(h: &HopConfig) -> Vec<(&'static str, String)> {
    let via = h.via.map(|via| ("via", format!("\"{via}\"")));
    let dev = h.dev.as_deref().map(|dev| ("dev", string(dev)));
    let onlink = h.onlink.then(|| ("onlink", "true".to_owned()));
    [via, dev, onlink].into_iter().flatten().collect()
}

fn firewall(out: &mut String, programs: &[Option<std::sync::Arc<Program>>; 2]) {
    let mut header = "\n[firewall]\n";
    for (key, program) in ["rules4", "rules6"].iter().zip(programs) {
        if let Some(program) = program {
            let _ = writeln!(out, "{header}{key} = {}", lines(&rules(program)));
            header = "";
        }
    }
}

/// The rules as iptables-save prints them, all counters zero.
pub(super) fn rules(program: &Program) -> String {
    let mut rules = program.ruleset();
    rules.tables.iter_mut().flat_map(|t| &mut t.chains).for_each(|c| c.counters = Default::default());
    iptables::write(&rules, false)
}

/// A TOML list, on several lines if it is long.
fn list(items: impl Iterator<Item = impl Display>) -> String {
    const WIDE: usize = 100;
    let items: Vec<String> = items.map(|i| i.to_string()).collect();
    let line = format!("[{}]", items.join(", "));
    if line.len() <= WIDE { line } else { format!("[\n    {},\n]", items.join(",\n    ")) }
}

#[cfg(test)]
mod tests;
