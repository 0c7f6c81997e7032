//! Devices against a real kernel, in network namespaces that each test makes for itself.

mod netlink;
mod netns;
