//! What `ip` teaches of itself.

use super::words::Object;

/// The manual.
pub(super) const LONG: &str = "\
Show and change links, addresses, routes and neighbors, as ip(8) does.

The words, their abbreviations and the output are those of iproute2, so what reads one reads the other: \
`sekisho ip -j route`, `sekisho ip -br a`, `sekisho ip n s dev lan`. Each change is a transaction: it is in force when the \
command ends, or nothing is different. `sekisho config` prints what has come of them as a file.

  ip [-4|-6] [-j [-p]|-o|-br] [-s] [-d] link|address|route|neighbor [show] …

  link     [show] [[dev] NAME] [up]
           add NAME type packet|tap|tun [device DEVICE] [mtu N] [address MAC] [up]
           set [dev] NAME [up|down] [mtu N] [address MAC]
           del NAME
  address  [show] [[dev] NAME] [up] [scope host|link|global] [to PREFIX] [label PATTERN] [[-]secondary|tentative|…]
           add|replace|change|del ADDRESS/LENGTH dev NAME [brd +|ADDRESS] [label NAME] [scope SCOPE]
           flush [dev] NAME [scope SCOPE] [to PREFIX] | all
  route    [show] [[root|match|exact] PREFIX] [table main|local|all]
           [dev NAME] [via ADDRESS] [proto NAME] [scope SCOPE] [type TYPE] [metric N] [src PREFIX]
           add|append|prepend|replace|change|del [TYPE] PREFIX|default [via [inet6] ADDRESS] [dev NAME] [onlink]
           [metric N] [mtu [lock] N] [advmss [lock] N] [src ADDRESS] [proto NAME] [nexthop via ADDRESS [dev NAME] [onlink] [weight N]]…
           flush …                as show chooses; routes that follow from addresses stay
           get ADDRESS [from ADDRESS] [iif NAME] [oif NAME] [tos N] [mark N] [ipproto P] [sport N] [dport N] [fibmatch]
  neighbor [show] [[to] PREFIX] [dev NAME] [nud STATE]
           add|replace|change|del ADDRESS [lladdr MAC] [nud STATE] dev NAME
           get ADDRESS dev NAME
           flush …                as show chooses; permanent ones only with nud permanent or nud all
  monitor  [link] [address] [route] [neigh] [all] [label] [dev NAME]

TYPE: unicast, unreachable, prohibit or blackhole. SCOPE, label and brd are taken where they say what is so anyway. What \
iproute2 can do and this router can't is an error that names the word.

-4, -6: one family. -j: JSON, -p: indented. -o: one line each. -br: a table. -s: with counters, -h: shortened. -N: numbers in place of names. -c: in colour. -d: with the kind of link, what \
moves its frames, and why nothing better does. -t, -ts: with the time (UTC) of what monitor tells. -b FILE: one command a line, \
- for standard input; changes that stand together are one transaction. -force: go on behind a line that fails.

`route get` says which way the walk takes now, links that are down and flows over several next hops (with ipproto, sport and \
dport) included; rules are not asked: that is what `sekisho explain` does.

A new link is down until it is set up. Taking away an address or a link takes the routes along that led out there, and says so.

Exit code 0: done or shown, even if nothing fits. 1: no router, no such link, no address where one belongs, or a batch that \
failed. 2: refused, as the kernel would have, in its words and one sentence more; or nothing that this router can do. 255: words \
not understood.";

/// What `ip help` shows.
pub(super) const USAGE: &str = "\
Usage: sekisho ip [ OPTIONS ] OBJECT { COMMAND | help }
       sekisho ip [ -force ] -batch FILE
where  OBJECT := { link | address | route | neighbor | monitor }
       COMMAND := { show | add | set | append | replace | change | del | flush | get }
       OPTIONS := { -4 | -6 | -j[son] | -p[retty] | -o[neline] | -br[ief] | -s[tatistics] | -d[etails] |
                    -h[uman-readable] | -iec | -N[umeric] | -c[olor][={always|auto|never}] |
                    -t[imestamp] | -ts[hort] | -V[ersion] | --control PATH }
More: sekisho ip --help";

/// What `ip OBJECT help` shows.
pub(super) fn usage(object: Object) -> &'static str {
    match object {
        Object::Link => LINK,
        Object::Address => ADDRESS,
        Object::Route => ROUTE,
        Object::Neighbor => NEIGHBOR,
        Object::Monitor => MONITOR,
    }
}

const LINK: &str = "\
Usage: sekisho ip link add NAME type { packet | tap | tun } [ device DEVICE ] [ mtu MTU ] [ address MAC ] [ up | down ]
       sekisho ip link set [ dev ] NAME [ { up | down } ] [ mtu MTU ] [ address MAC ]
       sekisho ip link delete [ dev ] NAME
       sekisho ip link show [ [ dev ] NAME ] [ up ] [ type TYPE ] [ group default ]
More: sekisho ip --help";

const ADDRESS: &str = "\
Usage: sekisho ip address { add | change | replace } ADDRESS[/LENGTH] dev NAME [ broadcast { + | ADDRESS } ] [ scope SCOPE ]
       sekisho ip address del ADDRESS[/LENGTH] dev NAME
       sekisho ip address flush { [ dev ] NAME | all } [ scope SCOPE ] [ to PREFIX ]
       sekisho ip address [ show [ [ dev ] NAME ] [ scope SCOPE ] [ to PREFIX ] [ FLAG ] [ label PATTERN ] [ up ] [ type TYPE ] ]
where  SCOPE := { host | link | global | NUMBER }
       FLAG := [-]{ permanent | dynamic | primary | secondary | tentative | deprecated | dadfailed | temporary }
More: sekisho ip --help";

const ROUTE: &str = "\
Usage: sekisho ip route [ { list | flush } SELECTOR ]
       sekisho ip route get [ fibmatch ] ADDRESS [ from ADDRESS ] [ iif NAME ] [ oif NAME ] [ tos TOS ] [ mark MARK ]
                        [ ipproto PROTOCOL ] [ sport PORT ] [ dport PORT ] [ uid UID ]
       sekisho ip route { add | append | prepend | replace | change | del } ROUTE
where  SELECTOR := [ [ root | match | exact ] PREFIX ] [ table { main | local | all } ] [ dev NAME ] [ via ADDRESS ]
                   [ proto PROTO ] [ scope SCOPE ] [ type TYPE ] [ metric METRIC ] [ src PREFIX ]
       ROUTE := [ TYPE ] PREFIX { [ via [ FAMILY ] ADDRESS ] [ dev NAME ] [ onlink ] | NEXTHOP ... }
                [ metric METRIC ] [ src ADDRESS ] [ proto PROTO ]
       NEXTHOP := nexthop via [ FAMILY ] ADDRESS [ dev NAME ] [ onlink ] [ weight NUMBER ]
       FAMILY := { inet | inet6 }
       TYPE := { unicast | unreachable | prohibit | blackhole }
More: sekisho ip --help";

const NEIGHBOR: &str = "\
Usage: sekisho ip neigh { add | change | replace } ADDRESS [ lladdr MAC ] [ nud STATE ] dev NAME
       sekisho ip neigh del ADDRESS dev NAME
       sekisho ip neigh { show | flush } [ [ to ] PREFIX ] [ dev NAME ] [ nud STATE ]
       sekisho ip neigh get ADDRESS dev NAME
where  STATE := { permanent | reachable | stale | delay | probe | failed | incomplete }
More: sekisho ip --help";

const MONITOR: &str = "\
Usage: sekisho ip monitor [ all | OBJECT ... ] [ label ] [ dev NAME ]
where  OBJECT := { link | address | route | neigh }
More: sekisho ip --help";
