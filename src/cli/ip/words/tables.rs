//! The words of ip(8) in the order that iproute2 looks them up, so that a prefix means here what it means there.

use super::Stamp;
use super::change::Verb;

/// What is shown or changed.
#[derive(Clone, Copy)]
pub(super) enum Object {
    Link,
    Address,
    Route,
    Neighbor,
    Monitor,
}

/// What to do with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Show,
    Help,
    Get,
    Change(Verb),
    Other,
}

/// Options.
#[derive(Clone, Copy)]
pub(super) enum Opt {
    Four,
    Six,
    Family,
    Json,
    Pretty,
    Brief,
    Oneline,
    Stats,
    Details,
    Help,
    Stamp(Stamp),
    Force,
    Batch,
    Nothing,
    Other,
}

/// Objects in the order iproute2 looks them up (`ip.c`).
pub(super) const OBJECTS: [(&str, Option<Object>); 17] = [
    ("address", Some(Object::Address)),
    ("addrlabel", None),
    ("maddress", None),
    ("route", Some(Object::Route)),
    ("rule", None),
    ("neighbor", Some(Object::Neighbor)),
    ("neighbour", Some(Object::Neighbor)),
    ("ntable", None),
    ("link", Some(Object::Link)),
    ("tunnel", None),
    ("tuntap", None),
    ("token", None),
    ("monitor", Some(Object::Monitor)),
    ("mroute", None),
    ("netns", None),
    ("vrf", None),
    ("help", None),
];

pub(super) const ADDRESS_COMMANDS: [(&str, Command); 12] = [
    ("add", Command::Change(Verb::Add)),
    ("change", Command::Change(Verb::Change)),
    ("chg", Command::Change(Verb::Change)),
    ("replace", Command::Change(Verb::Replace)),
    ("delete", Command::Change(Verb::Delete)),
    ("show", Command::Show),
    ("lst", Command::Show),
    ("list", Command::Show),
    ("flush", Command::Change(Verb::Flush)),
    ("save", Command::Other),
    ("restore", Command::Other),
    ("help", Command::Help),
];

/// `ip link s` is `set` there.
pub(super) const LINK_COMMANDS: [(&str, Command); 10] = [
    ("add", Command::Change(Verb::Add)),
    ("set", Command::Change(Verb::Set)),
    ("change", Command::Change(Verb::Change)),
    ("replace", Command::Other),
    ("delete", Command::Change(Verb::Delete)),
    ("show", Command::Show),
    ("lst", Command::Show),
    ("list", Command::Show),
    ("property", Command::Other),
    ("help", Command::Help),
];

pub(super) const ROUTE_COMMANDS: [(&str, Command); 16] = [
    ("list", Command::Show),
    ("show", Command::Show),
    ("lst", Command::Show),
    ("get", Command::Get),
    ("add", Command::Change(Verb::Add)),
    ("append", Command::Change(Verb::Append)),
    ("change", Command::Change(Verb::Change)),
    ("chg", Command::Change(Verb::Change)),
    ("replace", Command::Change(Verb::Replace)),
    ("prepend", Command::Other),
    ("delete", Command::Change(Verb::Delete)),
    ("test", Command::Other),
    ("flush", Command::Change(Verb::Flush)),
    ("save", Command::Other),
    ("restore", Command::Other),
    ("help", Command::Help),
];

pub(super) const NEIGHBOR_COMMANDS: [(&str, Command); 11] = [
    ("add", Command::Change(Verb::Add)),
    ("change", Command::Change(Verb::Change)),
    ("chg", Command::Change(Verb::Change)),
    ("replace", Command::Change(Verb::Replace)),
    ("delete", Command::Change(Verb::Delete)),
    ("get", Command::Other),
    ("show", Command::Show),
    ("lst", Command::Show),
    ("list", Command::Show),
    ("flush", Command::Change(Verb::Flush)),
    ("help", Command::Help),
];

/// Options in the order iproute2 looks them up.
pub(super) const OPTIONS: [(&str, Opt); 24] = [
    ("loops", Opt::Other),
    ("family", Opt::Family),
    ("4", Opt::Four),
    ("6", Opt::Six),
    ("0", Opt::Other),
    ("M", Opt::Other),
    ("B", Opt::Other),
    ("human-readable", Opt::Other),
    ("iec", Opt::Other),
    ("stats", Opt::Stats),
    ("statistics", Opt::Stats),
    ("details", Opt::Details),
    // There are no names to be looked up in the first place, so nothing is done for these two.
    ("resolve", Opt::Nothing),
    ("oneline", Opt::Oneline),
    ("timestamp", Opt::Stamp(Stamp::Long)),
    ("tshort", Opt::Stamp(Stamp::Short)),
    ("force", Opt::Force),
    ("batch", Opt::Batch),
    ("brief", Opt::Brief),
    ("json", Opt::Json),
    ("pretty", Opt::Pretty),
    ("help", Opt::Help),
    ("netns", Opt::Other),
    ("Numeric", Opt::Nothing),
];

/// Selectors of iproute2's that can't be used here, and so are no names of links or prefixes.
pub(super) const KEYWORDS: [&str; 30] = [
    "master",
    "nomaster",
    "type",
    "vrf",
    "label",
    "to",
    "scope",
    "permanent",
    "dynamic",
    "secondary",
    "primary",
    "tentative",
    "deprecated",
    "dadfailed",
    "temporary",
    "group",
    "proxy",
    "unused",
    "iif",
    "src",
    "from",
    "tos",
    "dsfield",
    "mark",
    "realm",
    "realms",
    "metric",
    "cached",
    "cache",
    "nhid",
];
