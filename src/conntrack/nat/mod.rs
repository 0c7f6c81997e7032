//! NAT: what a flow is translated to, decided once; and the rewriting of each of its packets.
