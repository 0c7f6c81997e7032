//! Open vSwitch's userspace datapath, with its own database in the testbed's directory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{
    Layout, Rival, Running, START, Testbed, Trouble, Work, find, is_plain_packets, tool, version, wait_until,
};
use crate::lab::Spawned;
use crate::lab::bench::metric::Traffic;
use crate::lab::bench::ruleset::Rules;
use crate::lab::bench::testbed::{CLIENT, CLIENT_MAC, LAN_MAC, SERVER_MAC, WAN, WAN_MAC};

/// ovs-vswitchd without its kernel module.
#[derive(Debug)]
pub(super) struct OpenVSwitch;

/// Where the schema of the database is, in distributions and where it was built by hand.
const SCHEMA: [&str; 2] =
    ["/usr/share/openvswitch/vswitch.ovsschema", "/usr/local/share/openvswitch/vswitch.ovsschema"];

impl Rival for OpenVSwitch {
    fn name(&self) -> &'static str {
        "ovs"
    }

    fn what(&self) -> &'static str {
        "Open vSwitch's userspace datapath (--disable-system, userspace-tso-enable) on AF_PACKET, ct(commit,nat(src)) and a \
         stateful filter"
    }

    fn available(&self) -> Result<String, Trouble> {
        for needed in ["ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl"] {
            find(&[needed])?;
        }
        schema()?;
        Ok(version(&find(&["ovs-vswitchd"])?, &["--version"]))
    }

    fn declines(&self, work: &Work) -> Option<&'static str> {
        let asked = is_plain_packets(work)
            || work.setup.rules == Rules::Usual
                && matches!(work.traffic, Traffic::Bulk { streams: 1, .. } | Traffic::NewFlows);
        (!asked).then_some("asked for packets, TCP, round trips and new flows with the usual rules only")
    }

    fn layout(&self) -> Layout {
        Layout::Program
    }

    fn start(&self, bed: &Testbed) -> Result<Running, Trouble> {
        let ovs = Files::new(bed);
        let since = Instant::now();
        tool(bed, ovs.command("ovsdb-tool")?.arg("create").arg(ovs.path("conf.db")).arg(schema()?))?;
        let remote = format!("--remote=punix:{}", ovs.path("db.sock").display());
        let db = ovs.path("conf.db").to_string_lossy().into_owned();
        let mut database = ovs.daemon(bed, "ovsdb-server", &[&db, &remote])?;
        let socket = ovs.path("db.sock");
        wait_until("the database listened", &mut database, START, |_| socket.exists())?;
        let at = format!("unix:{}", socket.display());
        let vsctl = |args: &[&str]| {
            let mut command = ovs.command("ovs-vsctl")?;
            tool(bed, command.arg(format!("--db={at}")).arg("--timeout=20").args(args))
        };
        // Without it packets with checksums that are still to be finished count as damaged.
        let tso = "other_config:userspace-tso-enable=true";
        vsctl(&["--no-wait", "init", "--", "set", "Open_vSwitch", ".", tso])?;
        let switch = ovs.daemon(bed, "ovs-vswitchd", &[&at, "--disable-system"])?;
        vsctl(&[
            "add-br",
            "br0",
            "--",
            "set",
            "bridge",
            "br0",
            "datapath_type=netdev",
            "fail-mode=secure",
            "--",
            "add-port",
            "br0",
            "lan",
            "--",
            "set",
            "interface",
            "lan",
            "ofport_request=1",
            "--",
            "add-port",
            "br0",
            "wan",
            "--",
            "set",
            "interface",
            "wan",
            "ofport_request=2",
        ])?;
        let flows = bed.place().write("flows", &flows()).map_err(Trouble::of)?;
        tool(bed, ovs.command("ovs-ofctl")?.arg("add-flows").arg(ovs.path("br0.mgmt")).arg(flows))?;
        Ok(Running::new(vec![database, switch], since))
    }
}

fn schema() -> Result<&'static Path, Trouble> {
    let path = SCHEMA.iter().map(Path::new).find(|p| p.exists());
    path.ok_or_else(|| Trouble("not installed: there is no vswitch.ovsschema".into()))
}

/// Where its files are: its programs are told by their environment.
struct Files(PathBuf);

impl Files {
    fn new(bed: &Testbed) -> Self {
        Files(bed.place().path(""))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn command(&self, name: &str) -> Result<Command, Trouble> {
        let mut command = Command::new(find(&[name])?);
        for place in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"] {
            command.env(place, &self.0);
        }
        Ok(command)
    }

    fn daemon(&self, bed: &Testbed, name: &str, args: &[&str]) -> Result<Spawned, Trouble> {
        let unixctl = format!("--unixctl={}", self.path(&format!("{name}.ctl")).display());
        let mut command = self.command(name)?;
        command.stdin(Stdio::null()).args(args).args([
            "--no-chdir",
            "-vsyslog:off",
            "-vconsole:warn",
            &unixctl,
        ]);
        Spawned::command(bed.router(), command).map_err(Trouble::of)
    }
}

/// The gateway as flows: the same tests as the rules, the same translation, and the MACs and the TTL of a router.
fn flows() -> String {
    let mut text = String::new();
    let mut flow = |flow: String| {
        let _ = writeln!(text, "{flow}");
    };
    // Table 0: both directions through the connection table, what comes from outside translated back on the way.
    flow("table=0,priority=1,actions=drop".into());
    flow("table=0,priority=10,ip,in_port=1,actions=ct(table=1,zone=1,nat)".into());
    flow(format!("table=0,priority=10,ip,in_port=2,nw_dst={WAN},actions=ct(table=1,zone=1,nat)"));
    // Table 1: the filter.
    flow("table=1,priority=1,actions=drop".into());
    flow("table=1,priority=20,ct_state=+trk+est,ip,actions=goto_table:2".into());
    flow("table=1,priority=20,ct_state=+trk+rel,ip,actions=goto_table:2".into());
    flow("table=1,priority=15,ct_state=+trk+inv,ip,actions=drop".into());
    for protocol in ["tcp", "udp", "icmp"] {
        flow(format!(
            "table=1,priority=10,ct_state=+trk+new,{protocol},in_port=1,actions=ct(commit,zone=1,nat(src={WAN}),table=2)"
        ));
    }
    // Table 2: out.
    flow(format!(
        "table=2,priority=10,ip,in_port=1,actions=dec_ttl,mod_dl_src:{WAN_MAC},mod_dl_dst:{SERVER_MAC},output:2"
    ));
    flow(format!(
        "table=2,priority=10,ip,in_port=2,nw_dst={CLIENT},actions=dec_ttl,mod_dl_src:{LAN_MAC},mod_dl_dst:{CLIENT_MAC},output:1"
    ));
    text
}
