//! A copy of a SQLite file that is in use, by the online backup of SQLite.

use std::{fs, path::Path};

use anyhow::{Context as _, bail, ensure};
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use super::DatabaseUrl;
use crate::output::Output;

/// Writes a backup of a SQLite database to a file that does not exist, checks it, and gives its size in bytes. What is
/// committed when it begins is in it. Servers go on reading and writing meanwhile.
///
/// # Errors
///
/// When the database is none of SQLite, is empty or is locked by another program, the file exists or cannot be written,
/// or the backup is not whole.
pub fn backup(url: &DatabaseUrl, path: &Path) -> anyhow::Result<u64> {
    let DatabaseUrl::Sqlite(url) = url else {
        bail!(
            "PostgreSQL has its own tools for backups: pg_dump for a dump, pg_basebackup and archived WAL for all of it"
        );
    };
    let source = open(&url.path).with_context(|| format!("cannot read {}", url.path.display()))?;
    let output = Output::new(path)?;
    let written = write(&source, &output.path()).and_then(|()| {
        let size = fs::metadata(output.path())?.len();
        output.finish()?;
        Ok(size)
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Opens a database to read it.
fn open(path: &Path) -> anyhow::Result<Connection> {
    fs::metadata(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(path, flags).map_err(said)?;
    let has_tables = source.prepare("SELECT 1 FROM sqlite_schema").and_then(|mut rows| rows.exists([]));
    ensure!(has_tables.map_err(said)?, "the database is empty");
    Ok(source)
}

fn write(source: &Connection, path: &Path) -> anyhow::Result<()> {
    let mut target = Connection::open(path).map_err(said)?;
    // All pages at once: a step at a time would begin again with each write of a server. It waits for a lock as long as
    // a connection does.
    let copied = Backup::new(source, &mut target).and_then(|backup| backup.step(-1)).map_err(said)?;
    ensure!(copied == StepResult::Done, "the database is locked by another program");
    let whole: String = target.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(said)?;
    ensure!(whole == "ok", "the backup is not whole: {whole}");
    let broken = target.prepare("PRAGMA foreign_key_check").and_then(|mut rows| rows.exists([])).map_err(said)?;
    ensure!(!broken, "the backup has links without their rows");
    // One file, that may be put away as it is.
    target.pragma_update(None, "journal_mode", "DELETE").map_err(said)
}

/// What SQLite says, without its causes, which say the same.
fn said(error: rusqlite::Error) -> anyhow::Error {
    anyhow::Error::msg(error)
}
