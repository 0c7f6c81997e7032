//! A port that writes down what passes, in pcapng: for Wireshark and tcpdump.
//!
//! Wraps any port. Several ports write into one file, each an interface of its own with its name, each
//! frame with its direction and a time in nanoseconds. The writing is done by a thread behind a bounded
//! queue of batches: a slow disk costs the capture frames, which are counted in the file, never the path. Frames
//! are written as they cross the port, super-frames and partial checksums included. What the blocks look like, [`pcapng`] knows.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::open::OpenError;
use super::pcapng::{self, Enhanced, LinkType};
use super::port::{Port, Sent, Status};
use crate::link::InUse;
use crate::packet::{Caps, Packet, Pool};

/// A capture file that ports write to. Dropping it, and every port that has it, closes the file.
#[derive(Debug, Clone)]
pub struct Capture(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    batches: Option<Sender<Vec<u8>>>,
    writer: Mutex<Option<JoinHandle<io::Result<()>>>>,
    /// Numbers given so far.
    interfaces: Mutex<u32>,
    /// Bytes kept of each frame.
    snap: usize,
}

impl Capture {
    /// A capture into a new file, with the first `snap` bytes of each frame.
    pub fn create(path: &Path, snap: usize) -> io::Result<Self> {
        Self::new(File::create(path)?, snap)
    }

    /// A capture into anything that takes bytes.
    pub fn new(to: impl Write + Send + 'static, snap: usize) -> io::Result<Self> {
        let (batches, queue) = bounded(QUEUE);
        let mut to = BufWriter::new(to);
        to.write_all(&pcapng::section_header())?;
        let writer = std::thread::Builder::new().name("capture".into()).spawn(move || write(to, &queue))?;
        Ok(Capture(Arc::new(Shared {
            batches: Some(batches),
            writer: Mutex::new(Some(writer)),
            interfaces: Mutex::new(0),
            snap,
        })))
    }

    /// Wraps a port, whose frames stand under this name in the file.
    pub fn port<P: Port>(&self, inner: P, name: &str) -> PcapPort<P> {
        let mut description = Vec::new();
        let kind = if inner.caps().ethernet { LinkType::Ethernet } else { LinkType::Raw };
        pcapng::interface_description(&mut description, name, kind, self.0.snap);
        // Numbers are places in the file, so that they are given under the lock. Unlike frames a
        // description must not be lost: this waits, before the port is in use.
        let mut given = self.0.interfaces.lock().unwrap_or_else(|e| e.into_inner());
        let interface = *given;
        *given += 1;
        if let Some(batches) = &self.0.batches {
            let _ = batches.send(description);
        }
        drop(given);
        PcapPort { inner, capture: self.clone(), interface, pending: Vec::new(), frames: 0, lost: 0 }
    }

    /// Waits until everything is in the file, and gives the error that ended the writing before, if one did.
    /// Ports that still have the capture keep it open: drop them first.
    pub fn finish(self) -> io::Result<()> {
        match Arc::try_unwrap(self.0) {
            Ok(mut shared) => shared.close(),
            Err(_) => Err(io::Error::other("ports still write to the capture")),
        }
    }
}

impl Shared {
    fn close(&mut self) -> io::Result<()> {
        self.batches = None;
        let writer = self.writer.get_mut().unwrap_or_else(|e| e.into_inner()).take();
        match writer.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the capture's writer ended badly")),
            None => Ok(()),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Err(e) = self.close() {
            tracing::warn!("the capture file is incomplete: {e}");
        }
    }
}

/// The port that is written down.
pub struct PcapPort<P> {
    inner: P,
    capture: Capture,
    interface: u32,
    /// Blocks of this batch.
    pending: Vec<u8>,
    frames: u32,
    /// Frames that did not get into the file since the last that did.
    lost: u64,
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    In = 1,
    Out = 2,
}

impl<P: Port> PcapPort<P> {
    fn note(&mut self, packet: &Packet, direction: Direction, time: u64) {
        let data = packet.data();
        let kept = &data[..data.len().min(self.capture.0.snap)];
        let lost = std::mem::take(&mut self.lost);
        let packet = Enhanced {
            interface: self.interface,
            time,
            kept,
            original: data.len(),
            direction: Some(direction as u32),
            lost,
            comment: "",
        };
        pcapng::enhanced_packet(&mut self.pending, &packet);
        self.frames += 1;
    }

    fn hand_over(&mut self) {
        let frames = std::mem::take(&mut self.frames);
        if frames == 0 {
            return;
        }
        let batch = std::mem::take(&mut self.pending);
        let Some(batches) = &self.capture.0.batches else { return };
        if let Err(TrySendError::Full(mut batch) | TrySendError::Disconnected(mut batch)) =
            batches.try_send(batch)
        {
            self.lost += u64::from(frames);
            batch.clear();
            self.pending = batch;
        }
    }
}

impl<P: Port> Port for PcapPort<P> {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn receive(&mut self, pool: &mut Pool, out: &mut Vec<Packet>, max: usize) -> usize {
        let before = out.len();
        let count = self.inner.receive(pool, out, max);
        let time = now();
        for packet in &out[before..] {
            self.note(packet, Direction::In, time);
        }
        self.hand_over();
        count
    }

    /// Writes down what the device took. It tells how many, and which were refused it does not: those
    /// that left the queue are all written, up to a batch at a time.
    fn transmit(&mut self, pool: &mut Pool, queue: &mut VecDeque<Packet>, sent: &mut Sent) {
        let time = now();
        let mut rest = queue.split_off(queue.len().min(BATCH));
        while !queue.is_empty() {
            let start = self.pending.len();
            let lost = self.lost;
            let mut ends = Vec::with_capacity(queue.len());
            for packet in queue.iter() {
                self.note(packet, Direction::Out, time);
                ends.push(self.pending.len());
            }
            let offered = queue.len();
            self.inner.transmit(pool, queue, sent);
            let gone = offered - queue.len();
            // Unsay those that stayed.
            self.pending.truncate(gone.checked_sub(1).map_or(start, |last| ends[last]));
            self.frames = gone as u32;
            if gone == 0 {
                self.lost = lost;
            }
            self.hand_over();
            if !queue.is_empty() {
                break;
            }
            let next = rest.split_off(rest.len().min(BATCH));
            queue.append(&mut rest);
            rest = next;
        }
        queue.append(&mut rest);
    }

    fn check(&mut self) -> Status {
        self.inner.check()
    }

    fn set_mtu(&mut self, mtu: u32) -> Result<(), OpenError> {
        self.inner.set_mtu(mtu)
    }

    fn shorten(&mut self) {
        self.inner.shorten();
    }

    fn fd(&self) -> Option<RawFd> {
        self.inner.fd()
    }

    fn driver(&self) -> Option<InUse> {
        self.inner.driver()
    }

    fn waiting(&self) -> Option<bool> {
        self.inner.waiting()
    }

    fn steered(&self) -> bool {
        self.inner.steered()
    }

    fn epoch(&self) -> u32 {
        self.inner.epoch()
    }

    fn overruns(&mut self) -> u64 {
        self.inner.overruns()
    }
}

/// Writes batches as they come; what is buffered goes to the file whenever nothing waits.
fn write(mut to: impl Write, queue: &Receiver<Vec<u8>>) -> io::Result<()> {
    for batch in queue {
        to.write_all(&batch)?;
        if queue.is_empty() {
            to.flush()?;
        }
    }
    to.flush()
}

/// Nanoseconds since 1970. A capture is read beside other logs, so it is the one place with wall time.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Batches that may wait for the writer.
const QUEUE: usize = 256;
/// Frames written down before they are offered to the device.
const BATCH: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::io::memory::{self, Config};

    /// A file in memory, whose bytes are to be had when it is closed.
    struct Bytes(Vec<u8>, mpsc::Sender<Vec<u8>>);

    impl Write for Bytes {
        fn write(&mut self, b: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(b);
            Ok(b.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Drop for Bytes {
        fn drop(&mut self) {
            let _ = self.1.send(std::mem::take(&mut self.0));
        }
    }

    /// The blocks of a file: type and body.
    fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let word = |b: &[u8], at: usize| u32::from_ne_bytes(*b[at..].first_chunk().unwrap());
        let mut found = Vec::new();
        while !file.is_empty() {
            let length = word(file, 4) as usize;
            assert_eq!(word(file, length - 4) as usize, length, "both lengths agree");
            found.push((word(file, 0), file[8..length - 4].to_vec()));
            file = &file[length..];
        }
        found
    }

    fn frame(byte: u8, len: usize) -> Packet {
        Packet::from_slice(&vec![byte; len])
    }

    #[test]
    fn both_directions_stand_in_the_file_with_what_the_device_took() {
        let (done, bytes) = mpsc::channel();
        let capture = Capture::new(Bytes(Vec::new(), done), 100).unwrap();
        let (a, b, _) = memory::pair(Config { capacity: 2, ..Config::default() });
        let (mut a, mut b) = (capture.port(a, "left"), capture.port(b, "right"));
        let (mut pool, mut out, mut sent) = (Pool::new(8), Vec::new(), Sent::default());
        let mut queue: VecDeque<_> = (1..=4).map(|n| frame(n, 60)).collect();
        a.transmit(&mut pool, &mut queue, &mut sent);
        assert_eq!((queue.len(), sent.packets), (2, 2));
        b.receive(&mut pool, &mut out, 64);
        a.transmit(&mut pool, &mut queue, &mut sent);
        assert_eq!((queue.len(), sent.packets), (0, 4));
        b.transmit(&mut pool, &mut VecDeque::from([frame(9, 300)]), &mut sent);
        drop((a, b));
        capture.finish().unwrap();

        let file = blocks(&bytes.recv().unwrap());
        assert_eq!(file[0].0, 0x0a0d_0d0a);
        assert!(file[1].0 == 1 && file[2].0 == 1);
        assert!(file[1].1.windows(4).any(|w| w == b"left"));
        let packets: Vec<_> = file[3..]
            .iter()
            .map(|(kind, body)| {
                assert_eq!(*kind, 6);
                let word = |at: usize| u32::from_ne_bytes(*body[at..].first_chunk().unwrap());
                let options = 20 + (word(12) as usize).next_multiple_of(4);
                (word(0), body[20], word(12), word(16), word(options + 4))
            })
            .collect();
        let (incoming, outgoing) = (1, 2);
        assert_eq!(
            packets,
            [
                (0, 1, 60, 60, outgoing),
                (0, 2, 60, 60, outgoing),
                (1, 1, 60, 60, incoming),
                (1, 2, 60, 60, incoming),
                (0, 3, 60, 60, outgoing),
                (0, 4, 60, 60, outgoing),
                (1, 9, 100, 300, outgoing),
            ]
        );
    }

    #[test]
    fn a_writer_that_fails_does_not_hold_up_the_port() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(libc::ENOSPC))
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::Error::from_raw_os_error(libc::ENOSPC))
            }
        }
        let capture = Capture::new(Broken, 64).unwrap();
        let (a, mut b, _) = memory::pair(Config::default());
        let mut a = capture.port(a, "a");
        let (mut pool, mut out, mut sent) = (Pool::new(8), Vec::new(), Sent::default());
        for _ in 0..1_000 {
            a.transmit(&mut pool, &mut VecDeque::from([frame(1, 60)]), &mut sent);
            b.receive(&mut pool, &mut out, 64);
        }
        assert_eq!((out.len(), sent.packets), (1_000, 1_000));
        drop(a);
        assert_eq!(capture.finish().unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    }
}
