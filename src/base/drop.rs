//! Every way a packet can end here, by name.
//!
//! A stage that will not let a packet pass gives one of these; each has a counter of its own, and
//! the name is the same in `sekisho stats`, in traces and in the documentation.

/// Declares the reasons once: variant, name as scripts see it, the sentence for people.
macro_rules! drop_reasons {
    ($($variant:ident $name:literal $text:literal;)+) => {
        /// Why a packet went no further.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $text] $variant),+ }

        impl DropReason {
            /// Every reason, in the order they are declared and shown.
            pub const ALL: &[DropReason] = &[$(DropReason::$variant),+];

            /// The name in counters, traces and JSON.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name),+ }
            }

            /// What happened, in one sentence.
            pub const fn text(self) -> &'static str {
                match self { $(DropReason::$variant => $text),+ }
            }
        }
    };
}

drop_reasons! {
    // ── ingress: Ethernet ──
    FrameTooShort "frame_too_short" "the frame is shorter than its link-layer header";
    FrameTooLong "frame_too_long" "the frame is longer than the link's MTU allows";
    OtherHost "other_host" "the frame is addressed to another station";
    EthBadSource "eth_bad_source" "the frame's source MAC is a group address";
    VlanUnknown "vlan_unknown" "the frame carries a VLAN tag that no link here takes";
    EtherTypeUnknown "ethertype_unknown" "the frame carries a protocol that is not routed here";
    OffloadInvalid "offload_invalid" "the frame's offload header does not fit the frame";
    // ── ingress: IPv4, RFC 1812 §5.2.2 ──
    Ip4TooShort "ip4_too_short" "shorter than an IPv4 header (RFC 1812 5.2.2 (1))";
    Ip4BadChecksum "ip4_bad_checksum" "the IPv4 header checksum is wrong (RFC 1812 5.2.2 (2))";
    Ip4BadVersion "ip4_bad_version" "the IP version is not 4 in an IPv4 frame (RFC 1812 5.2.2 (3))";
    Ip4BadHeaderLength "ip4_bad_header_length" "the IPv4 header length is below 20 or beyond the packet (RFC 1812 5.2.2 (4))";
    Ip4BadTotalLength "ip4_bad_total_length" "the IPv4 total length is below the header length (RFC 1812 5.2.2 (5))";
    Ip4Truncated "ip4_truncated" "the frame holds less than the IPv4 total length says";
    Ip4BadOptions "ip4_bad_options" "an IPv4 option is malformed";
    Ip4SourceRoute "ip4_source_route" "the packet asks for source routing, which is refused";
    // ── ingress: IPv6 ──
    Ip6TooShort "ip6_too_short" "shorter than an IPv6 header";
    Ip6BadVersion "ip6_bad_version" "the IP version is not 6 in an IPv6 frame";
    Ip6Truncated "ip6_truncated" "the frame holds less than the IPv6 payload length says";
    Ip6BadExtension "ip6_bad_extension" "an IPv6 extension header is malformed or out of place";
    Ip6BadOption "ip6_bad_option" "an IPv6 option that must be understood is not";
    Ip6ExtensionChain "ip6_extension_chain" "more IPv6 extension headers than are followed here";
    Ip6RoutingHeader "ip6_routing_header" "a routing header asks this router to route by it (RFC 5095)";
    Ip6IncompleteFirstFragment "ip6_incomplete_first_fragment" "the first fragment lacks the upper-layer header (RFC 7112)";
    // ── ingress: upper layers, for packets to this router ──
    L4TooShort "l4_too_short" "shorter than its upper-layer header";
    L4BadChecksum "l4_bad_checksum" "the upper-layer checksum is wrong";
    IcmpUnknownType "icmp_unknown_type" "an ICMP message of a type that is ignored";
    IcmpBroadcastEcho "icmp_broadcast_echo" "an ICMP request sent to many is ignored";
    IcmpNoSocket "icmp_no_socket" "an ICMP message that nobody here waits for";
    // ── source and destination ──
    MartianSource "martian_source" "the source address can't be one from outside";
    MartianDestination "martian_destination" "the destination address can't be reached from outside";
    RpFilter "rp_filter" "the way back to the source does not lead out of this link";
    NoRoute "no_route" "no route to the destination";
    Unreachable "route_unreachable" "an unreachable route covers the destination";
    Prohibit "route_prohibit" "a prohibit route covers the destination";
    Blackhole "route_blackhole" "a blackhole route covers the destination";
    L2Group "l2_group" "a unicast packet in a broadcast or multicast frame is not forwarded";
    NotForwarded "not_forwarded" "broadcast and multicast packets are not forwarded";
    LinkLocalScope "link_local_scope" "link-local addresses do not leave their link";
    BeyondScope "beyond_scope" "the source address has no meaning on the way out (RFC 4443 3.1 code 2)";
    NotJoined "not_joined" "a multicast group that this router is not a member of";
    AddressTentative "address_tentative" "the address is still being checked for duplicates";
    // ── forward ──
    TtlExceeded "ttl_exceeded" "the TTL or hop limit ran out";
    TooBig "too_big" "larger than the next link's MTU and may not be fragmented";
    // ── hooks ──
    Hook "hook" "a registered hook dropped it";
    HookLoop "hook_loop" "a registered hook asked for the packet again and again";
    QueueUnbound "queue_unbound" "a hook queued it, and nobody takes from that queue";
    QueueFull "queue_full" "a hook queued it, and the queue was full";
    Filtered "filtered" "a rule or a chain's policy dropped it";
    Rejected "rejected" "a rule refused it and told the sender";
    // ── conntrack and NAT ──
    ConntrackFull "conntrack_full" "the flow table is full, and no flow near by could go";
    ConntrackClash "conntrack_clash" "another packet began the same flow at the same moment";
    ConntrackGone "conntrack_gone" "its flow ended while it was on its way";
    NatExhausted "nat_exhausted" "no address and port are left to translate it to";
    NatFailed "nat_failed" "it can't be translated as its flow is";
    // ── neighbor and egress ──
    NeighborFailed "neighbor_failed" "the next hop did not answer";
    NeighborQueueFull "neighbor_queue_full" "too many packets waited for the next hop; the oldest went";
    NeighborTableFull "neighbor_table_full" "no room for another neighbor";
    LinkDown "link_down" "the link to send it on is down";
    EgressQueueFull "egress_queue_full" "the link could not take more";
    EgressError "egress_error" "the link refused the frame";
    NotEncodable "not_encodable" "the packet can't be put into a frame for this link";
    // ── reassembly and fragmentation ──
    FragmentInvalid "fragment_invalid" "the fragment's offset or length can't be";
    FragmentOverlap "fragment_overlap" "fragments overlap: the datagram is given up (RFC 5722)";
    FragmentDuplicate "fragment_duplicate" "the fragment had come already";
    FragmentTimeout "fragment_timeout" "the other fragments did not come in time";
    FragmentTableFull "fragment_table_full" "too many half-done datagrams";
    // ── ARP and NDP ──
    ArpInvalid "arp_invalid" "the ARP packet is malformed or lies about its sender";
    ArpIgnored "arp_ignored" "an ARP packet that does not concern this router";
    NdpInvalid "ndp_invalid" "the neighbor discovery message is malformed or came from afar";
    NdpIgnored "ndp_ignored" "a neighbor discovery message that does not concern this router";
    // ── the local stack ──
    NoPort "no_port" "nobody listens on the port";
    NoProtocol "no_protocol" "nobody here speaks the protocol";
    HostQueueFull "host_queue_full" "the local stack is behind; the packet went";
    HostRefused "host_refused" "the local stack could not take the packet";
    NoSourceAddress "no_source_address" "no address of this router fits the packet";
    // ── the router itself ──
    WorkerQueueFull "worker_queue_full" "the worker it was for was behind";
    Loop "loop" "the packet came round on itself inside the router";
    // ── the process ──
    Shutdown "shutdown" "the router was stopping";
}

/// The first reason of each stage; those that follow it are of the same.
const STAGES: [(DropReason, &str); 11] = [
    (DropReason::FrameTooShort, "ingress"),
    (DropReason::L4TooShort, "deliver"),
    (DropReason::MartianSource, "route"),
    (DropReason::TtlExceeded, "forward"),
    (DropReason::Hook, "hooks"),
    (DropReason::ConntrackFull, "conntrack"),
    (DropReason::NeighborFailed, "egress"),
    (DropReason::FragmentInvalid, "fragments"),
    (DropReason::ArpInvalid, "neighbors"),
    (DropReason::NoPort, "host"),
    (DropReason::WorkerQueueFull, "router"),
];

impl DropReason {
    /// The names of the stages that drop, in the order of the reasons.
    pub fn stages() -> impl Iterator<Item = &'static str> {
        STAGES.iter().map(|(_, name)| *name)
    }

    /// The stage of a packet's way that drops for this.
    pub fn stage(self) -> &'static str {
        let before = STAGES.iter().rev().find(|(first, _)| *first as usize <= self as usize);
        before.map_or(STAGES[0].1, |(_, name)| name)
    }

    /// How many reasons there are: the length of a counter block.
    pub const COUNT: usize = DropReason::ALL.len();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_stage() {
        assert!(STAGES.windows(2).all(|w| (w[0].0 as usize) < w[1].0 as usize));
        assert_eq!(STAGES[0].0, DropReason::ALL[0]);
        for (reason, stage) in [
            (DropReason::Ip6IncompleteFirstFragment, "ingress"),
            (DropReason::L4BadChecksum, "deliver"),
            (DropReason::NoRoute, "route"),
            (DropReason::TooBig, "forward"),
            (DropReason::Filtered, "hooks"),
            (DropReason::NatFailed, "conntrack"),
            (DropReason::LinkDown, "egress"),
            (DropReason::FragmentTimeout, "fragments"),
            (DropReason::NdpIgnored, "neighbors"),
            (DropReason::NoSourceAddress, "host"),
            (DropReason::Shutdown, "router"),
        ] {
            assert_eq!(reason.stage(), stage, "{}", reason.name());
        }
        assert_eq!(DropReason::stages().count(), STAGES.len());
    }

    #[test]
    fn names_are_unique_and_in_index_order() {
        for (i, r) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, i);
            assert!(r.name().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
            assert_eq!(DropReason::ALL.iter().filter(|o| o.name() == r.name()).count(), 1, "{}", r.name());
        }
    }
}
