//! TCP: the table of connections, and who may stay when it is full.
//!
//! ```text
//!          SYN to an open port                 last ACK                  FIN, all echoed
//!  (none) ────────────────────► half-open ───────────────► open ───────────────────────► (none)
//!                                 │  │                      │  │
//!                 63 s, or pushed out by another SYN        │  RST either way, 180 s silent,
//!                                                           │  900 s without a byte moved
//!                                                           └─ pushed out after 10 s without one
//! ```
//!
//! Each connection is an [`Interface`] and a [`SocketSet`] with one socket, so that a packet meets
//! no other; what smoltcp takes for a listener is a socket made for one SYN. The random number that
//! starts a connection's sequence numbers comes from a keyed hash of its ends and a count (RFC 6528),
//! not from a generator whose earlier numbers everybody has seen.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::wire::HardwareAddress;

use crate::base::{DropReason, Instant};
use crate::wire::tcp::{self, Tcp};

use super::device::{Line, Outgoing};
use super::frame::Ends;
use super::limits::{BUFFER, CONNECTIONS, HALF_OPEN, IDLE, KEEP_ALIVE, SILENT, SYN_RECEIVED, YIELD};
use super::{Service, Services, Took, clock, moment, span};

/// All TCP connections of the router.
pub(super) struct Connections {
    slots: Vec<Option<Connection>>,
    flows: HashMap<Flow, usize>,
    /// Sockets of half-open connections that were pushed out, with their untouched buffers.
    spare: Vec<Sockets>,
    /// The moment of the earliest thing to do; [`Instant::FAR_FUTURE`] if there is none.
    due: Instant,
    seed: u64,
    opened: u64,
}

/// The ends of a connection: ours, theirs.
type Flow = (SocketAddr, SocketAddr);

impl Connections {
    pub(super) fn new(seed: u64) -> Self {
        Connections {
            slots: (0..CONNECTIONS).map(|_| None).collect(),
            flows: HashMap::with_capacity(CONNECTIONS),
            spare: Vec::new(),
            due: Instant::FAR_FUTURE,
            seed,
            opened: 0,
        }
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// When there is something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (self.due != Instant::FAR_FUTURE).then_some(self.due)
    }

    /// Takes a segment, from its plain IP header on, with its checksum verified.
    pub(super) fn receive(
        &mut self,
        services: &Services,
        bytes: &[u8],
        ends: &Ends,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<Took, DropReason> {
        let tcp = bytes.get(ends.header_len()..).and_then(Tcp::new).ok_or(DropReason::L4TooShort)?;
        let flow = ends.flow((tcp.src_port(), tcp.dst_port()));
        let opens = tcp.flags() & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN;
        let mut at = self.flows.get(&flow).copied();
        // RFC 9293 §3.10.7.4: a new SYN may end the wait of the connection before.
        if let Some(slot) = at
            && opens
            && self.slots[slot].as_ref().is_some_and(|c| c.state() == State::TimeWait)
        {
            self.forget(slot);
            at = None;
        }
        let slot = match (at, services.at(flow.0.port())) {
            (Some(slot), _) => slot,
            (None, Some(service)) if opens => self.open(flow, service, now, out)?,
            (None, _) => {
                return Ok(refuse(&tcp, ends, out));
            }
        };
        if let Some(c) = &mut self.slots[slot] {
            c.take(bytes, now, out);
            if c.is_over() {
                self.forget(slot);
            } else {
                self.due = self.due.min(now);
            }
        }
        Ok(Took::Kept)
    }

    /// Does what is due.
    pub(super) fn poll(&mut self, now: Instant, out: &mut Outgoing) {
        if self.due > now {
            return;
        }
        let mut due = Instant::FAR_FUTURE;
        for slot in 0..self.slots.len() {
            let Some(c) = &mut self.slots[slot] else { continue };
            if c.due <= now {
                c.run(now, out);
            }
            match c.is_over() {
                true => self.forget(slot),
                false => due = due.min(c.due),
            }
        }
        self.due = due;
    }

    /// A slot with a listening socket for one SYN, making room by the rule of [`CONNECTIONS`].
    fn open(
        &mut self,
        flow: Flow,
        service: Service,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<usize, DropReason> {
        let half_open = self.all().filter(|(_, c)| c.is_half_open()).count();
        if half_open >= HALF_OPEN || self.len() >= CONNECTIONS {
            let (victim, gently) = self.victim(half_open, now).ok_or(DropReason::HostRefused)?;
            if let (false, Some(c)) = (gently, &mut self.slots[victim]) {
                c.abort(now, out);
            }
            self.forget(victim);
        }
        let slot = self.slots.iter().position(Option::is_none).ok_or(DropReason::HostRefused)?;
        self.opened += 1;
        let seed = keyed(self.seed, &(flow, self.opened));
        let sockets = self.spare.pop().unwrap_or_else(Sockets::new);
        self.slots[slot] = Some(Connection::new(flow, service, sockets, seed, now));
        self.flows.insert(flow, slot);
        Ok(slot)
    }

    /// Which connection gives way, and whether it can be forgotten without a word.
    fn victim(&self, half_open: usize, now: Instant) -> Option<(usize, bool)> {
        let oldest = |of: &dyn Fn(&Connection) -> bool| {
            self.all().filter(|(_, c)| of(c)).min_by_key(|(_, c)| c.moved).map(|(i, _)| i)
        };
        if half_open < HALF_OPEN
            && let Some(closing) = oldest(&|c| c.is_closing())
        {
            return Some((closing, false));
        }
        if let Some(half) = oldest(&Connection::is_half_open) {
            return Some((half, true));
        }
        oldest(&|c| now.since(c.moved) >= YIELD).map(|i| (i, false))
    }

    fn all(&self) -> impl Iterator<Item = (usize, &Connection)> {
        self.slots.iter().enumerate().filter_map(|(i, c)| Some((i, c.as_ref()?)))
    }

    fn forget(&mut self, slot: usize) {
        let Some(c) = self.slots[slot].take() else { return };
        self.flows.remove(&c.flow);
        if self.spare.len() < HALF_OPEN
            && let Some(sockets) = c.into_untouched()
        {
            self.spare.push(sockets);
        }
    }
}

/// Answers a segment of no connection as a closed port does (RFC 9293 §3.10.7.1). By hand: smoltcp acknowledges
/// nothing but a SYN.
fn refuse(segment: &Tcp<&[u8]>, ends: &Ends, out: &mut Outgoing) -> Took {
    let flags = segment.flags();
    if flags & tcp::RST != 0 {
        return Took::Kept;
    }
    let mut bytes = [0; tcp::HEADER_LEN];
    bytes[DATA_OFFSET_AT] = (tcp::HEADER_LEN as u8 / 4) << 4;
    let Some(mut reset) = Tcp::new(&mut bytes[..]) else { return Took::Kept };
    reset.set_src_port(segment.dst_port());
    reset.set_dst_port(segment.src_port());
    if flags & tcp::ACK != 0 {
        reset.set_seq(segment.ack());
        reset.set_flags(tcp::RST);
    } else {
        let controls = u32::from(flags & tcp::SYN != 0) + u32::from(flags & tcp::FIN != 0);
        let len = segment.payload().len() as u32 + controls;
        reset.set_ack(segment.seq().wrapping_add(len));
        reset.set_flags(tcp::RST | tcp::ACK);
    }
    out.segment_to(ends.back(), &bytes);
    Took::Reset
}

/// Where the header says how long it is.
const DATA_OFFSET_AT: usize = 12;

/// A set of exactly one socket.
struct Sockets {
    set: SocketSet<'static>,
    handle: SocketHandle,
}

impl Sockets {
    fn new() -> Self {
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(Socket::new(buffer(), buffer()));
        Sockets { set, handle }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.set.get_mut(self.handle)
    }
}

/// One connection.
struct Connection {
    flow: Flow,
    service: Service,
    interface: Interface,
    sockets: Sockets,
    /// When a byte last moved, or the state last changed.
    moved: Instant,
    /// What waited to be acknowledged, and the state, when it was last looked at.
    seen: (usize, State),
    /// Whether it has ever got beyond half-open: then its buffers may hold somebody's data.
    touched: bool,
    due: Instant,
}

impl Connection {
    fn new(flow: Flow, service: Service, mut sockets: Sockets, seed: u64, now: Instant) -> Self {
        let socket = sockets.socket();
        socket.abort();
        // Port 0 is the only one it can refuse, and that is no service's.
        let _ = socket.listen(flow.0);
        socket.set_congestion_control(CongestionControl::Cubic);
        socket.set_keep_alive(Some(span(KEEP_ALIVE)));
        socket.set_timeout(Some(span(SILENT)));
        // What is echoed has waited long enough.
        socket.set_nagle_enabled(false);
        Connection {
            flow,
            service,
            interface: interface(flow.0.is_ipv4(), seed, now),
            sockets,
            moved: now,
            seen: (0, State::Listen),
            touched: false,
            due: now,
        }
    }

    fn state(&self) -> State {
        self.socket().state()
    }

    fn socket(&self) -> &Socket<'static> {
        self.sockets.set.get(self.sockets.handle)
    }

    fn is_half_open(&self) -> bool {
        matches!(self.state(), State::Listen | State::SynReceived)
    }

    /// Whether it has only its last acknowledgments to wait for, and no data.
    fn is_closing(&self) -> bool {
        let socket = self.socket();
        match socket.state() {
            State::TimeWait => true,
            State::LastAck | State::Closing => socket.send_queue() == 0,
            _ => false,
        }
    }

    /// Whether there is nothing left to say. A socket that was reset while half-open listens again.
    fn is_over(&self) -> bool {
        let socket = self.socket();
        match socket.state() {
            State::Listen => true,
            State::Closed => socket.remote_endpoint().is_none(),
            _ => false,
        }
    }

    /// Takes a segment of this connection. What is to be said beyond an immediate answer waits for
    /// [`Connection::run`].
    fn take(&mut self, bytes: &[u8], now: Instant, out: &mut Outgoing) {
        let mut line = Line::new(Some(bytes), self.flow.0.is_ipv4(), out);
        let _: PollIngressSingleResult =
            self.interface.poll_ingress_single(clock(now), &mut line, &mut self.sockets.set);
        self.due = now;
    }

    /// Serves, sends, and looks when to come again.
    fn run(&mut self, now: Instant, out: &mut Outgoing) {
        let served = self.serve(out);
        self.look(served, now);
        let limit = if self.is_half_open() { SYN_RECEIVED } else { IDLE };
        if now >= self.moved + limit {
            self.sockets.socket().abort();
        }
        self.speak(now, out);
        let deadline = self.moved + limit;
        let asked = self.interface.poll_at(clock(now), &self.sockets.set);
        self.due = match asked.map(moment) {
            // All that could be said has been: what is due "now" can only be something it can't do yet.
            Some(at) if at <= now => now + RETRY,
            Some(at) => at.min(deadline),
            None => deadline,
        };
    }

    /// Lets the service have what has come. Gives the number of bytes that moved.
    fn serve(&mut self, out: &mut Outgoing) -> usize {
        let socket = self.sockets.socket();
        let mut moved = 0;
        while socket.can_recv() {
            let n = match self.service {
                Service::Discard => socket.recv(|bytes| (bytes.len(), bytes.len())).unwrap_or(0),
                Service::Echo => out.with_scratch(|scratch| echo(socket, scratch)),
            };
            if n == 0 {
                break;
            }
            moved += n;
        }
        if socket.state() == State::CloseWait && !socket.can_recv() {
            socket.close();
        }
        moved
    }

    /// Notes whether anything has moved since the last look.
    fn look(&mut self, served: usize, now: Instant) {
        let socket = self.sockets.socket();
        let seen = (socket.send_queue(), socket.state());
        if served > 0 || seen != self.seen {
            self.moved = now;
        }
        self.seen = seen;
        self.touched |= !matches!(seen.1, State::Listen | State::SynReceived);
    }

    fn speak(&mut self, now: Instant, out: &mut Outgoing) {
        let mut line = Line::new(None, self.flow.0.is_ipv4(), out);
        for _ in 0..BURST {
            let said = self.interface.poll_egress(clock(now), &mut line, &mut self.sockets.set);
            if said == PollResult::None {
                break;
            }
        }
    }

    /// Ends it with a reset.
    fn abort(&mut self, now: Instant, out: &mut Outgoing) {
        self.sockets.socket().abort();
        self.speak(now, out);
    }

    /// The sockets, if nobody's data was ever in their buffers.
    fn into_untouched(self) -> Option<Sockets> {
        (!self.touched && self.is_half_open()).then_some(self.sockets)
    }
}

/// Moves what fits from what was received to what is to be sent, through `scratch`.
fn echo(socket: &mut Socket<'_>, scratch: &mut Vec<u8>) -> usize {
    let room = socket.send_capacity() - socket.send_queue();
    if room == 0 || !socket.may_send() {
        return 0;
    }
    scratch.clear();
    let taken = socket.recv(|bytes| {
        let n = bytes.len().min(room);
        scratch.extend_from_slice(&bytes[..n]);
        (n, n)
    });
    match taken {
        Ok(n) if n > 0 => socket.send_slice(scratch).unwrap_or(0),
        _ => 0,
    }
}

/// An interface that takes any address for its own, and whose random numbers grow from `seed`.
fn interface(ipv4: bool, seed: u64, now: Instant) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(config, &mut Line::idle(ipv4), clock(now));
    interface.set_any_ip(true);
    interface
}

/// A hash that cannot be foretold without the key.
pub(super) fn keyed(key: u64, of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    of.hash(&mut hasher);
    hasher.finish()
}

/// Packets that one connection sends before the others have their turn: a full buffer in segments of 536 bytes.
const BURST: usize = BUFFER / 536;

/// How soon to try again what smoltcp calls due and does not do.
const RETRY: std::time::Duration = std::time::Duration::from_millis(1);
