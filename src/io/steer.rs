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
    BPF_A, BPF_ALU, BPF_IMM, BPF_IND, BPF_JA, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_MEM, BPF_MISC, BPF_RET,
    BPF_ST, BPF_TAX, BPF_X, sock_filter,
};

use super::bpf::classic::{Classic, Mark, Op, Side, Test};
use super::bpf::{Alu, Width};
use crate::packet::steer::{
    ERRORS4, ERRORS6, EXTENSIONS, FRAGMENT4, GOLDEN, MIX, QUERIES4, QUERIES6, SKIPPED6, Steering,
};
use crate::wire::proto;

/// The function as a classic program, for packets whose L3 header is `l3` bytes into what the program sees: 0 in a fanout
/// group of packet sockets and on a tun device, 14 on a tap device.
pub fn classic(steering: &Steering, l3: u32) -> Vec<sock_filter> {
    let mut w = Writer { l3, ..Writer::default() };
    w.whole(steering);
    match w.code.assemble() {
        Ok(ops) => ops.into_iter().map(Op::filter).collect(),
        // Jumps that lead nowhere, or back: nothing of a configuration makes any.
        Err(_) => vec![FIRST.filter()],
    }
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

/// A whole program: everything is the first worker's.
const FIRST: Op = Op { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: 0 };

/// Places in the program's memory.
const UPPER: u32 = 0;
const ALSO: u32 = 1;
const ONE: u32 = 2;
const OTHER: u32 = 3;
const IP: u32 = 4;
const TEMP: u32 = 5;

/// Writes the program.
#[derive(Default)]
struct Writer {
    code: Classic,
    l3: u32,
}

/// What a family's part needs to be told of the rest.
struct Ends {
    pair: Mark,
    query: Mark,
    mix: Mark,
}

impl Writer {
    fn whole(&mut self, steering: &Steering) {
        let [v4, v6, pair, query, mix] = std::array::from_fn(|_| self.code.mark());
        let ends = Ends { pair, query, mix };
        self.code.load_x_number(0);
        self.load(Width::B1, 0);
        self.code.alu(Alu::Shr, 4);
        self.is(4, v4);
        self.is(6, v6);
        self.code.ret(0);
        for (at, family) in [(v4, Family::V4), (v6, Family::V6)] {
            self.code.bind(at);
            let quote = self.code.mark();
            self.store_imm(IP, 0);
            self.packet(steering, family, Some(quote), &ends);
            // X is where the quoted packet begins.
            self.code.bind(quote);
            self.code.recall_x(UPPER);
            self.code.x_to_a();
            self.code.alu(Alu::Add, 8);
            self.code.keep(IP);
            self.packet(steering, family, None, &ends);
        }
        // A query's identifier stands where the second port of nothing else does.
        self.code.bind(query);
        self.code.recall_x(UPPER);
        self.load(Width::B2, 4);
        self.code.keep(ONE);
        self.store_imm(OTHER, 0);
        let sum = self.code.mark();
        self.code.jump(sum);
        self.code.bind(pair);
        self.code.recall_x(UPPER);
        self.load(Width::B2, 0);
        self.code.keep(ONE);
        self.load(Width::B2, 2);
        self.code.keep(OTHER);
        self.code.bind(sum);
        // (a + b) << 16 ^ a ^ b, and the addresses.
        self.code.recall(ONE);
        self.code.recall_x(OTHER);
        self.code.alu(Alu::Add, Side::X);
        self.code.alu(Alu::Shl, 16);
        self.code.alu(Alu::Xor, Side::X);
        for more in [ONE, ALSO] {
            self.code.recall_x(more);
            self.code.alu(Alu::Xor, Side::X);
        }
        self.code.bind(mix);
        self.code.alu(Alu::Xor, steering.key);
        for (shift, times) in [(16, Some(MIX[0])), (13, Some(MIX[1])), (16, None)] {
            self.code.a_to_x();
            self.code.alu(Alu::Shr, shift);
            self.code.alu(Alu::Xor, Side::X);
            if let Some(times) = times {
                self.code.alu(Alu::Mul, times);
            }
        }
        self.code.alu(Alu::Mod, steering.workers.max(1));
        self.code.ret_a();
    }

    /// A packet whose L3 header is at M[IP]. Errors go to `quote`, unless this is a quote itself.
    fn packet(&mut self, steering: &Steering, family: Family, quote: Option<Mark>, ends: &Ends) {
        let [addresses, icmp] = std::array::from_fn(|_| self.code.mark());
        let (counts, queries, errors, icmp_proto): (_, &[u8], &[u8], _) = match family {
            Family::V4 => (steering.addresses[0], &QUERIES4, &ERRORS4, proto::ICMP),
            Family::V6 => (steering.addresses[1], &QUERIES6, &ERRORS6, proto::ICMPV6),
        };
        match counts {
            true => self.both_addresses(family),
            false => self.code.load_number(0),
        }
        self.code.keep(ALSO);
        self.code.recall_x(IP);
        match family {
            Family::V4 => self.upper4(addresses),
            Family::V6 => self.upper6(),
        }
        for with_ports in [proto::TCP, proto::UDP, proto::UDP_LITE, proto::SCTP] {
            self.is(with_ports.into(), ends.pair);
        }
        self.is(icmp_proto.into(), icmp);
        self.code.jump(addresses);
        self.code.bind(icmp);
        self.code.recall_x(UPPER);
        self.load(Width::B1, 0);
        for kind in queries {
            self.is((*kind).into(), ends.query);
        }
        for (kind, quote) in errors.iter().filter_map(|kind| Some((kind, quote?))) {
            self.is((*kind).into(), quote);
        }
        self.code.bind(addresses);
        self.both_addresses(family);
        self.code.jump(ends.mix);
    }

    /// A: the protocol; M[UPPER]: where its header is. A fragment goes to `addresses`.
    fn upper4(&mut self, addresses: Mark) {
        self.load(Width::B2, 6);
        self.test(Test::Set, FRAGMENT4.into(), addresses);
        self.load(Width::B1, 0);
        self.code.alu(Alu::And, 0xf);
        self.code.alu(Alu::Shl, 2);
        self.code.alu(Alu::Add, Side::X);
        self.code.keep(UPPER);
        self.load(Width::B1, 9);
    }

    fn upper6(&mut self) {
        self.code.x_to_a();
        self.code.alu(Alu::Add, 40);
        self.code.keep(UPPER);
        self.load(Width::B1, 6);
        let done = self.code.mark();
        for _ in 0..EXTENSIONS {
            let skip = self.code.mark();
            for header in SKIPPED6 {
                self.is(header.into(), skip);
            }
            self.code.jump(done);
            self.code.bind(skip);
            self.code.recall_x(UPPER);
            self.load(Width::B1, 1);
            self.code.alu(Alu::Add, 1);
            self.code.alu(Alu::Shl, 3);
            self.code.alu(Alu::Add, Side::X);
            self.code.keep(UPPER);
            self.load(Width::B1, 0);
        }
        self.code.bind(done);
    }

    /// A: both addresses of the packet at M[IP], in any order.
    fn both_addresses(&mut self, family: Family) {
        for (at, to) in family.addresses().into_iter().zip([ONE, OTHER]) {
            self.code.recall_x(IP);
            self.load(Width::B4, at);
            for more in 1..family.words() {
                self.code.alu(Alu::Mul, GOLDEN);
                self.code.keep(TEMP);
                self.load(Width::B4, at + 4 * more);
                self.code.recall_x(TEMP);
                self.code.alu(Alu::Add, Side::X);
                self.code.recall_x(IP);
            }
            self.code.keep(to);
        }
        // a ^ b ^ (a + b) * GOLDEN; b is in A.
        self.code.recall_x(ONE);
        self.code.alu(Alu::Add, Side::X);
        self.code.alu(Alu::Mul, GOLDEN);
        for more in [ONE, OTHER] {
            self.code.recall_x(more);
            self.code.alu(Alu::Xor, Side::X);
        }
    }

    /// Loads from X and so many bytes.
    fn load(&mut self, width: Width, at: u32) {
        self.code.load_x(width, self.l3 + at);
    }

    fn store_imm(&mut self, to: u32, k: u32) {
        self.code.load_number(k);
        self.code.keep(to);
    }

    fn is(&mut self, k: u32, to: Mark) {
        self.test(Test::Eq, k, to);
    }

    /// A conditional jump reaches 255 instructions, the plain one behind it any.
    fn test(&mut self, how: Test, k: u32, to: Mark) {
        let past = self.code.mark();
        self.code.jump_unless(how, k, past);
        self.code.jump(to);
        self.code.bind(past);
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
