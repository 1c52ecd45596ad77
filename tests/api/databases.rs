//! A fresh database for each test, on SQLite and on PostgreSQL.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use sea_orm::{ConnectionTrait, Database};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::line::place;

/// Where the database of a test is.
pub struct TestDatabase {
    pub url: String,
    kind: Kind,
}

enum Kind {
    /// The folder goes with the test.
    SQLite {
        _folder: TempDir,
    },
    PostgreSQL {
        server: &'static str,
        name: String,
    },
    /// One that another handle removes.
    Same {
        is_postgres: bool,
    },
}

impl TestDatabase {
    /// One to which the migrations have been applied.
    pub fn sqlite() -> Self {
        static MIGRATED: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let database = TestDatabase::empty_sqlite();
            migrate(&database.url);
            fs::read(file(&database.url)).expect("it is there")
        });
        let database = Self::empty_sqlite();
        fs::write(file(&database.url), &*MIGRATED).expect("the folder is there");
        database
    }

    /// One that has no file yet.
    pub fn empty_sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        Self { url, kind: Kind::SQLite { _folder: folder } }
    }

    /// One to which the migrations have been applied, unless it is on a server that the tests have not started. None,
    /// after saying so, where there is no PostgreSQL.
    pub async fn postgres() -> Option<Self> {
        Self::made("TEMPLATE template1").await
    }

    /// The same, in the way that `TEST_POSTGRES` says: through a PgBouncer that pools each `session` or `transaction`,
    /// in a `schema` of its own, or with `partitions`.
    pub async fn postgres_as_asked() -> Option<Self> {
        static POOLER: OnceLock<Option<Pooler>> = OnceLock::new();
        let Ok(way) = std::env::var("TEST_POSTGRES") else { return Self::postgres().await };
        match way.as_str() {
            "schema" => {
                let database = Self::empty_postgres().await?;
                execute(&database.url, "CREATE SCHEMA tenant").await;
                let url = format!("{}&options=-c%20search_path%3Dtenant", database.url);
                Some(Self { url, ..database })
            }
            "partitions" => {
                let database = Self::postgres().await?;
                execute(&database.url, include_str!("../../docs/deployment/partitions.sql")).await;
                Some(database)
            }
            mode => {
                let database = Self::postgres().await?;
                let pooler = POOLER.get_or_init(|| Pooler::before(&database, mode));
                let url = pooler.as_ref().expect("PgBouncer starts").url_of(&database);
                Some(Self { url, ..database })
            }
        }
    }

    /// One without tables.
    pub async fn empty_postgres() -> Option<Self> {
        Self::made("TEMPLATE template0").await
    }

    /// One without tables, made with these options.
    pub async fn postgres_with(options: &str) -> Option<Self> {
        Self::made(options).await
    }

    async fn made(options: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let server = server()?;
        let name = format!("hero_teams_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        execute(server, &format!("CREATE DATABASE {name} {options}")).await;
        Some(Self { url: named(server, &name), kind: Kind::PostgreSQL { server, name } })
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.kind, Kind::PostgreSQL { .. } | Kind::Same { is_postgres: true })
    }

    /// One that somebody else has made and removes.
    pub fn at(url: &str) -> Self {
        Self { url: url.to_owned(), kind: Kind::Same { is_postgres: url.starts_with("postgres") } }
    }

    /// The same one, for another server.
    pub fn again(&self) -> Self {
        Self { url: self.url.clone(), kind: Kind::Same { is_postgres: self.is_postgres() } }
    }

    /// Runs a statement as whoever the server belongs to.
    pub async fn administrate(&self, statement: &str) {
        let Kind::PostgreSQL { server, name } = &self.kind else { panic!("SQLite has no administrator") };
        execute(server, &statement.replace("DATABASE_NAME", name)).await;
    }

    /// Removes what would be left behind.
    pub async fn remove(self) {
        self.remove_with("").await;
    }

    /// Removes what would be left behind, with something that belongs to it.
    pub async fn remove_with(self, statement: &str) {
        if let Kind::PostgreSQL { server, name } = self.kind {
            execute(server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
            execute(server, statement).await;
        }
    }
}

fn file(url: &str) -> &str {
    url.strip_prefix("sqlite://").expect("the address of a file")
}

/// Applies the migrations, once for all tests: what it is applied to is copied.
fn migrate(url: &str) {
    let url = url.to_owned();
    let migrated = async move {
        let db = crate::support::connect(&url).await;
        db.migrate().await.expect("the migrations apply");
        db.close().await.expect("the database closes");
    };
    // A thread with a runtime of its own, because the test that comes first waits for it in its runtime.
    thread::spawn(|| Runtime::new().expect("a runtime").block_on(migrated)).join().expect("the migrations apply");
}

/// The address of another database of a server.
fn named(server: &str, name: &str) -> String {
    let (address, options) = server.split_once('?').unwrap_or((server, ""));
    let (address, _) = address.rsplit_once('/').expect("an address with the name of a database");
    format!("{address}/{name}?{options}")
}

/// A server of PostgreSQL that is a test's own.
pub struct Cluster {
    /// A database there.
    pub url: String,
    server: Child,
}

impl Cluster {
    /// One without tables. None, after saying so, where PostgreSQL is not installed.
    pub fn new() -> Option<Self> {
        let started = start(&[]);
        if started.is_none() {
            skip("PostgreSQL is not installed");
        }
        started.map(|(url, server)| Self { url, server })
    }

    /// A standby of the server that has a database, with the same database: it has what that one had when it was made,
    /// and follows. None, after saying so, where that server was not started by the tests.
    pub fn standby_of(database: &TestDatabase) -> Option<Self> {
        let Some((name, folder)) = place(&database.url) else {
            skip("PostgreSQL was not started by the tests");
            return None;
        };
        let (url, server) = start(&[folder]).expect("the standby starts");
        Some(Self { url: url.replace("/postgres?", &format!("/{name}?")), server })
    }

    /// The database, for an app.
    pub fn database(&self) -> TestDatabase {
        TestDatabase { url: self.url.clone(), kind: Kind::Same { is_postgres: true } }
    }

    /// The address of another database there.
    pub fn url_of(&self, database: &TestDatabase) -> Option<String> {
        let ((here, _), (there, _)) = (place(&self.url)?, place(&database.url)?);
        Some(self.url.replace(here, there))
    }

    /// Makes a standby a server that can be written.
    pub async fn promote(&self) {
        execute(&self.url, "SELECT pg_promote()").await;
    }

    /// Ends it at once, as a crash does.
    pub fn stop(&mut self) {
        self.tell("stop");
    }

    /// Starts it again.
    pub fn start(&mut self) {
        self.tell("start");
    }

    fn tell(&mut self, command: &str) {
        let stdin = self.server.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{command}").expect("the script listens");
        let mut done = String::new();
        let stdout = self.server.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut done).expect("the script answers");
        assert_eq!(done.trim(), command);
    }
}

/// A PgBouncer before a PostgreSQL that the tests have started.
pub struct Pooler {
    folder: String,
    _process: Child,
}

impl Pooler {
    /// None, after saying so, where there is no PgBouncer.
    pub fn before(database: &TestDatabase, mode: &str) -> Option<Self> {
        let started = place(&database.url).and_then(|(_, folder)| script("pgbouncer.sh", &[folder, mode]));
        let Some((folder, process)) = started else {
            skip("PgBouncer is not installed, or PostgreSQL was not started by the tests");
            return None;
        };
        Some(Self { folder, _process: process })
    }

    /// The address of a database through it.
    pub fn url_of(&self, database: &TestDatabase) -> String {
        let (name, _) = place(&database.url).expect("it has a place");
        format!("postgres://postgres@localhost:{POOLER_PORT}/{name}?host={}", self.folder)
    }
}

/// The port of the poolers, by which their addresses are known.
pub const POOLER_PORT: u16 = 6432;

/// Whether PgBouncer keeps prepared statements for transactions, as since version 1.21.
pub fn pgbouncer_keeps_statements() -> bool {
    let said = Command::new("pgbouncer")
        .env("PATH", "/usr/sbin:/usr/bin:/bin")
        .arg("--version")
        .output()
        .expect("it is installed")
        .stdout;
    let said = String::from_utf8(said).expect("it is text");
    let version = said.split_whitespace().nth(1).expect("it has a version");
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse().ok());
    minor.is_some_and(|minor: u32| minor >= 21)
}

pub async fn execute(server: &str, statement: &str) {
    let db = Box::pin(Database::connect(server)).await.expect("a connection to PostgreSQL");
    db.execute_unprepared(statement).await.expect("a statement for PostgreSQL");
    db.close().await.expect("the connection closes");
}

/// The address of a PostgreSQL server: the one that `TEST_DATABASE_URL` names, or one that is started for this run.
fn server() -> Option<&'static str> {
    static SERVER: OnceLock<Option<(String, Option<Child>)>> = OnceLock::new();
    let server = SERVER.get_or_init(|| match std::env::var("TEST_DATABASE_URL") {
        Ok(url) => Some((url, None)),
        Err(_) => start(&[]).map(|(url, child)| {
            // What a new database is a copy of.
            migrate(&named(&url, "template1"));
            (url, Some(child))
        }),
    });
    if server.is_none() {
        skip("PostgreSQL is not installed and TEST_DATABASE_URL is not set");
    }
    server.as_ref().map(|(url, _)| url.as_str())
}

fn start(arguments: &[&str]) -> Option<(String, Child)> {
    script("postgres.sh", arguments)
}

/// What a script prints that goes on until this lets go of it.
fn script(name: &str, arguments: &[&str]) -> Option<(String, Child)> {
    let script = format!("{}/tests/api/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("sh");
    command.args([&script, &script]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut printed = String::new();
    BufReader::new(child.stdout.as_mut()?).read_line(&mut printed).ok()?;
    // The script ends with its standard input, which lives as long as the child.
    (!printed.is_empty()).then(|| (printed.trim().to_owned(), child))
}

/// Says loudly that a test was skipped. Where `CI` is `true` nothing may be skipped.
pub fn skip(reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}, and CI must not skip tests");
    // Not `eprintln!`, which the test runner holds back.
    writeln!(std::io::stderr(), "SKIPPED: {reason}").expect("the standard error output is there");
}
