//! Files of SQLite: those that this program did not make, those that may only be read, and those that go away while it
//! runs.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use axum::http::StatusCode;
use hero_teams::schema::{Migrator, MigratorTrait};
use rusqlite::{Connection, config::DbConfig};
use serde_json::{Value, json};

use crate::command_line::{Server, command, refusal, run, stdout};

const READ: &str = "{ heroes { name } }";
const CREATE: &str = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { name } } }"#;
const READY: (StatusCode, &str) = (StatusCode::OK, "ready");
const UNWRITABLE: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, "the database cannot be written");

/// What `SQLModel` makes of the tutorial's models.
const TUTORIAL: &str = "
    CREATE TABLE team (id INTEGER NOT NULL, name VARCHAR NOT NULL, headquarters VARCHAR NOT NULL, PRIMARY KEY (id));
    CREATE INDEX ix_team_name ON team (name);
    CREATE TABLE hero (
        id INTEGER NOT NULL, name VARCHAR NOT NULL, secret_name VARCHAR NOT NULL, age INTEGER, PRIMARY KEY (id)
    );
    CREATE INDEX ix_hero_age ON hero (age);
    CREATE INDEX ix_hero_name ON hero (name);
    CREATE TABLE heroteamlink (
        team_id INTEGER NOT NULL, hero_id INTEGER NOT NULL, PRIMARY KEY (team_id, hero_id),
        FOREIGN KEY(team_id) REFERENCES team (id), FOREIGN KEY(hero_id) REFERENCES hero (id)
    );
    INSERT INTO hero (name, secret_name) VALUES ('Deadpond', 'Dive Wilson');";

fn create(folder: &Path, sql: &str) -> Connection {
    let connection = Connection::open(folder.join("hero-teams.db")).expect("it opens");
    connection.execute_batch(sql).expect("the statements run");
    connection
}

/// The names of all files, and what is in them, but for the index of a write-ahead log, where readers leave marks.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = folder.read_dir().expect("it is there").map(|file| file.expect("it is there").path());
    let content = |path: &Path| if path.to_string_lossy().ends_with("-shm") { Ok(Vec::new()) } else { fs::read(path) };
    let name = |path: &Path| path.file_name().expect("it has a name").to_string_lossy().into_owned();
    files.map(|path| (name(&path), content(&path).expect("it is read"))).collect()
}

/// What every command says of a file that it leaves as it is. Where there are rows to take over, it says how.
fn assert_refused(folder: &Path, reason: &str) {
    let copy =
        if reason.starts_with("has tables") { "; the command `copy --from URL` takes over its rows" } else { "" };
    let reason = &format!("{reason}{copy}");
    let before = contents(folder);
    for arguments in
        [&["--listen", "127.0.0.1:0"][..], &["--no-migrate", "--listen", "127.0.0.1:0"], &["migrate"], &["seed"]]
    {
        let path = folder.join("hero-teams.db");
        assert_eq!(
            refusal(&run(folder, arguments)),
            format!("error: cannot open the database: {} {reason}", path.display())
        );
        assert!(contents(folder) == before, "{reason}: {:?}", contents(folder).keys());
    }
}

const ELSEWHERE: &str = "it stays as it is; name another file, such as sqlite://hero-teams.db";

#[test]
fn a_file_of_another_program_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    for (sql, reason) in [
        (TUTORIAL, "has tables that this program did not make (hero, heroteamlink, team)"),
        ("CREATE TABLE \"Hero\" (id INTEGER)", "has tables that this program did not make (Hero)"),
        ("CREATE VIEW team AS SELECT 1", "has tables that this program did not make (team)"),
        (
            "CREATE TABLE a (x); CREATE TABLE c (x); CREATE TABLE d (x); CREATE TABLE e (x);
             CREATE TABLE f (x); CREATE TABLE g (x)",
            "has tables that this program did not make (a, c, d, e, f, …)",
        ),
        (
            "CREATE TABLE seaql_migrations (other); CREATE TABLE hero (id)",
            "has tables that this program did not make (hero, seaql_migrations)",
        ),
        (
            "CREATE TABLE seaql_migrations (version VARCHAR, applied_at BIGINT); CREATE TABLE hero (id)",
            "has tables that this program did not make (hero, seaql_migrations)",
        ),
        (
            "CREATE TABLE seaql_migrations (version VARCHAR, applied_at BIGINT);
             INSERT INTO seaql_migrations VALUES ('m1_cake', 1)",
            "was made by another program, or a newer version of this one (it has the migrations m1_cake)",
        ),
    ] {
        for journal in ["delete", "wal"] {
            let connection = create(folder.path(), &format!("PRAGMA journal_mode = {journal}; {sql}"));
            // What it has written may still be in its write-ahead log, as after a crash.
            for leaves_log in [true, false] {
                let setting = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
                connection.set_db_config(setting, leaves_log).expect("it is set");
                if leaves_log {
                    let copy = tempfile::tempdir().expect("a folder");
                    for (name, content) in contents(folder.path()).iter().filter(|(name, _)| !name.ends_with("-shm")) {
                        fs::write(copy.path().join(name), content).expect("it is written");
                    }
                    assert_refused(copy.path(), &format!("{reason}; {ELSEWHERE}"));
                }
            }
            // While another program has it open.
            assert_refused(folder.path(), &format!("{reason}; {ELSEWHERE}"));
            connection.close().expect("it closes");
            assert_refused(folder.path(), &format!("{reason}; {ELSEWHERE}"));
            fs::remove_file(folder.path().join("hero-teams.db")).expect("it is removed");
        }
    }
}

#[test]
fn a_file_of_a_newer_version_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    stdout(&run(folder.path(), &["seed"]));
    let sql = "INSERT INTO seaql_migrations VALUES ('m2999_newer', 1);
               UPDATE schema_compat SET min_program = 'm2999_newer'";
    create(folder.path(), sql).close().expect("it closes");
    let reason = "was made by another program, or a newer version of this one (it has the migrations m2999_newer)";
    assert_refused(folder.path(), &format!("{reason}; {ELSEWHERE}"));
    let sql = "DELETE FROM seaql_migrations WHERE version = 'm2999_newer'; DROP TABLE hero_team_link";
    create(folder.path(), sql).close().expect("it closes");
    assert_refused(folder.path(), "has no table hero_team_link, although the migration that makes it was applied");
    // Without the last migration it is made again.
    let sql = "DELETE FROM seaql_migrations WHERE version LIKE '%link'";
    create(folder.path(), sql).close().expect("it closes");
    assert_eq!(stdout(&run(folder.path(), &["seed"])), "0 heroes created\n");
}

#[test]
fn text_in_another_encoding_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (encoding, name) in [("UTF-16", "UTF-16le"), ("UTF-16le", "UTF-16le"), ("UTF-16be", "UTF-16be")] {
        create(folder.path(), &format!("PRAGMA encoding = '{encoding}'; CREATE TABLE a (b); DROP TABLE a"))
            .close()
            .expect("it closes");
        let reason = "but UTF-8 is required to compare it; convert it with `sqlite3 OLD .dump | sqlite3 NEW`";
        assert_refused(folder.path(), &format!("stores text in {name}, {reason}"));
        fs::remove_file(folder.path().join("hero-teams.db")).expect("it is removed");
    }
}

#[test]
fn what_is_no_file_of_sqlite_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hero-teams.db");
    for content in [&b"Dear diary"[..], &[0x5c; 8192], b"SQLite format 2\0"] {
        fs::write(&path, content).expect("it is written");
        assert_refused(folder.path(), "is not a database of SQLite, or it is encrypted");
    }
    fs::write(&path, "").expect("it is written");
    assert_eq!(stdout(&run(folder.path(), &["seed"])), "3 heroes created\n");

    let refused =
        |name: &str| refusal(&run(folder.path(), &["migrate", "--database-url", &format!("sqlite://{name}")]));
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(folder.path().join("folder")).expect("it is made");
    assert_eq!(refused("folder"), format!("error: cannot open the database: {} is a folder", path("folder")));
    // Nobody writes to it, for which who opens it would wait.
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().expect("it runs").success());
    assert_eq!(refused("pipe"), format!("error: cannot open the database: {} is not a regular file", path("pipe")));
    assert_eq!(refused("/dev/null"), "error: cannot open the database: /dev/null is not a regular file");
    let missing = format!("cannot be created: {} is not a folder", path("missing"));
    assert_eq!(refused("missing/x.db"), format!("error: cannot open the database: {} {missing}", path("missing/x.db")));
    let missing = "cannot be opened: No such file or directory (os error 2)";
    assert_eq!(refused("x.db?mode=rw"), format!("error: cannot open the database: {} {missing}", path("x.db")));
    assert_eq!(refused("x.db?mode=ro"), format!("error: cannot open the database: {} {missing}", path("x.db")));
}

#[test]
fn a_write_ahead_log_without_its_file_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let connection = create(folder.path(), "PRAGMA journal_mode = wal; CREATE TABLE a (b)");
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).expect("it is set");
    connection.close().expect("it closes");
    let path = folder.path().join("hero-teams.db");
    let log = format!("{}-wal has data that was written to it; put the file back, or remove that one", path.display());
    fs::remove_file(&path).expect("it is there");
    assert_refused(folder.path(), &format!("is missing or empty, but {log}"));
    fs::write(&path, "").expect("it is written");
    assert_refused(folder.path(), &format!("is missing or empty, but {log}"));
}

/// The program without the right of root to open whatever it likes.
fn restricted(folder: &Path, arguments: &[&str]) -> Command {
    let program = command(folder, arguments);
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-dac_override,-dac_read_search"])
        .arg(program.get_program())
        .args(program.get_args());
    command.current_dir(folder).env_remove("DATABASE_URL");
    command
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("they are set");
}

fn output(mut command: Command) -> Output {
    command.output().expect("it runs")
}

async fn assert_reads_alone(server: &Server) {
    assert_eq!(ready(server).await, (UNWRITABLE.0, UNWRITABLE.1.to_owned()));
    let heroes = json!([{"name": "Deadpond"}, {"name": "Rusty-Man"}, {"name": "Spider-Boy"}]);
    assert_eq!(server.graphql(READ, json!({})).await, Some(json!({"data": {"heroes": heroes}})));
    assert_refuses_writes(server).await;
}

async fn assert_refuses_writes(server: &Server) {
    let answer = server.graphql(CREATE, json!({})).await.expect("an answer");
    assert_eq!(answer["data"], json!({"createHero": null}));
    assert_eq!(answer["errors"][0]["extensions"], json!({"code": "UNAVAILABLE"}), "{answer}");
}

async fn ready(server: &Server) -> (StatusCode, String) {
    server.request("GET", "/health/ready", "").await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_may_only_be_read_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let path = folder.join("hero-teams.db");
    stdout(&run(folder, &["seed"]));
    for journal in ["wal", "delete"] {
        create(folder, &format!("PRAGMA journal_mode = {journal}")).close().expect("it closes");
        let before = contents(folder);
        for (file, permissions, url) in [
            (0o644, 0o755, "sqlite://hero-teams.db?mode=ro"),
            (0o444, 0o755, "sqlite://hero-teams.db"),
            (0o444, 0o555, "sqlite://hero-teams.db"),
            (0o644, 0o555, "sqlite://hero-teams.db"),
            (0o444, 0o555, "sqlite://hero-teams.db?mode=ro"),
        ] {
            let case = format!("{journal} {file:o} {permissions:o} {url}");
            // Whoever may write takes away what was left beside it.
            create(folder, "SELECT 1 FROM hero").close().expect("it closes");
            assert_eq!(contents(folder).len(), 1, "{case}");
            chmod(&path, file);
            chmod(folder, permissions);
            for flag in ["--no-introspection", "--no-migrate"] {
                let arguments = ["--database-url", url, flag, "--listen", "127.0.0.1:0"];
                let server = Server::spawn(restricted(folder, &arguments));
                assert_reads_alone(&server).await;
                server.stopped().await;
            }
            assert_eq!(stdout(&output(restricted(folder, &["migrate", "--database-url", url]))), "", "{case}");
            let seed = restricted(folder, &["seed", "--database-url", url]);
            assert_eq!(stdout(&output(seed)), "0 heroes created\n", "{case}");
            let elsewhere = tempfile::tempdir().expect("a folder");
            chmod(elsewhere.path(), 0o777);
            let [copied, backup] =
                ["copied.db", "backup.db"].map(|name| elsewhere.path().join(name).display().to_string());
            let to = format!("sqlite://{copied}");
            let copy = ["copy", "--from", url, "--database-url", &to, "--progress", "none"];
            assert_eq!(stdout(&output(restricted(folder, &copy))), "9 rows copied\n", "{case}");
            let said = stdout(&output(restricted(folder, &["backup", &backup, "--database-url", url])));
            assert!(said.ends_with(&format!(" bytes written to {backup}\n")), "{case} {said}");
            chmod(folder, 0o755);
            chmod(&path, 0o644);
            assert_eq!(contents(folder)["hero-teams.db"], before["hero-teams.db"], "{case}");
        }
    }
}

#[test]
fn an_outdated_file_that_may_only_be_read_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("hero-teams.db"), "").expect("it is written");
    let pending: Vec<_> = Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let pending = pending.join(", ");
    for arguments in [&["--listen", "127.0.0.1:0"][..], &["migrate"], &["seed"]] {
        let refused =
            refusal(&run(folder.path(), &[arguments, &["--database-url", "sqlite://hero-teams.db?mode=ro"]].concat()));
        let reason = format!("the database is outdated and may only be read (pending: {pending})");
        assert_eq!(refused, format!("error: cannot apply the migrations: {reason}"));
    }
    assert_eq!(contents(folder.path()), BTreeMap::from([("hero-teams.db".to_owned(), Vec::new())]));
    stdout(&run(folder.path(), &["migrate"]));
    let refused = refusal(&run(folder.path(), &["seed", "--database-url", "sqlite://hero-teams.db?mode=ro"]));
    assert_eq!(refused, "error: cannot load the tutorial's data: attempt to write a readonly database");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_file_that_changes_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    stdout(&run(folder, &["migrate"]));
    chmod(folder, 0o555);
    let server = Server::spawn(restricted(folder, &["--listen", "127.0.0.1:0"]));
    assert_eq!(server.graphql(READ, json!({})).await, Some(json!({"data": {"heroes": []}})));
    // Root may write all the same.
    chmod(folder, 0o755);
    stdout(&run(folder, &["seed"]));
    chmod(folder, 0o555);
    let answer = server.graphql(READ, json!({})).await.expect("an answer");
    assert_eq!(answer["errors"][0]["extensions"], json!({"code": "UNAVAILABLE"}), "{answer}");
    assert_reads_alone(&server).await;
    drop(server);
    chmod(folder, 0o755);
}

/// Puts files where others are, and back.
struct Swap<'a> {
    folder: &'a Path,
    file: &'static str,
}

impl Swap<'_> {
    fn away(&self) {
        fs::rename(self.folder.join(self.file), self.folder.join("away")).expect("it is there");
    }

    fn back(&self) {
        fs::rename(self.folder.join("away"), self.folder.join(self.file)).expect("it is there");
    }
}

async fn heroes(server: &Server) -> usize {
    let answer: Value = server.graphql(READ, json!({})).await.expect("an answer");
    answer["data"]["heroes"].as_array().map_or_else(|| panic!("{answer}"), Vec::len)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_moved_away_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (database, other) = (folder.join("database"), folder.join("other"));
    fs::create_dir(&database).expect("it is made");
    fs::create_dir(&other).expect("it is made");
    stdout(&run(&other, &["seed"]));
    let server = Server::start(&database, &[]);
    let mut expected = 0;
    for swap in [
        Swap { folder: &database, file: "hero-teams.db" },
        Swap { folder: &database, file: "hero-teams.db-wal" },
        Swap { folder, file: "database" },
    ] {
        for is_replaced in [false, true] {
            assert_eq!(
                server.graphql(CREATE, json!({})).await,
                Some(json!({"data": {"createHero": {"hero": {"name": "A"}}}}))
            );
            expected += 1;
            swap.away();
            if is_replaced {
                let replacement = other.join("hero-teams.db");
                match swap.file {
                    "database" => {
                        fs::create_dir(&database).expect("it is made");
                        fs::copy(replacement, database.join("hero-teams.db")).expect("it is copied");
                    }
                    file => drop(fs::copy(replacement, database.join(file)).expect("it is copied")),
                }
            }
            for _ in 0..2 {
                assert_eq!(ready(&server).await, (UNWRITABLE.0, UNWRITABLE.1.to_owned()), "{}", swap.file);
                assert_refuses_writes(&server).await;
                // What it has open it still reads.
                assert_eq!(heroes(&server).await, expected);
            }
            server.logged(&["has been removed or replaced while it was open"]);
            if is_replaced {
                match swap.file {
                    "database" => fs::remove_dir_all(&database).expect("it is removed"),
                    file => fs::remove_file(database.join(file)).expect("it is removed"),
                }
            }
            swap.back();
            assert_eq!(ready(&server).await, (READY.0, READY.1.to_owned()), "{}", swap.file);
            assert_eq!(heroes(&server).await, expected, "what was refused is not written");
        }
    }
    server.stopped().await;
    assert_eq!(contents(&database).keys().collect::<Vec<_>>(), ["hero-teams.db"]);
    assert_eq!(heroes(&Server::start(&database, &[])).await, expected);

    // A write-ahead log that is removed takes nothing along that was answered.
    let server = Server::start(&database, &[]);
    assert_eq!(server.graphql(CREATE, json!({})).await, Some(json!({"data": {"createHero": {"hero": {"name": "A"}}}})));
    fs::remove_file(database.join("hero-teams.db-wal")).expect("it is there");
    assert_refuses_writes(&server).await;
    server.stopped().await;
    assert_eq!(heroes(&Server::start(&database, &[])).await, expected + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_in_the_place_of_another_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let server = Server::start(folder, &[]);
    server.graphql(CREATE, json!({})).await.expect("an answer");
    fs::rename(folder.join("hero-teams.db"), folder.join("old.db")).expect("it is there");
    fs::remove_file(folder.join("hero-teams.db-wal")).expect("it is there");
    fs::remove_file(folder.join("hero-teams.db-shm")).expect("it is there");
    // Another server has a file of this name, with a write-ahead log beside it.
    let other = Server::start(folder, &[]);
    for _ in 0..3 {
        assert_refuses_writes(&server).await;
        assert_eq!(
            other.graphql(CREATE, json!({})).await,
            Some(json!({"data": {"createHero": {"hero": {"name": "A"}}}}))
        );
    }
    assert_eq!((heroes(&server).await, heroes(&other).await), (1, 3));
    server.stopped().await;
    assert_eq!(ready(&other).await, (READY.0, READY.1.to_owned()));
    other.graphql(CREATE, json!({})).await.expect("an answer");
    // What was in the write-ahead log of the first was not lost with it.
    let moved = Server::start(folder, &["--database-url", "sqlite://old.db"]);
    assert_eq!((heroes(&moved).await, heroes(&other).await), (1, 4));
    drop(other);
    assert_eq!(heroes(&Server::start(folder, &[])).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_gives_back_what_a_long_reader_made_it_take() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let server = Server::start(folder, &[]);
    let reader = Connection::open(folder.join("hero-teams.db")).expect("it opens");
    reader.execute_batch("BEGIN; SELECT * FROM hero").expect("it reads");
    let input: Vec<_> = (0..1000).map(|_| json!({"name": "n".repeat(200), "secretName": "s".repeat(200)})).collect();
    let create = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
    let size = || fs::metadata(folder.join("hero-teams.db-wal")).expect("it is there").len();
    while size() < 24 * 1024 * 1024 {
        let answer = server.graphql(create, json!({"input": input})).await.expect("an answer");
        assert_eq!(answer.get("errors"), None);
    }
    drop(reader);
    // The first write moves it to the file, the second begins it anew.
    for _ in 0..2 {
        server.graphql(create, json!({"input": input})).await.expect("an answer");
    }
    assert!(size() <= 16 * 1024 * 1024, "{}", size());
}

#[test]
fn sqlite_is_compiled_with_the_options_of_the_project() {
    let folder = tempfile::tempdir().expect("a folder");
    let migrated = run(folder.path(), &["migrate"]);
    assert!(migrated.status.success(), "{migrated:?}");
    let said = String::from_utf8_lossy(&migrated.stderr).into_owned();
    assert!(said.contains("INFO") && !said.contains("WARN"), "{said}");
}
