//! Records into the database.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufWriter, Read as _, Write as _},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use async_graphql::Value;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    ends,
    source::{Line, Record, Source},
};
use crate::{
    config::{ImportMode, ImportSettings, OnError},
    db::Db,
    graphql::{Code, RecordFault, RecordReader},
    progress::Progress,
    schema::Entity,
    store::{End, ImportBatch, ImportedKeys, NewLink, NewObject, finish_import, forget_import, last_import},
};

/// What an import has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The records of the files.
    pub records: u64,
    /// The objects that were created.
    pub created: u64,
    /// The records that were rejected.
    pub rejected: u64,
}

/// Imports files: first all records are checked, then they are written in batches. What is wrong with records is
/// written to files of their own.
///
/// # Errors
///
/// When a file cannot be read, records are wrong and not left out, or the database does not answer.
pub async fn import(db: &Db, reader: &RecordReader, settings: &ImportSettings) -> anyhow::Result<Imported> {
    let sources = settings.paths.iter().map(|path| Source::new(reader, path, settings.what.as_deref()));
    let mut sources = sources.collect::<anyhow::Result<Vec<_>>>()?;
    sources.sort_by_key(|source| source.rank(reader.entities()));
    let (mut imported, places) = check(reader, &sources)?;
    let Imported { records, rejected, .. } = imported;
    if rejected > 0 && settings.on_error == OnError::Stop {
        let hint = "nothing was written; --on-error skip leaves them out";
        bail!("{rejected} of {records} records are wrong, see {}; {hint}", places.join(", "));
    }
    if settings.dry_run {
        return Ok(imported);
    }
    let file: Arc<str> = hash(&sources)?.into();
    let all = i64::try_from(records)?;
    let last = last_import(db, reader.entities(), &file).await.context("cannot read the database")?;
    let (done, keys) = match last {
        Some((done, _)) if settings.resume && done == all => return Ok(imported),
        Some(last) if settings.resume => last,
        Some((done, _)) if !settings.restart && done < all => bail!(
            "an import of these files has ended after {done} of {records} records; --resume goes on there, and \
             --restart imports all of them again"
        ),
        Some(_) => {
            forget_import(db, Arc::clone(&file)).await.context("cannot write to the database")?;
            (0, ImportedKeys::new())
        }
        None => (0, ImportedKeys::new()),
    };
    let mut writing = Writing {
        db: db.uncounted(),
        connects: settings.mode == ImportMode::ConnectOrCreate,
        size: settings.batch,
        file: Arc::clone(&file),
        done,
        read: 0,
        keys,
        objects: Vec::new(),
        places: HashMap::new(),
        links: Vec::new(),
        created: 0,
        progress: Progress::new(settings.progress.show, Some(records)),
    };
    let mut checker = Checker::default();
    for source in &sources {
        for line in source.lines(reader)? {
            let line = checker.check(line?);
            writing.add(line.record.ok()).await?;
        }
    }
    writing.write().await?;
    writing.progress.finished();
    finish_import(db, file, all).await.context("cannot write to the database")?;
    imported.created = writing.created;
    Ok(imported)
}

/// Looks at all records, and gives how many there are, and where those that are wrong are written.
fn check(reader: &RecordReader, sources: &[Source]) -> anyhow::Result<(Imported, Vec<String>)> {
    let mut imported = Imported::default();
    let mut checker = Checker::default();
    let mut places = Vec::new();
    for source in sources {
        let path = PathBuf::from(format!("{}.rejected.jsonl", source.path.display()));
        let create = || File::create(&path).with_context(|| format!("cannot write {}", path.display()));
        let mut rejects = None;
        let mut lines = source.lines(reader)?;
        while let Some(line) = lines.next() {
            let line = line.with_context(|| format!("cannot read {}", source.path.display()))?;
            imported.records += 1;
            let Line { number, record } = checker.check(line);
            let Err(faults) = record else { continue };
            imported.rejected += 1;
            let rejects = match &mut rejects {
                Some(rejects) => rejects,
                none => none.insert(BufWriter::new(create()?)),
            };
            let errors = faults.iter().map(|fault| {
                let path = Value::List(fault.path.clone());
                json!({"code": Code::BadUserInput.as_str(), "argumentPath": path, "message": fault.message})
            });
            let rejected = json!({"line": number, "errors": errors.collect::<Vec<_>>(), "record": lines.text()});
            writeln!(rejects, "{rejected}").with_context(|| format!("cannot write {}", path.display()))?;
        }
        match rejects {
            Some(mut rejects) => {
                rejects.flush().with_context(|| format!("cannot write {}", path.display()))?;
                places.push(path.display().to_string());
            }
            // One of an earlier import is about that. It may not exist.
            None => drop(fs::remove_file(&path)),
        }
    }
    Ok((imported, places))
}

/// The SHA-256 of what files hold, in Base64.
fn hash(sources: &[Source]) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    for source in sources {
        let mut file = File::open(&source.path)?;
        loop {
            let read = file.read(&mut buffer).with_context(|| format!("cannot read {}", source.path.display()))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
        }
    }
    Ok(STANDARD.encode(hash.finalize()))
}

/// Looks at what records say of each other.
#[derive(Default)]
struct Checker {
    /// The ids so far.
    ids: ImportedKeys,
}

impl Checker {
    fn check(&mut self, line: Line) -> Line {
        let record = line.record.and_then(|record| {
            let faults = self.faults(&record);
            if !faults.is_empty() {
                return Err(faults);
            }
            if let Record::Object { entity, id: Some(id), .. } = &record {
                self.ids.entry(entity.name).or_default().insert(*id, *id);
            }
            Ok(record)
        });
        Line { record, ..line }
    }

    fn has(&self, entity: &Entity, id: i64) -> bool {
        self.ids.get(entity.name).is_some_and(|ids| ids.contains(id))
    }

    fn faults(&self, record: &Record) -> Vec<RecordFault> {
        let unknown = |path: Vec<Value>, place: String, entity: &Entity, id: i64| RecordFault {
            path,
            message: format!("`{place}` is {}:{id}, which no record before this one has", entity.name),
        };
        let mut faults = Vec::new();
        match record {
            Record::Object { entity, id, links, .. } => {
                let one = entity.one;
                if let Some(id) = id.filter(|id| self.has(entity, *id)) {
                    let message = format!("`{one}.id` is {}:{id}, which a record before this one has", entity.name);
                    faults.push(RecordFault { path: vec![one.into(), "id".into()], message });
                }
                for (relation, ids) in links {
                    for (index, id) in ids.iter().enumerate().filter(|(_, id)| !self.has(relation.to, **id)) {
                        let path = vec![one.into(), relation.field.into(), index.into()];
                        let place = format!("{one}.{}[{index}]", relation.field);
                        faults.push(unknown(path, place, relation.to, *id));
                    }
                }
            }
            Record::Link { from, relation, ends: ids } => {
                for ((entity, column, _), id) in ends(from, relation).into_iter().zip(ids) {
                    if !self.has(entity, *id) {
                        faults.push(unknown(vec![column.as_str().into()], column, entity, *id));
                    }
                }
            }
        }
        faults
    }
}

/// What is being written.
struct Writing {
    db: Db,
    connects: bool,
    size: usize,
    file: Arc<str>,
    /// The records that an earlier import has written.
    done: i64,
    /// The records so far.
    read: i64,
    /// The keys of the ids so far.
    keys: ImportedKeys,
    objects: Vec<NewObject>,
    /// The places of the ids of the batch.
    places: HashMap<(&'static str, i64), usize>,
    links: Vec<NewLink>,
    created: u64,
    progress: Progress,
}

impl Writing {
    /// Adds a record, or one that is left out.
    async fn add(&mut self, record: Option<Record>) -> anyhow::Result<()> {
        self.read += 1;
        if self.read <= self.done {
            self.progress.add(1);
            return Ok(());
        }
        match record {
            Some(Record::Object { entity, id, values, links }) => {
                let place = self.objects.len();
                if let Some(id) = id {
                    self.places.insert((entity.name, id), place);
                }
                self.objects.push(NewObject { entity, id, values });
                for (relation, ids) in links {
                    for id in ids {
                        let far = self.end(relation.to, id)?;
                        self.links
                            .push(NewLink { link: relation.link, ends: relation.link.pair(End::New(place), far) });
                    }
                }
            }
            Some(Record::Link { from, relation, ends: ids }) => {
                let [(first, ..), (second, ..)] = ends(from, relation);
                let ends = [self.end(first, ids[0])?, self.end(second, ids[1])?];
                self.links.push(NewLink { link: relation.link, ends });
            }
            None => {}
        }
        if self.read - self.done >= i64::try_from(self.size)? {
            self.write().await?;
        }
        Ok(())
    }

    fn end(&self, entity: &Entity, id: i64) -> anyhow::Result<End> {
        let row = self.keys.get(entity.name).and_then(|keys| keys.get(id)).map(End::Row);
        let new = || self.places.get(&(entity.name, id)).map(|place| End::New(*place));
        row.or_else(new).context("the files have changed while they were imported")
    }

    /// Writes what has been added.
    async fn write(&mut self) -> anyhow::Result<()> {
        if self.read <= self.done {
            return Ok(());
        }
        let objects: Arc<[NewObject]> = std::mem::take(&mut self.objects).into();
        let batch = ImportBatch {
            file: Arc::clone(&self.file),
            records: self.read,
            objects: Arc::clone(&objects),
            links: std::mem::take(&mut self.links).into(),
            connects: self.connects,
            events: self.db.writes_events(),
        };
        let imported = self.db.write(batch).await;
        let done = self.done;
        let imported =
            imported.with_context(|| format!("ended after {done} records, which are written; --resume goes on"))?;
        for (object, key) in objects.iter().zip(imported.keys) {
            if let Some(id) = object.id {
                self.keys.entry(object.entity.name).or_default().insert(id, key);
            }
        }
        self.places.clear();
        self.created += imported.created;
        self.progress.add(u64::try_from(self.read - self.done)?);
        self.done = self.read;
        Ok(())
    }
}
