//! Neighbors that somebody sets.

use super::*;

#[test]
fn neighbors_are_put_into_states_by_hand() {
    let table = NeighborTable::new(Config { gc_thresh3: 2, ..Config::default() }, 1);
    let (link, mac, now) = (LinkId(1), Mac([2, 0, 0, 0, 0, 9]), Instant::from_secs(1));
    let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
    let mut out = Vec::new();
    let mut set = |n, mac, state| table.set(link, ip(n), mac, state, now, &mut out);
    assert!(!set(1, None, Nud::Stale), "without a MAC");
    assert!(!set(1, Some(Mac::BROADCAST), Nud::Stale) && !set(1, Some(mac), Nud::Incomplete));
    for state in
        [Nud::Stale, Nud::Reachable, Nud::Permanent, Nud::Delay, Nud::Probe, Nud::Permanent, Nud::Stale]
    {
        assert!(set(1, Some(mac), state));
        let info = table.get(link, ip(1), now).unwrap();
        assert_eq!((info.state, info.mac), (state, Some(mac)));
    }
    assert!(set(1, None, Nud::Failed));
    assert_eq!(table.get(link, ip(1), now).unwrap().mac, None);
    // Permanent ones don't count, and those that were count again.
    assert!(set(2, Some(mac), Nud::Permanent) && set(3, Some(mac), Nud::Reachable));
    assert!(set(1, Some(mac), Nud::Reachable));
    assert!(!set(4, Some(mac), Nud::Stale), "the table is full of neighbors in use");
    assert!(out.iter().any(|a| matches!(a, Action::Solicit { dest: Some(_), .. })), "probing asks at once");
}
