mod ask;
mod chains;
mod matches;
mod naive;
mod random;
mod rig;
mod targets;
mod upper;
