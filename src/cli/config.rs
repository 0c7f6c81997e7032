//! `sekisho config`: the live state as a file.

use super::out::{Out, Stop};
use super::router::Control;
use super::{Outcome, Run};
use crate::control::protocol::Verb;

/// Print the running router's state as a file that would recreate it.
///
/// What was changed with `sekisho ip`, `iptables` and the like since the router read its file is in it, and can be kept so:
/// `sekisho config > router.toml`. Whatever has its usual value is left out. Rules stand in the file itself, without their
/// counters; route files are named by their whole paths as long as nobody took a route of theirs away, and then each route is
/// written out. Flows and learned neighbors are no part of it.
///
/// Exit code 0: printed. Exit code 1: no router.
#[derive(Debug, clap::Args)]
pub(super) struct Config {
    #[command(flatten)]
    control: Control,
}

impl Run for Config {
    fn run(self) -> Outcome {
        let mut client = self.control.client()?;
        let mut out = Out::new();
        let lines = |lines: Vec<String>| out.texts(lines.into_iter().map(|l| l + "\n"));
        let printed = client.ask_list(Verb::Config, lines);
        Stop::outcome(printed.and_then(|()| out.end()))
    }
}
