//! `ip route add`, `append`, `replace`, `change`, `del`, `flush`.

use serde::{Deserialize, Serialize};

use crate::control::protocol::RouteFilter;

/// A change of the routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "op", rename_all = "kebab-case")]
pub enum RouteChange {
    /// One route.
    One {
        /// What to do with it.
        action: RouteOp,
        /// The route in the words of ip-route(8), as lines of route files have them.
        route: String,
    },
    /// All that fit are removed, but those that follow from addresses.
    Flush(RouteFilter),
}

/// What to do with a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteOp {
    /// One more; there must be none with its prefix and metric.
    Add,
    /// One more; an IPv6 one is another way of the one with its prefix and metric.
    Append,
    /// One more, or in place of the one with its prefix and metric.
    Replace,
    /// In place of the one with its prefix and metric, which must be there.
    Change,
    /// One less: the first that has all that is said of it.
    Delete,
}
