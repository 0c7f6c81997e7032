//! bpf(2): maps, programs and the links that hang a program up somewhere.
//!
//! One function a command, descriptors owned. `union bpf_attr` is written as the part of it that a command
//! reads, the rest is zero. Knows nothing of instructions: a program is bytes here.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A map to be made: the fields of `BPF_MAP_CREATE`.
#[derive(Debug, Clone, Copy)]
pub struct MapSpec {
    /// `enum bpf_map_type`.
    pub kind: u32,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// How many elements at most.
    pub entries: u32,
    /// `BPF_F_…`
    pub flags: u32,
}

/// A program to be loaded: the fields of `BPF_PROG_LOAD`.
#[derive(Debug, Clone, Copy)]
pub struct ProgramSpec<'a> {
    /// `enum bpf_prog_type`.
    pub kind: u32,
    /// `enum bpf_attach_type`, where the kind asks for one.
    pub attach: u32,
    /// Eight bytes an instruction.
    pub insns: &'a [[u8; 8]],
    /// For bpftool and the like; cut at 15 bytes.
    pub name: &'a str,
    /// `BPF_F_…`
    pub flags: u32,
    /// The interface it is for, 0 for any.
    pub device: u32,
}

/// A run of a program on data of ours: the fields of `BPF_PROG_TEST_RUN`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunSpec<'a> {
    /// The packet.
    pub data: &'a [u8],
    /// The context structure of the program's kind, where one is given.
    pub context: &'a [u8],
    /// How many times to run.
    pub repeat: u32,
    /// `BPF_F_TEST_…`
    pub flags: u32,
    /// Frames at a time, with live frames.
    pub batch: u32,
}

/// What a run gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunResult {
    /// The program's result, of the last run.
    pub result: u32,
    /// Nanoseconds a run, on average.
    pub duration: u32,
    /// The packet as the program left it.
    pub data: Vec<u8>,
}

/// A map, with the lengths of its keys and values: what is handed to the kernel always fits.
#[derive(Debug)]
pub struct RawMap {
    fd: OwnedFd,
    key: usize,
    /// As user space sees it: of a per-CPU map the values of all CPUs.
    value: usize,
}

impl RawMap {
    /// Makes a map.
    pub fn create(spec: &MapSpec) -> io::Result<Self> {
        let MapSpec { kind, key, value, entries, flags } = *spec;
        let mut attr = MapCreate { kind, key, value, entries, flags };
        // SAFETY: the attributes hold no pointers.
        let fd = own(unsafe { bpf(BPF_MAP_CREATE, &mut attr) }?);
        let per_cpu = matches!(
            kind,
            BPF_MAP_TYPE_PERCPU_HASH | BPF_MAP_TYPE_PERCPU_ARRAY | BPF_MAP_TYPE_LRU_PERCPU_HASH
        );
        let value = value as usize;
        let value = if per_cpu { value.next_multiple_of(8) * possible_cpus() } else { value };
        Ok(RawMap { fd, key: key as usize, value })
    }

    /// The bytes of an element: of a per-CPU map each CPU's value, rounded up to eight bytes, one after the other.
    pub fn value_length(&self) -> usize {
        self.value
    }

    /// Reads an element.
    ///
    /// # Errors
    ///
    /// ENOENT where there is none; invalid input if a length is not the map's.
    pub fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<()> {
        self.check(key, value)?;
        let value = value.as_mut_ptr() as u64;
        let mut attr = Element { map: raw(self.fd.as_fd()), pad: 0, key: address(key), value, flags: 0 };
        // SAFETY: the kernel reads a key's and writes a value's length; the slices have them, as checked.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) }.map(drop)
    }

    /// Writes an element; makes it where the map's kind allows.
    ///
    /// # Errors
    ///
    /// E2BIG where the map is full or the key beyond an array's end; invalid input if a length is not the map's.
    pub fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.check(key, value)?;
        let value = address(value);
        let mut attr = Element { map: raw(self.fd.as_fd()), pad: 0, key: address(key), value, flags: 0 };
        // SAFETY: the kernel reads a key's and a value's length; the slices have them, as checked.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    /// Deletes an element.
    ///
    /// # Errors
    ///
    /// ENOENT where there is none; EINVAL where the map's kind has elements that stay.
    pub fn delete(&self, key: &[u8]) -> io::Result<()> {
        if key.len() != self.key {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut attr = Element { map: raw(self.fd.as_fd()), pad: 0, key: address(key), value: 0, flags: 0 };
        // SAFETY: the kernel reads a key's length; the slice has it, as checked.
        unsafe { bpf(BPF_MAP_DELETE_ELEM, &mut attr) }.map(drop)
    }

    fn check(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let fits = (key.len(), value.len()) == (self.key, self.value);
        if fits { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

impl AsFd for RawMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// How many CPUs there may ever be: so many values has an element of a per-CPU map.
pub fn possible_cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    last_cpu(&text).map_or(1, |n| n + 1)
}

/// Loads a program. The error comes with what the verifier said, if it said anything.
pub fn program_load(spec: &ProgramSpec<'_>) -> Result<OwnedFd, (io::Error, String)> {
    let mut attr = ProgramLoad {
        kind: spec.kind,
        count: spec.insns.len() as u32,
        insns: spec.insns.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        flags: spec.flags,
        device: spec.device,
        attach: spec.attach,
        ..ProgramLoad::default()
    };
    for (to, from) in attr.name.iter_mut().take(15).zip(spec.name.bytes()) {
        *to = if from.is_ascii_alphanumeric() { from } else { b'_' };
    }
    // SAFETY: the instructions, as many as said, and the license, which ends with a zero byte, outlive the call.
    match unsafe { bpf(BPF_PROG_LOAD, &mut attr) } {
        Ok(fd) => Ok(own(fd)),
        // No right to it: nothing was verified.
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => Err((e, String::new())),
        // Once more, for the reason: with a log the verifier is many times slower.
        Err(e) => {
            let mut log = vec![0u8; LOG];
            (attr.log_level, attr.log_size, attr.log) = (1, LOG as u32, log.as_mut_ptr() as u64);
            // SAFETY: as above; the log's buffer is as long as said and outlives the call.
            if let Ok(fd) = unsafe { bpf(BPF_PROG_LOAD, &mut attr) } {
                return Ok(own(fd));
            }
            let end = log.iter().position(|b| *b == 0).unwrap_or(LOG);
            Err((e, String::from_utf8_lossy(&log[..end]).trim_end().to_owned()))
        }
    }
}

/// Runs a program on data. With live frames the packet goes where the program sends it; otherwise it comes back.
///
/// # Errors
///
/// EINTR if a signal ended it before all runs were done. EINVAL for a packet or context the kernel won't take.
pub fn program_run(program: BorrowedFd<'_>, spec: &RunSpec<'_>) -> io::Result<RunResult> {
    // Programs that adjust the packet may make it longer: by as much as fits in a page.
    let live = spec.flags & BPF_F_TEST_XDP_LIVE_FRAMES != 0;
    let mut out = vec![0u8; if live { 0 } else { spec.data.len() + 4096 }];
    let mut attr = TestRun {
        program: raw(program),
        data_size_in: spec.data.len() as u32,
        data_size_out: out.len() as u32,
        data_in: address(spec.data),
        data_out: if live { 0 } else { out.as_mut_ptr() as u64 },
        repeat: spec.repeat,
        context_size_in: spec.context.len() as u32,
        context_in: if spec.context.is_empty() { 0 } else { address(spec.context) },
        flags: spec.flags,
        batch: spec.batch,
        ..TestRun::default()
    };
    // SAFETY: the three buffers have the lengths given beside them and outlive the call; only `out` is written.
    unsafe { bpf(BPF_PROG_TEST_RUN, &mut attr) }?;
    out.truncate(if live { 0 } else { attr.data_size_out as usize });
    Ok(RunResult { result: attr.result, duration: attr.duration, data: out })
}

/// Hangs a program up at a device; it goes when the descriptor is closed (`BPF_LINK_CREATE`). The device
/// is looked up in the calling thread's network namespace.
pub fn link_create(program: BorrowedFd<'_>, device: u32, attach: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = LinkCreate { program: raw(program), device, attach, flags, rest: [0; 6] };
    // SAFETY: the attributes hold no pointers.
    unsafe { bpf(BPF_LINK_CREATE, &mut attr) }.map(own)
}

/// Gives a socket a filter of classic BPF (`SO_ATTACH_FILTER`): a frame is kept to the length that the program returns.
///
/// # Errors
///
/// EINVAL for a program the kernel finds wrong.
pub fn attach_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let size = size_of_val(&filter) as libc::socklen_t;
    let fd = socket.as_raw_fd();
    // SAFETY: the kernel only reads through the pointers: the structure on this stack, and as many instructions as it says,
    // which outlive the call.
    let result = unsafe {
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const filter).cast(), size)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// bpf(2).
///
/// # Safety
///
/// `attr` is what the command reads of `union bpf_attr`, and every pointer in it leads to as much memory as the command
/// reads or writes.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes live in `attr`, which is as long as said; what they point to is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}

fn own(fd: libc::c_int) -> OwnedFd {
    // SAFETY: the call just made it, and bpf(2) makes descriptors that nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn address(bytes: &[u8]) -> u64 {
    bytes.as_ptr() as u64
}

fn last_cpu(list: &str) -> Option<usize> {
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

/// `union bpf_attr` for `BPF_MAP_CREATE`.
#[repr(C)]
struct MapCreate {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
}

/// For `BPF_MAP_*_ELEM`.
#[repr(C)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// For `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    kind: u32,
    count: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    device: u32,
    attach: u32,
}

/// For `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    pad: u32,
}

/// For `BPF_LINK_CREATE`; what follows is for kinds of links that are not made here.
#[repr(C)]
struct LinkCreate {
    program: u32,
    device: u32,
    attach: u32,
    flags: u32,
    rest: [u32; 6],
}

/// What our programs are under: of the licenses by which a program may call the kernel's own functions, the one that is
/// MIT as well, as all of this is.
const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";
/// Bytes for what the verifier says.
const LOG: usize = 256 * 1024;

// `enum bpf_cmd` and the types of maps whose elements have a value a CPU, linux/bpf.h.
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_MAP_TYPE_PERCPU_HASH: u32 = 5;
const BPF_MAP_TYPE_PERCPU_ARRAY: u32 = 6;
const BPF_MAP_TYPE_LRU_PERCPU_HASH: u32 = 10;
/// Sends the frames of a test run where the program says.
pub const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(last_cpu("0-1\n"), Some(1));
        assert_eq!(last_cpu("0\n"), Some(0));
        assert_eq!(last_cpu("0-3,8-11\n"), Some(11));
        assert_eq!(last_cpu(""), None);
        assert!(possible_cpus() >= 1);
    }
}
