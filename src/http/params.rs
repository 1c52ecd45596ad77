//! The parameters of a request, from a body of JSON or from the query of a URL (GraphQL over HTTP, Request Parameters).

use std::borrow::Cow;

use async_graphql::indexmap::IndexMap;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::graphql::Params;

const PARAMETERS: [&str; 6] = ["query", "operationName", "documentId", "doc_id", "variables", "extensions"];
const EXAMPLE: &str = r#"{"query": "{ heroes { name } }", "variables": {}}"#;

/// What a body asks for.
#[derive(Debug)]
pub enum Parsed {
    One(Box<Params>),
    Batch(Vec<Params>),
}

/// The parameters in the body of a POST.
///
/// # Errors
///
/// A message that says what is wrong.
pub fn of_body(body: &[u8], max_batch: usize) -> Result<Parsed, String> {
    let body = without_bom(body);
    match body.trim_ascii_start().first() {
        Some(b'{') => of_object(body).map(Box::new).map(Parsed::One),
        Some(b'[') if max_batch == 0 => {
            Err("batches are not allowed on this server: send one request at a time".into())
        }
        Some(b'[') => {
            let batch: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| no_json(&error))?;
            match batch.len() {
                0 => Err("the batch is empty".to_owned()),
                requests if requests > max_batch => {
                    Err(format!("the batch has {requests} requests; at most {max_batch} are allowed"))
                }
                _ => {
                    let requests = batch.into_iter().map(|request| of_object(request.get().as_bytes()));
                    requests.collect::<Result<_, _>>().map(Parsed::Batch)
                }
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
    let not_utf8 = "the query of the URL is not UTF-8 in percent-encoding";
    let mut params = Params::default();
    let mut seen = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name).ok_or(not_utf8)?, decoded(value).ok_or(not_utf8)?);
        let Some(name) = PARAMETERS.into_iter().find(|parameter| *parameter == name) else { continue };
        if seen.contains(&name) {
            return Err(given_twice(name));
        }
        seen.push(name);
        // An empty one is what a form sends for a field that was not filled in.
        match name {
            _ if value.is_empty() => {}
            "query" => params.query = Some(value),
            "operationName" => params.operation_name = Some(value),
            "documentId" | "doc_id" => params.document_id = Some(value),
            "variables" => params.variables = Some(json_object(name, &value)?),
            _ => params.extensions = Some(json_object(name, &value)?),
        }
    }
    with_document(params)
}

/// A name or a value in the query of a URL. None when it is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
}

fn given_twice(parameter: &str) -> String {
    format!("the parameter `{parameter}` is given twice")
}

/// A mark of the byte order is no part of JSON, and some put it before what they send (RFC 8259, 8.1).
fn without_bom(json: &[u8]) -> &[u8] {
    json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json)
}

/// The parameters in a JSON object.
///
/// # Errors
///
/// A message that says what is wrong.
pub fn of_object(request: &[u8]) -> Result<Params, String> {
    // serde would take a list for the parameters in their order.
    if !request.trim_ascii_start().starts_with(b"{") {
        return Err(format!("a request must be a JSON object such as {EXAMPLE}"));
    }
    with_document(serde_json::from_slice(request).map_err(|error| what_is_wrong(request, &error))?)
}

fn no_json(error: &serde_json::Error) -> String {
    format!("the body is not JSON: {error}")
}

/// The parameters, when they name a document.
fn with_document(params: Params) -> Result<Params, String> {
    let is_persisted = params.extensions.as_ref().is_some_and(|extensions| extensions.contains_key("persistedQuery"));
    if params.query.is_none() && params.document_id.is_none() && !is_persisted {
        return Err(format!("the parameter `query` must be given: it is the text of the document, as in {EXAMPLE}"));
    }
    Ok(params)
}

fn json_object<T: for<'de> Deserialize<'de> + Default>(name: &str, text: &str) -> Result<T, String> {
    match serde_json::from_slice::<Option<T>>(without_bom(text.as_bytes())) {
        Ok(object) => Ok(object.unwrap_or_default()),
        Err(error) if error.is_data() => Err(format!("the parameter `{name}` must be a JSON object")),
        Err(error) => Err(format!("the parameter `{name}` is not JSON: {error}")),
    }
}

/// What is wrong with the parameters. That takes a second look, at what is sent where something else is expected.
fn what_is_wrong(body: &[u8], error: &serde_json::Error) -> String {
    // serde names a parameter that comes twice between backticks.
    let message = error.to_string();
    if let Some(parameter) = message.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next()) {
        return given_twice(parameter);
    }
    let params = match serde_json::from_slice::<IndexMap<String, Value>>(body) {
        Ok(params) => params,
        Err(error) => return no_json(&error),
    };
    for name in PARAMETERS {
        let (is_expected, expected) = match name {
            "query" | "operationName" | "documentId" | "doc_id" => (Value::is_string as fn(&Value) -> bool, "a string"),
            _ => (Value::is_object as fn(&Value) -> bool, "an object"),
        };
        if params.get(name).is_some_and(|value| !value.is_null() && !is_expected(value)) {
            return format!("the parameter `{name}` must be {expected}, or be left out");
        }
    }
    tracing::debug!(%error, "parameters that are not understood");
    "the request has a parameter that is not understood".to_owned()
}
