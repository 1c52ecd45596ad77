//! Many clients at once.

use serde_json::{Value, json};

use crate::support::{TestApp, graphql, on_both_databases};

/// The answers to requests that are all sent at once.
async fn at_once(app: &TestApp, requests: impl IntoIterator<Item = (&'static str, Value)>) -> Vec<Value> {
    let clients: Vec<_> = requests
        .into_iter()
        .map(|(query, variables)| {
            let router = app.router.clone();
            tokio::spawn(async move { graphql(&router, query, variables).await })
        })
        .collect();
    let mut answers = Vec::new();
    for client in clients {
        answers.push(client.await.expect("the client does not panic"));
    }
    answers
}

fn assert_no_errors(answers: &[Value]) {
    for answer in answers {
        assert_eq!(answer.get("errors"), None, "{answer}");
    }
}

async fn seed(app: &TestApp) {
    hero_teams::store::seed::tutorial(&app.db).await.expect("the tutorial's data");
}

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

    async fn connect_and_disconnect_of_one_pair(app: TestApp) {
        seed(app).await;
        let hero = "mutation($teams: HeroTeamsUpdateInput) { updateHero(input: {id: 2, teams: $teams}) { hero { id } \
                    } }";
        let team = "mutation($heroes: TeamHeroesUpdateInput) { updateTeam(input: {id: 1, heroes: $heroes}) { team { \
                    id } } }";
        let answers = at_once(app, (0..64).map(|client| match client % 4 {
            0 => (hero, json!({"teams": {"connect": [1]}})),
            1 => (hero, json!({"teams": {"disconnect": [1]}})),
            2 => (team, json!({"heroes": {"connect": [2]}})),
            _ => (team, json!({"heroes": {"disconnect": [2]}})),
        })).await;
        assert_no_errors(&answers);
        // Whichever was last, the other links are as they were.
        let [heroes, teams, links] = app.counts().await;
        assert_eq!((heroes, teams), (3, 2));
        assert!(links == 4 || links == 5, "{links}");
        app.data(hero, json!({"teams": {"connect": [1]}})).await;
        assert_eq!(app.counts().await[2], 5);
    }

    async fn links_to_what_is_deleted(app: TestApp) {
        for round in 0..4 {
            seed(app).await;
            let create = "mutation($input: CreateHeroInput!) { createHero(input: $input) { hero { id } } }";
            let query = "mutation { createTeam(input: {name: \"T\", headquarters: \"H\", heroes: {connect: [1]}}) { \
                         team { id } } }";
            let team = app.data(query, json!({})).await["createTeam"]["team"]["id"].take();
            let hero = json!("Hero:2");
            let connect = "mutation($team: ID!, $hero: ID!) { updateHero(input: {id: $hero, teams: {connect: \
                           [$team]}}) { hero { id } } }";
            let answers = at_once(app, (0..32).map(|client| match client % 8 {
                3 => ("mutation($team: ID!) { deleteTeam(input: {id: $team}) { team { name heroes { name } } } }", json!({"team": team})),
                0 | 4 => (connect, json!({"team": team, "hero": hero})),
                _ => (create, json!({"input": {"name": format!("{round}"), "secretName": "S", "teams": {"connect": [team]}}})),
            })).await;
            let mut deleted = 0;
            for answer in &answers {
                let code = &answer["errors"][0]["extensions"]["code"];
                assert!(code.is_null() || code == "NOT_FOUND", "{answer}");
                deleted += i32::from(!answer["data"]["deleteTeam"].is_null());
            }
            assert_eq!(deleted, 1, "it is deleted once");
            let dangling = "SELECT COUNT(*) FROM hero_team_link WHERE team_id NOT IN (SELECT id FROM team)
                OR hero_id NOT IN (SELECT id FROM hero)";
            assert_eq!(app.count(dangling).await, 0);
        }
    }

    async fn updates_of_one_hero(app: TestApp) {
        seed(app).await;
        let query = "mutation($value: String, $teams: [ID!]) { updateHero(input: {id: 1, name: $value, secretName: $value, teams: {set: $teams}}) {
            hero { name secretName } } }";
        let teams = |client: i32| if client % 2 == 0 { json!([1]) } else { json!([2]) };
        let answers = at_once(app, (0..64).map(|client| (query, json!({"value": format!("{client}"), "teams": teams(client)})))).await;
        assert_no_errors(&answers);
        // The hero is as one of them has left it, and not a mixture.
        let data = app.data("{ hero(id: 1) { name secretName teams { id } } }", json!({})).await;
        assert_eq!(data["hero"]["name"], data["hero"]["secretName"]);
        let last: i32 = data["hero"]["name"].as_str().expect("a name").parse().expect("a number");
        assert_eq!(data["hero"]["teams"], json!([{"id": format!("Team:{}", teams(last)[0])}]));
    }

    async fn connect_or_create_from_both_sides(app: TestApp) {
        let hero = "mutation($teams: [NewTeamInput!]) { createHero(input: {name: \"H\", secretName: \"S\", teams: \
                    {connectOrCreate: $teams}}) { hero { id } } }";
        let team = "mutation($heroes: [NewHeroInput!]) { createTeam(input: {name: \"T\", headquarters: \"S\", heroes: \
                    {connectOrCreate: $heroes}}) { team { id } } }";
        let names = |client: usize| {
            let mut names: Vec<_> = (0..6).map(|name| format!("Shared {name}")).collect();
            names.rotate_left(client % 6);
            names.truncate(4);
            names
        };
        let answers = at_once(app, (0..64).map(|client| if client % 2 == 0 {
            let teams: Vec<_> = names(client).into_iter().map(|name| json!({"name": name, "headquarters": "H"})).collect();
            (hero, json!({"teams": teams}))
        } else {
            let heroes: Vec<_> = names(client).into_iter().map(|name| json!({"name": name, "secretName": "S", "age": 1})).collect();
            (team, json!({"heroes": heroes}))
        })).await;
        assert_no_errors(&answers);
        assert_eq!(app.counts().await, [32 + 6, 32 + 6, 64 * 4]);
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
            crate::databases::TestDatabase::empty_postgres().await.expect("it is there")
        } else {
            crate::databases::TestDatabase::empty_sqlite()
        };
        let servers: Vec<_> = (0..12)
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
