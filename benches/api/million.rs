//! A million heroes with three million memberships, on both databases: what a field costs when the table is large,
//! beside the least SQL by hand.

use std::hint::black_box;

use criterion::Criterion;
use hero_teams::{
    db::Db,
    schema::{Entity, HERO},
    store::TextIndex,
};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{bulk, data, graphql::GraphQl};

/// More than `--max-scan` allows to read.
const HEROES: i64 = 1 << 20;
const TEAMS: i64 = HEROES / 20;

/// A query, and the SQL that gives its answer.
struct Request {
    name: &'static str,
    query: &'static str,
    by_hand: &'static str,
    /// Whether a trigram index serves it, which SQLite does not have.
    needs_trigrams: bool,
    /// Whether the answer is an estimate, while that by hand is exact.
    is_estimate: bool,
}

const REQUESTS: [Request; 5] = [
    Request {
        name: "one of a million heroes with the teams",
        query: r#"{ hero(id: "Hero:777777") { id name teams { id name } } }"#,
        by_hand: "SELECT json_object('data', json_object('hero', json_object('id', 'Hero:' || id, 'name', name,
            'teams', (SELECT json_group_array(json_object('id', 'Team:' || t.id, 'name', t.name)) FROM (
                SELECT team.id, team.name FROM hero_team_link JOIN team ON team.id = team_id
                WHERE hero_id = hero.id ORDER BY team.id) t)))) FROM hero WHERE id = 777777",
        needs_trigrams: false,
        is_estimate: false,
    },
    Request {
        name: "ten of a million heroes of an age by name",
        query: "{ heroes(where: {age: {eq: 30}}, orderBy: {field: NAME}, limit: 10) { id name } }",
        by_hand: "SELECT json_object('data', json_object('heroes', json_group_array(json_object(
            'id', 'Hero:' || id, 'name', name)))) FROM (
                SELECT id, name FROM hero WHERE age = 30 ORDER BY name, id LIMIT 10) h",
        needs_trigrams: false,
        is_estimate: false,
    },
    Request {
        name: "one of a million heroes by name, ignoreCase",
        query: r#"{ heroes(where: {name: {eq: "hero 777777", ignoreCase: true}}) { id name } }"#,
        by_hand: "SELECT json_object('data', json_object('heroes', json_group_array(json_object(
            'id', 'Hero:' || id, 'name', name)))) FROM hero WHERE lower(name) = 'hero 777777'",
        needs_trigrams: false,
        is_estimate: false,
    },
    Request {
        name: "some of a million heroes by a part of the name",
        query: r#"{ heroes(where: {name: {contains: "77777"}}) { id name } }"#,
        by_hand: "SELECT json_object('data', json_object('heroes', json_group_array(json_object(
            'id', 'Hero:' || id, 'name', name)))) FROM (
                SELECT id, name FROM hero WHERE name LIKE '%77777%' ORDER BY id) h",
        needs_trigrams: true,
        is_estimate: false,
    },
    Request {
        name: "totalCount of a million heroes",
        query: "{ heroesConnection { totalCount } }",
        by_hand: "SELECT json_object('data', json_object('heroesConnection', json_object('totalCount', count(*))))
            FROM hero",
        needs_trigrams: false,
        is_estimate: true,
    },
];

/// The groups in the report.
pub fn groups() -> impl Iterator<Item = String> {
    [DbBackend::Sqlite, DbBackend::Postgres]
        .into_iter()
        .flat_map(|backend| requests(backend).map(move |request| group(request, backend)))
}

fn requests(backend: DbBackend) -> impl Iterator<Item = &'static Request> {
    REQUESTS.iter().filter(move |request| backend == DbBackend::Postgres || !request.needs_trigrams)
}

fn group(request: &Request, backend: DbBackend) -> String {
    let database = if backend == DbBackend::Postgres { "PostgreSQL" } else { "SQLite" };
    format!("{}, {database}", request.name)
}

/// Measures the queries on both databases; on PostgreSQL only where it is installed.
pub fn measure(criterion: &mut Criterion, runtime: &Runtime) {
    let data = runtime.block_on(data::Data::empty());
    measure_on(criterion, runtime, &data.db);
    if let Some((url, _server)) = bulk::postgres() {
        let db = runtime.block_on(data::open(&url));
        measure_on(criterion, runtime, &db);
        runtime.block_on(db.close()).expect("the database closes");
    }
}

fn measure_on(criterion: &mut Criterion, runtime: &Runtime, db: &Db) {
    let backend = db.read.get_database_backend();
    runtime.block_on(fill(db));
    let graphql = GraphQl::new(db.clone());
    for request in requests(backend) {
        let statement = statement(request, backend);
        runtime.block_on(async {
            let answers = [graphql.answer(request.query, json!({})).await, by_hand(db, &statement).await];
            let [answer, expected] =
                answers.map(|answer| serde_json::from_slice::<Value>(&answer).expect("it is JSON"));
            assert!(request.is_estimate || answer == expected, "{answer} is not {expected}");
        });
        let mut group = criterion.benchmark_group(group(request, backend));
        group.sample_size(10);
        group.bench_function("graphql", |bencher| {
            bencher.iter_custom(|iterations| {
                let graphql = graphql.clone();
                crate::timed(runtime, iterations, move |_| {
                    let graphql = graphql.clone();
                    async move { black_box(graphql.answer(request.query, json!({})).await) }
                })
            });
        });
        group.bench_function("by hand", |bencher| {
            bencher.iter_custom(|iterations| {
                let (db, statement) = (db.clone(), statement.clone());
                crate::timed(runtime, iterations, move |_| {
                    let (db, statement) = (db.clone(), statement.clone());
                    async move { black_box(by_hand(&db, &statement).await) }
                })
            });
        });
    }
}

/// The statement by hand: both databases build JSON, by functions of other names.
fn statement(request: &Request, backend: DbBackend) -> Statement {
    let mut sql = request.by_hand.to_owned();
    if backend == DbBackend::Postgres {
        sql = sql.replace("json_object(", "json_build_object(").replace("json_group_array(", "json_agg(");
    }
    Statement::from_string(backend, format!("SELECT CAST(({sql}) AS text)"))
}

async fn by_hand(db: &Db, statement: &Statement) -> Vec<u8> {
    let row = db.read.query_one_raw(statement.clone()).await.expect("the statement runs").expect("it gives a row");
    row.try_get_by_index::<String>(0).expect("it gives text").into_bytes()
}

/// Every hero is in three teams, and every team has sixty heroes.
async fn fill(db: &Db) {
    let numbers = format!("WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {HEROES})");
    let links = [0, 1, 2].map(|step| format!("SELECT n, (n * 7 + {step} * 9973) % {TEAMS} + 1 FROM n"));
    for fill in [
        format!("INSERT INTO team (name, headquarters) {numbers} SELECT 'Team ' || n, 'H' FROM n WHERE n <= {TEAMS}"),
        format!("INSERT INTO hero (name, secret_name, age) {numbers} SELECT 'Hero ' || n, 'S', n % 90 FROM n"),
        format!("INSERT INTO hero_team_link (hero_id, team_id) {numbers} {}", links.join(" UNION ALL ")),
        "ANALYZE".to_owned(),
    ] {
        db.write.execute_unprepared(&fill).await.expect("the rows are new");
    }
    let hero: &Entity = &HERO;
    let name = hero.columns.iter().find(|column| column.name() == "name").expect("heroes have names");
    TextIndex::Lower.create(db, hero, name).await.expect("the index is new");
    if db.read.get_database_backend() == DbBackend::Postgres {
        TextIndex::Trigram.create(db, hero, name).await.expect("the index is new");
    }
}
