//! A router with rules: what is done to it, and what can be seen of it.

pub(crate) mod kernel;
pub(crate) mod ours;

use std::net::IpAddr;
use std::time::Duration;

use sekisho::base::Mac;

use crate::compare::Seen;
use crate::twin::Port;

/// One of the routers that are compared.
pub(crate) trait Side {
    fn name(&self) -> &'static str;

    /// Takes these rules in place of all others, and forgets all flows. `Err`: why it does not.
    fn load(&mut self, rules: &Rules) -> Result<(), String>;

    /// Sends frames and gives what came of them, by port; within a port in the order it came. `patience`: how
    /// long nothing has to come before it is all.
    fn step(&mut self, frames: &[Seen], patience: Duration) -> Vec<Seen>;

    /// The flows, one a line, in any order.
    fn flows(&mut self) -> Vec<String>;

    /// All rules with their counters, of each family that has some.
    fn counters(&mut self) -> String;
}

/// Rules for both families, as iptables-save writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) v4: String,
    pub(crate) v6: String,
}

impl Rules {
    /// With every table and every built-in chain in it, so that nothing of earlier rules stays, nor of their policies.
    pub(crate) fn whole(&self) -> Rules {
        let whole = |text: &str| {
            let mut out = String::new();
            for (table, hooks) in TABLES {
                let mut inside = text.lines().skip_while(|l| l.strip_prefix('*') != Some(table)).skip(1);
                let lines: Vec<&str> = inside.by_ref().take_while(|l| *l != "COMMIT").collect();
                let declares = |hook: &str| lines.iter().any(|l| l.starts_with(&format!(":{hook} ")));
                let missing = hooks.iter().filter(|h| !declares(h)).map(|h| format!(":{h} ACCEPT [0:0]\n"));
                out += &format!("*{table}\n{}", missing.collect::<String>());
                out.extend(lines.iter().map(|l| format!("{l}\n")));
                out += "COMMIT\n";
            }
            out
        };
        Rules { v4: whole(&self.v4), v6: whole(&self.v6) }
    }
}

/// The tables and their built-in chains.
pub(crate) const TABLES: [(&str, &[&str]); 4] = [
    ("raw", &["PREROUTING", "OUTPUT"]),
    ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
];

/// The stations that every router knows from the start, so that no packet has to wait for its neighbor.
pub(crate) fn neighbors() -> impl Iterator<Item = (Port, IpAddr, Mac)> {
    let all = |port: Port| {
        (2..=254).flat_map(move |n| [IpAddr::from(port.host4(n)), IpAddr::from(port.host6(n.into()))])
    };
    Port::ALL.into_iter().flat_map(move |port| all(port).map(move |ip| (port, ip, port.station(ip))))
}

/// By port, what is the router's own chatter left out.
fn sorted(mut came: Vec<Seen>) -> Vec<Seen> {
    came.retain(|(_, f)| !crate::twin::is_chatter(f));
    came.sort_by_key(|(port, _)| *port);
    came
}
