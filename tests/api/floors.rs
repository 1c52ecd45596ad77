//! How the parts of the program stand on each other.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The parts of `src`, those first that know the fewest others. A part knows none that comes after it.
const FLOORS: [&str; 19] = [
    "schema",
    "config",
    "log",
    "output",
    "progress",
    "stop",
    "http_client",
    "telemetry",
    "db",
    "store",
    "access",
    "events",
    "graphql",
    "records",
    "server",
    "http",
    "serve",
    "program",
    "lib",
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it is a folder").map(|entry| entry.expect("it is read").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let relative = |path: &Path| path.strip_prefix(&folder).expect("it is in the folder").with_extension("");
    files(&folder).iter().map(|path| (relative(path), fs::read_to_string(path).expect("it is read"))).collect()
}

/// The parts that a file uses: the names after `crate::`, alone or in a list.
fn used(source: &str) -> BTreeSet<&str> {
    let name =
        |text: &str| text.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).next().map(str::len);
    let mut used = BTreeSet::new();
    for (start, path) in source.match_indices("crate::") {
        let rest = &source[start + path.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            used.insert(&rest[..name(rest).unwrap_or(0)]);
            continue;
        };
        let mut depth = 0;
        let mut is_first = true;
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => is_first = true,
                letter if depth == 0 && is_first && letter.is_alphabetic() => {
                    used.insert(&list[at..at + name(&list[at..]).unwrap_or(0)]);
                    is_first = false;
                }
                _ => {}
            }
        }
    }
    used
}

#[test]
fn each_part_stands_on_others_and_never_on_those_above() {
    let floor = |part: &str| FLOORS.iter().position(|other| *other == part);
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        let part = path.iter().next().and_then(|part| part.to_str()).expect("it has a name");
        if part == "main" {
            continue;
        }
        let own = floor(part).unwrap_or_else(|| panic!("{part} has no floor"));
        for other in used(&source) {
            // What the root of the crate has is a macro or a function, and no part.
            if floor(other).is_some_and(|other| other > own) {
                wrong.push(format!("{} uses {other}", path.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_list_of_uses_is_read() {
    let source = "use crate::{\n    config::{A, B},\n    db::Db,\n    store::{self, event::{self, C}},\n};\nuse crate::schema::D;";
    assert_eq!(used(source).into_iter().collect::<Vec<_>>(), ["config", "db", "schema", "store"]);
}

/// But for the API itself, whose list of entities joins them.
#[test]
fn files_that_declare_modules_hold_nothing_else() {
    let begins =
        ["fn ", "struct ", "enum ", "impl", "const ", "static ", "trait ", "async fn ", "type ", "macro_rules!"];
    for (path, source) in sources() {
        if !path.ends_with("mod") || path.starts_with("schema") {
            continue;
        }
        let held = source.lines().find(|line| {
            let line = line.strip_prefix("pub").and_then(|line| line.split_once(' ')).map_or(*line, |(_, line)| line);
            begins.iter().any(|begin| line.starts_with(begin))
        });
        assert_eq!(held, None, "{}", path.display());
    }
}

#[test]
fn lines_end_at_120_columns() {
    for (path, source) in sources() {
        let long = source.lines().position(|line| line.chars().count() > 120);
        assert_eq!(long.map(|line| line + 1), None, "{}", path.display());
    }
}

/// GraphQL's engine is known where GraphQL is, and the web framework where HTTP is.
#[test]
fn libraries_stay_on_their_floors() {
    let allowed: [(&str, &[&str]); 3] = [
        ("async_graphql", &["graphql", "http", "records"]),
        ("axum::", &["http", "server"]),
        ("sea_orm::", &["schema", "config", "db", "store", "access", "telemetry"]),
    ];
    for (path, source) in sources() {
        let part = path.iter().next().and_then(|part| part.to_str()).expect("it has a name");
        let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for (library, parts) in allowed {
            assert!(!code.contains(library) || parts.contains(&part), "{} uses {library}", path.display());
        }
    }
}
