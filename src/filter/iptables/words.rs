//! One line of the text, cut into words as iptables-restore cuts it.
//!
//! Blanks separate words; between double quotes they don't, and a backslash there takes the next character as it is.
//! A closing quote ends its word, so `"1.1".1.1` is two.

/// The longest word, in bytes (`struct xt_param_buf`).
const LONGEST_WORD: usize = 1023;
/// The most words in a line (`MAX_ARGC`, less the three that the tool puts before them).
const MOST_WORDS: usize = 250;

/// Cuts a line into words.
pub(super) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted => {
                quoted = false;
                push(&mut words, &mut word)?;
            }
            '"' => quoted = true,
            '\\' if quoted => match chars.next() {
                Some(c) => word.push(c),
                None => break,
            },
            ' ' | '\t' if !quoted => {
                if !word.is_empty() {
                    push(&mut words, &mut word)?;
                }
            }
            c => word.push(c),
        }
    }
    if quoted {
        return Err("a quote is opened and not closed".into());
    }
    if !word.is_empty() {
        push(&mut words, &mut word)?;
    }
    Ok(words)
}

fn push(words: &mut Vec<String>, word: &mut String) -> Result<(), String> {
    if word.len() > LONGEST_WORD {
        return Err(format!("a word of {} bytes; {LONGEST_WORD} at most", word.len()));
    }
    if words.len() == MOST_WORDS {
        return Err(format!("more than {MOST_WORDS} words"));
    }
    words.push(std::mem::take(word));
    Ok(())
}

/// The longest word of a command line, in bytes (the kernel's `MAX_ARG_STRLEN`, less its end). It may be longer than one of
/// a text, for what becomes of it is written in shorter ones: a list of addresses as several rules.
const LONGEST_ARGUMENT: usize = 131_071;

/// Whether what a word of a command line says can be written in a text and read back.
pub(super) fn fits(word: &str) -> Result<(), String> {
    match word {
        _ if word.len() > LONGEST_ARGUMENT => {
            Err(format!("a word of {} bytes; {LONGEST_ARGUMENT} at most", word.len()))
        }
        _ if word.contains(|c: char| c.is_control() && c != '\t') => {
            Err("a word has a line's end or another such sign in it".into())
        }
        _ => Ok(()),
    }
}

/// Writes a text as one word, in quotes if it needs them.
pub(super) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '\'') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(split("-A  INPUT\t-j LOG").unwrap(), ["-A", "INPUT", "-j", "LOG"]);
        assert_eq!(split(r#"--comment "a b" x"#).unwrap(), ["--comment", "a b", "x"]);
        assert_eq!(split(r#"--comment "" x"#).unwrap(), ["--comment", "", "x"]);
        assert_eq!(split(r#""1.1".1.1"#).unwrap(), ["1.1", ".1.1"]);
        assert_eq!(split(r#"a"b c""#).unwrap(), ["ab c"]);
        assert_eq!(split(r#""a\"b\\c\'""#).unwrap(), [r#"a"b\c'"#]);
        assert_eq!(split(r"a\b").unwrap(), [r"a\b"]);
        assert_eq!(split("   ").unwrap(), Vec::<String>::new());
        assert!(split(r#"--comment "a b"#).is_err());
        assert!(split(r#"--comment "a\"#).is_err());
        assert!(split(&"x".repeat(1024)).is_err());
        assert!(split(&"x ".repeat(251)).is_err());
    }

    #[test]
    fn what_is_quoted_reads_back() {
        for text in ["", "plain_-0", "two words", r#"q"u'o\te"#, "\\", "ümlaut", "-", "a,b"] {
            assert_eq!(split(&quote(text)).unwrap(), [text]);
        }
        assert_eq!(quote("plain"), "plain");
        assert_eq!(quote("a'b"), r#""a\'b""#);
    }
}
