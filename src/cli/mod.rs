//! The command line: one file per subcommand, and serving where there is none.
//!
//! Everything is read and judged before a runtime exists. What goes wrong is a
//! sentence on standard error: exit code 1 for a failure, 2 for a configuration
//! or a command line that makes no sense.

mod config;
mod output;
mod routes;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::settings;
use crate::config::{Flags, Problems};

#[derive(Parser)]
#[command(name = "distribution", version, about, after_help = settings::help_of_variables())]
#[command(long_about = "An OCI registry. Without a subcommand it serves.")]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Looks at the configuration.
    Config {
        #[command(subcommand)]
        command: config::Command,
    },
    /// Lists the endpoints of the API.
    Routes(routes::Arguments),
}

/// Why a subcommand did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(2),
            Self::Output(_) => ExitCode::FAILURE,
        }
    }
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    let Cli { flags, command } = Cli::parse();
    let done = match command {
        Command::Config { command } => config::run(flags, command),
        Command::Routes(arguments) => routes::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("distribution: {error}");
            error.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_shows_every_setting_with_its_variable_and_default() {
        let help = Cli::command().render_long_help().to_string();
        for setting in settings::ALL {
            assert!(help.contains(&format!("[env: {}", setting.variable)), "{}", setting.variable);
            assert!(help.contains(&format!("[default: {}]", setting.default_text())), "{}", setting.variable);
        }
    }
}
