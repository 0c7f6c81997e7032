use super::*;

fn said(words: &str) -> Result<Said, String> {
    parse(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>())
}

fn asked(words: &str) -> Asked {
    match said(words) {
        Ok(Said::Show(asked)) => asked,
        other => panic!("{words}: {other:?}"),
    }
}

fn show(words: &str) -> Show {
    asked(words).show
}

#[test]
fn words_may_be_cut_short_as_in_iproute2() {
    for words in ["l", "li", "link", "link show", "link sh", "link l", "link list", "link lst", "l l"] {
        assert_eq!(show(words), Show::Link(LinkFilter::default()), "{words}");
    }
    for words in ["a", "addr", "address", "a s", "add sh", "addr ls", "addr list"] {
        assert_eq!(show(words), Show::Addr(LinkFilter::default()), "{words}");
    }
    let main = RouteFilter { family: Some(Family::Inet), ..RouteFilter::default() };
    for words in ["r", "ro", "ro sh", "route s", "route l", "route", "r s table main", "r s table 254"] {
        assert_eq!(show(words), Show::Route(main.clone()), "{words}");
    }
    for words in ["n", "neigh", "neighbor", "neighbour show", "n s", "neigh ls nud all"] {
        assert_eq!(show(words), Show::Neigh(NeighborFilter::default()), "{words}");
    }
}

#[test]
fn options_come_first_in_any_order() {
    let o = asked("-j -6 -br -s -d -o -p -c -N a").options;
    let all = Options {
        json: true,
        pretty: true,
        brief: true,
        oneline: true,
        stats: true,
        details: true,
        family: Some(Family::Inet6),
    };
    assert_eq!(o, all);
    assert!(asked("--json l").options.json && asked("-json l").options.json);
    assert_eq!(asked("-f inet l").options.family, Some(Family::Inet));
    assert_eq!(asked("-color=never -4 l").options.family, Some(Family::Inet));
    assert_eq!(asked("-j --control /x/gw.sock l").control, Some("/x/gw.sock".into()));
    assert_eq!(asked("--control=/x/gw.sock l").control, Some("/x/gw.sock".into()));
}

#[test]
fn links_and_addresses_are_chosen() {
    let lan = || LinkFilter { dev: Some("lan".into()), ..LinkFilter::default() };
    assert_eq!(show("link show dev lan"), Show::Link(lan()));
    assert_eq!(show("link show lan up"), Show::Link(LinkFilter { up: true, ..lan() }));
    assert_eq!(show("-6 link show lan"), Show::Link(lan()), "links have no family");
    let f = LinkFilter { family: Some(Family::Inet6), scope: Some("link".into()), ..lan() };
    assert_eq!(show("-6 a s lan scope link"), Show::Addr(f));
    let to = "10.0.0.0/8".parse().ok();
    let f = LinkFilter { family: Some(Family::Inet), to, ..LinkFilter::default() };
    assert_eq!(show("a s to 10/8"), Show::Addr(f));
}

#[test]
fn routes_are_chosen() {
    let v4 = || RouteFilter { family: Some(Family::Inet), ..RouteFilter::default() };
    let prefix = |r, s: &str| Some((r, s.parse::<IpNet>().unwrap()));
    let exact = |s: &str| RouteFilter { prefix: prefix(Relation::Exact, s), ..v4() };
    assert_eq!(show("r s default"), Show::Route(exact("0.0.0.0/0")));
    assert_eq!(show("r s 10.1.0.0/24"), Show::Route(exact("10.1.0.0/24")));
    assert_eq!(show("r s 10.1.0.9"), Show::Route(exact("10.1.0.9/32")));
    assert_eq!(show("r s to exact 10.1/16"), Show::Route(exact("10.1.0.0/16")));
    let f = RouteFilter { prefix: prefix(Relation::Root, "10.0.0.0/8"), ..v4() };
    assert_eq!(show("r s root 10.0.0.0/8"), Show::Route(f.clone()));
    assert_eq!(show("r s to root 10/8"), Show::Route(f));
    let f = RouteFilter { prefix: prefix(Relation::Match, "10.1.0.7/32"), ..v4() };
    assert_eq!(show("r s match 10.1.0.7"), Show::Route(f));
    let f = RouteFilter {
        family: Some(Family::Inet6),
        prefix: prefix(Relation::Exact, "fd01::/64"),
        ..RouteFilter::default()
    };
    assert_eq!(show("r s fd01::/64"), Show::Route(f), "a prefix says which family");
    let f = RouteFilter {
        family: Some(Family::Inet6),
        prefix: prefix(Relation::Exact, "::/0"),
        ..RouteFilter::default()
    };
    assert_eq!(show("-6 r s default"), Show::Route(f));
    let f = RouteFilter {
        dev: Some("lan".into()),
        via: Some("10.1.0.9".parse().unwrap()),
        protocol: Some("bgp".into()),
        kind: Some("unicast".into()),
        scope: Some("global".into()),
        ..v4()
    };
    assert_eq!(show("r s dev lan via inet 10.1.0.9 proto 186 type unicast scope global"), Show::Route(f));
    let f = RouteFilter { table: Table::All, ..RouteFilter::default() };
    assert_eq!(show("r s table all"), Show::Route(f), "of both families");
    let f =
        RouteFilter { via: "fe80::1".parse().ok(), family: Some(Family::Inet6), ..RouteFilter::default() };
    assert_eq!(show("r s via fe80::1"), Show::Route(f));
}

#[test]
fn neighbors_are_chosen() {
    let f = NeighborFilter { dev: Some("lan".into()), ..NeighborFilter::default() };
    assert_eq!(show("neigh show dev lan"), Show::Neigh(f));
    let f = NeighborFilter { states: vec!["STALE".into(), "DELAY".into()], ..NeighborFilter::default() };
    assert_eq!(show("n s nud stale nud delay"), Show::Neigh(f));
    let f = NeighborFilter {
        family: Some(Family::Inet6),
        to: "fd01::2/128".parse().ok(),
        ..NeighborFilter::default()
    };
    assert_eq!(show("n s fd01::2"), Show::Neigh(f.clone()));
    assert_eq!(show("n s to fd01::2"), Show::Neigh(f));
}

#[test]
fn help_is_given() {
    for words in ["", "help", "-j", "route help", "-help", "h"] {
        assert_eq!(said(words), Ok(Said::Help), "{words}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    for (words, part) in [
        ("lnk", "no object 'lnk'"),
        ("rule", "'ip rule' is not supported"),
        ("route get 10.1.0.9", "'ip route get' is not supported"),
        ("route add 10.0.0.0/8 via 10.1.0.9", "'ip route add' is not supported"),
        ("link s", "'ip link set' is not supported"),
        ("neigh flush dev lan", "'ip neighbor flush' is not supported"),
        ("monitor", "'ip monitor' is not supported"),
        ("link frob", "'frob' is no command of 'ip link'"),
        ("-t link", "option '-t' is not supported"),
        ("-x link", "option '-x' is not supported"),
        ("-b file", "option '-b' is not supported"),
        ("-f bridge link", "'bridge' is no family"),
        ("a s dev", "'dev' has nothing behind it"),
        ("a s scope foo", "no scope 'foo'"),
        ("r s table 7", "no table '7'"),
        ("r s proto foo", "'foo' is no protocol"),
        ("r s type throw", "no routes of type 'throw'"),
        ("r s nothing", "'nothing' is no prefix"),
        ("r s 10.1.0.0/33", "'10.1.0.0/33' is no prefix"),
        ("r s 1.2.3.4.5", "'1.2.3.4.5' is no prefix"),
        ("-6 r s 10.1.0.0/24", "not of the family"),
        ("r s 10.1.0.0/24 11.0.0.0/8", "'11.0.0.0/8' is one word too many"),
        ("r s src 10.1.0.1", "'src' is not supported here"),
        ("r s cache", "'cache' is not supported here"),
        ("n s nud foo", "no state 'foo'"),
        ("n s proxy", "'proxy' is not supported here"),
        ("l l lan wan", "'wan' is one word too many"),
        ("l l type veth", "'type' is not supported here"),
    ] {
        let e = said(words).unwrap_err();
        assert!(e.contains(part) && !e.contains('\n'), "{words}: {e}");
    }
}

proptest::proptest! {
    #[test]
    fn no_words_are_too_odd(
        words in proptest::collection::vec("(-?[a-z0-9]{0,4}|r|s|to|root|dev|10/8|-6|fd01::/64|default|via|nud)", 0..8)
    ) {
        let _ = parse(&words.into_iter().map(OsString::from).collect::<Vec<_>>());
    }
}
