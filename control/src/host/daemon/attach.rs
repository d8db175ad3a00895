//! The daemon's side of `attach` and `detach`.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{major, minor};
use serde_json::Value;
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::io::TapPort;

use super::Lab;
use crate::api::PlugNetworkInterface;
use crate::cli::{CliError, Exit};
use crate::host::attach::{AttachPlan, Attached, Held};
use crate::host::init_client::InitClient;
use crate::host::protocol::Reply;
use crate::host::{Context, HostError, from_model, line};
use crate::model::{NetworkInterface, NetworkInterfaceId, Plug};

/// The device number of /dev/net/tun (Documentation/admin-guide/devices.txt).
const TUN_DEVICE: (u64, u64) = (10, 200);

/// What is attached, by the interface's AWS id.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    all: Mutex<BTreeMap<String, (EniId, Held)>>,
}

impl Attachments {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (EniId, Held)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The interfaces whose process has ended, or that somebody has deleted.
    fn gone(&self) -> Vec<String> {
        let all = self.lock();
        let is_gone = |held: &Held| {
            // Errors are reported unasked; a process that has ended is readable.
            let mut descriptors = vec![PollFd::new(held.port.as_fd(), PollFlags::empty())];
            let process = held.process.iter();
            descriptors.extend(process.map(|p| PollFd::new(p.as_fd(), PollFlags::POLLIN)));
            matches!(poll(&mut descriptors, PollTimeout::ZERO), Ok(1..))
        };
        let gone = all.iter().filter(|(_, (_, held))| is_gone(held));
        gone.map(|(eni, _)| eni.clone()).collect()
    }
}

/// What `vpclab attach NAME` is to make.
pub(super) fn plan(lab: &Lab, name: &str) -> Result<Value, CliError> {
    let control = lab.model.control();
    let model = control.model();
    let named: Vec<_> = model
        .interfaces()
        .iter()
        .filter(|interface| means(interface, name))
        .collect();
    let all = from_model::waiting(model);
    let Some(first) = named.first() else {
        let message = format!("no host or ENI is named `{name}`");
        let known: Vec<_> = all.iter().map(|host| host.name.as_str()).collect();
        return Err(CliError::usage(message).fix(match known.as_slice() {
            [] => "give a host of the topology `attach: true`".to_owned(),
            _ => format!("these wait to be attached: {}", known.join(", ")),
        }));
    };
    let Some(held) = &first.attachment else {
        return Err(CliError::usage(format!("{} belongs to no host", first.id)));
    };
    let waiting = all.into_iter().find(|host| *host.name == *held.host);
    let interfaces: Vec<_> = waiting
        .into_iter()
        .flat_map(|host| host.interfaces)
        .filter(|plan| {
            named
                .iter()
                .any(|interface| interface.id.as_str() == plan.label)
        })
        .collect();
    if interfaces.is_empty() {
        return Err(match &held.plug {
            Plug::Foreign(what) => CliError {
                exit: Exit::No,
                message: format!("{name} is attached already: {what}"),
                fix: Some(format!("let it go first: vpclab detach {name}")),
            },
            _ => CliError::usage(format!("{} is a host that the lab made itself", held.host))
                .fix("give it `attach: true` in the topology, without `run:`"),
        });
    }
    let plan = AttachPlan {
        host: held.host.to_string(),
        interfaces,
    };
    serde_json::to_value(plan).map_err(|error| CliError::fault(error.to_string()))
}

/// Whether a user means this interface: by its host, its id or its name.
fn means(interface: &NetworkInterface, name: &str) -> bool {
    interface.id.as_str() == name
        || interface.meta.name.as_deref() == Some(name)
        || interface.attachment.as_ref().is_some_and(|held| {
            *held.host == *name || format!("{}/eth{}", held.host, held.device_index) == name
        })
}

/// Takes over what was made elsewhere: says that it is ready, receives the
/// descriptors, and plugs them in.
pub(super) fn attach(
    lab: &Lab,
    stream: &UnixStream,
    attached: Vec<Attached>,
) -> Result<Value, CliError> {
    line::send(stream, &Reply::Ok(Value::Null))?;
    let receive = |attached| Held::receive(attached, stream).context("interface");
    let ports = attached
        .into_iter()
        .map(receive)
        .collect::<Result<Vec<_>, _>>()?;
    for held in &ports {
        check(&held.port)?;
        let eni = &held.attached.eni;
        if let Some((_, other)) = lab.attachments.lock().get(eni) {
            return Err(CliError {
                exit: Exit::No,
                message: format!("{eni} is attached already: {}", other.attached),
                fix: Some(format!("let it go first: vpclab detach {eni}")),
            });
        }
    }
    let mut init = InitClient::connect_as_child(&lab.dir)?;
    for held in ports {
        init.keep_port(&held)?;
        plug_in(lab, held)?;
    }
    Ok(Value::Null)
}

/// Plugs what init has kept into a daemon that has just started.
pub(super) fn adopt(lab: &Lab, init: &mut InitClient) -> Result<(), CliError> {
    for held in init.kept_ports()? {
        let label = held.attached.eni.clone();
        if let Err(error) = plug_in(lab, held) {
            // The topology no longer has it.
            tracing::warn!("{label} is let go: {error}");
            init.release_port(&label)?;
        }
    }
    Ok(())
}

fn plug_in(lab: &Lab, held: Held) -> Result<(), CliError> {
    let attached = &held.attached;
    let eni = {
        let mut control = lab.model.control();
        let id = NetworkInterfaceId::from(attached.eni.as_str());
        let row = control.model().row(&id).map(EniId);
        let row = row.ok_or_else(|| CliError::usage(format!("no ENI {}", attached.eni)))?;
        let plug = PlugNetworkInterface {
            network_interface: id,
            plug: Plug::Foreign(attached.to_string().into()),
        };
        control
            .execute(plug)
            .map_err(|error| CliError::usage(error.message))?;
        row
    };
    let copy = held.port.try_clone().context("port")?;
    lab.worker
        .add_port(eni, Box::new(TapPort::from_fd(copy)))
        .context("worker")?;
    tracing::info!(eni = attached.eni, to = attached.to_string(), "attached");
    let label = attached.eni.clone();
    lab.attachments.lock().insert(label, (eni, held));
    Ok(())
}

/// Lets go of everything attached under `name`; what remains to be deleted is
/// the answer.
pub(super) fn detach(lab: &Lab, name: &str) -> Result<Value, CliError> {
    let labels: Vec<_> = {
        let control = lab.model.control();
        let interfaces = control.model().interfaces().iter();
        interfaces
            .filter(|interface| means(interface, name))
            .map(|interface| interface.id.to_string())
            .collect()
    };
    if labels.is_empty() {
        let message = format!("no host or ENI is named `{name}`");
        return Err(CliError::usage(message).fix("see the names: vpclab ps"));
    }
    let mut released = Vec::new();
    for label in labels {
        released.extend(release(lab, &label)?);
    }
    if released.is_empty() {
        return Err(CliError {
            exit: Exit::No,
            message: format!("nothing is attached to {name}"),
            fix: None,
        });
    }
    serde_json::to_value(released).map_err(|error| CliError::fault(error.to_string()))
}

/// Unplugs one interface, if something is attached to it.
fn release(lab: &Lab, label: &str) -> Result<Option<Attached>, CliError> {
    let Some((eni, held)) = lab.attachments.lock().remove(label) else {
        return Ok(None);
    };
    let plug = PlugNetworkInterface {
        network_interface: NetworkInterfaceId::from(label),
        plug: Plug::Waiting,
    };
    // An interface that is gone needs no unplugging.
    let _ = lab.model.control().execute(plug);
    lab.worker.remove_port(eni).context("worker")?;
    let Held { attached, .. } = held;
    InitClient::connect_as_child(&lab.dir)?.release_port(label)?;
    tracing::info!(eni = label, from = attached.to_string(), "detached");
    Ok(Some(attached))
}

/// Lets go of interfaces whose container or machine has ended.
pub(super) fn sweep(lab: &Lab) {
    for label in replaced(lab) {
        if let Err(error) = let_go(lab, &label) {
            tracing::error!("{label}: {error}");
        }
    }
    for label in lab.attachments.gone() {
        if let Err(error) = release(lab, &label) {
            tracing::error!("{label}: {error}");
        }
    }
}

/// Lets go of an interface that the model does not have attached: its instance was
/// stopped, it is gone, or another topology makes its host itself.
fn let_go(lab: &Lab, label: &str) -> Result<(), CliError> {
    let Some((eni, _)) = lab.attachments.lock().remove(label) else {
        return Ok(());
    };
    let made = {
        let control = lab.model.control();
        let interface = control.model().get(&NetworkInterfaceId::from(label));
        let held = interface.and_then(|interface| interface.attachment.as_ref());
        held.is_some_and(|held| held.plug == Plug::Lab)
    };
    if !made {
        lab.worker.remove_port(eni).context("worker")?;
    }
    InitClient::connect_as_child(&lab.dir)?.release_port(label)?;
    Ok(())
}

/// Attached interfaces of which the model says otherwise.
fn replaced(lab: &Lab) -> Vec<String> {
    let attached: Vec<_> = lab.attachments.lock().keys().cloned().collect();
    if attached.is_empty() {
        return attached;
    }
    let control = lab.model.control();
    let is_attached = |label: &String| {
        let interface = control
            .model()
            .get(&NetworkInterfaceId::from(label.as_str()));
        let held = interface.and_then(|interface| interface.attachment.as_ref());
        held.is_some_and(|held| matches!(held.plug, Plug::Foreign(_)))
    };
    attached
        .into_iter()
        .filter(|label| !is_attached(label))
        .collect()
}

/// A TAP, or a packet socket at one.
fn check(port: &OwnedFd) -> Result<(), CliError> {
    let copy = File::from(port.try_clone().context("port")?);
    let about = copy.metadata().context("port")?;
    let kind = about.file_type();
    let device = (major(about.rdev()), minor(about.rdev()));
    if kind.is_socket() || (kind.is_char_device() && device == TUN_DEVICE) {
        return Ok(());
    }
    Err(HostError::new("what was sent is no TAP and no packet socket").into())
}
