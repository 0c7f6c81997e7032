//! `sekisho run`: the router, in the foreground.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use super::{Failure, Outcome, Run as Verb, complain, log, say};
use crate::config;
use crate::control::Server;
use crate::run::{self, Signals};

/// Be the router that a configuration file describes.
///
/// Opens the links, takes them over from the kernel, and forwards, in the foreground, until SIGTERM or
/// SIGINT; then it ends within two seconds and gives back everything it took from the host. The control
/// socket accepts once the router forwards: from then on `sekisho stats` and `sekisho ip` have
/// answers, and systemd, if it started the router, is told that it is ready.
///
/// What happens to links is logged to stderr, and so are the lines of LOG rules; `SEKISHO_LOG=debug` says more,
/// `SEKISHO_LOG=info,rules=off` leaves the rules' lines out. A log that is read too slowly loses lines, and says so.
///
/// Links need CAP_NET_ADMIN and CAP_NET_RAW in their network namespace: run it as root, or in a
/// namespace of your own (`unshare -Urn`).
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
        let _last_words = log_to_stderr()?;
        Server::look(&path, &config.name)?;
        // Before the threads start, so that none of them is killed by a signal that comes now.
        let mut signals = Signals::catch()?;
        let running = run::start(&config)?;
        let mut server = Server::bind(&path, &config.name)?.counted_in(running.census());
        say(format_args!("sekisho: {} forwards; control socket {}", config.name, path.display()))?;
        run::tell_systemd("READY=1");
        let ended = run::serve(&running, &mut server, &mut signals, &mut |verb, _| running.answer(verb));
        run::tell_systemd("STOPPING=1");
        drop(server);
        let stopped = running.stop();
        ended?;
        stopped?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What the router has to say while it runs: warnings, what links do, and the lines of LOG rules. `SEKISHO_LOG` chooses,
/// in the words of tracing's filters (`SEKISHO_LOG=debug`, `SEKISHO_LOG=info,rules=off`).
fn log_to_stderr() -> std::io::Result<log::LastWords> {
    let filter = EnvFilter::builder()
        .with_env_var("SEKISHO_LOG")
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let (log, last_words) = log::start(std::io::stderr())?;
    // A program that links the library may have set another already; that one stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .without_time()
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false)
        .with_writer(log)
        .try_init();
    Ok(last_words)
}
