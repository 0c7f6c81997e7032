//! The way into namespaces: this program once more, as root of a network that is nobody else's.
//!
//! A process with several threads can't make a user namespace for itself, so the work is done by
//! a child: the same executable, started between fork and exec in network and mount namespaces of its own, in
//! a user namespace too where the caller isn't root. Nothing it makes is seen outside, and nothing is left of it.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::netns;

/// Why no namespaces could be had.
#[derive(Debug, thiserror::Error)]
pub enum IsolateError {
    /// The machine does not allow them; the sentence says what to do.
    #[error("{0}")]
    Forbidden(String),
    /// The program could not be started again.
    #[error("can't start {program} again in namespaces of its own: {source}")]
    Start {
        /// The executable.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Whether this process is the inner one, started by [`reexec`] or [`test()`].
pub fn inside() -> bool {
    env::var_os(MARK).is_some()
}

/// Runs this executable again with `args`, isolated, with the same stdin, stdout and stderr, and waits for it.
pub fn reexec<S: AsRef<std::ffi::OsStr>>(
    args: impl IntoIterator<Item = S>,
) -> Result<ExitStatus, IsolateError> {
    let (mut command, program) = this_program()?;
    command.args(args);
    command.status().map_err(|e| explain(e, program))
}

/// The same, for what takes long: each SIGINT and SIGTERM is handed to the inner process as SIGTERM, and its end waited for.
///
/// The inner process is in a group of its own, so that a terminal's Ctrl-C reaches it once and by this way only.
pub fn reexec_until_asked<S: AsRef<std::ffi::OsStr>>(
    args: impl IntoIterator<Item = S>,
) -> Result<ExitStatus, IsolateError> {
    let (mut command, program) = this_program()?;
    let failed = |program: &str| {
        let program = program.to_owned();
        move |source| IsolateError::Start { program, source }
    };
    // Before the child is there, so that none is left alone by a signal that comes now.
    let asked = Arc::new(AtomicBool::new(false));
    for number in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(number, Arc::clone(&asked)).map_err(failed(&program))?;
    }
    let mut child = command.args(args).process_group(0).spawn().map_err(|e| explain(e, program.clone()))?;
    loop {
        if let Some(status) = child.try_wait().map_err(failed(&program))? {
            return Ok(status);
        }
        if asked.swap(false, Relaxed) {
            netns::signal(&child, libc::SIGTERM).map_err(failed(&program))?;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs the body of a test in namespaces of its own.
///
/// The outer run starts the test binary again for this one test and asserts that it passed; the inner one
/// runs the body. Works under `cargo test` and under nextest. The name of the test is taken from the
/// closure's type, so the closure must stand in the test function itself.
///
/// # Panics
///
/// If the body fails or does not end within ten minutes (or `SEKISHO_TEST_SECONDS`), or if namespaces can't be had.
pub fn test<F: FnOnce()>(body: F) {
    let name = test_name(std::any::type_name::<F>());
    if inside() {
        println!("{RAN}{name}");
        return body();
    }
    if let Err(e) = run_test(&name) {
        panic!("{e}");
    }
}

/// Says that this process is the inner one. Empty values count.
const MARK: &str = "SEKISHO_LAB_INSIDE";
/// Printed by the inner run, so that a filter that matches no test can't pass for a success.
const RAN: &str = "isolated test ran: ";
/// Says in seconds how long a test may take that was asked to take longer.
const LONGEST: &str = "SEKISHO_TEST_SECONDS";
/// A test that hangs is ended after this long.
const TEST_DEADLINE: Duration = Duration::from_secs(600);

fn this_program() -> Result<(Command, String), IsolateError> {
    // The link, not its target: the file may have been replaced by a new build since.
    let program = "/proc/self/exe".to_owned();
    let mut command = Command::new(&program);
    command.env(MARK, "1");
    if let Some(name) = env::args_os().next() {
        command.arg0(name);
    }
    netns::isolating(&mut command);
    Ok((command, program))
}

/// `crate::module::tests::name::{{closure}}` is the test `module::tests::name`.
fn test_name(closure: &str) -> String {
    let path = closure.split_once("::").map_or(closure, |(_crate, path)| path);
    path.split("::{{").next().unwrap_or(path).to_owned()
}

fn run_test(name: &str) -> Result<(), String> {
    let (mut command, program) = this_program().map_err(|e| e.to_string())?;
    command.args([name, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // iptables locks a file of the whole machine otherwise: tests would wait for each other, and only root may have it.
    let lock = env::temp_dir().join(format!("sekisho-xtables-{}-{name}.lock", std::process::id()));
    command.env("XTABLES_LOCKFILE", &lock);
    let mut child = command.spawn().map_err(|e| explain(e, program).to_string())?;
    let reader = |pipe: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut text = Vec::new();
            // A broken pipe ends the text; the exit status says the rest.
            let _ = pipe.map(|mut p| p.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = reader(child.stdout.take().map(|p| Box::new(p) as _));
    let err = reader(child.stderr.take().map(|p| Box::new(p) as _));
    let longest =
        env::var(LONGEST).ok().and_then(|s| s.parse().ok()).map_or(TEST_DEADLINE, Duration::from_secs);
    let deadline = Instant::now() + longest;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.to_string(),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                // It may end by itself this very moment.
                let _ = child.kill();
                let _ = child.wait();
                break format!("no end after {} s", longest.as_secs());
            }
            Err(e) => return Err(format!("can't wait for the isolated test: {e}")),
        }
    };
    // It is there only if somebody has changed rules.
    let _ = fs::remove_file(lock);
    let text = |t: thread::JoinHandle<String>| t.join().unwrap_or_default();
    let (out, err) = (text(out), text(err));
    print!("{out}");
    eprint!("{err}");
    if status != "exit status: 0" {
        Err(format!("the isolated test '{name}' failed: {status}"))
    } else if !out.contains(&format!("{RAN}{name}\n")) {
        Err(format!("no test named '{name}' ran: isolate::test must stand in the test function itself"))
    } else {
        Ok(())
    }
}

fn explain(error: io::Error, program: String) -> IsolateError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOSPC | libc::EUSERS | libc::EINVAL | libc::ENOSYS) => {
            IsolateError::Forbidden(remedy(|path| fs::read_to_string(path).ok()))
        }
        _ => IsolateError::Start { program, source: error },
    }
}

/// The sentence for whoever may not make namespaces, from what the machine's settings say.
fn remedy(read: impl Fn(&str) -> Option<String>) -> String {
    let set_to = |path: &str, value: &str| read(path).is_some_and(|v| v.trim() == value);
    let sysctl = if set_to("/proc/sys/user/max_user_namespaces", "0") {
        "user.max_user_namespaces=10000"
    } else if set_to("/proc/sys/user/max_net_namespaces", "0") {
        "user.max_net_namespaces=10000"
    } else if set_to("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "kernel.unprivileged_userns_clone=1"
    } else if set_to("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "kernel.apparmor_restrict_unprivileged_userns=0"
    } else {
        return "this machine, or the container this runs in, lets you make no namespaces: run it as root, \
                or in a container that was started with --privileged"
            .into();
    };
    format!(
        "this machine lets you make no namespaces: run it as root, or allow them with `sudo sysctl -w {sysctl}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_run_is_root_of_an_empty_network() {
        test(|| {
            assert!(inside());
            let map = fs::read_to_string("/proc/self/uid_map").unwrap();
            let status = fs::read_to_string("/proc/self/status").unwrap();
            assert!(status.contains("Uid:\t0\t0\t0\t0"), "{map}{status}");
            let devices = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
            // Some kernels put fallback tunnels into every namespace; nothing here leads anywhere.
            assert!(!devices.contains("eth"), "{devices}");
        });
    }

    #[test]
    fn a_failing_body_fails_the_test() {
        if inside() {
            return test(|| panic!("as it should"));
        }
        let failed = std::panic::catch_unwind(|| test(|| panic!("as it should")));
        let said = failed.unwrap_err().downcast::<String>().unwrap();
        assert!(said.contains("a_failing_body_fails_the_test"), "{said}");
    }

    #[test]
    fn a_closure_says_the_name_of_its_test() {
        assert_eq!(test_name("lab::ping::v4::{{closure}}"), "ping::v4");
        assert_eq!(test_name("lab::ping::v4::{{closure}}::{{closure}}"), "ping::v4");
        assert_eq!(run_test("no::such::test").unwrap_err().split(':').next(), Some("no test named 'no"));
    }

    #[test]
    fn each_obstacle_has_its_remedy() {
        let with = |path: &'static str, value: &'static str| {
            remedy(move |p| (p == path).then(|| format!("{value}\n")))
        };
        assert!(with("/proc/sys/user/max_user_namespaces", "0").contains("user.max_user_namespaces=10000"));
        assert!(with("/proc/sys/user/max_net_namespaces", "0").contains("user.max_net_namespaces=10000"));
        assert!(with("/proc/sys/kernel/unprivileged_userns_clone", "0").contains("userns_clone=1"));
        assert!(
            with("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1")
                .contains("restrict_unprivileged_userns=0")
        );
        assert!(with("/proc/sys/user/max_user_namespaces", "96365").contains("--privileged"));
    }
}
