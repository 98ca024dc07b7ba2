//! Whatever a test asks of SQLite must be answered by an index: work that grows
//! with a table is how registries become slow.

use std::collections::BTreeSet;
use std::sync::Mutex;

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::dialect::Sql;

/// These may walk a table: they are asked at start, by an operator or by a test.
const MAY_WALK: [&str; 4] = [
    "FROM schema_migrations",
    "SELECT count(*) FROM users",
    "admin = 1 AND disabled = 0",
    "UPDATE repository_blobs SET leased_until = ?1",
];

static SEEN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Looks at SQLite's plan for statements that have not been run before.
pub(crate) fn check(sql: &Sql, plan: impl Fn(&str) -> Vec<String>) {
    for statement in unseen(sql) {
        judge(statement, &plan(&format!("EXPLAIN QUERY PLAN {statement}")));
    }
}

/// The same by a connection of sqlx.
pub(crate) async fn check_on(connection: &mut AnyConnection, sql: &Sql) {
    for statement in unseen(sql) {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::query(explain).fetch_all(&mut *connection).await.unwrap();
        judge(statement, &rows.iter().map(|row| row.get(3)).collect::<Vec<_>>());
    }
}

fn unseen(sql: &Sql) -> Vec<&'static str> {
    let planned = |statement: &str| {
        let word = statement.split_whitespace().next().unwrap_or_default();
        ["SELECT", "INSERT", "UPDATE", "DELETE"].contains(&word)
            && !MAY_WALK.iter().any(|known| statement.contains(known))
    };
    let mut seen = SEEN.lock().unwrap();
    sql.sqlite_statements().iter().copied().filter(|statement| planned(statement) && seen.insert(statement)).collect()
}

fn judge(statement: &str, plan: &[String]) {
    for line in plan {
        let Some(scanned) = line.strip_prefix("SCAN ") else { continue };
        let name = scanned.split(' ').next().unwrap();
        // What was made for this statement alone is as long as it is.
        let made =
            plan.iter().any(|line| *line == format!("CO-ROUTINE {name}") || *line == format!("MATERIALIZE {name}"));
        let fine = made || name.starts_with('(') || scanned.contains("VIRTUAL TABLE") || name == "CONSTANT";
        assert!(fine, "{line}\n{statement}\n{plan:#?}");
    }
}
