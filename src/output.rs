//! The output of a command: a file or a folder that appears under its name when it is complete.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use tempfile::{TempDir, TempPath};

/// A file or a folder that is being written. It lies in a folder of its own beside its place, named
/// `NAME.??????.part`, which is removed with all that it holds when this is dropped.
#[derive(Debug)]
pub struct Output {
    place: PathBuf,
    folder: TempDir,
}

impl Output {
    /// The output at a path, which must not exist.
    ///
    /// # Errors
    ///
    /// When there is something at the path, or the folder around it cannot be written.
    pub fn new(place: &Path) -> anyhow::Result<Self> {
        // A slash at its end says nothing.
        let place: PathBuf = place.components().collect();
        ensure!(fs::symlink_metadata(&place).is_err(), "{} exists already", place.display());
        let folder = Self::folder(&place).with_context(|| format!("cannot write {}", place.display()))?;
        Ok(Self { place, folder })
    }

    fn folder(place: &Path) -> io::Result<TempDir> {
        let parent = parent(place);
        fs::metadata(parent)?;
        let mut prefix = place.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        prefix.push(".");
        tempfile::Builder::new().prefix(&prefix).suffix(".part").tempdir_in(parent)
    }

    /// Where the file or the folder is to be created.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("whole")
    }

    /// Writes the file, or the files of the folder, to the disk and gives them their place.
    ///
    /// # Errors
    ///
    /// When something has come to the place meanwhile, or the disk does not take it.
    pub fn finish(self) -> io::Result<()> {
        let path = self.path();
        File::open(&path)?.sync_all()?;
        if path.is_dir() {
            for file in fs::read_dir(&path)? {
                File::open(file?.path())?.sync_all()?;
            }
            // It takes the place of nothing but an empty folder.
            fs::rename(path, &self.place)?;
        } else {
            TempPath::try_from_path(path)?.persist_noclobber(&self.place)?;
        }
        File::open(parent(&self.place))?.sync_all()
    }
}

/// The folder that a path is in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
