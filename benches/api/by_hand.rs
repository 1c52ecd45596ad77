//! The side that is written by hand: the least SQL that gives the same bytes.
//!
//! A question is one statement, and SQLite builds the answer as JSON, in the task that asks. It reads the columns that
//! are asked for and no others, without loaders, limits or checks: what a server for exactly these requests would do.
//!
//! The parameter of a `LIMIT` has a sign, because SQLite plans a statement anew each time a bare one is bound.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rusqlite::{Connection, ToSql, TransactionBehavior};
use serde_json::json;

use crate::{
    data::Data,
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

pub const HEROES_BY_AGE: &str = "
    SELECT json_object('data', json_object('heroes', json_group_array(json_object(
        'id', 'Hero:' || id, 'name', name, 'age', age))))
    FROM (SELECT id, name, age FROM hero WHERE age BETWEEN 30 AND 40 ORDER BY name, id LIMIT +?1)";

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

/// Connections, without the server.
#[derive(Clone)]
pub struct ByHand {
    path: PathBuf,
    /// Those that nobody reads with at the moment.
    read: Arc<Mutex<Vec<Connection>>>,
    write: Arc<Mutex<Connection>>,
}

impl ByHand {
    pub fn new(data: &Data) -> Self {
        Self { path: data.path.clone(), read: Arc::default(), write: Arc::new(Mutex::new(open(&data.path))) }
    }

    /// The one value of a statement.
    pub fn value(&self, sql: &str, parameters: &[&dyn ToSql]) -> String {
        let idle = self.read.lock().expect("nobody panics").pop();
        let connection = idle.unwrap_or_else(|| open(&self.path));
        let mut statement = connection.prepare_cached(sql).expect("the statement is right");
        let value = statement.query_row(parameters, |row| row.get(0)).expect("the statement runs");
        drop(statement);
        self.read.lock().expect("nobody panics").push(connection);
        value
    }

    /// Writes the hero, the new team and both links, and gives the key of the hero.
    fn insert(&self, new: &NewHero) -> rusqlite::Result<i64> {
        let mut connection = self.write.lock().expect("nobody panics");
        let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        txn.prepare_cached("INSERT INTO hero (name, secret_name, age) VALUES (?1, ?2, ?3)")?.execute((
            &new.name,
            &new.secret_name,
            new.age,
        ))?;
        let hero = txn.last_insert_rowid();
        txn.prepare_cached("INSERT INTO team (name, headquarters) VALUES (?1, ?2)")?
            .execute((&new.team_name, &new.headquarters))?;
        let team = txn.last_insert_rowid();
        txn.prepare_cached("INSERT INTO hero_team_link (hero_id, team_id) VALUES (?1, ?2), (?1, ?3)")?.execute((
            hero,
            new.team_id,
            team,
        ))?;
        txn.commit()?;
        Ok(hero)
    }
}

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("the database opens");
    for (pragma, value) in [("foreign_keys", "on"), ("journal_mode", "wal"), ("synchronous", "normal")] {
        connection.pragma_update(None, pragma, value).expect("the setting is right");
    }
    connection
}

impl Side for ByHand {
    const NAME: &'static str = "by hand";

    async fn read(&self, read: &Read, n: i64) -> Vec<u8> {
        self.value(read.sql, &[&(read.value)(n)]).into_bytes()
    }

    async fn create_hero(&self, n: i64) -> Vec<u8> {
        let new = NewHero::new(n);
        let hero = self.insert(&new).expect("the statements run");
        let answer = json!({"data": {"createHero": {"hero": {"id": format!("Hero:{hero}"), "name": new.name}}}});
        serde_json::to_vec(&answer).expect("it is JSON")
    }
}
