//! What the kernel knows of one flow, asked by ctnetlink (linux/netfilter/nfnetlink_conntrack.h).

use std::net::IpAddr;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use sekisho::packet::Tuple;
use sekisho::wire::proto;

use crate::ours::Entry;

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

    /// The flow that has the tuple, in either direction.
    pub(crate) fn get(&mut self, tuple: &Tuple) -> Option<Entry> {
        let answer = self.ask(CT_GET, REQUEST, tuple);
        (kind(&answer) == CT_NEW).then(|| read(&answer[20..], tuple))
    }

    /// Forgets it.
    pub(crate) fn delete(&mut self, tuple: &Tuple) {
        self.ask(CT_DELETE, REQUEST | ACK, tuple);
    }

    fn ask(&mut self, kind: u16, flags: u16, tuple: &Tuple) -> Vec<u8> {
        // Version 0.
        let generic = [if tuple.v6 { libc::AF_INET6 } else { libc::AF_INET } as u8, 0, 0, 0];
        let body = [&generic[..], &attr(NESTED | TUPLE_ORIG, &tuple_attrs(tuple))].concat();
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
            assert!([0, libc::ENOENT].contains(&errno), "ctnetlink: error {errno} for {tuple:?}");
        } else {
            assert_eq!(self::kind(&answer), CT_NEW);
        }
        answer
    }
}

fn tuple_attrs(t: &Tuple) -> Vec<u8> {
    let octets = |addr| match addr {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let (src, dst) = if t.v6 { (3, 4) } else { (1, 2) };
    let addresses = [attr(src, &octets(t.src())), attr(dst, &octets(t.dst()))].concat();
    let [src, dst] = [t.src_port, t.dst_port].map(u16::to_be_bytes);
    let numbers = match t.proto {
        proto::ICMP => [attr(4, &src), attr(5, &[dst[0]]), attr(6, &[dst[1]])].concat(),
        proto::ICMPV6 => [attr(7, &src), attr(8, &[dst[0]]), attr(9, &[dst[1]])].concat(),
        _ => [attr(2, &src), attr(3, &dst)].concat(),
    };
    let upper = [attr(1, &[t.proto]), numbers].concat();
    [attr(NESTED | 1, &addresses), attr(NESTED | 2, &upper)].concat()
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

fn read(attrs: &[u8], t: &Tuple) -> Entry {
    let status = number(find(attrs, &[STATUS]).unwrap());
    let phase = match t.proto {
        proto::TCP => find(attrs, &[PROTOINFO, 1, 1]),
        proto::SCTP => find(attrs, &[PROTOINFO, 3, 1]),
        _ => None,
    };
    // Addresses alone would do: both hosts have one each.
    let src = find(attrs, &[TUPLE_ORIG, 1, if t.v6 { 3 } else { 1 }]).unwrap();
    Entry {
        original: t.src[..src.len()] == *src,
        phase: phase.map(|p| p[0]),
        seen_reply: status & 2 != 0,
        assured: status & 4 != 0,
        left: number(find(attrs, &[TIMEOUT]).unwrap()),
    }
}

fn number(value: &[u8]) -> u32 {
    u32::from_be_bytes(value.try_into().unwrap())
}

/// The value of an attribute, down a path.
fn find<'a>(mut attrs: &'a [u8], path: &[u16]) -> Option<&'a [u8]> {
    for wanted in path {
        let mut rest = attrs;
        attrs = loop {
            let len = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
            let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & !NESTED;
            if kind == *wanted {
                break &rest[4..len];
            }
            rest = rest.get(len.next_multiple_of(4)..)?;
        };
    }
    Some(attrs)
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
