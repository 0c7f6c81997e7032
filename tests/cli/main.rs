//! The binary as its users meet it: what it prints where, and its exit codes.

mod bad_input;
mod bench;
mod beside;
mod check;
mod control;
mod explain;
mod iptables;
mod live;
mod numbers;
mod rules;
mod service;
mod traces;
mod usage;

use std::path::Path;
use std::process::Output;

/// What one run of the binary gave.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs the binary in a directory, without a terminal.
fn sekisho(dir: &Path, args: &[&str]) -> Ran {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_sekisho"));
    let Output { status, stdout, stderr } =
        command.current_dir(dir).args(args).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
    Ran { code: status.code().expect("it ends by itself"), out: text(stdout), err: text(stderr) }
}
