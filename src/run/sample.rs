//! For the tests of this room: a router of a configuration, without devices, and packets for it.

use std::path::Path;
use std::sync::Arc;

use crate::config::{self, Setup};
use crate::packet::{Packet, Steering};
use crate::path::{Listeners, LiveConfig, Snapshot};
use crate::router::Router;
use crate::wire::ipv4::{HEADER_LEN, Ipv4Header};

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

/// An IPv4 packet of these ends and this protocol around some bytes.
pub(super) fn packet(src: [u8; 4], dst: [u8; 4], proto: u8, payload: &[u8]) -> Packet {
    let header = Ipv4Header {
        src: src.into(),
        dst: dst.into(),
        proto,
        ttl: 64,
        tos: 0,
        ident: 1,
        dont_fragment: false,
        payload_len: payload.len(),
    };
    let mut bytes = vec![0; HEADER_LEN];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    Packet::from_slice(&bytes)
}
