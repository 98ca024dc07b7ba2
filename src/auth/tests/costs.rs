//! What identity costs, for `docs/security.md`:
//! `cargo test --release --lib auth::tests::costs -- --ignored --nocapture`

use std::time::Instant;

use futures_util::future::join_all;

use super::*;
use crate::domain::{RepositoryName, Visibility};
use crate::metadata::{Metadata, PushTarget};

/// CPU time of this process so far, in ticks of 10 ms, and its largest size so far, in MiB.
fn usage() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap(), kib / 1024)
}

async fn measure<F: Future<Output = ()>>(what: &str, times: u32, mut work: impl FnMut(u32) -> F) {
    let ((ticks, _), began) = (usage(), Instant::now());
    for n in 0..times {
        work(n).await;
    }
    let (took, cpu) = (began.elapsed() / times, Duration::from_millis(10 * (usage().0 - ticks)) / times);
    println!("{what}: {took:?}, CPU {cpu:?}");
}

#[test]
#[ignore = "prints figures and asserts nothing"]
fn what_identity_costs() {
    on_each(&options(), |house| async move {
        let users: Vec<_> = (0..200).map(|n| format!("ci{n}")).collect();
        join_all(users.iter().map(|user| house.user(user))).await;
        let (house, peer) = (&house, &from(1));
        measure("login by password, first", 50, |n| async move {
            house.login(&format!("ci{n}"), "password", peer).await.unwrap();
        })
        .await;
        measure("login by password, remembered", 20_000, |n| async move {
            house.login(&format!("ci{}", n % 50), "password", peer).await.unwrap();
        })
        .await;
        let alice = house.user("alice").await;
        let (secret, _) = house.token(TokenKind::Personal, TokenOwner::User(alice.id), "x", &["*"]).await;
        house.login("alice", &secret, peer).await.unwrap();
        let secret = &*secret;
        measure("login by access token", 20_000, |_| async move {
            house.login("alice", secret, peer).await.unwrap();
        })
        .await;

        let caller = house.login("alice", "password", peer).await.unwrap();
        let repository: RepositoryName = "alice/app".parse().unwrap();
        push(&house.metadata, &house.auth, &caller, &repository).await;
        let (caller, repository) = (&caller, &repository);
        measure("a bearer token, issued with a scope", 20_000, |_| async move {
            house.bearer(caller, Some("repository:alice/app:pull,push")).await;
        })
        .await;
        let mut tokens = Vec::new();
        for _ in 0..20_000 {
            tokens.push(house.bearer(caller, Some("repository:alice/app:pull,push")).await);
        }
        let tokens = &tokens;
        measure("a bearer token, checked for the first time", 20_000, |n| async move {
            house.auth.bearer(&tokens[n as usize]).await.unwrap();
        })
        .await;
        measure("a bearer token, checked again", 100_000, |_| async move {
            house.auth.bearer(&tokens[19_999]).await.unwrap();
        })
        .await;
        let caller = &house.auth.bearer(&tokens[0]).await.unwrap();
        measure("a decision about a repository", 100_000, |_| async move {
            house.auth.check(caller, Access::Pull, repository).await.unwrap();
        })
        .await;

        let fresh = Auth::new(house.metadata.clone(), options()).await.unwrap();
        for what in ["200 logins at once, hashed", "200 logins at once, remembered"] {
            let (fresh, users) = (&fresh, &users);
            let at_once = |_| async move {
                let logins = join_all(users.iter().map(|user| fresh.basic(user, "password", peer))).await;
                assert!(logins.iter().all(Result::is_ok));
            };
            measure(what, 1, at_once).await;
        }
        println!("largest size of the process: {} MiB", usage().1);
    });
}

async fn push(metadata: &Metadata, auth: &Auth, caller: &Caller, repository: &RepositoryName) {
    let origin = Origin { actor: caller.actor(), address: None, request: None };
    let judge = auth.judge(caller, repository);
    let target = PushTarget { repository: repository.clone(), origin, visibility: Visibility::Private, judge };
    metadata.commit_blob(target, super::permits::blob(1)).await.unwrap();
}
