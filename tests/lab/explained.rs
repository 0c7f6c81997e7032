//! `sekisho explain` between real hosts: what is said of a datagram is what its receiver sees.

use std::net::UdpSocket;
use std::time::Duration;

use sekisho::lab::probes::Ping;
use sekisho::lab::{Netns, isolate};

use crate::gateway::{Choice, Gateway, SERVER, ip};

const RULES: &str = "\
*nat
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:INPUT DROP
:FORWARD DROP
-A INPUT -i lan -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan -o wan -j ACCEPT
COMMIT
";

fn bound(space: &Netns, at: &str) -> UdpSocket {
    let socket = space.run(|| UdpSocket::bind(at)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

#[test]
fn what_is_said_of_a_datagram_is_what_its_receiver_sees() {
    isolate::test(|| {
        // No flow may end while they are counted.
        let more = "[conntrack.timeouts]\nudp = 3600\nicmp = 3600\n";
        let gw = Gateway::new(&Choice { rules4: RULES, more, ..Choice::default() });
        gw.acquaint();
        let said = |words: &str| gw.tell(&["explain", "-q", words]).trim_end().to_owned();
        let flows = || gw.tell(&["conntrack", "-C"]).trim().to_owned();
        let datagram = "-i lan udp 10.1.0.2:5000 > 10.2.0.2:6000 len 33";
        assert_eq!(said(datagram), "to wan, once 10.2.0.2 is found there, as 10.2.0.1:5000 > 10.2.0.2:6000");
        assert!(gw.client().run(|| Ping::new(ip(SERVER[0])).run()).unwrap().complete());
        let (before, out) = (flows(), said(datagram));
        assert!(
            out.starts_with("forwarded to wan, next hop 10.2.0.2 (")
                && out.ends_with("), as 10.2.0.1:5000 > 10.2.0.2:6000"),
            "{out}"
        );
        let back = "-i wan udp 10.2.0.2:6000 > 10.2.0.1:5000";
        assert_eq!(said(back), "dropped: filter INPUT policy", "nobody has asked yet");
        assert_eq!(flows(), before, "no flow has begun");

        let (client, server) = (bound(gw.client(), "10.1.0.2:5000"), bound(gw.server(), "10.2.0.2:6000"));
        client.send_to(b"hello", "10.2.0.2:6000").unwrap();
        let (_, from) = server.recv_from(&mut [0; 64]).unwrap();
        assert!(out.contains(&format!("as {from} >")), "{from}: {out}");

        let answer = said(back);
        assert!(
            answer.starts_with("forwarded to lan, next hop 10.1.0.2 (")
                && answer.ends_with("), as 10.2.0.2:6000 > 10.1.0.2:5000"),
            "{answer}"
        );
        assert_eq!(said("-i wan tcp 10.2.0.2:1000 > 10.1.0.2:22"), "dropped: filter FORWARD policy");
        let late = gw.tell(&["explain", "-i", "lan", "icmp", "10.1.0.2", "to", "10.2.0.2", "ttl", "1"]);
        let last = late.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("IP 10.1.0.1 > 10.1.0.2: ICMP time exceeded") && last.contains(": sent to lan"),
            "{late}"
        );
        gw.stop();
    });
}
