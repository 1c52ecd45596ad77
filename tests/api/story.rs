//! The story of the tutorial, value by value as the tutorial prints it.

use serde_json::json;

use crate::support::{TestApp, on_both_databases};

const STORY: &str = include_str!("../../playground/src/tabs/tutorial-story.graphql");

on_both_databases! {
    async fn one_mutation_creates_the_heroes_with_their_teams(app: TestApp) {
        let z_force = json!({"id": "Team:1", "name": "Z-Force", "headquarters": "Sister Margaret's Bar"});
        let preventers = json!({"id": "Team:2", "name": "Preventers", "headquarters": "Sharp Tower"});
        let heroes = |first: i64| json!([
            {
                "id": format!("Hero:{first}"), "name": "Deadpond", "secretName": "Dive Wilson", "age": null,
                "teams": [z_force, preventers],
            },
            {
                "id": format!("Hero:{}", first + 1), "name": "Rusty-Man", "secretName": "Tommy Sharp", "age": 48,
                "teams": [preventers],
            },
            {
                "id": format!("Hero:{}", first + 2), "name": "Spider-Boy", "secretName": "Pedro Parqueador",
                "age": null, "teams": [preventers],
            },
        ]);
        assert_eq!(app.graphql(STORY).await, json!({"data": {"createHeroes": {"heroes": heroes(1)}}}));
        assert_eq!(app.counts().await, [3, 2, 4]);

        // Told again, the teams are found and not doubled.
        assert_eq!(app.graphql(STORY).await, json!({"data": {"createHeroes": {"heroes": heroes(4)}}}));
        assert_eq!(app.counts().await, [6, 2, 8]);
    }

    async fn the_story_is_at_most_four_inserts(app: TestApp) {
        let statements = app.statements_of(STORY, json!({})).await;
        let inserts: Vec<_> = statements.iter().filter(|sql| sql.starts_with("INSERT")).collect();
        // Teams, heroes, links, and the events of all that.
        assert_eq!(inserts.len(), 4, "{statements:#?}");
        // One looks for the teams, and one reads them for the answer.
        assert_eq!(statements.len(), 6, "{statements:#?}");

        let again = app.statements_of(STORY, json!({})).await;
        assert_eq!(again.len(), 5, "{again:#?}");
    }

    async fn the_story_from_the_side_of_the_teams(app: TestApp) {
        let query = "mutation($input: [CreateTeamInput!]!) { createTeams(input: $input) {
            teams { id name headquarters heroes { id name secretName age } } } }";
        let deadpond = json!({"name": "Deadpond", "secretName": "Dive Wilson"});
        let rusty_man = json!({"name": "Rusty-Man", "secretName": "Tommy Sharp", "age": 48});
        let input = json!([
            {"name": "Z-Force", "headquarters": "Sister Margaret's Bar", "heroes": {"connectOrCreate": [deadpond]}},
            {"name": "Preventers", "headquarters": "Sharp Tower", "heroes": {"connectOrCreate": [deadpond, rusty_man]}},
        ]);
        let data = app.data(query, json!({"input": input})).await;
        let deadpond = json!({"id": "Hero:1", "name": "Deadpond", "secretName": "Dive Wilson", "age": null});
        let rusty_man = json!({"id": "Hero:2", "name": "Rusty-Man", "secretName": "Tommy Sharp", "age": 48});
        assert_eq!(data, json!({"createTeams": {"teams": [
            {"id": "Team:1", "name": "Z-Force", "headquarters": "Sister Margaret's Bar", "heroes": [deadpond]},
            {"id": "Team:2", "name": "Preventers", "headquarters": "Sharp Tower", "heroes": [deadpond, rusty_man]},
        ]}}));
        assert_eq!(app.counts().await, [2, 2, 3]);
    }

    async fn seeding_twice_changes_nothing(app: TestApp) {
        assert_eq!(hero_teams::store::seed::tutorial(&app.db).await.expect("the first time"), 3);
        let rows = app.rows().await;
        assert_eq!(app.counts().await, [3, 2, 4]);
        assert_eq!(hero_teams::store::seed::tutorial(&app.db).await.expect("the second time"), 0);
        assert_eq!(app.rows().await, rows);
    }
}
