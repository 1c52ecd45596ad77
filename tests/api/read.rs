//! Objects by id, lists, and how errors reach the answer.

use serde_json::{Value, json};

use crate::support::{TestApp, on_both_databases};

async fn seed(app: &TestApp) {
    hero_teams::store::seed::tutorial(&app.db).await.expect("the tutorial's data");
}

fn error(message: &str, path: Value, argument_path: Value, column: u32) -> Value {
    json!({
        "message": message,
        "locations": [{"line": 1, "column": column}],
        "path": path,
        "extensions": {"code": "BAD_USER_INPUT", "argumentPath": argument_path},
    })
}

on_both_databases! {
    async fn by_id_in_both_forms(app: TestApp) {
        seed(app).await;
        let query = r#"{ a: hero(id: "Hero:2") { id name } b: hero(id: "2") { name } c: hero(id: 2) { name }
            d: team(id: "Team:1") { name } e: hero(id: 99) { name } f: team(id: 9223372036854775807) { name } }"#;
        let data = app.data(query, json!({})).await;
        assert_eq!(data, json!({
            "a": {"id": "Hero:2", "name": "Rusty-Man"}, "b": {"name": "Rusty-Man"}, "c": {"name": "Rusty-Man"},
            "d": {"name": "Z-Force"}, "e": null, "f": null,
        }));
        // However many objects are asked for, it is one statement for each type.
        assert_eq!(app.statements_of(query, json!({})).await.len(), 2);
    }

    async fn ids_that_are_none(app: TestApp) {
        seed(app).await;
        let query = "query($id: ID!) { hero(id: $id) { name } }";
        for id in ["", "Hero:", "hero:1", "Hero:01", "Hero:-1", "Hero:1 ", " 1", "0", "+1", "1.0", "Hero:1:1", "Villain:1",
            "Hero:92233720368547758080", "１"]
        {
            let message = format!(r#"{id:?} is not an id; write "Hero:1" or "1""#);
            let answer = app.graphql_with(query, json!({"id": id})).await;
            assert_eq!(answer, json!({"data": {"hero": null}, "errors": [error(&message, json!(["hero"]), json!(["id"]), 19)]}));
        }
        // A message does not grow with what was sent.
        let answer = app.graphql_with(query, json!({"id": "é".repeat(100_000)})).await;
        let message = format!("\"{}\"… is not an id; write \"Hero:1\" or \"1\"", "é".repeat(40));
        assert_eq!(answer["errors"][0]["message"], json!(message));

        let message = r#""Team:2" is the id of a Team, where one of a Hero is expected: "Hero:2" or "2""#;
        let answer = app.graphql_with(query, json!({"id": "Team:2"})).await;
        assert_eq!(answer, json!({"data": {"hero": null}, "errors": [error(message, json!(["hero"]), json!(["id"]), 19)]}));
    }

    async fn nodes_keep_their_places(app: TestApp) {
        seed(app).await;
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Hero { name } ... on Team { \
                     headquarters } } }";
        let ids = json!(["Hero:1", "Team:2", "Hero:99", "Hero:1", "Team:99", "Hero:3"]);
        let data = app.data(query, json!({"ids": ids})).await;
        assert_eq!(data, json!({"nodes": [
            {"__typename": "Hero", "id": "Hero:1", "name": "Deadpond"},
            {"__typename": "Team", "id": "Team:2", "headquarters": "Sharp Tower"},
            null,
            {"__typename": "Hero", "id": "Hero:1", "name": "Deadpond"},
            null,
            {"__typename": "Hero", "id": "Hero:3", "name": "Spider-Boy"},
        ]}));
        assert_eq!(app.statements_of(query, json!({"ids": ids})).await.len(), 2);

        let answer = app.graphql_with(query, json!({"ids": ["1", "Hero:2"]})).await;
        let message = r#""1" is not a global id; write "Hero:1" or "Team:1""#;
        assert_eq!(answer, json!({
            "data": {"nodes": [null, {"__typename": "Hero", "id": "Hero:2", "name": "Rusty-Man"}]},
            "errors": [error(message, json!(["nodes", 0]), json!(["ids", 0]), 23)],
        }));
        let answer = app.graphql_with(query, json!({"ids": vec!["Hero:1"; 1_001]})).await;
        let message = "`ids` must have at most 1000 entries, not 1001";
        assert_eq!(answer, json!({"data": null, "errors": [error(message, json!(["nodes"]), json!(["ids"]), 23)]}));
    }

    async fn lists_are_in_the_order_of_their_ids_and_bounded(app: TestApp) {
        let input: Vec<_> = (1..=101).rev().map(|hero| json!({"name": format!("Hero {hero}"), "secretName": "S",
            "teams": {"connectOrCreate": [{"name": "All", "headquarters": "H"}]}})).collect();
        let query = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
        app.data(query, json!({"input": input})).await;

        let ids = |range: std::ops::RangeInclusive<i32>| json!(range.map(|id| json!({"id": format!("Hero:{id}")})).collect::<Vec<_>>());
        let data = app.data(
            "{ a: heroes { id } b: heroes(limit: 2, offset: 99) { id } c: heroes(limit: 0) { id } d: heroes(offset: 101) { id }
               e: heroes(limit: null, offset: null) { id }
               teams { a: heroes { id } b: heroes(limit: 2, offset: 99) { id } c: heroes(limit: 0) { id } d: heroes(offset: 101) { id } } }",
            json!({}),
        ).await;
        let lists = json!({"a": ids(1..=100), "b": ids(100..=101), "c": [], "d": []});
        for (name, list) in lists.as_object().expect("an object") {
            assert_eq!(data[name], *list, "heroes, {name}");
            assert_eq!(data["teams"][0][name], *list, "the heroes of the team, {name}");
        }
        assert_eq!(data["e"], lists["a"]);
    }

    async fn limits_out_of_range(app: TestApp) {
        seed(app).await;
        for (arguments, message, argument) in [
            ("limit: 1001", "`limit` must be from 0 to 1000, not 1001", "limit"),
            ("limit: -1", "`limit` must be from 0 to 1000, not -1", "limit"),
            ("offset: -1", "`offset` must be 0 or more, not -1", "offset"),
        ] {
            // A list of the root cannot be null, so there is no data.
            let answer = app.graphql(&format!("{{ heroes({arguments}) {{ id }} }}")).await;
            assert_eq!(answer, json!({"data": null, "errors": [error(message, json!(["heroes"]), json!([argument]), 3)]}));
            // Below an object that may be null, the object is.
            let answer = app.graphql(&format!("{{ hero(id: 1) {{ name teams({arguments}) {{ id }} }} team(id: 1) {{ \
                                               name }} }}")).await;
            assert_eq!(answer, json!({
                "data": {"hero": null, "team": {"name": "Z-Force"}},
                "errors": [error(message, json!(["hero", "teams"]), json!([argument]), 22)],
            }));
        }
    }

    async fn fields_come_in_the_order_of_the_query_and_merge(app: TestApp) {
        seed(app).await;
        let query = "query($yes: Boolean!, $no: Boolean!) { heroes(limit: 1) {
            teams { name } ...Named id ... on Node { __typename } ... on Hero { alias: name teams { ...Place } }
            age @skip(if: $yes) secretName @include(if: $no) ... on Team { headquarters } } }
            fragment Named on Hero { name id } fragment Place on Team { headquarters name }";
        let response = crate::support::post(&app.router, "application/json",
            json!({"query": query.replace("... on Team { headquarters }", ""), "variables": {"yes": true, "no": false}}).to_string()).await;
        let body = crate::support::text_body(response).await;
        assert_eq!(body, r#"{"data":{"heroes":[{"teams":[{"name":"Z-Force","headquarters":"Sister Margaret's Bar"},{"name":"Preventers","headquarters":"Sharp Tower"}],"name":"Deadpond","id":"Hero:1","__typename":"Hero","alias":"Deadpond"}]}}"#);
        // A field that is selected twice is loaded once.
        let query = "{ heroes { teams { name } teams { headquarters } } }";
        assert_eq!(app.statements_of(query, json!({})).await.len(), 2);
    }

    async fn what_the_database_says_stays_in_the_log(app: TestApp) {
        seed(app).await;
        app.execute("ALTER TABLE hero_team_link RENAME TO hidden").await;
        let answer = app.graphql("{ teams { name } hero(id: 1) { name teams { name } } }").await;
        assert_eq!(answer, json!({
            "data": {"teams": [{"name": "Z-Force"}, {"name": "Preventers"}], "hero": null},
            "errors": [{
                "message": "the server failed to do this; its log has the reason",
                "locations": [{"line": 1, "column": 37}],
                "path": ["hero", "teams"],
                "extensions": {"code": "INTERNAL"},
            }],
        }));
    }

    async fn errors_below_lists_have_the_whole_path(app: TestApp) {
        seed(app).await;
        for (query, data, path) in [
            ("{ heroes(limit: 1) { teams(limit: 5000) { id } } }", json!(null), json!(["heroes", 0, "teams"])),
            ("{ hero(id: 3) { teams { heroes(offset: -1) { id } } } }", json!({"hero": null}), json!(["hero", "teams", 0, "heroes"])),
            ("{ nodes(ids: [\"Hero:3\"]) { ... on Hero { teams(limit: 5000) { id } } } }", json!({"nodes": [null]}), json!(["nodes", 0, "teams"])),
            ("{ heroesConnection(first: 1) { edges { node { teams(limit: 5000) { id } } } } }", json!(null),
                json!(["heroesConnection", "edges", 0, "node", "teams"])),
            ("mutation { createHeroes(input: [{name: \"A\", secretName: \"B\"}]) { heroes { teams(limit: 5000) { id } \
              } } }",
                json!({"createHeroes": {"heroes": null}}), json!(["createHeroes", "heroes", 0, "teams"])),
        ] {
            let answer = app.graphql(query).await;
            assert_eq!(answer["data"], data, "{query}");
            assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1), "{answer}");
            assert_eq!(answer["errors"][0]["path"], path, "{query}");
        }
        // Each hero fails, and the first of the errors is told.
        let answer = app.graphql("{ heroes { teams(limit: 5000) { id } } }").await;
        assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1), "{answer}");
    }
}
