//! GraphQL over HTTP: media types, statuses, methods and parameters, beyond what the audits look at.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    databases::TestDatabase,
    support::{TestApp, json_body, post},
};

const GRAPHQL: &str = "application/graphql-response+json; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

fn refused(message: &str) -> Value {
    json!({"errors": [{"message": message, "extensions": {"code": "BAD_USER_INPUT"}}]})
}

/// The status, the content type and the answer.
async fn send(app: &TestApp, request: Request<Body>) -> (StatusCode, String, Value) {
    let response = app.router.clone().oneshot(request).await.expect("the router answers");
    let content_type = response.headers()[header::CONTENT_TYPE].to_str().expect("it is text").to_owned();
    (response.status(), content_type, json_body(response).await)
}

fn posted(accept: &str, body: &str) -> Request<Body> {
    let request = Request::post("/graphql").header(header::CONTENT_TYPE, "application/json");
    request.header(header::ACCEPT, accept).body(Body::from(body.to_owned())).expect("it is a request")
}

#[tokio::test]
async fn the_status_tells_what_the_media_type_says_it_tells() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let failed = json!({"data": {"hero": null}, "errors": [{
        "message": "\"x\" is not an id; write \"Hero:1\" or \"1\"", "path": ["hero"], "locations": [{"line": 1, "column": 3}],
        "extensions": {"code": "BAD_USER_INPUT", "argumentPath": ["id"]},
    }]});
    let invalid = json!({"errors": [{
        "message": "type `Query` does not have a field `x`", "locations": [{"line": 1, "column": 3}],
        "extensions": {"code": "BAD_USER_INPUT"},
    }]});
    for (body, strict, legacy, answer) in [
        (r#"{"query": "{ heroes { id } }"}"#, 200, 200, json!({"data": {"heroes": []}})),
        (r#"{"query": "{ hero(id: \"x\") { id } }"}"#, 200, 200, failed),
        (r#"{"query": "{ x }"}"#, 400, 200, invalid),
        (
            r#"{"query": "query A { __typename } query B { __typename }"}"#,
            400,
            200,
            refused("the document has several operations; `operationName` must say which"),
        ),
        (
            r#"{"query": "query A { __typename }", "operationName": "B"}"#,
            400,
            200,
            refused("the document has no operation named \"B\""),
        ),
        (
            r#"{"variables": {}}"#,
            400,
            400,
            refused(
                "the parameter `query` must be given: it is the text of the document, as in {\"query\": \"{ heroes { \
                 name } }\", \"variables\": {}}",
            ),
        ),
    ] {
        let strict = StatusCode::from_u16(strict).expect("a status");
        let legacy = StatusCode::from_u16(legacy).expect("a status");
        assert_eq!(
            send(&app, posted("application/graphql-response+json", body)).await,
            (strict, GRAPHQL.to_owned(), answer.clone())
        );
        assert_eq!(send(&app, posted("application/json", body)).await, (legacy, JSON.to_owned(), answer.clone()));
        assert_eq!(send(&app, posted("*/*", body)).await, (legacy, JSON.to_owned(), answer));
    }
    let (status, content_type, answer) = send(&app, posted("text/html", r#"{"query": "{ x }"}"#)).await;
    let message = "answers come as application/graphql-response+json or as application/json, in UTF-8";
    assert_eq!((status, content_type.as_str(), answer), (StatusCode::NOT_ACCEPTABLE, JSON, refused(message)));
    app.close().await;
}

#[tokio::test]
async fn a_body_that_is_no_request_is_told_why() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let object = r#"the body must be a JSON object such as {"query": "{ heroes { name } }", "variables": {}}"#;
    for (body, message) in [
        ("", object),
        ("\"query\"", object),
        ("null", object),
        ("{", "the body is not JSON: EOF while parsing an object at line 1 column 1"),
        (r#"{"query": "{ heroes { name } }"} x"#, "the body is not JSON: trailing characters at line 1 column 34"),
        (r#"{"query": "\ud800"}"#, "the body is not JSON: unexpected end of hex escape at line 1 column 18"),
        (r#"{"query": 1}"#, "the parameter `query` must be a string, or be left out"),
        (r#"{"query": ["{ x }"]}"#, "the parameter `query` must be a string, or be left out"),
        (
            r#"{"query": "{ x }", "operationName": {}}"#,
            "the parameter `operationName` must be a string, or be left out",
        ),
        (r#"{"query": "{ x }", "variables": []}"#, "the parameter `variables` must be an object, or be left out"),
        (r#"{"query": "{ x }", "variables": "{}"}"#, "the parameter `variables` must be an object, or be left out"),
        (r#"{"query": "{ x }", "extensions": [null]}"#, "the parameter `extensions` must be an object, or be left out"),
        (r#"{"query": "{ x }", "extensions": 7}"#, "the parameter `extensions` must be an object, or be left out"),
        (r#"{"query": "{ x }", "query": "{ x }"}"#, "the parameter `query` is given twice"),
        (r#"{"query": null, "variables": {}, "query": "{ x }"}"#, "the parameter `query` is given twice"),
        (r#"{"query": "{ x }", "variables": {}, "variables": null}"#, "the parameter `variables` is given twice"),
        (r#"{"operationName": "A", "operationName": "A"}"#, "the parameter `operationName` is given twice"),
        (r#"{"extensions": {}, "extensions": {}}"#, "the parameter `extensions` is given twice"),
        ("\u{feff}\u{feff}{}", object),
        (r#"[{"query": "{ x }"}]"#, "batches are not allowed on this server: send one request at a time"),
    ] {
        let answer = send(&app, posted("application/json", body)).await;
        assert_eq!(answer, (StatusCode::BAD_REQUEST, JSON.to_owned(), refused(message)), "{body}");
    }
    let latin = Request::post("/graphql").header(header::CONTENT_TYPE, "application/json");
    let latin = latin.body(Body::from(&b"{\"query\": \"{ x(y: \xff) }\"}"[..])).expect("it is a request");
    let message = "the body is not JSON: invalid unicode code point at line 1 column 19";
    assert_eq!(send(&app, latin).await, (StatusCode::BAD_REQUEST, JSON.to_owned(), refused(message)));
    let number = r#"{"query": "query($a: Int) { heroes(limit: $a) { id } }", "variables": {"a": 1e999}}"#;
    let (status, _, answer) = send(&app, posted("application/json", number)).await;
    assert_eq!(
        (status, answer),
        (StatusCode::BAD_REQUEST, refused("the body is not JSON: number out of range at line 1 column 81"))
    );
    // Nothing is wrong with parameters that are null, and with those that nobody knows.
    let body = r#"{"query": "{ heroes { id } }", "operationName": null, "variables": null, "extensions": null, "id": 7, "id": 8}"#;
    for body in [body.to_owned(), format!("\u{feff}{body}"), format!("\u{feff}\r\n {body}\n")] {
        assert_eq!(send(&app, posted("application/json", &body)).await.2, json!({"data": {"heroes": []}}));
    }
    app.close().await;
}

#[tokio::test]
async fn queries_may_be_sent_in_the_url() {
    let app = TestApp::new(TestDatabase::sqlite()).await;
    let get = async |query: &str| {
        let request = Request::get(format!("/graphql?{query}")).body(Body::empty()).expect("it is a request");
        let (status, _, answer) = send(&app, request).await;
        (status, answer)
    };
    let none = json!({"data": {"heroes": []}});
    for query in [
        "query=%7B%20heroes%20%7B%20id%20%7D%20%7D",
        "query={heroes{id}}&variables=&operationName=",
        "query=query+A($l:Int){heroes(limit:$l){id}}query+B{__typename}&operationName=A&variables={%22l%22:3}&extensions={}",
        "query={heroes{id}}&variables=null&other=1&other=2",
        "&query={heroes%20%7Bid}}&&variables=%EF%BB%BF{}&x",
        "query={heroes(where:{name:{eq:%22%EF%BF%BD%C3%A9%22}}){id}}",
    ] {
        assert_eq!(get(query).await, (StatusCode::OK, none.clone()), "{query}");
    }
    let not_utf8 = "the query of the URL is not UTF-8 in percent-encoding";
    for (query, message) in [
        (
            "",
            "the parameter `query` must be given: it is the text of the document, as in {\"query\": \"{ heroes { name \
             } }\", \"variables\": {}}",
        ),
        ("query={x}&query={x}", "the parameter `query` is given twice"),
        ("query={x}&operationName=&operationName=A", "the parameter `operationName` is given twice"),
        ("query={x}&variables={}&%76ariables={}", "the parameter `variables` is given twice"),
        ("query={x%ff}", not_utf8),
        ("query={x%C3}&variables=", not_utf8),
        ("query={x}&variables={%22a%22:%22%e9%22}", not_utf8),
        ("query={x}&operationName=%ED%A0%80", not_utf8),
        ("query={x}&%ff=1", not_utf8),
        ("query={x}&utm=%ff", not_utf8),
        ("query={x}&variables=[]", "the parameter `variables` must be a JSON object"),
        (
            "query={x}&variables={",
            "the parameter `variables` is not JSON: EOF while parsing an object at line 1 column 1",
        ),
        ("query={x}&extensions=7", "the parameter `extensions` must be a JSON object"),
    ] {
        assert_eq!(get(query).await, (StatusCode::BAD_REQUEST, refused(message)), "{query}");
    }
    // A link or an image of a foreign page must not write.
    let mutation = r#"query=mutation{createHero(input:{name:"A",secretName:"B"}){hero{id}}}"#.replace('"', "%22");
    let request = Request::get(format!("/graphql?{mutation}")).body(Body::empty()).expect("it is a request");
    let response = app.router.clone().oneshot(request).await.expect("the router answers");
    assert_eq!(
        (response.status(), &response.headers()[header::ALLOW]),
        (StatusCode::METHOD_NOT_ALLOWED, &header::HeaderValue::from_static("POST"))
    );
    assert_eq!(json_body(response).await, refused("a mutation must be sent with POST"));
    assert_eq!(app.counts().await, [0, 0, 0]);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let request = Request::builder().method(method).uri("/graphql").body(Body::empty()).expect("it is a request");
        let response = app.router.clone().oneshot(request).await.expect("the router answers");
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(response.headers()[header::ALLOW], "GET,HEAD,POST,CONNECT", "{method}");
    }
    app.close().await;
}

#[tokio::test]
async fn batches_are_bounded_where_they_are_allowed() {
    let app = TestApp::with(TestDatabase::sqlite(), |settings| settings.graphql.max_batch = 3).await;
    let batch = async |batch: Value| {
        let response = post(&app.router, "application/json", batch.to_string()).await;
        (response.status(), json_body(response).await)
    };
    let create = json!({"query": "mutation { createHero(input: {name: \"A\", secretName: \"B\"}) { hero { id } } }"});
    let count = json!({"query": "{ heroes { name } }"});
    // A later request reads what an earlier one has written.
    let answer = batch(json!([count, create, count])).await;
    assert_eq!(
        answer,
        (
            StatusCode::OK,
            json!([
                {"data": {"heroes": []}}, {"data": {"createHero": {"hero": {"id": "Hero:1"}}}}, {"data": {"heroes": [{"name": "A"}]}},
            ])
        )
    );
    assert_eq!(batch(json!([])).await, (StatusCode::BAD_REQUEST, refused("the batch is empty")));
    let message = "the batch has 4 requests; at most 3 are allowed";
    assert_eq!(batch(json!([create, create, create, create])).await, (StatusCode::BAD_REQUEST, refused(message)));
    let message = r#"a request must be a JSON object such as {"query": "{ heroes { name } }", "variables": {}}"#;
    for entry in [json!(7), json!(["{ heroes { name } }", null, null, null])] {
        assert_eq!(batch(json!([create, entry])).await, (StatusCode::BAD_REQUEST, refused(message)));
    }
    // Those of an entry are checked as those of a request are.
    for (entry, message) in [
        (r#"{"query": "{ x }", "query": "{ x }"}"#, "the parameter `query` is given twice"),
        (r#"{"query": 7}"#, "the parameter `query` must be a string, or be left out"),
    ] {
        let body = format!(r#"[{{"query": "{{ __typename }}"}}, {entry}]"#);
        let response = post(&app.router, "application/json", body).await;
        assert_eq!((response.status(), json_body(response).await), (StatusCode::BAD_REQUEST, refused(message)));
    }
    let response = post(&app.router, "application/json", "\u{feff}[{\"query\": \"{ __typename }\"}]".to_owned()).await;
    assert_eq!(json_body(response).await, json!([{"data": {"__typename": "Query"}}]));
    assert_eq!(app.counts().await, [1, 0, 0]);
    app.close().await;
}
