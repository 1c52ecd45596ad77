//! The example of docs/extending.md: a third entity, and a relation of an entity to itself.

#[path = "../../examples/missions/entities.rs"]
mod entities;
#[path = "../../examples/missions/migration.rs"]
mod migration;
#[path = "../../examples/missions/schema.rs"]
pub mod schema;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use fastrand::Rng;
use hero_teams::{
    config::{Command, ExportSettings, ImportSettings},
    graphql::RecordReader,
    records,
};
use serde_json::{Value, json};

use self::schema::Missions;
use crate::{
    databases::TestDatabase,
    property::{age, int_filter, int_holds, text, text_filter, text_holds},
    support::{TestApp, config},
};

/// Runs each test on SQLite and on PostgreSQL.
macro_rules! missions_on_both_databases {
    ($(async fn $name:ident($app:ident: TestApp) $body:block)+) => {$(
        async fn $name($app: &TestApp) $body

        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let app = TestApp::of::<Missions>(TestDatabase::sqlite(), |_| ()).await;
                super::$name(&app).await;
                app.close().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(database) = TestDatabase::postgres_as_asked().await {
                    let app = TestApp::of::<Missions>(database, |_| ()).await;
                    super::$name(&app).await;
                    app.close().await;
                }
            }
        }
    )+};
}

const TABLES: [&str; 6] = ["hero", "team", "mission", "hero_team_link", "hero_mission_link", "mentorship"];

fn export(flags: &[&str]) -> ExportSettings {
    let config = config(&[&["export", "--with-secrets", "--progress", "none"], flags].concat());
    let Some(Command::Export(settings)) = config.command else { panic!("{config:?}") };
    settings
}

fn import(paths: &[&str]) -> ImportSettings {
    let config = config(&[&["import", "--progress", "none"], paths].concat());
    let Some(Command::Import(settings)) = config.command else { panic!("{config:?}") };
    settings
}

/// The number of rows of each table.
async fn counts(app: &TestApp) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in TABLES {
        counts.push(app.count(&format!("SELECT COUNT(*) FROM {table}")).await);
    }
    counts
}

/// A hero with nested rows along each of the four relations.
const CREATE: &str = r#"mutation { createHero(input: {
    name: "Deadpond", secretName: "Dive Wilson",
    teams: {create: [{name: "Z-Force", headquarters: "Bar"}], connectOrCreate: [{name: "Preventers", headquarters: "Tower"}]},
    missions: {create: [{title: "Rescue", year: 2019}, {title: "Escape"}], connect: ["Mission:1"]},
    mentors: {create: [{name: "Mentor", secretName: "M"}], connect: [1]},
    pupils: {create: [{name: "Pupil", secretName: "P", age: 12}], connect: [2]},
}) { hero {
    name teams { name } missions { title year heroes { name } } missionCount
    mentors { name pupils { name } } mentorCount pupils { name mentors { name } } pupilCount
} } }"#;

/// Two heroes and a mission, by which the others are found.
async fn prepare(app: &TestApp) {
    let query = r#"mutation {
        createMission(input: {title: "Moon", year: 1969}) { mission { id } }
        createHeroes(input: [{name: "Old", secretName: "O"}, {name: "Young", secretName: "Y"}]) { heroes { id } }
    }"#;
    app.data(query, json!({})).await;
}

/// Makes the n-th row that is written into any table fail, in the transaction that writes it.
async fn fail_after(app: &TestApp, table: &str) {
    if app.database.is_postgres() {
        app.execute(
            "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'injected'; END $$",
        )
        .await;
        app.execute(&format!(
            "CREATE TRIGGER fail AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION fail()"
        ))
        .await;
    } else {
        for event in ["INSERT", "UPDATE", "DELETE"] {
            let sql = format!(
                "CREATE TRIGGER fail_{event} AFTER {event} ON {table} BEGIN SELECT RAISE(ABORT, 'injected'); END"
            );
            app.execute(&sql).await;
        }
    }
}

async fn remove_fault(app: &TestApp, table: &str) {
    if app.database.is_postgres() {
        app.execute(&format!("DROP TRIGGER fail ON {table}")).await;
    } else {
        for event in ["INSERT", "UPDATE", "DELETE"] {
            app.execute(&format!("DROP TRIGGER fail_{event}")).await;
        }
    }
}

missions_on_both_databases! {
    async fn a_link_that_is_unlinked_in_one_direction_and_linked_in_the_other(app: TestApp) {
        app.data(r#"mutation { createHeroes(input: [
            {name: "A", secretName: "a"}, {name: "B", secretName: "b"}, {name: "C", secretName: "c"},
        ]) { heroes { id } } }"#, json!({})).await;
        app.data("mutation { updateHero(input: {id: 1, mentors: {connect: [2]}}) { hero { id } } }", json!({})).await;
        // What is linked exists in the end, whatever else is asked of it.
        for (first, second) in [
            ("{id: 1, mentors: {set: []}}", "{id: 2, pupils: {connect: [1]}}"),
            ("{id: 1, mentors: {connect: [2]}}", "{id: 2, pupils: {set: []}}"),
            ("{id: 1, mentors: {disconnect: [2]}}", "{id: 2, pupils: {set: [1]}}"),
        ] {
            let query = format!("mutation {{ updateHeroes(input: [{first}, {second}]) {{
                heroes {{ mentors {{ name }} pupils {{ name }} }} }} }}");
            let data = app.data(&query, json!({})).await;
            assert_eq!(data["updateHeroes"]["heroes"], json!([
                {"mentors": [{"name": "B"}], "pupils": []}, {"mentors": [], "pupils": [{"name": "A"}]},
            ]));
        }
        let query = "mutation { updateHeroes(input: [{id: 1, mentors: {connect: [3]}}, {id: 3, pupils: {set: [1]}}]) {
            heroes { id } } }";
        app.data(query, json!({})).await;
        let events = "SELECT COUNT(*) FROM event WHERE kind = 'mentorship'";
        assert_eq!((app.count(events).await, app.count("SELECT COUNT(*) FROM mentorship").await), (2, 2));
    }

    async fn nested_writes_over_four_relations(app: TestApp) {
        prepare(app).await;
        let data = app.data(CREATE, json!({})).await;
        assert_eq!(data["createHero"]["hero"], json!({
            "name": "Deadpond",
            "teams": [{"name": "Preventers"}, {"name": "Z-Force"}],
            "missions": [
                {"title": "Moon", "year": 1969, "heroes": [{"name": "Deadpond"}]},
                {"title": "Rescue", "year": 2019, "heroes": [{"name": "Deadpond"}]},
                {"title": "Escape", "year": null, "heroes": [{"name": "Deadpond"}]},
            ],
            "missionCount": 3,
            "mentors": [
                {"name": "Old", "pupils": [{"name": "Deadpond"}]},
                {"name": "Mentor", "pupils": [{"name": "Deadpond"}]},
            ],
            "mentorCount": 2,
            "pupils": [
                {"name": "Young", "mentors": [{"name": "Deadpond"}]},
                {"name": "Pupil", "mentors": [{"name": "Deadpond"}]},
            ],
            "pupilCount": 2,
        }));
        assert_eq!(counts(app).await, [5, 2, 3, 2, 3, 4]);
    }

    async fn nested_writes_without_lookups(app: TestApp) {
        prepare(app).await;
        // Nothing is looked up by its values, which PostgreSQL writes in one statement.
        let query = r#"mutation { createHero(input: {
            name: "A", secretName: "A", teams: {create: [{name: "T", headquarters: "H"}]},
            missions: {create: [{title: "M", year: 1}, {title: "M", year: 1}], connect: [1, 1]},
            mentors: {create: [{name: "B", secretName: "B"}], connect: [2]},
            pupils: {connect: [1, 2]},
        }) { hero { id } } }"#;
        let statements = app.statements_of(query, json!({})).await.len();
        assert_eq!(statements, if app.database.is_postgres() { 1 } else { 9 });
        let query = r#"{ heroes(where: {name: {eq: "A"}}) {
            teams { name } missions { title } mentors { name } pupils { name } } }"#;
        assert_eq!(app.data(query, json!({})).await, json!({"heroes": [{
            "teams": [{"name": "T"}], "missions": [{"title": "Moon"}, {"title": "M"}, {"title": "M"}],
            "mentors": [{"name": "Young"}, {"name": "B"}], "pupils": [{"name": "Old"}, {"name": "Young"}],
        }]}));
    }

    async fn what_does_not_exist_is_refused_with_its_path(app: TestApp) {
        prepare(app).await;
        let before = counts(app).await;
        let query = r#"mutation { createHero(input: {
            name: "A", secretName: "A", missions: {connect: [1, 7]}, mentors: {connect: ["Hero:8"]}, pupils: {connect: [2]},
        }) { hero { id } } }"#;
        let answer = app.graphql(query).await;
        let error = |message: &str, path: Value| json!({
            "message": message, "locations": [{"line": 1, "column": 12}], "path": ["createHero"],
            "extensions": {"code": "NOT_FOUND", "argumentPath": path},
        });
        assert_eq!(answer, json!({"data": {"createHero": null}, "errors": [
            error(r#"there is no Mission with the id "Mission:7""#, json!(["input", "missions", "connect", 1])),
            error(r#"there is no Hero with the id "Hero:8""#, json!(["input", "mentors", "connect", 0])),
        ]}));
        let query = r#"mutation { updateHero(input: {
            id: 1, missions: {set: [7]}, pupils: {disconnect: [9]}, mentors: {connect: ["Team:1"]},
        }) { hero { id } } }"#;
        let answer = app.graphql(query).await;
        assert_eq!(answer["errors"][0]["extensions"], json!({
            "code": "BAD_USER_INPUT", "argumentPath": ["input", "mentors", "connect", 0],
        }));
        assert_eq!(counts(app).await, before);
    }

    async fn updates_of_a_relation_to_the_same_entity(app: TestApp) {
        prepare(app).await;
        app.data(CREATE, json!({})).await;
        // All unlinking comes before all linking, whichever of the two sides asks for it.
        let query = r#"mutation { updateHeroes(input: [
            {id: 1, pupils: {set: []}, mentors: {connect: [2]}},
            {id: 3, mentors: {set: [1]}, pupils: {disconnect: [2], connect: [1]}, missions: {set: ["Mission:1"]}},
        ]) { heroes { name mentors { name } pupils { name } missions { title } } } }"#;
        let data = app.data(query, json!({})).await;
        let ids = "{ heroes { id name } }";
        let heroes = app.data(ids, json!({})).await;
        let name = |id: &str| {
            let heroes = heroes["heroes"].as_array().expect("a list");
            heroes.iter().find(|hero| hero["id"] == json!(id)).expect("the hero exists")["name"].clone()
        };
        let (one, two, three) = (name("Hero:1"), name("Hero:2"), name("Hero:3"));
        assert_eq!(data["updateHeroes"]["heroes"][0]["mentors"], json!([{"name": two}, {"name": three}]));
        assert_eq!(data["updateHeroes"]["heroes"][0]["pupils"], json!([{"name": three}]));
        assert_eq!(data["updateHeroes"]["heroes"][1]["mentors"], json!([{"name": one}]));
        assert!(!data["updateHeroes"]["heroes"][1]["pupils"].to_string().contains(&two.to_string()));
        // What is deleted takes its links on both sides along.
        app.data("mutation { deleteHero(input: {id: 3}) { hero { mentors { name } pupils { name } } } }", json!({})).await;
        let left = "SELECT COUNT(*) FROM mentorship WHERE mentor_id = 3 OR pupil_id = 3";
        assert_eq!(app.count(left).await, 0);
    }

    async fn a_failure_after_each_statement_leaves_no_trace(app: TestApp) {
        prepare(app).await;
        let update = r#"mutation { updateHero(input: {
            id: 1, name: "Older", teams: {create: [{name: "N", headquarters: "N"}]},
            missions: {create: [{title: "N"}]}, mentors: {create: [{name: "N", secretName: "N"}]}, pupils: {connect: [2]},
        }) { hero { id } } }"#;
        let delete = "mutation { deleteHero(input: {id: 1}) { hero { id } } }";
        let one_statement = CREATE.replace("connectOrCreate", "create").replace("}], create: [{name: \"Prev", "}, \
                                                                                                               {name: \
                                                                                                               \"Prev");
        let before = counts(app).await;
        for (query, tables) in [(CREATE, &TABLES[..]), (&one_statement, &TABLES), (update, &TABLES), (delete, &TABLES[..1])] {
            for table in tables {
                fail_after(app, table).await;
                let answer = app.graphql(query).await;
                assert_eq!(answer["errors"][0]["extensions"], json!({"code": "INTERNAL"}), "{table} {query}: {answer}");
                assert_eq!(counts(app).await, before, "{table} {query}");
                remove_fault(app, table).await;
            }
        }
        app.data(CREATE, json!({})).await;
        app.data(update, json!({})).await;
    }

    async fn equal_arguments_of_different_relations_are_different_lists(app: TestApp) {
        let query = r#"mutation {
            createTeam(input: {name: "T", headquarters: "T", heroes: {create: [{name: "InTeam", secretName: "S"}]}}) { team { id } }
            createMission(input: {title: "M", heroes: {create: [{name: "OnMission", secretName: "S"}]}}) { mission { id } }
            createHero(input: {name: "Pupil", secretName: "S", mentors: {create: [{name: "Mentor", secretName: "S"}]}}) { hero { id } }
        }"#;
        app.data(query, json!({})).await;
        // The team and the mission have the same key, and so do a hero and they.
        let heroes = "heroes(limit: 5, where: {secretName: {eq: \"S\"}}) { name } heroCount";
        let query = format!(
            "{{ teams {{ {heroes} }} missions {{ {heroes} }}
                hero(id: 1) {{ mentors(limit: 5, where: {{secretName: {{eq: \"S\"}}}}) {{ name }} mentorCount pupilCount }}
                pupil: heroes(where: {{name: {{eq: \"Pupil\"}}}}) {{
                    mentors(limit: 5) {{ name }} pupils(limit: 5) {{ name }} mentorsConnection(first: 5) {{ nodes {{ name }} totalCount }} }} }}"
        );
        assert_eq!(app.data(&query, json!({})).await, json!({
            "teams": [{"heroes": [{"name": "InTeam"}], "heroCount": 1}],
            "missions": [{"heroes": [{"name": "OnMission"}], "heroCount": 1}],
            "hero": {"mentors": [], "mentorCount": 0, "pupilCount": 0},
            "pupil": [{"mentors": [{"name": "Mentor"}], "pupils": [],
                       "mentorsConnection": {"nodes": [{"name": "Mentor"}], "totalCount": 1}}],
        }));
    }

    async fn out_and_in(app: TestApp) {
        let mut rng = Rng::with_seed(5);
        world(app, &mut rng).await;
        let related = "{ heroes { name teams { name } missions { title } mentors { name } pupils { name } }
            missions { title heroes { name } } teams { name heroes { name } } }";
        let before = app.data(related, json!({})).await;
        let reader = RecordReader::new::<Missions>().expect("it is a schema");
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        // Files of one table each go together, and so do all tables in one file or in a folder.
        for (format, files) in [
            ("jsonl", &[("all", "all.jsonl")][..]),
            ("jsonl", &[("teams", "teams.jsonl"), ("missions", "missions.jsonl"), ("heroes", "heroes.jsonl")]),
            ("csv", &[("all", "csv")]),
        ] {
            let mut paths = Vec::new();
            for (what, file) in files {
                let settings = export(&["--what", what, "--format", format, "--output", &path(file)]);
                records::export(&app.db, &reader, &settings).await.expect("it is written");
                paths.push(path(file));
            }
            if format == "csv" {
                let names = ["heroes", "teams", "missions", "memberships", "assignments", "mentorships"];
                paths = names.map(|name| path(&format!("csv/{name}.csv"))).to_vec();
            }
            let other = TestApp::of::<Missions>(TestDatabase::sqlite(), |_| ()).await;
            let paths: Vec<_> = paths.iter().map(String::as_str).collect();
            let settings = import(&paths);
            let checked = records::validate(&reader, &settings).expect("all records are right");
            records::import(&other.db, &checked).await.expect("they are written");
            assert_eq!(other.data(related, json!({})).await, before, "{files:?}");
            other.close().await;
        }
        // A filter leaves out the links between heroes of which one does not match.
        let some = path("some.jsonl");
        let filter = r#"{"id": {"in": [1, 2, 3, 4, 5, 6, 7, 8]}}"#;
        let settings = export(&["--what", "heroes", "--where", filter, "--output", &some]);
        records::export(&app.db, &reader, &settings).await.expect("it is written");
        let lines = std::fs::read_to_string(&some).expect("it is written");
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
        let mentors = app.count("SELECT COUNT(*) FROM mentorship WHERE pupil_id < 9 AND mentor_id < 9").await;
        assert_eq!(i64::try_from(lines.len()).expect("few"), 8 + mentors);
        assert!(mentors > 0 && lines[8..].iter().all(|line| line["type"] == "mentorship"), "{lines:?}");
        let settings = import(&[&path("teams.jsonl"), &path("missions.jsonl"), &some]);
        assert_eq!(records::validate(&reader, &settings).expect("all records are right").imported.rejected, 0);
    }

    async fn one_statement_for_each_level(app: TestApp) {
        let mut rng = Rng::with_seed(3);
        world(app, &mut rng).await;
        for (statements, query) in [
            (1, "{ missions { title } }"),
            (3, "{ missions { heroes { missions { title } } } }"),
            (5, "{ heroes { teams { name } missions { title } mentors { name } pupils { name } } }"),
            // All heroes are read by then, and so are their mentors.
            (2, "{ heroes { mentors { mentors { mentors { name } } } } }"),
            (5, "{ heroes { teamCount missionCount mentorCount pupilCount } }"),
            (1, "{ heroes(where: {mentors: {some: {missions: {none: {}}}}}, orderBy: [{field: PUPIL_COUNT}, {field: \
                 MISSION_COUNT}]) { id } }"),
            (3, r#"{ nodes(ids: ["Hero:1", "Mission:1", "Team:1", "Hero:2"]) { id } }"#),
        ] {
            assert_eq!(app.statements_of(query, json!({})).await.len(), statements, "{query}");
        }
    }

    async fn a_cursor_belongs_to_the_count_of_one_relation(app: TestApp) {
        let mut rng = Rng::with_seed(4);
        world(app, &mut rng).await;
        let query = |field: &str| format!("query($after: String) {{ heroesConnection(first: 2, after: $after, \
                                           orderBy: {{field: {field}}}) {{ pageInfo {{ endCursor }} }} }}");
        let data = app.data(&query("MENTOR_COUNT"), json!({})).await;
        let cursor = &data["heroesConnection"]["pageInfo"]["endCursor"];
        app.data(&query("MENTOR_COUNT"), json!({"after": cursor})).await;
        let answer = app.graphql_with(&query("PUPIL_COUNT"), json!({"after": cursor})).await;
        let message = "`after` is a cursor of another order; give the `orderBy` that it was made under";
        assert_eq!(answer["errors"][0]["message"], json!(message));
    }

    async fn lists_are_what_a_naive_evaluation_gives(app: TestApp) {
        let mut rng = Rng::with_seed(20_261_126);
        let world = world(app, &mut rng).await;
        for round in 0..120 {
            let entity = &ENTITIES[rng.usize(0..3)];
            let filter = filter(&mut rng, entity, 3);
            let order = order(&mut rng, entity);
            let Entity { name, list, .. } = *entity;
            let query = format!(
                "query($where: {name}Filter, $orderBy: [{name}Order!]) {{
                    list: {list}(where: $where, orderBy: $orderBy) {{ id }}
                    {list}Connection(where: $where, orderBy: $orderBy, last: 1000) {{ nodes {{ id }} totalCount }} }}"
            );
            let variables = json!({"where": filter, "orderBy": order});
            let data = app.data(&query, variables.clone()).await;
            let keys = world.list(entity, &filter, &order, None);
            let ids: Value = keys.iter().map(|key| json!({"id": format!("{name}:{key}")})).collect();
            assert_eq!(data["list"], ids, "round {round}: {variables}");
            assert_eq!(data[format!("{list}Connection")], json!({"nodes": ids, "totalCount": keys.len()}), "round \
                                                                                                            {round}");

            // The same list along each relation that leads to it.
            for parent in &ENTITIES {
                for (field, to, count) in parent.relations.iter().filter(|(_, to, _)| *to == name) {
                    let query = format!(
                        "query($where: {to}Filter, $orderBy: [{to}Order!]) {{
                            {}(limit: 1000) {{ list: {field}(where: $where, orderBy: $orderBy) {{ id }} count: {count}(where: $where) }} }}",
                        parent.list
                    );
                    let data = app.data(&query, variables.clone()).await;
                    let expected: Value = world.rows[parent.name].iter().map(|row| {
                        let keys = world.list(entity, &filter, &order, Some(&row.related[*field]));
                        let ids: Value = keys.iter().map(|key| json!({"id": format!("{name}:{key}")})).collect();
                        json!({"list": ids, "count": keys.len()})
                    }).collect();
                    assert_eq!(data[parent.list], expected, "round {round}: {field} {variables}");
                }
            }
        }
    }
}

/// An entity as the naive evaluation sees it.
struct Entity {
    name: &'static str,
    list: &'static str,
    texts: &'static [&'static str],
    number: Option<&'static str>,
    /// Fields, entities and counts.
    relations: &'static [(&'static str, &'static str, &'static str)],
}

static ENTITIES: [Entity; 3] = [
    Entity {
        name: "Hero",
        list: "heroes",
        texts: &["name", "secretName"],
        number: Some("age"),
        relations: &[
            ("teams", "Team", "teamCount"),
            ("missions", "Mission", "missionCount"),
            ("mentors", "Hero", "mentorCount"),
            ("pupils", "Hero", "pupilCount"),
        ],
    },
    Entity {
        name: "Team",
        list: "teams",
        texts: &["name", "headquarters"],
        number: None,
        relations: &[("heroes", "Hero", "heroCount")],
    },
    Entity {
        name: "Mission",
        list: "missions",
        texts: &["title"],
        number: Some("year"),
        relations: &[("heroes", "Hero", "heroCount")],
    },
];

fn entity(name: &str) -> &'static Entity {
    ENTITIES.iter().find(|entity| entity.name == name).expect("it is an entity")
}

#[derive(Clone)]
struct Row {
    key: i64,
    fields: Value,
    related: BTreeMap<&'static str, BTreeSet<i64>>,
}

struct World {
    rows: BTreeMap<&'static str, Vec<Row>>,
}

impl World {
    fn row(&self, name: &str, key: i64) -> &Row {
        self.rows[name].iter().find(|row| row.key == key).expect("the row exists")
    }

    fn holds(&self, entity: &Entity, filter: &Value, row: &Row) -> bool {
        filter.as_object().expect("a filter is an object").iter().all(|(field, filter)| {
            let filters = || filter.as_array().expect("a list").iter();
            let field = field.as_str();
            match field {
                "and" => filters().all(|filter| self.holds(entity, filter, row)),
                "or" => filters().any(|filter| self.holds(entity, filter, row)),
                "not" => !self.holds(entity, filter, row),
                _ if Some(field) == entity.number => int_holds(filter, row.fields[field].as_i64()),
                _ if entity.texts.contains(&field) => text_holds(filter, row.fields[field].as_str().expect("a text")),
                _ => self.related_hold(entity, field, filter, row),
            }
        })
    }

    fn related_hold(&self, entity: &Entity, field: &str, filter: &Value, row: &Row) -> bool {
        let (_, to, _) = entity.relations.iter().find(|(name, ..)| *name == field).expect("it is a relation");
        filter.as_object().expect("an object").iter().all(|(quantifier, filter)| {
            let mut related =
                row.related[field].iter().map(|key| self.holds(self::entity(to), filter, self.row(to, *key)));
            match quantifier.as_str() {
                "some" => related.any(|holds| holds),
                "every" => related.all(|holds| holds),
                _ => !related.any(|holds| holds),
            }
        })
    }

    /// The keys of the rows that match, in order: of all rows, or of those with these keys.
    fn list(&self, entity: &Entity, filter: &Value, order: &Value, of: Option<&BTreeSet<i64>>) -> Vec<i64> {
        let rows = self.rows[entity.name].iter().filter(|row| of.is_none_or(|keys| keys.contains(&row.key)));
        let mut rows: Vec<&Row> = rows.filter(|row| self.holds(entity, filter, row)).collect();
        rows.sort_by(|a, b| compare(entity, order, a, b));
        rows.iter().map(|row| row.key).collect()
    }
}

fn symbol(field: &str) -> String {
    field.chars().fold(String::new(), |symbol, character| {
        let separator = if character.is_ascii_uppercase() { "_" } else { "" };
        symbol + separator + &character.to_ascii_uppercase().to_string()
    })
}

fn compare(entity: &Entity, order: &Value, a: &Row, b: &Row) -> Ordering {
    let mut descends = false;
    for step in order.as_array().expect("a list") {
        descends = step["direction"] == json!("DESC");
        let field = step["field"].as_str().expect("a field");
        let turn = |ordering: Ordering| if descends { ordering.reverse() } else { ordering };
        let count = entity.relations.iter().find(|(.., count)| symbol(count) == field);
        let by = if let Some((relation, ..)) = count {
            turn(a.related[relation].len().cmp(&b.related[relation].len()))
        } else if entity.number.is_some_and(|number| symbol(number) == field) {
            let number = |row: &Row| row.fields[entity.number.expect("there is one")].as_i64();
            // Null is the greatest number.
            turn((number(a).is_none(), number(a)).cmp(&(number(b).is_none(), number(b))))
        } else {
            let text = |row: &Row| {
                let name = entity.texts.iter().find(|name| symbol(name) == field).expect("it is a text");
                row.fields[name].as_str().expect("a text").to_owned()
            };
            turn(text(a).cmp(&text(b)))
        };
        if by != Ordering::Equal {
            return by;
        }
    }
    if descends { b.key.cmp(&a.key) } else { a.key.cmp(&b.key) }
}

fn filter(rng: &mut Rng, entity: &'static Entity, depth: usize) -> Value {
    let mut filter = json!({});
    for _ in 0..rng.usize(0..3) {
        match rng.usize(0..if depth == 0 { 2 } else { 7 }) {
            0 => filter[entity.texts[rng.usize(0..entity.texts.len())]] = text_filter(rng),
            1 => {
                if let Some(number) = entity.number {
                    filter[number] = int_filter(rng);
                }
            }
            2..=4 => {
                let (field, to, _) = entity.relations[rng.usize(0..entity.relations.len())];
                let quantifier = ["some", "every", "none"][rng.usize(0..3)];
                filter[field] = json!({quantifier: self::filter(rng, self::entity(to), depth - 1)});
            }
            5 => filter["not"] = self::filter(rng, entity, depth - 1),
            _ => {
                let junction = if rng.bool() { "and" } else { "or" };
                filter[junction] = (0..rng.usize(0..3)).map(|_| self::filter(rng, entity, depth - 1)).collect();
            }
        }
    }
    filter
}

/// Up to three steps, each by another field.
fn order(rng: &mut Rng, entity: &Entity) -> Value {
    let mut fields: Vec<String> = entity.texts.iter().copied().chain(entity.number).map(symbol).collect();
    fields.extend(entity.relations.iter().map(|(.., count)| symbol(count)));
    rng.shuffle(&mut fields);
    let steps = fields.into_iter().take(rng.usize(0..4));
    steps.map(|field| json!({"field": field, "direction": if rng.bool() { "ASC" } else { "DESC" }})).collect()
}

/// Random rows and links: 8 teams, 8 missions and 25 heroes, who may mentor themselves.
async fn world(app: &TestApp, rng: &mut Rng) -> World {
    let teams: Vec<_> = (0..8).map(|_| json!({"name": text(rng), "headquarters": text(rng)})).collect();
    let number = |rng: &mut Rng| if rng.bool() { json!(null) } else { json!(age(rng).min(9_999)) };
    let missions: Vec<_> = (0..8).map(|_| json!({"title": text(rng), "year": number(rng)})).collect();
    let heroes: Vec<_> =
        (0..25).map(|_| json!({"name": text(rng), "secretName": text(rng), "age": number(rng)})).collect();
    let query =
        "mutation($teams: [CreateTeamInput!]!, $missions: [CreateMissionInput!]!, $heroes: [CreateHeroInput!]!) {
        createTeams(input: $teams) { teams { id } } createMissions(input: $missions) { missions { id } }
        createHeroes(input: $heroes) { heroes { id } } }";
    app.data(query, json!({"teams": teams, "missions": missions, "heroes": heroes})).await;

    let mut world = World { rows: BTreeMap::new() };
    for (entity, rows) in ENTITIES.iter().zip([heroes, teams, missions]) {
        let related: BTreeMap<_, _> = entity.relations.iter().map(|(field, ..)| (*field, BTreeSet::new())).collect();
        let row = |(key, fields)| Row { key, fields, related: related.clone() };
        world.rows.insert(entity.name, (1..).zip(rows).map(row).collect());
    }
    let mut updates = Vec::new();
    for hero in 1..=25 {
        let mut update = json!({"id": hero});
        for (field, to, back, most) in
            [("teams", "Team", "heroes", 8), ("missions", "Mission", "heroes", 8), ("mentors", "Hero", "pupils", 25)]
        {
            let keys: BTreeSet<i64> = (0..rng.usize(0..4)).map(|_| rng.i64(1..=most)).collect();
            update[field] = json!({"connect": keys});
            let index = |key: i64| usize::try_from(key - 1).expect("keys begin with 1");
            for key in &keys {
                world.rows.get_mut(to).expect("it exists")[index(*key)]
                    .related
                    .get_mut(back)
                    .expect("a relation")
                    .insert(hero);
            }
            world.rows.get_mut("Hero").expect("it exists")[index(hero)].related.insert(field, keys);
        }
        updates.push(update);
    }
    let query = "mutation($input: [UpdateHeroInput!]!) { updateHeroes(input: $input) { heroes { id } } }";
    app.data(query, json!({"input": updates})).await;
    world
}
