use super::dialect::{Arg, Sql};
use super::pagination::{cursor, limit};
use super::transaction::{Columns, Row, parse};
use super::{Error, Metadata, UserId};
use crate::domain::{Namespace, RepositoryName};

/// Whose eyes a list is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewer {
    /// Sees what is public.
    Anonymous,
    /// Sees what is public or internal, and their namespaces.
    User(UserId),
    /// Sees what is public or internal, and its namespace.
    Robot(Namespace),
    /// Sees everything.
    Admin,
}

/// So many namespaces are asked for in one statement; an empty text names none.
const TOGETHER: usize = 16;

// Each list is walked by an index of its own and cut where the page ends, so a page costs what
// it holds, however many repositories there are. One row holds the whole page: a row costs more
// than a name, and no name has a blank in it.
static ALL: Sql = Sql::new(&["SELECT string_agg(t.name, ' ') FROM
     (SELECT name FROM repositories WHERE name > $1 ORDER BY name LIMIT $2) t"]);
static PUBLIC: Sql = Sql::new(&["SELECT string_agg(t.name, ' ') FROM
     (SELECT name FROM repositories WHERE visibility = 'public' AND name > $1 ORDER BY name LIMIT $2) t"]);
static INTERNAL: Sql = Sql::new(&["SELECT string_agg(t.name, ' ') FROM
     (SELECT name FROM repositories WHERE visibility = 'internal' AND name > $1 ORDER BY name LIMIT $2) t"]);

macro_rules! of_namespaces {
    ($first:literal $($n:literal)*) => {
        Sql::new(&[concat!(
            "SELECT string_agg(t.name, ' ') FROM (",
            of_namespaces!(@one $first),
            $(" UNION ALL ", of_namespaces!(@one $n),)*
            ") t"
        )])
    };
    (@one $n:literal) => {
        concat!(
            "SELECT name FROM (SELECT name FROM repositories WHERE namespace = $", $n,
            " AND name > $1 ORDER BY name LIMIT $2) t", $n
        )
    };
}
static IN_NAMESPACES: Sql = of_namespaces!(3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18);

static NAMESPACES_OF: Sql = Sql::new(&["SELECT string_agg(t.namespace, ' ') FROM
     (SELECT namespace FROM members WHERE account = $1 ORDER BY namespace) t"]);

/// The words of a row that holds many.
fn words(rows: &[Row]) -> Result<impl Iterator<Item = &str>, Error> {
    let text = rows.first().map(|row| row.maybe_text(0)).transpose()?.flatten();
    Ok(text.unwrap_or_default().split_whitespace())
}

impl Metadata {
    /// The names of the repositories that the viewer may pull, in byte order,
    /// those after `after`, which need not be a name.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn catalog(
        &self,
        viewer: &Viewer,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<RepositoryName>, Error> {
        let after = cursor(after);
        let lists: &[&Sql] = match viewer {
            Viewer::Admin => &[&ALL],
            Viewer::Anonymous => &[&PUBLIC],
            Viewer::User(_) | Viewer::Robot(_) => &[&PUBLIC, &INTERNAL],
        };
        let mut page = Page { names: Vec::new(), count };
        for list in lists {
            page.add(&self.read("catalog", list, &[after.into(), limit(count).into()]).await?)?;
        }
        for namespaces in self.namespaces_of(viewer, after).await?.chunks(TOGETHER) {
            if namespaces.first().is_some_and(|first| page.ends_before(first)) {
                break;
            }
            let mut args: [Arg<'_>; 2 + TOGETHER] = ["".into(); 2 + TOGETHER];
            (args[0], args[1]) = (after.into(), limit(count).into());
            for (arg, namespace) in args[2..].iter_mut().zip(namespaces) {
                *arg = namespace.as_str().into();
            }
            page.add(&self.read("catalog", &IN_NAMESPACES, &args).await?)?;
        }
        Ok(page.names)
    }

    /// The viewer's own namespaces in order, but for those that end before `after`.
    async fn namespaces_of(&self, viewer: &Viewer, after: &str) -> Result<Vec<String>, Error> {
        let namespaces: Vec<_> = match viewer {
            Viewer::Anonymous | Viewer::Admin => Vec::new(),
            Viewer::Robot(namespace) => vec![namespace.to_string()],
            Viewer::User(user) => {
                let rows = self.read("namespaces_of", &NAMESPACES_OF, &[user.0.into()]).await?;
                words(&rows)?.map(str::to_owned).collect()
            }
        };
        // All of a namespace's names begin with it, followed by nothing or by `/`, whose successor is `0`.
        let mut namespaces: Vec<_> =
            namespaces.into_iter().filter(|name| format!("{name}0").as_str() > after).collect();
        namespaces.sort();
        Ok(namespaces)
    }
}

/// The smallest names of several ordered lists.
struct Page {
    names: Vec<RepositoryName>,
    count: usize,
}

impl Page {
    fn add(&mut self, rows: &[Row]) -> Result<(), Error> {
        for name in words(rows)? {
            self.names.push(parse(name, "repository name")?);
        }
        self.names.sort();
        self.names.dedup();
        self.names.truncate(self.count);
        Ok(())
    }

    /// Whether it is full of names that come before all of that namespace's.
    fn ends_before(&self, namespace: &str) -> bool {
        self.names.len() == self.count && self.names.last().is_none_or(|last| last.as_str() < namespace)
    }
}
