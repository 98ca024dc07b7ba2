use std::sync::Arc;

use super::audit::{AuditAction, audit};
use super::cache::News;
use super::dialect::{Backend, Sql};
use super::pagination::{cursor, limit};
use super::transaction::Columns;
use super::{Error, Metadata, Origin, RepositoryId};
use crate::domain::Tag;

/// Names of tags in byte order, as one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagNames(Arc<str>);

impl TagNames {
    /// As the database gives them: in order, though none promises it of an aggregate.
    fn of(text: &str) -> Self {
        let mut names: Vec<_> = text.split_ascii_whitespace().collect();
        if names.is_sorted() {
            return Self(text.into());
        }
        names.sort_unstable();
        Self(names.join(" ").into())
    }

    /// The names, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }
}

/// Pages of one repository's tags, as they are asked for again and again by who
/// looks out for new ones.
#[derive(Debug, Clone, Default)]
pub(super) struct TagPages(Arc<[TagPage]>);

#[derive(Debug, Clone)]
struct TagPage {
    after: Box<str>,
    count: i64,
    names: TagNames,
}

impl TagPages {
    /// What one repository may have remembered, in pages and in bytes.
    const PAGES: usize = 16;
    const BYTES: usize = 512 * 1024;

    fn get(&self, after: &str, count: i64) -> Option<TagNames> {
        let page = self.0.iter().find(|page| page.is(after, count))?;
        Some(page.names.clone())
    }

    /// The same and this one, if it is a first page or there is room: those who
    /// make cursors up, or walk through more than fits, push nothing out.
    fn and(&self, after: &str, count: i64, names: TagNames) -> Self {
        let new = TagPage { after: after.into(), count, names };
        if new.weight() > Self::BYTES {
            return self.clone();
        }
        let mut pages: Vec<_> = self.0.iter().filter(|page| !page.is(after, count)).cloned().collect();
        pages.insert(if after.is_empty() { 0 } else { pages.len() }, new);
        let mut bytes = 0;
        let fit = pages.iter().take(Self::PAGES).take_while(|page| {
            bytes += page.weight();
            bytes <= Self::BYTES
        });
        let fit = fit.count();
        pages.truncate(fit);
        Self(pages.into())
    }

    /// What it holds, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.0.iter().map(TagPage::weight).sum()
    }
}

impl TagPage {
    fn is(&self, after: &str, count: i64) -> bool {
        self.count == count && *self.after == *after
    }

    fn weight(&self) -> usize {
        self.after.len() + self.names.0.len() + size_of::<Self>()
    }
}

/// One row for the whole page: a row costs more than what it holds. No tag has a blank in it.
static PAGE: Sql = Sql::new(&["SELECT string_agg(t.name, ' ') FROM
     (SELECT name FROM tags WHERE repository = $1 AND name > $2 ORDER BY name LIMIT $3) t"]);
// A manifest's tags point to it, as part of the statements that store it, whose parameters these
// are. First those that are new; the others, which an update of nothing locks, so that each one stays
// until the end; then it is written down which of them move; then they move. Should the manifest go
// meanwhile, its number is 0 to them: the key says no, and the race is lost.
macro_rules! number {
    () => {
        "COALESCE((SELECT m.id FROM manifests m WHERE m.repository = $1 AND m.digest = $2), 0)"
    };
}
pub(super) const INSERT_NEW: &str = concat!(
    "INSERT INTO tags (repository, name, manifest, digest, moved_at) SELECT $1, e.value ->> 0, ",
    number!(),
    ", $2, $6 FROM EACH($9) e WHERE true ORDER BY e.value ->> 0
     ON CONFLICT (repository, name) DO UPDATE SET moved_at = tags.moved_at WHERE false"
);
pub(super) const LOG_MOVES: &str = "INSERT INTO audit_log
     (at, actor, address, request, action, target, detail, outcome)
     SELECT $6, $10, $11, $12, $13, 'tag:' || r.name || ':' || t.name, t.digest || ' -> ' || $2, 'success'
     FROM tags t JOIN repositories r ON r.id = t.repository
     WHERE t.repository = $1 AND t.digest <> $2 AND t.name IN (SELECT e.value ->> 0 FROM EACH($9) e)
     ORDER BY t.name FOR_UPDATE(t)";
pub(super) const MOVE: &str = concat!(
    "UPDATE tags SET manifest = ",
    number!(),
    ", digest = $2, moved_at = $6
     WHERE repository = $1 AND digest <> $2 AND name IN (SELECT e.value ->> 0 FROM EACH($9) e)"
);

static DELETE: Sql = Sql::new(&["DELETE FROM tags WHERE repository = $1 AND name = $2
     RETURNING digest, (SELECT r.name FROM repositories r WHERE r.id = tags.repository)"]);

impl Metadata {
    /// The repository's tags in byte order, those after `after`, which need not
    /// be a tag. Asked for one more than a page holds, it tells whether more follow.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tags(&self, repository: RepositoryId, after: Option<&str>, count: usize) -> Result<TagNames, Error> {
        let (after, count) = (cursor(after), limit(count));
        if self.core.backend == Backend::Postgres {
            return self.tags_now(repository, after, count).await;
        }
        let cache = &self.core.caches.tag_pages;
        if let Some(names) = cache.get(&repository).and_then(|pages| pages.get(after, count)) {
            return Ok(names);
        }
        let noted = cache.version(&repository);
        let names = self.tags_now(repository, after, count).await?;
        let pages = cache.get(&repository).unwrap_or_default();
        cache.insert(repository, pages.and(after, count, names.clone()), noted);
        Ok(names)
    }

    async fn tags_now(&self, repository: RepositoryId, after: &str, count: i64) -> Result<TagNames, Error> {
        let row = self.read_one("tags", &PAGE, &[repository.0.into(), after.into(), count.into()]).await?;
        let names = row.as_ref().map(|row| row.maybe_text(0)).transpose()?.flatten();
        Ok(TagNames::of(names.unwrap_or_default()))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Which pages are remembered after these were read, in their order.
    fn remembered(read: &[(&str, i64, &str)]) -> Vec<String> {
        let read = read
            .iter()
            .fold(TagPages::default(), |pages, (after, count, names)| pages.and(after, *count, TagNames::of(names)));
        read.0.iter().map(|page| format!("{}+{}", page.after, page.count)).collect()
    }

    #[test]
    fn a_page_is_remembered_once_and_as_it_was_read_last() {
        let pages = TagPages::default().and("a", 2, TagNames::of("b c")).and("a", 2, TagNames::of("b d"));
        assert_eq!(pages.0.len(), 1);
        assert_eq!(pages.get("a", 2), Some(TagNames::of("b d")));
        assert_eq!((pages.get("a", 3), pages.get("", 2)), (None, None));
    }

    #[test]
    fn no_walk_pushes_a_first_page_out() {
        let cursors: Vec<_> = (0..40).map(|n| n.to_string()).collect();
        let walk: Vec<_> = cursors.iter().map(|after| (after.as_str(), 10, "x")).collect();
        let before = remembered(&[&[("", 10, "x")], &*walk].concat());
        assert_eq!(before.len(), TagPages::PAGES);
        assert_eq!(before[..2], ["+10", "0+10"]);
        let after = remembered(&[&*walk, &[("", 10, "x"), ("", 20, "x")]].concat());
        assert_eq!(after.len(), TagPages::PAGES);
        assert_eq!(after[..3], ["+20", "+10", "0+10"]);
    }

    #[test]
    fn what_is_too_long_is_not_remembered_and_costs_nothing_else() {
        let (half, whole) = ("x".repeat(TagPages::BYTES / 2), "x".repeat(TagPages::BYTES));
        assert_eq!(remembered(&[("", 1, "x"), ("a", 1, &half), ("b", 1, &half), ("c", 1, "x")]), ["+1", "a+1", "c+1"]);
        assert_eq!(remembered(&[("", 1, "x"), ("a", 1, &whole)]), ["+1"]);
        assert_eq!(remembered(&[("a", 1, "x"), ("", 1, &whole)]), ["a+1"]);
    }

    #[test]
    fn names_are_in_order_however_the_database_gave_them() {
        for text in ["a b c", "c a b"] {
            assert_eq!(TagNames::of(text).iter().collect::<Vec<_>>(), ["a", "b", "c"]);
        }
        assert_eq!(TagNames::of("").iter().next(), None);
    }
}
