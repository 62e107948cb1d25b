//! The store is on a disk of a few MiB: acknowledgements stop when it is full, and go on when there is room again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use moat_codec::QoS;
use moat_testkit::fume::Dice;

use crate::client::{Client, Plan};
use crate::fleet::Fleet;
use crate::kill::seed;
use crate::place::{MOAT, Place, Settings};

/// The disk: what an empty store needs, twice over. Unit: MiB.
const DISK_MIB: usize = 96;
/// What is deleted to make room. Unit: MiB.
const BALLAST_MIB: usize = 32;
/// So long without an acknowledgement, the store is full.
const STANDSTILL: Duration = Duration::from_secs(4);
/// How long the disk may take to be full, and the broker to notice room.
const PATIENCE: Duration = Duration::from_secs(90);
const PAYLOAD_BYTES: usize = 32 << 10;

/// A tmpfs that is unmounted when it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(path: &Path) -> Self {
        let options = format!("size={DISK_MIB}m,mode=0700");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path);
        assert!(mount.status().unwrap().success());
        Mount(path.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a broker that was killed a moment ago may still have it open.
        let _status = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Publishers of large messages, one of them retained, and a subscriber that is away.
fn clients() -> Vec<Client> {
    let publisher = |number: u32| {
        let mut client = Client::new(number);
        let topic = match number {
            0 => "state/0".into(),
            _ => format!("own/{number}").into(),
        };
        client.plans.push(Plan {
            topic,
            qos: match number % 2 {
                0 => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            },
            is_retained: number == 0,
            clears: false,
        });
        client.payload_bytes = PAYLOAD_BYTES;
        client.may_be_refused = true;
        client
    };
    let mut reader = Client::new(1000);
    reader.filters.push(("own/#".into(), QoS::ExactlyOnce));
    (0..4).map(publisher).chain([reader]).collect()
}

fn status(place: &Place) -> serde_json::Value {
    let mut moat = Command::new(MOAT);
    let output = moat
        .arg("--data")
        .arg(place.data())
        .args(["status", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_full_disk_stops_acknowledgements_and_room_lets_them_go_on() {
    let is_root = rustix::process::geteuid().is_root();
    assert!(
        is_root || std::env::var_os("CI").is_none(),
        "CI has to be root to mount a small disk"
    );
    if !is_root {
        eprintln!("left out, since it needs root to mount a small disk");
        return;
    }
    let seed = seed();
    let place = Place::new();
    fs::create_dir(place.beside("disk")).unwrap();
    let disk = Mount::new(&place.beside("disk"));
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![1; BALLAST_MIB << 20]).unwrap();
    let settings = Settings {
        store: Some("disk/store"),
        ..Settings::default()
    };
    let (mut process, address) = place.start(settings);
    let mut fleet = Fleet::new(clients(), address, Dice::new(seed, 0));
    fleet.connect_all(&BTreeSet::new());
    fleet.run_until_all_are_there();
    fleet.cut(4);

    fleet.budget = usize::MAX;
    let stood_still = fleet.run_until(PATIENCE, |fleet| fleet.since_acknowledged() > STANDSTILL);
    assert!(
        stood_still,
        "the disk is not full after {} messages",
        fleet.acknowledged
    );
    assert!(fleet.acknowledged > 0);
    let full = status(&place);
    assert_eq!(full["store"]["is_full"], true, "{full}");
    place.wait_for_log("store.full");

    fs::remove_file(&ballast).unwrap();
    let before = fleet.acknowledged;
    let goes_on = fleet.run_until(PATIENCE, |fleet| fleet.acknowledged > before);
    assert!(
        goes_on,
        "no acknowledgement within {PATIENCE:?} of there being room"
    );
    place.wait_for_log("store.recovered");
    fleet.budget = 0;
    let room = status(&place);
    assert_eq!(room["store"]["is_full"], false, "{room}");

    process.kill();
    process.wait();
    fleet.bury();
    let (_process, address) = place.start(settings);
    fleet.started(address);
    fleet.read_retained();
    let verdict = fleet.verdict();
    assert!(verdict.is_clean(), "seed {seed}: {verdict}");
    assert!(verdict.summary.owed > 100, "{:?}", verdict.summary);
}
