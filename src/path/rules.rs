//! The tables of rules on a packet's way, and what their programs may ask of the router.

use std::net::IpAddr;

use crate::base::counters::Tally;
use crate::base::{DropReason, Hook, Instant, LinkId};
use crate::fib::{Action, Entry};
use crate::filter::matches::AddrTypes;
use crate::filter::{Env, Family, NatAction, Program, RuleRef, TableName, Verdict, Witness, iptables};
use crate::packet::{FlowView, Net, Packet};

use super::hook::At;
use super::trace::Step;
use super::{Cx, deliver, reject, track};

/// Lines for the log that a worker keeps until they are fetched; more are lost, and counted.
const LOG: usize = 256;

/// Asks a table about a packet. In the table nat only the answer's meaning is left to the caller.
pub(super) fn ask(
    cx: &mut Cx<'_>,
    at: &At,
    table: TableName,
    p: &mut Packet,
) -> Result<Option<NatAction>, DropReason> {
    let snap = cx.snap;
    let Some(program) = snap.hooks.program(p.meta.net) else { return Ok(None) };
    match run(program, cx, at, table, p) {
        Verdict::Accept => Ok(None),
        Verdict::Drop => Err(DropReason::Filtered),
        Verdict::Reject(with) => {
            reject::reject(cx, p, with);
            Err(DropReason::Rejected)
        }
        Verdict::Nat(action) => Ok(Some(action)),
    }
}

#[inline]
fn run(program: &Program, cx: &mut Cx<'_>, at: &At, table: TableName, p: &mut Packet) -> Verdict {
    program.run(table, p, &mut Walking { cx, at })
}

/// A walk, as a program sees it.
struct Walking<'w, 'c> {
    cx: &'w mut Cx<'c>,
    at: &'w At,
}

impl Env for Walking<'_, '_> {
    fn now(&self) -> Instant {
        self.cx.now
    }

    fn lane(&self) -> usize {
        self.cx.me.lane
    }

    fn hook(&self) -> Hook {
        self.at.hook
    }

    fn in_link(&self) -> Option<LinkId> {
        self.at.input
    }

    fn out_link(&self) -> Option<LinkId> {
        self.at.output
    }

    fn flow(&mut self, packet: &Packet) -> Option<FlowView> {
        packet
            .meta
            .ct
            .is_tracked()
            .then(|| self.cx.me.flow.as_ref().map(|c| c.flow.view(self.cx.now)))
            .flatten()
    }

    fn set_flow_mark(&mut self, packet: &Packet, mark: u32) {
        // The next packet will find it so.
        self.cx.me.cache.spoil();
        if packet.meta.ct.is_tracked() {
            track::set_mark(self.cx, mark);
        }
    }

    /// `inet_addr_type` asks the table of local addresses only; for IPv6 the routes count too.
    fn addr_type(&mut self, addr: IpAddr, on: Option<LinkId>) -> AddrTypes {
        let at = |link: &LinkId| on.is_none_or(|on| on == *link);
        match addr {
            IpAddr::V4(a) if a.octets()[0] == 0 || a.is_broadcast() => AddrTypes::BROADCAST,
            IpAddr::V4(a) if a.is_multicast() => AddrTypes::MULTICAST,
            IpAddr::V6(a) if a.is_unspecified() => AddrTypes::UNSPEC,
            IpAddr::V6(a) if a.is_multicast() => AddrTypes::MULTICAST,
            IpAddr::V6(a) if a.is_unicast_link_local() => {
                let own = self.cx.snap.links.iter().any(|l| at(&l.id) && l.has(addr));
                if own { AddrTypes::LOCAL } else { AddrTypes::UNICAST }
            }
            _ => match self.cx.snap.fib.lookup(addr).map(|e| &e.action) {
                Some(Action::Local(link)) if at(link) => AddrTypes::LOCAL,
                Some(Action::Broadcast(link)) if at(link) => AddrTypes::BROADCAST,
                Some(Action::Anycast(link)) if at(link) => AddrTypes::ANYCAST,
                Some(Action::Unreachable | Action::Prohibit | Action::Blackhole) | None if addr.is_ipv6() => {
                    AddrTypes::UNREACHABLE
                }
                _ => AddrTypes::UNICAST,
            },
        }
    }

    fn random(&mut self) -> u32 {
        (self.cx.me.chance(|c| &mut c.rules) >> 32) as u32
    }

    fn path_mtu(&mut self, packet: &Packet) -> Option<u32> {
        let (src, _) = deliver::ends(packet)?;
        let link = |id: LinkId| self.cx.snap.links.get(id);
        let output = link(self.at.output?)?;
        let out = self.at.hop.map_or(output.mtu as usize, |hop| hop.fits(output)) as u32;
        let entry = self.cx.snap.fib.lookup(src);
        let back = match entry.map(|e| &e.action) {
            Some(Action::Forward(hops)) => {
                let hop = hops.iter().next()?;
                link(hop.link)?.mtu.min(entry.map_or(Entry::UNLIMITED, |e| e.mtu(src)).into())
            }
            Some(Action::Local(_) | Action::Anycast(_) | Action::Broadcast(_)) => link(LinkId::LO)?.mtu,
            // Without a way back only this one counts.
            _ => out,
        };
        Some(out.min(back))
    }

    fn log(&mut self, level: u8, line: &str) {
        if self.cx.me.log.len() < LOG {
            self.cx.me.log.push((level, line.to_owned()));
            self.cx.tally(Tally::Logged);
        } else {
            self.cx.tally(Tally::LogLost);
        }
    }

    fn link_name(&self, link: LinkId) -> &str {
        self.cx.link_name(link)
    }

    fn matched(&mut self, packet: &Packet, at: RuleRef<'_>) {
        let hook = self.at.hook.name().to_owned();
        self.cx.note(packet, |cx| {
            let found =
                cx.snap.hooks.program(packet.meta.net).and_then(|p| p.rule(at.table, at.chain, at.number));
            let (family, command) = command(packet);
            Step::Rule {
                command,
                hook,
                table: at.table.name().to_owned(),
                chain: at.chain.to_owned(),
                number: at.number,
                rule: found.map_or(String::new(), |r| iptables::rule(r, at.chain, family).to_string()),
                target: found.map_or("", |r| r.target.name()).to_owned(),
            }
        });
    }

    fn decided(&mut self, packet: &Packet, at: RuleRef<'_>, verdict: &str) {
        let hook = self.at.hook.name().to_owned();
        self.cx.note(packet, |_| Step::Policy {
            command: command(packet).1,
            hook,
            table: at.table.name().to_owned(),
            chain: at.chain.to_owned(),
            verdict: match at.number {
                0 => verdict.to_owned(),
                n => format!("rule {n}: {verdict}"),
            },
        });
    }

    fn witness(&mut self) -> Option<&mut Witness> {
        self.cx.me.cache.witness()
    }
}

/// Whose rules a packet meets, and the command that shows them.
fn command(p: &Packet) -> (Family, String) {
    match p.meta.net {
        Net::Ipv6 => (Family::V6, "ip6tables".to_owned()),
        _ => (Family::V4, "iptables".to_owned()),
    }
}
