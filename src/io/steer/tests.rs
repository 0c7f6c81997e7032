//! The programs beside the function that they are copies of, on a machine of our own.

use libc::{BPF_ABS, BPF_ADD, BPF_AND, BPF_H, BPF_JEQ, BPF_LSH, BPF_MOD, BPF_MUL, BPF_RSH, BPF_W, BPF_XOR};
use proptest::prelude::*;

use super::*;

/// Runs a classic program, as `Documentation/networking/filter.rst` says.
fn run(program: &[sock_filter], packet: &[u8]) -> u32 {
    let (mut a, mut x, mut memory, mut pc) = (0u32, 0u32, [None; 16], 0usize);
    loop {
        let i = program[pc];
        pc += 1;
        let code = u32::from(i.code);
        let operand = if code & BPF_X == 0 { i.k } else { x };
        match code & 7 {
            BPF_LD if code & MODE == BPF_IMM => a = i.k,
            BPF_LD if code & MODE == BPF_MEM => a = memory[i.k as usize].unwrap(),
            BPF_LD => {
                let at = if code & MODE == BPF_ABS { i.k } else { x.wrapping_add(i.k) } as usize;
                let size = match code & 0x18 {
                    BPF_W => 4,
                    BPF_H => 2,
                    _ => 1,
                };
                let Some(bytes) = packet.get(at..at + size) else { return 0 };
                a = bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b));
            }
            BPF_LDX if code & MODE == BPF_MEM => x = memory[i.k as usize].unwrap(),
            BPF_LDX => x = i.k,
            BPF_ST => memory[i.k as usize] = Some(a),
            BPF_ALU => {
                a = match code & 0xf0 {
                    BPF_ADD => a.wrapping_add(operand),
                    BPF_MUL => a.wrapping_mul(operand),
                    BPF_AND => a & operand,
                    BPF_XOR => a ^ operand,
                    BPF_LSH => a << operand,
                    BPF_RSH => a >> operand,
                    BPF_MOD => a % operand,
                    other => panic!("{other:#x}"),
                }
            }
            BPF_JMP if code & 0xf0 == BPF_JA => pc += i.k as usize,
            BPF_JMP => {
                let yes = if code & 0xf0 == BPF_JEQ { a == i.k } else { a & i.k != 0 };
                pc += usize::from(if yes { i.jt } else { i.jf });
            }
            BPF_MISC if code & 0xf8 == BPF_TAX => x = a,
            BPF_MISC => a = x,
            _ => return if code & 0x18 == BPF_A { a } else { i.k },
        }
    }
}

/// Runs an extended one: the instructions that [`extended`] writes.
fn run_extended(program: &[u64], packet: &[u8]) -> u32 {
    let (mut r, mut stack, mut pc) = ([0u32; 11], [0u32; 17], 0i64);
    loop {
        let i = program[pc as usize];
        pc += 1;
        let (code, dst, src) = (i as u8, (i >> 8 & 0xf) as usize, (i >> 12 & 0xf) as usize);
        let (offset, imm) = ((i >> 16) as i16, (i >> 32) as u32);
        let operand = if code & 8 == 0 { imm } else { r[src] };
        match code {
            ALU64_MOV_X => r[dst] = r[src],
            LDX_MEM_W => r[dst] = stack[(-offset / 4) as usize],
            STX_MEM_W => stack[(-offset / 4) as usize] = r[src],
            JA => pc += i64::from(offset),
            EXIT => return r[0],
            _ => match code & 7 {
                0 => {
                    let at = if code & 0xe0 == 0x40 { r[src].wrapping_add(imm) } else { imm } as usize;
                    let size = [4, 2, 1][usize::from(code >> 3 & 3)];
                    let Some(bytes) = packet.get(at..at + size) else { return 0 };
                    r[0] = bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b));
                    r[1..6].fill(0xdead);
                }
                4 => {
                    r[dst] = match code & 0xf0 {
                        0x00 => r[dst].wrapping_add(operand),
                        0x20 => r[dst].wrapping_mul(operand),
                        0x50 => r[dst] & operand,
                        0x60 => r[dst] << operand,
                        0x70 => r[dst] >> operand,
                        0x90 => r[dst] % operand,
                        0xa0 => r[dst] ^ operand,
                        0xb0 => operand,
                        other => panic!("{other:#x}"),
                    }
                }
                5 => {
                    let yes = match code & 0xf0 {
                        0x10 => r[dst] == operand,
                        _ => r[dst] & operand != 0,
                    };
                    pc += if yes { i64::from(offset) } else { 0 };
                }
                other => panic!("class {other}"),
            },
        }
    }
}

fn upper() -> impl Strategy<Value = (u8, u8, Vec<u8>)> {
    let protos = prop::sample::select(vec![6u8, 17, 132, 136, 1, 58, 0, 43, 44, 50, 60, 33, 47, 99]);
    (
        protos,
        prop_oneof![Just(0u8), Just(8), Just(3), Just(11), Just(1), Just(128), any::<u8>()],
        any_bytes(40),
    )
}

fn any_bytes(n: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..n)
}

/// An IP packet that is nearly right, with `rest` behind its header.
fn ip(v6: bool, proto: u8, options: u8, fragment: u16, head: &[u8; 32], rest: &[u8]) -> Vec<u8> {
    let mut p = vec![0u8; 40];
    if v6 {
        p[0] = 0x60;
        p[6] = proto;
        p[8..40].copy_from_slice(head);
    } else {
        p.truncate(20);
        p[0] = 0x40 | options;
        p[6..8].copy_from_slice(&fragment.to_be_bytes());
        p[9] = proto;
        p[12..20].copy_from_slice(&head[..8]);
        p.extend(std::iter::repeat_n(7, usize::from(options.saturating_sub(5)) * 4));
    }
    p.extend(rest);
    p
}

prop_compose! {
    fn packets()(
        v6 in any::<[bool; 2]>(),
        heads in any::<[[u8; 32]; 2]>(),
        options in prop::sample::select(vec![5u8, 5, 5, 6, 15, 0, 4]),
        fragment in prop::sample::select(vec![0u16, 0, 0x4000, 0x2000, 7, 0x8000]),
        extensions in prop::collection::vec((prop::sample::select(vec![0u8, 43, 60, 44, 51]), 0u8..3), 0..4),
        outer in upper(),
        inner in upper(),
        quotes in any::<bool>(),
        cut in prop::option::of(0usize..140),
    ) -> Vec<u8> {
        let (proto, kind, mut l4) = outer;
        if let Some(first) = l4.first_mut() {
            *first = kind;
        }
        if quotes && l4.len() >= 8 {
            let (proto, kind, mut l4_inner) = inner;
            if let Some(first) = l4_inner.first_mut() {
                *first = kind;
            }
            l4.truncate(8);
            l4.extend(ip(v6[usize::from(kind % 5 == 0)], proto, options, fragment, &heads[1], &l4_inner));
        }
        let (mut first, mut rest) = (proto, l4);
        for (header, length) in extensions.iter().filter(|_| v6[0]) {
            let mut e = vec![first, *length];
            e.extend(std::iter::repeat_n(9, usize::from(*length) * 8 + 6));
            e.extend(rest);
            (first, rest) = (*header, e);
        }
        let mut p = ip(v6[0], first, options, fragment, &heads[0], &rest);
        if let Some(cut) = cut {
            p.truncate(cut);
        }
        p
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_programs_say_what_the_function_says(
        packet in prop_oneof![8 => packets(), 1 => any_bytes(60)],
        key in any::<u32>(),
        workers in 2u32..9,
        addresses in any::<[bool; 2]>(),
        l3 in prop::sample::select(vec![0u32, 14]),
    ) {
        let steering = Steering { key, workers, addresses };
        let program = classic(&steering, l3);
        let seen = [vec![0xee; l3 as usize], packet.clone()].concat();
        let wanted = steering.worker(&packet) as u32;
        prop_assert_eq!(run(&program, &seen), wanted);
        prop_assert_eq!(run_extended(&extended(&program), &seen), wanted);
    }
}

#[test]
fn the_programs_are_of_a_length_that_the_kernel_takes() {
    let program = classic(&Steering { key: 1, workers: 3, addresses: [true; 2] }, 0);
    assert!(program.len() < 1_000, "{}", program.len());
    assert!(extended(&program).len() < 2_000);
}

/// Real packets of every kind come to more than one worker, and what is about a flow comes to the flow's.
#[test]
fn random_packets_reach_every_branch() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let program = classic(&Steering { key: 9, workers: 4, addresses: [false; 2] }, 0);
    let mut shares = [0; 4];
    for _ in 0..2_000 {
        let packet = packets().new_tree(&mut runner).unwrap().current();
        shares[run(&program, &packet) as usize] += 1;
    }
    assert!(shares.iter().all(|n| *n > 200), "{shares:?}");
}
