//! What the inside does, and what should come of it.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{FAR, FAR_MTU, LINKS, NEAR, SERVER, SERVER6, show};
use crate::cli::{Failure, Paint};
use crate::lab::Topology;
use crate::lab::probes::{Amount, Datagrams, HopKind, PATIENCE, PathMtu, Ping, ProbeError, Stream, Trace};
use crate::neighbor::DadState;
use crate::path::trace::{Record, Wanted, Watch};
use crate::run::Running;

/// How long each transfer runs.
const TRANSFER: Duration = Duration::from_millis(600);
/// How long a packet that is followed may take to come to its end: its next hop may have to be asked for.
const FOLLOWED: Duration = Duration::from_secs(10);
/// How long the router's links and addresses may take to be ready: duplicate address detection takes a second.
const READY: Duration = Duration::from_secs(20);

/// What a probe found: whether it is as it should be, and the figure.
pub(super) struct Finding {
    pub(super) good: bool,
    pub(super) figure: String,
}

type Probe = fn(&Topology) -> Result<Finding, ProbeError>;

/// The probes and what they are called.
const PROBES: [(&str, Probe); 11] = [
    ("ping, IPv4", |lab| ping(lab, SERVER, 56)),
    ("ping, IPv6", |lab| ping(lab, SERVER6, 56)),
    ("ping, 8,000 bytes in fragments", |lab| ping(lab, SERVER, 8_000)),
    ("ping the gateway's far side", |lab| ping(lab, FAR, 56)),
    ("who the server sees", seen),
    ("TCP, IPv4", |lab| transfer(lab, SERVER)),
    ("TCP, IPv6", |lab| transfer(lab, SERVER6)),
    ("UDP, 1,000 datagrams on 3 flows", |lab| datagrams(lab, SERVER)),
    ("traceroute, IPv4", |lab| trace(lab, SERVER)),
    ("traceroute, IPv6", |lab| trace(lab, SERVER6)),
    ("path MTU", path_mtu),
];

/// Runs all probes, a line each; gives how many passed and failed.
pub(super) fn all(lab: &Topology, paint: Paint) -> Result<(usize, usize), Failure> {
    let mut passed = 0;
    for (name, probe) in PROBES {
        let found = probe(lab).unwrap_or_else(|e| Finding { good: false, figure: e.to_string() });
        passed += usize::from(found.good);
        show::probe(paint, name, found.good, &found.figure)?;
    }
    Ok((passed, PROBES.len() - passed))
}

/// Waits until the links are up and the router's addresses are its own.
pub(super) fn wait_until_ready(running: &Running) -> Result<(), Failure> {
    let deadline = Instant::now() + READY;
    let router = running.router();
    let snapshot = router.snapshot();
    let ready = || {
        LINKS.iter().all(|id| {
            let ours = snapshot.links.get(*id).into_iter().flat_map(|l| &l.addresses);
            router.live().states.is_up(*id)
                && ours.into_iter().all(|a| match a.addr {
                    IpAddr::V6(v6) => router.live().dad.state(*id, v6) == DadState::Valid,
                    IpAddr::V4(_) => true,
                })
        })
    };
    while !ready() {
        if Instant::now() > deadline {
            return Err(Failure("the router's links did not come up: is this machine very busy?".into()));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Sends one ping whose way is recorded, and gives the record.
pub(super) fn follow(lab: &Topology, running: &Running) -> Result<Vec<Record>, Failure> {
    let watch = watch(running, "in lan and icmp")?;
    let report = lab["client"].run(|| Ping::new(addr(SERVER)).run())?;
    let records = followed(&watch);
    if !report.complete() || records.is_empty() {
        return Err(Failure("the packet to be followed did not come back".into()));
    }
    Ok(records)
}

/// Has the next packet that a filter means followed.
pub(super) fn watch(running: &Running, filter: &str) -> Result<Watch, Failure> {
    let wanted = Wanted { filter: filter.parse()?, count: Some(1), ..Wanted::default() };
    Ok(running.router().live().tracer.watch(wanted)?)
}

/// What a watch has found, once the packet's way has come to its end.
pub(super) fn followed(watch: &Watch) -> Vec<Record> {
    let deadline = Instant::now() + FOLLOWED;
    while !watch.is_over() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    watch.take(16, usize::MAX)
}

fn ping(lab: &Topology, to: &str, size: usize) -> Result<Finding, ProbeError> {
    let report = lab["client"].run(|| Ping::new(addr(to)).count(5).size(size).run())?;
    let figure = match report.rtt() {
        Some([least, middle, most]) => {
            let ms = |d: Duration| d.as_secs_f64() * 1e3;
            let (n, of) = (report.answers.len(), report.sent);
            format!("{n} of {of} from {to}, {:.2} ms ({:.2} to {:.2})", ms(middle), ms(least), ms(most))
        }
        None => format!("no answer from {to}"),
    };
    Ok(Finding { good: report.complete(), figure })
}

/// Whom the server takes the client for.
fn seen(lab: &Topology) -> Result<Finding, ProbeError> {
    let wrong = |source| ProbeError { doing: "TCP to the server".into(), source };
    let listener = lab["outside"].run(|| TcpListener::bind((addr(SERVER), 0))).map_err(wrong)?;
    let at = listener.local_addr().map_err(wrong)?;
    let client = lab["client"].run(|| TcpStream::connect_timeout(&at, PATIENCE)).map_err(wrong)?;
    let own = client.local_addr().map_err(wrong)?;
    let (_, peer) = listener.accept().map_err(wrong)?;
    Ok(Finding { good: peer.ip() == addr(FAR), figure: format!("{peer}, which is {own}") })
}

fn transfer(lab: &Topology, at: &str) -> Result<Finding, ProbeError> {
    let report = Stream::new(addr(at), Amount::For(TRANSFER)).run(&lab["client"], &lab["outside"])?;
    let (bytes, rate) = (show::bytes(report.received), report.rate() / 1e9);
    let figure =
        format!("{rate:.2} Gbit/s: {bytes} in {:.1} s, every byte checked", report.elapsed.as_secs_f64());
    let figure = match report.damaged_at {
        Some(at) => format!("{figure}; damaged at byte {at}"),
        None if !report.intact() => format!("{figure}; {} sent", show::bytes(report.sent)),
        None => figure,
    };
    Ok(Finding { good: report.intact() && report.received > 0, figure })
}

fn datagrams(lab: &Topology, to: &str) -> Result<Finding, ProbeError> {
    let report = Datagrams::new(addr(to), 1_000).flows(3).run(&lab["client"], &lab["outside"])?;
    let (n, of) = (report.received, report.sent);
    let figure =
        format!("{n} of {of} received, {} damaged, {} out of order", report.damaged, report.out_of_order);
    Ok(Finding { good: report.perfect(), figure })
}

fn trace(lab: &Topology, to: &str) -> Result<Finding, ProbeError> {
    let hops = lab["client"].run(|| Trace::new(addr(to)).most_hops(5).run())?;
    let way: Vec<String> = hops
        .iter()
        .map(|h| match h.from {
            Some(from) => format!("{from} {:.2} ms", h.rtt.as_secs_f64() * 1e3),
            None => "no answer".into(),
        })
        .collect();
    let arrived = hops.last().is_some_and(|h| h.kind == HopKind::Arrived && h.from == Some(addr(to)));
    Ok(Finding { good: arrived && hops.len() == 2, figure: way.join(" → ") })
}

fn path_mtu(lab: &Topology) -> Result<Finding, ProbeError> {
    let report = lab["client"].run(|| PathMtu::new(addr(SERVER)).run())?;
    let told = report.steps.iter().find_map(|s| s.error.filter(|e| e.is_too_big() && e.from.is_some()));
    let figure = match (report.mtu, told.and_then(|e| e.from)) {
        (Some(mtu), Some(router)) => format!("{mtu} bytes: {router} said so of a packet of 1500"),
        (Some(mtu), None) => format!("{mtu} bytes, and nobody said so"),
        (None, _) => "not found".into(),
    };
    let by_router = told.is_some_and(|e| e.from == Some(addr(NEAR)));
    Ok(Finding { good: report.mtu == Some(FAR_MTU) && by_router, figure })
}

/// The addresses of the demo are constants of this program.
pub(super) fn addr(text: &str) -> IpAddr {
    text.parse().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}
