//! `sekisho diff`: what a reload would change.

use std::path::PathBuf;
use std::process::ExitCode;

use super::out::{Out, Stop};
use super::router::Control;
use super::{Outcome, Paint, Run, complain};
use crate::control::protocol::Verb;
use crate::control::view::Difference;

/// Show what a reload would change, and change nothing.
///
/// Compares the running router, with all that was changed since it read its file, with FILE: links, addresses, routes,
/// neighbors, rules, and the keys of each section. A line with `-` is as it is now, one with `+` as it would be; a line with
/// `!` is about both. Of each kind 1000 differences are shown, and then how many more there are.
///
/// What a reload would refuse is refused here, in the same words. Keys that a router takes for good when it starts are
/// shown with what else differs, marked `takes a restart`, before it is. Devices are looked at, not opened: one that another
/// process has may show only when a reload opens it.
///
/// With --flows it also shows which live flows would be treated differently: let through and then not, by another
/// translation or another way.
///
/// Exit codes are those of diff(1). 0: nothing would change. 1: something would. 2: there is no router, or a reload would
/// refuse the file.
#[derive(Debug, clap::Args)]
pub(super) struct Diff {
    /// The file; else the one that the router was started with
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Show the live flows that would be treated differently, too
    #[arg(long)]
    flows: bool,
    /// Print JSON, for programs
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

/// As of diff(1).
const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;

impl Run for Diff {
    fn run(self) -> Outcome {
        match self.differences() {
            Ok(0) => Ok(ExitCode::SUCCESS),
            Ok(_) => Ok(ExitCode::from(DIFFERENT)),
            Err(Stop::NobodyReads) => Ok(ExitCode::from(DIFFERENT)),
            Err(Stop::Failed(why)) => {
                complain(&why);
                Ok(ExitCode::from(TROUBLE))
            }
        }
    }
}

impl Diff {
    /// Prints them; gives how many there are.
    fn differences(self) -> Result<usize, Stop> {
        let Diff { file, flows, json, control } = self;
        // The router stands in another directory.
        let whole = |e| Stop::Failed(format!("can't tell where the file is: {e}"));
        let file = file.map(std::path::absolute).transpose().map_err(whole)?;
        let mut client = control.client()?;
        let (mut out, paint, mut found) = (Out::new(), Paint::stdout(), 0);
        let asked = client.ask_list(Verb::Diff { file, flows }, |part: Vec<Difference>| {
            found += part.len();
            match json {
                true => out.json(part.iter(), false),
                false => out.texts(part.iter().map(|d| text(d, paint))),
            }
        });
        // What was shown before a refusal is ended well, too.
        if json && (asked.is_ok() || found > 0) {
            out.end_json()?;
        }
        out.end()?;
        asked.map(|()| found)
    }
}

/// One difference, on a line for each of its sides.
fn text(d: &Difference, paint: Paint) -> String {
    let note = d.note.as_ref().map_or_else(String::new, |note| format!("  ({note})"));
    let before = d.before.as_ref().map(|b| paint.red(format!("- {} {b}", d.object)).to_string());
    let after = d.after.as_ref().map(|a| paint.green(format!("+ {} {a}", d.object)).to_string());
    match (before, after) {
        (Some(before), Some(after)) => format!("{before}\n{after}{note}\n"),
        (Some(one), None) | (None, Some(one)) => format!("{one}{note}\n"),
        (None, None) => format!("! {}{note}\n", d.object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_is_a_line() {
        let said = |before: Option<&str>, after: Option<&str>, note: Option<&str>| {
            let [before, after, note] = [before, after, note].map(|s| s.map(str::to_owned));
            text(&Difference { object: "link".into(), before, after, note }, Paint::plain())
        };
        assert_eq!(said(Some("a"), None, None), "- link a\n");
        assert_eq!(said(Some("a"), Some("b"), None), "- link a\n+ link b\n");
        assert_eq!(said(None, Some("b"), Some("takes a restart")), "+ link b  (takes a restart)\n");
        assert_eq!(said(None, None, Some("… and 7 more")), "! link  (… and 7 more)\n");
    }
}
