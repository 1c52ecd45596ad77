//! Many clients at once.

use serde_json::json;

use crate::support::{TestApp, graphql, on_both_databases};

on_both_databases! {
    async fn fifty_clients_connect_or_create_one_team(app: TestApp) {
        let query = "mutation($name: String!) { createHero(input: {name: $name, secretName: \"S\", teams: {
            connectOrCreate: [{name: \"Preventers\", headquarters: \"Sharp Tower\"}]}}) { hero { teams { id name } } } }";
        let clients: Vec<_> = (0..50)
            .map(|client| {
                let router = app.router.clone();
                tokio::spawn(async move { graphql(&router, query, json!({"name": format!("Hero {client}")})).await })
            })
            .collect();
        let mut teams = Vec::new();
        for client in clients {
            let mut answer = client.await.expect("the client does not panic");
            assert_eq!(answer.get("errors"), None, "{answer}");
            teams.push(answer["data"]["createHero"]["hero"]["teams"].take());
        }
        assert_eq!(app.counts().await, [50, 1, 50]);
        teams.dedup();
        assert_eq!(teams.len(), 1, "{teams:?}");
        assert_eq!(teams[0][0]["name"], json!("Preventers"));
    }

    async fn clients_with_the_same_teams_in_another_order(app: TestApp) {
        let query = "mutation($input: CreateHeroInput!) { createHero(input: $input) { hero { id } } }";
        let clients: Vec<_> = (0..48)
            .map(|client: usize| {
                let router = app.router.clone();
                let mut teams: Vec<_> =
                    (0..8).map(|team| json!({"name": format!("Team {team}"), "headquarters": "H"})).collect();
                teams.rotate_left(client % 8);
                if client.is_multiple_of(2) {
                    teams.reverse();
                }
                teams.truncate(5);
                let input = json!({"name": "H", "secretName": "S", "teams": {"connectOrCreate": teams}});
                tokio::spawn(async move { graphql(&router, query, json!({"input": input})).await })
            })
            .collect();
        for client in clients {
            let answer = client.await.expect("the client does not panic");
            assert_eq!(answer.get("errors"), None, "{answer}");
        }
        assert_eq!(app.counts().await, [48, 8, 48 * 5]);
    }

    async fn a_large_write_among_small_ones(app: TestApp) {
        let query = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
        let hero = |number: usize| {
            let team = |team: usize| json!({"name": format!("Team {}", team % 60), "headquarters": "H"});
            let teams = [team(number), team(number * 7), team(number * 13)];
            json!({"name": "H", "secretName": "S", "teams": {"connectOrCreate": teams}})
        };
        let router = app.router.clone();
        let input: Vec<_> = (0..200).map(hero).collect();
        let large = tokio::spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..2 {
                answers.push(graphql(&router, query, json!({"input": input})).await);
            }
            answers
        });
        let small: Vec<_> = (0..12)
            .map(|client| {
                let (router, large) = (app.router.clone(), large.abort_handle());
                tokio::spawn(async move {
                    let mut answers = Vec::new();
                    for round in 0.. {
                        answers.push(graphql(&router, query, json!({"input": [hero(client * 5 + round)]})).await);
                        if large.is_finished() {
                            break;
                        }
                    }
                    answers
                })
            })
            .collect();
        let mut heroes = 0;
        let mut answers = large.await.expect("the client does not panic");
        for client in small {
            answers.extend(client.await.expect("the client does not panic"));
        }
        for answer in answers {
            assert_eq!(answer.get("errors"), None, "{answer}");
            heroes += answer["data"]["createHeroes"]["heroes"].as_array().map_or(0, Vec::len);
        }
        assert_eq!(app.count("SELECT COUNT(*) FROM hero").await, i64::try_from(heroes).expect("it is small"));
        assert_eq!(app.count("SELECT COUNT(*) - COUNT(DISTINCT name) FROM team").await, 0);
    }

    async fn several_servers_start_at_once(app: TestApp) {
        // Another database than the one of the app, which is migrated.
        let database = if app.database.is_postgres() {
            crate::databases::TestDatabase::postgres().await.expect("it is there")
        } else {
            crate::databases::TestDatabase::sqlite()
        };
        let servers: Vec<_> = (0..6)
            .map(|_| {
                let url = database.url.clone();
                tokio::spawn(async move {
                    let db = crate::support::connect(&url).await;
                    db.migrate().await.expect("the migrations apply once");
                    db.close().await.expect("the database closes");
                })
            })
            .collect();
        for server in servers {
            server.await.expect("the server starts");
        }
        let late = crate::support::connect(&database.url).await;
        assert_eq!(late.pending_migrations().await.expect("the state is known"), Vec::<String>::new());
        late.close().await.expect("the database closes");
        database.remove().await;
    }
}
