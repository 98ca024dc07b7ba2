use std::time::UNIX_EPOCH;

use super::*;
use crate::metadata::Timestamp;

fn in_seconds(seconds: i64) -> Timestamp {
    let now = (options().clock)().duration_since(UNIX_EPOCH).unwrap().as_micros();
    Timestamp::from_micros(i64::try_from(now).unwrap() + seconds * 1_000_000)
}

/// I6: each ends the tokens that are out, at once.
#[test]
fn what_changes_the_account_ends_its_tokens() {
    on_each(&options(), |house| async move {
        let alice = house.user("alice").await;
        let login = |password: &'static str| {
            let house = Arc::clone(&house);
            async move {
                let caller = house.login("alice", password, &from(1)).await.unwrap();
                let bearer = house.bearer(&caller, None).await;
                let refresh = house.auth.issue_refresh(&caller, Some("docker"), &from(1)).await.unwrap().unwrap();
                house.auth.bearer(&bearer).await.unwrap();
                house.auth.refresh(refresh.expose_secret(), &from(1)).await.unwrap();
                (bearer, refresh)
            }
        };
        let ended = |what: &'static str, (bearer, refresh): (String, secrecy::SecretString)| {
            let house = Arc::clone(&house);
            async move {
                let outcome = house.auth.bearer(&bearer).await;
                assert!(is_invalid(&outcome), "{what}: {outcome:?}");
                let outcome = house.auth.refresh(refresh.expose_secret(), &from(1)).await;
                assert!(is_invalid(&outcome), "{what}: {outcome:?}");
            }
        };
        let (metadata, id) = (&house.metadata, alice.id);

        let out = login("password").await;
        house.set_password(&alice, "password2").await;
        ended("password", out).await;

        let out = login("password2").await;
        metadata.set_disabled(id, true, Origin::system()).await.unwrap();
        ended("disabled", out.clone()).await;
        metadata.set_disabled(id, false, Origin::system()).await.unwrap();
        ended("enabled again", out).await; // for good

        // A role is looked up each time: it needs no new token.
        let (bearer, _) = login("password2").await;
        assert!(!house.auth.bearer(&bearer).await.unwrap().is_admin());
        metadata.set_admin(id, true, Origin::system()).await.unwrap();
        if let Ok(caller) = house.auth.bearer(&bearer).await {
            assert!(caller.is_admin());
        }

        let out = login("password2").await;
        assert!(metadata.delete_user(id, Origin::system()).await.unwrap());
        ended("deleted", out.clone()).await;
        house.user("alice").await;
        ended("named again", out).await; // the name's next owner inherits none
    });
}

#[test]
fn a_bearer_token_carries_the_identity_and_what_it_was_asked_for() {
    on_each(&options(), |house| async move {
        house.user("alice").await;
        let caller = house.login("alice", "password", &from(1)).await.unwrap();
        let unscoped = house.auth.bearer(&house.bearer(&caller, None).await).await.unwrap();
        assert!(matches!(unscoped.bearer(), Bearer::Unscoped) && unscoped.user().is_some());
        let scoped = house.auth.bearer(&house.bearer(&caller, Some("nonsense")).await).await.unwrap();
        assert!(matches!(scoped.bearer(), Bearer::Scoped(scopes) if scopes.is_empty()));
        let nobody = house.auth.bearer(&house.bearer(&Caller::anonymous(), None).await).await.unwrap();
        assert!(nobody.is_anonymous() && matches!(nobody.bearer(), Bearer::Unscoped));
        for caller in [unscoped, scoped, nobody] {
            let outcome = house.auth.issue(&caller, None).await;
            assert!(matches!(outcome, Err(IssueError::TokenForToken)));
            assert!(house.auth.issue_refresh(&caller, None, &from(1)).await.unwrap().is_none());
        }
    });
}

/// R-TKG-07: the access token is the password, and the name its owner's.
#[test]
fn an_access_token_stands_in_for_the_password_of_its_owner_only() {
    on_each(&options(), |house| async move {
        let (alice, bob) = (house.user("alice").await, house.user("bob").await);
        let (secret, token) = house.token(TokenKind::Personal, TokenOwner::User(alice.id), "ci", &["*"]).await;
        let caller = house.login("alice", &secret, &from(1)).await.unwrap();
        assert_eq!((caller.user_id(), caller.credential().map(|c| c.id)), (Some(alice.id), Some(token.id)));
        for user in ["bob", "Alice", "", "alice+ci", "token"] {
            assert!(is_invalid(&house.login(user, &secret, &from(1)).await), "{user}");
        }
        let (start, last) = secret.split_at(secret.len() - 1);
        let other = format!("{start}{}", if last == "x" { "y" } else { "x" });
        assert!(is_invalid(&house.login("alice", &other, &from(1)).await));
        let renamed = secret.replace("dpat_", "drob_");
        assert!(is_invalid(&house.login("alice", &renamed, &from(1)).await));
        assert!(is_invalid(&house.auth.refresh(&secret, &from(1)).await), "it is no refresh token");
        assert!(is_invalid(&house.auth.bearer(&secret).await), "nor a bearer token");
        assert!(house.auth.issue_refresh(&caller, None, &from(1)).await.unwrap().is_none());

        let used = house.metadata.token(token.id).await.unwrap().unwrap();
        assert!(used.last_used_at.is_some());
        house.metadata.set_disabled(alice.id, true, Origin::system()).await.unwrap();
        assert!(is_invalid(&house.login("alice", &secret, &from(1)).await));
        house.metadata.set_disabled(alice.id, false, Origin::system()).await.unwrap();
        house.login("alice", &secret, &from(1)).await.unwrap();
        house.metadata.delete_user(alice.id, Origin::system()).await.unwrap();
        assert!(is_invalid(&house.login("alice", &secret, &from(1)).await));
        assert_ne!(bob.id, alice.id);
    });
}

#[test]
fn a_revoked_or_expired_access_token_ends_what_was_issued_for_it() {
    on_each(&options(), |house| async move {
        let alice = house.user("alice").await;
        let owner = || TokenOwner::User(alice.id);
        let (secret, token) = house.token(TokenKind::Personal, owner(), "one", &["*"]).await;
        let caller = house.login("alice", &secret, &from(1)).await.unwrap();
        let bearer = house.bearer(&caller, None).await;
        house.auth.bearer(&bearer).await.unwrap();
        assert!(house.metadata.revoke_token(token.id, Origin::system()).await.unwrap());
        assert!(is_invalid(&house.login("alice", &secret, &from(1)).await));
        assert!(is_invalid(&house.auth.bearer(&bearer).await));

        let (secret, _) = house.token_until(TokenKind::Personal, owner(), "two", &["*"], Some(in_seconds(2))).await;
        let caller = house.login("alice", &secret, &from(1)).await.unwrap();
        let bearer = house.bearer(&caller, None).await;
        house.auth.bearer(&bearer).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2100)).await;
        assert!(is_invalid(&house.login("alice", &secret, &from(1)).await));
        assert!(is_invalid(&house.auth.bearer(&bearer).await), "it does not outlive its credential");
    });
}

#[test]
fn a_robot_is_itself_and_stays_when_people_go() {
    on_each(&options(), |house| async move {
        let alice = house.user("alice").await;
        let (secret, token) =
            house.token(TokenKind::Robot, namespace("alice"), "ci.main", &["namespace:alice:pull,push"]).await;
        let caller = house.login("alice+ci.main", &secret, &from(1)).await.unwrap();
        assert_eq!(caller.name().as_deref(), Some("alice+ci.main"));
        assert_eq!(&*caller.account(), &format!("robot:{}", token.id.get()));
        let bearer = house.bearer(&caller, None).await;
        let again = house.auth.bearer(&bearer).await.unwrap();
        assert!(matches!(again.identity(), Identity::Robot(robot) if robot.id == token.id));
        assert!(house.auth.issue_refresh(&caller, None, &from(1)).await.unwrap().is_none());
        for user in ["alice", "alice+ci", "bob+ci.main", "alice/ci.main"] {
            assert!(is_invalid(&house.login(user, &secret, &from(1)).await), "{user}");
        }
        house.metadata.set_disabled(alice.id, true, Origin::system()).await.unwrap();
        house.login("alice+ci.main", &secret, &from(1)).await.unwrap();
        house.auth.bearer(&bearer).await.unwrap();
        assert!(house.metadata.revoke_token(token.id, Origin::system()).await.unwrap());
        assert!(is_invalid(&house.auth.bearer(&bearer).await));
    });
}

/// R-TKP-04.
#[test]
fn a_refresh_token_asks_for_tokens_and_opens_nothing_else() {
    on_each(&options(), |house| async move {
        let alice = house.user("alice").await;
        let caller = house.login("alice", "password", &from(1)).await.unwrap();
        let refresh = house.auth.issue_refresh(&caller, Some("docker"), &from(1)).await.unwrap().unwrap();
        let refresh = refresh.expose_secret();
        assert!(is_invalid(&house.login("alice", refresh, &from(1)).await), "no password");
        let redeemed = house.auth.refresh(refresh, &from(1)).await.unwrap();
        assert_eq!(redeemed.user_id(), Some(alice.id));
        house.auth.refresh(refresh, &from(1)).await.unwrap();
        let bearer = house.bearer(&redeemed, None).await;
        assert_eq!(house.auth.bearer(&bearer).await.unwrap().user_id(), Some(alice.id));
        assert!(house.auth.issue_refresh(&redeemed, None, &from(1)).await.unwrap().is_none(), "none begets another");

        let kept = house.metadata.tokens(&TokenOwner::User(alice.id), TokenKind::Refresh, None, 10).await.unwrap();
        assert_eq!((kept.len(), kept[0].client.as_deref()), (1, Some("docker")));
        assert!(kept[0].expires_at > Some(in_seconds(89 * 24 * 3600)));
        assert!(house.metadata.revoke_token(kept[0].id, Origin::system()).await.unwrap());
        assert!(is_invalid(&house.auth.refresh(refresh, &from(1)).await));
        assert!(is_invalid(&house.auth.bearer(&bearer).await));
        for text in ["", "drft_", "password", &format!("drft_{}", "x".repeat(32))] {
            assert!(is_invalid(&house.auth.refresh(text, &from(1)).await), "{text}");
        }
    });
}

/// Design §8: never more than the credential it was asked with, whatever becomes of that.
#[test]
fn a_bearer_token_reaches_no_further_than_the_access_token_it_was_asked_with() {
    on_each(&options(), |house| async move {
        let alice = house.user("alice").await;
        let grants = ["repository:alice/app:pull"];
        let (secret, _) = house.token(TokenKind::Personal, TokenOwner::User(alice.id), "ci", &grants).await;
        let caller = house.login("alice", &secret, &from(1)).await.unwrap();
        let bearer = house.auth.bearer(&house.bearer(&caller, None).await).await.unwrap();
        for caller in [caller, bearer] {
            assert_eq!(caller.narrowing_grants(), Some(&*vec![grants[0].parse::<Grant>().unwrap()]));
            assert_eq!(house.auth.manager(&caller).map(drop), Err(Refusal::Denied));
            let push = house.auth.check(&caller, Access::Push, &"alice/app".parse().unwrap()).await;
            assert!(matches!(push, Err(CheckError::Refused(Refusal::Denied))));
        }
    });
}

/// A token of one account that names another's credential, or a robot's without one.
#[test]
fn a_token_whose_parts_do_not_belong_together_is_bad() {
    use super::super::token::Statement;
    on_each(&options(), |house| async move {
        let (alice, bob) = (house.user("alice").await, house.user("bob").await);
        let (_, bobs) = house.token(TokenKind::Personal, TokenOwner::User(bob.id), "x", &["*"]).await;
        let (_, robot) = house.token(TokenKind::Robot, namespace("bob"), "ci", &["*"]).await;
        let sign = |subject: &str, epoch, credential| {
            let statement = Statement { subject: subject.into(), epoch, credential, scopes: None };
            let signed = house.auth.core.tokens.sign(&statement, (options().clock)()).unwrap();
            signed.token.expose_secret().to_owned()
        };
        for (token, good) in [
            (sign("alice", Some(alice.epoch), None), true),
            (sign("alice", None, None), false),
            (sign("alice", Some(bob.epoch), None), false),
            (sign("alice", Some(alice.epoch), Some(bobs.id)), false),
            (sign("alice", Some(alice.epoch), Some(robot.id)), false),
            (sign("bob", Some(bob.epoch), Some(bobs.id)), true),
            (sign("bob+ci", None, Some(robot.id)), true),
            (sign("bob+ci", None, None), false),
            (sign("bob+cd", None, Some(robot.id)), false),
            (sign("alice+ci", None, Some(robot.id)), false),
            (sign("bob+ci", None, Some(bobs.id)), false),
            (sign("nobody", Some(alice.epoch), None), false),
            (sign("", None, None), true),
        ] {
            let outcome = house.auth.bearer(&token).await;
            assert!(if good { outcome.is_ok() } else { is_invalid(&outcome) }, "{outcome:?}");
        }
    });
}
