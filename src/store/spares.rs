use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use rustix::fs::FlockOperation;

use super::layout::Root;
use super::record;
use crate::domain::UploadId;

/// How many files are kept.
const MOST: usize = 64;

/// Files of finished sessions that wait to become those of new ones.
///
/// A push makes one file that stays, its object. Making and deleting a second
/// one each time would cost more than the rest of a small push: file systems
/// search for a free inode from the beginning, past all that were freed lately.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<Vec<Spare>>);

#[derive(Debug)]
struct Spare {
    file: File,
    /// The session it was, whose name it still bears.
    id: UploadId,
}

impl Spares {
    /// Ends the session of this file, whose lock the caller has. Whoever waits
    /// for the lock finds it finished.
    pub(super) fn retire(&self, root: &Root, id: UploadId, file: File) -> io::Result<()> {
        file.write_all_at(record::FINISHED, 0)?;
        {
            let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if spares.len() < MOST {
                rustix::fs::flock(&file, FlockOperation::Unlock)?;
                spares.push(Spare { file, id });
                return Ok(());
            }
        }
        root.remove_session_file(id)
    }

    /// Begins a session in a file that has these bytes from then on.
    pub(super) fn begin(&self, root: &Root, id: UploadId, bytes: &[u8]) -> io::Result<()> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(Spare { file, id: old }) = spare {
            // First the content, which no session of the old name has, then the name.
            let renamed = file.write_all_at(bytes, 0).and_then(|()| root.rename_session(old, id));
            match renamed {
                Ok(()) => return Ok(()),
                // Expired by another process: as good as none.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let _ = root.remove_session_file(old);
                    return Err(error);
                }
            }
        }
        root.create_session(id)?.write_all_at(bytes, 0).inspect_err(|_| {
            let _ = root.remove_session_file(id);
        })
    }
}
