//! `sekisho demo`: a testbed, shown at work.
//!
//! The verb starts this program again in namespaces of its own ([`isolate`]); the inner one makes two
//! hosts, runs the router between them in a thread, probes it with the hosts' kernels, and shows
//! what came of it. What is shown is in `show.rs`, the probes are in `probes.rs`.

mod probes;
mod show;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use super::{Failure, Outcome, Paint, Run, say};
use crate::base::LinkId;
use crate::config;
use crate::lab::{End, Plan, Topology, isolate};
use crate::run;

/// Show a router at work between two hosts, on this machine and with no root.
///
/// Makes two hosts and a router in namespaces of its own, lets the hosts' kernels send real traffic
/// through it (ping, TCP, traceroute, path MTU discovery), shows what the router saw, follows one packet
/// through its stages, and cleans up. Takes a few seconds. Nothing outside those namespaces is touched.
///
/// Exit code 0: every probe got through as it should. Exit code 1: one did not, or this machine allows
/// no namespaces; then one sentence says what to do.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {}

/// The client's, the router's and the server's addresses.
pub(super) const CLIENT: &str = "10.1.0.2";
pub(super) const SERVER: &str = "10.2.0.2";
pub(super) const CLIENT6: &str = "fd01::2";
pub(super) const SERVER6: &str = "fd02::2";
pub(super) const NEAR: &str = "10.1.0.1";
pub(super) const FAR: &str = "10.2.0.1";
/// What the far link takes: less than the near one, so that there is a path MTU to find.
pub(super) const FAR_MTU: u32 = 1_400;
/// An address that a route of the router prohibits.
pub(super) const FORBIDDEN: &str = "10.66.0.1";

/// The router's configuration, as a file would have it.
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
addresses = ["10.2.0.1/24", "fd02::1/64"]

[[route]]
to = "10.66.0.0/16"
type = "prohibit"
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

    show::heading(paint, "Probes", "by the hosts' own kernels")?;
    let (passed, failed) = probes::all(&lab, paint)?;

    show::heading(paint, "What the router saw", "sekisho stats")?;
    show::counters(&running, paint)?;
    show::heading(paint, "Its neighbors", "sekisho ip neigh show")?;
    show::neighbors(&running)?;
    show::heading(paint, "One packet, followed", "a ping from client to server, and its stages")?;
    show::followed(&probes::follow(&lab, &running)?)?;

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

/// Two hosts, and two wires to where the router will be.
fn build() -> Result<Topology, Failure> {
    let net = |text: &str| text.parse().map_err(|e| Failure(format!("{text}: {e}")));
    let ip = |text: &str| text.parse().map_err(|e| Failure(format!("{text}: {e}")));
    let client = End::new("client", "eth0").address(net("10.1.0.2/24")?).address(net("fd01::2/64")?);
    let server = End::new("server", "eth0").address(net("10.2.0.2/24")?).address(net("fd02::2/64")?);
    let plan = Plan::new()
        .space("client")
        .space("router")
        .space("server")
        .wire(client, End::new("router", "lan"))
        .wire(End::new("router", "wan").mtu(FAR_MTU), server.mtu(FAR_MTU))
        .route("client", net("0.0.0.0/0")?, ip("10.1.0.1")?)
        .route("client", net("::/0")?, ip("fd01::1")?)
        .route("server", net("0.0.0.0/0")?, ip("10.2.0.1")?)
        .route("server", net("::/0")?, ip("fd02::1")?);
    Ok(plan.build()?)
}

/// The router's links, in the order of the configuration.
pub(super) const LINKS: [LinkId; 2] = [LinkId(1), LinkId(2)];
