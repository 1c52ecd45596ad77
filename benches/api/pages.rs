//! Pages by cursor through 100,000 heroes in the order of their names: the fiftieth beside the first, and beside the
//! least SQL by hand.

use std::hint::black_box;

use criterion::Criterion;
use hero_teams::db::Db;
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::{by_hand::ByHand, data, graphql::GraphQl};

/// The group in the report.
pub const GROUP: &str = "page 50 of 100,000 heroes by name";

const PAGE: &str = "query($after: String) { heroesConnection(first: 20, after: $after, orderBy: {field: NAME}) {
    edges { cursor node { id name } } pageInfo { hasNextPage endCursor } } }";

const BY_HAND: &str = "SELECT json_object('data', json_object('heroesConnection', json_group_array(json_object(
    'id', 'Hero:' || id, 'name', name)))) FROM (SELECT id, name FROM hero WHERE (name, id) > (?1, ?2) ORDER BY name, id LIMIT 21)";

/// Measures the pages.
pub fn measure(criterion: &mut Criterion, runtime: &Runtime) {
    let data = runtime.block_on(data::Data::new());
    let (graphql, cursor) = runtime.block_on(async {
        fill(&data.db).await;
        let graphql = GraphQl::new(data.db.clone());
        let mut cursor = None;
        for _ in 0..49 {
            cursor = Some(page(&graphql, cursor).await);
        }
        (graphql, cursor.expect("there are pages"))
    });
    let by_hand = ByHand::new(&data);
    let mut group = criterion.benchmark_group(GROUP);
    for (name, after) in [("page 1", None), ("graphql", Some(cursor))] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let (graphql, after) = (graphql.clone(), after.clone());
                crate::timed(runtime, iterations, move |_| {
                    let (graphql, after) = (graphql.clone(), after.clone());
                    async move { page(&graphql, after).await }
                })
            });
        });
    }
    group.bench_function("by hand", |bencher| {
        bencher.iter_custom(|iterations| {
            let by_hand = by_hand.clone();
            crate::timed(runtime, iterations, move |_| {
                let by_hand = by_hand.clone();
                async move { by_hand.value(BY_HAND, &[&"Hero 10438", &10_439]) }
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
async fn page(graphql: &GraphQl, after: Option<String>) -> String {
    let answer = black_box(graphql.answer(PAGE, json!({"after": after})).await);
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("the answer is JSON");
    answer["data"]["heroesConnection"]["pageInfo"]["endCursor"].as_str().expect("a cursor").to_owned()
}
