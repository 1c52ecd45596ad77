//! `hero-teams backup` of a file that is in use, and `hero-teams health`.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use rusqlite::Connection;
use serde_json::json;

use crate::{
    command_line::{Server, command, refusal, run, stdout, wrong_setting},
    databases::TestDatabase,
    support::TestApp,
};

/// The names of what is left of outputs that did not come to their end.
fn parts(folder: &Path) -> Vec<String> {
    let paths = fs::read_dir(folder).expect("it exists").flatten().map(|file| file.path());
    let parts = paths.filter(|path| path.extension().is_some_and(|end| end == "part"));
    parts.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
}

const CREATE: &str = r#"mutation { createHero(input: {name: "A", secretName: "B",
    teams: {create: [{name: "T", headquarters: "H"}]}}) { hero { id } } }"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_whole_while_the_file_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let server = Arc::new(Server::start(folder, &["--database-url", "sqlite://heroes.db"]));
    let ends = Arc::new(AtomicBool::new(false));
    let writer = {
        let (server, ends) = (Arc::clone(&server), Arc::clone(&ends));
        tokio::spawn(async move {
            let mut written = 0;
            while !ends.load(SeqCst) {
                let answer = server.graphql(CREATE, json!({})).await.expect("it answers");
                assert_eq!(answer.get("errors"), None, "{answer}");
                written += 1;
            }
            written
        })
    };
    let backup = |name: &str| run(folder, &["backup", name, "--database-url", "sqlite://heroes.db"]);
    for number in 0..3 {
        let before = server.graphql("{ heroesConnection { totalCount } }", json!({})).await.expect("it answers");
        let before = before["data"]["heroesConnection"]["totalCount"].as_i64().expect("a number");
        let name = format!("backup{number}.db");
        let size = fs::metadata(folder.join(&name)).map(|file| file.len());
        assert!(size.is_err());
        let said = stdout(&backup(&name));
        let size = fs::metadata(folder.join(&name)).expect("it is there").len();
        assert_eq!(said, format!("{size} bytes written to {name}\n"));
        let app = TestApp::new(TestDatabase::at(&format!("sqlite://{}", folder.join(&name).display()))).await;
        let [heroes, teams, links] = app.counts().await;
        assert!(heroes >= before && heroes == teams && heroes == links, "{heroes} {teams} {links} {before}");
        app.close().await;
    }
    ends.store(true, SeqCst);
    assert!(writer.await.expect("it does not panic") > 0);
    let refused = refusal(&backup("backup0.db"));
    assert_eq!(refused, "error: backup0.db exists already");
    let refused = refusal(&backup("no/such/folder/x.db"));
    assert_eq!(refused, "error: cannot write no/such/folder/x.db: No such file or directory (os error 2)");
    assert_eq!(parts(folder), Vec::<String>::new());
    let refused = refusal(&run(folder, &["backup", "x.db", "--database-url", "postgres://h/d"]));
    assert!(refused.starts_with("error: PostgreSQL has its own tools for backups: pg_dump"), "{refused}");

    // The server is well, until it is gone.
    let url = format!("http://{}", server.address());
    for path in ["", "/", "/health/ready", "?a=b"] {
        assert_eq!(stdout(&run(folder, &["health", &format!("{url}{path}")])), "ready\n", "{path}");
    }
    let elsewhere = refusal(&run(folder, &["health", &format!("{url}/heroes/")]));
    assert!(elsewhere.starts_with("error: the server is not ready"), "{elsewhere}");
    let (address, server) = (server.address().to_owned(), Arc::into_inner(server).expect("nobody else has it"));
    assert_eq!(stdout(&run(folder, &["health", "--listen", &address])), "ready\n");
    server.stopped().await;
    let socket = Server::spawn(command(folder, &["--listen", "unix:s"]));
    assert_eq!(stdout(&run(folder, &["health", "--listen", "unix:s"])), "ready\n");
    drop(socket);
    let refused = refusal(&run(folder, &["health", "--listen", "unix:s"]));
    assert!(refused.starts_with("error: the server does not answer: it cannot be connected to: "), "{refused}");
    let wrong = wrong_setting(&run(folder, &["health", "ftp://localhost"]));
    assert!(wrong.ends_with("a URL such as http://localhost:8000 is expected"), "{wrong}");
    let refused = refusal(&run(folder, &["health", &url]));
    assert!(refused.starts_with("error: the server does not answer: "), "{refused}");
}

#[test]
fn a_backup_takes_the_place_of_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    stdout(&run(folder, &["seed", "--database-url", "sqlite://heroes.db"]));
    let database = fs::read(folder.join("heroes.db")).expect("it exists");
    // What has the name of a part is not one of ours.
    fs::copy(folder.join("heroes.db"), folder.join("x.db.part")).expect("it is written");
    symlink("missing.db", folder.join("link.db")).expect("it is made");
    fs::write(folder.join("empty.db"), "").expect("it is written");
    let backup = |from: &str, to: &str| {
        let url = format!("sqlite://{from}");
        command(folder, &["backup", to, "--database-url", &url])
    };
    let refused = |from: &str, to: &str| refusal(&backup(from, to).output().expect("it runs"));
    fs::set_permissions(folder.join("x.db.part"), fs::Permissions::from_mode(0o600)).expect("it is set");
    stdout(&backup("x.db.part", "x.db").output().expect("it runs"));
    assert_eq!(fs::metadata(folder.join("x.db")).expect("it exists").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(folder.join("x.db.part")).expect("it exists"), database);
    assert_eq!(refused("heroes.db", "link.db"), "error: link.db exists already");
    assert!(!folder.join("missing.db").exists());
    assert_eq!(refused("empty.db", "y.db"), "error: cannot read empty.db: it is no database of hero-teams");
    assert_eq!(refused("missing.db", "y.db"), "error: cannot read missing.db: No such file or directory (os error 2)");
    assert_eq!(fs::metadata(folder.join("empty.db")).expect("it exists").len(), 0);

    // Of several backups to one path, one exists, and it is complete.
    let mut backups: Vec<_> = (0..4).map(|_| backup("heroes.db", "z.db").spawn().expect("it runs")).collect();
    let done = backups.iter_mut().filter_map(|backup| backup.wait().expect("it ends").success().then_some(()));
    assert_eq!(done.count(), 1);
    stdout(&run(folder, &["export", "-o", "-", "--database-url", "sqlite://z.db"]));
    assert_eq!(parts(folder), ["x.db.part"]);

    // A database that another program has for itself alone.
    let other = Connection::open(folder.join("heroes.db")).expect("it is opened");
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; DELETE FROM hero").expect("it is locked");
    assert_eq!(refused("heroes.db", "y.db"), "error: cannot read heroes.db: database is locked");
    assert!(!folder.join("y.db").exists());
}
