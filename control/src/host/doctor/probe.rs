//! Tries what a lab does first, in a process of its own: namespaces, mounts, a
//! TAP with its addresses. Nothing of it outlives the process.

use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;
use vpclab_dataplane::io::TapPort;

use super::{Check, Verdict};
use crate::cli::CliError;
use crate::host::{Context, HostError, launch, namespace, netlink, wiring_errors};

/// The steps, in order: each needs those before it.
const STEPS: [&str; 4] = ["namespaces", "host", "/dev/net/tun", "netlink"];

/// Starts the probe and takes what it says.
pub(super) fn ask() -> Vec<Check> {
    let output = Command::new("/proc/self/exe")
        .args(["doctor", "--probe"])
        .stdin(Stdio::null())
        .output();
    let said = output.map(|output| {
        let checks = serde_json::from_slice::<Vec<Check>>(&output.stdout);
        checks.map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
    });
    match said {
        Ok(Ok(checks)) => checks,
        Ok(Err(why)) => vec![unable(&why)],
        Err(error) => vec![unable(&error.to_string())],
    }
}

fn unable(why: &str) -> Check {
    let found = format!("could not be tried: {}", why.trim());
    Check::fail(STEPS[0], found, "see what forbids vpclab to start itself")
}

/// The probe. The process must have one thread.
pub fn run() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, step) in STEPS.into_iter().zip([lab, host, tun, addresses]) {
        match step() {
            Ok(found) => checks.push(Check::ok(name, found)),
            Err(error) => {
                let error = CliError::from(error);
                let mut check = Check::new(name, Verdict::Fail, error.message);
                check.fix = error.fix;
                checks.push(check);
                // What comes next needs this.
                return checks;
            }
        }
    }
    checks
}

fn lab() -> Result<String, HostError> {
    launch::enter_lab()?;
    Ok(if geteuid().is_root() && is_first_user_namespace() {
        "root's: mounts, processes".to_owned()
    } else {
        "by a user namespace: mounts, processes".to_owned()
    })
}

/// The machine's own user namespace maps every id to itself.
fn is_first_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn host() -> Result<String, HostError> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).context("unshare")?;
    namespace::make_mounts_private()?;
    let none: Option<&str> = None;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("sysfs"), "/sys", Some("sysfs"), flags, none).context("mount /sys")?;
    Ok("network and mounts of a host".to_owned())
}

/// The device that the next step looks for.
const DEVICE: &str = "eth0";

fn tun() -> Result<String, HostError> {
    let port = TapPort::open(DEVICE, 1).map_err(wiring_errors::explain_tun)?;
    drop(port);
    Ok("opens, and makes a TAP in a host's network".to_owned())
}

fn addresses() -> Result<String, HostError> {
    netlink::configure(&[], netlink::Existing::Refuse)?;
    Ok("sets up a host's interfaces".to_owned())
}
