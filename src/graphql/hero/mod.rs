//! Heroes as clients see them.

mod list;
mod mutation;
mod object;
mod query;

pub use self::{
    list::{HeroFilter, HeroListFilter, HeroOrder},
    mutation::{HeroMutation, NewHeroInput},
    object::Hero,
    query::HeroQuery,
};
