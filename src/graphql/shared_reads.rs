//! Reads that requests at the same time share.
//!
//! While statements that answer a question run, a request that asks the same does not send one of its own at once. It
//! waits a moment: for the next one that is sent, which it then shares, or until one of them has ended, and then it
//! sends the next. So a request that is alone waits for nobody, and the busier a server is, the fewer statements a
//! request takes.
//!
//! Who shares a statement has asked before it is sent, and it is known only then, when it has its connection. So each
//! request reads what it would have read by itself, and waits for no connection that another one waits for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher as _, Hash, Hasher, RandomState},
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

/// So many statements run for a question before anybody waits.
const MAX_RUNNING: usize = 2;
/// When the last one was sent longer ago, nobody waits for the next.
const MAX_AGE: Duration = Duration::from_micros(250);
/// How long the next one is waited for at the most. The timer of Tokio takes up to twice as long.
const MAX_WAIT: Duration = Duration::from_millis(1);
/// The greatest number of keys of a statement that is shared. More take longer than it takes to send a statement.
pub const MAX_KEYS: usize = 100;

/// A question that is asked of keys. Requests that ask the same share its answers.
pub trait Shared: Eq + Hash {
    /// The answer for a key. A key may have none.
    type Answer: Clone;
}

/// The questions that are asked of a database just now.
pub struct SharedReads<Q: Shared> {
    asked: Mutex<HashMap<Arc<Hashed<Q>>, Asked<Q>>>,
    hasher: RandomState,
    /// The number of the next request that waits.
    next: AtomicU64,
}

/// A question with its hash, which takes a while and is made while nobody waits.
#[derive(PartialEq, Eq)]
struct Hashed<Q> {
    hash: u64,
    question: Q,
}

/// What is known of a question while statements for it run.
struct Asked<Q: Shared> {
    running: usize,
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
    question: Arc<Hashed<Q>>,
    keys: Vec<i64>,
    number: u64,
    told: Receiver<Turn<Q>>,
}

/// What comes of asking.
pub enum Turn<Q: Shared> {
    /// Another request has read the answers.
    Answered(BTreeMap<i64, Q::Answer>),
    /// The request has to read them, perhaps for others as well.
    Read(Arc<SharedRead<Q>>),
}

/// A statement that a request sends for itself and for others. When it fails, or the request is given up, each of them
/// sends its own.
pub struct SharedRead<Q: Shared> {
    /// The keys of the request itself.
    pub own: Vec<i64>,
    /// Those who share it; none before it is sent.
    others: Mutex<Option<Vec<Waiting<Q>>>>,
    reads: Arc<SharedReads<Q>>,
    question: Arc<Hashed<Q>>,
}

impl<Q> Hash for Hashed<Q> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl<Q: Shared> Default for SharedReads<Q> {
    fn default() -> Self {
        Self { asked: Mutex::default(), hasher: RandomState::default(), next: AtomicU64::default() }
    }
}

impl<Q: Shared> SharedReads<Q> {
    /// Asks a question of at most [`MAX_KEYS`] keys. The request has to read the answers, or waits for others.
    ///
    /// # Errors
    ///
    /// What it waits for.
    pub fn ask(self: &Arc<Self>, question: Q, keys: Vec<i64>) -> Result<Arc<SharedRead<Q>>, Wait<Q>> {
        let question = Arc::new(Hashed { hash: self.hasher.hash_one(&question), question });
        if let Some(asked) = self.asked.lock().get_mut(&question)
            && asked.running >= MAX_RUNNING
            && asked.sent.elapsed() < MAX_AGE
        {
            let (number, (sender, told)) = (self.next.fetch_add(1, Relaxed), channel());
            asked.waiting.push(Waiting { number, keys: keys.clone(), told: sender });
            return Err(Wait { reads: Arc::clone(self), question, keys, number, told });
        }
        Ok(self.begin(question, keys))
    }

    /// What a request reads that waits for nobody.
    fn begin(self: &Arc<Self>, question: Arc<Hashed<Q>>, keys: Vec<i64>) -> Arc<SharedRead<Q>> {
        let mut asked = self.asked.lock();
        let new = || Asked { running: 0, sent: Instant::now(), waiting: Vec::new() };
        asked.entry(Arc::clone(&question)).or_insert_with(new).running += 1;
        drop(asked);
        self.read(question, keys)
    }

    fn read(self: &Arc<Self>, question: Arc<Hashed<Q>>, own: Vec<i64>) -> Arc<SharedRead<Q>> {
        Arc::new(SharedRead { own, others: Mutex::default(), reads: Arc::clone(self), question })
    }

    /// What a request reads that has waited for long enough. None when it shares a statement that is sent already.
    fn leave(self: &Arc<Self>, question: &Arc<Hashed<Q>>, number: u64) -> Option<Arc<SharedRead<Q>>> {
        let mut asked = self.asked.lock();
        let asked = asked.get_mut(question)?;
        let index = asked.waiting.iter().position(|waiting| waiting.number == number)?;
        asked.running += 1;
        Some(self.read(Arc::clone(question), asked.waiting.remove(index).keys))
    }

    /// Notes that a statement is sent, and gives those who share it.
    fn send(&self, question: &Arc<Hashed<Q>>, own: &[i64]) -> Vec<Waiting<Q>> {
        let mut asked = self.asked.lock();
        let Some(asked) = asked.get_mut(question) else { return Vec::new() };
        asked.sent = Instant::now();
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
        let end = asked.waiting.iter().position(|waiting| !shares(waiting)).unwrap_or(asked.waiting.len());
        asked.waiting.drain(..end).collect()
    }

    /// Notes that a statement has ended, and has one of those who wait send the next.
    fn end(self: &Arc<Self>, question: &Arc<Hashed<Q>>) {
        let mut all = self.asked.lock();
        let Some(asked) = all.get_mut(question) else { return };
        asked.running -= 1;
        asked.waiting.retain(|waiting| !waiting.told.is_closed());
        if asked.waiting.is_empty() || asked.running >= MAX_RUNNING {
            if asked.running == 0 {
                all.remove(question);
            }
            return;
        }
        let first = asked.waiting.remove(0);
        asked.running += 1;
        drop(all);
        // If the request has just been given up, this is dropped, and ends as well.
        let _ = first.told.send(Turn::Read(self.read(Arc::clone(question), first.keys)));
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
                None => told.await,
            },
        };
        turn.unwrap_or_else(|_| Turn::Read(reads.begin(question, keys)))
    }
}

impl<Q: Shared> SharedRead<Q> {
    /// Notes that it is being sent, and gives the keys to read, each once. From then on nobody shares it who asks.
    pub fn send(&self) -> Vec<i64> {
        let mut others = self.others.lock();
        let others = others.get_or_insert_with(|| self.reads.send(&self.question, &self.own));
        let mut keys = self.own.clone();
        for other in others.iter().filter(|other| other.keys != self.own) {
            keys.extend_from_slice(&other.keys);
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Hands the answers to all who share it.
    pub fn answer(&self, answers: BTreeMap<i64, Q::Answer>) -> BTreeMap<i64, Q::Answer> {
        let others = take(&mut *self.others.lock()).unwrap_or_default();
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
        self.reads.end(&self.question);
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
    type Read = Arc<SharedRead<char>>;

    /// A read for which nobody is waited.
    fn reads(reads: &Reads, question: char, keys: &[i64]) -> Read {
        reads.ask(question, keys.to_vec()).unwrap_or_else(|_| panic!("{question} waits"))
    }

    /// Two statements for a question that have been sent.
    fn two(all: &Reads, question: char) -> [Read; 2] {
        [1, 2].map(|key| {
            let read = reads(all, question, &[key]);
            assert_eq!(read.send(), [key]);
            read
        })
    }

    /// A request that waits.
    fn waits(reads: &Reads, question: char, keys: &[i64]) -> Wait<char> {
        reads.ask(question, keys.to_vec()).err().unwrap_or_else(|| panic!("{question} does not wait"))
    }

    /// What a request reads when it is its turn.
    async fn read(wait: Wait<char>) -> Read {
        match wait.turn().await {
            Turn::Read(read) => read,
            Turn::Answered(answers) => panic!("{answers:?} are answers"),
        }
    }

    async fn answers(wait: Wait<char>) -> BTreeMap<i64, i64> {
        match wait.turn().await {
            Turn::Answered(answers) => answers,
            Turn::Read(read) => panic!("{:?} are to be read", read.own),
        }
    }

    /// Ten times each key; there is none for 0.
    fn tenfold(read: &Read) -> BTreeMap<i64, i64> {
        read.answer(read.send().into_iter().filter(|key| *key != 0).map(|key| (key, 10 * key)).collect())
    }

    fn is_at_rest(reads: &Reads) -> bool {
        reads.asked.lock().is_empty()
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_shares_the_next_statement() {
        let all = Reads::default();
        let [first, second] = two(&all, 'a');
        let (third, fourth) = (waits(&all, 'a', &[3]), waits(&all, 'a', &[4, 3, 0]));
        // Another question is another statement.
        let other = reads(&all, 'b', &[2]);
        assert_eq!(tenfold(&first), BTreeMap::from([(1, 10)]));
        // When one has ended, the next is sent.
        drop(first);
        let third = read(third).await;
        let fifth = waits(&all, 'a', &[3]);
        assert_eq!(third.send(), [0, 3, 4]);
        // Whoever asks now does not share it, nor when it is sent once more.
        let late = waits(&all, 'a', &[5]);
        assert_eq!(third.send(), [0, 3, 4]);
        assert_eq!(tenfold(&third), BTreeMap::from([(3, 30)]));
        assert_eq!(answers(fourth).await, BTreeMap::from([(3, 30), (4, 40)]));
        assert_eq!(answers(fifth).await, BTreeMap::from([(3, 30)]));
        drop(third);
        let late = read(late).await;
        assert_eq!(tenfold(&late), BTreeMap::from([(5, 50)]));
        drop((second, late, other));
        assert!(is_at_rest(&all));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_statement_is_waited_for_a_moment() {
        let all = Reads::default();
        let both = two(&all, 'a');
        let (third, fourth) = (waits(&all, 'a', &[3]), waits(&all, 'a', &[4]));
        // The clock is set forward, because all wait. It is not sent yet, as when it has to wait for a connection.
        let third = read(third).await;
        // The other one does not wait for that.
        let fourth = read(fourth).await;
        assert_eq!(fourth.send(), [4]);
        // One that shares what is sent has its answer, however long that takes.
        let fifth = tokio::spawn(answers(waits(&all, 'a', &[5])));
        tokio::task::yield_now().await;
        assert_eq!(third.send(), [3, 5]);
        advance(10 * MAX_WAIT).await;
        tenfold(&third);
        assert_eq!(fifth.await.expect("it does not panic"), BTreeMap::from([(5, 50)]));
        // After that time nobody waits any more.
        drop(reads(&all, 'a', &[7]));
        drop((both, third, fourth));
        assert!(is_at_rest(&all));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_fails_for_one() {
        let all = Reads::default();
        let [first, second] = two(&all, 'a');
        let (third, fourth, fifth) = (waits(&all, 'a', &[3]), waits(&all, 'a', &[4]), waits(&all, 'a', &[5]));
        drop(first);
        let third = read(third).await;
        assert_eq!(third.send(), [3, 4, 5]);
        // Its statement fails.
        drop(third);
        for (wait, key) in [(fourth, 4), (fifth, 5)] {
            let alone = read(wait).await;
            assert_eq!(tenfold(&alone), BTreeMap::from([(key, 10 * key)]));
        }
        drop(second);
        assert!(is_at_rest(&all));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_given_up_is_not_waited_for() {
        let all = Reads::default();
        let [first, second] = two(&all, 'a');
        let (third, fourth, fifth) = (waits(&all, 'a', &[3]), waits(&all, 'a', &[4]), waits(&all, 'a', &[5]));
        drop(third);
        drop(first);
        // The turn of one that is given up is that of the next.
        let fourth = read(fourth).await;
        assert_eq!(fourth.send(), [4, 5]);
        drop(fifth);
        assert_eq!(tenfold(&fourth), BTreeMap::from([(4, 40)]));
        let (sixth, seventh) = (waits(&all, 'a', &[6]), waits(&all, 'a', &[7]));
        drop(fourth);
        // It has its turn, and does not know it yet.
        drop(sixth);
        let seventh = read(seventh).await;
        assert_eq!(tenfold(&seventh), BTreeMap::from([(7, 70)]));
        drop((second, seventh));
        assert!(is_at_rest(&all));
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_that_is_shared_has_a_hundred_keys_at_the_most() {
        let all = Reads::default();
        let many: Vec<i64> = (0..100).collect();
        let [first, second] = two(&all, 'a');
        let same = [waits(&all, 'a', &many), waits(&all, 'a', &many), waits(&all, 'a', &[7])];
        let (more, rest) = (waits(&all, 'a', &[100]), waits(&all, 'a', &[8]));
        drop(first);
        let [one, other, part] = same;
        let one = read(one).await;
        assert_eq!(one.send(), many);
        tenfold(&one);
        assert_eq!(answers(other).await.len(), 99);
        assert_eq!(answers(part).await, BTreeMap::from([(7, 70)]));
        drop(one);
        let more = read(more).await;
        assert_eq!(more.send(), [8, 100]);
        tenfold(&more);
        assert_eq!(answers(rest).await, BTreeMap::from([(8, 80)]));
        drop((second, more));
        assert!(is_at_rest(&all));
    }
}
