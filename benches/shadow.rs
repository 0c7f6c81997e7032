//! What it costs to ask what a router would do.
//!
//! `cargo bench --bench shadow`.
//!
//! - `explain`: one packet, from the making of the shadow to its verdict, with few rules and with 10,000.
//! - `compare`: 100,000 live flows under the configuration in force and another one that treats them the same; one that
//!   drops one in a thousand; and one that drops all of them, up to 10,000. As flows a second.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sekisho::packet::Packet;
use sekisho::router::{Comparison, Outcome};
use sekisho::wire::tcp::{ACK, SYN};

use make::{tcp, udp};
use net::*;

// The bench of the walks serves here too.
#[path = "../tests/walk/check.rs"]
mod check;
#[expect(dead_code, reason = "the walks need more of it")]
#[path = "../tests/walk/make.rs"]
mod make;
#[expect(dead_code, reason = "the walks need more of it")]
#[path = "../tests/walk/net.rs"]
mod net;

const FLOWS: u32 = 100_000;

/// A gateway with MASQUERADE and a stateful filter, in front of which so many other rules stand.
fn rules(more: usize, first: &str) -> String {
    let filter = STATEFUL.replacen("COMMIT", "", 1);
    let chain: String =
        (0..more).map(|n| format!("-A FORWARD -s 172.{}.{}.0/24 -j DROP\n", n / 256, n % 256)).collect();
    let (head, tail) = filter.split_at(filter.find("-A ").expect("it has rules"));
    let nat = "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n";
    format!("{nat}{head}{first}{chain}{tail}COMMIT\n")
}

fn explain(c: &mut Criterion) {
    let mut group = c.benchmark_group("explain");
    for more in [0, 10_000] {
        let b = Plan::default().rules(&rules(more, ""), "").build().acquaint();
        let bytes =
            frame(LAN_MAC, CLIENT_MAC, &tcp(CLIENT, Ipv4Addr::new(198, 51, 100, 7), (40_000, 443), SYN, b""));
        group.bench_function(format!("{more}_rules"), |bench| {
            bench.iter(|| {
                let mut shadow = b.router.shadow();
                let walked = shadow.walk(Some(LAN), Packet::from_slice(black_box(&bytes)), b.now);
                black_box(Outcome::of(&walked.records))
            });
        });
    }
    group.finish();
}

/// Flows of TCP and UDP, half of them answered.
fn busy() -> Bench {
    let mut b = Plan::default().rules(&rules(0, ""), "").build().acquaint();
    for n in 0..FLOWS / 2 {
        let far = Ipv4Addr::from(0xc633_0000 + n / 1_000);
        let port = 20_000 + (n % 1_000) as u16;
        b.client_sends(&udp(CLIENT, far, (port, 53), b"x"));
        b.client_sends(&tcp(CLIENT, far, (port, 443), SYN, b""));
        if n % 2 == 0 {
            b.server_sends(&tcp(far, WAN_ADDR, (443, port), SYN | ACK, b""));
            b.client_sends(&tcp(CLIENT, far, (port, 443), ACK, b""));
        }
        b.out.clear();
    }
    assert_eq!(b.router.live().conntrack.len(), FLOWS as usize);
    b
}

fn compare(c: &mut Criterion) {
    let mut group = c.benchmark_group("compare");
    group.sample_size(10).throughput(Throughput::Elements(FLOWS.into()));
    let b = busy();
    for (name, first) in [
        ("same", ""),
        ("one_in_a_thousand", "-A FORWARD -p udp -m udp --sport 20000 -j DROP\n"),
        ("ten_thousand", "-A FORWARD -p tcp -m tcp --sport 20000:20199 -j DROP\n"),
    ] {
        let new = Plan::default().rules(&rules(0, first), "").snapshot();
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let mut comparison = Comparison::new(&b.router, &new, b.now);
                let mut differ = 0;
                while let Some(page) = comparison.page() {
                    differ += page.len();
                }
                assert_eq!(comparison.looked_at, u64::from(FLOWS));
                differ
            });
        });
    }
    group.finish();
}

criterion_group!(benches, explain, compare);
criterion_main!(benches);
