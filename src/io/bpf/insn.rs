//! The instructions of eBPF as numbers: what RFC 9669 and linux/bpf.h call them.
//!
//! ```text
//!  byte 0      1            2      3      4                    7
//!  ┌─────────┬──────┬──────┬─────────────┬──────────────────────┐
//!  │ code    │ dst:4│ src:4│ offset      │ immediate            │   RFC 9669 section 3.1
//!  └─────────┴──────┴──────┴─────────────┴──────────────────────┘
//!   class:3, then of ALU and JMP: source:1, operation:4 · of loads and stores: size:2, mode:3
//! ```
//!
//! Multi-byte fields and the two register numbers stand in the machine's own order. Knows nothing of programs.

/// A register. `R10` is the frame pointer and can't be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "their names say all there is")]
pub enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// How many bytes a load or a store moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    B1,
    /// Two.
    B2,
    /// Four.
    B4,
    /// Eight.
    B8,
}

impl Width {
    /// The size bits of a load or store, RFC 9669 section 5.
    pub(super) fn code(self) -> u8 {
        match self {
            Width::B1 => 0x10,
            Width::B2 => 0x08,
            Width::B4 => 0x00,
            Width::B8 => 0x18,
        }
    }
}

/// An operation of two operands that leaves its result in the first, RFC 9669 section 4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Alu {
    /// `dst += src`
    Add = 0x00,
    /// `dst -= src`
    Sub = 0x10,
    /// `dst *= src`
    Mul = 0x20,
    /// `dst /= src`, unsigned; 0 where `src` is 0.
    Div = 0x30,
    /// `dst |= src`
    Or = 0x40,
    /// `dst &= src`
    And = 0x50,
    /// `dst <<= src`
    Shl = 0x60,
    /// `dst >>= src`, unsigned.
    Shr = 0x70,
    /// `dst %= src`, unsigned; `dst` where `src` is 0.
    Mod = 0x90,
    /// `dst ^= src`
    Xor = 0xa0,
    /// `dst = src`
    Mov = 0xb0,
    /// `dst >>= src`, signed.
    Sar = 0xc0,
}

/// When a jump is taken, RFC 9669 section 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cond {
    /// Equal.
    Eq = 0x10,
    /// Above, unsigned.
    Gt = 0x20,
    /// Above or equal, unsigned.
    Ge = 0x30,
    /// One of the bits of the second operand is set in the first.
    Set = 0x40,
    /// Not equal.
    Ne = 0x50,
    /// Above, signed.
    SGt = 0x60,
    /// Above or equal, signed.
    SGe = 0x70,
    /// Below, unsigned.
    Lt = 0xa0,
    /// Below or equal, unsigned.
    Le = 0xb0,
    /// Below, signed.
    SLt = 0xc0,
    /// Below or equal, signed.
    SLe = 0xd0,
}

/// The second operand of an operation or a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// A register's value.
    Reg(Reg),
    /// A number; in 64-bit instructions its sign is extended.
    Imm(i32),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Operand::Reg(reg)
    }
}

impl From<i32> for Operand {
    fn from(imm: i32) -> Self {
        Operand::Imm(imm)
    }
}

/// A function of the kernel that programs may call: `enum bpf_func_id` of linux/bpf.h. Arguments in
/// R1–R5, the result in R0; R1–R5 are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Helper {
    /// `bpf_map_lookup_elem(map, key) -> pointer to the value or 0`
    MapLookup = 1,
    /// `bpf_map_update_elem(map, key, value, flags) -> 0 or -errno`
    MapUpdate = 2,
    /// `bpf_map_delete_elem(map, key) -> 0 or -errno`
    MapDelete = 3,
    /// `bpf_ktime_get_ns() -> nanoseconds since boot, CLOCK_MONOTONIC`
    KtimeGetNs = 5,
    /// `bpf_get_prandom_u32() -> a pseudo-random number`
    GetPrandom = 7,
    /// `bpf_get_smp_processor_id() -> CPU number`
    GetCpu = 8,
    /// `bpf_redirect(ifindex, flags) -> verdict`
    Redirect = 23,
    /// `bpf_skb_load_bytes(skb, offset, to, length) -> 0 or -errno`
    SkbLoadBytes = 26,
    /// `bpf_csum_diff(from, from_size, to, to_size, seed) -> sum`
    CsumDiff = 28,
    /// `bpf_xdp_adjust_head(ctx, delta) -> 0 or -errno`
    XdpAdjustHead = 44,
    /// `bpf_redirect_map(map, key, flags) -> verdict`
    RedirectMap = 51,
    /// `bpf_xdp_adjust_tail(ctx, delta) -> 0 or -errno`
    XdpAdjustTail = 65,
    /// `bpf_skb_load_bytes_relative(skb, offset, to, length, start) -> 0 or -errno`
    SkbLoadBytesRelative = 68,
}

/// One instruction slot; wide loads take two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Insn {
    /// What is done.
    pub code: u8,
    /// The register written, or the first operand.
    pub dst: u8,
    /// The register read, or a kind.
    pub src: u8,
    /// A distance: bytes in memory, or instructions.
    pub offset: i16,
    /// A number.
    pub imm: i32,
}

impl From<u64> for Insn {
    /// An instruction as RFC 9669 §3.1 has it in a little-endian machine's memory, whatever machine this is.
    fn from(n: u64) -> Self {
        let [code, registers, o0, o1, i @ ..] = n.to_le_bytes();
        Insn {
            code,
            dst: registers & 0xf,
            src: registers >> 4,
            offset: i16::from_le_bytes([o0, o1]),
            imm: i32::from_le_bytes(i),
        }
    }
}

impl Insn {
    /// The eight bytes that the kernel reads, in this machine's order.
    pub fn bytes(self) -> [u8; 8] {
        let registers =
            if cfg!(target_endian = "little") { self.src << 4 | self.dst } else { self.dst << 4 | self.src };
        let ([o0, o1], [i0, i1, i2, i3]) = (self.offset.to_ne_bytes(), self.imm.to_ne_bytes());
        [self.code, registers, o0, o1, i0, i1, i2, i3]
    }
}

// Instruction classes, RFC 9669 section 3.2.
pub(super) const LD: u8 = 0x00;
pub(super) const LDX: u8 = 0x01;
pub(super) const ST: u8 = 0x02;
pub(super) const STX: u8 = 0x03;
pub(super) const ALU32: u8 = 0x04;
pub(super) const JMP: u8 = 0x05;
pub(super) const JMP32: u8 = 0x06;
pub(super) const ALU64: u8 = 0x07;

// Where the second operand comes from, section 4.
pub(super) const K: u8 = 0x00;
pub(super) const X: u8 = 0x08;

// Modes of loads and stores, section 5; the packet modes are its historical ones, section 5.5.
pub(super) const IMM: u8 = 0x00;
pub(super) const ABS: u8 = 0x20;
pub(super) const IND: u8 = 0x40;
pub(super) const MEM: u8 = 0x60;
pub(super) const ATOMIC: u8 = 0xc0;

// Operations that stand alone, sections 4.1 to 4.3 and 5.3.
pub(super) const NEG: u8 = 0x80;
pub(super) const END: u8 = 0xd0;
pub(super) const JA: u8 = 0x00;
pub(super) const CALL: u8 = 0x80;
pub(super) const EXIT: u8 = 0x90;
/// The immediate of an atomic addition.
pub(super) const ATOMIC_ADD: i32 = 0x00;
/// The immediate of an atomic addition that leaves the old value in the source register.
pub(super) const ATOMIC_FETCH_ADD: i32 = 0x01;

// What a wide load loads, by its source field: section 5.4.
pub(super) const PSEUDO_MAP_FD: u8 = 1;
pub(super) const PSEUDO_MAP_VALUE: u8 = 2;
/// What a call calls, by its source field: section 4.3.1, a function known by its type.
pub(super) const PSEUDO_KFUNC_CALL: u8 = 2;
