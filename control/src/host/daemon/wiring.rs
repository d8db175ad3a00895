//! Brings one host up: namespace, TAPs, addresses, ports.

use nix::errno::Errno;
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::io::{Port, TapPort};
use vpclab_dataplane::worker::Handle;

use crate::host::init_client::InitClient;
use crate::host::plan::{HostPlan, InterfacePlan};
use crate::host::{Context, HostError, netlink, wiring_errors};

/// Makes what is missing of `host` and gives its TAPs to the worker.
pub(super) fn wire_host(
    init: &mut InitClient,
    worker: &Handle,
    host: &HostPlan,
) -> Result<(), HostError> {
    wire_interfaces(init, worker, host, &host.interfaces)
}

/// Makes a TAP; one that an earlier daemon left in its place is deleted.
fn open(device: &str, queues: usize) -> Result<Vec<TapPort>, HostError> {
    let taken = [Errno::EBUSY as i32, Errno::EINVAL as i32];
    match TapPort::open(device, queues) {
        Err(error) if error.raw_os_error().is_some_and(|no| taken.contains(&no)) => {
            // Still closing after a kill; or with another number of queues.
            netlink::delete_tap(device)?;
            TapPort::open(device, queues)
        }
        other => other,
    }
    .map_err(wiring_errors::explain_tun)
}

/// The same for some of its interfaces.
pub(super) fn wire_interfaces(
    init: &mut InitClient,
    worker: &Handle,
    host: &HostPlan,
    interfaces: &[InterfacePlan],
) -> Result<(), HostError> {
    let namespaces = init
        .add_host(&host.name, host.resolv_conf())
        .context(format!("host {}", host.name))?;
    // The devices are made in their namespace: making them here and moving them
    // takes eight times as long.
    let ports = namespaces
        .in_network(|| {
            let mut ports = Vec::new();
            for interface in interfaces {
                let queues = open(&interface.device, worker.workers())?;
                let queues = queues
                    .into_iter()
                    .map(|port| Box::new(port) as Box<dyn Port>);
                ports.push((EniId(interface.eni), queues.collect::<Vec<_>>()));
            }
            netlink::configure_host(&host.interfaces, interfaces)?;
            Ok(ports)
        })
        .map_err(|error: HostError| error.within(format!("host {}", host.name)))?;
    for (eni, queues) in ports {
        worker.add_queues(eni, queues).context(&host.name)?;
    }
    Ok(())
}
