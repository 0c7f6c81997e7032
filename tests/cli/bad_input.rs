//! What `run` says of what it can't be: one sentence each, exit code 1, and nothing left behind.

use std::fs;

use crate::sekisho;

/// Runs a router whose socket is at `control` in a fresh directory, and gives the one line it says.
fn refused(control: &str, rest: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let control = dir.path().join(control);
    let file = format!("[router]\nname = \"bad\"\ncontrol = {control:?}\n{rest}");
    fs::write(dir.path().join("gw.toml"), file).expect("it can be written to");
    fs::write(dir.path().join("file"), "").expect("it can be written to");
    let ran = sekisho(dir.path(), &["run", "gw.toml"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{rest}: {}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{rest}: {}", ran.err);
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).expect("it can be read").map(|e| e.expect("an entry").file_name()).collect();
    left.sort();
    assert_eq!(left, ["file", "gw.toml"], "{rest}");
    ran.err.strip_prefix("sekisho: ").expect("it says who speaks").trim_end().to_owned()
}

#[test]
fn a_device_that_is_not_there() {
    assert_eq!(
        refused("gw.sock", "[link.lan]\nkind = \"packet\"\ndevice = \"no-such-device\"\n"),
        "link lan: there is no interface 'no-such-device' here: make it first, or correct device = …"
    );
}

#[test]
fn a_file_that_contradicts_itself() {
    for (rest, said) in [
        (
            "[link.a]\nkind = \"tap\"\naddresses = [\"10.0.0.1/24\", \"10.0.0.1/24\"]\n",
            "gw.toml:6: link a: addresses: 10.0.0.1 is already a's (line 6): an address can be there once",
        ),
        (
            "[link.a]\nkind = \"tap\"\nmac = \"01:00:5e:00:00:01\"\n",
            "gw.toml:6: link a: mac: 01:00:5e:00:00:01 is a multicast MAC; 00:00:5e:00:00:01 would be a station's",
        ),
        (
            "[link.a]\nkind = \"tap\"\nmtu = 65535\n",
            "gw.toml:6: link a: mtu: 65535 is out of range: 68 to 65521",
        ),
        (
            "[link.a]\nkind = \"vxlan\"\n",
            "gw.toml:5: link a: kind: this version has no vxlan links; it has packet, tap, tun",
        ),
        (
            "[link.a]\nkind = \"tap\"\n[link.b]\nkind = \"packet\"\ndevice = \"a\"\n",
            "gw.toml:8: link b: the device a is already a's (line 4)",
        ),
        (
            "[link.a]\nkind = \"tap\"\n[[route]]\nto = \"default\"\nvia = \"10.9.9.9\"\n",
            "gw.toml:6: route default: no way out: no route leads to 10.9.9.9; no link has an address of that family",
        ),
    ] {
        assert_eq!(refused("gw.sock", rest), said);
    }
}

#[test]
fn a_control_socket_that_can_not_be_made_is_said_before_a_device_is_touched() {
    let link = "[link.lan]\nkind = \"packet\"\ndevice = \"no-such-device\"\n";
    assert!(refused("file", link).contains("is not a socket: remove it"));
    for control in ["file/gw.sock", "file/deeper/gw.sock"] {
        let said = refused(control, link);
        assert!(said.contains("choose a `control` path where you may write"), "{said}");
    }
}
