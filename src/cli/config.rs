//! `distribution config`: is it fit to serve with, and what holds.

use std::io::{self, Write};

use clap::Subcommand;

use crate::config::{Config, Flags, Loaded, Look, Row, Sources};

use super::Error;
use super::output::{Table, warn};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Says whether the configuration is fit to serve, and what holds; changes nothing.
    Check,
}

pub(super) fn run(flags: Flags, command: &Command) -> Result<(), Error> {
    match command {
        Command::Check => check(flags),
    }
}

fn check(flags: Flags) -> Result<(), Error> {
    let sources = Sources::of_process(flags);
    let Loaded { config, warnings } = Config::load(&sources, &Look)?;
    let mut table = Table::new(["setting", "value", "from"]);
    for Row { variable, value, origin } in config.report(&sources) {
        table.push([variable.to_owned(), value, origin.to_owned()]);
    }
    let mut out = io::stdout().lock();
    table.write_text(&mut out)?;
    out.flush()?;
    for warning in warnings {
        warn(&warning);
    }
    Ok(())
}
