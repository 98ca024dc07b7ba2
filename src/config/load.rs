use std::time::Duration;

use secrecy::ExposeSecret;

use super::configuration::{Config, InitialAdmin, Limits, PublicUrl};
use super::directories::{Place, Places};
use super::problems::{Problem, Problems};
use super::settings::{self, Otherwise, Setting};
use super::sources::{Origin, Sources, subject};
use super::values::{self, Invalid};

/// A configuration that can be worked with, and what is odd about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// Sentences for the log.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads every setting, then sees to the directories.
    ///
    /// # Errors
    /// All that is wrong, not only the first of it.
    pub fn load(sources: &Sources, place: Place<'_>) -> Result<Loaded, Problems> {
        let mut reader = Reader { sources, problems: Vec::new(), warnings: Vec::new() };
        let config = reader.config(place);
        let Reader { problems, warnings, .. } = reader;
        match config {
            Some(config) if problems.is_empty() => Ok(Loaded { config, warnings }),
            _ => Err(Problems(problems)),
        }
    }
}

struct Reader<'a> {
    sources: &'a Sources,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Reader<'_> {
    /// Every value is read before any is missed, so that all problems are seen.
    fn config(&mut self, place: Place<'_>) -> Option<Config> {
        self.warn_of_unknown();
        self.required(&settings::STORAGE, values::storage);
        let host = self.required(&settings::HOST, values::host);
        let port = self.required(&settings::PORT, values::port);
        let public_url = self.public_url();
        let places = self.places(place);
        let password_salt = self.optional(&settings::PASSWORD_SALT, values::password_salt);
        let jwt_secret = self.jwt_secret(&settings::JWT_SECRET);
        let jwt_previous_secret = self.jwt_secret(&settings::JWT_PREVIOUS_SECRET);
        let jwt_lifetime = self.number(&settings::JWT_LIFETIME, 60, 31_536_000, "seconds");
        let initial_admin = self.initial_admin();
        let registration = self.required(&settings::REGISTRATION, values::registration);
        let namespace_claim = self.required(&settings::NAMESPACE_CLAIM, values::namespace_claim);
        let default_visibility = self.required(&settings::DEFAULT_VISIBILITY, values::word);
        let sparse_manifests = self.required(&settings::SPARSE_MANIFESTS, values::sparse_manifests);
        let trusted_proxies = self.optional(&settings::TRUSTED_PROXIES, values::networks).unwrap_or_default();
        let limits = self.limits();
        let log_filter = self.required(&settings::LOG, values::log_filter);
        let log_format = self.required(&settings::LOG_FORMAT, values::log_format);
        let places = places?;
        Some(Config {
            host: host?,
            port: port?,
            root: places.root.into(),
            database: places.database,
            public_url,
            password_salt,
            jwt_secret,
            jwt_previous_secret,
            jwt_lifetime: Duration::from_secs(jwt_lifetime?),
            initial_admin,
            registration: registration?,
            namespace_claim: namespace_claim?,
            default_visibility: default_visibility?,
            sparse_manifests: sparse_manifests?,
            trusted_proxies,
            limits: limits?,
            log_filter: log_filter?,
            log_format: log_format?,
        })
    }

    /// The value and who gave it; `None` where it is absent or a problem.
    fn read<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<(T, Origin)> {
        let (text, origin) = match self.sources.find(setting) {
            Ok(found) => found?,
            Err(problem) => {
                self.problems.push(problem);
                return None;
            }
        };
        match parse(text) {
            Ok(value) => Some((value, origin)),
            Err(Invalid { what, fix }) => {
                self.problems.push(Problem { subject: subject(setting, origin), what, fix });
                None
            }
        }
    }

    fn required<T>(&mut self, setting: &'static Setting, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Option<T> {
        debug_assert!(matches!(setting.otherwise, Otherwise::Value(_)), "{} has no default", setting.variable);
        self.read(setting, parse).map(|(value, _)| value)
    }

    fn optional<T>(&mut self, setting: &'static Setting, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Option<T> {
        self.read(setting, parse).map(|(value, _)| value)
    }

    fn number(&mut self, setting: &'static Setting, least: u64, most: u64, unit: &str) -> Option<u64> {
        self.required(setting, |text| values::number(text, least..=most, unit))
    }

    /// At its default it does not count (R-LOC-08).
    fn public_url(&mut self) -> Option<PublicUrl> {
        let (url, origin) = self.read(&settings::PUBLIC_URL, values::public_url)?;
        (origin != Origin::Default).then_some(url)
    }

    fn places(&mut self, place: Place<'_>) -> Option<Places> {
        let root = self.read(&settings::ROOT, values::directory);
        let database = self.read(&settings::DATABASE_URL, values::database);
        let ((root, root_origin), (database, database_origin)) = (root?, database?);
        let mut places = Places { root, root_origin, database, database_origin };
        match places.settle(place) {
            Ok(warning) => self.warnings.extend(warning),
            Err(problems) => self.problems.extend(problems),
        }
        Some(places)
    }

    fn jwt_secret(&mut self, setting: &'static Setting) -> Option<secrecy::SecretString> {
        let secret = self.optional(setting, values::jwt_secret)?;
        let length = secret.expose_secret().len();
        if length < 32 {
            self.warnings
                .push(format!("{} has {length} bytes and can be guessed; 32 random ones are enough", setting.variable));
        }
        Some(secret)
    }

    fn initial_admin(&mut self) -> Option<InitialAdmin> {
        let count = self.problems.len();
        let username = self.optional(&settings::ADMIN_USERNAME, values::word);
        let password = self.optional(&settings::ADMIN_PASSWORD, values::password);
        match (username, password) {
            (Some(username), Some(password)) => Some(InitialAdmin { username, password }),
            (None, None) => None,
            (username, _) => {
                if self.problems.len() == count {
                    let (given, missing) = match username {
                        Some(_) => (&settings::ADMIN_USERNAME, &settings::ADMIN_PASSWORD),
                        None => (&settings::ADMIN_PASSWORD, &settings::ADMIN_USERNAME),
                    };
                    self.problems.push(Problem {
                        subject: missing.variable.to_owned(),
                        what: format!("it is not set, but {} is", given.variable),
                        fix: "set both, or none".to_owned(),
                    });
                }
                None
            }
        }
    }

    fn limits(&mut self) -> Option<Limits> {
        let manifest_bytes = self.number(&settings::MAX_MANIFEST_BYTES, 4 << 20, 64 << 20, "bytes");
        let concurrent_requests = self.number(&settings::MAX_CONCURRENT_REQUESTS, 1, 1_000_000, "requests");
        let idle_timeout = self.number(&settings::IDLE_TIMEOUT, 1, 86_400, "seconds");
        let drain = self.number(&settings::DRAIN, 0, 86_400, "seconds");
        let upload_expiry = self.number(&settings::UPLOAD_EXPIRY, 24, 87_600, "hours");
        Some(Limits {
            manifest_bytes: usize::try_from(manifest_bytes?).ok()?,
            concurrent_requests: usize::try_from(concurrent_requests?).ok()?,
            idle_timeout: Duration::from_secs(idle_timeout?),
            drain: Duration::from_secs(drain?),
            upload_expiry: Duration::from_secs(upload_expiry? * 3600),
        })
    }

    fn warn_of_unknown(&mut self) {
        for name in self.sources.unknown() {
            self.warnings.push(format!("{name} is no setting of this version and does nothing"));
        }
    }
}
