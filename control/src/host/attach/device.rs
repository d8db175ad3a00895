//! Making an ENI's interface in the calling process's network.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use nix::net::if_::if_nametoindex;
use nix::unistd::geteuid;
use vpclab_dataplane::io::{make_persistent_tap, make_tap, open_packet_socket};

use crate::cli::CliError;
use crate::host::netlink::{self, Existing};
use crate::host::plan::InterfacePlan;
use crate::host::{Context, HostError, line};

/// Makes the interface `plan.device` with addresses and routes, and returns
/// what moves its frames. It is gone when that is closed.
pub fn make_interface(plan: &InterfacePlan) -> Result<OwnedFd, CliError> {
    refuse_taken(&plan.device)?;
    let tap = make_tap(&plan.device).map_err(explain)?;
    netlink::configure(std::slice::from_ref(plan), Existing::Refuse).map_err(|error| {
        let exists = error.to_string().contains("File exists");
        let error = CliError::from(error);
        if exists && error.message.contains("default route") {
            return CliError::usage("there is a default route already in that network").fix(
                "leave it: --no-default-route, with --route CIDR for what the ENI is to reach; \
                 or delete it first",
            );
        }
        error
    })?;
    Ok(tap)
}

/// Makes a TAP that a virtual machine monitor opens, and returns what moves the
/// machine's frames. The TAP stays until it is deleted.
pub fn make_machine_tap(plan: &InterfacePlan, alias: &str) -> Result<OwnedFd, CliError> {
    refuse_taken(&plan.device)?;
    make_persistent_tap(&plan.device, owner()).map_err(explain)?;
    let made = netlink::prepare_machine_tap(plan, alias).and_then(|index| {
        open_packet_socket(index).context(format!("packet socket at {}", plan.device))
    });
    if made.is_err() {
        // The first error is the one to tell.
        let _ = netlink::delete(&plan.device, None);
    }
    Ok(made?)
}

fn refuse_taken(device: &str) -> Result<(), CliError> {
    if if_nametoindex(device).is_err() {
        return Ok(());
    }
    Err(CliError::usage(format!(
        "there is an interface `{device}` in that network already"
    ))
    .fix("choose another name: --name eth1 (or --tap NAME)"))
}

/// Who is to open the TAP: whoever called `sudo`, else this user.
fn owner() -> u32 {
    line::sudo_caller().unwrap_or_else(|| geteuid().as_raw())
}

fn explain(error: std::io::Error) -> CliError {
    let what = HostError::new(format!("cannot make a TAP interface: {error}"));
    let error = match error.kind() {
        ErrorKind::NotFound => what.fix("load the module: modprobe tun"),
        ErrorKind::PermissionDenied => what.fix(
            "this needs the right to administer that network, and to open /dev/net/tun: run it as \
             root, or name a network of your own (--pid, --netns)",
        ),
        ErrorKind::InvalidInput => {
            return CliError::usage(
                "an interface's name has 1 to 15 characters, without `/` or spaces",
            )
            .fix("choose another: --name eth1 (or --tap NAME)");
        }
        _ => what,
    };
    error.into()
}
