//! Changes that no verb would send, made of JSON with the right keys and anything behind them: each is refused as the
//! kernel would have refused it, or the configuration says what is.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn pick(values: Value) -> impl Strategy<Value = Value> {
    let Value::Array(values) = values else { unreachable!("a list is picked from") };
    proptest::sample::select(values)
}

/// Names that are there, could be, and can't be.
fn name() -> impl Strategy<Value = Value> {
    let long = "x".repeat(16);
    let longer = "y".repeat(5_000);
    prop_oneof![
        4 => pick(json!(["lan", "wan", "t0", "x1", "lo"])),
        2 => pick(json!([
            "", "nope", "a/b", "..", "a b", "a\nb", "\u{0}", "\u{1b}[31m", "%d", "exactly15chars!", "x\"y", "[x]", "'",
            "x#1", "é", "ééééééééé", "default", "tap\u{202e}", "\\", long, longer, 7, null
        ])),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    pick(json!([
        0,
        1,
        5,
        24,
        31,
        32,
        33,
        64,
        68,
        127,
        128,
        129,
        200,
        255,
        256,
        1279,
        1280,
        1500,
        65521,
        65522,
        65535,
        65536,
        4294967295u32,
        4294967296u64,
        18446744073709551615u64,
        -1,
        1.5,
        "24",
        null
    ]))
}

fn address() -> impl Strategy<Value = Value> {
    pick(json!([
        "10.1.0.1",
        "10.1.0.2",
        "10.1.0.5",
        "10.2.0.2",
        "10.5.0.1",
        "10.5.0.0",
        "10.5.0.255",
        "0.0.0.0",
        "0.1.2.3",
        "255.255.255.255",
        "127.0.0.1",
        "127.0.0.2",
        "224.0.0.1",
        "240.0.0.1",
        "::",
        "::1",
        "fd01::1",
        "fd05::",
        "fd05::1",
        "fe80::1",
        "fe80::ff:fe00:101",
        "ff02::1",
        "::ffff:10.1.0.9",
        "2001:db8::1",
        "10.1.0",
        "",
        7
    ]))
}

fn prefix() -> impl Strategy<Value = Value> {
    pick(json!([
        "10.0.0.0/8",
        "10.1.0.7/24",
        "0.0.0.0/0",
        "::/0",
        "fd01::1/64",
        "10.1.0.0/33",
        "x",
        null,
        null
    ]))
}

fn mac() -> impl Strategy<Value = Value> {
    pick(json!([
        "02:00:00:00:01:77",
        "02:00:00:00:01:01",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        "01:00:5e:00:00:01",
        "33:33:00:00:00:01",
        "02:00:00:00:01",
        "zz",
        "",
        null,
        7
    ]))
}

fn flag() -> impl Strategy<Value = Value> {
    pick(json!([true, false, true, false, null, "yes"]))
}

fn word() -> impl Strategy<Value = Value> {
    pick(json!([
        "permanent",
        "PERMANENT",
        "stale",
        "STALE",
        "failed",
        "noarp",
        "incomplete",
        "",
        "host",
        "link",
        "global",
        "site",
        "unicast",
        "local",
        "blackhole",
        "throw",
        "static",
        "bgp",
        "186",
        "256",
        "kernel",
        "inet",
        "inet6",
        "main",
        "a\u{7}b",
        null,
        7
    ]))
}

/// The words of a route, in any order.
fn route() -> impl Strategy<Value = Value> {
    let words = [
        "default",
        "10.9.0.0/16",
        "10.9.0.1/16",
        "10.9.0.0/33",
        "fd09::/32",
        "fe80::/64",
        "ff00::/8",
        "224.0.0.0/4",
        "0.0.0.0/0",
        "10.1.0.0/24",
        "10.1.0.1",
        "via",
        "via 10.1.0.2",
        "via 10.2.0.2",
        "via fd01::2",
        "via 10.1.0.1",
        "via 0.0.0.0",
        "via ::ffff:10.1.0.2",
        "dev",
        "dev lan",
        "dev wan",
        "dev lo",
        "dev nope",
        "onlink",
        "weight 0",
        "weight 256",
        "weight 257",
        "weight -1",
        "metric 0",
        "metric 4294967295",
        "metric 4294967296",
        "metric 0x10",
        "src 10.1.0.1",
        "src 10.1.0.9",
        "src ::1",
        "proto 0",
        "proto 255",
        "proto 256",
        "proto kernel",
        "proto é",
        "table main",
        "table local",
        "table 4294967295",
        "scope host",
        "scope link",
        "mtu 0",
        "nexthop",
        "nexthop via 10.1.0.2",
        "nexthop via 10.1.0.2",
        "nexthop via 10.2.0.2 weight 0",
        "nexthop via fd01::2",
        "nexthop dev t0 weight 256",
        "blackhole",
        "local",
        "throw",
        "# more",
        "\\",
        "\u{1b}[1m",
        "\n",
    ];
    let word = proptest::sample::select(words.to_vec());
    prop_oneof![
        8 => prop::collection::vec(word, 0..5).prop_map(|words| words.join(" ").into()),
        1 => Just("dev lan ".repeat(20_000).into()),
        1 => Just("9".repeat(100_000).into()),
        1 => Just(format!("10.9.0.0/16{}", " nexthop via 10.1.0.2".repeat(300)).into()),
    ]
}

fn one() -> impl Strategy<Value = Value> {
    let settings = || {
        (name(), mac(), number(), flag())
            .prop_map(|(device, mac, mtu, up)| json!({"device": device, "mac": mac, "mtu": mtu, "up": up}))
    };
    let settings = move || prop_oneof![settings(), number().prop_map(|n| json!({"mtu": n})), Just(json!({}))];
    let kind = pick(json!(["tun", "tap", "packet", "tun", "loopback", "memory", "veth", "", "t\u{0}n"]));
    let link_add = (name(), kind, settings())
        .prop_map(|(n, k, s)| json!({"object": "link", "op": "add", "name": n, "kind": k, "settings": s}));
    let link = (name(), pick(json!(["set", "set", "delete", "burn"])), settings())
        .prop_map(|(n, op, s)| json!({"object": "link", "op": op, "name": n, "settings": s}));
    let addr = (name(), address(), number(), flag(), pick(json!(["add", "add", "delete"]))).prop_map(
        |(dev, addr, len, replace, op)| {
            json!({"object": "addr", "op": op, "dev": dev, "addr": addr, "prefix_len": len, "replace": replace})
        },
    );
    let flush = (pick(json!(["addr", "neigh", "route"])), name(), word(), word(), word(), prefix(), number()).prop_map(
        |(object, dev, family, scope, word, to, n)| {
            let dev = if n.is_null() { n.clone() } else { dev };
            json!({
                "object": object, "op": "flush", "dev": dev, "family": family, "scope": scope, "to": to, "states": [word],
                "table": "main", "protocol": word, "kind": word, "metric": n, "prefix": ["root", to]
            })
        },
    );
    let op = pick(json!(["add", "append", "replace", "change", "delete"]));
    let route = (op, route()).prop_map(
        |(action, route)| json!({"object": "route", "op": "one", "action": action, "route": route}),
    );
    let neigh = (address(), name(), mac(), word(), flag(), flag()).prop_map(|(ip, dev, mac, state, create, replace)| {
        json!({
            "object": "neigh", "op": "set", "ip": ip, "dev": dev, "mac": mac, "state": state, "create": create,
            "replace": replace
        })
    });
    let no_neigh = (address(), name())
        .prop_map(|(ip, dev)| json!({"object": "neigh", "op": "delete", "ip": ip, "dev": dev}));
    prop_oneof![3 => link_add, 3 => link, 4 => addr, 1 => flush, 4 => route, 2 => neigh, 1 => no_neigh, 1 => rules()]
}

fn rules() -> impl Strategy<Value = Value> {
    let words = [
        "-A",
        "-I",
        "-D",
        "-N",
        "-X",
        "-P",
        "-F",
        "FORWARD",
        "INPUT",
        "nat",
        "-t",
        "chain one",
        "c\"q",
        "x\ny",
        "",
        "-j",
        "ACCEPT",
        "LOG",
        "--log-prefix",
        "-m",
        "comment",
        "--comment",
        "say \"no\"\\",
        "é\u{1b}",
        "-p",
        "tcp",
        "--dport",
        "70000",
        "0",
        "-i",
        "lan",
        "averyveryverylongname",
        "--",
        "!",
        "1",
    ];
    let words = prop::collection::vec(proptest::sample::select(words.to_vec()), 0..7);
    (pick(json!(["inet", "inet6"])), words).prop_map(
        |(family, words)| json!({"object": "rules", "family": family, "op": "command", "words": words}),
    )
}

fn any_change() -> impl Strategy<Value = Value> {
    let several = |changes| json!({"object": "several", "changes": changes, "force": true});
    prop_oneof![
        6 => one(),
        1 => prop::collection::vec(one(), 0..6).prop_map(several),
        1 => one().prop_map(move |one| several(vec![several(vec![one])])),
    ]
}

/// A sentence that anybody's terminal can be given.
fn plain(refusal: &Refusal) {
    assert!(!refusal.text.chars().any(char::is_control), "{:?}", refusal.text);
    assert!(refusal.text.len() < 2_000, "{} bytes: {}", refusal.text.len(), &refusal.text[..200]);
    assert!(refusal.errno.is_some(), "{refusal}");
}

proptest! {
    #[test]
    fn no_change_is_too_odd(changes in prop::collection::vec(any_change(), 1..12)) {
        let mut w = World::new(GW);
        for change in changes {
            let Ok(change) = serde_json::from_value::<Change>(change) else { continue };
            match w.change(&change) {
                Ok(_) => {}
                Err(refusal) => plain(&refusal),
            }
        }
    }
}

/// What is refused of a change that is told as JSON.
fn refused(change: Value) -> Refusal {
    let change = serde_json::from_value(change).unwrap();
    let refusal = World::new(GW).change(&change).unwrap_err();
    plain(&refusal);
    refusal
}

#[test]
fn what_no_verb_sends_is_refused_as_the_kernel_does() {
    let add = |addr: &str, prefix_len: u8| json!({"object": "addr", "op": "add", "dev": "t0", "addr": addr, "prefix_len": prefix_len});
    for (change, errno, says) in [
        (add("10.9.0.9", 200), "EINVAL", "0 to 32"),
        (add("10.9.0.9", 33), "EINVAL", "0 to 32"),
        (add("fd09::9", 129), "EINVAL", "0 to 128"),
        (add("10.3.0.1", 99), "EINVAL", "0 to 32"),
        (json!({"object": "addr", "op": "flush", "scope": "globl"}), "EINVAL", "globl"),
        (json!({"object": "route", "op": "flush", "scope": "globl"}), "EINVAL", "globl"),
        (json!({"object": "route", "op": "flush", "kind": "hole"}), "EINVAL", "hole"),
        (json!({"object": "route", "op": "flush", "protocol": "256"}), "EINVAL", "256"),
        (json!({"object": "route", "op": "flush", "dev": "nope"}), "ENODEV", "nope"),
        (json!({"object": "neigh", "op": "flush", "states": ["permanent"]}), "EINVAL", "permanent"),
    ] {
        let refusal = refused(change.clone());
        assert_eq!(refusal.errno, Some(errno), "{change}: {refusal}");
        assert!(refusal.text.contains(says), "{change}: {refusal}");
    }
}

#[test]
fn a_flush_by_number_is_one_by_name() {
    let mut w = World::new(GW);
    w.route(RouteOp::Add, "10.7.0.0/16 via 10.1.0.2 proto bgp").unwrap();
    let filter = RouteFilter { protocol: Some("186".into()), ..RouteFilter::default() };
    w.change(&Change::Route(RouteChange::Flush(filter))).unwrap();
    assert!(!w.routes().iter().any(|r| r.contains("bgp")), "{:?}", w.routes());
}

/// Whatever is asked for at once: what is said of it fits an answer.
#[test]
fn a_great_many_refusals_are_told_in_few_words() {
    let bad = Change::Route(RouteChange::One { action: RouteOp::Add, route: "é".repeat(300) });
    let several = |n: usize| Change::Several { changes: vec![bad.clone(); n], force: true };
    let w = World::new(GW);
    let now = Instant::from_secs(1);
    let changed = w.setup.changed(&several(MOST_TOGETHER), &w.neighbors, now).unwrap();
    assert_eq!(changed.refused.len(), MOST_TOGETHER);
    assert!(changed.refused.iter().map(|(_, no)| no.text.len()).sum::<usize>() < 8 << 20);
    assert!(changed.refused.iter().all(|(_, no)| no.errno == Some("EINVAL") && !no.text.is_empty()));
    let refusal = w.setup.changed(&several(MOST_TOGETHER + 1), &w.neighbors, now).err().unwrap();
    assert_eq!(refusal.errno, Some("EINVAL"));
}
