//! The programs of the generator and the sink.
//!
//! The generator's frames are recycled: what comes back was rewritten by whoever it went through, so that all
//! of its headers are written anew each time. Eight instructions decide whether a frame is due; what is not is
//! given back, so that the rate holds to within a batch however long the kernel runs the program.

use std::time::Duration;

use super::traffic::{FIRST_PORTS, MARK, PORT_BITS, PORT_MASK, SCATTER, Traffic, scatter_shift};
use crate::io::bpf::classic::{Classic, Op, Test};
use crate::io::bpf::{Action, Alu, Asm, AsmError, Cond, Context, Helper, Map, Reg, TcAction, Width};
use Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};

/// Where things stand in the generator's own map.
pub(super) mod state {
    /// The number of the next frame.
    pub(in crate::lab::load) const NEXT: i16 = 0;
    /// When it is due, in ticks.
    pub(super) const DUE: i16 = 8;
    /// How many were sent.
    pub(super) const SENT: i16 = 16;
    /// Bytes of it all.
    pub(in crate::lab::load) const SIZE: u32 = 24;
    /// [`SENT`] as a place among 64-bit words.
    pub(in crate::lab::load) const SENT_WORD: usize = 2;
}

/// What the generator is told through a map of one word.
pub(super) mod control {
    /// Send nothing.
    pub(in crate::lab::load) const HOLD: u64 = 0;
    /// Send whatever can be sent; anything above is the time between two frames, in ticks.
    pub(in crate::lab::load) const SATURATE: u64 = 1;
}

/// A tick is a 64th of a nanosecond: fine enough for tens of millions of frames a second, and 64 bits of
/// them last nine years.
pub(super) const TICK_BITS: i32 = 6;
/// How late a frame may be before its time is given up. A generator that shares its CPU with what is measured is kept from it
/// for some milliseconds at a time, and makes up for that when it is back.
pub(super) const PATIENCE: Duration = Duration::from_millis(5);
/// Sends the traffic's frames: over `control` it is told how fast, `state` is its own.
pub(super) fn generator(traffic: &Traffic, control: &Map, state: &Map) -> Asm {
    let mut asm = Asm::new();
    let (idle, send) = (asm.label(), asm.label());
    asm.load(Width::B4, R6, R1, Context::XDP_DATA);
    asm.load(Width::B4, R2, R1, Context::XDP_DATA_END);
    asm.mov(R3, R6);
    asm.alu(Alu::Add, R3, traffic.changing() as i32);
    asm.jump_if(Cond::Gt, R3, R2, idle);
    asm.map_value(R7, state, 0);

    // Is one due?
    asm.map_value(R1, control, 0);
    asm.load(Width::B8, R8, R1, 0);
    asm.jump_if(Cond::Eq, R8, control::HOLD as i32, idle);
    asm.jump_if(Cond::Eq, R8, control::SATURATE as i32, send);
    asm.call(Helper::KtimeGetNs);
    asm.alu(Alu::Shl, R0, TICK_BITS);
    asm.load(Width::B8, R2, R7, state::DUE);
    asm.jump_if(Cond::Lt, R0, R2, idle);
    asm.alu(Alu::Sub, R0, (PATIENCE.as_nanos() as i32) << TICK_BITS);
    let in_time = asm.label();
    asm.jump_if(Cond::Ge, R2, R0, in_time);
    asm.mov(R2, R0);
    asm.bind(in_time);
    asm.alu(Alu::Add, R2, R8);
    asm.store(Width::B8, R7, state::DUE, R2);

    asm.bind(send);
    asm.load(Width::B8, R8, R7, state::NEXT);
    asm.mov(R1, R8);
    asm.alu(Alu::Add, R1, 1);
    if let Some(flows) = traffic.flow_count() {
        let more = asm.label();
        asm.jump_if(Cond::Lt, R1, flows.cast_signed(), more);
        asm.mov(R1, 0);
        asm.bind(more);
    }
    asm.store(Width::B8, R7, state::NEXT, R1);
    asm.load(Width::B8, R1, R7, state::SENT);
    asm.alu(Alu::Add, R1, 1);
    asm.store(Width::B8, R7, state::SENT, R1);
    write_constants(&mut asm, &traffic.template()[..traffic.changing()]);
    write_fields(&mut asm, traffic);
    asm.exit_with(Action::Tx as i32);

    asm.bind(idle);
    asm.exit_with(Action::Drop as i32);
    asm
}

/// Writes bytes to the frame at R6, as many at a time as there are.
fn write_constants(asm: &mut Asm, bytes: &[u8]) {
    let (eights, rest) = bytes.as_chunks::<8>();
    for (i, eight) in eights.iter().enumerate() {
        asm.mov64(R1, u64::from_ne_bytes(*eight));
        asm.store(Width::B8, R6, (i * 8) as i16, R1);
    }
    for (i, byte) in rest.iter().enumerate() {
        asm.store(Width::B1, R6, (eights.len() * 8 + i) as i16, i32::from(*byte));
    }
}

/// Writes what depends on the number in R8, and the checksums. The same as [`Traffic::write`].
fn write_fields(asm: &mut Asm, traffic: &Traffic) {
    let (at, recipe, sums) = (traffic.places(), traffic.recipe(), traffic.constant_sums());
    // R9 is the sum of all fields, in words as they stand in memory.
    asm.mov(R1, R8);
    asm.alu32(Alu::And, R1, (1 << recipe.sources_bits) - 1);
    asm.alu32(Alu::Add, R1, recipe.source.cast_signed());
    asm.to_be(R1, 32);
    asm.store(Width::B4, R6, at.source as i16, R1);
    asm.mov(R9, R1);

    if recipe.span == 0 {
        asm.alu32(Alu::Mov, R1, 0);
    } else {
        let mask = (1 << recipe.span) - 1;
        asm.alu32(Alu::Mov, R1, R8);
        asm.alu32(Alu::Mul, R1, SCATTER[0].cast_signed());
        asm.alu32(Alu::And, R1, mask);
        asm.alu32(Alu::Mov, R2, R1);
        asm.alu32(Alu::Shr, R2, i32::from(scatter_shift(recipe.span)));
        asm.alu32(Alu::Xor, R1, R2);
        asm.alu32(Alu::Mul, R1, SCATTER[1].cast_signed());
        asm.alu32(Alu::And, R1, mask);
    }
    asm.alu32(Alu::Add, R1, recipe.destination.cast_signed());
    asm.to_be(R1, 32);
    asm.store(Width::B4, R6, at.destination as i16, R1);
    asm.alu(Alu::Add, R9, R1);

    if let Some(place) = at.ip_sum {
        asm.mov64(R1, sums.ip);
        asm.alu(Alu::Add, R1, R9);
        fold(asm, R1, R2);
        asm.alu(Alu::Xor, R1, 0xffff);
        asm.store(Width::B2, R6, place as i16, R1);
    }

    asm.alu32(Alu::Mov, R4, R8);
    asm.alu32(Alu::Shr, R4, i32::from(recipe.sources_bits));
    for (i, first) in FIRST_PORTS.iter().enumerate() {
        asm.alu32(Alu::Mov, R5, R4);
        asm.alu32(Alu::And, R5, PORT_MASK.cast_signed());
        asm.alu32(Alu::Add, R5, i32::from(*first));
        asm.to_be(R5, 16);
        asm.store(Width::B2, R6, (at.ports + 2 * i) as i16, R5);
        asm.alu(Alu::Add, R9, R5);
        asm.alu32(Alu::Shr, R4, i32::from(PORT_BITS));
    }
    asm.mov(R1, R8);
    asm.to_be(R1, 32);
    asm.store(Width::B4, R6, at.number as i16, R1);
    asm.alu(Alu::Add, R9, R1);

    if traffic.has_checksum() {
        asm.mov64(R1, sums.udp);
        asm.alu(Alu::Add, R1, R9);
        fold(asm, R1, R2);
        asm.alu(Alu::Xor, R1, 0xffff);
        let right = asm.label();
        asm.jump_if(Cond::Ne, R1, 0, right);
        asm.mov(R1, 0xffff);
        asm.bind(right);
        asm.store(Width::B2, R6, at.udp_sum as i16, R1);
    }
}

/// Folds a sum of a few dozen 32-bit words to 16 bits.
fn fold(asm: &mut Asm, sum: Reg, spare: Reg) {
    asm.mov(spare, sum);
    asm.alu(Alu::Shr, spare, 32);
    asm.alu32(Alu::Mov, sum, sum);
    asm.alu(Alu::Add, sum, spare);
    // At most 33 bits, then 18, then 17, then 16.
    for _ in 0..3 {
        asm.mov(spare, sum);
        asm.alu(Alu::Shr, spare, 16);
        asm.alu(Alu::And, sum, 0xffff);
        asm.alu(Alu::Add, sum, spare);
    }
}

/// Counts and drops the generator's frames of this family where they come in, in a per-CPU array of packets and bytes;
/// what else comes goes on.
pub(super) fn sink(ipv6: bool, counts: &Map) -> Asm {
    let mut asm = Asm::new();
    let other = asm.label();
    let (ethertype, protocol, mark) = layout(ipv6);
    asm.load(Width::B4, R2, R1, Context::SKB_PROTOCOL);
    asm.jump_if(Cond::Ne, R2, i32::from((ethertype as u16).to_be()), other);
    asm.load(Width::B4, R7, R1, Context::SKB_LEN);
    asm.mov(R6, R1);
    // What is too short for a load ends here with 0: it passes.
    asm.load_packet(Width::B1, protocol);
    asm.jump_if(Cond::Ne, R0, 17, other);
    asm.load_packet(Width::B4, mark);
    asm.jump_if32(Cond::Ne, R0, MARK.cast_signed(), other);
    asm.store(Width::B4, R10, -4, 0);
    asm.map(R1, counts);
    asm.mov(R2, R10);
    asm.alu(Alu::Add, R2, -4);
    asm.call(Helper::MapLookup);
    asm.jump_if(Cond::Eq, R0, 0, other);
    for (offset, amount) in [(0, None), (8, Some(R7))] {
        asm.load(Width::B8, R1, R0, offset);
        match amount {
            None => asm.alu(Alu::Add, R1, 1),
            Some(amount) => asm.alu(Alu::Add, R1, amount),
        }
        asm.store(Width::B8, R0, offset, R1);
    }
    asm.exit_with(TcAction::Drop as i32);
    asm.bind(other);
    asm.exit_with(TcAction::Next as i32);
    asm
}

/// The same choice in classic BPF: one result for the generator's frames, another for the rest.
pub(super) fn classic_sink(ipv6: bool, ours: u32, others: u32) -> Result<Vec<Op>, AsmError> {
    let mut c = Classic::new();
    let other = c.mark();
    let (ethertype, protocol, mark) = layout(ipv6);
    c.load(Width::B2, 12);
    c.jump_unless(Test::Eq, ethertype, other);
    c.load(Width::B1, protocol as u32);
    c.jump_unless(Test::Eq, 17, other);
    c.load(Width::B4, mark as u32);
    c.jump_unless(Test::Eq, MARK, other);
    c.ret(ours);
    c.bind(other);
    c.ret(others);
    c.assemble()
}

/// The ethertype, and where protocol and mark stand.
fn layout(ipv6: bool) -> (u32, i32, i32) {
    if ipv6 { (0x86dd, 20, 62) } else { (0x0800, 23, 42) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mac;
    use crate::io::bpf::{Kind, Program};

    /// The program's frames are those that [`Traffic::write`] makes.
    #[test]
    fn the_program_writes_what_the_description_says() {
        let mac = |last| Mac([2, 0, 0, 0, 0, last]);
        let v4 = Traffic::new(mac(1), mac(2), [10, 0, 0, 2].into(), [172, 16, 0, 0].into());
        let v6 = Traffic::new(mac(1), mac(2), "fd00::ffff:fffe".parse().unwrap(), "fd01::".parse().unwrap());
        let kinds = [
            v4.clone().flows(3),
            v4.clone().endless().checksum(false),
            v4.endless().sources(64).span(28).size(300),
            v6.clone().flows(5),
            v6.endless().sources(16).span(9),
        ];
        for traffic in kinds {
            let state = match Map::array(state::SIZE, 1) {
                Err(e) if e.is_permission() => return println!("skipped: {e}"),
                map => map.unwrap(),
            };
            let control = Map::array(8, 1).unwrap();
            let program =
                Program::load(Kind::Xdp, "generator", &generator(&traffic, &control, &state)).unwrap();
            let dirty = vec![0xee; traffic.changing()];
            let recycled = [&dirty[..], &traffic.frame(0)[traffic.changing()..]].concat();
            assert_eq!(program.run(&recycled, 1).unwrap().result, Action::Drop as u32, "held");
            control.set(0, &control::SATURATE.to_ne_bytes()).unwrap();
            let numbers = [0, 1, 2, 63, 64, 16_383, 16_384, 1_048_575, 77_777_777, u64::from(u32::MAX)];
            for number in numbers.into_iter().filter(|n| traffic.flow_count().is_none_or(|f| *n < f.into())) {
                let mut value = vec![0; state::SIZE as usize];
                value[..8].copy_from_slice(&number.to_ne_bytes());
                state.set(0, &value).unwrap();
                let result = program.run(&recycled, 1).unwrap();
                assert_eq!(result.result, Action::Tx as u32);
                assert_eq!(result.data, traffic.frame(number), "number {number} of {traffic:?}");
                let next = traffic.flow_count().map_or(number + 1, |f| (number + 1) % u64::from(f));
                assert_eq!(state.words(0).unwrap()[0], next);
                assert_eq!(state.words(0).unwrap()[state::SENT_WORD], 1);
            }
        }
    }

    #[test]
    fn the_sink_takes_marked_frames_only() {
        let counts = match Map::per_cpu_array(16, 1) {
            Err(e) if e.is_permission() => return println!("skipped: {e}"),
            map => map.unwrap(),
        };
        let mac = |last| Mac([2, 0, 0, 0, 0, last]);
        let frame = Traffic::new(mac(1), mac(2), [10, 0, 0, 2].into(), [10, 0, 1, 2].into()).frame(9);
        let program = Program::load(Kind::SchedCls, "sink", &sink(false, &counts)).unwrap();
        let verdict = |frame: &[u8]| program.run(frame, 1).unwrap().result.cast_signed();
        assert_eq!(verdict(&frame), TcAction::Drop as i32);
        let mut other = frame.clone();
        other[44] ^= 1;
        assert_eq!(verdict(&other), TcAction::Next as i32);
        other.truncate(40);
        assert_eq!(verdict(&other), TcAction::Pass as i32, "too short");
        other[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(verdict(&other), TcAction::Next as i32);
        assert_eq!(counts.words(0).unwrap(), [1, 60]);
    }
}
