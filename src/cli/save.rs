//! `sekisho iptables-save`, `sekisho ip6tables-save`: the rules in force, as iptables-restore takes them.

use std::path::PathBuf;
use std::process::ExitCode;

use super::iptables::{Tool, complain};
use super::out::{Out, Stop};
use super::router::Control;
use super::{Outcome, Run};
use crate::control::client::ClientError;
use crate::control::protocol::{Rules, Verb};
use crate::filter::iptables;

/// Print the IPv4 rules in force, as iptables-restore takes them.
///
/// The format is that of iptables-save: what is printed here, iptables-restore reads, and so does `rules4_file` in a
/// configuration. Tables that were not given are not printed.
///
/// Exit code 0: printed, even if there are no rules. Exit code 1: there is no router, no such table, or an option is none.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true, infer_long_args = true, disable_version_flag = true)]
pub(super) struct IptablesSave {
    #[command(flatten)]
    options: Options,
}

/// Print the IPv6 rules in force, as ip6tables-restore takes them.
///
/// The format is that of ip6tables-save: what is printed here, ip6tables-restore reads, and so does `rules6_file` in a
/// configuration. Tables that were not given are not printed.
///
/// Exit code 0: printed, even if there are no rules. Exit code 1: there is no router, no such table, or an option is none.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true, infer_long_args = true, disable_version_flag = true)]
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
    #[arg(short, long, value_name = "TABLE")]
    table: Option<String>,
    /// Write to this file; it is made or replaced
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Taken, and of no effect: there are no modules
    #[arg(short = 'M', long, value_name = "COMMAND")]
    modprobe: Option<String>,
    /// Taken, and of no effect: all that is there is printed
    #[arg(short, long)]
    dump: bool,
    /// Taken, and of no effect but that it is said: texts are text
    #[arg(short, long)]
    binary: bool,
    /// Say which iptables-save this is like
    #[arg(short = 'V', long)]
    version: bool,
    #[command(flatten)]
    control: Control,
}

impl Run for IptablesSave {
    fn run(self) -> Outcome {
        save(Tool::IPTABLES, self.options)
    }
}

impl Run for Ip6tablesSave {
    fn run(self) -> Outcome {
        save(Tool::IP6TABLES, self.options)
    }
}

fn save(tool: Tool, options: Options) -> Outcome {
    let Options { counters, table, control, file, version, binary, .. } = options;
    let (name, family) = (format!("{}-save", tool.name), tool.family);
    if version {
        super::say(super::iptables::version(&name))?;
        return Ok(ExitCode::SUCCESS);
    }
    if binary {
        complain("-b/--binary option is not implemented");
    }
    if let Some(Err(no)) = table.as_deref().map(|table| iptables::table_named(table, family.into())) {
        complain(&format!("{name}: {}", no.told()));
        return Ok(ExitCode::FAILURE);
    }
    let mut client = control.client()?;
    let verb = Verb::Rules(Rules { family, counters, table, chain: None, zero: None });
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
