//! Which address and port a flow gets, beside which others, and when none.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::conntrack::nat::tests::{Book, as_seen, begin, end, numbers, tuple};
use crate::conntrack::nat::{is_done, netmap, range_at};
use crate::packet::Steering;
use crate::packet::flow::pack;
use crate::wire::icmpv4;

/// `192.0.2.1`, `192.0.2.1-192.0.2.9`, with `:1000-2000` behind it or alone.
fn range(text: &str) -> NatRange {
    let (addrs, ports) = match text.rsplit_once(':') {
        Some((a, p)) if !text.starts_with("fd") => (a, Some(p)),
        _ => (text, None),
    };
    let two = |t: &str| {
        let (a, b) = t.split_once('-').unwrap_or((t, t));
        (a.to_owned(), b.to_owned())
    };
    let addr = (!addrs.is_empty()).then(|| two(addrs)).map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
    let port = ports.map(two).map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
    NatRange { addr, port, ..NatRange::default() }
}

/// A flow that goes out with its source translated, and is confirmed.
fn out(book: &Book, proto: u8, src: &str, dst: &str, to: &NatRange, seed: u64) -> Result<Flow, DropReason> {
    let mut flow = begin(tuple(proto, src, dst));
    setup(&mut flow, to, Manip::Src, book, &mut numbers(seed))?;
    assert!(book.confirm(&flow), "{flow:?} clashes");
    Ok(flow)
}

fn port(flow: &Flow) -> u16 {
    as_seen(flow).parse::<SocketAddr>().unwrap().port()
}

#[test]
fn the_port_is_kept_if_it_is_free() {
    let (book, to) = (Book::default(), range("192.0.2.1"));
    for proto in [proto::TCP, proto::UDP, proto::UDP_LITE, proto::SCTP] {
        let flow = out(&book, proto, "10.0.0.2:4000", "198.51.100.7:80", &to, 1).unwrap();
        assert_eq!(as_seen(&flow), "192.0.2.1:4000");
        assert_eq!(flow.status, Status(Status::SRC_NAT.0 | Status::SRC_NAT_DONE.0));
        assert_eq!(flow.tuples[0], tuple(proto, "10.0.0.2:4000", "198.51.100.7:80"), "the original stays");
    }
    // Another server: the port may be used again.
    let flow = out(&book, proto::TCP, "10.0.0.3:4000", "198.51.100.8:80", &to, 1).unwrap();
    assert_eq!(as_seen(&flow), "192.0.2.1:4000");
    // The same one: it may not.
    let flow = out(&book, proto::TCP, "10.0.0.3:4000", "198.51.100.7:80", &to, 1).unwrap();
    assert_ne!(as_seen(&flow), "192.0.2.1:4000");
}

#[test]
fn another_port_is_of_the_same_class() {
    let to = range("192.0.2.1");
    for (own, class) in [
        (0, 1..=511),
        (1, 1..=511),
        (511, 1..=511),
        (512, 600..=1023),
        (1023, 600..=1023),
        (1024, 1024..=65535),
        (65535, 1024..=65535),
    ] {
        for seed in 0..200 {
            let book = Book::default();
            let [a, b] = ["10.0.0.2", "10.0.0.3"].map(|ip| format!("{ip}:{own}"));
            let kept = out(&book, proto::UDP, &a, "198.51.100.7:53", &to, seed).unwrap();
            assert_eq!(port(&kept), own);
            let other = out(&book, proto::UDP, &b, "198.51.100.7:53", &to, seed).unwrap();
            assert!(class.contains(&port(&other)) && port(&other) != own, "{own}: {}", port(&other));
        }
    }
}

#[test]
fn another_port_brings_the_answers_to_the_same_worker() {
    let steering = Steering { key: 77, workers: 4, addresses: [false; 2] };
    let book = Book { steering: Some(steering), ..Book::default() };
    let to = range("192.0.2.1");
    for n in 0..250 {
        let source = format!("10.0.{n}.2:4000");
        let flow = out(&book, proto::UDP, &source, "198.51.100.7:53", &to, n).unwrap();
        assert_eq!(port(&flow) == 4000, n == 0, "the first keeps it");
        let [there, back] = flow.tuples.map(|t| steering.worker_of(&t));
        assert_eq!(there, back, "{flow:?}");
        let ping = out(&book, proto::ICMP, &format!("10.0.{n}.2:9"), "198.51.100.7:2048", &to, n).unwrap();
        let [there, back] = ping.tuples.map(|t| steering.worker_of(&t));
        assert_eq!(there, back, "{ping:?}");
    }
    // Where no port suits, any does.
    let narrow = range("192.0.2.2:700-700");
    let flow = out(&book, proto::UDP, "10.9.0.2:4000", "198.51.100.7:53", &narrow, 1).unwrap();
    assert_eq!(port(&flow), 700);
}

#[test]
fn a_source_goes_where_it_went() {
    let (book, to) = (Book::default(), range("192.0.2.1-192.0.2.9"));
    let first = out(&book, proto::UDP, "10.0.0.2:4000", "198.51.100.7:53", &to, 1).unwrap();
    for i in 8..60 {
        let next = out(&book, proto::UDP, "10.0.0.2:4000", &format!("198.51.100.{i}:53"), &to, i).unwrap();
        assert_eq!(as_seen(&next), as_seen(&first));
    }
    // Where that is taken it gets something else; and where it doesn't fit the rule.
    let other = out(&book, proto::UDP, "10.0.0.2:4000", "198.51.100.200:53", &range("192.0.2.20"), 1);
    assert_eq!(as_seen(&other.unwrap()), "192.0.2.20:4000");
    let mut ports = range("192.0.2.1-192.0.2.9:5000-5001");
    ports.persistent = true;
    let other = out(&book, proto::UDP, "10.0.0.2:4000", "198.51.100.99:53", &ports, 1).unwrap();
    assert!((5000..=5001).contains(&port(&other)));
}

#[test]
fn ports_of_the_rule() {
    let (book, to) = (Book::default(), range("192.0.2.1:5000-5003"));
    let inside = out(&book, proto::TCP, "10.0.0.2:5002", "198.51.100.7:80", &to, 1).unwrap();
    assert_eq!(as_seen(&inside), "192.0.2.1:5002", "a port in the range is kept");
    let mut seen = vec![port(&inside)];
    for host in 3..6 {
        let flow =
            out(&book, proto::TCP, &format!("10.0.0.{host}:80"), "198.51.100.7:80", &to, host).unwrap();
        seen.push(port(&flow));
    }
    seen.sort_unstable();
    assert_eq!(seen, [5000, 5001, 5002, 5003]);
    let refused = out(&book, proto::TCP, "10.0.0.9:80", "198.51.100.7:80", &to, 1);
    assert_eq!(refused.unwrap_err(), DropReason::NatExhausted);
    let elsewhere = out(&book, proto::TCP, "10.0.0.9:80", "198.51.100.8:80", &to, 1).unwrap();
    assert!((5000..=5003).contains(&port(&elsewhere)));
    // Written the wrong way round it is the same range.
    let turned = NatRange { port: Some((5003, 5000)), ..to };
    let flow = out(&book, proto::TCP, "10.0.0.9:81", "198.51.100.9:80", &turned, 1).unwrap();
    assert!((5000..=5003).contains(&port(&flow)));
}

#[test]
fn exhaustion_refuses_and_never_clashes() {
    // 512 sources want the 511 ports of the lowest class. The search is not exhaustive, so some of the last may fail
    // early; what gets through has a port of its own.
    let (book, to) = (Book::default(), range("192.0.2.1"));
    let mut refused = 0;
    for host in 0..512u32 {
        let src = format!("10.0.{}.{}:99", host / 256, host % 256);
        match out(&book, proto::UDP, &src, "198.51.100.7:53", &to, host.into()) {
            Ok(flow) => assert!((1..=511).contains(&port(&flow))),
            Err(why) => {
                assert_eq!(why, DropReason::NatExhausted);
                refused += 1;
            }
        }
    }
    assert!((1..=100).contains(&refused), "{refused} refused");
}

#[test]
fn a_refused_flow_is_as_it_was() {
    let (book, to) = (Book::default(), range("192.0.2.1:5000"));
    out(&book, proto::TCP, "10.0.0.2:1", "198.51.100.7:80", &to, 1).unwrap();
    let mut flow = begin(tuple(proto::TCP, "10.0.0.3:1", "198.51.100.7:80"));
    let before = flow;
    assert_eq!(setup(&mut flow, &to, Manip::Src, &book, &mut numbers(1)), Err(DropReason::NatExhausted));
    assert_eq!(flow, before);
    // A protocol that has nothing to choose is refused too.
    out(&book, proto::ESP, "10.0.0.2:0", "198.51.100.7:0", &range("192.0.2.1"), 1).unwrap();
    let second = out(&book, proto::ESP, "10.0.0.3:0", "198.51.100.7:0", &range("192.0.2.1"), 1);
    assert_eq!(second.unwrap_err(), DropReason::NatExhausted);
}

#[test]
fn a_connection_that_is_over_makes_room() {
    let to = range("192.0.2.1:5000-5001");
    for (over, proto) in [(true, proto::TCP), (false, proto::TCP), (true, proto::UDP)] {
        let book = Book { over, ..Book::default() };
        for host in 2..4 {
            out(&book, proto, &format!("10.0.0.{host}:80"), "198.51.100.7:80", &to, 1).unwrap();
        }
        let third = out(&book, proto, "10.0.0.4:80", "198.51.100.7:80", &to, 1);
        assert_eq!(third.is_ok(), over && proto == proto::TCP);
    }
}

#[test]
fn what_is_the_routers_own_is_not_given_away() {
    let mut book = Book { over: true, ..Book::default() };
    book.own = vec![end("192.0.2.1:4000"), end("192.0.2.1:5000"), end("192.0.2.1:5001")];
    let shadow = out(&book, proto::UDP, "10.0.0.2:4000", "198.51.100.7:53", &range("192.0.2.1"), 1).unwrap();
    assert_ne!(as_seen(&shadow), "192.0.2.1:4000");
    // Nor by a rule with ports, nor because nothing else is left.
    let flow =
        out(&book, proto::TCP, "10.0.0.2:5000", "198.51.100.7:53", &range("192.0.2.1:5000-5002"), 1).unwrap();
    assert_eq!(as_seen(&flow), "192.0.2.1:5002");
    let none = out(&book, proto::UDP, "10.0.0.2:1", "198.51.100.7:53", &range("192.0.2.1:5000-5001"), 1);
    assert_eq!(none.unwrap_err(), DropReason::NatExhausted);
    // The router's own packets keep their port, though the rule is theirs too.
    for to in [range("192.0.2.1"), NatRange::default()] {
        let own = out(
            &Book { own: book.own.clone(), ..Book::default() },
            proto::UDP,
            "192.0.2.1:4000",
            "198.51.100.9:53",
            &to,
            1,
        );
        assert_eq!(as_seen(&own.unwrap()), "192.0.2.1:4000");
    }
}

#[test]
fn without_a_rule_only_clashes_are_resolved() {
    let book = Book::default();
    let mut flow = begin(tuple(proto::TCP, "10.0.0.2:4000", "198.51.100.7:80"));
    assert_eq!(bind(&mut flow, Manip::Dst, &book, &mut numbers(1)), Ok(false));
    assert_eq!(bind(&mut flow, Manip::Src, &book, &mut numbers(1)), Ok(false));
    assert_eq!(flow.status, Status(Status::SRC_NAT_DONE.0 | Status::DST_NAT_DONE.0));
    assert_eq!(flow.tuples, begin(flow.tuples[0]).tuples);

    // Two public addresses of one server: the client's second connection would be answered like its first.
    let server = range("10.0.0.9:8080");
    for (public, kept) in [("192.0.2.1:80", true), ("192.0.2.2:80", false)] {
        let mut flow = begin(tuple(proto::TCP, "198.51.100.7:4000", public));
        assert_eq!(setup(&mut flow, &server, Manip::Dst, &book, &mut numbers(1)), Ok(true));
        assert_eq!((flow.tuples[1].src, flow.tuples[1].src_port), (pack(end("10.0.0.9:8080").0), 8080));
        assert_eq!(bind(&mut flow, Manip::Src, &book, &mut numbers(1)), Ok(!kept));
        assert_eq!(flow.status.has(Status::SRC_NAT), !kept);
        assert!(flow.status.has(Status::DST_NAT));
        assert_eq!(as_seen(&flow) == "198.51.100.7:4000", kept);
        assert!(as_seen(&flow).starts_with("198.51.100.7:"));
        assert!(book.confirm(&flow));
    }
}

#[test]
fn a_retransmitted_first_packet_is_no_clash() {
    let (book, to) = (Book::default(), range("192.0.2.1"));
    let first = out(&book, proto::UDP, "10.0.0.2:4000", "198.51.100.7:53", &to, 1).unwrap();
    let mut again = begin(first.tuples[0]);
    setup(&mut again, &to, Manip::Src, &book, &mut numbers(2)).unwrap();
    assert_eq!(again.tuples, first.tuples);
}

#[test]
fn destinations() {
    let book = Book::default();
    let to =
        |flow: &Flow| SocketAddr::new(unpack(flow.tuples[1].src, flow.tuples[1].v6), flow.tuples[1].src_port);
    let dnat = |src: &str, range: &NatRange, seed| {
        let mut flow = begin(tuple(proto::TCP, src, "192.0.2.1:2005"));
        assert_eq!(setup(&mut flow, range, Manip::Dst, &book, &mut numbers(seed)), Ok(true));
        assert_eq!(flow.status, Status(Status::DST_NAT.0 | Status::DST_NAT_DONE.0));
        book.confirm(&flow);
        to(&flow).to_string()
    };
    assert_eq!(dnat("198.51.100.7:1", &range("10.0.0.9"), 1), "10.0.0.9:2005", "the port is kept");
    assert_eq!(dnat("198.51.100.7:1", &range("10.0.0.9"), 1), "10.0.0.9:2005", "even if it is taken");
    assert_eq!(dnat("198.51.100.7:1", &range(":8080"), 1), "192.0.2.1:8080", "the address is kept");
    assert_eq!(dnat("198.51.100.7:2", &range("10.0.0.9:8000-8003"), 1), "10.0.0.9:8000", "in turn");
    assert_eq!(dnat("198.51.100.7:2", &range("10.0.0.9:8000-8003"), 1), "10.0.0.9:8000", "the same flow");
    assert_eq!(
        dnat("198.51.100.7:3", &range("10.0.0.9:2000-2010"), 1),
        "10.0.0.9:2005",
        "it is in the range"
    );
    let shifted = NatRange { base: Some(2000), ..range("10.0.0.9:5000-5010") };
    assert_eq!(dnat("198.51.100.7:4", &shifted, 1), "10.0.0.9:5005");
    let shifted = NatRange { base: Some(2010), ..range("10.0.0.9:5000-5010") };
    assert_eq!(dnat("198.51.100.7:5", &shifted, 1), format!("10.0.0.9:{}", 5000 + (65536 - 5) % 11));
    let any = NatRange { random: true, ..range("10.0.0.9:5000-5999") };
    assert_ne!(dnat("198.51.100.7:6", &any, 1), dnat("198.51.100.7:7", &any, 2));
    assert_eq!(dnat("198.51.100.7:8", &range_at(&range(":99"), end("10.0.0.1:0").0), 1), "10.0.0.1:99");
}

#[test]
fn a_destination_with_no_port_left_stays_in_its_range() {
    let book = Book::default();
    let to = range("10.0.0.9:8000-8001");
    for public in 1..5 {
        // The same client port each time, so that server ports run out.
        let mut flow = begin(tuple(proto::TCP, "198.51.100.7:4000", &format!("192.0.2.{public}:80")));
        setup(&mut flow, &to, Manip::Dst, &book, &mut numbers(1)).unwrap();
        assert!((8000..=8001).contains(&flow.tuples[1].src_port));
        bind(&mut flow, Manip::Src, &book, &mut numbers(public)).unwrap();
        assert_eq!(flow.status.has(Status::SRC_NAT), public > 2, "then the source makes the difference");
        assert!(book.confirm(&flow));
    }
}

#[test]
fn identifiers() {
    for (proto, src, src2, dst, to) in [
        (proto::ICMP, "10.0.0.2:7", "10.0.0.3:7", "198.51.100.7:0", range("192.0.2.1")),
        (proto::ICMPV6, "[fd01::2]:7", "[fd01::3]:7", "[fd02::7]:0", range("fd02::1")),
    ] {
        let book = Book::default();
        let flow = out(&book, proto, src, dst, &to, 1).unwrap();
        assert_eq!(port(&flow), 7, "the identifier is kept");
        let flow = out(&book, proto, src2, dst, &to, 1).unwrap();
        assert_ne!(port(&flow), 7);
        assert_eq!(
            flow.tuples[1].dst_port,
            if proto == proto::ICMP { 0 } else { 129 << 8 },
            "the type stays"
        );
        assert_ne!(flow.tuples[1].dst_port >> 8, u16::from(icmpv4::ECHO));
        let ids = NatRange { port: Some((100, 101)), ..to };
        let flow = out(&book, proto, src2, &dst.replace('7', "8"), &ids, 1).unwrap();
        assert!((100..=101).contains(&port(&flow)));
    }
}

#[test]
fn call_ids_only_of_announced_tunnels() {
    let (book, to) = (Book::default(), range("192.0.2.1"));
    let gre = |src: &str| begin(tuple(proto::GRE, src, "198.51.100.7:9"));
    let mut first = gre("10.0.0.2:5");
    setup(&mut first, &to, Manip::Src, &book, &mut numbers(1)).unwrap();
    assert_eq!(as_seen(&first), "192.0.2.1:5");
    assert!(book.confirm(&first));
    let mut second = gre("10.0.0.3:5");
    assert_eq!(setup(&mut second, &to, Manip::Src, &book, &mut numbers(1)), Err(DropReason::NatExhausted));
    second.status.set(Status::EXPECTED);
    assert_eq!(setup(&mut second, &to, Manip::Src, &book, &mut numbers(1)), Ok(true));
    assert_ne!(second.tuples[1].dst_port, 5);
}

#[test]
fn networks_are_mapped_one_to_one() {
    let book = Book::default();
    let to = netmap("192.0.2.0".parse().unwrap(), 24);
    let flow = out(&book, proto::UDP, "10.0.0.77:1", "198.51.100.7:53", &to, 1).unwrap();
    assert_eq!(as_seen(&flow), "192.0.2.77:1");
    let mut flow = begin(tuple(proto::UDP, "198.51.100.7:1", "192.0.2.77:53"));
    setup(&mut flow, &netmap("10.0.0.0".parse().unwrap(), 24), Manip::Dst, &book, &mut numbers(1)).unwrap();
    assert_eq!(unpack(flow.tuples[1].src, false).to_string(), "10.0.0.77");
    let to = netmap("fd02:1::".parse().unwrap(), 44);
    let flow = out(&book, proto::UDP, "[fd01:2:3f::9]:1", "[fd03::7]:53", &to, 1).unwrap();
    assert_eq!(as_seen(&flow), "[fd02:1:f::9]:1", "bits, not bytes");
    // A source already within it is not left alone, but mapped onto itself.
    let flow = out(
        &book,
        proto::UDP,
        "192.0.2.5:1",
        "198.51.100.7:53",
        &netmap("192.0.2.0".parse().unwrap(), 24),
        1,
    );
    assert_eq!(as_seen(&flow.unwrap()), "192.0.2.5:1");
}

#[test]
fn a_range_of_the_other_family_is_refused() {
    let mut flow = begin(tuple(proto::UDP, "10.0.0.2:1", "198.51.100.7:53"));
    let result = setup(&mut flow, &range("fd02::1"), Manip::Src, &Book::default(), &mut numbers(1));
    assert_eq!(result, Err(DropReason::NatFailed));
}

#[test]
fn decided_once() {
    let (book, to) = (Book::default(), range("192.0.2.1"));
    let mut flow = out(&book, proto::UDP, "10.0.0.2:1", "198.51.100.7:53", &to, 1).unwrap();
    assert!(is_done(flow.status, Manip::Src));
    let before = flow;
    assert_eq!(setup(&mut flow, &range("192.0.2.2"), Manip::Src, &book, &mut numbers(1)), Ok(false));
    flow.status.set(Status::CONFIRMED);
    assert_eq!(setup(&mut flow, &range("10.9.9.9"), Manip::Dst, &book, &mut numbers(1)), Ok(false));
    assert_eq!(flow.tuples, before.tuples);
}

/// Pearson's statistic of counts against equal shares.
fn chi2(counts: &[u32]) -> f64 {
    let total: u32 = counts.iter().sum();
    let share = f64::from(total) / counts.len() as f64;
    counts.iter().map(|n| (f64::from(*n) - share).powi(2) / share).sum()
}

/// Whether the statistic is within what chance does 98 times of 100, from both sides (Wilson and Hilferty's
/// approximation).
fn by_chance(statistic: f64, cells: usize) -> bool {
    let k = (cells - 1) as f64;
    let z = ((statistic / k).cbrt() - (1.0 - 2.0 / (9.0 * k))) / (2.0 / (9.0 * k)).sqrt();
    z.abs() < 2.326
}

#[test]
fn random_ports_are_evenly_spread() {
    for (to, first, cells) in [
        (NatRange { random_fully: true, ..range("192.0.2.1") }, 1024, 64_512),
        (NatRange { random: true, ..range("192.0.2.1:20000-20999") }, 20_000, 1_000),
        (NatRange { random: true, ..range("192.0.2.1:1024-65535") }, 1024, 64_512),
    ] {
        let book = Book::default();
        let mut random = numbers(7);
        let mut counts = vec![0; cells];
        for _ in 0..cells * 10 {
            let mut flow = begin(tuple(proto::UDP, "10.0.0.2:4000", "198.51.100.7:53"));
            setup(&mut flow, &to, Manip::Src, &book, &mut random).unwrap();
            counts[usize::from(port(&flow)) - first] += 1;
        }
        let statistic = chi2(&counts);
        assert!(by_chance(statistic, cells), "chi² {statistic} over {cells} ports");
    }
    assert!(!by_chance(chi2(&vec![10; 1000]), 1000), "too even is not random");
}

proptest! {
    /// However full the table: a flow that is let through has a tuple nobody else has, within what the rule says.
    #[test]
    fn never_a_clash(
        flows in proptest::collection::vec((0u8..4, 1u16..6, 0u8..3, 0usize..6, 0u8..2), 1..120),
        own in proptest::collection::vec(1u16..12, 0..4),
        seed: u64,
    ) {
        let rules = [
            range("192.0.2.1"), range("192.0.2.1-192.0.2.2"), range("192.0.2.1:1-8"), range("192.0.2.1:3"),
            NatRange { random_fully: true, ..range("192.0.2.2:5-9") }, NatRange::default(),
        ];
        let book = Book { own: own.iter().map(|p| end(&format!("192.0.2.1:{p}"))).collect(), ..Book::default() };
        let mut random = numbers(seed);
        for (host, port, server, rule, proto) in flows {
            let proto = [proto::UDP, proto::ICMP][usize::from(proto)];
            let original = tuple(proto, &format!("10.0.0.{host}:{port}"), &format!("198.51.100.{server}:53"));
            let mut flow = begin(original);
            if book.flows_with(&original) { continue }
            let to = rules[rule];
            match setup(&mut flow, &to, Manip::Src, &book, &mut random) {
                Err(why) => prop_assert_eq!(why, DropReason::NatExhausted),
                Ok(_) => {
                    prop_assert!(book.confirm(&flow));
                    let (addr, port) = end(&as_seen(&flow));
                    prop_assert!(to.addr.is_none_or(|(a, b)| (a..=b).contains(&addr)));
                    prop_assert!(to.port.is_none_or(|(a, b)| (a..=b).contains(&port)));
                    prop_assert!(proto != proto::UDP || !book.own.contains(&(addr, port)));
                }
            }
        }
    }
}
