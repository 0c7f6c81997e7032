//! TCPMSS: the largest segment a SYN announces, brought down to what the way carries.
//!
//! ```text
//!  TCP header, 20 bytes ─┬─ options …                      if there is the option, its value goes down
//!                        └─ [2][4][ MSS ] ─ options …      if not, it is put in front of the others
//! ```

use crate::filter::targets::Mss;
use crate::filter::verdict::Env;
use crate::packet::{Csum, MAX_L3, Packet, Pool};
use crate::wire::checksum;
use crate::wire::ipv6::Ipv6;
use crate::wire::tcp::{self, Tcp};

use super::act;
use super::addr::Addr;
use super::check::Hotdrop;
use super::facts::Facts;

/// Kind and length of the option (RFC 9293 §3.7.1).
const KIND: u8 = 2;
const LEN: usize = 4;

/// Does it. `Err` where the kernel drops: the header does not fit the packet, or the path's MTU leaves no room.
pub(super) fn set<A: Addr, E: Env>(
    how: Mss,
    p: &mut Packet,
    f: &Facts<A>,
    env: &mut E,
) -> Result<(), Hotdrop> {
    if f.frag != 0 {
        return Ok(());
    }
    let l4 = p.l3().get(f.l4..).unwrap_or_default();
    let (len, header) = (l4.len(), Tcp::new(l4).ok_or(Hotdrop)?.header_len());
    if header < tcp::HEADER_LEN || len < header {
        return Err(Hotdrop);
    }
    let mss = match how {
        Mss::Set(mss) => mss,
        Mss::Clamp => {
            let Some(mtu) = env.path_mtu(p) else { return Ok(()) };
            let headers = if A::V6 { 60 } else { 40 };
            match mtu.checked_sub(headers) {
                None | Some(0) => return Err(Hotdrop),
                // The kernel's number has 16 bits too, and only the loopback's MTU could go beyond.
                Some(mss) => mss as u16,
            }
        }
    };
    match find(l4.get(..header).unwrap_or_default()) {
        Some(at) => lower(p, f.l4, at, mss),
        // With data the segment might become too long; without room there is no place.
        None if len > header || header >= 60 => {}
        None => insert::<A>(p, f.l4, mss.min(if A::V6 { 1220 } else { 536 })),
    }
    Ok(())
}

/// Brings the largest segment that a TCP header announces down to this, if it announces a larger one.
pub fn lower_mss(p: &mut Packet, mss: u16) {
    let l4 = usize::from(p.meta.l4);
    let bytes = p.l3().get(l4..).unwrap_or_default();
    let Some(header) = Tcp::new(bytes).and_then(|tcp| bytes.get(..tcp.header_len())) else { return };
    if let Some(at) = find(header) {
        lower(p, l4, at, mss);
    }
}

/// Where the option's value is, from the TCP header.
fn find(header: &[u8]) -> Option<usize> {
    let mut at = tcp::HEADER_LEN;
    while at + LEN <= header.len() {
        let [kind, len] = *header.get(at..)?.first_chunk()?;
        if kind == KIND && usize::from(len) == LEN {
            return Some(at + 2);
        }
        at += if kind <= 1 || len == 0 { 1 } else { usize::from(len) };
    }
    None
}

/// Writes the value, unless what is there is lower.
fn lower(p: &mut Packet, l4: usize, at: usize, mss: u16) {
    let partial = matches!(p.meta.offload.csum, Csum::Partial { .. });
    let Some(tcp) = p.l3_mut().get_mut(l4..) else { return };
    // An option may begin at an odd place: the sum is over the words that the value touches.
    let words = at & !1..(at + 3) & !1;
    let (mut old, mut new) = ([0; 4], [0; 4]);
    let (old, new) = (&mut old[..words.len()], &mut new[..words.len()]);
    let Some(touched) = tcp.get_mut(words) else { return };
    old.copy_from_slice(touched);
    let value = &mut touched[at & 1..][..2];
    if u16::from_be_bytes([value[0], value[1]]) <= mss {
        return;
    }
    value.copy_from_slice(&mss.to_be_bytes());
    new.copy_from_slice(touched);
    if !partial {
        update(tcp, |csum| checksum::update_bytes(csum, old, new));
    }
}

/// Puts the option in front of the others, and makes all lengths and sums right.
fn insert<A: Addr>(p: &mut Packet, l4: usize, mss: u16) {
    let partial = matches!(p.meta.offload.csum, Csum::Partial { .. });
    let len = p.l3_len().saturating_sub(l4);
    let [hi, lo] = mss.to_be_bytes();
    let option = [KIND, LEN as u8, hi, lo];
    if p.l3_len() + LEN > MAX_L3 {
        return;
    }
    make_room(p);
    if !p.append(&option) {
        return;
    }
    let Some(tcp) = p.l3_mut().get_mut(l4..) else { return };
    tcp.copy_within(tcp::HEADER_LEN..len, tcp::HEADER_LEN + LEN);
    tcp[tcp::HEADER_LEN..tcp::HEADER_LEN + LEN].copy_from_slice(&option);
    let word = [tcp[12], tcp[13]];
    tcp[12] += 0x10;
    let longer = [tcp[12], tcp[13]];
    let (old_len, new_len) = ((len as u16).to_be_bytes(), ((len + LEN) as u16).to_be_bytes());
    if partial {
        update(tcp, |field| checksum::update_partial(field, &old_len, &new_len));
    } else {
        update(tcp, |csum| {
            let csum = checksum::update_bytes(csum, &old_len, &new_len);
            let csum = checksum::update_bytes(csum, &[0; LEN], &option);
            checksum::update_bytes(csum, &word, &longer)
        });
    }
    if A::V6 {
        if let Some(mut ip) = Ipv6::new(p.l3_mut()) {
            ip.set_payload_len(ip.payload_len().saturating_add(LEN as u16));
        }
    } else {
        act::edit4(p, 2, |ip| ip.set_total_len(ip.total_len().saturating_add(LEN as u16)));
    }
}

/// Sees to it that the option fits behind the data; a SYN that fills its storage moves to another.
fn make_room(p: &mut Packet) {
    if p.tailroom() >= LEN {
        return;
    }
    let mut larger = Pool::new(0).sized(p.len() + LEN);
    larger.append(p.data());
    larger.meta = p.meta;
    larger.cut = p.cut.take();
    *p = larger;
}

fn update(tcp: &mut [u8], new: impl FnOnce(u16) -> u16) {
    if let Some(mut tcp) = Tcp::new(tcp) {
        let csum = new(tcp.checksum());
        tcp.set_checksum(csum);
    }
}
