//! What the primary has come to, from which the age of what a replica does not yet have is known.

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// What was seen of a server.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The number of the cluster.
    pub system: u64,
    pub is_standby: bool,
    /// When the server was started, in microseconds.
    pub started: u64,
    /// The process that receives what another server streams to this one.
    pub receiver: Option<u64>,
    /// All transactions before this one have ended.
    pub xmin: u64,
    /// No transaction from this one on has ended.
    pub xmax: u64,
}

/// The greatest number of looks that are kept, unless what was seen then is younger than a replica may lag.
const MAX_NUMBERS: usize = 20_000;

/// The greatest number of starts of primaries before that are kept.
const MAX_BEFORE: usize = 100;

/// The primary, as it was seen from time to time.
#[derive(Debug)]
pub struct Primary(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    /// The number of the cluster.
    system: u64,
    /// When the server was started.
    started: u64,
    /// The starts of servers that were primaries before, as far as tokens have told.
    before: VecDeque<u64>,
    /// When the last look at it began.
    looked: Instant,
    /// The numbers of transactions that it has come to, each with the time of the look before, which did not see it.
    /// There was none before the first.
    numbers: VecDeque<(Option<Instant>, u64)>,
}

impl Primary {
    /// The primary at the first look.
    pub fn new(look: Look, begun: Instant) -> Self {
        let numbers = VecDeque::from([(None, look.xmax)]);
        let Look { system, started, .. } = look;
        Self(Mutex::new(Seen { system, started, before: VecDeque::new(), looked: begun, numbers }))
    }

    /// The number of the cluster.
    pub fn system(&self) -> u64 {
        self.0.lock().system
    }

    /// Whether what was committed by a server with this start was committed by the primary as it was looked at last, or
    /// by one before it. Otherwise it may be by one that has become the primary since.
    pub fn knows(&self, started: u64) -> bool {
        let seen = self.0.lock();
        started == seen.started || seen.before.contains(&started)
    }

    /// Notes a start of a server that was a primary before a look that has just been noted.
    pub fn note_before(&self, started: u64) {
        let mut seen = self.0.lock();
        if started != seen.started && !seen.before.contains(&started) {
            seen.before.truncate(MAX_BEFORE - 1);
            seen.before.push_front(started);
        }
    }

    /// Notes what it has come to by now, and gives whether it goes on from the look before. It does not when another
    /// server has become the primary, perhaps one that was behind or one of another cluster, or it was started again.
    pub fn note(&self, look: Look, begun: Instant, max_lag: Duration) -> bool {
        let mut seen = self.0.lock();
        let latest = seen.numbers.back().map_or(0, |(_, number)| *number);
        let goes_on = (look.system, look.started) == (seen.system, seen.started) && look.xmax >= latest;
        if !goes_on {
            (seen.system, seen.started) = (look.system, look.started);
            seen.numbers = VecDeque::from([(None, look.xmax)]);
        } else if look.xmax > latest {
            let before = seen.looked;
            seen.numbers.push_back((Some(before), look.xmax));
        }
        seen.looked = begun;
        // Whoever lacks a number that is older than a replica may be lacks enough. The latest of them says that.
        while seen.numbers.len() > MAX_NUMBERS
            && let Some((Some(time), _)) = seen.numbers.get(1)
            && time.elapsed() > max_lag
        {
            seen.numbers.pop_front();
        }
        goes_on
    }

    /// The age of what a replica lacks that has come to this number; none when it may be of any age.
    pub fn lag(&self, xmax: u64) -> Option<Duration> {
        let seen = self.0.lock();
        let missing = seen.numbers.get(seen.numbers.partition_point(|(_, number)| *number <= xmax));
        missing.map_or(Some(Duration::ZERO), |(time, _)| time.map(|time| time.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MAX_LAG: Duration = Duration::from_secs(5);

    fn look(system: u64, xmax: u64) -> Look {
        Look { system, is_standby: false, started: 7, receiver: None, xmin: xmax, xmax }
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_of_what_is_missing() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let primary = Primary::new(look(1, 100), Instant::now());
        // What was written before the first look may be of any age.
        assert_eq!([primary.lag(99), primary.lag(100)], [None, seconds(0)]);
        advance(Duration::from_secs(1)).await;
        assert!(primary.note(look(1, 110), Instant::now(), MAX_LAG));
        advance(Duration::from_secs(1)).await;
        // It was written between the two looks.
        assert_eq!([primary.lag(99), primary.lag(109), primary.lag(110)], [None, seconds(2), seconds(0)]);
        // Nobody has looked for an hour.
        advance(Duration::from_hours(1)).await;
        assert!(primary.note(look(1, 120), Instant::now(), MAX_LAG));
        assert_eq!([primary.lag(109), primary.lag(119)], [seconds(3602), seconds(3601)]);
        assert!(primary.note(look(1, 130), Instant::now(), MAX_LAG));
        assert_eq!([primary.lag(99), primary.lag(119), primary.lag(129)], [None, seconds(3601), seconds(0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn looks_that_are_not_kept() {
        let primary = Primary::new(look(1, 100), Instant::now());
        let max = u64::try_from(MAX_NUMBERS).expect("it is small");
        for number in 1..max + 10 {
            advance(Duration::from_millis(1)).await;
            assert!(primary.note(look(1, 100 + number), Instant::now(), MAX_LAG));
        }
        // The age of what is missing is that of the oldest one that is kept.
        assert_eq!(primary.lag(99), Some(Duration::from_millis(max)));
        assert_eq!(primary.lag(100 + max + 8), Some(Duration::from_millis(1)));
        // A replica may lag for longer.
        let primary = Primary::new(look(1, 100), Instant::now());
        for number in 1..max + 10 {
            assert!(primary.note(look(1, 100 + number), Instant::now(), Duration::from_hours(24)));
        }
        assert_eq!(primary.lag(99), None);
    }

    #[tokio::test(start_paused = true)]
    async fn another_primary() {
        let primary = Primary::new(look(1, 100), Instant::now());
        assert!(primary.note(look(1, 100), Instant::now(), MAX_LAG));
        // A standby that was behind.
        assert!(!primary.note(look(1, 90), Instant::now(), MAX_LAG));
        assert_eq!([primary.lag(89), primary.lag(90)], [None, Some(Duration::ZERO)]);
        // One that was ahead, or the same one again.
        let again = Look { started: 8, ..look(1, 100) };
        assert!(!primary.note(again, Instant::now(), MAX_LAG) && primary.note(again, Instant::now(), MAX_LAG));
        assert_eq!([primary.lag(99), primary.lag(100)], [None, Some(Duration::ZERO)]);
        assert_eq!([primary.knows(8), primary.knows(7), primary.knows(9)], [true, false, false]);
        primary.note_before(7);
        assert_eq!([primary.knows(8), primary.knows(7), primary.knows(9)], [true, true, false]);
        // Another cluster.
        assert!(!primary.note(look(2, 500), Instant::now(), MAX_LAG));
        assert_eq!((primary.system(), primary.lag(499), primary.lag(500)), (2, None, Some(Duration::ZERO)));
    }
}
