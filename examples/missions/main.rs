//! Heroes, teams and missions: `cargo run --example missions`. The page docs/extending.md leads through it.

mod entities;
mod migration;
mod schema;

use clap::{CommandFactory as _, FromArgMatches as _};
use hero_teams::{config::Config, log, store::Db};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // It has tables of its own, so it has a file of its own.
    let command = Config::command().mut_arg("database_url", |url| url.default_value("sqlite://missions.db"));
    let config = Config::from_arg_matches(&command.get_matches())?;
    log::init(&config.log, config.database.log_sql);
    let db = Db::connect(&config.database.store()).await?;
    hero_teams::serve::<schema::Missions>(db.clone(), &config.serve, &config.graphql).await?;
    Ok(db.close().await?)
}
