//! Teams as clients see them.

mod create;
mod delete;
mod list;
mod object;
mod query;
mod update;

use async_graphql::MergedObject;

pub use self::{
    create::NewTeamInput,
    list::{TeamFilter, TeamListFilter, TeamOrder},
    object::Team,
    query::TeamQuery,
};
use self::{create::TeamCreation, delete::TeamDeletion, update::TeamUpdate};

/// Everything that can be written of teams.
#[derive(Debug, Default, MergedObject)]
pub struct TeamMutation(TeamCreation, TeamUpdate, TeamDeletion);
