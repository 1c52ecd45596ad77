//! Random operations, compared with a model in memory.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::support::{TestApp, graphql, on_both_databases};

/// What the database must hold: the fields of each row by its key, and the links.
#[derive(Clone, Debug, Default)]
struct Model {
    heroes: BTreeMap<i64, Value>,
    teams: BTreeMap<i64, Value>,
    links: BTreeSet<(i64, i64)>,
    next_hero: i64,
    next_team: i64,
}

impl Model {
    fn new() -> Self {
        Self { next_hero: 1, next_team: 1, ..Self::default() }
    }

    fn rows(&self) -> Value {
        let linked = |key: &str, of: &dyn Fn(&(i64, i64)) -> Option<i64>| -> Value {
            self.links.iter().filter_map(of).map(|other| json!({"id": format!("{key}:{other}")})).collect()
        };
        let heroes: Vec<_> = self
            .heroes
            .iter()
            .map(|(key, fields)| {
                let mut hero = fields.clone();
                hero["id"] = json!(format!("Hero:{key}"));
                hero["teams"] = linked("Team", &|(hero, team)| (hero == key).then_some(*team));
                hero
            })
            .collect();
        let teams: Vec<_> = self
            .teams
            .iter()
            .map(|(key, fields)| {
                let mut team = fields.clone();
                team["id"] = json!(format!("Team:{key}"));
                team["heroes"] = linked("Hero", &|(hero, team)| (team == key).then_some(*hero));
                team
            })
            .collect();
        json!({"heroes": heroes, "teams": teams})
    }

    /// Does what a nested input says for the hero, and what it says of teams that are not there.
    fn relate(
        &mut self,
        hero: i64,
        input: &Value,
        found: &BTreeMap<String, i64>,
        created: &mut impl Iterator<Item = i64>,
    ) {
        let keys = |name: &str| -> Vec<i64> {
            input[name].as_array().into_iter().flatten().map(|id| id.as_i64().expect("a key")).collect()
        };
        if input["set"].is_array() {
            self.links.retain(|(linked, _)| *linked != hero);
            self.links.extend(keys("set").into_iter().map(|team| (hero, team)));
        }
        for team in keys("disconnect") {
            self.links.remove(&(hero, team));
        }
        self.links.extend(keys("connect").into_iter().map(|team| (hero, team)));
        for team in input["connectOrCreate"].as_array().into_iter().flatten() {
            self.links.insert((hero, found[&team.to_string()]));
        }
        let nested = input["create"].as_array().map_or(0, Vec::len);
        self.links.extend(created.by_ref().take(nested).map(|team| (hero, team)));
    }

    /// Makes the teams that inputs create, and tells those to connect or create by their values.
    fn make_teams<'v>(&mut self, inputs: impl Iterator<Item = &'v Value> + Clone) -> (BTreeMap<String, i64>, Vec<i64>) {
        let mut found = BTreeMap::new();
        for team in inputs.clone().flat_map(|input| input["connectOrCreate"].as_array().into_iter().flatten()) {
            let same = self.teams.iter().find(|(_, fields)| *fields == team).map(|(key, _)| *key);
            if let Some(key) = same {
                found.entry(team.to_string()).or_insert(key);
            }
        }
        for team in inputs.clone().flat_map(|input| input["connectOrCreate"].as_array().into_iter().flatten()) {
            found.entry(team.to_string()).or_insert_with(|| Self::add(&mut self.teams, &mut self.next_team, team));
        }
        let nested = inputs.flat_map(|input| input["create"].as_array().into_iter().flatten());
        let created = nested.map(|team| Self::add(&mut self.teams, &mut self.next_team, team)).collect();
        (found, created)
    }

    fn add(rows: &mut BTreeMap<i64, Value>, next: &mut i64, fields: &Value) -> i64 {
        let key = *next;
        *next += 1;
        rows.insert(key, fields.clone());
        key
    }
}

fn team(rng: &mut Rng) -> Value {
    json!({"name": format!("T{}", rng.u8(0..6)), "headquarters": format!("H{}", rng.u8(0..2))})
}

fn nested(rng: &mut Rng, model: &Model, is_update: bool) -> Value {
    let teams: Vec<i64> = model.teams.keys().copied().collect();
    let keys =
        |rng: &mut Rng| -> Vec<i64> { (0..rng.usize(0..4)).filter_map(|_| rng.choice(&teams).copied()).collect() };
    if is_update && rng.u8(0..4) == 0 {
        return json!({"set": keys(rng)});
    }
    let connect = keys(rng);
    let mut input = json!({
        "create": (0..rng.usize(0..2)).map(|_| team(rng)).collect::<Vec<_>>(),
        "connectOrCreate": (0..rng.usize(0..3)).map(|_| team(rng)).collect::<Vec<_>>(),
    });
    if is_update {
        let disconnect: Vec<_> = keys(rng).into_iter().filter(|key| !connect.contains(key)).collect();
        input["disconnect"] = json!(disconnect);
    }
    input["connect"] = json!(connect);
    input
}

on_both_databases! {
    async fn the_database_is_what_a_model_in_memory_is(app: TestApp) {
        let mut rng = Rng::with_seed(2026);
        let mut model = Model::new();
        for step in 0..200 {
            let heroes: Vec<i64> = model.heroes.keys().copied().collect();
            match rng.u8(0..10) {
                0..4 => {
                    let input: Vec<Value> = (0..rng.usize(1..4))
                        .map(|_| {
                            let age = if rng.bool() { json!(rng.u8(0..9)) } else { json!(null) };
                            json!({"name": format!("N{}", rng.u8(0..9)), "secretName": "S", "age": age, "teams": nested(&mut rng, &model, false)})
                        })
                        .collect();
                    let (found, created) = model.make_teams(input.iter().map(|hero| &hero["teams"]));
                    let mut created = created.into_iter();
                    for hero in &input {
                        let mut fields = hero.clone();
                        let teams = fields.as_object_mut().and_then(|fields| fields.remove("teams")).expect("it has \
                                                                                                             teams");
                        let key = Model::add(&mut model.heroes, &mut model.next_hero, &fields);
                        model.relate(key, &teams, &found, &mut created);
                    }
                    let query = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } \
                                 } }";
                    app.data(query, json!({"input": input})).await;
                }
                4..8 if !heroes.is_empty() => {
                    let keys: BTreeSet<i64> = (0..rng.usize(1..4)).filter_map(|_| rng.choice(&heroes).copied()).collect();
                    let input: Vec<Value> = keys
                        .iter()
                        .map(|key| {
                            let mut input = json!({"id": key, "teams": nested(&mut rng, &model, true)});
                            if rng.bool() {
                                input["name"] = json!(format!("N{}", rng.u8(0..9)));
                            }
                            if rng.bool() {
                                input["age"] = if rng.bool() { json!(rng.u8(0..9)) } else { json!(null) };
                            }
                            input
                        })
                        .collect();
                    let (found, created) = model.make_teams(input.iter().map(|hero| &hero["teams"]));
                    let mut created = created.into_iter();
                    for change in &input {
                        let key = change["id"].as_i64().expect("a key");
                        for field in ["name", "age"] {
                            if let Some(value) = change.get(field) {
                                model.heroes.get_mut(&key).expect("it is there")[field] = value.clone();
                            }
                        }
                        model.relate(key, &change["teams"], &found, &mut created);
                    }
                    let query = "mutation($input: [UpdateHeroInput!]!) { updateHeroes(input: $input) { heroes { id } \
                                 } }";
                    app.data(query, json!({"input": input})).await;
                }
                8 if !heroes.is_empty() => {
                    let key = *rng.choice(&heroes).expect("there are some");
                    model.heroes.remove(&key);
                    model.links.retain(|(hero, _)| *hero != key);
                    app.data("mutation($id: ID!) { deleteHero(input: {id: $id}) { hero { id } } }", json!({"id": key})).await;
                }
                _ => {
                    let teams: Vec<i64> = model.teams.keys().copied().collect();
                    let Some(key) = rng.choice(&teams).copied() else { continue };
                    if rng.bool() {
                        model.teams.remove(&key);
                        model.links.retain(|(_, team)| *team != key);
                        app.data("mutation($id: ID!) { deleteTeam(input: {id: $id}) { team { id } } }", json!({"id": key})).await;
                    } else {
                        let set: Vec<i64> = (0..rng.usize(0..4)).filter_map(|_| rng.choice(&heroes).copied()).collect();
                        model.links.retain(|(_, team)| *team != key);
                        model.links.extend(set.iter().map(|hero| (*hero, key)));
                        let query = "mutation($id: ID!, $set: [ID!]) { updateTeam(input: {id: $id, heroes: {set: \
                                     $set}}) { team { id } } }";
                        app.data(query, json!({"id": key, "set": set})).await;
                    }
                }
            }
            assert_eq!(app.rows().await, model.rows(), "step {step}");
        }
    }

    async fn clients_that_write_side_by_side(app: TestApp) {
        // Each client has heroes of its own, and all of them share the teams, which they find or make by their values.
        let clients: Vec<_> = (0..16_u64)
            .map(|client| {
                let router = app.router.clone();
                tokio::spawn(async move {
                    let mut rng = Rng::with_seed(client);
                    let mut heroes = BTreeMap::<String, BTreeSet<String>>::new();
                    for _ in 0..12 {
                        let teams: Vec<Value> = (0..rng.usize(0..4)).map(|_| json!({"name": format!("T{}", rng.u8(0..8)), "headquarters": "H"})).collect();
                        let names = teams.iter().filter_map(|team| team["name"].as_str().map(str::to_owned));
                        let ids: Vec<String> = heroes.keys().cloned().collect();
                        let (query, variables) = match rng.choice(&ids) {
                            Some(id) if rng.u8(0..5) == 0 => {
                                heroes.remove(id);
                                ("mutation($id: ID!) { answer: deleteHero(input: {id: $id}) { hero { id } } }", json!({"id": id}))
                            }
                            Some(id) if rng.bool() => {
                                heroes.get_mut(id).expect("it is there").extend(names);
                                ("mutation($id: ID!, $teams: [NewTeamInput!]) { answer: updateHero(input: {id: $id, \
                                  teams: {connectOrCreate: $teams}}) { hero { id } } }",
                                 json!({"id": id, "teams": teams}))
                            }
                            _ => {
                                let query = "mutation($teams: [NewTeamInput!]) { answer: createHero(input: {name: \
                                             \"N\", secretName: \"S\", teams: {connectOrCreate: $teams}}) { hero { id \
                                             } } }";
                                let answer = graphql(&router, query, json!({"teams": teams})).await;
                                assert_eq!(answer.get("errors"), None, "{answer}");
                                let id = answer["data"]["answer"]["hero"]["id"].as_str().expect("an id");
                                heroes.insert(id.to_owned(), names.collect());
                                continue;
                            }
                        };
                        let answer = graphql(&router, query, variables).await;
                        assert_eq!(answer.get("errors"), None, "{answer}");
                    }
                    heroes
                })
            })
            .collect();
        let mut expected = BTreeMap::new();
        for client in clients {
            expected.extend(client.await.expect("the client does not panic"));
        }
        let data = app.data("{ heroes(limit: 1000) { id teams { name } } }", json!({})).await;
        let found: BTreeMap<String, BTreeSet<String>> = data["heroes"].as_array().expect("a list").iter().map(|hero| {
            let teams = hero["teams"].as_array().expect("a list").iter();
            let teams = teams.map(|team| team["name"].as_str().expect("a name").to_owned()).collect();
            (hero["id"].as_str().expect("an id").to_owned(), teams)
        }).collect();
        assert_eq!(found, expected);
        assert_eq!(app.count("SELECT COUNT(*) - COUNT(DISTINCT name) FROM team").await, 0);
    }
}
