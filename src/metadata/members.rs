use super::audit::{AuditAction, audit};
use super::cache::News;
use super::dialect::Sql;
use super::namespaces::USER_NAME;
use super::pagination::limit;
use super::transaction::{Columns, Tx};
use super::{Error, Metadata, Origin, Timestamp, UserId};
use crate::domain::{Namespace, Role, Username};

/// Somebody who may do something in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub user: UserId,
    pub name: Username,
    pub role: Role,
    pub since: Timestamp,
}

/// What became of the wish to change who is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    Done,
    UnknownNamespace,
    /// There is no such user, or they are no member.
    UnknownUser,
    /// The namespace is theirs: transfer it first.
    IsOwner,
}

static LIST: Sql = Sql::new(&["SELECT account, name, role, since FROM members
     WHERE namespace = $1 AND name > $2 ORDER BY name LIMIT $3"]);
/// Locked: its owner does not change while a member does.
static OWNER: Sql = Sql::new(&["SELECT owner FROM namespaces WHERE name = $1 FOR_UPDATE(namespaces)"]);
static PUT: Sql = Sql::new(&["INSERT INTO members (namespace, account, name, role, since)
     SELECT $1, u.id, u.name, $3, $4 FROM users u WHERE u.id = $2
     ON CONFLICT (namespace, account) DO UPDATE SET role = excluded.role"]);
static REMOVE: Sql = Sql::new(&["DELETE FROM members WHERE namespace = $1 AND account = $2 RETURNING account"]);

impl Metadata {
    /// The namespace's members by name, those after `after`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn members(
        &self,
        namespace: &Namespace,
        after: Option<&Username>,
        count: usize,
    ) -> Result<Vec<Member>, Error> {
        let after = after.map_or("", Username::as_str);
        let args = [namespace.as_str().into(), after.into(), limit(count).into()];
        let mut members = Vec::new();
        for row in self.read("members", &LIST, &args).await? {
            members.push(Member {
                user: UserId(row.int(0)?),
                name: row.parse(1, "username")?,
                role: row.parse(2, "role")?,
                since: row.time(3)?,
            });
        }
        Ok(members)
    }

    /// Makes a user a member, or changes their role.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_member(
        &self,
        namespace: Namespace,
        user: UserId,
        role: Role,
        origin: Origin,
    ) -> Result<MemberChange, Error> {
        self.write("put_member", (namespace, user, role, origin), |tx, (namespace, user, role, origin)| {
            Box::pin(async move {
                let name = match changeable(tx, namespace, *user).await? {
                    Ok(name) => name,
                    Err(MemberChange::IsOwner) if *role == Role::Owner => return Ok(MemberChange::Done),
                    Err(why_not) => return Ok(why_not),
                };
                let args = [namespace.as_str().into(), user.0.into(), role.as_str().into(), tx.now.as_micros().into()];
                tx.run(&PUT, &args).await?;
                tx.note(News::Facts);
                let (target, detail) = (format!("namespace:{namespace}"), format!("user:{name} {role}"));
                audit(tx, origin, AuditAction::MemberPut, &target, Some(&detail)).await?;
                Ok(MemberChange::Done)
            })
        })
        .await
    }

    /// Removes a member.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remove_member(
        &self,
        namespace: Namespace,
        user: UserId,
        origin: Origin,
    ) -> Result<MemberChange, Error> {
        self.write("remove_member", (namespace, user, origin), |tx, (namespace, user, origin)| {
            Box::pin(async move {
                let name = match changeable(tx, namespace, *user).await? {
                    Ok(name) => name,
                    Err(why_not) => return Ok(why_not),
                };
                if tx.one(&REMOVE, &[namespace.as_str().into(), user.0.into()]).await?.is_none() {
                    return Ok(MemberChange::UnknownUser);
                }
                tx.note(News::Facts);
                let (target, detail) = (format!("namespace:{namespace}"), format!("user:{name}"));
                audit(tx, origin, AuditAction::MemberRemove, &target, Some(&detail)).await?;
                Ok(MemberChange::Done)
            })
        })
        .await
    }
}

/// The user's name, or why their membership cannot be changed.
async fn changeable(
    tx: &mut Tx<'_>,
    namespace: &Namespace,
    user: UserId,
) -> Result<Result<String, MemberChange>, Error> {
    let Some(row) = tx.one(&OWNER, &[namespace.as_str().into()]).await? else {
        return Ok(Err(MemberChange::UnknownNamespace));
    };
    if row.maybe_int(0)? == Some(user.0) {
        return Ok(Err(MemberChange::IsOwner));
    }
    match tx.one(&USER_NAME, &[user.0.into()]).await? {
        Some(row) => Ok(Ok(row.text(0)?.to_owned())),
        None => Ok(Err(MemberChange::UnknownUser)),
    }
}
