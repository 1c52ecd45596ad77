//! Declarations: those that make no API are refused at the start, and those of other tables than heroes make one.

use std::sync::LazyLock;

use entity::{hero, team};
use hero_teams::{
    config::GraphQlSettings,
    db::Db,
    graphql::Schema,
    schema::{Api, Column, Entity, HERO, Link, Migrator, Relation, Scope, TEAM},
};
use migration::{
    CreateApiKey, MigratorTrait, async_trait,
    prelude::*,
    schema::{big_integer, big_pk_auto},
    text,
};
use serde_json::json;

use crate::{
    databases::TestDatabase,
    support::{TestApp, connect, text_body},
};

/// An API of these entities, on the tables of heroes and teams.
macro_rules! api {
    ($api:ident: $($entity:expr),+) => {
        struct $api;

        impl Api for $api {
            type Migrator = Migrator;

            fn entities() -> &'static [&'static Entity] {
                static ENTITIES: &[&Entity] = &[$($entity),+];
                ENTITIES
            }
        }
    };
}

static TEAMS_OF_HERO: LazyLock<Link> = LazyLock::new(|| Link::along("Membership", &hero::TeamsOfHero));
static HEROES_OF_TEAM: LazyLock<Link> = LazyLock::new(|| Link::along("Membership", &team::HeroesOfTeam));

const fn hero_with(columns: &'static [Column], relations: &'static [Relation]) -> Entity {
    Entity {
        name: "Hero",
        one: "hero",
        many: "heroes",
        about: "A hero.",
        table: &hero::Entity,
        key: Column::key(&hero::Column::Id),
        columns,
        relations,
    }
}

static BACKWARDS: Entity =
    hero_with(&[], &[Relation::new("teams", "teamCount", "teams of the hero", &TEAM, &HEROES_OF_TEAM)]);
static ALONE: Entity = hero_with(&[], &[Relation::new("teams", "teamCount", "teams", &TEAM, &TEAMS_OF_HERO)]);
static TWICE: Entity = hero_with(
    &[Column::text(&hero::Column::Name, "name", "A name."), Column::text(&hero::Column::SecretName, "name", "A name.")],
    &[],
);
static COUNTED_TWICE: Entity = hero_with(
    &[Column::int(&hero::Column::Age, "teamCount", 0..=9, "A number.")],
    &[Relation::new("teams", "teamCount", "teams of the hero", &TEAM, &TEAMS_OF_HERO)],
);
static ONE_IS_MANY: Entity = Entity { many: "hero", ..hero_with(&[], &[]) };
static RESERVED: Entity = hero_with(&[Column::text(&hero::Column::Name, "__name", "A name.")], &[]);
static SPACED: Entity = Entity { name: "Super hero", ..hero_with(&[], &[]) };
static CONNECTION: Entity = Entity { name: "TeamFilter", one: "x", many: "xs", ..hero_with(&[], &[]) };

static AGED: Entity = hero_with(&[Column::int(&hero::Column::Age, "age", 0..=99, "An age.")], &[]);

static RENAMED: LazyLock<Link> = LazyLock::new(|| Link::along("Belonging", &hero::TeamsOfHero));
static TWO_NAMES: Entity = hero_with(&[], &[Relation::new("teams", "teamCount", "teams", &TEAM, &RENAMED)]);

api!(TwoNames: &TWO_NAMES, &TEAM);
api!(Backwards: &BACKWARDS, &TEAM);
api!(Alone: &ALONE);
api!(Twice: &TWICE);
api!(CountedTwice: &COUNTED_TWICE, &TEAM);
api!(OneIsMany: &ONE_IS_MANY);
api!(Doubled: &HERO, &TEAM, &HERO);
api!(Reserved: &RESERVED);
api!(Spaced: &SPACED);
api!(Connection: &CONNECTION, &HERO, &TEAM);
api!(Aged: &AGED);

/// The filter of whole numbers has `isNull` also for those that are never null.
#[tokio::test]
async fn a_number_that_may_not_be_null_is_asked_whether_it_is() {
    let app = TestApp::of::<Aged>(TestDatabase::sqlite(), |_| ()).await;
    app.execute("INSERT INTO hero (name, secret_name, age) VALUES ('A', 'S', 7)").await;
    for (is_null, heroes) in [(true, json!([])), (false, json!([{"age": 7}]))] {
        let query = format!("{{ heroes(where: {{age: {{isNull: {is_null}}}}}) {{ age }} }}");
        assert_eq!(app.data(&query, json!({})).await, json!({"heroes": heroes}));
    }
    app.close().await;
}

#[tokio::test]
async fn what_makes_no_schema_is_refused_at_the_start() {
    let database = TestDatabase::sqlite();
    let db = connect(&database.url).await;
    let refusal = |schema: anyhow::Result<Schema>| {
        let said = schema.expect_err("it is refused").to_string();
        said.strip_prefix("the declarations are not right: ").unwrap_or(&said).to_owned()
    };
    let settings = GraphQlSettings::default();
    assert_eq!(
        refusal(Schema::new::<Backwards>(db.clone(), &settings)),
        "the relation Hero.teams must go along a path from the table hero to the table team; its link goes from team \
         to hero"
    );
    assert_eq!(
        refusal(Schema::new::<TwoNames>(db.clone(), &settings)),
        "both directions of the link table hero_team_link must have the same name, not Belonging and Membership"
    );
    assert_eq!(
        refusal(Schema::new::<Alone>(db.clone(), &settings)),
        "the relation Hero.teams leads to Team, which is no entity of the API"
    );
    let fields =
        "columns, relations and their counts must differ in their names, and so must entities in both of theirs";
    for (said, name) in [
        (refusal(Schema::new::<Twice>(db.clone(), &settings)), "Hero has two fields named name"),
        (refusal(Schema::new::<CountedTwice>(db.clone(), &settings)), "Hero has two fields named teamCount"),
        (refusal(Schema::new::<OneIsMany>(db.clone(), &settings)), "Query has two fields named hero"),
        (refusal(Schema::new::<Doubled>(db.clone(), &settings)), "Query has two fields named hero"),
    ] {
        assert_eq!(said, format!("{name}: {fields}"));
    }
    assert_eq!(
        refusal(Schema::new::<Connection>(db.clone(), &settings)),
        "two types are named TeamFilter: entities and relations must differ in their names"
    );
    let rule =
        "is no name of GraphQL: letters, digits and underscores, the first no digit, and not two underscores first";
    let said = refusal(Schema::new::<Reserved>(db.clone(), &settings));
    assert_eq!(said, format!("\"__name\" of Hero {rule}"));
    let said = refusal(Schema::new::<Spaced>(db.clone(), &settings));
    assert_eq!(said, format!("\"Super hero\" of an entity {rule}"));
    db.close().await.expect("the database closes");
    database.remove().await;
}

/// Bases and their secret entrances, without a hero.
#[derive(Debug)]
struct Bases;

mod secret_base {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "secret_base")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub place: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

mod tunnel {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "tunnel")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub from_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub to_id: i64,
        #[sea_orm(belongs_to, relation_enum = "From", from = "from_id", to = "id", on_delete = "Cascade")]
        pub from: BelongsTo<super::secret_base::Entity>,
        #[sea_orm(belongs_to, relation_enum = "To", from = "to_id", to = "id", on_delete = "Cascade")]
        pub to: BelongsTo<super::secret_base::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The way from a base through its tunnels.
struct TunnelsOfBase;

impl sea_orm::Linked for TunnelsOfBase {
    type FromEntity = secret_base::Entity;
    type ToEntity = secret_base::Entity;

    fn link(&self) -> Vec<sea_orm::RelationDef> {
        use sea_orm::RelationTrait as _;
        vec![tunnel::Relation::From.def().rev(), tunnel::Relation::To.def()]
    }
}

static TUNNELS: LazyLock<Link> = LazyLock::new(|| Link::along("Tunnel", &TunnelsOfBase));

static SECRET_BASE: Entity = Entity {
    name: "SecretBase",
    one: "secretBase",
    many: "secretBases",
    about: "A secret base.",
    table: &secret_base::Entity,
    key: Column::key(&secret_base::Column::Id),
    columns: &[Column::text(&secret_base::Column::Place, "place", "The place.").requires(Scope::ReadSecrets)],
    relations: &[Relation::new("exits", "exitCount", "bases that the tunnels lead to", &SECRET_BASE, &TUNNELS)],
};

impl Api for Bases {
    type Migrator = Self;

    fn entities() -> &'static [&'static Entity] {
        static ENTITIES: [&Entity; 1] = [&SECRET_BASE];
        &ENTITIES
    }
}

#[async_trait::async_trait]
impl MigratorTrait for Bases {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateBases), Box::new(CreateApiKey)]
    }
}

struct CreateBases;

impl MigrationName for CreateBases {
    fn name(&self) -> &'static str {
        "m20261126_000001_create_bases"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateBases {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let base = Table::create().table("secret_base").col(big_pk_auto("id")).col(text(manager, "place")).take();
        manager.create_table(base).await?;
        let key = |column| {
            ForeignKey::create()
                .from("tunnel", column)
                .to("secret_base", "id")
                .on_delete(ForeignKeyAction::Cascade)
                .take()
        };
        let mut tunnel = Table::create().table("tunnel").col(big_integer("from_id")).col(big_integer("to_id")).take();
        tunnel.primary_key(Index::create().col("from_id").col("to_id"));
        tunnel.foreign_key(&mut key("from_id")).foreign_key(&mut key("to_id"));
        manager.create_table(tunnel).await
    }
}

async fn bases_are_served(database: TestDatabase) {
    let app = TestApp::of::<Bases>(database, |_| ()).await;
    let query = "mutation($input: CreateSecretBaseInput!) { createSecretBase(input: $input) {
        secretBase { id place exitCount exits { id place } } } }";
    let exits = json!({"create": [{"place": "Bar"}], "connectOrCreate": [{"place": "Cave"}, {"place": "Cave"}]});
    let data = app.data(query, json!({"input": {"place": "Tower", "exits": exits}})).await;
    assert_eq!(data["createSecretBase"]["secretBase"]["exitCount"], 2);
    let update = "mutation { updateSecretBases(input: [{id: 1, place: \"Hill\", exits: {connect: [1]}}]) {
        secretBases { id place exits { place } } } }";
    app.data(update, json!({})).await;
    let data = app
        .data("{ secretBases(orderBy: {field: PLACE}) { place exits(orderBy: {field: PLACE}) { place } } }", json!({}));
    let data = data.await;
    let place = |place: &str| json!({"place": place});
    assert_eq!(
        data,
        json!({"secretBases": [
            {"place": "Bar", "exits": []},
            {"place": "Hill", "exits": [place("Hill")]},
            {"place": "Tower", "exits": [place("Bar"), place("Hill")]},
        ]})
    );
    let deleted = app.data("mutation { deleteSecretBase(input: {id: 1}) { secretBase { id } } }", json!({})).await;
    assert_eq!(deleted, json!({"deleteSecretBase": {"secretBase": {"id": "SecretBase:1"}}}));
    assert_eq!(app.count("SELECT COUNT(*) FROM secret_base").await, 2);

    // Descriptions have the noun in words.
    let sdl = text_body(app.get("/schema.graphql").await).await;
    let prose = |line: &&str| line.trim_start().starts_with('"') || !line.contains(':') && !line.contains('{');
    let wrong: Vec<_> = sdl.lines().filter(prose).filter(|line| line.contains(" secretBase")).collect();
    assert_eq!(wrong, Vec::<&str>::new());
    assert!(sdl.contains("Returns the secret bases that match the filter"), "{sdl}");
    assert!(sdl.contains("place: String! @requiresScopes(scopes: [[\"read:secrets\"]])"), "{sdl}");
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_without_heroes_on_sqlite() {
    bases_are_served(TestDatabase::empty_sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_without_heroes_on_postgresql() {
    if let Some(database) = TestDatabase::empty_postgres().await {
        bases_are_served(database).await;
    }
}

/// An API whose migrations do not make all tables that its entities need.
struct Forgotten;

impl Api for Forgotten {
    type Migrator = Migrator;

    fn entities() -> &'static [&'static Entity] {
        static ENTITIES: [&Entity; 1] = [&SECRET_BASE];
        &ENTITIES
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_no_migration_makes() {
    let mut databases = vec![TestDatabase::empty_sqlite()];
    databases.extend(TestDatabase::empty_postgres().await);
    for database in databases {
        let mut settings = crate::support::db_settings(&database.url);
        settings.migrations = hero_teams::store::migrations::<Forgotten>();
        let db = Db::connect(&settings).await.expect("the database is empty");
        let error = db.migrate().await.expect_err("a table is missing").to_string();
        assert!(error.contains("no migration makes the table secret_base; add one to `migrations`"), "{error}");
        assert_eq!(db.pending_migrations().await.map(|names| names.len()).ok(), Some(Migrator::migrations().len()));
        db.close().await.expect("the database closes");
        database.remove().await;
    }
}
