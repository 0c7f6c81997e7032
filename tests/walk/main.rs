//! The whole router in memory: frames in, frames out, time as the test says.
//!
//! `net.rs` is the bench: a router with links, a clock, and frames to and from made-up stations. Every
//! test ends by asking the ledger whether each packet is accounted for.

mod basics;
mod net;
