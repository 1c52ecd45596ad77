//! The program of an API: it reads the settings and runs the command, which is to serve unless another one is given. An
//! error is one line on the standard error output, and the exit status.

use std::{
    hint::black_box,
    io::{ErrorKind, Write as _, stderr, stdout},
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail, ensure};
use httpdate::fmt_http_date;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    access::{self, ApiKeys},
    config::{
        Command, Config, DatabaseSettings, DocumentsCommand, ImportSettings, KeyCommand, OnError, Pooler,
        SchemaCommand, TextField, WrongSetting,
    },
    db::{self, Db, DbSettings},
    graphql::{self, RecordReader, Verdict},
    log::{self, Log},
    progress::Progress,
    records::{self, Imported},
    schema::{Api, HERO, TEAM},
    serve::{self, check_health, ensure_current, serve},
    stop::stop_requested,
    store::{self, Copied, CopySource, TextIndex},
    telemetry::Telemetry,
};

/// The status where a setting is wrong.
const WRONG_SETTING: u8 = 2;
/// The end of the message about a wrong setting.
const SEE_HELP: &str = " (see --help)";
/// The status of an import that has left out records.
const SOME_REJECTED: u8 = 2;
/// The number of bytes from which on mimalloc maps an allocation by itself.
const LARGE: usize = 1024 * 1024;

/// The signal that ends a program which writes beyond the largest size of a file (`ulimit -f`), unless it is handled.
const SIGXFSZ: i32 = 25;

/// Runs a program that serves an API: all commands, and the settings of the command line and the environment. `command`
/// is that of [`Config`], with defaults of its own where they differ.
#[must_use]
pub fn run<A: Api>(command: clap::Command) -> ExitCode {
    let log = match Log::start() {
        Ok(log) => log,
        Err(error) => {
            // Where nobody can be told, the status of the program has to do.
            let _ = writeln!(stderr(), "error: cannot start the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = match Config::read(command.clone()) {
        Ok(config) => {
            log::init(&log, &config.log, config.database.log_sql);
            start::<A>(config, command).map_err(|error| {
                let is_wrong = error.chain().any(<dyn std::error::Error>::is::<WrongSetting>);
                let (code, hint) = if is_wrong { (WRONG_SETTING.into(), SEE_HELP) } else { (ExitCode::FAILURE, "") };
                (code, format!("error: {error:#}{hint}"))
            })
        }
        Err(error) if error.use_stderr() => Err((WRONG_SETTING.into(), refusal(&error))),
        Err(help) => match printed(help.print()) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => Err((ExitCode::FAILURE, format!("error: {error:#}"))),
        },
    };
    match result {
        Ok(code) => code,
        Err((code, message)) => {
            // One line, with the causes after it.
            log.line(&message.replace('\n', " "));
            code
        }
    }
}

/// What is wrong with the settings, without how to use the program.
fn refusal(error: &clap::Error) -> String {
    let text = error.to_string();
    let said = text.split("\n\n").take_while(|paragraph| !paragraph.starts_with("Usage:"));
    let said: Vec<_> = said.map(str::trim).filter(|paragraph| !paragraph.starts_with("For more")).collect();
    format!("{}{SEE_HELP}", said.join("; "))
}

fn start<A: Api>(config: Config, command: clap::Command) -> anyhow::Result<ExitCode> {
    let runtime = Runtime::new().context("cannot start")?;
    let result = runtime.block_on(execute::<A>(config, command));
    // What has been cut off may still be at work on a thread.
    runtime.shutdown_background();
    result
}

async fn execute<A: Api>(mut config: Config, mut command: clap::Command) -> anyhow::Result<ExitCode> {
    // A file that may not grow is an error then, as a full disk is.
    drop(signal(SignalKind::from_raw(SIGXFSZ)));
    config.read_files()?;
    // Before anything is made or changed.
    graphql::validate::<A>()?;
    match &config.command {
        None | Some(Command::Serve) => {
            serve::check(&config)?;
            tokio::spawn(give_memory_back());
            let db = connect::<A>(&config.database, Telemetry::new(&config.telemetry)?).await?;
            let telemetry = db.telemetry().clone();
            let serving = async |db: &Db| Box::pin(serve::<A>(db.clone(), &config)).await;
            let served = closing(db, &config, serving).await;
            telemetry.stop().await;
            served?;
        }
        Some(Command::Migrate(settings)) => {
            let [lower, trigram] = settings.fields(A::entities())?;
            config.database.refuse_with_sqlite(&[("--trigram-index", !trigram.is_empty())])?;
            let lower = lower.into_iter().map(|field| (TextIndex::Lower, field));
            let indexes: Vec<_> = lower.chain(trigram.into_iter().map(|field| (TextIndex::Trigram, field))).collect();
            closing(migrated::<A>(&config.database).await?, &config, async |_| Ok(())).await?;
            make::<A>(&config, &indexes).await?;
        }
        Some(Command::Seed) => print(&seed::<A>(&config).await?)?,
        Some(Command::Schema { command: None }) => print(&graphql::sdl::<A>())?,
        Some(Command::Schema { command: Some(SchemaCommand::Check { old }) }) => check_schema::<A>(old)?,
        Some(Command::Completions { shell }) => {
            let mut completions = Vec::new();
            let name = command.get_name().to_owned();
            clap_complete::generate(*shell, &mut command, name, &mut completions);
            print(&String::from_utf8_lossy(&completions))?;
        }
        Some(Command::Man { folder }) => clap_mangen::generate_to(command, folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?,
        Some(Command::Backup { path }) => {
            let bytes = unless_stopped(db::backup(&config.database.database_url, path)).await?;
            print(&format!("{bytes} bytes written to {}\n", path.display()))?;
        }
        Some(Command::Health { url }) => {
            check_health(url.as_ref(), &config.serve.listen).await?;
            print("ready\n")?;
        }
        Some(Command::Copy { from, on_error, progress }) => {
            let source = CopySource::open(A::entities(), from).await.context("cannot copy")?;
            let source = source.map_err(|fault| anyhow::anyhow!("cannot copy: {fault}"))?;
            let db = migrated::<A>(&patient(&config.database)).await?;
            let progress = Progress::new(progress.show, None);
            let copy = async |db: &Db| unless_stopped(copy(db, source, *on_error, progress)).await;
            print(&closing(db, &config, copy).await?)?;
        }
        Some(Command::Export(settings)) => {
            let db = existing::<A>(&patient(&config.database)).await?;
            let reader = record_reader::<A>()?;
            let export = async |db: &Db| unless_stopped(records::export(db, &reader, settings)).await;
            let records = closing(db, &config, export).await?;
            if *settings.output != *"-" {
                print(&format!("{records} records written to {}\n", settings.output.display()))?;
            }
        }
        Some(Command::Import(settings)) => return import::<A>(&config, settings).await,
        Some(Command::Documents(DocumentsCommand::Check { paths, against })) => {
            let sdl = match against {
                Some(path) => read(path)?,
                None => graphql::sdl::<A>(),
            };
            let (number, faults) = graphql::check_documents(paths, sdl, &config.graphql)?;
            for fault in &faults {
                print(&format!("{fault}\n"))?;
            }
            ensure!(faults.is_empty(), "{number} documents have {} faults", faults.len());
            print(&format!("{number} documents are valid\n"))?;
        }
        Some(Command::Key(command)) => {
            let db = migrated::<A>(&config.database).await?;
            print(&closing(db, &config, async |db| key(&ApiKeys::new(db), command).await).await?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Imports records, says what came of them, and gives the status of the program.
async fn import<A: Api>(config: &Config, settings: &ImportSettings) -> anyhow::Result<ExitCode> {
    let reader = record_reader::<A>()?;
    let checked = records::validate(&reader, settings)?;
    let (imported, outcome) = if settings.dry_run {
        let outcome = format!("{} records checked", checked.imported.records);
        (checked.imported, outcome)
    } else {
        let db = migrated::<A>(&patient(&config.database)).await?;
        let imported = closing(db, config, async |db| unless_stopped(records::import(db, &checked)).await).await?;
        let Imported { records, created, rejected } = imported;
        (imported, format!("{} records imported, {created} objects created", records - rejected))
    };
    if imported.rejected == 0 {
        print(&format!("{outcome}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!("{outcome}, {} records left out\n", imported.rejected))?;
    Ok(SOME_REJECTED.into())
}

fn read(path: &Path) -> Result<String, WrongSetting> {
    std::fs::read_to_string(path).map_err(|error| WrongSetting(format!("cannot read {}: {error}", path.display())))
}

/// Does what a command is for, unless the program is told to end before. What has not come to its end is dropped then,
/// and removes what it has written.
async fn unless_stopped<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let stopped = stop_requested(true)?;
    tokio::select! {
        result = work => result,
        () = stopped => bail!("the command was stopped before its end"),
    }
}

fn record_reader<A: Api>() -> anyhow::Result<RecordReader> {
    RecordReader::new::<A>().map_err(anyhow::Error::msg)
}

/// Loads the data of the tutorial, and gives what it prints.
async fn seed<A: Api>(config: &Config) -> anyhow::Result<String> {
    ensure!(
        [&HERO, &TEAM].iter().all(|entity| A::entities().contains(entity)),
        "the tutorial's data are heroes and teams, which are not those of this API"
    );
    let db = migrated::<A>(&config.database).await?;
    let heroes =
        closing(db, config, async |db| store::seed::tutorial(db).await.context("cannot load the tutorial's data"));
    let heroes = heroes.await?;
    Ok(format!("{heroes} heroes created\n"))
}

/// Prints what has changed since another version of the schema.
fn check_schema<A: Api>(old: &Path) -> anyhow::Result<()> {
    let changes = graphql::schema_changes(&read(old)?, &graphql::sdl::<A>()).map_err(anyhow::Error::msg)?;
    for change in &changes {
        print(&format!("{change}\n"))?;
    }
    let breaking = changes.iter().filter(|change| change.verdict == Verdict::Breaking).count();
    ensure!(breaking == 0, "{breaking} changes break clients");
    Ok(())
}

/// Copies another database, and gives what it prints.
async fn copy(db: &Db, from: CopySource, on_error: OnError, mut progress: Progress) -> anyhow::Result<String> {
    let copied = store::copy(db, from, on_error == OnError::Skip, &mut progress).await;
    match copied.context("cannot copy")? {
        Copied::All { rows, skipped: 0 } => Ok(format!("{rows} rows copied\n")),
        Copied::All { rows, skipped } => Ok(format!("{rows} rows copied, {skipped} left out\n")),
        Copied::Unknown { columns } => bail!(
            "the source has columns that this schema does not have ({}), and nothing was copied; --on-error skip \
             leaves them out",
            columns.join(", ")
        ),
        Copied::Wrong { rows } => {
            bail!("{rows} rows cannot be copied, and nothing was; --on-error skip leaves them out")
        }
        Copied::NotEmpty => bail!("the database has rows already; copy into one that is empty"),
        Copied::Different { table } => {
            bail!("what was written to the table {table} is not what was read; nothing was copied")
        }
    }
}

/// Makes indexes, and says of each whether it is new.
async fn make<A: Api>(config: &Config, indexes: &[(TextIndex, TextField)]) -> anyhow::Result<()> {
    if indexes.is_empty() {
        return Ok(());
    }
    let db = existing::<A>(&patient(&config.database)).await?;
    let make = async |db: &Db| {
        for (index, field) in indexes {
            let is_new = index.create(db, field.entity, field.column).await;
            let is_new = is_new.with_context(|| format!("cannot make the {index} index of {field}"))?;
            print(&format!("{index} index of {field}: {}\n", if is_new { "made" } else { "exists" }))?;
        }
        Ok(())
    };
    closing(db, config, make).await
}

/// Does what a command about API keys says, and gives what it prints.
async fn key(keys: &ApiKeys, command: &KeyCommand) -> anyhow::Result<String> {
    match command {
        KeyCommand::Create { name, scopes, expires } => {
            let expires_at = expires.map(|time| SystemTime::now() + time);
            let scopes = scopes.iter().copied().collect();
            let new = keys.create(name, scopes, expires_at).await.context("cannot make the API key")?;
            tracing::info!(id = new.id, "made an API key; it is printed this once and cannot be shown again");
            Ok(format!("{}\n", new.key))
        }
        KeyCommand::List => {
            let keys = keys.list().await.context("cannot read the API keys")?;
            let mut table =
                vec![["ID", "NAME", "SCOPES", "CREATED", "EXPIRES", "REVOKED", "LAST USED"].map(String::from)];
            table.extend(keys.into_iter().map(|key| {
                let time = |seconds: Option<i64>| {
                    seconds.map_or_else(|| "never".to_owned(), |seconds| fmt_http_date(access::time(seconds)))
                };
                let [created, expires] = [Some(key.created_at), key.expires_at].map(time);
                let [revoked, last_used] = [key.revoked_at, key.last_used_at].map(time);
                [key.id, key.name, key.scopes, created, expires, revoked, last_used]
            }));
            Ok(aligned(&table))
        }
        KeyCommand::Revoke { id } => {
            // What is given may be a whole key, which is not for a log.
            let revoked = keys.revoke(id).await.context("cannot revoke the API key")?;
            let id = revoked.context("there is no API key with this id; the command `key list` lists them")?;
            Ok(format!("{id} is revoked\n"))
        }
    }
}

/// The lines of a table, with its columns below each other.
fn aligned<const COLUMNS: usize>(table: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    table.iter().map(line).collect()
}

async fn connect<A: Api>(settings: &DatabaseSettings, telemetry: Telemetry) -> anyhow::Result<Db> {
    settings.refuse_with_sqlite(&[
        ("--read-url", !settings.read_urls.is_empty()),
        ("--pooler transaction", settings.pooler == Pooler::Transaction),
        ("--no-prepared-statements", settings.no_prepared_statements),
    ])?;
    let settings = DbSettings::new(settings, store::migrations::<A>(), telemetry);
    Db::connect(&settings).await.context("cannot open the database")
}

/// The settings of a command that moves records: its statements take as long as they take.
fn patient(settings: &DatabaseSettings) -> DatabaseSettings {
    DatabaseSettings { statement_timeout: Duration::ZERO, commit_timeout: Duration::from_hours(24), ..settings.clone() }
}

/// The database as it is: it is neither created nor changed.
async fn existing<A: Api>(settings: &DatabaseSettings) -> anyhow::Result<Db> {
    let mut settings = settings.clone();
    settings.database_url.must_exist();
    let db = connect::<A>(&settings, Telemetry::default()).await?;
    ensure_current(&db, "").await?;
    Ok(db)
}

/// The database, with all migrations applied.
async fn migrated<A: Api>(settings: &DatabaseSettings) -> anyhow::Result<Db> {
    let db = connect::<A>(settings, Telemetry::default()).await?;
    db.migrate().await.context("cannot apply the migrations")?;
    Ok(db)
}

/// Does what a command is for, and closes the database after it. Where both fail, the error is that of the command.
async fn closing<T>(db: Db, config: &Config, work: impl AsyncFnOnce(&Db) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let result = work(&db).await;
    // A statement that nobody waits for any more must not keep the program from ending.
    let closed = timeout(config.serve.shutdown_timeout, db.close()).await;
    let value = result?;
    if let Ok(closed) = closed {
        closed.context("cannot close the database")?;
    } else {
        tracing::warn!("statements that were still running have been cut off");
    }
    Ok(value)
}

/// Has mimalloc, the allocator of `src/main.rs`, give back to the system what was freed a second ago. It does so by
/// itself when a piece is freed, but a server that has answered everything frees none.
async fn give_memory_back() {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = stdout().lock();
    printed(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

fn printed(result: std::io::Result<()>) -> anyhow::Result<()> {
    match result {
        // Whoever read it has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to the standard output"),
    }
}
