//! What an operation would cost by its shape, measured before it is validated and in linear time: each fragment is
//! measured once, however often it is spread. Replacing spreads by fragments instead takes exponential time, for which
//! a few hundred bytes are enough.

use std::{collections::HashMap, rc::Rc};

use apollo_compiler::{
    Name,
    ast::{Definition, Document, FragmentDefinition, OperationDefinition, Selection},
};

use crate::{
    config::Limits,
    graphql::error::{ApiError, Code},
};

/// The greatest number of operations in one document. Validation takes time for each pair of an operation and a
/// fragment.
const MAX_OPERATIONS: usize = 100;

/// The greatest depth of fragments in fragments, so that nothing which walks them goes too deep.
const MAX_FRAGMENTS_IN_FRAGMENTS: usize = 50;

/// The greatest length of a name that a client chooses: of an operation, a variable, or an alias. Each error repeats
/// the names on its path.
const MAX_NAME: usize = 1_000;

/// The shape of an operation, as the limits measure it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// Fields in fields.
    pub depth: usize,
    pub fields: usize,
    /// The most often that a field is selected of one object.
    pub aliases: usize,
    pub directives: usize,
    pub root_fields: usize,
    /// The characters of the names that its fields have in an answer.
    pub names: usize,
}

/// The measures of a selection set, with fragments in the place of their spreads.
#[derive(Default)]
struct Measures<'a> {
    /// Fields in fields.
    depth: usize,
    fields: usize,
    names: usize,
    /// Fragments in fragments.
    fragments: usize,
    directives: usize,
    /// How often each field is selected of the same object.
    selected: HashMap<&'a Name, usize>,
    /// The most often that a field is selected of one object, here or further down.
    aliases: usize,
}

struct Measuring<'a> {
    fragments: HashMap<&'a Name, &'a FragmentDefinition>,
    measured: HashMap<&'a Name, Rc<Measures<'a>>>,
    limits: &'a Limits,
    /// Whether there are too many fields already. Then nobody will ask for the aliases, whose bookkeeping is what costs
    /// most.
    too_many: bool,
    /// The length of the longest alias.
    longest_alias: usize,
    /// In how many fragments the walk is, and the most that it has been in.
    inside: usize,
    most_inside: usize,
}

/// Measures each operation of a document, in their order.
///
/// # Errors
///
/// `QUERY_TOO_COMPLEX` with the name of the limit, and the measured and the allowed value.
pub fn measure(document: &Document, limits: &Limits) -> Result<Vec<Shape>, ApiError> {
    let mut fragments = HashMap::new();
    let mut operations = Vec::new();
    for definition in &document.definitions {
        match definition {
            Definition::FragmentDefinition(fragment) => {
                fragments.insert(&fragment.name, &**fragment);
            }
            Definition::OperationDefinition(operation) => operations.push(&**operation),
            // What else there may be is for the validation to refuse.
            _ => {}
        }
    }
    ensure_within("operations", operations.len(), MAX_OPERATIONS)?;
    let mut measuring = Measuring {
        fragments,
        measured: HashMap::new(),
        limits,
        too_many: false,
        longest_alias: 0,
        inside: 0,
        most_inside: 0,
    };
    operations.into_iter().map(|operation| measuring.measure(operation)).collect()
}

impl<'a> Measuring<'a> {
    fn measure(&mut self, operation: &'a OperationDefinition) -> Result<Shape, ApiError> {
        let measures = self.selection_set(&operation.selection_set);
        let variables = operation.variables.iter().map(|variable| &variable.name);
        let names = operation.name.iter().chain(variables).map(Name::len);
        let longest_name = names.fold(self.longest_alias, usize::max);
        let shape = Shape {
            depth: measures.depth,
            fields: measures.fields,
            aliases: measures.aliases,
            directives: measures.directives + operation.directives.len(),
            root_fields: measures.selected.values().sum(),
            names: measures.names,
        };
        let Limits { max_depth, max_fields, max_aliases, max_directives, max_root_fields, .. } = *self.limits;
        ensure_within("fragments in fragments", measures.fragments.max(self.most_inside), MAX_FRAGMENTS_IN_FRAGMENTS)?;
        ensure_within("characters of a name", longest_name, MAX_NAME)?;
        ensure_within("fields in fields", shape.depth, max_depth)?;
        ensure_within("fields", shape.fields, max_fields)?;
        ensure_within("selections of one field of an object", shape.aliases, max_aliases)?;
        ensure_within("directives", shape.directives, max_directives)?;
        ensure_within("root fields", shape.root_fields, max_root_fields)?;
        Ok(shape)
    }

    fn selection_set(&mut self, selections: &'a [Selection]) -> Measures<'a> {
        let mut measures = Measures::default();
        for selection in selections {
            self.add(&mut measures, selection);
        }
        measures.aliases = measures.aliases.max(measures.selected.values().copied().max().unwrap_or(0));
        measures
    }

    fn add(&mut self, measures: &mut Measures<'a>, selection: &'a Selection) {
        match selection {
            Selection::Field(field) => {
                let inner = self.selection_set(&field.selection_set);
                self.longest_alias = self.longest_alias.max(field.alias.as_ref().map_or(0, Name::len));
                measures.depth = measures.depth.max(inner.depth + 1);
                measures.fields = measures.fields.saturating_add(inner.fields).saturating_add(1);
                let name = field.alias.as_ref().unwrap_or(&field.name).len();
                measures.names = measures.names.saturating_add(inner.names).saturating_add(name);
                measures.add_directives(&inner, field.directives.len());
                measures.aliases = measures.aliases.max(inner.aliases);
                measures.fragments = measures.fragments.max(inner.fragments);
                *measures.selected.entry(&field.name).or_default() += 1;
            }
            Selection::InlineFragment(fragment) => {
                let inner = self.selection_set(&fragment.selection_set);
                self.merge(measures, &inner, fragment.directives.len());
            }
            Selection::FragmentSpread(spread) => {
                let inner = self.fragment(&spread.fragment_name);
                self.merge(measures, &inner, spread.directives.len());
            }
        }
        self.too_many |= measures.fields > self.limits.max_fields;
    }

    fn merge(&self, measures: &mut Measures<'a>, inner: &Measures<'a>, directives: usize) {
        measures.depth = measures.depth.max(inner.depth);
        measures.fragments = measures.fragments.max(inner.fragments);
        measures.fields = measures.fields.saturating_add(inner.fields);
        measures.names = measures.names.saturating_add(inner.names);
        measures.add_directives(inner, directives);
        measures.aliases = measures.aliases.max(inner.aliases);
        if !self.too_many {
            for (name, times) in &inner.selected {
                *measures.selected.entry(name).or_default() += times;
            }
        }
    }

    fn fragment(&mut self, name: &'a Name) -> Rc<Measures<'a>> {
        if let Some(measures) = self.measured.get(name) {
            return Rc::clone(measures);
        }
        let Some(fragment) = self.fragments.get(name) else { return Rc::default() };
        self.most_inside = self.most_inside.max(self.inside + 1);
        if self.inside == MAX_FRAGMENTS_IN_FRAGMENTS {
            return Rc::default();
        }
        // A fragment in itself is for the validation to refuse.
        self.measured.insert(name, Rc::default());
        self.inside += 1;
        let mut measures = self.selection_set(&fragment.selection_set);
        self.inside -= 1;
        measures.fragments += 1;
        let measures = Rc::new(measures);
        self.measured.insert(name, Rc::clone(&measures));
        measures
    }
}

impl Measures<'_> {
    fn add_directives(&mut self, inner: &Self, own: usize) {
        self.directives = self.directives.saturating_add(inner.directives).saturating_add(own);
    }
}

/// Checks a measure of a document.
///
/// # Errors
///
/// `QUERY_TOO_COMPLEX` with the name of the limit, and the measured and the allowed value.
pub fn ensure_within(what: &str, measured: usize, allowed: usize) -> Result<(), ApiError> {
    if measured > allowed {
        let message = format!("the {what} number {measured}; at most {allowed} are allowed");
        return Err(ApiError::new(Code::QueryTooComplex, message));
    }
    Ok(())
}
