//! `kill -9` at random points under load.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use moat_testkit::fume::Dice;

use crate::fleet::{Fleet, clients};
use crate::place::{Place, Settings};

const PUBLISHERS: u32 = 64;
const SUBSCRIBERS: u32 = 200;
/// Rounds unless `MOAT_CRASH_ROUNDS` says otherwise.
const ROUNDS: u64 = 30;
/// Rounds after which everybody gets what waits.
const SETTLED_ROUNDS: u64 = 30;
/// Rounds of a store that is not synced.
const ROUNDS_WITHOUT_SYNCS: u64 = 8;
/// Acknowledgements of one round at most: a debug build on two cores makes some thousand in a second.
const ROUND_ACKNOWLEDGEMENTS_MAX: u64 = 1500;
/// The longest round.
const ROUND: Duration = Duration::from_secs(3);
/// Messages of a round at most.
const ROUND_MESSAGES_MAX: usize = 2500;

/// Clients that may come, go or stop answering in one turn.
const CHANGES_PER_TURN: usize = 8;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// `MOAT_CRASH_SEED`, or another each time.
pub(crate) fn seed() -> u64 {
    let seed = number("MOAT_CRASH_SEED").unwrap_or_else(|| {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        u64::from(since.subsec_nanos()) ^ since.as_secs()
    });
    eprintln!("MOAT_CRASH_SEED={seed}");
    seed
}

/// The dice of one run.
struct Run {
    fleet: Fleet,
    dice: Dice,
    absent: BTreeSet<usize>,
}

impl Run {
    /// Publishes until so many acknowledgements have come or time is up, while clients come and go.
    fn round(&mut self, acknowledgements: u64) {
        self.fleet.budget = ROUND_MESSAGES_MAX;
        let enough = self.fleet.acknowledged + usize::try_from(acknowledgements).unwrap();
        let (dice, absent) = (&mut self.dice, &self.absent);
        let until = std::time::Instant::now() + ROUND;
        while self.fleet.acknowledged < enough && std::time::Instant::now() < until {
            self.fleet.turn();
            for _ in 0..CHANGES_PER_TURN {
                let place = dice.place(self.fleet.clients.len());
                match dice.below(8) {
                    _ if absent.contains(&place) => {}
                    0 => self.fleet.cut(place),
                    1 => self.fleet.leave(place),
                    2 | 3 => self.fleet.be_lazy(place),
                    _ => {}
                }
            }
            for place in 0..self.fleet.clients.len() {
                if !self.fleet.has_line(place) && !absent.contains(&place) {
                    self.fleet.connect(place);
                }
            }
        }
    }

    /// Subscribers that stay away for a round.
    fn choose_absent(&mut self) {
        let first = usize::try_from(PUBLISHERS).unwrap();
        let subscribers = usize::try_from(SUBSCRIBERS).unwrap();
        self.absent = (0..30)
            .map(|_| first + self.dice.place(subscribers))
            .collect();
    }
}

fn begin(seed: u64, place: &Place, settings: Settings) -> (Run, moat_testkit::MoatProcess) {
    let (process, address) = place.start(settings);
    let fleet = Fleet::new(
        clients(PUBLISHERS, SUBSCRIBERS),
        address,
        Dice::new(seed, 0),
    );
    let mut run = Run {
        fleet,
        dice: Dice::new(seed, 1),
        absent: BTreeSet::new(),
    };
    run.fleet.connect_all(&BTreeSet::new());
    run.fleet.run_until_all_are_there();
    (run, process)
}

/// The clients and the checker themselves: what is found here is wrong with them, or with a broker that nobody kills.
#[test]
fn without_a_crash_nothing_is_found() {
    let seed = seed();
    let place = Place::new();
    let (mut run, _process) = begin(seed, &place, Settings::default());
    for _ in 0..3 {
        run.choose_absent();
        let absent = run.absent.clone();
        absent.iter().for_each(|place| run.fleet.cut(*place));
        run.round(ROUND_ACKNOWLEDGEMENTS_MAX);
        run.fleet.read_retained();
    }
    let verdict = run.fleet.verdict();
    assert!(
        verdict.is_clean(),
        "seed {seed}: {verdict}\n{}",
        place.last_words()
    );
    let summary = verdict.summary;
    assert!(summary.owed > 1000 && summary.repeats > 0, "{summary:?}");
    assert!(
        summary.wills.iter().take(2).all(|count| *count > 0),
        "{summary:?}"
    );
}

#[test]
fn nothing_acknowledged_is_lost_however_often_the_broker_is_killed() {
    let rounds = number("MOAT_CRASH_ROUNDS").unwrap_or(ROUNDS);
    is_killed(rounds, Settings::default());
}

/// What was handed to the kernel outlives the process, synced or not.
#[test]
fn nothing_acknowledged_is_lost_by_a_kill_without_syncs_either() {
    let settings = Settings {
        durability: "os",
        ..Settings::default()
    };
    is_killed(ROUNDS_WITHOUT_SYNCS, settings);
}

/// Kills and starts brokers, and has what their clients saw judged.
fn is_killed(rounds: u64, first: Settings) {
    let seed = seed();
    let place = Place::new();
    let (mut run, mut process) = begin(seed, &place, first);
    let mut address = run.fleet.address();
    for round in 0..rounds {
        if round % SETTLED_ROUNDS == SETTLED_ROUNDS - 1 {
            // What waits must not only grow: each start reads it.
            run.fleet.connect_all(&BTreeSet::new());
            run.fleet.settle();
        }
        // Some die while their clients are still coming back.
        let most = if run.dice.chance(20) {
            20
        } else {
            ROUND_ACKNOWLEDGEMENTS_MAX
        };
        let acknowledgements = run.dice.below(most);
        run.round(acknowledgements);
        process.kill();
        process.wait();
        run.fleet.bury();
        let settings = Settings {
            // Half of the rounds with one packet thread, the others with up to four.
            shards: if run.dice.chance(50) {
                1
            } else {
                2 + run.dice.place(3)
            },
            port: if run.dice.chance(50) {
                address.port()
            } else {
                0
            },
            ..first
        };
        (process, address) = place.start(settings);
        run.fleet.started(address);
        run.fleet.read_retained();
        run.choose_absent();
        let absent = run.absent.clone();
        run.fleet.connect_all(&absent);
        eprintln!(
            "round {round}: {} events, {settings:?}",
            run.fleet.history.events().len()
        );
    }
    let verdict = run.fleet.verdict();
    assert!(
        verdict.is_clean(),
        "seed {seed}: {verdict}\n{}",
        place.last_words()
    );
    let summary = verdict.summary;
    eprintln!("{summary:?}");
    let least = usize::try_from(rounds).unwrap() * 100;
    assert!(summary.owed > least && summary.repeats > 0, "{summary:?}");
    assert!(
        summary.wills.iter().take(2).all(|count| *count > 0),
        "{summary:?}"
    );
}
