//! The kernel's router between two hosts, as its administrators set it up: veth
//! pairs, offloads on, its work on another core than the sender's (RPS).

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use super::bed::{DEVICE, interface};
use crate::host::namespace::{Namespaces, RESOLV_CONF};
use crate::host::netlink::{self, Existing};
use crate::host::{Context, HostError};

const CLIENT: [u8; 4] = [10, 9, 1, 2];
/// Where the server is.
pub(super) const SERVER: [u8; 4] = [10, 9, 2, 2];

/// What is let pass and translated; `r0` leads to the client, `r1` to the server.
/// (`benches/peers` prints it.)
const MASQUERADE: &str = include_str!("masquerade.nft");

/// A metric: how many of the router's two interfaces hand packets to the other core.
pub(super) const STEERED: &str = "rps_interfaces";

/// A router; gone when dropped.
pub(super) struct Router {
    _namespaces: Namespaces,
    /// As many interfaces hand their packets to the core that was asked for; on the
    /// others the sender's does it all.
    pub(super) steered: u8,
}

/// A router between the two, with connection tracking and masquerade or without,
/// whose packets are handled on `core`.
pub(super) fn between(
    client: &Namespaces,
    server: &Namespaces,
    masquerade: bool,
    core: usize,
) -> Result<Router, HostError> {
    let router = Namespaces::create(Path::new(RESOLV_CONF))?;
    let [c0, c1, c2, _] = CLIENT;
    let [s0, s1, s2, _] = SERVER;
    let sides = [
        (client, CLIENT, "r0", [c0, c1, c2, 1], 1),
        (server, SERVER, "r1", [s0, s1, s2, 1], 2),
    ];
    for (host, address, device, gateway, mac) in sides {
        let own = interface(DEVICE, address, Some(gateway), mac);
        let other = interface(device, gateway, None, mac + 2);
        host.in_network(|| netlink::add_veth(DEVICE, device, router.net.as_fd()))?;
        router.in_network(|| netlink::configure(&[other], Existing::Refuse))?;
        host.in_network(|| netlink::configure(&[own], Existing::Refuse))?;
    }
    let steered = router.inside(|| {
        write("/proc/sys/net/ipv4/ip_forward", "1")?;
        let mut steered = 0;
        for device in ["r0", "r1"] {
            let cores = format!("{:x}", 1_u64 << (core % 64));
            // Only the machine's own root may.
            let queue = format!("/sys/class/net/{device}/queues/rx-0/rps_cpus");
            steered += u8::from(write(&queue, &cores).is_ok());
        }
        if masquerade {
            nft(MASQUERADE)?;
        }
        Ok(steered)
    })?;
    Ok(Router {
        _namespaces: router,
        steered,
    })
}

fn write(path: &str, text: &str) -> Result<(), HostError> {
    std::fs::write(path, text).context(path)
}

/// Loads rules in the calling thread's network.
pub(super) fn nft(rules: &str) -> Result<(), HostError> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("nft")
        .map_err(|error| error.fix("install nftables"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules.as_bytes()).context("nft")?;
    }
    let output = child.wait_with_output().context("nft")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().next().unwrap_or("failed");
    Err(HostError::new(format!("nft: {line}"))
        .fix("this kernel needs nf_tables, connection tracking and masquerade"))
}
