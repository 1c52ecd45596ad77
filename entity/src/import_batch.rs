//! A batch of an import that was written: how far the import of a file has come.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "import_batch")]
pub struct Model {
    /// The SHA-256 of what the files hold, in Base64.
    #[sea_orm(primary_key, auto_increment = false)]
    pub file: String,
    /// The number of records of the files up to the end of the batch.
    #[sea_orm(primary_key, auto_increment = false)]
    pub records: i64,
    /// The keys of the objects of the batch, as JSON: for each run of ids the name of the entity, the first id in the
    /// file, the key that it has become, and how many there are.
    pub keys: String,
}

impl ActiveModelBehavior for ActiveModel {}
