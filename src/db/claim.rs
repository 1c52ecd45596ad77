//! Which statements may have any connection, and which leave some to others.
//!
//! A light query must not wait until heavy ones have ended. So some connections are kept for statements that are likely
//! to be short: the first one of a request, unless statements with the same text took long the last two times.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;

/// What a connection is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The first statement of a request, which may have any connection.
    First,
    /// What else a request asks, and statements that take long. They leave some connections to [`Claim::First`].
    Further,
}

/// The text of a statement, without the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TextHash(u64);

/// What is known of how long statements take.
#[derive(Debug, Default)]
pub struct LongStatements {
    /// How often in a row statements took long, up to [`TIMES`].
    times: Mutex<HashMap<TextHash, u8>>,
    /// How many texts there are, so that nothing is hashed while there are none.
    number: AtomicUsize,
    state: RandomState,
}

/// From what time on a statement takes long.
const LONG: Duration = Duration::from_millis(100);
/// How often in a row it must have taken long to be known for that. Once may be the mood of the machine.
const TIMES: u8 = 2;
/// The greatest number of statements that are remembered.
const MAX_REMEMBERED: usize = 1_000;

impl LongStatements {
    pub fn hash(&self, sql: &str) -> TextHash {
        TextHash(self.state.hash_one(sql))
    }

    /// Whether a statement with this text is known to take long.
    pub fn has(&self, sql: &str) -> bool {
        self.number.load(Relaxed) > 0 && self.has_hash(self.hash(sql))
    }

    /// The same, of the hash of the text.
    pub fn has_hash(&self, hash: TextHash) -> bool {
        self.number.load(Relaxed) > 0 && self.times.lock().get(&hash).is_some_and(|times| *times >= TIMES)
    }

    /// Remembers how long a statement took.
    pub fn note(&self, sql: &str, time: Duration) {
        let is_long = time >= LONG;
        if !is_long && self.number.load(Relaxed) == 0 {
            return;
        }
        let hash = self.hash(sql);
        let mut all = self.times.lock();
        if is_long {
            if all.len() >= MAX_REMEMBERED {
                all.clear();
            }
            let times = all.entry(hash).or_default();
            *times = TIMES.min(*times + 1);
        } else {
            all.remove(&hash);
        }
        self.number.store(all.len(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{LONG, LongStatements, MAX_REMEMBERED};
    use std::time::Duration;

    #[test]
    fn a_statement_takes_long_until_it_does_not() {
        let statements = LongStatements::default();
        for _ in 0..2 {
            statements.note("SELECT 1", Duration::ZERO);
            statements.note("SELECT 1", LONG);
            assert!(!statements.has("SELECT 1"));
            statements.note("SELECT 1", LONG);
            statements.note("SELECT 1", LONG);
            assert!(statements.has("SELECT 1") && !statements.has("SELECT 2"));
            statements.note("SELECT 1", Duration::ZERO);
            assert!(!statements.has("SELECT 1"));
        }
        for number in 0..=2 * MAX_REMEMBERED {
            statements.note(&format!("SELECT {number}"), LONG);
        }
        assert!(statements.times.lock().len() <= MAX_REMEMBERED);
    }
}
