use sea_orm_migration::{prelude::*, schema::text as any_text, sea_orm::DbBackend};

/// A column of text that is compared by the code points of its characters on both databases, whatever the locale.
#[must_use]
pub fn text(manager: &SchemaManager, name: &'static str) -> ColumnDef {
    let mut column = any_text(name);
    // SQLite compares the bytes of UTF-8 as it is. On PostgreSQL this is the collation that does so.
    if manager.get_database_backend() == DbBackend::Postgres {
        column.extra("COLLATE \"C\"");
    }
    column
}
