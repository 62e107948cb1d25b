//! What the process gives up once its ports are bound.
//!
//! The system calls of rustix act on the calling thread only, and every later thread inherits from it. So this runs
//! while there is one thread, and refuses to run otherwise.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, chownat};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::account::{self, Account};
use crate::exit::Failure;

/// Open files beside connections: logs, listeners, certificates, the admin socket, and room for the unforeseen.
const OPEN_FILES_MARGIN: u64 = 512;

/// The most entries of a data folder that are handed over; a real one has some dozens.
const ENTRIES_MAX: usize = 100_000;

/// Capabilities are numbered from 0; the kernel says which is the last it knows.
const CAPABILITIES_MAX: u32 = 64;

/// What the process has given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hardening {
    /// Neither it nor its children can gain rights.
    pub(crate) no_new_privs: bool,
    /// A crash writes no memory to the disk.
    pub(crate) core_dumps_disabled: bool,
    /// It has no capability left.
    pub(crate) capabilities_dropped: bool,
    /// The user it runs as.
    pub(crate) user: String,
    /// The user it became, if one is configured and it was root.
    pub(crate) became: Option<String>,
    /// Whether it is still root, without root's rights.
    pub(crate) is_root: bool,
}

impl Hardening {
    /// What was given up, for people.
    pub(crate) fn detail(&self) -> String {
        let who = match (&self.became, self.is_root) {
            (Some(user), _) => format!("became user {user}, "),
            (None, true) => "root without its rights: ".to_owned(),
            (None, false) => String::new(),
        };
        format!("{who}no capabilities, no new privileges, no core dumps")
    }
}

/// Gives up every right that serving does not need.
///
/// As root with an account: hands the data folder over and becomes that user. As root without one: stays root, without
/// root's rights.
///
/// # Errors
/// A step failed, or a look back shows a right that is still there: then the broker does not serve.
pub(crate) fn give_up(account: Option<&Account>, data: &Path) -> Result<Hardening, Failure> {
    refuse_more_than_one_thread()?;
    let failed = |what: &'static str| {
        move |error: rustix::io::Errno| {
            Failure::failed(format!(
                "cannot give up rights: {what}: {error}; start as an ordinary user instead"
            ))
        }
    };
    let is_root = rustix::process::geteuid().is_root();
    let account = account.filter(|_| is_root);
    if let Some(account) = account {
        hand_over(data, account)?;
    }
    drop_bounding_set(is_root).map_err(failed("bounding set"))?;
    rustix::thread::clear_ambient_capability_set().map_err(failed("ambient set"))?;
    if let Some(account) = account {
        become_user(account).map_err(failed("change of user"))?;
    }
    rustix::thread::set_capabilities(None, none()).map_err(failed("capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(failed("no_new_privs"))?;
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, no_core).map_err(failed("core dumps"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(failed("core dumps"))?;
    let hardening = look_back(account).map_err(failed("look back"))?;
    check_reach(data, &hardening)?;
    Ok(hardening)
}

/// Raises the limit of open files as far as `connections` need it.
///
/// Before rights are given up: root may go above the hard limit. Returns how many connections there is room for.
pub(crate) fn raise_open_files(connections: usize) -> usize {
    let wanted = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_add(OPEN_FILES_MARGIN);
    let now = rustix::process::getrlimit(Resource::Nofile);
    // `None` is no limit.
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if enough(now.current) {
        return connections;
    }
    let hard_is_enough = enough(now.maximum);
    let raised = Rlimit {
        current: Some(wanted),
        maximum: if hard_is_enough {
            now.maximum
        } else {
            Some(wanted)
        },
    };
    if rustix::process::setrlimit(Resource::Nofile, raised).is_ok() {
        return connections;
    }
    let most = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    let raised = rustix::process::setrlimit(Resource::Nofile, most).is_ok();
    let in_force = if raised { now.maximum } else { now.current };
    let room = in_force.map_or(u64::MAX, |files| files.saturating_sub(OPEN_FILES_MARGIN));
    usize::try_from(room.max(1)).map_or(connections, |room| room.min(connections))
}

/// A thread that is there already would keep its rights.
fn refuse_more_than_one_thread() -> Result<(), Failure> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads == 1 {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "cannot give up rights: {threads} threads run already; this is a defect in moat, please report it"
    )))
}

fn none() -> CapabilitySets {
    CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    }
}

/// Nobody but root may change the bounding set; for others no_new_privs makes it meaningless.
fn drop_bounding_set(is_root: bool) -> rustix::io::Result<()> {
    if !is_root {
        return Ok(());
    }
    let held = rustix::thread::capabilities(None)?.effective;
    if !held.contains(CapabilitySet::SETPCAP) {
        // A container may have taken it; then no_new_privs has to do.
        return Ok(());
    }
    for number in 0..CAPABILITIES_MAX {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The first number the kernel does not know.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Groups first: afterwards there is no right to change them.
fn become_user(account: &Account) -> rustix::io::Result<()> {
    rustix::thread::set_thread_groups(&account.groups)?;
    let (uid, gid) = (account.uid, account.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// Reads from the kernel what is in force.
fn look_back(account: Option<&Account>) -> rustix::io::Result<Hardening> {
    let uid = rustix::process::geteuid();
    let is_wrong_user = account
        .is_some_and(|account| uid != account.uid || rustix::process::getegid() != account.gid);
    let can_go_back =
        account.is_some() && rustix::thread::set_thread_uid(rustix::process::Uid::ROOT).is_ok();
    let capabilities_dropped = rustix::thread::capabilities(None)? == none();
    let no_new_privs = rustix::thread::no_new_privs()?;
    if is_wrong_user || can_go_back || !capabilities_dropped || !no_new_privs {
        return Err(rustix::io::Errno::PERM);
    }
    let core = rustix::process::getrlimit(Resource::Core);
    let dumpable = rustix::process::dumpable_behavior()?;
    Ok(Hardening {
        no_new_privs,
        core_dumps_disabled: core.maximum == Some(0) && dumpable == DumpableBehavior::NotDumpable,
        capabilities_dropped,
        user: account::name_of(uid.as_raw()),
        became: account.map(|account| account.name.clone()),
        is_root: uid.is_root(),
    })
}

/// Gives the folder and what is in it to the account.
fn hand_over(data: &Path, account: &Account) -> Result<(), Failure> {
    let failed = |path: &Path, error: &io::Error| {
        Failure::failed(format!(
            "cannot hand {} over to user {}: {error}",
            path.display(),
            account.name
        ))
    };
    let mut open = vec![data.to_path_buf()];
    let mut count = 0;
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).map_err(|error| failed(&path, &error))?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).map_err(|error| failed(&path, &error))? {
                open.push(entry.map_err(|error| failed(&path, &error))?.path());
            }
        } else if metadata.is_file() && metadata.nlink() > 1 {
            // The other name may be a file the account must not have.
            let error = io::Error::other("it has several names (hard links); remove one");
            return Err(failed(&path, &error));
        }
        count += 1;
        if count > ENTRIES_MAX {
            let error = io::Error::other(format!(
                "more than {ENTRIES_MAX} files; is it the right folder?"
            ));
            return Err(failed(data, &error));
        }
        let (uid, gid) = (Some(account.uid), Some(account.gid));
        chownat(CWD, &path, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed(&path, &error.into()))?;
    }
    Ok(())
}

/// Without root's rights a folder below somebody's private one is out of reach, and no reload would ever work.
fn check_reach(data: &Path, hardening: &Hardening) -> Result<(), Failure> {
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.to_path_buf());
    fs::read_dir(&absolute).map(|_| ()).map_err(|error| {
        Failure::failed(format!(
            "data folder {} cannot be reached by user {} without root's rights: {error}; put it where that user can \
             reach it, or start as the owner of the folders above it",
            absolute.display(),
            hardening.user
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_several_threads_keeps_its_rights_and_does_not_serve() {
        // The test runner has at least the main thread beside this one.
        let (hold, held) = std::sync::mpsc::sync_channel::<()>(0);
        let other = std::thread::spawn(move || held.recv());
        let refused = give_up(None, Path::new(".")).unwrap_err();
        assert!(
            refused.text().contains("threads run already"),
            "{refused:?}"
        );
        drop(hold);
        assert!(other.join().unwrap().is_err());
    }

    #[test]
    fn a_limit_that_is_high_enough_stays() {
        assert_eq!(raise_open_files(1), 1);
    }

    #[test]
    fn what_was_given_up_is_told_with_the_user() {
        let mut hardening = Hardening {
            no_new_privs: true,
            core_dumps_disabled: true,
            capabilities_dropped: true,
            user: "moat".into(),
            became: Some("moat".into()),
            is_root: false,
        };
        assert!(hardening.detail().starts_with("became user moat"));
        hardening.became = None;
        hardening.is_root = true;
        assert!(hardening.detail().starts_with("root without"));
    }
}
