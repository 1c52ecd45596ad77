//! What a statement does, in two words (semantic conventions of OpenTelemetry, `db.query.summary`).

use std::fmt;

/// The operation of a statement, and the table that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary<'a> {
    /// `SELECT`, `INSERT` and so on.
    pub operation: &'static str,
    /// The first table in the text; empty when it names none.
    pub table: &'a str,
}

/// The operations that are told apart.
const OPERATIONS: [&str; 12] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "BEGIN", "COMMIT", "ROLLBACK", "PRAGMA", "LOCK",
];
/// Those that change rows: a statement with one of them below `WITH` does that.
const WRITES: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];

impl<'a> Summary<'a> {
    /// The summary of a text that this program has made: its keywords are in capitals.
    #[must_use]
    pub fn from_sql(sql: &'a str) -> Self {
        let sql = sql.trim_start();
        let operation = if sql.starts_with("WITH") {
            WRITES.into_iter().find(|write| sql.contains(&[write, " "].concat())).unwrap_or("SELECT")
        } else {
            OPERATIONS.into_iter().find(|operation| sql.starts_with(operation)).unwrap_or("OTHER")
        };
        let before_table = match operation {
            "SELECT" | "DELETE" => " FROM ",
            "INSERT" => "INSERT INTO ",
            "UPDATE" => "UPDATE ",
            "CREATE" | "ALTER" | "DROP" | "LOCK" => "TABLE ",
            _ => return Self { operation, table: "" },
        };
        let table = sql.match_indices(before_table).find_map(|(at, _)| table(&sql[at + before_table.len()..]));
        Self { operation, table: table.unwrap_or_default() }
    }
}

/// The name at the beginning of a text, unless it is that of a function or something else.
fn table(text: &str) -> Option<&str> {
    let text = ["IF NOT EXISTS ", "IF EXISTS "].iter().find_map(|word| text.strip_prefix(word)).unwrap_or(text);
    let (name, rest) = if let Some(quoted) = text.strip_prefix('"') {
        quoted.split_once('"')?
    } else {
        let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
        text.split_at(text.find(|character| !is_part(character)).unwrap_or(text.len()))
    };
    (!name.is_empty() && !rest.starts_with('(')).then_some(name)
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, table } = self;
        if table.is_empty() { formatter.write_str(operation) } else { write!(formatter, "{operation} {table}") }
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn the_first_table_is_what_a_statement_is_about() {
        for (sql, summary) in [
            (r#"SELECT "hero"."id" FROM "hero" WHERE "hero"."id" = ?"#, "SELECT hero"),
            (r#"SELECT json_array((SELECT "team"."id" FROM "team")) FROM json_each(?) AS "keys""#, "SELECT team"),
            (r#"SELECT x FROM (SELECT y FROM unnest($1) AS keys, LATERAL (SELECT z FROM "hero") h)"#, "SELECT hero"),
            (r#"INSERT INTO "event" (kind) VALUES (?)"#, "INSERT event"),
            (r#"WITH "rows" AS (INSERT INTO "hero" ("name") SELECT 1 RETURNING "id") SELECT 1"#, "INSERT hero"),
            (r#"WITH x AS (SELECT 1 FROM "team") SELECT 1 FROM x"#, "SELECT team"),
            (r#"UPDATE "hero" SET "age" = ?"#, "UPDATE hero"),
            (r#"DELETE FROM "hero_team_link" WHERE TRUE"#, "DELETE hero_team_link"),
            ("CREATE TABLE IF NOT EXISTS hero (id integer)", "CREATE hero"),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN"),
            ("SELECT 1", "SELECT"),
            ("VACUUM", "OTHER"),
            ("", "OTHER"),
        ] {
            assert_eq!(Summary::from_sql(sql).to_string(), summary, "{sql}");
        }
    }
}
