//! The parameters of a request, from a body of JSON or from the query of a URL (GraphQL over HTTP, Request Parameters).

use serde::Deserialize;
use serde_json::Value;

use crate::graphql::Params;

const EXAMPLE: &str = r#"{"query": "{ heroes { name } }", "variables": {}}"#;

/// What a body asks for.
#[derive(Debug)]
pub enum Parsed {
    One(Params),
    Batch(Vec<Params>),
}

/// The parameters in the body of a POST.
///
/// # Errors
///
/// A message that says what is wrong.
pub fn of_body(body: &[u8], max_batch: usize) -> Result<Parsed, String> {
    match body.trim_ascii_start().first() {
        Some(b'{') => {
            let params = serde_json::from_slice(body).map_err(|error| what_is_wrong(body, &error))?;
            with_document(params).map(Parsed::One)
        }
        Some(b'[') if max_batch == 0 => {
            Err("batches are not allowed on this server: send one request at a time".into())
        }
        Some(b'[') => {
            let batch: Vec<Value> = serde_json::from_slice(body).map_err(|error| what_is_wrong(body, &error))?;
            match batch.len() {
                0 => Err("the batch is empty".to_owned()),
                requests if requests > max_batch => {
                    Err(format!("the batch has {requests} requests; at most {max_batch} are allowed"))
                }
                _ => batch
                    .into_iter()
                    .map(|request| of_entry(request, body))
                    .collect::<Result<_, _>>()
                    .map(Parsed::Batch),
            }
        }
        _ => Err(format!("the body must be a JSON object such as {EXAMPLE}")),
    }
}

/// The parameters in the query of the URL of a GET. Variables and extensions are JSON there.
///
/// # Errors
///
/// A message that says what is wrong.
pub fn of_query(query: &str) -> Result<Params, String> {
    let mut params = Params::default();
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if seen.contains(&name) {
            return Err(format!("the parameter {name:?} is given twice"));
        }
        // An empty one is what a form sends for a field that was not filled in.
        if !value.is_empty() {
            match &*name {
                "query" => params.query = Some(value.into_owned()),
                "operationName" => params.operation_name = Some(value.into_owned()),
                "variables" => params.variables = Some(json_object("variables", &value)?),
                "extensions" => params.extensions = Some(json_object("extensions", &value)?),
                _ => {}
            }
        }
        seen.push(name);
    }
    with_document(params)
}

/// The parameters in an entry of a batch.
fn of_entry(request: Value, body: &[u8]) -> Result<Params, String> {
    // serde would take a list for the parameters in their order.
    let request = if request.is_object() { request } else { Value::Null };
    with_document(serde_json::from_value(request).map_err(|error| what_is_wrong(body, &error))?)
}

/// The parameters, when they name a document.
fn with_document(params: Params) -> Result<Params, String> {
    let is_persisted = params.extensions.as_ref().is_some_and(|extensions| extensions.contains_key("persistedQuery"));
    if params.query.is_none() && !is_persisted {
        return Err(format!("the parameter `query` must be given: it is the text of the document, as in {EXAMPLE}"));
    }
    Ok(params)
}

fn json_object<T: for<'de> Deserialize<'de> + Default>(name: &str, text: &str) -> Result<T, String> {
    match serde_json::from_str::<Option<T>>(text) {
        Ok(object) => Ok(object.unwrap_or_default()),
        Err(error) if error.is_data() => Err(format!("the parameter `{name}` must be a JSON object")),
        Err(error) => Err(format!("the parameter `{name}` is not JSON: {error}")),
    }
}

/// What is wrong with a body. That takes a second look, at what is sent where something else is expected.
fn what_is_wrong(body: &[u8], error: &serde_json::Error) -> String {
    let value = match serde_json::from_slice::<Value>(body) {
        Ok(value) => value,
        Err(error) => return format!("the body is not JSON: {error}"),
    };
    let requests = value.as_array().map_or(std::slice::from_ref(&value), Vec::as_slice);
    for request in requests {
        let Some(params) = request.as_object() else {
            return format!("a request must be a JSON object such as {EXAMPLE}");
        };
        for (name, is_expected, expected) in [
            ("query", Value::is_string as fn(&Value) -> bool, "a string"),
            ("operationName", Value::is_string, "a string"),
            ("variables", Value::is_object, "an object"),
            ("extensions", Value::is_object, "an object"),
        ] {
            if params.get(name).is_some_and(|value| !value.is_null() && !is_expected(value)) {
                return format!("the parameter `{name}` must be {expected}, or be left out");
            }
        }
    }
    tracing::debug!(%error, "parameters that are not understood");
    "the request has a parameter that is not understood".to_owned()
}
