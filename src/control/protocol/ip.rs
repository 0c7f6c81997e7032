//! What of links, addresses, routes and neighbors is asked beside listings. Knows nothing of the tables.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Family;

/// `ip route get`: answered with a [`Route`](crate::control::view::Route).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteGet {
    /// Where to.
    pub to: IpAddr,
    /// Where from.
    #[serde(default)]
    pub from: Option<IpAddr>,
    /// The link it comes in by; absent: the router makes it.
    #[serde(default)]
    pub iif: Option<String>,
    /// The link it has to leave by.
    #[serde(default)]
    pub oif: Option<String>,
    /// Its mark, which no route here asks for.
    #[serde(default)]
    pub mark: Option<u32>,
    /// The protocol above IP.
    #[serde(default)]
    pub ipproto: Option<u8>,
    /// Its source port.
    #[serde(default)]
    pub sport: Option<u16>,
    /// Its destination port.
    #[serde(default)]
    pub dport: Option<u16>,
    /// Whose packet it is, as it is shown.
    #[serde(default)]
    pub uid: Option<u32>,
    /// Show the route that decides, not the way.
    #[serde(default)]
    pub fibmatch: bool,
}

/// `ip monitor`: followed live, in lists of [`Event`](crate::control::view::Event)s.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Monitor {
    /// Changes of these; empty: of all.
    pub objects: Vec<Watched>,
    /// Of this family only.
    pub family: Option<Family>,
    /// Of this link only.
    pub dev: Option<String>,
}

/// What can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watched {
    /// Links.
    Link,
    /// Their addresses.
    Address,
    /// Routes.
    Route,
    /// Neighbors.
    Neigh,
}
