//! The routes of the server, with the layers around them.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing,
};
use tokio::sync::Semaphore;

use super::{
    body::BodyLimits,
    endpoint::{self, Endpoint},
    health,
    layers::with_layers,
    playground, websocket,
};
use crate::{
    access::Access,
    config::{EventSettings, GraphQlSettings, Introspection, ServeSettings},
    db::Db,
    graphql::Schema,
    server::Lifetime,
};

/// What the routes are made of.
#[derive(Debug)]
pub struct Parts<'a> {
    pub db: Db,
    pub schema: Schema,
    pub access: Access,
    pub serve: &'a ServeSettings,
    pub graphql: &'a GraphQlSettings,
    pub events: &'a EventSettings,
    pub lifetime: &'a Lifetime,
}

/// All routes, and what is around them.
pub fn router(parts: Parts<'_>) -> Router {
    let (settings, telemetry) = (parts.serve, parts.db.telemetry().clone());
    with_layers(routes(parts), settings, telemetry)
}

fn routes(Parts { db, schema, access, serve, graphql, events, lifetime }: Parts<'_>) -> Router {
    let endpoint = Endpoint {
        schema,
        access,
        body: BodyLimits::new(serve),
        request_timeout: serve.request_timeout,
        permits: Semaphore::new(serve.max_requests.min(Semaphore::MAX_PERMITS)),
        max_batch: graphql.max_batch,
        sockets: Arc::new(Semaphore::new(events.max_sockets.min(Semaphore::MAX_PERMITS))),
        events: events.clone(),
        lifetime: lifetime.clone(),
        origins: serve.cors_origins.clone(),
        write_timeout: serve.write_timeout,
        telemetry: db.telemetry().clone(),
    };
    let graphql_route = routing::get(get).post(endpoint::post).connect(websocket::open);
    let mut router = Router::new().route("/graphql", graphql_route);
    if graphql.introspection() != Introspection::None {
        router = router.route("/schema.graphql", routing::get(endpoint::sdl));
    }
    router.with_state(Arc::new(endpoint)).merge(health::router(db)).merge(playground::router())
}

/// `GET /graphql`: a query, a subscription as a stream of events, or the beginning of a WebSocket.
async fn get(state: State<Arc<Endpoint>>, request: Request) -> Result<Response, Response> {
    if websocket::is_wanted(request.headers()) {
        Box::pin(websocket::open(state, request)).await
    } else {
        endpoint::get(state, request).await
    }
}
