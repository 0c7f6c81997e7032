//! `sekisho demo`: a testbed, shown at work.
//!
//! The verb starts this program again in namespaces of its own ([`isolate`]); the inner one makes an inside and
//! an outside, runs the gateway between them in a thread, probes it with the hosts' kernels, and shows what came of
//! it. What is shown is in `show.rs`, what the inside does in `probes.rs`, what the stranger tries in `stranger.rs`.

mod probes;
mod show;
mod stranger;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use super::{Failure, Outcome, Paint, Run, say};
use crate::base::LinkId;
use crate::config;
use crate::lab::{End, Plan, Topology, isolate};
use crate::run;

/// Show a home gateway at work, on this machine and with no root.
///
/// Makes an inside host, a gateway and an outside in namespaces of its own. The gateway hides the inside behind one
/// address (MASQUERADE) and lets nothing in that the inside did not begin, in both families. The hosts' kernels
/// send real traffic through it (ping, TCP, UDP, traceroute, path MTU discovery), a stranger outside tries to get in,
/// and then it shows the flow table, the very rule that turned the stranger away, and the way of one packet through
/// its stages. Takes a few seconds, and cleans up. Nothing outside those namespaces is touched.
///
/// Exit code 0: all went as it should. Exit code 1: something did not, or this machine allows
/// no namespaces; then one sentence says what to do.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {}

/// The host inside.
pub(super) const CLIENT: &str = "10.1.0.2";
pub(super) const CLIENT6: &str = "fd01::2";
/// The gateway's inner and outer address.
pub(super) const NEAR: &str = "10.1.0.1";
pub(super) const FAR: &str = "203.0.113.1";
/// The server outside.
pub(super) const SERVER: &str = "203.0.113.80";
pub(super) const SERVER6: &str = "2001:db8::80";
/// The stranger outside, who has found out where the inside is.
pub(super) const STRANGER: &str = "203.0.113.66";
pub(super) const STRANGER6: &str = "2001:db8::66";
/// What the far link takes: less than the near one, so that there is a path MTU to find.
pub(super) const FAR_MTU: u32 = 1_400;

/// The gateway's configuration, as a file would have it.
pub(super) const ROUTER: &str = r#"
[router]
name = "demo"

[link.lan]
kind = "packet"
device = "lan"
addresses = ["10.1.0.1/24", "fd01::1/64"]

[link.wan]
kind = "packet"
device = "wan"
mtu = 1400
addresses = ["203.0.113.1/24", "2001:db8::1/64"]

[firewall]
rules4 = '''
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lan -j ACCEPT
-A INPUT -i wan -m comment --comment "strangers" -j DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan -o wan -j ACCEPT
-A FORWARD -i wan -m comment --comment "strangers" -j DROP
COMMIT
'''
rules6 = '''
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type neighbor-solicitation -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type neighbor-advertisement -j ACCEPT
-A INPUT -i lan -j ACCEPT
-A INPUT -i wan -m comment --comment "strangers" -j DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan -o wan -j ACCEPT
-A FORWARD -i wan -m comment --comment "strangers" -j DROP
COMMIT
'''

[services]
echo = true
"#;

impl Run for Demo {
    fn run(self) -> Outcome {
        if isolate::inside() {
            return inner();
        }
        let status = isolate::reexec(["demo"])?;
        Ok(match status.code() {
            Some(0) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

fn inner() -> Outcome {
    let paint = Paint::stdout();
    let start = Instant::now();
    show::title(paint)?;
    let lab = build()?;
    // Parsed as a file of this name would be; nothing is read or written.
    let config = config::parse(ROUTER, Path::new("demo.toml"))?;
    let running = lab["router"].run(|| run::start(&config))?;
    probes::wait_until_ready(&running)?;

    show::heading(paint, "From the inside", "by the hosts' own kernels")?;
    let (mut passed, mut failed) = probes::all(&lab, paint)?;

    show::heading(paint, "The flow table", "sekisho conntrack -L")?;
    show::flows(&running)?;

    show::heading(paint, "A stranger outside", "who knows where the inside is")?;
    let (turned_away, got_in) = stranger::all(&lab, &running, paint)?;
    (passed, failed) = (passed + turned_away, failed + got_in);

    show::heading(paint, "What the router saw", "sekisho stats")?;
    show::counters(&running, paint)?;
    show::heading(paint, "One packet, followed", "a ping from inside to the server, and its stages")?;
    show::followed(paint, &probes::follow(&lab, &running)?)?;

    running.stop()?;
    let left: Vec<String> = lab.teardown().iter().map(ToString::to_string).collect();
    say("")?;
    if !left.is_empty() {
        return Err(Failure(format!("the testbed could not be taken down whole: {}", left.join("; "))));
    }
    let took = start.elapsed().as_secs_f64();
    if failed == 0 {
        let all = paint.green(format!("All {passed} probes passed"));
        say(format_args!("  {all} in {took:.1} s. Router, wires and namespaces are gone."))?;
        Ok(ExitCode::SUCCESS)
    } else {
        let some = paint.red(format!("{failed} of {} probes failed", passed + failed));
        say(format_args!("  {some}. Router, wires and namespaces are gone."))?;
        Ok(ExitCode::FAILURE)
    }
}

/// The inside, the outside with its two hosts, and two wires to where the router will be. The outside has a way to the
/// inside, as a stranger has who is on the same segment as the gateway: only rules keep him out.
fn build() -> Result<Topology, Failure> {
    let net = |text: &str| text.parse().map_err(|e| Failure(format!("{text}: {e}")));
    let ip = |text: &str| text.parse().map_err(|e| Failure(format!("{text}: {e}")));
    let client = End::new("client", "eth0").address(net("10.1.0.2/24")?).address(net("fd01::2/64")?);
    let mut outside = End::new("outside", "eth0").mtu(FAR_MTU);
    // What begins outside has the first address: it is the stranger who begins things there.
    for host in ["203.0.113.66/24", "203.0.113.80/24", "2001:db8::66/64", "2001:db8::80/64"] {
        outside = outside.address(net(host)?);
    }
    let plan = Plan::new()
        .space("client")
        .space("router")
        .space("outside")
        .wire(client, End::new("router", "lan"))
        .wire(End::new("router", "wan").mtu(FAR_MTU), outside)
        .route("client", net("0.0.0.0/0")?, ip("10.1.0.1")?)
        .route("client", net("::/0")?, ip("fd01::1")?)
        .route("outside", net("10.1.0.0/24")?, ip(FAR)?)
        .route("outside", net("fd01::/64")?, ip("2001:db8::1")?);
    Ok(plan.build()?)
}

/// The router's links, in the order of the configuration.
pub(super) const LINKS: [LinkId; 2] = [LinkId(1), LinkId(2)];
