//! What the kernel knows of one flow, asked by ctnetlink (linux/netfilter/nfnetlink_conntrack.h).

use std::net::Ipv4Addr;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use sekisho::wire::proto;

/// The ports of the two hosts.
pub(crate) type Ports = [u16; 2];

/// A flow, as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Which host began.
    pub(crate) began: usize,
    /// The number of its phase.
    pub(crate) phase: u8,
    pub(crate) seen_reply: bool,
    pub(crate) assured: bool,
    /// Whole seconds that it lives.
    pub(crate) left: u32,
}

pub(crate) struct Ctnetlink {
    socket: Socket,
}

impl Ctnetlink {
    /// In the calling thread's namespace.
    pub(crate) fn open() -> Ctnetlink {
        let mut socket = Socket::new(NETLINK_NETFILTER).unwrap();
        socket.bind_auto().unwrap();
        socket.connect(&SocketAddr::new(0, 0)).unwrap();
        Ctnetlink { socket }
    }

    /// The flow between the hosts, whoever began.
    pub(crate) fn get(&mut self, protocol: u8, hosts: [Ipv4Addr; 2], ports: Ports) -> Option<Entry> {
        let answer = self.ask(CT_GET, REQUEST, protocol, hosts, ports);
        (kind(&answer) == CT_NEW).then(|| read(&answer[20..], protocol, hosts[0]))
    }

    /// Forgets it.
    pub(crate) fn delete(&mut self, protocol: u8, hosts: [Ipv4Addr; 2], ports: Ports) {
        self.ask(CT_DELETE, REQUEST | ACK, protocol, hosts, ports);
    }

    fn ask(&mut self, kind: u16, flags: u16, protocol: u8, hosts: [Ipv4Addr; 2], ports: Ports) -> Vec<u8> {
        let addresses = [attr(1, &hosts[0].octets()), attr(2, &hosts[1].octets())].concat();
        let numbers =
            [attr(1, &[protocol]), attr(2, &ports[0].to_be_bytes()), attr(3, &ports[1].to_be_bytes())];
        let tuple = [attr(NESTED | 1, &addresses), attr(NESTED | 2, &numbers.concat())].concat();
        /// AF_INET, version 0.
        const GENERIC: [u8; 4] = [2, 0, 0, 0];
        let body = [&GENERIC[..], &attr(NESTED | TUPLE_ORIG, &tuple)].concat();
        let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        self.socket.send(&message, 0).unwrap();
        let mut answer = Vec::with_capacity(4096);
        self.socket.recv(&mut answer, 0).unwrap();
        if self::kind(&answer) == ERROR {
            let errno = -i32::from_ne_bytes(answer[16..20].try_into().unwrap());
            assert!([0, libc::ENOENT].contains(&errno), "ctnetlink: error {errno}");
        } else {
            // An acknowledgment may follow; GET asks for none.
            assert_eq!(self::kind(&answer), CT_NEW);
        }
        answer
    }
}

fn kind(message: &[u8]) -> u16 {
    u16::from_ne_bytes(message[4..6].try_into().unwrap())
}

fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut b = (4 + value.len() as u16).to_ne_bytes().to_vec();
    b.extend(kind.to_ne_bytes());
    b.extend(value);
    b.resize(b.len().next_multiple_of(4), 0);
    b
}

fn read(attrs: &[u8], protocol: u8, first: Ipv4Addr) -> Entry {
    let status = number(find(attrs, &[STATUS]));
    let info: &[u16] = match protocol {
        proto::SCTP => &[PROTOINFO, 3, 1],
        _ => &[PROTOINFO, 1, 1],
    };
    let src = find(attrs, &[TUPLE_ORIG, 1, 1]);
    Entry {
        began: usize::from(src != first.octets()),
        phase: find(attrs, info)[0],
        seen_reply: status & 2 != 0,
        assured: status & 4 != 0,
        left: number(find(attrs, &[TIMEOUT])),
    }
}

fn number(value: &[u8]) -> u32 {
    u32::from_be_bytes(value.try_into().unwrap())
}

/// The value of an attribute, down a path.
fn find<'a>(mut attrs: &'a [u8], path: &[u16]) -> &'a [u8] {
    for wanted in path {
        let mut rest = attrs;
        attrs = loop {
            let len = usize::from(u16::from_ne_bytes(rest[..2].try_into().unwrap()));
            let kind = u16::from_ne_bytes(rest[2..4].try_into().unwrap()) & !NESTED;
            if kind == *wanted {
                break &rest[4..len];
            }
            rest = &rest[len.next_multiple_of(4)..];
        };
    }
    attrs
}

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const ERROR: u16 = 2;
const CT_NEW: u16 = 0x100;
const CT_GET: u16 = 0x101;
const CT_DELETE: u16 = 0x102;
const NESTED: u16 = 0x8000;
const TUPLE_ORIG: u16 = 1;
const STATUS: u16 = 3;
const PROTOINFO: u16 = 4;
const TIMEOUT: u16 = 7;
