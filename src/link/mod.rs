//! What a link is: its name, its addresses, and whether it is up.
//!
//! A [`Link`] is the router's idea of an interface, as `ip link` shows it; the device that moves its
//! frames is a port, which is another layer's business. Knows nothing of routes or neighbors.

mod driver;
mod state;
mod table;

pub use driver::{Driver, InUse};
pub use state::LinkStates;
pub use table::{Address, Link, LinkKind, Links, Places, RpFilter};
