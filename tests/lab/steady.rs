//! Datagrams at a steady rate through the gateway while something else happens: of those that were sent, how many came.

use std::net::UdpSocket;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::thread;
use std::time::{Duration, Instant};

use crate::gateway::{Gateway, SERVER};

/// Where they go.
pub(crate) const PORT: u16 = 7000;
/// Between two.
const PAUSE: Duration = Duration::from_millis(2);
/// On their way at most: no more than the far socket holds, should its thread have to wait for a CPU.
const AHEAD: u64 = 100;
/// Bytes of a datagram.
pub(crate) const LENGTH: u64 = 8;

/// The datagrams.
pub(crate) struct Steady {
    sent: AtomicU64,
    come: AtomicU64,
    end: AtomicBool,
    /// Nothing more is sent.
    done: AtomicBool,
    begun: Instant,
    longest: Duration,
}

impl Steady {
    /// Sends from the client to the server while `happens`, `longest` at most, and waits until all are there: who waits for
    /// one that was lost waits in vain. Gives how many were sent, and how many came.
    pub(crate) fn during(gw: &Gateway, longest: Duration, happens: impl FnOnce(&Steady)) -> (u64, u64) {
        let far = gw.server().run(|| UdpSocket::bind((SERVER[0], PORT))).unwrap();
        far.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let near = gw.client().run(|| UdpSocket::bind("10.1.0.2:7001")).unwrap();
        near.connect((SERVER[0], PORT)).unwrap();
        let steady = Steady {
            sent: AtomicU64::new(0),
            come: AtomicU64::new(0),
            end: AtomicBool::new(false),
            done: AtomicBool::new(false),
            begun: Instant::now(),
            longest,
        };
        let s = &steady;
        thread::scope(|scope| {
            scope.spawn(move || {
                // The sender says itself when it is done: one that was sent may not have been counted when the end is seen.
                while (!s.done.load(Acquire) || s.come.load(Relaxed) < s.sent()) && s.lasts() {
                    if far.recv(&mut [0; LENGTH as usize]).is_ok() {
                        s.come.fetch_add(1, Relaxed);
                    }
                }
            });
            scope.spawn(move || {
                let _done = End(&s.done);
                while !s.end.load(Relaxed) && s.lasts() {
                    if s.sent() < s.come.load(Relaxed) + AHEAD {
                        near.send(&[7; LENGTH as usize]).unwrap();
                        s.sent.fetch_add(1, Relaxed);
                    }
                    thread::sleep(PAUSE);
                }
            });
            // Also where it panics, or the others would go on.
            let _end = End(&s.end);
            happens(s);
        });
        (steady.sent.into_inner(), steady.come.into_inner())
    }

    /// How many were sent until now.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Waits until so many were sent.
    pub(crate) fn wait_for(&self, count: u64) {
        self.wait_until(|| self.sent() >= count);
    }

    /// Waits until so many have come.
    pub(crate) fn wait_for_arrival(&self, count: u64) {
        self.wait_until(|| self.come.load(Relaxed) >= count);
    }

    fn wait_until(&self, done: impl Fn() -> bool) {
        while !done() && self.lasts() {
            thread::sleep(PAUSE / 4);
        }
    }

    fn lasts(&self) -> bool {
        self.begun.elapsed() < self.longest
    }
}

/// Sets it when it is dropped, also in a panic.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Release);
    }
}
