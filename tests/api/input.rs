//! Every fault of the input, with its code and its place, and a database that stays as it was.

use serde_json::{Value, json};

use crate::support::{TestApp, on_both_databases};

const CREATE_HERO: &str = "mutation($input: CreateHeroInput!) { createHero(input: $input) { hero { id } } }";
const CREATE_TEAM: &str = "mutation($input: CreateTeamInput!) { createTeam(input: $input) { team { id } } }";

/// The answer to a mutation of one field that was refused.
fn refused(field: &str, faults: &[(&str, Value, &str)]) -> Value {
    let errors: Vec<_> = faults
        .iter()
        .map(|(code, argument_path, message)| {
            json!({
                "message": message,
                "locations": [{"line": 1, "column": 38 + i32::from(field.ends_with("es")) * 3}],
                "path": [field],
                "extensions": {"code": code, "argumentPath": argument_path},
            })
        })
        .collect();
    json!({"data": {field: null}, "errors": errors})
}

on_both_databases! {
    async fn each_fault_of_a_hero(app: TestApp) {
        let before = app.rows().await;
        let long = "é".repeat(201);
        let blank = "must not be blank";
        let too_long = "must have at most 200 characters, not 201";
        let nul = "must not contain the character U+0000";
        let cases = [
            ("name", json!(""), blank),
            ("name", json!(" \t\n\u{a0}\u{3000}"), blank),
            ("name", json!(long), too_long),
            ("name", json!("a\0b"), nul),
            ("secretName", json!(""), blank),
            ("secretName", json!(long), too_long),
            ("secretName", json!("\0x"), nul),
            ("age", json!(-1), "must be from 0 to 1000000, not -1"),
            ("age", json!(1_000_001), "must be from 0 to 1000000, not 1000001"),
        ];
        for (field, value, fault) in cases {
            let mut input = json!({"name": "Deadpond", "secretName": "Dive Wilson", "age": 1});
            input[field] = value;
            let answer = app.graphql_with(CREATE_HERO, json!({"input": input})).await;
            let message = format!("`input.{field}` {fault}");
            assert_eq!(answer, refused("createHero", &[("BAD_USER_INPUT", json!(["input", field]), &message)]));
        }
        assert_eq!(app.rows().await, before);
    }

    async fn each_fault_of_a_team(app: TestApp) {
        for field in ["name", "headquarters"] {
            for (value, fault) in [
                (" ".to_owned(), "must not be blank"),
                ("x".repeat(201), "must have at most 200 characters, not 201"),
                ("a\0".to_owned(), "must not contain the character U+0000"),
            ] {
                let mut input = json!({"name": "Preventers", "headquarters": "Sharp Tower"});
                input[field] = json!(value);
                let answer = app.graphql_with(CREATE_TEAM, json!({"input": input})).await;
                let message = format!("`input.{field}` {fault}");
                assert_eq!(answer, refused("createTeam", &[("BAD_USER_INPUT", json!(["input", field]), &message)]));
            }
        }
        assert_eq!(app.counts().await, [0, 0, 0]);
    }

    async fn all_faults_are_reported_together(app: TestApp) {
        let query = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
        let input = json!([
            {"name": "fine", "secretName": "fine", "teams": {"create": [{"name": "fine", "headquarters": "fine"}]}},
            {"name": " ", "secretName": "", "age": -5, "teams": {
                "create": [{"name": "fine", "headquarters": ""}],
                "connect": ["1", "Hero:1", "x"],
                "connectOrCreate": [{"name": "fine", "headquarters": "fine"}, {"name": "", "headquarters": "fine"}],
            }},
        ]);
        let bad = "BAD_USER_INPUT";
        let faults = [
            (bad, json!(["input", 1, "name"]), "`input[1].name` must not be blank"),
            (bad, json!(["input", 1, "secretName"]), "`input[1].secretName` must not be blank"),
            (bad, json!(["input", 1, "age"]), "`input[1].age` must be from 0 to 1000000, not -5"),
            (bad, json!(["input", 1, "teams", "create", 0, "headquarters"]),
                "`input[1].teams.create[0].headquarters` must not be blank"),
            (bad, json!(["input", 1, "teams", "connectOrCreate", 1, "name"]),
                "`input[1].teams.connectOrCreate[1].name` must not be blank"),
            (bad, json!(["input", 1, "teams", "connect", 1]),
                r#""Hero:1" is the id of a Hero, where one of a Team is expected: "Team:1" or "1""#),
            (bad, json!(["input", 1, "teams", "connect", 2]), r#""x" is not an id; write "Team:1" or "1""#),
        ];
        let answer = app.graphql_with(query, json!({"input": input})).await;
        assert_eq!(answer, refused("createHeroes", &faults));
        assert_eq!(app.counts().await, [0, 0, 0]);
    }

    async fn objects_that_are_not_there(app: TestApp) {
        app.data(CREATE_TEAM, json!({"input": {"name": "Preventers", "headquarters": "Tower"}})).await;
        let before = app.rows().await;
        let input = json!({"name": "Deadpond", "secretName": "Dive", "teams": {
            "connect": [1, "Team:7", "1", 8, "7"], "create": [{"name": "New", "headquarters": "Here"}],
        }});
        let answer = app.graphql_with(CREATE_HERO, json!({"input": input})).await;
        let missing = |index: usize, id: u32| {
            let place = json!(["input", "teams", "connect", index]);
            ("NOT_FOUND", place, format!("there is no Team with the id \"Team:{id}\""))
        };
        let faults = [missing(1, 7), missing(3, 8), missing(4, 7)];
        let faults: Vec<_> = faults.iter().map(|(code, place, message)| (*code, place.clone(), message.as_str())).collect();
        assert_eq!(answer, refused("createHero", &faults));

        let input = json!({"name": "New", "headquarters": "Here", "heroes": {"connect": ["Hero:1"]}});
        let answer = app.graphql_with(CREATE_TEAM, json!({"input": input})).await;
        let place = json!(["input", "heroes", "connect", 0]);
        assert_eq!(answer, refused("createTeam", &[("NOT_FOUND", place, "there is no Hero with the id \"Hero:1\"")]));
        assert_eq!(app.rows().await, before);
    }

    async fn lists_that_are_too_long(app: TestApp) {
        let team = json!({"name": "T", "headquarters": "H"});
        for (list, entry) in [("create", team.clone()), ("connectOrCreate", team.clone()), ("connect", json!("1"))] {
            let input = json!({"name": "A", "secretName": "B", "teams": {list: vec![entry; 1_001]}});
            let answer = app.graphql_with(CREATE_HERO, json!({"input": input})).await;
            let message = format!("`input.teams.{list}` must have at most 1000 entries, not 1001");
            let place = json!(["input", "teams", list]);
            assert_eq!(answer, refused("createHero", &[("BAD_USER_INPUT", place, &message)]));
        }
        let query = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
        let hero = json!({"name": "A", "secretName": "B", "teams": {"create": vec![team; 100]}});
        for (input, message) in [
            (vec![json!({"name": "", "secretName": ""}); 1_001], "`input` must have at most 1000 entries, not 1001"),
            (vec![hero; 100], "`input` must name at most 10000 objects, nested ones included, not 10100"),
        ] {
            let answer = app.graphql_with(query, json!({"input": input})).await;
            assert_eq!(answer, refused("createHeroes", &[("BAD_USER_INPUT", json!(["input"]), message)]));
        }
        assert_eq!(app.counts().await, [0, 0, 0]);
    }

    async fn very_many_faults_are_counted(app: TestApp) {
        let query = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
        let answer = app.graphql_with(query, json!({"input": vec![json!({"name": "", "secretName": ""}); 500]})).await;
        let errors = answer["errors"].as_array().expect("there are errors");
        assert_eq!(errors.len(), 101);
        assert_eq!(errors[100]["message"], json!("and 900 more faults"));
        assert_eq!(errors[100]["extensions"], json!({"code": "BAD_USER_INPUT"}));
        assert_eq!(app.counts().await, [0, 0, 0]);
    }

    async fn what_the_types_refuse_has_a_code_too(app: TestApp) {
        let hero = |input: Value| (CREATE_HERO, json!({"input": input}));
        for (query, variables) in [
            hero(json!({"name": "A"})),
            hero(json!({"name": null, "secretName": "B"})),
            hero(json!({"name": "A", "secretName": "B", "villain": true})),
            hero(json!({"name": "A", "secretName": "B", "age": "old"})),
            hero(json!({"name": "A", "secretName": "B", "age": 2_147_483_648_i64})),
            hero(json!({"name": "A", "secretName": "B", "age": 1.5})),
            hero(json!({"name": "A", "secretName": "B", "teams": {"connect": [null]}})),
            (CREATE_HERO, json!({})),
            ("{ heroes { villain } }", json!({})),
            ("{ heroes { name }", json!({})),
            ("", json!({})),
        ] {
            let answer = app.graphql_with(query, variables.clone()).await;
            assert_eq!(answer.get("data"), None, "{query} {variables}");
            assert_eq!(answer["errors"][0]["extensions"]["code"], json!("BAD_USER_INPUT"), "{query} {variables} \
                                                                                            {answer}");
        }
        assert_eq!(app.counts().await, [0, 0, 0]);
    }

    async fn documents_that_would_cost_too_much(app: TestApp) {
        let fragments: Vec<String> = (0..40).map(|level| format!(" fragment f{level} on Hero {{ ...f{} ...f{} }}", level + 1, level + 1)).collect();
        let spreads = format!("{{ heroes {{ ...f0 }} }} {} fragment f40 on Hero {{ name }}", fragments.join(" "));
        let aliases: Vec<String> = (0..45).map(|number| format!("a{number:0>499}: name")).collect();
        let introspection = format!("{{ __schema {{ types {{ {} }} }} }}", aliases.join(" "));
        let deep = |open: &str, close: &str, times: usize| format!("{{ heroes(where: {}{}) {{ id }} }}", open.repeat(times), close.repeat(times));
        for (document, message) in [
            (deep("[", "]", 1_000), "the brackets in brackets number 1002; at most 64 are allowed"),
            (deep("{not:", "}", 1_000), "the brackets in brackets number 1002; at most 64 are allowed"),
            (deep("[", "]", 20_000), "the tokens number 40010; at most 10000 are allowed"),
            (format!("{{ __typename @include(if: {}) }}", "[".repeat(2_000)), "the brackets in brackets number 2002; \
                                                                               at most 64 are allowed"),
            (spreads, "the fields number 1099511627777; at most 2000 are allowed"),
            (introspection, "the characters of names number 22513; at most 20000 are allowed"),
            (format!("query {} {{ __typename }}", "a".repeat(1_001)), "the characters of a name number 1001; at \
                                                                          most 1000 are allowed"),
            (format!("query(${}: Int) {{ __typename }}", "a".repeat(3_000)), "the characters of a name number 3000; at \
                                                                            most 1000 are allowed"),
            (format!("{{ heroes {{ ...F }} }} fragment F on Hero {{ {}: name }}", "a".repeat(1_001)), "the characters \
                of a name number 1001; at most 1000 are allowed"),
        ] {
            let answer = app.graphql(&document).await;
            assert_eq!(answer, json!({"errors": [{"message": message, "extensions": {"code": "QUERY_TOO_COMPLEX"}}]}));
        }
    }

    /// A value is read into memory at each place where its variable or its fragment stands.
    async fn values_that_are_repeated_too_often(app: TestApp) {
        let repeated = |number: u32| json!({"errors": [{
            "message": format!(
                "the values that arguments repeat, by variables and fragments, number {number}; at most 100000 are \
                 allowed"
            ),
            "extensions": {"code": "QUERY_TOO_COMPLEX"},
        }]});
        let filter = json!({"age": {"in": vec![1; 1_000]}});
        let uses = |times: usize| {
            let filters = "$f ".repeat(times);
            format!("query($f: HeroFilter!) {{ heroes(where: {{or: [{filters}]}}) {{ id }} }}")
        };
        let answer = app.graphql_with(&uses(100), json!({"f": filter})).await;
        assert_eq!(answer, json!({"data": {"heroes": []}}));
        assert_eq!(app.graphql_with(&uses(1_000), json!({"f": filter})).await, repeated(999 * 1_003));
        // A long text is more than one value, in a mutation as well.
        let name = "x".repeat(6_400);
        let objects = |times: usize| format!(
            "mutation($n: String!) {{ createHeroes(input: [{}]) {{ heroes {{ id }} }} }}",
            "{name: $n, secretName: $n} ".repeat(times)
        );
        assert_eq!(app.graphql_with(&objects(500), json!({"n": name})).await, repeated(999 * 101));
        // A fragment with a list, and fragments of fragments.
        let ids = format!("{{id: {{in: [{}]}}}} ", "1 ".repeat(1_000)).repeat(3);
        let fragment = format!("fragment F on Hero {{ teams(where: {{or: [{ids}]}}) {{ id }} }}");
        let spreads: Vec<String> = (0..40).map(|hero| format!("h{hero}: hero(id: 1) {{ ...F }}")).collect();
        assert_eq!(app.graphql(&format!("{{ {} }} {fragment}", spreads.join(" "))).await, repeated(39 * 3_011));
        // A list that stands once may be as long as any, and so may a variable that is used once.
        let once = format!("{{ hero(id: 1) {{ ...F }} }} {fragment}");
        assert_eq!(app.graphql(&once).await, json!({"data": {"hero": null}}));
        assert_eq!(app.counts().await, [0, 0, 0]);
    }

    async fn very_many_errors_of_fields_are_counted(app: TestApp) {
        let query = "query($ids: [ID!]!) { a: nodes(ids: $ids) { id } b: nodes(ids: $ids) { id } }";
        let answer = app.graphql_with(query, json!({"ids": vec!["x"; 900]})).await;
        let errors = answer["errors"].as_array().expect("there are errors");
        assert_eq!(errors.len(), 1_001);
        assert_eq!(errors[1_000], json!({"message": "and 800 more errors", "extensions": {"code": "BAD_USER_INPUT"}}));
        assert_eq!(answer["data"]["b"].as_array().map(Vec::len), Some(900));
    }

    async fn messages_do_not_grow_with_what_was_sent(app: TestApp) {
        let long = "x".repeat(300_000);
        for (query, variables) in [
            (format!("{{ {long} }}"), json!({})),
            (format!("{{ heroes ! {long} }}"), json!({})),
            ("query($w: HeroFilter) { heroes(where: $w) { id } }".to_owned(), json!({"w": long})),
            ("query($w: HeroFilter) { heroes(where: $w) { id } }".to_owned(), json!({"w": {&long: 1}})),
            ("query($o: [HeroOrder!]) { heroes(orderBy: $o) { id } }".to_owned(), json!({"o": [{"field": long}]})),
        ] {
            let answer = app.graphql_with(&query, variables).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], json!("BAD_USER_INPUT"));
            assert!(answer.to_string().len() < 2_000, "{}", answer.to_string().len());
        }
    }
}
