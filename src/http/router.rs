use std::sync::Arc;

use axum::{Router, routing};
use tokio::sync::Semaphore;

use super::{
    body::BodyLimits,
    endpoint::{self, Endpoint},
    health,
    layers::around,
    playground,
};
use crate::{
    access::Access,
    config::{GraphQlSettings, Introspection, ServeSettings},
    db::Db,
    graphql::Schema,
};

/// All routes, and what is around them.
pub fn router(db: Db, schema: Schema, access: Access, settings: &ServeSettings, graphql: &GraphQlSettings) -> Router {
    around(routes(db, schema, access, settings, graphql), settings)
}

fn routes(db: Db, schema: Schema, access: Access, settings: &ServeSettings, graphql: &GraphQlSettings) -> Router {
    let endpoint = Endpoint {
        schema,
        access,
        body: BodyLimits::new(settings),
        request_timeout: settings.request_timeout,
        permits: Semaphore::new(settings.max_requests),
        max_batch: graphql.max_batch,
    };
    let mut router = Router::new().route("/graphql", routing::get(endpoint::get).post(endpoint::post));
    if graphql.introspection() != Introspection::None {
        router = router.route("/schema.graphql", routing::get(endpoint::sdl));
    }
    router.with_state(Arc::new(endpoint)).merge(health::router(db)).merge(playground::router())
}
