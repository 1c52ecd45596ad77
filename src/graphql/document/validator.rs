//! What makes valid documents of texts.

use std::sync::Arc;

use async_graphql::ServerError;

use super::{
    measure::ensure_within,
    operation::{Document, locate},
    validate,
};
use crate::{
    config::{GraphQlSettings, Introspection, Limits},
    graphql::{definition::Definition, error::ApiError},
    telemetry::Telemetry,
};

/// What makes valid documents of texts.
pub struct Validator {
    definition: Arc<Definition>,
    pub limits: Limits,
    suggest: bool,
    telemetry: Telemetry,
}

/// What has become of the text of a document: faults are as good to keep as a document without them.
pub type Checked = Result<Arc<Document>, Arc<[ServerError]>>;

impl Validator {
    /// Validates against a schema, within the limits of the settings.
    #[must_use]
    pub fn new(definition: Arc<Definition>, settings: &GraphQlSettings, telemetry: Telemetry) -> Self {
        Self {
            definition,
            limits: settings.limits.clone(),
            // They tell names of the schema.
            suggest: !settings.no_suggestions && settings.introspection() == Introspection::All,
            telemetry,
        }
    }

    /// A document.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn validated(&self, text: Arc<str>) -> Checked {
        self.prepared(text, false)
    }

    /// A document that is to be trusted.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn trusted(&self, text: &str) -> Checked {
        let document = self.prepared(Arc::from(text), true)?;
        for rows in document.constant_rows() {
            self.check_rows(rows).map_err(|error| Arc::from([error.at(None)]))?;
        }
        Ok(document)
    }

    fn prepared(&self, text: Arc<str>, is_trusted: bool) -> Checked {
        match validate::checked(&text, &self.definition.schema, &self.limits, self.suggest) {
            Ok(checked) => {
                let Self { definition, telemetry, limits, .. } = self;
                Ok(Arc::new(Document::new((definition, telemetry), limits.max_tokens, text, checked, is_trusted)))
            }
            Err(mut faults) => {
                locate(&text, &mut faults);
                Err(faults.into())
            }
        }
    }

    /// Checks how many rows an operation may answer with, now that its variables are known.
    ///
    /// # Errors
    ///
    /// `QUERY_TOO_COMPLEX` with the estimated and the allowed value.
    pub fn check_rows(&self, estimated_rows: u64) -> Result<(), ApiError> {
        let rows = usize::try_from(estimated_rows).unwrap_or(usize::MAX);
        ensure_within("rows, as estimated,", rows, self.limits.max_rows)
    }
}
