//! `hero-teams export` and `hero-teams import`: JSON Lines and CSV.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    path::Path,
    process::{Command, Output, Stdio},
};

use rusqlite::Connection;
use sea_orm::{ConnectionTrait as _, DbBackend};
use serde_json::{Value, json};

use crate::{
    command_line::{command, hearing_hangups, refusal, run, stdout, wrong_setting},
    databases::{POOLER_PORT, TestDatabase},
    events::{IDS, Stream},
    poolers::flags,
    support::{TestApp, on_both_databases, until},
};

/// A command on a database, which may be after a pooler.
fn command_on(folder: &Path, url: &str, arguments: &[&str]) -> Command {
    let quiet = ["--progress", "none", "--log-level", "error", "--database-url", url];
    let pooler = if url.contains(&format!(":{POOLER_PORT}/")) { flags() } else { Vec::new() };
    command(folder, &[arguments, &quiet, &pooler].concat())
}

fn on(folder: &Path, url: &str, arguments: &[&str]) -> Output {
    command_on(folder, url, arguments).output().expect("the binary runs")
}

/// All records of a database, as JSON Lines.
fn exported(folder: &Path, url: &str) -> String {
    stdout(&on(folder, url, &["export", "--output", "-", "--with-secrets"]))
}

fn new_sqlite(folder: &Path, name: &str) -> String {
    format!("sqlite://{}", folder.join(name).display())
}

fn rejects(folder: &Path, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(format!("{file}.rejected.jsonl"))).expect("it is written");
    text.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect()
}

/// The lines and the messages of what was rejected.
fn messages(folder: &Path, file: &str) -> Vec<String> {
    let message = |reject: &Value| {
        let errors = reject["errors"].as_array().expect("a list").iter().map(|error| error["message"].as_str());
        format!("{}: {}", reject["line"], errors.map(Option::unwrap_or_default).collect::<Vec<_>>().join("; "))
    };
    rejects(folder, file).iter().map(message).collect()
}

const ALL: &str = r#"{"type":"team","id":"Team:1","name":"Z-Force","headquarters":"Sister Margaret's \"Bar\"\n2nd floor"}
{"type":"team","id":"Team:2","name":"=1+1","headquarters":"Sharp Tower"}
{"type":"hero","id":"Hero:1","name":"Deadpond, é🦸","secretName":"Dive Wilson","age":null,"teams":["Team:1","Team:2"]}
{"type":"hero","id":"Hero:2","name":"Rusty-Man","secretName":"Tommy Sharp","age":48,"teams":["Team:2"]}
{"type":"hero","id":"Hero:3","name":"-Boy","secretName":"Pedro","age":0,"teams":[]}
"#;

on_both_databases! {
    async fn out_and_in(app: TestApp) {
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, url) = (folder.path(), app.database.url.as_str());
        fs::write(folder.join("all.jsonl"), ALL).expect("it is written");
        assert_eq!(stdout(&on(folder, url, &["import", "all.jsonl"])), "5 records imported, 5 objects created\n");
        assert_eq!(exported(folder, url), ALL);

        // Without what asks for a scope, and with the columns of one table.
        let said = stdout(&on(folder, url, &["export", "-o", "heroes.csv", "--format", "csv", "--what", "heroes"]));
        assert_eq!(said, "3 records written to heroes.csv\n");
        let heroes = "id,name,age\n1,\"Deadpond, é🦸\",\n2,Rusty-Man,48\n3,-Boy,0\n";
        assert_eq!(fs::read_to_string(folder.join("heroes.csv")).expect("it is written"), heroes);
        let again = refusal(&on(folder, url, &["export", "-o", "heroes.csv"]));
        assert_eq!(again, "error: heroes.csv exists already");

        let csv = ["export", "-o", "csv", "--format", "csv", "--with-secrets", "--spreadsheet-safe"];
        assert_eq!(stdout(&on(folder, url, &csv)), "8 records written to csv\n");
        let file = |name: &str| fs::read_to_string(folder.join("csv").join(name)).expect("it is written");
        assert_eq!(
            file("teams.csv"),
            "id,name,headquarters\n1,Z-Force,\"Sister Margaret's \"\"Bar\"\"\n2nd floor\"\n2,'=1+1,Sharp Tower\n"
        );
        assert_eq!(
            file("heroes.csv"),
            "id,name,secret_name,age\n1,\"Deadpond, é🦸\",Dive Wilson,\n2,Rusty-Man,Tommy Sharp,48\n3,'-Boy,Pedro,0\n"
        );
        assert_eq!(file("memberships.csv"), "hero_id,team_id\n1,1\n1,2\n2,2\n");

        // In another database the ids are new ones, and the links are the same.
        let csv = ["export", "-o", "plain", "--format", "csv", "--with-secrets"];
        stdout(&on(folder, url, &csv));
        let other = new_sqlite(folder, "other.db");
        stdout(&on(folder, &other, &["import", "all.jsonl"]));
        let files = ["import", "plain/memberships.csv", "plain/heroes.csv", "plain/teams.csv"];
        assert_eq!(stdout(&on(folder, &other, &files)), "8 records imported, 5 objects created\n");
        let again = ALL
            .replace("Team:2", "Team:4")
            .replace("Team:1", "Team:3")
            .replace("Hero:3", "Hero:6")
            .replace("Hero:2", "Hero:5")
            .replace("Hero:1", "Hero:4");
        let parts = [ALL, &again].map(|text| text.split_at(text.find("{\"type\":\"hero\"").expect("it has heroes")));
        let [(teams, heroes), (new_teams, new_heroes)] = parts;
        assert_eq!(exported(folder, &other), [teams, new_teams, heroes, new_heroes].concat());
    }

    async fn objects_that_exist_are_connected(app: TestApp) {
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, url) = (folder.path(), app.database.url.as_str());
        fs::write(folder.join("all.jsonl"), ALL).expect("it is written");
        let import = ["import", "all.jsonl", "--mode", "connect-or-create"];
        assert_eq!(stdout(&on(folder, url, &import)), "5 records imported, 5 objects created\n");
        assert_eq!(stdout(&on(folder, url, &import)), "5 records imported, 0 objects created\n");
        assert_eq!(exported(folder, url), ALL);
        // Equal records of a file are one object, and a link that exists stays.
        let team = r#"{"type":"team","id":"ID","name":"=1+1","headquarters":"Sharp Tower"}"#;
        let lines = [
            &team.replace("ID", "Team:7"),
            &team.replace("ID", "Team:8"),
            r#"{"type":"hero","name":"New","secretName":"N","teams":["Team:7","Team:8"]}"#,
            r#"{"type":"hero","name":"New","secretName":"N","teams":[]}"#,
        ];
        fs::write(folder.join("more.jsonl"), lines.join("\n")).expect("it is written");
        let import = ["import", "more.jsonl", "--mode", "connect-or-create", "--batch", "3"];
        assert_eq!(stdout(&on(folder, url, &import)), "4 records imported, 1 objects created\n");
        let hero = r#"{"type":"hero","id":"Hero:4","name":"New","secretName":"N","age":null,"teams":["Team:2"]}"#;
        assert_eq!(exported(folder, url), format!("{ALL}{hero}\n"));
    }

    async fn what_is_wrong_is_said_and_nothing_is_written(app: TestApp) {
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, url) = (folder.path(), app.database.url.as_str());
        let lines = [
            r#"{"type":"team","id":"Team:7","name":"T","headquarters":"H"}"#,
            r#"{"type":"hero","name":"N","secretName":"S","teams":["Team:7","Team:8"]}"#,
            r#"{"type":"hero","name":"N","secretName":"S","teams":["x"]}"#,
            r#"{"type":"hero","name":" ","secretName":"S","age":-1}"#,
            r#"{"type":"hero","name":5,"secretName":null,"age":"5","nam":1}"#,
            "",
            r#"{"type":"team","id":7,"name":"T","headquarters":"H"}"#,
            r#"{"name":"T"}"#,
            "[1]",
            r#"{"a""#,
            r#"{"type":"membership","hero":"Hero:1","team":"Team:7","x":1}"#,
            r#"{"type":"membership","hero":"Hero:1"}"#,
            r#"{"type":"hero","name":"N\u0000","secretName":"S"}"#,
            r#"{"type":"hero","id":"Hero:9","name":"Right","secretName":"S","teams":"Team:7"}"#,
            r#"{"type":"membership","hero":"Hero:9","team":7}"#,
        ];
        let long = format!(r#"{{"type":"hero","name":"{}","secretName":"S"}}"#, "x".repeat(201));
        let too_long = format!(r#"{{"type":"hero","name":"{}","secretName":"S"}}"#, "x".repeat(2 << 20));
        let blank = " ".repeat(2 << 20) + "{}";
        let text = [&lines[..], &[&long, &too_long, &blank]].concat().join("\n");
        fs::write(folder.join("a.jsonl"), text).expect("it is written");
        // As long as a line may be.
        let longest = format!("{}{}\n", lines[6], " ".repeat((1 << 20) - lines[6].len()));
        fs::write(folder.join("longest.jsonl"), longest).expect("it is written");
        assert_eq!(stdout(&on(folder, url, &["import", "--dry-run", "longest.jsonl"])), "1 records checked\n");

        let said = refusal(&on(folder, url, &["import", "a.jsonl"]));
        assert_eq!(
            said,
            "error: 14 of 17 records are wrong, see a.jsonl.rejected.jsonl; nothing was written; --on-error skip \
             leaves them out"
        );
        assert_eq!(messages(folder, "a.jsonl"), [
            "2: `hero.teams[1]` is Team:8, which no record before this one has",
            "3: `hero.teams`: \"x\" is not an id; write \"Team:1\" or \"1\"",
            "4: `hero.name` must not be blank; `hero.age` must be from 0 to 1000000, not -1",
            "5: `hero.name` must be of the type String, not 5; `hero.secretName` must not be null: its type is String!; \
             `hero.age` must be of the type Int, not \"5\"; `hero` must not have the field \"nam\": CreateHeroInput has \
             none",
            "7: `team.id` is Team:7, which a record before this one has",
            "8: `type` is one of \"team\", \"hero\", \"membership\"",
            "9: the line is no JSON object",
            "10: the line is no JSON: EOF while parsing an object at line 1 column 4",
            "11: `x` is no field of a membership",
            "12: `membership.team`: null is not an id; write \"Team:1\" or \"1\"",
            "13: `hero.name` must not contain the character U+0000",
            "16: `hero.name` must have at most 200 characters, not 201",
            "17: the line has more than 1048576 bytes",
            "18: the line has more than 1048576 bytes",
        ]);
        assert_eq!(rejects(folder, "a.jsonl")[0], json!({
            "line": 2,
            "errors": [{
                "code": "BAD_USER_INPUT",
                "argumentPath": ["hero", "teams", 1],
                "message": "`hero.teams[1]` is Team:8, which no record before this one has",
            }],
            "record": {"type": "hero", "name": "N", "secretName": "S", "teams": ["Team:7", "Team:8"]},
        }));
        assert_eq!(exported(folder, url), "");

        let dry = on(folder, url, &["import", "a.jsonl", "--on-error", "skip", "--dry-run"]);
        let skipped = on(folder, url, &["import", "a.jsonl", "--on-error", "skip"]);
        let said = |output: &Output| (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned());
        assert_eq!(said(&dry), (Some(2), "17 records checked, 14 records left out\n".to_owned()));
        let expected = "3 records imported, 2 objects created, 14 records left out\n".to_owned();
        assert_eq!(said(&skipped), (Some(2), expected));
        assert_eq!(
            exported(folder, url),
            "{\"type\":\"team\",\"id\":\"Team:1\",\"name\":\"T\",\"headquarters\":\"H\"}\n\
             {\"type\":\"hero\",\"id\":\"Hero:1\",\"name\":\"Right\",\"secretName\":\"S\",\"age\":null,\
             \"teams\":[\"Team:1\"]}\n"
        );
        // What was rejected before is of no import any more.
        fs::write(folder.join("a.jsonl"), lines[0]).expect("it is written");
        stdout(&on(folder, url, &["import", "a.jsonl"]));
        assert!(!folder.join("a.jsonl.rejected.jsonl").exists());
    }

    async fn an_import_that_was_killed_goes_on(app: TestApp) {
        const HEROES: usize = 4_000;
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, url) = (folder.path(), app.database.url.as_str());
        let teams = (1..=10).map(|n| json!({"type": "team", "id": format!("Team:{n}"), "name": "T", "headquarters": "H"}));
        let heroes = (1..=HEROES).map(|n| {
            let teams = [format!("Team:{}", n % 10 + 1)];
            json!({"type": "hero", "id": format!("Hero:{n}"), "name": format!("N{n}"), "secretName": "S", "teams": teams})
        });
        let lines: Vec<_> = teams.chain(heroes).map(|line| line.to_string()).collect();
        fs::write(folder.join("a.jsonl"), lines.join("\n")).expect("it is written");
        let mut killed = command_on(folder, url, &["import", "a.jsonl", "--batch", "7"]).spawn().expect("it runs");
        until(async || app.count("SELECT COUNT(*) FROM hero").await > 0).await;
        killed.kill().expect("it is killed");
        assert!(!killed.wait().expect("it is waited for").success(), "it was too fast to be killed");
        let mut after = 0;
        // A transaction that was on its way may come to its end still.
        until(async || {
            after = app.count("SELECT MAX(records) FROM import_batch").await;
            let refused = refusal(&on(folder, url, &["import", "a.jsonl"]));
            let expected = format!(
                "error: {after} of the {} records of these files were imported before; --resume goes on there, and \
                 --restart imports all of them again",
                HEROES + 10
            );
            refused == expected
        })
        .await;
        let said = stdout(&on(folder, url, &["import", "a.jsonl", "--resume"]));
        let rest = i64::try_from(HEROES).expect("a number") + 10 - after;
        assert_eq!(said, format!("{} records imported, {rest} objects created\n", HEROES + 10));
        assert_eq!(app.counts().await, [4_000, 10, 4_000]);
        let wrong = "SELECT COUNT(*) FROM hero_team_link JOIN hero ON hero.id = hero_id
            WHERE team_id <> CAST(SUBSTR(hero.name, 2) AS INTEGER) % 10 + 1";
        let wrong = app.count(wrong).await;
        assert_eq!((wrong, app.count("SELECT COUNT(*) FROM import_batch").await), (0, 1));
        // Once it has come to its end, nothing is left to go on with.
        let all = ["import", "a.jsonl", "--resume"];
        assert_eq!(stdout(&on(folder, url, &all)), format!("{} records imported, 0 objects created\n", HEROES + 10));
        assert_eq!(app.counts().await, [4_000, 10, 4_000]);
        // One that has written all and was killed before it noted its end notes it.
        let earlier = "INSERT INTO import_batch (file, records, keys) SELECT file, records - 5, keys FROM import_batch";
        app.execute(earlier).await;
        assert_eq!(stdout(&on(folder, url, &all)), format!("{} records imported, 0 objects created\n", HEROES + 10));
        assert_eq!(app.count("SELECT COUNT(*) FROM import_batch").await, 1);
        let again = refusal(&on(folder, url, &["import", "a.jsonl"]));
        assert_eq!(again, "error: these files were imported before; --restart imports all of them again");
        let again = ["import", "a.jsonl", "--mode", "connect-or-create", "--batch", "10000"];
        assert_eq!(stdout(&on(folder, url, &again)), format!("{} records imported, 0 objects created\n", HEROES + 10));
    }

    async fn files_that_change_while_they_are_imported(app: TestApp) {
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, url) = (folder.path(), app.database.url.as_str());
        let hero = "{\"type\":\"hero\",\"name\":\"N\",\"secretName\":\"S\"}\n";
        fs::write(folder.join("a.jsonl"), hero.repeat(20) + "[1]\n").expect("it is written");
        // It checks all records, and then waits for the lock to write them.
        let lock = app.db.begin().await.expect("it begins");
        if app.db.read.get_database_backend() == DbBackend::Postgres {
            lock.execute_unprepared("LOCK TABLE hero").await.expect("it is locked");
        }
        let import = ["import", "a.jsonl", "--batch", "7", "--on-error", "skip"];
        let import = command_on(folder, url, &import).stderr(Stdio::piped()).spawn().expect("it runs");
        let rejects = folder.join("a.jsonl.rejected.jsonl");
        until(async || fs::read(&rejects).is_ok_and(|rejects| rejects.ends_with(b"\n"))).await;
        let mut file = fs::File::options().append(true).open(folder.join("a.jsonl")).expect("it is opened");
        file.write_all(hero.as_bytes()).expect("it is written");
        drop(lock);
        let refused = refusal(&import.wait_with_output().expect("it ends"));
        let changed = "the files have changed while they were imported; 21 of their records were written before";
        assert_eq!(refused, format!("error: {changed}"));
        assert_eq!(app.count("SELECT COUNT(*) FROM hero").await, 20);
    }

    async fn two_imports_of_the_same_file(app: TestApp) {
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, url) = (folder.path(), app.database.url.as_str());
        let hero = "{\"type\":\"hero\",\"name\":\"N\",\"secretName\":\"S\"}\n";
        fs::write(folder.join("a.jsonl"), hero.repeat(4_000)).expect("it is written");
        let import = |batch: &str| {
            let mut command = command_on(folder, url, &["import", "a.jsonl", "--resume", "--batch", batch]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
        };
        let first = import("3");
        until(async || app.count("SELECT COUNT(*) FROM hero").await > 0).await;
        let others = [import("5"), import("7")];
        let outputs = [first].into_iter().chain(others).map(|import| import.wait_with_output().expect("it ends"));
        let (done, stopped): (Vec<_>, Vec<_>) = outputs.partition(|output| output.status.success());
        // One that begins when another has come to its end has nothing to do.
        assert!(!done.is_empty(), "{stopped:?}");
        for output in stopped {
            let refused = refusal(&output);
            let expected = "error: another import of the same files has written meanwhile";
            assert!(refused.starts_with(expected), "{refused}");
        }
        assert_eq!(app.count("SELECT COUNT(*) FROM hero").await, 4_000);
        assert_eq!(app.count("SELECT COUNT(*) FROM import_batch").await, 1);
    }

    async fn a_hero_with_very_many_teams(app: TestApp) {
        const TEAMS: i64 = 12_000;
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, url) = (folder.path(), app.database.url.as_str());
        app.execute(&format!(
            "INSERT INTO team (name, headquarters) WITH RECURSIVE n (n) AS
             (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {TEAMS}) SELECT 'T', 'H' FROM n"
        ))
        .await;
        app.execute("INSERT INTO hero (name, secret_name) VALUES ('A', 'S'), ('B', 'S'), ('C', 'S')").await;
        app.execute("INSERT INTO hero_team_link (hero_id, team_id) SELECT 2, id FROM team").await;
        app.execute("INSERT INTO hero_team_link (hero_id, team_id) VALUES (1, 7), (3, 8)").await;
        let all = exported(folder, url);
        let lines: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
        let count = |ty: &str| lines.iter().filter(|line| line["type"] == ty).count();
        assert_eq!([count("team"), count("hero"), count("membership")], [12_000, 3, 2_000]);
        let heroes = lines.iter().filter(|line| line["type"] == "hero");
        let teams = heroes.map(|hero| hero["teams"].as_array().map(Vec::len));
        assert_eq!(teams.collect::<Vec<_>>(), [Some(1), Some(10_000), Some(1)]);
        fs::write(folder.join("all.jsonl"), &all).expect("it is written");
        let other = new_sqlite(folder, "other.db");
        let said = stdout(&on(folder, &other, &["import", "all.jsonl", "--batch", "10000"]));
        assert_eq!(said, "14003 records imported, 12003 objects created\n");
        assert_eq!(exported(folder, &other), all);
    }

    async fn an_export_is_of_one_moment(app: TestApp) {
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, url) = (folder.path(), app.database.url.as_str());
        let create = r#"mutation { createHero(input: {name: "N", secretName: "S", teams: {create: [
            {name: "A", headquarters: "H"}, {name: "B", headquarters: "H"}]}}) { hero { id } } }"#;
        let heroes: Vec<_> = (0..500).map(|_| json!({"name": "N", "secretName": "S", "teams": {"create": [
            {"name": "A", "headquarters": "H"}, {"name": "B", "headquarters": "H"}]}})).collect();
        let many = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
        app.data(many, json!({"input": heroes})).await;
        let export = command_on(folder, url, &["export", "-o", "a.jsonl", "--with-secrets"]).spawn();
        let mut export = export.expect("it runs");
        while export.try_wait().expect("it is asked").is_none() {
            app.data(create, json!({})).await;
        }
        let text = fs::read_to_string(folder.join("a.jsonl")).expect("it is written");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
        let teams = lines.iter().filter(|line| line["type"] == "team").count();
        let heroes: Vec<_> = lines.iter().filter(|line| line["type"] == "hero").collect();
        assert!(heroes.iter().all(|hero| hero["teams"].as_array().is_some_and(|teams| teams.len() == 2)));
        assert_eq!(teams, 2 * heroes.len());
        // It can be imported: each team comes before a hero names it.
        let other = new_sqlite(folder, "other.db");
        let said = stdout(&on(folder, &other, &["import", "a.jsonl", "--dry-run"]));
        assert_eq!(said, format!("{} records checked\n", lines.len()));
    }
}

#[test]
fn a_spreadsheet() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let url = new_sqlite(folder, "new.db");
    let write = |name: &str, content: &[u8]| fs::write(folder.join(name), content).expect("it is written");
    write("heroes.csv", b"\xef\xbb\xbfname;secret_name;age\r\nA;B;3\r\n");
    assert_eq!(
        refusal(&on(folder, &url, &["import", "heroes.csv"])),
        "error: heroes.csv: its columns are separated by semicolons or tabs: save it with commas, as CSV in UTF-8"
    );
    let rows: &[&[u8]] = &[
        b"\xef\xbb\xbfname,secretName,age",
        b"\"A \"\"x\"\"\",\"B\r\nC\", 3 ",
        b"",
        b"X,,",
        b"Y,Z,abc",
        b"Y,Z,4.5",
        b"Y,Z,4,7",
        b"M\xff,n,1",
        b"last,one,",
    ];
    for (end, file) in [(&b"\r\n"[..], "crlf.csv"), (&b"\n"[..], "lf.csv")] {
        write(file, &rows.join(end));
        let import = ["import", file, "--what", "heroes"];
        let said = refusal(&on(folder, &url, &import));
        assert!(said.starts_with("error: 5 of 7 records are wrong, "), "{said}");
        assert_eq!(
            messages(folder, file),
            [
                "5: `hero.secretName` must not be blank",
                "6: `hero.age` must be of the type Int, not \"abc\"",
                "7: `hero.age` must be of the type Int, not \"4.5\"",
                "8: the record has 4 columns, and the header has 3",
                "9: the record is not UTF-8: save the file as CSV in UTF-8",
            ]
        );
        let record = json!({"name": "X", "secretName": "", "age": ""});
        assert_eq!(rejects(folder, file)[0]["record"], record);
    }
    let skipped = on(folder, &url, &["import", "crlf.csv", "--what", "heroes", "--on-error", "skip"]);
    assert_eq!(skipped.status.code(), Some(2), "{skipped:?}");
    assert_eq!(
        exported(folder, &url),
        "{\"type\":\"hero\",\"id\":\"Hero:1\",\"name\":\"A \\\"x\\\"\",\"secretName\":\"B\\r\\nC\",\"age\":3,\"teams\":[]}\n\
         {\"type\":\"hero\",\"id\":\"Hero:2\",\"name\":\"last\",\"secretName\":\"one\",\"age\":null,\"teams\":[]}\n"
    );
    for (name, content, said) in [
        ("heroes.csv", "", "heroes.csv: it has no header"),
        ("heroes.csv", "name,age\n", "heroes.csv: it has no column \"secret_name\""),
        ("heroes.csv", "name,nam\n", "heroes.csv: it has the column \"nam\", and heroes has id, name, secret_name, "),
        ("heroes.csv", "name,secret_name,name\n", "heroes.csv: it has the column \"name\" twice"),
        ("memberships.csv", "hero_id\n", "memberships.csv: it has no column \"team_id\""),
    ] {
        write(name, content.as_bytes());
        let refused = refusal(&on(folder, &url, &["import", name]));
        assert!(refused.starts_with(&format!("error: {said}")), "{refused}");
    }
    // What comes before a record may be in a file of the other form.
    write("t.csv", b"id,name,headquarters\n1,T,H\n");
    write("h.jsonl", b"{\"type\":\"hero\",\"name\":\"J\",\"secretName\":\"S\",\"teams\":[1]}\n");
    let mixed = on(folder, &url, &["import", "t.csv", "h.jsonl", "--what", "teams"]);
    assert_eq!(stdout(&mixed), "2 records imported, 2 objects created\n");
    write("x.csv", b"name\n");
    let other = wrong_setting(&on(folder, &url, &["import", "x.txt"]));
    assert_eq!(other, "error: x.txt: a name with .jsonl or .csv at its end is expected");
    let unnamed = wrong_setting(&on(folder, &url, &["import", "x.csv"]));
    assert_eq!(unnamed, "error: --what: one of teams, heroes, memberships is expected, for x.csv");
    let unknown = wrong_setting(&on(folder, &url, &["import", "heroes.csv", "--what", "x"]));
    assert_eq!(unknown, "error: --what: one of teams, heroes, memberships is expected");
    let missing = refusal(&on(folder, &url, &["import", "missing.csv", "--what", "teams"]));
    assert_eq!(missing, "error: cannot read missing.csv: No such file or directory (os error 2)");
}

#[test]
fn what_is_exported() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let url = new_sqlite(folder, "new.db");
    let missing = refusal(&on(folder, &url, &["export", "-o", "-"]));
    assert!(missing.contains("cannot be opened") && !folder.join("new.db").exists(), "{missing}");
    stdout(&run(folder, &["seed", "--database-url", &url]));
    let export = |arguments: &[&str]| on(folder, &url, &[&["export", "-o", "-"], arguments].concat());
    let rusty = "{\"type\":\"hero\",\"id\":\"Hero:2\",\"name\":\"Rusty-Man\",\"age\":48,\"teams\":[\"Team:2\"]}\n";
    let filter =
        r#"{"age": {"gte": 40}, "secretName": {"startsWith": "T"}, "teams": {"some": {"name": {"eq": "Preventers"}}}}"#;
    assert_eq!(stdout(&export(&["--what", "heroes", "--where", filter])), rusty);
    let links = "hero_id,team_id\n1,1\n1,2\n2,2\n3,2\n";
    assert_eq!(stdout(&export(&["--what", "memberships", "--format", "csv"])), links);
    let link = "{\"type\":\"membership\",\"hero\":\"Hero:1\",\"team\":\"Team:1\"}\n";
    assert!(stdout(&export(&["--what", "memberships"])).starts_with(link));
    for (arguments, said) in [
        (&["--format", "csv"][..], "--what: the name of a table is expected; several tables as CSV need a folder"),
        (&["--what", "x"], "--what: one of all, teams, heroes, memberships is expected"),
        (&["--where", "{}"], "--what: one of teams, heroes, memberships is expected, to which --where applies"),
        (&["--what", "memberships", "--where", "{}"], "--where: it applies to objects, and memberships are links"),
        (
            &["--what", "heroes", "--where", r#"{"age": {"gte": "x"}, "nam": {}}"#],
            "--where: `where.age.gte` must be of the type Int, not \"x\"; `where` must not have the field \"nam\": \
             HeroFilter has none",
        ),
        (&["--what", "heroes", "--where", r#"{"age": null}"#], "--where: `where.age` must not be null: leave it out, "),
    ] {
        let refused = wrong_setting(&export(arguments));
        assert!(refused.starts_with(&format!("error: {said}")), "{refused}");
    }
    let no_json = export(&["--where", "{"]);
    assert_eq!(no_json.status.code(), Some(2), "{no_json:?}");
    let nowhere = refusal(&on(folder, &url, &["export", "-o", "missing/x.jsonl"]));
    assert_eq!(nowhere, "error: cannot write missing/x.jsonl: No such file or directory (os error 2)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_told_to_those_who_listen() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let mut stream = Stream::open(&app.router, IDS, json!({})).await;
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("all.jsonl"), ALL).expect("it is written");
    stdout(&on(folder.path(), &app.database.url, &["import", "all.jsonl"]));
    let events = "SELECT COUNT(*) FROM event WHERE change = ";
    assert_eq!(app.count(&format!("{events}'CREATED'")).await, 5);
    assert_eq!(app.count(&format!("{events}'LINKED'")).await, 3);
    let created = stream.values(3).await;
    assert_eq!(created, [1, 2, 3].map(|hero| json!({"change": "CREATED", "id": format!("Hero:{hero}")})));
    drop(stream);
    app.close().await;
}

#[test]
fn what_cannot_be_imported() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let url = new_sqlite(folder, "new.db");
    let refused = |files: &[&str]| refusal(&on(folder, &url, &[&["import"], files].concat()));
    fs::create_dir(folder.join("folder")).expect("it is made");
    let of_folder = on(folder, &url, &["import", "folder"]);
    assert_eq!(wrong_setting(&of_folder), "error: folder is a folder: name its files, such as folder/*.csv");
    let write = |name: &str, content: &str| fs::write(folder.join(name), content).expect("it is written");
    write("a.jsonl", ALL);
    write("a.jsonl.rejected.jsonl", ALL);
    fs::hard_link(folder.join("a.jsonl"), folder.join("same.jsonl")).expect("it is made");
    assert_eq!(refused(&["a.jsonl", "./same.jsonl"]), "error: ./same.jsonl is named twice");
    assert_eq!(
        refused(&["a.jsonl.rejected.jsonl", "a.jsonl", "--dry-run"]),
        "error: a.jsonl.rejected.jsonl cannot be imported together with a.jsonl, whose rejected records are written to \
         it"
    );
    assert_eq!(fs::read_to_string(folder.join("a.jsonl.rejected.jsonl")).expect("it exists"), ALL);
    assert!(Command::new("mkfifo").arg(folder.join("pipe.jsonl")).status().expect("it runs").success());
    assert_eq!(refused(&["pipe.jsonl"]), "error: pipe.jsonl is no regular file");

    // What is wrong is not written to where a link leads.
    fs::remove_file(folder.join("a.jsonl.rejected.jsonl")).expect("it exists");
    write("other.txt", "other");
    symlink("other.txt", folder.join("a.jsonl.rejected.jsonl")).expect("it is made");
    write("a.jsonl", "[1]");
    assert!(refused(&["a.jsonl"]).starts_with("error: 1 of 1 records are wrong"));
    assert_eq!(fs::read_to_string(folder.join("other.txt")).expect("it exists"), "other");
    assert_eq!(messages(folder, "a.jsonl"), ["1: the line is no JSON object"]);

    // What is wrong is for nobody who may not read the file, and has its name, whatever bytes that has.
    let names = [&b"\xff.jsonl"[..], b"\xfe.jsonl"].map(OsStr::from_bytes);
    for name in names {
        fs::write(folder.join(name), r#"{"type":"hero","name":"","secretName":"S"}"#).expect("it is written");
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).expect("it is set");
    }
    let output = command_on(folder, &url, &["import"]).args(names).output().expect("it runs");
    assert!(refusal(&output).starts_with("error: 2 of 2 records are wrong"));
    for name in names {
        let rejects = folder.join([name, OsStr::new(".rejected.jsonl")].join(OsStr::new("")));
        assert_eq!(fs::metadata(&rejects).expect("it exists").permissions().mode() & 0o777, 0o600);
    }

    // Of very many faults of one record some are said.
    let ids = (1..=50_000).map(|n| format!("{n}")).collect::<Vec<_>>().join(",");
    write("a.jsonl", &format!(r#"{{"type":"hero","name":"N","secretName":"S","teams":[{ids}]}}"#));
    assert!(refused(&["a.jsonl"]).starts_with("error: 1 of 1 records are wrong"));
    assert_eq!(rejects(folder, "a.jsonl")[0]["errors"].as_array().map(Vec::len), Some(100));

    // A quote that is not closed, and what is no CSV at all.
    write("teams.csv", "\u{feff}\"name\",headquarters\n\"a\"\"b\",c\nd,\"e\nf,g\n");
    assert_eq!(refused(&["teams.csv"]), "error: cannot read teams.csv: a quote is not closed where it ends");
    let message = "it is longer than 1048576 bytes; perhaps a quote is not closed";
    write("heroes.csv", &format!("name,secret_name\nA,B\n\"C,D\n{}", "E,F\n".repeat(1 << 20)));
    let expected = format!("error: cannot read heroes.csv: the record after line 3: {message}");
    assert_eq!(refused(&["heroes.csv"]), expected);
    write("heroes.csv", &"x".repeat(2 << 20));
    assert_eq!(refused(&["heroes.csv"]), format!("error: heroes.csv: {message}"));
    assert!(!folder.join("new.db").exists());
}

#[test]
fn an_export_takes_the_place_of_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let url = new_sqlite(folder, "heroes.db.part");
    stdout(&run(folder, &["seed", "--database-url", &url]));
    fs::create_dir(folder.join("csv.part")).expect("it is made");
    symlink("missing.jsonl", folder.join("link.jsonl")).expect("it is made");
    let csv = ["export", "-o", "csv/", "--format", "csv"];
    assert_eq!(stdout(&on(folder, &url, &csv)), "9 records written to csv/\n");
    assert_eq!(refusal(&on(folder, &url, &csv)), "error: csv exists already");
    stdout(&on(folder, &url, &["export", "-o", "heroes.db"]));
    assert_eq!(refusal(&on(folder, &url, &["export", "-o", "link.jsonl"])), "error: link.jsonl exists already");
    let mut names: Vec<_> = fs::read_dir(folder).expect("it exists").flatten().map(|file| file.file_name()).collect();
    names.retain(|name| !name.to_string_lossy().contains('-'));
    names.sort();
    assert_eq!(names, ["csv", "csv.part", "heroes.db", "heroes.db.part", "link.jsonl"]);

    let export =
        || command_on(folder, &url, &["export", "-o", "x.jsonl"]).stderr(Stdio::null()).spawn().expect("it runs");
    let mut exports: Vec<_> = (0..4).map(|_| export()).collect();
    let done = exports.iter_mut().filter_map(|export| export.wait().expect("it ends").success().then_some(()));
    assert_eq!(done.count(), 1);
    let lines = fs::read_to_string(folder.join("x.jsonl")).expect("it is written").lines().count();
    assert_eq!(lines, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_is_stopped_leaves_nothing() {
    let Some(postgres) = TestDatabase::empty_postgres().await else { return };
    let app = TestApp::new(TestDatabase::at(&postgres.url)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let lock = app.db.begin().await.expect("it begins");
    lock.execute_unprepared("LOCK TABLE hero").await.expect("it is locked");
    for signal in ["-TERM", "-INT", "-HUP"] {
        let export = command_on(folder, &postgres.url, &["export", "-o", "x.jsonl"]);
        let export = hearing_hangups(&export).stderr(Stdio::piped()).spawn().expect("it runs");
        until(async || fs::read_dir(folder).expect("it exists").count() > 0).await;
        let kill = Command::new("kill").args([signal, &export.id().to_string()]).status();
        assert!(kill.expect("it runs").success());
        let refused = refusal(&export.wait_with_output().expect("it ends"));
        assert_eq!(refused, "error: the command was stopped before its end");
        assert_eq!(fs::read_dir(folder).expect("it exists").count(), 0);
    }
    drop(lock);
    app.close().await;
    postgres.remove().await;
}

#[test]
fn rows_of_another_program_are_exported_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let url = new_sqlite(folder, "heroes.db");
    stdout(&run(folder, &["migrate", "--database-url", &url]));
    let rows = "INSERT INTO hero (id, name, secret_name, age) VALUES (-5, 'A', 'S', 1), (0, 'B', 'S', 1);
                INSERT INTO team (id, name, headquarters) VALUES (0, 'T', 'H');
                INSERT INTO hero_team_link (hero_id, team_id) VALUES (-5, 0)";
    Connection::open(folder.join("heroes.db")).expect("it is opened").execute_batch(rows).expect("they are right");
    assert_eq!(exported(folder, &url).lines().count(), 3);
    let links = stdout(&on(folder, &url, &["export", "-o", "-", "--format", "csv", "--what", "memberships"]));
    assert_eq!(links, "hero_id,team_id\n-5,0\n");
}

#[test]
fn an_export_to_who_reads_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let url = new_sqlite(folder, "heroes.db");
    stdout(&run(folder, &["seed", "--database-url", &url]));
    let export = || command_on(folder, &url, &["export", "-o", "-"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let csv = ["--format", "csv", "--what", "heroes"];
    for form in [&[][..], &csv] {
        let writer = writer.try_clone().expect("it is cloned");
        let output = export().args(form).stdout(writer).output().expect("it runs");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    }
    let full = fs::File::options().write(true).open("/dev/full").expect("it is opened");
    let refused = refusal(&export().stdout(full).output().expect("it runs"));
    assert_eq!(refused, "error: cannot write to the standard output: No space left on device (os error 28)");
}
