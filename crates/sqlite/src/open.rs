//! Finding, creating and refusing database files.
//!
//! A file is looked at through SQLite alone: a descriptor of our own, once closed, would take the locks of every other
//! connection of this process with it (POSIX advisory locks work like that).

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use crate::{OpenError, SqliteOptions, lock::beside, migrate};

/// Marks a file as ours (`PRAGMA application_id`): "MCPA".
pub(crate) const APPLICATION_ID: i32 = 0x4d43_5041;

/// How long a connection waits for another process that writes: shorter than a call's deadline.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens a file for writing, after all checks and migrations.
pub(crate) fn open(path: &Path, options: &SqliteOptions) -> Result<Connection, OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    match fs::metadata(path) {
        Ok(found) if found.len() == 0 => {
            return Err(OpenError::Empty {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let path = path.to_owned();
            if beside(&path, "-wal").exists() {
                return Err(OpenError::LogWithoutDatabase { path });
            }
            if !options.create {
                return Err(OpenError::Missing { path });
            }
            create(&path)?;
        }
        Err(source) => return Err(io(source)),
    }
    let mut connection = connect(path)?;
    let sqlite = |source| OpenError::of(path, source);
    check_application(path, &connection)?;
    quick_check(path, &connection, options.quick_check)?;
    prepare(&connection).map_err(sqlite)?;
    migrate::migrate(path, &mut connection)?;
    Ok(connection)
}

/// Opens a file that [`open`] has found good once more, for reading.
pub(crate) fn open_another(path: &Path) -> Result<Connection, OpenError> {
    let connection = connect(path)?;
    let ready = prepare(&connection).and_then(|()| connection.pragma_update(None, "query_only", true));
    ready.map_err(|source| OpenError::of(path, source))?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|source| OpenError::of(path, source))?;
    connection
        .busy_timeout(BUSY_TIMEOUT)
        .map_err(|source| OpenError::of(path, source))?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(128);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Without it, every new value of a parameter lets SQLite plan a kept statement anew, which costs several times the read itself.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // A log that one long reader let grow shrinks again.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)
}

/// Builds a new database under another name and gives it its own in one step: whoever finds a file at `path` finds a
/// whole one, whenever the power goes, and of several creators one wins.
fn create(path: &Path) -> Result<(), OpenError> {
    static ATTEMPT: AtomicU32 = AtomicU32::new(0);
    let attempt = ATTEMPT.fetch_add(1, Ordering::Relaxed);
    let draft = beside(path, &format!(".new-{}-{attempt}", std::process::id()));
    let built = build(&draft, path);
    for leftover in ["", "-wal", "-shm"] {
        // What is not there need not go.
        let _ = fs::remove_file(beside(&draft, leftover));
    }
    built
}

fn build(draft: &Path, path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)
        .map_err(io)?;
    let mut connection = connect(draft)?;
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .and_then(|()| prepare(&connection))
        .map_err(|source| OpenError::of(path, source))?;
    migrate::migrate(path, &mut connection)?;
    connection
        .close()
        .map_err(|(_, source)| OpenError::of(path, source))?;
    match fs::hard_link(draft, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        // Some file systems have no links.
        Err(_) => fs::rename(draft, path).map_err(io)?,
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io)
}

fn check_application(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let id: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|source| OpenError::of(path, source))?;
    if id == APPLICATION_ID {
        return Ok(());
    }
    Err(OpenError::NotOurs {
        path: path.to_owned(),
        detail: format!("its application_id is {id:#x}"),
    })
}

/// Looks at every page, as long as that takes less than `limit`.
fn quick_check(path: &Path, connection: &Connection, limit: Duration) -> Result<(), OpenError> {
    if limit.is_zero() {
        return Ok(());
    }
    let interrupt = connection.get_interrupt_handle();
    let (done, waiting) = mpsc::channel::<()>();
    let found: rusqlite::Result<String> = std::thread::scope(|scope| {
        scope.spawn(move || {
            if waiting.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                interrupt.interrupt();
            }
        });
        let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        drop(done);
        found
    });
    match found {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(detail) => Err(OpenError::Damaged {
            path: path.to_owned(),
            detail,
        }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            tracing::info!(path = %path.display(), ?limit, "the database is large: its check was given up, run it at leisure");
            Ok(())
        }
        Err(source) => Err(OpenError::of(path, source)),
    }
}
