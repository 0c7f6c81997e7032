//! `sekisho conntrack`: the router's flow table, in the words of conntrack-tools.

mod words;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::out::{Out, Stop};
use super::{Outcome, Run, complain, say};
use crate::control::client::Client;
use crate::control::protocol::{FlowForm, Flows, Verb};
use crate::control::view;
use words::Said;

/// Show the router's flows, as conntrack(8) does.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG)]
pub(super) struct Conntrack {
    /// The router's control socket; else $SEKISHO_CONTROL, else that of the only router running
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
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
            Err(misuse) => {
                complain(&misuse);
                return Ok(ExitCode::from(2));
            }
        };
        let control = self.control.or(asked.control);
        let mut client = Client::find(control.as_deref())?;
        match asked.flows {
            Flows::Count => {
                let count: u64 = client.ask(Verb::Conntrack(Flows::Count))?;
                say(count)?;
                Ok(ExitCode::SUCCESS)
            }
            Flows::List { form, filter } => {
                let mut shown = 0;
                let listed = list(&mut client, Flows::List { form, filter }, form, &mut shown);
                if listed.is_ok() {
                    // As conntrack has it: on stderr, so that it is not taken for a flow.
                    let _ = writeln!(std::io::stderr(), "sekisho: {shown} flow entries have been shown.");
                }
                Stop::outcome(listed)
            }
        }
    }
}

/// Asks and prints, and counts in `shown`.
fn list(client: &mut Client, flows: Flows, form: FlowForm, shown: &mut usize) -> Result<(), Stop> {
    let mut out = Out::new();
    let verb = Verb::Conntrack(flows);
    if form == FlowForm::Json {
        client.ask_list(verb, |page: Vec<view::Flow>| {
            *shown += page.len();
            out.json(page.into_iter(), false)
        })?;
        out.end_json()?;
    } else {
        client.ask_list(verb, |page: Vec<String>| {
            *shown += page.len();
            out.texts(page.into_iter().map(|line| line + "\n"))
        })?;
    }
    out.end()
}

/// The manual.
const LONG: &str = "\
Show the router's flows, as conntrack(8) does.

The options and the output are those of conntrack-tools, so what reads one reads the other: \
`sekisho conntrack -L -p tcp --state ESTABLISHED`, `sekisho conntrack -C`.

  conntrack -L [OPTIONS]       list the flows, both families
  conntrack -C                 count them

-f, --family ipv4|ipv6    -p, --protonum PROTOCOL
-s, --src PREFIX          -d, --dst PREFIX           as the flow was begun
-r, --reply-src PREFIX    -q, --reply-dst PREFIX     as it is answered
--sport PORT              --dport PORT               as it was begun; with -p tcp, udp, …
--reply-port-src PORT     --reply-port-dst PORT      as it is answered
--state STATE             of TCP and SCTP            -u, --status ASSURED|SEEN_REPLY|…
-m, --mark VALUE[/MASK]
-n, --src-nat [ADDRESS]   -g, --dst-nat [ADDRESS]    --any-nat [ADDRESS]: those that are translated
-o extended               with the family in front of each line
-j, -o json               one JSON object for each flow, in a list

A flow that ends while the list is made may be in it or not; none is in it twice.

Exit code 0: shown, even if nothing fits. 1: no router. 2: options not understood.";
