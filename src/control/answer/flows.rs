//! Answers about the flow table.
//!
//! A listing comes in pages, as that of the routes does: a million flows hold up neither the thread that answers nor its
//! memory, and no worker waits longer than it takes to copy one flow. What changes between two pages shows in the later.

use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;

use crate::base::Instant;
use crate::conntrack::{Conntrack, Flow, State, text};
use crate::control::protocol::{Family, FlowFilter, FlowForm, Translated};
use crate::control::view;
use crate::packet::{Direction, Status, Tuple};
use crate::wire::proto;

/// The pages of a listing of flows.
pub(super) struct Listing {
    table: Arc<Conntrack>,
    form: FlowForm,
    filter: FlowFilter,
    now: Instant,
    /// The first place that the next page looks at; none after the last.
    from: Option<u32>,
}

impl Listing {
    /// All flows that are asked for, as they stand at `now` or later.
    pub(super) fn new(table: Arc<Conntrack>, form: FlowForm, filter: FlowFilter, now: Instant) -> Self {
        Listing { table, form, filter, now, from: Some(0) }
    }
}

impl Iterator for Listing {
    type Item = Value;

    /// One page; perhaps an empty one, so that a choosy question keeps nobody waiting.
    fn next(&mut self) -> Option<Value> {
        let mut page = Vec::new();
        let (form, filter, now) = (self.form, &self.filter, self.now);
        self.from = self.table.page(self.from?, now, &mut |flow| {
            if asked(filter, flow) {
                page.push(match form {
                    FlowForm::Text => Value::String(text::line(flow, now, false).to_string()),
                    FlowForm::Extended => Value::String(text::line(flow, now, true).to_string()),
                    FlowForm::Json => serde_json::to_value(object(flow, now)).unwrap_or_default(),
                });
            }
        });
        Some(Value::Array(page))
    }
}

/// Whether a flow is asked for.
fn asked(f: &FlowFilter, flow: &Flow) -> bool {
    let (orig, reply) = (flow.tuple(Direction::Original), flow.tuple(Direction::Reply));
    let family = if orig.v6 { Family::Inet6 } else { Family::Inet };
    let within = |net: Option<IpNet>, addr| net.is_none_or(|net| net.contains(&addr));
    let port = |wanted: Option<u16>, port| wanted.is_none_or(|p| p == port);
    let src_nat = |t: Translated| flow.status.has(Status::SRC_NAT) && t.to.is_none_or(|to| to == reply.dst());
    let dst_nat = |t: Translated| flow.status.has(Status::DST_NAT) && t.to.is_none_or(|to| to == reply.src());
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
        && f.state.as_deref().is_none_or(|wanted| state(flow) == Some(wanted))
        && f.mark.is_none_or(|(value, mask)| flow.mark & mask == value)
        && flow.status.has(Status(f.status))
        && f.src_nat.is_none_or(src_nat)
        && f.dst_nat.is_none_or(dst_nat)
        && f.any_nat.is_none_or(|t| src_nat(t) || dst_nat(t))
}

/// Where the flow's protocol stands, where that has a name.
pub(super) fn state(flow: &Flow) -> Option<&'static str> {
    match &flow.state {
        State::Tcp(tcp) => Some(tcp.name()),
        State::Sctp(sctp) => Some(sctp.name()),
        _ => None,
    }
}

/// A flow as an object.
fn object(flow: &Flow, now: Instant) -> view::Flow {
    let orig = flow.tuple(Direction::Original);
    let told = |(bit, name): &(Status, &'static str)| flow.status.has(*bit).then(|| (*name).to_owned());
    view::Flow {
        family: if orig.v6 { "ipv6" } else { "ipv4" }.to_owned(),
        protocol: text::protocol_name(orig.proto).to_owned(),
        protonum: orig.proto,
        timeout: u32::try_from(flow.deadline.since(now).as_secs()).unwrap_or(u32::MAX),
        state: state(flow).map(str::to_owned),
        original: tuple(orig),
        reply: tuple(flow.tuple(Direction::Reply)),
        status: STATUS.iter().filter_map(told).collect(),
        mark: flow.mark,
    }
}

fn tuple(t: &Tuple) -> view::FlowTuple {
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
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conntrack::Config;
    use crate::conntrack::testing::{flow, insert, tuple4, tuple6};
    use crate::packet::flow::pack;

    const NOW: Instant = Instant::from_secs(10);

    /// Plain UDP, UDP behind SNAT with a mark, ICMP, GRE, UDP over IPv6, and something without a name.
    fn flows() -> Vec<Flow> {
        let plain = flow(tuple4(1, 1), 30);
        let mut masked = flow(tuple4(2, 1), 130);
        masked.tuples[1].dst = pack("192.0.2.1".parse().unwrap());
        for bit in [Status::SRC_NAT, Status::SEEN_REPLY, Status::ASSURED] {
            masked.status.set(bit);
        }
        masked.mark = 0x23;
        let ping = flow(Tuple { proto: proto::ICMP, src_port: 77, dst_port: 8 << 8, ..tuple4(3, 2) }, 20);
        let gre = flow(Tuple { proto: proto::GRE, src_port: 1, dst_port: 2, ..tuple4(4, 2) }, 20);
        let six = flow(tuple6(1, 1), 40);
        let other = flow(Tuple { proto: 99, src_port: 0, dst_port: 0, ..tuple4(5, 3) }, 50);
        vec![plain, masked, ping, gre, six, other]
    }

    fn table(flows: &[Flow]) -> Arc<Conntrack> {
        let table = Conntrack::new(Config { max: 100_000, ..Config::default() }, 1);
        flows.iter().for_each(|f| insert(&table, f));
        Arc::new(table)
    }

    fn list(table: &Arc<Conntrack>, form: FlowForm, filter: FlowFilter) -> Vec<Value> {
        Listing::new(table.clone(), form, filter, NOW).flat_map(|p| p.as_array().unwrap().clone()).collect()
    }

    #[test]
    fn each_flow_is_asked_for_by_what_it_is() {
        let all = flows();
        let table = table(&all);
        let chosen = |filter: FlowFilter| -> Vec<usize> {
            let lines = list(&table, FlowForm::Text, filter);
            let place = |f: &Flow| lines.contains(&Value::String(text::line(f, NOW, false).to_string()));
            all.iter().enumerate().filter(|(_, f)| place(f)).map(|(i, _)| i).collect()
        };
        let none = FlowFilter::default;
        let net = |s: &str| Some(s.parse().unwrap());
        let nat = |to: Option<&str>| Some(Translated { to: to.map(|a| a.parse().unwrap()) });
        assert_eq!(chosen(none()), [0, 1, 2, 3, 4, 5]);
        assert_eq!(chosen(FlowFilter { family: Some(Family::Inet6), ..none() }), [4]);
        assert_eq!(chosen(FlowFilter { proto: Some(proto::UDP), ..none() }), [0, 1, 4]);
        assert_eq!(chosen(FlowFilter { orig_src: net("10.0.0.2/31"), ..none() }), [1, 2]);
        assert_eq!(chosen(FlowFilter { orig_dst: net("198.51.100.2/32"), ..none() }), [2, 3]);
        assert_eq!(chosen(FlowFilter { reply_src: net("2001:db8::/32"), ..none() }), [4]);
        assert_eq!(chosen(FlowFilter { reply_dst: net("192.0.2.0/24"), ..none() }), [1]);
        assert_eq!(chosen(FlowFilter { orig_sport: Some(4000), ..none() }), [0, 1, 4]);
        assert_eq!(
            chosen(FlowFilter { reply_sport: Some(53), reply_dport: Some(4000), ..none() }),
            [0, 1, 4]
        );
        assert_eq!(chosen(FlowFilter { orig_dport: Some(54), ..none() }), [0; 0]);
        assert_eq!(chosen(FlowFilter { mark: Some((0x20, 0xf0)), ..none() }), [1]);
        assert_eq!(chosen(FlowFilter { status: Status::ASSURED.0, ..none() }), [1]);
        assert_eq!(chosen(FlowFilter { src_nat: nat(None), ..none() }), [1]);
        assert_eq!(chosen(FlowFilter { any_nat: nat(Some("192.0.2.1")), ..none() }), [1]);
        assert_eq!(chosen(FlowFilter { src_nat: nat(Some("192.0.2.2")), ..none() }), [0; 0]);
        assert_eq!(chosen(FlowFilter { dst_nat: nat(None), ..none() }), [0; 0]);
        assert_eq!(chosen(FlowFilter { state: Some("ESTABLISHED".into()), ..none() }), [0; 0]);
    }

    #[test]
    fn the_forms() {
        let all = flows();
        let one = |f: &Flow, form| list(&table(&[*f]), form, FlowFilter::default()).remove(0);
        let line = one(&all[4], FlowForm::Extended);
        assert!(
            line.as_str().unwrap().starts_with("ipv6     10 udp      17 30 src=fd00:1::1 dst=2001:db8::1 "),
            "{line}"
        );
        assert_eq!(
            one(&all[1], FlowForm::Json),
            json!({
                "family": "ipv4", "protocol": "udp", "protonum": 17, "timeout": 120,
                "original": {"src": "10.0.0.2", "dst": "198.51.100.1", "sport": 4000, "dport": 53},
                "reply": {"src": "198.51.100.1", "dst": "192.0.2.1", "sport": 53, "dport": 4000},
                "status": ["SEEN_REPLY", "ASSURED", "CONFIRMED", "SRC_NAT"], "mark": 35,
            })
        );
        let ping = one(&all[2], FlowForm::Json);
        assert_eq!(
            ping["original"],
            json!({"src":"10.0.0.3","dst":"198.51.100.2","type":8,"code":0,"id":77})
        );
        let gre = one(&all[3], FlowForm::Json);
        assert_eq!((&gre["original"]["srckey"], &gre["reply"]["srckey"]), (&1.into(), &2.into()));
        let other = one(&all[5], FlowForm::Json);
        assert_eq!((&other["protocol"], &other["protonum"]), (&"unknown".into(), &99.into()));
        for f in &all {
            let value = one(f, FlowForm::Json);
            let read: view::Flow = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), value);
        }
    }

    #[test]
    fn many_flows_come_in_pages_that_are_made_when_they_are_asked_for() {
        let all: Vec<Flow> = (0..5_000).map(|n| flow(tuple4(n, 1), 30)).collect();
        let table = table(&all);
        let mut pages = Listing::new(table.clone(), FlowForm::Text, FlowFilter::default(), NOW);
        let first = pages.next().unwrap().as_array().unwrap().len();
        assert!((1..=1_024).contains(&first), "{first}");
        assert_eq!(table.remove_where(NOW, &|_| true), 5_000);
        assert_eq!(pages.map(|p| p.as_array().unwrap().len()).sum::<usize>(), 0);
    }
}
