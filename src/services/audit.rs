//! The audit log: who did what to what, when, from where, and how it ended.

use std::net::IpAddr;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::page::Page;
use super::reply::{Described, List, never_cached};
use super::words::Moment;
use super::{Call, Error, IntoResponse};
use crate::auth::Auth;
use crate::metadata;
use crate::metadata::{AuditAction, AuditFilter, AuditRecord, Metadata};
use crate::protocol::{Body, Query, Response};
use crate::router;
use crate::router::Links;

/// Shows what `metadata` has written down.
#[derive(Clone)]
pub struct Audit {
    auth: Auth,
    metadata: Metadata,
    links: Links,
}

/// An entry of the log.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub struct AuditView {
    /// Grows with time.
    id: i64,
    at: Moment,
    /// `user:<name>`, `robot:<namespace>/<name>`, `anonymous`, or `system` for the registry and its command line.
    actor: Box<str>,
    #[schemars(with = "Option<String>")]
    address: Option<IpAddr>,
    /// The id of the request, which its client was told and the access log has too.
    request_id: Option<Box<str>>,
    /// Such as `user.create`, `member.put`, `tag.move`, `login`.
    action: Box<str>,
    /// Such as `user:alice`, `namespace:team`, `repository:team/app`, `tag:team/app:v1`, `token:7`.
    target: Box<str>,
    /// What else there is to say.
    detail: Option<Box<str>>,
    /// `success` or `failure`.
    outcome: Box<str>,
    /// How often: equal failed logins of a minute are counted together, all else stands alone.
    times: u64,
}

/// The log as lines of JSON, read from the database as fast as the client takes them.
pub struct Export {
    metadata: Metadata,
    filter: AuditFilter,
    after: Option<i64>,
}

/// Entries that an export holds in memory at a time.
const AT_A_TIME: usize = 500;

impl Audit {
    /// Shows what `metadata` has written down, and has `auth` write down first what it still counts.
    pub fn new(auth: Auth, metadata: Metadata, links: Links) -> Self {
        Self { auth, metadata, links }
    }

    /// One page of the log, newest first: entries before `last`.
    ///
    /// # Errors
    /// [`Error::PageSize`], [`Error::Cursor`], [`Error::AuditAction`].
    pub async fn list(&self, _: router::AuditList, call: Call) -> Result<List<AuditView>, Error> {
        let filter = filter(&call.query)?;
        let page = Page::of(&call.query)?;
        self.auth.write_down_failures().await;
        let mut records = self.metadata.audit_log(&filter, page.cursor()?, page.limit()).await?;
        let more = page.cut(&mut records);
        let kept: Vec<_> =
            ["actor", "action", "target"].into_iter().filter_map(|key| Some((key, call.query.get(key)?))).collect();
        let last = records.last().filter(|_| more).map(|record| record.id.to_string());
        let next = last.map(|last| page.next(&self.links, "/api/v1/audit", &kept, &last));
        Ok(List::of(records.into_iter().map(AuditView::of).collect(), next))
    }

    /// The log from its beginning, or from the entry after `after`.
    ///
    /// # Errors
    /// [`Error::Cursor`], [`Error::AuditAction`].
    pub async fn export(&self, _: router::AuditExport, call: Call) -> Result<Export, Error> {
        let after = call.query.get("after").filter(|text| !text.is_empty());
        let after = after.map(|text| text.parse().map_err(|_| Error::Cursor(text.into()))).transpose()?;
        let filter = filter(&call.query)?;
        self.auth.write_down_failures().await;
        Ok(Export { metadata: self.metadata.clone(), filter, after })
    }
}

fn filter(query: &Query) -> Result<AuditFilter, Error> {
    let given = |key| query.get(key).filter(|text| !text.is_empty());
    let action = given("action")
        .map(|word| AuditAction::from_word(word).ok_or_else(|| Error::AuditAction(word.into())))
        .transpose()?;
    Ok(AuditFilter { actor: given("actor").map(str::to_owned), action, target: given("target").map(str::to_owned) })
}

impl AuditView {
    fn of(record: AuditRecord) -> Self {
        Self {
            id: record.id,
            at: Moment(record.at),
            actor: record.actor,
            address: record.address,
            request_id: record.request,
            action: record.action,
            target: record.target,
            detail: record.detail,
            outcome: record.outcome,
            times: record.times,
        }
    }
}

impl Export {
    /// The next lines, and what is left; `None` at the end.
    async fn read(mut self) -> Result<Option<(Frame<Bytes>, Self)>, metadata::Error> {
        let records = self.metadata.audit_export(&self.filter, self.after, AT_A_TIME).await?;
        let Some(last) = records.last() else { return Ok(None) };
        self.after = Some(last.id);
        let mut lines = String::new();
        for view in records.into_iter().map(AuditView::of) {
            // Maps with text keys, strings and numbers always serialise.
            lines.push_str(&serde_json::to_string(&view).unwrap_or_default());
            lines.push('\n');
        }
        Ok(Some((Frame::data(lines.into()), self)))
    }
}

const JSON_LINES: &str = "application/x-ndjson";

impl IntoResponse for Export {
    /// A database that fails under way breaks the body off: no client takes a part for the whole.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::stream(StreamBody::new(stream::try_unfold(self, Self::read))));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON_LINES));
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"audit.jsonl\""));
        never_cached(&mut response);
        response
    }
}

impl Described for Export {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];
    const MEDIA_TYPE: Option<&'static str> = Some(JSON_LINES);
    fn schema(schemas: &mut SchemaGenerator) -> Option<Schema> {
        Some(schemas.subschema_for::<AuditView>())
    }
}
