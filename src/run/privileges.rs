//! What the process may still do once everything is open.
//!
//! ```text
//! devices open, control socket bound ─► bounding set ─► user and groups ─► NET_ADMIN, NET_RAW ─► no dumps, nothing new
//!                                                                      ─► system calls ─► threads ─► forwards
//! ```
//!
//! Capabilities belong to threads, and threads start with those of the thread that starts them: so it is done before there
//! are any. (The C library would end a process whose threads can't all become the user, too.) What is left is enough to open links
//! again: `docs/security.md` says what it is enough for besides. A thread that needs nothing of it [`renounce`]s the rest. Knows
//! nothing of links.

mod calls;

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use seccompiler::BackendError;

use crate::config::RunAs;
use crate::io::sys;

/// Why the privileges could not be given up, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// A user that this process can't become.
    #[error(
        "[router]: user: this process can't become '{user}': {source}; start it as root (in a user namespace, one in which that user is there), or remove `user`"
    )]
    User {
        /// The user.
        user: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Capabilities that don't go.
    #[error("the capabilities that a router does not need could not be given up: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
    /// A flag of the process that can't be set.
    #[error("the process could not be kept from {what}: {source}")]
    Flag {
        /// From what.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A word that says nothing.
    #[error("SEKISHO_SECCOMP is '{0}': it may be on, log or off")]
    Word(String),
    /// No filter.
    #[error("the filter of system calls can't be made: {0}; SEKISHO_SECCOMP=off does without it")]
    Filter(String),
}

/// What becomes of system calls that a router does not need: `SEKISHO_SECCOMP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SystemCalls {
    /// They fail, and some end the process.
    #[default]
    Refused,
    /// The kernel's log says that they were made.
    Logged,
    /// Nothing.
    Allowed,
}

impl SystemCalls {
    /// What the environment says.
    ///
    /// # Errors
    /// A word that says nothing.
    pub fn from_environment() -> Result<Self, PrivilegeError> {
        match std::env::var_os("SEKISHO_SECCOMP").as_deref().and_then(|w| w.to_str()) {
            None => Ok(Self::Refused),
            Some("" | "on") => Ok(Self::Refused),
            Some("log") => Ok(Self::Logged),
            Some("off") => Ok(Self::Allowed),
            Some(other) => Err(PrivilegeError::Word(other.to_owned())),
        }
    }
}

/// What a router needs: to make and configure interfaces, and packet sockets.
const KEPT: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// Gives up, for this thread and those it will start, what a router does not need: see the module's text. The user changes for
/// all threads.
///
/// # Errors
/// Something is still there that should not be: the process had better end.
pub fn seal(user: Option<&RunAs>, calls: SystemCalls) -> Result<(), PrivilegeError> {
    let kept: CapsHashSet =
        caps::read(None, CapSet::Permitted)?.into_iter().filter(|c| KEPT.contains(c)).collect();
    bound(&kept)?;
    if let Some(user) = user.filter(|u| u.account.id != sys::effective_user()) {
        let failed = |source| PrivilegeError::User { user: user.account.name.clone(), source };
        caps::securebits::set_keepcaps(true)?;
        let mut groups = user.groups.clone();
        groups.push(user.group);
        sys::become_user(user.account.id, user.group, &groups).map_err(failed)?;
        caps::securebits::set_keepcaps(false)?;
    }
    keep(&kept)?;
    let flag = |what| move |source| PrivilegeError::Flag { what, source };
    sys::not_dumpable().map_err(flag("leaving core files"))?;
    sys::no_new_privileges().map_err(flag("getting new privileges"))?;
    filter(calls)
}

/// Gives up everything, for a thread that needs nothing.
///
/// # Errors
/// As of [`seal`].
pub fn renounce() -> Result<(), PrivilegeError> {
    bound(&CapsHashSet::new())?;
    keep(&CapsHashSet::new())
}

/// Takes all others out of the bounding set, where that is allowed: elsewhere somebody who may has seen to it, or nobody here
/// has any to lose.
fn bound(kept: &CapsHashSet) -> Result<(), PrivilegeError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for cap in caps::read(None, CapSet::Bounding)?.difference(kept) {
            caps::drop(None, CapSet::Bounding, *cap)?;
        }
    }
    Ok(())
}

/// Has these capabilities, and hands none on to other programs.
fn keep(kept: &CapsHashSet) -> Result<(), PrivilegeError> {
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, kept)?;
    caps::set(None, CapSet::Permitted, kept)?;
    Ok(())
}

fn filter(calls: SystemCalls) -> Result<(), PrivilegeError> {
    if calls == SystemCalls::Allowed {
        tracing::info!("system calls are not filtered: SEKISHO_SECCOMP=off");
        return Ok(());
    }
    let programs = match calls::programs(calls) {
        Ok(programs) => programs,
        Err(BackendError::InvalidTargetArch(arch)) => {
            tracing::warn!("system calls are not filtered: there is no filter for {arch}");
            return Ok(());
        }
        Err(e) => return Err(PrivilegeError::Filter(e.to_string())),
    };
    for (n, program) in programs.iter().enumerate() {
        match sys::filter_system_calls(program) {
            Ok(()) => {}
            // A kernel without seccomp, or a container that forbids to use it: nobody can do anything about that here.
            Err(e)
                if n == 0 && matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::EPERM)) =>
            {
                tracing::warn!(
                    "system calls are not filtered: seccomp is not to be had here: {e}; under systemd, SystemCallFilter= has to name it"
                );
                return Ok(());
            }
            Err(e) => return Err(PrivilegeError::Filter(e.to_string())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of this thread's status (proc(5)).
    fn status(key: &str) -> String {
        let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(":\t")).unwrap();
        line.to_owned()
    }

    #[test]
    fn who_renounces_has_nothing_and_others_keep_what_they_have() {
        let before = status("CapEff");
        std::thread::spawn(|| {
            let may = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap();
            renounce().unwrap();
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(status(set), "0000000000000000", "{set}");
            }
            assert!(!may || status("CapBnd") == "0000000000000000");
        })
        .join()
        .unwrap();
        assert_eq!(status("CapEff"), before);
    }

    #[test]
    fn only_what_is_permitted_is_kept() {
        std::thread::spawn(|| {
            let permitted = caps::read(None, CapSet::Permitted).unwrap();
            let wanted: CapsHashSet = KEPT.into_iter().filter(|c| permitted.contains(c)).collect();
            bound(&wanted).unwrap();
            keep(&wanted).unwrap();
            assert_eq!(caps::read(None, CapSet::Permitted).unwrap(), wanted);
            assert_eq!(caps::read(None, CapSet::Effective).unwrap(), wanted);
            assert!(caps::read(None, CapSet::Ambient).unwrap().is_empty());
            assert!(keep(&caps::all()).is_err(), "what is gone is gone");
        })
        .join()
        .unwrap();
    }
}
