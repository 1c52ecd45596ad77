//! Documents: whatever their text, they are answered as they must be, and a query alike by both methods.
#![no_main]

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use form_urlencoded::Serializer;
use hero_teams_fuzz::{ask, posted};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|document: &str| {
    let answer = ask(posted(document));
    answer.check(document);

    // An empty parameter of a URL counts as none, and one of a URL that is too long comes to nothing.
    let query = Serializer::new(String::new()).append_pair("query", document).finish();
    let get = Request::get(format!("/graphql?{query}")).body(Body::empty());
    if let (Ok(get), false) = (get, document.is_empty()) {
        // The first time it was checked, and this time it is kept.
        let again = ask(get);
        again.check(document);
        if again.status != StatusCode::METHOD_NOT_ALLOWED {
            assert_eq!((answer.status, answer.json()), (again.status, again.json()), "POST and GET differ");
        }
    }
});
