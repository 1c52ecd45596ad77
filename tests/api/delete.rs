//! Deletions: the payload has the object as it was, and its links are gone.

use serde_json::{Value, json};

use crate::support::{TestApp, on_both_databases};

async fn seed(app: &TestApp) {
    hero_teams::store::seed::tutorial(&app.db).await.expect("the tutorial's data");
}

fn not_found(message: &str, field: &str, place: Value, column: u32) -> Value {
    json!({"data": {field: null}, "errors": [{
        "message": message, "locations": [{"line": 1, "column": column}], "path": [field],
        "extensions": {"code": "NOT_FOUND", "argumentPath": place},
    }]})
}

on_both_databases! {
    async fn the_payload_has_the_object_as_it_was(app: TestApp) {
        seed(app).await;
        let query = r#"mutation { deleteTeam(input: {id: "Team:2"}) { team {
            id name heroCount heroes(orderBy: {field: NAME, direction: DESC}, limit: 2) { name teamCount teams { name } }
            heroesConnection(first: 1) { totalCount nodes { name } pageInfo { hasNextPage } } } } }"#;
        assert_eq!(app.data(query, json!({})).await, json!({"deleteTeam": {"team": {
            "id": "Team:2", "name": "Preventers", "heroCount": 3,
            "heroes": [
                {"name": "Spider-Boy", "teamCount": 1, "teams": [{"name": "Preventers"}]},
                {"name": "Rusty-Man", "teamCount": 1, "teams": [{"name": "Preventers"}]},
            ],
            "heroesConnection": {"totalCount": 3, "nodes": [{"name": "Deadpond"}], "pageInfo": {"hasNextPage": true}},
        }}}));
        assert_eq!(app.counts().await, [3, 1, 1]);
        let answer = app.graphql(r#"mutation { deleteTeam(input: {id: "Team:2"}) { team { id } } }"#).await;
        assert_eq!(answer, not_found("there is no Team with the id \"Team:2\"", "deleteTeam", json!(["input", "id"]), 12));
        // An id is never used again.
        let query = r#"mutation { createTeam(input: {name: "New", headquarters: "H"}) { team { id } } }"#;
        assert_eq!(app.data(query, json!({})).await, json!({"createTeam": {"team": {"id": "Team:3"}}}));
    }

    async fn lists(app: TestApp) {
        seed(app).await;
        let query = "mutation($input: [DeleteHeroInput!]!) { deleteHeroes(input: $input) { heroes { name teams { name \
                     } } } }";
        let before = app.rows().await;
        let answer = app.graphql_with(query, json!({"input": [{"id": 1}, {"id": 99}]})).await;
        assert_eq!(answer, not_found("there is no Hero with the id \"Hero:99\"", "deleteHeroes", json!(["input", 1, "id"]), 41));
        let answer = app.graphql_with(query, json!({"input": [{"id": 1}, {"id": "Team:1"}]})).await;
        assert_eq!(answer["errors"][0]["extensions"], json!({"code": "BAD_USER_INPUT", "argumentPath": ["input", 1, "id"]}));
        let answer = app.graphql_with(query, json!({"input": vec![json!({"id": 1}); 1_001]})).await;
        assert_eq!(answer["errors"][0]["extensions"], json!({"code": "BAD_USER_INPUT", "argumentPath": ["input"]}));
        assert_eq!(app.rows().await, before);

        let data = app.data(query, json!({"input": [{"id": 3}, {"id": "Hero:1"}, {"id": "3"}]})).await;
        assert_eq!(data, json!({"deleteHeroes": {"heroes": [
            {"name": "Spider-Boy", "teams": [{"name": "Preventers"}]},
            {"name": "Deadpond", "teams": [{"name": "Z-Force"}, {"name": "Preventers"}]},
        ]}}));
        assert_eq!(app.counts().await, [1, 2, 1]);
        assert_eq!(app.data(query, json!({"input": []})).await, json!({"deleteHeroes": {"heroes": []}}));
    }

    async fn later_fields_read_what_is_left(app: TestApp) {
        seed(app).await;
        let query = "mutation {
            a: updateTeam(input: {id: 1, name: \"Z\"}) { team { heroes { name teams { name } } } }
            b: deleteHero(input: {id: 1}) { hero { name teams { name heroes { name } } } }
            c: updateTeam(input: {id: 1, heroes: {connect: [2]}}) { team { name heroes { name } } }
            d: deleteHero(input: {id: 1}) { hero { name } }
            e: createHero(input: {name: \"E\", secretName: \"E\", teams: {connect: [1]}}) { hero { teams { heroes { name } } } } }";
        let answer = app.graphql(query).await;
        assert_eq!(answer["data"], json!({
            "a": {"team": {"heroes": [{"name": "Deadpond", "teams": [{"name": "Z"}, {"name": "Preventers"}]}]}},
            "b": {"hero": {"name": "Deadpond", "teams": [
                {"name": "Z", "heroes": [{"name": "Deadpond"}]},
                {"name": "Preventers", "heroes": [{"name": "Deadpond"}, {"name": "Rusty-Man"}, {"name": "Spider-Boy"}]}]}},
            "c": {"team": {"name": "Z", "heroes": [{"name": "Rusty-Man"}]}},
            "d": null,
            "e": {"hero": {"teams": [{"heroes": [{"name": "Rusty-Man"}, {"name": "E"}]}]}},
        }));
        assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1));
    }

    async fn a_payload_that_fails_does_not_undo_the_deletion(app: TestApp) {
        seed(app).await;
        let answer = app.graphql("mutation { deleteHero(input: {id: 1}) { hero { teams(limit: 5000) { name } } } }").await;
        // A payload is null only when nothing was written.
        assert_eq!(answer["data"], json!({"deleteHero": {"hero": null}}));
        assert_eq!(answer["errors"][0]["path"], json!(["deleteHero", "hero", "teams"]));
        assert_eq!(app.counts().await, [2, 2, 2]);
    }

    async fn from_the_side_of_the_teams(app: TestApp) {
        seed(app).await;
        let query = "mutation($input: [DeleteTeamInput!]!) { deleteTeams(input: $input) { teams { name heroes { name \
                     } } } }";
        let data = app.data(query, json!({"input": [{"id": "Team:2"}, {"id": 1}, {"id": 2}]})).await;
        assert_eq!(data, json!({"deleteTeams": {"teams": [
            {"name": "Preventers", "heroes": [{"name": "Deadpond"}, {"name": "Rusty-Man"}, {"name": "Spider-Boy"}]},
            {"name": "Z-Force", "heroes": [{"name": "Deadpond"}]},
        ]}}));
        assert_eq!(app.counts().await, [3, 0, 0]);
        let answer = app.graphql_with(query, json!({"input": [{"id": 1}]})).await;
        assert_eq!(answer, not_found("there is no Team with the id \"Team:1\"", "deleteTeams", json!(["input", 0, "id"]), 41));
    }
}
