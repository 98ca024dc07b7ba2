use serde::Serialize;

use super::dialect::{Arg, Sql};
use super::manifests::NewManifest;
use super::pagination::{json_rows, limit};
use super::transaction::{Columns, Tx};
use super::{Error, Metadata, RepositoryId};
use crate::domain::Digest;

/// Some of a subject's referrers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReferrerPage {
    /// Their descriptors, JSON objects joined by commas: what stands between the
    /// brackets of an index's `manifests`.
    pub descriptors: String,
    /// Where the next page begins, if there is one: after this digest.
    pub next: Option<Digest>,
}

static INSERT: Sql =
    Sql::new(&["INSERT INTO referrers (repository, subject, digest, artifact_type, bytes, descriptor)
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (repository, digest) DO UPDATE
     SET artifact_type = excluded.artifact_type, bytes = excluded.bytes, descriptor = excluded.descriptor"]);

/// One row: the page as one text, its last digest, and where a next one would begin.
/// Where it ends is found from the sizes alone, so that what does not fit is not read;
/// adding them up one by one is dear, and done only where all together are too much.
macro_rules! page {
    ($via:literal, $filter:literal) => {
        Sql::new(&[concat!(
            "SELECT p.descriptors, p.last, (SELECT min(r.digest) FROM referrers r ",
            $via,
            " WHERE r.repository = $1 AND r.subject = $2 AND r.digest > p.last ",
            $filter,
            ")
             FROM (SELECT string_agg(r.descriptor, ',') AS descriptors, max(r.digest) AS last FROM referrers r ",
            $via,
            " WHERE r.repository = $1 AND r.subject = $2 AND r.digest > $3 AND r.digest <=
                 (SELECT CASE WHEN a.total <= $5 THEN a.last ELSE
                     (SELECT COALESCE(max(CASE WHEN w.total <= $5 THEN w.digest END), min(w.digest)) FROM
                         (SELECT s.digest, sum(s.bytes) OVER (ORDER BY s.digest) AS total FROM ",
            page!(@sizes $via, $filter),
            " s) w) END FROM (SELECT sum(s.bytes) AS total, max(s.digest) AS last FROM ",
            page!(@sizes $via, $filter),
            " s) a) ",
            $filter,
            ") p"
        )])
    };
    (@sizes $via:literal, $filter:literal) => {
        concat!(
            "(SELECT r.digest, r.bytes + 1 AS bytes FROM referrers r ",
            $via,
            " WHERE r.repository = $1 AND r.subject = $2 AND r.digest > $3 ",
            $filter,
            " ORDER BY r.digest LIMIT $4)"
        )
    };
}
static PAGE: Sql = page!("", "");
static PAGE_OF_TYPE: Sql = page!("VIA(referrers_by_type)", "AND r.artifact_type = $6");
static PAGE_OF_TYPES: Sql =
    page!("VIA(referrers_by_type)", "AND r.artifact_type IN (SELECT e.value ->> 0 FROM EACH($6) e)");

/// What an index says of a manifest (R-REF-05, R-REF-06).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: &'a str,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
}

impl Metadata {
    /// Manifests of the repository whose subject is that digest, by their own
    /// digest, those after `after`; of these artifact types only, where any are
    /// named. A page ends before `count` or `bytes` would be passed, but holds
    /// at least one entry where there is one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn referrers(
        &self,
        repository: RepositoryId,
        subject: &Digest,
        artifact_types: &[String],
        after: Option<&Digest>,
        count: usize,
        bytes: usize,
    ) -> Result<ReferrerPage, Error> {
        let args = |types| {
            let after = after.map_or("", Digest::as_str).into();
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).into();
            [repository.0.into(), subject.as_str().into(), after, limit(count).into(), bytes, types]
        };
        let row = match artifact_types {
            [] => self.read_one("referrers", &PAGE, &args(Arg::Int(None))[..5]).await?,
            [one] => self.read_one("referrers", &PAGE_OF_TYPE, &args(one.as_str().into())).await?,
            several => {
                // No type has a NUL in it, and PostgreSQL's JSON none either.
                let types = several.iter().filter(|text| !text.contains('\0'));
                let types = json_rows(types.map(|text| [text.as_str()]));
                self.read_one("referrers", &PAGE_OF_TYPES, &args(types.as_str().into())).await?
            }
        };
        let Some(row) = row else { return Ok(ReferrerPage::default()) };
        Ok(ReferrerPage {
            descriptors: row.maybe_text(0)?.unwrap_or_default().to_owned(),
            next: if row.maybe_text(2)?.is_some() { row.maybe_parse(1, "digest")? } else { None },
        })
    }
}

/// Lists the manifest under its subject.
pub(super) async fn insert(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    subject: &Digest,
    new: &NewManifest,
) -> Result<(), Error> {
    let descriptor = describe(new);
    let args = [
        repository.0.into(),
        subject.as_str().into(),
        new.digest.as_str().into(),
        new.manifest.artifact_type.as_deref().into(),
        i64::try_from(descriptor.len()).unwrap_or(i64::MAX).into(),
        descriptor.as_str().into(),
    ];
    tx.run(&INSERT, &args).await.map(drop)
}

fn describe(new: &NewManifest) -> String {
    let manifest = &new.manifest;
    let head = Descriptor {
        media_type: manifest.media_type.as_str(),
        digest: new.digest.as_str(),
        size: new.bytes.len(),
        artifact_type: manifest.artifact_type.as_deref(),
    };
    let mut text = serde_json::to_string(&head).unwrap_or_default();
    if let Some(annotations) = &manifest.annotations {
        // Byte for byte as they were pushed: parsed once already, written never.
        text.truncate(text.len().saturating_sub(1));
        text.push_str(",\"annotations\":");
        text.push_str(annotations.as_json());
        text.push('}');
    }
    text
}
