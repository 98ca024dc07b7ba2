//! The directories that a registry needs: made where they are missing, and moved
//! to where its user may write if nobody said where they are.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::Access;

use super::configuration::Database;
use super::problems::Problem;
use super::settings::{self, Setting};
use super::sources::{Origin, subject};

/// The disk as far as the configuration touches it.
pub trait Disk {
    /// Sees to it that the directory is there and can be written to.
    ///
    /// # Errors
    /// Where that cannot be.
    fn place(&self, directory: &Path) -> io::Result<()>;

    /// Whether the file is there.
    fn has(&self, file: &Path) -> bool {
        file.exists()
    }
}

/// Creates what is missing, with its parents, for this user alone: what will be
/// in it is private content and, in the database, secrets.
pub struct Create;

impl Disk for Create {
    fn place(&self, directory: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        make_durable(directory)?;
        writable(directory)
    }
}

/// Syncs whatever holds the directory's name, so that a power cut does not take
/// it with all that was synced in it. Done at each start: whoever made it may
/// not have come so far.
fn make_durable(directory: &Path) -> io::Result<()> {
    for parent in directory.ancestors().skip(1) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        // Of what we may not even open we have made nothing.
        let Ok(opened) = File::open(parent) else { break };
        match opened.sync_all() {
            // Not every file system knows how to sync a directory.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Says what [`Create`] would say, and changes nothing.
pub struct Look;

impl Disk for Look {
    fn place(&self, directory: &Path) -> io::Result<()> {
        let here = |path: &'_ Path| if path.as_os_str().is_empty() { Path::new(".").into() } else { path.to_owned() };
        let mut ancestors = directory.ancestors().map(here);
        let nearest = ancestors.find(|path| path.symlink_metadata().is_ok());
        writable(nearest.as_deref().unwrap_or(Path::new("/")))
    }
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
    pub(super) fn settle(&mut self, disk: &dyn Disk) -> Result<Option<String>, Vec<Problem>> {
        let unset = self.root_origin == Origin::Default && self.database_origin == Origin::Default;
        let mut warning = None;
        let mut root = disk.place(&self.root);
        if let (Err(error), true, false) = (&root, unset, self.database_is_there(disk)) {
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
            root = disk.place(&self.root);
        }
        let mut problems = Vec::new();
        if let Err(error) = root {
            problems.push(unusable(&settings::ROOT, self.root_origin, &self.root, &error));
        }
        problems.extend(check_database(&self.database, self.database_origin, disk));
        if problems.is_empty() { Ok(warning) } else { Err(problems) }
    }

    fn database_is_there(&self, disk: &dyn Disk) -> bool {
        matches!(&self.database, Database::Sqlite { path, .. } if disk.has(path))
    }
}

/// What is wrong with the directory of the blobs.
pub(super) fn check_root(root: &Path, origin: Origin, disk: &dyn Disk) -> Option<Problem> {
    let error = disk.place(root).err()?;
    Some(unusable(&settings::ROOT, origin, root, &error))
}

/// What is wrong with the directory of the database's file, if it has one.
pub(super) fn check_database(database: &Database, origin: Origin, disk: &dyn Disk) -> Option<Problem> {
    let directory = database.directory()?;
    let error = disk.place(directory).err()?;
    Some(unusable(&settings::DATABASE_URL, origin, directory, &error))
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_missing_directory_is_created_for_this_user_alone() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("a/b");
        Look.place(&directory).unwrap();
        assert!(!home.path().join("a").exists());
        Create.place(&directory).unwrap();
        Create.place(&directory).unwrap();
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_cannot_be_a_directory_is_told_by_both() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("file"), "").unwrap();
        for path in ["file", "file/below"] {
            let path = home.path().join(path);
            assert!(Look.place(&path).is_err() && Create.place(&path).is_err(), "{}", path.display());
        }
    }
}
