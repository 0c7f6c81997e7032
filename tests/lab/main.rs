//! The router between real hosts: `sekisho run` in a namespace, kernels on either side of it.

mod bench;
mod besieged;
mod changes;
mod explained;
mod firewall;
mod flows;
mod forge;
mod gateway;
mod home;
mod iproute;
mod life;
mod links;
mod load;
mod nat;
mod numbers;
mod paths;
mod ping;
mod privileges;
mod quiet;
mod service;
mod services;
mod super_frames;
mod traces;
mod transactions;
mod transfers;
mod tun_tap;
