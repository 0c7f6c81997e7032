//! Samples of the traffic, for those who want to know whose it is.
//!
//! ```text
//!  frames of a batch ─► one in N, at random ─► channel of each listener, bounded ─► whoever counts
//!                                                └─ full: lost, and counted
//! ```
//!
//! Nobody listens: one relaxed load a batch. Somebody does: a few instructions a batch, and what it takes to read the
//! addresses of one packet in N, and to put them into a channel that waits for nobody. Each sample says how many packets
//! it stands for, so N may change at any time. What is counted is what comes in by links, as it comes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::Cx;
use crate::base::LinkId;
use crate::packet::{Packet, Tuple, peek};

/// Listeners at once.
const LISTENERS: usize = 8;
/// The fewest packets that can be told from one another: one in so many.
const MOST: u32 = 1 << 20;

/// One packet that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// By which link.
    pub link: LinkId,
    /// Whose it is.
    pub tuple: Tuple,
    /// Its length in bytes, the link-layer header included.
    pub bytes: u32,
    /// How many packets it stands for.
    pub weight: u32,
}

/// Where workers leave samples.
#[derive(Debug, Default)]
pub struct Sampler {
    /// One in so many; 0: nobody listens.
    every: AtomicU32,
    listeners: RwLock<Vec<Listener>>,
}

#[derive(Debug)]
struct Listener {
    id: u64,
    every: u32,
    to: Sender<Sample>,
    lost: Arc<AtomicU64>,
}

impl Sampler {
    /// Begins to listen to one packet in `every`, of which so many wait at most. `None`: too many listen already.
    pub fn listen(self: &Arc<Self>, every: u32, capacity: usize) -> Option<Tap> {
        let (to, samples) = crossbeam_channel::bounded(capacity);
        let lost = Arc::new(AtomicU64::new(0));
        let mut all = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= LISTENERS {
            return None;
        }
        let id = all.iter().map(|l| l.id + 1).max().unwrap_or(0);
        all.push(Listener { id, every: every.clamp(1, MOST), to, lost: lost.clone() });
        self.set(&all);
        drop(all);
        Some(Tap { sampler: self.clone(), id, samples, lost })
    }

    /// The shortest that anybody wants is for all.
    fn set(&self, all: &[Listener]) {
        self.every.store(all.iter().map(|l| l.every).min().unwrap_or(0), Relaxed);
    }

    fn give(&self, sample: Sample) {
        // Whoever comes or goes is not waited for.
        let Ok(all) = self.listeners.try_read() else { return };
        for l in &*all {
            if let Err(TrySendError::Full(_)) = l.to.try_send(sample) {
                l.lost.fetch_add(1, Relaxed);
            }
        }
    }
}

/// The end at which samples come out. Dropping it ends what they cost.
#[derive(Debug)]
pub struct Tap {
    sampler: Arc<Sampler>,
    id: u64,
    samples: Receiver<Sample>,
    lost: Arc<AtomicU64>,
}

impl Tap {
    /// What has come, a channel's length at most.
    pub fn drain(&self) -> impl Iterator<Item = Sample> + '_ {
        self.samples.try_iter().take(self.samples.len())
    }

    /// Samples that found no room since this was asked last.
    pub fn lost(&self) -> u64 {
        self.lost.swap(0, Relaxed)
    }

    /// From now on one in so many will do.
    pub fn set_every(&self, every: u32) {
        let mut all = self.sampler.listeners.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(l) = all.iter_mut().find(|l| l.id == self.id) {
            l.every = every.clamp(1, MOST);
        }
        self.sampler.set(&all);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut all = self.sampler.listeners.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|l| l.id != self.id);
        self.sampler.set(&all);
    }
}

/// Frames have come in by a link.
#[inline]
pub(super) fn frames(cx: &mut Cx<'_>, link: LinkId, frames: &[Packet]) {
    let every = cx.live.sampler.every.load(Relaxed);
    if every != 0 {
        take(cx, link, frames, every);
    }
}

#[cold]
fn take(cx: &mut Cx<'_>, link: LinkId, frames: &[Packet], every: u32) {
    let ethernet = cx.snap.links.get(link).is_none_or(|l| l.mac.is_some());
    // Left over from when fewer were wanted.
    let mut at = cx.me.unsampled.min(2 * every) as usize;
    while let Some(p) = frames.get(at) {
        if let Some(tuple) = peek::tuple_of_frame(p.data(), ethernet) {
            let bytes = u32::try_from(p.len()).unwrap_or(u32::MAX);
            cx.live.sampler.give(Sample { link, tuple, bytes, weight: every });
        }
        // 1 to 2 N - 1, N on average: what comes at a steady pace is not always met at the same place.
        let span = u64::from(2 * every - 1);
        at += 1 + if every == 1 { 0 } else { (cx.me.random() % span) as usize };
    }
    cx.me.unsampled = u32::try_from(at - frames.len()).unwrap_or(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(n: u16) -> Sample {
        let tuple = Tuple { src: [0; 16], dst: [0; 16], src_port: n, dst_port: 0, proto: 17, v6: false };
        Sample { link: LinkId(1), tuple, bytes: 100, weight: 1 }
    }

    #[test]
    fn it_is_off_unless_somebody_listens() {
        let sampler = Arc::new(Sampler::default());
        let every = || sampler.every.load(Relaxed);
        assert_eq!(every(), 0);
        let a = sampler.listen(64, 4).unwrap();
        let b = sampler.listen(8, 4).unwrap();
        assert_eq!(every(), 8);
        b.set_every(0);
        assert_eq!(every(), 1);
        drop(b);
        assert_eq!(every(), 64);
        drop(a);
        assert_eq!(every(), 0);
        let all: Vec<_> = (0..LISTENERS).map(|_| sampler.listen(1, 1).unwrap()).collect();
        assert!(sampler.listen(1, 1).is_none());
        drop(all);
        assert!(sampler.listen(1, 1).is_some());
    }

    #[test]
    fn what_nobody_fetches_is_lost_and_counted() {
        let sampler = Arc::new(Sampler::default());
        let (slow, quick) = (sampler.listen(1, 2).unwrap(), sampler.listen(1, 16).unwrap());
        (0..5).for_each(|n| sampler.give(sample(n)));
        assert_eq!(slow.drain().map(|s| s.tuple.src_port).collect::<Vec<_>>(), [0, 1]);
        assert_eq!((slow.lost(), slow.lost()), (3, 0));
        assert_eq!((quick.drain().count(), quick.lost()), (5, 0));
        sampler.give(sample(9));
        assert_eq!(slow.drain().count(), 1);
    }
}
