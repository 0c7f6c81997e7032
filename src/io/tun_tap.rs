//! Tun and tap links: devices that the router creates, whose other end is the kernel's own stack.
//!
//! With offloads each frame has a virtio_net_hdr, both ways, so that super-frames and partial checksums
//! cross; without them the device is opened plainly by the tun-tap crate, and the kernel finishes every frame before we
//! see it. Each queue feeds one worker. The kernel chooses among them by the steering program ([`steer`]), which brings both
//! directions of a flow to one worker; where it takes no program from us, it keeps a flow on the queue that its answers went
//! out by. A worker without a queue of its own writes to another's. What the kernel does with its end (addresses, bridges, forwarding) is the user's affair, so nothing there is
//! cut off.
//!
//! A persistent device is taken as it was made: one that has room for one queue gets one, whatever is asked for.
//!
//! A device that somebody deletes is made again at the second check after: the configuration says that it
//! is there. One that is renamed or sent to another namespace stays ours: the descriptor goes with it. Knows
//! nothing of what is in a frame.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bpf::{Asm, BpfError, Insn, Kind, Program};
use super::complaint::Complaint;
use super::netlink::Netlink;
use super::open::{DeviceSpec, OpenError};
use super::port::{Port, Sent, Status, takes};
use super::slot::Slot;
use super::steer;
use super::sys::{self, TunFlags, offload};
use crate::link::LinkKind;
use crate::packet::offload::{INVALID, VnetHdr};
use crate::packet::{Caps, Packet, Pool, Steering};
use crate::wire::ethernet;

/// One worker's handle on a tun or tap device.
pub(super) struct TunPort {
    shared: Arc<Shared>,
    worker: usize,
    device: Option<Arc<Device>>,
    generation: u64,
    epoch: u32,
    slot: Option<Slot>,
    /// Frames the kernel dropped on their way to us, on devices that are no more.
    lost_before: u64,
    truncated: u64,
}

/// What the handles have in common.
struct Shared {
    spec: DeviceSpec,
    /// Queues wanted.
    queues: usize,
    /// The MTU it is to have now, and the longest L3 packet it is given: what waits for it may be as long as was allowed before.
    mtu: AtomicU32,
    longest: AtomicU32,
    /// For questions about interfaces: a socket stays in its network namespace, whoever asks.
    questions: UnixDatagram,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    generation: u64,
    device: Option<Arc<Device>>,
    /// Why there is no device.
    complaint: Complaint,
}

/// The device while it is open. It goes when the last handle does, unless it is to persist.
struct Device {
    /// Its queues, by the number the kernel knows them by; never none.
    queues: Vec<File>,
    index: u32,
    caps: Caps,
    /// Whether our program chooses among the queues.
    steered: bool,
    /// Frames it had dropped before we opened it: it may have been there.
    dropped_before: u64,
    /// Whether it has been told to stay.
    kept: AtomicBool,
}

/// Whether a device could be made or taken over, as far as that shows without doing it.
pub(super) fn look(spec: &DeviceSpec) -> Result<(), OpenError> {
    let mut netlink = Netlink::open()?;
    match netlink.link(&spec.device) {
        Ok(link) if link.kind.as_deref() != Some("tun") || link.ethernet != (spec.kind == LinkKind::Tap) => {
            Err(OpenError::OtherKind { device: spec.device.clone(), kind: spec.kind.name() })
        }
        _ => several(&mut netlink, spec, 1).map(drop),
    }
}

/// Opens the ports of a tun or tap link, one for each worker; the first so many receive as there are queues. A device that
/// is to persist does from the first `check` on.
pub(super) fn open(spec: &DeviceSpec, workers: usize) -> Result<Vec<TunPort>, OpenError> {
    let questions = UnixDatagram::unbound()
        .map_err(|source| OpenError::Device { device: spec.device.clone(), source })?;
    let queues = spec.queues.clamp(1, workers.clamp(1, MAX_QUEUES));
    let device = Arc::new(Device::open(spec, queues)?);
    let now = Now { generation: 1, device: Some(device.clone()), ..Now::default() };
    let [mtu, longest] = [spec.mtu; 2].map(AtomicU32::new);
    let now = Mutex::new(now);
    let shared = Arc::new(Shared { spec: spec.clone(), queues, mtu, longest, questions, now });
    let port = |worker| TunPort {
        shared: shared.clone(),
        worker,
        device: Some(device.clone()),
        generation: 1,
        epoch: 0,
        slot: None,
        lost_before: 0,
        truncated: 0,
    };
    Ok((0..workers).map(port).collect())
}

/// Says which super-frames and unfinished checksums we take, if we do; gives what the device takes.
fn offloads(tun: BorrowedFd<'_>, wanted: bool) -> io::Result<Caps> {
    if !wanted {
        // A persistent device keeps the mask of whoever had it before, and we would be given frames that
        // we have no header to learn about.
        sys::tun_offload(tun, 0)?;
        return Ok(Caps::PLAIN);
    }
    sys::tun_vnet_header(tun, VnetHdr::LEN as i32)?;
    // What the reader takes: this is about the way in. For the way out the driver takes all.
    let usual = offload::CSUM | offload::TSO;
    let uso = sys::tun_offload(tun, usual | offload::USO).is_ok();
    if !uso {
        sys::tun_offload(tun, usual)?;
    }
    Ok(Caps { uso, ..Caps::FULL })
}

impl Device {
    fn open(spec: &DeviceSpec, queues: usize) -> Result<Device, OpenError> {
        let name = &spec.device;
        let failed = |source| OpenError::Device { device: name.clone(), source };
        let ethernet = spec.kind == LinkKind::Tap;
        let mut netlink = Netlink::open()?;
        let several = several(&mut netlink, spec, queues)?;
        let flags = TunFlags { ethernet, vnet_header: spec.offload, queues: several };
        let mut files = Vec::with_capacity(queues);
        for _ in 0..if several { queues } else { 1 } {
            files.push(match spec.offload || several {
                true => attach(spec, flags)?,
                false => plain(spec, ethernet)?,
            });
        }
        let Some(first) = files.first() else { return Err(OpenError::Busy(name.clone())) };
        let tun = first.as_fd();
        let caps = Caps { ethernet, ..offloads(tun, spec.offload).map_err(failed)? };
        let steered = several && files.len() == spec.steering.workers as usize && steers(tun, spec);
        if several && !steered {
            // A persistent device may still have somebody's program. Before Linux 4.16 there are none.
            sys::tun_steer(tun, None).ok();
        }
        if let Some(user) = spec.owner {
            sys::tun_owner(tun, user).map_err(failed)?;
        }
        if let Some(group) = spec.group {
            sys::tun_group(tun, group).map_err(failed)?;
        }
        let link = netlink.link(name)?;
        // Another process that came in between us would get a share of the frames.
        if several && link.tun_queues.is_some_and(|open| open as usize != files.len()) {
            return Err(OpenError::Busy(name.clone()));
        }
        if link.mtu != spec.mtu {
            netlink.set_mtu(link.index, spec.mtu)?;
        }
        // An administrator may have made it ready for a user who may do neither of these.
        if !link.up {
            netlink.set_up(link.index)?;
        }
        Ok(Device {
            queues: files,
            index: link.index,
            caps,
            steered,
            dropped_before: link.tx_dropped,
            kept: AtomicBool::new(false),
        })
    }

    /// The queue through which a worker sends: its own, if it has one.
    fn queue(&self, worker: usize) -> &File {
        &self.queues[worker % self.queues.len()]
    }

    /// The queue from which a worker receives.
    fn own(&self, worker: usize) -> Option<&File> {
        self.queues.get(worker)
    }

    /// Lets it stay when the last handle goes, if it is to. Not done at once: a router that can't be started
    /// for another reason leaves nothing behind.
    fn keep(&self, spec: &DeviceSpec) {
        if spec.persist
            && !self.kept.swap(true, Relaxed)
            && let Err(e) = sys::tun_persist(self.queue(0).as_fd(), true)
        {
            tracing::warn!("'{}' will not stay when the router goes: {e}", spec.device);
        }
    }

    /// Gives it another MTU; its other end keeps all else.
    fn set_mtu(&self, mtu: u32) -> Result<(), OpenError> {
        let name = sys::tun_name(self.queue(0).as_fd());
        let name = name.map_err(|source| OpenError::Device { device: String::new(), source })?;
        let mut netlink = Netlink::open()?;
        // One that was sent to another namespace can't be spoken to from here.
        match netlink.link(&name) {
            Ok(link) if link.index == self.index => Ok(netlink.set_mtu(link.index, mtu)?),
            _ => Err(OpenError::NoDevice(name)),
        }
    }

    /// Frames the kernel had for us and dropped, since the device was opened.
    fn lost(&self) -> u64 {
        let Ok(name) = sys::tun_name(self.queue(0).as_fd()) else { return 0 };
        match Netlink::open().and_then(|mut n| n.link(&name)) {
            Ok(link) if link.index == self.index => link.tx_dropped.saturating_sub(self.dropped_before),
            _ => 0,
        }
    }
}

/// Has the kernel choose among the queues as the workers are chosen; `false` where it won't have our program.
fn steers(tun: BorrowedFd<'_>, spec: &DeviceSpec) -> bool {
    let l3 = if spec.kind == LinkKind::Tap { ethernet::HEADER_LEN as u32 } else { 0 };
    let attached = steering_program(&spec.steering, l3).and_then(|p| {
        sys::tun_steer(tun, Some(p.as_fd())).map_err(|e| BpfError::new("steer a tun device", e))
    });
    if let Err(e) = &attached
        && !UNSTEERED.swap(true, Relaxed)
    {
        tracing::info!(
            "'{}': the kernel spreads packets over the workers by a hash of its own: {e}",
            spec.device
        );
    }
    attached.is_ok()
}

/// The programs for tun and tap devices that come later, when the process may load none any more. Where it may not now, there
/// are none.
pub(super) fn prepare(steering: &Steering) {
    for l3 in [0, ethernet::HEADER_LEN as u32] {
        let _ = steering_program(steering, l3);
    }
}

/// The steering function for packets whose L3 header is at `l3`: loaded once, for all devices.
fn steering_program(steering: &Steering, l3: u32) -> Result<Arc<Program>, BpfError> {
    let mut loaded = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((.., program)) = loaded.iter().find(|(s, at, _)| (s, *at) == (steering, l3)) {
        return Ok(program.clone());
    }
    let mut asm = Asm::new();
    for insn in steer::extended(&steer::classic(steering, l3)) {
        asm.raw(Insn::from(insn));
    }
    let program = Arc::new(Program::load(Kind::SocketFilter, "sekisho_steer", &asm)?);
    // A process is one router, unless it is a test.
    loaded.truncate(KEPT - 1);
    loaded.insert(0, (*steering, l3, program.clone()));
    Ok(program)
}

/// What has been loaded, the latest first.
static PROGRAMS: Mutex<Vec<(Steering, u32, Arc<Program>)>> = Mutex::new(Vec::new());
const KEPT: usize = 4;

/// Whether it has been said that there is no steering program: what one device is refused, all are.
static UNSTEERED: AtomicBool = AtomicBool::new(false);

/// Whether the device has, or is to have, several queues. One that is there stays as it is, and must be nobody's: a device
/// with several queues would take us in beside another process.
fn several(netlink: &mut Netlink, spec: &DeviceSpec, wanted: usize) -> Result<bool, OpenError> {
    match netlink.link(&spec.device) {
        Ok(link) if link.tun_queues.is_some_and(|open| open > 0) => Err(OpenError::Busy(spec.device.clone())),
        Ok(link) => Ok(link.tun_queues.is_some()),
        Err(e) if e.is_missing() => Ok(wanted > 1),
        Err(e) => Err(e.into()),
    }
}

/// Makes the device, takes over a persistent one, or takes one more of its queues.
fn attach(spec: &DeviceSpec, flags: TunFlags) -> Result<File, OpenError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(TUN)
        .map_err(|e| refused(spec, e, true))?;
    sys::tun_attach(file.as_fd(), &spec.device, flags).map_err(|e| refused(spec, e, false))?;
    Ok(file)
}

/// Makes the device with frames, one queue and nothing else.
fn plain(spec: &DeviceSpec, ethernet: bool) -> Result<File, OpenError> {
    let mode = if ethernet { tun_tap::Mode::Tap } else { tun_tap::Mode::Tun };
    let device = tun_tap::Iface::without_packet_info(&spec.device, mode)
        .map_err(|e| refused(spec, e, !Path::new(TUN).exists()))?;
    device.set_non_blocking().map_err(|e| refused(spec, e, false))?;
    Ok(File::from(sys::own_tun(device)))
}

/// Why there is no device: `opening` tells the character device's errors from those of the interface.
fn refused(spec: &DeviceSpec, error: io::Error, opening: bool) -> OpenError {
    let device = spec.device.clone();
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) if opening => OpenError::NoTunDevice,
        // The character device says EACCES, the driver EPERM.
        Some(libc::EACCES) => OpenError::TunAccess,
        Some(libc::EPERM) => OpenError::TunPermission(device),
        Some(libc::EBUSY) => OpenError::Busy(device),
        Some(libc::EINVAL) => OpenError::OtherKind { device, kind: spec.kind.name() },
        _ => OpenError::Device { device, source: error },
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What a device that is made now is to be.
    fn spec(&self) -> DeviceSpec {
        DeviceSpec { mtu: self.mtu.load(Relaxed), ..self.spec.clone() }
    }

    /// The condition of the device, which is there. One that was sent to another namespace can't be
    /// asked about from here, and works.
    fn status(&self, name: &str) -> Status {
        match sys::interface_flags(self.questions.as_fd(), name) {
            Ok(flags) if !flags.up => Status::Down,
            Ok(flags) if !flags.running => Status::NoCarrier,
            _ => Status::Up,
        }
    }
}

impl TunPort {
    fn release(&mut self) {
        if let Some(device) = self.device.take() {
            self.lost_before += if self.worker == 0 { device.lost() } else { 0 };
            self.epoch += 1;
        }
    }

    fn adopt(&mut self, now: &Now) {
        self.generation = now.generation;
        self.device.clone_from(&now.device);
        self.epoch += u32::from(self.device.is_some());
    }
}

impl Port for TunPort {
    fn caps(&self) -> Caps {
        let ethernet = self.shared.spec.kind == LinkKind::Tap;
        self.device.as_ref().map_or(Caps { ethernet, ..Caps::PLAIN }, |d| d.caps)
    }

    fn receive(&mut self, pool: &mut Pool, out: &mut Vec<Packet>, max: usize) -> usize {
        let Some(device) = &self.device else { return 0 };
        let Some(mut queue) = device.own(self.worker) else { return 0 };
        let slot = self.slot.get_or_insert_with(|| Slot::new(pool));
        let header = if self.shared.spec.offload { VnetHdr::LEN } else { 0 };
        let mut count = 0;
        while count < max {
            let room = header + slot.room();
            let [h, small, rest] = slot.parts();
            let mut parts =
                [IoSliceMut::new(&mut h[..header]), IoSliceMut::new(small), IoSliceMut::new(rest)];
            match queue.read_vectored(&mut parts) {
                // The driver cuts what does not fit and says the whole length.
                Ok(len) if len > room || len <= header => self.truncated += 1,
                Ok(len) => {
                    let offload = slot.header();
                    let mut packet = slot.take(pool, len - header);
                    if header > 0 {
                        packet.meta.offload =
                            VnetHdr::parse(&offload, packet.data(), device.caps.ethernet).unwrap_or(INVALID);
                    }
                    out.push(packet);
                    count += 1;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Nothing there; or the device is down (EIO) or gone (EBADFD), as `check` will see.
                Err(_) => break,
            }
        }
        count
    }

    fn transmit(&mut self, pool: &mut Pool, queue: &mut VecDeque<Packet>, sent: &mut Sent) {
        let Some(device) = &self.device else { return };
        let mut file = device.queue(self.worker);
        while let Some(packet) = queue.front() {
            if !takes(packet, device.caps, self.shared.longest.load(Relaxed) as usize) {
                sent.refuse(packet);
            } else {
                let header = VnetHdr::of(packet);
                let header = if self.shared.spec.offload { &header[..] } else { &[] };
                match file.write_vectored(&[IoSlice::new(header), IoSlice::new(packet.data())]) {
                    Ok(taken) if taken == header.len() + packet.len() => sent.count(packet),
                    Ok(_) => sent.refuse(packet),
                    Err(e) => match e.raw_os_error() {
                        Some(libc::EINTR) => continue,
                        // Full; down (EIO); gone (EBADFD).
                        Some(
                            libc::EAGAIN
                            | libc::ENOBUFS
                            | libc::ENOMEM
                            | libc::EIO
                            | libc::EBADFD
                            | libc::ENODEV,
                        ) => return,
                        _ => sent.refuse(packet),
                    },
                }
            }
            queue.pop_front().into_iter().for_each(|p| pool.put(p));
        }
    }

    fn check(&mut self) -> Status {
        let shared = self.shared.clone();
        let mut now = shared.lock();
        if self.generation != now.generation {
            self.release();
            self.adopt(&now);
        }
        if let Some(device) = &self.device {
            if let Ok(name) = sys::tun_name(device.queue(self.worker).as_fd()) {
                device.keep(&shared.spec);
                return shared.status(&name);
            }
            now.device = None;
            self.release();
            return Status::Gone;
        }
        if now.device.is_none() {
            match Device::open(&shared.spec(), shared.queues) {
                Ok(device) => {
                    let generation = now.generation + 1;
                    *now = Now { generation, device: Some(Arc::new(device)), ..Now::default() };
                }
                Err(e) => {
                    now.complaint.say(&e);
                    return Status::Gone;
                }
            }
        }
        self.adopt(&now);
        shared.status(&shared.spec.device)
    }

    fn set_mtu(&mut self, mtu: u32) -> Result<(), OpenError> {
        let shared = self.shared.clone();
        // Nobody makes another one meanwhile.
        let now = shared.lock();
        if let Some(device) = &now.device {
            device.set_mtu(mtu)?;
        }
        let before = shared.mtu.swap(mtu, Relaxed);
        shared.longest.fetch_max(before.max(mtu), Relaxed);
        Ok(())
    }

    fn shorten(&mut self) {
        self.shared.longest.store(self.shared.mtu.load(Relaxed), Relaxed);
    }

    fn steered(&self) -> bool {
        self.device.as_ref().is_some_and(|d| d.steered)
    }

    fn fd(&self) -> Option<RawFd> {
        self.device.as_ref().and_then(|d| d.own(self.worker)).map(AsRawFd::as_raw_fd)
    }

    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn overruns(&mut self) -> u64 {
        // The kernel counts them for the device as a whole.
        let now = self.device.as_ref().filter(|_| self.worker == 0).map_or(0, |d| d.lost());
        self.lost_before + now + self.truncated
    }
}

const TUN: &str = "/dev/net/tun";
/// The most queues of a device (`MAX_TAP_QUEUES`).
const MAX_QUEUES: usize = 256;
