//! Requests that ask PostgreSQL the same at the same time share statements, and nobody can tell.

use std::time::Duration;

use hero_teams::{db::Db, telemetry::Telemetry};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    databases::TestDatabase,
    metrics,
    outages::code,
    support::{TestApp, connect, graphql, router, until},
};

/// A server with heroes and teams, each hero in two teams.
async fn app(telemetry: &Telemetry) -> Option<TestApp> {
    let database = TestDatabase::postgres_as_asked().await?;
    let app = TestApp::with(database, |settings| settings.db.telemetry = telemetry.clone()).await;
    let team = |number: usize| json!({"name": format!("T{number}"), "headquarters": "H"});
    let hero = |number: usize| {
        json!({"name": format!("H{number}"), "secretName": "S", "age": number,
            "teams": {"connectOrCreate": [team(number % 4), team(4)]}})
    };
    let heroes: Vec<Value> = (1..=CLIENTS).map(hero).collect();
    let create = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
    app.data(create, json!({"input": heroes})).await;
    Some(app)
}

const CLIENTS: usize = 40;
const HERO: &str = "query($id: ID!) { hero(id: $id) { name teams { name } } }";
const UPDATE: &str =
    "mutation($id: ID!, $name: String!) { updateHero(input: {id: $id, name: $name}) { hero { name } } }";
const LIST: &str = "query($name: String!) { heroes(where: {name: {eq: $name}}) { name }
    heroesConnection(where: {name: {eq: $name}}) { totalCount } }";

fn shared(telemetry: &Telemetry) -> f64 {
    metrics::now(telemetry)["hero_teams_shared_reads_total"]
}

/// Each client renames its hero, and reads it with all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_read_what_they_have_written() {
    let telemetry = metrics::telemetry(10);
    let Some(app) = app(&telemetry).await else { return };
    // As long as it takes until some have shared something, which is not long.
    let mut round = 0;
    while round < 3 || shared(&telemetry) < 100.0 {
        let mut clients = JoinSet::new();
        for client in 1..=CLIENTS {
            let router = app.router.clone();
            clients.spawn(async move {
                let name = format!("H{client} in round {round}");
                let renamed = graphql(&router, UPDATE, json!({"id": client, "name": name})).await;
                assert_eq!(renamed, json!({"data": {"updateHero": {"hero": {"name": name}}}}));
                let read = graphql(&router, HERO, json!({"id": client})).await;
                // Those of a relation come in the order of their ids.
                let mut teams = read["data"]["hero"]["teams"].as_array().expect("a list").clone();
                teams.sort_by_key(ToString::to_string);
                let expected = json!([{"name": format!("T{}", client % 4)}, {"name": "T4"}]);
                assert_eq!((&read["data"]["hero"]["name"], json!(teams)), (&json!(name), expected));
                let list = graphql(&router, LIST, json!({"name": name})).await;
                let one = json!({"heroes": [{"name": name}], "heroesConnection": {"totalCount": 1}});
                assert_eq!(list, json!({"data": one}));
                let all =
                    graphql(&router, "{ heroes(limit: 3) { id } teams { name heroes(limit: 2) { id } } }", json!({}));
                let all = all.await;
                assert_eq!(all["data"]["heroes"], json!([{"id": "Hero:1"}, {"id": "Hero:2"}, {"id": "Hero:3"}]));
                assert_eq!(all["data"]["teams"].as_array().map(Vec::len), Some(5), "{all}");
                let none = graphql(&router, HERO, json!({"id": 1_000_000 + client})).await;
                assert_eq!(none, json!({"data": {"hero": null}}));
            });
        }
        while let Some(client) = clients.join_next().await {
            client.expect("no client sees anything else");
        }
        round += 1;
    }
    app.close().await;
}

/// Those whose time is over, or who go away, take nobody along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_are_given_up_take_nobody_along() {
    let telemetry = metrics::telemetry(10);
    let Some(app) = app(&telemetry).await else { return };
    let outside = connect(&app.database.url).await;
    for round in 0..3 {
        // All reads wait for this lock.
        let lock = outside.write.begin().await.expect("a transaction");
        sea_orm::ConnectionTrait::execute_unprepared(&lock, "LOCK TABLE hero IN ACCESS EXCLUSIVE MODE")
            .await
            .expect("the lock");
        let client = |db: Db, client: usize| async move { graphql(&router(db), HERO, json!({"id": client})).await };
        let hasty =
            |client: usize| app.db.for_request(tokio::time::Instant::now() + Duration::from_millis(10 * client as u64));
        let mut given_up = JoinSet::new();
        let mut cut_off = JoinSet::new();
        let mut patient = JoinSet::new();
        for number in 1..=CLIENTS {
            match (number + round) % 3 {
                0 => drop(given_up.spawn(client(app.db.clone(), number))),
                1 => drop(cut_off.spawn(client(hasty(number), number))),
                _ => drop(patient.spawn(client(app.db.clone(), number))),
            }
        }
        while let Some(answer) = cut_off.join_next().await {
            let answer = answer.expect("it does not panic");
            assert_eq!(*code(&answer), json!("TIMEOUT"), "{answer}");
        }
        given_up.shutdown().await;
        lock.commit().await.expect("the lock ends");
        while let Some(answer) = patient.join_next().await {
            let answer = answer.expect("it does not panic");
            assert_eq!(answer.get("errors"), None, "{answer}");
            assert!(answer["data"]["hero"]["name"].is_string(), "{answer}");
        }
    }
    until(async || app.data("{ heroes(limit: 1) { id } }", json!({})).await["heroes"] == json!([{"id": "Hero:1"}]))
        .await;
    outside.close().await.expect("the database closes");
    app.close().await;
}
