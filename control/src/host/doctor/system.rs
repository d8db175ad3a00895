//! What the machine says of itself: versions, limits, tools, places.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use nix::sys::utsname::uname;
use nix::unistd::geteuid;

use super::Check;
use crate::host::ids::{self, find_program};
use crate::host::namespace::RESOLV_CONF;
use crate::host::runtime_dir::RuntimeDir;

/// The oldest kernel with all that is used: TAPs that take UDP segments.
const KERNEL_FULL: (u32, u32) = (6, 2);
/// io_uring with what the packet worker needs.
const KERNEL_URING: (u32, u32) = (6, 1);
/// Open files that a lab needs without hosts.
const FILES_BASE: u64 = 100;
/// Open files of one process a host: two namespaces (init).
const FILES_PER_HOST: u64 = 2;
/// Hosts that should be possible at least.
const HOSTS_WANTED: u64 = 200;
/// Space that the directory of a lab should find, in bytes.
const SPACE_WANTED: u64 = 16 << 20;
/// Where a lab serves metrics, and the AWS API.
const API_PORT: u16 = 4566;

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn read_number(path: &str) -> Option<u64> {
    read(path)?.parse().ok()
}

fn kernel_version() -> Option<(u32, u32)> {
    let name = uname().ok()?;
    version_of(name.release().to_str()?)
}

/// `6.18.44-fc` is (6, 18).
fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(super) fn kernel() -> Check {
    let name = "kernel";
    match kernel_version() {
        Some(version @ (major, minor)) if version < KERNEL_FULL => Check::warn(
            name,
            format!("Linux {major}.{minor}"),
            "Linux 6.2 or later: before it, trains of UDP segments to appliances are dropped",
        ),
        Some((major, minor)) => Check::ok(name, format!("Linux {major}.{minor}")),
        None => Check::warn(name, "of unknown version", "Linux 6.2 or later is tried"),
    }
}

pub(super) fn other_users() -> Check {
    let name = "other users in hosts";
    if geteuid().is_root() {
        return Check::ok(name, "all: labs of root");
    }
    match ids::ranges() {
        Some((uids, _)) => Check::ok(name, format!("{} by newuidmap", uids.count)),
        None => Check::warn(
            name,
            "none: programs that change their user fail",
            "install newuidmap (package uidmap), then \
             usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER",
        ),
    }
}

pub(super) fn io_uring() -> Check {
    let name = "io_uring";
    let fallback = "packets move by read and write, somewhat slower";
    let disabled = read_number("/proc/sys/kernel/io_uring_disabled").unwrap_or(0);
    if kernel_version().is_some_and(|version| version < KERNEL_URING) {
        return Check::warn(name, format!("too old: {fallback}"), "Linux 6.1 or later");
    }
    // 1: only for members of a group, and root.
    if disabled == 2 || (disabled == 1 && !geteuid().is_root()) {
        let fix = "sysctl -w kernel.io_uring_disabled=0";
        return Check::warn(name, format!("switched off: {fallback}"), fix);
    }
    Check::ok(name, "not switched off")
}

pub(super) fn open_files() -> Check {
    let name = "open files";
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, most)| most);
    let hosts = most.saturating_sub(FILES_BASE) / FILES_PER_HOST;
    let found = format!("{most}: about {hosts} hosts in a lab");
    if hosts < HOSTS_WANTED {
        return Check::warn(name, found, "raise the hard limit: ulimit -Hn");
    }
    Check::ok(name, found)
}

pub(super) fn namespaces_left() -> Check {
    let name = "limits of namespaces";
    let least = ["user", "mnt", "net", "pid"]
        .into_iter()
        .filter_map(|kind| {
            let limit = read_number(&format!("/proc/sys/user/max_{kind}_namespaces"))?;
            Some((limit, kind))
        })
        .min();
    match least {
        None => Check::ok(name, "none"),
        Some((limit, kind)) if limit < HOSTS_WANTED => Check::warn(
            name,
            format!("{limit} {kind} namespaces"),
            format!("sysctl -w user.max_{kind}_namespaces=10000"),
        ),
        Some((limit, kind)) => Check::ok(name, format!("{limit} ({kind})")),
    }
}

pub(super) fn tasks() -> Check {
    let name = "processes and threads";
    let own = getrlimit(Resource::RLIMIT_NPROC).map_or(u64::MAX, |(now, _)| now);
    let all = read_number("/proc/sys/kernel/threads-max").unwrap_or(u64::MAX);
    let most = own.min(all);
    if most < HOSTS_WANTED * 2 {
        let fix = "ulimit -u; hosts' programs count as yours";
        return Check::warn(name, most.to_string(), fix);
    }
    Check::ok(name, most.to_string())
}

pub(super) fn memory_lock() -> Check {
    let (now, _) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or((u64::MAX, u64::MAX));
    // Nothing of vpclab needs it: hosts' programs may.
    let found = match now {
        u64::MAX => "without limit".to_owned(),
        bytes => format!("{} KiB", bytes >> 10),
    };
    Check::ok("locked memory", found)
}

pub(super) fn inotify() -> Check {
    let name = "inotify instances";
    match read_number("/proc/sys/fs/inotify/max_user_instances") {
        Some(most) if most < 128 => Check::warn(
            name,
            format!("{most} for all hosts' programs together"),
            "sysctl -w fs.inotify.max_user_instances=1024",
        ),
        Some(most) => Check::ok(name, most.to_string()),
        None => Check::ok(name, "unknown"),
    }
}

pub(super) fn ipv6() -> Check {
    let name = "IPv6";
    if fs::exists("/proc/net/if_inet6").unwrap_or(false) {
        return Check::ok(name, "there");
    }
    let found = "switched off: hosts with IPv6 addresses fail";
    Check::warn(name, found, "boot without ipv6.disable=1")
}

pub(super) fn resolv_conf() -> Check {
    let name = RESOLV_CONF;
    if fs::exists(name).unwrap_or(false) {
        return Check::ok(name, "there: hosts see their own instead");
    }
    let fix = "make the file, empty: each host's own is mounted over it";
    Check::warn(
        name,
        "missing, or a link to nowhere: hosts have no resolver",
        fix,
    )
}

pub(super) fn runtime_directory() -> Check {
    let name = "directory of labs";
    // Any name does: it is never made.
    let lab = match RuntimeDir::new("doctor") {
        Ok(lab) => lab,
        Err(error) => return Check::fail(name, error.to_string(), "a shorter XDG_RUNTIME_DIR"),
    };
    if let Err(error) = lab.try_lock() {
        let error = crate::cli::CliError::from(error);
        let fix = error.fix.unwrap_or_else(|| {
            "let this user write there, or set XDG_RUNTIME_DIR to another place".to_owned()
        });
        return Check::fail(name, error.message, fix);
    }
    let base = crate::host::runtime_dir::base_dir();
    let parent = base.parent().unwrap_or(&base);
    let free = statvfs(parent).map_or(u64::MAX, |disk| {
        disk.blocks_available().saturating_mul(disk.fragment_size())
    });
    let found = format!("{}, {} MiB free", base.display(), free >> 20);
    if free < SPACE_WANTED {
        return Check::fail(name, found, "make room: logs of hosts' programs go there");
    }
    Check::ok(name, found)
}

pub(super) fn api_port() -> Check {
    let name = "port of the API";
    match TcpListener::bind((Ipv4Addr::LOCALHOST, API_PORT)) {
        Ok(_) => Check::ok(name, format!("127.0.0.1:{API_PORT} is free")),
        Err(error) => Check::warn(
            name,
            format!("127.0.0.1:{API_PORT}: {error}"),
            "another lab or LocalStack has it: a new lab takes the next free one",
        ),
    }
}

/// Programs that are of use, and what for.
const TOOLS: [(&str, &str); 4] = [
    ("ip", "looking at a host's interfaces: package iproute2"),
    ("tcpdump", "captures inside a host: package tcpdump"),
    ("tshark", "reading captures in a terminal: package tshark"),
    (
        "wireshark",
        "looking at captures live: vpclab capture HOST -w - | wireshark -k -i -",
    ),
];

pub(super) fn tools() -> Vec<Check> {
    let shell = if fs::exists("/bin/sh").unwrap_or(false) {
        Check::ok("sh", "/bin/sh")
    } else {
        Check::fail("sh", "no /bin/sh", "hosts' commands (`run:`) are run by it")
    };
    let others = TOOLS.into_iter().map(|(name, use_of)| {
        find_program(name).map_or_else(
            || Check::ok(name, format!("not installed (optional: {use_of})")),
            |path| Check::ok(name, path.display().to_string()),
        )
    });
    std::iter::once(shell).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_names_its_version() {
        assert_eq!(version_of("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(version_of("5.4.0-100-generic"), Some((5, 4)));
        assert_eq!(version_of("unknown"), None);
    }
}
