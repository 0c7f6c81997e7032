//! What crosses the control socket: requests one way, responses the other, each a JSON text behind its length.
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  ├───────────────────────────────────────────────────────────────┤
//!  │                length of the text in bytes, big-endian        │
//!  ├───────────────────────────────────────────────────────────────┤
//!  │ {"version":1,"verb":"stats"}                                  │
//! ```
//!
//! A request is answered by any number of `part`s and then one `done` or `error`. Requests on one
//! connection are answered in order. Long answers come in parts so that neither end has to hold all of them.
//!
//! Knows nothing of sockets.

mod busiest;
mod explain;
mod flows;
mod ip;
mod rules;
mod trace;

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Change;

pub use busiest::Busiest;
pub use explain::{Answering, Explain, Explanation};
pub use flows::{EventName, FlowFilter, FlowForm, FlowKind, Flows, MOST_WAITING, Translated};
pub use ip::{Monitor, RouteGet, Watched};
pub use rules::{Rules, Zero};
pub use trace::{Capture, Captured, CapturedFrame, MAX_SNAPLEN, Told, Trace};

/// The version of this protocol, and the first. A router refuses requests of any other.
pub const VERSION: u16 = 1;

/// The longest request in bytes: a rule set for `iptables-restore` fits.
pub const MAX_REQUEST: usize = 16 << 20;

/// The longest single response in bytes. Answers that may be longer come in parts.
pub const MAX_RESPONSE: usize = 16 << 20;

/// Room for a message that is kept for the next one.
const KEPT: usize = 256 << 10;

/// The bytes of a length.
pub const LENGTH: usize = 4;

/// What is asked of a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The protocol's version that it is written in.
    pub version: u16,
    /// What is asked.
    #[serde(flatten)]
    pub verb: Verb,
}

impl Request {
    /// A request in today's version.
    pub fn new(verb: Verb) -> Self {
        Request { version: VERSION, verb }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// One sentence for whoever asked.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u16,
        }
        let ours = |e: serde_json::Error| format!("the router can't make sense of the request: {e}");
        let Versioned { version } = serde_json::from_slice(text).map_err(ours)?;
        if !(1..=VERSION).contains(&version) {
            return Err(format!(
                "the router speaks version {VERSION} of the control protocol and was asked in version {version}: \
                 use the sekisho it was started with"
            ));
        }
        serde_json::from_slice(text).map_err(ours)
    }
}

/// The things that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "verb", rename_all = "kebab-case")]
pub enum Verb {
    /// Who are you: answered with a [`Hello`](super::view::Hello).
    Hello,
    /// All counters: answered with [`Stats`](super::view::Stats).
    Stats,
    /// Whose packets come in, sampled: followed live, with lists of [`BusiestFlows`](super::view::BusiestFlows).
    Busiest(Busiest),
    /// `ip … show`: answered with a list of the views of its object, in parts.
    Ip(Show),
    /// `ip route get`: answered with a [`Route`](super::view::Route).
    RouteGet(RouteGet),
    /// `ip monitor`: followed live, in lists of [`Event`](super::view::Event)s.
    Monitor(Monitor),
    /// `conntrack …`: what each form of it is answered with, it says.
    Conntrack(Flows),
    /// What would become of a packet: answered with an [`Explanation`].
    Explain(Explain),
    /// The rules in force, which may begin to count anew: answered in parts, with lists of lines.
    Rules(Rules),
    /// One change of what the router is set up to be: answered when it is in force, with [`Applied`](super::view::Applied).
    Change(Change),
    /// Takes a file in whole, answered when it is in force, with [`Applied`](super::view::Applied).
    Reload(Reload),
    /// Keeps what [`Reload::confirm`] would have rolled back: answered with `null`.
    Confirm,
    /// Puts in force again what was so many transactions ago: answered with [`Applied`](super::view::Applied).
    Rollback {
        /// How many, 1 or more.
        steps: usize,
    },
    /// What [`Verb::Reload`] would change: answered in parts, with lists of [`Difference`](super::view::Difference)s.
    Diff {
        /// The file; absent: the one the router was started with.
        file: Option<PathBuf>,
        /// With the live flows that would be treated differently.
        #[serde(default)]
        flows: bool,
    },
    /// The live state as a file that would recreate it: answered in parts, with lists of lines.
    Config,
    /// Packets on their way: followed live, with lists of [`Told`].
    Trace(Trace),
    /// Packets' bytes: followed live, with lists of [`Captured`].
    Capture(Capture),
}

impl Verb {
    /// Whether whoever asks waits in line with all others that change the router, or look at what changes it.
    pub fn is_transaction(&self) -> bool {
        use Verb::{Change, Config, Confirm, Diff, Reload, Rollback};
        matches!(
            self,
            Change(_)
                | Reload(_)
                | Confirm
                | Rollback { .. }
                | Diff { .. }
                | Config
                | Verb::Rules(Rules { zero: Some(_), .. })
        )
    }
}

/// `reload`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// The file, by a path that begins at the root; absent: the one the router was started with.
    pub file: Option<PathBuf>,
    /// Seconds within which [`Verb::Confirm`] must come, or all is as it was before.
    pub confirm: Option<u64>,
}

/// What of `ip … show` is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "object", rename_all = "kebab-case")]
pub enum Show {
    /// Links with their counters.
    Link(LinkFilter),
    /// Links with their counters and addresses.
    Addr(LinkFilter),
    /// Routes.
    Route(RouteFilter),
    /// Neighbors.
    Neigh(NeighborFilter),
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

impl Family {
    /// The family of a prefix.
    pub fn of(net: &IpNet) -> Self {
        if net.addr().is_ipv4() { Family::Inet } else { Family::Inet6 }
    }
}

/// Which links and addresses. What is absent is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkFilter {
    /// The link's name.
    pub dev: Option<String>,
    /// Only those that are set up, with a carrier or without.
    pub up: bool,
    /// Only addresses of this family.
    pub family: Option<Family>,
    /// Only addresses of this scope: `host`, `link` or `global`.
    pub scope: Option<String>,
    /// Only addresses within this prefix.
    pub to: Option<IpNet>,
}

/// Which routes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteFilter {
    /// Only this family's.
    pub family: Option<Family>,
    /// The table.
    pub table: Table,
    /// Those with one way out, by this link.
    pub dev: Option<String>,
    /// Those with one way out, by this gateway.
    pub via: Option<std::net::IpAddr>,
    /// Those made by this protocol, by its name.
    pub protocol: Option<String>,
    /// Those of this scope.
    pub scope: Option<String>,
    /// Those of this type.
    pub kind: Option<String>,
    /// Those with this metric.
    pub metric: Option<u32>,
    /// Those whose destination stands so to this prefix.
    pub prefix: Option<(Relation, IpNet)>,
}

/// A routing table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// What `ip route show` shows.
    #[default]
    Main,
    /// The router's own addresses.
    Local,
    /// Both.
    All,
}

/// How a route's destination stands to a prefix (ip-route(8), `show`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// It is the prefix.
    Exact,
    /// It is within the prefix.
    Root,
    /// It covers the prefix.
    Match,
}

impl Relation {
    /// Whether `dst` stands so to `prefix`.
    pub fn holds(self, dst: &IpNet, prefix: &IpNet) -> bool {
        match self {
            Relation::Exact => dst == prefix,
            Relation::Root => prefix.contains(dst),
            Relation::Match => dst.contains(prefix),
        }
    }
}

/// Which neighbors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NeighborFilter {
    /// Only this family's.
    pub family: Option<Family>,
    /// Those on this link.
    pub dev: Option<String>,
    /// Those within this prefix.
    pub to: Option<IpNet>,
    /// Those in one of these states; empty: in any.
    pub states: Vec<String>,
}

/// What a router says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Response {
    /// A part of the answer; more follows. Of what is followed live, an empty list now and then says that it goes on.
    Part {
        /// The part; of a list, a list.
        value: Value,
    },
    /// The answer, or the end of one that came in parts (then `null`).
    Done {
        /// The answer.
        value: Value,
    },
    /// There is no answer.
    Error {
        /// Why, in one sentence that says what to do.
        error: String,
        /// Which of the kernel's errors it would have been, by its name in errno(3) (`EEXIST`), where there is one: verbs
        /// that speak for kernel tools make their exit codes and first words of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        errno: Option<String>,
    },
}

/// A message as it goes over the socket. `None` if it is too long to go at all.
pub fn encode(message: &impl Serialize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; LENGTH];
    serde_json::to_writer(&mut bytes, message).ok()?;
    let len = u32::try_from(bytes.len() - LENGTH).ok().filter(|n| *n as usize <= MAX_RESPONSE)?;
    bytes[..LENGTH].copy_from_slice(&len.to_be_bytes());
    Some(bytes)
}

/// Empties a buffer of messages, which keeps room for usual ones only.
pub fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT);
}

/// Puts messages together from what a socket gives.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// How much of the buffer has been given out.
    start: usize,
    limit: usize,
}

/// A message is announced that is longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes is longer than the {1} that are allowed")]
pub struct TooLong(pub usize, pub usize);

impl Decoder {
    /// A decoder for messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Decoder { buffer: Vec::new(), start: 0, limit }
    }

    /// Gives back what a long message took, once it has gone: whoever sent it may never say anything again.
    pub fn shrink(&mut self) {
        if self.buffer.capacity() > KEPT && self.len() < KEPT / 2 {
            self.buffer = self.buffer.split_off(self.start);
            self.start = 0;
        }
    }

    /// Takes bytes in. They need not end where a message does.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start.min(self.buffer.len()));
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }

    /// The next whole message, if there is one.
    ///
    /// # Errors
    /// The message is too long; nothing after it can be made sense of.
    pub fn message(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let waiting = &self.buffer[self.start..];
        let Some(length) = waiting.first_chunk::<LENGTH>() else { return Ok(None) };
        let len = u32::from_be_bytes(*length) as usize;
        if len > self.limit {
            return Err(TooLong(len, self.limit));
        }
        let Some(message) = waiting.get(LENGTH..LENGTH + len) else { return Ok(None) };
        self.start += LENGTH + len;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_plain_to_read() {
        let text = |verb| serde_json::to_string(&Request::new(verb)).unwrap();
        assert_eq!(text(Verb::Stats), r#"{"version":1,"verb":"stats"}"#);
        let filter = NeighborFilter { dev: Some("lan".into()), ..NeighborFilter::default() };
        assert_eq!(
            text(Verb::Ip(Show::Neigh(filter))),
            r#"{"version":1,"verb":"ip","object":"neigh","family":null,"dev":"lan","to":null,"states":[]}"#
        );
        let parsed = Request::parse(br#"{"version":1,"verb":"ip","object":"route","table":"all"}"#).unwrap();
        let filter = RouteFilter { table: Table::All, ..RouteFilter::default() };
        assert_eq!(parsed.verb, Verb::Ip(Show::Route(filter)));
    }

    #[test]
    fn every_request_reads_back() {
        let prefix = "10.0.0.0/8".parse().unwrap();
        let all = [
            Verb::Hello,
            Verb::Stats,
            Verb::Ip(Show::Link(LinkFilter { up: true, ..LinkFilter::default() })),
            Verb::Ip(Show::Addr(LinkFilter {
                to: Some(prefix),
                family: Some(Family::Inet),
                ..LinkFilter::default()
            })),
            Verb::Ip(Show::Route(RouteFilter {
                prefix: Some((Relation::Match, prefix)),
                via: Some("fe80::1".parse().unwrap()),
                table: Table::Local,
                ..RouteFilter::default()
            })),
        ];
        for verb in all {
            let request = Request::new(verb);
            assert_eq!(Request::parse(&serde_json::to_vec(&request).unwrap()), Ok(request));
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let said = |text: &str| Request::parse(text.as_bytes()).unwrap_err();
        assert!(said("{}").contains("missing field `version`"));
        assert!(said(r#"{"version":1,"verb":"dance"}"#).contains("dance"));
        for other in [0, 2, 999] {
            let asked = said(&format!(r#"{{"version":{other},"verb":"hello"}}"#));
            assert!(
                asked
                    .contains(&format!("version 1 of the control protocol and was asked in version {other}"))
            );
        }
        assert!(said("nonsense").contains("can't make sense"));
    }

    #[test]
    fn relations_are_those_of_ip_route() {
        let net = |s: &str| s.parse::<IpNet>().unwrap();
        let (wide, narrow) = (net("10.0.0.0/8"), net("10.1.0.0/16"));
        assert!(Relation::Root.holds(&narrow, &wide) && !Relation::Root.holds(&wide, &narrow));
        assert!(Relation::Match.holds(&wide, &narrow) && !Relation::Match.holds(&narrow, &wide));
        assert!(Relation::Exact.holds(&wide, &wide) && !Relation::Exact.holds(&wide, &narrow));
    }

    #[test]
    fn a_long_message_takes_no_room_when_it_has_gone() {
        let mut d = Decoder::new(MAX_REQUEST);
        let long = encode(&"x".repeat(4 * KEPT)).unwrap();
        // With the beginning of the next behind it.
        d.push(&[long.as_slice(), &[0, 0]].concat());
        assert_eq!(d.message().unwrap().map(<[u8]>::len), Some(long.len() - LENGTH));
        d.shrink();
        assert!(d.len() == 2 && d.buffer.capacity() <= KEPT, "{}", d.buffer.capacity());
        d.push(&[0, 1, b'x']);
        assert_eq!(d.message(), Ok(Some(&b"x"[..])));

        let mut said = long;
        empty(&mut said);
        assert!(said.capacity() <= KEPT);
    }

    #[test]
    fn too_long_is_refused_before_it_has_come() {
        let mut d = Decoder::new(10);
        d.push(&11u32.to_be_bytes());
        assert_eq!(d.message(), Err(TooLong(11, 10)));
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            messages in proptest::collection::vec("[a-z\"\\\\]{0,40}", 0..8), cut in 1usize..30,
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|m| encode(m).unwrap()).collect();
            let mut d = Decoder::new(1000);
            let mut out = Vec::new();
            for piece in bytes.chunks(cut) {
                d.push(piece);
                while let Some(m) = d.message().unwrap() {
                    out.push(serde_json::from_slice::<String>(m).unwrap());
                }
            }
            prop_assert_eq!(out, messages);
            prop_assert!(d.is_empty());
        }

        #[test]
        fn noise_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut d = Decoder::new(16);
            d.push(&bytes);
            while let Ok(Some(m)) = d.message() {
                let _ = Request::parse(m);
            }
            let _ = Request::parse(&bytes);
        }
    }
}
