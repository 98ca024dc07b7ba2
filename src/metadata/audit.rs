use std::net::IpAddr;

use super::dialect::Sql;
use super::pagination::limit;
use super::transaction::{Columns, Row, Tx};
use super::{Error, Metadata, Origin, Timestamp};

/// Something that the audit log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditAction {
    UserCreate,
    UserPassword,
    UserDisable,
    UserEnable,
    UserRole,
    UserDelete,
    TokenCreate,
    TokenRevoke,
    Login,
    NamespaceClaim,
    NamespaceTransfer,
    NamespaceVisibility,
    MemberPut,
    MemberRemove,
    RepositoryCreate,
    RepositoryVisibility,
    RepositoryDelete,
    TagMove,
    TagDelete,
    ManifestDelete,
    BlobDelete,
}

impl AuditAction {
    pub const ALL: [Self; 21] = [
        Self::UserCreate,
        Self::UserPassword,
        Self::UserDisable,
        Self::UserEnable,
        Self::UserRole,
        Self::UserDelete,
        Self::TokenCreate,
        Self::TokenRevoke,
        Self::Login,
        Self::NamespaceClaim,
        Self::NamespaceTransfer,
        Self::NamespaceVisibility,
        Self::MemberPut,
        Self::MemberRemove,
        Self::RepositoryCreate,
        Self::RepositoryVisibility,
        Self::RepositoryDelete,
        Self::TagMove,
        Self::TagDelete,
        Self::ManifestDelete,
        Self::BlobDelete,
    ];

    /// The word for it, in the log and in its listing.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserCreate => "user.create",
            Self::UserPassword => "user.password",
            Self::UserDisable => "user.disable",
            Self::UserEnable => "user.enable",
            Self::UserRole => "user.role",
            Self::UserDelete => "user.delete",
            Self::TokenCreate => "token.create",
            Self::TokenRevoke => "token.revoke",
            Self::Login => "login",
            Self::NamespaceClaim => "namespace.claim",
            Self::NamespaceTransfer => "namespace.transfer",
            Self::NamespaceVisibility => "namespace.default_visibility",
            Self::MemberPut => "member.put",
            Self::MemberRemove => "member.remove",
            Self::RepositoryCreate => "repository.create",
            Self::RepositoryVisibility => "repository.visibility",
            Self::RepositoryDelete => "repository.delete",
            Self::TagMove => "tag.move",
            Self::TagDelete => "tag.delete",
            Self::ManifestDelete => "manifest.delete",
            Self::BlobDelete => "blob.delete",
        }
    }

    /// The action of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Done.
    Success,
    /// Refused, such as a login with a wrong password.
    Failure,
}

impl Outcome {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// An entry that is no part of a change here, such as a login that failed.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    pub action: AuditAction,
    /// What it was done to: `user:alice`, `repository:team/app`.
    pub target: String,
    /// What else there is to say; never a secret.
    pub detail: Option<String>,
    pub outcome: Outcome,
    /// How often it happened, where that is counted together.
    pub times: u64,
}

/// An entry as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Grows with time; the cursor of the listing.
    pub id: i64,
    pub at: Timestamp,
    /// `user:alice`, `robot:team/ci`, `anonymous` or `system`.
    pub actor: Box<str>,
    pub address: Option<IpAddr>,
    pub request: Option<Box<str>>,
    /// The word of an [`AuditAction`], perhaps of a later release.
    pub action: Box<str>,
    pub target: Box<str>,
    pub detail: Option<Box<str>>,
    /// The word of an [`Outcome`].
    pub outcome: Box<str>,
    /// How often it happened; more than once only where that is counted together.
    pub times: u64,
}

/// Which entries a listing shows. All of them, if it says nothing.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub actor: Option<String>,
    pub action: Option<AuditAction>,
    pub target: Option<String>,
}

static INSERT: Sql =
    Sql::new(&["INSERT INTO audit_log (at, actor, address, request, action, target, detail, outcome, times)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"]);

macro_rules! listing {
    ($where:literal, $order:literal, $filters:literal) => {
        Sql::new(&[concat!(
            "SELECT id, at, actor, address, request, action, target, detail, outcome, times FROM audit_log WHERE ",
            $where,
            $filters,
            " ORDER BY id ",
            $order,
            " LIMIT $2"
        )])
    };
}

/// A listing in one direction; each of its statements walks one index.
struct Listing {
    everything: Sql,
    of_actor: Sql,
    of_target: Sql,
    of_action: Sql,
}

macro_rules! listings {
    ($where:literal, $order:literal) => {
        Listing {
            everything: listing!($where, $order, ""),
            of_actor: listing!(
                $where,
                $order,
                " AND actor = $3 AND ($4 IS NULL OR action = $4) AND ($5 IS NULL OR target = $5)"
            ),
            of_target: listing!($where, $order, " AND target = $5 AND ($4 IS NULL OR action = $4)"),
            of_action: listing!($where, $order, " AND action = $4"),
        }
    };
}

static NEWEST_FIRST: Listing = listings!("id < $1", "DESC");
static OLDEST_FIRST: Listing = listings!("id > $1", "ASC");

fn record(row: &Row) -> Result<AuditRecord, Error> {
    Ok(AuditRecord {
        id: row.int(0)?,
        at: row.time(1)?,
        actor: row.text(2)?.into(),
        address: row.maybe_parse(3, "address")?,
        request: row.maybe_text(4)?.map(Into::into),
        action: row.text(5)?.into(),
        target: row.text(6)?.into(),
        detail: row.maybe_text(7)?.map(Into::into),
        outcome: row.text(8)?.into(),
        times: row.size(9)?,
    })
}

/// Writes down what a change does, in its own transaction.
pub(super) async fn audit(
    tx: &mut Tx<'_>,
    origin: &Origin,
    action: AuditAction,
    target: &str,
    detail: Option<&str>,
) -> Result<(), Error> {
    write(tx, origin, Line { action, target, detail, outcome: Outcome::Success, times: 1 }).await
}

struct Line<'a> {
    action: AuditAction,
    target: &'a str,
    detail: Option<&'a str>,
    outcome: Outcome,
    times: u64,
}

async fn write(tx: &mut Tx<'_>, origin: &Origin, line: Line<'_>) -> Result<(), Error> {
    let (actor, address) = (origin.actor.label(), origin.address.map(|address| address.to_string()));
    let args = [
        tx.now.as_micros().into(),
        actor.as_str().into(),
        address.as_deref().into(),
        origin.request.as_deref().into(),
        line.action.as_str().into(),
        line.target.into(),
        line.detail.into(),
        line.outcome.as_str().into(),
        i64::try_from(line.times).unwrap_or(i64::MAX).into(),
    ];
    tx.run(&INSERT, &args).await.map(drop)
}

impl Metadata {
    /// Writes down what is no change here, such as logins that failed: all of it or nothing.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn audit(&self, entries: Vec<(AuditEntry, Origin)>) -> Result<(), Error> {
        self.write("audit", entries, |tx, entries| {
            Box::pin(async move {
                for (entry, origin) in entries {
                    let AuditEntry { action, target, detail, outcome, times } = entry;
                    let (outcome, detail) = (*outcome, detail.as_deref());
                    write(tx, origin, Line { action: *action, target, detail, outcome, times: *times }).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The log, newest first: entries before `before`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn audit_log(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        count: usize,
    ) -> Result<Vec<AuditRecord>, Error> {
        self.listing(&NEWEST_FIRST, filter, before.unwrap_or(i64::MAX), count).await
    }

    /// The log as it was written, for an export: entries after `after`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn audit_export(
        &self,
        filter: &AuditFilter,
        after: Option<i64>,
        count: usize,
    ) -> Result<Vec<AuditRecord>, Error> {
        self.listing(&OLDEST_FIRST, filter, after.unwrap_or(0), count).await
    }

    async fn listing(
        &self,
        listing: &Listing,
        filter: &AuditFilter,
        cursor: i64,
        count: usize,
    ) -> Result<Vec<AuditRecord>, Error> {
        let args = [
            cursor.into(),
            limit(count).into(),
            filter.actor.as_deref().into(),
            filter.action.map(AuditAction::as_str).into(),
            filter.target.as_deref().into(),
        ];
        let sql = match filter {
            AuditFilter { actor: Some(_), .. } => &listing.of_actor,
            AuditFilter { target: Some(_), .. } => &listing.of_target,
            AuditFilter { action: Some(_), .. } => &listing.of_action,
            AuditFilter { .. } => &listing.everything,
        };
        self.read("audit_log", sql, &args).await?.iter().map(record).collect()
    }
}
