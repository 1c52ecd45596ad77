//! Teams as clients see them.

mod mutation;
mod object;
mod query;

pub use self::{
    mutation::{NewTeamInput, TeamMutation},
    object::Team,
    query::TeamQuery,
};
