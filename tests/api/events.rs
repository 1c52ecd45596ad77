//! Subscriptions, as streams of events: what was committed, in its order, each event once.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    http::{
        Request, StatusCode,
        header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE},
    },
};
use hero_teams::{
    config::PostgresUrl,
    schema::HeroTeams,
    store::{
        self,
        event::{self, Cursor},
        seed,
    },
};
use http_body_util::BodyExt as _;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tower::ServiceExt as _;

use crate::{
    databases::{TestDatabase, execute},
    line::Line,
    support::{Settings, TestApp, on_both_databases, until},
};

const HEROES: &str = "subscription($where: HeroFilter, $changes: [Change!], $after: String) {
    heroChanged(where: $where, changes: $changes, after: $after) { cursor change id fields hero { name teams { name } } } }";
const MEMBERSHIPS: &str = "subscription($hero: ID, $team: ID, $changes: [MembershipChange!]) {
    membershipChanged(hero: $hero, team: $team, changes: $changes) { change heroId teamId hero { name } team { name } } }";

/// A subscription that is answered as a stream of events.
pub struct Stream {
    body: Body,
    buffer: String,
}

/// An event of a stream.
#[derive(Debug, PartialEq)]
pub struct Received {
    pub event: String,
    pub id: Option<String>,
    pub data: Value,
}

impl Stream {
    /// Subscribes, and waits until the server has.
    pub async fn open(router: &Router, query: &str, variables: Value) -> Self {
        Self::resumed(router, query, variables, None).await
    }

    /// The same, after the event with this id.
    pub async fn resumed(router: &Router, query: &str, variables: Value, last_event_id: Option<&str>) -> Self {
        let body = json!({"query": query, "variables": variables}).to_string();
        let mut request = Request::post("/graphql").header(CONTENT_TYPE, "application/json");
        // What is compressed would be held back.
        request = request.header(ACCEPT, "text/event-stream").header(ACCEPT_ENCODING, "gzip, br");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        Self::of(router, request.body(Body::from(body)).expect("it is a request")).await
    }

    /// The answer to a request.
    pub async fn of(router: &Router, request: Request<Body>) -> Self {
        let response = tokio::spawn(router.clone().oneshot(request)).await.expect("the router does not panic");
        let response = response.expect("the router answers");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream; charset=utf-8");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        assert_eq!(response.headers().get(CONTENT_ENCODING), None);
        Self { body: response.into_body(), buffer: String::new() }
    }

    /// The next event; none at the end of the stream.
    pub async fn next(&mut self) -> Option<Received> {
        loop {
            while let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
                    Some(line.strip_prefix(' ').unwrap_or(line).to_owned())
                };
                if let Some(event) = field("event") {
                    // A browser passes over an event without data.
                    assert_eq!(block.matches("\ndata:").count(), 1, "{block}");
                    let data = field("data").filter(|data| !data.is_empty());
                    let data = data.map_or(Value::Null, |data| serde_json::from_str(&data).expect("it is JSON"));
                    return Some(Received { event, id: field("id"), data });
                }
            }
            let frame = timeout(Duration::from_mins(5), self.body.frame()).await.expect("something comes");
            let frame = frame?.expect("the stream does not break").into_data().expect("there are no trailers");
            self.buffer += std::str::from_utf8(&frame).expect("it is text");
        }
    }

    /// The value of the field in the next event.
    pub async fn value(&mut self) -> Value {
        let received = self.next().await.expect("the stream goes on");
        assert_eq!((received.event.as_str(), received.data.get("errors")), ("next", None), "{received:?}");
        let Value::Object(mut data) = received.data["data"].clone() else { panic!("{received:?}") };
        let (_, mut value) = data.pop_first_entry().expect("there is one field");
        if let Some(cursor) = value.as_object_mut().and_then(|value| value.remove("cursor")) {
            assert_eq!(received.id.as_deref(), cursor.as_str());
        }
        value
    }

    /// The values of the field in the next events.
    pub async fn values(&mut self, number: usize) -> Vec<Value> {
        let mut values = Vec::with_capacity(number);
        for _ in 0..number {
            values.push(self.value().await);
        }
        values
    }

    /// The error that ends the stream.
    pub async fn error(&mut self) -> Value {
        let received = self.next().await.expect("the stream goes on");
        assert_eq!(received.event, "next");
        let mut complete = self.next().await.expect("the stream goes on");
        assert_eq!((complete.event.as_str(), complete.data.take()), ("complete", Value::Null));
        assert_eq!(self.next().await, None);
        received.data["errors"][0].clone()
    }
}

trait PopFirst {
    fn pop_first_entry(&mut self) -> Option<(String, Value)>;
}

impl PopFirst for serde_json::Map<String, Value> {
    fn pop_first_entry(&mut self) -> Option<(String, Value)> {
        let key = self.keys().next()?.clone();
        self.remove_entry(&key)
    }
}

/// Writes, and leaves what is answered.
async fn write(app: &TestApp, mutation: &str) {
    app.data(&format!("mutation {{ {mutation} {{ __typename }} }}"), json!({})).await;
}

fn created(id: usize, name: &str) -> Value {
    json!({"change": "CREATED", "id": format!("Hero:{id}"), "fields": null, "hero": {"name": name, "teams": []}})
}

on_both_databases! {
    async fn what_was_committed_is_told(app: TestApp) {
        let mut heroes = Stream::open(&app.router, HEROES, json!({})).await;
        let mut memberships = Stream::open(&app.router, MEMBERSHIPS, json!({})).await;
        let teams = "subscription { teamChanged { change id fields team { name heroes { name } } } }";
        let mut teams = Stream::open(&app.router, teams, json!({})).await;
        for mutation in [
            r#"createHero(input: {name: "A", secretName: "a", teams: {create: [{name: "T", headquarters: "H"}]}})"#,
            r#"updateHero(input: {id: 1, age: 5, secretName: "b"})"#,
            // Nothing changes, and what is linked stays linked.
            "updateHero(input: {id: 1, age: 5, teams: {connect: [1]}})",
            "updateHero(input: {id: 1, teams: {set: [1]}})",
            r#"updateTeam(input: {id: 1, headquarters: "H"})"#,
            "updateHero(input: {id: 1, teams: {disconnect: [1, 1]}})",
            r#"updateHero(input: {id: 1, teams: {connectOrCreate: [{name: "T", headquarters: "H"}, {name: "U", headquarters: "V"}]}})"#,
            "updateHero(input: {id: 1, teams: {set: [2]}})",
            r#"updateTeam(input: {id: 1, name: "S", headquarters: "I"})"#,
            "deleteTeam(input: {id: 1})",
        ] {
            write(app, mutation).await;
        }
        let hero = json!({"name": "A", "teams": [{"name": "U"}]});
        // Objects are as they are when the event is delivered, which is at once here or a moment later.
        let strip = |mut value: Value| {
            for object in ["hero", "team"] {
                value.as_object_mut().and_then(|value| value.remove(object));
            }
            value
        };
        let of_heroes: Vec<Value> = heroes.values(2).await.into_iter().map(strip).collect();
        assert_eq!(json!(of_heroes), json!([
            {"change": "CREATED", "id": "Hero:1", "fields": null},
            {"change": "UPDATED", "id": "Hero:1", "fields": ["SECRET_NAME", "AGE"]},
        ]));
        let of_memberships: Vec<Value> = memberships.values(5).await.into_iter().map(strip).collect();
        let membership = |change: &str, team: usize| json!({"change": change, "heroId": "Hero:1", "teamId": format!("Team:{team}")});
        assert_eq!(of_memberships, [
            membership("LINKED", 1), membership("UNLINKED", 1), membership("LINKED", 1), membership("LINKED", 2),
            membership("UNLINKED", 1),
        ]);
        let of_teams: Vec<Value> = teams.values(4).await.into_iter().map(strip).collect();
        assert_eq!(json!(of_teams), json!([
            {"change": "CREATED", "id": "Team:1", "fields": null},
            {"change": "CREATED", "id": "Team:2", "fields": null},
            {"change": "UPDATED", "id": "Team:1", "fields": ["NAME", "HEADQUARTERS"]},
            {"change": "DELETED", "id": "Team:1", "fields": null},
        ]));
        // A team without heroes had no memberships to remove, and a hero with one has.
        write(app, "updateHero(input: {id: 1, name: \"B\"})").await;
        assert_eq!(heroes.value().await, json!({"change": "UPDATED", "id": "Hero:1", "fields": ["NAME"],
            "hero": {"name": "B", "teams": [{"name": "U"}]}}), "{hero}");
        write(app, "deleteHeroes(input: [{id: 1}, {id: \"Hero:1\"}])").await;
        assert_eq!(heroes.value().await, json!({"change": "DELETED", "id": "Hero:1", "fields": null, "hero": null}));
        let removed = json!({"change": "REMOVED", "heroId": "Hero:1", "teamId": null, "hero": null, "team": null});
        assert_eq!(memberships.value().await, removed);
    }

    async fn only_what_is_waited_for(app: TestApp) {
        let adults = json!({"where": {"age": {"gte": 18}}, "changes": ["CREATED", "DELETED"]});
        let mut adults = Stream::open(&app.router, HEROES, adults).await;
        let mut of_hero = Stream::open(&app.router, MEMBERSHIPS, json!({"hero": "Hero:2", "changes": ["LINKED", "REMOVED"]})).await;
        write(app, r#"createHeroes(input: [{name: "A", secretName: "a", age: 17}, {name: "B", secretName: "b", age: 18}])"#).await;
        write(app, "updateHero(input: {id: 1, age: 20})").await;
        write(app, r#"createTeam(input: {name: "T", headquarters: "H", heroes: {connect: [1, 2]}})"#).await;
        write(app, "deleteHero(input: {id: 1})").await;
        write(app, "deleteTeam(input: {id: 1})").await;
        let (created, deleted) = (adults.value().await, adults.value().await);
        assert_eq!((&created["id"], &created["change"]), (&json!("Hero:2"), &json!("CREATED")));
        // Of what is deleted only the id is known.
        assert_eq!(deleted, json!({"change": "DELETED", "id": "Hero:1", "fields": null, "hero": null}));
        let (linked, of_other, removed) = (of_hero.value().await, 0, of_hero.value().await);
        assert_eq!((&linked["heroId"], &linked["change"]), (&json!("Hero:2"), &json!("LINKED")));
        // The team may have been one of the hero's.
        assert_eq!((&removed["heroId"], &removed["teamId"]), (&json!(null), &json!("Team:1")), "{of_other}");
    }

    /// A newer version of the program may write what this one does not know, as many as it likes.
    async fn events_of_a_newer_version(app: TestApp) {
        write(app, r#"createHero(input: {name: "A", secretName: "a"})"#).await;
        let mut stream = Stream::open(&app.router, IDS, json!({})).await;
        write(app, r#"createHero(input: {name: "B", secretName: "b"})"#).await;
        let second = stream.next().await.expect("the stream goes on");
        app.execute(&MANY_UPDATES.replace("UPDATED", "ARCHIVED")).await;
        app.execute("INSERT INTO event (kind, change, first_key) VALUES ('hero', 'LINKED', 1)").await;
        write(app, r#"createHero(input: {name: "C", secretName: "c"})"#).await;
        let third = json!({"change": "CREATED", "id": "Hero:3"});
        assert_eq!(stream.value().await, third);
        let mut resumed = Stream::resumed(&app.router, IDS, json!({}), second.id.as_deref()).await;
        assert_eq!(resumed.value().await, third);
        drop((stream, resumed));
        // Nobody has read them yet.
        let mut resumed = Stream::resumed(&app.router, IDS, json!({}), second.id.as_deref()).await;
        assert_eq!(resumed.value().await, third);
    }

    async fn a_subscription_goes_on_after_a_cursor(app: TestApp) {
        let mut stream = Stream::open(&app.router, HEROES, json!({})).await;
        write(app, r#"createHero(input: {name: "A", secretName: "a"})"#).await;
        let first = stream.next().await.expect("an event");
        drop(stream);
        for name in ["B", "C"] {
            write(app, &format!(r#"createHero(input: {{name: "{name}", secretName: "a"}})"#)).await;
        }
        // Another server, or the same after it was started again, has nothing in its memory.
        let again = TestApp::of::<HeroTeams>(app.database.again(), |_| ()).await;
        let after = json!({"after": first.id});
        let mut by_argument = Stream::open(&again.router, HEROES, after.clone()).await;
        let mut by_header = Stream::resumed(&app.router, HEROES, json!({}), first.id.as_deref()).await;
        assert_eq!(by_argument.values(2).await, [created(2, "B"), created(3, "C")]);
        assert_eq!(by_header.value().await, created(2, "B"));
        let third = by_header.next().await.expect("an event").id;
        // The header is newer than the argument.
        let mut newer = Stream::resumed(&app.router, HEROES, after, third.as_deref()).await;
        write(app, r#"createHero(input: {name: "D", secretName: "a"})"#).await;
        for stream in [&mut by_argument, &mut by_header, &mut newer] {
            assert_eq!(stream.value().await, created(4, "D"));
        }
        drop((by_argument, by_header, newer));
        again.db.close().await.expect("it closes");
    }

    async fn a_cursor_that_is_not_kept(app: TestApp) {
        let mut stream = Stream::open(&app.router, HEROES, json!({})).await;
        write(app, r#"createHero(input: {name: "A", secretName: "a"})"#).await;
        let cursor = stream.next().await.expect("an event").id;
        app.execute("UPDATE event SET at = at - 3601").await;
        let gone = |error: Value| (error["extensions"]["code"].clone(), error["path"].clone());
        let old = Stream::open(&app.router, HEROES, json!({"after": cursor})).await.error().await;
        assert_eq!(gone(old), (json!("EVENTS_GONE"), json!(null)));
        app.execute("DELETE FROM event").await;
        let deleted = Stream::open(&app.router, HEROES, json!({"after": cursor})).await.error().await;
        assert_eq!(gone(deleted), (json!("EVENTS_GONE"), json!(null)));
        for (after, path) in [("x", "after"), ("WzEsMl0", "after"), ("Wy0xLDIsM10", "after")] {
            let error = Stream::open(&app.router, HEROES, json!({"after": after})).await.error().await;
            assert_eq!(error["extensions"], json!({"code": "BAD_USER_INPUT", "argumentPath": [path]}), "{error}");
        }
        let wrong = Stream::resumed(&app.router, HEROES, json!({}), Some("x")).await.error().await;
        assert_eq!(wrong["extensions"]["argumentPath"], json!(["Last-Event-ID"]));
    }

    async fn old_events_are_deleted(app: TestApp) {
        for number in 0..3 {
            write(app, &format!(r#"createHero(input: {{name: "{number}", secretName: "a"}})"#)).await;
        }
        // One that is old stays until the next one is as old: somebody may still go on after it.
        app.execute("UPDATE event SET at = at - 3661 WHERE first_key < 3").await;
        let hour = Duration::from_hours(1);
        for (time, left) in [(0, 2), (3_500, 2), (200, 1), (10_000, 1)] {
            app.execute(&format!("UPDATE event SET at = at - {time}")).await;
            // A transaction of another test on the same PostgreSQL may hold them back.
            until(async || {
                assert!(!store::event::purge(&app.db, hour).await.expect("it purges"));
                app.count("SELECT count(*) FROM event").await == left
            })
            .await;
        }
    }

    async fn many_subscribers_are_one_read(app: TestApp) {
        let mut streams = Vec::new();
        for _ in 0..40 {
            streams.push(Stream::open(&app.router, HEROES, json!({})).await);
        }
        app.take_statements();
        write(app, r#"createHero(input: {name: "A", secretName: "a", teams: {create: [{name: "T", headquarters: "H"}]}})"#).await;
        let writes = app.seen();
        for stream in &mut streams {
            assert_eq!(stream.value().await["hero"], json!({"name": "A", "teams": [{"name": "T"}]}));
        }
        let read = app.take_statements();
        assert_eq!(read.len(), 2, "the heroes, and their teams: {read:#?} after {writes}");
        // Others ask for something else, or may read something else.
        streams.push(Stream::open(&app.router, HEROES, json!({"changes": ["CREATED"]})).await);
        app.take_statements();
        let input: Vec<_> = (0..100).map(|hero| json!({"name": format!("H {hero}"), "secretName": "S"})).collect();
        app.data("mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { __typename } }", json!({"input": input})).await;
        for stream in &mut streams {
            for number in 0..100 {
                assert_eq!(stream.value().await["hero"]["name"], json!(format!("H {number}")));
            }
        }
        let sent = app.take_statements();
        let inserts = sent.iter().filter(|statement| statement.sql.contains("INSERT INTO \"event\"")).count();
        assert_eq!((inserts, sent.len()), (1, 2 + 2 * 2), "{sent:#?}");
    }

    async fn a_new_subscription_has_nothing_of_what_was_committed_before(app: TestApp) {
        let mut stream = Stream::open(&app.router, IDS, json!({})).await;
        app.execute(MANY_UPDATES).await;
        let mut later = Stream::open(&app.router, IDS, json!({})).await;
        write(app, r#"createHero(input: {name: "A", secretName: "a"})"#).await;
        let updated = json!({"change": "UPDATED", "id": "Hero:9"});
        let created = json!({"change": "CREATED", "id": "Hero:1"});
        assert_eq!(later.value().await, created);
        assert_eq!(stream.values(MANY).await, vec![updated; MANY]);
        assert_eq!(stream.value().await, created);
    }

    async fn bulk_writes_its_events_in_one_statement(app: TestApp) {
        let input: Vec<_> = (0..1_000).map(|hero| json!({"name": format!("H {hero}"), "secretName": "S",
            "teams": {"connectOrCreate": [{"name": format!("T {}", hero % 9), "headquarters": "H"}]}})).collect();
        let query = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { __typename } }";
        let mut stream = Stream::open(&app.router, "subscription { heroChanged { id } }", json!({})).await;
        let sent = app.statements_of(query, json!({"input": input})).await;
        assert_eq!(sent.iter().filter(|sql| sql.starts_with("INSERT INTO \"event\"")).count(), 1, "{sent:#?}");
        assert_eq!(app.count("SELECT count(*) FROM event").await, 9 + 1_000 + 1_000);
        for number in 1..=1_000 {
            assert_eq!(stream.value().await, json!({"id": format!("Hero:{number}")}));
        }
    }

    async fn a_transaction_that_is_rolled_back_has_no_events(app: TestApp) {
        seed::tutorial(&app.db).await.expect("the tutorial's data");
        let before = app.count("SELECT count(*) FROM event").await;
        assert_eq!(before, 3 + 2 + 4);
        let mut stream = Stream::open(&app.router, HEROES, json!({})).await;
        let answer = app.graphql(r#"mutation { createHero(input: {name: "A", secretName: "a", teams: {connect: [9]}}) { hero { id } } }"#).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "NOT_FOUND");
        let answer = app.graphql("mutation { deleteHeroes(input: [{id: 1}, {id: 9}]) { heroes { id } } }").await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "NOT_FOUND");
        assert_eq!(app.count("SELECT count(*) FROM event").await, before);
        write(app, r#"createHero(input: {name: "B", secretName: "a"})"#).await;
        assert_eq!(stream.value().await["hero"]["name"], "B");
    }

    async fn an_object_that_cannot_be_read(app: TestApp) {
        // The bounds of an answer hold for each batch, and a fault is that of its event alone.
        let app = TestApp::of::<HeroTeams>(app.database.again(), |settings| settings.graphql.limits.max_rows = 12).await;
        let query = "subscription { heroChanged(changes: [CREATED]) { id hero { name teams(limit: 5) { name } } } }";
        let mut stream = Stream::open(&app.router, query, json!({})).await;
        let team = |number: usize| json!({"name": format!("T {number}"), "headquarters": "H"});
        let input = json!([
            {"name": "A", "secretName": "a"},
            {"name": "B", "secretName": "a", "teams": {"create": (0..5).map(team).collect::<Vec<_>>()}},
            {"name": "C", "secretName": "a", "teams": {"create": (0..4).map(team).collect::<Vec<_>>()}},
        ]);
        app.data("mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { __typename } }", json!({"input": input})).await;
        for (name, teams) in [("A", 0), ("B", 5), ("C", 4)] {
            let value = stream.value().await;
            assert_eq!((&value["hero"]["name"], value["hero"]["teams"].as_array().map(Vec::len)), (&json!(name), Some(teams)));
        }
        app.execute("ALTER TABLE hero_team_link RENAME TO gone").await;
        app.execute("INSERT INTO hero (name, secret_name) VALUES ('D', 'd')").await;
        app.execute("INSERT INTO event (kind, change, first_key) VALUES ('hero', 'CREATED', 4)").await;
        let received = stream.next().await.expect("an event").data;
        assert_eq!(received["data"], json!({"heroChanged": {"id": "Hero:4", "hero": null}}));
        assert_eq!(received["errors"][0]["path"], json!(["heroChanged", "hero", "teams"]));
        assert_eq!(received["errors"][0]["extensions"], json!({"code": "INTERNAL"}));
        app.execute("ALTER TABLE gone RENAME TO hero_team_link").await;
        drop(stream);
        app.db.close().await.expect("it closes");
    }
}

/// Servers on one PostgreSQL that tell each other of what they commit.
struct Servers {
    apps: Vec<TestApp>,
    database: TestDatabase,
    _telling: JoinSet<()>,
}

impl Servers {
    async fn start(number: usize, change: impl Fn(&mut Settings)) -> Option<Self> {
        Some(Self::on(TestDatabase::postgres().await?, number, change).await)
    }

    async fn on(database: TestDatabase, number: usize, change: impl Fn(&mut Settings)) -> Self {
        let (mut apps, mut telling) = (Vec::new(), JoinSet::new());
        for _ in 0..number {
            let app = TestApp::with(database.again(), &change).await;
            let events = app.events.clone();
            telling.spawn(async move { events.tell().await });
            apps.push(app);
        }
        Self { apps, database, _telling: telling }
    }

    async fn stop(self) {
        for app in self.apps {
            app.db.close().await.expect("the database closes");
        }
        self.database.remove().await;
    }
}

/// What is told is enough: nobody looks by itself.
fn without_poll(settings: &mut Settings) {
    settings.events.events_poll = Duration::from_hours(1);
}

/// More events than are read at once.
const MANY: usize = 2_500;
const MANY_UPDATES: &str = "INSERT INTO event (kind, change, first_key) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL \
    SELECT i + 1 FROM n WHERE i < 2500) SELECT 'hero', 'UPDATED', 9 FROM n";
pub const IDS: &str = "subscription { heroChanged { cursor change id } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_tell_the_same_in_the_same_order() {
    let Some(servers) = Servers::start(2, without_poll).await else { return };
    let mut streams = Vec::new();
    for number in 0..40 {
        streams.push(Stream::open(&servers.apps[number % 2].router, IDS, json!({})).await);
    }
    let writers = (0..4).map(|writer| {
        let app = &servers.apps[writer % 2];
        async move {
            for number in 0..50 {
                write(app, &format!(r#"createHero(input: {{name: "{writer} {number}", secretName: "a"}})"#)).await;
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let first = streams[0].values(200).await;
    let mut ids: Vec<_> = first.iter().map(|value| value["id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    for stream in &mut streams[1..] {
        assert_eq!(stream.values(200).await, first);
    }
    drop(streams);
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_whose_connection_ends() {
    let Some(servers) = Servers::start(2, without_poll).await else { return };
    let mut stream = Stream::open(&servers.apps[1].router, IDS, json!({})).await;
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    for number in 1..=50 {
        until(async || servers.apps[0].count(listening).await > 0).await;
        let end = listening.replace("count(*)", "pg_terminate_backend(pid)");
        execute(&servers.database.url, &end).await;
        write(&servers.apps[0], &format!(r#"createHero(input: {{name: "{number}", secretName: "a"}})"#)).await;
        assert_eq!(stream.value().await, json!({"change": "CREATED", "id": format!("Hero:{number}")}));
    }
    drop(stream);
    servers.stop().await;
}

/// A network that loses a connection without a word: the connections that tell and that listen are replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_which_nothing_is_heard() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let mut over_line = database.again();
    let Some(line) = Line::on(&mut over_line).await else { return database.remove().await };
    let url: PostgresUrl = over_line.url.parse().expect("a URL");
    let servers = Servers::on(database, 2, |settings| {
        without_poll(settings);
        settings.events.events_url = Some(url.clone());
    });
    let servers = servers.await;
    let mut stream = Stream::open(&servers.apps[1].router, IDS, json!({})).await;
    for number in 1..=4 {
        write(&servers.apps[0], r#"createHero(input: {name: "A", secretName: "a"})"#).await;
        assert_eq!(stream.value().await, json!({"change": "CREATED", "id": format!("Hero:{number}")}));
        if number == 2 {
            line.rules.swallow_calls();
        }
    }
    drop(stream);
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_listen_looks_by_itself() {
    let deaf = |settings: &mut Settings| {
        settings.events.events_url = Some("postgres://nobody@127.0.0.1:1/none".parse().expect("a URL"));
        settings.events.events_poll = Duration::from_millis(20);
    };
    let Some(servers) = Servers::start(2, deaf).await else { return };
    let mut stream = Stream::open(&servers.apps[1].router, IDS, json!({})).await;
    for number in 1..=3 {
        write(&servers.apps[0], r#"createHero(input: {name: "A", secretName: "a"})"#).await;
        assert_eq!(stream.value().await, json!({"change": "CREATED", "id": format!("Hero:{number}")}));
    }
    drop(stream);
    servers.stop().await;
}

/// What commits later comes later, though its transaction began earlier, and is not passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_open_for_long() {
    let Some(servers) = Servers::start(1, |_| ()).await else { return };
    let app = &servers.apps[0];
    let mut stream = Stream::open(&app.router, IDS, json!({})).await;
    let open = app.db.write.begin().await.expect("it begins");
    open.execute_unprepared("INSERT INTO event (kind, change, first_key) VALUES ('hero', 'UPDATED', 7)")
        .await
        .expect("it writes");
    for _ in 0..3 {
        write(app, r#"createHero(input: {name: "A", secretName: "a"})"#).await;
    }
    let read = event::after(&app.db, Cursor::default(), 10).await.expect("it reads").expect("it begins");
    assert_eq!((read.ready.len(), read.held), (0, 3));
    // They are more than are read at once.
    app.execute(MANY_UPDATES).await;
    // Whoever begins now has nothing of what was committed before, also when it comes later.
    let mut later = Stream::open(&app.router, IDS, json!({})).await;
    write(app, r#"createHero(input: {name: "A", secretName: "a"})"#).await;
    open.commit().await.expect("it commits");
    let created = |id: usize| json!({"change": "CREATED", "id": format!("Hero:{id}")});
    let updated = json!({"change": "UPDATED", "id": "Hero:7"});
    assert_eq!(stream.values(4).await, [updated.clone(), created(1), created(2), created(3)]);
    let of_many = json!({"change": "UPDATED", "id": "Hero:9"});
    assert_eq!(stream.values(MANY).await, vec![of_many; MANY]);
    assert_eq!(stream.value().await, created(4));
    assert_eq!(later.values(2).await, [updated, created(4)]);
    drop((stream, later));
    servers.stop().await;
}

/// After an hour in which nothing is written, a transaction holds an event back. What those who listen have had last
/// is not deleted meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_hour_before_a_transaction_that_is_open() {
    let Some(servers) = Servers::start(1, |_| ()).await else { return };
    let app = &servers.apps[0];
    let mut stream = Stream::open(&app.router, IDS, json!({})).await;
    write(app, r#"createHero(input: {name: "A", secretName: "a"})"#).await;
    assert_eq!(stream.value().await["change"], "CREATED");
    drop(stream);
    app.execute("UPDATE event SET at = at - 10000").await;
    let mut stream = Stream::open(&app.router, IDS, json!({})).await;
    let open = app.db.write.begin().await.expect("it begins");
    open.execute_unprepared("INSERT INTO hero (name, secret_name) VALUES ('B', 'b')").await.expect("it writes");
    write(app, r#"createHero(input: {name: "C", secretName: "c"})"#).await;
    assert!(!event::purge(&app.db, Duration::from_hours(1)).await.expect("it purges"));
    assert_eq!(app.count("SELECT count(*) FROM event").await, 2);
    open.commit().await.expect("it commits");
    assert_eq!(stream.value().await["change"], "CREATED");
    drop(stream);
    servers.stop().await;
}

/// A client that takes some events at a time: it gets what the model has, however often it breaks off and goes on.
struct Follower {
    stream: Stream,
    /// How many of all events it has.
    seen: usize,
    cursor: Option<String>,
}

on_both_databases! {
    async fn clients_that_break_off_and_go_on(app: TestApp) {
        let seed = std::env::var("TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        eprintln!("TEST_SEED={seed}");
        // More of them take more time: TEST_STEPS=10000.
        let steps = std::env::var("TEST_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(600);
        let mut random = fastrand::Rng::with_seed(seed);
        let other = TestApp::of::<HeroTeams>(app.database.again(), |settings| {
            // The two do not tell each other anything here.
            settings.events.events_poll = Duration::from_millis(5);
        }).await;
        let routers = [&app.router, &other.router];
        let mut model: Vec<Value> = Vec::new();
        let (mut heroes, mut next) = (Vec::<usize>::new(), 1);
        let mut followers: Vec<Follower> = Vec::new();
        for _ in 0..steps {
            match random.u8(..100) {
                0..45 => {
                    let (change, id) = match random.u8(..10) {
                        0..5 => {
                            let number = random.usize(1..4);
                            let input: Vec<_> = (0..number).map(|_| json!({"name": "A", "secretName": "a", "age": 0})).collect();
                            app.data("mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { __typename } }", json!({"input": input})).await;
                            for _ in 0..number {
                                heroes.push(next);
                                model.push(json!({"change": "CREATED", "id": format!("Hero:{next}")}));
                                next += 1;
                            }
                            continue;
                        }
                        5..9 if !heroes.is_empty() => {
                            let id = heroes[random.usize(..heroes.len())];
                            let input = json!({"input": {"id": id, "name": random.u64(..).to_string()}});
                            app.data("mutation($input: UpdateHeroInput!) { updateHero(input: $input) { __typename } }", input).await;
                            ("UPDATED", id)
                        }
                        _ if !heroes.is_empty() => {
                            let id = heroes.swap_remove(random.usize(..heroes.len()));
                            write(app, &format!("deleteHero(input: {{id: {id}}})")).await;
                            ("DELETED", id)
                        }
                        _ => continue,
                    };
                    model.push(json!({"change": change, "id": format!("Hero:{id}")}));
                }
                45..50 if followers.len() < 8 => {
                    let stream = Stream::open(routers[random.usize(..2)], IDS, json!({})).await;
                    followers.push(Follower { stream, seen: model.len(), cursor: None });
                }
                50..75 => {
                    // It takes some of what there is.
                    let Some(follower) = random.choice(&mut followers) else { continue };
                    for _ in 0..random.usize(..=model.len() - follower.seen) {
                        let received = follower.stream.next().await.expect("the stream goes on");
                        let mut value = received.data["data"]["heroChanged"].clone();
                        value.as_object_mut().expect("an object").remove("cursor");
                        assert_eq!(value, model[follower.seen]);
                        follower.seen += 1;
                        follower.cursor = received.id;
                    }
                }
                _ => {
                    let Some(follower) = random.choice(&mut followers) else { continue };
                    // Without a cursor it can only begin anew.
                    let (router, cursor) = (routers[random.usize(..2)], follower.cursor.clone());
                    let stream = match &cursor {
                        Some(_) if random.bool() => Stream::resumed(router, IDS, json!({}), cursor.as_deref()).await,
                        Some(cursor) => {
                            let query = "subscription($after: String) { heroChanged(after: $after) { cursor change id } }";
                            Stream::open(router, query, json!({"after": cursor})).await
                        }
                        None => Stream::open(router, IDS, json!({})).await,
                    };
                    if cursor.is_none() {
                        follower.seen = model.len();
                    }
                    follower.stream = stream;
                }
            }
        }
        for follower in &mut followers {
            assert_eq!(follower.stream.values(model.len() - follower.seen).await, model[follower.seen..]);
        }
        drop(followers);
        other.db.close().await.expect("it closes");
    }

    // A client that takes its events is not too slow, however many come at once.
    async fn more_events_at_once_than_are_in_memory(app: TestApp) {
        let query = "subscription { heroChanged { cursor change hero { id teams { name } } } }";
        let mut streams = Vec::new();
        for query in [query, IDS] {
            streams.push(Stream::open(&app.router, query, json!({})).await);
        }
        let heroes: Vec<_> = (0..990).map(|_| json!({"name": "A", "secretName": "a"})).collect();
        let team = json!({"name": "T", "headquarters": "H", "heroes": {"create": heroes}});
        let create = "mutation($input: [CreateTeamInput!]!) { createTeams(input: $input) { __typename } }";
        app.data(create, json!({"input": vec![team; 10]})).await;
        for number in 1..=9_900 {
            let hero = json!({"id": format!("Hero:{number}"), "teams": [{"name": "T"}]});
            assert_eq!(streams[0].value().await, json!({"change": "CREATED", "hero": hero}));
            assert_eq!(streams[1].value().await, json!({"change": "CREATED", "id": format!("Hero:{number}")}));
        }
        // Once they have all, they go on with the others.
        write(app, "deleteHero(input: {id: 1})").await;
        assert_eq!(streams[1].value().await, json!({"change": "DELETED", "id": "Hero:1"}));
    }

    async fn who_is_too_slow_is_told(app: TestApp) {
        let mut slow = Stream::open(&app.router, IDS, json!({})).await;
        let mut quick = Stream::open(&app.router, "subscription { heroChanged { id } }", json!({})).await;
        write(app, r#"createHero(input: {name: "A", secretName: "a"})"#).await;
        let cursor = slow.next().await.expect("an event").id;
        assert_eq!(quick.value().await, json!({"id": "Hero:1"}));
        // More than are in memory, of which one client takes none for more than a second.
        let input: Vec<_> = (0..1_000).map(|_| json!({"name": "A", "secretName": "a"})).collect();
        let (start, mut rounds) = (Instant::now(), 0);
        while rounds < 11 || start.elapsed() < Duration::from_secs(1) {
            let round = rounds;
            rounds += 1;
            app.data("mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { __typename } }", json!({"input": input})).await;
            for number in 0..1_000 {
                assert_eq!(quick.value().await, json!({"id": format!("Hero:{}", round * 1_000 + number + 2)}));
            }
        }
        let mut received = Vec::new();
        let error = loop {
            let next = slow.next().await.expect("the stream goes on");
            match next.data.get("errors") {
                Some(errors) => break errors[0].clone(),
                None => received.push(next),
            }
        };
        assert_eq!(error["extensions"], json!({"code": "SLOW_CONSUMER"}));
        assert_eq!(slow.next().await.expect("the end").event, "complete");
        // Whoever goes on after the last cursor has the rest.
        let taken = 1 + received.len();
        let cursor = received.pop().map_or(cursor, |last| last.id);
        let mut again = Stream::resumed(&app.router, IDS, json!({}), cursor.as_deref()).await;
        let all = 1 + rounds * 1_000;
        again.values(all - taken).await;
        write(app, r#"createHero(input: {name: "A", secretName: "a"})"#).await;
        assert_eq!(again.value().await, json!({"change": "CREATED", "id": format!("Hero:{}", all + 1)}));
    }
}

on_both_databases! {
    async fn a_server_without_events(app: TestApp) {
        let app = TestApp::of::<HeroTeams>(app.database.again(), |settings| settings.db.events = false).await;
        let create = r#"mutation { createHero(input: {name: "A", secretName: "a"}) { hero { id } } }"#;
        assert_eq!(app.statements_of(create, json!({})).await.len(), 1);
        write(&app, "updateHero(input: {id: 1, age: 4})").await;
        write(&app, "deleteHero(input: {id: 1})").await;
        assert_eq!(app.count("SELECT count(*) FROM event").await, 0);
        let error = Stream::open(&app.router, HEROES, json!({})).await.error().await;
        assert_eq!(error, json!({"message": "events are turned off on this server", "extensions": {"code": "BAD_USER_INPUT"}}));
        app.db.close().await.expect("it closes");
    }

    async fn a_subscription_that_has_an_end(app: TestApp) {
        let app = TestApp::of::<HeroTeams>(app.database.again(), |settings| {
            settings.events.max_subscription_time = Duration::from_millis(50);
        }).await;
        let mut stream = Stream::open(&app.router, HEROES, json!({})).await;
        let end = stream.next().await.expect("the end");
        assert_eq!((end.event.as_str(), end.data), ("complete", json!(null)));
        assert_eq!(stream.next().await, None);
        until(async || app.events.listeners() == 0).await;
        app.db.close().await.expect("it closes");
    }

    /// A field that several fragments select is one field (Single Root Field).
    async fn a_field_that_is_selected_several_times(app: TestApp) {
        for (number, query) in (1..).zip([
            "subscription { teamChanged { id } teamChanged { change } }",
            "subscription { ...A teamChanged { id } } fragment A on Subscription { teamChanged { change } }",
            "subscription { ...A ...B } fragment A on Subscription { teamChanged { id } }
                fragment B on Subscription { teamChanged { change } }",
        ]) {
            let mut stream = Stream::open(&app.router, query, json!({})).await;
            write(app, r#"createTeam(input: {name: "T", headquarters: "H"})"#).await;
            assert_eq!(stream.value().await, json!({"id": format!("Team:{number}"), "change": "CREATED"}), "{query}");
        }
        for query in [
            "subscription { a: teamChanged { id } teamChanged { id } }",
            "subscription { teamChanged { id } heroChanged { id } }",
        ] {
            let error = Stream::open(&app.router, query, json!({})).await.error().await;
            let message = error["message"].as_str().expect("there is one");
            assert!(message.contains("can only have one root field"), "{message}");
        }
        let query = "subscription { teamChanged { id } teamChanged { nothing } }";
        let error = Stream::open(&app.router, query, json!({})).await.error().await;
        assert!(error["message"].as_str().is_some_and(|message| message.contains("`nothing`")), "{error}");
    }

    async fn what_is_no_subscription(app: TestApp) {
        // As JSON there is no answer to a subscription, and as a stream there is one to everything else.
        let refused = app.graphql("subscription { heroChanged { id } }").await;
        assert_eq!(refused["errors"][0]["extensions"], json!({"code": "BAD_USER_INPUT"}));
        assert_eq!(refused.get("data"), None);
        for (query, data) in [
            ("{ heroes { id } }", json!({"data": {"heroes": []}})),
            (r#"mutation { createTeam(input: {name: "T", headquarters: "H"}) { team { id } } }"#,
                json!({"data": {"createTeam": {"team": {"id": "Team:1"}}}})),
        ] {
            let mut stream = Stream::open(&app.router, query, json!({})).await;
            let next = stream.next().await.expect("an answer");
            assert_eq!((next.event.as_str(), next.id, next.data), ("next", None, data));
            assert_eq!(stream.next().await.expect("the end").event, "complete");
        }
        for query in ["{", "{ nothing }", "subscription { nothing }"] {
            let error = Stream::open(&app.router, query, json!({})).await.error().await;
            assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{query}");
        }
        // What is refused before there is a stream is an answer of HTTP.
        let get = |query: &str| Request::get(format!("/graphql?query={query}")).header(ACCEPT, "text/event-stream");
        let mutation = get("mutation{deleteTeam(input:{id:1}){team{id}}}").body(Body::empty()).expect("a request");
        let response = app.router.clone().oneshot(mutation).await.expect("an answer");
        assert_eq!((response.status(), response.headers()[CONTENT_TYPE].to_str().expect("it is text")), (StatusCode::METHOD_NOT_ALLOWED, "application/json; charset=utf-8"));
        let mut stream = Stream::of(&app.router, get("subscription{teamChanged{id}}").body(Body::empty()).expect("a request")).await;
        write(app, "deleteTeam(input: {id: 1})").await;
        assert_eq!(stream.value().await, json!({"id": "Team:1"}));
    }
}
