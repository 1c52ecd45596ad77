//! Objects by their global id (the Relay specification of object identification).

use std::borrow::Cow;

use async_graphql::{
    Context, ContextSelectionSet, ID, Interface, Object, OutputType, Positioned, ServerResult, Value,
    parser::types::Field, registry::Registry,
};

use super::{
    error::ApiError,
    hero::Hero,
    id::NodeType,
    input::Place,
    loaders::Loaders,
    output::{List, Nullable, Output},
    team::Team,
};

/// An object with a global id.
#[derive(Debug, Interface)]
#[graphql(field(
    name = "id",
    ty = "ID",
    desc = "The id, the same for as long as the object exists and never used again."
))]
pub enum Node {
    Hero(Hero),
    Team(Team),
}

/// A node in an answer.
#[derive(Debug)]
pub struct NodeOutput(NodeOfType);

#[derive(Debug)]
enum NodeOfType {
    Hero(Output<Hero>),
    Team(Output<Team>),
}

impl OutputType for NodeOutput {
    fn type_name() -> Cow<'static, str> {
        Node::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        Node::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        match &self.0 {
            NodeOfType::Hero(hero) => hero.resolve(ctx, field).await,
            NodeOfType::Team(team) => team.resolve(ctx, field).await,
        }
    }
}

#[derive(Debug, Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// The object with this global id; null when there is none. An id that is not global is refused with `BAD_USER_INPUT`.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A global id, such as `Hero:1`.")] id: ID,
    ) -> Nullable<NodeOutput> {
        load(ctx, &id, Place::argument("id")).await.into()
    }

    /// The objects with these global ids, in the same order, with null where there is none. An id that is not global is
    /// refused with `BAD_USER_INPUT`, and its place is null. Reads one statement for each type, however many ids there are.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global ids, such as `Hero:1`. At most 1,000.")] ids: Vec<ID>,
    ) -> Result<List<Nullable<NodeOutput>>, ApiError> {
        let place = Place::argument("ids");
        super::input::check_length(ids.len(), place)?;
        let nodes = ids.iter().enumerate().map(|(index, id)| load(ctx, id, place.entry(index)));
        Ok(async_graphql::futures_util::future::join_all(nodes).await.into_iter().map(Nullable::from).collect())
    }
}

async fn load(ctx: &Context<'_>, id: &ID, place: Place<'_>) -> Result<Option<NodeOutput>, ApiError> {
    let loaders = ctx.data_unchecked::<Loaders>();
    let node = match NodeType::of(id, place)? {
        (NodeType::Hero, key) => loaders.hero(key).await?.map(|row| NodeOfType::Hero(Output(Hero(row)))),
        (NodeType::Team, key) => loaders.team(key).await?.map(|row| NodeOfType::Team(Output(Team(row)))),
    };
    Ok(node.map(NodeOutput))
}
