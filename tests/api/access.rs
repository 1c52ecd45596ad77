//! Who may do what: scopes, credentials, and the doors to what is secret.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use apollo_compiler::{Schema, ast::DirectiveList, schema::ExtendedType};
use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, Request, StatusCode,
        header::{ACCEPT, ALLOW, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
};
use fastrand::Rng;
use hero_teams::{
    access::ApiKeys,
    config::Introspection,
    schema::{Scope, Scopes},
    store::seed,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    databases::TestDatabase,
    logged::Log,
    property::{Side, age, filter, order, selection, text as text_of},
    support::{Settings, TestApp, config, json_body, text_body},
};

/// A server that accepts API keys, with the tutorial's data.
pub async fn app_with(database: TestDatabase, flags: &[&str], change: impl FnOnce(&mut Settings)) -> TestApp {
    let mut access = config(flags).access;
    access.api_keys = true;
    let app = TestApp::with(database, |settings| {
        settings.access = access;
        change(settings);
    });
    let app = app.await;
    seed::tutorial(&app.db).await.expect("the data is loaded");
    app.take_statements();
    app
}

async fn app(database: TestDatabase) -> TestApp {
    app_with(database, &[], |_| ()).await
}

/// Runs a test on both databases, with a server that accepts API keys.
macro_rules! on_both {
    ($($(#[$attribute:meta])* async fn $name:ident($app:ident: &TestApp) $body:block)+) => {$(
        $(#[$attribute])*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            async fn test($app: &TestApp) $body
            for database in [Some(TestDatabase::sqlite()), TestDatabase::postgres_as_asked().await].into_iter().flatten() {
                let app = app(database).await;
                test(&app).await;
                app.close().await;
            }
        }
    )+};
}

/// A new key with these scopes.
pub async fn key(app: &TestApp, scopes: &[Scope]) -> String {
    let scopes = scopes.iter().copied().collect();
    ApiKeys::new(&app.db).create("test", scopes, None).await.expect("the key is made").key
}

const READ: &[Scope] = &[Scope::Read];
const READ_WRITE: &[Scope] = &[Scope::Read, Scope::Write];

/// The status, the headers and the body of the answer to a request with a credential.
async fn send(app: &TestApp, key: Option<&str>, accept: &str, request: &Value) -> (StatusCode, HeaderMap, Value) {
    let mut builder = Request::post("/graphql").header(CONTENT_TYPE, "application/json").header(ACCEPT, accept);
    if let Some(key) = key {
        builder = builder.header(AUTHORIZATION, format!("Bearer {key}"));
    }
    let request = builder.body(Body::from(request.to_string())).expect("it is a request");
    let response = app.router.clone().oneshot(request).await.expect("the router answers");
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, json_body(response).await)
}

async fn ask(app: &TestApp, key: &str, query: &str, variables: Value) -> Value {
    let request = json!({"query": query, "variables": variables});
    let (status, _, answer) = send(app, Some(key), "application/json", &request).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

const RESPONSE: &str = "application/graphql-response+json";

/// A document, its variables, and the errors of a client without the scope.
type Door = (&'static str, Value, Value);

/// The error of a field in the first line.
fn field(column: u32) -> Value {
    json!({
        "message": "`Hero.secretName` requires the scope `read:secrets`",
        "locations": [{"line": 1, "column": column}],
        "extensions": {"code": "FORBIDDEN", "requires": "read:secrets", "coordinate": "Hero.secretName"},
    })
}

/// The error of a value in an argument.
fn input(coordinate: &str, column: u32, path: Value) -> Value {
    json!({
        "message": format!("`{coordinate}` requires the scope `read:secrets`"),
        "locations": [{"line": 1, "column": column}],
        "extensions": {
            "code": "FORBIDDEN", "requires": "read:secrets", "coordinate": coordinate, "argumentPath": path,
        },
    })
}

/// The error of a value in a variable.
fn variable(coordinate: &str, path: Value) -> Value {
    json!({
        "message": format!("`{coordinate}` requires the scope `read:secrets`"),
        "extensions": {
            "code": "FORBIDDEN", "requires": "read:secrets", "coordinate": coordinate, "variablePath": path,
        },
    })
}

fn no() -> Value {
    json!({})
}

const FILTER: &str = "HeroFilter.secretName";
const ORDER: &str = "HeroOrderField.SECRET_NAME";

/// What reads `secretName`, or finds heroes by it.
fn doors() -> impl Iterator<Item = Door> {
    selections().into_iter().chain(filters()).chain(orders_and_matches())
}

/// Selected, on each way to a hero.
fn selections() -> Vec<Door> {
    vec![
        ("{ hero(id: 1) { secretName } }", no(), json!([field(17)])),
        ("{ heroes { a: secretName } }", no(), json!([field(12)])),
        ("{ heroesConnection { nodes { secretName } } }", no(), json!([field(30)])),
        ("{ heroesConnection { edges { node { secretName } } } }", no(), json!([field(37)])),
        ("{ teams { heroes { secretName } } }", no(), json!([field(20)])),
        ("{ teams { heroesConnection { edges { node { secretName } } } } }", no(), json!([field(45)])),
        ("{ heroes { teams { heroes { teams { heroes { secretName } } } } } }", no(), json!([field(46)])),
        (r#"{ node(id: "Hero:1") { ... on Hero { secretName } } }"#, no(), json!([field(38)])),
        (r#"{ nodes(ids: ["Hero:1"]) { ...F } } fragment F on Hero { secretName }"#, no(), json!([field(58)])),
        ("query($c: Boolean!) { heroes { secretName @include(if: $c) } }", json!({"c": true}), json!([field(32)])),
        ("query($c: Boolean = false) { heroes { ... @skip(if: $c) { secretName } } }", no(), json!([field(59)])),
        (
            r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { secretName } } }"#,
            no(),
            json!([field(69)]),
        ),
        (
            r#"mutation { createTeam(input: {name: "A", headquarters: "B"}) { team { heroes { secretName } } } }"#,
            no(),
            json!([field(80)]),
        ),
        ("mutation { updateHero(input: {id: 1, age: 3}) { hero { secretName } } }", no(), json!([field(56)])),
        ("mutation { deleteHeroes(input: [{id: 1}]) { heroes { secretName } } }", no(), json!([field(54)])),
    ]
}

/// In filters, at any depth.
fn filters() -> Vec<Door> {
    vec![
        (
            r#"{ heroes(where: {secretName: {eq: "x"}}) { id } }"#,
            no(),
            json!([input(FILTER, 30, json!(["where", "secretName"]))]),
        ),
        (
            "{ heroes(where: {secretName: {}}) { id } }",
            no(),
            json!([input(FILTER, 30, json!(["where", "secretName"]))]),
        ),
        (
            r#"{ heroes(where: {or: [{}, {not: {secretName: {contains: "x"}}}]}) { id } }"#,
            no(),
            json!([input(FILTER, 46, json!(["where", "or", 1, "not", "secretName"]))]),
        ),
        (
            r#"{ teams(where: {heroes: {every: {secretName: {ne: "x"}}}}) { id } }"#,
            no(),
            json!([input(FILTER, 46, json!(["where", "heroes", "every", "secretName"]))]),
        ),
        (
            r#"{ teams { heroCount(where: {secretName: {startsWith: "x"}}) } }"#,
            no(),
            json!([input(FILTER, 41, json!(["where", "secretName"]))]),
        ),
        (
            r#"{ teams { heroesConnection(where: {secretName: {endsWith: "x"}}) { totalCount } } }"#,
            no(),
            json!([input(FILTER, 48, json!(["where", "secretName"]))]),
        ),
        (
            r#"mutation { updateTeam(input: {id: 1}) { team { heroCount(where: {secretName: {in: ["x"]}}) } } }"#,
            no(),
            json!([input(FILTER, 78, json!(["where", "secretName"]))]),
        ),
        (
            "query($w: HeroFilter) { heroes(where: $w) { id } }",
            json!({"w": {"and": [{"secretName": {"eq": "x"}}]}}),
            json!([variable(FILTER, json!(["w", "and", 0, "secretName"]))]),
        ),
        (
            r#"query($w: HeroFilter = {secretName: {eq: "x"}}) { heroes(where: $w) { id } }"#,
            no(),
            json!([variable(FILTER, json!(["w", "secretName"]))]),
        ),
        (
            "query($f: StringFilter) { heroes(where: {secretName: $f}) { id } }",
            json!({"f": {"eq": "x"}}),
            json!([input(FILTER, 54, json!(["where", "secretName"]))]),
        ),
        (
            "query($l: [HeroFilter!]) { heroes(where: {and: $l}) { id } }",
            json!({"l": {"secretName": {"eq": "x"}}}),
            json!([variable(FILTER, json!(["l", "secretName"]))]),
        ),
    ]
}

/// In orders, and with them in cursors, and by what finds heroes by their values.
fn orders_and_matches() -> Vec<Door> {
    let of_team = |verb: &str| format!("TeamHeroes{verb}Input.connectOrCreate");
    vec![
        (
            "{ heroes(orderBy: [{field: AGE}, {field: SECRET_NAME}]) { id } }",
            no(),
            json!([input(ORDER, 42, json!(["orderBy", 1, "field"]))]),
        ),
        (
            "{ heroesConnection(orderBy: {field: SECRET_NAME}, first: 1) { pageInfo { endCursor } } }",
            no(),
            json!([input(ORDER, 37, json!(["orderBy", "field"]))]),
        ),
        (
            "query($f: HeroOrderField!) { teams { heroes(orderBy: {field: $f}) { id } } }",
            json!({"f": "SECRET_NAME"}),
            json!([variable(ORDER, json!(["f"]))]),
        ),
        (
            "query($o: [HeroOrder!]) { heroes(orderBy: $o) { id } }",
            json!({"o": [{"field": "SECRET_NAME"}]}),
            json!([variable(ORDER, json!(["o", 0, "field"]))]),
        ),
        (
            r#"mutation { createTeam(input: {name: "A", headquarters: "B", heroes: {connectOrCreate: [{name: "Deadpond",
                secretName: "Dive Wilson"}]}}) { team { id heroes { id } } } }"#,
            no(),
            json!([input(&of_team("Create"), 87, json!(["input", "heroes", "connectOrCreate"]))]),
        ),
        (
            "mutation($input: [UpdateTeamInput!]!) { updateTeams(input: $input) { teams { id } } }",
            json!({"input": [{"id": 1}, {"id": 2, "heroes": {"connectOrCreate": [{"name": "A", "secretName": "B"}]}}]}),
            json!([variable(&of_team("Update"), json!(["input", 1, "heroes", "connectOrCreate"]))]),
        ),
    ]
}

/// What a credential without the scopes is told (RFC 6750, 3.1).
const INSUFFICIENT_SCOPE: &str = r#"Bearer realm="hero-teams", error="insufficient_scope""#;

on_both! {
    async fn each_door_to_a_secret_is_closed_without_the_scope(app: &TestApp) {
        let (without, with) = (key(app, READ_WRITE).await, key(app, &[Scope::Admin]).await);
        let rows = app.counts().await;
        for (query, variables, errors) in doors() {
            app.take_statements();
            let request = json!({"query": query, "variables": variables});
            let (status, headers, answer) = send(app, Some(&without), RESPONSE, &request).await;
            assert_eq!(answer, json!({"errors": errors}), "{query}");
            assert_eq!(status, StatusCode::FORBIDDEN, "{query}");
            assert_eq!(headers[WWW_AUTHENTICATE], INSUFFICIENT_SCOPE, "{query}");
            assert_eq!(app.take_statements().len(), 0, "{query}");
            assert_eq!(ask(app, &without, query, variables).await, json!({"errors": errors}), "{query}");
        }
        assert_eq!(app.counts().await, rows);
        for (query, variables, _) in doors() {
            let answer = ask(app, &with, query, variables).await;
            assert_eq!(answer.get("errors"), None, "{query}: {answer}");
        }
    }

    async fn what_is_not_secret_asks_for_no_more_than_its_operation(app: &TestApp) {
        let key = key(app, READ_WRITE).await;
        for (query, variables) in [
            ("{ heroes(where: {name: {eq: \"x\"}}, orderBy: {field: AGE}) { id name age teams { name } } }", json!({})),
            ("query($c: Boolean!) { heroes { id secretName @include(if: $c) } }", json!({"c": false})),
            ("query($c: Boolean!) { heroes { ...F @skip(if: $c) } } fragment F on Hero { secretName }", json!({"c": true})),
            ("query($f: StringFilter) { heroes(where: {and: [{secretName: $f}]}) { id } }", json!({})),
            ("query($f: HeroOrderField!) { heroes(orderBy: {field: $f}) { id } }", json!({"f": "NAME"})),
            ("query($w: HeroFilter) { heroes(where: $w) { id } }", json!({"w": {"name": {"eq": "x"}}})),
            ("mutation($i: CreateHeroInput!) { createHero(input: $i) { hero { id name } } }",
                json!({"i": {"name": "A", "secretName": "B", "teams": {"connectOrCreate": [
                    {"name": "Z-Force", "headquarters": "Sister Margaret's Bar"}]}}})),
            ("mutation { updateHero(input: {id: 1, secretName: \"C\"}) { hero { id } } }", json!({})),
            ("mutation { createTeam(input: {name: \"A\", headquarters: \"B\", heroes: {create: [
                {name: \"A\", secretName: \"B\"}], connect: [1]}}) { team { id } } }", json!({})),
            ("{ __schema { queryType { name } } __type(name: \"Hero\") { fields { name } } }", json!({})),
        ] {
            let answer = ask(app, &key, query, variables).await;
            assert_eq!(answer.get("errors"), None, "{query}: {answer}");
        }
    }

    /// Otherwise the number of statements, which clients are told, would say whether a guess is right.
    async fn a_secret_cannot_be_guessed_by_writing_it(app: &TestApp) {
        let writer = key(app, &[Scope::Write]).await;
        let mut statements = Vec::new();
        for guess in ["Dive Wilson", "Dive Wilson", "Wilson Slade"] {
            app.take_statements();
            let query = "mutation($guess: String!) { updateHero(input: {id: 1, secretName: $guess}) { hero { id } } }";
            let answer = ask(app, &writer, query, json!({"guess": guess})).await;
            assert_eq!(answer, json!({"data": {"updateHero": {"hero": {"id": "Hero:1"}}}}));
            statements.push(app.take_statements().into_iter().map(|statement| statement.sql).collect::<Vec<_>>());
        }
        assert!(statements[0].iter().any(|sql| sql.contains("event")), "{statements:?}");
        assert_eq!((&statements[0], &statements[1]), (&statements[2], &statements[2]));
        // Whoever may read it is not told of what has not changed.
        let reader = key(app, &[Scope::Write, Scope::ReadSecrets]).await;
        app.take_statements();
        let query = r#"mutation { updateHero(input: {id: 1, secretName: "Wilson Slade"}) { hero { id } } }"#;
        ask(app, &reader, query, json!({})).await;
        let unchanged = app.take_statements();
        assert!(!unchanged.iter().any(|statement| statement.sql.contains("event")), "{unchanged:?}");
    }

    async fn an_operation_asks_for_read_or_write(app: &TestApp) {
        let denied = |code: &str, coordinate: &str, column: u32, scope: &str| json!({
            "message": format!("`{coordinate}` requires the scope `{scope}`"),
            "locations": [{"line": 1, "column": column}],
            "extensions": {"code": code, "requires": scope, "coordinate": coordinate},
        });
        let query = "{ heroes { id } a: teams { id } __typename __schema { queryType { name } } }";
        let mutation = "mutation { deleteHero(input: {id: 1}) { hero { id } } }";
        let of_query = |code: &str| json!({"errors": [
            denied(code, "Query.heroes", 3, "read"),
            denied(code, "Query.teams", 17, "read"),
            denied(code, "Query.__typename", 33, "read"),
        ]});
        let of_mutation = |code: &str| json!({"errors": [denied(code, "Mutation.deleteHero", 12, "write")]});
        app.take_statements();
        // Nobody: 401, whatever the media type is.
        for accept in [RESPONSE, "application/json"] {
            for (document, errors) in [(query, of_query("UNAUTHENTICATED")), (mutation, of_mutation("UNAUTHENTICATED"))] {
                let (status, headers, answer) = send(app, None, accept, &json!({"query": document})).await;
                assert_eq!((status, text(&headers[WWW_AUTHENTICATE])), (StatusCode::UNAUTHORIZED, &*challenge("")));
                assert_eq!(answer, errors);
            }
        }
        // Somebody who may do something else.
        let (reader, writer, none) = (key(app, READ).await, key(app, &[Scope::Write]).await, key(app, &[]).await);
        for (key, document, errors) in [
            (&reader, mutation, of_mutation("FORBIDDEN")),
            (&writer, query, of_query("FORBIDDEN")),
            (&none, query, of_query("FORBIDDEN")),
        ] {
            let (status, _, answer) = send(app, Some(key), RESPONSE, &json!({"query": document})).await;
            assert_eq!((status, answer), (StatusCode::FORBIDDEN, errors));
        }
        assert_eq!(app.take_statements().len(), 0);
        // What is left out of the root asks for nothing.
        for left_out in [
            "{ heroes @skip(if: true) { id } __schema { queryType { name } } }",
            "query($no: Boolean = false) { ...F @include(if: $no) __schema { queryType { name } } }
                fragment F on Query { heroes { id } }",
        ] {
            let answer = ask(app, &none, left_out, json!({})).await;
            assert_eq!(answer, json!({"data": {"__schema": {"queryType": {"name": "Query"}}}}));
        }
        // What is left out in one place, or not at all, asks as ever.
        for executed in [
            "{ ...F @skip(if: true) ...F } fragment F on Query { heroes { id } }",
            "{ heroes @skip(if: true) { id } ...G } fragment G on Query { ...F } fragment F on Query { heroes { id } }",
            "query($yes: Boolean = true) { heroes @include(if: $yes) { id } }",
            "query($yes: Boolean! = true, $no: Boolean! = false) { heroes @skip(if: $no) @include(if: $yes) { id } }",
            "{ ... @include(if: true) { ... @skip(if: false) { heroes { id } } } }",
        ] {
            let answer = ask(app, &none, executed, json!({})).await;
            let denied = &answer["errors"][0]["extensions"]["coordinate"];
            assert_eq!((denied, answer.get("data")), (&json!("Query.heroes"), None), "{executed}");
        }
        let (status, _, answer) = send(app, Some(&reader), RESPONSE, &json!({"query": query})).await;
        assert_eq!((status, answer.get("errors")), (StatusCode::OK, None));
        // What a mutation reads for its payload goes with it.
        let mutation = "mutation { deleteHero(input: {id: 1}) { hero { name teams { name } } } }";
        let (status, _, answer) = send(app, Some(&writer), RESPONSE, &json!({"query": mutation})).await;
        assert_eq!((status, &answer["data"]["deleteHero"]["hero"]["name"]), (StatusCode::OK, &json!("Deadpond")));
    }
}

/// A key with another last digit.
fn misspelt(key: &str) -> String {
    let (rest, last) = key.split_at(key.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

fn text(header: &HeaderValue) -> &str {
    header.to_str().expect("it is ASCII")
}

fn challenge(rest: &str) -> String {
    format!("Bearer realm=\"hero-teams\"{rest}")
}

/// Sends a query with headers.
async fn with_headers(app: &TestApp, headers: &[(&str, &str)]) -> (StatusCode, Option<String>, Value) {
    let mut request = Request::get("/graphql?query=%7Bteam(id:1)%7Bname%7D%7D");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("it is a request");
    let response = app.router.clone().oneshot(request).await.expect("the router answers");
    let challenge = response.headers().get(WWW_AUTHENTICATE);
    let challenge = challenge.map(|challenge| text(challenge).to_owned());
    (response.status(), challenge, json_body(response).await)
}

on_both! {
    async fn a_credential_comes_in_one_header(app: &TestApp) {
        let key = &key(app, READ).await;
        let other = &misspelt(key);
        let bearer = |key: &str| format!("Bearer {key}");
        let data = json!({"data": {"team": {"name": "Z-Force"}}});
        let accepted = (StatusCode::OK, None, data);
        for headers in [
            [("authorization", bearer(key))],
            [("authorization", format!("bEARER   {key} "))],
            [("x-api-key", key.clone())],
        ] {
            let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
            assert_eq!(with_headers(app, &headers).await, accepted);
        }

        let refused = |message: &str, code: &str| json!({"errors": [{"message": message, "extensions": {"code": code}}]});
        let invalid = refused("the credential is not valid", "UNAUTHENTICATED");
        let invalid = (StatusCode::UNAUTHORIZED, Some(challenge(", error=\"invalid_token\"")), invalid);
        for (name, value) in [
            ("authorization", key.clone()),
            ("authorization", format!("Basic {key}")),
            ("authorization", bearer("")),
            ("authorization", String::new()),
            ("authorization", bearer(other)),
            ("authorization", bearer("a.b.c")),
            ("authorization", format!("Bearer {key} {key}")),
            ("x-api-key", bearer(key)),
            ("x-api-key", String::new()),
            ("x-api-key", other.clone()),
            ("x-api-key", "ht_".to_owned()),
            ("x-api-key", "ä".repeat(20)),
        ] {
            assert_eq!(with_headers(app, &[(name, &value)]).await, invalid, "{name}: {value}");
        }

        let message = "a request must have one credential: one header Authorization, or one header X-API-Key";
        let two = refused(message, "BAD_USER_INPUT");
        let two = (StatusCode::BAD_REQUEST, Some(challenge(", error=\"invalid_request\"")), two);
        let bearer = &bearer(key);
        for headers in [
            [("authorization", bearer.as_str()), ("x-api-key", key.as_str())],
            [("authorization", bearer), ("authorization", bearer)],
            [("x-api-key", key), ("x-api-key", other)],
            [("authorization", ""), ("x-api-key", "")],
        ] {
            assert_eq!(with_headers(app, &headers).await, two, "{headers:?}");
        }
        // Cookies and the URL are not looked at.
        let (status, ..) = with_headers(app, &[("cookie", &format!("authorization={key}"))]).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let response = app.get(&format!("/graphql?query=%7Bteam(id:1)%7Bname%7D%7D&access_token={key}&api_key={key}")).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }

    async fn a_key_works_until_its_end_or_until_it_is_revoked(app: &TestApp) {
        let keys = ApiKeys::new(&app.db);
        let past = SystemTime::now() - Duration::from_secs(1);
        let expired = keys.create("old", Scopes::ALL, Some(past)).await.expect("it is made").key;
        let (status, challenged, answer) = with_headers(app, &[("x-api-key", &expired)]).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(challenged, Some(challenge(", error=\"invalid_token\", error_description=\"expired\"")));
        let error = json!({"message": "the credential has expired", "extensions": {"code": "UNAUTHENTICATED"}});
        assert_eq!(answer, json!({"errors": [error]}));

        let new = keys.create("new", Scopes::ALL, Some(SystemTime::now() + Duration::from_hours(1))).await;
        let new = new.expect("it is made");
        assert_eq!(keys.verify(&new.key).await.expect("it works").scopes, Scopes::ALL);
        assert_eq!(keys.revoke(&new.key).await.expect("it is revoked"), Some(&*new.id));
        assert_eq!(keys.revoke(&new.id).await.expect("it stays so"), Some(&*new.id));
        assert_eq!(keys.revoke("nobody").await.expect("there is none"), None);
        let (status, ..) = with_headers(app, &[("x-api-key", &new.key)]).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_settings_for_access_everybody_may_do_everything() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    seed::tutorial(&app.db).await.expect("the data is loaded");
    let query = "{ heroes(where: {secretName: {contains: \"Wilson\"}}) { secretName } }";
    let expected = json!({"data": {"heroes": [{"secretName": "Dive Wilson"}]}});
    assert_eq!(app.graphql(query).await, expected);
    // A proxy may have a credential of its own in the request.
    let (status, _, answer) = send(&app, Some("whatever"), RESPONSE, &json!({"query": query})).await;
    assert_eq!((status, answer), (StatusCode::OK, expected));
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_credential_has_the_scopes_of_the_setting() {
    let app = app_with(TestDatabase::sqlite(), &["--anonymous", "read"], |_| ()).await;
    let query = |query: &str| json!({"query": query});
    let (status, _, answer) = send(&app, None, RESPONSE, &query("{ team(id: 1) { name } }")).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"data": {"team": {"name": "Z-Force"}}})));
    let (status, headers, answer) = send(&app, None, RESPONSE, &query("{ heroes { secretName } }")).await;
    assert_eq!((status, text(&headers[WWW_AUTHENTICATE])), (StatusCode::UNAUTHORIZED, &*challenge("")));
    assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!(answer["errors"][0]["extensions"]["requires"], "read:secrets");
    // A bad credential is never taken for none.
    let (status, ..) = send(&app, Some("ht_"), RESPONSE, &query("{ team(id: 1) { name } }")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    // A mutation by GET is refused as one, whoever asks.
    let response = app.get("/graphql?query=mutation%7BdeleteHero(input:%7Bid:1%7D)%7Bhero%7Bid%7D%7D%7D").await;
    assert_eq!((response.status(), text(&response.headers()[ALLOW])), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_refused_request_by_request() {
    let app = app_with(TestDatabase::sqlite(), &[], |settings| settings.graphql.max_batch = 3).await;
    let key = key(&app, READ).await;
    let query = |query: &str| json!({"query": query});
    let batch = json!([
        query("{ team(id: 1) { name } }"),
        query("{ heroes { secretName } }"),
        query("{ team(id: 2) { name } }")
    ]);
    let (status, _, answer) = send(&app, Some(&key), RESPONSE, &batch).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer[0], json!({"data": {"team": {"name": "Z-Force"}}}));
    assert_eq!(answer[1]["errors"][0]["extensions"]["code"], "FORBIDDEN");
    assert_eq!(answer[2], json!({"data": {"team": {"name": "Preventers"}}}));
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_itself_is_for_whom_the_setting_says() {
    let query = json!({"query": "{ __schema { queryType { name } } }"});
    let answered = json!({"data": {"__schema": {"queryType": {"name": "Query"}}}});
    let refused = |message: &str, extensions: Value| {
        json!({"errors": [
            {"message": message, "locations": [{"line": 1, "column": 3}], "extensions": extensions},
        ]})
    };
    for (introspection, for_nobody, for_reader, for_admin) in [
        (Introspection::All, StatusCode::OK, StatusCode::OK, StatusCode::OK),
        (Introspection::Authenticated, StatusCode::UNAUTHORIZED, StatusCode::OK, StatusCode::OK),
        (Introspection::Admin, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::OK),
        (Introspection::None, StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST),
    ] {
        let flags = ["--anonymous", "read"];
        let app = app_with(TestDatabase::sqlite(), &flags, |settings| settings.graphql.introspection = introspection);
        let app = app.await;
        let (reader, admin) = (key(&app, READ).await, key(&app, &[Scope::Admin]).await);
        let left_out = "{ __schema @skip(if: true) { queryType { name } } team(id: 1) { name } }";
        let answer = ask(&app, &reader, left_out, json!({})).await;
        assert_eq!(answer, json!({"data": {"team": {"name": "Z-Force"}}}));
        for (key, expected) in [(None, for_nobody), (Some(&reader), for_reader), (Some(&admin), for_admin)] {
            let key = key.map(String::as_str);
            let (status, headers, answer) = send(&app, key, RESPONSE, &query).await;
            assert_eq!(status, expected, "{introspection:?}: {answer}");
            let of_admin = json!({"code": "FORBIDDEN", "requires": "admin", "coordinate": "Query.__schema"});
            let of_nobody = json!({"code": "UNAUTHENTICATED", "requires": "admin", "coordinate": "Query.__schema"});
            let requires = "`Query.__schema` requires the scope `admin`";
            let expected_answer = match (introspection, expected) {
                (_, StatusCode::OK) => answered.clone(),
                (_, StatusCode::FORBIDDEN) => refused(requires, of_admin),
                (Introspection::Admin, _) => refused(requires, of_nobody),
                (_, StatusCode::UNAUTHORIZED) => {
                    refused("`Query.__schema` requires a credential", json!({"code": "UNAUTHENTICATED"}))
                }
                _ => refused("introspection is turned off on this server", json!({"code": "BAD_USER_INPUT"})),
            };
            assert_eq!(answer, expected_answer);
            let challenge = match expected {
                StatusCode::UNAUTHORIZED => Some(r#"Bearer realm="hero-teams""#),
                StatusCode::FORBIDDEN => Some(INSUFFICIENT_SCOPE),
                _ => None,
            };
            let told = headers.get(WWW_AUTHENTICATE).map(|challenge| challenge.to_str().expect("it is text"));
            assert_eq!(told, challenge);

            let mut request = Request::get("/schema.graphql");
            if let Some(key) = key {
                request = request.header("x-api-key", key);
            }
            let request = request.body(Body::empty()).expect("it is a request");
            let response = app.router.clone().oneshot(request).await.expect("the router answers");
            let expected = if introspection == Introspection::None { StatusCode::NOT_FOUND } else { expected };
            assert_eq!(response.status(), expected, "{introspection:?}");
        }
        // A name of the schema is told to nobody else.
        let misspelt = ask(&app, &reader, "{ heroes { nme } }", json!({})).await;
        let suggests = misspelt["errors"][0]["message"].as_str().expect("it has one").contains("did you mean");
        assert_eq!(suggests, introspection == Introspection::All);
        app.close().await;
    }
}

/// Two servers with the same data, but for the secret names.
struct Twins([TestApp; 2]);

impl Twins {
    async fn new(databases: [TestDatabase; 2]) -> Self {
        let [one, other] = databases;
        let twins = [app_with(one, &[], |_| ()).await, app_with(other, &[], |_| ()).await];
        for (app, seed) in twins.iter().zip([1, 2]) {
            let (mut rng, mut secret) = (Rng::with_seed(13), Rng::with_seed(seed));
            let teams: Vec<_> =
                (0..8).map(|_| json!({"name": text_of(&mut rng), "headquarters": text_of(&mut rng)})).collect();
            let heroes: Vec<_> = (0..30)
                .map(|_| {
                    let linked: BTreeSet<i64> = (0..rng.usize(0..4)).map(|_| rng.i64(1..=8)).collect();
                    let age = rng.bool().then(|| age(&mut rng));
                    json!({"name": text_of(&mut rng), "secretName": text_of(&mut secret), "age": age,
                        "teams": {"connect": linked}})
                })
                .collect();
            let query = "mutation($teams: [CreateTeamInput!]!, $heroes: [CreateHeroInput!]!) {
                createTeams(input: $teams) { teams { id } } createHeroes(input: $heroes) { heroes { id } } }";
            let admin = key(app, &[Scope::Admin]).await;
            let answer = ask(app, &admin, query, json!({"teams": teams, "heroes": heroes})).await;
            assert_eq!(answer.get("errors"), None, "{answer}");
            app.take_statements();
        }
        Self(twins)
    }

    /// Sends a request to both, which must answer the same, for the same number of statements. Gives the answer.
    async fn ask(&self, keys: &[String; 2], request: &Value) -> Value {
        let mut answers = Vec::new();
        for (app, key) in self.0.iter().zip(keys) {
            let (status, headers, answer) = send(app, Some(key), RESPONSE, request).await;
            let headers: Vec<_> = headers
                .into_iter()
                .filter(|(name, _)| name.as_ref().is_none_or(|name| name != "x-request-id"))
                .collect();
            answers.push((status, headers, answer.to_string(), app.seen()));
        }
        assert_eq!(answers[0], answers[1], "{request}");
        serde_json::from_str(&answers[0].2).expect("it is JSON")
    }
}

/// A random request, as a client who is curious about secret names may send it.
fn curious(rng: &mut Rng, writes: bool) -> Value {
    let side = if rng.bool() { Side::Heroes } else { Side::Teams };
    let (filter, order) = (filter(rng, side, 3), order(rng, side));
    let name = side.type_name();
    if writes && rng.bool() {
        let hero = json!({"name": text_of(rng), "secretName": text_of(rng)});
        let ids: Vec<i64> = (0..rng.usize(0..3)).map(|_| rng.i64(1..40)).collect();
        let verb = ["create", "connectOrCreate"][rng.usize(0..2)];
        let payload = ["heroes { id name }", "heroes { id secretName }", "heroCount"][rng.usize(0..3)];
        return match rng.usize(0..4) {
            0 => json!({
                "query": format!("mutation($i: CreateTeamInput!) {{ createTeam(input: $i) {{ team {{ id {payload} }} \
                                  }} }}"),
                "variables": {"i": {"name": text_of(rng), "headquarters": "x", "heroes": {verb: [hero], "connect": ids}}},
            }),
            1 => json!({
                "query": format!("mutation($i: UpdateTeamInput!) {{ updateTeam(input: $i) {{ team {{ id {payload} }} \
                                  }} }}"),
                "variables": {"i": {"id": rng.i64(1..10), "heroes": {verb: [hero], "disconnect": ids}}},
            }),
            2 => json!({
                "query": "mutation($i: UpdateHeroInput!) { updateHero(input: $i) { hero { id name age teams { id } } \
                          } }",
                "variables": {"i": {"id": rng.i64(1..35), "secretName": text_of(rng), "age": age(rng)}},
            }),
            _ => json!({
                "query": "mutation($i: CreateHeroInput!) { createHero(input: $i) { hero { id name } } }",
                "variables": {"i": {"name": text_of(rng), "secretName": operand_of(rng)}},
            }),
        };
    }
    let selected = ["id", "id name", "id ... on Node { __typename }", "id ... on Hero { secretName }"];
    let selected = selected[if side == Side::Heroes { rng.usize(0..4) } else { rng.usize(0..3) }];
    let list = side.list();
    let of_root = selection(side);
    let of_root = of_root.rsplit_once('\n').expect("it has lines").0;
    json!({
        "query": format!(
            "query($where: {name}Filter, $orderBy: [{name}Order!], $limit: Int, $offset: Int) {{ {of_root}
                selected: {list}(where: $where, limit: 3) {{ {selected} }}
                cursors: {list}Connection(where: $where, orderBy: $orderBy, first: 2) {{ edges {{ cursor }} }}
                parents: {}(limit: 5) {{ {} }} }}",
            side.other().list(), selection(side)
        ),
        "variables": {"where": filter, "orderBy": order, "limit": rng.usize(0..8), "offset": rng.usize(0..4)},
    })
}

fn operand_of(rng: &mut Rng) -> String {
    if rng.u8(0..4) == 0 { String::new() } else { text_of(rng) }
}

/// Whoever may not read secret names learns nothing of them: neither what is answered, nor what is refused, nor how
/// much is asked of the database depends on them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_do_not_depend_on_what_is_secret() {
    for is_postgres in [false, true] {
        let database = async || {
            if is_postgres { TestDatabase::postgres_as_asked().await } else { Some(TestDatabase::sqlite()) }
        };
        let (Some(one), Some(other)) = (database().await, database().await) else { return };
        let twins = Twins::new([one, other]).await;
        for (scopes, writes) in [(READ, false), (READ_WRITE, true)] {
            let keys = [key(&twins.0[0], scopes).await, key(&twins.0[1], scopes).await];
            let mut rng = Rng::with_seed(20_261_126);
            let (mut answered, mut forbidden, mut failed) = (0, 0, 0);
            for _ in 0..200 {
                let answer = twins.ask(&keys, &curious(&mut rng, writes)).await;
                match answer["errors"][0]["extensions"]["code"].as_str() {
                    None => answered += 1,
                    Some("FORBIDDEN") => forbidden += 1,
                    Some("NOT_FOUND" | "BAD_USER_INPUT") => failed += 1,
                    Some(code) => panic!("{code}: {answer}"),
                }
            }
            assert!(answered > 50 && forbidden > 50, "{answered} {forbidden} {failed}");
            assert_eq!(failed > 0, writes);
        }
        // The test would see a difference.
        let insiders = [key(&twins.0[0], &[Scope::Admin]).await, key(&twins.0[1], &[Scope::Admin]).await];
        let request = json!({"query": "{ heroes(limit: 1000) { secretName } }"});
        let answers = async |index: usize| send(&twins.0[index], Some(&insiders[index]), RESPONSE, &request).await.2;
        assert_ne!(answers(0).await, answers(1).await);
        let Twins([one, other]) = twins;
        one.close().await;
        other.close().await;
    }
}

/// Whatever leads to a column that asks for a scope says so in the schema.
#[tokio::test]
async fn the_schema_says_what_asks_for_a_scope() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let sdl = text_body(app.get("/schema.graphql").await).await;
    let schema = Schema::parse_and_validate(&sdl, "schema.graphql").expect("it is valid");
    let directive = r#"@requiresScopes(scopes: [["read:secrets"]])"#;
    let mut guarded = BTreeSet::new();
    let mut note = |coordinate: String, directives: &DirectiveList| {
        for directive_of in directives.get_all("requiresScopes") {
            assert_eq!(directive_of.to_string(), directive, "{coordinate}");
            guarded.insert(coordinate.clone());
        }
    };
    // The name of the column, and of what matches by its values, wherever it is.
    let mut named = BTreeSet::new();
    for (name, ty) in &schema.types {
        match ty {
            ExtendedType::Object(object) => {
                for (field, definition) in &object.fields {
                    if field == "query" && name.ends_with("Payload") {
                        // What was written is told to whoever may write, and all else to whoever may read.
                        let required = definition.directives.to_string();
                        assert_eq!(required.trim(), r#"@requiresScopes(scopes: [["read"]])"#, "{name}");
                        continue;
                    }
                    note(format!("{name}.{field}"), &definition.directives);
                    named.extend((field == "secretName").then(|| format!("{name}.{field}")));
                    for argument in &definition.arguments {
                        assert_eq!(argument.directives.len(), 0, "{name}.{field}({}:)", argument.name);
                    }
                }
            }
            ExtendedType::InputObject(object) => {
                // Writing it asks for no more than writing.
                let is_written = ["New", "Create", "Update"].iter().any(|verb| name.starts_with(verb));
                for (field, definition) in &object.fields {
                    note(format!("{name}.{field}"), &definition.directives);
                    let finds = field == "connectOrCreate" && *definition.ty.inner_named_type() == "NewHeroInput";
                    named.extend((finds || field == "secretName" && !is_written).then(|| format!("{name}.{field}")));
                }
            }
            ExtendedType::Enum(definition) => {
                for (value, definition) in &definition.values {
                    note(format!("{name}.{value}"), &definition.directives);
                    named.extend((value == "SECRET_NAME").then(|| format!("{name}.{value}")));
                }
            }
            _ => {}
        }
    }
    assert_eq!(guarded, named);
    let expected = [
        "Hero.secretName",
        "HeroField.SECRET_NAME",
        "HeroFilter.secretName",
        "HeroOrderField.SECRET_NAME",
        "TeamHeroesCreateInput.connectOrCreate",
        "TeamHeroesUpdateInput.connectOrCreate",
    ];
    assert_eq!(guarded.into_iter().collect::<Vec<_>>(), expected);
    app.close().await;
}

/// The log says who asked and with which scopes, or why a credential was refused, and never the credential.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_who_asked() {
    let log = Log::of_this_test();
    let app = app_with(TestDatabase::sqlite(), &["--anonymous", "read"], |_| ()).await;
    let key = key(&app, READ_WRITE).await;
    let id = &key[3..11];
    let query = json!({"query": "query Teams { teams { id } }"});
    log.lines();
    let answered = |lines: Vec<Value>| -> Vec<Value> {
        let lines = lines.into_iter().map(|mut line| line["fields"].take());
        let of_request = lines.filter(|fields| fields["message"] == "answered");
        of_request
            .map(|fields| {
                json!([
                    fields["status"],
                    fields["principal"],
                    fields["scopes"],
                    fields["credential_refused"],
                    fields["errors"],
                ])
            })
            .collect()
    };
    let wrong = misspelt(&key);
    for key in [None, Some(&*key), Some(&*wrong), Some("a.b.c")] {
        send(&app, key, RESPONSE, &query).await;
    }
    let lines = log.lines();
    let text = json!(lines).to_string();
    assert!(!text.contains(&key[12..40]) && !text.contains("a.b.c"), "{text}");
    let no_form = "the API key is not of the form of one";
    assert_eq!(
        json!(answered(lines)),
        json!([
            [200, null, "read", null, null],
            [200, id, "read,write", null, null],
            [401, null, null, no_form, "UNAUTHENTICATED"],
            [401, null, null, "tokens are not accepted", "UNAUTHENTICATED"],
        ])
    );
    app.close().await;

    let app = TestApp::new(TestDatabase::sqlite()).await;
    app.graphql("{ teams { id } }").await;
    assert_eq!(json!(answered(log.lines())), json!([[200, null, null, null, null]]));
    app.close().await;
}

/// Of a server that shows its schema to nobody unknown, they do not learn by faults either what it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_do_nothing_learns_nothing() {
    let app =
        app_with(TestDatabase::sqlite(), &[], |settings| settings.graphql.introspection = Introspection::Authenticated);
    let app = app.await;
    let error = json!({"message": "a credential is required", "extensions": {"code": "UNAUTHENTICATED"}});
    for query in ["{ heroes { nme } }", "{ heroes { name } }", "{", "{ __schema { types { name } } }"] {
        let (status, headers, answer) = send(&app, None, RESPONSE, &json!({"query": query})).await;
        assert_eq!((status, text(&headers[WWW_AUTHENTICATE])), (StatusCode::UNAUTHORIZED, &*challenge("")));
        assert_eq!(answer, json!({"errors": [error]}));
    }
    app.close().await;
}

/// Whoever may write and not read is told what it has written, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_query_root_in_a_payload_is_for_those_who_may_read() {
    let app = app(TestDatabase::sqlite()).await;
    let writer = key(&app, &[Scope::Write]).await;
    for (verb, input) in [("update", r#"{id: 1, name: "A"}"#), ("delete", "{id: 1}")] {
        let query =
            format!("mutation {{ {verb}Hero(input: {input}) {{ hero {{ name }} query {{ heroes {{ id }} }} }} }}");
        let (status, _, answer) = send(&app, Some(&writer), RESPONSE, &json!({"query": query})).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert_eq!(answer["errors"][0]["extensions"]["requires"], "read", "{answer}");
    }
    assert_eq!(app.counts().await[0], 3);
    let query = json!({"query": r#"mutation { updateHero(input: {id: 1, name: "A"}) { hero { name } } }"#});
    let (status, _, answer) = send(&app, Some(&writer), RESPONSE, &query).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"data": {"updateHero": {"hero": {"name": "A"}}}})));
    app.close().await;
}
