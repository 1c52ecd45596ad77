//! A copy of a SQLite file that is in use, by the online backup of SQLite.

use std::{fs, path::Path};

use anyhow::{Context as _, bail, ensure};
use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};
use tokio::task::spawn_blocking;

use super::{Open, migrations::MIGRATIONS, open_to_read};
use crate::{
    config::{DatabaseUrl, SqliteUrl},
    output::Output,
};

/// Writes a backup of a SQLite database to a file that does not exist, checks it, and gives its size in bytes. What is
/// committed when it begins is in it. Servers go on reading and writing meanwhile.
///
/// # Errors
///
/// When the database is none of hero-teams on SQLite or is locked by another program, the file exists or cannot be
/// written, or the backup is not whole.
pub async fn backup(url: &DatabaseUrl, path: &Path) -> anyhow::Result<u64> {
    let DatabaseUrl::Sqlite(SqliteUrl { path: source, .. }) = url else {
        bail!(
            "PostgreSQL has its own tools for backups: pg_dump for a dump, pg_basebackup and archived WAL for all of it"
        );
    };
    let database = open(source).with_context(|| format!("cannot read {}", source.display()))?;
    let output = Output::new(path)?;
    let (permissions, part) = (fs::metadata(source)?.permissions(), output.path());
    let written = spawn_blocking(move || {
        write(&database, &part)?;
        // For nobody who may not read the database.
        fs::set_permissions(&part, permissions)?;
        Ok(fs::metadata(part)?.len())
    });
    let written = written.await?.and_then(|size| output.finish().map(|()| size).map_err(anyhow::Error::from));
    written.with_context(|| format!("cannot write a backup to {}", path.display()))
}

/// Opens a database of hero-teams to read it.
fn open(path: &Path) -> anyhow::Result<Open> {
    fs::metadata(path)?;
    let source = open_to_read(path).map_err(said)?;
    let migrations = source.prepare("SELECT 1 FROM sqlite_schema WHERE name = ?");
    let is_ours = migrations.and_then(|mut rows| rows.exists([MIGRATIONS])).map_err(said)?;
    ensure!(is_ours, "it is no database of hero-teams");
    Ok(source)
}

fn write(source: &Open, path: &Path) -> anyhow::Result<()> {
    let mut target = Connection::open(path).map_err(said)?;
    // All pages at once: a step at a time would begin again with each write of a server. It waits for a lock as long as
    // a connection does.
    let copied = Backup::new(source, &mut target).and_then(|backup| backup.step(-1)).map_err(said)?;
    ensure!(copied == StepResult::Done, "the database is locked by another program");
    source.ensure_in_place().map_err(said)?;
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
