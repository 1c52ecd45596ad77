//! What the API costs beside the least SQL by hand: `cargo bench`.
//!
//! Both sides run in process on one SQLite file and give the same answers as bytes of JSON. The run ends with a table of
//! the ratios.
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on has nothing to measure")]

mod by_hand;
mod data;
mod graphql;
mod ratios;

use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use serde_json::Value;
use tokio::runtime::Runtime;

use self::{by_hand::ByHand, data::Data, graphql::GraphQl};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A question with one parameter, as GraphQL and as SQL.
struct Read {
    name: &'static str,
    query: &'static str,
    sql: &'static str,
    /// The value of the parameter in the n-th call.
    parameter: fn(i64) -> i64,
    /// The objects in the answer.
    objects: usize,
}

const READS: [Read; 4] = [
    Read {
        name: "one hero by id",
        query: "query($id: ID!) { hero(id: $id) { id name age } }",
        sql: by_hand::HERO,
        // The keys come in no order, as they do from many clients.
        parameter: |n| n * 7_919 % data::HEROES + 1,
        objects: 1,
    },
    Read {
        name: "50 heroes with their teams",
        query: "query($limit: Int!) { heroes(limit: $limit) { id name teams { id name headquarters } } }",
        sql: by_hand::HEROES_WITH_TEAMS,
        parameter: |_| 50,
        objects: 50 + 50 * 3,
    },
    Read {
        name: "5 teams with their 60 heroes each with their teams",
        query: "query($limit: Int!) { teams(limit: $limit) { id name heroes { id name teams { id name } } } }",
        sql: by_hand::TEAMS_WITH_HEROES_WITH_TEAMS,
        parameter: |_| 5,
        objects: 5 + 5 * 60 + 5 * 60 * 3,
    },
    Read {
        name: "1,000 heroes",
        query: "query($limit: Int!) { heroes(limit: $limit) { id name age } }",
        sql: by_hand::HEROES,
        parameter: |_| 1_000,
        objects: 1_000,
    },
];

const CREATE_HERO: &str = "createHero with a new and an existing team";

fn main() {
    let start = SystemTime::now();
    let runtime = Runtime::new().expect("the runtime starts");
    let data = runtime.block_on(Data::new());
    let graphql = GraphQl::new(data.db.clone());
    let by_hand = runtime.block_on(ByHand::connect(&data.path)).expect("the database opens");
    runtime.block_on(check(&graphql, &by_hand));

    // Cargo names a folder beside the one where Criterion keeps its estimates.
    let estimates = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("criterion");
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(50)
        .nresamples(10_000)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args()
        .output_directory(&estimates);
    for Read { name, query, sql, parameter, .. } in READS {
        let mut group = criterion.benchmark_group(name);
        measure(&mut group, ratios::GRAPHQL, &runtime, &graphql, async move |graphql, n| {
            graphql.read(query, parameter(n)).await
        });
        measure(&mut group, ratios::BY_HAND, &runtime, &by_hand, async move |by_hand, n| {
            by_hand.read(sql, parameter(n)).await.expect("the statement runs")
        });
    }
    // The write comes last, because it changes the data.
    let mut group = criterion.benchmark_group(CREATE_HERO);
    measure(&mut group, ratios::GRAPHQL, &runtime, &graphql, async |graphql, n| graphql.create_hero(n).await);
    measure(&mut group, ratios::BY_HAND, &runtime, &by_hand, async |by_hand, n| {
        by_hand.create_hero(n).await.expect("the statements run")
    });
    group.finish();
    criterion.final_summary();
    ratios::print(&estimates, start, READS.iter().map(|read| read.name).chain([CREATE_HERO]));
}
