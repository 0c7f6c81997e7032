//! `sekisho conntrack`: the router's flow table, in the words of conntrack-tools.

mod words;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::out::{Out, Stop};
use super::router::Control;
use super::{Outcome, Run, complain, misused, say};
use crate::conntrack::text::{XML_END, XML_START};
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{FlowForm, FlowKind, Flows, Verb};
use crate::control::view::{self, FlowNews};
use words::Said;
use words::values::EVENT;

/// Show and change the router's flows, as conntrack(8) does.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG)]
pub(super) struct Conntrack {
    #[command(flatten)]
    control: Control,
    /// Options of conntrack(8)
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl Run for Conntrack {
    fn run(self) -> Outcome {
        let asked = match words::parse(&self.words) {
            Ok(Said::Ask(asked)) => asked,
            Ok(Said::Help) => {
                say(LONG)?;
                return Ok(ExitCode::SUCCESS);
            }
            Ok(Said::Version) => {
                say(format!("conntrack v{} (sekisho)", env!("CARGO_PKG_VERSION")))?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(misuse) => return misused(&misuse),
        };
        let control = self.control.or(asked.control);
        let mut client = control.client()?;
        let (flows, form) = (asked.flows, asked.form);
        match flows {
            Flows::Count => {
                let count: u64 = client.ask(Verb::Conntrack(Flows::Count))?;
                say(count)?;
                Ok(ExitCode::SUCCESS)
            }
            Flows::Stats => stats(&mut client, form),
            Flows::Flush {} => {
                client.ask_list(Verb::Conntrack(Flows::Flush {}), |_: Vec<()>| Ok::<(), ClientError>(()))?;
                close("connection tracking table has been emptied.");
                Ok(ExitCode::SUCCESS)
            }
            Flows::Events { .. } => follow(&mut client, flows, form),
            Flows::List { .. } => listed(&mut client, flows, form, "shown", true),
            Flows::Get { .. } => listed(&mut client, flows, form, "shown", false),
            Flows::Delete { .. } => listed(&mut client, flows, form, "deleted", false),
            Flows::Update { .. } => listed(&mut client, flows, form, "updated", false),
        }
    }
}

/// The line after all is said: on stderr as conntrack has it, so that it is not taken for a flow.
fn close(text: &str) {
    let _ = writeln!(std::io::stderr(), "sekisho: {text}");
}

/// Asks, prints flows, and says how many. That there are none is an answer only to who asked for all there are.
fn listed(client: &mut Client, flows: Flows, form: FlowForm, done: &str, may_be_none: bool) -> Outcome {
    let framed = form.kind == FlowKind::Xml && may_be_none;
    let mut shown = 0;
    let mut missing = false;
    let listed = list(client, flows, form, framed, &mut shown).or_else(|stop| match stop {
        Unlisted::Missing => {
            missing = true;
            Ok(())
        }
        Unlisted::Stop(stop) => Err(stop),
    });
    if missing {
        complain("Operation failed: such conntrack doesn't exist");
        return Ok(ExitCode::FAILURE);
    }
    if listed.is_ok() {
        close(&format!("{shown} flow entries have been {done}."));
    }
    match Stop::outcome(listed) {
        Ok(_) if shown == 0 && !may_be_none => Ok(ExitCode::FAILURE),
        outcome => outcome,
    }
}

/// Why a listing ended early.
enum Unlisted {
    /// The one flow that was asked for is not there.
    Missing,
    Stop(Stop),
}

impl<E: Into<Stop> + IsMissing> From<E> for Unlisted {
    fn from(e: E) -> Self {
        if e.is_missing() { Unlisted::Missing } else { Unlisted::Stop(e.into()) }
    }
}

/// Whether an error says that a flow is not there.
trait IsMissing {
    fn is_missing(&self) -> bool;
}

impl IsMissing for ClientError {
    fn is_missing(&self) -> bool {
        matches!(self, ClientError::Refused { errno: Some(errno), .. } if errno == "ENOENT")
    }
}

impl IsMissing for Stop {
    fn is_missing(&self) -> bool {
        false
    }
}

/// Asks and prints, and counts in `shown`.
fn list(
    client: &mut Client,
    flows: Flows,
    form: FlowForm,
    framed: bool,
    shown: &mut usize,
) -> Result<(), Unlisted> {
    let mut out = Out::new();
    let verb = Verb::Conntrack(flows);
    if form.kind == FlowKind::Json {
        client.ask_list(verb, |page: Vec<view::Flow>| {
            *shown += page.len();
            out.json(page.into_iter(), false).map_err(Unlisted::from)
        })?;
        out.end_json()?;
        return Ok(out.end()?);
    }
    let mut frame = Frame::new(framed);
    client.ask_list(verb, |page: Vec<String>| {
        *shown += page.len();
        out.texts(frame.before(page.is_empty())).map_err(Unlisted::from)?;
        out.texts(page.into_iter().map(|line| line + "\n")).map_err(Unlisted::from)
    })?;
    out.texts(frame.after())?;
    Ok(out.end()?)
}

/// What stands around elements, if there are any: as with conntrack, of nothing there is not even a document.
struct Frame {
    framed: bool,
    begun: bool,
}

impl Frame {
    fn new(framed: bool) -> Self {
        Frame { framed, begun: false }
    }

    /// What stands before the next elements, `none` if there are none.
    fn before(&mut self, none: bool) -> std::option::IntoIter<String> {
        let begins = self.framed && !self.begun && !none;
        self.begun |= begins;
        begins.then(|| format!("{XML_START}\n")).into_iter()
    }

    /// What stands after all.
    fn after(&self) -> std::option::IntoIter<String> {
        self.begun.then(|| format!("{XML_END}\n")).into_iter()
    }
}

/// One line for each worker.
fn stats(client: &mut Client, form: FlowForm) -> Outcome {
    let workers: Vec<view::FlowCounters> = client.ask(Verb::Conntrack(Flows::Stats))?;
    if form.kind == FlowKind::Json {
        say(serde_json::to_string(&workers)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for w in workers {
        let counts = [
            ("found", w.found),
            ("invalid", w.invalid),
            ("insert", w.insert),
            ("insert_failed", w.insert_failed),
            ("drop", w.drop),
            ("early_drop", w.early_drop),
            ("error", w.error),
            ("search_restart", w.search_restart),
            ("clash_resolve", w.clash_resolve),
            ("chaintoolong", w.chaintoolong),
        ];
        let counts: String = counts.iter().map(|(name, n)| format!("{name}={n} ")).collect();
        say(format!("cpu={:<4}\t{counts}", w.cpu))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what happens until somebody has had enough of it.
fn follow(client: &mut Client, flows: Flows, form: FlowForm) -> Outcome {
    let enough = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the first signal finds the flag unset. A second one ends it at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&enough))?;
        signal_hook::flag::register(signal, Arc::clone(&enough))?;
    }
    if let Flows::Events { buffer: Some(events), .. } = flows {
        close(&format!(
            "NOTICE: the buffer has been set to {} bytes: {events} events wait at most.",
            events * EVENT
        ));
    }
    let mut shown = 0u64;
    let followed = followed(client, flows, form, &mut shown, &enough);
    match followed {
        Err(Stop::NobodyReads) => Ok(ExitCode::SUCCESS),
        // The answer has no end of its own: it was the signal's.
        _ if enough.load(Relaxed) => {
            close(&format!("{shown} flow events have been shown."));
            Ok(ExitCode::SUCCESS)
        }
        other => Stop::outcome(other),
    }
}

fn followed(
    client: &mut Client,
    flows: Flows,
    form: FlowForm,
    shown: &mut u64,
    enough: &AtomicBool,
) -> Result<(), Stop> {
    let mut out = Out::new();
    let mut frame = Frame::new(form.kind == FlowKind::Xml);
    client.ask_list(Verb::Conntrack(flows), |page: Vec<FlowNews>| {
        for news in page {
            let line = match news {
                FlowNews::Line(line) => line,
                FlowNews::Flow(flow) => serde_json::to_string(&flow).map_err(std::io::Error::from)?,
                FlowNews::Lost(n) => {
                    out.end()?;
                    close(&format!(
                        "WARNING: {n} events were lost, which came faster than they were read: ask for fewer (-e, -p, -s …), \
                         or let more wait (-b BYTES)"
                    ));
                    continue;
                }
            };
            *shown += 1;
            out.texts(frame.before(false))?;
            out.texts(std::iter::once(line + "\n"))?;
        }
        if enough.load(Relaxed) {
            out.texts(frame.after())?;
            out.end()?;
            return Err(Stop::Failed(String::new()));
        }
        out.end()
    })
}

/// The manual.
const LONG: &str = "\
Show and change the router's flows, as conntrack(8) does.

The options and the output are those of conntrack-tools, so what reads one reads the other: \
`sekisho conntrack -L -p tcp --state ESTABLISHED`, `sekisho conntrack -D -s 10.1.0.2`, `sekisho conntrack -E -e NEW`.

  conntrack -L [OPTIONS]       list the flows, both families
  conntrack -G OPTIONS         show one, by -p, -s, -d and its ports (or ICMP type and identifier)
  conntrack -D [OPTIONS]       delete those that fit, and show them; without options: all
  conntrack -U [OPTIONS] -m VALUE[/MASK] -t SECONDS
                               change the marks and timeouts of those that fit, and show them
  conntrack -F                 forget all flows
  conntrack -E [OPTIONS]       show what happens to flows, until interrupted
  conntrack -C                 count them
  conntrack -S                 what conntrack did, by worker

-f, --family ipv4|ipv6    -p, --protonum PROTOCOL
-s, --src PREFIX          -d, --dst PREFIX           as the flow was begun
-r, --reply-src PREFIX    -q, --reply-dst PREFIX     as it is answered
--sport PORT              --dport PORT               as it was begun; with -p tcp, udp, …
--reply-port-src PORT     --reply-port-dst PORT      as it is answered
--icmp-type N             --icmp-code N              --icmp-id N; with -p icmp or icmpv6
--srckey N                --dstkey N                 with -p gre
--state STATE             of TCP and SCTP            -u, --status ASSURED|SEEN_REPLY|UNREPLIED|…
-m, --mark VALUE[/MASK]   with -U: what the mark becomes
-n, --src-nat [ADDRESS[:PORT]]   -g, --dst-nat […]   --any-nat […]: those that are translated
-e, --event-mask NEW|UPDATES|DESTROY|ALL             which events -E shows, several with commas
-b, --buffer-size BYTES                              how much of them may wait to be read, up to 6.5 MB
-t, --timeout SECONDS                                what -U sets
-o extended               with the family in front of each line
-o id                     with the flow's number, which `sekisho trace flow NUMBER` takes
-o timestamp              with the time of each event
-o save, -o xml           as conntrack(8) has them
-o userspace              with who did it, which goes without saying
-j, -o json               one JSON object for each flow, in a list; of events, one on each line

A flow that ends while the list is made may be in it or not; none is in it twice. The packets of a flow that was \
deleted begin another, if the rules let them; its NAT port is free again. Events that can't be read as fast as they \
come are lost, which is said.

Exit code 0: done, and with -L, -E, -F, -C and -S even if there is nothing. 1: no router, or no flow fits -G, -D or -U. \
2: options not understood.";
