//! API keys: credentials of programs, kept in the database.
//!
//! All of them are kept in memory and read again every ten seconds, so that neither a key nor a guess at one costs a
//! statement.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use entity::api_key::Model;
use parking_lot::{Mutex, RwLock};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::Instrument as _;

use super::{Principal, Unauthenticated, principal::LATEST};
use crate::{
    db::{Db, StoreError},
    schema::{Scope, Scopes},
    store::api_key,
};

/// What every API key begins with.
pub const PREFIX: &str = "ht_";

/// The letters and digits of a key, each with its value.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 8;
/// So many digits have 256 random bits.
const SECRET_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;

/// How old what was read of the keys is when it is read again, while requests go on with it.
const REFRESH: Duration = Duration::from_secs(10);
/// How old it may be. A key that was revoked works no longer than this.
const MAX_AGE: Duration = Duration::from_secs(30);
/// The shortest pause after a read, before an unknown key makes the keys be read again: whoever guesses keys causes a
/// hundred statements a second at most, and a key that was just made works at once.
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// The longest one.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The pause in relation to the time that the read took, so that many keys are read a tenth of the time at most.
const PAUSE_FACTOR: u32 = 9;
/// The pause after a read that failed. Until its end no request that needs one waits.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long the database may take.
const MAX_READ: Duration = Duration::from_secs(5);

/// The API keys of a database. A clone is cheap.
#[derive(Clone)]
pub struct ApiKeys {
    shared: Arc<Shared>,
}

struct Shared {
    db: Db,
    known: RwLock<Option<Arc<Known>>>,
    turn: Arc<AsyncMutex<Turn>>,
    /// When the use of each key was noted.
    noted: Mutex<HashMap<Arc<str>, Instant>>,
}

/// The turn of the one who reads the keys.
struct Turn {
    /// When they may be read again.
    next: Instant,
    /// Whether they could not be read the last time.
    has_failed: bool,
}

/// The keys as they were read.
struct Known {
    /// From before they were read.
    at: Instant,
    keys: HashMap<Arc<str>, KnownKey>,
}

/// A key.
struct KnownKey {
    secret_hash: [u8; 32],
    principal: Principal,
    is_revoked: bool,
}

/// A new key, which is shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// The key as clients send it.
    pub key: String,
    /// Its id.
    pub id: String,
}

impl ApiKeys {
    /// The keys of a database.
    #[must_use]
    pub fn new(db: &Db) -> Self {
        // They are read for no request, and their statements are counted for none.
        let db = db.uncounted();
        let turn = Arc::new(AsyncMutex::new(Turn { next: Instant::now(), has_failed: false }));
        let shared = Shared { db, known: RwLock::default(), turn, noted: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Makes a key with a name and scopes that works until a time, or for ever.
    ///
    /// # Errors
    ///
    /// When the database cannot be written.
    pub async fn create(
        &self,
        name: &str,
        scopes: Scopes,
        expires_at: Option<SystemTime>,
    ) -> Result<NewApiKey, StoreError> {
        let (id, secret) = (random(ID_LENGTH)?, random(SECRET_LENGTH)?);
        let mut key = format!("{PREFIX}{id}_{secret}");
        key += &checksum(&key);
        let model = Model {
            id: id.clone(),
            name: name.to_owned(),
            secret_hash: BASE64_STANDARD.encode(Sha256::digest(&key)),
            scopes: scopes.to_string(),
            created_at: seconds(SystemTime::now()),
            expires_at: expires_at.map(seconds),
            revoked_at: None,
            last_used_at: None,
        };
        api_key::insert(&self.shared.db, model).await?;
        Ok(NewApiKey { key, id })
    }

    /// All keys, from the oldest to the newest.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn list(&self) -> Result<Vec<Model>, StoreError> {
        api_key::all(&self.shared.db).await
    }

    /// Revokes the key with this id, which may come as the whole key. Gives the id, if the key exists.
    ///
    /// # Errors
    ///
    /// When the database cannot be written.
    pub async fn revoke<'a>(&self, id_or_key: &'a str) -> Result<Option<&'a str>, StoreError> {
        let id = id_of(id_or_key).unwrap_or(id_or_key);
        let exists = api_key::revoke(&self.shared.db, id, seconds(SystemTime::now())).await?;
        Ok(exists.then_some(id))
    }

    /// Whose key it is.
    ///
    /// # Errors
    ///
    /// When it is not accepted.
    pub async fn verify(&self, key: &str) -> Result<Principal, Unauthenticated> {
        let id = id_of(key).ok_or(Unauthenticated::Invalid("the API key is not of the form of one"))?;
        let secret_hash: [u8; 32] = Sha256::digest(key).into();
        let known = self.known(id).await?;
        let found = known.keys.get(id);
        // The time that it takes must not tell whether the id is known.
        let expected = found.map_or(&[0; 32], |found| &found.secret_hash);
        let is_equal = bool::from(expected.ct_eq(&secret_hash));
        let Some(found) = found.filter(|_| is_equal) else {
            return Err(Unauthenticated::Invalid("the API key is not known"));
        };
        if found.is_revoked {
            return Err(Unauthenticated::Invalid("the API key is revoked"));
        }
        if found.principal.expires_at.is_some_and(|end| end <= SystemTime::now()) {
            return Err(Unauthenticated::Expired);
        }
        self.note_use(&found.principal);
        Ok(found.principal.clone())
    }

    /// The keys, no older than they may be, and read again if there is none with this id.
    async fn known(&self, id: &str) -> Result<Arc<Known>, Unauthenticated> {
        let asked = Instant::now();
        if let Some(known) = self.shared.known().filter(|known| known.has(id)) {
            if known.at.elapsed() >= REFRESH {
                self.refresh_in_background();
            }
            return Ok(known);
        }
        let turn = Arc::clone(&self.shared.turn).lock_owned().await;
        // Somebody else may have read them meanwhile, or found that they cannot be read.
        if let Some(known) = self.shared.known().filter(|known| known.at >= asked || known.has(id)) {
            return Ok(known);
        }
        if turn.has_failed && Instant::now() < turn.next {
            return Err(Unauthenticated::Unavailable);
        }
        sleep_until(turn.next).await;
        let read = self.shared.read(turn).await;
        read.ok().flatten().ok_or(Unauthenticated::Unavailable)
    }

    fn refresh_in_background(&self) {
        // One who reads already is enough.
        if let Ok(turn) = Arc::clone(&self.shared.turn).try_lock_owned()
            && turn.next <= Instant::now()
        {
            drop(self.shared.read(turn));
        }
    }

    /// Notes the use of a key in the database, unless it has been a moment ago, or the database may only be read.
    fn note_use(&self, principal: &Principal) {
        let Some(id) = &principal.name else { return };
        if self.shared.db.is_read_only() {
            return;
        }
        let now = Instant::now();
        {
            let mut noted = self.shared.noted.lock();
            match noted.get_mut(id) {
                Some(at) if now.saturating_duration_since(*at) < api_key::USE_INTERVAL => return,
                Some(at) => *at = now,
                None => drop(noted.insert(Arc::clone(id), now)),
            }
        }
        let (db, id) = (self.shared.db.for_request(now + MAX_READ), Arc::clone(id));
        let note = async move {
            if let Err(error) = api_key::note_use(&db, &id, seconds(SystemTime::now())).await {
                tracing::debug!(%error, "the use of an API key could not be noted");
            }
        };
        tokio::spawn(note.in_current_span());
    }
}

impl Shared {
    fn known(&self) -> Option<Arc<Known>> {
        self.known.read().clone()
    }

    /// Reads the keys, in a task of its own: others wait for it as well, so it goes on when its client has gone. Gives
    /// nothing when they cannot be read.
    fn read(self: &Arc<Self>, mut turn: OwnedMutexGuard<Turn>) -> JoinHandle<Option<Arc<Known>>> {
        let shared = Arc::clone(self);
        let read = async move {
            let at = Instant::now();
            let rows = match api_key::all(&shared.db.for_request(at + MAX_READ)).await {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::warn!(%error, "the API keys cannot be read");
                    *turn = Turn { next: Instant::now() + PAUSE_AFTER_FAILURE, has_failed: true };
                    return None;
                }
            };
            let known = Arc::new(Known { at, keys: rows.into_iter().filter_map(KnownKey::of_row).collect() });
            *shared.known.write() = Some(Arc::clone(&known));
            let pause = (at.elapsed() * PAUSE_FACTOR).clamp(MIN_PAUSE, MAX_PAUSE);
            *turn = Turn { next: Instant::now() + pause, has_failed: false };
            Some(known)
        };
        tokio::spawn(read.in_current_span())
    }
}

impl Known {
    /// Whether they tell about the key with this id, and are not too old.
    fn has(&self, id: &str) -> bool {
        self.at.elapsed() < MAX_AGE && self.keys.contains_key(id)
    }
}

impl KnownKey {
    /// A key with its id.
    fn of_row(row: Model) -> Option<(Arc<str>, Self)> {
        let id: Arc<str> = row.id.into();
        let principal = Principal {
            is_anonymous: false,
            name: Some(Arc::clone(&id)),
            scopes: row.scopes.split(',').filter_map(|scope| scope.parse::<Scope>().ok()).collect(),
            expires_at: row.expires_at.map(time),
        };
        let secret_hash = BASE64_STANDARD.decode(row.secret_hash).ok()?.try_into().ok()?;
        Some((id, Self { secret_hash, principal, is_revoked: row.revoked_at.is_some() }))
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ApiKeys").finish_non_exhaustive()
    }
}

/// Without the key.
impl fmt::Debug for NewApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NewApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The id in a key, if it has the form of one and its checksum.
fn id_of(key: &str) -> Option<&str> {
    let is_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_alphanumeric());
    let (id, secret) = key.strip_prefix(PREFIX)?.split_once('_')?;
    let has_lengths = id.len() == ID_LENGTH && secret.len() == SECRET_LENGTH + CHECKSUM_LENGTH;
    if !has_lengths || !is_digits(id) || !is_digits(secret) {
        return None;
    }
    let (rest, sum) = key.split_at(key.len() - CHECKSUM_LENGTH);
    (checksum(rest) == sum).then_some(id)
}

/// Six digits that follow from a text, so that scanners tell a key that has leaked from other text.
fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// So many random digits.
fn random(length: usize) -> Result<String, StoreError> {
    let random = SystemRandom::new();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut byte = [0];
        let filled = random.fill(&mut byte);
        filled.map_err(|_| StoreError::Database(sea_orm::DbErr::Custom("no random numbers".to_owned())))?;
        // As many of them for each digit.
        if byte[0] < 248 {
            text.push(char::from(DIGITS[usize::from(byte[0] % 62)]));
        }
    }
    Ok(text)
}

/// A time as it is stored: in seconds since 1970.
fn seconds(time: SystemTime) -> i64 {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    seconds.try_into().unwrap_or(i64::MAX)
}

/// A time from the seconds since 1970. One that cannot be printed becomes the nearest that can.
#[must_use]
pub fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0)).min(LATEST)
}
