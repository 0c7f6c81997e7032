//! Programs in the running kernel. Where it refuses bpf() a test says so and ends: a user namespace has no right to it.

use std::os::fd::AsFd as _;

use super::*;
use crate::io::netlink::Netlink;
use crate::lab::isolate;
use Reg::{R0, R1, R2, R3, R4, R6, R7, R10};

/// The value, or `None` with the reason printed where bpf() is refused. Anything else is a failure.
fn allowed<T>(result: Result<T, BpfError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(e) if e.is_permission() => {
            println!("skipped: {e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

/// An Ethernet frame of zeros.
const FRAME: [u8; 60] = [0; 60];

#[test]
fn arithmetic_and_branches_are_the_kernels() {
    let mut asm = Asm::new();
    let (wrong, next) = (asm.label(), asm.label());
    asm.mov64(R1, 0xffff_ffff_0000_0005);
    asm.mov(R2, R1);
    asm.alu32(Alu::Add, R2, -6); // 5 - 6 in 32 bits
    asm.mov64(R3, 0xffff_ffff);
    asm.jump_if(Cond::Ne, R2, R3, wrong);
    asm.mov(R0, 0x1234);
    asm.to_be(R0, 16);
    asm.jump_if(Cond::Ne, R0, i32::from(0x1234u16.to_be()), wrong);
    asm.mov(R0, -16);
    asm.alu(Alu::Sar, R0, 2);
    asm.jump_if(Cond::SLt, R0, -3, next);
    asm.jump(wrong);
    asm.bind(next);
    asm.alu(Alu::Mod, R1, 7); // 18446744069414584325 % 7
    asm.mov(R0, R1);
    asm.exit();
    asm.bind(wrong);
    asm.exit_with(99);
    let Some(program) = allowed(Program::load(Kind::SchedCls, "arithmetic", &asm)) else { return };
    let result = program.run(&FRAME, 1).unwrap();
    assert_eq!(u64::from(result.result), 0xffff_ffff_0000_0005 % 7);
}

#[test]
fn packets_are_read_and_written() {
    let mut asm = Asm::new();
    let short = asm.label();
    asm.load(Width::B4, R6, R1, Context::XDP_DATA);
    asm.load(Width::B4, R7, R1, Context::XDP_DATA_END);
    asm.mov(R2, R6);
    asm.alu(Alu::Add, R2, 14);
    asm.jump_if(Cond::Gt, R2, R7, short);
    asm.load(Width::B2, R3, R6, 12);
    asm.store(Width::B2, R6, 0, R3);
    asm.store(Width::B1, R6, 2, 0x7f);
    asm.exit_with(Action::Tx as i32);
    asm.bind(short);
    asm.exit_with(Action::Drop as i32);
    let Some(program) = allowed(Program::load(Kind::Xdp, "rewrite", &asm)) else { return };
    let mut frame = FRAME;
    frame[12..14].copy_from_slice(&[8, 0]);
    let result = program.run(&frame, 3).unwrap();
    assert_eq!(result.result, Action::Tx as u32);
    assert_eq!(result.data.len(), frame.len());
    assert_eq!(result.data[..4], [8, 0, 0x7f, 0]);
}

#[test]
fn skbs_are_read_by_packet_loads() {
    let mut asm = Asm::new();
    asm.mov(R6, R1);
    asm.load_packet(Width::B2, 2);
    asm.mov(R7, R0);
    asm.load_packet_at(Width::B1, R7, 1);
    asm.exit();
    let Some(program) = allowed(Program::load(Kind::SocketFilter, "loads", &asm)) else { return };
    // A socket filter's packet begins behind the Ethernet header in a test run.
    let mut frame = FRAME;
    frame[14 + 3] = 20;
    frame[14 + 21] = 0xab;
    assert_eq!(program.run(&frame, 1).unwrap().result, 0xab);
}

#[test]
fn arrays_count_from_both_sides() {
    let Some(shared) = allowed(Map::array(16, 1)) else { return };
    let each = Map::per_cpu_array(12, 3).unwrap();
    let mut asm = Asm::new();
    let gone = asm.label();
    asm.map_value(R2, &shared, 8);
    asm.mov(R3, 1);
    asm.atomic_fetch_add(Width::B8, R2, 0, R3);
    asm.mov(R6, R3);
    // A per-CPU element is looked up: its key stands on the stack.
    asm.store(Width::B4, R10, -4, 2);
    asm.map(R1, &each);
    asm.mov(R2, R10);
    asm.alu(Alu::Add, R2, -4);
    asm.call(Helper::MapLookup);
    asm.jump_if(Cond::Eq, R0, 0, gone);
    asm.mov(R1, 5);
    asm.atomic_add(Width::B8, R0, 0, R1);
    asm.bind(gone);
    asm.mov(R0, R6);
    asm.exit();
    let program = Program::load(Kind::SchedCls, "counts", &asm).unwrap();
    shared.set(0, &[7u64.to_ne_bytes(), 40u64.to_ne_bytes()].concat()).unwrap();
    assert_eq!(program.run(&FRAME, 4).unwrap().result, 43);
    assert_eq!(shared.words(0).unwrap(), [7, 44]);
    assert_eq!(each.words(2).unwrap(), [20]);
    assert_eq!(each.words(0).unwrap(), [0]);
    assert_eq!(each.lookup(&3u32.to_ne_bytes()).unwrap(), None);
    assert!(shared.set(1, &[0; 16]).is_err(), "beyond the end");
    assert!(shared.set(0, &[0; 8]).is_err(), "too short a value");
    assert!(shared.lookup(&[0; 2]).is_err(), "too short a key");
}

#[test]
fn hashes_find_what_was_put_in_until_they_are_full() {
    let Some(map) = allowed(Map::new(MapKind::Hash, 6, 4, 2)) else { return };
    map.update(&[1; 6], &[9; 4]).unwrap();
    map.update(&[2; 6], &[8; 4]).unwrap();
    assert_eq!(map.lookup(&[1; 6]).unwrap(), Some(vec![9; 4]));
    assert_eq!(map.update(&[3; 6], &[0; 4]).unwrap_err().errno(), Some(libc::E2BIG));
    assert!(map.delete(&[1; 6]).unwrap());
    assert!(!map.delete(&[1; 6]).unwrap());
    assert_eq!(map.lookup(&[1; 6]).unwrap(), None);
}

#[test]
fn the_verifier_is_quoted() {
    let mut asm = Asm::new();
    asm.mov(R0, R4);
    asm.exit();
    match Program::load(Kind::SocketFilter, "unset", &asm) {
        Err(BpfError::Rejected { log, .. }) => assert!(log.contains("R4 !read_ok"), "{log}"),
        Err(e) if e.is_permission() => println!("skipped: {e}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn programs_hang_as_long_as_their_links() {
    isolate::test(|| {
        let mut netlink = Netlink::open().unwrap();
        netlink.link_add_veth("a", "b", None).unwrap();
        let (a, b) = (netlink.link_index("a").unwrap(), netlink.link_index("b").unwrap());
        netlink.set_up(a).unwrap();
        netlink.set_up(b).unwrap();
        let Some(counts) = allowed(Map::per_cpu_array(8, 1)) else { return };
        let sink = Program::load(Kind::SchedCls, "sink", &counting(&counts, TcAction::Drop as i32)).unwrap();
        let source = {
            let mut asm = Asm::new();
            asm.exit_with(Action::Tx as i32);
            Program::load(Kind::Xdp, "source", &asm).unwrap()
        };
        let pass = {
            let mut asm = Asm::new();
            asm.exit_with(Action::Pass as i32);
            Program::load_with(Kind::Xdp, "pass", &asm, Load { frags: true, ..Load::default() }).unwrap()
        };
        // A veth takes XDP frames from its peer only while it has NAPI, which an XDP program gives it.
        let native = pass.attach_xdp(b, XdpMode::Native).unwrap();
        assert_eq!(pass.attach_xdp(b, XdpMode::Native).unwrap_err().errno(), Some(libc::EBUSY));
        let link = sink.attach_ingress(b).unwrap();
        let mut frame = FRAME;
        frame[12..14].copy_from_slice(&EXPERIMENTAL.to_be_bytes());
        let run = LiveRun { frame: &frame, device: a, queue: 0, repeat: 96, batch: 32 };
        let arrived = |wanted: u64| {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while counts.words(0).unwrap()[0] < wanted && std::time::Instant::now() < deadline {
                std::thread::yield_now();
            }
            counts.words(0).unwrap()[0]
        };
        source.run_live(&run).unwrap();
        assert_eq!(arrived(96), 96);
        drop(link);
        source.run_live(&run).unwrap();
        drop(native);
        let _generic = pass.attach_xdp(b, XdpMode::Generic).unwrap();
        assert_eq!(counts.words(0).unwrap(), [96], "a program whose link is gone counts nothing");
        assert!(pass.attach_xdp(u32::MAX, XdpMode::Native).is_err());
    });
}

/// An ethertype for experiments (IEEE 802), which no stack sends.
const EXPERIMENTAL: u16 = 0x88b5;

/// Counts frames of that type in a per-CPU array and gives the verdict.
fn counting(counts: &Map, verdict: i32) -> Asm {
    let mut asm = Asm::new();
    let gone = asm.label();
    asm.load(Width::B4, R2, R1, Context::SKB_PROTOCOL);
    asm.jump_if(Cond::Ne, R2, i32::from(EXPERIMENTAL.to_be()), gone);
    asm.store(Width::B4, R10, -4, 0);
    asm.map(R1, counts.as_fd());
    asm.mov(R2, R10);
    asm.alu(Alu::Add, R2, -4);
    asm.call(Helper::MapLookup);
    asm.jump_if(Cond::Eq, R0, 0, gone);
    asm.load(Width::B8, R1, R0, 0);
    asm.alu(Alu::Add, R1, 1);
    asm.store(Width::B8, R0, 0, R1);
    asm.bind(gone);
    asm.exit_with(verdict);
    asm
}
