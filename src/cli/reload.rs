//! `sekisho reload`, `confirm` and `rollback`: transactions of a running router.

use std::path::PathBuf;
use std::process::ExitCode;

use super::router::Control;
use super::{Failure, Outcome, Run, complain, say};
use crate::control::client::Client;
use crate::control::protocol::{self, Verb};
use crate::control::view::Applied;

/// Have the running router take its configuration file in again.
///
/// Builds everything aside and puts it in force at once, or, if anything is wrong with it, changes nothing
/// and says what. When it returns with exit code 0, the new configuration is in force. Links that stay as they are
/// are not touched: no packet of theirs is lost, no flow and no neighbor. Rules that stay keep their counters.
///
/// With `--confirm 60` the router goes back by itself to what was before unless `sekisho confirm` follows within 60
/// seconds: an operator who cut their own line gets it back. `sekisho rollback` goes back at once, and at any time later.
///
/// What can't change while the router runs is refused, all of it named at once: of `[router]` all but `route_files`,
/// `flow_cache`, and `name` where `control` says where the socket is; and a `max` of `[conntrack]` of more than four times what the table began with. SIGHUP reloads too, and says in the log how
/// it went.
#[derive(Debug, clap::Args)]
pub(super) struct Reload {
    /// Another file than the one the router was started with
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Go back unless `sekisho confirm` follows within so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    confirm: Option<u64>,
    #[command(flatten)]
    how: How,
}

/// Keep what `sekisho reload --confirm` has put in force.
///
/// Without it the router goes back to what was before when the time is over. Exit code 1: nothing waits to be
/// confirmed, because it was too late or was never asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Confirm {
    #[command(flatten)]
    how: How,
}

/// Put in force again what was before the last change, or before the last N.
///
/// Every change counts: a reload, and each change made with `sekisho ip` or `sekisho iptables`. The last 50 states are
/// kept, fewer if their routing tables are large. Going back is a change too: `rollback` twice is where it began.
/// Flows, neighbors and counters stay as they are now.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// How many changes to take back
    #[arg(value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    steps: u64,
    #[command(flatten)]
    how: How,
}

/// Whom to ask, and how to say what came of it.
#[derive(Debug, clap::Args)]
struct How {
    /// JSON
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

impl Run for Reload {
    fn run(self) -> Outcome {
        // The router may stand in another directory.
        let file =
            self.file.map(|f| std::path::absolute(&f).map_err(|e| Failure(format!("{}: {e}", f.display()))));
        let reload = protocol::Reload { file: file.transpose()?, confirm: self.confirm };
        self.how.apply(Verb::Reload(reload))
    }
}

impl Run for Confirm {
    fn run(self) -> Outcome {
        self.how.client()?.ask::<()>(Verb::Confirm)?;
        match self.how.json {
            true => say(serde_json::Value::Null)?,
            false => say("confirmed: it stays in force")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Run for Rollback {
    fn run(self) -> Outcome {
        let steps = usize::try_from(self.steps).unwrap_or(usize::MAX);
        self.how.apply(Verb::Rollback { steps })
    }
}

impl How {
    fn client(&self) -> Result<Client, Failure> {
        Ok(self.control.client()?)
    }

    /// Asks for a transaction and says what came of it.
    fn apply(&self, verb: Verb) -> Outcome {
        let applied: Applied = self.client()?.ask(verb)?;
        if self.json {
            say(serde_json::to_string(&applied)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        for note in &applied.notes {
            complain(note);
        }
        let number = applied.transaction;
        match applied.confirm_within {
            Some(s) => say(format_args!(
                "transaction {number} is in force for {s} s: `sekisho confirm` keeps it, else it is taken back"
            ))?,
            None => say(format_args!("transaction {number} is in force"))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
