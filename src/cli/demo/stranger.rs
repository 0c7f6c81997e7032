//! What a stranger outside tries, and the rule that stops him.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use super::probes::{self, Finding, addr};
use super::{CLIENT, CLIENT6, FAR, STRANGER, STRANGER6, show};
use crate::cli::{Failure, Paint};
use crate::control::protocol::{Explain, Explanation};
use crate::control::{Answer, Verb};
use crate::lab::probes::{Ping, ProbeError};
use crate::lab::{Netns, Topology};
use crate::run::Running;

/// How long the stranger waits for an answer that should not come. The way there and back takes a thousandth of it.
const WAIT: Duration = Duration::from_millis(300);

type Attempt = fn(&Topology) -> Result<Finding, ProbeError>;

/// The attempts and what they are called.
const ATTEMPTS: [(&str, Attempt); 7] = [
    ("TCP to the host inside", |lab| tcp(lab, &lab["client"], CLIENT)),
    ("UDP to the host inside", |lab| udp(lab, STRANGER, CLIENT)),
    ("ping the host inside", |lab| ping(lab, STRANGER, CLIENT)),
    ("TCP to the gateway's own service", |lab| service(lab, FAR)),
    ("ping the gateway", |lab| ping(lab, STRANGER, FAR)),
    ("UDP to the host inside, IPv6", |lab| udp(lab, STRANGER6, CLIENT6)),
    ("ping the host inside, IPv6", |lab| ping(lab, STRANGER6, CLIENT6)),
];

/// Lets the stranger try everything at once, then shows what became of it and which rules it was; gives how often he was
/// turned away, and how often not.
pub(super) fn all(lab: &Topology, running: &Running, paint: Paint) -> Result<(usize, usize), Failure> {
    let filter = format!("in wan and tcp and src {STRANGER} and dst {CLIENT} and drop");
    let watch = probes::watch(running, &filter)?;
    let found = thread::scope(|s| {
        let tries = ATTEMPTS.map(|(_, attempt)| s.spawn(move || attempt(lab)));
        tries.map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
    });
    let mut turned_away = 0;
    for ((name, _), found) in ATTEMPTS.iter().zip(found) {
        let found = found.unwrap_or_else(|e| Finding { good: false, figure: e.to_string() });
        turned_away += usize::from(found.good);
        show::probe(paint, name, found.good, &found.figure)?;
    }
    show::heading(paint, "The rules that turned him away", "sekisho iptables-save -c")?;
    let rules = show::dropping(running, paint)?;
    show::heading(paint, "His TCP segment, followed", &format!("sekisho trace '{filter}'"))?;
    let records = probes::followed(&watch);
    show::followed(paint, &records)?;
    let words = format!("-i wan tcp {STRANGER}:40000 to {CLIENT}:22 syn");
    show::heading(paint, "The same, without sending it", &format!("sekisho explain {words}"))?;
    let asked = Verb::Explain(Explain::Words { words: vec![words] });
    let Answer::Done(explained) = running.answer(asked) else {
        return Err(Failure("the router does not explain itself".into()));
    };
    let explained: Explanation = serde_json::from_value(explained)?;
    show::explained(paint, &explained)?;
    let stopped = explained.outcome.rule.as_ref().is_some_and(|rule| rule.contains("strangers"));
    let told = rules > 0 && !records.is_empty() && stopped;
    Ok((turned_away + usize::from(told), ATTEMPTS.len() - turned_away + usize::from(!told)))
}

/// A connection to a listener inside, which must not come about.
fn tcp(lab: &Topology, inside: &Netns, to: &str) -> Result<Finding, ProbeError> {
    let wrong = |source| ProbeError { doing: format!("TCP from outside to {to}"), source };
    let listener = inside.run(|| TcpListener::bind((addr(to), 0))).map_err(wrong)?;
    let at = listener.local_addr().map_err(wrong)?;
    Ok(refused(connect(lab, at)))
}

/// A connection to a service of the gateway's, which only the inside may use.
fn service(lab: &Topology, to: &str) -> Result<Finding, ProbeError> {
    Ok(refused(connect(lab, SocketAddr::new(addr(to), crate::host::ECHO))))
}

fn connect(lab: &Topology, to: SocketAddr) -> io::Result<TcpStream> {
    lab["outside"].run(|| TcpStream::connect_timeout(&to, WAIT))
}

fn refused(connected: io::Result<TcpStream>) -> Finding {
    match connected {
        Err(e) if matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => nothing(),
        Err(e) => Finding { good: false, figure: format!("answered: {e}") },
        Ok(_) => Finding { good: false, figure: "connected".into() },
    }
}

/// A datagram to a socket inside, which must not come.
fn udp(lab: &Topology, from: &str, to: &str) -> Result<Finding, ProbeError> {
    let wrong = |source| ProbeError { doing: format!("UDP from outside to {to}"), source };
    let bind = |space: &str, at: IpAddr| lab[space].run(|| UdpSocket::bind((at, 0))).map_err(wrong);
    let inside = bind("client", addr(to))?;
    let outside = bind("outside", addr(from))?;
    outside.send_to(b"let me in", inside.local_addr().map_err(wrong)?).map_err(wrong)?;
    inside.set_read_timeout(Some(WAIT)).map_err(wrong)?;
    match inside.recv(&mut [0; 64]) {
        Ok(_) => Ok(Finding { good: false, figure: "it came".into() }),
        Err(_) => Ok(nothing()),
    }
}

fn ping(lab: &Topology, from: &str, to: &str) -> Result<Finding, ProbeError> {
    let report = lab["outside"].run(|| Ping::new(addr(to)).from(addr(from)).wait(WAIT).run())?;
    match (report.answers.first(), report.errors.first()) {
        (None, None) => Ok(nothing()),
        (Some(_), _) => Ok(Finding { good: false, figure: format!("{to} answered") }),
        (None, Some(e)) => Ok(Finding { good: false, figure: format!("told: {}/{}", e.kind, e.code) }),
    }
}

fn nothing() -> Finding {
    Finding { good: true, figure: "turned away, and told nothing".into() }
}
