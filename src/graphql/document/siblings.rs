//! Whether fields of an operation ask for rows side by side.

use std::collections::HashMap;

use apollo_compiler::{
    ExecutableDocument, Name,
    executable::{Operation, Selection, SelectionSet},
};

/// A field that asks for each of its entries by itself.
const NODES: &str = "nodes";

/// Whether several fields of one level may ask for rows: those of all objects of a level are asked for together, so
/// that takes two fields with fields of their own. They share a statement when loaders wait for both.
pub fn has_siblings(document: &ExecutableDocument, operation: &Operation) -> bool {
    Walk { document, fragments: HashMap::new() }.selection_set(&operation.selection_set).is_none()
}

struct Walk<'a> {
    document: &'a ExecutableDocument,
    /// Each fragment is looked at once.
    fragments: HashMap<&'a Name, usize>,
}

impl<'a> Walk<'a> {
    /// The number of fields with fields of their own, with fragments in the place of their spreads. None when they are
    /// several, here or further down.
    fn selection_set(&mut self, selection_set: &'a SelectionSet) -> Option<usize> {
        let mut asking = 0;
        for selection in &selection_set.selections {
            asking += match selection {
                Selection::Field(field) if field.selection_set.selections.is_empty() => 0,
                Selection::Field(field) if field.name == NODES => return None,
                Selection::Field(field) => {
                    self.selection_set(&field.selection_set)?;
                    1
                }
                Selection::InlineFragment(fragment) => self.selection_set(&fragment.selection_set)?,
                Selection::FragmentSpread(spread) => self.fragment(&spread.fragment_name)?,
            };
        }
        (asking < 2).then_some(asking)
    }

    fn fragment(&mut self, name: &'a Name) -> Option<usize> {
        if let Some(asking) = self.fragments.get(name) {
            return Some(*asking);
        }
        let asking = self.selection_set(&self.document.fragments.get(name)?.selection_set)?;
        self.fragments.insert(name, asking);
        Some(asking)
    }
}
