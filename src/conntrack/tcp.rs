//! TCP as conntrack follows it (RFC 9293, and van Rooij's "Real Stateful TCP Packet Filtering" for the windows).

/// Where a TCP connection stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {}
