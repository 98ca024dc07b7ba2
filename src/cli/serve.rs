//! No subcommand: serve until told to stop.

use crate::auth::Hasher;
use crate::config::{Config, Create, Flags, InitialAdmin, Loaded, Sources};
use crate::failpoint;
use crate::metadata::{CreateUserError, Metadata, NewUser, Origin};
use crate::server;
use crate::telemetry;

use super::{Error, runtime};

/// Serves until it is told to stop.
pub(super) fn run(flags: Flags) -> Result<(), Error> {
    let sources = Sources::of_process(flags);
    let Loaded { config, warnings } = Config::load(&sources, &Create)?;
    telemetry::log_to_stdout(&config.log_filter, config.log_format)?;
    telemetry::start_metrics().map_err(Error::Metrics)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    server::keep_little();
    if let Some(places) = sources.failpoints() {
        failpoint::arm(places)?;
        tracing::warn!(places, "failpoints are armed: this server is meant to fail");
    }
    runtime()?.block_on(async {
        let stop = server::terminated().map_err(server::Error::Signals)?;
        if let Some(admin) = &config.initial_admin {
            create_admin(&config, admin).await?;
        }
        let options = config.server_options(telemetry::render_metrics);
        tokio::select! {
            served = server::run(options, stop) => Ok(served?),
            never = telemetry::keep_up_metrics() => match never {},
        }
    })
}

/// Makes the first admin. Where there is one already, the setting was left over
/// from the first start; whoever is a user of that name is not made an admin by
/// it, since anyone might have registered it.
async fn create_admin(config: &Config, admin: &InitialAdmin) -> Result<(), Error> {
    let metadata = Metadata::open(&config.metadata_options()).await?;
    let done = create_admin_in(&metadata, config, admin).await;
    metadata.close().await;
    done
}

async fn create_admin_in(metadata: &Metadata, config: &Config, admin: &InitialAdmin) -> Result<(), Error> {
    let InitialAdmin { username, password } = admin;
    if metadata.has_admin().await? {
        tracing::info!("there is an admin already, and none was created");
        return Ok(());
    }
    let hashed = Hasher::new(config.password_salt.clone())?.hash(password)?;
    let user = NewUser { name: username.clone(), password_hash: hashed.hash, pepper_id: hashed.pepper_id, admin: true };
    match metadata.create_user(user, Origin::system()).await {
        Ok(_) => tracing::info!(%username, "the first admin was created"),
        Err(error @ (CreateUserError::Taken | CreateUserError::NamespaceTaken)) => {
            tracing::warn!(%username, "no admin was created: {error}; try `distribution user promote {username}`");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
