//! Random filters, orders and pages on random data, compared with a naive evaluation.

use std::{cmp::Ordering, collections::BTreeSet};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::support::{TestApp, on_both_databases};

/// The data as the naive evaluation sees it.
struct World {
    heroes: Vec<Row>,
    teams: Vec<Row>,
}

struct Row {
    key: i64,
    /// The fields of the object.
    fields: Value,
    /// The keys of the rows on the other side.
    linked: BTreeSet<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Heroes,
    Teams,
}

impl Side {
    pub fn other(self) -> Self {
        if self == Self::Heroes { Self::Teams } else { Self::Heroes }
    }

    pub fn list(self) -> &'static str {
        if self == Self::Heroes { "heroes" } else { "teams" }
    }

    fn count(self) -> &'static str {
        if self == Self::Heroes { "heroCount" } else { "teamCount" }
    }

    pub fn type_name(self) -> &'static str {
        if self == Self::Heroes { "Hero" } else { "Team" }
    }

    fn texts(self) -> [&'static str; 2] {
        if self == Self::Heroes { ["name", "secretName"] } else { ["name", "headquarters"] }
    }
}

impl World {
    fn rows(&self, side: Side) -> &[Row] {
        if side == Side::Heroes { &self.heroes } else { &self.teams }
    }

    fn row(&self, side: Side, key: i64) -> &Row {
        self.rows(side).iter().find(|row| row.key == key).expect("the row is there")
    }

    fn holds(&self, side: Side, filter: &Value, row: &Row) -> bool {
        filter.as_object().expect("a filter is an object").iter().all(|(field, filter)| match field.as_str() {
            "and" => filter.as_array().expect("a list").iter().all(|filter| self.holds(side, filter, row)),
            "or" => filter.as_array().expect("a list").iter().any(|filter| self.holds(side, filter, row)),
            "not" => !self.holds(side, filter, row),
            "teams" | "heroes" => self.linked_hold(side, filter, row),
            "id" => filter.as_object().expect("an object").iter().all(|(test, operand)| {
                let key = |id: &Value| {
                    id.as_str().expect("an id").rsplit(':').next().expect("a key").parse::<i64>().expect("a key")
                };
                let keys = || operand.as_array().expect("a list").iter().map(key).collect::<Vec<_>>();
                match test.as_str() {
                    "eq" => key(operand) == row.key,
                    "in" => keys().contains(&row.key),
                    _ => !keys().contains(&row.key),
                }
            }),
            "age" => int_holds(filter, row.fields["age"].as_i64()),
            text => text_holds(filter, row.fields[text].as_str().expect("a text")),
        })
    }

    fn linked_hold(&self, side: Side, filter: &Value, row: &Row) -> bool {
        filter.as_object().expect("an object").iter().all(|(quantifier, filter)| {
            let mut linked =
                row.linked.iter().map(|key| self.holds(side.other(), filter, self.row(side.other(), *key)));
            match quantifier.as_str() {
                "some" => linked.any(|holds| holds),
                "every" => linked.all(|holds| holds),
                _ => !linked.any(|holds| holds),
            }
        })
    }

    /// The keys of the rows that a filter leaves, in order.
    fn list(&self, side: Side, filter: &Value, order: &Value, of: Option<&Row>) -> Vec<i64> {
        let mut rows: Vec<&Row> = self
            .rows(side)
            .iter()
            .filter(|row| of.is_none_or(|parent| parent.linked.contains(&row.key)) && self.holds(side, filter, row))
            .collect();
        rows.sort_by(|a, b| compare(order, a, b));
        rows.iter().map(|row| row.key).collect()
    }
}

pub fn text_holds(filter: &Value, text: &str) -> bool {
    let ignore_case = filter["ignoreCase"] == json!(true);
    let fold = |text: &str| if ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let text = fold(text);
    filter.as_object().expect("an object").iter().all(|(test, operand)| {
        let operand_text = || fold(operand.as_str().expect("a text"));
        let is_in =
            || operand.as_array().expect("a list").iter().any(|one| fold(one.as_str().expect("a text")) == text);
        match test.as_str() {
            "ignoreCase" => true,
            "eq" => text == operand_text(),
            "ne" => text != operand_text(),
            "in" => is_in(),
            "notIn" => !is_in(),
            "contains" => text.contains(&operand_text()),
            "startsWith" => text.starts_with(&operand_text()),
            _ => text.ends_with(&operand_text()),
        }
    })
}

pub fn int_holds(filter: &Value, number: Option<i64>) -> bool {
    filter.as_object().expect("an object").iter().all(|(test, operand)| {
        if test == "isNull" {
            return operand.as_bool().expect("a Boolean") == number.is_none();
        }
        let Some(number) = number else { return false };
        let is_in = || operand.as_array().expect("a list").contains(&json!(number));
        let operand = operand.as_i64().unwrap_or_default();
        match test.as_str() {
            "eq" => number == operand,
            "ne" => number != operand,
            "in" => is_in(),
            "notIn" => !is_in(),
            "gt" => number > operand,
            "gte" => number >= operand,
            "lt" => number < operand,
            _ => number <= operand,
        }
    })
}

fn compare(order: &Value, a: &Row, b: &Row) -> Ordering {
    let steps = order.as_array().expect("a list");
    let mut last_descends = false;
    for step in steps {
        let descends = step["direction"] == json!("DESC");
        last_descends = descends;
        let turn = |ordering: Ordering| if descends { ordering.reverse() } else { ordering };
        let by = match step["field"].as_str().expect("a field") {
            "ID" => turn(a.key.cmp(&b.key)),
            "TEAM_COUNT" | "HERO_COUNT" => turn(a.linked.len().cmp(&b.linked.len())),
            "AGE" => {
                let nulls_first = step["nulls"].as_str().map_or(descends, |nulls| nulls == "FIRST");
                let null = if nulls_first { Ordering::Less } else { Ordering::Greater };
                match (a.fields["age"].as_i64(), b.fields["age"].as_i64()) {
                    (None, None) => Ordering::Equal,
                    (None, Some(_)) => null,
                    (Some(_), None) => null.reverse(),
                    (Some(a), Some(b)) => turn(a.cmp(&b)),
                }
            }
            field => {
                let field = match field {
                    "SECRET_NAME" => "secretName",
                    "HEADQUARTERS" => "headquarters",
                    _ => "name",
                };
                turn(a.fields[field].as_str().cmp(&b.fields[field].as_str()))
            }
        };
        if by != Ordering::Equal {
            return by;
        }
    }
    if last_descends { b.key.cmp(&a.key) } else { a.key.cmp(&b.key) }
}

/// Short texts of few characters, so that they often meet, with those that mean something to LIKE and to JSON.
pub fn text(rng: &mut Rng) -> String {
    let characters = ['a', 'A', 'b', 'B', '%', '_', '\\', '\'', '"', 'é', 'É', ' ', '\u{d7ff}', '🦸', '\u{10ffff}'];
    loop {
        let text: String = (0..=rng.usize(0..4)).map(|_| characters[rng.usize(0..characters.len())]).collect();
        if !text.trim().is_empty() {
            return text;
        }
    }
}

pub fn age(rng: &mut Rng) -> i64 {
    [0, 1, 17, 18, 48, 1_000_000][rng.usize(0..6)]
}

fn operand(rng: &mut Rng) -> String {
    if rng.u8(0..8) == 0 { String::new() } else { text(rng) }
}

pub fn filter(rng: &mut Rng, side: Side, depth: usize) -> Value {
    let mut filter = json!({});
    for _ in 0..rng.usize(0..3) {
        let choices = if depth == 0 { 4 } else { 9 };
        match rng.usize(0..choices) {
            0 | 1 => filter[side.texts()[rng.usize(0..2)]] = text_filter(rng),
            2 if side == Side::Heroes => filter["age"] = int_filter(rng),
            2 | 3 => {
                let id = |rng: &mut Rng| {
                    let key = rng.i64(1..25);
                    if rng.bool() { json!(key.to_string()) } else { json!(format!("{}:{key}", side.type_name())) }
                };
                filter["id"] = match rng.usize(0..3) {
                    0 => json!({"eq": id(rng)}),
                    1 => json!({"in": (0..rng.usize(0..12)).map(|_| id(rng)).collect::<Vec<_>>()}),
                    _ => json!({"notIn": (0..rng.usize(0..4)).map(|_| id(rng)).collect::<Vec<_>>()}),
                };
            }
            4 | 5 => {
                let quantifier = ["some", "every", "none"][rng.usize(0..3)];
                filter[side.other().list()] = json!({quantifier: self::filter(rng, side.other(), depth - 1)});
            }
            6 => filter["not"] = self::filter(rng, side, depth - 1),
            choice => {
                let junction = if choice == 7 { "and" } else { "or" };
                filter[junction] = (0..rng.usize(0..3)).map(|_| self::filter(rng, side, depth - 1)).collect();
            }
        }
    }
    filter
}

pub fn text_filter(rng: &mut Rng) -> Value {
    let mut filter = json!({});
    if rng.bool() {
        filter["ignoreCase"] = json!(rng.bool());
    }
    for _ in 0..rng.usize(0..3) {
        let test = ["eq", "ne", "contains", "startsWith", "endsWith", "in", "notIn"][rng.usize(0..7)];
        filter[test] = if test == "in" || test == "notIn" {
            (0..rng.usize(0..6)).map(|_| text(rng)).collect()
        } else {
            json!(operand(rng))
        };
    }
    filter
}

pub fn int_filter(rng: &mut Rng) -> Value {
    let mut filter = json!({});
    for _ in 0..rng.usize(0..3) {
        let test = ["eq", "ne", "in", "notIn", "gt", "gte", "lt", "lte", "isNull"][rng.usize(0..9)];
        filter[test] = match test {
            "in" | "notIn" => (0..rng.usize(0..4)).map(|_| age(rng)).collect(),
            "isNull" => json!(rng.bool()),
            _ => json!(age(rng)),
        };
    }
    filter
}

pub fn order(rng: &mut Rng, side: Side) -> Value {
    let fields: &[&str] = if side == Side::Heroes {
        &["ID", "NAME", "SECRET_NAME", "AGE", "AGE", "TEAM_COUNT"]
    } else {
        &["ID", "NAME", "HEADQUARTERS", "HERO_COUNT"]
    };
    // A field that comes twice decides nothing the second time, but it would turn the key around at the end.
    let mut used = BTreeSet::new();
    let mut steps = Vec::new();
    for _ in 0..rng.usize(0..4) {
        let field = fields[rng.usize(0..fields.len())];
        if used.contains("ID") || !used.insert(field) {
            continue;
        }
        let mut step = json!({"field": field});
        if rng.bool() {
            step["direction"] = json!(["ASC", "DESC"][rng.usize(0..2)]);
        }
        if field == "AGE" && rng.bool() {
            step["nulls"] = json!(["FIRST", "LAST"][rng.usize(0..2)]);
        }
        steps.push(step);
    }
    json!(steps)
}

async fn world(app: &TestApp, rng: &mut Rng) -> World {
    let teams: Vec<_> = (0..15).map(|_| json!({"name": text(rng), "headquarters": text(rng)})).collect();
    let query = "mutation($input: [CreateTeamInput!]!) { createTeams(input: $input) { teams { id } } }";
    app.data(query, json!({"input": teams})).await;
    let mut world = World { heroes: Vec::new(), teams: Vec::new() };
    for (key, fields) in (1..).zip(teams) {
        world.teams.push(Row { key, fields, linked: BTreeSet::new() });
    }
    let mut input = Vec::new();
    for key in 1..=40 {
        let age = if rng.bool() { json!(null) } else { json!(age(rng)) };
        let fields = json!({"name": text(rng), "secretName": text(rng), "age": age});
        let linked: BTreeSet<i64> = (0..rng.usize(0..5)).map(|_| rng.i64(1..=15)).collect();
        for team in &linked {
            world.teams[usize::try_from(*team - 1).expect("it is small")].linked.insert(key);
        }
        let mut hero = fields.clone();
        hero["teams"] = json!({"connect": linked});
        input.push(hero);
        world.heroes.push(Row { key, fields, linked });
    }
    let query = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
    app.data(query, json!({"input": input})).await;
    world
}

fn ids(side: Side, keys: &[i64]) -> Value {
    keys.iter().map(|key| json!({"id": format!("{}:{key}", side.type_name())})).collect()
}

fn part(keys: &[i64], offset: usize, limit: usize) -> &[i64] {
    let start = offset.min(keys.len());
    &keys[start..(start + limit).min(keys.len())]
}

/// The list of a side with every way to ask for it.
pub fn selection(side: Side) -> String {
    let (list, count) = (side.list(), side.count());
    let connection = "nodes { id } totalCount pageInfo { hasNextPage hasPreviousPage }";
    format!(
        "{list}(where: $where, orderBy: $orderBy, limit: $limit, offset: $offset) {{ id }}
         first: {list}Connection(where: $where, orderBy: $orderBy, first: $limit) {{ {connection} }}
         last: {list}Connection(where: $where, orderBy: $orderBy, last: $limit) {{ {connection} }}
         {count}(where: $where)"
    )
}

on_both_databases! {
    async fn lists_are_what_a_naive_evaluation_gives(app: TestApp) {
        let mut rng = Rng::with_seed(20_261_122);
        let world = world(app, &mut rng).await;
        for round in 0..250 {
            let side = if rng.bool() { Side::Heroes } else { Side::Teams };
            let (filter, order) = (filter(&mut rng, side, 3), order(&mut rng, side));
            let (limit, offset) = (rng.usize(0..8), rng.usize(0..6));
            let name = side.type_name();
            // The root has everything but the count, which is that of the connection.
            let selection = selection(side);
            let of_root = selection.rsplit_once('\n').expect("it has lines").0;
            let query = format!(
                "query($where: {name}Filter, $orderBy: [{name}Order!], $limit: Int, $offset: Int) {{
                    {of_root} parents: {}(limit: 1000) {{ {selection} }} }}",
                side.other().list()
            );
            let variables = json!({"where": filter, "orderBy": order, "limit": limit, "offset": offset});
            let data = app.data(&query, variables.clone()).await;
            let expected = |of: Option<&Row>| {
                let keys = world.list(side, &filter, &order, of);
                let more = keys.len() > limit;
                let connection = |keys: &[i64], next: bool, previous: bool, total: usize| json!({
                    "nodes": ids(side, keys), "totalCount": total,
                    "pageInfo": {"hasNextPage": next, "hasPreviousPage": previous},
                });
                let mut expected = json!({
                    side.list(): ids(side, part(&keys, offset, limit)),
                    "first": connection(part(&keys, 0, limit), more, false, keys.len()),
                    "last": connection(part(&keys, keys.len().saturating_sub(limit), limit), false, more, keys.len()),
                });
                if of.is_some() {
                    expected[side.count()] = json!(keys.len());
                }
                expected
            };
            let parents: Vec<_> = world.rows(side.other()).iter().map(|parent| expected(Some(parent))).collect();
            let mut expected = expected(None);
            expected["parents"] = json!(parents);
            assert_eq!(data, expected, "round {round}: {variables}");
        }
    }

    async fn pages_follow_each_other(app: TestApp) {
        let mut rng = Rng::with_seed(48);
        let world = world(app, &mut rng).await;
        for round in 0..60 {
            let side = if rng.bool() { Side::Heroes } else { Side::Teams };
            let (filter, order) = (filter(&mut rng, side, 1), order(&mut rng, side));
            let keys = world.list(side, &filter, &order, None);
            let (name, list) = (side.type_name(), side.list());
            let query = format!(
                "query($where: {name}Filter, $orderBy: [{name}Order!], $first: Int, $after: String, $last: Int, $before: String) {{
                    page: {list}Connection(where: $where, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {{
                        edges {{ cursor node {{ id }} }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
            );
            for forward in [true, false] {
                let length = rng.usize(1..9);
                let mut cursor = json!(null);
                let mut seen: Vec<Value> = Vec::new();
                loop {
                    let mut variables = json!({"where": filter, "orderBy": order});
                    let (argument, bound) = if forward { ("first", "after") } else { ("last", "before") };
                    variables[argument] = json!(length);
                    variables[bound] = cursor.clone();
                    let mut page = app.data(&query, variables.clone()).await["page"].take();
                    let edges = page["edges"].as_array().expect("a list").clone();
                    assert_eq!(page["pageInfo"]["startCursor"], edges.first().map_or(json!(null), |edge| edge["cursor"].clone()));
                    assert_eq!(page["pageInfo"]["endCursor"], edges.last().map_or(json!(null), |edge| edge["cursor"].clone()));
                    let (more, back) = if forward { ("hasNextPage", "hasPreviousPage") } else { ("hasPreviousPage", "hasNextPage") };
                    assert_eq!(page["pageInfo"][back], json!(!cursor.is_null() && !seen.is_empty()), "round {round}: \
                                                                                                      {variables}");
                    let nodes = edges.iter().map(|edge| edge["node"].clone());
                    if forward { seen.extend(nodes) } else { seen.splice(0..0, nodes); }
                    if page["pageInfo"][more] == json!(false) {
                        break;
                    }
                    cursor = page["pageInfo"][if forward { "endCursor" } else { "startCursor" }].take();
                }
                assert_eq!(json!(seen), ids(side, &keys), "round {round}: {filter} {order}");
            }
        }
    }
}
