//! What the configuration takes from the machine it is read on: its name, its users and groups, and
//! where a user's sockets live.
//!
//! Knows nothing of the file that asks.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::io::sys::effective_user;

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

/// The user of this name or, in digits, of this number: the number, the user's own group and all others the user is in.
pub(super) fn account(user: &str) -> Option<(u32, u32, Vec<u32>)> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    account_of(&passwd, &fs::read_to_string("/etc/group").unwrap_or_default(), user)
}

/// passwd(5): `name:password:uid:gid:…`; group(5): `name:password:gid:name,name,…`.
fn account_of(passwd: &str, groups: &str, user: &str) -> Option<(u32, u32, Vec<u32>)> {
    let mut all = passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, ..] = fields[..] else { return None };
        Some((name, uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?))
    });
    let (name, uid, gid) = all.find(|(name, uid, _)| *name == user || user.parse() == Ok(*uid))?;
    let others = groups.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, gid, members, ..] = fields[..] else { return None };
        members.split(',').any(|m| m == name).then(|| gid.parse::<u32>().ok())?
    });
    Some((uid, gid, others.filter(|g| *g != gid).collect()))
}

/// Where sockets belong: `/run/sekisho` for root, the user's own runtime directory otherwise. Who is root in
/// nothing but a user namespace is that user still: `/run` is none of theirs.
pub(super) fn sockets() -> Option<PathBuf> {
    let run = fs::metadata("/run").ok().map(|m| m.uid());
    sockets_of(effective_user(), run, std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from))
}

fn sockets_of(uid: u32, run: Option<u32>, runtime: Option<PathBuf>) -> Option<PathBuf> {
    match (uid, run) {
        (0, None | Some(0)) => Some("/run/sekisho".into()),
        // The base directory specification has relative paths ignored.
        _ => runtime.filter(|dir| dir.is_absolute()).map(|dir| dir.join("sekisho")),
    }
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
    fn accounts_with_their_groups() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nme:x:1000:100::/home/me:/bin/sh\n";
        let groups = "root:x:0:\nusers:x:100:me\nwheel:x:10:you,me\nkvm:x:11:you\nodd:x\ndialout:x:20:me\n";
        let of = |user| account_of(passwd, groups, user);
        assert_eq!(of("me"), Some((1000, 100, vec![10, 20])));
        assert_eq!(of("1000"), of("me"));
        assert_eq!(of("root"), Some((0, 0, Vec::new())));
        assert_eq!(of("you"), None);
        assert_eq!(of("1001"), None);
        assert_eq!(account_of(passwd, "", "me"), Some((1000, 100, Vec::new())));
    }

    #[test]
    fn sockets_by_user() {
        let (root, overflow) = (Some(0), Some(65_534));
        let own = || Some("/run/user/7".into());
        assert_eq!(sockets_of(0, root, own()), Some("/run/sekisho".into()));
        assert_eq!(sockets_of(0, None, None), Some("/run/sekisho".into()));
        assert_eq!(sockets_of(0, overflow, own()), Some("/run/user/7/sekisho".into()));
        assert_eq!(sockets_of(7, root, own()), Some("/run/user/7/sekisho".into()));
        assert_eq!(sockets_of(7, root, Some("here".into())), None);
    }
}
