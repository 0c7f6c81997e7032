//! What of SCTP (RFC 9260 §3.1) a router has to know: the ports stand first, and the checksum is another.
//!
//! ```text
//! +-------------------------------+-------------------------------+
//! |          source port          |       destination port        |
//! +-------------------------------+-------------------------------+
//! |                       verification tag                        |
//! +---------------------------------------------------------------+
//! |          CRC-32c of header and chunks, little-endian          |
//! +---------------------------------------------------------------+
//! ```

use super::bytes::put;

/// Bytes of the common header.
pub const HEADER_LEN: usize = 12;
/// Where the checksum is, from the header.
pub const CHECKSUM_AT: usize = 8;

/// Computes the checksum of a whole packet and writes it; no change to one without a header.
pub fn fill_checksum(packet: &mut [u8]) {
    if packet.len() >= HEADER_LEN {
        put(packet, CHECKSUM_AT, [0; 4]);
        let crc = crc32c(packet);
        put(packet, CHECKSUM_AT, crc.to_le_bytes());
    }
}

/// Whether the checksum of a whole packet is right; not so for one without a header.
pub fn is_intact(packet: &[u8]) -> bool {
    let Some((header, chunks)) = packet.split_at_checked(HEADER_LEN) else { return false };
    let (ports_and_tag, field) = header.split_at(CHECKSUM_AT);
    let crc = [ports_and_tag, &[0; 4], chunks].into_iter().fold(!0, update);
    field == (!crc).to_le_bytes()
}

/// CRC-32c (RFC 9260 appendix A).
pub fn crc32c(bytes: &[u8]) -> u32 {
    !update(!0, bytes)
}

fn update(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, b| TABLE[usize::from(crc as u8 ^ b)] ^ crc >> 8)
}

/// The effect of each byte, for the reflected polynomial 0x1edc6f41.
const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        // RFC 3720 §B.4: 32 bytes of zeros, of ones.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn what_the_field_held_does_not_matter() {
        let (mut a, mut b) = ([7; 20], [7; 20]);
        b[8..12].fill(0);
        fill_checksum(&mut a);
        fill_checksum(&mut b);
        assert_eq!(a, b);
        assert_ne!(a[8..12], [0; 4]);
        let mut short = [7; 11];
        fill_checksum(&mut short);
        assert_eq!(short, [7; 11]);
        assert!(is_intact(&a) && !is_intact(&a[..19]) && !is_intact(&short));
        a[19] ^= 1;
        assert!(!is_intact(&a));
    }
}
