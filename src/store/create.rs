//! New rows, with related rows nested in them.

use std::sync::{Arc, LazyLock};

use quick_cache::sync::Cache;
use sea_orm::{
    ConnectionTrait, DbBackend, Statement, Value,
    sea_query::{Asterisk, CommonTableExpression, Expr, JoinType, Query, UnionType, WithClause},
};

use super::{
    Relate, Row, dialect,
    event::{self, Outbox},
    insert::{Values, insert, insertion, names, parameters},
    links,
    relate::{self, missing_related},
    row,
};
use crate::{
    db::{SERIALIZATION_FAILURE, StoreError, Transaction, UnitOfWork},
    schema::{Entity, Relation},
};

/// A new row and what it is to be linked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// The values of the row.
    pub values: Values,
    /// What it is to be linked to along each relation of its entity, in their order.
    pub related: Vec<Relate>,
}

/// Creates rows of an entity, the rows nested in them, and the links between them.
///
/// At most two statements look up and two insert for each relation, and one inserts the rows, whatever their number.
/// Equal `connect_or_create` values are one row. The output has the rows in the order of `new`.
///
/// It fails with [`StoreError::NotFound`] when keys of `connect` have no row.
#[derive(Debug)]
pub struct Creation {
    /// What the rows are.
    pub entity: &'static Entity,
    /// The rows.
    pub new: Arc<[Create]>,
    /// Whether its events are written.
    pub events: bool,
}

impl UnitOfWork for Creation {
    type Output = Vec<Row>;

    fn reads(&self) -> bool {
        self.new.iter().flat_map(|new| &new.related).any(|related| !related.connect_or_create.is_empty())
    }

    fn is_one_statement(&self, attempt: u32) -> bool {
        attempt == 1 && self.new.len() == 1 && !self.reads()
    }

    async fn run(&self, txn: &Transaction, attempt: u32) -> Result<Self::Output, StoreError> {
        let Self { entity, new, events } = self;
        if let [new] = &new[..]
            && self.is_one_statement(attempt)
            && txn.get_database_backend() == DbBackend::Postgres
        {
            return insert_with_related(txn, entity, new, *events).await;
        }
        let related: Vec<&[Relate]> = new.iter().map(|new| &new.related[..]).collect();
        // Nearly always all keys have their rows, and the foreign keys of the links tell when one has not. Then they
        // are looked up in a further attempt. On PostgreSQL that saves a trip, and conflicts with those who write such
        // rows.
        if attempt > 1 {
            let related = missing_related(txn, entity, &related).await?;
            if related.iter().any(|keys| !keys.is_empty()) {
                return Err(StoreError::NotFound { keys: Vec::new(), related });
            }
        }
        let mut outbox = Outbox::new(*events);
        let targets = relate::targets(txn, entity, &related, &mut outbox).await?;
        let rows = insert(txn, entity, &new.iter().map(|new| &new.values).collect::<Vec<_>>()).await?;
        let keys: Vec<i64> = rows.iter().map(Row::key).collect();
        outbox.created(entity, keys.iter().copied());
        match relate::link(txn, &keys, &targets, true, &mut outbox).await {
            Err(error) if attempt == 1 && error.is_foreign_key_violation() => {
                return Err(StoreError::Conflict(SERIALIZATION_FAILURE));
            }
            linked => linked?,
        }
        outbox.write(txn).await?;
        Ok(rows)
    }
}

const NEW: &str = "new";
const KEYS: &str = "keys";

/// What the text of a statement of [`insert_with_related`] depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shape {
    /// The address of the entity.
    entity: usize,
    events: bool,
    /// For each relation along which there is something: how many rows are nested, where two stand for more.
    related: Vec<Option<usize>>,
}

/// The texts of statements. To put one together for each request makes `createHero` a tenth slower.
static TEXTS: LazyLock<Cache<Shape, Arc<str>>> = LazyLock::new(|| Cache::new(1_000));

/// Inserts one row, those that are nested in it, the links to them and to rows that exist, and the events of all that.
/// On PostgreSQL that is one statement instead of four, each of which would be a trip. Only of one row it is clear
/// which links are its own.
async fn insert_with_related(
    db: &impl ConnectionTrait,
    entity: &'static Entity,
    new: &Create,
    events: bool,
) -> Result<Vec<Row>, StoreError> {
    let related = new.related.iter().map(|related| (related.objects() > 0).then(|| related.create.len().min(2)));
    let shape = Shape { entity: std::ptr::from_ref(entity).addr(), events, related: related.collect() };
    let values = values(entity, new)?;
    let text = TEXTS.get_or_insert_with(&shape, || {
        let statement = insertion_with_related(entity, new, events)?;
        debug_assert_eq!(statement.values.as_ref().map(|values| &values.0), Some(&values));
        Ok::<_, StoreError>(Arc::from(statement.sql))
    })?;
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, &*text, values);
    Ok(row::from_postgres(&db.query_all_raw(statement).await?, entity, 0)?)
}

/// The parameters of that statement, in their order.
fn values(entity: &'static Entity, new: &Create) -> Result<Vec<Value>, StoreError> {
    let mut values: Vec<Value> = parameters(entity, &new.values).collect();
    for (relation, related) in related_of(entity, new) {
        match &related.create[..] {
            [] => {}
            [row] => values.extend(parameters(relation.to, row)),
            rows => values.push(dialect::json_records(&names(relation.to), rows.iter().map(|row| &row[..]))?.into()),
        }
        values.push(dialect::list_value(DbBackend::Postgres, &connected(related)));
    }
    Ok(values)
}

/// The relations along which a row is linked to something, and to what.
fn related_of<'n>(entity: &'static Entity, new: &'n Create) -> impl Iterator<Item = (&'static Relation, &'n Relate)> {
    entity.relations.iter().zip(&new.related).filter(|(_, related)| related.objects() > 0)
}

/// The keys of the rows to be linked to, each once.
fn connected(related: &Relate) -> Vec<i64> {
    let mut keys = related.connect.clone();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn insertion_with_related(entity: &'static Entity, new: &Create, events: bool) -> Result<Statement, StoreError> {
    let inserted = insertion(DbBackend::Postgres, entity, &[&new.values])?;
    if !events && related_of(entity, new).next().is_none() {
        return Ok(DbBackend::Postgres.build(&inserted));
    }
    let step = |insert, name: String| CommonTableExpression::new().query(insert).table_name(name).to_owned();
    let mut steps = WithClause::new();
    steps.cte(step(inserted, NEW.to_owned()));
    let (mut nested_events, mut link_events) = (Vec::new(), Vec::new());
    for (relation, related) in related_of(entity, new) {
        let (field, key) = (relation.field, relation.to.key.name());
        let mut keys = dialect::keys(&connected(related), key);
        if !related.create.is_empty() {
            let nested: Vec<&Values> = related.create.iter().collect();
            let table = format!("nested_{field}");
            steps.cte(step(insertion(DbBackend::Postgres, relation.to, &nested)?, table.clone()));
            nested_events.push(event::created_by(relation.to, &table));
            let created = Query::select().column((table.clone(), key)).from(table).take();
            keys.union(UnionType::Distinct, created);
        }
        let mut pairs = Query::select();
        pairs.column((NEW, entity.key.name())).column((KEYS, key)).from(NEW);
        pairs.join_subquery(JoinType::InnerJoin, keys, KEYS, Expr::Constant(true.into()));
        let link = &**relation.link;
        let mut insertion = links::insertion(link, [&link.near, &link.far], pairs)?;
        if events {
            insertion.returning(links::returning(link));
        }
        let table = format!("linked_{field}");
        link_events.push(event::linked_by(link, &table));
        steps.cte(step(insertion, table));
    }
    if events {
        let created = event::created_by(entity, NEW);
        let all = nested_events.into_iter().chain([created]).chain(link_events).collect();
        if let Some(insertion) = event::insertion_of(all)? {
            steps.cte(step(insertion, "events".to_owned()));
        }
    }
    let select = Query::select().column(Asterisk).from(NEW).take();
    Ok(DbBackend::Postgres.build(&select.with(steps)))
}
