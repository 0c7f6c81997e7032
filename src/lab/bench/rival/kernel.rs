//! The kernel of the router's namespace: forwarding, with or without the rules.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net};

use super::{Layout, Rival, Running, Testbed, Trouble, Work, find, last_words};
use crate::io::netlink::Netlink;
use crate::lab::bench::metric::Traffic;
use crate::lab::bench::ruleset::{self, Routes, Rules};

/// The kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    ruled: bool,
}

impl Kernel {
    /// With the ruleset: the yardstick.
    pub(super) const RULED: Self = Kernel { ruled: true };
    /// Forwarding and nothing else.
    pub(super) const BARE: Self = Kernel { ruled: false };
}

/// The tools that load rules, the best first: the legacy one talks to the tables themselves, the other by nftables.
const RESTORE: [&str; 2] = ["iptables-legacy-restore", "iptables-restore"];

impl Rival for Kernel {
    fn name(&self) -> &'static str {
        if self.ruled { super::YARDSTICK } else { "kernel-bare" }
    }

    fn what(&self) -> &'static str {
        if self.ruled {
            "the kernel's forwarding with the same rules, loaded by iptables-restore, and the same routes"
        } else {
            "the kernel's forwarding with no rules and no connection tracking"
        }
    }

    fn available(&self) -> Result<String, Trouble> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let tool = match self.ruled {
            true => {
                let tool = find(&RESTORE)?;
                format!(", {}", super::version(&tool, &["--version"]))
            }
            false => String::new(),
        };
        Ok(format!("Linux {}{tool}", release.trim()))
    }

    fn declines(&self, work: &Work) -> Option<&'static str> {
        // What has no rules or is about them is the same or nothing.
        let about_rules = work.setup.rules != Rules::Usual || matches!(work.traffic, Traffic::Memory);
        (!self.ruled && about_rules).then_some("only the kernel with the rules is asked that")
    }

    fn layout(&self) -> Layout {
        Layout::Kernel
    }

    fn start(&self, bed: &Testbed) -> Result<Running, Trouble> {
        let since = Instant::now();
        let rules = ruleset::rules(bed.setup().rules).filter(|_| self.ruled);
        if let Some(text) = rules {
            restore(bed, &find(&RESTORE)?, &text)?;
        }
        if bed.setup().routes != Routes::One {
            bed.router().run(|| add_routes(bed.setup().routes))?;
        }
        Ok(Running::new(Vec::new(), since))
    }
}

fn restore(bed: &Testbed, tool: &PathBuf, text: &str) -> Result<(), Trouble> {
    let name = tool.display();
    let trouble = |e: std::io::Error| Trouble(format!("{name}: {e}"));
    let file = bed.place().write("rules.v4", text).map_err(Trouble::of)?;
    let mut command = Command::new(tool);
    // Its lock is a file of the whole machine's otherwise.
    command.env("XTABLES_LOCKFILE", bed.place().path("xtables.lock"));
    command.stdin(fs::File::open(file).map_err(trouble)?).stdout(Stdio::null()).stderr(Stdio::piped());
    let out = bed.router().command(&mut command).output().map_err(trouble)?;
    match out.status.success() {
        true => Ok(()),
        false => Err(Trouble(format!("{name}: {}", last_words(&String::from_utf8_lossy(&out.stderr))))),
    }
}

fn add_routes(routes: Routes) -> Result<(), Trouble> {
    let mut netlink = Netlink::open().map_err(Trouble::of)?;
    for (prefix, length, via) in ruleset::routes(routes) {
        let to = IpNet::V4(Ipv4Net::new_assert(prefix, length));
        netlink.route_add(to, Some(IpAddr::V4(via)), None).map_err(Trouble::of)?;
    }
    Ok(())
}
