//! The program at the driver: a frame goes to the socket of the queue it came by, and where there is none to the kernel.

use super::super::bpf::{
    Action, Asm, BpfError, Context, Helper, Kind, Link, Load, Map, MapKind, Program, Reg, Width, XdpMode,
};
use super::super::sys::XdpSocket;

/// The program, and the map from queues to sockets.
pub(super) struct Redirect {
    map: Map,
    program: Program,
}

impl Redirect {
    /// For an interface with so many receive queues.
    pub(super) fn new(queues: u32) -> Result<Self, BpfError> {
        let map = Map::new(MapKind::XskMap, 4, 4, queues)?;
        let mut asm = Asm::new();
        asm.load(Width::B4, Reg::R2, Reg::R1, Context::XDP_RX_QUEUE_INDEX);
        asm.map(Reg::R1, &map);
        // What is returned for a queue without a socket (Linux 5.3).
        asm.mov(Reg::R3, Action::Pass as i32);
        asm.call(Helper::RedirectMap);
        asm.exit();
        let load = Load { frags: true };
        let program = Program::load_with(Kind::Xdp, "sekisho_xsk", &asm, load)?;
        Ok(Redirect { map, program })
    }

    /// Has a queue's frames go to a socket, until that is closed.
    pub(super) fn lead(&self, queue: u32, socket: &XdpSocket) -> Result<(), BpfError> {
        self.map.set_socket(queue, socket)
    }

    /// Hangs the program up; it stays, with the map, as long as the link.
    pub(super) fn attach(&self, interface: u32, mode: XdpMode) -> Result<Link, BpfError> {
        self.program.attach_xdp(interface, mode)
    }
}
