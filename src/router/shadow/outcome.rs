//! What has become of a packet, in one line: the sum of a record's steps.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::DropReason;
use crate::path::trace::{Record, Step};

/// What has become of a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// In one word.
    pub verdict: Fate,
    /// The link that it leaves by, or is to leave by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// The neighbor on that link that it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<String>,
    /// That one's MAC, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its ends as NAT has left them; absent: as they were.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub translated: Option<String>,
    /// Who has it now, where it was delivered or taken; for what it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whom: Option<String>,
    /// Why it was dropped, by the reason's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason in words; what whoever it was delivered to does with it, where that is no service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The rule or policy that dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// How many frames it leaves in, if not in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<usize>,
}

/// The end of a packet's way, as far as the router sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It came in by a link and leaves by one.
    Forwarded,
    /// It was made here and leaves by a link.
    Sent,
    /// It is for this router.
    Delivered,
    /// It leaves once a neighbor has said where it is.
    Waits,
    /// It waits for its datagram's other fragments.
    Gathered,
    /// A program's function has taken it.
    Taken,
    /// It goes no further.
    Dropped,
    /// Nothing was seen of it.
    #[default]
    Unknown,
}

impl Fate {
    /// Whether the packet reaches whom it was for, as far as the router has to do with it.
    pub fn is_passed(self) -> bool {
        matches!(self, Fate::Forwarded | Fate::Sent | Fate::Delivered | Fate::Waits | Fate::Gathered)
    }
}

impl Outcome {
    /// The outcome of the first packet that these records tell of.
    pub fn of(records: &[Record]) -> Outcome {
        let Some(first) = records.first() else { return Outcome::default() };
        let own = records.iter().filter(|r| r.id == first.id);
        let mut outcome = Outcome::default();
        let (mut frames, mut decided) = (0, None);
        for step in own.flat_map(|r| &r.steps) {
            match step {
                Step::Rule { .. } | Step::Policy { .. } => decided = Some(step),
                Step::Route { via, dev, .. } => {
                    (outcome.dev, outcome.next_hop) = (dev.clone(), via.clone());
                }
                Step::Neighbor { dev, ip, mac, .. } => {
                    outcome.dev = Some(dev.clone());
                    outcome.next_hop = Some(ip.clone());
                    outcome.mac = mac.clone();
                }
                Step::Translated { after, .. } => outcome.translated = Some(after.clone()),
                Step::Sent { link, mac, .. } => {
                    frames += 1;
                    outcome.verdict = if first.link.is_some() { Fate::Forwarded } else { Fate::Sent };
                    outcome.dev = Some(link.clone());
                    outcome.mac = mac.clone();
                }
                Step::Delivered { to, did } => {
                    outcome.ends(Fate::Delivered, to);
                    outcome.text = did.clone();
                }
                Step::Given { to } => outcome.ends(Fate::Delivered, to),
                Step::Stolen { by } => outcome.ends(Fate::Taken, by),
                Step::Parked { why } => outcome.ends(Fate::Waits, why),
                Step::Reassembly { state, .. } if state == "waits" => {
                    outcome.ends(Fate::Gathered, "its other fragments");
                }
                Step::Continued | Step::Looped | Step::Reassembly { .. } => {
                    outcome.verdict = Fate::Unknown;
                    outcome.whom = None;
                }
                // Where a piece was lost others may have gone: what was sent counts.
                Step::Dropped { .. } if frames > 0 => {}
                Step::Dropped { reason, text } => {
                    outcome.verdict = Fate::Dropped;
                    let by_rule = [DropReason::Filtered, DropReason::Rejected].map(DropReason::name);
                    if by_rule.contains(&reason.as_str()) {
                        outcome.rule = decided.map(place);
                    }
                    (outcome.reason, outcome.text) = (Some(reason.clone()), Some(text.clone()));
                }
                _ => {}
            }
        }
        match outcome.verdict {
            Fate::Forwarded | Fate::Sent | Fate::Waits => {}
            // It was to go there, and does not.
            _ => (outcome.dev, outcome.next_hop, outcome.mac) = (None, None, None),
        }
        outcome.frames = (frames > 1).then_some(frames);
        outcome
    }

    /// Whether a packet meets the same: verdict, reason, link, next hop and translation. Which rule it was does not count, nor
    /// does whether the next hop's MAC is known already.
    pub fn is_like(&self, other: &Outcome) -> bool {
        let way = |o: &Outcome| match o.verdict {
            Fate::Waits => Fate::Forwarded,
            verdict => verdict,
        };
        let told = |o: &Outcome| (o.dev.clone(), o.next_hop.clone(), o.translated.clone(), o.reason.clone());
        way(self) == way(other) && told(self) == told(other)
    }

    fn ends(&mut self, verdict: Fate, whom: &str) {
        self.verdict = verdict;
        self.whom = Some(whom.to_owned());
    }
}

/// A rule or policy by its place: `filter FORWARD rule 3: -A FORWARD -j DROP`.
fn place(step: &Step) -> String {
    match step {
        Step::Rule { table, chain, number, rule, .. } => format!("{table} {chain} rule {number}: {rule}"),
        Step::Policy { table, chain, .. } => format!("{table} {chain} policy"),
        _ => String::new(),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dev = self.dev.as_deref().unwrap_or("?");
        let whom = self.whom.as_deref().unwrap_or("?");
        match self.verdict {
            Fate::Forwarded => write!(f, "forwarded to {dev}")?,
            Fate::Sent => write!(f, "sent to {dev}")?,
            Fate::Delivered => match &self.text {
                Some(did) => write!(f, "delivered to {whom}, {did}")?,
                None => write!(f, "delivered to {whom}")?,
            },
            Fate::Waits => write!(
                f,
                "to {dev}, once {} is found there",
                self.next_hop.as_deref().unwrap_or("its neighbor")
            )?,
            Fate::Gathered => write!(f, "waits for {whom}")?,
            Fate::Taken => write!(f, "taken by {whom}")?,
            Fate::Dropped => match (&self.rule, &self.reason, &self.text) {
                (Some(rule), reason, _) => {
                    let rejected = reason.as_deref() == Some(DropReason::Rejected.name());
                    write!(f, "{}: {rule}", if rejected { "rejected" } else { "dropped" })?;
                }
                (None, Some(reason), Some(text)) => write!(f, "dropped: {reason} ({text})")?,
                _ => f.write_str("dropped")?,
            },
            Fate::Unknown => f.write_str("nothing is known of what becomes of it")?,
        }
        if matches!(self.verdict, Fate::Forwarded | Fate::Sent)
            && let Some(hop) = &self.next_hop
        {
            write!(f, ", next hop {hop}")?;
            if let Some(mac) = &self.mac {
                write!(f, " ({mac})")?;
            }
        }
        if let Some(translated) = self.translated.as_ref().filter(|_| self.verdict != Fate::Dropped) {
            write!(f, ", as {translated}")?;
        }
        match self.frames {
            Some(frames) => write!(f, ", in {frames} frames"),
            None => Ok(()),
        }
    }
}
