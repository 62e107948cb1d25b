//! The power goes: `kill -9` keeps what the kernel has not written yet, so it proves nothing about syncs.
//!
//! The broker runs under strace with a small load, and now and then the fleet's memory is kept. For each of these moments the data folder is rebuilt
//! from the log as a power cut would have left it then, a broker is started on it, and the fleet goes on from what it knew.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant, SystemTime};

use moat_testkit::MoatProcess;
use moat_testkit::fume::Dice;
use moat_testkit::history::{Fault, History, Verdict};

use crate::client::Client;
use crate::disk::{Disk, Loss};
use crate::fleet::{Fleet, clients};
use crate::kill::seed;
use crate::place::{Place, Settings};
use crate::trace::{self, Call};

const PUBLISHERS: u32 = 6;
const SUBSCRIBERS: u32 = 12;
/// Moments at which the power goes.
const CUTS: usize = 8;
/// Acknowledgements between two of them at most; between the first and the start of the load, too.
const ACKNOWLEDGEMENTS_MAX: u64 = 120;
/// The longest wait for them.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is lost at each moment, one after the other.
const LOSSES: [Loss; 2] = [Loss::All, Loss::Some(50)];

/// What is known when the power goes.
struct Cut {
    /// Microseconds since 1970.
    at: u64,
    memory: (Vec<Client>, History),
}

/// A broker's life under strace.
struct Recording {
    disk: Disk,
    calls: Vec<Call>,
    cuts: Vec<Cut>,
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes() {
    let seed = seed();
    let settings = Settings::default();
    let verdicts = cut_the_power(seed, settings, |_| false);
    let mut owed = 0;
    for (loss, verdict) in verdicts {
        assert!(verdict.is_clean(), "seed {seed}, {loss}: {verdict}");
        owed += verdict.summary.owed;
    }
    assert!(owed > 1000, "only {owed} messages were owed");
}

/// The rig finds a broker that does not sync: with this durability it is not promised.
#[test]
fn without_syncs_the_power_cut_loses_acknowledged_messages() {
    let seed = seed();
    let settings = Settings {
        durability: "os",
        ..Settings::default()
    };
    let is_lost = |verdict: &Verdict| {
        let faults = [Fault::Lost, Fault::SessionLost, Fault::StaleRetained];
        faults.iter().all(|fault| verdict.count(*fault) > 0)
    };
    // The first that is found is enough: each read of what is lost waits for it.
    let verdicts = cut_the_power(seed, settings, is_lost);
    let mut all = verdicts.iter();
    assert!(
        all.any(|(_, verdict)| is_lost(verdict)),
        "seed {seed}: nothing was lost"
    );
}

/// Runs a broker under strace, cuts its power at each moment with each loss until it has been enough, and says what came of it.
fn cut_the_power(
    seed: u64,
    settings: Settings,
    is_enough: impl Fn(&Verdict) -> bool,
) -> Vec<(String, Verdict)> {
    let mut dice = Dice::new(seed, 2);
    let place = Place::new();
    let recording = record(&place, settings, &mut dice);
    let mut verdicts = Vec::new();
    for (number, cut) in recording.cuts.iter().enumerate() {
        let mut disk = recording.disk.clone();
        disk.replay(&recording.calls, cut.at);
        for loss in LOSSES {
            let what = format!("cut {number}, {loss:?}");
            eprintln!("{what}");
            // At the same path as before: a store may remember where it is.
            fs::remove_dir_all(place.data()).unwrap();
            disk.leave(&place.data(), loss, &mut dice);
            let (mut process, address) = place.start(settings);
            let memory = cut.memory.clone();
            let mut fleet = Fleet::remember(memory, address, Dice::new(seed, 3));
            fleet.read_retained();
            let verdict = fleet.verdict();
            process.kill();
            process.wait();
            let unsynced = disk.unsynced().join("\n");
            let what = format!("{what}; not synced:\n{unsynced}\n{}\n", place.last_words());
            let is_last = is_enough(&verdict);
            verdicts.push((what, verdict));
            if is_last {
                return verdicts;
            }
        }
    }
    verdicts
}

fn record(place: &Place, settings: Settings, dice: &mut Dice) -> Recording {
    // Keys and certificates are made first, so that the log is about the store.
    let (mut process, _) = place.start(settings);
    stop(&mut process);
    if place.store().exists() {
        fs::remove_dir_all(place.store()).unwrap();
    }
    let disk = Disk::of_folder(&place.data());

    let log = place.beside("strace");
    let strace = trace::strace(&log);
    let wrapper: Vec<&str> = strace.iter().map(String::as_str).collect();
    let (mut process, address) = place.start_under(&wrapper, settings);
    let mut fleet = Fleet::new(
        clients(PUBLISHERS, SUBSCRIBERS),
        address,
        Dice::new(dice.roll(), 0),
    );
    fleet.connect_all(&BTreeSet::new());
    let mut cuts = vec![Cut::now(&fleet)];
    for _ in 1..CUTS {
        let acknowledgements = usize::try_from(dice.below(ACKNOWLEDGEMENTS_MAX)).unwrap();
        let enough = fleet.acknowledged + acknowledgements;
        fleet.budget = usize::MAX;
        let until = Instant::now() + PATIENCE;
        while fleet.acknowledged < enough {
            assert!(
                Instant::now() < until,
                "no acknowledgements within {PATIENCE:?}"
            );
            fleet.turn();
            let place = dice.place(fleet.clients.len());
            if dice.chance(5) {
                fleet.cut(place);
            }
            if !fleet.has_line(place) {
                fleet.connect(place);
            }
        }
        cuts.push(Cut::now(&fleet));
    }
    process.kill();
    let id = process.id();
    process.wait();
    Recording {
        disk,
        calls: trace::read(&log, id),
        cuts,
    }
}

fn stop(process: &mut MoatProcess) {
    process.terminate();
    let status = process.wait();
    assert!(status.success(), "{status}: {:#?}", process.output());
}

impl Cut {
    /// The power goes after all that the fleet has seen so far.
    fn now(fleet: &Fleet) -> Self {
        let memory = fleet.memory();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Cut {
            at: u64::try_from(since.unwrap().as_micros()).unwrap(),
            memory,
        }
    }
}
