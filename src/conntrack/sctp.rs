//! SCTP as conntrack follows it (RFC 9260).

/// Where an association stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {}
