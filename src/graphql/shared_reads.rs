//! Reads that requests at the same time share.
//!
//! A request that asks what another one is just asking the database does not send a statement of its own at once. It
//! waits for that one to end, a moment at the most, and whoever has come by then shares the next statement. So a
//! request that is alone waits for nobody, and the busier a server is, the fewer statements a request takes.
//!
//! A statement is sent after all who share it have asked, so each of them reads what it would have read by itself.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    hash::Hash,
    mem::take,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::oneshot::{Receiver, Sender, channel},
    time::{Instant, timeout},
};

/// A statement that was sent so long ago is waited for by nobody who comes now.
const MAX_AGE: Duration = Duration::from_micros(250);
/// How long a statement is waited for at the most before the next one is sent.
const MAX_WAIT: Duration = Duration::from_millis(1);
/// The greatest number of keys of a statement that is shared. More take longer, and several processes of the database
/// read them at the same time.
const MAX_KEYS: usize = 100;

/// A question that is asked of keys. Requests that ask the same of a database share its answers.
pub trait Shared: Clone + Eq + Hash {
    /// The answer for a key. A key may have none.
    type Answer: Clone;
}

/// The questions that are asked of a database just now.
pub struct SharedReads<Q: Shared> {
    asked: Mutex<HashMap<Q, Asked<Q>>>,
    /// The number of the next request that waits.
    next: AtomicU64,
}

/// What is known of a question while statements for it run.
struct Asked<Q: Shared> {
    running: u32,
    /// When the last one of them was sent.
    sent: Instant,
    waiting: Vec<Waiting<Q>>,
}

/// A request that waits for the next statement.
struct Waiting<Q: Shared> {
    number: u64,
    keys: Vec<i64>,
    told: Sender<Turn<Q>>,
}

/// What tells a request when it is its turn.
pub struct Wait<Q: Shared> {
    reads: Arc<SharedReads<Q>>,
    question: Q,
    keys: Vec<i64>,
    number: u64,
    told: Receiver<Turn<Q>>,
}

/// What comes of waiting.
pub enum Turn<Q: Shared> {
    /// Another request has read the answers.
    Answered(BTreeMap<i64, Q::Answer>),
    /// The request has to read them, perhaps for others as well.
    Read(SharedRead<Q>),
}

/// A statement that a request sends for itself and for others. When it fails, or the request is given up, each of them
/// sends its own.
pub struct SharedRead<Q: Shared> {
    /// The keys of the request itself.
    own: Vec<i64>,
    others: Vec<Waiting<Q>>,
    /// Where others may wait for its end.
    of: Option<(Arc<SharedReads<Q>>, Q)>,
}

impl<Q: Shared> Default for SharedReads<Q> {
    fn default() -> Self {
        Self { asked: Mutex::default(), next: AtomicU64::default() }
    }
}

impl<Q: Shared> SharedReads<Q> {
    /// What comes of a question for these keys: the request has to read the answers, or waits for others.
    pub fn ask(self: &Arc<Self>, question: Q, keys: Vec<i64>) -> Result<SharedRead<Q>, Wait<Q>> {
        if keys.len() > MAX_KEYS {
            return Ok(SharedRead::alone(keys));
        }
        let now = Instant::now();
        let mut asked = self.asked.lock();
        match asked.entry(question.clone()) {
            Entry::Occupied(mut entry) => {
                let asked = entry.get_mut();
                if now - asked.sent < MAX_AGE {
                    let (number, (sender, told)) = (self.next.fetch_add(1, Relaxed), channel());
                    asked.waiting.push(Waiting { number, keys: keys.clone(), told: sender });
                    return Err(Wait { reads: Arc::clone(self), question, keys, number, told });
                }
                Ok(asked.send(now, self, question, keys))
            }
            Entry::Vacant(entry) => {
                let asked = entry.insert(Asked { running: 0, sent: now, waiting: Vec::new() });
                Ok(asked.send(now, self, question, keys))
            }
        }
    }

    /// What a request reads that has waited for long enough. None when another one reads it already.
    fn leave(self: &Arc<Self>, question: &Q, number: u64) -> Option<SharedRead<Q>> {
        let mut asked = self.asked.lock();
        let asked = asked.get_mut(question)?;
        let index = asked.waiting.iter().position(|waiting| waiting.number == number)?;
        let own = asked.waiting.remove(index).keys;
        Some(asked.send(Instant::now(), self, question.clone(), own))
    }

    /// Notes that a statement has ended, and has one of those who wait send the next.
    fn end(self: &Arc<Self>, question: Q) {
        let mut all = self.asked.lock();
        let Entry::Occupied(mut entry) = all.entry(question.clone()) else { return };
        let asked = entry.get_mut();
        asked.running -= 1;
        if asked.running > 0 {
            return;
        }
        asked.waiting.retain(|waiting| !waiting.told.is_closed());
        if asked.waiting.is_empty() {
            entry.remove();
            return;
        }
        let first = asked.waiting.remove(0);
        let next = asked.send(Instant::now(), self, question, first.keys);
        drop(all);
        // If the request has just been given up, this is dropped, and ends as well.
        let _ = first.told.send(Turn::Read(next));
    }
}

impl<Q: Shared> Wait<Q> {
    /// Waits until another request has read the answers, or this one has to.
    pub async fn turn(self) -> Turn<Q> {
        let Self { reads, question, keys, number, mut told } = self;
        let turn = match timeout(MAX_WAIT, &mut told).await {
            Ok(turn) => turn,
            Err(_) => match reads.leave(&question, number) {
                Some(read) => return Turn::Read(read),
                // Another request is reading them.
                None => told.await,
            },
        };
        turn.unwrap_or_else(|_| Turn::Read(SharedRead::alone(keys)))
    }
}

impl<Q: Shared> Asked<Q> {
    /// A statement that is sent now, with those who wait, as far as they do not ask for too many keys.
    fn send(&mut self, now: Instant, reads: &Arc<SharedReads<Q>>, question: Q, own: Vec<i64>) -> SharedRead<Q> {
        self.running += 1;
        self.sent = now;
        let mut keys = BTreeSet::new();
        let mut shares = |waiting: &Waiting<Q>| {
            if waiting.keys == own {
                return true;
            }
            if keys.is_empty() {
                keys.extend(own.iter().copied());
            }
            keys.extend(waiting.keys.iter().copied());
            keys.len() <= MAX_KEYS
        };
        let end = self.waiting.iter().position(|waiting| !shares(waiting)).unwrap_or(self.waiting.len());
        let others = self.waiting.drain(..end).collect();
        SharedRead { own, others, of: Some((Arc::clone(reads), question)) }
    }
}

impl<Q: Shared> SharedRead<Q> {
    /// One that nobody shares.
    pub fn alone(keys: Vec<i64>) -> Self {
        Self { own: keys, others: Vec::new(), of: None }
    }

    /// The keys to read.
    pub fn keys(&self) -> Cow<'_, [i64]> {
        let others = self.others.iter().map(|other| &other.keys);
        let mut others = others.filter(|keys| **keys != self.own).flatten().copied().peekable();
        if others.peek().is_none() {
            return Cow::Borrowed(&self.own);
        }
        let mut keys: Vec<i64> = self.own.iter().copied().chain(others).collect();
        keys.sort_unstable();
        keys.dedup();
        Cow::Owned(keys)
    }

    /// Hands the answers to all who have asked.
    pub fn answer(mut self, answers: BTreeMap<i64, Q::Answer>) -> BTreeMap<i64, Q::Answer> {
        let others = take(&mut self.others);
        if others.is_empty() {
            return answers;
        }
        let of = |keys: &[i64]| keys.iter().filter_map(|key| Some((*key, answers.get(key)?.clone()))).collect();
        for other in others {
            // Some may have been given up.
            let _ = other.told.send(Turn::Answered(of(&other.keys)));
        }
        of(&self.own)
    }
}

impl<Q: Shared> Drop for SharedRead<Q> {
    fn drop(&mut self) {
        if let Some((reads, question)) = self.of.take() {
            reads.end(question);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    impl Shared for char {
        type Answer = i64;
    }

    type Reads = Arc<SharedReads<char>>;

    /// A read that begins at once.
    fn reads(reads: &Reads, question: char, keys: &[i64]) -> SharedRead<char> {
        reads.ask(question, keys.to_vec()).unwrap_or_else(|_| panic!("{question} waits"))
    }

    /// A read that waits for others.
    fn waits(reads: &Reads, question: char, keys: &[i64]) -> Wait<char> {
        reads.ask(question, keys.to_vec()).err().unwrap_or_else(|| panic!("{question} does not wait"))
    }

    /// What a request reads when it is its turn.
    async fn read(wait: Wait<char>) -> SharedRead<char> {
        match wait.turn().await {
            Turn::Read(read) => read,
            Turn::Answered(answers) => panic!("{answers:?} are answers"),
        }
    }

    async fn answers(wait: Wait<char>) -> BTreeMap<i64, i64> {
        match wait.turn().await {
            Turn::Answered(answers) => answers,
            Turn::Read(read) => panic!("{:?} are to be read", read.keys()),
        }
    }

    /// Ten times each key; there is none for 0.
    fn tenfold(read: SharedRead<char>) -> BTreeMap<i64, i64> {
        let answers = read.keys().iter().filter(|key| **key != 0).map(|key| (*key, 10 * key)).collect();
        read.answer(answers)
    }

    fn is_at_rest(reads: &Reads) -> bool {
        reads.asked.lock().is_empty()
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_a_statement_runs_shares_the_next() {
        let all = Reads::default();
        let first = reads(&all, 'a', &[1]);
        assert_eq!(*first.keys(), [1]);
        let (second, third, fourth) = (waits(&all, 'a', &[2]), waits(&all, 'a', &[3, 2, 0]), waits(&all, 'a', &[2]));
        // Another question is another statement.
        let other = reads(&all, 'b', &[2]);
        assert_eq!(tenfold(first), BTreeMap::from([(1, 10)]));
        let second = read(second).await;
        assert_eq!(*second.keys(), [0, 2, 3]);
        assert_eq!(tenfold(second), BTreeMap::from([(2, 20)]));
        assert_eq!(answers(third).await, BTreeMap::from([(2, 20), (3, 30)]));
        assert_eq!(answers(fourth).await, BTreeMap::from([(2, 20)]));
        drop(other);
        assert!(is_at_rest(&all));
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_is_waited_for_a_moment() {
        let all = Reads::default();
        let first = reads(&all, 'a', &[1]);
        let (second, third) = (waits(&all, 'a', &[2]), waits(&all, 'a', &[3]));
        // The clock is set forward, because all wait.
        let second = read(second).await;
        assert_eq!(*second.keys(), [2, 3]);
        // That one has just been sent, and is not waited for any more by then.
        let fourth = waits(&all, 'a', &[4]);
        advance(MAX_AGE).await;
        let fifth = reads(&all, 'a', &[5]);
        assert_eq!(*fifth.keys(), [4, 5]);
        tenfold(fifth);
        assert_eq!(answers(fourth).await, BTreeMap::from([(4, 40)]));
        // One that waits longer for what is being read has its answer, and no statement of its own.
        let third = tokio::spawn(answers(third));
        advance(10 * MAX_WAIT).await;
        tenfold(second);
        assert_eq!(third.await.expect("it does not panic"), BTreeMap::from([(3, 30)]));
        tenfold(first);
        assert!(is_at_rest(&all));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_fails_for_one() {
        let all = Reads::default();
        let first = reads(&all, 'a', &[1]);
        let (second, third, fourth) = (waits(&all, 'a', &[2]), waits(&all, 'a', &[3]), waits(&all, 'a', &[4]));
        drop(first);
        // Its statement fails.
        drop(read(second).await);
        for (wait, key) in [(third, 3), (fourth, 4)] {
            let alone = read(wait).await;
            assert_eq!(*alone.keys(), [key]);
            assert_eq!(tenfold(alone), BTreeMap::from([(key, 10 * key)]));
        }
        assert!(is_at_rest(&all));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_given_up_is_not_waited_for() {
        let all = Reads::default();
        let first = reads(&all, 'a', &[1]);
        let (second, third, fourth) = (waits(&all, 'a', &[2]), waits(&all, 'a', &[3]), waits(&all, 'a', &[4]));
        drop(second);
        drop(first);
        let third = read(third).await;
        assert_eq!(*third.keys(), [3, 4]);
        drop(fourth);
        tenfold(third);
        // The turn of one that is given up is that of the next.
        let first = reads(&all, 'a', &[1]);
        let (second, third) = (waits(&all, 'a', &[2]), waits(&all, 'a', &[3]));
        drop(first);
        drop(second);
        let third = read(third).await;
        assert_eq!(*third.keys(), [3]);
        drop(third);
        assert!(is_at_rest(&all));
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_has_a_hundred_keys_at_the_most() {
        let all = Reads::default();
        let many: Vec<i64> = (0..100).collect();
        let first = reads(&all, 'a', &many);
        let too_many: Vec<i64> = (0..101).collect();
        assert_eq!(*reads(&all, 'a', &too_many).keys(), too_many);
        let same = [waits(&all, 'a', &many), waits(&all, 'a', &many), waits(&all, 'a', &[7])];
        let (more, rest) = (waits(&all, 'a', &[100]), waits(&all, 'a', &[8]));
        drop(first);
        let [one, other, part] = same;
        let one = read(one).await;
        assert_eq!(*one.keys(), many);
        tenfold(one);
        assert_eq!(answers(other).await.len(), 99);
        assert_eq!(answers(part).await, BTreeMap::from([(7, 70)]));
        let more = read(more).await;
        assert_eq!(*more.keys(), [8, 100]);
        tenfold(more);
        assert_eq!(answers(rest).await, BTreeMap::from([(8, 80)]));
        assert!(is_at_rest(&all));
    }
}
