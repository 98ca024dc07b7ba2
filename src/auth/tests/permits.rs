use super::super::matrix::{
    ACCESSES, COVERED, NOT_COVERED, PLACES, Row, UNSCOPED_ANONYMOUS, WITHOUT_TOKEN, covers, every_set_of_actions,
    granted, letter_of,
};
use super::super::policy::{Asker, Claim, Reach, Sight};
use super::*;
use crate::domain::{Actions, Digest, ObjectName, RepositoryName, Role, Scope, UploadId, Visibility};
use crate::metadata::{MemberChange, NewBlob, PushTarget, TokenId};

fn repository(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn as_user(account: &Account) -> Caller {
    Caller::new(Identity::User(account.clone()), None, Bearer::Absent)
}

/// Some digest and an object of its own for it.
pub(super) fn blob(seed: u8) -> NewBlob {
    let digest: Digest = format!("sha256:{}", format!("{seed:02x}").repeat(32)).parse().unwrap();
    NewBlob { object: ObjectName::new(&digest, UploadId::random()), digest, size: 1 }
}

impl House {
    /// Pushes a blob as that caller, judged as a push is.
    async fn push(&self, caller: &Caller, to: &str, visibility: Visibility) -> Result<(), metadata::Error> {
        let repository = repository(to);
        let judge = self.auth.judge(caller, &repository);
        let origin = Origin { actor: caller.actor(), address: None, request: None };
        let target = PushTarget { repository, origin, visibility, judge };
        self.metadata.commit_blob(target, blob(1)).await.map(drop)
    }

    async fn member(&self, namespace: &str, account: &Account, role: Role) {
        let change = self.metadata.put_member(namespace.parse().unwrap(), account.id, role, Origin::system()).await;
        assert_eq!(change.unwrap(), MemberChange::Done);
    }

    async fn answer(&self, caller: &Caller, access: Access, repository: &RepositoryName) -> char {
        letter_of(match self.auth.check(caller, access, repository).await {
            Ok(permit) if permit.repository.is_none() && access == Access::Referrers => Ok(Sight::Blank),
            Ok(_) => Ok(Sight::Clear),
            Err(CheckError::Refused(refusal)) => Err(refusal),
            Err(CheckError::Metadata(error)) => panic!("{error}"),
        })
    }
}

/// The table of `matrix`, with real accounts, members, repositories and tokens.
#[test]
fn every_cell_holds_over_the_database() {
    on_each(&options(), |house| async move {
        let admins_claim = Options { claim: Claim::Admins, ..options() };
        let strict = House {
            metadata: house.metadata.clone(),
            auth: Auth::new(house.metadata.clone(), admins_claim).await.unwrap(),
        };
        let owner = house.user("team").await;
        for visibility in Visibility::ALL {
            house.push(&as_user(&owner), &format!("team/{visibility}"), visibility).await.unwrap();
        }
        let mut people = Vec::new();
        for (user, role) in [
            ("stranger", None),
            ("reader", Some(Role::Reader)),
            ("writer", Some(Role::Writer)),
            ("owner", Some(Role::Owner)),
        ] {
            let account = house.user(user).await;
            if let Some(role) = role {
                house.member("team", &account, role).await;
            }
            people.push((role, account));
        }
        let root = house.admin("root").await;
        let identity = |asker, role: Option<Role>| match asker {
            Asker::Anonymous => Identity::Anonymous,
            Asker::Admin => Identity::User(root.clone()),
            Asker::User => Identity::User(people.iter().find(|(has, _)| *has == role).unwrap().1.clone()),
            Asker::Robot => {
                let home = if role.is_some() { "team+ci" } else { "stranger+ci" };
                Identity::Robot(Robot { id: TokenId::from_number(99), name: home.parse().unwrap() })
            }
        };
        let names = ["team/public", "team/internal", "team/private", "team/absent", "free/absent", "free/absent"];
        let mut looked = 0;
        let mut check =
            async |rows: &[Row], scope: Option<Actions>, unscoped: bool, applies: &dyn Fn(Access) -> bool| {
                for &(asker, role, reach, expected) in rows {
                    for (place, letters) in expected.into_iter().enumerate() {
                        let repository = repository(names[place]);
                        let house = if PLACES[place].2 == Claim::Admins { &strict } else { &*house };
                        let credential = match reach {
                            Reach::Whole => None,
                            Reach::Granted(actions) if actions.is_empty() => {
                                Some("repository:elsewhere/x:*".parse().unwrap())
                            }
                            Reach::Granted(actions) => Some(Grant::Repository(repository.clone(), actions)),
                        };
                        let credential = credential
                            .map(|grant| Credential { id: TokenId::from_number(98), grants: vec![grant].into() });
                        let bearer = match scope {
                            Some(actions) => Bearer::Scoped(Arc::new(
                                [Scope::repository(repository.clone(), actions)].into_iter().collect(),
                            )),
                            None if unscoped => Bearer::Unscoped,
                            None => Bearer::Absent,
                        };
                        let caller = Caller::new(identity(asker, role), credential, bearer);
                        for (access, expected) in ACCESSES.into_iter().zip(letters.chars()) {
                            if expected != '.' && applies(access) {
                                let answer = house.answer(&caller, access, &repository).await;
                                assert_eq!(answer, expected, "{access:?} {repository} by {caller:?}");
                                looked += 1;
                            }
                        }
                    }
                }
            };
        check(&WITHOUT_TOKEN, None, false, &|_| true).await;
        check(&WITHOUT_TOKEN[1..], None, true, &|_| true).await;
        check(&[UNSCOPED_ANONYMOUS], None, true, &|_| true).await;
        check(&granted(), None, false, &|_| true).await;
        check(&granted(), None, true, &|_| true).await;
        for scope in every_set_of_actions() {
            let covered = |access| covers(scope, access);
            check(&COVERED, Some(scope), false, &|access| covered(access) || access == Access::Manage).await;
            check(&NOT_COVERED, Some(scope), false, &|access| !covered(access)).await;
        }
        assert_eq!(looked, 2900);
    });
}

#[test]
fn a_creator_owns_what_they_made_while_they_are_members() {
    on_each(&options(), |house| async move {
        house.user("team").await;
        let bob = house.user("bob").await;
        house.member("team", &bob, Role::Writer).await;
        house.push(&as_user(&bob), "team/bobs", Visibility::Private).await.unwrap();
        let bobs = repository("team/bobs");
        assert_eq!(house.answer(&as_user(&bob), Access::Manage, &bobs).await, '+');
        house.member("team", &bob, Role::Reader).await;
        assert_eq!(house.answer(&as_user(&bob), Access::Delete, &bobs).await, '+');
        house.metadata.remove_member("team".parse().unwrap(), bob.id, Origin::system()).await.unwrap();
        for (access, answer) in ACCESSES.into_iter().zip("hdhhe".chars()) {
            assert_eq!(house.answer(&as_user(&bob), access, &bobs).await, answer, "{access:?}");
        }
    });
}

/// Design §8: whoever pushes first has the namespace, and whoever loses the race is denied inside it.
#[test]
fn a_namespace_goes_to_the_first_push_and_the_next_is_judged_again() {
    on_each(&options(), |house| async move {
        let (alice, bob) = (as_user(&house.user("alice").await), as_user(&house.user("bob").await));
        let free = repository("free/thing");
        for caller in [&alice, &bob] {
            house.auth.check(caller, Access::Push, &free).await.unwrap();
        }
        let (one, two) = tokio::join!(
            house.push(&alice, "free/thing", Visibility::Private),
            house.push(&bob, "free/thing", Visibility::Private)
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        let lost = if one.is_ok() { two } else { one };
        assert!(matches!(lost, Err(metadata::Error::Denied)));
        let refused = house.push(&Caller::anonymous(), "other/thing", Visibility::Public).await;
        assert!(matches!(refused, Err(metadata::Error::Denied)));
    });
}

/// R-AUZ-01, R-AUZ-07, R-SCP-04, R-CAT-02.
#[test]
fn a_token_is_granted_what_is_allowed_of_what_is_asked() {
    on_each(&options(), |house| async move {
        let alice = as_user(&house.user("alice").await);
        let bob = as_user(&house.user("bob").await);
        let root = as_user(&house.admin("root").await);
        let nobody = Caller::anonymous();
        house.push(&alice, "alice/secret", Visibility::Private).await.unwrap();
        house.push(&alice, "alice/open", Visibility::Public).await.unwrap();
        let grants = vec!["repository:alice/secret:pull".parse::<Grant>().unwrap()];
        let credential = Credential { id: TokenId::from_number(7), grants: grants.into() };
        let narrowed = Caller::new(alice.identity().clone(), Some(credential), Bearer::Absent);
        for (caller, asked, granted) in [
            (&alice, "repository:alice/secret:*", "repository:alice/secret:pull,push,delete"),
            (&alice, "repository:alice/secret:push,pull", "repository:alice/secret:pull,push"),
            (&alice, "repository:alice/new:*", "repository:alice/new:pull,push"),
            (&alice, "repository:free/new:pull,push", "repository:free/new:pull,push"),
            (&alice, "repository:bob/new:pull,push", ""),
            (&bob, "repository:alice/secret:pull,push", ""),
            (&bob, "repository:alice/open:pull,push", "repository:alice/open:pull"),
            (&bob, "repository:alice/new:pull,push", ""),
            (&nobody, "repository:alice/open:pull,push", "repository:alice/open:pull"),
            (&nobody, "repository:alice/secret:pull", ""),
            (&nobody, "repository:free/new:pull,push", ""),
            (&nobody, "registry:catalog:*", "registry:catalog:*"),
            (&root, "repository:alice/secret:delete", "repository:alice/secret:delete"),
            (&root, "repository:bob/new:*", "repository:bob/new:pull,push"),
            (&narrowed, "repository:alice/secret:*", "repository:alice/secret:pull"),
            (&narrowed, "repository:alice/open:*", "repository:alice/open:pull"),
            (&narrowed, "repository:alice/new:*", ""),
            (
                &alice,
                "repository:alice/secret:pull repository:alice/open:pull repository:bob/x:pull",
                "repository:alice/secret:pull repository:alice/open:pull",
            ),
            (&alice, "nonsense", ""),
        ] {
            let scopes = Scopes::asked([asked]).unwrap();
            let issued = house.auth.issue(caller, scopes.as_ref()).await.unwrap();
            let written: Vec<_> = issued.granted.iter().map(|scope| scope.to_string()).collect();
            assert_eq!(written.join(" "), granted, "{asked} for {caller:?}");
        }
    });
}

#[test]
fn a_credential_for_one_repository_manages_nothing() {
    on_each(&options(), |house| async move {
        let account = house.admin("alice").await;
        let with = |grant: &str, bearer| {
            let grants = vec![grant.parse::<Grant>().unwrap()];
            let credential = Credential { id: TokenId::from_number(7), grants: grants.into() };
            Caller::new(Identity::User(account.clone()), Some(credential), bearer)
        };
        let own = "alice".parse().unwrap();
        let auth = &house.auth;
        for (caller, expected) in [
            (as_user(&account), Ok(())),
            (with("*", Bearer::Absent), Ok(())),
            (with("*", Bearer::Unscoped), Ok(())),
            (with("namespace:alice:*", Bearer::Absent), Err(Refusal::Denied)),
            (with("*", Bearer::Scoped(Arc::default())), Err(Refusal::Challenge { insufficient_scope: true })),
            (Caller::anonymous(), Err(Refusal::Challenge { insufficient_scope: false })),
        ] {
            assert_eq!(auth.manager(&caller).map(drop), expected, "{caller:?}");
            assert_eq!(auth.admin(&caller).map(drop), expected, "{caller:?}");
            let namespace = auth.check_namespace(&caller, NamespaceAccess::Manage, &own).await;
            assert_eq!(namespace.is_ok(), expected.is_ok(), "{caller:?}");
        }
        let bob = as_user(&house.user("bob").await);
        assert!(auth.manager(&bob).is_ok());
        assert_eq!(auth.admin(&bob).map(drop), Err(Refusal::Denied));
        let namespace = auth.check_namespace(&bob, NamespaceAccess::View, &own).await;
        assert!(matches!(namespace, Err(CheckError::Refused(Refusal::Hidden))));
        let closed = Options { registration: Registration::Admins, ..options() };
        let closed = Auth::new(house.metadata.clone(), closed).await.unwrap();
        for (caller, by_default, when_closed) in [
            (Caller::anonymous(), Ok(()), Err(Refusal::Challenge { insufficient_scope: false })),
            (bob, Ok(()), Err(Refusal::Denied)),
            (as_user(&account), Ok(()), Ok(())),
        ] {
            assert_eq!(auth.check_registration(&caller), by_default);
            assert_eq!(closed.check_registration(&caller), when_closed);
        }
    });
}

/// R-CAT-02, R-MNT-04.
#[test]
fn lists_and_anonymous_mounts_reach_no_further_than_the_token() {
    on_each(&options(), |house| async move {
        let alice = house.user("alice").await;
        let caller = as_user(&alice);
        for (name, visibility) in [
            ("a", Visibility::Private),
            ("b", Visibility::Private),
            ("c", Visibility::Internal),
            ("d", Visibility::Public),
        ] {
            house.push(&caller, &format!("alice/{name}"), visibility).await.unwrap();
        }
        let (auth, bob) = (&house.auth, as_user(&house.user("bob").await));
        let scoped = |scopes: &str| {
            let scopes = Scopes::asked([scopes]).unwrap().unwrap();
            Caller::new(Identity::User(alice.clone()), None, Bearer::Scoped(scopes.into()))
        };
        let granted = |grant: &str| {
            let grants = vec![grant.parse::<Grant>().unwrap()];
            let credential = Credential { id: TokenId::from_number(7), grants: grants.into() };
            Caller::new(Identity::User(alice.clone()), Some(credential), Bearer::Absent)
        };
        for (caller, expected) in [
            (&Caller::anonymous(), "alice/d"),
            (&bob, "alice/c alice/d"),
            (&caller, "alice/a alice/b alice/c alice/d"),
            (&granted("repository:alice/b:pull"), "alice/b"),
            (&granted("repository:alice/b:push"), ""),
            (&granted("namespace:alice:pull"), "alice/a alice/b alice/c alice/d"),
        ] {
            let page = auth.catalog(caller, None, 100).await.unwrap();
            let names: Vec<_> = page.names.iter().map(RepositoryName::as_str).collect();
            assert_eq!((names.join(" ").as_str(), page.next), (expected, None), "{caller:?}");
        }
        let page = auth.catalog(&granted("namespace:alice:pull"), Some("alice/a"), 2).await.unwrap();
        assert_eq!(page.next, Some(repository("alice/c")));

        assert!(matches!(auth.mountable(&caller).await.unwrap(), metadata::Reach::All(_)));
        for (caller, expected) in [
            (scoped("repository:alice/a:pull,push repository:bob/x:pull"), vec!["alice/a"]),
            (scoped("repository:alice/a:push"), vec![]),
            (granted("repository:alice/b:pull"), vec!["alice/b"]),
            (granted("namespace:alice:*"), vec![]),
        ] {
            let metadata::Reach::Public { and } = auth.mountable(&caller).await.unwrap() else { panic!("{caller:?}") };
            assert_eq!(and.iter().map(RepositoryName::as_str).collect::<Vec<_>>(), expected, "{caller:?}");
        }
        let refused = |insufficient_scope| Err(Refusal::Challenge { insufficient_scope });
        for (caller, expected) in [
            (Caller::anonymous(), refused(false)),
            (Caller::new(Identity::Anonymous, None, Bearer::Unscoped), Ok(())),
            (scoped("repository:alice/a:pull"), refused(true)),
            (scoped("registry:catalog:*"), Ok(())),
            (bob.clone(), Ok(())),
        ] {
            assert_eq!(auth.check_catalog(&caller), expected, "{caller:?}");
        }
        assert_eq!(auth.check_identity(&Caller::anonymous()), refused(false));
        assert_eq!(auth.check_identity(&Caller::new(Identity::Anonymous, None, Bearer::Unscoped)), Ok(()));
    });
}
