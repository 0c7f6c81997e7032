//! Names of hosts behind `-s` and `-d`: looked up where the command is typed, so that the router is told addresses.
//!
//! Knows nothing of rules but which words are addresses.

use std::net::{IpAddr, ToSocketAddrs as _};

use crate::control::protocol::Family;

/// The words with addresses for names, several where a name has several. A name that nobody knows stays: it will be told.
pub(super) fn resolve(words: Vec<String>, family: Family) -> Vec<String> {
    resolved(words, |name| {
        let found = (name, 0).to_socket_addrs().map(Iterator::collect).unwrap_or_else(|_| Vec::new());
        let mut addrs: Vec<IpAddr> = Vec::new();
        for addr in found.into_iter().map(|a| a.ip()) {
            if addr.is_ipv4() == (family == Family::Inet) && !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        addrs
    })
}

fn resolved(mut words: Vec<String>, look_up: impl Fn(&str) -> Vec<IpAddr>) -> Vec<String> {
    for i in 1..words.len() {
        if !takes_addresses(&words[i - 1]) || !words[i].split(',').any(|one| name_of(one).is_some()) {
            continue;
        }
        let addresses = words[i].split(',').flat_map(|one| {
            let Some((name, mask)) = name_of(one) else { return vec![one.to_owned()] };
            match look_up(name) {
                none if none.is_empty() => vec![one.to_owned()],
                some => some.into_iter().map(|addr| format!("{addr}{mask}")).collect(),
            }
        });
        words[i] = addresses.collect::<Vec<_>>().join(",");
    }
    words
}

/// Whether a word is `-s`, `-d`, or a long name of theirs or its beginning.
fn takes_addresses(word: &str) -> bool {
    let long = |given: &str| {
        given.len() > 1 && ["source", "src", "destination", "dst"].iter().any(|name| name.starts_with(given))
    };
    matches!(word, "-s" | "-d") || word.strip_prefix("--").is_some_and(long)
}

/// The name in `NAME[/MASK]`, and what stands behind it; none if it is an address, or all there are (`any/0`).
fn name_of(one: &str) -> Option<(&str, &str)> {
    let (name, mask) = one.split_at(one.find('/').unwrap_or(one.len()));
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let number = |part: &str| match part.strip_prefix("0x") {
        Some(hex) => hex.chars().all(|c| c.is_ascii_hexdigit()),
        None => part.chars().all(|c| c.is_ascii_digit()),
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(letters)
        && !name.split('.').all(number)
        && mask != "/0";
    is_name.then_some((name, mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_addresses_where_addresses_stand() {
        let look_up = |name: &str| match name {
            "gw.example" => vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()],
            "host-1" => vec!["fd00::1".parse().unwrap()],
            "unknown" => Vec::new(),
            other => panic!("{other} is no name"),
        };
        for (line, told) in [
            ("-A INPUT -s gw.example -j ACCEPT", "-A INPUT -s 192.0.2.1,192.0.2.2 -j ACCEPT"),
            ("-A INPUT ! -d host-1/64", "-A INPUT ! -d fd00::1/64"),
            (
                "-A INPUT --source 10.0.0.1,gw.example/24",
                "-A INPUT --source 10.0.0.1,192.0.2.1/24,192.0.2.2/24",
            ),
            ("-A INPUT --dest host-1 --sport host", "-A INPUT --dest fd00::1 --sport host"),
            ("-A INPUT -s unknown", "-A INPUT -s unknown"),
        ] {
            let words = line.split(' ').map(str::to_owned).collect();
            assert_eq!(resolved(words, look_up).join(" "), told);
        }
        for same in [
            "-A INPUT -s 10.1 -d any/0 -m comment --comment gw.example",
            "-A INPUT -s 0x0a.1.1.1/8 -j gw.example -s fd00::1 -s ! -s '' -s 1.2.3.4.5",
            "-L gw.example -s",
        ] {
            let words = same.split(' ').map(str::to_owned).collect();
            assert_eq!(resolved(words, look_up).join(" "), same);
        }
    }
}
