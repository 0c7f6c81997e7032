//! `sekisho completions`: what a shell needs to know to complete the words of this program.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::{Failure, Outcome, Run, Sekisho};

/// Print the completions for a shell.
///
/// They are made of the same definitions as the parser. Put them where the shell looks for them, in a directory that may have
/// to be made first (`mkdir -p`):
///
/// bash: `sekisho completions bash > ~/.local/share/bash-completion/completions/sekisho`
///
/// zsh: `sekisho completions zsh > ~/.zfunc/_sekisho`, with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
///
/// fish: `sekisho completions fish > ~/.config/fish/completions/sekisho.fish`
///
/// elvish: `sekisho completions elvish > ~/.config/elvish/lib/sekisho.elv`, with `use sekisho` in ~/.config/elvish/rc.elv
///
/// powershell: `sekisho completions powershell >> $PROFILE`
///
/// The words of ip, iptables and conntrack are theirs, and are not completed.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Run for Completions {
    fn run(self) -> Outcome {
        let mut script = Vec::new();
        generate(self.shell, &mut Sekisho::command(), "sekisho", &mut script);
        match io::stdout().write_all(&script) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure(format!("can't write the completions: {e}")))
            }
            _ => Ok(ExitCode::SUCCESS),
        }
    }
}
