//! Where settings come from. The only reader of the environment.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::problems::Problem;
use super::settings::{self, Otherwise, Setting};

/// The settings that were given on the command line.
///
/// clap shows variables and defaults in `--help`, but only what was really
/// typed is taken from it: the other layers are read here, so that a test can
/// give them, and judged later, so that all problems come together.
#[derive(Debug, Clone, Default)]
pub struct Flags(BTreeMap<&'static str, OsString>);

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(settings::ALL.iter().filter_map(|setting| setting.arg()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let typed = |setting: &&&Setting| matches.value_source(setting.variable) == Some(ValueSource::CommandLine);
        let flags = settings::ALL.iter().filter(|setting| setting.flag.is_some()).filter(typed);
        Ok(Self(flags.filter_map(|s| Some((s.variable, matches.get_one::<OsString>(s.variable)?.clone()))).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Flags {
    /// These flags, as if they had been typed: variable's name and value.
    pub fn of(pairs: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name, value.into())).collect())
    }
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

impl Origin {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "command line",
            Self::Environment => "environment",
            Self::File => ".env",
            Self::Default => "default",
        }
    }
}

/// The layers that settings are read from, the first one first.
pub struct Sources {
    flags: Flags,
    environment: BTreeMap<OsString, OsString>,
    file: BTreeMap<String, String>,
    /// Why there is not more in the file.
    broken: Option<Problem>,
}

impl Sources {
    /// These layers.
    pub fn new(flags: Flags, environment: BTreeMap<OsString, OsString>, file: BTreeMap<String, String>) -> Self {
        Self { flags, environment, file, broken: None }
    }

    /// The flags, the process's environment, and `.env` in the working
    /// directory. The environment is read and not changed, so this needs no
    /// care about threads.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn of_process(flags: Flags) -> Self {
        let mut file = BTreeMap::new();
        let broken = read_file(Path::new(".env"), &mut file).err();
        Self { flags, environment: env::vars_os().collect(), file, broken }
    }

    /// What is wrong with the sources themselves: a `.env` that cannot be read.
    pub(super) fn problem(&self) -> Option<&Problem> {
        self.broken.as_ref()
    }

    /// The setting's text and its origin; `None` where nobody set it and its
    /// default is to be absent.
    ///
    /// # Errors
    /// A value that is not UTF-8.
    pub(super) fn find(&self, setting: &'static Setting) -> Result<Option<(&str, Origin)>, Problem> {
        let layers = [
            (self.flags.0.get(setting.variable), Origin::Flag),
            (self.environment.get(setting.variable.as_ref() as &std::ffi::OsStr), Origin::Environment),
        ];
        for (value, origin) in layers {
            if let Some(value) = value {
                let text = value.to_str().ok_or_else(|| Problem {
                    subject: subject(setting, origin),
                    what: "it is not UTF-8".to_owned(),
                    fix: "write it in UTF-8".to_owned(),
                })?;
                return Ok(Some((text, origin)));
            }
        }
        if let Some(text) = self.file.get(setting.variable) {
            return Ok(Some((text, Origin::File)));
        }
        match setting.otherwise {
            Otherwise::Value(text) => Ok(Some((text, Origin::Default))),
            Otherwise::Unset(_) => Ok(None),
        }
    }

    /// The failpoints that a test arms. No setting: nobody else has a use for them,
    /// and a file `.env` cannot arm any.
    pub fn failpoints(&self) -> Option<&str> {
        self.environment.get(std::ffi::OsStr::new("DISTRIBUTION_FAILPOINTS"))?.to_str()
    }

    /// Whether anybody set it.
    pub fn is_set(&self, setting: &'static Setting) -> bool {
        !matches!(self.find(setting), Ok(None | Some((_, Origin::Default))))
    }

    /// Names that look like ours and are none of ours: a slip of the pen would
    /// otherwise be a setting that silently does nothing.
    pub(super) fn unknown(&self) -> Vec<&str> {
        let environment = self.environment.keys().filter_map(|name| name.to_str());
        let file = self.file.keys().map(String::as_str);
        let mut unknown: Vec<&str> = environment
            .chain(file)
            .filter(|name| name.starts_with("OCI_REGISTRY_"))
            .filter(|name| !settings::ALL.iter().any(|setting| setting.variable == *name))
            // Kubernetes makes these for a Service that is called oci-registry.
            .filter(|name| !name.starts_with("OCI_REGISTRY_SERVICE_") && !name.starts_with("OCI_REGISTRY_PORT_"))
            .collect();
        unknown.dedup();
        unknown
    }
}

/// How a problem names a setting: by what the person wrote.
pub(super) fn subject(setting: &Setting, origin: Origin) -> String {
    match (&setting.flag, origin) {
        (Some(flag), Origin::Flag) => format!("--{} ({})", flag.long, setting.variable),
        (_, Origin::File) => format!("{} in .env", setting.variable),
        _ => setting.variable.to_owned(),
    }
}

/// Adds what the file says, up to where it cannot be understood.
fn read_file(path: &Path, values: &mut BTreeMap<String, String>) -> Result<(), Problem> {
    let problem = |what: String, fix: &str| Problem { subject: ".env".to_owned(), what, fix: fix.to_owned() };
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(error) if error.not_found() => return Ok(()),
        Err(error) => {
            return Err(problem(format!("it cannot be read: {error}"), "let this user read it, or take it away"));
        }
    };
    for line in lines {
        match line {
            // The first of a name counts, as where dotenvy sets the environment itself.
            Ok((name, value)) => {
                values.entry(name).or_insert(value);
            }
            // The line itself may hold a secret and is not told.
            Err(dotenvy::Error::LineParse(line, at)) => {
                let name = line.split('=').next().unwrap_or_default().trim();
                let ours = settings::ALL.iter().find(|setting| setting.variable == name);
                let line = ours.map_or("a line".to_owned(), |setting| format!("the line of {}", setting.variable));
                return Err(problem(
                    format!("{line} cannot be understood from its byte {at} on"),
                    "write NAME=value, and a value with spaces, `#`, `$` or quotes in single quotes",
                ));
            }
            Err(error) => return Err(problem(format!("it cannot be read: {error}"), "write it in UTF-8")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>, Problem> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".env");
        std::fs::write(&path, text).unwrap();
        let mut values = BTreeMap::new();
        read_file(&path, &mut values).map(|()| values)
    }

    #[test]
    fn a_file_is_read_as_people_write_it() {
        let values = read("# a comment\nRUST_LOG=debug\nexport A='x y#$z'\nB=\"q\" # more\nRUST_LOG=trace\n").unwrap();
        let expected = [("A", "x y#$z"), ("B", "q"), ("RUST_LOG", "debug")];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        read_file(Path::new("/nowhere/.env"), &mut BTreeMap::new()).unwrap();
    }

    #[test]
    fn a_broken_line_is_told_without_its_text() {
        for (text, told) in [("JWT_SECRET='hush", "the line of JWT_SECRET"), ("hush hush", "a line cannot")] {
            let problem = read(text).unwrap_err();
            assert!(problem.what.contains(told) && !problem.to_string().contains("hush"), "{problem}");
        }
    }
}
