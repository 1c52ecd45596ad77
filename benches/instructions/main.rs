//! How many instructions an answer takes, as Callgrind counts them: `cargo bench --bench instructions`.
//!
//! Unlike times, the numbers are nearly the same in each run and on each machine, so a change of one in a hundred is
//! one. It needs valgrind, and gungraun-runner in the version of the library (`cargo install gungraun-runner --version
//! 0.20.0`).
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on has nothing to measure")]
#![expect(clippy::exit, clippy::missing_docs_in_private_items, reason = "what the macros of gungraun make")]

#[expect(dead_code, reason = "the other benchmarks use the rest")]
#[path = "../api/data.rs"]
mod data;

use std::{hint::black_box, time::Duration};

use gungraun::{library_benchmark, library_benchmark_group};
use hero_teams::{
    access::Principal,
    config::GraphQlSettings,
    graphql::{Params, Schema},
    schema::{HeroTeams, Scopes},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ONE_HERO: &str = "{ hero(id: 7) { id name age } }";
const HEROES_WITH_TEAMS: &str = "{ heroes(limit: 50) { id name teams { id name headquarters } } }";

/// A server that has answered the request before.
struct Server {
    runtime: Runtime,
    schema: Schema,
    _data: data::Data,
    query: &'static str,
}

impl Server {
    fn answer(&self) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_mins(1);
        let principal = Principal::anonymous(Scopes::ALL);
        let answer = self.schema.execute(
            Params { query: Some(self.query.into()), ..Params::default() },
            &principal,
            false,
            deadline,
        );
        self.runtime.block_on(async { answer.await.to_json() })
    }
}

fn server(query: &'static str) -> Server {
    // One thread, so that nothing depends on how the system schedules.
    let runtime = Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    let data = runtime.block_on(data::Data::new());
    let schema = Schema::new::<HeroTeams>(data.db.clone(), &GraphQlSettings::default()).expect("the schema is valid");
    let server = Server { runtime, schema, _data: data, query };
    // The connections that read are opened one at a time, and each prepares its statements.
    for _ in 0..3 {
        assert!(server.answer().starts_with(b"{\"data\":{\"hero"));
    }
    server
}

#[library_benchmark(setup = server)]
#[bench::one_hero_by_id(ONE_HERO)]
#[bench::fifty_heroes_with_their_teams(HEROES_WITH_TEAMS)]
fn answer(server: Server) -> (Server, Vec<u8>) {
    let answer = black_box(server.answer());
    // What is given back is dropped outside.
    (server, answer)
}

library_benchmark_group!(name = answers, benchmarks = answer);

gungraun::main!(library_benchmark_groups = answers);
