//! The words of ip(8) in the order that iproute2 looks them up, so that a prefix means here what it means there.

use super::Stamp;
use super::change::Verb;

/// What is shown or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::ip) enum Object {
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
    Numeric,
    Human,
    Iec,
    Help,
    Version,
    Stamp(Stamp),
    Force,
    Batch,
    /// A number follows that means nothing here.
    Count,
    Nothing,
    Other,
}

/// Objects in the order iproute2 looks them up (`ip.c`).
pub(super) const OBJECTS: [(&str, Option<Object>); 34] = [
    ("address", Some(Object::Address)),
    ("addrlabel", None),
    ("maddress", None),
    ("route", Some(Object::Route)),
    ("rule", None),
    ("neighbor", Some(Object::Neighbor)),
    ("neighbour", Some(Object::Neighbor)),
    ("ntable", None),
    ("ntbl", None),
    ("link", Some(Object::Link)),
    ("l2tp", None),
    ("fou", None),
    ("ila", None),
    ("macsec", None),
    ("tunnel", None),
    ("tunl", None),
    ("tuntap", None),
    ("tap", None),
    ("token", None),
    ("tcpmetrics", None),
    ("tcp_metrics", None),
    ("monitor", Some(Object::Monitor)),
    ("xfrm", None),
    ("mroute", None),
    ("mrule", None),
    ("netns", None),
    ("netconf", None),
    ("vrf", None),
    ("sr", None),
    ("nexthop", None),
    ("mptcp", None),
    ("ioam", None),
    ("help", None),
    ("stats", None),
];

pub(super) const ADDRESS_COMMANDS: [(&str, Command); 13] = [
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
    ("showdump", Command::Other),
    ("restore", Command::Other),
    ("help", Command::Help),
];

/// `ip link s` is `set` there.
pub(super) const LINK_COMMANDS: [(&str, Command); 12] = [
    ("add", Command::Change(Verb::Add)),
    ("set", Command::Change(Verb::Set)),
    ("change", Command::Change(Verb::Change)),
    ("replace", Command::Other),
    ("delete", Command::Change(Verb::Delete)),
    ("show", Command::Show),
    ("lst", Command::Show),
    ("list", Command::Show),
    ("xstats", Command::Other),
    ("afstats", Command::Other),
    ("property", Command::Other),
    ("help", Command::Help),
];

pub(super) const ROUTE_COMMANDS: [(&str, Command); 17] = [
    ("list", Command::Show),
    ("show", Command::Show),
    ("lst", Command::Show),
    ("get", Command::Get),
    ("add", Command::Change(Verb::Add)),
    ("append", Command::Change(Verb::Append)),
    ("change", Command::Change(Verb::Change)),
    ("chg", Command::Change(Verb::Change)),
    ("replace", Command::Change(Verb::Replace)),
    ("prepend", Command::Change(Verb::Append)),
    ("delete", Command::Change(Verb::Delete)),
    ("test", Command::Other),
    ("flush", Command::Change(Verb::Flush)),
    ("save", Command::Other),
    ("restore", Command::Other),
    ("showdump", Command::Other),
    ("help", Command::Help),
];

pub(super) const NEIGHBOR_COMMANDS: [(&str, Command); 11] = [
    ("add", Command::Change(Verb::Add)),
    ("change", Command::Change(Verb::Change)),
    ("chg", Command::Change(Verb::Change)),
    ("replace", Command::Change(Verb::Replace)),
    ("delete", Command::Change(Verb::Delete)),
    ("get", Command::Get),
    ("show", Command::Show),
    ("lst", Command::Show),
    ("list", Command::Show),
    ("flush", Command::Change(Verb::Flush)),
    ("help", Command::Help),
];

/// Options in the order iproute2 looks them up. `-color` has its own rule, and comes before `-help`.
pub(super) const OPTIONS: [(&str, Opt); 28] = [
    ("loops", Opt::Count),
    ("family", Opt::Family),
    ("4", Opt::Four),
    ("6", Opt::Six),
    ("0", Opt::Other),
    ("M", Opt::Other),
    ("B", Opt::Other),
    ("human-readable", Opt::Human),
    ("iec", Opt::Iec),
    ("stats", Opt::Stats),
    ("statistics", Opt::Stats),
    ("details", Opt::Details),
    ("resolve", Opt::Other),
    ("oneline", Opt::Oneline),
    ("timestamp", Opt::Stamp(Stamp::Long)),
    ("tshort", Opt::Stamp(Stamp::Short)),
    ("Version", Opt::Version),
    ("force", Opt::Force),
    ("batch", Opt::Batch),
    ("brief", Opt::Brief),
    ("json", Opt::Json),
    ("pretty", Opt::Pretty),
    ("rcvbuf", Opt::Count),
    ("help", Opt::Help),
    ("netns", Opt::Other),
    ("Numeric", Opt::Numeric),
    ("all", Opt::Other),
    ("echo", Opt::Other),
];

/// Selectors of iproute2's that can't be used here, and so are no names of links or prefixes.
pub(super) const KEYWORDS: [&str; 20] = [
    "type",
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
    "proto",
    "protocol",
    "iif",
    "src",
    "from",
    "nhid",
    "metric",
];
