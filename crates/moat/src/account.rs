//! Users and groups of this machine, from `/etc/passwd` and `/etc/group`.
//!
//! Read by hand: the C library's look-up can load foreign code into the process and needs `unsafe`. Users that exist
//! only in a directory service are therefore unknown here.

use std::fs;

use rustix::process::{Gid, Uid};

use crate::exit::Failure;

const PASSWD_FILE: &str = "/etc/passwd";
const GROUP_FILE: &str = "/etc/group";

/// The most supplementary groups that are taken over: the kernel's own bound (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// A user the broker can become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The name.
    pub(crate) name: String,
    /// The user id.
    pub(crate) uid: Uid,
    /// The primary group.
    pub(crate) gid: Gid,
    /// Every group it is in.
    pub(crate) groups: Vec<Gid>,
}

impl Account {
    /// Looks a user up by name.
    ///
    /// # Errors
    /// There is none of this name, or it is root.
    pub(crate) fn find(name: &str) -> Result<Self, Failure> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let unknown = || {
            Failure::configuration([format!(
                "key user names {name:?}, but {PASSWD_FILE} has no such user; make it with \
                 `useradd --system --no-create-home {name}`, or remove the key"
            )])
        };
        let account =
            Self::parse(name, &read(PASSWD_FILE), &read(GROUP_FILE)).ok_or_else(unknown)?;
        if account.uid.is_root() {
            return Err(Failure::configuration([format!(
                "key user names {name:?}, which is root; name a user without rights, or remove the key"
            )]));
        }
        Ok(account)
    }

    fn parse(name: &str, passwd: &str, group: &str) -> Option<Self> {
        let mut fields = passwd
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
        let uid = Uid::from_raw(number(fields.nth(1))?);
        let gid = Gid::from_raw(number(fields.next())?);
        let mut groups = vec![gid];
        let others = group.lines().filter_map(|line| group_of(line, name));
        for other in others.take(GROUPS_MAX) {
            if !groups.contains(&other) {
                groups.push(other);
            }
        }
        Some(Self {
            name: name.to_owned(),
            uid,
            gid,
            groups,
        })
    }
}

/// The name of a user id, or the number if it has none.
pub(crate) fn name_of(uid: u32) -> String {
    let passwd = fs::read_to_string(PASSWD_FILE).unwrap_or_default();
    name_in(&passwd, uid).map_or_else(|| uid.to_string(), str::to_owned)
}

fn name_in(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (number(fields.nth(1)) == Some(uid)).then_some(name)
    })
}

/// The group of a line of the group file, if `name` is a member.
fn group_of(line: &str, name: &str) -> Option<Gid> {
    let mut fields = line.split(':');
    let gid = number(fields.nth(2))?;
    let is_member = fields.next()?.split(',').any(|member| member == name);
    is_member.then(|| Gid::from_raw(gid))
}

/// An id; the greatest number means "none" to the kernel.
fn number(field: Option<&str>) -> Option<u32> {
    field?.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/:/bin/sh\nbroken\nmoat:x:990:985::/nonexistent:/bin/false\n";
    const GROUP: &str = "root:x:0:\nssl-cert:x:110:www,moat\nmoat:x:985:moat\nother:x:7:moats\n";

    #[test]
    fn a_user_has_its_primary_and_its_other_groups() {
        let account = Account::parse("moat", PASSWD, GROUP).unwrap();
        assert_eq!(account.uid, Uid::from_raw(990));
        assert_eq!(account.gid, Gid::from_raw(985));
        assert_eq!(account.groups, [985, 110].map(Gid::from_raw));
    }

    #[test]
    fn an_unknown_or_broken_user_is_nobody() {
        for name in ["nobody", "broken", ""] {
            assert_eq!(Account::parse(name, PASSWD, GROUP), None, "{name}");
        }
        assert_eq!(Account::parse("x", "x:x:4294967295:1::/:\n", ""), None);
    }

    #[test]
    fn ids_are_shown_by_name_where_there_is_one() {
        assert_eq!(name_in(PASSWD, 990), Some("moat"));
        assert_eq!(name_in(PASSWD, 991), None);
    }

    #[test]
    fn root_is_no_user_to_become() {
        assert!(Account::find("root").unwrap_err().text().contains("root"));
    }
}
