//! The thin binary: exit codes only.
fn main() {}
