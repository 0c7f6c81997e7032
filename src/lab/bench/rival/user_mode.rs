//! User-mode stacks: each makes a tap device in the client's namespace and ends its TCP connections itself.
//!
//! At the MTU at which they are fastest, 65520, which they choose for themselves: TCP segments cross the tap device whole.

use std::fs;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::Instant;

use super::{Layout, Rival, Running, START, Testbed, Trouble, Work, find, version, wait_until};
use crate::lab::Spawned;
use crate::lab::bench::metric::Traffic;
use crate::lab::bench::testbed::{CLIENT, LAN, LENGTH};

/// slirp4netns.
#[derive(Debug)]
pub(super) struct Slirp;

/// pasta, of passt.
#[derive(Debug)]
pub(super) struct Pasta;

/// The tap device in the client's namespace.
const TAP: &str = "tap0";
/// What both take by themselves where nothing is said, the most that fits into an IP packet and a frame.
const MTU: &str = "65520";

/// What they have in common: connections of the client's, no more.
fn declines(work: &Work) -> Option<&'static str> {
    match work.traffic {
        Traffic::Bulk { .. } if work.setup.offload => None,
        Traffic::RoundTrip { loaded: false } => None,
        _ => Some("a user-mode stack: only TCP bulk and round trips"),
    }
}

/// The client's namespace as a path: the program has it as its stdin, since another process's files are not for
/// everyone who is root.
const CLIENT_NETNS: &str = "/proc/self/fd/0";

impl Rival for Slirp {
    fn name(&self) -> &'static str {
        "slirp4netns"
    }

    fn what(&self) -> &'static str {
        "slirp4netns at MTU 65520; the client sits in the namespace it serves"
    }

    fn available(&self) -> Result<String, Trouble> {
        Ok(version(&find(&["slirp4netns"])?, &["--version"]))
    }

    fn declines(&self, work: &Work) -> Option<&'static str> {
        declines(work)
    }

    fn layout(&self) -> Layout {
        Layout::Host
    }

    fn start(&self, bed: &Testbed) -> Result<Running, Trouble> {
        let program = find(&["slirp4netns"])?;
        let mtu = format!("--mtu={MTU}");
        let args = ["--configure", &mtu, "--netns-type=path", CLIENT_NETNS, TAP];
        run(bed, &program, &args)
    }
}

impl Rival for Pasta {
    fn name(&self) -> &'static str {
        "pasta"
    }

    fn what(&self) -> &'static str {
        "pasta (of passt) at MTU 65520; the client sits in the namespace it serves"
    }

    fn available(&self) -> Result<String, Trouble> {
        // Its build may not know its version; then what comes is its licence.
        let said = version(&find(&["pasta"])?, &["--version"]);
        Ok(if said.starts_with("pasta") { said } else { "pasta, unknown version".into() })
    }

    fn declines(&self, work: &Work) -> Option<&'static str> {
        declines(work)
    }

    fn layout(&self) -> Layout {
        Layout::Host
    }

    fn start(&self, bed: &Testbed) -> Result<Running, Trouble> {
        let program = find(&["pasta"])?;
        let (address, gateway, length) = (CLIENT.to_string(), LAN.to_string(), LENGTH.to_string());
        let log = bed.place().path("pasta.log");
        let log = log.to_string_lossy();
        let args = [
            "--foreground",
            "--quiet",
            "--log-file",
            &log,
            "--runas",
            "0",
            "--config-net",
            "--mtu",
            MTU,
            "--ipv4-only",
            "--interface",
            "wan",
            "--ns-ifname",
            TAP,
            "--address",
            &address,
            "--netmask",
            &length,
            "--gateway",
            &gateway,
            "--netns-only",
            "--netns",
            CLIENT_NETNS,
        ];
        run(bed, &program, &args)
    }
}

/// Starts it, and waits until the client has a default route by way of it.
fn run(bed: &Testbed, program: &std::path::Path, args: &[&str]) -> Result<Running, Trouble> {
    let since = Instant::now();
    let netns = bed.client().as_fd().try_clone_to_owned().map_err(Trouble::of)?;
    let mut command = Command::new(program);
    command.args(args).stdin(netns);
    let mut program = Spawned::command(bed.router(), command).map_err(Trouble::of)?;
    let configured = || {
        let table = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
        table.lines().any(|l| {
            let mut words = l.split_whitespace();
            words.next() == Some(TAP) && words.next() == Some("00000000")
        })
    };
    wait_until("the client's route was there", &mut program, START, |_| bed.client().run(configured))?;
    Ok(Running::new(vec![program], since))
}
