//! What subcommands work on: the database itself, beside whatever servers have
//! it open. So they help where nobody can log in, and ask nobody for leave:
//! whoever may write to the database is its operator.

use crate::auth::{HashError, Hashed, Hasher, Password};
use crate::config::{Config, Create, Database, Disk, Flags, Loaded, Look, Sources, settings};
use crate::domain::{Namespace, Username};
use crate::metadata;
use crate::metadata::{Account, Metadata};
use crate::telemetry;
use crate::telemetry::Filter;

use super::output::warn;
use super::{Error, runtime};

/// What a subcommand works on: the configuration and the database it names,
/// beside whatever servers have it open.
pub(super) struct Session {
    pub(super) config: Config,
    pub(super) metadata: Metadata,
}

/// The configuration, where the database it names is there. One that is not
/// would be made by opening it, and an empty one answers every question wrongly.
pub(super) fn load_existing(flags: Flags) -> Result<Config, Error> {
    let config = load(flags, &Look)?;
    match &config.database {
        Database::Sqlite { path, .. } if !path.exists() => Err(Error::NoDatabase(path.clone())),
        _ => Ok(config),
    }
}

/// Works on a database that is there.
pub(super) fn with_existing(flags: Flags, deed: impl AsyncFnOnce(&Session) -> Result<(), Error>) -> Result<(), Error> {
    with(load_existing(flags)?, deed)
}

/// Works on the database, which is made where it is not there.
pub(super) fn with_any(flags: Flags, deed: impl AsyncFnOnce(&Session) -> Result<(), Error>) -> Result<(), Error> {
    with(load(flags, &Create)?, deed)
}

fn load(flags: Flags, disk: &dyn Disk) -> Result<Config, Error> {
    let sources = Sources::of_process(flags);
    let Loaded { config, warnings } = Config::load(&sources, disk)?;
    let filter = if sources.is_set(&settings::LOG) { config.log_filter.clone() } else { Filter::warnings() };
    telemetry::log_to_stderr(&filter, config.log_format)?;
    for warning in warnings {
        warn(&warning);
    }
    Ok(config)
}

fn with(config: Config, deed: impl AsyncFnOnce(&Session) -> Result<(), Error>) -> Result<(), Error> {
    runtime()?.block_on(async {
        let metadata = Metadata::open(&config.metadata_options()).await?;
        let session = Session { config, metadata };
        let done = deed(&session).await;
        session.metadata.close().await;
        done
    })
}

impl Session {
    /// The user of that name, who must be there.
    pub(super) async fn user(&self, name: &Username) -> Result<Account, Error> {
        self.metadata.account(name).await?.ok_or_else(|| Error::NoUser(name.clone()))
    }

    /// The namespace of that name, which must be somebody's.
    pub(super) async fn namespace(&self, name: &Namespace) -> Result<metadata::NamespaceRecord, Error> {
        self.metadata.namespace(name).await?.ok_or_else(|| Error::NoNamespace(name.clone()))
    }

    /// A password as the database keeps it.
    pub(super) fn hash(&self, password: &Password) -> Result<Hashed, HashError> {
        Hasher::new(self.config.password_salt.clone())?.hash(password)
    }
}

/// All of a list that comes in pages: `page` gives what follows the last one.
pub(super) async fn all<T>(
    page: impl AsyncFn(Option<&T>, usize) -> Result<Vec<T>, metadata::Error>,
) -> Result<Vec<T>, Error> {
    const PAGE: usize = 1000;
    let mut items: Vec<T> = Vec::new();
    loop {
        let next = page(items.last(), PAGE).await?;
        let full = next.len() == PAGE;
        items.extend(next);
        if !full {
            return Ok(items);
        }
    }
}
