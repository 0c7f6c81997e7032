//! A running router and those who ask it. It has no links, so it needs no rights and no namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::sekisho;

/// How long a router may take to start or to end.
const DEADLINE: Duration = Duration::from_secs(60);

/// `sekisho run`, killed when the test ends.
pub(crate) struct Router(Child);

impl Router {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, Stdio::null())
    }

    fn start_with(dir: &Path, stderr: Stdio) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
        command.current_dir(dir).args(["run", "gw.toml"]).stdout(Stdio::null()).stderr(stderr);
        let mut router = Router(command.spawn().expect("it starts"));
        let start = Instant::now();
        while sekisho(dir, &["--control", "gw.sock", "stats"]).code != 0 {
            assert!(start.elapsed() < DEADLINE, "no answer from the router");
            assert!(router.0.try_wait().expect("it can be asked for").is_none(), "the router ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        router
    }

    fn signal(&self, name: &str) {
        // The shell's own `kill`: not every machine has the program.
        let kill = format!("kill -{name} {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("there is a shell").success());
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn dir() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let control: PathBuf = dir.path().join("gw.sock");
    let mut text = format!("[router]\nname = \"gw\"\nworkers = 1\ncontrol = {control:?}\n");
    text.push_str("[link.lo]\nkind = \"loopback\"\naddresses = [\"192.0.2.7/32\"]\n");
    text.push_str("[[route]]\nto = \"198.51.100.0/24\"\ntype = \"unreachable\"\n");
    fs::write(dir.path().join("gw.toml"), text).expect("it can be written to");
    dir
}

/// What is printed, the last line's end aside, if it went well and nothing was said on stderr.
pub(crate) fn said(dir: &Path, words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let ran = sekisho(dir, &words);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words:?}");
    ran.out.trim_end_matches('\n').to_owned()
}

#[test]
fn a_running_router_is_asked_and_ended() {
    let dir = dir();
    let dir = dir.path();
    let router = Router::start(dir);

    assert_eq!(
        said(dir, "ip --control gw.sock link"),
        "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default \n    \
         link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00"
    );
    assert_eq!(
        said(dir, "--control gw.sock ip -br -4 a"),
        "lo               UNKNOWN        127.0.0.1/8 192.0.2.7/32 "
    );
    assert_eq!(said(dir, "--control gw.sock ip r"), "unreachable 198.51.100.0/24 proto static ");
    assert_eq!(said(dir, "ip --control gw.sock -j n"), "[]");
    let routes: Value =
        serde_json::from_str(&said(dir, "ip -j --control gw.sock r s table all")).expect("JSON");
    assert!(routes.as_array().is_some_and(|r| r.iter().any(|r| r["dst"] == "192.0.2.7")), "{routes}");

    let stats: Value = serde_json::from_str(&said(dir, "stats --control gw.sock -j")).expect("JSON");
    assert_eq!((&stats["name"], &stats["columns"]["received"]["imbalance"]), (&"gw".into(), &0.into()));
    assert!(said(dir, "stats --control gw.sock --all").contains("\nno_route "));

    let ran = sekisho(dir, &["ip", "--control", "gw.sock", "r", "s", "dev", "nope"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (1, "", "Cannot find device \"nope\"\nsekisho: no link named 'nope': the links here are lo\n")
    );
    let ran = sekisho(dir, &["run", "gw.toml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with("sekisho: router 'gw' is already running (pid "), "{}", ran.err);

    assert_eq!(router.terminate(), Some(0));
    assert!(!dir.join("gw.sock").exists());
    let ran = sekisho(dir, &["stats", "--control", "gw.sock"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            1,
            "sekisho: no router is running at gw.sock: start one with `sekisho run FILE`, or name another socket\n"
        )
    );
}

#[test]
fn an_empty_flow_table_is_asked_and_emptied() {
    let dir = dir();
    let dir = dir.path();
    let router = Router::start(dir);
    let ran = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let ran = sekisho(dir, &[&["conntrack", "--control", "gw.sock"], words.as_slice()].concat());
        (ran.code, ran.out, ran.err)
    };
    let said = |code, out: &str, err: &str| (code, out.to_owned(), err.to_owned());
    assert_eq!(ran("-C"), said(0, "0\n", ""));
    assert_eq!(ran("-L"), said(0, "", "sekisho: 0 flow entries have been shown.\n"));
    assert_eq!(ran("-L -j"), said(0, "[]\n", "sekisho: 0 flow entries have been shown.\n"));
    assert_eq!(ran("-D -p tcp"), said(1, "", "sekisho: 0 flow entries have been deleted.\n"));
    assert_eq!(ran("-U -p tcp -m 1"), said(1, "", "sekisho: 0 flow entries have been updated.\n"));
    assert_eq!(ran("-F"), said(0, "", "sekisho: connection tracking table has been emptied.\n"));
    assert_eq!(
        ran("-G -p udp -s 10.0.0.1 -d 10.0.0.2 --sport 1 --dport 2"),
        said(1, "", "sekisho: Operation failed: such conntrack doesn't exist\n")
    );
    assert_eq!(
        ran("-S").1,
        "cpu=0   \tfound=0 invalid=0 insert=0 insert_failed=0 drop=0 early_drop=0 error=0 search_restart=0 \
         clash_resolve=0 chaintoolong=0 \n"
    );
    let stats: Value = serde_json::from_str(&ran("-S -j").1).expect("JSON");
    assert_eq!(stats[0]["early_drop"], 0);
    let misuse = ran("-D -e NEW");
    assert_eq!((misuse.0, misuse.1.as_str(), misuse.2.lines().count()), (2, "", 1), "{misuse:?}");
    assert_eq!(router.terminate(), Some(0));
}

#[test]
fn a_killed_router_can_be_started_again() {
    let dir = dir();
    drop(Router::start(dir.path()));
    assert!(dir.path().join("gw.sock").exists(), "it was killed");
    let ran = sekisho(dir.path(), &["stats", "--control", "gw.sock"]);
    assert!(ran.code == 1 && ran.err.contains("is gone: start it again"), "{}", ran.err);
    assert_eq!(Router::start(dir.path()).terminate(), Some(0));
}

#[test]
fn it_outlives_those_who_read_its_log() {
    let dir = dir();
    let mut router = Router::start_with(dir.path(), Stdio::piped());
    drop(router.0.stderr.take());
    // What it says of this nobody hears.
    router.signal("HUP");
    router.signal("HUP");
    assert_eq!(said(dir.path(), "stats --control gw.sock -j").get(..1), Some("{"));
    assert_eq!(router.terminate(), Some(0));
}

#[test]
fn words_that_are_not_understood_need_no_router() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // What iproute2 says comes before what we say, and its exit codes are those.
    for (words, code, lines) in [
        (&["ip", "route", "add", "10.0.0.0/8"][..], 2, 2),
        (&["ip", "route", "add", "10.0.0.0/8", "dev", "lan", "hoplimit", "9"], 2, 1),
        (&["ip", "lnk"], 1, 2),
        (&["ip", "-x"], 255, 2),
        (&["conntrack", "-x"], 2, 1),
        (&["stats", "-x"], 2, 1),
    ] {
        let ran = sekisho(dir.path(), words);
        assert_eq!((ran.code, ran.err.lines().count()), (code, lines), "{words:?}: {}", ran.err);
    }
    assert!(said(dir.path(), "ip -V").starts_with("ip utility, sekisho-"));
    assert!(said(dir.path(), "conntrack -V").starts_with("conntrack v"));
    assert!(said(dir.path(), "ip route help").starts_with("Usage: sekisho ip route"));
    assert!(said(dir.path(), "ip help").starts_with("Usage: sekisho ip"));
}
