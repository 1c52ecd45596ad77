//! New rows, with rows of the other side nested in them. One piece of code for both sides.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, FromQueryResult, Iterable, QueryFilter,
    QueryTrait,
    sea_query::{BinOper, Condition, Expr, ExprTrait, JoinType, Query},
};
use serde::Serialize;

use super::{StoreError, Table, UnitOfWork, membership, rows};

/// The values of a row that is about to be made: all columns but the key.
///
/// It serializes as an object with the names of the columns as its keys.
pub trait NewRow: Clone + Eq + Hash + Serialize + Send + Sync + 'static {
    type Entity: Table;
    /// The columns that have a value.
    const COLUMNS: &[<Self::Entity as EntityTrait>::Column];

    /// The values of a row that is there.
    fn of(row: &<Self::Entity as EntityTrait>::Model) -> Self;
}

/// What a new row is to be linked to on the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relate<R> {
    /// Rows that are made in any case.
    pub create: Vec<R>,
    /// Keys of rows that must be there.
    pub connect: Vec<i64>,
    /// Rows with exactly these values: the oldest one, made if there is none.
    pub connect_or_create: Vec<R>,
}

impl<R> Default for Relate<R> {
    fn default() -> Self {
        Self { create: Vec::new(), connect: Vec::new(), connect_or_create: Vec::new() }
    }
}

/// A new row and what it is to be linked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create<N, R> {
    pub row: N,
    pub related: Relate<R>,
}

/// Makes rows on one side of the memberships, the nested rows on the other, and the links between them.
///
/// At most two statements look up and three insert, whatever the number of rows. Equal `connect_or_create` values are one
/// row. The output has the rows in the order of `new`.
///
/// It fails with [`StoreError::NotFound`] when keys of `connect` have no row.
#[derive(Debug)]
pub struct Creation<N, R> {
    pub new: Arc<[Create<N, R>]>,
}

impl<N, R> UnitOfWork for Creation<N, R>
where
    N: NewRow<Entity = <R::Entity as Table>::Other>,
    R: NewRow,
{
    type Output = Vec<<N::Entity as EntityTrait>::Model>;

    async fn run(&self, txn: &DatabaseTransaction) -> Result<Self::Output, StoreError> {
        let new = &self.new;
        let connect = new.iter().flat_map(|new| new.related.connect.iter().copied()).collect();
        check_present::<R::Entity>(txn, &connect).await?;

        let wanted = new.iter().flat_map(|new| &new.related.connect_or_create).collect();
        let mut found = find(txn, &wanted).await?;

        // The rows to connect or create come in the order of the input, so that their keys do too.
        let mut seen = HashSet::new();
        let missing: Vec<&R> = new
            .iter()
            .flat_map(|new| &new.related.connect_or_create)
            .filter(|row| !found.contains_key(*row) && seen.insert(*row))
            .collect();
        let nested = new.iter().flat_map(|new| &new.related.create);
        let created = insert(txn, &missing.iter().copied().chain(nested).collect::<Vec<_>>()).await?;
        let mut created = created.iter().map(R::Entity::key);
        found.extend(missing.into_iter().cloned().zip(created.by_ref()));

        let rows = insert(txn, &new.iter().map(|new| &new.row).collect::<Vec<_>>()).await?;
        let mut links = BTreeSet::new();
        for (row, Create { related, .. }) in rows.iter().zip(new.iter()) {
            let from = N::Entity::key(row);
            let found = related.connect_or_create.iter().filter_map(|row| found.get(row).copied());
            let to = created.by_ref().take(related.create.len()).chain(related.connect.iter().copied()).chain(found);
            links.extend(to.map(|to| N::Entity::link(from, to)));
        }
        membership::insert(txn, &links.into_iter().collect::<Vec<_>>()).await?;
        Ok(rows)
    }
}

async fn check_present<E: Table>(db: &impl ConnectionTrait, keys: &BTreeSet<i64>) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let wanted: Vec<i64> = keys.iter().copied().collect();
    let select = E::find().filter(rows::is_in(db.get_database_backend(), Expr::col(E::KEY), &wanted));
    let present: HashSet<i64> = rows::all::<E>(db, select.into_query()).await?.iter().map(E::key).collect();
    let missing: Vec<i64> = wanted.into_iter().filter(|key| !present.contains(key)).collect();
    if missing.is_empty() { Ok(()) } else { Err(StoreError::NotFound(missing)) }
}

const WANTED: &str = "wanted";

/// The keys of rows with exactly these values; the oldest row where there are several.
pub async fn find<N: NewRow>(db: &impl ConnectionTrait, wanted: &HashSet<&N>) -> Result<HashMap<N, i64>, StoreError> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let wanted: Vec<&N> = wanted.iter().copied().collect();
    let records = rows::records::<N::Entity>(db.get_database_backend(), &wanted, N::COLUMNS)?;
    let same = N::COLUMNS.iter().fold(Condition::all(), |condition, column| {
        // Only where NULL may stand: `IS NOT DISTINCT FROM` uses no index on PostgreSQL.
        let equal = if column.def().is_null() { BinOper::Custom("IS NOT DISTINCT FROM") } else { BinOper::Equal };
        condition.add(Expr::col(column.as_column_ref()).binary(equal, Expr::col((WANTED, *column))))
    });
    let mut select = N::Entity::find().into_query();
    select.join_subquery(JoinType::InnerJoin, records, WANTED, same);
    let mut found = HashMap::with_capacity(wanted.len());
    for row in rows::all::<N::Entity>(db, select).await? {
        let key = N::Entity::key(&row);
        found.entry(N::of(&row)).and_modify(|oldest| *oldest = Ord::min(*oldest, key)).or_insert(key);
    }
    Ok(found)
}

/// Inserts rows in one statement, and gives them in the order of `new`.
async fn insert<N: NewRow>(
    db: &impl ConnectionTrait,
    new: &[&N],
) -> Result<Vec<<N::Entity as EntityTrait>::Model>, StoreError> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let records = rows::records::<N::Entity>(db.get_database_backend(), new, N::COLUMNS)?;
    let mut insert = Query::insert();
    insert
        .into_table(N::Entity::default())
        .columns(N::COLUMNS.iter().copied())
        .select_from(records)
        .map_err(rows::statement_error)?
        .returning(Query::returning().columns(<N::Entity as EntityTrait>::Column::iter()));

    // RETURNING promises no order. Rows of equal values may stand for each other, so the values tell where each belongs.
    let mut made: HashMap<N, Vec<<N::Entity as EntityTrait>::Model>> = HashMap::with_capacity(new.len());
    for row in db.query_all(&insert).await? {
        let row = <N::Entity as EntityTrait>::Model::from_query_result(&row, "")?;
        made.entry(N::of(&row)).or_default().push(row);
    }
    for rows in made.values_mut() {
        rows.sort_unstable_by_key(|row| std::cmp::Reverse(N::Entity::key(row)));
    }
    new.iter()
        .map(|new| made.get_mut(*new).and_then(Vec::pop))
        .collect::<Option<_>>()
        .ok_or(StoreError::Database(DbErr::RecordNotInserted))
}
