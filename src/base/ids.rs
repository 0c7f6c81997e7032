//! Small typed indices, so that a link is never mistaken for a queue or a port number.

use std::fmt;

/// A link's place in the link table; stable for the life of a router. The loopback is always 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LinkId(pub u16);

impl LinkId {
    /// The loopback link, `lo`, which every router has.
    pub const LO: LinkId = LinkId(0);

    /// The index into arrays that are kept per link.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link{}", self.0)
    }
}
