//! Memory: what a process holds, and what the kernel's flow table does.
//!
//! A router's memory a flow is what its resident memory grows by when flows are made, divided by their number.
//! The kernel's is what its slab `nf_conntrack` grows by, by whole objects; the buckets of its hash table are there from
//! the start. Extensions of an entry (NAT, counters, time stamps) come from ordinary slabs of 64 to 256 bytes that nobody can
//! tell from others: for an entry with NAT, Linux 6.18 on x86-64 takes 256 + 128 = 384 bytes.

use std::fs;

use super::{Doing as _, LoadError};
use crate::lab::netns::Netns;

/// Bytes of a process's own memory that are resident (`RssAnon` of `/proc/PID/status`).
pub fn resident(process: u32) -> Result<u64, LoadError> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).doing(|| format!("reading {path}"))?;
    anonymous(&text)
        .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidData))
        .doing(|| format!("reading {path}"))
}

/// What the slab of the kernel's flow entries holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slab {
    /// Entries in use.
    pub objects: u64,
    /// Bytes of an entry.
    pub object_size: u64,
}

/// The slab of the kernel's flow entries, of all namespaces together; `None` where it may not be read (root
/// only) or is merged with others.
pub fn conntrack_slab() -> Option<Slab> {
    slab(&fs::read_to_string("/proc/slabinfo").ok()?, "nf_conntrack")
}

/// How many flows the kernel's table of a namespace has; `None` where it has none.
pub fn conntrack_count(space: &Netns) -> Option<u64> {
    space.run(|| fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").ok()?.trim().parse().ok())
}

fn anonymous(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// `/proc/slabinfo`: name, objects in use, objects, bytes of an object, …
fn slab(info: &str, name: &str) -> Option<Slab> {
    let line = info.lines().find(|l| l.split_whitespace().next() == Some(name))?;
    let mut numbers = line.split_whitespace().skip(1).map(str::parse::<u64>);
    let (objects, _, object_size) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(Slab { objects, object_size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        assert_eq!(anonymous("VmRSS:\t 9 kB\nRssAnon:\t    1234 kB\n"), Some(1_263_616));
        assert_eq!(anonymous("Name:\tx\n"), None);
        let info = "slabinfo - version: 2.1\n# name <active_objs> …\nnf_conntrack_expect 0 0 208 39 2\nnf_conntrack 5 32 256 16 1 : x\n";
        assert_eq!(slab(info, "nf_conntrack"), Some(Slab { objects: 5, object_size: 256 }));
        assert_eq!(slab(info, "tcp"), None);
    }

    #[test]
    fn what_a_process_takes_is_seen() {
        let before = resident(std::process::id()).unwrap();
        let taken = vec![1u8; 64 << 20];
        assert!(resident(std::process::id()).unwrap() > before + (32 << 20));
        assert_eq!(taken[taken.len() / 2], 1);
        assert!(resident(u32::MAX).is_err());
    }
}
