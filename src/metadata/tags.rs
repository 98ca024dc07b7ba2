use super::audit::{AuditAction, audit};
use super::cache::News;
use super::dialect::Sql;
use super::pagination::{cursor, limit};
use super::transaction::{Columns, parse};
use super::{Error, Metadata, Origin, RepositoryId};
use crate::domain::Tag;

/// One row for the whole page: a row costs more than what it holds. No tag has a blank in it.
static PAGE: Sql = Sql::new(&["SELECT string_agg(t.name, ' ') FROM
     (SELECT name FROM tags WHERE repository = $1 AND name > $2 ORDER BY name LIMIT $3) t"]);
// A manifest's tags point to it, as part of the statements that store it, whose parameters these
// are. First those that are new, so that every one is there and can be locked; then it is written
// down which of them move; then they move.
pub(super) const INSERT_NEW: &str = "INSERT INTO tags (repository, name, digest, moved_at)
     SELECT $1, e.value ->> 0, $2, $6 FROM EACH($9) e WHERE true ORDER BY e.value ->> 0
     ON CONFLICT (repository, name) DO NOTHING";
pub(super) const LOG_MOVES: &str = "INSERT INTO audit_log
     (at, actor, address, request, action, target, detail, outcome)
     SELECT $6, $10, $11, $12, $13, 'tag:' || r.name || ':' || t.name, t.digest || ' -> ' || $2, 'success'
     FROM tags t JOIN repositories r ON r.id = t.repository
     WHERE t.repository = $1 AND t.digest <> $2 AND t.name IN (SELECT e.value ->> 0 FROM EACH($9) e)
     ORDER BY t.name FOR_UPDATE(t)";
pub(super) const MOVE: &str = "UPDATE tags SET digest = $2, moved_at = $6
     WHERE repository = $1 AND digest <> $2 AND name IN (SELECT e.value ->> 0 FROM EACH($9) e)";

static DELETE: Sql = Sql::new(&["DELETE FROM tags WHERE repository = $1 AND name = $2
     RETURNING digest, (SELECT r.name FROM repositories r WHERE r.id = tags.repository)"]);

impl Metadata {
    /// The repository's tags in byte order, those after `after`, which need not
    /// be a tag. Asked for one more than a page holds, it tells whether more follow.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tags(&self, repository: RepositoryId, after: Option<&str>, count: usize) -> Result<Vec<Tag>, Error> {
        let args = [repository.0.into(), cursor(after).into(), limit(count).into()];
        let row = self.read_one("tags", &PAGE, &args).await?;
        let names = row.as_ref().map(|row| row.maybe_text(0)).transpose()?.flatten().unwrap_or_default();
        let mut tags = names.split_whitespace().map(|name| parse(name, "tag")).collect::<Result<Vec<Tag>, _>>()?;
        // In order they come, though no database promises it of an aggregate.
        tags.sort();
        Ok(tags)
    }

    /// Takes a tag away; the manifest stays. `false` if there is no such tag.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete_tag(&self, repository: RepositoryId, tag: Tag, origin: Origin) -> Result<bool, Error> {
        self.write("delete_tag", (repository, tag, origin), |tx, (repository, tag, origin)| {
            Box::pin(async move {
                let args = [repository.0.into(), tag.as_str().into()];
                let Some(row) = tx.one(&DELETE, &args).await? else { return Ok(false) };
                tx.note(News::Tag(*repository, tag.clone(), None));
                let target = format!("tag:{}:{tag}", row.text(1)?);
                audit(tx, origin, AuditAction::TagDelete, &target, Some(row.text(0)?)).await?;
                Ok(true)
            })
        })
        .await
    }
}
