//! Content codings: what the body of a request is compressed with, and what its answer may be (RFC 9110, 8.4, 12.5.3).

use std::io::Read;

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, header},
};
use flate2::bufread::GzDecoder;

use super::{body::BodyError, media_type::parts};

/// The header `Accept-Encoding` of an answer to a request with another coding (RFC 9110, 15.5.16).
pub const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip");

/// The greatest number of members of one gzip. Each takes time, also when it is empty.
const MAX_MEMBERS: usize = 100;

/// The names of gzip.
const GZIP: &[&str] = &["gzip", "x-gzip"];

/// The coding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
}

impl Coding {
    /// The coding of a request. None when the server does not know it, and for several of them, one on top of another.
    #[must_use]
    pub fn of_request(headers: &HeaderMap) -> Option<Self> {
        let mut coding = Self::Identity;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            for name in value.to_str().ok()?.split(',').map(str::trim) {
                if GZIP.iter().any(|gzip| name.eq_ignore_ascii_case(gzip)) && coding == Self::Identity {
                    coding = Self::Gzip;
                } else if !name.is_empty() && !name.eq_ignore_ascii_case("identity") {
                    return None;
                }
            }
        }
        Some(coding)
    }

    /// The decoded body, which is never larger than a body may be.
    ///
    /// # Errors
    ///
    /// When the body is larger than that, or not of this coding up to its end.
    pub fn decode(self, body: Bytes, max_bytes: usize) -> Result<Bytes, BodyError> {
        if self == Self::Identity {
            return Ok(body);
        }
        let (mut rest, mut decoded) = (&*body, Vec::new());
        for _ in 0..MAX_MEMBERS {
            let left = (max_bytes - decoded.len()) as u64;
            let mut member = GzDecoder::new(&mut rest).take(left.saturating_add(1));
            member.read_to_end(&mut decoded).map_err(|_| BodyError::NotGzip)?;
            if decoded.len() > max_bytes {
                return Err(BodyError::TooLarge { max_bytes });
            }
            if rest.is_empty() {
                return Ok(decoded.into());
            }
        }
        Err(BodyError::NotGzip)
    }
}

/// Leaves in `Accept-Encoding` the coding that the client likes best of those that an answer may have. False when it
/// takes none of them.
///
/// The layer that compresses would find that out after the request has been executed, and answer 406 to what is
/// written.
pub fn choose(headers: &mut HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING);
    // What says nothing of quality excludes nothing.
    if values.iter().all(|value| !value.as_bytes().contains(&b';')) {
        return true;
    }
    let candidates = [
        // Nobody needs to say that what is not compressed is taken, after all that is.
        ("identity", quality(headers, &["identity"]).unwrap_or(1)),
        ("gzip", quality(headers, GZIP).unwrap_or(0)),
        ("br", quality(headers, &["br"]).unwrap_or(0)),
    ];
    match candidates.into_iter().filter(|(_, quality)| *quality > 0).max_by_key(|(_, quality)| *quality) {
        Some((coding, _)) => {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding));
            true
        }
        None => false,
    }
}

/// Whether an answer may be compressed with gzip.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    quality(headers, GZIP).is_some_and(|quality| quality > 0)
}

/// The quality of a coding with one of these names in `Accept-Encoding`, or that of all which are not named. None when
/// the client says nothing of it.
fn quality(headers: &HeaderMap, names: &[&str]) -> Option<u16> {
    let first = |names: &[&str]| {
        let values = headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
        let mut codings = values.flat_map(|value| value.split(',')).map(parts);
        let coding = codings.find(|coding| names.iter().any(|name| coding.name.eq_ignore_ascii_case(name)));
        coding.map(|coding| coding.quality)
    };
    first(names).or_else(|| first(&["*"]))
}
