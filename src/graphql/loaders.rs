//! Batches: the fields of one level share a statement, however many parents they have.
//!
//! A loader waits for its siblings by yielding once inside the task of the request, without a timer.
//! [`super::answer::settle`] makes sure that all of them have asked by then. Most operations have one field in each
//! level that asks for rows, and of those nobody is waited for.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Debug},
    hash::{Hash, Hasher},
    pin::pin,
    sync::{Arc, OnceLock},
};

use dataloader::{BatchFn, cached::Loader};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    error::{ApiError, Code},
    shared_reads::{MAX_KEYS, Shared, SharedReads, Turn},
};
use crate::{
    db::{Db, StoreError},
    schema::{Entity, Relation},
    store::{self, Count, CountQuery, FoundQuery, ListQuery, Page, Row},
    telemetry::{Parent, SpanKind},
};

/// The greatest number of rows in one batch. Their keys are one parameter, so this bounds only the memory that a batch
/// takes. Lists have one batch, however many parents there are.
const MAX_BATCH_SIZE: usize = 30_000;

type Loaded<T> = Result<T, ApiError>;
/// An answer for each of several parents, in their order.
type LoadedForEach<T> = Loaded<Arc<[T]>>;

type RowLoader = Loader<RowKey, Loaded<Option<Row>>, RowBatch>;
type ListLoader<Q> = Loader<ListKey<Q>, LoadedForEach<<Q as Question>::Answer>, ListBatch<Q>>;

/// The list of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// All objects of an entity. The parent is the root, whose key is 0.
    All(&'static Entity),
    /// The objects that are related to a parent.
    Related(&'static Relation),
}

impl Source {
    /// The entity of the objects.
    #[must_use]
    pub fn entity(self) -> &'static Entity {
        match self {
            Self::All(entity) => entity,
            Self::Related(relation) => relation.to,
        }
    }

    /// The field, as a schema coordinate, or the object type for a list of all objects.
    fn coordinate(self, entities: &[&Entity]) -> String {
        match self {
            Self::All(entity) => entity.name.to_owned(),
            Self::Related(relation) => {
                let table = relation.link.from.to_string();
                let from = entities.iter().find(|entity| entity.table() == table).map_or(&*table, |entity| entity.name);
                format!("{from}.{}", relation.field)
            }
        }
    }
}

/// A row by its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct RowKey {
    entity: &'static Entity,
    key: i64,
}

/// The lists of a field, and what is asked of them. A field is answered for all objects of its level together, so their
/// parents are one key: one for each of them would take a fifth of the time of 50 heroes with their teams.
struct ListKey<Q> {
    source: Source,
    parents: Arc<[i64]>,
    question: Arc<Q>,
}

/// What requests have in common that read rows by their keys.
#[derive(PartialEq, Eq, Hash)]
struct SharedRows {
    entity: &'static Entity,
    /// The replica that answers.
    replica: Option<u32>,
}

impl Shared for SharedRows {
    type Answer = Row;
}

/// What requests have in common that ask the same of the same lists. Those of other parents may take much longer.
#[derive(PartialEq, Eq, Hash)]
struct SharedLists<Q> {
    source: Source,
    parents: Vec<i64>,
    question: Arc<Q>,
    /// The replica that answers.
    replica: Option<u32>,
}

impl<Q: Question> Shared for SharedLists<Q> {
    type Answer = Q::Answer;
}

/// What the loaders of all requests share: the statements of requests that ask the same at the same time.
#[derive(Default)]
pub struct SharedLoads {
    rows: Arc<SharedReads<SharedRows>>,
    pages: Arc<SharedReads<SharedLists<ListQuery>>>,
    counts: Arc<SharedReads<SharedLists<CountQuery>>>,
    found: Arc<SharedReads<SharedLists<FoundQuery>>>,
}

/// `dataloader` formats a "not found" message with `{:?}` for every key that it loads. To format the whole question
/// there took a quarter of a request, so keys print only their name.
impl Debug for RowKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RowKey")
    }
}

impl<Q> Debug for ListKey<Q> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ListKey")
    }
}

impl<Q> Clone for ListKey<Q> {
    fn clone(&self) -> Self {
        Self { source: self.source, parents: Arc::clone(&self.parents), question: Arc::clone(&self.question) }
    }
}

/// Fields that ask for other lists of the same parents have the same hash, and are compared.
impl<Q> Hash for ListKey<Q> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parents.hash(state);
    }
}

impl<Q: PartialEq> PartialEq for ListKey<Q> {
    fn eq(&self, other: &Self) -> bool {
        self.parents == other.parents && self.asks_the_same(other.source, &other.question)
    }
}

impl<Q: Eq> Eq for ListKey<Q> {}

impl<Q: PartialEq> ListKey<Q> {
    fn asks_the_same(&self, source: Source, question: &Arc<Q>) -> bool {
        self.source == source && (Arc::ptr_eq(&self.question, question) || self.question == *question)
    }
}

/// The loaders of one request. Requests share no row that was read before they have asked for it, so nothing is stale.
/// Most requests need one or two loaders, so each is made when it is first asked.
pub struct Loaders {
    db: Db,
    shared: Arc<SharedLoads>,
    entities: &'static [&'static Entity],
    /// Whether several fields of one level may ask.
    has_siblings: bool,
    rows: OnceLock<RowLoader>,
    pages: OnceLock<Lists<ListQuery>>,
    counts: OnceLock<Lists<CountQuery>>,
    found: OnceLock<Lists<FoundQuery>>,
}

/// A loader of lists, and what it has read.
struct Lists<Q: Question> {
    loader: ListLoader<Q>,
    known: Known<Q>,
}

/// The answers to what was asked of lists, by parents. Another field may ask the same of some of them.
type Known<Q> = Arc<Mutex<Vec<(Source, Arc<Q>, Arc<ByParent<Q>>)>>>;

type ByParent<Q> = BTreeMap<i64, <Q as Question>::Answer>;

impl Loaders {
    /// The loaders of a new request.
    #[must_use]
    pub fn new(db: &Db, shared: &Arc<SharedLoads>, entities: &'static [&'static Entity], has_siblings: bool) -> Self {
        let (rows, pages, counts, found) = (OnceLock::new(), OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { db: db.clone(), shared: Arc::clone(shared), entities, has_siblings, rows, pages, counts, found }
    }

    /// A row by its key; none when it does not exist.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub async fn row(&self, entity: &'static Entity, key: i64) -> Loaded<Option<Row>> {
        let loader = self.row_loader();
        loader.try_load(RowKey { entity, key }).await.unwrap_or_else(no_entry)
    }

    /// Rows by their keys, in the order of these; none for each that does not exist.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub async fn rows(&self, entity: &'static Entity, keys: impl Iterator<Item = i64>) -> Loaded<Vec<Option<Row>>> {
        let loader = self.row_loader();
        let keys: Vec<_> = keys.map(|key| RowKey { entity, key }).collect();
        let entries = match loader.try_load_many(keys.clone()).await {
            Ok(entries) => entries,
            Err(error) => return no_entry(error),
        };
        let entry = |key| entries.get(key).cloned().unwrap_or_else(|| no_entry(std::io::ErrorKind::NotFound.into()));
        keys.iter().map(entry).collect()
    }

    /// The same page of the lists of many parents.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub async fn pages(&self, source: Source, parents: Arc<[i64]>, query: &Arc<ListQuery>) -> LoadedForEach<Arc<Page>> {
        self.pages.get_or_init(|| self.lists(&self.shared.pages)).load(source, parents, query).await
    }

    /// The numbers of rows in the lists of many parents.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub async fn counts(&self, source: Source, parents: Arc<[i64]>, query: &Arc<CountQuery>) -> LoadedForEach<Count> {
        self.counts.get_or_init(|| self.lists(&self.shared.counts)).load(source, parents, query).await
    }

    /// The number of rows of an entity that match a filter, as far as it is asked for.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub async fn found(&self, entity: &'static Entity, query: FoundQuery) -> Loaded<u64> {
        let (source, query) = (Source::All(entity), Arc::new(query));
        let found =
            self.found.get_or_init(|| self.lists(&self.shared.found)).load(source, Arc::from([0]), &query).await?;
        Ok(found.first().copied().unwrap_or_default())
    }

    /// Forgets all rows. Each write does this, so that what is read after it in the same request is fresh.
    pub async fn clear(&self) {
        if let Some(rows) = self.rows.get() {
            rows.clear_all().await;
        }
        clear(&self.pages).await;
        clear(&self.counts).await;
        clear(&self.found).await;
    }

    fn row_loader(&self) -> &RowLoader {
        let batch = || RowBatch { db: self.db.clone(), shared: Arc::clone(&self.shared.rows) };
        self.rows.get_or_init(|| self.loader(batch()))
    }

    fn lists<Q: Question>(&self, shared: &Arc<SharedReads<SharedLists<Q>>>) -> Lists<Q> {
        let (known, shared) = (Known::default(), Arc::clone(shared));
        let batch = ListBatch { db: self.db.clone(), shared, entities: self.entities, known: Arc::clone(&known) };
        Lists { loader: self.loader(batch), known }
    }

    fn loader<K, T, B>(&self, batch: B) -> Loader<K, Loaded<T>, B>
    where
        K: Clone + Eq + Hash + Debug,
        T: Clone,
        B: BatchFn<K, Loaded<T>>,
    {
        Loader::new(batch).with_max_batch_size(MAX_BATCH_SIZE).with_yield_count(usize::from(self.has_siblings))
    }
}

impl<Q: Question> Lists<Q> {
    /// What is asked of the lists of many parents, in their order.
    async fn load(&self, source: Source, parents: Arc<[i64]>, question: &Arc<Q>) -> LoadedForEach<Q::Answer> {
        let key = ListKey { source, parents, question: Arc::clone(question) };
        self.loader.try_load(key).await.unwrap_or_else(no_entry)
    }
}

async fn clear<Q: Question>(lists: &OnceLock<Lists<Q>>) {
    if let Some(Lists { loader, known }) = lists.get() {
        loader.clear_all().await;
        known.lock().clear();
    }
}

impl Debug for Loaders {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Loaders").finish_non_exhaustive()
    }
}

/// A batch answers every key, so a loader without an entry is a fault of the server.
fn no_entry<T>(_: std::io::Error) -> Loaded<T> {
    tracing::error!("a batch was lost");
    Err(ApiError::new(Code::Internal, "the server failed to do this; its log has the reason"))
}

/// Reads rows by their keys.
struct RowBatch {
    db: Db,
    shared: Arc<SharedReads<SharedRows>>,
}

impl BatchFn<RowKey, Loaded<Option<Row>>> for RowBatch {
    async fn load(&mut self, keys: &[RowKey]) -> HashMap<RowKey, Loaded<Option<Row>>> {
        let mut by_entity = Vec::<(&'static Entity, Vec<i64>)>::new();
        for RowKey { entity, key } in keys {
            match by_entity.iter_mut().find(|(other, _)| other == entity) {
                Some((_, keys)) => keys.push(*key),
                None => by_entity.push((entity, vec![*key])),
            }
        }
        let loaded = by_entity.into_iter().map(async |(entity, keys)| {
            let rows = self.rows(entity, keys.clone()).await.map_err(ApiError::from);
            let row =
                |key| (RowKey { entity, key }, rows.as_ref().map(|rows| rows.get(&key).cloned()).map_err(Clone::clone));
            keys.iter().copied().map(row).collect::<Vec<_>>()
        });
        join_all(loaded).await.into_iter().flatten().collect()
    }
}

impl RowBatch {
    /// The rows with these keys, perhaps by a statement of another request.
    async fn rows(&self, entity: &'static Entity, keys: Vec<i64>) -> Result<BTreeMap<i64, Row>, StoreError> {
        if keys.len() > MAX_KEYS || !self.db.shares_reads() {
            return read_rows(&self.db, entity, &keys).await;
        }
        let begun = Instant::now();
        let question = SharedRows { entity, replica: self.db.replica() };
        let read = match turn(&self.db, &self.shared, question, keys).await? {
            Turn::Answered(rows) => {
                self.db.count_shared(begun, rows.len() as u64, || format!("load {}", entity.name));
                return Ok(rows);
            }
            Turn::Read(read) => read,
        };
        let sent = Arc::clone(&read);
        let db = self.db.sending(move |statement| store::replace_keys(statement, &sent.send()));
        Ok(read.answer(read_rows(&db, entity, &read.own).await?))
    }
}

async fn read_rows(db: &Db, entity: &'static Entity, keys: &[i64]) -> Result<BTreeMap<i64, Row>, StoreError> {
    let load = pin!(async { store::by_keys(db, entity, keys).await });
    let name = || format!("load {}", entity.name);
    let rows = traced(db, name, keys.len(), Vec::len, load).await?;
    Ok(rows.into_iter().map(|row| (row.key(), row)).collect())
}

/// Waits for other requests that ask the same.
async fn turn<Q: Shared>(
    db: &Db,
    reads: &Arc<SharedReads<Q>>,
    question: Q,
    keys: Vec<i64>,
) -> Result<Turn<Q>, StoreError> {
    match reads.ask(question, keys) {
        Ok(read) => Ok(Turn::Read(read)),
        Err(wait) => db.until_deadline(wait.turn()).await,
    }
}

/// Loads a batch in a span of its own, if the request is recorded.
async fn traced<T>(
    db: &Db,
    name: impl FnOnce() -> String,
    keys: usize,
    rows: impl FnOnce(&T) -> usize,
    load: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let Some((tracer, _)) = db.telemetry().recorded() else { return load.await };
    let span = tracer.begin(|| name().into(), SpanKind::Internal, Parent::Current, None);
    let loaded = span.scope(load).await;
    span.set("hero_teams.keys", count(keys));
    match &loaded {
        Ok(loaded) => span.set("hero_teams.rows", count(rows(loaded))),
        Err(error) => span.fail(error.kind()),
    }
    span.end();
    loaded
}

/// A number as spans have it.
pub fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What is asked of a list: a page of it, or how long it is.
trait Question: Eq + Hash + Send + Sync + 'static {
    type Answer: Clone + Send + Default;

    /// The number of rows in an answer.
    fn rows(answer: &Self::Answer) -> usize;

    /// The answer for the list of each of these parents, unless it is that of an empty list.
    fn answers(
        &self,
        db: &Db,
        source: Source,
        parents: &[i64],
    ) -> impl Future<Output = Result<BTreeMap<i64, Self::Answer>, StoreError>> + Send;
}

impl Question for ListQuery {
    type Answer = Arc<Page>;

    fn rows(page: &Arc<Page>) -> usize {
        page.rows.len()
    }

    async fn answers(&self, db: &Db, source: Source, parents: &[i64]) -> Result<BTreeMap<i64, Arc<Page>>, StoreError> {
        let pages = match source {
            Source::All(entity) => BTreeMap::from([(0, store::page(db, entity, self).await?)]),
            Source::Related(relation) => store::related_pages(db, relation, parents, self).await?,
        };
        Ok(pages.into_iter().map(|(parent, page)| (parent, Arc::new(page))).collect())
    }
}

impl Question for CountQuery {
    type Answer = Count;

    fn rows(_: &Count) -> usize {
        1
    }

    async fn answers(&self, db: &Db, source: Source, parents: &[i64]) -> Result<BTreeMap<i64, Count>, StoreError> {
        match source {
            Source::All(entity) => Ok(BTreeMap::from([(0, store::count(db, entity, self).await?)])),
            Source::Related(relation) => store::related_counts(db, relation, parents, &self.filter).await,
        }
    }
}

impl Question for FoundQuery {
    type Answer = u64;

    fn rows(_: &u64) -> usize {
        1
    }

    async fn answers(&self, db: &Db, source: Source, _: &[i64]) -> Result<BTreeMap<i64, u64>, StoreError> {
        Ok(BTreeMap::from([(0, store::rows_found(db, source.entity(), self).await?)]))
    }
}

/// Reads what is asked of lists.
struct ListBatch<Q: Question> {
    db: Db,
    shared: Arc<SharedReads<SharedLists<Q>>>,
    /// The entities of the schema, for the names of spans.
    entities: &'static [&'static Entity],
    known: Known<Q>,
}

impl<Q: Question> BatchFn<ListKey<Q>, LoadedForEach<Q::Answer>> for ListBatch<Q> {
    async fn load(&mut self, keys: &[ListKey<Q>]) -> HashMap<ListKey<Q>, LoadedForEach<Q::Answer>> {
        // Lists of which the same is asked share a statement.
        let mut by_question = Vec::<Vec<&ListKey<Q>>>::new();
        for key in keys {
            match by_question.iter_mut().find(|alike| alike[0].asks_the_same(key.source, &key.question)) {
                Some(alike) => alike.push(key),
                None => by_question.push(vec![key]),
            }
        }
        // Different questions run side by side, where the database is not in this very process.
        let answered = join_all(by_question.iter().map(|alike| self.answer(alike))).await;
        let entries = by_question.iter().zip(answered).flat_map(|(alike, answers)| {
            let of_key = move |key: &&ListKey<Q>| {
                let answer = |answers: &Arc<ByParent<Q>>| {
                    key.parents.iter().map(|parent| answers.get(parent).cloned().unwrap_or_default()).collect()
                };
                (ListKey::clone(key), answers.as_ref().map(answer).map_err(Clone::clone))
            };
            alike.iter().map(of_key).collect::<Vec<_>>()
        });
        entries.collect()
    }
}

impl<Q: Question> ListBatch<Q> {
    /// The answers for the parents of keys that ask the same.
    async fn answer(&self, keys: &[&ListKey<Q>]) -> Loaded<Arc<ByParent<Q>>> {
        let ListKey { source, question, .. } = keys[0];
        let mut answers = {
            let mut known = self.known.lock();
            let same = known.iter().position(|(other, asked, _)| keys[0].asks_the_same(*other, asked));
            same.map(|index| Arc::unwrap_or_clone(known.swap_remove(index).2)).unwrap_or_default()
        };
        let parents = keys.iter().flat_map(|key| &*key.parents).copied();
        let mut parents: Vec<i64> = parents.filter(|parent| !answers.contains_key(parent)).collect();
        parents.sort_unstable();
        // Objects of a level may have parents in common, and so may fields.
        parents.dedup();
        if !parents.is_empty() {
            let mut read = self.read(*source, question, &parents).await?;
            for parent in parents.iter().copied() {
                read.entry(parent).or_default();
            }
            answers.append(&mut read);
        }
        let answers = Arc::new(answers);
        self.known.lock().push((*source, Arc::clone(question), Arc::clone(&answers)));
        Ok(answers)
    }

    /// The answers for these parents, perhaps by a statement of another request.
    async fn read(&self, source: Source, question: &Arc<Q>, parents: &[i64]) -> Result<ByParent<Q>, StoreError> {
        if parents.len() > MAX_KEYS || !self.db.shares_reads() {
            return self.read_from(&self.db, source, question, parents).await;
        }
        let begun = Instant::now();
        let replica = self.db.replica();
        let asked = SharedLists { source, parents: parents.to_vec(), question: Arc::clone(question), replica };
        let read = match turn(&self.db, &self.shared, asked, parents.to_vec()).await? {
            Turn::Answered(answers) => {
                self.db.count_shared(begun, rows_of::<Q>(&answers) as u64, || self.name(source));
                return Ok(answers);
            }
            Turn::Read(read) => read,
        };
        let sent = Arc::clone(&read);
        let db = self.db.sending(move |_| drop(sent.send()));
        Ok(read.answer(self.read_from(&db, source, question, parents).await?))
    }

    async fn read_from(
        &self,
        db: &Db,
        source: Source,
        question: &Q,
        parents: &[i64],
    ) -> Result<ByParent<Q>, StoreError> {
        let load = pin!(question.answers(db, source, parents));
        traced(db, || self.name(source), parents.len(), rows_of::<Q>, load).await
    }

    /// The name of what is loaded, for spans and reports.
    fn name(&self, source: Source) -> String {
        format!("load {}", source.coordinate(self.entities))
    }
}

fn rows_of<Q: Question>(answers: &ByParent<Q>) -> usize {
    answers.values().map(Q::rows).sum()
}
