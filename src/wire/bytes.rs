//! Big-endian fields in byte slices, without a way to panic.
//!
//! A read beyond the end gives zero, a write there does nothing: after a view's length check neither
//! happens, and before it neither can do harm.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::base::Mac;

/// `N` bytes from `at` on.
#[inline]
fn array<const N: usize>(b: &[u8], at: usize) -> [u8; N] {
    b.get(at..).and_then(|b| b.first_chunk()).copied().unwrap_or([0; N])
}

/// Writes `N` bytes at `at`.
#[inline]
pub(super) fn put<const N: usize>(b: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(field) = b.get_mut(at..).and_then(|b| b.first_chunk_mut()) {
        *field = value;
    }
}

#[inline]
pub(super) fn u8_at(b: &[u8], at: usize) -> u8 {
    b.get(at).copied().unwrap_or(0)
}

#[inline]
pub(super) fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(b, at))
}

#[inline]
pub(super) fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(b, at))
}

#[inline]
pub(super) fn v4_at(b: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::from(array::<4>(b, at))
}

#[inline]
pub(super) fn v6_at(b: &[u8], at: usize) -> Ipv6Addr {
    Ipv6Addr::from(array::<16>(b, at))
}

#[inline]
pub(super) fn mac_at(b: &[u8], at: usize) -> Mac {
    Mac(array(b, at))
}

#[inline]
pub(super) fn put_u8(b: &mut [u8], at: usize, value: u8) {
    put(b, at, [value]);
}

#[inline]
pub(super) fn put_u16(b: &mut [u8], at: usize, value: u16) {
    put(b, at, value.to_be_bytes());
}

#[inline]
pub(super) fn put_u32(b: &mut [u8], at: usize, value: u32) {
    put(b, at, value.to_be_bytes());
}
