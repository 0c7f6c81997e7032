//! Client, router and server, each in a namespace, the same for every rival.
//!
//! ```text
//!   client ┌──────┐ eth0            lan ┌────────┐ wan            eth0 ┌──────┐ server
//!          │      ├────────veth─────────┤ rival  ├─────────veth────────┤      │
//!          └──────┘ 10.1.0.2    10.1.0.1└────────┘203.0.113.1 203.0.113.2──────┘
//! ```
//!
//! Neighbors are static everywhere, so that nobody waits for ARP. A user-mode stack has the client's traffic from a tap
//! device that it makes there itself: then the client has no wire. Knows nothing of the rivals.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};

use super::Trouble;
use super::metric::Setup;
use super::ruleset::{self, GATEWAYS};
use crate::base::Mac;
use crate::lab::load::set_napi;
use crate::lab::{End, Netns, Plan, Topology, Workplace};

/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// The router's address on the client's side.
pub const LAN: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The router's address on the server's side, behind which the client is hidden.
pub const WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The server's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The length of both networks' prefixes.
pub const LENGTH: u8 = 24;
/// Where the client sends from, also from other addresses than its own: the generator's sources.
pub const SOURCES: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 1, 0, 0), 24);

/// The MACs of the hosts.
pub const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 1, 2]);
/// The same of the server.
pub const SERVER_MAC: Mac = Mac([2, 0, 0, 0, 2, 2]);
/// The MACs that the hosts know the router by.
pub const LAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
/// The same on the server's side.
pub const WAN_MAC: Mac = Mac([2, 0, 0, 0, 2, 1]);

/// Who has the router's devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The kernel of the router's namespace: addresses, routes, forwarding.
    Kernel,
    /// A program that takes them over: the kernel there has no addresses, and other MACs than the router's, so that it
    /// drops at once whatever it gets to see.
    Program,
    /// A user-mode stack that is a host in the router's namespace, and serves the client's over a tap device of its own.
    Host,
}

/// Namespaces, wires and a directory. All of it goes when this is dropped.
#[derive(Debug)]
pub struct Testbed {
    lab: Topology,
    place: Workplace,
    setup: Setup,
    layout: Layout,
}

impl Testbed {
    /// One with so many queues on the router's devices. With `napi` the one on the client's side receives by NAPI, which
    /// frames of the generator's need and which no device has by itself.
    pub fn new(setup: Setup, layout: Layout, queues: u32, napi: bool) -> Result<Self, Trouble> {
        let place = Workplace::new().map_err(Trouble::of)?;
        let lab = plan(setup, layout, queues).build().map_err(Trouble::of)?;
        let bed = Testbed { lab, place, setup, layout };
        bed.quieten();
        if napi {
            set_napi(bed.router(), "lan", true).map_err(Trouble::of)?;
        }
        Ok(bed)
    }

    /// The client's namespace.
    pub fn client(&self) -> &Netns {
        &self.lab["client"]
    }

    /// The namespace in which the rival runs.
    pub fn router(&self) -> &Netns {
        &self.lab["router"]
    }

    /// The server's namespace.
    pub fn server(&self) -> &Netns {
        &self.lab["server"]
    }

    /// The wires and namespaces.
    pub fn lab(&self) -> &Topology {
        &self.lab
    }

    /// The directory for configuration files and sockets.
    pub fn place(&self) -> &Workplace {
        &self.place
    }

    /// What it was made for.
    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// Who has the router's devices.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Sends datagrams from the client until the server's answer comes back: the way is open in both directions.
    pub fn wait_until_it_forwards(&self, within: Duration) -> Result<(), Trouble> {
        let deadline = Instant::now() + within;
        let server = self.server().run(|| UdpSocket::bind((SERVER, ECHO))).map_err(Trouble::of)?;
        server.set_read_timeout(Some(KNOCK)).map_err(Trouble::of)?;
        let done = AtomicBool::new(false);
        thread::scope(|s| {
            s.spawn(|| {
                let mut buffer = [0; 64];
                while !done.load(Relaxed) {
                    // A timeout is a look at whether it is over; what can't be answered is sent again.
                    if let Ok((n, from)) = server.recv_from(&mut buffer) {
                        let _ = server.send_to(&buffer[..n], from);
                    }
                }
            });
            let came = self.client().run(|| knock(deadline));
            done.store(true, Relaxed);
            match came {
                Ok(true) => Ok(()),
                Ok(false) => {
                    Err(Trouble(format!("passes no packets within {:.0} s", within.as_secs_f64().max(1.0))))
                }
                Err(e) => Err(Trouble(format!("the client can't send to the server: {e}"))),
            }
        })
    }

    /// No IPv6 on wires that carry IPv4 only: its own packets are noise. Where /proc can't be written they stay.
    fn quieten(&self) {
        for space in [self.client(), self.router(), self.server()] {
            space.run(|| {
                let _ = fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
            });
        }
    }
}

/// The port of the answering server (RFC 862).
const ECHO: u16 = 7;
/// How long to wait for an answer before the next datagram.
const KNOCK: Duration = Duration::from_millis(10);

/// Sends until something comes back.
fn knock(deadline: Instant) -> io::Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(KNOCK))?;
    let mut buffer = [0; 64];
    while Instant::now() < deadline {
        // No route yet, or an ICMP error: a user-mode stack may still be making its device.
        if socket.send_to(b"open?", SocketAddr::from((SERVER, ECHO))).is_err() {
            thread::sleep(KNOCK);
        } else if socket.recv_from(&mut buffer).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn plan(setup: Setup, layout: Layout, queues: u32) -> Plan {
    let net = |address: Ipv4Addr| IpNet::V4(Ipv4Net::new_assert(address, LENGTH));
    let default = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));
    let program = layout == Layout::Program;
    let device = |name, mac: Mac, address| {
        let end = End::new("router", name).queues(queues).offload(true);
        // A program has the MAC; the device gets another one.
        let Mac([a, b, c, _, e, f]) = mac;
        let end = end.mac(if program { Mac([a, b, c, 1, e, f]) } else { mac });
        if program { end } else { end.address(net(address)) }
    };
    let server = End::new("server", "eth0").mac(SERVER_MAC).address(net(SERVER)).offload(setup.offload);
    let mut plan = Plan::new().space("client").space("router").space("server");
    plan = plan.wire(device("wan", WAN_MAC, WAN), server.queues(queues));
    plan = plan.neighbor("server", "eth0", IpAddr::V4(WAN), WAN_MAC);
    // Untranslated packets have a way back, too.
    plan = plan.route("server", net(Ipv4Addr::new(10, 1, 0, 0)), IpAddr::V4(WAN));
    if layout != Layout::Host {
        let client = End::new("client", "eth0").mac(CLIENT_MAC).address(net(CLIENT)).offload(setup.offload);
        plan = plan.wire(client.queues(queues), device("lan", LAN_MAC, LAN));
        plan = plan.neighbor("client", "eth0", IpAddr::V4(LAN), LAN_MAC);
        plan = plan.route("client", default, IpAddr::V4(LAN));
    }
    if layout == Layout::Kernel {
        plan = plan.sysctl("router", "net/ipv4/ip_forward", "1");
        for (ip, mac) in neighbors_of_lan() {
            plan = plan.neighbor("router", "lan", ip, mac);
        }
    }
    if !program {
        for (ip, mac) in neighbors_of_wan() {
            plan = plan.neighbor("router", "wan", ip, mac);
        }
    }
    if layout == Layout::Host {
        // User-mode stacks look for the interface of the default route.
        plan = plan.route("router", default, IpAddr::V4(SERVER));
    }
    plan
}

/// Every address that traffic comes from: the client's network is all the client.
pub fn neighbors_of_lan() -> impl Iterator<Item = (IpAddr, Mac)> {
    std::iter::once((IpAddr::V4(CLIENT), CLIENT_MAC))
}

/// The server, which is also every next hop.
pub fn neighbors_of_wan() -> impl Iterator<Item = (IpAddr, Mac)> {
    let gateways = (0..GATEWAYS).map(ruleset::gateway);
    std::iter::once(SERVER).chain(gateways).map(|ip| (IpAddr::V4(ip), SERVER_MAC))
}
