//! Rulesets as text: the format of iptables-save, read and written.
//!
//! What is read is what iptables-restore reads, with the kernel's own checks made at once; what is written is what
//! iptables-save writes. `docs/rules.md` says where we differ, and a test holds it to the tables in `matches`, `targets`
//! and `known`.
//!
//! ```text
//! text ─► words ─► line ─► Command ─► Draft ─► check ─► Ruleset ─► write ─► text
//!                   │  options: which option a word means; matches, targets: what they add up to (spec)
//!                   └─ value, names: numbers, addresses, ports
//! ```

mod check;
mod draft;
mod known;
mod line;
mod matches;
mod names;
mod options;
mod read;
mod spec;
mod targets;
mod value;
mod words;
mod write;

pub use known::{Entry, catalogue};
pub use read::read;
pub use write::{rule, write};

#[cfg(test)]
mod tests;
