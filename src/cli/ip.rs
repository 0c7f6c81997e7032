//! `sekisho ip`: the router's links, addresses, routes and neighbors, in the words of iproute2.

mod text;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use super::out::{Out, Stop};
use super::{Outcome, Run, complain};
use crate::control::client::Client;
use crate::control::protocol::{Show, Verb};
use crate::control::view;
use words::{Asked, Said};

/// Show the router's links, addresses, routes and neighbors, as ip(8) does.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG)]
pub(super) struct Ip {
    /// The router's control socket; else $SEKISHO_CONTROL, else that of the only router running
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Options and words of ip(8)
    #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl Run for Ip {
    fn run(self) -> Outcome {
        let asked = match words::parse(&self.words) {
            Ok(Said::Show(asked)) => asked,
            Ok(Said::Help) => {
                super::say(USAGE)?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(misuse) => {
                complain(&misuse);
                return Ok(ExitCode::from(2));
            }
        };
        let control = self.control.or_else(|| asked.control.clone());
        let mut client = Client::find(control.as_deref())?;
        let mut out = Out::new();
        Stop::outcome(show(&mut client, &asked, &mut out).and_then(|()| out.end()))
    }
}

/// The manual.
const LONG: &str = "\
Show the router's links, addresses, routes and neighbors, as ip(8) does.

The words, their abbreviations and the output are those of iproute2, so what reads one reads the other: \
`sekisho ip -j route`, `sekisho ip -br a`, `sekisho ip n s dev lan`.

  ip [-4|-6] [-j [-p]|-o|-br] [-s] [-d] link|address|route|neighbor [show] …

  link     [show] [[dev] NAME] [up]
  address  [show] [[dev] NAME] [up] [scope host|link|global] [to PREFIX]
  route    [show] [[root|match|exact] PREFIX] [table main|local|all]
           [dev NAME] [via ADDRESS] [proto NAME] [scope SCOPE] [type TYPE]
  neighbor [show] [[to] PREFIX] [dev NAME] [nud STATE]

-4, -6: one family. -j: JSON, -p: indented. -o: one line each. -br: a table. -s: with counters. -d: with the kind of link, what \
moves its frames, and why nothing better does.

Exit code 0: shown, even if nothing fits. 1: no router, or no such link. 2: words not understood.";

/// What `ip help` shows.
const USAGE: &str = "\
Usage: sekisho ip [ OPTIONS ] OBJECT [ show ] [ SELECTORS ]
where  OBJECT := { link | address | route | neighbor }
       OPTIONS := { -4 | -6 | -j[son] | -p[retty] | -o[neline] | -br[ief] | -s[tatistics] | -d[etails] | --control PATH }
More: sekisho ip --help";

/// Asks and prints.
fn show(client: &mut Client, asked: &Asked, out: &mut Out) -> Result<(), Stop> {
    let opts = &asked.options;
    let verb = Verb::Ip(asked.show.clone());
    match &asked.show {
        Show::Link(_) | Show::Addr(_) => {
            let addresses = matches!(asked.show, Show::Addr(_));
            let links: Vec<view::Link> = client.ask(verb)?;
            let links = links.into_iter().map(|l| text::trim_link(l, opts, addresses));
            match opts.json {
                true if opts.brief => {
                    out.json(links.map(|l| text::brief_json(&l, addresses)), opts.pretty)?
                }
                true => out.json(links, opts.pretty)?,
                false => out.texts(links.map(|l| text::link(&l, opts, addresses)))?,
            }
        }
        Show::Neigh(filter) => {
            let neighbors: Vec<view::Neighbor> = client.ask(verb)?;
            let neighbors = neighbors.into_iter().map(|n| text::trim_neighbor(n, filter));
            match opts.json {
                true => out.json(neighbors, opts.pretty)?,
                false => out.texts(neighbors.map(|n| text::neighbor(&n)))?,
            }
        }
        Show::Route(filter) => {
            client.ask_list(verb, |page: Vec<view::Route>| {
                let routes = page.into_iter().map(|r| text::trim_route(r, filter));
                match opts.json {
                    true => out.json(routes, opts.pretty),
                    false => out.texts(routes.map(|r| text::route(&r, opts))),
                }
            })?;
        }
    }
    if opts.json { out.end_json() } else { Ok(()) }
}
