//! The whole router in memory: frames in, frames out, time as the test says.
//!
//! `net.rs` is the bench: a router with links, a clock, and frames to and from made-up stations;
//! `make.rs` makes packets, `check.rs` holds every frame that leaves against the formats. Every
//! test ends by asking the ledger whether each packet is accounted for.

mod asked;
mod basics;
mod cached;
mod check;
mod coalescing;
mod defrag;
mod errors;
mod explained;
mod flows;
mod forwarding;
mod gateway;
mod hooks;
mod hostile;
mod ingress;
mod local;
mod make;
mod martians;
mod nat;
mod ndp;
mod neighbors;
mod net;
mod offloads;
mod redirects;
mod route_mtu;
mod routes;
mod rules;
mod samples;
mod told;
mod traces;
mod tuns;
mod workers;
