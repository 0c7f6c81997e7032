//! Frames out of a capture file: pcap, in any of its four byte and time orders, and pcapng.
//!
//! ```text
//!  pcap     magic ┊ version ┊ … ┊ snaplen ┊ link type        then, for each frame: seconds ┊ fraction ┊ captured ┊ original ┊ bytes
//!  pcapng   blocks: type ┊ length ┊ body ┊ length again       section, interfaces (link type), packets (of an interface)
//! ```
//!
//! (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.) Reads as much as is asked for, and believes no length: a file is
//! others' bytes. Times and options are passed over. Knows nothing of what is in a frame.

use std::io::{self, Read};

/// The longest frame, and the longest block, that is read. A super-frame fits.
const MOST: usize = 1 << 20;
/// Interfaces of a section; files with more are refused.
const INTERFACES: usize = 1 << 12;

/// Why a file is not read further.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It begins as neither does.
    #[error("this is no capture: it begins neither as pcap nor as pcapng does")]
    Strange,
    /// It is not whole.
    #[error("the capture breaks off in the middle of frame {0}")]
    Short(u64),
    /// Something in it can't be.
    #[error("the capture is damaged at frame {0}: {1}")]
    Damaged(u64, &'static str),
    /// The system says no.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// How a frame begins (draft-ietf-opsawg-pcaplinktype).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// With an Ethernet header.
    Ethernet,
    /// With its IP header.
    Ip,
    /// With so many bytes in front of its network header, which may be another than IP's: Linux cooked, BSD's loopback.
    Cooked {
        /// How many.
        header: usize,
        /// Where among them the EtherType stands, as on the wire, if one does.
        ethertype: Option<usize>,
    },
    /// With something that is not known here.
    Other(u32),
}

/// A frame of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which of the file's, from 1.
    pub number: u64,
    /// How it begins.
    pub begins: Begins,
    /// Its bytes, as many as were captured.
    pub data: Vec<u8>,
    /// How many there were.
    pub len: usize,
}

/// A file, frame by frame.
#[derive(Debug)]
pub struct Frames<R> {
    from: R,
    format: Format,
    number: u64,
    over: bool,
}

#[derive(Debug)]
enum Format {
    Pcap { big: bool, begins: Begins },
    Pcapng { big: bool, interfaces: Vec<Begins> },
}

impl<R: Read> Frames<R> {
    /// Reads the beginning of a file.
    ///
    /// # Errors
    /// It is none, or can't be read.
    pub fn new(mut from: R) -> Result<Self, ReadError> {
        let magic: [u8; 4] = bytes(&mut from).map_err(|e| or_strange(e, 0))?;
        let format = match magic {
            SECTION => Format::Pcapng { big: section(&mut from)?, interfaces: Vec::new() },
            _ => {
                let big = match magic {
                    [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => true,
                    [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => false,
                    _ => return Err(ReadError::Strange),
                };
                let header: [u8; 20] = bytes(&mut from).map_err(|e| or_strange(e, 0))?;
                // The upper bits say how long a frame check sequence is.
                Format::Pcap { big, begins: begins(word(&header, 16, big) & 0xffff) }
            }
        };
        Ok(Frames { from, format, number: 0, over: false })
    }

    fn frame(&mut self) -> Result<Option<Frame>, ReadError> {
        let at = self.number + 1;
        let found = match &mut self.format {
            Format::Pcap { big, begins } => pcap(&mut self.from, *big, *begins, at)?,
            Format::Pcapng { big, interfaces } => pcapng(&mut self.from, big, interfaces, at)?,
        };
        Ok(found.map(|(begins, data, len)| {
            self.number = at;
            Frame { number: at, begins, data, len }
        }))
    }
}

impl<R: Read> Iterator for Frames<R> {
    type Item = Result<Frame, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.frame().transpose();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

/// What a frame is: how it begins, its bytes, and how many there were.
type Found = (Begins, Vec<u8>, usize);

fn pcap(from: &mut impl Read, big: bool, begins: Begins, at: u64) -> Result<Option<Found>, ReadError> {
    let Some(header) = or_end::<16>(from, at)? else { return Ok(None) };
    let (captured, len) = (word(&header, 8, big) as usize, word(&header, 12, big) as usize);
    Ok(Some((begins, body(from, captured, at)?, len)))
}

fn pcapng(
    from: &mut impl Read,
    big: &mut bool,
    interfaces: &mut Vec<Begins>,
    at: u64,
) -> Result<Option<Found>, ReadError> {
    loop {
        let Some(kind) = or_end::<4>(from, at)? else { return Ok(None) };
        if kind == SECTION {
            *big = section(from)?;
            interfaces.clear();
            continue;
        }
        let kind = word(&kind, 0, *big);
        let length: [u8; 4] = bytes(from).map_err(|e| or_short(e, at))?;
        let length = word(&length, 0, *big) as usize;
        if length < 12 || !length.is_multiple_of(4) {
            return Err(ReadError::Damaged(at, "a block says it has a length that none can have"));
        }
        let block = body(from, length - 8, at)?;
        let (block, again) = block.split_at(length - 12);
        if word(again, 0, *big) as usize != length {
            return Err(ReadError::Damaged(at, "a block says at its end that it has another length"));
        }
        let known = |n: u32| {
            let known = interfaces.get(n as usize).copied();
            known.ok_or(ReadError::Damaged(at, "it came by an interface that the file does not know"))
        };
        // Behind the fixed part: the bytes, and how many there were.
        let packet = |begins: Begins, fixed: usize, captured: usize, len: usize| {
            let data = block.get(fixed..).and_then(|b| b.get(..captured));
            let data = data.ok_or(ReadError::Damaged(at, "it is longer than its block"))?;
            Ok(Some((begins, data.to_vec(), len)))
        };
        match kind {
            INTERFACE if interfaces.len() >= INTERFACES => {
                return Err(ReadError::Damaged(at, "it has more interfaces than a machine"));
            }
            INTERFACE => interfaces.push(begins(u32::from(half(block, 0, *big)))),
            ENHANCED => {
                let sizes = (word(block, 12, *big) as usize, word(block, 16, *big) as usize);
                return packet(known(word(block, 0, *big))?, 20, sizes.0, sizes.1);
            }
            SIMPLE => {
                let len = word(block, 0, *big) as usize;
                return packet(known(0)?, 4, len.min(block.len().saturating_sub(4)), len);
            }
            OBSOLETE => {
                let sizes = (word(block, 12, *big) as usize, word(block, 16, *big) as usize);
                return packet(known(u32::from(half(block, 0, *big)))?, 20, sizes.0, sizes.1);
            }
            _ => {}
        }
    }
}

/// The rest of a section header, behind its type; gives whether numbers have their largest byte first.
fn section(from: &mut impl Read) -> Result<bool, ReadError> {
    let head: [u8; 8] = bytes(from).map_err(|e| or_strange(e, 0))?;
    let big = match head[4..] {
        [0x1a, 0x2b, 0x3c, 0x4d] => true,
        [0x4d, 0x3c, 0x2b, 0x1a] => false,
        _ => return Err(ReadError::Strange),
    };
    let length = word(&head, 0, big) as usize;
    if length < 28 || !length.is_multiple_of(4) {
        return Err(ReadError::Strange);
    }
    body(from, length - 12, 0)?;
    Ok(big)
}

fn begins(link_type: u32) -> Begins {
    match link_type {
        1 => Begins::Ethernet,
        // DLT_RAW by its several numbers; IPv4 and IPv6 alone.
        12 | 14 | 101 | 228 | 229 => Begins::Ip,
        // DLT_NULL and DLT_LOOP: the family's number is another on each system.
        0 | 108 => Begins::Cooked { header: 4, ethertype: None },
        // LINUX_SLL, LINUX_SLL2.
        113 => Begins::Cooked { header: 16, ethertype: Some(14) },
        276 => Begins::Cooked { header: 20, ethertype: Some(0) },
        other => Begins::Other(other),
    }
}

fn body(from: &mut impl Read, len: usize, at: u64) -> Result<Vec<u8>, ReadError> {
    if len > MOST {
        return Err(ReadError::Damaged(at, "it says it is longer than any frame is"));
    }
    let mut data = Vec::new();
    let read = from.take(len as u64).read_to_end(&mut data)?;
    if read < len { Err(ReadError::Short(at)) } else { Ok(data) }
}

fn bytes<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// So many bytes, or none because the file ends here.
fn or_end<const N: usize>(from: &mut impl Read, at: u64) -> Result<Option<[u8; N]>, ReadError> {
    let mut first = [0; 1];
    loop {
        match from.read(&mut first) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    let mut all = [0; N];
    all[0] = first[0];
    from.read_exact(&mut all[1..]).map_err(|e| or_short(e, at))?;
    Ok(Some(all))
}

fn or_short(e: io::Error, at: u64) -> ReadError {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::Short(at),
        _ => e.into(),
    }
}

fn or_strange(e: io::Error, at: u64) -> ReadError {
    match or_short(e, at) {
        ReadError::Short(_) => ReadError::Strange,
        other => other,
    }
}

fn word(b: &[u8], at: usize, big: bool) -> u32 {
    let word = b.get(at..).and_then(|b| b.first_chunk()).copied().unwrap_or_default();
    if big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
}

fn half(b: &[u8], at: usize, big: bool) -> u16 {
    let half = b.get(at..).and_then(|b| b.first_chunk()).copied().unwrap_or_default();
    if big { u16::from_be_bytes(half) } else { u16::from_le_bytes(half) }
}

/// The section header's type reads the same from both ends.
const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const INTERFACE: u32 = 1;
const OBSOLETE: u32 = 2;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(file: &[u8]) -> Result<Vec<Frame>, ReadError> {
        Frames::new(file)?.collect()
    }

    fn pcap_file(big: bool, frames: &[&[u8]]) -> Vec<u8> {
        let w = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let mut file = [w(0xa1b2_c3d4), [0; 4], [0; 4], [0; 4], w(65_535), w(1)].concat();
        for f in frames {
            file.extend([[0; 4], [0; 4], w(f.len() as u32), w(f.len() as u32)].concat());
            file.extend_from_slice(f);
        }
        file
    }

    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let len = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &len, &body, &len].concat()
    }

    #[test]
    fn both_byte_orders_of_pcap() {
        for big in [true, false] {
            let frames = read(&pcap_file(big, &[b"one", b"frame"])).unwrap();
            let data: Vec<_> = frames.iter().map(|f| (f.number, &f.data[..], f.len, f.begins)).collect();
            assert_eq!(
                data,
                [(1, &b"one"[..], 3, Begins::Ethernet), (2, &b"frame"[..], 5, Begins::Ethernet)]
            );
        }
    }

    #[test]
    fn blocks_of_pcapng() {
        let header =
            block(0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
        let tun = block(1, &[101, 0, 0, 0, 0, 0, 0, 0]);
        let eth = block(1, &[1, 0, 0, 0, 0, 0, 0, 0]);
        let mut packet = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0];
        packet.extend(b"hello");
        let unknown = block(77, b"whatever");
        let simple = block(3, &[3, 0, 0, 0, b'a', b'b', b'c']);
        let file = [header.clone(), tun, eth, unknown, block(6, &packet), simple].concat();
        let frames = read(&file).unwrap();
        assert_eq!(frames.len(), 2);
        assert_eq!(
            (frames[0].begins, &frames[0].data[..], frames[0].len),
            (Begins::Ethernet, &b"hello"[..], 9)
        );
        assert_eq!((frames[1].begins, &frames[1].data[..]), (Begins::Ip, &b"abc"[..]));
        assert!(matches!(read(&[header, block(6, &packet)].concat()), Err(ReadError::Damaged(1, _))));
    }

    #[test]
    fn what_is_no_capture_or_breaks_off_is_said() {
        assert!(matches!(read(b""), Err(ReadError::Strange)));
        assert!(matches!(read(b"GIF89a, and more of it"), Err(ReadError::Strange)));
        let whole = pcap_file(true, &[b"frame"]);
        assert!(matches!(read(&whole[..whole.len() - 1]), Err(ReadError::Short(1))));
        let mut huge = pcap_file(true, &[]);
        huge.extend([0xff; 16]);
        assert!(matches!(read(&huge), Err(ReadError::Damaged(1, _))));
    }

    proptest! {
        #[test]
        fn any_bytes(mut file in proptest::collection::vec(any::<u8>(), 0..200), magic in 0usize..4) {
            let magics = [[0xa1, 0xb2, 0xc3, 0xd4], [0x4d, 0x3c, 0xb2, 0xa1], SECTION, [0; 4]];
            if file.len() > 12 {
                file[..4].copy_from_slice(&magics[magic]);
                if magic == 2 {
                    file[4..12].copy_from_slice(&[28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a]);
                }
            }
            let _ = read(&file);
        }
    }
}
