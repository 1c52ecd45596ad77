//! The contract with clients.

use serde_json::{Value, json};

use crate::{databases::TestDatabase, support::TestApp};

#[test]
fn the_committed_schema_is_up_to_date() {
    let committed = include_str!("../../schema.graphql");
    assert!(
        committed == hero_teams::graphql::sdl::<hero_teams::schema::HeroTeams>(),
        "schema.graphql is out of date; run: cargo run -- schema > schema.graphql"
    );
}

#[tokio::test]
async fn everything_in_the_schema_has_a_description() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let query = "{ __schema { types { name description fields { name description args { name description } }
        inputFields { name description } enumValues { name description } } } }";
    let data = app.data(query, json!({})).await;
    let mut bare = Vec::new();
    for class in data["__schema"]["types"].as_array().expect("a list") {
        if class["name"].as_str().is_some_and(|name| !name.starts_with("__")) {
            collect_bare(class, "", &mut bare);
        }
    }
    assert_eq!(bare, Vec::<String>::new());
    app.close().await;
}

fn collect_bare(item: &Value, path: &str, bare: &mut Vec<String>) {
    let path = format!("{path}/{}", item["name"].as_str().unwrap_or_default());
    if item["description"].as_str().unwrap_or_default().is_empty() {
        bare.push(path.clone());
    }
    for inner in ["fields", "args", "inputFields", "enumValues"] {
        for item in item[inner].as_array().into_iter().flatten() {
            collect_bare(item, &path, bare);
        }
    }
}
