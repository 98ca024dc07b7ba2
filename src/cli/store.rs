//! `distribution store`: the blob store and the database it belongs to.

use clap::Subcommand;

use crate::config::Flags;
use crate::server;

use super::database::load_existing;
use super::output::say;
use super::{Error, runtime, verify};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Says that this database and this blob store belong together, such as after a restore.
    ///
    /// Beside the wrong database every blob looks like garbage, so a registry does not start with a pair that is
    /// strange to it. Stop it, be sure, then run this.
    Pair,
    Verify(verify::Arguments),
}

pub(super) fn run(flags: Flags, command: &Command) -> Result<(), Error> {
    match command {
        Command::Pair => pair(flags),
        Command::Verify(arguments) => verify::run(flags, arguments),
    }
}

fn pair(flags: Flags) -> Result<(), Error> {
    let config = load_existing(flags)?;
    let database = config.metadata_options();
    let id = runtime()?.block_on(server::pair(&config.root, &database))?;
    say(&format!("{} and {} belong together as {id}", config.root.display(), config.database))
}
