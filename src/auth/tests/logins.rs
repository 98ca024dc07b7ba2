use futures_util::future::join_all;
use tokio::time::timeout;

use super::*;
use crate::metadata::{AuditFilter, Backend};

fn few() -> Options {
    let account = Limit { burst: 3, every: Duration::from_secs(3600) };
    let address = Limit { burst: 5, every: Duration::from_secs(3600) };
    Options { limits: Limits { account, address }, ..options() }
}

#[test]
fn a_password_proves_its_user_and_every_other_answer_is_the_same() {
    on_each(&options(), |house| async move {
        let alice = house.user("alice").await;
        let bob = house.user("bob").await;
        house.metadata.set_disabled(bob.id, true, Origin::system()).await.unwrap();
        let caller = house.login("alice", "password", &from(1)).await.unwrap();
        assert_eq!(caller.user_id(), Some(alice.id));
        assert_eq!(&*caller.account(), &format!("user:{}", alice.id.get()));
        let long = "x".repeat(2000);
        for (user, password) in [
            ("alice", "Password"),
            ("alice", "password "),
            ("alice", ""),
            ("alice", &long),
            ("", "password"),
            ("bob", "password"), // disabled
            ("nobody", "password"),
            ("Alice", "password"),
            ("alice+bob", "password"),
            ("alice\0", "password"),
            ("bob", "wrong one"),
        ] {
            let outcome = house.login(user, password, &from(1)).await;
            assert!(is_invalid(&outcome), "{user} {password}: {outcome:?}");
            assert_eq!(outcome.unwrap_err().to_string(), Rejection::Invalid.to_string());
        }
        assert!(house.login("", "", &from(1)).await.unwrap().is_anonymous());
    });
}

/// No answer without a hash tells which names exist: with all turns taken, both wait.
#[test]
fn a_name_that_nobody_has_waits_for_a_hash_like_any_other() {
    on_each(&options(), |house| async move {
        house.user("alice").await;
        let logins = &house.auth.core.logins;
        let held =
            (logins.turns.take(from(9).address).await.unwrap(), logins.turns.take(from(9).address).await.unwrap());
        for user in ["alice", "nobody"] {
            assert!(timeout(SOON, house.login(user, "wrong one", &from(1))).await.is_err(), "{user}");
        }
        drop(held);
        for user in ["alice", "nobody"] {
            assert!(is_invalid(&house.login(user, "wrong one", &from(1)).await));
        }
        // And again both are refused from memory.
        let held =
            (logins.turns.take(from(9).address).await.unwrap(), logins.turns.take(from(9).address).await.unwrap());
        for user in ["alice", "nobody"] {
            let refused = timeout(LONG, house.login(user, "wrong one", &from(1))).await;
            assert!(is_invalid(&refused.expect("no hash")), "{user}");
        }
        drop(held);
    });
}

#[test]
fn a_remembered_password_costs_no_hash_until_something_changes() {
    on_each(&options(), |house| async move {
        let alice = house.user("alice").await;
        house.login("alice", "password", &from(1)).await.unwrap();
        let logins = &house.auth.core.logins;
        let held =
            (logins.turns.take(from(9).address).await.unwrap(), logins.turns.take(from(9).address).await.unwrap());
        timeout(LONG, house.login("alice", "password", &from(2))).await.expect("no hash").unwrap();
        assert!(timeout(SOON, house.login("alice", "Password", &from(2))).await.is_err(), "another one is hashed");
        drop(held);

        house.set_password(&alice, "password2").await;
        assert!(is_invalid(&house.login("alice", "password", &from(1)).await));
        house.login("alice", "password2", &from(1)).await.unwrap();
        house.metadata.set_disabled(alice.id, true, Origin::system()).await.unwrap();
        assert!(is_invalid(&house.login("alice", "password2", &from(1)).await));
        assert!(is_invalid(&house.login("alice", "password2", &from(1)).await));
        house.metadata.set_disabled(alice.id, false, Origin::system()).await.unwrap();
        house.login("alice", "password2", &from(1)).await.unwrap();
        assert!(house.metadata.delete_user(alice.id, Origin::system()).await.unwrap());
        assert!(is_invalid(&house.login("alice", "password2", &from(1)).await));
        house.user("alice").await;
        assert!(is_invalid(&house.login("alice", "password2", &from(1)).await), "the name's next owner has another");
        house.login("alice", "password", &from(1)).await.unwrap();
    });
}

/// A wrong password that is remembered becomes right with the account's next password.
#[test]
fn what_was_wrong_is_looked_at_again_when_the_account_has_changed() {
    on_each(&options(), |house| async move {
        assert!(is_invalid(&house.login("alice", "password", &from(1)).await));
        let alice = house.user("alice").await;
        house.login("alice", "password", &from(1)).await.unwrap();
        assert!(is_invalid(&house.login("alice", "password2", &from(1)).await));
        house.set_password(&alice, "password2").await;
        house.login("alice", "password2", &from(1)).await.unwrap();
    });
}

#[test]
fn guessing_is_slowed_down_and_says_when_to_come_back() {
    on_each(&few(), |house| async move {
        house.user("alice").await;
        for n in 0..3 {
            assert!(is_invalid(&house.login("alice", &format!("guess {n}"), &from(n)).await));
        }
        for (user, password) in [("alice", "guess 4"), ("alice", "password")] {
            let outcome = house.login(user, password, &from(9)).await;
            let Err(Rejection::Throttled { retry_after }) = outcome else { panic!("{outcome:?}") };
            assert!(retry_after > Duration::from_secs(3000) && retry_after <= Duration::from_secs(3600));
        }
        // The same for a name that nobody has.
        for n in 0..3 {
            assert!(is_invalid(&house.login("nobody", &format!("guess {n}"), &from(n)).await));
        }
        assert!(matches!(house.login("nobody", "guess 4", &from(9)).await, Err(Rejection::Throttled { .. })));
        // And for one address that tries many names.
        for n in 0..5 {
            assert!(is_invalid(&house.login(&format!("user{n}"), "guess 1", &from(77)).await));
        }
        assert!(matches!(house.login("user6", "guess 1", &from(77)).await, Err(Rejection::Throttled { .. })));
        // What is no guess at an account has its own count.
        for _ in 0..5 {
            assert!(is_invalid(&house.login("+", "guess 1", &from(77)).await));
        }
        assert!(matches!(house.login("+", "guess 1", &from(77)).await, Err(Rejection::Throttled { .. })));
    });
}

/// R-TKG-03: to hang up while a guess is hashed hides it from nobody.
#[test]
fn a_guess_counts_whose_client_has_hung_up() {
    on_each(&options(), |house| async move {
        house.user("alice").await;
        let turns = &house.auth.core.logins.turns;
        let _one_of_two = turns.take(from(9).address).await.unwrap();
        let (mut guesses, mut hung_up) = (0, false);
        while !hung_up {
            guesses += 1;
            let (house, text) = (Arc::clone(&house), format!("guess {guesses}"));
            let login = tokio::spawn(async move { house.login("alice", &text, &from(1)).await });
            // Until the guess has the other turn.
            while timeout(Duration::from_millis(1), turns.take(from(8).address)).await.is_ok() && !login.is_finished() {
                tokio::task::yield_now().await;
            }
            login.abort();
            hung_up = login.await.is_err();
        }
        let written = async {
            loop {
                house.auth.write_down_failures().await;
                let log = house.metadata.audit_log(&AuditFilter::default(), None, 1000).await.unwrap();
                if log.iter().filter(|entry| &*entry.action == "login").map(|entry| entry.times).sum::<u64>() == guesses
                {
                    return;
                }
                tokio::time::sleep(SOON / 10).await;
            }
        };
        timeout(LONG, written).await.expect("every guess is written down");
    });
}

/// R-TKP-01: containerd and BuildKit try a wrong password twice, with POST and with GET.
#[test]
fn the_same_wrong_password_again_is_no_second_guess() {
    on_each(&few(), |house| async move {
        house.user("alice").await;
        for _ in 0..10 {
            assert!(is_invalid(&house.login("alice", "mistyped", &from(1)).await));
        }
        let peer = from(1);
        let at_once = join_all((0..20).map(|_| house.login("alice", "mistyped again", &peer))).await;
        assert!(at_once.iter().all(is_invalid), "one flight, one failure");
        house.login("alice", "password", &from(1)).await.unwrap();
    });
}

#[test]
fn an_attacker_locks_nobody_out_who_has_a_token_or_comes_from_where_they_were() {
    on_each(&few(), |house| async move {
        let alice = house.user("alice").await;
        let caller = house.login("alice", "password", &from(1)).await.unwrap();
        let bearer = house.bearer(&caller, None).await;
        let (secret, _) = house.token(TokenKind::Personal, TokenOwner::User(alice.id), "laptop", &["*"]).await;
        for n in 0..40 {
            let attacker = from(100 + n % 7);
            let _ = house.login("alice", &format!("guess {n}"), &attacker).await;
            let _ = house.login(&format!("user{n}"), "a guess", &from(1)).await; // behind the victim's own address
        }
        let outcome = house.login("alice", "another guess", &from(100)).await;
        assert!(matches!(outcome, Err(Rejection::Throttled { .. })), "{outcome:?}");
        house.login("alice", "password", &from(1)).await.unwrap(); // remembered, from a known address
        // From elsewhere it is a guess like any other, and nobody is told that it is right.
        let outcome = house.login("alice", "password", &from(200)).await;
        assert!(matches!(outcome, Err(Rejection::Throttled { .. })), "{outcome:?}");
        house.auth.bearer(&bearer).await.unwrap();
        house.login("alice", &secret, &from(200)).await.unwrap();
        // Forgotten, as by time or by another process; but from a known address.
        house.set_password(&alice, "password2").await;
        house.login("alice", "password2", &from(1)).await.unwrap();
        assert!(matches!(house.login("alice", "another guess", &from(201)).await, Err(Rejection::Throttled { .. })));
    });
}

#[test]
fn too_many_at_once_are_told_so_and_others_get_their_turn() {
    on_each(&options(), |house| async move {
        house.user("alice").await;
        let logins = &house.auth.core.logins;
        let held =
            (logins.turns.take(from(9).address).await.unwrap(), logins.turns.take(from(9).address).await.unwrap());
        let flood: Vec<_> = (0..256)
            .map(|n| {
                let house = Arc::clone(&house);
                tokio::spawn(async move { house.login("alice", &format!("guess {n}"), &from(66)).await })
            })
            .collect();
        let flooder = from(66);
        let one_more = |patience| timeout(patience, house.login("alice", "one too many", &flooder));
        while one_more(SOON).await.is_err() {}
        assert!(matches!(one_more(LONG).await, Ok(Err(Rejection::Overloaded))));
        house.auth.write_down_failures().await;
        let log = house.metadata.audit_log(&AuditFilter::default(), None, 1000).await.unwrap();
        let crowded = log.iter().filter(|entry| entry.detail.as_deref() == Some("password, too many at once"));
        assert!(crowded.clone().all(|entry| &*entry.target == "unknown" && entry.address == Some(flooder.address)));
        assert!(crowded.map(|entry| entry.times).sum::<u64>() >= 2);
        drop(held);
        let (new, peer) = (password("a new one"), from(1));
        let (hashed, caller) =
            tokio::join!(house.auth.hash(&new, peer.address), house.login("alice", "password", &peer));
        assert!(hashed.is_ok() && caller.is_ok());
        flood.into_iter().for_each(|login| login.abort());
    });
}

#[test]
fn two_hundred_logins_at_once_are_served() {
    on_each(&options(), |house| async move {
        let users: Vec<_> = (0..200).map(|n| format!("ci{n}")).collect();
        join_all(users.iter().map(|user| house.user(user))).await;
        for _ in ["hashed", "remembered"] {
            let logins = join_all(users.iter().map(|user| house.login(user, "password", &FLEET))).await;
            assert!(logins.iter().all(Result::is_ok), "all behind one address");
        }
    });
}

const FLEET: Peer = Peer { address: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), request: None };

#[test]
fn a_hash_without_the_pepper_is_renewed_by_its_owner_and_no_token_ends() {
    let peppered = Options { pepper: Some("0123456789abcdef".into()), ..options() };
    on_each(&peppered, |house| async move {
        let alice = house.user("alice").await;
        let caller = house.login("alice", "password", &from(1)).await.unwrap();
        assert_eq!(caller.user(), Some(&alice));
        let stored = house.metadata.credentials(&name("alice")).await.unwrap().unwrap();
        assert!(stored.pepper_id.is_some());
        assert_eq!(stored.account.epoch, alice.epoch);
        house.login("alice", "password", &from(1)).await.unwrap();
        // Without the pepper nobody gets in, and it is said why.
        let plain = Auth::new(house.metadata.clone(), options()).await.unwrap();
        assert!(is_invalid(&plain.basic("alice", "password", &from(1)).await));
    });
}

#[test]
fn a_failed_login_is_written_down_without_what_was_tried() {
    on_each(&options(), |house| async move {
        house.user("alice").await;
        let peer = Peer { request: Some("request-7".into()), ..from(3) };
        assert!(is_invalid(&house.login("alice", "wrong one", &peer).await));
        assert!(is_invalid(&house.login("alice", &format!("dpat_{}", "x".repeat(32)), &peer).await));
        assert!(is_invalid(&house.login("<script>", "wrong one", &peer).await));
        assert!(matches!(house.auth.unreadable(&peer).await, Rejection::Invalid));
        let log = house.metadata.audit_log(&AuditFilter::default(), None, 10).await.unwrap();
        let failures: Vec<_> = log.iter().filter(|entry| &*entry.action == "login").collect();
        let targets: Vec<_> = failures.iter().map(|entry| &*entry.target).collect();
        assert_eq!(targets, ["unknown", "user:alice", "user:alice"]);
        for entry in &failures {
            assert_eq!((entry.address, entry.request.as_deref()), (Some(peer.address), Some("request-7")));
            assert_eq!((&*entry.outcome, &*entry.actor), ("failure", "anonymous"));
        }
        let printed = format!("{log:?}");
        assert!(!printed.contains("wrong one") && !printed.contains("xxxx"));
    });
}

#[test]
fn a_secret_that_was_made_up_is_kept_for_all_replicas() {
    on_each(&Options { jwt_secret: None, ..Options::default() }, |house| async move {
        house.user("alice").await;
        let caller = house.login("alice", "password", &from(1)).await.unwrap();
        let bearer = house.bearer(&caller, None).await;
        let replica = Auth::new(house.metadata.clone(), Options { jwt_secret: None, ..Options::default() }).await;
        replica.unwrap().bearer(&bearer).await.unwrap();
        let other = Auth::new(house.metadata.clone(), options()).await.unwrap();
        assert!(is_invalid(&other.bearer(&bearer).await));
        assert!(matches!(house.metadata.backend(), Backend::Sqlite | Backend::Postgres));
    });
}

#[test]
fn options_print_no_secret() {
    let secrets = Options {
        pepper: Some("0123456789abcdef".into()),
        jwt_secret: Some("first".into()),
        jwt_previous_secret: Some("second".into()),
        ..Options::default()
    };
    let printed = format!("{secrets:?}");
    for secret in ["0123456789abcdef", "first", "second"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
