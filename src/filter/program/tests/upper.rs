//! Matches of the upper layer: ports, flags, options and types, and packets in which they can't be seen.

use crate::wire::{proto, tcp as flag};

use super::ask::*;
use super::rig::*;

#[test]
fn tcp_ports_and_flags() {
    for p in [tcp4(flag::SYN, &[]), tcp6(flag::SYN, &[])] {
        check(
            &p,
            &forward(),
            &[
                ("-p tcp --dport 80", Yes),
                ("-p tcp ! --dport 80", No),
                ("-p tcp --dport 81", No),
                ("-p tcp --sport 4000:4001 --dport 1:80", Yes),
                ("-p tcp --sport :3999", No),
                ("-p tcp --syn", Yes),
                ("-p tcp ! --syn", No),
                ("-p tcp --tcp-flags ALL SYN", Yes),
                ("-p tcp --tcp-flags ALL NONE", No),
                ("-p tcp --tcp-flags SYN,ACK SYN", Yes),
                ("-p tcp ! --tcp-flags SYN,ACK SYN", No),
                ("-p tcp --tcp-flags ACK ACK", No),
                ("-p udp --dport 80", No),
            ],
        );
    }
    let p = tcp4(flag::SYN | flag::ACK, &[]);
    check(&p, &forward(), &[("-p tcp --syn", No), ("-p tcp ! --syn", Yes)]);
    // Flags of congestion control are not among those that --syn asks for.
    check(&tcp4(flag::SYN | flag::ECE | flag::CWR, &[]), &forward(), &[("-p tcp --syn", Yes)]);
    for len in [20, 24, 39] {
        check(
            &cut(&tcp4(flag::SYN, &[]), len),
            &forward(),
            &[
                ("-p tcp", Yes),
                ("-p tcp --dport 80", Hotdrop),
                ("-p tcp -m tcp", Hotdrop),
                ("-p udp --dport 80", No),
            ],
        );
    }
}

#[test]
fn tcp_options() {
    let options = [1, 3, 3, 7, 2, 4, 5, 180];
    for p in [tcp4(flag::SYN, &options), tcp6(flag::SYN, &options)] {
        check(
            &p,
            &forward(),
            &[
                ("-p tcp --tcp-option 2", Yes),
                ("-p tcp ! --tcp-option 2", No),
                ("-p tcp --tcp-option 3", Yes),
                ("-p tcp --tcp-option 8", No),
                ("-p tcp ! --tcp-option 8", Yes),
                // A port that differs is looked at first.
                ("-p tcp --dport 81 --tcp-option 2", No),
            ],
        );
    }
    check(
        &tcp4(flag::SYN, &[]),
        &forward(),
        &[("-p tcp --tcp-option 2", No), ("-p tcp ! --tcp-option 2", Yes)],
    );
    // What stands behind the end of the options, and a length of nothing.
    check(&tcp4(flag::SYN, &[0, 8, 0, 2]), &forward(), &[("-p tcp --tcp-option 2", Yes)]);
    check(&tcp4(flag::SYN, &[9, 0, 2, 4]), &forward(), &[("-p tcp --tcp-option 2", Yes)]);
    check(&tcp4(flag::SYN, &[9, 255, 2, 4]), &forward(), &[("-p tcp --tcp-option 2", No)]);
    // A header that is shorter than a header, and one that reaches beyond the packet.
    for offset in [0x40, 0xf0] {
        let p = with(&tcp4(flag::SYN, &[]), &[(32, offset)]);
        check(
            &p,
            &forward(),
            &[
                ("-p tcp --dport 80", Yes),
                ("-p tcp --tcp-option 2", Hotdrop),
                ("-p tcp --dport 81 --tcp-option 2", No),
            ],
        );
    }
}

#[test]
fn udp_ports() {
    for (s, d) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        let p = udp(ip(s), ip(d), (5353, 53));
        check(
            &p,
            &forward(),
            &[
                ("-p udp --dport 53", Yes),
                ("-p udp --sport 53", No),
                ("-p udp ! --sport 53 --dport 50:60", Yes),
                ("-p tcp --dport 53", No),
                ("-p udp -m multiport --dports 1,53", Yes),
            ],
        );
        let p = cut(&p, p.l3_len() - 1);
        check(&p, &forward(), &[("-p udp", Yes), ("-p udp --dport 53", Hotdrop)]);
    }
}

#[test]
fn icmp_types() {
    let v4 =
        |kind, code| packet(ip("10.0.0.1"), ip("10.0.0.2"), proto::ICMP, &[kind, code, 0, 0, 0, 0, 0, 0]);
    check(
        &v4(8, 0),
        &forward(),
        &[
            ("-p icmp --icmp-type echo-request", Yes),
            ("-p icmp ! --icmp-type 8", No),
            ("-p icmp --icmp-type 0", No),
            ("-p icmp --icmp-type any", Yes),
            ("-p icmp --icmp-type 255", Yes),
        ],
    );
    check(
        &v4(3, 4),
        &forward(),
        &[
            ("-p icmp --icmp-type 3", Yes),
            ("-p icmp --icmp-type fragmentation-needed", Yes),
            ("-p icmp --icmp-type 3/3", No),
            ("-p icmp ! --icmp-type 3/3", Yes),
        ],
    );
    check(&cut(&v4(8, 0), 27), &forward(), &[("-p icmp", Yes), ("-p icmp --icmp-type any", Hotdrop)]);
    let v6 =
        |kind, code| packet(ip("fd00::1"), ip("fd00::2"), proto::ICMPV6, &[kind, code, 0, 0, 0, 0, 0, 0]);
    check(
        &v6(128, 0),
        &forward(),
        &[
            ("-p icmpv6 --icmpv6-type echo-request", Yes),
            ("-p icmpv6 ! --icmpv6-type 128", No),
            ("-p icmpv6 --icmpv6-type 1/4", No),
            // Of IPv6 there is no "any".
            ("-p icmpv6 --icmpv6-type 255", No),
        ],
    );
    check(
        &v6(1, 4),
        &forward(),
        &[("-p icmpv6 --icmpv6-type 1/4", Yes), ("-p icmpv6 --icmpv6-type 1/3", No)],
    );
    check(&cut(&v6(128, 0), 47), &forward(), &[("-p icmpv6 --icmpv6-type 128", Hotdrop)]);
}

#[test]
fn multiport() {
    for p in [tcp4(flag::SYN, &[]), tcp6(flag::SYN, &[])] {
        check(
            &p,
            &forward(),
            &[
                ("-p tcp -m multiport --dports 22,80,443", Yes),
                ("-p tcp -m multiport --dports 22,79:81", Yes),
                ("-p tcp -m multiport ! --dports 22,79:81", No),
                ("-p tcp -m multiport --dports 4000", No),
                ("-p tcp -m multiport --sports 4000", Yes),
                ("-p tcp -m multiport --ports 4000", Yes),
                ("-p tcp -m multiport --ports 80", Yes),
                ("-p tcp -m multiport ! --ports 80", No),
                ("-p tcp -m multiport --ports 1:79", No),
                ("-p udp -m multiport --dports 80", No),
            ],
        );
    }
    let sctp = packet(ip("10.0.0.1"), ip("10.0.0.2"), proto::SCTP, &[0, 9, 0, 80]);
    check(&sctp, &forward(), &[("-p sctp -m multiport --dports 80", Yes)]);
    check(&cut(&sctp, 23), &forward(), &[("-p sctp -m multiport --dports 80", Hotdrop), ("-p sctp", Yes)]);
    // Four bytes of TCP are enough for it.
    check(&cut(&tcp4(2, &[]), 24), &forward(), &[("-p tcp -m multiport --dports 80", Yes)]);
}
