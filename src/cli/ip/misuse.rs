//! Words that can't be obeyed: what iproute2 says of them, with its exit codes, and one sentence more.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use super::super::complain;
use crate::control::protocol::Family;

/// What iproute2 ends with where words are not understood: `exit(-1)`.
const NOT_UNDERSTOOD: u8 = 255;
/// Where an address or a prefix isn't one.
const NO_VALUE: u8 = 1;
/// Where the kernel would have refused, or where this router can't do what iproute2 can.
pub(super) const REFUSED: u8 = 2;

/// What is wrong with some words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misuse {
    /// As iproute2 says it, where it says anything.
    pub(super) said: Option<String>,
    /// What would be right.
    pub(super) text: String,
    pub(super) code: u8,
}

impl Misuse {
    /// In iproute2's words and ours.
    pub(super) fn new(code: u8, said: impl Into<String>, text: impl Into<String>) -> Self {
        Misuse { said: Some(said.into()), text: text.into(), code }
    }

    /// Something is said twice or is nothing at all (`duparg2`).
    pub(super) fn garbage(key: &str, word: &str) -> Self {
        let said = format!("Error: either \"{key}\" is duplicate, or \"{word}\" is a garbage.");
        Misuse::new(
            NOT_UNDERSTOOD,
            said,
            format!("'{word}' is one word too many, or none that is known: see `sekisho ip --help`"),
        )
    }

    /// Something is said twice (`duparg`).
    pub(super) fn twice(key: &str, word: &str) -> Self {
        let said = format!("Error: duplicate \"{key}\": \"{word}\" is the second value.");
        Misuse::new(NOT_UNDERSTOOD, said, format!("'{key}' is said twice: leave one of them out"))
    }

    /// A value is none (`invarg`); `said` is what iproute2 calls it.
    pub(super) fn value(word: &str, said: &str, text: impl Into<String>) -> Self {
        Misuse::new(NOT_UNDERSTOOD, format!("Error: argument \"{word}\" is wrong: {said}"), text)
    }

    /// Words end too early (`incomplete_command`).
    pub(super) fn incomplete(word: &str) -> Self {
        let said = "Command line is not complete. Try option \"help\"";
        Misuse::new(NOT_UNDERSTOOD, said, format!("'{word}' has nothing behind it: give its value"))
    }

    /// Something can't be left out.
    pub(super) fn missing(code: u8, said: &str, text: impl Into<String>) -> Self {
        Misuse::new(code, said, text)
    }

    /// No prefix of the family (`get_prefix`), or no address (`get_addr`).
    pub(super) fn expected(what: &str, family: Option<Family>, word: &str) -> Self {
        let of = family_name(family);
        let example = match (what, family) {
            ("prefix", Some(Family::Inet)) => "10.1.0.0/24, an address, or default",
            ("prefix", Some(Family::Inet6)) => "fd01::/64, an address, or default",
            ("prefix", None) => "10.1.0.0/24 or fd01::/64, an address, or default",
            (_, Some(Family::Inet)) => "10.1.0.2",
            (_, Some(Family::Inet6)) => "fd01::2",
            (_, None) => "10.1.0.2 or fd01::2",
        };
        let said = format!("Error: {of} {what} is expected rather than \"{word}\".");
        let kind = family.map_or("", |f| if f == Family::Inet { "IPv4 " } else { "IPv6 " });
        Misuse::new(NO_VALUE, said, format!("'{word}' is no {kind}{what}: write one like {example}"))
    }

    /// Says it on stderr. Nobody can be told if that fails.
    pub(super) fn say(&self) {
        if let Some(said) = &self.said {
            let _ = writeln!(std::io::stderr(), "{said}");
        }
        if !self.text.is_empty() {
            complain(&self.text);
        }
    }

    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

/// What iproute2 can do and this router can't, or what it would refuse in words of its own.
impl From<String> for Misuse {
    fn from(text: String) -> Self {
        Misuse { said: None, text, code: REFUSED }
    }
}

impl From<&str> for Misuse {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// As `family_name_verbose`.
fn family_name(family: Option<Family>) -> &'static str {
    match family {
        Some(Family::Inet) => "inet",
        Some(Family::Inet6) => "inet6",
        None => "any valid",
    }
}
