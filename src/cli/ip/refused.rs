//! What was refused, in the words and with the exit codes of iproute2, and one sentence more.

use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use ipnet::Ipv4Net;

use super::super::complain;
use super::words::Deed;
use crate::config::{AddrChange, Change, RouteChange};

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
            let kernel = match deed {
                Deed::Change(Change::Addr(AddrChange::Flush(_))) => {
                    format!("Device \"{name}\" does not exist.")
                }
                _ => format!("Cannot find device \"{name}\""),
            };
            return Refused { kernel: Some(kernel), text, code: 1 };
        }
        let said = match (deed, errno) {
            (Deed::Change(Change::Addr(AddrChange::Add { addr, .. })), "EEXIST") => {
                extended(addr, ["Address already assigned", "address already assigned"])
            }
            (Deed::Change(Change::Addr(AddrChange::Delete { addr, .. })), "EADDRNOTAVAIL") => {
                extended(addr, ["Address not found", "address not found"])
            }
            (Deed::Change(Change::Route(RouteChange::One { .. })), "ENETUNREACH") => {
                "Error: Nexthop has invalid gateway.".to_owned()
            }
            (Deed::Change(Change::Route(RouteChange::One { route, .. })), "EINVAL")
                if has_host_bits(route) =>
            {
                "Error: Invalid prefix for given prefix length.".to_owned()
            }
            _ => format!("RTNETLINK answers: {}", in_words(errno)),
        };
        Refused { kernel: Some(said), text, code: 2 }
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

/// Whether an IPv4 destination has bits behind its prefix.
fn has_host_bits(route: &str) -> bool {
    let prefix = route.split(' ').find_map(|word| word.parse::<Ipv4Net>().ok());
    prefix.is_some_and(|net| net.trunc() != net)
}

/// What the kernel says of an address besides an error number.
fn extended(addr: &IpAddr, [v4, v6]: [&str; 2]) -> String {
    match addr {
        IpAddr::V4(_) => format!("Error: ipv4: {v4}."),
        IpAddr::V6(_) => format!("Error: ipv6: {v6}."),
    }
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
        "EXDEV" => "Invalid cross-device link",
        other => other,
    }
}
