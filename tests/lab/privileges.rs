//! What a running router may still do: its capabilities, its user, its system calls, its socket.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sekisho::io::netlink::Netlink;
use sekisho::lab::probes::Ping;
use sekisho::lab::{Spawned, Workplace, isolate, tools};
use sekisho::run::{SystemCalls, seal};

use crate::gateway::{Choice, Gateway, SEKISHO, SERVER, START, STOP, ip, run};
use crate::home::wait_until;

/// CAP_NET_ADMIN and CAP_NET_RAW.
const BOTH: &str = "0000000000003000";
const NONE: &str = "0000000000000000";
/// Users and groups that nobody has to have made: they are numbers. The first is in /etc/passwd everywhere.
const NOBODY: u32 = 65_534;
const FRIENDS: u32 = 12_345;
const STRANGER: u32 = 23_456;

/// A line of a thread's status (proc(5)).
fn status(dir: &Path, key: &str) -> String {
    let text = fs::read_to_string(dir.join("status")).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).trim().to_owned()
}

/// Looks at every thread of a process, when each has its name: it gives itself one when it begins.
fn is_sealed(pid: u32, uid: u32) {
    let threads = || fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|thread| thread.unwrap().path());
    wait_until("the threads have their names", || {
        let names: Vec<String> = threads().map(|thread| status(&thread, "Name")).collect();
        let first = names.first().unwrap();
        names.iter().filter(|name| *name == first).count() == 1
    });
    let mut names = Vec::new();
    for thread in threads() {
        let of = |key| status(&thread, key);
        let name = of("Name");
        let uids: Vec<String> = of("Uid").split_whitespace().map(str::to_owned).collect();
        assert!(uids.iter().all(|u| *u == uid.to_string()), "{name}: {uids:?}");
        let kept = if name == "stderr" { NONE } else { BOTH };
        assert_eq!((of("CapPrm").as_str(), of("CapEff").as_str()), (kept, kept), "{name}");
        assert_eq!((of("CapInh").as_str(), of("CapAmb").as_str()), (NONE, NONE), "{name}");
        assert_eq!(of("CapBnd"), BOTH, "{name}");
        assert_eq!((of("NoNewPrivs").as_str(), of("Seccomp").as_str()), ("1", "2"), "{name}");
        names.push(name);
    }
    assert!(names.iter().any(|n| n == "worker-0") && names.iter().any(|n| n == "stderr"), "{names:?}");
}

fn pings(gw: &Gateway) -> bool {
    let complete = |to: &&str| gw.client().run(|| Ping::new(ip(to)).run()).unwrap().complete();
    SERVER.iter().all(complete)
}

#[test]
fn a_router_of_root_keeps_two_capabilities() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice { workers: 2, ..Choice::default() });
        is_sealed(gw.router.id(), 0);
        assert!(pings(&gw));
        gw.stop();
    });
}

/// A router with one tap, and the file it was started with.
fn router(place: &Workplace, lines: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let control = place.path("gw.sock");
    let text = format!(
        "[router]\nname = \"gw\"\nworkers = 1\ncontrol = \"{}\"\n{lines}[link.t0]\nkind = \"tap\"\naddresses = [\"10.9.0.1/24\"]\n",
        control.display()
    );
    (place.write("gw.toml", &text).unwrap(), control)
}

/// Runs `sekisho stats` as somebody: its exit code, and what it says on stderr.
fn asked_by(control: &Path, uid: u32, gid: u32) -> (Option<i32>, String) {
    // Where it was built not everybody may look. Copied by another process: what this one has open for writing, those that
    // other tests start meanwhile have for a moment, and what is open for writing can't be run.
    let program = control.with_file_name("sekisho");
    if !program.exists() {
        let mut copy = Command::new("sh");
        copy.args(["-c", "cp \"$0\" \"$1\" && chmod 755 \"$1\"", SEKISHO]).arg(&program);
        assert!(copy.status().unwrap().success());
    }
    let mut command = Command::new(program);
    // With another user come no other groups.
    command.arg("stats").arg("--control").arg(control).uid(uid).gid(gid);
    let out = command.output().unwrap();
    (out.status.code(), String::from_utf8(out.stderr).unwrap())
}

/// A router in a network namespace of its own, of real root.
struct OfRoot(Child);

impl OfRoot {
    fn start(file: &Path, control: &Path) -> Self {
        let mut command = Command::new("unshare");
        command.args(["-n", SEKISHO, "run"]).arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        let mut router = OfRoot(command.spawn().unwrap());
        let deadline = Instant::now() + START;
        while UnixStream::connect(control).is_err() {
            assert!(Instant::now() < deadline && router.0.try_wait().unwrap().is_none(), "it does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        router
    }

    fn stop(mut self) -> Option<i32> {
        let term = format!("kill -TERM {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &term]).status().unwrap().success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for OfRoot {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Inside a user namespace there is nobody else to become.
fn is_real_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let all = map.split_whitespace().collect::<Vec<_>>() == ["0", "0", "4294967295"];
    all && fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

#[test]
fn a_router_becomes_its_user_and_a_group_may_talk_to_it() {
    if !is_real_root() {
        println!("skipped: only root can become another");
        return;
    }
    if !tools::has_tun() || !tools::usable(&["unshare -n true"]) {
        return;
    }
    let place = Workplace::new().unwrap();
    let (file, control) = router(&place, &format!("user = \"nobody\"\ngroup = {FRIENDS}\n"));
    let above = control.parent().unwrap();
    fs::set_permissions(above, fs::Permissions::from_mode(0o755)).unwrap();
    let first = OfRoot::start(&file, &control);
    is_sealed(first.0.id(), NOBODY);
    let socket = fs::metadata(&control).unwrap();
    assert_eq!((socket.uid(), socket.gid(), socket.mode() & 0o777), (NOBODY, FRIENDS, 0o660));
    assert_eq!(asked_by(&control, STRANGER, FRIENDS), (Some(0), String::new()));
    assert_eq!(asked_by(&control, 0, 0).0, Some(0));
    let (code, said) = asked_by(&control, STRANGER, STRANGER);
    assert!(code == Some(1) && said.contains("you may not talk to the router"), "{said}");

    // It still opens what a new file asks for.
    let text = fs::read_to_string(&file).unwrap()
        + "[link.t1]\nkind = \"tap\"\naddresses = [\"10.10.0.1/24\"]\n[link.u0]\nkind = \"tun\"\n";
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let ask =
        |words: &[&str]| Command::new(SEKISHO).args(words).env("SEKISHO_CONTROL", &control).output().unwrap();
    if fs::metadata("/dev/net/tun").unwrap().mode() & 0o006 == 0o006 {
        let out = ask(&["reload"]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let links = String::from_utf8(ask(&["ip", "-br", "link"]).stdout).unwrap();
        assert!(links.contains("\nt1 ") && links.contains("\nu0 "), "{links}");
        assert!(ask(&["diff"]).status.success(), "what is in force is what the file says");
        is_sealed(first.0.id(), NOBODY);
    }

    // Its socket stays: the directory is not its user's. The next one finds nobody there and takes the place.
    assert_eq!(first.stop(), Some(0));
    assert!(control.exists());
    let said = asked_by(&control, 0, 0).1;
    assert!(said.contains("is gone"), "{said}");
    let second = OfRoot::start(&file, &control);
    assert_eq!(asked_by(&control, 0, 0).0, Some(0));
    assert_eq!(second.stop(), Some(0));
}

#[test]
fn packet_links_are_opened_when_the_privileges_are_gone() {
    isolate::test(|| {
        if !tools::has_tun() {
            return;
        }
        let lab = Gateway::usual();
        lab.lab["router"].run(|| {
            let mut netlink = Netlink::open().unwrap();
            for (one, other) in [("p0", "p1"), ("q0", "q1")] {
                netlink.link_add_veth(one, other, None).unwrap();
                for device in [one, other] {
                    let index = netlink.link_index(device).unwrap();
                    netlink.set_up(index).unwrap();
                }
            }
        });
        let place = Workplace::new().unwrap();
        let user = if is_real_root() { "user = \"nobody\"\n" } else { "" };
        let (file, control) = router(&place, user);
        fs::set_permissions(control.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut router = run(&lab.lab["router"], &file, &control);
        let text = fs::read_to_string(&file).unwrap()
            + "[link.p0]\nkind = \"packet\"\naddresses = [\"10.20.0.1/24\"]\n"
            + "[link.q0]\nkind = \"packet\"\ndriver = \"xdp\"\naddresses = [\"10.21.0.1/24\"]\n";
        fs::write(&file, text).unwrap();
        let ask = |words: &[&str]| {
            let out = Command::new(SEKISHO).args(words).env("SEKISHO_CONTROL", &control).output().unwrap();
            assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap()
        };
        ask(&["reload"]);
        let driver = |name: &str| {
            let stats: serde_json::Value = serde_json::from_str(&ask(&["stats", "-j"])).unwrap();
            let link = stats["links"].as_array().unwrap().iter().find(|l| l["ifname"] == name).cloned();
            link.filter(|l| l["up"] == true).map(|l| l["driver"]["driver"].clone())
        };
        let deadline = Instant::now() + START;
        // What takes more than is left has the next best.
        while [driver("p0"), driver("q0")] != [Some("ring".into()), Some("ring".into())] {
            assert!(Instant::now() < deadline, "{:?} {:?}: {}", driver("p0"), driver("q0"), router.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(router.terminate(STOP).unwrap().code(), Some(0), "{}", router.said());
        lab.stop();
    });
}

#[test]
fn it_is_the_same_in_a_user_namespace() {
    isolate::test(|| {
        if !tools::has_tun() || !tools::usable(&["unshare -Urn true"]) {
            return;
        }
        let lab = Gateway::usual();
        let place = Workplace::new().unwrap();
        let (file, control) = router(&place, "");
        let unshare = |file: &Path| {
            let args = ["-Urn", SEKISHO, "run", file.to_str().unwrap()];
            Spawned::start(&lab.lab["router"], Path::new("unshare"), &args).unwrap()
        };
        let mut inner = unshare(&file);
        inner.wait_for_socket(&control, START).unwrap();
        is_sealed(inner.id(), 0);
        assert_eq!(inner.terminate(STOP).unwrap().code(), Some(0), "{}", inner.said());

        // Nobody else is there.
        let (file, _) = router(&place, "user = \"nobody\"\n");
        let mut inner = unshare(&file);
        assert_eq!(inner.wait(START).unwrap().code(), Some(1));
        let said = inner.said();
        assert!(said.lines().count() == 1 && said.contains("remove these keys"), "{said}");
        lab.stop();
    });
}

/// What [`who_takes_it_over_gets_nowhere`] runs in a process of its own.
#[test]
#[ignore = "ends its process"]
fn in_a_sealed_process() {
    let mut other = Command::new("true").spawn().unwrap();
    seal(None, SystemCalls::Refused).unwrap();
    // What a router does goes on.
    let read = std::thread::spawn(|| fs::read_to_string("/proc/self/status").unwrap()).join().unwrap();
    assert!(read.contains("Seccomp:\t2"));
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    std::os::unix::net::UnixDatagram::pair().unwrap();
    // What it does not fails.
    let no = |e: std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied;
    assert!(Command::new("true").spawn().is_err_and(no));
    assert!(std::os::unix::fs::symlink("a", "b").is_err_and(no));
    assert!(fs::rename("a", "b").is_err_and(no) && fs::create_dir("a").is_err_and(no));
    assert!(other.kill().is_err_and(no));
    // It ends by itself, and whether this process may hear of it is of no matter.
    let _ = other.wait();
    println!("and now");
    // This ends it.
    let e = Command::new("true").exec();
    println!("{e}");
}

#[test]
fn who_takes_it_over_gets_nowhere() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "privileges::in_a_sealed_process"]);
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(said.ends_with("and now\n"), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.signal(), Some(libc::SIGSYS));
}

#[test]
fn a_word_that_says_nothing_is_refused() {
    let place = Workplace::new().unwrap();
    let (file, _) = router(&place, "");
    let out = Command::new(SEKISHO).arg("run").arg(file).env("SEKISHO_SECCOMP", "maybe").output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&out.stderr),
        "sekisho: SEKISHO_SECCOMP is 'maybe': it may be on, log or off\n"
    );
}
