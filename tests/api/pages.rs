//! The pages, README.md and those in docs: what they say is what the server does.
//!
//! - A table between `<!-- generated: NAME -->` and `<!-- end -->` is made from the settings.
//! - A block of `graphql` that is followed by one of `json` is a request and its whole answer, and a block `json variables`
//!   between them has its variables. The requests of a page are sent from top to bottom to a server of its own. It has the
//!   tutorial's data, but for the pages that begin by creating them.
//! - A block of `sql` has the statements that the request before it costs on SQLite, or, where none is before it, those that
//!   make the tutorial's tables.
//! - A block of `rust` that begins with `// PATH` is an excerpt of that file. A line `// …` in it stands for lines left out.
//! - Links lead to files and headings that exist, and so do the names of files.
//!
//! `UPDATE_PAGES=1 cargo test --test api pages::` writes the tables and the statements.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, Args, Command, CommandFactory};
use hero_teams::{
    config::{Config, Limits},
    schema::HeroTeams,
    store::seed,
};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::{Value, json};

use crate::{
    databases::TestDatabase,
    missions::schema::Missions,
    support::{Settings, TestApp},
};

/// The greatest number of columns of a line of prose.
const MAX_COLUMNS: usize = 120;
/// The pages that begin without data.
const WITHOUT_DATA: [&str; 2] = ["README.md", "docs/tutorial.md"];
/// The page about the API of examples/missions.
const MISSIONS: &str = "docs/extending.md";
/// The files that this page tells its reader to create.
const TO_CREATE: [&str; 2] = ["m20261127_000008_add_hero_power.rs", "src/schema/mission.rs"];

struct Page {
    /// Its path from the root of the repository.
    name: String,
    text: String,
}

/// A block of code between fences.
struct Block<'a> {
    /// What stands after the fence that opens it.
    language: &'a str,
    /// The numbers of its first line and of the line after its last fence.
    lines: [usize; 2],
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<Page> {
    let docs = fs::read_dir(root().join("docs")).expect("the folder docs");
    let mut names: Vec<String> =
        docs.map(|entry| format!("docs/{}", entry.expect("an entry").file_name().to_string_lossy())).collect();
    names.push("README.md".to_owned());
    names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "md"));
    names.sort();
    names.into_iter().map(Page::read).collect()
}

impl Page {
    fn read(name: String) -> Self {
        let text = fs::read_to_string(root().join(&name)).expect("the page");
        Self { name, text }
    }

    fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks: Vec<Block<'_>> = Vec::new();
        let mut is_code = false;
        for (index, line) in self.text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            match (is_code, fence) {
                (false, Some(language)) => {
                    blocks.push(Block { language, lines: [index + 2, 0], code: String::new() });
                    is_code = true;
                }
                (true, Some(_)) => {
                    blocks.last_mut().expect("an open block").lines[1] = index + 2;
                    is_code = false;
                }
                (true, None) => {
                    let code = &mut blocks.last_mut().expect("an open block").code;
                    code.push_str(line);
                    code.push('\n');
                }
                (false, None) => {}
            }
        }
        assert!(!is_code, "a block of {} has no end", self.name);
        blocks
    }

    /// The lines that are not in blocks of code, with their numbers.
    fn prose(&self) -> Vec<(usize, &str)> {
        let blocks = self.blocks();
        let is_code = |line: usize| blocks.iter().any(|block| block.lines[0] - 1 <= line && line < block.lines[1]);
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(line, text)| !is_code(*line) && !text.starts_with("    ")).collect()
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> Vec<String> {
        let mut anchors = Vec::new();
        for (_, line) in self.prose() {
            let heading = line.trim_start_matches('#');
            if heading.len() == line.len() || !heading.starts_with(' ') {
                continue;
            }
            let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
            let earlier = anchors.iter().filter(|other| **other == anchor).count();
            anchors.push(if earlier == 0 { anchor } else { format!("{anchor}-{earlier}") });
        }
        anchors
    }

    /// Writes the page where that is asked for, and fails otherwise, when it is to have another text.
    fn update(&self, text: String) {
        if std::env::var_os("UPDATE_PAGES").is_none() {
            let name = &self.name;
            assert!(text == self.text, "{name} is out of date; run: UPDATE_PAGES=1 cargo test --test api pages::");
        } else if text != self.text {
            fs::write(root().join(&self.name), text).expect("the page can be written");
        }
    }

    /// The same text with other code in blocks.
    fn with_code(&self, code: &[([usize; 2], String)]) -> String {
        let mut lines: Vec<&str> = self.text.lines().collect();
        for ([start, end], code) in code.iter().rev() {
            lines.splice(start - 1..end - 2, [code.trim_end()]);
        }
        lines.join("\n") + "\n"
    }

    /// The place of what is wrong.
    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.name)
    }
}

/// The pieces of a line in code, or those that are not.
fn spans(line: &str, is_code: bool) -> impl Iterator<Item = &str> {
    line.split('`').enumerate().filter(move |(index, _)| (index % 2 == 1) == is_code).map(|(_, span)| span)
}

#[test]
fn the_tables_of_settings_are_up_to_date() {
    let mut tables = 0;
    for page in pages() {
        let mut lines = page.text.lines();
        let mut updated = String::new();
        while let Some(line) = lines.next() {
            updated.push_str(line);
            updated.push('\n');
            if let Some(name) = line.strip_prefix("<!-- generated: ").and_then(|line| line.strip_suffix(" -->")) {
                lines.find(|line| *line == "<!-- end -->").expect("an end of what is generated");
                updated.extend(["\n", &generated(name), "\n<!-- end -->\n"]);
                tables += 1;
            }
        }
        page.update(updated);
    }
    assert_eq!(tables, 3, "settings, commands and limits");
}

fn generated(name: &str) -> String {
    match name {
        "settings" => settings(&Config::command()),
        "commands" => {
            let row = |command: &Command| {
                let about = command.get_about().map(ToString::to_string).unwrap_or_default();
                format!("| `{}` | {} |\n", command.get_name(), cell(&about))
            };
            let rows: String = Config::command().get_subcommands().map(row).collect();
            format!("| command | |\n| --- | --- |\n{rows}")
        }
        "limits" => {
            let row = |limit: &Arg| {
                let setting = limit.get_long().expect("a flag");
                format!("| {} | {} | `--{setting}` |\n", cell(&help(limit)), grouped(&default(limit)))
            };
            let rows: String = Limits::augment_args(Command::new("")).get_arguments().map(row).collect();
            format!("| limit | default | setting |\n| --- | --: | --- |\n{rows}")
        }
        _ => panic!("nothing is generated as {name}"),
    }
}

/// A table for each heading of `--help`.
fn settings(command: &Command) -> String {
    let mut headings: Vec<&str> = Vec::new();
    for setting in command.get_arguments() {
        let heading = setting.get_help_heading().expect("each setting has a heading");
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    let table = |heading: &str| {
        let settings = command.get_arguments().filter(|setting| setting.get_help_heading() == Some(heading));
        let rows: String = settings.map(setting_row).collect();
        format!("### {heading}\n\n| flag | variable | default | meaning |\n| --- | --- | --- | --- |\n{rows}")
    };
    headings.into_iter().map(table).collect::<Vec<_>>().join("\n")
}

fn setting_row(setting: &Arg) -> String {
    let takes_value = setting.get_action().takes_values();
    let value = setting.get_value_names().filter(|_| takes_value).map(|names| format!(" {}", names[0]));
    let flag = format!("--{}{}", setting.get_long().expect("a flag"), value.unwrap_or_default());
    let variable = setting.get_env().expect("a variable").to_string_lossy();
    let default = Some(default(setting)).filter(|default| !default.is_empty());
    let default = default.map(|default| format!("`{default}`")).unwrap_or_default();
    let values = setting.get_possible_values();
    let names: Vec<_> = values.iter().filter(|_| takes_value).map(|value| format!("`{}`", value.get_name())).collect();
    let values = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    format!("| `{flag}` | `{variable}` | {default} | {}{values} |\n", cell(&help(setting)))
}

fn help(setting: &Arg) -> String {
    setting.get_help().expect("each setting says what it is").to_string()
}

fn default(setting: &Arg) -> String {
    if !setting.get_action().takes_values() {
        return String::new();
    }
    setting.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",")
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', r"\|").replace('<', "&lt;").replace('\n', " ")
}

/// A number with commas between its thousands.
fn grouped(number: &str) -> String {
    number.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect::<Vec<_>>().join(",")
}

#[test]
fn the_links_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut linked = HashSet::from([root().join("README.md")]);
    for page in pages() {
        for (line, text) in page.prose() {
            let targets = spans(text, false).flat_map(|span| span.split("](").skip(1));
            for target in targets.map(|rest| rest.split(')').next().unwrap_or_default()) {
                if target.contains("://") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let from = Path::new(&page.name);
                let path = if path.is_empty() { from.to_owned() } else { from.with_file_name(path) };
                let Ok(file) = root().join(&path).canonicalize() else {
                    wrong.push(format!("{}: {target} does not exist", page.at(line)));
                    continue;
                };
                let name = file.strip_prefix(root().canonicalize().expect("the root")).expect("a file of ours");
                if !anchor.is_empty() && !Page::read(name.display().to_string()).anchors().contains(&anchor.to_owned())
                {
                    wrong.push(format!("{}: {target} has no such heading", page.at(line)));
                }
                linked.insert(root().join(name));
            }
        }
    }
    let unlinked = pages().into_iter().map(|page| page.name).filter(|name| !linked.contains(&root().join(name)));
    wrong.extend(unlinked.map(|name| format!("{name}: no page has a link to it")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_files_that_are_named_exist() {
    const EXTENSIONS: [&str; 8] = ["rs", "md", "mjs", "py", "sh", "svg", "toml", "graphql"];
    let (mut files, mut wrong) = (Vec::new(), Vec::new());
    collect_files(root(), &mut files);
    let is_character = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    for page in pages() {
        for (line, text) in page.prose() {
            for name in spans(text, true).filter(|name| name.chars().all(is_character)) {
                let is_file = name.rsplit_once('.').is_some_and(|(_, extension)| EXTENSIONS.contains(&extension));
                // Paths from the root are those of addresses.
                let is_ours = (is_file || name.ends_with('/')) && !name.starts_with('/') && !TO_CREATE.contains(&name);
                if is_ours && !files.iter().any(|file| file.ends_with(name)) {
                    wrong.push(format!("{}: `{name}` does not exist", page.at(line)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The files and folders of the repository.
fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default();
        if ["target", "node_modules", ".git", "corpus"].iter().any(|other| name == *other) {
            continue;
        }
        if path.is_dir() {
            collect_files(&path, files);
        }
        files.push(path);
    }
}

#[test]
fn no_line_is_too_long() {
    let mut long = Vec::new();
    for page in pages() {
        for (line, text) in page.prose() {
            let columns = text.chars().count();
            if columns > MAX_COLUMNS && !text.starts_with('|') {
                long.push(format!("{} has {columns} columns", page.at(line)));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn excerpts_of_files_are_in_them() {
    let trimmed = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let mut excerpts = 0;
    for page in pages() {
        for block in page.blocks().into_iter().filter(|block| block.language == "rust") {
            let (first, code) = block.code.split_once('\n').unwrap_or_default();
            let Some(path) = first.strip_prefix("// ").filter(|path| root().join(path).is_file()) else { continue };
            let file = trimmed(&fs::read_to_string(root().join(path)).expect("the file"));
            for piece in trimmed(code).split("// …") {
                let place = page.at(block.lines[0]);
                assert!(file.contains(piece.trim()), "{place}: {path} does not have\n{}", piece.trim());
            }
            excerpts += 1;
        }
    }
    assert!(excerpts > 0, "no page has an excerpt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_and_statements_are_those_of_sqlite() {
    let mut answers = 0;
    for page in pages() {
        answers += send_requests(&page, TestDatabase::sqlite()).await;
    }
    assert!(answers > 0, "no page has a request with its answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_those_of_postgresql() {
    for page in pages() {
        let Some(database) = TestDatabase::postgres().await else { return };
        send_requests(&page, database).await;
    }
}

/// Sends the requests of a page, from top to bottom, to a server of its own. Gives their number.
async fn send_requests(page: &Page, database: TestDatabase) -> usize {
    let with_limits = |settings: &mut Settings| settings.graphql.limits = Limits::DEFAULT;
    let app = if page.name == MISSIONS {
        TestApp::of::<Missions>(database, with_limits).await
    } else {
        TestApp::of::<HeroTeams>(database, with_limits).await
    };
    let mut sent = tables(&app).await;
    let mut blocks_of_sql = Vec::new();
    let mut answers = 0;
    if !WITHOUT_DATA.contains(&&*page.name) {
        seed::tutorial(&app.db).await.expect("the tutorial's data");
    }
    let blocks = page.blocks();
    let mut blocks = blocks.iter().peekable();
    while let Some(block) = blocks.next() {
        let place = page.at(block.lines[0]);
        if block.language == "sql" {
            blocks_of_sql.push((block.lines, sent.join("\n\n")));
        }
        if block.language != "graphql" {
            continue;
        }
        // One that follows, with at most an empty line between them.
        let mut end = block.lines[1];
        let mut next = |language: &str| {
            let next = blocks.next_if(|next| next.language == language && next.lines[0] <= end + 2)?;
            end = next.lines[1];
            Some(next)
        };
        let variables = next("json variables").map_or(json!({}), |block| parsed(&block.code, &place));
        let Some(expected) = next("json") else { continue };
        app.seen();
        let answer = app.graphql_with(&block.code, variables).await;
        assert_eq!(answer, parsed(&expected.code, &place), "{place}: the answer is\n{answer:#}");
        sent = app.take_statements().iter().map(|statement| formatted(&statement.sql)).collect();
        answers += 1;
    }
    if !app.database.is_postgres() {
        page.update(page.with_code(&blocks_of_sql));
    }
    app.close().await;
    answers
}

/// The statements that make the tutorial's tables of SQLite.
async fn tables(app: &TestApp) -> Vec<String> {
    if app.database.is_postgres() {
        return Vec::new();
    }
    let select = "SELECT sql FROM sqlite_schema
        WHERE sql IS NOT NULL AND tbl_name IN ('hero', 'team', 'hero_team_link') ORDER BY rowid";
    let rows = app.db.read.query_all_raw(Statement::from_string(DbBackend::Sqlite, select)).await.expect("the tables");
    rows.iter().map(|row| formatted(&row.try_get_by_index::<String>(0).expect("a statement"))).collect()
}

fn parsed(json: &str, place: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{place}: {error} in\n{json}"))
}

/// A statement in lines, with a semicolon.
fn formatted(sql: &str) -> String {
    const CLAUSES: [&str; 7] = ["SELECT ", "FROM ", "INNER JOIN ", "WHERE ", "ORDER BY ", "ON CONFLICT ", "RETURNING "];
    let is_table = sql.starts_with("CREATE TABLE");
    let mut lines = String::new();
    // For each open bracket, whether it is one of a statement or of a table, which have lines of their own.
    let mut brackets = Vec::new();
    let mut rest = sql;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        let is_listed = is_table && brackets.len() == 1;
        let is_new_line = match character {
            '(' => {
                brackets.push(rest.starts_with("SELECT ") || (is_table && brackets.is_empty()));
                lines.push('(');
                rest = rest.trim_start();
                brackets.last() == Some(&true)
            }
            ')' if brackets.pop() == Some(true) => {
                lines.truncate(lines.trim_end().len());
                lines.push('\n');
                lines.push_str(&"    ".repeat(brackets.iter().filter(|has_lines| **has_lines).count()));
                lines.push(')');
                false
            }
            ' ' if brackets.last() != Some(&false) && CLAUSES.iter().any(|clause| rest.starts_with(clause)) => true,
            ' ' if is_listed && lines.ends_with(',') => true,
            character => {
                lines.push(character);
                false
            }
        };
        if is_new_line {
            lines.push('\n');
            lines.push_str(&"    ".repeat(brackets.iter().filter(|has_lines| **has_lines).count()));
        }
    }
    lines.push(';');
    lines
}
