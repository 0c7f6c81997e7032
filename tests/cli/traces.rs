//! `sekisho trace` and `sekisho capture`: what is understood, what is refused, and in which words.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::live::{Router, said};
use crate::sekisho;

fn dir() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let control = dir.path().join("gw.sock");
    let text = format!("[router]\nname = \"gw\"\nworkers = 1\ncontrol = {control:?}\n");
    fs::write(dir.path().join("gw.toml"), text).expect("it can be written to");
    dir
}

#[track_caller]
fn no(dir: &Path, code: i32, words: &[&str], why: &str) {
    let ran = sekisho(dir, words);
    assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{words:?}: {}", ran.err);
    assert!(ran.err.contains(why) && ran.err.lines().count() == 1, "{words:?}: {}", ran.err);
}

#[test]
fn misuse_is_said_without_a_router() {
    let dir = dir();
    let dir = dir.path();
    no(dir, 2, &["trace", "hots", "10.1.0.2"], "at 'hots': did you mean 'host'?");
    no(dir, 2, &["trace", "tcp", "udp"], "put 'and' or 'or' before it");
    no(dir, 2, &["trace", "-c", "0"], "0");
    no(dir, 2, &["capture", "tcp"], "--write");
    no(dir, 2, &["capture", "-w", "x", "--at", "nowhere"], "prerouting");
    no(dir, 2, &["capture", "-w", "x", "-W", "3"], "-C or -G");
    no(dir, 2, &["capture", "-w", "-", "-C", "1"], "standard output");
    no(dir, 1, &["trace", "--control", "gw.sock", "tcp"], "no router is running at gw.sock");
    no(dir, 1, &["capture", "--control", "gw.sock", "-w", "x", "tcp"], "no router is running at gw.sock");
    assert!(!dir.join("x").exists(), "no file is made for nothing");
}

#[test]
fn a_router_refuses_what_it_can_t_know() {
    let dir = dir();
    let dir = dir.path();
    let router = Router::start(dir);
    no(dir, 1, &["trace", "--control", "gw.sock", "in", "lna"], "no link named 'lna': the links here are lo");
    let unwritable = ["capture", "--control", "gw.sock", "-w", "no/x.pcapng", "--for", "0"];
    no(dir, 1, &unwritable, "no/x.pcapng can't be written");
    // Nothing passes: both end when their time has come.
    assert_eq!(said(dir, "trace --control gw.sock --for 0"), "");
    assert_eq!(said(dir, "trace -j --control gw.sock --for 0 out lo or drop"), "");
    let ran = sekisho(dir, &["capture", "--control", "gw.sock", "-w", "x.pcapng", "--for", "0"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "sekisho: 0 frames captured\n"));
    assert_eq!(fs::read(dir.join("x.pcapng")).expect("it is there")[..4], 0x0a0d_0d0a_u32.to_ne_bytes());
    // Standard output is no file that is called `-`.
    fs::write(dir.join("-"), "another's").expect("it can be written to");
    let full = fs::File::options().write(true).open("/dev/full").expect("it is there");
    let mut capture = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    capture.current_dir(dir).args(["capture", "--control", "gw.sock", "-w", "-", "--for", "0"]).stdout(full);
    let ran = capture.output().expect("the binary runs");
    let err = String::from_utf8(ran.stderr).expect("it speaks UTF-8");
    assert_eq!(ran.status.code(), Some(1), "{err}");
    assert!(err.starts_with("sekisho: standard output can't be written any further: No space"), "{err}");
    assert_eq!(fs::read(dir.join("-")).expect("it is there"), b"another's");
    assert_eq!(router.terminate(), Some(0));
}
