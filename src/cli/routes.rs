//! `distribution routes`: the table of the API, as it was built in.

use std::io::{self, Write};

use crate::router::Endpoint;

use super::Error;
use super::output::Table;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Writes a table of Markdown, as it stands in README.md.
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    if arguments.markdown {
        table(|text| format!("`{text}`")).write_markdown(&mut out)?;
    } else {
        table(str::to_owned).write_text(&mut out)?;
    }
    Ok(out.flush()?)
}

/// Every endpoint, with what is code written as code.
fn table(code: impl Fn(&str) -> String) -> Table<5> {
    let mut table = Table::new(["id", "methods", "path", "access", "summary"]);
    for facts in Endpoint::ALL.into_iter().map(Endpoint::facts) {
        let methods: Vec<&str> = facts.methods.iter().map(|method| method.as_str()).collect();
        table.push([
            facts.ids.join(", "),
            methods.join(", "),
            code(facts.path),
            facts.access.as_str().to_owned(),
            facts.summary.to_owned(),
        ]);
    }
    table
}
