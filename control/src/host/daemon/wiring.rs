//! Brings one host up: namespace, TAPs, addresses, ports.

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
                // The first makes the device, the others are more queues of it.
                let queues = (0..worker.workers())
                    .map(|_| TapPort::open(&interface.device).map_err(wiring_errors::explain_tun))
                    .map(|port| port.map(|port| Box::new(port) as Box<dyn Port>))
                    .collect::<Result<Vec<_>, _>>()?;
                ports.push((EniId(interface.eni), queues));
            }
            netlink::loopback_up()?;
            netlink::configure(interfaces, netlink::Existing::Replace)?;
            Ok(ports)
        })
        .map_err(|error: HostError| error.within(format!("host {}", host.name)))?;
    for (eni, queues) in ports {
        worker.add_queues(eni, queues).context(&host.name)?;
    }
    Ok(())
}
