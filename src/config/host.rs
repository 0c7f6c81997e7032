//! What the configuration takes from the machine it is read on: its name, its users and groups, and
//! where a user's sockets live.
//!
//! Knows nothing of the file that asks.

use std::fs;
use std::path::PathBuf;

/// The host's name, as `hostname` prints it.
pub(super) fn name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned()).filter(|n| !n.is_empty() && n != "(none)")
}

/// The id of a user by name.
pub(super) fn user(name: &str) -> Option<u32> {
    third_field(&fs::read_to_string("/etc/passwd").ok()?, name)
}

/// The id of a group by name.
pub(super) fn group(name: &str) -> Option<u32> {
    third_field(&fs::read_to_string("/etc/group").ok()?, name)
}

/// Where sockets belong: `/run/sekisho` for root, the user's own runtime directory otherwise.
pub(super) fn sockets() -> Option<PathBuf> {
    sockets_of(effective_uid(), std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from))
}

fn sockets_of(uid: Option<u32>, runtime: Option<PathBuf>) -> Option<PathBuf> {
    match uid {
        Some(0) => Some("/run/sekisho".into()),
        // The base directory specification has relative paths ignored.
        _ => runtime.filter(|dir| dir.is_absolute()).map(|dir| dir.join("sekisho")),
    }
}

fn effective_uid() -> Option<u32> {
    uid_of(&fs::read_to_string("/proc/self/status").ok()?)
}

/// The second number after `Uid:` (proc(5): real, effective, saved, filesystem).
fn uid_of(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|l| l.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}

/// passwd(5) and group(5) alike: `name:password:id:…`.
fn third_field(table: &str, name: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) { None } else { fields.nth(1)?.parse().ok() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_by_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nme:x:1000:100::/home/me:/bin/sh\nbroken:x\n";
        assert_eq!(third_field(passwd, "root"), Some(0));
        assert_eq!(third_field(passwd, "me"), Some(1000));
        assert_eq!(third_field(passwd, "broken"), None);
        assert_eq!(third_field(passwd, "nobody"), None);
    }

    #[test]
    fn sockets_by_user() {
        assert_eq!(uid_of("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(0));
        assert_eq!(sockets_of(Some(0), None), Some("/run/sekisho".into()));
        assert_eq!(sockets_of(Some(7), Some("/run/user/7".into())), Some("/run/user/7/sekisho".into()));
        assert_eq!(sockets_of(Some(7), Some("here".into())), None);
        assert_eq!(sockets_of(None, None), None);
    }
}
