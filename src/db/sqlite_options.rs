//! How SQLite was compiled.

use rusqlite::Connection;

/// What `.cargo/config.toml` asks for, and what it leaves out.
const WITH: [&str; 1] = ["DEFAULT_MEMSTATUS=0"];
const WITHOUT: [&str; 5] = ["ENABLE_MEMORY_MANAGEMENT", "ENABLE_STAT4", "ENABLE_FTS3", "ENABLE_FTS5", "ENABLE_RTREE"];

/// Warns of a SQLite that was compiled with other options than those of the project, which are measured. Answers are
/// the same, and take longer.
pub fn warn_of_others() {
    let options = Connection::open_in_memory().and_then(|connection| {
        let mut options = connection.prepare("PRAGMA compile_options")?;
        options.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
    });
    match options.map(|options| others(&options)) {
        Ok(others) if others.is_empty() => {}
        Ok(others) => tracing::warn!(
            others = others.join(", "),
            "SQLite was compiled with other options than those of .cargo/config.toml, and is slower: build in the \
             folder of the project"
        ),
        Err(error) => tracing::debug!(%error, "SQLite does not tell how it was compiled"),
    }
}

/// The options that are missing, and those that should be.
fn others(options: &[String]) -> Vec<String> {
    let has = |name: &str| options.iter().any(|option| option == name);
    let missing = WITH.iter().filter(|name| !has(name)).map(|name| format!("no {name}"));
    missing.chain(WITHOUT.iter().filter(|name| has(name)).map(|name| (*name).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::others;

    #[test]
    fn those_of_libsqlite3_sys() {
        let options = ["COMPILER=gcc", "DEFAULT_MEMSTATUS=0", "ENABLE_STAT4", "THREADSAFE=1"].map(String::from);
        assert_eq!(others(&options), ["ENABLE_STAT4"]);
        assert_eq!(others(&options[2..]), ["no DEFAULT_MEMSTATUS=0", "ENABLE_STAT4"]);
        assert!(others(&options[1..2]).is_empty());
    }
}
