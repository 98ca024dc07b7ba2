use super::*;
use crate::domain::{Namespace, RepositoryName};

#[test]
fn members_come_and_go_and_each_change_is_seen_at_once() {
    on_each(|metadata| async move {
        let (alice, bob) = (user(&metadata, "alice").await, user(&metadata, "bob").await);
        let team: Namespace = "team".parse().unwrap();
        let app: RepositoryName = "team/app".parse().unwrap();
        push_blob(&metadata, &push_by(&alice, "team/app"), b"x").await;
        let role = async || metadata.facts(&app, Some(bob.id)).await.unwrap().role;
        assert_eq!(role().await, None);
        let put = async |user: &Account, role| metadata.put_member(team.clone(), user.id, role, as_user(&alice)).await;
        assert_eq!(put(&bob, Role::Reader).await.unwrap(), MemberChange::Done);
        assert_eq!(role().await, Some(Role::Reader));
        assert_eq!(put(&bob, Role::Writer).await.unwrap(), MemberChange::Done);
        assert_eq!(role().await, Some(Role::Writer));
        assert_eq!(metadata.role(&team, bob.id).await.unwrap(), Some(Role::Writer));
        push_blob(&metadata, &push_by(&bob, "team/app"), b"y").await;
        assert_eq!(put(&alice, Role::Reader).await.unwrap(), MemberChange::IsOwner);
        let members = metadata.members(&team, None, 10).await.unwrap();
        let listed: Vec<_> = members.iter().map(|member| (member.name.as_str(), member.role)).collect();
        assert_eq!(listed, [("alice", Role::Owner), ("bob", Role::Writer)]);
        assert_eq!(metadata.members(&team, Some(&members[0].name), 10).await.unwrap(), members[1..]);

        let remove = async |user: &Account| metadata.remove_member(team.clone(), user.id, as_user(&alice)).await;
        assert_eq!(remove(&alice).await.unwrap(), MemberChange::IsOwner);
        assert_eq!(remove(&bob).await.unwrap(), MemberChange::Done);
        assert_eq!(remove(&bob).await.unwrap(), MemberChange::UnknownUser);
        assert_eq!(role().await, None);
        let denied = metadata.commit_blob(push_by(&bob, "team/app"), new_blob(b"z")).await;
        assert!(matches!(denied, Err(Error::Denied)), "{denied:?}");
        let nowhere = metadata.put_member("nowhere".parse().unwrap(), bob.id, Role::Reader, origin()).await.unwrap();
        assert_eq!(nowhere, MemberChange::UnknownNamespace);
    });
}

#[test]
fn a_namespace_is_claimed_once_and_handed_over() {
    on_each(|metadata| async move {
        let (alice, bob) = (user(&metadata, "alice").await, user(&metadata, "bob").await);
        let team: Namespace = "team".parse().unwrap();
        metadata.claim_namespace(team.clone(), alice.id, origin()).await.unwrap();
        let again = metadata.claim_namespace(team.clone(), bob.id, origin()).await;
        assert!(matches!(again, Err(ClaimError::Taken)), "{again:?}");
        metadata.transfer_namespace(team.clone(), bob.id, origin()).await.unwrap();
        assert_eq!(metadata.namespace(&team).await.unwrap().unwrap().owner, Some(bob.name.clone()));
        assert_eq!(metadata.role(&team, bob.id).await.unwrap(), Some(Role::Owner));
        let removed = metadata.remove_member(team.clone(), alice.id, origin()).await.unwrap();
        assert_eq!(removed, MemberChange::Done);
        let nobodys = metadata.transfer_namespace("nobodys".parse().unwrap(), bob.id, origin()).await;
        assert!(matches!(nobodys, Err(ClaimError::UnknownNamespace)), "{nobodys:?}");
        let taken = metadata.create_user(new_user("team"), origin()).await;
        assert!(matches!(taken, Err(CreateUserError::NamespaceTaken)), "{taken:?}");
        assert_eq!(metadata.account(&"team".parse().unwrap()).await.unwrap(), None);
        let mine = async |user: &Account| metadata.namespaces(Some(user.id), None, 10).await.unwrap();
        assert_eq!(names(mine(&bob).await.iter().map(|namespace| &namespace.name)), ["bob", "team"]);
        assert_eq!(names(mine(&alice).await.iter().map(|namespace| &namespace.name)), ["alice"]);
        let all = metadata.namespaces(None, Some(&"alice".parse().unwrap()), 10).await.unwrap();
        assert_eq!(names(all.iter().map(|namespace| &namespace.name)), ["bob", "team"]);
    });
}

#[test]
fn a_namespace_says_what_its_new_repositories_are() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let namespace: Namespace = "alice".parse().unwrap();
        assert!(metadata.set_default_visibility(namespace.clone(), Some(Visibility::Public), origin()).await.unwrap());
        push_blob(&metadata, &push_by(&alice, "alice/open"), b"x").await;
        assert!(metadata.set_default_visibility(namespace, None, origin()).await.unwrap());
        push_blob(&metadata, &push_by(&alice, "alice/closed"), b"x").await;
        let visibility = async |name: &str| {
            metadata.facts(&name.parse().unwrap(), None).await.unwrap().repository.unwrap().visibility
        };
        assert_eq!(visibility("alice/open").await, Visibility::Public);
        assert_eq!(visibility("alice/closed").await, Visibility::Private);
        let id = id_of(&metadata, "alice/open").await;
        assert!(metadata.set_visibility(id, Visibility::Internal, origin()).await.unwrap());
        assert_eq!(visibility("alice/open").await, Visibility::Internal);
        assert!(!metadata.set_default_visibility("nobodys".parse().unwrap(), None, origin()).await.unwrap());
    });
}

/// Whoever takes a name that is free again inherits nothing.
#[test]
fn what_a_deleted_user_leaves_behind_is_nobodys_but_the_admins() {
    on_each(|metadata| async move {
        let (alice, bob) = (user(&metadata, "alice").await, user(&metadata, "bob").await);
        push_blob(&metadata, &push_by(&alice, "alice/app"), b"x").await;
        assert!(metadata.delete_user(alice.id, origin()).await.unwrap());
        let left = metadata.namespace(&"alice".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(left.owner, None);
        let again = metadata.create_user(new_user("alice"), origin()).await;
        assert!(matches!(again, Err(CreateUserError::NamespaceTaken)), "{again:?}");
        let repository = metadata.repository(&"alice/app".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(repository.creator, None);
        metadata.transfer_namespace("alice".parse().unwrap(), bob.id, origin()).await.unwrap();
        assert!(metadata.delete_user(bob.id, origin()).await.unwrap());
        assert!(metadata.namespace(&"bob".parse().unwrap()).await.unwrap().is_none(), "an empty one goes");
    });
}

#[test]
fn a_repository_goes_with_all_it_holds() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        let config = push_blob(&metadata, &target, b"config").await;
        let image = image(&config, &[], "").tagged(&["v1"]);
        metadata.put_manifest(target.clone(), image.clone()).await.unwrap();
        let id = id_of(&metadata, "alice/app").await;
        assert!(metadata.manifest(id, &by_tag("v1")).await.unwrap().is_some());
        assert!(metadata.delete_repository(id, origin()).await.unwrap());
        assert_eq!(metadata.manifest(id, &by_tag("v1")).await.unwrap(), None);
        assert_eq!(metadata.manifest(id, &Reference::Digest(image.digest)).await.unwrap(), None);
        assert_eq!(metadata.blob(id, &config).await.unwrap(), None);
        assert!(metadata.facts(&target.repository, Some(alice.id)).await.unwrap().repository.is_none());
        assert!(!metadata.delete_repository(id, origin()).await.unwrap());
    });
}
