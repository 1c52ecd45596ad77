//! The packages: the container image, Compose, systemd and Debian. `packaging/check.sh`, which CI runs, starts the
//! server from them.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::CommandFactory;
use hero_teams::config::Config;

use crate::{
    command_line::{command, stdout},
    databases::skip,
};

const BINARY: &str = env!("CARGO_BIN_EXE_hero-teams");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

/// A file of the packages.
fn file(name: &str) -> String {
    fs::read_to_string(packaging().join(name)).expect("the file exists")
}

/// What a program says that must end well.
fn said(command: &mut Command) -> String {
    stdout(&command.output().expect("the program runs"))
}

/// A folder with a folder `packaging` that has a copy of a script.
fn folder_with(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("packaging")).expect("it is made");
    fs::copy(packaging().join(script), folder.path().join("packaging").join(script)).expect("it is copied");
    folder
}

/// Checks that systemd finds nothing wrong in the unit.
fn analyze(arguments: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("hero-teams.service");
    // It also looks for the program.
    fs::write(&unit, file("hero-teams.service").replace("/usr/bin/hero-teams", BINARY)).expect("it is written");
    let output = Command::new("systemd-analyze").args(arguments).arg(&unit).output();
    let Ok(output) = output else { return skip("systemd is not installed") };
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !warnings.contains("hero-teams.service"), "{output:?}");
}

#[test]
fn systemd_finds_nothing_wrong_in_the_unit() {
    analyze(&["verify", "--man=no", "--recursive-errors=no"]);
}

#[test]
fn the_unit_gives_the_server_little() {
    // Ten times the number that is shown, which is 9.6 for a service without restrictions.
    analyze(&["security", "--no-pager", "--offline=true", "--threshold=20"]);
}

#[test]
fn the_debian_package_has_the_program_and_what_belongs_to_it() {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        return skip("dpkg is not installed");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = Command::new(packaging().join("deb.sh"));
    // Compression takes most of the time.
    let package = said(script.arg(BINARY).arg(folder.path()).env("COMPRESSION", "none"));
    let package = package.trim();
    let dpkg = |arguments: &[&str]| said(Command::new("dpkg-deb").args(arguments));

    assert_eq!(dpkg(&["--field", package, "Package"]), "hero-teams\n");
    assert_eq!(dpkg(&["--field", package, "Version"]).trim(), VERSION.replacen('-', "~", 1));
    // The binary of the tests is not static.
    assert!(dpkg(&["--field", package, "Depends"]).contains("libc6 (>= 2."), "{package}");
    assert_eq!(dpkg(&["--info", package, "conffiles"]), "/etc/hero-teams/hero-teams.env\n");
    let contents = dpkg(&["--contents", package]);
    for path in [
        "/etc/hero-teams/hero-teams.env",
        "/usr/bin/hero-teams",
        "/usr/lib/systemd/system/hero-teams.service",
        "/usr/share/bash-completion/completions/hero-teams",
        "/usr/share/doc/hero-teams/changelog.gz",
        "/usr/share/doc/hero-teams/copyright",
        "/usr/share/fish/vendor_completions.d/hero-teams.fish",
        "/usr/share/man/man1/hero-teams-backup.1.gz",
        "/usr/share/man/man1/hero-teams.1.gz",
        "/usr/share/zsh/vendor-completions/_hero-teams",
    ] {
        let line = contents.lines().find(|line| line.ends_with(&format!(" .{path}")));
        assert!(line.is_some_and(|line| line.contains(" root/root ")), "{path} is not in\n{contents}");
    }

    let root = folder.path().join("root");
    dpkg(&["--extract", package, root.to_str().expect("it is text")]);
    let version = said(Command::new(root.join("usr/bin/hero-teams")).arg("--version"));
    assert_eq!(version, format!("hero-teams {VERSION}\n"));
}

#[test]
fn the_settings_in_the_packages_exist() {
    let command = Config::command();
    let settings: HashSet<_> =
        command.get_arguments().filter_map(|setting| setting.get_env().and_then(|name| name.to_str())).collect();
    for name in [
        "Containerfile",
        "check.sh",
        "compose.postgres.yaml",
        "compose.sqlite.yaml",
        "hero-teams.env",
        "hero-teams.service",
    ] {
        let text = file(name);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let variables: Vec<_> =
            words.filter(|word| word.starts_with("HERO_TEAMS_") || word.starts_with("DATABASE_URL")).collect();
        assert!(!variables.is_empty(), "{name} has no setting");
        for variable in variables {
            assert!(settings.contains(variable), "{name}: {variable} is no setting");
        }
    }
}

#[test]
fn the_settings_of_the_service_are_possible_without_their_comment_signs() {
    let settings = file("hero-teams.env");
    let settings = settings.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let settings: Vec<_> = settings.filter(|(name, _)| !name.contains(' ')).collect();
    assert!(settings.len() > 5, "{settings:?}");
    said(command(Path::new("/"), &["schema"]).envs(settings));
}

#[test]
fn the_secrets_of_compose_are_possible_and_are_made_once() {
    let folder = folder_with("secrets.sh");
    let secrets = folder.path().join("packaging/secrets");
    let make = || said(&mut Command::new(folder.path().join("packaging/secrets.sh")));
    make();
    let url = fs::read_to_string(secrets.join("database_url")).expect("it is made");
    make();
    assert_eq!(fs::read_to_string(secrets.join("database_url")).expect("it stays"), url);
    let files = [("DATABASE_URL_FILE", "database_url"), ("HERO_TEAMS_READ_URLS_FILE", "read_urls")];
    said(command(&secrets, &["schema"]).envs(files));
    for secret in file("compose.postgres.yaml").lines().filter_map(|line| line.trim().strip_prefix("file: secrets/")) {
        assert!(secrets.join(secret).exists(), "{secret}");
    }
}

#[test]
fn the_proxy_of_compose_has_the_settings_of_the_documentation() {
    let ours = file("haproxy.cfg");
    let documented = include_str!("../../docs/deployment/haproxy.cfg");
    // Where it listens, and where the servers are, is another thing there.
    let has_address = |line: &str| line.contains("127.0.0.1") || line.starts_with("# HAProxy");
    for line in documented.lines().filter(|line| !has_address(line)) {
        assert!(ours.contains(line), "{line}");
    }
}

#[test]
fn the_notes_of_a_release_are_its_section_of_the_changelog() {
    let folder = folder_with("notes.sh");
    let changelog =
        "# Changelog\n\n## Unreleased\n\n- C\n\n## 1.1.0 (2026-12-01)\n\n- B\n\n### Fixed\n\n- A\n\n## 1.0.0\n";
    fs::write(folder.path().join("CHANGELOG.md"), changelog).expect("it is written");
    let notes = |version: &str| {
        let mut script = Command::new(folder.path().join("packaging/notes.sh"));
        script.arg(version).output().expect("the script runs")
    };
    assert_eq!(stdout(&notes("1.1.0")), "- B\n\n### Fixed\n\n- A\n");
    for version in ["1.0.0", "1.1", "2.0.0"] {
        let output = notes(version);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("CHANGELOG.md has no section"), "{output:?}");
    }
}
