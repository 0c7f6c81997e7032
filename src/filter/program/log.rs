//! LOG: asks for the line and hands it to the router's log.

use crate::filter::targets::Log;
use crate::filter::verdict::Env;
use crate::packet::Packet;
use crate::wire::describe;

/// Writes the line.
pub(super) fn write<E: Env>(log: &Log, p: &Packet, env: &mut E) {
    let name = |link| match link {
        Some(link) => env.link_name(link),
        None => "",
    };
    let line = format!(
        "{}IN={} OUT={} {}",
        log.prefix,
        name(env.in_link()),
        name(env.out_link()),
        describe::describe(p.l3(), false)
    );
    env.log(log.level, &line);
}
