use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, text_null},
    sea_orm::DbBackend,
};

use crate::text::text;

/// Makes the table of the events: what each transaction has changed. `at` is in seconds since 1970 (UTC).
#[derive(Debug, DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let is_sqlite = manager.get_database_backend() == DbBackend::Sqlite;
        let mut event = Table::create().table("event").take();
        if is_sqlite {
            // SQLite has one writer, so its numbers are in the order of the commits. The latest event is never deleted,
            // so none comes again, and AUTOINCREMENT would only cost another row.
            event.col(ColumnDef::new("seq").integer().not_null().primary_key());
        } else {
            // The number of the transaction comes first: from it a reader knows whether an earlier one still runs.
            // That of the event only has to rise within a transaction, so each connection takes a hundred at once.
            event.col(ColumnDef::new("seq").big_integer().not_null().extra("GENERATED ALWAYS AS IDENTITY (CACHE 100)"));
            event.col(ColumnDef::new("xid").custom("xid8").not_null().default(Expr::cust("pg_current_xact_id()")));
            event.primary_key(Index::create().col("xid").col("seq"));
        }
        event.col(text(manager, "kind")).col(text(manager, "change"));
        event.col(big_integer_null("first_key")).col(big_integer_null("second_key")).col(text_null("fields"));
        let now = if is_sqlite { "(unixepoch())" } else { "floor(extract(epoch FROM clock_timestamp()))" };
        event.col(big_integer("at").default(Expr::cust(now)));
        manager.create_table(event).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("event").take()).await
    }
}
