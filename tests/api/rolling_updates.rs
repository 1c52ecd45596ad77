//! Two versions side by side: the newer one has migrated, and the older one goes on and starts again.

use std::path::Path;

use hero_teams::schema::{Api, Entity, HeroTeams, Migrator};
use migration::{
    MigrationName, MigratorTrait, async_trait,
    prelude::{ColumnDef, DbErr, MigrationTrait, SchemaManager, Table},
};
use serde_json::json;

use crate::{
    command_line::{Server, refusal, run},
    databases::TestDatabase,
    support::TestApp,
};

const CREATE: &str = r#"mutation { createHero(input: {name: "A", secretName: "B", teams: {create: [{name: "T", headquarters: "H"}]}}) { hero { name teams { name } } } }"#;
const READ: &str = "{ heroes { name teams { name } } }";
const ADD_MOTTO: &str = "m20991231_000001_add_hero_motto";

struct AddPower;

impl MigrationName for AddPower {
    fn name(&self) -> &'static str {
        ADD_MOTTO
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddPower {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let motto = ColumnDef::new("motto").text().take();
        manager.alter_table(Table::alter().table("hero").add_column(motto).take()).await
    }
}

/// The next version, with one migration more.
struct Newer<const ONLY_ADDS: bool>;

#[async_trait::async_trait]
impl<const ONLY_ADDS: bool> MigratorTrait for Newer<ONLY_ADDS> {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations = Migrator::migrations();
        migrations.push(Box::new(AddPower));
        migrations
    }
}

impl<const ONLY_ADDS: bool> Api for Newer<ONLY_ADDS> {
    type Migrator = Self;

    fn entities() -> &'static [&'static Entity] {
        HeroTeams::entities()
    }

    fn additive_migrations() -> &'static [&'static str] {
        if ONLY_ADDS { &[ADD_MOTTO] } else { &[] }
    }
}

async fn old_and_new_side_by_side(database: TestDatabase) {
    let old = TestApp::new(database.again()).await;
    old.data(CREATE, json!({})).await;
    let new = TestApp::of::<Newer<true>>(database.again(), |_| ()).await;
    let hero = json!({"name": "A", "teams": [{"name": "T"}]});
    // One that runs goes on, and one that starts does as well, and says what it has seen.
    for number in 1..=2 {
        let heroes = vec![hero.clone(); 2 * number];
        for app in [&old, &new] {
            assert_eq!(app.data(CREATE, json!({})).await, json!({"createHero": {"hero": hero}}));
        }
        assert_eq!(new.data(READ, json!({})).await["heroes"].as_array().expect("a list")[..heroes.len()], heroes);
    }
    for flags in [&["--no-migrate"][..], &[]] {
        let server = Server::start(Path::new("/"), &[flags, &["--database-url", &database.url]].concat());
        let created = server.graphql(CREATE, json!({})).await;
        assert_eq!(created, Some(json!({"data": {"createHero": {"hero": hero}}})));
        drop(server);
    }
    let migrated = run(Path::new("/"), &["migrate", "--database-url", &database.url]);
    let said = String::from_utf8_lossy(&migrated.stderr);
    let warning =
        format!("the database has migrations of a newer version, which this one can do without ({ADD_MOTTO})");
    assert!(migrated.status.success() && said.contains(&warning), "{said}");
    for app in [old, new] {
        app.db.close().await.expect("the database closes");
    }
    database.remove().await;
}

async fn a_change_that_old_ones_do_not_know(database: TestDatabase) {
    let new = TestApp::of::<Newer<false>>(database.again(), |_| ()).await;
    for arguments in [&["--listen", "127.0.0.1:0"][..], &["migrate"]] {
        let said = refusal(&run(Path::new("/"), &[arguments, &["--database-url", &database.url]].concat()));
        let reason = format!(
            "was made by another program, or a newer version of this one (it has the migrations {ADD_MOTTO}); it stays"
        );
        assert!(said.contains(&reason), "{said}");
    }
    new.db.close().await.expect("the database closes");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    old_and_new_side_by_side(TestDatabase::sqlite()).await;
    a_change_that_old_ones_do_not_know(TestDatabase::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql() {
    if let Some(database) = TestDatabase::postgres().await {
        old_and_new_side_by_side(database).await;
    }
    if let Some(database) = TestDatabase::postgres().await {
        a_change_that_old_ones_do_not_know(database).await;
    }
}
