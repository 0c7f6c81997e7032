//! Whatever comes in: no panic, no packet lost from the ledger, nothing emitted that is not well formed
//! (`check::sent` sees every frame), and memory that is bounded and given back.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sekisho::base::{Column, LinkId, Mac};
use sekisho::fib::{NextHop, Route, RouteKind};
use sekisho::link::RpFilter;
use sekisho::packet::{Caps, Csum, Gso, GsoKind, Meta, Offload, Packet};
use sekisho::wire::arp::{Arp, Op};
use sekisho::wire::ndp::{NeighborAdvert, NeighborSolicit};
use sekisho::wire::{icmpv6, ipv4::Ipv4, ipv6::Ipv6, ipv6_ext, proto, tcp as wire_tcp, udp::Udp};

use crate::make::*;
use crate::net::*;

/// What happens to the router next.
#[derive(Debug, Clone)]
enum Step {
    /// Bytes of any kind, from any link.
    Bytes { link: u16, bytes: Vec<u8>, offload: Offload },
    /// A valid frame with some bytes changed, cut or lengthened; `mended`: with right checksums again.
    Mutated {
        link: u16,
        seed: usize,
        edits: Vec<(usize, u8)>,
        len: Option<usize>,
        mended: bool,
        offload: Option<Offload>,
    },
    /// A packet from the local stack: nobody's word is taken for more than it is, but this one is valid.
    Local { seed: usize },
    /// Milliseconds pass.
    Pass(u64),
    /// A link goes down or comes up.
    Link(u16, bool),
}

fn offload() -> impl Strategy<Value = Offload> {
    let place = prop_oneof![Just(20u16), Just(40), Just(34), 0u16..80, any::<u16>()];
    let field = prop_oneof![Just(6u16), Just(16), Just(2), Just(8), 0u16..40, any::<u16>()];
    let csum = prop_oneof![
        3 => Just(Csum::Wire),
        1 => Just(Csum::Verified),
        4 => (place, field).prop_map(|(start, field)| Csum::Partial { start, field }),
    ];
    let kind = prop_oneof![Just(GsoKind::Tcp4), Just(GsoKind::Tcp6), Just(GsoKind::Udp)];
    let size = prop_oneof![Just(0u16), Just(1), 1u16..100, 500u16..2000, any::<u16>()];
    let gso = proptest::option::of((kind, size, any::<bool>()));
    (csum, gso)
        .prop_map(|(csum, gso)| Offload { csum, gso: gso.map(|(kind, size, ecn)| Gso { kind, size, ecn }) })
}

fn step() -> impl Strategy<Value = Step> {
    let edits = || vec((0usize..120, any::<u8>()), 0..4);
    let plain = || prop_oneof![4 => Just(Offload::default()), 1 => offload()];
    prop_oneof![
        2 => (0u16..5, vec(any::<u8>(), 0..200), plain())
            .prop_map(|(link, bytes, offload)| Step::Bytes { link, bytes, offload }),
        20 => (
            1u16..4,
            any::<usize>(),
            edits(),
            proptest::option::weighted(0.2, 0usize..1600),
            proptest::bool::weighted(0.8),
            proptest::option::weighted(0.3, offload()),
        )
            .prop_map(|(link, seed, edits, len, mended, offload)| Step::Mutated {
                link, seed, edits, len, mended, offload,
            }),
        2 => any::<usize>().prop_map(|seed| Step::Local { seed }),
        2 => prop_oneof![0u64..50, 500u64..3000, 10_000u64..70_000].prop_map(Step::Pass),
        1 => (1u16..4, proptest::bool::weighted(0.7)).prop_map(|(link, up)| Step::Link(link, up)),
    ]
}

/// Valid packets of every protocol there is, for the router and through it.
fn seeds() -> Vec<(Vec<u8>, Offload)> {
    let plain = Offload::default();
    let far = Ipv4Addr::new(10, 9, 0, 1);
    let far6: Ipv6Addr = "fd09::1".parse().unwrap();
    let (peer, own): (Ipv6Addr, Ipv6Addr) = ("fe80::77".parse().unwrap(), LAN_MAC.link_local());
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    let padding: &[u8] = &[0, 0, 1, 4, 0, 0, 0, 0];
    let quoted = udp(SERVER, CLIENT, (1, 2), b"quoted");
    let quoted6 = udp(SERVER6, CLIENT6, (1, 2), b"quoted");
    let mut out: Vec<Vec<u8>> = vec![
        udp(CLIENT, SERVER, (1, 2), b"hello"),
        udp(CLIENT6, SERVER6, (1, 2), b"hello"),
        udp(CLIENT, LAN_ADDR, (1, 7), b"hello"),
        udp(CLIENT6, LAN_ADDR6, (1, 9999), b"hello"),
        udp(CLIENT, far, (1, 2), &bytes(1400)),
        udp(CLIENT6, far6, (1, 2), &bytes(1400)),
        udp(CLIENT, Ipv4Addr::new(10, 2, 0, 200), (1, 2), b"nobody there"),
        udp(CLIENT, Ipv4Addr::BROADCAST, (68, 67), b"hello"),
        udp(peer, own, (1, 7), b"hello"),
        tcp(CLIENT, SERVER, (1, 80), wire_tcp::SYN, b""),
        tcp(CLIENT6, LAN_ADDR6, (1, 80), wire_tcp::ACK, b"data"),
        ping(CLIENT, LAN_ADDR, &bytes(100)),
        ping(CLIENT6, WAN_ADDR6, &bytes(100)),
        ping(peer, all, b"hello"),
        ping(CLIENT6, "fd01::".parse::<Ipv6Addr>().unwrap(), b"anycast"),
        icmp4(CLIENT, LAN_ADDR, (13, 0), 1, &[0; 12]),
        icmp4(CLIENT, SERVER, (3, 4), 1400, &quoted),
        icmp6(CLIENT6, SERVER6, (2, 0), 1400, &quoted6),
        icmp4(CLIENT, LAN_ADDR, (5, 1), 9, &quoted),
        ip4(CLIENT, LAN_ADDR, 99, b"x"),
        ip6(CLIENT6, LAN_ADDR6, 99, b"x"),
        ip4(CLIENT, SERVER, proto::SCTP, &bytes(40)),
        with_options(&udp(CLIENT, SERVER, (1, 2), b"x"), &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        with_options(&udp(CLIENT, SERVER, (1, 2), b"x"), &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        with_options(
            &udp(CLIENT, far, (1, 2), &bytes(1400)),
            &[130, 4, 0, 0, 68, 12, 5, 3, 10, 3, 0, 1, 0, 0, 0, 0],
        ),
        with_options(&udp(CLIENT, LAN_ADDR, (1, 2), b"x"), &[131, 7, 4, 10, 2, 0, 2, 0]),
        with_headers(&udp(CLIENT6, SERVER6, (1, 2), b"x"), &[(proto::HOP_BY_HOP, padding)]),
        with_headers(
            &udp(CLIENT6, LAN_ADDR6, (1, 7), b"x"),
            &[
                (proto::HOP_BY_HOP, padding),
                (proto::DEST_OPTIONS, padding),
                (proto::ROUTING, &[0, 0, 4, 0, 0, 0, 0, 0]),
            ],
        ),
        with_headers(&udp(CLIENT6, SERVER6, (1, 2), b"x"), &[(proto::DEST_OPTIONS, padding); 9]),
        with_headers(
            &udp(CLIENT6, LAN_ADDR6, (1, 2), b"x"),
            &[(proto::AH, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
        ),
        ndp(peer, own, |buf| {
            NeighborSolicit { target: own, source_mac: Some(CLIENT_MAC), nonce: None }.emit(peer, own, buf)
        }),
        ndp(Ipv6Addr::UNSPECIFIED, sekisho::wire::ndp::solicited_node(LAN_ADDR6), |buf| {
            let dst = sekisho::wire::ndp::solicited_node(LAN_ADDR6);
            NeighborSolicit { target: LAN_ADDR6, source_mac: None, nonce: Some([1; 6]) }.emit(
                Ipv6Addr::UNSPECIFIED,
                dst,
                buf,
            )
        }),
        ndp(CLIENT6, own, |buf| {
            let mac = Some(CLIENT_MAC);
            NeighborAdvert {
                router: false,
                solicited: true,
                override_: true,
                target: CLIENT6,
                target_mac: mac,
            }
            .emit(CLIENT6, own, buf)
        }),
        ndp(SERVER6, WAN_ADDR6, |buf| {
            let mac = Some(SERVER_MAC);
            NeighborAdvert {
                router: true,
                solicited: true,
                override_: false,
                target: SERVER6,
                target_mac: mac,
            }
            .emit(SERVER6, WAN_ADDR6, buf)
        }),
    ];
    out.extend(fragments(&ping(CLIENT, LAN_ADDR, &bytes(4_000)), 1440, 1));
    out.extend(fragments(&ping(CLIENT6, LAN_ADDR6, &bytes(4_000)), 1440, 1));
    out.extend(fragments(&udp(CLIENT, far, (1, 2), &bytes(3_000)), 1440, 2));
    out.extend(fragments(&udp(CLIENT6, SERVER6, (1, 2), &bytes(200)), 96, 2));
    let mut all: Vec<(Vec<u8>, Offload)> = out.into_iter().map(|p| (p, plain)).collect();
    for (src, dst, kind, at) in [
        (CLIENT.into(), SERVER.into(), GsoKind::Tcp4, 20),
        (CLIENT6.into(), SERVER6.into(), GsoKind::Tcp6, 40),
        (CLIENT.into(), LAN_ADDR.into(), GsoKind::Tcp4, 20),
    ] {
        let (src, dst): (std::net::IpAddr, std::net::IpAddr) = (src, dst);
        let csum = Csum::Partial { start: at, field: 16 };
        let gso = Some(Gso { kind, size: 1200, ecn: false });
        all.push((tcp(src, dst, (1, 2), wire_tcp::ACK, &bytes(9_000)), Offload { csum, gso }));
    }
    for (src, dst, at) in [(CLIENT, LAN_ADDR, 20), (CLIENT, SERVER, 20)] {
        let csum = Csum::Partial { start: at, field: 6 };
        let gso = Some(Gso { kind: GsoKind::Udp, size: 1000, ecn: false });
        all.push((udp(src, dst, (1, 7), &bytes(5_000)), Offload { csum, gso }));
    }
    all
}

/// ARP of every kind, as frames.
fn arps() -> Vec<Vec<u8>> {
    let said = [
        (Op::Request, CLIENT_MAC, CLIENT, LAN_ADDR, Mac::BROADCAST),
        (Op::Reply, SERVER_MAC, SERVER, WAN_ADDR, WAN_MAC),
        (Op::Reply, CLIENT_MAC, CLIENT, LAN_ADDR, LAN_MAC),
        (Op::Request, SERVER_MAC, SERVER, SERVER, Mac::BROADCAST),
        (Op::Request, SERVER_MAC, Ipv4Addr::UNSPECIFIED, WAN_ADDR, Mac::BROADCAST),
    ];
    let frame = |(op, mac, sender_ip, target_ip, to)| {
        arp_frame(to, mac, &Arp { op, sender_mac: mac, sender_ip, target_mac: Mac::ZERO, target_ip })
    };
    said.into_iter().map(frame).collect()
}

/// Makes checksums right again, as far as the headers let them be found.
fn mend(l3: &mut [u8]) {
    let Some(version) = l3.first().map(|b| b >> 4) else { return };
    if version == 4 {
        let Some(mut ip) = Ipv4::new(&mut *l3) else { return };
        ip.fill_checksum();
        let (src, dst, at, whole) = (ip.src(), ip.dst(), ip.header_len(), !ip.is_fragment());
        let (proto, total) = (ip.protocol(), usize::from(ip.total_len()).min(l3.len()));
        let Some(l4) = l3.get_mut(at..total).filter(|l4| whole && l4.len() >= 8) else { return };
        match proto {
            proto::ICMP => {
                l4[2..4].fill(0);
                let sum = sekisho::wire::checksum::checksum(l4);
                l4[2..4].copy_from_slice(&sum.to_be_bytes());
            }
            proto::UDP => {
                let n = usize::from(u16::from_be_bytes([l4[4], l4[5]])).clamp(8, l4.len());
                if let Some(mut udp) = Udp::new(&mut l4[..n]) {
                    udp.fill_checksum(src.into(), dst.into());
                }
            }
            _ => {}
        }
    } else if version == 6 {
        let Some(ip) = Ipv6::new(&*l3) else { return };
        let (src, dst, end) = (ip.src(), ip.dst(), (40 + usize::from(ip.payload_len())).min(l3.len()));
        let Ok(chain) = ipv6_ext::walk(&l3[..end]) else { return };
        if chain.proto == proto::ICMPV6 && chain.l4 > 0 && chain.frag.is_none_or(|f| f.is_atomic()) {
            icmpv6::fill_checksum(&mut l3[chain.l4..end], src, dst);
        }
    }
}

fn edited(mut bytes: Vec<u8>, edits: &[(usize, u8)], from: usize, mended: bool) -> Vec<u8> {
    for (at, byte) in edits {
        if let Some(b) = bytes.get_mut(*at) {
            *b = *byte;
        }
    }
    if mended && let Some(l3) = bytes.get_mut(from..) {
        mend(l3);
    }
    bytes
}

fn run(b: &mut Bench, seeds: &[(Vec<u8>, Offload)], arps: &[Vec<u8>], step: &Step) {
    match step {
        Step::Bytes { link, bytes, offload } => b.receive_offloaded(LinkId(*link), bytes, *offload),
        Step::Mutated { link, seed, edits, len, mended, offload } => {
            let link = LinkId(*link);
            let n = seed % (seeds.len() + arps.len());
            let (mut frame_, left) = match seeds.get(n) {
                Some((l3, left)) if link == TUN => (edited(l3.clone(), edits, 0, *mended), *left),
                Some((l3, left)) => {
                    let (to, from) = if link == LAN { (LAN_MAC, CLIENT_MAC) } else { (WAN_MAC, SERVER_MAC) };
                    (edited(frame(to, from, l3), edits, 14, *mended), *left)
                }
                None => (edited(arps[n - seeds.len()].clone(), edits, 14, false), Offload::default()),
            };
            if let Some(len) = len {
                frame_.resize(*len, 0);
            }
            b.receive_offloaded(link, &frame_, offload.unwrap_or(left));
        }
        Step::Local { seed } => {
            let l3 = &seeds[seed % seeds.len()].0;
            b.worker.handle_local(Packet::from_slice(l3), b.now);
            b.collect();
        }
        Step::Pass(ms) => b.pass(Duration::from_millis(*ms)),
        Step::Link(link, up) => {
            b.worker.handle_link(LinkId(*link), *up, b.now);
            b.collect();
        }
    }
    b.out.clear();
    b.host.clear();
    b.balanced();
    let live = b.router.live();
    assert!(live.neighbors.parked_bytes() <= 16 << 20);
    assert!(live.reassembler.memory() <= 8 << 20);
}

/// Benches that differ in what matters here.
fn bench(kind: u8) -> Bench {
    let hops = vec![NextHop::new(Some(SERVER.into()), Some(WAN)), NextHop::new(None, Some(TUN))];
    let round = |prefix: &str| {
        Route::new(prefix.parse().unwrap(), RouteKind::Unicast(vec![NextHop::new(None, Some(LinkId::LO))]))
    };
    let plan = Plan::default()
        .link(WAN, |l| l.mtu = if kind & 1 == 0 { 1500 } else { 1280 })
        .link(LAN, |l| l.rp_filter = [RpFilter::Off, RpFilter::Strict][usize::from(kind >> 1 & 1)])
        .route(Route::new("10.9.0.0/16".parse().unwrap(), RouteKind::Unicast(hops)))
        .route(via("fd09::/16", CLIENT6.into(), LAN))
        .route(round("10.11.0.0/16"))
        .route(round("fd11::/16"))
        .route(reject("10.12.0.0/16", RouteKind::Unreachable));
    let mut b = plan.build();
    if kind & 4 != 0 {
        b = b.acquaint();
    }
    if kind & 8 != 0 {
        for link in [LAN, WAN] {
            b.worker.set_caps(link, Caps::PLAIN);
        }
        b.worker.set_caps(TUN, Caps { ethernet: false, ..Caps::PLAIN });
    }
    b
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_frames_and_times(kind in 0u8..16, steps in vec(step(), 1..60)) {
        let (seeds, arps) = (seeds(), arps());
        let mut b = bench(kind);
        for step in &steps {
            run(&mut b, &seeds, &arps, step);
        }
        // All that waits comes to an end.
        b.pass(Duration::from_secs(200));
        b.balanced();
        for column in Column::ALL {
            prop_assert_eq!(b.totals().parked(column), 0);
        }
        prop_assert_eq!(b.router.live().neighbors.parked_bytes(), 0);
        prop_assert_eq!(b.router.live().reassembler.memory(), 0);
    }

    #[test]
    fn any_bytes_of_the_local_stack(kind in 0u8..16, packets in vec((any::<usize>(), vec((0usize..120, any::<u8>()), 0..8), any::<bool>()), 1..40)) {
        let seeds = seeds();
        let mut b = bench(kind);
        for (seed, edits, mended) in packets {
            let l3 = edited(seeds[seed % seeds.len()].0.clone(), &edits, 0, mended);
            b.worker.handle_local(Packet::from_slice(&l3), b.now);
            // What it makes up is its own affair; that it is accounted for is not.
            while b.worker.poll_transmit().is_some() || b.worker.settle(b.now) {}
            let n = b.worker.drain_host().count();
            for _ in 0..n {
                b.worker.host_took(&Meta { column: Column::Originated, ..Meta::default() });
            }
            b.balanced();
        }
    }

    #[test]
    fn any_bytes_behind_a_good_ethernet_header(
        kind in 0u8..16,
        frames in vec((prop_oneof![Just(0x0800u16), Just(0x86dd), Just(0x0806), Just(0x8100)], vec(any::<u8>(), 0..120), 0u8..3), 1..40),
    ) {
        let mut b = bench(kind);
        for (ethertype, mut bytes, shape) in frames {
            // Often enough with a version and a length that fit.
            if shape > 0 && bytes.len() >= 40 {
                let n = bytes.len() as u16;
                if ethertype == 0x0800 {
                    bytes[0] = 0x45 + (shape - 1);
                    bytes[2..4].copy_from_slice(&n.to_be_bytes());
                    bytes[16..20].copy_from_slice(&[LAN_ADDR, SERVER][usize::from(shape - 1)].octets());
                } else {
                    bytes[0] = 0x60;
                    bytes[4..6].copy_from_slice(&(n - 40).to_be_bytes());
                    bytes[24..40].copy_from_slice(&[LAN_ADDR6, SERVER6][usize::from(shape - 1)].octets());
                }
                mend(&mut bytes);
            }
            let f = [&LAN_MAC.0[..], &CLIENT_MAC.0, &ethertype.to_be_bytes(), &bytes].concat();
            b.receive(LAN, &f);
            b.balanced();
        }
    }
}

#[test]
fn every_seed_is_good_as_it_is() {
    // A seed that is refused at the door would leave what is behind it untried.
    for (n, (l3, offload)) in seeds().into_iter().enumerate() {
        let mut b = Bench::acquainted();
        b.receive_offloaded(LAN, &frame(LAN_MAC, CLIENT_MAC, &l3), offload);
        let t = b.totals();
        let early = sekisho::base::DropReason::ALL
            .iter()
            .find(|r| (**r as usize) < sekisho::base::DropReason::Ip4BadOptions as usize && t.drops(**r) > 0);
        assert_eq!(early, None, "seed {n}");
    }
}
