//! Connections (the Relay Cursor Connections specification): bounds, cursors, and pages while rows come and go.

use std::collections::BTreeSet;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::support::{TestApp, on_both_databases};

const PAGE: &str = "query($first: Int, $after: String, $last: Int, $before: String, $orderBy: [HeroOrder!]) {
    heroesConnection(first: $first, after: $after, last: $last, before: $before, orderBy: $orderBy) {
        edges { cursor node { name } } nodes { name } totalCount
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

async fn create(app: &TestApp, names: impl IntoIterator<Item = String>) {
    let input: Vec<_> = names.into_iter().map(|name| json!({"name": name, "secretName": "S"})).collect();
    let query = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
    app.data(query, json!({"input": input})).await;
}

async fn page(app: &TestApp, variables: Value) -> Value {
    app.data(PAGE, variables).await["heroesConnection"].take()
}

fn names(page: &Value) -> String {
    page["nodes"].as_array().expect("a list").iter().filter_map(|node| node["name"].as_str()).collect()
}

on_both_databases! {
    async fn every_combination_of_bounds(app: TestApp) {
        create(app, "abcdef".chars().map(String::from)).await;
        let all = page(app, json!({})).await;
        let cursor = |name: char| all["edges"]["abcdef".find(name).expect("it is there")]["cursor"].clone();
        for (variables, expected, has_next, has_previous) in [
            (json!({}), "abcdef", false, false),
            (json!({"first": 2}), "ab", true, false),
            (json!({"first": 6}), "abcdef", false, false),
            (json!({"first": 0}), "", true, false),
            (json!({"last": 2}), "ef", false, true),
            (json!({"last": 0}), "", false, true),
            (json!({"first": 2, "after": cursor('b')}), "cd", true, true),
            (json!({"first": 9, "after": cursor('b')}), "cdef", false, true),
            (json!({"first": 2, "after": cursor('f')}), "", false, true),
            (json!({"last": 2, "before": cursor('e')}), "cd", true, true),
            (json!({"last": 9, "before": cursor('c')}), "ab", true, false),
            (json!({"last": 2, "before": cursor('a')}), "", true, false),
            // With `first` only what is up to `before` counts, and with `last` only what is behind `after`.
            (json!({"first": 9, "before": cursor('d')}), "abc", false, false),
            (json!({"first": 2, "before": cursor('d')}), "ab", true, false),
            (json!({"last": 9, "after": cursor('d')}), "ef", false, false),
            (json!({"last": 1, "after": cursor('d')}), "f", false, true),
            (json!({"first": 1, "after": cursor('b'), "before": cursor('e')}), "c", true, true),
            (json!({"first": 9, "after": cursor('b'), "before": cursor('e')}), "cd", false, true),
            (json!({"last": 1, "after": cursor('b'), "before": cursor('e')}), "d", true, true),
            (json!({"last": 9, "after": cursor('e'), "before": cursor('b')}), "", true, false),
            (json!({"after": cursor('d')}), "ef", false, true),
            (json!({"before": cursor('c')}), "ab", true, false),
        ] {
            let page = page(app, variables.clone()).await;
            assert_eq!(names(&page), expected, "{variables}");
            let edges = page["edges"].as_array().expect("a list");
            let nodes: Vec<_> = edges.iter().map(|edge| edge["node"].clone()).collect();
            assert_eq!(page["nodes"], json!(nodes), "{variables}");
            let end = |edge: Option<&Value>| edge.map_or(json!(null), |edge| edge["cursor"].clone());
            assert_eq!(page["pageInfo"], json!({
                "hasNextPage": has_next, "hasPreviousPage": has_previous,
                "startCursor": end(edges.first()), "endCursor": end(edges.last()),
            }), "{variables}");
            assert_eq!(page["totalCount"], json!(6), "{variables}");
        }
    }

    async fn what_is_no_page(app: TestApp) {
        create(app, "abc".chars().map(String::from)).await;
        let query = r"{ heroesConnection(orderBy: {field: NAME}) { pageInfo { endCursor } }
            age: heroesConnection(orderBy: {field: AGE}) { pageInfo { endCursor } }
            teams: team(id: 1) { heroesConnection { pageInfo { endCursor } } } }";
        let data = app.data(query, json!({})).await;
        let by_name = data["heroesConnection"]["pageInfo"]["endCursor"].as_str().expect("a cursor");
        let by_age = data["age"]["pageInfo"]["endCursor"].as_str().expect("a cursor");
        let by_id = page(app, json!({})).await["pageInfo"]["endCursor"].as_str().expect("a cursor").to_owned();
        let other_order = "is a cursor of another order; give the `orderBy` that it was made under";
        let encode = |text: &str| {
            use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
            URL_SAFE_NO_PAD.encode(text)
        };
        let other_list = encode(r#"["Query.teamsConnection","id+",[1]]"#);
        let wrong_key = encode(r#"["Query.heroesConnection","id+",["1"]]"#);
        let null_key = encode(r#"["Query.heroesConnection","id+",[null]]"#);
        let no_key = encode(r#"["Query.heroesConnection","id+",[]]"#);
        let huge_key = encode(r#"["Query.heroesConnection","id+",[99999999999999999999]]"#);
        let garbage = "is not a cursor";
        for (variables, argument, message) in [
            (json!({"first": -1}), "first", "must be from 0 to 1000, not -1"),
            (json!({"first": 1001}), "first", "must be from 0 to 1000, not 1001"),
            (json!({"last": -1}), "last", "must be from 0 to 1000, not -1"),
            (json!({"last": 1001}), "last", "must be from 0 to 1000, not 1001"),
            (json!({"first": 1, "last": 1}), "last", "must not be given together with `first`"),
            (json!({"after": ""}), "after", garbage),
            (json!({"after": "x"}), "after", garbage),
            (json!({"before": "Hero:1"}), "before", garbage),
            (json!({"before": encode("[]")}), "before", garbage),
            (json!({"after": wrong_key}), "after", garbage),
            (json!({"after": null_key}), "after", garbage),
            (json!({"after": no_key}), "after", garbage),
            (json!({"after": huge_key}), "after", garbage),
            (json!({"after": other_list}), "after", "is a cursor of another list than `Query.heroesConnection`"),
            (json!({"after": by_name}), "after", other_order),
            (json!({"before": by_age}), "before", other_order),
            (json!({"after": by_id, "orderBy": [{"field": "ID", "direction": "DESC"}]}), "after", other_order),
            (json!({"after": by_age, "orderBy": [{"field": "AGE", "nulls": "FIRST"}]}), "after", other_order),
        ] {
            let answer = app.graphql_with(PAGE, variables.clone()).await;
            assert_eq!(answer, json!({"data": null, "errors": [{
                "message": format!("`{argument}` {message}"),
                "locations": [{"line": 2, "column": 5}],
                "path": ["heroesConnection"],
                "extensions": {"code": "BAD_USER_INPUT", "argumentPath": [argument]},
            }]}), "{variables}");
        }
    }

    async fn a_cursor_serves_all_parents(app: TestApp) {
        let query = "mutation($input: [CreateTeamInput!]!) { createTeams(input: $input) { teams { id } } }";
        let hero = |name: &str| json!({"name": name, "secretName": "S"});
        let team = |heroes: &str| json!({"name": "T", "headquarters": "H",
            "heroes": {"create": heroes.chars().map(|name| hero(&name.to_string())).collect::<Vec<_>>()}});
        app.data(query, json!({"input": [team("adgh"), team("bcf"), team("")]})).await;
        let query = "query($after: String) { teams { heroesConnection(first: 2, after: $after, orderBy: {field: NAME}) {
            nodes { name } totalCount pageInfo { endCursor hasNextPage hasPreviousPage } } } }";
        let summary = |data: &Value| -> Vec<(String, Value, Value, Value)> {
            data["teams"].as_array().expect("a list").iter().map(|team| {
                let page = &team["heroesConnection"];
                let info = &page["pageInfo"];
                (names(page), page["totalCount"].clone(), info["hasNextPage"].clone(), info["hasPreviousPage"].clone())
            }).collect()
        };
        let row = |names: &str, total: i32, next: bool, previous: bool| (names.to_owned(), json!(total), json!(next), json!(previous));
        let data = app.data(query, json!({})).await;
        assert_eq!(summary(&data), [row("ad", 4, true, false), row("bc", 3, true, false), row("", 0, false, false)]);
        let after = json!({"after": data["teams"][0]["heroesConnection"]["pageInfo"]["endCursor"]});
        let data = app.data(query, after.clone()).await;
        assert_eq!(summary(&data), [row("gh", 4, false, true), row("f", 3, false, true), row("", 0, false, false)]);
        // One for the teams, and for all of them together: their pages, whether there is something before, their
        // totals.
        assert_eq!(app.statements_of(query, after).await.len(), 4);
    }

    async fn pages_while_rows_come_and_go(app: TestApp) {
        let mut rng = Rng::with_seed(3);
        for round in 0..6 {
            app.execute("DELETE FROM hero").await;
            let stay: BTreeSet<String> = (0..60).map(|_| format!("stay {:03}", rng.u32(0..500))).collect();
            create(app, stay.iter().cloned()).await;
            let (length, bound, end, more, direction) = match round % 4 {
                0 => ("first", "after", "endCursor", "hasNextPage", "ASC"),
                1 => ("last", "before", "startCursor", "hasPreviousPage", "ASC"),
                2 => ("first", "after", "endCursor", "hasNextPage", "DESC"),
                _ => ("last", "before", "startCursor", "hasPreviousPage", "DESC"),
            };
            let mut seen = Vec::new();
            let mut cursor = json!(null);
            loop {
                let variables = json!({length: 7, bound: cursor, "orderBy": [{"field": "NAME", "direction": direction}]});
                let mut page = page(app, variables).await;
                let names = page["nodes"].as_array().expect("a list").iter().filter_map(|node| node["name"].as_str());
                seen.extend(names.map(str::to_owned));
                if page["pageInfo"][more] == json!(false) {
                    break;
                }
                cursor = page["pageInfo"][end].take();
                // What comes and goes is all over the list, the row of the cursor included.
                create(app, (0..5).map(|_| format!("come {:03}", rng.u32(0..500)))).await;
                create(app, (0..3).map(|_| format!("stay {:03} x", rng.u32(0..500)))).await;
                app.execute("DELETE FROM hero WHERE name LIKE 'come%' OR name LIKE 'stay%x' AND id % 2 = 0").await;
            }
            let seen_to_stay: Vec<_> = seen.iter().filter(|name| stay.contains(*name)).collect();
            assert_eq!(seen_to_stay.len(), stay.len(), "each row that stays is seen once");
            assert_eq!(seen_to_stay.into_iter().collect::<BTreeSet<_>>().len(), stay.len());
            assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "no row is seen twice");
        }
    }
}
