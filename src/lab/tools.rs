//! Programs and devices of the machine that tests need, and whether they do here what they are for.
//!
//! Knows nothing of what they are compared with.

use std::env;
use std::fs::File;
use std::process::{Command, Stdio};

/// What tests of rules need: the tools, and a kernel that has their tables.
pub const IPTABLES: [&str; 2] = ["iptables-legacy -t filter -n -L", "ip6tables-legacy -t filter -n -L"];
/// What tests of flows need.
pub const CONNTRACK: [&str; 1] = ["conntrack -C"];
/// What tests of links and routes need.
pub const IPROUTE: [&str; 1] = ["ip link"];

/// Whether all these commands go well in the calling thread's namespace. If not, a line says which one does not and why, for
/// a test that then has nothing to compare with.
///
/// # Panics
///
/// The same, where `SEKISHO_TOOLS=required` says that nothing may be left out.
pub fn usable<'a>(commands: impl IntoIterator<Item = &'a &'a str>) -> bool {
    let trouble = commands.into_iter().find_map(|command| trouble(command).map(|why| (command, why)));
    let Some((command, why)) = trouble else { return true };
    let required = env::var(REQUIRED).is_ok_and(|v| v == "required");
    assert!(!required, "`{command}` does not work here ({why}), and {REQUIRED}=required");
    println!("skipped: `{command}` does not work here ({why}); .ci/setup installs what the tests need");
    false
}

/// Whether tun and tap devices can be made here, which is for the machine to say. If not, a line says why.
pub fn has_tun() -> bool {
    let Err(e) = File::options().read(true).write(true).open(TUN) else { return true };
    println!("skipped: {TUN} can't be opened here: {e}");
    false
}

/// Where such devices come from.
const TUN: &str = "/dev/net/tun";
/// Says that a tool that is missing is a failure.
const REQUIRED: &str = "SEKISHO_TOOLS";

/// What is wrong with a command; `None` if nothing is.
fn trouble(command: &str) -> Option<String> {
    let mut words = command.split_whitespace();
    let mut command = Command::new(words.next()?);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
    match command.output() {
        Err(e) => Some(e.to_string()),
        Ok(out) if out.status.success() => None,
        Ok(out) => {
            let said = String::from_utf8_lossy(&out.stderr);
            let first = said.lines().find(|l| !l.trim().is_empty()).map(|l| l.trim().to_owned());
            Some(first.unwrap_or_else(|| out.status.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_fails_is_told_of() {
        assert_eq!(trouble("true"), None);
        assert_eq!(trouble(""), None, "nothing is asked for");
        assert!(trouble("no-such-program -x").unwrap().contains("No such file"));
        assert!(trouble("ls /no/such/place").unwrap().contains("/no/such/place"));
        assert!(trouble("false").unwrap().contains("exit status: 1"));
        assert!(usable(&["true", "true"]));
    }
}
