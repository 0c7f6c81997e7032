//! The running router: threads, clock, shutdown.
//!
//! ```text
//! worker × N   owns one port of each link: receive → walk → transmit, to completion
//! host × 1     the local stack: channels in and out
//! engine × 1   transactions; makes the routes anew when a link goes up or down, and ends flows whose address went
//! log × 1      writes the lines of LOG rules
//! metrics × 1  answers Prometheus, if it is asked for
//! caller       control socket, signals
//! ```
//!
//! [`start()`] opens everything first and forwards only then: it either gives a router that works
//! whole, or an error and nothing left behind. Threads inherit the network namespace of the caller.
//!
//! Shutdown: the flag is set, every thread is woken, each empties what it has and ends, ports are
//! dropped (which gives back what they took from the host), then [`Running::stop`] returns.

mod clock;
mod desk;
mod engine;
mod handover;
mod host;
mod load;
mod log;
mod nap;
mod privileges;
mod pulse;
mod rest;
#[cfg(test)]
mod sample;
mod serve;
mod sight;
mod signals;
mod start;
pub mod systemd;
mod watch;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use mio::Waker;

use crate::base::{Instant, LinkId};
use crate::config::{Config, Enable, Problems, Setup};
use crate::control::answer::{answer, explain};
use crate::control::monitor::{self, Hub};
use crate::control::server::Census;
use crate::control::{Answer, Verb};
use crate::filter::{Family, Program};
use crate::io::OpenError;
use crate::path::{Hooks, Tracking};
use crate::router::Router;

pub use clock::Clock;
use engine::{Ask, Bell};
pub use privileges::{PrivilegeError, SystemCalls, renounce, seal};
use pulse::Pulses;
pub use serve::{ServeError, serve};
use sight::Sight;
pub use signals::{Asked, Signals};
use start::Opened;
use worker::SharedWaker;

/// Why a router did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration can't be put into force.
    #[error("{0}")]
    Config(#[from] Problems),
    /// A link's device could not be opened.
    #[error("link {link}: {source}")]
    Open {
        /// The link.
        link: String,
        /// What was wrong.
        source: OpenError,
    },
    /// The metrics can't be offered there.
    #[error(
        "[router] metrics: can't listen at {at}: {source}; choose an address of this host, and a port that is free"
    )]
    Metrics {
        /// Where.
        at: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// What had to be done before the threads start.
    #[error("{0}")]
    Before(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system refused a thread or a poll.
    #[error("the system refused a thread or its poll: {0}")]
    System(#[from] io::Error),
}

/// A router at work. Dropping it stops it.
pub struct Running {
    sight: Sight,
    /// Where transactions are asked for.
    asks: Sender<Ask>,
    bell: Bell,
    hub: Hub,
    stop: Arc<AtomicBool>,
    wakers: Vec<SharedWaker>,
    threads: Vec<(String, JoinHandle<io::Result<()>>)>,
    /// Of those threads that packets depend on.
    pulses: Pulses,
    /// Nobody sends here: it is closed when the last line of the log has been written.
    log_written: Receiver<()>,
}

/// Opens the links and starts the threads.
pub fn start(config: &Config) -> Result<Running, StartError> {
    start_after(config, || Ok(()))
}

/// The same, with something to do in between: when everything is open, and no thread is there to keep what this one gives
/// up.
pub fn start_after(
    config: &Config,
    before: impl FnOnce() -> Result<(), Box<dyn std::error::Error + Send + Sync>>,
) -> Result<Running, StartError> {
    let opened = Opened::open(config)?;
    before().map_err(StartError::Before)?;
    opened.launch(config)
}

/// What a router does, in a line.
fn status(name: &str, router: &Router) -> String {
    let links = router.snapshot().links.iter().filter(|l| l.id != LinkId::LO).count();
    format!("{name} forwards between {links} {}", if links == 1 { "link" } else { "links" })
}

/// What hangs at the hooks: the rules, IPv4's first, and conntrack when it is to be on.
fn hooks(config: &Config, [v4, v6]: &[Option<Arc<Program>>; 2]) -> Hooks {
    let tracking = match config.conntrack.enable {
        Enable::Auto => Tracking::Auto,
        Enable::On => Tracking::On,
        Enable::Off => Tracking::Off,
    };
    Hooks::new().with_rules(Family::V4, v4.clone()).with_rules(Family::V6, v6.clone()).with_tracking(tracking)
}

impl Running {
    /// The router, for reading its tables and counters.
    pub fn router(&self) -> &Router {
        &self.sight.router
    }

    /// The router's name.
    pub fn name(&self) -> String {
        self.setup().config.name.clone()
    }

    /// What the router is set up to be.
    pub fn setup(&self) -> Arc<Setup> {
        self.sight.setup.load_full()
    }

    /// Has this woken whenever an answer that came later is there.
    pub fn wake_for_answers(&self, waker: Waker) {
        // Only one can ask at a time.
        self.bell.set(waker).ok();
    }

    /// Answers a request of the control socket: at once, or, if it is a transaction, when that has been made.
    pub fn answer(&self, verb: Verb) -> Answer {
        match verb {
            verb if verb.is_transaction() => self.transact(verb),
            Verb::Monitor(asked) => {
                if let Err(refusal) = monitor::check(&asked, &self.setup().links) {
                    return Answer::Refused(refusal);
                }
                let watch = monitor::Watch::new(asked, &self.hub, self.router().clone(), self.now());
                Answer::Feed(Box::new(watch))
            }
            Verb::Explain(asked) => explain(&asked, self.router(), self.now()),
            verb => self.sight.sources(|sources| answer(&verb, sources)),
        }
    }

    fn transact(&self, what: Verb) -> Answer {
        let (answer, later) = crossbeam_channel::bounded(1);
        match self.asks.try_send(Ask { what, answer }) {
            Ok(()) => Answer::Later(later),
            Err(TrySendError::Full(Ask { what, .. })) => {
                if matches!(what, Verb::Reload(_)) {
                    // A service manager that asked for it waits for its end.
                    systemd::reloading();
                    systemd::ready(&self.status());
                }
                Answer::no("too many changes wait to be made: try again in a moment")
            }
            Err(TrySendError::Disconnected(_)) => Answer::no("the router stops"),
        }
    }

    /// Where those who talk to the router are counted.
    pub fn census(&self) -> Arc<Census> {
        self.sight.census.clone()
    }

    /// What it does, in a line: for a service manager.
    pub fn status(&self) -> String {
        status(&self.name(), self.router())
    }

    /// The time on the router's clock.
    pub fn now(&self) -> Instant {
        self.sight.clock.now()
    }

    /// The name of a thread that ended by itself, which none should: the router no longer works whole.
    pub fn failed(&self) -> Option<&str> {
        self.threads.iter().find(|(_, t)| t.is_finished()).map(|(name, _)| name.as_str())
    }

    /// Ends all threads and closes all devices. Gives the first error that a thread ended with.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.stop.store(true, Relaxed);
        for waker in &self.wakers {
            waker.wake().ok();
        }
        let mut result = Ok(());
        for (name, thread) in self.threads.drain(..) {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other(format!("{name} panicked"))));
            if result.is_ok() {
                result = ended;
            }
        }
        // What rules wrote in the end is still to be read.
        self.log_written.recv_timeout(log::LAST_WORDS).ok();
        result
    }

    fn spawn(
        &mut self,
        name: String,
        body: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.clone()).spawn(body)?;
        self.threads.push((name, thread));
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(e) = self.end() {
            tracing::error!("a thread ended badly: {e}");
        }
    }
}
