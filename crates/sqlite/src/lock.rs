//! One server a file.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::OpenError;

/// The right to serve a database file; given back when dropped, or when the process ends, however it ends.
#[derive(Debug)]
#[must_use = "the lock is given back when it is dropped"]
pub struct ServingLock {
    _file: File,
}

/// Takes the right to serve a database file, by way of a `.lock` file beside it. Commands that open the database while
/// the server runs need no such right.
///
/// # Errors
/// [`OpenError::Served`] when another server has it.
pub fn lock_for_serving(path: &Path) -> Result<ServingLock, OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(beside(path, ".lock"))
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {
            // For the message that the next one gets; the lock itself is what counts.
            file.set_len(0)
                .and_then(|()| writeln!(file, "{}", std::process::id()))
                .map_err(io)?;
            Ok(ServingLock { _file: file })
        }
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            let by = match file.read_to_string(&mut process) {
                Ok(1..) => format!(" (process {})", process.trim()),
                _ => String::new(),
            };
            Err(OpenError::Served {
                path: path.to_owned(),
                by,
            })
        }
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// The path of a file beside the database.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
