//! What a request costs, as its client is told it.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header::CONTENT_TYPE},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    few_connections::of_each,
    support::{TestApp, json_body, on_both_databases},
};

async fn ask(app: &TestApp, report: &str, query: &str, variables: Value) -> (StatusCode, Value) {
    send(&app.router, report, &json!({"query": query, "variables": variables})).await
}

async fn send(router: &Router, report: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::post("/graphql").header(CONTENT_TYPE, "application/json").header("graphql-cost", report);
    let request = request.body(Body::from(body.to_string())).expect("it is a request");
    let response = router.clone().oneshot(request).await.expect("the router answers");
    (response.status(), json_body(response).await)
}

on_both_databases! {
    async fn a_request_tells_what_it_costs(app: TestApp) {
        let create = r#"mutation { createHero(input: {name: "A", secretName: "B", teams: {create: [{name: "T", headquarters: "H"}]}}) { hero { id } } }"#;
        app.data(create, json!({})).await;
        let query = "query A($n: Int) { heroes(limit: $n) { ...F teams { name } } a: heroes(limit: 1) { name @skip(if: false) } }
            fragment F on Hero { id name }";
        let measure = |cost: u64, limit: u64| json!({"cost": cost, "limit": limit});
        let mut cost = json!({
            "tokens": measure(51, 10_000),
            "depth": measure(3, 24),
            "fields": measure(7, 2_000),
            "aliases": measure(2, 50),
            "directives": measure(1, 100),
            "rootFields": measure(2, 50),
            "estimatedRows": measure(5 * 11 + 1, u64::MAX),
        });
        let (status, answer) = ask(app, "validate", query, json!({"n": 5})).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer, json!({"data": null, "extensions": {"cost": cost}}));

        let (_, answer) = ask(app, "report", query, json!({"n": 5})).await;
        let hero = json!({"id": "Hero:1", "name": "A", "teams": [{"name": "T"}]});
        assert_eq!(answer["data"], json!({"heroes": [hero], "a": [{"name": "A"}]}));
        cost["rows"] = measure(3, u64::MAX);
        cost["statements"] = json!(3);
        let bytes = answer["extensions"]["cost"]["bytes"].clone();
        assert!(bytes["cost"].as_u64() > Some(40) && bytes["limit"] == json!(33_554_432), "{bytes}");
        cost["bytes"] = bytes;
        assert_eq!(answer["extensions"], json!({"cost": cost}));

        // Nothing is written by what is only measured.
        app.seen();
        let (_, answer) = ask(app, "validate", create, json!({})).await;
        assert_eq!((app.seen(), &answer["data"]), (0, &json!(null)));
        assert_eq!(app.counts().await, [1, 1, 1]);

        // What is wrong is said as ever, and no other word is known.
        let (_, answer) = ask(app, "report", "{ nothing }", json!({})).await;
        assert_eq!((&answer["errors"][0]["extensions"]["code"], answer.get("extensions")), (&json!("BAD_USER_INPUT"), None));
        for report in ["", "Report", "all"] {
            let (status, answer) = ask(app, report, query, json!({})).await;
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert_eq!(answer["errors"][0]["message"], json!("the header GraphQL-Cost is `report` or `validate`, once"));
        }
    }
}

/// Nothing of a batch is executed either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_of_a_batch_tells_what_it_costs() {
    for app in of_each(|settings| settings.graphql.max_batch = 2).await {
        let create = r#"mutation { createHero(input: {name: "A", secretName: "B"}) { hero { id } } }"#;
        let batch = json!([{"query": create}, {"query": "{ heroes { name teams { name } } }"}]);
        let (status, answers) = send(&app.router, "validate", &batch).await;
        assert_eq!((status, app.seen()), (StatusCode::OK, 0));
        assert_eq!([&answers[0]["data"], &answers[1]["data"]], [&json!(null), &json!(null)]);
        assert_eq!(answers[1]["extensions"]["cost"]["fields"]["cost"], json!(4));
        let (_, answers) = send(&app.router, "report", &batch).await;
        assert_eq!(answers[1]["extensions"]["cost"]["statements"], json!(2));
        assert_eq!(app.counts().await, [1, 0, 0]);
        assert_eq!(send(&app.router, "all", &batch).await.0, StatusCode::BAD_REQUEST);
        app.close().await;
    }
}
