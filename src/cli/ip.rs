//! `sekisho ip`: the router's links, addresses, routes and neighbors, in the words of iproute2.

mod batch;
mod event;
mod refused;
mod text;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use super::out::{Out, Stop};
use super::router::Control;
use super::{Outcome, Run, complain, misused};
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{Show, Verb};
use crate::control::view;
use crate::io::sys::effective_user;
use words::{Asked, Deed, Options, Said};

/// Show and change the router's links, addresses, routes and neighbors, as ip(8) does.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG)]
pub(super) struct Ip {
    #[command(flatten)]
    control: Control,
    /// Options and words of ip(8)
    #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl Run for Ip {
    fn run(self) -> Outcome {
        let said = match words::parse(&self.words) {
            Ok(said) => said,
            Err(misuse) => return misused(&misuse),
        };
        let mut out = Out::new();
        match said {
            Said::Help => {
                super::say(USAGE)?;
                Ok(ExitCode::SUCCESS)
            }
            Said::Show(asked) => {
                let control = self.control.or(asked.control.clone());
                let mut client = control.client()?;
                Stop::outcome(show(&mut client, &asked, &mut out).and_then(|()| out.end()))
            }
            Said::Do(order) => {
                let control = self.control.or(order.control);
                let mut client = control.client()?;
                ended(act(&mut client, &order.deed, &order.options, &mut out))
            }
            Said::Batch(options, file, control) => {
                let control = self.control.or(control);
                let mut client = control.client()?;
                batch::run(&mut client, &file, &options, &mut out)
            }
        }
    }
}

/// How something that is no listing ended.
enum Ended {
    /// Nobody reads any more, or the router can't be asked.
    Stop(Stop),
    /// It was refused.
    Refused(refused::Refused),
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        Ended::Stop(stop)
    }
}

impl From<ClientError> for Ended {
    fn from(e: ClientError) -> Self {
        Ended::Stop(e.into())
    }
}

fn ended(done: Result<(), Ended>) -> Outcome {
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Ended::Stop(stop)) => Stop::outcome(Err(stop)),
        Err(Ended::Refused(no)) => {
            no.say();
            Ok(no.code())
        }
    }
}

/// Does one thing.
fn act(client: &mut Client, deed: &Deed, opts: &Options, out: &mut Out) -> Result<(), Ended> {
    let no = |e: ClientError| match e {
        ClientError::Refused { text, errno } => {
            Ended::Refused(refused::Refused::new(deed, text, errno.as_deref()))
        }
        e => e.into(),
    };
    match deed {
        Deed::Nothing => {}
        Deed::Change(change) => {
            let applied: view::Applied = client.ask(Verb::Change(change.clone())).map_err(no)?;
            applied.notes.iter().for_each(|note| complain(note));
        }
        Deed::Get(get) => {
            let mut get = get.clone();
            get.uid = get.uid.or(Some(effective_user()));
            let way: view::Route = client.ask(Verb::RouteGet(get)).map_err(no)?;
            match opts.json {
                true => {
                    out.json(std::iter::once(way), opts.pretty)?;
                    out.end_json()?;
                }
                false => out.texts(std::iter::once(text::route(&text::in_detail(way, opts), opts)))?,
            }
            out.end()?;
        }
        Deed::Monitor(monitor, label) => {
            client.ask_list(Verb::Monitor(monitor.clone()), |events: Vec<view::Event>| {
                for e in events {
                    if let view::Happening::Lost { events } = e.what {
                        complain(&format!("{events} events were lost: more happened than was read in time"));
                        continue;
                    }
                    out.texts(std::iter::once(event::line(&e, opts, *label)))?;
                }
                out.end()
            })?;
        }
    }
    Ok(())
}

/// The manual.
const LONG: &str = "\
Show and change the router's links, addresses, routes and neighbors, as ip(8) does.

The words, their abbreviations and the output are those of iproute2, so what reads one reads the other: \
`sekisho ip -j route`, `sekisho ip -br a`, `sekisho ip n s dev lan`. Each change is a transaction: it is in force when the \
command ends, or nothing is different. `sekisho config` prints what has come of them as a file.

  ip [-4|-6] [-j [-p]|-o|-br] [-s] [-d] link|address|route|neighbor [show] …

  link     [show] [[dev] NAME] [up]
           add NAME type packet|tap|tun [device DEVICE] [mtu N] [address MAC] [up]
           set [dev] NAME [up|down] [mtu N] [address MAC]
           del NAME
  address  [show] [[dev] NAME] [up] [scope host|link|global] [to PREFIX]
           add|replace|change|del ADDRESS/LENGTH dev NAME [brd +|ADDRESS] [label NAME] [scope SCOPE]
           flush [dev] NAME [scope SCOPE] [to PREFIX] | all
  route    [show] [[root|match|exact] PREFIX] [table main|local|all]
           [dev NAME] [via ADDRESS] [proto NAME] [scope SCOPE] [type TYPE] [metric N]
           add|append|replace|change|del [TYPE] PREFIX|default [via [inet6] ADDRESS] [dev NAME] [onlink]
           [metric N] [src ADDRESS] [proto NAME] [nexthop via ADDRESS [dev NAME] [onlink] [weight N]]…
           flush …                as show chooses; routes that follow from addresses stay
           get ADDRESS [from ADDRESS] [iif NAME] [oif NAME] [mark N] [ipproto P] [sport N] [dport N] [fibmatch]
  neighbor [show] [[to] PREFIX] [dev NAME] [nud STATE]
           add|replace|change|del ADDRESS [lladdr MAC] [nud STATE] dev NAME
           flush …                as show chooses; permanent ones only with nud permanent or nud all
  monitor  [link] [address] [route] [neigh] [all] [label] [dev NAME]

TYPE: unicast, unreachable, prohibit or blackhole. SCOPE, label and brd are taken where they say what is so anyway. What \
iproute2 can do and this router can't is an error that names the word.

-4, -6: one family. -j: JSON, -p: indented. -o: one line each. -br: a table. -s: with counters. -d: with the kind of link, what \
moves its frames, and why nothing better does. -t, -ts: with the time (UTC) of what monitor tells. -b FILE: one command a line, \
- for standard input; changes that stand together are one transaction. -force: go on behind a line that fails.

`route get` says which way the walk takes now, links that are down and flows over several next hops (with ipproto, sport and \
dport) included; rules are not asked: that is what `sekisho explain` does.

A new link is down until it is set up. Taking away an address or a link takes the routes along that led out there, and says so.

Exit code 0: done or shown, even if nothing fits. 1: no router, no such link, or a batch that failed. 2: refused, as the kernel \
would have, in its words and one sentence more; or words not understood.";

/// What `ip help` shows.
const USAGE: &str = "\
Usage: sekisho ip [ OPTIONS ] OBJECT { COMMAND | help }
       sekisho ip [ -force ] -batch FILE
where  OBJECT := { link | address | route | neighbor | monitor }
       COMMAND := { show | add | set | append | replace | change | del | flush | get }
       OPTIONS := { -4 | -6 | -j[son] | -p[retty] | -o[neline] | -br[ief] | -s[tatistics] | -d[etails] |
                    -t[imestamp] | -ts[hort] | --control PATH }
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
