//! The kernel with rules: iptables-legacy-restore, ctnetlink, /proc/net/nf_conntrack.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use sekisho::lab::{Netns, Workplace};

use super::{Rules, Side, neighbors, sorted};
use crate::compare::Seen;
use crate::twin::{Taps, Wires, kernel_plan};

/// A namespace whose kernel routes and filters.
pub(crate) struct Kernel {
    name: &'static str,
    taps: Taps,
    router: Netns,
    conntrack: Socket,
    place: Workplace,
    loaded: Option<Rules>,
}

impl Kernel {
    /// With every setting that matters said.
    pub(crate) fn new(name: &'static str, settings: &[(&str, &str)]) -> Self {
        let settings: Vec<_> = SETTINGS.iter().chain(settings).copied().collect();
        let mut plan = kernel_plan(&settings);
        for (port, ip, mac) in neighbors() {
            plan = plan.neighbor("router", port.name(), ip, mac);
        }
        let taps = Taps::open(plan.build().unwrap());
        let router = taps.lab["router"].clone();
        let conntrack = router.run(|| {
            let mut socket = Socket::new(NETLINK_NETFILTER).unwrap();
            socket.bind_auto().unwrap();
            socket.connect(&SocketAddr::new(0, 0)).unwrap();
            socket
        });
        let mut kernel =
            Kernel { name, taps, router, conntrack, place: Workplace::new().unwrap(), loaded: None };
        // The reports of its groups are on their way by then.
        kernel.step(&[], Duration::from_millis(100));
        kernel
    }

    fn restore(&self, tool: &str, text: &str) -> Result<(), String> {
        let mut command = self.tool(tool);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = self.router.command(&mut command).spawn().map_err(|e| format!("{tool}: {e}"))?;
        // One that stops reading says why on stderr.
        let _ = child.stdin.take().map(|mut i| i.write_all(text.as_bytes()));
        let out = child.wait_with_output().map_err(|e| format!("{tool}: {e}"))?;
        match out.status.success() {
            true => Ok(()),
            false => Err(format!("{tool}: {}", String::from_utf8_lossy(&out.stderr).trim())),
        }
    }

    fn tool(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        // All tests of the machine would wait for each other.
        command.env("XTABLES_LOCKFILE", self.place.path("xtables.lock"));
        command
    }

    /// Deletes every flow: the request that names none means all.
    fn flush(&mut self) {
        /// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`.
        const DELETE: u16 = 1 << 8 | 2;
        /// `NLM_F_REQUEST | NLM_F_ACK`.
        const FLAGS: u16 = 1 | 4;
        let mut request = 20u32.to_ne_bytes().to_vec();
        request.extend([DELETE, FLAGS].iter().flat_map(|n| n.to_ne_bytes()));
        // Sequence number, port; then the family (any), the version and the resource.
        request.extend([0; 12]);
        self.conntrack.send(&request, 0).unwrap();
        let (answer, _) = self.conntrack.recv_from_full().unwrap();
        let code = answer.get(16..20).map(|c| i32::from_ne_bytes(c.try_into().unwrap()));
        assert_eq!(code, Some(0), "flushing conntrack");
    }
}

impl Side for Kernel {
    fn name(&self) -> &'static str {
        self.name
    }

    fn load(&mut self, rules: &Rules) -> Result<(), String> {
        let whole = rules.whole();
        let old = self.loaded.take();
        for (tool, text, new, old) in [
            ("iptables-legacy-restore", &whole.v4, &rules.v4, old.as_ref().map(|r| &r.v4)),
            ("ip6tables-legacy-restore", &whole.v6, &rules.v6, old.as_ref().map(|r| &r.v6)),
        ] {
            // A family without rules stays without.
            if !(new.is_empty() && old == Some(new)) {
                self.restore(tool, text)?;
            }
        }
        self.loaded = Some(rules.clone());
        self.flush();
        self.taps.receive();
        Ok(())
    }

    fn step(&mut self, frames: &[Seen], patience: Duration) -> Vec<Seen> {
        for (port, frame) in frames {
            self.taps.send(*port, frame);
        }
        let mut came = self.taps.receive();
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < patience {
            let more = self.taps.receive();
            if !more.is_empty() {
                quiet_since = Instant::now();
                came.extend(more);
            }
        }
        sorted(came)
    }

    fn flows(&mut self) -> Vec<String> {
        let _inside = self.router.enter().unwrap();
        let text = std::fs::read_to_string("/proc/thread-self/net/nf_conntrack").unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn counters(&mut self) -> String {
        let mut text = String::new();
        let Some(rules) = &self.loaded else { return text };
        for (tool, rules) in [("iptables-legacy-save", &rules.v4), ("ip6tables-legacy-save", &rules.v6)] {
            if rules.is_empty() {
                continue;
            }
            let mut command = self.tool(tool);
            let out = self.router.command(command.arg("-c")).output().unwrap();
            assert!(out.status.success(), "{tool}: {}", String::from_utf8_lossy(&out.stderr));
            text.push_str(&String::from_utf8_lossy(&out.stdout));
        }
        text
    }
}

/// Habits as they are by default, and no limits that would tell a second run from the first.
const SETTINGS: [(&str, &str); 23] = [
    // Redirects depend on what was sent seconds ago; IPv6 has no switch for them, but sends none without an address.
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv6/conf/all/addr_gen_mode", "1"),
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    // A datagram that is never whole is not spoken of while another script plays.
    ("net/ipv4/ipfrag_time", "86400"),
    ("net/ipv4/ipfrag_high_thresh", "1000000000"),
    ("net/ipv6/ip6frag_time", "86400"),
    ("net/ipv6/ip6frag_high_thresh", "1000000000"),
    ("net/netfilter/nf_conntrack_frag6_timeout", "86400"),
    ("net/netfilter/nf_conntrack_frag6_high_thresh", "1000000000"),
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv4/icmp_msgs_per_sec", "100000000"),
    ("net/ipv4/icmp_msgs_burst", "1000000"),
    ("net/ipv6/icmp/ratelimit", "0"),
    ("net/ipv4/conf/all/route_localnet", "0"),
    ("net/ipv4/conf/default/route_localnet", "0"),
    ("net/ipv6/conf/all/mldv2_unsolicited_report_interval", "10"),
    ("net/ipv6/conf/default/mldv2_unsolicited_report_interval", "10"),
    ("net/netfilter/nf_conntrack_tcp_loose", "1"),
    ("net/netfilter/nf_conntrack_tcp_be_liberal", "0"),
    ("net/netfilter/nf_conntrack_tcp_max_retrans", "3"),
    ("net/netfilter/nf_conntrack_tcp_ignore_invalid_rst", "0"),
    ("net/netfilter/nf_conntrack_checksum", "1"),
];
