//! The playground: the page and its files, which `build.rs` has put into the binary. All their addresses are relative
//! to the page, so that a proxy may serve it below a path.

use std::{io::Read as _, sync::LazyLock};

use axum::{
    Router,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
            X_FRAME_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
    routing::get,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::bufread::GzDecoder;
use sha2::{Digest as _, Sha256};

use super::{coding::takes_gzip, endpoint::is_same_etag};

/// One embedded file and the path that serves it.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    etag: &'static str,
    /// Whether the content is compressed with gzip.
    is_gzip: bool,
    content: &'static [u8],
}

static ASSETS: &[Asset] = &include!(concat!(env!("OUT_DIR"), "/playground.rs"));

/// Which parts the page may have. It has a script of its own, which is known by its hash.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let page = ASSETS.iter().find(|asset| asset.path == "/").and_then(|page| str::from_utf8(page.content).ok());
    let script = page.and_then(|page| page.split_once("<script>")?.1.split_once("</script>")).map(|(script, _)| script);
    let hash = script.map(|script| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(script))));
    // The editor writes style elements as it runs, and carries its fonts and images in its stylesheet as data URLs.
    let policy = format!(
        "default-src 'none'; base-uri 'none'; connect-src 'self'; font-src data:; form-action 'none'; \
         frame-ancestors 'none'; img-src 'self' data:; script-src 'self' {}; style-src 'self' 'unsafe-inline'; \
         worker-src 'self'",
        hash.unwrap_or_default()
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// What the page adds to the headers of every answer.
fn security_headers() -> [(HeaderName, HeaderValue); 3] {
    [
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ]
}

impl Asset {
    fn respond(&self, request: &HeaderMap) -> Response {
        let headers = [(CACHE_CONTROL, self.cache_control()), (CONTENT_TYPE, self.content_type), (ETAG, self.etag)];
        if self.is_known_to(request) {
            (StatusCode::NOT_MODIFIED, security_headers(), headers).into_response()
        } else if !self.is_gzip {
            (security_headers(), headers, self.content).into_response()
        } else if takes_gzip(request) {
            let coding = [(CONTENT_ENCODING, "gzip"), (VARY, "accept-encoding")];
            (security_headers(), headers, coding, self.content).into_response()
        } else {
            let mut content = Vec::new();
            match GzDecoder::new(self.content).read_to_end(&mut content) {
                Ok(_) => (security_headers(), headers, content).into_response(),
                // The build has made it.
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    }

    /// The files under `/playground/` have a hash of their content in their names.
    fn cache_control(&self) -> &'static str {
        if self.path.starts_with("/playground/") { "public, max-age=31536000, immutable" } else { "no-cache" }
    }

    fn is_known_to(&self, request: &HeaderMap) -> bool {
        request
            .get(IF_NONE_MATCH)
            .and_then(|tags| tags.to_str().ok())
            .is_some_and(|tags| tags.split(',').any(|tag| is_same_etag(tag, self.etag)))
    }
}

/// Serves the playground's page at `/`, and the files that the page needs.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        router.route(asset.path, get(move |request: HeaderMap| async move { asset.respond(&request) }))
    })
}
