//! Sizes and timers of conntrack: the kernel's, under the kernel's names, and those of the RFCs.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Declares the timeouts once: variant, the name behind `nf_conntrack_` (without `_timeout`), Linux's seconds, and the
/// seconds of the RFC profile.
macro_rules! timeouts {
    ($($variant:ident $name:literal $linux:literal $rfc:literal $text:literal;)+) => {
        /// A timeout of conntrack's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Timeout { $(#[doc = $text] $variant),+ }

        impl Timeout {
            /// Every one, in the order of the documentation.
            pub const ALL: &[Timeout] = &[$(Timeout::$variant),+];

            /// Its name: the sysctl's, without `nf_conntrack_` and `_timeout`.
            pub const fn name(self) -> &'static str {
                match self { $(Timeout::$variant => $name),+ }
            }

            /// What it is for.
            pub const fn text(self) -> &'static str {
                match self { $(Timeout::$variant => $text),+ }
            }

            const fn linux(self) -> u32 {
                match self { $(Timeout::$variant => $linux),+ }
            }

            const fn rfc(self) -> u32 {
                match self { $(Timeout::$variant => $rfc),+ }
            }
        }
    };
}

// Linux: Documentation/networking/nf_conntrack-sysctl.rst. RFC: RFC 4787 REQ-5 (UDP: 5 minutes recommended),
// RFC 5382 REQ-5 (established 2 h 4 min, transitory 4 min), RFC 5508 REQ-2 (ICMP 60 s).
timeouts! {
    Generic "generic" 600 600 "a protocol that is not looked into";
    Icmp "icmp" 30 60 "an ICMP query";
    Icmpv6 "icmpv6" 30 60 "an ICMPv6 query";
    Udp "udp" 30 300 "UDP that was not answered";
    UdpStream "udp_stream" 120 300 "UDP that goes both ways";
    TcpSynSent "tcp_syn_sent" 120 240 "a SYN was sent";
    TcpSynRecv "tcp_syn_recv" 60 240 "a SYN was answered";
    TcpEstablished "tcp_established" 432000 7440 "the connection is open";
    TcpFinWait "tcp_fin_wait" 120 240 "one side has closed";
    TcpCloseWait "tcp_close_wait" 60 240 "its FIN was acknowledged";
    TcpLastAck "tcp_last_ack" 30 240 "both sides have closed";
    TcpTimeWait "tcp_time_wait" 120 240 "closed, and late segments may come";
    TcpClose "tcp_close" 10 240 "reset";
    TcpMaxRetrans "tcp_max_retrans" 300 300 "the same segment came too often, unanswered";
    TcpUnacknowledged "tcp_unacknowledged" 300 300 "picked up in the middle, or data not acknowledged";
    Gre "gre" 30 300 "GRE that was not answered";
    GreStream "gre_stream" 180 300 "GRE that goes both ways";
    SctpClosed "sctp_closed" 10 240 "aborted or closed";
    SctpCookieWait "sctp_cookie_wait" 3 240 "INIT was sent";
    SctpCookieEchoed "sctp_cookie_echoed" 3 240 "the cookie was echoed";
    SctpEstablished "sctp_established" 210 7440 "the association is open";
    SctpShutdownSent "sctp_shutdown_sent" 3 240 "one side shuts down";
    SctpShutdownRecd "sctp_shutdown_recd" 3 240 "the other side shuts down";
    SctpShutdownAckSent "sctp_shutdown_ack_sent" 3 240 "the shutdown was acknowledged";
    SctpHeartbeatSent "sctp_heartbeat_sent" 30 240 "a heartbeat on a new path";
}

/// All timeouts, in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts([u32; Timeout::ALL.len()]);

impl Timeouts {
    /// The kernel's defaults.
    pub fn linux() -> Self {
        Timeouts(std::array::from_fn(|i| Timeout::ALL[i].linux()))
    }

    /// What RFC 4787, 5382 and 5508 ask for.
    pub fn rfc() -> Self {
        Timeouts(std::array::from_fn(|i| Timeout::ALL[i].rfc()))
    }

    /// Sets one, in seconds.
    pub fn set(&mut self, which: Timeout, seconds: u32) {
        self.0[which as usize] = seconds;
    }

    /// One of them.
    #[inline]
    pub fn get(&self, which: Timeout) -> Duration {
        Duration::from_secs(u64::from(self.0[which as usize]))
    }
}

/// Sizes and habits; the names are those of `net.netfilter.nf_conntrack_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Flows in the table at most (`max`).
    pub max: u32,
    /// How long each state lasts.
    pub timeouts: Timeouts,
    /// Whether a connection that began unseen is picked up from a segment in its middle (`tcp_loose`).
    pub tcp_loose: bool,
    /// Whether only resets are held to the window (`tcp_be_liberal`).
    pub tcp_be_liberal: bool,
    /// How often a segment may come again before `tcp_max_retrans` counts (`tcp_max_retrans`).
    pub tcp_max_retrans: u8,
    /// Whether resets outside the window are left to the ends to judge (`tcp_ignore_invalid_rst`).
    pub tcp_ignore_invalid_rst: bool,
    /// Whether packets with a wrong upper-layer checksum are INVALID (`checksum`).
    pub checksum: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max: 262_144,
            timeouts: Timeouts::linux(),
            tcp_loose: true,
            tcp_be_liberal: false,
            tcp_max_retrans: 3,
            tcp_ignore_invalid_rst: false,
            checksum: true,
        }
    }
}

/// A [`Config`] in force, which may become another while packets pass: as with the kernel's sysctls, each packet goes by
/// what it finds. To read one of them costs what a plain field would.
#[derive(Debug)]
pub struct Settings {
    max: AtomicU32,
    timeouts: [AtomicU32; Timeout::ALL.len()],
    tcp_loose: AtomicBool,
    tcp_be_liberal: AtomicBool,
    tcp_max_retrans: AtomicU8,
    tcp_ignore_invalid_rst: AtomicBool,
    checksum: AtomicBool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings::of(&Config::default())
    }
}

impl Settings {
    /// What a configuration says.
    pub fn of(c: &Config) -> Self {
        Settings {
            max: AtomicU32::new(c.max),
            timeouts: std::array::from_fn(|i| AtomicU32::new(c.timeouts.0[i])),
            tcp_loose: AtomicBool::new(c.tcp_loose),
            tcp_be_liberal: AtomicBool::new(c.tcp_be_liberal),
            tcp_max_retrans: AtomicU8::new(c.tcp_max_retrans),
            tcp_ignore_invalid_rst: AtomicBool::new(c.tcp_ignore_invalid_rst),
            checksum: AtomicBool::new(c.checksum),
        }
    }

    /// Has another one hold from now on.
    pub fn set(&self, c: &Config) {
        self.max.store(c.max, Relaxed);
        for (to, from) in self.timeouts.iter().zip(c.timeouts.0) {
            to.store(from, Relaxed);
        }
        self.tcp_loose.store(c.tcp_loose, Relaxed);
        self.tcp_be_liberal.store(c.tcp_be_liberal, Relaxed);
        self.tcp_max_retrans.store(c.tcp_max_retrans, Relaxed);
        self.tcp_ignore_invalid_rst.store(c.tcp_ignore_invalid_rst, Relaxed);
        self.checksum.store(c.checksum, Relaxed);
    }

    /// The configuration that holds now.
    pub fn get(&self) -> Config {
        Config {
            max: self.max(),
            timeouts: Timeouts(std::array::from_fn(|i| self.timeouts[i].load(Relaxed))),
            tcp_loose: self.tcp_loose(),
            tcp_be_liberal: self.tcp_be_liberal(),
            tcp_max_retrans: self.tcp_max_retrans(),
            tcp_ignore_invalid_rst: self.tcp_ignore_invalid_rst(),
            checksum: self.checksum(),
        }
    }

    /// How long a state lasts.
    #[inline]
    pub fn timeout(&self, which: Timeout) -> Duration {
        Duration::from_secs(u64::from(self.timeouts[which as usize].load(Relaxed)))
    }

    #[inline]
    pub(super) fn max(&self) -> u32 {
        self.max.load(Relaxed)
    }

    #[inline]
    pub(super) fn tcp_loose(&self) -> bool {
        self.tcp_loose.load(Relaxed)
    }

    #[inline]
    pub(super) fn tcp_be_liberal(&self) -> bool {
        self.tcp_be_liberal.load(Relaxed)
    }

    #[inline]
    pub(super) fn tcp_max_retrans(&self) -> u8 {
        self.tcp_max_retrans.load(Relaxed)
    }

    #[inline]
    pub(super) fn tcp_ignore_invalid_rst(&self) -> bool {
        self.tcp_ignore_invalid_rst.load(Relaxed)
    }

    #[inline]
    pub(super) fn checksum(&self) -> bool {
        self.checksum.load(Relaxed)
    }
}
