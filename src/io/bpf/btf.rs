//! The running kernel's own types (BTF): enough to find a function that programs may call by its name.
//!
//! ```text
//!  ├ header: magic ┊ version ┊ flags ┊ its length ┊ types at, length ┊ strings at, length ┼ types … ┼ strings … ┤
//!
//!  type    ├ name, in the strings ┊ kind:5 at bit 24, count:16 ┊ size or type ┼ as much more as the kind has ┤
//! ```
//!
//! Types are numbered from 1 in the order they stand; a program calls a function by that number.

use std::fs;

/// The number of a function of this kernel; `None` where it has none of the name, or says nothing of its types.
pub fn function(name: &str) -> Option<i32> {
    find(&fs::read("/sys/kernel/btf/vmlinux").ok()?, name)
}

fn find(btf: &[u8], name: &str) -> Option<i32> {
    let word = |at: usize| btf.get(at..)?.first_chunk().map(|w| u32::from_ne_bytes(*w));
    if btf.first_chunk() != Some(&MAGIC.to_ne_bytes()) {
        return None;
    }
    let base = word(4)? as usize;
    let (types, length) = (base + word(8)? as usize, word(12)? as usize);
    let strings = btf.get(base + word(16)? as usize..)?;
    let (mut at, mut number) = (types, 1);
    while at < types + length {
        let info = word(at + 4)?;
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let is_it = || {
            let text = strings.get(word(at)? as usize..)?.strip_prefix(name.as_bytes())?;
            (text.first() == Some(&0)).then_some(())
        };
        if kind == FUNC && is_it().is_some() {
            return Some(number);
        }
        at += HEADER + more(kind, count)?;
        number += 1;
    }
    None
}

/// Bytes behind a type's header (linux/btf.h, `BTF_KIND_…`).
fn more(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Pointers, forward declarations, names, qualifiers, functions, floats, tags of types.
        2 | 7..=12 | 16 | 18 => 0,
        // Integers, variables, tags of declarations.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Structures, unions, sections, wide enumerations.
        4 | 5 | 15 | 19 => 12 * count,
        // Enumerations, parameters.
        6 | 13 => 8 * count,
        _ => return None,
    })
}

/// linux/btf.h.
const MAGIC: u16 = 0xeb9f;
const FUNC: u32 = 12;
/// A `struct btf_type`.
const HEADER: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    /// A structure with one member, an integer, a function "ab", a function "abc".
    fn sample() -> Vec<u8> {
        let types: [u32; 20] = [
            0,
            4 << 24 | 1,
            4,
            1,
            2,
            0, // struct
            1,
            1 << 24,
            4,
            32, // int
            1,
            12 << 24,
            0, // "ab"
            4,
            12 << 24,
            0, // "abc"
            0,
            2 << 24,
            0,
            0,
        ];
        let header = [0, 24, 0, 76, 76, 8];
        let words: Vec<u8> =
            header[1..].iter().chain(&types[..19]).flat_map(|w: &u32| w.to_ne_bytes()).collect();
        let magic = [&MAGIC.to_ne_bytes()[..], &[1, 0]].concat();
        [magic, words, b"\0ab\0abc\0".to_vec()].concat()
    }

    #[test]
    fn functions_are_found_by_their_whole_name() {
        let btf = sample();
        assert_eq!((find(&btf, "ab"), find(&btf, "abc"), find(&btf, "abcd")), (Some(3), Some(4), None));
        for end in 0..btf.len() {
            let _ = find(&btf[..end], "nobody");
        }
        assert_eq!(find(&btf[..20], "ab"), None);
        assert_eq!(find(b"", "ab"), None);
    }
}
