//! Route netlink, spoken synchronously: one request, its answers, its acknowledgement.
//!
//! Enough of it to make and inspect links, addresses, routes and tc filters, without a runtime and
//! without a tool installed. A socket belongs to the network namespace of the thread that opened it,
//! for good. Knows nothing of ports.
//!
//! ```text
//!  request   ├ nlmsghdr ┼ ifinfomsg / ifaddrmsg / rtmsg / ndmsg / tcmsg ┼ attributes … ┤
//!  answer    the same, none or several, then ├ nlmsghdr ┼ error: 0 ┤ or ├ nlmsghdr ┼ done ┤
//! ```

mod links;
mod tc;

pub use links::{Device, Refusal, Veth};
pub use tc::{Filter, Hook};

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// A route netlink socket.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket failed.
    #[error("netlink: {0}")]
    Socket(#[from] io::Error),
    /// The kernel said no.
    #[error("can't {what}: {}{}", io::Error::from_raw_os_error(*errno), remark(message))]
    Refused {
        /// What was asked for, as in "can't …".
        what: String,
        /// The error number.
        errno: i32,
        /// What the kernel had to say about it, if anything.
        message: Option<String>,
    },
    /// The answer makes no sense.
    #[error("can't {0}: the kernel's answer is not understood")]
    Malformed(String),
}

impl NetlinkError {
    /// The error number, where the kernel gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            NetlinkError::Socket(e) => e.raw_os_error(),
            NetlinkError::Refused { errno, .. } => Some(*errno),
            NetlinkError::Malformed(_) => None,
        }
    }

    /// Whether the thing spoken of is not there (ENODEV, ENOENT, ESRCH).
    pub fn is_missing(&self) -> bool {
        matches!(self.errno(), Some(libc::ENODEV | libc::ENOENT | libc::ESRCH))
    }

    /// Whether the thing to be made is there already.
    pub fn is_existing(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// Whether it takes a privilege that this process lacks.
    pub fn is_permission(&self) -> bool {
        matches!(self.errno(), Some(libc::EPERM | libc::EACCES))
    }
}

impl Netlink {
    /// A socket in the network namespace of this thread.
    pub fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Both are for better error texts only; kernels before 4.12 have neither.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        Ok(Netlink { socket, sequence: 0 })
    }

    /// Has something done. `what` completes the sentence "can't …".
    fn ask(&mut self, what: &str, message: RouteNetlinkMessage, flags: u16) -> Result<(), NetlinkError> {
        self.exchange(what, message, NLM_F_REQUEST | NLM_F_ACK | flags).map(drop)
    }

    /// Asks for one object or, with `NLM_F_DUMP`, for all: the payload of each answer.
    fn get(
        &mut self,
        what: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<Vec<u8>>, NetlinkError> {
        if flags & NLM_F_DUMP != NLM_F_DUMP {
            return Ok(self.exchange(what, message, NLM_F_REQUEST | NLM_F_ACK | flags)?.payloads);
        }
        // A table that changed while it was read is read again, a few times.
        let mut tries = 0;
        loop {
            let answer = self.exchange(what, message.clone(), NLM_F_REQUEST | flags)?;
            tries += 1;
            if !answer.interrupted || tries == DUMP_TRIES {
                return Ok(answer.payloads);
            }
        }
    }

    fn exchange(
        &mut self,
        what: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Answer, NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let malformed = || NetlinkError::Malformed(what.to_owned());
        let mut answer = Answer::default();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let message = NetlinkBuffer::new_checked(rest).map_err(|_| malformed())?;
                let length = (message.length() as usize).next_multiple_of(4).min(rest.len());
                rest = &rest[length..];
                if message.sequence_number() != self.sequence {
                    continue; // the tail of an exchange that was given up
                }
                answer.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                match message.message_type() {
                    NLMSG_ERROR | NLMSG_DONE => {
                        let code = message.payload().first_chunk().map_or(0, |c| i32::from_ne_bytes(*c));
                        if code == 0 || message.message_type() == NLMSG_DONE && code > 0 {
                            return Ok(answer);
                        }
                        return Err(NetlinkError::Refused {
                            what: what.to_owned(),
                            errno: code.saturating_neg(),
                            message: extended(message.payload()),
                        });
                    }
                    _ => answer.payloads.push(message.payload().to_vec()),
                }
            }
        }
    }
}

#[derive(Default)]
struct Answer {
    payloads: Vec<Vec<u8>>,
    /// The table changed while it was read.
    interrupted: bool,
}

/// The kernel's own words in an error answer: attribute 1 behind the error code and the header of
/// the request (`NETLINK_CAP_ACK` keeps the request's body out).
fn extended(payload: &[u8]) -> Option<String> {
    let attributes = payload.get(4 + 16..)?;
    let text = NlasIterator::new(attributes).flatten().find(|a| a.kind() == NLMSGERR_ATTR_MSG)?;
    let text = text.value().split(|b| *b == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn remark(message: &Option<String>) -> String {
    message.as_ref().map_or_else(String::new, |m| format!(" ({m})"))
}

/// How often a dump that was interrupted by a change is tried.
const DUMP_TRIES: u32 = 4;
/// `NLMSGERR_ATTR_MSG` of linux/netlink.h.
const NLMSGERR_ATTR_MSG: u16 = 1;
