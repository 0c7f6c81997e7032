//! `sekisho check`.

use std::fs;

use tempfile::TempDir;

use crate::sekisho;

fn with(text: impl AsRef<[u8]>) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("gw.toml"), text).expect("it can be written to");
    dir
}

const GOOD: &str = r#"
[router]
name = "gw"

[link.lan]
kind = "packet"
addresses = ["10.1.0.1/24", "fd01::1/64"]

[link.wan]
kind = "packet"
addresses = ["10.2.0.1/24", "fd02::1/64"]

[[route]]
to = "default"
via = "10.2.0.2"

[[route]]
to = "198.51.100.0/24"
dev = "wan"

[[route]]
to = "203.0.113.0/24"
type = "unreachable"
"#;

#[test]
fn a_good_file_is_one_line() {
    let ran = sekisho(with(GOOD).path(), &["check", "gw.toml"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, "gw.toml: good: 2 links, 4 addresses, 3 routes\n", "")
    );
}

#[test]
fn every_problem_is_on_stderr_with_its_line() {
    let bad = GOOD
        .replace("name =", "nmae =")
        .replace("\"10.2.0.1/24\"", "\"10.1.0.9/24\"")
        .replace("dev = \"wan\"", "dev = \"wann\"")
        .replace("type = \"unreachable\"", "via = \"10.9.0.1\"");
    let ran = sekisho(with(bad).path(), &["check", "gw.toml"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(
        lines,
        [
            "gw.toml:3: [router]: unknown key 'nmae'; did you mean name?",
            "gw.toml:11: link wan: addresses: 10.1.0.9/24 overlaps lan's 10.1.0.1/24 (line 7): a prefix can be on one link only",
            "gw.toml:13: route default: no way out: no route leads to 10.2.0.2; give a next hop in 10.1.0.0/24 (lan), 10.1.0.0/24 (wan), or dev and onlink",
            "gw.toml:19: route 198.51.100.0/24: no link named 'wann'; links here are lan, wan",
            "gw.toml:21: route 203.0.113.0/24: no way out: only the default route leads to 10.9.0.1; give a next hop in 10.1.0.0/24 (lan), 10.1.0.0/24 (wan), or dev and onlink",
        ]
    );
}

#[test]
fn route_files_are_checked_too() {
    let dir =
        with(GOOD.replace("name = \"gw\"", "name = \"gw\"\nroute_files = [\"more.txt\", \"none.txt\"]"));
    fs::write(dir.path().join("more.txt"), "192.0.2.0/24 via 10.2.0.9\n192.0.2.0/33\n").expect("written");
    let ran = sekisho(dir.path(), &["check", "gw.toml"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    let lines: Vec<&str> = ran.err.lines().collect();
    assert!(lines[0].starts_with("gw.toml:4: none.txt: can't be read: No such file"), "{}", ran.err);
    assert!(lines[1].starts_with("more.txt:2: '192.0.2.0/33'"), "{}", ran.err);
    assert_eq!(lines.len(), 2);

    fs::write(dir.path().join("more.txt"), "192.0.2.0/24 via 10.2.0.9\n").expect("written");
    fs::write(dir.path().join("none.txt"), "").expect("written");
    let ran = sekisho(dir.path(), &["check", "gw.toml"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out, "gw.toml: good: 2 links, 4 addresses, 3 routes, 2 route files\n");
}

#[test]
fn warnings_do_not_make_a_file_bad() {
    let ran = sekisho(with("[router]\nname = \"gw\"\n").path(), &["check", "gw.toml"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "gw.toml: good: 0 links, 0 addresses, 0 routes\n"));
    assert!(ran.err.starts_with("gw.toml:1: warning: no links"), "{}", ran.err);
    assert!(!ran.err.contains('\x1b'), "no colour without a terminal");
}

#[test]
fn a_file_that_can_not_be_read_is_named() {
    let ran = sekisho(with("").path(), &["check", "there/is/none.toml"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.starts_with("there/is/none.toml: can't be read: No such file"), "{}", ran.err);
    let ran = sekisho(with(b"\xff").path(), &["check", "gw.toml"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "gw.toml:1: not UTF-8 text: save the file as UTF-8\n"));
}
