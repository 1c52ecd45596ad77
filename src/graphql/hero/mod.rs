//! Heroes as clients see them.

mod create;
mod delete;
mod list;
mod object;
mod query;
mod update;

use async_graphql::MergedObject;

use self::{create::HeroCreation, delete::HeroDeletion, update::HeroUpdate};
pub use self::{
    create::NewHeroInput,
    list::{HeroFilter, HeroListFilter, HeroOrder},
    object::Hero,
    query::HeroQuery,
};

/// Everything that can be written of heroes.
#[derive(Debug, Default, MergedObject)]
pub struct HeroMutation(HeroCreation, HeroUpdate, HeroDeletion);
