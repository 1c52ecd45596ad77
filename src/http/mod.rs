//! One request: routes, what is around them, and how a request is read and answered.

mod body;
mod client;
mod coding;
mod cors;
mod credential;
mod endpoint;
mod event_stream;
mod headers;
mod health;
mod host;
mod layers;
mod log;
mod media_type;
mod metrics;
mod observed;
mod params;
mod playground;
mod refusal;
mod router;
mod server_timing;
mod session;
mod websocket;

pub use self::{
    body::{BodyError, BodyLimits, read_body},
    health::READY,
    layers::with_layers,
    log::Measured,
    metrics::{Sources, router as metrics_router},
    refusal::refusal,
    router::{Parts, router},
};
