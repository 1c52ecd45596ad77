//! `hero-teams copy`: from the tutorial's file, and between SQLite and PostgreSQL.

use std::{fs, path::Path, process::Command};

use hero_teams::schema::HeroTeams;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    clients::python,
    command_line::{refusal, run, stdout},
    databases::{TestDatabase, execute, skip},
    node,
    support::TestApp,
};

/// A folder with the `database.db` that the program of the tutorial writes.
fn tutorial(arguments: &[&str]) -> Option<TempDir> {
    let Some(python) = python() else {
        skip("the tutorial needs Python 3.10 or newer with its module venv");
        return None;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(python);
    command.arg(node::folder("clients").join("tutorial.py")).args(arguments).current_dir(folder.path());
    let output = command.output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(folder)
}

fn copy(folder: &Path, arguments: &[&str]) -> std::process::Output {
    run(folder, &[&["copy", "--progress", "none", "--log-format", "json"], arguments].concat())
}

async fn rows(url: &str) -> Value {
    let database = TestDatabase::at(url);
    let app = TestApp::new(database).await;
    let rows = app.rows().await;
    app.close().await;
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_of_the_tutorial() {
    let Some(folder) = tutorial(&[]) else { return };
    let folder = folder.path();
    let before = fs::read(folder.join("database.db")).expect("it is there");
    // A server that is told of it names the command.
    let refused = refusal(&run(folder, &["--database-url", "sqlite://database.db"]));
    assert!(refused.contains("the command `copy --from URL`"), "{refused}");
    let mut targets = vec![format!("sqlite://{}", folder.join("new.db").display())];
    let postgres = TestDatabase::empty_postgres().await;
    targets.extend(postgres.as_ref().map(|database| database.url.clone()));
    for url in targets {
        let arguments = ["--from", "sqlite://database.db", "--database-url", &url];
        assert_eq!(stdout(&copy(folder, &arguments)), "9 rows copied\n");
        let team = |id: &str| json!({"id": id});
        let both = json!({"heroes": [
            {"id": "Hero:1", "name": "Deadpond", "secretName": "Dive Wilson", "age": null, "teams": [team("Team:1"), team("Team:2")]},
            {"id": "Hero:2", "name": "Rusty-Man", "secretName": "Tommy Sharp", "age": 48, "teams": [team("Team:2")]},
            {"id": "Hero:3", "name": "Spider-Boy", "secretName": "Pedro Parqueador", "age": null, "teams": [team("Team:2")]},
        ], "teams": [
            {"id": "Team:1", "name": "Z-Force", "headquarters": "Sister Margaret's Bar", "heroes": [{"id": "Hero:1"}]},
            {"id": "Team:2", "name": "Preventers", "headquarters": "Sharp Tower",
             "heroes": [{"id": "Hero:1"}, {"id": "Hero:2"}, {"id": "Hero:3"}]},
        ]});
        assert_eq!(rows(&url).await, both, "{url}");
        let again = refusal(&copy(folder, &arguments));
        assert_eq!(again, "error: the database has rows already; copy into one that is empty");
    }
    assert_eq!(fs::read(folder.join("database.db")).expect("it is there"), before);
    if let Some(postgres) = postgres {
        postgres.remove().await;
    }
}

/// The warnings in a log.
fn warnings(output: &std::process::Output) -> Vec<Value> {
    let said = String::from_utf8(output.stderr.clone()).expect("it is text");
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["level"] == "WARN").map(|mut line| line["fields"].take()).collect()
}

/// The lines of a log about rows that are not possible: table, key and fault.
fn faults(output: &std::process::Output) -> Vec<String> {
    let lines = warnings(output).into_iter().filter(|fields| fields["message"] == "a row cannot be copied");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines.map(|line| format!("{} {}: {}", text(&line["table"]), text(&line["key"]), text(&line["fault"]))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_tutorial_lets_in_is_reported_row_by_row() {
    let Some(folder) = tutorial(&["wrong"]) else { return };
    let folder = folder.path();
    let url = format!("sqlite://{}", folder.join("new.db").display());
    let arguments = ["--from", "sqlite://database.db", "--database-url", &url];
    let expected = [
        "hero 4: name is blank",
        "hero 5: name has 300 characters, and at most 200 are possible",
        "hero 6: age is 3000000000, and 0 to 1000000 is possible",
        "hero 7: age is text",
        "hero 8: name is a blob",
        "heroteamlink 4, 1: hero_id is 4, and there is no such hero",
        "heroteamlink 77, 1: hero_id is 77, and there is no such hero",
        "heroteamlink 1, 9: team_id is 9, and there is no such team",
    ];
    let stopped = copy(folder, &arguments);
    let mut said = faults(&stopped);
    said.sort();
    let mut sorted = expected.to_vec();
    sorted.sort_unstable();
    assert_eq!(said, sorted);
    let error = "error: 8 rows cannot be copied, and nothing was; --on-error skip leaves them out";
    let last = String::from_utf8_lossy(&stopped.stderr).lines().last().map(str::to_owned);
    assert_eq!((stopped.status.code(), last.as_deref()), (Some(1), Some(error)));
    assert_eq!(rows(&url).await, json!({"heroes": [], "teams": []}));

    let skipped = copy(folder, &[&arguments[..], &["--on-error", "skip"]].concat());
    assert_eq!((stdout(&skipped), faults(&skipped).len()), ("9 rows copied, 8 left out\n".to_owned(), 8));
    assert_eq!(rows(&url).await["heroes"].as_array().map(Vec::len), Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_sqlite_to_postgresql_and_back_while_the_source_is_served() {
    let (source, Some(postgres)) = (TestApp::new(TestDatabase::sqlite()).await, TestDatabase::empty_postgres().await)
    else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let heroes: Vec<_> = (0..2_500)
        .map(|number| json!({"name": format!("Hero {number} é🦸"), "secretName": "S", "age": number % 100}))
        .collect();
    for part in heroes.chunks(500) {
        let create = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
        source.data(create, json!({"input": part})).await;
    }
    // Holes in the numbers.
    source.execute("DELETE FROM hero WHERE id % 7 = 0 OR id > 2490").await;
    let of_wide_range =
        "UPDATE hero SET name = CASE id WHEN 1 THEN '\u{fffe}' WHEN 2 THEN '\u{ffff}x' ELSE '\u{fffd}' END";
    source.execute(&format!("{of_wide_range} WHERE id < 4")).await;
    let create = r#"mutation { createTeam(input: {name: "T", headquarters: "H",
        heroes: {connect: ["Hero:1", "Hero:2", "Hero:2489"]}}) { team { id } } }"#;
    source.data(create, json!({})).await;
    let key = run(
        folder.path(),
        &["key", "create", "--name", "ci", "--scopes", "read", "--database-url", &source.database.url],
    );
    assert!(stdout(&key).starts_with("ht_"));
    let all = source.count("SELECT COUNT(*) FROM hero").await + 1 + 3 + 1;

    let said = stdout(&copy(folder.path(), &["--from", &source.database.url, "--database-url", &postgres.url]));
    assert_eq!(said, format!("{all} rows copied\n"));
    let back = format!("sqlite://{}", folder.path().join("back.db").display());
    let said = stdout(&copy(folder.path(), &["--from", &postgres.url, "--database-url", &back]));
    assert_eq!(said, format!("{all} rows copied\n"));
    let wanted = source.rows().await;
    for url in [&postgres.url, &back] {
        assert_eq!(rows(url).await, wanted);
        let keys = stdout(&run(folder.path(), &["key", "list", "--database-url", url]));
        assert!(keys.contains(" ci "), "{keys}");
        // Keys go on after all that the source has given, also to what was deleted there.
        let app = TestApp::new(TestDatabase::at(url)).await;
        let created = app
            .data(r#"mutation { createHero(input: {name: "N", secretName: "S"}) { hero { id } } }"#, json!({}))
            .await;
        assert_eq!(created["createHero"]["hero"]["id"], "Hero:2501");
        app.close().await;
    }
    source.close().await;
    postgres.remove().await;
}

#[test]
fn what_cannot_be_copied_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |from: &str| refusal(&copy(folder.path(), &["--from", from]));
    let refused = said("sqlite://missing.db");
    assert!(refused.starts_with("error: cannot copy: the source cannot be read: "), "{refused}");
    fs::write(folder.path().join("empty.db"), "").expect("it is written");
    assert_eq!(said("sqlite://empty.db"), "error: cannot copy: the database to copy has none of the tables");
    fs::write(folder.path().join("text.db"), "x".repeat(5_000)).expect("it is written");
    let refused = said("sqlite://text.db");
    assert!(refused.starts_with("error: cannot copy: the source cannot be read: "), "{refused}");
    let refused = said("postgres://127.0.0.1:1/x");
    assert!(refused.starts_with("error: cannot copy: "), "{refused}");
    let output = run(folder.path(), &["copy"]);
    assert_eq!(output.status.code(), Some(2));
}

/// A SQLite database that these statements make.
fn sqlite(folder: &Path, name: &str, statements: &str) -> String {
    let database = Connection::open(folder.join(name)).expect("it is opened");
    database.execute_batch(statements).expect("they are right");
    format!("sqlite://{name}")
}

#[test]
fn a_database_that_is_made_in_another_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let said = |from: &str| refusal(&copy(folder, &["--from", from, "--database-url", "sqlite://new.db"]));
    let other = sqlite(folder, "other.db", "CREATE TABLE hero (id INTEGER PRIMARY KEY, NAME, age)");
    assert_eq!(said(&other), "error: cannot copy: the table hero has no column secret_name");
    let itself = folder.display();
    assert_eq!(said(&format!("sqlite://{itself}")), format!("error: cannot copy: {itself} is a folder"));
    assert!(!folder.join("new.db").exists());

    let keys = sqlite(
        folder,
        "keys.db",
        "CREATE TABLE hero (id, NAME, secret_name, age);
         INSERT INTO hero VALUES (1, 'A', 'S', 1), (1, 'B', 'S', 1), (1.5, 'C', 'S', 1),
             (9223372036854775807, 'D', 'S', 1)",
    );
    let stopped = copy(folder, &["--from", &keys, "--database-url", "sqlite://new.db"]);
    assert_eq!(stopped.status.code(), Some(1));
    assert_eq!(
        faults(&stopped),
        [
            "hero 1: another row has the same key",
            "hero a number with a fraction: id is a number with a fraction",
            "hero 9223372036854775807: id is 9223372036854775807, and 1 to 4611686018427387903 is possible",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_may_be_null_and_does_not_exist_in_the_source() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let tables = "CREATE TABLE hero (id INTEGER PRIMARY KEY, name TEXT, secret_name TEXT);
        INSERT INTO hero VALUES (4, 'age', 'S')";
    let mut sources = vec![sqlite(folder, "older.db", tables)];
    let postgres = TestDatabase::empty_postgres().await;
    if let Some(postgres) = &postgres {
        execute(&postgres.url, tables).await;
        sources.push(postgres.url.clone());
    }
    for (number, source) in sources.iter().enumerate() {
        let target = format!("sqlite://{}", folder.join(format!("{number}.db")).display());
        let copied = copy(folder, &["--from", source, "--database-url", &target]);
        assert_eq!(stdout(&copied), "1 rows copied\n");
        let warning = "the source has no such column; it is null in each row";
        let none = |table: &str| json!({"message": "the source has no such table", "table": table});
        assert_eq!(
            warnings(&copied),
            [json!({"message": warning, "table": "hero", "column": "age"}), none("team"), none("hero_team_link")]
        );
        let hero = json!({"id": "Hero:4", "name": "age", "secretName": "S", "age": null, "teams": []});
        assert_eq!(rows(&target).await, json!({"heroes": [hero], "teams": []}));
    }
    if let Some(postgres) = postgres {
        postgres.remove().await;
    }
}

/// What the target has no place for is not left out without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_and_tables_that_are_not_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let tables = "CREATE TABLE hero (id INTEGER PRIMARY KEY, name TEXT, secret_name TEXT, age INTEGER, power TEXT);
        INSERT INTO hero VALUES (4, 'N', 'S', 5, 'P');
        CREATE TABLE more (id INTEGER)";
    // Nobody here has the module of the virtual table. SQLite does not tell capitals from small letters.
    let of_sqlite = tables.replace("hero", "Hero").replace(
        "CREATE TABLE more (id INTEGER)",
        "PRAGMA writable_schema = ON;
        INSERT INTO sqlite_schema VALUES ('table', 'more', 'more', 0, 'CREATE VIRTUAL TABLE more USING nowhere')",
    );
    let mut sources = vec![(sqlite(folder, "older.db", &of_sqlite), "Hero")];
    let postgres = TestDatabase::empty_postgres().await;
    if let Some(postgres) = &postgres {
        execute(&postgres.url, tables).await;
        sources.push((postgres.url.clone(), "hero"));
    }
    for (number, (source, hero)) in sources.iter().enumerate() {
        let target = format!("sqlite://{}", folder.join(format!("{number}.db")).display());
        let from = ["--from", source, "--database-url", &target];
        let stopped = copy(folder, &from);
        assert_eq!(stopped.status.code(), Some(1), "{stopped:?}");
        let said = String::from_utf8(stopped.stderr).expect("it is text");
        let refusal = format!(
            "the source has columns that this schema does not have ({hero}.power), and nothing was copied; --on-error \
             skip leaves them out"
        );
        assert!(said.contains(&refusal), "{said}");
        let copied = copy(folder, &[&from[..], &["--on-error", "skip"]].concat());
        assert_eq!(stdout(&copied), "1 rows copied\n");
        assert_eq!(
            warnings(&copied),
            [
                json!({"message": "the source has no such table", "table": "team"}),
                json!({"message": "the source has no such table", "table": "hero_team_link"}),
                json!({"message": "the source has a table that is not copied", "table": "more"}),
                json!({"message": "columns of the source are not copied", "columns": format!("{hero}.power")}),
            ]
        );
    }
    if let Some(postgres) = postgres {
        postgres.remove().await;
    }
}

/// What the user of the source may not see is not left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_a_policy_hides() {
    let Some(source) = TestDatabase::postgres().await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    stdout(&run(folder.path(), &["seed", "--database-url", &source.url]));
    let role = format!("reader_{}", std::process::id());
    let policy = format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
         ALTER TABLE hero ENABLE ROW LEVEL SECURITY; CREATE POLICY visible ON hero USING (id < 2)"
    );
    execute(&source.url, &policy).await;
    let from = format!("{}&user={role}", source.url);
    let refused = refusal(&run(folder.path(), &["copy", "--progress", "none", "--from", &from]));
    let said = "query would be affected by row-level security policy for table \"hero\"";
    assert!(refused.starts_with("error: cannot copy: ") && refused.ends_with(said), "{refused}");
    execute(&source.url, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    source.remove().await;
}

/// The target waits as long as it takes to read the source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_read_for_long() {
    let Some(target) = TestDatabase::postgres().await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    stdout(&run(folder.path(), &["seed", "--database-url", "sqlite://from.db"]));
    stdout(&run(folder.path(), &["migrate", "--database-url", &target.url]));
    let notes = "CREATE TABLE note AS SELECT 'none' AS patience;
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            UPDATE note SET patience = current_setting('idle_in_transaction_session_timeout');
            RETURN NULL; END $$;
        CREATE TRIGGER note AFTER INSERT ON hero EXECUTE FUNCTION note()";
    execute(&target.url, notes).await;
    let copied = copy(folder.path(), &["--from", "sqlite://from.db", "--database-url", &target.url]);
    assert_eq!(stdout(&copied), "9 rows copied\n");
    let app = TestApp::of::<HeroTeams>(target.again(), |_| ()).await;
    assert_eq!(app.count("SELECT COUNT(*) FROM note WHERE patience = '0'").await, 1);
    app.close().await;
    target.remove().await;
}

#[test]
fn one_hero_and_one_team_of_the_same_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    stdout(&run(folder, &["migrate", "--database-url", "sqlite://from.db"]));
    let rows = "INSERT INTO hero (id, name, secret_name) VALUES (7, 'A', 'S');
                INSERT INTO team (id, name, headquarters) VALUES (7, 'T', 'H');
                INSERT INTO hero_team_link (hero_id, team_id) VALUES (7, 7)";
    sqlite(folder, "from.db", rows);
    let arguments = ["--from", "sqlite://from.db", "--database-url", "sqlite://to.db"];
    assert_eq!(stdout(&copy(folder, &arguments)), "3 rows copied\n");

    // A target that has other rows than the source could have is not empty either.
    let heroes = sqlite(folder, "heroes.db", "CREATE TABLE hero (id INTEGER PRIMARY KEY, name, secret_name, age)");
    stdout(&run(folder, &["migrate", "--database-url", "sqlite://teams.db"]));
    sqlite(folder, "teams.db", "INSERT INTO team (id, name, headquarters) VALUES (7, 'T', 'H')");
    let refused = refusal(&copy(folder, &["--from", &heroes, "--database-url", "sqlite://teams.db"]));
    assert_eq!(refused, "error: the database has rows already; copy into one that is empty");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_postgresql_that_is_made_in_another_way() {
    let Some(postgres) = TestDatabase::empty_postgres().await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let app = TestApp::new(TestDatabase::at(&postgres.url)).await;
    app.execute("ALTER TABLE hero ALTER COLUMN age TYPE text").await;
    let arguments = ["--from", &postgres.url, "--database-url", "sqlite://new.db"];
    let fault = "error: cannot copy: the column age of the table hero has the type text, not a whole number";
    assert_eq!(refusal(&copy(folder.path(), &arguments)), fault);
    app.close().await;
    postgres.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_keys_of_both_databases() {
    let mut urls = vec!["sqlite://to.db".to_owned()];
    let postgres = TestDatabase::empty_postgres().await;
    urls.extend(postgres.as_ref().map(|database| database.url.clone()));
    for url in urls {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let key = |name: &str, url: &str| {
            stdout(&run(folder, &["key", "create", "--name", name, "--scopes", "read", "--database-url", url]));
        };
        stdout(&run(folder, &["seed", "--database-url", "sqlite://from.db"]));
        key("of-the-source", "sqlite://from.db");
        key("of-the-target", &url);
        let arguments = ["--from", "sqlite://from.db", "--database-url", &url];
        assert_eq!(stdout(&copy(folder, &arguments)), "10 rows copied\n");
        let keys = stdout(&run(folder, &["key", "list", "--database-url", &url]));
        assert!(keys.contains(" of-the-source ") && keys.contains(" of-the-target "), "{keys}");

        // A second time it has the key already.
        let back = ["--from", &url, "--database-url", "sqlite://keys.db"];
        fs::copy(folder.join("from.db"), folder.join("keys.db")).expect("it is copied");
        let database = Connection::open(folder.join("keys.db")).expect("it is opened");
        database
            .execute_batch("DELETE FROM hero_team_link; DELETE FROM hero; DELETE FROM team")
            .expect("it is emptied");
        let stopped = copy(folder, &back);
        assert_eq!(stopped.status.code(), Some(1), "{stopped:?}");
        let said = faults(&stopped);
        assert!(said[0].ends_with(": the database has an API key of this id"), "{said:?}");
        let skipped = stdout(&copy(folder, &[&back[..], &["--on-error", "skip"]].concat()));
        assert_eq!(skipped, "10 rows copied, 1 left out\n");
    }
    if let Some(postgres) = postgres {
        postgres.remove().await;
    }
}
