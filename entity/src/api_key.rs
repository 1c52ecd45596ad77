//! An API key, without its secret.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    /// The part of the key that is no secret: eight letters or digits.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The SHA-256 of the key, in Base64.
    pub secret_hash: String,
    /// What it allows, with commas: `read,write`.
    pub scopes: String,
    /// In seconds since 1970 (UTC), as are the other times.
    pub created_at: i64,
    /// When it stops working. Null for never.
    pub expires_at: Option<i64>,
    /// When it was revoked. Null for not at all.
    pub revoked_at: Option<i64>,
    /// When it was used last, about to the minute. Null for never.
    pub last_used_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
