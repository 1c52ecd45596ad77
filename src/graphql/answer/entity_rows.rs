//! Objects of an entity: their columns, and their relations.

use std::{borrow::Cow, sync::Arc};

use async_graphql::Context;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, ready},
};

use super::{
    Json,
    connection::connections,
    fields::{Answered, Objects},
    json::JsonColumn,
    list::{answer_pages, counts, pages},
};
use crate::{
    graphql::{loaders::Source, types::write_id},
    schema::Entity,
    store::{Page, Row},
};

/// Objects of an entity.
#[derive(Debug)]
pub struct EntityRows<'a> {
    /// What they are.
    pub entity: &'static Entity,
    /// Their rows.
    pub rows: Vec<&'a Row>,
}

impl<'a> EntityRows<'a> {
    /// Those of several pages.
    pub fn of_pages(entity: &'static Entity, pages: &'a [Arc<Page>]) -> Self {
        Self { entity, rows: pages.iter().flat_map(|page| &page.rows).collect() }
    }
}

impl Objects for EntityRows<'_> {
    fn type_name(&self) -> Cow<'_, str> {
        self.entity.name.into()
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn is_node(&self) -> bool {
        true
    }

    fn scalar(&self, field: &str) -> Option<usize> {
        self.entity.all_columns().position(|column| column.field == field)
    }

    fn write(&self, object: usize, scalar: usize, json: &mut Json) {
        let row = self.rows[object];
        if scalar == 0 {
            write_id(self.entity, json, |key| row.write_json(0, key));
        } else {
            row.write_json(scalar, json.bytes());
        }
    }

    fn answer<'a>(&'a self, ctx: &'a Context<'_>) -> BoxFuture<'a, Answered> {
        let name = ctx.item.node.name.node.as_str();
        let keys = || self.rows.iter().map(|row| row.key()).collect();
        for relation in self.entity.relations {
            let source = Source::Related(relation);
            if name == relation.field {
                return lists(ctx, source, keys()).boxed();
            }
            if name == relation.count {
                return counts(ctx, source, keys()).boxed();
            }
            if name.strip_suffix("Connection") == Some(relation.field) {
                return connections(ctx, self.entity.name, source, keys()).boxed();
            }
        }
        // Validation has refused all other names.
        ready(Ok(JsonColumn::default())).boxed()
    }
}

/// The plain lists of a field, for many parents.
pub async fn lists(ctx: &Context<'_>, source: Source, parents: Arc<[i64]>) -> Answered {
    let pages = pages(ctx, source, parents).await?;
    answer_pages(ctx, &pages, |pages| EntityRows::of_pages(source.entity(), pages)).await
}
