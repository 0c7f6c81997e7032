//! Longest-prefix match: the structure in use, and those it was chosen over.
//!
//! `cargo bench --bench fib` measures one lookup in tables of 1 to 1,000,000 IPv4 and 200,000 IPv6
//! routes:
//!
//! - `hot`: 1,024 destinations over and over; each lookup waits for the one before.
//! - `random`: 4,194,304 destinations, each lookup waiting for the one before.
//! - `batch`: the same, not waiting: what a worker does with a batch of packets.
//!
//! The structure in use is measured through the router's own door, with the step from what the trie
//! says to the entry, the others without one.
//!
//! It also prints how long tables take to build and what they hold. Figures: docs/benchmarks.md.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use sekisho::base::LinkId;
use sekisho::fib::{self, Fib, NextHop, Rib, Route, RouteKind};
use sekisho::link::{Address, Link, LinkKind, Links};

/// A route: address, prefix length, and the number of what it leads to.
type Prefix<B> = (B, u8, u32);

/// Different next hops, as of a router with some neighbors.
const NEIGHBORS: u32 = 32;

const HOT: usize = 1 << 10;
const RANDOM: usize = 1 << 22;

fn ipv4(c: &mut Criterion) {
    for n in [1, 1_000, 100_000, 1_000_000] {
        let prefixes = prefixes4(n);
        let random = destinations4(&prefixes, RANDOM);
        let mut group = group(c, "ipv4");
        let fib = built("fib", n, || fib4(&prefixes), Fib::memory);
        lookups(&mut group, "fib", n, &random, |a| {
            fib.lookup4(Ipv4Addr::from_bits(a)).map(|e| u32::from(e.prefix_len))
        });
        let map = built("tree_bitmap", n, || map4(&prefixes), PrefixMap::mem_size);
        lookups(&mut group, "tree_bitmap", n, &random, |a| {
            let host = Ipv4Net::from(Ipv4Addr::from_bits(a));
            map.get_lpm(&host).map(|(_, v)| *v)
        });
        let dir = built("dir_24_8", n, || Dir24::build(&prefixes), Dir24::memory);
        lookups(&mut group, "dir_24_8", n, &random, |a| dir.lookup(a));
        let paged = built("paged_16_8_8", n, || Paged::build(&prefixes), Paged::memory);
        lookups(&mut group, "paged_16_8_8", n, &random, |a| paged.lookup(a));
        group.finish();
    }
}

fn ipv6(c: &mut Criterion) {
    for n in [1, 1_000, 200_000] {
        let prefixes = prefixes6(n);
        let random = destinations6(&prefixes, RANDOM);
        let mut group = group(c, "ipv6");
        let fib = built("fib", n, || fib6(&prefixes), Fib::memory);
        lookups(&mut group, "fib", n, &random, |a| {
            fib.lookup6(Ipv6Addr::from_bits(a)).map(|e| u32::from(e.prefix_len))
        });
        let map = built("tree_bitmap", n, || map6(&prefixes), PrefixMap::mem_size);
        lookups(&mut group, "tree_bitmap", n, &random, |a| {
            let host = Ipv6Net::from(Ipv6Addr::from_bits(a));
            map.get_lpm(&host).map(|(_, v)| *v)
        });
        group.finish();
    }
}

/// A full table from text: read, put in, compiled.
fn load(_: &mut Criterion) {
    let links = links();
    let mut text = String::new();
    for (bits, len, n) in prefixes4(1_000_000) {
        let _ = writeln!(text, "{}/{len} via 10.2.0.{} dev wan proto bgp", Ipv4Addr::from_bits(bits), n + 2);
    }
    for (bits, len, n) in prefixes6(200_000) {
        let _ = writeln!(text, "{}/{len} via fd02::{:x} dev wan proto bgp", Ipv6Addr::from_bits(bits), n + 2);
    }
    let (rib, read) = timed(|| {
        let mut rib = Rib::connected(&links);
        fib::load(text.as_bytes(), &links, |r| rib.insert(r)).expect("these are routes");
        rib
    });
    let (built, compiled) = timed(|| rib.build(&links).expect("these are good"));
    println!(
        "full table: {} routes read from {} MB in {read:.0?}, compiled in {compiled:.0?}, {} KiB",
        rib.len(),
        text.len() / 1_000_000,
        built.memory() / 1024,
    );
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    // Many short samples: on a machine that others use, the middle one is of a moment without them.
    group.throughput(Throughput::Elements(1)).sample_size(200).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(600));
    group
}

/// The three measures of one table.
fn lookups<B: Copy + Flip>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    routes: usize,
    destinations: &[B],
    lookup: impl Fn(B) -> Option<u32>,
) {
    // Zero, though the compiler can't know: what makes a lookup wait for the one before.
    let link = black_box(0);
    for (what, wait, set) in
        [("hot", true, &destinations[..HOT]), ("random", true, destinations), ("batch", false, destinations)]
    {
        let mut i = 0;
        let mut last = 0;
        group.bench_function(BenchmarkId::new(format!("{name}/{what}"), routes), |b| {
            b.iter(|| {
                i = (i + 1) & (set.len() - 1);
                let found = lookup(set[i].flip(last & link)).unwrap_or(0);
                if wait {
                    last = found;
                }
                found
            });
        });
    }
}

trait Flip {
    fn flip(self, bits: u32) -> Self;
}

impl Flip for u32 {
    fn flip(self, bits: u32) -> Self {
        self ^ bits
    }
}

impl Flip for u128 {
    fn flip(self, bits: u32) -> Self {
        self ^ u128::from(bits)
    }
}

fn built<T>(name: &str, routes: usize, build: impl FnOnce() -> T, memory: impl Fn(&T) -> usize) -> T {
    let (table, took) = timed(build);
    println!("{name} of {routes}: built in {took:.1?}, {} KiB", memory(&table).div_ceil(1024));
    table
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

// ---- The contenders -------------------------------------------------------------------------

fn links() -> Links {
    let addresses = ["10.2.0.1", "fd02::1"].map(|a| {
        let addr: IpAddr = a.parse().expect("an address");
        Address { addr, prefix_len: if addr.is_ipv4() { 24 } else { 64 } }
    });
    Links::new([Link { addresses: addresses.into(), ..Link::new("wan", LinkKind::Memory) }])
}

/// Through the router's own front door. The time includes the table of routes as configured.
fn fib_of(routes: impl Iterator<Item = (IpNet, IpAddr)>) -> Fib {
    let links = links();
    let mut rib = Rib::new();
    rib.insert(Route::new("10.2.0.0/24".parse().expect("a prefix"), on_link())).expect("the first");
    rib.insert(Route::new("fd02::/64".parse().expect("a prefix"), on_link())).expect("the second");
    for (prefix, via) in routes {
        let hop = NextHop::new(Some(via), Some(LinkId(1)));
        rib.insert(Route::new(prefix, RouteKind::Unicast(vec![hop]))).expect("no two are equal");
    }
    rib.build(&links).expect("all gateways are on the link")
}

fn on_link() -> RouteKind {
    RouteKind::Unicast(vec![NextHop::new(None, Some(LinkId(1)))])
}

fn fib4(prefixes: &[Prefix<u32>]) -> Fib {
    fib_of(
        prefixes
            .iter()
            .map(|&(bits, len, n)| (IpNet::V4(net4(bits, len)), Ipv4Addr::from_bits(0x0a02_0002 + n).into())),
    )
}

fn fib6(prefixes: &[Prefix<u128>]) -> Fib {
    fib_of(prefixes.iter().map(|&(bits, len, n)| {
        (IpNet::V6(net6(bits, len)), Ipv6Addr::from_bits((0xfd02 << 112) + 2 + u128::from(n)).into())
    }))
}

fn map4(prefixes: &[Prefix<u32>]) -> PrefixMap<Ipv4Net, u32> {
    prefixes.iter().map(|&(bits, len, n)| (net4(bits, len), n)).collect()
}

fn map6(prefixes: &[Prefix<u128>]) -> PrefixMap<Ipv6Net, u32> {
    prefixes.iter().map(|&(bits, len, n)| (net6(bits, len), n)).collect()
}

fn net4(bits: u32, len: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from_bits(bits), len)
}

fn net6(bits: u128, len: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), len)
}

/// Nothing leads there.
const NONE: u32 = u32::MAX;
/// Set where a slot leads to a page rather than to a value.
const PAGE: u32 = 1 << 31;

fn value(slot: u32) -> Option<u32> {
    (slot != NONE).then_some(slot)
}

/// Gupta, Lin, McKeown (INFOCOM 1998): a slot for each /24, pages for those with longer prefixes.
struct Dir24 {
    first: Vec<u32>,
    pages: Vec<[u32; 256]>,
}

impl Dir24 {
    fn build(prefixes: &[Prefix<u32>]) -> Self {
        let mut t = Dir24 { first: vec![NONE; 1 << 24], pages: Vec::new() };
        for (bits, len, n) in by_length(prefixes) {
            let at = (bits >> 8) as usize;
            if len <= 24 {
                t.first[at..at + (1 << (24 - len))].fill(n);
            } else {
                let page = page(&mut t.first[at], &mut t.pages);
                fill(&mut t.pages[page], bits as u8, 32 - len, n);
            }
        }
        t
    }

    fn lookup(&self, addr: u32) -> Option<u32> {
        let slot = self.first[(addr >> 8) as usize];
        if slot == NONE || slot & PAGE == 0 {
            return value(slot);
        }
        value(self.pages[(slot & !PAGE) as usize][(addr & 255) as usize])
    }

    fn memory(&self) -> usize {
        size_of_val(&*self.first) + size_of_val(&*self.pages)
    }
}

/// The same with the first 24 bits in two steps, so that only what is routed has pages.
struct Paged {
    first: Vec<u32>,
    pages: Vec<[u32; 256]>,
}

impl Paged {
    fn build(prefixes: &[Prefix<u32>]) -> Self {
        let mut t = Paged { first: vec![NONE; 1 << 16], pages: Vec::new() };
        for (bits, len, n) in by_length(prefixes) {
            let at = (bits >> 16) as usize;
            if len <= 16 {
                t.first[at..at + (1 << (16 - len))].fill(n);
                continue;
            }
            let second = page(&mut t.first[at], &mut t.pages);
            if len <= 24 {
                fill(&mut t.pages[second], (bits >> 8) as u8, 24 - len, n);
                continue;
            }
            let mut slot = t.pages[second][(bits >> 8 & 255) as usize];
            let third = page(&mut slot, &mut t.pages);
            t.pages[second][(bits >> 8 & 255) as usize] = slot;
            fill(&mut t.pages[third], bits as u8, 32 - len, n);
        }
        t
    }

    fn lookup(&self, addr: u32) -> Option<u32> {
        let mut slot = self.first[(addr >> 16) as usize];
        for shift in [8, 0] {
            if slot == NONE || slot & PAGE == 0 {
                break;
            }
            slot = self.pages[(slot & !PAGE) as usize][(addr >> shift & 255) as usize];
        }
        value(slot)
    }

    fn memory(&self) -> usize {
        size_of_val(&*self.first) + size_of_val(&*self.pages)
    }
}

/// Short prefixes first, so that longer ones overwrite them.
fn by_length<B: Copy>(prefixes: &[Prefix<B>]) -> Vec<Prefix<B>> {
    let mut sorted = prefixes.to_vec();
    sorted.sort_by_key(|p| p.1);
    sorted
}

/// The page of a slot; made, and filled with what was there, if there is none.
fn page(slot: &mut u32, pages: &mut Vec<[u32; 256]>) -> usize {
    if *slot == NONE || *slot & PAGE == 0 {
        pages.push([*slot; 256]);
        *slot = PAGE | (pages.len() as u32 - 1);
    }
    (*slot & !PAGE) as usize
}

fn fill(page: &mut [u32; 256], from: u8, free: u8, n: u32) {
    let from = usize::from(from);
    page[from..from + (1 << free)].fill(n);
}

// ---- Routes and destinations ------------------------------------------------------------------

/// How often each prefix length occurs in 1,000 routes: about what the tables of the Internet look
/// like, with some host routes of a network's own.
const LENGTHS4: [(u8, u32); 16] = [
    (8, 1),
    (11, 1),
    (13, 1),
    (14, 1),
    (15, 2),
    (16, 13),
    (17, 8),
    (18, 14),
    (19, 25),
    (20, 44),
    (21, 50),
    (22, 110),
    (23, 100),
    (24, 610),
    (28, 8),
    (32, 12),
];
const LENGTHS6: [(u8, u32); 12] = [
    (28, 5),
    (29, 30),
    (32, 130),
    (34, 10),
    (36, 50),
    (40, 90),
    (42, 15),
    (44, 110),
    (46, 40),
    (48, 480),
    (64, 30),
    (128, 10),
];

/// The first 16 bits of IPv6 prefixes that registries give out.
const REGISTRIES: [u128; 12] =
    [0x2001, 0x2400, 0x2402, 0x2404, 0x2406, 0x2600, 0x2604, 0x2606, 0x2800, 0x2a00, 0x2a02, 0x2a0e];

/// Announcements come in runs: an origin's prefixes lie side by side, and lead the same way.
fn prefixes4(n: usize) -> Vec<Prefix<u32>> {
    let mut random = Random(0x5eed);
    let mut next = 0u32;
    let mut neighbor = 0;
    distinct(n, |len_of| {
        let len = len_of(&LENGTHS4, random.next());
        if random.next().is_multiple_of(4) || !(11..=223).contains(&(next >> 24)) {
            next = (11 + random.next() as u32 % 213) << 24 | random.next() as u32 >> 8;
            neighbor = random.next() as u32 % NEIGHBORS;
        }
        let addr = next & u32::MAX << (32 - len);
        next = addr.wrapping_add(1 << (32 - len));
        (addr, len, neighbor)
    })
}

fn prefixes6(n: usize) -> Vec<Prefix<u128>> {
    let mut random = Random(0x5eed6);
    let mut next = 0u128;
    let mut neighbor = 0;
    distinct(n, |len_of| {
        let len = len_of(&LENGTHS6, random.next());
        if random.next().is_multiple_of(4) || next == 0 {
            let registry = REGISTRIES[random.next() as usize % REGISTRIES.len()];
            // Holders of a /32 take their /48s from its beginning.
            let holder = u128::from(random.next() & 0xfff8);
            let site = u128::from(random.next() & random.next() & 0xffff);
            next = registry << 112 | holder << 96 | site << 80 | u128::from(random.next());
            neighbor = random.next() as u32 % NEIGHBORS;
        }
        let addr = next & u128::MAX << (128 - len);
        next = addr.wrapping_add(1 << (128 - len));
        (addr, len, neighbor)
    })
}

/// As many prefixes, no two equal, in random order.
fn distinct<B: Copy + Eq + std::hash::Hash>(
    n: usize,
    mut one: impl FnMut(fn(&[(u8, u32)], u64) -> u8) -> Prefix<B>,
) -> Vec<Prefix<B>> {
    let mut seen = std::collections::HashSet::new();
    let mut all = Vec::new();
    while all.len() < n {
        let prefix = one(length);
        if seen.insert((prefix.0, prefix.1)) {
            all.push(prefix);
        }
    }
    all
}

fn length(weights: &[(u8, u32)], random: u64) -> u8 {
    let total: u32 = weights.iter().map(|w| w.1).sum();
    let mut at = (random % u64::from(total)) as u32;
    for (len, weight) in weights {
        match at.checked_sub(*weight) {
            None => return *len,
            Some(rest) => at = rest,
        }
    }
    24
}

/// Addresses inside the prefixes, in random order: packets go where there are routes.
fn destinations4(prefixes: &[Prefix<u32>], n: usize) -> Vec<u32> {
    let mut random = Random(7);
    let mut one = || {
        let (bits, len, _) = prefixes[random.next() as usize % prefixes.len()];
        bits | (random.next() as u32).checked_shr(len.into()).unwrap_or(0)
    };
    (0..n).map(|_| one()).collect()
}

fn destinations6(prefixes: &[Prefix<u128>], n: usize) -> Vec<u128> {
    let mut random = Random(7);
    let mut one = || {
        let (bits, len, _) = prefixes[random.next() as usize % prefixes.len()];
        let host = u128::from(random.next()) << 64 | u128::from(random.next());
        bits | host.checked_shr(len.into()).unwrap_or(0)
    };
    (0..n).map(|_| one()).collect()
}

/// splitmix64: the same numbers on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

criterion_group!(benches, load, ipv4, ipv6);
criterion_main!(benches);
