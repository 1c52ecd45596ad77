//! The server's side: a request is executed as the endpoint does it, and the answer serialized.

use hero_teams::{
    access::Principal,
    config::GraphQlSettings,
    db::Db,
    graphql::Schema,
    schema::{HeroTeams, Scopes},
};
use serde_json::{Value, json};

use crate::workload::{NewHero, Read, Side};

const CREATE_HERO: &str = "mutation($input: CreateHeroInput!) { createHero(input: $input) { hero { id name } } }";

/// The schema over the database.
#[derive(Clone)]
pub struct GraphQl(Schema);

impl GraphQl {
    pub fn new(db: Db) -> Self {
        Self(Schema::new::<HeroTeams>(db, &GraphQlSettings::default()).expect("the schema is valid"))
    }

    /// The hero whom a `createHero` with this answer has created, with the teams, but without the ids.
    pub async fn created(&self, answer: &[u8]) -> Value {
        let answer: Value = serde_json::from_slice(answer).expect("the answer is JSON");
        let id = &answer["data"]["createHero"]["hero"]["id"];
        let query = "query($id: ID!) { hero(id: $id) { name secretName age teams { name headquarters } } }";
        let answer = self.answer(query, json!({"id": id})).await;
        let answer: Value = serde_json::from_slice(&answer).expect("the answer is JSON");
        answer["data"]["hero"].clone()
    }

    /// The answer to a request, which has no errors.
    pub async fn answer(&self, query: &str, variables: Value) -> Vec<u8> {
        let params = json!({"query": query, "variables": variables});
        let params = serde_json::from_value(params).expect("they are parameters");
        let answer = self.0.execute(params, &Principal::anonymous(Scopes::ALL), false, crate::deadline()).await;
        assert!(answer.errors.is_empty(), "{:?}", answer.errors);
        answer.to_json()
    }
}

impl Side for GraphQl {
    const NAME: &'static str = "graphql";

    async fn read(&self, read: &Read, n: i64) -> Vec<u8> {
        let variables = json!({read.variable: (read.value)(n)});
        self.answer(read.query, variables).await
    }

    async fn create_hero(&self, n: i64) -> Vec<u8> {
        let NewHero { name, secret_name, age, team_name, headquarters, team_id } = NewHero::new(n);
        let input = json!({
            "name": name,
            "secretName": secret_name,
            "age": age,
            "teams": {
                "create": [{"name": team_name, "headquarters": headquarters}],
                "connect": [format!("Team:{team_id}")],
            },
        });
        self.answer(CREATE_HERO, json!({"input": input})).await
    }
}
