//! A packet's way as data: one [`Record`] a packet, one [`Step`] for each thing that was done to it or decided on it.
//!
//! What stands here is what `sekisho trace -j` prints: the names of fields and of steps are a promise to scripts, and stand in
//! docs/trace.md. Knows nothing of how steps are gathered, or of who reads them.

use serde::{Deserialize, Serialize};

use crate::packet::TraceId;

use super::frame::Frame;

/// The way of one packet, or the part of it since it was held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number: what is said of the packet later bears it too, and so does what says that this packet caused it.
    pub id: u32,
    /// The packet because of which the router made this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<u32>,
    /// When it began: nanoseconds since 1970 in a router that has been told the date, else since its start.
    pub time: u64,
    /// The worker that walked it.
    pub worker: usize,
    /// The link it came in by; absent: the router made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The packet as it came, in tcpdump's words.
    pub packet: String,
    /// Whether another packet like it would have been replayed by the flow cache (`hit`), or why not; absent: the cache is
    /// off, or was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// Whether it begins in the midst: the packet was held back, and its number has been told of before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
    /// Whether only its end was seen: more packets came than could be followed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// What happened, in its order.
    pub steps: Vec<Step>,
    /// Steps that were too many to be kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u32,
    /// How it ended.
    pub end: End,
    /// What it looked like on its way, for captures.
    #[serde(skip)]
    pub frames: Vec<Frame>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// How a packet's way ended, as far as this record goes. The last steps say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It left: the device of a link took it.
    Sent,
    /// Somebody here has it.
    Delivered,
    /// It went no further.
    Dropped,
    /// It waits, and may go on.
    Parked,
    /// A registered function took it.
    Stolen,
    /// It is part of another packet now.
    Absorbed,
}

impl End {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            End::Sent => "sent",
            End::Delivered => "delivered",
            End::Dropped => "dropped",
            End::Parked => "parked",
            End::Stolen => "stolen",
            End::Absorbed => "absorbed",
        }
    }
}

/// One thing that was done to a packet or decided on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// It came in.
    Received {
        /// The link.
        link: String,
        /// Bytes of the frame.
        len: usize,
        /// Whether another worker took it from the device and handed it over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        handed_over: bool,
    },
    /// The router made it.
    Made {
        /// Bytes from its IP header on.
        len: usize,
    },
    /// It came to a hook.
    Hook {
        /// The hook.
        hook: String,
        /// The link it came in by.
        #[serde(rename = "in", default, skip_serializing_if = "Option::is_none")]
        input: Option<String>,
        /// The link it is to leave by.
        #[serde(rename = "out", default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
    },
    /// A rule's matches all agreed, and its target was done.
    Rule {
        /// `iptables` or `ip6tables`.
        command: String,
        /// The hook.
        hook: String,
        /// The table.
        table: String,
        /// The chain.
        chain: String,
        /// Which of the chain's rules, from 1.
        number: usize,
        /// The rule as `iptables -S` prints it.
        rule: String,
        /// Its target: a verdict, an action, or the chain it leads to; empty: it only counts.
        target: String,
    },
    /// No rule of a built-in chain decided, or none could.
    Policy {
        /// `iptables` or `ip6tables`.
        command: String,
        /// The hook.
        hook: String,
        /// The table.
        table: String,
        /// The chain.
        chain: String,
        /// What became of the packet.
        verdict: String,
    },
    /// A function that a program has registered saw it.
    Function {
        /// What it is called.
        name: String,
        /// Where it stands among the others at the hook.
        priority: i32,
        /// What it said.
        verdict: String,
    },
    /// Conntrack has looked at it.
    Conntrack {
        /// NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED.
        state: String,
        /// `original` or `reply`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        direction: Option<String>,
        /// The flow's number, once it stands in the table: what `flow N` takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flow: Option<u64>,
        /// The flow, as `conntrack -L` prints it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line: Option<String>,
        /// Why it is INVALID or UNTRACKED.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Its flow has been entered into the table.
    Confirmed {
        /// The flow's number.
        flow: u64,
        /// Whether the same flow stood there already, begun by another packet at the same moment.
        joined: bool,
    },
    /// Its addresses or ports were rewritten.
    Translated {
        /// `dnat`, `snat`, `masquerade`; `reply`: what was done to the flow is undone for its answer; `related`: an ICMP
        /// error and what it quotes.
        kind: String,
        /// Source and destination before.
        before: String,
        /// And after.
        after: String,
    },
    /// It was looked up where it goes.
    Route {
        /// `main` or `local`; absent: no table was asked, or none had an answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        table: Option<String>,
        /// `unicast`, `local`, `broadcast`, `anycast`, `multicast`, `unreachable`, `prohibit`, `blackhole`, `none`, or
        /// `bound`: it is tied to a link.
        kind: String,
        /// The prefix that agreed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
        /// The gateway; absent: on link.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<String>,
        /// The link to leave by.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dev: Option<String>,
        /// How many next hops there are to choose from, if more than one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nexthops: Option<usize>,
    },
    /// Its TTL or hop limit went down.
    Ttl {
        /// Before.
        before: u8,
        /// After.
        after: u8,
    },
    /// It is larger than the next link takes.
    TooBig {
        /// Its length in bytes, or that of its segments or fragments.
        len: usize,
        /// What the link takes, or the route lets go.
        mtu: usize,
        /// The link.
        dev: String,
        /// It is the route that says so: the link takes more.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        route: bool,
    },
    /// It is cut for the next link: what follows is said of each piece.
    Cut {
        /// How many pieces.
        pieces: usize,
        /// `fragments` or `segments`.
        into: String,
    },
    /// One of its pieces.
    Piece {
        /// Its bytes from the IP header on.
        len: usize,
    },
    /// Fragments: it waits for others, or the datagram is whole.
    Reassembly {
        /// `waits`, `whole` or `atomic`.
        state: String,
        /// Bytes from the IP header on of what there is now.
        len: usize,
        /// The numbers of its other fragments that are followed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        with: Vec<u32>,
    },
    /// A fragment that waited: its datagram is whole.
    Absorbed {
        /// The number under which that goes on, if it is followed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        into: Option<u32>,
    },
    /// Its next hop's MAC was looked up.
    Neighbor {
        /// The link.
        dev: String,
        /// The next hop.
        ip: String,
        /// The neighbor's state; `remembered`: the worker knew it without asking the table.
        state: String,
        /// Its MAC, if it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mac: Option<String>,
    },
    /// The router made another packet because of it.
    Caused {
        /// That packet's number.
        id: u32,
        /// That packet.
        packet: String,
    },
    /// It turned round at the loopback.
    Looped,
    /// It waits.
    Parked {
        /// For what.
        why: String,
    },
    /// It goes on where it waited.
    Continued,
    /// It left.
    Sent {
        /// The link.
        link: String,
        /// Bytes of the frame.
        len: usize,
        /// Whom the frame is addressed to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mac: Option<String>,
        /// The packet as it leaves, in tcpdump's words.
        packet: String,
    },
    /// It stood in a link's outbox, and did not leave.
    Queued {
        /// The link.
        link: String,
        /// Bytes of the frame.
        len: usize,
        /// Whom the frame was addressed to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mac: Option<String>,
        /// The packet as it would have left, in tcpdump's words.
        packet: String,
    },
    /// It was given to somebody here who has not said yet what it did with it.
    Given {
        /// To whom.
        to: String,
    },
    /// Somebody here has it.
    Delivered {
        /// Who.
        to: String,
        /// What it does with it, where that is no service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        did: Option<String>,
    },
    /// A registered function took it.
    Stolen {
        /// Which.
        by: String,
    },
    /// It went no further.
    Dropped {
        /// The reason's name, as in `sekisho stats`.
        reason: String,
        /// The reason in words.
        text: String,
    },
}

impl Step {
    /// How a packet stands of which this is the last step; `None` if there must be another.
    pub(super) fn end(&self) -> Option<End> {
        match self {
            Step::Sent { .. } => Some(End::Sent),
            Step::Delivered { .. } => Some(End::Delivered),
            Step::Dropped { .. } => Some(End::Dropped),
            Step::Parked { .. } | Step::Given { .. } => Some(End::Parked),
            Step::Stolen { .. } => Some(End::Stolen),
            Step::Reassembly { state, .. } if state == "waits" => Some(End::Parked),
            Step::Absorbed { .. } => Some(End::Absorbed),
            _ => None,
        }
    }

    /// A frame that was said to have left has not.
    pub(super) fn unsend(&mut self) {
        if let Step::Sent { link, len, mac, packet } = self {
            let (link, mac, packet) = (std::mem::take(link), mac.take(), std::mem::take(packet));
            *self = Step::Queued { link, len: *len, mac, packet };
        }
    }
}

impl Record {
    /// Of a packet of which nothing is known but its number.
    pub(super) fn new(id: TraceId) -> Self {
        Record {
            id: id.get(),
            cause: None,
            time: 0,
            worker: 0,
            link: None,
            packet: String::new(),
            cache: None,
            continued: false,
            partial: false,
            steps: Vec::new(),
            more: 0,
            end: End::Parked,
            frames: Vec::new(),
        }
    }

    /// Why it was dropped, by the reason's name, if it was.
    pub fn dropped(&self) -> Option<&str> {
        self.steps.iter().rev().find_map(|s| match s {
            Step::Dropped { reason, .. } => Some(reason.as_str()),
            _ => None,
        })
    }

    /// The rules that matched, in their order.
    pub fn rules(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|s| matches!(s, Step::Rule { .. } | Step::Policy { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: &str = include_str!("../../../docs/trace.md");

    /// One of each, with everything that may be absent.
    fn steps() -> Vec<Step> {
        let s = || "x".to_owned();
        let some = || Some("x".to_owned());
        vec![
            Step::Received { link: s(), len: 1, handed_over: true },
            Step::Made { len: 1 },
            Step::Hook { hook: s(), input: some(), output: some() },
            Step::Rule { command: s(), hook: s(), table: s(), chain: s(), number: 1, rule: s(), target: s() },
            Step::Policy { command: s(), hook: s(), table: s(), chain: s(), verdict: s() },
            Step::Function { name: s(), priority: 1, verdict: s() },
            Step::Conntrack { state: s(), direction: some(), flow: Some(1), line: some(), why: some() },
            Step::Confirmed { flow: 1, joined: true },
            Step::Translated { kind: s(), before: s(), after: s() },
            Step::Route {
                table: some(),
                kind: s(),
                prefix: some(),
                via: some(),
                dev: some(),
                nexthops: Some(2),
            },
            Step::Ttl { before: 2, after: 1 },
            Step::TooBig { len: 1, mtu: 1, dev: s(), route: true },
            Step::Cut { pieces: 2, into: s() },
            Step::Piece { len: 1 },
            Step::Reassembly { state: s(), len: 1, with: vec![1] },
            Step::Absorbed { into: Some(1) },
            Step::Neighbor { dev: s(), ip: s(), state: s(), mac: some() },
            Step::Caused { id: 1, packet: s() },
            Step::Looped,
            Step::Parked { why: s() },
            Step::Continued,
            Step::Sent { link: s(), len: 1, mac: some(), packet: s() },
            Step::Queued { link: s(), len: 1, mac: some(), packet: s() },
            Step::Given { to: s() },
            Step::Delivered { to: s(), did: some() },
            Step::Stolen { by: s() },
            Step::Dropped { reason: s(), text: s() },
        ]
    }

    #[test]
    fn the_manual_names_every_key() {
        for step in steps() {
            let value = serde_json::to_value(&step).unwrap();
            let name = value["step"].as_str().unwrap();
            let row = MANUAL.lines().find(|l| l.starts_with(&format!("| `{name}` |")));
            let row = row.unwrap_or_else(|| panic!("docs/trace.md has no row for {name}"));
            for key in value.as_object().unwrap().keys().filter(|k| *k != "step") {
                let named = row.split(['`', ' ']).any(|w| w == key);
                assert!(named, "docs/trace.md does not name {key} of {name}: {row}");
            }
            assert_eq!(serde_json::from_value::<Step>(value).unwrap(), step);
            assert!(!step.label().is_empty() && !step.text().to_string().contains('\n'));
        }
        let record = Record {
            id: 1,
            cause: Some(1),
            time: 1,
            worker: 1,
            link: Some("x".into()),
            packet: "x".into(),
            cache: Some("hit".into()),
            continued: true,
            partial: true,
            steps: steps(),
            more: 1,
            end: End::Sent,
            frames: vec![],
        };
        for key in serde_json::to_value(&record).unwrap().as_object().unwrap().keys() {
            assert!(MANUAL.contains(&format!("\n| `{key}` |")), "docs/trace.md does not name {key}");
        }
        for end in [End::Sent, End::Delivered, End::Dropped, End::Parked, End::Stolen, End::Absorbed] {
            let name = serde_json::to_value(end).unwrap();
            assert_eq!(name, end.name());
            assert!(MANUAL.contains(&format!("`{}`", end.name())));
        }
    }

    #[test]
    fn a_record_is_one_block_of_lines_that_align() {
        let record = Record {
            time: 45_296_000_123_456,
            link: Some("wan".into()),
            packet: "IP a > b".into(),
            steps: steps(),
            end: End::Dropped,
            ..Record::new(TraceId::new(7).unwrap())
        };
        let block = record.to_string();
        let mut lines = block.lines();
        assert_eq!(lines.next(), Some("#7 12:34:56.000123 wan: IP a > b"));
        for line in lines.clone().filter(|l| l.len() > 16) {
            assert!(line.starts_with("   ") && !line[15..].starts_with("  "), "{line:?}");
        }
        assert_eq!(lines.count(), record.steps.len());
        assert_eq!(record.verdict(), "dropped, x: x");
        assert!(record.comment().lines().count() > 3, "{}", record.comment());
    }

    #[test]
    fn what_had_not_ended_is_told_as_that() {
        let s = || "x".to_owned();
        let sent = Step::Sent { link: s(), len: 1, mac: None, packet: s() };
        for (last, said) in [
            (Step::Parked { why: s() }, "was still waiting when this was written: x"),
            (
                Step::Reassembly { state: "waits".into(), len: 1, with: vec![] },
                "still waiting when this was written: for its other fragments",
            ),
            (Step::Given { to: s() }, "given to x, which had not looked at it when this was written"),
            (
                Step::Queued { link: s(), len: 1, mac: None, packet: s() },
                "still in the queue of x when this was written",
            ),
        ] {
            let record = Record { steps: vec![sent.clone(), last], ..Record::new(TraceId::MIN) };
            assert!(record.comment().contains(said), "{}", record.comment());
        }
    }
}
