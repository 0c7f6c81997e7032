//! Whole frames in and out of a device, past the host's own stack (packet(7)).

use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::{Doing, ProbeError, left};
use crate::lab::netns::{bind, device_index, readable, set_option, socket};

/// A socket that sees every frame that comes in through a device, and can send any.
#[derive(Debug)]
pub struct Wiretap {
    device: String,
    socket: UdpSocket,
}

/// A frame that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it was read.
    pub at: Instant,
    /// From the Ethernet header to the last byte of data.
    pub bytes: Vec<u8>,
}

impl Wiretap {
    /// On a device of the calling thread's namespace. Frames that leave through it are not seen.
    pub fn open(device: &str) -> Result<Self, ProbeError> {
        let open = || {
            let fd = socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from((libc::ETH_P_ALL as u16).to_be()))?;
            let on = 1i32.to_ne_bytes();
            set_option(&fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &on)?;
            set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER.to_ne_bytes()).or_else(
                |_| set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER.to_ne_bytes()),
            )?;
            bind(&fd, &link_address(device_index(device)?))?;
            // send(2) and recv(2) are the same for every kind of socket.
            let socket = UdpSocket::from(fd);
            socket.set_nonblocking(true)?;
            // Between socket(2) and bind(2) it heard every device.
            while socket.recv(&mut [0]).is_ok() {}
            io::Result::Ok(socket)
        };
        let socket = open().doing(format!("tapping {device}"))?;
        Ok(Wiretap { device: device.into(), socket })
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) -> Result<(), ProbeError> {
        let sent = self.socket.send(frame).doing(format!("sending on {}", self.device))?;
        debug_assert_eq!(sent, frame.len(), "packet sockets take a frame or leave it");
        Ok(())
    }

    /// The next frame, waiting until `deadline` at most.
    pub fn next(&self, deadline: Instant) -> Result<Option<Frame>, ProbeError> {
        let mut buffer = vec![0; LARGEST];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(n) => {
                    buffer.truncate(n);
                    return Ok(Some(Frame { at: Instant::now(), bytes: buffer }));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // What a device that went down leaves behind (ENETDOWN); it may come up again.
                Err(e) if e.kind() == io::ErrorKind::NetworkDown => {}
                Err(e) => return Err(e).doing(format!("reading from {}", self.device)),
            }
            let wait = left(deadline).unwrap_or(Duration::ZERO);
            if !readable(&self.socket, wait).doing(format!("waiting on {}", self.device))? && wait.is_zero() {
                return Ok(None);
            }
        }
    }

    /// The frames that are there, and those that come until one satisfies `last` or the deadline is over.
    pub fn until(
        &self,
        deadline: Instant,
        mut last: impl FnMut(&Frame) -> bool,
    ) -> Result<Vec<Frame>, ProbeError> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next(deadline)? {
            let done = last(&frame);
            frames.push(frame);
            if done {
                break;
            }
        }
        Ok(frames)
    }
}

/// Room for what comes between two looks.
const RECEIVE_BUFFER: i32 = 8 << 20;
/// A super-frame of 64 KB and its headers.
const LARGEST: usize = 65_536 + 64;

/// A sockaddr_ll for all protocols, see packet(7).
fn link_address(device: u32) -> Vec<u8> {
    let mut bytes = (libc::AF_PACKET as u16).to_ne_bytes().to_vec();
    bytes.extend((libc::ETH_P_ALL as u16).to_be_bytes());
    bytes.extend(device.to_ne_bytes());
    bytes.extend([0; 12]);
    bytes
}
