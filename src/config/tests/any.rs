//! Any text, and good files with something wrong in them.

use proptest::prelude::*;

use super::*;

/// Words that files are made of, so that random text gets past the first line.
fn word() -> impl Strategy<Value = String> {
    let words = [
        "[router]",
        "[link.lan]",
        "[link.wan]",
        "[link.lo]",
        "[[route]]",
        "[[neighbor]]",
        "[conntrack]",
        "[icmp]",
        "[services]",
        "[firewall]",
        "[conntrack.timeouts]",
        "\n",
        "\n",
        "\n",
        "=",
        "=",
        "=",
        "name",
        "kind",
        "to",
        "via",
        "dev",
        "mtu",
        "addresses",
        "nexthops",
        "weight",
        "metric",
        "type",
        "ip",
        "mac",
        "queues",
        "owner",
        "udp",
        "rate",
        "echo",
        "onlink",
        "src",
        "\"packet\"",
        "\"tap\"",
        "\"tun\"",
        "\"lan\"",
        "\"wan\"",
        "\"lo\"",
        "\"default\"",
        "\"10.1.0.1/24\"",
        "\"10.1.0.2\"",
        "\"fe80::2\"",
        "\"fd01::1/64\"",
        "\"0.0.0.0/0\"",
        "[",
        "]",
        "{",
        "}",
        ",",
        "true",
        "false",
        "0",
        "-1",
        "1500",
        "99999999999999999999",
        "1.5",
        "nan",
        "1979-05-27",
        "\"blackhole\"",
        "\"02:00:00:00:00:01\"",
        "\"auto\"",
        "'''",
        "\"",
        "#",
        ".",
        "\u{feff}",
        "\0",
        "é",
    ];
    prop_oneof![
        9 => prop::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

/// Problems have lines that are there, and say something on one line.
fn sound(text: &str, problems: &Problems) {
    assert!(!problems.is_empty());
    for p in problems.iter() {
        assert!(p.line <= text.matches('\n').count() + 1, "{p}\n{text}");
        assert!(!p.to_string().contains('\n'), "{p}");
        assert!(!p.text.is_empty());
    }
}

/// What holds for every configuration that is handed out.
fn holds(c: &Config) {
    let names: Vec<&str> = c.links.iter().map(|l| l.name.as_str()).collect();
    for l in &c.links {
        assert!((68..=65_535).contains(&l.mtu) && !l.device.is_empty() && l.name != "lo");
        assert_eq!(l.mac.is_none(), l.kind == LinkKind::Tun);
        assert!(l.mac.is_none_or(Mac::is_station));
        assert!(l.mtu >= 1_280 || l.addresses.iter().all(|a| a.addr.is_ipv4()));
    }
    for r in &*c.routes {
        assert_eq!(r.to, r.to.trunc());
        assert_eq!(r.hops.is_empty(), r.kind != RouteType::Unicast);
        for h in &*r.hops {
            assert!(h.via.is_some() || h.dev.is_some());
            assert!(h.via.is_none_or(|via| via.is_ipv6() || r.to.addr().is_ipv4()));
            assert!(h.dev.as_deref().is_none_or(|dev| names.contains(&dev)));
            assert!((1..=256).contains(&h.weight) && (!h.onlink || (h.via.is_some() && h.dev.is_some())));
        }
    }
    for n in &c.neighbors {
        assert!(n.mac.is_station() && names.contains(&n.dev.as_str()));
    }
    assert_eq!(c.links_table().bound(), c.links.len() + 1);
    assert!((1..=MAX_WORKERS).contains(&c.workers(4)));
}

fn judge(text: &str) {
    let path = Path::new("/nowhere/gw.toml");
    match parse(text, path) {
        Ok(config) => {
            holds(&config);
            if let Err(problems) = config.rib() {
                sound(text, &problems);
            }
        }
        Err(problems) => {
            sound(text, &problems);
            // What is judged in spite of it has to hold out too.
            let u = understand(text, path);
            let _ = build::routing(&u.config, &u.config.links_table(), &u.doubt);
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_judged(text in any::<String>()) {
        judge(&text);
    }

    #[test]
    fn any_words_are_judged(words in prop::collection::vec(word(), 0..60)) {
        judge(&words.join(" "));
    }

    #[test]
    fn good_files_with_bytes_changed_are_judged(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, any::<char>()), 1..6)
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, how, c) in changes {
            let at = at.index(text.len());
            match how {
                0 => text[at] = c,
                1 => text.insert(at, c),
                _ => drop(text.remove(at)),
            }
        }
        judge(&text.into_iter().collect::<String>());
    }

    #[test]
    fn good_files_with_lines_moved_are_judged(
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
        without in any::<prop::sample::Index>(),
    ) {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        for (a, b) in swaps {
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
        }
        lines.remove(without.index(lines.len()));
        judge(&lines.join("\n"));
    }

    /// A router written down and read again is the same router.
    #[test]
    fn what_is_written_is_read(
        links in prop::collection::vec((0..3usize, 1280..9000u32, any::<bool>(), prop::option::of(1..8usize)), 1..6),
        metrics in prop::collection::vec(prop::option::of(any::<u32>()), 0..6),
        weights in prop::collection::vec(1..=256u16, 1..5),
        rate in 1..=1_000_000u32,
        workers in prop::option::of(1..=256usize),
    ) {
        let mut text = String::from("[router]\nname = \"gw\"\n");
        if let Some(n) = workers {
            text += &format!("workers = {n}\n");
        }
        for (i, (kind, mtu, redirects, queues)) in links.iter().enumerate() {
            let kind = ["packet", "tap", "tun"][*kind];
            let queues = queues.map_or("\"auto\"".into(), |q| q.to_string());
            text += &format!(
                "[link.l{i}]\nkind = \"{kind}\"\nmtu = {mtu}\nredirects = {redirects}\nqueues = {queues}\n\
                 addresses = [\"10.{i}.0.1/16\", \"fd00:{i}::1/64\"]\n"
            );
        }
        for (i, metric) in metrics.iter().enumerate() {
            text += &format!("[[route]]\nto = \"172.16.{i}.0/24\"\nvia = \"10.0.0.2\"\n");
            if let Some(metric) = metric {
                text += &format!("metric = {metric}\n");
            }
        }
        let hops = weights.iter().enumerate().map(|(i, w)| format!("{{ via = \"10.0.1.{i}\", weight = {w} }}"));
        text += &format!("[[route]]\nto = \"default\"\nnexthops = [{}]\n", hops.collect::<Vec<_>>().join(", "));
        text += &format!("[icmp]\nrate = {rate}\n");

        let c = good(&text);
        holds(&c);
        prop_assert_eq!((c.workers, c.icmp.rate), (workers, rate));
        let read: Vec<_> = c.links.iter().map(|l| (l.mtu, l.redirects, l.queues)).collect();
        let written: Vec<_> = links.iter().map(|(_, mtu, redirects, queues)| (*mtu, *redirects, *queues)).collect();
        prop_assert_eq!(read, written);
        let (default, others) = c.routes.split_last().unwrap();
        prop_assert_eq!(others.iter().map(|r| r.metric).collect::<Vec<_>>(), metrics);
        prop_assert_eq!(default.hops.iter().map(|h| h.weight).collect::<Vec<_>>(), weights);
        prop_assert!(c.rib().is_ok(), "{:?}", c.rib().err());
    }
}
