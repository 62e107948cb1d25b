//! A few threads that run chains, and a short queue before them.
//!
//! Each running Argon2id takes tens of megabytes and a core, so both numbers are bounds on what
//! strangers can make the broker spend.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use zeroize::Zeroizing;

use crate::{BackendError, Chain, ConnectRequest, Dialogue, Step, Verdict};

/// Most worker threads of a pool.
pub const WORKERS_MAX: usize = 64;
/// Most waiting requests of a pool.
pub const QUEUE_MAX: usize = 65_536;

/// Called once with the verdict, on a worker thread (or on the dropping one, at the end).
type Reply = Box<dyn FnOnce(Verdict) + Send>;

/// The same for a step of an exchange, which comes back.
type StepReply = Box<dyn FnOnce(Dialogue, Step) + Send>;

/// As many requests wait as may: tell the client 0x89 Server busy (3.x: 3), it may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many logins are waiting")]
pub struct QueueFull;

/// Worker threads that authenticate.
///
/// Dropping it lets running calls end, answers the waiting ones with
/// [`BackendError::ShuttingDown`], and returns when all threads are gone.
pub struct AuthPool {
    chain: Arc<Chain>,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    queue_max: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

enum Job {
    Connect {
        chain: Arc<Chain>,
        who: ConnectRequest,
        reply: Reply,
    },
    Step {
        dialogue: Dialogue,
        data: Option<Zeroizing<Vec<u8>>>,
        reply: StepReply,
    },
}

impl AuthPool {
    /// Starts `workers` threads (1 to [`WORKERS_MAX`]) with room for `queue_max` (1 to
    /// [`QUEUE_MAX`]) waiting requests; other numbers are brought into these bounds.
    ///
    /// # Errors
    /// The system's error if a thread can't be started.
    pub fn start(chain: Arc<Chain>, workers: usize, queue_max: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            queue_max: queue_max.clamp(1, QUEUE_MAX),
        });
        let mut pool = Self {
            chain,
            shared,
            workers: Vec::new(),
        };
        for number in 0..workers.clamp(1, WORKERS_MAX) {
            let shared = Arc::clone(&pool.shared);
            let worker = thread::Builder::new().name(format!("auth-{number}"));
            pool.workers.push(worker.spawn(move || shared.work())?);
        }
        Ok(pool)
    }

    /// Queues a request for the pool's own chain; `reply` gets the verdict on another thread.
    /// Never blocks.
    ///
    /// # Errors
    /// [`QueueFull`]; `reply` is then dropped without being called.
    pub fn try_submit(&self, who: ConnectRequest, reply: Reply) -> Result<(), QueueFull> {
        self.try_submit_to(&self.chain, who, reply)
    }

    /// As [`Self::try_submit`], for another chain: listeners share the pool and its bounds.
    ///
    /// # Errors
    /// [`QueueFull`]; `reply` is then dropped without being called.
    pub fn try_submit_to(
        &self,
        chain: &Arc<Chain>,
        who: ConnectRequest,
        reply: Reply,
    ) -> Result<(), QueueFull> {
        self.shared.push(Job::Connect {
            chain: Arc::clone(chain),
            who,
            reply,
        })
    }

    /// Queues a step of an exchange, as [`Self::try_submit`] a request; they share the bound.
    ///
    /// # Errors
    /// [`QueueFull`]; `reply` is then dropped without being called.
    pub fn try_advance(
        &self,
        dialogue: Dialogue,
        data: Option<Zeroizing<Vec<u8>>>,
        reply: StepReply,
    ) -> Result<(), QueueFull> {
        self.shared.push(Job::Step {
            dialogue,
            data,
            reply,
        })
    }

    /// How many requests wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().jobs.len()
    }
}

impl Drop for AuthPool {
    fn drop(&mut self) {
        let waiting = {
            let mut queue = self.shared.lock();
            queue.closed = true;
            std::mem::take(&mut queue.jobs)
        };
        self.shared.wake.notify_all();
        for job in waiting {
            job.refuse();
        }
        for worker in self.workers.drain(..) {
            // A reply that held the last handle drops the pool on a worker, which can't wait for itself.
            if worker.thread().id() != thread::current().id() {
                let _ = worker.join();
            }
        }
    }
}

impl Job {
    /// A defect in one backend must not take a worker away from everybody.
    fn run(self) {
        match self {
            Self::Connect { chain, who, reply } => {
                let judged = catch_unwind(AssertUnwindSafe(|| chain.authenticate(&who)));
                let verdict = judged.unwrap_or(Verdict::Unavailable(BackendError::Panicked));
                // The credentials are gone from memory before anybody acts on the verdict.
                drop(who);
                let _ = catch_unwind(AssertUnwindSafe(|| reply(verdict)));
            }
            Self::Step {
                mut dialogue,
                data,
                reply,
            } => {
                let data_ref = data.as_deref().map(Vec::as_slice);
                let judged = catch_unwind(AssertUnwindSafe(|| dialogue.advance(data_ref)));
                let step = judged.unwrap_or(Step::Unavailable(BackendError::Panicked));
                drop(data);
                let _ = catch_unwind(AssertUnwindSafe(|| reply(dialogue, step)));
            }
        }
    }

    /// Answers without asking anybody.
    fn refuse(self) {
        match self {
            Self::Connect { reply, .. } => {
                reply(Verdict::Unavailable(BackendError::ShuttingDown));
            }
            Self::Step {
                dialogue, reply, ..
            } => reply(dialogue, Step::Unavailable(BackendError::ShuttingDown)),
        }
    }
}

impl Shared {
    fn push(&self, job: Job) -> Result<(), QueueFull> {
        let mut queue = self.lock();
        if queue.jobs.len() >= self.queue_max {
            return Err(QueueFull);
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            job.run();
        }
    }

    /// Waits for a job; `None` when the pool is being dropped.
    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No code that can panic runs under the lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, SyncSender};

    use moat_policy::Identity;

    use super::*;
    use crate::backend::contract::password_request;
    use crate::{Authenticator, ContinueOnError};

    /// More than any of these tests sends.
    const CHANNEL_MAX: usize = 16;

    /// Says that it was entered, then waits for a word; an empty one makes it panic.
    struct Gate {
        entered: Mutex<SyncSender<()>>,
        words: Mutex<Receiver<&'static str>>,
    }

    impl Authenticator for Gate {
        fn name(&self) -> &'static str {
            "gate"
        }

        fn authenticate(&self, _who: &ConnectRequest) -> Verdict {
            self.entered.lock().unwrap().send(()).unwrap();
            // Taken out first, so that the panic does not poison the receiver.
            let word = self.words.lock().unwrap().recv().unwrap_or("end");
            assert!(!word.is_empty(), "a defect");
            Verdict::Accept(Identity::from_password(word))
        }
    }

    struct Setup {
        /// First, so that a failing test lets its workers go before it waits for them.
        words: SyncSender<&'static str>,
        pool: Option<AuthPool>,
        entered: Receiver<()>,
        replies: Receiver<(usize, Verdict)>,
        reply: SyncSender<(usize, Verdict)>,
    }

    fn setup(workers: usize, queue_max: usize) -> Setup {
        let (entered_tx, entered) = mpsc::sync_channel(CHANNEL_MAX);
        let (words, words_rx) = mpsc::sync_channel(CHANNEL_MAX);
        let gate = Gate {
            entered: Mutex::new(entered_tx),
            words: Mutex::new(words_rx),
        };
        let chain = Arc::new(Chain::new(vec![Arc::new(gate)], ContinueOnError::No).unwrap());
        let (reply, replies) = mpsc::sync_channel(CHANNEL_MAX);
        let pool = Some(AuthPool::start(chain, workers, queue_max).unwrap());
        Setup {
            words,
            pool,
            entered,
            replies,
            reply,
        }
    }

    impl Setup {
        fn submit(&self, number: usize) -> Result<(), QueueFull> {
            let reply = self.reply.clone();
            let send = Box::new(move |verdict| reply.send((number, verdict)).unwrap());
            self.pool
                .as_ref()
                .unwrap()
                .try_submit(password_request("a", b"b"), send)
        }
    }

    fn accepted(name: &str) -> Verdict {
        Verdict::Accept(Identity::from_password(name))
    }

    #[test]
    fn a_full_queue_is_refused_and_opens_again() {
        let setup = setup(1, 2);
        setup.submit(0).unwrap();
        setup.entered.recv().unwrap();
        // The worker is busy with 0, so 1 and 2 fill the queue.
        setup.submit(1).unwrap();
        setup.submit(2).unwrap();
        assert_eq!(setup.submit(3), Err(QueueFull));
        assert_eq!(setup.pool.as_ref().unwrap().waiting(), 2);
        setup.words.send("x").unwrap();
        assert_eq!(setup.replies.recv().unwrap(), (0, accepted("x")));
        setup.entered.recv().unwrap();
        assert_eq!(setup.submit(4), Ok(()));
        drop(setup.words);
    }

    #[test]
    fn dropping_ends_the_running_call_answers_the_waiting_and_joins() {
        let mut setup = setup(1, 10);
        for number in 0..3 {
            setup.submit(number).unwrap();
        }
        setup.entered.recv().unwrap();
        let pool = setup.pool.take().unwrap();
        let weak = Arc::downgrade(&pool.shared);
        let dropper = thread::spawn(move || drop(pool));
        let shutting_down = Verdict::Unavailable(BackendError::ShuttingDown);
        assert_eq!(setup.replies.recv().unwrap(), (1, shutting_down.clone()));
        assert_eq!(setup.replies.recv().unwrap(), (2, shutting_down));
        assert!(!dropper.is_finished(), "the running call is waited for");
        setup.words.send("x").unwrap();
        assert_eq!(setup.replies.recv().unwrap(), (0, accepted("x")));
        dropper.join().unwrap();
        assert!(
            weak.upgrade().is_none(),
            "no thread holds the queue any more"
        );
    }

    #[test]
    fn a_panic_refuses_one_request_and_the_worker_goes_on() {
        let setup = setup(1, 10);
        setup.submit(0).unwrap();
        setup.submit(1).unwrap();
        setup.words.send("").unwrap();
        setup.words.send("x").unwrap();
        assert_eq!(
            setup.replies.recv().unwrap(),
            (0, Verdict::Unavailable(BackendError::Panicked))
        );
        assert_eq!(setup.replies.recv().unwrap(), (1, accepted("x")));
    }

    #[test]
    fn as_many_calls_run_at_once_as_there_are_workers() {
        let setup = setup(3, 10);
        for number in 0..3 {
            setup.submit(number).unwrap();
        }
        for _ in 0..3 {
            setup.entered.recv().unwrap();
        }
        drop(setup.words);
    }

    #[test]
    fn sizes_are_brought_into_their_bounds() {
        let chain = Arc::new(Chain::new(Vec::new(), ContinueOnError::No).unwrap());
        let least = AuthPool::start(Arc::clone(&chain), 0, 0).unwrap();
        assert_eq!((least.workers.len(), least.shared.queue_max), (1, 1));
        let most = AuthPool::start(chain, WORKERS_MAX + 1, QUEUE_MAX + 1).unwrap();
        assert_eq!(
            (most.workers.len(), most.shared.queue_max),
            (WORKERS_MAX, QUEUE_MAX)
        );
    }

    #[test]
    fn a_pool_dropped_by_its_own_reply_does_not_wait_for_itself() {
        let mut setup = setup(1, 10);
        let pool = Arc::new(setup.pool.take().unwrap());
        let held = Arc::clone(&pool);
        let reply = setup.reply.clone();
        let drop_pool = Box::new(move |verdict| {
            drop(held);
            reply.send((0, verdict)).unwrap();
        });
        pool.try_submit(password_request("a", b"b"), drop_pool)
            .unwrap();
        setup.entered.recv().unwrap();
        drop(pool);
        setup.words.send("x").unwrap();
        assert_eq!(setup.replies.recv().unwrap(), (0, accepted("x")));
    }
}
