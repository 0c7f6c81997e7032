//! The packets, and what the kernel gives for them.

mod arp;
mod limits;
mod mtu;
mod v4;
mod v4_errors;
mod v4_local;
mod v6;
mod v6_extensions;
mod v6_local;
mod v6_ndp;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sekisho::base::Mac;

use crate::frame::{self, V4, V6};
use crate::twin::Port;

/// Frames, and what a router makes of them.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) sent: Vec<(Port, Vec<u8>)>,
    /// What Linux gave when this was written, as [`crate::compare::summary`] says it.
    pub(crate) gives: Vec<&'static str>,
    /// Why Sekisho does otherwise on purpose; stands in docs/limits.md word by word.
    pub(crate) known: Option<&'static str>,
    /// How long the kernel may take.
    pub(crate) patience: Duration,
}

impl Case {
    fn new(name: &'static str, sent: Vec<(Port, Vec<u8>)>, gives: &[&'static str]) -> Self {
        let mut gives = gives.to_vec();
        gives.sort_unstable();
        Case { name, sent, gives, known: None, patience: Duration::from_millis(100) }
    }

    fn patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Sekisho does otherwise, for a reason.
    fn known(&mut self, reason: &'static str) {
        self.known = Some(reason);
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    let mut list = List { cases: vec![], n: 9, spoiled: vec![] };
    v4::cases(&mut list);
    v4_errors::cases(&mut list);
    v4_local::cases(&mut list);
    arp::cases(&mut list);
    v6::cases(&mut list);
    v6_extensions::cases(&mut list);
    v6_local::cases(&mut list);
    v6_ndp::cases(&mut list);
    limits::cases(&mut list);
    mtu::cases(&mut list);
    list.cases
}

/// Collects cases and gives each its own station on every segment, so that no case runs into the rate limit
/// of another.
pub(crate) struct List {
    cases: Vec<Case>,
    n: u8,
    /// Stations of which a router has learned what is not so: no later case has them.
    spoiled: Vec<u8>,
}

impl List {
    fn add(
        &mut self,
        name: &'static str,
        gives: &[&'static str],
        sent: impl FnOnce(Hosts) -> Vec<(Port, Vec<u8>)>,
    ) -> &mut Case {
        loop {
            self.n = if self.n >= 240 { 10 } else { self.n + 1 };
            if self.n != crate::twin::ABSENT && !self.spoiled.contains(&self.n) {
                break;
            }
        }
        self.cases.push(Case::new(name, sent(Hosts(self.n)), gives));
        self.cases.last_mut().unwrap()
    }

    /// The last case's station is known by a wrong MAC from now on.
    fn spoil(&mut self) {
        self.spoiled.push(self.n);
    }
}

/// The stations of one case, one on each segment.
#[derive(Clone, Copy)]
pub(crate) struct Hosts(u8);

impl Hosts {
    fn a4(self, port: Port) -> Ipv4Addr {
        port.host4(self.0)
    }

    fn a6(self, port: Port) -> Ipv6Addr {
        port.host6(0x100 | u16::from(self.0))
    }

    /// A link-local address on any segment.
    fn ll(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100 | u16::from(self.0))
    }

    fn mac(self, port: Port) -> Mac {
        port.station(self.a4(port).into())
    }

    /// An IPv4 packet from the lan to the wan.
    fn v4(self, protocol: u8, payload: Vec<u8>) -> V4 {
        V4::new(self.a4(Port::Lan), self.a4(Port::Wan), protocol, payload)
    }

    /// A UDP packet from the lan to the wan.
    fn udp4(self, data: &[u8]) -> V4 {
        self.udp4_to(self.a4(Port::Wan), data)
    }

    /// A UDP packet from the lan.
    fn udp4_to(self, dst: Ipv4Addr, data: &[u8]) -> V4 {
        self.udp4_between(self.a4(Port::Lan), dst, data)
    }

    fn udp4_between(self, src: Ipv4Addr, dst: Ipv4Addr, data: &[u8]) -> V4 {
        V4::new(src, dst, frame::UDP, frame::udp(src, dst, [4000, 5000], data))
    }

    /// An echo request from the lan.
    fn echo4(self, dst: Ipv4Addr, size: usize) -> V4 {
        let data: Vec<u8> = (0..size).map(|i| i as u8).collect();
        V4::new(self.a4(Port::Lan), dst, frame::ICMP, frame::icmp(8, 0, 0x1234_0001, &data))
    }

    /// An IPv6 packet from the lan to the wan.
    fn v6(self, next: u8, payload: Vec<u8>) -> V6 {
        V6::new(self.a6(Port::Lan), self.a6(Port::Wan), next, payload)
    }

    /// A UDP packet from the lan to the wan.
    fn udp6(self, data: &[u8]) -> V6 {
        self.udp6_to(self.a6(Port::Wan), data)
    }

    /// A UDP packet from the lan.
    fn udp6_to(self, dst: Ipv6Addr, data: &[u8]) -> V6 {
        self.udp6_between(self.a6(Port::Lan), dst, data)
    }

    fn udp6_between(self, src: Ipv6Addr, dst: Ipv6Addr, data: &[u8]) -> V6 {
        V6::new(src, dst, frame::UDP, frame::udp(src, dst, [4000, 5000], data))
    }

    /// An echo request from the lan.
    fn echo6(self, dst: Ipv6Addr, size: usize) -> V6 {
        self.echo6_between(self.a6(Port::Lan), dst, size)
    }

    fn echo6_between(self, src: Ipv6Addr, dst: Ipv6Addr, size: usize) -> V6 {
        let data: Vec<u8> = (0..size).map(|i| i as u8).collect();
        V6::new(src, dst, frame::ICMPV6, frame::icmpv6(src, dst, 128, 0, 0x1234_0001, &data))
    }

    /// In a frame to the router.
    fn at(self, port: Port, packet: impl IntoPacket) -> (Port, Vec<u8>) {
        self.framed(port, port.mac(), packet)
    }

    /// In a frame to this MAC.
    fn framed(self, port: Port, to: Mac, packet: impl IntoPacket) -> (Port, Vec<u8>) {
        let (ethertype, bytes) = packet.packet();
        (port, frame::ethernet(to, self.mac(port), ethertype, &bytes))
    }

    /// From the lan, in a frame to the router.
    fn lan(self, packet: impl IntoPacket) -> Vec<(Port, Vec<u8>)> {
        vec![self.at(Port::Lan, packet)]
    }

    /// From the wan, in a frame to the router.
    fn wan(self, packet: impl IntoPacket) -> Vec<(Port, Vec<u8>)> {
        vec![self.at(Port::Wan, packet)]
    }

    /// Several from the lan.
    fn all<P: IntoPacket>(self, packets: impl IntoIterator<Item = P>) -> Vec<(Port, Vec<u8>)> {
        packets.into_iter().map(|p| self.at(Port::Lan, p)).collect()
    }
}

/// What goes into a frame.
trait IntoPacket {
    fn packet(self) -> (u16, Vec<u8>);
}

impl IntoPacket for V4 {
    fn packet(self) -> (u16, Vec<u8>) {
        (frame::IPV4, self.bytes())
    }
}

impl IntoPacket for V6 {
    fn packet(self) -> (u16, Vec<u8>) {
        (frame::IPV6, self.bytes())
    }
}

impl IntoPacket for (u16, Vec<u8>) {
    fn packet(self) -> (u16, Vec<u8>) {
        self
    }
}
