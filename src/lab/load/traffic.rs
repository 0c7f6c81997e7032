//! What the generator sends: UDP frames whose fields follow from a running number.
//!
//! ```text
//!  ├ Ethernet ┼ IPv4 or IPv6 ┼ UDP ┼ MARK:32 ┼ number:32 ┼ zeros … ┤
//!
//!  number ──┬─ lowest bits ──► source address          (`sources`, 1 unless told)
//!           ├─ next 14 bits ─► source port
//!           ├─ next 14 bits ─► destination port
//!           └─ scrambled ────► lowest bits of the destination address   (`span`, 0 unless told)
//! ```
//!
//! So the first 16,384 flows differ in nothing but their source port, and no two of the first 2^28 flows
//! of a source are the same. The mark is what the [`super::Sink`] knows them by: it passes routers and NAT unchanged.

use std::net::IpAddr;

use crate::base::Mac;

/// UDP frames from one host to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    from: Mac,
    to: Mac,
    source: IpAddr,
    destination: IpAddr,
    size: usize,
    hops: u8,
    checksum: bool,
    flows: Option<u32>,
    sources_bits: u8,
    span: u8,
}

impl Traffic {
    /// Frames of 60 bytes on one flow, with a UDP checksum.
    ///
    /// # Panics
    ///
    /// If the addresses are not of one family.
    pub fn new(from: Mac, to: Mac, source: IpAddr, destination: IpAddr) -> Self {
        assert!(
            source.is_ipv4() == destination.is_ipv4(),
            "{source} and {destination} are of different families"
        );
        let size = 0;
        let flows = Some(1);
        Traffic {
            from,
            to,
            source,
            destination,
            size,
            hops: 64,
            checksum: true,
            flows,
            sources_bits: 0,
            span: 0,
        }
        .size(60)
    }

    /// Bytes of a frame, checksum of the line not counted: at least 60, with IPv6 70; at most 1514.
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes.clamp(self.changing().max(60), 1514);
        self
    }

    /// How many flows, one packet of each in turn.
    pub fn flows(mut self, flows: u32) -> Self {
        self.flows = Some(flows.clamp(1, i32::MAX as u32));
        self
    }

    /// Every packet begins a new flow.
    pub fn endless(mut self) -> Self {
        self.flows = None;
        self
    }

    /// How many source addresses, from the first on; a power of two, at most 65,536. Flows of different sources share
    /// their source ports, so that a router that translates them to one address has to choose others.
    pub fn sources(mut self, sources: u32) -> Self {
        self.sources_bits = sources.clamp(1, 1 << 16).ilog2() as u8;
        self
    }

    /// Spreads the destinations, flow by flow, over the 2^`bits` addresses from the first on, in a
    /// scattered order. The first address should have zeros there.
    pub fn span(mut self, bits: u8) -> Self {
        self.span = bits.min(31);
        self
    }

    /// The TTL or hop limit, 64 unless told.
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// Whether frames carry a right UDP checksum or none; IPv6 always has one.
    pub fn checksum(mut self, on: bool) -> Self {
        self.checksum = on;
        self
    }

    /// Bytes of a frame.
    pub fn frame_size(&self) -> usize {
        self.size
    }

    /// The destination of all packets, or the first of them.
    pub fn destination(&self) -> IpAddr {
        self.destination
    }

    /// How many flows; `None` for no end of them.
    pub fn flow_count(&self) -> Option<u32> {
        self.flows
    }

    /// The frame with this number, as a whole.
    pub fn frame(&self, number: u64) -> Vec<u8> {
        let mut frame = self.template();
        self.write(number, &mut frame);
        frame
    }

    /// Makes a frame, or its template, the one with this number.
    pub(super) fn write(&self, number: u64, frame: &mut [u8]) {
        let at = self.places();
        let fields = self.fields(number);
        put(frame, at.source, &fields.source.to_be_bytes());
        put(frame, at.destination, &fields.destination.to_be_bytes());
        put(frame, at.ports, &fields.ports[0].to_be_bytes());
        put(frame, at.ports + 2, &fields.ports[1].to_be_bytes());
        put(frame, at.number, &(number as u32).to_be_bytes());
        let words = [fields.source, fields.destination].map(|w| native32(w.to_be_bytes()));
        let addresses = words[0] + words[1];
        let sums = self.constant_sums();
        if let Some(place) = at.ip_sum {
            put(frame, place, &(!fold(addresses + sums.ip)).to_ne_bytes());
        }
        if self.has_checksum() {
            let ports = fields.ports.map(|p| u64::from(u16::from_ne_bytes(p.to_be_bytes())));
            let number = native32((number as u32).to_be_bytes());
            let sum = !fold(addresses + ports[0] + ports[1] + number + sums.udp);
            // RFC 768: a sum of zero is sent as all ones.
            put(frame, at.udp_sum, &if sum == 0 { 0xffff } else { sum }.to_ne_bytes());
        }
    }

    /// The frame with zeros in every place that depends on its number.
    pub(super) fn template(&self) -> Vec<u8> {
        let mut frame = vec![0; self.size];
        let at = self.places();
        put(&mut frame, 0, &self.to.0);
        put(&mut frame, 6, &self.from.0);
        let udp = (self.size - at.ports) as u16;
        match (self.source, self.destination) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                put(&mut frame, 12, &0x86dd_u16.to_be_bytes());
                put(&mut frame, 14, &[0x60, 0, 0, 0]);
                put(&mut frame, 18, &udp.to_be_bytes());
                put(&mut frame, 20, &[UDP, self.hops]);
                put(&mut frame, 22, &source.octets()[..12]);
                put(&mut frame, 38, &destination.octets()[..12]);
            }
            _ => {
                put(&mut frame, 12, &0x0800_u16.to_be_bytes());
                put(&mut frame, 14, &[0x45, 0]);
                put(&mut frame, 16, &(udp + 20).to_be_bytes());
                put(&mut frame, 20, &[0x40, 0, self.hops, UDP]); // don't fragment
            }
        }
        put(&mut frame, at.ports + 4, &udp.to_be_bytes());
        put(&mut frame, at.number - 4, &MARK.to_be_bytes());
        frame
    }

    /// The sums of what is the same in all frames, in 16-bit words of this machine's order.
    pub(super) fn constant_sums(&self) -> Sums {
        let frame = self.template();
        let at = self.places();
        let pseudo = u64::from(u16::from_ne_bytes([0, UDP])) + words(&frame[at.ports + 4..at.ports + 6]);
        let addresses = if at.ip_sum.is_none() { words(&frame[22..54]) } else { 0 };
        Sums {
            ip: if at.ip_sum.is_some() { words(&frame[14..34]) } else { 0 },
            udp: words(&frame[at.ports..]) + pseudo + addresses,
        }
    }

    /// Whether the frames have a UDP checksum.
    pub(super) fn has_checksum(&self) -> bool {
        self.checksum || self.source.is_ipv6()
    }

    /// So many bytes from the front are written anew in each frame; behind them are zeros.
    pub(super) fn changing(&self) -> usize {
        self.places().number + 4
    }

    /// Where things stand in a frame.
    pub(super) fn places(&self) -> Places {
        if self.source.is_ipv4() {
            Places { ip_sum: Some(24), source: 26, destination: 30, ports: 34, udp_sum: 40, number: 46 }
        } else {
            Places { ip_sum: None, source: 34, destination: 50, ports: 54, udp_sum: 60, number: 66 }
        }
    }

    /// How the fields are made, for whoever makes them elsewhere.
    pub(super) fn recipe(&self) -> Recipe {
        let low = |address: IpAddr| match address {
            IpAddr::V4(v4) => u32::from(v4),
            IpAddr::V6(v6) => u128::from(v6) as u32,
        };
        Recipe {
            source: low(self.source),
            destination: low(self.destination),
            sources_bits: self.sources_bits,
            span: self.span,
        }
    }

    fn fields(&self, number: u64) -> Fields {
        let recipe = self.recipe();
        let number = number as u32;
        let rest = number >> recipe.sources_bits;
        let port = |digit: u32, first: u16| (digit & PORT_MASK) as u16 + first;
        Fields {
            source: recipe.source.wrapping_add(number & ((1 << recipe.sources_bits) - 1)),
            destination: recipe.destination.wrapping_add(scatter(number, recipe.span)),
            ports: [port(rest, FIRST_PORTS[0]), port(rest >> PORT_BITS, FIRST_PORTS[1])],
        }
    }
}

/// The fields of a frame that depend on its number, of IPv6 addresses the last 32 bits.
struct Fields {
    source: u32,
    destination: u32,
    ports: [u16; 2],
}

/// Offsets from the frame's beginning; addresses: of their last 32 bits.
pub(super) struct Places {
    pub(super) ip_sum: Option<usize>,
    pub(super) source: usize,
    pub(super) destination: usize,
    pub(super) ports: usize,
    pub(super) udp_sum: usize,
    pub(super) number: usize,
}

/// The numbers that fields are made of.
pub(super) struct Recipe {
    pub(super) source: u32,
    pub(super) destination: u32,
    pub(super) sources_bits: u8,
    pub(super) span: u8,
}

/// Sums of the constant parts.
pub(super) struct Sums {
    pub(super) ip: u64,
    pub(super) udp: u64,
}

/// A permutation of the numbers of so many bits, in which neighbors are far apart. The upper bits don't count.
fn scatter(number: u32, bits: u8) -> u32 {
    if bits == 0 {
        return 0;
    }
    let mask = (1 << bits) - 1;
    let x = number.wrapping_mul(SCATTER[0]) & mask;
    let x = x ^ x >> scatter_shift(bits);
    x.wrapping_mul(SCATTER[1]) & mask
}

/// How far [`scatter`] shifts.
pub(super) fn scatter_shift(bits: u8) -> u8 {
    (bits / 2).max(1)
}

fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The sum of the 16-bit words, without folding. It does not depend on the byte order (RFC 1071 section 2B) as long as
/// it is written back in the order it was read in.
fn words(bytes: &[u8]) -> u64 {
    let mut pairs = bytes.chunks_exact(2);
    let sum: u64 = pairs.by_ref().map(|p| u64::from(u16::from_ne_bytes([p[0], p[1]]))).sum();
    sum + pairs.remainder().first().map_or(0, |last| u64::from(u16::from_ne_bytes([*last, 0])))
}

fn native32(bytes: [u8; 4]) -> u64 {
    u64::from(u32::from_ne_bytes(bytes))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// What marks a frame as the generator's: "SEKI".
pub(super) const MARK: u32 = 0x5345_4b49;
/// The first source and destination port.
pub(super) const FIRST_PORTS: [u16; 2] = [10_000, 30_000];
/// Each port takes so many bits of the number.
pub(super) const PORT_BITS: u8 = 14;
/// And they are these.
pub(super) const PORT_MASK: u32 = (1 << PORT_BITS) - 1;
/// Odd numbers without a pattern: 2^32 divided by the golden ratio, and the same of its square root.
pub(super) const SCATTER: [u32; 2] = [0x9e37_79b1, 0xc98b_a2d5];
/// Protocol number 17.
const UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::probes::checksum;
    use std::collections::HashSet;

    fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    fn v4() -> Traffic {
        Traffic::new(mac(1), mac(2), [10, 0, 0, 2].into(), [10, 1, 0, 2].into())
    }

    fn v6() -> Traffic {
        Traffic::new(mac(1), mac(2), "fd00::2".parse().unwrap(), "fd01::2".parse().unwrap())
    }

    #[test]
    fn frames_have_right_checksums() {
        for number in [0, 1, 16_383, 16_384, 5_000_000, u64::from(u32::MAX)] {
            let frame = v4().sources(4).span(20).frame(number);
            assert_eq!(frame.len(), 60);
            assert_eq!(checksum(&frame[14..34]), 0);
            let pseudo = [&frame[26..34], &[0, 17], &frame[38..40], &frame[34..]].concat();
            assert_eq!(checksum(&pseudo), 0);
            let frame = v6().sources(4).span(20).frame(number);
            assert_eq!(frame.len(), 70);
            let pseudo = [&frame[22..54], &[0, 17], &frame[58..60], &frame[54..]].concat();
            assert_eq!(checksum(&pseudo), 0);
        }
        let plain = v4().checksum(false).size(999).frame(7);
        assert_eq!(plain[40..42], [0, 0]);
        assert_eq!((plain.len(), &plain[16..18]), (999, &985u16.to_be_bytes()[..]));
    }

    #[test]
    fn flows_differ_in_their_ports_first() {
        let traffic = v4();
        let flow = |n| traffic.frame(n)[26..38].to_vec();
        let all: HashSet<Vec<u8>> = (0..40_000).map(flow).collect();
        assert_eq!(all.len(), 40_000);
        assert_eq!(flow(5)[8..], [10_005u16.to_be_bytes(), 30_000u16.to_be_bytes()].concat());
        assert_eq!(flow(16_384)[8..], [10_000u16.to_be_bytes(), 30_001u16.to_be_bytes()].concat());
    }

    #[test]
    fn destinations_are_all_met_once() {
        for bits in [1, 2, 3, 7, 12] {
            let all: HashSet<u32> = (0..1 << bits).map(|n| scatter(n, bits)).collect();
            assert_eq!(all.len(), 1 << bits, "{bits} bits");
            assert!(all.iter().all(|d| *d < 1 << bits));
        }
    }
}
