//! LOG: makes the line and hands it to the router's log.

use crate::filter::log;
use crate::filter::targets::Log;
use crate::filter::verdict::Env;
use crate::packet::Packet;

/// Writes the line.
pub(super) fn write<E: Env>(log: &Log, p: &Packet, env: &mut E) {
    let name = |link| match link {
        Some(link) => env.link_name(link),
        None => "",
    };
    let line = log::line(log, p, name(env.in_link()), name(env.out_link()));
    env.log(log.level, &line);
}
