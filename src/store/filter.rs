//! Which rows of a list are wanted.

use sea_orm::{
    DbBackend, DynIden,
    sea_query::{Condition, Expr, ExprTrait, Func, IntoIden, JoinType, Query},
};

use super::{
    dialect,
    text_index::{TextIndex, has_trigram},
};
use crate::{
    db::Indexes,
    schema::{Column, Entity, Relation},
};

/// A condition on the rows of an entity. Each is true or false for a row, never unknown as in SQL: a comparison with a
/// column that is null is false, and what is not true is false.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// All of them hold. With none, every row.
    All(Vec<Filter>),
    /// One of them holds. With none, no row.
    Any(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// What a text column must be.
    Text { column: &'static Column, ignore_case: bool, test: TextTest },
    /// What a numeric column must be.
    Int { column: &'static Column, test: IntTest },
    /// Whether a column is null.
    IsNull { column: &'static Column, is_null: bool },
    /// What the related rows must be.
    Related { relation: &'static Relation, quantifier: Quantifier, filter: Box<Filter> },
}

/// What is read of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Little more than what is wanted.
    Wanted,
    /// Rows in their order, until so many match these conditions. Hardly any may be left out, or all.
    Passed(Filter, u64),
    /// All rows that match these conditions, which indexes find.
    Found(Filter),
    /// All rows.
    All,
}

/// What text must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TextTest {
    Eq(String),
    Ne(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
}

/// What a whole number must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IntTest {
    Eq(i64),
    Ne(i64),
    In(Vec<i64>),
    NotIn(Vec<i64>),
    Gt(i64),
    Gte(i64),
    Lt(i64),
    Lte(i64),
}

/// How many of the related rows a condition must hold for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantifier {
    /// At least one.
    Some,
    /// Each, also when there are none.
    Every,
    /// Not one.
    None,
}

impl Default for Filter {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

impl Filter {
    /// Whether it holds for every row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::All(filters) if filters.is_empty())
    }

    /// What is read to find so many rows of an entity that match, with the indexes that each database has and these.
    #[must_use]
    pub fn scan(&self, entity: &Entity, indexes: &Indexes, wanted: u64) -> Scan {
        if self.is_costly(entity, indexes) {
            return self.narrowed_scan(entity, indexes);
        }
        // SQLite cannot say how many are left out.
        if indexes.backend == DbBackend::Sqlite || self.is_empty() || self.narrowed(entity, indexes).is_some() {
            return Scan::Wanted;
        }
        Scan::Passed(self.clone(), wanted)
    }

    /// What is read to look at all rows of an entity that match.
    #[must_use]
    pub fn narrowed_scan(&self, entity: &Entity, indexes: &Indexes) -> Scan {
        self.narrowed(entity, indexes).map_or(Scan::All, Scan::Found)
    }

    /// Those of its conditions that an index serves, so that no rows are read but what they find. None where not even
    /// one of them is served.
    fn narrowed(&self, entity: &Entity, indexes: &Indexes) -> Option<Self> {
        let narrowed = |filter: &Self| filter.narrowed(entity, indexes);
        let is_served = match self {
            Self::All(filters) => {
                let found: Vec<_> = filters.iter().filter_map(narrowed).collect();
                return (!found.is_empty()).then_some(Self::All(found));
            }
            Self::Any(_) if self.is_related_or_other(indexes) => false,
            Self::Any(filters) => return filters.iter().map(narrowed).collect::<Option<_>>().map(Self::Any),
            Self::Related { relation, quantifier: Quantifier::Some, filter } => {
                let filter = Box::new(filter.narrowed(relation.to, indexes)?);
                return Some(Self::Related { relation, quantifier: Quantifier::Some, filter });
            }
            Self::Not(_) | Self::Related { .. } => false,
            Self::Text { column, ignore_case, test } => match test {
                TextTest::Eq(_) | TextTest::In(_) | TextTest::StartsWith(_) => {
                    !ignore_case || TextIndex::Lower.is_in(indexes, entity, column)
                }
                TextTest::Contains(part) | TextTest::EndsWith(part) => {
                    has_trigram(part) && TextIndex::Trigram.is_in(indexes, entity, column)
                }
                TextTest::Ne(_) | TextTest::NotIn(_) => false,
            },
            Self::Int { test, .. } => !matches!(test, IntTest::Ne(_) | IntTest::NotIn(_)),
            Self::IsNull { is_null, .. } => *is_null,
        };
        is_served.then(|| self.clone())
    }

    /// Whether many rows may have to be read for each that matches.
    fn is_costly(&self, entity: &Entity, indexes: &Indexes) -> bool {
        match self {
            Self::Any(_) if self.is_related_or_other(indexes) => true,
            Self::All(filters) | Self::Any(filters) => filters.iter().any(|filter| filter.is_costly(entity, indexes)),
            Self::Not(filter) => filter.has_relation() || filter.is_costly(entity, &Indexes::none(indexes.backend)),
            Self::Text { ignore_case, test, .. } => {
                let is_part = matches!(test, TextTest::Contains(_) | TextTest::EndsWith(_));
                (*ignore_case || is_part) && self.narrowed(entity, indexes).is_none()
            }
            Self::Int { .. } | Self::IsNull { .. } => false,
            Self::Related { relation, quantifier, filter } => {
                *quantifier != Quantifier::Some || filter.is_costly(relation.to, indexes)
            }
        }
    }

    /// Whether a row matches by its relations or by something else. PostgreSQL looks at all rows for that.
    fn is_related_or_other(&self, indexes: &Indexes) -> bool {
        let is_postgres = indexes.backend == DbBackend::Postgres;
        matches!(self, Self::Any(filters) if is_postgres && filters.len() > 1 && self.has_relation())
    }

    fn has_relation(&self) -> bool {
        match self {
            Self::All(filters) | Self::Any(filters) => filters.iter().any(Self::has_relation),
            Self::Not(filter) => filter.has_relation(),
            Self::Related { .. } => true,
            Self::Text { .. } | Self::Int { .. } | Self::IsNull { .. } => false,
        }
    }

    /// The condition on the rows of an entity, whose table has its own name in the statement.
    #[must_use]
    pub fn condition(&self, entity: &'static Entity, backend: DbBackend) -> Condition {
        let table = entity.table().into_iden();
        Condition::all().add(Scope { backend, entity, table, depth: 0, is_negated: false }.expression(self))
    }
}

/// Where in a statement a condition stands.
struct Scope {
    backend: DbBackend,
    entity: &'static Entity,
    /// The name of its table in the statement.
    table: DynIden,
    /// How many relations lead here. It tells the names of nested tables apart.
    depth: usize,
    /// Whether a NOT stands above it in its WHERE, which takes a row for which a condition is unknown as one for which
    /// it is false. Below a NOT there is a difference.
    is_negated: bool,
}

impl Scope {
    fn expression(&self, filter: &Filter) -> Expr {
        match filter {
            Filter::All(filters) => self.join(filters, Condition::all(), true),
            Filter::Any(filters) => self.join(filters, Condition::any(), false),
            Filter::Not(filter) => {
                Self { table: self.table.clone(), is_negated: true, ..*self }.expression(filter).not()
            }
            Filter::Text { column, ignore_case, test } => {
                let expression = self.text(self.column(column), *ignore_case, test);
                self.known(column, matches!(test, TextTest::NotIn(_)), expression)
            }
            Filter::Int { column, test } => {
                let expression = self.int(self.column(column), test);
                self.known(column, matches!(test, IntTest::NotIn(_)), expression)
            }
            Filter::IsNull { column, is_null: true } => self.column(column).is_null(),
            Filter::IsNull { column, is_null: false } => self.column(column).is_not_null(),
            Filter::Related { relation, quantifier, filter } => self.related(relation, *quantifier, filter),
        }
    }

    fn join(&self, filters: &[Filter], junction: Condition, empty: bool) -> Expr {
        if filters.is_empty() {
            return Expr::Constant(empty.into());
        }
        filters.iter().fold(junction, |junction, filter| junction.add(self.expression(filter))).into()
    }

    fn column(&self, column: &Column) -> Expr {
        Expr::col((self.table.clone(), column.name()))
    }

    /// False where the column is null. The expression is unknown there, or true when it is that the column is not in a
    /// list which is empty. What is unknown does as well, but not below a NOT: `NULL AND FALSE` is false.
    fn known(&self, column: &Column, may_be_true: bool, expression: Expr) -> Expr {
        if column.is_nullable && (self.is_negated || may_be_true) {
            expression.and(self.column(column).is_not_null())
        } else {
            expression
        }
    }

    /// LIKE is what a trigram index of PostgreSQL serves.
    fn text(&self, column: Expr, ignore_case: bool, comparison: &TextTest) -> Expr {
        // The columns have the collation "C" on PostgreSQL, so both databases fold the letters A to Z and no others.
        let column = if ignore_case { Func::lower(column).into() } else { column };
        let fold = |text: &String| if ignore_case { text.to_ascii_lowercase() } else { text.clone() };
        let is_in = |texts: &[String]| {
            let texts: Vec<_> = texts.iter().map(fold).collect();
            dialect::is_in(self.backend, column.clone(), &texts)
        };
        match comparison {
            TextTest::Eq(text) => column.eq(fold(text)),
            TextTest::Ne(text) => column.ne(fold(text)),
            TextTest::In(texts) => is_in(texts),
            TextTest::NotIn(texts) => is_in(texts).not(),
            TextTest::Contains(text) if self.backend == DbBackend::Postgres => {
                column.like(format!("%{}%", literal(&fold(text))))
            }
            TextTest::Contains(text) => Expr::from(Func::cust("instr").arg(column).arg(fold(text))).gt(0),
            TextTest::StartsWith(text) => {
                let text = fold(text);
                // A range, which an index serves on both databases.
                let end = after_prefix(&text);
                let from_start = column.clone().gte(text);
                if let Some(end) = end { from_start.and(column.lt(end)) } else { from_start }
            }
            TextTest::EndsWith(text) if self.backend == DbBackend::Postgres => {
                column.like(format!("%{}", literal(&fold(text))))
            }
            TextTest::EndsWith(text) => {
                let text = fold(text);
                let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
                // `substr(…, -0)` would be the whole text.
                let length = if length == 0 { i64::MAX } else { -length };
                Expr::from(Func::cust("substr").arg(column).arg(length)).eq(text)
            }
        }
    }

    fn int(&self, column: Expr, test: &IntTest) -> Expr {
        match test {
            IntTest::Eq(number) => column.eq(*number),
            IntTest::Ne(number) => column.ne(*number),
            IntTest::In(numbers) => dialect::is_in(self.backend, column, numbers),
            IntTest::NotIn(numbers) => dialect::is_in(self.backend, column, numbers).not(),
            IntTest::Gt(number) => column.gt(*number),
            IntTest::Gte(number) => column.gte(*number),
            IntTest::Lt(number) => column.lt(*number),
            IntTest::Lte(number) => column.lte(*number),
        }
    }

    fn related(&self, relation: &'static Relation, quantifier: Quantifier, filter: &Filter) -> Expr {
        if filter.is_empty() && quantifier == Quantifier::Every {
            return Expr::Constant(true.into());
        }
        let link = &**relation.link;
        let depth = self.depth + 1;
        let links = format!("link_{depth}").into_iden();
        let near = Expr::col((links.clone(), link.near.clone()));
        let key = Expr::col((self.table.clone(), self.entity.key.name()));
        let mut related = Query::select();
        related.from_as(link.table.clone(), links.clone());
        if !filter.is_empty() {
            let entity = relation.to;
            let table = format!("{}_{depth}", entity.table()).into_iden();
            let is_negated = quantifier == Quantifier::Every;
            let inner = Self { backend: self.backend, entity, table: table.clone(), depth, is_negated };
            let expression = inner.expression(filter);
            let of_link = Expr::col((table.clone(), entity.key.name())).equals((links, link.far.clone()));
            related.join_as(JoinType::InnerJoin, entity.table(), table, of_link);
            related.and_where(if is_negated { expression.not() } else { expression });
        }
        let is_related = if self.backend == DbBackend::Sqlite {
            // SQLite runs an EXISTS again for each row, and one in another again for each row of that. This it runs
            // once.
            key.in_subquery(related.expr(near).take())
        } else {
            // PostgreSQL makes a semi-join of it.
            related.expr(Expr::Constant(1.into())).and_where(near.eq(key));
            Expr::exists(related)
        };
        if quantifier == Quantifier::Some { is_related } else { is_related.not() }
    }
}

/// A text in a pattern of LIKE, in which none of its characters has a meaning of its own.
fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    for character in text.chars() {
        if matches!(character, '\\' | '%' | '_') {
            literal.push('\\');
        }
        literal.push(character);
    }
    literal
}

/// The first text, in the order of code points, after all that begin with `prefix`; none when there is no such text.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // The range leaves out the surrogates, which are no characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::after_prefix;

    #[test]
    fn the_end_of_a_prefix() {
        for (prefix, end) in [
            ("", None),
            ("a", Some("b")),
            ("az", Some("a{")),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}\u{10ffff}", None),
            ("\u{7f}", Some("\u{80}")),
        ] {
            assert_eq!(after_prefix(prefix).as_deref(), end, "{prefix:?}");
        }
    }
}
