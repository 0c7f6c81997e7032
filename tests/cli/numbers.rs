//! What the binary says for machines: metrics, completions, manual pages; and `top`, which needs a terminal.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::live::{Router, said};
use crate::sekisho;

/// Runs a tool with this on its stdin; what it says on both, if it ended well. `None`: there is no such tool here.
fn tool(name: &str, args: &[&str], input: &str) -> Option<Result<String, String>> {
    let mut command = Command::new(name);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("skipped: there is no {name} here");
        return None;
    };
    let mut stdin = child.stdin.take().expect("it has one");
    let text = input.to_owned();
    // It may say much before it has read all.
    let writes = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let out = child.wait_with_output().expect("it ends");
    let _ = writes.join();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    Some(if out.status.success() { Ok(said) } else { Err(said) })
}

fn router(dir: &Path, more: &str) -> Router {
    let control = dir.join("gw.sock");
    let text = format!("[router]\nname = \"gw\"\nworkers = 1\ncontrol = {control:?}\n{more}");
    fs::write(dir.join("gw.toml"), text).expect("it can be written to");
    Router::start(dir)
}

fn get(at: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("it answers");
    said
}

#[test]
fn metrics_are_as_promtool_wants_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    let router = router(dir, "metrics = \"127.0.0.1:0\"\n");
    let stats: Value = serde_json::from_str(&said(dir, "stats --control gw.sock -j")).expect("JSON");
    let at = stats["metrics"].as_str().expect("it says where");
    let said = get(at, "GET /metrics HTTP/1.1\r\nHost: gw\r\n\r\n");
    let (head, text) = said.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", text.len())), "{head}");
    assert!(text.contains("sekisho_info{name=\"gw\",version=\""), "{text}");
    if let Some(lint) = tool("promtool", &["check", "metrics"], text) {
        assert_eq!(lint, Ok(String::new()));
    }
    // Two routers can't have the same port: the second says so, and does not start.
    let other = dir.join("other");
    fs::create_dir(&other).expect("a directory");
    let text = format!("[router]\nname = \"b\"\ncontrol = \"b.sock\"\nmetrics = \"{at}\"\n");
    fs::write(other.join("b.toml"), text).expect("it can be written to");
    let ran = sekisho(&other, &["run", "b.toml"]);
    assert_eq!(ran.code, 1);
    let words = format!("metrics: can't listen at {at}: ");
    assert!(ran.err.lines().last().is_some_and(|l| l.contains(&words)), "{}", ran.err);
    assert_eq!(router.terminate(), Some(0));
}

#[test]
fn promtool_understands_the_dashboard() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana.json");
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("a dashboard")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|p| p["targets"].as_array().expect("targets"));
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (n, target) in targets.enumerate() {
        // What Grafana puts in itself.
        let expr = target["expr"].as_str().expect("an expression");
        let expr = expr.replace("$__rate_interval", "5m").replace("$instance", ".*");
        rules += &format!("  - record: panel:{n}\n    expr: {}\n", Value::from(expr));
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("rules.yml");
    fs::write(&file, rules).expect("it can be written to");
    if let Some(judged) = tool("promtool", &["check", "rules", file.to_str().expect("a name")], "") {
        let said = judged.unwrap_or_else(|e| panic!("{e}"));
        assert!(said.contains("SUCCESS"), "{said}");
    }
}

#[test]
fn those_who_ask_and_change_are_counted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    let router = router(dir, "");
    let control = || -> Value {
        let stats = said(dir, "stats --control gw.sock -j");
        serde_json::from_str::<Value>(&stats).expect("JSON")["control"].clone()
    };
    let before = control();
    assert_eq!((&before["clients"], &before["transactions"]), (&1.into(), &0.into()), "{before}");
    said(dir, "iptables --control gw.sock -A INPUT -p udp --dport 9 -j DROP");
    said(dir, "iptables --control gw.sock -D INPUT 1");
    let after = control();
    assert_eq!((&after["clients"], &after["transactions"]), (&1.into(), &2.into()), "{after}");
    let requests = |v: &Value| v["requests"].as_u64().expect("a number");
    assert!(requests(&after) >= requests(&before) + 3, "{before} {after}");
    assert_eq!(router.terminate(), Some(0));
}

#[test]
fn metrics_need_an_address() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for bad in ["9470", "localhost:9470", ":9470", "127.0.0.1:99999", ""] {
        fs::write(dir.path().join("a.toml"), format!("[router]\nname = \"gw\"\nmetrics = \"{bad}\"\n"))
            .expect("it can be written to");
        let ran = sekisho(dir.path(), &["check", "a.toml"]);
        assert_eq!(ran.code, 1, "{bad}");
        assert!(
            ran.err.contains("a.toml:3: [router]: metrics: '") && ran.err.contains("127.0.0.1:9470"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn shells_understand_their_completions() {
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")] {
        let script = said(Path::new("/"), &format!("completions {shell}"));
        assert!(script.contains("iptables-save") && script.contains("control"), "{shell}");
        if let Some(judged) = tool(shell, &[check], &script) {
            assert_eq!(judged, Ok(String::new()), "{shell}");
        }
    }
    for shell in ["elvish", "powershell"] {
        assert!(said(Path::new("/"), &format!("completions {shell}")).contains("sekisho"));
    }
    assert_eq!(sekisho(Path::new("/"), &["completions", "ksh"]).code, 2);
}

#[test]
fn bash_completes_verbs_and_options() {
    let script = said(Path::new("/"), "completions bash");
    let ask = |words: &str| {
        let ask = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()\n\
             _sekisho sekisho \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        tool("bash", &["-s"], &ask)
    };
    let Some(verbs) = ask("sekisho to") else { return };
    assert_eq!(verbs, Ok("top\n".to_owned()));
    assert_eq!(ask("sekisho stats --a"), Some(Ok("--all\n".to_owned())));
}

#[test]
fn manual_pages_can_be_read() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ran = sekisho(dir.path(), &["man", "man1"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    let mut pages: Vec<_> = fs::read_dir(dir.path().join("man1"))
        .expect("a directory")
        .map(|e| e.expect("an entry").path())
        .collect();
    pages.sort();
    let help = sekisho(Path::new("/"), &["--help"]).out;
    let named = |p: &Path| p.file_stem().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
    assert!(pages.iter().any(|p| named(p) == "sekisho-top"), "{pages:?}");
    for page in &pages {
        let name = named(page);
        if let Some(verb) = name.strip_prefix("sekisho-") {
            assert!(help.contains(&format!("  {verb}")), "{verb} is in no help:\n{help}");
            assert_eq!(
                sekisho(Path::new("/"), &["man", "--page", verb]).out,
                fs::read_to_string(page).expect("a page")
            );
        }
        let path = page.to_str().expect("a name");
        // groff says what it can't make sense of.
        let Some(read) = tool("man", &["--warnings=w", "-E", "UTF-8", "-l", path], "") else { continue };
        let read = read.unwrap_or_else(|e| panic!("{name}: {e}"));
        for part in ["NAME", "SYNOPSIS", "DESCRIPTION"] {
            assert!(read.lines().any(|l| l == part), "{name} has no {part}:\n{read}");
        }
        assert!(!read.contains(": warning"), "{name}:\n{read}");
    }
    let ran = sekisho(Path::new("/"), &["man", "--page", "nonsense"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("no page sekisho-nonsense(1)"), "{}", ran.err);
}

#[test]
fn top_without_a_terminal_prints_text_or_says_so() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    let router = router(dir, "");
    let ran = sekisho(dir, &["top", "--control", "gw.sock"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (1, "", 1));
    assert!(ran.err.contains("top --once") && ran.err.contains("sekisho stats"), "{}", ran.err);
    // On a busy machine the flows may not come within that time, which it says.
    let deadline = Instant::now() + Duration::from_secs(60);
    let once = loop {
        let once = said(dir, "top --once --delay 0.2 --control gw.sock");
        if !once.contains("none came") {
            break once;
        }
        assert!(Instant::now() < deadline, "{once}");
    };
    assert!(
        once.starts_with("gw  sekisho ") && once.contains("busiest flows (every packet): none"),
        "{once}"
    );
    let twice = said(dir, "top -b -n 2 -d 0.2 -f 0 --control gw.sock");
    assert_eq!(twice.matches("gw  sekisho ").count(), 2, "{twice}");
    for wrong in [&["top", "-d", "0"][..], &["top", "-d", "x"], &["top", "--once", "-b"], &["top", "-s", "y"]]
    {
        assert_eq!(sekisho(dir, wrong).code, 2, "{wrong:?}");
    }
    assert_eq!(router.terminate(), Some(0));
    let ran = sekisho(dir, &["top", "--once", "--control", "gw.sock"]);
    assert!(ran.code == 1 && ran.err.contains("no router is running"), "{}", ran.err);
}

/// What ends a top that has been seen.
enum End {
    Keys(&'static str),
    Signal(&'static str),
    Nothing,
}

/// Runs top on a terminal of 80 by 24, ends it once its screen is there, and gives its exit code and all it has written.
/// `None`: there is no script(1) here.
fn on_a_terminal(dir: &Path, options: &str, end: &End) -> Option<(Option<i32>, String)> {
    let top = env!("CARGO_BIN_EXE_sekisho");
    let line =
        format!("stty rows 24 cols 80; echo pid=$$.; exec {top} top -d 0.1 --control gw.sock {options}");
    let mut command = Command::new("script");
    command.current_dir(dir).args(["-qec", &line, "/dev/null"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).env("TERM", "xterm");
    let Ok(mut child) = command.spawn() else {
        println!("skipped: there is no script here");
        return None;
    };
    let mut stdin = child.stdin.take().expect("it has one");
    let mut stdout = child.stdout.take().expect("it has one");
    let (to, pieces) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(n @ 1..) = stdout.read(&mut piece) {
            if to.send(String::from_utf8_lossy(&piece[..n]).into_owned()).is_err() {
                return;
            }
        }
    });
    let (mut said, mut seen) = (String::new(), false);
    while let Ok(piece) = pieces.recv_timeout(Duration::from_secs(60)) {
        said += &piece;
        if said.contains("busiest") && !seen {
            seen = true;
            match end {
                End::Keys(keys) => stdin.write_all(keys.as_bytes()).expect("it reads keys"),
                End::Signal(name) => {
                    let pid =
                        said.split("pid=").nth(1).and_then(|s| s.split('.').next()).expect("its number");
                    let kill = format!("kill -{name} {pid}");
                    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
                }
                End::Nothing => {}
            }
        }
    }
    drop(stdin);
    if !said.contains("\x1b[?1049l") {
        // It would be waited for in vain.
        let _ = child.kill();
    }
    Some((child.wait().expect("it ends").code(), said))
}

#[test]
fn top_gives_the_terminal_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    let router = router(dir, "");
    for (options, end) in [
        ("", End::Keys("sp?xq")),
        ("", End::Keys("\x03")),
        ("-n 2", End::Nothing),
        ("", End::Signal("TERM")),
        ("", End::Signal("HUP")),
    ] {
        let Some((code, said)) = on_a_terminal(dir, options, &end) else { return };
        let (entered, left) = (said.find("\x1b[?1049h"), said.rfind("\x1b[?1049l"));
        assert!(entered.is_some() && left > entered, "{said:?}");
        assert_eq!(code, Some(0), "{said:?}");
    }
    assert_eq!(router.terminate(), Some(0));
}
