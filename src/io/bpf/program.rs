//! Programs in the kernel: loaded, run on data of ours, hung up at devices.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Asm, BpfError, Insn};
use crate::io::sys::bpf::{
    BPF_F_TEST_XDP_LIVE_FRAMES, ProgramSpec, RunResult, RunSpec, link_create, program_load, program_run,
};

/// What a program is for: `enum bpf_prog_type` of linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Over an skb; the result is a length to keep, a queue or a worker.
    SocketFilter = 1,
    /// Over an skb at a device's tc hook; the result is a [`TcAction`].
    SchedCls = 3,
    /// Over a frame before the kernel has made anything of it; the result is an [`Action`].
    Xdp = 6,
}

/// What becomes of a frame: `enum xdp_action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Action {
    /// Dropped, as an error.
    Aborted = 0,
    /// Dropped.
    Drop = 1,
    /// On to the kernel's stack.
    Pass = 2,
    /// Back out of the device it came in by.
    Tx = 3,
    /// Where a redirecting helper said.
    Redirect = 4,
}

/// What becomes of an skb at a tc hook: linux/pkt_cls.h, and `enum tcx_action_base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum TcAction {
    /// On to the next program, and then to the stack.
    Next = -1,
    /// On, without asking further programs.
    Pass = 0,
    /// Dropped.
    Drop = 2,
    /// Where a redirecting helper said.
    Redirect = 7,
}

/// Where the fields of a program's context stand: `struct xdp_md` and `struct __sk_buff` of linux/bpf.h.
#[derive(Debug, Clone, Copy)]
pub struct Context;

#[allow(missing_docs, reason = "the names are those of linux/bpf.h")]
impl Context {
    pub const XDP_DATA: i16 = 0;
    pub const XDP_DATA_END: i16 = 4;
    pub const XDP_RX_QUEUE_INDEX: i16 = 16;
    pub const SKB_LEN: i16 = 0;
    /// In network order.
    pub const SKB_PROTOCOL: i16 = 16;
}

/// How a program is to be loaded, where it isn't as usual.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// Frames may consist of several parts (`BPF_F_XDP_HAS_FRAGS`), which large MTUs take.
    pub frags: bool,
    /// The interface whose driver the program asks about a frame (`BPF_F_XDP_DEV_BOUND_ONLY`, Linux 6.3); 0 for none. It can
    /// hang nowhere else.
    pub device: u32,
}

/// How an XDP program hangs at a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver (`XDP_FLAGS_DRV_MODE`).
    Native,
    /// After the driver made an skb of the frame (`XDP_FLAGS_SKB_MODE`): works on every device, is slower.
    Generic,
}

/// A program the kernel has verified.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    name: String,
}

impl Program {
    /// Loads what was assembled. The name is for messages and bpftool.
    pub fn load(kind: Kind, name: &str, asm: &Asm) -> Result<Self, BpfError> {
        Program::load_with(kind, name, asm, Load::default())
    }

    /// The same, with more to choose.
    pub fn load_with(kind: Kind, name: &str, asm: &Asm, load: Load) -> Result<Self, BpfError> {
        let insns = asm.assemble().map_err(|e| BpfError::Assemble(name.to_owned(), e))?;
        let insns: Vec<[u8; 8]> = insns.into_iter().map(Insn::bytes).collect();
        let attach = if kind == Kind::Xdp { BPF_XDP } else { 0 };
        let frags = if load.frags { BPF_F_XDP_HAS_FRAGS } else { 0 };
        let flags = frags | if load.device != 0 { BPF_F_XDP_DEV_BOUND_ONLY } else { 0 };
        let spec = ProgramSpec { kind: kind as u32, attach, insns: &insns, name, flags, device: load.device };
        let fd = program_load(&spec).map_err(|(source, log)| {
            if log.is_empty() {
                return BpfError::new(format!("load the BPF program {name}"), source);
            }
            BpfError::Rejected { name: name.to_owned(), source, log }
        })?;
        Ok(Program { fd, name: name.to_owned() })
    }

    /// Hangs an XDP program up at a device of the calling thread's namespace. It stays as long as the link.
    ///
    /// # Errors
    ///
    /// EBUSY where another program hangs; EOPNOTSUPP where the driver has no such mode; of a veth ERANGE where the
    /// peer's MTU is too large and ENOSPC where the peer has more transmit queues than this end receive queues.
    pub fn attach_xdp(&self, device: u32, mode: XdpMode) -> Result<Link, BpfError> {
        let flags = match mode {
            XdpMode::Generic => XDP_FLAGS_SKB_MODE,
            XdpMode::Native => XDP_FLAGS_DRV_MODE,
        };
        self.attach(device, BPF_XDP, flags)
    }

    /// Hangs a tc program up where a device of the calling thread's namespace receives (tcx, Linux 6.6): before any
    /// clsact filter, behind the packet sockets.
    pub fn attach_ingress(&self, device: u32) -> Result<Link, BpfError> {
        self.attach(device, BPF_TCX_INGRESS, 0)
    }

    /// Hangs a tc program up where a device sends.
    pub fn attach_egress(&self, device: u32) -> Result<Link, BpfError> {
        self.attach(device, BPF_TCX_EGRESS, 0)
    }

    fn attach(&self, device: u32, place: u32, flags: u32) -> Result<Link, BpfError> {
        link_create(self.fd.as_fd(), device, place, flags).map(Link).map_err(|e| {
            BpfError::new(format!("attach the BPF program {} to interface {device}", self.name), e)
        })
    }

    /// Runs the program on a packet, `repeat` times, and gives what it made of it.
    pub fn run(&self, packet: &[u8], repeat: u32) -> Result<RunResult, BpfError> {
        self.start(&RunSpec { data: packet, repeat, ..RunSpec::default() })
    }

    /// Runs an XDP program on frames that then go where it sends them (Linux 5.18).
    ///
    /// # Errors
    ///
    /// EINTR if a signal came before all were done.
    pub fn run_live(&self, run: &LiveRun<'_>) -> Result<(), BpfError> {
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let words = [0, run.frame.len() as u32, 0, run.device, run.queue, 0];
        let context: Vec<u8> = words.iter().flat_map(|w: &u32| w.to_ne_bytes()).collect();
        let spec = RunSpec {
            data: run.frame,
            context: &context,
            repeat: run.repeat,
            flags: BPF_F_TEST_XDP_LIVE_FRAMES,
            batch: run.batch,
        };
        self.start(&spec).map(drop)
    }

    fn start(&self, spec: &RunSpec<'_>) -> Result<RunResult, BpfError> {
        program_run(self.fd.as_fd(), spec)
            .map_err(|e| BpfError::new(format!("run the BPF program {}", self.name), e))
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Keeps a program at its device; dropping it takes the program off.
#[derive(Debug)]
pub struct Link(#[expect(dead_code, reason = "held so that the kernel keeps the program there")] OwnedFd);

/// Frames for [`Program::run_live`]. They are recycled: the program finds in a frame what it left there earlier.
#[derive(Debug, Clone, Copy)]
pub struct LiveRun<'a> {
    /// The frame as it is the first time, from the Ethernet header on, at least 14 bytes.
    pub frame: &'a [u8],
    /// The device it seems to come from, which [`Action::Tx`] sends it out of.
    pub device: u32,
    /// And the queue.
    pub queue: u32,
    /// How many frames.
    pub repeat: u32,
    /// How many before what they caused is carried out, 1 to 256.
    pub batch: u32,
}

// `enum bpf_attach_type` of linux/bpf.h.
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
/// linux/bpf.h.
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
const BPF_F_XDP_DEV_BOUND_ONLY: u32 = 1 << 6;
// linux/if_link.h.
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
