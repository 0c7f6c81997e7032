//! What a program gives, and what it asks of the router it runs in.

use std::net::IpAddr;

use crate::base::{Hook, Instant, LinkId};
use crate::packet::{FlowView, NatRange, Packet};

use super::matches::AddrTypes;
use super::rule::TableName;
use super::targets::RejectWith;
use super::witness::Witness;

/// What a table says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on.
    Accept,
    /// It goes no further.
    Drop,
    /// It goes no further, and its sender is told.
    Reject(RejectWith),
    /// Its flow is to be translated, and it may go on.
    Nat(NatAction),
}

/// How a flow is to be translated, as the rule says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatAction {
    /// The source, to one of these.
    Snat(NatRange),
    /// The destination, to one of these. NETMAP is an SNAT or a DNAT with `netmap` set.
    Dnat(NatRange),
    /// The source, to the address of the link it leaves by; ports and flags from here.
    Masquerade(NatRange),
    /// The destination, to this router; ports and flags from here.
    Redirect(NatRange),
}

/// A rule, by its place; policies have number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleRef<'a> {
    /// Its table.
    pub table: TableName,
    /// Its chain.
    pub chain: &'a str,
    /// Its number in the chain, from 1; 0 is the chain's policy.
    pub number: usize,
}

/// The router a program runs in.
pub trait Env {
    /// The time.
    fn now(&self) -> Instant;

    /// Which of the workers this is, from 0: it counts in a column of its own.
    fn lane(&self) -> usize;

    /// The hook the packet is at.
    fn hook(&self) -> Hook;

    /// The link it came in by; `None` for packets made here (OUTPUT, and POSTROUTING after it).
    fn in_link(&self) -> Option<LinkId>;

    /// The link it leaves by; `None` in PREROUTING and INPUT.
    fn out_link(&self) -> Option<LinkId>;

    /// The packet's flow, if it is tracked (not UNTRACKED, not INVALID).
    fn flow(&mut self, packet: &Packet) -> Option<FlowView>;

    /// Gives the packet's flow a mark; nothing if it has none.
    fn set_flow_mark(&mut self, packet: &Packet, mark: u32);

    /// The type of an address: one bit. With `on`, as seen by that link alone (`--limit-iface-*`).
    fn addr_type(&mut self, addr: IpAddr, on: Option<LinkId>) -> AddrTypes;

    /// A random number.
    fn random(&mut self) -> u32;

    /// The smallest MTU on the packet's way, here and back, for `--clamp-mss-to-pmtu`; `None` if there is no way.
    fn path_mtu(&mut self, packet: &Packet) -> Option<u32>;

    /// Writes a line to the log: `level` is syslog's.
    fn log(&mut self, level: u8, line: &str);

    /// The name of a link, for log lines.
    fn link_name(&self, link: LinkId) -> &str;

    /// A rule's matches have all agreed on a packet whose way is being recorded (`meta.trace`), and its target is done
    /// next.
    fn matched(&mut self, packet: &Packet, rule: RuleRef<'_>);

    /// A policy decided on a packet whose way is being recorded, or a rule did without its target: `verdict` says how.
    fn decided(&mut self, packet: &Packet, rule: RuleRef<'_>, verdict: &str);

    /// Where to note what the answer rests on, if somebody wants to repeat it.
    fn witness(&mut self) -> Option<&mut Witness> {
        None
    }
}
