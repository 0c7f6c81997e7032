//! Frames that never were an skb: an XDP program run on recycled pages, its verdict XDP_TX.
//!
//! One call of BPF_PROG_RUN lasts as long as frames are wanted: starting and ending one takes some 25 ms, in which
//! nothing would be sent. The program is told over a map what to do meanwhile, and a signal ends the call.

use std::io;
use std::sync::atomic::Ordering::SeqCst;

use super::{LoadError, Rate, Shared, Traffic};
use crate::io::bpf::{Kind, LiveRun, Map, Program};
use crate::lab::load::program::{self, TICK_BITS, control, state};

#[derive(Debug)]
pub(super) struct Live {
    program: Program,
    control: Map,
    state: Map,
    frame: Vec<u8>,
    device: u32,
}

impl Live {
    pub(super) fn new(traffic: &Traffic, device: u32) -> Result<Self, LoadError> {
        let control = Map::array(8, 1)?;
        let state = Map::array(state::SIZE, 1)?;
        let program = Program::load(Kind::Xdp, "generator", &program::generator(traffic, &control, &state))?;
        Ok(Live { program, control, state, frame: traffic.frame(0), device })
    }

    pub(super) fn set_rate(&self, rate: Rate) -> Result<(), LoadError> {
        let word = match rate {
            Rate::Off | Rate::Hold | Rate::PerSecond(0) => control::HOLD,
            Rate::Saturate => control::SATURATE,
            Rate::PerSecond(n) => ((1_000_000_000u64 << TICK_BITS) / n).max(control::SATURATE + 1),
        };
        Ok(self.control.set(0, &word.to_ne_bytes())?)
    }

    pub(super) fn sent(&self) -> Result<u64, LoadError> {
        Ok(self.state.words(0)?[state::SENT_WORD])
    }

    pub(super) fn run(&self, shared: &Shared) {
        while shared.wait().is_some() {
            let run =
                LiveRun { frame: &self.frame, device: self.device, queue: 0, repeat: REPEAT, batch: BATCH };
            shared.busy.store(true, SeqCst);
            // Whoever wants it to end from here on sees that it is busy.
            let result = if shared.is_over() { Ok(()) } else { self.program.run_live(&run) };
            shared.busy.store(false, SeqCst);
            match result {
                Err(e) if e.errno() != Some(libc::EINTR) => return shared.fail(explain(&e)),
                _ => {}
            }
        }
    }
}

fn explain(e: &crate::io::bpf::BpfError) -> String {
    match e.errno().map(io::Error::from_raw_os_error) {
        Some(source) if source.kind() == io::ErrorKind::InvalidInput => {
            format!("{e}: live frames take Linux 5.18")
        }
        _ => e.to_string(),
    }
}

/// Frames between two flushes: what NAPI takes at a time, a quarter of a veth's ring.
const BATCH: u32 = 64;
/// Runs of the program in a call, a minute or so of them; then the next call follows.
const REPEAT: u32 = 1 << 30;
