//! Which lines of the log are written: `SEKISHO_LOG`, in the words of tracing's filters.
//!
//! ```text
//! SEKISHO_LOG=debug                     more of everything
//! SEKISHO_LOG=rules=off                 no lines of LOG rules; all else as usual
//! SEKISHO_LOG=warn,sekisho::run=debug   by part of the program
//! ```
//!
//! A word that tracing would take for the name of a part that never says anything would silence the log: here it is an error.

use std::io;

use tracing::level_filters::LevelFilter;

/// What is written where nothing else is said.
const USUAL: LevelFilter = LevelFilter::INFO;

/// The environment's words, for tracing.
///
/// # Errors
/// One of them chooses nothing.
pub(super) fn from_environment() -> io::Result<String> {
    let words = std::env::var_os("SEKISHO_LOG").unwrap_or_default();
    understood(&words.to_string_lossy()).map_err(io::Error::other)
}

/// The words with what they leave out, if all of them choose something.
fn understood(words: &str) -> Result<String, String> {
    let mut all = Vec::new();
    for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let (part, level) = word.split_once('=').map_or((None, word), |(part, level)| (Some(part), level));
        let names_a_level = !level.is_empty() && level.parse::<LevelFilter>().is_ok();
        if !names_a_level || !part.is_none_or(is_part) {
            return Err(format!(
                "SEKISHO_LOG: '{}' chooses nothing: it takes a level (off, error, warn, info, debug or trace), or PART=LEVEL, \
                 where PART is rules, sekisho, or a part of it (sekisho::run)",
                word.chars().take(LONGEST).collect::<String>().escape_debug()
            ));
        }
        all.push(word.to_owned());
    }
    if all.iter().all(|word| word.contains('=')) {
        all.insert(0, USUAL.to_string());
    }
    Ok(all.join(","))
}

/// Whether something in this program logs under this name.
fn is_part(name: &str) -> bool {
    let of_ours = name.strip_prefix("sekisho").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    name == "rules" || (of_ours && plain)
}

/// Characters of a word that are repeated to whoever wrote it.
const LONGEST: usize = 60;

#[cfg(test)]
mod tests {
    use tracing_subscriber::EnvFilter;

    use super::*;

    #[test]
    fn words_choose_something_or_are_refused() {
        for (words, filter) in [
            ("", "info"),
            (" , ,", "info"),
            ("debug", "debug"),
            ("INFO,rules=off", "INFO,rules=off"),
            ("rules=off", "info,rules=off"),
            ("sekisho::run::watch=3, warn", "sekisho::run::watch=3,warn"),
        ] {
            let understood = understood(words).unwrap();
            assert_eq!(understood, filter);
            assert!(EnvFilter::try_new(understood).is_ok(), "{filter}");
        }
        let long = "x".repeat(300);
        for words in [
            "nonsense",
            "rules",
            "rules=",
            "rules=loud",
            "=",
            "=info",
            "a=b=c",
            "rules=info=info",
            "[",
            "[x",
            "6",
            "-1",
            "info; rm",
            "sekishox=debug",
            "sekisho[{x}]=debug",
            "mio=debug",
            "sekisho::\u{1b}[2J=debug",
            "\u{fffd}",
            &long,
        ] {
            let no = understood(&format!("warn,{words}")).unwrap_err();
            assert!(no.starts_with("SEKISHO_LOG: '") && no.len() < 300, "{no}");
            assert!(!no.contains('\u{1b}'), "{no}");
        }
    }

    #[test]
    fn a_level_for_all_is_in_the_place_of_the_usual_one() {
        let most = |words: &str| EnvFilter::try_new(understood(words).unwrap()).unwrap().max_level_hint();
        assert_eq!(most(""), Some(LevelFilter::INFO));
        assert_eq!(most("debug"), Some(LevelFilter::DEBUG));
        assert_eq!(most("error"), Some(LevelFilter::ERROR));
        assert_eq!(most("off"), Some(LevelFilter::OFF));
    }
}
