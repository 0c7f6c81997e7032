//! The record of a packet's way: which stages it met, and how it ended.
//!
//! Off, it costs a packet one relaxed load. On, the packets that match are recorded until as many
//! as were asked for have been seen.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::base::{Instant, LinkId};
use crate::packet::{Net, Packet};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;

/// Which packets to record. What is not given matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The link it came in by.
    pub link: Option<LinkId>,
    /// Its source.
    pub src: Option<IpAddr>,
    /// Its destination.
    pub dst: Option<IpAddr>,
    /// Its protocol.
    pub proto: Option<u8>,
}

/// One line of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Instant,
    /// Whether it is about the packet that matched, or about one that the router made because of it.
    pub own: bool,
    /// What happened.
    pub text: String,
}

/// The recorder.
#[derive(Debug, Default)]
pub struct Tracer {
    armed: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    filter: Filter,
    left: usize,
    records: Vec<Record>,
}

/// Lines kept at most: a record that nobody fetches stays this long.
const MAX_RECORDS: usize = 4_096;

impl Tracer {
    /// Records the next `count` packets that match.
    pub fn arm(&self, filter: Filter, count: usize) {
        if let Ok(mut inner) = self.inner.lock() {
            *inner = Inner { filter, left: count, records: Vec::new() };
            self.armed.store(count > 0, Relaxed);
        }
    }

    /// Whether packets are looked at.
    #[inline]
    pub(super) fn is_armed(&self) -> bool {
        self.armed.load(Relaxed)
    }

    /// Takes what was recorded.
    pub fn take(&self) -> Vec<Record> {
        self.inner.lock().map(|mut i| std::mem::take(&mut i.records)).unwrap_or_default()
    }

    /// Marks the packet if it is one to record. Called once its network header has been read.
    #[inline]
    pub(super) fn look(&self, packet: &mut Packet) {
        if self.armed.load(Relaxed) {
            self.match_slow(packet);
        }
    }

    #[cold]
    fn match_slow(&self, packet: &mut Packet) {
        let Ok(mut inner) = self.inner.lock() else { return };
        if inner.left == 0 || !inner.filter.matches(packet) {
            return;
        }
        inner.left -= 1;
        if inner.left == 0 {
            self.armed.store(false, Relaxed);
        }
        packet.meta.traced = true;
    }

    #[cold]
    pub(super) fn note(&self, at: Instant, packet: &Packet, text: String) {
        if let Ok(mut inner) = self.inner.lock()
            && inner.records.len() < MAX_RECORDS
        {
            let own = packet.meta.column == crate::base::Column::Received;
            inner.records.push(Record { at, own, text });
        }
    }
}

impl Filter {
    fn matches(&self, p: &Packet) -> bool {
        let (src, dst): (IpAddr, IpAddr) = match p.meta.net {
            Net::Ipv4 => match Ipv4::new(p.l3()) {
                Some(ip) => (ip.src().into(), ip.dst().into()),
                None => return false,
            },
            Net::Ipv6 => match Ipv6::new(p.l3()) {
                Some(ip) => (ip.src().into(), ip.dst().into()),
                None => return false,
            },
            Net::Arp | Net::None => return false,
        };
        self.link.is_none_or(|l| l == p.meta.ingress)
            && self.src.is_none_or(|a| a == src)
            && self.dst.is_none_or(|a| a == dst)
            && self.proto.is_none_or(|n| n == p.meta.proto)
    }
}
