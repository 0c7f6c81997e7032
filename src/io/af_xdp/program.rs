//! The program at the driver: a frame goes to the socket of the queue it came by, and where there is none to the kernel.
//!
//! A VLAN tag that the kernel keeps beside the frame, as it does for a sender with a VLAN device on a virtual link, would not
//! come along. So the program asks for it, by a function of the kernel (Linux 6.8), and puts it back:
//!
//! ```text
//!            ├ destination, source: 12 ┼ ethertype ┼ …     tag ──┐
//!  ├ destination, source: 12 ┼ tag: 4  ┼ ethertype ┼ …   ◄───────┘
//! ```

use super::super::bpf::{
    Action, Alu, Asm, BpfError, Cond, Context, Helper, Kind, Link, Load, Map, MapKind, Program, Reg, Width,
    XdpMode, function,
};
use super::super::sys::XdpSocket;

/// The program, and the map from queues to sockets.
pub(super) struct Redirect {
    map: Map,
    program: Program,
    /// Whether tags beside a frame are put back.
    pub(super) tags: bool,
}

impl Redirect {
    /// For an interface with so many receive queues.
    pub(super) fn new(interface: u32, queues: u32) -> Result<Self, BpfError> {
        let map = Map::new(MapKind::XskMap, 4, 4, queues)?;
        let load = |device: u32, get_tag| {
            let load = Load { frags: true, device };
            Program::load_with(Kind::Xdp, "sekisho_xsk", &assemble(&map, get_tag), load)
        };
        let with_tags = function(GET_TAG).map(|number| load(interface, Some(number)));
        let (program, tags) = match with_tags {
            Some(Ok(program)) => (program, true),
            // A driver that can't be asked, or a kernel that has no such function. The load without says what else is wrong.
            _ => (load(0, None)?, false),
        };
        Ok(Redirect { map, program, tags })
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

fn assemble(map: &Map, get_tag: Option<i32>) -> Asm {
    let mut asm = Asm::new();
    let (context, queue) = (Reg::R6, Reg::R7);
    asm.mov(context, Reg::R1);
    asm.load(Width::B4, queue, context, Context::XDP_RX_QUEUE_INDEX);
    if let Some(function) = get_tag {
        restore_tag(&mut asm, context, function);
    }
    asm.map(Reg::R1, map);
    asm.mov(Reg::R2, queue);
    // What is returned for a queue without a socket (Linux 5.3).
    asm.mov(Reg::R3, Action::Pass as i32);
    asm.call(Helper::RedirectMap);
    asm.exit();
    asm
}

/// Puts the tag back that the kernel has beside the frame, if any. A frame it can't be put into is lost: without the
/// tag it would be another network's.
fn restore_tag(asm: &mut Asm, context: Reg, get_tag: i32) {
    let (untagged, lost) = (asm.label(), asm.label());
    // Where the function writes: the protocol in network order, the tag's word in the machine's.
    let (protocol, word) = (-8, -4);
    asm.store(Width::B8, Reg::R10, protocol, 0);
    asm.mov(Reg::R1, context);
    asm.mov(Reg::R2, Reg::R10);
    asm.alu(Alu::Add, Reg::R2, i32::from(protocol));
    asm.mov(Reg::R3, Reg::R10);
    asm.alu(Alu::Add, Reg::R3, i32::from(word));
    asm.call_function(get_tag);
    asm.jump_if32(Cond::Ne, Reg::R0, 0, untagged);

    asm.mov(Reg::R1, context);
    asm.mov(Reg::R2, -4);
    asm.call(Helper::XdpAdjustHead);
    asm.jump_if(Cond::Ne, Reg::R0, 0, lost);
    let (data, end, part) = (Reg::R1, Reg::R2, Reg::R3);
    asm.load(Width::B4, data, context, Context::XDP_DATA);
    asm.load(Width::B4, end, context, Context::XDP_DATA_END);
    asm.mov(part, data);
    asm.alu(Alu::Add, part, 16);
    asm.jump_if(Cond::Gt, part, end, lost);
    for at in [0, 4, 8] {
        asm.load(Width::B4, part, data, at + 4);
        asm.store(Width::B4, data, at, part);
    }
    asm.load(Width::B2, part, Reg::R10, protocol);
    asm.store(Width::B2, data, 12, part);
    asm.load(Width::B2, part, Reg::R10, word);
    asm.to_be(part, 16);
    asm.store(Width::B2, data, 14, part);
    asm.jump(untagged);

    asm.bind(lost);
    asm.exit_with(Action::Drop as i32);
    asm.bind(untagged);
}

/// `int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *, __be16 *protocol, u16 *tag)`: not 0 where there is no tag.
const GET_TAG: &str = "bpf_xdp_metadata_rx_vlan_tag";
