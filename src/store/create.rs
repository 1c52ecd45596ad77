//! New rows, with rows of the other side nested in them. One piece of code for both sides.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, QueryTrait, Value,
    sea_query::{
        Asterisk, BinOper, CommonTableExpression, Condition, Expr, ExprTrait, InsertStatement, JoinType, Query,
        UnionType, WithClause,
    },
};
use serde::Serialize;

use super::{
    Relate, StoreError, Table, Transaction, UnitOfWork, membership,
    relate::{self, missing},
    rows,
};

/// The values of a row that is about to be made: all columns but the key.
///
/// It serializes as an object with the names of the columns as its keys.
pub trait NewRow: Clone + Eq + Hash + Serialize + Send + Sync + 'static {
    type Entity: Table;
    /// The columns that have a value.
    const COLUMNS: &[<Self::Entity as EntityTrait>::Column];

    /// The values, in the order of the columns.
    fn values(&self) -> Vec<Value>;

    /// The values of a row that is there.
    fn of(row: &<Self::Entity as EntityTrait>::Model) -> Self;
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

    fn reads(&self) -> bool {
        self.new.iter().any(|new| !new.related.connect_or_create.is_empty())
    }

    async fn run(&self, txn: &Transaction, attempt: u32) -> Result<Self::Output, StoreError> {
        let related: Vec<_> = self.new.iter().map(|new| &new.related).collect();
        if let [new] = &self.new[..]
            && attempt == 1
            && !self.reads()
            && new.related.objects() > 0
            && txn.get_database_backend() == DbBackend::Postgres
        {
            return insert_with_related(txn, new).await;
        }
        // Nearly always all keys have their rows, and the foreign keys of the links tell when one has not. Then they are
        // looked up in a further attempt. On PostgreSQL that saves a trip, and conflicts with those who write such rows.
        if attempt > 1 {
            let linked = missing::<R::Entity>(txn, related.iter().flat_map(|related| related.keys()).collect()).await?;
            if !linked.is_empty() {
                return Err(StoreError::NotFound { keys: Vec::new(), linked });
            }
        }
        let targets = relate::targets(txn, &related).await?;
        let rows = insert(txn, &self.new.iter().map(|new| &new.row).collect::<Vec<_>>()).await?;
        let keys: Vec<i64> = rows.iter().map(N::Entity::key).collect();
        match relate::link::<N::Entity, R>(txn, &keys, &related, targets).await {
            Err(error) if attempt == 1 && error.is_foreign_key_violation() => Err(StoreError::Conflict),
            linked => linked.map(|()| rows),
        }
    }
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

const NEW: &str = "new";
const NESTED: &str = "nested";
const KEYS: &str = "keys";

/// Inserts one row, those that are nested in it and the links to them and to rows that are there, on PostgreSQL in one statement
/// instead of three, each of which would be a trip. Only of one row it is clear which links are its own.
async fn insert_with_related<N, R>(
    db: &impl ConnectionTrait,
    new: &Create<N, R>,
) -> Result<Vec<<N::Entity as EntityTrait>::Model>, StoreError>
where
    N: NewRow<Entity = <R::Entity as Table>::Other>,
    R: NewRow,
{
    let key = <R::Entity as Table>::KEY;
    let mut keys = Query::select();
    keys.column((NESTED, key)).from(NESTED).union(UnionType::Distinct, rows::keys(&new.related.connect));
    let mut pairs = Query::select();
    pairs.column((NEW, <N::Entity as Table>::KEY)).column((KEYS, key)).from(NEW);
    pairs.join_subquery(JoinType::InnerJoin, keys, KEYS, Expr::Constant(true.into()));
    let link = membership::insertion([<N::Entity as Table>::LINK, <R::Entity as Table>::LINK], pairs)?;

    let nested: Vec<&R> = new.related.create.iter().collect();
    let step = |insert, name: &'static str| CommonTableExpression::new().query(insert).table_name(name).to_owned();
    let mut steps = WithClause::new();
    steps
        .cte(step(insertion(DbBackend::Postgres, &[&new.row])?, NEW))
        .cte(step(insertion(DbBackend::Postgres, &nested)?, NESTED))
        .cte(step(link, "linked"));
    let select = Query::select().column(Asterisk).from(NEW).take();
    Ok(rows::written::<N::Entity>(db, &select.with(steps)).await?)
}

/// Inserts rows in one statement, and gives them in the order of `new`.
pub async fn insert<N: NewRow>(
    db: &impl ConnectionTrait,
    new: &[&N],
) -> Result<Vec<<N::Entity as EntityTrait>::Model>, StoreError> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let insert = insertion(db.get_database_backend(), new)?;
    // RETURNING promises no order. Rows of equal values may stand for each other, so the values tell where each belongs.
    let mut made: HashMap<N, Vec<<N::Entity as EntityTrait>::Model>> = HashMap::with_capacity(new.len());
    for row in rows::written::<N::Entity>(db, &insert).await? {
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

/// The statement that inserts rows and gives them back.
fn insertion<N: NewRow>(backend: DbBackend, new: &[&N]) -> Result<InsertStatement, StoreError> {
    let mut insert = Query::insert();
    insert
        .into_table(N::Entity::default())
        .columns(N::COLUMNS.iter().copied())
        .returning(rows::returning::<N::Entity>(backend));
    if let [row] = new {
        // The way by a list costs as much as the insert.
        insert.values(row.values().into_iter().map(Expr::val)).map_err(rows::statement_error)?;
    } else {
        insert.select_from(rows::records::<N::Entity>(backend, new, N::COLUMNS)?).map_err(rows::statement_error)?;
    }
    Ok(insert)
}
