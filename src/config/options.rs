//! From what was set to what each room goes by.

use crate::auth;
use crate::layers::OriginOptions;
use crate::metadata;
use crate::server;
use crate::services::PushOptions;
use crate::store;

use super::configuration::{Config, PublicUrl};

impl Config {
    /// Everything that serving goes by.
    pub fn server_options(&self, render_metrics: fn() -> String) -> server::Options {
        server::Options {
            host: self.host,
            port: self.port,
            root: self.root.clone(),
            database: self.metadata_options(),
            store: store::Options::default(),
            auth: self.auth_options(),
            origin: OriginOptions {
                public_url: self.public_url.as_ref().map(|url| url.to_string().into()),
                trusted_proxies: self.trusted_proxies.clone(),
            },
            path_prefix: self.public_url.as_ref().map(PublicUrl::prefix).unwrap_or_default().to_owned(),
            limits: self.limits.clone(),
            push: PushOptions { visibility: self.default_visibility },
            manifests: self.manifests,
            drain: self.drain,
            session_lifetime: self.upload_expiry,
            render_metrics,
        }
    }

    /// Where the metadata is.
    pub fn metadata_options(&self) -> metadata::Options {
        metadata::Options::new(self.database.url())
    }

    fn auth_options(&self) -> auth::Options {
        auth::Options {
            jwt_secret: self.jwt_secret.clone(),
            jwt_previous_secret: self.jwt_previous_secret.clone(),
            jwt_lifetime: self.jwt_lifetime,
            pepper: self.password_salt.clone(),
            registration: self.registration,
            claim: self.namespace_claim,
            ..auth::Options::default()
        }
    }
}
