//! Words from outside, as a message may quote them.

/// Characters of a word that are shown at most.
const LONGEST: usize = 64;

/// A word from outside as a terminal may see it: control characters escaped, cut where it gets long.
pub fn shown(word: &str) -> String {
    let mut shown: String = word.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if word.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        assert_eq!(shown("wan"), "wan");
        assert_eq!(shown(&"é".repeat(64)), "é".repeat(64));
        assert_eq!(shown(&"é".repeat(5_000)), format!("{}…", "é".repeat(64)));
        assert_eq!(shown("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
    }
}
