//! A router for the tests of this room: of a configuration, without devices.

use std::path::Path;
use std::sync::Arc;

use crate::config;
use crate::fib::Rib;
use crate::packet::Steering;
use crate::path::{Listeners, LiveConfig, Snapshot};
use crate::router::Router;

pub(super) fn router(text: &str) -> (Router, Rib) {
    steered(text, Steering::default())
}

pub(super) fn steered(text: &str, steering: Steering) -> (Router, Rib) {
    let config = config::parse(text, Path::new("r.toml")).unwrap();
    let links = config.links_table();
    let (rib, fib) = config.routing(&links).unwrap();
    let listeners = Listeners::default();
    let snapshot = Snapshot {
        fib: Arc::new(fib),
        icmp_rate: 1000,
        hooks: super::hooks(&config, &links).unwrap(),
        links,
        listeners,
    };
    (Router::new(snapshot, LiveConfig { steering, ..LiveConfig::default() }, 0), rib)
}
