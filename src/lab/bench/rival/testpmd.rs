//! DPDK's testpmd: frames from one port to the other with other MACs, and nothing else. A poller's ceiling.

use std::time::Instant;

use super::{Layout, Rival, Running, START, Testbed, Trouble, Work, find, is_plain_packets, wait_until};
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
        let said = super::version(&program, &["--version"]);
        Ok(said.trim_start_matches("EAL: ").replace("RTE Version: ", "").replace('\'', ""))
    }

    fn declines(&self, work: &Work) -> Option<&'static str> {
        (!is_plain_packets(work)).then_some("a layer 2 forwarder: only packets and round trips")
    }

    fn layout(&self) -> Layout {
        Layout::Program
    }

    fn start(&self, bed: &Testbed) -> Result<Running, Trouble> {
        let since = Instant::now();
        let device = |n: u32, interface: &str| format!("--vdev={}{n},iface={interface}", self.driver);
        let peer = |n: u32, mac| format!("--eth-peer={n},{mac}");
        let args = [
            "--lcores=0@(0-63),1@(0-63)",
            "--no-huge",
            "-m",
            "256",
            "--no-pci",
            "--no-telemetry",
            "--log-level=warning",
            "--in-memory",
            &device(0, "lan"),
            &device(1, "wan"),
            "--",
            "--forward-mode=mac",
            &peer(0, CLIENT_MAC),
            &peer(1, SERVER_MAC),
            "--nb-cores=1",
            "--total-num-mbufs=16384",
            "--auto-start",
            "--stats-period=3600",
        ];
        let mut program = Spawned::start(bed.router(), &find(&PROGRAMS)?, &args).map_err(Trouble::of)?;
        wait_until("it forwarded", &mut program, START, |p| p.said().contains("packet forwarding"))?;
        Ok(Running::new(vec![program], since))
    }
}
