//! May this caller do that? Gathers the facts, asks [`super::policy`], counts refusals.

use std::sync::Arc;

use super::gate::{Auth, Core, Registration};
use super::identity::{Bearer, Caller, Identity};
use super::policy::{
    Access, Case, Claim, NamespaceAccess, NamespaceCase, Refusal, Sight, decide, decide_claim, decide_management,
    decide_namespace, decide_user,
};
use crate::domain::{Action, Grant, Namespace, RepositoryName, Role, Username};
use crate::metadata;
use crate::metadata::{Account, Facts, Reach, RepositoryFacts, UserId};

/// Leave to do what was asked for, with what is known of the repository.
#[derive(Debug, Clone, Copy)]
pub struct Permit {
    /// The repository; `None` if it does not exist (a push creates it), or must
    /// look empty (referrers).
    pub repository: Option<RepositoryFacts>,
}

/// Why there is no permit.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The caller may not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database could not be asked.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
}

/// A page of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogPage {
    /// What the caller may pull from, in byte order.
    pub names: Vec<RepositoryName>,
    /// Where the next page begins, if there may be more.
    pub next: Option<RepositoryName>,
}

/// Names looked at for one page, where a credential's grants leave out most of them.
const LOOKED_AT: usize = 10_000;

impl Auth {
    /// Whether the caller may do that with the repository.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn check(
        &self,
        caller: &Caller,
        access: Access,
        repository: &RepositoryName,
    ) -> Result<Permit, CheckError> {
        let facts = self.core.facts(caller, repository).await?;
        match decide(access, &case(caller, repository, &facts, self.core.claim)) {
            Ok(Sight::Clear) => Ok(Permit { repository: facts.repository }),
            Ok(Sight::Blank) => Ok(Permit { repository: None }),
            Err(refusal) => Err(counted(access.as_str(), refusal).into()),
        }
    }

    /// The rule by which a push is judged once more, inside the transaction that accepts it.
    pub fn judge(&self, caller: &Caller, repository: &RepositoryName) -> Arc<dyn Fn(&Facts) -> bool + Send + Sync> {
        let (caller, repository, claim) = (caller.clone(), repository.clone(), self.core.claim);
        Arc::new(move |facts| decide(Access::Push, &case(&caller, &repository, facts, claim)).is_ok())
    }

    /// Whether the caller may do that with the namespace.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn check_namespace(
        &self,
        caller: &Caller,
        access: NamespaceAccess,
        namespace: &Namespace,
    ) -> Result<(), CheckError> {
        self.manager(caller)?;
        let claimed = self.core.metadata.namespace(namespace).await?.is_some();
        let role = match caller.user_id() {
            Some(user) => self.core.metadata.role(namespace, user).await?,
            None => None,
        };
        let case = NamespaceCase {
            asker: caller.asker(),
            role,
            claimed,
            whole: caller.narrowing_grants().is_none(),
            token: caller.management_token(),
        };
        Ok(decide_namespace(access, &case).map_err(|refusal| counted("namespace", refusal))?)
    }

    /// The user, if the caller may use the management API.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn manager<'a>(&self, caller: &'a Caller) -> Result<&'a Account, Refusal> {
        decide_management(caller.asker(), caller.narrowing_grants().is_none(), caller.management_token())
            .and_then(|()| caller.user().ok_or(Refusal::Denied))
            .map_err(|refusal| counted("manage", refusal))
    }

    /// The user, if the caller is an admin.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn admin<'a>(&self, caller: &'a Caller) -> Result<&'a Account, Refusal> {
        let account = self.manager(caller)?;
        if account.admin { Ok(account) } else { Err(counted("admin", Refusal::Denied)) }
    }

    /// Whether the account of that name is the caller's to see and change.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn check_user(&self, caller: &Caller, name: &Username) -> Result<(), Refusal> {
        let own = caller.user().is_some_and(|account| account.name == *name);
        decide_user(caller.asker(), caller.narrowing_grants().is_none(), caller.management_token(), own)
            .map_err(|refusal| counted("user", refusal))
    }

    /// Whether the caller may claim a namespace that is nobody's.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn check_claim(&self, caller: &Caller) -> Result<(), Refusal> {
        let whole = caller.narrowing_grants().is_none();
        decide_claim(caller.asker(), whole, caller.management_token(), self.core.claim)
            .map_err(|refusal| counted("claim", refusal))
    }

    /// Whether the caller may register a user.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn check_registration(&self, caller: &Caller) -> Result<(), Refusal> {
        match self.core.registration {
            Registration::Open => Ok(()),
            Registration::Admins => self.admin(caller).map(drop),
        }
    }

    /// Whether the caller showed credentials at all, an anonymous token being some (R-PNG-02).
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn check_identity(&self, caller: &Caller) -> Result<(), Refusal> {
        match (caller.identity(), caller.bearer()) {
            (Identity::Anonymous, Bearer::Absent) => Err(Refusal::Challenge { insufficient_scope: false }),
            _ => Ok(()),
        }
    }

    /// Whether the caller may list the catalog (R-CAT-02).
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn check_catalog(&self, caller: &Caller) -> Result<(), Refusal> {
        self.check_identity(caller).map_err(|refusal| counted("catalog", refusal))?;
        match caller.bearer() {
            Bearer::Scoped(scopes) if !scopes.catalog() => {
                Err(counted("catalog", Refusal::Challenge { insufficient_scope: true }))
            }
            Bearer::Absent | Bearer::Unscoped | Bearer::Scoped(_) => Ok(()),
        }
    }

    /// The repositories that the caller may pull from, those after `after`.
    ///
    /// A credential whose grants name less than everything lists what its grants
    /// name; a page of it may be short, or even empty, before the last.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn catalog(
        &self,
        caller: &Caller,
        after: Option<&str>,
        count: usize,
    ) -> Result<CatalogPage, metadata::Error> {
        let granted = caller.narrowing_grants();
        let looked_at = if granted.is_some() { count.max(LOOKED_AT) } else { count };
        // One more tells whether another page follows.
        let mut found = self.core.metadata.catalog(&caller.viewer(), after, looked_at + 1).await?;
        let more = found.len() > looked_at;
        found.truncate(looked_at);
        let last_looked_at = found.last().cloned();
        let pulls = |name: &RepositoryName| {
            granted.is_none_or(|grants| grants.iter().any(|grant| grant.actions_in(name).contains(Action::Pull)))
        };
        let mut names: Vec<_> = found.into_iter().filter(pulls).collect();
        let cut = names.len() > count;
        names.truncate(count);
        let next = if cut { names.last().cloned() } else { last_looked_at.filter(|_| more) };
        Ok(CatalogPage { names, next })
    }

    /// Where the caller may take a blob from that they name by digest alone
    /// (R-MNT-04): a token for some repositories reaches no others but public ones.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn mountable(&self, caller: &Caller) -> Result<Reach, metadata::Error> {
        let named: Vec<RepositoryName> = match (caller.bearer(), caller.narrowing_grants()) {
            (Bearer::Scoped(scopes), _) => scopes.repositories().map(|(name, _)| name.clone()).collect(),
            (_, Some(grants)) => grants.iter().filter_map(named_by).cloned().collect(),
            (Bearer::Absent | Bearer::Unscoped, None) => return Ok(Reach::All(caller.viewer())),
        };
        let mut and = Vec::new();
        for repository in named {
            let facts = self.core.facts(caller, &repository).await?;
            let case = case(caller, &repository, &facts, self.core.claim);
            if decide(Access::Pull, &case) == Ok(Sight::Clear) {
                and.push(repository);
            }
        }
        Ok(Reach::Public { and })
    }
}

impl Core {
    /// The case of that caller and repository, as far as the database knows it.
    pub(super) async fn case(&self, caller: &Caller, repository: &RepositoryName) -> Result<Case, metadata::Error> {
        let facts = self.facts(caller, repository).await?;
        Ok(case(caller, repository, &facts, self.claim))
    }

    /// What the database knows of that repository and of the caller there.
    async fn facts(&self, caller: &Caller, repository: &RepositoryName) -> Result<Facts, metadata::Error> {
        match caller.identity() {
            // A robot that was not granted a repository is not to learn, by how fast it is refused, whether it exists.
            Identity::Robot(robot) if caller.reach(repository).covers(Action::Pull) => {
                self.metadata.facts_for_robot(repository, robot.name.namespace()).await
            }
            _ => self.metadata.facts(repository, caller.user_id()).await,
        }
    }
}

fn named_by(grant: &Grant) -> Option<&RepositoryName> {
    match grant {
        Grant::Repository(name, _) => Some(name),
        Grant::Everything | Grant::Namespace(..) => None,
    }
}

fn case(caller: &Caller, repository: &RepositoryName, facts: &Facts, claim: Claim) -> Case {
    Case {
        asker: caller.asker(),
        role: role(caller, repository, facts),
        visibility: facts.repository.map(|repository| repository.visibility),
        claimed: facts.claimed,
        claim,
        reach: caller.reach(repository),
        token: caller.token(repository),
    }
}

/// A creator owns while a member; a robot handles all content of its own namespace, as far as it was granted.
fn role(caller: &Caller, repository: &RepositoryName, facts: &Facts) -> Option<Role> {
    let created_by = |user: UserId| facts.repository.is_some_and(|repository| repository.creator == Some(user));
    match caller.identity() {
        Identity::Anonymous => None,
        Identity::User(account) => facts.role.map(|role| if created_by(account.id) { Role::Owner } else { role }),
        Identity::Robot(robot) => {
            (robot.name.namespace().as_str() == repository.namespace_str()).then_some(Role::Owner)
        }
    }
}

fn counted(action: &'static str, refusal: Refusal) -> Refusal {
    metrics::counter!("registry_authz_denials_total", "action" => action, "reason" => refusal.as_str()).increment(1);
    refusal
}
