//! "Did you mean": the nearest of a few known words.
//!
//! Knows nothing of what the words stand for.

/// The candidate most like `word`, if any is like it: at most one edit in three letters, where an
/// edit is a letter put in, left out, exchanged, or swapped with the next. Case and `-` for `_` are free.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    candidates
        .into_iter()
        .map(|c| (distance(&word, &plain(c)), c))
        .filter(|(d, c)| *d <= (c.len().max(word.len()) / 3).max(1) && *d < c.len())
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// ` (did you mean x?)`, or nothing.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |c| format!(" (did you mean {c}?)"))
}

/// Words longer than this resemble nothing we know.
const LONGEST: usize = 40;

fn plain(word: &str) -> Vec<char> {
    word.chars().take(LONGEST).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Optimal string alignment: the rows of the usual table for i-2, i-1 and i letters of `a`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut two_up = Vec::new();
    let mut up: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let exchanged = up[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = exchanged.min(up[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(two_up[j - 2] + 1);
            }
            row.push(best);
        }
        two_up = std::mem::replace(&mut up, row);
    }
    up[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let d = |a: &str, b: &str| distance(&plain(a), &plain(b));
        for (a, b, n) in [
            ("", "", 0),
            ("", "abc", 3),
            ("metric", "metrik", 1),
            ("adress", "addresses", 3),
            ("rate", "raet", 1),
        ] {
            assert_eq!((d(a, b), d(b, a)), (n, n), "{a} {b}");
        }
    }

    #[test]
    fn only_what_is_alike_is_offered() {
        let keys = ["addresses", "mtu", "rp_filter", "device"];
        assert_eq!(nearest("adresses", keys), Some("addresses"));
        assert_eq!(nearest("RP-Filter", keys), Some("rp_filter"));
        assert_eq!(nearest("mut", keys), Some("mtu"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest("", keys), None);
    }
}
