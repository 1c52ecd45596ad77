//! Where keys come from, and their renewal.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use hyper::body::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, timeout},
};
use url::{Host, Url};

use super::{fetch, key_set::KeySet};
use crate::{
    config::{AccessSettings, Issuer, KeySetSource, WrongSetting},
    telemetry::Telemetry,
};

/// A key set that is fetched, kept and renewed.
///
/// It is fetched by one task at a time. Whoever gives up waiting does not end it.
#[derive(Debug)]
pub struct KeySource {
    location: Location,
    /// The age at which the set is fetched again.
    refresh: Duration,
    /// The time from a fetch that has failed, or that was made for a key that the set does not have, to the next.
    cooldown: Duration,
    /// How long the set is used beyond `refresh`, while it cannot be fetched.
    max_stale: Duration,
    /// How long a document may take.
    timeout: Duration,
    telemetry: Telemetry,
    state: Mutex<State>,
    /// Tells that a fetch has ended.
    ended: watch::Sender<()>,
}

/// The longest time between two fetches while none has succeeded.
const FIRST_COOLDOWN: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Location {
    /// The key set that the discovery document of an issuer names.
    Discovery {
        issuer: Issuer,
        document: Url,
    },
    Url(Url),
    File(PathBuf),
}

#[derive(Debug, Default)]
struct State {
    /// The newest set, and when it was fetched.
    set: Option<(Arc<KeySet>, Instant)>,
    fetch: Fetch,
}

/// The last fetch.
#[derive(Debug, Default)]
enum Fetch {
    #[default]
    None,
    Running,
    Ended {
        at: Instant,
        has_failed: bool,
    },
}

/// A fetch that runs. When it is dropped, it has ended.
struct Running {
    source: Arc<KeySource>,
    set: Option<KeySet>,
}

impl KeySource {
    /// The sources that the settings name. Files are read.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or is no key set.
    pub async fn from_settings(settings: &AccessSettings, telemetry: &Telemetry) -> anyhow::Result<Vec<Arc<Self>>> {
        let mut locations = Vec::new();
        for source in &settings.jwks {
            locations.push(match source {
                KeySetSource::Url(url) => Location::Url(url.clone()),
                KeySetSource::File(path) => Location::File(path.clone()),
            });
        }
        if let (Some(issuer), true) = (&settings.jwt_issuer, locations.is_empty()) {
            // OpenID Connect Discovery 1.0, 4.
            let document = format!("{}/.well-known/openid-configuration", issuer.as_str().trim_end_matches('/'));
            locations.push(Location::Discovery { issuer: issuer.clone(), document: document.parse()? });
        }
        let mut sources = Vec::new();
        for location in locations {
            sources.push(Self::start(location, settings, telemetry).await?);
        }
        Ok(sources)
    }

    /// A file is read at once. A URL is fetched in the background, as an issuer may come later than the server.
    async fn start(location: Location, settings: &AccessSettings, telemetry: &Telemetry) -> anyhow::Result<Arc<Self>> {
        let source = Arc::new(Self {
            location,
            refresh: settings.jwks_refresh,
            cooldown: settings.jwks_cooldown,
            max_stale: settings.jwks_max_stale,
            timeout: settings.jwks_timeout,
            telemetry: telemetry.clone(),
            state: Mutex::default(),
            ended: watch::Sender::new(()),
        });
        match &source.location {
            Location::File(path) => {
                let set = source.load().await.map_err(|error| {
                    WrongSetting(format!("--jwks: cannot read the keys of {}: {error:#}", path.display()))
                })?;
                source.state.lock().fetch = Fetch::Running;
                drop(Running { source: Arc::clone(&source), set: Some(set) });
            }
            Location::Url(url) | Location::Discovery { document: url, .. } => {
                if url.scheme() == "http" && !is_loopback(url) {
                    tracing::warn!(
                        keys = %source.location,
                        "keys come over plain HTTP: whoever is in between can make tokens of their own"
                    );
                }
                source.begin(&mut source.state.lock());
            }
        }
        Ok(source)
    }

    /// The time since the set was fetched.
    pub fn age(&self) -> Option<Duration> {
        self.state.lock().set.as_ref().map(|(_, since)| since.elapsed())
    }

    /// The keys that may be used now. None if they have never been fetched, or not for too long. They are renewed in
    /// the background when it is time.
    pub fn current(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let mut state = self.state.lock();
        let age = state.set.as_ref().map(|(_, since)| since.elapsed());
        if age.is_none_or(|age| age >= self.refresh) {
            let is_time = match state.fetch {
                Fetch::None => true,
                Fetch::Running => false,
                Fetch::Ended { at, has_failed } => !has_failed || at.elapsed() >= self.cooldown(&state),
            };
            if is_time {
                self.begin(&mut state);
            }
        }
        let (set, _) = state.set.as_ref()?;
        let is_fresh = age.is_some_and(|age| age <= self.refresh.saturating_add(self.max_stale));
        is_fresh.then(|| Arc::clone(set))
    }

    /// Fetches the set for a key that is not in it, unless that was done a moment ago. What is given is told when the
    /// fetch has ended.
    pub fn ask(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        let mut state = self.state.lock();
        let ended = self.ended.subscribe();
        match state.fetch {
            Fetch::Running => return Some(ended),
            Fetch::Ended { at, .. } if at.elapsed() < self.cooldown(&state) => return None,
            Fetch::None | Fetch::Ended { .. } => {}
        }
        self.begin(&mut state);
        Some(ended)
    }

    /// The time from a fetch to the next. An issuer that comes a moment after the server is found soon.
    fn cooldown(&self, state: &State) -> Duration {
        if state.set.is_none() { self.cooldown.min(FIRST_COOLDOWN) } else { self.cooldown }
    }

    fn begin(self: &Arc<Self>, state: &mut State) {
        state.fetch = Fetch::Running;
        let source = Arc::clone(self);
        tokio::spawn(async move {
            let mut running = Running { source, set: None };
            match running.source.load().await {
                Ok(set) => running.set = Some(set),
                Err(error) => {
                    tracing::warn!(
                        keys = %running.source.location,
                        error = format!("{error:#}"),
                        "the keys of tokens cannot be fetched"
                    );
                }
            }
        });
    }

    async fn load(&self) -> anyhow::Result<KeySet> {
        KeySet::parse(&self.location.document(self.timeout).await?)
    }
}

impl Location {
    /// The document with the keys.
    async fn document(&self, time: Duration) -> anyhow::Result<Bytes> {
        match self {
            Self::Url(url) => fetch::fetch(url, time).await,
            Self::File(path) => {
                let path = path.clone();
                let read = timeout(time, spawn_blocking(move || fetch::read(&path)));
                Ok(read.await.context("it cannot be read in time")??.map(Bytes::from)?)
            }
            Self::Discovery { issuer, document } => {
                let url = keys_of(issuer, document, &fetch::fetch(document, time).await?)?;
                fetch::fetch(&url, time).await.with_context(|| format!("the keys of {}", Shown(&url)))
            }
        }
    }
}

/// Where an issuer has its keys, by its discovery document (`OpenID` Connect Discovery 1.0, 3 and 4.3).
fn keys_of(issuer: &Issuer, document: &Url, text: &[u8]) -> anyhow::Result<Url> {
    #[derive(Deserialize)]
    struct Discovery {
        issuer: String,
        jwks_uri: String,
    }

    let found: Option<Discovery> = serde_json::from_slice(text).ok();
    let found = found.context("it is no discovery document with an issuer and a jwks_uri")?;
    ensure!(found.issuer == issuer.as_str(), "it is of another issuer than --jwt-issuer says");
    let keys: Url = found.jwks_uri.parse().ok().context("its jwks_uri is no URL")?;
    let is_as_safe = keys.scheme() == "https" || (keys.scheme() == "http" && document.scheme() == "http");
    ensure!(is_as_safe && keys.has_host(), "its jwks_uri is no URL of the scheme https");
    Ok(keys)
}

impl Drop for Running {
    fn drop(&mut self) {
        let Self { source, set } = self;
        let now = Instant::now();
        if let Some(metrics) = source.telemetry.metrics() {
            metrics.note_key_set_fetch(if set.is_some() { "ok" } else { "error" });
        }
        let mut state = source.state.lock();
        state.fetch = Fetch::Ended { at: now, has_failed: set.is_none() };
        let mut number_of_new = None;
        if let Some(set) = set.take() {
            // Tokens that were verified by an equal set are still verified.
            let old = state.set.take().map(|(old, _)| old).filter(|old| old.digest == set.digest);
            if old.is_none() {
                number_of_new = Some(set.keys.len());
            }
            state.set = Some((old.unwrap_or_else(|| Arc::new(set)), now));
        }
        drop(state);
        source.ended.send_replace(());
        match number_of_new {
            None => {}
            Some(0) => tracing::warn!(keys = %source.location, "there is no key in it that can verify tokens"),
            Some(number) => tracing::info!(keys = %source.location, number, "the keys of tokens are fetched"),
        }
    }
}

/// A URL as the log may have it: a query may be a secret.
struct Shown<'a>(&'a Url);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0[..url::Position::AfterPath])
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) | Self::Discovery { document: url, .. } => Shown(url).fmt(formatter),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
