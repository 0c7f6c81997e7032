//! Which flows are meant, what is done to them, and how they are shown.

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

const TEXT: FlowForm = FlowForm { kind: FlowKind::Text, extended: false, id: false, timestamp: false };

fn pages(table: &Arc<Conntrack>, form: FlowForm, filter: FlowFilter, deed: Deed) -> Pages {
    Pages::new(table.clone(), form, filter, deed, NOW)
}

fn list(table: &Arc<Conntrack>, form: FlowForm, filter: FlowFilter) -> Vec<Value> {
    pages(table, form, filter, Deed::Show).flat_map(|p| p.as_array().unwrap().clone()).collect()
}

#[test]
fn each_flow_is_asked_for_by_what_it_is() {
    let all = flows();
    let table = table(&all);
    let chosen = |filter: FlowFilter| -> Vec<usize> {
        let lines = list(&table, TEXT, filter);
        let place = |f: &Flow| lines.contains(&Value::String(text::line(f, NOW, false).to_string()));
        all.iter().enumerate().filter(|(_, f)| place(f)).map(|(i, _)| i).collect()
    };
    let none = FlowFilter::default;
    let net = |s: &str| Some(s.parse().unwrap());
    let nat = |to: Option<&str>| Some(Translated { to: to.map(|a| a.parse().unwrap()), port: None });
    assert_eq!(chosen(none()), [0, 1, 2, 3, 4, 5]);
    assert_eq!(chosen(FlowFilter { family: Some(Family::Inet6), ..none() }), [4]);
    assert_eq!(chosen(FlowFilter { proto: Some(proto::UDP), ..none() }), [0, 1, 4]);
    assert_eq!(chosen(FlowFilter { orig_src: net("10.0.0.2/31"), ..none() }), [1, 2]);
    assert_eq!(chosen(FlowFilter { orig_dst: net("198.51.100.2/32"), ..none() }), [2, 3]);
    assert_eq!(chosen(FlowFilter { reply_src: net("2001:db8::/32"), ..none() }), [4]);
    assert_eq!(chosen(FlowFilter { reply_dst: net("192.0.2.0/24"), ..none() }), [1]);
    assert_eq!(chosen(FlowFilter { orig_sport: Some(4000), ..none() }), [0, 1, 4]);
    assert_eq!(chosen(FlowFilter { reply_sport: Some(53), reply_dport: Some(4000), ..none() }), [0, 1, 4]);
    assert_eq!(chosen(FlowFilter { orig_dport: Some(54), ..none() }), [0; 0]);
    assert_eq!(chosen(FlowFilter { mark: Some((0x20, 0xf0)), ..none() }), [1]);
    assert_eq!(chosen(FlowFilter { status: Status::ASSURED.0, ..none() }), [1]);
    assert_eq!(chosen(FlowFilter { src_nat: nat(None), ..none() }), [1]);
    assert_eq!(chosen(FlowFilter { any_nat: nat(Some("192.0.2.1")), ..none() }), [1]);
    assert_eq!(chosen(FlowFilter { src_nat: nat(Some("192.0.2.2")), ..none() }), [0; 0]);
    assert_eq!(chosen(FlowFilter { dst_nat: nat(None), ..none() }), [0; 0]);
    assert_eq!(chosen(FlowFilter { state: Some("ESTABLISHED".into()), ..none() }), [0; 0]);
}

/// The number of the only flow there is.
fn number(table: &Conntrack) -> u64 {
    let mut number = 0;
    table.each(NOW, &mut |id, _| number = text::number(id));
    number
}

#[test]
fn the_forms() {
    let all = flows();
    let one = |f: &Flow, form| list(&table(&[*f]), form, FlowFilter::default()).remove(0);
    let line = one(&all[4], FlowForm { extended: true, ..TEXT });
    assert!(
        line.as_str().unwrap().starts_with("ipv6     10 udp      17 30 src=fd00:1::1 dst=2001:db8::1 "),
        "{line}"
    );
    assert_eq!(
        one(&all[1], FlowForm { kind: FlowKind::Json, ..TEXT }),
        json!({
            "id": number(&table(&[all[1]])), "family": "ipv4", "protocol": "udp", "protonum": 17, "timeout": 120,
            "original": {"src": "10.0.0.2", "dst": "198.51.100.1", "sport": 4000, "dport": 53},
            "reply": {"src": "198.51.100.1", "dst": "192.0.2.1", "sport": 53, "dport": 4000},
            "status": ["SEEN_REPLY", "ASSURED", "CONFIRMED", "SRC_NAT"], "mark": 35,
        })
    );
    let ping = one(&all[2], FlowForm { kind: FlowKind::Json, ..TEXT });
    assert_eq!(ping["original"], json!({"src":"10.0.0.3","dst":"198.51.100.2","type":8,"code":0,"id":77}));
    let gre = one(&all[3], FlowForm { kind: FlowKind::Json, ..TEXT });
    assert_eq!((&gre["original"]["srckey"], &gre["reply"]["srckey"]), (&1.into(), &2.into()));
    let other = one(&all[5], FlowForm { kind: FlowKind::Json, ..TEXT });
    assert_eq!((&other["protocol"], &other["protonum"]), (&"unknown".into(), &99.into()));
    for f in &all {
        let value = one(f, FlowForm { kind: FlowKind::Json, ..TEXT });
        let read: view::Flow = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), value);
    }
}

#[test]
fn many_flows_come_in_pages_that_are_made_when_they_are_asked_for() {
    let all: Vec<Flow> = (0..5_000).map(|n| flow(tuple4(n, 1), 30)).collect();
    let table = table(&all);
    let mut pages = pages(&table, TEXT, FlowFilter::default(), Deed::Show);
    let first = pages.next().unwrap().as_array().unwrap().len();
    assert!((1..=1_024).contains(&first), "{first}");
    assert_eq!(table.remove_where(NOW, &|_| true), 5_000);
    assert_eq!(pages.map(|p| p.as_array().unwrap().len()).sum::<usize>(), 0);
}

fn texts(pages: Pages) -> Vec<String> {
    pages.flat_map(|p| serde_json::from_value::<Vec<String>>(p).unwrap()).collect()
}

#[test]
fn who_is_deleted_is_shown_and_gone_and_nobody_else() {
    let all = flows();
    let table = table(&all);
    let udp4 = FlowFilter { proto: Some(proto::UDP), family: Some(Family::Inet), ..FlowFilter::default() };
    let save = FlowForm { kind: FlowKind::Save, ..TEXT };
    let gone = texts(pages(&table, save, udp4.clone(), Deed::Delete));
    assert_eq!(gone.len(), 2);
    assert!(gone.iter().all(|line| line.starts_with("-D -t ") && line.contains(" -p udp ")), "{gone:?}");
    assert_eq!(table.len(), 4);
    assert_eq!(texts(pages(&table, TEXT, udp4, Deed::Delete)), [""; 0]);
    assert_eq!(texts(pages(&table, TEXT, FlowFilter::default(), Deed::Flush)), [""; 0]);
    assert!(table.is_empty());
}

#[test]
fn a_deleted_flow_gives_its_port_back() {
    let table = table(&flows());
    let taken = table.find(&flows()[1].tuples[1], NOW).unwrap().2.tuples[1];
    assert!(table.is_taken(&taken, &flows()[0].tuples[0], NOW));
    let masked = FlowFilter { src_nat: Some(Translated::default()), ..FlowFilter::default() };
    assert_eq!(texts(pages(&table, TEXT, masked, Deed::Delete)).len(), 1);
    assert!(!table.is_taken(&taken, &flows()[0].tuples[0], NOW));
    assert_eq!(table.source_mapping(&flows()[1].tuples[0], NOW, &mut |_, _| true), None);
}

#[test]
fn marks_and_timeouts_are_changed_of_those_that_fit() {
    let table = table(&flows());
    let marked = FlowFilter { src_nat: Some(Translated::default()), ..FlowFilter::default() };
    let deed = Deed::Update { mark: Some((0x40, 0xf0)), timeout: Some(Duration::from_secs(7)) };
    let changed = texts(pages(&table, TEXT, marked, deed));
    assert_eq!(changed.len(), 1);
    assert!(
        changed[0].starts_with("udp      17 7 src=10.0.0.2 ") && changed[0].contains(" mark=67 "),
        "{changed:?}"
    );
    let with = |value| FlowFilter { mark: Some((value, u32::MAX)), ..FlowFilter::default() };
    assert_eq!((list(&table, TEXT, with(67)).len(), list(&table, TEXT, with(0)).len()), (1, 5));
}

#[test]
fn many_flows_are_ended_page_by_page() {
    let all: Vec<Flow> = (0..5_000).map(|n| flow(tuple4(n, 1), 30)).collect();
    let table = table(&all);
    let mut pages = pages(&table, TEXT, FlowFilter::default(), Deed::Flush);
    pages.next();
    let left = table.len();
    assert!((3_900..5_000).contains(&left), "{left}");
    assert!(pages.count() >= 4 && table.is_empty());
}

#[test]
fn one_flow_by_its_tuple() {
    let all = flows();
    let table = table(&all);
    let of = |t: &Tuple| FlowFilter {
        proto: Some(t.proto),
        orig_src: Some(t.src().into()),
        orig_dst: Some(t.dst().into()),
        orig_sport: t.has_ports().then_some(t.src_port),
        orig_dport: t.has_ports().then_some(t.dst_port),
        ..FlowFilter::default()
    };
    let found = |filter: &FlowFilter| match get(&table, TEXT, filter, NOW) {
        Answer::Parts(parts) => Ok(parts.map(|p| p[0].as_str().unwrap().to_owned()).collect::<Vec<_>>()),
        Answer::Refused(no) => Err(no.errno.unwrap()),
        _ => panic!("neither"),
    };
    for f in [&all[0], &all[1], &all[4], &all[5]] {
        assert_eq!(found(&of(&f.tuples[0])), Ok(vec![text::line(f, NOW, false).to_string()]));
    }
    assert_eq!(found(&of(&all[0].tuples[1])), Err("ENOENT"), "not by its answers");
    let ping = FlowFilter { icmp_type: Some(8), icmp_id: Some(77), ..of(&all[2].tuples[0]) };
    assert_eq!(found(&ping).map(|lines| lines.len()), Ok(1));
    assert_eq!(found(&FlowFilter { icmp_id: Some(78), ..ping.clone() }), Err("ENOENT"));
    assert_eq!(found(&FlowFilter { mark: Some((1, 1)), ..of(&all[0].tuples[0]) }), Err("ENOENT"));
    for part in [
        FlowFilter { icmp_id: None, ..ping },
        FlowFilter { proto: None, ..of(&all[0].tuples[0]) },
        FlowFilter { orig_dport: None, ..of(&all[0].tuples[0]) },
        FlowFilter { orig_src: Some("10.0.0.0/8".parse().unwrap()), ..of(&all[0].tuples[0]) },
        FlowFilter { orig_dst: Some("::1/128".parse().unwrap()), ..of(&all[0].tuples[0]) },
    ] {
        assert_eq!(found(&part), Err("EINVAL"), "{part:?}");
    }
}

#[test]
fn what_happens_is_told_to_who_asked_and_losses_too() {
    use super::follow::Follow;
    use crate::control::protocol::EventName;
    use crate::control::server::{Fed, Feed};
    use view::FlowNews;
    let table = table(&[]);
    let filter = FlowFilter { proto: Some(proto::UDP), ..FlowFilter::default() };
    let mut all = Follow::new(&table, TEXT, filter.clone(), &[], None);
    let form = FlowForm { kind: FlowKind::Json, timestamp: true, ..TEXT };
    let mut ends = Follow::new(&table, form, filter, &[EventName::Destroy], Some(1));
    let news = |feed: &mut Follow, now| match feed.poll(now) {
        Fed::Part(part) => Some(serde_json::from_value::<Vec<FlowNews>>(part).unwrap()),
        Fed::Nothing => None,
        Fed::End(_) => panic!("it has no end"),
    };
    assert_eq!(news(&mut all, NOW), Some(vec![]), "a sign of life");
    assert_eq!(news(&mut all, NOW), None);
    for f in flows() {
        insert(&table, &f);
    }
    table.remove_where(NOW, &|_| true);
    let told = news(&mut all, NOW).unwrap();
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(
        matches!(&told[0], FlowNews::Line(line) if line.starts_with("    [NEW] udp      17 ")),
        "{told:?}"
    );
    assert!(
        matches!(&told[5], FlowNews::Line(line) if line.starts_with("[DESTROY] udp      17 ")),
        "{told:?}"
    );
    let told = news(&mut ends, NOW).unwrap();
    assert_eq!(told.len(), 2);
    let FlowNews::Flow(first) = &told[0] else { panic!("{told:?}") };
    assert_eq!(first.event.as_deref(), Some("DESTROY"));
    assert!(first.timestamp.is_some_and(|t| t > 1_600_000_000.0));
    assert_eq!(told[1], FlowNews::Lost(2));
    assert_eq!(news(&mut ends, NOW), None);
    assert_eq!(news(&mut ends, NOW + Duration::from_secs(1)), Some(vec![]));
}

mod random {
    use proptest::prelude::*;

    use super::*;

    fn net() -> impl Strategy<Value = Option<IpNet>> {
        let some = prop::sample::select(
            &["10.0.0.0/30", "10.0.0.2/32", "198.51.100.1/32", "0.0.0.0/0", "::/0", "fd00::/8"][..],
        );
        prop::option::weighted(0.3, some.prop_map(|text| text.parse().unwrap()))
    }

    fn filters() -> impl Strategy<Value = FlowFilter> {
        let rare = |n: std::ops::Range<u32>| prop::option::weighted(0.15, n);
        let nat = prop::option::weighted(
            0.15,
            (prop::option::of(Just("192.0.2.1".parse().unwrap())), prop::option::of(0..6000u16))
                .prop_map(|(to, port)| Translated { to, port }),
        );
        let family = prop::option::weighted(0.3, prop::sample::select(vec![Family::Inet, Family::Inet6]));
        let proto = prop::option::weighted(0.3, prop::sample::select(vec![1u8, 6, 17, 47, 58, 99, 132]));
        let bits = || prop_oneof![6 => Just(0u32), 1 => Just(2), 1 => Just(4), 1 => any::<u32>()];
        let mark = prop::option::weighted(0.15, (any::<u32>(), prop_oneof![Just(0), any::<u32>()]));
        let state = prop::option::weighted(0.1, "[A-Z_]{0,12}");
        (
            (family, proto, net(), net(), net(), net()),
            (rare(3999..4002), rare(52..54), rare(0..70_000), rare(6..10), rare(0..2), rare(76..79)),
            (state, mark, bits(), bits(), nat.clone(), nat.clone(), nat),
        )
            .prop_map(
                |((family, proto, a, b, c, d), (sport, dport, reply, kind, code, id), rest)| {
                    let (state, mark, status, status_not, src_nat, dst_nat, any_nat) = rest;
                    FlowFilter {
                        family,
                        proto,
                        orig_src: a,
                        orig_dst: b,
                        reply_src: c,
                        reply_dst: d,
                        orig_sport: sport.map(|n| n as u16),
                        orig_dport: dport.map(|n| n as u16),
                        reply_sport: None,
                        reply_dport: reply.map(|n| n as u16),
                        icmp_type: kind.map(|n| n as u8),
                        icmp_code: code.map(|n| n as u8),
                        icmp_id: id.map(|n| n as u16),
                        state,
                        mark,
                        status,
                        status_not,
                        src_nat,
                        dst_nat,
                        any_nat,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_deleted_or_changed_is_what_would_be_shown(
            filter in filters(), mark in any::<(u32, u32)>(), seconds in any::<u32>(),
            kind in prop::sample::select(vec![FlowKind::Text, FlowKind::Save, FlowKind::Xml]),
        ) {
            let all = flows();
            let (a, b) = (table(&all), table(&all));
            let form = FlowForm { kind, ..TEXT };
            let shown = texts(pages(&a, form, filter.clone(), Deed::Show));
            let timeout = Some(Duration::from_secs(seconds.into()));
            let changed = texts(pages(&b, form, filter.clone(), Deed::Update { mark: Some(mark), timeout }));
            prop_assert_eq!(shown.len(), changed.len());
            prop_assert_eq!(b.len(), all.len());
            let gone = texts(pages(&a, form, filter.clone(), Deed::Delete));
            let sames = |lines: &[String]| lines.iter().map(|l| l.trim_start_matches("-D").trim_start_matches("-A").to_owned()).collect::<Vec<_>>();
            prop_assert_eq!(sames(&shown), sames(&gone));
            prop_assert_eq!(a.len(), all.len() - gone.len());
            // Whatever it is asked by, one flow at most is got, and one that fits.
            if let Answer::Parts(parts) = get(&b, TEXT, &filter, NOW) {
                prop_assert_eq!(parts.count(), 1);
                prop_assert!(texts(pages(&b, TEXT, filter, Deed::Show)).len() <= 1);
            }
        }
    }
}
