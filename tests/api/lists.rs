//! Filters and orders: what they mean, and what is refused.

use serde_json::{Value, json};

use crate::support::{TestApp, on_both_databases};

async fn names(app: &TestApp, query: &str) -> Value {
    let data = app.data(query, json!({})).await;
    let list = data.as_object().expect("an object").values().next().expect("one field").clone();
    list.as_array().expect("a list").iter().map(|node| node["name"].clone()).collect()
}

async fn seed(app: &TestApp) {
    hero_teams::store::seed::tutorial(&app.db).await.expect("the tutorial's data");
}

on_both_databases! {
    async fn filters_go_through_the_relation(app: TestApp) {
        seed(app).await;
        for (query, expected) in [
            (r"{ heroes(where: {age: {gte: 18}}) { name } }", json!(["Rusty-Man"])),
            (r"{ heroes(where: {age: {isNull: true}}) { name } }", json!(["Deadpond", "Spider-Boy"])),
            // A hero of unknown age is in no comparison, and so in the opposite of each.
            (r"{ heroes(where: {age: {ne: 48}}) { name } }", json!([])),
            (r"{ heroes(where: {not: {age: {eq: 48}}}) { name } }", json!(["Deadpond", "Spider-Boy"])),
            (r#"{ heroes(where: {teams: {some: {name: {startsWith: "Z"}}}}) { name } }"#, json!(["Deadpond"])),
            (r#"{ heroes(where: {teams: {none: {name: {startsWith: "Z"}}}}) { name } }"#, json!(["Rusty-Man", "Spider-Boy"])),
            (r#"{ heroes(where: {teams: {every: {name: {eq: "Preventers"}}}}) { name } }"#, json!(["Rusty-Man", "Spider-Boy"])),
            (r#"{ teams(where: {heroes: {some: {teams: {some: {name: {eq: "Z-Force"}}}}}}) { name } }"#, json!(["Z-Force", "Preventers"])),
            (r"{ teams(where: {heroes: {every: {age: {isNull: true}}}}) { name } }", json!(["Z-Force"])),
            (r#"{ heroes(where: {or: [{name: {contains: "pond"}}, {secretName: {endsWith: "Sharp"}}]}) { name } }"#, json!(["Deadpond", "Rusty-Man"])),
            (r#"{ heroes(where: {name: {contains: "RUSTY", ignoreCase: true}}) { name } }"#, json!(["Rusty-Man"])),
            (r#"{ heroes(where: {name: {contains: "RUSTY"}}) { name } }"#, json!([])),
            (r#"{ heroes(where: {id: {in: ["Hero:3", "1", 99]}}) { name } }"#, json!(["Deadpond", "Spider-Boy"])),
            (r"{ heroes(where: {id: {in: []}}) { name } }", json!([])),
            (r"{ heroes(where: {name: {notIn: []}}) { name } }", json!(["Deadpond", "Rusty-Man", "Spider-Boy"])),
            // An age that is not known is in no list, and not outside of one either.
            (r"{ heroes(where: {age: {notIn: []}}) { name } }", json!(["Rusty-Man"])),
            (r"{ heroes(where: {not: {age: {notIn: []}}}) { name } }", json!(["Deadpond", "Spider-Boy"])),
            (r"{ heroes(where: {}) { name } }", json!(["Deadpond", "Rusty-Man", "Spider-Boy"])),
            (r"{ heroes(where: null) { name } }", json!(["Deadpond", "Rusty-Man", "Spider-Boy"])),
            (r"{ heroes(where: {and: [], not: {or: []}}) { name } }", json!(["Deadpond", "Rusty-Man", "Spider-Boy"])),
            (r"{ heroes(where: {or: []}) { name } }", json!([])),
            (r#"{ heroes(where: {name: {contains: "%"}}) { name } }"#, json!([])),
            (r#"{ heroes(where: {name: {startsWith: "_usty"}}) { name } }"#, json!([])),
        ] {
            assert_eq!(names(app, query).await, expected, "{query}");
        }
    }

    async fn equal_objects_come_by_id_in_the_direction_of_the_last_step(app: TestApp) {
        let heroes = vec![json!({"name": "A", "secretName": "B", "age": 1}); 3];
        let create = "mutation($input: [CreateHeroInput!]!) { createHeroes(input: $input) { heroes { id } } }";
        app.data(create, json!({"input": heroes})).await;
        let (up, down) = (json!(["Hero:1", "Hero:2", "Hero:3"]), json!(["Hero:3", "Hero:2", "Hero:1"]));
        for (order, expected) in [
            ("[]", &up),
            ("{field: NAME}", &up),
            ("{field: NAME, direction: DESC}", &down),
            ("[{field: NAME, direction: DESC}, {field: AGE}]", &up),
            ("[{field: NAME}, {field: AGE, direction: DESC}]", &down),
            ("{field: TEAM_COUNT, direction: DESC}", &down),
            ("[{field: NAME, direction: DESC}, {field: ID}]", &up),
            // A step that repeats one before it is none.
            ("[{field: NAME}, {field: NAME, direction: DESC}]", &up),
        ] {
            let lists = format!("{{ heroes(orderBy: {order}) {{ id }} heroesConnection(last: 3, orderBy: {order}) {{ \
                                 nodes {{ id }} }} }}");
            let data = app.data(&lists, json!({})).await;
            for list in [&data["heroes"], &data["heroesConnection"]["nodes"]] {
                let ids: Value = list.as_array().expect("a list").iter().map(|hero| hero["id"].clone()).collect();
                assert_eq!(&ids, expected, "{order}");
            }
        }
    }

    async fn orders(app: TestApp) {
        seed(app).await;
        for (query, expected) in [
            ("{ heroes(orderBy: [{field: NAME, direction: DESC}]) { name } }", json!(["Spider-Boy", "Rusty-Man", "Deadpond"])),
            ("{ heroes(orderBy: {field: AGE}) { name } }", json!(["Rusty-Man", "Deadpond", "Spider-Boy"])),
            ("{ heroes(orderBy: {field: AGE, nulls: FIRST}) { name } }", json!(["Deadpond", "Spider-Boy", "Rusty-Man"])),
            ("{ heroes(orderBy: {field: AGE, direction: DESC}) { name } }", json!(["Spider-Boy", "Deadpond", "Rusty-Man"])),
            ("{ heroes(orderBy: [{field: TEAM_COUNT, direction: DESC}, {field: SECRET_NAME}]) { name } }", json!(["Deadpond", "Spider-Boy", "Rusty-Man"])),
            ("{ heroes(orderBy: []) { name } }", json!(["Deadpond", "Rusty-Man", "Spider-Boy"])),
            ("{ teams(orderBy: {field: HERO_COUNT, direction: DESC}) { name } }", json!(["Preventers", "Z-Force"])),
        ] {
            assert_eq!(names(app, query).await, expected, "{query}");
        }
    }

    async fn numbers_of_related_rows_are_batched(app: TestApp) {
        seed(app).await;
        let query = r#"{ heroes { name teamCount z: teamCount(where: {name: {startsWith: "Z"}}) } teams { heroCount } }"#;
        let data = app.data(query, json!({})).await;
        assert_eq!(data, json!({
            "heroes": [
                {"name": "Deadpond", "teamCount": 2, "z": 1},
                {"name": "Rusty-Man", "teamCount": 1, "z": 0},
                {"name": "Spider-Boy", "teamCount": 1, "z": 0},
            ],
            "teams": [{"heroCount": 1}, {"heroCount": 3}],
        }));
        assert_eq!(app.statements_of(query, json!({})).await.len(), 5);
    }

    async fn what_is_no_filter(app: TestApp) {
        seed(app).await;
        let null = "must not be null: leave it out, or use `isNull` where it exists";
        let deep = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({"not": inner}));
        let wide = |conditions: usize| json!({"or": vec![json!({"age": {"eq": 1}}); conditions]});
        let deepest = format!("where{}", ".not".repeat(13));
        let cases = [
            (json!({"name": null}), json!(["where", "name"]), format!("`where.name` {null}")),
            (json!({"name": {"eq": null}}), json!(["where", "name", "eq"]), format!("`where.name.eq` {null}")),
            (json!({"age": {"in": null}}), json!(["where", "age", "in"]), format!("`where.age.in` {null}")),
            (json!({"age": {"isNull": null}}), json!(["where", "age", "isNull"]), format!("`where.age.isNull` {null}")),
            (json!({"teams": {"some": null}}), json!(["where", "teams", "some"]), format!("`where.teams.some` {null}")),
            (json!({"not": null}), json!(["where", "not"]), format!("`where.not` {null}")),
            (json!({"or": [{}, {"id": {"eq": "Team:1"}}]}), json!(["where", "or", 1, "id", "eq"]),
                r#""Team:1" is the id of a Team, where one of a Hero is expected: "Hero:1" or "1""#.to_owned()),
            (json!({"teams": {"some": {"id": {"in": ["1", "x"]}}}}), json!(["where", "teams", "some", "id", "in", 1]),
                r#""x" is not an id; write "Team:1" or "1""#.to_owned()),
            (json!({"name": {"in": vec!["x"; 1001]}}), json!(["where", "name", "in"]),
                "`where.name.in` must have at most 1000 entries, not 1001".to_owned()),
            (json!({"name": {"contains": "a\0"}}), json!(["where", "name", "contains"]),
                "`where.name.contains` must not contain the character U+0000".to_owned()),
            (deep(13), json!(std::iter::once("where").chain(std::iter::repeat_n("not", 13)).collect::<Vec<_>>()),
                format!("`{deepest}` is nested too deep: a filter has at most 12 levels")),
            (json!({"and": vec![json!({"teams": {"some": {}}}); 11]}), json!(["where", "and", 10, "teams", "some"]),
                "`where.and[10].teams.some` is one relation too many: a filter goes through at most 10".to_owned()),
            (wide(101), json!(["where", "or", 100]),
                "`where.or[100]` is one condition too many: a filter has at most 200".to_owned()),
        ];
        for (filter, argument_path, message) in cases {
            let answer = app.graphql_with("query($where: HeroFilter) { heroes(where: $where) { id } }", json!({"where": filter})).await;
            assert_eq!(answer, json!({"data": null, "errors": [{
                "message": message, "locations": [{"line": 1, "column": 29}], "path": ["heroes"],
                "extensions": {"code": "BAD_USER_INPUT", "argumentPath": argument_path},
            }]}), "{filter}");
        }
        app.data("query($where: HeroFilter) { heroes(where: $where) { id } }", json!({"where": deep(12)})).await;
        app.data("query($where: HeroFilter) { heroes(where: $where) { id } }", json!({"where": wide(100)})).await;
    }

    async fn a_batch_with_a_filter_is_one_statement(app: TestApp) {
        seed(app).await;
        for (query, statements) in [
            (r"{ teams { heroes(limit: 1, orderBy: {field: NAME}, where: {age: {isNull: true}}) { name } } }", 2),
            (r"{ teams { heroes(orderBy: {field: TEAM_COUNT}, where: {teams: {some: {heroes: {every: {}}}}}) { name } } }", 2),
            (r"{ teams { heroesConnection(first: 1) { nodes { name } edges { cursor } pageInfo { endCursor hasNextPage hasPreviousPage } } } }", 2),
            (r"{ teams { heroesConnection(first: 1) { totalCount nodes { name } } } }", 3),
            (r"{ teams { heroesConnection(first: 1) { totalCount } heroCount } }", 2),
            (r"{ teams { heroesConnection { nodes { teamsConnection { nodes { name } } } } } }", 3),
            (r"{ heroesConnection { totalCount } }", 1),
            (r"{ heroesConnection { nodes { id } edges { node { id } } pageInfo { hasNextPage } totalCount } }", 2),
        ] {
            assert_eq!(app.statements_of(query, json!({})).await.len(), statements, "{query}");
        }
    }
}
