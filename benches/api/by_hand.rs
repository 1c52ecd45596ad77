//! The side that is written by hand: the least SQL that gives the same bytes.
//!
//! A question is one statement, and SQLite builds the answer as JSON. SQLx sends a row at a time from another thread, so
//! a single value is the fastest way out. It reads the columns that are asked for and no others, without loaders,
//! limits or checks: what a server for exactly these requests would do.
//!
//! The parameter of a `LIMIT` has a sign, because SQLite plans a statement anew each time a bare one is bound.

use std::time::Duration;

use sea_orm::sqlx::{
    self, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use serde_json::json;

use crate::{
    data::{Data, READ_CONNECTIONS},
    workload::{NewHero, Read, Side},
};

pub const HERO: &str = "
    SELECT json_object('data', json_object('hero', json_object('id', 'Hero:' || id, 'name', name, 'age', age)))
    FROM hero WHERE id = ?1";

pub const HEROES: &str = "
    SELECT json_object('data', json_object('heroes', json_group_array(json_object(
        'id', 'Hero:' || id, 'name', name, 'age', age))))
    FROM (SELECT id, name, age FROM hero ORDER BY id LIMIT +?1)";

pub const HEROES_WITH_TEAMS: &str = "
    SELECT json_object('data', json_object('heroes', json_group_array(json_object(
        'id', 'Hero:' || id, 'name', name, 'teams', json((
            SELECT json_group_array(json_object('id', 'Team:' || t.id, 'name', t.name, 'headquarters', t.headquarters))
            FROM hero_team_link l JOIN team t ON t.id = l.team_id WHERE l.hero_id = h.id))))))
    FROM (SELECT id, name FROM hero ORDER BY id LIMIT +?1) h";

pub const TEAMS_WITH_HEROES_WITH_TEAMS: &str = "
    SELECT json_object('data', json_object('teams', json_group_array(json_object(
        'id', 'Team:' || id, 'name', name, 'heroes', json((
            SELECT json_group_array(json_object('id', 'Hero:' || h.id, 'name', h.name, 'teams', json((
                SELECT json_group_array(json_object('id', 'Team:' || t2.id, 'name', t2.name))
                FROM hero_team_link l2 JOIN team t2 ON t2.id = l2.team_id WHERE l2.hero_id = h.id))))
            FROM hero_team_link l JOIN hero h ON h.id = l.hero_id WHERE l.team_id = t.id))))))
    FROM (SELECT id, name FROM team ORDER BY id LIMIT +?1) t";

pub const TEAMS_WITH_FIRST_HEROES: &str = "
    SELECT json_object('data', json_object('teams', json_group_array(json_object(
        'id', 'Team:' || id, 'name', name, 'heroes', json((
            SELECT json_group_array(json_object('id', 'Hero:' || id, 'name', name)) FROM (
                SELECT h.id, h.name FROM hero_team_link l JOIN hero h ON h.id = l.hero_id
                WHERE l.team_id = t.id ORDER BY h.name, h.id LIMIT 10)))))))
    FROM (SELECT id, name FROM team ORDER BY id LIMIT +?1) t";

pub const HEROES_OF_TEAM: &str = "
    SELECT json_object('data', json_object('heroes', json_group_array(json_object(
        'id', 'Hero:' || id, 'name', name, 'age', age))))
    FROM (SELECT id, name, age FROM hero WHERE id IN (
              SELECT l.hero_id FROM team t JOIN hero_team_link l ON l.team_id = t.id WHERE t.name = 'Team 7')
          ORDER BY id LIMIT +?1)";

/// The server's connections, without the server.
#[derive(Clone)]
pub struct ByHand {
    read: SqlitePool,
    write: SqlitePool,
}

impl ByHand {
    pub async fn new(data: &Data) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(&data.path)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(5));
        let pool = async |connections| {
            let pool = SqlitePoolOptions::new().max_connections(connections).test_before_acquire(false);
            pool.connect_with(options.clone()).await.expect("the database opens")
        };
        Self { read: pool(READ_CONNECTIONS).await, write: pool(1).await }
    }

    /// Writes the hero, the new team and both links, and gives the key of the hero.
    async fn insert(&self, new: &NewHero) -> sqlx::Result<i64> {
        let mut transaction = self.write.begin_with("BEGIN IMMEDIATE").await?;
        let hero = sqlx::query("INSERT INTO hero (name, secret_name, age) VALUES (?1, ?2, ?3)")
            .bind(&new.name)
            .bind(&new.secret_name)
            .bind(new.age)
            .execute(&mut *transaction)
            .await?
            .last_insert_rowid();
        let team = sqlx::query("INSERT INTO team (name, headquarters) VALUES (?1, ?2)")
            .bind(&new.team_name)
            .bind(&new.headquarters)
            .execute(&mut *transaction)
            .await?
            .last_insert_rowid();
        sqlx::query("INSERT INTO hero_team_link (hero_id, team_id) VALUES (?1, ?2), (?1, ?3)")
            .bind(hero)
            .bind(new.team_id)
            .bind(team)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(hero)
    }
}

impl Side for ByHand {
    const NAME: &'static str = "by hand";

    async fn read(&self, read: &Read, n: i64) -> Vec<u8> {
        let statement = sqlx::query_scalar(read.sql).bind((read.value)(n));
        let answer: String = statement.fetch_one(&self.read).await.expect("the statement runs");
        answer.into_bytes()
    }

    async fn create_hero(&self, n: i64) -> Vec<u8> {
        let new = NewHero::new(n);
        let hero = self.insert(&new).await.expect("the statements run");
        let answer = json!({"data": {"createHero": {"hero": {"id": format!("Hero:{hero}"), "name": new.name}}}});
        serde_json::to_vec(&answer).expect("it is JSON")
    }
}
