//! A host that answers the generator's packets: each goes back to where it came from.
//!
//! A flow of which one direction is silent is a new flow for ever, to the kernel's conntrack as to ours; what is to be
//! measured is established ones. By a packet socket, at the rate at which flows are made. Knows nothing of rivals.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::io::netlink::Netlink;
use crate::io::sys::{bind_packet, packet_socket};
use crate::lab::Netns;
use crate::lab::load::Traffic;
use crate::lab::netns::{readable, set_option};

/// Answers until it is dropped.
#[derive(Debug)]
pub(super) struct Answerer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answerer {
    /// Answers what arrives at a device of the traffic's packets.
    pub(super) fn start(space: &Netns, device: &str, traffic: &Traffic) -> io::Result<Self> {
        let socket = space.run(|| -> io::Result<UdpSocket> {
            let index = Netlink::open().and_then(|mut n| n.link_index(device)).map_err(io::Error::other)?;
            let socket = packet_socket()?;
            // Room for what comes while this thread does not run; where that is too much to ask there is less.
            let _ = set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &BUFFER.to_ne_bytes())
                .or_else(|_| set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &BUFFER.to_ne_bytes()));
            bind_packet(socket.as_fd(), index, true)?;
            // The standard library's calls without an address are those of any bound socket.
            Ok(UdpSocket::from(socket))
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let sample = traffic.frame(0);
        let thread = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || answer(&socket, &sample, &stop))
        };
        Ok(Answerer { stop, thread: Some(thread) })
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends within a look and does not panic.
            let _ = thread.join();
        }
    }
}

fn answer(socket: &UdpSocket, sample: &[u8], stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stop.load(Relaxed) {
        if !readable(socket, LOOK).unwrap_or(false) {
            continue;
        }
        while let Ok(n) = socket.recv(&mut buffer) {
            let frame = &mut buffer[..n];
            if is_one(frame, sample) {
                turn(frame);
                // One that can't be sent is one that does not arrive: its flow's next is answered.
                let _ = socket.send(frame);
            }
        }
    }
}

/// What waits for this thread, in bytes.
const BUFFER: i32 = 32 << 20;
/// How often to look whether it is over.
const LOOK: Duration = Duration::from_millis(10);
/// Where the IPv4 addresses and the ports stand, and how far the bytes go that are the same in all packets: the mark.
const ADDRESSES: usize = 26;
const PORTS: usize = 34;
const MARK: std::ops::Range<usize> = 42..46;

/// Whether it is the traffic's and on its way to the server: what this host sends itself comes by here, too.
fn is_one(frame: &[u8], sample: &[u8]) -> bool {
    let same = |range: std::ops::Range<usize>| frame.get(range.clone()) == sample.get(range);
    let destination = frame.get(ADDRESSES + 4..ADDRESSES + 8) == sample.get(ADDRESSES + 4..ADDRESSES + 8);
    same(12..14) && same(23..24) && same(MARK) && destination
}

/// Exchanges sender and receiver. No checksum changes: sums don't know the order of their terms.
fn turn(frame: &mut [u8]) {
    let mut exchange = |a: usize, b: usize, length: usize| (0..length).for_each(|i| frame.swap(a + i, b + i));
    exchange(0, 6, 6);
    exchange(ADDRESSES, ADDRESSES + 4, 4);
    exchange(PORTS, PORTS + 2, 2);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mac;
    use crate::wire::checksum::checksum;

    #[test]
    fn an_answer_goes_back_and_is_none_that_is_answered() {
        let mac = |last| Mac([2, 0, 0, 0, 0, last]);
        let traffic = Traffic::new(mac(1), mac(2), [10, 0, 0, 2].into(), [10, 0, 1, 2].into()).flows(9);
        let (sample, mut frame) = (traffic.frame(0), traffic.frame(5));
        assert!(is_one(&frame, &sample));
        let sent = frame.clone();
        turn(&mut frame);
        assert_eq!(
            (&frame[..6], &frame[26..30], &frame[36..38]),
            (&sent[6..12], &sent[30..34], &sent[34..36])
        );
        assert!(!is_one(&frame, &sample) && !is_one(&frame[..30], &sample));
        assert_eq!(checksum(&frame[14..34]), 0);
        turn(&mut frame);
        assert_eq!(frame, sent);
    }
}
