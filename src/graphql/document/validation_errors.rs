//! The faults of a document, as they are reported.

use apollo_compiler::parser::SourceSpan;
use async_graphql::{Pos, ServerError, indexmap::IndexMap};

use crate::graphql::error::{ApiError, Code, shortened};

/// The greatest number of faults that are reported.
const MAX_FAULTS: usize = 20;
/// The greatest number of places of one fault that are reported.
const MAX_PLACES: usize = 20;

/// The faults of a document by their messages. One that only repeats itself is one, with several places.
#[derive(Debug, Default)]
pub struct ValidationErrors(IndexMap<String, Vec<usize>>);

impl ValidationErrors {
    /// Notes a fault at a place.
    pub fn note(&mut self, message: impl Into<String>, location: Option<SourceSpan>) {
        self.note_at(message, location.map(|location| location.offset()));
    }

    /// Notes a fault at offsets in the text.
    pub fn note_at(&mut self, message: impl Into<String>, offsets: impl IntoIterator<Item = usize>) {
        self.0.entry(message.into()).or_default().extend(offsets);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first faults in the order of the text, and how many more there are.
    #[must_use]
    pub fn into_errors(mut self) -> Vec<ServerError> {
        for places in self.0.values_mut() {
            places.sort_unstable();
            places.dedup();
        }
        self.0.sort_by(|_, one, _, other| one.first().cmp(&other.first()));
        let more = self.0.len().saturating_sub(MAX_FAULTS);
        let mut errors: Vec<_> = self
            .0
            .into_iter()
            .take(MAX_FAULTS)
            .map(|(message, places)| {
                let error = ApiError::new(Code::BadUserInput, shortened(message)).at(None);
                let locations = places.into_iter().take(MAX_PLACES).map(|offset| Pos { line: 0, column: offset });
                ServerError { locations: locations.collect(), ..error }
            })
            .collect();
        errors
            .extend((more > 0).then(|| ApiError::new(Code::BadUserInput, format!("and {more} more faults")).at(None)));
        errors
    }
}
