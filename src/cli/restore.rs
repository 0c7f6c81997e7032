//! `sekisho iptables-restore`, `sekisho ip6tables-restore`: rules from a text, all of it or nothing.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::iptables::{Tool, complain};
use super::router::Control;
use super::{Outcome, Run};
use crate::config::Edit;
use crate::control::client::ClientError;
use crate::control::protocol::MAX_REQUEST;
use crate::filter::iptables;

/// Load IPv4 rules from a text, as iptables-restore(8) does.
///
/// The text is that of iptables-save. The tables it has are replaced; others stay as they are. All of it is in force when the
/// command ends with 0, and otherwise nothing is different: a mistake in the last table leaves the first as it was. Flows go on.
///
/// Exit code 0: done, or with --test it could be. Exit code 1: it can't be done, there is no router, or an option is none. Exit
/// code 2: a line can't be understood.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true, infer_long_args = true, disable_version_flag = true)]
pub(super) struct IptablesRestore {
    #[command(flatten)]
    options: Options,
}

/// Load IPv6 rules from a text, as ip6tables-restore(8) does.
///
/// The text is that of ip6tables-save. The tables it has are replaced; others stay as they are. All of it is in force when the
/// command ends with 0, and otherwise nothing is different: a mistake in the last table leaves the first as it was. Flows go on.
///
/// Exit code 0: done, or with --test it could be. Exit code 1: it can't be done, there is no router, or an option is none. Exit
/// code 2: a line can't be understood.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true, infer_long_args = true, disable_version_flag = true)]
pub(super) struct Ip6tablesRestore {
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Set the counters to those of the text; else rules begin at zero
    #[arg(short, long)]
    counters: bool,
    /// Keep what is in the tables, and add: only user's chains that the text declares are emptied
    #[arg(short, long)]
    noflush: bool,
    /// Only say whether it could be done
    #[arg(short, long)]
    test: bool,
    /// Load this table only
    #[arg(short = 'T', long, value_name = "TABLE")]
    table: Option<String>,
    /// Taken, and of no effect
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Taken, and of no effect: texts are text
    #[arg(short, long)]
    binary: bool,
    /// Taken, and of no effect: nothing is waited for
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1)]
    wait: Option<Option<String>>,
    /// Taken with -w, and of no effect, likewise
    #[arg(short = 'W', long, value_name = "MICROSECONDS", num_args = 0..=1)]
    wait_interval: Option<Option<String>>,
    /// Say which iptables-restore this is like
    #[arg(short = 'V', long)]
    version: bool,
    /// Taken, and of no effect: there are no modules
    #[arg(short = 'M', long, value_name = "COMMAND")]
    modprobe: Option<String>,
    #[command(flatten)]
    control: Control,
    /// Where the text is; else it comes from standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Run for IptablesRestore {
    fn run(self) -> Outcome {
        restore(Tool::IPTABLES, self.options)
    }
}

impl Run for Ip6tablesRestore {
    fn run(self) -> Outcome {
        restore(Tool::IP6TABLES, self.options)
    }
}

fn restore(tool: Tool, options: Options) -> Outcome {
    let Options { counters, noflush, test, table, control, file, version, .. } = options;
    let name = format!("{}-restore", tool.name);
    if let Err((why, code)) = patience(&options.wait, &options.wait_interval) {
        let nowhere = if code == 2 { "\nError occurred at line: 0" } else { "" };
        complain(&format!("{name}: {why}{nowhere}"));
        return Ok(ExitCode::from(code));
    }
    if version {
        super::say(super::iptables::version(&name))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = match text(file) {
        Ok(text) => text,
        Err((why, code)) => {
            complain(&format!("{name}: {why}"));
            return Ok(ExitCode::from(code));
        }
    };
    let mut client = control.client()?;
    match tool.change(&mut client, Edit::Restore { text, noflush, test, counters, table }) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(ClientError::Refused { text, errno }) => {
            let code = iptables::exit_code(errno.as_deref());
            complain(&told(&name, &text, code));
            Ok(ExitCode::from(code))
        }
        Err(e) => Err(e.into()),
    }
}

/// Whether `-w` and `-W` are as iptables-restore wants them; or why not, and the exit code.
fn patience(
    wait: &Option<Option<String>>,
    interval: &Option<Option<String>>,
) -> Result<(), (&'static str, u8)> {
    // As scanf(3) reads it: what stands behind a number does not matter.
    let number = |text: &str| {
        text.trim_start().trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit())
    };
    match (wait, interval) {
        (Some(Some(wait)), _) if !number(wait) => Err(("wait seconds not numeric", 2)),
        (_, Some(None)) => Err(("wait interval value required", 2)),
        (_, Some(Some(interval))) if !number(interval) => Err(("wait interval not numeric", 2)),
        (None, Some(_)) => Err(("option --wait-interval requires option --wait", 1)),
        _ => Ok(()),
    }
}

/// What is wrong, with the line as iptables-restore says it: behind what can't be understood, before what can't be done.
fn told(name: &str, text: &str, code: u8) -> String {
    if let Some(expected) = text.find("COMMIT expected at line").and_then(|at| text.get(at..)) {
        return format!("{name}: {expected}");
    }
    let line = text.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
    match line.and_then(|(line, text)| Some((line.parse::<usize>().ok()?, text))) {
        Some((line, text)) if code == 2 => format!("{name}: {text}\nError occurred at line: {line}"),
        Some((line, text)) => format!("{name}: line {line} failed: {text}"),
        None => format!("{name}: {text}"),
    }
}

/// The text; or why there is none, and the exit code.
fn text(file: Option<PathBuf>) -> Result<String, (String, u8)> {
    let mut bytes = Vec::new();
    let most = MAX_REQUEST as u64;
    let (read, shown) = match &file {
        Some(path) => {
            let read = std::fs::File::open(path).and_then(|f| f.take(most + 1).read_to_end(&mut bytes));
            (read, path.display().to_string())
        }
        None => (std::io::stdin().lock().take(most + 1).read_to_end(&mut bytes), "standard input".into()),
    };
    read.map_err(|e| (format!("can't read {shown}: {e}"), 1))?;
    if bytes.len() as u64 > most {
        return Err((
            format!(
                "{shown} is longer than the {most} bytes a router takes at once: put it into the file that `rules4_file` or `rules6_file` names, and reload"
            ),
            1,
        ));
    }
    String::from_utf8(bytes).map_err(|e| {
        let good = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        (format!("{shown} is no UTF-8 text\nError occurred at line: {line}"), 2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_stands_where_iptables_restore_has_it() {
        let said = "iptables-restore: unknown option --foo\nError occurred at line: 7";
        assert_eq!(told("iptables-restore", "line 7: unknown option --foo", 2), said);
        let said = "ip6tables-restore: line 12 failed: there is no chain 'x'";
        assert_eq!(told("ip6tables-restore", "line 12: there is no chain 'x'", 1), said);
        let said = "iptables-restore: COMMIT expected at line 9, the end of table nat";
        let text = "line 9: COMMIT expected at line 9, the end of table nat";
        assert_eq!(told("iptables-restore", text, 1), said);
        assert_eq!(told("iptables-restore", "line up: now", 1), "iptables-restore: line up: now");
    }
}
