//! Where records are: found by hash in buckets of eight, kept in a slab that grows as they come, at most so many.
//!
//! ```text
//!  hash ─► bucket ├ 8 tags ┼ 8 numbers ┼ 8 marks ┼ 4 candidates ┤   64 bytes
//!                              │
//!                              └─► slab: records
//! ```
//!
//! A flood of new flows does not wash out the busy ones:
//!
//! - a flow gets in when it comes for the second time as a candidate, and candidates are only flows that are known
//!   already: a packet that begins one is never among them;
//! - it takes a place that is free. If there is none, one in sixteen of those that ask gets that of an owner that was not
//!   used since somebody wanted it last (second chance): who has many packets gets in all the same, who has few does not.

use super::key::{Key, Secret};
use super::record::Record;

/// Records that share a bucket.
const WAYS: usize = 8;
/// Places in the buckets for each record that there may be: so that a bucket is seldom full while there is room.
const ROOM: usize = 2;
/// One in so many of those that find no free place gets another's.
const INSIST: u64 = 16;
/// How many records the hand passes in search of one that may go.
const SWEEP: usize = 16;
/// Records in a chunk of the slab.
const CHUNK: usize = 1024;
/// How often a record may turn out not to be true of a packet before the flow is recorded anew: two kinds of packets
/// in a flow are not to write each other over.
const STRIKES: u8 = 4;

/// One set of records.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u16; WAYS],
    /// The record's number, plus one; 0 is none.
    numbers: [u32; WAYS],
    /// Whether the record was used, and how often in a row it was not true.
    marks: [u8; WAYS],
    candidates: [u16; 4],
}

const _: () = assert!(size_of::<Bucket>() == 64);

const USED: u8 = 0x80;

/// A record's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    bucket: u32,
    way: u32,
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    most: usize,
    buckets: Vec<Bucket>,
    slab: Slab,
    /// Where the search for a record that may go went on last.
    hand: usize,
    /// What [`draw`] goes on from.
    chance: u64,
}

/// What became of a record that was to get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It is in its flow's own place.
    Renewed,
    /// It has a new place.
    Entered,
    /// It has another's.
    Replaced,
    /// There was none.
    Refused,
}

impl Table {
    /// For so many records at most. Memory is taken when the first comes.
    pub(super) fn new(most: usize) -> Self {
        Table { most, buckets: Vec::new(), slab: Slab::default(), hand: 0, chance: 0 }
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Begins to fetch a bucket from memory.
    #[inline]
    pub(super) fn warm(&self, hash: u64) -> u32 {
        self.bucket(hash).and_then(|b| self.buckets.get(b)).map_or(0, |b| u32::from(b.tags[0]))
    }

    /// The record that a key may have, as far as the tag says.
    #[inline]
    pub(super) fn likely(&self, hash: u64) -> Option<&Record> {
        let bucket = self.buckets.get(self.bucket(hash)?)?;
        let tag = tag(hash);
        let way = (0..WAYS).find(|way| bucket.tags[*way] == tag && bucket.numbers[*way] != 0)?;
        self.slab.get(bucket.numbers[way] as usize - 1)
    }

    /// The record of a key.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &Key) -> Option<(At, &Record)> {
        let at = self.bucket(hash)?;
        let bucket = self.buckets.get(at)?;
        let tag = tag(hash);
        (0..WAYS).find_map(|way| {
            if bucket.tags[way] != tag || bucket.numbers[way] == 0 {
                return None;
            }
            let record = self.slab.get(bucket.numbers[way] as usize - 1)?;
            (record.key == *key).then_some((At { bucket: at as u32, way: way as u32 }, record))
        })
    }

    /// A record was used.
    #[inline]
    pub(super) fn used(&mut self, at: At) {
        let mark = &mut self.buckets[at.bucket as usize].marks[at.way as usize];
        if *mark != USED {
            *mark = USED;
        }
    }

    /// A record was not true of a packet of its flow. `true` if that happened too often.
    pub(super) fn strike(&mut self, at: At) -> bool {
        let mark = &mut self.buckets[at.bucket as usize].marks[at.way as usize];
        *mark = USED | (*mark & !USED).saturating_add(1).min(STRIKES);
        *mark & !USED >= STRIKES
    }

    /// Whether a flow is a candidate.
    #[inline]
    pub(super) fn is_candidate(&self, hash: u64) -> bool {
        let bucket = self.bucket(hash).and_then(|at| self.buckets.get(at));
        bucket.is_some_and(|b| b.candidates.contains(&candidate(hash)))
    }

    /// Makes a flow a candidate.
    pub(super) fn propose(&mut self, hash: u64) {
        self.build();
        let at = self.bucket(hash);
        if let Some(bucket) = at.and_then(|at| self.buckets.get_mut(at)) {
            // By chance: flows that come in turn would else put each other out for ever.
            bucket.candidates[draw(&mut self.chance) as usize % 4] = candidate(hash);
        }
    }

    /// Puts a record in.
    pub(super) fn put(&mut self, record: Record, hash: u64, secret: &Secret) -> Put {
        self.build();
        if let Some((at, _)) = self.find(hash, &record.key) {
            let bucket = &mut self.buckets[at.bucket as usize];
            bucket.marks[at.way as usize] = USED;
            let number = bucket.numbers[at.way as usize] as usize - 1;
            self.slab.set(number, record);
            return Put::Renewed;
        }
        let Some(at) = self.bucket(hash) else { return Put::Refused };
        let (way, number, put) = match self.buckets[at].numbers.iter().position(|n| *n == 0) {
            Some(way) => match self.take(secret) {
                Some((number, put)) => (way, number, put),
                None => return Put::Refused,
            },
            None => match second_chance(&mut self.buckets[at], &mut self.chance) {
                Some(way) => (way, self.buckets[at].numbers[way] - 1, Put::Replaced),
                None => return Put::Refused,
            },
        };
        let bucket = &mut self.buckets[at];
        bucket.tags[way] = tag(hash);
        bucket.numbers[way] = number + 1;
        bucket.marks[way] = USED;
        for c in &mut bucket.candidates {
            if *c == candidate(hash) {
                *c = 0;
            }
        }
        self.slab.set(number as usize, record);
        put
    }

    /// Takes all out; gives how many.
    pub(super) fn clear(&mut self) -> usize {
        let gone = self.len();
        if self.slab.len() > 0 {
            self.buckets.fill(Bucket::default());
            self.slab.used = 0;
            self.hand = 0;
        }
        gone
    }

    /// A place in the slab that was never used, at need one of another bucket's.
    fn take(&mut self, secret: &Secret) -> Option<(u32, Put)> {
        if self.slab.len() < self.most {
            return Some((self.slab.grow(), Put::Entered));
        }
        if !draw(&mut self.chance).is_multiple_of(INSIST) {
            return None;
        }
        for _ in 0..SWEEP {
            let number = self.hand as u32;
            self.hand = (self.hand + 1) % self.slab.len().max(1);
            let key = self.slab.get(number as usize)?.key;
            let Some((at, _)) = self.find(secret.hash(&key), &key) else { continue };
            let bucket = &mut self.buckets[at.bucket as usize];
            if bucket.marks[at.way as usize] & USED == 0 {
                bucket.numbers[at.way as usize] = 0;
                return Some((number, Put::Replaced));
            }
            bucket.marks[at.way as usize] &= !USED;
        }
        None
    }

    fn build(&mut self) {
        if self.buckets.is_empty() && self.most > 0 {
            let n = (self.most * ROOM).div_ceil(WAYS).next_power_of_two();
            self.buckets = vec![Bucket::default(); n];
        }
    }

    #[inline]
    fn bucket(&self, hash: u64) -> Option<usize> {
        // The number of buckets is a power of two.
        self.buckets.len().checked_sub(1).map(|mask| hash as usize & mask)
    }
}

/// The records, by number. Grows in chunks, so that none is ever moved.
#[derive(Debug, Default)]
struct Slab {
    chunks: Vec<Box<[Record]>>,
    /// How many are in use, or were.
    used: usize,
}

impl Slab {
    fn len(&self) -> usize {
        self.used
    }

    #[inline]
    fn get(&self, number: usize) -> Option<&Record> {
        self.chunks.get(number / CHUNK)?.get(number % CHUNK)
    }

    fn set(&mut self, number: usize, record: Record) {
        if let Some(place) = self.chunks.get_mut(number / CHUNK).and_then(|c| c.get_mut(number % CHUNK)) {
            *place = record;
        }
    }

    /// The next number.
    fn grow(&mut self) -> u32 {
        if self.used == self.chunks.len() * CHUNK {
            self.chunks.push(vec![Record::default(); CHUNK].into_boxed_slice());
        }
        self.used += 1;
        self.used as u32 - 1
    }
}

/// A number that need not be hard to guess (Knuth's linear congruence, TAOCP 2 §3.3.4).
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
    *state >> 56
}

/// A way whose owner was not used lately; all others have to be used again to stay next time.
fn second_chance(bucket: &mut Bucket, chance: &mut u64) -> Option<usize> {
    if !draw(chance).is_multiple_of(INSIST) {
        return None;
    }
    let way = bucket.marks.iter().position(|m| m & USED == 0);
    if way.is_none() {
        bucket.marks.iter_mut().for_each(|m| *m &= !USED);
    }
    way
}

#[inline]
fn tag(hash: u64) -> u16 {
    (hash >> 48) as u16
}

#[inline]
fn candidate(hash: u64) -> u16 {
    (hash >> 32) as u16 | 1
}

#[cfg(test)]
mod tests;
