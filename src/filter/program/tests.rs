//! Programs beside rules that are read one after the other; the parts by what they ask.

mod ask;
mod chains;
mod matches;
mod naive;
mod random;
mod rig;
mod targets;
mod upper;
