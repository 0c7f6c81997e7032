//! The steering function as programs that the kernel runs on each packet: see [`packet::steer`](crate::packet::steer).
//!
//! Classic BPF, which takes no privilege (`PACKET_FANOUT_CBPF`), and the same made into extended BPF
//! (`TUNSETSTEERINGEBPF`), instruction for instruction, as the kernel does it itself. Either gives the worker's number. A
//! load beyond the packet's end ends either with 0, the first worker, as the function does.
//!
//! ```text
//! A   what was loaded, and the result          M[UPPER]   where the upper-layer header is
//! X   a place in the packet, or a second sum   M[ALSO]    the addresses, where they count beside ports
//! ```

use libc::{
    BPF_A, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_JSET,
    BPF_K, BPF_LD, BPF_LDX, BPF_LSH, BPF_MEM, BPF_MISC, BPF_MOD, BPF_MUL, BPF_RET, BPF_RSH, BPF_ST, BPF_TAX,
    BPF_TXA, BPF_W, BPF_X, BPF_XOR, sock_filter,
};

use crate::packet::steer::{
    ERRORS4, ERRORS6, EXTENSIONS, FRAGMENT4, GOLDEN, MIX, QUERIES4, QUERIES6, SKIPPED6, Steering,
};
use crate::wire::proto;

/// The function as a classic program, for packets whose L3 header is `l3` bytes into what the program sees: 0 in a fanout
/// group of packet sockets and on a tun device, 14 on a tap device.
pub fn classic(steering: &Steering, l3: u32) -> Vec<sock_filter> {
    let mut w = Writer { l3, ..Writer::default() };
    w.whole(steering);
    w.finish()
}

/// A classic program, of which every instruction can be reached, as an extended one of the type SOCKET_FILTER: each number is one instruction as it stands in memory
/// (`struct bpf_insn`, RFC 9669 §3), the first byte lowest.
pub fn extended(classic: &[sock_filter]) -> Vec<u64> {
    // R6 is the packet, R7 stands for X, R0 for A.
    let start = [insn(ALU64_MOV_X, 6, 1, 0, 0), insn(ALU32_MOV_K, 0, 0, 0, 0), insn(ALU32_MOV_K, 7, 0, 0, 0)];
    let mut at = start.len();
    let places: Vec<usize> = classic
        .iter()
        .map(|i| {
            let here = at;
            at += length(i);
            here
        })
        .collect();
    let mut out = Vec::with_capacity(at);
    out.extend(start);
    for (n, i) in classic.iter().enumerate() {
        // From the instruction behind the jump, which is the one that `out` has next but one.
        let away =
            |to: usize, from: usize| places.get(to).map_or(0, |p| (*p as i32 - from as i32 - 1) as i16);
        let here = out.len();
        let memory = (i.k as i16).wrapping_add(1).wrapping_mul(-4);
        let code = u32::from(i.code);
        let operand = |base: u32| match code & BPF_X {
            0 => insn(base as u8, 0, 0, 0, i.k),
            _ => insn((base | BPF_X) as u8, 0, 7, 0, 0),
        };
        match code & 7 {
            BPF_LD if code & MODE == BPF_MEM => out.push(insn(LDX_MEM_W, 0, 10, memory, 0)),
            BPF_LD if code & MODE == BPF_IMM => out.push(insn(ALU32_MOV_K, 0, 0, 0, i.k)),
            BPF_LD if code & MODE == BPF_IND => out.push(insn(i.code as u8, 0, 7, 0, i.k)),
            BPF_LD => out.push(insn(i.code as u8, 0, 0, 0, i.k)),
            BPF_LDX if code & MODE == BPF_MEM => out.push(insn(LDX_MEM_W, 7, 10, memory, 0)),
            BPF_LDX => out.push(insn(ALU32_MOV_K, 7, 0, 0, i.k)),
            BPF_ST => out.push(insn(STX_MEM_W, 10, 0, memory, 0)),
            BPF_MISC if code & 0xf8 == BPF_TAX => out.push(insn(ALU32_MOV_X, 7, 0, 0, 0)),
            BPF_MISC => out.push(insn(ALU32_MOV_X, 0, 7, 0, 0)),
            BPF_ALU => out.push(operand(code & (0xf0 | 7))),
            BPF_JMP if code & 0xf0 == BPF_JA => out.push(insn(JA, 0, 0, away(n + 1 + i.k as usize, here), 0)),
            BPF_JMP => {
                let then = away(n + 1 + usize::from(i.jt), here);
                let otherwise = away(n + 1 + usize::from(i.jf), here + 1);
                out.push(insn(i.code as u8, 0, 0, then, i.k));
                out.push(insn(JA, 0, 0, otherwise, 0));
            }
            // BPF_RET: what it gives is in R0, or has to be put there.
            _ if code & 0x18 == BPF_A => out.push(insn(EXIT, 0, 0, 0, 0)),
            _ => out.extend([insn(ALU32_MOV_K, 0, 0, 0, i.k), insn(EXIT, 0, 0, 0, 0)]),
        }
    }
    out
}

/// How many extended instructions a classic one becomes.
fn length(i: &sock_filter) -> usize {
    let code = u32::from(i.code);
    match code & 7 {
        BPF_JMP if code & 0xf0 != BPF_JA => 2,
        BPF_RET if code & 0x18 != BPF_A => 2,
        _ => 1,
    }
}

fn insn(code: u8, dst: u8, src: u8, offset: i16, imm: u32) -> u64 {
    let registers = u64::from(src << 4 | dst);
    u64::from(code) | registers << 8 | u64::from(offset.cast_unsigned()) << 16 | u64::from(imm) << 32
}

/// The bits of a load's addressing mode.
const MODE: u32 = 0xe0;
/// Extended instructions (RFC 9669 §4 and §5).
const ALU64_MOV_X: u8 = 0xbf;
const ALU32_MOV_K: u8 = 0xb4;
const ALU32_MOV_X: u8 = 0xbc;
const LDX_MEM_W: u8 = 0x61;
const STX_MEM_W: u8 = 0x63;
const JA: u8 = 0x05;
const EXIT: u8 = 0x95;

/// Places in the program's memory.
const UPPER: u32 = 0;
const ALSO: u32 = 1;
const ONE: u32 = 2;
const OTHER: u32 = 3;
const IP: u32 = 4;
const TEMP: u32 = 5;

/// A place in the program that jumps lead to, known once it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Label(usize);

/// Writes a program; jumps lead forward, as classic BPF has them.
#[derive(Default)]
struct Writer {
    code: Vec<sock_filter>,
    l3: u32,
    labels: Vec<Option<usize>>,
    /// Jumps whose distance is to be filled in.
    jumps: Vec<(usize, Label)>,
}

/// What a family's part needs to be told of the rest.
struct Ends {
    pair: Label,
    query: Label,
    mix: Label,
}

impl Writer {
    fn whole(&mut self, steering: &Steering) {
        let [v4, v6, pair, query, mix] = std::array::from_fn(|_| self.label());
        let ends = Ends { pair, query, mix };
        self.op(BPF_LDX | BPF_IMM, 0);
        self.load(BPF_B, 0);
        self.op(BPF_ALU | BPF_RSH | BPF_K, 4);
        self.is(4, v4);
        self.is(6, v6);
        self.op(BPF_RET | BPF_K, 0);
        for (at, family) in [(v4, Family::V4), (v6, Family::V6)] {
            self.here(at);
            let quote = self.label();
            self.store_imm(IP, 0);
            self.packet(steering, family, Some(quote), &ends);
            // X is where the quoted packet begins.
            self.here(quote);
            self.op(BPF_LDX | BPF_MEM, UPPER);
            self.op(BPF_MISC | BPF_TXA, 0);
            self.op(BPF_ALU | BPF_ADD | BPF_K, 8);
            self.op(BPF_ST, IP);
            self.packet(steering, family, None, &ends);
        }
        // A query's identifier stands where the second port of nothing else does.
        self.here(query);
        self.op(BPF_LDX | BPF_MEM, UPPER);
        self.load(BPF_H, 4);
        self.op(BPF_ST, ONE);
        self.store_imm(OTHER, 0);
        let sum = self.label();
        self.jump(sum);
        self.here(pair);
        self.op(BPF_LDX | BPF_MEM, UPPER);
        self.load(BPF_H, 0);
        self.op(BPF_ST, ONE);
        self.load(BPF_H, 2);
        self.op(BPF_ST, OTHER);
        self.here(sum);
        // (a + b) << 16 ^ a ^ b, and the addresses.
        self.op(BPF_LD | BPF_MEM, ONE);
        self.op(BPF_LDX | BPF_MEM, OTHER);
        self.op(BPF_ALU | BPF_ADD | BPF_X, 0);
        self.op(BPF_ALU | BPF_LSH | BPF_K, 16);
        self.op(BPF_ALU | BPF_XOR | BPF_X, 0);
        for more in [ONE, ALSO] {
            self.op(BPF_LDX | BPF_MEM, more);
            self.op(BPF_ALU | BPF_XOR | BPF_X, 0);
        }
        self.here(mix);
        self.op(BPF_ALU | BPF_XOR | BPF_K, steering.key);
        for (shift, times) in [(16, Some(MIX[0])), (13, Some(MIX[1])), (16, None)] {
            self.op(BPF_MISC | BPF_TAX, 0);
            self.op(BPF_ALU | BPF_RSH | BPF_K, shift);
            self.op(BPF_ALU | BPF_XOR | BPF_X, 0);
            if let Some(times) = times {
                self.op(BPF_ALU | BPF_MUL | BPF_K, times);
            }
        }
        self.op(BPF_ALU | BPF_MOD | BPF_K, steering.workers.max(1));
        self.op(BPF_RET | BPF_A, 0);
    }

    /// A packet whose L3 header is at M[IP]. Errors go to `quote`, unless this is a quote itself.
    fn packet(&mut self, steering: &Steering, family: Family, quote: Option<Label>, ends: &Ends) {
        let [addresses, icmp] = std::array::from_fn(|_| self.label());
        let (counts, queries, errors, icmp_proto): (_, &[u8], &[u8], _) = match family {
            Family::V4 => (steering.addresses[0], &QUERIES4, &ERRORS4, proto::ICMP),
            Family::V6 => (steering.addresses[1], &QUERIES6, &ERRORS6, proto::ICMPV6),
        };
        match counts {
            true => self.both_addresses(family),
            false => self.op(BPF_LD | BPF_IMM, 0),
        }
        self.op(BPF_ST, ALSO);
        self.op(BPF_LDX | BPF_MEM, IP);
        match family {
            Family::V4 => self.upper4(addresses),
            Family::V6 => self.upper6(),
        }
        for with_ports in [proto::TCP, proto::UDP, proto::UDP_LITE, proto::SCTP] {
            self.is(with_ports.into(), ends.pair);
        }
        self.is(icmp_proto.into(), icmp);
        self.jump(addresses);
        self.here(icmp);
        self.op(BPF_LDX | BPF_MEM, UPPER);
        self.load(BPF_B, 0);
        for kind in queries {
            self.is((*kind).into(), ends.query);
        }
        for (kind, quote) in errors.iter().filter_map(|kind| Some((kind, quote?))) {
            self.is((*kind).into(), quote);
        }
        self.here(addresses);
        self.both_addresses(family);
        self.jump(ends.mix);
    }

    /// A: the protocol; M[UPPER]: where its header is. A fragment goes to `addresses`.
    fn upper4(&mut self, addresses: Label) {
        self.load(BPF_H, 6);
        self.test(BPF_JSET, FRAGMENT4.into(), addresses);
        self.load(BPF_B, 0);
        self.op(BPF_ALU | BPF_AND | BPF_K, 0xf);
        self.op(BPF_ALU | BPF_LSH | BPF_K, 2);
        self.op(BPF_ALU | BPF_ADD | BPF_X, 0);
        self.op(BPF_ST, UPPER);
        self.load(BPF_B, 9);
    }

    fn upper6(&mut self) {
        self.op(BPF_MISC | BPF_TXA, 0);
        self.op(BPF_ALU | BPF_ADD | BPF_K, 40);
        self.op(BPF_ST, UPPER);
        self.load(BPF_B, 6);
        let done = self.label();
        for _ in 0..EXTENSIONS {
            let skip = self.label();
            for header in SKIPPED6 {
                self.is(header.into(), skip);
            }
            self.jump(done);
            self.here(skip);
            self.op(BPF_LDX | BPF_MEM, UPPER);
            self.load(BPF_B, 1);
            self.op(BPF_ALU | BPF_ADD | BPF_K, 1);
            self.op(BPF_ALU | BPF_LSH | BPF_K, 3);
            self.op(BPF_ALU | BPF_ADD | BPF_X, 0);
            self.op(BPF_ST, UPPER);
            self.load(BPF_B, 0);
        }
        self.here(done);
    }

    /// A: both addresses of the packet at M[IP], in any order.
    fn both_addresses(&mut self, family: Family) {
        for (at, to) in family.addresses().into_iter().zip([ONE, OTHER]) {
            self.op(BPF_LDX | BPF_MEM, IP);
            self.load(BPF_W, at);
            for more in 1..family.words() {
                self.op(BPF_ALU | BPF_MUL | BPF_K, GOLDEN);
                self.op(BPF_ST, TEMP);
                self.load(BPF_W, at + 4 * more);
                self.op(BPF_LDX | BPF_MEM, TEMP);
                self.op(BPF_ALU | BPF_ADD | BPF_X, 0);
                self.op(BPF_LDX | BPF_MEM, IP);
            }
            self.op(BPF_ST, to);
        }
        // a ^ b ^ (a + b) * GOLDEN; b is in A.
        self.op(BPF_LDX | BPF_MEM, ONE);
        self.op(BPF_ALU | BPF_ADD | BPF_X, 0);
        self.op(BPF_ALU | BPF_MUL | BPF_K, GOLDEN);
        for more in [ONE, OTHER] {
            self.op(BPF_LDX | BPF_MEM, more);
            self.op(BPF_ALU | BPF_XOR | BPF_X, 0);
        }
    }

    fn op(&mut self, code: u32, k: u32) {
        self.code.push(sock_filter { code: code as u16, jt: 0, jf: 0, k });
    }

    /// Loads from X and so many bytes.
    fn load(&mut self, size: u32, at: u32) {
        self.op(BPF_LD | size | BPF_IND, self.l3 + at);
    }

    fn store_imm(&mut self, to: u32, k: u32) {
        self.op(BPF_LD | BPF_IMM, k);
        self.op(BPF_ST, to);
    }

    fn is(&mut self, k: u32, to: Label) {
        self.test(BPF_JEQ, k, to);
    }

    /// A conditional jump reaches 255 instructions, the plain one behind it any.
    fn test(&mut self, how: u32, k: u32, to: Label) {
        self.code.push(sock_filter { code: (BPF_JMP | how | BPF_K) as u16, jt: 0, jf: 1, k });
        self.jump(to);
    }

    fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.op(BPF_JMP | BPF_JA, 0);
    }

    fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    fn here(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    fn finish(mut self) -> Vec<sock_filter> {
        for (at, label) in &self.jumps {
            let to = self.labels[label.0].unwrap_or(self.code.len());
            self.code[*at].k = (to - at - 1) as u32;
        }
        self.code
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// Where the addresses are, from the L3 header.
    fn addresses(self) -> [u32; 2] {
        match self {
            Family::V4 => [12, 16],
            Family::V6 => [8, 24],
        }
    }

    /// Their length in words.
    fn words(self) -> u32 {
        match self {
            Family::V4 => 1,
            Family::V6 => 4,
        }
    }
}

#[cfg(test)]
mod tests;
