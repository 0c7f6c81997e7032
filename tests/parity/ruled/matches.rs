//! Every match and its negation: rules that only count, and packets of which each rule matches some.

use super::List;
use crate::family::Family;

pub(super) fn cases(l: &mut List) {
    for family in [Family::V4, Family::V6] {
        battery(l, family, "addresses and links", ADDRESSES, MIXED);
        battery(l, family, "protocols", PROTOCOLS, MIXED);
        battery(l, family, "tcp", TCP, SEGMENTS);
        battery(l, family, "udp", UDP, DATAGRAMS);
        battery(l, family, "multiport", MULTIPORT, &[DATAGRAMS, SEGMENTS].concat());
        battery(l, family, "length tos dscp ecn", HEADER, HEADERS);
        battery(l, family, "mark", MARK, MIXED);
        battery(l, family, "connmark", CONNMARK, MIXED);
        battery(l, family, "conntrack states", STATES, FLOWS);
        battery(l, family, "conntrack tuples", TUPLES, FLOWS);
        let mac = if family == Family::V4 { "02:04:00:01:00:0a" } else { "02:06:00:01:00:0a" };
        battery(l, family, "mac and iprange", &WHO.replace("%MAC%", mac), MIXED);
        battery(l, family, "statistic", STATISTIC, MIXED);
        battery(l, family, "limit", LIMIT, MIXED);
    }
    battery(l, Family::V4, "ttl", &hops("ttl"), HEADERS);
    battery(l, Family::V6, "hl", &hops("hl"), HEADERS);
    battery(l, Family::V4, "icmp", ICMP4, ICMP4_MESSAGES);
    battery(l, Family::V6, "icmp6", ICMP6, ICMP6_MESSAGES);
    battery(l, Family::V4, "fragments", "-f\n! -f\n-f -d $w10\n-p udp ! -f", FRAGMENTS4);
    pkttype(l);
    addrtype(l);
    hot_drops(l);
    l.both(
        "limit fills again",
        "*filter\n-A FORWARD -m limit --limit 10/sec --limit-burst 2 -j ACCEPT\n-A FORWARD -j DROP\nCOMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > lan udp l10:4000 w10:5000 => wan udp
        > lan udp l10:4000 w10:5000 =>
        > wait 150
        > lan udp l10:4000 w10:5000 => wan udp
        > lan udp l10:4000 w10:5000 =>",
    );
}

/// Each line of `rules` is a rule of FORWARD, and of each other chain it may stand in.
fn battery(l: &mut List, family: Family, name: &str, rules: &str, packets: &str) {
    let rules: Vec<&str> = rules.lines().map(str::trim).filter(|r| !r.is_empty()).collect();
    let chain = |chain: &str, but: &str| {
        let lines =
            rules.iter().filter(|r| but.is_empty() || !r.contains(but)).map(|r| format!("-A {chain} {r}\n"));
        format!("-A {chain}\n{}", lines.collect::<String>())
    };
    let text =
        format!("*mangle\n{}COMMIT\n*filter\n{}COMMIT\n", chain("PREROUTING", "-o "), chain("FORWARD", ""));
    // What no rule in FORWARD can see makes PREROUTING count differently; a battery is judged by one table.
    let only = if name == "pkttype" { text } else { format!("*filter\n{}COMMIT\n", chain("FORWARD", "")) };
    l.add(family, &format!("match {name}"), &format!("{only}{packets}")).is_battery = true;
    if name != "pkttype" {
        let more =
            ["PREROUTING", "POSTROUTING"].map(|c| chain(c, if c == "PREROUTING" { "-o " } else { "-i " }));
        let more = more
            .concat()
            .lines()
            .filter(|r| !(r.contains("POSTROUTING") && r.contains("mac-source")))
            .fold(String::new(), |text, line| text + line + "\n");
        l.add(family, &format!("match {name} elsewhere"), &format!("*mangle\n{more}COMMIT\n{packets}"));
    }
}

const ADDRESSES: &str = "
    -s $l10
    ! -s $l10
    -d $w10
    ! -d $w10
    -s $l0/24
    ! -s $l0/24
    -d $w0/24 -s $l11
    -s $l10/31
    -i lan
    ! -i lan
    -o wan
    ! -o wan
    -i l+
    ! -i l+
    -o w+
    ! -o w+
    -i lan -o wan
    ! -i wan ! -o dmz
    -i wan -o lan";

/// Something of everything between three segments.
const MIXED: &str = "
    > lan udp l10:4000 w10:5000 => wan udp
    > lan udp l11:4000 w10:5000
    > ans
    > lan tcp l10:4000 w11:80 S => wan tcp S
    > ans SA
    > ans A
    > wan udp w10:53 l20:53
    > wan echo w10 l10
    > ans
    > dmz udp d10:1 w10:2
    > lan echo l11 d10
    > lan sctp l10:4000 w10:80 chunk=INIT
    > lan gre l10 w10
    > lan proto l10 w10 p=99
    > lan udplite l10:4000 w10:5000 sum=bad";

const PROTOCOLS: &str = "
    -p tcp
    ! -p tcp
    -p udp
    ! -p udp
    -p $icmp
    ! -p $icmp
    -p sctp
    -p 47
    ! -p 47
    -p 99
    -p udplite
    -p tcp -m comment --comment \"only a word\"
    ! -p 99 -s $l10";

const TCP: &str = "
    -p tcp --dport 80
    -p tcp ! --dport 80
    -p tcp --sport 4000
    -p tcp ! --sport 4000
    -p tcp --dport 80:443
    -p tcp ! --dport 80:443
    -p tcp --dport :80
    -p tcp --dport 443:
    -p tcp --sport 4000:4001 --dport 443
    -p tcp --syn
    -p tcp ! --syn
    -p tcp --tcp-flags SYN,ACK SYN,ACK
    -p tcp ! --tcp-flags SYN,ACK SYN,ACK
    -p tcp --tcp-flags ALL NONE
    -p tcp --tcp-flags ALL FIN,PSH,URG
    -p tcp --tcp-flags RST,FIN RST
    -p tcp ! --tcp-flags ACK ACK
    -p tcp --tcp-option 2
    -p tcp ! --tcp-option 2
    -p tcp --tcp-option 3
    -p tcp --tcp-option 8";

const SEGMENTS: &str = "
    > lan tcp l10:4000 w10:80 S mss=1460 ws=7 => wan tcp S
    > ans SA mss=1400
    > ans A
    > ans PA len=10
    > lan tcp l10:4001 w10:443 S
    > lan tcp l10:500 w10:22 FPU
    > lan tcp l10:500 w10:8080
    > lan tcp l10:500 w10:8080 R opt=8
    > lan tcp l11:4001 w10:443 FA
    > lan tcp l11:4000 w10:81 SA";

const UDP: &str = "
    -p udp --dport 5000
    -p udp ! --dport 5000
    -p udp --sport 4000
    -p udp ! --sport 4000
    -p udp --dport 5000:5010
    -p udp ! --dport 5000:5010
    -p udp --dport :1023
    -p udp --sport 1024: --dport 53";

const DATAGRAMS: &str = "
    > lan udp l10:4000 w10:5000 => wan udp
    > ans
    > lan udp l10:4000 w10:5010
    > lan udp l10:4000 w10:5011
    > lan udp l10:500 w10:53
    > lan udp l10:4001 w10:53
    > lan echo l10 w10";

const MULTIPORT: &str = "
    -p udp -m multiport --dports 53,5000
    -p udp -m multiport ! --dports 53,5000
    -p udp -m multiport --sports 500,4001
    -p udp -m multiport ! --sports 500,4001
    -p udp -m multiport --ports 4001,5000
    -p udp -m multiport ! --ports 4001,5000
    -p udp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,5005:5010
    -p tcp -m multiport --dports 80,443
    -p tcp -m multiport ! --dports 80,443
    -p tcp -m multiport --sports 1:4000";

const HEADER: &str = "
    -m length --length 28:50
    -m length ! --length 28:50
    -m length --length 1000:
    -m length --length :60
    -m tos --tos 0x10
    -m tos ! --tos 0x10
    -m tos --tos 0x10/0x1c
    -m tos ! --tos 0x10/0x1c
    -m dscp --dscp 0x2e
    -m dscp ! --dscp 0x2e
    -m dscp --dscp-class AF11
    -m ecn --ecn-ip-ect 1
    -m ecn ! --ecn-ip-ect 1
    -m ecn --ecn-ip-ect 3
    -p tcp -m ecn --ecn-tcp-cwr
    -p tcp -m ecn ! --ecn-tcp-cwr
    -p tcp -m ecn --ecn-tcp-ece
    -p tcp -m ecn ! --ecn-tcp-ece --ecn-ip-ect 0";

const HEADERS: &str = "
    > lan udp l10:4000 w10:5000 => wan udp
    > lan udp l10:4000 w10:5000 ttl=2
    > lan udp l10:4000 w10:5000 ttl=65
    > lan udp l10:4000 w10:5000 ttl=200
    > lan udp l10:4000 w10:5000 ttl=3
    > lan udp l10:4000 w10:5000 len=0
    > lan udp l10:4000 w10:5000 len=22
    > lan udp l10:4000 w10:5000 len=23
    > lan udp l10:4000 w10:5000 len=1000
    > lan udp l10:4000 w10:5000 tos=0x10
    > lan udp l10:4000 w10:5000 tos=0x12
    > lan udp l10:4000 w10:5000 tos=0xb8
    > lan udp l10:4000 w10:5000 tos=0x28
    > lan udp l10:4000 w10:5000 tos=0x01
    > lan udp l10:4000 w10:5000 tos=0x03
    > lan tcp l10:4000 w10:80 SEC
    > lan tcp l10:4000 w10:80 S
    > lan tcp l10:4000 w10:80 SE tos=0x01
    > lan tcp l10:4000 w10:80 AC";

fn hops(name: &str) -> String {
    let text = "
        -m ttl --ttl-eq 64
        -m ttl ! --ttl-eq 64
        -m ttl --ttl-eq 63
        -m ttl ! --ttl-eq 63
        -m ttl --ttl-lt 3
        -m ttl --ttl-gt 64";
    text.replace("ttl", name)
}

const MARK: &str = "
    -p udp -j MARK --set-xmark 0x1/0xffffffff
    -p tcp -j MARK --set-xmark 0x12/0xffffffff
    -m mark --mark 0x1
    -m mark ! --mark 0x1
    -m mark --mark 0x0
    -m mark --mark 0x2/0x2
    -m mark ! --mark 0x2/0x2
    -p udp -j MARK --set-xmark 0x4/0x0
    -m mark --mark 0x5
    -p udp -j MARK --and-mark 0x4
    -m mark --mark 0x4/0xff
    -p tcp -j MARK --or-mark 0x1
    -m mark --mark 0x13";

const CONNMARK: &str = "
    -m connmark --mark 0x0
    -m connmark ! --mark 0x0
    -m connmark ! --mark 0x2/0x2
    -p udp -j CONNMARK --set-xmark 0x7/0xffffffff
    -m connmark --mark 0x7
    -m connmark ! --mark 0x7
    -m connmark --mark 0x2/0x2
    -p tcp -j CONNMARK --set-xmark 0x3/0x0
    -m connmark --mark 0x3
    -p udp -j CONNMARK --set-xmark 0x5/0x7
    -m connmark --mark 0x5
    -m connmark ! --mark 0x5
    -p tcp -j CONNMARK --restore-mark
    -m mark --mark 0x3/0x3
    -p udp -j MARK --set-xmark 0xf0/0xffffffff
    -p udp -j CONNMARK --save-mark --nfmask 0x30 --ctmask 0xff
    -m connmark --mark 0x30/0xf0";

const STATES: &str = "
    -m conntrack --ctstate NEW
    -m conntrack ! --ctstate NEW
    -m conntrack --ctstate ESTABLISHED
    -m conntrack ! --ctstate ESTABLISHED
    -m conntrack --ctstate RELATED
    -m conntrack ! --ctstate RELATED
    -m conntrack --ctstate INVALID
    -m conntrack ! --ctstate INVALID
    -m conntrack --ctstate RELATED,ESTABLISHED
    -m conntrack ! --ctstate NEW,INVALID
    -m conntrack --ctdir ORIGINAL
    -m conntrack --ctdir REPLY
    -m conntrack --ctstatus SEEN_REPLY
    -m conntrack ! --ctstatus SEEN_REPLY
    -m conntrack --ctstatus ASSURED
    -m conntrack ! --ctstatus ASSURED
    -m conntrack --ctstatus CONFIRMED
    -m conntrack ! --ctstatus CONFIRMED
    -m conntrack --ctstatus SEEN_REPLY,CONFIRMED
    -m conntrack --ctexpire 0
    -m conntrack ! --ctexpire 0
    -m conntrack --ctexpire 1000:1000000
    -m conntrack ! --ctexpire 1000:1000000
    -m state --state NEW
    -m state ! --state NEW
    -m state --state RELATED,ESTABLISHED
    -m state --state INVALID
    -m conntrack --ctstate NEW --ctdir ORIGINAL ! --ctstatus SEEN_REPLY";

const FLOWS: &str = "
    > lan udp l10:4000 w10:5000 => wan udp
    > lan udp l10:4000 w10:5000
    > ans
    > ans
    > err@0 kind=port => lan error port
    > lan tcp l10:4000 w10:80 S
    > ans SA
    > ans A
    > ans PA len=7
    > ans A
    > wan tcp w10:81 l10:4001 SA => lan tcp SA
    > lan echo l10 w10 id=9
    > ans
    > wan reply w11 l10 id=77
    > err kind=port
    > wan udp w10:53 d10:5353
    > ans
    > lan sctp l10:4000 w10:80 chunk=INIT
    > lan proto l10 w10 p=99
    > lan gre l10 w10";

const TUPLES: &str = "
    -m conntrack --ctproto 17
    -m conntrack ! --ctproto 17
    -m conntrack --ctproto tcp
    -m conntrack --ctorigsrc $l10
    -m conntrack ! --ctorigsrc $l10
    -m conntrack --ctorigsrc $w0/24
    -m conntrack --ctorigdst $w10
    -m conntrack ! --ctorigdst $w10
    -m conntrack --ctreplsrc $w10
    -m conntrack ! --ctreplsrc $w10
    -m conntrack --ctrepldst $l10
    -m conntrack ! --ctrepldst $l10
    -m conntrack --ctorigsrcport 4000
    -m conntrack ! --ctorigsrcport 4000
    -m conntrack --ctorigdstport 80:5000
    -m conntrack ! --ctorigdstport 80:5000
    -m conntrack --ctreplsrcport 5000
    -m conntrack ! --ctreplsrcport 5000
    -m conntrack --ctrepldstport 4000:4001
    -m conntrack ! --ctrepldstport 4000:4001
    -m conntrack --ctproto 6 --ctorigdstport 80 --ctdir REPLY
    -m conntrack --ctproto 99 --ctorigsrc $l10";

const WHO: &str = "
    -m iprange --src-range $l10-$l10
    -m iprange ! --src-range $l10-$l10
    -m iprange --src-range $l5-$l200
    -m iprange --dst-range $w9-$w10
    -m iprange ! --dst-range $w9-$w10
    -m iprange --src-range $l11-$l20 ! --dst-range $d1-$d9
    -m mac --mac-source %MAC%
    -m mac ! --mac-source %MAC%";

const STATISTIC: &str = "
    -m statistic --mode nth --every 2 --packet 0
    -m statistic --mode nth --every 2 --packet 1
    -m statistic --mode nth --every 3 --packet 0
    -m statistic --mode nth --every 3 --packet 2
    -m statistic --mode nth ! --every 3 --packet 1
    -p udp -m statistic --mode nth --every 2 --packet 0
    -m statistic --mode nth --every 5 --packet 4";

const LIMIT: &str = "
    -m limit --limit 1/hour
    -m limit --limit 1/hour --limit-burst 1
    -m limit --limit 2/min --limit-burst 3
    -p udp -m limit --limit 3/hour --limit-burst 2";

const ICMP4: &str = "
    -p icmp --icmp-type 8
    -p icmp ! --icmp-type 8
    -p icmp --icmp-type echo-reply
    -p icmp --icmp-type 3
    -p icmp ! --icmp-type 3
    -p icmp --icmp-type 3/4
    -p icmp ! --icmp-type 3/4
    -p icmp --icmp-type port-unreachable
    -p icmp --icmp-type time-exceeded
    -p icmp --icmp-type ttl-zero-during-transit
    -p icmp --icmp-type 13/0
    -p icmp --icmp-type any";

const ICMP4_MESSAGES: &str = "
    > lan echo l10 w10 => wan echo request
    > ans
    > lan icmp l10 w10 13/0
    > lan icmp l10 w10 42/0
    > lan udp l10:4000 w10:5000
    > err 3/3
    > err@3 3/4 mtu=1000
    > err@3 11/0
    > err@3 11/1
    > err@3 12/0";

const ICMP6: &str = "
    -p ipv6-icmp --icmpv6-type 128
    -p ipv6-icmp ! --icmpv6-type 128
    -p ipv6-icmp --icmpv6-type echo-reply
    -p ipv6-icmp --icmpv6-type 1
    -p ipv6-icmp ! --icmpv6-type 1
    -p ipv6-icmp --icmpv6-type 1/4
    -p ipv6-icmp ! --icmpv6-type 1/4
    -p ipv6-icmp --icmpv6-type packet-too-big
    -p ipv6-icmp --icmpv6-type time-exceeded
    -p ipv6-icmp --icmpv6-type ttl-zero-during-transit
    -p ipv6-icmp --icmpv6-type 139";

const ICMP6_MESSAGES: &str = "
    > lan echo L10 W10 => wan echo request
    > ans
    > lan icmp L10 W10 139/0
    > lan icmp L10 W10 200/0
    > lan udp L10:4000 W10:5000
    > err 1/4
    > err@4 2/0 mtu=1300
    > err@4 3/0
    > err@4 3/1
    > err@4 1/0
    > err@4 4/1";

const FRAGMENTS4: &str = "
    > lan udp l10:4000 w10:5000 len=100 cut=40 => wan udp+ · wan @40+ · wan @80
    > lan udp l10:4000 w11:5000 len=100 cut=40
    > lan udp l10:4000 w10:5000
    > lan tcp l10:4000 w10:5000 S";

fn pkttype(l: &mut List) {
    let rules = "*mangle
        -A PREROUTING
        -A PREROUTING -m pkttype --pkt-type unicast
        -A PREROUTING -m pkttype ! --pkt-type unicast
        -A PREROUTING -m pkttype --pkt-type broadcast
        -A PREROUTING -m pkttype ! --pkt-type broadcast
        -A PREROUTING -m pkttype --pkt-type multicast
        -A PREROUTING -m pkttype ! --pkt-type multicast
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > lan udp l10:4000 w10:5000 to=all
        > lan udp l10:4000 w10:5000 to=01:00:5e:01:02:03
        > lan udp l10:4000 w10:5000 to=02:00:00:00:77:77";
    l.v4(
        "match pkttype",
        &format!("{rules}\n> lan udp l10:4000 10.1.0.255:9 to=all\n> lan udp l10:4000 224.0.0.1:9 to=group"),
    )
    .is_battery = true;
    l.v6("match pkttype", &format!("{rules}\n> lan udp L10:4000 [ff02::1]:9 to=group")).is_battery = true;
}

fn addrtype(l: &mut List) {
    let rules = "*mangle
        -A PREROUTING
        -A PREROUTING -m addrtype --dst-type LOCAL
        -A PREROUTING -m addrtype ! --dst-type LOCAL
        -A PREROUTING -m addrtype --dst-type UNICAST
        -A PREROUTING -m addrtype ! --dst-type UNICAST
        -A PREROUTING -m addrtype --src-type UNICAST
        -A PREROUTING -m addrtype --dst-type MULTICAST
        -A PREROUTING -m addrtype --dst-type UNREACHABLE
        -A PREROUTING -m addrtype --dst-type LOCAL --limit-iface-in
        -A PREROUTING -m addrtype ! --dst-type LOCAL --limit-iface-in
        -A PREROUTING -m addrtype --dst-type LOCAL,UNICAST ! --src-type LOCAL
        COMMIT
        *filter
        -A FORWARD
        -A FORWARD -m addrtype --dst-type UNICAST --limit-iface-out
        -A FORWARD -m addrtype --dst-type LOCAL
        -A FORWARD -m addrtype ! --dst-type LOCAL --limit-iface-in
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > lan echo l10 l1
        > lan echo l10 w1
        > lan udp l10:4000 d10:5000
        > lan udp l10:4000 x7:5000
        > wan udp w10:4000 l10:5000";
    let four = rules.replace(
        "-A PREROUTING -m addrtype --dst-type UNREACHABLE",
        "-A PREROUTING -m addrtype --dst-type UNREACHABLE
        -A PREROUTING -m addrtype --dst-type BROADCAST
        -A PREROUTING -m addrtype ! --dst-type BROADCAST,MULTICAST
        -A PREROUTING -m addrtype --dst-type PROHIBIT
        -A PREROUTING -m addrtype --dst-type BLACKHOLE
        -A PREROUTING -m addrtype --src-type UNSPEC
        -A PREROUTING -m addrtype --dst-type UNSPEC",
    );
    l.v4(
        "match addrtype",
        &format!(
            "{four}
            > lan udp l10:4000 10.1.0.255:9 to=all
            > lan udp l10:4000 224.0.0.1:9 to=group
            > lan udp l21:4000 10.66.1.1:9
            > lan udp l22:4000 10.66.2.1:9
            > lan udp l23:4000 10.66.3.1:9
            > lan udp l10:4000 127.0.0.1:9
            > lan udp l10:4000 10.2.0.255:9
            > lan udp l24:4000 203.0.113.1:9"
        ),
    );
    l.v6(
        "match addrtype",
        &format!(
            "{rules}
            > lan udp L10:4000 [ff02::1]:9 to=group
            > lan udp L10:4000 [fd66:1::1]:9
            > lan udp L10:4000 [fd66:2::1]:9
            > lan udp L10:4000 [fd66:3::1]:9
            > lan udp L10:4000 [2001:db8::1]:9"
        ),
    );
}

/// Packets too short for what a match looks at: the kernel drops them on the spot.
fn hot_drops(l: &mut List) {
    l.both(
        "match tcp of a cut header",
        "*filter\n-A FORWARD -p tcp --dport 80\n-A FORWARD\nCOMMIT
        > lan proto l10 w10 p=6 len=8
        > lan proto l10 w10 p=6 len=20
        > lan tcp l10:1 w10:80 S doff=15",
    );
    l.both(
        "match udp of a cut header",
        "*filter\n-A FORWARD -p udp --dport 80\n-A FORWARD\nCOMMIT\n> lan proto l10 w10 p=17 len=4\n> lan udp l10:1 w10:80 ulen=4",
    );
    l.both(
        "match multiport of a cut header",
        "*filter\n-A FORWARD -p udp -m multiport --dports 80\n-A FORWARD\nCOMMIT\n> lan proto l10 w10 p=17 len=2",
    );
    l.both(
        "match icmp of a cut header",
        "*filter\n-A FORWARD -p $icmp\n-A FORWARD\nCOMMIT\n> lan proto l10 w10 p=1 len=2\n> lan proto l10 w10 p=58 len=2",
    );
    l.v4(
        "match ports of later fragments",
        "*filter
        -A FORWARD -p udp --dport 5000
        -A FORWARD -p udp ! --dport 5000
        -A FORWARD -p udp -m multiport --dports 5000
        -A FORWARD -p udp -m multiport ! --dports 5000
        -A FORWARD -p tcp --syn
        -A FORWARD
        COMMIT
        > lan udp l10:4000 w10:5000 len=100 cut=40 => wan udp+ · wan @40+ · wan @80
        > lan proto l10 w10 p=6 len=8 frag=8
        > lan proto l10 w10 p=6 len=8 frag=16
        > lan proto l10 w10 p=1 len=8 frag=8",
    );
    l.v6(
        "match ports behind extension headers",
        "*filter
        -A FORWARD -p udp --dport 5000
        -A FORWARD -p udp ! --dport 5000
        -A FORWARD -p udp -m length --length 0:60
        -A FORWARD
        COMMIT
        > lan udp L10:4000 W10:5000 ext=hbh => wan hbh udp
        > lan udp L10:4000 W10:5001 ext=dst
        > lan udp L10:4000 W10:5000 ext=hbh,dst
        > lan udp L10:4000 W10:5000 ext=atomic
        > lan udp L10:4000 W10:5000 len=100 cut=40
        > lan proto L10 W10 p=59 len=0
        > lan proto L10 W10 p=51 len=24
        > lan proto L10 W10 p=50 len=24",
    );
}
