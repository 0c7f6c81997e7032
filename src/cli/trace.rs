//! `sekisho trace`: the ways of packets, live.

use std::io::{self, Write as _};

use super::out::Stop;
use super::router::Control;
use super::{Outcome, Paint, Run, grouped, misused};
use crate::control::protocol::{Told, Trace as Asked, Verb};
use crate::path::trace::{Expr, ExprError, Missed, Record, Step, text};

/// Follow packets through the router, live: each stage, and why one was dropped.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG)]
pub(super) struct Trace {
    #[command(flatten)]
    which: Which,
    /// Print one JSON object a line, for programs
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

/// Which packets to follow, and for how long.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Stop after so many packets that match; what the router makes because of them is told besides
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Stop after so many seconds
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Packets that each worker follows a second at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Which packets, in the words of tcpdump and some more; all if there is none
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

impl Which {
    /// What to ask the router for.
    pub(super) fn asked(&self) -> Result<Asked, ExprError> {
        let filter = self.filter.join(" ");
        // The router would say the same; here it is misuse.
        filter.parse::<Expr>()?;
        Ok(Asked { filter, count: self.count, seconds: self.seconds, rate: self.rate })
    }
}

impl Run for Trace {
    fn run(self) -> Outcome {
        let asked = match self.which.asked() {
            Ok(asked) => asked,
            Err(misuse) => return misused(&misuse),
        };
        let mut client = self.control.client()?;
        let paint = Paint::stdout();
        Stop::outcome(client.ask_list(Verb::Trace(asked), |told: Vec<Told>| {
            let mut out = io::stdout().lock();
            for one in &told {
                match one {
                    _ if self.json => {
                        writeln!(out, "{}", serde_json::to_string(one).map_err(io::Error::from)?)?
                    }
                    Told::Packet(record) => {
                        for line in block(paint, record) {
                            writeln!(out, "{line}")?;
                        }
                    }
                    Told::Missed(missed) => writeln!(out, "{}", paint.dim(lack(missed)))?,
                }
            }
            out.flush()?;
            Ok::<(), Stop>(())
        }))
    }
}

/// A record's block: its lines, painted.
pub(super) fn block(paint: Paint, record: &Record) -> Vec<String> {
    let (head, packet) = record.headline();
    let mut lines = vec![format!("{} {packet}", paint.bold(head))];
    for step in &record.steps {
        let label = format!("{:<width$}", step.label(), width = text::LABEL);
        let said = step.text().to_string();
        let line = match step {
            Step::Dropped { .. } => format!("   {}{}", paint.red(label), paint.red(said)),
            Step::Sent { .. } | Step::Given { .. } | Step::Delivered { .. } => {
                format!("   {}{said}", paint.green(label))
            }
            Step::Hook { .. } => format!("   {}{}", paint.bold(label), paint.dim(said)),
            Step::Rule { .. } | Step::Policy { .. } => format!("   {}{said}", paint.yellow(label)),
            _ => format!("   {}{said}", paint.cyan(label)),
        };
        lines.push(line.trim_end().to_owned());
    }
    let note = |n: &String| paint.dim(format!("   {:<width$}{n}", "note", width = text::LABEL)).to_string();
    lines.extend(record.remarks().iter().map(note));
    lines
}

/// What could not be told.
pub(super) fn lack(m: &Missed) -> String {
    let mut parts = Vec::new();
    if m.unfollowed > 0 {
        parts.push(format!("{} more matched and were not followed (see --rate)", grouped(m.unfollowed)));
    }
    if m.unjudged > 0 {
        parts.push(format!(
            "{} more might have matched and were not followed (see --rate)",
            grouped(m.unjudged)
        ));
    }
    if m.lost > 0 {
        parts.push(format!("{} were followed and came too fast to be told", grouped(m.lost)));
    }
    format!("… {}", parts.join("; "))
}

/// The manual.
const LONG: &str = "\
Follow packets through the router, live: each stage, and why one was dropped.

Each packet is told as one block when its way has ended: the hooks it met, every rule that matched (with its number and \
its words), what conntrack says of it, its translation before and after, the route and the next hop, and by which link it \
left or why it was dropped, be it that the link's device would not take it. A packet that waits (for a MAC, for its other \
fragments) is told so, and goes on later under the same number. What the router makes because of it, an ICMP error or a reset, is followed too.

FILTER is an expression as for tcpdump(8), judged by the packet as it came in:

  host ADDR   net PREFIX   port PORT   portrange A-B      with src or dst before them, or tcp, udp, ip, ip6, …
  tcp udp icmp icmp6 sctp gre esp ah arp ip ip6   proto NAME
  in LINK     out LINK                 the link it came in by, or left by
  drop        drop REASON              it was dropped; for the reason of this name in `sekisho stats`
  state NEW   mark N[/MASK]            what conntrack said of it; its mark when it ended
  flow NUMBER                          of the flow of this number, as traces tell it
  flow PROTO ADDR:PORT ADDR:PORT       both directions of a flow, however it is translated
  and or not ( )                       and and or bind alike, from left to right, as in tcpdump

Nothing is paid for while nobody traces. With a trace, each worker follows 1000 packets a second at most (--rate); what matches \
beyond that goes its way untold, and is counted. Packets that the flow cache would have replayed walk instead, and say so.

  sekisho trace drop                             every packet that is dropped, and why
  sekisho trace -c 1 in wan and tcp port 22      the next one from outside to port 22
  sekisho trace -j --for 10 net 10.1.0.0/24      ten seconds of a network, a JSON object a line

Exit code 0: told, even if nothing matched. 1: no router, or it refused. 2: FILTER not understood.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_said_in_words() {
        let m = Missed { unfollowed: 12_345, unjudged: 0, lost: 7 };
        assert_eq!(
            lack(&m),
            "… 12,345 more matched and were not followed (see --rate); 7 were followed and came too fast to be told"
        );
    }
}
