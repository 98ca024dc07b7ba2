use super::super::tokens::SESSIONS;
use super::*;

fn new_token(kind: TokenKind, name: &str, owner: TokenOwner, secret: u8) -> NewToken {
    NewToken {
        kind,
        name: name.into(),
        owner,
        grants: vec!["namespace:team:pull,push".parse().unwrap(), "repository:a/b:pull".parse().unwrap()],
        secret: TokenHash([secret; 32]),
        parent: None,
        client: None,
        expires_at: None,
    }
}

#[test]
fn a_token_is_found_by_its_secret_until_it_is_revoked() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let owner = TokenOwner::User(alice.id);
        let new = new_token(TokenKind::Personal, "laptop", owner.clone(), 1);
        let token = metadata.create_token(new.clone(), as_user(&alice)).await.unwrap();
        let find = async || metadata.token_by_secret(&TokenHash([1; 32])).await.unwrap();
        assert_eq!(find().await, Some(token.clone()));
        assert_eq!(find().await, Some(token.clone()));
        assert_eq!(metadata.token(token.id).await.unwrap(), Some(token.clone()));
        assert_eq!(token.grants, new.grants);
        let again = metadata.create_token(NewToken { secret: TokenHash([2; 32]), ..new }, origin()).await;
        assert!(matches!(again, Err(CreateTokenError::NameTaken)), "{again:?}");

        let refresh = NewToken {
            parent: Some(token.id),
            client: Some("docker".into()),
            ..new_token(TokenKind::Refresh, "", owner.clone(), 3)
        };
        let refresh = metadata.create_token(refresh, origin()).await.unwrap();
        assert_eq!(metadata.token(refresh.id).await.unwrap().unwrap().parent, Some(token.id));
        assert_eq!(metadata.tokens(&owner, TokenKind::Personal, None, 10).await.unwrap(), std::slice::from_ref(&token));
        assert!(metadata.revoke_token(token.id, as_user(&alice)).await.unwrap());
        assert!(!metadata.revoke_token(token.id, as_user(&alice)).await.unwrap());
        assert_eq!(find().await, None);
        assert_eq!(metadata.token(refresh.id).await.unwrap(), None, "it ends with the token it was asked with");
        let log = metadata.audit_log(&AuditFilter::default(), None, 10).await.unwrap();
        assert_eq!(names(log.iter().map(|entry| &entry.action)), ["token.revoke", "token.create", "user.create"]);
        assert_eq!(log[0].detail.as_deref(), Some("personal: laptop"));
    });
}

#[test]
fn sessions_end_with_the_password_and_everything_with_the_user() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let owner = TokenOwner::User(alice.id);
        let personal = new_token(TokenKind::Personal, "laptop", owner.clone(), 1);
        let personal = metadata.create_token(personal, origin()).await.unwrap();
        let refresh = metadata.create_token(new_token(TokenKind::Refresh, "", owner, 2), origin()).await.unwrap();
        assert!(metadata.token(refresh.id).await.unwrap().is_some());
        metadata.set_password(alice.id, PasswordHash::new("new"), None, origin()).await.unwrap();
        assert_eq!(metadata.token(refresh.id).await.unwrap(), None);
        assert!(metadata.token(personal.id).await.unwrap().is_some());
        metadata.delete_user(alice.id, origin()).await.unwrap();
        assert_eq!(metadata.token(personal.id).await.unwrap(), None);
    });
}

/// A person who leaves does not break CI.
#[test]
fn a_robot_outlives_whoever_made_it() {
    on_each(|metadata| async move {
        let (alice, bob) = (user(&metadata, "alice").await, user(&metadata, "bob").await);
        metadata.claim_namespace("team".parse().unwrap(), alice.id, origin()).await.unwrap();
        metadata.put_member("team".parse().unwrap(), bob.id, Role::Owner, origin()).await.unwrap();
        let owner = TokenOwner::Namespace("team".parse().unwrap());
        let robot = metadata.create_token(new_token(TokenKind::Robot, "ci", owner.clone(), 1), as_user(&alice)).await;
        let robot = robot.unwrap();
        metadata.delete_user(alice.id, origin()).await.unwrap();
        assert_eq!(metadata.tokens(&owner, TokenKind::Robot, None, 10).await.unwrap(), std::slice::from_ref(&robot));
        assert_eq!(metadata.token_by_secret(&TokenHash([1; 32])).await.unwrap(), Some(robot));
        let nobodys = TokenOwner::Namespace("nobodys".parse().unwrap());
        let refused = metadata.create_token(new_token(TokenKind::Robot, "ci", nobodys, 2), origin()).await;
        assert!(matches!(refused, Err(CreateTokenError::UnknownOwner)), "{refused:?}");
    });
}

#[test]
fn last_use_is_coarse_and_the_expired_are_removed() {
    on_each(|metadata| async move {
        let alice = user(&metadata, "alice").await;
        let owner = TokenOwner::User(alice.id);
        let token = metadata.create_token(new_token(TokenKind::Personal, "a", owner.clone(), 1), origin()).await;
        let token = token.unwrap();
        let hour = Duration::from_secs(3600);
        metadata.touch_token(&token, hour).await.unwrap();
        let touched = metadata.token(token.id).await.unwrap().unwrap();
        assert!(touched.last_used_at.is_some());
        metadata.touch_token(&token, hour).await.unwrap();
        assert_eq!(metadata.token(token.id).await.unwrap().unwrap().last_used_at, touched.last_used_at);

        let past = Timestamp::now().before(hour);
        let expired = NewToken { expires_at: Some(past), ..new_token(TokenKind::Refresh, "", owner, 2) };
        let expired = metadata.create_token(expired, origin()).await.unwrap();
        assert!(metadata.token(expired.id).await.unwrap().is_some(), "whether it counts, the caller decides");
        assert_eq!(metadata.remove_expired_tokens(Timestamp::now(), 10).await.unwrap(), 1);
        assert_eq!(metadata.token(expired.id).await.unwrap(), None);
        assert!(metadata.token(token.id).await.unwrap().is_some());
    });
}

/// However often somebody logs in, so many sessions are theirs; who uses one keeps it.
#[test]
fn one_session_too_many_ends_the_one_that_was_not_used_for_longest() {
    on_each(|metadata| async move {
        let (alice, bob) = (user(&metadata, "alice").await, user(&metadata, "bob").await);
        let session = |owner: &Account, secret: u16| {
            let [high, low] = secret.to_be_bytes();
            let mut bytes = [high; 32];
            bytes[31] = low;
            let client = Some(format!("client {secret}").into());
            let expires_at = Some(Timestamp::now().after(Duration::from_secs(3600)));
            let owner = TokenOwner::User(owner.id);
            let secret = TokenHash(bytes);
            NewToken { secret, client, expires_at, ..new_token(TokenKind::Refresh, "", owner, 0) }
        };
        let bobs = metadata.create_token(session(&bob, 1), origin()).await.unwrap();
        let personal = new_token(TokenKind::Personal, "laptop", TokenOwner::User(alice.id), 9);
        let personal = metadata.create_token(personal, origin()).await.unwrap();
        let past = Some(Timestamp::now().before(Duration::from_secs(60)));
        let expired = NewToken { expires_at: past, ..session(&alice, 2) };
        let expired = metadata.create_token(expired, origin()).await.unwrap();
        let mut made = Vec::new();
        for secret in 300..400 {
            made.push(metadata.create_token(session(&alice, secret), origin()).await.unwrap());
        }
        metadata.touch_token(&made[0], Duration::ZERO).await.unwrap();
        assert!(metadata.token(made[1].id).await.unwrap().is_some(), "a hundred are not too many");
        let found = metadata.token_by_secret(&session(&alice, 301).secret).await.unwrap();
        assert_eq!(found.map(|token| token.id), Some(made[1].id));

        metadata.create_token(session(&alice, 400), origin()).await.unwrap();
        assert_eq!(metadata.token(made[1].id).await.unwrap(), None);
        assert_eq!(metadata.token_by_secret(&session(&alice, 301).secret).await.unwrap(), None);
        for kept in [&made[0], &made[2], &bobs, &personal, &expired] {
            assert!(metadata.token(kept.id).await.unwrap().is_some(), "{kept:?}");
        }
        // Nor are there more when many come at once.
        let logins = (500..520).map(|secret| metadata.create_token(session(&alice, secret), origin()));
        for made in futures_util::future::join_all(logins).await {
            made.unwrap();
        }
        let owner = TokenOwner::User(alice.id);
        let sessions = metadata.tokens(&owner, TokenKind::Refresh, None, 1000).await.unwrap();
        assert_eq!(sessions.iter().filter(|session| session.id != expired.id).count(), SESSIONS);
        assert!(sessions.iter().any(|session| session.id == made[0].id));
    });
}
