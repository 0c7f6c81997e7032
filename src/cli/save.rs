//! `sekisho iptables-save`, `sekisho ip6tables-save`: the rules in force, as iptables-restore takes them.

use std::path::PathBuf;
use std::process::ExitCode;

use super::out::{Out, Stop};
use super::router::Control;
use super::{Outcome, Run};
use crate::control::client::ClientError;
use crate::control::protocol::{Family, Rules, Verb};

/// Print the IPv4 rules in force, as iptables-restore takes them.
///
/// The format is that of iptables-save: what is printed here, iptables-restore reads, and so does `rules4_file` in a
/// configuration. Tables that were not given are not printed.
///
/// Exit code 0: printed, even if there are no rules. Exit code 1: no router.
#[derive(Debug, clap::Args)]
pub(super) struct IptablesSave {
    #[command(flatten)]
    options: Options,
}

/// Print the IPv6 rules in force, as ip6tables-restore takes them.
///
/// The format is that of ip6tables-save: what is printed here, ip6tables-restore reads, and so does `rules6_file` in a
/// configuration. Tables that were not given are not printed.
///
/// Exit code 0: printed, even if there are no rules. Exit code 1: no router.
#[derive(Debug, clap::Args)]
pub(super) struct Ip6tablesSave {
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Print the packets and bytes that each rule and policy has counted
    #[arg(short, long)]
    counters: bool,
    /// Print this table only
    #[arg(short, long, value_name = "TABLE", value_parser = ["raw", "mangle", "nat", "filter"])]
    table: Option<String>,
    /// Write to this file; it is made or replaced
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Taken, and of no effect: there are no modules
    #[arg(short = 'M', long, value_name = "COMMAND")]
    modprobe: Option<String>,
    #[command(flatten)]
    control: Control,
}

impl Run for IptablesSave {
    fn run(self) -> Outcome {
        save(Family::Inet, self.options)
    }
}

impl Run for Ip6tablesSave {
    fn run(self) -> Outcome {
        save(Family::Inet6, self.options)
    }
}

fn save(family: Family, options: Options) -> Outcome {
    let Options { counters, table, control, file, .. } = options;
    let mut client = control.client()?;
    let verb = Verb::Rules(Rules { family, counters, table });
    if let Some(file) = file {
        let mut text = String::new();
        client.ask_list(verb, |lines: Vec<String>| -> Result<(), ClientError> {
            text.extend(lines.into_iter().map(|l| l + "\n"));
            Ok(())
        })?;
        return match std::fs::write(&file, text) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(e) => Err(format!("can't write {}: {e}", file.display()).into()),
        };
    }
    let mut out = Out::new();
    let printed = client.ask_list(verb, |lines: Vec<String>| out.texts(lines.into_iter().map(|l| l + "\n")));
    Stop::outcome(printed.and_then(|()| out.end()))
}
