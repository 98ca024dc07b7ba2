//! How subcommands answer: sentences, and lists for people or for programs.

use std::io::{self, Write};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::metadata::Timestamp;

use super::Error;

/// How a list is written.
#[derive(clap::Args)]
pub(super) struct Format {
    /// Writes an object of JSON per line.
    #[arg(long)]
    json: bool,
}

impl Format {
    pub(super) const TEXT: Self = Self { json: false };
}

/// Says what was done, on standard output.
pub(super) fn say(sentence: &str) -> Result<(), Error> {
    Ok(writeln!(io::stdout(), "{sentence}")?)
}

/// Warns, on standard error.
pub(super) fn warn(sentence: &str) {
    eprintln!("distribution: warning: {sentence}");
}

/// Rows under a heading, in columns.
pub(super) struct Table<const COLUMNS: usize> {
    heading: [&'static str; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(super) fn new(heading: [&'static str; COLUMNS]) -> Self {
        Self { heading, rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row);
    }

    /// To standard output.
    pub(super) fn print(&self, format: &Format) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        if format.json {
            self.write_json(&mut out)?
        } else {
            self.write_text(&mut out)?
        }
        Ok(out.flush()?)
    }

    /// Aligned for a terminal, without spaces at the end of a line.
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let heading = self.heading.map(str::to_uppercase);
        let lines = || std::iter::once(&heading).chain(&self.rows);
        let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
        for line in lines() {
            let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(out, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// As a table of Markdown.
    pub(super) fn write_markdown(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |cells: &[&str]| writeln!(out, "| {} |", cells.join(" | "));
        line(&self.heading)?;
        line(&["---"; COLUMNS])?;
        for row in &self.rows {
            line(&row.each_ref().map(|cell| cell.as_str()))?;
        }
        Ok(())
    }

    /// An object per line; what is empty is null.
    fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        for row in &self.rows {
            let cell = |text: &String| if text.is_empty() { serde_json::Value::Null } else { text.as_str().into() };
            let fields = self.heading.iter().map(|name| name.replace(' ', "_")).zip(row.iter().map(cell));
            writeln!(out, "{}", serde_json::Value::Object(fields.collect()))?;
        }
        Ok(())
    }
}

/// A moment as people and programs read it: RFC 3339, UTC, to the second.
pub(super) fn moment(at: Timestamp) -> String {
    let seconds = OffsetDateTime::from_unix_timestamp(at.as_micros().div_euclid(1_000_000));
    seconds.ok().and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| at.as_micros().to_string())
}

/// What may be absent, as text.
pub(super) fn maybe<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_for_people_readmes_and_programs() {
        let mut table = Table::new(["name", "last role"]);
        table.push(["bo".to_owned(), "admin".to_owned()]);
        table.push(["alice".to_owned(), String::new()]);
        let (mut text, mut markdown, mut json) = (Vec::new(), Vec::new(), Vec::new());
        table.write_text(&mut text).unwrap();
        table.write_markdown(&mut markdown).unwrap();
        table.write_json(&mut json).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "NAME   LAST ROLE\nbo     admin\nalice\n");
        assert_eq!(
            String::from_utf8(markdown).unwrap(),
            "| name | last role |\n| --- | --- |\n| bo | admin |\n| alice |  |\n"
        );
        assert_eq!(
            String::from_utf8(json).unwrap(),
            "{\"last_role\":\"admin\",\"name\":\"bo\"}\n{\"last_role\":null,\"name\":\"alice\"}\n"
        );
    }

    #[test]
    fn a_moment_is_written_in_utc() {
        assert_eq!(moment(Timestamp::from_micros(1_700_000_000_999_999)), "2023-11-14T22:13:20Z");
    }
}
