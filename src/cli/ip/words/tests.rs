use ipnet::IpNet;

use super::pick::Flag;
use super::*;
use crate::control::protocol::{NeighborFilter, Relation, RouteFilter, Table};

fn said(words: &str) -> Result<Said, Misuse> {
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
    let o = asked("-j -6 -br -s -stat -d -o -p -c -N -t -h -iec -force -rc 9 a").options;
    let all = Options {
        json: true,
        pretty: true,
        brief: true,
        oneline: true,
        stats: 2,
        details: true,
        numeric: true,
        human: true,
        iec: true,
        color: Color::Always,
        family: Some(Family::Inet6),
        stamp: Some(Stamp::Long),
        force: true,
    };
    assert_eq!(o, all);
    assert!(asked("--json l").options.json && asked("-json l").options.json);
    assert_eq!(asked("-f inet l").options.family, Some(Family::Inet));
    assert_eq!(asked("-color=never -4 l").options.family, Some(Family::Inet));
    for (words, color) in [
        ("-co=auto l", Color::Auto),
        ("-c=always l", Color::Always),
        ("-c=never l", Color::Never),
        ("l", Color::Never),
    ] {
        assert_eq!(asked(words).options.color, color, "{words}");
    }
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
    for words in ["help", "-help", "-he", "h"] {
        assert_eq!(said(words), Ok(Said::Help(None)), "{words}");
    }
    for (words, object) in [
        ("route help", Object::Route),
        ("r get help", Object::Route),
        ("l h", Object::Link),
        ("a add help", Object::Address),
        ("mon help", Object::Monitor),
    ] {
        assert_eq!(said(words), Ok(Said::Help(Some(object))), "{words}");
    }
    for words in ["-V", "-Version", "--Version"] {
        assert_eq!(said(words), Ok(Said::Version), "{words}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    for (words, part) in [
        ("lnk", "no object 'lnk'"),
        ("rule", "'ip rule' is not supported"),
        ("route test 10.1.0.9", "'ip route test' is not supported"),
        ("route save", "'ip route save' is not supported"),
        ("link property", "'ip link property' is not supported"),
        ("link frob", "'frob' is no command of 'ip link'"),
        ("-x link", "option '-x' is not supported"),
        ("-f bridge link", "family 'bridge' is not supported"),
        ("-n x link", "option '-n' is not supported"),
        ("-B link", "option '-B' is not supported"),
        ("nexthop", "'ip nexthop' is not supported"),
        ("r s root 10/8 match 10.1.0.1", "by one prefix"),
        ("a flush label x", "can't be flushed by label"),
        ("r flush src 10.1.0.1", "can't be flushed by src"),
    ] {
        let e = said(words).unwrap_err().text;
        assert!(e.contains(part) && !e.contains('\n'), "{words}: {e}");
    }
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_iproute2() {
    for (words, code, part) in [
        ("lnk", 1, "Object \"lnk\" is unknown, try \"ip help\"."),
        ("link frob", 255, "Command \"frob\" is unknown, try \"ip link help\"."),
        ("n frob", 255, "Command \"frob\" is unknown, try \"ip neigh help\"."),
        ("-x link", 255, "Option \"-x\" is unknown, try \"ip -help\"."),
        ("--x link", 255, "Option \"-x\" is unknown"),
        ("-c=blue link", 255, "Option \"-c=blue\" is unknown"),
        ("", 255, "Usage: "),
        ("-j", 255, "Usage: "),
        ("-b", 255, "Usage: "),
        ("-f ipv4 a", 255, "Error: argument \"ipv4\" is wrong: invalid protocol family"),
        ("a s dev", 255, "Command line is not complete. Try option \"help\""),
        ("a s scope foo", 255, "Error: argument \"foo\" is wrong: invalid \"scope\""),
        ("a s group foo", 255, "Error: argument \"foo\" is wrong: Invalid \"group\" value"),
        ("l l lan wan", 255, "Error: either \"dev\" is duplicate, or \"wan\" is a garbage."),
        ("l l vrf x", 255, "is wrong: Not a valid VRF name"),
        ("n s dev lan dev wan", 255, "Error: duplicate \"dev\": \"wan\" is the second value."),
        ("n s nud foo", 255, "Error: argument \"foo\" is wrong: nud state is bad"),
        ("r s table 7", 2, "Error: ipv4: FIB table does not exist."),
        ("r s table foo", 255, "Error: argument \"foo\" is wrong: table id value is invalid"),
        ("r s proto foo", 255, "Error: argument \"foo\" is wrong: invalid \"protocol\""),
        ("r s type foo", 255, "Error: argument \"foo\" is wrong: node type value is invalid"),
        ("r s nothing", 1, "Error: any valid prefix is expected rather than \"nothing\"."),
        ("r s 10.1.0.0/33", 1, "Error: any valid prefix is expected rather than \"10.1.0.0/33\"."),
        ("r s 1.2.3.4.5", 1, "any valid prefix"),
        ("-6 r s 10.1.0.0/24", 1, "Error: inet6 prefix is expected rather than \"10.1.0.0/24\"."),
        ("route flush", 1, "\"ip route flush\" requires arguments."),
        ("addr flush", 1, "Flush requires arguments."),
        ("route get", 1, "need at least a destination address"),
        ("-4 route get fd01::1", 1, "Error: inet prefix is expected rather than \"fd01::1\"."),
        ("neigh get 10.1.0.2", 1, "Device and address are required arguments."),
        ("neigh add 10.1.0.2", 255, "Device and destination are required arguments."),
        ("neigh add 10.1.0.2 lladdr x dev lan", 1, "\"x\" is invalid lladdr."),
        ("neigh add 10.1.0.2 lladdr 02:00 dev lan", 2, "Error: Invalid link address."),
        ("addr add 10.1.0.1/24", 1, "Not enough information: \"dev\" argument is required."),
        ("addr add dev lan", 2, "RTNETLINK answers: Operation not supported"),
        ("link set up", 255, "Not enough information: \"dev\" argument is required."),
        ("link set lan frob", 255, "Error: either \"dev\" is duplicate, or \"frob\" is a garbage."),
        ("link set lan mtu big", 255, "Error: argument \"big\" is wrong: Invalid \"mtu\" value"),
        ("link set lan arp maybe", 1, "Error: argument of \"arp\" must be \"on\" or \"off\", not \"maybe\""),
        ("link set lan address 02:00", 1, "Invalid address length 2 - must be 6 bytes"),
        ("link add x", 1, "Not enough information: \"type\" argument is required"),
        ("link add a/b type tun", 255, "Error: argument \"a/b\" is wrong: \"dev\" not a valid ifname"),
        ("link add x type veth", 2, "Error: Unknown device type."),
        ("route add 10/8", 2, "RTNETLINK answers: No such device"),
        (
            "route add 10/8 dev lan metric x",
            255,
            "Error: argument \"x\" is wrong: \"metric\" value is invalid",
        ),
        (
            "route add 10/8 nexthop via 10.1.0.2 weight 0",
            255,
            "Error: argument \"0\" is wrong: \"weight\" is invalid",
        ),
        ("route add 10/8 nexthop", 255, "Error: unexpected end of line after \"nexthop\""),
        ("route add 10/8 nexthop via 10.1.0.2 metric 1", 255, "instead of \"metric\""),
        ("route add 10/8 via fd01::1", 1, "Error: inet address is expected rather than \"fd01::1\"."),
        ("route add fd09::/32 via inet 10.1.0.2", 2, "Error: IPv6 does not support RTA_VIA attribute."),
        ("route add blackhole 10/8 dev lan", 2, "can not be specified for this route type."),
        ("route add 10/8 dev lan onlink", 2, "Error: Invalid flags for nexthop"),
        ("route add 10/8 via 10.1.0.2 onlink", 2, "Error: Nexthop device required for onlink."),
        ("route add default via fe80::1", 2, "Error: Egress device not specified."),
        ("route add 10/8 via 10.1.0.2 nexthop via 10.1.0.3", 2, "Error: Nexthop gateway does not match"),
    ] {
        let e = said(words).unwrap_err();
        assert_eq!(e.code, code, "{words}: {e:?}");
        assert!(e.said.as_ref().is_some_and(|said| said.contains(part)), "{words}: {e:?}");
    }
}

#[test]
fn what_nothing_here_has_is_nothing() {
    let none = |words: &str| asked(words).routes == RoutePick { none: true, ..RoutePick::default() };
    for words in
        ["r s cache", "r s table cache", "r s tos 4", "r s mark 1", "r s from 10.1.0.0/24", "r s iif lan"]
    {
        assert!(none(words), "{words}");
    }
    for words in ["r s tos 0", "r s mark 0", "r s from default", "r s from match 10.1.0.1"] {
        assert!(!none(words), "{words}");
    }
    let none = |words: &str| match show(words) {
        Show::Neigh(f) => f.states == ["NONE"],
        _ => false,
    };
    assert!(none("n s proxy") && none("n s nud none") && none("n s master lan") && !none("n s unused"));
    assert_eq!(asked("l l type veth").links.kind.as_deref(), Some("veth"));
    assert!(asked("l l master lan").links.none && !asked("l l group default").links.none);
    let flags = asked("a s -tentative dynamic secondary").links.flags;
    assert_eq!(flags, [(Flag::Tentative, false), (Flag::Permanent, false), (Flag::Secondary, true)]);
}

fn deed(words: &str) -> Deed {
    match said(words) {
        Ok(Said::Do(order)) => order.deed,
        other => panic!("{words}: {other:?}"),
    }
}

fn change(words: &str) -> Change {
    match deed(words) {
        Deed::Change(change) => change,
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn routes_are_changed() {
    use crate::config::RouteOp::{Add, Append, Change as Change_, Delete, Replace};
    for (words, action, route) in [
        ("r add 10.0.0.0/8 via 10.1.0.9", Add, "10.0.0.0/8 via 10.1.0.9"),
        ("r a via 10.1.0.9 10/8 dev lan", Add, "10.0.0.0/8 via 10.1.0.9 dev lan"),
        ("route add to unreachable 10/8 metric 5", Add, "unreachable 10.0.0.0/8 metric 5"),
        ("route add blackhole default", Add, "blackhole default"),
        ("route app fd09::/32 via fd01::2", Append, "fd09::/32 via fd01::2"),
        (
            "route repl default via inet6 fd01::2 dev lan onlink",
            Replace,
            "default via fd01::2 dev lan onlink",
        ),
        ("-4 route repl default via inet6 fd01::2 dev lan", Replace, "0.0.0.0/0 via inet6 fd01::2 dev lan"),
        ("-6 route replace default dev lan", Replace, "::/0 dev lan"),
        ("-4 route replace default dev lan", Replace, "0.0.0.0/0 dev lan"),
        (
            "r chg 10.9.0.1 via 10.1.0.9 preference 7 protocol bgp",
            Change_,
            "10.9.0.1 via 10.1.0.9 metric 7 proto bgp",
        ),
        ("r c 10/8 oif lan pri 7 tab main src 10.1.0.1", Change_, "10.0.0.0/8 dev lan metric 7 src 10.1.0.1"),
        ("r del 10/8", Delete, "10.0.0.0/8"),
        ("r prepend fd09::/32 via fd01::2", Append, "fd09::/32 via fd01::2"),
        ("r add 10.0.0.0/255.0.0.0 dev lan metric 0x10", Add, "10.0.0.0/8 dev lan metric 16"),
        ("r add fd09::1/32 dev lan", Add, "fd09::/32 dev lan"),
        ("r add 10.0.0.1/8 dev lan", Add, "10.0.0.1/8 dev lan"),
        ("r add unreach 10/8", Add, "unreachable 10.0.0.0/8"),
        (
            "r add 10/8 nexthop via 10.1.0.2 dev lan weight 2 nexthop via 10.1.0.3",
            Add,
            "10.0.0.0/8 nexthop via 10.1.0.2 dev lan weight 2 nexthop via 10.1.0.3",
        ),
    ] {
        let route = route.to_owned();
        assert_eq!(change(words), Change::Route(RouteChange::One { action, route }), "{words}");
    }
    let f = RouteFilter { family: Some(Family::Inet), dev: Some("lan".into()), ..RouteFilter::default() };
    assert_eq!(change("route flush dev lan"), Change::Route(RouteChange::Flush(f)));
    assert_eq!(deed("route flush cache"), Deed::Nothing);
}

#[test]
fn links_and_addresses_are_changed() {
    use crate::config::{LinkChange, LinkSettings};
    let set = |name: &str, settings| Change::Link(LinkChange::Set { name: name.into(), settings });
    let plain = LinkSettings::default;
    assert_eq!(change("l s lan up"), set("lan", LinkSettings { up: Some(true), ..plain() }));
    let both = LinkSettings { mtu: Some(1400), mac: "02:00:00:00:00:01".parse().ok(), ..plain() };
    assert_eq!(change("link set dev lan mtu 1400 address 02:00:00:00:00:01"), set("lan", both));
    assert_eq!(change("link set down lan arp on"), set("lan", LinkSettings { up: Some(false), ..plain() }));
    let add = |settings| Change::Link(LinkChange::Add { name: "x".into(), kind: "packet".into(), settings });
    let eth = LinkSettings { device: Some("eth1".into()), up: Some(false), ..plain() };
    assert_eq!(change("link add x type packet device eth1"), add(eth.clone()));
    assert_eq!(
        change("link add name x up type packet device eth1"),
        add(LinkSettings { up: Some(true), ..eth })
    );
    assert_eq!(change("link del dev x type tun"), Change::Link(LinkChange::Delete { name: "x".into() }));

    let address = |replace| {
        let addr = "10.1.0.1".parse().unwrap();
        Change::Addr(AddrChange::Add { dev: "lan".into(), addr, prefix_len: 24, replace })
    };
    assert_eq!(change("a add 10.1.0.1/24 dev lan"), address(false));
    assert_eq!(change("addr add local 10.1.0.1/24 brd + label lan scope global dev lan"), address(false));
    assert_eq!(change("addr add 10.1.0.1/24 broadcast 10.1.0.255 dev lan valid_lft forever"), address(false));
    assert_eq!(change("addr replace 10.1.0.1/24 dev lan"), address(true));
    let del = |prefix_len| {
        let addr = "10.1.0.1".parse().unwrap();
        Change::Addr(AddrChange::Delete { dev: "lan".into(), addr, prefix_len })
    };
    assert_eq!(change("a d 10.1.0.1/24 dev lan"), del(Some(24)));
    assert_eq!(change("a del 10.1.0.1 dev lan"), del(None));
    let f = LinkFilter { dev: Some("lan".into()), ..LinkFilter::default() };
    assert_eq!(change("addr flush dev lan"), Change::Addr(AddrChange::Flush(f)));
}

#[test]
fn neighbors_are_changed() {
    let set = |state: &str, mac: Option<&str>, create, replace| {
        Change::Neigh(NeighChange::Set {
            ip: "10.1.0.2".parse().unwrap(),
            dev: "lan".into(),
            mac: mac.map(str::to_owned),
            state: state.into(),
            create,
            replace,
        })
    };
    let mac = Some("02:00:00:00:00:02");
    let all = "10.1.0.2 lladdr 02:00:00:00:00:02 dev lan";
    assert_eq!(change(&format!("n add {all}")), set("permanent", mac, true, false));
    assert_eq!(change(&format!("neigh replace to {all} nud stale")), set("stale", mac, true, true));
    assert_eq!(change(&format!("neigh chg {all}")), set("permanent", mac, false, true));
    assert_eq!(change("n add 10.1.0.2 dev lan nud failed"), set("failed", None, true, false));
    let f = NeighborFilter { dev: Some("lan".into()), ..NeighborFilter::default() };
    assert_eq!(change("n flush dev lan"), Change::Neigh(NeighChange::Flush(f)));
    assert_eq!(change("n flush all"), Change::Neigh(NeighChange::Flush(NeighborFilter::default())));
}

#[test]
fn ways_and_changes_are_asked_for() {
    let Deed::Get(get) = deed("r get 10.9.0.1 from 10.1.0.7 iif lan mark 0x10 ipproto tcp sport 7 dport 8")
    else {
        panic!()
    };
    assert_eq!((get.to, get.from), ("10.9.0.1".parse().unwrap(), "10.1.0.7".parse().ok()));
    assert_eq!((get.iif.as_deref(), get.mark, get.ipproto), (Some("lan"), Some(16), Some(6)));
    assert_eq!((get.sport, get.dport, get.oif), (Some(7), Some(8), None));
    use crate::control::protocol::Watched::{Neigh, Route};
    let Deed::Monitor(monitor, label) = deed("mon route neigh dev lan") else { panic!() };
    assert_eq!((monitor.objects, monitor.dev.as_deref(), label), (vec![Route, Neigh], Some("lan"), false));
    assert_eq!(deed("monitor all"), Deed::Monitor(Monitor::default(), true));
    let Ok(Said::Do(order)) = said("-ts -6 monitor label link") else { panic!() };
    assert_eq!((order.options.stamp, order.options.family), (Some(Stamp::Short), Some(Family::Inet6)));
    assert!(
        matches!(said("-force -batch x"), Ok(Said::Batch(o, f, None)) if o.force && f.as_os_str() == "x")
    );
}

#[test]
fn words_of_changes_that_are_not_understood_are_named() {
    for (words, part) in [
        ("route add", "give a destination"),
        ("route add 10/8 dev lan mtu x", "is no number of bytes for 'mtu'"),
        ("route add 10/8 dev lan encap mpls 1", "'encap' is not supported"),
        ("route add 10/8 dev lan table 7", "'table 7' is not supported"),
        ("route add 10/8 dev lan scope global", "has scope link"),
        ("route add throw 10/8", "routes of type 'throw' are not supported"),
        ("link set lan name foo", "'name' is not supported"),
        ("link set lan txqueuelen 9", "'txqueuelen' is not supported"),
        ("link set lan arp off", "'arp off' is not supported"),
        ("link add type tap", "give the new link's name"),
        ("link add x type tun mode tap", "'mode tap' is not supported"),
        ("link replace lan up", "'ip link replace' is not supported"),
        ("addr add 10.1.0.1/24 peer 10.1.0.2 dev lan", "'peer' is not supported"),
        ("addr add 10.1.0.1/24 dev lan label lan:1", "'label' is not supported"),
        ("addr add 10.1.0.1/24 dev lan scope link", "the scope of 10.1.0.1 is global"),
        ("addr add 10.1.0.1/24 dev lan brd 10.1.0.254", "leave '10.1.0.254' out"),
        ("addr add 10.1.0.1/24 dev lan valid_lft 9", "'valid_lft 9' is not supported"),
        ("neigh add 10.1.0.2 dev lan nud noarp", "'nud noarp' is not supported"),
        ("neigh add proxy 10.1.0.2 dev lan", "'proxy' is not supported"),
        ("monitor rule", "'rule' is not supported"),
        ("monitor frob", "'frob' can't be watched"),
    ] {
        let e = said(words).unwrap_err().text;
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

    #[test]
    fn commands_with_words_put_in_or_left_out_are_survived(
        command in proptest::sample::select(&[
            "route add unreachable 10.0.0.0/8 metric 5",
            "route replace default nexthop via 10.1.0.2 dev lan weight 2 nexthop via inet6 fd01::2 onlink",
            "route get 10.9.0.1 from 10.1.0.7 iif lan ipproto tcp sport 7 dport 8",
            "-6 addr add fd01::1/64 dev lan scope global label lan valid_lft forever",
            "link add x type packet device eth1 mtu 1400 address 02:00:00:00:00:01 up",
            "neigh replace 10.1.0.2 lladdr 02:00:00:00:00:02 nud stale dev lan",
            "-ts monitor link route dev lan label",
        ][..]),
        edits in proptest::collection::vec((0usize..16, "([a-z0-9:./#-]{0,8}|dev|via|to|nexthop|flush|all)", 0..3), 0..4),
    ) {
        let mut words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        for (at, word, how) in edits {
            let at = at % words.len();
            match how {
                0 => words[at] = word,
                1 => words.insert(at, word),
                _ if words.len() > 1 => drop(words.remove(at)),
                _ => {}
            }
        }
        match parse(&words.iter().map(OsString::from).collect::<Vec<_>>()) {
            Ok(_) => {}
            Err(e) => proptest::prop_assert!(!e.text.contains('\n') && e.text.len() > 10, "{e}"),
        }
    }
}
