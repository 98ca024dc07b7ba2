//! The command line: one file per subcommand, and serving where there is none.
//!
//! Everything is read and judged before a runtime exists. What goes wrong is a
//! sentence on standard error: exit code 1 for a failure, 2 for a configuration
//! or a command line that makes no sense.

mod audit;
mod config;
mod database;
mod namespaces;
mod output;
mod password;
mod repositories;
mod routes;
mod serve;
mod store;
mod tokens;
mod users;
mod verify;

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;
use tracing_subscriber::util::TryInitError;

use crate::auth::{HashError, NoRandomness, PasswordError, RobotNameError};
use crate::config::settings;
use crate::config::{Flags, Problems};
use crate::domain::{Digest, Grant, Namespace, RepositoryName, TokenNameError, Username};
use crate::failpoint::FailpointError;
use crate::metadata;
use crate::metadata::{ClaimError, CreateTokenError, CreateUserError};
use crate::server;

#[derive(Parser)]
#[command(name = "distribution", version, about, after_help = settings::help_of_variables())]
#[command(long_about = "An OCI registry. Without a subcommand it serves.")]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes and changes users, beside or without a running server.
    #[command(subcommand)]
    User(users::Command),
    /// Says whose namespaces are, and who may do what in them.
    #[command(subcommand)]
    Namespace(namespaces::Command),
    /// Lists repositories, sets who may pull from them, and deletes them.
    #[command(subcommand)]
    Repository(repositories::Command),
    /// Makes, lists and revokes the tokens of people and machines.
    #[command(subcommand)]
    Token(tokens::Command),
    /// Reads the audit log.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Looks after the blob store.
    #[command(subcommand)]
    Store(store::Command),
    /// Looks at the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Lists the endpoints of the API.
    Routes(routes::Arguments),
}

/// Why what was asked for was not done.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error(transparent)]
    Failpoints(#[from] FailpointError),
    #[error("the log cannot be set up")]
    Log(#[from] TryInitError),
    #[error("the metrics cannot be set up")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    #[error("the runtime cannot start")]
    Runtime(#[source] io::Error),
    #[error("cannot write")]
    Output(#[from] io::Error),
    #[error("cannot read the password from standard input")]
    Input(#[source] io::Error),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error(transparent)]
    Server(#[from] server::Error),
    #[error(
        "there is no database at {}; a registry makes it at its first start, or `distribution user create` does. Is \
         this the directory it is started in, and the configuration it is started with?",
        .0.display()
    )]
    NoDatabase(PathBuf),
    #[error(transparent)]
    Open(#[from] metadata::OpenError),
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    CreateUser(#[from] CreateUserError),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error("{digest} was not looked at, nor what comes after it: may this user read all of the registry's directory?")]
    Unverified { digest: Digest, source: crate::store::Error },
    #[error("there is no user `{0}`")]
    NoUser(Username),
    #[error("`{0}` is nobody's namespace")]
    NoNamespace(Namespace),
    #[error("`{user}` is no member of `{namespace}`")]
    NoMember { namespace: Namespace, user: Username },
    #[error("`{namespace}` is `{user}`'s: hand it over first, by `distribution namespace transfer`")]
    IsOwner { namespace: Namespace, user: Username },
    #[error("there is no repository `{0}`")]
    NoRepository(RepositoryName),
    #[error(transparent)]
    CreateToken(#[from] CreateTokenError),
    #[error(transparent)]
    RobotName(#[from] RobotNameError),
    #[error("`{grant}` reaches outside the namespace {namespace}, which is as far as its robots do")]
    RobotScope { grant: Grant, namespace: Namespace },
    #[error(transparent)]
    TokenName(#[from] TokenNameError),
    #[error("damaged blobs: {0}; a push of the same content heals each")]
    Damaged(u64),
    #[error("there is no token {0}")]
    NoToken(i64),
}

impl Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(2),
            // Whoever read our output has seen enough of it.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    /// The whole story: what went wrong, and why.
    fn story(&self) -> String {
        let mut story = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !story.contains(&text) {
                story.push_str(": ");
                story.push_str(&text);
            }
            cause = error.source();
        }
        story
    }
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    let Cli { flags, command } = Cli::parse();
    let done = match command {
        None => serve::run(flags),
        Some(Command::User(command)) => users::run(flags, command),
        Some(Command::Namespace(command)) => namespaces::run(flags, command),
        Some(Command::Repository(command)) => repositories::run(flags, command),
        Some(Command::Token(command)) => tokens::run(flags, command),
        Some(Command::Audit(command)) => audit::run(flags, command),
        Some(Command::Store(command)) => store::run(flags, &command),
        Some(Command::Config(command)) => config::run(flags, &command),
        Some(Command::Routes(arguments)) => routes::run(&arguments),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    let code = error.exit_code();
    if code != ExitCode::SUCCESS {
        eprintln!("distribution: {}", error.story());
    }
    code
}

fn runtime() -> Result<Runtime, Error> {
    Runtime::new().map_err(Error::Runtime)
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
