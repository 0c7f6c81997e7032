//! The flow cache of a worker: the walk records, the cache replays.
//!
//! ```text
//!  frame ─► look ─► record? ─┬─ no, or not true of this packet ──────────► walk ─► leaves ─► record
//!            key             │
//!                            └─ yes ─► conntrack's step ─► headers rewritten ─► counters ─► egress
//!                                      (else: walk)
//! ```
//!
//! A record holds what the walk did to a packet of an established flow, and nothing that the cache would have
//! thought of itself. It is true of another packet if everything that the walk's decisions rested on is the same:
//!
//! - what [`key`] reads: the link, addresses, ports, protocol, and that it is a packet of the common kind;
//! - what the rules looked at beyond that (a [`Witness`] notes it while they are asked);
//! - the flow: the same tenant of its place, in the same state, with the status and mark that were looked at;
//! - the configuration, the links' states, and the next hop's MAC, each by its generation.
//!
//! What rules remember from packet to packet (`limit`, `statistic`), LOG and registered functions are not repeated:
//! flows that meet them walk. So do the packets that are followed ([`trace`](super::trace)).
//!
//! The cache belongs to one worker; nobody else sees it.

mod key;
mod record;
mod table;
mod trails;

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use crate::base::counters::Tally;
use crate::base::{Column, LinkId, Mac};
use crate::conntrack::Tracked;
use crate::filter::Witness;
use crate::packet::{Csum, CtState, Frag, L2Kind, Manip, Packet, offload};

use super::{Cx, Hop, Snapshot};

pub(super) use key::Probe;
use key::Secret;
use record::{Made, Record, Rewritten};
use table::{Put, Table};
use trails::Trails;

/// How the flow cache works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowCacheConfig {
    /// Directions of flows that each worker remembers at most; 0: none, every packet walks.
    pub entries: u32,
    /// Whether a flow is remembered from its second packet on, where it would be from its third. For tests.
    pub eager: bool,
}

impl FlowCacheConfig {
    /// As many entries as make sense: 1 GiB of them.
    pub const MOST: u32 = 1 << 23;
    /// Every packet walks.
    pub const OFF: FlowCacheConfig = FlowCacheConfig { entries: 0, eager: false };
}

impl Default for FlowCacheConfig {
    /// Both directions of 65,536 flows: 18 MiB, taken as they come.
    fn default() -> Self {
        FlowCacheConfig { entries: 1 << 17, eager: false }
    }
}

/// A worker's flow cache.
#[derive(Debug)]
pub(super) struct FlowCache {
    config: FlowCacheConfig,
    secret: Secret,
    /// The configuration that the records were made under.
    snapshot: Weak<Snapshot>,
    /// The links' states, likewise.
    states: u64,
    table: Table,
    trails: Trails,
    note: Note,
    /// What was seen of a batch's packets before the first of them was dealt with.
    ahead: Vec<Option<Probe>>,
}

/// What is noted of the packet that walks.
#[derive(Debug, Default)]
struct Note {
    how: How,
    probe: Probe,
    witness: Witness,
    rewritten: Rewritten,
    /// Whether its flow was there before it came.
    known: bool,
}

/// How closely a walk is watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum How {
    /// Not at all.
    #[default]
    Off,
    /// It may make its flow a candidate.
    Candidate,
    /// It is recorded.
    Recorded,
}

impl FlowCache {
    /// An empty one; `random` gives the key of the hash.
    pub(super) fn new(config: FlowCacheConfig, mut random: impl FnMut() -> u64) -> Self {
        FlowCache {
            config,
            secret: Secret::new(std::array::from_fn(|_| random())),
            snapshot: Weak::new(),
            states: 0,
            table: Table::new(config.entries.min(FlowCacheConfig::MOST) as usize),
            trails: Trails::default(),
            note: Note::default(),
            ahead: Vec::new(),
        }
    }

    /// The configuration in force. If it is another than before, nothing that was recorded is true any more; gives
    /// how many records that were.
    #[inline]
    pub(super) fn under(&mut self, snapshot: &Arc<Snapshot>) -> usize {
        if std::ptr::eq(self.snapshot.as_ptr(), Arc::as_ptr(snapshot)) {
            return 0;
        }
        // While it is held weakly, no other can be where it was.
        self.snapshot = Arc::downgrade(snapshot);
        self.clear()
    }

    /// Room for so many records from now on; gives how many there were, which are gone.
    pub(super) fn resize(&mut self, entries: u32) -> usize {
        let gone = self.clear();
        self.config.entries = entries;
        self.table = Table::new(entries.min(FlowCacheConfig::MOST) as usize);
        gone
    }

    #[cold]
    fn clear(&mut self) -> usize {
        self.trails.clear();
        self.table.clear()
    }

    /// Where the program that is asked may note what its answer rests on.
    #[inline]
    pub(super) fn witness(&mut self) -> Option<&mut Witness> {
        (self.note.how == How::Recorded).then_some(&mut self.note.witness)
    }

    /// Something happens to the packet that can't be repeated.
    #[inline]
    pub(super) fn spoil(&mut self) {
        self.note.witness.spoiled = true;
    }

    /// NAT rewrote an end of the packet.
    #[inline]
    pub(super) fn rewrote(&mut self, manip: Manip) {
        self.note.rewritten.add(manip);
    }

    /// What became of the packet at the conntrack stage.
    #[inline]
    pub(super) fn tracked(&mut self, what: Tracked) {
        self.note.known = what == Tracked::Known;
    }

    /// The walk that was watched is over.
    #[inline]
    pub(super) fn walked(&mut self) {
        self.note.how = How::Off;
    }
}

/// Looks at the packets of a batch before they are dealt with, so that what is known of them is fetched from memory while
/// others are looked at. Gives what is to be given back with [`looked_ahead`].
pub(super) fn look_ahead(cx: &mut Cx<'_>, link: LinkId, frames: &[Packet]) -> Vec<Option<Probe>> {
    let mut ahead = std::mem::take(&mut cx.me.cache.ahead);
    ahead.clear();
    if cx.me.cache.config.entries == 0 || frames.len() < 2 {
        return ahead;
    }
    let own = cx.snap.links.get(link).and_then(|l| l.mac);
    let cache = &cx.me.cache;
    let mut fetched = 0;
    for p in frames {
        let probe = probe(cache, p, own, link).ok();
        fetched ^= probe.as_ref().map_or(0, |probe| cache.table.warm(probe.hash));
        ahead.push(probe);
    }
    let flows = ahead.iter().flatten().filter_map(|probe| cache.table.likely(probe.hash)?.flow());
    for flow in flows {
        fetched ^= cx.live.conntrack.warm(flow);
    }
    // What is read must be read now.
    std::hint::black_box(fetched);
    ahead
}

/// Gives back what [`look_ahead`] gave.
pub(super) fn looked_ahead(cx: &mut Cx<'_>, ahead: Vec<Option<Probe>>) {
    cx.me.cache.ahead = ahead;
}

/// Does to a packet what was done to others of its flow; gives the link it leaves by, and the next hop's MAC if there is
/// one. `None`: it walks.
#[inline]
pub(super) fn replay(
    cx: &mut Cx<'_>,
    link: LinkId,
    p: &mut Packet,
    ahead: Option<&Probe>,
) -> Option<(LinkId, Option<Mac>)> {
    if cx.me.cache.config.entries == 0 {
        return None;
    }
    let looked;
    let probe = match ahead {
        Some(probe) => probe,
        None => {
            let own = cx.snap.links.get(link).and_then(|l| l.mac);
            match probe(&cx.me.cache, p, own, link) {
                Ok(found) => {
                    looked = found;
                    &looked
                }
                Err(why) => {
                    cx.tally(why);
                    return None;
                }
            }
        }
    };
    match tried(cx, p, probe) {
        Ok(out) => {
            cx.tally(Tally::FlowCacheHits);
            Some(out)
        }
        Err((why, how)) => {
            cx.tally(why);
            watch(cx, probe, how);
            None
        }
    }
}

/// What can be seen of a packet. A mark that it comes with is a function's, whose doings nobody knows.
#[inline]
fn probe(cache: &FlowCache, p: &Packet, own: Option<Mac>, link: LinkId) -> Result<Probe, Tally> {
    if p.meta.mark != 0 || p.cut.is_some() {
        return Err(Tally::FlowCacheOther);
    }
    let mut probe = key::look(p.data(), own, link)?;
    probe.hash = cache.secret.hash(&probe.key);
    Ok(probe)
}

/// Replays, or says why not, and how the walk is to be watched.
#[inline]
fn tried(cx: &mut Cx<'_>, p: &mut Packet, probe: &Probe) -> Result<(LinkId, Option<Mac>), (Tally, How)> {
    let (now, live) = (cx.now, cx.live);
    let states = live.states.generation();
    if cx.me.cache.states != states {
        cx.me.cache.states = states;
        let gone = cx.me.cache.clear();
        cx.me.counters.tally(Tally::FlowCacheLeft, gone as u64);
    }
    let me = &mut *cx.me;
    let Some((at, record)) = me.cache.table.find(probe.hash, &probe.key) else {
        let admitted = me.cache.config.eager || me.cache.table.is_candidate(probe.hash);
        return Err((Tally::FlowCacheUnknown, if admitted { How::Recorded } else { How::Candidate }));
    };
    if !record.is_true_of(probe) {
        let often = me.cache.table.strike(at);
        return Err((Tally::FlowCacheDiffers, if often { How::Recorded } else { How::Off }));
    }
    let mac = match record.next() {
        None => None,
        Some(next) => match me.memo.mac_at(next, now, live.neighbors.generation()) {
            Some(mac) => Some(mac),
            None => return Err((Tally::FlowCacheNeighbor, How::Recorded)),
        },
    };
    seen(p, probe);
    let offload = p.meta.offload;
    let plain = offload.gso.is_none() && !matches!(offload.csum, Csum::Partial { .. });
    let size = match plain {
        true => usize::from(probe.total),
        false if offload::validate(p) => offload::segment_len(p),
        false => usize::MAX,
    };
    if size > record.mtu() {
        return Err((Tally::FlowCacheDiffers, How::Off));
    }
    match record.standing() {
        Some(standing) => {
            if !live.conntrack.replay(p, &standing, now) {
                return Err((Tally::FlowCacheFlow, How::Recorded));
            }
        }
        None => p.meta.ct.state = record.state(),
    }
    // Its headers were all there when it was looked at, so that this can't fail.
    let rewritten = record.rewrite(p, probe);
    debug_assert!(rewritten.is_some());
    if let Some(program) = cx.snap.hooks.program(p.meta.net) {
        let counters = me.cache.trails.get(record.trail());
        program.count_again(me.lane, counters, u64::from(probe.total));
    }
    let egress = record.egress();
    me.cache.table.used(at);
    me.counters.tally(Tally::Forwarded, 1);
    if mac.is_some() {
        me.counters.tally(Tally::NextHopMemo, 1);
    }
    Ok((egress, mac))
}

/// Whether a packet would be replayed, if it were not followed: `hit`, or why not. `None`: the cache is off. Nothing
/// happens to the packet that its walk would not do.
#[cold]
pub(super) fn would_replay(cx: &Cx<'_>, link: LinkId, p: &mut Packet) -> Option<String> {
    let cache = &cx.me.cache;
    if cache.config.entries == 0 {
        return None;
    }
    let own = cx.snap.links.get(link).and_then(|l| l.mac);
    let answer = probe(cache, p, own, link).and_then(|probe| would(cx, p, &probe));
    Some(match answer {
        Ok(()) => "hit".to_owned(),
        Err(why) => why.name().trim_start_matches("flow_cache_").to_owned(),
    })
}

/// The questions of [`tried`].
fn would(cx: &Cx<'_>, p: &mut Packet, probe: &Probe) -> Result<(), Tally> {
    let (live, cache) = (cx.live, &cx.me.cache);
    let found = cache.table.find(probe.hash, &probe.key).filter(|_| cache.states == live.states.generation());
    let (_, record) = found.ok_or(Tally::FlowCacheUnknown)?;
    if !record.is_true_of(probe) {
        return Err(Tally::FlowCacheDiffers);
    }
    let generation = live.neighbors.generation();
    if record.next().is_some_and(|next| cx.me.memo.mac_at(next, cx.now, generation).is_none()) {
        return Err(Tally::FlowCacheNeighbor);
    }
    seen(p, probe);
    let offload = p.meta.offload;
    let plain = offload.gso.is_none() && !matches!(offload.csum, Csum::Partial { .. });
    if !plain && !offload::validate(p) || offload::segment_len(p) > record.mtu() {
        return Err(Tally::FlowCacheDiffers);
    }
    match record.standing() {
        Some(standing) if !live.conntrack.would_replay(p, &standing, cx.now) => Err(Tally::FlowCacheFlow),
        _ => Ok(()),
    }
}

/// Leaves in the metadata what ingress would.
#[inline]
fn seen(p: &mut Packet, probe: &Probe) {
    let v6 = probe.key.v6();
    p.meta.l2 = L2Kind::Host;
    p.meta.net = probe.key.net();
    p.meta.l3 = probe.l3;
    p.meta.l4 = if v6 { 40 } else { 20 };
    p.meta.proto = probe.key.proto();
    p.meta.frag = Frag::Whole;
    p.meta.options = false;
    p.truncate(usize::from(probe.l3) + usize::from(probe.total));
}

/// Has the walk of a packet watched.
fn watch(cx: &mut Cx<'_>, probe: &Probe, how: How) {
    let note = &mut cx.me.cache.note;
    note.how = how;
    if how != How::Off {
        note.probe = *probe;
        note.rewritten = Rewritten::default();
        note.known = false;
        note.witness.clear();
    }
}

/// A record of a packet that leaves, until it is known where its next hop is.
#[derive(Debug)]
pub(super) struct Draft {
    record: Record,
    hash: u64,
    hop: Hop,
}

/// The packet that walked is about to leave by a hop. Says what to remember of it, if something is.
#[inline]
pub(super) fn leaving(cx: &mut Cx<'_>, p: &Packet, hop: &Hop) -> Option<Draft> {
    match cx.me.cache.note.how {
        How::Off => None,
        how => draft(cx, p, hop, how),
    }
}

#[cold]
fn draft(cx: &mut Cx<'_>, p: &Packet, hop: &Hop, how: How) -> Option<Draft> {
    let own = cx.me.cache.note.probe.key;
    if !can_be_repeated(cx, p, hop, own.ingress()) {
        return None;
    }
    let flow = match p.meta.ct.flow {
        None => None,
        id => {
            let current = cx.me.flow.as_ref().filter(|c| c.id == id)?;
            Some((current.flow.status, current.flow.mark))
        }
    };
    let mtu = cx.snap.links.get(own.ingress())?.mtu as usize;
    let mtu = mtu.min(hop.fits(cx.snap.links.get(hop.link)?));
    let cache = &mut cx.me.cache;
    let Note { probe, witness, rewritten, .. } = &cache.note;
    if how == How::Candidate {
        cache.table.propose(probe.hash);
        return None;
    }
    let Some(trail) = cache.trails.number(&witness.counted) else {
        let gone = cache.clear();
        cx.me.counters.tally(Tally::FlowCacheLeft, gone as u64);
        return None;
    };
    let made = Made { probe, witness, rewritten: *rewritten, flow, egress: hop.link, mtu, trail };
    Some(Draft { record: Record::of(p, &made)?, hash: probe.hash, hop: *hop })
}

/// Whether what the walk did to a packet can be done to others without it.
fn can_be_repeated(cx: &Cx<'_>, p: &Packet, hop: &Hop, ingress: LinkId) -> bool {
    let note = &cx.me.cache.note;
    let (meta, key) = (&p.meta, &note.probe.key);
    let usual = !note.witness.spoiled
        && meta.column == Column::Received
        && meta.ingress == ingress
        && p.cut.is_none()
        && meta.frag == Frag::Whole
        && meta.net == key.net()
        && meta.proto == key.proto();
    let flow = match meta.ct.state {
        CtState::New | CtState::Established => meta.ct.flow.is_some() && note.known,
        CtState::Unseen | CtState::Untracked => meta.ct.flow.is_none(),
        CtState::Invalid | CtState::Related => false,
    };
    // A redirect is sent now and then.
    let turns_back = hop.link == ingress && cx.snap.links.get(ingress).is_none_or(|l| l.redirects);
    usual
        && flow
        && !turns_back
        && hop.link != LinkId::LO
        && hop.mac.is_none()
        && !is_ours(cx, key.source(), ingress)
}

/// Whether an address of IPv6 is this router's: what duplicate address detection says of it counts then, and changes.
fn is_ours(cx: &Cx<'_>, src: IpAddr, ingress: LinkId) -> bool {
    src.is_ipv6()
        && (cx.snap.links.owner(src).is_some() || cx.snap.links.get(ingress).is_none_or(|l| l.has(src)))
}

/// The packet of a draft has gone its way: if its next hop's MAC is known, others can go the same way.
pub(super) fn left(cx: &mut Cx<'_>, draft: Draft) {
    let Draft { mut record, hash, hop } = draft;
    if cx.snap.links.get(hop.link).is_none_or(|l| l.is_ethernet()) {
        let Some(next) = cx.me.memo.place(&hop, cx.now, cx.live.neighbors.generation()) else { return };
        record.set_next(next);
    }
    let cache = &mut cx.me.cache;
    let (entered, left) = match cache.table.put(record, hash, &cache.secret) {
        Put::Renewed | Put::Refused => (0, 0),
        Put::Entered => (1, 0),
        Put::Replaced => (1, 1),
    };
    cx.me.counters.tally(Tally::FlowCacheEntered, entered);
    cx.me.counters.tally(Tally::FlowCacheLeft, left);
}

#[cfg(test)]
mod tests;
