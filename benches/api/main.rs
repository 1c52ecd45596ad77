//! What the API costs beside the least SQL by hand: `cargo bench`.
//!
//! Both sides run in process. For the workloads of `workload.rs` they give the same bytes, or write the same rows,
//! which is checked before anything is measured. By hand, `pages.rs` leaves out cursors and what is around the page,
//! and `bulk.rs` and `million.rs` all checks. `loopback.rs` compares the server with itself. The run ends with a table
//! of the ratios.
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on has nothing to measure")]

mod bulk;
mod by_hand;
mod data;
mod graphql;
mod loopback;
mod million;
mod pages;
mod ratios;
mod workload;

use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use tokio::runtime::Runtime;

use self::{
    by_hand::ByHand,
    data::Data,
    graphql::GraphQl,
    workload::{Side, WORKLOADS, Workload},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let start = SystemTime::now();
    // Cargo names a folder of its target directory; Criterion's own is beside it.
    let estimates = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("criterion");
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(50)
        .nresamples(10_000)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .output_directory(&estimates)
        .configure_from_args();

    let runtime = Runtime::new().expect("the runtime starts");
    let data = runtime.block_on(Data::new());
    let graphql = GraphQl::new(data.db.clone());
    let by_hand = ByHand::new(&data);
    for workload in &WORKLOADS {
        runtime.block_on(check(&graphql, &by_hand, workload));
        let mut group = criterion.benchmark_group(workload.name());
        measure(&mut group, &runtime, &graphql, workload);
        measure(&mut group, &runtime, &by_hand, workload);
    }
    loopback::measure(&mut criterion, &runtime, &data);
    pages::measure(&mut criterion, &runtime);
    bulk::measure(&mut criterion, &runtime);
    million::measure(&mut criterion, &runtime);
    criterion.final_summary();
    ratios::print(&estimates, start);
}

/// Measures a number of answers, as a server gives them on one connection.
fn measure<S: Side>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    side: &S,
    workload: &'static Workload,
) {
    group.bench_function(S::NAME, |bencher| {
        bencher.iter_custom(|iterations| {
            let side = side.clone();
            timed(runtime, iterations, move |n| {
                let side = side.clone();
                async move { side.answer(workload, n).await }
            })
        });
    });
}

/// The time of a number of calls, one after the other in one task of the runtime, as a server runs each connection.
fn timed<T, F>(runtime: &Runtime, iterations: u64, call: impl Fn(i64) -> F + Send + 'static) -> Duration
where
    F: Future<Output = T> + Send,
{
    let task = runtime.spawn(async move {
        let start = Instant::now();
        for n in 0..iterations.cast_signed() {
            black_box(call(n).await);
        }
        start.elapsed()
    });
    runtime.block_on(task).expect("every answer comes")
}

/// Asserts that both sides do the same.
async fn check(graphql: &GraphQl, by_hand: &ByHand, workload: &Workload) {
    match workload {
        Workload::Read(read) => {
            let answers = [graphql.read(read, 0).await, by_hand.read(read, 0).await];
            let [answer, expected] = answers.map(|answer| String::from_utf8(answer).expect("JSON is text"));
            assert_eq!(answer, expected);
            assert_eq!(answer.matches(r#""id":"#).count(), read.objects);
        }
        Workload::CreateHero => {
            let created = graphql.created(&graphql.create_hero(0).await).await;
            let expected = graphql.created(&by_hand.create_hero(0).await).await;
            assert_eq!(created, expected);
            assert_eq!(created["teams"].as_array().map(Vec::len), Some(2));
        }
    }
}

/// The deadline of a request that has all the time in the world.
fn deadline() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_hours(1)
}
