//! The API keys.

use std::time::Duration;

use entity::api_key::{ActiveModel, Column, Entity, Model};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _,
    sea_query::ExprTrait as _,
};

use crate::db::{Db, StoreError, Transaction, UnitOfWork};

/// All keys, from the oldest to the newest.
///
/// # Errors
///
/// When the database does not answer.
pub async fn all(db: &Db) -> Result<Vec<Model>, StoreError> {
    Ok(Entity::find().order_by_asc(Column::CreatedAt).order_by_asc(Column::Id).all(&db.read).await?)
}

/// Adds a key.
///
/// # Errors
///
/// When there is one with this id, or the database does not answer.
pub async fn insert(db: &Db, key: Model) -> Result<(), StoreError> {
    db.write(Write::Insert(key)).await.map(drop)
}

/// Notes that the key with this id is revoked. One that was revoked before stays so. Gives whether it exists.
///
/// # Errors
///
/// When the database does not answer.
pub async fn revoke(db: &Db, id: &str, now: i64) -> Result<bool, StoreError> {
    db.write(Write::Revoke(id.to_owned(), now)).await
}

/// Notes when the key with this id was used, unless that was noted within [`USE_INTERVAL`] before, which another server
/// may have done.
///
/// # Errors
///
/// When the database does not answer.
pub async fn note_use(db: &Db, id: &str, now: i64) -> Result<(), StoreError> {
    db.write(Write::NoteUse(id.to_owned(), now)).await.map(drop)
}

/// How often the use of a key is noted.
pub const USE_INTERVAL: Duration = Duration::from_mins(1);

enum Write {
    Insert(Model),
    Revoke(String, i64),
    NoteUse(String, i64),
}

impl UnitOfWork for Write {
    /// Whether there was such a key.
    type Output = bool;

    fn reads(&self) -> bool {
        false
    }

    async fn run(&self, txn: &Transaction, _attempt: u32) -> Result<bool, StoreError> {
        match self {
            Self::Insert(key) => {
                Entity::insert(key.clone().into_active_model()).exec_without_returning(txn).await?;
                Ok(true)
            }
            Self::Revoke(id, now) => {
                let revoked = ActiveModel { revoked_at: Set(Some(*now)), ..Default::default() };
                let is_it = Column::Id.eq(id).and(Column::RevokedAt.is_null());
                let update = Entity::update_many().set(revoked).filter(is_it);
                if update.exec(txn).await?.rows_affected > 0 {
                    return Ok(true);
                }
                Ok(Entity::find_by_id(id.clone()).one(txn).await?.is_some())
            }
            Self::NoteUse(id, now) => {
                let used = ActiveModel { last_used_at: Set(Some(*now)), ..Default::default() };
                let before = now.saturating_sub_unsigned(USE_INTERVAL.as_secs());
                let is_due = Column::LastUsedAt.is_null().or(Column::LastUsedAt.lte(before));
                let update = Entity::update_many().set(used).filter(Column::Id.eq(id).and(is_due));
                Ok(update.exec(txn).await?.rows_affected > 0)
            }
        }
    }
}
