use std::process::ExitCode;

use clap::CommandFactory as _;
use hero_teams::{config::Config, schema::HeroTeams};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hero_teams::run::<HeroTeams>(Config::command())
}
