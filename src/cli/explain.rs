//! `sekisho explain`: what would become of a packet that is never sent.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::out::{Out, Stop};
use super::router::Control;
use super::{Outcome, Paint, Run, complain, misused, say};
use crate::base::shown;
use crate::control::client::Client;
use crate::control::protocol::{Explain as Asked, Explanation, Verb};
use crate::io::pcap_read::{Begins, Frame, Frames};
use crate::path::trace::Step;
use crate::path::trace::text::LABEL;
use crate::router::Fate;
use crate::wire::{ethernet, words};

/// Tell what would become of a packet, and why, without sending it.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG)]
pub(super) struct Explain {
    #[command(flatten)]
    control: Control,
    /// A packet in words, and options
    #[arg(value_name = "PACKET", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl Run for Explain {
    fn run(self) -> Outcome {
        let said = match Said::parse(&self.words) {
            Ok(said) => said,
            Err(misuse) => return misused(&misuse),
        };
        if said.help {
            say(LONG)?;
            return Ok(ExitCode::SUCCESS);
        }
        let control = self.control.or(said.control.clone());
        let mut out = Out::new();
        let mut show = Show { client: control.client()?, said: &said, passed: true, shown: 0 };
        let shown = match &said.file {
            Some(file) => show.file(file, &mut out),
            None => show.one(Asked::Words { words: said.words.clone() }, None, &mut out),
        };
        let passed = show.passed;
        let ended = shown.and_then(|()| {
            if said.json {
                out.end_json()?;
            }
            out.end()
        });
        match Stop::outcome(ended) {
            Ok(code) if passed || !said.check => Ok(code),
            Ok(_) => Ok(ExitCode::FAILURE),
            Err(failure) => Err(failure),
        }
    }
}

/// What was said on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    words: Vec<String>,
    link: Option<String>,
    file: Option<PathBuf>,
    frame: Option<u64>,
    json: bool,
    brief: bool,
    check: bool,
    help: bool,
    control: Option<PathBuf>,
}

impl Said {
    /// Options may stand anywhere among the packet's words, and all of it may be one argument.
    fn parse(args: &[OsString]) -> Result<Said, String> {
        let mut said = Said::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let text = arg.to_str().ok_or("an argument is not valid UTF-8; see `sekisho explain --help`")?;
            match text {
                "-r" | "--read" => said.file = Some(path(args.next(), text)?),
                "--control" => said.control = Some(path(args.next(), text)?),
                "-n" | "--frame" => {
                    let number = args.next().and_then(|n| n.to_str()?.parse().ok()).filter(|n| *n > 0);
                    said.frame = Some(number.ok_or(format!("{text} needs a frame's number, from 1"))?);
                }
                _ => {
                    for word in text.split_whitespace() {
                        match word {
                            "-j" | "--json" => said.json = true,
                            "-q" | "--brief" => said.brief = true,
                            "--check" => said.check = true,
                            "-h" | "--help" => said.help = true,
                            word => said.words.push(word.to_owned()),
                        }
                    }
                }
            }
        }
        if said.help {
            return Ok(said);
        }
        match (&said.file, said.frame) {
            (None, Some(_)) => return Err("-n counts the frames of a file: name it with -r".into()),
            (None, None) => {
                words::parse(said.words.iter().map(String::as_str)).map_err(|e| e.to_string())?;
            }
            (Some(_), _) => match &said.words[..] {
                [] => {}
                [i, link] if i == "-i" || i == "iif" || i == "in" => said.link = Some(link.clone()),
                [word, ..] => {
                    return Err(format!(
                        "'{}': with -r the packet is the file's; only -i LINK goes with it",
                        shown(word)
                    ));
                }
            },
        }
        Ok(said)
    }
}

fn path(arg: Option<&OsString>, option: &str) -> Result<PathBuf, String> {
    arg.map(PathBuf::from).ok_or_else(|| format!("{option} needs a file's name"))
}

struct Show<'a> {
    client: Client,
    said: &'a Said,
    /// Whether all of them would pass.
    passed: bool,
    shown: usize,
}

impl Show<'_> {
    fn file(&mut self, file: &Path, out: &mut Out) -> Result<(), Stop> {
        let wrong = |e: &dyn std::fmt::Display| Stop::Failed(format!("{}: {e}", file.display()));
        let opened: Box<dyn Read> = match file.as_os_str() == "-" {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(file).map_err(|e| wrong(&e))?),
        };
        let mut passed_over = 0;
        for frame in Frames::new(BufReader::new(opened)).map_err(|e| wrong(&e))? {
            let frame = frame.map_err(|e| wrong(&e))?;
            let number = frame.number;
            if self.said.frame.is_some_and(|n| n != number) {
                continue;
            }
            let asked = match asked(&frame, self.said.link.clone()) {
                Ok(asked) => asked,
                Err(why) if self.said.frame.is_some() => return Err(wrong(&why)),
                // The others may be understood.
                Err(why) => {
                    complain(&format!("{}: {why}", file.display()));
                    passed_over += 1;
                    continue;
                }
            };
            self.one(asked, Some(number), out)?;
            if self.said.frame.is_some() {
                return Ok(());
            }
        }
        match self.said.frame {
            Some(n) => Err(wrong(&format!("it has no frame {n}"))),
            None if self.shown == 0 && passed_over == 0 => Err(wrong(&"it has no frames")),
            None if self.shown == 0 => Err(wrong(&"none of its frames can be asked about")),
            None => Ok(()),
        }
    }

    fn one(&mut self, asked: Asked, number: Option<u64>, out: &mut Out) -> Result<(), Stop> {
        let told: Explanation = self.client.ask(Verb::Explain(asked))?;
        self.passed &= told.outcome.verdict.is_passed();
        self.shown += 1;
        if self.said.json {
            return out.json([told].into_iter(), true);
        }
        let text = match (self.said.brief, number) {
            (true, Some(number)) => format!("{number}: {}\n", told.verdict),
            (true, None) => format!("{}\n", told.verdict),
            (false, _) => {
                let between = if self.shown > 1 { "\n" } else { "" };
                format!("{between}{}", text(&told, number, Paint::stdout()))
            }
        };
        out.texts([text].into_iter())
    }
}

/// The frame as it is asked about.
fn asked(frame: &Frame, link: Option<String>) -> Result<Asked, String> {
    if frame.data.len() < frame.len {
        return Err(format!(
            "frame {} has only {} of its {} bytes: capture with a larger snaplen",
            frame.number,
            frame.data.len(),
            frame.len
        ));
    }
    let (skip, ethernet) = match frame.begins {
        Begins::Ethernet => (0, true),
        Begins::Ip => (0, false),
        Begins::Cooked { header, ethertype } if holds_ip(&frame.data, header, ethertype) => (header, false),
        Begins::Cooked { .. } => {
            return Err(format!(
                "frame {} holds no IP packet, and without its MACs nothing else can be asked",
                frame.number
            ));
        }
        Begins::Other(kind) => {
            return Err(format!(
                "frame {} is of link type {kind}, which is not known here: Ethernet, raw IP and Linux cooked are",
                frame.number
            ));
        }
    };
    let bytes = frame.data.get(skip..).unwrap_or_default();
    let mut hex = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        // Writing to a string does not fail.
        let _ = write!(hex, "{b:02x}");
    }
    Ok(Asked::Frame { link, frame: hex, ethernet })
}

/// Whether an IP packet comes behind so many bytes, by the EtherType among them and by its own first byte. Other protocols
/// may begin as IP does: a spanning tree's messages with 0x42.
fn holds_ip(data: &[u8], header: usize, ethertype: Option<usize>) -> bool {
    let version = data.get(header).map(|b| b >> 4);
    let said =
        ethertype.map(|at| data.get(at..).and_then(|b| b.first_chunk()).copied().map(u16::from_be_bytes));
    match said {
        None => matches!(version, Some(4 | 6)),
        Some(Some(ethernet::IPV4)) => version == Some(4),
        Some(Some(ethernet::IPV6)) => version == Some(6),
        Some(_) => false,
    }
}

/// An explanation as people read it: each step, then the verdict.
pub(super) fn text(told: &Explanation, number: Option<u64>, paint: Paint) -> String {
    let mut text = String::new();
    let from = told.link.as_deref().unwrap_or("made here");
    let number = number.map_or(String::new(), |n| format!("{n} "));
    // Writing to a string does not fail.
    let _ = writeln!(text, "{number}{}", paint.bold(format!("{from}: {}", told.packet)));
    let first = told.records.first().map(|r| r.id);
    for record in &told.records {
        if Some(record.id) != first {
            let made = record.link.as_deref().unwrap_or("made here");
            let _ = writeln!(text, "   {}", paint.dim(format!("{made}: {}", record.packet)));
        }
        let indent = if Some(record.id) == first { "   " } else { "      " };
        for step in &record.steps {
            let line = format!("{indent}{:<LABEL$}{}", step.label(), step.text());
            let line = line.trim_end();
            let _ = match step {
                Step::Dropped { .. } => writeln!(text, "{}", paint.red(line)),
                Step::Hook { .. } => writeln!(text, "{}", paint.cyan(line)),
                _ => writeln!(text, "{line}"),
            };
        }
    }
    let note = |text: &mut String, label: &str, said: &str| {
        let _ = writeln!(text, "   {}", paint.dim(format!("{label:<LABEL$}{said}")));
    };
    told.log.iter().for_each(|line| note(&mut text, "log", line));
    told.notes.iter().for_each(|said| note(&mut text, "note", said));
    let _ = match told.outcome.verdict {
        Fate::Dropped => writeln!(text, "{}", paint.red(&told.verdict)),
        _ => writeln!(text, "{}", paint.green(&told.verdict)),
    };
    for answer in &told.answers {
        let _ = writeln!(text, "{}: {}", answer.packet, answer.verdict);
    }
    text
}

/// The manual.
const LONG: &str = "\
Tell what would become of a packet, and why, without sending it.

The packet walks the very stages that a real one would, over a copy of the router's tables as they are at this \
moment: hooks and rules, conntrack, NAT, routes, neighbors. Each step is told, then the verdict in one line. Nothing is \
sent, counted or remembered.

  sekisho explain -i lan tcp 10.1.0.2:40000 to 198.51.100.7:443 syn
  sekisho explain '-i lan tcp 10.1.0.2:40000 > 198.51.100.7:443 syn'      a > must be hidden from the shell
  sekisho explain -i lan udp [fd01::2]:5000 to [2001:db8::1]:53 len 120
  sekisho explain -i wan icmp 203.0.113.9 to 203.0.113.1 ttl 1
  sekisho explain -i wan icmp 203.0.113.9 to 203.0.113.1 port-unreachable about udp 203.0.113.1:4000 to 203.0.113.9:53
  sekisho explain -i lan arp who-has 10.1.0.1 tell 10.1.0.2
  sekisho explain udp 203.0.113.1:123 to 192.0.2.1:123                    made by the router itself
  sekisho explain -i lan -r trouble.pcapng -n 7                           a frame out of a capture

A packet is  [-i LINK] PROTOCOL SOURCE to DESTINATION [WORDS]; without -i the router itself makes it.

PROTOCOL  tcp, udp, udplite, sctp, icmp, icmp6, gre, esp, ah, igmp, ipip, proto NUMBER, arp
any       ttl N, tos N, len N (bytes of the whole IP packet), df, ipid N, frag OFFSET[+] (+: more follow)
tcp       syn ack fin rst psh urg ece cwr none (default: syn), seq N, ack N, win N, mss N
sctp      init data sack heartbeat abort … (default: init), tag N
icmp      echo-request (default), echo-reply, port-unreachable, … or type N, code N; id N, seq N, mtu N; about PACKET
arp       who-has ADDRESS tell ADDRESS, reply ADDRESS is-at MAC to ADDRESS
frame     smac MAC, dmac MAC, vlan N; default: from the neighbor who has the address, to the router

-r, --read FILE      the frames of a pcap or pcapng file (-: standard input), each by itself; with -i LINK
-n, --frame N        only that one, counted from 1
-q, --brief          only the verdict
-j, --json           a list of objects, each with its steps as `sekisho trace -j` prints them
    --check          exit code 1 if a packet would be dropped

What chance decides (ports that NAT draws, statistic --mode random) is said to be so. What the router's own services \
answer is not known.

Exit code 0: told, whatever the verdict. 1: no router, no such link or file; with --check, it would be dropped. \
2: the packet is not understood.";

#[cfg(test)]
mod tests {
    use super::*;

    fn said(args: &[&str]) -> Result<Said, String> {
        Said::parse(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_stand_anywhere_and_all_may_be_one_argument() {
        let words = ["-i", "lan", "tcp", "10.1.0.2:1", ">", "10.2.0.2:80", "syn"];
        let of = |args: &[&str]| {
            let said = said(args).unwrap();
            (said.words, said.json, said.brief, said.check)
        };
        let own = || words.map(str::to_owned).to_vec();
        assert_eq!(of(&words), (own(), false, false, false));
        assert_eq!(of(&["-j -i lan tcp 10.1.0.2:1 > 10.2.0.2:80 syn"]), (own(), true, false, false));
        let apart = ["--check", "-i", "lan", "tcp 10.1.0.2:1 > 10.2.0.2:80", "-q", "syn"];
        assert_eq!(of(&apart), (own(), false, true, true));
        let file = said(&["-i", "lan", "-r", "my file.pcap", "-n", "3"]).unwrap();
        assert_eq!(
            (file.file, file.frame, file.link.as_deref()),
            (Some("my file.pcap".into()), Some(3), Some("lan"))
        );
    }

    #[test]
    fn what_stands_in_front_of_an_ip_packet_is_taken_off() {
        let frame = |begins, data: &[u8]| Frame { number: 7, begins, data: data.to_vec(), len: data.len() };
        let of = |begins, data: &[u8]| asked(&frame(begins, data), None);
        let ip = Asked::Frame { link: None, frame: "4500".into(), ethernet: false };
        assert_eq!(of(Begins::Ip, &[0x45, 0]), Ok(ip.clone()));
        let loopback = Begins::Cooked { header: 2, ethertype: None };
        let cooked = Begins::Cooked { header: 4, ethertype: Some(1) };
        assert_eq!(of(loopback, &[9, 9, 0x45, 0]), Ok(ip.clone()));
        assert_eq!(of(cooked, &[9, 8, 0, 9, 0x45, 0]), Ok(ip));
        // An ARP message, and one that ends before it begins; LLC's (4) and IPv6's number before what looks like IPv4.
        for (begins, data) in [
            (loopback, &[9, 9, 0, 1][..]),
            (loopback, &[9, 9]),
            (cooked, &[9, 8, 0, 9]),
            (cooked, &[9, 8]),
            (cooked, &[9, 0, 4, 9, 0x42, 0x42, 3]),
            (cooked, &[9, 0x86, 0xdd, 9, 0x45, 0]),
        ] {
            assert!(of(begins, data).unwrap_err().contains("frame 7 holds no IP packet"), "{data:?}");
        }
        assert!(of(Begins::Other(105), &[0x45]).unwrap_err().contains("frame 7 is of link type 105"));
        let cut = Frame { len: 9, ..frame(Begins::Ip, &[0x45]) };
        assert!(asked(&cut, None).unwrap_err().contains("only 1 of its 9 bytes"));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (args, why) in [
            (&[][..], "say a packet"),
            (&["-n", "1"], "-r"),
            (&["-r"], "a file's name"),
            (&["-r", "f", "-n", "0"], "from 1"),
            (&["-r", "f", "tcp"], "'tcp'"),
            (&["-x"], "'-x'"),
            (&["tcp", "10.0.0.1:1", "syn"], "'syn'"),
        ] {
            let error = said(args).unwrap_err();
            assert!(error.contains(why), "{args:?}: {error}");
        }
    }
}
