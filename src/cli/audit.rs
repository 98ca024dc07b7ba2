//! `distribution audit`: who did what to what, when, from where, and how it ended.

use std::io::{self, Write};

use clap::Subcommand;
use serde_json::json;

use crate::config::Flags;
use crate::metadata::{AuditFilter, AuditRecord, Metadata};

use super::Error;
use super::database::with_existing;
use super::output::moment;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Writes the log to standard output, oldest first, an object of JSON per line.
    Export {
        /// Only what came after the entry of this id, such as the last one of an earlier export.
        #[arg(long, value_name = "ID")]
        after: Option<i64>,
    },
}

pub(super) fn run(flags: Flags, command: Command) -> Result<(), Error> {
    let Command::Export { after } = command;
    with_existing(flags, async |session| export(&session.metadata, after).await)
}

/// Page by page, so that a log of any length can be exported.
async fn export(metadata: &Metadata, mut after: Option<i64>) -> Result<(), Error> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    loop {
        let page = metadata.audit_export(&AuditFilter::default(), after, 1000).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for record in &page {
            writeln!(out, "{}", line(record))?;
        }
    }
    Ok(out.flush()?)
}

fn line(record: &AuditRecord) -> serde_json::Value {
    json!({
        "id": record.id,
        "at": moment(record.at),
        "actor": record.actor,
        "address": record.address.map(|address| address.to_string()),
        "request_id": record.request,
        "action": record.action,
        "target": record.target,
        "detail": record.detail,
        "outcome": record.outcome,
        "times": record.times,
    })
}
