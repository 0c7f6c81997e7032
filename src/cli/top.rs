//! `sekisho top`: what a running router is doing, live.
//!
//! ```text
//!  asker ─ stats, each second ─┐
//!                              ├─► screen (model) ─► draw (terminal) or batch (text)
//!  follower ─ busiest flows ───┘
//! ```
//!
//! Two threads ask, each over a connection of its own, so that a slow router never holds up the keys.

mod draw;
mod screen;
mod sheet;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::router::Control;
use super::{Failure, Outcome, Paint, Run, say};
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{Busiest, Verb};
use crate::control::view::{BusiestFlows, Stats};
use screen::{Screen, Sort};

/// Show live what the router is doing: rates, busiest flows, drops, workers.
///
/// Above, the links with their rates and a history of the last half minute; below them the workers, with the share of
/// time each was busy; the flow table and NAT's ports; the drops of this moment by reason; and then the busiest
/// flows, both directions of each together.
///
/// Rates are exact: differences of the router's counters. The busiest flows are sampled, one packet in so many, which the
/// screen says; it is every packet while fewer than ten thousand a second come. The router looks at packets for this only
/// while somebody has top open.
///
/// Keys: q ends it, s sorts the flows by bits or by packets, p or the space bar pauses, ? explains.
///
/// Without a terminal, --once prints one screen as text, and --batch one after the other. Like `stats`, it needs nothing but the control
/// socket. Exit code 0: ended as asked. Exit code 1: no router, or no terminal.
#[derive(Debug, clap::Args)]
pub(super) struct Top {
    /// Print one screen as text, over one delay, and end
    #[arg(long)]
    once: bool,
    /// Print one screen after the other as text
    #[arg(short, long, conflicts_with = "once")]
    batch: bool,
    /// End after so many screens
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    iterations: Option<u64>,
    /// Seconds between two screens: 0.1 to 60
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    delay: Duration,
    /// Sort flows by this at first
    #[arg(short, long, value_name = "WHAT", default_value = "bits")]
    sort: Sort,
    /// Flows shown in text
    #[arg(short, long, value_name = "COUNT", default_value = "10", value_parser = clap::value_parser!(u16).range(0..=1000))]
    flows: u16,
    #[command(flatten)]
    control: Control,
}

/// How soon a key is noticed, at the latest.
const LOOK: Duration = Duration::from_millis(100);
/// Flows asked for, for a screen.
const FLOWS: usize = 200;
/// What may wait to be looked at: each is the newest of its kind.
const WAITING: usize = 4;
/// The longest time between two lists of flows that a router takes.
const SLOWEST: Duration = Duration::from_secs(5);

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    match (0.1..=60.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("0.1 to 60 seconds".to_owned()),
    }
}

/// What the threads that ask have heard.
enum News {
    Stats(Box<Stats>),
    Flows(BusiestFlows),
    /// The busiest flows can't be had.
    NoFlows(String),
    /// The router is gone.
    Over(String),
}

impl Run for Top {
    fn run(self) -> Outcome {
        let text = self.once || self.batch;
        let can_draw =
            std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        if !text && !can_draw {
            return Err(Failure(
                "top needs a terminal that it can draw on: `sekisho top --once` prints one screen as text, and `sekisho stats` every counter"
                    .into(),
            ));
        }
        let client = self.control.client()?;
        let flows = if text { usize::from(self.flows) } else { FLOWS };
        let news = ask(client, self.delay, flows);
        let screen = Screen::new(self.sort);
        if text { self.print(&news, screen) } else { self.show(&news, screen) }
    }
}

impl Top {
    /// Screens as text.
    fn print(&self, news: &Receiver<News>, mut screen: Screen) -> Outcome {
        let most = if self.once { 1 } else { self.iterations.unwrap_or(u64::MAX) };
        let mut shown = 0;
        let mut fresh = false;
        while shown < most {
            // Behind the counters the flows of the same while are on their way.
            let heard = match fresh {
                true => news.recv_timeout(self.delay.mul_f64(0.9).min(SLOWEST)),
                false => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match heard {
                Ok(News::Stats(stats)) => fresh = screen.counted(*stats) || fresh,
                Ok(News::Flows(flows)) => screen.flowed(flows),
                Ok(News::NoFlows(why)) => screen.no_flows(why),
                Ok(News::Over(why)) => return Err(Failure(why)),
                Err(RecvTimeoutError::Timeout) => screen.no_flows("none came".into()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if fresh && screen.has_flows() {
                say(sheet::text(&screen, usize::from(self.flows), Paint::stdout()))?;
                shown += 1;
                fresh = false;
                screen.shown();
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The live screen.
    fn show(&self, news: &Receiver<News>, mut screen: Screen) -> Outcome {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
            signal_hook::flag::register(signal, ended.clone())?;
        }
        // From here on whatever happens, a panic too, gives the terminal back.
        let mut terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        let _back = GiveBack;
        let mut last = 0;
        let most = self.iterations.unwrap_or(u64::MAX);
        terminal.draw(|frame| draw::draw(frame, &screen))?;
        while !ended.load(Relaxed) && last < most {
            let mut changed = false;
            if event::poll(LOOK)? {
                match event::read()? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => {
                        if screen.key(key.code, key.modifiers) {
                            break;
                        }
                        changed = true;
                    }
                    Event::Resize(..) => changed = true,
                    _ => {}
                }
            }
            while let Ok(heard) = news.try_recv() {
                changed = true;
                match heard {
                    News::Stats(stats) => last += u64::from(screen.counted(*stats)),
                    News::Flows(flows) => screen.flowed(flows),
                    News::NoFlows(why) => screen.no_flows(why),
                    News::Over(why) => return Err(Failure(why)),
                }
            }
            if changed {
                terminal.draw(|frame| draw::draw(frame, &screen))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Gives the terminal back as it was.
struct GiveBack;

impl Drop for GiveBack {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Begins to ask; the threads end when nobody listens any more, at the latest with the process.
fn ask(client: Client, delay: Duration, flows: usize) -> Receiver<News> {
    let (to, news) = sync_channel(WAITING);
    let path = client.path().to_owned();
    let counted = to.clone();
    thread::spawn(move || count(client, delay, &counted));
    thread::spawn(move || follow(&path, delay, flows, &to));
    news
}

fn count(mut client: Client, delay: Duration, to: &SyncSender<News>) {
    let mut next = Instant::now();
    loop {
        let heard = match client.ask(Verb::Stats) {
            Ok(stats) => News::Stats(Box::new(stats)),
            Err(e) => News::Over(e.to_string()),
        };
        let over = matches!(heard, News::Over(_));
        if to.send(heard).is_err() || over {
            return;
        }
        // Late is late: no hurry to make up for it.
        next = (next + delay).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn follow(path: &Path, delay: Duration, flows: usize, to: &SyncSender<News>) {
    if flows == 0 {
        let _ = to.send(News::NoFlows("none are asked for".into()));
        return;
    }
    let every = delay.min(SLOWEST).as_millis() as u64;
    let asked = Verb::Busiest(Busiest { count: flows, every });
    let followed = Client::connect(path).and_then(|mut client| {
        client.ask_list(asked, |pages: Vec<BusiestFlows>| {
            pages.into_iter().try_for_each(|page| {
                to.send(News::Flows(page)).map_err(|_| ClientError::BrokeOff(path.to_owned()))
            })
        })
    });
    let why = followed.map_or_else(|e| e.to_string(), |()| "the router has no more to say of them".into());
    let _ = to.send(News::NoFlows(why));
}
