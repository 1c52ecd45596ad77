//! JSON Web Tokens of an identity provider (RFC 7519).

mod claims;
mod crypto;
mod fetch;
mod key_set;
mod key_source;
mod keys;
mod settings;
mod verifier;

pub use self::verifier::Tokens;
