//! Which router a verb talks to, and the question to whoever sits at the keyboard when several run.
//!
//! Knows nothing of what is asked of it then.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use crate::control::client::{Client, ClientError, Found};

/// The option of every verb that talks to a running router.
#[derive(Debug, clap::Args)]
pub(super) struct Control {
    /// The router's name or control socket; else $SEKISHO_CONTROL, else the only router running
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

impl Control {
    /// Where the option isn't given, `among` counts: what the verb has found of it among words that clap leaves alone.
    pub(super) fn or(self, among: Option<PathBuf>) -> Self {
        Control { control: self.control.or(among) }
    }

    /// Connects to the router that is meant; on a terminal, asks which if several run.
    ///
    /// # Errors
    /// There is none, or more than one and nobody to ask, or nobody who chose.
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        match Client::find(self.control.as_deref()) {
            Err(ClientError::Several(all)) if io::stdin().is_terminal() && io::stderr().is_terminal() => {
                match choice(&all, &mut io::stdin().lock(), &mut io::stderr()) {
                    Some(found) => Client::connect(found.path()),
                    None => Err(ClientError::Several(all)),
                }
            }
            other => other,
        }
    }
}

/// Asks until the answer is one of them. Nothing at all, or the end of the input, is no choice.
fn choice<'a>(all: &'a [Found], from: &mut impl BufRead, to: &mut impl Write) -> Option<&'a Found> {
    writeln!(to, "Several routers are running:").ok()?;
    for (number, found) in (1..).zip(all) {
        writeln!(to, "{number:>3} {found}").ok()?;
    }
    loop {
        write!(to, "Which one? [1-{}] ", all.len()).and_then(|()| to.flush()).ok()?;
        let mut said = String::new();
        from.read_line(&mut said).ok().filter(|&n| n > 0)?;
        match said.trim() {
            "" => return None,
            word => {
                let chosen = word.parse::<usize>().ok().and_then(|n| all.get(n.checked_sub(1)?));
                if chosen.is_some() {
                    return chosen;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_chooses_and_anything_else_is_asked_again() {
        let all: Vec<Found> = ["/a.sock", "/b.sock"].map(|p| Found::at(p.into())).into();
        let ask = |said: &str| {
            let mut told = Vec::new();
            let chosen = choice(&all, &mut said.as_bytes(), &mut told).map(|f| f.path().to_owned());
            (chosen, String::from_utf8(told).unwrap().matches("Which one? [1-2]").count())
        };
        assert_eq!(ask("2\n"), (Some("/b.sock".into()), 1));
        assert_eq!(ask("0\n3\nx\n-1\n99999999999999999999\n 1 \n"), (Some("/a.sock".into()), 6));
        assert_eq!(ask("\n"), (None, 1), "no choice");
        assert_eq!(ask("7"), (None, 2), "nobody there any more");
    }
}
