//! `sekisho ip`: the router's links, addresses, routes and neighbors, in the words of iproute2.

mod batch;
mod event;
mod misuse;
mod refused;
mod text;
mod usage;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use super::out::{Out, Stop};
use super::router::Control;
use super::{Outcome, Run, complain};
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{Show, Verb};
use crate::control::view;
use crate::io::sys::effective_user;
use usage::{LONG, USAGE, usage};
use words::{Asked, Deed, Options, Said};

/// Show and change links, addresses, routes and neighbors, as ip(8) does.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG, disable_help_flag = true)]
pub(super) struct Ip {
    /// Print help: `-h` alone is an option of ip(8)
    #[arg(long = "help", action = clap::ArgAction::HelpLong)]
    _help: Option<bool>,

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
            Err(misuse) => {
                misuse.say();
                return Ok(misuse.code());
            }
        };
        let mut out = Out::new();
        match said {
            Said::Help(object) => {
                super::say(object.map_or(USAGE, usage))?;
                Ok(ExitCode::SUCCESS)
            }
            Said::Version => {
                super::say(format!("ip utility, sekisho-{}", env!("CARGO_PKG_VERSION")))?;
                Ok(ExitCode::SUCCESS)
            }
            Said::Show(asked) => {
                let control = self.control.or(asked.control.clone());
                let mut client = control.client()?;
                ended(show(&mut client, &asked, &mut out).and_then(|()| Ok(out.end()?)))
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
            let way = text::trim_way(way, opts);
            match opts.json {
                true => {
                    out.json(std::iter::once(way), opts.pretty)?;
                    out.end_json()?;
                }
                false => out.texts(std::iter::once(text::route(&way, opts)))?,
            }
            out.end()?;
        }
        Deed::Monitor(monitor, label) => {
            let told = client.ask_list(Verb::Monitor(monitor.clone()), |events: Vec<view::Event>| {
                for e in events {
                    if let view::Happening::Lost { events } = e.what {
                        complain(&format!("{events} events were lost: more happened than was read in time"));
                        continue;
                    }
                    out.texts(std::iter::once(event::line(&e, opts, *label))).map_err(Shown::Stop)?;
                }
                out.end().map_err(Shown::Stop)
            });
            told.map_err(|e| match e {
                Shown::Client(e) => no(e),
                Shown::Stop(stop) => stop.into(),
            })?;
        }
    }
    Ok(())
}

/// Asks and prints.
fn show(client: &mut Client, asked: &Asked, out: &mut Out) -> Result<(), Ended> {
    let opts = &asked.options;
    let verb = Verb::Ip(asked.show.clone());
    let no = |e: ClientError| match e {
        ClientError::Refused { text, errno: Some(errno) } if errno == "ENODEV" => {
            Ended::Refused(refused::Refused::shown(&asked.show, text))
        }
        e => e.into(),
    };
    match &asked.show {
        Show::Link(_) | Show::Addr(_) => {
            let addresses = matches!(asked.show, Show::Addr(_));
            let links: Vec<view::Link> = client.ask(verb).map_err(no)?;
            let links = links.into_iter().filter_map(|l| asked.links.of(l));
            let links = links.map(|l| text::trim_link(l, opts, &asked.show));
            match opts.json {
                true if opts.brief => {
                    out.json(links.map(|l| text::brief_json(&l, addresses)), opts.pretty)?
                }
                true => out.json(links, opts.pretty)?,
                false if asked.links.labelled() && !opts.brief && !opts.oneline => {
                    out.texts(links.map(|l| text::labelled(&l, opts)))?
                }
                false => out.texts(links.map(|l| text::link(&l, opts, addresses)))?,
            }
        }
        Show::Neigh(filter) => {
            let neighbors: Vec<view::Neighbor> = client.ask(verb).map_err(no)?;
            if asked.one && neighbors.is_empty() {
                return Err(Ended::Refused(refused::Refused {
                    kernel: Some("Error: Neighbour entry not found.".to_owned()),
                    text: "there is no such neighbor: `sekisho ip neigh` shows those that there are"
                        .to_owned(),
                    code: misuse::REFUSED,
                }));
            }
            let trim = |n| if asked.one { n } else { text::trim_neighbor(n, filter, opts) };
            let neighbors = neighbors.into_iter().map(trim);
            match opts.json {
                true => out.json(neighbors, opts.pretty)?,
                false => out.texts(neighbors.map(|n| text::neighbor(&n, opts)))?,
            }
        }
        Show::Route(filter) => {
            client
                .ask_list(verb, |page: Vec<view::Route>| {
                    let routes = page.into_iter().filter_map(|r| asked.routes.of(r));
                    let routes = routes.map(|r| text::trim_route(r, filter, opts));
                    match opts.json {
                        true => out.json(routes, opts.pretty),
                        false => out.texts(routes.map(|r| text::route(&r, opts))),
                    }
                    .map_err(Shown::Stop)
                })
                .map_err(|e| match e {
                    Shown::Client(e) => no(e),
                    Shown::Stop(stop) => stop.into(),
                })?;
        }
    }
    if opts.json {
        out.end_json()?;
    }
    Ok(())
}

/// Why a listing in pages ended early.
enum Shown {
    Client(ClientError),
    Stop(Stop),
}

impl From<ClientError> for Shown {
    fn from(e: ClientError) -> Self {
        Shown::Client(e)
    }
}
