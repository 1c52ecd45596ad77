//! What a token says, once its signature is verified.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{
    access::{Principal, Unauthenticated, principal::LATEST},
    config::AccessSettings,
    schema::{Scope, Scopes},
};

/// What claims must be, and what they give.
#[derive(Debug)]
pub struct Rules {
    issuer: Option<String>,
    audiences: Vec<String>,
    leeway: Duration,
    /// JSON pointers to the claim with the scopes.
    scopes: Vec<String>,
    scope_map: HashMap<String, Scopes>,
}

/// The characters of a name, at most.
const MAX_NAME: usize = 128;

impl Rules {
    pub fn new(settings: &AccessSettings) -> Self {
        Self {
            issuer: settings.jwt_issuer.as_ref().map(|issuer| issuer.as_str().to_owned()),
            audiences: settings.jwt_audience.clone(),
            leeway: settings.jwt_leeway,
            scopes: settings.jwt_scopes.clone(),
            scope_map: settings.scope_map(),
        }
    }

    /// Who the claims are of, if they hold now.
    ///
    /// # Errors
    ///
    /// When they do not. They have expired only if nothing else is wrong.
    pub fn principal(&self, claims: &Value, now: SystemTime) -> Result<Principal, Unauthenticated> {
        let invalid = |reason| Err(Unauthenticated::Invalid(reason));
        if self.issuer.is_some() && claims.get("iss").and_then(Value::as_str) != self.issuer.as_deref() {
            return invalid("its issuer (iss) is not the one of --jwt-issuer");
        }
        if !self.is_for_us(claims.get("aud")) {
            return invalid("its audience (aud) is none of --jwt-audience");
        }
        let Some(end) = claims.get("exp").and_then(time).and_then(|end| end.checked_add(self.leeway)) else {
            return invalid("its end (exp) is missing, or is no number of seconds");
        };
        if let Some(begin) = claims.get("nbf") {
            match time(begin) {
                Some(begin) if now.checked_add(self.leeway).is_some_and(|now| now >= begin) => {}
                Some(_) => return invalid("its time has not come (nbf)"),
                None => return invalid("its beginning (nbf) is no number of seconds"),
            }
        }
        if now >= end {
            return Err(Unauthenticated::Expired);
        }
        let name = claims.get("sub").and_then(Value::as_str).map(name);
        Ok(Principal { is_anonymous: false, name, scopes: self.scopes(claims), expires_at: Some(end) })
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        let is_ours = |name: &Value| name.as_str().is_some_and(|name| self.audiences.iter().any(|ours| ours == name));
        match audience {
            Some(Value::Array(names)) => names.iter().any(is_ours),
            Some(name) => is_ours(name),
            None => false,
        }
    }

    fn scopes(&self, claims: &Value) -> Scopes {
        match self.scopes.iter().find_map(|pointer| claims.pointer(pointer)) {
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).map(|name| self.scopes_of(name)).collect()
            }
            Some(Value::String(names)) => names.split_ascii_whitespace().map(|name| self.scopes_of(name)).collect(),
            _ => Scopes::NONE,
        }
    }

    /// The scopes that a name stands for.
    fn scopes_of(&self, name: &str) -> Scopes {
        let scope: Scopes = name.parse::<Scope>().into_iter().collect();
        scope.union(self.scope_map.get(name).copied().unwrap_or_default())
    }
}

/// A time in seconds since 1970, which need not be whole.
fn time(value: &Value) -> Option<SystemTime> {
    // One that is negative is no duration.
    let time = Duration::try_from_secs_f64(value.as_f64()?).ok().filter(|time| *time <= LATEST)?;
    SystemTime::UNIX_EPOCH.checked_add(time)
}

/// A name that the log can have.
fn name(subject: &str) -> Arc<str> {
    subject.chars().filter(|character| !character.is_control()).take(MAX_NAME).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LEEWAY: u64 = 30;

    fn outcome(claims: Value, now: u64) -> Result<Option<SystemTime>, Unauthenticated> {
        let rules = Rules {
            issuer: None,
            audiences: vec!["heroes".to_owned()],
            leeway: Duration::from_secs(LEEWAY),
            scopes: vec!["/scope".to_owned()],
            scope_map: HashMap::new(),
        };
        let mut all = json!({"aud": "heroes", "exp": 1_000});
        for (name, value) in claims.as_object().expect("they are an object") {
            all[name] = value.clone();
        }
        rules.principal(&all, at(now)).map(|principal| principal.expires_at)
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_leeway_is_from_the_first_second_to_before_the_last() {
        assert_eq!(outcome(json!({}), 1_029), Ok(Some(at(1_030))));
        assert_eq!(outcome(json!({}), 1_030), Err(Unauthenticated::Expired));
        assert_eq!(outcome(json!({"nbf": 930}), 900), Ok(Some(at(1_030))));
        let early = Err(Unauthenticated::Invalid("its time has not come (nbf)"));
        assert_eq!(outcome(json!({"nbf": 930}), 899), early);
        assert_eq!(outcome(json!({"nbf": 930.5}), 900), early);
        assert_eq!(outcome(json!({"exp": 0}), 29), Ok(Some(at(30))));
        assert_eq!(outcome(json!({"exp": 1_000.5}), 1_030), Ok(Some(at(1_030) + Duration::from_millis(500))));
    }
}
