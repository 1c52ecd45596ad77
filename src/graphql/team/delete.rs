use async_graphql::{ID, InputObject, Object, SimpleObject};

use super::Team;
use crate::graphql::{
    id::NodeType,
    mutation::Deleting,
    output::{List, ObjectFields, Output},
};

/// A team to delete.
#[derive(Debug, InputObject)]
pub struct DeleteTeamInput {
    /// The id of the team: global, such as `Team:1`, or the bare number.
    id: ID,
}

/// What `deleteTeam` gives.
#[derive(Debug, SimpleObject)]
pub struct DeleteTeamPayload {
    /// The team as it was, with its heroes as they were. Null when a field of it that cannot be null failed;
    /// it was deleted all the same.
    team: Option<Output<Team>>,
}

/// What `deleteTeams` gives.
#[derive(Debug, SimpleObject)]
pub struct DeleteTeamsPayload {
    /// The teams as they were, with their heroes as they were, in the order of the input. Null when a field of one that cannot be null
    /// failed; they were deleted all the same.
    teams: Option<List<Output<Team>>>,
}

#[derive(Debug, Default)]
pub struct TeamDeletion;

#[Object]
impl TeamDeletion {
    /// Deletes a team, together with its links; the heroes themselves stay. Null when nothing was deleted: the errors say what was
    /// wrong (`BAD_USER_INPUT`), or that it was not there (`NOT_FOUND`).
    async fn delete_team(
        &self,
        #[graphql(desc = "The team.")] input: DeleteTeamInput,
    ) -> Deleting<Team, Output<DeleteTeamPayload>> {
        Deleting::one(NodeType::Team, input.id, |team| Output(DeleteTeamPayload { team: Some(team) }))
    }

    /// Deletes teams, together with their links: all of them, or none. Null when nothing was deleted: the errors say what was
    /// wrong (`BAD_USER_INPUT`), or which were not there (`NOT_FOUND`).
    async fn delete_teams(
        &self,
        #[graphql(desc = "The teams, at most 1,000; one that comes twice counts once.")] input: Vec<DeleteTeamInput>,
    ) -> Deleting<Team, Output<DeleteTeamsPayload>> {
        let ids = input.into_iter().map(|input| input.id).collect();
        Deleting::many(NodeType::Team, ids, |teams| Output(DeleteTeamsPayload { teams: Some(teams) }))
    }
}

impl ObjectFields for DeleteTeamPayload {
    type Column = ();
    const IS_PAYLOAD: bool = true;
}

impl ObjectFields for DeleteTeamsPayload {
    type Column = ();
    const IS_PAYLOAD: bool = true;
}
