//! What the screen shows, whatever it is shown on: the last counters, those before, rates between them, histories.
//!
//! Knows nothing of terminals.

use std::collections::{HashMap, VecDeque};

use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use crate::control::view::{BusiestFlows, BusyFlow, LinkStats, Stats};

/// Moments that a link's history goes back.
pub(super) const HISTORY: usize = 30;

/// What flows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Sort {
    /// Bits a second
    Bits,
    /// Packets a second
    Packets,
}

/// The state of the screen.
pub(super) struct Screen {
    pub(super) now: Option<Stats>,
    before: Option<Stats>,
    pub(super) flows: Option<BusiestFlows>,
    /// Why there are none.
    pub(super) no_flows: Option<String>,
    history: HashMap<String, VecDeque<u64>>,
    pub(super) sort: Sort,
    pub(super) paused: bool,
    pub(super) help: bool,
}

/// A link's rates, each a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct LinkRates {
    pub(super) rx_packets: f64,
    pub(super) rx_bits: f64,
    pub(super) tx_packets: f64,
    pub(super) tx_bits: f64,
    /// Dropped and missed.
    pub(super) drops: f64,
}

impl Screen {
    /// Nothing heard yet.
    pub(super) fn new(sort: Sort) -> Self {
        Screen {
            now: None,
            before: None,
            flows: None,
            no_flows: None,
            history: HashMap::new(),
            sort,
            paused: false,
            help: false,
        }
    }

    /// Counters have come; whether there are rates now.
    pub(super) fn counted(&mut self, stats: Stats) -> bool {
        if self.paused {
            return false;
        }
        self.before = self.now.replace(stats);
        // A router that was started anew begins at zero.
        if self.seconds().is_none_or(|s| s <= 0.0) {
            self.before = None;
        }
        if self.before.is_none() {
            return false;
        }
        let Some(now) = &self.now else { return false };
        let rates: Vec<(String, u64)> = now
            .links
            .iter()
            .map(|l| {
                let r = self.link(l);
                (l.ifname.clone(), (r.rx_bits + r.tx_bits) as u64)
            })
            .collect();
        self.history.retain(|name, _| rates.iter().any(|(n, _)| n == name));
        for (name, rate) in rates {
            let past = self.history.entry(name).or_default();
            past.push_back(rate);
            while past.len() > HISTORY {
                past.pop_front();
            }
        }
        true
    }

    /// The busiest flows have come.
    pub(super) fn flowed(&mut self, flows: BusiestFlows) {
        if !self.paused {
            self.flows = Some(flows);
            self.no_flows = None;
        }
    }

    /// They can't be had.
    pub(super) fn no_flows(&mut self, why: String) {
        self.no_flows = Some(why);
    }

    /// Whether there is something to say about flows.
    pub(super) fn has_flows(&self) -> bool {
        self.flows.is_some() || self.no_flows.is_some()
    }

    /// What there was has been shown: the next screen has flows of its own.
    pub(super) fn shown(&mut self) {
        self.flows = None;
    }

    /// A key was pressed; whether that is the end.
    pub(super) fn key(&mut self, code: KeyCode, modifiers: KeyModifiers) -> bool {
        let control = modifiers.contains(KeyModifiers::CONTROL);
        match code {
            KeyCode::Char('c' | 'd') if control => return true,
            KeyCode::Char(_) if control => {}
            // Any key closes the help.
            _ if self.help => self.help = false,
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => return true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('s') => {
                self.sort = match self.sort {
                    Sort::Bits => Sort::Packets,
                    Sort::Packets => Sort::Bits,
                };
            }
            _ => {}
        }
        false
    }

    /// Seconds between the two.
    fn seconds(&self) -> Option<f64> {
        Some(self.now.as_ref()?.uptime - self.before.as_ref()?.uptime)
    }

    /// How much more something is than before, a second. `of` gives `None` where it is not counted.
    pub(super) fn rate(&self, of: impl Fn(&Stats) -> Option<u64>) -> f64 {
        let both = || Some((of(self.now.as_ref()?)?, of(self.before.as_ref()?)?, self.seconds()?));
        both().map_or(0.0, |(now, before, seconds)| now.saturating_sub(before) as f64 / seconds)
    }

    /// A link's rates.
    pub(super) fn link(&self, l: &LinkStats) -> LinkRates {
        let rate = |value: fn(&LinkStats) -> u64| {
            self.rate(|s| Some(value(s.links.iter().find(|o| o.ifname == l.ifname)?)))
        };
        LinkRates {
            rx_packets: rate(|l| l.rx_packets),
            rx_bits: rate(|l| l.rx_bytes) * 8.0,
            tx_packets: rate(|l| l.tx_packets),
            tx_bits: rate(|l| l.tx_bytes) * 8.0,
            drops: rate(|l| l.rx_dropped.saturating_add(l.rx_missed).saturating_add(l.tx_dropped)),
        }
    }

    /// All links but the loopback together.
    pub(super) fn all(&self) -> LinkRates {
        let mut sum = LinkRates::default();
        let links = self.now.iter().flat_map(|s| &s.links).filter(|l| l.kind != "loopback");
        for r in links.map(|l| self.link(l)) {
            sum.rx_packets += r.rx_packets;
            sum.rx_bits += r.rx_bits;
            sum.tx_packets += r.tx_packets;
            sum.tx_bits += r.tx_bits;
            sum.drops += r.drops;
        }
        sum
    }

    /// A counter's rate, by its name.
    pub(super) fn tally(&self, name: &str) -> f64 {
        self.rate(|s| Some(s.tallies.iter().find(|t| t.name == name)?.value))
    }

    /// The reasons of drops and their rates, largest first; those of which there were none lately are left out.
    pub(super) fn drops(&self) -> Vec<(String, f64, u64)> {
        let Some(now) = &self.now else { return Vec::new() };
        let of = |name: &str, s: &Stats| Some(sum(s.drops.iter().find(|d| d.name == name)?));
        let all = now.drops.iter().map(|d| (d.name.clone(), self.rate(|s| of(&d.name, s)), sum(d)));
        let mut some: Vec<_> = all.filter(|(_, rate, _)| *rate > 0.0).collect();
        some.sort_by(|a, b| b.1.total_cmp(&a.1));
        some
    }

    /// The flows in the order asked for.
    pub(super) fn busiest(&self) -> Vec<&BusyFlow> {
        let mut all: Vec<_> = self.flows.iter().flat_map(|f| &f.flows).collect();
        let size = |f: &BusyFlow| match self.sort {
            Sort::Bits => f.original.bytes.saturating_add(f.reply.bytes),
            Sort::Packets => f.original.packets.saturating_add(f.reply.packets),
        };
        all.sort_by_key(|f| std::cmp::Reverse(size(f)));
        all
    }

    /// The history of a link as a line of bars, the newest last.
    pub(super) fn sparkline(&self, link: &str) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let Some(past) = self.history.get(link) else { return String::new() };
        let most = past.iter().copied().max().unwrap_or(0);
        let bar = |n: &u64| match most {
            0 => BARS[0],
            most => BARS[(n.saturating_mul(7).div_ceil(most) as usize).min(7)],
        };
        past.iter().map(bar).collect()
    }
}

fn sum(d: &crate::control::view::Drop) -> u64 {
    d.received.saturating_add(d.originated)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::control::view::{Drop, FlowTable, NatPorts, Tally, Traffic, WorkerStats};

    /// Counters after so many seconds of a steady life.
    pub(in super::super) fn stats(seconds: u64) -> Stats {
        let link = |name: &str, kind: &str, n: u64| LinkStats {
            ifname: name.into(),
            kind: kind.into(),
            up: true,
            rx_packets: n * seconds,
            rx_bytes: n * seconds * 1_250,
            rx_dropped: n * seconds / 1_000,
            rx_missed: 0,
            tx_packets: n * seconds * 2,
            tx_bytes: n * seconds * 125,
            tx_dropped: 0,
            driver: None,
        };
        let drop = |name: &str, each: u64| Drop {
            name: name.into(),
            text: String::new(),
            stage: "route".into(),
            received: each * seconds,
            originated: 7,
        };
        let tally =
            |name: &str, each: u64| Tally { name: name.into(), text: String::new(), value: each * seconds };
        Stats {
            name: "gw".into(),
            version: "0.1.0".into(),
            uptime: 100.0 + seconds as f64,
            links: vec![
                link("lo", "loopback", 5),
                link("lan", "packet", 1_000_000),
                link("wan", "packet", 10),
            ],
            drops: vec![drop("filtered", 12), drop("no_route", 0), drop("rp_filter", 2_000)],
            tallies: vec![tally("flows_begun", 120), tally("flow_cache_hits", 900_000)],
            workers: vec![WorkerStats {
                worker: 0,
                busy: 0.345,
                packets_per_batch: 17.3,
                rx_packets: 1_000_010 * seconds,
                ..WorkerStats::default()
            }],
            conntrack: FlowTable {
                families: vec!["ipv4".into()],
                flows: 1_234,
                max: 262_144,
                ..FlowTable::default()
            },
            nat: crate::control::view::Nat {
                ports: vec![NatPorts {
                    address: "192.0.2.1".into(),
                    protocol: "tcp".into(),
                    used: 6_451,
                    flows: 7_000,
                    of: 64_512,
                }],
                ..Default::default()
            },
            ..Stats::default()
        }
    }

    pub(in super::super) fn flows() -> BusiestFlows {
        let flow = |sport, bytes, packets| BusyFlow {
            protocol: "tcp".into(),
            src: "10.1.0.2".into(),
            dst: "198.51.100.7".into(),
            sport,
            dport: 443,
            link: "lan".into(),
            state: Some("ESTABLISHED".into()),
            original: Traffic { packets, bytes },
            reply: Traffic { packets: 10, bytes: 1_000 },
        };
        BusiestFlows {
            seconds: 2.0,
            one_in: 64,
            flows: vec![flow(40_000, 2_500_000, 2_000), flow(40_001, 10_000, 5_000)],
            ..BusiestFlows::default()
        }
    }

    pub(in super::super) fn screen() -> Screen {
        let mut screen = Screen::new(Sort::Bits);
        assert!(!screen.counted(stats(1)), "there is nothing to compare it with");
        assert!(screen.counted(stats(3)));
        screen.flowed(flows());
        screen
    }

    #[test]
    fn rates_are_what_came_between() {
        let screen = screen();
        let all = screen.all();
        assert_eq!((all.rx_packets, all.rx_bits), (1_000_010.0, 10_000_100_000.0));
        assert_eq!((all.tx_packets, all.drops), (2_000_020.0, 1_000.0));
        assert_eq!(screen.tally("flows_begun"), 120.0);
        assert_eq!(screen.tally("nothing"), 0.0);
        let drops = screen.drops();
        assert_eq!(drops, [("rp_filter".into(), 2_000.0, 6_007), ("filtered".into(), 12.0, 43)]);
    }

    #[test]
    fn a_router_that_began_anew_has_no_rates_yet() {
        let mut screen = screen();
        assert!(!screen.counted(stats(1)));
        assert_eq!(screen.all(), LinkRates::default());
        assert!(screen.counted(stats(2)));
    }

    #[test]
    fn keys() {
        let mut s = screen();
        let press = |s: &mut Screen, c| s.key(KeyCode::Char(c), KeyModifiers::NONE);
        let first = |s: &Screen| s.busiest()[0].sport;
        assert_eq!(first(&s), 40_000);
        assert!(!press(&mut s, 's'));
        assert_eq!(first(&s), 40_001);
        press(&mut s, 'p');
        assert!(!s.counted(stats(9)));
        s.flowed(BusiestFlows::default());
        assert_eq!((s.now.as_ref().map(|n| n.uptime), s.busiest().len()), (Some(103.0), 2));
        press(&mut s, ' ');
        assert!(s.counted(stats(9)));
        press(&mut s, '?');
        assert!(s.help && !press(&mut s, 'q'), "it closes the help");
        assert!(!s.help && press(&mut s, 'q'));
        assert!(s.key(KeyCode::Char('c'), KeyModifiers::CONTROL) && s.key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(!s.key(KeyCode::Char('q'), KeyModifiers::CONTROL));
    }

    #[test]
    fn history_is_drawn_against_its_highest() {
        let mut s = Screen::new(Sort::Bits);
        let mut at = stats(1);
        s.counted(at.clone());
        for bytes in [0, 100, 200, 700] {
            at.uptime += 1.0;
            at.links[1].rx_bytes += bytes;
            s.counted(at.clone());
        }
        assert_eq!(s.sparkline("lan"), "▁▂▃█");
        assert_eq!(s.sparkline("wan"), "▁▁▁▁");
        assert_eq!(s.sparkline("gone"), "");
        for _ in 0..2 * HISTORY {
            at.uptime += 1.0;
            s.counted(at.clone());
        }
        assert_eq!(s.sparkline("lan").chars().count(), HISTORY);
    }
}
