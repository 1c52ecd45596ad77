//! Heroes, teams and missions: `cargo run --example missions`. The page docs/extending.md leads through it.

mod entities;
mod migration;
mod schema;

use std::process::ExitCode;

use clap::CommandFactory as _;
use hero_teams::config::Config;

fn main() -> ExitCode {
    // It has tables of its own, so it has a file of its own.
    let command = Config::command().mut_arg("database_url", |url| url.default_value("sqlite://missions.db"));
    let command = command.name("missions").about("A GraphQL server for heroes, teams and missions");
    hero_teams::run::<schema::Missions>(command.mut_subcommand("seed", |seed| seed.hide(true)))
}
