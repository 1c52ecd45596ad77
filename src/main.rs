use std::{
    hint::black_box,
    io::{ErrorKind, Write as _, stderr, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::CommandFactory as _;
use hero_teams::{
    config::{Command, Config, DatabaseSettings},
    db::Db,
    graphql,
    log::{self, Log},
    schema::HeroTeams,
    store::{self, seed},
};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, timeout},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the allocator gets from the system as a piece of its own.
const LARGE: usize = 1024 * 1024;

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
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            // One line, with the causes behind it.
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
            tokio::spawn(give_memory_back());
            let db = connect(&config.database).await?;
            hero_teams::serve::<HeroTeams>(db.clone(), &config).await?;
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
    if let Ok(closed) = timeout(config.serve.shutdown_timeout, db.close()).await {
        return closed.context("cannot close the database");
    }
    tracing::warn!("statements that were still running have been cut off");
    Ok(())
}

/// Has the allocator give back to the system what was freed a second ago. It does so by itself when a piece is freed,
/// but a server that has answered everything frees none.
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
