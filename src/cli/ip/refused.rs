//! What was refused, in the words and with the exit codes of iproute2, and one sentence more.

use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use ipnet::{Ipv4Net, Ipv6Net};

use super::super::complain;
use super::words::Deed;
use crate::config::{AddrChange, Change, LinkChange, NeighChange, RouteChange, RouteOp};
use crate::control::protocol::Show;

/// What was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// As iproute2 says it, where it says anything.
    pub(super) kernel: Option<String>,
    /// What to do.
    pub(super) text: String,
    pub(super) code: u8,
}

impl Refused {
    /// Of what was to be done, the router's sentence and the kernel's error by its name.
    pub(super) fn new(deed: &Deed, text: String, errno: Option<&str>) -> Self {
        let Some(errno) = errno else { return Refused { kernel: None, text, code: 1 } };
        if errno == "ENODEV"
            && let Some(name) = quoted(&text)
        {
            if matches!(deed, Deed::Monitor(..)) {
                // As of any word that can't be (`invarg`).
                let kernel = format!("Error: argument \"{name}\" is wrong: Device does not exist");
                return Refused { kernel: Some(kernel), text, code: 255 };
            }
            let kernel = match deed {
                Deed::Change(Change::Addr(AddrChange::Flush(_))) => {
                    format!("Device \"{name}\" does not exist.")
                }
                _ => format!("Cannot find device \"{name}\""),
            };
            return Refused { kernel: Some(kernel), text, code: 1 };
        }
        let said = match deed {
            Deed::Change(change) => extended(change, errno),
            _ => None,
        };
        let said = said.unwrap_or_else(|| format!("RTNETLINK answers: {}", in_words(errno)));
        Refused { kernel: Some(said), text, code: 2 }
    }

    /// Of what was to be shown: there is no such link.
    pub(super) fn shown(show: &Show, text: String) -> Self {
        let kernel = quoted(&text).map(|name| match show {
            Show::Link(_) | Show::Addr(_) => format!("Device \"{name}\" does not exist."),
            Show::Route(_) | Show::Neigh(_) => format!("Cannot find device \"{name}\""),
        });
        Refused { kernel, text, code: 1 }
    }

    /// Says it on stderr. Nobody can be told if that fails.
    pub(super) fn say(&self) {
        if let Some(kernel) = &self.kernel {
            let _ = writeln!(std::io::stderr(), "{kernel}");
        }
        complain(&self.text);
    }

    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

/// What the kernel says of a change besides an error number (`NLMSGERR_ATTR_MSG`), where that is known.
fn extended(change: &Change, errno: &str) -> Option<String> {
    let said = match (change, errno) {
        (Change::Addr(AddrChange::Add { addr, .. }), "EEXIST") => match addr {
            IpAddr::V4(_) => "ipv4: Address already assigned.",
            IpAddr::V6(_) => "ipv6: address already assigned.",
        },
        (Change::Addr(AddrChange::Delete { addr, .. }), "EADDRNOTAVAIL") => match addr {
            IpAddr::V4(_) => "ipv4: Address not found.",
            IpAddr::V6(_) => "ipv6: address not found.",
        },
        (Change::Addr(AddrChange::Add { addr: IpAddr::V6(v6), .. }), "EINVAL") if v6.is_loopback() => {
            "ipv6: Cannot assign loopback address on this device."
        }
        (Change::Addr(AddrChange::Add { addr: IpAddr::V6(v6), .. }), "EINVAL") if v6.is_multicast() => {
            "ipv6: Cannot assign multicast address without \"IFA_F_MCAUTOJOIN\" flag."
        }
        (Change::Link(LinkChange::Set { settings, .. }), "EINVAL") if settings.mtu.is_some() => {
            match settings.mtu {
                Some(mtu) if mtu < LEAST_MTU => "mtu less than device minimum.",
                _ => "mtu greater than device maximum.",
            }
        }
        (Change::Neigh(NeighChange::Set { mac: None, state, .. }), "EINVAL") if state != "incomplete" => {
            "No link layer address given."
        }
        (Change::Route(RouteChange::One { action, route }), errno) => of_route(*action, route, errno)?,
        _ => return None,
    };
    Some(format!("Error: {said}"))
}

/// The least MTU of a device with IPv4 (`ETH_MIN_MTU`).
const LEAST_MTU: u32 = 68;

fn of_route(action: RouteOp, route: &str, errno: &str) -> Option<&'static str> {
    let v6 = route.split(' ').any(|word| word.parse::<Ipv6Net>().is_ok());
    let behind = |key: &str| {
        let mut words = route.split(' ').skip_while(|word| *word != key).skip(1);
        words.next()?.parse::<IpAddr>().ok()
    };
    Some(match errno {
        "ENETUNREACH" => "Nexthop has invalid gateway.",
        "ENOENT" if v6 && action == RouteOp::Change => "Can not replace route - no match found.",
        "EINVAL" if has_host_bits(route) => "Invalid prefix for given prefix length.",
        "EINVAL" if behind("via").is_some_and(|via| via.is_multicast()) => match v6 {
            true => "Invalid gateway address.",
            false => "Nexthop has invalid gateway.",
        },
        "EINVAL" if behind("src").is_some() => match v6 {
            true => "Invalid source address.",
            false => "Invalid prefsrc address.",
        },
        _ => return None,
    })
}

/// Whether an IPv4 destination has bits behind its prefix.
fn has_host_bits(route: &str) -> bool {
    let prefix = route.split(' ').find_map(|word| word.parse::<Ipv4Net>().ok());
    prefix.is_some_and(|net| net.trunc() != net)
}

/// What stands in the sentence's first quotes.
fn quoted(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('\'')?;
    rest.split_once('\'').map(|(name, _)| name)
}

/// As strerror(3).
fn in_words(errno: &str) -> &str {
    match errno {
        "EACCES" => "Permission denied",
        "EADDRNOTAVAIL" => "Cannot assign requested address",
        "EBUSY" => "Device or resource busy",
        "EEXIST" => "File exists",
        "EHOSTUNREACH" => "No route to host",
        "EINVAL" => "Invalid argument",
        "ENETUNREACH" => "Network is unreachable",
        "ENFILE" => "Too many open files in system",
        "ENOBUFS" => "No buffer space available",
        "ENODEV" => "No such device",
        "ENOENT" => "No such file or directory",
        "ENOSPC" => "No space left on device",
        "EOPNOTSUPP" => "Operation not supported",
        "ESRCH" => "No such process",
        "ETIMEDOUT" => "Connection timed out",
        "EXDEV" => "Invalid cross-device link",
        other => other,
    }
}
