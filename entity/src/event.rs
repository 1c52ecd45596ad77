//! An event: what a transaction has changed of one object or of one link.

use sea_orm::entity::prelude::*;

/// On PostgreSQL the table has the column `xid` as well, the number of the transaction, which the database sets. SeaORM
/// has no type for it, so it is named in SQL alone.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub struct Model {
    /// Given by the database. Within one transaction the order of what was done.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// The name of the table of the object, or of the link table.
    pub kind: String,
    /// What happened: `CREATED`, `UPDATED` or `DELETED` of an object, `LINKED`, `UNLINKED` or `REMOVED` of a link.
    pub change: String,
    /// The key of the object, or the first key of the link. Null when a link was removed from its other side.
    pub first_key: Option<i64>,
    /// The second key of the link. Null for an object, and when a link was removed from its other side.
    pub second_key: Option<i64>,
    /// The names of the columns that an update has changed, with commas.
    pub fields: Option<String>,
    /// When it was written, in seconds since 1970 (UTC).
    pub at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
