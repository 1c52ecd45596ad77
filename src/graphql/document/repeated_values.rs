//! How many values the arguments of an operation repeat.
//!
//! A value stands once in a document or in the variables, whose sizes are bounded, and is read wherever its variable or
//! its fragment is used. What is read so is counted before anything is done with it.

use std::{collections::HashMap, rc::Rc};

use apollo_compiler::{
    ExecutableDocument, Name,
    executable::{Operation, Selection, SelectionSet, Value},
};
use async_graphql::Variables;

/// How many characters of a text count as one value.
const CHARACTERS: usize = 64;

/// The values that the arguments of an operation repeat.
#[derive(Debug)]
pub struct RepeatedValues {
    /// Values in the text of fragments, beyond the first time that each is spread.
    in_fragments: usize,
    /// The variables that are used several times, and how often beyond the first time.
    variables: Vec<(Name, usize)>,
}

/// The values of a selection set, with fragments in the place of their spreads.
#[derive(Default)]
struct Values<'a> {
    written: usize,
    uses: HashMap<&'a Name, usize>,
}

struct Counting<'a> {
    document: &'a ExecutableDocument,
    fragments: HashMap<&'a Name, Rc<Values<'a>>>,
    /// The values that are written, each once.
    once: usize,
}

impl RepeatedValues {
    /// Those of an operation of a valid document.
    pub fn new(document: &ExecutableDocument, operation: &Operation) -> Self {
        let mut counting = Counting { document, fragments: HashMap::new(), once: 0 };
        let values = counting.selection_set(&operation.selection_set);
        let repeated = values.uses.into_iter().filter(|(_, uses)| *uses > 1);
        Self {
            in_fragments: values.written.saturating_sub(counting.once),
            variables: repeated.map(|(name, uses)| (name.clone(), uses - 1)).collect(),
        }
    }

    /// Their number, with the values of variables.
    pub fn count(&self, variables: &Variables) -> usize {
        let sent = |(name, uses): &(Name, usize)| {
            variables.get(name.as_str()).map_or(0, |value| values_of(value).saturating_mul(*uses))
        };
        self.variables.iter().map(sent).fold(self.in_fragments, usize::saturating_add)
    }
}

impl<'a> Counting<'a> {
    fn selection_set(&mut self, selection_set: &'a SelectionSet) -> Values<'a> {
        let mut values = Values::default();
        for selection in &selection_set.selections {
            match selection {
                Selection::Field(field) => {
                    let written = values.written;
                    field.arguments.iter().for_each(|argument| values.add_value(&argument.value));
                    self.once = self.once.saturating_add(values.written - written);
                    let below = self.selection_set(&field.selection_set);
                    values.add(&below);
                }
                Selection::InlineFragment(fragment) => {
                    let inner = self.selection_set(&fragment.selection_set);
                    values.add(&inner);
                }
                Selection::FragmentSpread(spread) => {
                    let inner = self.fragment(&spread.fragment_name);
                    values.add(&inner);
                }
            }
        }
        values
    }

    /// Each fragment is counted once.
    fn fragment(&mut self, name: &'a Name) -> Rc<Values<'a>> {
        if let Some(values) = self.fragments.get(name) {
            return Rc::clone(values);
        }
        let Some(fragment) = self.document.fragments.get(name) else { return Rc::default() };
        let values = Rc::new(self.selection_set(&fragment.selection_set));
        self.fragments.insert(name, Rc::clone(&values));
        values
    }
}

impl<'a> Values<'a> {
    fn add(&mut self, other: &Self) {
        self.written = self.written.saturating_add(other.written);
        for (name, uses) in &other.uses {
            let sum = self.uses.entry(name).or_default();
            *sum = sum.saturating_add(*uses);
        }
    }

    fn add_value(&mut self, value: &'a Value) {
        match value {
            Value::Variable(name) => *self.uses.entry(name).or_default() += 1,
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
            Value::String(text) => self.written += 1 + text.len() / CHARACTERS,
            _ => self.written += 1,
        }
    }
}

/// The number of values in one that was sent.
fn values_of(value: &async_graphql::Value) -> usize {
    match value {
        async_graphql::Value::List(entries) => 1 + entries.iter().map(values_of).sum::<usize>(),
        async_graphql::Value::Object(fields) => 1 + fields.values().map(values_of).sum::<usize>(),
        async_graphql::Value::String(text) => 1 + text.len() / CHARACTERS,
        _ => 1,
    }
}
