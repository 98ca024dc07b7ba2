//! The table of all settings: names, defaults, help. `--help`, the reader and
//! `.env.example` follow it.

use clap::Arg;
use clap::builder::ValueParser;

/// One thing that can be set: the row of the table that `--help`, the reader
/// and `.env.example` share.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable, which is also the setting's name in problems.
    pub variable: &'static str,
    /// The flag that comes before the variable, where there is one.
    pub flag: Option<Flag>,
    /// What a value is called in `--help`.
    pub value: &'static str,
    /// What holds where nothing is set.
    pub otherwise: Otherwise,
    /// Whether a value may be shown.
    pub secrecy: Secrecy,
    /// One line for `--help`.
    pub help: &'static str,
}

/// A setting's name on the command line.
#[derive(Debug)]
pub struct Flag {
    pub long: &'static str,
    pub short: Option<char>,
}

/// What a setting is where nobody set it.
#[derive(Debug)]
pub enum Otherwise {
    /// This text, read as if it had been set.
    Value(&'static str),
    /// Nothing; what that means, in words.
    Unset(&'static str),
}

/// Whether a value may appear in help, problems and logs.
#[derive(Debug, PartialEq, Eq)]
pub enum Secrecy {
    Open,
    Secret,
}

/// Every setting there is, in the order in which people read about them.
pub const ALL: [&Setting; 24] = [
    &HOST,
    &PORT,
    &STORAGE,
    &ROOT,
    &PUBLIC_URL,
    &DATABASE_URL,
    &PASSWORD_SALT,
    &JWT_SECRET,
    &JWT_PREVIOUS_SECRET,
    &JWT_LIFETIME,
    &ADMIN_USERNAME,
    &ADMIN_PASSWORD,
    &REGISTRATION,
    &NAMESPACE_CLAIM,
    &DEFAULT_VISIBILITY,
    &SPARSE_MANIFESTS,
    &TRUSTED_PROXIES,
    &MAX_MANIFEST_BYTES,
    &MAX_CONCURRENT_REQUESTS,
    &IDLE_TIMEOUT,
    &DRAIN,
    &UPLOAD_EXPIRY,
    &LOG,
    &LOG_FORMAT,
];

pub const HOST: Setting = flagged("host", None, "OCI_REGISTRY_URL", "ADDRESS", "127.0.0.1", "Address to listen on");
pub const PORT: Setting =
    flagged("port", Some('p'), "OCI_REGISTRY_PORT", "PORT", "8968", "Port to listen on; 0 takes any free one");
pub const STORAGE: Setting = flagged(
    "storage",
    Some('s'),
    "OCI_REGISTRY_STORAGE",
    "BACKEND",
    "FILESYSTEM",
    "Where blobs are kept; FILESYSTEM is the one backend there is",
);
pub const ROOT: Setting = flagged(
    "root",
    None,
    "OCI_REGISTRY_ROOTDIR",
    "DIRECTORY",
    "/var/lib/registry",
    "Directory of the blobs; created where missing",
);
pub const PUBLIC_URL: Setting = flagged(
    "url",
    None,
    "OCI_REGISTRY_PUBLIC_URL",
    "URL",
    "http://127.0.0.1:8968",
    "Where clients reach the registry, with its path prefix if it has one; where unset, what the client dialled",
);
pub const DATABASE_URL: Setting = Setting {
    secrecy: Secrecy::Secret,
    ..flagged(
        "database-url",
        None,
        "DATABASE_URL",
        "URL",
        "sqlite:db/registry.db",
        "Database: sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME",
    )
};

pub const PASSWORD_SALT: Setting = secret(
    "PASSWORD_SALT",
    "SECRET",
    "none",
    "Mixed into every password's hash; exactly 16 characters, and not to be changed once users exist",
);
pub const JWT_SECRET: Setting = secret(
    "JWT_SECRET",
    "SECRET",
    "generated once and kept in the database",
    "Signs the tokens; at least 32 random bytes, the same on every replica",
);
pub const JWT_PREVIOUS_SECRET: Setting = secret(
    "OCI_REGISTRY_JWT_PREVIOUS_SECRET",
    "SECRET",
    "none",
    "The JWT_SECRET before this one, whose tokens go on working until they expire",
);
pub const JWT_LIFETIME: Setting =
    variable("JWT_LIFETIME_SECONDS", "SECONDS", "3600", "How long a token is valid; at least 60");
pub const ADMIN_USERNAME: Setting = Setting {
    otherwise: Otherwise::Unset("none"),
    ..variable("OCI_REGISTRY_ADMIN_USERNAME", "NAME", "", "An admin to create at start where there is none")
};
pub const ADMIN_PASSWORD: Setting =
    secret("OCI_REGISTRY_ADMIN_PASSWORD", "SECRET", "none", "That admin's first password, 6 to 1024 bytes");
pub const REGISTRATION: Setting = variable(
    "OCI_REGISTRY_REGISTRATION",
    "open|admins",
    "open",
    "Who may create users: anyone for themselves, or admins only",
);
pub const NAMESPACE_CLAIM: Setting = variable(
    "OCI_REGISTRY_NAMESPACE_CLAIM",
    "first-push|admins",
    "first-push",
    "Who gets a namespace nobody owns: the first user who pushes to it, or whom an admin gives it to",
);
pub const DEFAULT_VISIBILITY: Setting = variable(
    "OCI_REGISTRY_DEFAULT_VISIBILITY",
    "public|internal|private",
    "private",
    "Who may pull from a new repository: anyone, anyone logged in, or members",
);
pub const SPARSE_MANIFESTS: Setting = variable(
    "OCI_REGISTRY_SPARSE_MANIFESTS",
    "refuse|accept",
    "refuse",
    "What happens to manifests that name what the repository lacks",
);
pub const TRUSTED_PROXIES: Setting = Setting {
    otherwise: Otherwise::Unset("none"),
    ..variable(
        "OCI_REGISTRY_TRUSTED_PROXIES",
        "NETWORKS",
        "",
        "Addresses or networks, joined by commas, whose Forwarded and X-Forwarded-* headers count",
    )
};
pub const MAX_MANIFEST_BYTES: Setting = variable(
    "OCI_REGISTRY_MAX_MANIFEST_BYTES",
    "BYTES",
    "4194304",
    "Largest manifest that is accepted; at least 4194304 (4 MiB)",
);
pub const MAX_CONCURRENT_REQUESTS: Setting = variable(
    "OCI_REGISTRY_MAX_CONCURRENT_REQUESTS",
    "COUNT",
    "4096",
    "Requests served at once; the next one is told to come back (503)",
);
pub const IDLE_TIMEOUT: Setting = variable(
    "OCI_REGISTRY_IDLE_TIMEOUT_SECONDS",
    "SECONDS",
    "60",
    "How long a request may stand still before it is given up; there is no limit on the whole",
);
pub const DRAIN: Setting = variable(
    "OCI_REGISTRY_DRAIN_SECONDS",
    "SECONDS",
    "25",
    "How long requests in flight may take to finish after SIGTERM",
);
pub const UPLOAD_EXPIRY: Setting = variable(
    "OCI_REGISTRY_UPLOAD_EXPIRY_HOURS",
    "HOURS",
    "168",
    "How long an upload session lives after its last byte; at least 24",
);
pub const LOG: Setting =
    variable("RUST_LOG", "DIRECTIVES", "info", "What is logged: error, warn, info, debug, trace, or per target");
pub const LOG_FORMAT: Setting =
    variable("OCI_REGISTRY_LOG_FORMAT", "text|json", "text", "How it is logged: lines for people, or JSON");

const fn flagged(
    long: &'static str,
    short: Option<char>,
    variable: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        variable,
        flag: Some(Flag { long, short }),
        value,
        otherwise: Otherwise::Value(default),
        secrecy: Secrecy::Open,
        help,
    }
}

const fn variable(name: &'static str, value: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { variable: name, flag: None, value, otherwise: Otherwise::Value(default), secrecy: Secrecy::Open, help }
}

const fn secret(name: &'static str, value: &'static str, unset: &'static str, help: &'static str) -> Setting {
    Setting { variable: name, flag: None, value, otherwise: Otherwise::Unset(unset), secrecy: Secrecy::Secret, help }
}

impl Setting {
    /// What a person may write to set it: `--port or OCI_REGISTRY_PORT`.
    pub fn names(&self) -> String {
        match &self.flag {
            Some(flag) => format!("--{} or {}", flag.long, self.variable),
            None => self.variable.to_owned(),
        }
    }

    /// The default as `--help` and `config check` show it.
    pub fn default_text(&self) -> &'static str {
        match self.otherwise {
            Otherwise::Value(text) | Otherwise::Unset(text) => text,
        }
    }

    /// The flag as clap knows it, named by its variable. Any bytes are taken:
    /// values are judged in one place, all together.
    pub(super) fn arg(&self) -> Option<Arg> {
        let flag = self.flag.as_ref()?;
        let arg = Arg::new(self.variable)
            .long(flag.long)
            .value_name(self.value)
            .env(self.variable)
            .hide_env_values(self.secrecy == Secrecy::Secret)
            .default_value(self.default_text())
            .value_parser(ValueParser::os_string())
            .help(self.help)
            .global(true);
        Some(match flag.short {
            Some(short) => arg.short(short),
            None => arg,
        })
    }
}

/// The part of `--help` for the settings that have no flag.
///
/// Most are without one for a reason: a command line is seen by everyone on the
/// machine, so a secret has no place there.
pub fn help_of_variables() -> String {
    let mut help = String::from("Environment (a file `.env` in the working directory is read too):\n");
    for setting in ALL.iter().filter(|setting| setting.flag.is_none()) {
        help.push_str(&format!(
            "  {}=<{}>\n          {}\n          [env: {}] [default: {}]\n",
            setting.variable,
            setting.value,
            setting.help,
            setting.variable,
            setting.default_text(),
        ));
    }
    help.push_str("\nA flag comes before the environment, the environment before `.env`, `.env` before the default.");
    help
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `.env.example` has every setting once, in this order, at its default;
    /// where there is none, an example stands there.
    #[test]
    fn the_example_is_the_table() {
        let example = include_str!("../../.env.example");
        let lines = example.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
        let lines: Vec<_> = lines.filter(|(name, _)| !name.starts_with(' ')).collect();

        let variables: Vec<_> = ALL.iter().map(|setting| setting.variable).collect();
        assert_eq!(lines.iter().map(|(name, _)| *name).collect::<Vec<_>>(), variables);
        for (setting, (_, value)) in ALL.iter().zip(&lines) {
            match setting.otherwise {
                Otherwise::Value(default) => assert_eq!(*value, default, "{}", setting.variable),
                Otherwise::Unset(words) => {
                    assert!(!value.is_empty(), "{}", setting.variable);
                    assert!(example.contains(&format!("Default: {words}.")), "{}", setting.variable);
                }
            }
            if let Some(flag) = &setting.flag {
                assert!(example.contains(&format!("Flag: --{}", flag.long)), "{}", setting.variable);
            }
        }
    }
}
