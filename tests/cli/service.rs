//! The router as a service: what its manager is told, how it logs, and the unit in the documents.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::live::dir;

const DEADLINE: Duration = Duration::from_secs(60);

/// A router that a service manager has started.
struct Service {
    child: Child,
    manager: UnixDatagram,
}

impl Service {
    fn start(dir: &Path, environment: &[(&str, &str)]) -> Self {
        let manager = UnixDatagram::bind(dir.join("notify")).unwrap();
        manager.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
        command.current_dir(dir).args(["run", "gw.toml"]).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env("NOTIFY_SOCKET", dir.join("notify")).env_remove("SEKISHO_LOG_FORMAT");
        command.envs(environment.iter().copied());
        Service { child: command.spawn().unwrap(), manager }
    }

    /// What the manager is told next, the watchdog's word aside.
    fn told(&self) -> String {
        loop {
            let said = self.any();
            if said != "WATCHDOG=1" {
                return said;
            }
        }
    }

    fn any(&self) -> String {
        let mut buffer = [0; 1_000];
        let n = self.manager.recv(&mut buffer).expect("the manager is told something");
        String::from_utf8_lossy(&buffer[..n]).trim_end().to_owned()
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Ends it; gives what it logged.
    fn stop(mut self) -> Vec<String> {
        self.signal("TERM");
        assert_eq!(self.told(), "STOPPING=1");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let stderr: ChildStderr = self.child.stderr.take().unwrap();
        BufReader::new(stderr).lines().map(Result::unwrap).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_manager_is_told_of_start_reload_and_end() {
    let dir = dir();
    let service = Service::start(dir.path(), &[]);
    assert_eq!(service.told(), "READY=1\nSTATUS=gw forwards between 0 links");
    service.signal("HUP");
    let reloading = service.told();
    let (first, time) = reloading.split_once('\n').unwrap();
    let time: u64 = time.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!(first == "RELOADING=1" && time > 0, "{reloading}");
    assert!(service.told().starts_with("READY=1\nSTATUS="));
    // Whoever asks for it.
    let reload = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
        command.arg("reload").env("SEKISHO_CONTROL", dir.path().join("gw.sock"));
        command.output().unwrap().status.code()
    };
    assert_eq!(reload(), Some(0));
    assert!(service.told().starts_with("RELOADING=1\n"));
    assert!(service.told().starts_with("READY=1\n"));
    // One that can't be is over, too.
    std::fs::write(dir.path().join("gw.toml"), "nonsense").unwrap();
    service.signal("HUP");
    assert!(service.told().starts_with("RELOADING=1\n"));
    assert!(service.told().starts_with("READY=1\n"));
    assert_eq!(reload(), Some(1));
    assert!(service.told().starts_with("RELOADING=1\n"));
    assert!(service.told().starts_with("READY=1\n"));
    // Nobody looks at a terminal: the log is for programs.
    let log: Vec<Value> = service.stop().iter().map(|l| serde_json::from_str(l).expect(l)).collect();
    let said = |level: &str, text: &str| {
        let of = |l: &Value| l["level"] == level && l["message"].as_str().unwrap().contains(text);
        assert!(log.iter().any(of), "{log:?}");
    };
    said("INFO", "the configuration was read again");
    said("ERROR", "the configuration stays as it was");
    assert!(log.iter().all(|l| l["timestamp"].is_string() && l["target"].is_string()));
}

#[test]
fn the_watchdog_hears_of_the_main_thread_often_enough() {
    let dir = dir();
    // Before it is started: what it says while this thread waits for a CPU comes all at once.
    let begin = Instant::now();
    let service = Service::start(dir.path(), &[("WATCHDOG_USEC", "1000000")]);
    assert!(service.told().starts_with("READY=1"));
    for _ in 0..4 {
        assert_eq!(service.any(), "WATCHDOG=1");
    }
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(1_000), "{took:?}");
    drop(service.stop());
}

#[test]
fn the_log_is_as_it_is_asked_for() {
    let dir = dir();
    let service = Service::start(dir.path(), &[("SEKISHO_LOG_FORMAT", "human")]);
    assert!(service.told().starts_with("READY=1"));
    service.signal("HUP");
    assert!(service.told().starts_with("RELOADING=1"));
    assert!(service.told().starts_with("READY=1"));
    let log = service.stop();
    assert!(log.iter().any(|l| l.trim_start().starts_with("INFO SIGHUP: ")), "{log:?}");

    let refused = |variable: &str, word: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
        let out =
            command.current_dir(dir.path()).args(["run", "gw.toml"]).env(variable, word).output().unwrap();
        assert_eq!(out.status.code(), Some(1));
        String::from_utf8(out.stderr).unwrap()
    };
    let format = refused("SEKISHO_LOG_FORMAT", "xml");
    assert_eq!(format, "sekisho: SEKISHO_LOG_FORMAT is 'xml': it may be human, json or journald\n");
    let words = refused("SEKISHO_LOG", "verbose");
    assert!(words.starts_with("sekisho: SEKISHO_LOG: 'verbose' chooses nothing: "), "{words}");
}

#[test]
fn the_unit_in_the_documents_is_good() {
    let unit = include_str!("../../docs/systemd/sekisho@.service");
    for line in unit.lines().filter(|l| !l.is_empty() && !l.starts_with(['#', '['])) {
        assert!(line.contains('='), "{line}");
    }
    // @system-service has neither: without the second the router could not make filters of its own.
    let calls = unit.lines().find_map(|l| l.strip_prefix("SystemCallFilter=")).unwrap();
    assert!(["bpf", "seccomp"].iter().all(|call| calls.split(' ').any(|word| word == *call)), "{calls}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sekisho@gw.service");
    std::fs::write(&file, unit.replace("/usr/bin/sekisho", env!("CARGO_BIN_EXE_sekisho"))).unwrap();
    let Ok(out) = Command::new("systemd-analyze").arg("verify").arg(&file).output() else {
        println!("skipped: there is no systemd-analyze");
        return;
    };
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    // systemd before 253 does not know it; other units of this machine are not ours, and make it fail all the same.
    let ours = said.lines().filter(|l| l.contains("sekisho@gw") && !l.contains("notify-reload"));
    assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new());
}
