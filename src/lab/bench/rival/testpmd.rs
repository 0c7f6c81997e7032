//! DPDK's testpmd: frames from one port to the other with other MACs, and nothing else. A poller's ceiling.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Layout, Rival, Running, Testbed, Trouble, Work, find, is_plain_packets};
use crate::lab::Spawned;
use crate::lab::bench::testbed::{CLIENT_MAC, SERVER_MAC};

/// testpmd over one kind of virtual device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Testpmd {
    name: &'static str,
    what: &'static str,
    driver: &'static str,
}

/// The two kinds.
pub(super) const VARIANTS: [Testpmd; 2] = [
    Testpmd {
        name: "testpmd",
        what: "DPDK's testpmd, L2 only, over AF_PACKET rings (net_af_packet), polling; it routes and filters nothing",
        driver: "net_af_packet",
    },
    Testpmd {
        name: "testpmd-xdp",
        what: "DPDK's testpmd, L2 only, over AF_XDP sockets (net_af_xdp), polling; it routes and filters nothing",
        driver: "net_af_xdp",
    },
];

const PROGRAMS: [&str; 2] = ["dpdk-testpmd", "testpmd"];

impl Rival for Testpmd {
    fn name(&self) -> &'static str {
        self.name
    }

    fn what(&self) -> &'static str {
        self.what
    }

    fn available(&self) -> Result<String, Trouble> {
        let program = find(&PROGRAMS)?;
        // It says so only on the way to starting, which it then can't: no devices.
        let said =
            Command::new(program).args(["-v", "--no-huge", "--no-pci", "--no-shconf", "--help"]).output();
        let said = said.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let version =
            said.lines().find_map(|l| l.split_once("RTE Version:")).map(|(_, v)| v.trim_matches(['\'', ' ']));
        Ok(version.unwrap_or("unknown version").into())
    }

    fn declines(&self, work: &Work) -> Option<&'static str> {
        (!is_plain_packets(work)).then_some("a layer 2 forwarder: only packets and round trips")
    }

    fn layout(&self) -> Layout {
        Layout::Program
    }

    fn finishes_checksums(&self) -> bool {
        false
    }

    fn start(&self, bed: &Testbed) -> Result<Running, Trouble> {
        let since = Instant::now();
        let device = |n: u32, interface: &str| format!("--vdev={}{n},iface={interface}", self.driver);
        let peer = |n: u32, mac| format!("--eth-peer={n},{mac}");
        let cpus = std::thread::available_parallelism().map_or(1, usize::from) - 1;
        let cores = format!("--lcores=0@(0-{cpus}),1@(0-{cpus})");
        let mut command = Command::new(find(&PROGRAMS)?);
        // Where its files go; otherwise the machine's /var/run.
        command.env("RUNTIME_DIRECTORY", bed.place().path(""));
        command.stdin(Stdio::null()).args([&cores, "--no-huge", "-m", "256", "--no-pci", "--no-telemetry"]);
        command.args(["--no-shconf", &device(0, "lan"), &device(1, "wan"), "--", "--forward-mode=mac"]);
        command.args([&peer(0, CLIENT_MAC), &peer(1, SERVER_MAC), "--nb-cores=1", "--total-num-mbufs=16384"]);
        // With statistics it does not wait for a key.
        command.args(["--auto-start", "--stats-period=3600"]);
        let program = Spawned::command(bed.router(), command).map_err(Trouble::of)?;
        Ok(Running::new(vec![program], since))
    }
}
