//! `sekisho capture`: packets as they were on their way, into a pcapng file.
//!
//! The file is this process's: the router, which may have more rights, writes none.

mod files;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::out::Stop;
use super::router::Control;
use super::trace::{Which, lack};
use super::{Outcome, Run, complain, misused};
use crate::control::base64;
use crate::control::protocol::{Capture as Asked, Captured, CapturedFrame, MAX_SNAPLEN, Verb};
use crate::io::pcapng::{Enhanced, LinkType};
use crate::path::trace::{Missed, Point};
use files::{Files, Ring, Spoilt};

/// Write packets to a pcapng file, each with what became of it as a comment.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG)]
pub(super) struct Capture {
    /// The file; `-`: standard output
    #[arg(short, long = "write", value_name = "FILE")]
    write: PathBuf,
    #[command(flatten)]
    which: Which,
    /// Where on their way: ingress, egress, prerouting, input, forward, output, postrouting or drop
    #[arg(long, value_name = "POINT", value_delimiter = ',', value_parser = point)]
    at: Vec<Point>,
    /// Bytes kept of each packet
    #[arg(short, long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    snaplen: Option<u64>,
    /// Begin another file when one has so many million bytes
    #[arg(short = 'C', value_name = "MB", value_parser = clap::value_parser!(u64).range(1..))]
    megabytes: Option<u64>,
    /// Begin another file after so many seconds
    #[arg(short = 'G', value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    rotate: Option<u64>,
    /// Keep so many files, and write over the oldest; with -C or -G
    #[arg(short = 'W', value_name = "FILES", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    keep: Option<u32>,
    #[command(flatten)]
    control: Control,
}

fn point(word: &str) -> Result<Point, String> {
    let found = Point::ALL.into_iter().find(|p| p.name() == word);
    found.ok_or_else(|| {
        let names: Vec<&str> = Point::ALL.iter().map(|p| p.name()).collect();
        format!("a point is one of {}", names.join(", "))
    })
}

impl Run for Capture {
    fn run(self) -> Outcome {
        let of = match self.which.asked() {
            Ok(of) => of,
            Err(e) => return misused(&e),
        };
        let turns = self.megabytes.is_some() || self.rotate.is_some();
        let stdout = self.write.as_os_str() == "-";
        if self.keep.is_some() && !turns {
            return misused("-W says how many files to keep: say with -C or -G when one is full");
        }
        if stdout && turns {
            return misused("standard output can't be several files: leave out -C and -G, or name a file");
        }
        let snaplen = self.snaplen.map(|n| usize::try_from(n).unwrap_or(MAX_SNAPLEN).min(MAX_SNAPLEN));
        let mut client = self.control.client()?;
        let ring = Ring {
            bytes: self.megabytes.map(|n| n.saturating_mul(1_000_000)),
            time: self.rotate.map(Duration::from_secs),
            keep: self.keep,
        };
        let mut files = Files::create(&self.write, snaplen.unwrap_or(MAX_SNAPLEN), ring)?;
        let stop = stopped()?;
        let (mut frames, mut missed) = (0u64, Missed::default());
        let asked = Verb::Capture(Asked { of, at: self.at, snaplen });
        // Ended by whoever began it, it is told what is left: of what still waits, how far it has come.
        let followed = client.ask_until(asked, &stop, |told: Vec<Captured>| {
            for one in told {
                match one {
                    Captured::Frame(frame) => {
                        put(&mut files, &frame)?;
                        frames += 1;
                    }
                    Captured::Missed(m) => {
                        files.missed(m.all());
                        missed.unfollowed += m.unfollowed;
                        missed.unjudged += m.unjudged;
                        missed.lost += m.lost;
                    }
                }
            }
            files.flush().map_err(Spoilt::stop)
        });
        let finished = files.finish().map_err(Spoilt::stop);
        let outcome = Stop::outcome(followed.and(finished));
        if outcome.is_ok() {
            complain(&said(frames, &missed));
        }
        outcome
    }
}

fn put(files: &mut Files, f: &CapturedFrame) -> Result<(), Stop> {
    let data = base64::decode(&f.data).ok_or_else(|| {
        Stop::Failed("a frame's bytes can't be understood: use the sekisho it was started with".into())
    })?;
    // Wires have a name of their own; at the hooks it is the hook that matters.
    let name = match f.point {
        Point::Ingress | Point::Egress => f.link.clone(),
        point => format!("{}:{}", f.link, point.name()),
    };
    let packet = Enhanced {
        time: f.time,
        kept: &data,
        original: f.len,
        direction: match f.point {
            Point::Ingress => Some(1),
            Point::Egress => Some(2),
            _ => None,
        },
        comment: &f.comment,
        ..Enhanced::default()
    };
    let kind = if f.ethernet { LinkType::Ethernet } else { LinkType::Raw };
    files.packet(&name, kind, packet).map_err(Spoilt::stop)
}

impl Spoilt {
    fn stop(self) -> Stop {
        match self.why.kind() {
            ErrorKind::BrokenPipe => Stop::NobodyReads,
            _ => Stop::Failed(self.to_string()),
        }
    }
}

/// What was captured, in a sentence.
fn said(frames: u64, missed: &Missed) -> String {
    let frames = if frames == 1 { "1 frame".to_owned() } else { format!("{frames} frames") };
    match missed.all() {
        0 => format!("{frames} captured"),
        _ => format!("{frames} captured {}", lack(missed)),
    }
}

/// Set when somebody ends us: the file is then ended well.
fn stopped() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second time at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// The manual.
const LONG: &str = "\
Write packets to a pcapng file, each with what became of it as a comment.

Wireshark and tshark open it, and show the comment: the verdict, the rules that matched, the translation.

  sekisho capture -w all.pcapng                          as they come in and as they leave, until Ctrl-C
  sekisho capture -w drops.pcapng drop                   what is dropped, as it came in, and why
  sekisho capture -w - --at ingress tcp port 443 | tshark -i -
  sekisho capture -w nat.pcapng --at prerouting,egress   before and after translation
  sekisho capture -w ring.pcapng -C 100 -W 10            the last gigabyte, in files of 100 million bytes

FILTER is that of `sekisho trace`. --at says where on its way a packet is written, once for each point it comes to: frames at \
ingress and egress stand under their link's name; packets at hooks, from their IP header on, as LINK:POINT. A packet's frames \
have one number in their comments, `#17`; what the router made because of it names it. One that waits (for a MAC) is written \
when it has gone on, or after five seconds, or when the capture ends: its comment then says that it was still waiting.

With -C or -G there are several files, numbered before the extension (ring.00.pcapng, ring.01.pcapng, …); with -W so many \
are kept. Packets that were not captured because more came than may be (--rate, 10000 a second for each worker if nothing is \
said) are counted in the interface statistics at the end of each file. Super-frames are written whole, as the devices gave \
them, their checksums unfinished.

Exit code 0: written; 1: no router, or the file can't be written; 2: misuse.";
