//! Updates: what stays, what changes, and what is refused.

use serde_json::{Value, json};

use crate::support::{TestApp, on_both_databases};

const UPDATE_HERO: &str =
    "mutation($input: UpdateHeroInput!) { updateHero(input: $input) { hero { name secretName age teams { id } } } }";
const UPDATE_HEROES: &str =
    "mutation($input: [UpdateHeroInput!]!) { updateHeroes(input: $input) { heroes { id name teams { id } } } }";

async fn seed(app: &TestApp) {
    hero_teams::store::seed::tutorial(&app.db).await.expect("the tutorial's data");
    let query = r#"mutation { createTeam(input: {name: "Third", headquarters: "H"}) { team { id } } }"#;
    app.data(query, json!({})).await;
}

fn ids(ids: &[i64]) -> Value {
    ids.iter().map(|id| json!({"id": format!("Team:{id}")})).collect()
}

on_both_databases! {
    async fn absent_stays_and_null_clears(app: TestApp) {
        seed(app).await;
        let rusty = |name: &str, age: Value| json!({"updateHero": {"hero": {
            "name": name, "secretName": "Tommy Sharp", "age": age, "teams": ids(&[2])}}});
        let query = "mutation($name: String, $age: Int, $teams: [ID!]) {
            updateHero(input: {id: \"Hero:2\", name: $name, age: $age, teams: {connect: $teams}}) {
                hero { name secretName age teams { id } } } }";
        // Declared and not sent is absent.
        assert_eq!(app.data(query, json!({})).await, rusty("Rusty-Man", json!(48)));
        assert_eq!(app.data(query, json!({"age": 49})).await, rusty("Rusty-Man", json!(49)));
        assert_eq!(app.data(query, json!({"name": "Rusty"})).await, rusty("Rusty", json!(49)));
        assert_eq!(app.data(query, json!({"age": null})).await, rusty("Rusty", json!(null)));
        // The same in the input as a whole.
        assert_eq!(app.data(UPDATE_HERO, json!({"input": {"id": 2, "age": 50}})).await, rusty("Rusty", json!(50)));
        assert_eq!(app.data(UPDATE_HERO, json!({"input": {"id": 2}})).await, rusty("Rusty", json!(50)));
        assert_eq!(app.data(UPDATE_HERO, json!({"input": {"id": 2, "age": null}})).await, rusty("Rusty", json!(null)));
        // And in the document.
        let data = app.data("mutation { updateHero(input: {id: 2, age: 7, teams: null}) { hero { age } } }", json!({})).await;
        assert_eq!(data, json!({"updateHero": {"hero": {"age": 7}}}));
        let data = app.data("mutation { updateHero(input: {id: 2, age: null}) { hero { age } } }", json!({})).await;
        assert_eq!(data, json!({"updateHero": {"hero": {"age": null}}}));
    }

    async fn unset_variables_are_absent_everywhere(app: TestApp) {
        seed(app).await;
        let query = "query($limit: Int, $name: String, $filter: HeroFilter!, $direction: OrderDirection, $last: Int) {
            heroes(limit: $limit, where: {name: {contains: $name}, and: [$filter]}, orderBy: {field: ID, direction: $direction}) { ...Teams }
            heroesConnection(first: 1, last: $last) { nodes { name } } }
            fragment Teams on Hero { name teams(limit: $limit) { id } }";
        let answer = app.graphql_with(query, json!({})).await;
        // An entry of a list cannot be absent, so it is null, which this list does not take.
        assert_eq!(answer["data"], json!(null), "{answer}");
        let data = app.data(query, json!({"filter": {"name": {"startsWith": "D"}}})).await;
        assert_eq!(data, json!({
            "heroes": [{"name": "Deadpond", "teams": ids(&[1, 2])}],
            "heroesConnection": {"nodes": [{"name": "Deadpond"}]},
        }));
    }

    async fn each_instruction_for_the_links(app: TestApp) {
        seed(app).await;
        for (teams, expected) in [
            (json!({"connect": ["Team:3", 2, "2"]}), ids(&[1, 2, 3])),
            (json!({"connect": [1]}), ids(&[1, 2, 3])),
            (json!({"disconnect": [2]}), ids(&[1, 3])),
            (json!({"disconnect": [2, "Team:2"]}), ids(&[1, 3])),
            (json!({"set": [2, 3, 3]}), ids(&[2, 3])),
            (json!({"set": []}), ids(&[])),
            (json!({"connectOrCreate": [{"name": "Third", "headquarters": "H"}, {"name": "Fourth", "headquarters": "H"}]}), ids(&[3, 4])),
            (json!({"create": [{"name": "Third", "headquarters": "H"}], "disconnect": [3], "connect": [1]}), ids(&[1, 4, 5])),
            (json!({"disconnect": [4], "connectOrCreate": [{"name": "Fourth", "headquarters": "H"}]}), ids(&[1, 4, 5])),
            (json!({}), ids(&[1, 4, 5])),
            (json!({"create": [], "connect": [], "connectOrCreate": [], "disconnect": []}), ids(&[1, 4, 5])),
        ] {
            let data = app.data(UPDATE_HERO, json!({"input": {"id": "Hero:1", "teams": teams}})).await;
            assert_eq!(data["updateHero"]["hero"]["teams"], expected, "{teams}");
        }
        // Nobody else's links were touched.
        let data = app.data("{ heroes(offset: 1) { teams { id } } }", json!({})).await;
        assert_eq!(data, json!({"heroes": [{"teams": ids(&[2])}, {"teams": ids(&[2])}]}));
    }

    async fn the_same_from_the_side_of_the_teams(app: TestApp) {
        seed(app).await;
        let query = "mutation($input: UpdateTeamInput!) { updateTeam(input: $input) { team { name headquarters heroes \
                     { name } } } }";
        let team = |name: &str, heroes: &[&str]| {
            let heroes: Vec<_> = heroes.iter().map(|name| json!({"name": name})).collect();
            json!({"updateTeam": {"team": {"name": name, "headquarters": "Sharp Tower", "heroes": heroes}}})
        };
        for (input, expected) in [
            (json!({"heroes": {"disconnect": ["Hero:1"]}}), team("Preventers", &["Rusty-Man", "Spider-Boy"])),
            (json!({"name": "P", "heroes": {"create": [{"name": "New", "secretName": "S", "age": 1}], "connect": [1]}}),
                team("P", &["Deadpond", "Rusty-Man", "Spider-Boy", "New"])),
            (json!({"heroes": {"set": [3]}}), team("P", &["Spider-Boy"])),
            (json!({"heroes": {"connectOrCreate": [{"name": "New", "secretName": "S", "age": 1}, {"name": "New", "secretName": "S"}]}}),
                team("P", &["Spider-Boy", "New", "New"])),
        ] {
            let mut with_id = input.clone();
            with_id["id"] = json!("Team:2");
            assert_eq!(app.data(query, json!({"input": with_id})).await, expected, "{input}");
        }
        assert_eq!(app.counts().await, [5, 3, 4]);
    }

    async fn lists_are_all_or_nothing(app: TestApp) {
        seed(app).await;
        let input = json!([
            {"id": 3, "name": "Third hero", "teams": {"set": [1, 3]}},
            {"id": "Hero:1", "teams": {"disconnect": [1], "create": [{"name": "New", "headquarters": "H"}]}},
            {"id": 2, "age": null, "teams": {"connectOrCreate": [{"name": "New", "headquarters": "H"}]}},
        ]);
        let data = app.data(UPDATE_HEROES, json!({"input": input})).await;
        // What is created in one entry is not what another one finds: it was not there when the call began.
        assert_eq!(data, json!({"updateHeroes": {"heroes": [
            {"id": "Hero:3", "name": "Third hero", "teams": ids(&[1, 3])},
            {"id": "Hero:1", "name": "Deadpond", "teams": ids(&[2, 5])},
            {"id": "Hero:2", "name": "Rusty-Man", "teams": ids(&[2, 4])},
        ]}}));
        let before = app.rows().await;
        let input = json!([{"id": 1, "name": "X", "teams": {"set": []}}, {"id": 99, "name": "Y"}, {"id": 2, "teams": {"set": [1, 77]}}]);
        let answer = app.graphql_with(UPDATE_HEROES, json!({"input": input})).await;
        let error = |message: &str, place: Value| json!({
            "message": message, "locations": [{"line": 1, "column": 41}], "path": ["updateHeroes"],
            "extensions": {"code": "NOT_FOUND", "argumentPath": place},
        });
        assert_eq!(answer, json!({"data": {"updateHeroes": null}, "errors": [
            error("there is no Hero with the id \"Hero:99\"", json!(["input", 1, "id"])),
            error("there is no Team with the id \"Team:77\"", json!(["input", 2, "teams", "set", 1])),
        ]}));
        assert_eq!(app.rows().await, before);
        assert_eq!(app.data(UPDATE_HEROES, json!({"input": []})).await, json!({"updateHeroes": {"heroes": []}}));
    }

    async fn what_is_no_update(app: TestApp) {
        seed(app).await;
        let before = app.rows().await;
        let long = "x".repeat(201);
        let keep = "must not be null: leave it out to keep it as it is";
        let alone = "must not be given together with other instructions: it replaces all links";
        for (input, faults) in [
            (json!({"id": "Team:1"}), vec![(json!(["input", "id"]), r#""Team:1" is the id of a Team, where one of a Hero is expected: "Hero:1" or "1""#.to_owned())]),
            (json!({"id": 1, "name": null, "secretName": null}), vec![
                (json!(["input", "name"]), format!("`input.name` {keep}")),
                (json!(["input", "secretName"]), format!("`input.secretName` {keep}"))]),
            (json!({"id": 1, "name": " ", "secretName": long, "age": -1}), vec![
                (json!(["input", "name"]), "`input.name` must not be blank".to_owned()),
                (json!(["input", "secretName"]), "`input.secretName` must have at most 200 characters, not 201".to_owned()),
                (json!(["input", "age"]), "`input.age` must be from 0 to 1000000, not -1".to_owned())]),
            (json!({"id": 1, "teams": {"set": null}}), vec![(json!(["input", "teams", "set"]),
                "`input.teams.set` must not be null: leave it out, or write [] for no links at all".to_owned())]),
            (json!({"id": 1, "teams": {"set": [1], "connect": [2]}}), vec![(json!(["input", "teams", "set"]), format!("`input.teams.set` \
                                                                                                                       {alone}"))]),
            (json!({"id": 1, "teams": {"set": [], "create": [{"name": "A", "headquarters": "B"}]}}), vec![(json!(["input", "teams", "set"]), format!("`input.teams.set` \
                                                                                                                                                      {alone}"))]),
            (json!({"id": 1, "teams": {"connect": [1, 2], "disconnect": [3, "Team:2"]}}), vec![(json!(["input", "teams", "disconnect", 1]),
                "`input.teams.disconnect[1]` must not be in `connect` as well".to_owned())]),
            (json!({"id": 1, "teams": {"disconnect": vec![1; 1_001]}}), vec![(json!(["input", "teams", "disconnect"]),
                "`input.teams.disconnect` must have at most 1000 entries, not 1001".to_owned())]),
        ] {
            let answer = app.graphql_with(UPDATE_HERO, json!({"input": input})).await;
            let errors: Vec<_> = faults.iter().map(|(place, message)| json!({
                "message": message, "locations": [{"line": 1, "column": 38}], "path": ["updateHero"],
                "extensions": {"code": "BAD_USER_INPUT", "argumentPath": place},
            })).collect();
            assert_eq!(answer, json!({"data": {"updateHero": null}, "errors": errors}), "{input}");
        }
        let answer = app.graphql_with(UPDATE_HEROES, json!({"input": [{"id": 1}, {"id": "Hero:1"}]})).await;
        assert_eq!(answer["errors"][0]["message"], json!("`input[1].id` must not be the id of an earlier entry"));
        assert_eq!(app.rows().await, before);
    }

    async fn statements_do_not_grow_with_the_input(app: TestApp) {
        let create = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
        let team = |number: usize| json!({"name": format!("Team {number}"), "headquarters": "H"});
        let heroes: Vec<_> = (0..300).map(|hero| json!({"name": format!("H {hero}"), "secretName": "S",
            "teams": {"connectOrCreate": [team(hero % 10), team(hero % 7)]}})).collect();
        app.data(create, json!({"input": heroes})).await;
        let update = "mutation($input: [UpdateHeroInput!]!) { updateHeroes(input: $input) { heroes { id } } }";
        for (heroes, statements) in [(2, 9), (300, 9)] {
            let input: Vec<_> = (1..=heroes).map(|id| {
                let teams = if id % 2 == 0 { json!({"set": [id % 10 + 1]}) } else { json!({
                    "create": [team(1_000)], "connect": [id % 10 + 1], "disconnect": [(id + 1) % 10 + 1],
                    "connectOrCreate": [team(id), team(2_000)]}) };
                json!({"id": id, "name": format!("New name of {heroes} {id}"), "teams": teams})
            }).collect();
            let sent = app.statements_of(update, json!({"input": input})).await;
            // Look up the heroes, the teams by key and the teams by value; make teams; update; unlink twice; link;
            // write the events.
            assert_eq!(sent.len(), statements, "{heroes}: {sent:#?}");
        }
        let unchanged: Vec<_> = (1..=300).map(|id| json!({"id": id, "secretName": "S"})).collect();
        assert_eq!(app.statements_of(update, json!({"input": unchanged})).await.len(), 1);
    }

    async fn lists_of_teams(app: TestApp) {
        seed(app).await;
        let query = "mutation($input: [UpdateTeamInput!]!) { updateTeams(input: $input) { teams { id name \
                     headquarters heroes { name } } } }";
        let input = json!([
            {"id": 2, "headquarters": "New Tower", "heroes": {"disconnect": [1, 2]}},
            {"id": "Team:1", "name": "Z", "heroes": {"connectOrCreate": [{"name": "New", "secretName": "S"}]}},
            {"id": 3, "heroes": {"set": [2]}},
        ]);
        let data = app.data(query, json!({"input": input})).await;
        assert_eq!(data, json!({"updateTeams": {"teams": [
            {"id": "Team:2", "name": "Preventers", "headquarters": "New Tower", "heroes": [{"name": "Spider-Boy"}]},
            {"id": "Team:1", "name": "Z", "headquarters": "Sister Margaret's Bar", "heroes": [{"name": "Deadpond"}, {"name": "New"}]},
            {"id": "Team:3", "name": "Third", "headquarters": "H", "heroes": [{"name": "Rusty-Man"}]},
        ]}}));
        let before = app.rows().await;
        let input = json!([{"id": 1, "name": null, "headquarters": null}, {"id": 1, "heroes": {"connect": [2], "disconnect": ["x", 2]}}]);
        let answer = app.graphql_with(query, json!({"input": input})).await;
        let places: Vec<_> = answer["errors"].as_array().expect("errors").iter().map(|error| error["extensions"]["argumentPath"].clone()).collect();
        assert_eq!(json!(places), json!([
            ["input", 0, "name"], ["input", 0, "headquarters"], ["input", 1, "heroes", "disconnect", 0],
            ["input", 1, "heroes", "disconnect", 1], ["input", 1, "id"],
        ]));
        let answer = app.graphql_with(query, json!({"input": [{"id": 1, "heroes": {"disconnect": [1, 98], "connect": [99]}}]})).await;
        let errors: Vec<_> = answer["errors"].as_array().expect("errors").iter().map(|error| error["extensions"].clone()).collect();
        assert_eq!(json!(errors), json!([
            {"code": "NOT_FOUND", "argumentPath": ["input", 0, "heroes", "connect", 0]},
            {"code": "NOT_FOUND", "argumentPath": ["input", 0, "heroes", "disconnect", 1]},
        ]));
        let answer = app.graphql_with(query, json!({"input": vec![json!({"id": 1}); 1_001]})).await;
        assert_eq!(answer["errors"][0]["extensions"], json!({"code": "BAD_USER_INPUT", "argumentPath": ["input"]}));
        assert_eq!(app.rows().await, before);
    }

    async fn unset_variables_of_one_operation_among_others(app: TestApp) {
        seed(app).await;
        let document = "query A($x: Int) { heroes(limit: $x) { ...Shared } }
            query B($x: ID!) { hero(id: $x) { ...Shared ...OnlyB } }
            fragment Shared on Hero { name } fragment OnlyB on Hero { teams(limit: 1) { name } }";
        let body = json!({"query": document, "operationName": "A"}).to_string();
        let response = crate::support::post(&app.router, "application/json", body).await;
        assert_eq!(crate::support::json_body(response).await, json!({"data": {"heroes": [
            {"name": "Deadpond"}, {"name": "Rusty-Man"}, {"name": "Spider-Boy"}]}}));
        let body = json!({"query": document, "operationName": "B", "variables": {"x": 2}}).to_string();
        let response = crate::support::post(&app.router, "application/json", body).await;
        assert_eq!(crate::support::json_body(response).await, json!({"data": {"hero": {
            "name": "Rusty-Man", "teams": [{"name": "Preventers"}]}}}));
    }
}
