//! Blocks of a pcapng file, for Wireshark and tcpdump: written here, whoever has the packets.
//!
//! ```text
//!  section header ┊ interface description ┊ enhanced packet ┊ enhanced packet … ┊ interface statistics
//!
//!  block       type (u32) ┊ length (u32) ┊ body, padded to 4 ┊ length (u32)
//!  option      code (u16) ┊ length (u16) ┊ value, padded to 4       … ended by code 0, length 0
//!  packet      interface ┊ time, high ┊ time, low ┊ captured ┊ original (u32 each) ┊ bytes ┊ options
//!  statistics  interface ┊ time, high ┊ time, low (u32 each) ┊ options
//! ```
//!
//! (draft-ietf-opsawg-pcapng; all in the byte order of this machine, which the section header tells.) Knows nothing of ports
//! or of the router.

use std::io::{self, Write};

/// What a packet's bytes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum LinkType {
    /// An Ethernet header (LINKTYPE_ETHERNET).
    Ethernet = 1,
    /// An IP header of either version (LINKTYPE_RAW).
    Raw = 101,
}

/// A packet as it goes into a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Enhanced<'a> {
    /// Which of the interfaces described before.
    pub interface: u32,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Its first bytes.
    pub kept: &'a [u8],
    /// How long it was.
    pub original: usize,
    /// 1: it came in; 2: it went out (epb_flags).
    pub direction: Option<u32>,
    /// Packets that did not get into the file since the one before.
    pub lost: u64,
    /// For people.
    pub comment: &'a str,
}

/// The section header: the first block of a file.
pub fn section_header() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(0x1a2b_3c4d_u32.to_ne_bytes()); // byte-order magic
    body.extend(1u16.to_ne_bytes());
    body.extend(0u16.to_ne_bytes());
    body.extend(u64::MAX.to_ne_bytes()); // section length: not known
    option(&mut body, SHB_USERAPPL, concat!("sekisho ", env!("CARGO_PKG_VERSION")).as_bytes());
    option(&mut body, END, b"");
    let mut out = Vec::new();
    block(&mut out, 0x0a0d_0d0a, &body);
    out
}

/// An interface: the first is number 0. Times on it are in nanoseconds.
pub fn interface_description(out: &mut Vec<u8>, name: &str, kind: LinkType, snap: usize) {
    let mut body = Vec::new();
    body.extend((kind as u16).to_ne_bytes());
    body.extend(0u16.to_ne_bytes());
    body.extend(u32::try_from(snap).unwrap_or(u32::MAX).to_ne_bytes());
    option(&mut body, IF_NAME, name.as_bytes());
    option(&mut body, IF_TSRESOL, &[9]); // 10⁻⁹ s
    option(&mut body, END, b"");
    block(out, 1, &body);
}

/// A packet.
pub fn enhanced_packet(out: &mut Vec<u8>, p: &Enhanced<'_>) {
    let mut body = Vec::with_capacity(p.kept.len() + p.comment.len() + 64);
    let len = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    for word in [p.interface, (p.time >> 32) as u32, p.time as u32, len(p.kept.len()), len(p.original)] {
        body.extend(word.to_ne_bytes());
    }
    body.extend_from_slice(p.kept);
    body.resize(body.len().next_multiple_of(4), 0);
    if !p.comment.is_empty() {
        option(&mut body, COMMENT, p.comment.as_bytes());
    }
    if let Some(direction) = p.direction {
        option(&mut body, EPB_FLAGS, &direction.to_ne_bytes());
    }
    if p.lost > 0 {
        option(&mut body, EPB_DROPCOUNT, &p.lost.to_ne_bytes());
    }
    option(&mut body, END, b"");
    block(out, 6, &body);
}

/// How many packets an interface received while it was watched, and how many of those are not in the file.
pub fn interface_statistics(out: &mut Vec<u8>, interface: u32, time: u64, received: u64, lost: u64) {
    let mut body = Vec::new();
    for word in [interface, (time >> 32) as u32, time as u32] {
        body.extend(word.to_ne_bytes());
    }
    option(&mut body, ISB_IFRECV, &received.to_ne_bytes());
    option(&mut body, ISB_IFDROP, &lost.to_ne_bytes());
    option(&mut body, END, b"");
    block(out, 5, &body);
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let len = (body.len() + 12) as u32;
    out.extend(kind.to_ne_bytes());
    out.extend(len.to_ne_bytes());
    out.extend_from_slice(body);
    out.extend(len.to_ne_bytes());
}

/// Values longer than an option can hold are cut.
fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    out.extend(code.to_ne_bytes());
    out.extend((value.len() as u16).to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Ends a list of options (opt_endofopt).
const END: u16 = 0;
/// opt_comment.
const COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const EPB_DROPCOUNT: u16 = 4;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;

/// A file that interfaces and packets are written to as they come.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    snap: usize,
    /// By name: what was written of each.
    interfaces: Vec<Interface>,
    bytes: u64,
    /// Packets that are known to be missing.
    lost: u64,
    block: Vec<u8>,
}

#[derive(Debug)]
struct Interface {
    name: String,
    kind: LinkType,
    packets: u64,
    last: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file, of packets cut to `snap` bytes.
    ///
    /// # Errors
    /// What writing gives.
    pub fn new(mut to: W, snap: usize) -> io::Result<Self> {
        let header = section_header();
        to.write_all(&header)?;
        Ok(Writer {
            to,
            snap,
            interfaces: Vec::new(),
            bytes: header.len() as u64,
            lost: 0,
            block: Vec::new(),
        })
    }

    /// Writes a packet of the interface of this name, which is described when it is named first.
    ///
    /// # Errors
    /// What writing gives.
    pub fn packet(&mut self, name: &str, kind: LinkType, packet: Enhanced<'_>) -> io::Result<()> {
        self.block.clear();
        let known = self.interfaces.iter().position(|i| i.name == name && i.kind == kind);
        let interface = known.unwrap_or_else(|| {
            interface_description(&mut self.block, name, kind, self.snap);
            self.interfaces.push(Interface { name: name.to_owned(), kind, packets: 0, last: 0 });
            self.interfaces.len() - 1
        });
        enhanced_packet(&mut self.block, &Enhanced { interface: interface as u32, ..packet });
        if let Some(i) = self.interfaces.get_mut(interface) {
            i.packets += 1;
            i.last = i.last.max(packet.time);
        }
        self.put()
    }

    /// Says that packets are missing, of whatever interface.
    pub fn missed(&mut self, n: u64) {
        self.lost += n;
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sees to it that what was written can be read.
    ///
    /// # Errors
    /// What writing gives.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    /// Ends the file with each interface's statistics. Of what interfaces missing packets were is not known: they stand with
    /// the first.
    ///
    /// # Errors
    /// What writing gives.
    pub fn finish(mut self) -> io::Result<W> {
        self.block.clear();
        if self.interfaces.is_empty() && self.lost > 0 {
            interface_description(&mut self.block, "none", LinkType::Raw, self.snap);
            interface_statistics(&mut self.block, 0, 0, self.lost, self.lost);
        }
        let mut lost = self.lost;
        for (number, i) in self.interfaces.iter().enumerate() {
            let here = std::mem::take(&mut lost);
            interface_statistics(&mut self.block, number as u32, i.last, i.packets + here, here);
        }
        self.put()?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn put(&mut self) -> io::Result<()> {
        self.bytes += self.block.len() as u64;
        self.to.write_all(&self.block)
    }
}

#[cfg(test)]
mod tests;
