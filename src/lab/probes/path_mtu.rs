//! Path MTU discovery as a host does it: send whole packets, believe the routers (RFC 1191, RFC 8201).

use std::net::IpAddr;
use std::time::Duration;

use super::ping::{Echo, Outcome, ident};
use super::{Doing, Family, IcmpError, PATIENCE, Ping, ProbeError};
use crate::lab::netns::get_option;

/// Finds the MTU of the path to a host that answers echo requests.
#[derive(Debug, Clone)]
pub struct PathMtu {
    to: IpAddr,
    wait: Duration,
}

/// How it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathMtuReport {
    /// What was tried, largest first.
    pub steps: Vec<Step>,
    /// The largest packet that was answered, in bytes with its IP header; `None` if none was.
    pub mtu: Option<u32>,
}

/// One size that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The length of the packet with its IP header.
    pub size: u32,
    /// What was said against it; `None` if it was answered, or if nothing came.
    pub error: Option<IcmpError>,
}

impl PathMtu {
    /// Starts at the MTU of the device on the way to `to`.
    pub fn new(to: IpAddr) -> Self {
        PathMtu { to, wait: PATIENCE }
    }

    /// How long to wait for the answer to each size.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Tries sizes downward until one is answered, or nothing more is learnt.
    pub fn run(&self) -> Result<PathMtuReport, ProbeError> {
        let doing = || format!("path MTU discovery to {}", self.to);
        let family = Family::of(self.to);
        let headers = family.header as u32 + ICMP_HEADER;
        let socket = Ping::new(self.to).whole().open(&family).doing(doing())?;
        let start = get_option(&socket, family.level, family.mtu).doing(doing())?;
        let mut size = u32::try_from(start).unwrap_or(0);
        let mut echo = Echo { to: self.to, socket, family, ident: ident(), wait: self.wait };
        let mut report = PathMtuReport::default();
        for sequence in 1..=MOST_STEPS {
            let Some(data) = size.checked_sub(headers) else { break };
            let outcome = echo.once(sequence, data as usize).doing(doing())?;
            let error = match outcome {
                Outcome::Failed(error) => Some(error),
                Outcome::Answered(_) | Outcome::Silence => None,
            };
            report.steps.push(Step { size, error });
            match error {
                Some(e) if e.is_too_big() && e.mtu < size => size = e.mtu,
                Some(_) => break,
                None => {
                    report.mtu = matches!(outcome, Outcome::Answered(_)).then_some(size);
                    break;
                }
            }
        }
        Ok(report)
    }
}

/// The fixed part of an echo request.
const ICMP_HEADER: u32 = 8;
/// Each step is one smaller link on the way; a path with more of them is a lie.
const MOST_STEPS: u16 = 16;
