//! Settings, from outside: by flag and by variable.

use std::{path::Path, process::Output};

use clap::{Arg, ArgAction, CommandFactory};
use hero_teams::config::Config;

use crate::command_line::{command, stdout};

/// The settings that have a variable: all of them.
fn settings() -> Vec<Arg> {
    let command = Config::command();
    let settings = command.get_arguments().filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"));
    settings.cloned().collect()
}

/// Whether it names a file with the value of another setting, which excludes it.
fn is_file_of_another(setting: &Arg) -> bool {
    variable(setting).ends_with("_FILE") && variable(setting) != "HERO_TEAMS_JWT_SECRET_FILE"
}

fn variable(setting: &Arg) -> &str {
    setting.get_env().and_then(|variable| variable.to_str()).expect("each setting has a variable")
}

fn is_flag(setting: &Arg) -> bool {
    matches!(setting.get_action(), ArgAction::SetTrue)
}

/// Runs a command that needs no database with these variables.
fn with<'a>(variables: impl IntoIterator<Item = (&'a str, String)>) -> Output {
    let mut command = command(Path::new("/"), &["schema"]);
    command.envs(variables).output().expect("the binary runs")
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).expect("it is text");
    let said = said.strip_suffix(" (see --help)\n").unwrap_or_else(|| panic!("{said}"));
    assert!(!said.contains('\n'), "{said}");
    said.to_owned()
}

#[test]
fn a_variable_that_is_empty_is_not_set() {
    let settings = settings();
    assert!(settings.len() > 30);
    for text in ["", " ", "\t\r\n"] {
        stdout(&with(settings.iter().map(|setting| (variable(setting), text.to_owned()))));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(folder.path(), &["seed"]);
    stdout(&command.env("DATABASE_URL", "\n").output().expect("the binary runs"));
    assert!(folder.path().join("hero-teams.db").exists());
}

#[test]
fn white_space_around_a_value_is_not_part_of_it() {
    let settings = settings();
    for (word, space) in [("yes", " "), ("NO", "\n"), ("1", "\t"), ("0", "\r\n"), ("True", "  "), ("fAlSe", "\u{a0}")] {
        let value = |setting: &Arg| match variable(setting) {
            "HERO_TEAMS_ALLOWED_HOSTS" => format!("a.example{space},{space}b.example"),
            "HERO_TEAMS_CORS_ORIGINS" => format!("https://a.example{space},{space}https://b.example"),
            "HERO_TEAMS_TRUSTED_PROXIES" => format!("10.0.0.0/8{space},{space}::1"),
            "HERO_TEAMS_ANONYMOUS" => format!("read{space},{space}write"),
            "HERO_TEAMS_JWT_ALGORITHMS" => format!("RS256{space},{space}ES256"),
            "HERO_TEAMS_JWT_SCOPE_MAP" => format!("editors=read+write{space},{space}a=b=admin"),
            "HERO_TEAMS_JWKS" => format!("https://login.example/keys{space},{space}keys.json"),
            "HERO_TEAMS_JWT_ISSUER" => "https://login.example/realms/heroes".to_owned(),
            "HERO_TEAMS_EVENTS_URL" => "postgres://heroes@db.example/heroes".to_owned(),
            "HERO_TEAMS_METRICS_LISTEN" => "127.0.0.1:9464".to_owned(),
            "HERO_TEAMS_DOCUMENTS" => format!("a.json{space},{space}b.json"),
            "HERO_TEAMS_READ_URLS" => format!("postgres://a.example/heroes{space},{space}postgres://b.example/heroes"),
            _ if is_flag(setting) => word.to_owned(),
            _ => match setting.get_default_values().first() {
                Some(value) => value.to_str().expect("it is text").to_owned(),
                None => "text".to_owned(),
            },
        };
        let padded = |setting| format!("{space}{}{space}", value(setting));
        let settings = settings.iter().filter(|setting| !is_file_of_another(setting));
        stdout(&with(settings.map(|setting| (variable(setting), padded(setting)))));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(folder.path(), &["seed"]);
    stdout(&command.env("DATABASE_URL", " sqlite://a b.db\n").output().expect("the binary runs"));
    let files: Vec<_> = folder.path().read_dir().expect("it is there").flatten().map(|file| file.file_name()).collect();
    assert_eq!(files, ["a b.db"]);
}

#[test]
fn a_wrong_value_is_answered_with_those_that_are_possible() {
    for setting in settings() {
        let variable = variable(&setting);
        let flag = format!("--{}", setting.get_long().expect("each setting has a flag"));
        let (wrong, expected) = match variable {
            _ if is_flag(&setting) => ("maybe", "1, 0, true, false, yes or no is expected"),
            "DATABASE_URL" => ("x.db", "sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE is expected"),
            "HERO_TEAMS_EVENTS_URL" => ("sqlite://x.db", "postgres://USER:PASSWORD@HOST:PORT/DATABASE is expected"),
            "HERO_TEAMS_EVENTS" => ("maybe", "one of on, off is expected"),
            "HERO_TEAMS_POOLER" => ("session", "one of none, transaction is expected"),
            "HERO_TEAMS_READ_URLS" => ("postgres://a,b/c", ""),
            "HERO_TEAMS_LISTEN" | "HERO_TEAMS_METRICS_LISTEN" => ("8000", "ADDRESS:PORT or unix:PATH is expected"),
            "HERO_TEAMS_ALLOWED_HOSTS" => ("a.example,,b.example", ""),
            "HERO_TEAMS_CORS_ORIGINS" => {
                ("https://a.example, *", "a wildcard is not supported: list each origin, such as https://example.org")
            }
            "HERO_TEAMS_TRUSTED_PROXIES" => ("10.0.0.0/33", "a network is expected, such as 10.0.0.0/8 or 192.0.2.1"),
            "HERO_TEAMS_INTROSPECTION" => ("some", "one of all, authenticated, admin, none is expected"),
            "HERO_TEAMS_ANONYMOUS" => {
                ("read,root", "one of read, read:secrets, write, documents:bypass, admin is expected")
            }
            "HERO_TEAMS_JWT_ISSUER" => ("login.example", "the URL of an issuer is expected, such as "),
            "HERO_TEAMS_JWT_ALGORITHMS" => ("none", "one of RS256, RS384, "),
            "HERO_TEAMS_JWT_SCOPES" => ("scope", "a JSON pointer is expected, such as /scope"),
            "HERO_TEAMS_JWT_SCOPE_MAP" => ("editors=root", "NAME=SCOPE+SCOPE is expected, such as editors=read+write"),
            "HERO_TEAMS_JWKS" => ("ftp://login.example", "https://HOST/PATH or the path of a file is expected"),
            "HERO_TEAMS_JWT_AUDIENCE" => ("a,,b", "text is expected"),
            // Any text names a file.
            "HERO_TEAMS_JWT_SECRET_FILE"
            | "HERO_TEAMS_DOCUMENTS"
            | "DATABASE_URL_FILE"
            | "HERO_TEAMS_READ_URLS_FILE"
            | "HERO_TEAMS_EVENTS_URL_FILE" => continue,
            "HERO_TEAMS_DOCUMENTS_MODE" => ("maybe", "one of off, log, enforce is expected"),
            "HERO_TEAMS_LOG_LEVEL" => ("loud", "one of error, warn, info, debug, trace is expected"),
            "HERO_TEAMS_LOG_FORMAT" => ("xml", "one of text, json is expected"),
            "HERO_TEAMS_READ_CONNECTIONS" | "HERO_TEAMS_WRITE_CONNECTIONS" => {
                ("1001", "a number from 1 to 1000 is expected")
            }
            _ => match setting.get_value_names().and_then(|names| names.first()).map(AsRef::as_ref) {
                Some("SECONDS") => ("86401", "a number of seconds from 0"),
                Some("NUMBER" | "BYTES" | "ROWS") => ("1.5", "a number from "),
                _ => panic!("{variable} has a kind of its own, and belongs here"),
            },
        };
        let said = refusal(&with([(variable, wrong.to_owned())]));
        assert!(said.starts_with(&format!("error: {variable}: {expected}")), "{said}");
        if !is_flag(&setting) {
            let output = command(Path::new("/"), &["schema", &flag, wrong]).output().expect("the binary runs");
            assert!(refusal(&output).starts_with(&format!("error: {flag}: {expected}")), "{output:?}");
        }
    }
}

#[test]
fn flags_by_variable() {
    let folder = tempfile::tempdir().expect("a folder");
    for (value, is_set) in [("1", true), ("TRUE", true), ("Yes", true), ("", false), ("0", false), ("no", false)] {
        // An address of documentation, that no machine has.
        let mut command = command(folder.path(), &["--listen", "192.0.2.1:0"]);
        let output = command.env("HERO_TEAMS_INSECURE", value).output().expect("the binary runs");
        let said = String::from_utf8(output.stderr).expect("it is text");
        assert_eq!(said.contains("there is no authentication"), !is_set, "{value}: {said}");
    }
}

#[test]
fn what_is_no_setting() {
    let refused = |arguments: &[&str]| refusal(&command(Path::new("/"), arguments).output().expect("the binary runs"));
    assert_eq!(
        refused(&["--lisen", "x"]),
        "error: unexpected argument '--lisen' found; tip: a similar argument exists: '--listen'"
    );
    assert_eq!(refused(&["serve", "now"]), "error: unexpected argument 'now' found");
    assert_eq!(
        refused(&["--listen"]),
        "error: a value is required for '--listen <ADDRESS:PORT>' but none was supplied"
    );
    assert_eq!(
        refused(&["--database-url", ""]),
        "error: --database-url: sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE is expected"
    );
}

#[test]
fn urls_that_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (url, said) in [
        ("sqlite://?mode=rwc", "SQLite needs a file here; name one, such as sqlite://hero-teams.db"),
        ("sqlite://%3Amemory%3A", "SQLite needs a file here; name one, such as sqlite://hero-teams.db"),
        ("sqlite://x.db?mode=memory", "of the parameters of SQLite, `mode` alone is known: ro, rw or rwc"),
        ("sqlite://x%00.db", "the name of the file has a control character"),
        (
            "postgres://a:1,b:2/c",
            "of several hosts, the one that can be written is used; say target_session_attrs=read-write",
        ),
        (
            "postgres://a:secret@b/c?search_path=d",
            "the parameter `search_path` is not known; possible are application_name, dbname, host, hostaddr, options, \
             password, port, sslcert, sslkey, sslmode, sslrootcert, target_session_attrs, user; \
             a setting of PostgreSQL goes into `options`, such as options=-c%20search_path%3Dheroes",
        ),
    ] {
        for command_name in ["serve", "migrate", "seed", "schema"] {
            let output =
                command(folder.path(), &["--database-url", url, command_name]).output().expect("the binary runs");
            assert_eq!(refusal(&output), format!("error: --database-url: {said}"));
        }
    }
    assert_eq!(folder.path().read_dir().expect("it is there").count(), 0);
}

#[test]
fn no_argument_of_a_command_is_taken_for_a_setting() {
    fn check(command: &clap::Command, settings: &[Arg]) {
        for argument in command.get_arguments() {
            assert!(settings.iter().all(|setting| setting.get_id() != argument.get_id()), "{command} {argument}");
        }
        command.get_subcommands().for_each(|command| check(command, settings));
    }
    Config::command().get_subcommands().for_each(|command| check(command, &settings()));
}

#[test]
fn secrets_in_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).expect("it is written");
    let run = |arguments: &[&str]| crate::command_line::run(folder.path(), arguments);
    write("url", "sqlite://secret.db\n");
    assert_eq!(stdout(&run(&["seed", "--database-url-file", "url"])), "3 heroes created\n");
    assert!(folder.path().join("secret.db").exists());
    let mut by_variable = command(folder.path(), &["seed"]);
    assert_eq!(stdout(&by_variable.env("DATABASE_URL_FILE", "url").output().expect("it runs")), "0 heroes created\n");
    write("wrong", "mysql://user:password@h/d");
    write("replicas", "postgres://a/b,\nnonsense");
    for (flag, file, expected) in [
        ("--database-url-file", "wrong", "sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE is expected"),
        ("--database-url-file", "missing", "cannot read missing: No such file or directory"),
        ("--read-url-file", "replicas", "postgres://USER:PASSWORD@HOST:PORT/DATABASE is expected"),
        ("--events-url-file", "url", "postgres://USER:PASSWORD@HOST:PORT/DATABASE is expected"),
    ] {
        let said = crate::command_line::wrong_setting(&run(&["seed", flag, file]));
        assert!(said.starts_with(&format!("error: {flag}: {expected}")) && !said.contains("password@h"), "{said}");
    }
    let both = run(&["seed", "--database-url-file", "url", "--database-url", "sqlite://x.db"]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}

#[test]
fn completions_and_man_pages_have_all_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| crate::command_line::run(folder.path(), arguments);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = stdout(&run(&["completions", shell]));
        assert!(["database-url", "metrics-listen", "seed"].iter().all(|word| said.contains(word)), "{shell}");
    }
    stdout(&run(&["man", "."]));
    let page = std::fs::read_to_string(folder.path().join("hero-teams.1")).expect("it is written");
    let names = settings().into_iter().filter_map(|setting| setting.get_long().map(|name| name.replace('-', "\\-")));
    for name in names {
        assert!(page.contains(&name), "{name}");
    }
    assert!(folder.path().join("hero-teams-copy.1").exists());
    assert_eq!(run(&["completions", "dos"]).status.code(), Some(2));
}
