//! What nested input asks of related rows: looked up, created, unlinked and linked. The same for all relations, and for
//! new rows as for old ones.

use std::collections::{BTreeSet, HashMap, HashSet};

use sea_orm::ConnectionTrait;

use super::{
    dialect,
    event::Outbox,
    insert::{Values, find, insert},
    links::{self, Pairs},
    row::Row,
};
use crate::{
    db::StoreError,
    schema::{Entity, Link, Relation},
};

/// What a row is to be linked to along one relation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relate {
    /// Rows that are created in any case.
    pub create: Vec<Values>,
    /// Keys of rows that must exist.
    pub connect: Vec<i64>,
    /// Rows with exactly these values: the oldest one, created if there is none.
    pub connect_or_create: Vec<Values>,
    /// Keys of rows that it is to be linked to no longer. They must exist.
    pub disconnect: Vec<i64>,
    /// Keys of the rows that it is to be linked to, and to no others. They must exist.
    pub set: Option<Vec<i64>>,
}

impl Relate {
    /// The keys of rows that must exist.
    pub fn keys(&self) -> impl Iterator<Item = i64> {
        self.connect.iter().chain(&self.disconnect).chain(self.set.iter().flatten()).copied()
    }

    /// The number of objects that it names.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.create.len() + self.connect_or_create.len() + self.keys().count()
    }
}

/// The keys of `keys` without a row.
pub async fn missing(
    db: &impl ConnectionTrait,
    entity: &'static Entity,
    keys: BTreeSet<i64>,
) -> Result<Vec<i64>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<i64> = keys.into_iter().collect();
    let rows = dialect::by_keys(db, entity, &wanted).await?;
    let present: HashSet<i64> = rows.iter().map(Row::key).collect();
    Ok(wanted.into_iter().filter(|key| !present.contains(key)).collect())
}

/// For each relation of an entity, the keys that several rows name and that have no row.
pub async fn missing_related(
    db: &impl ConnectionTrait,
    entity: &'static Entity,
    related: &[&[Relate]],
) -> Result<Vec<Vec<i64>>, StoreError> {
    let mut missing_related = Vec::with_capacity(entity.relations.len());
    for (index, relation) in entity.relations.iter().enumerate() {
        let keys = related.iter().filter_map(|related| related.get(index)).flat_map(Relate::keys).collect();
        missing_related.push(missing(db, relation.to, keys).await?);
    }
    Ok(missing_related)
}

/// What several rows are to be linked to along one relation.
#[derive(Debug)]
pub struct Targets<'a> {
    relation: &'static Relation,
    related: Vec<&'a Relate>,
    /// For each of the rows, in their order, the keys to link it to.
    keys: Vec<Vec<i64>>,
}

/// Finds and creates the related rows, along each relation of an entity. At most two statements for each relation,
/// whatever the number of rows.
pub async fn targets<'a>(
    db: &impl ConnectionTrait,
    entity: &'static Entity,
    related: &[&'a [Relate]],
    outbox: &mut Outbox,
) -> Result<Vec<Targets<'a>>, StoreError> {
    let mut targets = Vec::with_capacity(entity.relations.len());
    for (index, relation) in entity.relations.iter().enumerate() {
        let related = related.iter().filter_map(|related| related.get(index)).collect();
        targets.push(targets_of(db, relation, related, outbox).await?);
    }
    Ok(targets)
}

async fn targets_of<'a>(
    db: &impl ConnectionTrait,
    relation: &'static Relation,
    related: Vec<&'a Relate>,
    outbox: &mut Outbox,
) -> Result<Targets<'a>, StoreError> {
    let wanted = related.iter().flat_map(|related| &related.connect_or_create);
    let nested = related.iter().flat_map(|related| &related.create);
    let Keys { found, created, .. } = connect_or_create(db, relation.to, wanted, nested, outbox).await?;
    let mut created = created.into_iter();

    let of_one = |related: &&Relate| {
        let found = related.connect_or_create.iter().filter_map(|row| found.get(row).copied());
        let keys = related.connect.iter().chain(related.set.iter().flatten()).copied();
        created.by_ref().take(related.create.len()).chain(keys).chain(found).collect()
    };
    let keys = related.iter().map(of_one).collect();
    Ok(Targets { relation, related, keys })
}

/// The keys of rows that were found or created.
#[derive(Debug)]
pub struct Keys {
    /// Those of rows with wanted values, by the values.
    pub found: HashMap<Values, i64>,
    /// Those of the new rows, in their order.
    pub created: Vec<i64>,
    /// How many of the wanted rows did not exist.
    pub missing: usize,
}

/// Finds the oldest row with each of the wanted values, creates those that do not exist, and creates new rows in any
/// case. At most two statements, whatever the number of rows.
///
/// # Errors
///
/// When the database does not answer.
pub async fn connect_or_create<'v>(
    db: &impl ConnectionTrait,
    entity: &'static Entity,
    wanted: impl Iterator<Item = &'v Values> + Clone,
    new: impl Iterator<Item = &'v Values>,
    outbox: &mut Outbox,
) -> Result<Keys, StoreError> {
    let mut found: HashMap<Values, i64> = find(db, entity, &wanted.clone().collect()).await?;
    // The rows to connect or create come in the order of the input, so that their keys do as well.
    let mut seen = HashSet::new();
    let missing: Vec<&Values> = wanted.filter(|row| !found.contains_key(*row) && seen.insert(*row)).collect();
    let rows = insert(db, entity, &missing.iter().copied().chain(new).collect::<Vec<_>>()).await?;
    outbox.created(entity, rows.iter().map(Row::key));
    let mut created = rows.iter().map(Row::key);
    found.extend(missing.iter().map(|row| (*row).clone()).zip(created.by_ref()));
    Ok(Keys { created: created.collect(), missing: missing.len(), found })
}

/// Unlinks and links the rows with these keys, which may be new. At most three statements for each relation, whatever
/// the number of rows. All unlinking comes before all linking, so that each link which is asked for exists in the end.
pub async fn link(
    db: &impl ConnectionTrait,
    keys: &[i64],
    targets: &[Targets<'_>],
    are_new: bool,
    outbox: &mut Outbox,
) -> Result<(), StoreError> {
    // By link tables: the two directions of a relation of an entity to itself share one.
    let mut changes: Vec<(&Link, Pairs, Pairs)> = Vec::with_capacity(targets.len());
    for Targets { relation, related, .. } in targets {
        let link = &**relation.link;
        let mut unlink = BTreeSet::new();
        let mut rows_to_set = Vec::new();
        for (key, related) in keys.iter().zip(related) {
            unlink.extend(related.disconnect.iter().map(|other| link.pair(*key, *other)));
            rows_to_set.extend(related.set.is_some().then_some(*key));
        }
        let mut deleted = links::delete(db, link, &unlink, outbox.is_on()).await?;
        // Links to keep are deleted as well, and come back with the others: on SQLite that takes a tenth of the time of
        // leaving them.
        deleted.append(&mut links::delete_all(db, link, &rows_to_set, outbox.is_on()).await?);
        match changes.iter_mut().find(|(other, ..)| other.table == link.table) {
            Some((_, all_deleted, _)) => all_deleted.append(&mut deleted),
            None => changes.push((link, deleted, Pairs::new())),
        }
    }
    for Targets { relation, keys: others, .. } in targets {
        let link = &**relation.link;
        let pairs =
            keys.iter().zip(others).flat_map(|(key, others)| others.iter().map(|other| link.pair(*key, *other)));
        let pairs = pairs.collect();
        // What is new has had no links.
        let inserted = links::insert(db, link, &pairs, outbox.is_on() && !are_new).await?;
        if let Some((.., all_inserted)) = changes.iter_mut().find(|(other, ..)| other.table == link.table) {
            all_inserted.extend(if are_new { pairs } else { inserted });
        }
    }
    for (link, deleted, inserted) in changes {
        outbox.linked(link, &deleted, &inserted);
    }
    Ok(())
}
