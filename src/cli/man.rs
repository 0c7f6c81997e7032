//! `sekisho man`: the manual pages.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Failure, Outcome, Run, manual};

/// Write the manual pages.
///
/// They are made of the same definitions as the parser: one page for each verb, and sekisho(1) for all of it.
///
/// With a directory, all pages are written to it: `sekisho man /usr/local/share/man/man1`. Without one, a single page goes to
/// stdout, that of the verb which --page names or else sekisho(1): `sekisho man --page top | man -l -`.
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// The directory for all pages; it is made if it is not there
    #[arg(value_name = "DIR", conflicts_with = "page")]
    dir: Option<PathBuf>,
    /// Print the page of this verb
    #[arg(short, long, value_name = "VERB")]
    page: Option<String>,
}

impl Run for Man {
    fn run(self) -> Outcome {
        if let Some(dir) = &self.dir {
            write_all(dir).map_err(|(path, e)| Failure(format!("{}: {e}", path.display())))?;
            return Ok(ExitCode::SUCCESS);
        }
        let name = match self.page.as_deref() {
            None | Some("sekisho") => "sekisho".to_owned(),
            Some(verb) => format!("sekisho-{}", verb.trim_start_matches("sekisho-").replace(' ', "-")),
        };
        let Some(page) = manual::pages().into_iter().find(|p| p.name == name) else {
            return Err(Failure(format!("there is no page {name}(1): `sekisho --help` lists the verbs")));
        };
        match io::stdout().write_all(&page.roff) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure(format!("can't write the page: {e}")))
            }
            _ => Ok(ExitCode::SUCCESS),
        }
    }
}

fn write_all(dir: &Path) -> Result<(), (PathBuf, io::Error)> {
    fs::create_dir_all(dir).map_err(|e| (dir.to_owned(), e))?;
    for page in manual::pages() {
        let path = dir.join(format!("{}.1", page.name));
        fs::write(&path, page.roff).map_err(|e| (path, e))?;
    }
    Ok(())
}
