use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use clap::Parser as _;
use hero_teams::{
    config::{Command, Config},
    graphql, log,
    schema::{HeroTeams, Migrator},
    store::{Db, seed},
};

use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match Config::try_parse() {
        Ok(config) => config,
        Err(error) if error.use_stderr() => {
            // The first line says what is wrong; the rest would be how to use the program.
            let error = error.to_string();
            eprintln!("{} (see --help)", error.lines().next().unwrap_or_default());
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    let result = Runtime::new().context("cannot start").and_then(|runtime| {
        let result = runtime.block_on(run(config));
        // What has been cut off may still be at work on a thread.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, with the causes behind it.
            eprintln!("error: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    log::init(&config.log, config.database.log_sql);
    let command = config.command.unwrap_or(Command::Serve);
    if let Command::Schema = command {
        return Ok(std::io::stdout().write_all(graphql::sdl::<HeroTeams>().as_bytes())?);
    }

    let db = Db::connect(&config.database.store()).await.context("cannot open the database")?;
    match command {
        Command::Serve => hero_teams::serve::<HeroTeams>(db.clone(), &config.serve, &config.graphql).await?,
        Command::Migrate => db.migrate::<Migrator>().await.context("cannot apply the migrations")?,
        Command::Seed => {
            db.migrate::<Migrator>().await.context("cannot apply the migrations")?;
            let heroes = seed::tutorial(&db).await.map_err(|error| anyhow::anyhow!("cannot seed: {error:?}"))?;
            writeln!(std::io::stdout(), "{heroes} heroes created")?;
        }
        Command::Schema => {}
    }
    // A statement that nobody waits for any more must not keep the program from ending.
    if let Ok(closed) = tokio::time::timeout(config.serve.shutdown_timeout, db.close()).await {
        return closed.context("cannot close the database");
    }
    tracing::warn!("statements that were still running have been cut off");
    Ok(())
}
