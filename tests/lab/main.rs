//! The router between real hosts: `sekisho run` in a namespace, kernels on either side of it.

mod firewall;
mod gateway;
mod life;
mod links;
mod paths;
mod ping;
mod quiet;
mod services;
mod transfers;
mod tun_tap;
