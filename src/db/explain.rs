//! The plan of a statement that has taken long, without its values: what is in them is nobody's business.

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement, Value, sea_query::Values};

use super::{Db, StoreError, connector::Isolation, sqlite::RunOn, statement_meter::Ran};

impl Db {
    /// The plan of a statement that has run, as the database explains it, without running it again: a line for each of
    /// its steps.
    ///
    /// # Errors
    ///
    /// When the database has none for it, or does not answer.
    pub async fn explain(&self, ran: &Ran) -> Result<Vec<String>, StoreError> {
        let (rows, column) = match self.read.get_database_backend() {
            DbBackend::Postgres => (self.explained_by_postgres(ran).await?, "QUERY PLAN"),
            backend => {
                let mut statement = Statement::from_string(backend, format!("EXPLAIN QUERY PLAN {}", ran.sql));
                statement.values = Some(Values(vec![Value::String(None); ran.types.len()]));
                (self.read.query_all_raw(statement).await?, "detail")
            }
        };
        Ok(rows.iter().map(|row| row.try_get("", column)).collect::<Result<_, DbErr>>()?)
    }

    /// PostgreSQL plans it for any values, as it does for a prepared statement.
    async fn explained_by_postgres(&self, ran: &Ran) -> Result<Vec<sea_orm::QueryResult>, DbErr> {
        let name = format!("explain_{:016x}", fastrand::u64(..));
        let (types, nulls) = (ran.types.join(", "), vec!["NULL"; ran.types.len()].join(", "));
        let [types, nulls] = [types, nulls].map(|list| if list.is_empty() { list } else { format!("({list})") });
        // A standby has no serializable transactions.
        let txn = self.read.begin_in(RunOn::BlockingPool, Some(Isolation::ReadCommitted)).await?;
        txn.execute_unprepared("SET LOCAL plan_cache_mode = force_generic_plan").await?;
        txn.execute_unprepared(&format!("PREPARE {name} {types} AS {}", ran.sql)).await?;
        let explain = Statement::from_string(DbBackend::Postgres, format!("EXPLAIN EXECUTE {name} {nulls}"));
        // What is prepared outlives the transaction, also one that has failed.
        txn.execute_unprepared("SAVEPOINT prepared").await?;
        let rows = txn.query_all_raw(explain).await;
        let deallocated = format!("ROLLBACK TO SAVEPOINT prepared; DEALLOCATE {name}");
        let deallocated = txn.execute_unprepared(&deallocated).await;
        let rows = rows?;
        deallocated?;
        Ok(rows)
    }
}
