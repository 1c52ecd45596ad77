//! What all mutations share: check the input, write in one transaction, forget what was read before.

use std::sync::Arc;

use async_graphql::Context;
use sea_orm::EntityTrait;

use super::{
    error::{ApiError, Code},
    id::NodeType,
    input::{Faults, Place},
    loaders::Loaders,
};
use crate::store::{Create, Creation, Db, NewRow, StoreError, Table};

/// An input object that creates a row with rows of the other side nested in it.
pub trait CreateInput {
    type Row: NewRow<Entity = <<Self::Related as NewRow>::Entity as Table>::Other>;
    type Related: NewRow;

    /// The field with the nested rows, and what is nested in it.
    const RELATED: (&'static str, NodeType);

    /// What is to be created, after noting what is wrong with it.
    fn check(self, place: Place<'_>, faults: &mut Faults) -> Create<Self::Row, Self::Related>;
}

type Model<N> = Arc<<<N as NewRow>::Entity as EntityTrait>::Model>;

/// Creates one row from the argument `input`.
pub async fn create_one<I: CreateInput>(ctx: &Context<'_>, input: I) -> Result<Model<I::Row>, Vec<ApiError>> {
    let place = Place::argument("input");
    let mut faults = Faults::default();
    let new = [input.check(place, &mut faults)];
    let mut rows = create(ctx, Arc::new(new), faults, |_| place, I::RELATED).await?;
    rows.pop().ok_or_else(|| vec![ApiError::new(Code::Internal, "the server created nothing")])
}

/// Creates rows from the list in the argument `input`.
pub async fn create_many<I: CreateInput>(
    ctx: &Context<'_>,
    input: Vec<I>,
) -> Result<Vec<Model<I::Row>>, Vec<ApiError>> {
    let place = Place::argument("input");
    let mut faults = Faults::default();
    let new = faults.list(input, place, |input, place, faults| Some(input.check(place, faults)));
    create(ctx, new.into(), faults, |index| place.entry(index), I::RELATED).await
}

async fn create<'p, N, R>(
    ctx: &Context<'_>,
    new: Arc<[Create<N, R>]>,
    mut faults: Faults,
    place: impl Fn(usize) -> Place<'p>,
    related: (&'static str, NodeType),
) -> Result<Vec<Model<N>>, Vec<ApiError>>
where
    N: NewRow<Entity = <R::Entity as Table>::Other>,
    R: NewRow,
{
    faults.check_objects(new.iter().map(objects).sum(), Place::argument("input"));
    faults.check()?;
    let result = ctx.data_unchecked::<Db>().write(Creation { new: Arc::clone(&new) }).await;
    match result {
        Ok(rows) => {
            ctx.data_unchecked::<Loaders>().clear().await;
            Ok(rows.into_iter().map(Arc::new).collect())
        }
        Err(StoreError::NotFound(missing)) => Err(not_found(&new, &missing, place, related)),
        Err(error) => Err(vec![error.into()]),
    }
}

/// The objects that an input names: the one to create, and those that are nested in it.
fn objects<N, R>(new: &Create<N, R>) -> usize {
    1 + new.related.create.len() + new.related.connect.len() + new.related.connect_or_create.len()
}

/// An error for each place that names one of the missing keys.
fn not_found<'p, N, R>(
    new: &[Create<N, R>],
    missing: &[i64],
    place: impl Fn(usize) -> Place<'p>,
    related: (&'static str, NodeType),
) -> Vec<ApiError> {
    let (field, node) = related;
    let mut errors = Vec::new();
    for (index, new) in new.iter().enumerate() {
        let place = place(index);
        let place = place.field(field);
        let place = place.field("connect");
        for (index, key) in new.related.connect.iter().enumerate() {
            if missing.contains(key) {
                errors.push(
                    place.entry(index).fault(
                        Code::NotFound,
                        format!("there is no {} with the id \"{}\"", node.name(), *node.id(*key)),
                    ),
                );
            }
        }
    }
    errors
}
