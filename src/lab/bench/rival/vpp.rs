//! FD.io VPP: nat44-ed between two af_packet interfaces.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Instant;

use super::{
    Layout, Rival, Running, START, Testbed, Trouble, Work, find, is_plain_packets, tool, version, wait_until,
};
use crate::lab::Spawned;
use crate::lab::bench::metric::Traffic;
use crate::lab::bench::ruleset::Rules;
use crate::lab::bench::testbed::{LAN, LAN_MAC, LENGTH, WAN, WAN_MAC, neighbors_of_lan, neighbors_of_wan};

/// VPP with one worker.
#[derive(Debug)]
pub(super) struct Vpp;

impl Rival for Vpp {
    fn name(&self) -> &'static str {
        "vpp"
    }

    fn what(&self) -> &'static str {
        "VPP's nat44-ed (endpoint-dependent NAT) over af_packet, one worker; it filters nothing beyond the NAT"
    }

    fn available(&self) -> Result<String, Trouble> {
        find(&["vppctl"])?;
        Ok(version(&find(&["vpp"])?, &["--version"]))
    }

    fn declines(&self, work: &Work) -> Option<&'static str> {
        let asked = is_plain_packets(work)
            || work.setup.rules == Rules::Usual
                && matches!(work.traffic, Traffic::Bulk { .. } | Traffic::NewFlows);
        (!asked).then_some("asked for packets, TCP, round trips and new flows with the usual rules only")
    }

    fn layout(&self) -> Layout {
        Layout::Program
    }

    fn start(&self, bed: &Testbed) -> Result<Running, Trouble> {
        let since = Instant::now();
        let place = bed.place();
        let (cli, commands) = (place.path("cli.sock"), place.path("commands"));
        place.write("commands", &commands_text()).map_err(Trouble::of)?;
        let startup = format!(
            "unix {{ nodaemon nobanner cli-listen {} exec {} runtime-dir {} }}\n\
             api-segment {{ prefix sekisho-{} }}\n\
             socksvr {{ socket-name {} }}\n\
             statseg {{ socket-name {} }}\n\
             cpu {{ workers 1 }}\n\
             memory {{ main-heap-size 512M main-heap-page-size 4k }}\n\
             buffers {{ buffers-per-numa 16384 page-size 4k }}\n\
             plugins {{ plugin dpdk_plugin.so {{ disable }} }}\n",
            cli.display(),
            commands.display(),
            place.path("").display(),
            std::process::id(),
            place.path("api.sock").display(),
            place.path("stats.sock").display(),
        );
        let file = place.write("startup.conf", &startup).map_err(Trouble::of)?;
        let file = file.to_string_lossy();
        let mut program =
            Spawned::start(bed.router(), &find(&["vpp"])?, &["-c", &file]).map_err(Trouble::of)?;
        wait_until("its command line was there", &mut program, START, |_| cli.exists())?;
        let vppctl = find(&["vppctl"])?;
        let interfaces = || {
            let mut command = Command::new(&vppctl);
            tool(bed, command.arg("-s").arg(&cli).args(["show", "interface"]))
        };
        wait_until("its interfaces were there", &mut program, START, |_| {
            interfaces().is_ok_and(|text| text.contains("host-lan") && text.contains("host-wan"))
        })?;
        Ok(Running::new(vec![program], since))
    }
}

fn commands_text() -> String {
    let mut text = String::new();
    for (device, mac, address) in [("lan", LAN_MAC, LAN), ("wan", WAN_MAC, WAN)] {
        // Version 2 rings: those of version 3 hold packets back for a millisecond.
        let _ = writeln!(text, "create host-interface v2 name {device} hw-addr {mac}");
        let _ = writeln!(text, "set interface ip address host-{device} {address}/{LENGTH}");
        let _ = writeln!(text, "set interface state host-{device} up");
    }
    let near = neighbors_of_lan().map(|n| (n, "lan"));
    for ((ip, mac), device) in near.chain(neighbors_of_wan().map(|n| (n, "wan"))) {
        let _ = writeln!(text, "set ip neighbor static host-{device} {ip} {mac}");
    }
    text.push_str(
        "nat44 plugin enable sessions 262144\nset interface nat44 in host-lan out host-wan\n\
         nat44 add interface address host-wan\n",
    );
    text
}
