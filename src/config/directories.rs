use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::Access;

use super::configuration::Database;
use super::problems::Problem;
use super::settings::{self, Setting};
use super::sources::{Origin, subject};

/// Sees to it that a directory is there, or would be.
pub type Place<'a> = &'a dyn Fn(&Path) -> io::Result<()>;

/// Creates the directory, with its parents, for this user alone: what is in it
/// is private content and, in the database, secrets.
///
/// # Errors
/// Where it cannot be created, or nothing can be written to it.
pub fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    writable(directory)
}

/// Says what [`create`] would say, and changes nothing.
///
/// # Errors
/// Where it could not be created, or nothing could be written to it.
pub fn look(directory: &Path) -> io::Result<()> {
    let mut ancestors =
        directory.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let nearest = ancestors.find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    writable(nearest)
}

fn writable(directory: &Path) -> io::Result<()> {
    if !directory.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Where the bytes and the database of a registry are, and who said so.
pub(super) struct Places {
    pub(super) root: Box<Path>,
    pub(super) root_origin: Origin,
    pub(super) database: Database,
    pub(super) database_origin: Origin,
}

/// Where a registry goes that nobody gave a place, and whose user may not
/// write to the default one.
const HOME: &str = "./data";

impl Places {
    /// Makes them usable, or moves both to `./data` where nobody chose them and
    /// the default root is out of reach; then the warning says so.
    ///
    /// A registry that has lived at the defaults is never left behind: where
    /// its database is in the working directory, an unusable root is a problem.
    pub(super) fn settle(&mut self, place: Place<'_>) -> Result<Option<String>, Vec<Problem>> {
        let unset = self.root_origin == Origin::Default && self.database_origin == Origin::Default;
        let mut warning = None;
        let mut root = place(&self.root);
        if let (Err(error), true, false) = (&root, unset, self.database_is_there()) {
            let home = Path::new(HOME);
            warning = Some(format!(
                "the registry lives in {HOME}, blobs and database, because {} cannot be used ({error}); \
                 set {} and {} to have it elsewhere",
                self.root.display(),
                settings::ROOT.names(),
                settings::DATABASE_URL.names(),
            ));
            self.root = home.into();
            self.database = Database::sqlite(&home.join("registry.db"));
            root = place(&self.root);
        }
        let mut problems = Vec::new();
        if let Err(error) = root {
            problems.push(unusable(&settings::ROOT, self.root_origin, &self.root, &error));
        }
        if let Some(directory) = self.database.directory()
            && let Err(error) = place(directory)
        {
            problems.push(unusable(&settings::DATABASE_URL, self.database_origin, directory, &error));
        }
        if problems.is_empty() { Ok(warning) } else { Err(problems) }
    }

    fn database_is_there(&self) -> bool {
        matches!(&self.database, Database::Sqlite { path, .. } if path.exists())
    }
}

fn unusable(setting: &Setting, origin: Origin, directory: &Path, error: &io::Error) -> Problem {
    Problem {
        subject: subject(setting, origin),
        what: format!("the directory {} cannot be created or written to: {error}", directory.display()),
        fix: format!(
            "make it and give it to this user, or set {} to a directory that this user may write to",
            setting.names()
        ),
    }
}
