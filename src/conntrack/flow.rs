//! One flow.

use crate::base::{Instant, LinkId};
use crate::packet::{Direction, FlowId, FlowView, Status, Tuple};

use super::config::{Settings, Timeout};
use super::{sctp, tcp};

/// One flow: what the table holds, and what a worker holds until the first packet has passed.
///
/// The tuple of each direction is that of its packets as they *come in*, so that the reply tuple is the
/// original one turned round, but for what NAT does:
///
/// ```text
/// original  10.1.0.2:4000 > 198.51.100.7:80        as the client sends it
/// reply     198.51.100.7:80 > 192.0.2.1:4000       as the server answers what SNAT made of it
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Both directions, original first.
    pub tuples: [Tuple; 2],
    /// What is true of it.
    pub status: Status,
    /// The connection's mark.
    pub mark: u32,
    /// Where its protocol stands.
    pub state: State,
    /// When it is forgotten if no packet comes.
    pub deadline: Instant,
    /// The link whose address MASQUERADE gave it.
    pub masquerade: Option<LinkId>,
}

/// Where a protocol stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// TCP.
    Tcp(tcp::State),
    /// SCTP.
    Sctp(sctp::State),
    /// UDP and UDP-Lite.
    Udp {
        /// From when on it counts as a stream, if it has been answered (2 s after its first packet).
        stream_from: Instant,
    },
    /// Everything else has only "answered or not", which the status says.
    Other,
}

impl Flow {
    /// The tuple of a direction.
    pub fn tuple(&self, dir: Direction) -> &Tuple {
        &self.tuples[dir as usize]
    }

    /// A reset has gone out in the name of one of its ends (`nf_conntrack_tcp_set_closing`).
    pub fn close(&mut self, now: Instant, settings: &Settings) {
        if let State::Tcp(tcp) = &mut self.state
            && tcp.close()
            && !self.status.has(Status::FIXED_TIMEOUT)
        {
            self.deadline = now + settings.timeout(Timeout::TcpClose);
        }
    }

    /// What rules may ask of it.
    pub fn view(&self, now: Instant) -> FlowView {
        let expires = match self.status.has(Status::CONFIRMED) {
            true => u32::try_from(self.deadline.since(now).as_secs()).unwrap_or(u32::MAX),
            false => 0,
        };
        FlowView { tuples: self.tuples, status: self.status, mark: self.mark, expires }
    }
}

/// The flow of the packet that walks, as its worker holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Current {
    /// Its place in the table; `None` while it is not there yet.
    pub id: Option<FlowId>,
    /// What the table holds, or will hold.
    pub flow: Flow,
}
