//! Who is measured: whether it is installed, what it can be asked, and how it is started.
//!
//! Knows nothing of traffic. Every program is started in the testbed's namespaces with its files in the testbed's
//! directory, and is killed by its id when [`Running`] is dropped.

mod kernel;
mod openvswitch;
mod sekisho;
mod testpmd;
mod user_mode;
mod vpp;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Trouble;
use super::metric::{Traffic, Work};
use super::testbed::{Layout, Testbed};
use crate::lab::Spawned;

/// The name of the yardstick: the kernel with the same rules and routes.
pub const YARDSTICK: &str = "kernel";

/// One who is measured.
pub trait Rival {
    /// Its name on the command line and in the reports.
    fn name(&self) -> &'static str;

    /// What it is and what it does, in a sentence.
    fn what(&self) -> &'static str;

    /// Its version, or why it can't be had.
    fn available(&self) -> Result<String, Trouble>;

    /// Why it has no part in a work, if it has none.
    fn declines(&self, work: &Work) -> Option<&'static str>;

    /// Whose the router's devices are.
    fn layout(&self) -> Layout;

    /// How many queues the router's devices are to have.
    fn queues(&self) -> u32 {
        1
    }

    /// Whether it can hand on packets whose checksums are still to be finished. Where it can't, the hosts finish them.
    fn finishes_checksums(&self) -> bool {
        true
    }

    /// Starts it. It need not forward yet when this returns, but it has read all its configuration.
    fn start(&self, bed: &Testbed) -> Result<Running, Trouble>;
}

/// A rival that has been started; dropping it ends it.
#[derive(Debug)]
pub struct Running {
    programs: Programs,
    since: Instant,
    chose: Option<String>,
}

/// Its programs, in the order in which they were started.
#[derive(Debug)]
struct Programs(Vec<Spawned>);

impl Running {
    /// Of programs, the one that forwards last, and the moment at which the first was started.
    pub(super) fn new(programs: Vec<Spawned>, since: Instant) -> Self {
        Running { programs: Programs(programs), since, chose: None }
    }

    /// With what it chose for itself, where it was left the choice.
    pub(super) fn that_chose(self, what: String) -> Self {
        Running { chose: Some(what), ..self }
    }

    /// What it chose for itself, for the report.
    pub fn chose(&self) -> Option<&str> {
        self.chose.as_deref()
    }

    /// The process that forwards; the kernel is none.
    pub fn process(&self) -> Option<u32> {
        self.programs.0.last().map(Spawned::id)
    }

    /// When it was started.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What a program of it said last, if one has ended.
    pub fn died(&mut self) -> Option<String> {
        let dead = self.programs.0.iter_mut().find_map(|p| (!p.is_running()).then(|| p.said()))?;
        Some(match last_words(&dead) {
            "" => "it ended".into(),
            words => format!("it ended: {words}"),
        })
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        // The last was started last and stands on the others.
        while self.0.pop().is_some() {}
    }
}

/// Everyone, in the order of the reports. `program` is the executable that `sekisho run` is.
pub fn all(program: &Path) -> Vec<Box<dyn Rival>> {
    let mut all: Vec<Box<dyn Rival>> = vec![Box::new(kernel::Kernel::RULED), Box::new(kernel::Kernel::BARE)];
    all.extend(sekisho::variants(program).map(|v| Box::new(v) as _));
    all.push(Box::new(user_mode::Slirp));
    all.push(Box::new(user_mode::Pasta));
    all.push(Box::new(openvswitch::OpenVSwitch));
    all.push(Box::new(vpp::Vpp));
    all.extend(testpmd::VARIANTS.map(|v| Box::new(v) as _));
    all
}

/// Those that are measured when nobody is named: one of each kind.
pub fn by_default(name: &str) -> bool {
    !sekisho::only_by_name(name)
}

/// Where a program is, or that it isn't.
fn find(names: &[&str]) -> Result<PathBuf, Trouble> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Daemons stand where an ordinary user's PATH doesn't lead.
    let dirs =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let mut candidates = dirs.flat_map(|dir| names.iter().map(move |name| dir.join(name)));
    candidates
        .find(|p| p.is_file())
        .ok_or_else(|| Trouble(format!("not installed: there is no {}", names.join(" and no "))))
}

/// The first line of what a program says of its version.
fn version(program: &Path, args: &[&str]) -> String {
    let mut command = Command::new(program);
    let said = command.args(args).stdin(Stdio::null()).output();
    let line = said.ok().and_then(|o| {
        let text = [o.stdout, o.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
        text.lines().map(str::trim).find(|l| l.contains(|c: char| c.is_ascii_digit())).map(String::from)
    });
    line.unwrap_or_else(|| "unknown version".into())
}

/// Runs a tool in a namespace to its end; what it says when it fails is the trouble.
fn tool(bed: &Testbed, command: &mut Command) -> Result<String, Trouble> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null());
    let out = bed.router().command(command).output().map_err(|e| Trouble(format!("{name}: {e}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match out.status.success() {
        true => Ok(text(&out.stdout)),
        false => Err(Trouble(format!("{name}: {}", last_words(&text(&out.stderr))))),
    }
}

/// The last line that says something.
fn last_words(said: &str) -> &str {
    said.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or("")
}

/// Waits until something is so; `died` looks whether there is nobody left to wait for.
fn wait_until(
    what: &str,
    program: &mut Spawned,
    within: Duration,
    mut so: impl FnMut(&Spawned) -> bool,
) -> Result<(), Trouble> {
    let deadline = Instant::now() + within;
    while !so(program) {
        if !program.is_running() {
            return Err(Trouble(format!("it ended: {}", last_words(&program.said()))));
        }
        if Instant::now() > deadline {
            return Err(Trouble(format!("{what} not within {} s", within.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// How long a daemon may take to start on a busy machine.
const START: Duration = Duration::from_secs(20);

/// Whether the work is what a switch without rules and routes can be asked: packets of the usual kind, and round trips.
fn is_plain_packets(work: &Work) -> bool {
    let usual = work.setup.rules == super::ruleset::Rules::Usual && work.setup.offload;
    usual
        && matches!(
            work.traffic,
            Traffic::Packets { .. } | Traffic::Lossless { .. } | Traffic::RoundTrip { .. }
        )
}
