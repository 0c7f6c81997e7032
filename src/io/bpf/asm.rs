//! An assembler: instructions one after the other, jumps to labels that are resolved at the end.
//!
//! Says nothing of whether a program makes sense: that is the verifier's part.

use std::os::fd::{AsFd, AsRawFd as _};

use super::insn::{
    ABS, ALU32, ALU64, ATOMIC, ATOMIC_ADD, ATOMIC_FETCH_ADD, Alu, CALL, Cond, END, EXIT, Helper, IMM, IND,
    Insn, JA, JMP, JMP32, K, LD, LDX, MEM, NEG, Operand, PSEUDO_KFUNC_CALL, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE,
    Reg, ST, STX, Width, X,
};

/// A place to jump to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// A program could not be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AsmError {
    /// A jump leads to a label that stands nowhere.
    #[error("instruction {0} jumps to a label that was never bound")]
    Unbound(usize),
    /// A jump is longer than its 16 bits can say.
    #[error("instruction {0} jumps too far")]
    TooFar(usize),
}

/// A program being written.
///
/// ```
/// use sekisho::io::bpf::{Asm, Cond, Reg};
/// let mut asm = Asm::new();
/// let small = asm.label();
/// asm.load(sekisho::io::bpf::Width::B4, Reg::R0, Reg::R1, 0); // the first word of the context
/// asm.jump_if(Cond::Le, Reg::R0, 100, small);
/// asm.mov(Reg::R0, 100);
/// asm.bind(small);
/// asm.exit();
/// assert_eq!(asm.assemble().unwrap().len(), 4);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Asm {
    insns: Vec<Insn>,
    /// Where each label stands, once it does.
    labels: Vec<Option<usize>>,
    /// The jumps, by instruction.
    jumps: Vec<(usize, Label)>,
}

impl Asm {
    /// An empty program.
    pub fn new() -> Self {
        Asm::default()
    }

    /// A new label, to be bound once.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Has the label stand before the next instruction.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.insns.len());
    }

    /// A label that stands here, for loops.
    pub fn here(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// How many instruction slots there are so far.
    pub fn len(&self) -> usize {
        self.insns.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.insns.is_empty()
    }

    /// An instruction as it is, for what has no method here.
    pub fn raw(&mut self, insn: Insn) {
        self.insns.push(insn);
    }

    /// `dst = src`, 64 bits.
    pub fn mov(&mut self, dst: Reg, src: impl Into<Operand>) {
        self.alu(Alu::Mov, dst, src);
    }

    /// `dst = dst op src`, 64 bits.
    pub fn alu(&mut self, op: Alu, dst: Reg, src: impl Into<Operand>) {
        self.operation(ALU64 | op as u8, dst, src.into(), 0);
    }

    /// `dst = dst op src`, the lower 32 bits; the upper ones become 0.
    pub fn alu32(&mut self, op: Alu, dst: Reg, src: impl Into<Operand>) {
        self.operation(ALU32 | op as u8, dst, src.into(), 0);
    }

    /// `dst = -dst`
    pub fn neg(&mut self, dst: Reg) {
        self.push(ALU64 | NEG, dst as u8, 0, 0, 0);
    }

    /// Turns the lowest 16, 32 or 64 bits from this machine's order to the network's or back; the rest becomes 0.
    pub fn to_be(&mut self, dst: Reg, bits: i32) {
        self.push(ALU32 | X | END, dst as u8, 0, 0, bits);
    }

    /// `dst = value`, all 64 bits of it.
    pub fn mov64(&mut self, dst: Reg, value: u64) {
        self.wide(dst, 0, value as u32, (value >> 32) as u32);
    }

    /// `dst = map`, for helpers that take one. The map must be open when the program is loaded.
    pub fn map(&mut self, dst: Reg, map: impl AsFd) {
        self.wide(dst, PSEUDO_MAP_FD, map.as_fd().as_raw_fd().cast_unsigned(), 0);
    }

    /// `dst = &map[0] + offset`, of an array with one element (`BPF_PSEUDO_MAP_VALUE`): no look-up takes place.
    pub fn map_value(&mut self, dst: Reg, map: impl AsFd, offset: u32) {
        self.wide(dst, PSEUDO_MAP_VALUE, map.as_fd().as_raw_fd().cast_unsigned(), offset);
    }

    /// `dst = *(src + offset)`, zero-extended.
    pub fn load(&mut self, width: Width, dst: Reg, src: Reg, offset: i16) {
        self.push(LDX | MEM | width.code(), dst as u8, src as u8, offset, 0);
    }

    /// `*(dst + offset) = src`
    pub fn store(&mut self, width: Width, dst: Reg, offset: i16, src: impl Into<Operand>) {
        let code = MEM | width.code();
        match src.into() {
            Operand::Reg(src) => self.push(STX | code, dst as u8, src as u8, offset, 0),
            Operand::Imm(imm) => self.push(ST | code, dst as u8, 0, offset, imm),
        }
    }

    /// `*(dst + offset) += src`, at once for all CPUs. Four or eight bytes.
    pub fn atomic_add(&mut self, width: Width, dst: Reg, offset: i16, src: Reg) {
        self.push(STX | ATOMIC | width.code(), dst as u8, src as u8, offset, ATOMIC_ADD);
    }

    /// The same, and `src` becomes what was there before.
    pub fn atomic_fetch_add(&mut self, width: Width, dst: Reg, offset: i16, src: Reg) {
        self.push(STX | ATOMIC | width.code(), dst as u8, src as u8, offset, ATOMIC_FETCH_ADD);
    }

    /// `R0 = packet[offset]` in host order, for programs over an skb (its pointer in R6); the program ends with 0
    /// beyond the packet's end. Up to four bytes. R1–R5 are lost. Offsets as in [`super::classic`], negative ones too.
    pub fn load_packet(&mut self, width: Width, offset: i32) {
        self.push(LD | ABS | width.code(), 0, 0, 0, offset);
    }

    /// `R0 = packet[src + offset]`, likewise.
    pub fn load_packet_at(&mut self, width: Width, src: Reg, offset: i32) {
        self.push(LD | IND | width.code(), 0, src as u8, 0, offset);
    }

    /// Goes on at the label.
    pub fn jump(&mut self, to: Label) {
        self.jumps.push((self.insns.len(), to));
        self.push(JMP | JA, 0, 0, 0, 0);
    }

    /// Goes on at the label if the comparison of all 64 bits holds.
    pub fn jump_if(&mut self, cond: Cond, dst: Reg, src: impl Into<Operand>, to: Label) {
        self.jumps.push((self.insns.len(), to));
        self.operation(JMP | cond as u8, dst, src.into(), 0);
    }

    /// Goes on at the label if the comparison of the lower 32 bits holds.
    pub fn jump_if32(&mut self, cond: Cond, dst: Reg, src: impl Into<Operand>, to: Label) {
        self.jumps.push((self.insns.len(), to));
        self.operation(JMP32 | cond as u8, dst, src.into(), 0);
    }

    /// Calls a helper.
    pub fn call(&mut self, helper: Helper) {
        self.push(JMP | CALL, 0, 0, 0, helper as i32);
    }

    /// Calls a function of the kernel by the number that [`super::function`] gave.
    pub fn call_function(&mut self, number: i32) {
        self.raw(Insn { code: JMP | CALL, src: PSEUDO_KFUNC_CALL, imm: number, ..Insn::default() });
    }

    /// Ends the program; its result is R0.
    pub fn exit(&mut self) {
        self.push(JMP | EXIT, 0, 0, 0, 0);
    }

    /// Ends the program with a number.
    pub fn exit_with(&mut self, result: i32) {
        self.mov(Reg::R0, result);
        self.exit();
    }

    /// The program with every jump resolved.
    pub fn assemble(&self) -> Result<Vec<Insn>, AsmError> {
        let mut insns = self.insns.clone();
        for (at, label) in &self.jumps {
            let to = self.labels[label.0].ok_or(AsmError::Unbound(*at))?;
            // A jump's distance counts from the instruction behind it, RFC 9669 section 4.3.
            let distance = to as i64 - (*at as i64 + 1);
            insns[*at].offset = i16::try_from(distance).map_err(|_| AsmError::TooFar(*at))?;
        }
        Ok(insns)
    }

    fn operation(&mut self, code: u8, dst: Reg, src: Operand, offset: i16) {
        match src {
            Operand::Reg(src) => self.push(code | X, dst as u8, src as u8, offset, 0),
            Operand::Imm(imm) => self.push(code | K, dst as u8, 0, offset, imm),
        }
    }

    fn wide(&mut self, dst: Reg, kind: u8, low: u32, high: u32) {
        self.push(LD | IMM | Width::B8.code(), dst as u8, kind, 0, low.cast_signed());
        self.push(0, 0, 0, 0, high.cast_signed());
    }

    fn push(&mut self, code: u8, dst: u8, src: u8, offset: i16, imm: i32) {
        self.insns.push(Insn { code, dst, src, offset, imm });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reg::{R0, R1, R2, R6, R10};

    fn bytes(write: impl FnOnce(&mut Asm)) -> Vec<[u8; 8]> {
        let mut asm = Asm::new();
        write(&mut asm);
        asm.assemble().unwrap().into_iter().map(Insn::bytes).collect()
    }

    /// The encodings that linux/filter.h's macros and a disassembler agree on.
    #[cfg(target_endian = "little")]
    #[test]
    fn instructions_are_encoded_as_the_rfc_says() {
        let got = bytes(|a| {
            a.mov(R0, 1);
            a.mov(R2, R1);
            a.alu(Alu::Add, R2, -4);
            a.alu32(Alu::Xor, R2, R6);
            a.neg(R2);
            a.to_be(R0, 16);
            a.load(Width::B2, R0, R1, 12);
            a.store(Width::B8, R10, -8, R0);
            a.store(Width::B1, R10, -1, 7);
            a.atomic_add(Width::B8, R1, 16, R0);
            a.load_packet(Width::B1, 9);
            a.load_packet_at(Width::B4, R2, 14);
            a.call(Helper::KtimeGetNs);
            a.exit();
        });
        let expected = [
            [0xb7, 0x00, 0, 0, 1, 0, 0, 0],
            [0xbf, 0x12, 0, 0, 0, 0, 0, 0],
            [0x07, 0x02, 0, 0, 0xfc, 0xff, 0xff, 0xff],
            [0xac, 0x62, 0, 0, 0, 0, 0, 0],
            [0x87, 0x02, 0, 0, 0, 0, 0, 0],
            [0xdc, 0x00, 0, 0, 16, 0, 0, 0],
            [0x69, 0x10, 12, 0, 0, 0, 0, 0],
            [0x7b, 0x0a, 0xf8, 0xff, 0, 0, 0, 0],
            [0x72, 0x0a, 0xff, 0xff, 7, 0, 0, 0],
            [0xdb, 0x01, 16, 0, 0, 0, 0, 0],
            [0x30, 0x00, 0, 0, 9, 0, 0, 0],
            [0x40, 0x20, 0, 0, 14, 0, 0, 0],
            [0x85, 0x00, 0, 0, 5, 0, 0, 0],
            [0x95, 0x00, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(got, expected);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn wide_numbers_take_two_slots() {
        let got = bytes(|a| a.mov64(R6, 0x1122_3344_5566_7788));
        assert_eq!(got, [[0x18, 0x06, 0, 0, 0x88, 0x77, 0x66, 0x55], [0, 0, 0, 0, 0x44, 0x33, 0x22, 0x11]]);
    }

    #[test]
    fn jumps_lead_forward_and_back() {
        let mut asm = Asm::new();
        let end = asm.label();
        let top = asm.here();
        asm.jump_if(Cond::Eq, R0, 0, end); // 0
        asm.mov64(R1, 5); // 1 and 2
        asm.jump_if32(Cond::Lt, R0, R1, top); // 3
        asm.jump(top); // 4
        asm.bind(end);
        asm.exit(); // 5
        let offsets: Vec<i16> = asm.assemble().unwrap().iter().map(|i| i.offset).collect();
        assert_eq!(offsets, [4, 0, 0, -4, -5, 0]);
    }

    #[test]
    fn jumps_to_nowhere_and_too_far_are_errors() {
        let mut asm = Asm::new();
        let label = asm.label();
        asm.mov(R0, 0);
        asm.jump(label);
        assert_eq!(asm.assemble(), Err(AsmError::Unbound(1)));
        (0..40_000).for_each(|_| asm.mov(R0, 0));
        asm.bind(label);
        assert_eq!(asm.assemble(), Err(AsmError::TooFar(1)));
    }
}
