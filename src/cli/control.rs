//! Which running router a verb is about.

use std::path::PathBuf;

use crate::control::client::{Client, ClientError};

/// The option of every verb that talks to a running router.
#[derive(Debug, clap::Args)]
pub(super) struct Control {
    /// The router's control socket; else $SEKISHO_CONTROL, else that of the only router running
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

impl Control {
    /// Where the option isn't given, `among` counts: what the verb has found of it among words that clap leaves alone.
    pub(super) fn or(self, among: Option<PathBuf>) -> Self {
        Control { control: self.control.or(among) }
    }

    /// Connects to the router.
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        Client::find(self.control.as_deref())
    }
}
