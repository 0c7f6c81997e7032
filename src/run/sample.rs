//! A router for the tests of this room: of a configuration, without devices.

use std::path::Path;
use std::sync::Arc;

use crate::config::{self, Setup};
use crate::packet::Steering;
use crate::path::{Listeners, LiveConfig, Snapshot};
use crate::router::Router;

pub(super) fn router(text: &str) -> (Router, Setup) {
    steered(text, Steering::default())
}

pub(super) fn steered(text: &str, steering: Steering) -> (Router, Setup) {
    let config = config::parse(text, Path::new("r.toml")).unwrap();
    let (setup, fib) = Setup::with_table(config, None).unwrap();
    let snapshot = Snapshot {
        fib: Arc::new(fib),
        icmp_rate: 1000,
        hooks: super::hooks(&setup.config, &setup.programs),
        links: setup.links.clone(),
        listeners: Listeners::default(),
    };
    (Router::new(snapshot, LiveConfig { steering, spare_links: 8, ..LiveConfig::default() }, 0), setup)
}
