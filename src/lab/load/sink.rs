//! The sink: counts the generator's frames where they come in, and drops them there.
//!
//! Everything else goes on to the host's stack: ARP, ICMP, TCP. A program at tc ingress costs a few dozen
//! nanoseconds a frame, and comes behind the packet sockets of whoever listens; as XDP it would make a veth copy
//! each skb with little headroom, which is what packet sockets send, and favour those that send by XDP.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Mutex, PoisonError};

use super::program::{classic_sink, sink};
use super::{Doing as _, LoadError, Traffic, netlink};
use crate::io::bpf::{Kind, Link, Map, Program};
use crate::io::netlink::Hook;
use crate::io::sys::bpf::attach_filter;
use crate::io::sys::{bind_packet, packet_socket};
use crate::lab::netns::{Netns, packets_seen, set_option};

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Counts and drops what a device receives of the generator's traffic, as long as this is held.
#[derive(Debug)]
pub struct Sink {
    way: Way,
}

#[derive(Debug)]
enum Way {
    Program { counts: Map, _link: Hung },
    Socket { socket: OwnedFd, seen: Mutex<u64>, size: u64, _drop: Hung },
}

impl Sink {
    /// Takes what arrives at a device, by eBPF where that is allowed.
    pub fn open(space: &Netns, device: &str, traffic: &Traffic) -> Result<Self, LoadError> {
        match Self::by_program(space, device, traffic) {
            Err(LoadError::Bpf(e)) if e.is_permission() => Self::by_socket(space, device, traffic),
            result => result,
        }
    }

    /// The same by a packet socket that counts and classic BPF that drops, which a user namespace may too.
    pub fn by_socket(space: &Netns, device: &str, traffic: &Traffic) -> Result<Self, LoadError> {
        let ipv6 = traffic.destination().is_ipv6();
        let index = netlink(space, |n| n.link_index(device))?;
        // No classic program of a dozen instructions is too long to be put together.
        let assembled = |ours, others| {
            classic_sink(ipv6, ours, others).map_err(std::io::Error::other).doing(|| "assembling".into())
        };
        // One byte is kept of a frame, and of most not even that: the buffer is full soon, and counting goes on.
        let filter: Vec<_> = assembled(1, 0)?.into_iter().map(|op| op.filter()).collect();
        let socket = space
            .run(|| {
                let socket = packet_socket()?;
                attach_filter(socket.as_fd(), &filter)?;
                set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &1i32.to_ne_bytes())?;
                bind_packet(socket.as_fd(), index, true)?;
                Ok(socket)
            })
            .doing(|| format!("{}: opening a packet socket", space.name()))?;
        let drop = assembled(TC_ACT_SHOT, TC_ACT_UNSPEC)?;
        netlink(space, |n| {
            n.tc_clsact_add(index)?;
            n.tc_classic_bpf(index, Hook::Ingress, PRIORITY, HANDLE, &drop)
        })?;
        let hung = Hung::Filter(space.clone(), index);
        let size = traffic.frame_size() as u64;
        Ok(Sink { way: Way::Socket { socket, seen: Mutex::new(0), size, _drop: hung } })
    }

    fn by_program(space: &Netns, device: &str, traffic: &Traffic) -> Result<Self, LoadError> {
        let counts = Map::per_cpu_array(16, 1)?;
        let asm = sink(traffic.destination().is_ipv6(), &counts);
        let program = Program::load(Kind::SchedCls, "sink", &asm)?;
        let index = netlink(space, |n| n.link_index(device))?;
        let hung = match space.run(|| program.attach_ingress(index)) {
            Ok(link) => Hung::Link { _link: link },
            // Linux before 6.6 has no such links.
            Err(e) if matches!(e.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
                netlink(space, |n| {
                    n.tc_clsact_add(index)?;
                    n.tc_ebpf(index, Hook::Ingress, PRIORITY, HANDLE, &program)
                })?;
                Hung::Filter(space.clone(), index)
            }
            Err(e) => return Err(e.into()),
        };
        Ok(Sink { way: Way::Program { counts, _link: hung } })
    }

    /// How it counts, for reports.
    pub fn method(&self) -> &'static str {
        match self.way {
            Way::Program { .. } => "eBPF at tc ingress",
            Way::Socket { .. } => "packet socket's statistics, classic BPF at tc ingress",
        }
    }

    /// What arrived so far.
    pub fn counts(&self) -> Result<Counts, LoadError> {
        match &self.way {
            Way::Program { counts, .. } => {
                let words = counts.words(0)?;
                Ok(Counts { packets: words[0], bytes: words[1] })
            }
            Way::Socket { socket, seen, size, .. } => {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                *seen += u64::from(packets_seen(socket).doing(|| "counting frames".into())?);
                Ok(Counts { packets: *seen, bytes: *seen * size })
            }
        }
    }

    /// How many frames arrived so far.
    pub fn packets(&self) -> Result<u64, LoadError> {
        self.counts().map(|c| c.packets)
    }
}

/// What hangs at a device and is to be taken off.
#[derive(Debug)]
enum Hung {
    Link { _link: Link },
    Filter(Netns, u32),
}

impl Drop for Hung {
    fn drop(&mut self) {
        if let Hung::Filter(space, index) = self {
            // If the device is gone, so is the filter.
            let _ = netlink(space, |n| n.tc_filter_del(*index, Hook::Ingress, "bpf", PRIORITY, HANDLE));
        }
    }
}

/// Where our filter stands among others.
const PRIORITY: u16 = 1;
/// And its handle.
const HANDLE: u32 = 0x5e;
// linux/pkt_cls.h: dropped; the next filter is asked.
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_UNSPEC: u32 = u32::MAX;
