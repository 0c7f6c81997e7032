//! The way into the kernel's PREROUTING: a tap device; and the router a program is told it runs in.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use sekisho::base::{Hook, LinkId, Mac};
use sekisho::filter::matches::AddrTypes;
use sekisho::filter::{Env, RuleRef};
use sekisho::io::netlink::Netlink;
use sekisho::io::{DeviceSpec, Port, Sent, open};
use sekisho::link::{Driver, Link, LinkKind, Links};
use sekisho::packet::{FlowView, Packet, Pool, Steering};

/// A tap of which this process is the far end.
pub(crate) struct Gate {
    port: Box<dyn Port>,
    mac: Mac,
    pool: Pool,
    line: VecDeque<Packet>,
}

impl Gate {
    /// Makes it. The calling process must be in a namespace of its own.
    pub(crate) fn new() -> Self {
        // Nothing but what is sent here shall come to PREROUTING: no addresses, and no words about them.
        for (key, value) in [("addr_gen_mode", "1"), ("accept_dad", "0"), ("router_solicitations", "0")] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/default/{key}"), value)
                .expect("a sysctl of our own");
        }
        let spec = DeviceSpec {
            kind: LinkKind::Tap,
            name: "eth0".into(),
            device: "eth0".into(),
            mac: None,
            mtu: 1500,
            queues: 1,
            steering: Steering::default(),
            offload: false,
            driver: Driver::Auto,
            persist: false,
            owner: None,
            group: None,
        };
        let port = open(&spec, 1).expect("a tap").remove(0);
        let mut netlink = Netlink::open().expect("netlink");
        // With an address, even this one, there is a table of addresses: without it all would be broadcast.
        let lo = netlink.link_index("lo").expect("lo");
        netlink.set_up(lo).expect("lo is ours");
        let mac = netlink.link("eth0").expect("the tap").mac;
        Gate { port, mac: mac.expect("a tap has a MAC"), pool: Pool::new(64), line: VecDeque::new() }
    }

    /// The MAC of its end in the kernel.
    pub(crate) fn mac(&self) -> Mac {
        self.mac
    }

    /// Sends a frame into the kernel.
    pub(crate) fn send(&mut self, packet: &Packet) {
        // What the kernel has to say is not asked for, but would fill the queue.
        let mut heard = Vec::new();
        self.port.receive(&mut self.pool, &mut heard, 64);
        self.line.push_back(Packet::from_slice(packet.data()));
        let mut sent = Sent::default();
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.line.is_empty() {
            self.port.transmit(&mut self.pool, &mut self.line, &mut sent);
            assert!(Instant::now() < deadline, "the tap takes nothing");
        }
        assert_eq!((sent.packets, sent.refused), (1, [0, 0]));
    }

    /// What the kernel says once it says what is expected, or when there is no hope any more that it will.
    pub(crate) fn settled(
        &self,
        mut says: impl FnMut() -> String,
        expected: impl Fn(&str) -> bool,
    ) -> String {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let said = says();
            if expected(&said) || Instant::now() > deadline {
                return said;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// lo and eth0.
pub(crate) fn links() -> Links {
    Links::new([Link::new("eth0", LinkKind::Tap)])
}

/// PREROUTING of a router without addresses, at one moment.
#[derive(Debug)]
pub(crate) struct World;

impl Env for World {
    fn now(&self) -> sekisho::base::Instant {
        sekisho::base::Instant::from_secs(1)
    }
    fn lane(&self) -> usize {
        0
    }
    fn hook(&self) -> Hook {
        Hook::Prerouting
    }
    fn in_link(&self) -> Option<LinkId> {
        Some(LinkId(1))
    }
    fn out_link(&self) -> Option<LinkId> {
        None
    }
    fn flow(&mut self, _: &Packet) -> Option<FlowView> {
        None
    }
    fn set_flow_mark(&mut self, _: &Packet, _: u32) {}
    fn addr_type(&mut self, addr: IpAddr, _: Option<LinkId>) -> AddrTypes {
        match addr {
            // Without a route, an IPv6 address is unreachable.
            IpAddr::V6(_) => AddrTypes::UNREACHABLE,
            IpAddr::V4(a) if a.is_multicast() => AddrTypes::MULTICAST,
            IpAddr::V4(a) if a.is_broadcast() => AddrTypes::BROADCAST,
            IpAddr::V4(_) => AddrTypes::UNICAST,
        }
    }
    fn random(&mut self) -> u32 {
        0
    }
    fn path_mtu(&mut self, _: &Packet) -> Option<u32> {
        None
    }
    fn log(&mut self, _: u8, _: &str) {}
    fn link_name(&self, _: LinkId) -> &str {
        "eth0"
    }
    fn matched(&mut self, _: &Packet, _: RuleRef<'_>) {}

    fn decided(&mut self, _: &Packet, _: RuleRef<'_>, _: &str) {}
}
