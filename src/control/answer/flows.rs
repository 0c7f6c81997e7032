//! Answers about the flow table.
//!
//! What concerns many flows comes in pages, as the listing of the routes does: a million flows hold up neither the thread
//! that answers nor its memory, and no worker waits longer than it takes to copy, change or end one flow. What changes
//! between two pages shows in the later. Who deletes or changes flows does so page by page as well, and sees those of a
//! page when it is done.

mod follow;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use super::{Answer, Sources};
use crate::base::Instant;
use crate::base::counters::FlowTotals;
use crate::config::Refusal;
use crate::conntrack::{Conntrack, EventKind, Flow, text};
use crate::control::protocol::{Family, FlowFilter, FlowForm, FlowKind, Flows, Translated};
use crate::control::view;
use crate::packet::flow::pack;
use crate::packet::{Direction, FlowId, Status, Tuple};
use crate::wire::proto;

/// Answers what is asked about flows.
pub(super) fn answer(asked: &Flows, s: &Sources<'_>) -> Answer {
    let pages = |form: &FlowForm, filter: &FlowFilter, deed| {
        Answer::Parts(Box::new(Pages::new(s.conntrack.clone(), *form, filter.clone(), deed, s.now)))
    };
    match asked {
        Flows::Count => Answer::done(&s.conntrack.len()),
        Flows::List { form, filter } => pages(form, filter, Deed::Show),
        Flows::Delete { form, filter } => pages(form, filter, Deed::Delete),
        Flows::Update { form, filter, mark, timeout } => {
            let timeout = timeout.map(|s| Duration::from_secs(s.into()));
            pages(form, filter, Deed::Update { mark: *mark, timeout })
        }
        Flows::Flush {} => pages(&FlowForm::default(), &FlowFilter::default(), Deed::Flush),
        Flows::Get { form, filter } => get(s.conntrack, *form, filter, s.now),
        Flows::Events { form, filter, kinds, buffer } => {
            Answer::Feed(Box::new(follow::Follow::new(s.conntrack, *form, filter.clone(), kinds, *buffer)))
        }
        Flows::Stats => {
            let workers = s.rest.workers.iter().enumerate();
            Answer::done(&workers.map(|(n, lane)| counters(n, &lane.flows)).collect::<Vec<_>>())
        }
    }
}

fn counters(worker: usize, t: &FlowTotals) -> view::FlowCounters {
    view::FlowCounters {
        cpu: u32::try_from(worker).unwrap_or(u32::MAX),
        found: t.taken,
        invalid: t.invalid,
        insert: t.begun,
        insert_failed: t.clashed,
        // As the kernel counts: whoever finds no place is dropped, and so is counted twice.
        drop: t.full + t.clashed,
        early_drop: t.evicted,
        error: t.errors,
        search_restart: 0,
        clash_resolve: t.joined,
        chaintoolong: 0,
    }
}

/// What is done to each flow that is asked for.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Show,
    Delete,
    Update {
        mark: Option<(u32, u32)>,
        timeout: Option<Duration>,
    },
    /// It ends, and is not shown.
    Flush,
}

/// Goes through the flows, a page at a time.
struct Pages {
    table: Arc<Conntrack>,
    form: FlowForm,
    filter: FlowFilter,
    deed: Deed,
    now: Instant,
    /// The first place that the next page looks at; none after the last.
    from: Option<u32>,
}

impl Pages {
    /// All flows that are asked for, as they stand at `now` or later.
    fn new(table: Arc<Conntrack>, form: FlowForm, filter: FlowFilter, deed: Deed, now: Instant) -> Self {
        Pages { table, form, filter, deed, now, from: Some(0) }
    }
}

impl Iterator for Pages {
    type Item = Value;

    /// One page; perhaps an empty one, so that a choosy question keeps nobody waiting.
    fn next(&mut self) -> Option<Value> {
        let mut page = Vec::new();
        let Pages { table, form, filter, deed, now, from } = self;
        let meant = |flow: &Flow| asked(filter, flow);
        self.from = table.numbered((*from)?, *now, &mut |id, flow| {
            if !meant(flow) {
                return;
            }
            match *deed {
                Deed::Show => page.push(shown(form, id, flow, *now, None)),
                Deed::Delete if table.delete(id, *now, meant) => {
                    page.push(shown(form, id, flow, *now, Some(EventKind::Destroy)));
                }
                Deed::Update { mark, timeout } => {
                    let changed = table.set(id, *now, mark, timeout, meant);
                    page.extend(changed.map(|flow| shown(form, id, &flow, *now, None)));
                }
                Deed::Flush => {
                    table.delete(id, *now, meant);
                }
                Deed::Delete => {}
            }
        });
        Some(Value::Array(page))
    }
}

/// One flow, by its whole original tuple.
fn get(table: &Conntrack, form: FlowForm, filter: &FlowFilter, now: Instant) -> Answer {
    let Some(wanted) = whole(filter) else {
        return Answer::no(Refusal {
            text: "a flow is found by its protocol, both its addresses, and its ports, keys or ICMP type and identifier"
                .to_owned(),
            errno: Some("EINVAL"),
        });
    };
    match table
        .find(&wanted, now)
        .filter(|(_, dir, flow)| *dir == Direction::Original || flow.tuples[0] == wanted)
    {
        Some((id, _, flow)) if asked(filter, &flow) => {
            Answer::Parts(Box::new(std::iter::once(Value::Array(vec![shown(&form, id, &flow, now, None)]))))
        }
        _ => Answer::no(Refusal { text: "there is no such flow".to_owned(), errno: Some("ENOENT") }),
    }
}

/// The tuple that a filter names, if it names all of one.
fn whole(f: &FlowFilter) -> Option<Tuple> {
    let host = |net: Option<IpNet>| net.filter(|n| n.prefix_len() == n.max_prefix_len()).map(|n| n.addr());
    let (src, dst, proto) = (host(f.orig_src)?, host(f.orig_dst)?, f.proto?);
    let v6 = matches!(src, IpAddr::V6(_));
    let ports = Tuple { src: pack(src), dst: pack(dst), src_port: 0, dst_port: 0, proto, v6 };
    let (src_port, dst_port) = match proto {
        proto::ICMP | proto::ICMPV6 => {
            (f.icmp_id?, u16::from(f.icmp_type?) << 8 | u16::from(f.icmp_code.unwrap_or(0)))
        }
        proto::GRE => (f.orig_sport.unwrap_or(0), f.orig_dport.unwrap_or(0)),
        // DCCP is tracked without ports.
        proto::DCCP => (0, 0),
        _ if ports.has_ports() => (f.orig_sport?, f.orig_dport?),
        _ => (0, 0),
    };
    (dst.is_ipv6() == v6).then_some(Tuple { src_port, dst_port, ..ports })
}

/// A flow as it is to be shown; of one that was deleted, as the options that would delete it.
fn shown(form: &FlowForm, id: FlowId, flow: &Flow, now: Instant, did: Option<EventKind>) -> Value {
    Value::String(match form.kind {
        FlowKind::Text => {
            let line = text::line(flow, now, form.extended);
            if form.id { line.with_id(id) } else { line }.to_string()
        }
        FlowKind::Save => text::save(flow, now, did, false).to_string(),
        FlowKind::Xml => text::xml(flow, id, now, None, false).to_string(),
        FlowKind::Json => return serde_json::to_value(object(id, flow, now)).unwrap_or_default(),
    })
}

/// Whether a flow is asked for.
fn asked(f: &FlowFilter, flow: &Flow) -> bool {
    let (orig, reply) = (flow.tuple(Direction::Original), flow.tuple(Direction::Reply));
    let family = if orig.v6 { Family::Inet6 } else { Family::Inet };
    let within = |net: Option<IpNet>, addr| net.is_none_or(|net| net.contains(&addr));
    let port = |wanted: Option<u16>, port| wanted.is_none_or(|p| p == port);
    let is = |t: Translated, addr, port| t.to.is_none_or(|to| to == addr) && t.port.is_none_or(|p| p == port);
    let src_nat = |t: Translated| flow.status.has(Status::SRC_NAT) && is(t, reply.dst(), reply.dst_port);
    let dst_nat = |t: Translated| flow.status.has(Status::DST_NAT) && is(t, reply.src(), reply.src_port);
    let icmp = matches!(orig.proto, proto::ICMP | proto::ICMPV6);
    f.family.is_none_or(|wanted| wanted == family)
        && f.proto.is_none_or(|p| p == orig.proto)
        && within(f.orig_src, orig.src())
        && within(f.orig_dst, orig.dst())
        && within(f.reply_src, reply.src())
        && within(f.reply_dst, reply.dst())
        && port(f.orig_sport, orig.src_port)
        && port(f.orig_dport, orig.dst_port)
        && port(f.reply_sport, reply.src_port)
        && port(f.reply_dport, reply.dst_port)
        && f.icmp_type.is_none_or(|kind| icmp && kind == orig.icmp_type())
        && f.icmp_code.is_none_or(|code| icmp && code == orig.icmp_code())
        && f.icmp_id.is_none_or(|id| icmp && id == orig.src_port)
        && f.state.as_deref().is_none_or(|wanted| text::state_name(flow) == Some(wanted))
        && f.mark.is_none_or(|(value, mask)| flow.mark & mask == value)
        && flow.status.has(Status(f.status))
        && flow.status.0 & f.status_not == 0
        && f.src_nat.is_none_or(src_nat)
        && f.dst_nat.is_none_or(dst_nat)
        && f.any_nat.is_none_or(|t| src_nat(t) || dst_nat(t))
}

/// A flow as an object.
fn object(id: FlowId, flow: &Flow, now: Instant) -> view::Flow {
    let orig = flow.tuple(Direction::Original);
    let told = |(bit, name): &(Status, &'static str)| flow.status.has(*bit).then(|| (*name).to_owned());
    view::Flow {
        id: text::number(id),
        family: if orig.v6 { "ipv6" } else { "ipv4" }.to_owned(),
        protocol: text::protocol_name(orig.proto).to_owned(),
        protonum: orig.proto,
        timeout: u32::try_from(flow.deadline.since(now).as_secs()).unwrap_or(u32::MAX),
        state: text::state_name(flow).map(str::to_owned),
        original: side(orig),
        reply: side(flow.tuple(Direction::Reply)),
        status: STATUS.iter().filter_map(told).collect(),
        mark: flow.mark,
        ..view::Flow::default()
    }
}

fn side(t: &Tuple) -> view::FlowTuple {
    let mut view =
        view::FlowTuple { src: t.src().to_string(), dst: t.dst().to_string(), ..view::FlowTuple::default() };
    match t.proto {
        proto::ICMP | proto::ICMPV6 => {
            (view.kind, view.code, view.id) = (Some(t.icmp_type()), Some(t.icmp_code()), Some(t.src_port));
        }
        proto::GRE => (view.srckey, view.dstkey) = (Some(t.src_port), Some(t.dst_port)),
        _ if t.has_ports() => (view.sport, view.dport) = (Some(t.src_port), Some(t.dst_port)),
        _ => {}
    }
    view
}

/// The bits of the status that people ask about, and their names in the kernel.
const STATUS: [(Status, &str); 7] = [
    (Status::EXPECTED, "EXPECTED"),
    (Status::SEEN_REPLY, "SEEN_REPLY"),
    (Status::ASSURED, "ASSURED"),
    (Status::CONFIRMED, "CONFIRMED"),
    (Status::SRC_NAT, "SRC_NAT"),
    (Status::DST_NAT, "DST_NAT"),
    (Status::FIXED_TIMEOUT, "FIXED_TIMEOUT"),
];

#[cfg(test)]
mod tests;
