//! What nested input asks of the other side of the memberships: looked up, made, unlinked and linked. One piece of code for
//! both sides, and for new rows as for old ones.

use std::collections::{BTreeSet, HashMap, HashSet};

use sea_orm::ConnectionTrait;

use super::{
    StoreError, Table,
    create::{NewRow, find, insert},
    membership::{self, Link},
    record::Record,
    rows,
};

/// What a row is to be linked to on the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relate<R> {
    /// Rows that are made in any case.
    pub create: Vec<R>,
    /// Keys of rows that must be there.
    pub connect: Vec<i64>,
    /// Rows with exactly these values: the oldest one, made if there is none.
    pub connect_or_create: Vec<R>,
    /// Keys of rows that it is not to be linked to any more. They must be there.
    pub disconnect: Vec<i64>,
    /// Keys of the rows that it is to be linked to, and to no others. They must be there.
    pub set: Option<Vec<i64>>,
}

impl<R> Default for Relate<R> {
    fn default() -> Self {
        Self {
            create: Vec::new(),
            connect: Vec::new(),
            connect_or_create: Vec::new(),
            disconnect: Vec::new(),
            set: None,
        }
    }
}

impl<R> Relate<R> {
    /// The keys of rows that must be there.
    pub fn keys(&self) -> impl Iterator<Item = i64> {
        self.connect.iter().chain(&self.disconnect).chain(self.set.iter().flatten()).copied()
    }

    /// The objects that it names.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.create.len() + self.connect_or_create.len() + self.keys().count()
    }
}

/// The keys of `keys` without a row.
pub async fn missing<E: Table>(db: &impl ConnectionTrait, keys: BTreeSet<i64>) -> Result<Vec<i64>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<i64> = keys.iter().copied().collect();
    let present: HashSet<i64> = rows::by_keys::<E>(db, &wanted).await?.iter().map(Record::key).collect();
    Ok(wanted.into_iter().filter(|key| !present.contains(key)).collect())
}

/// The rows on the other side that several rows are to be linked to.
#[derive(Debug)]
pub struct Targets {
    /// For each of the rows, in their order.
    of_each: Vec<Vec<i64>>,
}

/// Finds and makes the rows on the other side. Two statements at most, whatever their number.
pub async fn targets<R: NewRow>(db: &impl ConnectionTrait, related: &[&Relate<R>]) -> Result<Targets, StoreError> {
    let wanted = related.iter().flat_map(|related| &related.connect_or_create).collect();
    let mut found: HashMap<R, i64> = find(db, &wanted).await?;

    // The rows to connect or create come in the order of the input, so that their keys do too.
    let mut seen = HashSet::new();
    let missing: Vec<&R> = related
        .iter()
        .flat_map(|related| &related.connect_or_create)
        .filter(|row| !found.contains_key(*row) && seen.insert(*row))
        .collect();
    let nested = related.iter().flat_map(|related| &related.create);
    let created = insert(db, &missing.iter().copied().chain(nested).collect::<Vec<_>>()).await?;
    let created: Vec<i64> = created.iter().map(R::Entity::key).collect();
    let mut created = created.into_iter();
    found.extend(missing.into_iter().cloned().zip(created.by_ref()));

    let of_one = |related: &&Relate<R>| {
        let found = related.connect_or_create.iter().filter_map(|row| found.get(row).copied());
        let keys = related.connect.iter().chain(related.set.iter().flatten()).copied();
        created.by_ref().take(related.create.len()).chain(keys).chain(found).collect()
    };
    Ok(Targets { of_each: related.iter().map(of_one).collect() })
}

/// Unlinks and links the rows with these keys. Three statements at most, whatever their number.
pub async fn link<E: Table, R>(
    db: &impl ConnectionTrait,
    keys: &[i64],
    related: &[&Relate<R>],
    targets: Targets,
) -> Result<(), StoreError> {
    let mut unlink = BTreeSet::new();
    let mut link = BTreeSet::new();
    let mut rows_to_set = Vec::new();
    for ((key, related), targets) in keys.iter().zip(related).zip(targets.of_each) {
        unlink.extend(related.disconnect.iter().map(|other| E::link(*key, *other)));
        if related.set.is_some() {
            rows_to_set.push(*key);
        }
        link.extend(targets.into_iter().map(|other| E::link(*key, other)));
    }
    let links = |links: BTreeSet<Link>| links.into_iter().collect::<Vec<_>>();
    membership::delete(db, &links(unlink)).await?;
    // The links to keep go, too, and come back with the others: on SQLite that takes a tenth of the time of leaving them.
    membership::delete_all::<E>(db, &rows_to_set).await?;
    membership::insert(db, &links(link)).await
}
