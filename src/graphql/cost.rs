//! The cost of a request: what the limits measure, and how much of each it has taken.

use serde::Serialize;

use super::{answer::Bounds, document::Shape};
use crate::{config::Limits, db::Usage};

/// What a client wants to know of the cost of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostReport {
    /// What it has cost.
    Report,
    /// What it would cost. It is not executed.
    Validate,
}

impl CostReport {
    /// What a client asks for by this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "report" => Some(Self::Report),
            "validate" => Some(Self::Validate),
            _ => None,
        }
    }
}

/// What a request costs, for its client.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    tokens: Measure,
    depth: Measure,
    fields: Measure,
    aliases: Measure,
    directives: Measure,
    root_fields: Measure,
    estimated_rows: Measure,
    /// What follows is known of what was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Measure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Measure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statements: Option<u32>,
}

/// What was measured, and the limit.
#[derive(Clone, Copy, Debug, Serialize)]
struct Measure {
    cost: u64,
    limit: u64,
}

impl Measure {
    fn new(cost: usize, limit: usize) -> Self {
        Self { cost: cost as u64, limit: limit as u64 }
    }
}

impl Cost {
    /// What a document costs, before it is executed.
    #[must_use]
    pub fn new(limits: &Limits, tokens: usize, shape: &Shape, estimated_rows: u64) -> Self {
        let Limits { max_tokens, max_depth, max_fields, max_aliases, max_directives, max_root_fields, .. } = *limits;
        Self {
            tokens: Measure::new(tokens, max_tokens),
            depth: Measure::new(shape.depth, max_depth),
            fields: Measure::new(shape.fields, max_fields),
            aliases: Measure::new(shape.aliases, max_aliases),
            directives: Measure::new(shape.directives, max_directives),
            root_fields: Measure::new(shape.root_fields, max_root_fields),
            estimated_rows: Measure { cost: estimated_rows, limit: limits.max_rows as u64 },
            rows: None,
            bytes: None,
            statements: None,
        }
    }

    /// The same, with what the execution has taken.
    #[must_use]
    pub fn executed(self, limits: &Limits, bounds: &Bounds, usage: Usage) -> Self {
        let (rows, bytes) = bounds.taken();
        Self {
            rows: Some(Measure::new(rows, limits.max_rows)),
            bytes: Some(Measure::new(bytes, limits.max_answer_bytes)),
            statements: Some(usage.statements),
            ..self
        }
    }
}
