use std::borrow::Cow;
use std::sync::OnceLock;

use sqlx::any::AnyArguments;
use sqlx::{Arguments, Encode};

/// Which database holds the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    /// The word for it in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// One SQL text for both databases: statements that share their parameters.
///
/// `$1`, `$2`, … are parameters of the whole. What truly differs is a marker:
/// - `EACH($1)` in a FROM clause is the items of a JSON array, in a column `value`;
///   an item is itself an array, read by `value ->> 0`;
/// - `FOR_UPDATE(t)` and `FOR_SHARE(t)` lock the rows of `t`, where rows can be
///   locked; on SQLite the one writer is the lock;
/// - `VIA(i)` behind a table's name is the index to use, for SQLite's planner, which
///   knows nothing of what is in the tables.
///
/// A reader of SQLite runs all statements in one hop to its thread, which costs
/// more than most of them. Its writer, which has no hop, gets them one by one, and
/// so does PostgreSQL, each with its own parameters.
pub(super) struct Sql {
    statements: &'static [&'static str],
    sqlite: OnceLock<&'static str>,
    sqlite_statements: OnceLock<Vec<&'static str>>,
    postgres: OnceLock<Vec<Statement>>,
}

/// A statement as PostgreSQL wants it, and which of the parameters it uses.
pub(super) struct Statement {
    pub(super) text: &'static str,
    parameters: Vec<usize>,
}

impl Sql {
    pub(super) const fn new(statements: &'static [&'static str]) -> Self {
        Self { statements, sqlite: OnceLock::new(), sqlite_statements: OnceLock::new(), postgres: OnceLock::new() }
    }

    /// All statements as one text.
    pub(super) fn sqlite(&self) -> &'static str {
        self.sqlite.get_or_init(|| {
            let text = self.statements.join(SEPARATOR).replace("EACH(", "json_each(").replace('$', "?");
            // Once for each text in the source: what is leaked is bounded by it.
            let text = mark(&mark(&text, "FOR_UPDATE(", None), "FOR_SHARE(", None);
            String::leak(mark(&text, "VIA(", Some("INDEXED BY ")))
        })
    }

    /// The same one by one.
    pub(super) fn sqlite_statements(&self) -> &[&'static str] {
        self.sqlite_statements.get_or_init(|| self.sqlite().split(SEPARATOR).collect())
    }

    /// The statements one by one, as PostgreSQL wants them.
    pub(super) fn postgres(&self) -> &[Statement] {
        self.postgres.get_or_init(|| self.statements.iter().map(|statement| for_postgres(statement)).collect())
    }
}

/// What stands between two statements, and in none.
const SEPARATOR: &str = ";\n";

/// Puts these words and what is marked in the marker's place, or nothing.
fn mark(statement: &str, marker: &str, words: Option<&str>) -> String {
    let mut parts = statement.split(marker);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (marked, rest) = part.split_once(')').unwrap_or((part, ""));
        if let Some(words) = words {
            text.push_str(words);
            text.push_str(marked);
        }
        text.push_str(rest);
    }
    text
}

fn for_postgres(statement: &str) -> Statement {
    let statement = mark(statement, "FOR_UPDATE(", Some("FOR NO KEY UPDATE OF "));
    let statement = mark(&statement, "FOR_SHARE(", Some("FOR KEY SHARE OF "));
    let statement = mark(&statement, "VIA(", None);
    let (mut text, mut parameters) = (String::with_capacity(statement.len()), Vec::new());
    let mut rest = statement.as_str();
    while let Some(at) = rest.find(['$', 'E']) {
        let (before, found) = rest.split_at(at);
        text.push_str(before);
        if let Some(list) = found.strip_prefix("EACH(") {
            // The parameter is a text: it says so before it becomes JSON.
            let (parameter, after) = list.split_once(')').unwrap_or((list, ""));
            text.push_str("json_array_elements(CAST(CAST(");
            push_parameter(&mut text, &mut parameters, parameter.trim_start_matches('$'));
            text.push_str(" AS TEXT) AS JSON))");
            rest = after;
        } else if let Some(number) = found.strip_prefix('$') {
            let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
            push_parameter(&mut text, &mut parameters, &number[..digits]);
            rest = &number[digits..];
        } else {
            text.push('E');
            rest = &found[1..];
        }
    }
    text.push_str(rest);
    Statement { text: String::leak(text), parameters }
}

/// Writes a parameter under the number it has in this statement alone.
fn push_parameter(text: &mut String, parameters: &mut Vec<usize>, number: &str) {
    let Some(index) = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1)) else {
        text.push('$');
        text.push_str(number);
        return;
    };
    let place = parameters.iter().position(|&known| known == index).unwrap_or_else(|| {
        parameters.push(index);
        parameters.len() - 1
    });
    text.push('$');
    text.push_str(&(place + 1).to_string());
}

/// A parameter's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arg<'a> {
    Int(Option<i64>),
    Text(Option<&'a str>),
    Bytes(&'a [u8]),
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Arg<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Arg<'_> {
    fn from(value: bool) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

/// PostgreSQL has no text with a NUL in it, and nothing that is kept needs one.
pub(super) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// All of them, for a reader of SQLite.
pub(super) fn arguments(args: &[Arg<'_>]) -> Result<AnyArguments, sqlx::Error> {
    bind(args.iter())
}

impl Statement {
    /// Those that this statement uses, in its order.
    pub(super) fn arguments(&self, args: &[Arg<'_>]) -> Result<AnyArguments, sqlx::Error> {
        bind(self.parameters.iter().filter_map(|&index| args.get(index)))
    }
}

fn bind<'a, 'b: 'a>(args: impl Iterator<Item = &'a Arg<'b>>) -> Result<AnyArguments, sqlx::Error> {
    fn add<'t, T: Encode<'t, sqlx::Any> + sqlx::Type<sqlx::Any>>(
        all: &mut AnyArguments,
        value: T,
    ) -> Result<(), sqlx::Error> {
        all.add(value).map_err(sqlx::Error::Encode)
    }
    let mut all = AnyArguments::default();
    for arg in args {
        match *arg {
            Arg::Int(value) => add(&mut all, value)?,
            Arg::Text(value) => add(&mut all, value.map(without_nul).as_deref())?,
            Arg::Bytes(value) => add(&mut all, value)?,
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_gets_its_own_words_and_numbers() {
        let sql = Sql::new(&["SELECT $3, $1 FROM EACH($3) e FOR_UPDATE(e)", "UPDATE E VIA(i) SET a = $2"]);
        assert_eq!(sql.sqlite(), "SELECT ?3, ?1 FROM json_each(?3) e ;\nUPDATE E INDEXED BY i SET a = ?2");
        assert_eq!(
            sql.sqlite_statements(),
            sql.sqlite().lines().map(|line| line.trim_end_matches(';')).collect::<Vec<_>>()
        );
        let [first, second] = sql.postgres() else { panic!("two statements") };
        assert_eq!(
            first.text,
            "SELECT $1, $2 FROM json_array_elements(CAST(CAST($1 AS TEXT) AS JSON)) e FOR NO KEY UPDATE OF e"
        );
        assert_eq!((second.text, &*second.parameters), ("UPDATE E  SET a = $1", &[1][..]));
        assert_eq!(first.parameters, [2, 0]);
    }
}
