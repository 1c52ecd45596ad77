//! The number of statements depends on the depth of a query, never on the number of rows.

use serde_json::json;

use crate::support::{TestApp, on_both_databases};

async fn create(app: &TestApp, heroes: usize) {
    let input: Vec<_> = (0..heroes)
        .map(|hero| {
            let team = |number| json!({"name": format!("Team {number}"), "headquarters": "Here"});
            json!({"name": format!("Hero {hero}"), "secretName": "Nobody",
                   "teams": {"connectOrCreate": [team(hero % 5), team(hero % 50)]}})
        })
        .collect();
    let query = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
    app.data(query, json!({"input": input})).await;
}

on_both_databases! {
    async fn one_statement_for_each_level(app: TestApp) {
        let queries = [
            (1, "{ heroes(limit: 1000) { name } }"),
            (2, "{ heroes(limit: 1000) { name teams { name } } }"),
            (3, "{ heroes(limit: 1000) { name teams { name heroes(limit: 1000) { name } } } }"),
            // What the request has read already is not read again.
            (3, "{ heroes(limit: 1000) { name teams { name heroes(limit: 1000) { name teams { name } } } } }"),
            (4, "{ heroes(limit: 1) { teams { heroes(limit: 1000) { teams(limit: 500) { name } } } } }"),
            (3, "{ teams(limit: 1000) { heroes(limit: 1000) { teams { name } } } }"),
            // Each set of arguments is a batch of its own.
            (3, "{ heroes(limit: 1000) { a: teams(limit: 1) { name } b: teams(limit: 1, offset: 1) { name } c: \
                 teams(limit: 1) { id } } }"),
            (3, "{ teams(limit: 2) { heroes(limit: 1000) { teams { name } } } }"),
            // Fields of one level share a statement, however they are written.
            (1, r#"{ a: hero(id: 1) { name } b: hero(id: 2) { name } c: node(id: "Hero:3") { id } }"#),
            (1, "{ a: hero(id: 1) { name } ...F ... { c: hero(id: 3) { name } } } \
                 fragment F on Query { b: hero(id: 2) { name } }"),
            (2, "{ heroes(limit: 1000) { a: teams(limit: 1) { name } ... { ...F } } } \
                 fragment F on Hero { b: teams(limit: 1) { id } }"),
            (2, "{ ...F } fragment F on Query { a: heroes(limit: 1) { ...G } b: heroes(limit: 1) { ...G } } \
                 fragment G on Hero { teams(limit: 1) { name } }"),
        ];
        create(app, 3).await;
        let few: Vec<_> = count_each(app, &queries).await;
        create(app, 297).await;
        let many: Vec<_> = count_each(app, &queries).await;
        assert_eq!(few, queries.iter().map(|(statements, _)| *statements).collect::<Vec<_>>());
        assert_eq!(many, few);
    }

    async fn a_batch_is_one_text_whatever_the_number_of_keys(app: TestApp) {
        create(app, 300).await;
        let few = app.statements_of("{ heroes(limit: 3) { teams { name } } }", json!({})).await;
        let many = app.statements_of("{ heroes(limit: 300) { teams { name } } }", json!({})).await;
        assert_eq!(few, many);
        let few = app.statements_of(r#"{ nodes(ids: ["Hero:1"]) { id } }"#, json!({})).await;
        let many = app.statements_of(r#"{ nodes(ids: ["Hero:1", "Hero:2", "Hero:3"]) { id } }"#, json!({})).await;
        assert_eq!(few, many);
    }

    async fn relations_are_right_for_each_parent(app: TestApp) {
        create(app, 300).await;
        let data = app.data("{ heroes(limit: 1000) { name teams { name } } }", json!({})).await;
        assert_eq!(data["heroes"].as_array().map(Vec::len), Some(300));
        for (hero, row) in data["heroes"].as_array().expect("a list").iter().enumerate() {
            let mut teams = vec![hero % 5, hero % 50];
            teams.sort_by_key(|team| (*team >= 5, *team));
            teams.dedup();
            let teams: Vec<_> = teams.iter().map(|team| json!({"name": format!("Team {team}")})).collect();
            assert_eq!(*row, json!({"name": format!("Hero {hero}"), "teams": teams}));
        }
        let data = app.data("{ teams { name heroes(limit: 2, offset: 1) { name } } }", json!({})).await;
        assert_eq!(data["teams"].as_array().map(Vec::len), Some(50));
        for (team, row) in data["teams"].as_array().expect("a list").iter().enumerate() {
            let step = if team < 5 { 5 } else { 50 };
            let heroes = [team + step, team + 2 * step].map(|hero| json!({"name": format!("Hero {hero}")}));
            assert_eq!(*row, json!({"name": format!("Team {team}"), "heroes": heroes}));
        }
    }

    async fn parents_without_children(app: TestApp) {
        let query = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { teams { name } } }
            createTeam(input: {name: "A", headquarters: "B"}) { team { heroes { name } } } }"#;
        let data = app.data(query, json!({})).await;
        assert_eq!(data, json!({"createHero": {"hero": {"teams": []}}, "createTeam": {"team": {"heroes": []}}}));
    }
}

async fn count_each(app: &TestApp, queries: &[(usize, &str)]) -> Vec<usize> {
    let mut counts = Vec::new();
    for (_, query) in queries {
        counts.push(app.statements_of(query, json!({})).await.len());
    }
    counts
}
