//! The targets, as data. What each means is what iptables-extensions(8) says of it.

use std::net::IpAddr;

use crate::packet::NatRange;

use super::matches::Masked;

/// What a rule does with a packet that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// None: only counts.
    None,
    /// The packet passes this table.
    Accept,
    /// It goes no further.
    Drop,
    /// Back to the chain that jumped here; in a built-in chain, to its policy.
    Return,
    /// `-j CHAIN`: that chain is asked, and then this one goes on.
    Jump(String),
    /// `-g CHAIN`: that chain is asked; its end is the end of this one too.
    Goto(String),
    /// The sender is told.
    Reject(RejectWith),
    /// A line in the log.
    Log(Log),
    /// `MARK --set-xmark`: bits of the mask are cleared, then the value is XORed in.
    Mark(Masked),
    /// CONNMARK.
    Connmark(Connmark),
    /// `TOS --set-tos VALUE/MASK`: bits of the mask are cleared, then the value is XORed in.
    Tos(Masked),
    /// `DSCP --set-dscp`, 0 to 63.
    Dscp(u8),
    /// TTL (IPv4) or HL (IPv6).
    Hops(SetHops),
    /// TCPMSS.
    TcpMss(Mss),
    /// `CT --notrack`.
    CtNotrack,
    /// NOTRACK: the older word for it, and printed so.
    Notrack,
    /// SNAT.
    Snat(NatRange),
    /// DNAT.
    Dnat(NatRange),
    /// MASQUERADE: SNAT to the address of the link the packet leaves by.
    Masquerade(NatRange),
    /// REDIRECT: DNAT to the address of the link the packet came in by.
    Redirect(NatRange),
    /// NETMAP: the network part of the address is exchanged; of the destination in PREROUTING and OUTPUT, else of the
    /// source.
    Netmap {
        /// The network.
        addr: IpAddr,
        /// The length of its prefix.
        prefix_len: u8,
    },
}

impl Target {
    /// The word behind `-j` or `-g`; none of a rule that only counts.
    pub fn name(&self) -> &str {
        match self {
            Target::None => "",
            Target::Accept => "ACCEPT",
            Target::Drop => "DROP",
            Target::Return => "RETURN",
            Target::Jump(chain) | Target::Goto(chain) => chain,
            Target::Reject(_) => "REJECT",
            Target::Log(_) => "LOG",
            Target::Mark(_) => "MARK",
            Target::Connmark(_) => "CONNMARK",
            Target::Tos(_) => "TOS",
            Target::Dscp(_) => "DSCP",
            // HL in IPv6.
            Target::Hops(_) => "TTL",
            Target::TcpMss(_) => "TCPMSS",
            Target::CtNotrack => "CT",
            Target::Notrack => "NOTRACK",
            Target::Snat(_) => "SNAT",
            Target::Dnat(_) => "DNAT",
            Target::Masquerade(_) => "MASQUERADE",
            Target::Redirect(_) => "REDIRECT",
            Target::Netmap { .. } => "NETMAP",
        }
    }
}

/// `--reject-with`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectWith {
    /// `icmp-net-unreachable`.
    Net,
    /// `icmp-host-unreachable`.
    Host,
    /// `icmp-proto-unreachable`.
    Proto,
    /// `icmp-port-unreachable`, what IPv4 does if nothing is said.
    Port,
    /// `icmp-net-prohibited`.
    NetProhibited,
    /// `icmp-host-prohibited`.
    HostProhibited,
    /// `icmp-admin-prohibited`.
    AdminProhibited,
    /// `tcp-reset`, in both families.
    TcpReset,
    /// `icmp6-no-route`.
    NoRoute6,
    /// `icmp6-adm-prohibited`.
    AdminProhibited6,
    /// `icmp6-addr-unreachable`.
    Addr6,
    /// `icmp6-port-unreachable`, what IPv6 does if nothing is said.
    Port6,
    /// `icmp6-policy-fail`.
    Policy6,
    /// `icmp6-reject-route`.
    Route6,
}

/// LOG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `--log-level`: 0 (emerg) to 7 (debug); 4 (warning) if not said.
    pub level: u8,
    /// `--log-prefix`, at most 29 bytes.
    pub prefix: String,
    /// `--log-tcp-sequence`.
    pub sequence: bool,
    /// `--log-tcp-options`.
    pub tcp_options: bool,
    /// `--log-ip-options`.
    pub ip_options: bool,
    /// `--log-uid`: nothing here has a user, so it adds nothing, as in the kernel where there is no socket.
    pub uid: bool,
    /// `--log-macdecode`.
    pub mac_decode: bool,
}

/// CONNMARK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Connmark {
    /// `--set-xmark VALUE/MASK`.
    Set(Masked),
    /// `--save-mark`: ctmark = (ctmark & !ct_mask) ^ (mark & nf_mask).
    Save {
        /// `--nfmask`.
        nf_mask: u32,
        /// `--ctmask`.
        ct_mask: u32,
    },
    /// `--restore-mark`: mark = (mark & !nf_mask) ^ (ctmark & ct_mask).
    Restore {
        /// `--nfmask`.
        nf_mask: u32,
        /// `--ctmask`.
        ct_mask: u32,
    },
}

/// TTL and HL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetHops {
    /// `--ttl-set`.
    Set(u8),
    /// `--ttl-inc`.
    Inc(u8),
    /// `--ttl-dec`.
    Dec(u8),
}

/// TCPMSS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mss {
    /// `--set-mss`.
    Set(u16),
    /// `--clamp-mss-to-pmtu`.
    Clamp,
}
