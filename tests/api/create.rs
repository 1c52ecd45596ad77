//! Nested creation, on both sides.

use std::collections::HashSet;

use serde_json::json;

use crate::support::{TestApp, on_both_databases};

const CREATE_HERO: &str =
    "mutation($input: CreateHeroInput!) { createHero(input: $input) { hero { name teams { id name } } } }";
const CREATE_HEROES: &str =
    "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id name } } }";
const CREATE_TEAM: &str =
    "mutation($input: CreateTeamInput!) { createTeam(input: $input) { team { id heroes { name age } } } }";

on_both_databases! {
    async fn all_three_instructions_together(app: TestApp) {
        app.data(CREATE_TEAM, json!({"input": {"name": "Z-Force", "headquarters": "Bar"}})).await;
        app.data(CREATE_TEAM, json!({"input": {"name": "Preventers", "headquarters": "Tower"}})).await;
        let input = json!({"name": "Deadpond", "secretName": "Dive Wilson", "teams": {
            "create": [{"name": "New", "headquarters": "Here"}, {"name": "Z-Force", "headquarters": "Bar"}],
            "connect": ["Team:1", "1", "2"],
            "connectOrCreate": [
                {"name": "Preventers", "headquarters": "Tower"},
                {"name": "Found", "headquarters": "There"},
                {"name": "Found", "headquarters": "There"},
            ],
        }});
        let data = app.data(CREATE_HERO, json!({"input": input})).await;
        assert_eq!(data, json!({"createHero": {"hero": {"name": "Deadpond", "teams": [
            {"id": "Team:1", "name": "Z-Force"},
            {"id": "Team:2", "name": "Preventers"},
            {"id": "Team:3", "name": "Found"},
            {"id": "Team:4", "name": "New"},
            {"id": "Team:5", "name": "Z-Force"},
        ]}}}));
        assert_eq!(app.counts().await, [1, 5, 5]);
    }

    async fn connect_or_create_needs_exactly_these_values(app: TestApp) {
        for age in [json!(null), json!(0), json!(48)] {
            let hero = json!({"name": "Rusty-Man", "secretName": "Tommy Sharp", "age": age});
            let input = json!({"name": "Preventers", "headquarters": "Tower", "heroes": {"connectOrCreate": [hero]}});
            for _ in 0..2 {
                let data = app.data(CREATE_TEAM, json!({"input": input})).await;
                assert_eq!(data["createTeam"]["team"]["heroes"], json!([{"name": "Rusty-Man", "age": age}]));
            }
        }
        for name in ["rusty-man", "Rusty-Man "] {
            let hero = json!({"name": name, "secretName": "Tommy Sharp", "age": 48});
            let input = json!({"name": "Preventers", "headquarters": "Tower", "heroes": {"connectOrCreate": [hero]}});
            app.data(CREATE_TEAM, json!({"input": input})).await;
        }
        assert_eq!(app.counts().await, [5, 8, 8]);
    }

    async fn what_is_connected_twice_is_linked_once(app: TestApp) {
        let team = json!({"name": "Z-Force", "headquarters": "Bar"});
        app.data(CREATE_TEAM, json!({"input": team})).await;
        for teams in [
            json!({"connect": ["1", "Team:1"]}),
            json!({"connect": [1, 1, 1], "create": [team]}),
            json!({"connect": [1, 1], "connectOrCreate": [team, team]}),
        ] {
            let hero = json!({"name": "Deadpond", "secretName": "Dive Wilson", "teams": teams});
            let data = app.data(CREATE_HERO, json!({"input": hero})).await;
            assert_eq!(data["createHero"]["hero"]["teams"][0]["name"], json!("Z-Force"));
        }
        let team = json!({"name": "Preventers", "headquarters": "Tower", "heroes": {"connect": ["Hero:1", 1]}});
        let data = app.data(CREATE_TEAM, json!({"input": team})).await;
        assert_eq!(data["createTeam"]["team"]["heroes"].as_array().map(Vec::len), Some(1));
        assert_eq!(app.counts().await, [3, 3, 5]);
    }

    async fn connect_or_create_takes_the_oldest(app: TestApp) {
        let team = json!({"name": "Z-Force", "headquarters": "Bar"});
        for _ in 0..3 {
            app.data(CREATE_TEAM, json!({"input": team})).await;
        }
        let input = json!({"name": "Deadpond", "secretName": "Dive", "teams": {"connectOrCreate": [team]}});
        let data = app.data(CREATE_HERO, json!({"input": input})).await;
        assert_eq!(data["createHero"]["hero"]["teams"], json!([{"id": "Team:1", "name": "Z-Force"}]));
    }

    async fn values_are_kept_as_they_are(app: TestApp) {
        let names = ["  spaces ", "O'Brien \"; DROP TABLE hero; --", "%_\\", "{\"json\": [1]}", "Ünïcödé 🦸‍♂️ \u{202e}", "\t\n\u{1}",
            "null", "\u{feff}x", &"é".repeat(200)];
        let input: Vec<_> = names.iter().map(|name| json!({"name": name, "secretName": name, "age": 1_000_000})).collect();
        let data = app.data(CREATE_HEROES, json!({"input": input})).await;
        let expected: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(index, name)| json!({"id": format!("Hero:{}", index + 1), "name": name}))
            .collect();
        assert_eq!(data["createHeroes"]["heroes"], json!(expected));
        let rows = app.rows().await;
        let read: Vec<_> = rows["heroes"].as_array().expect("a list").iter().map(|hero| &hero["secretName"]).collect();
        assert_eq!(json!(read), json!(names));
    }

    async fn a_thousand_heroes_are_a_handful_of_statements(app: TestApp) {
        let team = |number: usize| json!({"name": format!("Team {number}"), "headquarters": "Here"});
        let input: Vec<_> = (0..1_000)
            .map(|hero| json!({
                "name": format!("Hero {hero}"), "secretName": "Nobody", "age": hero,
                "teams": {"connectOrCreate": [team(hero % 7), team(hero % 500), team(hero % 501)], "create": [team(hero)]},
            }))
            .collect();
        let statements = app.statements_of(CREATE_HEROES, json!({"input": input})).await;
        assert_eq!(statements.len(), 5, "{statements:#?}");
        let links: usize =
            (0..1_000).map(|hero| 1 + HashSet::from([hero % 7, hero % 500, hero % 501]).len()).sum();
        assert_eq!(app.counts().await, [1_000, 1_501, i64::try_from(links).expect("it is small")]);

        // Each hero is linked to the teams of its own input, and not to those of a neighbour.
        let data = app.data("{ heroes(limit: 1000) { name teams { name } } }", json!({})).await;
        for (number, hero) in data["heroes"].as_array().expect("a list").iter().enumerate() {
            assert_eq!(hero["name"], json!(format!("Hero {number}")));
            let teams: HashSet<_> =
                hero["teams"].as_array().expect("a list").iter().filter_map(|team| team["name"].as_str()).collect();
            let expected: HashSet<_> =
                [number % 7, number % 500, number % 501, number].map(|team| format!("Team {team}")).into();
            assert_eq!(teams, expected.iter().map(String::as_str).collect(), "hero {number}");
        }
    }

    async fn equal_new_heroes_are_each_a_row_of_their_own(app: TestApp) {
        let hero = |team: &str| json!({
            "name": "Twin", "secretName": "Same", "teams": {"create": [{"name": team, "headquarters": "Here"}]},
        });
        let query = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id teams { name } \
                     } } }";
        let data = app.data(query, json!({"input": [hero("A"), hero("B"), hero("C")]})).await;
        assert_eq!(data, json!({"createHeroes": {"heroes": [
            {"id": "Hero:1", "teams": [{"name": "A"}]},
            {"id": "Hero:2", "teams": [{"name": "B"}]},
            {"id": "Hero:3", "teams": [{"name": "C"}]},
        ]}}));
    }

    async fn nothing_to_create_is_nothing(app: TestApp) {
        let statements = app.statements_of(CREATE_HEROES, json!({"input": []})).await;
        assert_eq!(statements, Vec::<String>::new());
        let teams = json!({"create": [], "connect": [], "connectOrCreate": []});
        for teams in [json!(null), json!({}), teams] {
            app.data(CREATE_HERO, json!({"input": {"name": "A", "secretName": "B", "teams": teams}})).await;
        }
        assert_eq!(app.counts().await, [3, 0, 0]);
    }

    async fn fields_run_one_after_another_and_read_what_was_written(app: TestApp) {
        let query = r#"mutation {
            a: createHero(input: {name: "A", secretName: "A", teams: {connectOrCreate: [{name: "T", headquarters: "H"}]}}) {
                hero { teams { heroes { name } } }
            }
            b: createHero(input: {name: "", secretName: "B"}) { hero { name } }
            c: createHero(input: {name: "C", secretName: "C", teams: {connect: ["Team:1"]}}) {
                hero { teams { heroes { name } } }
            }
        }"#;
        let answer = app.graphql(query).await;
        assert_eq!(answer["data"], json!({
            "a": {"hero": {"teams": [{"heroes": [{"name": "A"}]}]}},
            "b": null,
            "c": {"hero": {"teams": [{"heroes": [{"name": "A"}, {"name": "C"}]}]}},
        }));
        assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1));
        assert_eq!(answer["errors"][0]["path"], json!(["b"]));
    }
}

const CREATE_AND_READ: &str = "mutation($input: CreateHeroInput!) { createHero(input: $input) {
    heroEdge { cursor node { name teams { name } } } hero { name } again: heroEdge { node { id } }
    query { heroes { name } hero(id: 1) { name } teams { name heroCount } heroes { id } } } }";

on_both_databases! {
    async fn an_edge_and_the_query_root_in_a_payload(app: TestApp) {
        let input = json!({"input": {"name": "A", "secretName": "a", "teams": {"create": [{"name": "T", "headquarters": "H"}]}}});
        let mut payload = app.data(CREATE_AND_READ, input.clone()).await["createHero"].take();
        let cursor = payload["heroEdge"].as_object_mut().and_then(|edge| edge.remove("cursor")).expect("a cursor");
        assert_eq!(payload.to_string(), json!({
            "again": {"node": {"id": "Hero:1"}},
            "hero": {"name": "A"},
            "heroEdge": {"node": {"name": "A", "teams": [{"name": "T"}]}},
            "query": {"hero": {"name": "A"}, "heroes": [{"id": "Hero:1", "name": "A"}], "teams": [{"heroCount": 1, "name": "T"}]},
        }).to_string());
        app.data(CREATE_AND_READ, input.clone()).await;
        // The cursor is one of the connection in its default order.
        let query = "query($after: String) { heroesConnection(after: $after) { nodes { id } } }";
        let data = app.data(query, json!({"after": cursor})).await;
        assert_eq!(data, json!({"heroesConnection": {"nodes": [{"id": "Hero:2"}]}}));

        // What was deleted is as it was, and does not exist any more for what is read after it.
        let query = "mutation { deleteHero(input: {id: 1}) { before: hero { name teams { name } } query { heroes { id } }
            also: query { hero(id: 1) { id } node(id: \"Team:1\") { id } } hero { id } } }";
        assert_eq!(app.data(query, json!({})).await, json!({"deleteHero": {
            "before": {"name": "A", "teams": [{"name": "T"}]}, "query": {"heroes": [{"id": "Hero:2"}]},
            "also": {"hero": null, "node": {"id": "Team:1"}}, "hero": {"id": "Hero:1"},
        }}));

        // An error is that of its field, and what was written stays written.
        let query = r#"mutation { updateTeam(input: {id: 1, name: "U"}) { team { name } query { hero(id: "Team:1") { id } } } }"#;
        let answer = app.graphql(query).await;
        assert_eq!(answer["data"], json!({"updateTeam": {"team": {"name": "U"}, "query": {"hero": null}}}));
        assert_eq!(answer["errors"][0]["path"], json!(["updateTeam", "query", "hero"]));
        let query = r#"mutation { updateTeam(input: {id: 1, name: "V"}) { query { heroes(limit: -1) { id } } } }"#;
        let answer = app.graphql(query).await;
        assert_eq!(answer["data"], json!({"updateTeam": null}));
        assert_eq!(answer["errors"][0]["path"], json!(["updateTeam", "query", "heroes"]));
        assert_eq!(app.data("{ teams { name } }", json!({})).await["teams"][0], json!({"name": "V"}));
        let query = "mutation { deleteTeam(input: {id: 1}) { query { __schema { queryType { name } } } } }";
        let answer = app.graphql(query).await;
        assert_eq!(answer["errors"][0]["message"], "`__schema` can be asked for in queries alone");
        assert_eq!(answer.get("data"), None);
    }
}
