//! Tun and tap devices: the ioctls of `/dev/net/tun`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use super::checked;
use super::iface::request;

/// What kind of device to attach to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunFlags {
    /// Whether frames have Ethernet headers (tap) or not (tun).
    pub ethernet: bool,
    /// Whether a virtio_net_hdr stands before each frame.
    pub vnet_header: bool,
    /// Whether the device has several queues, each with a descriptor of its own.
    pub queues: bool,
}

/// The bits of [`tun_offload`].
pub mod offload {
    /// Partial checksums.
    pub const CSUM: u32 = libc::TUN_F_CSUM;
    /// TCP super-frames over both families, ECN included.
    pub const TSO: u32 = libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    /// UDP super-frames over both families (Linux 6.2).
    pub const USO: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;
}

/// Makes the device of this name, or takes over a persistent one that nobody else has open (`TUNSETIFF`). Of a device with
/// several queues each further descriptor is one more.
pub fn tun_attach(tun: BorrowedFd<'_>, name: &str, flags: TunFlags) -> io::Result<()> {
    let kind = if flags.ethernet { libc::IFF_TAP } else { libc::IFF_TUN };
    let header = if flags.vnet_header { libc::IFF_VNET_HDR } else { 0 };
    let several = if flags.queues { libc::IFF_MULTI_QUEUE } else { 0 };
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = (kind | header | several | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes the ifreq, which lives on this stack.
    checked(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) }).map(drop)
}

/// The present name of the attached device; an error once that was deleted (`TUNGETIFF`).
pub fn tun_name(tun: BorrowedFd<'_>) -> io::Result<String> {
    // SAFETY: an ifreq is integers and unions of them; all zeros is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: TUNGETIFF writes the ifreq, which lives on this stack.
    checked(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNGETIFF as _, &raw mut request) })?;
    let name: Vec<u8> = request.ifr_name.iter().map(|c| c.cast_unsigned()).take_while(|c| *c != 0).collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// Says which unfinished frames the reader takes (`TUNSETOFFLOAD`); a persistent device keeps it.
pub fn tun_offload(tun: BorrowedFd<'_>, mask: u32) -> io::Result<()> {
    integer(tun, libc::TUNSETOFFLOAD as _, mask)
}

/// Says how long the virtio_net_hdr is (`TUNSETVNETHDRSZ`).
pub fn tun_vnet_header(tun: BorrowedFd<'_>, length: i32) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads an int, which lives on this stack.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETVNETHDRSZ as _, &raw const length) };
    checked(result).map(drop)
}

/// Has the device stay when its last descriptor is closed, or go.
pub fn tun_persist(tun: BorrowedFd<'_>, persist: bool) -> io::Result<()> {
    integer(tun, libc::TUNSETPERSIST as _, u32::from(persist))
}

/// Gives the device to a user, who may then attach to it without a privilege.
pub fn tun_owner(tun: BorrowedFd<'_>, user: u32) -> io::Result<()> {
    integer(tun, libc::TUNSETOWNER as _, user)
}

/// Gives the device to a group.
pub fn tun_group(tun: BorrowedFd<'_>, group: u32) -> io::Result<()> {
    integer(tun, libc::TUNSETGROUP as _, group)
}

/// Has a program (of the type SOCKET_FILTER) say to which queue the kernel gives a frame, or lets the kernel choose
/// (`TUNSETSTEERINGEBPF`, Linux 4.16). The device keeps the program, persistent ones also when they are closed.
pub fn tun_steer(tun: BorrowedFd<'_>, program: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let fd: libc::c_int = program.map_or(-1, |p| p.as_raw_fd());
    // SAFETY: TUNSETSTEERINGEBPF reads an int, which lives on this stack; a descriptor in it is open while it is borrowed.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETSTEERINGEBPF as _, &raw const fd) };
    checked(result).map(drop)
}

/// The descriptor of a device that the tun-tap crate opened.
pub fn own_tun(device: tun_tap::Iface) -> OwnedFd {
    // SAFETY: into_raw_fd gives up the device's only descriptor, which is open.
    unsafe { OwnedFd::from_raw_fd(device.into_raw_fd()) }
}

/// An ioctl whose argument is a number, not a pointer.
fn integer(tun: BorrowedFd<'_>, what: libc::c_ulong, value: u32) -> io::Result<()> {
    // SAFETY: the four requests in this file that come here take their argument by value.
    checked(unsafe { libc::ioctl(tun.as_raw_fd(), what as _, libc::c_ulong::from(value)) }).map(drop)
}
