//! `distribution namespace`: whose they are, and who may do what in them.

use clap::Subcommand;

use crate::config::Flags;
use crate::domain::{Namespace, Role, Username, Visibility};
use crate::metadata::{Member, MemberChange, Metadata, NamespaceRecord, Origin};

use super::Error;
use super::database::{Session, all, with_existing};
use super::output::{Format, Table, maybe, moment, say};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Lists the namespaces that are somebody's.
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Shows a namespace and its members.
    Show { namespace: Namespace },
    /// Gives a namespace that is nobody's to a user.
    Claim { namespace: Namespace, user: Username },
    /// Hands a namespace over; whoever had it stays a member, as an owner.
    Transfer { namespace: Namespace, user: Username },
    /// Sets who may pull from new repositories in a namespace.
    DefaultVisibility {
        namespace: Namespace,
        /// public, internal or private; without it, the registry's default.
        visibility: Option<Visibility>,
    },
    /// Who may do what in a namespace.
    Member {
        #[command(subcommand)]
        command: MemberCommand,
    },
}

#[derive(Subcommand)]
pub(super) enum MemberCommand {
    /// Lists the members of a namespace.
    List {
        namespace: Namespace,
        #[command(flatten)]
        format: Format,
    },
    /// Makes a user a member, or changes their role.
    Set {
        namespace: Namespace,
        user: Username,
        /// reader (pulls), writer (pushes too) or owner (deletes and manages too).
        role: Role,
    },
    /// Takes a member out of a namespace.
    Remove { namespace: Namespace, user: Username },
}

pub(super) fn run(flags: Flags, command: Command) -> Result<(), Error> {
    with_existing(flags, async move |session| match command {
        Command::List { format } => list(&session.metadata, &format).await,
        Command::Show { namespace } => show(session, &namespace).await,
        Command::Claim { namespace, user } => {
            let owner = session.user(&user).await?;
            session.metadata.claim_namespace(namespace.clone(), owner.id, Origin::system()).await?;
            say(&format!("{namespace} is {user}'s"))
        }
        Command::Transfer { namespace, user } => {
            let to = session.user(&user).await?;
            session.metadata.transfer_namespace(namespace.clone(), to.id, Origin::system()).await?;
            say(&format!("{namespace} is {user}'s"))
        }
        Command::DefaultVisibility { namespace, visibility } => {
            let name = namespace.clone();
            if !session.metadata.set_default_visibility(name, visibility, Origin::system()).await? {
                return Err(Error::NoNamespace(namespace));
            }
            let visibility = visibility.map_or("the registry's default", Visibility::as_str);
            say(&format!("new repositories in {namespace} are {visibility}"))
        }
        Command::Member { command } => member(session, command).await,
    })
}

async fn member(session: &Session, command: MemberCommand) -> Result<(), Error> {
    match command {
        MemberCommand::List { namespace, format } => {
            session.namespace(&namespace).await?;
            members(&session.metadata, &namespace).await?.print(&format)
        }
        MemberCommand::Set { namespace, user, role } => {
            let member = session.user(&user).await?;
            let change = session.metadata.put_member(namespace.clone(), member.id, role, Origin::system()).await?;
            changed(change, &namespace, &user)?;
            say(&format!("{user} is {role} of {namespace}"))
        }
        MemberCommand::Remove { namespace, user } => {
            let member = session.user(&user).await?;
            let change = session.metadata.remove_member(namespace.clone(), member.id, Origin::system()).await?;
            changed(change, &namespace, &user)?;
            say(&format!("{user} is no member of {namespace}"))
        }
    }
}

fn changed(change: MemberChange, namespace: &Namespace, user: &Username) -> Result<(), Error> {
    match change {
        MemberChange::Done => Ok(()),
        MemberChange::UnknownNamespace => Err(Error::NoNamespace(namespace.clone())),
        MemberChange::UnknownUser => Err(Error::NoMember { namespace: namespace.clone(), user: user.clone() }),
        MemberChange::IsOwner => Err(Error::IsOwner { namespace: namespace.clone(), user: user.clone() }),
    }
}

async fn list(metadata: &Metadata, format: &Format) -> Result<(), Error> {
    let mut table = Table::new(["namespace", "owner", "default visibility", "created"]);
    for namespace in all(async |last: Option<&NamespaceRecord>, count| {
        metadata.namespaces(None, last.map(|last| &last.name), count).await
    })
    .await?
    {
        table.push([
            namespace.name.to_string(),
            maybe(namespace.owner),
            maybe(namespace.default_visibility),
            moment(namespace.created_at),
        ]);
    }
    table.print(format)
}

async fn members(metadata: &Metadata, namespace: &Namespace) -> Result<Table<3>, Error> {
    let mut table = Table::new(["user", "role", "since"]);
    for member in
        all(async |last: Option<&Member>, count| metadata.members(namespace, last.map(|last| &last.name), count).await)
            .await?
    {
        table.push([member.name.to_string(), member.role.to_string(), moment(member.since)]);
    }
    Ok(table)
}

async fn show(session: &Session, name: &Namespace) -> Result<(), Error> {
    let namespace = session.namespace(name).await?;
    let owner = namespace.owner.map_or("nobody, until it is transferred".to_owned(), |owner| owner.to_string());
    let visibility = namespace.default_visibility.map_or("the registry's", Visibility::as_str);
    say(&format!("namespace: {name}\nowner: {owner}"))?;
    say(&format!("default visibility: {visibility}\ncreated: {}\n", moment(namespace.created_at)))?;
    members(&session.metadata, name).await?.print(&Format::TEXT)
}
