//! Records as people read them: one packet, one block.
//!
//! ```text
//! #7 12:03:04.123456 wan: IP 203.0.113.66.40000 > 10.1.0.2.22: Flags [S], seq 1, win 64240, length 0, ttl 64
//!    received     by wan, 60 bytes, worker 0
//!    PREROUTING   in wan
//!    conntrack    NEW, original: tcp      6 120 SYN_SENT src=203.0.113.66 …
//!    route        10.1.0.0/24 dev lan, table main
//!    ttl          64 → 63
//!    FORWARD      in wan, out lan
//!    filter       iptables FORWARD rule 4: -A FORWARD -i wan -j DROP
//!    dropped      filtered: a rule or a chain's policy dropped it
//! ```

use std::fmt::{self, Display};

use super::{End, Record, Step};

/// Columns of a step's label.
pub const LABEL: usize = 13;

impl Step {
    /// What kind of step it is: a stage, a hook, a table.
    pub fn label(&self) -> &str {
        match self {
            Step::Received { .. } => "received",
            Step::Made { .. } => "made",
            Step::Hook { hook, .. } => hook,
            Step::Rule { table, .. } | Step::Policy { table, .. } => table,
            Step::Function { .. } => "function",
            Step::Conntrack { .. } | Step::Confirmed { .. } => "conntrack",
            Step::Translated { kind, .. } => match kind.as_str() {
                "reply" | "related" => "nat",
                kind => kind,
            },
            Step::Route { .. } => "route",
            Step::Ttl { .. } => "ttl",
            Step::TooBig { .. } => "mtu",
            Step::Cut { .. } => "cut",
            Step::Piece { .. } => "piece",
            Step::Reassembly { .. } => "reassembly",
            Step::Absorbed { .. } => "absorbed",
            Step::Neighbor { .. } => "neighbor",
            Step::Caused { .. } => "caused",
            Step::Looped => "loopback",
            Step::Parked { .. } => "waits",
            Step::Continued => "goes on",
            Step::Sent { .. } => "sent",
            Step::Queued { .. } => "queued",
            Step::Given { .. } => "given",
            Step::Delivered { .. } => "delivered",
            Step::Stolen { .. } => "stolen",
            Step::Dropped { .. } => "dropped",
        }
    }

    /// What there is to say of it, without its label.
    pub fn text(&self) -> impl Display + '_ {
        Text(self)
    }
}

struct Text<'a>(&'a Step);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Step::Received { link, len, handed_over } => {
                write!(f, "by {link}, {len} bytes")?;
                if *handed_over { f.write_str(", handed over by another worker") } else { Ok(()) }
            }
            Step::Made { len } => write!(f, "by this router, {len} bytes"),
            Step::Hook { input, output, .. } => match (input, output) {
                (Some(i), Some(o)) => write!(f, "in {i}, out {o}"),
                (Some(i), None) => write!(f, "in {i}"),
                (None, Some(o)) => write!(f, "out {o}"),
                (None, None) => Ok(()),
            },
            Step::Rule { command, chain, number, rule, .. } => {
                write!(f, "{command} {chain} rule {number}: {rule}")
            }
            Step::Policy { command, chain, verdict, .. } => write!(f, "{command} {chain} policy: {verdict}"),
            Step::Function { name, priority, verdict } => write!(f, "{name} at {priority}: {verdict}"),
            Step::Conntrack { state, direction, flow, line, why } => {
                f.write_str(state)?;
                if let Some(direction) = direction {
                    write!(f, ", {direction}")?;
                }
                if let Some(flow) = flow {
                    write!(f, ", flow {flow}")?;
                }
                if let Some(said) = line.as_ref().or(why.as_ref()) {
                    write!(f, ": {said}")?;
                }
                Ok(())
            }
            Step::Confirmed { flow, joined: false } => write!(f, "flow {flow} stands in the table"),
            Step::Confirmed { flow, joined: true } => {
                write!(f, "flow {flow} stood in the table already, begun by another packet")
            }
            Step::Translated { before, after, .. } => write!(f, "{before} → {after}"),
            Step::Route { table, kind, prefix, via, dev, nexthops } => {
                let words = match kind.as_str() {
                    "none" => return f.write_str("none leads there"),
                    "no_way_back" => {
                        f.write_str("no way leads back to its source")?;
                        return prefix.iter().try_for_each(|p| write!(f, ": {p} is refused"));
                    }
                    "bound" => "tied to its link",
                    "back" => "the way back to its source is",
                    "unicast" => "",
                    kind => kind,
                };
                let mut parts = vec![words.to_owned()];
                parts.extend(prefix.clone());
                parts.extend(via.as_ref().map(|v| format!("via {v}")));
                parts.extend(dev.as_ref().map(|d| format!("dev {d}")));
                parts.retain(|p| !p.is_empty());
                f.write_str(&parts.join(" "))?;
                if let Some(n) = nexthops {
                    write!(f, ", one of {n} next hops")?;
                }
                match table {
                    Some(table) => write!(f, ", table {table}"),
                    None => Ok(()),
                }
            }
            Step::Ttl { before, after } => write!(f, "{before} → {after}"),
            Step::TooBig { len, mtu, dev, route } => {
                let of = if *route { "the route out of " } else { "" };
                write!(f, "{len} bytes do not fit the {mtu} of {of}{dev}")
            }
            Step::Cut { pieces, into } => write!(f, "into {pieces} {into}"),
            Step::Piece { len } => write!(f, "{len} bytes"),
            Step::Reassembly { state, len, with } => match state.as_str() {
                "waits" => write!(f, "{len} bytes, waits for its other fragments"),
                "whole" => {
                    write!(f, "whole, {len} bytes")?;
                    let with: Vec<String> = with.iter().map(|id| format!("#{id}")).collect();
                    if with.is_empty() { Ok(()) } else { write!(f, ", with {}", with.join(", ")) }
                }
                _ => write!(f, "a fragment header that says nothing is gone, {len} bytes"),
            },
            Step::Absorbed { into: Some(id) } => write!(f, "its datagram is whole, and goes on as #{id}"),
            Step::Absorbed { into: None } => f.write_str("its datagram is whole"),
            Step::Neighbor { dev, ip, state, mac } => match mac {
                Some(mac) => write!(f, "{ip} dev {dev} is at {mac}, {state}"),
                None => write!(f, "{ip} dev {dev}, {state}"),
            },
            Step::Caused { id, packet } => write!(f, "#{id} {packet}"),
            Step::Looped => f.write_str("comes in again by lo"),
            Step::Parked { why } => f.write_str(why),
            Step::Continued => Ok(()),
            Step::Sent { link, len, mac, packet } | Step::Queued { link, len, mac, packet } => {
                write!(f, "by {link}, {len} bytes")?;
                if let Some(mac) = mac {
                    write!(f, " to {mac}")?;
                }
                write!(f, ": {packet}")
            }
            Step::Given { to } | Step::Delivered { to, did: None } => write!(f, "to {to}"),
            Step::Delivered { to, did: Some(did) } => write!(f, "to {to}, {did}"),
            Step::Stolen { by } => write!(f, "by {by}"),
            Step::Dropped { reason, text } => write!(f, "{reason}: {text}"),
        }
    }
}

impl Record {
    /// The first line of its block: which and where, and the packet.
    pub fn headline(&self) -> (String, &str) {
        let Record { id, packet, .. } = self;
        let at = match &self.link {
            Some(link) => link.as_str(),
            None => "made here",
        };
        let because = self.cause.map_or(String::new(), |c| format!(", because of #{c}"));
        (format!("#{id} {} {at}{because}:", clock(self.time)), packet)
    }

    /// What there is to say of it besides its steps.
    pub fn remarks(&self) -> Vec<String> {
        let mut said = Vec::new();
        if self.partial {
            said.push("more packets came than are followed: only its end was seen".to_owned());
        }
        if self.cache.as_deref() == Some("hit") {
            said.push("the flow cache would have replayed it".to_owned());
        }
        if self.more > 0 {
            said.push(format!("{} more steps were not kept", self.more));
        }
        said
    }
}

impl Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, packet) = self.headline();
        write!(f, "{head} {packet}")?;
        for step in &self.steps {
            let line = format!("   {:<LABEL$}{}", step.label(), step.text());
            write!(f, "\n{}", line.trim_end())?;
        }
        for remark in self.remarks() {
            write!(f, "\n   {:<LABEL$}{remark}", "note")?;
        }
        Ok(())
    }
}

/// The time of day (UTC) of nanoseconds since 1970.
fn clock(nanos: u64) -> String {
    let micros = nanos / 1_000;
    let (seconds, micros) = (micros / 1_000_000 % 86_400, micros % 1_000_000);
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

impl Record {
    /// What became of the packet, in a few words.
    pub fn verdict(&self) -> String {
        let mut steps = self.steps.iter().rev();
        let last = match self.end {
            End::Dropped => steps.find(|s| matches!(s, Step::Dropped { .. })),
            End::Parked => steps.find(|s| s.end() == Some(End::Parked) || matches!(s, Step::Queued { .. })),
            _ => steps.find(|s| s.end().is_some()),
        };
        match last {
            Some(Step::Sent { link, .. }) => format!("sent by {link}"),
            Some(step @ Step::Delivered { .. }) => format!("delivered {}", step.text()),
            Some(Step::Dropped { reason, text }) => format!("dropped, {reason}: {text}"),
            Some(Step::Parked { why }) => format!("was still waiting when this was written: {why}"),
            Some(Step::Given { to }) => {
                format!("given to {to}, which had not looked at it when this was written")
            }
            Some(Step::Queued { link, .. }) => {
                format!("was still in the queue of {link} when this was written")
            }
            Some(Step::Stolen { by }) => format!("stolen by {by}"),
            Some(Step::Absorbed { into: Some(id) }) => format!("a fragment, goes on as #{id}"),
            Some(Step::Reassembly { .. }) => {
                "was still waiting when this was written: for its other fragments".to_owned()
            }
            _ => self.end.name().to_owned(),
        }
    }

    /// What became of the packet, for a capture: its verdict, the rules that matched and the translations, a line each.
    pub fn comment(&self) -> String {
        let mut lines = vec![format!("#{} {}", self.id, self.verdict())];
        if let Some(cause) = self.cause {
            lines.push(format!("because of #{cause}"));
        }
        for step in &self.steps {
            match step {
                Step::Rule { .. } | Step::Policy { .. } | Step::Translated { .. } => {
                    lines.push(format!("{}: {}", step.label(), step.text()));
                }
                Step::Conntrack { state, why, .. } => {
                    let why = why.as_ref().map_or(String::new(), |w| format!(": {w}"));
                    lines.push(format!("conntrack: {state}{why}"));
                }
                _ => {}
            }
        }
        let mut text = lines.join("\n");
        if text.len() > MAX_COMMENT {
            let end = (0..=MAX_COMMENT).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        text
    }
}

/// The longest comment in bytes: a block of pcapng takes 65,535, and people far less.
const MAX_COMMENT: usize = 4_000;
