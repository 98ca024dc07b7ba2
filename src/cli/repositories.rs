//! `distribution repository`: what there is, who may pull from it, and its end.

use clap::Subcommand;

use crate::config::Flags;
use crate::domain::{Namespace, RepositoryName, Visibility};
use crate::metadata::{Metadata, NamespaceRecord, Origin, RepositoryId, RepositoryRecord};

use super::Error;
use super::database::{Session, all, with_existing};
use super::output::{Format, Table, maybe, moment, say};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Lists the repositories, of one namespace or of all.
    List {
        namespace: Option<Namespace>,
        #[command(flatten)]
        format: Format,
    },
    /// Sets who may pull from a repository.
    Visibility {
        repository: RepositoryName,
        /// public (anyone), internal (anyone logged in) or private (members).
        visibility: Visibility,
    },
    /// Deletes a repository with its tags and manifests.
    Delete { repository: RepositoryName },
}

pub(super) fn run(flags: Flags, command: Command) -> Result<(), Error> {
    with_existing(flags, async move |session| match command {
        Command::List { namespace, format } => list(&session.metadata, namespace, &format).await,
        Command::Visibility { repository, visibility } => {
            let id = known(session, &repository).await?;
            if !session.metadata.set_visibility(id, visibility, Origin::system()).await? {
                return Err(Error::NoRepository(repository));
            }
            say(&format!("{repository} is {visibility}"))
        }
        Command::Delete { repository } => {
            let id = known(session, &repository).await?;
            if !session.metadata.delete_repository(id, Origin::system()).await? {
                return Err(Error::NoRepository(repository));
            }
            say(&format!("{repository} is deleted"))
        }
    })
}

async fn known(session: &Session, repository: &RepositoryName) -> Result<RepositoryId, Error> {
    let found = session.metadata.repository(repository).await?;
    Ok(found.ok_or_else(|| Error::NoRepository(repository.clone()))?.id)
}

async fn list(metadata: &Metadata, only: Option<Namespace>, format: &Format) -> Result<(), Error> {
    let namespaces = match only {
        Some(namespace) => vec![namespace],
        None => {
            let all = all(async |last: Option<&NamespaceRecord>, count| {
                metadata.namespaces(None, last.map(|last| &last.name), count).await
            })
            .await?;
            all.into_iter().map(|namespace| namespace.name).collect()
        }
    };
    let mut table = Table::new(["repository", "visibility", "creator", "created"]);
    for namespace in namespaces {
        let page = async |last: Option<&RepositoryRecord>, count| {
            metadata.repositories(&namespace, last.map(|last| &last.name), count).await
        };
        for repository in all(page).await? {
            table.push([
                repository.name.to_string(),
                repository.visibility.to_string(),
                maybe(repository.creator),
                moment(repository.created_at),
            ]);
        }
    }
    table.print(format)
}
