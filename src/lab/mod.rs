//! A laboratory on this machine: hosts in network namespaces, wires between them, and probes that
//! run on the kernel's own stacks.
//!
//! Needs neither root nor any tool, and says which [`tools`] a test finds: [`isolate`] is the way in, [`Netns`] a host, [`topology`] the
//! wires, [`probes`] what hosts do, [`load`] what they do by the million, [`spawn`] the router between them, [`mod@bench`] who
//! is faster. Knows nothing of how the router works.

pub mod bench;
pub mod isolate;
pub mod load;
pub mod netns;
pub mod probes;
pub mod spawn;
pub mod tools;
pub mod topology;

pub use netns::Netns;
pub use spawn::{Spawned, Workplace};
pub use topology::{End, LabError, Plan, Topology};
