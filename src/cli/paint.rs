//! Colour, where there is someone to see it.
//!
//! Knows nothing of what is painted.

use std::fmt::{self, Display};
use std::io::IsTerminal;

/// Whether to paint: on a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is dumb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// For what goes to stdout.
    pub fn stdout() -> Self {
        Paint(wanted() && std::io::stdout().is_terminal())
    }

    /// For what goes to stderr.
    pub fn stderr() -> Self {
        Paint(wanted() && std::io::stderr().is_terminal())
    }

    /// Whether it paints.
    pub fn is_on(self) -> bool {
        self.0
    }

    /// Never.
    pub fn plain() -> Self {
        Paint(false)
    }

    /// What matters most.
    pub fn bold<T: Display>(self, text: T) -> impl Display {
        self.with("1", text)
    }

    /// What is there for completeness.
    pub fn dim<T: Display>(self, text: T) -> impl Display {
        self.with("2", text)
    }

    /// What is wrong.
    pub fn red<T: Display>(self, text: T) -> impl Display {
        self.with("31", text)
    }

    /// What is well.
    pub fn green<T: Display>(self, text: T) -> impl Display {
        self.with("32", text)
    }

    /// What is odd.
    pub fn yellow<T: Display>(self, text: T) -> impl Display {
        self.with("33", text)
    }

    /// Names and addresses.
    pub fn cyan<T: Display>(self, text: T) -> impl Display {
        self.with("36", text)
    }

    /// The codes are those of ECMA-48 §8.3.117 (SGR). Padding asked for goes inside.
    fn with<T: Display>(self, code: &'static str, text: T) -> impl Display {
        Painted { code: self.0.then_some(code), text }
    }
}

fn wanted() -> bool {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|t| t != "dumb")
}

struct Painted<T> {
    code: Option<&'static str>,
    text: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            None => self.text.fmt(f),
            Some(code) => {
                write!(f, "\x1b[{code}m")?;
                self.text.fmt(f)?;
                f.write_str("\x1b[0m")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_counts_only_what_is_seen() {
        assert_eq!(format!("{:>4}|", Paint(true).red("ab")), "\x1b[31m  ab\x1b[0m|");
        assert_eq!(format!("{:<4}|", Paint::plain().red("ab")), "ab  |");
    }
}
