//! The file of SQLite: what it must be before it is used, how it is opened, and whether it is still the same.
//!
//! SQLite itself does not notice that its file, or the write-ahead log beside it, is removed or replaced: it goes on
//! with what it has open, and what is written then is lost, or ends up in a file that belongs to another database.

use std::{
    fs, io,
    ops::Deref,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use rusqlite::{
    Connection, ErrorCode, MAIN_DB, OpenFlags,
    config::DbConfig,
    ffi::{self, SQLITE_READONLY_DBMOVED},
};
use sea_orm::{DbBackend, DbErr};
use tokio::task::spawn_blocking;

use super::{
    StoreError,
    migrations::{Found, MIGRATIONS, MIN_PROGRAM, Migrations, SCHEMA_COMPAT, TABLES_OF_SQLITE},
};
use crate::config::{Mode, SqliteUrl};

/// The file that all connections of a database are to.
#[derive(Debug)]
pub struct File {
    /// Absolute, so that nothing in it has a meaning of its own for SQLite.
    path: PathBuf,
    mode: Mode,
    state: Mutex<State>,
    is_read_only: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// The file that was opened first. Afterwards no other is opened, and none is created.
    id: Option<Id>,
    /// Connections that are open.
    connections: usize,
    /// What they have open beside the file.
    beside: Vec<(PathBuf, Option<Id>)>,
}

/// A device and a number there, which tell a file from one that was put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id(u64, u64);

/// The bytes and the time of the last change of a file that nobody is expected to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Content(u64, i64, i64);

/// What a file can be opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Write,
    Read,
    /// To read without locks, because the folder takes no files for them. Nobody else may write it then.
    Immutable,
}

/// A connection to the file. It knows which files it has open.
#[derive(Debug)]
pub struct Open {
    connection: Connection,
    file: Arc<File>,
    files: Vec<(PathBuf, Option<Id>)>,
    /// Of a file that was opened as immutable.
    content: Option<Content>,
}

/// How long SQLite waits for the lock of another process.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that the write-ahead log keeps on the disk when all of it is in the file. It takes 4 MB before SQLite moves it
/// there, and more while somebody reads for long.
const JOURNAL_SIZE_LIMIT: u32 = 16 * 1024 * 1024;
/// What has a meaning in a URI of SQLite.
const RESERVED: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// Opens a file of whatever program to read it. What is in it never changes, but SQLite may put its files beside it.
///
/// # Errors
///
/// When it cannot be opened.
pub fn open_to_read(path: &Path) -> rusqlite::Result<Open> {
    let file = File::new(&SqliteUrl { path: path.to_owned(), mode: Mode::Read });
    Arc::new(file.map_err(|_| rusqlite::Error::InvalidPath(path.to_owned()))?).open()
}

impl File {
    /// The file of a URL. What is no database of this program is refused before it is opened, which could change it.
    ///
    /// # Errors
    ///
    /// When it is none, or cannot be opened.
    pub async fn inspected(url: &SqliteUrl, migrations: &Migrations) -> Result<Arc<Self>, StoreError> {
        let file = Self::new(url).map_err(|error| StoreError::Database(DbErr::Custom(error.to_string())))?;
        let migrations = migrations.clone();
        let inspect = move || match file.inspect(&migrations) {
            Ok(()) => Ok(Arc::new(file)),
            Err(reason) => Err(StoreError::Database(DbErr::Custom(format!("{} {reason}", file.path.display())))),
        };
        spawn_blocking(inspect).await?
    }

    fn inspect(&self, migrations: &Migrations) -> Result<(), String> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => Err("is a folder".to_owned()),
            Ok(metadata) if !metadata.is_file() => Err("is not a regular file".to_owned()),
            // SQLite would remove the write-ahead log of an empty file. Another server may just have filled the file.
            Ok(_) if self.has_log() && !has_content(&self.path) => Err(self.left()),
            Ok(metadata) if metadata.len() == 0 => Ok(()),
            Ok(_) => self.look(migrations),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.mode == Mode::Create => {
                let folder = self.path.parent().filter(|folder| !folder.is_dir());
                match folder {
                    Some(folder) => Err(format!("cannot be created: {} is not a folder", folder.display())),
                    None if self.has_log() && !has_content(&self.path) => Err(self.left()),
                    None => Ok(()),
                }
            }
            Err(error) => Err(format!("cannot be opened: {error}")),
        }
    }

    fn left(&self) -> String {
        let log = self.beside("-wal");
        format!(
            "is missing or empty, but {} has data that was written to it; put the file back, or remove that one",
            log.display()
        )
    }

    fn look(&self, migrations: &Migrations) -> Result<(), String> {
        let (mut has_log, mut found) = (self.has_log(), self.found(self.has_log()));
        let is_fine =
            |found: &rusqlite::Result<Found>| found.as_ref().is_ok_and(|found| found.ensure_known(migrations).is_ok());
        if !is_fine(&found) && !has_log && self.has_log() {
            // Another server has begun to write it in the meantime.
            (has_log, found) = (true, self.found(true));
        }
        let is_being_written = has_log || self.beside("-journal").exists();
        match found {
            Ok(found) => found.ensure_known(migrations),
            Err(error) => match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => Err("is not a database of SQLite, or it is encrypted".to_owned()),
                // Whoever opens it waits, and undoes what was interrupted.
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Ok(()),
                _ if is_being_written => Ok(()),
                Some(ErrorCode::CannotOpen) => Err("cannot be opened; may it be read by this user?".to_owned()),
                _ => Err(format!("cannot be read: {error}")),
            },
        }
    }

    /// What is in the file. Without a write-ahead log the file alone is looked at, and no lock is taken.
    fn found(&self, has_log: bool) -> rusqlite::Result<Found> {
        let connection = if has_log {
            let connection = self.connect(if self.mode == Mode::Read { Access::Read } else { Access::Write }, false)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            if !connection.is_readonly(MAIN_DB)? && !self.beside("-shm").exists() {
                // Nobody has it open, and the index of the log need not become a file.
                connection.pragma_update(None, "locking_mode", "exclusive")?;
            }
            connection
        } else {
            self.connect(Access::Immutable, false)?
        };
        let rows = |sql: &str| -> rusqlite::Result<Vec<String>> {
            connection.prepare(sql)?.query_map((), |row| row.get(0))?.collect()
        };
        connection.execute_batch("BEGIN")?;
        let tables = rows(TABLES_OF_SQLITE)?;
        let has_migrations = tables.iter().any(|table| table == MIGRATIONS);
        let migrations = if has_migrations { rows("SELECT version FROM seaql_migrations") } else { Ok(Vec::new()) };
        let migrations = match migrations {
            // The table has no such column, so it is another program's.
            Err(rusqlite::Error::SqlInputError { .. }) => Vec::new(),
            migrations => migrations?,
        };
        let has_compat = tables.iter().any(|table| table == SCHEMA_COMPAT);
        let min_program = if has_compat { rows(MIN_PROGRAM)?.pop() } else { None };
        let encoding = connection.pragma_query_value(None, "encoding", |row| row.get(0))?;
        Ok(Found { backend: DbBackend::Sqlite, tables, migrations, min_program, encoding })
    }

    fn new(url: &SqliteUrl) -> io::Result<Self> {
        let (path, is_read_only) = (std::path::absolute(&url.path)?, AtomicBool::new(url.mode == Mode::Read));
        Ok(Self { path, mode: url.mode, state: Mutex::default(), is_read_only })
    }

    /// The name of the file, without its folders.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether it could not be opened to be written.
    pub fn is_read_only(&self) -> bool {
        self.is_read_only.load(Relaxed)
    }

    /// Opens a connection, to read alone when more is not possible.
    pub fn open(self: &Arc<Self>) -> rusqlite::Result<Open> {
        let mut state = self.state.lock();
        self.ensure_in_place(&state)?;
        let content = Content::from_path(&self.path);
        let (connection, access) = self.opened(self.mode == Mode::Create && state.id.is_none())?;
        let is_read_only = access != Access::Write;
        if self.is_read_only.swap(is_read_only, Relaxed) != is_read_only && is_read_only {
            tracing::warn!(file = %self.path.display(), "the database may only be read");
        }
        let id = Id::from_path(&self.path);
        if state.id.is_none() {
            state.id = id;
        }
        if state.connections == 0 && !is_read_only {
            state.beside =
                ["-wal", "-shm"].map(|end| self.beside(end)).map(|path| (path.clone(), Id::from_path(&path))).into();
        }
        state.connections += 1;
        let mut files = vec![(self.path.clone(), state.id)];
        files.extend_from_slice(&state.beside);
        let content = content.filter(|_| access == Access::Immutable);
        Ok(Open { connection, file: Arc::clone(self), files, content })
    }

    /// A connection of the first kind that is possible.
    fn opened(&self, creates: bool) -> rusqlite::Result<(Connection, Access)> {
        let first = if self.mode == Mode::Read { Access::Read } else { Access::Write };
        let may_be_read = |error: &rusqlite::Error| {
            matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
        };
        let mut opened = self.prepared(first, creates);
        if opened.as_ref().is_err_and(may_be_read) {
            opened = self.prepared(Access::Read, false).or(opened);
        }
        // What was interrupted, or is still to be moved to the file, takes a lock.
        let is_whole = || !self.has_log() && !has_content(&self.beside("-journal"));
        if opened.as_ref().is_err_and(may_be_read) && is_whole() {
            opened = self.prepared(Access::Immutable, false).or(opened);
        }
        opened
    }

    /// A connection with what holds for every one of them.
    fn prepared(&self, access: Access, creates: bool) -> rusqlite::Result<(Connection, Access)> {
        let connection = self.connect(access, creates)?;
        let access = if access == Access::Write && connection.is_readonly(MAIN_DB)? { Access::Read } else { access };
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        if access == Access::Write {
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "normal")?;
            connection.pragma_update(None, "journal_size_limit", JOURNAL_SIZE_LIMIT)?;
        }
        // Only now SQLite opens the files beside it.
        connection.query_row("SELECT COUNT(*) FROM sqlite_schema", (), |_| Ok(()))?;
        Ok((connection, access))
    }

    fn connect(&self, access: Access, creates: bool) -> rusqlite::Result<Connection> {
        let mut flags = OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags |=
            if access == Access::Write { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, creates);
        let path = percent_encode(self.path.as_os_str().as_encoded_bytes(), RESERVED);
        let parameter = if access == Access::Immutable { "?immutable=1" } else { "" };
        Connection::open_with_flags(format!("file://{path}{parameter}"), flags)
    }

    /// Whether all that is open is still where it was.
    fn ensure_in_place(&self, state: &State) -> rusqlite::Result<()> {
        let file = state.id.map(|id| (self.path.clone(), Some(id)));
        ensure_same(file.iter().chain(state.beside.iter().filter(|_| state.connections > 0)))
    }

    fn has_log(&self) -> bool {
        has_content(&self.beside("-wal"))
    }

    /// SQLite puts its other files where the file is, and not where a link to it is.
    fn beside(&self, end: &str) -> PathBuf {
        let mut path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone()).into_os_string();
        path.push(end);
        path.into()
    }
}

impl Open {
    /// Whether what it has open is still where it was, and so is what is written.
    ///
    /// # Errors
    ///
    /// When it was removed or replaced, or it was not to be changed and was.
    pub fn ensure_in_place(&self) -> rusqlite::Result<()> {
        ensure_same(&self.files)?;
        if self.content != self.content.and_then(|_| Content::from_path(&self.file.path)) {
            return Err(moved(format!("{} has been changed", self.file.path.display())));
        }
        Ok(())
    }

    /// Runs what reads or writes, and may wait so long for the lock of another process.
    pub fn run<T>(&self, busy_timeout: Duration, work: &impl Fn(&Self) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.connection.busy_timeout(busy_timeout)?;
        let result = work(self)?;
        if self.is_immutable() {
            self.ensure_in_place()?;
        }
        Ok(result)
    }

    /// Whether the file may be changed without SQLite knowing it.
    pub fn is_immutable(&self) -> bool {
        self.content.is_some()
    }
}

impl Deref for Open {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.file.state.lock().connections -= 1;
        if self.ensure_in_place().is_err() {
            // The last connection would remove the write-ahead log by its name, which may be that of another file now.
            let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }
}

impl Id {
    fn from_path(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self(metadata.dev(), metadata.ino()))
    }
}

impl Content {
    fn from_path(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self(metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    }
}

fn has_content(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
}

fn ensure_same<'a>(files: impl IntoIterator<Item = &'a (PathBuf, Option<Id>)>) -> rusqlite::Result<()> {
    let changed = files.into_iter().find(|(path, id)| Id::from_path(path) != *id);
    changed.map_or(Ok(()), |(path, _)| {
        Err(moved(format!(
            "{} has been removed or replaced while it was open; put it back, or restart the server",
            path.display()
        )))
    })
}

fn moved(message: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(SQLITE_READONLY_DBMOVED), Some(message))
}
