//! `-o xml`: a flow as an element. As conntrack-tools have it, an ICMP flow's type, code and identifier are not in it.

use std::fmt;

use super::{family, left, number, protocol_name, state_name};
use crate::base::Instant;
use crate::conntrack::{EventKind, Flow};
use crate::packet::{FlowId, Status, Tuple};
use crate::wire::proto;

/// What stands in front of the elements.
pub const XML_START: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<conntrack>";

/// What stands behind them.
pub const XML_END: &str = "</conntrack>";

/// A flow's element, at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Xml<'a> {
    flow: &'a Flow,
    id: FlowId,
    now: Instant,
    event: Option<EventKind>,
    by_hand: bool,
}

/// The element of a flow, or of something that happened to it.
pub fn xml(flow: &Flow, id: FlowId, now: Instant, event: Option<EventKind>, by_hand: bool) -> Xml<'_> {
    Xml { flow, id, now, event, by_hand }
}

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Xml { flow, id, now, event, by_hand } = *self;
        f.write_str(match event {
            None => "<flow>",
            Some(EventKind::New) => "<flow type=\"new\">",
            Some(EventKind::Update) => "<flow type=\"update\">",
            Some(EventKind::Destroy) => "<flow type=\"destroy\">",
        })?;
        for (name, t) in ["original", "reply"].iter().zip(&flow.tuples) {
            direction(f, name, t)?;
        }
        f.write_str("<meta direction=\"independent\">")?;
        if let Some(state) = state_name(flow) {
            write!(f, "<state>{state}</state>")?;
        }
        if let Some(left) = left(flow, now, event) {
            write!(f, "<timeout>{left}</timeout>")?;
        }
        match event {
            None => write!(f, "<mark>{}</mark><use>1</use>", flow.mark)?,
            Some(_) if flow.mark != 0 => write!(f, "<mark>{}</mark>", flow.mark)?,
            Some(_) => {}
        }
        write!(f, "<id>{}</id>", number(id))?;
        if flow.status.has(Status::ASSURED) {
            f.write_str("<assured/>")?;
        }
        if !flow.status.has(Status::SEEN_REPLY) {
            f.write_str("<unreplied/>")?;
        }
        write!(f, "</meta></flow>{}", if by_hand { " [USERSPACE]" } else { "" })
    }
}

fn direction(f: &mut fmt::Formatter<'_>, name: &str, t: &Tuple) -> fmt::Result {
    let (l3, l3_number) = family(t.v6);
    write!(f, "<meta direction=\"{name}\"><layer3 protonum=\"{l3_number}\" protoname=\"{l3}\">")?;
    write!(f, "<src>{}</src><dst>{}</dst></layer3>", t.src(), t.dst())?;
    write!(f, "<layer4 protonum=\"{}\" protoname=\"{}\">", t.proto, protocol_name(t.proto))?;
    match t.proto {
        proto::GRE => {
            write!(f, "<srckey>0x{:x}</srckey><dstkey>0x{:x}</dstkey>", t.src_port, t.dst_port)?;
        }
        _ if t.has_ports() => write!(f, "<sport>{}</sport><dport>{}</dport>", t.src_port, t.dst_port)?,
        _ => {}
    }
    f.write_str("</layer4></meta>")
}
