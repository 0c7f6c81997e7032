//! `[[neighbor]]`: static ARP and NDP entries.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{LOOPBACK, Names, address, link};
use crate::config::NeighborConfig;
use crate::config::file::{Given, NeighborTable};
use crate::config::problem::{Sink, plain};

/// The neighbors that are in order.
pub(super) fn neighbors(
    tables: Vec<NeighborTable>,
    names: &Names<'_>,
    sink: &mut Sink<'_>,
) -> Vec<NeighborConfig> {
    let mut lines = HashMap::new();
    let mut neighbors = Vec::new();
    for t in tables {
        if neighbors.len() == MOST {
            sink.wrong(t.at, format!("neighbor: there are {MOST} static neighbors already"));
            break;
        }
        let Some(n) = neighbor(&t, names, sink) else { continue };
        match lines.insert((n.ip, n.dev.clone()), n.line) {
            Some(line) => sink.wrong(
                t.at,
                format!("neighbor {}: is there already on {} (line {line}); keep one", n.ip, n.dev),
            ),
            None => neighbors.push(n),
        }
    }
    neighbors
}

/// Static entries are never forgotten, so the table has to hold them all.
pub(in crate::config) const MOST: usize = 65_536;

fn neighbor(t: &NeighborTable, names: &Names<'_>, sink: &mut Sink<'_>) -> Option<NeighborConfig> {
    let what = match t.ip.get() {
        Some(ip) => format!("neighbor {}", plain(&ip.value)),
        None => "neighbor".into(),
    };
    let keys: [(&str, &Given<String>); 3] = [("ip", &t.ip), ("mac", &t.mac), ("dev", &t.dev)];
    for (key, _) in
        keys.iter().filter(|(_, given)| given.is_absent() && !sink.incomplete()).collect::<Vec<_>>()
    {
        sink.wrong(t.at, format!("{what}: {key} is missing: an entry has ip, mac and dev"));
    }
    // A link-local address is one on each link by itself.
    let own = |addr: IpAddr| match addr {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            let dev = t.dev.get().and_then(|dev| names.links.iter().find(|l| l.name == dev.value));
            dev.is_some_and(|l| l.addresses.iter().any(|a| a.addr == addr))
        }
        _ => names.owner(addr).is_some(),
    };
    let ip = t.ip.get().and_then(|ip| match address::host(&ip.value) {
        Ok(addr) if own(addr) => {
            sink.wrong(ip.at, format!("{what}: is this router's own address, not a neighbor's"));
            None
        }
        Ok(addr) => Some(addr),
        Err(text) => {
            sink.wrong(ip.at, format!("{what}: {text}"));
            None
        }
    });
    let mac = link::mac(&t.mac, &what, sink);
    let dev = t.dev.get().and_then(|dev| {
        if dev.value == LOOPBACK {
            sink.wrong(dev.at, format!("{what}: dev: there are no neighbors on lo"));
            return None;
        }
        let link = names.link(&what, dev, sink)?;
        if link.mac.is_none() {
            let text = format!(
                "{what}: dev: {} is a {} link, and neighbors have no MAC there",
                link.name,
                link.kind.name()
            );
            sink.wrong(dev.at, text);
            return None;
        }
        Some(link.name.clone())
    });
    Some(NeighborConfig { line: sink.line(t.at), ip: ip?, mac: mac?, dev: dev? })
}
