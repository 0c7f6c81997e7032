//! The control socket as others see it: programs of their own, several routers, clients that mean no good.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::live::{Router, dir};
use crate::sekisho;

const DOCS: &str = include_str!("../../docs/control.md");

/// Sends a text as a message, and gives the first answer.
fn ask(socket: &Path, text: &str) -> Value {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(&(text.len() as u32).to_be_bytes()).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    serde_json::from_slice(&answer).unwrap()
}

#[test]
fn every_verb_is_documented() {
    let dir = dir();
    let router = Router::start(dir.path());
    let answer = ask(&dir.path().join("gw.sock"), r#"{"version":1,"verb":"?"}"#);
    let known = answer["error"].as_str().unwrap();
    let (_, known) = known.split_once("expected one of ").unwrap_or_else(|| panic!("{known}"));
    let verbs: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    assert!(verbs.len() >= 11 && verbs.contains(&"hello"), "{known}");
    for verb in verbs {
        assert!(
            DOCS.contains(&format!("\n| `{verb}` |")),
            "docs/control.md says nothing of the verb `{verb}`"
        );
    }
    assert_eq!(router.terminate(), Some(0));
}

#[test]
fn the_program_in_the_documents_works() {
    let example = DOCS.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(example.lines().filter(|l| !l.is_empty()).count() <= 15, "it is short");
    if !Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success()) {
        println!("skipped: there is no python3");
        return;
    }
    let dir = dir();
    let router = Router::start(dir.path());
    let out =
        Command::new("python3").args(["-c", example, "gw.sock"]).current_dir(dir.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let lines: Vec<Value> =
        out.stdout.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
    assert_eq!(lines[0]["value"][0]["ifname"], "lo");
    assert_eq!(lines.last().unwrap()["status"], "done");
    assert_eq!(router.terminate(), Some(0));
}

#[test]
fn several_routers_are_listed_and_one_is_chosen() {
    let above = tempfile::tempdir().unwrap();
    let sockets = above.path().join("sekisho");
    let start = |name: &str| {
        let dir = tempfile::tempdir().unwrap();
        let control = sockets.join(format!("{name}.sock"));
        let text = format!("[router]\nname = \"{name}\"\nworkers = 1\ncontrol = {control:?}\n[link.lo]\n");
        fs::write(dir.path().join("gw.toml"), text).unwrap();
        // For whoever waits for it.
        std::os::unix::fs::symlink(&control, dir.path().join("gw.sock")).unwrap();
        let router = Router::start(dir.path());
        (dir, router)
    };
    let routers = [start("east"), start("west")];
    // One that does not say within a second who it is, is told as such.
    let deadline = Instant::now() + Duration::from_secs(60);
    let said = loop {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
        let out =
            command.arg("stats").env("XDG_RUNTIME_DIR", above.path()).env_remove("SEKISHO_CONTROL").output();
        let out = out.unwrap();
        assert_eq!(out.status.code(), Some(1));
        let said = String::from_utf8(out.stderr).unwrap();
        if !said.contains("does not answer") {
            break said;
        }
        assert!(Instant::now() < deadline, "{said}");
    };
    assert!(said.starts_with("sekisho: several routers are running: choose one with --control\n"), "{said}");
    for name in ["east", "west"] {
        let line =
            said.lines().find(|l| l.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains(" pid ") && line.contains(" up 0:0"), "{line}");
        assert!(line.ends_with(&format!("/sekisho/{name}.sock")), "{line}");
    }

    // By its name.
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    command.args(["config", "--control", "west"]).env("XDG_RUNTIME_DIR", above.path());
    let out = command.output().unwrap();
    assert!(String::from_utf8(out.stdout).unwrap().contains("name = \"west\""));

    // On a terminal, one is asked for.
    let number = said.lines().skip(1).position(|l| l.trim_start().starts_with("west")).unwrap() + 1;
    let line = format!("{} config", env!("CARGO_BIN_EXE_sekisho"));
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &line, "/dev/null"]).env("XDG_RUNTIME_DIR", above.path());
    terminal.env_remove("SEKISHO_CONTROL").stdin(Stdio::piped()).stdout(Stdio::piped());
    match terminal.spawn() {
        Ok(mut asked) => {
            // It stays open until all has been said: its end would be typed as well.
            let mut typed = asked.stdin.take().unwrap();
            typed.write_all(format!("9999\n{number}\n").as_bytes()).unwrap();
            let text = String::from_utf8(asked.wait_with_output().unwrap().stdout).unwrap();
            assert_eq!(text.matches("Which one? [1-").count(), 2, "{text}");
            assert!(text.contains("name = \"west\""), "{text}");
            drop(typed);
        }
        Err(e) => println!("skipped: no script(1) to make a terminal: {e}"),
    }
    for (_, router) in routers {
        assert_eq!(router.terminate(), Some(0));
    }
}

/// Kilobytes of a process in memory.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn clients_that_mean_no_good_cost_little_and_hold_up_nobody() {
    let dir = dir();
    let router = Router::start(dir.path());
    let socket = dir.path().join("gw.sock");
    let before = resident(router.id());
    // Who asks at length, is answered, and stays without another word.
    let mut clients: Vec<UnixStream> = (0..8)
        .map(|_| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            let mut text = br#"{"version":1,"verb":"hello"}"#.to_vec();
            text.resize(15 << 20, b' ');
            stream.write_all(&(text.len() as u32).to_be_bytes()).unwrap();
            stream.write_all(&text).unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
            stream
        })
        .collect();
    for n in 0..60 {
        let Ok(mut stream) = UnixStream::connect(&socket) else { continue };
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let long = vec![b' '; 4 << 20];
        // A long request without an end, a length that can't be, half a length, questions and no ear for the answers.
        let _ = match n % 4 {
            0 => stream.write_all(&(16u32 << 20).to_be_bytes()).and_then(|()| stream.write_all(&long)),
            1 => stream.write_all(&[0xff; 64]),
            2 => stream.write_all(&[0, 0]),
            _ => {
                let text = br#"{"version":1,"verb":"stats"}"#;
                let one = [&(text.len() as u32).to_be_bytes()[..], text].concat();
                stream.write_all(&one.repeat(5_000))
            }
        };
        clients.push(stream);
        if n % 10 == 0 && n > 0 {
            // One place is given back, so that an honest one finds one.
            clients.remove(0);
            let ran = sekisho(dir.path(), &["stats", "--control", "gw.sock"]);
            let full = ran.err.contains("as many control connections");
            assert!(ran.code == 0 || full, "{}", ran.err);
        }
    }
    let grown = resident(router.id()).saturating_sub(before);
    assert!(grown < 80 << 10, "{grown} KiB more");
    drop(clients);
    // All that was theirs is free again.
    let deadline = Instant::now() + Duration::from_secs(60);
    while sekisho(dir.path(), &["stats", "--control", "gw.sock"]).code != 0 {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(router.terminate(), Some(0));
}
