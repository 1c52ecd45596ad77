//! Relations in batches: the fields of one level share a statement, however many parents there are.
//!
//! A loader waits for its siblings by yielding once inside the request's own task, without a timer. [`super::settle`] sees
//! to it that all of them have asked by then.

use std::{
    collections::HashMap,
    fmt::{self, Debug},
    hash::{Hash, Hasher},
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

use async_graphql::futures_util::future::{join, join_all};
use dataloader::{BatchFn, cached::Loader};
use entity::{hero, team};

use super::{
    error::{ApiError, Code},
    list::Source,
};
use crate::store::{self, Db, Filter, ListQuery, Record, Rows, StoreError, Table};

/// Keys in one batch, at most. They are one parameter, so this bounds only the memory that a batch takes.
const MAX_BATCH_SIZE: usize = 30_000;

type Loaded<T> = Result<T, ApiError>;

/// A part of a list, shared by all who asked for it.
pub type Page<E> = Arc<Rows<Record<E>>>;

/// Loads rows by their keys.
pub type RowLoader<E> = Loader<i64, Loaded<Option<Record<E>>>, RowBatch<E>>;
/// Loads parts of lists of rows: of all rows, or of those that are linked to a parent.
pub type PageLoader<E> = Loader<ListKey<ListQuery>, Loaded<Page<E>>, ListBatch<E>>;
/// Loads numbers of rows: of all rows, or of those that are linked to a parent.
pub type CountLoader<E> = Loader<ListKey<Filter>, Loaded<i64>, ListBatch<E>>;

/// The parent of a list, if it has one, and what is asked of the list.
///
/// A request asks little that differs of many parents. So the parent alone makes the hash, and what is asked is compared by its
/// address first.
pub struct ListKey<Q> {
    parent: Option<i64>,
    question: Arc<Q>,
}

/// Of each key that it loads the dataloader writes the message that it is not there, in case. With what is asked in it that took
/// a quarter of the time of a query.
impl<Q> Debug for ListKey<Q> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ListKey")
    }
}

impl<Q> Clone for ListKey<Q> {
    fn clone(&self) -> Self {
        Self { parent: self.parent, question: Arc::clone(&self.question) }
    }
}

impl<Q> Hash for ListKey<Q> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parent.hash(state);
    }
}

impl<Q: PartialEq> PartialEq for ListKey<Q> {
    fn eq(&self, other: &Self) -> bool {
        self.parent == other.parent && is_same(&self.question, &other.question)
    }
}

impl<Q: Eq> Eq for ListKey<Q> {}

fn is_same<Q: PartialEq>(one: &Arc<Q>, other: &Arc<Q>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// The loaders of one request. Nothing is shared between requests, so nothing goes stale. Most requests need one or two, so
/// each is made when it is first asked.
pub struct Loaders {
    db: Db,
    heroes: OnceLock<RowLoader<hero::Entity>>,
    teams: OnceLock<RowLoader<team::Entity>>,
    hero_pages: OnceLock<PageLoader<hero::Entity>>,
    team_pages: OnceLock<PageLoader<team::Entity>>,
    hero_counts: OnceLock<CountLoader<hero::Entity>>,
    team_counts: OnceLock<CountLoader<team::Entity>>,
}

impl Loaders {
    /// The loaders of a new request.
    #[must_use]
    pub fn new(db: &Db) -> Self {
        Self {
            db: db.clone(),
            heroes: OnceLock::new(),
            teams: OnceLock::new(),
            hero_pages: OnceLock::new(),
            team_pages: OnceLock::new(),
            hero_counts: OnceLock::new(),
            team_counts: OnceLock::new(),
        }
    }

    /// The loader of parts of lists of heroes.
    pub fn hero_pages(&self) -> &PageLoader<hero::Entity> {
        self.hero_pages.get_or_init(|| list_loader(&self.db))
    }

    /// The loader of parts of lists of teams.
    pub fn team_pages(&self) -> &PageLoader<team::Entity> {
        self.team_pages.get_or_init(|| list_loader(&self.db))
    }

    /// The loader of numbers of heroes.
    pub fn hero_counts(&self) -> &CountLoader<hero::Entity> {
        self.hero_counts.get_or_init(|| list_loader(&self.db))
    }

    /// The loader of numbers of teams.
    pub fn team_counts(&self) -> &CountLoader<team::Entity> {
        self.team_counts.get_or_init(|| list_loader(&self.db))
    }

    /// A hero by its key; none when there is no such hero.
    pub async fn hero(&self, key: i64) -> Loaded<Option<Record<hero::Entity>>> {
        self.heroes.get_or_init(|| row_loader(&self.db)).try_load(key).await.unwrap_or_else(no_entry)
    }

    /// A team by its key; none when there is no such team.
    pub async fn team(&self, key: i64) -> Loaded<Option<Record<team::Entity>>> {
        self.teams.get_or_init(|| row_loader(&self.db)).try_load(key).await.unwrap_or_else(no_entry)
    }

    /// A part of a list.
    pub async fn page<E: Table>(
        &self,
        loader: impl FnOnce(&Self) -> &PageLoader<E>,
        source: Source,
        query: Arc<ListQuery>,
    ) -> Loaded<Page<E>> {
        let key = ListKey { parent: source.parent(), question: query };
        loader(self).try_load(key).await.unwrap_or_else(no_entry)
    }

    /// The same part of the lists of many parents.
    pub async fn pages<E: Table>(
        &self,
        loader: impl FnOnce(&Self) -> &PageLoader<E>,
        parents: Vec<i64>,
        query: Arc<ListQuery>,
    ) -> Loaded<Vec<Page<E>>> {
        load_many(loader(self), parents, query).await
    }

    /// The number of rows in a list.
    pub async fn count<E: Table>(
        &self,
        loader: impl FnOnce(&Self) -> &CountLoader<E>,
        source: Source,
        filter: Arc<Filter>,
    ) -> Loaded<i64> {
        let key = ListKey { parent: source.parent(), question: filter };
        loader(self).try_load(key).await.unwrap_or_else(no_entry)
    }

    /// The numbers of rows in the lists of many parents.
    pub async fn counts<E: Table>(
        &self,
        loader: impl FnOnce(&Self) -> &CountLoader<E>,
        parents: Vec<i64>,
        filter: Arc<Filter>,
    ) -> Loaded<Vec<i64>> {
        load_many(loader(self), parents, filter).await
    }

    /// Forgets all rows. Each write does this, so that what is read after it in the same request is fresh.
    pub async fn clear(&self) {
        clear(&self.heroes).await;
        clear(&self.teams).await;
        clear(&self.hero_pages).await;
        clear(&self.team_pages).await;
        clear(&self.hero_counts).await;
        clear(&self.team_counts).await;
    }
}

impl Source {
    /// The key of the parent, if there is one.
    pub fn parent(self) -> Option<i64> {
        match self {
            Self::Root => None,
            Self::Parent(key) => Some(key),
        }
    }
}

fn row_loader<E: Table>(db: &Db) -> RowLoader<E> {
    loader(RowBatch { db: db.clone(), entity: PhantomData })
}

fn list_loader<E: Table, Q: Question<E> + Debug>(db: &Db) -> Loader<ListKey<Q>, Loaded<Q::Answer>, ListBatch<E>> {
    loader(ListBatch { db: db.clone(), entity: PhantomData })
}

fn loader<K, T, B>(batch: B) -> Loader<K, Loaded<T>, B>
where
    K: Clone + Eq + Hash + Debug,
    T: Clone,
    B: BatchFn<K, Loaded<T>>,
{
    Loader::new(batch).with_max_batch_size(MAX_BATCH_SIZE).with_yield_count(1)
}

async fn clear<K, T, B>(loader: &OnceLock<Loader<K, T, B>>)
where
    K: Clone + Eq + Hash + Debug,
    T: Clone,
    B: BatchFn<K, T>,
{
    if let Some(loader) = loader.get() {
        loader.clear_all().await;
    }
}

/// What is asked of the lists of many parents, in their order.
async fn load_many<E: Table, Q: Question<E> + Debug>(
    loader: &Loader<ListKey<Q>, Loaded<Q::Answer>, ListBatch<E>>,
    parents: Vec<i64>,
    question: Arc<Q>,
) -> Loaded<Vec<Q::Answer>> {
    let keys = parents.into_iter().map(|parent| ListKey { parent: Some(parent), question: Arc::clone(&question) });
    let keys: Vec<_> = keys.collect();
    let answers = match loader.try_load_many(keys.clone()).await {
        Ok(answers) => answers,
        Err(error) => return no_entry(error),
    };
    let answer = |key| answers.get(key).cloned().unwrap_or_else(|| no_entry(std::io::ErrorKind::NotFound.into()));
    keys.iter().map(answer).collect()
}

/// A batch answers every key, so a loader without an entry is a fault of the server.
fn no_entry<T>(_: std::io::Error) -> Loaded<T> {
    tracing::error!("a batch was lost");
    Err(ApiError::new(Code::Internal, "the server failed to do this; its log has the reason"))
}

/// Reads rows by their keys.
pub struct RowBatch<E> {
    db: Db,
    entity: PhantomData<E>,
}

impl<E: Table> BatchFn<i64, Loaded<Option<Record<E>>>> for RowBatch<E> {
    async fn load(&mut self, keys: &[i64]) -> HashMap<i64, Loaded<Option<Record<E>>>> {
        match store::by_keys::<E>(&self.db, keys).await {
            Ok(rows) => {
                let mut loaded: HashMap<_, _> = keys.iter().map(|key| (*key, Ok(None))).collect();
                loaded.extend(rows.into_iter().map(|row| (row.key(), Ok(Some(row)))));
                loaded
            }
            Err(error) => {
                let error = ApiError::from(error);
                keys.iter().map(|key| (*key, Err(error.clone()))).collect()
            }
        }
    }
}

/// Reads lists, and counts them. Lists of which the same is asked share a statement.
pub struct ListBatch<E> {
    db: Db,
    entity: PhantomData<E>,
}

/// What is asked of a list: a part of it, or how long it is.
pub trait Question<E>: Eq + Hash + Send + Sync {
    type Answer: Clone + Send;

    /// The answer for the list of all rows.
    fn of_all(&self, db: &Db) -> impl Future<Output = Result<Self::Answer, StoreError>> + Send;

    /// The answer for the list of each of these parents, for which it is not that of an empty list.
    fn of_parents(
        &self,
        db: &Db,
        parents: &[i64],
    ) -> impl Future<Output = Result<HashMap<i64, Self::Answer>, StoreError>> + Send;

    /// The answer for an empty list.
    fn of_none(&self) -> Self::Answer;
}

impl<E: Table> Question<E> for ListQuery {
    type Answer = Page<E>;

    async fn of_all(&self, db: &Db) -> Result<Self::Answer, StoreError> {
        Ok(Arc::new(store::list::<E>(db, self).await?))
    }

    async fn of_parents(&self, db: &Db, parents: &[i64]) -> Result<HashMap<i64, Self::Answer>, StoreError> {
        let lists = store::linked_list::<E>(db, parents, self).await?;
        Ok(lists.into_iter().map(|(parent, rows)| (parent, Arc::new(rows))).collect())
    }

    fn of_none(&self) -> Self::Answer {
        Arc::new(Rows { rows: Vec::new(), has_more: false })
    }
}

impl<E: Table> Question<E> for Filter {
    type Answer = i64;

    async fn of_all(&self, db: &Db) -> Result<i64, StoreError> {
        store::count::<E>(db, self).await
    }

    async fn of_parents(&self, db: &Db, parents: &[i64]) -> Result<HashMap<i64, i64>, StoreError> {
        store::linked_counts::<E>(db, parents, self).await
    }

    fn of_none(&self) -> i64 {
        0
    }
}

impl<E: Table, Q: Question<E>> BatchFn<ListKey<Q>, Loaded<Q::Answer>> for ListBatch<E> {
    async fn load(&mut self, keys: &[ListKey<Q>]) -> HashMap<ListKey<Q>, Loaded<Q::Answer>> {
        let mut lists_of_all = Vec::new();
        let mut parents_by_question = Vec::<(&Arc<Q>, Vec<i64>)>::new();
        for ListKey { parent, question } in keys {
            let Some(parent) = parent else {
                lists_of_all.push(question);
                continue;
            };
            match parents_by_question.iter_mut().find(|(other, _)| is_same(other, question)) {
                Some((_, parents)) => parents.push(*parent),
                None => parents_by_question.push((question, vec![*parent])),
            }
        }
        // Different questions run side by side, where the database is not in this very process.
        let db = &self.db;
        let of_all = join_all(lists_of_all.into_iter().map(|question| async move {
            let answer = question.of_all(db).await.map_err(ApiError::from);
            (ListKey { parent: None, question: Arc::clone(question) }, answer)
        }));
        let of_parents = join_all(parents_by_question.into_iter().map(|(question, parents)| async move {
            let mut answers = question.of_parents(db, &parents).await.map_err(ApiError::from);
            let answer = |parent| {
                let answer = match &mut answers {
                    Ok(answers) => Ok(answers.remove(&parent).unwrap_or_else(|| question.of_none())),
                    Err(error) => Err(error.clone()),
                };
                (ListKey { parent: Some(parent), question: Arc::clone(question) }, answer)
            };
            parents.into_iter().map(answer).collect::<Vec<_>>()
        }));
        let (of_all, of_parents) = join(of_all, of_parents).await;
        of_all.into_iter().chain(of_parents.into_iter().flatten()).collect()
    }
}
