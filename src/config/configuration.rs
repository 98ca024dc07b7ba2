//! The configuration as it holds, in types that were checked.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

use crate::auth::{Claim, Password, Registration};
use crate::domain::{Username, Visibility};
use crate::layers::LimitsOptions;
use crate::services::ManifestsOptions;
use crate::telemetry::{Filter, LogFormat};

/// Everything that was set, checked.
///
/// Its `Debug` shows no secret.
#[derive(Debug)]
pub struct Config {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 takes any free one.
    pub port: u16,
    /// Directory of the blobs.
    pub root: PathBuf,
    pub database: Database,
    /// Where clients reach the registry; only where it was set (R-LOC-08).
    pub public_url: Option<PublicUrl>,
    /// The pepper of the password hashes.
    pub password_salt: Option<SecretString>,
    /// Signs tokens; where absent, one is generated and kept in the database.
    pub jwt_secret: Option<SecretString>,
    /// The secret before, whose tokens are still good.
    pub jwt_previous_secret: Option<SecretString>,
    pub jwt_lifetime: Duration,
    /// Created at start where there is no admin.
    pub initial_admin: Option<InitialAdmin>,
    pub registration: Registration,
    pub namespace_claim: Claim,
    /// Visibility of new repositories.
    pub default_visibility: Visibility,
    /// What becomes of manifests whose references are missing (R-MPT-09).
    pub manifests: ManifestsOptions,
    /// Peers whose forwarded headers count (R-LOC-08).
    pub trusted_proxies: Vec<IpNet>,
    pub limits: LimitsOptions,
    /// How long requests in flight may take to finish at the end.
    pub drain: Duration,
    /// How long an upload session lives after its last byte (R-UPL-62).
    pub upload_expiry: Duration,
    pub log_filter: Filter,
    pub log_format: LogFormat,
}

/// The database that was named. Its `Display` shows no secret.
#[derive(Debug, Clone)]
pub enum Database {
    Sqlite {
        url: String,
        /// Its file, whose directory must exist.
        path: PathBuf,
    },
    Postgres {
        /// It holds a password, mostly.
        url: SecretString,
        /// Without user, password and query.
        shown: Box<str>,
    },
}

impl Database {
    /// The URL as it was written.
    pub fn url(&self) -> &str {
        match self {
            Self::Sqlite { url, .. } => url,
            Self::Postgres { url, .. } => url.expose_secret(),
        }
    }

    /// SQLite in that file.
    pub(super) fn sqlite(path: &Path) -> Self {
        Self::Sqlite { url: format!("sqlite:{}", path.display()), path: path.to_owned() }
    }

    /// The directory that must exist, which a database elsewhere has not.
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Sqlite { path, .. } => {
                let parent = path.parent()?;
                Some(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
            }
            Self::Postgres { .. } => None,
        }
    }
}

impl fmt::Display for Database {
    /// Without the password, and without whatever else may hide in a query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path, .. } => write!(f, "sqlite:{}", path.display()),
            Self::Postgres { shown, .. } => f.write_str(shown),
        }
    }
}

/// Where clients reach the registry: `https://example.com/registry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    scheme: Scheme,
    authority: Authority,
    prefix: Box<str>,
}

impl PublicUrl {
    /// Of its parts, checked by whoever read them.
    pub(super) fn new(scheme: Scheme, authority: Authority, prefix: &str) -> Self {
        Self { scheme, authority, prefix: prefix.into() }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Host, and port where one was written.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The path below which the registry is mounted: empty, or starting with
    /// `/` and ending without.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}

/// The admin that a first start creates.
#[derive(Debug)]
pub struct InitialAdmin {
    pub username: Username,
    pub password: Password,
}
