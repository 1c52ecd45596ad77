//! The statements that lists send use the indexes (EXPLAIN on both databases).

use std::path::Path;

use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};

use crate::{
    command_line::{run, stdout},
    databases::TestDatabase,
    support::{TestApp, on_both_databases},
};

/// Enough rows that a plan without an index would be the worse one.
async fn fill(app: &TestApp) {
    let numbers = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)";
    // In SQLite `||` binds tighter than `%`.
    let random = "((n * 7919) % 20011)";
    app.execute(&format!(
        "INSERT INTO hero (name, secret_name, age) {numbers} SELECT 'Hero ' || {random}, 'S', n % 90 FROM n"
    ))
    .await;
    app.execute(&format!(
        "INSERT INTO team (name, headquarters) {numbers} SELECT 'Team ' || {random}, 'H' FROM n WHERE n <= 5000"
    ))
    .await;
    app.execute(&format!(
        "INSERT INTO hero_team_link (hero_id, team_id) {numbers} SELECT n, (n + k.k * 31) % 5000 + 1 FROM n,
         (SELECT 0 AS k UNION SELECT 1 UNION SELECT 2) AS k"
    ))
    .await;
    app.execute("ANALYZE").await;
}

/// The plan of the last statement of a query.
async fn plan(app: &TestApp, query: &str, variables: Value) -> String {
    plan_of(app, app.last_statement_of(query, variables).await).await
}

async fn plan_of(app: &TestApp, statement: Statement) -> String {
    let explain = if app.database.is_postgres() { "EXPLAIN" } else { "EXPLAIN QUERY PLAN" };
    let explained = Statement { sql: format!("{explain} {}", statement.sql), ..statement };
    let rows = app.db.read.query_all_raw(explained).await.expect("the plan");
    let column = if app.database.is_postgres() { "QUERY PLAN" } else { "detail" };
    let lines: Vec<String> = rows.iter().map(|row| row.try_get("", column).expect("a line")).collect();
    lines.join("\n")
}

fn assert_uses(plan: &str, indexes: &[&str]) {
    for index in indexes {
        assert!(plan.contains(index), "{index} is not used:\n{plan}");
    }
    let whole_table = ["SCAN hero\n", "SCAN team\n", "SCAN hero_team_link", "Seq Scan on hero", "Seq Scan on team"];
    assert!(!whole_table.iter().any(|scan| format!("{plan}\n").contains(scan)), "a whole table is read:\n{plan}");
}

on_both_databases! {
    async fn pages_use_the_indexes(app: TestApp) {
        fill(app).await;
        let cursor = |order: &str| format!("{{ heroesConnection(first: 10, orderBy: {order}) {{ pageInfo {{ endCursor \
                                            }} }} }}");
        for (order, index) in [
            ("{field: NAME}", "ix_hero_name"),
            ("{field: NAME, direction: DESC}", "ix_hero_name"),
            ("{field: SECRET_NAME}", "ix_hero_secret_name"),
            // Where ages that are not known come first, what is behind a known one is a range.
            ("{field: AGE, direction: DESC}", "ix_hero_age"),
            ("[]", if app.database.is_postgres() { "hero_pkey" } else { "PRIMARY KEY" }),
        ] {
            let data = app.data(&cursor(order), json!({})).await;
            let after = &data["heroesConnection"]["pageInfo"]["endCursor"];
            let query = format!("{{ heroesConnection(first: 10, after: {after}, orderBy: {order}) {{ nodes {{ id }} \
                                 }} }}");
            let plan = plan(app, &query, json!({})).await;
            assert_uses(&plan, &[index]);
            // It begins in the middle of the index, and does not walk there from its end.
            let seeks = if app.database.is_postgres() { plan.contains("Index Cond") } else { plan.contains("SEARCH \
                                                                                                            hero") };
            assert!(seeks, "{order} does not seek:\n{plan}");
            assert!(!plan.contains("Sort") && !plan.contains("TEMP B-TREE"), "{order} is sorted:\n{plan}");
        }
        let plan = plan(app, "{ heroes(limit: 10, orderBy: {field: AGE}) { id } }", json!({})).await;
        assert_uses(&format!("{plan}\n").replace("SCAN hero USING", "USING"), &["ix_hero_age"]);
    }

    async fn batches_use_the_indexes(app: TestApp) {
        fill(app).await;
        let (teams, heroes) = if app.database.is_postgres() {
            // Whether it walks the names or the links of a team is for PostgreSQL to weigh; both are by an index.
            (["on hero_team_link", "on hero"], ["ix_hero_team_link_hero_id_team_id", "team_pkey"])
        } else {
            (["sqlite_autoindex_hero_team_link_1 (team_id=?)", "hero USING INTEGER PRIMARY KEY"],
             ["ix_hero_team_link_hero_id_team_id (hero_id=?)", "team USING INTEGER PRIMARY KEY"])
        };
        let query = "{ teams(limit: 20) { heroes(limit: 3, orderBy: {field: NAME}) { name } } }";
        assert_uses(&plan(app, query, json!({})).await, &teams);
        let query = "{ heroes(limit: 20) { teams { name } } }";
        let plan_of_all = plan(app, query, json!({})).await;
        assert_uses(&plan_of_all, &heroes);
        // The order by key is that of the index.
        assert!(!plan_of_all.contains("TEMP B-TREE") && !plan_of_all.contains("Sort"), "sorted:\n{plan_of_all}");
        let query = "{ heroes(limit: 20) { teamCount } }";
        assert_uses(&plan(app, query, json!({})).await, &heroes[..1]);
    }

    /// SQLite knows nothing of the values before ANALYZE, and nearly all ages may be null.
    async fn objects_are_found_by_their_names(app: TestApp) {
        app.execute("INSERT INTO hero (name, secret_name) VALUES ('A', 'B')").await;
        let heroes = json!([{"name": "C", "secretName": "D"}, {"name": "E", "secretName": "F"}]);
        let team = json!({"name": "T", "headquarters": "H", "heroes": {"connectOrCreate": heroes}});
        let query = "mutation($team: CreateTeamInput!) { createTeam(input: $team) { team { id } } }";
        app.take_statements();
        app.data(query, json!({"team": team})).await;
        let statements = app.take_statements();
        let find = statements.iter().find(|statement| statement.sql.contains("AS \"wanted\""));
        let plan = plan_of(app, find.expect("they are looked for").clone()).await;
        if !app.database.is_postgres() {
            assert!(plan.contains("SEARCH hero USING INDEX ix_hero_name (name=?)"), "{plan}");
        }
    }

    async fn filters_use_the_indexes(app: TestApp) {
        fill(app).await;
        for (filter, index) in [
            (r#"{name: {eq: "Hero 7"}}"#, "ix_hero_name"),
            (r#"{name: {startsWith: "Hero 777"}}"#, "ix_hero_name"),
            (r#"{name: {in: ["Hero 7", "Hero 8"]}}"#, "ix_hero_name"),
            (r"{id: {in: [7, 8]}}", if app.database.is_postgres() { "hero_pkey" } else { "PRIMARY KEY" }),
        ] {
            let query = format!("{{ heroesConnection(where: {filter}) {{ totalCount }} }}");
            let plan = plan(app, &query, json!({})).await;
            assert_uses(&plan, &[index]);
            let seeks = if app.database.is_postgres() { plan.contains("Index Cond") } else { plan.contains("SEARCH \
                                                                                                            hero") };
            assert!(seeks, "{filter} does not seek:\n{plan}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_indexes_serve_the_filters() {
    for database in [Some(TestDatabase::sqlite()), TestDatabase::postgres().await].into_iter().flatten() {
        let filled = TestApp::new(database).await;
        fill(&filled).await;
        let url = &filled.database.url;
        let lower = run(Path::new("/"), &["migrate", "--database-url", url, "--lower-index", "Hero.name,Team.name"]);
        assert!(stdout(&lower).ends_with("made\n"));
        let mut served = vec![
            (r#"name: {eq: "hero 42", ignoreCase: true}"#, "ix_hero_name_lower"),
            (r#"name: {in: ["hero 42", "Hero 43"], ignoreCase: true}"#, "ix_hero_name_lower"),
            (r#"name: {startsWith: "HERO 42", ignoreCase: true}"#, "ix_hero_name_lower"),
            (r#"teams: {some: {name: {eq: "team 42", ignoreCase: true}}}"#, "ix_team_name_lower"),
        ];
        if filled.database.is_postgres() {
            let fields = ["migrate", "--database-url", url, "--trigram-index", "Hero.name,Team.name"];
            assert!(stdout(&run(Path::new("/"), &fields)).ends_with("made\n"));
            served.extend([
                (r#"name: {contains: "o 1234"}"#, "ix_hero_name_trigram"),
                (r#"name: {contains: "O 1234", ignoreCase: true}"#, "ix_hero_name_trigram"),
                (r#"name: {endsWith: "o 1234"}"#, "ix_hero_name_trigram"),
                (r#"name: {endsWith: "O 1234", ignoreCase: true}"#, "ix_hero_name_trigram"),
                (r#"teams: {some: {name: {contains: "m 1234"}}}"#, "ix_team_name_trigram"),
            ]);
        }
        filled.execute("ANALYZE").await;
        // A connection of SQLite learns of a new index when it runs a statement, and not when it explains one.
        let app = TestApp::new(filled.database.again()).await;
        for (filter, index) in served {
            let query = format!("{{ heroes(where: {{{filter}}}) {{ name }} }}");
            let plan = plan(&app, &query, json!({})).await;
            assert!(plan.contains(index), "{index} is not used for {filter}:\n{plan}");
        }
        app.close().await;
        filled.close().await;
    }
}
