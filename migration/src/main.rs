//! SeaORM's own command line for the migrations: `cargo run -p migration --features sqlite -- up|down|status`.

use sea_orm_migration::cli;

#[tokio::main]
async fn main() {
    Box::pin(cli::run_cli(migration::Migrator)).await;
}
