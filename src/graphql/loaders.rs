//! Relations in batches: the fields of one level share a statement, however many parents there are.
//!
//! A loader waits for its siblings by yielding once inside the request's own task, without a timer. [`super::settle`] sees
//! to it that all of them have asked by then.

use std::{collections::HashMap, sync::Arc};

use dataloader::{BatchFn, cached::Loader};
use entity::{
    hero::{self, TeamsOfHero},
    team::{self, HeroesOfTeam},
};
use sea_orm::EntityTrait;

use super::error::{ApiError, Code};
use crate::store::{self, Db, Membership, Page, Table};

/// Keys in one statement, at most. They are one parameter, so this bounds only the memory that a batch takes.
const MAX_BATCH_SIZE: usize = 30_000;

type Model<E> = Arc<<E as EntityTrait>::Model>;
type Loaded<T> = Result<T, ApiError>;
type RowLoader<E> = Loader<i64, Loaded<Option<Model<E>>>, RowBatch<E>>;
type PageLoader<M, E> = Loader<(i64, Page), Loaded<Arc<[Model<E>]>>, PageBatch<M>>;

/// The loaders of one request. Nothing is shared between requests, so nothing goes stale.
pub struct Loaders {
    heroes: RowLoader<hero::Entity>,
    teams: RowLoader<team::Entity>,
    teams_of_hero: PageLoader<TeamsOfHero, team::Entity>,
    heroes_of_team: PageLoader<HeroesOfTeam, hero::Entity>,
}

impl Loaders {
    /// The loaders of a new request.
    #[must_use]
    pub fn new(db: &Db) -> Self {
        Self {
            heroes: Loader::new(RowBatch::new(db)).with_max_batch_size(MAX_BATCH_SIZE).with_yield_count(1),
            teams: Loader::new(RowBatch::new(db)).with_max_batch_size(MAX_BATCH_SIZE).with_yield_count(1),
            teams_of_hero: Loader::new(PageBatch::new(db, TeamsOfHero))
                .with_max_batch_size(MAX_BATCH_SIZE)
                .with_yield_count(1),
            heroes_of_team: Loader::new(PageBatch::new(db, HeroesOfTeam))
                .with_max_batch_size(MAX_BATCH_SIZE)
                .with_yield_count(1),
        }
    }

    /// A hero by its key; none when there is no such hero.
    pub async fn hero(&self, key: i64) -> Loaded<Option<Arc<hero::Model>>> {
        self.heroes.try_load(key).await.unwrap_or_else(no_entry)
    }

    /// A team by its key; none when there is no such team.
    pub async fn team(&self, key: i64) -> Loaded<Option<Arc<team::Model>>> {
        self.teams.try_load(key).await.unwrap_or_else(no_entry)
    }

    /// A page of the teams of a hero.
    pub async fn teams_of_hero(&self, hero: i64, page: Page) -> Loaded<Arc<[Arc<team::Model>]>> {
        self.teams_of_hero.try_load((hero, page)).await.unwrap_or_else(no_entry)
    }

    /// A page of the heroes of a team.
    pub async fn heroes_of_team(&self, team: i64, page: Page) -> Loaded<Arc<[Arc<hero::Model>]>> {
        self.heroes_of_team.try_load((team, page)).await.unwrap_or_else(no_entry)
    }

    /// Forgets all rows. Each write does this, so that what is read after it in the same request is fresh.
    pub async fn clear(&self) {
        self.heroes.clear_all().await;
        self.teams.clear_all().await;
        self.teams_of_hero.clear_all().await;
        self.heroes_of_team.clear_all().await;
    }
}

/// A batch answers every key, so a loader without an entry is a fault of the server.
fn no_entry<T>(error: std::io::Error) -> Loaded<T> {
    tracing::error!(%error, "a batch was lost");
    Err(ApiError::new(Code::Internal, "the server failed to do this; its log has the reason"))
}

struct RowBatch<E> {
    db: Db,
    entity: std::marker::PhantomData<E>,
}

impl<E> RowBatch<E> {
    fn new(db: &Db) -> Self {
        Self { db: db.clone(), entity: std::marker::PhantomData }
    }
}

impl<E: Table> BatchFn<i64, Loaded<Option<Model<E>>>> for RowBatch<E> {
    async fn load(&mut self, keys: &[i64]) -> HashMap<i64, Loaded<Option<Model<E>>>> {
        match store::by_keys::<E>(&self.db, keys).await {
            Ok(rows) => {
                let mut loaded: HashMap<_, _> = keys.iter().map(|key| (*key, Ok(None))).collect();
                loaded.extend(rows.into_iter().map(|row| (E::key(&row), Ok(Some(Arc::new(row))))));
                loaded
            }
            Err(error) => failed(keys, error.into()),
        }
    }
}

struct PageBatch<M> {
    db: Db,
    membership: M,
}

impl<M> PageBatch<M> {
    fn new(db: &Db, membership: M) -> Self {
        Self { db: db.clone(), membership }
    }
}

impl<M: Membership> BatchFn<(i64, Page), Loaded<Arc<[Model<M::ToEntity>]>>> for PageBatch<M> {
    async fn load(&mut self, keys: &[(i64, Page)]) -> HashMap<(i64, Page), Loaded<Arc<[Model<M::ToEntity>]>>> {
        let mut parents_by_page = HashMap::<Page, Vec<i64>>::new();
        for (parent, page) in keys {
            parents_by_page.entry(*page).or_default().push(*parent);
        }
        let mut loaded = HashMap::with_capacity(keys.len());
        for (page, parents) in parents_by_page {
            match store::linked_page(&self.db, self.membership, &parents, page).await {
                Ok(mut rows) => loaded.extend(parents.into_iter().map(|parent| {
                    let rows = rows.remove(&parent).unwrap_or_default();
                    ((parent, page), Ok(rows.into_iter().map(Arc::new).collect()))
                })),
                Err(error) => {
                    let keys: Vec<_> = parents.into_iter().map(|parent| (parent, page)).collect();
                    loaded.extend(failed(&keys, error.into()));
                }
            }
        }
        loaded
    }
}

/// An error is a value here: each key of the batch gets it.
fn failed<K: Copy + Eq + std::hash::Hash, T>(keys: &[K], error: ApiError) -> HashMap<K, Loaded<T>> {
    keys.iter().map(|key| (*key, Err(error.clone()))).collect()
}
