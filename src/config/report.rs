//! The configuration as it may be shown to anyone.

use super::configuration::Config;
use super::settings::{self, Secrecy, Setting};
use super::sources::{Origin, Sources};

/// A setting as it holds, fit to be shown to anyone.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub variable: &'static str,
    pub value: String,
    pub origin: &'static str,
}

impl Config {
    /// What holds of every setting, and who said so. Secrets are only said to
    /// be set.
    pub fn report(&self, sources: &Sources) -> Vec<Row> {
        settings::ALL.into_iter().map(|setting| self.row(setting, sources)).collect()
    }

    fn row(&self, setting: &'static Setting, sources: &Sources) -> Row {
        let found = sources.find(setting).ok().flatten();
        let value = match (setting.variable, found) {
            // These two may have been moved.
            (name, _) if name == settings::ROOT.variable => self.root.display().to_string(),
            (name, _) if name == settings::DATABASE_URL.variable => self.database.to_string(),
            (_, None) => setting.default_text().to_owned(),
            (_, Some(_)) if setting.secrecy == Secrecy::Secret => "set, not shown".to_owned(),
            (_, Some((text, _))) => text.to_owned(),
        };
        let origin = found.map_or(Origin::Default, |(_, origin)| origin);
        Row { variable: setting.variable, value, origin: origin.as_str() }
    }
}
