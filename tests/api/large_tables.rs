//! Tables with more rows than a field may read: it is refused, or answered with an estimate.

use std::{path::Path, process::Output};

use serde_json::{Value, json};

use crate::{
    command_line::{run, stdout, wrong_setting},
    databases::{TestDatabase, execute},
    outages::code,
    support::{TestApp, on_both_databases},
};

/// A server that reads ten rows at most, before a hundred heroes of which the database knows.
async fn app(database: TestDatabase) -> TestApp {
    let app = TestApp::with(database, |settings| {
        settings.graphql.limits.max_scan = 10;
        settings.graphql.limits.max_offset = 20;
    })
    .await;
    let heroes: Vec<Value> = (0..100).map(|number| json!({"name": format!("H{number}"), "secretName": "S"})).collect();
    let create = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
    app.data(create, json!({"input": heroes})).await;
    if app.database.is_postgres() {
        app.execute("ANALYZE").await;
    }
    app
}

async fn refused(app: &TestApp, query: &str, path: Value) {
    refused_with(app, query, path, 100).await;
}

/// One that would read about so many heroes.
async fn refused_with(app: &TestApp, query: &str, path: Value, rows: u32) {
    let reason = format!(
        "no index finds fewer than about {rows} heroes for this filter or order, and all of them would be read"
    );
    refused_because(app, query, path, &reason).await;
}

async fn refused_because(app: &TestApp, query: &str, path: Value, reason: &str) {
    let answer = app.graphql(query).await;
    assert_eq!(*code(&answer), json!("QUERY_TOO_COMPLEX"), "{query}: {answer}");
    let message = format!("{reason}; at most 10 are allowed: add a condition such as `eq`, `in` or `startsWith`");
    assert_eq!((&answer["errors"][0]["message"], &answer["errors"][0]["path"]), (&json!(message), &path), "{query}");
}

async fn whole_tables_are_not_read(database: TestDatabase) {
    let app = app(database).await;
    for filter in [
        r#"name: {contains: "1"}"#,
        r#"name: {endsWith: "1"}"#,
        r#"name: {eq: "h1", ignoreCase: true}"#,
        r#"teams: {every: {name: {eq: "T"}}}"#,
        r#"teams: {none: {name: {eq: "T"}}}"#,
        r#"teams: {some: {name: {contains: "T"}}}"#,
        r#"or: [{name: {eq: "H1"}}, {name: {contains: "1"}}]"#,
        r#"not: {name: {contains: "1"}}"#,
    ] {
        app.seen();
        refused(&app, &format!("{{ heroes(where: {{{filter}}}) {{ name }} }}"), json!(["heroes"])).await;
        let connection = format!("{{ heroesConnection(where: {{{filter}}}) {{ totalCount }} }}");
        refused(&app, &connection, json!(["heroesConnection", "totalCount"])).await;
        let connection = format!("{{ heroesConnection(where: {{{filter}}}) {{ nodes {{ name }} }} }}");
        refused(&app, &connection, json!(["heroesConnection", "nodes"])).await;
        assert_eq!(app.seen(), 0, "nothing is read for what is refused");
        // With a condition that an index serves, the others only have to be true of what it finds.
        let narrowed = format!(r#"{{ heroes(where: {{and: [{{name: {{eq: "H1"}}}}, {{{filter}}}]}}) {{ name }} }}"#);
        assert_eq!(app.graphql(&narrowed).await.get("errors"), None, "{filter}");
    }
    refused(&app, "{ heroes(orderBy: {field: TEAM_COUNT}) { name } }", json!(["heroes"])).await;
    let narrowed = r#"{ heroes(where: {name: {in: ["H1"]}}, orderBy: {field: TEAM_COUNT}) { name } }"#;
    assert_eq!(app.data(narrowed, json!({})).await, json!({"heroes": [{"name": "H1"}]}));
    // An index serves these conditions, and finds most of the rows. SQLite counts no more of them than it must.
    let found = if app.database.is_postgres() { 100 } else { 11 };
    for filter in [
        r#"name: {startsWith: "", contains: "1"}"#,
        r#"secretName: {eq: "S"}, name: {endsWith: "1"}"#,
        "age: {isNull: true}, teams: {none: {id: {eq: 1}}}",
        r#"or: [{name: {startsWith: "H"}}, {name: {eq: "H1", contains: "1"}}]"#,
    ] {
        let query = format!("{{ heroes(where: {{{filter}}}, orderBy: {{field: TEAM_COUNT}}) {{ name }} }}");
        refused_with(&app, &query, json!(["heroes"]), found).await;
    }
    let narrowed = r#"{ heroes(where: {name: {startsWith: "H42", contains: "2"}}) { name } }"#;
    assert_eq!(app.data(narrowed, json!({})).await, json!({"heroes": [{"name": "H42"}]}));
    // What an index finds is asked once.
    let connection = r#"{ heroesConnection(where: {name: {startsWith: "H42", contains: "2"}}) {
        nodes { name } edges { cursor } pageInfo { hasNextPage } totalCount totalCountIsExact } }"#;
    app.seen();
    app.data(connection, json!({})).await;
    assert_eq!(app.seen(), 3, "the rows that are found, a page of them, and their number");
    if app.database.is_postgres() {
        nearly_all_rows_are_not_passed(&app).await;
    }
    // There are few teams, and few heroes of a team.
    let teams = r#"{ teams(where: {name: {contains: "T"}}, orderBy: {field: HERO_COUNT}) {
        heroes(where: {name: {contains: "1"}}, orderBy: {field: TEAM_COUNT}) { name } } }"#;
    assert_eq!(app.data(teams, json!({})).await, json!({"teams": []}));

    let answer = app.graphql("{ heroes(offset: 21) { name } }").await;
    assert_eq!(*code(&answer), json!("BAD_USER_INPUT"));
    let message = "`offset` must be at most 20, not 21; a connection pages without an offset";
    assert_eq!(answer["errors"][0]["message"], message);
    let data = app.data("{ heroes(offset: 20, limit: 1) { name } }", json!({})).await;
    assert_eq!(data, json!({"heroes": [{"name": "H20"}]}));

    // Few are left, whatever their keys are. The next server knows.
    app.execute("DELETE FROM hero WHERE id < 98").await;
    if app.database.is_postgres() {
        app.execute("ANALYZE").await;
    }
    let next = TestApp::with(app.database.again(), |settings| settings.graphql.limits.max_scan = 10).await;
    let data = next.data(r#"{ heroes(where: {name: {endsWith: "9"}}) { name } }"#, json!({})).await;
    assert_eq!(data, json!({"heroes": [{"name": "H99"}]}));
    next.db.close().await.expect("the database closes");
    app.close().await;
}

/// Conditions that most rows match, usually: rows are read in their order until there are enough. Where hardly any
/// match, PostgreSQL knows it.
async fn nearly_all_rows_are_not_passed(app: &TestApp) {
    for filter in [
        r#"secretName: {ne: "S"}"#,
        r#"secretName: {notIn: ["S", "T"]}"#,
        r#"not: {secretName: {eq: "S"}}"#,
        "age: {isNull: false}",
        r#"or: [{secretName: {ne: "S"}}, {name: {eq: "H1"}}]"#,
    ] {
        let reason = "about 99 heroes would be read that do not match this filter";
        for (query, path) in [
            (format!("{{ heroes(where: {{{filter}}}, limit: 1) {{ name }} }}"), json!(["heroes"])),
            (
                format!("{{ heroesConnection(where: {{{filter}}}, first: 1) {{ nodes {{ name }} }} }}"),
                json!(["heroesConnection", "nodes"]),
            ),
            (
                format!("{{ heroesConnection(where: {{{filter}}}) {{ totalCount }} }}"),
                json!(["heroesConnection", "totalCount"]),
            ),
        ] {
            app.seen();
            refused_because(app, &query, path, reason).await;
            assert_eq!(app.seen(), 1, "the planner is asked");
        }
        let narrowed = format!(r#"{{ heroes(where: {{and: [{{name: {{eq: "H1"}}}}, {{{filter}}}]}}) {{ name }} }}"#);
        assert_eq!(app.graphql(&narrowed).await.get("errors"), None, "{filter}");
    }
    // A row that matches by what an index does not serve may be anywhere.
    for filter in [
        r#"or: [{name: {eq: "H1"}}, {teams: {some: {id: {eq: 1}}}}]"#,
        "or: [{teams: {some: {id: {eq: 1}}}}, {teams: {some: {id: {eq: 2}}}}]",
        "not: {teams: {some: {id: {eq: 1}}}}",
    ] {
        refused(app, &format!("{{ heroes(where: {{{filter}}}, limit: 1) {{ name }} }}"), json!(["heroes"])).await;
    }
    for filter in [r#"name: {ne: "H1"}"#, r#"secretName: {notIn: ["T"]}"#, r#"not: {name: {startsWith: "H1"}}"#] {
        let query = format!("{{ heroesConnection(where: {{{filter}}}, first: 2) {{ totalCount nodes {{ name }} }} }}");
        assert_eq!(app.graphql(&query).await.get("errors"), None, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_tables_are_not_read_on_sqlite() {
    whole_tables_are_not_read(TestDatabase::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_tables_are_not_read_on_postgresql() {
    if let Some(database) = TestDatabase::postgres().await {
        whole_tables_are_not_read(database).await;
    }
}

/// What `migrate` prints with these flags.
fn migrate(app: &TestApp, flags: &[&str]) -> Output {
    run(Path::new("/"), &[&["migrate", "--database-url", &app.database.url], flags].concat())
}

async fn indexes_that_are_asked_for(database: TestDatabase) {
    let app = app(database).await;
    let is_postgres = app.database.is_postgres();
    let lower = ["--lower-index", "Hero.name,Team.name"];
    let printed =
        ["made", "exists"].map(|what| format!("lower index of Hero.name: {what}\nlower index of Team.name: {what}\n"));
    assert_eq!(printed.each_ref().map(|_| stdout(&migrate(&app, &lower))), printed);
    let trigram = migrate(&app, &["--trigram-index", "Hero.name"]);
    if is_postgres {
        assert_eq!(stdout(&trigram), "trigram index of Hero.name: made\n");
        // One that could not be made is not used, and made anew.
        app.execute("CREATE INDEX ix_team_name_trigram ON team (id)").await;
        app.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_team_name_trigram'::regclass").await;
        assert_eq!(stdout(&migrate(&app, &["--trigram-index", "Team.name"])), "trigram index of Team.name: made\n");
        let gin =
            "SELECT COUNT(*) FROM pg_indexes WHERE indexname LIKE '%trigram' AND indexdef LIKE '%gin%gin_trgm_ops%'";
        assert_eq!(app.count(gin).await, 2);
        // Without statistics of their expressions PostgreSQL would not use them for a part of a large table.
        let known = "SELECT COUNT(DISTINCT tablename) FROM pg_stats WHERE tablename LIKE 'ix_hero_name_%'";
        assert_eq!(app.count(known).await, 2);
    } else {
        assert_eq!(wrong_setting(&trigram), "error: --trigram-index needs PostgreSQL as the database");
    }
    for (filter, names, is_served) in [
        (r#"name: {eq: "h42", ignoreCase: true}"#, json!(["H42"]), true),
        (r#"name: {in: ["h42", "H1"], ignoreCase: true}"#, json!(["H1", "H42"]), true),
        (r#"name: {startsWith: "h97", ignoreCase: true, notIn: ["H9"]}, secretName: {eq: "S"}"#, json!(["H97"]), true),
        // All of these are found, but no more than are wanted.
        (r#"name: {startsWith: "h", ignoreCase: true}, id: {in: [1, 2, 3]}"#, json!(["H0", "H1", "H2"]), true),
        (r#"or: [{name: {eq: "H1"}}, {name: {eq: "h2", ignoreCase: true}}]"#, json!(["H1", "H2"]), true),
        (r#"teams: {some: {name: {eq: "t", ignoreCase: true}}}"#, json!([]), true),
        (r#"name: {contains: "H42"}"#, json!(["H42"]), is_postgres),
        (r#"name: {contains: "h42", ignoreCase: true}"#, json!(["H42"]), is_postgres),
        (r#"name: {endsWith: "H42"}"#, json!(["H42"]), is_postgres),
        (r#"teams: {some: {name: {contains: "Zed"}}}"#, json!([]), is_postgres),
        // There is no trigram in these, and no index of these fields.
        (r#"name: {contains: "42"}"#, json!([]), false),
        (r#"name: {endsWith: "H_42"}"#, json!([]), false),
        (r#"name: {ne: "h1", ignoreCase: true}"#, json!([]), false),
        (r#"teams: {some: {headquarters: {contains: "Zed"}}}"#, json!([]), false),
        (r#"teams: {none: {name: {contains: "Zed"}}}"#, json!([]), false),
    ] {
        let list = format!("{{ heroes(where: {{{filter}}}) {{ name }} }}");
        let connection = format!("{{ heroesConnection(where: {{{filter}}}) {{ totalCount nodes {{ name }} }} }}");
        if !is_served {
            refused(&app, &list, json!(["heroes"])).await;
            continue;
        }
        let nodes: Vec<Value> = names.as_array().into_iter().flatten().map(|name| json!({"name": name})).collect();
        assert_eq!(app.data(&list, json!({})).await, json!({"heroes": nodes}), "{filter}");
        let expected = json!({"heroesConnection": {"totalCount": nodes.len(), "nodes": nodes}});
        assert_eq!(app.data(&connection, json!({})).await, expected, "{filter}");
    }
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_that_are_asked_for_on_sqlite() {
    indexes_that_are_asked_for(TestDatabase::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_that_are_asked_for_on_postgresql() {
    if let Some(database) = TestDatabase::postgres().await {
        indexes_that_are_asked_for(database).await;
    }
}

/// Tenants share a database, and the operators of trigrams are in the schema of the one that asked first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_in_the_schema_of_a_tenant() {
    let Some(database) = TestDatabase::empty_postgres().await else { return };
    execute(&database.url, "CREATE SCHEMA one; CREATE SCHEMA two").await;
    for tenant in ["one", "two"] {
        let url = format!("{}&options=-c%20search_path%3D{tenant}", database.url);
        let made = run(Path::new("/"), &["migrate", "--database-url", &url, "--trigram-index", "Team.headquarters"]);
        assert_eq!(stdout(&made), "trigram index of Team.headquarters: made\n");
    }
    database.remove().await;
}

#[test]
fn a_field_without_text_has_no_text_index() {
    let refused = run(Path::new("/"), &["migrate", "--lower-index", "Hero.age"]);
    let names = "Hero.name, Hero.secretName, Team.name, Team.headquarters";
    let expected = format!("error: --lower-index: one of {names} is expected (see --help)\n");
    assert_eq!((refused.status.code(), String::from_utf8_lossy(&refused.stderr)), (Some(2), expected.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_counted_up_to_a_bound() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let app = app(database).await;
    let count = async |filter: &str| {
        let query = format!("{{ heroesConnection(where: {{{filter}}}) {{ totalCount totalCountIsExact }} }}");
        let connection = app.data(&query, json!({})).await["heroesConnection"].take();
        let number = connection["totalCount"].as_i64().expect("a number");
        (number, connection["totalCountIsExact"].as_bool().expect("a boolean"))
    };
    // Neither is counted.
    app.seen();
    assert_eq!(count("").await, (100, false));
    assert_eq!(app.seen(), 0);
    let (number, is_exact) = count(r#"name: {gte: "H"}"#.replace("gte", "startsWith").as_str()).await;
    assert!(!is_exact && (11..=100).contains(&number), "{number}");
    assert_eq!(app.seen(), 2, "it is counted up to the bound, and then estimated");
    for (filter, number) in [(r#"name: {startsWith: "H1"}"#, 11), (r#"name: {startsWith: "H11"}"#, 1)] {
        let counted = count(filter).await;
        assert_eq!(counted.1, number <= 10, "{filter}");
        if counted.1 {
            assert_eq!(counted.0, number);
        }
    }
    app.close().await;
}

on_both_databases! {
    async fn small_tables_are_counted(app: TestApp) {
        let create = r#"mutation { createHero(input: {name: "A", secretName: "B", teams: {create: [{name: "T", headquarters: "H"}]}}) { hero {
            teamsConnection { totalCount totalCountIsExact } } } }"#;
        let data = app.data(create, json!({})).await;
        let counted = json!({"totalCount": 1, "totalCountIsExact": true});
        assert_eq!(data, json!({"createHero": {"hero": {"teamsConnection": counted}}}));
        app.seen();
        let data = app.data("{ heroesConnection { totalCount totalCountIsExact } }", json!({})).await;
        assert_eq!(data, json!({"heroesConnection": counted}));
        assert_eq!(app.seen(), 1);
    }
}
