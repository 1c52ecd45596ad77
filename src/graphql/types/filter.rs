//! The filters of lists.

use super::{
    ArgumentPath,
    arguments::{Input, Object},
    id::key_of,
    item::{Item, Types, item},
};
use crate::{
    graphql::error::ApiError,
    schema::{Column, Entity, Kind, Relation},
    store::{Filter, IntTest, Quantifier, TextTest},
};

/// The greatest number of conditions in one filter, nested ones included.
const MAX_CONDITIONS: usize = 200;
/// The greatest number of conditions through relations in one filter.
const MAX_RELATIONS: usize = 10;
/// The greatest number of levels of nesting in one filter.
const MAX_DEPTH: usize = 12;

pub fn register(types: &mut Types, entities: &[&'static Entity]) {
    for entity in entities {
        register_entity(types, entity);
    }
    let all = "All conditions that are given must hold. An empty filter matches everything.";
    types.input(
        "IdFilter",
        format!("A filter on an id. {all} Ids are global, such as `Hero:1`, or bare numbers."),
        vec![
            item("eq", "ID", "Equal to this id."),
            item("in", "[ID!]", "Equal to one of these ids, at most 1,000. An empty list matches nothing."),
            item("notIn", "[ID!]", "Equal to none of these ids, at most 1,000."),
        ],
    );
    types.input("StringFilter", format!("A filter on text. {all}"), text_conditions());
    let mut nullable = text_conditions();
    nullable.push(item("isNull", "Boolean", "Whether the text is null."));
    let about = format!("A filter on text that can be null. {all} Only `isNull` matches null.");
    types.input("NullableStringFilter", about, nullable);
    types.input(
        "IntFilter",
        format!("A filter on a whole number. {all} Only `isNull` matches null."),
        vec![
            item("eq", "Int", "Equal to this number."),
            item("ne", "Int", "Not null and not equal to this number."),
            item("in", "[Int!]", "Equal to one of these numbers, at most 1,000. An empty list matches nothing."),
            item("notIn", "[Int!]", "Not null and equal to none of these numbers, at most 1,000."),
            item("gt", "Int", "Greater than this number."),
            item("gte", "Int", "Greater than or equal to this number."),
            item("lt", "Int", "Less than this number."),
            item("lte", "Int", "Less than or equal to this number."),
            item("isNull", "Boolean", "Whether the number is null."),
        ],
    );
}

fn text_conditions() -> Vec<Item> {
    vec![
        item("eq", "String", "Equal to this text."),
        item("ne", "String", "Not equal to this text."),
        item("in", "[String!]", "Equal to one of these texts, at most 1,000. An empty list matches nothing."),
        item("notIn", "[String!]", "Equal to none of these texts, at most 1,000."),
        item("contains", "String", "Contains this text. No character is a wildcard."),
        item("startsWith", "String", "Starts with this text. No character is a wildcard."),
        item("endsWith", "String", "Ends with this text. No character is a wildcard."),
        item(
            "ignoreCase",
            "Boolean!",
            "Whether all conditions of this filter compare A to Z as a to z. Other letters are compared as they are.",
        )
        .or("false"),
    ]
}

fn register_entity(types: &mut Types, entity: &Entity) {
    let (name, one, many) = (entity.name, entity.noun(), entity.nouns());
    let filter = format!("{name}Filter");
    let mut fields = vec![item("id", "IdFilter", "A filter on the id.")];
    fields.extend(entity.columns.iter().map(|column| {
        let about = format!("A filter on the field `{}`.", column.field);
        item(column.field, column_filter(column), about).requires(column.requires)
    }));
    fields.extend(entity.relations.iter().map(|relation| {
        item(relation.field, format!("{}ListFilter", relation.to.name), format!("A filter on the {}.", relation.about))
    }));
    fields.extend([
        item("and", format!("[{filter}!]"), "All of these filters match. An empty list matches everything."),
        item("or", format!("[{filter}!]"), "One of these filters matches. An empty list matches nothing."),
        item("not", &*filter, "This filter does not match."),
    ]);
    let about =
        format!("A filter on {many}. All conditions that are given must hold. An empty filter matches all {many}.");
    types.input(&filter, about, fields);
    types.input(
        format!("{name}ListFilter"),
        format!("A filter on a list of related {many}. All conditions that are given must hold."),
        vec![
            item("some", &*filter, format!("At least one {one} matches this filter.")),
            item("every", &*filter, format!("Every {one} matches this filter, or there are none.")),
            item("none", &*filter, format!("No {one} matches this filter.")),
        ],
    );
}

fn column_filter(column: &Column) -> &'static str {
    match column.kind {
        Kind::Key => "IdFilter",
        Kind::Text { .. } if column.is_nullable => "NullableStringFilter",
        Kind::Text { .. } => "StringFilter",
        Kind::Int { .. } => "IntFilter",
    }
}

/// The filter of a list of an entity, from an argument.
///
/// # Errors
///
/// `BAD_USER_INPUT` when an operand is null, an id is of another type, or the filter is too large.
pub fn filter(
    entities: &'static [&'static Entity],
    entity: &'static Entity,
    argument: Input<'_>,
) -> Result<Filter, ApiError> {
    let mut reader = Reader { entities, conditions: 0, relations: 0, depth: 0 };
    argument.present().map_or_else(|| Ok(Filter::default()), |filter| reader.entity(entity, filter))
}

/// Reads a filter, and counts, so that no filter is too large for the database.
struct Reader {
    entities: &'static [&'static Entity],
    conditions: usize,
    relations: usize,
    depth: usize,
}

impl Reader {
    fn entity(&mut self, entity: &'static Entity, input: Input<'_>) -> Result<Filter, ApiError> {
        let (fields, path) = (input.object()?, input.path());
        let mut filters = Vec::new();
        for column in entity.all_columns() {
            if let Some(input) = given(fields.get(column.field, &path))? {
                self.column(entity, column, input, &mut filters)?;
            }
        }
        for relation in entity.relations {
            if let Some(input) = given(fields.get(relation.field, &path))? {
                self.related(relation, input, &mut filters)?;
            }
        }
        for (name, junction) in [("and", Filter::All as fn(Vec<Filter>) -> Filter), ("or", Filter::Any)] {
            if let Some(input) = given(fields.get(name, &path))? {
                let path = input.path();
                let entries = input.list().iter().enumerate();
                let entries = entries.map(|(index, entry)| self.nested(entity, Input::new(entry, path.entry(index))));
                filters.push(junction(entries.collect::<Result<_, _>>()?));
            }
        }
        if let Some(input) = given(fields.get("not", &path))? {
            filters.push(Filter::Not(Box::new(self.nested(entity, input)?)));
        }
        Ok(if filters.len() == 1 { filters.swap_remove(0) } else { Filter::All(filters) })
    }

    /// A filter in a filter.
    fn nested(&mut self, entity: &'static Entity, input: Input<'_>) -> Result<Filter, ApiError> {
        self.add_condition(input.path())?;
        if self.depth >= MAX_DEPTH {
            let message = format_args!("is nested too deep: a filter has at most {MAX_DEPTH} levels");
            return Err(input.path().bad_input(message));
        }
        self.depth += 1;
        let filter = self.entity(entity, input)?;
        self.depth -= 1;
        Ok(filter)
    }

    fn add_condition(&mut self, path: ArgumentPath<'_>) -> Result<(), ApiError> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            let message = format_args!("is one condition too many: a filter has at most {MAX_CONDITIONS}");
            return Err(path.bad_input(message));
        }
        Ok(())
    }

    fn related(
        &mut self,
        relation: &'static Relation,
        input: Input<'_>,
        filters: &mut Vec<Filter>,
    ) -> Result<(), ApiError> {
        let (fields, path) = (input.object()?, input.path());
        for (name, quantifier) in [("some", Quantifier::Some), ("every", Quantifier::Every), ("none", Quantifier::None)]
        {
            let Some(input) = given(fields.get(name, &path))? else { continue };
            self.relations += 1;
            if self.relations > MAX_RELATIONS {
                let message = format_args!("is one relation too many: a filter goes through at most {MAX_RELATIONS}");
                return Err(input.path().bad_input(message));
            }
            let filter = Box::new(self.nested(relation.to, input)?);
            filters.push(Filter::Related { relation, quantifier, filter });
        }
        Ok(())
    }

    fn column(
        &mut self,
        entity: &'static Entity,
        column: &'static Column,
        input: Input<'_>,
        filters: &mut Vec<Filter>,
    ) -> Result<(), ApiError> {
        let path = input.path();
        let mut operands = Operands { reader: self, fields: input.object()?, path: &path, filters };
        match column.kind {
            Kind::Key => operands.key(entity, column)?,
            Kind::Text { .. } => operands.text(column)?,
            Kind::Int { .. } => operands.int(column)?,
        }
        // A filter without this operator has none. That on whole numbers has it also where none is null.
        operands.each(&["isNull"], |_, input| Ok(Filter::IsNull { column, is_null: input.boolean()? }))
    }
}

/// The operands of the filter of a column.
struct Operands<'a> {
    reader: &'a mut Reader,
    fields: Object<'a>,
    path: &'a ArgumentPath<'a>,
    filters: &'a mut Vec<Filter>,
}

impl<'a> Operands<'a> {
    /// Adds the condition of each of these operators that is given.
    fn each(
        &mut self,
        operators: &[&'static str],
        condition: impl Fn(&'static str, Input<'a>) -> Result<Filter, ApiError>,
    ) -> Result<(), ApiError> {
        for name in operators {
            if let Some(input) = given(self.fields.get(name, self.path))? {
                self.reader.add_condition(input.path())?;
                self.filters.push(condition(name, input)?);
            }
        }
        Ok(())
    }

    fn key(&mut self, entity: &'static Entity, column: &'static Column) -> Result<(), ApiError> {
        let entities = self.reader.entities;
        let key = |input: Input<'_>| key_of(entities, entity, &input.id()?, input.path());
        self.each(&["eq"], |_, input| Ok(Filter::Int { column, test: IntTest::Eq(key(input)?) }))?;
        self.each(&["in", "notIn"], |name, input| {
            let keys = entries(input, key)?;
            Ok(Filter::Int { column, test: if name == "in" { IntTest::In(keys) } else { IntTest::NotIn(keys) } })
        })
    }

    fn text(&mut self, column: &'static Column) -> Result<(), ApiError> {
        let ignore_case = self.fields.get("ignoreCase", self.path).not_null()?;
        let ignore_case = ignore_case.map_or(Ok(false), |input| input.boolean())?;
        let filter = |test| Ok(Filter::Text { column, ignore_case, test });
        self.each(&["eq", "ne", "contains", "startsWith", "endsWith"], |name, input| {
            let text = text(input)?;
            filter(match name {
                "eq" => TextTest::Eq(text),
                "ne" => TextTest::Ne(text),
                "contains" => TextTest::Contains(text),
                "startsWith" => TextTest::StartsWith(text),
                _ => TextTest::EndsWith(text),
            })
        })?;
        self.each(&["in", "notIn"], |name, input| {
            let texts = entries(input, text)?;
            filter(if name == "in" { TextTest::In(texts) } else { TextTest::NotIn(texts) })
        })
    }

    fn int(&mut self, column: &'static Column) -> Result<(), ApiError> {
        let number = |input: Input<'_>| input.int().map(i64::from);
        self.each(&["eq", "ne", "gt", "gte", "lt", "lte"], |name, input| {
            let number = number(input)?;
            let test = match name {
                "eq" => IntTest::Eq(number),
                "ne" => IntTest::Ne(number),
                "gt" => IntTest::Gt(number),
                "gte" => IntTest::Gte(number),
                "lt" => IntTest::Lt(number),
                _ => IntTest::Lte(number),
            };
            Ok(Filter::Int { column, test })
        })?;
        self.each(&["in", "notIn"], |name, input| {
            let numbers = entries(input, number)?;
            Ok(Filter::Int { column, test: if name == "in" { IntTest::In(numbers) } else { IntTest::NotIn(numbers) } })
        })
    }
}

/// The entries of a list that is not too long.
fn entries<T>(input: Input<'_>, read: impl Fn(Input<'_>) -> Result<T, ApiError>) -> Result<Vec<T>, ApiError> {
    let path = input.path();
    let list = input.bounded_list()?.iter().enumerate();
    list.map(|(index, entry)| read(Input::new(entry, path.entry(index)))).collect()
}

/// PostgreSQL has no text with the character U+0000, so nothing can be compared with it.
fn text(input: Input<'_>) -> Result<String, ApiError> {
    let text = input.text()?;
    if text.contains('\0') {
        return Err(input.path().bad_input("must not contain the character U+0000"));
    }
    Ok(text.to_owned())
}

/// What was given; null has no meaning in a filter.
fn given(input: Input<'_>) -> Result<Option<Input<'_>>, ApiError> {
    if input.is_null() {
        return Err(input.path().bad_input("must not be null: leave it out, or use `isNull` where it exists"));
    }
    Ok(input.present())
}
