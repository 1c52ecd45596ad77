//! The program of examples/missions, as docs/extending.md runs it: an API of one's own has all commands.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::command_line::{refusal, stdout, wrong_setting};

/// Builds the program, unless it is built, and gives its path.
fn program() -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--locked", "--example", "missions"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(command.status().expect("cargo runs").success());
    let test = std::env::current_exe().expect("it has a path");
    let built = test.parent().and_then(Path::parent).expect("it is in a folder of what was built");
    built.join("examples/missions")
}

#[test]
fn an_api_of_ones_own_has_all_commands() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = program();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(folder.path()).env_remove("DATABASE_URL").output().expect("it runs")
    };
    let help = stdout(&run(&["--help"]));
    assert!(help.starts_with("A GraphQL server for heroes, teams and missions\n\nUsage: missions [OPTIONS] [COMMAND]"));
    assert!(help.contains("\n  import ") && !help.contains("\n  seed "), "{help}");
    let schema = stdout(&run(&["schema"]));
    assert!(schema.contains("type Mission implements Node"), "{schema}");
    assert!(schema.contains("\"What happened to an assignment.\""), "{schema}");

    // The indexes of its own entities.
    let made = stdout(&run(&["migrate", "--lower-index", "Mission.title,Hero.name"]));
    assert_eq!(made, "lower index of Mission.title: made\nlower index of Hero.name: made\n");
    assert!(folder.path().join("missions.db").exists());
    let unknown = wrong_setting(&run(&["migrate", "--lower-index", "Mission.year"]));
    let names = "Hero.name, Hero.secretName, Team.name, Team.headquarters, Mission.title";
    assert_eq!(unknown, format!("error: --lower-index: one of {names} is expected"));
    let refused = refusal(&run(&["seed"]));
    assert_eq!(refused, "error: the tutorial's data are heroes and teams, which are not those of this API");

    // Its records go out of one database and into another, which is named by a file.
    let record = "{\"type\":\"mission\",\"id\":\"Mission:1\",\"title\":\"T\",\"year\":null}\n";
    fs::write(folder.path().join("in.jsonl"), record).expect("it is written");
    fs::write(folder.path().join("url"), "sqlite://other.db\n").expect("it is written");
    let imported = run(&["import", "in.jsonl", "--database-url-file", "url"]);
    assert_eq!(stdout(&imported), "1 records imported, 1 objects created\n");
    assert_eq!(stdout(&run(&["export", "-o", "-", "--database-url", "sqlite://other.db"])), record);
    assert_eq!(stdout(&run(&["export", "-o", "-"])), "");
}
