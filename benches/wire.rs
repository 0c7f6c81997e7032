//! What reading and rewriting headers costs: nanoseconds a packet, bytes a second of checksum.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sekisho::packet::{Csum, Gso, GsoKind, Meta, Net, Offload, Packet, Pool, offload, segment};
use sekisho::wire::ethernet::{self, Ethernet};
use sekisho::wire::ipv4::{Ipv4, Ipv4Header};
use sekisho::wire::ipv6::{Ipv6, Ipv6Header};
use sekisho::wire::{checksum, ipv6_ext, proto, transport};

const SRC: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const DST: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
const SRC6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 2);
const DST6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 2);

fn tcp_frame(v6: bool, payload: usize) -> Vec<u8> {
    let mut b = vec![0x5a; 14 + if v6 { 40 } else { 20 } + 32 + payload];
    let ethertype = if v6 { ethernet::IPV6 } else { ethernet::IPV4 };
    ethernet::write(&mut b, Default::default(), Default::default(), ethertype);
    let len = 32 + payload;
    let l4 = if v6 {
        let h = Ipv6Header {
            src: SRC6,
            dst: DST6,
            next_header: proto::TCP,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
            payload_len: len,
        };
        h.emit(&mut b[14..]);
        &mut b[54..]
    } else {
        let h = Ipv4Header {
            src: SRC,
            dst: DST,
            proto: proto::TCP,
            ttl: 64,
            tos: 0,
            ident: 1,
            dont_fragment: true,
            payload_len: len,
        };
        h.emit(&mut b[14..]);
        &mut b[34..]
    };
    l4[12] = 0x80;
    b
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    let (v4, v6) = (tcp_frame(false, 10), tcp_frame(true, 10));
    group.bench_function("ethernet_ipv4_tcp", |b| {
        b.iter(|| {
            let eth = Ethernet::new(black_box(&v4)).unwrap();
            let ip = Ipv4::new(eth.payload()).unwrap();
            assert!(ip.version() == 4 && ip.verify_checksum() && !ip.is_fragment());
            let ports = transport::ports(ip.protocol(), ip.payload());
            transport::flow_hash(ip.src().into(), ip.dst().into(), ip.protocol(), ports, 1)
        })
    });
    group.bench_function("ethernet_ipv6_tcp", |b| {
        b.iter(|| {
            let eth = Ethernet::new(black_box(&v6)).unwrap();
            let ip = Ipv6::new(eth.payload()).unwrap();
            let chain = ipv6_ext::walk(eth.payload()).unwrap();
            let ports = transport::ports(chain.proto, &eth.payload()[chain.l4..]);
            transport::flow_hash(ip.src().into(), ip.dst().into(), chain.proto, ports, 1)
        })
    });
    group.bench_function("etherparse_lax_ipv4_tcp", |b| {
        b.iter(|| etherparse::LaxSlicedPacket::from_ethernet(black_box(&v4)).unwrap().transport.is_some())
    });
    group.finish();
}

fn rewrite(c: &mut Criterion) {
    let mut group = c.benchmark_group("rewrite");
    let mut frame = tcp_frame(false, 1448);
    group.bench_function("ttl_incremental", |b| {
        b.iter(|| {
            let mut ip = Ipv4::new(black_box(&mut frame[14..])).unwrap();
            ip.set_ttl(64);
            ip.decrement_ttl();
        })
    });
    group.bench_function("ttl_full", |b| {
        b.iter(|| {
            let mut ip = Ipv4::new(black_box(&mut frame[14..])).unwrap();
            ip.set_ttl(63);
            ip.fill_checksum();
        })
    });
    let (old, new) = (SRC.octets(), DST.octets());
    group.bench_function("tcp_address_incremental", |b| {
        b.iter(|| checksum::update_bytes(black_box(0x1234), black_box(&old), black_box(&new)))
    });
    group.bench_function("tcp_address_full_1480", |b| {
        b.iter(|| {
            let l4 = black_box(&frame[34..]);
            let pseudo = checksum::pseudo_v4(SRC, DST, proto::TCP, l4.len() as u32);
            !checksum::fold(pseudo + checksum::sum(l4))
        })
    });
    group.finish();
}

fn sums(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    for len in [20, 64, 1500, 65_000] {
        let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(len.to_string(), |b| b.iter(|| checksum::checksum(black_box(&bytes))));
    }
    group.finish();
}

/// A super-frame of 44 full segments, as a veth hands it over.
fn super_frame(v6: bool) -> Packet {
    let mut p = Packet::from_slice(&tcp_frame(v6, 44 * 1448));
    let l4 = if v6 { 40 } else { 20 };
    p.meta = Meta {
        net: if v6 { Net::Ipv6 } else { Net::Ipv4 },
        l3: 14,
        l4,
        proto: proto::TCP,
        offload: Offload {
            csum: Csum::Partial { start: l4, field: 16 },
            gso: Some(Gso { kind: if v6 { GsoKind::Tcp6 } else { GsoKind::Tcp4 }, size: 1448, ecn: false }),
        },
        ..Meta::default()
    };
    p
}

fn segments(c: &mut Criterion) {
    let mut group = c.benchmark_group("segment");
    group.throughput(Throughput::Bytes(44 * 1448));
    for (name, v6) in [("tcp4_64k", false), ("tcp6_64k", true)] {
        let (whole, mut pool, mut out) = (super_frame(v6), Pool::new(64), Vec::with_capacity(64));
        group.bench_function(name, |b| {
            b.iter_batched(
                || whole.clone(),
                |p| {
                    segment(p, &mut pool, &mut out).unwrap();
                    out.drain(..).for_each(|p| pool.put(p));
                },
                BatchSize::SmallInput,
            )
        });
    }
    let mut whole = super_frame(false);
    whole.meta.offload.gso = None;
    group.bench_function("finish_checksum_64k", |b| {
        b.iter(|| {
            whole.meta.offload.csum = Csum::Partial { start: 20, field: 16 };
            offload::finish_checksum(black_box(&mut whole))
        })
    });
    group.finish();
}

criterion_group!(benches, parse, rewrite, sums, segments);
criterion_main!(benches);
