//! Devices against a real kernel, in network namespaces that each test makes for itself.

mod contract;
mod netlink;
mod netns;
mod packet;
mod rings;
mod tun_tap;
mod xdp;
