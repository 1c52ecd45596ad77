//! Heroes, teams and missions: `cargo run --example missions`. The page docs/extending.md leads through it.

mod entities;
mod migration;
mod schema;

use clap::CommandFactory as _;
use hero_teams::{
    config::Config,
    db::Db,
    log::{self, Log},
    store,
    telemetry::Telemetry,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // It has tables of its own, so it has a file of its own.
    let command = Config::command().mut_arg("database_url", |url| url.default_value("sqlite://missions.db"));
    let config = Config::read(command).unwrap_or_else(|error| error.exit());
    log::init(&Log::start()?, &config.log, config.database.log_sql);
    let db = Db::connect(
        &config.database.store(store::migrations::<schema::Missions>(), Telemetry::new(&config.telemetry)?),
    )
    .await?;
    hero_teams::serve::<schema::Missions>(db.clone(), &config).await?;
    Ok(db.close().await?)
}
