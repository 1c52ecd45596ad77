//! Pages by cursor through 100,000 heroes in the order of their names: the fiftieth beside the first, and beside the least SQL
//! by hand.

use std::hint::black_box;

use criterion::Criterion;
use hero_teams::{
    config::GraphQlSettings,
    graphql::{Params, Schema},
    store::Db,
};
use sea_orm::{
    ConnectionTrait,
    sqlx::{self, SqlitePool},
};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::data;

/// The group in the report.
pub const GROUP: &str = "page 50 of 100,000 heroes by name";

const PAGE: &str = "query($after: String) { heroesConnection(first: 20, after: $after, orderBy: {field: NAME}) {
    edges { cursor node { id name } } pageInfo { hasNextPage endCursor } } }";

const BY_HAND: &str = "SELECT json_object('data', json_object('heroesConnection', json_group_array(json_object(
    'id', 'Hero:' || id, 'name', name)))) FROM (SELECT id, name FROM hero WHERE (name, id) > (?1, ?2) ORDER BY name, id LIMIT 21)";

/// Measures the pages.
pub fn measure(criterion: &mut Criterion, runtime: &Runtime) {
    let data = runtime.block_on(data::Data::new());
    let (schema, cursor, pool) = runtime.block_on(async {
        fill(&data.db).await;
        let schema = Schema::new(data.db.clone(), &GraphQlSettings::default());
        let mut cursor = None;
        for _ in 0..49 {
            cursor = Some(page(&schema, cursor).await);
        }
        let pool = SqlitePool::connect(&format!("sqlite://{}", data.path.display())).await.expect("the database opens");
        (schema, cursor.expect("there are pages"), pool)
    });
    let mut group = criterion.benchmark_group(GROUP);
    for (name, after) in [("page 1", None), ("graphql", Some(cursor))] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let (schema, after) = (schema.clone(), after.clone());
                crate::timed(runtime, iterations, move |_| {
                    let (schema, after) = (schema.clone(), after.clone());
                    async move { page(&schema, after).await }
                })
            });
        });
    }
    group.bench_function("by hand", |bencher| {
        bencher.iter_custom(|iterations| {
            let pool = pool.clone();
            crate::timed(runtime, iterations, move |_| {
                let pool = pool.clone();
                async move {
                    let statement = sqlx::query_scalar::<_, String>(BY_HAND).bind("Hero 10438").bind(10_439_i64);
                    statement.fetch_one(&pool).await.expect("the statement runs")
                }
            })
        });
    });
}

async fn fill(db: &Db) {
    let more = "WITH RECURSIVE numbers(n) AS (SELECT 10000 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < 100000)
        INSERT INTO hero (name, secret_name, age) SELECT 'Hero ' || n, 'Secret ' || n, n % 60 FROM numbers; ANALYZE;";
    db.write.execute_unprepared(more).await.expect("the rows are new");
}

/// Reads a page, and gives its last cursor.
async fn page(schema: &Schema, after: Option<String>) -> String {
    let params: Params =
        serde_json::from_value(json!({"query": PAGE, "variables": {"after": after}})).expect("they are parameters");
    let response = schema.execute(params, false, crate::deadline()).await;
    assert!(response.errors.is_empty(), "{:?}", response.errors);
    black_box(response.to_json());
    let answer: serde_json::Value = serde_json::from_slice(&response.to_json()).expect("the answer is JSON");
    answer["data"]["heroesConnection"]["pageInfo"]["endCursor"].as_str().expect("a cursor").to_owned()
}
