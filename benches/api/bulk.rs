//! A thousand heroes in one call, on both databases, beside the least SQL by hand: no checks, and keys that are known.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use criterion::Criterion;
use hero_teams::db::Db;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{data, graphql::GraphQl};

/// The groups in the report.
pub const GROUPS: [&str; 4] = [
    "createHeroes with 1,000 heroes of 3 teams each, SQLite",
    "updateHeroes that sets the teams of 1,000 heroes, SQLite",
    "createHeroes with 1,000 heroes of 3 teams each, PostgreSQL",
    "updateHeroes that sets the teams of 1,000 heroes, PostgreSQL",
];

const HEROES: i64 = 1_000;
const TEAMS: i64 = 200;

const CREATE: &str = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
const UPDATE: &str = "mutation($input: [UpdateHeroInput!]!) { updateHeroes(input: $input) { heroes { id } } }";

/// Measures both calls on both databases; on PostgreSQL only where it is installed.
pub fn measure(criterion: &mut Criterion, runtime: &Runtime) {
    let folder = tempfile::tempdir().expect("a folder for the database");
    let sqlite = format!("sqlite://{}", folder.path().join("bulk.db").display());
    measure_on(criterion, runtime, &sqlite, &GROUPS[..2]);
    if let Some((url, _server)) = postgres() {
        measure_on(criterion, runtime, &url, &GROUPS[2..]);
    }
}

fn measure_on(criterion: &mut Criterion, runtime: &Runtime, url: &str, groups: &[&str]) {
    let db = runtime.block_on(open(url));
    let graphql = GraphQl::new(db.clone());
    for (group, query) in groups.iter().zip([CREATE, UPDATE]) {
        let mut group = criterion.benchmark_group(*group);
        group.sample_size(10);
        group.bench_function("graphql", |bencher| {
            bencher.iter_custom(|iterations| {
                let graphql = graphql.clone();
                crate::timed(runtime, iterations, move |call| {
                    let graphql = graphql.clone();
                    async move {
                        let input = if query == CREATE { new_heroes() } else { changes(call) };
                        graphql.answer(query, json!({"input": input})).await
                    }
                })
            });
        });
        group.bench_function("by hand", |bencher| {
            bencher.iter_custom(|iterations| {
                let db = db.clone();
                crate::timed(runtime, iterations, move |call| {
                    let db = db.clone();
                    async move { if query == CREATE { create_by_hand(&db).await } else { update_by_hand(&db, call).await } }
                })
            });
        });
    }
    runtime.block_on(db.close()).expect("the database closes");
}

/// A database with the teams, and with heroes to update.
async fn open(url: &str) -> Db {
    let db = data::open(url).await;
    let numbers = format!("WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {HEROES})");
    for fill in [
        format!("INSERT INTO team (name, headquarters) {numbers} SELECT 'Team ' || n, 'H' FROM n WHERE n <= {TEAMS}"),
        format!("INSERT INTO hero (name, secret_name, age) {numbers} SELECT 'Hero ' || n, 'S', n % 90 FROM n"),
        "ANALYZE".to_owned(),
    ] {
        db.write.execute_unprepared(&fill).await.expect("the rows are new");
    }
    db
}

fn teams(hero: i64) -> [i64; 3] {
    [0, 61, 122].map(|step| (hero + step) % TEAMS + 1)
}

fn new_heroes() -> Value {
    let team = |team: i64| json!({"name": format!("Team {team}"), "headquarters": "H"});
    let hero = |hero: i64| {
        json!({"name": format!("Hero {hero}"), "secretName": "S", "age": hero % 90,
               "teams": {"connectOrCreate": teams(hero).map(team)}})
    };
    (1..=HEROES).map(hero).collect()
}

fn changes(call: i64) -> Value {
    (1..=HEROES).map(|hero| json!({"id": hero, "teams": {"set": teams(hero + call)}})).collect()
}

/// Looks up the teams by name, inserts the heroes, and links them: three statements with one parameter each.
async fn create_by_hand(db: &Db) -> Vec<u8> {
    let txn = db.write.begin().await.expect("a transaction");
    let is_sqlite = txn.get_database_backend() == DbBackend::Sqlite;
    let names: Vec<_> = (1..=TEAMS).map(|team| format!("Team {team}")).collect();
    let find = if is_sqlite {
        "SELECT id FROM team WHERE name IN (SELECT value FROM json_each($1)) ORDER BY id"
    } else {
        "SELECT id FROM team WHERE name IN (SELECT json_array_elements_text($1::json)) ORDER BY id"
    };
    let teams_by_number = keys(&txn, find, json!(names)).await;
    let heroes: Vec<_> = (1..=HEROES).map(|hero| json!([format!("Hero {hero}"), "S", hero % 90])).collect();
    let insert = if is_sqlite {
        "INSERT INTO hero (name, secret_name, age) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1) \
         RETURNING id"
    } else {
        "INSERT INTO hero (name, secret_name, age) SELECT value ->> 0, value ->> 1, (value ->> 2)::int
         FROM json_array_elements($1::json) RETURNING id"
    };
    let heroes = keys(&txn, insert, json!(heroes)).await;
    let links = (1..).zip(&heroes).flat_map(|(number, hero)| {
        teams(number).map(|team| json!([hero, teams_by_number[usize::try_from(team - 1).expect("it is small")]]))
    });
    link(&txn, links.collect()).await;
    txn.commit().await.expect("it commits");
    serde_json::to_vec(&heroes).expect("it is JSON")
}

/// Removes all links of the heroes and makes the new ones: two statements with one parameter each.
async fn update_by_hand(db: &Db, call: i64) -> Vec<u8> {
    let txn = db.write.begin().await.expect("a transaction");
    let heroes: Vec<i64> = (1..=HEROES).collect();
    let delete = if txn.get_database_backend() == DbBackend::Sqlite {
        "DELETE FROM hero_team_link WHERE hero_id IN (SELECT value FROM json_each($1))"
    } else {
        "DELETE FROM hero_team_link WHERE hero_id IN (SELECT value::bigint FROM json_array_elements_text($1::json))"
    };
    execute(&txn, delete, json!(heroes)).await;
    link(&txn, heroes.iter().flat_map(|hero| teams(hero + call).map(|team| json!([hero, team]))).collect()).await;
    txn.commit().await.expect("it commits");
    serde_json::to_vec(&heroes).expect("it is JSON")
}

async fn link(txn: &impl ConnectionTrait, links: Value) {
    let insert = if txn.get_database_backend() == DbBackend::Sqlite {
        "INSERT INTO hero_team_link (hero_id, team_id) SELECT value ->> 0, value ->> 1 FROM json_each($1)"
    } else {
        "INSERT INTO hero_team_link (hero_id, team_id) SELECT (value ->> 0)::bigint, (value ->> 1)::bigint
         FROM json_array_elements($1::json)"
    };
    execute(txn, insert, links).await;
}

fn statement(txn: &impl ConnectionTrait, sql: &str, parameter: &Value) -> Statement {
    Statement::from_sql_and_values(txn.get_database_backend(), sql, [parameter.to_string().into()])
}

async fn execute(txn: &impl ConnectionTrait, sql: &str, parameter: Value) {
    txn.execute_raw(statement(txn, sql, &parameter)).await.expect("the statement runs");
}

async fn keys(txn: &impl ConnectionTrait, sql: &str, parameter: Value) -> Vec<i64> {
    let rows = txn.query_all_raw(statement(txn, sql, &parameter)).await.expect("the statement runs");
    rows.iter().map(|row| row.try_get_by_index(0).expect("a key")).collect()
}

/// A throw-away PostgreSQL, as the tests start it; it ends with what is given along.
pub fn postgres() -> Option<(String, Child)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/postgres.sh");
    let mut child =
        Command::new("sh").args([script, script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let mut url = String::new();
    BufReader::new(child.stdout.as_mut()?).read_line(&mut url).ok()?;
    (!url.is_empty()).then(|| (url.trim().to_owned(), child))
}
