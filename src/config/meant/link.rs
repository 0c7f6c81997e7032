//! `[link.NAME]`: each by itself, then what they may not share.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use super::{LOOPBACK, address, in_range, within, word};
use crate::base::Mac;
use crate::config::file::{At, Given, LinkTable, Scalar};
use crate::config::near::did_you_mean;
use crate::config::problem::{Sink, plain, quoted};
use crate::config::{Doubt, LinkConfig, MAX_WORKERS, host};
use crate::link::{Address, Driver, LinkKind, RpFilter};

/// The links, and what is added to the loopback.
pub(super) struct Meant {
    pub(super) links: Vec<LinkConfig>,
    pub(super) loopback: Vec<Address>,
}

/// Judges all links of the router called `router`.
pub(super) fn links(tables: Vec<LinkTable>, router: &str, doubt: &mut Doubt, sink: &mut Sink<'_>) -> Meant {
    let mut meant = Meant { links: Vec::new(), loopback: Vec::new() };
    let mut placed = Vec::new();
    let mut devices = HashMap::new();
    for t in tables {
        if meant.links.len() == MOST {
            sink.wrong(t.name.at, format!("link {}: there are {MOST} links already", plain(&t.name.value)));
            doubt.anything = true;
            break;
        }
        if t.name.value == LOOPBACK {
            meant.loopback = loopback(&t, sink, &mut placed);
            continue;
        }
        let before = placed.len();
        let link = link(&t, router, sink, &mut placed);
        doubt.anything |= placed.len() - before < t.addresses.len();
        let line = link.line;
        match devices.entry(link.device.clone()) {
            Entry::Vacant(free) => {
                free.insert((link.name.clone(), line));
            }
            Entry::Occupied(taken) => {
                let (other, line) = taken.get();
                let at = t.device.get().map_or(t.name.at, |d| d.at);
                let device = plain(&link.device);
                let text =
                    format!("link {}: the device {device} is already {other}'s (line {line})", link.name);
                sink.wrong(at, text);
            }
        }
        meant.links.push(link);
    }
    overlaps(placed, sink);
    meant
}

/// Every link costs descriptors and threads look after it; ids have 16 bits.
pub(in crate::config) const MOST: usize = 4_096;

/// The least MTU of IPv4 (RFC 791) and of IPv6 (RFC 8200 §5), and the most: the length fields of IP.
const MTUS: std::ops::RangeInclusive<u32> = 68..=65_535;
/// The most that the tun driver gives a tap device: its header is counted in.
const MTU_TAP: u32 = 65_535 - 14;
pub(in crate::config) const MTU_IPV6: u32 = 1_280;
/// Ethernet's.
pub(in crate::config) const MTU: u32 = 1_500;

/// Kinds that the interface knows and this version doesn't have.
const LATER: [&str; 4] = ["bridge", "vlan", "vxlan", "wireguard"];

/// Keys that only some kinds have. All others are for all.
const ONLY: &[(&str, &[&str])] = &[
    ("mac", &["packet", "tap", "bridge", "vlan", "vxlan"]),
    ("device", &["packet", "tap", "tun"]),
    ("link_local", &["packet", "tap"]),
    ("queues", &["packet", "tap", "tun"]),
    ("offload", &["packet", "tap", "tun"]),
    ("driver", &["packet"]),
    ("persist", &["tap", "tun"]),
    ("owner", &["tap", "tun"]),
    ("group", &["tap", "tun", "vxlan"]),
    ("ports", &["bridge"]),
    ("ageing", &["bridge"]),
    ("parent", &["vlan"]),
    ("id", &["vlan"]),
    ("protocol", &["vlan"]),
    ("vni", &["vxlan"]),
    ("local", &["vxlan"]),
    ("remote", &["vxlan"]),
    ("port", &["vxlan"]),
    ("learning", &["vxlan"]),
    ("private_key_file", &["wireguard"]),
    ("listen_port", &["wireguard"]),
    ("peer", &["wireguard"]),
];

/// An address at its place in the file.
struct Placed {
    address: Address,
    text: String,
    link: String,
    at: usize,
}

fn link(t: &LinkTable, router: &str, sink: &mut Sink<'_>, placed: &mut Vec<Placed>) -> LinkConfig {
    let name = &t.name.value;
    let what = format!("link {}", plain(name));
    if let Some(bad) = no_interface_name(name) {
        sink.wrong(t.name.at, format!("{what}: the name {bad}"));
    }
    let kind = kind(t, &what, sink);
    if let Some(kind) = kind {
        keys(t, kind, &what, sink);
    }
    let addresses = addresses(t, &what, sink, placed);
    let mtu = mtu(t, kind, &addresses, &what, sink);
    let given_mac = mac(&t.mac, &what, sink);
    let device = device(t, kind, &what, sink);
    let filters = [("off", RpFilter::Off), ("loose", RpFilter::Loose), ("strict", RpFilter::Strict)];
    let rp_filter = word(&t.rp_filter, &format!("{what}: rp_filter"), &filters, sink);
    let offload = word(&t.offload, &format!("{what}: offload"), &[("auto", true), ("off", false)], sink);
    let drivers = Driver::ALL.map(|d| (d.name(), d));
    let driver = word(&t.driver, &format!("{what}: driver"), &drivers, sink);
    let queues = queues(&t.queues, &what, sink);
    // A kind that isn't one stands for one that can have everything.
    let kind = kind.unwrap_or(LinkKind::Packet);
    let makes = matches!(kind, LinkKind::Tap | LinkKind::Tun);
    let owner = if makes { id(&t.owner, "owner", &what, host::user, sink) } else { None };
    let group = if makes { id(&t.group, "group", &what, host::group, sink) } else { None };
    let mac = (kind != LinkKind::Tun).then(|| given_mac.unwrap_or_else(|| Mac::stable(&[router, name])));
    let mut link = LinkConfig {
        line: sink.line(t.name.at),
        name: name.clone(),
        kind,
        device,
        mac,
        mtu,
        addresses,
        rp_filter: rp_filter.unwrap_or_default(),
        redirects: t.redirects.get().is_none_or(|r| r.value),
        up: t.up.get().is_none_or(|up| up.value),
        queues,
        offload: offload.unwrap_or(true),
        driver: driver.unwrap_or_default(),
        persist: t.persist.get().is_some_and(|p| p.value),
        owner,
        group,
    };
    if t.link_local.get().is_none_or(|l| l.value) {
        link.addresses.extend(link_local(&link));
    }
    link
}

/// `[link.lo]` can add addresses and nothing else.
fn loopback(t: &LinkTable, sink: &mut Sink<'_>, placed: &mut Vec<Placed>) -> Vec<Address> {
    for key in &t.keys {
        if !["kind", "addresses"].contains(&key.value) {
            let text = format!("link lo: {}: the loopback only takes more addresses", key.value);
            sink.wrong(key.at, text);
        }
    }
    if let Some(kind) = t.kind.get().filter(|k| k.value != LinkKind::Loopback.name()) {
        let text = format!("link lo: kind: lo is always the loopback, not {}", quoted(&kind.value));
        sink.wrong(kind.at, text);
    }
    let first = placed.len();
    let addresses = addresses(t, "link lo", sink, placed);
    for p in &placed[first..] {
        let longest = if p.address.addr.is_ipv4() { 32 } else { 128 };
        if p.address.prefix_len != longest {
            let text =
                format!("link lo: addresses: on lo they stand alone: write {}/{longest}", p.address.addr);
            sink.wrong(p.at, text);
        } else if matches!(p.address.addr, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            sink.wrong(
                p.at,
                format!("link lo: addresses: {} is link-local, and lo is no link", p.address.addr),
            );
        }
    }
    addresses
}

fn kind(t: &LinkTable, what: &str, sink: &mut Sink<'_>) -> Option<LinkKind> {
    const KINDS: [LinkKind; 3] = [LinkKind::Packet, LinkKind::Tap, LinkKind::Tun];
    let Some(kind) = t.kind.get() else {
        if t.kind.is_absent() && !sink.incomplete() {
            let text = "kind is missing: packet takes a kernel interface, tap and tun make one";
            sink.wrong(t.name.at, format!("{what}: {text}"));
        }
        return None;
    };
    let found = KINDS.into_iter().find(|k| k.name() == kind.value);
    if found.is_none() {
        let names = KINDS.map(LinkKind::name);
        let text = match kind.value.as_str() {
            "loopback" => "the loopback is always there, as lo; add to it in [link.lo]".into(),
            later if LATER.contains(&later) => {
                format!("this version has no {later} links; it has {}", names.join(", "))
            }
            other => {
                let hint = did_you_mean(other, names.into_iter().chain(LATER));
                format!("{} is none of {}{hint}", quoted(other), names.join(", "))
            }
        };
        sink.wrong(kind.at, format!("{what}: kind: {text}"));
    }
    found
}

fn keys(t: &LinkTable, kind: LinkKind, what: &str, sink: &mut Sink<'_>) {
    for key in &t.keys {
        let Some((_, kinds)) = ONLY.iter().find(|(k, _)| *k == key.value) else { continue };
        if !kinds.contains(&kind.name()) {
            let text = format!(
                "{what}: {}: a {} link has none; remove the line (it is for {})",
                key.value,
                kind.name(),
                kinds.join(", ")
            );
            sink.wrong(key.at, text);
        }
    }
}

fn addresses(t: &LinkTable, what: &str, sink: &mut Sink<'_>, placed: &mut Vec<Placed>) -> Vec<Address> {
    let mut addresses = Vec::new();
    for given in &t.addresses {
        match address::address(&given.value) {
            Ok(address) => {
                if !given.value.contains('/') && t.name.value != LOOPBACK {
                    let text = format!(
                        "{what}: addresses: {} has no prefix length, so that no neighbor is on the link; /{} says that this is meant",
                        address.addr, address.prefix_len
                    );
                    sink.odd(given.at, text);
                }
                placed.push(Placed {
                    address,
                    text: given.value.clone(),
                    link: t.name.value.clone(),
                    at: given.at,
                });
                addresses.push(address);
            }
            Err(text) => sink.wrong(given.at, format!("{what}: addresses: {text}")),
        }
    }
    addresses
}

fn mtu(t: &LinkTable, kind: Option<LinkKind>, addresses: &[Address], what: &str, sink: &mut Sink<'_>) -> u32 {
    let mtu = within(&t.mtu, &format!("{what}: mtu"), mtus(kind), sink).unwrap_or(MTU);
    if let (Some(given), Some(v6)) = (t.mtu.get(), addresses.iter().find(|a| a.addr.is_ipv6()))
        && mtu < MTU_IPV6
    {
        let text = format!("{what}: mtu: {mtu} is too small for {}: IPv6 needs {MTU_IPV6} or more", v6.addr);
        sink.wrong(given.at, text);
    }
    mtu
}

/// What MTUs a link of that kind can have.
pub(in crate::config) fn mtus(kind: Option<LinkKind>) -> std::ops::RangeInclusive<u32> {
    if kind == Some(LinkKind::Tap) { *MTUS.start()..=MTU_TAP } else { MTUS }
}

/// A MAC that a station can have.
pub(super) fn mac(given: &Given<String>, what: &str, sink: &mut Sink<'_>) -> Option<Mac> {
    let given = given.get()?;
    let bad = match given.value.parse::<Mac>() {
        Ok(mac) => match not_a_station(mac) {
            None => return Some(mac),
            Some(bad) => bad,
        },
        Err(_) => format!("{} is not a MAC address: write it like 02:00:00:00:01:01", quoted(&given.value)),
    };
    sink.wrong(given.at, format!("{what}: mac: {bad}"));
    None
}

/// Why no station can have a MAC, if none can.
pub(in crate::config) fn not_a_station(mac: Mac) -> Option<String> {
    match mac {
        mac if mac.is_station() => None,
        Mac::ZERO => Some("all zeros is no station's MAC: write one like 02:00:00:00:01:01".into()),
        Mac::BROADCAST => Some("this is the broadcast MAC: write one like 02:00:00:00:01:01".into()),
        mac => {
            let mut single = mac;
            single.0[0] &= !1;
            Some(format!("{mac} is a multicast MAC; {single} would be a station's"))
        }
    }
}

fn device(t: &LinkTable, kind: Option<LinkKind>, what: &str, sink: &mut Sink<'_>) -> String {
    let Some(device) = t.device.get() else { return t.name.value.clone() };
    if let Some(bad) = no_device_name(&device.value, kind) {
        sink.wrong(device.at, format!("{what}: device: {} {bad}", quoted(&device.value)));
    }
    device.value.clone()
}

/// Why there is no device of that name for a link of that kind.
pub(in crate::config) fn no_device_name(name: &str, kind: Option<LinkKind>) -> Option<&'static str> {
    match no_interface_name(name) {
        Some(bad) => Some(bad),
        None if name == LOOPBACK => Some("is the kernel's loopback, which is no link to others"),
        // The kernel would choose a number, and nobody would know which.
        None if name.contains('%') && kind != Some(LinkKind::Packet) => Some("contains '%'"),
        None => None,
    }
}

/// Why the kernel would not have an interface of that name (`dev_valid_name` of Linux).
pub(in crate::config) fn no_interface_name(name: &str) -> Option<&'static str> {
    /// IFNAMSIZ with its closing zero.
    const LONGEST: usize = 15;
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > LONGEST {
        Some("is too long: interface names have 15 bytes at most")
    } else if name == "." || name == ".." {
        Some("is no interface name")
    } else if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) {
        Some("has a character that interface names can't have: '/', ':' or a space")
    } else {
        None
    }
}

fn queues(given: &Given<Scalar>, what: &str, sink: &mut Sink<'_>) -> Option<usize> {
    let given = given.get()?;
    match &given.value {
        Scalar::Word(word) if word == "auto" => None,
        Scalar::Word(word) => {
            let text = format!("{what}: queues: {} is neither \"auto\" nor a number", quoted(word));
            sink.wrong(given.at, text);
            None
        }
        Scalar::Number(n) => {
            let n = At { value: *n, at: given.at };
            in_range(&n, &format!("{what}: queues"), 1..=MAX_WORKERS as u32, sink).map(|n| n as usize)
        }
    }
}

/// A user or group, by number or by the name that `look_up` knows.
fn id(
    given: &Given<Scalar>,
    key: &str,
    what: &str,
    look_up: fn(&str) -> Option<u32>,
    sink: &mut Sink<'_>,
) -> Option<u32> {
    let given = given.get()?;
    let name = match &given.value {
        Scalar::Number(n) => {
            // The last number means "leave it as it is" to the kernel.
            return in_range(
                &At { value: *n, at: given.at },
                &format!("{what}: {key}"),
                0..=u32::MAX - 1,
                sink,
            );
        }
        Scalar::Word(name) => name,
    };
    let found = look_up(name);
    if found.is_none() {
        let kind = if key == "owner" { "user" } else { "group" };
        let text = format!("{what}: {key}: there is no {kind} {} here; give a number", quoted(name));
        sink.wrong(given.at, text);
    }
    found
}

impl LinkConfig {
    /// The IPv6 link-local address that is made from its MAC, as Linux does, unless IPv6 can't be.
    pub(in crate::config) fn made_link_local(&self) -> Option<Address> {
        let addr = self.mac?.link_local().into();
        (self.mtu >= MTU_IPV6).then_some(Address { addr, prefix_len: 64 })
    }
}

/// The IPv6 link-local address that Linux would make, unless one is there.
fn link_local(link: &LinkConfig) -> Option<Address> {
    let listed = link.addresses.iter().any(|a| is_link_local(a.addr));
    link.made_link_local().filter(|_| !listed)
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// No address twice, and no prefix on two links. Link-local addresses are each link's own affair, and
/// an address of the loopback may lie in another's prefix.
fn overlaps(mut placed: Vec<Placed>, sink: &mut Sink<'_>) {
    let mut seen: HashMap<(IpAddr, Option<String>), (String, usize)> = HashMap::new();
    placed.retain(|p| {
        let key = (p.address.addr, is_link_local(p.address.addr).then(|| p.link.clone()));
        match seen.entry(key) {
            Entry::Vacant(free) => {
                free.insert((p.link.clone(), sink.line(p.at)));
                true
            }
            Entry::Occupied(taken) => {
                let (other, line) = taken.get();
                let text = format!(
                    "link {}: addresses: {} is already {}'s (line {line}): an address can be there once",
                    plain(&p.link),
                    p.address.addr,
                    plain(other)
                );
                sink.wrong(p.at, text);
                false
            }
        }
    });
    placed.retain(|p| p.link != LOOPBACK && !is_link_local(p.address.addr));
    // Sorted so, a prefix comes after all that contain it; those are then on the stack.
    placed.sort_by_key(|p| (p.address.network().addr(), p.address.prefix_len, p.at));
    let mut around: Vec<&Placed> = Vec::new();
    for p in &placed {
        around.retain(|o| o.address.network().contains(&p.address.network()));
        if let Some(o) = around.iter().find(|o| o.link != p.link) {
            let (first, second) = if o.at < p.at { (*o, p) } else { (p, *o) };
            let text = format!(
                "link {}: addresses: {} overlaps {}'s {} (line {}): a prefix can be on one link only",
                plain(&second.link),
                second.text,
                plain(&first.link),
                first.text,
                sink.line(first.at)
            );
            sink.wrong(second.at, text);
        }
        around.push(p);
    }
}
