//! `distribution user`: who there is, and what they are.

use clap::Subcommand;

use crate::config::Flags;
use crate::domain::Username;
use crate::metadata::{Metadata, NewUser, Origin, UserRecord};

use super::Error;
use super::database::{Session, all, with_any, with_existing};
use super::output::{Format, Table, moment, say, warn};
use super::password::PasswordSource;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Makes a user, and the namespace of that name theirs.
    Create {
        name: Username,
        /// Makes them an admin.
        #[arg(long)]
        admin: bool,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Lists the users.
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Sets a new password and ends every token that rests on the old one.
    ResetPassword {
        name: Username,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Locks a user out, tokens and all.
    Disable { name: Username },
    /// Lets a disabled user in again.
    Enable { name: Username },
    /// Makes a user an admin.
    Promote { name: Username },
    /// Makes an admin a user like any other.
    Demote { name: Username },
    /// Deletes a user and their tokens; their namespaces stay, and are the admins' to give away.
    Delete { name: Username },
}

pub(super) fn run(flags: Flags, command: Command) -> Result<(), Error> {
    match command {
        // The first user may come before the first start.
        Command::Create { name, admin, password } => {
            with_any(flags, async |session| create(session, &name, admin, &password).await)
        }
        Command::List { format } => with_existing(flags, async |session| list(&session.metadata, &format).await),
        Command::ResetPassword { name, password } => {
            with_existing(flags, async |session| reset_password(session, &name, &password).await)
        }
        Command::Disable { name } => {
            with_existing(flags, async |session| change(session, &name, Change::Disable).await)
        }
        Command::Enable { name } => with_existing(flags, async |session| change(session, &name, Change::Enable).await),
        Command::Promote { name } => {
            with_existing(flags, async |session| change(session, &name, Change::Promote).await)
        }
        Command::Demote { name } => with_existing(flags, async |session| change(session, &name, Change::Demote).await),
        Command::Delete { name } => with_existing(flags, async |session| change(session, &name, Change::Delete).await),
    }
}

/// What can happen to a user.
#[derive(Clone, Copy)]
enum Change {
    Disable,
    Enable,
    Promote,
    Demote,
    Delete,
}

/// Does it, and warns of a registry that nobody rules.
async fn change(session: &Session, name: &Username, change: Change) -> Result<(), Error> {
    let user = session.user(name).await?.id;
    let (metadata, origin) = (&session.metadata, Origin::system());
    let (found, now) = match change {
        Change::Disable => (metadata.set_disabled(user, true, origin).await?.is_some(), "disabled"),
        Change::Enable => (metadata.set_disabled(user, false, origin).await?.is_some(), "enabled"),
        Change::Promote => (metadata.set_admin(user, true, origin).await?.is_some(), "an admin"),
        Change::Demote => (metadata.set_admin(user, false, origin).await?.is_some(), "no admin"),
        Change::Delete => (metadata.delete_user(user, origin).await?, "deleted"),
    };
    if !found {
        return Err(Error::NoUser(name.clone()));
    }
    say(&format!("{name} is {now}"))?;
    if !metadata.has_admin().await? {
        warn("no admin is left who can log in");
    }
    Ok(())
}

async fn create(session: &Session, name: &Username, admin: bool, password: &PasswordSource) -> Result<(), Error> {
    let chosen = password.choose()?;
    let hashed = session.hash(chosen.password())?;
    let user = NewUser { name: name.clone(), password_hash: hashed.hash, pepper_id: hashed.pepper_id, admin };
    session.metadata.create_user(user, Origin::system()).await?;
    say(&format!("{name} is {}", if admin { "an admin" } else { "a user" }))?;
    chosen.tell()
}

async fn reset_password(session: &Session, name: &Username, password: &PasswordSource) -> Result<(), Error> {
    let user = session.user(name).await?.id;
    let chosen = password.choose()?;
    let hashed = session.hash(chosen.password())?;
    if session.metadata.set_password(user, hashed.hash, hashed.pepper_id, Origin::system()).await?.is_none() {
        return Err(Error::NoUser(name.clone()));
    }
    say(&format!("{name} has a new password"))?;
    chosen.tell()
}

async fn list(metadata: &Metadata, format: &Format) -> Result<(), Error> {
    let mut table = Table::new(["name", "role", "state", "created"]);
    for user in
        all(async |last: Option<&UserRecord>, count| metadata.users(last.map(|last| &last.account.name), count).await)
            .await?
    {
        table.push([
            user.account.name.to_string(),
            if user.account.admin { "admin" } else { "user" }.to_owned(),
            if user.account.disabled { "disabled" } else { "active" }.to_owned(),
            moment(user.created_at),
        ]);
    }
    table.print(format)
}
