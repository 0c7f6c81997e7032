//! Answers about packets that are never sent.
//!
//! The packet walks through a [shadow](crate::router::Shadow) of the router, which is thrown away afterwards.

use std::net::IpAddr;

use super::no_link;
use crate::base::{Instant, LinkId, Mac};
use crate::control::protocol::{Answering, Explain, Explanation};
use crate::control::server::Answer;
use crate::link::Link;
use crate::packet::{MAX_L3, Packet};
use crate::path::trace::Record;
use crate::router::{Fate, Outcome, Router, Shadow, Walked};
use crate::wire::describe::describe;
use crate::wire::words::{self, Spoken, What};
use crate::wire::{ethernet, vlan};

/// Explains what the router would do with a packet at this moment.
pub fn explain(asked: &Explain, router: &Router, now: Instant) -> Answer {
    let mut shadow = router.shadow();
    let packet = match asked {
        Explain::Words { words } => in_words(words, &shadow, now),
        Explain::Frame { link, frame, ethernet } => as_it_is(link.as_deref(), frame, *ethernet, &shadow, now),
    };
    match packet {
        Ok(packet) => Answer::done(&told(packet, &mut shadow, now)),
        Err(why) => Answer::no(why),
    }
}

/// A packet that is asked about.
struct Asked {
    link: Option<(LinkId, String)>,
    ethernet: bool,
    bytes: Vec<u8>,
    notes: Vec<String>,
}

fn in_words(words: &[String], shadow: &Shadow, now: Instant) -> Result<Asked, String> {
    let spoken = words::parse(words.iter().map(String::as_str)).map_err(|e| e.to_string())?;
    let Some(name) = &spoken.link else {
        let bytes = spoken.packet().unwrap_or_default();
        return Ok(Asked { link: None, ethernet: false, bytes, notes: Vec::new() });
    };
    let snap = shadow.router().snapshot();
    let link = named(&snap.links, name)?;
    let at = Some((link.id, link.name.clone()));
    let Some(own) = link.mac else {
        if spoken.from.is_some() || spoken.to.is_some() || spoken.vlan.is_some() {
            return Err(format!(
                "{name} carries packets without an Ethernet header: leave out smac, dmac and vlan"
            ));
        }
        let bytes = spoken.packet().ok_or_else(|| format!("there is no ARP on {name}"))?;
        return Ok(Asked { link: at, ethernet: false, bytes, notes: Vec::new() });
    };
    let mut notes = Vec::new();
    let (from, to) = stations(&spoken, link, own, shadow, now, &mut notes);
    Ok(Asked { link: at, ethernet: true, bytes: spoken.frame(from, to), notes })
}

fn as_it_is(
    link: Option<&str>,
    hex: &str,
    ethernet: bool,
    shadow: &Shadow,
    now: Instant,
) -> Result<Asked, String> {
    let bytes = unhex(hex).ok_or("a frame is told in hexadecimal digits, two for each byte")?;
    if bytes.len() > MAX_L3 + ethernet::HEADER_LEN + vlan::TAG_LEN {
        return Err(format!("no frame has {} bytes", bytes.len()));
    }
    let bare = |bytes: Vec<u8>| if ethernet { without_frame(&bytes) } else { Ok(bytes) };
    let Some(name) = link else {
        let notes = match ethernet {
            true => vec![
                "taken as made by the router itself: -i LINK says by which link the frame comes in"
                    .to_owned(),
            ],
            false => Vec::new(),
        };
        return Ok(Asked { link: None, ethernet: false, bytes: bare(bytes)?, notes });
    };
    let snap = shadow.router().snapshot();
    let link = named(&snap.links, name)?;
    let at = Some((link.id, link.name.clone()));
    let mut notes = Vec::new();
    let (bytes, ethernet) = match (link.mac, ethernet) {
        (Some(_), true) => (bytes, true),
        (None, _) => (bare(bytes)?, false),
        (Some(own), false) => {
            let src = source(&bytes);
            let from = src.map_or_else(Shadow::somebody, |src| sender(shadow, link, src, now, &mut notes));
            let kind =
                if bytes.first().is_some_and(|b| b >> 4 == 6) { ethernet::IPV6 } else { ethernet::IPV4 };
            let mut frame = vec![0; ethernet::HEADER_LEN];
            ethernet::write(&mut frame, own, from, kind);
            frame.extend(bytes);
            (frame, true)
        }
    };
    Ok(Asked { link: at, ethernet, bytes, notes })
}

/// The packet in a frame, for a link without frames.
fn without_frame(frame: &[u8]) -> Result<Vec<u8>, String> {
    let eth = ethernet::Ethernet::new(frame).ok_or("the frame is shorter than its header")?;
    let (mut kind, mut at) = (eth.ethertype(), ethernet::HEADER_LEN);
    while matches!(kind, ethernet::VLAN | ethernet::QINQ) {
        let tag = frame.get(at..).and_then(vlan::Vlan::new).ok_or("the frame ends within its tag")?;
        kind = tag.ethertype();
        at += vlan::TAG_LEN;
    }
    match kind {
        ethernet::IPV4 | ethernet::IPV6 => Ok(frame.get(at..).unwrap_or_default().to_vec()),
        _ => Err(format!("the frame holds no IP packet (type {kind:#06x}), and the link takes nothing else")),
    }
}

fn named<'a>(links: &'a crate::link::Links, name: &str) -> Result<&'a Link, String> {
    links.named(name).ok_or_else(|| no_link(links, name))
}

/// From which station to which the frame goes, where that was not said.
fn stations(
    spoken: &Spoken,
    link: &Link,
    own: Mac,
    shadow: &Shadow,
    now: Instant,
    notes: &mut Vec<String>,
) -> (Mac, Mac) {
    let (src, to) = match &spoken.what {
        What::Ip(ip) => (ip.src, whole_link(link, ip.dst).unwrap_or(own)),
        What::WhoHas { sender, .. } => (IpAddr::V4(*sender), Mac::BROADCAST),
        What::IsAt { mac, .. } => return (spoken.from.unwrap_or(*mac), spoken.to.unwrap_or(own)),
    };
    let from = spoken.from.unwrap_or_else(|| sender(shadow, link, src, now, notes));
    (from, spoken.to.unwrap_or(to))
}

/// The MAC of a group, or of all, if that is whom an address means.
fn whole_link(link: &Link, dst: IpAddr) -> Option<Mac> {
    match dst {
        IpAddr::V4(v4) if v4.is_multicast() => Some(Mac::of_multicast_v4(v4)),
        IpAddr::V6(v6) if v6.is_multicast() => Some(Mac::of_multicast_v6(v6)),
        IpAddr::V4(v4) if v4.is_broadcast() || link.addresses.iter().any(|a| a.broadcast() == Some(v4)) => {
            Some(Mac::BROADCAST)
        }
        _ => None,
    }
}

/// The MAC of who sends from an address, or of somebody.
fn sender(shadow: &Shadow, link: &Link, src: IpAddr, now: Instant, notes: &mut Vec<String>) -> Mac {
    shadow.sender(link.id, src, now).unwrap_or_else(|| {
        let mac = Shadow::somebody();
        notes.push(format!(
            "the router does not know who sends from {src} on {}: it is taken to be {mac}",
            link.name
        ));
        mac
    })
}

fn source(l3: &[u8]) -> Option<IpAddr> {
    match l3.first()? >> 4 {
        4 => Some(crate::wire::ipv4::Ipv4::new(l3)?.src().into()),
        6 => Some(crate::wire::ipv6::Ipv6::new(l3)?.src().into()),
        _ => None,
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pairs = digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2))?;
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn told(asked: Asked, shadow: &mut Shadow, now: Instant) -> Explanation {
    let Asked { link, ethernet, bytes, mut notes } = asked;
    let packet = describe(&bytes, ethernet);
    if let Some((_, name)) = link.as_ref().filter(|(id, _)| !shadow.router().live().states.is_up(*id)) {
        notes.push(format!("{name} is down: nothing comes in by it now"));
    }
    let walked = shadow.walk(link.as_ref().map(|l| l.0), Packet::from_slice(&bytes), now);
    let outcome = Outcome::of(&walked.records);
    remarks(&walked, &outcome, &mut notes);
    Explanation {
        link: link.map(|l| l.1),
        packet,
        verdict: outcome.to_string(),
        outcome,
        answers: answers(&walked.records),
        log: walked.log.into_iter().map(|(_, line)| line).collect(),
        records: walked.records,
        notes,
    }
}

/// The packets behind the first that the records tell of.
fn answers(records: &[Record]) -> Vec<Answering> {
    let Some(first) = records.first() else { return Vec::new() };
    let mut ids: Vec<u32> = records.iter().map(|r| r.id).filter(|id| *id != first.id).collect();
    ids.dedup();
    let answering = |id: u32| {
        let own: Vec<Record> = records.iter().filter(|r| r.id == id).cloned().collect();
        let outcome = Outcome::of(&own);
        let packet = own.first().map(|r| r.packet.clone()).unwrap_or_default();
        Answering { packet, verdict: outcome.to_string(), outcome }
    };
    ids.into_iter().map(answering).collect()
}

/// What there is to know besides.
fn remarks(walked: &Walked, outcome: &Outcome, notes: &mut Vec<String>) {
    if walked.chance.rules {
        notes.push(
            "a rule picks packets by chance (statistic --mode random): the next one may fare otherwise"
                .into(),
        );
    }
    if walked.chance.nat {
        notes.push("NAT has drawn the port by chance: a packet that is sent gets another".into());
    }
    if outcome.verdict == Fate::Waits {
        notes.push("a neighbor has to be asked for first: if it does not answer, the sender is told that it can't be reached".into());
    }
    if !walked.host.is_empty() && outcome.text.is_none() {
        notes.push("what the local stack answers is not known here".into());
    }
}
