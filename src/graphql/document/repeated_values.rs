//! How many values the arguments of an operation repeat.
//!
//! A value stands once in a document or in the variables, whose sizes are bounded, and is read wherever its variable or
//! its fragment is used. What is read so is counted before anything is done with it, in linear time: each fragment is
//! looked at once, however often it is spread.

use std::collections::{HashMap, HashSet};

use apollo_compiler::{
    ExecutableDocument, Name,
    executable::{Operation, Selection, SelectionSet, Value},
};
use async_graphql::Variables;

/// A text or a number counts as one value, and as one more for each of so many bytes.
const BYTES: usize = 64;

/// The values that the arguments of an operation repeat.
#[derive(Debug)]
pub struct RepeatedValues {
    /// Values in the text of fragments, beyond the first time that each is spread.
    in_fragments: usize,
    /// The variables that are used several times, and how often beyond the first time.
    variables: Vec<(Name, usize)>,
}

/// What stands in an operation or a fragment, without the fragments that it spreads.
#[derive(Default)]
struct Part<'a> {
    /// Values that are written there.
    written: usize,
    /// How often each variable and each fragment is used.
    variables: HashMap<&'a Name, usize>,
    spreads: HashMap<&'a Name, usize>,
}

impl RepeatedValues {
    /// Those of an operation of a valid document.
    pub fn new(document: &ExecutableDocument, operation: &Operation) -> Self {
        let mut parts = Vec::new();
        add_parts(document, None, &operation.selection_set, &mut HashSet::new(), &mut parts);
        let (mut in_fragments, mut variables, mut spreads) = (0_usize, HashMap::new(), HashMap::new());
        // What spreads a fragment comes before it, so how often it is spread is known by then.
        for (name, part) in parts.into_iter().rev() {
            let times: usize = name.map_or(1, |name| spreads.get(name).copied().unwrap_or(0));
            in_fragments = in_fragments.saturating_add(part.written.saturating_mul(times.saturating_sub(1)));
            add_all(&mut variables, part.variables, times);
            add_all(&mut spreads, part.spreads, times);
        }
        let repeated = variables.into_iter().filter(|(_, uses)| *uses > 1);
        Self { in_fragments, variables: repeated.map(|(name, uses)| (name.clone(), uses - 1)).collect() }
    }

    /// Their number, with the values of variables.
    pub fn count(&self, variables: &Variables) -> usize {
        let sent = |(name, uses): &(Name, usize)| {
            variables.get(name.as_str()).map_or(0, |value| values_of(value).saturating_mul(*uses))
        };
        self.variables.iter().map(sent).fold(self.in_fragments, usize::saturating_add)
    }
}

/// Adds a selection set, which is that of a fragment if it has a name, after all fragments that it spreads.
fn add_parts<'a>(
    document: &'a ExecutableDocument,
    name: Option<&'a Name>,
    selection_set: &'a SelectionSet,
    seen: &mut HashSet<&'a Name>,
    parts: &mut Vec<(Option<&'a Name>, Part<'a>)>,
) {
    let mut part = Part::default();
    part.add(selection_set);
    for fragment in part.spreads.keys().copied() {
        if let (true, Some(definition)) = (seen.insert(fragment), document.fragments.get(fragment)) {
            add_parts(document, Some(fragment), &definition.selection_set, seen, parts);
        }
    }
    parts.push((name, part));
}

fn add_all<'a>(sums: &mut HashMap<&'a Name, usize>, numbers: HashMap<&'a Name, usize>, times: usize) {
    for (name, number) in numbers {
        let sum = sums.entry(name).or_default();
        *sum = sum.saturating_add(number.saturating_mul(times));
    }
}

impl<'a> Part<'a> {
    fn add(&mut self, selection_set: &'a SelectionSet) {
        for selection in &selection_set.selections {
            match selection {
                Selection::Field(field) => {
                    for argument in &field.arguments {
                        self.add_value(&argument.value);
                    }
                    self.add(&field.selection_set);
                }
                Selection::InlineFragment(fragment) => self.add(&fragment.selection_set),
                Selection::FragmentSpread(spread) => *self.spreads.entry(&spread.fragment_name).or_default() += 1,
            }
        }
    }

    fn add_value(&mut self, value: &'a Value) {
        match value {
            Value::Variable(name) => *self.variables.entry(name).or_default() += 1,
            Value::List(entries) => {
                self.written += 1;
                for entry in entries {
                    self.add_value(entry);
                }
            }
            Value::Object(fields) => {
                self.written += 1;
                for (_, field) in fields {
                    self.add_value(field);
                }
            }
            Value::String(text) => self.written += 1 + text.len() / BYTES,
            // An id may be written as a number of any length.
            Value::Int(number) => self.written += 1 + number.as_str().len() / BYTES,
            Value::Float(number) => self.written += 1 + number.as_str().len() / BYTES,
            _ => self.written += 1,
        }
    }
}

/// The number of values in one that was sent.
fn values_of(value: &async_graphql::Value) -> usize {
    match value {
        async_graphql::Value::List(entries) => 1 + entries.iter().map(values_of).sum::<usize>(),
        async_graphql::Value::Object(fields) => 1 + fields.values().map(values_of).sum::<usize>(),
        async_graphql::Value::String(text) => 1 + text.len() / BYTES,
        _ => 1,
    }
}
