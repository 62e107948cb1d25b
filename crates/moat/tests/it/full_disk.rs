//! A first start on a disk that is too small, for every size at which it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::folder::{ANYWHERE, Folder, is_root, names};

/// The size of a page, the unit in which a tmpfs counts. Unit: KiB.
const PAGE_KIB: usize = 4;
/// More pages than a data folder needs.
const PAGES_MAX: usize = 64;

/// A tmpfs that is unmounted when it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path, pages: usize) -> Self {
        let size = format!("size={}k,mode=0700", pages * PAGE_KIB);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path);
        assert!(mount.status().unwrap().success());
        Self(path.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a broker that was killed a moment ago may still have it open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_first_start_on_a_full_disk_leaves_nothing_half_made() {
    if !is_root("to mount a small disk") {
        return;
    }
    let folder = Folder::new();
    let mut too_small = 0;
    for pages in 1..PAGES_MAX {
        let disk = Disk::mount(folder.parent(), pages);
        let ended = folder.moat(&["start", "--bind", "192.0.2.1:1"]);
        assert_ne!(ended.code, 0, "{ended:?}");
        if ended.err.contains("no space left") {
            ended.failed(1, &["free some"]);
            assert_eq!(
                names(&disk.0),
                Vec::<String>::new(),
                "{pages} pages: {ended:?}"
            );
            too_small += 1;
            continue;
        }
        // The address is nobody's: whatever fits ends here, with everything made.
        ended.failed(1, &["192.0.2.1:1"]);
        assert_eq!(
            names(&folder.data()),
            ["moat.lock", "pki", "policy.toml", "users"]
        );
        assert!(too_small >= 5, "only {too_small} sizes were too small");
        // The store needs more.
        folder
            .start_fails(&ANYWHERE)
            .failed(1, &["store", "free some"]);
        return;
    }
    panic!("no disk was large enough");
}
