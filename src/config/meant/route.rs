//! `[[route]]`: each by itself. How they fit together is the routing table's business.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{LOOPBACK, Names, address, within, word};
use crate::config::file::{Given, HopTable, RouteTable, Scalar};
use crate::config::problem::{Sink, plain, quoted};
use crate::config::{Doubt, HopConfig, LinkConfig, RouteConfig, RouteType};
use crate::fib::{Metrics, Protocol};

/// The route, if all is well with it.
pub(super) fn route(
    t: RouteTable,
    names: &Names<'_>,
    doubt: &mut Doubt,
    sink: &mut Sink<'_>,
) -> Option<RouteConfig> {
    let before = sink.count();
    let what = match t.to.get() {
        Some(to) => format!("route {}", plain(&to.value)),
        None => "route".into(),
    };
    if t.to.is_absent() && !sink.incomplete() {
        sink.wrong(t.at, "route: `to` is missing: a prefix, or \"default\"");
    }
    let to = t.to.get().and_then(|to| match address::destination(&to.value) {
        Ok(net) => Some(net),
        Err(text) => {
            sink.wrong(to.at, format!("{what}: {text}"));
            None
        }
    });
    let types = RouteType::ALL.map(|k| (k.name(), k));
    let kind = match t.kind {
        Given::No => Some(RouteType::Unicast),
        _ => word(&t.kind, &format!("{what}: type"), &types, sink),
    };
    let metric = within(&t.metric, &format!("{what}: metric"), 0..=u32::MAX, sink);
    let proto = proto(&t.proto, &what, sink);
    let metrics = metrics(&t, &what, sink);
    let hops = ways_out(&t, kind, &what, names, sink);

    let family = to.flatten().map(|net| net.addr().is_ipv4());
    let family = family.or_else(|| hops.iter().find_map(|(h, _)| h.via).map(|via| via.is_ipv4()));
    if let Some(v4) = family {
        stray(&hops, v4, matches!(to, Some(None)), &what, sink);
    }
    let everything = match family {
        Some(false) => IpNet::V6(Ipv6Net::default()),
        // As iproute2 takes a default route that names no address.
        _ => IpNet::V4(Ipv4Net::default()),
    };
    let to = to.map(|net| net.unwrap_or(everything));
    let src = t.src.get().and_then(|src| match src.value.parse::<IpAddr>() {
        Ok(addr) if names.owner(addr).is_some() && addr.is_ipv4() == family.unwrap_or(true) => Some(addr),
        _ => {
            let src_is = format!("{what}: src: {} is no address of this router", quoted(&src.value));
            sink.wrong(src.at, format!("{src_is} in the route's family"));
            None
        }
    });
    if sink.count() > before {
        doubt.prefixes.extend(to);
        doubt.anything |= to.is_none();
        return None;
    }
    let to = to?;
    if let Some(why) = without_effect(to, names) {
        sink.odd(t.at, format!("{what}: has no effect: {why}"));
    }
    let hops = hops.into_iter().map(|(hop, _)| hop).collect();
    Some(RouteConfig { line: sink.line(t.at), to, kind: kind?, hops, metric, src, proto: proto?, metrics })
}

/// Next hops of the other family, where that can't be. `everything`: the route says `default`, and no family.
fn stray(hops: &[(HopConfig, usize)], v4: bool, everything: bool, what: &str, sink: &mut Sink<'_>) {
    for (hop, at) in hops {
        let Some(via) = hop.via.filter(|via| via.is_ipv4() != v4) else { continue };
        if !v4 {
            sink.wrong(*at, format!("{what}: {via}: an IPv6 route can't go by way of IPv4"));
        } else if everything {
            // One that is meant is told from a slip by its destination.
            let text = "an IPv4 route goes by way of IPv6 only if `to` says \"0.0.0.0/0\"";
            sink.wrong(*at, format!("{what}: {via}: {text}"));
        }
    }
}

/// Who made it: a name or number as in `/etc/iproute2/rt_protos`. `None` is reported.
fn proto(given: &Given<Scalar>, what: &str, sink: &mut Sink<'_>) -> Option<Protocol> {
    let Some(given) = given.get() else { return Some(Protocol::Static) };
    let (found, shown) = match &given.value {
        Scalar::Word(word) => (Protocol::named(word), quoted(word).to_string()),
        Scalar::Number(n) => (u8::try_from(*n).ok().map(Protocol::from_number), n.to_string()),
    };
    let wrong = match found {
        // They are told from others by that.
        Some(Protocol::Kernel) => "routes of the kernel follow from addresses; leave it out".to_owned(),
        Some(found) => return Some(found),
        None => format!("{shown} is neither a name that iproute2 knows nor 0 to 255"),
    };
    sink.wrong(given.at, format!("{what}: proto: {wrong}"));
    None
}

/// What it says of sizes; 0 says nothing.
fn metrics(t: &RouteTable, what: &str, sink: &mut Sink<'_>) -> Metrics {
    let mut size = |given, key, most: u16| within(given, &format!("{what}: {key}"), 0..=most.into(), sink);
    let mtu = size(&t.mtu, "mtu", Metrics::MAX_MTU).unwrap_or(0);
    let advmss = size(&t.advmss, "advmss", Metrics::MAX_ADVMSS).unwrap_or(0);
    let is = |given: &Given<bool>| given.get().is_some_and(|g| g.value);
    Metrics {
        mtu: Metrics::mtu_of(mtu),
        advmss: Metrics::advmss_of(advmss),
        mtu_lock: is(&t.mtu_lock),
        advmss_lock: is(&t.advmss_lock),
    }
}

/// As `weight` of iproute2, which counts from 1 and keeps a byte.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=256;

/// More ways out than this share nothing any better.
const MOST_HOPS: usize = 256;

/// The next hops, each with its place.
fn ways_out(
    t: &RouteTable,
    kind: Option<RouteType>,
    what: &str,
    names: &Names<'_>,
    sink: &mut Sink<'_>,
) -> Vec<(HopConfig, usize)> {
    let single = !t.hop.via.is_absent() || !t.hop.dev.is_absent() || !t.hop.onlink.is_absent();
    let rejects = kind.filter(|k| *k != RouteType::Unicast);
    let mut hops = Vec::new();
    match (&t.nexthops, rejects) {
        (several, Some(kind)) => {
            if single || !several.is_absent() {
                let at = t.hop.via.get().or(t.hop.dev.get()).map_or(t.at, |v| v.at);
                let (a, kind) = (if kind == RouteType::Unreachable { "an" } else { "a" }, kind.name());
                sink.wrong(
                    at,
                    format!("{what}: {a} {kind} route leads nowhere: remove via, dev and nexthops"),
                );
            }
        }
        (Given::Yes(several), None) => {
            if single {
                let at = t.hop.via.get().or(t.hop.dev.get()).map_or(t.at, |v| v.at);
                sink.wrong(at, format!("{what}: via and dev stand beside nexthops: put them into the list"));
            }
            if several.value.is_empty() {
                sink.wrong(several.at, format!("{what}: nexthops is empty: list a next hop or use via"));
            }
            if several.value.len() > MOST_HOPS {
                sink.wrong(several.at, format!("{what}: nexthops: {MOST_HOPS} at most"));
            }
            for h in several.value.iter().take(MOST_HOPS) {
                if h.via.is_absent() && h.dev.is_absent() {
                    sink.wrong(h.at, format!("{what}: nexthops: each needs via, dev or both"));
                }
                hops.extend(hop(h, what, names, sink).map(|hop| (hop, h.at)));
            }
        }
        (Given::Unreadable, None) => {}
        (Given::No, None) => {
            if single {
                hops.extend(hop(&t.hop, what, names, sink).map(|hop| (hop, t.hop.at)));
            } else if !sink.incomplete() && kind.is_some() {
                sink.wrong(t.at, format!("{what}: no way out: give via (a next hop) or dev (a link)"));
            }
        }
    }
    hops
}

fn hop(h: &HopTable, what: &str, names: &Names<'_>, sink: &mut Sink<'_>) -> Option<HopConfig> {
    let dev = h.dev.get().and_then(|dev| {
        if dev.value == LOOPBACK {
            let text = format!("{what}: dev: lo leads nowhere; type = \"blackhole\" drops packets");
            sink.wrong(dev.at, text);
            return None;
        }
        names.link(what, dev, sink)
    });
    let via = h.via.get().and_then(|via| match address::host(&via.value) {
        Ok(addr) => Some((addr, via.at)),
        Err(text) => {
            sink.wrong(via.at, format!("{what}: via: {text}"));
            None
        }
    });
    if let Some((addr, at)) = via
        && let Some(why) = no_next_hop(addr, dev, h.dev.is_absent(), names)
    {
        sink.wrong(at, format!("{what}: via: {addr} {why}"));
    }
    let weight = within(&h.weight, &format!("{what}: weight"), WEIGHTS, sink).unwrap_or(1);
    let onlink = h.onlink.get().is_some_and(|o| o.value);
    if let Some(at) = h.onlink.get().filter(|o| o.value && (h.via.is_absent() || h.dev.is_absent())) {
        sink.wrong(at.at, format!("{what}: onlink says that via is found on dev: give both"));
    }
    let complete = (via.is_some() || h.via.is_absent()) && (dev.is_some() || h.dev.is_absent());
    complete.then(|| HopConfig {
        via: via.map(|(addr, _)| addr),
        dev: dev.map(|l| l.name.clone()),
        weight: weight as u16, // 256 at most
        onlink,
    })
}

/// Why packets can't be handed to that address, if they can't.
pub(super) fn no_next_hop(
    via: IpAddr,
    dev: Option<&LinkConfig>,
    no_dev: bool,
    names: &Names<'_>,
) -> Option<String> {
    if matches!(via, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        return match dev {
            None if no_dev => Some("is link-local, and on every link: say on which with dev".into()),
            Some(link) if link.addresses.iter().any(|a| a.addr == via) => {
                Some(format!("is this router's own address on {}", link.name))
            }
            _ => None,
        };
    }
    if let Some(owner) = names.owner(via) {
        return Some(format!("is this router's own address on {owner}"));
    }
    let broadcast = |l: &&LinkConfig| l.addresses.iter().any(|a| a.broadcast().map(IpAddr::V4) == Some(via));
    names.links.iter().find(broadcast).map(|l| format!("is the broadcast address on {}", l.name))
}

/// Why no packet would ever ask for this route, if none would.
fn without_effect(to: IpNet, names: &Names<'_>) -> Option<String> {
    let all = |text: &str| text.parse::<IpNet>().is_ok_and(|net| net.contains(&to));
    if all("224.0.0.0/4") || all("ff00::/8") {
        Some("multicast is not forwarded".into())
    } else if all("fe80::/10") {
        Some("link-local addresses are found on their links".into())
    } else if all("127.0.0.0/8") || all("::1/128") {
        Some("loopback addresses never leave the router".into())
    } else if to.prefix_len() == to.max_prefix_len() {
        names.owner(to.addr()).map(|link| format!("{} is this router's own address on {link}", to.addr()))
    } else {
        None
    }
}
