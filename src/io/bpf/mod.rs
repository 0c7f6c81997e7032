//! eBPF: programs written here, without a compiler, and given to the kernel.
//!
//! [`Asm`] writes a program, [`Program::load`] has it verified, a [`Map`] is what it shares with us, a
//! [`Link`] hangs it up at a device for as long as the link is held. [`classic`] is the older language that needs no privilege.
//!
//! ```text
//!  Asm ── assemble ──► Vec<Insn> ── Program::load ──► Program ──┬─ attach_xdp / attach_tcx ──► Link
//!                        ▲ map descriptors                      └─ run / run_live
//!                       Map ◄── lookup, update, delete
//! ```
//!
//! An assembler of our own because the programs are a few dozen instructions, and because what there is brings
//! much more than that: rbpf is a virtual machine, aya a loader of compiled object files. Knows nothing of ports.

mod asm;
mod btf;
pub mod classic;
mod insn;
mod map;
mod program;

pub use asm::{Asm, AsmError, Label};
pub use btf::function;
pub use insn::{Alu, Cond, Helper, Insn, Operand, Reg, Width};
pub use map::{Map, MapKind};
pub use program::{Action, Context, Kind, Link, LiveRun, Load, Program, TcAction, XdpMode};

pub use super::sys::bpf::{RunResult, possible_cpus};

use std::io;

/// Something with BPF did not work.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// The program could not be put together.
    #[error("can't assemble the BPF program {0}: {1}")]
    Assemble(String, #[source] AsmError),
    /// The process lacks a capability in the machine's first user namespace.
    #[error("can't {0}: bpf() takes CAP_BPF and CAP_NET_ADMIN outside of any user namespace")]
    NotPermitted(String),
    /// The verifier refused the program.
    #[error("can't load the BPF program {name}: {source}; the verifier said:\n{log}")]
    Rejected {
        /// The program.
        name: String,
        /// What the call gave.
        #[source]
        source: io::Error,
        /// The verifier's words.
        log: String,
    },
    /// Anything else.
    #[error("can't {doing}: {source}")]
    Refused {
        /// What was to be done.
        doing: String,
        /// What the call gave.
        #[source]
        source: io::Error,
    },
}

impl BpfError {
    pub(super) fn new(doing: impl Into<String>, source: io::Error) -> Self {
        let doing = doing.into();
        if source.raw_os_error() == Some(libc::EPERM) {
            return BpfError::NotPermitted(doing);
        }
        BpfError::Refused { doing, source }
    }

    /// Whether it takes a privilege that this process lacks.
    pub fn is_permission(&self) -> bool {
        matches!(self, BpfError::NotPermitted(_))
    }

    /// The error number, where the kernel gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            BpfError::Assemble(..) => None,
            BpfError::NotPermitted(_) => Some(libc::EPERM),
            BpfError::Rejected { source, .. } | BpfError::Refused { source, .. } => source.raw_os_error(),
        }
    }
}

#[cfg(test)]
mod tests;
