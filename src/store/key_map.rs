//! Keys by the numbers that they have elsewhere.

use std::collections::BTreeMap;

/// Keys by numbers. Numbers that follow each other and whose keys do are one entry, so that a map of millions of rows
/// that were counted is small.
#[derive(Clone, Debug, Default)]
pub struct KeyMap(BTreeMap<i64, Run>);

/// Numbers and keys that both go up by one.
#[derive(Clone, Copy, Debug)]
struct Run {
    key: i64,
    length: i64,
}

impl KeyMap {
    /// The key of a number.
    #[must_use]
    pub fn get(&self, number: i64) -> Option<i64> {
        let (first, run) = self.0.range(..=number).next_back()?;
        let place = number.checked_sub(*first)?;
        (place < run.length).then(|| run.key + place)
    }

    /// Whether there is a key of a number.
    #[must_use]
    pub fn contains(&self, number: i64) -> bool {
        self.get(number).is_some()
    }

    /// Notes the key of a number that has none yet.
    pub fn insert(&mut self, number: i64, key: i64) {
        self.insert_run(number, key, 1);
    }

    /// Notes the keys of numbers that have none yet and go up by one, as the keys do.
    pub fn insert_run(&mut self, first: i64, key: i64, length: i64) {
        if let Some((before, run)) = self.0.range_mut(..first).next_back()
            && before.checked_add(run.length) == Some(first)
            && run.key.checked_add(run.length) == Some(key)
        {
            run.length += length;
            return;
        }
        self.0.insert(first, Run { key, length });
    }

    /// All keys: the first number of a run, its key, and the length of the run.
    pub fn runs(&self) -> impl Iterator<Item = (i64, i64, i64)> {
        self.0.iter().map(|(first, run)| (*first, run.key, run.length))
    }
}
