//! Heroes as clients see them.

mod mutation;
mod object;
mod query;

pub use self::{
    mutation::{HeroMutation, NewHeroInput},
    object::Hero,
    query::HeroQuery,
};
