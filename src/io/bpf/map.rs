//! Maps: what programs and this process share.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use super::BpfError;
use crate::io::sys::bpf::{MapSpec, RawMap};

/// Kinds of maps: `enum bpf_map_type` of linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// Any keys.
    Hash = 1,
    /// Keys are numbers of four bytes from 0 on; every element is there from the start, zero.
    Array = 2,
    /// The same, each CPU with values of its own.
    PerCpuArray = 6,
    /// Any keys; when it is full the least used make room.
    LruHash = 9,
    /// Numbers to interface indices, for redirecting XDP frames.
    DevMap = 14,
    /// Numbers to AF_XDP sockets.
    XskMap = 17,
}

/// A map. It lives as long as this or a program that uses it.
#[derive(Debug)]
pub struct Map {
    raw: RawMap,
    value: usize,
}

impl Map {
    /// Makes a map of `entries` elements with keys and values of so many bytes.
    pub fn new(kind: MapKind, key: u32, value: u32, entries: u32) -> Result<Self, BpfError> {
        let spec = MapSpec { kind: kind as u32, key, value, entries, flags: 0 };
        let raw = RawMap::create(&spec)
            .map_err(|e| BpfError::new(format!("make a BPF map ({kind:?}, {entries} entries)"), e))?;
        Ok(Map { raw, value: value as usize })
    }

    /// An array of `entries` values of `value` bytes.
    pub fn array(value: u32, entries: u32) -> Result<Self, BpfError> {
        Map::new(MapKind::Array, 4, value, entries)
    }

    /// An array of `entries` values of `value` bytes for each CPU.
    pub fn per_cpu_array(value: u32, entries: u32) -> Result<Self, BpfError> {
        Map::new(MapKind::PerCpuArray, 4, value, entries)
    }

    /// An element's bytes, `None` where there is none. Of a per-CPU map those of all CPUs, each rounded up to eight bytes.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BpfError> {
        let mut value = vec![0; self.raw.value_length()];
        match self.raw.lookup(key, &mut value) {
            Ok(()) => Ok(Some(value)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(BpfError::new("read an element of a BPF map", e)),
        }
    }

    /// Writes an element.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<(), BpfError> {
        self.raw.update(key, value).map_err(|e| BpfError::new("write an element of a BPF map", e))
    }

    /// Deletes an element; `false` where there was none.
    pub fn delete(&self, key: &[u8]) -> Result<bool, BpfError> {
        match self.raw.delete(key) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(BpfError::new("delete an element of a BPF map", e)),
        }
    }

    /// Writes an element of an array.
    pub fn set(&self, index: u32, value: &[u8]) -> Result<(), BpfError> {
        self.update(&index.to_ne_bytes(), value)
    }

    /// Has a number of an XSKMAP lead to a socket.
    pub fn set_socket(&self, index: u32, socket: impl AsFd) -> Result<(), BpfError> {
        self.set(index, &socket.as_fd().as_raw_fd().to_ne_bytes())
    }

    /// The 64-bit words of an element of an array, summed over all CPUs where each has its own.
    pub fn words(&self, index: u32) -> Result<Vec<u64>, BpfError> {
        let bytes = self.lookup(&index.to_ne_bytes())?.unwrap_or_default();
        let mut sums = vec![0u64; self.value / 8];
        for of_one_cpu in bytes.chunks_exact(self.value.next_multiple_of(8).max(8)) {
            let (words, _) = of_one_cpu.as_chunks::<8>();
            for (sum, word) in sums.iter_mut().zip(words) {
                *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
            }
        }
        Ok(sums)
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}
