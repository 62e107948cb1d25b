//! Random commits, to this store and to the one in memory: they have to agree.

use proptest::prelude::*;

use super::*;
use crate::MemoryStore;

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Write>),
    Put(u8, u8),
    Expire(u64),
    Trim(u16, u64),
    Reopen,
    Flush,
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(0..3u8, 0..4).prop_map(Bytes::from)
}

fn bucket() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("one"), Just("two")]
}

fn write() -> impl Strategy<Value = Write> {
    let append =
        (0..2u16, 0..200usize, any::<bool>(), 0..40u64).prop_map(|(part, length, explicit, at)| {
            Write::Append {
                at: (explicit && at < 3).then_some(Sequence(at)),
                record: Record {
                    part: Part(part),
                    payload: Bytes::from(vec![b'p'; length]),
                    dedup_id: (at % 7 == 0).then(|| Bytes::from(vec![b'i'; length % 5])),
                    ..record("")
                },
            }
        });
    let put = (bucket(), key(), 0..100usize).prop_map(|(bucket, key, length)| Write::Put {
        bucket,
        key,
        value: Bytes::from(vec![b'v'; length]),
    });
    let delete = (bucket(), key()).prop_map(|(bucket, key)| Write::Delete { bucket, key });
    let prefix =
        (bucket(), key()).prop_map(|(bucket, prefix)| Write::DeletePrefix { bucket, prefix });
    prop_oneof![4 => append, 6 => put, 3 => delete, 1 => prefix]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(write(), 0..30).prop_map(Step::Commit),
        2 => (0..3u8, 1..9u8).prop_map(|(key, ttl)| Step::Put(key, ttl)),
        1 => (0..12u64).prop_map(Step::Expire),
        1 => (0..2u16, 0..40u64).prop_map(|(part, below)| Step::Trim(part, below)),
        1 => Just(Step::Reopen),
        1 => Just(Step::Flush),
    ]
}

/// A key, its value and its end.
type Value = (Bytes, Bytes, Option<SystemTime>);

/// What the two have in common: not revisions, whose steps are their own.
fn contents(store: &dyn Store) -> (Vec<Page>, Vec<Value>) {
    let parts = [0, 1].map(|part| {
        store
            .read(Part(part), Sequence::FIRST, 9999, &Want::All)
            .unwrap()
    });
    let mut values = Vec::new();
    for bucket in ["one", "two"] {
        let page = store.scan(bucket, b"", None, 9999, now()).unwrap();
        values.extend(
            page.entries
                .into_iter()
                .map(|entry| (entry.key, entry.versioned.value, entry.versioned.expires_at)),
        );
    }
    (parts.to_vec(), values)
}

fn apply(store: &dyn Store, step: &Step) -> String {
    match step {
        Step::Commit(writes) => format!("{:?}", store.commit(writes.clone(), now())),
        Step::Put(key, ttl) => {
            let ttl = Some(Duration::from_secs(u64::from(*ttl)));
            let put = store.put("one", &[*key], Bytes::new(), Expect::Any, ttl, now());
            put.is_ok().to_string()
        }
        Step::Expire(seconds) => {
            let expired = store.expire(now() + Duration::from_secs(*seconds));
            format!("{expired:?}")
        }
        Step::Trim(part, below) => format!("{:?}", store.trim(Part(*part), Sequence(*below))),
        Step::Reopen | Step::Flush => String::new(),
    }
}

/// Few cases, unless `PROPTEST_CASES` asks for more: each opens stores on disk.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => asked.cases,
        None => 12,
    };
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..asked
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn both_stores_agree(steps in prop::collection::vec(step(), 1..25)) {
        let folder = TempDir::new().unwrap();
        let mut disk = DiskStore::open(folder.path(), QUICK).unwrap();
        let memory = MemoryStore::default();
        for step in &steps {
            match step {
                Step::Reopen => {
                    drop(disk);
                    disk = DiskStore::open(folder.path(), QUICK).unwrap();
                }
                Step::Flush => flush(&disk),
                _ => {}
            }
            prop_assert_eq!(apply(&disk, step), apply(&memory, step), "{:?}", step);
            prop_assert_eq!(contents(&disk), contents(&memory), "after {:?}", step);
        }
        drop(disk);
        let report = verify(folder.path(), &mut |_| {}).unwrap();
        prop_assert_eq!(report.problems, vec![]);
    }
}
