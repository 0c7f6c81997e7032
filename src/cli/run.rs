//! `sekisho run`: the router, in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Failure, Outcome, Run as Verb, complain, log, say};
use crate::config::{self, Config};
use crate::control::Server;
use crate::control::server::Access;
use crate::run::{self, Signals, SystemCalls, systemd};

/// Be the router that a configuration file describes.
///
/// Opens the links, takes them over from the kernel, and forwards, in the foreground, until SIGTERM or
/// SIGINT; then it ends within two seconds and gives back everything it took from the host. The control
/// socket accepts once the router forwards: from then on `sekisho stats` and `sekisho ip` have
/// answers, and systemd, if it started the router, is told that it is ready.
///
/// What happens to links is logged to stderr, and so are the lines of LOG rules; `SEKISHO_LOG=debug` says more,
/// `SEKISHO_LOG=rules=off` leaves the rules' lines out. On a terminal the log is text, in the journal of systemd
/// entries with their fields, anywhere else a JSON object on each line; `SEKISHO_LOG_FORMAT` may be `human`, `json` or
/// `journald`. A log that is read too slowly loses lines, and says so.
///
/// Links need CAP_NET_ADMIN and CAP_NET_RAW in their network namespace: run it as root, or in a
/// namespace of your own (`unshare -Urn`). Once everything is open the process keeps these two at most, becomes
/// the `user` of its file, and makes no system calls that a router does not need: docs/security.md says more.
/// `SEKISHO_SECCOMP=log` has the kernel log such calls instead, `SEKISHO_SECCOMP=off` allows them.
///
/// Exit code 0: it was asked to end. Exit code 1: something in the file, or a device, is not as it
/// should be; that is said on stderr at once, and nothing is left behind.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The configuration file: see docs/config.md
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Verb for Run {
    fn run(self) -> Outcome {
        let config = match config::load(&self.file) {
            Ok(config) => config,
            Err(problems) => {
                for problem in problems.iter() {
                    complain(&problem.to_string());
                }
                return Ok(ExitCode::FAILURE);
            }
        };
        for warning in &config.warnings {
            complain(&format!("warning: {warning}"));
        }
        let path = config.control_path().map_err(Failure)?;
        let calls = SystemCalls::from_environment()?;
        let mut log = log::to_stderr()?;
        Server::look(&path, &config.name)?;
        // Before the threads start, so that none of them is killed by a signal that comes now.
        let mut signals = Signals::catch()?;
        let mut reserved = None;
        let running = run::start_after(&config, || {
            reserved = Some(Server::reserve(&path, &config.name, access(&config))?);
            run::seal(config.user.as_ref(), calls)?;
            Ok(log.begin()?)
        })?;
        let Some(reserved) = reserved else { return Err(Failure("the control socket was not bound".into())) };
        let mut server = reserved.listen()?.counted_in(running.census());
        say(format_args!("sekisho: {} forwards; control socket {}", config.name, path.display()))?;
        systemd::ready(&running.status());
        let ended = run::serve(&running, &mut server, &mut signals, &mut |verb, _| running.answer(verb));
        systemd::stopping();
        drop(server);
        let stopped = running.stop();
        ended?;
        stopped?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Who may use the control socket.
fn access(config: &Config) -> Access {
    Access {
        user: config.user.as_ref().map(|user| user.account.id),
        group: config.group.as_ref().map(|group| group.id),
    }
}
