//! Teams as clients see them.

mod list;
mod mutation;
mod object;
mod query;

pub use self::{
    list::{TeamFilter, TeamListFilter, TeamOrder},
    mutation::{NewTeamInput, TeamMutation},
    object::Team,
    query::TeamQuery,
};
