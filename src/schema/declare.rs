//! What can be declared of an entity, a column and a relation.
//!
//! Declarations are statics. Entities, columns and relations are equal when they are the same static.

use std::{
    fmt,
    hash::{Hash, Hasher},
    ops::RangeInclusive,
    ptr,
    sync::LazyLock,
};

use sea_orm::{
    ColumnTrait, DynIden, EntityName, Identity, Linked,
    sea_query::{TableName, TableRef},
};

use super::{Scope, Scopes};

/// A table of SeaORM, by its entity.
pub trait DbTable: Sync {
    /// The name of the table.
    fn name(&self) -> &'static str;
}

impl<E: EntityName + Sync> DbTable for E {
    fn name(&self) -> &'static str {
        self.table_name()
    }
}

/// A column of a SeaORM entity.
pub trait DbColumn: Sync {
    /// The name of the column.
    fn name(&self) -> &'static str;
}

impl<C: ColumnTrait + Sync> DbColumn for C {
    fn name(&self) -> &'static str {
        self.as_str()
    }
}

/// An entity: a table, and the object type that clients see.
pub struct Entity {
    /// The name of the object type, which begins the global ids: `Hero`.
    pub name: &'static str,
    /// The name of the query field for one object, and the noun for it: `hero`.
    pub one: &'static str,
    /// The name of the query field for a list, and the noun for several: `heroes`.
    pub many: &'static str,
    /// The description of the object type.
    pub about: &'static str,
    /// The SeaORM entity.
    pub table: &'static dyn DbTable,
    /// The primary key: [`Column::key`].
    pub key: Column,
    /// The other columns, in the order in which the schema has their fields.
    pub columns: &'static [Column],
    /// The relations, in the order in which the schema has their fields.
    pub relations: &'static [Relation],
}

/// A column, which is a field of the object type, of its filter, its order and its inputs.
pub struct Column {
    /// The name of the field: `secretName`.
    pub field: &'static str,
    /// The description of the field: a sentence with the unit, and what null means.
    pub about: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Whether it may be null.
    pub is_nullable: bool,
    /// The scope that reading its values asks for, besides that of the operation: in answers, filters and orders, and
    /// wherever rows are found by them. None if there is no other.
    pub requires: Option<Scope>,
    db: &'static dyn DbColumn,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A 64-bit primary key, which clients see as a global id.
    Key,
    /// Text that is not blank.
    Text {
        /// The greatest number of characters.
        max_characters: usize,
    },
    /// A whole number in a range.
    Int {
        /// The least number.
        min: i32,
        /// The greatest number.
        max: i32,
    },
}

/// A many-to-many relation, seen from one of its sides.
pub struct Relation {
    /// The name of the field with the related objects: `teams`.
    pub field: &'static str,
    /// The name of the field with their number: `teamCount`.
    pub count: &'static str,
    /// What the related objects are, as it follows "The": `teams that the hero belongs to`.
    pub about: &'static str,
    /// The entity that it leads to.
    pub to: &'static Entity,
    /// The link table that it goes through.
    pub link: &'static LazyLock<Link>,
}

/// A link table, seen from one side of a relation.
#[derive(Debug)]
pub struct Link {
    /// The noun for one link, with a capital, which begins the names of its events: `Membership`.
    pub name: &'static str,
    /// The name of the table that the relation starts from.
    pub from: DynIden,
    /// The name of the table that it leads to.
    pub to: DynIden,
    /// The name of the link table.
    pub table: DynIden,
    /// The column with the key of the row that the relation starts from.
    pub near: DynIden,
    /// The column with the key of the row that the relation leads to.
    pub far: DynIden,
    /// The nouns for its two objects, in the order of [`Link::columns`]: `hero` for the column `hero_id`.
    pub sides: [String; 2],
    /// Whether `near` is the first of its columns.
    is_near_first: bool,
}

/// The greatest number of characters of a text column.
const MAX_CHARACTERS: usize = 200;

impl Entity {
    /// The name of the table.
    #[must_use]
    pub fn table(&self) -> &'static str {
        self.table.name()
    }

    /// All columns: the primary key, and then the others.
    pub fn all_columns(&'static self) -> impl Iterator<Item = &'static Column> {
        std::iter::once(&self.key).chain(self.columns)
    }

    /// The scopes that reading the values of all its columns asks for.
    #[must_use]
    pub fn requires(&self) -> Scopes {
        self.columns.iter().filter_map(|column| column.requires).collect()
    }

    /// The noun for one object, as descriptions have it: `secret base` for `secretBase`.
    #[must_use]
    pub fn noun(&self) -> String {
        words(self.one, ' ')
    }

    /// The noun for several objects, as descriptions have it.
    #[must_use]
    pub fn nouns(&self) -> String {
        words(self.many, ' ')
    }

    /// The plural with a capital: `Heroes`.
    #[must_use]
    pub fn plural(&self) -> String {
        capitalized(self.many)
    }
}

impl Column {
    /// The 64-bit primary key of an entity.
    #[must_use]
    pub const fn key(column: &'static dyn DbColumn) -> Self {
        Self::new(column, "id", "The global id.", Kind::Key)
    }

    /// A column of text that is not blank and has at most 200 characters.
    #[must_use]
    pub const fn text(column: &'static dyn DbColumn, field: &'static str, about: &'static str) -> Self {
        Self::new(column, field, about, Kind::Text { max_characters: MAX_CHARACTERS })
    }

    /// A column of whole numbers in a range.
    #[must_use]
    pub const fn int(
        column: &'static dyn DbColumn,
        field: &'static str,
        range: RangeInclusive<i32>,
        about: &'static str,
    ) -> Self {
        Self::new(column, field, about, Kind::Int { min: *range.start(), max: *range.end() })
    }

    const fn new(db: &'static dyn DbColumn, field: &'static str, about: &'static str, kind: Kind) -> Self {
        Self { field, about, kind, is_nullable: false, requires: None, db }
    }

    /// The same column, which may be null.
    #[must_use]
    pub const fn nullable(self) -> Self {
        Self { is_nullable: true, ..self }
    }

    /// The same column, whose values only those read who have this scope. Writing them asks for `write` alone.
    #[must_use]
    pub const fn requires(self, scope: Scope) -> Self {
        Self { requires: Some(scope), ..self }
    }

    /// The name of the column in its table.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.db.name()
    }
}

impl Link {
    /// The link table on a path of SeaORM: from a row to its links, and from a link to the other row. Both sides of a
    /// relation give it the same name.
    ///
    /// # Panics
    ///
    /// When the path has another form. Schemas look at all of their links when they are made, so no request comes to
    /// it.
    #[must_use]
    pub fn along(name: &'static str, path: &impl Linked) -> Self {
        match &path.link()[..] {
            [to_link, to_row] => {
                let (Some(from), Some(table), Some(to)) =
                    (name_of(&to_link.from_tbl), name_of(&to_link.to_tbl), name_of(&to_row.to_tbl))
                else {
                    panic!("a relation leads from a table by a table to a table: {to_link:?} {to_row:?}");
                };
                let (Identity::Unary(near), Identity::Unary(far)) = (&to_link.to_col, &to_row.from_col) else {
                    panic!("a link table has one column for each side: {to_link:?} {to_row:?}");
                };
                let is_near_first = near.inner() < far.inner();
                let columns = if is_near_first { [near, far] } else { [far, near] };
                let sides = columns.map(|column| side(&column.to_string()));
                Self { name, from, to, table, near: near.clone(), far: far.clone(), sides, is_near_first }
            }
            steps => panic!("the path of a relation has two steps: {steps:?}"),
        }
    }

    /// Its two columns, in the same order for both sides of the relation.
    #[must_use]
    pub fn columns(&self) -> [&DynIden; 2] {
        if self.is_near_first { [&self.near, &self.far] } else { [&self.far, &self.near] }
    }

    /// The name of a link, as a field begins with it: `membership`.
    #[must_use]
    pub fn one(&self) -> String {
        let mut characters = self.name.chars();
        characters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(characters).collect()
    }

    /// A link in the order of [`Link::columns`].
    #[must_use]
    pub fn pair<T>(&self, near: T, far: T) -> [T; 2] {
        if self.is_near_first { [near, far] } else { [far, near] }
    }
}

/// The name of a table.
fn name_of(table: &TableRef) -> Option<DynIden> {
    if let TableRef::Table(TableName(_, name), _) = table { Some(name.clone()) } else { None }
}

/// The words of a name, with this between them: `secret base` for `secretBase`.
#[must_use]
pub fn words(name: &str, between: char) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            words.push(between);
        }
        words.push(character.to_ascii_lowercase());
    }
    words
}

/// A noun with its article: `a hero`, `an assignment`. It goes by the first letter.
#[must_use]
pub fn with_article(noun: &str) -> String {
    let is_vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']);
    format!("{} {noun}", if is_vowel { "an" } else { "a" })
}

/// The noun for the object that a column of a link table refers to: `secretBase` for `secret_base_id`.
fn side(column: &str) -> String {
    let name = column.strip_suffix("_id").unwrap_or(column);
    let mut words = name.split('_').filter(|word| !word.is_empty());
    let first = words.next().unwrap_or(name).to_owned();
    words.fold(first, |name, word| name + &capitalized(word))
}

/// A name or a sentence with a capital.
#[must_use]
pub fn capitalized(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}

impl Relation {
    /// A relation: its field, the field with the number of related objects, what they are, as it follows "The", their
    /// entity, and the link table.
    #[must_use]
    pub const fn new(
        field: &'static str,
        count: &'static str,
        about: &'static str,
        to: &'static Entity,
        link: &'static LazyLock<Link>,
    ) -> Self {
        Self { field, count, about, to, link }
    }

    /// The name of the field with a capital: `Teams`.
    #[must_use]
    pub fn capitalized(&self) -> String {
        capitalized(self.field)
    }
}

macro_rules! compared_by_address {
    ($($declared:ident . $name:ident),+) => {$(
        impl PartialEq for $declared {
            fn eq(&self, other: &Self) -> bool {
                ptr::eq(self, other)
            }
        }

        impl Eq for $declared {}

        impl Hash for $declared {
            fn hash<H: Hasher>(&self, state: &mut H) {
                ptr::hash(self, state);
            }
        }

        impl fmt::Debug for $declared {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($declared), "({})"), self.$name)
            }
        }
    )+};
}

compared_by_address!(Entity.name, Column.field, Relation.field);

/// The relations of some entities, with the entities that they start from: one for each link table.
pub fn links(entities: &[&'static Entity]) -> impl Iterator<Item = (&'static Entity, &'static Relation)> {
    let mut tables = Vec::new();
    let relations = entities.iter().flat_map(|entity| entity.relations.iter().map(|relation| (*entity, relation)));
    relations.filter(move |(_, relation)| {
        let is_new = !tables.contains(&&relation.link.table);
        tables.push(&relation.link.table);
        is_new
    })
}
