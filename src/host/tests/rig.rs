//! A host, a client of another make beside it, a wire between them, and a clock.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use super::super::*;
use crate::base::{Column, LinkId};
use crate::packet::{Csum, Meta, Net};
use crate::wire::{checksum, proto};

pub(super) const ALL: Services = Services { echo: true, discard: true };

/// Both ends of a wire without delay, and the time there.
pub(super) struct Rig {
    pub(super) host: Host,
    pub(super) now: Instant,
    client: Interface,
    sockets: SocketSet<'static>,
    wire: Wire,
    /// Of how many packets one is lost, either way; 0: none.
    pub(super) lossy: u32,
    dice: u32,
    port: u16,
    /// Super-frames seen from the host.
    pub(super) joined: usize,
}

impl Rig {
    pub(super) fn new(services: Services) -> Self {
        Rig::with_mtu(services, 1500)
    }

    pub(super) fn with_mtu(services: Services, mtu: usize) -> Self {
        let now = Instant::from_secs(1);
        let mut wire = Wire { rx: VecDeque::new(), tx: Vec::new(), mtu };
        let mut client = Interface::new(Config::new(HardwareAddress::Ip), &mut wire, clock(now));
        client.set_any_ip(true);
        client.update_ip_addrs(|a| {
            a.push(IpCidr::new(IpAddress::v4(10, 0, 0, 2), 24)).unwrap();
            a.push(IpCidr::new(IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 2), 64)).unwrap();
        });
        Rig {
            host: Host::new(services, 0x5eed),
            now,
            client,
            sockets: SocketSet::new(Vec::new()),
            wire,
            lossy: 0,
            dice: 0x2545_f491,
            port: 49_152,
            joined: 0,
        }
    }

    /// A client socket that has begun to connect.
    pub(super) fn connect(&mut self, to: &str) -> SocketHandle {
        let to: SocketAddr = to.parse().unwrap();
        let buffer = || SocketBuffer::new(vec![0; 128 * 1024]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_congestion_control(CongestionControl::Cubic);
        self.port += 1;
        socket.connect(self.client.context(), to, self.port).unwrap();
        self.sockets.add(socket)
    }

    pub(super) fn socket(&mut self, s: SocketHandle) -> &mut Socket<'static> {
        self.sockets.get_mut(s)
    }

    pub(super) fn state(&self, s: SocketHandle) -> State {
        self.sockets.get::<Socket<'_>>(s).state()
    }

    /// Lets the client alone talk, and the host listen.
    pub(super) fn client_only(&mut self) {
        self.client.poll(clock(self.now), &mut self.wire, &mut self.sockets);
        for bytes in self.wire.tx.drain(..) {
            let _ = self.host.handle(arrived(&bytes), self.now);
        }
    }

    /// Puts a packet on the way to the client.
    pub(super) fn deliver(&mut self, bytes: Vec<u8>) {
        self.wire.rx.push_back(bytes);
    }

    /// Lets both ends talk until neither has more to say at this moment.
    pub(super) fn settle(&mut self) {
        loop {
            self.client.poll(clock(self.now), &mut self.wire, &mut self.sockets);
            let sent: Vec<_> = self.wire.tx.drain(..).collect();
            let mut idle = sent.is_empty();
            for bytes in sent {
                if !self.lose() {
                    let _ = self.host.handle(arrived(&bytes), self.now);
                }
            }
            for packet in self.poll() {
                idle = false;
                for bytes in on_the_wire(&packet) {
                    if !self.lose() {
                        self.wire.rx.push_back(bytes);
                    }
                }
            }
            if idle {
                return;
            }
        }
    }

    /// What the host has to say now, checked for what holds of every packet.
    pub(super) fn poll(&mut self) -> Vec<Packet> {
        let mut out = Vec::new();
        self.host.poll(self.now, &mut out);
        for p in &out {
            assert_eq!((p.meta.column, p.meta.ingress, p.meta.l3), (Column::Originated, LinkId::LO, 0));
            assert!(p.headroom() >= 14, "room for a link-layer header");
            self.joined += usize::from(p.meta.offload.gso.is_some());
        }
        out
    }

    /// Moves the clock to the next thing either end waits for, at most to `until`.
    pub(super) fn wait(&mut self, until: Instant) {
        let theirs = self.client.poll_at(clock(self.now), &self.sockets).map(moment);
        let next = [theirs, self.host.poll_timeout(self.now)].into_iter().flatten().min();
        let soonest = self.now + Duration::from_micros(1);
        self.now = next.unwrap_or(until).max(soonest).min(until);
    }

    /// Runs until `done`, or fails after `limit` on the rig's own clock.
    pub(super) fn run(&mut self, limit: Duration, mut done: impl FnMut(&mut Rig) -> bool) {
        let until = self.now + limit;
        loop {
            self.settle();
            if done(self) {
                return;
            }
            assert!(self.now < until, "not done after {limit:?}");
            self.wait(until);
        }
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.settle();
            self.wait(until);
        }
        self.settle();
    }

    fn lose(&mut self) -> bool {
        // Xorshift (Marsaglia): the same losses at every run.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 17;
        self.dice ^= self.dice << 5;
        self.lossy != 0 && self.dice.is_multiple_of(self.lossy)
    }
}

/// The client's device: finished packets, checksums verified.
struct Wire {
    rx: VecDeque<Vec<u8>>,
    tx: Vec<Vec<u8>>,
    mtu: usize,
}

struct Got(Vec<u8>);
struct Put<'a>(&'a mut Vec<Vec<u8>>);

impl Device for Wire {
    type RxToken<'a> = Got;
    type TxToken<'a> = Put<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Got, Put<'_>)> {
        Some((Got(self.rx.pop_front()?), Put(&mut self.tx)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Put<'_>> {
        Some(Put(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = self.mtu;
        caps.checksum = ChecksumCapabilities::default();
        caps
    }
}

impl RxToken for Got {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Put<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut bytes = vec![0; len];
        let r = f(&mut bytes);
        self.0.push(bytes);
        r
    }
}

/// A packet as the path hands it over: behind an Ethernet header, parsed.
pub(super) fn arrived(bytes: &[u8]) -> Packet {
    let mut p = Packet::from_slice(&[&[0xee; 14], bytes].concat());
    let (net, l4, proto) = match bytes.first().map(|b| b >> 4) {
        Some(6) => (Net::Ipv6, 40, bytes.get(6).copied()),
        _ => (Net::Ipv4, bytes.first().map_or(0, |b| u16::from(b & 15) * 4), bytes.get(9).copied()),
    };
    p.meta = Meta { ingress: LinkId(1), net, l3: 14, l4, proto: proto.unwrap_or(proto::NONE), ..p.meta };
    p
}

/// A packet of the host's as the way out would put it on a wire: checksum finished, super-frame cut.
pub(super) fn on_the_wire(packet: &Packet) -> Vec<Vec<u8>> {
    let bytes = packet.data();
    let l4 = usize::from(packet.meta.l4);
    let Some(gso) = packet.meta.offload.gso else {
        return vec![finished(packet, bytes)];
    };
    let header = l4 + if packet.meta.proto == proto::TCP { usize::from(bytes[l4 + 12] >> 4) * 4 } else { 8 };
    let (head, payload) = bytes.split_at(header);
    let size = usize::from(gso.size);
    let count = payload.len().div_ceil(size);
    assert!(count > 1, "a super-frame of one");
    payload
        .chunks(size)
        .enumerate()
        .map(|(i, chunk)| {
            let mut b = [head, chunk].concat();
            if packet.meta.proto == proto::TCP {
                let seq = u32::from_be_bytes(b[l4 + 4..l4 + 8].try_into().unwrap());
                b[l4 + 4..l4 + 8].copy_from_slice(&seq.wrapping_add((i * size) as u32).to_be_bytes());
                if i + 1 < count {
                    b[l4 + 13] &= !9;
                }
            } else {
                b[l4 + 4..l4 + 6].copy_from_slice(&((chunk.len() + 8) as u16).to_be_bytes());
            }
            let len = b.len();
            if packet.meta.net == Net::Ipv4 {
                let ident = u16::from_be_bytes([b[4], b[5]]).wrapping_add(i as u16);
                b[4..6].copy_from_slice(&ident.to_be_bytes());
                b[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                b[10..12].fill(0);
                let csum = checksum::checksum(&b[..20]);
                b[10..12].copy_from_slice(&csum.to_be_bytes());
            } else {
                b[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
            }
            let ends = ends(&b);
            let field = l4 + if packet.meta.proto == proto::TCP { 16 } else { 6 };
            let pseudo = checksum::pseudo(ends.0, ends.1, packet.meta.proto, (len - l4) as u32).unwrap();
            b[field..field + 2].copy_from_slice(&checksum::fold(pseudo).to_be_bytes());
            finished(packet, &b)
        })
        .collect()
}

fn finished(packet: &Packet, bytes: &[u8]) -> Vec<u8> {
    let mut b = bytes.to_vec();
    let Csum::Partial { start, field } = packet.meta.offload.csum else { panic!("{:?}", packet.meta) };
    let (start, at) = (usize::from(start), usize::from(start) + usize::from(field));
    let csum = !checksum::fold(checksum::sum(&b[start..]));
    b[at..at + 2].copy_from_slice(&checksum::udp(csum).to_be_bytes());
    b
}

/// Source and destination.
pub(super) fn ends(b: &[u8]) -> (IpAddr, IpAddr) {
    let v4 = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&b[at..at + 4]).unwrap());
    let v6 = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&b[at..at + 16]).unwrap());
    if b[0] >> 4 == 4 { (v4(12), v4(16)) } else { (v6(8), v6(24)) }
}

/// An IP packet around an upper layer, with its header checksum.
pub(super) fn ip(src: &str, dst: &str, proto: u8, l4: &[u8]) -> Vec<u8> {
    let mut b;
    match (src.parse().unwrap(), dst.parse().unwrap()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            b = vec![0; 20];
            let header = crate::wire::ipv4::Ipv4Header {
                src,
                dst,
                proto,
                ttl: 63,
                tos: 0x10,
                ident: 77,
                dont_fragment: true,
                payload_len: l4.len(),
            };
            header.emit(&mut b);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            b = vec![0; 40];
            let header = crate::wire::ipv6::Ipv6Header {
                src,
                dst,
                next_header: proto,
                hop_limit: 63,
                traffic_class: 0,
                flow_label: 5,
                payload_len: l4.len(),
            };
            header.emit(&mut b);
        }
        _ => panic!("two families"),
    }
    b.extend_from_slice(l4);
    b
}

/// A UDP packet with its checksum.
pub(super) fn udp((src, from): (&str, u16), (dst, to): (&str, u16), payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() + 8) as u16;
    let mut l4 = [from.to_be_bytes(), to.to_be_bytes(), len.to_be_bytes(), [0; 2]].concat();
    l4.extend_from_slice(payload);
    let pseudo = checksum::pseudo(src.parse().unwrap(), dst.parse().unwrap(), proto::UDP, len.into());
    let csum = checksum::udp(!checksum::fold(checksum::sum(&l4) + pseudo.unwrap()));
    l4[6..8].copy_from_slice(&csum.to_be_bytes());
    ip(src, dst, proto::UDP, &l4)
}

/// A TCP segment without options, with its checksum.
pub(super) fn tcp(
    (src, from): (&str, u16),
    (dst, to): (&str, u16),
    seq: u32,
    ack: u32,
    flags: u8,
    data: &[u8],
) -> Vec<u8> {
    let mut l4 = [from.to_be_bytes(), to.to_be_bytes()].concat();
    l4.extend(seq.to_be_bytes());
    l4.extend(ack.to_be_bytes());
    l4.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    l4.extend_from_slice(data);
    let pseudo =
        checksum::pseudo(src.parse().unwrap(), dst.parse().unwrap(), proto::TCP, l4.len() as u32).unwrap();
    let csum = !checksum::fold(checksum::sum(&l4) + pseudo);
    l4[16..18].copy_from_slice(&csum.to_be_bytes());
    ip(src, dst, proto::TCP, &l4)
}
