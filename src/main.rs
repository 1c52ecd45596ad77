use std::{
    io::{ErrorKind, Write as _, stderr, stdout},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::CommandFactory as _;
use hero_teams::{
    config::{Command, Config, DatabaseSettings},
    graphql,
    log::{self, Log},
    schema::HeroTeams,
    store::{self, Db, seed},
};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The signal that ends a program which writes beyond the largest size of a file (`ulimit -f`), unless it is handled.
const SIGXFSZ: i32 = 25;

fn main() -> ExitCode {
    let log = match Log::start() {
        Ok(log) => log,
        Err(error) => {
            // Where nobody can be told, the status of the program has to do.
            let _ = writeln!(stderr(), "error: cannot start the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = match Config::read(Config::command()) {
        Ok(config) => {
            log::init(&log, &config.log, config.database.log_sql);
            start(config).map_err(|error| (ExitCode::FAILURE, format!("error: {error:#}")))
        }
        Err(error) if error.use_stderr() => Err((ExitCode::from(2), refusal(&error))),
        Err(help) => printed(help.print()).map_err(|error| (ExitCode::FAILURE, format!("error: {error:#}"))),
    };
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            // One line, with the causes behind it.
            log.line(&message.replace('\n', " "));
            code
        }
    };
    log.flush();
    code
}

/// What is wrong with the settings, without how to use the program.
fn refusal(error: &clap::Error) -> String {
    let text = error.to_string();
    let said = text.split("\n\n").take_while(|paragraph| !paragraph.starts_with("Usage:"));
    let said: Vec<_> = said.map(str::trim).filter(|paragraph| !paragraph.starts_with("For more")).collect();
    format!("{} (see --help)", said.join("; "))
}

fn start(config: Config) -> anyhow::Result<()> {
    let runtime = Runtime::new().context("cannot start")?;
    let result = runtime.block_on(run(config));
    // What has been cut off may still be at work on a thread.
    runtime.shutdown_background();
    result
}

async fn run(config: Config) -> anyhow::Result<()> {
    // A file that may not grow is an error then, as a full disk is.
    drop(signal(SignalKind::from_raw(SIGXFSZ)));
    match &config.command {
        None | Some(Command::Serve) => {
            let db = connect(&config.database).await?;
            hero_teams::serve::<HeroTeams>(db.clone(), &config.serve, &config.graphql).await?;
            close(db, &config).await
        }
        Some(Command::Migrate) => {
            let db = connect(&config.database).await?;
            db.migrate().await.context("cannot apply the migrations")?;
            close(db, &config).await
        }
        Some(Command::Seed) => {
            let db = connect(&config.database).await?;
            db.migrate().await.context("cannot apply the migrations")?;
            let heroes = seed::tutorial(&db).await.context("cannot load the tutorial's data")?;
            close(db, &config).await?;
            print(&format!("{heroes} heroes created\n"))
        }
        Some(Command::Schema) => print(&graphql::sdl::<HeroTeams>()),
    }
}

async fn connect(settings: &DatabaseSettings) -> anyhow::Result<Db> {
    Db::connect(&settings.store(store::migrations::<HeroTeams>())).await.context("cannot open the database")
}

async fn close(db: Db, config: &Config) -> anyhow::Result<()> {
    // A statement that nobody waits for any more must not keep the program from ending.
    if let Ok(closed) = tokio::time::timeout(config.serve.shutdown_timeout, db.close()).await {
        return closed.context("cannot close the database");
    }
    tracing::warn!("statements that were still running have been cut off");
    Ok(())
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
