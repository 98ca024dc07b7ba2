//! A new password from the command line: read from standard input, or made up.

use std::io;

use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};

use crate::auth::{NoRandomness, Password};

use super::Error;
use super::output::say;

/// Where a new password comes from. Never from the command line, which
/// everyone on the machine can see.
#[derive(clap::Args)]
pub(super) struct PasswordSource {
    /// Reads the password from the first line of standard input; otherwise one is made up and shown once.
    #[arg(long)]
    password_stdin: bool,
}

/// A new password, and whether its user has yet to learn it.
pub(super) struct Chosen {
    password: Password,
    made_up: Option<SecretString>,
}

impl PasswordSource {
    pub(super) fn choose(&self) -> Result<Chosen, Error> {
        if self.password_stdin {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map_err(Error::Input)?;
            let text = line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
            return Ok(Chosen { password: Password::try_from(text)?, made_up: None });
        }
        let text = made_up()?;
        Ok(Chosen { password: Password::try_from(text.expose_secret())?, made_up: Some(text) })
    }
}

impl Chosen {
    pub(super) fn password(&self) -> &Password {
        &self.password
    }

    /// Shows a password that was made up, which is kept nowhere.
    pub(super) fn tell(&self) -> Result<(), Error> {
        match &self.made_up {
            Some(text) => say(&format!("password: {}", text.expose_secret())),
            None => Ok(()),
        }
    }
}

/// A password nobody guesses, without characters that need quoting.
fn made_up() -> Result<SecretString, Error> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}
