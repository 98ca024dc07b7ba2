//! From the sources to a [`Config`], or to all that is wrong with them.

use std::time::Duration;

use secrecy::ExposeSecret;

use crate::layers::LimitsOptions;

use super::configuration::{Config, InitialAdmin, PublicUrl};
use super::directories;
use super::directories::{Disk, Places};
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
    pub fn load(sources: &Sources, disk: &dyn Disk) -> Result<Loaded, Problems> {
        let mut reader = Reader { sources, problems: Vec::new(), warnings: Vec::new() };
        let config = reader.config(disk);
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
    fn config(&mut self, disk: &dyn Disk) -> Option<Config> {
        self.problems.extend(self.sources.problem().cloned());
        self.warn_of_unknown();
        self.required(&settings::STORAGE, values::storage);
        let host = self.required(&settings::HOST, values::host);
        let port = self.required(&settings::PORT, values::port);
        let public_url = self.public_url();
        let places = self.places(disk);
        let password_salt = self.optional(&settings::PASSWORD_SALT, values::password_salt);
        let jwt_secret = self.jwt_secret(&settings::JWT_SECRET);
        let jwt_previous_secret = self.jwt_secret(&settings::JWT_PREVIOUS_SECRET);
        let jwt_lifetime = self.number(&settings::JWT_LIFETIME, 60, 31_536_000, "seconds");
        let initial_admin = self.initial_admin();
        let registration = self.required(&settings::REGISTRATION, values::registration);
        let namespace_claim = self.required(&settings::NAMESPACE_CLAIM, values::namespace_claim);
        let default_visibility = self.required(&settings::DEFAULT_VISIBILITY, values::word);
        let manifests = self.required(&settings::SPARSE_MANIFESTS, values::sparse_manifests);
        let trusted_proxies = self.optional(&settings::TRUSTED_PROXIES, values::networks).unwrap_or_default();
        let limits = self.limits();
        let drain = self.number(&settings::DRAIN, 0, 86_400, "seconds");
        let upload_expiry = self.number(&settings::UPLOAD_EXPIRY, 24, 87_600, "hours");
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
            manifests: manifests?,
            trusted_proxies,
            limits: limits?,
            drain: Duration::from_secs(drain?),
            upload_expiry: Duration::from_secs(upload_expiry? * 3600),
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

    fn places(&mut self, disk: &dyn Disk) -> Option<Places> {
        let root = self.read(&settings::ROOT, values::directory);
        let database = self.read(&settings::DATABASE_URL, values::database);
        match (root, database) {
            (Some((root, root_origin)), Some((database, database_origin))) => {
                let mut places = Places { root, root_origin, database, database_origin };
                match places.settle(disk) {
                    Ok(warning) => self.warnings.extend(warning),
                    Err(problems) => self.problems.extend(problems),
                }
                return Some(places);
            }
            // Whether the default root would do depends on the database.
            (Some((_, Origin::Default)), None) | (None, None) => {}
            (Some((root, origin)), None) => self.problems.extend(directories::check_root(&root, origin, disk)),
            (None, Some((database, origin))) => {
                self.problems.extend(directories::check_database(&database, origin, disk));
            }
        }
        None
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

    fn limits(&mut self) -> Option<LimitsOptions> {
        let manifest_bytes = self.number(&settings::MAX_MANIFEST_BYTES, 4 << 20, 64 << 20, "bytes");
        let concurrency = self.number(&settings::MAX_CONCURRENT_REQUESTS, 1, 1_000_000, "requests");
        let idle = self.number(&settings::IDLE_TIMEOUT, 1, 86_400, "seconds");
        Some(LimitsOptions {
            manifest_bytes: manifest_bytes?,
            concurrency: usize::try_from(concurrency?).ok()?,
            idle: Duration::from_secs(idle?),
        })
    }

    fn warn_of_unknown(&mut self) {
        for name in self.sources.unknown() {
            self.warnings.push(format!("{name} is no setting of this version and does nothing"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::io;
    use std::os::unix::ffi::OsStringExt;
    use std::path::{Path, PathBuf};

    use super::super::settings::Secrecy;
    use super::super::sources::Flags;
    use super::*;

    type Pairs<'a> = &'a [(&'static str, &'static str)];

    fn sources(flags: Pairs<'_>, environment: Pairs<'_>, file: Pairs<'_>) -> Sources {
        Sources::new(
            Flags::of(flags.iter().copied()),
            environment.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
            file.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        )
    }

    /// Everything can be used, and nothing is there.
    struct Anywhere;

    impl Disk for Anywhere {
        fn place(&self, _: &Path) -> io::Result<()> {
            Ok(())
        }

        fn has(&self, _: &Path) -> bool {
            false
        }
    }

    fn load(environment: Pairs<'_>) -> Result<Loaded, Problems> {
        Config::load(&sources(&[], environment, &[]), &Anywhere)
    }

    #[test]
    fn nothing_needs_to_be_set() {
        let Loaded { config, warnings } = load(&[]).unwrap();
        assert_eq!((config.host.to_string().as_str(), config.port), ("127.0.0.1", 8968));
        assert_eq!(config.root, Path::new("/var/lib/registry"));
        assert_eq!(config.database.url(), "sqlite:db/registry.db");
        assert_eq!(config.jwt_lifetime, Duration::from_secs(3600));
        assert_eq!(config.limits.manifest_bytes, 4 << 20);
        assert!(config.password_salt.is_none() && config.jwt_secret.is_none() && config.initial_admin.is_none());
        assert!(config.trusted_proxies.is_empty() && warnings.is_empty());
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let name = settings::PORT.variable;
        for (flags, environment, file, port) in [
            (&[(name, "1")][..], &[(name, "2")][..], &[(name, "3")][..], 1),
            (&[], &[(name, "2")], &[(name, "3")], 2),
            (&[], &[], &[(name, "3")], 3),
            (&[], &[], &[], 8968),
        ] {
            let loaded = Config::load(&sources(flags, environment, file), &Anywhere).unwrap();
            assert_eq!(loaded.config.port, port);
        }
    }

    #[test]
    fn a_bad_value_is_a_problem_even_where_a_good_one_lies_below_it() {
        let sources = sources(&[(settings::PORT.variable, "x")], &[(settings::PORT.variable, "80")], &[]);
        let Problems(problems) = Config::load(&sources, &Anywhere).unwrap_err();
        assert_eq!(problems[0].subject, "--port (OCI_REGISTRY_PORT)");
    }

    /// Every setting with a wrong value: all are reported, each by name and with
    /// a cure, and none gives a secret away.
    #[test]
    fn all_problems_come_together() {
        const WRONG: &str = "/?wrong";
        let right = [settings::ROOT.variable, settings::JWT_SECRET.variable, settings::JWT_PREVIOUS_SECRET.variable];
        let long = "x".repeat(1025).leak();
        let pairs: Vec<_> = settings::ALL
            .iter()
            .map(|setting| match setting.variable {
                name if name == settings::ADMIN_PASSWORD.variable => (name, &*long),
                name if right.contains(&name) => (name, ""),
                name => (name, WRONG),
            })
            .collect();

        let problems = load(&pairs).unwrap_err();

        for setting in settings::ALL {
            let problem = problems.0.iter().find(|problem| problem.subject == setting.variable);
            let problem = problem.unwrap_or_else(|| panic!("{} has no problem", setting.variable));
            assert!(!problem.what.is_empty() && !problem.fix.is_empty(), "{problem}");
            if setting.secrecy == Secrecy::Secret {
                assert!(!problem.to_string().contains(WRONG) && !problem.to_string().contains("xxx"), "{problem}");
            }
        }
        assert_eq!(problems.0.len(), settings::ALL.len());
        assert!(problems.to_string().starts_with("the configuration has 24 problems"), "{problems}");
    }

    #[test]
    fn the_public_url_counts_only_where_it_was_set() {
        let name = settings::PUBLIC_URL.variable;
        assert!(load(&[]).unwrap().config.public_url.is_none());
        assert!(load(&[(name, "http://127.0.0.1:8968")]).unwrap().config.public_url.is_some());
        assert!(load(&[(settings::PORT.variable, "9000")]).unwrap().config.public_url.is_none());
    }

    #[test]
    fn a_short_secret_works_with_a_warning() {
        let loaded = load(&[("JWT_SECRET", "short-secret")]).unwrap();
        assert!(loaded.config.jwt_secret.is_some());
        assert!(loaded.warnings[0].contains("JWT_SECRET has 12 bytes") && !loaded.warnings[0].contains("short-secret"));
    }

    #[test]
    fn a_misspelt_variable_is_warned_of() {
        let warnings = load(&[("OCI_REGISTRY_PORTT", "1"), ("OCI_REGISTRY_SERVICE_HOST", "1")]).unwrap().warnings;
        assert_eq!(warnings, ["OCI_REGISTRY_PORTT is no setting of this version and does nothing"]);
    }

    #[test]
    fn an_initial_admin_has_a_name_and_a_password() {
        let (name, password) = (("OCI_REGISTRY_ADMIN_USERNAME", "root"), ("OCI_REGISTRY_ADMIN_PASSWORD", "123456"));
        assert_eq!(load(&[name, password]).unwrap().config.initial_admin.unwrap().username.as_str(), "root");
        for (one, missing) in [(name, password.0), (password, name.0)] {
            assert_eq!(load(&[one]).unwrap_err().0[0].subject, missing);
        }
    }

    #[test]
    fn a_value_that_is_no_text_is_a_problem() {
        let environment = BTreeMap::from([("OCI_REGISTRY_PORT".into(), OsString::from_vec(vec![0xff]))]);
        let sources = Sources::new(Flags::default(), environment, BTreeMap::new());
        let Problems(problems) = Config::load(&sources, &Anywhere).unwrap_err();
        assert_eq!((problems.len(), problems[0].subject.as_str()), (1, "OCI_REGISTRY_PORT"));
    }

    #[test]
    fn nobody_can_print_a_secret() {
        let secret = "0123456789abcdef";
        let pairs = [
            ("PASSWORD_SALT", secret),
            ("JWT_SECRET", secret),
            ("OCI_REGISTRY_JWT_PREVIOUS_SECRET", secret),
            ("OCI_REGISTRY_ADMIN_USERNAME", "root"),
            ("OCI_REGISTRY_ADMIN_PASSWORD", secret),
            ("DATABASE_URL", "postgres://u:0123456789abcdef@db/registry?password=0123456789abcdef"),
        ];
        let sources = sources(&[], &pairs, &[]);
        let Loaded { config, warnings } = Config::load(&sources, &Anywhere).unwrap();
        let shown = format!("{config:?} {:?} {warnings:?}", config.report(&sources));
        assert!(!shown.contains(secret), "{shown}");
        assert!(shown.contains("postgres://db/registry"));
    }

    /// A machine on which only these directories, and what is below, can be used.
    #[derive(Default)]
    struct Only {
        usable: &'static [&'static str],
        file: Option<&'static str>,
        asked: RefCell<Vec<PathBuf>>,
    }

    impl Disk for Only {
        fn place(&self, directory: &Path) -> io::Result<()> {
            self.asked.borrow_mut().push(directory.to_owned());
            let fine = self.usable.iter().any(|usable| directory.starts_with(usable));
            if fine { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
        }

        fn has(&self, file: &Path) -> bool {
            self.file.is_some_and(|name| Path::new(name) == file)
        }
    }

    #[test]
    fn a_registry_without_a_place_lives_in_data() {
        let disk = Only { usable: &["./data", "db"], ..Only::default() };
        let sources = sources(&[], &[], &[]);
        let Loaded { config, warnings } = Config::load(&sources, &disk).unwrap();
        assert_eq!(config.root, Path::new("./data"));
        assert_eq!(config.database.url(), "sqlite:./data/registry.db");
        assert!(
            warnings[0].contains("./data") && warnings[0].contains("--root or OCI_REGISTRY_ROOTDIR"),
            "{warnings:?}"
        );
        assert_eq!(config.report(&sources)[3].value, "./data");
    }

    /// Someone chose a place, or a registry has lived at the default one.
    #[test]
    fn a_registry_with_a_place_is_never_moved() {
        let (root, database) =
            (("OCI_REGISTRY_ROOTDIR", "/var/lib/registry"), ("DATABASE_URL", "sqlite:db/registry.db"));
        for (pairs, file) in [(&[root][..], None), (&[database], None), (&[], Some("db/registry.db"))] {
            let disk = Only { usable: &["./data", "db"], file, ..Only::default() };
            let Problems(problems) = Config::load(&sources(&[], pairs, &[]), &disk).unwrap_err();
            assert_eq!(problems[0].subject, "OCI_REGISTRY_ROOTDIR");
            assert!(problems[0].what.contains("/var/lib/registry"), "{problems:?}");
            assert!(!disk.asked.borrow().iter().any(|path| path.starts_with("./data")));
        }
    }

    #[test]
    fn both_directories_can_be_a_problem() {
        let pairs = [("OCI_REGISTRY_ROOTDIR", "/a"), ("DATABASE_URL", "sqlite:/b/registry.db")];
        let disk = Only::default();
        let Problems(problems) = Config::load(&sources(&[], &pairs, &[]), &disk).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert_eq!(*disk.asked.borrow(), [Path::new("/a"), Path::new("/b")]);
    }
}
