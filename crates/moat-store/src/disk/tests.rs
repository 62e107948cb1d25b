use std::path::Path;

use super::*;
use crate::conformance;

fn open(folder: &Path) -> DiskStore {
    let options = DiskOptions {
        durability: Durability::Os,
        ..DiskOptions::default()
    };
    DiskStore::open(folder, options).unwrap()
}

#[test]
fn it_conforms() {
    let folders = std::cell::RefCell::new(Vec::new());
    conformance::run(&|| {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        folders.borrow_mut().push(folder);
        Box::new(store)
    });
}
