//! The routes of a configuration, put together: those that follow from addresses, the file's own, and
//! those of its route files; and what is wrong with them, back to file and line.
//!
//! Which ways there are is the routing table's knowledge; here is only where a route came from.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use super::problem::{Problem, Problems};
use super::{Config, Doubt, HopConfig, RouteConfig, RouteFile, RouteType, open_file};
use crate::fib::{
    self, BuildCause, BuildError, Family, LoadError, NextHop, Rib, Route, RouteError, RouteKind,
};
use crate::link::{LinkKind, Links};

/// The routes, or all that is wrong with them that isn't in doubt.
pub(super) fn routing(config: &Config, links: &Links, doubt: &Doubt) -> Result<Rib, Problems> {
    let mut problems = Problems::default();
    let mut rib = Rib::connected(links);
    own(config, links, &mut rib, &mut problems);
    // A route that is missing may have been the way of others.
    let mut missing = Doubt { prefixes: doubt.prefixes.clone(), anything: doubt.anything };
    for file in &config.route_files {
        if let Err(e) = from_file(file, links, &mut rib) {
            e.leaves_in_doubt(file, links, &mut missing);
            e.tell(config, file, doubt, &mut problems);
        }
    }
    match rib.check(links) {
        Ok(()) if problems.is_empty() => {
            rib.settle(links);
            return Ok(rib);
        }
        Ok(()) => {}
        Err(errors) => Causes { config, links, doubt, missing }.tell(errors, &mut problems),
    }
    Err(problems)
}

/// The longest route file, in bytes: as many lines as the table takes routes, and long ones.
const MAX_ROUTE_FILE: u64 = 1 << 30;

/// Adds the routes of the file itself.
fn own(config: &Config, links: &Links, rib: &mut Rib, problems: &mut Problems) {
    let mut lines: HashMap<(IpNet, u32), usize> = HashMap::new();
    for r in config.own_routes() {
        let route = route(&r, links);
        let (to, metric) = (route.prefix, route.metric);
        let text = match rib.insert(route) {
            Ok(()) => {
                lines.insert((to, metric), r.line);
                continue;
            }
            Err(RouteError::Exists(..)) => match lines.get(&(to, metric)) {
                Some(line) => {
                    format!("is there already with metric {metric} (line {line}): give another metric")
                }
                None => {
                    format!("is there already, on the link with that prefix: give a metric above {metric}")
                }
            },
            Err(e) => e.to_string(),
        };
        problems.push(at(&config.path, r.line, format!("route {}: {text}", shown(to))));
    }
}

/// The route as the table takes it.
pub(super) fn route(r: &RouteConfig, links: &Links) -> Route {
    let hop = |h: &HopConfig| NextHop {
        weight: h.weight,
        onlink: h.onlink,
        ..NextHop::new(h.via, h.dev.as_deref().and_then(|dev| links.named(dev)).map(|l| l.id))
    };
    let kind = match r.kind {
        RouteType::Unicast => RouteKind::Unicast(r.hops.iter().map(hop).collect()),
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Prohibit => RouteKind::Prohibit,
        RouteType::Blackhole => RouteKind::Blackhole,
    };
    let metric = r.metric.unwrap_or_else(|| Family::of(r.to).default_metric());
    Route { prefix: r.to, kind, metric, protocol: r.proto, src: r.src, metrics: r.metrics }
}

/// What went wrong with a route file.
enum FileError {
    Unreadable(std::io::Error),
    TooLong,
    Lines(LoadError),
}

fn from_file(file: &RouteFile, links: &Links, rib: &mut Rib) -> Result<(), FileError> {
    let opened = open_file(&file.path).map_err(FileError::Unreadable)?;
    let mut bounded = BufReader::with_capacity(1 << 16, opened.take(MAX_ROUTE_FILE));
    fib::load(&mut bounded, links, |route| rib.insert(route)).map_err(FileError::Lines)?;
    if bounded.get_ref().limit() == 0 { Err(FileError::TooLong) } else { Ok(()) }
}

impl FileError {
    /// Adds where the routes that the file fails to give may have led to.
    fn leaves_in_doubt(&self, file: &RouteFile, links: &Links, missing: &mut Doubt) {
        match self {
            FileError::Lines(e) if e.more == 0 => {
                let wrong = |n: usize| e.lines.iter().any(|l| l.line == n);
                let lines = numbered(file).filter(|(n, _)| wrong(*n));
                missing.prefixes.extend(lines.filter_map(|(_, line)| destination(&line, links)));
            }
            _ => missing.anything = true,
        }
    }

    fn tell(self, config: &Config, file: &RouteFile, doubt: &Doubt, problems: &mut Problems) {
        let by_name = |text: String| at(&config.path, file.line, format!("{}: {text}", file.path.display()));
        match self {
            FileError::Unreadable(e) => problems.push(by_name(format!("can't be read: {e}"))),
            FileError::TooLong => {
                problems.push(by_name(format!("is longer than {} GiB", MAX_ROUTE_FILE >> 30)));
            }
            // Links that are missing here may be there once the file is mended.
            FileError::Lines(_) if doubt.anything => {}
            FileError::Lines(e) => {
                for line in &e.lines {
                    problems.push(at(&file.path, line.line, line.error.to_string()));
                }
                if e.more > 0 {
                    problems.push(at(&file.path, 0, format!("… and {} more lines are no routes", e.more)));
                }
            }
        }
    }
}

/// A route that can't be used, and that has to be found.
struct Wanted {
    prefix: IpNet,
    more: usize,
    cause: BuildCause,
}

/// Whose routes can't be used, and what is known besides.
struct Causes<'a> {
    config: &'a Config,
    links: &'a Links,
    doubt: &'a Doubt,
    /// The same for gateways, with what route files lack besides.
    missing: Doubt,
}

impl Causes<'_> {
    fn tell(&self, errors: Vec<BuildError>, problems: &mut Problems) {
        let mut wanted = Vec::new();
        for error in errors {
            match error {
                BuildError::Route { cause, .. } if self.in_doubt(&cause) => {}
                BuildError::Route { prefix, more, cause } => wanted.push(Wanted { prefix, more, cause }),
                more @ BuildError::More(_) => problems.push(at(&self.config.path, 0, more.to_string())),
            }
        }
        // Mostly a route names the address that is wrong with it; the others lead through one that does.
        for named in [true, false] {
            wanted.retain(|w| !self.found_here(w, named, problems));
            if !wanted.is_empty() {
                self.find_in_files(&mut wanted, named, problems);
            }
        }
        // A file that is another one by now.
        for w in wanted {
            problems.push(at(&self.config.path, 0, self.text(w.prefix, w.more, &w.cause)));
        }
    }

    /// Whether a gateway may only be out of reach because something else is wrong.
    fn in_doubt(&self, cause: &BuildCause) -> bool {
        match cause {
            BuildCause::NoWay(via) | BuildCause::OnlyDefault(via) | BuildCause::NotOnLink(via, _) => {
                self.missing.anything || self.missing.prefixes.iter().any(|net| net.contains(via))
            }
            _ => self.doubt.anything,
        }
    }

    /// Tells of the file's own routes that an error is about: it names the first of all that have the
    /// same next hops. Whether there are any.
    fn found_here(&self, w: &Wanted, named: bool, problems: &mut Problems) -> bool {
        let about = |r: &&RouteConfig| match culprit(&w.cause).filter(|_| named) {
            Some(addr) => r.src == Some(addr) || r.hops.iter().any(|h| h.via == Some(addr)),
            None => true,
        };
        let routes = &self.config.routes;
        let Some(first) = routes.iter().filter(|r| r.to == w.prefix).find(about) else { return false };
        let alike =
            routes.iter().filter(|r| (&r.hops, r.kind, r.src) == (&first.hops, first.kind, first.src));
        for r in alike {
            problems.push(at(&self.config.path, r.line, self.text(r.to, 0, &w.cause)));
        }
        true
    }

    /// Looks for routes in the route files once more, now for their lines, and tells of those found.
    fn find_in_files(&self, wanted: &mut Vec<Wanted>, named: bool, problems: &mut Problems) {
        for file in &self.config.route_files {
            for (n, line) in numbered(file) {
                if wanted.is_empty() {
                    return;
                }
                let Some(to) = destination(&line, self.links) else { continue };
                let names = |addr: IpAddr| line.split_whitespace().any(|w| w.parse() == Ok(addr));
                let fits = |w: &Wanted| {
                    let same = w.prefix == to || (w.prefix.prefix_len() == 0 && to.prefix_len() == 0);
                    same && culprit(&w.cause).filter(|_| named).is_none_or(names)
                };
                if let Some(found) = wanted.iter().position(fits) {
                    let w = wanted.swap_remove(found);
                    problems.push(at(&file.path, n, self.text(w.prefix, w.more, &w.cause)));
                }
            }
        }
    }

    fn text(&self, to: IpNet, more: usize, cause: &BuildCause) -> String {
        let others = if more > 0 { format!(" (and {more} more like it)") } else { String::new() };
        let cause = match cause {
            // It is the default route itself.
            BuildCause::OnlyDefault(via) if to.prefix_len() == 0 => &BuildCause::NoWay(*via),
            cause => cause,
        };
        format!("route {}{others}: {}", shown(to), self.because(cause))
    }

    fn because(&self, cause: &BuildCause) -> String {
        match cause {
            BuildCause::NoWay(via) => format!("no way out: no route leads to {via}; {}", self.remedy(*via)),
            BuildCause::OnlyDefault(via) => {
                format!("no way out: only the default route leads to {via}; {}", self.remedy(*via))
            }
            BuildCause::NotOnLink(via, link) => {
                let on = self.prefixes(*via, Some(link));
                let on =
                    if on.is_empty() { "nothing of that family is".to_owned() } else { format!("{on} is") };
                format!("no way out: {via} is not on {link}, where {on}; mend one of them, or add onlink")
            }
            other => other.to_string(),
        }
    }

    fn remedy(&self, via: IpAddr) -> String {
        match self.prefixes(via, None) {
            on if on.is_empty() => "no link has an address of that family".into(),
            on => format!("give a next hop in {on}, or dev and onlink"),
        }
    }

    /// The prefixes that next hops of that family can be in.
    fn prefixes(&self, via: IpAddr, on: Option<&str>) -> String {
        const SHOWN: usize = 6;
        let links = self.links.iter().filter(|l| l.kind != LinkKind::Loopback);
        let links = links.filter(|l| on.is_none_or(|name| l.name == name));
        let all = links.flat_map(|l| l.addresses.iter().map(|a| (a.network(), l.name.as_str())));
        let link_local = |net: &IpNet| matches!(net, IpNet::V6(v6) if v6.addr().is_unicast_link_local());
        let mut fit: Vec<_> =
            all.filter(|(net, _)| net.addr().is_ipv4() == via.is_ipv4() && !link_local(net)).collect();
        let more = fit.len() > SHOWN;
        fit.truncate(SHOWN);
        let named = |(net, link): (IpNet, &str)| match on {
            Some(_) => net.to_string(),
            None => format!("{net} ({link})"),
        };
        let list: Vec<_> = fit.into_iter().map(named).chain(more.then(|| "…".to_owned())).collect();
        list.join(", ")
    }
}

/// The address an error is about.
pub(super) fn culprit(cause: &BuildCause) -> Option<IpAddr> {
    match cause {
        BuildCause::NoWay(via)
        | BuildCause::OnlyDefault(via)
        | BuildCause::NotOnLink(via, _)
        | BuildCause::Rejected(via)
        | BuildCause::Own(via)
        | BuildCause::NotUnicast(via)
        | BuildCause::Loop(via)
        | BuildCause::TooDeep(via)
        | BuildCause::NotOurs(via) => Some(*via),
        BuildCause::NoSuchLink | BuildCause::TooManyHops | BuildCause::LinkLocal => None,
    }
}

/// The lines of a route file with their numbers, as far as they are text.
fn numbered(file: &RouteFile) -> impl Iterator<Item = (usize, String)> {
    let lines = File::open(&file.path).ok().map(|f| BufReader::new(f.take(MAX_ROUTE_FILE)).lines());
    lines.into_iter().flatten().map_while(Result::ok).zip(1..).map(|(line, n)| (n, line))
}

/// Where a line of a route file leads to, whatever else it says.
fn destination(line: &str, links: &Links) -> Option<IpNet> {
    let word = line.split_whitespace().find(|w| *w != "unicast")?;
    Some(fib::parse_line(&format!("blackhole {word}"), links).ok()??.prefix)
}

fn at(file: &Path, line: usize, text: String) -> Problem {
    Problem { file: file.to_owned(), line, column: 0, text }
}

/// As `ip route` shows a destination.
pub(super) fn shown(net: IpNet) -> String {
    match net.prefix_len() {
        0 => "default".into(),
        _ => net.to_string(),
    }
}
