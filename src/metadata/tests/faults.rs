use futures_util::future::join_all;

use super::dialect::Sql;
use super::transaction::Columns;
use super::*;

static PAGES: Sql = Sql::new(&["PRAGMA page_count"]);
static NO_MORE_PAGES: Sql = Sql::new(&["PRAGMA max_page_count = 1"]); // SQLite makes it the present size
static MORE_PAGES: Sql = Sql::new(&["PRAGMA max_page_count = 1000000"]);
static WHO_AM_I: Sql = Sql::new(&["SELECT CAST(pg_backend_pid() AS BIGINT)"]);
static END_SESSION: Sql = Sql::new(&["SELECT CAST(pg_terminate_backend(CAST($1 AS INTEGER)) AS TEXT)"]);
static END_ALL_OTHERS: Sql = Sql::new(&["SELECT CAST(count(pg_terminate_backend(pid)) AS BIGINT)
     FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"]);

async fn pragma(metadata: &Metadata, sql: &'static Sql) {
    metadata
        .write("pragma", sql, |tx, sql| Box::pin(async move { tx.run(sql, &[]).await.map(drop) }))
        .await
        .map_err(|error: Error| error)
        .unwrap();
}

/// Disk full in the database: everyone who waits is told so, nothing is half done, and space freed makes it work again.
#[test]
fn a_full_disk_is_said_to_all_and_survived() {
    on_each(|metadata| async move {
        if metadata.backend() != Backend::Sqlite {
            return; // PostgreSQL's disk is its own; its code for that is tested beside the error
        }
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        let config = push_blob(&metadata, &target, b"config").await;
        let id = id_of(&metadata, "alice/app").await;
        pragma(&metadata, &NO_MORE_PAGES).await;
        let filler = "x".repeat(100_000);
        let put = |n: u8| {
            let manifest = image(&config, &[], &format!(r#","n":{n},"filler":"{filler}""#)).tagged(&["v1"]);
            let (metadata, target) = (Arc::clone(&metadata), target.clone());
            tokio::spawn(async move { metadata.put_manifest(target, manifest).await })
        };
        for outcome in join_all((0..8).map(put)).await {
            let outcome = outcome.unwrap();
            assert!(matches!(outcome, Err(PutError::Database(Error::Full(_)))), "{outcome:?}");
        }
        assert_eq!(metadata.manifest(id, &by_tag("v1")).await.unwrap(), None);
        assert!(metadata.blob(id, &config).await.unwrap().is_some(), "pulls go on");
        pragma(&metadata, &MORE_PAGES).await;
        put(1).await.unwrap().unwrap();
        assert!(metadata.manifest(id, &by_tag("v1")).await.unwrap().is_some());
        assert!(metadata.read_one("pages", &PAGES, &[]).await.unwrap().unwrap().int(0).unwrap() > 20);
    });
}

/// The connection goes between the change and the answer to its commit: nobody knows what came of it.
#[test]
fn a_commit_without_an_answer_is_told_from_one_that_failed() {
    on_each(|metadata| async move {
        if metadata.backend() != Backend::Postgres {
            return; // SQLite's commit is a call in this process
        }
        user(&metadata, "alice").await;
        let other = metadata.metadata.clone();
        let lost: Result<(), Error> = metadata
            .write("lost", other, |tx, other| {
                Box::pin(async move {
                    let me = tx.one(&WHO_AM_I, &[]).await?.unwrap().int(0)?;
                    other.read("end", &END_SESSION, &[me.into()]).await?;
                    // It is told, and gone before the commit comes.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    Ok(())
                })
            })
            .await;
        assert!(matches!(lost, Err(Error::OutcomeUnknown(_))), "{lost:?}");
        let before: Result<(), Error> = metadata
            .write("lost", (), |tx, ()| {
                Box::pin(async move {
                    let me = tx.one(&WHO_AM_I, &[]).await?.unwrap().int(0)?;
                    tx.run(&END_SESSION, &[me.into()]).await?;
                    tx.one(&WHO_AM_I, &[]).await.map(drop)
                })
            })
            .await;
        assert!(matches!(before, Err(Error::Unavailable(_))), "{before:?}");
    });
}

/// The server was away for a moment: who asks next finds it back.
#[test]
fn lost_connections_are_made_anew() {
    on_each(|metadata| async move {
        if metadata.backend() != Backend::Postgres {
            return; // SQLite has no connection to lose
        }
        let alice = user(&metadata, "alice").await;
        let target = push_by(&alice, "alice/app");
        for n in 0..3_u8 {
            join_all((0..8).map(|_| metadata.ping())).await;
            metadata.read("end", &END_ALL_OTHERS, &[]).await.unwrap();
            push_blob(&metadata, &target, &[n]).await;
            metadata.ping().await.unwrap();
        }
    });
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_says_why() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "no directory").unwrap();
    let at = |path: &str| Options::new(format!("sqlite:{}/{path}", directory.path().display()));
    let refused = Metadata::open(&at("file/registry.db")).await.unwrap_err();
    assert!(matches!(refused, OpenError::Directory { .. }), "{refused}");
    let refused = Metadata::open(&Options::new("mysql://localhost/registry")).await.unwrap_err();
    assert!(matches!(refused, OpenError::Scheme), "{refused}");
    std::fs::write(directory.path().join("other.db"), "this is no database at all, but long enough to be one").unwrap();
    let refused = Metadata::open(&at("other.db")).await.unwrap_err();
    assert!(matches!(refused, OpenError::Connect(_)), "{refused}");
    let mut away = Options::new("postgres://nobody:secret@127.0.0.1:1/registry");
    away.connections = 1;
    let refused = Metadata::open(&away).await.unwrap_err();
    assert!(matches!(refused, OpenError::Connect(_)), "{refused}");
    assert!(!format!("{refused:?} {away:?}").contains("secret"));
}
