//! A document without its literals, for those who watch.

use apollo_compiler::{
    ExecutableDocument, Name, Node,
    executable::{DirectiveList, Operation, Selection, SelectionSet, Value},
};

/// The text of a document with `?` for each literal. Descriptions are left out.
pub fn without_literals(document: &ExecutableDocument) -> String {
    let mut document = document.clone();
    let operations = document.operations.anonymous.iter_mut().chain(document.operations.named.values_mut());
    for operation in operations {
        mask_operation(operation.make_mut());
    }
    for fragment in document.fragments.values_mut() {
        let fragment = fragment.make_mut();
        mask_directives(&mut fragment.directives);
        mask_selections(&mut fragment.selection_set);
    }
    document.to_string()
}

fn mask_operation(operation: &mut Operation) {
    for variable in &mut operation.variables {
        let variable = variable.make_mut();
        variable.default_value.iter_mut().for_each(mask);
        mask_directives(&mut variable.directives);
    }
    mask_directives(&mut operation.directives);
    mask_selections(&mut operation.selection_set);
}

fn mask_selections(selections: &mut SelectionSet) {
    for selection in &mut selections.selections {
        match selection {
            Selection::Field(field) => {
                let field = field.make_mut();
                field.arguments.iter_mut().for_each(|argument| mask(&mut argument.make_mut().value));
                mask_directives(&mut field.directives);
                mask_selections(&mut field.selection_set);
            }
            Selection::FragmentSpread(spread) => mask_directives(&mut spread.make_mut().directives),
            Selection::InlineFragment(fragment) => {
                let fragment = fragment.make_mut();
                mask_directives(&mut fragment.directives);
                mask_selections(&mut fragment.selection_set);
            }
        }
    }
}

fn mask_directives(directives: &mut DirectiveList) {
    for directive in &mut directives.0 {
        directive.make_mut().arguments.iter_mut().for_each(|argument| mask(&mut argument.make_mut().value));
    }
}

fn mask(value: &mut Node<Value>) {
    match value.make_mut() {
        Value::Variable(_) => {}
        Value::List(entries) => entries.iter_mut().for_each(mask),
        Value::Object(fields) => fields.iter_mut().for_each(|(_, value)| mask(value)),
        // It is printed as it is.
        literal => *literal = Value::Enum(Name::new_unchecked("?")),
    }
}
