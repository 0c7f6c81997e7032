//! What a home gateway is for: the inside goes out translated, the outside stays out, services are let in.

use std::io::{ErrorKind, Read as _, Write as _};

use sekisho::lab::isolate;
use sekisho::lab::probes::{Amount, Datagrams, HopKind, PathMtu, Ping, Stream, Trace};
use std::time::Duration;

use crate::gateway::ip;
use crate::home::*;

#[test]
fn the_inside_reaches_the_outside() {
    isolate::test(|| {
        let home = Home::stateful();
        for v in 0..2 {
            assert!(home.client().run(|| Ping::new(ip(SERVER[v])).count(3).run()).unwrap().complete());
            let listener = listen(home.server(), SERVER[v], 80);
            let mut stream = connect(home.client(), SERVER[v], 80).unwrap();
            let (mut served, from) = accept(&listener);
            assert!(same(from, WAN[v]), "{from}");
            assert_eq!(from.port(), stream.local_addr().unwrap().port(), "the port is kept if it is free");
            converse(&mut stream, &mut served).unwrap();
            let (asked, served) = (udp(home.client(), any(SERVER[v]), 0), udp(home.server(), SERVER[v], 53));
            for i in 0..5u8 {
                asked.send_to(&[i], (ip(SERVER[v]), 53)).unwrap();
                let (question, from) = heard(&served, PATIENCE).unwrap();
                assert!(same(from, WAN[v]) && question == [i], "{from}");
                served.send_to(&[i, i], from).unwrap();
                let (answer, from) = heard(&asked, PATIENCE).unwrap();
                assert!(same(from, SERVER[v]) && answer == [i, i] && from.port() == 53, "{from}");
            }
            // Every port of the client's is another flow; all of them arrive.
            let report =
                Datagrams::new(ip(SERVER[v]), 2000).flows(20).run(home.client(), home.server()).unwrap();
            assert!(report.perfect(), "{report:?}");
        }
        home.stop();
    });
}

#[test]
fn a_stranger_outside_starts_nothing_inwards() {
    isolate::test(|| {
        let home = Home::stateful();
        for v in 0..2 {
            let _listener = listen(home.client(), CLIENT[v], 22);
            // The isp knows the way in, and the server knows the gateway.
            for (stranger, to, port) in
                [(home.isp(), CLIENT[v], 22), (home.server(), CLIENT[v], 22), (home.server(), WAN[v], 7)]
            {
                let refused = connect_within(stranger, to, port, SILENCE).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::TimedOut, "{to}: {refused}");
                let report = stranger.run(|| Ping::new(ip(to)).wait(SILENCE).run()).unwrap();
                assert!(report.answers.is_empty() && report.errors.is_empty(), "{to}: {report:?}");
            }
            // From inside the gateway's own services can be had.
            let mut echo = connect(home.client(), LAN[v], 7).unwrap_or_else(|e| panic!("{}: {e}", LAN[v]));
            echo.write_all(b"hello").unwrap();
            echo.read_exact(&mut [0; 5]).unwrap();
            // A flow that was opened is open to the one it was opened to, and to nobody else.
            let (inside, asked) = (udp(home.client(), any(SERVER[v]), 0), udp(home.server(), SERVER[v], 53));
            inside.send_to(b"?", (ip(SERVER[v]), 53)).unwrap();
            let (_, hole) = heard(&asked, PATIENCE).unwrap();
            udp(home.server(), SERVER[v], 54).send_to(b"other port", hole).unwrap();
            udp(home.isp(), ISP[v], 53).send_to(b"other host", hole).unwrap();
            asked.send_to(b"!", hole).unwrap();
            assert_eq!(heard(&inside, PATIENCE).unwrap().0, b"!");
            assert_eq!(heard(&inside, SILENCE), None);
        }
        assert!(home.drops("filtered").is_none_or(|n| n > 10));
        home.stop();
    });
}

#[test]
fn pings_of_the_same_number_from_two_hosts() {
    isolate::test(|| {
        let home = Home::stateful();
        for to in SERVER {
            let ping = Ping::new(ip(to)).ident(4660).count(50).wait(PATIENCE);
            std::thread::scope(|s| {
                let other = s.spawn(|| home.second().run(|| ping.run()).unwrap());
                assert!(home.client().run(|| ping.run()).unwrap().complete());
                assert!(other.join().unwrap().complete());
            });
            let flows = home.flows_with(&["icmp", "id=4660"]);
            let to = if to.contains(':') { "src=2001:0db8:0002:0000:0000:0000:0000:0002" } else { to };
            let of = flows.iter().filter(|l| l.contains(to) || l.contains(SERVER[1])).count();
            assert!(of >= 2, "{flows:#?}");
        }
        home.stop();
    });
}

#[test]
fn a_trace_shows_every_router() {
    isolate::test(|| {
        let home = Home::stateful();
        for v in 0..2 {
            let hops = home.client().run(|| Trace::new(ip(SERVER[v])).run()).unwrap();
            let seen: Vec<_> = hops.iter().map(|h| (h.from, h.kind)).collect();
            let expected = [
                (Some(ip(LAN[v])), HopKind::OnTheWay),
                (Some(ip(ISP[v])), HopKind::OnTheWay),
                (Some(ip(SERVER[v])), HopKind::Arrived),
            ];
            assert_eq!(seen, expected);
        }
        home.stop();
    });
}

#[test]
fn the_path_mtu_is_found_behind_the_gateway() {
    isolate::test(|| {
        let home = Home::new(&Choice { far_mtu: 1400, ..Choice::default() });
        for v in 0..2 {
            let report = home.client().run(|| PathMtu::new(ip(SERVER[v])).run()).unwrap();
            assert_eq!(report.mtu, Some(1400), "{report:?}");
            assert_eq!(report.steps[0].error.unwrap().from, Some(ip(ISP[v])));
        }
        // A second host has learnt nothing yet: its TCP finds out by itself.
        for to in SERVER {
            let report =
                Stream::new(ip(to), Amount::Bytes(8 << 20)).run(home.second(), home.server()).unwrap();
            assert!(report.intact(), "{to}: {report:?}");
        }
        home.stop();
    });
}

#[test]
fn a_gigabyte_of_ipv4() {
    isolate::test(|| gigabyte(0));
}

#[test]
fn a_gigabyte_of_ipv6() {
    isolate::test(|| gigabyte(1));
}

/// Every byte of it is compared where it arrives.
fn gigabyte(v: usize) {
    let home = Home::stateful();
    let stream = Stream::new(ip(SERVER[v]), Amount::Bytes(1 << 30)).deadline(Duration::from_secs(400));
    let report = stream.run(home.client(), home.server()).unwrap();
    assert!(report.intact() && report.sent == 1 << 30, "{report:?}");
    println!("{:.2} Gbit/s in {:.1} s", report.rate() / 1e9, report.elapsed.as_secs_f64());
    home.stop();
}

#[test]
fn both_ways_and_both_families_at_once_on_two_workers() {
    isolate::test(|| {
        let home = Home::new(&Choice { workers: 2, ..Choice::default() });
        std::thread::scope(|s| {
            for to in SERVER {
                for from in [home.client(), home.second()] {
                    let home = &home;
                    s.spawn(move || {
                        let stream = Stream::new(ip(to), Amount::Bytes(32 << 20));
                        let report = stream.run(from, home.server()).unwrap();
                        assert!(report.intact(), "{to}: {report:?}");
                        let report = Datagrams::new(ip(to), 2000).run(from, home.server()).unwrap();
                        assert!(report.perfect(), "{to}: {report:?}");
                    });
                }
            }
        });
        home.stop();
    });
}

/// A port of the gateway's that leads to the client, from outside, from the other inside network, and from the
/// client's own, where the answers must be made to come back this way.
const FORWARDED: [&str; 2] = [
    "\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -d 192.0.2.2/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.2:80
-A PREROUTING -d 192.0.2.2/32 -p udp -m udp --dport 5000:5009 -j DNAT --to-destination 10.1.0.2:6000-6009
-A POSTROUTING -o wan -j MASQUERADE
-A POSTROUTING -s 10.1.0.0/24 -d 10.1.0.2/32 -m conntrack --ctstate DNAT -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT ! -i wan -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT
-A FORWARD ! -i wan -o wan -j ACCEPT
COMMIT
",
    "\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -d 2001:db8:1::2/128 -p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd01::2]:80
-A PREROUTING -d 2001:db8:1::2/128 -p udp -m udp --dport 5000:5009 -j DNAT --to-destination [fd01::2]:6000-6009
-A POSTROUTING -o wan -j MASQUERADE
-A POSTROUTING -s fd01::/64 -d fd01::2/128 -m conntrack --ctstate DNAT -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT ! -i wan -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT
-A FORWARD ! -i wan -o wan -j ACCEPT
COMMIT
",
];

#[test]
fn a_forwarded_port_with_hairpin() {
    isolate::test(|| {
        let home = Home::new(&Choice { rules: FORWARDED, ..Choice::default() });
        for v in 0..2 {
            let listener = listen(home.client(), CLIENT[v], 80);
            for (who, seen_as) in [
                (home.server(), SERVER[v]),
                (home.isp(), ISP[v]),
                (home.second(), SECOND[v]),
                (home.client(), LAN[v]),
            ] {
                let mut stream = connect(who, WAN[v], 8080).unwrap_or_else(|e| panic!("{}: {e}", who.name()));
                let (mut served, from) = accept(&listener);
                assert!(same(from, seen_as), "{} is seen as {from}", who.name());
                converse(&mut stream, &mut served).unwrap();
                assert!(same(stream.peer_addr().unwrap(), WAN[v]));
            }
            let refused = connect_within(home.server(), WAN[v], 80, SILENCE).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::TimedOut);
            // Datagrams: to one of the ports, and answered from the one that was asked.
            let inside: Vec<_> = (6000..6010).map(|port| udp(home.client(), CLIENT[v], port)).collect();
            let outside = udp(home.server(), SERVER[v], 0);
            outside.send_to(b"?", (ip(WAN[v]), 5003)).unwrap();
            let mut took = Vec::new();
            wait_until("the datagram arrives", || {
                took = inside
                    .iter()
                    .filter_map(|s| heard(s, Duration::from_millis(1)).map(|(_, f)| (s, f)))
                    .collect();
                !took.is_empty()
            });
            let (socket, from) = took[0];
            assert!(same(from, SERVER[v]));
            socket.send_to(b"!", from).unwrap();
            let (answer, from) = heard(&outside, PATIENCE).unwrap();
            assert!(answer == b"!" && same(from, WAN[v]) && from.port() == 5003, "{from}");
        }
        home.stop();
    });
}

#[test]
fn masqueraded_flows_end_with_their_link() {
    isolate::test(|| {
        let home = Home::stateful();
        let listener = listen(home.server(), SERVER[0], 80);
        let mut stream = connect(home.client(), SERVER[0], 80).unwrap();
        let (mut served, _) = accept(&listener);
        converse(&mut stream, &mut served).unwrap();
        let mut local = connect(home.client(), LAN[0], 7).unwrap();
        local.write_all(b"x").unwrap();
        local.read_exact(&mut [0]).unwrap();
        assert_eq!(home.flows_with(&["tcp", "dport=80 "]).len(), 1);
        home.lab.set_up("router", "wan", false).unwrap();
        wait_until("the flow is gone", || home.flows_with(&["tcp", "dport=80 "]).is_empty());
        // What does not go that way has nothing to do with it.
        assert_eq!(home.flows_with(&["tcp", "dport=7 ", "ESTABLISHED"]).len(), 1);
        local.write_all(b"x").unwrap();
        local.read_exact(&mut [0]).unwrap();
        home.lab.set_up("router", "wan", true).unwrap();
        if home.is_kernel() {
            // Its routes went with the link.
            return;
        }
        let ping = || Ping::new(ip(SERVER[0])).wait(Duration::from_millis(100)).run();
        wait_until("the link is back", || home.client().run(ping).is_ok_and(|r| r.complete()));
        let mut again = connect(home.client(), SERVER[0], 80).unwrap();
        let (mut served, from) = accept(&listener);
        assert!(same(from, WAN[0]));
        converse(&mut again, &mut served).unwrap();
        home.stop();
    });
}
