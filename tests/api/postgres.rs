//! Databases of PostgreSQL that this program did not make, or cannot work with, and what its URL may say.

use std::path::Path;

use serde_json::json;

use crate::{
    command_line::{Server, refusal, run, stdout},
    databases::{TestDatabase, execute},
    support::{TestApp, connect},
};

const ELSEWHERE: &str =
    "it stays as it is; name another database, or another schema with options=-c%20search_path%3DNAME";

fn assert_refused(database: &TestDatabase, reason: &str) {
    let copy =
        if reason.starts_with("has tables") { "; the command `copy --from URL` takes over its rows" } else { "" };
    let reason = &format!("{reason}{copy}");
    for arguments in
        [&["--listen", "127.0.0.1:0"][..], &["--no-migrate", "--listen", "127.0.0.1:0"], &["migrate"], &["seed"]]
    {
        let output = run(Path::new("/"), &[arguments, &["--database-url", &database.url]].concat());
        assert_eq!(refusal(&output), format!("error: cannot open the database: the database {reason}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_in_another_encoding_is_refused() {
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let options = format!("TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'");
        let Some(database) = TestDatabase::postgres_with(&options).await else { return };
        let remedy = "create one with `createdb --template template0 --encoding UTF8 NAME`";
        assert_refused(&database, &format!("stores text in {encoding}, but UTF-8 is required to compare it; {remedy}"));
        database.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_program_stay_as_they_are() {
    let Some(database) = TestDatabase::empty_postgres().await else { return };
    execute(
        &database.url,
        "CREATE TABLE api_key (id bigint); CREATE VIEW team AS SELECT 1; CREATE TABLE other (id bigint)",
    )
    .await;
    assert_refused(&database, &format!("has tables that this program did not make (api_key, team); {ELSEWHERE}"));
    execute(&database.url, "DROP TABLE api_key; DROP VIEW team").await;
    execute(&database.url, "CREATE TABLE seaql_migrations (version varchar, applied_at bigint)").await;
    execute(&database.url, "INSERT INTO seaql_migrations VALUES ('m1_cake', 1)").await;
    let reason = "was made by another program, or a newer version of this one (it has the migrations m1_cake)";
    assert_refused(&database, &format!("{reason}; {ELSEWHERE}"));
    execute(&database.url, "DROP TABLE seaql_migrations").await;
    // Tables of other names are in nobody's way.
    let tables = "SELECT COUNT(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    let app = TestApp::new(database).await;
    assert_eq!(app.count(tables).await, 9);
    app.execute("DROP TABLE hero_team_link").await;
    assert_refused(&app.database, "has no table hero_team_link, although the migration that makes it was applied");
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_postgres_go_into_the_url() {
    let Some(mut database) = TestDatabase::empty_postgres().await else { return };
    execute(&database.url, "CREATE TABLE hero (id bigint); CREATE SCHEMA heroes").await;
    let plain = database.url.clone();
    database.url = format!(
        "{plain}&options=-c%20search_path%3Dheroes%20-c%20default_transaction_isolation%3Drepeatable%5C%20read"
    );
    assert_eq!(stdout(&run(Path::new("/"), &["seed", "--database-url", &database.url])), "3 heroes created\n");
    let server = Server::start(Path::new("/"), &["--database-url", &format!("{}&application_name=mine", database.url)]);
    let heroes = server.graphql("{ heroes(limit: 1) { name } }", json!({})).await;
    assert_eq!(heroes, Some(json!({"data": {"heroes": [{"name": "Deadpond"}]}})));

    let app = TestApp::new(database).await;
    assert_eq!(app.count("SELECT COUNT(*) FROM heroes.hero").await, 3);
    let named = |name: &str| {
        format!(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = '{name}'"
        )
    };
    assert!(app.count(&named("mine")).await > 0);
    assert!(app.count(&named("hero-teams")).await > 0);
    // Those that the server sets itself it sets.
    let txn = app.db.write.begin().await.expect("a transaction");
    let isolation =
        "SELECT COUNT(*) FROM (SELECT 1) AS one WHERE current_setting('transaction_isolation') = 'serializable'";
    let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, isolation);
    let row = sea_orm::ConnectionTrait::query_one_raw(&txn, statement).await.expect("it runs").expect("there is a row");
    assert_eq!(row.try_get_by_index::<i64>(0).expect("a number"), 1);
    drop(txn);
    drop(server);

    // A schema that does not exist has no tables, and takes none.
    let missing = format!("{plain}&options=-c%20search_path%3Dmissing");
    let refused = refusal(&run(Path::new("/"), &["migrate", "--database-url", &missing]));
    assert_eq!(refused, "error: cannot apply the migrations: no schema has been selected to create in");
    connect(&missing).await.close().await.expect("the database closes");
    app.close().await;
}
