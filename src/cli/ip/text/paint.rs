//! iproute2's colours: of a dark or a light ground it knows nothing here, but neither of `NO_COLOR`.

use std::io::IsTerminal;

use super::super::words::{Color, Options};

/// Whether to paint.
#[derive(Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    pub(super) fn of(opts: &Options) -> Self {
        Paint(match opts.color {
            Color::Never => false,
            Color::Auto => std::io::stdout().is_terminal(),
            Color::Always => true,
        })
    }

    /// The name of a link: cyan.
    pub(super) fn name(self, text: &str) -> String {
        self.with("36", text)
    }

    /// A MAC: yellow.
    pub(super) fn mac(self, text: &str) -> String {
        self.with("33", text)
    }

    /// What stands for `addr`: magenta if it is of IPv4, blue if of IPv6; a word like `default` as it is.
    pub(super) fn address(self, addr: &str, text: &str) -> String {
        match (addr.contains(':'), addr.starts_with(|c: char| c.is_ascii_digit())) {
            (true, _) => self.with("34", text),
            (false, true) => self.with("35", text),
            (false, false) => text.to_owned(),
        }
    }

    /// The state of a link: green where it is up, red where it is down.
    pub(super) fn state(self, state: &str, text: &str) -> String {
        match state {
            "UP" => self.with("32", text),
            "DOWN" => self.with("31", text),
            _ => text.to_owned(),
        }
    }

    /// The codes are those of ECMA-48 §8.3.117 (SGR).
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
