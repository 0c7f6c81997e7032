//! Frames through a packet socket, in bursts: many in a call, then a sleep.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::{LoadError, Rate, Shared, Traffic};
use crate::io::sys::{Batch, PacketOption, bind_packet, packet_socket, set_buffers, set_packet_option};
use crate::lab::load::Doing as _;
use crate::lab::load::program::PATIENCE;
use crate::lab::netns::Netns;

#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    traffic: Traffic,
    sent: AtomicU64,
    /// The rate was changed: the bursts begin anew.
    changed: AtomicBool,
}

impl Socket {
    pub(super) fn new(client: &Netns, traffic: &Traffic, device: u32) -> Result<Self, LoadError> {
        let fd = client
            .run(|| {
                let fd = packet_socket()?;
                bind_packet(fd.as_fd(), device, false)?;
                set_packet_option(fd.as_fd(), PacketOption::QdiscBypass)?;
                set_buffers(fd.as_fd(), BUFFER)?;
                Ok(fd)
            })
            .doing(|| format!("{}: opening a packet socket", client.name()))?;
        Ok(Socket { fd, traffic: traffic.clone(), sent: AtomicU64::new(0), changed: AtomicBool::new(false) })
    }

    /// Has the thread look at the rate, and waits until the old one is over.
    pub(super) fn rate_is_set(&self, shared: &Shared, alive: impl Fn() -> bool) {
        self.changed.store(true, SeqCst);
        while self.changed.load(SeqCst) && shared.busy.load(SeqCst) && alive() {
            std::thread::sleep(PAUSE / 4);
        }
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub(super) fn run(&self, shared: &Shared) {
        let mut batch = Batch::new(BURST);
        let template = self.traffic.template();
        let mut frames = vec![template; BURST];
        let mut next = 0u64;
        let flows = self.traffic.flow_count().map_or(u64::MAX, u64::from);
        loop {
            shared.busy.store(false, SeqCst);
            let Some(rate) = shared.wait() else { break };
            shared.busy.store(true, SeqCst);
            // The rate may have been set once more since: then this is another round for nothing.
            self.changed.store(false, SeqCst);
            if shared.lock().rate != rate {
                continue;
            }
            let start = Instant::now();
            let mut given_up_or_sent = 0u64;
            while !self.changed.load(SeqCst) && !shared.lock().stop {
                let wanted = match rate {
                    Rate::Saturate => BURST as u64,
                    Rate::PerSecond(rate) => {
                        let due = (start.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000) as u64;
                        let late = (PATIENCE.as_nanos() * u128::from(rate) / 1_000_000_000) as u64;
                        given_up_or_sent = given_up_or_sent.max(due.saturating_sub(late));
                        due - given_up_or_sent.min(due)
                    }
                    Rate::Off | Rate::Hold => 0,
                };
                if wanted == 0 {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                let count = (wanted as usize).min(BURST);
                for (i, frame) in frames[..count].iter_mut().enumerate() {
                    self.traffic.write((next + i as u64) % flows, frame);
                }
                let buffers = frames[..count].iter().map(|f| [f.as_slice(), &[]]);
                match batch.send(self.fd.as_fd(), buffers) {
                    Ok(n) => {
                        next = (next + n as u64) % flows;
                        given_up_or_sent += n as u64;
                        self.sent.fetch_add(n as u64, Relaxed);
                    }
                    // The device has no room, or is down for a moment: the next burst will see.
                    Err(e) if is_passing(&e) => std::thread::yield_now(),
                    Err(e) => return shared.fail(format!("sending frames: {e}")),
                }
            }
        }
    }
}

fn is_passing(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR | libc::ENETDOWN | libc::ENOMEM)
    )
}

/// Frames in a call at most.
const BURST: usize = 64;
/// Between two bursts, the more so the fewer frames are due: at 100,000 a second, 20 at a time.
const PAUSE: Duration = Duration::from_micros(200);
/// Room for frames under way.
const BUFFER: i32 = 1 << 20;
