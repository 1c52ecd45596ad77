//! `hero-teams backup` of a file that is in use, and `hero-teams health`.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use serde_json::json;

use crate::{
    command_line::{Server, refusal, run, stdout},
    databases::TestDatabase,
    support::TestApp,
};

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
    assert!(refused.starts_with("error: cannot write no/such/folder/x.db.part"), "{refused}");
    assert!(
        !fs::read_dir(folder)
            .expect("it is there")
            .flatten()
            .any(|file| file.path().extension().is_some_and(|end| end == "part"))
    );
    let refused = refusal(&run(folder, &["backup", "x.db", "--database-url", "postgres://h/d"]));
    assert!(refused.starts_with("error: PostgreSQL has its own tools for backups: pg_dump"), "{refused}");

    // The server is well, until it is gone.
    let url = format!("http://{}", server.address());
    assert_eq!(stdout(&run(folder, &["health", &url])), "ready\n");
    let (address, server) = (server.address().to_owned(), Arc::into_inner(server).expect("nobody else has it"));
    assert_eq!(stdout(&run(folder, &["health", "--listen", &address])), "ready\n");
    server.stopped().await;
    let refused = refusal(&run(folder, &["health", &url]));
    assert!(refused.starts_with("error: the server does not answer: "), "{refused}");
}
