//! The migrations that a database should have, and those that it has.

use std::{fmt, pin::Pin, sync::Arc};

use migration::MigratorTrait;
use sea_orm::{DatabaseConnection, DbBackend, DbErr};

/// The table in which SeaORM notes the migrations that were applied.
pub const MIGRATIONS: &str = "seaql_migrations";

/// The table that says which programs can work with the tables.
pub const SCHEMA_COMPAT: &str = "schema_compat";
/// Reads what it says: the migration that a program must know at least.
pub const MIN_PROGRAM: &str = "SELECT min_program FROM schema_compat";

pub const TABLES_OF_SQLITE: &str = "SELECT name FROM sqlite_schema
    WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";

/// The migrations of an API, and the tables that they make.
#[derive(Clone)]
pub struct Migrations {
    pub(super) names: Arc<[String]>,
    /// The last of them that is more than an addition, which older programs can do without.
    pub(super) min_program: Option<String>,
    /// All tables that they make.
    pub(super) tables: Arc<[String]>,
    /// How many of the tables, from the first, are those that clients write.
    clients: usize,
    /// Whether they make the table of the events.
    pub(super) make_events: bool,
    pub(super) up: Up,
}

/// Applies the migrations that are pending.
pub type Up = for<'a> fn(&'a DatabaseConnection) -> Pin<Box<dyn Future<Output = Result<(), DbErr>> + Send + 'a>>;

impl Migrations {
    /// The migrations of a migrator, which make the tables that clients write, and tables of the server's own.
    #[must_use]
    pub fn new<M: MigratorTrait + 'static>(mut tables: Vec<String>, own: Vec<String>, additive: &[&str]) -> Self {
        let clients = tables.len();
        tables.extend(own);
        let names: Arc<[String]> = M::migrations().iter().map(|migration| migration.name().to_owned()).collect();
        let min_program = names.iter().rfind(|name| !additive.contains(&name.as_str())).cloned();
        let (tables, up): (_, Up) = (tables.into(), |connection| Box::pin(M::up(connection, None)));
        Self { names, min_program, tables, clients, make_events: false, up }
    }

    /// The same migrations, which make the table of the events as well.
    #[must_use]
    pub fn with_events(self) -> Self {
        Self { make_events: true, ..self }
    }

    /// The tables that clients write, as SQL lists them.
    pub(super) fn quoted_tables(&self) -> String {
        let tables = self.tables.iter().take(self.clients);
        let quoted: Vec<_> = tables.map(|table| format!("\"{}\"", table.replace('"', "\"\""))).collect();
        quoted.join(", ")
    }
}

impl fmt::Debug for Migrations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, tables, .. } = self;
        formatter.debug_struct("Migrations").field("names", names).field("tables", tables).finish_non_exhaustive()
    }
}

/// What a database has before this program uses it.
#[derive(Debug)]
pub struct Found {
    pub backend: DbBackend,
    /// On PostgreSQL those of the schema that this program would take for its own, on SQLite all of them.
    pub tables: Vec<String>,
    /// The migrations that were applied.
    pub migrations: Vec<String>,
    /// The migration that a program must know to work with the tables.
    pub min_program: Option<String>,
    /// How text is encoded.
    pub encoding: String,
}

/// The greatest number of names in a message.
const MAX_NAMES: usize = 5;

impl Found {
    /// Refuses a database that this program did not make, or in which it would answer wrongly.
    ///
    /// # Errors
    ///
    /// A message that goes on after the name of the database.
    pub fn ensure_known(&self, expected: &Migrations) -> Result<(), String> {
        let is_sqlite = self.backend == DbBackend::Sqlite;
        let elsewhere = if is_sqlite {
            "it stays as it is; name another file, such as sqlite://hero-teams.db"
        } else {
            "it stays as it is; name another database, or another schema with options=-c%20search_path%3DNAME"
        };
        if let Some(names) = self.unknown(expected)
            && !self.is_compatible(expected)
        {
            let who = "another program, or a newer version of this one";
            return Err(format!("was made by {who} (it has the migrations {names}); {elsewhere}"));
        }
        if self.migrations.is_empty() && self.tables.iter().any(|table| table != MIGRATIONS) {
            let tables = list(&self.tables);
            let copy = "the command `copy --from URL` takes over its rows";
            return Err(format!("has tables that this program did not make ({tables}); {elsewhere}; {copy}"));
        }
        if self.pending(expected).is_empty()
            && let Some(table) = expected.tables.iter().find(|table| !self.tables.contains(table))
        {
            return Err(format!("has no table {table}, although the migration that makes it was applied"));
        }
        if matches!(self.encoding.as_str(), "UTF-8" | "UTF8") {
            return Ok(());
        }
        let remedy = if is_sqlite {
            "convert it with `sqlite3 OLD .dump | sqlite3 NEW`"
        } else {
            "create one with `createdb --template template0 --encoding UTF8 NAME`"
        };
        Err(format!("stores text in {}, but UTF-8 is required to compare it; {remedy}", self.encoding))
    }

    /// The names of the migrations that are not known, if there are any.
    pub fn unknown(&self, expected: &Migrations) -> Option<String> {
        let mut unknown = self.migrations.iter().filter(|name| !expected.names.contains(name)).peekable();
        unknown.peek().is_some().then(|| list(unknown))
    }

    /// Whether a newer version has only added what this one can do without.
    fn is_compatible(&self, expected: &Migrations) -> bool {
        let knows = |name: &String| expected.names.contains(name);
        self.min_program.as_ref().is_some_and(knows) && self.pending(expected).is_empty()
    }

    /// The migrations that are to be applied.
    pub fn pending(&self, expected: &Migrations) -> Vec<String> {
        expected.names.iter().filter(|name| !self.migrations.contains(name)).cloned().collect()
    }
}

pub fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let mut names: Vec<_> = names.into_iter().map(String::as_str).collect();
    if names.len() > MAX_NAMES {
        names.truncate(MAX_NAMES);
        names.push("…");
    }
    names.join(", ")
}
