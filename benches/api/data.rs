//! The data: the same in every run.

use std::{path::PathBuf, time::Duration};

use hero_teams::{
    db::{Db, DbSettings},
    schema::HeroTeams,
    store,
    telemetry::Telemetry,
};
use sea_orm::ConnectionTrait;
use tempfile::TempDir;

pub const HEROES: i64 = 10_000;
pub const TEAMS: i64 = 500;

/// Every hero is in 3 teams, and every team has 60 heroes.
const FILL: &str = "
    WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < 500)
    INSERT INTO team (name, headquarters) SELECT 'Team ' || n, n || ' Sharp Street' FROM numbers;

    WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < 10000)
    INSERT INTO hero (name, secret_name, age)
    SELECT 'Hero ' || n, 'Secret ' || n, CASE WHEN n % 10 THEN 18 + n % 60 END FROM numbers;

    INSERT INTO hero_team_link (hero_id, team_id)
    SELECT hero.id, (hero.id + step.value * 8 * (1 + (hero.id - 1) / 500)) % 500 + 1
    FROM hero, json_each('[0, 1, 2]') step;

    ANALYZE;
";

/// A database in a folder of its own, which goes with it.
pub struct Data {
    pub db: Db,
    pub path: PathBuf,
    _folder: TempDir,
}

/// Connections that read, at most: as many as the server has when nothing is set.
pub const READ_CONNECTIONS: u32 = 8;

impl Data {
    pub async fn new() -> Self {
        let data = Self::empty().await;
        data.db.write.execute_unprepared(FILL).await.expect("the rows are new");
        data
    }

    /// The tables without rows.
    pub async fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let path = folder.path().join("heroes.db");
        let db = open(&format!("sqlite://{}", path.display())).await;
        Self { db, path, _folder: folder }
    }
}

/// Opens a database, and makes the tables.
pub async fn open(url: &str) -> Db {
    let settings = DbSettings {
        migrations: store::migrations::<HeroTeams>(),
        url: url.parse().expect("the URL of a database"),
        read_connections: READ_CONNECTIONS,
        write_connections: 4,
        acquire_timeout: Duration::from_secs(5),
        commit_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_mins(10),
        slow_statement: Duration::ZERO,
        events: true,
        replicas: Vec::new(),
        max_replica_lag: Duration::from_secs(5),
        is_pooled: false,
        prepared_statements: true,
        telemetry: Telemetry::default(),
    };
    let db = Db::connect(&settings).await.expect("the database opens");
    db.migrate().await.expect("the migrations apply");
    db
}
