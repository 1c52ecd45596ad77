//! API keys: how they are made, what is kept of them, and when they stop working.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use axum::http::StatusCode;
use hero_teams::{
    access::{ApiKeys, Unauthenticated},
    db::Db,
    schema::{Scope, Scopes},
    store,
};
use sea_orm::ConnectionTrait as _;
use serde_json::json;
use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, timeout},
};

use crate::{
    command_line::{Server, command, refusal, run, stdout},
    databases::TestDatabase,
    logged::Log,
    support::{TestApp, connect, on_both_databases, until},
};

const UNKNOWN: Unauthenticated = Unauthenticated::Invalid("the API key is not known");
const MALFORMED: Unauthenticated = Unauthenticated::Invalid("the API key is not of the form of one");
const REVOKED: Unauthenticated = Unauthenticated::Invalid("the API key is revoked");

async fn create(keys: &ApiKeys, scopes: Scopes) -> (String, String) {
    let new = keys.create("test", scopes, None).await.expect("the key is made");
    (new.key, new.id)
}

/// A key that has the form of one.
fn with_checksum(key: &str) -> String {
    let mut rest = crc32(key.as_bytes());
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut checksum = Vec::new();
    for _ in 0..6 {
        checksum.insert(0, digits[(rest % 62) as usize]);
        rest /= 62;
    }
    format!("{key}{}", String::from_utf8(checksum).expect("it is ASCII"))
}

/// CRC-32 as in Ethernet, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

on_both_databases! {
    async fn a_key_is_what_scanners_find(app: TestApp) {
        let keys = ApiKeys::new(&app.db);
        let mut seen = BTreeSet::new();
        for _ in 0..50 {
            let (key, id) = create(&keys, Scopes::ALL).await;
            let secret = key.strip_prefix(&format!("ht_{id}_")).expect("it begins with its id");
            assert_eq!((id.len(), secret.len()), (8, 49));
            assert!(id.chars().chain(secret.chars()).all(|digit| digit.is_ascii_alphanumeric()), "{key}");
            assert_eq!(with_checksum(&key[..key.len() - 6]), key);
            assert!(seen.insert(id) && seen.insert(secret.to_owned()));
        }
    }

    async fn a_wrong_key_is_refused(app: TestApp) {
        let keys = ApiKeys::new(&app.db);
        let scopes = [Scope::Read, Scope::Write].into_iter().collect();
        let (key, id) = create(&keys, scopes).await;
        let principal = keys.verify(&key).await.expect("it is right");
        assert_eq!((principal.name.as_deref(), principal.scopes, principal.expires_at), (Some(&*id), scopes, None));

        let (rest, _) = key.split_at(key.len() - 6);
        let another_secret = with_checksum(&format!("ht_{id}_{}", "0".repeat(43)));
        let another_id = with_checksum(&rest.replace(&id, "00000000"));
        for key in [another_secret, another_id] {
            assert_eq!(keys.verify(&key).await, Err(UNKNOWN), "{key}");
        }
        for end in 0..key.len() {
            assert_eq!(keys.verify(&key[..end]).await, Err(MALFORMED));
        }
        for (index, _) in key.char_indices() {
            let digit = if &key[index..=index] == "7" { "8" } else { "7" };
            let wrong = format!("{}{digit}{}", &key[..index], &key[index + 1..]);
            assert_eq!(keys.verify(&wrong).await, Err(MALFORMED), "{wrong}");
        }
        for wrong in [format!("{key}0"), format!(" {key}"), key.to_lowercase(), key.replace('_', "é"), "ht__".into()] {
            assert_eq!(keys.verify(&wrong).await, Err(MALFORMED), "{wrong}");
        }
    }

    async fn what_is_kept_does_not_tell_the_key(app: TestApp) {
        let keys = ApiKeys::new(&app.db);
        let (key, id) = create(&keys, Scopes::ALL).await;
        let listed = keys.list().await.expect("they are read");
        let secret = &key[12..];
        assert_eq!(listed.len(), 1);
        let kept = format!("{:?}", listed[0]);
        assert!(kept.contains(&id) && !kept.contains(secret) && !kept.contains(&secret[..43]), "{kept}");
        for text in [format!("{keys:?}"), format!("{:?}", keys.create("x", Scopes::ALL, None).await)] {
            assert!(!text.contains("ht_"), "{text}");
        }
    }

    async fn a_new_key_works_at_once(app: TestApp) {
        let keys = ApiKeys::new(&app.db);
        // Another server, or the command line, makes them.
        let elsewhere = ApiKeys::new(&app.db);
        for _ in 0..20 {
            let (key, id) = create(&elsewhere, Scopes::ALL).await;
            assert_eq!(keys.verify(&key).await.expect("it works").name.as_deref(), Some(&*id));
        }
    }

    async fn the_use_of_a_key_is_noted_once_a_minute(app: TestApp) {
        let keys = ApiKeys::new(&app.db);
        let (key, _) = create(&keys, Scopes::ALL).await;
        let last_used = async || keys.list().await.expect("they are read")[0].last_used_at;
        assert_eq!(last_used().await, None);
        keys.verify(&key).await.expect("it works");
        until(async || last_used().await.is_some()).await;
        app.execute("UPDATE api_key SET last_used_at = NULL").await;
        for _ in 0..100 {
            keys.verify(&key).await.expect("it works");
        }
        // What is written after it would show.
        create(&keys, Scopes::ALL).await;
        assert_eq!(last_used().await, None);
    }

    /// Each server notes it, and may be started again.
    async fn the_use_of_a_key_is_noted_once_a_minute_by_all_servers_together(app: TestApp) {
        let keys = ApiKeys::new(&app.db);
        let (_, id) = create(&keys, Scopes::ALL).await;
        for (now, noted) in [(1_000, 1_000), (1_059, 1_000), (1_060, 1_060), (1_000, 1_060), (1_120, 1_120)] {
            store::api_key::note_use(&app.db, &id, now).await.expect("it is noted");
            assert_eq!(keys.list().await.expect("they are read")[0].last_used_at, Some(noted), "at {now}");
        }
    }

    async fn statements_for_keys_are_those_of_no_request(app: TestApp) {
        let keys = ApiKeys::new(&app.db);
        let (key, _) = create(&keys, Scopes::ALL).await;
        keys.verify(&key).await.expect("it works");
        assert_eq!(keys.verify(&guess(0)).await, Err(UNKNOWN));
        assert_eq!((app.seen(), app.db.usage().statements), (0, 0));
    }
}

/// A key of the right form that does not exist.
fn guess(number: u64) -> String {
    with_checksum(&format!("ht_{number:08}_{}", "0".repeat(43)))
}

async fn databases() -> impl Iterator<Item = TestDatabase> {
    [Some(TestDatabase::sqlite()), TestDatabase::postgres().await].into_iter().flatten()
}

async fn keys_of(database: &TestDatabase) -> (ApiKeys, Db) {
    let db = connect(&database.url).await;
    db.migrate().await.expect("the migrations apply");
    (ApiKeys::new(&db), db)
}

/// Sets the clock forward.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_key_that_was_revoked_elsewhere_stops_within_thirty_seconds() {
    for database in databases().await {
        let (keys, db) = keys_of(&database).await;
        let elsewhere = ApiKeys::new(&db);
        let (key, id) = create(&elsewhere, Scopes::ALL).await;
        keys.verify(&key).await.expect("it works");
        assert_eq!(elsewhere.revoke(&id).await.expect("it is revoked"), Some(&*id));
        // It is still known, and asks for no statement.
        keys.verify(&key).await.expect("it works");
        later(Duration::from_secs(11)).await;
        // This one has the keys read again, and does not wait for it.
        keys.verify(&key).await.expect("it works");
        until(async || {
            yield_now().await;
            keys.verify(&key).await == Err(REVOKED)
        })
        .await;

        // Nobody asked for long: then it is waited for.
        let (key, id) = create(&elsewhere, Scopes::ALL).await;
        keys.verify(&key).await.expect("it works");
        assert_eq!(elsewhere.revoke(&id).await.expect("it is revoked"), Some(&*id));
        later(Duration::from_secs(30)).await;
        assert_eq!(keys.verify(&key).await, Err(REVOKED));
        db.close().await.expect("the database closes");
        database.remove().await;
    }
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_neither_right_nor_wrong() {
    for database in databases().await {
        let (keys, db) = keys_of(&database).await;
        let (key, _) = create(&keys, Scopes::ALL).await;
        keys.verify(&key).await.expect("it works");
        db.close().await.expect("the database closes");
        // What was read goes on to count for half a minute.
        keys.verify(&key).await.expect("it works");
        assert_eq!(keys.verify(&guess(0)).await, Err(Unauthenticated::Unavailable));
        assert_eq!(keys.verify("ht_").await, Err(MALFORMED));
        later(Duration::from_secs(30)).await;
        assert_eq!(keys.verify(&key).await, Err(Unauthenticated::Unavailable));
        database.remove().await;
    }
}

/// With a clock that stands still.
#[tokio::test]
async fn a_database_that_cannot_be_read_is_asked_for_keys_once_a_second() {
    for database in databases().await {
        let (keys, db) = keys_of(&database).await;
        let log = Log::of_this_test();
        db.close().await.expect("the database closes");
        tokio::time::pause();
        for second in 0..3 {
            for number in 0..1_000 {
                assert_eq!(keys.verify(&guess(number)).await, Err(Unauthenticated::Unavailable));
            }
            let lines = log.lines();
            let said: Vec<_> = lines.iter().map(|line| line["fields"]["message"].clone()).collect();
            assert_eq!(said, ["the API keys cannot be read"], "in second {second}");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        tokio::time::resume();
        database.remove().await;
    }
}

/// With a clock that is set forward whenever all wait.
#[tokio::test]
async fn a_database_that_hangs_holds_up_all_clients_together_and_not_one_after_another() {
    let Some(database) = TestDatabase::postgres_as_asked().await else { return };
    let (keys, db) = keys_of(&database).await;
    let (key, _) = create(&keys, Scopes::ALL).await;
    let other = connect(&database.url).await;
    for have_patience in [true, false] {
        let lock = other.write.begin().await.expect("it begins");
        lock.execute_unprepared("LOCK TABLE api_key IN ACCESS EXCLUSIVE MODE").await.expect("it is locked");
        // Those of the last round may have failed a moment ago.
        later(Duration::from_secs(2)).await;
        tokio::time::pause();
        let start = Instant::now();
        let mut clients = JoinSet::new();
        for number in 0..100 {
            let keys = keys.clone();
            // What is read for a client that disconnects is read for the others.
            let patience = Duration::from_secs(if have_patience || number > 4 { 600 } else { number });
            clients.spawn(async move { timeout(patience, keys.verify(&guess(number))).await });
        }
        for answer in clients.join_all().await.into_iter().flatten() {
            assert_eq!(answer, Err(Unauthenticated::Unavailable));
        }
        let time = start.elapsed();
        assert!(time < Duration::from_secs(6), "{time:?}");
        tokio::time::resume();
        drop(lock);
        until(async || keys.verify(&key).await.is_ok()).await;
    }
    for db in [db, other] {
        db.close().await.expect("the database closes");
    }
    database.remove().await;
}

/// Ten thousand guesses at once share what is read for them, and whoever is known does not wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_hold_up_nobody() {
    for database in databases().await {
        let (keys, db) = keys_of(&database).await;
        let (key, _) = create(&keys, Scopes::ALL).await;
        keys.verify(&key).await.expect("it works");
        let keys = Arc::new(keys);
        let mut guesses = JoinSet::new();
        for number in 0..10_000 {
            let keys = Arc::clone(&keys);
            guesses.spawn(async move { keys.verify(&guess(number)).await });
        }
        for _ in 0..100 {
            keys.verify(&key).await.expect("it works");
        }
        while let Some(guess) = guesses.join_next().await {
            assert_eq!(guess.expect("it does not panic"), Err(UNKNOWN));
        }
        db.close().await.expect("the database closes");
        database.remove().await;
    }
}

/// A hundred a second is the most, however many guesses there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_cost_few_statements() {
    for database in databases().await {
        let folder = tempfile::tempdir().expect("a folder");
        let start = ["--api-keys", "--database-url", &database.url, "--log-sql", "--log-level", "debug"];
        let server = Arc::new(Server::start(folder.path(), &start));
        let before = std::time::Instant::now();
        let mut clients = JoinSet::new();
        for client in 0..16 {
            let server = Arc::clone(&server);
            clients.spawn(async move {
                for number in 0..125 {
                    let credential = format!("x-api-key: {}\r\n", guess(client * 1_000 + number));
                    let body = r#"{"query": "{ heroes { name } }"}"#;
                    let answer = server.request_with("POST", "/graphql", &credential, body).await;
                    assert_eq!(answer.expect("an answer").0, StatusCode::UNAUTHORIZED);
                }
            });
        }
        clients.join_all().await;
        let most = before.elapsed().as_millis() / 10 + 2;
        server.request("GET", "/the/end", "").await.expect("an answer");
        let (mut reads, mut answers) = (0, 0);
        loop {
            let line = server.logged(&[""]);
            reads += u128::from(line.contains("FROM \"api_key\"") || line.contains(r#"FROM \"api_key\""#));
            answers += usize::from(line.contains("the API key is not known"));
            assert!(!line.contains("FROM \"hero\""), "{line}");
            assert!(!line.contains(&"0".repeat(43)), "{line}");
            if line.contains("/the/end") {
                break;
            }
        }
        assert_eq!(answers, 2_000);
        assert!(reads > 0 && reads <= most, "{reads} of {most} at most");
        drop(server);
        database.remove().await;
    }
}

#[test]
fn keys_by_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    let made = run(&["key", "create", "--name", "ci of the team", "--scopes", "read,write", "--expires", "90d"]);
    let key = stdout(&made);
    let key = key.strip_suffix('\n').expect("it is a line");
    assert!(key.starts_with("ht_") && key.len() == 61, "{key}");
    let said = String::from_utf8(made.stderr).expect("it is text");
    assert!(said.contains("printed this once and cannot be shown again"), "{said}");
    assert!(!said.contains(key), "{said}");
    let id = &key[3..11];

    let listed = stdout(&run(&["key", "list"]));
    let lines: Vec<Vec<_>> =
        listed.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    assert_eq!(lines[0], ["ID", "NAME", "SCOPES", "CREATED", "EXPIRES", "REVOKED", "LAST USED"]);
    assert_eq!(lines[1][..3], [id, "ci of the team", "read,write"]);
    assert!(lines[1][3].ends_with(" GMT") && lines[1][4].ends_with(" GMT"), "{listed}");
    assert_eq!(lines[1][5..], ["never", "never"]);
    assert!(!listed.contains(&key[12..]), "{listed}");

    assert_eq!(stdout(&run(&["key", "revoke", id])), format!("{id} is revoked\n"));
    assert_eq!(stdout(&run(&["key", "revoke", id])), format!("{id} is revoked\n"));
    let unknown = "error: there is no API key with this id; the command `key list` lists them";
    assert_eq!(refusal(&run(&["key", "revoke", "x"])), unknown);
    // The whole key does as well, and is repeated nowhere.
    assert_eq!(stdout(&run(&["key", "revoke", key])), format!("{id} is revoked\n"));
    assert_eq!(refusal(&run(&["key", "revoke", &key[..key.len() - 1]])), unknown);
    for (arguments, expected) in [
        (&["--scopes", "read"][..], "the following required arguments were not provided:   --name <NAME>"),
        (&["--name", "x"], "the following required arguments were not provided:   --scopes <SCOPE>"),
        (
            &["--name", "x", "--scopes", "root"],
            "--scopes: one of read, read:secrets, write, documents:bypass, admin is expected",
        ),
        (&["--name", "", "--scopes", "read"], "--name: 1 to 100 characters are expected, in one line"),
        (&["--name", "x", "--scopes", "read", "--expires", "1y"], "--expires: a time with its unit is expected"),
        (&["--name", "x", "--scopes", "read", "--expires", "0d"], "--expires: a time with its unit is expected"),
        (&["--name", "x", "--scopes", "read", "--expires", "36501d"], "--expires: a time with its unit is expected"),
    ] {
        let output = run(&[&["key", "create"], arguments].concat());
        let said = String::from_utf8(output.stderr).expect("it is text");
        assert!(output.status.code() == Some(2) && said.starts_with(&format!("error: {expected}")), "{said}");
    }
    for file in ["hero-teams.db", "hero-teams.db-wal"].map(|file| folder.path().join(file)) {
        let bytes = fs::read(file).unwrap_or_default();
        assert!(!bytes.windows(43).any(|window| window == &key.as_bytes()[12..55]), "the file has the key");
    }
    key_in_another_place(folder.path());
}

/// Whoever has written them: what is listed is what can be revoked.
#[tokio::test]
async fn keys_with_any_times_are_listed() {
    let database = TestDatabase::sqlite();
    let (keys, db) = keys_of(&database).await;
    let (_, id) = create(&keys, Scopes::ALL).await;
    for (time, listed) in [
        (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (253_402_300_800, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (i64::MIN, "Thu, 01 Jan 1970 00:00:00 GMT"),
    ] {
        let times = format!("created_at = {time}, expires_at = {time}, revoked_at = {time}, last_used_at = {time}");
        db.write.execute_unprepared(&format!("UPDATE api_key SET {times}")).await.expect("it is changed");
        let folder = tempfile::tempdir().expect("a folder");
        let lines = stdout(&run(folder.path(), &["key", "list", "--database-url", &database.url]));
        let scopes = Scopes::ALL.to_string();
        let expected = [&id, "test", &scopes, listed, listed, listed, listed].join("  ");
        assert_eq!(lines.lines().nth(1), Some(&*expected), "{time}");
    }
    db.close().await.expect("the database closes");
    database.remove().await;
}

/// The settings of the database count, and the tables are made when they are missing.
fn key_in_another_place(folder: &Path) {
    let mut create = command(folder, &["key", "create", "--name", "x", "--scopes", "admin"]);
    stdout(&create.env("DATABASE_URL", "sqlite://other.db").output().expect("the binary runs"));
    let listed = stdout(&run(folder, &["--database-url", "sqlite://other.db", "key", "list"]));
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let listed = stdout(&run(folder, &["key", "list", "--database-url", "sqlite://third.db"]));
    assert_eq!(listed, "ID  NAME  SCOPES  CREATED  EXPIRES  REVOKED  LAST USED\n");
    assert_eq!(json!(folder.join("third.db").exists()), json!(true));
}
