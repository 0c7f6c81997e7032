//! The machine's own iptables, in a namespace of its own.

use std::io::Write as _;
use std::process::{Command, Stdio};

use sekisho::filter::Family;

/// The tools of one family, and the namespace that this process is in.
pub(crate) struct Kernel {
    tool: &'static str,
    lock: tempfile::TempDir,
}

impl Kernel {
    /// The calling process must be in a namespace of its own.
    pub(crate) fn new(family: Family) -> Self {
        let tool = match family {
            Family::V4 => "iptables-legacy",
            Family::V6 => "ip6tables-legacy",
        };
        Kernel { tool, lock: tempfile::tempdir().expect("a place for the lock") }
    }

    fn run(&self, what: &str, args: &[&str], input: &str) -> Result<String, String> {
        let mut child = Command::new(format!("{}-{what}", self.tool))
            .args(args)
            .env("XTABLES_LOCKFILE", self.lock.path().join("lock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}-{what}: {e} (.ci/setup installs it)", self.tool));
        let mut stdin = child.stdin.take().expect("it is piped");
        // A tool that refuses an early line reads no further.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let out = child.wait_with_output().expect("it ends");
        match out.status.success() {
            true => Ok(String::from_utf8(out.stdout).expect("it speaks UTF-8")),
            false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
        }
    }

    /// Runs the tool itself: its exit code, what it prints and what it says of a failure.
    pub(crate) fn command(&self, words: &[String]) -> (i32, String, String) {
        let out = Command::new(self.tool)
            .args(words)
            .env("XTABLES_LOCKFILE", self.lock.path().join("lock"))
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|e| panic!("{}: {e} (.ci/setup installs it)", self.tool));
        let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
        (out.status.code().expect("it ends"), text(out.stdout), text(out.stderr))
    }

    /// `-restore` with these options: its exit code, and what it says of a failure.
    pub(crate) fn restore(&self, options: &[&str], text: &str) -> (i32, String) {
        match self.run("restore", options, text) {
            Ok(_) => (0, String::new()),
            Err(said) if said.contains("Error occurred at line") => (2, said),
            Err(said) => (1, said),
        }
    }

    /// Loads a text, counters included.
    pub(crate) fn load(&self, text: &str) -> Result<(), String> {
        self.run("restore", &["-c"], text).map(drop)
    }

    /// A table as iptables-save prints it, less the lines that say when.
    pub(crate) fn save(&self, table: &str) -> String {
        let text = self.run("save", &["-c", "-t", table], "").expect("it can be saved");
        text.lines().filter(|l| !l.starts_with('#')).flat_map(|l| [l, "\n"]).collect()
    }
}
