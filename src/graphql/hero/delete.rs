use async_graphql::{ID, InputObject, Object, SimpleObject};

use super::Hero;
use crate::graphql::{
    id::NodeType,
    mutation::Deleting,
    output::{List, ObjectFields, Output},
};

/// A hero to delete.
#[derive(Debug, InputObject)]
pub struct DeleteHeroInput {
    /// The id of the hero: global, such as `Hero:1`, or the bare number.
    id: ID,
}

/// What `deleteHero` gives.
#[derive(Debug, SimpleObject)]
pub struct DeleteHeroPayload {
    /// The hero as it was, with its teams as they were. Null when a field of it that cannot be null failed;
    /// it was deleted all the same.
    hero: Option<Output<Hero>>,
}

/// What `deleteHeroes` gives.
#[derive(Debug, SimpleObject)]
pub struct DeleteHeroesPayload {
    /// The heroes as they were, with their teams as they were, in the order of the input. Null when a field of one that cannot be null
    /// failed; they were deleted all the same.
    heroes: Option<List<Output<Hero>>>,
}

#[derive(Debug, Default)]
pub struct HeroDeletion;

#[Object]
impl HeroDeletion {
    /// Deletes a hero, together with its links; the teams themselves stay. Null when nothing was deleted: the errors say what was
    /// wrong (`BAD_USER_INPUT`), or that it was not there (`NOT_FOUND`).
    async fn delete_hero(
        &self,
        #[graphql(desc = "The hero.")] input: DeleteHeroInput,
    ) -> Deleting<Hero, Output<DeleteHeroPayload>> {
        Deleting::one(NodeType::Hero, input.id, |hero| Output(DeleteHeroPayload { hero: Some(hero) }))
    }

    /// Deletes heroes, together with their links: all of them, or none. Null when nothing was deleted: the errors say what was
    /// wrong (`BAD_USER_INPUT`), or which were not there (`NOT_FOUND`).
    async fn delete_heroes(
        &self,
        #[graphql(desc = "The heroes, at most 1,000; one that comes twice counts once.")] input: Vec<DeleteHeroInput>,
    ) -> Deleting<Hero, Output<DeleteHeroesPayload>> {
        let ids = input.into_iter().map(|input| input.id).collect();
        Deleting::many(NodeType::Hero, ids, |heroes| Output(DeleteHeroesPayload { heroes: Some(heroes) }))
    }
}

impl ObjectFields for DeleteHeroPayload {
    type Column = ();
    const IS_PAYLOAD: bool = true;
}

impl ObjectFields for DeleteHeroesPayload {
    type Column = ();
    const IS_PAYLOAD: bool = true;
}
