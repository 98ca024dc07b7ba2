use std::fs::File;
use std::io::{self, Read, Write};

use rustix::fs::{AtFlags, Mode, OFlags};
use uuid::Uuid;

use super::layout::{Root, rename_new};

const NAME: &str = "identity";

/// The random id of this store: read, or made by whoever opens it first.
///
/// The database carries the same. Beside an empty database every blob would be
/// an orphan, so a pair that does not match refuses to start.
pub(super) fn of(root: &Root) -> io::Result<Uuid> {
    match read(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write(root, Uuid::new_v4(), Replace::Never)?;
            read(root)
        }
        other => other,
    }
}

/// Gives the store another id, which its database knows.
pub(super) fn replace(root: &Root, id: Uuid) -> io::Result<()> {
    write(root, id, Replace::Always)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replace {
    Always,
    Never,
}

fn read(root: &Root) -> io::Result<Uuid> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut file: File = rustix::fs::openat(root.directory(), NAME, flags, Mode::empty())?.into();
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Uuid::try_parse(text.trim()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn write(root: &Root, id: Uuid, replace: Replace) -> io::Result<()> {
    let temporary = format!("{NAME}.{}", Uuid::new_v4());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file: File = rustix::fs::openat(root.directory(), &temporary, flags, Mode::RUSR | Mode::WUSR)?.into();
    let written = file.write_all(format!("{id}\n").as_bytes()).and_then(|()| file.sync_all());
    let directory = root.directory();
    let named = written.and_then(|()| match replace {
        Replace::Always => Ok(rustix::fs::renameat(directory, &temporary, directory, NAME)?),
        Replace::Never => Ok(rename_new(directory, &temporary, directory, NAME)?),
    });
    if let Err(error) = named {
        let _ = rustix::fs::unlinkat(directory, &temporary, AtFlags::empty());
        // Another replica was faster: its id it is.
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
    }
    Ok(rustix::fs::fsync(directory)?)
}
