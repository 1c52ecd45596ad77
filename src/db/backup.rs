//! A copy of a SQLite file that is in use, by the online backup of SQLite.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use rusqlite::{Connection, OpenFlags, backup::Backup};

use super::DatabaseUrl;

/// Writes a backup of a SQLite database to a file that does not exist, checks it, and gives its size in bytes. What is
/// committed when it begins is in it. Servers go on reading and writing meanwhile.
///
/// # Errors
///
/// When the database is none of SQLite, the file exists or cannot be written, or the backup is not whole.
pub fn backup(url: &DatabaseUrl, path: &Path) -> anyhow::Result<u64> {
    let DatabaseUrl::Sqlite(url) = url else {
        bail!(
            "PostgreSQL has its own tools for backups: pg_dump for a dump, pg_basebackup and archived WAL for all of it"
        );
    };
    ensure!(!path.exists(), "{} exists already", path.display());
    // What is not whole has another name.
    let part = PathBuf::from(format!("{}.part", path.display()));
    let written = write(&url.path, &part).and_then(|()| {
        // A link fails where the file has come into being meanwhile.
        fs::hard_link(&part, path).with_context(|| format!("cannot write {}", path.display()))
    });
    let size = written.and_then(|()| Ok(fs::metadata(path)?.len()));
    // It may not have come into being.
    let _ = fs::remove_file(&part);
    size
}

fn write(source: &Path, part: &Path) -> anyhow::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(source, flags).context("cannot open the database")?;
    let mut target = Connection::open(part).with_context(|| format!("cannot write {}", part.display()))?;
    // All pages at once: a step at a time would begin again with each write of a server.
    Backup::new(&source, &mut target)?.step(-1).context("cannot copy the database")?;
    let whole: String = target.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(whole == "ok", "the backup is not whole: {whole}");
    let broken = target.prepare("PRAGMA foreign_key_check")?.exists([])?;
    ensure!(!broken, "the backup has links without their rows");
    // One file, that may be put away as it is.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    drop(target);
    File::open(part)?.sync_all().context("cannot write the backup to the disk")
}
