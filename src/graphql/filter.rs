//! The operands of filters: what a column must be.

use async_graphql::{ID, InputObject, InputType, MaybeUndefined};

use super::{
    error::ApiError,
    id::NodeType,
    input::{Place, check_length},
};
use crate::store::{Column, Filter, IntTest, Quantifier, TextTest};

/// Conditions in one filter, at most, nested ones included.
const MAX_CONDITIONS: usize = 200;
/// Conditions through the relation in one filter, at most.
const MAX_RELATIONS: usize = 10;
/// Levels of nesting in one filter, at most.
const MAX_DEPTH: usize = 12;

/// What a text must be. All that is given must hold; with nothing given, everything is taken.
#[derive(Debug, InputObject)]
pub struct StringFilter {
    /// Exactly this.
    eq: MaybeUndefined<String>,
    /// Anything but this.
    ne: MaybeUndefined<String>,
    /// One of these, at most 1,000; none when the list is empty.
    r#in: MaybeUndefined<Vec<String>>,
    /// None of these, at most 1,000.
    not_in: MaybeUndefined<Vec<String>>,
    /// Has this somewhere. No character has a meaning of its own.
    contains: MaybeUndefined<String>,
    /// Begins with this. No character has a meaning of its own.
    starts_with: MaybeUndefined<String>,
    /// Ends with this. No character has a meaning of its own.
    ends_with: MaybeUndefined<String>,
    /// Whether the letters A to Z are taken for a to z in all of these. Other letters are what they are.
    #[graphql(default)]
    ignore_case: bool,
}

/// What a whole number must be. All that is given must hold; with nothing given, everything is taken. A number that is null
/// is taken by `isNull` alone.
#[derive(Debug, InputObject)]
pub struct IntFilter {
    /// Exactly this.
    eq: MaybeUndefined<i32>,
    /// Known, and not this.
    ne: MaybeUndefined<i32>,
    /// One of these, at most 1,000; none when the list is empty.
    r#in: MaybeUndefined<Vec<i32>>,
    /// Known, and none of these, at most 1,000.
    not_in: MaybeUndefined<Vec<i32>>,
    /// Greater than this.
    gt: MaybeUndefined<i32>,
    /// Greater than this, or this.
    gte: MaybeUndefined<i32>,
    /// Less than this.
    lt: MaybeUndefined<i32>,
    /// Less than this, or this.
    lte: MaybeUndefined<i32>,
    /// Whether it is null.
    is_null: MaybeUndefined<bool>,
}

/// What an id must be. All that is given must hold; with nothing given, everything is taken. Ids are global, such as `Hero:1`,
/// or bare numbers.
#[derive(Debug, InputObject)]
pub struct IdFilter {
    /// Exactly this.
    eq: MaybeUndefined<ID>,
    /// One of these, at most 1,000; none when the list is empty.
    r#in: MaybeUndefined<Vec<ID>>,
    /// None of these, at most 1,000.
    not_in: MaybeUndefined<Vec<ID>>,
}

/// An input object that is a filter of rows.
pub trait FilterInput: InputType {
    /// The filter, after checking it.
    ///
    /// # Errors
    ///
    /// `BAD_USER_INPUT` with the place of what is wrong.
    fn check(self, conditions: &mut Conditions, place: Place<'_>) -> Result<Filter, ApiError>;
}

/// The filter of a list, from its argument `where`.
///
/// # Errors
///
/// `BAD_USER_INPUT` when an operand is null, an id is of another type, or the filter is too large.
pub fn filter<F: FilterInput>(argument: Option<F>) -> Result<Filter, ApiError> {
    let place = Place::argument("where");
    let mut conditions = Conditions { count: 0, relations: 0, depth: 0 };
    argument.map_or_else(|| Ok(Filter::default()), |filter| filter.check(&mut conditions, place))
}

/// The operand of an operator, its name, and the test that it makes of what the operand means.
type Operator<O, M, T> = (MaybeUndefined<O>, &'static str, fn(M) -> T);

/// How large a filter has become, so that no filter is too large for the database.
#[derive(Debug)]
pub struct Conditions {
    count: usize,
    relations: usize,
    depth: usize,
}

impl Conditions {
    fn add(&mut self, place: Place<'_>) -> Result<(), ApiError> {
        self.count += 1;
        if self.count > MAX_CONDITIONS {
            return Err(
                place.bad_input(format_args!("is one condition too many: a filter has at most {MAX_CONDITIONS}"))
            );
        }
        Ok(())
    }

    /// A filter in a filter.
    fn nested<F: FilterInput>(&mut self, filter: F, place: Place<'_>) -> Result<Filter, ApiError> {
        self.add(place)?;
        if self.depth >= MAX_DEPTH {
            return Err(place.bad_input(format_args!("is nested too deep: a filter has at most {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let filter = filter.check(self, place)?;
        self.depth -= 1;
        Ok(filter)
    }
}

/// Gathers what an input object asks for; all of it must hold.
pub struct All<'c> {
    conditions: &'c mut Conditions,
    filters: Vec<Filter>,
}

impl<'c> All<'c> {
    pub fn new(conditions: &'c mut Conditions) -> Self {
        Self { conditions, filters: Vec::new() }
    }

    /// The filter that asks for all of it.
    #[must_use]
    pub fn filter(mut self) -> Filter {
        if self.filters.len() == 1 { self.filters.swap_remove(0) } else { Filter::All(self.filters) }
    }

    fn operand<T>(
        &mut self,
        operand: MaybeUndefined<T>,
        place: Place<'_>,
        filter: impl FnOnce(T) -> Result<Filter, ApiError>,
    ) -> Result<(), ApiError> {
        if let Some(operand) = given(operand, place)? {
            self.conditions.add(place)?;
            self.filters.push(filter(operand)?);
        }
        Ok(())
    }

    /// The filter of a text column.
    pub fn text(
        &mut self,
        column: impl Into<Column>,
        filter: MaybeUndefined<StringFilter>,
        place: Place<'_>,
    ) -> Result<(), ApiError> {
        let Some(filter) = given(filter, place)? else { return Ok(()) };
        let column = column.into();
        let StringFilter { eq, ne, r#in, not_in, contains, starts_with, ends_with, ignore_case } = filter;
        let tests: [Operator<String, String, TextTest>; 5] = [
            (eq, "eq", TextTest::Eq),
            (ne, "ne", TextTest::Ne),
            (contains, "contains", TextTest::Contains),
            (starts_with, "startsWith", TextTest::StartsWith),
            (ends_with, "endsWith", TextTest::EndsWith),
        ];
        for (operand, name, test) in tests {
            let place = place.field(name);
            self.operand(operand, place, |text| {
                check_text(&text, place)?;
                Ok(Filter::Text { column, ignore_case, test: test(text) })
            })?;
        }
        let tests: [Operator<Vec<String>, Vec<String>, TextTest>; 2] =
            [(r#in, "in", TextTest::In), (not_in, "notIn", TextTest::NotIn)];
        for (operand, name, test) in tests {
            let place = place.field(name);
            self.operand(operand, place, |texts| {
                check_length(texts.len(), place)?;
                texts.iter().enumerate().try_for_each(|(index, text)| check_text(text, place.entry(index)))?;
                Ok(Filter::Text { column, ignore_case, test: test(texts) })
            })?;
        }
        Ok(())
    }

    /// The filter of a numeric column.
    pub fn int(
        &mut self,
        column: impl Into<Column>,
        filter: MaybeUndefined<IntFilter>,
        place: Place<'_>,
    ) -> Result<(), ApiError> {
        let Some(filter) = given(filter, place)? else { return Ok(()) };
        let column = column.into();
        let IntFilter { eq, ne, r#in, not_in, gt, gte, lt, lte, is_null } = filter;
        let tests: [Operator<i32, i64, IntTest>; 6] = [
            (eq, "eq", IntTest::Eq),
            (ne, "ne", IntTest::Ne),
            (gt, "gt", IntTest::Gt),
            (gte, "gte", IntTest::Gte),
            (lt, "lt", IntTest::Lt),
            (lte, "lte", IntTest::Lte),
        ];
        for (operand, name, test) in tests {
            self.operand(operand, place.field(name), |number| Ok(Filter::Int { column, test: test(number.into()) }))?;
        }
        let tests: [Operator<Vec<i32>, Vec<i64>, IntTest>; 2] =
            [(r#in, "in", IntTest::In), (not_in, "notIn", IntTest::NotIn)];
        for (operand, name, test) in tests {
            let place = place.field(name);
            self.operand(operand, place, |numbers| {
                check_length(numbers.len(), place)?;
                Ok(Filter::Int { column, test: test(numbers.into_iter().map(i64::from).collect()) })
            })?;
        }
        self.operand(is_null, place.field("isNull"), |is_null| Ok(Filter::IsNull { column, is_null }))
    }

    /// The filter of an id.
    pub fn id(
        &mut self,
        node: NodeType,
        column: impl Into<Column>,
        filter: MaybeUndefined<IdFilter>,
        place: Place<'_>,
    ) -> Result<(), ApiError> {
        let Some(IdFilter { eq, r#in, not_in }) = given(filter, place)? else { return Ok(()) };
        let column = column.into();
        let eq_place = place.field("eq");
        self.operand(eq, eq_place, |id| Ok(Filter::Int { column, test: IntTest::Eq(node.key(&id, eq_place)?) }))?;
        let tests: [Operator<Vec<ID>, Vec<i64>, IntTest>; 2] =
            [(r#in, "in", IntTest::In), (not_in, "notIn", IntTest::NotIn)];
        for (operand, name, test) in tests {
            let place = place.field(name);
            self.operand(operand, place, |ids| {
                check_length(ids.len(), place)?;
                let keys = ids.iter().enumerate().map(|(index, id)| node.key(id, place.entry(index)));
                Ok(Filter::Int { column, test: test(keys.collect::<Result<_, _>>()?) })
            })?;
        }
        Ok(())
    }

    /// The filter of the rows on the other side of the memberships.
    pub fn linked<F: FilterInput>(
        &mut self,
        quantifier: Quantifier,
        filter: MaybeUndefined<Box<F>>,
        place: Place<'_>,
    ) -> Result<(), ApiError> {
        if let Some(filter) = given(filter, place)? {
            self.conditions.relations += 1;
            if self.conditions.relations > MAX_RELATIONS {
                return Err(place.bad_input(format_args!(
                    "is one relation too many: a filter goes through at most {MAX_RELATIONS}"
                )));
            }
            let filter = Box::new(self.conditions.nested(*filter, place)?);
            self.filters.push(Filter::Linked { quantifier, filter });
        }
        Ok(())
    }

    /// The filters that are joined with `and`, `or` and `not`.
    pub fn junctions<F: FilterInput>(
        &mut self,
        and: MaybeUndefined<Vec<F>>,
        or: MaybeUndefined<Vec<F>>,
        not: MaybeUndefined<Box<F>>,
        place: Place<'_>,
    ) -> Result<(), ApiError> {
        let junctions: [Operator<Vec<F>, Vec<Filter>, Filter>; 2] =
            [(and, "and", Filter::All), (or, "or", Filter::Any)];
        for (filters, name, junction) in junctions {
            let place = place.field(name);
            if let Some(filters) = given(filters, place)? {
                let filters = filters.into_iter().enumerate();
                let filters = filters.map(|(index, filter)| self.conditions.nested(filter, place.entry(index)));
                let filters = filters.collect::<Result<_, _>>()?;
                self.filters.push(junction(filters));
            }
        }
        let place = place.field("not");
        if let Some(filter) = given(not, place)? {
            let filter = self.conditions.nested(*filter, place)?;
            self.filters.push(Filter::Not(Box::new(filter)));
        }
        Ok(())
    }
}

/// What was given; null has no meaning in a filter.
pub fn given<T>(value: MaybeUndefined<T>, place: Place<'_>) -> Result<Option<T>, ApiError> {
    match value {
        MaybeUndefined::Undefined => Ok(None),
        MaybeUndefined::Null => {
            Err(place.bad_input("must not be null: leave it out, or use `isNull` where there is one"))
        }
        MaybeUndefined::Value(value) => Ok(Some(value)),
    }
}

/// PostgreSQL has no text with this character, so nothing can be compared with it.
fn check_text(text: &str, place: Place<'_>) -> Result<(), ApiError> {
    if text.contains('\0') {
        return Err(place.bad_input("must not contain the character U+0000"));
    }
    Ok(())
}
