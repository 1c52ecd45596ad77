//! Whether what is between the server and PostgreSQL is a pooler that this program works with.

use std::time::Duration;

use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tokio::time::timeout;

use super::{
    connector::{Isolation, Postgres},
    error::{is_not_supported, is_outdated},
};

/// How long the pooler may take to give a session to each of two connections. A look at a replica has little more.
const MAX_WAIT: Duration = Duration::from_millis(250);

/// Looks at how the pooler of a host behaves, over the first connection to it.
///
/// # Errors
///
/// When a transaction is not what its BEGIN asks for, or prepared statements do not stay although they should.
pub async fn probe(postgres: &Postgres, host: usize, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    check_transaction(postgres, connection).await?;
    if postgres.prepares && !keeps_prepared_statements(postgres, host, connection).await? {
        return Err(refused(
            "the pooler does not keep prepared statements: use PgBouncer 1.21 or later with max_prepared_statements, \
             or set --no-prepared-statements",
        ));
    }
    let outside = text(connection, "SELECT current_setting('statement_timeout')").await?;
    if outside == "0" {
        tracing::warn!(
            host = postgres.address(host),
            "PostgreSQL ends no statement of a query by itself, because the pooler takes no settings from the server; \
             set a time-out with ALTER ROLE … SET statement_timeout"
        );
    }
    Ok(())
}

async fn check_transaction(postgres: &Postgres, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let begin = postgres.begin(Isolation::Serializable);
    let level = match connection.execute(AssertSqlSafe(begin)).await {
        Ok(_) => "serializable",
        // The tables may not exist yet, and a standby has no such transactions.
        Err(error) if is_not_supported(&error) || error.as_database_error().is_some_and(is_undefined_table) => {
            connection.execute("ROLLBACK").await?;
            connection.execute(AssertSqlSafe(postgres.begin(Isolation::ReadCommitted))).await?;
            "read committed"
        }
        Err(error) => return Err(error),
    };
    let process = text(connection, "SELECT pg_backend_pid()::text").await?;
    let mut wanted = vec![("transaction_isolation", level)];
    wanted.extend(postgres.in_force().iter().skip(1).map(|(name, value)| (*name, value.as_str())));
    for (name, wanted) in wanted {
        let sql = format!("SELECT setting FROM pg_settings WHERE name = '{name}'");
        let found = text(connection, &sql).await?;
        if found != wanted {
            return Err(refused(&format!(
                "PostgreSQL does not do what BEGIN asks for: {name} is {found} and not {wanted}"
            )));
        }
    }
    if text(connection, "SELECT pg_backend_pid()::text").await? != process {
        return Err(refused("the pooler gives the statements of one transaction to several sessions"));
    }
    connection.execute("ROLLBACK").await?;
    Ok(())
}

/// Has the session in which a statement was prepared taken by another connection, and executes the statement again.
async fn keeps_prepared_statements(
    postgres: &Postgres,
    host: usize,
    connection: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    let mut execute = async || sqlx::query("SELECT 1").persistent(true).execute(&mut *connection).await;
    execute().await?;
    let mut other = postgres.connect(host).await?;
    other.execute("BEGIN").await?;
    let again = timeout(MAX_WAIT, execute()).await;
    other.execute("ROLLBACK").await?;
    other.close().await?;
    match again {
        Ok(Err(error)) if is_outdated(&error) => Ok(false),
        Ok(result) => result.map(|_| true),
        // All sessions are in use.
        Err(_) => Ok(true),
    }
}

async fn text(connection: &mut PgConnection, sql: &str) -> Result<String, sqlx::Error> {
    connection.fetch_one(AssertSqlSafe(sql.to_owned())).await?.try_get(0)
}

fn is_undefined_table(error: &(dyn sqlx::error::DatabaseError + 'static)) -> bool {
    // undefined_table
    error.code().as_deref() == Some("42P01")
}

fn refused(message: &str) -> sqlx::Error {
    sqlx::Error::Configuration(message.to_owned().into())
}
