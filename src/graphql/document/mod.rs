//! Documents: parsed, measured, validated, and made ready to be executed.

mod canonical;
mod description;
mod executable;
mod id;
mod literals;
mod measure;
mod nulls;
mod operation;
mod repeated_values;
mod root;
mod row_estimate;
mod scopes;
mod siblings;
mod suggestion;
mod validate;
mod validation_errors;
mod validator;
mod values;

pub use self::{
    canonical::canonical,
    id::DocumentId,
    literals::without_literals,
    measure::{Shape, ensure_within},
    nulls::Nulls,
    operation::{Document, Operation, type_name},
    root::{RootFields, has_fields},
    validator::{Checked, Validator},
};
