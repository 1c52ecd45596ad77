//! What the fuzz targets have in common: the server that they ask, and what must hold for every answer.

mod answer;
mod server;

pub use self::{
    answer::Answer,
    server::{ask, posted},
};
