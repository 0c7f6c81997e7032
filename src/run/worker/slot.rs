//! A port that a worker looks after, and how it stands.

use std::os::fd::RawFd;

use mio::Token;

use super::BATCH;
use crate::base::LinkId;
use crate::io::{Port, Status};

/// One port and where it stands.
pub(in crate::run) struct Slot {
    pub(super) link: LinkId,
    pub(super) port: Box<dyn Port>,
    /// The descriptor and epoch that are registered.
    pub(super) registered: Option<(RawFd, u32)>,
    /// Whether there may be frames to receive.
    pub(super) ready: bool,
    /// How many frames are taken at a time.
    pub(super) batch: usize,
    /// The port's overruns that have been counted.
    pub(super) overruns: u64,
    /// Its interface's condition when it was looked at last.
    pub(super) status: Status,
    /// Whether others are given what is theirs of what comes here.
    pub(super) shared: bool,
}

impl Slot {
    pub(super) fn new(link: LinkId, port: Box<dyn Port>) -> Self {
        Slot {
            link,
            port,
            registered: None,
            ready: true,
            overruns: 0,
            status: Status::Down,
            shared: false,
            batch: BATCH,
        }
    }

    /// Tells it from the others in a poll.
    pub(super) fn token(&self) -> Token {
        Token(self.link.index())
    }
}
