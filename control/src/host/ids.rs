//! A user namespace for a lab without root, and which ids exist in it.
//!
//! One id needs no helper: the user is root inside, others do not exist. With
//! `newuidmap` and a range in `/etc/subuid`, the ids from 1 up exist as well, so
//! that programs that change their user work.

use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, User, getegid, geteuid};

use super::{Context, HostError};

/// Ids of other users that this one may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubIds {
    /// First of them.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// Enters a user namespace in which this user is root. The process must have
/// one thread, and none of its threads may outlive the call elsewhere.
pub fn enter_user_namespace() -> Result<(), HostError> {
    let (uid, gid) = (geteuid(), getegid());
    // The helper has to be outside: it is started before, and told to go on.
    let helper = ranges().and_then(|(uids, gids)| start_helper(uids, gids).ok());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| {
        explain_errno(
            HostError::new(format!("cannot make a user namespace: {error}")),
            error,
        )
    })?;
    if let Some(mut helper) = helper {
        let told = helper.stdin.take().map(|mut pipe| pipe.write_all(b"go\n"));
        let ended = helper.wait().context("newuidmap")?;
        if matches!(told, Some(Ok(()))) && ended.success() {
            return Ok(());
        }
        eprintln!("newuidmap or newgidmap failed: other users do not exist in this lab");
    }
    let write = |path: &str, text: String| {
        fs::write(path, text)
            .context(path)
            .map_err(|error| explain(error.within("cannot map this user")))
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// The ranges of this user, if it has both and the programs that map them.
pub fn ranges() -> Option<(SubIds, SubIds)> {
    let both = find_program("newuidmap").is_some() && find_program("newgidmap").is_some();
    if !both {
        return None;
    }
    let user = User::from_uid(geteuid()).ok().flatten();
    let range = |path: &str| {
        let text = fs::read_to_string(path).ok()?;
        range_of(
            &text,
            user.as_ref().map(|u| u.name.as_str()),
            geteuid().as_raw(),
        )
    };
    Some((range("/etc/subuid")?, range("/etc/subgid")?))
}

/// Where a program is, in the directories of `PATH`.
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// The first range of a user in the text of `/etc/subuid`: lines of
/// `name-or-number:first:count`.
fn range_of(text: &str, name: Option<&str>, number: u32) -> Option<SubIds> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if Some(owner) != name && owner.parse() != Ok(number) {
            return None;
        }
        let first = fields.next()?.parse().ok()?;
        let count = fields.next()?.parse().ok()?;
        (count > 0).then_some(SubIds { first, count })
    })
}

/// A shell that waits for a line, then maps the ids of this process.
fn start_helper(uids: SubIds, gids: SubIds) -> io::Result<std::process::Child> {
    let (pid, uid, gid) = (Pid::this(), geteuid(), getegid());
    let map = |program: &str, own: String, ids: SubIds| {
        format!("{program} {pid} 0 {own} 1 1 {} {}", ids.first, ids.count)
    };
    let script = format!(
        "read -r go && {} && {}",
        map("newgidmap", gid.to_string(), gids),
        map("newuidmap", uid.to_string(), uids),
    );
    Command::new("/bin/sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .spawn()
}

/// Adds what to do when a user namespace cannot be had, by what the machine
/// says of them.
pub fn explain(error: HostError) -> HostError {
    explain_errno(error, Errno::EPERM)
}

fn explain_errno(error: HostError, errno: Errno) -> HostError {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let is = |path: &str, value: &str| read(path).trim() == value;
    if is("/proc/sys/user/max_user_namespaces", "0") || errno == Errno::ENOSPC {
        return error.fix(
            "the machine allows no (more) user namespaces: \
             sysctl -w user.max_user_namespaces=10000, or run as root",
        );
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return error.fix(
            "this kernel keeps user namespaces for root: \
             sysctl -w kernel.unprivileged_userns_clone=1, or run as root",
        );
    }
    if is(APPARMOR_RESTRICTS, "1") {
        return error.fix(
            "AppArmor keeps user namespaces from programs without a profile: \
             sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, \
             or give vpclab a profile with `userns,` (docs/rootless.md), or run as root",
        );
    }
    error.fix("a container or its seccomp profile may forbid user namespaces: allow them there, or run as root")
}

/// Ubuntu's limit, since 23.10.
pub const APPARMOR_RESTRICTS: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_by_name_or_number() {
        let text = "root:1:1\nann:100000:65536\n1001:300000:10\nempty:5:0\n";
        let range = |name, number| range_of(text, name, number).map(|ids| (ids.first, ids.count));
        assert_eq!(range(Some("ann"), 1000), Some((100_000, 65_536)));
        assert_eq!(range(None, 1001), Some((300_000, 10)));
        assert_eq!(range(Some("bob"), 1002), None);
        assert_eq!(range(Some("empty"), 1003), None);
        assert_eq!(range_of("ann:x:1\nann\n", Some("ann"), 0), None);
    }
}
