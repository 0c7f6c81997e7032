//! `[router]`: `user` and `group`, by name or number.

use super::super::file::{At, Given, RouterTable, Scalar};
use super::super::problem::{Sink, quoted};
use super::super::{Account, RunAs, host};
use super::in_range;

/// What the keys say.
pub(super) struct Meant {
    pub(super) user: Option<RunAs>,
    pub(super) group: Option<Account>,
}

/// Judges both keys.
pub(super) fn user(t: &RouterTable, sink: &mut Sink<'_>) -> Meant {
    let group = named(&t.group, "group", sink).and_then(|name| {
        let number = name.value.parse().ok().or_else(|| host::group(&name.value));
        if number.is_none() {
            let what = quoted(&name.value);
            sink.wrong(name.at, format!("[router]: group: there is no group {what} here; give a number"));
        }
        Some(Account { id: number?, name: name.value })
    });
    let user = named(&t.user, "user", sink).and_then(|name| {
        let found = host::account(&name.value);
        if found.is_none() {
            let what = quoted(&name.value);
            let text =
                format!("[router]: user: there is no user {what} in /etc/passwd; make one, or name another");
            sink.wrong(name.at, text);
        }
        let (id, group, groups) = found?;
        Some(RunAs { account: Account { id, name: name.value }, group, groups })
    });
    if let (Some(group), None) = (t.group.get(), t.user.get()) {
        let text = "[router]: group: its members can have the router read any file that its user can read: set `user`, too";
        sink.odd(group.at, text);
    }
    Meant { user, group }
}

/// The name, or the number in digits.
fn named(given: &Given<Scalar>, key: &str, sink: &mut Sink<'_>) -> Option<At<String>> {
    let given = given.get()?;
    let value = match &given.value {
        Scalar::Word(name) => name.clone(),
        Scalar::Number(n) => {
            let n = At { value: *n, at: given.at };
            // The last number means "leave it as it is" to the kernel.
            in_range(&n, &format!("[router]: {key}"), 0..=u32::MAX - 1, sink)?.to_string()
        }
    };
    Some(At { value, at: given.at })
}
