//! What goes wrong: when a file is opened, and when it is used.

use std::{io, path::PathBuf};

use mcp_authflow::port::StoreError;
use rusqlite::{Error, ErrorCode};

/// Why a database file is not opened. It is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file system refuses.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// There is no file, and none is to be created.
    #[error("there is no database at {}; name the right file, or start the server once to create it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is a log, and no file that it belongs to.
    #[error(
        "{} is gone, but its log {}-wal is there; put the database back beside its log, or move the log away to begin anew",
        path.display(),
        path.display()
    )]
    LogWithoutDatabase {
        /// The file that is missing.
        path: PathBuf,
    },
    /// The file has no content. We never leave one like that.
    #[error(
        "{} is empty (0 bytes); restore it from a backup, or move it away to begin anew",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is no SQLite database, or one of another application.
    #[error(
        "{} is not a database of authflow ({detail}); name the right file, or restore it from a backup if it was one",
        path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// How it is known.
        detail: String,
    },
    /// The file is damaged.
    #[error(
        "{} is damaged ({detail}); keep a copy of it, and restore a backup or rescue what can be read with `sqlite3 {} .recover`",
        path.display(),
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, as SQLite tells it.
        detail: String,
    },
    /// A newer program has brought the schema further than this one knows.
    #[error(
        "{} has schema version {found}, this program knows {known}; run the newer program again, or restore the backup from before the upgrade",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The schema is not what its version says.
    #[error(
        "the schema of {} is not that of its version ({detail}); somebody changed it by hand: undo that, or restore a backup",
        path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// What differs.
        detail: String,
    },
    /// Another server serves the file.
    #[error(
        "{} is served by another server{by}; stop that one first, or use PostgreSQL for several",
        path.display()
    )]
    Served {
        /// The file.
        path: PathBuf,
        /// Its process, when it can be read: ` (process 123)`.
        by: String,
    },
    /// SQLite refuses, for want of a free moment or of rights.
    #[error("cannot open {}: {source}; check its permissions, the space left, and who else uses it", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: Error,
    },
}

impl OpenError {
    /// Sorts what SQLite says about a file that is being opened.
    pub(crate) fn of(path: &std::path::Path, source: Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotOurs {
                path,
                detail: "it is no SQLite file, or its header is damaged".to_owned(),
            },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged {
                path,
                detail: source.to_string(),
            },
            _ => Self::Refused { path, source },
        }
    }
}

/// Sorts what SQLite says about a job. Only what may pass by itself is "unavailable".
pub(crate) fn judge(error: &Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted
            | ErrorCode::TooBig
            | ErrorCode::NoLargeFileSupport,
        ) => StoreError::Unavailable(error.to_string()),
        _ => StoreError::Broken(error.to_string()),
    }
}

/// Runs a job; a panic in it is a defect of ours, and costs one answer instead of the thread.
pub(crate) fn caught<T>(job: impl FnOnce() -> rusqlite::Result<T>) -> Result<T, StoreError> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)) {
        Ok(answer) => answer.map_err(|error| judge(&error)),
        Err(_) => Err(StoreError::Broken("a job panicked".to_owned())),
    }
}
