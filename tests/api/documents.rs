//! Documents: what they may cost, how they are kept, and what is said of those that are wrong.

use hero_teams::config::Limits;
use serde_json::{Value, json};

use crate::{
    databases::TestDatabase,
    support::{TestApp, json_body, post},
};

async fn app(limits: Limits) -> TestApp {
    TestApp::with(TestDatabase::sqlite(), |settings| settings.graphql.limits = limits).await
}

fn too_complex(message: &str) -> Value {
    json!({"errors": [{"message": message, "extensions": {"code": "QUERY_TOO_COMPLEX"}}]})
}

/// A document whose last fragment is spread in so many others.
fn chain(others: usize) -> String {
    let fragment = |index: usize| format!("fragment f{index} on Query {{ ...f{} }} ", index + 1);
    let fragments: Vec<_> = (0..others).map(fragment).collect();
    format!("{{ ...f0 }} {} fragment f{others} on Query {{ __typename }}", fragments.concat())
}

#[tokio::test]
async fn each_limit_is_exact() {
    let limits = Limits {
        max_tokens: 600,
        max_depth: 3,
        max_fields: 8,
        max_aliases: 3,
        max_directives: 2,
        max_root_fields: 4,
        max_rows: 2_000,
        ..Limits::DEFAULT
    };
    let app = app(limits).await;
    for (fine, too_much, message) in [
        (format!("{{ heroes {{ id {}}} }}", "id ".repeat(2)), format!("{{ heroes {{ id {}}} }}", ",".repeat(600)),
         "the tokens number 606; at most 600 are allowed"),
        ("{ heroes { teams { id } } }".to_owned(), "{ heroes { teams { heroes { id } } } }".to_owned(),
         "the fields in fields number 4; at most 3 are allowed"),
        ("{ heroes { ...F id age } teams { ...G } } fragment F on Hero { id name } fragment G on Team { id }".to_owned(),
         "{ heroes { ...F ...F id age } teams { ...G } } fragment F on Hero { id name } fragment G on Team { id }".to_owned(),
         "the fields number 9; at most 8 are allowed"),
        ("{ a: heroes { id } b: heroes { id } c: heroes { id } }".to_owned(),
         "{ a: heroes { id } b: heroes { id } ...F ... { d: heroes { id } } } fragment F on Query { c: heroes { id } }".to_owned(),
         "the selections of one field of an object number 4; at most 3 are allowed"),
        (chain(49),
         chain(50),
         "the fragments in fragments number 51; at most 50 are allowed"),
        ("{ heroes { a: id @skip(if: true) b: id @include(if: true) } }".to_owned(),
         "{ heroes { ... @skip(if: true) { a: id @skip(if: true) b: id @include(if: true) } } }".to_owned(),
         "the directives number 3; at most 2 are allowed"),
        ("{ heroes { id } teams { id } __typename ...F } fragment F on Query { hero(id: 1) { id } }".to_owned(),
         "{ heroes { id } teams { id } __typename ...F } fragment F on Query { hero(id: 1) { id } b: __typename }".to_owned(),
         "the root fields number 5; at most 4 are allowed"),
        ("{ heroes(limit: 10) { teams(limit: 199) { id } } }".to_owned(), "{ heroes(limit: 10) { teams(limit: 200) { \
                                                                           id } } }".to_owned(),
         "the rows, as estimated, number 2010; at most 2000 are allowed"),
        ("{ heroes(limit: 180) { teams { id } } }".to_owned(), "{ heroes(limit: 190) { teams { id } } }".to_owned(),
         "the rows, as estimated, number 2090; at most 2000 are allowed"),
        ("{ heroesConnection(first: 666) { nodes { id } } }".to_owned(),
         "{ heroesConnection(last: 700) { nodes { id } edges { cursor } } }".to_owned(),
         "the rows, as estimated, number 2100; at most 2000 are allowed"),
    ] {
        let answer = app.graphql(&fine).await;
        assert_eq!(answer.get("errors"), None, "{fine}");
        assert_eq!(app.graphql(&too_much).await, too_complex(message), "{too_much}");
    }
    app.close().await;
}

#[tokio::test]
async fn brackets_and_tokens_are_counted_as_the_language_has_them() {
    let app = app(Limits { max_tokens: 16, ..Limits::DEFAULT }).await;
    let brackets = "{[(".repeat(40);
    for fine in [
        format!("{{ heroes(where: {{name: {{eq: \"\\\"{brackets}\"}}}}) }}"),
        format!("{{ heroes(where: {{name: {{eq: \"\"\"{brackets}\\\"\"\"{brackets} \" \"\" \"\"\"}}}}) }}"),
        format!("{{ __typename # {brackets}\n }}"),
        // Blank space is no token, and neither is a byte order mark.
        format!("\u{feff}{}{{ __typename }}", " \n".repeat(1_000)),
        format!("{{ {} }}", "a ".repeat(14)),
        format!("{{{}}}", "#\n ".repeat(14)),
    ] {
        let answer = app.graphql(&fine).await;
        assert_ne!(answer["errors"][0]["extensions"]["code"], json!("QUERY_TOO_COMPLEX"), "{fine} {answer}");
    }
    for (too_much, tokens) in [
        (format!("{{ {} }}", "a ".repeat(15)), 17),
        (format!("{{{}}}", "#\n ".repeat(15)), 17),
        (format!("{{ {} }}", "...,".repeat(8)), 18),
        (format!("{{{}}}", "\"a\"1".repeat(8)), 18),
        (format!("{{ {} }}", "? \u{1F600} ".repeat(8)), 18),
    ] {
        let message = format!("the tokens number {tokens}; at most 16 are allowed");
        assert_eq!(app.graphql(&too_much).await, too_complex(&message), "{too_much}");
    }
    // A string that does not end on its line is the first fault, wherever its brackets are.
    let answer = app.graphql("{ heroes(where: {name: {eq: \"A}}) {\n id } }").await;
    assert_eq!(
        answer["errors"][0],
        json!({"message": "syntax error: unterminated string value", "locations": [{"line": 1, "column": 29}],
            "extensions": {"code": "BAD_USER_INPUT"}})
    );
    app.close().await;
}

#[tokio::test]
async fn rows_are_estimated_with_the_values_of_variables() {
    let app = app(Limits { max_rows: 1_000, ..Limits::DEFAULT }).await;
    let query = "query($limit: Int = 10, $ids: [ID!]!) { heroes(limit: $limit) { teams(limit: 50) { id } } nodes(ids: \
                 $ids) { id } }";
    let fine = json!({"data": {"heroes": [], "nodes": []}});
    assert_eq!(app.graphql_with(query, json!({"ids": []})).await, fine);
    for (variables, rows) in [(json!({"limit": 20, "ids": []}), 1_021), (json!({"ids": vec![1; 500]}), 1_010)] {
        let message = format!("the rows, as estimated, number {rows}; at most 1000 are allowed");
        assert_eq!(app.graphql_with(query, variables).await, too_complex(&message));
    }
    // What is out of its range is for the field to refuse.
    let answer = app.graphql("{ heroes(limit: 2147483647) { id } }").await;
    assert_eq!(answer["errors"][0]["message"], json!("`limit` must be from 0 to 1000, not 2147483647"));
    app.close().await;
}

#[tokio::test]
async fn an_answer_is_bounded_whatever_was_estimated() {
    let app = app(Limits { max_answer_bytes: 10_000, ..Limits::DEFAULT }).await;
    let team = json!({"name": "T".repeat(200), "headquarters": "H"});
    let heroes = vec![json!({"name": "A", "secretName": "B", "teams": {"connectOrCreate": [team]}}); 90];
    let create = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
    app.data(create, json!({"input": heroes})).await;
    app.data("{ heroes(limit: 30) { teams { name } } }", json!({})).await;
    for query in ["{ heroes { teams { name } } }", "{ a: teams { heroes { teams { name } } } }"] {
        let answer = app.graphql(query).await;
        assert_eq!(answer["data"], json!(null), "{query}");
        assert_eq!(answer["errors"][0]["message"], json!("the answer would have more than 10000 bytes; ask for less"));
        assert_eq!(answer["errors"][0]["extensions"], json!({"code": "QUERY_TOO_COMPLEX"}));
    }
    app.close().await;
}

#[tokio::test]
async fn the_queries_of_tools_are_within_the_limits() {
    let app = app(Limits::DEFAULT).await;
    // Nine levels of types of types, as graphql-js asks for them.
    let of_type = (0..9).fold("kind name".to_owned(), |inner, _| format!("kind name ofType {{ {inner} }}"));
    let introspection = format!(
        "query IntrospectionQuery {{ __schema {{ description queryType {{ name kind }} mutationType {{ name kind }}
         subscriptionType {{ name kind }} types {{ ...FullType }} directives {{ name description isRepeatable locations
         args(includeDeprecated: true) {{ ...InputValue }} }} }} }}
         fragment FullType on __Type {{ kind name description specifiedByURL isOneOf fields(includeDeprecated: true) {{ name description
         args(includeDeprecated: true) {{ ...InputValue }} type {{ ...TypeRef }} isDeprecated deprecationReason }}
         inputFields(includeDeprecated: true) {{ ...InputValue }} interfaces {{ ...TypeRef }} enumValues(includeDeprecated: true) {{
         name description isDeprecated deprecationReason }} possibleTypes {{ ...TypeRef }} }}
         fragment InputValue on __InputValue {{ name description type {{ ...TypeRef }} defaultValue isDeprecated deprecationReason }}
         fragment TypeRef on __Type {{ {of_type} }}"
    );
    let data = app.data(&introspection, json!({})).await;
    assert_eq!(data["__schema"]["queryType"], json!({"name": "Query", "kind": "OBJECT"}));
    let types = data["__schema"]["types"].as_array().expect("a list");
    let node = types.iter().find(|class| class["name"] == json!("Node")).expect("it is there");
    // What async-graphql itself answers wrongly.
    assert_eq!((&data["__schema"]["description"], &node["interfaces"]), (&json!(null), &json!([])));
    assert_eq!(node["possibleTypes"].as_array().map(Vec::len), Some(2));
    let own = "{ __type(name: \"Hero\") { __isOneOf0_x: name isOneOf y: isOneOf } }";
    assert_eq!(app.data(own, json!({})).await, json!({"__type": {"__isOneOf0_x": "Hero", "isOneOf": null, "y": null}}));
    let filter = types.iter().find(|class| class["name"] == json!("HeroFilter")).expect("it is there");
    assert_eq!((&filter["isOneOf"], &node["isOneOf"]), (&json!(false), &json!(null)));
    app.close().await;
}

/// What is not measured in linear time never ends here: doubled fragments alone would take years.
#[tokio::test]
async fn hostile_documents_are_refused() {
    let app = app(Limits::DEFAULT).await;
    let repeat = |part: &str, times: usize| part.repeat(times);
    let numbered = |count: usize, part: fn(usize) -> String| (0..count).map(part).collect::<String>();
    let documents = [
        format!(
            "{{ ...f0 }} {} fragment f24 on Query {{ __typename }}",
            numbered(24, |i| format!("fragment f{i} on Query {{ ...f{} ...f{} }} ", i + 1, i + 1))
        ),
        format!(
            "{{ ...f0 }} {} fragment f900 on Query {{ __typename }}",
            numbered(900, |i| format!("fragment f{i} on Query {{ ...f{} }} ", i + 1))
        ),
        format!("{{ {} }}", repeat("a: heroes { teams { name } } ", 1_000)),
        format!("{{ {} }}", numbered(900, |i| format!("a: heroes(limit: {i}) {{ id }} "))),
        format!("{{ {} }}", numbered(4_000, |i| format!("a{i}: x "))),
        numbered(700, |i| format!("query q{i} {{ ...f0 }} fragment f{i} on Query {{ ...f{} }} ", i + 1)),
        numbered(99, |i| format!("query q{i} {{ ...f0 }} "))
            + &numbered(800, |i| format!("fragment f{i} on Query {{ x{i}: __typename ...f{} }} ", i + 1)),
        format!("query({}) {{ __typename }}", numbered(2_400, |i| format!("$v{i}: Int "))),
        format!("{{ __typename {} }}", repeat("@skip(if: true) ", 1_600)),
        format!("{{ heroes(where: {{id: {{in: [{}]}}}}) {{ x }} }}", repeat("1 ", 9_000)),
        format!("{{ heroes(where: {{name: {{eq: \"{}\"}}}}) {{ x }} }}", repeat("x", 1_000_000)),
        format!("{{ heroes {{ name }} }} {}", repeat("#\n", 500_000)),
        format!("{{ heroes {{ name }} }} {}", repeat(",", 1_000_000)),
        format!("{{ heroes {{ name }} }} {}", repeat("?", 1_000_000)),
        format!("{{ heroes {{ name }} }} {}", repeat("\"\n", 400_000)),
        repeat("a ", 500_000),
        // Nested in each way that the language has, and in ways that it has not.
        format!("{{ heroes(where: {}{}) {{ id }} }}", repeat("{not: ", 4_000), repeat("}", 4_000)),
        format!("{{ heroes(where: {}{}) {{ id }} }}", repeat("[", 100_000), repeat("]", 100_000)),
        format!("query($v: {}Int{}) {{ __typename }}", repeat("[", 100_000), repeat("]", 100_000)),
        format!("query($v: Int = {}", repeat("[{a: ", 3_000)),
        format!("{{ __typename @include(if: {}", repeat("{", 100_000)),
        format!("{}{}", repeat("{ heroes ", 3_000), repeat("}", 3_000)),
        repeat("{ ... ", 100_000),
        repeat("{", 1_000_000),
        repeat("[[[[", 250_000),
        repeat("(", 1_000_000),
        repeat("\"\"\"", 333_333),
        repeat("\"", 1_000_000),
        repeat("#", 1_000_000),
        repeat("\\", 1_000_000),
    ];
    for document in documents {
        let body = json!({"query": document}).to_string();
        let answer = json_body(post(&app.router, "application/json", body).await).await;
        assert!(answer.get("data").is_none() && !answer["errors"].is_null(), "{answer}");
        assert!(answer.to_string().len() < 20_000, "{}", answer.to_string().len());
    }
    app.close().await;
}

/// What has taken seconds or gigabytes, with answers that stay small.
#[tokio::test]
async fn hostile_requests_are_answered() {
    let app = app(Limits::DEFAULT).await;
    let operations: Vec<String> = (0..99).map(|index| format!("query q{index}($v: ID) {{ ...F }} ")).collect();
    let variables: Vec<String> = (0..2_000).map(|index| format!("$v{index}: ID ")).collect();
    let errors = "query($v: [ID!]!) { a: nodes(ids: $v) { id } b: nodes(ids: $v) { id } c: nodes(ids: $v) { id } }";
    for (query, variables) in [
        // Errors far behind in a long document.
        (" ".repeat(900_000) + errors, json!({"v": vec!["x"; 1_000]})),
        // One fault for each use of a variable in each operation.
        (
            format!("{} fragment F on Query {{ nodes(ids: [{}]) {{ id }} }}", operations.concat(), "$v ".repeat(1_500)),
            json!({}),
        ),
        (format!("query({}) {{ __typename }}", variables.concat()), json!({})),
        (format!("{{ __typename ...F }} fragment F on {} {{ id }}", "a".repeat(900_000)), json!({})),
        (format!("{{ {} }}", "a".repeat(900_000)), json!({})),
        (
            "mutation($a: [CreateHeroInput!]!) { createHeroes(input: $a) { heroes { id } } }".to_owned(),
            json!({"a": vec![json!({}); 200_000]}),
        ),
        (
            "query($a: HeroFilter) { heroes(where: $a) { id } }".to_owned(),
            json!({"a": {"and": vec![json!({}); 200_000]}}),
        ),
    ] {
        let body = json!({"query": query, "variables": variables}).to_string();
        let answer = json_body(post(&app.router, "application/json", body).await).await;
        assert!(!answer["errors"].is_null(), "{query:.100}");
        assert!(answer.to_string().len() < 500_000, "{query:.100}");
    }
    app.close().await;
}

#[tokio::test]
async fn rows_are_counted_whatever_was_estimated() {
    let app = app(Limits { max_rows: 2_000, ..Limits::DEFAULT }).await;
    let teams: Vec<_> = (0..50).map(|team| json!({"name": format!("T{team}"), "headquarters": "H"})).collect();
    let heroes = vec![json!({"name": "A", "secretName": "B", "teams": {"connectOrCreate": teams}}); 30];
    let create = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { name } } }";
    app.data(create, json!({"input": heroes})).await;
    app.data("{ heroes(limit: 30) { teams { name } } }", json!({})).await;
    for query in [
        "{ heroes(limit: 10) { teams { heroes { name } } } }",
        "{ heroes(limit: 2) { teams { heroesConnection { nodes { name } } } } }",
        "{ heroesConnection(first: 2) { nodes { teams { heroes { name } } } } }",
        "{ a: heroes(limit: 20) { teams { name } } b: heroes(limit: 22, offset: 1) { teams { name } } }",
    ] {
        let answer = app.graphql(query).await;
        let message = json!("the answer would have more than 2000 rows; ask for less");
        assert_eq!((&answer["data"], &answer["errors"][0]["message"]), (&json!(null), &message), "{query}");
        assert_eq!(answer["errors"][0]["extensions"], json!({"code": "QUERY_TOO_COMPLEX"}));
    }
    app.close().await;
}

#[tokio::test]
async fn a_condition_that_is_null_is_refused() {
    let app = app(Limits::DEFAULT).await;
    for (query, columns) in [
        ("query($a: Boolean = true) { heroes { id @include(if: $a) } }", &[54][..]),
        ("query($a: Boolean = true) { ... @skip(if: $a) { heroes { id } } }", &[43]),
        ("query($a: Boolean = true) { ...F } fragment F on Query { heroes { id @skip(if: $a) } }", &[80]),
        ("query($a: Boolean = true) { heroes @skip(if: $a) { id @skip(if: $a) } }", &[46, 65]),
    ] {
        assert_eq!(app.graphql_with(query, json!({})).await.get("errors"), None);
        let answer = app.graphql_with(query, json!({"a": null})).await;
        let locations: Vec<_> = columns.iter().map(|column| json!({"line": 1, "column": column})).collect();
        let error = json!({"message": "`$a` must not be null: it is the condition of a directive",
            "locations": locations, "extensions": {"code": "BAD_USER_INPUT", "variablePath": ["a"]}});
        assert_eq!(answer, json!({"errors": [error]}));
    }
    // Nothing is written before that is known.
    let mutation = r#"mutation($a: Boolean = true) { createHero(input: {name: "A", secretName: "B"}) { hero { id @skip(if: $a) } } }"#;
    assert_eq!(app.graphql_with(mutation, json!({"a": null})).await.get("data"), None);
    assert_eq!(app.counts().await, [0, 0, 0]);
    app.close().await;
}

/// The error of a field for the variable `$n`.
fn null(path: Value, column: i32, argument: Value, shown: &str, class: &str) -> Value {
    json!({"message": format!("`$n` must not be null: `{shown}` is of the type {class}"), "path": path,
        "locations": [{"line": 1, "column": column}],
        "extensions": {"code": "BAD_USER_INPUT", "argumentPath": argument, "variablePath": ["n"]}})
}

/// A variable that may be null may stand there, for one of the two has a default.
#[tokio::test]
async fn null_where_nothing_may_be_null_is_an_error_of_the_field() {
    let app = app(Limits::DEFAULT).await;
    let input = json!({"name": "A", "secretName": "B", "teams": {"create": [{"name": "T", "headquarters": "H"}]}});
    app.data(
        "mutation($input: CreateHeroInput!) { createHero(input: $input) { hero { id } } }",
        json!({"input": input}),
    )
    .await;
    for (query, data, errors) in [
        (
            r#"query($n: String = "Int") { __type(name: $n) { name } }"#,
            json!({"__type": null}),
            vec![null(json!(["__type"]), 42, json!(["name"]), "name", "String!")],
        ),
        (
            r#"query($n: String = "Int") { a: __type(name: $n) { name } heroes { name } b: __type(name: "Int") { name } }"#,
            json!({"a": null, "heroes": [{"name": "A"}], "b": {"name": "Int"}}),
            vec![null(json!(["a"]), 45, json!(["name"]), "name", "String!")],
        ),
        // This one may be null.
        (
            r#"query($n: Boolean = true) { __type(name: "Node") { fields(includeDeprecated: $n) { name } } }"#,
            json!({"__type": {"fields": [{"name": "id"}]}}),
            vec![],
        ),
        (
            r#"query($n: ID = "1") { hero(id: $n) { name } team(id: 1) { name } ...F } fragment F on Query { b: team(id: $n) { name } }"#,
            json!({"hero": null, "team": {"name": "T"}, "b": null}),
            vec![
                null(json!(["hero"]), 32, json!(["id"]), "id", "ID!"),
                null(json!(["b"]), 107, json!(["id"]), "id", "ID!"),
            ],
        ),
        (
            r#"query($n: ID = "Hero:1") { nodes(ids: ["Hero:1", $n]) { id } team(id: 1) { name } }"#,
            Value::Null,
            vec![null(json!(["nodes"]), 50, json!(["ids", 1]), "ids[1]", "ID!")],
        ),
        (
            r#"query($n: [ID!] = ["Hero:1"]) { nodes(ids: $n) { id } }"#,
            Value::Null,
            vec![null(json!(["nodes"]), 44, json!(["ids"]), "ids", "[ID!]!")],
        ),
        (
            "query($n: HeroOrder = {field: NAME}) { heroes(orderBy: [$n, $n]) { id } }",
            Value::Null,
            vec![null(json!(["heroes"]), 57, json!(["orderBy", 0]), "orderBy[0]", "HeroOrder!")],
        ),
        // The place has a default.
        (
            "query($n: OrderDirection) { heroes(orderBy: {field: NAME, direction: $n}) { id } }",
            Value::Null,
            vec![null(json!(["heroes"]), 70, json!(["orderBy", "direction"]), "orderBy.direction", "OrderDirection!")],
        ),
        // Where an object is null already, its fields say nothing.
        (
            "query($n: Boolean) { hero(id: 1) { name teams(where: {not: {name: {ignoreCase: $n}}}) { id } } none: \
             hero(id: 9) { teamCount(where: {name: {ignoreCase: $n}}) } }",
            json!({"hero": null, "none": null}),
            vec![null(
                json!(["hero", "teams"]),
                80,
                json!(["where", "not", "name", "ignoreCase"]),
                "where.not.name.ignoreCase",
                "Boolean!",
            )],
        ),
        (
            r#"query($n: Boolean) { nodes(ids: ["Hero:1", "Team:1"]) { id ... on Team { heroesConnection(where: {name: {ignoreCase: $n}}) { totalCount } } } }"#,
            json!({"nodes": [{"id": "Hero:1"}, null]}),
            vec![null(
                json!(["nodes", 1, "heroesConnection"]),
                118,
                json!(["where", "name", "ignoreCase"]),
                "where.name.ignoreCase",
                "Boolean!",
            )],
        ),
        // A field that is not asked for has no errors.
        (
            r#"query($n: String = "Int") { __type(name: $n) @skip(if: true) { name } team(id: 1) { name } }"#,
            json!({"team": {"name": "T"}}),
            vec![],
        ),
        ("query($n: Int = 3) { heroes(limit: $n, offset: $n) { name } }", json!({"heroes": [{"name": "A"}]}), vec![]),
    ] {
        assert_eq!(app.graphql_with(query, json!({})).await.get("errors"), None, "{query}");
        let answer = app.graphql_with(query, json!({"n": null})).await;
        let expected = if errors.is_empty() { json!({"data": data}) } else { json!({"data": data, "errors": errors}) };
        assert_eq!(answer, expected, "{query}");
    }

    app.close().await;
}

/// Those beside it are written, and answered.
#[tokio::test]
async fn a_mutation_with_null_where_nothing_may_be_null_writes_nothing() {
    let app = app(Limits::DEFAULT).await;
    let create = r#"mutation { createHero(input: {name: "C", secretName: "D"}) { hero { id } } }"#;
    app.data(create, json!({})).await;
    for (query, class, field, column, path, shown) in [
        (
            r#"mutation($n: String = "x") { createHero(input: {name: $n, secretName: "x"}) { hero { id } } b: deleteHero(input: {id: 2}) { hero { name } } }"#,
            "String!",
            "createHero",
            55,
            json!(["input", "name"]),
            "input.name",
        ),
        (
            r#"mutation($n: CreateHeroInput = {name: "x", secretName: "y"}) { createHeroes(input: [$n]) { heroes { id } } b: deleteHero(input: {id: 3}) { hero { name } } }"#,
            "CreateHeroInput!",
            "createHeroes",
            85,
            json!(["input", 0]),
            "input[0]",
        ),
        (
            r#"mutation($n: ID = "1") { updateHero(input: {id: 1, teams: {connect: [$n]}}) { hero { id } } b: deleteHero(input: {id: 4}) { hero { name } } }"#,
            "ID!",
            "updateHero",
            70,
            json!(["input", "teams", "connect", 0]),
            "input.teams.connect[0]",
        ),
    ] {
        app.data(create, json!({})).await;
        let answer = app.graphql_with(query, json!({"n": null})).await;
        let error = null(json!([field]), column, path, shown, class);
        assert_eq!(answer, json!({"data": {field: null, "b": {"hero": {"name": "C"}}}, "errors": [error]}), "{query}");
        assert_eq!(app.counts().await, [1, 0, 0], "{query}");
    }
    app.close().await;
}

#[tokio::test]
async fn a_fault_that_repeats_itself_is_one_with_its_places() {
    let app = app(Limits::DEFAULT).await;
    for (document, faults) in [
        (
            "{ heroes @a @a @a { id @a } }",
            &[("cannot find directive `@a` in this document", &[10, 13, 16, 24][..])][..],
        ),
        (
            "{ heroes { id @skip(if: true) @skip(if: true) @skip(if: true) } }",
            &[("non-repeatable directive skip can only be used once per location", &[31, 47])],
        ),
        (
            "{ heroes { y y a: y } teams { y } }",
            &[
                ("type `Hero` does not have a field `y`", &[12, 14, 19]),
                ("type `Team` does not have a field `y`", &[31]),
            ],
        ),
        (
            "{ heroes(limit: $n, offset: $n) { teams(limit: $n) { id } } }",
            &[("variable `$n` is not defined", &[17, 29, 48])],
        ),
        ("query A { ...X ...X } query B { ...X }", &[("cannot find fragment `X` in this document", &[11, 16, 33])]),
        (
            "{ node(id: 1) { ... on Foo { id } ... on Foo { id } } }",
            &[("type condition `Foo` of inline fragment is not a type defined in the schema", &[24, 42])],
        ),
        (
            "{ heroes(limit: 1, limit: 1, limit: 1) { id } }",
            &[("the argument `limit` is provided multiple times", &[20, 30])],
        ),
        (
            "query($a: Int, $a: Int, $a: Int) { heroes(limit: $a) { id } }",
            &[("the variable `$a` is declared multiple times", &[16, 25])],
        ),
        (
            "{ heroes(where: {name: {eq: \"x\", eq: \"x\", eq: \"x\"}}) { id } }",
            &[("the input field `eq` is given twice", &[34, 43])],
        ),
        (
            "query A($i: ID) { nodes(ids: [$i, $i]) { id } ...F } query B($i: ID) { ...F } fragment F on Query { b: \
             nodes(ids: [$i]) { id } }",
            &[("the variable `$i` is a ID, where a ID! is expected", &[31, 35, 116])],
        ),
        ("{ hero { id } b: hero { id } }", &[("the required argument `Query.hero(id:)` is not provided", &[3, 15])]),
        ("{ heroes { id ? } ? }", &[("syntax error: Unexpected character \"?\"", &[15, 19])]),
    ] {
        let errors: Vec<_> = faults
            .iter()
            .map(|(message, columns)| {
                let locations: Vec<_> = columns.iter().map(|column| json!({"line": 1, "column": column})).collect();
                json!({"message": message, "locations": locations, "extensions": {"code": "BAD_USER_INPUT"}})
            })
            .collect();
        assert_eq!(app.graphql(document).await, json!({"errors": errors}), "{document}");
    }
    // Both the places of a fault and the faults are bounded.
    let fields: Vec<String> = (0..30).map(|index| format!("x{index}")).collect();
    let answer = app.graphql(&format!("{{ heroes {{ {} {} }} }}", "y ".repeat(40), fields.join(" "))).await;
    let errors = answer["errors"].as_array().expect("a list");
    assert_eq!(errors[0]["locations"].as_array().map(Vec::len), Some(20));
    assert_eq!((errors.len(), &errors[20]["message"]), (21, &json!("and 11 more faults")));
    app.close().await;
}

#[tokio::test]
async fn places_are_lines_and_characters() {
    let app = app(Limits::DEFAULT).await;
    for (before, line, column) in
        [("", 1, 1), ("\n", 2, 1), ("\r\n \r\n", 3, 1), ("\r\r", 3, 1), ("# é\u{1F600}\n\u{feff} ", 2, 3)]
    {
        let answer = app.graphql(&format!("{before}{{ x: heroes {{ y }} }}")).await;
        assert_eq!(answer["errors"][0]["locations"], json!([{"line": line, "column": column + 14}]), "{before:?}");
    }
    app.close().await;
}

#[tokio::test]
async fn documents_are_known_by_their_hashes() {
    let app = app(Limits::DEFAULT).await;
    // That of `{ __typename }`, as `sha256sum` gives it.
    let hash = "7f56e67dd21ab3f30d1ff8b7bed08893f0a0db86449836189b361dd1e56ddb4b";
    let send = async |body: Value| json_body(post(&app.router, "application/json", body.to_string()).await).await;
    let extensions = |hash: &str| json!({"persistedQuery": {"version": 1, "sha256Hash": hash}});
    let unknown =
        json!({"errors": [{"message": "PersistedQueryNotFound", "extensions": {"code": "PERSISTED_QUERY_NOT_FOUND"}}]});
    let data = json!({"data": {"__typename": "Query"}});
    assert_eq!(send(json!({"extensions": extensions(hash)})).await, unknown);
    assert_eq!(send(json!({"query": "{ __typename }", "extensions": extensions(hash)})).await, data);
    assert_eq!(send(json!({"extensions": extensions(hash)})).await, data);
    assert_eq!(send(json!({"extensions": extensions(&hash.to_uppercase())})).await, data);
    for (body, message) in [
        (
            json!({"query": "{ a: __typename }", "extensions": extensions(hash)}),
            "`sha256Hash` is not the hash of `query`",
        ),
        (json!({"extensions": extensions("1234")}), "`sha256Hash` must have 64 hexadecimal digits"),
        (json!({"extensions": extensions(&"é".repeat(32))}), "`sha256Hash` must have 64 hexadecimal digits"),
        (
            json!({"extensions": {"persistedQuery": {"version": 2, "sha256Hash": hash}}}),
            "the version of `persistedQuery` must be 1",
        ),
    ] {
        let answer = json!({"errors": [{"message": message, "extensions": {"code": "BAD_USER_INPUT"}}]});
        assert_eq!(send(body).await, answer);
    }
    let get = format!("/graphql?extensions={{%22persistedQuery%22:{{%22version%22:1,%22sha256Hash%22:%22{hash}%22}}}}");
    assert_eq!(json_body(app.get(&get).await).await, data);
    app.close().await;
}

#[tokio::test]
async fn what_may_have_been_meant() {
    let fault = |message: &str, column: i32| json!({"errors": [{"message": message, "locations": [{"line": 2, "column": column}], "extensions": {"code": "BAD_USER_INPUT"}}]});
    let field = "type `Hero` does not have a field `secretname`";
    let argument = "the argument `were` is not supported by `Query.heroes`";
    let class = "type condition `Heroe` of inline fragment is not a type defined in the schema";
    let (of_field, of_argument, of_class) = (
        "{ heroes {\n secretname } }",
        "{\n heroes(were: {}) { id } }",
        "{ nodes(ids: []) {\n ... on Heroe { id } } }",
    );
    let app = app(Limits::DEFAULT).await;
    assert_eq!(app.graphql(of_field).await, fault(&format!("{field}; did you mean `secretName`?"), 2));
    assert_eq!(app.graphql(of_argument).await, fault(&format!("{argument}; did you mean `where`?"), 9));
    assert_eq!(app.graphql(of_class).await, fault(&format!("{class}; did you mean `Hero`?"), 9));
    assert_eq!(app.graphql("{ heroes {\n xyz } }").await, fault("type `Hero` does not have a field `xyz`", 2));
    for (document, message, column) in [
        (
            "mutation { createHero(input: {}) {\n heros { id } } }",
            "type `CreateHeroPayload` does not have a field `heros`; did you mean `hero`?",
            2,
        ),
        (
            "{ node(id: 1) {\n ... on Team { a: heroes { nam } } } }",
            "type `Hero` does not have a field `nam`; did you mean `name`?",
            28,
        ),
        (
            "query(\n$a: [Boolan!]) { __typename }",
            "cannot find type `Boolan` in this document; did you mean `Boolean`?",
            1,
        ),
        (
            "{ ...F } fragment F on\nQuerry { __typename }",
            "type condition `Querry` of fragment `F` is not a type defined in the schema; did you mean `Query`?",
            1,
        ),
    ] {
        let answer = app.graphql(document).await;
        let errors = answer["errors"].as_array().expect("a list");
        assert!(errors.contains(&fault(message, column)["errors"][0]), "{answer}");
    }
    // What else is wrong at the same place is said of names that are not mistaken.
    let answer = app.graphql("query(\n$a: Int, $a: Boolan) { heroes(were: 1, were: 2) { id } }").await;
    let messages = answer["errors"].as_array().expect("a list").iter().map(|error| error["message"].as_str());
    let suggesting = messages.filter(|message| message.is_some_and(|message| message.contains("did you mean")));
    assert_eq!(suggesting.count(), 2, "{answer}");
    app.close().await;

    let app = TestApp::with(TestDatabase::sqlite(), |settings| {
        settings.graphql.no_suggestions = true;
        settings.graphql.no_introspection = true;
    });
    let app = app.await;
    assert_eq!(app.graphql(of_field).await, fault(field, 2));
    for query in ["{ __schema { types { name } } }", "{ a: __type(name: \"Hero\") { name } }"] {
        let error = json!({
            "message": "introspection is turned off on this server",
            "locations": [{"line": 1, "column": 3}],
            "extensions": {"code": "BAD_USER_INPUT"},
        });
        assert_eq!(app.graphql(query).await, json!({"errors": [error]}));
    }
    assert_eq!(app.graphql("{ __typename }").await, json!({"data": {"__typename": "Query"}}));
    assert_eq!(app.get("/schema.graphql").await.status(), axum::http::StatusCode::NOT_FOUND);
    app.close().await;
}

/// A payload tells what was written, so it is there whatever the answer costs.
#[tokio::test]
async fn a_payload_is_answered_beyond_the_bounds() {
    let app = app(Limits { max_answer_bytes: 60, ..Limits::DEFAULT }).await;
    let query = r#"mutation { a: createHero(input: {name: "A", secretName: "A long name that nobody knows"}) { hero { secretName } }
        b: createHero(input: {name: "B", secretName: "A long name that nobody knows"}) { hero { secretName } } c: deleteHero(input: {id: 1}) { hero { secretName } } }"#;
    let answer = app.graphql(query).await;
    assert_eq!(
        answer["data"],
        json!({"a": {"hero": {"secretName": "A long name that nobody knows"}}, "b": {"hero": null}, "c": {"hero": null}})
    );
    let paths: Vec<_> = answer["errors"].as_array().expect("a list").iter().map(|error| &error["path"]).collect();
    assert_eq!(paths, [&json!(["b", "hero"]), &json!(["c", "hero"])]);
    assert_eq!(app.counts().await, [1, 0, 0]);
    app.close().await;
}

#[tokio::test]
async fn variables_are_refused_before_anything_is_executed() {
    let app = app(Limits::DEFAULT).await;
    let query = "mutation($input: CreateHeroInput!, $id: ID!, $order: HeroOrderField = NAME) {
        createHero(input: $input) { hero { id } } deleteHero(input: {id: $id}) { hero { id teams { heroes(orderBy: {field: $order}) { id } } } } }";
    let input = json!({"name": 1, "secretName": null, "age": 1.5, "villain": true, "teams": {"create": [{"name": "A"}, 7], "connect": [true]}});
    let answer = app.graphql_with(query, json!({"input": input, "order": "SIZE", "other": 1})).await;
    let fault = |message: &str, path: Value| json!({"message": message, "extensions": {"code": "BAD_USER_INPUT", "variablePath": path}});
    let expected = json!({"errors": [
        fault("`$input.age` must be of the type Int, not 1.5", json!(["input", "age"])),
        fault("`$input.name` must be of the type String, not 1", json!(["input", "name"])),
        fault("`$input.secretName` must not be null: its type is String!", json!(["input", "secretName"])),
        fault("`$input.teams.connect[0]` must be of the type ID, not true", json!(["input", "teams", "connect", 0])),
        fault("`$input.teams.create[0].headquarters` must be given: its type is String!", json!(["input", "teams", "create", 0, "headquarters"])),
        fault("`$input.teams.create[1]` must be of the type NewTeamInput, not 7", json!(["input", "teams", "create", 1])),
        fault("`$input` must not have the field \"villain\": CreateHeroInput has none", json!(["input"])),
        fault("`$id` must be given: its type is ID!", json!(["id"])),
        fault("`$order` must be of the type HeroOrderField, not \"SIZE\"", json!(["order"])),
    ]});
    assert_eq!(answer, expected);
    assert_eq!(app.counts().await, [0, 0, 0]);
    // A whole number may be written as a fraction, and one value stands for a list of it.
    let query = "query($limit: Int, $ids: [ID!]!) { heroes(limit: $limit) { id } nodes(ids: $ids) { id } }";
    let answer = app.graphql_with(query, json!({"limit": 1.0, "ids": "Hero:1"})).await;
    assert_eq!(answer, json!({"data": {"heroes": [], "nodes": [null]}}));
    app.close().await;
}

#[tokio::test]
async fn the_root_is_answered_as_the_specification_has_it() {
    let app = app(Limits::DEFAULT).await;
    // Equal fields are one, which a mutation executes once; the fields come in the order of the query.
    let create =
        r#"createHero(input: {name: "A", secretName: "B", teams: {create: [{name: "T", headquarters: "H"}]}})"#;
    let query = format!(
        "mutation {{ {create} {{ hero {{ id }} }} ...M }} fragment M on Mutation {{ {create} {{ hero {{ name }} }} }}"
    );
    let data = app.data(&query, json!({})).await;
    assert_eq!(data, json!({"createHero": {"hero": {"id": "Hero:1", "name": "A"}}}));
    assert_eq!(app.counts().await, [1, 1, 1]);

    let query = r#"query($no: Boolean!) {
        z: teams { heroes { name } } __typename ... @include(if: $no) { skipped: heroes { id } } a: hero(id: 1) { id }
        ...Q m: __type(name: "Hero") { name } b: heroes { teams { name } } } fragment Q on Query { q: hero(id: 2) { id } z: teams { name } }"#;
    let body = json!({"query": query, "variables": {"no": false}}).to_string();
    let answer = crate::support::text_body(post(&app.router, "application/json", body).await).await;
    assert_eq!(
        answer,
        r#"{"data":{"z":[{"heroes":[{"name":"A"}],"name":"T"}],"__typename":"Query","a":{"id":"Hero:1"},"q":null,"m":{"name":"Hero"},"b":[{"teams":[{"name":"T"}]}]}}"#
    );
    assert_eq!(app.graphql("{ heroes @skip(if: true) { id } }").await, json!({"data": {}}));
    // What async-graphql's own parser refuses.
    let data = app.data(r#"{ heroes(where: {name: {eq: "\u0041"}}) { name } }"#, json!({})).await;
    assert_eq!(data, json!({"heroes": [{"name": "A"}]}));
    let answer = app.graphql(r#"{ heroes(where: {name: {eq: "\uD83D\uDE00\u{1F600}"}}) { name } }"#).await;
    assert_eq!(answer, json!({"data": {"heroes": []}}));
    app.close().await;
}
