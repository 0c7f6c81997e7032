//! Rules as text: the format of iptables-save, read and written; and the commands of iptables, on rules that are there.
//!
//! What is read is what iptables-restore reads, with the kernel's own checks made at once; what is written is what
//! iptables-save writes. `docs/rules.md` says where we differ, and a test holds it to the tables in `matches`, `targets`
//! and `known`.
//!
//! ```text
//! text ─► words ─► line ─► Command ─► Draft ─► check ─► Ruleset ─► write ─► text, `-S`
//!                   │  options: which option a word means; matches, targets: what they add up to (spec)
//!                   └─ value, names: numbers, addresses, ports
//! words behind `iptables` ─► command ─► line …   edit: rules that are there, changed; list: `-L`
//! ```

mod check;
mod command;
mod draft;
mod edit;
mod known;
mod line;
mod list;
mod matches;
mod names;
mod no;
mod options;
mod read;
mod spec;
mod targets;
mod value;
mod words;
mod write;

pub use command::{Asked, List, Manner, What, asked};
pub use edit::{Edited, Restore, Unread, edit, restore, table, zero, zeroed};
pub use known::{Entry, catalogue, table as table_named};
pub use list::{commands, list, narrow, references, saved_commands, target, told};
pub use no::{No, Why, exit_code, own_words};
pub use read::read;
pub use write::{rule, write};

#[cfg(test)]
mod tests;
