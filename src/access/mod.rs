//! Who asks, and what they may do. It knows no GraphQL and no requests of clients; key sets come by `http_client`.

mod api_key;
mod authenticate;
mod credential;
mod principal;
mod token;

pub use self::{
    api_key::{ApiKeys, NewApiKey, time},
    authenticate::Access,
    credential::Credential,
    principal::{Principal, Unauthenticated},
    token::Tokens,
};
