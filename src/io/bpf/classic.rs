//! Classic BPF: what socket filters, packet fanout and tc's `bpf` classifier take without a privilege.
//!
//! One accumulator A, one index X, sixteen words of memory, jumps only forward. A load beyond the
//! packet's end ends the program with 0.
//!
//! ```text
//!  struct sock_filter   ├ code:16 ┼ jt:8 ┼ jf:8 ┼ k:32 ┤   linux/filter.h
//! ```

use super::asm::AsmError;
use super::insn::{Alu, Width};

/// One instruction: `struct sock_filter`, in this machine's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Op {
    /// What is done.
    pub code: u16,
    /// How many instructions to skip if a comparison holds.
    pub jt: u8,
    /// And how many if it does not.
    pub jf: u8,
    /// A number.
    pub k: u32,
}

impl Op {
    /// The eight bytes that the kernel reads.
    pub fn bytes(self) -> [u8; 8] {
        let ([c0, c1], [k0, k1, k2, k3]) = (self.code.to_ne_bytes(), self.k.to_ne_bytes());
        [c0, c1, self.jt, self.jf, k0, k1, k2, k3]
    }

    /// The same for setsockopt.
    pub fn filter(self) -> libc::sock_filter {
        libc::sock_filter { code: self.code, jt: self.jt, jf: self.jf, k: self.k }
    }
}

/// What a comparison of A or an operation on it takes as its other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A number.
    K(u32),
    /// The index register.
    X,
}

impl From<u32> for Side {
    fn from(k: u32) -> Self {
        Side::K(k)
    }
}

/// A comparison, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Test {
    /// A equals it.
    Eq = 0x10,
    /// A is above it.
    Gt = 0x20,
    /// A is above or equals it.
    Ge = 0x30,
    /// A has one of its bits.
    Set = 0x40,
}

/// A place to jump to, behind the jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(usize);

/// Offsets of loads that mean more than the packet: linux/filter.h.
pub mod at {
    /// From here on offsets count from the link header: `SKF_LL_OFF`.
    pub const LINK: u32 = (-0x20_0000_i32).cast_unsigned();
    /// `SKF_AD_OFF`: the values below.
    const ANCILLARY: u32 = (-0x1000_i32).cast_unsigned();
    /// The ethertype as the kernel parsed it: `SKF_AD_PROTOCOL`.
    pub const PROTOCOL: u32 = ANCILLARY;
    /// `SKF_AD_QUEUE`.
    pub const QUEUE: u32 = ANCILLARY + 24;
    /// `SKF_AD_CPU`.
    pub const CPU: u32 = ANCILLARY + 36;
}

/// A program being written. Jumps are resolved in [`Classic::assemble`].
#[derive(Debug, Clone, Default)]
pub struct Classic {
    ops: Vec<Op>,
    marks: Vec<Option<usize>>,
    /// Instruction, where to if it holds, where to if not; `None`: the next one.
    jumps: Vec<(usize, Option<Mark>, Option<Mark>)>,
}

impl Classic {
    /// An empty program.
    pub fn new() -> Self {
        Classic::default()
    }

    /// A new mark, to be bound once, behind every jump to it.
    pub fn mark(&mut self) -> Mark {
        self.marks.push(None);
        Mark(self.marks.len() - 1)
    }

    /// Has the mark stand before the next instruction.
    pub fn bind(&mut self, mark: Mark) {
        self.marks[mark.0] = Some(self.ops.len());
    }

    /// `A = packet[k]` in host order, at most four bytes; [`at`] has what `k` may be besides.
    pub fn load(&mut self, width: Width, k: u32) {
        self.push(LD | ABS | size(width), k);
    }

    /// `A = packet[X + k]`
    pub fn load_x(&mut self, width: Width, k: u32) {
        self.push(LD | IND | size(width), k);
    }

    /// `A = k`
    pub fn load_number(&mut self, k: u32) {
        self.push(LD | IMM, k);
    }

    /// `X = k`
    pub fn load_x_number(&mut self, k: u32) {
        self.push(LDX | IMM, k);
    }

    /// `X = 4 * (packet[k] & 0xf)`: the length of an IPv4 header.
    pub fn load_x_header(&mut self, k: u32) {
        self.push(LDX | MSH | size(Width::B1), k);
    }

    /// `A = memory[slot]`, slots 0 to 15.
    pub fn recall(&mut self, slot: u32) {
        self.push(LD | MEM, slot);
    }

    /// `X = memory[slot]`
    pub fn recall_x(&mut self, slot: u32) {
        self.push(LDX | MEM, slot);
    }

    /// `memory[slot] = A`
    pub fn keep(&mut self, slot: u32) {
        self.push(ST, slot);
    }

    /// `X = A`
    pub fn a_to_x(&mut self) {
        self.push(MISC | TAX, 0);
    }

    /// `A = X`
    pub fn x_to_a(&mut self) {
        self.push(MISC | TXA, 0);
    }

    /// `A = A op side`, 32 bits. `Mov` and `Sar` don't exist here.
    ///
    /// # Panics
    ///
    /// For those two.
    pub fn alu(&mut self, op: Alu, side: impl Into<Side>) {
        assert!(!matches!(op, Alu::Mov | Alu::Sar), "classic BPF has no {op:?}");
        let (source, k) = source(side.into());
        self.push(ALU | op as u16 | source, k);
    }

    /// Goes on at the mark.
    pub fn jump(&mut self, to: Mark) {
        self.jumps.push((self.ops.len(), Some(to), None));
        self.push(JMP | JA, 0);
    }

    /// Goes on at the mark if the test holds, with the next instruction otherwise.
    pub fn jump_if(&mut self, test: Test, side: impl Into<Side>, to: Mark) {
        self.branch(test, side, Some(to), None);
    }

    /// Goes on at the mark if the test does not hold.
    pub fn jump_unless(&mut self, test: Test, side: impl Into<Side>, to: Mark) {
        self.branch(test, side, None, Some(to));
    }

    /// Ends the program with a number.
    pub fn ret(&mut self, k: u32) {
        self.push(RET, k);
    }

    /// Ends the program with A.
    pub fn ret_a(&mut self) {
        self.push(RET | RET_A, 0);
    }

    /// The program with every jump resolved.
    pub fn assemble(&self) -> Result<Vec<Op>, AsmError> {
        let mut ops = self.ops.clone();
        for (at, yes, no) in &self.jumps {
            let distance = |mark: &Option<Mark>| match mark {
                None => Ok(0),
                Some(mark) => {
                    let to = self.marks[mark.0].ok_or(AsmError::Unbound(*at))?;
                    to.checked_sub(at + 1).ok_or(AsmError::TooFar(*at))
                }
            };
            let (yes, no) = (distance(yes)?, distance(no)?);
            let op = &mut ops[*at];
            if op.code == JMP | JA {
                op.k = u32::try_from(yes).map_err(|_| AsmError::TooFar(*at))?;
            } else {
                op.jt = u8::try_from(yes).map_err(|_| AsmError::TooFar(*at))?;
                op.jf = u8::try_from(no).map_err(|_| AsmError::TooFar(*at))?;
            }
        }
        Ok(ops)
    }

    fn branch(&mut self, test: Test, side: impl Into<Side>, yes: Option<Mark>, no: Option<Mark>) {
        let (source, k) = source(side.into());
        self.jumps.push((self.ops.len(), yes, no));
        self.push(JMP | test as u16 | source, k);
    }

    fn push(&mut self, code: u16, k: u32) {
        self.ops.push(Op { code, jt: 0, jf: 0, k });
    }
}

/// Loads of eight bytes don't exist here: four are loaded.
fn size(width: Width) -> u16 {
    match width {
        Width::B1 => 0x10,
        Width::B2 => 0x08,
        Width::B4 | Width::B8 => 0x00,
    }
}

fn source(side: Side) -> (u16, u32) {
    match side {
        Side::K(k) => (0x00, k),
        Side::X => (0x08, 0),
    }
}

// linux/bpf_common.h and linux/filter.h.
const LD: u16 = 0x00;
const LDX: u16 = 0x01;
const ST: u16 = 0x02;
const ALU: u16 = 0x04;
const JMP: u16 = 0x05;
const RET: u16 = 0x06;
const MISC: u16 = 0x07;
const IMM: u16 = 0x00;
const ABS: u16 = 0x20;
const IND: u16 = 0x40;
const MEM: u16 = 0x60;
const MSH: u16 = 0xa0;
const JA: u16 = 0x00;
const RET_A: u16 = 0x10;
const TAX: u16 = 0x00;
const TXA: u16 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    /// What `tcpdump -dd 'udp dst port 53'` gives for IPv4 behind an Ethernet header.
    #[test]
    fn a_program_that_tcpdump_would_write() {
        let mut c = Classic::new();
        let no = c.mark();
        c.load(Width::B2, 12);
        c.jump_unless(Test::Eq, 0x0800, no);
        c.load(Width::B1, 23);
        c.jump_unless(Test::Eq, 17, no);
        c.load(Width::B2, 20);
        c.jump_if(Test::Set, 0x1fff, no);
        c.load_x_header(14);
        c.load_x(Width::B2, 16);
        c.jump_unless(Test::Eq, 53, no);
        c.ret(0x0004_0000);
        c.bind(no);
        c.ret(0);
        let got: Vec<_> = c.assemble().unwrap().iter().map(|o| (o.code, o.jt, o.jf, o.k)).collect();
        let expected = [
            (0x28, 0, 0, 0x0c),
            (0x15, 0, 8, 0x0800),
            (0x30, 0, 0, 0x17),
            (0x15, 0, 6, 0x11),
            (0x28, 0, 0, 0x14),
            (0x45, 4, 0, 0x1fff),
            (0xb1, 0, 0, 0x0e),
            (0x48, 0, 0, 0x10),
            (0x15, 0, 1, 0x35),
            (0x06, 0, 0, 0x40000),
            (0x06, 0, 0, 0),
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn backward_and_long_jumps_are_errors() {
        let mut c = Classic::new();
        let top = c.mark();
        c.bind(top);
        c.jump(top);
        assert_eq!(c.assemble(), Err(AsmError::TooFar(0)));
        let mut c = Classic::new();
        let far = c.mark();
        c.jump_if(Test::Eq, Side::X, far);
        assert_eq!(c.assemble(), Err(AsmError::Unbound(0)));
        (0..256).for_each(|_| c.x_to_a());
        c.bind(far);
        assert_eq!(c.assemble(), Err(AsmError::TooFar(0)));
    }
}
