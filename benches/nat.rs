//! What NAT costs: rewriting one end of a packet, and choosing what a new flow becomes.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use sekisho::base::Instant;
use sekisho::conntrack::nat::{Taken, setup, translate, translate_error};
use sekisho::conntrack::{Flow, State};
use sekisho::packet::flow::{Address, pack};
use sekisho::packet::{Csum, Direction, Manip, NatRange, Net, Packet, Status, Tuple};
use sekisho::wire::ipv4::Ipv4Header;
use sekisho::wire::ipv6::Ipv6Header;
use sekisho::wire::{icmpv4, proto};

fn flow(proto: u8, v6: bool) -> Flow {
    let [client, server, public]: [IpAddr; 3] = match v6 {
        false => [[10, 0, 0, 2], [198, 51, 100, 7], [192, 0, 2, 1]].map(|a| Ipv4Addr::from(a).into()),
        true => [0xfd01, 0xfd02, 0xfd03].map(|n| Ipv6Addr::new(n, 0, 0, 0, 0, 0, 0, 1).into()),
    };
    let from = |src, src_port| {
        let (src, dst) = (pack(src), pack(server));
        Tuple { src, dst, src_port, dst_port: 80, proto, v6 }
    };
    let to = |src, port| {
        let t = from(src, port);
        Tuple { src: t.dst, dst: t.src, src_port: t.dst_port, dst_port: t.src_port, ..t }
    };
    Flow {
        tuples: [from(client, 4000), to(public, 61000)],
        status: Status(Status::SRC_NAT.0 | Status::SRC_NAT_DONE.0 | Status::DST_NAT_DONE.0),
        mark: 0,
        state: State::Other,
        deadline: Instant::ZERO,
        masquerade: None,
    }
}

fn packet(flow: &Flow, payload: usize) -> Packet {
    let t = &flow.tuples[0];
    let header = if t.v6 { 40 } else { 20 };
    let mut b = vec![0x5a; header + 20 + payload];
    match (t.src(), t.dst()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let payload_len = 20 + payload;
            Ipv4Header {
                src,
                dst,
                proto: t.proto,
                ttl: 64,
                tos: 0,
                ident: 1,
                dont_fragment: true,
                payload_len,
            }
            .emit(&mut b);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let (next_header, payload_len) = (t.proto, 20 + payload);
            Ipv6Header { src, dst, next_header, hop_limit: 64, traffic_class: 0, flow_label: 0, payload_len }
                .emit(&mut b);
        }
        _ => unreachable!("one family"),
    }
    b[header..header + 4].copy_from_slice(&[0x0f, 0xa0, 0, 80]);
    let mut p = Packet::from_slice(&b);
    (p.meta.l4, p.meta.proto) = (header as u16, t.proto);
    p.meta.net = if t.v6 { Net::Ipv6 } else { Net::Ipv4 };
    p
}

fn packets(c: &mut Criterion) {
    let mut group = c.benchmark_group("translate");
    for (name, v6, begun) in [("tcp4", false, false), ("tcp6", true, false), ("tcp4_begun", false, true)] {
        let flow = flow(proto::TCP, v6);
        let mut p = packet(&flow, 1000);
        if begun {
            p.meta.offload.csum = Csum::Partial { start: p.meta.l4, field: 16 };
        }
        // Always to the same address and port, from whatever they are by then.
        let other = Flow { tuples: [flow.tuples[0], Tuple { dst_port: 61001, ..flow.tuples[1] }], ..flow };
        let mut odd = false;
        group.bench_function(name, |b| {
            b.iter(|| {
                odd = !odd;
                let flow = if odd { &flow } else { &other };
                translate(black_box(&mut p), flow, Direction::Original, Manip::Src).unwrap()
            });
        });
    }
    let flow4 = flow(proto::TCP, false);
    let mut p = packet(&flow4, 1000);
    let untouched = Flow { status: Status::default(), ..flow4 };
    group.bench_function("nothing_to_do", |b| {
        b.iter(|| translate(black_box(&mut p), &untouched, Direction::Original, Manip::Src).unwrap());
    });
    let mut quote = packet(&flow4, 0);
    translate(&mut quote, &flow4, Direction::Original, Manip::Src).unwrap();
    let mut message = vec![0; 8 + quote.l3().len()];
    icmpv4::emit(&mut message, icmpv4::TIME_EXCEEDED, 0, 0, quote.l3()).unwrap();
    let mut l3 = vec![0; 20];
    let (src, dst) = (Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(192, 0, 2, 1));
    let payload_len = message.len();
    Ipv4Header { src, dst, proto: proto::ICMP, ttl: 64, tos: 0, ident: 1, dont_fragment: true, payload_len }
        .emit(&mut l3);
    l3.extend(message);
    let mut error = Packet::from_slice(&l3);
    (error.meta.l4, error.meta.proto, error.meta.net) = (20, proto::ICMP, Net::Ipv4);
    group.bench_function("icmp_error", |b| {
        b.iter(|| translate_error(black_box(&mut error), &flow4, Direction::Reply, Manip::Dst).unwrap());
    });
}

/// Everybody has gone, or every other port is taken.
struct Half(bool);

impl Taken for Half {
    fn is_taken(&self, reply: &Tuple, _: &Tuple) -> bool {
        self.0 && (reply.dst_port == 4000 || reply.dst_port.is_multiple_of(2))
    }

    fn source_mapping(&self, _: &Tuple, _: &mut dyn FnMut(&Address, u16) -> bool) -> Option<(Address, u16)> {
        None
    }

    fn reserved(&self, _: &Tuple, _: IpAddr, _: u16) -> bool {
        false
    }

    fn clear(&self, _: &Tuple, _: &Flow) -> bool {
        false
    }
}

fn flows(c: &mut Criterion) {
    let mut group = c.benchmark_group("setup");
    let public = IpAddr::from([192, 0, 2, 1]);
    let range = NatRange { addr: Some((public, public)), ..NatRange::default() };
    let flow = flow(proto::TCP, false);
    let mut begun = Flow { status: Status::default(), ..flow };
    begun.tuples[1] = Tuple { dst: flow.tuples[0].src, dst_port: flow.tuples[0].src_port, ..flow.tuples[1] };
    let mut seed = 1u64;
    for (name, taken) in [("port_kept", Half(false)), ("half_of_the_ports_taken", Half(true))] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut flow = begun;
                let mut random = || {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    seed >> 16
                };
                setup(black_box(&mut flow), &range, Manip::Src, &taken, &mut random).unwrap()
            });
        });
    }
}

criterion_group!(benches, packets, flows);
criterion_main!(benches);
