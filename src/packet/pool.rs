//! Storage that is used again, so that the established path allocates nothing.

use super::{HEADROOM, LARGE, Packet, SMALL};

/// One worker's free storage, in two sizes. Bounded: what is more is freed.
#[derive(Debug)]
pub struct Pool {
    small: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
    /// How many are kept of each.
    keep: [usize; 2],
}

impl Pool {
    /// A pool that keeps at most `keep` pieces of each size.
    pub fn new(keep: usize) -> Self {
        Pool::with(keep, keep)
    }

    /// A pool that keeps at most so many pieces for ordinary frames, and so many for super-frames.
    pub fn with(small: usize, large: usize) -> Self {
        Pool { small: Vec::with_capacity(small), large: Vec::with_capacity(large), keep: [small, large] }
    }

    /// An empty packet for an ordinary frame: room for 1,920 bytes.
    pub fn small(&mut self) -> Packet {
        let storage = self.small.pop().unwrap_or_else(|| vec![0; SMALL].into_boxed_slice());
        Packet::over(storage, HEADROOM)
    }

    /// An empty packet for the longest super-frame.
    pub fn large(&mut self) -> Packet {
        let storage = self.large.pop().unwrap_or_else(|| vec![0; LARGE].into_boxed_slice());
        Packet::over(storage, HEADROOM)
    }

    /// An empty packet with room for at least `len` bytes.
    pub fn sized(&mut self, len: usize) -> Packet {
        if len + HEADROOM <= SMALL {
            self.small()
        } else if len + HEADROOM <= LARGE {
            self.large()
        } else {
            Packet::over(vec![0; len + HEADROOM].into_boxed_slice(), HEADROOM)
        }
    }

    /// Gives up to so many pieces of its free storage, of either size, as empty packets: for another pool.
    pub fn spare(&mut self, out: &mut Vec<Packet>, small: usize, large: usize) {
        for (shelf, wanted) in [(&mut self.small, small), (&mut self.large, large)] {
            let from = shelf.len() - wanted.min(shelf.len());
            out.extend(shelf.drain(from..).map(|storage| Packet::over(storage, HEADROOM)));
        }
    }

    /// Takes a packet's storage back.
    pub fn put(&mut self, packet: Packet) {
        let storage = packet.into_storage();
        let (shelf, keep) = match storage.len() {
            SMALL => (&mut self.small, self.keep[0]),
            LARGE => (&mut self.large, self.keep[1]),
            _ => return,
        };
        if shelf.len() < keep {
            shelf.push(storage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_comes_back_and_the_pool_is_bounded() {
        let mut pool = Pool::new(2);
        let packets: Vec<_> = (0..3).map(|_| pool.small()).collect();
        let first = packets[1].data().as_ptr();
        for p in packets {
            pool.put(p);
        }
        assert_eq!(pool.small.len(), 2);
        assert_eq!(pool.small().data().as_ptr(), first);
        let mut others = Vec::new();
        pool.put(Packet::from_slice(&[1]));
        pool.spare(&mut others, 5, 5);
        assert_eq!((others.len(), pool.small.len()), (1, 0), "what there is");
        let mut uneven = Pool::with(1, 2);
        let packets: Vec<_> = (0..3).flat_map(|_| [uneven.small(), uneven.large()]).collect();
        packets.into_iter().for_each(|p| uneven.put(p));
        assert_eq!((uneven.small.len(), uneven.large.len()), (1, 2));
        assert!(pool.sized(1_920).tailroom() >= 1_920);
        assert!(pool.sized(1_921).tailroom() >= 65_535);
        assert!(pool.sized(70_000).tailroom() >= 70_000);
    }
}
