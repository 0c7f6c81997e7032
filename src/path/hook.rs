//! What hangs at the hooks, in what order, and the one place that calls it.
//!
//! Each hook has a list of stages for each family, sorted by priority as in the kernel
//! (`include/uapi/linux/netfilter_ipv4.h`): the router's own, and functions that a program which links this
//! library has registered.
//!
//! ```text
//! -400 defrag   -300 raw   -200 conntrack   -150 mangle   -100 dnat   0 filter   100 snat   last: confirm
//! ```

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::base::counters::AtHook;
use crate::base::{Column, DropReason, Event, HOOKS, Hook, LinkId};
use crate::filter::{Family, Program, TableName};
use crate::packet::{Manip, Net, Packet};

use super::trace::{self, Step};
use super::{Bound, Cx, Hop, defrag, nat, queue, rules, track};

/// Where a function stands among the others at a hook: lower ones are called first.
pub mod priority {
    /// Fragments become datagrams.
    pub const DEFRAG: i32 = -400;
    /// The table raw.
    pub const RAW: i32 = -300;
    /// The packet's flow is found or begun.
    pub const CONNTRACK: i32 = -200;
    /// The table mangle.
    pub const MANGLE: i32 = -150;
    /// The destination is translated.
    pub const DNAT: i32 = -100;
    /// The table filter.
    pub const FILTER: i32 = 0;
    /// The source is translated.
    pub const SNAT: i32 = 100;
    /// Behind the translation, where helpers of protocols look into payloads (`NF_IP_PRI_CONNTRACK_HELPER`).
    pub const HELPER: i32 = 300;
    /// A flow that begins is entered into the table.
    pub const CONFIRM: i32 = i32::MAX;
}

/// What a registered function says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It goes no further; `hook` in the counters.
    Drop,
    /// The function has taken it (`std::mem::take`), or wants it gone: it counts as delivered.
    Stolen,
    /// It waits in the queue of this number for [`Worker::reinject`](crate::router::Worker::reinject).
    Queue(u16),
    /// The function wants to be asked once more.
    Repeat,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Accept => f.write_str("accept"),
            Verdict::Drop => f.write_str("drop"),
            Verdict::Stolen => f.write_str("stolen"),
            Verdict::Queue(number) => write!(f, "queue {number}"),
            Verdict::Repeat => f.write_str("repeat"),
        }
    }
}

/// Where a packet is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// The hook.
    pub hook: Hook,
    /// The link it came in by; `None` for packets made here, until they come in by the loopback.
    pub input: Option<LinkId>,
    /// The link it is to leave by; `None` in PREROUTING and INPUT.
    pub output: Option<LinkId>,
    /// The hop it is to leave by; `None` where there is no output, and for the loopback.
    pub(super) hop: Option<Hop>,
    /// What a packet made here is tied to.
    pub(super) bound: Bound,
}

impl At {
    /// In PREROUTING and INPUT.
    pub(super) fn coming(hook: Hook, p: &Packet) -> At {
        At { hook, input: Some(p.meta.ingress), output: None, hop: None, bound: Bound::Free }
    }

    /// In FORWARD, and in POSTROUTING after it.
    pub(super) fn passing(hook: Hook, p: &Packet, hop: &Hop) -> At {
        At { hook, input: Some(p.meta.ingress), output: Some(hop.link), hop: Some(*hop), bound: Bound::Free }
    }

    /// In OUTPUT, and in POSTROUTING after it.
    pub(super) fn leaving(hook: Hook, hop: Option<&Hop>, bound: Bound) -> At {
        let output = Some(hop.map_or(LinkId::LO, |h| h.link));
        At { hook, input: None, output, hop: hop.copied(), bound }
    }
}

/// A function that sees packets at a hook.
pub type Call = Arc<dyn Fn(&At, &mut Packet) -> Verdict + Send + Sync>;

/// A registered function.
#[derive(Clone)]
pub struct Function {
    /// What it is called in traces.
    pub name: String,
    /// Where.
    pub hook: Hook,
    /// Among the others there; see [`priority`]. After the router's own stage of the same priority.
    pub priority: i32,
    /// The function. It is called by every worker, in the middle of its work: it must not wait.
    pub call: Call,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} {}", self.name, self.hook.name(), self.priority)
    }
}

/// One thing that hangs at a hook.
#[derive(Debug, Clone)]
enum Stage {
    Defrag,
    Track,
    Table(TableName),
    Nat(Manip),
    Function(Function),
    Confirm,
}

impl Stage {
    fn priority(&self) -> i32 {
        match self {
            Stage::Defrag => priority::DEFRAG,
            Stage::Track => priority::CONNTRACK,
            Stage::Table(TableName::Raw) => priority::RAW,
            Stage::Table(TableName::Mangle) => priority::MANGLE,
            Stage::Table(TableName::Filter) => priority::FILTER,
            Stage::Nat(Manip::Dst) | Stage::Table(TableName::Nat) => priority::DNAT,
            Stage::Nat(Manip::Src) => priority::SNAT,
            Stage::Function(f) => f.priority,
            Stage::Confirm => priority::CONFIRM,
        }
    }
}

/// When flows are tracked and fragments put together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tracking {
    /// When a family's rules need it, as in the kernel.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never. Rules that need it see no flow, and translate nothing.
    Off,
}

/// Everything that hangs at the hooks. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    programs: [Option<Arc<Program>>; 2],
    tracking: Tracking,
    functions: Vec<Function>,
    lists: Arc<[[Vec<Stage>; HOOKS.len()]; 2]>,
}

impl Hooks {
    /// Nothing hangs anywhere.
    pub fn new() -> Self {
        Hooks::default()
    }

    /// Hangs up a family's rules; those that were there go.
    #[must_use]
    pub fn with_rules(mut self, family: Family, program: Option<Arc<Program>>) -> Self {
        self.programs[family as usize] = program;
        self.hang();
        self
    }

    /// Says when flows are tracked.
    #[must_use]
    pub fn with_tracking(mut self, tracking: Tracking) -> Self {
        self.tracking = tracking;
        self.hang();
        self
    }

    /// Whether flows of this family are tracked.
    pub fn tracks(&self, family: Family) -> bool {
        match self.tracking {
            Tracking::On => true,
            Tracking::Off => false,
            Tracking::Auto => self.rules(family).is_some_and(|p| p.needs_conntrack()),
        }
    }

    /// Whether flows of this family are translated.
    pub fn translates(&self, family: Family) -> bool {
        self.tracks(family) && self.rules(family).is_some_and(|p| p.has(TableName::Nat, Hook::Postrouting))
    }

    /// A family's rules.
    pub fn rules(&self, family: Family) -> Option<&Arc<Program>> {
        self.programs[family as usize].as_ref()
    }

    /// The rules for packets of this protocol.
    #[inline]
    pub(super) fn program(&self, net: Net) -> Option<&Program> {
        self.programs[usize::from(net == Net::Ipv6)].as_deref()
    }

    /// Whether a rule sends what comes to this address and port elsewhere than to `from`, who wants it.
    pub(super) fn claimed(&self, proto: u8, addr: IpAddr, port: u16, from: IpAddr) -> bool {
        let program = &self.programs[usize::from(addr.is_ipv6())];
        program.as_ref().is_some_and(|program| program.claims().hold(proto, addr, port, from))
    }

    /// Hangs up a function.
    #[must_use]
    pub fn with(mut self, function: Function) -> Self {
        self.functions.push(function);
        self.hang();
        self
    }

    /// The same, for a router beside the one it hangs in: see [`Snapshot::shadow`](super::Snapshot::shadow).
    pub(super) fn shadow(&self) -> Hooks {
        let mut shadow = self.clone();
        shadow.programs = self.programs.each_ref().map(|p| p.as_ref().map(|p| Arc::new(p.shadow())));
        for function in &mut shadow.functions {
            function.name += " (not asked)";
            function.call = Arc::new(|_, _| Verdict::Accept);
        }
        shadow.hang();
        shadow
    }

    /// Makes the lists anew. What does not work for a family is not in its lists and costs it nothing.
    fn hang(&mut self) {
        let lists = [Family::V4, Family::V6].map(|family| HOOKS.map(|hook| self.list(family, hook)));
        self.lists = Arc::new(lists);
    }

    fn list(&self, family: Family, hook: Hook) -> Vec<Stage> {
        let tracks = self.tracks(family);
        let mut stages = Vec::new();
        if tracks && matches!(hook, Hook::Prerouting | Hook::Output) {
            stages.extend([Stage::Defrag, Stage::Track]);
        }
        if let Some(program) = self.rules(family) {
            let tables = [TableName::Raw, TableName::Mangle, TableName::Filter];
            stages.extend(tables.into_iter().filter(|t| program.has(*t, hook)).map(Stage::Table));
            if tracks && program.has(TableName::Nat, hook) {
                stages.push(Stage::Nat(match hook {
                    Hook::Prerouting | Hook::Output => Manip::Dst,
                    Hook::Input | Hook::Forward | Hook::Postrouting => Manip::Src,
                }));
            }
        }
        if tracks && matches!(hook, Hook::Input | Hook::Postrouting) {
            stages.push(Stage::Confirm);
        }
        stages.extend(self.functions.iter().filter(|f| f.hook == hook).cloned().map(Stage::Function));
        stages.sort_by_key(Stage::priority);
        stages
    }

    #[inline]
    fn at(&self, hook: Hook, net: Net) -> &[Stage] {
        &self.lists[usize::from(net == Net::Ipv6)][hook as usize]
    }
}

/// Why a walk goes no further for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The packet ends here.
    Drop(DropReason),
    /// Somebody else has the packet: a queue, a function, or a datagram it is a fragment of.
    Held,
}

impl From<DropReason> for Stop {
    fn from(reason: DropReason) -> Self {
        Stop::Drop(reason)
    }
}

/// How often a function may ask for the same packet again.
const MAX_REPEATS: usize = 64;

/// Shows the packet to everything that hangs at this hook, in order; the first refusal is final.
#[inline]
pub(super) fn hook(cx: &mut Cx<'_>, at: &At, p: &mut Packet) -> Result<(), Stop> {
    trace::at_hook(cx, at, p);
    stages(cx, at, p, 0)
}

/// Goes on at a hook behind the stage of this priority and number among its equals, or with it again.
pub(super) fn resume(cx: &mut Cx<'_>, at: &At, p: &mut Packet, place: queue::Place) -> Result<(), Stop> {
    let list = cx.snap.hooks.at(at.hook, p.meta.net);
    // The list may have changed since: then its priority says where the packet was.
    let same = list.get(place.index).is_some_and(|s| s.priority() == place.priority);
    let from = match same {
        true => place.index + usize::from(!place.again),
        false if place.again => list.partition_point(|s| s.priority() < place.priority),
        false => list.partition_point(|s| s.priority() <= place.priority),
    };
    stages(cx, at, p, from)
}

#[inline]
fn stages(cx: &mut Cx<'_>, at: &At, p: &mut Packet, from: usize) -> Result<(), Stop> {
    cx.me.counters.at_hook(at.hook, AtHook::Seen);
    let went = ask(cx, at, p, from);
    match went {
        Ok(()) => {}
        Err(Stop::Drop(_)) => cx.me.counters.at_hook(at.hook, AtHook::Dropped),
        Err(Stop::Held) => cx.me.counters.at_hook(at.hook, AtHook::Held),
    }
    went
}

#[inline]
fn ask(cx: &mut Cx<'_>, at: &At, p: &mut Packet, from: usize) -> Result<(), Stop> {
    let snap = cx.snap;
    let list = snap.hooks.at(at.hook, p.meta.net);
    for (index, stage) in list.iter().enumerate().skip(from) {
        match stage {
            Stage::Defrag => defrag::defrag(cx, p)?,
            Stage::Track => track::track(cx, at, p)?,
            Stage::Table(table) => drop(rules::ask(cx, at, *table, p)?),
            Stage::Nat(manip) => nat::translate(cx, at, *manip, p)?,
            Stage::Confirm => track::confirm(cx, p)?,
            Stage::Function(f) => {
                let place = queue::Place { index, priority: f.priority, again: false };
                cx.me.cache.spoil();
                function(cx, at, f, p, place)?;
            }
        }
    }
    Ok(())
}

fn function(cx: &mut Cx<'_>, at: &At, f: &Function, p: &mut Packet, place: queue::Place) -> Result<(), Stop> {
    let (column, trace): (Column, _) = (p.meta.column, p.meta.trace);
    for _ in 0..MAX_REPEATS {
        let verdict = (f.call)(at, p);
        // Even of a packet that it has put in place of another: the ledger knows this one.
        p.meta.column = column;
        if let Some(id) = trace {
            // Of one that it has put in the packet's place too.
            p.meta.trace = trace;
            cx.noted(
                id,
                Step::Function { name: f.name.clone(), priority: f.priority, verdict: verdict.to_string() },
            );
        }
        match verdict {
            Verdict::Accept => return Ok(()),
            Verdict::Drop => return Err(Stop::Drop(DropReason::Hook)),
            Verdict::Stolen => {
                cx.note(p, |_| Step::Stolen { by: f.name.clone() });
                cx.me.counters.event(column, Event::Delivered);
                let left = std::mem::take(p);
                cx.me.pool.put(left);
                return Err(Stop::Held);
            }
            Verdict::Queue(number) => return queue::put(cx, at, p, number, place),
            Verdict::Repeat => {}
        }
    }
    Err(Stop::Drop(DropReason::HookLoop))
}
